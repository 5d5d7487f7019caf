//! Which slots should change hands so that a host's shards have equally much to do. Pure: loads in, moves
//! out.

use crate::limits;
use crate::slot::Slot;

/// What a slot costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotCost {
    pub slot: Slot,
    /// Its place in [`Plan::before`].
    pub shard: usize,
    /// Nanoseconds a second.
    pub cost: u64,
    /// It came here just now, and stays for a while.
    pub rests: bool,
}

/// What to do, and what comes of it: costs by shard before and after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub moves: Vec<Give>,
    pub before: Vec<u64>,
    pub after: Vec<u64>,
}

/// A slot that changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Give {
    pub slot: Slot,
    pub from: usize,
    pub to: usize,
}

/// The busiest shard's cost over the mean; 1 when nothing is to do.
pub fn unevenness(costs: &[u64]) -> f64 {
    let sum: u64 = costs.iter().sum();
    let max = costs.iter().copied().max().unwrap_or(0);
    if sum == 0 { 1.0 } else { max as f64 * costs.len() as f64 / sum as f64 }
}

/// A plan for `shards` shards, of `most` moves at most.
///
/// Again and again the busiest shard gives the idlest the most expensive slot that is no more than half
/// of the difference between them, so that each move helps and few do. A slot that alone is more than a
/// shard's share stays where it is, and its shard gives the others away.
pub fn plan(shards: usize, slots: &[SlotCost], most: usize) -> Plan {
    let mut loads = vec![0u64; shards];
    slots.iter().for_each(|s| loads[s.shard] += s.cost);
    let before = loads.clone();
    let share = loads.iter().sum::<u64>() / shards.max(1) as u64;
    // by cost, cheapest first
    let mut movable: Vec<Vec<SlotCost>> = vec![Vec::new(); shards];
    let may_go = |s: &&SlotCost| !s.rests && s.cost > 0 && s.cost <= share;
    slots.iter().filter(may_go).for_each(|s| movable[s.shard].push(*s));
    movable.iter_mut().for_each(|of| of.sort_unstable_by_key(|s| (s.cost, s.slot)));
    let mut moves = Vec::new();
    // those that have nothing more to give
    let mut done = vec![false; shards];
    while moves.len() < most {
        let open = || (0..shards).filter(|s| !done[*s]);
        let Some(from) = open().max_by_key(|s| (loads[*s], std::cmp::Reverse(*s))) else { break };
        let to = (0..shards).min_by_key(|s| (loads[*s], *s)).unwrap_or(from);
        if loads[from] <= share + share / limits::BALANCE_FINE {
            break;
        }
        let at = movable[from].partition_point(|s| s.cost <= (loads[from] - loads[to]) / 2);
        if at == 0 {
            done[from] = true;
            continue;
        }
        let slot = movable[from].remove(at - 1);
        loads[from] -= slot.cost;
        loads[to] += slot.cost;
        moves.push(Give { slot: slot.slot, from, to });
    }
    Plan { moves, before, after: loads }
}

/// When to balance without being asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Balancer {
    last_ms: u64,
}

impl Balancer {
    /// Whether it is time to look.
    pub fn is_due(&mut self, now_ms: u64) -> bool {
        let due = now_ms.saturating_sub(self.last_ms) >= limits::BALANCE_EVERY_MS;
        if due {
            self.last_ms = now_ms;
        }
        due
    }

    /// What to do about these costs: nothing unless it is worth it.
    pub fn look(&self, shards: usize, slots: &[SlotCost]) -> Option<Plan> {
        let plan = plan(shards, slots, limits::BALANCE_MOVES);
        let busiest = plan.before.iter().copied().max().unwrap_or(0);
        let gain = unevenness(&plan.before) - unevenness(&plan.after);
        let worth = busiest >= limits::BALANCE_LEAST_NS && gain >= limits::BALANCE_GAIN;
        (worth && !plan.moves.is_empty()).then_some(plan)
    }
}

/// Whether a slot that moved at `moved_ms` (0: never) is to stay where it is.
pub fn rests(moved_ms: u64, now_ms: u64) -> bool {
    moved_ms > 0 && now_ms.saturating_sub(moved_ms) < limits::BALANCE_REST_MS
}

#[cfg(test)]
mod tests;
