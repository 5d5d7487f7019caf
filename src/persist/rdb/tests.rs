//! Files of ours read again, files of others, and broken ones.

use crate::util::proof::cases;
use proptest::prelude::*;

use super::*;
use crate::persist::Error;
use crate::persist::tests::samples::{Kind, digest, model, value_of};
use crate::value::{Limits, Object, ValueRef};

struct Key {
    db: usize,
    name: Vec<u8>,
    value: Object,
    expire_at: Option<u64>,
    usage: Usage,
}

/// A whole file of these keys, which are in the order of their databases.
fn file(keys: &[Key], checksum: bool, budget: usize) -> Vec<u8> {
    let (mut writer, mut out) = (Writer::new(true, checksum), Vec::new());
    let mut sink = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok::<(), ()>(())
    };
    writer.aux("redis-ver", b"7.0.15");
    let mut db = None;
    for key in keys {
        if db.replace(key.db) != Some(key.db) {
            writer.database(key.db, keys.len(), 1);
        }
        let head = Head { key: &key.name, expire_at: key.expire_at, usage: key.usage };
        while !writer.key(head, ValueRef::Obj(&key.value), budget) {
            writer.flush(&mut sink).unwrap();
        }
        writer.flush(&mut sink).unwrap();
    }
    writer.end(&mut sink).unwrap();
    out
}

/// Everything that a file says, fed in chunks of this size.
fn read(bytes: &[u8], chunk: usize, known: bool) -> Result<Vec<Item>, Failure> {
    let mut reader = Reader::new(if known { bytes.len() as u64 } else { u64::MAX }, true);
    let (mut items, mut chunks) = (Vec::new(), bytes.chunks(chunk));
    loop {
        match reader.next(&Limits::default(), 7)? {
            Item::End => {
                assert_eq!(reader.offset() as usize, bytes.len() - chunks.map(<[u8]>::len).sum::<usize>());
                return Ok(items);
            }
            Item::Working => {}
            Item::Feed(more) => match chunks.next() {
                Some(chunk) => reader.feed(chunk),
                None if known => panic!("{more} bytes more than there are"),
                None => return Err(Failure { offset: reader.offset(), error: Error::Short }),
            },
            item => items.push(item),
        }
    }
}

fn loaded(items: &[Item]) -> Vec<&Loaded> {
    items.iter().filter_map(|item| if let Item::Key(key) = item { Some(&**key) } else { None }).collect()
}

fn key() -> impl Strategy<Value = (Vec<u8>, Kind, Option<u64>, Usage)> {
    let usage = prop_oneof![
        Just(Usage::Unknown),
        (0u64..1 << 30).prop_map(Usage::Idle),
        any::<u8>().prop_map(Usage::Frequency),
    ];
    let name = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        any::<u16>().prop_map(|n| n.to_string().into_bytes()),
    ];
    (name, model(), prop::option::of(1u64..1 << 45), usage)
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn what_is_written_is_read_again(
        keys in prop::collection::vec((0usize..3, key()), 0..8),
        (checksum, known) in (any::<bool>(), any::<bool>()),
        (budget, chunk) in (1usize..500, 1usize..300),
    ) {
        let mut keys: Vec<Key> = keys
            .into_iter()
            .map(|(db, (name, kind, expire_at, usage))| {
                Key { db, name, value: value_of(&kind, &Limits::default()), expire_at, usage }
            })
            .collect();
        keys.sort_by_key(|key| key.db);
        let bytes = file(&keys, checksum, budget);
        prop_assert_eq!(&bytes, &file(&keys, checksum, usize::MAX));
        let items = read(&bytes, chunk, known).expect("our own file");
        prop_assert!(matches!(&items[0], Item::Aux(name, value) if name == b"redis-ver" && value == b"7.0.15"));
        let back = loaded(&items);
        prop_assert_eq!(back.len(), keys.len());
        for (back, key) in back.into_iter().zip(&keys) {
            prop_assert_eq!((back.db, &back.key), (key.db, &key.name));
            prop_assert_eq!((back.expire_at, back.usage), (key.expire_at, key.usage));
            prop_assert_eq!(digest(&back.value), digest(&key.value));
        }
    }

    #[test]
    fn changed_files_are_refused_or_read(
        keys in prop::collection::vec(key(), 1..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        (known, chunk) in (any::<bool>(), 1usize..300),
    ) {
        let keys: Vec<Key> = keys
            .into_iter()
            .map(|(name, kind, expire_at, usage)| {
                Key { db: 0, name, value: value_of(&kind, &Limits::default()), expire_at, usage }
            })
            .collect();
        // without a checksum, so that changes are looked at
        let mut bytes = file(&keys, false, usize::MAX);
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        let whole = bytes.len();
        bytes.truncate(cut.map_or(whole, |cut| cut.index(whole)));
        match read(&bytes, chunk, known) {
            Ok(_) => {}
            Err(failure) => prop_assert!(failure.offset <= bytes.len() as u64, "{failure}"),
        }
        if changes.is_empty() && bytes.len() < whole {
            prop_assert_eq!(read(&bytes, chunk, known).expect_err("a part").error, Error::Short);
        }
    }
}

