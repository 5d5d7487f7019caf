//! Users, and what they may do: redis-server's ACL without its commands.
//!
//! A [`User`] is a value: some passwords, and [`Selector`]s, each of which allows commands, keys and channels.
//! [`rules`] changes one by the words of ACL SETUSER, [`describe`] tells those words again, [`file`] reads and
//! writes many. [`Users`] is all of a host's, [`Register`] shares them between its shards: they are replaced
//! whole, and a session holds on to the user that it had until its shard takes the new ones up. [`log`] keeps
//! what was denied.
//!
//! Commands are known here by the rows of a [`Catalog`], by which rules name them. Nothing here knows the
//! command table, or where a command has its keys; whether a user may run a command is asked of
//! [`may`](crate::command::acl_cmd::may).

pub mod describe;
pub mod file;
pub mod log;
pub mod rules;
mod selector;
#[cfg(test)]
mod tests;
mod user;
mod users;

pub use log::{Context, Log, Reason};
pub use rules::{Terms, Wrong};
pub use selector::{Access, Selector};
pub use user::User;
pub use users::{Register, Users};

use super::spec::Spec;

/// The commands that there are, whatever a configuration calls them.
pub struct Catalog {
    /// In the order of their ids; subcommands stand with their containers.
    pub commands: &'static [Spec],
    /// By full name, in any letter case: `get`, `config|get`.
    pub find: fn(&[u8]) -> Option<&'static Spec>,
}

impl Catalog {
    /// All rows, each container before its subcommands.
    pub fn rows(&self) -> impl Iterator<Item = &'static Spec> {
        self.commands.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subs))
    }
}

/// Up to a NUL: what Redis compares and shows as a C string.
fn c_string(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Whether a name or a pattern could not stand in a line of a file.
pub fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, 0 | b' ' | b'\t'..=b'\r'))
}
