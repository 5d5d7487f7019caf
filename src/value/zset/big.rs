//! The big form: members in a dense array, found by hash and kept in order by place.

use std::cmp::Ordering;
use std::ops::Range;

use super::chunks::Chunks;
use super::index::Index;
use super::tree::{Entries, Tree};
use super::{Inserted, packed};
use crate::util::rng::Rng;
use crate::value::alloc_size;
use crate::value::dict::hash_of;
use crate::value::listpack::{Elem, Listpack};

/// Members up to this length lie in their item.
const SHORT: usize = 22;
/// Items in a chunk.
const CHUNK: usize = 1024;

#[derive(Clone)]
enum Member {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

/// A member and its score.
#[derive(Clone)]
pub struct Item {
    score: f64,
    member: Member,
}

const _: () = assert!(size_of::<Item>() == 32);

impl Item {
    fn new(member: &[u8], score: f64) -> Item {
        let member = match member.len() {
            len @ 0..=SHORT => {
                let mut bytes = [0; SHORT];
                bytes[..len].copy_from_slice(member);
                Member::Short { len: len as u8, bytes }
            }
            _ => Member::Long(member.into()),
        };
        Item { score, member }
    }

    #[inline]
    pub fn member(&self) -> &[u8] {
        match &self.member {
            Member::Short { len, bytes } => &bytes[..*len as usize],
            Member::Long(bytes) => bytes,
        }
    }

    pub fn score(&self) -> f64 {
        self.score
    }

    /// Bytes that the member has on the heap.
    fn heap(&self) -> usize {
        match &self.member {
            Member::Short { .. } => 0,
            Member::Long(bytes) => alloc_size(bytes.len()),
        }
    }
}

/// The items; an item's id is its place among them.
#[derive(Clone)]
struct Store(Chunks<Item, CHUNK>);

impl Store {
    #[inline]
    fn get(&self, id: u32) -> &Item {
        &self.0[id as usize]
    }

    fn hash(&self, id: u32) -> u64 {
        hash_of(self.get(id).member())
    }

    /// Whether (`other_score`, item `other`) comes before (`score`, `member`).
    #[inline]
    fn comes_before(&self, other_score: f64, other: u32, score: f64, member: &[u8]) -> bool {
        match other_score.partial_cmp(&score) {
            Some(Ordering::Equal) | None => self.get(other).member() < member,
            Some(order) => order.is_lt(),
        }
    }
}

/// The big form.
#[derive(Clone)]
pub struct Big {
    items: Store,
    index: Index,
    tree: Tree,
    /// Heap bytes and number of the members that do not lie in their items.
    long_bytes: usize,
    long_members: usize,
}

impl Big {
    pub fn new() -> Big {
        Big {
            items: Store(Chunks::new()),
            index: Index::new(),
            tree: Tree::new(),
            long_bytes: 0,
            long_members: 0,
        }
    }

    /// `pack` holds pairs that were checked, in whatever order.
    pub fn from_packed(pack: &Listpack) -> Big {
        let mut big = Big::new();
        for (member, score) in packed::Pairs::new(pack, 0..pack.len() / 2) {
            member.with_text(|text| big.insert(text, score));
        }
        big
    }

    pub fn len(&self) -> usize {
        self.items.0.len()
    }

    pub fn mem(&self) -> usize {
        self.items.0.mem() + self.index.mem() + self.tree.mem() + self.long_bytes
    }

    pub fn allocations(&self) -> usize {
        self.items.0.allocations() + self.index.allocations() + self.tree.allocations() + self.long_members
    }

    #[inline]
    fn find(&self, hash: u64, member: &[u8]) -> Option<u32> {
        self.index.find(hash, |id| self.items.get(id).member() == member)
    }

    /// How many come before (`score`, `member`).
    #[inline]
    fn place(&self, score: f64, member: &[u8]) -> usize {
        let items = &self.items;
        self.tree.partition(|other_score, other| items.comes_before(other_score, other, score, member))
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let id = self.find(hash_of(member), member)?;
        Some(self.items.get(id).score)
    }

    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(member)?;
        Some((self.place(score, member), score))
    }

