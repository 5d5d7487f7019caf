//! The side that is copied: its replicas, and what each of them is to get next.
//!
//! A replica is a client, by its number. It asks for the stream ([`Primary::resume`], [`Primary::enlist`]),
//! waits for a payload and is given it, and from then on reads the backlog. What it has not read yet is held
//! once, in the backlog, for all of them: also what comes while its payload is made.

use super::conf::About;
use super::{Backlog, History, Id, Position, Refusal};
use crate::limits::REPL_SECOND_MS;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// How far a replica is.
#[derive(Debug)]
enum Stage {
    /// It has told of itself, and asked for nothing.
    Client,
    /// It waits for a payload to begin, since when in ms.
    Waiting {
        since_ms: u64,
    },
    /// Its payload is made and sent; `whole`: all of it is queued.
    Payload {
        queue: VecDeque<Bytes>,
        whole: bool,
    },
    /// It has the payload, and must say so: what follows the mark at once it might take for the payload's.
    Loading,
    Online,
}

/// One replica.
#[derive(Debug)]
pub struct Replica {
    pub about: About,
    /// The address that it came from.
    pub from: String,
    stage: Stage,
    /// It came by SYNC: it acknowledges nothing.
    old: bool,
    /// What it gets next of the stream.
    next: u64,
    /// Bytes of the payload that were queued, and that its socket has taken.
    queued: u64,
    taken: u64,
    /// Its payload ends in a mark.
    marked: bool,
    /// Its answer, and newlines, before anything else.
    words: Vec<u8>,
    pub acked: u64,
    /// When it was last heard of, and when its socket last took something.
    heard_ms: u64,
    moved_ms: u64,
    /// Since when it lags behind by more than the soft limit.
    soft_since: Option<u64>,
}

/// What INFO says of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    WaitBgsave,
    SendBulk,
    Online,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::WaitBgsave => "wait_bgsave",
            State::SendBulk => "send_bulk",
            State::Online => "online",
        }
    }
}

/// What the configuration says of replicas.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub backlog: u64,
    pub backlog_ttl_ms: u64,
    pub timeout_ms: u64,
    pub ping_every_ms: u64,
    /// How long the first to wait for a payload waits for others, and for how many.
    pub delay_ms: u64,
    pub enough: usize,
    /// Most that a replica may lag behind, and so much for so long; 0: as much as it likes.
    pub hard: u64,
    pub soft: u64,
    pub soft_ms: u64,
}

/// What time brings about.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Replicas to be thrown out, and why.
    pub lost: Vec<(u32, &'static str)>,
    /// Replicas that have something to be sent.
    pub wake: Vec<u32>,
    /// The stream is to be given up: nobody came for it for too long.
    pub forget: bool,
}

/// All replicas of a node, and its stream.
#[derive(Debug)]
pub struct Primary {
    pub history: History,
    backlog: Option<Backlog>,
    replicas: BTreeMap<u32, Replica>,
    /// Replicas that get, or wait for, anything: all but those that are only clients.
    count: usize,
    alone_since_ms: u64,
    next_second_ms: u64,
    /// When the last PING was sent, or the first replica came.
    pinged_ms: u64,
}

impl Primary {
    pub fn new(id: Id) -> Primary {
        Primary {
            history: History::new(id),
            backlog: None,
            replicas: BTreeMap::new(),
            count: 0,
            alone_since_ms: 0,
            next_second_ms: 0,
            pinged_ms: 0,
        }
    }

    // ---- the stream

    /// Whether anybody may want the stream.
    #[inline]
    pub fn is_fed(&self) -> bool {
        self.backlog.is_some()
    }

    pub fn backlog(&self) -> Option<&Backlog> {
        self.backlog.as_ref()
    }

    /// From here on the stream is kept, unless it is already.
    pub fn open_backlog(&mut self) {
        self.backlog.get_or_insert_with(|| Backlog::at(self.history.offset));
    }

    /// The stream is not kept any more; nobody can go on from what was before.
    pub fn close_backlog(&mut self, id: Id) {
        self.backlog = None;
        self.history.begin_anew(id);
    }

    /// What is before `offset` was not seen, and a primary's data has taken the place of ours.
    pub fn adopt(&mut self, id: Id, offset: u64) {
        self.history.adopt(id, offset);
        self.backlog = Some(Backlog::at(offset));
    }

    /// The data are those of a file that was written there in a stream. `ours`: this side is a primary, and
    /// who copied it before may go on; else it may go on itself.
    pub fn go_on_from(&mut self, at: Position, ours: bool, now_ms: u64) {
        let id = self.history.id;
        self.adopt(at.id, at.offset);
        if ours {
            self.history.branch(id);
            self.alone_since_ms = now_ms;
        }
    }

