//! From a member's hash to its place: a linear hash table of ids.
//!
//! It holds no keys. Whoever owns the items says whether an id is the one that is looked for, and
//! what an id hashes to when a bucket is split. It grows by one bucket at a time, as the
//! [dict](crate::value::dict) does, so no insert pays for the rest of the table.

use super::chunks::Chunks;

/// Ids in one bucket; makes it a cache line.
const WAYS: usize = 11;
/// Ids for each home bucket, those further down its chain included.
const LOAD: usize = 8;
/// Buckets in a chunk.
const CHUNK: usize = 256;

/// Filled from the front; only the last bucket of a chain has room. Not aligned to its line: allocators
/// round aligned blocks up.
#[derive(Clone)]
struct Bucket {
    next: Option<Box<Bucket>>,
    ids: [u32; WAYS],
    tags: [u8; WAYS],
    count: u8,
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// The top byte: the low bits choose the bucket.
#[inline]
fn tag_of(hash: u64) -> u8 {
    (hash >> 56) as u8
}

impl Bucket {
    fn new() -> Bucket {
        Bucket { next: None, ids: [0; WAYS], tags: [0; WAYS], count: 0 }
    }

    fn chain(&self) -> impl Iterator<Item = &Bucket> {
        std::iter::successors(Some(self), |bucket| bucket.next.as_deref())
    }

    fn ids(&self) -> impl Iterator<Item = u32> {
        self.chain().flat_map(|bucket| bucket.ids[..bucket.count as usize].iter().copied())
    }

    /// Where in the chain `id` stands.
    fn slot_mut(&mut self, id: u32) -> Option<(&mut u32, &mut u8)> {
        let mut bucket = self;
        loop {
            let live = &bucket.ids[..bucket.count as usize];
            if let Some(slot) = live.iter().position(|other| *other == id) {
                return Some((&mut bucket.ids[slot], &mut bucket.tags[slot]));
            }
            bucket = bucket.next.as_mut()?;
        }
    }

    /// Adds at the chain's end; true when that took a further bucket.
    fn push(&mut self, id: u32, tag: u8) -> bool {
        let mut bucket = self;
        let mut grew = false;
        while bucket.count as usize == WAYS {
            grew = bucket.next.is_none();
            bucket = bucket.next.get_or_insert_with(|| Box::new(Bucket::new()));
        }
        let at = bucket.count as usize;
        (bucket.ids[at], bucket.tags[at]) = (id, tag);
        bucket.count += 1;
        grew
    }

    /// Takes the chain's last id; the flag is true when that freed a further bucket.
    fn pop(&mut self) -> Option<(u32, u8, bool)> {
        let mut bucket = self;
        while bucket.next.as_ref().is_some_and(|next| next.next.is_some()) {
            bucket = bucket.next.as_mut()?;
        }
        let Some(last) = &mut bucket.next else {
            let (id, tag) = bucket.pop_own()?;
            return Some((id, tag, false));
        };
        let (id, tag) = last.pop_own()?;
        let freed = last.count == 0;
        if freed {
            bucket.next = None;
        }
        Some((id, tag, freed))
    }

    fn pop_own(&mut self) -> Option<(u32, u8)> {
        let at = self.count.checked_sub(1)?;
        self.count = at;
        Some((self.ids[at as usize], self.tags[at as usize]))
    }
}

/// The table.
#[derive(Clone)]
pub struct Index {
    buckets: Chunks<Bucket, CHUNK>,
    /// Buckets that hang off a home bucket.
    further: usize,
    len: usize,
}

impl Index {
    pub fn new() -> Index {
        let mut buckets = Chunks::new();
        buckets.push(Bucket::new());
        Index { buckets, further: 0, len: 0 }
    }

    pub fn mem(&self) -> usize {
        self.buckets.mem() + self.further * size_of::<Bucket>()
    }

    pub fn allocations(&self) -> usize {
        self.buckets.allocations() + self.further
    }

    /// All bits that any bucket's number has.
    fn mask(&self) -> usize {
        self.buckets.len().next_power_of_two() - 1
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        let mask = self.mask();
        let at = hash as usize & mask;
        if at < self.buckets.len() { at } else { at & (mask >> 1) }
    }

