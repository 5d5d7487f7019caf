//! One slot's table: linear hashing over buckets.
//!
//! With `n` buckets, a hash belongs to bucket `hash mod 2^(L+1)` if that exists, else to
//! `hash mod 2^L`, where `2^L <= n < 2^(L+1)`. An insert that finds the table full splits one
//! bucket, a removal that finds it empty merges one: there is never a rehash to wait for.

use std::mem;

use super::array::Array;
use super::bucket::{Bucket, WIDTH, prefetch, tag_of};
use super::entry::Entry;
use super::key::{Hasher, Key};
use super::load::Load;
use crate::util::rng::Rng;

/// Split above 12/2 entries a bucket, merge below 5/2. Chains cost less memory than emptier buckets:
/// with 305 keys, a key's share of the buckets is 14.7 bytes; splitting at 11/2 makes it 15.9.
const SPLIT: usize = 12;
const MERGE: usize = 5;
/// Entry bytes are counted in units, which every size class is a multiple of, so that 32 bits suffice for 64 GB a slot.
const UNIT: usize = 16;
/// Bytes of an entry within which most keys and their values end.
const ENTRY_NEAR: usize = 47;

/// A table of entries. All zeros is the empty one, which allocates nothing.
#[repr(C)]
pub(super) struct Table {
    buckets: Array,
    len: u32,
    volatile: u32,
    /// Bytes of all entries in [`UNIT`]s.
    units: u32,
    /// Buckets in chains, and, in the highest bit, the phase: outside of a snapshot that of every
    /// entry here, during one that of the entries which it has seen.
    chained: u32,
    /// What the slot has cost.
    pub load: Load,
}

/// A slot's table can't have so many buckets in chains that they reach this bit: 128 GB of them.
const PHASE: u32 = 1 << 31;

// a cache line
const _: () = assert!(size_of::<Table>() == 64);

/// Where an entry stands, until the table next gains or loses an entry.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    bucket: u32,
    depth: u16,
    i: u8,
}

/// What a table counts; differences of it keep a database's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub len: usize,
    pub volatile: usize,
    /// Heap bytes of table and entries, without what objects own.
    pub bytes: usize,
}

fn units(entry: &Entry) -> u32 {
    (entry.size() / UNIT) as u32
}

/// The bucket of `hash` among `n > 0`.
#[inline]
fn index(hash: u64, n: usize) -> usize {
    let big = u32::MAX >> (n as u32).leading_zeros();
    let b = hash as u32 & big;
    (if (b as usize) < n { b } else { b & big >> 1 }) as usize
}

/// `2^L`, the number of buckets before this round of splits began.
#[inline]
fn base(n: usize) -> usize {
    1 << n.ilog2()
}

impl Table {
    pub const fn new() -> Table {
        Table { buckets: Array::new(), len: 0, volatile: 0, units: 0, chained: 0, load: Load::NONE }
    }

    #[inline]
    pub fn tally(&self) -> Tally {
        Tally {
            len: self.len as usize,
            volatile: self.volatile as usize,
            bytes: self.buckets.bytes() + self.chained() as usize * 64 + self.units as usize * UNIT,
        }
    }

    #[inline]
    fn chained(&self) -> u32 {
        self.chained & !PHASE
    }

    #[inline]
    pub fn phase(&self) -> bool {
        self.chained & PHASE != 0
    }

    /// From here on no entry that is here has been seen.
    #[inline]
    pub fn turn_phase(&mut self) {
        self.chained ^= PHASE;
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub fn volatile(&self) -> usize {
        self.volatile as usize
    }

    /// Buckets, without those in chains.
    #[inline]
    pub fn width(&self) -> usize {
        self.buckets.len()
    }

    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if self.len > 0 {
            prefetch(self.buckets.address(index(hash, self.buckets.len())));
        }
    }

