//! The host's cluster state, without I/O.
//!
//! [`view`] is what the plane publishes and everyone else reads.

pub mod view;
