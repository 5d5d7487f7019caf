//! Who wants to hear of keys: clients that WATCH them, and those that wait for them to have something.
//!
//! It lies beside the slot's table and goes where that goes, to a borrower and back, or to a new owner:
//! so whoever has a key knows whom it concerns, and no change is missed on the way. A watch ends with the
//! first change: a client whose watch is gone knows that its key has changed, or may have. Who waits does so
//! until it says otherwise, in the order of arrival.

use super::clock::Clock;
use super::db::Db;
use super::key::Key;
use super::keyspace::Keyspace;
use crate::slot::Slot;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// A client of this host, and which of its rounds of watching, or of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientRef {
    pub shard: u16,
    pub client: u32,
    /// Numbers of clients are used again, generations are not.
    pub generation: u32,
    /// What a client has given up must not end what it does now.
    pub round: u32,
}

/// A client that waits for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    pub who: ClientRef,
    /// Its command, by the row of the table.
    pub spec: u16,
    /// A further slot that the command needs.
    pub target: Option<Slot>,
    /// It has looked at the key as it is, in vain.
    pub tried: bool,
}

/// The interest in one slot's keys.
#[derive(Default)]
pub(super) struct Interest {
    watched: HashMap<Box<[u8]>, Vec<ClientRef>>,
    waiting: HashMap<Box<[u8]>, VecDeque<Waiter>>,
    /// Who has read a key, and keeps a copy.
    readers: HashMap<Box<[u8]>, Readers>,
}

/// Clients that have read a key.
pub type Readers = BTreeSet<ClientRef>;

impl Interest {
    /// Keys of which somebody keeps a copy, and copies.
    fn tracked(&self) -> (usize, usize) {
        (self.readers.len(), self.readers.values().map(Readers::len).sum())
    }

    fn is_empty(&self) -> bool {
        self.watched.is_empty() && self.waiting.is_empty() && self.readers.is_empty()
    }
}

impl Db {
    /// Whether anybody wants to hear of any key.
    #[inline]
    pub fn is_of_interest(&self) -> bool {
        !self.interest.is_empty()
    }

    /// How many watches there are.
    pub fn watches(&self) -> usize {
        self.interest.values().flat_map(|interest| interest.watched.values()).map(Vec::len).sum()
    }

    /// How many waits there are.
    pub fn waits(&self) -> usize {
        self.interest.values().flat_map(|interest| interest.waiting.values()).map(VecDeque::len).sum()
    }

    /// The client will be told that the key has changed: by [`Db::watches_still`].
    pub fn watch(&mut self, key: &Key, watcher: ClientRef) {
        let watchers =
            self.interest.entry(key.slot).or_default().watched.entry(key.bytes.into()).or_default();
        if !watchers.contains(&watcher) {
            watchers.push(watcher);
        }
    }

    /// Whether the key has not changed since the client began to watch it.
    pub fn watches_still(&self, slot: Slot, key: &[u8], watcher: ClientRef) -> bool {
        let watchers = self.interest.get(&slot).and_then(|interest| interest.watched.get(key));
        watchers.is_some_and(|watchers| watchers.contains(&watcher))
    }

    /// Ends a watch. Whether there was one.
    pub fn unwatch(&mut self, slot: Slot, key: &[u8], watcher: ClientRef) -> bool {
        let Some(interest) = self.interest.get_mut(&slot) else { return false };
        let Some(watchers) = interest.watched.get_mut(key) else { return false };
        let before = watchers.len();
        watchers.retain(|w| *w != watcher);
        let found = watchers.len() < before;
        if watchers.is_empty() {
            self.touch(slot, key);
        }
        found
    }

    /// The key has changed: all watches of it end.
    pub fn touch(&mut self, slot: Slot, key: &[u8]) {
        if let Some(interest) = self.interest.get_mut(&slot) {
            interest.watched.remove(key);
            self.tidy_interest(slot);
        }
    }

    fn tidy_interest(&mut self, slot: Slot) {
        if self.interest.get(&slot).is_some_and(|interest| interest.is_empty()) {
            self.interest.remove(&slot);
        }
    }

    /// A client has read the key, and keeps a copy: it is to be told when that changes.
    pub fn track(&mut self, key: &Key, reader: ClientRef) {
        let interest = self.interest.entry(key.slot).or_default();
        let (keys, items) = &mut self.tracked;
        *items += match interest.readers.get_mut(key.bytes) {
            Some(readers) => readers.insert(reader),
            None => {
                *keys += 1;
                interest.readers.insert(key.bytes.into(), BTreeSet::from([reader]));
                true
            }
        } as usize;
    }

