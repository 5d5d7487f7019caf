//! Sorted sets: members with scores, in the order of score and then bytes.
//!
//! Small ones are a listpack of member and score, just as DUMP carries it ([`packed`]). Beyond the
//! limits ([`big`]) the members lie in one dense array; an [`index`] finds a member's place there
//! by hash, and a counted [`tree`] keeps the places in order. So a member of 16 bytes takes about
//! 60, and every operation on one member or one rank costs O(log n).

mod big;
mod bounds;
mod chunks;
mod index;
mod packed;
mod tree;

use std::ops::Range;

pub use bounds::{LexBound, LexRange, ScoreBound, ScoreRange};

use crate::util::rng::Rng;
use crate::value::listpack::{Corrupt, Elem, Listpack};
use crate::value::{Limits, alloc_size};
use big::Big;

/// A sorted set. It is empty only when new or when its last member was just removed; its key goes
/// then.
#[derive(Clone)]
pub struct ZSet {
    repr: Repr,
}

#[derive(Clone)]
enum Repr {
    Packed(Listpack),
    Big(Box<Big>),
}

/// What [`ZSet::insert`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Inserted {
    /// The member is new.
    Added,
    /// It was there with this other score.
    Updated(f64),
    /// It was there with the same score; -0 and 0 are the same.
    Same,
}

impl Default for ZSet {
    fn default() -> Self {
        ZSet::new()
    }
}

impl ZSet {
    pub fn new() -> ZSet {
        ZSet { repr: Repr::Packed(Listpack::new()) }
    }

    /// Takes over a listpack that came with a payload: pairs of member and score, no member twice,
    /// no score that is not a number, and at least one. With more pairs than the limit it becomes
    /// the big form; as in Redis, the members' length does not matter here. Pairs out of order are
    /// put in order.
    pub fn from_listpack(pack: Listpack, limits: &Limits) -> Result<ZSet, Corrupt> {
        let sorted = packed::check(&pack)?;
        let fits = pack.len() / 2 <= limits.zset_max_listpack_entries;
        if sorted && fits {
            return Ok(ZSet { repr: Repr::Packed(pack) });
        }
        let mut zset = ZSet { repr: Repr::Big(Box::new(Big::from_packed(&pack))) };
        if fits {
            zset.pack();
        }
        Ok(zset)
    }

    /// The listpack, while it is one.
    pub fn listpack(&self) -> Option<&Listpack> {
        match &self.repr {
            Repr::Packed(pack) => Some(pack),
            Repr::Big(_) => None,
        }
    }

    /// As OBJECT ENCODING calls it.
    pub fn encoding(&self) -> &'static str {
        match &self.repr {
            Repr::Packed(_) => "listpack",
            Repr::Big(_) => "skiplist",
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Packed(pack) => pack.len() / 2,
            Repr::Big(big) => big.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap, in constant time.
    pub fn mem(&self) -> usize {
        match &self.repr {
            Repr::Packed(pack) => alloc_size(pack.mem()),
            Repr::Big(big) => size_of::<Big>() + big.mem(),
        }
    }

    /// Roughly the number of allocations, in constant time.
    pub fn free_effort(&self) -> usize {
        match &self.repr {
            Repr::Packed(_) => 1,
            Repr::Big(big) => big.allocations(),
        }
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.repr {
            Repr::Packed(pack) => packed::score(pack, member),
            Repr::Big(big) => big.score(member),
        }
    }

    /// Sets a member's score, whether it is there or not. `score` is not NaN.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Limits) -> Inserted {
        assert!(!score.is_nan(), "NaN is no score: the command refuses it");
        if let Repr::Packed(pack) = &mut self.repr {
            if let Some(done) = packed::update(pack, member, score) {
                return done;
            }
            let fits = pack.len() / 2 < limits.zset_max_listpack_entries
                && member.len() <= limits.zset_max_listpack_value
                && pack.has_room_for(member.len());
            if fits {
                packed::add(pack, member, score);
                return Inserted::Added;
            }
            self.unpack();
        }
        match &mut self.repr {
            Repr::Big(big) => big.insert(member, score),
            Repr::Packed(_) => unreachable!("unpacked above"),
        }
    }

