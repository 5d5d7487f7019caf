//! The store: one keyspace a shard, one table a slot.
