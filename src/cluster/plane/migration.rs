//! Replica migration: a master that has replicas to spare gives one to a master that has lost its own.

use super::Plane;
use super::group::Group;
use super::node::{Key, Node};
use crate::cluster::wire::flag;
use crate::limits;

impl Plane {
    pub(super) fn migrate_replicas(&mut self, g: usize) {
        if !self.conf.cluster_allow_replica_migration || !self.groups[g].ok {
            return;
        }
        let spare = |l: &usize| {
            let (group, me) = (&self.groups[g], self.me(*l));
            me.master.is_some_and(|master| me.is_replica() && group.working_replicas(master) >= 2)
        };
        let candidates: Vec<usize> = self.members(g).into_iter().filter(spare).collect();
        if candidates.is_empty() {
            return;
        }
        let most =
            masters(&self.groups[g]).map(|key| self.groups[g].working_replicas(key)).max().unwrap_or(0);
        let target = self.watch_orphans(g);
        let Some(first) = first_of_richest(&self.groups[g], most) else { return };
        for l in candidates {
            let ready = target.is_some_and(|target| {
                self.now - self.groups[g][target].orphaned_since > limits::REPLICA_MIGRATION_DELAY_MS
            });
            if let Some(target) = target.filter(|_| ready && self.locals[l].key == first && self.may_leave(l))
            {
                self.set_master(l, target);
                return;
            }
        }
    }

    /// Notes since when masters have been orphans, and finds one to help.
    fn watch_orphans(&mut self, g: usize) -> Option<Key> {
        let now = self.now;
        let mut target = None;
        for key in self.groups[g].keys().collect::<Vec<_>>() {
            let group = &mut self.groups[g];
            let orphan = is_orphan(&group[key]) && group.working_replicas(key) == 0;
            let node = &mut group[key];
            match (orphan, node.orphaned_since) {
                (false, _) => node.orphaned_since = 0,
                (true, 0) => node.orphaned_since = now,
                (true, _) => {}
            }
            if orphan && node.owned > 0 && target.is_none() {
                target = Some(key);
            }
        }
        target
    }

    /// Whether a replica's master keeps enough replicas that are well.
    fn may_leave(&self, l: usize) -> bool {
        let group = self.group(l);
        let Some(master) = self.me(l).master else { return false };
        let well = group[master].replicas.iter().filter(|key| !group[**key].has(flag::FAIL | flag::PFAIL));
        well.count() > self.conf.cluster_migration_barrier as usize
    }
}

/// Masters that have not failed.
fn masters(group: &Group) -> impl Iterator<Item = Key> + '_ {
    let left_out = flag::NOADDR | flag::HANDSHAKE | flag::FAIL;
    group.iter().filter(move |(_, node)| node.is_master() && !node.has(left_out)).map(|(key, _)| key)
}

/// Once had replicas, or took the place of a master that had.
fn is_orphan(node: &Node) -> bool {
    node.is_master() && !node.failed() && node.has(flag::MIGRATE_TO)
}

/// The replica with the smallest name of the masters with the most replicas: it is the one to go.
fn first_of_richest(group: &Group, most: usize) -> Option<Key> {
    let richest = group.iter().filter(|(key, node)| node.is_master() && group.working_replicas(*key) == most);
    richest.flat_map(|(_, node)| node.replicas.iter().copied()).min_by_key(|key| group[*key].id)
}