    /// Those who have read the key: they are forgotten.
    pub fn take_readers(&mut self, slot: Slot, key: &[u8]) -> Readers {
        let interest = self.interest.get_mut(&slot);
        let Some(readers) = interest.and_then(|interest| interest.readers.remove(key)) else {
            return Readers::new();
        };
        self.tracked = (self.tracked.0 - 1, self.tracked.1 - readers.len());
        self.tidy_interest(slot);
        readers
    }

    /// Those who have read keys of a slot, or any keys: they are forgotten.
    pub fn take_all_readers(&mut self, slot: Option<Slot>) -> Vec<(Box<[u8]>, Readers)> {
        let slots: Vec<Slot> = match slot {
            Some(slot) => vec![slot],
            None => self.interest.keys().copied().collect(),
        };
        let mut all = Vec::new();
        for slot in slots {
            if let Some(interest) = self.interest.get_mut(&slot) {
                let (keys, items) = interest.tracked();
                self.tracked = (self.tracked.0 - keys, self.tracked.1 - items);
                all.extend(interest.readers.drain());
                self.tidy_interest(slot);
            }
        }
        all
    }

    /// Keys of which somebody keeps a copy, and copies.
    pub fn tracked(&self) -> (usize, usize) {
        self.tracked
    }

    /// One of those keys.
    pub fn any_tracked(&self) -> Option<(Slot, Box<[u8]>)> {
        self.interest
            .iter()
            .find_map(|(slot, interest)| Some((*slot, interest.readers.keys().next()?.clone())))
    }

    /// A client waits for the key, behind all who do already.
    pub fn wait(&mut self, key: &Key, waiter: Waiter) {
        let interest = self.interest.entry(key.slot).or_default();
        interest.waiting.entry(key.bytes.into()).or_default().push_back(waiter);
    }

    /// Who waits for the key, the oldest first.
    pub fn waiters(&self, slot: Slot, key: &[u8]) -> impl Iterator<Item = &Waiter> {
        let queue = self.interest.get(&slot).and_then(|interest| interest.waiting.get(key));
        queue.into_iter().flatten()
    }

    fn waiters_mut(&mut self, slot: Slot, key: &[u8]) -> impl Iterator<Item = &mut Waiter> {
        let queue = self.interest.get_mut(&slot).and_then(|interest| interest.waiting.get_mut(key));
        queue.into_iter().flatten()
    }

    /// The key has changed: whoever waits may try again. Whether anybody does.
    pub fn renew_waiters(&mut self, slot: Slot, key: &[u8]) -> bool {
        self.waiters_mut(slot, key).map(|waiter| waiter.tried = false).count() > 0
    }

    /// A client has looked at the key as it is, in vain.
    pub fn note_tried(&mut self, slot: Slot, key: &[u8], who: ClientRef) {
        self.waiters_mut(slot, key).filter(|w| w.who == who).for_each(|w| w.tried = true);
    }

    /// Ends a wait. Whether there was one.
    pub fn stop_waiting(&mut self, slot: Slot, key: &[u8], who: ClientRef) -> bool {
        let Some(interest) = self.interest.get_mut(&slot) else { return false };
        let Some(queue) = interest.waiting.get_mut(key) else { return false };
        let before = queue.len();
        queue.retain(|waiter| waiter.who != who);
        let found = queue.len() < before;
        if queue.is_empty() {
            interest.waiting.remove(key);
            self.tidy_interest(slot);
        }
        found
    }

    /// The key is gone, and no command said so.
    pub(super) fn touch_gone(&mut self, slot: Slot, key: &[u8]) {
        let lost = self.waiters(slot, key).next().is_some();
        self.lost |= lost;
        self.touch(slot, key);
    }

    /// Keys that somebody waits for and that are not there, if any may have gone since the last call without
    /// a command that said so. Whoever waits may try again.
    pub fn lost_keys(&mut self) -> Vec<(Slot, Box<[u8]>)> {
        if !std::mem::take(&mut self.lost) {
            return Vec::new();
        }
        let mut keys = self.waited_for(None);
        keys.retain(|(slot, key)| !self.has(*slot, key));
        for (slot, key) in &keys {
            self.renew_waiters(*slot, key);
        }
        keys
    }

    fn renew_all_waiters(&mut self) {
        let queues = self.interest.values_mut().flat_map(|interest| interest.waiting.values_mut());
        queues.flatten().for_each(|waiter| waiter.tried = false);
    }

