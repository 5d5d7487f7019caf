//! Who belongs to a group: foreign nodes that come and go, and groups of this host that become one or
//! part.

use super::Plane;
use super::group::{Group, Publish};
use super::node::{Address, Home, Key, Node, Peer};
use super::out::Want;
use crate::cluster::slots::SlotSet;
use crate::cluster::view::{NodeId, derived_shard_id};
use crate::cluster::wire::flag;
use crate::limits;
use std::collections::BTreeMap;

impl Plane {
    pub(super) fn random_id(&mut self) -> NodeId {
        std::array::from_fn(|_| b"0123456789abcdef"[self.rng.below(16) as usize])
    }

    /// What a node has in common with its master and the other replicas.
    pub(super) fn shard_id(&self, g: usize, key: Key) -> NodeId {
        let (group, node) = (&self.groups[g], &self.groups[g][key]);
        let master = node.master.map_or(node, |master| &group[master]);
        let said = node.shard_id.or(master.shard_id);
        said.unwrap_or_else(|| derived_shard_id(&master.id))
    }

    /// Adds a foreign node of a known name. The table must not be full.
    pub(super) fn add_foreign(&mut self, g: usize, id: NodeId, flags: u16, address: Address) -> Key {
        let mut node = Node::new(id, flags, address, self.now);
        node.peers = vec![Peer::new(); self.locals.len()];
        let key = self.groups[g].add(node);
        self.schedule_all(g, key);
        self.out.want(Want::Soon);
        self.mingled = true;
        key
    }

    /// Takes a foreign node out, or one in handshake, and all links with it.
    pub(super) fn remove_node(&mut self, g: usize, key: Key) {
        for l in self.members(g) {
            let peer = &self.groups[g][key].peers[l];
            let links = [peer.link, peer.inbound];
            links.into_iter().flatten().for_each(|id| self.close(id));
            self.unschedule(l, key);
            self.locals[l].close_slots_of(key);
        }
        self.leave_home(g, key);
        self.groups[g].remove(key);
        self.out.want(Want::Soon);
    }

    /// Makes the groups of two siblings one, unless they are in clusters that are strangers.
    pub(super) fn meet_sibling(&mut self, l: usize, sibling: usize) -> Result<(), String> {
        let (a, b) = (self.locals[l].group, self.locals[sibling].group);
        if a == b {
            return Ok(());
        }
        if self.groups[a].has_foreign() && self.groups[b].has_foreign() && !self.share_a_node(a, b) {
            return Err(
                "ERR That node of this host is in another cluster, and nodes of one host can't be in \
                        different clusters: reset one of them first"
                    .into(),
            );
        }
        self.unite(a, b);
        Ok(())
    }

    fn share_a_node(&self, a: usize, b: usize) -> bool {
        self.groups[a].foreign().any(|(_, node)| {
            self.groups[b].find(&node.id).is_some_and(|key| self.groups[b][key].is_foreign())
        })
    }

    /// Groups that know a foreign node in common are in one cluster.
    pub(super) fn unite_groups(&mut self) {
        if !std::mem::take(&mut self.mingled) {
            return;
        }
        let abroad: Vec<usize> =
            self.inhabited().into_iter().filter(|g| self.groups[*g].has_foreign()).collect();
        for (at, a) in abroad.iter().enumerate() {
            for b in &abroad[at + 1..] {
                if self.share_a_node(*a, *b) {
                    self.unite(*a, *b);
                }
            }
        }
    }