#[test]
fn one_changed_byte_anywhere_is_noticed() {
    let value = value_of(&Kind::List(vec![b"a".to_vec(), b"12".to_vec()]), &Limits::default());
    let key = Key { db: 0, name: b"k".to_vec(), value, expire_at: Some(5), usage: Usage::Idle(3) };
    let good = file(&[key], true, usize::MAX);
    assert!(read(&good, 1000, true).is_ok());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(read(&bad, 1000, true).is_err(), "{at}");
    }
}

/// Headers and records that we do not write.
#[test]
fn other_files() {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let key = [&[0][..], &text("k"), &text("v")].concat();
    let with = |head: &str, body: &[u8], tail: &[u8]| {
        let bytes = [head.as_bytes(), body, &[255], tail].concat();
        read(&bytes, 5, true)
            .map(|items| loaded(&items).into_iter().map(|key| (key.db, key.expire_at)).collect())
    };
    let sum = &[0; 8];
    type Found = Result<Vec<(usize, Option<u64>)>, Error>;
    let cases: &[(&str, Vec<u8>, &[u8], Found)] = &[
        ("REDIS0001", key.clone(), &[], Ok(vec![(0, None)])),
        ("REDIS0004", key.clone(), &[], Ok(vec![(0, None)])),
        ("REDIS0005", key.clone(), sum, Ok(vec![(0, None)])),
        ("REDIS0005", key.clone(), &sum[1..], Err(Error::Short)),
        ("REDIS0012", key.clone(), sum, Ok(vec![(0, None)])),
        ("VALKEY080", key.clone(), sum, Ok(vec![(0, None)])),
        ("REDIS0013", key.clone(), sum, Err(Error::Unsupported("a file of this version"))),
        ("VALKEY081", key.clone(), sum, Err(Error::Unsupported("a file of this version"))),
        ("REDIS0000", key.clone(), sum, Err(Error::Unsupported("a file of this version"))),
        ("REDISx010", key.clone(), sum, Err(Error::Corrupt("no RDB file: its first bytes are others"))),
        ("NOTREDIS0", key.clone(), sum, Err(Error::Corrupt("no RDB file: its first bytes are others"))),
        // seconds, and a database
        ("REDIS0003", [&[254, 9, 253, 1, 0, 0, 0], &key[..]].concat(), &[], Ok(vec![(9, Some(1000))])),
        // how many keys a slot has
        ("REDIS0012", [&[244, 1, 2, 3], &key[..]].concat(), sum, Ok(vec![(0, None)])),
        (
            "REDIS0010",
            [&[244, 1, 2, 3], &key[..]].concat(),
            sum,
            Err(Error::Corrupt("a value of no known type")),
        ),
        ("REDIS0010", vec![247, 1], sum, Err(Error::Unsupported("a module's data"))),
        ("REDIS0010", vec![7, 1, b'k', 0], sum, Err(Error::Unsupported("a module's type"))),
        // an empty list, as bugs of old left them
        ("REDIS0010", [&[1, 1, b'e', 0], &key[..]].concat(), sum, Ok(vec![(0, None)])),
    ];
    for (head, body, tail, want) in cases {
        let found = with(head, body, tail).map_err(|failure| failure.error);
        assert_eq!(found, *want, "{head} {body:?}");
    }
}

