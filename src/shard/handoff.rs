//! Handoff: slots of ours become a sibling's, or the other way round, by moving their tables' pointers.
//!
//! The plane decides, and a view tells of it ([`View::handoff`]): its era counts handoffs, and no shard
//! is ever more than one era behind another. A shard takes an era up at once:
//!
//! - What it gives is packed into a [`Parcel`] and mailed before anything that follows. A slot on loan
//!   goes when it is back, one with a key on its way by MIGRATE when that has arrived; one of which a
//!   snapshot of ours is owed something counts as lent until that is written, which comes before the rest
//!   of the walk, and one whose keys are too many to be named to our replicas at once until they are. What it brings along is told to the receiver's log and replicas while that serves it:
//!   see `landing`.
//! - What it gets counts as lent until the parcel is there: commands that need it wait.
//! - A client with commands on their way to siblings waits until they are answered ([`Hold::Order`]), for
//!   a command that takes the new way must not overtake one that took the old. So it does when slots have
//!   passed between siblings by SETSLOT.
//!
//! Batches carry the era by which they were addressed. One that is ahead of its receiver waits until the
//! receiver has caught up; in one that is behind, what the receiver has given away goes back to its sender
//! (`bounce`), who sends it where it belongs now. Loans that were asked for by an older era are refused, and
//! begin anew: so none waits at a shard of the new era for a slot while it keeps one from another.
//!
//! [`Hold::Order`]: crate::session::Hold::Order

use super::Shard;
use super::mail::{Mail, Parcel};
use crate::cluster::slots::SlotSet;
use crate::cluster::view::View;
use crate::command::error::ErrReply;
use crate::command::spec::{Spec, flag};
use crate::session::Hold;
use crate::slot::Slot;
use crate::store::Garbage;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What a shard knows of handoffs.
#[derive(Default)]
pub(super) struct Handoffs {
    /// The last one that it has taken up.
    pub(super) era: u64,
    /// Slots that are ours and still on their way.
    awaited: SlotSet,
    /// Commands of ours that no sibling has answered, and how many of them are of an older era.
    pub(super) unanswered: usize,
    old: usize,
    /// Slots that go to a sibling when they are back from a loan, no key of theirs is on its way, our
    /// snapshot has got what it is owed of them, and our replicas know.
    leaving: HashMap<Slot, usize>,
    /// Those of them that the snapshot is owed, in the order in which they are written.
    owed: VecDeque<Slot>,
    /// By sibling: the last era in which we gave it something.
    gave: Vec<u64>,
    /// By sibling: the version of our view when we last returned something to it.
    returned: Vec<u64>,
    /// Parcels of which the sibling's log does not speak for all yet.
    pub(super) unlanded: usize,
    /// Leaves before all other mail.
    pub(super) first: Vec<(usize, Mail)>,
    /// The plane waits for this shard, and need not any more.
    pub(super) tell: bool,
}

impl Shard {
    /// The last handoff that is over here: nothing is on its way to us, nothing is still to go, and no
    /// command of ours is still looking for an older owner. (If one were, and the slot came back to that
    /// owner, a later command could be there before it.)
    pub(super) fn settled_era(&self) -> u64 {
        let h = &self.handoffs;
        let waits = !h.awaited.is_empty() || h.old > 0 || !h.leaving.is_empty() || !self.landings.is_empty();
        h.era - waits as u64
    }

    /// Whether the plane should have a heartbeat before the next one is due.
    pub fn beats_early(&mut self) -> bool {
        std::mem::take(&mut self.handoffs.tell)
    }

    /// Takes up a view that nobody has taken back since.
    pub(super) fn take_view(&mut self, view: Arc<View>) {
        if view.version < self.view.version || Arc::ptr_eq(&view, &self.view) {
            return;
        }
        // batches tell by which view they were addressed
        for (to, batch) in self.outbox.iter_mut().enumerate() {
            self.handoffs.first.extend(batch.take().map(|batch| (to, Mail::Requests(batch))));
        }
        self.at.calm = !self.at.cluster || view.is_calm(self.at.me);
        let before = std::mem::replace(&mut self.view, view);
        self.note_copies();
        self.drop_lost_channels();
        self.forget_lost_landings();
        let hands_off = self.view.handoff.era > self.handoffs.era;
        if self.is_logged() {
            self.claim_changes(&before, hands_off);
        }
        if hands_off {
            self.take_up_handoff();
            return self.redirect_blocked();
        }
        if !self.view.owns_as(&before) {
            self.order_clients();
        }
        self.go_on_standing();
        self.redirect_blocked();
    }

