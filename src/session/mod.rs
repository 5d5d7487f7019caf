//! One client without its socket.
//!
//! [`state`] is what is known of it; [`gate`] decides in order whether a command may run at all;
//! [`route`] says where it runs, as a pure function over an immutable view; [`pipeline`] keeps
//! replies in the order of the requests, whatever core answers first.

pub mod gate;
pub mod pipeline;
pub mod route;
pub mod state;

pub use pipeline::Pipeline;
pub use state::{Door, Hold, ReplyMode, Session};
