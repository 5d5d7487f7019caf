//! One cluster as this host knows it: its nodes, who owns which slot, its epochs.
//!
//! The table keeps its own parts in step (names, owners, replicas); what a change means to links and
//! local nodes is for the rules around it.

use super::effect::LinkId;
use super::node::{Key, Node};
use crate::cluster::slots::SlotSet;
use crate::cluster::view::{NodeId, Owners};
use crate::cluster::wire::flag;
use crate::limits;
use crate::slot::{SLOTS, Slot};
use crate::util::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::ops::{Index, IndexMut};

/// The link pair with another Shoal host.
#[derive(Debug, Default)]
pub struct Trunk {
    /// The nodes that live there.
    pub nodes: BTreeSet<Key>,
    /// The link of our speaker that carries for all: it is open, and its other end belongs to that host.
    pub link: Option<LinkId>,
    /// The link by which the other host last spoke to us as a host.
    pub inbound: Option<LinkId>,
    /// Who is called next when there is no link.
    pub next: Option<Key>,
}

/// A node that was forgotten, and is not to come back by gossip for a while.
#[derive(Clone, Debug, Default)]
pub struct Forgotten {
    pub until: u64,
    /// The local nodes that were told: each may be told once.
    pub by: BTreeSet<usize>,
}

#[derive(Debug)]
pub struct Group {
    /// The local nodes in it, by number.
    pub members: Vec<usize>,
    /// The number by which other Shoal hosts know this one in this cluster.
    pub host: u64,
    /// The local node that has the links with whom other Shoal hosts' nodes are reached, and with nodes
    /// of which it is not known yet where they live. None when no local node is spoken for.
    pub speaker: Option<usize>,
    /// Other Shoal hosts, by that number of theirs.
    pub trunks: BTreeMap<u64, Trunk>,
    nodes: Vec<Option<Node>>,
    by_id: BTreeMap<NodeId, Key>,
    /// All keys in use, in no order, to draw from.
    drawn: Vec<Key>,
    owners: Box<[Option<Key>; SLOTS]>,
    assigned: usize,
    /// Counts changes of owners.
    moves: u64,
    replicas: usize,
    /// Nodes with PFAIL, and whether one is among them of whom others have not been told.
    pub suspects: BTreeSet<Key>,
    pub alarm: bool,
    /// Slots that their owner doesn't claim any more while nobody else does either.
    pub unclaimed: SlotSet,
    pub current_epoch: u64,
    pub blacklist: BTreeMap<NodeId, Forgotten>,
    /// The cluster's state, the number of masters with slots, and what delays a change to ok.
    pub ok: bool,
    pub size: usize,
    pub minority_at: u64,
    pub started_at: Option<u64>,
    /// Look at the state, or publish, before this handle call ends or with the next tick.
    pub restate: bool,
    pub publish: Publish,
    pub shown: Option<Shown>,
}

/// The owners in the last view.
#[derive(Debug)]
pub struct Shown {
    /// How often they had changed by then.
    pub moves: u64,
    /// In this order its nodes stood.
    pub keys: Vec<Key>,
    pub owners: Owners,
}

/// How urgently readers need a new view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Publish {
    #[default]
    No,
    /// Times and counters: once a second will do.
    Seldom,
    /// With the next tick.
    Soon,
    Now,
}

impl Default for Group {
    fn default() -> Group {
        Group {
            members: Vec::new(),
            host: 0,
            speaker: None,
            trunks: BTreeMap::new(),
            nodes: Vec::new(),
            by_id: BTreeMap::new(),
            drawn: Vec::new(),
            owners: Box::new([None; SLOTS]),
            assigned: 0,
            moves: 0,
            replicas: 0,
            suspects: BTreeSet::new(),
            alarm: false,
            unclaimed: SlotSet::new(),
            current_epoch: 0,
            blacklist: BTreeMap::new(),
            ok: false,
            size: 1,
            minority_at: 0,
            started_at: None,
            restate: true,
            publish: Publish::Now,
            shown: None,
        }
    }
}

impl Index<Key> for Group {
    type Output = Node;

