//! How busy each slot keeps its shard: rates, from what the store has counted.
//!
//! Slots are looked at in stripes, a few of them with each tick, so that no tick is long. What comes of it
//! lies where every shard of the host can read it, for the plan that evens them.

use super::Shard;
use crate::limits::{LOAD_EVERY_MS, LOAD_MEMORY_MS, LOAD_STRIPE, LOAD_STRIPES};
use crate::slot::{SLOTS, Slot};
use crate::store::Load;

/// What was counted when a slot was last looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    ticks: u64,
    commands: u64,
}

/// The rates' memory, of one shard. Empty until the first look.
#[derive(Debug, Default)]
pub(super) struct Loads {
    seen: Vec<Seen>,
    /// When each stripe was last looked at, in ms.
    at: Vec<u64>,
    next: usize,
    /// This thread's CPU time, in microseconds, when the first stripe was last looked at.
    cpu_us: u64,
}

impl Shard {
    /// Looks at the stripes that are due.
    pub(super) fn sample_loads(&mut self) {
        if !self.at.cluster {
            return;
        }
        if self.loads.seen.is_empty() {
            self.loads.seen = vec![Seen::default(); SLOTS];
            self.loads.at = vec![self.now.ms(); SLOTS / LOAD_STRIPE];
        }
        for _ in 0..LOAD_STRIPES {
            let stripe = self.loads.next;
            let passed = self.now.ms().saturating_sub(self.loads.at[stripe]);
            if passed < LOAD_EVERY_MS {
                return;
            }
            self.loads.at[stripe] = self.now.ms();
            self.loads.next = (stripe + 1) % self.loads.at.len();
            if stripe == 0 {
                self.sample_thread(passed);
            }
            let first = stripe * LOAD_STRIPE;
            (first..first + LOAD_STRIPE).for_each(|slot| self.sample_slot(slot as Slot, passed));
        }
    }

    fn sample_slot(&mut self, slot: Slot, passed_ms: u64) {
        // one that is elsewhere at the moment has its counts there
        if self.view.owner_index(slot) != self.view.local_index(self.at.me) || self.is_lent(slot) {
            return;
        }
        let load = self.ks.db(0).load(slot);
        let seen = std::mem::replace(&mut self.loads.seen[slot as usize], seen(load));
        let rates = &self.host.registers.slot_rates()[slot as usize];
        // what is less than before was reset
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let ticks = since(load.ticks, seen.ticks);
        if ticks == 0 && rates.cpu_ns.get() == 0 {
            return;
        }
        let ns = (ticks as f64 * 1000.0 / self.ticks.per_us) as u64;
        rates.cpu_ns.set(blend(rates.cpu_ns.get(), ns, passed_ms));
        let commands = since(load.commands, seen.commands);
        // in thousandths, for few a second count, too
        rates.commands_milli.set(blend(rates.commands_milli.get(), commands * 1000, passed_ms));
    }

    fn sample_thread(&mut self, passed_ms: u64) {
        let m = &self.metrics;
        let cpu_us = m.cpu_user_us.get() + m.cpu_system_us.get();
        let before = std::mem::replace(&mut self.loads.cpu_us, cpu_us);
        if before > 0 {
            m.busy_ns.set(blend(m.busy_ns.get(), cpu_us.saturating_sub(before) * 1000, passed_ms));
        }
    }

    /// A slot has come from a sibling: what it cost there is in its counts already.
    pub(super) fn note_moved(&mut self, slot: Slot) {
        if let Some(at) = self.loads.seen.get_mut(slot as usize) {
            *at = seen(self.ks.db(0).load(slot));
        }
        self.host.registers.slot_rates()[slot as usize].moved_ms.set(self.now.ms());
    }
}

fn seen(load: Load) -> Seen {
    Seen { ticks: load.ticks, commands: load.commands }
}

/// A rate per second, after so much in `passed_ms` more.
fn blend(rate: u64, amount: u64, passed_ms: u64) -> u64 {
    let now = amount as f64 * 1000.0 / passed_ms as f64;
    let weight = passed_ms as f64 / (passed_ms + LOAD_MEMORY_MS) as f64;
    (rate as f64 + (now - rate as f64) * weight) as u64
}

#[cfg(test)]
mod tests {
    use super::blend;

    #[test]
    fn rates_follow_and_fade() {
        let mut rate = 0;
        (0..60).for_each(|_| rate = blend(rate, 1_000_000, 1000));
        assert!((990_000..=1_000_000).contains(&rate), "{rate}");
        (0..5).for_each(|_| rate = blend(rate, 0, 1000));
        assert!((350_000..450_000).contains(&rate), "{rate}");
        (0..200).for_each(|_| rate = blend(rate, 0, 1000));
        assert_eq!(rate, 0);
    }
}
