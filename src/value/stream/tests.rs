use crate::util::proof::cases;
use proptest::collection::vec;
use proptest::prelude::*;

use super::nodes::Nodes;
use super::*;
use crate::value::{Limits, Listpack};

type Bytes = Vec<u8>;
type Fields = Vec<(Bytes, Bytes)>;

fn small(entries: u64, bytes: usize) -> Limits {
    Limits { stream_node_max_entries: entries, stream_node_max_bytes: bytes, ..Limits::default() }
}

fn append(log: &mut Log, id: Id, fields: &Fields, limits: &Limits) {
    log.append(id, fields.iter().map(|(field, value)| (&field[..], &value[..])), limits);
}

fn fields(texts: &[(&str, &str)]) -> Fields {
    texts.iter().map(|(field, value)| (field.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn shown(range: Range<'_>) -> Vec<(Id, Fields)> {
    let pairs = |entry: &Entry<'_>| entry.pairs().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
    range.map(|entry| (entry.id, pairs(&entry))).collect()
}

#[test]
fn ids_are_ordered_and_have_neighbours() {
    for (id, next, prev, text) in [
        (Id::ZERO, Some(Id::new(0, 1)), None, "0-0"),
        (Id::new(0, u64::MAX), Some(Id::new(1, 0)), Some(Id::new(0, u64::MAX - 1)), "0-18446744073709551615"),
        (Id::new(7, 0), Some(Id::new(7, 1)), Some(Id::new(6, u64::MAX)), "7-0"),
        (Id::MAX, None, Some(Id::new(u64::MAX, u64::MAX - 1)), "18446744073709551615-18446744073709551615"),
    ] {
        assert_eq!((id.next(), id.prev()), (next, prev), "{id}");
        id.with_text(|bytes| assert_eq!(bytes, text.as_bytes()));
        assert_eq!((id.to_string(), Id::from_bytes(id.to_bytes())), (text.to_string(), id));
        assert!(next.is_none_or(|next| next > id) && prev.is_none_or(|prev| prev < id));
        for other in [Id::ZERO, Id::MAX, Id::new(5, 5)] {
            assert_eq!(other.plus(id.minus(other)), id);
        }
    }
}

#[test]
fn radix_trees_have_as_many_nodes_as_redis_s() {
    let of = |ids: &[(u64, u64)]| radix::nodes(ids.iter().map(|(ms, seq)| Id::new(*ms, *seq)));
    // what XINFO STREAM told on redis-server 7.0.15, with a node for each entry
    for (ids, nodes) in [
        (&[][..], 1),
        (&[(1, 1)], 2),
        (&[(1, 1), (1, 2)], 4),
        (&[(1, 1), (2, 1)], 6),
        (&[(1, 1), (1, 2), (1, 3)], 5),
        (&[(1, 1), (1, 256), (1, 257)], 7),
        (&[(1, 1), (1 << 56, 0)], 5),
        (&[(1, 1), (1, 2), (256, 0), (256, 1), (1 << 56, 0)], 13),
        (&[(1, 1), (1, 2), (1, 3), (2, 0), (1 << 40, 5), (1 << 40, 6), ((1 << 40) + 1, 0)], 19),
    ] {
        assert_eq!(of(ids), nodes, "{ids:?}");
    }
}

/// Nodes here are redis-server's after the same commands: what DUMP held.
#[test]
fn nodes_are_redis_s() {
    let mut log = Log::default();
    let limits = small(3, 4096);
    append(&mut log, Id::new(5, 1), &fields(&[("a", "1"), ("b", "x")]), &limits);
    append(&mut log, Id::new(5, 3), &fields(&[("a", "2"), ("b", "300")]), &limits);
    append(&mut log, Id::new(7, 0), &fields(&[("a", "2")]), &limits);
    assert!(log.delete(Id::new(5, 3)) && !log.delete(Id::new(5, 3)) && !log.delete(Id::new(5, 2)));
    append(&mut log, Id::new(8, 0), &fields(&[("c", "")]), &limits);
    let hex = |id: u64, seq: u64| {
        let before = Id::new(id, seq).prev();
        let (place, pack) = log.node_after(before).expect("a node");
        assert_eq!(place, Id::new(id, seq));
        pack.bytes().iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    assert_eq!(
        hex(5, 1),
        "3f00000019000201010102018161028162020001020100010001010181780205010301000102010201c12c0205010001\
         0201dfff02010181610202010601ff"
    );
    assert_eq!(hex(8, 0), "1c0000000a00010100010101816302000102010001000180010401ff");
    assert_eq!((log.len(), log.nodes(), log.added, log.max_deleted_id), (3, 2, 4, Id::new(5, 3)));
}

#[test]
fn a_node_ends_as_redis_has_it() {
    let nodes = |limits: &Limits, value: usize| {
        let mut log = Log::default();
        for ms in 1..=60 {
            append(&mut log, Id::new(ms, 0), &vec![(b"f".to_vec(), vec![b'v'; value])], limits);
        }
        log.nodes()
    };
    for (entries, bytes, value, want) in [
        (1, 4096, 1, 60),
        (25, 4096, 1, 3),
        (0, 0, 3000, 1),
        (0, 4096, 1000, 15),
        (100, 100, 90, 60),
        (0, 1, 1, 60),
    ] {
        assert_eq!(nodes(&small(entries, bytes), value), want, "{entries} {bytes} {value}");
    }
}

#[derive(Clone, Debug)]
enum Op {
    Add {
        gap: u64,
        seq: u64,
        fields: Fields,
    },
    Delete(usize),
    DeleteLast,
    KeepNewest(u64, bool, Option<u64>),
    KeepFrom(usize, bool, Option<u64>),
    /// XSETID backwards, as far as that is allowed.
    SetBack,
}

fn pair() -> impl Strategy<Value = (Bytes, Bytes)> {
    (prop::sample::select(vec!["a", "b", "7"]), "[a-z0-9]{0,12}")
        .prop_map(|(field, value)| (field.as_bytes().to_vec(), value.into_bytes()))
}

fn op() -> impl Strategy<Value = Op> {
    let most = || prop_oneof![3 => Just(None), 1 => (1u64..20).prop_map(Some)];
    prop_oneof![
        12 => (0u64..3, 0u64..3, vec(pair(), 1..4)).prop_map(|(gap, seq, fields)| Op::Add { gap, seq, fields }),
        4 => (0usize..60).prop_map(Op::Delete),
        1 => Just(Op::DeleteLast),
        1 => (0u64..40, any::<bool>(), most()).prop_map(|(n, roughly, most)| Op::KeepNewest(n, roughly, most)),
        1 => (0usize..40, any::<bool>(), most()).prop_map(|(n, roughly, most)| Op::KeepFrom(n, roughly, most)),
        1 => Just(Op::SetBack),
    ]
}

/// Applies an operation to both, and compares what both answer. `in_order`: the last id was never set back, so
/// nothing that was deleted stands before what has a smaller id, where a trim ends as Redis's does.
fn apply(log: &mut Log, model: &mut Vec<(Id, Fields)>, op: &Op, limits: &Limits, in_order: bool) {
    match op {
        Op::Add { gap, seq, fields } => {
            let last = log.last_id;
            let id =
                if *gap == 0 { Id::new(last.ms, last.seq + 1 + seq) } else { Id::new(last.ms + gap, *seq) };
            append(log, id, fields, limits);
            model.push((id, fields.clone()));
        }
        Op::Delete(n) => {
            let id = model.get(*n).map_or(Id::new(1, 77), |(id, _)| *id);
            let there = model.iter().any(|(other, _)| *other == id);
            assert_eq!(log.delete(id), there);
            model.retain(|(other, _)| *other != id);
        }
        Op::DeleteLast => {
            if let Some((id, _)) = model.pop() {
                assert!(log.delete(id));
            }
        }
        Op::KeepNewest(n, roughly, most) => {
            let gone = log.trim(Keep::Newest(*n), *roughly, *most);
            let before = model.len() as u64;
            if *roughly || most.is_some() {
                assert!(
                    before - gone >= (*n).min(before) && most.is_none_or(|most| gone <= most || !roughly)
                );
            } else {
                assert_eq!(gone, before.saturating_sub(*n));
            }
            model.drain(..gone as usize);
        }
        Op::KeepFrom(n, roughly, most) => {
            let from = model.get(*n).map_or(log.last_id, |(id, _)| *id);
            let gone = log.trim(Keep::From(from), *roughly, *most);
            let doomed = model.iter().filter(|(id, _)| *id < from).count() as u64;
            let exact = !roughly && most.is_none() && in_order;
            assert!(if exact { gone == doomed } else { gone <= doomed }, "{gone} of {doomed}");
            model.drain(..gone as usize);
        }
        Op::SetBack => log.last_id = model.last().map_or(log.last_id, |(id, _)| *id),
    }
}

fn is_sound(log: &Log, model: &[(Id, Fields)]) {
    assert_eq!(shown(log.iter()), model);
    let mut backwards = shown(log.range(Id::ZERO, Id::MAX, Way::Backward));
    backwards.reverse();
    assert_eq!(backwards, model);
    assert_eq!(log.len(), model.len() as u64);
    assert_eq!(log.first_id, model.first().map_or(Id::ZERO, |(id, _)| *id));
    assert_eq!(log.newest(), model.last().map(|(id, _)| *id));
    let (mut place, mut again, mut nodes) = (None, Log::default(), 0);
    while let Some((id, pack)) = log.node_after(place) {
        again.adopt(id, pack.clone()).expect("a node of ours");
        (place, nodes) = (Some(id), nodes + 1);
    }
    assert_eq!((nodes, again.len()), (log.nodes(), log.len()));
    assert_eq!(shown(again.iter()), model);
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_log_is_a_list(ops in vec(op(), 1..120), entries in 1u64..9, bytes in prop::sample::select(vec![0usize, 60, 300])) {
        let limits = small(entries, bytes);
        let (mut log, mut model) = (Log::default(), Vec::new());
        for (n, op) in ops.iter().enumerate() {
            let in_order = !ops[..n].iter().any(|op| matches!(op, Op::SetBack));
            apply(&mut log, &mut model, op, &limits, in_order);
        }
        is_sound(&log, &model);
        let clone = log.clone();
        is_sound(&clone, &model);
        prop_assert!(clone.mem() <= log.mem());
        for (n, (start, _)) in model.iter().enumerate().step_by(5) {
            let behind = shown(log.behind(*start));
            prop_assert_eq!(&behind[..], &model[n + 1..]);
            let (end, _) = model[model.len() - 1 - n / 2];
            let want: Vec<_> = model.iter().filter(|(id, _)| start <= id && *id <= end).cloned().collect();
            let mut back = shown(log.range(*start, end, Way::Backward));
            back.reverse();
            prop_assert_eq!(&back, &want);
            prop_assert_eq!(&shown(log.range(*start, end, Way::Forward)), &want);
            prop_assert!(log.find(*start).is_some_and(|entry| entry.id == *start));
        }
    }

    #[test]
    fn nodes_are_an_ordered_map(ops in vec((0u64..20, 0usize..3, 0usize..300), 1..60)) {
        let (mut nodes, mut model) = (Nodes::default(), BTreeMap::new());
        for (id, what, len) in ops {
            let id = Id::new(id, 0);
            let pack = || {
                let mut pack = Listpack::new();
                pack.push_back(&vec![b'x'; len]);
                pack
            };
            match what {
                0 => {
                    nodes.insert(id, pack());
                    model.insert(id, pack());
                }
                1 => prop_assert_eq!(nodes.remove(id), model.remove(&id).is_some()),
                _ => {
                    let changed = nodes.change(id, |pack| pack.push_back(b"y"));
                    let there = model.get_mut(&id).map(|pack| pack.push_back(b"y"));
                    prop_assert_eq!(changed, there);
                }
            }
        }
        let ids: Vec<Id> = model.keys().copied().collect();
        prop_assert_eq!(nodes.ids().collect::<Vec<_>>(), ids.clone());
        prop_assert_eq!(nodes.len(), ids.len());
        for id in (0..21).map(|ms| Id::new(ms, 0)) {
            let found = |node: Option<node::View<'_>>| node.map(|node| node.id);
            let later = ids.iter().copied().find(|other| *other > id);
            let earlier = ids.iter().copied().rev().find(|other| *other < id);
            prop_assert_eq!(found(nodes.after(Some(id))), later);
            prop_assert_eq!(found(nodes.neighbour(id, Way::Backward)), earlier);
            let around = ids.iter().copied().rev().find(|other| *other <= id).or(ids.first().copied());
            prop_assert_eq!(found(nodes.around(id)), around);
        }
        let before = nodes.mem();
        prop_assert!(nodes.clone().mem() <= before);
        ids.iter().for_each(|id| assert!(nodes.remove(*id)));
        prop_assert_eq!(nodes.mem(), 0);
    }

    /// Who owns what is told alike by the group and by its consumers.
    #[test]
    fn a_group_s_books_agree(ops in vec((0u64..12, 0usize..4, 0u8..8), 1..80)) {
        let mut group = Group::new(Id::ZERO, None);
        let mut model: BTreeMap<Id, (String, i64, u64)> = BTreeMap::new();
        for (now, (id, name, what)) in ops.into_iter().enumerate() {
            let (id, name, now) = (Id::new(id, 0), format!("c{name}"), now as i64);
            let member = group.member(name.as_bytes());
            match (what, member) {
                (0, Some(member)) => {
                    let owned = model.values().filter(|(owner, ..)| *owner == name).count();
                    prop_assert_eq!(group.leave(member), owned);
                    model.retain(|_, (owner, ..)| *owner != name);
                }
                (1 | 2, _) => prop_assert_eq!(group.settle(id), model.remove(&id).is_some()),
                (3, _) => {
                    group.redeliver(id, now);
                    if let Some(entry) = model.get_mut(&id) {
                        (entry.1, entry.2) = (now, entry.2 + 1);
                    }
                }
                (_, member) => {
                    let member = member.unwrap_or_else(|| group.join(name.as_bytes(), now));
                    group.assign(id, member, now, 1);
                    model.insert(id, (name, now, 1));
                }
            }
        }
        let name_of = |pending: &Pending| String::from_utf8_lossy(&group.owner(pending).name).into_owned();
        let books: BTreeMap<_, _> =
            group.pending_from(Id::ZERO).map(|(id, p)| (id, (name_of(&p), p.at_ms, p.count))).collect();
        prop_assert_eq!(&books, &model);
        for consumer in group.iter() {
            let own: Vec<Id> = consumer.owned_from(Id::ZERO).collect();
            let name = String::from_utf8_lossy(&consumer.name).into_owned();
            let want: Vec<Id> = model.iter().filter(|(_, (owner, ..))| *owner == name).map(|(id, _)| *id).collect();
            prop_assert_eq!((own, consumer.owned()), (want.clone(), want.len()));
        }
        let names: Vec<Name> = group.iter().map(|consumer| consumer.name.clone()).collect();
        for name in &names {
            let member = group.member(name).expect("it is a member");
            group.leave(member);
        }
        prop_assert_eq!((group.pending(), group.consumers(), group.mem()), (0, 0, 0));
    }
}

/// What one can know of entries that are gone, and of a group's place: cases from redis-server 7.0.15.
#[test]
fn lags_are_told_where_they_can_be() {
    let mut log = Log::default();
    let mut group = Group::new(Id::ZERO, Some(0));
    assert_eq!((group.lag(&log), log.added_until(Id::new(9, 9))), (Some(0), Some(0)));
    (1..=5).for_each(|ms| append(&mut log, Id::new(ms, 0), &fields(&[("f", "v")]), &Limits::default()));
    assert_eq!(group.lag(&log), Some(5));
    (1..=2).for_each(|ms| group.advance(&log, Id::new(ms, 0)));
    assert_eq!((group.read, group.lag(&log)), (Some(2), Some(3)));
    // behind what is deleted nothing is known until the end
    log.delete(Id::new(3, 0));
    assert_eq!(group.lag(&log), None);
    group.advance(&log, Id::new(4, 0));
    assert_eq!((group.read, group.lag(&log)), (Some(3), Some(2)));
    group.advance(&log, Id::new(5, 0));
    assert_eq!((group.read, group.lag(&log)), (Some(4), Some(1)));
    for (id, read) in [(0, None), (1, None), (4, None), (5, Some(5)), (6, None)] {
        assert_eq!(log.added_until(Id::new(id, 0)), read, "{id}");
    }
    // trimmed past the hole
    log.trim(Keep::Newest(2), false, None);
    for (id, read) in [(0, Some(3)), (3, Some(3)), (4, Some(4)), (5, Some(5))] {
        assert_eq!(log.added_until(Id::new(id, 0)), read, "{id}");
    }
    log.trim(Keep::Newest(0), false, None);
    assert_eq!((log.added_until(Id::new(2, 0)), log.first_id), (Some(5), Id::ZERO));
}
