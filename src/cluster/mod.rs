//! The host's cluster state, without I/O.
//!
//! - [`view`]: what the plane publishes and everyone else reads.
//! - [`slots`]: sets of slots.
//! - [`names`]: what names and addresses may look like.
//! - [`conf`]: what nodes.conf says.
//! - [`plane`]: the state machine.
//! - [`wire`]: packets of the cluster bus as bytes.

pub mod conf;
pub mod names;
pub mod plane;
pub mod slots;
pub mod view;
pub mod wire;
