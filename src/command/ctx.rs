//! All that a command may see and touch.

use super::acl::User;
use super::blocking::Nothing;
use super::host::Host;
use super::rdb::Place;
use crate::cluster::view::{NodeId, View};
use crate::config::Config;
use crate::persist;
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::store::{Clock, Key, Keyspace};
use crate::util::rng::Rng;
use crate::value::{Limits, Object, Text};
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;

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

    /// Calls `f` with every `step`th word as a key, and with the word's index. Buckets and entries
    /// of some keys ahead are already on their way from memory when their turn comes.
    pub fn each_key<'k>(
        &mut self,
        words: Args<'k>,
        step: usize,
        mut f: impl FnMut(&mut Self, &Key<'k>, usize),
    ) {
        const AHEAD: usize = 16;
        let mut from = 0;
        while from < words.len() {
            let to = words.len().min(from + AHEAD * step);
            let keys: SmallVec<[Key<'k>; AHEAD]> =
                (from..to).step_by(step).map(|i| self.key(words.at(i))).collect();
            if keys.len() > 1 {
                self.ks.prefetch(keys.iter().map(|key| (self.db, key.slot, key.hash)));
            }
            for (n, key) in keys.iter().enumerate() {
                f(self, key, from + n * step);
            }
            from = to;
        }
    }

    /// Up to where collections stay flat.
    #[inline]
    pub fn limits(&self) -> Limits {
        limits(self.conf)
    }

    /// Whose data this is, for its file.
    pub fn place(&self) -> Place<'_> {
        let Ctx { me, host, view, conf, clock, now_us, .. } = *self;
        Place { me, host, view, conf, clock, now_us }
    }

    /// The time of this turn, in unix milliseconds.
    #[inline]
    pub fn now(&self) -> u64 {
        self.clock.now_ms
    }
}

/// Up to where collections stay flat, as the configuration has it.
pub fn limits(c: &Config) -> Limits {
    Limits {
        hash_max_listpack_entries: c.hash_max_listpack_entries as usize,
        hash_max_listpack_value: c.hash_max_listpack_value as usize,
        list_max_listpack_size: c.list_max_listpack_size,
        set_max_intset_entries: c.set_max_intset_entries as usize,
        zset_max_listpack_entries: c.zset_max_listpack_entries as usize,
        zset_max_listpack_value: c.zset_max_listpack_value as usize,
        stream_node_max_bytes: c.stream_node_max_bytes as usize,
        stream_node_max_entries: c.stream_node_max_entries,
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
    /// Who it is; none of who may do anything: a primary, a log, a sibling.
    pub user: Option<Arc<User>>,
    /// What its command would read without naming it is not for its user (SORT's BY and GET).
    pub confined: bool,
    /// CLIENT NO-EVICT, CLIENT NO-TOUCH, READONLY.
    pub no_evict: bool,
    pub no_touch: bool,
    pub readonly: bool,
    /// It listens to channels.
    pub subscribed: bool,
    /// The client came through a front door, which is no node.
    pub front_door: bool,
    /// The address of ours that the client connected to, without the port.
    pub local_ip: String,
    /// The client is on this machine; see [`is_local`].
    pub local: bool,
}

/// Whether a client that reached us at `local_ip` is on this machine: the address is a loopback one,
/// or a unix socket's, which is a path.
pub fn is_local(local_ip: &str) -> bool {
    match local_ip.parse::<core::net::IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => local_ip.contains('/'),
    }
}

/// Classes of keyspace events, as `notify-keyspace-events` counts them.
pub mod class {
    use crate::config::types::NotifyFlags;

