//! Pub/sub: who listens on this shard, and messages on their way to them.
//!
//! A shard keeps the subscriptions of its own clients, wherever a channel's slot is; the host's
//! [`Audience`](crate::command::host::Audience) tells shards of one another's. A message is encoded once, as a
//! push of RESP3 (RESP2 differs in the first byte); siblings that have somebody for it get those bytes
//! ([`Mail::Heard`](super::mail::Mail::Heard)), and it is counted by the audience, so that PUBLISH is answered
//! without waiting for them.
//!
//! Messages from one publisher stay in order: they take one way to each sibling. What is under way to a
//! sibling that does not keep up is bounded by holding back those who publish.
//!
//! Other hosts are reached through the plane. Shard channels are served by the owner of their slot: who came by
//! its own port hears what reaches that node; who came by the front door what reaches the owner, as long as
//! that is a shard of the host.

mod publish;
mod subscribe;

use super::Shard;
use super::clients::Clients;
use super::cron::output_limit;
use super::mail::Mail;
use super::tracking::Changes;
use crate::command::host::{KINDS, Kind, Name};
use crate::config::Config;
use crate::limits::{UNHEARD, UNHEARD_AT_ALL};
use crate::resp::Reply;
use crate::session::{Door, Hold, Session};
use crate::store::ClientRef;
use crate::util::glob;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// What a shard knows of its listeners.
#[derive(Default)]
pub(super) struct PubSub {
    /// By kind and name: clients of this shard.
    listeners: [HashMap<Name, BTreeSet<u32>>; KINDS],
    /// What this turn sends to each sibling; none where there is nothing.
    outbox: Vec<Vec<Heard>>,
    /// What is encoded at the moment.
    frame: Vec<u8>,
    /// Clients that have read too little of what they heard.
    overflown: Vec<u32>,
    /// What a transaction has published, for replicas.
    held_back: Vec<u8>,
    /// The plane has more to do than it can take.
    plane_is_behind: bool,
    /// Clients that wait until siblings and the plane keep up, with their generations.
    waiting: Vec<(u32, u32)>,
}

/// What a shard's clients are to hear of a sibling.
#[derive(Debug)]
pub enum Heard {
    Message(Message),
    /// A command, as monitors see it.
    Command(Bytes),
    /// A client's copy of a key is out of date; `itself`: by what it did itself.
    Stale {
        who: ClientRef,
        key: Box<[u8]>,
        itself: bool,
    },
    /// Keys have changed, for who wants to hear of prefixes.
    Changed(Arc<Changes>),
    /// For the client with this id: what somebody's copies are that are out of date.
    Invalidation {
        id: u64,
        body: Bytes,
    },
    /// All of the sender's keys are gone; or `borrowed`: all of the host's.
    Flushed {
        borrowed: bool,
    },
}

impl Heard {
    /// What it takes while it is under way.
    fn bytes(&self) -> usize {
        let text = match self {
            Heard::Message(message) => message.frame.len(),
            Heard::Command(line) => line.len(),
            Heard::Stale { key, .. } => key.len(),
            Heard::Changed(changes) => changes.keys().map(|key| key.len()).sum(),
            Heard::Invalidation { body, .. } => body.len(),
            Heard::Flushed { .. } => 0,
        };
        size_of::<Heard>() + text
    }
}

/// Who of those that listen is to hear something.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whom {
    All,
    /// Clients that came by the front door: it is about keys of a sibling, and a node's own clients hear of
    /// their own node.
    FrontDoor,
}

/// A message on its way to a sibling.
#[derive(Clone, Debug)]
pub struct Message {
    kind: Kind,
    whom: Whom,
    /// The push that listeners by name get.
    frame: Bytes,
    channel: Range<usize>,
    payload: Range<usize>,
}

impl Message {
    fn new((kind, whom): (Kind, Whom), channel: &[u8], payload: &[u8]) -> Message {
        let mut frame = Vec::with_capacity(channel.len() + payload.len() + 64);
        encode(&mut frame, kind, channel, payload);
        // both are bulk strings at its end
        let end = frame.len() - 2;
        let payload = end - payload.len()..end;
        let head = 1 + payload.len().max(1).ilog10() as usize + 1 + 2;
        let end = payload.start - head - 2;
        Message { kind, whom, channel: end - channel.len()..end, payload, frame: frame.into() }
    }
}

