use crate::util::proof::cases;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn filled(fill: i32) -> Limits {
    Limits { list_max_listpack_size: fill, ..Limits::default() }
}

fn list_of(texts: &[&str], limits: &Limits) -> List {
    let mut list = List::new();
    texts.iter().for_each(|text| list.push_back(text.as_bytes(), limits));
    list
}

fn texts_of(list: &List) -> Vec<Vec<u8>> {
    list.iter().map(Elem::to_vec).collect()
}

fn shape(list: &List) -> Vec<usize> {
    list.listpacks().map(Listpack::len).collect()
}

/// Node shapes here are those of redis-server 7.0.15 after the same commands.
#[test]
fn nodes_fill_as_in_redis() {
    let mut list = List::new();
    for i in 0..2000 {
        list.push_back(format!("{i:016}").replace('0', "a").as_bytes(), &filled(-2));
    }
    let sizes: Vec<_> = list.listpacks().map(|pack| (pack.byte_len(), pack.len())).collect();
    assert_eq!(sizes, [(8179, 454), (8179, 454), (8179, 454), (8179, 454), (3319, 184)]);
    let each = list.mem() as f64 / 2000.0;
    assert!(each < 18.8, "{each} bytes an element of 16");

    let mut list = list_of(&["a", "b", "c", "d", "e", "f", "g", "h"], &filled(3));
    ["x", "y", "z"].iter().for_each(|text| list.push_front(text.as_bytes(), &filled(3)));
    assert!(list.insert(b"b", true, b"NEW", &filled(3)));
    assert_eq!(texts_of(&list).concat(), b"zyxaNEWbcdefgh");
    assert!(shape(&list).iter().all(|&n| n <= 3), "{:?}", shape(&list));

    assert_eq!(shape(&list_of(&["a", "b", "c"], &filled(0))), [1, 1, 1]);
    let big = "c".repeat(9000);
    assert_eq!(shape(&list_of(&["a", "b", &big, "d", "e"], &filled(-2))), [2, 1, 2]);
}

#[test]
fn limits_mean_what_redis_means() {
    let of = |fill| Fill::of(&filled(fill));
    let bytes: Vec<_> = (-7..0).map(|fill| of(fill).bytes).collect();
    assert_eq!(bytes, [65536, 65536, 65536, 32768, 16384, 8192, 4096]);
    assert_eq!((of(5).count, of(5).bytes), (5, 8192));
    assert_eq!(of(i32::MAX).count, 32767);
    assert_eq!(of(i32::MIN).bytes, 65536);
}

#[test]
fn a_lone_node_is_a_lone_listpack_again() {
    let limits = filled(2);
    let mut list = list_of(&["a", "b", "c", "d", "e"], &limits);
    assert_eq!(shape(&list), [2, 2, 1]);
    assert_eq!(list.remove(0, b"c"), 1);
    assert_eq!(list.delete_range(2, 10), 2);
    assert!(matches!(list.repr, Repr::One(_)));
    assert_eq!(texts_of(&list), [b"a", b"b"]);
    assert_eq!((list.delete_range(0, 2), list.len()), (2, 0));
    assert!(list.is_empty() && list.pop_front().is_none() && list.pop_back().is_none());
}

#[test]
fn a_replacement_that_overfills_gets_its_own_node() {
    let limits = filled(-2);
    let mut list = list_of(&["a", "b", "c"], &limits);
    let big = vec![b'x'; 9000];
    assert!(list.set(1, &big, &limits));
    assert_eq!(shape(&list), [1, 1, 1]);
    assert!(list.set(-1, &big, &limits) && list.set(0, &big, &limits));
    assert_eq!(texts_of(&list), [big.clone(), big.clone(), big]);
    assert!(!list.set(3, b"x", &limits) && !list.set(-4, b"x", &limits));
}

#[test]
fn payload_nodes_are_kept_as_they_are() {
    let list = list_of(&["a", "b", "c", "d", "e"], &filled(2));
    let packs: Vec<_> = list.listpacks().cloned().chain([Listpack::new()]).collect();
    let again = List::from_listpacks(packs);
    assert_eq!((again.len(), shape(&again)), (5, vec![2, 2, 1]));
    assert_eq!(texts_of(&again), texts_of(&list));
    assert!(List::from_listpacks([]).is_empty());
}

