//! Payloads that somebody made to break us: an error or a value, never a panic.

use crate::util::proof::cases;
use proptest::prelude::*;

use super::samples::{Kind, digest, model, payloads, plain, value_of, ziplist, zipmap};
use super::{dumped, tight};
use crate::persist::codes::kind;
use crate::persist::crc64::crc64;
use crate::persist::*;
use crate::value::{Limits, Listpack, Object};

/// A payload with a right checksum around whatever body.
fn framed(body: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [body, &version.to_le_bytes()].concat();
    let crc = crc64(0, &payload);
    payload.extend(crc.to_le_bytes());
    payload
}

/// Bodies of every type and encoding.
fn bodies() -> Vec<Vec<u8>> {
    let old = payloads();
    let written = old.iter().flat_map(|(_, _, _, model)| {
        [Limits::default(), tight()].map(|limits| {
            let payload = dumped(&value_of(model, &limits), true);
            payload[..payload.len() - 10].to_vec()
        })
    });
    let ints = Kind::Set((0..9).map(|n| (n * 100_000).to_string().into_bytes()).collect());
    let ints = dumped(&value_of(&ints, &Limits::default()), true);
    let read = old.iter().map(|(_, kind, body, _)| [&[*kind], &body[..]].concat());
    // the long strings of the samples would take most of the changes
    let short = |body: &Vec<u8>| body.len() < 2000;
    read.chain(written).chain([ints[..ints.len() - 10].to_vec()]).filter(short).chain(small()).collect()
}

/// The old encodings again, with little in them.
fn small() -> Vec<Vec<u8>> {
    let texts: Vec<Vec<u8>> = ["a", "1", "bc", "300", "x", "-70000"].map(|text| text.into()).to_vec();
    let pairs: Vec<_> = texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let list = plain(&ziplist(&texts));
    vec![
        [vec![kind::LIST_ZIPLIST], list.clone()].concat(),
        [vec![kind::HASH_ZIPLIST], list.clone()].concat(),
        [vec![kind::ZSET_ZIPLIST], list.clone()].concat(),
        [vec![kind::LIST_QUICKLIST, 2], list.clone(), list].concat(),
        [vec![kind::HASH_ZIPMAP], plain(&zipmap(&pairs))].concat(),
    ]
}

