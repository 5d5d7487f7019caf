use std::collections::BTreeSet;

use crate::util::proof::cases;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::util::rng::Rng;

fn set_of(values: &[i64]) -> IntSet {
    let mut set = IntSet::new();
    values.iter().for_each(|&v| assert!(set.add(v)));
    set
}

#[test]
fn bytes_are_redis_bytes() {
    // As redis-server 7.0.15 dumps them.
    let two = set_of(&[3, -1, 32767, -32768]);
    assert_eq!(two.bytes(), [2, 0, 0, 0, 4, 0, 0, 0, 0x00, 0x80, 0xff, 0xff, 3, 0, 0xff, 0x7f]);
    let mut four = set_of(&[5, 70000, -1]);
    assert_eq!(four.bytes(), [4, 0, 0, 0, 3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 5, 0, 0, 0, 0x70, 0x11, 1, 0]);
    // It does not grow narrower again.
    assert!(four.remove(70000));
    assert_eq!(four.bytes(), [4, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 5, 0, 0, 0]);
    let eight = set_of(&[1, -2, 1 << 40, 2147483648]);
    let mut expected = vec![8, 0, 0, 0, 4, 0, 0, 0];
    [-2i64, 1, 2147483648, 1 << 40].iter().for_each(|v| expected.extend_from_slice(&v.to_le_bytes()));
    assert_eq!(eight.bytes(), expected);
}

#[test]
fn bad_bytes_are_refused() {
    let good = [2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0];
    assert!(IntSet::from_bytes(good.to_vec()).is_ok());
    for (at, byte, why) in
        [(0, 3, "width"), (0, 4, "width against length"), (4, 1, "count"), (10, 1, "twice"), (10, 0, "order")]
    {
        let mut bad = good.to_vec();
        bad[at] = byte;
        assert_eq!(IntSet::from_bytes(bad), Err(Corrupt), "{why}");
    }
    assert_eq!(IntSet::from_bytes(vec![2, 0, 0, 0, 0, 0, 0, 0]), Err(Corrupt), "empty");
    assert_eq!(IntSet::from_bytes(vec![2, 0, 0]), Err(Corrupt));
    // A length that would overflow when multiplied in 32 bits.
    assert_eq!(IntSet::from_bytes(vec![8, 0, 0, 0, 0, 0, 0, 0x20, 0, 0]), Err(Corrupt));
}

#[test]
fn every_member_comes_by_chance() {
    let set = set_of(&[10, 20, 30, 40]);
    let mut rng = Rng::new(1);
    let seen: BTreeSet<i64> = (0..200).filter_map(|_| set.random(&mut rng)).collect();
    assert_eq!(seen.len(), 4);
    assert_eq!(IntSet::new().random(&mut rng), None);
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn behaves_like_a_btree_set(
        ops in vec((0u8..4, any::<i64>(), prop_oneof![Just(60u32), Just(56), Just(40), Just(33), Just(20)]), 0..120),
    ) {
        let (mut set, mut model) = (IntSet::new(), BTreeSet::new());
        for (kind, v, shift) in ops {
            let v = v >> shift;
            match kind {
                0 => prop_assert_eq!(set.remove(v), model.remove(&v)),
                1 => prop_assert_eq!(set.contains(v), model.contains(&v)),
                _ => prop_assert_eq!(set.add(v), model.insert(v)),
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert_eq!(set.len(), model.len());
            prop_assert!(set.iter().rev().eq(model.iter().rev().copied()));
            prop_assert_eq!(set.get(model.len()), None);
            let read = IntSet::from_bytes(set.bytes().to_vec());
            prop_assert_eq!(read.is_ok(), !model.is_empty());
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..40), width in 0u8..9, len in 0u8..9) {
        let mut bytes = bytes;
        let _ = IntSet::from_bytes(bytes.clone());
        if bytes.len() >= HEADER {
            bytes[..HEADER].copy_from_slice(&[width, 0, 0, 0, len, 0, 0, 0]);
            if let Ok(mut set) = IntSet::from_bytes(bytes) {
                set.add(1 << 50);
                prop_assert!(set.contains(1 << 50));
            }
        }
    }
}
