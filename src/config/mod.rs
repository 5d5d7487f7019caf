//! Configuration: one table of every directive.

/// Placeholder of the shape that other rooms read.
pub struct Config;
/// Shared between the shards.
pub struct Live;
