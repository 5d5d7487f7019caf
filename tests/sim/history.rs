//! What clients wrote and read: every key has one writer, whose values count up.
//!
//! No reader may see less than what was acknowledged before it asked. Replication is asynchronous, so a
//! replica that takes its master's place may lack the end of what that has acknowledged: [`History::inherit`]
//! has the rule of what it may lack.

use super::copies::{Copy, Position, Rise};
use shoal::cluster::view::NodeId;
use shoal::slot::{Slot, key_slot};
use std::collections::BTreeMap;

/// What is known of an acknowledgement: where the write stands in its master's stream at the latest, and who
/// had it by then, when its client has waited for that.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// When it was sent.
    pub when: u64,
    /// The shard that has executed it.
    pub by: (usize, usize),
    pub at: Position,
    pub copies: Vec<Copy>,
}

#[derive(Default)]
struct Log {
    /// The last value that its writer has sent.
    issued: u64,
    /// No reader may see less: the last value that was acknowledged, unless it was lost since.
    floor: u64,
    /// Acknowledged values, and what is known of each.
    acks: Vec<(u64, Stamp)>,
    /// When it last came to a node that has nothing to do with the streams in which it stood.
    moved: u64,
    /// How often its memory was lost, or its owner was in doubt.
    losses: u64,
    /// A write whose client has given up may still be on its way, or it lies where nobody looks: reads prove
    /// nothing any more.
    haunted: bool,
    /// The node that had it is gone with its memory, and nobody has taken its place yet.
    adrift: Option<NodeId>,
    /// A replica has taken its master's place, and that has not heard of it: reads prove nothing, and only
    /// what the heir acknowledges counts.
    contested: Option<(usize, usize)>,
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

/// The number of a value, which names its key.
fn number(key: &str, text: &str) -> Result<u64, String> {
    let value = text.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
    value.and_then(|n| n.parse().ok()).ok_or(format!("{key} holds {text}"))
}

impl History {
    pub fn new(keys: impl IntoIterator<Item = String>) -> History {
        let keys = keys.into_iter().map(|key| (key, Log::default())).collect();
        History { keys, ..History::default() }
    }

    pub fn keys(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    pub fn keys_in(&self, slot: Slot) -> Vec<String> {
        self.keys.keys().filter(|key| key_slot(key.as_bytes()) == slot).cloned().collect()
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

    pub fn written(&mut self, key: &str, began: Began, stamp: Option<Stamp>) {
        self.acknowledged += 1;
        let log = self.log(key);
        // what was lost meanwhile may have been this
        if log.losses != began.losses || log.adrift.is_some() {
            return;
        }
        if log.contested.is_some_and(|heir| stamp.as_ref().is_none_or(|stamp| stamp.by != heir)) {
            return;
        }
        log.floor = log.floor.max(began.value);
        let stamp = stamp.filter(|stamp| stamp.when > log.moved);
        log.acks.extend(stamp.map(|stamp| (began.value, stamp)));
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
        let value = found.map_or(Ok(0), |text| number(key, text))?;
        if value > log.issued {
            return Err(format!("{key} holds {value}, and {} is the last that was sent", log.issued));
        }
        let proves = log.losses == began.losses && !log.haunted && !log.is_open();
        if value < began.value && proves {
            return Err(format!("{key} holds {value}, and {} was acknowledged", began.value));
        }
        Ok(())
    }

    /// The memory with a copy of this key is gone: what was acknowledged may be lost.
    pub fn lose(&mut self, key: &str) {
        let log = self.log(key);
        log.losses += 1;
        (log.floor, log.adrift) = (0, None);
        log.acks.clear();
    }

    /// It is with a node by now that has nothing to do with the streams in which it stood.
    pub fn forget_stamps(&mut self, key: &str, now: u64) {
        let log = self.log(key);
        log.acks.clear();
        log.moved = now;
    }

    /// The node that had this key is gone with its memory: a replica of it may have it, or nobody.
    pub fn set_adrift(&mut self, key: &str, holder: NodeId) {
        let log = self.log(key);
        log.losses += 1;
        log.adrift = Some(holder);
    }

    /// What this node had when it was lost, and nobody has taken up.
    pub fn adrift_of(&self, holder: &NodeId) -> Vec<String> {
        self.keys.iter().filter(|(_, log)| log.adrift == Some(*holder)).map(|(key, _)| key.clone()).collect()
    }

    /// Two masters serve a key: a replica of one of them has risen. Or they do no more.
    pub fn contest(&mut self, key: &str, heir: Option<(usize, usize)>) {
        let log = self.log(key);
        log.losses += 1;
        log.contested = heir;
    }

    /// A replica has taken its master's place, and holds `found` of a key. What it lacks of what was
    /// acknowledged, it may lack
    ///
    /// - by its offset: it must have all that stands before that in the stream that it has copied;
    /// - by its acknowledgements: an elected one must have what it told a WAIT that it has;
    /// - by its order: one that took over with its master's consent must have everything.
    ///
    /// Whether it lacks anything.
    pub fn inherit(&mut self, key: &str, found: Option<&str>, rise: &Rise<'_>) -> Result<bool, String> {
        let value = found.map_or(Ok(0), |text| number(key, text))?;
        let log = self.log(key);
        log.adrift = None;
        if log.haunted {
            log.acks.clear();
        }
        for (acked, stamp) in log.acks.iter().filter(|(acked, _)| *acked > value) {
            if rise.includes(stamp.at) {
                return Err(format!(
                    "{key} holds {value}, and {acked} stands before its offset: {stamp:?}, {rise:?}"
                ));
            }
            if rise.is_elected() && stamp.copies.contains(&rise.who) {
                return Err(format!(
                    "{key} holds {value}, and a WAIT was told that it has {acked}: {rise:?}"
                ));
            }
        }
        let lacks = value < log.floor;
        if lacks && rise.agreed && !log.haunted {
            return Err(format!("{key} holds {value}, and {} was acknowledged before: {rise:?}", log.floor));
        }
        log.acks.retain(|(acked, _)| *acked <= value);
        log.floor = log.floor.min(value);
        log.losses += lacks as u64;
        Ok(lacks)
    }

    /// Keys that must exist somewhere.
    pub fn kept(&self) -> Vec<String> {
        let kept = self.keys.iter().filter(|(_, log)| log.floor > 0 && !log.is_open());
        kept.map(|(key, _)| key.clone()).collect()
    }
}

impl Log {
    /// Nobody can say who serves it.
    fn is_open(&self) -> bool {
        self.adrift.is_some() || self.contested.is_some()
    }
}
