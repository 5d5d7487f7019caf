//! Shoal: a Redis-Cluster-compatible in-memory data store in which every core is a cluster master.
//!
//! This file is the map. Floors are numbered; a file imports lower floors and its own folder,
//! never upwards or sideways. `tests/tidy.rs` owns that rule and fails when it is broken.
//! Everything below [`net`] is synchronous, takes time and randomness as arguments, and touches
//! no socket, file, clock, channel or async fn.

// [0] words that everyone may use
pub mod limits;
pub mod metrics;
pub mod slot;
pub mod util;

// [1] data without behaviour towards the outside
pub mod config;
pub mod resp;
pub mod value;

// [2] state
pub mod cluster;
pub mod migrate;
pub mod persist;
pub mod repl;
pub mod script;
pub mod store;

// [3] commands: (ctx, args) -> reply + effects
pub mod command;

// [4] one client without its socket
pub mod session;

// [5] one core, synchronous
pub mod shard;

// [6] the only home of sockets, rings, files and clocks
pub mod net;

// [7] planning and joining
pub mod server;
