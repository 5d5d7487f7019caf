//! Slots that go to a sibling with all that is in them: replicas hear that it is gone. The log does not: it has
//! given them away as they are, and whoever starts from it may have to begin there.
//!
//! A slot with more keys than one step may name counts as lent until all of them are named, and goes then: whoever
//! needs it waits as long, and everybody else goes on.

use crate::limits::{PARTING, PARTING_STEP};
use crate::persist::aof::encode;
use crate::shard::Shard;
use crate::slot::Slot;
use crate::store::{Clock, Expiry};
use std::collections::{HashSet, VecDeque};

/// What replicas are being told of slots that leave.
#[derive(Default)]
pub(in crate::shard) struct Parting {
    /// Slots whose keys are still to be named, in order, and where in the first the walk goes on.
    slots: VecDeque<Slot>,
    at: (usize, u64),
    /// Slots whose keys are named, and that have not gone yet.
    named: HashSet<Slot>,
    /// Keys that may be named before the next step begins.
    room: usize,
}

impl Shard {
    /// Whether replicas know that the keys of a slot that leaves are gone. If not, they hear it next.
    pub(in crate::shard) fn is_parted_with(&mut self, slot: Slot) -> bool {
        if self.repl.parting.named.remove(&slot) || !self.repl.is_fed() {
            return true;
        }
        let keys: usize = self.ks.iter().map(|db| db.slot_len(slot)).sum();
        if keys == 0 {
            return true;
        }
        let is_next = self.repl.parting.slots.is_empty();
        self.repl.parting.slots.push_back(slot);
        if is_next && keys <= self.repl.parting.room {
            self.name_parting();
            if self.repl.parting.named.remove(&slot) {
                return true;
            }
        }
        self.lend_out(slot);
        self.chores = true;
        false
    }

    /// A snapshot that has begun since has the slot's keys: they have to be named behind it.
    pub(in crate::shard) fn forget_parting(&mut self, slot: Slot) {
        self.repl.parting.named.remove(&slot);
    }

    /// Another step's worth of keys may be named.
    pub(in crate::shard) fn make_room_for_parting(&mut self) {
        self.repl.parting.room = PARTING_STEP;
    }

    /// Names a bounded number of keys, and sends on what nothing is left of to be named.
    pub(in crate::shard) fn parting_step(&mut self) {
        self.make_room_for_parting();
        if self.repl.parting.slots.is_empty() {
            return;
        }
        let named = self.name_parting();
        self.chores |= !self.repl.parting.slots.is_empty();
        if !named.is_empty() {
            self.unlend(&named);
        }
    }

    /// Tells replicas of keys as long as there is room. The slots that are named as a whole.
    fn name_parting(&mut self) -> Vec<Slot> {
        // what was changed before comes before
        self.feed_replicas();
        let (mut gone, mut names, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        let mut selected = None;
        // replicas have keys past their time as well
        let clock = Clock { expiry: Expiry::Ignore, ..self.clock };
        while let Some(&slot) = self.repl.parting.slots.front() {
            let (n, cursor) = self.repl.parting.at;
            if n == self.databases() || !self.repl.is_fed() {
                self.repl.parting.slots.pop_front();
                self.repl.parting.at = (0, 0);
                self.repl.parting.named.insert(slot);
                whole.push(slot);
                continue;
            }
            if self.repl.parting.room == 0 {
                break;
            }
            let before = names.len();
            let next = self.ks.db(n).walk_slot(slot, cursor, &clock, |entry| {
                names.push(Box::<[u8]>::from(entry.key()));
            });
            let seen = names.len() - before;
            // a table may be empty for long stretches
            self.repl.parting.room = self.repl.parting.room.saturating_sub(seen.max(1));
            self.metrics.dirty.add(seen as u64);
            if names.len() >= PARTING || next == 0 || self.repl.parting.room == 0 {
                name(&mut gone, &mut selected, n, &mut names);
            }
            self.repl.parting.at = if next == 0 { (n + 1, 0) } else { (n, next) };
        }
        if !gone.is_empty() {
            self.feed_replicas_only(&gone);
            self.stream.reselect();
        }
        whole
    }
}

/// Appends the command by which replicas forget these keys of a database.
fn name(out: &mut Vec<u8>, selected: &mut Option<usize>, db: usize, names: &mut Vec<Box<[u8]>>) {
    if names.is_empty() {
        return;
    }
    if selected.replace(db) != Some(db) {
        encode::select(out, db);
    }
    let words = [&b"UNLINK"[..]].into_iter().chain(names.iter().map(|name| &**name));
    encode::command(out, words.collect::<Vec<_>>());
    names.clear();
}
