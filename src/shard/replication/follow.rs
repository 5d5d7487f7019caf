//! The primary that this shard copies.

use super::apply::Intake;
use super::load::Loading;
use crate::command::error::{Done, ErrReply};
use crate::config::types::ReplicaOf;
use crate::limits::REPL_SECOND_MS;
use crate::repl::Upstream;
use crate::repl::history::Id;
use crate::repl::upstream::{Heard, Terms};
use crate::resp::Args;
use crate::shard::Shard;
use crate::shard::moving::{LinkEvent, LinkId, LinkOrder};
use crate::store::Expiry;
use crate::util::num::parse_i64;

const IN_CLUSTER: ErrReply = ErrReply::new("ERR REPLICAOF not allowed in cluster mode.");
const FAILING_OVER: ErrReply = ErrReply::new("ERR REPLICAOF not allowed while failing over.");
const OF_A_REPLICA: ErrReply = ErrReply::new("ERR Command is not valid when client is a replica.");
const BAD_PORT: ErrReply = ErrReply::new("ERR Invalid master port");
const SEVERAL: ErrReply =
    ErrReply::new("ERR A standalone server of several shards can't be a replica: start it with --shards 1");

/// How this shard follows its primary.
pub(super) struct Follower {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) link: Option<LinkId>,
    upstream: Option<Upstream>,
    /// The stream that a payload is of, and the payload.
    full: Option<(Id, u64)>,
    loading: Option<Box<Loading>>,
    /// What came behind a payload that is not in place.
    kept: Vec<u8>,
    intake: Intake,
    pub(super) down_since_ms: u64,
    retry_ms: u64,
    next_second_ms: u64,
    /// The next request to go on asks the other side to become the primary.
    pub(super) failover: bool,
    /// Its stream made no sense: nothing can go on from there.
    distrusted: bool,
}

impl Follower {
    pub(super) fn is_connected(&self) -> bool {
        self.upstream.as_ref().is_some_and(Upstream::is_connected)
    }

    pub(super) fn state(&self) -> &'static str {
        self.upstream.as_ref().map_or("connect", Upstream::state)
    }

    pub(super) fn heard_ms(&self) -> u64 {
        self.upstream.as_ref().map_or(0, Upstream::heard_ms)
    }

    /// Bytes of a payload that came, while one comes.
    pub(super) fn received(&self) -> Option<u64> {
        self.upstream.as_ref().filter(|u| u.is_syncing()).map(|u| u.received)
    }

    /// Bytes of the stream that came and are not executed.
    pub(super) fn unread(&self) -> usize {
        self.intake.unread()
    }

    pub(super) fn is_distrusted(&self) -> bool {
        self.distrusted
    }

    /// The database that the stream is in.
    pub(super) fn db(&self) -> usize {
        self.intake.caller.db
    }
}

impl Shard {
    /// REPLICAOF host port, REPLICAOF NO ONE
    pub(in crate::shard) fn replicaof(&mut self, client: u32, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        if self.at.cluster {
            return Err(IN_CLUSTER);
        }
        if self.is_failing_over() {
            return Err(FAILING_OVER);
        }
        self.repl.configured = true;
        if args.is(1, "no") && args.is(2, "one") {
            if self.repl.is_replica() {
                self.configure_primary(ReplicaOf(None));
                self.become_primary();
                let who = self.name_of(client);
                tracing::info!("MASTER MODE enabled (user request from '{who}')");
            }
            out.extend_from_slice(b"+OK\r\n");
            return Ok(());
        }
        if self.repl.primary.is_replica(client) {
            return Err(OF_A_REPLICA);
        }
        if self.at.shards > 1 {
            return Err(SEVERAL);
        }
        let port = parse_i64(args.at(2)).and_then(|port| u16::try_from(port).ok()).ok_or(BAD_PORT)?;
        let host = String::from_utf8_lossy(args.at(1)).into_owned();
        let same = |f: &Follower| f.host.eq_ignore_ascii_case(&host) && f.port == port;
        if self.repl.follower.as_deref().is_some_and(same) {
            tracing::info!(
                "REPLICAOF would result into synchronization with the master we are already connected with. No \
                 operation performed."
            );
            out.extend_from_slice(b"+OK Already connected to specified master\r\n");
            return Ok(());
        }
        let who = self.name_of(client);
        tracing::info!("REPLICAOF {host}:{port} enabled (user request from '{who}')");
        self.configure_primary(ReplicaOf(Some((host.clone(), port))));
        self.follow(host, port, false);
        // INFO in the same transaction tells it
        self.report_replication();
        out.extend_from_slice(b"+OK\r\n");
        Ok(())
    }