    /// Moves all that group `b` is into group `a`.
    fn unite(&mut self, a: usize, b: usize) {
        let moving = self.members(b);
        for key in self.groups[b].keys().collect::<Vec<_>>() {
            let node = &self.groups[b][key];
            if node.local.is_some() {
                continue;
            }
            if self.groups[a].find(&node.id).is_none()
                && self.groups[a].len() + moving.len() >= limits::CLUSTER_NODES
            {
                self.remove_node(b, key);
            } else {
                moving.iter().for_each(|l| self.unschedule(*l, key));
            }
        }
        let old = std::mem::take(&mut self.groups[b]);
        let into = &mut self.groups[a];
        let keys: BTreeMap<Key, Key> =
            old.iter().map(|(key, node)| (key, adopt(into, node, &moving))).collect();
        for (key, node) in old.iter() {
            let new = keys[&key];
            if let Some(master) = node.master.filter(|_| into[new].is_replica() && into[new].master.is_none())
            {
                into.attach(new, keys[&master]);
            }
            let reports =
                node.reports.iter().map(|report| super::node::Report { by: keys[&report.by], ..*report });
            let known: Vec<_> = reports.collect();
            into[new].reports.extend(known);
        }
        into.members.extend(&moving);
        into.members.iter().for_each(|l| self.locals[*l].forgotten = false);
        into.members.sort_unstable();
        into.current_epoch = into.current_epoch.max(old.current_epoch);
        into.minority_at = into.minority_at.max(old.minority_at);
        into.blacklist.extend(old.blacklist.iter().map(|(id, entry)| (*id, entry.clone())));
        (into.restate, into.publish) = (true, Publish::Now);
        for l in &moving {
            let local = &mut self.locals[*l];
            local.group = a;
            local.key = keys[&local.key];
            let open = local.migrating.values_mut().chain(local.importing.values_mut());
            open.chain(local.taken.values_mut().map(|former| &mut former.owner))
                .for_each(|key| *key = keys[key]);
        }
        for link in self.links.values_mut().filter(|link| moving.contains(&link.local)) {
            link.peer = link.peer.map(|key| keys[&key]);
        }
        self.settle_homes(a);
        self.reschedule_group(a);
        for (key, node) in old.iter().filter(|(_, node)| node.owned > 0) {
            let (key, epoch, slots) = (keys[&key], node.config_epoch, node.slots.clone());
            if self.groups[a][key].config_epoch == epoch {
                self.bind(a, key, epoch, &slots);
            }
        }
        self.settle_siblings(a);
        self.out.want(Want::First);
    }

    pub(super) fn reschedule_group(&mut self, g: usize) {
        let others: Vec<Key> =
            self.groups[g].iter().filter(|(_, node)| node.local.is_none()).map(|(key, _)| key).collect();
        others.into_iter().for_each(|key| self.schedule_all(g, key));
    }

    /// Gives a local node a group of its own, where it knows itself only. It keeps its slots, epoch
    /// and role.
    pub(super) fn split(&mut self, l: usize) {
        let g = self.locals[l].group;
        if self.members(g).len() > 1 {
            let empty = self.groups.iter().position(|group| group.members.is_empty());
            let empty = empty.expect("there are as many groups as local nodes");
            self.close_all(l);
            let key = self.locals[l].key;
            for other in self.groups[g].keys().collect::<Vec<_>>() {
                let node = &self.groups[g][other];
                if node.in_handshake() && node.greeter == l {
                    self.remove_node(g, other);
                } else if node.local.is_none() {
                    self.unschedule(l, other);
                }
            }
            self.members(g).into_iter().for_each(|other| self.locals[other].close_slots_of(key));
            let slots = self.groups[g][key].slots.clone();
            let epoch = self.groups[g].current_epoch;
            let node = self.groups[g].remove(key);
            self.groups[g].members.retain(|member| *member != l);
            self.groups[empty] = Group::default();
            self.groups[empty].current_epoch = epoch;
            self.settle_alone(l, empty, node, &slots);
            self.settle_speaker(g);
            return;
        }
        for key in self.groups[g].keys().collect::<Vec<_>>() {
            if key != self.locals[l].key {
                self.remove_node(g, key);
            }
        }
        self.locals[l].close_slots();
        self.name_host(g);
    }

    fn settle_alone(&mut self, l: usize, g: usize, node: Node, slots: &SlotSet) {
        let flags = node.flags & !(flag::MIGRATE_TO | flag::PFAIL | flag::FAIL);
        let node = Node { flags, reports: Vec::new(), replicas: Vec::new(), master: None, ..node };
        let key = self.groups[g].add(node);
        self.groups[g].members.push(l);
        slots.iter().for_each(|slot| self.groups[g].add_slot(key, slot));
        let local = &mut self.locals[l];
        (local.group, local.key) = (g, key);
        local.close_slots();
        self.name_host(g);
        self.settle_speaker(g);
        self.out.want(Want::Soon);
    }

