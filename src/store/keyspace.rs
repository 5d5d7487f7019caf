//! One shard's whole data: its databases and what is decided over all of them.

use super::clock::Clock;
use super::db::{Db, Stats};
use super::evict::Pool;
use super::key::Hasher;
use super::owned::Garbage;
use crate::slot::Slot;
use smallvec::SmallVec;

/// A shard's data. Boxed, so that lending it to a sibling moves one pointer.
pub struct Keyspace {
    pub(super) dbs: Vec<Db>,
    pub(super) hasher: Hasher,
    pub(super) pool: Pool,
}

const _: () = {
    const fn send<T: Send>() {}
    send::<Keyspace>();
    send::<super::SlotTable>();
    send::<Garbage>();
    send::<super::Owned>();
};

impl Keyspace {
    /// `databases` empty databases. `seed` feeds what they decide by chance.
    pub fn new(databases: usize, hasher: Hasher, seed: u64) -> Box<Keyspace> {
        let db = |i| Db::new(hasher.clone(), seed ^ i as u64);
        Box::new(Keyspace { dbs: (0..databases).map(db).collect(), hasher, pool: Pool::default() })
    }

    #[inline]
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// Number of databases.
    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// Database `i`. Panics when there is none.
    #[inline]
    pub fn db(&self, i: usize) -> &Db {
        &self.dbs[i]
    }

    /// Brings some keys, each by its database, slot and hash, near before they are used: all of them
    /// take one step on their way through memory before the first takes its next.
    pub fn prefetch(&self, keys: impl Iterator<Item = (usize, Slot, u64)> + Clone) {
        keys.clone().for_each(|(db, slot, _)| self.dbs[db].prefetch_table(slot));
        keys.clone().for_each(|(db, slot, hash)| self.dbs[db].prefetch_bucket(slot, hash));
        let deep = keys.filter(|&(db, slot, hash)| self.dbs[db].prefetch_entry(slot, hash));
        let deep: SmallVec<[(usize, Slot, u64); 64]> = deep.collect();
        deep.iter().for_each(|&(db, slot, hash)| self.dbs[db].prefetch_chained(slot, hash));
    }

    #[inline]
    pub fn db_mut(&mut self, i: usize) -> &mut Db {
        &mut self.dbs[i]
    }

    /// Two different databases at once. Panics when they are the same.
    pub fn two_mut(&mut self, a: usize, b: usize) -> (&mut Db, &mut Db) {
        let [a, b] = self.dbs.get_disjoint_mut([a, b]).expect("two different databases");
        (a, b)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Db> {
        self.dbs.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Db> {
        self.dbs.iter_mut()
    }

    /// Swaps two databases, as SWAPDB does. Keys that clients watch and that are past their time go before: by
    /// changing places with one that is not there, such a key changes nothing.
    pub fn swap(&mut self, a: usize, b: usize, clock: &Clock) {
        if a == b {
            return;
        }
        self.expire_watched(a, b, clock);
        self.dbs.swap(a, b);
        // they expired in the database that had the number
        let (x, y) = self.two_mut(a, b);
        std::mem::swap(&mut x.expired, &mut y.expired);
        self.swap_interest(a, b);
        self.pool.clear();
    }

    /// Keys in all databases.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.dbs.iter().map(Db::len).sum()
    }

    /// Heap bytes of tables and entries; see [`Db::bytes`].
    pub fn bytes(&self) -> usize {
        self.dbs.iter().map(Db::bytes).sum()
    }

    /// The counters of all databases.
    pub fn stats(&self) -> Stats {
        self.dbs.iter().fold(Stats::default(), |sum, db| Stats {
            hits: sum.hits + db.stats.hits,
            misses: sum.misses + db.stats.misses,
            expired_lazy: sum.expired_lazy + db.stats.expired_lazy,
            expired_active: sum.expired_active + db.stats.expired_active,
            evicted: sum.evicted + db.stats.evicted,
        })
    }

    pub fn reset_stats(&mut self) {
        for db in &mut self.dbs {
            db.stats = Stats::default();
            db.reset_loads();
        }
    }

    /// Big things to free, wherever the owner likes.
    pub fn drain_garbage(&mut self) -> Vec<Garbage> {
        self.dbs.iter_mut().flat_map(Db::drain_garbage).collect()
    }
}
