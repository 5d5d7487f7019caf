use std::collections::{BTreeMap, HashSet};

use crate::util::proof::cases;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::util::rng::Rng;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn small() -> Limits {
    Limits { hash_max_listpack_entries: 8, hash_max_listpack_value: 20, ..Limits::default() }
}

fn all(hash: &Hash) -> Model {
    hash.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect()
}

fn check(hash: &Hash, model: &Model) {
    assert_eq!(&all(hash), model);
    assert_eq!(hash.iter().count(), model.len());
    assert_eq!((hash.len(), hash.is_empty()), (model.len(), model.is_empty()));
    for (field, value) in model {
        assert!(hash.get(field).is_some_and(|v| v.is(value)));
        assert!(hash.contains(field));
    }
    if let Repr::Table(table) = &hash.repr {
        let bytes: usize = table.dict.iter().map(|(pair, _)| pair.mem()).sum();
        assert_eq!(table.bytes, bytes);
    }
    let mut seen = HashSet::new();
    let mut cursor = 0;
    loop {
        cursor = hash.scan(cursor, 3, |field, value| {
            assert_eq!(model.get(&*field.text()).map(Vec::as_slice), Some(&*value.text()));
            seen.insert(field.to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), model.len());
}

#[test]
fn packed_bytes_are_redis_bytes() {
    // hset h field value n 12 field v2 -7 x; hdel h n; as redis-server 7.0.15 dumps it.
    let limits = Limits::default();
    let mut hash = Hash::new();
    assert!(hash.set(b"field", b"value", &limits));
    assert!(hash.set(b"n", b"12", &limits));
    assert!(!hash.set(b"field", b"v2", &limits));
    assert!(hash.set(b"-7", b"x", &limits));
    assert!(hash.remove(b"n"));
    let expected = b"\x18\0\0\0\x04\0\x85field\x06\x82v2\x03\xdf\xf9\x02\x81x\x02\xff";
    assert_eq!(hash.listpack().map(Listpack::bytes), Some(&expected[..]));
}

#[test]
fn limits_are_kept_to_the_element() {
    let limits = small();
    let mut hash = Hash::new();
    for i in 0..8 {
        hash.set(format!("{i}").as_bytes(), &[b'v'; 20], &limits);
    }
    assert_eq!(hash.encoding(), "listpack");
    hash.set(b"7", b"other", &limits);
    assert_eq!(hash.encoding(), "listpack");
    let mut longer = hash.clone();
    hash.set(b"8", b"v", &limits);
    assert_eq!(hash.encoding(), "hashtable");
    longer.set(b"7", &[b'v'; 21], &limits);
    assert_eq!(longer.encoding(), "hashtable");
    assert_eq!((hash.len(), longer.len()), (9, 8));
    let mut long_field = Hash::new();
    long_field.set(&[b'f'; 21], b"v", &limits);
    assert_eq!(long_field.encoding(), "hashtable");
    // It never goes back.
    (0..8).for_each(|i| assert!(hash.remove(format!("{i}").as_bytes())));
    assert_eq!((hash.encoding(), hash.len()), ("hashtable", 1));
}

#[test]
fn payloads_are_checked() {
    let limits = small();
    let pack = |texts: &[&[u8]]| {
        let mut pack = Listpack::new();
        texts.iter().for_each(|text| pack.push_back(text));
        pack
    };
    let load = |texts: &[&[u8]]| Hash::from_listpack(pack(texts), &limits);
    assert!(load(&[b"a", b"1", b"b", b"1"]).is_ok_and(|hash| hash.encoding() == "listpack"));
    assert!(load(&[b"a", &[b'x'; 21]]).is_ok_and(|hash| hash.encoding() == "listpack"));
    assert!(load(&[]).is_err() && load(&[b"a"]).is_err() && load(&[b"a", b"1", b"b"]).is_err());
    assert!(load(&[b"a", b"1", b"a", b"2"]).is_err());
    assert!(load(&[b"5", b"1", b"5", b"2"]).is_err());
}

#[test]
fn long_fields_and_values_keep_their_bounds() {
    let limits = small();
    let mut hash = Hash::new();
    let mut model = Model::new();
    for len in [0, 1, 253, 254, 255, 256, 70_000] {
        let field = vec![b'f'; len];
        for value_len in [0, 5, 300] {
            hash.set(&field, &vec![b'v'; value_len], &limits);
            model.insert(field.clone(), vec![b'v'; value_len]);
            check(&hash, &model);
        }
    }
}

#[test]
fn a_million_pairs_would_take_seventy_bytes_each() {
    let limits = Limits::default();
    let mut hash = Hash::new();
    let n = 100_000;
    for i in 0..n {
        let text = format!("{i:016}x");
        hash.set(&text.as_bytes()[..16], &text.as_bytes()[1..], &limits);
    }
    let each = hash.mem() as f64 / n as f64;
    assert!(each < 70.0, "{each} bytes a pair of 16 and 16 bytes");
}

#[test]
fn every_field_comes_by_chance() {
    let mut rng = Rng::new(11);
    assert!(Hash::new().random(&mut rng).is_none());
    for n in [5, 40] {
        let mut hash = Hash::new();
        (0..n).for_each(|i| assert!(hash.set(format!("f{i}").as_bytes(), b"v", &small())));
        let drawn = (0..n * 40).filter_map(|_| hash.random(&mut rng));
        let seen: HashSet<_> = drawn.map(|(field, _)| field.to_vec()).collect();
        assert_eq!(seen.len(), n);
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u8..24).prop_map(|n| n.to_string().into_bytes()),
        4 => (0u8..12).prop_map(|n| format!("field{n}").into_bytes()),
        1 => vec(any::<u8>(), 0..30),
    ]
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn behaves_like_a_map(ops in vec((0u8..3, text(), text()), 0..120)) {
        let (mut hash, mut model) = (Hash::new(), Model::new());
        for (kind, field, value) in ops {
            if kind == 0 {
                prop_assert_eq!(hash.remove(&field), model.remove(&field).is_some());
            } else {
                let new = hash.set(&field, &value, &small());
                prop_assert_eq!(new, model.insert(field, value).is_none());
            }
            check(&hash, &model);
            let over = model.len() > 8 || model.iter().any(|(f, v)| f.len() > 20 || v.len() > 20);
            prop_assert!(!over || hash.encoding() == "hashtable");
        }
        let copy = hash.clone();
        for field in model.keys() {
            prop_assert!(hash.remove(field));
        }
        prop_assert!(hash.is_empty());
        check(&copy, &model);
    }
}
