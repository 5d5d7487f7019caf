//! Packets that come in: Redis's `clusterProcessPacket`, for one local node of many.

use super::Plane;
use super::effect::{Effect, LinkId};
use super::gossip::Greeting;
use super::group::Publish;
use super::node::{Address, Home, Key};
use super::out::Want;
use crate::cluster::view::NodeId;
use crate::cluster::wire::{self, Extension, Gossip, GossipEntry, Header, Message, Packet, flag, mflag};
use std::collections::BTreeSet;

/// A packet being processed: where it came in, and who sent it when that is known.
#[derive(Clone, Copy)]
pub(super) struct From {
    pub link: LinkId,
    pub l: usize,
    pub sender: Option<Key>,
}

impl Plane {
    pub(super) fn receive(&mut self, id: LinkId, frame: &[u8]) {
        let Some(link) = self.links.get(&id) else { return };
        let l = link.local;
        if !self.locals[l].fresh {
            return;
        }
        let packet = match wire::decode(frame) {
            Ok(packet) => packet,
            Err(why) => {
                self.locals[l].counts.malformed += 1;
                if why.closes() {
                    self.close(id);
                }
                return;
            }
        };
        if let Some(received) = self.locals[l].counts.received.get_mut(packet.message.counted()) {
            *received += 1;
        }
        if self.locals[l].dropped == Some(packet.message.counted()) {
            return;
        }
        if let Some(sibling) = self.local_of(&packet.header.sender) {
            self.receive_own(id, sibling, &packet);
            return;
        }
        if packet.header.host.is_some_and(|mark| mark.to != 0) && !matches!(packet.message, Message::Host(_))
        {
            self.receive_carried(id, l, packet);
            return;
        }
        let from = From { link: id, l, sender: self.sender(id, l, &packet.header.sender) };
        self.note_sender(from, &packet.header);
        if !self.links.contains_key(&id) {
            // its host has a link for all of its nodes
            return;
        }
        let Packet { header, message } = packet;
        match message {
            Message::Host(gossip) => self.take_host(from, &header, gossip),
            Message::Ping(gossip) => self.take_ping(from, &header, &gossip, false),
            Message::Meet(gossip) => self.take_ping(from, &header, &gossip, true),
            Message::Pong(gossip) => self.take_state(from, &header, &gossip, Greeting::Pong),
            Message::Unknown(_) | Message::Module { .. } => {}
            message => {
                if let Some(sender) = from.sender {
                    self.take_message(from, sender, &header, message);
                }
            }
        }
    }

    /// A packet of a node of another host for this host, whatever its link is otherwise for.
    fn receive_carried(&mut self, id: LinkId, l: usize, packet: Packet) {
        let Packet { header, message } = packet;
        let (g, Some(mark)) = (self.locals[l].group, header.host) else { return };
        let group = &self.groups[g];
        let sender = group.find(&header.sender).filter(|key| group[*key].home == Home::Host(mark.host));
        let Some(sender) = sender.filter(|_| mark.to == group.host) else { return };
        let to = self.addressees(g, &mark);
        let from = |l: usize| From { link: id, l, sender: Some(sender) };
        let Some(first) = to.first().copied() else { return };
        self.note_header(first, sender, &header);
        to.iter().for_each(|l| self.note_paused_master(*l, sender, &header));
        match message {
            Message::Pong(gossip) => {
                self.take_said(from(first), sender, &header, &gossip);
                to[1..].iter().for_each(|l| self.settle_collision(*l, sender, header.config_epoch));
            }
            // what changes the host's table does so once
            Message::Fail(_) | Message::Update { .. } => {
                self.take_message(from(first), sender, &header, message);
            }
            message => {
                to.into_iter().for_each(|l| self.take_message(from(l), sender, &header, message.clone()))
            }
        }
    }

    /// The node that sent this: the one at the link's other end, or else the one of that name.
    fn sender(&mut self, id: LinkId, l: usize, name: &NodeId) -> Option<Key> {
        let peer = self.links[&id].peer;
        if let Some(key) = peer.filter(|key| !self.group(l)[*key].in_handshake()) {
            return Some(key);
        }
        let key = self.group(l).find(name).filter(|key| !self.group(l)[*key].in_handshake())?;
        if peer.is_none() {
            self.bind_inbound(id, l, key);
        }
        Some(key)
    }

