use crate::util::proof::cases;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Every kind of element, as redis-server 7.0.15 dumps it, up to the long strings.
const GOLDEN: &str = concat!(
    "310200002200000101017f01c08002dfff02cfff02f1001003d00002f1ffef03f1ff7f03f200800004f1008003f2ff7f",
    "ff04f2ffff7f04f30000800005f200008004f3ffff7fff05f3ffffff7f05f4000000800000000009f30000008005f4ff",
    "ffff7fffffffff09f4ffffffffffffff7f09f40000000000000080099339323233333732303336383534373735383038",
    "1482303103822d3003822b31038220310380018573686f616c06",
);
/// What frames each of the long strings, and the end.
const GOLDEN_LONG: [(&str, u8, usize, &str); 4] = [
    ("bf", b'x', 63, "40"),
    ("e040", b'y', 64, "42"),
    ("e07d", b'z', 125, "7f"),
    ("e07e", b'w', 126, "0180ff"),
];

fn golden() -> Vec<u8> {
    let mut bytes = unhex(GOLDEN);
    for (head, fill, len, tail) in GOLDEN_LONG {
        bytes.extend(unhex(head).into_iter().chain(vec![fill; len]).chain(unhex(tail)));
    }
    bytes
}

fn golden_texts() -> Vec<Vec<u8>> {
    let numbers = "0 1 127 128 -1 4095 4096 -4096 -4097 32767 32768 -32768 -32769 8388607 8388608 \
        -8388608 -8388609 2147483647 2147483648 -2147483648 -2147483649 9223372036854775807 \
        -9223372036854775808 9223372036854775808 01 -0 +1";
    let mut texts: Vec<Vec<u8>> = numbers.split_whitespace().map(|n| n.as_bytes().to_vec()).collect();
    texts.extend([b" 1".to_vec(), vec![], b"shoal".to_vec()]);
    texts.extend(GOLDEN_LONG.map(|(_, fill, len, _)| vec![fill; len]));
    texts
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).expect("hex") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn pack_of(texts: &[Vec<u8>]) -> Listpack {
    let mut pack = Listpack::new();
    texts.iter().for_each(|text| pack.push_back(text));
    pack
}

fn texts_of(pack: &Listpack) -> Vec<Vec<u8>> {
    pack.iter().map(Elem::to_vec).collect()
}

#[test]
fn bytes_are_redis_bytes() {
    let texts = golden_texts();
    let pack = pack_of(&texts);
    assert_eq!(pack.bytes(), golden());
    let read = Listpack::from_bytes(golden()).expect("Redis made it");
    assert_eq!(texts_of(&read), texts);
    assert_eq!(read.len(), texts.len());
    let mut backwards: Vec<_> = read.iter().rev().map(Elem::to_vec).collect();
    backwards.reverse();
    assert_eq!(backwards, texts);
    // Pushed from the other side they come out the same.
    let mut front = Listpack::new();
    texts.iter().rev().for_each(|text| front.push_front(text));
    assert_eq!(front, pack);
}

#[test]
fn long_elements_are_redis_bytes() {
    // Length of the text, and the first and last bytes that redis-server 7.0.15 dumps for it.
    let cases = [
        (4095, "0a1000000100efff717171", "7171712081ff"),
        (4096, "0e1000000100f000100000", "7171712085ff"),
        (16377, "074000000100f0f93f0000", "7171717ffeff"),
        (16378, "094000000100f0fa3f0000", "717100ffffff"),
        (16379, "0a4000000100f0fb3f0000", "7171018080ff"),
        (2097145, "080020000100f0f9ff1f00", "71717ffffeff"),
        (2097146, "0a0020000100f0faff1f00", "7100ffffffff"),
        (2097147, "0b0020000100f0fbff1f00", "7101808080ff"),
    ];
    for (len, head, tail) in cases {
        let pack = pack_of(&[vec![b'q'; len]]);
        assert_eq!(pack.bytes()[..11], unhex(head), "{len}");
        assert_eq!(pack.bytes()[pack.byte_len() - 6..], unhex(tail), "{len}");
        assert_eq!(pack.last(), pack.first());
        assert!(Listpack::from_bytes(pack.bytes().to_vec()).is_ok());
    }
}

