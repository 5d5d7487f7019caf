//! Keys on their way to another host: what is said to the target, sans-IO.
//!
//! [`Talk`] is one MIGRATE's conversation: AUTH, SELECT and a RESTORE for each key go out without
//! waiting, the replies come back in their order and tell which keys have arrived. Values are opaque
//! bytes here. Who carries the bytes, and what becomes of the keys, is for `shard/moving`.

mod talk;

pub use talk::{Talk, Terms};
