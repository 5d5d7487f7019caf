//! This shard as primary and as replica: see [`repl`](crate::repl) for the rules.
//!
//! - `serve` is about replicas: their requests, and the stream, which is fed to the backlog at the end of
//!   each turn, as soon as a replica ever came. A shard without replicas pays one check a turn.
//! - `sync` is their full synchronization: a snapshot whose chunks go to sockets.
//! - `follow` is about the primary that this shard copies, `load` its payload, `apply` its stream.
//! - `parting` tells replicas of slots that leave for a sibling.
//! - `failover` hands the role over to a replica; in a cluster the plane does, see `member`.
//! - `restart` is what a file keeps of the stream, so that nobody needs a payload after a restart.
//!
//! A replica's stream is its primary's, byte for byte: what commands of the stream do here goes to the
//! append-only file only. Keys expire by the primary's word; until then clients don't see them.

mod apply;
mod failover;
mod follow;
mod load;
mod member;
mod parting;
mod restart;
mod serve;
mod sync;

use super::Shard;
use super::mail::Ticket;
use super::moving::LinkId;
use crate::command::host::{PrimaryReport, ReplicaReport};
use crate::limits::REPL_SECOND_MS;
use crate::repl::history::Id;
use crate::repl::primary::{Rules, State};
use crate::repl::{Backlog, Primary};
use crate::resp::Reply;
use crate::session::Hold;
use follow::Follower;
use std::sync::atomic::Ordering::Relaxed;

/// A client that waits for acknowledgements.
struct Waiter {
    ticket: Ticket,
    offset: u64,
    replicas: i64,
    until_ms: Option<u64>,
}

/// All about replication of one shard.
pub(super) struct Replication {
    pub(in crate::shard) primary: Primary,
    follower: Option<Box<Follower>>,
    failover: Option<failover::Failover>,
    waiters: Vec<Waiter>,
    /// Replicas are to be asked at the end of the turn how far they are.
    asks: bool,
    /// What INFO shows besides the offset has changed.
    news: bool,
    /// Calls of DEBUG CHANGE-REPL-ID that were heeded.
    id_changes: u64,
    next_second_ms: u64,
    /// `replicaof` of the configuration was looked at, or a client has said who is copied.
    configured: bool,
    /// The database that the stream is in which a file was part of.
    resumed_db: usize,
    /// Full synchronizations, and requests to go on that were granted and refused.
    syncs: [u64; 3],
    /// The payload that goes to sockets.
    payload: Option<sync::Payload>,
    spool: Option<sync::Spool>,
    /// A manual failover of the cluster holds this shard until then, in ms.
    still_until_ms: Option<u64>,
    readers: Vec<u32>,
    pub(in crate::shard) parting: parting::Parting,
}

impl Replication {
    pub(super) fn new(id: &str) -> Replication {
        let id = Id::from_bytes(id.as_bytes()).expect("a host's replication ids have 40 digits");
        Replication {
            primary: Primary::new(id),
            follower: None,
            failover: None,
            waiters: Vec::new(),
            asks: false,
            news: true,
            id_changes: 0,
            next_second_ms: 0,
            configured: false,
            syncs: [0; 3],
            payload: None,
            resumed_db: 0,
            spool: None,
            still_until_ms: None,
            readers: Vec::new(),
            parting: parting::Parting::default(),
        }
    }

    /// Whether the stream of this shard's own changes goes to replicas.
    pub(super) fn is_fed(&self) -> bool {
        self.primary.is_fed() && self.follower.is_none()
    }

    pub(super) fn is_replica(&self) -> bool {
        self.follower.is_some()
    }

    /// Whether a link is the one to the primary.
    pub(super) fn has_link(&self, link: LinkId) -> bool {
        self.follower.as_ref().is_some_and(|f| f.link == Some(link))
    }
}

