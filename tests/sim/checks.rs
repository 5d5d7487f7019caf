//! What must hold at every step, whoever did what.

use super::marks::Marks;
use super::redis::RedisNode;
use shoal::cluster::slots::SlotSet;
use shoal::cluster::view::{NodeId, View};
use shoal::cluster::wire::{flag, kind};
use shoal::slot::{SLOTS, Slot};
use std::collections::{BTreeMap, BTreeSet};

/// Where things stand in a packet, by Redis's `clusterMsg`.
mod at {
    pub const KIND: usize = 12;
    pub const COUNT: usize = 14;
    pub const CURRENT_EPOCH: usize = 16;
    pub const CONFIG_EPOCH: usize = 24;
    pub const SENDER: usize = 40;
    pub const SLOTS: usize = 80;
    pub const REPLICA_OF: usize = 2128;
    pub const GOSSIP: usize = 2256;
    pub const GOSSIP_LEN: usize = 104;
}

/// What a shard has seen in its present life.
#[derive(Default)]
struct Seen {
    version: u64,
    epoch: u64,
    epochs: BTreeMap<NodeId, u64>,
    flags: BTreeMap<NodeId, u16>,
    minority: bool,
    /// Its own config epoch, and whether it was a replica.
    own: Option<u64>,
    replica: bool,
}

#[derive(Default)]
pub struct Checks {
    /// Nothing is looked at: for runs that are about figures.
    pub off: bool,
    /// One admin at a time, and nothing that hides nodes from each other: then nobody takes an epoch that
    /// somebody else has taken, as long as the bus is quicker than that admin.
    pub strict: bool,
    seen: BTreeMap<(usize, usize), Seen>,
    /// Of every slot: who has claimed it in which epoch. And what each node claimed last.
    claims: BTreeMap<Slot, Vec<(u64, NodeId)>>,
    claimed: BTreeMap<NodeId, (u64, SlotSet)>,
    votes: BTreeMap<(NodeId, u64), usize>,
    asked: BTreeSet<(usize, NodeId, u64)>,
    granted: BTreeSet<(usize, u64)>,
    elected: BTreeMap<u64, NodeId>,
    /// The config epoch that each node last went by.
    epochs: BTreeMap<NodeId, u64>,
    /// Who was forgotten where, and until when.
    forgotten: BTreeMap<(usize, NodeId), u64>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + N].iter().fold(0, |n, byte| n << 8 | *byte as u64)
}

fn name(bytes: &[u8], at: usize) -> NodeId {
    bytes[at..at + 40].try_into().expect("forty bytes")
}

impl Checks {
    /// A shard's first view.
    pub fn start_view(&mut self, m: usize, l: usize, view: &View) {
        let (version, epoch) = (view.version, view.current_epoch);
        self.seen.insert((m, l), Seen { version, epoch, ..Seen::default() });
    }

    /// A shard gets a view.
    pub fn see(&mut self, m: usize, l: usize, view: &View, marks: &mut Marks) {
        if self.off {
            return;
        }
        let seen = self.seen.get_mut(&(m, l)).expect("it had a view before");
        assert!(view.version > seen.version, "a view never goes back: {m}.{l}");
        assert!(view.current_epoch >= seen.epoch, "the current epoch never falls: {m}.{l}");
        let known = seen.epoch;
        (seen.version, seen.epoch) = (view.version, view.current_epoch);
        let before = std::mem::take(&mut seen.flags);
        let mut epochs = std::mem::take(&mut seen.epochs);
        for node in view.nodes.iter() {
            let old = before.get(&node.id).copied().unwrap_or(0);
            match (old, node.flags) {
                (old, new) if old & flag::PFAIL != 0 && new & (flag::PFAIL | flag::FAIL) == 0 => {
                    marks.hit("PFAIL taken back")
                }
                (old, new) if old & flag::FAIL != 0 && new & flag::FAIL == 0 => marks.hit("FAIL taken back"),
                _ => {}
            }
            if node.local.is_some() && node.flags & (flag::PFAIL | flag::FAIL) != 0 {
                marks.hit("core stalled until it was not spoken for");
            }
            seen.flags.insert(node.id, node.flags);
            if node.is_master() && node.flags & flag::HANDSHAKE == 0 {
                // one that was forgotten meanwhile is told of anew
                let before = epochs.remove(&node.id).unwrap_or(0);
                assert!(before <= node.config_epoch, "a config epoch never falls: {}", node.id());
                seen.epochs.insert(node.id, node.config_epoch);
            }
        }
        watch_minority(seen, view, marks);
        let me = view.local_index(l);
        let node = view.local_node(l);
        let was = seen.own.replace(node.config_epoch).filter(|_| node.is_master());
        if was.is_some_and(|was| was < node.config_epoch) && !seen.replica {
            assert!(known < node.config_epoch, "{m}.{l} takes an epoch of its own that it knew of");
        }
        seen.replica = node.is_replica();
        if node.is_master() {
            let own = (0..SLOTS as Slot).filter(|slot| view.owner_index(*slot) == me).collect();
            self.claim_all(node.id, node.config_epoch, &own, marks);
        }
    }

    pub fn see_foreign(&mut self, node: &RedisNode, marks: &mut Marks) {
        if !self.off && node.is_master() {
            self.claim_all(node.id, node.config_epoch(), node.own_slots(), marks);
        }
    }

