//! Where the host's memory is.

use super::Host;
use crate::limits::STARTUP_COUNTED;
use crate::metrics::{self, Counter, Metrics};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes.
pub struct Memory {
    /// What counts: as much as redis-server takes at its start, and all that was allocated since. `maxmemory` is
    /// about this.
    pub used: u64,
    pub peak: u64,
    pub rss: u64,
    /// What of it the host had before it served anybody.
    pub startup: u64,
    /// What it had besides, and does not count: its buffers, and the directories of empty slots, most of whose
    /// pages are not even touched.
    pub base: u64,
    pub clients: u64,
    /// What is kept of shards' streams, and how much of it only for replicas that have not got it.
    pub stream: u64,
    pub stream_owed: u64,
    /// All that is not data.
    pub overhead: u64,
    pub dataset: u64,
    pub keys: u64,
}

impl Memory {
    /// The whole host's: memory isn't divided between its shards. Shard `me` has `keys` keys.
    pub fn of(host: &Host, me: usize, keys: usize) -> Memory {
        let all = &host.metrics;
        let total = metrics::used_memory() as u64;
        let clients: u64 = all.iter().map(|m| m.client_bytes.get()).sum();
        let base = host.registers.process.base_memory.load(Relaxed).min(total);
        let used = total - base;
        let startup = if base > 0 { used.min(STARTUP_COUNTED) } else { 0 };
        let stream: u64 = all.iter().map(|m| m.stream_bytes.get()).sum();
        let overhead = (startup + clients + stream).min(used);
        let of_shard = |(i, m): (usize, &Arc<Metrics>)| match i == me {
            true => keys as u64,
            false => m.keys.iter().map(Counter::get).sum(),
        };
        Memory {
            used,
            peak: (metrics::peak_memory() as u64).saturating_sub(base).max(used),
            rss: host.registers.process.rss.load(Relaxed),
            startup,
            base,
            clients,
            stream,
            stream_owed: host.stream_owed(host.live.snapshot().repl_backlog_size),
            overhead,
            dataset: used - overhead,
            keys: all.iter().enumerate().map(of_shard).sum(),
        }
    }

    /// The dataset as a share of what was used since the start, in percent.
    pub fn dataset_percent(&self) -> f64 {
        ratio(self.dataset, self.used - self.startup) * 100.0
    }

    pub fn allocated(&self) -> u64 {
        self.base + self.used
    }

    pub fn peak_percent(&self) -> f64 {
        ratio(self.used, self.peak) * 100.0
    }

    /// Resident bytes for each byte allocated.
    pub fn fragmentation(&self) -> f64 {
        ratio(self.rss, self.allocated())
    }

    pub fn fragmentation_bytes(&self) -> i64 {
        self.rss as i64 - self.allocated() as i64
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
