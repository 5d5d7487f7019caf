//! Failover by vote: when a replica asks, who votes for it, and what it does when it has won.

use super::Plane;
use super::node::Key;
use super::out::Want;
use crate::cluster::slots::SlotSet;
use crate::cluster::view::NodeId;
use crate::cluster::wire::{Header, Message, mflag};
use crate::limits;

/// What a replica asks a vote for.
struct Request<'a> {
    candidate: Key,
    current_epoch: u64,
    /// Its master's epoch and slots, as it knows them.
    config_epoch: u64,
    slots: &'a SlotSet,
    /// Its master may be well.
    force: bool,
}

impl Plane {
    /// Takes a replica's failover one step further, if there is a reason for one.
    pub(super) fn consider_election(&mut self, l: usize) {
        if !self.has_reason(l) {
            return;
        }
        let timeout = (self.timeout() * 2).max(limits::ELECTION_MIN_MS);
        let (now, election) = (self.now, &self.locals[l].election);
        if now > election.at + timeout {
            self.plan_election(l);
        }
        self.wait_for_rank(l);
        self.wait_for_voters(l);
        let election = &self.locals[l].election;
        if election.asked_at == 0 && now < election.at && self.may_hurry(l) {
            self.locals[l].election.at = now.max(self.refused_until(l));
        }
        let election = &self.locals[l].election;
        if now < election.at || now > election.at + timeout {
            return;
        }
        if election.asked_at == 0 {
            match self.sibling_stands(l) && !self.is_heard_in_order(self.locals[l].group) {
                // to voters that may hear of two candidates in the wrong order they stand one after another
                true => self.locals[l].election.at = now,
                false => self.ask_for_votes(l),
            }
        } else if election.votes.len() >= self.quorum(self.locals[l].group) {
            self.win(l);
        }
    }

    /// A replica whose master has slots and has failed (or that was told to take over), with data that
    /// is not too old.
    fn has_reason(&self, l: usize) -> bool {
        let (me, local, conf, timeout) = (self.me(l), &self.locals[l], &self.conf, self.timeout());
        let manual = local.manual.until != 0 && local.manual.can_start;
        let Some(master) = me.master.filter(|_| me.is_replica() && local.fresh) else { return false };
        let master = &self.group(l)[master];
        let wanted = manual || master.failed() && !conf.cluster_replica_no_failover;
        // the time that it took to find the failure doesn't count
        let age = match local.beat.data_age_ms {
            age if age > timeout => age - timeout,
            age => age,
        };
        let factor = conf.cluster_replica_validity_factor as u64;
        let valid = conf.repl_ping_replica_period as u64 * 1000 + timeout.saturating_mul(factor);
        wanted && master.owned > 0 && (manual || factor == 0 || age <= valid)
    }

    /// Sets the time at which votes are asked for: late enough for the news of the failure to spread,
    /// and later for those with older data.
    fn plan_election(&mut self, l: usize) {
        let rank = self.rank(l);
        let delay = self.election_delay(rank);
        let manual = self.locals[l].manual.until != 0;
        let election = &mut self.locals[l].election;
        *election = super::local::Election { rank, at: self.now + delay, ..Default::default() };
        if manual {
            (election.rank, election.at) = (0, self.now);
        }
        tracing::warn!(
            "shard {l}: start of election delayed for {} milliseconds (rank #{}, offset {}).",
            self.locals[l].election.at - self.now,
            self.locals[l].election.rank,
            self.locals[l].beat.offset
        );
        // so that the other replicas know our offset when they reckon their ranks
        self.broadcast_pong(l, true);
    }

    fn election_delay(&mut self, rank: usize) -> u64 {
        let some = limits::ELECTION_DELAY_MS + self.rng.below(limits::ELECTION_DELAY_MS);
        some + rank as u64 * limits::ELECTION_RANK_MS
    }

