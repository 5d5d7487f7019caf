//! Choosing keys to give up when memory is full: Redis's approximations, by sampling into a small
//! pool of candidates.

use super::clock::Clock;
use super::db::Db;
use super::entry::Entry;
use super::keyspace::Keyspace;
use crate::slot::Slot;
use crate::util::rng::Rng;

/// `maxmemory-policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    #[default]
    NoEviction,
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

impl Policy {
    /// Only keys with a TTL are given up.
    pub fn volatile(self) -> bool {
        use Policy::*;
        matches!(self, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl)
    }

    /// The access field holds LFU data.
    pub fn lfu(self) -> bool {
        matches!(self, Policy::AllkeysLfu | Policy::VolatileLfu)
    }

    /// Keys go by when they were last used.
    pub fn lru(self) -> bool {
        matches!(self, Policy::AllkeysLru | Policy::VolatileLru)
    }

    fn random(self) -> bool {
        matches!(self, Policy::AllkeysRandom | Policy::VolatileRandom)
    }

    /// How much a key deserves to go; more is sooner.
    fn score(self, entry: &Entry, clock: &Clock) -> u64 {
        match self {
            Policy::VolatileTtl => u64::MAX - entry.expire_at().unwrap_or(u64::MAX),
            Policy::AllkeysLfu | Policy::VolatileLfu => 255 - clock.frequency(entry.lru()) as u64,
            _ => clock.idle(entry.lru()),
        }
    }
}

const POOL: usize = 16;
/// Buckets to look at for keys with a TTL before another place is tried.
const REACH: usize = 64;
const TRIES: usize = 8;

struct Candidate {
    score: u64,
    db: usize,
    slot: Slot,
    key: Box<[u8]>,
}

/// The best candidates of recent samples, worst first.
#[derive(Default)]
pub(super) struct Pool {
    of: Policy,
    best: Vec<Candidate>,
}

impl Pool {
    pub fn clear(&mut self) {
        self.best.clear();
    }

    fn offer(&mut self, candidate: Candidate) {
        if self.best.len() == POOL && candidate.score <= self.best[0].score {
            return;
        }
        if self.best.iter().any(|c| c.db == candidate.db && c.key == candidate.key) {
            return;
        }
        if self.best.len() == POOL {
            self.best.remove(0);
        }
        let at = self.best.partition_point(|c| c.score < candidate.score);
        self.best.insert(at, candidate);
    }
}

impl Keyspace {
    /// Removes the key that the policy thinks can best be spared, from `samples` samples of each
    /// database and what is left of earlier ones. Returns its database and name; `None` when no
    /// key may go.
    pub fn evict_one(
        &mut self,
        policy: Policy,
        samples: usize,
        rng: &mut Rng,
        clock: &Clock,
    ) -> Option<(usize, Box<[u8]>)> {
        if policy == Policy::NoEviction {
            return None;
        }
        if self.pool.of != policy {
            self.pool.clear();
            self.pool.of = policy;
        }
        loop {
            let (db, slot, key) = match policy.random() {
                true => self.draw(policy, rng)?,
                false => self.best(policy, samples, rng, clock)?,
            };
            if self.evict(db, slot, &key, policy) {
                return Some((db, key));
            }
        }
    }

    /// Any key that the policy allows.
    fn draw(&self, policy: Policy, rng: &mut Rng) -> Option<(usize, Slot, Box<[u8]>)> {
        let weight = |db: &Db| if policy.volatile() { db.volatile_len() } else { db.len() };
        let mut rank = rng.below(self.dbs.iter().map(weight).sum::<usize>() as u64) as usize;
        for (i, db) in self.dbs.iter().enumerate() {
            if rank < weight(db) {
                let mut drawn = None;
                db.sample(policy.volatile(), 1, rng, |slot, entry| {
                    drawn.get_or_insert_with(|| (i, slot, entry.key().into()));
                });
                return drawn;
            }
            rank -= weight(db);
        }
        None
    }

    /// The best candidate after another round of samples.
    fn best(
        &mut self,
        policy: Policy,
        samples: usize,
        rng: &mut Rng,
        clock: &Clock,
    ) -> Option<(usize, Slot, Box<[u8]>)> {
        for (i, db) in self.dbs.iter().enumerate() {
            db.sample(policy.volatile(), samples.max(1), rng, |slot, entry| {
                let score = policy.score(entry, clock);
                self.pool.offer(Candidate { score, db: i, slot, key: entry.key().into() });
            });
        }
        self.pool.best.pop().map(|c| (c.db, c.slot, c.key))
    }

    fn evict(&mut self, db: usize, slot: Slot, bytes: &[u8], policy: Policy) -> bool {
        let key = self.hasher.key_in_slot(bytes, slot);
        let db = &mut self.dbs[db];
        let Some(spot) = db.spot(&key) else { return false };
        if policy.volatile() && !db.entry(&key, spot).has_ttl() {
            return false;
        }
        db.drop_key(&key, spot, db.lazy.evict);
        db.touch_gone(slot, bytes);
        db.stats.evicted += 1;
        true
    }
}

impl Db {
    /// Calls `f` with `n` entries from random places, or fewer when there are fewer; with
    /// `volatile` only with such as have a TTL. Neighbours may come together.
    fn sample(&self, volatile: bool, n: usize, rng: &mut Rng, mut f: impl FnMut(Slot, &Entry)) {
        if !volatile {
            for _ in 0..n.min(self.len()) {
                let Some(slot) = self.random_slot(rng) else { return };
                if let Some(entry) = self.tables[slot].random(rng) {
                    f(slot as Slot, entry);
                }
            }
            return;
        }
        let wanted = n.min(self.volatile_len());
        let mut got = 0;
        for _ in 0..wanted * TRIES {
            let Some(slot) = self.random_fading_slot(rng) else { return };
            let width = self.tables[slot].width();
            let start = rng.below(width as u64) as usize;
            got += self.sample_fading(slot, start, REACH.min(width), rng, &mut f);
            if got >= wanted {
                return;
            }
        }
        if got == 0
            && let Some(slot) = self.random_fading_slot(rng)
        {
            self.sample_fading(slot, 0, self.tables[slot].width(), rng, &mut f);
        }
    }

    /// Shows one entry with a TTL of the first bucket that has any, from `start` on over `reach`
    /// buckets, wrapping around. Returns how many it showed: 1 or 0.
    fn sample_fading(
        &self,
        slot: usize,
        start: usize,
        reach: usize,
        rng: &mut Rng,
        f: &mut impl FnMut(Slot, &Entry),
    ) -> usize {
        let table = &self.tables[slot];
        let mut found: Vec<&Entry> = Vec::new();
        for b in 0..reach {
            table.each_volatile((start + b) % table.width(), &mut |entry| found.push(entry));
            if !found.is_empty() {
                f(slot as Slot, found[rng.below(found.len() as u64) as usize]);
                return 1;
            }
        }
        0
    }
}