impl Shard {
    fn repl_rules(&self) -> Rules {
        let c = &self.conf;
        let limit = c.client_output_buffer_limit.replica;
        let seconds = |n: u64| n.saturating_mul(1000);
        Rules {
            backlog: c.repl_backlog_size,
            backlog_ttl_ms: seconds(c.repl_backlog_ttl),
            timeout_ms: seconds(c.repl_timeout.into()),
            ping_every_ms: seconds(c.repl_ping_replica_period.into()),
            delay_ms: if c.repl_diskless_sync { seconds(c.repl_diskless_sync_delay.into()) } else { 0 },
            enough: c.repl_diskless_sync_max_replicas as usize,
            hard: limit.hard,
            soft: limit.soft,
            soft_ms: seconds(limit.soft_seconds as u64),
        }
    }

    /// With each tick of the shard.
    pub(super) fn tick_replication(&mut self) {
        if self.is_loading() {
            return;
        }
        self.heed_configured_primary();
        self.heed_changed_id();
        self.tick_follower();
        self.begin_payload_if_due();
        self.tick_failover();
        self.tick_member();
        let (rules, now) = (self.repl_rules(), self.now.ms());
        if now < self.repl.next_second_ms {
            return;
        }
        self.repl.next_second_ms = now + REPL_SECOND_MS;
        if self.repl.primary.is_fed() {
            self.feed_replicas();
            // a replica's stream is its primary's, and a failover waits for one that stands still
            let silent = self.repl.is_replica() || self.is_failing_over() || self.stands_still();
            self.note_signs_of_life();
            let due = self.repl.primary.tick(&rules, silent, now);
            for (client, why) in due.lost {
                tracing::warn!("Disconnecting replica {}: it {why}", self.name_of(client));
                self.throw_out(client);
            }
            due.wake.into_iter().for_each(|client| self.pump(client));
            if due.forget && !self.repl.is_replica() {
                let id = Id::random(&mut self.rng);
                self.repl.primary.close_backlog(id);
                self.note_propagating();
                let ttl = self.conf.repl_backlog_ttl;
                tracing::info!("Replication backlog freed after {ttl} seconds without connected replicas.");
            }
        }
        self.note_replicas();
        self.repl.news = true;
    }

    /// A replica that takes up its payload sends newlines.
    fn note_signs_of_life(&mut self) {
        for client in self.repl.primary.all() {
            if let Some(session) = self.clients.get(client) {
                self.repl.primary.note_life(client, session.last_ms);
            }
        }
    }

    /// Whether writes are refused for want of replicas.
    pub(super) fn note_replicas(&mut self) {
        let (least, lag) = (self.conf.min_replicas_to_write, self.conf.min_replicas_max_lag);
        let counts = least > 0 && lag > 0 && !self.repl.is_replica();
        let good = self.repl.primary.good(u64::from(lag) * 1000, self.now.ms());
        self.conditions.lonely = counts && good < least as usize;
        self.note_restricted();
    }

    fn name_of(&mut self, client: u32) -> String {
        self.clients.get(client).map_or(String::new(), |s| s.addr.clone())
    }

    /// DEBUG CHANGE-REPL-ID
    fn heed_changed_id(&mut self) {
        let changes = self.host.registers.repl_id_changes.load(Relaxed);
        if std::mem::replace(&mut self.repl.id_changes, changes) != changes {
            let id = Id::random(&mut self.rng);
            self.repl.primary.history.begin_anew(id);
            self.repl.news = true;
        }
    }

    /// The last thing in a turn.
    pub(super) fn end_replication(&mut self) {
        if self.repl.is_fed() {
            self.feed_replicas();
        }
        if self.repl.news || self.repl.primary.is_fed() {
            let bytes = self.repl.primary.backlog().map_or(0, Backlog::memory);
            self.metrics.stream_bytes.set(bytes as u64);
        }
        if self.repl.news {
            self.report_replication();
        } else if self.repl.primary.is_fed() {
            let offset = self.repl.primary.history.offset;
            let mut report = self.host.registers.replication(self.at.me);
            report.offset = offset;
            report.backlog = self.repl.primary.backlog().map(|b| (b.first(), b.len()));
            if let (Some(primary), Some(f)) = (&mut report.primary, &self.repl.follower) {
                primary.heard_ms = f.heard_ms();
                primary.read = offset + f.unread() as u64;
            }
        }
    }

