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
use crate::command::host::{KINDS, Kind, Name};
use crate::limits::UNHEARD;
use crate::resp::Reply;
use crate::session::{Hold, Session};
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

/// What a shard knows of its listeners.
#[derive(Default)]
pub(super) struct PubSub {
    /// By kind and name: clients of this shard.
    listeners: [HashMap<Name, BTreeSet<u32>>; KINDS],
    /// What this turn sends to each sibling; none where there is nothing.
    outbox: Vec<Vec<Message>>,
    /// What is encoded at the moment.
    frame: Vec<u8>,
    /// Clients that have read too little of what they heard.
    overflown: Vec<u32>,
    /// What a transaction has published, for replicas.
    held_back: Vec<u8>,
    /// The plane has more to do than it can take.
    plane_is_behind: bool,
}

/// A message on its way to a sibling.
#[derive(Clone, Debug)]
pub struct Message {
    kind: Kind,
    /// The push that listeners by name get.
    frame: Bytes,
    channel: Range<usize>,
    payload: Range<usize>,
}

impl Message {
    fn new(kind: Kind, channel: &[u8], payload: &[u8]) -> Message {
        let mut frame = Vec::with_capacity(channel.len() + payload.len() + 64);
        encode(&mut frame, kind, channel, payload);
        // both are bulk strings at its end
        let end = frame.len() - 2;
        let payload = end - payload.len()..end;
        let head = 1 + payload.len().max(1).ilog10() as usize + 1 + 2;
        let end = payload.start - head - 2;
        Message { kind, channel: end - channel.len()..end, payload, frame: frame.into() }
    }

    fn bytes(&self) -> usize {
        self.frame.len()
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
    fn tell(&mut self, kind: Kind, channel: &[u8], payload: &[u8], encoded: Option<&[u8]>) -> u64 {
        let mut frame = std::mem::take(&mut self.pubsub.frame);
        let mut heard = 0;
        if let Some(clients) = self.pubsub.listeners[kind as usize].get(channel) {
            heard += clients.len();
            if encoded.is_none() {
                encode(&mut frame, kind, channel, payload);
            }
            let frame = encoded.unwrap_or(&frame);
            for &client in clients {
                push(
                    &mut self.clients,
                    &mut self.news,
                    &mut self.pubsub.overflown,
                    client,
                    frame,
                    &self.conf,
                );
            }
        }
        if kind == Kind::Channel {
            heard += self.tell_by_pattern(channel, payload, &mut frame);
        }
        self.pubsub.frame = frame;
        self.cut_off_overflown();
        heard as u64
    }

    fn tell_by_pattern(&mut self, channel: &[u8], payload: &[u8], frame: &mut Vec<u8>) -> usize {
        let mut heard = 0;
        for (pattern, clients) in &self.pubsub.listeners[Kind::Pattern as usize] {
            if !crate::util::glob::matches(pattern, channel, false) {
                continue;
            }
            frame.clear();
            let mut out = Reply::new(frame, true);
            out.push(4);
            out.bulk(b"pmessage");
            out.bulk(pattern);
            out.bulk(channel);
            out.bulk(payload);
            heard += clients.len();
            for &client in clients {
                push(
                    &mut self.clients,
                    &mut self.news,
                    &mut self.pubsub.overflown,
                    client,
                    frame,
                    &self.conf,
                );
            }
        }
        heard
    }

    /// Closes clients that have more unread than they may.
    pub(super) fn cut_off_overflown(&mut self) {
        while let Some(client) = self.pubsub.overflown.pop() {
            self.cut_off(client);
        }
    }

    /// Siblings get what was published in this turn.
    pub(super) fn send_messages(&mut self) {
        for (to, messages) in self.pubsub.outbox.iter_mut().enumerate().filter(|(_, m)| !m.is_empty()) {
            self.letters.push((to, super::mail::Mail::Heard(std::mem::take(messages))));
        }
    }

    /// A client has caused messages. While a sibling, or the plane, does not keep up, it waits.
    fn hold_if_behind(&mut self, client: u32) {
        let audience = &self.host.registers.audience;
        let others = (0..self.at.shards).filter(|&shard| shard != self.at.me);
        if self.pubsub.plane_is_behind || others.into_iter().any(|to| audience.unheard(to) > UNHEARD) {
            let until = self.now.ms() + 1;
            if let Some(session) = self.clients.get(client).filter(|s| s.hold == Hold::None) {
                session.hold = Hold::Until(until);
            }
        }
    }
}

/// Gives a client what it did not ask for; notes it when it has more unread than it may.
pub(super) fn push(
    clients: &mut super::clients::Clients,
    news: &mut Vec<u32>,
    overflown: &mut Vec<u32>,
    client: u32,
    frame: &[u8],
    conf: &crate::config::Config,
) {
    let Some(session) = clients.get(client) else { return };
    session.push(frame);
    Shard::list(news, client, session);
    if is_overflown(session, conf) {
        overflown.push(client);
    }
}

/// Whether a client has more unread than `client-output-buffer-limit` lets it have for a moment.
fn is_overflown(session: &Session, conf: &crate::config::Config) -> bool {
    let hard = super::cron::output_limit(session, conf).hard;
    hard > 0 && session.output() as u64 > hard && !session.killed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_knows_where_its_parts_are() {
        for payload in [0, 1, 9, 10, 99, 100, 12345] {
            let payload = "x".repeat(payload);
            for (kind, channel) in [(Kind::Channel, "news"), (Kind::Own, ""), (Kind::Sharded, "0123456789")] {
                let m = Message::new(kind, channel.as_bytes(), payload.as_bytes());
                assert_eq!(&m.frame[m.channel.clone()], channel.as_bytes());
                assert_eq!(&m.frame[m.payload.clone()], payload.as_bytes());
            }
        }
    }
}
