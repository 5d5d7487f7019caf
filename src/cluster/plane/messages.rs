//! Sending: one packet to one link, one to many, and what clients publish.

use super::Plane;
use super::effect::{Effect, LinkId};
use super::node::Key;
use crate::cluster::slots::SlotSet;
use crate::cluster::wire::{self, Header, Message, Packet};
use bytes::Bytes;
use std::collections::BTreeMap;

impl Plane {
    pub(super) fn send(&mut self, link: LinkId, message: &Message) {
        self.send_all(&[link], message);
    }

    /// Sends the same packet on links of one local node; it is built once.
    pub(super) fn send_all(&mut self, links: &[LinkId], message: &Message) {
        let Some(l) = links.first().map(|id| self.links[id].local) else { return };
        self.send_with(self.header(l), links, message);
    }

    pub(super) fn send_with(&mut self, header: Header, links: &[LinkId], message: &Message) {
        let Some(l) = links.first().map(|id| self.links[id].local) else { return };
        let kind = message.kind();
        let mut bytes = Vec::new();
        wire::encode(&Packet { header, message: message.clone() }, &mut bytes);
        let bytes = Bytes::from(bytes);
        self.locals[l].counts.sent[kind as usize] += links.len() as u64;
        for link in links {
            self.out.push(Effect::Send { link: *link, bytes: bytes.clone() });
        }
    }

    /// A local node's links to all foreign nodes.
    pub(super) fn all_links(&self, l: usize) -> Vec<LinkId> {
        self.group(l).foreign().filter_map(|(key, _)| self.open_link(l, key)).collect()
    }

    /// Tells every foreign node of the group once, by whichever local node has a link to it.
    pub(super) fn tell_once(&mut self, g: usize, message: Message) {
        let members = self.members(g);
        let mut by: BTreeMap<usize, Vec<LinkId>> = BTreeMap::new();
        for (key, _) in self.groups[g].foreign() {
            let link = members.iter().find_map(|l| self.open_link(*l, key).map(|link| (*l, link)));
            if let Some((l, link)) = link {
                by.entry(l).or_default().push(link);
            }
        }
        by.values().for_each(|links| self.send_all(links, &message));
    }

    /// Tells `to` that its claim is old: `owner` has those slots by a newer epoch.
    pub(super) fn send_update(&mut self, l: usize, to: Key, owner: Key) {
        let Some(link) = self.open_link(l, to) else { return };
        let group = self.group(l);
        let node = &group[owner];
        let mut slots: SlotSet = node.slots.clone();
        // no rumours about slots that it has stopped claiming
        slots.subtract(&group.unclaimed);
        let message = Message::Update { config_epoch: node.config_epoch, id: node.id, slots };
        self.send(link, &message);
    }

    pub(super) fn forward(&mut self, l: usize, channel: &Bytes, message: &Bytes, sharded: bool) {
        let (channel, message) = (channel.clone(), message.clone());
        if !sharded {
            let links = self.all_links(l);
            self.send_all(&links, &Message::Publish { channel, message });
            return;
        }
        // who serves our slots: our master, and its replicas
        let own = self.locals[l].key;
        let master = self.me(l).master.unwrap_or(own);
        let servers: Vec<Key> = self.group(l)[master].replicas.iter().copied().chain([master]).collect();
        let mut links = Vec::new();
        for key in servers.into_iter().filter(|key| *key != own) {
            match self.group(l)[key].local {
                Some(local) => {
                    let (channel, message) = (channel.clone(), message.clone());
                    self.out.push(Effect::Deliver { local, channel, message, sharded: true });
                }
                None => links.extend(self.open_link(l, key)),
            }
        }
        self.send_all(&links, &Message::PublishShard { channel, message });
    }
}
