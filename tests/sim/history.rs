//! What clients wrote and read: every key has one writer, whose values count up.

use shoal::slot::{Slot, key_slot};
use std::collections::BTreeMap;

#[derive(Default)]
struct Log {
    /// The last value that its writer has sent.
    issued: u64,
    /// No reader may see less: the last value that was acknowledged, unless it was lost since.
    floor: u64,
    /// How often its memory was lost.
    losses: u64,
    /// A write whose client has given up may still be on its way: reads prove nothing any more.
    haunted: bool,
}

/// A write or read that has begun.
#[derive(Clone, Copy)]
pub struct Began {
    pub value: u64,
    losses: u64,
}

#[derive(Default)]
pub struct History {
    keys: BTreeMap<String, Log>,
    pub acknowledged: u64,
    pub read: u64,
}

impl History {
    pub fn new(keys: impl IntoIterator<Item = String>) -> History {
        let keys = keys.into_iter().map(|key| (key, Log::default())).collect();
        History { keys, ..History::default() }
    }

    pub fn keys(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    pub fn slots(&self) -> Vec<Slot> {
        let mut slots: Vec<Slot> = self.keys.keys().map(|key| key_slot(key.as_bytes())).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    fn log(&mut self, key: &str) -> &mut Log {
        self.keys.get_mut(key).unwrap_or_else(|| panic!("nobody has written {key}"))
    }

    pub fn write(&mut self, key: &str) -> Began {
        let log = self.log(key);
        log.issued += 1;
        Began { value: log.issued, losses: log.losses }
    }

    pub fn written(&mut self, key: &str, began: Began) {
        self.acknowledged += 1;
        let log = self.log(key);
        // what was lost meanwhile may have been this
        if log.losses == began.losses {
            log.floor = log.floor.max(began.value);
        }
    }

    pub fn haunt(&mut self, key: &str) {
        self.log(key).haunted = true;
    }

    pub fn reading(&mut self, key: &str) -> Began {
        let log = self.log(key);
        Began { value: log.floor, losses: log.losses }
    }

    pub fn was_read(&mut self, key: &str, began: Began, found: Option<&str>) -> Result<(), String> {
        self.read += 1;
        let log = self.log(key);
        let value = match found {
            None => 0,
            Some(text) => {
                let value = text.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
                value.and_then(|n| n.parse().ok()).ok_or(format!("{key} holds {text}"))?
            }
        };
        if value > log.issued {
            return Err(format!("{key} holds {value}, and {} is the last that was sent", log.issued));
        }
        if value < began.value && log.losses == began.losses && !log.haunted {
            return Err(format!("{key} holds {value}, and {} was acknowledged", began.value));
        }
        Ok(())
    }

    /// The memory with a copy of this key is gone: what was acknowledged may be lost.
    pub fn lose(&mut self, key: &str) {
        let log = self.log(key);
        log.losses += 1;
        log.floor = 0;
    }

    /// Keys that must exist somewhere.
    pub fn kept(&self) -> Vec<String> {
        self.keys.iter().filter(|(_, log)| log.floor > 0).map(|(key, _)| key.clone()).collect()
    }
}
