//! What packets do to a foreign node: `clusterProcessPacket`.

use super::node::{Known, RedisNode, random_id};
use shoal::cluster::plane::LinkId;
use shoal::cluster::view::NodeId;
use shoal::cluster::wire::{Gossip, GossipEntry, Header, Message, Packet, flag};

impl RedisNode {
    pub(super) fn receive(&mut self, link: LinkId, packet: Packet) {
        if !self.links.contains_key(&link) {
            return;
        }
        let Packet { header, message } = packet;
        let sender = self.sender(link, &header.sender);
        if let Some(id) = sender {
            self.current_epoch = self.current_epoch.max(header.current_epoch);
            let now = self.now;
            let node = self.known(id);
            node.data_received = now;
            node.epoch = node.epoch.max(header.config_epoch);
        }
        match message {
            Message::Ping(gossip) => self.greeted(link, sender, &header, &gossip, false, true),
            Message::Meet(gossip) => self.greeted(link, sender, &header, &gossip, true, true),
            Message::Pong(gossip) => self.greeted(link, sender, &header, &gossip, false, false),
            Message::Fail(about) if sender.is_some() && about != self.id => {
                let now = self.now;
                if let Some(node) = self.nodes.get_mut(&about).filter(|node| !node.has(flag::FAIL)) {
                    node.flags = node.flags & !flag::PFAIL | flag::FAIL;
                    node.failed_at = now;
                }
            }
            Message::Update { config_epoch, id, slots } if sender.is_some() => {
                let newer = self.nodes.get(&id).is_some_and(|node| node.epoch < config_epoch);
                if newer && id != self.id {
                    let node = self.known(id);
                    node.flags = node.flags & !flag::REPLICA | flag::MASTER;
                    (node.replica_of, node.epoch) = (None, config_epoch);
                    self.take_claims(id, config_epoch, &slots);
                }
            }
            Message::AuthRequest => {
                if let Some(id) = sender {
                    self.vote(id, &header);
                }
            }
            Message::AuthAck => {
                if let Some(id) = sender {
                    self.take_vote(id, header.current_epoch);
                }
            }
            _ => {}
        }
    }

    pub(super) fn known(&mut self, id: NodeId) -> &mut Known {
        self.nodes.get_mut(&id).expect("a node that is known")
    }

    /// `getNodeFromLinkAndMsg`
    fn sender(&mut self, link: LinkId, name: &NodeId) -> Option<NodeId> {
        let member = |id: &NodeId| self.nodes.get(id).is_some_and(|node| !node.has(flag::HANDSHAKE));
        if let Some(peer) = self.links[&link].peer.filter(|id| member(id)) {
            return Some(peer);
        }
        let id = Some(*name).filter(member)?;
        if self.links[&link].peer.is_none() && id != self.id {
            if let Some(old) = self.known(id).inbound {
                self.close(old);
            }
            self.known(id).inbound = Some(link);
            self.links.get_mut(&link).expect("it is there").peer = Some(id);
        }
        Some(id)
    }

    fn greeted(
        &mut self,
        link: LinkId,
        sender: Option<NodeId>,
        header: &Header,
        gossip: &Gossip,
        meet: bool,
        asks: bool,
    ) {
        let now = self.now;
        if asks && (meet || self.me().ip.is_empty()) && !self.links[&link].local_ip.is_empty() {
            let ip = self.links[&link].local_ip.clone();
            self.me_mut().ip = ip;
        }
        if meet && sender.is_none() {
            let ip = self.address_of(link, header);
            self.handshake(&ip, header.port, header.cport, 0);
            self.take_gossip(link, sender, &gossip.entries);
        }
        if asks {
            self.send_greeting(link, Message::Pong);
        }
        if !link.is_inbound() && !self.is_whom_we_called(link, sender, header) {
            return;
        }
        if asks
            && !meet
            && let Some(id) = sender.filter(|id| self.nodes[id].link != Some(link))
        {
            let ip = self.address_of(link, header);
            self.take_address(id, ip, header.port, header.cport);
        }
        if !asks
            && !link.is_inbound()
            && let Some(id) = self.links.get(&link).and_then(|link| link.peer)
        {
            let node = self.known(id);
            (node.pong_received, node.ping_sent) = (now, 0);
            self.clear_failure(id);
        }
        if let Some(id) = sender {
            self.take_role(id, header);
            self.take_news(id, header);
            self.take_gossip(link, sender, &gossip.entries);
        }
    }

    fn address_of(&self, link: LinkId, header: &Header) -> String {
        if header.ip.is_empty() { self.links[&link].peer_ip.clone() } else { header.ip.clone() }
    }

