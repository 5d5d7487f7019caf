//! What time alone makes happen: expiry, eviction, timeouts, holds that end.

use super::{Now, Shard};
use crate::config::Config;
use crate::config::types::{MaxmemoryPolicy, OutputLimit};
use crate::limits::{EXPIRE_STEP, OUTPUT_OF_STRANGERS};
use crate::session::{Hold, Session};
use crate::store::{Expiry, Garbage, Policy};
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

/// How much somebody may have unread who has not said the password.
const STRANGERS: OutputLimit = OutputLimit { hard: OUTPUT_OF_STRANGERS, soft: 0, soft_seconds: 0 };

/// How much a client may have unread.
pub(super) fn output_limit(session: &Session, conf: &Config) -> OutputLimit {
    let limits = &conf.client_output_buffer_limit;
    if session.caller.subscribed { limits.pubsub } else { limits.normal }
}

impl Shard {
    /// To be called about `hz` times a second, busy or not.
    pub fn tick(&mut self, now: Now) {
        if self.host.cron_paused.load(Ordering::Relaxed) {
            return;
        }
        self.begin(now);
        self.end_holds();
        self.heed_logs();
        self.end_waits();
        self.release_publishers();
        self.tell_of_lost_keys();
        self.release_if_aborted();
        self.heed_shutdown();
        self.drop_lost_slots();
        self.tick_moves();
        self.tick_replication();
        self.tick_trackers();
        self.settle_waiters();
        self.settle_durable();
        self.pressure.settled = 0;
        self.drop_idle_clients();
        self.begin_expiry();
        self.save_if_due();
        self.publish();
        self.sample_loads();
        self.balance_if_due();
        self.evict_clients();
        self.resume_clients();
        self.end_turn();
    }

    /// The last step of every turn.
    pub(super) fn end_turn(&mut self) {
        self.tell_expired_if_any();
        self.keep_libraries_told();
        if self.pressure.limited {
            self.reckon_memory();
            self.chores |= self.pressure.over > 0 && !self.pressure.stuck;
        }
        let garbage = self.ks.drain_garbage();
        if !garbage.is_empty() {
            let pending = &self.host.registers.process.lazyfree_pending;
            let objects: usize = garbage.iter().map(Garbage::objects).sum();
            pending.fetch_add(objects as u64, Ordering::Relaxed);
            self.garbage.extend(garbage);
        }
        self.publish_keys();
        self.tell_changes();
        self.send_messages();
        self.release_held_back();
        self.end_replication();
    }

    /// Another cycle of active expiry. One that is not over yet had too little time.
    fn begin_expiry(&mut self) {
        if self.expiring {
            self.metrics.expiry_cut_short.inc();
        }
        self.expiring = true;
        self.expire_step();
    }

    /// Looks at a bounded number of keys with a TTL, and ends the cycle when few were past their time.
    pub(super) fn expire_step(&mut self) {
        let started = (self.ticks.read)();
        self.expiring = false;
        // keys of a replica expire by its primary's word
        let own = self.clock.expiry == Expiry::Remove;
        if self.host.active_expire.load(Ordering::Relaxed) && own && !self.is_loading() {
            let (mut examined, mut expired) = (0, 0);
            for _ in 0..self.ks.databases() {
                self.expire_db = (self.expire_db + 1) % self.ks.databases();
                let step = self.ks.db_mut(self.expire_db).expire_step(self.now.ms(), EXPIRE_STEP);
                self.expiring |= step.more;
                examined += step.examined;
                expired += step.expired;
            }
            self.metrics.note_stale(expired as u64, examined as u64);
            self.tell_expired_if_any();
        }
        self.chores |= self.expiring;
        self.metrics.expiry_ticks.add((self.ticks.read)().wrapping_sub(started));
    }

    /// No writes while a shard of the host can't write its log: they may lead to any of them.
    pub fn heed_logs(&mut self) {
        let errors = self.host.metrics.iter().map(|m| m.aof.error.get() as i32);
        self.conditions.unwritable = errors.into_iter().find(|&error| error != 0);
    }

    fn end_holds(&mut self) {
        let now = self.now.ms();
        for (client, session) in self.clients.iter_mut() {
            if let Hold::Until(end) = session.hold
                && end <= now
                && session.let_go()
            {
                self.resume.push(client);
            }
        }
        self.note_paused();
    }

    /// `timeout`, and `client-output-buffer-limit`; replicas have rules of their own.
    fn drop_idle_clients(&mut self) {
        let now = self.now.ms();
        let timeout = self.conf.timeout as u64 * 1000;
        let (mut idle, mut overflown) = (Vec::new(), Vec::new());
        for (client, session) in self.clients.iter_mut() {
            if self.repl.primary.is_replica(client) {
                continue;
            }
            let stranger = self.conditions.auth_required && !session.caller.authenticated;
            let limit = if stranger { STRANGERS } else { output_limit(session, &self.conf) };
            let output = session.output() as u64;
            session.soft_since = match session.soft_since {
                _ if limit.soft == 0 || output <= limit.soft => None,
                Some(since) => Some(since),
                None => Some(now),
            };
            let soft = session.soft_since.is_some_and(|s| now - s >= limit.soft_seconds as u64 * 1000);
            let waits = session.hold == Hold::Blocked || session.caller.subscribed || session.monitor;
            if (limit.hard > 0 && output > limit.hard) || soft {
                overflown.push(client);
            } else if timeout > 0 && !waits && now.saturating_sub(session.last_ms) > timeout {
                idle.push(client);
            }
        }
        overflown.into_iter().for_each(|client| self.cut_off(client));
        idle.into_iter().for_each(|client| self.throw_out(client));
    }

    /// Closes a client that has read too little of what it got.
    pub(super) fn cut_off(&mut self, client: u32) {
        if let Some(session) = self.clients.get(client).filter(|session| !session.killed) {
            tracing::warn!(
                "Client id={} addr={} scheduled to be closed ASAP for overcoming of output buffer limits.",
                session.caller.id,
                session.addr
            );
            self.throw_out(client);
        }
    }

    /// Closes a client at once: it gets nothing more, and is not waited for.
    pub(super) fn throw_out(&mut self, client: u32) {
        if let Some(session) = self.clients.get(client) {
            session.out.clear();
            session.pending = Vec::new();
            session.held = Vec::new();
            session.in_flight = 0;
            session.killed = true;
        }
        self.hang_up(client);
    }

    /// Publishes what readers of [`metrics::Metrics`] see.
    fn publish(&mut self) {
        self.publish_keys();
        self.publish_figures();
    }
}
