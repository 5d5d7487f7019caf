//! An immutable snapshot of the cluster: who owns which slot, and where they listen.

use super::conf::NodeLine;
use super::handoff::Handoff;
use super::slots::SlotSet;
use super::wire::{flag, kind};
use crate::config::types::EndpointType;
use crate::slot::{SLOTS, Slot};
use crate::util::rng::Rng;
use std::sync::Arc;

/// A node's name: 40 hex digits.
pub type NodeId = [u8; 40];

/// Index of a node in its view.
pub type NodeIndex = u16;

/// Every slot's owner. Views between which no slot has moved share one table.
pub type Owners = Arc<[NodeIndex; SLOTS]>;

/// No node owns the slot.
pub const UNASSIGNED: NodeIndex = NodeIndex::MAX;

/// One node as this host knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub ip: String,
    pub hostname: String,
    pub port: u16,
    pub bus_port: u16,
    pub config_epoch: u64,
    /// The shard of this host that this node is, when it is one of ours.
    pub local: Option<u16>,
    /// Its name for humans, when it has one.
    pub human_name: String,
    /// What a master and its replicas have in common.
    pub shard_id: NodeId,
    /// [`flag`]s, without MYSELF.
    pub flags: u16,
    /// Of a replica, when that node is known.
    pub master: Option<NodeIndex>,
    /// Unix time in ms of the PING that is not answered yet (0: none), and of the last PONG.
    pub ping_sent: u64,
    pub pong_received: u64,
    /// A link to it is open. Nodes of this host need none.
    pub linked: bool,
    /// Replication offset, as last heard.
    pub offset: u64,
}

impl Default for Node {
    /// A master that is well, of no name yet.
    fn default() -> Node {
        Node {
            id: [b'0'; 40],
            ip: String::new(),
            hostname: String::new(),
            port: 0,
            bus_port: 0,
            config_epoch: 0,
            local: None,
            human_name: String::new(),
            shard_id: [b'0'; 40],
            flags: flag::MASTER,
            master: None,
            ping_sent: 0,
            pong_received: 0,
            linked: true,
            offset: 0,
        }
    }
}

impl Node {
    pub fn is_master(&self) -> bool {
        self.flags & flag::MASTER != 0
    }

    pub fn is_replica(&self) -> bool {
        self.flags & flag::REPLICA != 0
    }

    pub fn failed(&self) -> bool {
        self.flags & flag::FAIL != 0
    }

    pub fn id(&self) -> &str {
        std::str::from_utf8(&self.id).expect("node ids are hex digits")
    }
}

/// A slot of a local shard that is on its way to another node, or from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenSlot {
    pub shard: u16,
    pub slot: Slot,
    pub importing: bool,
    pub peer: NodeIndex,
}

/// Bus packets of one local node, by [`kind`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BusCounts {
    pub sent: [u64; kind::COUNT],
    pub received: [u64; kind::COUNT],
    /// Frames that were no packets.
    pub malformed: u64,
    /// Links that were closed because too much waited to be sent on them.
    pub exceeded: u64,
}

/// A snapshot. A newer one has a higher version; views never change in place.
#[derive(Clone, Debug)]
pub struct View {
    pub version: u64,
    pub current_epoch: u64,
    /// Every slot has an owner that is not failing (or full coverage is not asked for), and this host
    /// is with the majority.
    pub ok: bool,
    /// Reads, and SPUBLISH and the like, are served even when not `ok`.
    pub reads_when_down: bool,
    pub pubsubshard_when_down: bool,
    /// What redirections name nodes by.
    pub preferred: EndpointType,
    pub nodes: Vec<Node>,
    /// Sorted.
    pub open: Vec<OpenSlot>,
    /// Of the local shards, in the order of `nodes`.
    pub counts: Vec<(u16, BusCounts)>,
    /// What passed between shards of this host last; the owners know of it.
    pub handoff: Arc<Handoff>,
    owners: Owners,
    /// The node of each local shard, by shard number.
    locals: Vec<NodeIndex>,
}

impl View {
    /// A view of `nodes`; `owner_of` says who owns a slot. Shards whose nodes are strangers to these
    /// have none here.
    pub fn new(version: u64, epoch: u64, nodes: Vec<Node>, owner_of: impl Fn(Slot) -> NodeIndex) -> View {
        let owners: Owners = Arc::new(std::array::from_fn(|slot| owner_of(slot as Slot)));
        let ok = !owners.contains(&UNASSIGNED);
        View { ok, ..View::of_owners(version, epoch, nodes, owners) }
    }

    /// A cluster of one node, shard 0's, which owns all slots.
    pub fn alone() -> View {
        let node = Node {
            id: [b'a'; 40],
            ip: "127.0.0.1".into(),
            port: 6379,
            bus_port: 16379,
            config_epoch: 1,
            local: Some(0),
            ..Node::default()
        };
        View::new(1, 1, vec![node], |_| 0)
    }

