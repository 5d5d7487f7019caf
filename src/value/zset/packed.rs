//! The small form: a listpack of member, score, member, score, in order.

use std::cmp::Ordering;
use std::ops::Range;

use crate::util::num::{Buf, exact_i64, parse_f64, write_double, write_i64};
use crate::value::listpack::{self, Corrupt, Elem, Listpack, Pos};
use crate::value::zset::Inserted;

/// The score as Redis writes it there: an integer where that is exact (so -0 becomes 0).
fn score_text(score: f64) -> Buf {
    let mut text = Buf::new();
    match exact_i64(score) {
        Some(n) => write_i64(&mut text, n),
        None => write_double(&mut text, score),
    }
    text
}

fn try_score_of(elem: Elem<'_>) -> Option<f64> {
    match elem {
        Elem::Int(n) => Some(n as f64),
        Elem::Str(text) => parse_f64(text),
    }
}

fn score_of(elem: Elem<'_>) -> f64 {
    try_score_of(elem).expect("scores were checked when they came in")
}

/// The order of pairs.
fn order(score: f64, member: &[u8], other_score: f64, other: Elem<'_>) -> Ordering {
    match score.partial_cmp(&other_score) {
        Some(Ordering::Equal) | None => other.with_text(|text| member.cmp(text)),
        Some(order) => order,
    }
}

/// Whether the pairs are in order; an error unless they are pairs of a member that is there once
/// and a score.
pub fn check(pack: &Listpack) -> Result<bool, Corrupt> {
    let len = pack.len();
    if len == 0 || !len.is_multiple_of(2) || pack.repeats(2) {
        return Err(Corrupt);
    }
    let mut sorted = true;
    let mut last: Option<(Elem<'_>, f64)> = None;
    let mut elems = pack.iter();
    while let (Some(member), Some(score)) = (elems.next(), elems.next()) {
        let score = try_score_of(score).ok_or(Corrupt)?;
        if let Some((before, before_score)) = last {
            sorted &= member.with_text(|text| order(score, text, before_score, before).is_gt());
        }
        last = Some((member, score));
    }
    Ok(sorted)
}

fn find(pack: &Listpack, member: &[u8]) -> Option<(Pos, f64)> {
    let pos = pack.find(pack.first()?, member, 1)?;
    Some((pos, score_of(pack.get(pack.next(pos)?))))
}

pub fn score(pack: &Listpack, member: &[u8]) -> Option<f64> {
    Some(find(pack, member)?.1)
}

/// Gives a member that is there this score; `None` when it is not there.
pub fn update(pack: &mut Listpack, member: &[u8], score: f64) -> Option<Inserted> {
    let (pos, old) = find(pack, member)?;
    if old == score {
        return Some(Inserted::Same);
    }
    pack.delete_run(pos, 2);
    add(pack, member, score);
    Some(Inserted::Updated(old))
}

/// Adds a member that is not there.
pub fn add(pack: &mut Listpack, member: &[u8], score: f64) {
    let mut at = pack.first();
    while let Some(pos) = at {
        let value = pack.next(pos).expect("a member has a score");
        if order(score, member, score_of(pack.get(value)), pack.get(pos)).is_lt() {
            let pos = pack.insert_before(pos, member);
            pack.insert_after(pos, &score_text(score));
            return;
        }
        at = pack.next(value);
    }
    push_back(pack, member, score);
}

/// Adds a member that belongs behind all others.
pub fn push_back(pack: &mut Listpack, member: &[u8], score: f64) {
    pack.push_back(member);
    pack.push_back(&score_text(score));
}

pub fn remove(pack: &mut Listpack, member: &[u8]) -> Option<f64> {
    let (pos, score) = find(pack, member)?;
    pack.delete_run(pos, 2);
    Some(score)
}

pub fn rank(pack: &Listpack, member: &[u8]) -> Option<(usize, f64)> {
    let mut pairs = Pairs::new(pack, 0..pack.len() / 2).enumerate();
    let (at, (_, score)) = pairs.find(|(_, (other, _))| other.is(member))?;
    Some((at, score))
}

/// The rank of the first pair that is not `before`.
pub fn partition(pack: &Listpack, before: impl FnMut(f64, &[u8]) -> bool) -> usize {
    partition_from(pack, 0, before)
}

/// The rank of the first pair from rank `start` on that is not `before`.
pub fn partition_from(pack: &Listpack, start: usize, mut before: impl FnMut(f64, &[u8]) -> bool) -> usize {
    let pairs = Pairs::new(pack, start..pack.len() / 2);
    start + pairs.take_while(|(member, score)| member.with_text(|text| before(*score, text))).count()
}

/// The pairs of a run of ranks.
pub struct Pairs<'a> {
    elems: listpack::Iter<'a>,
    left: usize,
}

impl<'a> Pairs<'a> {
    /// `ranks` lies within the listpack.
    pub fn new(pack: &'a Listpack, ranks: Range<usize>) -> Pairs<'a> {
        let mut elems = pack.iter();
        if ranks.start > 0 {
            elems.nth(2 * ranks.start - 1);
        }
        let behind = 2 * (pack.len() / 2 - ranks.end);
        if behind > 0 {
            elems.nth_back(behind - 1);
        }
        Pairs { elems, left: ranks.len() }
    }

    pub fn left(&self) -> usize {
        self.left
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Elem<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        let member = self.elems.next()?;
        self.left -= 1;
        Some((member, score_of(self.elems.next()?)))
    }
}

impl DoubleEndedIterator for Pairs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let score = score_of(self.elems.next_back()?);
        self.left -= 1;
        Some((self.elems.next_back()?, score))
    }
}
