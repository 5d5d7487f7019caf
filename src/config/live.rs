//! One configuration, shared between the cores.

use super::access::{Caller, ConfigError};
use super::table::{Config, Directive};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The configuration that every core reads and any core may change. A core keeps its own snapshot
/// and compares [`Live::generation`] once a turn.
#[derive(Debug)]
pub struct Live {
    now: Mutex<Arc<Config>>,
    generation: AtomicU64,
}

impl Live {
    pub fn new(config: Config) -> Live {
        Live { now: Mutex::new(Arc::new(config)), generation: AtomicU64::new(0) }
    }

    /// Counts the changes. A value that differs from the last one seen means: take a new snapshot.
    #[inline]
    pub fn generation(&self) -> u64 {
        // Relaxed will do: the mutex orders the snapshot, and a turn's delay is nothing.
        self.generation.load(Ordering::Relaxed)
    }

    /// The configuration as it is. Read the generation before it, never after, or a change in
    /// between is missed.
    pub fn snapshot(&self) -> Arc<Config> {
        self.lock().clone()
    }

    /// CONFIG SET on all cores: all pairs or none. `apply` sees the old and the new configuration
    /// and the rows that changed before anybody else does; its error puts everything back.
    pub fn set<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        pairs: &[(N, V)],
        caller: Caller,
        apply: impl FnOnce(&Config, &Config, &[&'static Directive]) -> Result<(), ConfigError>,
    ) -> Result<Vec<&'static Directive>, ConfigError> {
        let mut now = self.lock();
        let mut new = Config::clone(&now);
        let changed = new.set(pairs, caller)?;
        apply(&now, &new, &changed)?;
        if !changed.is_empty() {
            *now = Arc::new(new);
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
        Ok(changed)
    }

    /// Changes what no CONFIG SET may: `replicaof` by REPLICAOF, say.
    pub fn update(&self, change: impl FnOnce(&mut Config)) {
        let mut now = self.lock();
        change(Arc::make_mut(&mut now));
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Has all cores derive anew what they derive from it, and from what else has changed.
    pub fn touch(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Config>> {
        // The value is only ever replaced whole, so a panic elsewhere can't have left it torn.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