    /// The stream goes on.
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Some(backlog) = &mut self.backlog {
            backlog.feed(bytes);
            self.history.offset += bytes.len() as u64;
        }
    }

    /// Forgets what nobody needs of the backlog.
    pub fn trim(&mut self, size: u64) {
        let needed = self.replicas.values().filter(|r| r.reads()).map(|r| r.next).min();
        if let Some(backlog) = &mut self.backlog {
            backlog.trim(size, needed.unwrap_or(u64::MAX));
        }
    }

    // ---- replicas come and go

    /// Replicas that get, or wait for, anything.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether this client is one of them.
    pub fn is_replica(&self, client: u32) -> bool {
        self.count > 0 && self.replicas.get(&client).is_some_and(|r| !matches!(r.stage, Stage::Client))
    }

    /// What a client has told of itself.
    pub fn about(&mut self, client: u32, from: &str) -> &mut About {
        &mut self.replica(client, from).about
    }

    fn replica(&mut self, client: u32, from: &str) -> &mut Replica {
        self.replicas.entry(client).or_insert_with(|| Replica {
            about: About::default(),
            from: from.to_owned(),
            stage: Stage::Client,
            old: false,
            next: 0,
            queued: 0,
            taken: 0,
            marked: false,
            words: Vec::new(),
            acked: 0,
            heard_ms: 0,
            moved_ms: 0,
            soft_since: None,
        })
    }

    /// A client asks to go on where it is: see [`History::resume`].
    pub fn resume(
        &mut self,
        client: u32,
        from: &str,
        (id, first): (&[u8], i64),
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let next = self.history.resume(self.backlog.as_ref(), id, first)?;
        let id = self.history.id;
        let replica = self.replica(client, from);
        let answer =
            if replica.about.psync2 { format!("+CONTINUE {id}\r\n") } else { "+CONTINUE\r\n".to_owned() };
        replica.words.extend_from_slice(answer.as_bytes());
        replica.next = next;
        replica.stage = Stage::Online;
        replica.heard_ms = now_ms;
        self.join(now_ms);
        Ok(())
    }

    /// A client waits for a payload. `old`: it came by SYNC. `id` names the stream, if it begins with this.
    pub fn enlist(&mut self, client: u32, from: &str, old: bool, now_ms: u64, id: Id) {
        let replica = self.replica(client, from);
        replica.stage = Stage::Waiting { since_ms: now_ms };
        replica.old = old;
        replica.heard_ms = now_ms;
        self.join(now_ms);
        if self.backlog.is_none() {
            self.history.begin_anew(id);
            self.open_backlog();
        }
    }

    fn join(&mut self, now_ms: u64) {
        if self.count == 0 {
            self.pinged_ms = now_ms;
        }
        self.count += 1;
    }

    /// A client is gone.
    pub fn gone(&mut self, client: u32, now_ms: u64) {
        let gone = self.replicas.remove(&client);
        if gone.is_some_and(|r| !matches!(r.stage, Stage::Client)) {
            self.count -= 1;
            self.alone_since_ms = now_ms;
        }
    }

    /// All that are replicas, to be thrown out so that they ask anew.
    pub fn all(&self) -> Vec<u32> {
        self.replicas.iter().filter(|(_, r)| !matches!(r.stage, Stage::Client)).map(|(c, _)| *c).collect()
    }

    /// From now on the backlog may be given up after its time.
    pub fn is_alone_from(&mut self, now_ms: u64) {
        self.alone_since_ms = now_ms;
    }

    // ---- payloads

    /// Whether a payload should be made now: those who wait have waited for others long enough.
    pub fn wants_payload(&self, rules: &Rules, now_ms: u64) -> bool {
        let waiting = self.replicas.values().filter_map(|r| match r.stage {
            Stage::Waiting { since_ms } => Some(since_ms),
            _ => None,
        });
        let (count, since) = waiting.fold((0, u64::MAX), |(n, least), since| (n + 1, least.min(since)));
        count > 0
            && (now_ms.saturating_sub(since) >= rules.delay_ms || rules.enough > 0 && count >= rules.enough)
    }

    /// What is wanted of the next payload, by the one who waits longest; it is made for all who want the same.
    pub fn wanted(&self) -> Option<&About> {
        let waiting = self.replicas.values().filter_map(|r| match r.stage {
            Stage::Waiting { since_ms } => Some((since_ms, &r.about)),
            _ => None,
        });
        waiting.min_by_key(|(since, _)| *since).map(|(_, about)| about)
    }

    /// A payload of the data as it is now is made for all who wait and want it like `kind`: its head and
    /// chunks follow.
    pub fn begin_payload(&mut self, kind: &About, head: &[u8], now_ms: u64) -> Vec<u32> {
        let (id, offset) = (self.history.id, self.history.offset);
        let mut begun = Vec::new();
        for (client, replica) in &mut self.replicas {
            let alike = (replica.about.eof, replica.about.no_data, replica.about.no_functions)
                == (kind.eof, kind.no_data, kind.no_functions);
            if !matches!(replica.stage, Stage::Waiting { .. }) || !alike {
                continue;
            }
            if !replica.old {
                replica.words.extend_from_slice(format!("+FULLRESYNC {id} {offset}\r\n").as_bytes());
            }
            replica.next = offset;
            (replica.queued, replica.taken, replica.moved_ms) = (head.len() as u64, 0, now_ms);
            let mut queue = VecDeque::new();
            if !head.is_empty() {
                queue.push_back(Bytes::copy_from_slice(head));
            }
            replica.marked = head.starts_with(b"$EOF:");
            replica.stage = Stage::Payload { queue, whole: false };
            begun.push(*client);
        }
        begun
    }

    fn payloads(&mut self) -> impl Iterator<Item = (u32, &mut Replica)> {
        let gets = |r: &Replica| matches!(r.stage, Stage::Payload { whole: false, .. });
        self.replicas.iter_mut().filter(move |(_, r)| gets(r)).map(|(client, r)| (*client, r))
    }

    /// More of the payload. Who has something to be sent.
    pub fn chunk(&mut self, bytes: &Bytes) -> Vec<u32> {
        let mut wake = Vec::new();
        for (client, replica) in self.payloads() {
            replica.queued += bytes.len() as u64;
            if let Stage::Payload { queue, .. } = &mut replica.stage {
                queue.push_back(bytes.clone());
            }
            wake.push(client);
        }
        wake
    }

    /// The payload is whole.
    pub fn end_payload(&mut self) -> Vec<u32> {
        let mut wake = Vec::new();
        for (client, replica) in self.payloads() {
            if let Stage::Payload { whole, .. } = &mut replica.stage {
                *whole = true;
            }
            wake.push(client);
        }
        wake
    }

    /// The payload will never be whole: who waited for it.
    pub fn fail_payload(&mut self) -> Vec<u32> {
        self.payloads().map(|(client, _)| client).collect()
    }

    /// Most bytes of the payload that wait for a socket; `None` when nobody gets it any more.
    pub fn payload_queued(&mut self) -> Option<usize> {
        self.payloads().map(|(_, r)| (r.queued - r.taken) as usize).max()
    }

    /// Whether anybody still gets the payload that is made, and how much all of them have taken of it.
    pub fn payload_taken(&mut self) -> Option<u64> {
        self.payloads().map(|(_, r)| r.taken).min()
    }

    // ---- what is sent

    /// Appends what a replica is to be sent next, about `room` bytes. False when there is nothing now.
    pub fn fill(&mut self, client: u32, room: usize, now_ms: u64, out: &mut Vec<u8>) -> bool {
        let Some(replica) = self.replicas.get_mut(&client) else { return false };
        let before = out.len();
        out.append(&mut replica.words);
        match &mut replica.stage {
            Stage::Client | Stage::Waiting { .. } | Stage::Loading => {}
            Stage::Payload { queue, whole } => {
                while out.len() - before < room
                    && let Some(chunk) = queue.pop_front()
                {
                    out.extend_from_slice(&chunk);
                    replica.taken += chunk.len() as u64;
                    replica.moved_ms = now_ms;
                }
                if queue.is_empty() && *whole {
                    let waits = replica.marked || replica.about.rdb_only;
                    replica.stage = if waits { Stage::Loading } else { Stage::Online };
                    replica.heard_ms = now_ms;
                }
            }
            Stage::Online => {
                if let Some(backlog) = &self.backlog {
                    let read = backlog.read(replica.next, room, out);
                    replica.next += read as u64;
                }
            }
        }
        out.len() > before
    }

    /// Whether a replica has anything to be sent.
    pub fn has_more(&self, client: u32) -> bool {
        let end = self.history.offset;
        self.replicas.get(&client).is_some_and(|replica| {
            !replica.words.is_empty()
                || match &replica.stage {
                    Stage::Payload { queue, .. } => !queue.is_empty(),
                    Stage::Online => replica.next < end,
                    _ => false,
                }
        })
    }

    /// Who reads the stream.
    pub fn readers(&self) -> impl Iterator<Item = u32> + '_ {
        self.replicas.iter().filter(|(_, r)| matches!(r.stage, Stage::Online)).map(|(client, _)| *client)
    }

    // ---- what they say, and time

    /// A replica has so much of the stream. True when it reads the stream from now on.
    pub fn ack(&mut self, client: u32, offset: u64, now_ms: u64) -> bool {
        let Some(replica) = self.replicas.get_mut(&client) else { return false };
        replica.acked = replica.acked.max(offset);
        replica.heard_ms = now_ms;
        let begins = matches!(replica.stage, Stage::Loading) && !replica.about.rdb_only;
        if begins {
            replica.stage = Stage::Online;
        }
        begins
    }

    /// A replica that takes up its payload was heard of.
    pub fn note_life(&mut self, client: u32, at_ms: u64) {
        if let Some(replica) = self.replicas.get_mut(&client).filter(|r| matches!(r.stage, Stage::Loading)) {
            replica.heard_ms = replica.heard_ms.max(at_ms);
        }
    }

    /// Replicas that have acknowledged the stream up to here.
    pub fn acked_by(&self, offset: u64) -> usize {
        self.replicas.values().filter(|r| matches!(r.stage, Stage::Online) && r.acked >= offset).count()
    }

    /// Replicas that were heard of within so many ms.
    pub fn good(&self, lag_ms: u64, now_ms: u64) -> usize {
        let good = |r: &&Replica| {
            matches!(r.stage, Stage::Online) && now_ms.saturating_sub(r.heard_ms) / 1000 * 1000 <= lag_ms
        };
        self.replicas.values().filter(good).count()
    }

    /// What time brings about. `silent`: the stream must stay as it is.
    pub fn tick(&mut self, rules: &Rules, silent: bool, now_ms: u64) -> Due {
        let mut due = Due::default();
        if now_ms < self.next_second_ms {
            return due;
        }
        self.next_second_ms = now_ms + REPL_SECOND_MS;
        if now_ms.saturating_sub(self.pinged_ms) >= rules.ping_every_ms && self.count > 0 && !silent {
            self.pinged_ms = now_ms;
            self.feed(b"*1\r\n$4\r\nPING\r\n");
            due.wake.extend(self.readers());
        }
        let end = self.history.offset;
        for (client, replica) in &mut self.replicas {
            let waits = match &replica.stage {
                Stage::Waiting { .. } => true,
                // its file is being written
                Stage::Payload { .. } => replica.queued == 0,
                _ => false,
            };
            if waits {
                replica.words.push(b'\n');
                due.wake.push(*client);
            }
            if let Some(why) = replica.is_lost(rules, end, now_ms) {
                due.lost.push((*client, why));
            }
        }
        self.trim(rules.backlog);
        due.forget = self.count == 0
            && self.backlog.is_some()
            && rules.backlog_ttl_ms > 0
            && now_ms.saturating_sub(self.alone_since_ms) > rules.backlog_ttl_ms;
        due
    }

    /// All replicas, with their state and the seconds since they were heard of.
    pub fn list(&self, now_ms: u64) -> impl Iterator<Item = (&Replica, State, u64)> {
        self.replicas.values().filter_map(move |r| {
            let state = match &r.stage {
                Stage::Client => return None,
                Stage::Waiting { .. } => State::WaitBgsave,
                // as with a child that writes to the sockets
                Stage::Payload { .. } => State::WaitBgsave,
                Stage::Loading => State::SendBulk,
                Stage::Online => State::Online,
            };
            Some((r, state, now_ms.saturating_sub(r.heard_ms) / 1000))
        })
    }
}

