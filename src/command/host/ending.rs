//! A SHUTDOWN that was asked for: the host's, whichever shard heard of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether the host is to end.
#[derive(Debug, Default)]
pub struct Ending(Mutex<State>);

/// How the host is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Data is to be saved first.
    pub save: bool,
    /// The host ends even if that fails.
    pub force: bool,
}

#[derive(Debug, Default)]
struct State {
    asked: Option<Asked>,
    aborts: u64,
}

impl Ending {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// SHUTDOWN. How often it was aborted so far: when that changes, this one is off.
    pub fn ask(&self, how: Asked) -> u64 {
        let mut state = self.state();
        state.asked = Some(how);
        state.aborts
    }

    /// SHUTDOWN ABORT; false when there was nothing to abort.
    pub fn abort(&self) -> bool {
        let mut state = self.state();
        let asked = state.asked.take().is_some();
        state.aborts += asked as u64;
        asked
    }

    pub fn aborts(&self) -> u64 {
        self.state().aborts
    }

    /// How, when the host is to end.
    pub fn asked(&self) -> Option<Asked> {
        self.state().asked
    }
}
