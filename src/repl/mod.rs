//! Replication as redis-server speaks it (PSYNC2), sans-IO; what is replicated is opaque bytes here.
//!
//! A node has one [`History`]: the stream that its data comes from, by name, and how far it is. The last
//! bytes of it lie in a [`Backlog`], once, whoever reads them: replicas, each from where it is, and later
//! those that come back.
//!
//! - [`primary`] is the side that is copied: who its replicas are, what each of them is to get next, what
//!   they have acknowledged.
//! - [`upstream`] is the side that copies: the conversation with its primary up to the stream, at any
//!   split of the bytes. [`transfer`] finds the payload of a full synchronization in them.
//! - [`conf`] reads REPLCONF; [`position`] is what files tell of a stream.
//!
//! Who carries the bytes, makes the payload and executes the stream is for `shard/replication`.

pub mod backlog;
pub mod conf;
pub mod history;
pub mod position;
pub mod primary;
pub mod transfer;
pub mod upstream;

#[cfg(test)]
mod tests;

pub use backlog::Backlog;
pub use history::{History, Id, Refusal};
pub use position::Position;
pub use primary::Primary;
pub use upstream::Upstream;
