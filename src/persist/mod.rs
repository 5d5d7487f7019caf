//! Values as bytes: DUMP's payloads and RDB files, as redis-server 7.0.15 reads and writes them.
//!
//! - [`dump`] and [`restore`] are a whole value at once; [`Dumping`] and, without the frame of a
//!   payload, [`Writing`] write one in steps of bounded work, so that no value, however large, holds
//!   a shard up. [`Building`] reads one from bytes that come in pieces.
//! - Every type and encoding that 7.0.15 reads is read, those of old files too (ziplists, zipmaps).
//!   What Shoal has no type for is an error that says so.
//! - What is read is never trusted: lengths are checked before they are used, nothing is allocated
//!   that the remaining bytes could not fill, and what would break an encoding's rules (members twice,
//!   integers out of order) is refused, whatever `sanitize-dump-payload` says.
//! - [`aof`]: the append-only file: its records, its manifest, how it is read back and checked.
//! - Everything here is sans-IO: bytes in, bytes out.

pub mod aof;
mod codes;
mod crc64;
mod dump;
mod error;
mod input;
mod lzf;
mod old;
pub mod rdb;
mod read;
mod stream;
mod write;

pub use crc64::crc64;
pub use dump::{Dumping, Restoring, dump, dump_functions, restore, restore_functions};
pub use error::{Error, Stop};
pub use input::Input;
pub use read::Building;
pub use write::{Encoder, Writing};

#[cfg(test)]
mod tests;
