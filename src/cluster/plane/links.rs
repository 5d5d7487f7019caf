//! Links to foreign nodes, and when to look after each.
//!
//! Redis looks at every node ten times a second. Here every pair of a local and a foreign node has a
//! time at which something may have to be done, at the earliest; what happens until then only moves
//! it away, which is noticed when it is reached.

use super::Plane;
use super::effect::{Effect, LinkId, LinkInfo};
use super::group::Publish;
use super::node::{Home, Key, NEVER, Node};
use crate::cluster::wire::{Statement, flag};
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};

/// Pairs of a local and a foreign node by when they are due.
pub type Timers = BTreeSet<(u64, usize, Key)>;

#[derive(Debug)]
pub struct Link {
    pub local: usize,
    /// The node at the other end; of an inbound link unknown until it has said a known name.
    pub peer: Option<Key>,
    pub created: u64,
    pub connected: bool,
    /// Addresses of both ends, of an inbound link.
    pub peer_ip: String,
    pub local_ip: String,
    pub spoke: Spoke,
}

/// What a host has told another over a link, and heard of it: who says nothing new needn't repeat it.
#[derive(Debug, Default)]
pub struct Spoke {
    /// Versions of our nodes' statements, by number.
    pub told: BTreeMap<u16, u64>,
    /// Its nodes' statements and their versions, by number.
    pub heard: BTreeMap<u16, (u64, Statement)>,
}

impl Plane {
    pub(super) fn accept(&mut self, id: LinkId, l: usize, peer_ip: &str, local_ip: &str) {
        assert!(id.is_inbound() && !self.links.contains_key(&id), "a new inbound link");
        if !self.locals[l].fresh {
            self.out.push(Effect::Close { link: id });
            return;
        }
        let (peer_ip, local_ip) = (peer_ip.to_owned(), local_ip.to_owned());
        let spoke = Spoke::default();
        let link =
            Link { local: l, peer: None, created: self.now, connected: true, peer_ip, local_ip, spoke };
        self.links.insert(id, link);
    }

    /// Opens a local node's link to a foreign one.
    fn connect(&mut self, l: usize, key: Key) {
        let address = &self.group(l)[key].address;
        let (ip, port) = (address.ip.clone(), address.cport);
        self.opened += 1;
        let id = LinkId::outbound(self.opened);
        let local_ip = self.me(l).address.ip.clone();
        let link = Link {
            local: l,
            peer: Some(key),
            created: self.now,
            connected: false,
            peer_ip: ip.clone(),
            local_ip,
            spoke: Spoke::default(),
        };
        self.links.insert(id, link);
        self.group_mut(l)[key].peers[l].link = Some(id);
        self.out.push(Effect::Connect { link: id, local: l, ip, port });
    }

    pub(super) fn connected(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.connected = true;
        let (l, Some(key)) = (link.local, link.peer) else { return };
        // a PING at once, lest a slow start looks like a failure; an older one keeps its time
        let before = self.group(l)[key].peers[l].ping_sent;
        self.greet(l, key, id);
        let node = &mut self.group_mut(l)[key];
        if before != 0 {
            node.peers[l].ping_sent = before;
        }
        node.flags &= !flag::MEET;
        self.wish_view(l, Publish::Soon);
        self.schedule(l, key);
    }

