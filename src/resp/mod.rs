//! The Redis protocol, without I/O.
//!
//! [`parse`] finds commands in bytes that arrived, in place; [`args`] is how a command sees its
//! arguments; [`reply`] writes RESP2 and RESP3 into an output buffer.

pub mod args;
pub mod parse;
pub mod reply;

pub use args::{Args, Span};
pub use reply::Reply;