    /// Known at once: Sentinel has CONFIG REWRITE in the same transaction.
    fn configure_primary(&mut self, primary: ReplicaOf) {
        self.host.live.update(|conf| conf.replicaof = primary.clone());
        self.reconfigure();
    }

    /// From now on this shard copies that primary; `failover`: which is a replica yet, and is to become one.
    pub(in crate::shard) fn follow(&mut self, host: String, port: u16, failover: bool) {
        // what is ours is in the stream; where a primary has the same one, it goes on from here
        self.feed_replicas();
        let db = self.repl.follower.as_ref().map_or(self.repl.resumed_db, |f| f.db());
        self.drop_upstream();
        self.repl.primary.open_backlog();
        self.unblock_waiters();
        self.send_blocked_away();
        let now = self.now.ms();
        self.repl.follower = Some(Box::new(Follower {
            host,
            port,
            link: None,
            upstream: None,
            full: None,
            loading: None,
            kept: Vec::new(),
            intake: Intake::new(db),
            down_since_ms: 0,
            retry_ms: now,
            next_second_ms: now,
            failover,
            distrusted: false,
        }));
        self.note_role();
        self.connect_upstream();
    }

    /// From now on this shard is a primary.
    pub(in crate::shard) fn become_primary(&mut self) {
        self.drop_upstream();
        self.repl.follower = None;
        self.repl.resumed_db = 0;
        // what a log has of the primary's stream is no part of ours
        self.stream.fresh();
        self.stream.reselect();
        let id = Id::random(&mut self.rng);
        self.repl.primary.history.branch(id);
        self.repl.primary.is_alone_from(self.now.ms());
        self.send_replicas_away();
        self.note_role();
    }

    /// Sets what depends on which side this is.
    fn note_role(&mut self) {
        self.clock.expiry = self.expiry_of_role();
        self.note_propagating();
        self.note_link();
        self.repl.news = true;
    }

    /// A replica hides expired keys, and leaves them to its primary.
    pub(super) fn expiry_of_role(&self) -> Expiry {
        if self.repl.is_replica() { Expiry::Hide } else { Expiry::Remove }
    }

    /// Sets what depends on whether the primary is there.
    fn note_link(&mut self) {
        let follower = self.repl.follower.as_ref();
        self.conditions.replica = follower.is_some();
        self.conditions.stale = follower.is_some_and(|f| !f.is_connected());
        self.note_restricted();
        self.repl.news = true;
    }

    /// Gathers in one word whether any command may be refused for what this shard is.
    pub(in crate::shard) fn note_restricted(&mut self) {
        let c = &mut self.conditions;
        c.read_only = c.replica && self.conf.replica_read_only;
        c.cut_off = c.stale && !self.conf.replica_serve_stale_data;
        c.restricted = c.read_only || c.cut_off || c.lonely;
    }

    fn connect_upstream(&mut self) {
        let link = self.next_link();
        let (now, history) = (self.now.ms(), &self.repl.primary.history);
        let Some(f) = &mut self.repl.follower else { return };
        tracing::info!("Connecting to MASTER {}:{}", f.host, f.port);
        let some = |text: &crate::config::types::Secret| (!text.is_empty()).then(|| text.bytes().to_vec());
        let port = match self.conf.replica_announce_port {
            0 => self.host.own_ports.get(self.at.me).copied().unwrap_or(self.conf.port),
            port => port,
        };
        let address = &self.conf.replica_announce_ip;
        let terms = Terms {
            user: some(&self.conf.masteruser),
            password: some(&self.conf.masterauth),
            port,
            address: (!address.is_empty()).then(|| address.clone()),
            resume: (!f.distrusted).then_some((history.id, history.offset)),
            failover: f.failover,
        };
        f.retry_ms = now + REPL_SECOND_MS;
        f.upstream = Some(Upstream::new(terms, now));
        f.link = Some(link);
        let (host, port) = (f.host.clone(), f.port);
        self.order_link(LinkOrder::Open { link, host, port });
    }

    /// Forgets the connection to the primary, whatever it is at.
    fn drop_upstream(&mut self) {
        let Some(f) = &mut self.repl.follower else { return };
        let link = f.link.take();
        f.upstream = None;
        f.loading = None;
        f.full = None;
        f.kept.clear();
        f.intake.break_off();
        if let Some(link) = link {
            self.order_link(LinkOrder::Close { link });
        }
    }

