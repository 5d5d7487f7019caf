//! Strings as rows of bits: bit 0 is the highest of the first byte.

use std::ops::Range;

/// Bytes that are looked at together.
const WORD: usize = size_of::<u64>();

/// The bit at `offset`; beyond the end all are 0.
pub fn get(text: &[u8], offset: u64) -> bool {
    text.get((offset >> 3) as usize).is_some_and(|byte| byte & mask(offset) != 0)
}

/// Sets the bit at `offset`, which is within the text.
pub fn set(text: &mut [u8], offset: u64, on: bool) {
    let byte = &mut text[(offset >> 3) as usize];
    *byte = if on { *byte | mask(offset) } else { *byte & !mask(offset) };
}

fn mask(offset: u64) -> u8 {
    0x80 >> (offset & 7)
}

/// The bytes that `bits`, which are not none, lie in, and masks of the bits in the first and the last.
fn edges(bits: &Range<u64>) -> (usize, usize, u8, u8) {
    let last = bits.end - 1;
    ((bits.start >> 3) as usize, (last >> 3) as usize, 0xff >> (bits.start & 7), 0xff << (7 - (last & 7)))
}

/// Number of ones among `bits`, which lie within the text.
pub fn count(text: &[u8], bits: Range<u64>) -> u64 {
    if bits.is_empty() {
        return 0;
    }
    let (first, last, head, tail) = edges(&bits);
    let outside = (text[first] & !head).count_ones() + (text[last] & !tail).count_ones();
    count_ones(&text[first..=last]) - outside as u64
}

fn count_ones(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<WORD>();
    let words: u64 = words.iter().map(|word| u64::from_ne_bytes(*word).count_ones() as u64).sum();
    words + rest.iter().map(|byte| byte.count_ones() as u64).sum::<u64>()
}

/// The first of `bits`, which lie within the text, that is `bit`.
pub fn find(text: &[u8], bits: Range<u64>, bit: bool) -> Option<u64> {
    if bits.is_empty() {
        return None;
    }
    let (first, last, head, tail) = edges(&bits);
    // what is looked for becomes a one, and what lies outside of the range a zero
    let dull = if bit { 0 } else { 0xff };
    let seen = |at: usize| {
        let byte = text[at] ^ dull;
        let byte = if at == first { byte & head } else { byte };
        if at == last { byte & tail } else { byte }
    };
    let within = |at: usize| at as u64 * 8 + seen(at).leading_zeros() as u64;
    if seen(first) != 0 {
        return Some(within(first));
    }
    let middle = text.get(first + 1..last).unwrap_or_default();
    if let Some(at) = first_other(middle, dull) {
        return Some(within(first + 1 + at));
    }
    (seen(last) != 0).then(|| within(last))
}

/// The first byte that isn't `dull`.
fn first_other(text: &[u8], dull: u8) -> Option<usize> {
    let words = text.as_chunks::<WORD>().0;
    let skipped = words.iter().take_while(|word| **word == [dull; WORD]).count() * WORD;
    text[skipped..].iter().position(|byte| *byte != dull).map(|at| skipped + at)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    And,
    Or,
    Xor,
}

/// Lays `text` over `acc`; the shorter one counts as filled up with zeros.
pub fn combine(op: Op, acc: &mut Vec<u8>, text: &[u8]) {
    if acc.len() < text.len() {
        acc.resize(text.len(), 0);
    }
    let (common, rest) = acc.split_at_mut(text.len());
    let pairs = common.iter_mut().zip(text);
    match op {
        Op::And => {
            pairs.for_each(|(a, b)| *a &= b);
            rest.fill(0);
        }
        Op::Or => pairs.for_each(|(a, b)| *a |= b),
        Op::Xor => pairs.for_each(|(a, b)| *a ^= b),
    }
}

/// The most bytes that a field of 64 bits touches.
const FIELD: usize = 9;

/// Where a field stands: its first byte, and how far its bits are from the low end of a window of
/// sixteen bytes that begins there.
fn window(offset: u64, bits: u32) -> (usize, u32) {
    ((offset >> 3) as usize, u128::BITS - (offset & 7) as u32 - bits)
}

fn ones(bits: u32) -> u64 {
    u64::MAX >> (u64::BITS - bits)
}

/// The `bits` (1 to 64) bits from `offset` on as a number; beyond the end all are 0.
pub fn get_field(text: &[u8], offset: u64, bits: u32) -> u64 {
    let (at, shift) = window(offset, bits);
    let mut word = [0; 16];
    let there = text.get(at..).unwrap_or_default();
    let n = there.len().min(FIELD);
    word[..n].copy_from_slice(&there[..n]);
    (u128::from_be_bytes(word) >> shift) as u64 & ones(bits)
}

/// Writes the low `bits` (1 to 64) bits of `value` from `offset` on, all of which are within the text.
pub fn set_field(text: &mut [u8], offset: u64, bits: u32, value: u64) {
    let (at, shift) = window(offset, bits);
    let n = (text.len() - at).min(FIELD);
    let there = &mut text[at..at + n];
    let mut word = [0; 16];
    word[..n].copy_from_slice(there);
    let mask = (ones(bits) as u128) << shift;
    let new = u128::from_be_bytes(word) & !mask | ((value as u128) << shift) & mask;
    there.copy_from_slice(&new.to_be_bytes()[..n]);
}
