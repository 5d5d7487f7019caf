//! What the clock brings: ten times a second.

use super::Plane;
use super::effect::Heartbeat;
use super::group::Publish;
use super::node::Key;
use crate::cluster::wire::flag;
use crate::limits;

impl Plane {
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        (0..self.locals.len()).for_each(|l| self.watch_shard(l));
        self.run_timers();
        for l in 0..self.locals.len() {
            // siblings take turns, so that a second's packets don't leave at once
            if (self.ticks + l as u64).is_multiple_of(limits::TICKS_A_SECOND) {
                self.ping_someone(l);
            }
            self.run_manual(l);
            self.replicate_known_master(l);
            self.consider_election(l);
        }
        let seldom = self.ticks.is_multiple_of(limits::TICKS_A_SECOND);
        for g in self.inhabited() {
            self.migrate_replicas(g);
            if seldom {
                self.ask_strangers(g);
            }
            let group = &mut self.groups[g];
            group.restate |= !group.ok;
            self.wish(g, if seldom { Publish::Seldom } else { Publish::No });
        }
        self.publish(if seldom { Publish::Seldom } else { Publish::Soon });
        self.out.tick();
    }

    /// Pings the one of a few random nodes that was silent longest.
    fn ping_someone(&mut self, l: usize) {
        if !self.locals[l].fresh {
            return;
        }
        let mut oldest: Option<(u64, Key)> = None;
        for _ in 0..limits::PING_DRAWS {
            let g = self.locals[l].group;
            let key = self.groups[g].draw(&mut self.rng);
            let node = &self.groups[g][key];
            let open =
                |link: Option<_>| link.is_some() || node.local.is_none() && self.carrier(l, key).is_some();
            let idle = node.peers.get(l).is_some_and(|peer| peer.ping_sent == 0 && open(peer.link));
            if idle && !node.in_handshake() && oldest.is_none_or(|(pong, _)| pong > node.pong_received) {
                oldest = Some((node.pong_received, key));
            }
        }
        if let Some((_, key)) = oldest {
            self.ping(l, key);
        }
    }

    /// A shard that says nothing isn't spoken for; its siblings see it fail as anybody would.
    fn watch_shard(&mut self, l: usize) {
        let (silent, g, key) = (self.now - self.locals[l].beat_at, self.locals[l].group, self.locals[l].key);
        if self.locals[l].fresh && silent > self.patience() {
            self.locals[l].fresh = false;
            self.close_all(l);
            self.settle_speaker(g);
            self.reschedule_local(l);
        }
        let node = &self.groups[g][key];
        if silent > self.timeout().max(self.patience())
            && !node.has(flag::PFAIL | flag::FAIL)
            && self.members(g).len() > 1
        {
            self.groups[g].set_health(key, flag::PFAIL);
            self.fail_if_agreed(g, key);
        }
    }

    pub(super) fn heartbeat(&mut self, l: usize, beat: Heartbeat) {
        let (g, key, now) = (self.locals[l].group, self.locals[l].key, self.now);
        self.locals[l].beat = beat;
        self.locals[l].beat_at = now;
        let node = &mut self.groups[g][key];
        node.offset = beat.offset;
        node.pong_received = now;
        node.data_received = now;
        if node.has(flag::PFAIL | flag::FAIL) {
            self.back_again(g, key);
        }
        if !std::mem::replace(&mut self.locals[l].fresh, true) {
            self.settle_speaker(g);
            self.reschedule_local(l);
        }
        self.paused(l);
        self.run_manual(l);
    }

    /// A local node is spoken for again, or no more: all its timers change.
    fn reschedule_local(&mut self, l: usize) {
        let others: Vec<Key> =
            self.group(l).iter().filter(|(_, node)| node.local.is_none()).map(|(key, _)| key).collect();
        others.into_iter().for_each(|key| self.schedule(l, key));
    }
}
