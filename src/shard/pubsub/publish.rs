//! Messages: from a client, from a sibling, from another host, and from a primary.

use super::Message;
use crate::command::error::Done;
use crate::command::host::{Counts, Kind};
use crate::persist::aof::encode as words;
use crate::resp::{Args, Reply};
use crate::session::Door;
use crate::shard::Shard;
use crate::shard::plane::Publication;
use crate::slot::{Slot, key_slot};

impl Shard {
    /// PUBLISH, SPUBLISH
    pub(in crate::shard) fn publish_for(
        &mut self,
        client: u32,
        kind: Kind,
        args: Args<'_>,
        out: &mut Vec<u8>,
    ) -> Done {
        let door = self.clients.peek(client).map_or(Door::Front, |session| session.door);
        let own = door == Door::Own && self.at.cluster;
        let (channel, payload) = (args.at(1), args.at(2));
        let slot = key_slot(channel);
        // who speaks: the client's node, or at the front door the one that serves the channel
        let owner = self.view.local_owner(slot).filter(|_| kind != Kind::Channel && !own);
        let node = owner.map_or(self.at.me, usize::from);
        let heard = match kind {
            Kind::Channel => {
                let (here, elsewhere) = self.publish_on_host(channel, payload);
                // as many as a node of a cluster knows of
                if own { here } else { here + elsewhere }
            }
            _ => self.publish_in_shard(node, slot, channel, payload),
        };
        Reply::new(out, false).int(heard as i64);
        match self.at.cluster {
            true => self.publish_on_bus(node, kind, channel, payload),
            false => self.publish_to_replicas(args),
        }
        self.hold_if_behind(client);
        Ok(())
    }

    /// What a primary passes on of its clients' messages.
    pub(in crate::shard) fn publish_from_primary(
        &mut self,
        kind: Kind,
        args: Args<'_>,
        out: &mut Vec<u8>,
    ) -> Done {
        let (channel, payload) = (args.at(1), args.at(2));
        let heard = match kind {
            Kind::Channel => {
                let (here, elsewhere) = self.publish_on_host(channel, payload);
                here + elsewhere
            }
            _ => self.publish_in_shard(self.at.me, key_slot(channel), channel, payload),
        };
        Reply::new(out, false).int(heard as i64);
        Ok(())
    }

    /// To everybody on this host who listens: how many hear it here, and how many on siblings.
    pub(in crate::shard) fn publish_on_host(&mut self, channel: &[u8], payload: &[u8]) -> (u64, u64) {
        let here = self.tell(Kind::Channel, channel, payload, None);
        if self.at.shards == 1 {
            return (here, 0);
        }
        let hearers = self.host.registers.audience.hearers(channel);
        (here, self.spread(Kind::Channel, channel, payload, &hearers))
    }

    /// To those who listen to a shard channel by the own port of `node`, and, when the slot is that node's,
    /// by the front door: how many hear it.
    fn publish_in_shard(&mut self, node: usize, slot: Slot, channel: &[u8], payload: &[u8]) -> u64 {
        let audience = &self.host.registers.audience;
        let mut own = audience.listeners(Kind::Own, channel);
        own.retain(|(shard, _)| *shard == node);
        let mut heard = self.spread(Kind::Own, channel, payload, &own);
        if node == self.at.me {
            heard += self.tell(Kind::Own, channel, payload, None);
        }
        if !self.at.cluster || self.view.local_owner(slot).map(usize::from) == Some(node) {
            let by_front_door = self.host.registers.audience.listeners(Kind::Sharded, channel);
            heard += self.tell(Kind::Sharded, channel, payload, None);
            heard += self.spread(Kind::Sharded, channel, payload, &by_front_door);
        }
        heard
    }

    /// Sends a message to siblings that have somebody for it: how many they are.
    fn spread(&mut self, kind: Kind, channel: &[u8], payload: &[u8], hearers: &Counts) -> u64 {
        let mut message = None;
        let mut heard = 0;
        self.pubsub.outbox.resize_with(self.at.shards, Vec::new);
        for &(to, n) in hearers.iter().filter(|(shard, _)| *shard != self.at.me) {
            let message = message.get_or_insert_with(|| Message::new(kind, channel, payload));
            self.host.registers.audience.note_sent(to, message.bytes());
            self.pubsub.outbox[to].push(message.clone());
            heard += n;
        }
        heard
    }

    /// A sibling's clients have said something.
    pub(in crate::shard) fn heard(&mut self, messages: Vec<Message>) {
        for m in messages {
            self.host.registers.audience.note_heard(self.at.me, m.bytes());
            let (channel, payload) = (&m.frame[m.channel.clone()], &m.frame[m.payload.clone()]);
            self.tell(m.kind, channel, payload, Some(&m.frame));
        }
    }

    /// To other hosts, and to replicas here; `local` speaks.
    fn publish_on_bus(&mut self, local: usize, kind: Kind, channel: &[u8], payload: &[u8]) {
        let sharded = kind != Kind::Channel;
        // the host's own nodes come first in a view
        let has_others = self.view.nodes.last().is_some_and(|node| node.local.is_none());
        let has_replicas = || sharded && self.view.nodes.iter().any(|node| node.is_replica());
        if !has_others && !has_replicas() {
            return;
        }
        let (channel, message) = (channel.to_vec().into(), payload.to_vec().into());
        self.plane.publications.push(Publication { local, channel, message, sharded });
    }

    /// What came by the bus for this node.
    pub(in crate::shard) fn publish_from_bus(
        &mut self,
        Publication { channel, message, sharded, .. }: Publication,
    ) {
        match sharded {
            false => {
                self.tell(Kind::Channel, &channel, &message, None);
            }
            true => {
                self.publish_in_shard(self.at.me, key_slot(&channel), &channel, &message);
            }
        }
    }

    /// A primary's clients are heard by its replicas' too. No log wants to know.
    fn publish_to_replicas(&mut self, args: Args<'_>) {
        if !self.repl.is_fed() {
            return;
        }
        if self.in_exec {
            return words::command(&mut self.pubsub.held_back, args.iter());
        }
        self.feed_replicas();
        let mut bytes = Vec::new();
        words::command(&mut bytes, args.iter());
        self.feed_replicas_only(&bytes);
    }

    /// What a transaction has published goes out behind what it has changed.
    pub(in crate::shard) fn release_held_back(&mut self) {
        if !self.pubsub.held_back.is_empty() {
            let bytes = std::mem::take(&mut self.pubsub.held_back);
            self.feed_replicas();
            self.feed_replicas_only(&bytes);
        }
    }
}