    /// What the primary says makes no sense.
    fn distrust_upstream(&mut self, why: &str) {
        let now = self.now.ms();
        let Some(f) = &mut self.repl.follower else { return };
        f.distrusted |= f.is_connected();
        if f.is_connected() {
            f.down_since_ms = now;
        }
        tracing::warn!("MASTER {}:{}: {why}", f.host, f.port);
        self.drop_upstream();
        self.note_link();
        self.failover_refused();
    }

    /// The connection is of no use any more.
    fn lose_upstream(&mut self, why: &str) {
        let now = self.now.ms();
        let Some(f) = &mut self.repl.follower else { return };
        let was_up = f.is_connected();
        tracing::warn!("MASTER {}:{}: {why}", f.host, f.port);
        if was_up {
            f.down_since_ms = now;
        }
        self.drop_upstream();
        self.note_link();
        if self.failover_refused() {
            return;
        }
        // a stream that was lost may be gone from the primary's backlog a second later
        if was_up {
            self.connect_upstream();
        }
    }

    /// CLIENT KILL TYPE master; whether there was one whose stream is followed.
    pub(in crate::shard) fn cut_off_primary(&mut self) -> bool {
        let stands = self.repl.follower.as_ref().is_some_and(|f| f.is_connected());
        if stands {
            self.lose_upstream("The connection was killed by a client");
        }
        stands
    }

    /// Something happened on the connection to the primary.
    pub(in crate::shard) fn hear_upstream(&mut self, event: LinkEvent<'_>) {
        let now = self.now.ms();
        match event {
            LinkEvent::Opened => {
                if let Some(upstream) = self.repl.follower.as_mut().and_then(|f| f.upstream.as_mut()) {
                    upstream.opened(now);
                }
            }
            LinkEvent::Received(bytes) => self.hear_primary(bytes),
            LinkEvent::Sent(_) => {}
            LinkEvent::Closed => {
                if let Some(f) = &mut self.repl.follower {
                    f.link = None;
                }
                self.lose_upstream("Connection with master lost.");
            }
        }
        self.speak_to_primary();
    }

    /// Sends what is to be said.
    fn speak_to_primary(&mut self) {
        let Some(f) = &mut self.repl.follower else { return };
        if let (Some(link), Some(upstream)) = (f.link, &mut f.upstream) {
            let bytes = upstream.take_output();
            if !bytes.is_empty() {
                self.order_link(LinkOrder::Send { link, bytes });
            }
        }
    }

    fn hear_primary(&mut self, mut input: &[u8]) {
        let now = self.now.ms();
        while !input.is_empty() {
            let Some(f) = &mut self.repl.follower else { return };
            let Some(upstream) = &mut f.upstream else { return };
            if upstream.is_loading() {
                f.kept.extend_from_slice(input);
                return;
            }
            let done = match upstream.hear(&mut input, now) {
                Heard::More => Ok(()),
                Heard::Full(of) => {
                    self.note_full(of);
                    Ok(())
                }
                Heard::Begins => {
                    self.begin_loading_payload();
                    Ok(())
                }
                Heard::Payload(bytes) => self.load_payload(&bytes),
                Heard::Whole(bytes) => self.load_payload(&bytes).and_then(|()| self.put_in_place()),
                Heard::Continues(id) => {
                    self.go_on_with(id);
                    Ok(())
                }
                Heard::Stream(bytes) => {
                    f.intake.push(bytes);
                    self.apply_stream()
                }
                Heard::Over(why) => Err(why),
            };
            if let Err(why) = done {
                return self.distrust_upstream(&why);
            }
        }
    }

    fn note_full(&mut self, of: Option<(Id, u64)>) {
        if let Some((id, offset)) = of {
            tracing::info!("Full resync from master: {id}:{offset}");
        }
        if let Some(f) = &mut self.repl.follower {
            f.full = of;
        }
        self.failover_answered();
        self.note_link();
    }

    fn begin_loading_payload(&mut self) {
        tracing::info!("MASTER <-> REPLICA sync: receiving the data of the master, beside what is here");
        let seed = self.rng.next_u64();
        let hasher = self.ks.hasher().clone();
        let loading = Loading::new(&self.conf, hasher, self.ks.databases(), self.clock, seed);
        if let Some(f) = &mut self.repl.follower {
            f.loading = Some(Box::new(loading));
        }
    }

    fn load_payload(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(loading) = self.repl.follower.as_mut().and_then(|f| f.loading.as_mut()) else {
            return Ok(());
        };
        loading
            .feed(bytes)
            .map_err(|why| format!("Failed trying to load the MASTER synchronization DB: {why}"))
    }

