//! Landing: what slots bring along that came by a handoff is told to the log and the replicas, a bounded step
//! a turn, while clients read and write.
//!
//! The slots are ours from the first moment, and what clients change stands in our stream. But what was there
//! before does not, and a log that knows a slot only in part must not speak for it. So the log says that it
//! takes the slots in ([`Word::Takes`]), and speaks for each of them once all of it is there; until then a
//! reader lays what our log names over what the giver's holds (`replay::claims`). The giver's log is not
//! rewritten before it has heard that ours has them on its disk ([`Mail::Landed`]), nor ours before it speaks
//! for them.
//!
//! - What the walk has passed is *told*. A command with keys that are not told yet stands in the stream not as
//!   itself, but as what the keys are that it may have changed: replaying it would find nothing there. From
//!   then on they are told.
//! - A value above [`LANDING_WHOLE`] is told by several commands, turn by turn, and whoever would change it
//!   waits until all of them are there, as for a snapshot. It is told next then.
//! - The walk waits for slots on loan, and for the log where that is slower.
//!
//! Replicas are fed from the same stream, and get the same.

use super::Shard;
use super::mail::Mail;
use crate::cluster::slots::SlotSet;
use crate::command::spec::{Spec, key};
use crate::command::table;
use crate::limits::{LANDING_AHEAD, LANDING_STEP, LANDING_UNWRITTEN, LANDING_VISITS, LANDING_WHOLE};
use crate::persist::aof::restate::{Rebuilding, Texts};
use crate::persist::aof::slots::Word;
use crate::resp::Args;
use crate::resp::args::OwnedArgs;
use crate::slot::{Slot, key_slot};
use crate::store::{EntryRef, Key, is_behind};
use std::collections::{HashMap, HashSet, VecDeque};

/// A key with its database.
type Name = (usize, Box<[u8]>);

/// The slots that are landing at a shard.
#[derive(Default)]
pub(super) struct Landings {
    /// By slot: the database, and where in its table the walk goes on.
    at: HashMap<Slot, (usize, u64)>,
    /// The order in which they are walked.
    order: VecDeque<Slot>,
    /// Values to be told bit by bit, and how far the first is.
    large: VecDeque<Name>,
    piece: Option<Rebuilding>,
    /// Keys that are told before the walk has come to them.
    ahead: HashSet<Name>,
    /// Givers that wait for theirs to have landed.
    givers: Vec<(usize, SlotSet)>,
    /// Bytes that the log has taken in and not written.
    unwritten: usize,
}

impl Landings {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    pub(super) fn has(&self, slot: Slot) -> bool {
        !self.at.is_empty() && self.at.contains_key(&slot)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.at.keys().copied()
    }

    /// The slot of the value that is half told: it can't be lent.
    pub(super) fn half_told(&self) -> Option<Slot> {
        self.piece.as_ref().and(self.large.front()).map(|(_, name)| key_slot(name))
    }

    fn is_half_told(&self, db: usize, key: &Key) -> bool {
        let first = self.piece.as_ref().and(self.large.front());
        first.is_some_and(|(d, name)| *d == db && **name == *key.bytes)
    }

    /// Whether the stream has what the key held when it came.
    fn is_told(&self, db: usize, key: &Key) -> bool {
        let Some(&(in_db, cursor)) = self.at.get(&key.slot) else { return true };
        let is = |(d, name): &Name| *d == db && **name == *key.bytes;
        let passed = db < in_db || (db == in_db && is_behind(cursor, key.hash));
        (passed && !self.large.iter().any(is)) || self.ahead.contains(&(db, key.bytes.into()))
    }

    /// The stream says all of these keys.
    pub(super) fn note_told(&mut self, names: Vec<Name>) {
        if !self.at.is_empty() {
            self.ahead.extend(names.into_iter().filter(|(_, name)| self.at.contains_key(&key_slot(name))));
        }
    }

    /// Has a value told next.
    fn urge(&mut self, db: usize, key: &Key) {
        let behind = self.piece.is_some() as usize;
        let place = self.large.iter().position(|(d, name)| *d == db && **name == *key.bytes);
        match place {
            Some(place) if place < behind => {}
            Some(place) => self.large.swap(place, behind),
            None => self.large.insert(behind, (db, key.bytes.into())),
        }
    }
}

fn is_large(entry: &EntryRef<'_>) -> bool {
    entry.mem() > LANDING_WHOLE
}

