//! Who listens to what, host-wide.
//!
//! Each shard keeps its own subscribers; this is what shards know of one another. PUBLISH finds here which
//! siblings have somebody for a channel, and how many; PUBSUB and INFO find what they show. It is written with
//! each subscription, and a name that nobody listens to is looked for without a lock where nobody listens at all.

use crate::util::glob;
use smallvec::SmallVec;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A channel's name, or a pattern. One allocation for all who know it.
pub type Name = Arc<[u8]>;

/// How many clients of which shard.
pub type Counts = SmallVec<[(usize, u64); 4]>;

/// What a client listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Channel,
    Pattern,
    /// A shard channel, by the front door: heard from whichever shard of the host serves it.
    Sharded,
    /// A shard channel, by a node's own port: heard from that node only, and as long as it serves the slot.
    Own,
}

pub const KINDS: usize = 4;

/// Names of one kind, and who listens.
#[derive(Debug, Default)]
pub struct Register {
    names: RwLock<HashMap<Name, Counts>>,
    /// How many there are.
    len: AtomicUsize,
}

impl Register {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Name, Counts>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Name, Counts>> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody listens to anything of it.
    pub fn is_empty(&self) -> bool {
        self.len.load(Relaxed) == 0
    }

    /// One more client of `shard` listens.
    pub fn join(&self, name: &Name, shard: usize) {
        let mut names = self.write();
        add(names.entry(name.clone()).or_default(), shard, 1);
        self.len.store(names.len(), Relaxed);
    }

    /// One client of `shard` less.
    pub fn leave(&self, name: &[u8], shard: usize) {
        let mut names = self.write();
        if let Some(counts) = names.get_mut(name) {
            counts.iter_mut().filter(|(at, _)| *at == shard).for_each(|(_, n)| *n = n.saturating_sub(1));
            counts.retain(|(_, n)| *n > 0);
            if counts.is_empty() {
                names.remove(name);
            }
        }
        self.len.store(names.len(), Relaxed);
    }

    /// The shards whose clients listen to anything of it.
    pub fn shards(&self) -> BTreeSet<usize> {
        self.read().values().flatten().map(|(shard, _)| *shard).collect()
    }

    /// How many different names clients of these shards listen to.
    pub fn distinct(&self, shards: &Range<usize>) -> usize {
        self.read().values().filter(|counts| counts.iter().any(|(shard, _)| shards.contains(shard))).count()
    }
}

#[derive(Debug, Default)]
pub struct Audience {
    registers: [Register; KINDS],
    /// Who wants to hear of keys with which prefixes (CLIENT TRACKING with BCAST).
    pub prefixes: Register,
    /// Clients of each shard that are shown every command.
    monitors: Vec<AtomicUsize>,
    /// Bytes of messages on their way from sibling to sibling, by the one that they are for.
    unheard: Vec<AtomicU64>,
    /// Whether a shard has not been sent something because it did not keep up.
    lost: Vec<AtomicBool>,
}

impl Audience {
    pub fn new(shards: usize) -> Audience {
        let unheard = (0..shards).map(|_| AtomicU64::new(0)).collect();
        let monitors = (0..shards).map(|_| AtomicUsize::new(0)).collect();
        let lost = (0..shards).map(|_| AtomicBool::new(false)).collect();
        Audience { unheard, monitors, lost, ..Audience::default() }
    }

    fn of(&self, kind: Kind) -> &Register {
        &self.registers[kind as usize]
    }

    /// One more client of `shard` listens.
    pub fn join(&self, kind: Kind, name: &Name, shard: usize) {
        self.of(kind).join(name, shard);
    }

    /// One client of `shard` less.
    pub fn leave(&self, kind: Kind, name: &[u8], shard: usize) {
        self.of(kind).leave(name, shard);
    }

    /// Who listens to exactly this, on which shards.
    pub fn listeners(&self, kind: Kind, name: &[u8]) -> Counts {
        let register = self.of(kind);
        if register.is_empty() {
            Counts::new()
        } else {
            register.read().get(name).cloned().unwrap_or_default()
        }
    }

    /// Who hears a message on `channel`: by its name, and by patterns that match it.
    pub fn hearers(&self, channel: &[u8]) -> Counts {
        let mut all = self.listeners(Kind::Channel, channel);
        let patterns = self.of(Kind::Pattern);
        if !patterns.is_empty() {
            for (_, counts) in
                patterns.read().iter().filter(|(pattern, _)| glob::matches(pattern, channel, false))
            {
                counts.iter().for_each(|&(shard, n)| add(&mut all, shard, n));
            }
        }
        all
    }

    /// How many clients of these shards listen to exactly this.
    pub fn count(&self, kind: Kind, name: &[u8], shards: &Range<usize>) -> u64 {
        self.listeners(kind, name).iter().filter(|(shard, _)| shards.contains(shard)).map(|(_, n)| n).sum()
    }

