//! The store: one keyspace a shard, one table a slot.

use crate::slot::{Slot, key_slot};

/// A key with its slot and hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub slot: Slot,
    pub hash: u64,
}

/// Time and access policy of one turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    pub now_ms: u64,
}

/// Hashes keys.
pub struct Hasher;

impl Hasher {
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, slot: key_slot(bytes), hash: 0 }
    }
}

/// All databases of one shard.
pub struct Keyspace {
    hasher: Hasher,
}

impl Keyspace {
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }
}
