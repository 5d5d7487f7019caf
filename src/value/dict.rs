//! The dict: a hash table of byte-keyed items that grows and shrinks one bucket at a time.
//!
//! Hashes, sets and sorted sets beyond their packed form keep their items here. Linear hashing:
//! with N buckets, an item's home is its hash modulo the power of two at or above N, and modulo
//! half of that where there is no such bucket yet. Adding bucket N splits just one other, so no
//! insert ever pays for the rest of the table, and memory per item is the same at every size.
//!
//! A bucket is 120 bytes for items of 16: six items with a byte of hash each, and a link to a further
//! bucket.
//! Buckets live in segments of fixed size, so that growth copies no buckets either.

use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use crate::util::rng::Rng;
use crate::value::alloc_size;

/// Items in one bucket.
const WAYS: usize = 6;
/// Items a home bucket on average, further ones of its chain included: more is tighter and slower.
const LOAD: usize = 6;
/// Buckets in a segment.
const SEGMENT: usize = 256;

/// What a dict can hold: something that knows its key.
pub trait Item {
    /// The key. `note` is the byte that was given when the item was put in: the dict has a byte to
    /// spare for each item, and an item can save an allocator's size class by keeping one there.
    fn key(&self, note: u8) -> &[u8];
}

/// A whole allocation as key: a set's member.
impl Item for Box<[u8]> {
    fn key(&self, _note: u8) -> &[u8] {
        self
    }
}

struct Seed {
    own: u64,
    shared: SharedSeed,
}

static SEED: OnceLock<Seed> = OnceLock::new();

fn seed(own: u64) -> Seed {
    Seed { own, shared: SharedSeed::from_u64(own.rotate_left(32) ^ 0x5EED) }
}

/// Sets the seed of every dict of this process, so that no client can know which keys collide. To
/// be called before the first value exists: once a key was hashed, the seed stays, and this does
/// nothing. Without it the seed is fixed, as tests want it.
pub fn set_hash_seed(own: u64) {
    SEED.get_or_init(|| seed(own));
}

/// The hash by which every dict files `key`.
#[inline]
pub fn hash_of(key: &[u8]) -> u64 {
    let seed = SEED.get_or_init(|| seed(0));
    struct Keyed<'a>(&'a Seed);
    impl<'a> BuildHasher for Keyed<'a> {
        type Hasher = FoldHasher<'a>;
        fn build_hasher(&self) -> FoldHasher<'a> {
            FoldHasher::with_seed(self.0.own, &self.0.shared)
        }
    }
    let mut hasher = Keyed(seed).build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// The top byte: the low bits choose the bucket.
#[inline]
fn tag_of(hash: u64) -> u8 {
    (hash >> 56) as u8
}

/// Filled from the front; only the last bucket of a chain has free slots. Not aligned to a cache
/// line: allocators pay for that with larger blocks, 6 bytes an item of a million.
#[repr(C)]
struct Bucket<T> {
    next: Option<Box<Bucket<T>>>,
    tags: [u8; WAYS],
    notes: [u8; WAYS],
    count: u8,
    slots: [Option<T>; WAYS],
}

impl<T> Bucket<T> {
    fn new() -> Bucket<T> {
        Bucket { next: None, tags: [0; WAYS], notes: [0; WAYS], count: 0, slots: [const { None }; WAYS] }
    }

