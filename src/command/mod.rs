//! Commands: `(ctx, args)` in, a reply and effects out.
//!
//! [`spec`] says what a row of the table is, [`table`] is the table, [`ctx`] is all that a handler
//! may see and touch. One file a family; families never import each other; what two of them need
//! stands in [`ctx`], [`collection`], [`text`], [`sampling`] and [`rdb`], or lower.

pub mod acl;
pub mod acl_cmd;
pub mod bitmap;
pub mod blocking;
pub mod cluster_cmd;
pub mod collection;
pub mod config_cmd;
pub mod connection;
pub mod ctx;
pub mod debug;
pub mod error;
pub mod function;
pub mod geo;
pub mod hash;
pub mod help;
pub mod host;
pub mod hyperloglog;
pub mod info;
pub mod introspect;
pub mod keys;
pub mod latency;
pub mod list;
pub mod memory;
pub mod migrate;
pub mod module;
pub mod pubsub;
pub mod rdb;
pub mod sampling;
pub mod save;
pub mod scripting;
pub mod server;
pub mod set;
pub mod slot_stats;
pub mod slowlog;
pub mod sort;
pub mod spec;
pub mod stream;
pub mod string;
pub mod table;
#[cfg(test)]
pub mod testing;
pub mod text;
pub mod zset;
