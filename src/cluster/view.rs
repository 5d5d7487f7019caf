//! An immutable snapshot of the cluster: who owns which slot, and where they listen.

use crate::slot::{SLOTS, Slot};

/// A node's name: 40 hex digits.
pub type NodeId = [u8; 40];

/// Index of a node in its view.
pub type NodeIndex = u16;

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
}

impl Node {
    pub fn id(&self) -> &str {
        std::str::from_utf8(&self.id).expect("node ids are hex digits")
    }
}

/// A snapshot. A newer one has a higher version; views never change in place.
#[derive(Clone, Debug)]
pub struct View {
    pub version: u64,
    pub current_epoch: u64,
    /// Every slot has an owner that is not failing (or full coverage is not asked for).
    pub ok: bool,
    pub nodes: Vec<Node>,
    owners: Box<[NodeIndex; SLOTS]>,
    /// The node of each local shard, by shard number.
    locals: Vec<NodeIndex>,
}

impl View {
    /// A view of `nodes`; `owner_of` says who owns a slot. Local nodes must cover shards `0..n`.
    pub fn new(version: u64, epoch: u64, nodes: Vec<Node>, owner_of: impl Fn(Slot) -> NodeIndex) -> View {
        let mut owners = Box::new([UNASSIGNED; SLOTS]);
        for (slot, owner) in owners.iter_mut().enumerate() {
            *owner = owner_of(slot as Slot);
            assert!(*owner == UNASSIGNED || (*owner as usize) < nodes.len(), "owner of slot {slot} exists");
        }
        let mut locals = vec![UNASSIGNED; nodes.iter().filter(|n| n.local.is_some()).count()];
        for (i, node) in nodes.iter().enumerate() {
            if let Some(shard) = node.local {
                locals[shard as usize] = i as NodeIndex;
            }
        }
        assert!(!locals.contains(&UNASSIGNED), "every local shard has its node");
        let ok = !owners.contains(&UNASSIGNED);
        View { version, current_epoch: epoch, ok, nodes, owners, locals }
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

    /// The index of local shard `shard`'s node.
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