/// A message as a push.
fn encode(out: &mut Vec<u8>, kind: Kind, channel: &[u8], payload: &[u8]) {
    out.clear();
    let mut out = Reply::new(out, true);
    out.push(3);
    out.bulk(if matches!(kind, Kind::Sharded | Kind::Own) { b"smessage" } else { b"message" });
    out.bulk(channel);
    out.bulk(payload);
}

/// Gives clients what they did not ask for.
struct Courier<'a> {
    clients: &'a mut Clients,
    news: &'a mut Vec<u32>,
    overflown: &'a mut Vec<u32>,
    conf: &'a Config,
    whom: Whom,
}

impl Courier<'_> {
    fn push(&mut self, client: u32, frame: &[u8]) {
        let Some(session) = self.clients.get(client) else { return };
        if self.whom == Whom::FrontDoor && session.door == Door::Own {
            return;
        }
        session.push(frame);
        Shard::list(self.news, client, session);
        if is_overflown(session, self.conf) {
            self.overflown.push(client);
        }
    }
}

/// Whether a client has more unread than `client-output-buffer-limit` lets it have for a moment.
fn is_overflown(session: &Session, conf: &Config) -> bool {
    let hard = output_limit(session, conf).hard;
    hard > 0 && session.output() as u64 > hard && !session.killed
}

/// As [`encode`], for who listens by `pattern`.
fn encode_for_pattern(out: &mut Vec<u8>, pattern: &[u8], channel: &[u8], payload: &[u8]) {
    out.clear();
    let mut out = Reply::new(out, true);
    out.push(4);
    out.bulk(b"pmessage");
    out.bulk(pattern);
    out.bulk(channel);
    out.bulk(payload);
}

impl Shard {
    /// What clients of this shard listen to, with how many they are.
    pub fn listeners(&self) -> usize {
        self.pubsub.listeners.iter().flat_map(HashMap::values).map(BTreeSet::len).sum()
    }

    /// The plane can't take what is published for other hosts, or can again.
    pub fn note_plane_behind(&mut self, is_behind: bool) {
        self.pubsub.plane_is_behind = is_behind;
    }

    /// Gives a message to this shard's clients that listen: how many they are.
    fn tell(
        &mut self,
        (kind, whom): (Kind, Whom),
        channel: &[u8],
        payload: &[u8],
        encoded: Option<&[u8]>,
    ) -> u64 {
        let mut scratch = std::mem::take(&mut self.pubsub.frame);
        let PubSub { listeners, overflown, .. } = &mut self.pubsub;
        let mut courier =
            Courier { clients: &mut self.clients, news: &mut self.news, overflown, conf: &self.conf, whom };
        let mut heard = 0;
        if let Some(clients) = listeners[kind as usize].get(channel) {
            let frame = encoded.unwrap_or_else(|| {
                encode(&mut scratch, kind, channel, payload);
                &scratch
            });
            clients.iter().for_each(|&client| courier.push(client, frame));
            heard += clients.len();
        }
        if kind == Kind::Channel {
            for (pattern, clients) in &listeners[Kind::Pattern as usize] {
                if glob::matches(pattern, channel, false) {
                    encode_for_pattern(&mut scratch, pattern, channel, payload);
                    clients.iter().for_each(|&client| courier.push(client, &scratch));
                    heard += clients.len();
                }
            }
        }
        self.pubsub.frame = scratch;
        self.cut_off_overflown();
        heard as u64
    }

    /// Gives a client of this shard what it did not ask for.
    pub(super) fn push(&mut self, client: u32, frame: &[u8]) {
        let overflown = &mut self.pubsub.overflown;
        let (clients, news, conf) = (&mut self.clients, &mut self.news, &*self.conf);
        Courier { clients, news, overflown, conf, whom: Whom::All }.push(client, frame);
        self.cut_off_overflown();
    }

    /// Closes clients that have more unread than they may.
    fn cut_off_overflown(&mut self) {
        while let Some(client) = self.pubsub.overflown.pop() {
            self.cut_off(client);
        }
    }