    /// The keys of these slots, or of all, that somebody waits for.
    pub fn waited_for(&self, slots: Option<&[Slot]>) -> Vec<(Slot, Box<[u8]>)> {
        let mut keys = Vec::new();
        for (slot, interest) in &self.interest {
            if slots.is_none_or(|slots| slots.contains(slot)) {
                keys.extend(interest.waiting.keys().map(|key| (*slot, key.clone())));
            }
        }
        keys.sort_unstable();
        keys
    }

    /// All keys go: those change that are there.
    pub(super) fn touch_all(&mut self) {
        self.lost |= self.interest.values().any(|interest| !interest.waiting.is_empty());
        for (slot, key) in self.watched_keys() {
            if self.has(slot, &key) {
                self.touch(slot, &key);
            }
        }
    }

    fn watched_keys(&self) -> Vec<(Slot, Box<[u8]>)> {
        let mut keys = Vec::new();
        for (slot, interest) in &self.interest {
            keys.extend(interest.watched.keys().map(|key| (*slot, key.clone())));
        }
        keys
    }

    fn has(&self, slot: Slot, key: &[u8]) -> bool {
        self.spot(&self.hasher.key_in_slot(key, slot)).is_some()
    }

    /// Takes out the interest in a slot, to go with its table.
    #[inline]
    pub(super) fn take_interest(&mut self, slot: Slot) -> Option<Box<Interest>> {
        if self.interest.is_empty() {
            return None;
        }
        let interest = self.interest.remove(&slot)?;
        let (keys, items) = interest.tracked();
        self.tracked = (self.tracked.0 - keys, self.tracked.1 - items);
        Some(interest)
    }

    /// A slot has left the host: whoever watches or waits will find nothing.
    pub fn drop_interest(&mut self, slot: Slot) {
        self.take_interest(slot);
    }

    #[inline]
    pub(super) fn put_interest(&mut self, slot: Slot, interest: Option<Box<Interest>>) {
        if let Some(interest) = interest {
            self.take_interest(slot);
            let (keys, items) = interest.tracked();
            self.tracked = (self.tracked.0 + keys, self.tracked.1 + items);
            self.interest.insert(slot, interest);
        }
    }
}

impl Keyspace {
    /// Whether anybody wants to hear of any key.
    pub fn is_of_interest(&self) -> bool {
        self.iter().any(Db::is_of_interest)
    }

    /// What clients watch in one of two databases and is past its time in either expires.
    pub(super) fn expire_watched(&mut self, a: usize, b: usize, clock: &Clock) {
        let (a, b) = self.two_mut(a, b);
        for (slot, key) in a.watched_keys().into_iter().chain(b.watched_keys()) {
            let key = a.hasher.key_in_slot(&key, slot);
            a.live(&key, clock);
            b.live(&key, clock);
        }
    }

