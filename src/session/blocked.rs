//! A client that waits for a key.

use super::Watched;
use crate::command::spec::Spec;
use crate::resp::args::OwnedArgs;

/// What a client waits for, and the command that it gave.
pub struct Blocked {
    pub spec: &'static Spec,
    pub args: OwnedArgs,
    pub keys: Vec<Watched>,
    /// Unix time in milliseconds; 0: forever.
    pub until_ms: u64,
    /// It borrows what its command needs, to try again.
    pub woken: bool,
}

impl Blocked {
    pub fn memory(&self) -> usize {
        let keys: usize = self.keys.iter().map(|w| size_of::<Watched>() + w.key.len()).sum();
        size_of::<Blocked>() + self.args.bytes() + keys
    }
}