    #[cold]
    fn take_up_handoff(&mut self) {
        let (me, handoff) = (self.at.me, self.view.handoff.clone());
        assert_eq!(handoff.era, self.handoffs.era + 1, "the plane waits for all shards");
        self.handoffs.era = handoff.era;
        self.handoffs.old = self.handoffs.unanswered;
        self.order_clients();
        self.make_room_for_parting();
        for m in handoff.moves.iter().filter(|m| m.from == me) {
            self.handoffs.gave.resize(self.at.shards, 0);
            self.handoffs.gave[m.to] = handoff.era;
            let (free, bound): (Vec<Slot>, Vec<Slot>) = m.slots.iter().partition(|s| self.may_go(*s));
            self.handoffs.leaving.extend(bound.into_iter().map(|slot| (slot, m.to)));
            self.give(free, m.to);
        }
        for m in handoff.moves.iter().filter(|m| m.to == me) {
            self.handoffs.awaited.unite(&m.slots);
            m.slots.iter().for_each(|slot| self.lend_out(slot));
        }
        self.note_withheld();
        self.refuse_old_wishes();
        self.go_on_standing();
        self.grant();
        self.note_settled();
    }

    /// Clients whose commands are on their way to siblings wait for the replies.
    fn order_clients(&mut self) {
        for (_, session) in self.clients.iter_mut().filter(|(_, s)| !s.pipeline.is_empty()) {
            session.in_order = true;
            if session.hold == Hold::None {
                session.hold = Hold::Order;
            }
        }
    }

    /// Sends slots that are here to the sibling that owns them now.
    fn give(&mut self, slots: Vec<Slot>, to: usize) {
        if !slots.is_empty() {
            let parcel = self.pack(slots);
            self.handoffs.first.push((to, Mail::Handoff(parcel)));
        }
    }

    /// A slot is a sibling's, but our snapshot has not got all of it.
    fn keep_until_written(&mut self, slot: Slot) {
        self.lend_out(slot);
        self.handoffs.owed.push_back(slot);
        self.chores = true;
    }

    /// Sends on what the snapshot has got by now, and has it write the next slot.
    pub(super) fn give_written(&mut self) {
        while let Some(&slot) = self.handoffs.owed.front() {
            if self.ks.owes(slot) {
                return self.ks.hurry(slot);
            }
            self.handoffs.owed.pop_front();
            self.unlend(&[slot]);
        }
    }

    /// Takes out all that this shard keeps by slot.
    fn pack(&mut self, slots: Vec<Slot>) -> Box<Parcel> {
        assert!(!slots.iter().any(|s| self.ks.owes(*s)), "who gets a slot can't pay our snapshot");
        let tables = self.take_tables(&slots);
        // the log speaks for them up to here: what a loan changed while they were ours no more is in it
        slots.iter().for_each(|slot| self.claim(false, &[(*slot, *slot)]));
        let logged = self.is_logged();
        self.handoffs.unlanded += logged as usize;
        Box::new(Parcel { view: self.view.clone(), slots, tables, logged })
    }

    /// Tells the log which slots have come and gone by a new view. Of those that are handed off it is told
    /// when they leave, and when all that came with them stands in it.
    #[cold]
    fn claim_changes(&mut self, before: &View, hands_off: bool) {
        let set = |view: &View| {
            let ranges = view.ranges(view.local_index(self.at.me));
            ranges.into_iter().flat_map(|(first, last)| first..=last).collect::<SlotSet>()
        };
        let (old, new) = (set(before), set(&self.view));
        let handoff = self.view.handoff.clone();
        let me = self.at.me;
        for (ours, mut changed, other) in [(false, old.clone(), &new), (true, new.clone(), &old)] {
            changed.subtract(other);
            let moves = handoff.moves.iter().filter(|_| hands_off);
            moves.filter(|m| if ours { m.to } else { m.from } == me).for_each(|m| changed.subtract(&m.slots));
            if !changed.is_empty() {
                self.claim(ours, &changed.ranges().collect::<Vec<_>>());
            }
        }
    }

    /// The slots that a log of ours speaks for, as ranges: those that are ours and here.
    pub fn own_ranges(&self) -> Vec<(Slot, Slot)> {
        let ranges = self.view.ranges(self.view.local_index(self.at.me));
        let mut own: SlotSet = ranges.into_iter().flat_map(|(first, last)| first..=last).collect();
        own.subtract(&self.handoffs.awaited);
        own.subtract(&self.landings.slots().collect());
        own.ranges().collect()
    }

