//! Memory above its limits: `maxmemory` is the host's, so all shards take part in getting below it.
//!
//! Each gives up keys in proportion to how many it has that may go, as one keyspace would by sampling:
//! a shard that is written to does not lose its few keys to the many of an idle sibling. A sibling
//! that may not have noticed is told ([`Mail::Crowded`]), and the command that needs the room goes on
//! meanwhile, as it does in Redis when eviction is given a bounded time. Only where no shard has a key
//! that may go it is refused.

use super::cron::policy;
use super::mail::Mail;
use super::{Now, Shard};
use crate::command::ctx::class;
use crate::limits::{CROWDED, EVICT_STEP, LOOK_EVERY, OVERRUN};
use crate::metrics;
use crate::store::Policy;
use std::sync::atomic::Ordering::Relaxed;

/// What a shard knows of the host's memory.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// `maxmemory` is set.
    pub(super) limited: bool,
    /// Bytes that count, and those above the limit, when last looked at.
    data: u64,
    pub(super) over: u64,
    /// What of it siblings are to give up; our own share of that is paid. Forgotten with each tick, for
    /// they may have had reasons not to.
    pub(super) settled: u64,
    /// Commands that may need memory since then.
    commands: u32,
    /// Turns of each sibling when it was last looked at.
    turns: Vec<u64>,
    /// Since when the limit is exceeded, in ms.
    since: Option<u64>,
    /// Ticks that one spell of eviction may take.
    patience: u64,
    /// When this spell began, and how much of its time is used.
    began: u64,
    used: u64,
    /// The last step found nothing that was ours to give up.
    pub(super) stuck: bool,
    /// Clients were looked at in this turn.
    clients_seen: bool,
}

impl Pressure {
    /// How long eviction may go on at `now`. Every command that needs room evicts, and so do the chores
    /// of the same turn: together they get what one may take, and then as much time without.
    fn allowance(&mut self, now: u64) -> u64 {
        if now.wrapping_sub(self.began) >= self.patience.saturating_mul(2) {
            (self.began, self.used) = (now, 0);
        }
        self.patience.saturating_sub(self.used)
    }
}

impl Shard {
    /// Compares the host's memory with `maxmemory`.
    pub(super) fn reckon_memory(&mut self) {
        let ignored = self.repl.is_replica() && self.conf.replica_ignore_maxmemory;
        let max = if ignored { 0 } else { self.conf.maxmemory };
        self.pressure.limited = max > 0;
        if max == 0 && self.pressure.since.is_none() {
            self.conditions.out_of_memory = false;
            return;
        }
        self.pressure.commands = 0;
        // the directories of empty slots are no data; their pages are not even touched
        self.pressure.data = (metrics::used_memory() as u64)
            .saturating_sub(self.host.registers.process.base_memory.load(Relaxed))
            .saturating_sub(self.host.stream_owed(self.conf.repl_backlog_size));
        self.pressure.over = if max > 0 { self.pressure.data.saturating_sub(max) } else { 0 };
        self.pressure.settled = self.pressure.settled.min(self.pressure.over);
        if self.pressure.over == 0 {
            self.conditions.out_of_memory = false;
        }
        self.note_exceeding();
    }

    /// The first step of every turn.
    #[inline]
    pub(super) fn begin_pressure(&mut self) {
        self.pressure.stuck = false;
        self.pressure.clients_seen = false;
        if self.pressure.limited {
            self.reckon_memory();
        }
    }

    /// The time above the limit, as `*_eviction_exceeded_time` of INFO shows it.
    fn note_exceeding(&mut self) {
        let (m, now) = (&self.metrics, self.now.ms());
        match self.pressure.since {
            None if self.pressure.over > 0 => {
                self.pressure.since = Some(now);
                m.exceeding_since.set(now);
            }
            Some(since) if self.pressure.over == 0 => {
                self.pressure.since = None;
                m.exceeding_since.set(0);
                m.exceeded_ms.add(now.saturating_sub(since));
            }
            _ => {}
        }
    }

