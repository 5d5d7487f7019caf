//! Keys as the store wants them: bytes, slot and hash, computed once a command.

use std::hash::Hasher as _;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use crate::slot::{Slot, key_slot};

/// A key with all that a lookup needs.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub slot: Slot,
    pub hash: u64,
}

impl Key<'_> {
    /// Whether `other` are the same bytes. Eight at a time, for most keys are too short for a call to
    /// the library's comparison to pay.
    #[inline]
    pub fn is(&self, other: &[u8]) -> bool {
        let (ours, our_rest) = self.bytes.as_chunks::<8>();
        let (theirs, their_rest) = other.as_chunks::<8>();
        self.bytes.len() == other.len()
            && ours.iter().zip(theirs).all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
            && our_rest.iter().zip(their_rest).all(|(a, b)| a == b)
    }
}

/// Hashes keys. Every keyspace of a process must use the same seed, because tables move between
/// them without being rehashed.
#[derive(Clone)]
pub struct Hasher {
    seed: u64,
    shared: SharedSeed,
}

impl Hasher {
    pub fn new(seed: u64) -> Hasher {
        Hasher { seed, shared: SharedSeed::from_u64(seed) }
    }

    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(bytes);
        hasher.finish()
    }

    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, slot: key_slot(bytes), hash: self.hash(bytes) }
    }

    /// For a caller who knows the slot already.
    #[inline]
    pub fn key_in_slot<'a>(&self, bytes: &'a [u8], slot: Slot) -> Key<'a> {
        Key { bytes, slot, hash: self.hash(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_when_every_byte_is() {
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len).collect();
            let key = Hasher::new(1).key(&bytes);
            assert!(key.is(&bytes) && !key.is(&[&bytes[..], b"x"].concat()));
            for i in 0..bytes.len() {
                let mut other = bytes.clone();
                other[i] ^= 0x80;
                assert!(!key.is(&other) && !key.is(&bytes[..i]), "{len} {i}");
            }
        }
    }

    /// The low bits choose buckets and the top byte is the tag: both must be spread evenly, also
    /// over keys that differ in a few digits.
    #[test]
    fn low_bits_and_top_byte_are_spread_evenly() {
        let hasher = Hasher::new(7);
        for name in [|i| format!("{{hot}}{i}"), |i| format!("key:{i:012}"), |i| format!("{i}")]
            as [fn(u32) -> String; 3]
        {
            let (mut low, mut top) = ([0u32; 256], [0u32; 256]);
            for i in 0..25_600 {
                let hash = hasher.hash(name(i).as_bytes());
                low[hash as usize % 256] += 1;
                top[(hash >> 56) as usize] += 1;
            }
            for counts in [low, top] {
                // 255 degrees of freedom: mean 255, deviation 23
                let chi: f64 = counts.iter().map(|&n| (n as f64 - 100.0).powi(2) / 100.0).sum();
                assert!(chi < 370.0, "{}: {chi}", name(1));
            }
        }
    }
}