    /// Loads the entries of the hash's bucket that may be the key's, or else the bucket chained to it.
    /// Whether there is one: then [`Table::prefetch_chained`] is the next step.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) -> bool {
        if self.len == 0 {
            return false;
        }
        let bucket = self.buckets.get(index(hash, self.buckets.len()));
        if prefetch_matches(bucket, hash) {
            return false;
        }
        let next = bucket.next();
        if let Some(next) = next {
            prefetch((&raw const *next).cast());
        }
        next.is_some()
    }

    /// Loads the entries of the chained bucket that may be the key's.
    #[inline]
    pub fn prefetch_chained(&self, hash: u64) {
        if self.len > 0
            && let Some(next) = self.buckets.get(index(hash, self.buckets.len())).next()
        {
            prefetch_matches(next, hash);
        }
    }

    #[inline]
    pub fn find(&self, key: &Key) -> Option<Spot> {
        if self.len == 0 {
            return None;
        }
        let b = index(key.hash, self.buckets.len());
        let tag = tag_of(key.hash);
        let mut bucket = self.buckets.get(b);
        let mut depth = 0;
        loop {
            for i in bucket.matches(tag) {
                if key.is(bucket.entry(i).key()) {
                    return Some(Spot { bucket: b as u32, depth, i: i as u8 });
                }
            }
            bucket = bucket.next()?;
            depth += 1;
        }
    }

    #[inline]
    fn bucket(&self, spot: Spot) -> &Bucket {
        let mut bucket = self.buckets.get(spot.bucket as usize);
        for _ in 0..spot.depth {
            bucket = bucket.next().expect("a spot of this table");
        }
        bucket
    }

    #[inline]
    fn bucket_mut(&mut self, spot: Spot) -> &mut Bucket {
        let mut bucket = self.buckets.get_mut(spot.bucket as usize);
        for _ in 0..spot.depth {
            bucket = bucket.next_mut().expect("a spot of this table");
        }
        bucket
    }

    #[inline]
    pub fn at(&self, spot: Spot) -> &Entry {
        self.bucket(spot).entry(spot.i as usize)
    }

    /// For changes that leave size and TTL alone; else [`Table::update`].
    #[inline]
    pub fn at_mut(&mut self, spot: Spot) -> &mut Entry {
        self.bucket_mut(spot).entry_mut(spot.i as usize)
    }

    /// Changes an entry in any way that leaves its key alone.
    pub fn update<R>(&mut self, spot: Spot, change: impl FnOnce(&mut Entry) -> R) -> R {
        let bucket = self.bucket_mut(spot);
        let i = spot.i as usize;
        let entry = bucket.entry_mut(i);
        let (old_units, old_ttl) = (units(entry), entry.has_ttl());
        let out = change(entry);
        let (new_units, new_ttl) = (units(entry), entry.has_ttl());
        bucket.note_ttl(i);
        self.units = self.units - old_units + new_units;
        self.volatile = self.volatile - old_ttl as u32 + new_ttl as u32;
        out
    }

    /// Adds an entry whose key isn't here, with its hash.
    pub fn insert(&mut self, hash: u64, mut entry: Entry, hasher: &Hasher) {
        entry.set_phase(self.phase());
        if self.buckets.len() == 0 {
            self.buckets.push(Bucket::new());
        }
        self.len += 1;
        self.volatile += entry.has_ttl() as u32;
        self.units += units(&entry);
        let n = self.buckets.len();
        self.chained += self.buckets.get_mut(index(hash, n)).insert(tag_of(hash), entry);
        if self.len as usize * 2 > n * SPLIT {
            self.split(hasher);
        } else {
            self.prepare_split(n);
        }
    }

    /// Loads what the split that is due soon will read: the bucket first, an insert later its
    /// entries.
    #[inline]
    fn prepare_split(&self, n: usize) {
        let left = (n * SPLIT / 2).saturating_sub(self.len as usize);
        let next = n - base(n);
        if left == 1 {
            prefetch(self.buckets.address(next));
        } else if left == 0 {
            let bucket = self.buckets.get(next);
            for i in bucket.used() {
                prefetch(bucket.entry(i).as_ptr());
            }
        }
    }

    fn split(&mut self, hasher: &Hasher) {
        let n = self.buckets.len();
        let bit = base(n) as u64;
        let slot = self.buckets.get_mut(n - base(n));
        let old = mem::replace(slot, Bucket::new());
        old.each(&mut |entry| prefetch(entry.as_ptr()));
        let (mut low, mut high) = (Bucket::new(), Bucket::new());
        let (before, mut after) = (old.chain_len(), 0);
        old.drain(&mut |tag, entry| {
            let side = if hasher.hash(entry.key()) & bit == 0 { &mut low } else { &mut high };
            after += side.insert(tag, entry);
        });
        *slot = low;
        self.buckets.push(high);
        self.chained = self.chained - before + after;
    }

    /// Takes an entry out. Spots of this table are void.
    pub fn remove(&mut self, spot: Spot) -> Entry {
        let (_, entry) = self.bucket_mut(spot).take(spot.i as usize);
        let freed = self.buckets.get_mut(spot.bucket as usize).heal();
        self.chained -= freed;
        self.len -= 1;
        self.volatile -= entry.has_ttl() as u32;
        self.units -= units(&entry);
        if self.len == 0 {
            self.buckets = Array::new();
            debug_assert!(self.volatile == 0 && self.units == 0 && self.chained() == 0);
        } else if self.len as usize * 2 < self.buckets.len() * MERGE && self.buckets.len() > 1 {
            self.merge();
        }
        entry
    }

    fn merge(&mut self) {
        let last = self.buckets.pop();
        let n = self.buckets.len();
        self.chained -= last.chain_len();
        let into = self.buckets.get_mut(n - base(n));
        let mut grown = 0;
        last.drain(&mut |tag, entry| grown += into.insert(tag, entry));
        self.chained += grown;
    }

    /// Calls `f` with the entries of one step of a scan; returns the next cursor, 0 at the end.
    ///
    /// The cursor counts buckets of the smaller mask with its bits reversed, as Redis's does: what
    /// was there all the time is seen, however often the table grew or shrank in between.
    pub fn scan<'a>(&'a self, cursor: u64, f: &mut impl FnMut(&'a Entry)) -> u64 {
        let Some((b, twin, next)) = self.stop(cursor) else { return 0 };
        self.buckets.get(b).each(f);
        if let Some(b) = twin {
            self.buckets.get(b).each(f);
        }
        next
    }

    /// As [`Table::scan`], with entries whose access field and phase may be changed.
    pub fn scan_mut(&mut self, cursor: u64, f: &mut impl FnMut(&mut Entry)) -> u64 {
        let Some((b, twin, next)) = self.stop(cursor) else { return 0 };
        self.buckets.get_mut(b).each_mut(f);
        if let Some(b) = twin {
            self.buckets.get_mut(b).each_mut(f);
        }
        next
    }

    /// The bucket of a scan's step, the one that was split off it in this round, and the next cursor.
    #[inline]
    fn stop(&self, cursor: u64) -> Option<(usize, Option<usize>, u64)> {
        let n = self.buckets.len();
        if n == 0 {
            return None;
        }
        let size = base(n);
        let mask = size as u64 - 1;
        let b = (cursor & mask) as usize;
        let next = (cursor | !mask).reverse_bits().wrapping_add(1).reverse_bits();
        Some((b, Some(b + size).filter(|&twin| twin < n), next))
    }

    /// Loads the entries of a scan's step, without those in chains.
    pub fn prefetch_step(&self, cursor: u64) {
        if let Some((b, twin, _)) = self.stop(cursor) {
            for bucket in [Some(b), twin].into_iter().flatten().map(|b| self.buckets.get(b)) {
                bucket.used().for_each(|i| prefetch(bucket.entry(i).as_ptr()));
            }
        }
    }

    /// Calls `f` with every entry of bucket `b` and its chain.
    pub fn each_of<'a>(&'a self, b: usize, f: &mut impl FnMut(&'a Entry)) {
        self.buckets.get(b).each(f);
    }

    /// Up to `n` keys.
    pub fn keys(&self, n: usize) -> Vec<&[u8]> {
        let mut keys = Vec::with_capacity(n.min(self.len()));
        for b in 0..self.width() {
            if keys.len() >= n {
                break;
            }
            self.each_of(b, &mut |entry| keys.push(entry.key()));
        }
        keys.truncate(n);
        keys
    }

    /// Calls `f` with every entry of bucket `b` that has a TTL, without touching the others.
    pub fn each_volatile<'a>(&'a self, b: usize, f: &mut impl FnMut(&'a Entry)) {
        let mut at = Some(self.buckets.get(b));
        while let Some(bucket) = at {
            for i in bucket.volatile() {
                f(bucket.entry(i));
            }
            at = bucket.next();
        }
    }

    /// Calls `f` with every entry.
    pub fn each<'a>(&'a self, f: &mut impl FnMut(&'a Entry)) {
        for b in 0..self.buckets.len() {
            self.buckets.get(b).each(f);
        }
    }

    /// A random entry, each as likely as any other.
    pub fn random(&self, rng: &mut Rng) -> Option<&Entry> {
        let n = self.buckets.len();
        if n > 8 {
            // A bucket and a place in it, tried again when the place is empty; three chained
            // buckets' width is beyond what a table at its load has.
            for _ in 0..512 {
                let bucket = self.buckets.get(rng.below(n as u64) as usize);
                if let Some(entry) = nth(bucket, rng.below(3 * WIDTH as u64) as usize) {
                    return Some(entry);
                }
            }
        }
        let mut rank = rng.below(self.len as u64) as usize;
        for b in 0..n {
            let bucket = self.buckets.get(b);
            match nth(bucket, rank) {
                Some(entry) => return Some(entry),
                None => rank -= chain_count(bucket),
            }
        }
        None
    }
}

/// Whether there were any.
#[inline]
fn prefetch_matches(bucket: &Bucket, hash: u64) -> bool {
    let mut any = false;
    for i in bucket.matches(tag_of(hash)) {
        // an entry may begin near the end of a line
        prefetch(bucket.entry(i).as_ptr());
        prefetch(bucket.entry(i).as_ptr().wrapping_add(ENTRY_NEAR));
        any = true;
    }
    any
}

fn chain_count(bucket: &Bucket) -> usize {
    bucket.count() + bucket.next().map_or(0, chain_count)
}

/// Entry number `rank` of a chain.
fn nth(bucket: &Bucket, rank: usize) -> Option<&Entry> {
    let count = bucket.count();
    if rank < count {
        return bucket.used().nth(rank).map(|i| bucket.entry(i));
    }
    nth(bucket.next()?, rank - count)
}
