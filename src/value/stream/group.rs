//! Consumer groups: who has read what of a stream, and what of it is not yet acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::id::Id;
use super::log::Log;
use crate::value::{alloc_size, tree_size};

/// The name of a group or of a consumer.
pub type Name = Arc<[u8]>;

/// What a name takes: its counts, and its bytes.
pub(super) fn name_size(name: &[u8]) -> usize {
    alloc_size(2 * size_of::<usize>() + name.len())
}

/// Readers that share a stream: each entry goes to one of them.
#[derive(Clone)]
pub struct Group {
    /// What was delivered last.
    pub last_id: Id,
    /// Entries that were ever delivered; `None` when nobody can tell.
    pub read: Option<i64>,
    pending: BTreeMap<Id, Pending>,
    consumers: Vec<Option<Consumer>>,
    /// Numbers of consumers by name.
    names: BTreeMap<Name, u32>,
    /// Numbers that are free again.
    free: Vec<u32>,
    heap: usize,
}

/// An entry that was delivered and is not yet acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// When it was delivered last, in unix milliseconds.
    pub at_ms: i64,
    /// How often it was delivered.
    pub count: u64,
    consumer: u32,
}

/// One of a group's readers.
#[derive(Clone)]
pub struct Consumer {
    pub name: Name,
    /// When it was last heard of, in unix milliseconds.
    pub seen_ms: i64,
    /// What it has to acknowledge.
    owns: BTreeSet<Id>,
}

/// A consumer of a group, until that one is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member(u32);

/// Whose an entry is that nobody has yet.
const NOBODY: u32 = u32::MAX;

impl Consumer {
    /// Entries that it has to acknowledge.
    pub fn owned(&self) -> usize {
        self.owns.len()
    }

    /// These entries, from `start` on.
    pub fn owned_from(&self, start: Id) -> impl Iterator<Item = Id> {
        self.owns.range(start..).copied()
    }
}

impl Group {
    pub fn new(last_id: Id, read: Option<i64>) -> Group {
        Group {
            last_id,
            read,
            pending: BTreeMap::new(),
            consumers: Vec::new(),
            names: BTreeMap::new(),
            free: Vec::new(),
            heap: 0,
        }
    }

    pub(super) fn mem(&self) -> usize {
        let consumers = self.consumers.capacity() * size_of::<Option<Consumer>>();
        alloc_size(consumers)
            + alloc_size(self.free.capacity() * size_of::<u32>())
            + tree_size::<(Name, u32)>(self.names.len())
            + tree_size::<(Id, Pending)>(self.pending.len())
            + tree_size::<Id>(self.pending.len())
            + self.heap
    }

    // ---- consumers

    /// Number of consumers.
    pub fn consumers(&self) -> usize {
        self.names.len()
    }

    pub fn member(&self, name: &[u8]) -> Option<Member> {
        self.names.get(name).map(|number| Member(*number))
    }

    /// Adds a consumer whose name is not in use.
    pub fn join(&mut self, name: &[u8], seen_ms: i64) -> Member {
        let name: Name = name.into();
        self.heap += name_size(&name);
        let consumer = Consumer { name: name.clone(), seen_ms, owns: BTreeSet::new() };
        let number = match self.free.pop() {
            Some(number) => {
                self.consumers[number as usize] = Some(consumer);
                number
            }
            None => {
                self.consumers.push(Some(consumer));
                u32::try_from(self.consumers.len() - 1).expect("memory ends before")
            }
        };
        let before = self.names.insert(name, number);
        assert!(before.is_none(), "a consumer joins once");
        Member(number)
    }

    /// Removes a consumer, and forgets what it had to acknowledge: how much that was.
    pub fn leave(&mut self, member: Member) -> usize {
        let Some(consumer) = self.consumers[member.0 as usize].take() else { return 0 };
        self.heap -= name_size(&consumer.name);
        self.names.remove(&consumer.name);
        for id in &consumer.owns {
            self.pending.remove(id);
        }
        self.free.push(member.0);
        if self.names.is_empty() {
            (self.consumers, self.free) = (Vec::new(), Vec::new());
        }
        consumer.owns.len()
    }

    pub fn consumer(&self, member: Member) -> &Consumer {
        self.consumers[member.0 as usize].as_ref().expect("members are of this group")
    }

