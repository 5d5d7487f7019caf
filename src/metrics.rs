//! Counters that one shard writes and everyone may read.