    /// The id filed under `hash` for which `is` holds.
    #[inline]
    pub fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = tag_of(hash);
        self.buckets[self.home(hash)].chain().find_map(|bucket| {
            let live = bucket.count as usize;
            let mut slots = bucket.tags[..live].iter().zip(&bucket.ids[..live]);
            slots.find(|(other, id)| **other == tag && is(**id)).map(|(_, id)| *id)
        })
    }

    /// Files an id that is not there yet. `hash_of` says what any id that is there hashes to.
    pub fn insert(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        let home = self.home(hash);
        self.further += usize::from(self.buckets[home].push(id, tag_of(hash)));
        self.len += 1;
        if self.len > self.buckets.len() * LOAD {
            self.split_one(hash_of);
        }
    }

    /// Takes out an id that is filed under `hash`.
    pub fn remove(&mut self, hash: u64, id: u32) {
        let home = self.home(hash);
        let bucket = &mut self.buckets[home];
        let (last, last_tag, freed) = bucket.pop().expect("the id is in this chain");
        if last != id {
            let (slot, tag) = bucket.slot_mut(id).expect("the id is in this chain");
            (*slot, *tag) = (last, last_tag);
        }
        self.further -= usize::from(freed);
        self.len -= 1;
        // Half of full load: what was just split is not merged again at once.
        if self.buckets.len() > 1 && self.len < self.buckets.len() * (LOAD / 2) {
            self.merge_one();
        }
    }

    /// Gives the item that is filed under `hash` another id.
    pub fn renumber(&mut self, hash: u64, id: u32, new: u32) {
        let home = self.home(hash);
        let (slot, _) = self.buckets[home].slot_mut(id).expect("the id is in this chain");
        *slot = new;
    }

    /// Visits the ids of one chain and returns the next cursor, 0 at the end; start with 0. What is
    /// there during a whole scan is visited at least once, whatever comes and goes meanwhile.
    pub fn scan(&self, cursor: u64, visit: impl FnMut(u32)) -> u64 {
        // The buckets are the leaves of a trie over the hash's low bits, and a cursor is a place
        // in that trie's order: its bits count up from the highest. Splits and merges keep places.
        let mask = self.mask();
        let home = self.home(cursor);
        self.buckets[home].ids().for_each(visit);
        let half = mask >> 1;
        let split = home > half || home + half + 1 < self.buckets.len();
        let own_bits = if split { mask } else { half } as u64;
        (cursor | !own_bits).reverse_bits().wrapping_add(1).reverse_bits()
    }

    /// Adds a bucket and moves into it what belongs there, all from one other bucket.
    fn split_one(&mut self, hash_of: impl Fn(u32) -> u64) {
        let new = self.buckets.len();
        self.buckets.push(Bucket::new());
        let mask = self.mask();
        let old = new & (mask >> 1);
        let chain = std::mem::replace(&mut self.buckets[old], Bucket::new());
        self.further -= chain.chain().count() - 1;
        for id in chain.ids() {
            let hash = hash_of(id);
            let home = if hash as usize & mask == new { new } else { old };
            self.further += usize::from(self.buckets[home].push(id, tag_of(hash)));
        }
    }

    /// Removes the last bucket and moves its ids to where they came from.
    fn merge_one(&mut self) {
        let home = (self.buckets.len() - 1) & (self.mask() >> 1);
        let mut chain = self.buckets.pop().expect("there is more than one");
        self.further -= chain.chain().count() - 1;
        while let Some((id, tag, _)) = chain.pop() {
            self.further += usize::from(self.buckets[home].push(id, tag));
        }
    }

    #[cfg(test)]
    pub fn check(&self, hash_of: impl Fn(u32) -> u64) {
        let (mut seen, mut further) = (0, 0);
        for home in 0..self.buckets.len() {
            further += self.buckets[home].chain().count() - 1;
            for id in self.buckets[home].ids() {
                assert_eq!(self.home(hash_of(id)), home);
                assert_eq!(self.find(hash_of(id), |other| other == id), Some(id));
                seen += 1;
            }
        }
        assert_eq!((seen, further), (self.len, self.further));
    }
}
