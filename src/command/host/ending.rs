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
    /// Replicas that lag are not waited for.
    pub now: bool,
}

#[derive(Debug, Default)]
struct State {
    asked: Option<Asked>,
    /// Unix milliseconds until which replicas are waited for, if they are.
    until_ms: Option<u64>,
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
        state.until_ms = None;
        state.aborts += asked as u64;
        asked
    }

    /// Replicas are waited for until then, unless it was aborted.
    pub fn wait_until(&self, ms: u64) {
        let mut state = self.state();
        state.until_ms = state.asked.map(|_| ms);
    }

    /// Until when replicas are waited for; nothing is written meanwhile.
    pub fn waits_until(&self) -> Option<u64> {
        self.state().until_ms
    }

    pub fn aborts(&self) -> u64 {
        self.state().aborts
    }

    /// How, when the host is to end.
    pub fn asked(&self) -> Option<Asked> {
        self.state().asked
    }
}
