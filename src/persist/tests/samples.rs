//! Values as plain data, in every encoding.

use proptest::prelude::*;

use crate::persist::codes::kind;
use crate::value::stream::{Group, Id, Stream};
use crate::value::{Hash, Limits, List, Object, Set, ZSet};

/// A value without an encoding.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Str(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    ZSet(Vec<(Vec<u8>, f64)>),
    Stream(Streamed),
}

pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A stream: its entries, what it remembers, its groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Streamed {
    pub entries: Vec<(Id, Pairs)>,
    /// The last id, the highest that was deleted, and how many entries were added.
    pub facts: (Id, Id, u64),
    pub groups: Vec<Grouped>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grouped {
    pub name: Vec<u8>,
    pub last: Id,
    pub read: Option<i64>,
    /// Names, and when they were seen.
    pub consumers: Vec<(Vec<u8>, i64)>,
    /// Ids, the numbers of their consumers, times and counts.
    pub pending: Vec<(Id, usize, i64, u64)>,
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
        Object::Stream(stream) => Kind::Stream(streamed(stream)),
    }
}

fn streamed(stream: &Stream) -> Streamed {
    let log = &stream.log;
    let entries = log.iter().map(|entry| {
        (entry.id, entry.pairs().map(|(field, value)| (field.to_vec(), value.to_vec())).collect())
    });
    let groups = stream.iter_groups().map(|(name, group)| {
        let consumers: Vec<_> = group.iter().map(|c| (c.name.to_vec(), c.seen_ms)).collect();
        let number = |name: &[u8]| consumers.iter().position(|(other, _)| other == name).expect("a consumer");
        let pending = group.pending_from(Id::ZERO);
        let pending = pending.map(|(id, p)| (id, number(&group.owner(&p).name), p.at_ms, p.count)).collect();
        Grouped { name: name.to_vec(), last: group.last_id, read: group.read, pending, consumers }
    });
    Streamed {
        entries: entries.collect(),
        facts: (log.last_id, log.max_deleted_id, log.added),
        groups: groups.collect(),
    }
}

fn stream_of(model: &Streamed, limits: &Limits) -> Stream {
    let mut stream = Stream::new();
    for (id, pairs) in &model.entries {
        stream.log.append(*id, pairs.iter().map(|(field, value)| (&field[..], &value[..])), limits);
    }
    (stream.log.last_id, stream.log.max_deleted_id, stream.log.added) = model.facts;
    for grouped in &model.groups {
        let mut group = Group::new(grouped.last, grouped.read);
        let members: Vec<_> = grouped.consumers.iter().map(|(name, seen)| group.join(name, *seen)).collect();
        for (id, owner, at_ms, count) in &grouped.pending {
            group.assign(*id, members[*owner], *at_ms, *count);
        }
        assert!(stream.add_group(&grouped.name, group));
    }
    stream
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
        Kind::Stream(model) => Object::Stream(Box::new(stream_of(model, limits))),
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

/// A stream of so many entries, all of which two consumers have been given.
pub fn long_stream(len: u64) -> Streamed {
    let ids = (1..=len).map(|n| Id::new(n * 7, n % 3));
    let pair = |n: Id| vec![(b"field".to_vec(), n.ms.to_string().into_bytes())];
    let group = Grouped {
        name: b"group".to_vec(),
        last: Id::new(len * 7, 9),
        read: Some(len as i64),
        consumers: vec![(b"a".to_vec(), 5), (b"b".to_vec(), 6)],
        pending: ids.clone().map(|id| (id, (id.ms % 2) as usize, id.ms as i64, id.seq)).collect(),
    };
    Streamed {
        entries: ids.map(|id| (id, pair(id))).collect(),
        facts: (Id::new(len * 7, 9), Id::ZERO, len),
        groups: vec![group],
    }
}

fn id() -> impl Strategy<Value = Id> {
    prop_oneof![
        4 => (0u64..300, 0u64..3),
        1 => (any::<u64>(), any::<u64>()),
        1 => Just((u64::MAX, u64::MAX)),
    ]
    .prop_map(|(ms, seq)| Id::new(ms, seq))
}

fn grouped() -> impl Strategy<Value = Grouped> {
    let consumers = prop::collection::btree_map(text(), any::<i64>(), 1..4);
    let pending =
        prop::collection::btree_map(id(), (any::<prop::sample::Index>(), any::<i64>(), any::<u64>()), 0..80);
    let read = prop_oneof![Just(None), (0i64..1000).prop_map(Some)];
    (id(), read, consumers, pending).prop_map(|(last, read, consumers, pending)| {
        let consumers: Vec<_> = consumers.into_iter().collect();
        let entry = |(id, (owner, at, count)): (Id, (prop::sample::Index, i64, u64))| {
            (id, owner.index(consumers.len()), at, count)
        };
        let pending = pending.into_iter().map(entry).collect();
        Grouped { name: Vec::new(), last, read, pending, consumers }
    })
}

fn stream() -> impl Strategy<Value = Kind> {
    let pairs = prop::collection::vec((text(), text()), 1..4);
    let entries = prop::collection::btree_map(id().prop_filter("an id", |id| *id != Id::ZERO), pairs, 0..24);
    let groups = prop::collection::btree_map(text(), grouped(), 0..3);
    (entries, id(), id(), any::<u64>(), groups).prop_map(|(entries, last, deleted, added, groups)| {
        let groups = groups.into_iter().map(|(name, group)| Grouped { name, ..group }).collect();
        Kind::Stream(Streamed {
            entries: entries.into_iter().collect(),
            facts: (last, deleted, added),
            groups,
        })
    })
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
        stream(),
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
        old_stream(kind::STREAM_LISTPACKS),
        old_stream(kind::STREAM_LISTPACKS_3),
    ]
}