    /// Slots that a sibling had of ours by the old era: the tables, with all that was kept by slot.
    pub(super) fn unpack(&mut self, from: usize, parcel: Parcel) {
        let Parcel { view, slots, tables, logged } = parcel;
        self.take_view(view);
        let me = self.view.local_index(self.at.me);
        for (i, tables) in tables.into_iter().enumerate() {
            let db = self.ks.db_mut(i);
            for table in tables {
                // no file of ours speaks for them yet, and no snapshot that has begun has them
                self.metrics.dirty.add(table.len() as u64);
                // the cluster may have taken it from us while it was on its way
                let leftover = match self.view.owner_index(table.slot()) == me {
                    true => db.put_slot(table),
                    false => table,
                };
                if leftover.len() > 0 {
                    self.metrics.dirty.add(leftover.len() as u64);
                    db.leave(Garbage::Slot(leftover));
                }
            }
        }
        self.note_interest();
        for &slot in &slots {
            self.note_moved(slot);
            assert!(self.handoffs.awaited.remove(slot), "a slot is awaited once");
        }
        self.begin_landing(&slots, logged.then_some(from));
        self.unlend(&slots);
        self.landing_step();
        self.note_settled();
    }

    /// Whether a slot that leaves can go now: it is here, none of its keys is on its way, our snapshot is owed
    /// nothing of it, and replicas have heard that its keys are gone. If only these are missing, the snapshot
    /// writes it next, and then they hear it.
    fn may_go(&mut self, slot: Slot) -> bool {
        if self.is_lent(slot) || self.moves.holds_slot(slot) || self.landings.has(slot) {
            return false;
        }
        if self.ks.owes(slot) {
            self.forget_parting(slot);
            self.keep_until_written(slot);
            return false;
        }
        self.is_parted_with(slot)
    }

    /// Whether a slot is a sibling's by now, but has not gone yet.
    pub(super) fn is_leaving(&self, slot: Slot) -> bool {
        self.handoffs.leaving.contains_key(&slot)
    }

    /// Slots that are a sibling's by now go to it, if nothing keeps them here any more.
    pub(super) fn give_freed(&mut self) {
        if self.handoffs.leaving.is_empty() {
            return;
        }
        for (slot, to) in std::mem::take(&mut self.handoffs.leaving) {
            match self.may_go(slot) {
                true => self.give(vec![slot], to),
                false => drop(self.handoffs.leaving.insert(slot, to)),
            }
        }
        self.note_settled();
    }

    /// So many commands of ours, addressed in this era, have been answered.
    #[inline]
    pub(super) fn note_answered(&mut self, era: u64, commands: usize) {
        self.handoffs.unanswered -= commands;
        if era < self.handoffs.era {
            self.handoffs.old -= commands;
            self.note_settled();
        }
    }

    pub(super) fn note_settled(&mut self) {
        self.handoffs.tell |= self.settled_era() == self.handoffs.era;
    }

    /// Something that `from` sent by an older view goes back to it, and all that it sent by such views behind
    /// that does, too: a command must not overtake one of the same client that goes back.
    pub(super) fn note_returned(&mut self, from: usize) {
        self.handoffs.returned.resize(self.at.shards, 0);
        self.handoffs.returned[from] = self.view.version;
    }

    /// Whether what `from` sent by the view of this version goes back in any case.
    pub(super) fn returns_all(&self, from: usize, version: u64) -> bool {
        self.handoffs.returned.get(from).is_some_and(|returned| version < *returned)
    }

    /// Whether something went from here to a sibling after this era.
    pub(super) fn has_given_since(&self, era: u64) -> bool {
        self.handoffs.gave.iter().any(|gave| *gave > era)
    }

    /// What is said to a key that comes by MIGRATE for a slot that is on its way to us by a handoff. The slot
    /// waits at its old owner until the keys of MIGRATE have gone: were the two to wait for each other, only the
    /// patience of MIGRATE's client would end it.
    #[cold]
    pub(super) fn refuses_key(&self, spec: &Spec, slot: Slot) -> Option<ErrReply> {
        const AWAITED: ErrReply = ErrReply::new("TRYAGAIN The slot is on its way by a handoff");
        (spec.has(flag::ASKING) && self.handoffs.awaited.contains(slot)).then_some(AWAITED)
    }

    /// A loan of ours was refused: it is of an older era.
    pub(super) fn refused(&mut self, loan: u64, view: Arc<View>) {
        self.take_view(view);
        self.begin_loan_again(loan);
    }
}