    /// Two databases change places: clients watch a key in the database of a number. It changes for them
    /// if it is in either.
    pub(super) fn swap_interest(&mut self, a: usize, b: usize) {
        let (a, b) = self.two_mut(a, b);
        for (slot, key) in a.watched_keys().into_iter().chain(b.watched_keys()) {
            if a.has(slot, &key) || b.has(slot, &key) {
                a.touch(slot, &key);
                b.touch(slot, &key);
            }
        }
        std::mem::swap(&mut a.interest, &mut b.interest);
        std::mem::swap(&mut a.tracked, &mut b.tracked);
        [a, b].into_iter().for_each(Db::renew_all_waiters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Clock, Hasher, Look, Ttl};

    fn watcher(client: u32) -> ClientRef {
        ClientRef { shard: 0, client, generation: 1, round: 0 }
    }

    fn watches_of(ks: &mut Keyspace, db: usize, keys: &[&str]) {
        for key in keys {
            let db = ks.db_mut(db);
            let key = db.key(key.as_bytes());
            db.watch(&key, watcher(1));
        }
    }

    fn still(ks: &Keyspace, db: usize, key: &str) -> bool {
        let slot = crate::slot::key_slot(key.as_bytes());
        ks.db(db).watches_still(slot, key.as_bytes(), watcher(1))
    }

    fn set(ks: &mut Keyspace, db: usize, key: &str, ttl: Ttl) {
        let db = ks.db_mut(db);
        let key = db.key(key.as_bytes());
        db.set_str(&key, b"v", ttl, &Clock::at(1000));
    }

    #[test]
    fn a_watch_ends_with_a_change_or_with_its_client() {
        let mut ks = Keyspace::new(2, Hasher::new(1), 1);
        watches_of(&mut ks, 0, &["a", "b", "b"]);
        let b = ks.db(0).key(b"b");
        ks.db_mut(0).watch(&b, watcher(2));
        assert_eq!(ks.db(0).watches(), 3);
        ks.db_mut(0).touch(b.slot, b"b");
        assert!(still(&ks, 0, "a") && !still(&ks, 0, "b") && !still(&ks, 1, "a"));
        let a = ks.db(0).key(b"a");
        assert!(!ks.db_mut(0).unwatch(a.slot, b"a", watcher(2)), "that is another's");
        assert!(ks.db_mut(0).unwatch(a.slot, b"a", watcher(1)));
        assert!(!ks.is_of_interest(), "nothing is left");
    }

    #[test]
    fn a_key_that_goes_by_itself_has_changed() {
        let mut ks = Keyspace::new(2, Hasher::new(1), 1);
        set(&mut ks, 0, "dying", Ttl::At(2000));
        set(&mut ks, 0, "due", Ttl::At(2000));
        watches_of(&mut ks, 0, &["dying", "due", "absent"]);
        let dying = ks.db(0).key(b"dying");
        assert!(ks.db_mut(0).find(&dying, Look::Peek, &Clock::at(3000)).is_none());
        assert!(!still(&ks, 0, "dying") && still(&ks, 0, "due"));
        assert_eq!(ks.db_mut(0).expire_step(3000, 10).expired, 1);
        assert!(!still(&ks, 0, "due") && still(&ks, 0, "absent"));
    }

    #[test]
    fn flushed_and_swapped_databases_change_what_is_in_them() {
        let mut ks = Keyspace::new(2, Hasher::new(1), 1);
        set(&mut ks, 0, "here", Ttl::Clear);
        set(&mut ks, 1, "there", Ttl::Clear);
        watches_of(&mut ks, 0, &["here", "there", "nowhere"]);
        watches_of(&mut ks, 1, &["nowhere"]);
        ks.swap(0, 1, &Clock::at(1000));
        assert!(!still(&ks, 0, "here") && !still(&ks, 0, "there"));
        assert!(still(&ks, 0, "nowhere") && still(&ks, 1, "nowhere"), "a number's watches stay with it");
        watches_of(&mut ks, 1, &["late", "later"]);
        set(&mut ks, 0, "late", Ttl::At(500));
        set(&mut ks, 0, "later", Ttl::At(5000));
        ks.swap(0, 1, &Clock::at(1000));
        assert!(still(&ks, 1, "late") && !still(&ks, 1, "later"), "what is past its time is not there");
        ks.swap(0, 1, &Clock::at(1000));
        watches_of(&mut ks, 0, &["there"]);
        drop(ks.db_mut(0).clear());
        assert!(!still(&ks, 0, "there") && still(&ks, 0, "nowhere"));
    }

    #[test]
    fn readers_are_told_once_and_go_with_the_slot() {
        let mut ks = Keyspace::new(2, Hasher::new(1), 1);
        for (key, reader) in [("a", 1), ("a", 2), ("a", 1), ("{a}b", 1), ("c", 3)] {
            let db = ks.db_mut(0);
            let key = db.key(key.as_bytes());
            db.track(&key, watcher(reader));
        }
        assert_eq!((ks.db(0).tracked(), ks.db(1).tracked()), ((3, 4), (0, 0)));
        let slot = crate::slot::key_slot(b"a");
        let table = ks.db_mut(0).take_slot(slot);
        assert_eq!(ks.db(0).tracked(), (1, 1));
        let mut other = Keyspace::new(1, Hasher::new(1), 2);
        other.db_mut(0).put_slot(table);
        let other = other.db_mut(0);
        assert_eq!(other.tracked(), (2, 3));
        assert_eq!(other.take_readers(slot, b"a"), Readers::from([watcher(1), watcher(2)]));
        assert!(other.take_readers(slot, b"a").is_empty(), "they are told once");
        assert_eq!(other.any_tracked(), Some((slot, b"{a}b"[..].into())));
        assert_eq!(other.take_all_readers(None).len(), 1);
        assert!(other.tracked() == (0, 0) && !other.is_of_interest());
    }

    #[test]
    fn interest_goes_with_the_slot() {
        let mut ks = Keyspace::new(1, Hasher::new(1), 1);
        watches_of(&mut ks, 0, &["a"]);
        let slot = crate::slot::key_slot(b"a");
        let table = ks.db_mut(0).take_slot(slot);
        assert!(!ks.is_of_interest());
        let mut other = Keyspace::new(1, Hasher::new(1), 2);
        assert_eq!(other.db_mut(0).put_slot(table).len(), 0);
        assert!(still(&other, 0, "a"));
    }
}