    pub(super) fn handshake(&mut self, ip: &str, port: u16, cport: u16, flags: u16) {
        let on = |node: &Known| {
            node.has(flag::HANDSHAKE) && (node.ip.as_str(), node.port, node.cport) == (ip, port, cport)
        };
        if !self.nodes.values().any(on) {
            let id = random_id(&mut self.rng);
            self.nodes.insert(id, Known::new((ip, port, cport), flag::HANDSHAKE | flags, self.now));
            self.names.clear();
        }
    }

    /// Ends a handshake; or finds that somebody else lives there.
    fn is_whom_we_called(&mut self, link: LinkId, sender: Option<NodeId>, header: &Header) -> bool {
        let Some(peer) = self.links[&link].peer else { return true };
        if self.nodes[&peer].has(flag::HANDSHAKE) {
            if let Some(known) = sender {
                let ip = self.address_of(link, header);
                if known != self.id {
                    self.take_address(known, ip, header.port, header.cport);
                }
                self.delete(peer);
                return false;
            }
            let mut node = self.nodes.remove(&peer).expect("it is there");
            let role = if header.replica_of.is_some() { flag::REPLICA } else { flag::MASTER };
            node.flags = node.flags & !(flag::HANDSHAKE | flag::MEET) | role;
            self.nodes.insert(header.sender, node);
            self.names.clear();
            self.links.get_mut(&link).expect("it is there").peer = Some(header.sender);
            return true;
        }
        if peer == header.sender {
            return true;
        }
        let node = self.known(peer);
        node.flags |= flag::NOADDR;
        node.ip.clear();
        self.close(link);
        false
    }

    fn take_address(&mut self, id: NodeId, ip: String, port: u16, cport: u16) {
        let node = self.known(id);
        if ip.is_empty() || (&node.ip, node.port, node.cport) == (&ip, port, cport) {
            return;
        }
        (node.ip, node.port, node.cport) = (ip, port, cport);
        node.flags &= !flag::NOADDR;
        if let Some(link) = node.link {
            self.close(link);
        }
    }

    fn take_role(&mut self, id: NodeId, header: &Header) {
        let node = self.known(id);
        match header.replica_of {
            None => {
                node.flags = node.flags & !flag::REPLICA | flag::MASTER;
                node.replica_of = None;
            }
            Some(master) => {
                let was_master = node.is_master();
                node.flags = node.flags & !flag::MASTER | flag::REPLICA;
                if master != id && self.nodes.contains_key(&master) {
                    self.known(id).replica_of = Some(master);
                }
                if was_master {
                    self.unbind_all(id);
                }
            }
        }
    }

    /// `clusterProcessGossipSection`
    fn take_gossip(&mut self, link: LinkId, sender: Option<NodeId>, entries: &[GossipEntry]) {
        let named = self.links.get(&link).and_then(|link| link.peer).or(sender);
        let sender = named.filter(|id| self.nodes.contains_key(id));
        let by = sender.filter(|by| self.nodes[by].is_master());
        for entry in entries {
            if self.nodes.contains_key(&entry.id) {
                self.take_entry(by, entry);
            } else if sender.is_some()
                && entry.flags & flag::NOADDR == 0
                && self.blacklist.get(&entry.id).is_none_or(|until| self.now > *until)
            {
                let address = (entry.ip.as_str(), entry.port, entry.cport);
                let flags = entry.flags & !(flag::MYSELF | flag::MEET);
                self.nodes.insert(entry.id, Known::new(address, flags, self.now));
                self.names.clear();
            }
        }
    }

    /// What a node, `by` if it is a master, says of another.
    fn take_entry(&mut self, by: Option<NodeId>, entry: &GossipEntry) {
        let (now, id) = (self.now, entry.id);
        let failing = entry.flags & (flag::PFAIL | flag::FAIL) != 0;
        if let Some(by) = by.filter(|_| failing && id != self.id) {
            self.known(id).reports.insert(by, now);
            self.fail_if_agreed(id);
        }
        let (own, valid) = (self.id, self.timeout * 2);
        let node = self.known(id);
        if !node.reports.is_empty() {
            let gone = by.filter(|_| !failing && id != own);
            node.reports.retain(|reporter, at| Some(*reporter) != gone && now - (*at).min(now) <= valid);
        }
        let pong = entry.pong_received as u64 * 1000;
        if !failing && node.ping_sent == 0 && node.reports.is_empty() && pong <= now + 500 {
            node.pong_received = node.pong_received.max(pong);
        }
        let lost = node.has(flag::PFAIL | flag::FAIL) && !failing && entry.flags & flag::NOADDR == 0;
        if lost && (&node.ip, node.port, node.cport) != (&entry.ip, entry.port, entry.cport) {
            self.take_address(id, entry.ip.clone(), entry.port, entry.cport);
        }
    }
}
