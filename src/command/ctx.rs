//! All that a command may see and touch.

use super::host::Host;
use crate::cluster::view::View;
use crate::config::Config;
use crate::resp::Reply;
use crate::resp::args::OwnedArgs;
use crate::store::{Clock, Key, Keyspace};
use crate::util::rng::Rng;

/// One command's world. Fields are public so that a handler can borrow several at once.
pub struct Ctx<'a> {
    /// All databases of the shard that executes.
    pub ks: &'a mut Keyspace,
    /// The client's selected database.
    pub db: usize,
    pub out: Reply<'a>,
    /// The time of this turn.
    pub clock: Clock,
    /// Microseconds since the epoch, for TIME and the like.
    pub now_us: u64,
    pub conf: &'a Config,
    pub rng: &'a mut Rng,
    pub fx: &'a mut Effects,
    pub caller: &'a mut Caller,
    pub host: &'a Host,
    pub view: &'a View,
    /// The shard that executes.
    pub me: usize,
    /// The first key with its slot and hash, computed when the batch was routed.
    pub first_key: Option<Key<'a>>,
}

impl<'a> Ctx<'a> {
    /// Hashes `bytes`, or recalls what routing has hashed already.
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        match self.first_key {
            Some(k) if k.bytes.as_ptr() == bytes.as_ptr() && k.bytes.len() == bytes.len() => {
                Key { bytes, slot: k.slot, hash: k.hash }
            }
            _ => self.ks.hasher().key(bytes),
        }
    }

    /// The time of this turn, in unix milliseconds.
    #[inline]
    pub fn now(&self) -> u64 {
        self.clock.now_ms
    }
}

/// What commands know and change about the client that sent them.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    pub id: u64,
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    pub db: usize,
    pub resp3: bool,
    pub authenticated: bool,
    /// CLIENT NO-EVICT, CLIENT NO-TOUCH, READONLY, ASKING.
    pub no_evict: bool,
    pub no_touch: bool,
    pub readonly: bool,
    pub asking: bool,
    /// The client came through a front door, which is no node.
    pub front_door: bool,
}

/// Classes of keyspace events, as `notify-keyspace-events` counts them.
pub mod class {
    pub const GENERIC: u32 = 1;
    pub const STRING: u32 = 1 << 1;
    pub const LIST: u32 = 1 << 2;
    pub const SET: u32 = 1 << 3;
    pub const HASH: u32 = 1 << 4;
    pub const ZSET: u32 = 1 << 5;
    pub const EXPIRED: u32 = 1 << 6;
    pub const EVICTED: u32 = 1 << 7;
    pub const STREAM: u32 = 1 << 8;
    pub const KEY_MISS: u32 = 1 << 9;
    pub const NEW: u32 = 1 << 10;
}

/// A keyspace event, kept until the shard delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub class: u32,
    pub name: &'static str,
    pub key: Box<[u8]>,
    pub db: usize,
    /// The key's value changed (WATCH and tracking care), not only an event happened.
    pub changed: bool,
}

/// What a command did besides its reply. The shard applies and clears it after each command.
#[derive(Debug, Default)]
pub struct Effects {
    /// Changes to the data: above 0 the command is propagated.
    pub dirty: u64,
    /// What to propagate instead of the command itself; unused when empty.
    pub instead: Vec<OwnedArgs>,
    /// Somebody listens (events, WATCH, tracking, blocked clients): events are collected.
    pub listening: bool,
    pub events: Vec<Event>,
    /// The connection closes once the reply is sent.
    pub close: bool,
}

impl Effects {
    /// The value at `key` changed, and event `name` says how. Call once for each change.
    #[inline]
    pub fn changed(&mut self, db: usize, key: &[u8], class: u32, name: &'static str) {
        self.dirty += 1;
        if self.listening {
            self.collect(db, key, class, name, true);
        }
    }

    /// An event without a change of its own (`del` of an emptied list, say).
    #[inline]
    pub fn event(&mut self, db: usize, key: &[u8], class: u32, name: &'static str) {
        if self.listening {
            self.collect(db, key, class, name, false);
        }
    }

    #[cold]
    fn collect(&mut self, db: usize, key: &[u8], class: u32, name: &'static str, changed: bool) {
        self.events.push(Event { class, name, key: key.into(), db, changed });
    }

    /// Propagates these words instead of the command. May be called several times.
    pub fn propagate<T: AsRef<[u8]>>(&mut self, words: impl IntoIterator<Item = T>) {
        self.instead.push(OwnedArgs::new(words));
    }
}