    fn claim_all(&mut self, id: NodeId, epoch: u64, slots: &SlotSet, marks: &mut Marks) {
        if self.claimed.get(&id).is_some_and(|(e, s)| *e == epoch && s == slots) {
            return;
        }
        slots.iter().for_each(|slot| self.claim(slot, epoch, id, marks));
        self.claimed.insert(id, (epoch, slots.clone()));
    }

    /// A node goes by this slot, at this epoch. Epochs that are taken without a vote, as by an import or a
    /// handoff, can be taken twice by nodes that have not heard of each other's yet: that is a collision, which
    /// must be over in the end.
    fn claim(&mut self, slot: Slot, epoch: u64, id: NodeId, marks: &mut Marks) {
        let known = self.claims.entry(slot).or_default();
        if known.last() == Some(&(epoch, id)) {
            return;
        }
        match known.iter().find(|(e, _)| *e == epoch) {
            Some((_, other)) if *other != id => {
                let text = |id: &NodeId| String::from_utf8_lossy(id).into_owned();
                assert!(!self.strict, "slot {slot} at epoch {epoch}: {} and {}", text(other), text(&id));
                marks.hit("slot claimed twice at one epoch");
                known.push((epoch, id));
            }
            _ => known.push((epoch, id)),
        }
    }

    /// A node has won an election: no other wins that epoch.
    pub fn elect(&mut self, epoch: u64, id: NodeId) {
        let winner = *self.elected.entry(epoch).or_insert(id);
        assert_eq!(winner, id, "one winner an epoch");
    }

    /// A packet leaves for machine `to`.
    pub fn hear(&mut self, to: usize, frame: &[u8], marks: &mut Marks) {
        if self.off || frame.len() < at::GOSSIP {
            return;
        }
        let (sender, epoch) = (name(frame, at::SENDER), number::<8>(frame, at::CURRENT_EPOCH));
        match number::<2>(frame, at::KIND) as u16 {
            kind::FAIL => marks.hit("FAIL by majority"),
            kind::UPDATE => marks.hit("UPDATE sent"),
            kind::AUTH_ACK => {
                marks.hit("vote granted");
                let whom = *self.votes.entry((sender, epoch)).or_insert(to);
                assert_eq!(whom, to, "one vote an epoch and node");
                self.granted.insert((to, epoch));
            }
            kind if kind >= kind::COUNT as u16 => return,
            _ => {}
        }
        if frame[at::REPLICA_OF..at::REPLICA_OF + 40] != [0; 40] {
            self.epochs.remove(&sender);
            return;
        }
        let epoch = number::<8>(frame, at::CONFIG_EPOCH);
        let before = self.epochs.insert(sender, epoch).unwrap_or(0);
        assert!(before <= epoch, "no node goes back to an epoch: {before}, {epoch}");
        let served = frame[at::SLOTS..at::REPLICA_OF].iter().any(|byte| *byte != 0);
        if before != epoch && served && self.epochs.iter().any(|(id, e)| *id != sender && *e == epoch) {
            marks.hit("epochs collided");
        }
    }

    /// A packet arrives at a machine.
    pub fn overhear(&mut self, m: usize, frame: &[u8], now: u64, marks: &mut Marks) {
        if self.off || frame.len() < at::GOSSIP {
            return;
        }
        match number::<2>(frame, at::KIND) as u16 {
            kind::AUTH_REQUEST => {
                let epoch = number::<8>(frame, at::CURRENT_EPOCH);
                self.asked.insert((m, name(frame, at::SENDER), epoch));
            }
            kind::PING | kind::PONG | kind::MEET if !self.forgotten.is_empty() => {
                let count = number::<2>(frame, at::COUNT) as usize;
                let ids = frame[at::GOSSIP..].chunks_exact(at::GOSSIP_LEN).take(count).map(|e| name(e, 0));
                let kept = |id| self.forgotten.get(&(m, id)).is_some_and(|until| now < *until);
                if ids.into_iter().any(kept) {
                    marks.hit("forgotten node kept out");
                }
            }
            _ => {}
        }
    }

    pub fn forget(&mut self, m: usize, id: &[u8], until: u64) {
        if let Ok(id) = id.try_into() {
            self.forgotten.insert((m, id), until);
        }
    }

    /// Whether somebody who was asked for a vote has not given it.
    pub fn refusals(&self) -> bool {
        self.asked.len() > self.votes.len()
    }
}

/// A master that has found itself in a minority does not serve at once when that is over.
fn watch_minority(seen: &mut Seen, view: &View, marks: &mut Marks) {
    if view.ok {
        seen.minority = false;
        return;
    }
    let failing = |at: usize| view.nodes[at].flags & (flag::PFAIL | flag::FAIL) != 0;
    let mut masters = vec![false; view.nodes.len()];
    for slot in 0..SLOTS as Slot {
        if let Some(served) = masters.get_mut(view.owner_index(slot) as usize) {
            *served = true;
        }
    }
    let masters: Vec<usize> = (0..masters.len()).filter(|at| masters[*at]).collect();
    let reachable = masters.iter().filter(|at| !failing(**at)).count();
    if reachable < masters.len() / 2 + 1 {
        seen.minority = true;
    } else if seen.minority && reachable == masters.len() && view.assigned() == SLOTS {
        marks.hit("minority heard it is back, and waited");
    }
}