/// Hashes whose fields may have times to live, byte by byte as Redis 7.4 and Valkey 9 document and read them (no
/// packages of either were to be had): read where no field has one.
#[test]
fn fields_that_may_expire() {
    const ENDS: Error = Error::Unsupported("a field with a time to live");
    let min = 1_700_000_000_000u64.to_le_bytes();
    let never = (-1i64).to_le_bytes();
    // a listpack as a string: its length; its bytes, its elements; these, each with its length behind it
    let packed = |count: u8, elems: &[u8]| {
        let len = 6 + elems.len() as u8;
        [&[len, len, 0, 0, 0, count, 0][..], elems].concat()
    };
    let pack = |end: u8| {
        packed(6, &[0x81, b'f', 2, 0x81, b'v', 2, 0, 1, 0x81, b'g', 2, 0x81, b'w', 2, end, 1, 0xFF])
    };
    let field = |ttl: u8, name: u8, value: u8| vec![ttl, 1, name, 1, value];
    let behind = |name: u8, value: u8, end: [u8; 8]| [&[1, name, 1, value][..], &end].concat();
    let cases: [(&str, u8, Vec<u8>, bool); 12] = [
        ("REDIS0012", 24, [&min[..], &[2], &field(0, b'f', b'v'), &field(0, b'g', b'w')].concat(), true),
        ("REDIS0012", 24, [&min[..], &[2], &field(0, b'f', b'v'), &field(1, b'g', b'w')].concat(), false),
        ("REDIS0012", 22, [&[2][..], &field(0, b'f', b'v'), &field(0, b'g', b'w')].concat(), true),
        ("REDIS0012", 22, [&[2][..], &field(0, b'f', b'v'), &field(9, b'g', b'w')].concat(), false),
        ("REDIS0012", 25, [&min[..], &pack(0)].concat(), true),
        ("REDIS0012", 25, [&min[..], &pack(1)].concat(), false),
        ("REDIS0012", 23, pack(0), true),
        ("REDIS0012", 23, pack(1), false),
        ("VALKEY080", 22, [&[2][..], &behind(b'f', b'v', never), &behind(b'g', b'w', never)].concat(), true),
        ("VALKEY080", 22, [&[2][..], &behind(b'f', b'v', never), &behind(b'g', b'w', min)].concat(), false),
        (
            "VALKEY080",
            16,
            packed(4, &[0x81, b'f', 2, 0x81, b'v', 2, 0x81, b'g', 2, 0x81, b'w', 2, 0xFF]),
            true,
        ),
        ("REDIS0012", 4, [&[2][..], &[1, b'f', 1, b'v'], &[1, b'g', 1, b'w']].concat(), true),
    ];
    for (head, kind, body, plain) in cases {
        let before = [head.as_bytes(), &[kind, 4], b"hash"].concat();
        let bytes = [&before[..], &body, &[255], &[0; 8]].concat();
        for chunk in [1, 5, 1000] {
            match read(&bytes, chunk, true) {
                Ok(items) => {
                    assert!(plain, "{head} {kind}");
                    let Object::Hash(hash) = &loaded(&items)[0].value else { panic!("no hash") };
                    let mut found: Vec<_> =
                        hash.iter().map(|(f, v)| (f.text().into_owned(), v.text().into_owned())).collect();
                    found.sort();
                    assert_eq!(found, [(b"f".to_vec(), b"v".to_vec()), (b"g".to_vec(), b"w".to_vec())]);
                }
                Err(failure) => {
                    assert!(!plain && failure.error == ENDS, "{head} {kind}: {failure}");
                    assert!(failure.offset >= before.len() as u64, "{head} {kind}: {failure}");
                }
            }
        }
    }
}

/// Files that come with Redis's own tests, most of them of servers long ago.
#[test]
fn files_of_old_servers() {
    for (name, bytes, keys) in [
        ("encodings", &include_bytes!("golden/encodings.rdb")[..], 13),
        ("hash-zipmap", include_bytes!("golden/hash-zipmap.rdb"), 1),
        ("hash-ziplist", include_bytes!("golden/hash-ziplist.rdb"), 1),
        ("zset-ziplist", include_bytes!("golden/zset-ziplist.rdb"), 1),
        ("list-quicklist", include_bytes!("golden/list-quicklist.rdb"), 2),
    ] {
        let items = read(bytes, 64, true).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert_eq!(loaded(&items).len(), keys, "{name}");
    }
    let empty = read(include_bytes!("golden/corrupt_empty_keys.rdb"), 64, true).expect("its lists are empty");
    assert!(loaded(&empty).is_empty());
    assert!(empty.iter().filter(|item| matches!(item, Item::EmptyKey(_))).count() > 0);
    assert!(read(include_bytes!("golden/corrupt_ziplist.rdb"), 64, true).is_err());
}