    /// Makes room for a command that may need memory, in a bounded step; tells the gate when there is
    /// none to be made.
    #[inline]
    pub(super) fn make_room(&mut self) {
        self.pressure.commands += 1;
        if self.pressure.over > 0 || self.pressure.commands >= LOOK_EVERY {
            self.reckon_memory();
        }
        if self.pressure.over > 0 {
            let paid = self.relieve();
            self.conditions.out_of_memory = self.pressure.over > 0 && self.candidates().1 == 0;
            if paid || self.pressure.over > self.conf.maxmemory / CROWDED {
                self.tell_siblings();
            }
        }
    }

    /// Evicts our share of what is too much, in a bounded step. True when that freed anything.
    pub(super) fn relieve(&mut self) -> bool {
        let policy = policy(&self.conf);
        if self.pressure.over == 0 {
            return false;
        }
        // no key goes for what clients have above their limit: it comes free when they are closed
        let seen = std::mem::replace(&mut self.pressure.clients_seen, true);
        if !seen && self.client_limit() > 0 && self.evict_clients() {
            return true;
        }
        let (own, all) = self.candidates();
        if own == 0 {
            self.pressure.stuck = true;
            return false;
        }
        let over = self.pressure.over;
        // alone, or siblings do not keep up
        let share = match own == all || over > self.conf.maxmemory / OVERRUN {
            true => over,
            false => ((over - self.pressure.settled) as u128 * own as u128 / all as u128) as u64,
        };
        // what is less than a key is left to siblings, or a few keys would pay for many
        let least = if own < all { self.pressure.data / all } else { 1 };
        let samples = self.conf.maxmemory_samples as usize;
        let (mut freed, started) = (0, (self.ticks.read)());
        let allowance = self.pressure.allowance(started);
        for n in 1.. {
            if self.pressure.over == 0 || share < freed + least {
                break;
            }
            let Some((db, name)) = self.ks.evict_one(policy, samples, &mut self.rng, &self.clock) else {
                break;
            };
            self.propagate_gone(db, self.conf.lazyfree_lazy_eviction, [&*name]);
            self.announce(class::EVICTED, "evicted", &name, db);
            self.invalidate(db, &name, None);
            self.reckon_memory();
            freed = over.saturating_sub(self.pressure.over).max(1);
            if n % EVICT_STEP == 0 && (self.ticks.read)().wrapping_sub(started) > allowance {
                break;
            }
        }
        self.pressure.used += (self.ticks.read)().wrapping_sub(started);
        if freed > 0 {
            self.pressure.settled = self.pressure.over.saturating_sub(share.saturating_sub(freed));
        }
        self.pressure.stuck = freed == 0;
        freed > 0
    }

    /// Takes up what the configuration says of memory.
    pub(super) fn configure_pressure(&mut self) {
        let us = patience_us(self.conf.maxmemory_eviction_tenacity);
        self.pressure.patience = (us * self.ticks.per_us) as u64;
        self.reckon_memory();
    }

    /// Keys that the policy lets go: ours, and the whole host's.
    fn candidates(&self) -> (u64, u64) {
        let policy = policy(&self.conf);
        if policy == Policy::NoEviction {
            return (0, 0);
        }
        let volatile = policy.volatile();
        let own: usize = self.ks.iter().map(|db| if volatile { db.volatile_len() } else { db.len() }).sum();
        let siblings = self.host.metrics.iter().enumerate().filter(|(i, _)| *i != self.at.me);
        let others: u64 = siblings.map(|(_, m)| may_go(m, volatile)).sum();
        (own as u64, own as u64 + others)
    }

    /// Wakes siblings that have keys which may go, and had no turn of their own to notice.
    fn tell_siblings(&mut self) {
        let policy = policy(&self.conf);
        if policy == Policy::NoEviction {
            return;
        }
        self.pressure.turns.resize(self.at.shards, 0);
        for to in (0..self.at.shards).filter(|&to| to != self.at.me) {
            let m = &self.host.metrics[to];
            let before = std::mem::replace(&mut self.pressure.turns[to], m.turns.get());
            if before == m.turns.get() && may_go(m, policy.volatile()) > 0 {
                self.letters.push((to, Mail::Crowded));
                // it is told once, until it has had a turn and slept again
                self.pressure.turns[to] = u64::MAX;
            }
        }
    }