    /// Removes a member and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.repr {
            Repr::Packed(pack) => packed::remove(pack, member),
            Repr::Big(big) => big.remove(member),
        }
    }

    /// How many members stand before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.repr {
            Repr::Packed(pack) => packed::rank(pack, member),
            Repr::Big(big) => big.rank(member),
        }
    }

    /// The member at a rank.
    pub fn at(&self, rank: usize) -> Option<(Elem<'_>, f64)> {
        self.range(rank..rank.checked_add(1)?).next()
    }

    /// The ranks whose scores lie in `range`: its length is what ZCOUNT answers.
    pub fn score_ranks(&self, range: &ScoreRange) -> Range<usize> {
        let (min, max) = match &self.repr {
            Repr::Packed(pack) => (
                packed::partition(pack, |score, _| !range.min.admits_above(score)),
                packed::partition(pack, |score, _| range.max.admits_below(score)),
            ),
            Repr::Big(big) => (
                big.partition(|score, _| !range.min.admits_above(score)),
                big.partition(|score, _| range.max.admits_below(score)),
            ),
        };
        min..max.max(min)
    }

    /// The ranks whose members lie in `range`, given that all scores are equal: its length is what
    /// ZLEXCOUNT answers. With unequal scores, some range.
    pub fn lex_ranks(&self, range: &LexRange) -> Range<usize> {
        let (min, max) = match &self.repr {
            Repr::Packed(pack) => {
                let min = packed::partition(pack, |_, member| !range.min.admits_above(member));
                (min, packed::partition_from(pack, min, |_, member| range.max.admits_below(member)))
            }
            Repr::Big(big) => (
                big.partition(|_, member| !range.min.admits_above(member)),
                big.partition(|_, member| range.max.admits_below(member)),
            ),
        };
        min..max.max(min)
    }

    /// The members at these ranks, ascending; `.rev()` descends. What lies beyond the end is left
    /// out.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        let end = ranks.end.min(self.len());
        let start = ranks.start.min(end);
        Iter(match &self.repr {
            Repr::Packed(pack) => Side::Packed(packed::Pairs::new(pack, start..end)),
            Repr::Big(big) => Side::Big(big.range(start..end)),
        })
    }

    /// All members in order.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0..usize::MAX)
    }

    /// Removes the members at these ranks, calls `gone` with each in order, and returns how many
    /// there were.
    pub fn remove_ranks(&mut self, ranks: Range<usize>, mut gone: impl FnMut(&[u8], f64)) -> usize {
        let end = ranks.end.min(self.len());
        let start = ranks.start.min(end);
        match &mut self.repr {
            Repr::Packed(pack) => {
                for (member, score) in packed::Pairs::new(pack, start..end) {
                    member.with_text(|text| gone(text, score));
                }
                pack.delete_range(2 * start as isize, 2 * (end - start));
            }
            Repr::Big(big) if start == 0 && end == big.len() => {
                let all = std::mem::replace(big, Box::new(Big::new()));
                for (member, score) in all.range(0..end) {
                    member.with_text(|text| gone(text, score));
                }
            }
            Repr::Big(big) => {
                for _ in start..end {
                    let item = big.remove_at(start);
                    gone(item.member(), item.score());
                }
            }
        }
        end - start
    }

    /// Removes and returns the member with the lowest score.
    pub fn pop_min(&mut self) -> Option<(Vec<u8>, f64)> {
        self.pop_at(0)
    }

    /// Removes and returns the member with the highest score.
    pub fn pop_max(&mut self) -> Option<(Vec<u8>, f64)> {
        self.pop_at(self.len().checked_sub(1)?)
    }

    fn pop_at(&mut self, rank: usize) -> Option<(Vec<u8>, f64)> {
        let mut out = None;
        self.remove_ranks(rank..rank + 1, |member, score| out = Some((member.to_vec(), score)));
        out
    }

    /// Visits at least about `count` members from `cursor` on and returns the next cursor, 0 at
    /// the end. A listpack is visited whole, as in Redis.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Elem<'_>, f64)) -> u64 {
        match &self.repr {
            Repr::Packed(_) => {
                self.iter().for_each(|(member, score)| visit(member, score));
                0
            }
            Repr::Big(big) => big.scan(cursor, count, |member, score| visit(Elem::Str(member), score)),
        }
    }

    /// A member by chance, each as likely as any other.
    pub fn random(&self, rng: &mut Rng) -> Option<(Elem<'_>, f64)> {
        let at = rng.below(self.len() as u64) as usize;
        match &self.repr {
            Repr::Packed(_) => self.at(at),
            Repr::Big(big) => big.any(at),
        }
    }

    /// `count` different members by chance, or all in order when there are no more. The random
    /// ones come in no order that says anything.
    pub fn random_distinct(&self, rng: &mut Rng, count: usize) -> Vec<(Elem<'_>, f64)> {
        let len = self.len();
        if count >= len {
            return self.iter().collect();
        }
        match &self.repr {
            Repr::Packed(_) => {
                // One pass: each pair is taken with the chance that is left for it.
                let mut wanted = count;
                let pairs = self.iter().enumerate().filter(|(at, _)| {
                    let take = rng.below((len - at) as u64) < wanted as u64;
                    wanted -= take as usize;
                    take
                });
                pairs.map(|(_, pair)| pair).collect()
            }
            Repr::Big(big) => big.sample(rng, count),
        }
    }

    /// Turns a big form that is within the limits back into a listpack: how Redis finishes a set
    /// that a command has built from others.
    pub fn pack_if_small(&mut self, limits: &Limits) {
        let Repr::Big(big) = &self.repr else { return };
        if big.len() <= limits.zset_max_listpack_entries
            && self.iter().all(|(member, _)| member.text_len() <= limits.zset_max_listpack_value)
        {
            self.pack();
        }
    }

    /// Takes the big form for good, as SORT leaves what it has sorted.
    pub fn unpack(&mut self) {
        if let Repr::Packed(pack) = &self.repr {
            self.repr = Repr::Big(Box::new(Big::from_packed(pack)));
        }
    }

    fn pack(&mut self) {
        let mut pack = Listpack::new();
        for (member, score) in self.iter() {
            member.with_text(|text| packed::push_back(&mut pack, text, score));
        }
        self.repr = Repr::Packed(pack);
    }

    /// Panics unless the big form's parts agree with each other.
    #[cfg(test)]
    fn check(&self) {
        match &self.repr {
            Repr::Packed(pack) => assert!(pack.is_empty() || packed::check(pack) == Ok(true)),
            Repr::Big(big) => big.check(),
        }
    }
}

/// Members and scores of a run of ranks; see [`ZSet::range`].
pub struct Iter<'a>(Side<'a>);

enum Side<'a> {
    Packed(packed::Pairs<'a>),
    Big(big::Items<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Elem<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Side::Packed(pairs) => pairs.next(),
            Side::Big(items) => items.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Side::Packed(pairs) => pairs.left(),
            Side::Big(items) => items.left(),
        };
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Side::Packed(pairs) => pairs.next_back(),
            Side::Big(items) => items.next_back(),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests;
