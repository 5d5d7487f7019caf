//! A bucket: one cache line of seven tags, a meta byte and seven pointers, and a chain of further
//! buckets behind the seventh pointer when it overflows.

use std::mem;
use std::ptr;

use super::entry::Entry;

/// Entries of one bucket.
pub(super) const WIDTH: usize = 7;
const LAST: usize = WIDTH - 1;
/// Where the meta byte stands behind the tags.
const META: usize = WIDTH;
/// Meta bit: the seventh pointer is the next bucket of a chain. Bits 0..7: entry i has a TTL.
const CHAINED: u8 = 0x80;

/// Invariant: `ptrs[i]` is an [`Entry`]'s pointer iff tag `i` isn't 0; `ptrs[LAST]` is a
/// `Box<Bucket>`'s iff [`CHAINED`] is set, and then the last tag is 0. The bucket owns them.
#[repr(C, align(64))]
pub(super) struct Bucket {
    /// Seven tags and the meta byte: one word, so that a search is one load.
    head: [u8; 8],
    ptrs: [*mut u8; WIDTH],
}

const _: () = assert!(size_of::<Bucket>() == 64 && size_of::<Entry>() == 8);

// SAFETY: a bucket owns its entries and its chain, which are `Send`.
unsafe impl Send for Bucket {}

const LOW: u64 = 0x007F_7F7F_7F7F_7F7F;
const ONES: u64 = 0x0001_0101_0101_0101;

/// The tag of a hash: never 0, and none of the bits that choose the bucket.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

/// The positions of a bucket that a search found, lowest first.
#[derive(Clone, Copy)]
pub(super) struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let i = self.0.trailing_zeros() as usize / 8;
        self.0 &= self.0 - 1;
        Some(i)
    }
}

/// A 0x80 in each of the low seven bytes of `word` that is zero. Exact: nothing borrows, and the
/// eighth byte changes nothing.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    !(((word & LOW) + LOW) | word | LOW) & 0x0080_8080_8080_8080
}

impl Bucket {
    pub const fn new() -> Bucket {
        Bucket { head: [0; 8], ptrs: [ptr::null_mut(); WIDTH] }
    }

    #[inline]
    fn word(&self) -> u64 {
        u64::from_le_bytes(self.head)
    }

    /// Positions whose tag is `tag`.
    #[inline]
    pub fn matches(&self, tag: u8) -> Bits {
        Bits(zero_bytes(self.word() ^ (ONES * tag as u64)))
    }

    /// Positions that hold an entry.
    #[inline]
    pub fn used(&self) -> Bits {
        Bits(zero_bytes(self.word()) ^ 0x0080_8080_8080_8080)
    }

    /// Positions whose entry has a TTL.
    #[inline]
    pub fn volatile(&self) -> impl Iterator<Item = usize> + use<> {
        let meta = self.head[META];
        (0..WIDTH).filter(move |i| meta >> i & 1 != 0)
    }

    /// Entries in this bucket, without its chain.
    #[inline]
    pub fn count(&self) -> usize {
        self.used().0.count_ones() as usize
    }

    #[inline]
    fn free(&self) -> Option<usize> {
        let mut free = Bits(zero_bytes(self.word()));
        free.next().filter(|&i| i < LAST || self.head[META] & CHAINED == 0)
    }

    /// The entry at `i`. Panics when there is none.
    #[inline]
    pub fn entry(&self, i: usize) -> &Entry {
        assert!(self.head[i] != 0);
        // SAFETY: a position with a tag holds an entry's pointer, and `Entry` is that pointer.
        unsafe { &*(&raw const self.ptrs[i]).cast::<Entry>() }
    }

    /// As [`Bucket::entry`]. After a change of the entry's TTL call [`Bucket::note_ttl`].
    #[inline]
    pub fn entry_mut(&mut self, i: usize) -> &mut Entry {
        assert!(self.head[i] != 0);
        // SAFETY: as in `entry`; `&mut self` is exclusive.
        unsafe { &mut *(&raw mut self.ptrs[i]).cast::<Entry>() }
    }

    /// Takes over from the entry at `i` whether it has a TTL.
    #[inline]
    pub fn note_ttl(&mut self, i: usize) {
        let bit = (self.entry(i).has_ttl() as u8) << i;
        self.head[META] = self.head[META] & !(1 << i) | bit;
    }

    #[inline]
    pub fn next(&self) -> Option<&Bucket> {
        if self.head[META] & CHAINED == 0 {
            return None;
        }
        // SAFETY: under this flag the pointer is a box that this bucket owns.
        Some(unsafe { &*self.ptrs[LAST].cast::<Bucket>() })
    }

    #[inline]
    pub fn next_mut(&mut self) -> Option<&mut Bucket> {
        if self.head[META] & CHAINED == 0 {
            return None;
        }
        // SAFETY: as in `next`; `&mut self` is exclusive.
        Some(unsafe { &mut *self.ptrs[LAST].cast::<Bucket>() })
    }

