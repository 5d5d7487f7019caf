//! The host's cluster state, without I/O.
//!
//! - [`balance`]: which slots should move between the shards of this host.
//! - [`view`]: what the plane publishes and everyone else reads.
//! - [`slots`]: sets of slots.
//! - [`handoff`]: slots that pass between shards of this host.
//! - [`names`]: what names and addresses may look like.
//! - [`conf`]: what nodes.conf says.
//! - [`plane`]: the state machine.
//! - [`wire`]: packets of the cluster bus as bytes.

pub mod balance;
pub mod conf;
pub mod handoff;
pub mod names;
pub mod plane;
pub mod slots;
pub mod view;
pub mod wire;