    /// What any packet of a known node tells: it lives, its epochs, its offset.
    fn note_sender(&mut self, from: From, header: &Header) {
        let Some(key) = from.sender else { return };
        self.note_header(from.l, key, header);
        self.note_paused_master(from.l, key, header);
    }

    pub(super) fn note_header(&mut self, l: usize, key: Key, header: &Header) {
        let (now, number) = (self.now, header.host.map_or(0, |mark| mark.number));
        let home = self.home_of(header);
        self.set_home(self.locals[l].group, key, home, number);
        let group = self.group_mut(l);
        // a config epoch beyond the current one is nobody's; believing it must not turn time back
        group.current_epoch = group.current_epoch.max(header.current_epoch).max(header.config_epoch);
        let node = &mut group[key];
        node.data_received = now;
        node.offset = header.offset;
        node.extensions |= header.mflags & mflag::EXT_DATA != 0;
        if header.config_epoch > node.config_epoch {
            node.config_epoch = header.config_epoch;
            group.publish = Publish::Now;
            self.out.want(Want::First);
        }
    }

    fn take_ping(&mut self, from: From, header: &Header, gossip: &Gossip, meet: bool) {
        let From { link, l, sender } = from;
        if meet || self.me(l).address.ip.is_empty() {
            let ip = self.links[&link].local_ip.clone();
            if link.is_inbound() {
                self.learn_own_ip(l, &ip);
            }
        }
        if meet && sender.is_none() {
            if !self.may_join(l, None, &header.sender) {
                return;
            }
            let address = self.announced(link, header);
            self.start_handshake(l, address, 0);
            // the sender is unknown, yet MEET makes it trustworthy
            self.take_gossip(from, &gossip.entries);
        }
        self.send_greeting(link, Greeting::Pong);
        self.take_state(from, header, gossip, if meet { Greeting::Meet } else { Greeting::Ping });
    }

    /// The local node of this name, in whichever group.
    pub(super) fn local_of(&self, id: &NodeId) -> Option<usize> {
        self.locals.iter().position(|local| self.groups[local.group][local.key].id == *id)
    }

    /// Whether this is a node of this host, in whichever group.
    pub(super) fn is_own(&self, id: &NodeId) -> bool {
        self.local_of(id).is_some()
    }

    /// The sender's address as it says itself, or else as the link shows it.
    pub(super) fn announced(&self, link: LinkId, header: &Header) -> Address {
        let ip = match header.ip.is_empty() {
            true => self.links[&link].peer_ip.clone(),
            false => header.ip.clone(),
        };
        Address { ip, port: header.port, pport: header.pport, cport: header.cport }
    }

    /// PING, PONG and MEET: all that they say of their sender.
    fn take_state(&mut self, from: From, header: &Header, gossip: &Gossip, greeting: Greeting) {
        let From { link, l, sender } = from;
        if !link.is_inbound() && !self.check_name(from, header) {
            return;
        }
        // a handshake that has just ended has a name now, but Redis believes it from the next packet on
        let Some(key) = sender else {
            self.note_pong(link, greeting);
            return;
        };
        if greeting == Greeting::Ping {
            let address = self.announced(link, header);
            self.update_address(l, key, Some(link), address);
        }
        self.note_pong(link, greeting);
        self.take_said(from, key, header, gossip);
    }

    /// What a known node says of itself and of others, by whichever link.
    fn take_said(&mut self, from: From, key: Key, header: &Header, gossip: &Gossip) {
        let l = from.l;
        self.take_role(l, key, header);
        self.take_claims(l, key, header);
        self.settle_collision(l, key, header.config_epoch);
        self.take_gossip(from, &gossip.entries);
        self.take_extensions(l, key, &gossip.extensions);
    }

