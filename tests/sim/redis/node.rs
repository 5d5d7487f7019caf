//! What a foreign node knows, and what it does as time passes: `clusterCron`.

use super::votes::Election;
use bytes::Bytes;
use shoal::cluster::plane::LinkId;
use shoal::cluster::slots::SlotSet;
use shoal::cluster::view::NodeId;
use shoal::cluster::wire::{self, Gossip, GossipEntry, Header, Message, Packet, flag};
use shoal::shard::desk::{Event, Order};
use shoal::slot::{SLOTS, Slot};
use shoal::util::rng::Rng;
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone)]
pub struct Known {
    pub ip: String,
    pub port: u16,
    pub cport: u16,
    pub flags: u16,
    pub epoch: u64,
    pub replica_of: Option<NodeId>,
    pub slots: SlotSet,
    pub owned: usize,
    pub created: u64,
    pub ping_sent: u64,
    pub pong_received: u64,
    pub data_received: u64,
    pub failed_at: u64,
    pub voted_at: u64,
    pub link: Option<LinkId>,
    pub linked_at: u64,
    pub inbound: Option<LinkId>,
    /// Who said when that it is not reachable.
    pub reports: BTreeMap<NodeId, u64>,
    mentioned: u64,
}

impl Known {
    pub fn new(address: (&str, u16, u16), flags: u16, now: u64) -> Known {
        Known {
            ip: address.0.to_owned(),
            port: address.1,
            cport: address.2,
            flags,
            epoch: 0,
            replica_of: None,
            slots: SlotSet::new(),
            owned: 0,
            created: now,
            ping_sent: 0,
            pong_received: 0,
            data_received: 0,
            failed_at: 0,
            voted_at: 0,
            link: None,
            linked_at: 0,
            inbound: None,
            reports: BTreeMap::new(),
            mentioned: 0,
        }
    }

    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    pub fn is_master(&self) -> bool {
        self.has(flag::MASTER)
    }
}

pub struct Link {
    pub peer: Option<NodeId>,
    pub connected: bool,
    pub peer_ip: String,
    pub local_ip: String,
}

pub struct RedisNode {
    pub id: NodeId,
    pub(super) timeout: u64,
    pub(super) now: u64,
    started: u64,
    /// Ourselves among them.
    pub(super) nodes: BTreeMap<NodeId, Known>,
    /// The same names, to draw from; empty when they have to be gathered anew.
    pub(super) names: Vec<NodeId>,
    pub(super) owners: Vec<Option<NodeId>>,
    pub(super) unclaimed: SlotSet,
    pub(super) migrating: BTreeMap<Slot, NodeId>,
    pub(super) importing: BTreeMap<Slot, NodeId>,
    pub(super) current_epoch: u64,
    pub(super) last_vote_epoch: u64,
    pub(super) blacklist: BTreeMap<NodeId, u64>,
    pub(super) links: BTreeMap<LinkId, Link>,
    opened: u64,
    pub(super) ok: bool,
    pub(super) size: usize,
    minority_at: u64,
    pub(super) store: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) election: Election,
    orders: VecDeque<Order>,
    pub(super) rng: Rng,
    iteration: u64,
    pings: u64,
    /// Keys that it dropped with slots that it lost, slots that it won by an election, and marks.
    pub dropped: Vec<String>,
    pub won: Vec<Slot>,
    pub marks: Vec<&'static str>,
}

