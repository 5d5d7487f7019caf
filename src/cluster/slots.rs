//! A set of hash slots as the bus carries it: one bit a slot.

use crate::slot::{SLOTS, Slot};

/// Bytes of the bitmap.
pub const BYTES: usize = SLOTS / 8;

/// A set of slots. Slot `s` is bit `s % 8` (from the lowest) of byte `s / 8`: Redis's order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SlotSet {
    bits: Box<[u8; BYTES]>,
}

impl SlotSet {
    pub fn new() -> SlotSet {
        SlotSet { bits: Box::new([0; BYTES]) }
    }

    /// All 16384.
    pub fn all() -> SlotSet {
        SlotSet { bits: Box::new([0xFF; BYTES]) }
    }

    pub fn from_bytes(bytes: &[u8; BYTES]) -> SlotSet {
        SlotSet { bits: Box::new(*bytes) }
    }

    pub fn as_bytes(&self) -> &[u8; BYTES] {
        &self.bits
    }

    #[inline]
    pub fn contains(&self, slot: Slot) -> bool {
        self.bits[slot as usize / 8] & (1 << (slot % 8)) != 0
    }

    /// Whether it was not in yet.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let new = !self.contains(slot);
        self.bits[slot as usize / 8] |= 1 << (slot % 8);
        new
    }

    /// Whether it was in.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let old = self.contains(slot);
        self.bits[slot as usize / 8] &= !(1 << (slot % 8));
        old
    }

    pub fn clear(&mut self) {
        self.bits.fill(0);
    }

    /// Takes out what `other` holds.
    pub fn subtract(&mut self, other: &SlotSet) {
        self.bits.iter_mut().zip(other.bits.iter()).for_each(|(mine, theirs)| *mine &= !theirs);
    }

    /// Adds what `other` holds.
    pub fn unite(&mut self, other: &SlotSet) {
        self.bits.iter_mut().zip(other.bits.iter()).for_each(|(mine, theirs)| *mine |= theirs);
    }

    pub fn len(&self) -> usize {
        self.words().map(|word| word.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.words().all(|word| word == 0)
    }

    /// The slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.words().enumerate().flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros();
                word &= word.wrapping_sub(1);
                (bit < u64::BITS).then(|| (at as u32 * u64::BITS + bit) as Slot)
            })
        })
    }

    /// The slots as inclusive ranges, ascending and apart.
    pub fn ranges(&self) -> impl Iterator<Item = (Slot, Slot)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let first = self.find(at, true)?;
            at = self.find(first, false).unwrap_or(SLOTS);
            Some((first as Slot, (at - 1) as Slot))
        })
    }

    /// The first slot from `at` on that is in, or that is not.
    fn find(&self, at: usize, is_in: bool) -> Option<usize> {
        let (words, bits) = (self.bits.as_chunks::<8>().0, u64::BITS as usize);
        // what lies before `at` does not count
        let mut mask = u64::MAX << (at % bits);
        for (number, word) in words.iter().enumerate().skip(at / bits) {
            let word = u64::from_le_bytes(*word);
            let found = mask & if is_in { word } else { !word };
            if found != 0 {
                return Some(number * bits + found.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }

    /// The bitmap as numbers whose bit `i` is the `i`th slot of each.
    fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.bits.as_chunks().0.iter().map(|eight| u64::from_le_bytes(*eight))
    }
}

impl Default for SlotSet {
    fn default() -> SlotSet {
        SlotSet::new()
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> SlotSet {
        let mut set = SlotSet::new();
        slots.into_iter().for_each(|slot| {
            set.insert(slot);
        });
        set
    }
}

impl std::fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.ranges()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::proof::cases;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn bits_stand_where_redis_puts_them() {
        let set: SlotSet = [0, 9, 16383].into_iter().collect();
        assert_eq!((set.as_bytes()[0], set.as_bytes()[1], set.as_bytes()[2047]), (1, 2, 0x80));
        assert_eq!(SlotSet::from_bytes(set.as_bytes()), set);
    }

    #[test]
    fn all_and_none() {
        let (all, none) = (SlotSet::all(), SlotSet::new());
        assert_eq!((all.len(), none.len(), all.is_empty(), none.is_empty()), (SLOTS, 0, false, true));
        assert_eq!(all.ranges().collect::<Vec<_>>(), [(0, 16383)]);
        assert_eq!(none.ranges().next(), None);
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn behaves_like_a_set(
            steps in prop::collection::vec((0..SLOTS as Slot, any::<bool>()), 0..400),
            others in prop::collection::btree_set(0..SLOTS as Slot, 0..400),
        ) {
            let (mut set, mut model) = (SlotSet::new(), BTreeSet::new());
            for (slot, add) in steps {
                // neighbours, so that ranges are longer than one
                for slot in [slot, slot ^ 1] {
                    match add {
                        true => prop_assert_eq!(set.insert(slot), model.insert(slot)),
                        false => prop_assert_eq!(set.remove(slot), model.remove(&slot)),
                    }
                }
            }
            prop_assert_eq!(set.len(), model.len());
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            let mut last = None;
            for (from, to) in set.ranges() {
                prop_assert!(from <= to && last.is_none_or(|last| last + 1 < from));
                last = Some(to);
            }
            prop_assert!(set.ranges().flat_map(|(from, to)| from..=to).eq(model.iter().copied()));

            let other: SlotSet = others.iter().copied().collect();
            let (mut more, mut fewer) = (set.clone(), set.clone());
            more.unite(&other);
            fewer.subtract(&other);
            prop_assert!(more.iter().eq(model.union(&others).copied()));
            prop_assert!(fewer.iter().eq(model.difference(&others).copied()));
        }
    }
}