    /// No class: no event is told, though the value has changed.
    pub const SILENT: u32 = 0;
    pub const GENERIC: u32 = NotifyFlags::GENERIC.0 as u32;
    pub const STRING: u32 = NotifyFlags::STRING.0 as u32;
    pub const LIST: u32 = NotifyFlags::LIST.0 as u32;
    pub const SET: u32 = NotifyFlags::SET.0 as u32;
    pub const HASH: u32 = NotifyFlags::HASH.0 as u32;
    pub const ZSET: u32 = NotifyFlags::ZSET.0 as u32;
    pub const EXPIRED: u32 = NotifyFlags::EXPIRED.0 as u32;
    pub const EVICTED: u32 = NotifyFlags::EVICTED.0 as u32;
    pub const STREAM: u32 = NotifyFlags::STREAM.0 as u32;
    pub const KEY_MISS: u32 = NotifyFlags::KEY_MISS.0 as u32;
    pub const NEW: u32 = NotifyFlags::NEW.0 as u32;
    /// A database was emptied, or all: nobody listens to that, but it makes copies of keys useless.
    pub const FLUSH: u32 = 1 << 16;
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
    /// Somebody takes what is propagated (an append-only file, replicas).
    pub propagating: bool,
    /// The command runs on slots of several owners, each of which has a stream of its own. A command that
    /// moves an element from key to key then leaves its steps; of others, keys are told as they are now.
    pub apart: bool,
    /// What to propagate instead of the command itself; unused when empty.
    pub instead: Vec<OwnedArgs>,
    /// What stands there is all that is to be propagated, be it nothing.
    pub quiet: bool,
    /// The command is one of a client that waits, and is tried again.
    pub waiting: bool,
    /// What a client that waits tries again, where that is not the command as it was sent.
    pub again: Option<OwnedArgs>,
    /// Somebody listens (events, WATCH, tracking, blocked clients): events are collected.
    pub listening: bool,
    pub events: Vec<Event>,
    /// What the shard itself has to do.
    pub aside: Option<Aside>,
    /// Long requests of this batch, which are one command each.
    pub long: Vec<Bytes>,
    /// What the payload of the RESTORE that runs comes to, if it was read before.
    pub read: Option<Result<Object, persist::Error>>,
}

/// What a command asks of its shard beside changes to the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// Close the connection once the reply is sent.
    Close,
    /// All keys are gone: a save under way is in vain.
    Flushed,
    /// All data is on the disk: writes that were refused because it was not may be right again.
    Saved,
    /// Load the log in place of what is here, before any reply leaves (DEBUG LOADAOF).
    LoadLog,
    /// Its shard stood still for so many microseconds (DEBUG SLEEP): what comes next comes so much later.
    Slept(u64),
    /// Let the client wait until this time in unix milliseconds (0: forever) for a key of the command.
    Wait { until_ms: u64, nothing: Nothing },
    /// Databases have changed places.
    Swapped,
    /// The configuration changed: take it up before the next command.
    Configured,
    /// Let the plane not look at bus packets of this type; below 0, look at all (DEBUG).
    DropPackets(i64),
    /// Let the plane close the bus link to a node, from it, or both (DEBUG).
    KillLinks { which: &'static str, node: NodeId },
}

impl Event {
    /// Whether who waits for the key may have to be looked at.
    pub fn wakes(&self) -> bool {
        // who waits for what a group has not read is told when that group is gone
        self.changed || self.class == class::STREAM && self.name == "xgroup-destroy"
    }
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

    /// As [`Effects::changed`], for a change that counts `n` times (an element each, mostly).
    #[inline]
    pub fn changed_by(&mut self, n: u64, db: usize, key: &[u8], class: u32, name: &'static str) {
        self.dirty += n;
        if self.listening {
            self.collect(db, key, class, name, true);
        }
    }

    /// An argument to keep, without a copy where it is most of a long request.
    pub fn keep(&self, arg: &[u8]) -> Text {
        let is_most = |whole: &&Bytes| {
            whole.as_ptr_range().contains(&arg.as_ptr())
                && whole.len().saturating_sub(arg.len()) < arg.len() / 8
        };
        match self.long.iter().find(is_most) {
            Some(whole) => Text::Shared(whole.slice_ref(arg)),
            None => Text::Own(arg.to_vec()),
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

    /// Propagates these words instead of the command. May be called several times; only when
    /// [`Effects::propagating`].
    pub fn propagate<T: AsRef<[u8]>>(&mut self, words: impl IntoIterator<Item = T>) {
        self.instead.push(OwnedArgs::new(words));
    }
}

#[cfg(test)]
mod tests {
    use super::{Effects, is_local};
    use crate::value::Text;
    use bytes::Bytes;

    #[test]
    fn who_is_local() {
        for ip in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1", "/run/shoal.sock"] {
            assert!(is_local(ip), "{ip}");
        }
        assert!(!is_local("10.0.0.1") && !is_local("fe80::1") && !is_local(""));
    }

    #[test]
    fn what_is_most_of_a_long_request_is_kept_without_a_copy() {
        let whole = Bytes::from(vec![b'x'; 1000]);
        let fx = Effects { long: vec![Bytes::from_static(b"other"), whole.clone()], ..Effects::default() };
        for (arg, shared) in
            [(&whole[30..998], true), (&whole[30..600], false), (&[b'x'; 1000][..], false), (&[], false)]
        {
            let text = fx.keep(arg);
            assert_eq!(&text[..], arg);
            assert_eq!(matches!(text, Text::Shared(_)), shared, "{} bytes", arg.len());
        }
    }
}
