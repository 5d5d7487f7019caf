//! Values as plain data, in every encoding.

use proptest::prelude::*;

use crate::persist::codes::kind;
use crate::value::{Hash, Limits, List, Object, Set, ZSet};

/// A value without an encoding.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Str(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    ZSet(Vec<(Vec<u8>, f64)>),
}

/// What is equal when values are.
pub fn digest(object: &Object) -> Kind {
    match object {
        Object::Str(text) => Kind::Str(text.to_vec()),
        Object::List(list) => Kind::List(list.iter().map(|elem| elem.to_vec()).collect()),
        Object::Set(set) => {
            let mut members: Vec<_> = set.iter().map(|elem| elem.to_vec()).collect();
            members.sort();
            Kind::Set(members)
        }
        Object::Hash(hash) => {
            let mut fields: Vec<_> = hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
            fields.sort();
            Kind::Hash(fields)
        }
        Object::ZSet(zset) => Kind::ZSet(zset.iter().map(|(m, score)| (m.to_vec(), score)).collect()),
    }
}

/// Where a member or field stands twice, the last counts.
pub fn value_of(model: &Kind, limits: &Limits) -> Object {
    match model {
        Kind::Str(text) => Object::Str(text.clone().into()),
        Kind::List(texts) => {
            let mut list = List::new();
            texts.iter().for_each(|text| list.push_back(text, limits));
            Object::List(list)
        }
        Kind::Set(members) => {
            let mut set = Set::new();
            members.iter().for_each(|member| _ = set.add(member, limits));
            Object::Set(set)
        }
        Kind::Hash(fields) => {
            let mut hash = Hash::new();
            fields.iter().for_each(|(field, value)| _ = hash.set(field, value, limits));
            Object::Hash(hash)
        }
        Kind::ZSet(members) => {
            let mut zset = ZSet::new();
            members.iter().for_each(|(member, score)| _ = zset.insert(member, *score, limits));
            Object::ZSet(zset)
        }
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..30),
        3 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        3 => (-40_000i64..40_000).prop_map(|n| n.to_string().into_bytes()),
        2 => ("[ab]{1,4}", 1usize..200).prop_map(|(text, times)| text.repeat(times).into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 60..400),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-1000i32..1000).prop_map(f64::from),
        any::<f64>().prop_filter("a score", |score| !score.is_nan()),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
    ]
}

pub fn model() -> impl Strategy<Value = Kind> {
    let some = 1..24usize;
    prop_oneof![
        text().prop_map(Kind::Str),
        prop::collection::vec(text(), some.clone()).prop_map(Kind::List),
        prop::collection::vec(text(), some.clone()).prop_map(Kind::Set),
        prop::collection::vec(any::<i32>().prop_map(|n| n.to_string().into_bytes()), some.clone())
            .prop_map(Kind::Set),
        prop::collection::vec((text(), text()), some.clone()).prop_map(Kind::Hash),
        prop::collection::vec((text(), score()), some).prop_map(Kind::ZSet),
    ]
}

/// Texts that take every form of a ziplist's entry.
fn texts() -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = [
        "a",
        "0",
        "12",
        "13",
        "-1",
        "127",
        "-128",
        "128",
        "-32768",
        "32767",
        "32768",
        "-8388608",
        "8388607",
        "8388608",
        "-2147483648",
        "2147483648",
        "-9223372036854775808",
        "",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    texts.extend([63, 64, 253, 254, 300, 16_383, 16_384].map(|len| vec![b'x'; len]));
    texts.push(b"behind a long one".to_vec());
    texts
}

/// A string of at most 2^32 bytes, as it is.
pub fn plain(text: &[u8]) -> Vec<u8> {
    [&[0x80], &(text.len() as u32).to_be_bytes()[..], text].concat()
}

/// A ziplist of these texts.
pub fn ziplist(texts: &[Vec<u8>]) -> Vec<u8> {
    let (mut entries, mut before, mut tail) = (Vec::new(), 0usize, 10);
    for text in texts {
        let from = entries.len();
        tail = 10 + from;
        match before {
            0..254 => entries.push(before as u8),
            _ => entries.extend([&[254], &(before as u32).to_le_bytes()[..]].concat()),
        }
        let int = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<i64>().ok().filter(|n| n.to_string() == text));
        match int {
            Some(n) => entries.extend(ziplist_int(n)),
            None => entries.extend([&ziplist_head(text.len())[..], text].concat()),
        }
        before = entries.len() - from;
    }
    let total = 10 + entries.len() + 1;
    let head = [
        &(total as u32).to_le_bytes()[..],
        &(tail as u32).to_le_bytes(),
        &(texts.len() as u16).to_le_bytes(),
    ];
    [head.concat(), entries, vec![0xFF]].concat()
}