    fn chain(&mut self, next: Box<Bucket>) {
        debug_assert!(self.head[LAST] == 0 && self.head[META] & CHAINED == 0);
        self.ptrs[LAST] = Box::into_raw(next).cast();
        self.head[META] |= CHAINED;
    }

    fn unchain(&mut self) -> Option<Box<Bucket>> {
        if self.head[META] & CHAINED == 0 {
            return None;
        }
        self.head[META] &= !CHAINED;
        let next = mem::replace(&mut self.ptrs[LAST], ptr::null_mut());
        // SAFETY: under the flag it was a box's pointer, and the bucket no longer knows it.
        Some(unsafe { Box::from_raw(next.cast()) })
    }

    fn set(&mut self, i: usize, tag: u8, entry: Entry) {
        debug_assert!(self.head[i] == 0 && tag != 0);
        self.ptrs[i] = entry.as_ptr().cast_mut();
        self.head[i] = tag;
        self.head[META] = self.head[META] & !(1 << i) | (entry.has_ttl() as u8) << i;
        mem::forget(entry);
    }

    /// Takes the entry and its tag out of position `i` and leaves a hole: see [`Bucket::heal`].
    pub fn take(&mut self, i: usize) -> (u8, Entry) {
        let tag = mem::take(&mut self.head[i]);
        assert!(tag != 0);
        self.head[META] &= !(1 << i);
        let at = mem::replace(&mut self.ptrs[i], ptr::null_mut());
        // SAFETY: the position held this entry's pointer and no longer does.
        (tag, unsafe { mem::transmute::<*mut u8, Entry>(at) })
    }

    /// Adds an entry, anywhere in the chain. Returns how many buckets the chain grew by.
    pub fn insert(&mut self, tag: u8, entry: Entry) -> u32 {
        if let Some(i) = self.free() {
            self.set(i, tag, entry);
            return 0;
        }
        if let Some(next) = self.next_mut() {
            return next.insert(tag, entry);
        }
        let (moved_tag, moved) = self.take(LAST);
        let mut next = Box::new(Bucket::new());
        next.set(0, moved_tag, moved);
        next.set(1, tag, entry);
        self.chain(next);
        1
    }

    /// Fills holes from the chain and gives back what the chain doesn't need. Returns how many
    /// buckets it shrank by.
    pub fn heal(&mut self) -> u32 {
        let mut freed = 0;
        while let Some(i) = self.free()
            && let Some(next) = self.next_mut()
        {
            let from = next.used().next();
            if let Some(from) = from {
                let (tag, entry) = next.take(from);
                self.set(i, tag, entry);
            } else {
                let mut empty = self.unchain().expect("just seen");
                if let Some(rest) = empty.unchain() {
                    self.chain(rest);
                }
                freed += 1;
            }
        }
        self.fold_last(freed)
    }

    /// A chain whose last bucket holds one entry or none needs that bucket no more: the entry
    /// stands where its pointer stood.
    fn fold_last(&mut self, mut freed: u32) -> u32 {
        let Some(next) = self.next_mut() else { return freed };
        freed += next.heal();
        if next.head[META] & CHAINED == 0 && next.count() <= 1 {
            let mut last = self.unchain().expect("just seen");
            if let Some(i) = last.used().next() {
                let (tag, entry) = last.take(i);
                self.set(LAST, tag, entry);
            }
            freed += 1;
        }
        freed
    }

    /// Buckets behind this one.
    pub fn chain_len(&self) -> u32 {
        let mut n = 0;
        let mut at = self;
        while let Some(next) = at.next() {
            n += 1;
            at = next;
        }
        n
    }

    /// Calls `f` with each entry of the whole chain.
    #[inline]
    pub fn each<'a>(&'a self, f: &mut impl FnMut(&'a Entry)) {
        let mut at = Some(self);
        while let Some(bucket) = at {
            for i in bucket.used() {
                f(bucket.entry(i));
            }
            at = bucket.next();
        }
    }

    /// As [`Bucket::each`], for changes that leave size and TTL alone.
    #[inline]
    pub fn each_mut(&mut self, f: &mut impl FnMut(&mut Entry)) {
        let mut at = Some(self);
        while let Some(bucket) = at {
            for i in bucket.used() {
                f(bucket.entry_mut(i));
            }
            at = bucket.next_mut();
        }
    }

    /// Takes everything out of the whole chain.
    pub fn drain(mut self, f: &mut impl FnMut(u8, Entry)) {
        for i in self.used() {
            let (tag, entry) = self.take(i);
            f(tag, entry);
        }
        if let Some(next) = self.unchain() {
            next.drain(f);
        }
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        for i in self.used() {
            drop(self.take(i));
        }
        drop(self.unchain());
    }
}

/// Asks the processor to load the line at `at`. Any address will do.
#[inline]
pub(super) fn prefetch(at: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}