    fn chain(&self) -> Chain<'_, T> {
        Chain { next: Some(self) }
    }

    fn items(&self) -> impl Iterator<Item = (&T, u8)> {
        self.chain().flat_map(|bucket| {
            let live = &bucket.slots[..bucket.count as usize];
            live.iter().zip(bucket.notes).filter_map(|(slot, note)| Some((slot.as_ref()?, note)))
        })
    }

    fn chain_len(&self) -> usize {
        self.chain().map(|bucket| bucket.count as usize).sum()
    }

    /// Adds at the chain's end; true when that took a further bucket.
    fn push(&mut self, item: T, note: u8, tag: u8) -> bool {
        let mut bucket = self;
        let mut grew = false;
        while bucket.count as usize == WAYS {
            grew = bucket.next.is_none();
            bucket = bucket.next.get_or_insert_with(|| Box::new(Bucket::new()));
        }
        let at = bucket.count as usize;
        bucket.tags[at] = tag;
        bucket.notes[at] = note;
        bucket.slots[at] = Some(item);
        bucket.count += 1;
        grew
    }

    /// Takes the chain's last item; the flag is true when that freed a further bucket.
    fn pop(&mut self) -> Option<(T, u8, u8, bool)> {
        let mut bucket = self;
        while bucket.next.as_ref().is_some_and(|next| next.next.is_some()) {
            bucket = bucket.next.as_mut()?;
        }
        let Some(last) = &mut bucket.next else {
            let (item, note, tag) = bucket.pop_own()?;
            return Some((item, note, tag, false));
        };
        let (item, note, tag) = last.pop_own()?;
        let freed = last.count == 0;
        if freed {
            bucket.next = None;
        }
        Some((item, note, tag, freed))
    }

    fn pop_own(&mut self) -> Option<(T, u8, u8)> {
        let at = (self.count as usize).checked_sub(1)?;
        self.count -= 1;
        Some((self.slots[at].take()?, self.notes[at], self.tags[at]))
    }

    /// The bucket `depth` links down.
    fn down(&mut self, depth: usize) -> &mut Bucket<T> {
        let mut bucket = self;
        for _ in 0..depth {
            bucket = bucket.next.as_mut().expect("a place comes from this chain");
        }
        bucket
    }
}

/// Without this a long chain would be freed by recursion.
impl<T> Drop for Bucket<T> {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut bucket) = next {
            next = bucket.next.take();
        }
    }
}

struct Chain<'a, T> {
    next: Option<&'a Bucket<T>>,
}

impl<'a, T> Iterator for Chain<'a, T> {
    type Item = &'a Bucket<T>;

    #[inline]
    fn next(&mut self) -> Option<&'a Bucket<T>> {
        let bucket = self.next?;
        self.next = bucket.next.as_deref();
        Some(bucket)
    }
}

/// Where an item is: home bucket, links down its chain, slot.
#[derive(Clone, Copy)]
struct Place {
    home: usize,
    depth: usize,
    slot: usize,
}

/// The table. Keys are unique if the caller looks before it inserts.
pub struct Dict<T> {
    segments: Vec<Vec<Bucket<T>>>,
    /// Home buckets.
    buckets: usize,
    /// Buckets that hang off a home bucket.
    further: usize,
    len: usize,
}

impl<T: Item> Default for Dict<T> {
    fn default() -> Self {
        Dict::new()
    }
}

