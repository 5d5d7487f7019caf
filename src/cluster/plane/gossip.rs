//! PING, PONG and MEET: what they say of their sender and of others.

use super::Plane;
use super::effect::LinkId;
use super::node::{Home, Key, Node};
use super::trunk::Way;
use crate::cluster::wire::{Extension, Gossip, GossipEntry, Header, Message, flag, mflag};
use crate::limits;

/// The three packets that carry gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    Ping,
    Pong,
    Meet,
}

impl Plane {
    /// The first packet on a link that we opened.
    pub(super) fn greet(&mut self, l: usize, key: Key, link: LinkId) {
        let meet = self.group(l)[key].has(flag::MEET);
        self.group_mut(l)[key].peers[l].ping_sent = self.now;
        self.send_greeting(link, if meet { Greeting::Meet } else { Greeting::Ping });
    }

    /// Pings a foreign node. While its link is still being opened this is the promise to do so as soon
    /// as it is: the wait for an answer begins now.
    pub(super) fn ping(&mut self, l: usize, key: Key) {
        let node = &self.group(l)[key];
        if let Home::Host(host) = node.home
            && let Some(speaker) =
                self.group(l).speaker.filter(|speaker| self.carrier(*speaker, key).is_some())
        {
            return self.ask_host(speaker, host);
        }
        let Some(link) = node.peers[l].link else { return };
        self.group_mut(l)[key].peers[l].ping_sent = self.now;
        if self.links[&link].connected {
            self.send_greeting(link, Greeting::Ping);
        }
        self.schedule(l, key);
    }

    pub(super) fn send_greeting(&mut self, id: LinkId, greeting: Greeting) {
        let Some(link) = self.links.get(&id) else { return };
        let (l, to) = (link.local, link.peer);
        let message = self.greeting(l, to, greeting);
        self.send(l, &[Way::direct(id)], &message);
    }

    /// A PONG to everybody that a local node has a link to, or to the replicas of its master and
    /// itself only: news that shall not wait for the next PING.
    pub(super) fn broadcast_pong(&mut self, l: usize, own_replicas_only: bool) {
        let me = self.me(l);
        let masters = [Some(self.locals[l].key), me.master];
        let to = self
            .group(l)
            .foreign()
            .filter(|(_, node)| !own_replicas_only || node.is_replica() && masters.contains(&node.master))
            .filter(|(_, node)| !own_replicas_only || node.master.is_some());
        let to: Vec<Key> = to.map(|(key, _)| key).collect();
        self.pong_to(l, to.into_iter());
    }

    /// A PONG that nobody has asked for.
    pub(super) fn pong_to(&mut self, l: usize, to: impl Iterator<Item = Key>) {
        let ways = self.ways(l, to);
        if !ways.is_empty() {
            let message = self.greeting(l, None, Greeting::Pong);
            self.send(l, &ways, &message);
        }
    }

    fn greeting(&mut self, l: usize, to: Option<Key>, greeting: Greeting) -> Message {
        let gossip = Gossip { entries: self.entries(l, to), extensions: self.extensions(l, to) };
        match greeting {
            Greeting::Ping => Message::Ping(gossip),
            Greeting::Pong => Message::Pong(gossip),
            Greeting::Meet => Message::Meet(gossip),
        }
    }

    /// Some nodes at random, a tenth of all and at least three, and all that are suspected.
    fn entries(&mut self, l: usize, to: Option<Key>) -> Vec<GossipEntry> {
        let (g, me) = (self.locals[l].group, self.locals[l].key);
        // neither ourselves nor the one that it is sent to
        self.some_nodes(g, 2, &|key, node| key == me || Some(key) == to && !node.has(flag::PFAIL))
    }

    /// The same for a whole host: nothing of its nodes nor of ours, but of those that hang.
    pub(super) fn entries_for_host(&mut self, g: usize, host: u64) -> Vec<GossipEntry> {
        let ours = self.groups[g].members.len();
        let theirs = self.groups[g].trunks.get(&host).map_or(0, |trunk| trunk.nodes.len());
        let failing = flag::PFAIL | flag::FAIL;
        self.some_nodes(g, ours + theirs, &|_, node| {
            !node.has(failing) && (node.local.is_some() || node.home == Home::Host(host))
        })
    }