    /// Whether the node at the end of our own link is the one that it should be.
    fn check_name(&mut self, from: From, header: &Header) -> bool {
        let From { link, l, sender } = from;
        let Some(peer) = self.links[&link].peer else { return true };
        if self.group(l)[peer].in_handshake() {
            return match sender {
                Some(known) => {
                    let address = self.announced(link, header);
                    self.update_address(l, known, None, address);
                    self.remove_node(self.locals[l].group, peer);
                    false
                }
                None => self.end_handshake(l, peer, header),
            };
        }
        if self.group(l)[peer].id == header.sender {
            return true;
        }
        // somebody else lives there now
        let node = &mut self.group_mut(l)[peer];
        node.flags |= flag::NOADDR;
        node.address = Address::default();
        self.close(link);
        let g = self.locals[l].group;
        self.schedule_all(g, peer);
        self.out.want(Want::Soon);
        self.wish(g, Publish::Soon);
        false
    }

    /// A PONG on our own link: the node is well.
    fn note_pong(&mut self, link: LinkId, greeting: Greeting) {
        let Some(Some(key)) = self.links.get(&link).map(|link| link.peer) else { return };
        if link.is_inbound() || greeting != Greeting::Pong {
            return;
        }
        let l = self.links[&link].local;
        self.note_alive(l, key);
        self.found_trunk(l, key, link);
    }

    /// The node has answered a local one.
    pub(super) fn note_alive(&mut self, l: usize, key: Key) {
        let now = self.now;
        let node = &mut self.group_mut(l)[key];
        node.pong_received = now;
        node.peers[l].ping_sent = 0;
        self.back_again(self.locals[l].group, key);
        self.schedule(l, key);
    }

    /// Master or replica, and of whom.
    pub(super) fn take_role(&mut self, l: usize, key: Key, header: &Header) {
        let g = self.locals[l].group;
        let group = &mut self.groups[g];
        let node = &mut group[key];
        node.flags = node.flags & !flag::NOFAILOVER | header.flags & flag::NOFAILOVER;
        let Some(master) = &header.replica_of else {
            if group.promote(key) {
                self.out.want(Want::Soon);
                // it may be our turn now
                self.reconsider = true;
            }
            return;
        };
        let master = group.find(master).filter(|master| *master != key);
        if group[key].is_master() {
            group.demote(key);
            self.out.want(Want::Soon);
        }
        if let Some(master) = master.filter(|master| group[key].master != Some(*master)) {
            group.attach(key, master);
            self.out.want(Want::Soon);
        }
    }

    fn take_gossip(&mut self, from: From, entries: &[GossipEntry]) {
        for entry in entries {
            let g = self.locals[from.l].group;
            match self.groups[g].find(&entry.id) {
                Some(key) => {
                    self.take_sender_report(from, g, key, entry);
                    self.take_entry(g, key, entry);
                }
                None => self.take_unknown(from, g, entry),
            }
        }
    }

    /// Whether the sender, if it is a master, can reach a node that we know.
    fn take_sender_report(&mut self, from: From, g: usize, key: Key, entry: &GossipEntry) {
        let failing = entry.flags & (flag::PFAIL | flag::FAIL) != 0;
        let ourselves = self.locals[from.l].key == key;
        if let Some(sender) = from.sender.filter(|sender| self.groups[g][*sender].is_master() && !ourselves) {
            self.take_reports(g, key, &BTreeSet::from([sender]), failing);
        }
    }

    /// What others say of a node that we know.
    pub(super) fn take_entry(&mut self, g: usize, key: Key, entry: &GossipEntry) {
        let (now, timeout) = (self.now, self.timeout());
        let failing = entry.flags & (flag::PFAIL | flag::FAIL) != 0;
        if self.groups[g][key].local.is_some() || self.groups[g][key].in_handshake() {
            return;
        }
        let asked = self.groups[g][key].peers.iter().any(|peer| peer.ping_sent != 0);
        let pong = entry.pong_received as u64 * 1000;
        let reports = self.groups[g].reports(key, now, timeout);
        let node = &mut self.groups[g][key];
        if !failing && !asked && reports == 0 && pong <= now + 500 && pong > node.pong_received {
            node.pong_received = pong;
        }
        let (ip, port, pport, cport) = (entry.ip.clone(), entry.port, entry.pport, entry.cport);
        let address = Address { ip, port, pport, cport };
        let moved = !failing && entry.flags & flag::NOADDR == 0 && !node.address.same_place(&address);
        if node.has(flag::PFAIL | flag::FAIL) && moved {
            self.move_node(g, key, address);
        }
    }