    /// Masters vote once in two node timeouts about the same master. Until then a request is in vain, and its
    /// epoch and its time are spent; it is made when they may vote again.
    fn wait_for_voters(&mut self, l: usize) {
        let (refused, election) = (self.refused_until(l), &self.locals[l].election);
        if election.asked_at == 0 && election.at < refused {
            let manual = self.locals[l].manual.until != 0;
            let delay = if manual { 0 } else { self.election_delay(self.locals[l].election.rank) };
            self.locals[l].election.at = refused + delay;
        }
    }

    /// Until when masters refuse a vote about a replica's master because they have voted about it: as far as is
    /// known here, by what it has asked for itself, and by what the local masters did, as others will have done.
    fn refused_until(&self, l: usize) -> u64 {
        let local = &self.locals[l];
        let Some(master) = self.me(l).master.map(|master| self.group(l)[master].id) else { return 0 };
        let asked = local.asked.filter(|(about, _)| *about == master).map(|(_, at)| at);
        let members = self.group(l).members.iter();
        let voted = members.filter_map(|voter| self.locals[*voter].voted.get(&master).copied());
        let last = voted.chain(asked).max();
        last.map_or(0, |at| at + self.timeout() * 2 + limits::ELECTION_REFUSED_MS)
    }

    /// Replicas of the same master that have more data.
    pub(super) fn rank(&self, l: usize) -> usize {
        let (group, own, offset) = (self.group(l), self.locals[l].key, self.locals[l].beat.offset);
        let Some(master) = self.me(l).master else { return 0 };
        let others = group[master].replicas.iter().filter(|key| **key != own).map(|key| &group[*key]);
        others
            .filter(|node| !node.has(crate::cluster::wire::flag::NOFAILOVER) && node.offset > offset)
            .count()
    }

    /// Others have turned out to have more data: they go first.
    fn wait_for_rank(&mut self, l: usize) {
        let (rank, local) = (self.rank(l), &mut self.locals[l]);
        let election = &mut local.election;
        if election.asked_at == 0 && local.manual.until == 0 && rank > election.rank {
            election.at += (rank - election.rank) as u64 * limits::ELECTION_RANK_MS;
            election.rank = rank;
        }
    }

    /// Another local node of the group is waiting for votes.
    fn sibling_stands(&self, l: usize) -> bool {
        let others = self.locals.iter().enumerate().filter(|(other, _)| *other != l);
        let mut same = others.filter(|(_, other)| other.group == self.locals[l].group);
        same.any(|(other, local)| {
            let asked = local.election.asked_at;
            asked != 0 && self.now < asked + limits::ELECTION_TURN_MS && self.me(other).is_replica()
        })
    }

    fn ask_for_votes(&mut self, l: usize) {
        let g = self.locals[l].group;
        let epoch = self.groups[g].current_epoch.saturating_add(1);
        self.groups[g].current_epoch = epoch;
        let force = self.locals[l].manual.until != 0;
        let election = &mut self.locals[l].election;
        (election.epoch, election.asked_at) = (epoch, self.now);
        election.votes.clear();
        let master = self.me(l).master.map(|master| self.group(l)[master].id);
        self.locals[l].asked = master.map(|id| (id, self.now));
        tracing::warn!("shard {l}: starting a failover election for epoch {epoch}.");
        self.out.want(Want::First);
        let mut header = self.header(l);
        if force {
            header.mflags |= mflag::FORCEACK;
        }
        let (config_epoch, slots) = (header.config_epoch, header.slots.clone());
        let ways = self.all_ways(l);
        let failed = self.me(l).master.map(|master| &self.group(l)[master]).filter(|master| master.failed());
        if let Some(id) = failed.map(|master| master.id) {
            // who has not heard of it would refuse
            self.send(l, &ways, &Message::Fail(id));
        }
        self.send_with(l, header, &ways, &Message::AuthRequest);
        let candidate = self.locals[l].key;
        let request = Request { candidate, current_epoch: epoch, config_epoch, slots: &slots, force };
        for voter in self.members(g) {
            if voter != l && self.locals[voter].fresh && self.grants(voter, &request) {
                self.out.vote((l, voter, epoch));
            }
        }
    }

