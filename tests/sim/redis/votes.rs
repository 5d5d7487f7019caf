//! Elections: a foreign node as voter, and as replica.

use super::node::RedisNode;
use shoal::cluster::view::NodeId;
use shoal::cluster::wire::{Gossip, Header, Message, flag, mflag};

#[derive(Default)]
pub struct Election {
    at: u64,
    asked: bool,
    epoch: u64,
    votes: Vec<NodeId>,
}

impl RedisNode {
    /// `clusterSendFailoverAuthIfNeeded`
    pub(super) fn vote(&mut self, candidate: NodeId, header: &Header) {
        let (now, current) = (self.now, self.current_epoch);
        let me = self.me();
        let old = header.current_epoch < current || self.last_vote_epoch == current;
        if !me.is_master() || me.owned == 0 || old {
            return;
        }
        let node = &self.nodes[&candidate];
        let Some(master) = node.replica_of.filter(|_| !node.is_master()) else { return };
        let Some(known) = self.nodes.get(&master) else { return };
        let force = header.mflags & mflag::FORCEACK != 0;
        if !known.has(flag::FAIL) && !force || now < known.voted_at + self.timeout * 2 {
            return;
        }
        let newer = header.slots.iter().any(|slot| {
            let owner = self.owners[slot as usize].filter(|_| !self.unclaimed.contains(slot));
            owner.is_some_and(|owner| self.nodes[&owner].epoch > header.config_epoch)
        });
        let Some(link) = self.nodes[&candidate].link.filter(|_| !newer) else { return };
        self.last_vote_epoch = current;
        self.known(master).voted_at = now;
        self.send(link, Message::AuthAck);
    }

    /// `clusterHandleSlaveFailover`
    pub(super) fn consider_election(&mut self) {
        let (now, patience) = (self.now, (self.timeout * 2).max(2000));
        let Some(master) = self.me().replica_of.filter(|_| !self.is_master()) else { return };
        let failed = self.nodes.get(&master).is_some_and(|node| node.has(flag::FAIL) && node.owned > 0);
        if !failed {
            return;
        }
        if now > self.election.at + patience * 2 {
            let at = now + 500 + self.rng.below(500);
            self.election = Election { at, ..Election::default() };
            return;
        }
        if now < self.election.at || now > self.election.at + patience {
            return;
        }
        if !self.election.asked {
            self.current_epoch += 1;
            (self.election.asked, self.election.epoch) = (true, self.current_epoch);
            self.broadcast(Message::AuthRequest);
        } else if self.election.votes.len() > self.size / 2 {
            self.take_over(master);
        }
    }

    pub(super) fn take_vote(&mut self, by: NodeId, epoch: u64) {
        let node = &self.nodes[&by];
        let counts = node.is_master() && node.owned > 0;
        let election = &mut self.election;
        if counts && election.asked && epoch >= election.epoch && !election.votes.contains(&by) {
            election.votes.push(by);
        }
    }

    /// `clusterFailoverReplaceYourMaster`
    fn take_over(&mut self, master: NodeId) {
        self.marks.push("election won");
        let epoch = self.election.epoch;
        let me = self.me_mut();
        me.flags = me.flags & !flag::REPLICA | flag::MASTER;
        me.replica_of = None;
        me.epoch = me.epoch.max(epoch);
        for slot in self.slots_of(master).iter() {
            self.bind(slot, self.id);
            self.won.push(slot);
        }
        self.election = Election::default();
        self.broadcast(Message::Pong(Gossip::default()));
    }
}