impl<T: Item> Dict<T> {
    pub fn new() -> Dict<T> {
        Dict { segments: vec![vec![Bucket::new()]], buckets: 1, further: 0, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the table, without what the items own on the heap.
    pub fn mem(&self) -> usize {
        let bytes = |buckets: usize| alloc_size(buckets * size_of::<Bucket<T>>());
        let homes = match self.segments.as_slice() {
            [only] => bytes(only.capacity()),
            _ => self.segments.len() * bytes(SEGMENT),
        };
        let segments = self.segments.capacity() * size_of::<Vec<Bucket<T>>>();
        homes + self.further * bytes(1) + alloc_size(segments)
    }

    /// The item under `key` and its note.
    pub fn get(&self, key: &[u8]) -> Option<(&T, u8)> {
        self.get_hashed(hash_of(key), key)
    }

    /// As [`Self::get`], for a caller that goes on with the same hash.
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<(&T, u8)> {
        let place = self.find(hash, key)?;
        let bucket = self.bucket(place.home).chain().nth(place.depth)?;
        Some((bucket.slots[place.slot].as_ref()?, bucket.notes[place.slot]))
    }

    /// The item under `key` and its note, to be changed in all but its key.
    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<(&mut T, &mut u8)> {
        let place = self.find(hash, key)?;
        let bucket = self.bucket_mut(place.home).down(place.depth);
        Some((bucket.slots[place.slot].as_mut()?, &mut bucket.notes[place.slot]))
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.find(hash_of(key), key).is_some()
    }

    /// Puts in an item whose key is not there yet; `hash` is the [`hash_of`] that key.
    pub fn insert_new(&mut self, hash: u64, item: T, note: u8) {
        debug_assert!(self.find(hash, item.key(note)).is_none());
        let home = self.home(hash);
        let grew = self.bucket_mut(home).push(item, note, tag_of(hash));
        self.further += usize::from(grew);
        self.len += 1;
        if self.len > self.buckets * LOAD {
            self.split_one();
        }
    }

    /// Takes out the item under `key`.
    pub fn remove(&mut self, key: &[u8]) -> Option<(T, u8)> {
        let place = self.find(hash_of(key), key)?;
        let out = self.take(place);
        // Half of full load: what was just split is not merged again at once.
        if self.buckets > 1 && self.len < self.buckets * (LOAD / 2) {
            self.merge_one();
        }
        Some(out)
    }

    /// All items with their notes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&T, u8)> {
        self.segments.iter().flatten().flat_map(Bucket::items)
    }

    /// Visits the items of one chain and returns the next cursor, 0 at the end; start with 0. What
    /// is in the dict during a whole scan is visited at least once, whatever comes, goes, grows or
    /// shrinks meanwhile, as with Redis's SCAN.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&T, u8)) -> u64 {
        // The buckets are the leaves of a trie over the hash's low bits, and a cursor is a place in
        // that trie's order: its bits count up from the highest. Splits and merges keep places.
        let mask = self.mask();
        let home = self.home(cursor);
        for (item, note) in self.bucket(home).items() {
            visit(item, note);
        }
        let half = mask >> 1;
        let split = home > half || home + half + 1 < self.buckets;
        let own_bits = if split { mask } else { half } as u64;
        (cursor | !own_bits).reverse_bits().wrapping_add(1).reverse_bits()
    }

    /// An item by chance: each as likely as any other, but for those of unusually long chains.
    pub fn random(&self, rng: &mut Rng) -> Option<(&T, u8)> {
        if self.len == 0 {
            return None;
        }
        loop {
            // A bucket by chance, then a slot that a shorter chain may not have: so what shares its
            // chain with many comes no more seldom than what doesn't.
            let home = self.bucket(rng.below(self.buckets as u64) as usize);
            let held = home.chain_len();
            let at = rng.below(held.max(3 * LOAD) as u64) as usize;
            if at < held {
                let bucket = home.chain().nth(at / WAYS)?;
                return Some((bucket.slots[at % WAYS].as_ref()?, bucket.notes[at % WAYS]));
            }
        }
    }

    // --- places ---

    /// All bits that any bucket's number has.
    fn mask(&self) -> usize {
        self.buckets.next_power_of_two() - 1
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        let mask = self.mask();
        let at = hash as usize & mask;
        if at < self.buckets { at } else { at & (mask >> 1) }
    }

    #[inline]
    fn bucket(&self, at: usize) -> &Bucket<T> {
        &self.segments[at / SEGMENT][at % SEGMENT]
    }

    #[inline]
    fn bucket_mut(&mut self, at: usize) -> &mut Bucket<T> {
        &mut self.segments[at / SEGMENT][at % SEGMENT]
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let home = self.home(hash);
        let tag = tag_of(hash);
        for (depth, bucket) in self.bucket(home).chain().enumerate() {
            for slot in 0..bucket.count as usize {
                if bucket.tags[slot] == tag
                    && let Some(item) = &bucket.slots[slot]
                    && item.key(bucket.notes[slot]) == key
                {
                    return Some(Place { home, depth, slot });
                }
            }
        }
        None
    }

