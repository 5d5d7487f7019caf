//! The intset: a sorted array of distinct integers, in Redis's exact byte format.
//!
//! Width of an element (u32 LE: 2, 4 or 8), number of elements (u32 LE), the elements, each LE. All
//! have the width that the widest one ever needed: sets grow wider, never narrower.

use crate::util::rng::Rng;
use crate::value::listpack::Corrupt;

const HEADER: usize = 8;

/// A sorted set of integers.
#[derive(Clone, PartialEq, Eq)]
pub struct IntSet {
    buf: Vec<u8>,
}

impl Default for IntSet {
    fn default() -> Self {
        IntSet::new()
    }
}

impl std::fmt::Debug for IntSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl IntSet {
    pub fn new() -> IntSet {
        IntSet { buf: vec![2, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// Takes over `bytes` after checking width, length and order. As in Redis, an empty set is
    /// refused, too.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<IntSet, Corrupt> {
        let (Some(width), Some(len)) = (bytes.first_chunk::<4>(), bytes.get(4..HEADER)) else {
            return Err(Corrupt);
        };
        let width = u32::from_le_bytes(*width);
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        if !matches!(width, 2 | 4 | 8) || len == 0 || HEADER + len * width as usize != bytes.len() {
            return Err(Corrupt);
        }
        let mut buf = bytes;
        buf.shrink_to_fit();
        let set = IntSet { buf };
        if set.iter().zip(set.iter().skip(1)).any(|(a, b)| a >= b) {
            return Err(Corrupt);
        }
        Ok(set)
    }

    /// The bytes as DUMP and RDB carry them.
    pub fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Bytes on the heap.
    pub fn mem(&self) -> usize {
        self.buf.capacity()
    }

    pub fn len(&self) -> usize {
        (self.buf.len() - HEADER) / self.width()
    }

    pub fn is_empty(&self) -> bool {
        self.buf.len() == HEADER
    }

    /// The integer at `rank` of the ascending order.
    pub fn get(&self, rank: usize) -> Option<i64> {
        (rank < self.len()).then(|| self.at(rank))
    }

    pub fn contains(&self, v: i64) -> bool {
        width_of(v) <= self.width() && self.search(v).is_ok()
    }

    /// Adds `v`; false if it was there.
    pub fn add(&mut self, v: i64) -> bool {
        if width_of(v) > self.width() {
            self.widen(width_of(v));
        }
        let Err(rank) = self.search(v) else { return false };
        let width = self.width();
        let at = HEADER + rank * width;
        let end = self.buf.len();
        self.buf.reserve_exact(width);
        self.buf.resize(end + width, 0);
        self.buf.copy_within(at..end, at + width);
        self.buf[at..at + width].copy_from_slice(&v.to_le_bytes()[..width]);
        self.set_len();
        true
    }

    /// Removes `v`; false if it was not there.
    pub fn remove(&mut self, v: i64) -> bool {
        if width_of(v) > self.width() {
            return false;
        }
        let Ok(rank) = self.search(v) else { return false };
        let width = self.width();
        let at = HEADER + rank * width;
        self.buf.drain(at..at + width);
        self.set_len();
        if self.buf.capacity() - self.buf.len() > 16 + self.buf.len() / 8 {
            self.buf.shrink_to_fit();
        }
        true
    }

    /// An element by chance, each as likely as any other.
    pub fn random(&self, rng: &mut Rng) -> Option<i64> {
        self.get(rng.below(self.len() as u64) as usize)
    }

    /// Ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + '_ {
        let width = self.width();
        self.buf[HEADER..].chunks_exact(width).map(decode)
    }

    fn width(&self) -> usize {
        self.buf[0] as usize
    }

    fn at(&self, rank: usize) -> i64 {
        let width = self.width();
        decode(&self.buf[HEADER + rank * width..][..width])
    }

    /// The rank of `v`, or the one that it would have.
    fn search(&self, v: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.at(middle).cmp(&v) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    fn widen(&mut self, width: usize) {
        let mut wide = Vec::with_capacity(HEADER + (self.len() + 1) * width);
        wide.extend_from_slice(&(width as u32).to_le_bytes());
        wide.extend_from_slice(&self.buf[4..HEADER]);
        for v in self.iter() {
            wide.extend_from_slice(&v.to_le_bytes()[..width]);
        }
        self.buf = wide;
    }

    fn set_len(&mut self) {
        let len = u32::try_from(self.len()).expect("sets of 2^32 integers are hash tables");
        self.buf[4..HEADER].copy_from_slice(&len.to_le_bytes());
    }
}

fn width_of(v: i64) -> usize {
    if i16::try_from(v).is_ok() {
        2
    } else if i32::try_from(v).is_ok() {
        4
    } else {
        8
    }
}

/// Reads 2, 4 or 8 bytes.
fn decode(bytes: &[u8]) -> i64 {
    let mut le = [0; 8];
    le[8 - bytes.len()..].copy_from_slice(bytes);
    // Shifted to the top and back down again: that extends the sign.
    i64::from_le_bytes(le) >> (64 - 8 * bytes.len())
}

#[cfg(test)]
mod tests;