    fn index(&self, key: Key) -> &Node {
        self.nodes[key.number()].as_ref().expect("a key of a node that is there")
    }
}

impl IndexMut<Key> for Group {
    fn index_mut(&mut self, key: Key) -> &mut Node {
        self.nodes[key.number()].as_mut().expect("a key of a node that is there")
    }
}

impl Group {
    pub fn len(&self) -> usize {
        self.drawn.len()
    }

    pub fn is_full(&self) -> bool {
        self.len() >= limits::CLUSTER_NODES
    }

    /// All nodes, by name.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.by_id.values().copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, &Node)> {
        self.by_id.values().map(|key| (*key, &self[*key]))
    }

    /// The nodes that are no nodes of this host and whose names are known.
    pub fn foreign(&self) -> impl Iterator<Item = (Key, &Node)> {
        self.iter().filter(|(_, node)| node.is_foreign())
    }

    pub fn has_foreign(&self) -> bool {
        self.foreign().next().is_some()
    }

    pub fn find(&self, id: &[u8]) -> Option<Key> {
        let id: &NodeId = id.try_into().ok()?;
        self.by_id.get(id).copied()
    }

    pub fn draw(&self, rng: &mut Rng) -> Key {
        self.drawn[rng.below(self.drawn.len() as u64) as usize]
    }

    /// Adds a node without slots, master or replicas. Its name must be new, and the table not full.
    pub fn add(&mut self, node: Node) -> Key {
        assert!(!self.is_full() && node.owned == 0 && node.master.is_none() && node.replicas.is_empty());
        let at = self.nodes.iter().position(Option::is_none).unwrap_or(self.nodes.len());
        let key = Key(NonZeroU16::new(at as u16 + 1).expect("tables are bounded"));
        let old = self.by_id.insert(node.id, key);
        assert!(old.is_none(), "names are unique");
        match self.nodes.get_mut(at) {
            Some(place) => *place = Some(node),
            None => self.nodes.push(Some(node)),
        }
        self.drawn.push(key);
        self.publish = self.publish.max(Publish::Soon);
        key
    }

    /// Takes a node out: its slots become unassigned, its replicas masterless, its reports void.
    pub fn remove(&mut self, key: Key) -> Node {
        self.del_slots_of(key);
        self.detach(key);
        for replica in std::mem::take(&mut self[key].replicas) {
            self[replica].master = None;
            self.replicas -= 1;
        }
        for node in self.nodes.iter_mut().flatten() {
            node.reports.retain(|report| report.by != key);
        }
        self.suspects.remove(&key);
        self.drawn.retain(|drawn| *drawn != key);
        let node = self.nodes[key.number()].take().expect("the node is there");
        self.by_id.remove(&node.id);
        self.restate = true;
        self.publish = Publish::Now;
        node
    }

    /// Gives a node another name, which must be new.
    pub fn rename(&mut self, key: Key, id: NodeId) {
        let old = std::mem::replace(&mut self[key].id, id);
        self.by_id.remove(&old);
        let other = self.by_id.insert(id, key);
        assert!(other.is_none(), "names are unique");
    }

    pub fn owner(&self, slot: Slot) -> Option<Key> {
        self.owners[slot as usize]
    }

    pub fn assigned(&self) -> usize {
        self.assigned
    }

    /// Counts changes of owners.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Nobody owns the slot, or its owner has stopped claiming it.
    pub fn is_unclaimed(&self, slot: Slot) -> bool {
        self.owner(slot).is_none() || self.unclaimed.contains(slot)
    }

    /// Binds a slot that nobody owns.
    pub fn add_slot(&mut self, key: Key, slot: Slot) {
        assert!(self.owners[slot as usize].is_none(), "slot {slot} has no owner yet");
        self.owners[slot as usize] = Some(key);
        self.assigned += 1;
        self.moves += 1;
        let replicas = self.replicas;
        let node = &mut self[key];
        node.slots.insert(slot);
        node.owned += 1;
        // a master may be migrated to from its first slot on, when replicas exist at all
        if node.owned == 1 && replicas > 0 {
            node.flags |= flag::MIGRATE_TO;
        }
        self.restate = true;
        self.publish = Publish::Now;
    }

    /// Unbinds a slot; answers whose it was.
    pub fn del_slot(&mut self, slot: Slot) -> Option<Key> {
        let owner = self.owners[slot as usize].take()?;
        self.assigned -= 1;
        self.moves += 1;
        let node = &mut self[owner];
        node.slots.remove(slot);
        node.owned -= 1;
        self.restate = true;
        self.publish = Publish::Now;
        Some(owner)
    }

    pub fn del_slots_of(&mut self, key: Key) {
        for slot in self[key].slots.clone().iter() {
            self.del_slot(slot);
        }
    }

    /// Makes `replica` one of `master`'s, and no one else's.
    pub fn attach(&mut self, replica: Key, master: Key) {
        self.detach(replica);
        self[replica].master = Some(master);
        let node = &mut self[master];
        node.replicas.push(replica);
        node.flags |= flag::MIGRATE_TO;
        self.replicas += 1;
        self.publish = self.publish.max(Publish::Soon);
    }

    /// Takes a replica from its master, if it has one.
    pub fn detach(&mut self, replica: Key) {
        let Some(master) = self[replica].master.take() else { return };
        let node = &mut self[master];
        node.replicas.retain(|other| *other != replica);
        if node.replicas.is_empty() {
            node.flags &= !flag::MIGRATE_TO;
        }
        self.replicas -= 1;
    }

    /// A node that was thought a replica is a master. Whether that was news.
    pub fn promote(&mut self, key: Key) -> bool {
        if self[key].is_master() {
            return false;
        }
        let had_master = self[key].master.is_some();
        self.detach(key);
        let node = &mut self[key];
        if had_master && node.local.is_none() {
            node.flags |= flag::MIGRATE_TO;
        }
        node.flags = node.flags & !flag::REPLICA | flag::MASTER;
        self.restate = true;
        self.publish = Publish::Now;
        true
    }

    /// A node that was a master is a replica, of nobody yet.
    pub fn demote(&mut self, key: Key) {
        self.del_slots_of(key);
        let node = &mut self[key];
        node.flags = node.flags & !(flag::MASTER | flag::MIGRATE_TO) | flag::REPLICA;
        self.restate = true;
        self.publish = Publish::Now;
    }

    /// Sets PFAIL or FAIL, or none of them: never both.
    pub fn set_health(&mut self, key: Key, failing: u16) {
        let node = &mut self[key];
        node.flags = node.flags & !(flag::PFAIL | flag::FAIL) | failing;
        match failing == flag::PFAIL {
            true => self.alarm |= self.suspects.insert(key),
            false => _ = self.suspects.remove(&key),
        };
        self.restate = true;
        self.publish = Publish::Now;
    }

    /// Replicas of a master that have not failed.
    pub fn working_replicas(&self, master: Key) -> usize {
        self[master].replicas.iter().filter(|replica| !self[**replica].failed()).count()
    }

    /// The greatest epoch that anything here has.
    pub fn max_epoch(&self) -> u64 {
        self.iter().map(|(_, node)| node.config_epoch).fold(self.current_epoch, u64::max)
    }

    /// Failure reports about a node that are recent enough.
    pub fn reports(&mut self, key: Key, now: u64, node_timeout: u64) -> usize {
        let oldest = now.saturating_sub(node_timeout * limits::FAIL_REPORT_VALIDITY);
        let reports = &mut self[key].reports;
        reports.retain(|report| report.at >= oldest);
        reports.len()
    }

    pub fn is_blacklisted(&mut self, id: &NodeId, now: u64) -> bool {
        self.blacklist.retain(|_, forgotten| forgotten.until >= now);
        self.blacklist.contains_key(id)
    }

    pub fn forget(&mut self, id: NodeId, by: usize, now: u64) {
        self.blacklist.retain(|_, forgotten| forgotten.until >= now);
        let entry = self.blacklist.entry(id).or_default();
        entry.until = now + limits::FORGOTTEN_MS;
        entry.by.insert(by);
    }
}