    /// As above, if it is this one.
    pub(super) fn cut_off_if_overflown(&mut self, client: u32) {
        if self.clients.peek(client).is_some_and(|session| is_overflown(session, &self.conf)) {
            self.cut_off(client);
        }
    }

    /// A sibling is to hear something, with the end of this turn. Of one that does not keep up at all, that is
    /// lost; it takes all copies that its clients keep for out of date then.
    pub(super) fn send_heard(&mut self, to: usize, heard: Heard) {
        let audience = &self.host.registers.audience;
        if audience.unheard(to) > UNHEARD_AT_ALL {
            if audience.note_lost(to) {
                tracing::warn!("Shard {to} does not keep up with what it is to hear: messages are lost");
            }
            return;
        }
        audience.note_sent(to, heard.bytes());
        self.pubsub.outbox.resize_with(self.at.shards, Vec::new);
        self.pubsub.outbox[to].push(heard);
    }

    /// Siblings get what they are to hear.
    pub(super) fn send_messages(&mut self) {
        for (to, messages) in self.pubsub.outbox.iter_mut().enumerate().filter(|(_, m)| !m.is_empty()) {
            self.letters.push((to, Mail::Heard(std::mem::take(messages))));
        }
    }

    /// A sibling's clients have said or done something.
    pub(super) fn heard(&mut self, heard: Vec<Heard>) {
        let bytes = heard.iter().map(Heard::bytes).sum();
        self.host.registers.audience.note_heard(self.at.me, bytes);
        if self.host.registers.audience.take_lost(self.at.me) {
            self.tell_flushed(None, false);
        }
        for heard in heard {
            match heard {
                Heard::Message(m) => {
                    let (channel, payload) = (&m.frame[m.channel.clone()], &m.frame[m.payload.clone()]);
                    self.tell((m.kind, m.whom), channel, payload, Some(&m.frame));
                }
                Heard::Command(line) => self.show_line(&line, true),
                Heard::Stale { who, key, itself } => self.tell_stale(who, &key, itself),
                Heard::Changed(changes) => self.tell_changed(&changes, true),
                Heard::Invalidation { id, body } => self.take_invalidation(id, &body),
                Heard::Flushed { borrowed } => self.tell_flushed(None, !borrowed),
            }
        }
    }

    /// A client has caused messages. While a sibling, or the plane, does not keep up, it waits.
    fn hold_if_behind(&mut self, client: u32) {
        if self.somebody_is_behind()
            && let Some(session) = self.clients.get(client).filter(|session| session.hold == Hold::None)
        {
            session.hold = Hold::Behind;
            self.pubsub.waiting.push((client, session.generation));
        }
    }

    fn somebody_is_behind(&self) -> bool {
        let audience = &self.host.registers.audience;
        let mut others = (0..self.at.shards).filter(|&shard| shard != self.at.me);
        self.pubsub.plane_is_behind || others.any(|to| audience.unheard(to) > UNHEARD)
    }

    /// When to look again whether those who publish may go on, in unix milliseconds.
    pub(super) fn publishers_due(&self) -> Option<u64> {
        (!self.pubsub.waiting.is_empty()).then(|| self.now.ms() + 1)
    }

    /// Those who publish go on once everybody keeps up.
    pub(super) fn release_publishers(&mut self) {
        if self.pubsub.waiting.is_empty() || self.somebody_is_behind() {
            return;
        }
        for (client, generation) in std::mem::take(&mut self.pubsub.waiting) {
            if let Some(session) = self.clients.get_same(client, generation)
                && session.hold == Hold::Behind
                && session.let_go()
            {
                self.resume.push(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_knows_where_its_parts_are() {
        for payload in [0, 1, 9, 10, 99, 100, 12345] {
            let payload = "x".repeat(payload);
            for (kind, channel) in [(Kind::Channel, "news"), (Kind::Own, ""), (Kind::Sharded, "0123456789")] {
                let m = Message::new((kind, Whom::All), channel.as_bytes(), payload.as_bytes());
                assert_eq!(&m.frame[m.channel.clone()], channel.as_bytes());
                assert_eq!(&m.frame[m.payload.clone()], payload.as_bytes());
            }
        }
    }
}