    /// Publishes what INFO shows.
    pub(super) fn report_replication(&mut self) {
        self.repl.news = false;
        let (repl, now) = (&self.repl, self.now.ms());
        let history = &repl.primary.history;
        let mut report = self.host.registers.replication(self.at.me);
        report.id = history.id.to_string();
        report.second = history.second.map(|(id, offset)| (id.to_string(), offset));
        report.offset = history.offset;
        report.backlog = repl.primary.backlog().map(|b| (b.first(), b.len()));
        report.good = repl.primary.good(u64::from(self.conf.min_replicas_max_lag) * 1000, now);
        report.syncs = repl.syncs;
        report.failover = self.failover_state();
        report.replicas.clear();
        report.replicas.extend(repl.primary.list(now).map(|(replica, state, idle)| ReplicaReport {
            address: replica.address().to_owned(),
            port: replica.about.port,
            state: state.name(),
            acked: replica.acked,
            heard_ms: if state == State::Online { now - idle * 1000 } else { now },
        }));
        report.primary = repl.follower.as_ref().map(|f| PrimaryReport {
            host: f.host.clone(),
            port: f.port,
            up: f.is_connected(),
            heard_ms: f.heard_ms(),
            down_since_ms: f.down_since_ms,
            syncing: f.received(),
            read: history.offset + f.unread() as u64,
        });
    }

    // ---- ROLE

    /// ROLE
    pub(super) fn role(&mut self, out: &mut Vec<u8>) {
        let mut out = Reply::new(out, false);
        let primary = &self.repl.primary;
        if let Some(f) = &self.repl.follower {
            out.array(5);
            out.bulk(b"slave");
            out.bulk(f.host.as_bytes());
            out.int(f.port.into());
            out.bulk(f.state().as_bytes());
            out.int(if f.is_connected() { primary.history.offset as i64 } else { -1 });
            return;
        }
        let online: Vec<_> =
            primary.list(self.now.ms()).filter(|(_, state, _)| *state == State::Online).collect();
        out.array(3);
        out.bulk(b"master");
        out.int(primary.history.offset as i64);
        out.array(online.len());
        for (replica, ..) in online {
            out.array(3);
            out.bulk(replica.address().as_bytes());
            out.bulk(replica.about.port.to_string().as_bytes());
            out.bulk(replica.acked.to_string().as_bytes());
        }
    }

    // ---- WAIT

    /// Asks replicas at the end of the turn how far they are.
    pub(super) fn ask_for_acks(&mut self) {
        self.repl.asks = self.repl.is_fed();
    }

    /// Lets clients go on whose replicas have acknowledged enough, or whose time is over.
    pub(super) fn settle_waiters(&mut self) {
        let (now, primary, clients) = (self.now.ms(), &self.repl.primary, &mut self.clients);
        let over = |w: &mut Waiter| {
            let gone = clients.get_same(w.ticket.client, w.ticket.generation).is_none_or(|s| s.is_closing());
            let late = w.until_ms.is_some_and(|until| until <= now);
            gone || late || primary.acked_by(w.offset) as i64 >= w.replicas
        };
        let done: Vec<Waiter> = self.repl.waiters.extract_if(.., over).collect();
        for waiter in done {
            let acked = self.repl.primary.acked_by(waiter.offset);
            self.answer_waiter(waiter.ticket, format!(":{acked}\r\n").as_bytes());
        }
    }

    fn answer_waiter(&mut self, t: Ticket, reply: &[u8]) {
        if let Some(session) = self.clients.get_same(t.client, t.generation)
            && session.hold == Hold::Acks
        {
            session.pipeline.fill(t.place, t.part as usize, reply, 0);
            self.settle_client(t.client);
        }
    }
}
