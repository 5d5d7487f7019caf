//! What others get to see: views for the shards, nodes.conf for the disk.

use super::Plane;
use super::effect::{Effect, LinkId};
use super::group::{Group, Publish, Shown};
use super::node::{Home, Key, Node};
use super::setup::GROUPS;
use crate::cluster::conf::{self, Conf, NodeLine};
use crate::cluster::slots::SlotSet;
use crate::cluster::view::{self, NodeIndex, OpenSlot, Owners, UNASSIGNED, View};
use crate::cluster::wire::flag;
use crate::slot::Slot;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where nodes stand in a view.
struct Indices(Vec<NodeIndex>);

impl Indices {
    fn new(keys: &[Key]) -> Indices {
        let last = keys.iter().map(|key| key.number()).max().unwrap_or(0);
        let mut indices = vec![UNASSIGNED; last + 1];
        keys.iter().enumerate().for_each(|(at, key)| indices[key.number()] = at as NodeIndex);
        Indices(indices)
    }

    fn of(&self, key: Key) -> NodeIndex {
        self.0[key.number()]
    }
}

impl Plane {
    pub(super) fn wish(&mut self, g: usize, publish: Publish) {
        let group = &mut self.groups[g];
        group.publish = group.publish.max(publish);
    }

    pub(super) fn wish_view(&mut self, l: usize, publish: Publish) {
        self.wish(self.locals[l].group, publish);
    }

    /// Publishes the groups whose need is at least so urgent.
    pub(super) fn publish(&mut self, at_least: Publish) {
        for g in self.inhabited() {
            if self.groups[g].publish >= at_least {
                let locals = self.members(g);
                self.groups[g].publish = Publish::No;
                let view = Arc::new(self.view(g));
                self.out.push(Effect::Publish { locals, view });
            }
        }
    }

    /// The group's nodes: our own by number, then the others by name.
    fn ordered(&self, g: usize) -> Vec<Key> {
        let own = self.members(g).into_iter().map(|l| self.locals[l].key);
        let others = self.groups[g].iter().filter(|(_, node)| node.local.is_none()).map(|(key, _)| key);
        own.chain(others).collect()
    }

    pub(super) fn view(&mut self, g: usize) -> View {
        self.views += 1;
        let keys = self.ordered(g);
        let index = Indices::new(&keys);
        let nodes = keys.iter().map(|key| self.view_node(g, *key, &index)).collect();
        let owners = self.owners(g, &keys, &index);
        let group = &self.groups[g];
        let mut view = View::of_owners(self.views, group.current_epoch, nodes, owners);
        view.handoff = self.handoff.clone();
        view.ok = group.ok;
        view.reads_when_down = self.conf.cluster_allow_reads_when_down;
        view.pubsubshard_when_down = self.conf.cluster_allow_pubsubshard_when_down;
        view.preferred = self.conf.cluster_preferred_endpoint_type;
        for l in self.members(g) {
            let (local, shard) = (&self.locals[l], l as u16);
            for (importing, slots) in [(false, &local.migrating), (true, &local.importing)] {
                let open = |(slot, key): (&u16, &Key)| OpenSlot {
                    shard,
                    slot: *slot,
                    importing,
                    peer: index.of(*key),
                };
                view.open.extend(slots.iter().map(open));
            }
            view.counts.push((shard, local.counts.clone()));
        }
        view.open.sort_unstable();
        view
    }

    /// Every slot's owner, anew only when that has changed since the last view.
    fn owners(&mut self, g: usize, keys: &[Key], index: &Indices) -> Owners {
        let group = &self.groups[g];
        if let Some(shown) = group.shown.as_ref().filter(|s| s.moves == group.moves() && s.keys == keys) {
            return shown.owners.clone();
        }
        let of = |slot| group.owner(slot as Slot).map_or(UNASSIGNED, |key| index.of(key));
        let owners: Owners = Arc::new(std::array::from_fn(of));
        let shown = Shown { moves: group.moves(), keys: keys.to_vec(), owners: owners.clone() };
        self.groups[g].shown = Some(shown);
        owners
    }