    /// The payload is whole: it takes the place of what is here, once nothing of that is lent.
    fn put_in_place(&mut self) -> Result<(), String> {
        if self.is_lending() {
            return Ok(());
        }
        let Some(f) = &mut self.repl.follower else { return Ok(()) };
        let Some(loading) = f.loading.take() else { return Ok(()) };
        let (db, of) = (loading.db(), f.full.take());
        let (ks, libraries) = loading
            .finish()
            .map_err(|why| format!("Failed trying to load the MASTER synchronization DB: {why}"))?;
        self.adopt_keyspace(ks, of);
        self.adopt_libraries(libraries);
        let (now, offset) = (self.now.ms(), self.repl.primary.history.offset);
        tracing::info!("MASTER <-> REPLICA sync: Finished with success");
        let Some(f) = &mut self.repl.follower else { return Ok(()) };
        f.intake = Intake::new(db);
        f.distrusted = false;
        f.down_since_ms = 0;
        if let Some(upstream) = &mut f.upstream {
            upstream.in_place(offset, now);
        }
        let kept = std::mem::take(&mut f.kept);
        self.note_link();
        self.hear_primary(&kept);
        Ok(())
    }

    /// The primary goes on where this shard is.
    fn go_on_with(&mut self, id: Option<Id>) {
        tracing::info!("MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.");
        if let Some(id) = id.filter(|id| *id != self.repl.primary.history.id) {
            tracing::info!("Master replication ID changed to {id}");
            self.repl.primary.history.branch(id);
            // they have to hear of it
            self.send_replicas_away();
        }
        if let Some(f) = &mut self.repl.follower {
            f.down_since_ms = 0;
        }
        self.failover_answered();
        self.note_link();
    }

    /// Executes what is whole of the stream, once nothing that it may be about is lent: a primary that has
    /// become a replica may have lent slots to its siblings.
    fn apply_stream(&mut self) -> Result<(), String> {
        let Some(mut f) = self.repl.follower.take() else { return Ok(()) };
        let outcome = if self.is_lending() { Ok(()) } else { self.apply(&mut f.intake) };
        let limit = self.conf.client_query_buffer_limit as usize;
        let too_much = f.intake.unread() > limit;
        if std::mem::take(&mut f.intake.asked)
            && let Some(upstream) = &mut f.upstream
        {
            upstream.ack(self.repl.primary.history.offset);
        }
        self.repl.follower = Some(f);
        match too_much {
            true => Err("more of the stream waits than client-query-buffer-limit allows".into()),
            false => outcome,
        }
    }

    /// Goes on with a stream that waited for a snapshot.
    pub(in crate::shard) fn go_on_applying(&mut self) {
        if self.repl.follower.as_ref().is_some_and(|f| f.intake.unread() > 0 && f.is_connected()) {
            if let Err(why) = self.apply_stream() {
                self.distrust_upstream(&why);
            }
            self.speak_to_primary();
        }
    }

    /// Time passes: late primaries, another try, acknowledgements.
    pub(super) fn tick_follower(&mut self) {
        let (now, timeout) = (self.now.ms(), u64::from(self.conf.repl_timeout) * 1000);
        let Some(f) = &mut self.repl.follower else { return };
        if now < f.next_second_ms {
            return;
        }
        f.next_second_ms = now + REPL_SECOND_MS;
        let offset = self.repl.primary.history.offset;
        match &mut f.upstream {
            Some(upstream) => match upstream.is_late(timeout, now) {
                Some(why) => self.lose_upstream(why),
                None => upstream.ack(offset),
            },
            None if now >= f.retry_ms => self.connect_upstream(),
            None => {}
        }
        let waits = |f: &Follower| f.loading.is_some() && f.upstream.as_ref().is_some_and(|u| u.is_loading());
        if self.repl.follower.as_deref().is_some_and(waits)
            && let Err(why) = self.put_in_place()
        {
            self.distrust_upstream(&why);
        }
        self.note_link();
        self.speak_to_primary();
    }

    /// `replicaof` of the configuration, once the shard runs.
    pub(super) fn heed_configured_primary(&mut self) {
        if std::mem::replace(&mut self.repl.configured, true) || self.at.cluster {
            return;
        }
        if let ReplicaOf(Some((host, port))) = self.conf.replicaof.clone() {
            if self.at.shards > 1 {
                return tracing::warn!(
                    "replicaof is ignored: a standalone server of several shards can't be a replica"
                );
            }
            self.follow(host, port, false);
        }
    }
}
