//! Configuration: one table of every directive of redis.conf and of Shoal's own.
//!
//! [`table`] has one row a directive; [`Config`] has one typed field a row. [`parse`] reads files
//! and the command line's overrides, [`args`] the command line itself, [`access`] is CONFIG GET
//! and CONFIG SET, [`rewrite`] is CONFIG REWRITE, and [`Live`] shares one `Config` between cores.
//! Nothing here touches a file, a socket or a clock: texts come in, texts go out. Bytes that are
//! not UTF-8 are kept in secrets and refused elsewhere.

pub mod access;
pub mod args;
mod glob;
mod live;
pub mod parse;
pub mod rewrite;
pub mod split;
pub mod table;
pub mod types;
pub mod value;

#[cfg(test)]
mod tests;

pub use access::{Caller, ConfigError};
pub use args::{Invocation, from_args};
pub use live::Live;
pub use parse::{Loaded, Notice, ParseError, Source, parse};
pub use rewrite::rewrite;
pub use table::{Config, Directive, Stance, TABLE, lookup};

use types::Origin;

/// What this process is to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// A whole cluster of its own at once: slots split over the shards.
    Host,
    /// Classic cluster nodes, empty until slots are assigned.
    Cluster,
    /// One server without slots, as redis-server is.
    Standalone,
}

/// A `rename-command` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    pub from: Vec<u8>,
    /// Empty: the command goes away.
    pub to: Vec<u8>,
    pub at: Origin,
}

impl Config {
    /// How many shards to run on a host with `cores` usable cores.
    pub fn shard_count(&self, cores: usize) -> usize {
        match (self.shards, self.one_shard) {
            (0, true) => 1,
            (0, false) => cores.max(1),
            (n, _) => n as usize,
        }
    }
}
