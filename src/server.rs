//! Plans cores, starts shards.