impl Replica {
    /// Where clients find it.
    pub fn address(&self) -> &str {
        self.about.address.as_deref().unwrap_or(&self.from)
    }

    pub fn is_at(&self, address: &str, port: i64) -> bool {
        self.about.port == port && self.address().eq_ignore_ascii_case(address)
    }

    /// Whether the backlog must keep what it is to get.
    fn reads(&self) -> bool {
        matches!(self.stage, Stage::Payload { .. } | Stage::Loading | Stage::Online) && !self.about.rdb_only
    }

    /// Why it is to be thrown out, if it is.
    fn is_lost(&mut self, rules: &Rules, end: u64, now_ms: u64) -> Option<&'static str> {
        let silent = now_ms.saturating_sub(self.heard_ms) > rules.timeout_ms;
        match &self.stage {
            Stage::Online if silent && !self.old => return Some("timed out (streaming sync)"),
            Stage::Loading if silent => return Some("timed out (loading)"),
            Stage::Payload { queue, .. }
                if !queue.is_empty() && now_ms.saturating_sub(self.moved_ms) > rules.timeout_ms =>
            {
                return Some("timed out (full sync)");
            }
            _ => {}
        }
        if !self.reads() {
            return None;
        }
        let lag = end - self.next;
        // what the backlog keeps anyway costs nothing
        if rules.hard > 0 && lag > rules.hard.max(rules.backlog) {
            return Some("lags behind by more than its output buffer may hold");
        }
        if rules.soft == 0 || lag <= rules.soft.max(rules.backlog) {
            self.soft_since = None;
            return None;
        }
        let since = *self.soft_since.get_or_insert(now_ms);
        (now_ms.saturating_sub(since) > rules.soft_ms).then_some("lags behind for too long")
    }
}