#[derive(Clone, Debug)]
enum Change {
    Byte(usize, u8),
    Bit(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Double(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let nasty = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![0, 1, 0x3F, 0x40, 0x7F, 0x80, 0x81, 0xC3, 0xFE, 0xFF])
    ];
    prop_oneof![
        4 => (any::<usize>(), nasty).prop_map(|(at, byte)| Change::Byte(at, byte)),
        4 => (any::<usize>(), 0..8u8).prop_map(|(at, bit)| Change::Bit(at, bit)),
        1 => any::<usize>().prop_map(Change::Cut),
        1 => (any::<usize>(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (any::<usize>(), 1..20usize).prop_map(|(at, len)| Change::Double(at, len)),
    ]
}

fn apply(body: &mut Vec<u8>, change: &Change) {
    let len = body.len().max(1);
    match change {
        _ if body.is_empty() => {}
        Change::Byte(at, byte) => body[at % len] = *byte,
        Change::Bit(at, bit) => body[at % len] ^= 1 << bit,
        Change::Cut(at) => body.truncate(at % len),
        Change::Insert(at, bytes) => {
            let at = at % len;
            body.splice(at..at, bytes.iter().copied());
        }
        Change::Double(at, count) => {
            let at = at % len;
            let piece = body[at..(at + count).min(len)].to_vec();
            body.splice(at..at, piece);
        }
    }
}

/// What a payload comes to when little of it is read in a step.
fn in_steps(payload: &[u8], limits: &Limits, budget: usize) -> Result<Object, Error> {
    let mut restoring = Restoring::default();
    std::iter::repeat_with(|| restoring.step(payload, limits, budget)).flatten().next().expect("it ends")
}

/// What was read must be as good as any other value: it can be written, read again and changed.
fn is_sound(payload: &[u8], limits: &Limits) {
    let (whole, steps) = (restore(payload, limits), in_steps(payload, limits, 1 + payload.len() % 50));
    assert_eq!(whole.as_ref().map(digest), steps.as_ref().map(digest));
    let Ok(object) = whole else { return };
    let again = restore(&dumped(&object, true), limits).expect("our own payload");
    assert_eq!(digest(&again), digest(&object));
    assert!(object.mem() < payload.len() * 200 + 10_000, "{} bytes became {}", payload.len(), object.mem());
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn changed_payloads_are_refused_or_sound(
        which in any::<usize>(),
        changes in prop::collection::vec(change(), 1..4),
        flat in any::<bool>(),
    ) {
        static BODIES: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
        let bodies = BODIES.get_or_init(bodies);
        let mut body = bodies[which % bodies.len()].clone();
        changes.iter().for_each(|change| apply(&mut body, change));
        is_sound(&framed(&body, 10), &if flat { Limits::default() } else { tight() });
    }

    #[test]
    fn changed_values_are_refused_or_sound(model in model(), changes in prop::collection::vec(change(), 1..4)) {
        let payload = dumped(&value_of(&model, &tight()), true);
        let mut body = payload[..payload.len() - 10].to_vec();
        changes.iter().for_each(|change| apply(&mut body, change));
        is_sound(&framed(&body, 10), &tight());
    }

    #[test]
    fn noise_is_refused_or_sound(kind in 0..30u8, mut body in prop::collection::vec(any::<u8>(), 0..60)) {
        body.insert(0, kind);
        is_sound(&framed(&body, 10), &Limits::default());
    }
}

/// A node of one entry, changed.
fn node(change: impl Fn(&mut Vec<i64>)) -> Vec<u8> {
    // one lives, none is deleted, one field; the entry with that field
    let mut numbers = vec![1, 0, 1, 7, 0, 2, 0, 0, 8, 4];
    change(&mut numbers);
    let mut pack = Listpack::new();
    numbers.into_iter().for_each(|n| pack.push_back_int(n));
    pack.into_bytes()
}

/// A stream of these nodes, its length, and these groups.
fn stream(nodes: &[Vec<u8>], len: u8, groups: &[u8]) -> Vec<u8> {
    let nodes = nodes.iter().enumerate().map(|(n, node)| [plain(&[n as u8; 16]), plain(node)].concat());
    let nodes: Vec<Vec<u8>> = nodes.collect();
    [&[nodes.len() as u8], &nodes.concat()[..], &[len, 1, 1, 0, 0, 0, 0, len], groups].concat()
}

fn streams_that_lie(read: impl Fn(u8, Vec<u8>) -> Result<Object, Error>) {
    let of = |change: &dyn Fn(&mut Vec<i64>)| stream(&[node(change)], 1, &[0]);
    let group = |rest: &[u8]| stream(&[], 0, &[&[1, 1, b'g', 0, 0, 0], rest].concat());
    let (pending, seen) = ([&[9; 16][..], &[0; 8], &[1]].concat(), [0u8; 8]);
    let good: &[Vec<u8>] = &[
        of(&|_| ()),
        stream(&[], 0, &[0]),
        group(&[0, 0]),
        group(&[&[1], &pending[..], &[1, 1, b'c'], &seen, &[1], &[9; 16]].concat()),
    ];
    for body in good {
        assert!(read(kind::STREAM_LISTPACKS_2, body.clone()).is_ok(), "{body:?}");
    }
    let bad: &[Vec<u8>] = &[
        of(&|n| n[0] = 2),
        of(&|n| n[0] = -1),
        of(&|n| n[0] = i64::MAX),
        of(&|n| n[1] = 1),
        of(&|n| n[2] = 0),
        of(&|n| n[2] = -1),
        of(&|n| n[2] = i64::MAX),
        of(&|n| n[4] = 1),
        of(&|n| n[5] = 0),
        of(&|n| n[5] = 3),
        of(&|n| n[5] = 4),
        of(&|n| n[9] = 3),
        of(&|n| n[9] = -4),
        of(&|n| n.truncate(9)),
        of(&|n| n.truncate(5)),
        of(&|n| n.clear()),
        of(&|n| n.push(0)),
        of(&|n| n.extend([0, 0, 0, i64::MAX, 1, 1, 4])),
        stream(&[node(|_| ())], 2, &[0]),
        stream(&[], 1, &[0]),
        [&[2][..], &[plain(&[1; 16]), plain(&node(|_| ()))].concat().repeat(2), &[2, 1, 1, 0, 0, 0, 0, 2, 0]]
            .concat(),
        [&[1][..], &plain(&[1; 15]), &plain(&node(|_| ())), &[1, 1, 1, 0, 0, 0, 0, 1, 0]].concat(),
        // a group twice, an entry twice, a consumer twice, entries of nobody, of two, and of none
        stream(&[], 0, &[2, 1, b'g', 0, 0, 0, 0, 0, 1, b'g', 0, 0, 0, 0, 0]),
        group(&[&[2], &pending[..], &pending, &[0]].concat()),
        group(&[&[0, 2, 1, b'c'][..], &seen, &[0, 1, b'c'], &seen, &[0]].concat()),
        group(&[&[1], &pending[..], &[0]].concat()),
        group(
            &[&[1], &pending[..], &[2, 1, b'c'], &seen, &[1], &[9; 16], &[1, b'd'], &seen, &[1], &[9; 16]]
                .concat(),
        ),
        group(&[&[0, 1, 1, b'c'][..], &seen, &[1], &[9; 16]].concat()),
    ];
    for body in bad {
        let found = read(kind::STREAM_LISTPACKS_2, body.clone());
        assert!(matches!(found, Err(Error::Corrupt(_))), "{found:?} {body:?}");
    }
}

#[test]
fn frames_are_checked() {
    let limits = Limits::default();
    let good = framed(&[kind::STRING, 1, b'x'], 10);
    assert!(restore(&good, &limits).is_ok());
    for version in [0, 1, 6, 9] {
        assert!(restore(&framed(&[kind::STRING, 1, b'x'], version), &limits).is_ok(), "{version}");
    }
    for version in [11, 80, u16::MAX] {
        let payload = framed(&[kind::STRING, 1, b'x'], version);
        assert_eq!(restore(&payload, &limits).unwrap_err(), Error::Frame, "{version}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert_eq!(restore(&bad, &limits).unwrap_err(), Error::Frame, "{at}");
        assert!(restore(&good[..at], &limits).is_err(), "{at}");
    }
}

#[test]
fn claims_are_not_believed() {
    const HUGE: [u8; 9] = [0x81, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    let limits = Limits::default();
    for kind in 0..=kind::HASH_LISTPACK_TTL {
        assert!(restore(&framed(&[&[kind], &HUGE[..]].concat(), 10), &limits).is_err(), "{kind}");
        // compressed: a short text that says it is 1 GiB, and then some
        for said in [&[0x80, 0x40, 0, 0, 0][..], &HUGE] {
            let body = [&[kind, 0xC3, 2], said, &[0, b'x']].concat();
            assert!(restore(&framed(&body, 10), &limits).is_err(), "{kind}");
        }
    }
    let twice = |kind: u8, body: Vec<u8>| restore(&framed(&[&[kind], &body[..]].concat(), 10), &limits);
    let (a, b) = (|| b"a".to_vec(), || b"1".to_vec());
    for (kind, body) in [
        (kind::SET, [&[2][..], &plain(b"a"), &plain(b"a")].concat()),
        (kind::SET, [&[2][..], &plain(b"7"), &[0xC0, 7]].concat()),
        (kind::HASH, [&[2][..], &plain(b"a"), &plain(b"x"), &plain(b"a"), &plain(b"y")].concat()),
        (kind::HASH_ZIPMAP, plain(&zipmap(&[(a(), b()), (a(), b())]))),
        (kind::HASH_ZIPLIST, plain(&ziplist(&[a(), b(), a(), b()]))),
        (kind::HASH_ZIPLIST, plain(&ziplist(&[a(), b(), b()]))),
        (kind::ZSET_ZIPLIST, plain(&ziplist(&[a(), b(), a(), b()]))),
        (kind::ZSET_ZIPLIST, plain(&ziplist(&[b(), a()]))),
        (kind::ZSET_2, [&[1][..], &plain(b"a"), &f64::NAN.to_le_bytes()].concat()),
        (kind::ZSET, [&[1][..], &plain(b"a"), &[253]].concat()),
        (kind::SET_INTSET, plain(&[2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 1, 0])),
        (kind::SET_INTSET, plain(&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 0])),
    ] {
        assert!(matches!(twice(kind, body.clone()), Err(Error::Corrupt(_))), "{kind} {body:?}");
    }
    for (kind, body) in [
        (kind::LIST, vec![0]),
        (kind::SET, vec![0]),
        (kind::LIST_QUICKLIST_2, vec![1, 2, 7, 7, 0, 0, 0, 0, 0, 0xFF]),
        (kind::LIST_ZIPLIST, plain(&ziplist(&[]))),
    ] {
        assert_eq!(twice(kind, body).unwrap_err(), Error::Empty, "{kind}");
    }
    streams_that_lie(twice);
    assert!(matches!(twice(kind::MODULE_2, vec![0]), Err(Error::Unsupported(_))));
    // hashes of which a field ends, and that say too much of themselves
    let field = [&plain(b"f")[..], &plain(b"v")].concat();
    for (kind, first) in [(kind::HASH_TTL, &[0; 8][..]), (kind::HASH_TTL_PREVIEW, &[])] {
        let hash = |count: &[u8], ends: u8| [first, count, &[ends], &field].concat();
        assert!(twice(kind, hash(&[1], 0)).is_ok(), "{kind}");
        assert!(matches!(twice(kind, hash(&[1], 1)), Err(Error::Unsupported(_))), "{kind}");
        assert!(twice(kind, hash(&HUGE, 0)).is_err(), "{kind}");
    }
}
