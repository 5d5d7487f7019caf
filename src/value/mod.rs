//! Values: what a key can hold. Everything here is `Send`, owns its memory, and replies nothing.
//!
//! Small collections are flat bytes in the very format that DUMP and RDB carry ([`listpack`],
//! [`intset`]); beyond [`Limits`] they become a [`dict`]. A collection never shrinks back to its
//! flat form, as in Redis.

pub mod dict;
pub mod hash;
pub mod intset;
pub mod list;
pub mod listpack;
pub mod set;
pub mod stream;
mod text;
pub mod zset;

pub use dict::set_hash_seed;
pub use hash::Hash;
pub use list::List;
pub use listpack::{Elem, Listpack};
pub use set::Set;
pub use stream::Stream;
pub use text::Text;
pub use zset::ZSet;

use crate::util::num::parse_i64;

/// A key's value.
#[derive(Clone)]
pub enum Object {
    Str(Text),
    List(List),
    Hash(Hash),
    Set(Set),
    ZSet(ZSet),
    Stream(Box<Stream>),
}

/// A value, in place. A string is an `Int` or a `Str`, however long; never an `Obj`.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    Int(i64),
    Str(&'a [u8]),
    Obj(&'a Object),
}

impl std::fmt::Debug for Object {
    /// Its type and size: values may be large.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} bytes", self.type_name(), self.mem())
    }
}

/// Up to where collections stay flat: the directives of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub hash_max_listpack_entries: usize,
    pub hash_max_listpack_value: usize,
    /// Negative: -1 to -5 are nodes of 4 to 64 KiB. Otherwise elements of a node.
    pub list_max_listpack_size: i32,
    pub set_max_intset_entries: usize,
    pub zset_max_listpack_entries: usize,
    pub zset_max_listpack_value: usize,
    /// Bytes and entries of a stream's node; 0 is no limit.
    pub stream_node_max_bytes: usize,
    pub stream_node_max_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            list_max_listpack_size: -2,
            set_max_intset_entries: 512,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
        }
    }
}

/// Longest string that Redis keeps in one allocation with its header.
const EMBSTR_MAX: usize = 44;

impl Object {
    /// As TYPE calls it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Object::Str(_) => "string",
            Object::List(_) => "list",
            Object::Hash(_) => "hash",
            Object::Set(_) => "set",
            Object::ZSet(_) => "zset",
            Object::Stream(_) => "stream",
        }
    }

    /// As OBJECT ENCODING calls it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Object::Str(text) => string_encoding(text),
            Object::List(list) => list.encoding(),
            Object::Hash(hash) => hash.encoding(),
            Object::Set(set) => set.encoding(),
            Object::ZSet(zset) => zset.encoding(),
            Object::Stream(stream) => stream.encoding(),
        }
    }

    /// Roughly the number of allocations, in constant time: whether to free it in the background.
    pub fn free_effort(&self) -> usize {
        match self {
            Object::Str(_) => 1,
            Object::List(list) => list.free_effort(),
            Object::Hash(hash) => hash.free_effort(),
            Object::Set(set) => set.free_effort(),
            Object::ZSet(zset) => zset.free_effort(),
            Object::Stream(stream) => stream.free_effort(),
        }
    }

    /// Bytes on the heap, without the object itself. Kept up to date by every change, so that
    /// there is nothing to sample: constant time but for lists, where it looks at each node, and
    /// streams, where it looks at each group.
    pub fn mem(&self) -> usize {
        match self {
            Object::Str(text) => alloc_size(text.heap()),
            Object::List(list) => list.mem(),
            Object::Hash(hash) => hash.mem(),
            Object::Set(set) => set.mem(),
            Object::ZSet(zset) => zset.mem(),
            Object::Stream(stream) => stream.mem(),
        }
    }
}

/// As OBJECT ENCODING calls a string that was just set: one that was appended to is `raw` in Redis
/// whatever its length.
pub fn string_encoding(text: &[u8]) -> &'static str {
    if parse_i64(text).is_some() {
        "int"
    } else if text.len() <= EMBSTR_MAX {
        "embstr"
    } else {
        "raw"
    }
}

/// What an allocation of `bytes` really takes: steps of 16 up to 128, then four to a doubling, as
/// mimalloc and jemalloc have it.
pub(crate) fn alloc_size(bytes: usize) -> usize {
    match bytes {
        0..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(bytes.next_power_of_two() / 8),
    }
}

/// Roughly what a `BTreeMap` or `BTreeSet` of `len` such items takes: its nodes have places for 11, and
/// are two thirds full, as a rule.
pub(crate) fn tree_size<T>(len: usize) -> usize {
    const PLACES: usize = 11;
    const FILLED: usize = 7;
    const LINKS: usize = 16;
    len.div_ceil(FILLED) * alloc_size(PLACES * size_of::<T>() + LINKS)
}

/// Scans a dict as Redis does for SCAN's COUNT: whole chains until `count` items were visited, and
/// over no more than ten times as many chains. Returns the next cursor.
pub(crate) fn scan_dict<T: dict::Item>(
    dict: &dict::Dict<T>,
    cursor: u64,
    count: usize,
    mut visit: impl FnMut(&T, u8),
) -> u64 {
    let mut cursor = cursor;
    let mut visited = 0;
    let mut chains = count.saturating_mul(10);
    loop {
        cursor = dict.scan(cursor, |item, note| {
            visited += 1;
            visit(item, note);
        });
        chains = chains.saturating_sub(1);
        if cursor == 0 || chains == 0 || visited >= count {
            return cursor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_encoded_as_redis_says() {
        for (text, name) in [
            (b"".as_slice(), "embstr"),
            (b"12", "int"),
            (b"-9223372036854775808", "int"),
            (b"9223372036854775808", "embstr"),
            (b"012", "embstr"),
            (&[b'x'; 44], "embstr"),
            (&[b'x'; 45], "raw"),
        ] {
            assert_eq!(Object::Str(text.to_vec().into()).encoding(), name, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_allocator_classes() {
        for (bytes, size) in [
            (0, 0),
            (1, 16),
            (16, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (256, 256),
            (257, 320),
            (8179, 8192),
        ] {
            assert_eq!(alloc_size(bytes), size, "{bytes}");
        }
    }

    #[test]
    fn values_are_small_and_may_change_cores() {
        fn send<T: Send>() {}
        send::<Object>();
        assert!(size_of::<Hash>() <= 24 && size_of::<Set>() <= 24 && size_of::<List>() <= 24);
    }
}
