//! The scripts that the shards of a host know.

use crate::script::flag::COMPAT;
use crate::util::sha1::sha1;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A script's digest, as 40 lower-case hex digits.
pub type Sha = [u8; 40];

/// The digest of a script.
pub fn sha_of(code: &[u8]) -> Sha {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; 40];
    for (digits, byte) in out.chunks_exact_mut(2).zip(sha1(code)) {
        digits.copy_from_slice(&[HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]);
    }
    out
}

/// A script, and the flags of its first line.
#[derive(Debug)]
pub struct Script {
    pub code: Arc<[u8]>,
    pub flags: u8,
}

impl Script {
    /// It has no first line, and follows the rules of before there was one.
    pub fn is_compat(&self) -> bool {
        self.flags & COMPAT != 0
    }
}

/// All scripts of a host. Each shard compiles for itself those that it runs.
#[derive(Debug, Default)]
pub struct Scripts {
    /// How often all were forgotten.
    flushes: AtomicU64,
    known: Mutex<BTreeMap<Sha, Arc<Script>>>,
}

impl Scripts {
    fn known(&self) -> MutexGuard<'_, BTreeMap<Sha, Arc<Script>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was compiled before the last of these is forgotten.
    #[inline]
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    pub fn get(&self, sha: &Sha) -> Option<Arc<Script>> {
        self.known().get(sha).cloned()
    }

    pub fn add(&self, sha: Sha, script: Arc<Script>) {
        self.known().entry(sha).or_insert(script);
    }

    pub fn flush(&self) {
        let mut known = self.known();
        known.clear();
        self.flushes.fetch_add(1, Ordering::Release);
    }

    /// How many there are, and the bytes that they take.
    pub fn size(&self) -> (usize, usize) {
        let known = self.known();
        let bytes = known.values().map(|script| script.code.len() + size_of::<(Sha, Script)>()).sum();
        (known.len(), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_known_until_they_are_flushed() {
        let scripts = Scripts::default();
        let sha = sha_of(b"return 1");
        assert_eq!(&sha, b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert!(scripts.get(&sha).is_none());
        scripts.add(sha, Arc::new(Script { code: b"return 1"[..].into(), flags: COMPAT }));
        assert!(scripts.get(&sha).is_some_and(|script| script.is_compat()));
        let before = scripts.flushes();
        scripts.flush();
        assert!(scripts.get(&sha).is_none() && scripts.flushes() != before && scripts.size() == (0, 0));
    }
}
