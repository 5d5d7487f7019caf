//! Messages: from a client, from a sibling, from another host, and from a primary.

use super::{Heard, Message, Whom};
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
    fn publish_on_host(&mut self, channel: &[u8], payload: &[u8]) -> (u64, u64) {
        self.publish_to((Kind::Channel, Whom::All), channel, payload)
    }

    /// About a key of this shard.
    pub(in crate::shard) fn publish_event(&mut self, channel: &[u8], payload: &[u8]) {
        self.tell((Kind::Channel, Whom::All), channel, payload, None);
        if self.at.shards > 1 {
            let hearers = self.host.registers.audience.hearers(channel);
            self.spread((Kind::Channel, Whom::FrontDoor), channel, payload, &hearers);
        }
    }

    fn publish_to(&mut self, to: (Kind, Whom), channel: &[u8], payload: &[u8]) -> (u64, u64) {
        let here = self.tell(to, channel, payload, None);
        if self.at.shards == 1 {
            return (here, 0);
        }
        let audience = &self.host.registers.audience;
        let hearers = match to.0 {
            Kind::Channel => audience.hearers(channel),
            kind => audience.listeners(kind, channel),
        };
        (here, self.spread(to, channel, payload, &hearers))
    }

    /// To those who listen to a shard channel by the own port of `node`, and, when the slot is that node's,
    /// by the front door: how many hear it.
    fn publish_in_shard(&mut self, node: usize, slot: Slot, channel: &[u8], payload: &[u8]) -> u64 {
        let own = (Kind::Own, Whom::All);
        let mut heard = match node == self.at.me {
            true => self.tell(own, channel, payload, None),
            false => {
                let mut nodes = self.host.registers.audience.listeners(Kind::Own, channel);
                nodes.retain(|(shard, _)| *shard == node);
                self.spread(own, channel, payload, &nodes)
            }
        };
        if !self.at.cluster || self.view.local_owner(slot).map(usize::from) == Some(node) {
            let (here, elsewhere) = self.publish_to((Kind::Sharded, Whom::All), channel, payload);
            heard += here + elsewhere;
        }
        heard
    }

    /// Sends a message to siblings that have somebody for it: how many they are.
    fn spread(&mut self, to: (Kind, Whom), channel: &[u8], payload: &[u8], hearers: &Counts) -> u64 {
        let (me, mut message, mut heard) = (self.at.me, None, 0);
        for &(shard, n) in hearers.iter().filter(|(shard, _)| *shard != me) {
            let message = message.get_or_insert_with(|| Message::new(to, channel, payload));
            self.send_heard(shard, Heard::Message(message.clone()));
            heard += n;
        }
        heard
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
                self.tell((Kind::Channel, Whom::All), &channel, &message, None);
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
        let mut bytes = Vec::new();
        words::command(&mut bytes, args.iter());
        self.feed_message(&bytes);
    }

    fn feed_message(&mut self, bytes: &[u8]) {
        self.stream.select_any();
        self.feed_replicas();
        self.feed_replicas_only(bytes);
    }

    /// What a transaction has published goes out behind what it has changed.
    pub(in crate::shard) fn release_held_back(&mut self) {
        if !self.pubsub.held_back.is_empty() {
            let bytes = std::mem::take(&mut self.pubsub.held_back);
            self.feed_message(&bytes);
        }
    }
}
