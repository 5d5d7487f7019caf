//! One client without its socket.
//!
//! [`state`] is what is known of it; [`gate`] decides in order whether a command may run at all;
//! [`route`] says where it runs, as a pure function over an immutable view; [`pipeline`] keeps
//! replies in the order of the requests, whatever core answers first; [`multi`] holds what waits for EXEC,
//! [`blocked`] what waits for a key, [`subscriptions`] what it listens to,
//! [`tracking`] what it keeps copies of.

pub mod blocked;
pub mod gate;
pub mod multi;
pub mod pipeline;
pub mod route;
pub mod state;
pub mod subscriptions;
pub mod tracking;

pub use multi::Multi;
pub use pipeline::Pipeline;
pub use state::{Door, Habit, Hold, Mode, ReplyMode, Session, Watched};
pub use subscriptions::Subscriptions;
pub use tracking::Tracking;