    /// The same as [`View::new`], for owners that are known already. It is not ok.
    pub fn of_owners(version: u64, epoch: u64, nodes: Vec<Node>, owners: Owners) -> View {
        let exists = |owner: NodeIndex| owner == UNASSIGNED || (owner as usize) < nodes.len();
        assert!(owners.iter().all(|owner| exists(*owner)), "every owner is a node");
        let shards = nodes.iter().filter_map(|n| n.local).max().map_or(0, |last| last as usize + 1);
        let mut locals = vec![UNASSIGNED; shards];
        for (i, node) in nodes.iter().enumerate() {
            if let Some(shard) = node.local {
                locals[shard as usize] = i as NodeIndex;
            }
        }
        View {
            version,
            current_epoch: epoch,
            ok: false,
            reads_when_down: false,
            pubsubshard_when_down: true,
            preferred: EndpointType::Ip,
            nodes,
            open: Vec::new(),
            counts: Vec::new(),
            handoff: Arc::default(),
            owners,
            locals,
        }
    }

    /// What a redirection names the node by; `local_ip` is the address of ours that the client came to,
    /// for a node of this host that has no address of its own yet. Empty: the one that the client knows.
    pub fn endpoint<'n>(&self, node: &'n Node, local_ip: &'n str) -> &'n str {
        match self.preferred {
            EndpointType::Ip if node.ip.is_empty() => local_ip,
            EndpointType::Ip => &node.ip,
            EndpointType::Hostname if node.hostname.is_empty() => "?",
            EndpointType::Hostname => &node.hostname,
            EndpointType::Unknown => "",
        }
    }

    /// The index of the slot's owner, or [`UNASSIGNED`].
    #[inline]
    pub fn owner_index(&self, slot: Slot) -> NodeIndex {
        self.owners[slot as usize & (SLOTS - 1)]
    }

    #[inline]
    pub fn owner(&self, slot: Slot) -> Option<&Node> {
        self.nodes.get(self.owner_index(slot) as usize)
    }

    /// The index of local shard `shard`'s node. The shard must be one that this view is for.
    #[inline]
    pub fn local_index(&self, shard: usize) -> NodeIndex {
        self.locals[shard]
    }

    pub fn local_node(&self, shard: usize) -> &Node {
        &self.nodes[self.locals[shard] as usize]
    }

    /// The local shard that owns `slot`, if one does.
    #[inline]
    pub fn local_owner(&self, slot: Slot) -> Option<u16> {
        self.owner(slot).and_then(|n| n.local)
    }

    /// Whether this view is for local shard `shard`.
    pub fn has_local(&self, shard: usize) -> bool {
        self.sibling(shard).is_some()
    }

    /// The node of local shard `shard`; none where it is a stranger to these.
    pub fn sibling(&self, shard: usize) -> Option<&Node> {
        self.nodes.get(*self.locals.get(shard)? as usize)
    }

    /// Whether every slot has the same owner as in `other`, by the same index.
    pub fn owns_as(&self, other: &View) -> bool {
        self.owners == other.owners
    }

    /// The slots of node `index` as inclusive ranges, ascending.
    pub fn ranges(&self, index: NodeIndex) -> Vec<(Slot, Slot)> {
        let mut out: Vec<(Slot, Slot)> = Vec::new();
        for (slot, _) in self.owners.iter().enumerate().filter(|&(_, &owner)| owner == index) {
            match out.last_mut() {
                Some((_, last)) if *last as usize + 1 == slot => *last = slot as Slot,
                _ => out.push((slot as Slot, slot as Slot)),
            }
        }
        out
    }

    /// Whether shard `shard` serves all that it owns without a further question: the cluster is well,
    /// and no slot is on its way to or from it.
    pub fn is_calm(&self, shard: usize) -> bool {
        self.ok && self.open.iter().all(|open| open.shard as usize != shard)
    }

    /// Where shard `shard` is moving `slot` to, if it is.
    #[inline]
    pub fn migrating(&self, shard: usize, slot: Slot) -> Option<NodeIndex> {
        if self.open.is_empty() { None } else { self.open_slot(shard, slot, false) }
    }

    /// Where shard `shard` is taking `slot` from, if it is.
    #[inline]
    pub fn importing(&self, shard: usize, slot: Slot) -> Option<NodeIndex> {
        if self.open.is_empty() { None } else { self.open_slot(shard, slot, true) }
    }

    #[cold]
    fn open_slot(&self, shard: usize, slot: Slot, importing: bool) -> Option<NodeIndex> {
        let wanted = (shard as u16, slot, importing);
        let found = self.open.binary_search_by_key(&wanted, |open| (open.shard, open.slot, open.importing));
        found.ok().map(|at| self.open[at].peer)
    }

