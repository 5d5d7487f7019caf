//! Config epochs: no two masters keep the same one.

use super::Plane;
use super::node::Key;
use super::out::Want;
use crate::cluster::wire::flag;

impl Plane {
    /// Gives a local node the next epoch without asking anybody, unless it has the greatest already.
    /// Whether it got one. Right only where a collision is worth less than a vote: when a slot has been
    /// imported, and for a takeover.
    pub(super) fn bump_epoch(&mut self, l: usize) -> bool {
        let (mine, max, own) = (self.me(l).config_epoch, self.group(l).max_epoch(), self.locals[l].key);
        // shared with somebody who took it at the same time, it wins nothing
        let shared = self
            .group(l)
            .iter()
            .any(|(key, node)| key != own && node.is_master() && node.config_epoch == mine);
        if mine != 0 && mine == max && !shared {
            return false;
        }
        self.next_epoch(l);
        true
    }

    fn next_epoch(&mut self, l: usize) {
        let group = self.group_mut(l);
        // no epoch follows the last: whoever has sent it has the last word
        group.current_epoch = group.current_epoch.saturating_add(1);
        let epoch = group.current_epoch;
        group.publish = super::group::Publish::Now;
        self.me_mut(l).config_epoch = epoch;
        tracing::warn!("shard {l}: new configEpoch set to {epoch}");
        self.out.want(Want::First);
    }

    /// Two masters with one epoch: the one with the smaller name takes a new one.
    pub(super) fn settle_collision(&mut self, l: usize, other: Key, epoch: u64) {
        let (me, other) = (self.me(l), &self.group(l)[other]);
        let collide = me.is_master() && other.is_master() && me.config_epoch == epoch;
        if collide && other.config_epoch == me.config_epoch && other.id > me.id {
            self.next_epoch(l);
        }
    }

    /// The same among siblings, which never hear each other.
    pub(super) fn settle_siblings(&mut self, g: usize) {
        let mut masters: Vec<usize> =
            self.members(g).into_iter().filter(|l| self.me(*l).has(flag::MASTER)).collect();
        masters.sort_by_key(|l| self.me(*l).id);
        for (at, l) in masters.iter().enumerate() {
            let epoch = self.me(*l).config_epoch;
            if masters[at + 1..].iter().any(|other| self.me(*other).config_epoch == epoch) {
                self.next_epoch(*l);
            }
        }
    }
}