    fn consumer_mut(&mut self, number: u32) -> Option<&mut Consumer> {
        self.consumers.get_mut(number as usize)?.as_mut()
    }

    /// A consumer was heard of.
    pub fn note_seen(&mut self, member: Member, now_ms: i64) {
        if let Some(consumer) = self.consumer_mut(member.0) {
            consumer.seen_ms = now_ms;
        }
    }

    /// The consumers, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.names.values().map(|number| self.consumer(Member(*number)))
    }

    /// The first consumer whose name comes behind this one.
    pub fn consumer_after(&self, name: Option<&Name>) -> Option<&Consumer> {
        let number = match name {
            Some(name) => self.names.range::<Name, _>((Excluded(name), Unbounded)).next().map(|(_, n)| n),
            None => self.names.values().next(),
        };
        number.map(|number| self.consumer(Member(*number)))
    }

    // ---- what is not acknowledged

    /// Number of entries that are to be acknowledged.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    pub fn find(&self, id: Id) -> Option<Pending> {
        self.pending.get(&id).copied()
    }

    /// Entries to be acknowledged, from `start` on.
    pub fn pending_from(&self, start: Id) -> impl Iterator<Item = (Id, Pending)> {
        self.pending.range(start..).map(|(id, pending)| (*id, *pending))
    }

    /// The first and the last of them.
    pub fn pending_span(&self) -> Option<(Id, Id)> {
        Some((*self.pending.first_key_value()?.0, *self.pending.last_key_value()?.0))
    }

    /// Whose an entry is.
    pub fn owner(&self, pending: &Pending) -> &Consumer {
        self.consumer(Member(pending.consumer))
    }

    /// An entry is this consumer's from now on, and nobody else's.
    pub fn assign(&mut self, id: Id, member: Member, at_ms: i64, count: u64) -> Pending {
        let pending = Pending { at_ms, count, consumer: member.0 };
        let before = self.pending.insert(id, pending);
        if before.is_none_or(|before| before.consumer != member.0) {
            if let Some(owner) = before.and_then(|before| self.consumer_mut(before.consumer)) {
                owner.owns.remove(&id);
            }
            self.consumer_mut(member.0).expect("members are of this group").owns.insert(id);
        }
        pending
    }

    /// An entry need not be acknowledged any more; whether it had to be.
    pub fn settle(&mut self, id: Id) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        if let Some(owner) = self.consumer_mut(pending.consumer) {
            owner.owns.remove(&id);
        }
        true
    }

    /// An entry is shown to its consumer once more.
    pub fn redeliver(&mut self, id: Id, now_ms: i64) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.at_ms = now_ms;
            pending.count = pending.count.wrapping_add(1);
        }
    }

    /// An entry behind [`Group::last_id`] is delivered.
    pub fn advance(&mut self, log: &Log, id: Id) {
        self.read = match self.read {
            Some(read) if !log.has_holes_from(id) => Some(read.wrapping_add(1)),
            read if log.added == 0 => read,
            _ => log.added_until(id),
        };
        self.last_id = id;
    }

    /// Entries that are still to be delivered, where that can be told.
    pub fn lag(&self, log: &Log) -> Option<i64> {
        let read = match self.read {
            _ if log.added == 0 => return Some(0),
            Some(read) if !log.has_holes_from(self.last_id) => Some(read),
            _ => log.added_until(self.last_id),
        };
        read.map(|read| (log.added as i64).wrapping_sub(read))
    }

    // ---- taking over what payloads have

    /// An entry that is to be acknowledged, by whom comes later; false if it was there.
    pub fn adopt(&mut self, id: Id, at_ms: i64, count: u64) -> bool {
        self.pending.insert(id, Pending { at_ms, count, consumer: NOBODY }).is_none()
    }

    /// By this consumer; false if there is no such entry, or it is somebody's.
    pub fn adopt_owner(&mut self, id: Id, member: Member) -> bool {
        match self.pending.get_mut(&id) {
            Some(pending) if pending.consumer == NOBODY => pending.consumer = member.0,
            _ => return false,
        }
        self.consumer_mut(member.0).is_some_and(|consumer| consumer.owns.insert(id))
    }
}
