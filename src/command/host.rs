//! What all shards of a host share and commands may read.

use crate::config::Live;
use crate::metrics::Metrics;
use std::sync::Arc;

/// One host: facts that do not change while it runs, and the shared registers.
pub struct Host {
    pub live: Arc<Live>,
    /// One a shard, in shard order.
    pub metrics: Vec<Arc<Metrics>>,
    /// 40 hex digits, new at each start.
    pub run_id: String,
    pub pid: u32,
    /// Unix microseconds at start.
    pub started_us: u64,
    pub executable: String,
    /// Path of the configuration file, empty without one.
    pub config_file: String,
    /// The shared client port; the node's own when there is one shard without a front door.
    pub port: u16,
    /// `standalone` or `cluster`.
    pub cluster: bool,
}
