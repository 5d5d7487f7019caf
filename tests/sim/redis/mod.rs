//! A node that keeps Redis's rules: a second, small telling of redis-server 7.0's cluster.c.
//!
//! It speaks the wire as the plane does and shares nothing else with it: one node, a link to every
//! other, a look at all of them ten times a second.
//!
//! - [`node`]: what it knows, and its timers.
//! - [`packets`]: what packets do to it.
//! - [`claims`]: slots, epochs, failures.
//! - [`votes`]: elections, on both sides.
//! - [`serve`]: its clients' commands.

mod claims;
mod node;
mod packets;
mod serve;
mod votes;

pub use node::RedisNode;
