//! A SHUTDOWN that was asked for: the host's, whichever shard heard of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether the host is to end.
#[derive(Debug, Default)]
pub struct Ending(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// With whether data is to be saved first.
    asked: Option<bool>,
    aborts: u64,
}

impl Ending {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// SHUTDOWN. How often it was aborted so far: when that changes, this one is off.
    pub fn ask(&self, save: bool) -> u64 {
        let mut state = self.state();
        state.asked = Some(save);
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

    /// `Some(save)` when the host is to end.
    pub fn asked(&self) -> Option<bool> {
        self.state().asked
    }
}
