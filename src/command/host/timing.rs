//! How long commands take, from the histograms in `metrics`.

use crate::metrics::{BUCKETS, Metrics, bucket_end};
use std::sync::Arc;

/// How long one command took, over several shards.
pub struct Timing {
    pub calls: u64,
    /// Upper bound in nanoseconds, and how many calls were not longer than that but longer than the
    /// bound before.
    pub buckets: Vec<(u64, u64)>,
}

impl Timing {
    pub fn of(metrics: &[Arc<Metrics>], id: u16, ticks_per_us: f64) -> Timing {
        let mut buckets = Vec::new();
        for i in 0..BUCKETS {
            let count: u64 = metrics.iter().map(|m| m.command(id).latency[i].get()).sum();
            if count > 0 {
                buckets.push(((bucket_end(i) as f64 * 1000.0 / ticks_per_us) as u64, count));
            }
        }
        Timing { calls: buckets.iter().map(|b| b.1).sum(), buckets }
    }

    /// Nanoseconds that `percent` of the calls did not exceed.
    pub fn percentile(&self, percent: f64) -> u64 {
        let rank = ((percent / 100.0 * self.calls as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for &(bound, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return bound;
            }
        }
        0
    }
}