#[derive(Clone, Debug)]
enum Op {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    PopBack,
    PopFront,
    Set(i64, Vec<u8>),
    Insert(Vec<u8>, bool, Vec<u8>),
    Remove(i64, Vec<u8>),
    DeleteRange(usize, usize),
    Trim(usize, usize),
    Rotate,
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        10 => (0u8..6).prop_map(|n| n.to_string().into_bytes()),
        3 => "[a-c]{0,2}".prop_map(String::into_bytes),
        1 => (1000usize..1003).prop_map(|n| vec![b'm'; n]),
        1 => (4000usize..4200).prop_map(|n| vec![b'n'; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => text().prop_map(Op::PushBack),
        5 => text().prop_map(Op::PushFront),
        1 => Just(Op::PopBack),
        1 => Just(Op::PopFront),
        2 => (-30i64..30, text()).prop_map(|(i, t)| Op::Set(i, t)),
        4 => (text(), any::<bool>(), text()).prop_map(|(p, b, t)| Op::Insert(p, b, t)),
        1 => (-3i64..4, text()).prop_map(|(n, t)| Op::Remove(n, t)),
        1 => (0usize..30, 0usize..8).prop_map(|(i, n)| Op::DeleteRange(i, n)),
        1 => (0usize..4, 10usize..60).prop_map(|(i, n)| Op::Trim(i, n)),
        1 => Just(Op::Rotate),
    ]
}

fn remove_model(model: &mut Vec<Vec<u8>>, count: i64, text: &[u8]) -> usize {
    let mut hits: Vec<usize> = (0..model.len()).filter(|&i| model[i] == text).collect();
    if count < 0 {
        hits.reverse();
    }
    hits.truncate(if count == 0 { usize::MAX } else { count.unsigned_abs() as usize });
    hits.sort_unstable();
    hits.iter().rev().for_each(|&i| {
        model.remove(i);
    });
    hits.len()
}

fn apply(op: Op, list: &mut List, model: &mut Vec<Vec<u8>>, limits: &Limits) {
    match op {
        Op::PushBack(t) => {
            list.push_back(&t, limits);
            model.push(t);
        }
        Op::PushFront(t) => {
            list.push_front(&t, limits);
            model.insert(0, t);
        }
        Op::PopBack => assert_eq!(list.pop_back(), model.pop()),
        Op::PopFront => {
            let first = (!model.is_empty()).then(|| model.remove(0));
            assert_eq!(list.pop_front(), first);
        }
        Op::Set(i, t) => {
            let at = if i < 0 { i + model.len() as i64 } else { i };
            let slot = usize::try_from(at).ok().and_then(|at| model.get_mut(at));
            assert_eq!(list.set(i, &t, limits), slot.is_some());
            if let Some(slot) = slot {
                *slot = t;
            }
        }
        Op::Insert(pivot, before, t) => {
            let at = model.iter().position(|x| *x == pivot);
            assert_eq!(list.insert(&pivot, before, &t, limits), at.is_some());
            if let Some(at) = at {
                model.insert(at + usize::from(!before), t);
            }
        }
        Op::Remove(count, t) => assert_eq!(list.remove(count, &t), remove_model(model, count, &t)),
        Op::DeleteRange(start, count) => {
            let start_at = start.min(model.len());
            let end = (start + count).min(model.len()).max(start_at);
            assert_eq!(list.delete_range(start, count), model.drain(start_at..end).count());
        }
        Op::Trim(start, count) => {
            list.trim(start, count);
            model.truncate(start + count);
            model.drain(..start.min(model.len()));
        }
        Op::Rotate => {
            if let Some(t) = list.pop_back() {
                list.push_front(&t, limits);
                model.rotate_right(1);
            }
        }
    }
}

fn check(list: &List, model: &[Vec<u8>], fill: Fill) {
    assert_eq!(texts_of(list), model);
    assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
    assert!(list.iter().rev().map(Elem::to_vec).eq(model.iter().rev().cloned()));
    let n = model.len() as i64;
    for i in -n - 1..=n {
        let at = if i < 0 { i + n } else { i };
        let expected = usize::try_from(at).ok().and_then(|at| model.get(at));
        assert_eq!(list.get(i).map(Elem::to_vec).as_ref(), expected);
    }
    for start in [0, model.len() / 3, model.len() / 2, model.len()] {
        let forth: Vec<_> = list.iter_from(start).map(Elem::to_vec).collect();
        assert_eq!(forth, model[start..]);
        let back: Vec<_> = list.iter_back_from(start).map(Elem::to_vec).collect();
        let expected: Vec<_> = model.iter().take(start + 1).rev().cloned().collect();
        assert_eq!(back, if start < model.len() { expected } else { vec![] });
    }
    if let Repr::Many(quick) = &list.repr {
        assert!(quick.nodes.len() > 1);
        for node in &quick.nodes {
            assert!(node.count > 0 && node.count == node.pack.len());
            assert!(node.count == 1 || (node.pack.byte_len() <= fill.bytes && node.count <= fill.count));
        }
        assert_eq!(quick.len, quick.nodes.iter().map(|node| node.count).sum::<usize>());
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn behaves_like_a_vec(ops in vec(op(), 0..80), fill in prop_oneof![Just(-1), Just(-2), 0i32..6]) {
        let limits = filled(fill);
        let (mut list, mut model) = (List::new(), Vec::new());
        for op in ops {
            apply(op, &mut list, &mut model, &limits);
            check(&list, &model, Fill::of(&limits));
        }
        let copy = list.clone();
        list.trim(0, 0);
        prop_assert!(list.is_empty());
        check(&copy, &model, Fill::of(&limits));
    }
}
