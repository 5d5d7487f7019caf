//! RDB files: a header, facts about the file, keys by database, a checksum.
//!
//! [`Writer`] fills a buffer that its owner empties, key by key and within a key step by step (and what
//! it writes there, others may put elsewhere: [`Head::put`], [`put_database`] ...);
//! [`Reader`] is fed with bytes as they come and gives back what they say. Version 10 is written, as
//! redis-server 7.0 does; read are all versions up to those of Redis 7.4 and 8, and Valkey 8 and 9,
//! as far as there are types for what is in them.

mod read;
mod write;

pub use read::{Failure, Item, Loaded, Reader};
pub use write::{Head, Writer, put_aux, put_begin, put_database, put_end, put_function};

/// What the file says of how a key was used: one of the two, or nothing, as `maxmemory-policy` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Usage {
    #[default]
    Unknown,
    /// Seconds since the last access.
    Idle(u64),
    /// The logarithmic counter of accesses.
    Frequency(u8),
}

/// The bytes that begin what is not a value's type.
pub(super) mod opcode {
    /// Valkey 9: the state of a slot that is on its way.
    pub const SLOT_IMPORT: u8 = 243;
    /// Redis 8 and Valkey 8: how many keys the next slot has.
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION: u8 = 245;
    /// Of the previews of Redis 7.0.
    pub const FUNCTION_PREVIEW: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQUENCY: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZE: u8 = 251;
    pub const EXPIRE_MS: u8 = 252;
    pub const EXPIRE_S: u8 = 253;
    pub const SELECT: u8 = 254;
    pub const END: u8 = 255;
}

/// Header: one of these words and the version in decimal, nine bytes together.
const MAGIC: &[u8] = b"REDIS";
const MAGIC_VALKEY: &[u8] = b"VALKEY";
const HEADER: usize = 9;
/// The newest versions whose files are read: Redis 8's, and Valkey 9's, which counts on its own.
const NEWEST: u32 = 12;
const NEWEST_VALKEY: u32 = 80;
/// From this version on, a checksum ends the file.
const WITH_CHECKSUM: u32 = 5;

#[cfg(test)]
mod tests;
