//! Lua scripts and functions, as redis-server 7.0 runs them: Lua 5.1, sandboxed, without a keyspace.
//!
//! An [`Engine`] is one interpreter. It compiles, calls, and turns values into replies and back; what a
//! script asks of the server it asks of the [`World`] that its caller lends it for the time of the call.
//! [`shebang`] reads the first line of scripts and libraries. The libraries that scripts find are
//! [`cjson`], [`cmsgpack`], [`structs`] and [`bits`], told anew from what the C ones do.
//!
//! Lua 5.1 has no tables that can't be changed. What must not be changed stands behind an empty table
//! that looks it up: `sandbox.lua` makes these, and guards the functions that could look behind them.

mod bits;
mod cjson;
mod cmsgpack;
mod engine;
mod functions;
mod raise;
mod random;
mod redis;
mod reply;
mod shebang;
mod structs;
#[cfg(test)]
mod tests;

pub use engine::{Code, Engine, Failure};
pub use functions::{Patience, Registered, is_name};
pub use shebang::{Library, flag, library, script_flags};

use crate::resp::Args;

/// What a script may ask of the server that runs it.
pub trait World {
    /// Executes a command and writes its reply to `out`, an error included; or says why it may not run, in an
    /// error's text.
    fn call(&mut self, args: Args<'_>, out: &mut Vec<u8>) -> Result<(), Vec<u8>>;
    /// The protocol in which replies come to the script, 2 or 3.
    fn protocol(&self) -> u8;
    fn set_protocol(&mut self, version: u8);
    /// Whether what the script changes from here on goes to the log, and to replicas.
    fn set_propagation(&mut self, log: bool, replicas: bool);
    /// Whether the script's user may execute a command; `None` when there is no such command.
    fn may_call(&mut self, args: Args<'_>) -> Option<bool>;
    /// The script replies with an error.
    fn count_error(&mut self, error: &[u8]);
    /// Asked now and then while a script runs: the error with which it is to end, if so.
    fn interrupt(&mut self) -> Option<&'static str>;
}