fn ziplist_head(len: usize) -> Vec<u8> {
    match len {
        0..64 => vec![len as u8],
        64..16_384 => vec![0x40 | (len >> 8) as u8, len as u8],
        _ => [&[0x80], &(len as u32).to_be_bytes()[..]].concat(),
    }
}

fn ziplist_int(n: i64) -> Vec<u8> {
    let le = n.to_le_bytes();
    let (code, width) = match n {
        0..=12 => return vec![0xF1 + n as u8],
        -0x80..=0x7F => (0xFE, 1),
        -0x8000..=0x7FFF => (0xC0, 2),
        -0x80_0000..=0x7F_FFFF => (0xF0, 3),
        -0x8000_0000..=0x7FFF_FFFF => (0xD0, 4),
        _ => (0xE0, 8),
    };
    [&[code], &le[..width]].concat()
}

/// A zipmap of these pairs; every value has a byte behind it that is not in use.
pub fn zipmap(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let len = |text: &[u8]| match text.len() {
        len @ 0..254 => vec![len as u8],
        len => [&[254], &(len as u32).to_le_bytes()[..]].concat(),
    };
    let mut out = vec![pairs.len().min(254) as u8];
    for (field, value) in pairs {
        out.extend([&len(field)[..], field, &len(value), &[1], value, &[0]].concat());
    }
    out.push(0xFF);
    out
}

/// Every type and encoding that is read but not written, and what it holds: name, type, body.
pub fn payloads() -> Vec<(&'static str, u8, Vec<u8>, Kind)> {
    let texts = texts();
    let count = |n: usize| vec![n as u8];
    let all: Vec<u8> = texts.iter().flat_map(|text| plain(text)).collect();
    let sorted = |mut texts: Vec<Vec<u8>>| {
        texts.sort();
        texts
    };
    let fields: Vec<(Vec<u8>, Vec<u8>)> = texts.iter().map(|text| (text.clone(), text.clone())).collect();
    let doubled: Vec<Vec<u8>> = texts.iter().flat_map(|text| [text.clone(), text.clone()]).collect();
    let mut sorted_fields = fields.clone();
    sorted_fields.sort();
    let scored = ["inf", "-inf", "1.5", "-7", "1e300"];
    let scores: Vec<(Vec<u8>, f64)> =
        scored.iter().map(|text| (text.as_bytes().to_vec(), text.parse().unwrap())).collect();
    let mut by_score = scores.clone();
    by_score.sort_by(|a, b| a.1.total_cmp(&b.1));
    let with_text_scores: Vec<u8> = scores
        .iter()
        .flat_map(|(text, score)| {
            let score = match *score {
                f64::INFINITY => vec![254],
                f64::NEG_INFINITY => vec![255],
                _ => [&[text.len() as u8], &text[..]].concat(),
            };
            [plain(text), score].concat()
        })
        .collect();
    let pairs: Vec<Vec<u8>> = by_score.iter().flat_map(|(text, _)| [text.clone(), text.clone()]).collect();
    let all_fields: Vec<u8> = doubled.iter().flat_map(|text| plain(text)).collect();
    let node = plain(&ziplist(&texts));
    let plain_node = [vec![2, 1], plain(b"12"), vec![1], plain(b"text")].concat();
    let pack = dumped_listpack(&texts);
    vec![
        ("list", kind::LIST, [count(texts.len()), all.clone()].concat(), Kind::List(texts.clone())),
        ("set", kind::SET, [count(texts.len()), all].concat(), Kind::Set(sorted(texts.clone()))),
        ("zset", kind::ZSET, [count(scores.len()), with_text_scores].concat(), Kind::ZSet(by_score.clone())),
        ("hash", kind::HASH, [count(fields.len()), all_fields].concat(), Kind::Hash(sorted_fields.clone())),
        ("zipmap", kind::HASH_ZIPMAP, plain(&zipmap(&fields)), Kind::Hash(sorted_fields.clone())),
        ("list ziplist", kind::LIST_ZIPLIST, node.clone(), Kind::List(texts.clone())),
        ("zset ziplist", kind::ZSET_ZIPLIST, plain(&ziplist(&pairs)), Kind::ZSet(by_score)),
        ("hash ziplist", kind::HASH_ZIPLIST, plain(&ziplist(&doubled)), Kind::Hash(sorted_fields)),
        (
            "quicklist",
            kind::LIST_QUICKLIST,
            [count(3), node.clone(), plain(&ziplist(&[])), node].concat(),
            Kind::List([texts.clone(), texts.clone()].concat()),
        ),
        ("plain nodes", kind::LIST_QUICKLIST_2, plain_node, Kind::List(vec![b"12".into(), b"text".into()])),
        ("set listpack", kind::SET_LISTPACK, plain(&pack), Kind::Set(sorted(texts))),
    ]
}

fn dumped_listpack(texts: &[Vec<u8>]) -> Vec<u8> {
    let mut pack = crate::value::Listpack::new();
    texts.iter().for_each(|text| pack.push_back(text));
    pack.into_bytes()
}