/// A stream as Redis 5 wrote it, or as 7.2 does: two entries, and a group that was given the first.
fn old_stream(kind: u8) -> (&'static str, u8, Vec<u8>, Kind) {
    let old = kind == kind::STREAM_LISTPACKS;
    let mut pack = crate::value::Listpack::new();
    [2, 0, 1, 7, 0, 2, 0, 0, 1, 4, 2, 0, 3, 2, 4].iter().for_each(|n| pack.push_back_int(*n));
    let id = Id::new(5, 1);
    let more: &[u8] = if old { &[] } else { &[5, 1, 4, 4, 9] };
    let read: &[u8] = if old { &[] } else { &[1] };
    let active: &[u8] = if old { &[] } else { &[7; 8] };
    let body = [
        &[1],
        &plain(&id.to_bytes())[..],
        &plain(pack.bytes()),
        &[2, 5, 4],
        more,
        &[1, 1, b'g', 5, 1],
        read,
        &[1],
        &id.to_bytes(),
        &77u64.to_le_bytes(),
        &[3, 1, 1, b'c'],
        &99u64.to_le_bytes(),
        active,
        &[1],
        &id.to_bytes(),
    ];
    let pair = |value: &str| vec![(b"7".to_vec(), value.as_bytes().to_vec())];
    let group = Grouped {
        name: b"g".to_vec(),
        last: id,
        read: Some(1),
        consumers: vec![(b"c".to_vec(), 99)],
        pending: vec![(id, 0, 77, 3)],
    };
    let streamed = Streamed {
        entries: vec![(id, pair("1")), (Id::new(5, 4), pair("2"))],
        facts: if old { (Id::new(5, 4), Id::ZERO, 2) } else { (Id::new(5, 4), Id::new(4, 4), 9) },
        groups: vec![group],
    };
    (if old { "stream" } else { "stream of 7.2" }, kind, body.concat(), Kind::Stream(streamed))
}

fn dumped_listpack(texts: &[Vec<u8>]) -> Vec<u8> {
    let mut pack = crate::value::Listpack::new();
    texts.iter().for_each(|text| pack.push_back(text));
    pack.into_bytes()
}