impl Shard {
    /// Slots are here with their keys. `giver`: who waits until our log speaks for them.
    pub(super) fn begin_landing(&mut self, slots: &[Slot], giver: Option<usize>) {
        if !self.fx.propagating {
            return self.letters.extend(giver.map(|giver| (giver, Mail::Landed)));
        }
        let me = self.view.local_index(self.at.me);
        let mut empty: SlotSet =
            slots.iter().copied().filter(|slot| self.view.owner_index(*slot) == me).collect();
        let has_keys = |slot: &Slot| self.ks.iter().any(|db| db.slot_len(*slot) > 0);
        let full: SlotSet = empty.iter().filter(has_keys).collect();
        empty.subtract(&full);
        self.claim(true, &empty.ranges().collect::<Vec<_>>());
        self.annotate(Word::Takes, &full.ranges().collect::<Vec<_>>());
        self.landings.at.extend(full.iter().map(|slot| (slot, (0, 0))));
        self.landings.order.extend(full.iter());
        self.landings.givers.extend(giver.map(|giver| (giver, full)));
        self.note_careful();
    }

    /// Tells a bounded part of what has come.
    pub(super) fn landing_step(&mut self) {
        let mut landed = SlotSet::new();
        let (mut visits, end) = (LANDING_VISITS, self.stream.len() + LANDING_STEP);
        while visits > 0 && self.stream.len() < end && !self.log_is_behind() {
            visits -= 1;
            let went_on = match self.landings.large.is_empty() {
                true => self.walk_on(&mut landed),
                false => self.tell_piece(end - self.stream.len()),
            };
            if !went_on {
                break;
            }
        }
        if !landed.is_empty() {
            self.claim(true, &landed.ranges().collect::<Vec<_>>());
        }
        self.note_landed(&landed);
        let can_go_on = self.landings.order.iter().any(|slot| !self.is_lent(*slot));
        self.chores |= can_go_on && !self.log_is_behind();
    }

    fn log_is_behind(&self) -> bool {
        self.landings.unwritten + self.stream.len() >= LANDING_UNWRITTEN
    }

    /// How much the log has taken in and not written.
    pub fn log_waits(&mut self, bytes: usize) {
        self.landings.unwritten = bytes;
        self.chores |= !self.landings.is_empty() && !self.log_is_behind();
    }

    /// Tells what one step of a table shows. False when there is none to walk.
    fn walk_on(&mut self, landed: &mut SlotSet) -> bool {
        let here = self.landings.order.iter().position(|slot| !self.loans.is_lent(*slot));
        let Some(place) = here else { return false };
        let slot = self.landings.order[place];
        let (n, cursor) = self.landings.at[&slot];
        if n == self.databases() {
            self.landings.order.remove(place);
            self.landings.at.remove(&slot);
            landed.insert(slot);
            return true;
        }
        let Shard { ks, stream, landings, clock, .. } = self;
        let db = ks.db(n);
        let next = db.walk_slot(slot, cursor, clock, |entry| {
            if !is_large(&entry) {
                return stream.state(n, &entry);
            }
            if !landings.is_told(n, &db.key(entry.key())) {
                landings.large.push_back((n, entry.key().into()));
            }
        });
        landings.at.insert(slot, if next == 0 { (n + 1, 0) } else { (n, next) });
        true
    }

    /// Goes on with the first of the large values. It may be gone: then the stream says so already.
    fn tell_piece(&mut self, budget: usize) -> bool {
        let Some((n, name)) = self.landings.large.front().cloned() else { return false };
        let key = self.ks.db(n).key(&name);
        let slot = key.slot;
        if self.is_lent(slot) {
            // another may go on meanwhile; with none, the walk waits as a whole
            let other = self.landings.large.iter().position(|(_, name)| !self.is_lent(key_slot(name)));
            let Some(other) = other else { return false };
            self.landings.large.swap(0, other);
            return true;
        }
        let begins = self.landings.piece.is_none();
        // what is told already must not be begun anew: cut off in the midst it would be less than there was
        let is_due = self.landings.has(slot) && !self.landings.ahead.contains(&(n, name.clone()));
        let is_there = is_due && self.ks.db(n).peek(&key, &self.clock).is_some();
        if begins && is_there {
            self.annotate(Word::Begins, &[(slot, slot)]);
        }
        let Shard { ks, stream, landings, clock, .. } = self;
        let whole = match ks.db(n).peek(&key, clock).filter(|_| is_there) {
            Some(entry) => {
                let piece = landings.piece.get_or_insert_with(|| Rebuilding::new(Texts::Append));
                stream.state_on(n, &entry, begins, piece, budget)
            }
            None => true,
        };
        if whole {
            let told = self.landings.piece.take().is_some();
            self.landings.large.pop_front();
            if told {
                self.annotate(Word::Ends, &[(slot, slot)]);
            }
            if is_there {
                self.landings.ahead.insert((n, name));
            }
            self.release_writers();
            // its slot may be lent again
            self.grant();
        }
        true
    }