    /// A link broke, or the other side has closed it. That may be all that is ever heard of the end of a
    /// process: so the nodes that it led to are asked whether they are well, and the wait for their answers
    /// begins now.
    pub(super) fn lose_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        let (l, peer, open) = (link.local, link.peer, link.connected);
        let trunks = self.group(l).trunks.values();
        let carried: Vec<Key> = trunks
            .filter(|trunk| trunk.link == Some(id) || trunk.inbound == Some(id))
            .flat_map(|trunk| &trunk.nodes)
            .copied()
            .collect();
        self.forget_link(id);
        if !open {
            return;
        }
        let Some(speaker) = self.group(l).speaker.filter(|_| !carried.is_empty()) else {
            return peer.into_iter().for_each(|key| self.ask_after(l, key));
        };
        carried.into_iter().for_each(|key| self.ask_after(speaker, key));
    }

    /// Pings a node, or will as soon as there is a link: the wait for its answer begins now.
    fn ask_after(&mut self, l: usize, key: Key) {
        let now = self.now;
        let node = &mut self.group_mut(l)[key];
        let apart = node.in_handshake() || node.has(flag::NOADDR | flag::PFAIL | flag::FAIL);
        if apart || node.peers[l].ping_sent != 0 {
            return;
        }
        if node.peers[l].link.is_some() || self.carrier(l, key).is_some() {
            return self.ping(l, key);
        }
        if self.waits_for_trunk(l, key) || self.due(l, key) != NEVER {
            self.group_mut(l)[key].peers[l].ping_sent = now;
            self.schedule(l, key);
        }
    }

    /// A link is gone.
    pub(super) fn forget_link(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(&id) else { return };
        let Some(key) = link.peer else { return };
        let l = link.local;
        let peer = &mut self.group_mut(l)[key].peers[l];
        if peer.link == Some(id) {
            peer.link = None;
            self.wish_view(l, Publish::Soon);
            self.lose_trunk(l, key, id);
            self.schedule(l, key);
        } else if peer.inbound == Some(id) {
            peer.inbound = None;
            self.lose_trunk(l, key, id);
        }
    }

    pub(super) fn close(&mut self, id: LinkId) {
        self.forget_link(id);
        self.out.push(Effect::Close { link: id });
    }

    /// Closes a local node's own link to a foreign one; it will be opened again.
    pub(super) fn reconnect(&mut self, l: usize, key: Key) {
        if let Some(id) = self.group(l)[key].peers[l].link {
            self.close(id);
        }
    }

    /// Closes all links of a local node, with whomever.
    pub(super) fn close_all(&mut self, l: usize) {
        let ids: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| link.local == l).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.close(id));
    }

    /// The node that has named itself on an inbound link; the link that it had before is the older.
    pub(super) fn bind_inbound(&mut self, id: LinkId, l: usize, key: Key) {
        if let Some(old) = self.group(l)[key].peers[l].inbound {
            self.close(old);
        }
        self.group_mut(l)[key].peers[l].inbound = Some(id);
        self.links.get_mut(&id).expect("a packet's link").peer = Some(key);
    }

    /// Sets the timer of a pair anew, from what is known of it now.
    pub(super) fn schedule(&mut self, l: usize, key: Key) {
        let due = self.due(l, key);
        let old = std::mem::replace(&mut self.group_mut(l)[key].peers[l].due, due);
        if old != due {
            self.timers.remove(&(old, l, key));
            if due != NEVER {
                self.timers.insert((due, l, key));
            }
        }
    }

    /// Sets the timers of a foreign node with all local nodes of the group.
    pub(super) fn schedule_all(&mut self, g: usize, key: Key) {
        self.members(g).into_iter().for_each(|l| self.schedule(l, key));
    }

    /// Stops the timers of a node that leaves the table, or whose key changes.
    pub(super) fn unschedule(&mut self, l: usize, key: Key) {
        let due = std::mem::replace(&mut self.group_mut(l)[key].peers[l].due, NEVER);
        self.timers.remove(&(due, l, key));
    }

    /// When something about this pair may have to be done.
    fn due(&self, l: usize, key: Key) -> u64 {
        let (node, timeout) = (&self.group(l)[key], self.timeout());
        let peer = &node.peers[l];
        let apart = if node.in_handshake() {
            node.greeter != l
        } else {
            node.home != Home::Alone && self.group(l).speaker != Some(l)
        };
        if apart || !self.locals[l].fresh || !node.has_address() {
            return NEVER;
        }
        let ends = if node.in_handshake() { node.created + self.handshake_timeout() + 1 } else { NEVER };
        let Some(link) = peer.link.or_else(|| self.carrier(l, key)) else {
            let heard = match peer.ping_sent {
                0 => node.pong_received,
                asked => asked.max(node.data_received),
            };
            let waits = self.waits_for_trunk(l, key);
            return if waits { (heard + timeout / 2 + 1).max(self.now) } else { self.now };
        };
        if node.in_handshake() {
            return ends;
        }
        if peer.ping_sent == 0 {
            return node.pong_received + self.ping_after(l, key) + 1;
        }
        let heard = peer.ping_sent.max(node.data_received);
        let suspected = match node.has(flag::PFAIL | flag::FAIL) {
            true => NEVER,
            false => heard + timeout + 1,
        };
        let broken = (heard + timeout / 2).max(self.links[&link].created + timeout) + 1;
        suspected.min(broken)
    }

    /// How long after its last answer a node is pinged: half the node timeout, as Redis has it. A Shoal host, for
    /// which one PING does for all its nodes, is asked more often, because the wait begins with the PING.
    fn ping_after(&self, l: usize, key: Key) -> u64 {
        let half = self.timeout() / 2;
        if self.carrier(l, key).is_none() {
            return half;
        }
        let hosts = self.group(l).trunks.len() as u64;
        let soon = (self.timeout() / limits::HOST_PINGS).max(limits::HOST_PING_MS);
        soon.max(hosts * 1000 / limits::HOST_PINGS_A_SECOND).min(half)
    }

    /// How long a node may stay in handshake.
    pub(super) fn handshake_timeout(&self) -> u64 {
        self.timeout().max(limits::HANDSHAKE_MIN_MS)
    }

    /// Does what is due for all pairs.
    pub(super) fn run_timers(&mut self) {
        // what becomes due by this is for the next tick
        let due: Vec<(u64, usize, Key)> =
            self.timers.range(..(self.now + 1, 0, Key::FIRST)).copied().collect();
        for (at, l, key) in due {
            // an earlier one may have removed the node
            if self.timers.contains(&(at, l, key)) {
                self.look_after(l, key);
            }
        }
    }

    fn look_after(&mut self, l: usize, key: Key) {
        let node = &self.group(l)[key];
        if node.in_handshake() && self.now > node.created + self.handshake_timeout() {
            self.remove_node(self.locals[l].group, key);
            return;
        }
        match node.peers[l].link.or_else(|| self.carrier(l, key)) {
            None => {
                self.connect(l, key);
                self.suspect_unreachable(l, key);
            }
            Some(link) => self.look_after_link(l, key, link),
        }
        self.schedule(l, key);
    }

    fn look_after_link(&mut self, l: usize, key: Key, link: LinkId) {
        let (node, timeout, now) = (&self.group(l)[key], self.timeout(), self.now);
        if node.in_handshake() {
            return;
        }
        let ping_sent = node.peers[l].ping_sent;
        let silent = now - ping_sent.max(node.data_received).min(now);
        if ping_sent == 0 {
            if now > node.pong_received + self.ping_after(l, key) && !self.sibling_asks(l, key) {
                self.ping(l, key);
            }
            return;
        }
        if silent > timeout / 2 && now > self.links[&link].created + timeout {
            match (self.carrier(l, key), node.home) {
                (Some(_), Home::Host(host)) => self.doubt(l, host),
                _ => self.reconnect(l, key),
            }
        }
        self.suspect_if_silent(l, key);
        if silent <= timeout / 2 && now > ping_sent + timeout / 2 {
            // it lives and doesn't answer, so the question has not come through; the wait goes on as it began
            self.ping(l, key);
            self.group_mut(l)[key].peers[l].ping_sent = ping_sent;
        }
    }

    /// Another local node of the group awaits an answer from there: it speaks for all of them, unless
    /// that takes long.
    fn sibling_asks(&self, l: usize, key: Key) -> bool {
        let recent = self.now.saturating_sub(self.timeout() / 4);
        let peers = self.group(l)[key].peers.iter().enumerate();
        peers.filter(|(other, _)| *other != l).any(|(_, peer)| peer.ping_sent != 0 && peer.ping_sent > recent)
    }

    /// The link to a node and the one from it, its own with a local node or those that its host shares.
    fn links_with(&self, l: usize, node: &Node) -> [Option<LinkId>; 2] {
        let trunk = match node.home {
            Home::Host(host) if node.listed => self.group(l).trunks.get(&host),
            _ => None,
        };
        match (trunk, node.peers.get(l)) {
            (Some(trunk), _) => [trunk.link, trunk.inbound],
            (None, Some(peer)) => [peer.link, peer.inbound],
            (None, None) => [None, None],
        }
    }

    /// DEBUG CLUSTERLINK KILL: the link to a node, or the one from it, or both.
    pub(super) fn kill_links(&mut self, l: usize, which: &[u8], key: Key) {
        let [to, from] = self.links_with(l, &self.group(l)[key]);
        let killed = [to.filter(|_| which != b"from"), from.filter(|_| which != b"to")];
        killed.into_iter().flatten().for_each(|id| self.close(id));
    }

    /// CLUSTER LINKS.
    pub(super) fn describe_links(&self, l: usize) -> Vec<LinkInfo> {
        let mut links = Vec::new();
        for (_, node) in self.group(l).iter() {
            for id in self.links_with(l, node).into_iter().flatten() {
                let link = &self.links[&id];
                let (created, connected) = (link.created, link.connected);
                links.push(LinkInfo { link: id, node: node.id, created, connected });
            }
        }
        links
    }
}