    /// CLUSTER RESET: alone again, without slots, a master; by a hard one also under a new name and
    /// with all epochs back at 0.
    pub(super) fn reset(&mut self, l: usize, hard: bool) {
        self.reset_manual(l);
        let was_replica = self.me(l).is_replica();
        self.split(l);
        let (g, key) = (self.locals[l].group, self.locals[l].key);
        self.groups[g].promote(key);
        self.groups[g].del_slots_of(key);
        self.groups[g].unclaimed = SlotSet::new();
        self.groups[g][key].shard_id = None;
        self.locals[l].election = Default::default();
        self.locals[l].forgotten = false;
        if was_replica {
            self.replicate(l, None);
            self.out.push(super::Effect::Flush { local: l });
        }
        if hard {
            let id = self.random_id();
            let group = &mut self.groups[g];
            group.rename(key, id);
            group.current_epoch = 0;
            group[key].config_epoch = 0;
            self.locals[l].last_vote_epoch = 0;
            self.locals[l].voted.clear();
        }
        self.out.want(Want::First);
        self.groups[g].restate = true;
        self.wish(g, Publish::Now);
    }

    /// CLUSTER FORGET. The table is shared: the first local node that is told removes the node for all,
    /// and the others are told so without surprise. A node that a sibling still replicates stays until
    /// that one is told, too.
    pub(super) fn forget(&mut self, l: usize, id: &[u8]) -> Result<(), String> {
        let (g, now) = (self.locals[l].group, self.now);
        let Some(key) = self.groups[g].find(id) else {
            return match <NodeId>::try_from(id) {
                Ok(id) if self.groups[g].is_blacklisted(&id, now) && self.forgets_first_time(g, l, &id) => {
                    self.groups[g].forget(id, l, now);
                    Ok(())
                }
                _ => Err(format!("ERR Unknown node {}", String::from_utf8_lossy(id))),
            };
        };
        if key == self.locals[l].key {
            return Err("ERR I tried hard but I can't forget myself...".into());
        }
        if self.me(l).master == Some(key) {
            return Err("ERR Can't forget my master!".into());
        }
        let node = &self.groups[g][key];
        let (id, local) = (node.id, node.local);
        self.groups[g].forget(id, l, now);
        if self.members(g).into_iter().any(|other| self.me(other).master == Some(key)) {
            return Ok(());
        }
        match local {
            Some(sibling) => {
                self.split(sibling);
                self.locals[sibling].forgotten = true;
            }
            None => self.remove_node(g, key),
        }
        self.out.want(Want::Soon);
        Ok(())
    }

    fn forgets_first_time(&self, g: usize, l: usize, id: &NodeId) -> bool {
        self.groups[g].blacklist.get(id).is_some_and(|entry| !entry.by.contains(&l))
    }

    /// FORGET as newer versions gossip it.
    pub(super) fn take_forgotten(&mut self, l: usize, by: Key, id: &NodeId, ttl: u64) {
        let g = self.locals[l].group;
        let Some(key) = self.groups[g].find(id).filter(|key| *key != by) else { return };
        let replicated = self.members(g).into_iter().any(|other| self.me(other).master == Some(key));
        if self.groups[g][key].is_foreign() && !replicated && ttl > 0 {
            self.groups[g].forget(*id, l, self.now);
            self.remove_node(g, key);
        }
    }
}

/// Takes a node of another group into this one, without its slots and relations.
fn adopt(into: &mut Group, node: &Node, moving: &[usize]) -> Key {
    let Some(key) = into.find(&node.id) else {
        let plain = Node {
            slots: SlotSet::new(),
            owned: 0,
            master: None,
            replicas: Vec::new(),
            reports: Vec::new(),
            listed: false,
            ..node.clone()
        };
        let key = into.add(plain);
        let failing = node.flags & (flag::PFAIL | flag::FAIL);
        if failing != 0 {
            into.set_health(key, failing);
        }
        return key;
    };
    let there = &mut into[key];
    for l in moving {
        there.peers[*l] = node.peers[*l].clone();
    }
    there.config_epoch = there.config_epoch.max(node.config_epoch);
    there.pong_received = there.pong_received.max(node.pong_received);
    there.data_received = there.data_received.max(node.data_received);
    there.extensions |= node.extensions;
    if there.home == Home::Unknown {
        (there.home, there.number) = (node.home, node.number);
    }
    key
}