    /// How many different names of these kinds clients of these shards listen to.
    pub fn distinct(&self, kinds: &[Kind], shards: &Range<usize>) -> usize {
        let heard = |counts: &Counts| counts.iter().any(|(shard, _)| shards.contains(shard));
        let mut before: Vec<RwLockReadGuard<'_, HashMap<Name, Counts>>> = Vec::new();
        let mut found = 0;
        for register in kinds.iter().map(|kind| self.of(*kind)).filter(|register| !register.is_empty()) {
            let names = register.read();
            let is_new = |name: &Name| !before.iter().any(|names| names.get(name).is_some_and(heard));
            found += names.iter().filter(|(name, counts)| heard(counts) && is_new(name)).count();
            before.push(names);
        }
        found
    }

    /// What clients of these shards listen to.
    pub fn names(&self, kinds: &[Kind], shards: &Range<usize>) -> BTreeSet<Name> {
        let mut found = BTreeSet::new();
        for register in kinds.iter().map(|kind| self.of(*kind)).filter(|register| !register.is_empty()) {
            let names = register.read();
            let theirs = names.iter().filter(|(_, c)| c.iter().any(|(shard, _)| shards.contains(shard)));
            found.extend(theirs.map(|(name, _)| name.clone()));
        }
        found
    }

    /// Whether anybody listens to any channel but shard channels.
    pub fn is_there(&self) -> bool {
        !self.of(Kind::Channel).is_empty() || !self.of(Kind::Pattern).is_empty()
    }

    pub fn set_monitors(&self, shard: usize, clients: usize) {
        self.monitors[shard].store(clients, Relaxed);
    }

    /// How many clients of a shard are shown every command.
    pub fn monitors(&self, shard: usize) -> usize {
        self.monitors[shard].load(Relaxed)
    }

    // ---- messages on their way

    pub fn note_sent(&self, to: usize, bytes: usize) {
        self.unheard[to].fetch_add(bytes as u64, Relaxed);
    }

    pub fn note_heard(&self, by: usize, bytes: usize) {
        self.unheard[by].fetch_sub(bytes as u64, Relaxed);
    }

    /// Bytes that are on their way to a shard.
    pub fn unheard(&self, by: usize) -> u64 {
        self.unheard[by].load(Relaxed)
    }

    /// Something for a shard is lost. True for the first since it has last asked.
    pub fn note_lost(&self, to: usize) -> bool {
        !self.lost[to].swap(true, Relaxed)
    }

    /// Whether anything for a shard was lost since it has last asked.
    pub fn take_lost(&self, by: usize) -> bool {
        self.lost[by].load(Relaxed) && self.lost[by].swap(false, Relaxed)
    }
}

fn add(counts: &mut Counts, shard: usize, n: u64) {
    match counts.iter_mut().find(|(at, _)| *at == shard) {
        Some((_, count)) => *count += n,
        None => counts.push((shard, n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.as_bytes().into()
    }

    #[test]
    fn subscriptions_are_counted_by_shard_and_leave_nothing() {
        let a = Audience::new(2);
        let joined = [(Kind::Channel, "news", 0), (Kind::Channel, "news", 1), (Kind::Channel, "news", 1)];
        let patterns = [(Kind::Pattern, "n*", 0), (Kind::Pattern, "x*", 1), (Kind::Own, "news", 1)];
        for (kind, of, shard) in joined.into_iter().chain(patterns) {
            a.join(kind, &name(of), shard);
        }
        assert_eq!(a.listeners(Kind::Channel, b"news")[..], [(0, 1), (1, 2)]);
        assert_eq!(a.hearers(b"news")[..], [(0, 2), (1, 2)]);
        assert_eq!(a.hearers(b"xy")[..], [(1, 1)]);
        assert!(a.hearers(b"other").is_empty());
        assert_eq!(
            (a.count(Kind::Channel, b"news", &(1..2)), a.count(Kind::Channel, b"news", &(0..2))),
            (2, 3)
        );
        let names = |kinds: &[Kind], shards| {
            let listed = a.names(kinds, &shards).len();
            assert_eq!(a.distinct(kinds, &shards), listed);
            listed
        };
        assert_eq!((names(&[Kind::Pattern], 0..2), names(&[Kind::Pattern], 0..1)), (2, 1));
        assert_eq!(names(&[Kind::Sharded, Kind::Own], 0..2), 1);
        for (kind, of, shard) in joined.into_iter().chain(patterns) {
            a.leave(kind, of.as_bytes(), shard);
        }
        assert!(a.registers.iter().all(|r| r.is_empty() && r.read().is_empty()));
    }
}