    /// The sender, whom we know, speaks of a node that we don't.
    pub(super) fn take_unknown(&mut self, from: From, g: usize, entry: &GossipEntry) {
        let known = from.sender.is_some() && entry.flags & flag::NOADDR == 0 && !entry.ip.is_empty();
        if !known || self.groups[g].is_blacklisted(&entry.id, self.now) || self.groups[g].is_full() {
            return;
        }
        if let Some(sibling) = self.local_of(&entry.id) {
            // one in another group comes in when its own group finds this cluster, or, if it was only
            // forgotten, when its minute is over: unless it is elsewhere by now
            if self.locals[sibling].forgotten {
                let _ = self.meet_sibling(from.l, sibling);
            }
            return;
        }
        let role = match entry.flags & flag::REPLICA {
            0 => flag::MASTER,
            _ => flag::REPLICA,
        };
        let failing = entry.flags & (flag::PFAIL | flag::FAIL);
        let (ip, port, pport, cport) = (entry.ip.clone(), entry.port, entry.pport, entry.cport);
        let address = Address { ip, port, pport, cport };
        let key = self.add_foreign(
            g,
            entry.id,
            role | entry.flags & (flag::NOFAILOVER | flag::MIGRATE_TO),
            address,
        );
        if failing != 0 {
            let failing = if failing & flag::FAIL != 0 { flag::FAIL } else { flag::PFAIL };
            self.groups[g].set_health(key, failing);
            self.groups[g][key].failed_at = self.now;
        }
    }

    pub(super) fn take_extensions(&mut self, l: usize, key: Key, extensions: &[Extension]) {
        let (mut hostname, mut human_name) = ("", "");
        for extension in extensions {
            match extension {
                Extension::Hostname(name) => hostname = name,
                Extension::HumanName(name) => human_name = name,
                Extension::ShardId(id) => self.group_mut(l)[key].shard_id = Some(*id),
                Extension::Forgotten { id, ttl } => self.take_forgotten(l, key, id, *ttl),
                Extension::Unknown(_) => {}
            }
        }
        let node = &mut self.group_mut(l)[key];
        if node.hostname != hostname || node.human_name != human_name {
            (node.hostname, node.human_name) = (hostname.to_owned(), human_name.to_owned());
            self.out.want(Want::Soon);
            self.wish_view(l, Publish::Soon);
        }
    }

    /// Messages that only count from nodes that we know.
    fn take_message(&mut self, from: From, sender: Key, header: &Header, message: Message) {
        let (l, g) = (from.l, self.locals[from.l].group);
        match message {
            Message::Fail(id) => {
                if let Some(about) = self.groups[g].find(&id) {
                    self.take_fail(g, about);
                    self.out.want(Want::Soon);
                }
            }
            Message::Publish { channel, message } => {
                self.out.push(Effect::Deliver { local: l, channel, message, sharded: false });
            }
            Message::PublishShard { channel, message } => {
                self.out.push(Effect::Deliver { local: l, channel, message, sharded: true });
            }
            Message::AuthRequest => self.vote_for_foreign(l, sender, header),
            Message::AuthAck => {
                let node = &self.groups[g][sender];
                if node.counts() {
                    self.count_vote(l, node.id, header.current_epoch);
                }
            }
            Message::MfStart => self.take_mfstart(l, sender),
            Message::Update { config_epoch, id, slots } => self.take_update(g, config_epoch, &id, &slots),
            Message::Ping(_) | Message::Pong(_) | Message::Meet(_) => {}
            Message::Host(_) | Message::Module { .. } | Message::Unknown(_) => {}
        }
    }
}