    /// The replicas of a master, in the order of `nodes`.
    pub fn replicas(&self, master: NodeIndex) -> impl Iterator<Item = NodeIndex> + '_ {
        let of = move |node: &Node| node.is_replica() && node.master == Some(master);
        self.nodes.iter().enumerate().filter(move |(_, node)| of(node)).map(|(at, _)| at as NodeIndex)
    }

    /// The epoch that a node acts by: a replica by its master's.
    pub fn epoch_of(&self, node: &Node) -> u64 {
        let master = node.master.filter(|_| node.is_replica());
        master.map_or(node.config_epoch, |master| self.nodes[master as usize].config_epoch)
    }

    /// A node as CLUSTER NODES shows it to shard `me`; `ip` is where it is reached.
    pub fn line(&self, index: NodeIndex, me: usize, ip: &str) -> NodeLine {
        let node = &self.nodes[index as usize];
        let myself = index == self.local_index(me);
        let open = |importing| {
            let mine = self.open.iter().filter(move |open| myself && open.shard as usize == me);
            mine.filter(move |open| open.importing == importing)
                .map(|open| (open.slot, self.nodes[open.peer as usize].id))
                .collect()
        };
        NodeLine {
            id: node.id,
            ip: ip.to_owned(),
            port: node.port,
            cport: node.bus_port,
            hostname: node.hostname.clone(),
            aux: Vec::new(),
            flags: node.flags | if myself { flag::MYSELF } else { 0 },
            replica_of: node.master.map(|master| self.nodes[master as usize].id),
            ping_sent: node.ping_sent,
            // a node hears itself always
            pong_received: if myself { 0 } else { node.pong_received },
            config_epoch: self.epoch_of(node),
            connected: node.linked,
            slots: SlotSet::new(),
            migrating: open(false),
            importing: open(true),
        }
    }

    /// The slots of every node, in the order of `nodes`.
    pub fn slots(&self) -> Vec<SlotSet> {
        let mut sets = vec![SlotSet::new(); self.nodes.len()];
        for (slot, owner) in self.owners.iter().enumerate().filter(|&(_, &owner)| owner != UNASSIGNED) {
            sets[*owner as usize].insert(slot as Slot);
        }
        sets
    }

    pub fn assigned(&self) -> usize {
        self.owners.iter().filter(|&&o| o != UNASSIGNED).count()
    }

    /// Masters that own at least one slot.
    pub fn size(&self) -> usize {
        let mut owns = vec![false; self.nodes.len()];
        self.owners.iter().filter(|&&o| o != UNASSIGNED).for_each(|&o| owns[o as usize] = true);
        owns.iter().filter(|&&o| o).count()
    }
}

/// The shard id of a master that has announced none, and of its replicas: it follows from its name.
pub fn derived_shard_id(master: &NodeId) -> NodeId {
    let seed = master.chunks(8).fold(0u64, |h, c| {
        let mut word = [0; 8];
        word[..c.len()].copy_from_slice(c);
        h.rotate_left(17) ^ u64::from_le_bytes(word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    });
    let mut rng = Rng::new(seed);
    std::array::from_fn(|_| b"0123456789abcdef"[rng.below(16) as usize])
}

/// The slots of shard `shard` when `shards` of them share all slots evenly, as `redis-cli
/// --cluster create` would split them: an inclusive range.
pub fn even_share(shard: usize, shards: usize) -> (Slot, Slot) {
    let per = SLOTS as f64 / shards as f64;
    let edge = |i: usize| if i == shards { SLOTS } else { (i as f64 * per).round() as usize };
    (edge(shard) as Slot, (edge(shard + 1) - 1) as Slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_shares_cover_everything_once() {
        for shards in [1, 2, 3, 5, 7, 16, 64, 1000] {
            let mut next = 0;
            for shard in 0..shards {
                let (from, to) = even_share(shard, shards);
                assert_eq!(from as usize, next);
                next = to as usize + 1;
            }
            assert_eq!(next, SLOTS);
        }
        assert_eq!(
            [even_share(0, 3), even_share(1, 3), even_share(2, 3)],
            [(0, 5460), (5461, 10922), (10923, 16383)]
        );
    }

    #[test]
    fn ranges_of_a_view() {
        let node = |local| Node {
            id: [b'a'; 40],
            ip: "127.0.0.1".into(),
            hostname: String::new(),
            port: 1,
            bus_port: 2,
            config_epoch: 1,
            local,
            ..Node::default()
        };
        let view = View::new(1, 1, vec![node(Some(0)), node(None)], |s| match s {
            0..=9 | 20 => 0,
            10..=19 => 1,
            _ => UNASSIGNED,
        });
        assert_eq!(view.ranges(0), [(0, 9), (20, 20)]);
        assert_eq!((view.assigned(), view.size(), view.ok), (21, 2, false));
        assert_eq!((view.local_owner(5), view.local_owner(15), view.local_owner(99)), (Some(0), None, None));
    }
}
