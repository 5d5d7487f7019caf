//! The append-only file of redis-server 7.0, sans-IO.
//!
//! A set of files is a *base* (a snapshot, as RDB or as commands), then *incr* files, each a stream of
//! commands since the one before; [`manifest`] names them. [`encode`] writes commands and rebuilds
//! values as commands, [`restate`] large ones step by step; [`reader`] finds records in what is read
//! back; [`slots`] are our own annotations, which redis-server skips as it skips any line that begins
//! with `#`; [`check`] is redis-check-aof.

pub mod check;
pub mod encode;
pub mod manifest;
pub mod reader;
pub mod restate;
pub mod slots;
pub mod stream;
