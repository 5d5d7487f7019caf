//! What a shard tells of its replication.

/// One replica.
#[derive(Clone, Debug)]
pub struct ReplicaReport {
    pub address: String,
    pub port: i64,
    pub state: &'static str,
    pub acked: u64,
    /// When it was last heard of, in unix ms.
    pub heard_ms: u64,
}

/// The primary that a shard copies.
#[derive(Clone, Debug)]
pub struct PrimaryReport {
    pub host: String,
    pub port: u16,
    pub up: bool,
    /// When it was last heard of, and since when it is gone, in unix ms; 0 never.
    pub heard_ms: u64,
    pub down_since_ms: u64,
    /// Bytes of a payload that came, while one comes.
    pub syncing: Option<u64>,
    /// Bytes of the stream that came, executed or not.
    pub read: u64,
}

/// A shard's replication, as of the end of its last turn.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub id: String,
    pub second: Option<(String, u64)>,
    pub offset: u64,
    /// Offset of the backlog's first byte, and its length.
    pub backlog: Option<(u64, u64)>,
    pub primary: Option<PrimaryReport>,
    pub replicas: Vec<ReplicaReport>,
    /// Replicas that are well, as `min-replicas-max-lag` has it.
    pub good: usize,
    pub failover: &'static str,
    /// Full synchronizations, and requests to go on that were granted and refused.
    pub syncs: [u64; 3],
}
