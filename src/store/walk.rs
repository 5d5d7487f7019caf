//! Walks over a database: SCAN, all keys, a slot's keys, a random key.

use std::ops::Range;

use super::clock::{Clock, Expiry};
use super::db::{Db, EntryRef, GROUP};
use super::entry::Entry;
use crate::slot::{SLOTS, Slot};
use crate::util::rng::Rng;

const SLOT_BITS: u32 = SLOTS.ilog2();

/// The slot that a scan will go on in.
pub fn cursor_slot(cursor: u64) -> Slot {
    (cursor % SLOTS as u64) as Slot
}

/// Whether a walk by [`Db::walk_slot`] that has come to `cursor` has passed the keys of this hash: cursors
/// count with their bits reversed.
pub fn is_behind(cursor: u64, hash: u64) -> bool {
    hash.reverse_bits() < cursor.reverse_bits()
}

/// Places that one call of a scan may visit for each key that it was asked for, so that a sparse
/// table doesn't hold it up; as Redis.
const VISITS_PER_KEY: usize = 10;

impl Db {
    /// One call of a scan over `slots`: calls `f` with about `count` keys from `cursor` on, and
    /// returns the next cursor, 0 when the slots are done. Start with 0.
    ///
    /// A cursor is `position in the slot << 14 | slot`. A key that is there during the whole scan
    /// is seen at least once; one may be seen twice. Keys past their time aren't shown.
    pub fn scan(
        &mut self,
        cursor: u64,
        count: usize,
        slots: Range<Slot>,
        clock: &Clock,
        mut f: impl FnMut(EntryRef<'_>),
    ) -> u64 {
        let (from, to) = (slots.start as usize, slots.end as usize);
        let (mut slot, mut at) = ((cursor_slot(cursor) as usize), cursor >> SLOT_BITS);
        if slot < from {
            (slot, at) = (from, 0);
        }
        let (mut seen, mut visits) = (0, 0);
        let mut due: Vec<Box<[u8]>> = Vec::new();
        let next = loop {
            let Some(s) = self.used.next(slot, to) else { break 0 };
            if s != slot {
                (slot, at) = (s, 0);
                if seen >= count || visits >= count * VISITS_PER_KEY {
                    break slot as u64;
                }
            }
            at = self.tables[slot].scan(at, &mut |entry| {
                seen += 1;
                show(entry, clock, &mut due, &mut f);
            });
            visits += 1;
            if at == 0 {
                slot += 1;
            } else if seen >= count || visits >= count * VISITS_PER_KEY {
                break at << SLOT_BITS | slot as u64;
            }
        };
        self.expire_met(&due, clock);
        next
    }

    /// Calls `f` with every key of the database, slot by slot; those past their time aren't shown.
    pub fn for_each(&self, clock: &Clock, mut f: impl FnMut(EntryRef<'_>)) {
        let mut slot = 0;
        while let Some(s) = self.used.next(slot, SLOTS) {
            self.for_each_in(s as Slot, clock, &mut f);
            slot = s + 1;
        }
    }

    /// Calls `f` with every key of a slot; those past their time aren't shown.
    pub fn for_each_in(&self, slot: Slot, clock: &Clock, mut f: impl FnMut(EntryRef<'_>)) {
        self.table(slot).each(&mut |entry| {
            if !is_expired(entry, clock) {
                f(EntryRef { entry });
            }
        });
    }

    /// One step of a walk over a slot: calls `f` with some keys from `cursor` on, and returns the next cursor, 0
    /// at the end. Start with 0. Keys past their time aren't shown. See [`is_behind`].
    pub fn walk_slot(&self, slot: Slot, cursor: u64, clock: &Clock, mut f: impl FnMut(EntryRef<'_>)) -> u64 {
        self.table(slot).scan(cursor, &mut |entry| {
            if !is_expired(entry, clock) {
                f(EntryRef { entry });
            }
        })
    }

    /// The first slot at `from` or later that has keys.
    pub fn next_used_slot(&self, from: Slot) -> Option<Slot> {
        self.used.next(from as usize, SLOTS).map(|s| s as Slot)
    }

    /// Up to `n` keys of a slot, those past their time included, as CLUSTER GETKEYSINSLOT answers.
    pub fn keys_in_slot(&self, slot: Slot, n: usize) -> Vec<&[u8]> {
        self.table(slot).keys(n)
    }

    /// A random key, each as likely as any other; one that is past its time is dealt with as the
    /// clock says and another one taken.
    pub fn random(&mut self, rng: &mut Rng, clock: &Clock) -> Option<EntryRef<'_>> {
        // A replica whose keys are all past their time has to show one of them: as Redis.
        let mut patience = 100;
        let name: Box<[u8]> = loop {
            let slot = self.random_slot(rng)?;
            let entry = self.tables[slot].random(rng)?;
            patience -= 1;
            let name = entry.key().into();
            if !is_expired(entry, clock) || (clock.expiry == Expiry::Hide && patience == 0) {
                break name;
            }
            self.expire_met(&[name], clock);
        };
        let key = self.key(&name);
        let spot = self.spot(&key)?;
        Some(EntryRef { entry: self.entry(&key, spot) })
    }

    /// A slot, as likely as it has keys.
    pub(super) fn random_slot(&self, rng: &mut Rng) -> Option<usize> {
        let rank = rng.below(self.len() as u64) as usize;
        self.slot_of_rank(rank, |group| group.len, |db, slot| db.tables[slot].len())
    }

    /// A slot, as likely as it has keys with a TTL.
    pub(super) fn random_fading_slot(&self, rng: &mut Rng) -> Option<usize> {
        let rank = rng.below(self.volatile_len() as u64) as usize;
        self.slot_of_rank(rank, |group| group.volatile, |db, slot| db.tables[slot].volatile())
    }

    fn slot_of_rank(
        &self,
        mut rank: usize,
        in_group: impl Fn(&super::db::Count) -> u32,
        in_slot: impl Fn(&Db, usize) -> usize,
    ) -> Option<usize> {
        for (g, group) in self.groups.iter().enumerate() {
            let n = in_group(group) as usize;
            if rank >= n {
                rank -= n;
                continue;
            }
            for slot in g * GROUP..(g + 1) * GROUP {
                let n = in_slot(self, slot);
                if rank < n {
                    return Some(slot);
                }
                rank -= n;
            }
        }
        None
    }
}

fn is_expired(entry: &Entry, clock: &Clock) -> bool {
    entry.expire_at().is_some_and(|at| clock.expired(at))
}

fn show(entry: &Entry, clock: &Clock, due: &mut Vec<Box<[u8]>>, f: &mut impl FnMut(EntryRef<'_>)) {
    match is_expired(entry, clock) {
        true if clock.expiry == Expiry::Remove => due.push(entry.key().into()),
        true => {}
        false => f(EntryRef { entry }),
    }
}