    /// Draws nodes to tell of; `left_out` says which not, of whom there are so many.
    fn some_nodes(
        &mut self,
        g: usize,
        out: usize,
        left_out: &dyn Fn(Key, &Node) -> bool,
    ) -> Vec<GossipEntry> {
        self.packets += 1;
        let packet = self.packets;
        let group = &mut self.groups[g];
        let mut fresh = group.len().saturating_sub(out);
        let wanted = (group.len() / 10).max(limits::GOSSIP_MIN).min(fresh);
        let mut chosen = Vec::with_capacity(wanted + group.suspects.len());
        let mut tries = wanted * 3;
        while fresh > 0 && chosen.len() < wanted && tries > 0 {
            tries -= 1;
            let key = group.draw(&mut self.rng);
            let node = &mut group[key];
            if left_out(key, node) || node.has(flag::PFAIL) {
                continue;
            }
            if !worth_telling(node) || !node.reachable() && node.owned == 0 {
                fresh -= 1;
                continue;
            }
            if std::mem::replace(&mut node.mentioned, packet) != packet {
                fresh -= 1;
                chosen.push(key);
            }
        }
        let suspects = group.suspects.iter().map(|key| (*key, &group[*key]));
        let told = suspects.filter(|(key, node)| !left_out(*key, node) && worth_telling(node));
        chosen.extend(told.map(|(key, _)| key));
        chosen.into_iter().map(|key| entry(&group[key])).collect()
    }

    /// The host name, which every version takes, and what only newer ones do to those.
    fn extensions(&self, l: usize, to: Option<Key>) -> Vec<Extension> {
        let newer = to.is_some_and(|key| self.group(l)[key].extensions);
        self.extensions_of(l, newer)
    }

    pub(super) fn extensions_of(&self, l: usize, newer: bool) -> Vec<Extension> {
        let me = self.me(l);
        let mut out = Vec::new();
        if !me.hostname.is_empty() {
            out.push(Extension::Hostname(me.hostname.clone()));
        }
        if newer {
            if !me.human_name.is_empty() {
                out.push(Extension::HumanName(me.human_name.clone()));
            }
            out.push(Extension::ShardId(self.shard_id(self.locals[l].group, self.locals[l].key)));
        }
        out
    }

    /// What every packet of a local node says of it. A replica speaks of its master's slots.
    pub(super) fn header(&self, l: usize) -> Header {
        let (group, local, me) = (self.group(l), &self.locals[l], self.me(l));
        let master = me.master.filter(|_| me.is_replica()).map_or(me, |key| &group[key]);
        let held = me.is_master() && local.manual.until != 0 && local.beat.paused;
        Header {
            sender: me.id,
            flags: me.flags | flag::MYSELF,
            ok: group.ok,
            // it says, too, that extensions are understood
            mflags: mflag::EXT_DATA | if held { mflag::PAUSED } else { 0 },
            current_epoch: group.current_epoch,
            config_epoch: master.config_epoch,
            offset: local.beat.offset,
            slots: master.slots.clone(),
            replica_of: me.master.map(|key| group[key].id),
            ip: self.conf.cluster_announce_ip.clone(),
            port: me.address.port,
            pport: me.address.pport,
            cport: me.address.cport,
            host: self.mark(l),
        }
    }
}

/// Nodes that others can do something with.
fn worth_telling(node: &Node) -> bool {
    !node.has(flag::HANDSHAKE | flag::NOADDR) && !node.address.ip.is_empty()
}

fn entry(node: &Node) -> GossipEntry {
    let ping_sent = node.peers.iter().map(|peer| peer.ping_sent).max().unwrap_or(0);
    GossipEntry {
        id: node.id,
        ping_sent: (ping_sent / 1000) as u32,
        pong_received: (node.pong_received / 1000) as u32,
        ip: node.address.ip.clone(),
        port: node.address.port,
        cport: node.address.cport,
        pport: node.address.pport,
        flags: node.flags,
    }
}
