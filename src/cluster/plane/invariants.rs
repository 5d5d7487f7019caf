//! What must hold after every handle call. Debug builds check it.

use super::Plane;
use super::group::Group;
use super::links::Link;
use super::node::{Home, NEVER};
use crate::cluster::view::NodeId;
use crate::cluster::wire::flag;
use crate::slot::{SLOTS, Slot};
use std::collections::BTreeMap;

/// What was true after the last handle call.
#[derive(Default)]
pub struct Seen {
    /// Of every local node: its cluster's epoch, its own, and the one that it last voted in.
    epochs: BTreeMap<NodeId, [u64; 3]>,
    /// How often owners had changed in each group, when they were last looked at.
    moves: Vec<u64>,
    /// Calls until everything is looked at again.
    skip: usize,
}

/// So many pairs of a local node and a node that it knows are looked at after every call; of more, all
/// after every second call, and so on.
const PAIRS: usize = 1024;

impl Plane {
    pub(super) fn check(&mut self) {
        self.check_epochs();
        if self.seen.skip > 0 {
            self.seen.skip -= 1;
            return;
        }
        self.seen.skip =
            self.locals.iter().map(|local| self.groups[local.group].len()).sum::<usize>() / PAIRS;
        self.seen.moves.resize(self.groups.len(), u64::MAX);
        for g in 0..self.groups.len() {
            let group = &self.groups[g];
            if std::mem::replace(&mut self.seen.moves[g], group.moves()) != group.moves() {
                check_slots(group);
            }
            check_nodes(group);
            self.check_trunks(g);
            assert!(!self.members(g).is_empty() || group.len() == 0, "a group without local nodes is empty");
        }
        for (l, local) in self.locals.iter().enumerate() {
            let (group, me) = (self.group(l), self.me(l));
            assert_eq!(me.local, Some(l), "a local node knows itself");
            assert!(me.is_master() != me.is_replica(), "a local node is either master or replica");
            assert!(me.is_master() || me.owned == 0, "a local replica has no slots");
            assert!(me.is_master() || local.migrating.is_empty() && local.importing.is_empty());
            let former = local.taken.values().map(|former| &former.owner);
            for key in local.migrating.values().chain(local.importing.values()).chain(former) {
                assert!(group[*key].id != me.id, "slots move between two nodes");
            }
        }
        self.check_links();
    }

    /// Epochs only rise, and with them the epochs of votes: so no epoch gets two votes of one node. A
    /// node that was reset hard has another name.
    fn check_epochs(&mut self) {
        let mut seen = BTreeMap::new();
        for l in 0..self.locals.len() {
            let (current, me) = (self.group(l).current_epoch, self.me(l));
            let vote = self.locals[l].last_vote_epoch;
            assert!(vote <= current, "a vote is for an epoch that has begun");
            let before = self.seen.epochs.get(&me.id).copied().unwrap_or_default();
            let now = [current, me.config_epoch, vote];
            let risen = before.iter().zip(&now).all(|(before, now)| before <= now);
            assert!(risen, "epochs never fall: {before:?}, {now:?}");
            seen.insert(me.id, now);
        }
        self.seen.epochs = seen;
    }

    /// A host's nodes are where its trunk says, and the trunk is the speaker's.
    fn check_trunks(&self, g: usize) {
        let group = &self.groups[g];
        let able = |l: usize| group.members.contains(&l) && self.locals[l].fresh;
        assert!(group.speaker.map_or(!group.members.iter().any(|l| able(*l)), able), "the speaker is able");
        let housed = group.iter().filter(|(_, node)| matches!(node.home, Home::Host(_))).count();
        assert_eq!(housed, group.trunks.values().map(|trunk| trunk.nodes.len()).sum::<usize>());
        for (host, trunk) in &group.trunks {
            assert!(!trunk.nodes.is_empty(), "nobody lives there");
            assert!(trunk.nodes.iter().all(|key| group[*key].home == Home::Host(*host)));
            assert!(trunk.next.is_some_and(|next| trunk.nodes.contains(&next)), "somebody can be called");
            let Some(link) = trunk.link.map(|id| &self.links[&id]) else { continue };
            assert_eq!((Some(link.local), link.connected), (group.speaker, true));
            assert!(link.peer.is_some_and(|peer| trunk.nodes.contains(&peer)), "it leads there");
        }
        for (key, node) in group.iter() {
            let silent = |l: &usize| Some(*l) != group.speaker && node.peers[*l].link.is_some();
            assert!(
                !matches!(node.home, Home::Host(_)) || !group.members.iter().any(silent),
                "only the speaker has links there: {}",
                node.name()
            );
            assert!(!node.listed || matches!(node.home, Home::Host(_)), "{key:?} is spoken for by nobody");
        }
    }

    fn check_links(&self) {
        for (id, Link { local, peer, .. }) in &self.links {
            let Some(key) = peer else {
                assert!(id.is_inbound(), "whom we called is known");
                continue;
            };
            let peer = &self.group(*local)[*key].peers[*local];
            assert!(peer.link == Some(*id) || peer.inbound == Some(*id), "link and peer know each other");
            assert!(self.locals[*local].fresh, "who is silent has no links");
        }
        for (due, l, key) in &self.timers {
            assert_eq!(self.group(*l)[*key].peers[*l].due, *due, "timers are those of the peers");
        }
        let timers = self.locals.iter().enumerate().map(|(l, _)| {
            self.group(l).iter().filter(|(_, node)| node.peers.get(l).is_some_and(|p| p.due != NEVER)).count()
        });
        assert_eq!(timers.sum::<usize>(), self.timers.len(), "every timer is set");
    }
}

/// One owner a slot, in both directions.
fn check_slots(group: &Group) {
    let mut owned = 0;
    for (key, node) in group.iter() {
        assert_eq!(node.owned, node.slots.len());
        assert!(node.slots.iter().all(|slot| group.owner(slot) == Some(key)), "a slot has one owner");
        owned += node.owned;
    }
    let assigned = (0..SLOTS as Slot).filter(|slot| group.owner(*slot).is_some()).count();
    assert_eq!((owned, assigned), (group.assigned(), group.assigned()));
}

fn check_nodes(group: &Group) {
    for (key, node) in group.iter() {
        assert!(node.config_epoch <= group.current_epoch, "the current epoch is the greatest");
        assert!(!node.has(flag::PFAIL) || !node.failed(), "PFAIL or FAIL");
        assert_eq!(group.suspects.contains(&key), node.has(flag::PFAIL));
        assert_eq!(group.find(&node.id), Some(key));
        if let Some(master) = node.master {
            assert!(group[master].replicas.contains(&key), "a master knows its replicas");
            assert!(master != key && node.is_replica(), "a replica has a master that is not itself");
        }
        for replica in &node.replicas {
            assert_eq!(group[*replica].master, Some(key), "a replica knows its master");
        }
    }
}
