//! Counters that one shard writes and everyone may read.
//!
//! Each counter has a single writer, so a bump is a plain load and store, never a locked
//! instruction; readers may see it a moment late.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds from any thread.
    pub fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one shard counts. Aligned so that no two shards write one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Metrics {
    pub commands: Counter,
    pub connections: Counter,
    pub clients: Counter,
    pub rejected: Counter,
    pub net_in: Counter,
    pub net_out: Counter,
    pub hits: Counter,
    pub misses: Counter,
    pub expired: Counter,
    pub evicted: Counter,
    pub evicted_clients: Counter,
    pub error_replies: Counter,
    pub forwarded: Counter,
    pub turns: Counter,
    pub keys: [Counter; 16],
    pub volatile: [Counter; 16],
}
