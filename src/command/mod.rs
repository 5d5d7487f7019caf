//! Commands: `(ctx, args)` in, a reply and effects out.
//!
//! [`spec`] says what a row of the table is, [`table`] is the table, [`ctx`] is all that a handler
//! may see and touch. One file a family; families never import each other; what two of them need
//! stands in [`ctx`] or lower.

pub mod ctx;
pub mod error;
pub mod host;
pub mod spec;