    /// A foreign replica asks for a local node's vote.
    pub(super) fn vote_for_foreign(&mut self, l: usize, candidate: Key, header: &Header) {
        let request = Request {
            candidate,
            current_epoch: header.current_epoch,
            config_epoch: header.config_epoch,
            slots: &header.slots,
            force: header.mflags & mflag::FORCEACK != 0,
        };
        if let Some(way) = self.way(l, candidate)
            && self.grants(l, &request)
        {
            // the epoch says which request it answers
            let header = Header { current_epoch: request.current_epoch, ..self.header(l) };
            self.send_with(l, header, &[way], &Message::AuthAck);
        }
    }

    /// Whether a local master votes for this: once an epoch, for replicas of failed masters, not too
    /// often about the same one, and not for old claims. A vote is noted, and leaves after it is saved.
    ///
    /// Redis's masters vote for no epoch below the current one. Here it must only be above those that were
    /// voted in: when a lost host's heirs stand together, news of a later one's epoch may come by somebody else
    /// before an earlier one's request.
    fn grants(&mut self, voter: usize, request: &Request<'_>) -> bool {
        let (now, timeout) = (self.now, self.timeout());
        let (group, local) = (self.group(voter), &self.locals[voter]);
        let epoch = request.current_epoch;
        if !self.me(voter).counts() || epoch <= local.last_vote_epoch {
            return false;
        }
        let candidate = &group[request.candidate];
        let Some(master) = candidate.master.filter(|_| !candidate.is_master()) else { return false };
        if !group[master].failed() && !request.force {
            return false;
        }
        let id = group[master].id;
        if local.voted.get(&id).is_some_and(|at| now < at + timeout * 2) {
            return false;
        }
        let newer = |slot| {
            let owner = group.owner(slot).filter(|_| !group.unclaimed.contains(slot));
            owner.is_some_and(|owner| group[owner].config_epoch > request.config_epoch)
        };
        if request.slots.iter().any(newer) {
            return false;
        }
        tracing::warn!("shard {voter}: failover auth granted to {} for epoch {epoch}", candidate.name());
        let local = &mut self.locals[voter];
        local.last_vote_epoch = epoch;
        local.voted.retain(|_, at| now < *at + timeout * 2);
        local.voted.insert(id, now);
        self.out.want(Want::First);
        true
    }

    /// A sibling's vote, now that it is on disk.
    pub(super) fn take_vote(&mut self, candidate: usize, voter: usize, epoch: u64) {
        let voter = self.me(voter);
        if voter.counts() {
            self.count_vote(candidate, voter.id, epoch);
        }
    }

    /// A vote that came for this epoch's election; later ones than ours can't be meant.
    pub(super) fn count_vote(&mut self, l: usize, by: NodeId, epoch: u64) {
        let election = &mut self.locals[l].election;
        if election.asked_at != 0 && election.epoch == epoch && !election.votes.contains(&by) {
            election.votes.push(by);
            self.reconsider = true;
        }
    }

    fn win(&mut self, l: usize) {
        let epoch = self.locals[l].election.epoch;
        tracing::warn!("shard {l}: failover election won: I'm the new master, configEpoch {epoch}.");
        let me = self.me_mut(l);
        me.config_epoch = me.config_epoch.max(epoch);
        self.take_over(l);
        // the next candidate of this host may stand
        self.locals[l].election = Default::default();
        self.reconsider = true;
    }

    /// A replica takes its master's place and slots. It has got its epoch already.
    pub(super) fn take_over(&mut self, l: usize) {
        let (g, key) = (self.locals[l].group, self.locals[l].key);
        let Some(master) = self.me(l).master.filter(|_| self.me(l).is_replica()) else { return };
        let slots = self.groups[g][master].slots.clone();
        self.groups[g].promote(key);
        self.replicate(l, None);
        self.seize(g, key, &slots);
        self.update_state(g);
        self.out.want(Want::First);
        self.broadcast_pong(l, false);
        self.reset_manual(l);
    }
}