#[test]
fn more_elements_than_the_header_counts() {
    let mut pack = Listpack::with_capacity(140_000);
    for i in 0..66_000 {
        pack.push_back_int(i % 128);
    }
    assert_eq!(pack.bytes()[4..6], [0xFF, 0xFF]);
    assert_eq!(pack.len(), 66_000);
    assert_eq!(pack.at(-1), Some(Elem::Int(65_999 % 128)));
    assert_eq!(pack.at(65_998), Some(Elem::Int(65_998 % 128)));
    assert_eq!(pack.at(66_000), None);
    assert_eq!(pack.at(-66_001), None);
    assert_eq!(pack.delete_range(10, 65_000), 65_000);
    assert_eq!(pack.len(), 1000);
    let again = Listpack::from_bytes(pack.bytes().to_vec()).expect("an unknown count is no error");
    assert_eq!(again.bytes()[4..6], 1000u16.to_le_bytes());
    let mut head = again;
    let tail = head.split_off(head.seek(10).expect("it is there"));
    assert_eq!((head.len(), tail.len()), (10, 990));
}

#[test]
fn elements_compare_by_text() {
    assert!(Elem::Int(5).is(b"5") && !Elem::Int(5).is(b"05") && Elem::Str(b"05").is(b"05"));
    assert_eq!(Elem::Int(-7), Elem::Str(b"-7"));
    assert_ne!(Elem::Int(7), Elem::Str(b"07"));
    for v in [0, 9, 10, -1, -10, 99, 100, i64::MAX, i64::MIN] {
        assert_eq!(Elem::Int(v).text_len(), v.to_string().len());
        assert_eq!(Elem::Int(v).to_vec(), v.to_string().into_bytes());
    }
}

#[test]
fn find_skips_values() {
    let pack = pack_of(&[b"a".to_vec(), b"b".to_vec(), b"b".to_vec(), b"7".to_vec()]);
    let first = pack.first().expect("not empty");
    assert_eq!(pack.find(first, b"b", 1), pack.seek(2));
    assert_eq!(pack.find(first, b"b", 0), pack.seek(1));
    assert_eq!(pack.find(first, b"7", 1), None);
    assert_eq!(pack.find(first, b"7", 0), pack.seek(3));
}

