use std::collections::BTreeSet;

use crate::util::proof::cases;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::util::rng::Rng;

type Model = BTreeSet<Vec<u8>>;

fn small() -> Limits {
    Limits { set_max_intset_entries: 8, ..Limits::default() }
}

fn check(set: &Set, model: &Model) {
    let all: Model = set.iter().map(Elem::to_vec).collect();
    assert_eq!(&all, model);
    assert_eq!(set.iter().count(), model.len());
    assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
    for member in model {
        assert!(set.contains(member) && set.contains_elem(Elem::Str(member)));
        if let Some(v) = parse_i64(member) {
            assert!(set.contains_elem(Elem::Int(v)));
        }
    }
    if let Repr::Table(table) = &set.repr {
        let bytes: usize = table.dict.iter().map(|(member, _)| alloc_size(member.len())).sum();
        assert_eq!(table.bytes, bytes);
    }
    let mut seen = Model::new();
    let mut cursor = 0;
    loop {
        cursor = set.scan(cursor, 3, |member| {
            seen.insert(member.to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&seen, model);
}

#[test]
fn limits_are_kept_to_the_element() {
    let mut set = Set::new();
    for i in 0..8 {
        assert!(set.add(i.to_string().as_bytes(), &small()));
    }
    assert!(!set.add(b"7", &small()));
    assert_eq!(set.encoding(), "intset");
    let mut texts = set.clone();
    assert!(set.add(b"8", &small()));
    assert_eq!((set.encoding(), set.len()), ("hashtable", 9));
    assert!(texts.add(b"08", &small()));
    assert_eq!((texts.encoding(), texts.len()), ("hashtable", 9));
    assert!(!texts.contains(b"09") && texts.contains(b"08") && texts.contains(b"7"));
}

#[test]
fn an_intset_over_the_limit_is_unpacked() {
    let mut ints = IntSet::new();
    (0..9).for_each(|v| assert!(ints.add(v)));
    assert_eq!(Set::from_intset(ints.clone(), &Limits::default()).encoding(), "intset");
    let set = Set::from_intset(ints, &small());
    assert_eq!((set.encoding(), set.len()), ("hashtable", 9));
    assert!(set.intset().is_none());
}

#[test]
fn pops_take_every_member_once() {
    for n in [6, 40] {
        let mut set = Set::new();
        (0..n).for_each(|i| assert!(set.add(i.to_string().as_bytes(), &small())));
        let mut rng = Rng::new(2);
        let popped: Vec<_> = std::iter::from_fn(|| set.pop(&mut rng)).collect();
        assert_eq!(popped.len(), n);
        assert_eq!(popped.into_iter().collect::<Model>().len(), n);
        assert!(set.is_empty() && set.random(&mut rng).is_none());
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn behaves_like_a_set(
        ints in vec((0u8..3, -20i64..20), 0..60),
        texts in vec((0u8..3, prop_oneof!["[a-c0-2-]{0,3}", "[0-9]{1,2}"]), 0..60),
    ) {
        let (mut set, mut model) = (Set::new(), Model::new());
        let ints = ints.into_iter().map(|(kind, v)| (kind, v.to_string()));
        for (kind, member) in ints.chain(texts) {
            let member = member.into_bytes();
            if kind == 0 {
                prop_assert_eq!(set.remove(&member), model.remove(&member));
            } else {
                prop_assert_eq!(set.add(&member, &small()), model.insert(member));
            }
            check(&set, &model);
        }
        let mut copy = Set::new();
        set.iter().for_each(|member| assert!(copy.add_elem(member, &small())));
        check(&copy, &model);
    }
}
