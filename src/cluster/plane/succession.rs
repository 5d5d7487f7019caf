//! Who goes first when masters have failed: who can tell need not wait as long as Redis's replicas do.
//!
//! Those wait half a second before they ask for votes, and up to another half by chance: until the voters
//! know of the failure, until replicas of the same master know each other's offsets, and because votes are
//! split when two ask for the same epoch. Here
//!
//! - the failure is told once more right before the request, on the same links;
//! - a replica that has heard all others of its master since, and is the best of them, waits for none;
//! - of masters that failed together, as those of a lost host do, the heirs' hosts take turns, in the order
//!   of the masters' names, each with all its heirs: one as soon as the one before has decided.
//!
//! Whoever can't tell, or whose turn doesn't come, waits as long as Redis's replicas.

use super::Plane;
use super::group::Group;
use super::node::{Home, Key, Node};
use crate::cluster::wire::flag;
use crate::limits;
use std::cmp::Reverse;

impl Plane {
    /// Whether a replica, whose master has failed, has nobody to wait for.
    pub(super) fn may_hurry(&self, l: usize) -> bool {
        let (group, own) = (self.group(l), self.locals[l].key);
        let Some(master) = self.me(l).master.filter(|master| group[*master].failed()) else { return false };
        let mut others = group[master].replicas.iter().filter(|key| **key != own).map(|key| &group[*key]);
        // what they say when they hear of the failure may come before we do
        let since = group[master].failed_at.saturating_sub(limits::ELECTION_SETTLE_MS);
        let heard = |node: &Node| !can_stand(node) || node.data_received >= since;
        heir(group, master) == Some(own)
            && self.rank(l) == 0
            && others.all(heard)
            && self.news_have_settled(group)
            && self.is_our_turn(group)
    }

    /// No master has failed just now: those of one host are told of one after another.
    fn news_have_settled(&self, group: &Group) -> bool {
        failed_masters(group).all(|key| self.now >= group[key].failed_at + limits::ELECTION_SETTLE_MS)
    }

    /// Whether the first of the failed masters that can be replaced is to be replaced by a node of this host.
    /// A heir that is no Shoal node keeps Redis's times, and one that hasn't stood by these won't: nobody
    /// waits for them.
    fn is_our_turn(&self, group: &Group) -> bool {
        let recent = |key: &Key| self.now < group[*key].failed_at + 2 * limits::ELECTION_DELAY_MS;
        let heirs = failed_masters(group).filter(recent).filter_map(|master| heir(group, master));
        let shoal = |node: &&Node| node.local.is_some() || matches!(node.home, Home::Host(_));
        let first = heirs.map(|key| &group[key]).find(shoal);
        first.is_none_or(|heir| heir.local.is_some())
    }

    /// Whether a majority of the masters hears what this host says in the order in which it says it: its own
    /// masters, and those of hosts that share a link pair with it. Then its candidates may all stand at the
    /// same time, each for an epoch of its own.
    pub(super) fn is_heard_in_order(&self, g: usize) -> bool {
        let group = &self.groups[g];
        let hears = |node: &Node| match (node.local, node.home) {
            (Some(l), _) => self.locals[l].fresh,
            (None, Home::Host(host)) => group.trunks.get(&host).is_some_and(|trunk| trunk.link.is_some()),
            (None, _) => false,
        };
        group.iter().filter(|(_, node)| node.counts() && hears(node)).count() >= self.quorum(g)
    }
}

/// Masters with slots that have failed, by name.
fn failed_masters(group: &Group) -> impl Iterator<Item = Key> + '_ {
    group.iter().filter(|(_, node)| node.counts() && node.failed()).map(|(key, _)| key)
}

fn can_stand(replica: &Node) -> bool {
    !replica.has(flag::PFAIL | flag::FAIL | flag::NOFAILOVER)
}

/// Of a master's replicas the one with most data; of equals the one with the smallest name.
fn heir(group: &Group, master: Key) -> Option<Key> {
    let able = group[master].replicas.iter().copied().filter(|key| can_stand(&group[*key]));
    able.max_by_key(|key| (group[*key].offset, Reverse(group[*key].id)))
}