    pub fn insert(&mut self, member: &[u8], score: f64) -> Inserted {
        let hash = hash_of(member);
        if let Some(id) = self.find(hash, member) {
            let old = self.items.get(id).score;
            if old == score {
                return Inserted::Same;
            }
            self.tree.remove_at(self.place(old, member));
            self.tree.insert_at(self.place(score, member), (score, id));
            self.items.0[id as usize].score = score;
            return Inserted::Updated(old);
        }
        let id = u32::try_from(self.len()).expect("a sorted set has fewer than 2^32 members");
        let item = Item::new(member, score);
        self.long_bytes += item.heap();
        self.long_members += usize::from(item.heap() > 0);
        self.tree.insert_at(self.place(score, member), (score, id));
        self.items.0.push(item);
        let items = &self.items;
        self.index.insert(hash, id, |id| items.hash(id));
        Inserted::Added
    }

    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (rank, _) = self.rank(member)?;
        Some(self.remove_at(rank).score)
    }

    /// Takes out the item at `rank`. The last item moves to its place in the array, so that the
    /// array has no holes.
    pub fn remove_at(&mut self, rank: usize) -> Item {
        let (_, id) = self.tree.remove_at(rank);
        self.index.remove(self.items.hash(id), id);
        let last = (self.len() - 1) as u32;
        if last != id {
            let moved = self.items.get(last);
            let rank = self.place(moved.score, moved.member());
            self.tree.renumber(rank, id);
            self.index.renumber(self.items.hash(last), last, id);
        }
        let item = self.items.0.swap_remove(id as usize);
        self.long_bytes -= item.heap();
        self.long_members -= usize::from(item.heap() > 0);
        item
    }

    /// How many items at the start are `before`.
    pub fn partition(&self, mut before: impl FnMut(f64, &[u8]) -> bool) -> usize {
        self.tree.partition(|score, id| before(score, self.items.get(id).member()))
    }

    /// `ranks` lies within the set.
    pub fn range(&self, ranks: Range<usize>) -> Items<'_> {
        Items { items: &self.items, entries: self.tree.range(ranks) }
    }

    /// Whole chains until `count` items were visited, and over no more than ten times as many
    /// chains, as Redis does for SCAN's COUNT.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        let mut cursor = cursor;
        let mut visited = 0;
        let mut chains = count.saturating_mul(10);
        loop {
            cursor = self.index.scan(cursor, |id| {
                let item = self.items.get(id);
                visit(item.member(), item.score);
                visited += 1;
            });
            chains = chains.saturating_sub(1);
            if cursor == 0 || chains == 0 || visited >= count {
                return cursor;
            }
        }
    }

    /// The item at place `at` in the array, which is any place in the order.
    pub fn any(&self, at: usize) -> Option<(Elem<'_>, f64)> {
        (at < self.len()).then(|| {
            let item = &self.items.0[at];
            (Elem::Str(item.member()), item.score)
        })
    }

    /// `count` different items, fewer than there are, shuffled (Floyd's algorithm).
    pub fn sample(&self, rng: &mut Rng, count: usize) -> Vec<(Elem<'_>, f64)> {
        let mut taken = std::collections::BTreeSet::new();
        let mut out = Vec::with_capacity(count);
        for top in self.len() - count..self.len() {
            let at = rng.below(top as u64 + 1) as usize;
            let at = if taken.insert(at) { at } else { top };
            taken.insert(at);
            out.extend(self.any(at));
        }
        for at in (1..out.len()).rev() {
            out.swap(at, rng.below(at as u64 + 1) as usize);
        }
        out
    }

    #[cfg(test)]
    pub fn check(&self) {
        self.tree.check();
        self.index.check(|id| self.items.hash(id));
        let mut seen = vec![false; self.len()];
        let mut last: Option<(f64, &[u8])> = None;
        for (score, id) in self.tree.range(0..self.len()) {
            let item = self.items.get(id);
            assert_eq!(item.score, score);
            assert!(!std::mem::replace(&mut seen[id as usize], true));
            if let Some((before, member)) = last {
                assert!((before, member) < (score, item.member()));
            }
            last = Some((score, item.member()));
        }
        assert!(seen.iter().all(|seen| *seen));
        assert_eq!(self.long_bytes, self.items.0.iter().map(Item::heap).sum::<usize>());
    }
}

/// Items of a run of ranks; see [`Big::range`].
pub struct Items<'a> {
    items: &'a Store,
    entries: Entries<'a>,
}

impl Items<'_> {
    pub fn left(&self) -> usize {
        self.entries.left()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = (Elem<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        let (score, id) = self.entries.next()?;
        Some((Elem::Str(self.items.get(id).member()), score))
    }
}

impl DoubleEndedIterator for Items<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let (score, id) = self.entries.next_back()?;
        Some((Elem::Str(self.items.get(id).member()), score))
    }
}