    /// These slots are told as a whole, or are ours no more.
    fn note_landed(&mut self, slots: &SlotSet) {
        for (_, left) in &mut self.landings.givers {
            left.subtract(slots);
        }
        for (giver, _) in self.landings.givers.extract_if(.., |(_, left)| left.is_empty()) {
            self.letters.push((giver, Mail::Landed));
        }
        if !slots.is_empty() && self.landings.is_empty() {
            self.landings = Landings {
                givers: std::mem::take(&mut self.landings.givers),
                unwritten: self.landings.unwritten,
                ..Landings::default()
            };
            self.note_careful();
            self.release_writers();
            self.note_settled();
            // a snapshot may have waited
            self.chores = true;
        }
    }

    /// Nobody wants to hear of these any more.
    pub(super) fn abandon_landings(&mut self, which: impl Fn(Slot) -> bool) {
        let gone: SlotSet = self.landings.slots().filter(|slot| which(*slot)).collect();
        for slot in gone.iter() {
            self.landings.at.remove(&slot);
        }
        if !gone.is_empty() {
            self.landings.order.retain(|slot| !gone.contains(*slot));
            self.note_landed(&gone);
        }
    }

    /// After a view: slots that are ours no more don't land.
    pub(super) fn forget_lost_landings(&mut self) {
        if !self.landings.is_empty() {
            let (view, me) = (self.view.clone(), self.view.local_index(self.at.me));
            self.abandon_landings(|slot| view.owner_index(slot) != me);
        }
    }

    /// Nobody takes the stream any more.
    pub(super) fn end_landings(&mut self) {
        self.landings.unwritten = 0;
        self.abandon_landings(|_| true);
    }

    /// A sibling's log speaks for all of what we gave it once.
    pub(super) fn note_landed_there(&mut self) {
        self.handoffs.unlanded -= 1;
        // a snapshot may have waited
        self.chores = true;
    }

    /// Whether a command would change a value that has to be told first, and bit by bit.
    pub(super) fn awaits_landing(&mut self, db: usize, spec: &Spec, args: Args<'_>) -> bool {
        let mut waits = false;
        for k in table::keys_of(spec, args).iter().filter(|k| k.flags & key::RO == 0) {
            let key = self.ks.hasher().key(args.at(k.index));
            if !self.landings.has(key.slot) || self.landings.is_told(db, &key) {
                continue;
            }
            // one that is half told may be gone, but must not be another one when the walk goes on with it
            if self.landings.is_half_told(db, &key)
                || self.ks.db(db).peek(&key, &self.clock).is_some_and(|entry| is_large(&entry))
            {
                self.landings.urge(db, &key);
                waits = true;
            }
            waits |= self.landings.ahead.len() >= LANDING_AHEAD;
        }
        self.chores |= waits;
        waits
    }

    /// Whether a command has keys that the stream does not know as they were before it.
    fn is_untold(&self, db: usize, spec: &Spec, args: Args<'_>) -> bool {
        let told = |name: &[u8]| {
            let slot = key_slot(name);
            !self.landings.has(slot) || self.landings.is_told(db, &self.ks.hasher().key_in_slot(name, slot))
        };
        table::keys_of(spec, args).iter().any(|k| !told(args.at(k.index)))
    }

    /// As [`Shard::propagate`], while slots are landing.
    pub(super) fn propagate_landing(&mut self, db: usize, args: Args<'_>) {
        self.stream.open();
        self.tell_expired();
        let itself = OwnedArgs::new(args.iter());
        let steps = std::mem::take(&mut self.fx.instead);
        let steps = match &steps[..] {
            [] if !self.fx.quiet => std::slice::from_ref(&itself),
            steps => steps,
        };
        for args in steps.iter().filter(|_| self.fx.dirty > 0).map(OwnedArgs::as_args) {
            let Some(spec) = table::find(args) else { continue };
            if !self.is_untold(db, spec, args) {
                self.stream.command(db, args);
                continue;
            }
            for k in table::keys_of(spec, args).iter().filter(|k| k.flags & key::RO == 0) {
                let name = args.at(k.index);
                let entry = self.ks.db(db).peek(&self.ks.hasher().key(name), &self.clock);
                self.stream.restate(db, name, entry);
                self.landings.note_told(vec![(db, name.into())]);
            }
        }
        self.stream.close();
    }
}