    /// Empties a place and fills it from the chain's end.
    fn take(&mut self, place: Place) -> (T, u8) {
        self.len -= 1;
        let home = self.bucket_mut(place.home);
        let (last, note, tag, freed) = home.pop().expect("a place is not in an empty chain");
        // The chain's last item may be the very one, and its bucket be gone.
        let mut bucket = Some(home);
        for _ in 0..place.depth {
            bucket = bucket.and_then(|b| b.next.as_deref_mut());
        }
        let out = match bucket.and_then(|b| {
            let slot = b.slots[place.slot].as_mut()?;
            b.tags[place.slot] = tag;
            Some((slot, &mut b.notes[place.slot]))
        }) {
            Some((slot, slot_note)) => (std::mem::replace(slot, last), std::mem::replace(slot_note, note)),
            None => (last, note),
        };
        self.further -= usize::from(freed);
        out
    }

    // --- growth ---

    /// Adds a bucket and moves into it what belongs there, all from one other bucket.
    fn split_one(&mut self) {
        let new = self.buckets;
        self.buckets += 1;
        let mask = self.mask();
        let old = new & (mask >> 1);
        self.add_bucket();
        let mut chain = std::mem::replace(self.bucket_mut(old), Bucket::new());
        self.further -= chain.chain().count() - 1;
        while let Some((item, note, tag, _)) = chain.pop() {
            // The tag is the hash's top byte, but the bit that decides here has to be hashed anew.
            let home = if hash_of(item.key(note)) as usize & mask == new { new } else { old };
            let grew = self.bucket_mut(home).push(item, note, tag);
            self.further += usize::from(grew);
        }
    }

    /// Removes the last bucket and moves its items to where they came from.
    fn merge_one(&mut self) {
        let last = self.buckets - 1;
        let home = last & (self.mask() >> 1);
        let segment = self.segments.last_mut().expect("there is a bucket");
        let mut chain = segment.pop().expect("no segment is empty");
        if segment.is_empty() {
            self.segments.pop();
        } else if self.segments.len() == 1 {
            shrink(&mut self.segments[0]);
        }
        shrink(&mut self.segments);
        self.buckets -= 1;
        self.further -= chain.chain().count() - 1;
        while let Some((item, note, tag, _)) = chain.pop() {
            let grew = self.bucket_mut(home).push(item, note, tag);
            self.further += usize::from(grew);
        }
    }

    fn add_bucket(&mut self) {
        let room = match self.segments.as_mut_slice() {
            // A small dict's only segment grows by quarters instead.
            [only] if only.len() < SEGMENT => {
                if only.len() == only.capacity() {
                    only.reserve_exact((only.len() / 4).clamp(1, SEGMENT - only.len()));
                }
                true
            }
            [.., last] => last.len() < SEGMENT,
            [] => false,
        };
        if !room {
            self.segments.push(Vec::with_capacity(SEGMENT));
        }
        self.segments.last_mut().expect("one was there or pushed").push(Bucket::new());
    }
}

fn shrink<T>(v: &mut Vec<T>) {
    if v.capacity() > 2 * v.len() {
        v.shrink_to(v.len() + v.len() / 4);
    }
}

impl<T: Item + Clone> Clone for Dict<T> {
    fn clone(&self) -> Self {
        let copy = |bucket: &Bucket<T>| {
            let mut out = Bucket::new();
            for link in bucket.chain() {
                for at in 0..link.count as usize {
                    if let Some(item) = &link.slots[at] {
                        out.push(item.clone(), link.notes[at], link.tags[at]);
                    }
                }
            }
            out
        };
        let mut segments = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            let mut to = Vec::with_capacity(segment.capacity().min(SEGMENT));
            to.extend(segment.iter().map(copy));
            segments.push(to);
        }
        Dict { segments, buckets: self.buckets, further: self.further, len: self.len }
    }
}

#[cfg(test)]
mod tests;
