//! Events that took longer than `latency-monitor-threshold`, as LATENCY shows them.

use std::collections::{BTreeMap, VecDeque};

/// Spikes that are kept of one event.
const SAMPLES: usize = 160;

/// One event's spikes.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Unix seconds and milliseconds, the oldest first; one a second, the worst of it.
    pub samples: VecDeque<(u64, u64)>,
    /// The worst since the last reset, in milliseconds.
    pub max: u64,
}

impl Series {
    /// A spike of `ms` milliseconds at unix second `second`.
    pub fn add(&mut self, second: u64, ms: u64) {
        self.max = self.max.max(ms);
        match self.samples.iter_mut().find(|(time, _)| *time == second) {
            Some((_, worst)) => *worst = ms.max(*worst),
            None => {
                if self.samples.len() == SAMPLES {
                    self.samples.pop_front();
                }
                // shards are merged, whose clocks may differ by a turn
                let at = self.samples.partition_point(|(time, _)| *time < second);
                self.samples.insert(at, (second, ms));
            }
        }
    }
}

/// All events of one shard.
#[derive(Debug, Default)]
pub struct Spikes(BTreeMap<&'static str, Series>);

impl Spikes {
    /// `event` took `ms` milliseconds, at unix second `second`.
    pub fn add(&mut self, event: &'static str, second: u64, ms: u64) {
        self.0.entry(event).or_default().add(second, ms);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Series)> {
        self.0.iter().map(|(event, series)| (*event, series))
    }

    pub fn forget(&mut self, events: &[&str]) {
        self.0.retain(|event, _| !events.contains(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_counts_once_and_old_ones_go() {
        let mut series = Series::default();
        (0..200).for_each(|second| series.add(second, 200 - second));
        assert_eq!((series.samples.len(), series.samples[0], series.max), (SAMPLES, (40, 160), 200));
    }
}
