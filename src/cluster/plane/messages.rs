//! Sending: one packet to one link, one to many, and what clients publish.

use super::Plane;
use super::effect::Effect;
use super::node::Key;
use super::trunk::Way;
use crate::cluster::slots::SlotSet;
use crate::cluster::wire::{self, Header, HostMark, Message, Packet};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

impl Plane {
    /// Sends a packet of a local node; it is built once for all whom it reaches in the same manner.
    pub(super) fn send(&mut self, l: usize, ways: &[Way], message: &Message) {
        self.send_with(l, self.header(l), ways, message);
    }

    pub(super) fn send_with(&mut self, l: usize, header: Header, ways: &[Way], message: &Message) {
        let mut packet = Packet { header, message: message.clone() };
        let mut built: Option<(u64, u16, Bytes)> = None;
        for Way { link, to, node } in ways {
            let same = built.as_ref().filter(|(t, n, _)| (t, n) == (to, node));
            let bytes = match same {
                Some((_, _, bytes)) => bytes.clone(),
                None => {
                    let host = packet.header.host;
                    packet.header.host = host.map(|mark| HostMark { to: *to, node: *node, ..mark });
                    let mut bytes = Vec::new();
                    wire::encode(&packet, &mut bytes);
                    let bytes = Bytes::from(bytes);
                    built = Some((*to, *node, bytes.clone()));
                    bytes
                }
            };
            self.out.push(Effect::Send { link: *link, bytes });
        }
        if let Some(sent) = self.locals[l].counts.sent.get_mut(message.counted()) {
            *sent += ways.len() as u64;
        }
    }

    /// How a local node reaches these foreign nodes, or their hosts: each once.
    pub(super) fn ways(&self, l: usize, keys: impl Iterator<Item = Key>) -> Vec<Way> {
        let ways: BTreeSet<Way> = keys.filter_map(|key| self.way(l, key)).map(Way::for_all).collect();
        ways.into_iter().collect()
    }

    /// The same to all foreign nodes.
    pub(super) fn all_ways(&self, l: usize) -> Vec<Way> {
        self.ways(l, self.group(l).foreign().map(|(key, _)| key))
    }

    /// Tells every foreign node of the group once, by whichever local node has a link to it.
    pub(super) fn tell_once(&mut self, g: usize, message: Message) {
        let members = self.members(g);
        let mut by: BTreeMap<usize, BTreeSet<Way>> = BTreeMap::new();
        for (key, _) in self.groups[g].foreign() {
            let way = members.iter().find_map(|l| self.way(*l, key).map(|way| (*l, way.for_all())));
            if let Some((l, way)) = way {
                by.entry(l).or_default().insert(way);
            }
        }
        for (l, ways) in by {
            let ways: Vec<Way> = ways.into_iter().collect();
            self.send(l, &ways, &message);
        }
    }

    /// Tells `to` that its claim is old: `owner` has those slots by a newer epoch.
    pub(super) fn send_update(&mut self, l: usize, to: Key, owner: Key) {
        let Some(way) = self.way(l, to) else { return };
        let group = self.group(l);
        let node = &group[owner];
        let mut slots: SlotSet = node.slots.clone();
        // no rumours about slots that it has stopped claiming
        slots.subtract(&group.unclaimed);
        let message = Message::Update { config_epoch: node.config_epoch, id: node.id, slots };
        self.send(l, &[way], &message);
    }

    pub(super) fn forward(&mut self, l: usize, channel: &Bytes, message: &Bytes, sharded: bool) {
        let (channel, message) = (channel.clone(), message.clone());
        if !sharded {
            let ways = self.all_ways(l);
            self.send(l, &ways, &Message::Publish { channel, message });
            return;
        }
        // who serves our slots: our master, and its replicas
        let own = self.locals[l].key;
        let master = self.me(l).master.unwrap_or(own);
        let servers: Vec<Key> = self.group(l)[master].replicas.iter().copied().chain([master]).collect();
        let mut ways = Vec::new();
        for key in servers.into_iter().filter(|key| *key != own) {
            match self.group(l)[key].local {
                Some(local) => {
                    let (channel, message) = (channel.clone(), message.clone());
                    self.out.push(Effect::Deliver { local, channel, message, sharded: true });
                }
                None => ways.extend(self.way(l, key)),
            }
        }
        self.send(l, &ways, &Message::PublishShard { channel, message });
    }
}
