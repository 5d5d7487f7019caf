//! Keys past their time: met by an access, or found by walking the TTL bits.

use super::clock::{Clock, Expiry};
use super::db::Db;
use super::key::Key;
use super::table::Spot;
use crate::slot::{SLOTS, Slot};

/// Where the walk stands, and what it learned.
#[derive(Default)]
pub(super) struct Cursor {
    slot: usize,
    bucket: usize,
    avg_ttl: u64,
}

/// What one step of active expiry did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpireStep {
    /// Keys with a TTL that were looked at.
    pub examined: usize,
    pub expired: usize,
    /// More than a tenth were past their time: another step is likely to find as many.
    pub more: bool,
}

/// Buckets that a step may read for each key of its budget.
const BUCKETS_PER_KEY: usize = 4;

impl Db {
    /// What becomes of an expired key that an access met.
    #[cold]
    pub(super) fn meet_expired(&mut self, key: &Key, spot: Spot, clock: &Clock) {
        if clock.expiry == Expiry::Remove {
            self.expire(key, spot);
            self.stats.expired_lazy += 1;
        }
    }

    fn expire(&mut self, key: &Key, spot: Spot) {
        self.drop_key(key, spot, self.lazy.expire);
        self.touch_gone(key.slot, key.bytes);
        if self.track_expired {
            self.expired.push(key.bytes.into());
        }
    }

    /// Removes keys that are past their time, from where the last call stopped. Looks at about
    /// `budget` keys with a TTL at most, and never at others.
    pub fn expire_step(&mut self, now_ms: u64, budget: usize) -> ExpireStep {
        let mut step = ExpireStep::default();
        let mut buckets = budget * BUCKETS_PER_KEY;
        let (mut ttl_sum, mut ttl_n) = (0u64, 0u64);
        let mut due: Vec<Box<[u8]>> = Vec::new();
        let mut wrapped = false;
        while step.examined < budget && buckets > 0 && self.volatile_len() > 0 {
            let Some(slot) = self.fading.next(self.expiring.slot, SLOTS) else {
                if std::mem::replace(&mut wrapped, true) {
                    break;
                }
                (self.expiring.slot, self.expiring.bucket) = (0, 0);
                continue;
            };
            if slot != self.expiring.slot {
                (self.expiring.slot, self.expiring.bucket) = (slot, 0);
            }
            let table = &self.tables[slot];
            if self.expiring.bucket >= table.width() {
                (self.expiring.slot, self.expiring.bucket) = (slot + 1, 0);
                continue;
            }
            table.each_volatile(self.expiring.bucket, &mut |entry| {
                step.examined += 1;
                match entry.expire_at() {
                    Some(at) if now_ms > at => due.push(entry.key().into()),
                    Some(at) => (ttl_sum, ttl_n) = (ttl_sum + (at - now_ms), ttl_n + 1),
                    None => {}
                }
            });
            self.expiring.bucket += 1;
            buckets -= 1;
            step.expired += self.expire_all(&due, slot as Slot);
            due.clear();
        }
        self.note_ttls(ttl_sum, ttl_n);
        step.more = step.expired * 10 > step.examined;
        step
    }

    fn expire_all(&mut self, keys: &[Box<[u8]>], slot: Slot) -> usize {
        for bytes in keys {
            let hash = self.hasher.hash(bytes);
            let key = Key { bytes, slot, hash };
            if let Some(spot) = self.spot(&key) {
                self.expire(&key, spot);
                self.stats.expired_active += 1;
            }
        }
        keys.len()
    }

    /// A running average that forgets slowly, as Redis's: a fiftieth for each new sample.
    fn note_ttls(&mut self, sum: u64, n: u64) {
        let Some(mean) = sum.checked_div(n) else { return };
        let old = self.expiring.avg_ttl;
        self.expiring.avg_ttl = if old == 0 { mean } else { old / 50 * 49 + mean / 50 };
    }

    /// Milliseconds that keys with a TTL have left on average, estimated from those that
    /// [`Db::expire_step`] saw; 0 when there are none.
    pub fn avg_ttl(&self) -> u64 {
        if self.volatile_len() == 0 { 0 } else { self.expiring.avg_ttl }
    }

    /// Removes `keys`, which the caller saw to be expired.
    pub(super) fn expire_met(&mut self, keys: &[Box<[u8]>], clock: &Clock) {
        for bytes in keys {
            let key = self.key(bytes);
            self.live(&key, clock);
        }
    }
}
