//! What time alone makes happen: expiry, eviction, timeouts, holds that end.

use super::{Now, Shard};
use crate::config::Config;
use crate::config::types::MaxmemoryPolicy;
use crate::limits::{EVICT_STEP, EXPIRE_STEP};
use crate::metrics;
use crate::session::Hold;
use crate::store::Policy;
use std::sync::atomic::Ordering;

/// The store's word for `maxmemory-policy`.
pub(super) fn policy(conf: &Config) -> Policy {
    match conf.maxmemory_policy {
        MaxmemoryPolicy::NoEviction => Policy::NoEviction,
        MaxmemoryPolicy::AllkeysLru => Policy::AllkeysLru,
        MaxmemoryPolicy::AllkeysLfu => Policy::AllkeysLfu,
        MaxmemoryPolicy::AllkeysRandom => Policy::AllkeysRandom,
        MaxmemoryPolicy::VolatileLru => Policy::VolatileLru,
        MaxmemoryPolicy::VolatileLfu => Policy::VolatileLfu,
        MaxmemoryPolicy::VolatileRandom => Policy::VolatileRandom,
        MaxmemoryPolicy::VolatileTtl => Policy::VolatileTtl,
    }
}

impl Shard {
    /// To be called about `hz` times a second, busy or not.
    pub fn tick(&mut self, now: Now) {
        self.begin(now);
        self.end_holds();
        self.drop_idle_clients();
        self.reckon_memory();
        self.expire_step();
        self.publish();
        self.resume_clients();
        self.end_turn();
    }

    /// The last step of every turn.
    pub(super) fn end_turn(&mut self) {
        if self.conditions.out_of_memory {
            self.reckon_memory();
        }
        let garbage = self.ks.drain_garbage();
        if !garbage.is_empty() {
            self.metrics.lazyfreed.add(garbage.iter().map(|g| g.effort() as u64).sum());
            self.garbage.extend(garbage);
        }
        self.publish_keys();
    }

    /// Looks at a bounded number of keys with a TTL. True when there is likely more to do at once.
    pub fn expire_step(&mut self) -> bool {
        if !self.host.active_expire.load(Ordering::Relaxed) {
            return false;
        }
        let mut more = false;
        for _ in 0..self.ks.databases() {
            self.expire_db = (self.expire_db + 1) % self.ks.databases();
            let step = self.ks.db_mut(self.expire_db).expire_step(self.now.ms(), EXPIRE_STEP);
            more |= step.more;
        }
        more
    }

    fn end_holds(&mut self) {
        let now = self.now.ms();
        for (client, session) in self.clients.iter_mut() {
            if let Hold::Until(end) = session.hold
                && end <= now
            {
                session.hold = Hold::None;
                self.resume.push(client);
            }
        }
    }

    /// `timeout`, and `client-output-buffer-limit` of normal clients.
    fn drop_idle_clients(&mut self) {
        let now = self.now.ms();
        let timeout = self.conf.timeout as u64 * 1000;
        let limit = self.conf.client_output_buffer_limit.normal;
        let mut doomed = Vec::new();
        for (client, session) in self.clients.iter_mut() {
            let idle = now.saturating_sub(session.last_ms);
            let output = session.output() as u64;
            session.soft_since = match session.soft_since {
                _ if limit.soft == 0 || output <= limit.soft => None,
                Some(since) => Some(since),
                None => Some(now),
            };
            let soft = session.soft_since.is_some_and(|s| now - s >= limit.soft_seconds as u64 * 1000);
            if (timeout > 0 && idle > timeout) || (limit.hard > 0 && output > limit.hard) || soft {
                doomed.push(client);
            }
        }
        for client in doomed {
            if let Some(session) = self.clients.get(client) {
                session.out.clear();
                session.in_flight = 0;
                session.killed = true;
            }
            self.hang_up(client);
        }
    }

    /// Compares the host's memory with `maxmemory`.
    pub(super) fn reckon_memory(&mut self) {
        let max = self.conf.maxmemory;
        self.conditions.out_of_memory = max > 0 && metrics::used_memory() as u64 > max;
    }

    /// Evicts a bounded number of keys, until the host is below `maxmemory`.
    pub(super) fn make_room(&mut self) {
        let policy = policy(&self.conf);
        if policy == Policy::NoEviction {
            return self.reckon_memory();
        }
        let samples = self.conf.maxmemory_samples as usize;
        for _ in 0..EVICT_STEP {
            self.reckon_memory();
            if !self.conditions.out_of_memory
                || self.ks.evict_one(policy, samples, &mut self.rng, &self.clock).is_none()
            {
                return;
            }
        }
        // what is left over is the next command's work: this one goes on
        self.conditions.out_of_memory = false;
    }

    /// Publishes what readers of [`metrics::Metrics`] see.
    fn publish(&mut self) {
        let stats = self.ks.stats();
        let m = &self.metrics;
        m.hits.set(stats.hits);
        m.misses.set(stats.misses);
        m.expired.set(stats.expired_lazy + stats.expired_active);
        m.evicted.set(stats.evicted);
        self.publish_keys();
        self.publish_figures();
    }
}
