//! What a client keeps copies of, and how it is told that they are out of date.

use crate::command::host::Name;
use std::collections::BTreeSet;

/// CLIENT TRACKING ON: there is one as long as that holds.
#[derive(Debug, Default)]
pub struct Tracking {
    /// The client that is told in its place, by its id; 0 is itself.
    pub redirect: u64,
    /// That one was gone when it was to be told.
    pub broken: bool,
    /// It is told of all keys with these prefixes, read or not.
    pub broadcast: bool,
    pub prefixes: BTreeSet<Name>,
    /// Only what it reads behind CLIENT CACHING YES is remembered, or all but what it reads behind CLIENT
    /// CACHING NO.
    pub opt_in: bool,
    pub opt_out: bool,
    /// CLIENT CACHING was said, for the next command.
    pub caching: bool,
    /// It is not told of what it has changed itself.
    pub no_loop: bool,
}

impl Tracking {
    /// Whether what the next command reads is to be remembered.
    pub fn remembers(&self) -> bool {
        match self.caching {
            _ if self.broadcast => false,
            true => !self.opt_out,
            false => !self.opt_in,
        }
    }
}
