//! Who is thought to have failed: suspicion, reports of others, agreement, and taking it back.

use super::Plane;
use super::node::{Home, Key, Report};
use super::out::Want;
use crate::cluster::wire::{Message, flag};
use crate::limits;
use std::collections::BTreeSet;

impl Plane {
    /// A link is being opened anew: the wait for an answer begins now, if none is on already.
    pub(super) fn suspect_unreachable(&mut self, l: usize, key: Key) {
        let (now, timeout) = (self.now, self.timeout());
        let node = &mut self.group_mut(l)[key];
        let overdue = now > node.pong_received + timeout / 2;
        let peer = &mut node.peers[l];
        if overdue && peer.ping_sent == 0 && node.flags & flag::HANDSHAKE == 0 {
            peer.ping_sent = now;
        }
        self.suspect_if_silent(l, key);
    }

    /// PFAIL, when nothing was heard of the node for the node timeout after a PING.
    pub(super) fn suspect_if_silent(&mut self, l: usize, key: Key) {
        let node = &self.group(l)[key];
        let asked = node.peers[l].ping_sent;
        // all that comes from the node shows that it lives, on whose link ever
        let silent = self.now.saturating_sub(asked.max(node.data_received));
        let known = node.has(flag::PFAIL | flag::FAIL) || node.in_handshake();
        if asked != 0 && silent > self.timeout() && !known {
            self.suspect(self.locals[l].group, key);
        }
    }

    fn suspect(&mut self, g: usize, key: Key) {
        self.groups[g].set_health(key, flag::PFAIL);
        self.groups[g][key].listed = false;
        // several masters on one host need no gossip to agree
        if self.own_votes(g) > 1 {
            self.fail_if_agreed(g, key);
        }
    }

    /// Tells everybody at once whom we suspect, and not with the next PINGs: the sooner a majority agrees.
    pub(super) fn sound_alarm(&mut self, g: usize) {
        if !std::mem::take(&mut self.groups[g].alarm) {
            return;
        }
        let trunks = self.groups[g].trunks.iter();
        let hosts: Vec<_> = trunks.filter_map(|(host, trunk)| Some((trunk.link?, *host))).collect();
        hosts.into_iter().for_each(|(link, host)| self.send_host(link, host, false));
        // only masters that vote are believed, and only they need to know
        let to: Vec<Key> = self.groups[g]
            .foreign()
            .filter(|(_, n)| n.counts() && n.home == Home::Alone)
            .map(|(k, _)| k)
            .collect();
        for l in self.members(g).into_iter().filter(|_| !to.is_empty()) {
            if self.locals[l].fresh && self.me(l).counts() {
                self.pong_to(l, to.iter().copied());
            }
        }
    }

    /// How many masters this host speaks for: those with slots, or one without.
    fn own_votes(&self, g: usize) -> usize {
        let masters =
            self.members(g).into_iter().filter(|l| self.locals[*l].fresh && self.me(*l).is_master());
        let (all, with_slots) =
            masters.fold((0, 0), |(all, with), l| (all + 1, with + self.me(l).counts() as usize));
        with_slots.max(all.min(1))
    }

    /// Masters say whether they can reach a node.
    pub(super) fn take_reports(&mut self, g: usize, about: Key, by: &BTreeSet<Key>, failing: bool) {
        let (now, timeout) = (self.now, self.timeout());
        let reports = &mut self.groups[g][about].reports;
        let before = reports.len();
        reports.retain(|report| !by.contains(&report.by));
        if failing {
            reports.extend(by.iter().map(|by| Report { by: *by, at: now }));
            self.fail_if_agreed(g, about);
        } else if reports.len() < before {
            self.groups[g].reports(about, now, timeout);
        }
    }

    /// FAIL, when we suspect the node and so does the majority of the masters: everybody is told.
    pub(super) fn fail_if_agreed(&mut self, g: usize, key: Key) {
        let node = &self.groups[g][key];
        if !node.has(flag::PFAIL) || node.failed() {
            return;
        }
        let (id, now, timeout) = (node.id, self.now, self.timeout());
        let agreeing = self.groups[g].reports(key, now, timeout) + self.own_votes(g);
        if agreeing < self.quorum(g) {
            return;
        }
        tracing::info!("Marking node {} as failing (quorum reached).", self.groups[g][key].name());
        self.set_failed(g, key);
        self.tell_once(g, Message::Fail(id));
    }

    /// More than half of the masters with slots.
    pub(super) fn quorum(&self, g: usize) -> usize {
        self.groups[g].size / 2 + 1
    }

    fn set_failed(&mut self, g: usize, key: Key) {
        self.groups[g].set_health(key, flag::FAIL);
        self.groups[g][key].failed_at = self.now;
        self.out.want(Want::Soon);
        self.reconsider = true;
    }

    /// A FAIL message: believed, but not about ourselves.
    pub(super) fn take_fail(&mut self, g: usize, about: Key) {
        let node = &self.groups[g][about];
        let alive = node.local.is_some_and(|l| self.locals[l].fresh);
        if !node.failed() && !alive {
            tracing::info!("FAIL message received about {}", node.name());
            self.set_failed(g, about);
        }
    }

    /// The node has answered.
    pub(super) fn back_again(&mut self, g: usize, key: Key) {
        let node = &self.groups[g][key];
        if node.has(flag::PFAIL) {
            self.groups[g].set_health(key, 0);
            self.out.want(Want::Soon);
        } else if node.failed() {
            // a master that still has slots after a while is one that nobody replaces
            let old = self.now - node.failed_at.min(self.now) > self.timeout() * limits::FAIL_UNDO;
            if node.is_replica() || node.owned == 0 || old {
                tracing::info!("Clear FAIL state for node {}: it is reachable again.", node.name());
                self.groups[g].set_health(key, 0);
                self.out.want(Want::Soon);
            }
        }
    }
}
