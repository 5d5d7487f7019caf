//! CLUSTER BALANCE, and `shard-balance`: the host's shards made equally busy by handoffs.

use super::Shard;
use super::mail::Ticket;
use super::plane::Question;
use crate::cluster::balance::{Plan, SlotCost, plan, rests};
use crate::cluster::plane::Command;
use crate::command::error::{Done, ErrReply, SYNTAX};
use crate::limits::BALANCE_MOVES;
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::slot::{SLOTS, Slot};

const DISABLED: ErrReply = ErrReply::new("ERR This instance has cluster support disabled");

impl Shard {
    /// CLUSTER BALANCE [PLAN | DRYRUN | APPLY]
    pub(super) fn balance(&mut self, client: u32, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        if !self.at.cluster {
            return Err(DISABLED);
        }
        let shards = self.balanced_shards();
        let plan = plan(shards.len(), &self.slot_costs(&shards), BALANCE_MOVES);
        let mut reply = Reply::new(out, false);
        if args.len() == 2 || args.is(2, "plan") {
            self.write_moves(&plan, &shards, &mut reply);
        } else if args.is(2, "dryrun") {
            self.write_costs(&plan, &shards, &mut reply);
        } else if !args.is(2, "apply") {
            return Err(SYNTAX);
        } else if plan.moves.is_empty() {
            reply.ok();
        } else {
            let command = self.handoff_command(&plan, &shards);
            self.put_question(client, command);
        }
        Ok(())
    }

    /// The shards of this host that are masters of this shard's cluster, by number.
    fn balanced_shards(&self) -> Vec<usize> {
        let masters = self.view.nodes.iter().filter(|node| node.is_master() && !node.failed());
        let mut shards: Vec<usize> = masters.filter_map(|node| node.local).map(usize::from).collect();
        shards.sort_unstable();
        shards
    }

    /// What each slot of `shards` costs: its commands' own time, and for each of them what a shard spends
    /// around a command, on sockets above all.
    fn slot_costs(&self, shards: &[usize]) -> Vec<SlotCost> {
        let rates = self.host.registers.slot_rates();
        let owned = (0..SLOTS as Slot).filter_map(|slot| {
            let owner = self.view.local_owner(slot)? as usize;
            Some((slot, shards.binary_search(&owner).ok()?))
        });
        let owned: Vec<(Slot, usize)> = owned.collect();
        let cpu: u64 = owned.iter().map(|(slot, _)| rates[*slot as usize].cpu_ns.get()).sum();
        let commands: u64 = owned.iter().map(|(slot, _)| rates[*slot as usize].commands_milli.get()).sum();
        let busy: u64 = shards.iter().map(|shard| self.host.metrics[*shard].busy_ns.get()).sum();
        let around = if commands == 0 { 0.0 } else { busy.saturating_sub(cpu) as f64 / commands as f64 };
        let cost = |(slot, shard): (Slot, usize)| {
            let rate = &rates[slot as usize];
            let cost = rate.cpu_ns.get() + (rate.commands_milli.get() as f64 * around) as u64;
            SlotCost { slot, shard, cost, rests: rests(rate.moved_ms.get(), self.now.ms()) }
        };
        owned.into_iter().map(cost).collect()
    }

    /// The moves as words for the plane.
    fn handoff_command(&self, plan: &Plan, shards: &[usize]) -> Command {
        let mut words: Vec<Vec<u8>> = vec![b"handoff".to_vec()];
        for (to, shard) in shards.iter().enumerate() {
            let slots = plan.moves.iter().filter(|m| m.to == to);
            let before = words.len();
            words.extend(slots.map(|m| m.slot.to_string().into_bytes()));
            if words.len() > before {
                words.push(self.view.local_node(*shard).id.to_vec());
            }
        }
        Command { words: OwnedArgs::new(words), front: true, ..Command::default() }
    }

    /// Each move: the slot, and the nodes that it leaves and goes to.
    fn write_moves(&self, plan: &Plan, shards: &[usize], out: &mut Reply<'_>) {
        out.array(plan.moves.len());
        for m in &plan.moves {
            out.array(3);
            out.int(m.slot as i64);
            out.bulk(&self.view.local_node(shards[m.from]).id);
            out.bulk(&self.view.local_node(shards[m.to]).id);
        }
    }

    /// Each shard's node, and the microseconds of a second that it spends now and would spend.
    fn write_costs(&self, plan: &Plan, shards: &[usize], out: &mut Reply<'_>) {
        out.array(shards.len());
        for (i, shard) in shards.iter().enumerate() {
            out.array(3);
            out.bulk(&self.view.local_node(*shard).id);
            out.int((plan.before[i] / 1000) as i64);
            out.int((plan.after[i] / 1000) as i64);
        }
    }

    /// `shard-balance`: now and then the first of the shards looks whether something is to do.
    pub(super) fn balance_if_due(&mut self) {
        if !self.conf.shard_balance || !self.at.cluster || self.at.shards == 1 {
            return;
        }
        let shards = self.balanced_shards();
        if shards.first() != Some(&self.at.me) || !self.balancer.is_due(self.now.ms()) {
            return;
        }
        // slots would wait until they are written, and their clients with them
        if self.host.metrics.iter().any(|m| m.saving.began.get() != 0) {
            return;
        }
        if let Some(plan) = self.balancer.look(shards.len(), &self.slot_costs(&shards)) {
            let busy = |ns: &[u64]| ns.iter().map(|ns| ns / 1000).collect::<Vec<_>>();
            let (before, after) = (busy(&plan.before), busy(&plan.after));
            tracing::info!("shard-balance: {} slots move, {before:?} us/s -> {after:?}", plan.moves.len());
            let command = self.handoff_command(&plan, &shards);
            self.plane.questions.push(Question { ticket: Ticket::NOBODY, command });
        }
    }
}