impl RedisNode {
    pub fn new(address: (&str, u16, u16), timeout: u64, seed: u64) -> RedisNode {
        let mut rng = Rng::new(seed);
        let id = random_id(&mut rng);
        // it learns its own address by the first MEET
        let mut me = Known::new(("", address.1, address.2), flag::MASTER, 0);
        me.pong_received = 1;
        RedisNode {
            id,
            timeout,
            now: 0,
            started: 0,
            nodes: BTreeMap::from([(id, me)]),
            names: Vec::new(),
            owners: vec![None; SLOTS],
            unclaimed: SlotSet::new(),
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            current_epoch: 0,
            last_vote_epoch: 0,
            blacklist: BTreeMap::new(),
            links: BTreeMap::new(),
            opened: 0,
            ok: false,
            size: 1,
            minority_at: 0,
            store: BTreeMap::new(),
            election: Election::default(),
            orders: VecDeque::new(),
            rng,
            iteration: 0,
            pings: 0,
            dropped: Vec::new(),
            won: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// The node after a crash: what nodes.conf keeps is there, keys and links are not. It writes the
    /// file before it says anything, so nothing that was told is missing.
    pub fn restart(&self, seed: u64) -> RedisNode {
        let mut fresh = RedisNode::new(("", 0, 0), self.timeout, seed);
        fresh.id = self.id;
        let kept = |known: &Known| {
            let mut node = Known::new((&known.ip, known.port, known.cport), known.flags, 0);
            (node.epoch, node.replica_of) = (known.epoch, known.replica_of);
            (node.owned, node.failed_at) = (known.owned, known.failed_at);
            node.slots = known.slots.clone();
            node
        };
        let members = self.nodes.iter().filter(|(_, node)| !node.has(flag::HANDSHAKE));
        fresh.nodes = members.map(|(id, node)| (*id, kept(node))).collect();
        fresh.owners = self.owners.clone();
        (fresh.migrating, fresh.importing) = (self.migrating.clone(), self.importing.clone());
        (fresh.current_epoch, fresh.last_vote_epoch) = (self.current_epoch, self.last_vote_epoch);
        fresh
    }

    /// Takes a member of the cluster, or itself, into its table by hand, with its slots.
    pub fn know(&mut self, id: NodeId, at: (&str, u16), epoch: u64, (from, to): (Slot, Slot)) {
        let address = (at.0, at.1, at.1 + 10_000);
        self.names.clear();
        let node = self.nodes.entry(id).or_insert_with(|| Known::new(address, flag::MASTER, 0));
        (node.ip, node.epoch) = (at.0.to_owned(), epoch);
        self.current_epoch = self.current_epoch.max(epoch);
        (from..=to).for_each(|slot| self.bind(slot, id));
    }

    pub fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    pub fn me(&self) -> &Known {
        &self.nodes[&self.id]
    }

    pub(super) fn me_mut(&mut self) -> &mut Known {
        self.nodes.get_mut(&self.id).expect("it knows itself")
    }

    pub fn is_master(&self) -> bool {
        self.me().is_master()
    }

    pub fn config_epoch(&self) -> u64 {
        self.me().epoch
    }

    pub fn own_slots(&self) -> &SlotSet {
        &self.me().slots
    }

    pub fn keys(&self) -> Vec<String> {
        self.store.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    pub fn event(&mut self, event: Event<'_>, now: u64) {
        self.begin(now);
        match event {
            Event::Accepted { link, peer_ip, local_ip, .. } => {
                self.links.insert(link, Link { peer: None, connected: true, peer_ip, local_ip });
            }
            Event::Connected { link } => self.connected(link),
            Event::Closed { link, .. } => self.forget_link(link),
            Event::Frame { link, frame } => {
                if let Ok(packet) = wire::decode(frame) {
                    self.receive(link, packet);
                }
            }
        }
    }

    pub(super) fn begin(&mut self, now: u64) {
        self.now = self.now.max(now);
        if self.started == 0 {
            self.started = now;
        }
    }

    /// `clusterCron`
    pub fn tick(&mut self, now: u64) {
        self.begin(now);
        let now = self.now;
        self.iteration += 1;
        // of a thousand nodes few need anything at a time: only these are looked at twice
        let idle = |node: &Known| node.ping_sent == 0 && now <= node.pong_received + self.timeout / 2;
        let (mut apart, mut due) = (Vec::new(), Vec::new());
        for (id, node) in &self.nodes {
            apart.extend((node.link.is_none() || node.has(flag::HANDSHAKE)).then_some(*id));
            due.extend((!idle(node)).then_some(*id));
        }
        apart.into_iter().for_each(|id| self.reconnect(id));
        if self.iteration.is_multiple_of(10) {
            self.ping_someone();
        }
        for id in due {
            if self.nodes.contains_key(&id) {
                self.look_after(id);
            }
        }
        self.consider_election();
        self.update_state();
    }

    /// `clusterNodeCronHandleReconnect`
    fn reconnect(&mut self, id: NodeId) {
        let (now, limit) = (self.now, self.timeout.max(1000));
        let node = &self.nodes[&id];
        if id == self.id || node.has(flag::NOADDR) {
            return;
        }
        if node.has(flag::HANDSHAKE) && now > node.created + limit {
            return self.delete(id);
        }
        if node.link.is_some() {
            return;
        }
        self.opened += 1;
        let link = LinkId::outbound(self.opened);
        let (ip, port) = (node.ip.clone(), node.cport);
        let node = self.nodes.get_mut(&id).expect("it is there");
        (node.link, node.linked_at) = (Some(link), now);
        let (peer_ip, local_ip) = (ip.clone(), String::new());
        self.links.insert(link, Link { peer: Some(id), connected: false, peer_ip, local_ip });
        self.orders.push_back(Order::Connect { link, ip, port });
    }

    fn connected(&mut self, link: LinkId) {
        let Some(there) = self.links.get_mut(&link) else { return };
        there.connected = true;
        let Some(id) = there.peer else { return };
        let node = &self.nodes[&id];
        let (before, meet) = (node.ping_sent, node.has(flag::MEET));
        self.send_greeting(link, if meet { Message::Meet } else { Message::Ping });
        let node = self.nodes.get_mut(&id).expect("it is there");
        if before != 0 {
            node.ping_sent = before;
        }
        node.flags &= !flag::MEET;
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        let Some(gone) = self.links.remove(&link) else { return };
        let Some(node) = gone.peer.and_then(|id| self.nodes.get_mut(&id)) else { return };
        node.link = node.link.filter(|own| *own != link);
        node.inbound = node.inbound.filter(|theirs| *theirs != link);
    }

    pub(super) fn close(&mut self, link: LinkId) {
        self.forget_link(link);
        self.orders.push_back(Order::Close { link });
    }

    pub(super) fn delete(&mut self, id: NodeId) {
        if !self.nodes.contains_key(&id) {
            return;
        }
        self.unbind_all(id);
        let node = &self.nodes[&id];
        [node.link, node.inbound].into_iter().flatten().for_each(|link| self.close(link));
        self.nodes.remove(&id);
        self.names.clear();
        self.nodes.values_mut().for_each(|node| _ = node.reports.remove(&id));
        self.migrating.retain(|_, to| *to != id);
        self.importing.retain(|_, from| *from != id);
    }

    fn draw(&mut self) -> NodeId {
        if self.names.is_empty() {
            self.names = self.nodes.keys().copied().collect();
        }
        self.names[self.rng.below(self.names.len() as u64) as usize]
    }

    fn ping_someone(&mut self) {
        let mut oldest: Option<(u64, LinkId)> = None;
        for _ in 0..5 {
            let id = self.draw();
            let node = &self.nodes[&id];
            let idle = id != self.id && node.ping_sent == 0 && !node.has(flag::HANDSHAKE);
            if let Some(link) = node.link.filter(|_| idle)
                && oldest.is_none_or(|(pong, _)| pong > node.pong_received)
            {
                oldest = Some((node.pong_received, link));
            }
        }
        if let Some((_, link)) = oldest {
            self.send_greeting(link, Message::Ping);
        }
    }

    fn look_after(&mut self, id: NodeId) {
        let (now, half) = (self.now, self.timeout / 2);
        let node = &self.nodes[&id];
        if id == self.id || node.has(flag::NOADDR | flag::HANDSHAKE) {
            return;
        }
        let (asked, heard) = (node.ping_sent, node.data_received);
        let silent = now - asked.max(heard).min(now);
        if let Some(link) = node.link
            && now - node.linked_at.min(now) > self.timeout
            && asked != 0
            && silent > half
        {
            self.close(link);
        }
        let node = &self.nodes[&id];
        if let Some(link) = node.link
            && asked == 0
            && now.saturating_sub(node.pong_received) > half
        {
            self.send_greeting(link, Message::Ping);
            return;
        }
        if asked != 0 && silent > self.timeout && !node.has(flag::PFAIL | flag::FAIL) {
            self.nodes.get_mut(&id).expect("it is there").flags |= flag::PFAIL;
        }
    }

    /// `clusterSendPing`
    pub(super) fn send_greeting(&mut self, link: LinkId, kind: fn(Gossip) -> Message) {
        let entries = self.gossip();
        let message = kind(Gossip { entries, extensions: Vec::new() });
        if let (Message::Ping(_), false) = (&message, link.is_inbound())
            && let Some(id) = self.links.get(&link).and_then(|link| link.peer)
            && let Some(node) = self.nodes.get_mut(&id)
        {
            node.ping_sent = self.now;
        }
        self.send(link, message);
    }

    fn gossip(&mut self) -> Vec<GossipEntry> {
        self.pings += 1;
        let packet = self.pings;
        let mut fresh = self.nodes.len().saturating_sub(2);
        let wanted = (self.nodes.len() / 10).max(3).min(fresh);
        let mut chosen = Vec::new();
        let mut tries = wanted * 3;
        while fresh > 0 && chosen.len() < wanted && tries > 0 {
            tries -= 1;
            let id = self.draw();
            let node = self.nodes.get_mut(&id).expect("it was drawn");
            if id == self.id || node.has(flag::PFAIL) {
                continue;
            }
            if node.has(flag::HANDSHAKE | flag::NOADDR) || node.link.is_none() && node.owned == 0 {
                fresh -= 1;
                continue;
            }
            if std::mem::replace(&mut node.mentioned, packet) != packet {
                chosen.push(id);
                fresh -= 1;
            }
        }
        let suspect = |node: &Known| node.has(flag::PFAIL) && !node.has(flag::HANDSHAKE | flag::NOADDR);
        chosen.extend(self.nodes.iter().filter(|(_, node)| suspect(node)).map(|(id, _)| *id));
        chosen.iter().map(|id| entry(*id, &self.nodes[id])).collect()
    }

    pub(super) fn send(&mut self, link: LinkId, message: Message) {
        if !self.links.get(&link).is_some_and(|link| link.connected) {
            return;
        }
        let mut bytes = Vec::new();
        wire::encode(&Packet { header: self.header(), message }, &mut bytes);
        self.orders.push_back(Order::Send { link, bytes: Bytes::from(bytes) });
    }

    pub(super) fn broadcast(&mut self, message: Message) {
        let links: Vec<LinkId> = self.nodes.values().filter_map(|node| node.link).collect();
        links.into_iter().for_each(|link| self.send(link, message.clone()));
    }

    fn header(&self) -> Header {
        let me = self.me();
        let master = me.replica_of.and_then(|id| Some((id, self.nodes.get(&id)?)));
        let (of, epoch) = master.map_or((self.id, me.epoch), |(id, node)| (id, node.epoch));
        Header {
            sender: self.id,
            flags: me.flags | flag::MYSELF,
            ok: self.ok,
            mflags: 0,
            current_epoch: self.current_epoch,
            config_epoch: epoch,
            offset: 0,
            slots: self.nodes[&of].slots.clone(),
            replica_of: me.replica_of,
            ip: String::new(),
            port: me.port,
            pport: 0,
            cport: me.cport,
            host: None,
        }
    }

    /// `clusterUpdateState`
    fn update_state(&mut self) {
        let (now, master) = (self.now, self.is_master());
        if master && !self.ok && now - self.started < 2000 {
            return;
        }
        let failing = self.nodes.values().any(|node| node.owned > 0 && node.has(flag::FAIL));
        let mut ok = !failing && self.nodes.values().map(|node| node.owned).sum::<usize>() == SLOTS;
        let masters = self.nodes.values().filter(|node| node.is_master() && node.owned > 0);
        let (size, reachable) = masters.fold((0, 0), |(size, reachable), node| {
            (size + 1, reachable + !node.has(flag::PFAIL | flag::FAIL) as usize)
        });
        self.size = size;
        if reachable < size / 2 + 1 {
            ok = false;
            self.minority_at = now;
        }
        let wait = self.timeout.clamp(500, 5000);
        if ok && !self.ok && master && now - self.minority_at < wait {
            return;
        }
        self.ok = ok;
    }
}

pub(super) fn random_id(rng: &mut Rng) -> NodeId {
    std::array::from_fn(|_| b"0123456789abcdef"[rng.below(16) as usize])
}

fn entry(id: NodeId, node: &Known) -> GossipEntry {
    GossipEntry {
        id,
        ping_sent: (node.ping_sent / 1000) as u32,
        pong_received: (node.pong_received / 1000) as u32,
        ip: node.ip.clone(),
        port: node.port,
        cport: node.cport,
        pport: 0,
        flags: node.flags,
    }
}
