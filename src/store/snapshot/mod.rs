//! A point in time of a keyspace, without a fork and without a copy of it.
//!
//! An entry has a phase, one bit, and so has the table that it stands in. As long as no snapshot is
//! made they agree. [`Keyspace::begin_snapshot`] turns the phase of each table that has keys: an entry
//! that disagrees with its table is owed. [`Keyspace::snapshot_step`] walks the tables in bounded steps,
//! and a change of an entry that is owed hands out what it was first; either writes the entry once and
//! makes it agree. A new entry agrees from the start, so it is no part of the snapshot. When nothing is
//! owed any more, all phases agree again, and there is nothing to reset. Entries and tables carry
//! their phase wherever they go, so growth, SWAPDB and loans don't matter.
//!
//! - What is handed out is written at once ([`Encode`]), before the change: one small write, no
//!   allocation to keep. It waits in a buffer ([`Keyspace::snapshot_backlog`]) for the next step. Whoever
//!   makes the snapshot bounds that buffer, by letting writers wait.
//! - Flushed tables and lost slots ([`Db::clear`], [`Db::forsake_slot`]) become the walk's: it
//!   writes what is owed of them before it leaves them as garbage.
//! - A lent table ([`Db::take_slot`]) takes its debts along. The borrower, who may be in a snapshot
//!   of its own, keeps what it has to hand out, and the table brings it home. A slot that moves for
//!   good must be free of debts: [`Keyspace::owes`], [`Keyspace::hurry`].
//! - A large value ([`limits::SNAPSHOT_WHOLE`]) is not written in one go. The walk stops at it
//!   ([`Progress::Large`]) until its owner has written it in pieces, and until then nobody may change
//!   it: see [`Db::owes_large`]. One that expires, is evicted or deleted leaves its table at once and is
//!   written from where it lies. This is why such a value's writers wait for it, instead of each piece
//!   being tracked: the cost falls on those who write to values above that size during a snapshot, once,
//!   and on nobody else.
//! - Access fields are not part of it: a read may touch them before the walk comes.

mod debts;

#[cfg(test)]
mod tests;

use super::db::{Db, EntryRef};
use super::key::Key;
use super::keyspace::Keyspace;
use crate::slot::Slot;

pub(super) use debts::Debts;

/// Who writes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Walk,
    /// Who is about to change it.
    Writer,
}

/// Appends a key with its value in the form that the snapshot is to have.
pub type Encode = Box<dyn FnMut(EntryRef<'_>, By, &mut Vec<u8>) + Send>;

/// Takes what a snapshot consists of.
pub trait Sink {
    /// Where keys of database `db` are appended, each as a whole.
    fn buffer(&mut self, db: usize) -> &mut Vec<u8>;
}

/// How much one step may do.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Entries that it looks at, and places that it visits.
    pub visits: usize,
    /// Bytes that it writes.
    pub bytes: usize,
}

/// What is left after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    More,
    /// Before anything else the value that [`Keyspace::large`] shows is to be written.
    Large,
    /// Slots that are lent have to come back first.
    Waits,
    Done,
}

impl Keyspace {
    /// From here on, what is in the keyspace now is owed, and is written by an encoder for each database.
    /// How many keys that is. There must be no snapshot, and no slot lent or borrowed.
    pub fn begin_snapshot(&mut self, mut encode: impl FnMut() -> Encode) -> usize {
        assert!(!self.in_snapshot(), "one walk at a time");
        for (number, db) in self.dbs.iter_mut().enumerate().filter(|(_, db)| db.len() > 0) {
            db.begin_walk(number, encode());
        }
        self.len()
    }

    /// Whether there is a snapshot whose end hasn't been seen.
    pub fn in_snapshot(&self) -> bool {
        self.dbs.iter().any(|db| db.debts.walk().is_some())
    }

    /// Writes what was handed out, then some of what is still owed.
    pub fn snapshot_step(&mut self, mut budget: Budget, sink: &mut dyn Sink) -> Progress {
        if self.large().is_some() {
            return Progress::Large;
        }
        let mut waits = false;
        for db in &mut self.dbs {
            let Some(number) = db.debts.walk().map(|walk| walk.number) else { continue };
            match db.walk_step(&mut budget, sink.buffer(number)) {
                Progress::Done => {}
                Progress::Waits => waits = true,
                more => return more,
            }
        }
        if waits {
            return Progress::Waits;
        }
        self.dbs.iter_mut().for_each(Db::end_walk);
        Progress::Done
    }

    /// The large value that is written in pieces, with the number of its database. It doesn't change
    /// until [`Keyspace::large_done`].
    pub fn large(&self) -> Option<(usize, EntryRef<'_>)> {
        self.dbs.iter().find_map(|db| db.debts.walk().map(|walk| walk.number).zip(db.large()))
    }

    /// The large value is written.
    pub fn large_done(&mut self) {
        self.dbs.iter_mut().for_each(Db::large_done);
    }

    /// Bytes that were handed out and wait for a step.
    pub fn snapshot_backlog(&self) -> usize {
        self.dbs.iter().filter_map(|db| db.debts.walk()).map(|walk| walk.backlog()).sum()
    }

    /// Keys that were written or handed out.
    pub fn snapshot_keys(&self) -> usize {
        self.dbs.iter().filter_map(|db| db.debts.walk()).map(|walk| walk.written).sum()
    }

    /// Nobody wants the snapshot any more. Steps go on until [`Progress::Done`], but only to make the
    /// phases agree: they write nothing.
    pub fn abandon_snapshot(&mut self) {
        self.dbs.iter_mut().for_each(Db::abandon_walk);
    }

    /// Whether anything in the slot's table is owed still: such a table must not leave for good.
    pub fn owes(&self, slot: Slot) -> bool {
        self.dbs.iter().any(|db| db.debts.owes(slot))
    }

    /// Walks this slot next.
    pub fn hurry(&mut self, slot: Slot) {
        self.dbs.iter_mut().for_each(|db| db.debts.hurry(slot));
    }

    /// The slot of the large value that is being written: it can't be lent.
    pub fn large_slot(&self) -> Option<Slot> {
        self.dbs.iter().find_map(|db| db.debts.large_slot())
    }

    /// Writes the value of a key that somebody wants to change, next; see [`Db::owes_large`].
    pub fn urge(&mut self, db: usize, key: &Key) {
        self.dbs[db].debts.urge(key);
    }
}