    /// `maxmemory-clients`: closes the largest clients of the host, each shard its own. Whether any was.
    pub(super) fn evict_clients(&mut self) -> bool {
        let limit = self.client_limit();
        self.metrics.largest_client.set(self.largest_client().map_or(0, |(_, bytes)| bytes));
        if limit == 0 {
            return false;
        }
        let own: usize = self.clients.iter().map(|(_, session)| session.memory()).sum();
        self.metrics.client_bytes.set(own as u64);
        let mut any = false;
        let metrics = &self.host.metrics;
        let mut total: u64 = metrics.iter().map(|m| m.client_bytes.get()).sum();
        let siblings = metrics.iter().enumerate().filter(|(i, _)| *i != self.at.me);
        let theirs = siblings.map(|(_, m)| m.largest_client.get()).max().unwrap_or(0);
        while total > limit
            && let Some((client, bytes)) = self.largest_client().filter(|(_, bytes)| *bytes >= theirs)
        {
            if let Some(session) = self.clients.get(client) {
                tracing::info!(client = session.caller.id, bytes, "Evicting client");
            }
            self.throw_out(client);
            any = true;
            self.metrics.evicted_clients.inc();
            self.metrics.client_bytes.set(self.metrics.client_bytes.get().saturating_sub(bytes));
            total = total.saturating_sub(bytes);
        }
        self.metrics.largest_client.set(self.largest_client().map_or(0, |(_, bytes)| bytes));
        any
    }

    fn client_limit(&self) -> u64 {
        self.conf.maxmemory_clients.bytes(self.conf.maxmemory)
    }

    /// The client that costs most of those that may go, and its bytes.
    fn largest_client(&self) -> Option<(u32, u64)> {
        let may_go = self.clients.iter().filter(|(_, s)| !s.caller.no_evict && !s.is_closing());
        may_go.map(|(client, s)| (client, s.memory() as u64)).max_by_key(|(_, bytes)| *bytes)
    }

    /// Whether there is something to do that no input announces: see [`Shard::chores`].
    #[inline]
    pub fn has_chores(&self) -> bool {
        self.chores
    }

    /// Goes on with expiry, eviction, a snapshot, what leaves for others and what comes from them, a
    /// bounded step of each.
    pub fn chores(&mut self, now: Now) {
        self.begin(now);
        self.chores = false;
        if self.expiring {
            self.expire_step();
        }
        self.relieve();
        self.write_step();
        self.reading_step();
        if !self.landings.is_empty() {
            self.landing_step();
        }
        self.snapshot_step();
        self.parting_step();
        self.go_on_applying();
        self.resume_clients();
        self.end_turn();
    }
}

/// Microseconds that one step of eviction may take under this `maxmemory-eviction-tenacity`, as Redis
/// has it: linear up to half a millisecond at 10, then 15 % more for each.
fn patience_us(tenacity: u32) -> f64 {
    match tenacity {
        0..=10 => 50.0 * tenacity as f64,
        11..=99 => 500.0 * 1.15f64.powi(tenacity as i32 - 10),
        _ => f64::INFINITY,
    }
}

/// Keys of a shard that may go.
fn may_go(m: &metrics::Metrics, volatile: bool) -> u64 {
    let counters = if volatile { &m.volatile } else { &m.keys };
    counters.iter().map(metrics::Counter::get).sum()
}

#[cfg(test)]
mod tests {
    use super::{Pressure, patience_us};

    #[test]
    fn a_spell_has_one_allowance() {
        let mut p = Pressure { patience: 500, ..Pressure::default() };
        assert_eq!(p.allowance(10_000), 500);
        p.used += 300;
        assert_eq!(p.allowance(10_300), 200);
        p.used += 230;
        assert_eq!(p.allowance(10_999), 0);
        assert_eq!((p.allowance(11_000), p.began), (500, 11_000));
        let mut tenacious = Pressure { patience: u64::MAX, used: 1 << 40, ..Pressure::default() };
        assert!(tenacious.allowance(5) > 1 << 60, "as long as it takes");
    }

    #[test]
    fn patience_is_as_tenacity_says() {
        assert_eq!([0, 1, 10].map(patience_us), [0.0, 50.0, 500.0]);
        assert!((patience_us(11) - 575.0).abs() < 0.01);
        assert!((60e6..170e6).contains(&patience_us(99)) && patience_us(100).is_infinite());
    }
}