    fn view_node(&self, g: usize, key: Key, index: &Indices) -> view::Node {
        let node = &self.groups[g][key];
        let links = node.peers.iter().filter_map(|peer| peer.link);
        let shared = group_link(&self.groups[g], node);
        let linked = node.local.is_some() || links.chain(shared).any(|link| self.links[&link].connected);
        view::Node {
            id: node.id,
            ip: node.address.ip.clone(),
            hostname: node.hostname.clone(),
            port: node.address.port,
            bus_port: node.address.cport,
            config_epoch: node.config_epoch,
            local: node.local.map(|l| l as u16),
            human_name: node.human_name.clone(),
            shard_id: self.shard_id(g, key),
            flags: node.flags,
            master: node.master.map(|master| index.of(master)),
            ping_sent: node.peers.iter().map(|peer| peer.ping_sent).max().unwrap_or(0),
            pong_received: node.pong_received,
            linked,
            offset: node.offset,
        }
    }

    /// Writes nodes.conf when something waits for it, or has changed since the last tick.
    pub(super) fn save(&mut self) {
        if self.out.wants_text() {
            let text = conf::render(&self.conf_now()).into_bytes();
            self.out.write(text);
        }
        self.out.settle();
    }

    /// nodes.conf: all groups in one file, the host's nodes first.
    pub(super) fn conf_now(&self) -> Conf {
        let mut conf = Conf::default();
        let groups: Vec<usize> = self.locals.iter().map(|local| local.group).collect();
        if groups.iter().any(|g| *g != groups[0]) {
            let text: Vec<String> = groups.iter().map(usize::to_string).collect();
            conf.others.push((GROUPS.into(), text.join(",")));
        }
        let mut written = SlotSet::new();
        for l in 0..self.locals.len() {
            conf.nodes.push(self.own_line(l));
            conf.last_vote_epoch = conf.last_vote_epoch.max(self.locals[l].last_vote_epoch);
        }
        for group in &self.groups {
            conf.current_epoch = conf.current_epoch.max(group.current_epoch);
            conf.nodes.extend(group.foreign().map(|(_, node)| line(group, node)));
        }
        // strangers on one host may be at odds, and a file can't say so
        for line in &mut conf.nodes {
            line.slots.subtract(&written);
            written.unite(&line.slots);
        }
        conf
    }

    /// A node as CLUSTER NODES shows it to a local node.
    pub(super) fn line(&self, l: usize, key: Key) -> NodeLine {
        if key == self.locals[l].key { self.own_line(l) } else { line(self.group(l), &self.group(l)[key]) }
    }

    fn own_line(&self, l: usize) -> NodeLine {
        let (group, local) = (self.group(l), &self.locals[l]);
        let ids =
            |open: &BTreeMap<u16, Key>| open.iter().map(|(slot, key)| (*slot, group[*key].id)).collect();
        let mut line = line(group, self.me(l));
        line.flags = line.flags & !(flag::PFAIL | flag::FAIL) | flag::MYSELF;
        (line.ping_sent, line.pong_received, line.connected) = (0, 0, true);
        (line.migrating, line.importing) = (ids(&local.migrating), ids(&local.importing));
        line
    }
}

/// The trunk that carries for a foreign node.
fn group_link(group: &Group, node: &Node) -> Option<LinkId> {
    match node.home {
        Home::Host(host) if node.listed => group.trunks.get(&host)?.link,
        _ => None,
    }
}

fn line(group: &Group, node: &Node) -> NodeLine {
    let master = node.master.map(|master| &group[master]);
    NodeLine {
        id: node.id,
        ip: node.address.ip.clone(),
        port: node.address.port,
        cport: node.address.cport,
        hostname: node.hostname.clone(),
        aux: Vec::new(),
        flags: node.flags & !(flag::MEET | flag::MIGRATE_TO),
        replica_of: master.map(|master| master.id),
        ping_sent: node.peers.iter().map(|peer| peer.ping_sent).max().unwrap_or(0),
        pong_received: node.pong_received,
        config_epoch: master.map_or(node.config_epoch, |master| master.config_epoch),
        connected: node.reachable(),
        slots: node.slots.clone(),
        migrating: BTreeMap::new(),
        importing: BTreeMap::new(),
    }
}