#[test]
fn odd_skips_stop_at_the_end() {
    let pack = pack_of(&[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
    assert_eq!(pack.find(pack.first().expect("not empty"), b"z", 1), None);
}

#[derive(Clone, Debug)]
enum Op {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    InsertBefore(usize, Vec<u8>),
    InsertAfter(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Delete(usize),
    DeleteRange(usize, usize),
    PopBack,
    PopFront,
    SplitAndJoin(usize),
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => any::<i64>().prop_map(|v| v.to_string().into_bytes()),
        3 => (-5000i64..5000).prop_map(|v| v.to_string().into_bytes()),
        3 => vec(any::<u8>(), 0..20),
        1 => vec(any::<u8>(), 60..70),
        1 => vec(any::<u8>(), 120..135),
        1 => (4090usize..4100).prop_map(|n| vec![b'k'; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => text().prop_map(Op::PushBack),
        2 => text().prop_map(Op::PushFront),
        1 => (any::<usize>(), text()).prop_map(|(i, t)| Op::InsertBefore(i, t)),
        1 => (any::<usize>(), text()).prop_map(|(i, t)| Op::InsertAfter(i, t)),
        2 => (any::<usize>(), text()).prop_map(|(i, t)| Op::Replace(i, t)),
        1 => any::<usize>().prop_map(Op::Delete),
        1 => (any::<usize>(), 0usize..6).prop_map(|(i, n)| Op::DeleteRange(i, n)),
        1 => Just(Op::PopBack),
        1 => Just(Op::PopFront),
        1 => any::<usize>().prop_map(Op::SplitAndJoin),
    ]
}

fn apply(op: Op, pack: &mut Listpack, model: &mut Vec<Vec<u8>>) {
    let n = model.len().max(1);
    let place = |pack: &Listpack, i: usize| pack.seek((i % n) as isize);
    match op {
        Op::PushBack(t) => {
            pack.push_back(&t);
            model.push(t);
        }
        Op::PushFront(t) => {
            pack.push_front(&t);
            model.insert(0, t);
        }
        Op::InsertBefore(i, t) => {
            let Some(pos) = place(pack, i) else { return };
            let at = pack.insert_before(pos, &t);
            assert!(pack.get(at).is(&t));
            model.insert(i % n, t);
        }
        Op::InsertAfter(i, t) => {
            let Some(pos) = place(pack, i) else { return };
            let at = pack.insert_after(pos, &t);
            assert!(pack.get(at).is(&t));
            model.insert(i % n + 1, t);
        }
        Op::Replace(i, t) => {
            let Some(pos) = place(pack, i) else { return };
            pack.replace(pos, &t);
            model[i % n] = t;
        }
        Op::Delete(i) => {
            let Some(pos) = place(pack, i) else { return };
            let next = pack.delete(pos);
            model.remove(i % n);
            assert_eq!(next.map(|p| pack.get(p).to_vec()), model.get(i % n).cloned());
        }
        Op::DeleteRange(i, count) => {
            let from = -((i % n) as isize) - 1;
            let gone = pack.delete_range(from, count);
            let start = model.len().saturating_sub(i % n + 1);
            let end = (start + count).min(model.len());
            assert_eq!(gone, model.drain(start..end).count());
        }
        Op::PopBack => assert_eq!(pack.pop_back(), model.pop()),
        Op::PopFront => {
            let first = (!model.is_empty()).then(|| model.remove(0));
            assert_eq!(pack.pop_front(), first);
        }
        Op::SplitAndJoin(i) => {
            let Some(pos) = place(pack, i) else { return };
            let tail = pack.split_off(pos);
            assert_eq!(pack.len(), i % n);
            assert_eq!(texts_of(&tail), model[i % n..]);
            pack.append(&tail);
        }
    }
}

fn check(pack: &Listpack, model: &[Vec<u8>]) {
    assert_eq!(texts_of(pack), model);
    assert_eq!(pack.len(), model.len());
    assert_eq!(pack.is_empty(), model.is_empty());
    assert!(pack.iter().rev().map(Elem::to_vec).eq(model.iter().rev().cloned()));
    assert_eq!(Listpack::from_bytes(pack.bytes().to_vec()).as_ref(), Ok(pack));
    // Tight: an allocator's size class at most.
    assert!(pack.mem() <= pack.byte_len() + pack.byte_len() / 8 + 16);
    let n = model.len() as isize;
    for i in -n - 1..=n {
        let at = if i < 0 { i + n } else { i };
        let expected = usize::try_from(at).ok().and_then(|at| model.get(at));
        assert_eq!(pack.at(i).map(Elem::to_vec).as_ref(), expected, "{i} of {n}");
    }
    if let Some(middle) = pack.seek(n / 2) {
        let middle_on: Vec<_> = pack.iter_from(middle).map(Elem::to_vec).collect();
        assert_eq!(middle_on, model[(n / 2) as usize..]);
        let up_to: Vec<_> = pack.iter_to(middle).map(Elem::to_vec).collect();
        assert_eq!(up_to, model[..=(n / 2) as usize]);
    }
}

/// Reads and changes all that a listpack from outside offers.
fn exercise(mut pack: Listpack) {
    let n = pack.len();
    assert_eq!(pack.iter().rev().count(), n);
    let _ = pack.first().and_then(|first| pack.find(first, b"12", 1));
    pack.push_back(b"12");
    pack.delete_range(0, n);
    assert_eq!(texts_of(&pack), [b"12"]);
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn behaves_like_a_vec(ops in vec(op(), 0..60)) {
        let (mut pack, mut model) = (Listpack::new(), Vec::new());
        for op in ops {
            apply(op, &mut pack, &mut model);
            check(&pack, &model);
        }
    }

    #[test]
    fn random_bytes_never_panic(body in vec(any::<u8>(), 0..60), count in 0u16..6) {
        let mut bytes = ((body.len() + HEADER + 1) as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.push(EOF);
        if let Ok(pack) = Listpack::from_bytes(bytes) {
            exercise(pack);
        }
        let _ = Listpack::from_bytes(body);
    }

    #[test]
    fn flipped_bits_never_panic(texts in vec(text(), 0..8), flips in vec((any::<usize>(), 0u8..8), 1..4)) {
        let mut bytes = pack_of(&texts).into_bytes();
        let n = bytes.len();
        for (at, bit) in flips {
            bytes[at % n] ^= 1 << bit;
        }
        if let Ok(pack) = Listpack::from_bytes(bytes.clone()) {
            exercise(pack);
        }
        bytes.truncate(n / 2);
        prop_assert!(Listpack::from_bytes(bytes).is_err());
    }

    #[test]
    fn integers_round_trip(v in any::<i64>(), shift in 0u32..64) {
        for v in [v, v >> shift] {
            let mut pack = Listpack::new();
            pack.push_back_int(v);
            prop_assert_eq!(&pack, &pack_of(&[v.to_string().into_bytes()]));
            prop_assert!(matches!(pack.at(0), Some(Elem::Int(x)) if x == v));
        }
    }
}
