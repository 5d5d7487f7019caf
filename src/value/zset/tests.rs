//! The set against a model that is a plain sorted vector, in both forms and across the change.

use std::collections::BTreeMap;

use super::*;

type Pair = (Vec<u8>, f64);

/// What a sorted set is by definition.
#[derive(Clone, Default)]
struct Model(BTreeMap<Vec<u8>, f64>);

impl Model {
    fn sorted(&self) -> Vec<Pair> {
        let mut all: Vec<Pair> = self.0.iter().map(|(m, s)| (m.clone(), *s)).collect();
        all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
        all
    }
}

fn limits(entries: usize, value: usize) -> Limits {
    Limits { zset_max_listpack_entries: entries, zset_max_listpack_value: value, ..Limits::default() }
}

fn pairs<'a>(iter: impl Iterator<Item = (Elem<'a>, f64)>) -> Vec<Pair> {
    iter.map(|(member, score)| (member.to_vec(), score)).collect()
}

fn compare(zset: &ZSet, model: &Model, rng: &mut Rng) {
    zset.check();
    let all = model.sorted();
    assert_eq!(zset.len(), all.len());
    assert_eq!(pairs(zset.iter()), all);
    assert!(pairs(zset.iter().rev()).iter().eq(all.iter().rev()));
    for _ in 0..4 {
        let (a, b) = (rng.below(all.len() as u64 + 3) as usize, rng.below(all.len() as u64 + 3) as usize);
        let clip = |rank: usize| rank.min(all.len());
        let want = if a <= b { &all[clip(a)..clip(b)] } else { &[] };
        assert_eq!(pairs(zset.range(a..b)), want);
        assert_eq!(zset.range(a..b).len(), want.len());
        assert!(pairs(zset.range(a..b).rev()).iter().eq(want.iter().rev()));
        let mut both = zset.range(a..b);
        let mut rest = want;
        while let [first, middle @ ..] = rest {
            assert_eq!(pairs(both.next().into_iter()), std::slice::from_ref(first));
            rest = middle;
            if let [middle @ .., last] = rest {
                assert_eq!(pairs(both.next_back().into_iter()), std::slice::from_ref(last));
                rest = middle;
            }
        }
        assert!(both.next().is_none() && both.next_back().is_none());
    }
    if all.is_empty() {
        assert!(zset.random(rng).is_none() && zset.at(0).is_none());
        return;
    }
    let at = rng.below(all.len() as u64) as usize;
    assert_eq!(zset.rank(&all[at].0), Some((at, all[at].1)));
    assert_eq!(zset.score(&all[at].0), Some(all[at].1));
    assert_eq!(zset.at(at).map(|(m, s)| (m.to_vec(), s)), Some(all[at].clone()));
    let (member, score) = zset.random(rng).unwrap();
    assert_eq!(model.0.get(&member.to_vec()), Some(&score));
    scores_in_range(zset, &all, rng);
}

fn scores_in_range(zset: &ZSet, all: &[Pair], rng: &mut Rng) {
    for _ in 0..4 {
        let mut bound = || ScoreBound { value: any_score(rng), exclusive: rng.below(2) == 0 };
        let range = ScoreRange { min: bound(), max: bound() };
        let ranks = zset.score_ranks(&range);
        let inside = |score: f64| {
            let above = if range.min.exclusive { score > range.min.value } else { score >= range.min.value };
            let below = if range.max.exclusive { score < range.max.value } else { score <= range.max.value };
            above && below
        };
        let want: Vec<Pair> = all.iter().filter(|pair| inside(pair.1)).cloned().collect();
        assert_eq!(pairs(zset.range(ranks.clone())), want, "{range:?}");
        assert_eq!(ranks.len(), want.len());
    }
}

fn any_score(rng: &mut Rng) -> f64 {
    match rng.below(12) {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => rng.unit() * 4.0 - 2.0,
        3 => 0.0,
        4 => -0.0,
        5 => 1e300 * (rng.unit() - 0.5),
        _ => rng.below(21) as f64 - 10.0,
    }
}

/// Short, long, binary, number-like.
fn any_member(rng: &mut Rng, names: u64) -> Vec<u8> {
    let n = rng.below(names);
    match n % 5 {
        0 => n.to_string().into_bytes(),
        1 => format!("-{n}").into_bytes(),
        2 => format!("member:{n:05}").into_bytes(),
        3 => [&n.to_be_bytes()[..], &[0xFF; 20]].concat(),
        _ => (n as u16).to_le_bytes().to_vec(),
    }
}

fn one_change(zset: &mut ZSet, model: &mut Model, rng: &mut Rng, names: u64, limits: &Limits, grow: bool) {
    match (rng.below(if grow { 10 } else { 16 }), grow) {
        (0..8, true) | (0..4, false) => {
            let (member, score) = (any_member(rng, names), any_score(rng));
            let want = match model.0.get(&member) {
                None => Inserted::Added,
                Some(old) if *old == score => Inserted::Same,
                Some(old) => Inserted::Updated(*old),
            };
            assert_eq!(zset.insert(&member, score, limits), want);
            // The first of two equal zeros stays.
            if want != Inserted::Same {
                model.0.insert(member, score);
            }
        }
        (13, _) => {
            let got = zset.pop_min();
            assert_eq!(got, model.sorted().first().cloned());
            got.map(|(member, _)| model.0.remove(&member));
        }
        (14, _) => {
            let got = zset.pop_max();
            assert_eq!(got, model.sorted().last().cloned());
            got.map(|(member, _)| model.0.remove(&member));
        }
        (15, _) => {
            let start = rng.below(model.0.len() as u64 + 2) as usize;
            let end = start + rng.below(20) as usize;
            let want: Vec<Pair> = model.sorted().into_iter().skip(start).take(end - start).collect();
            let mut gone = Vec::new();
            let n = zset.remove_ranks(start..end, |member, score| gone.push((member.to_vec(), score)));
            assert_eq!((n, &gone), (want.len(), &want));
            want.iter().for_each(|(member, _)| {
                model.0.remove(member);
            });
        }
        _ => {
            let member = any_member(rng, names);
            assert_eq!(zset.remove(&member), model.0.remove(&member));
            assert_eq!(zset.score(&member), None);
            assert_eq!(zset.rank(&member), None);
        }
    }
}

#[test]
fn like_the_model_in_both_forms_and_across() {
    for (seed, entries, names) in
        [(1, 0, 60), (2, 0, 3000), (3, 40, 120), (4, 128, 4000), (5, 1000, 80), (6, 0, 20)]
    {
        let mut rng = Rng::new(seed);
        let limits = limits(entries, 64);
        let (mut zset, mut model) = (ZSet::new(), Model::default());
        for step in 0..6000 {
            let grow = step % 3000 < 2000;
            one_change(&mut zset, &mut model, &mut rng, names, &limits, grow);
            if step % 97 == 0 || model.0.len() < 4 {
                compare(&zset, &model, &mut rng);
            }
        }
        compare(&zset, &model, &mut rng);
        let copy = zset.clone();
        while zset.pop_max().is_some() {}
        zset.check();
        compare(&copy, &model, &mut rng);
        assert!(zset.is_empty() && !copy.is_empty());
    }
}

/// Tens of thousands, in several orders: three levels of nodes, splits at both edges, merges.
#[test]
fn grows_and_shrinks_in_any_order() {
    let limits = limits(0, 0);
    let n = 30_000u64;
    let orders: [&dyn Fn(u64) -> f64; 4] =
        [&|i| i as f64, &|i| -(i as f64), &|i| (i * 7919 % n) as f64, &|_| 1.0];
    for (kind, order) in orders.iter().enumerate() {
        let mut zset = ZSet::new();
        for i in 0..n {
            assert_eq!(zset.insert(format!("m{i:06}").as_bytes(), order(i), &limits), Inserted::Added);
        }
        zset.check();
        let full = zset.mem();
        let mut want: Vec<Pair> = (0..n).map(|i| (format!("m{i:06}").into_bytes(), order(i))).collect();
        want.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        assert_eq!(pairs(zset.iter()), want);
        let mut rng = Rng::new(kind as u64);
        while want.len() > 50 {
            let start = rng.below(want.len() as u64) as usize;
            let end = (start + 400).min(want.len());
            let mut gone = Vec::new();
            zset.remove_ranks(start..end, |member, score| gone.push((member.to_vec(), score)));
            assert!(want.drain(start..end).eq(gone));
        }
        zset.check();
        assert_eq!(pairs(zset.iter()), want);
        assert!(zset.mem() < full / 50, "{} of {full}", zset.mem());
        assert_eq!(zset.remove_ranks(0..usize::MAX, |_, _| ()), want.len());
        assert!(zset.is_empty());
        zset.check();
    }
}

#[test]
fn ranges_of_members() {
    for entries in [0, 128] {
        let limits = limits(entries, 64);
        let (mut zset, mut rng) = (ZSet::new(), Rng::new(9));
        let mut members: Vec<Vec<u8>> = (0..100).map(|_| any_member(&mut rng, 400)).collect();
        for member in &members {
            zset.insert(member, 0.0, &limits);
        }
        members.sort();
        members.dedup();
        for _ in 0..2000 {
            let (a, b) = (any_member(&mut rng, 400), any_member(&mut rng, 400));
            let mut bound = |text| match rng.below(8) {
                0 => LexBound::Lowest,
                1 => LexBound::Highest,
                2..5 => LexBound::With(text),
                _ => LexBound::Without(text),
            };
            let range = LexRange { min: bound(&a), max: bound(&b) };
            let above = |m: &[u8]| match range.min {
                LexBound::Lowest => true,
                LexBound::Highest => false,
                LexBound::With(x) => x <= m,
                LexBound::Without(x) => x < m,
            };
            let below = |m: &[u8]| match range.max {
                LexBound::Lowest => false,
                LexBound::Highest => true,
                LexBound::With(x) => m <= x,
                LexBound::Without(x) => m < x,
            };
            let want: Vec<&Vec<u8>> = members.iter().filter(|m| above(m) && below(m)).collect();
            let ranks = zset.lex_ranks(&range);
            assert_eq!(ranks.len(), want.len());
            assert!(zset.range(ranks).map(|(m, _)| m.to_vec()).eq(want.into_iter().cloned()));
        }
    }
}

/// Nothing that stays is missed, whatever comes and goes between two calls.
#[test]
fn a_scan_misses_nothing_that_stays() {
    let limits = limits(0, 0);
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut zset = ZSet::new();
        let (stay, others) = (300 + rng.below(2000), rng.below(4000));
        let (stays, other) = (|i: u64| format!("stay{i}"), |i: u64| format!("other{i}"));
        for i in 0..stay {
            zset.insert(stays(i).as_bytes(), i as f64, &limits);
        }
        for i in 0..others * (seed % 2) {
            zset.insert(other(i).as_bytes(), i as f64, &limits);
        }
        let mut seen = BTreeMap::new();
        let mut cursor = 0;
        let mut turns = 0;
        loop {
            cursor = zset.scan(cursor, 10, |member, score| {
                seen.insert(member.to_vec(), score);
            });
            turns += 1;
            if cursor == 0 {
                break;
            }
            for _ in 0..rng.below(60) {
                let member = other(rng.below(others + 1));
                match seed % 2 {
                    0 => drop(zset.insert(member.as_bytes(), 0.5, &limits)),
                    _ => drop(zset.remove(member.as_bytes())),
                }
            }
        }
        assert!(turns > 10);
        for i in 0..stay {
            assert_eq!(seen.get(stays(i).as_bytes()), Some(&(i as f64)), "seed {seed}");
        }
    }
    // The small form comes in one piece.
    let mut zset = ZSet::new();
    for i in 0..100 {
        zset.insert(stays_small(i).as_bytes(), i as f64, &Limits::default());
    }
    let mut n = 0;
    assert_eq!(zset.scan(0, 10, |_, _| n += 1), 0);
    assert_eq!(n, 100);
}

fn stays_small(i: u64) -> String {
    format!("{i}")
}

#[test]
fn changes_form_where_redis_does() {
    let limits = limits(3, 5);
    let mut zset = ZSet::new();
    for member in ["a", "b", "c", "a"] {
        zset.insert(member.as_bytes(), 1.0, &limits);
        assert_eq!(zset.encoding(), "listpack");
    }
    zset.insert(b"d", 1.0, &limits);
    assert_eq!(zset.encoding(), "skiplist");
    zset.remove(b"d");
    assert_eq!(zset.encoding(), "skiplist");
    zset.pack_if_small(&limits);
    assert_eq!((zset.encoding(), zset.len()), ("listpack", 3));
    zset.remove(b"a");
    zset.insert(b"five5", 1.0, &limits);
    assert_eq!(zset.encoding(), "listpack");
    zset.remove(b"five5");
    zset.insert(b"sixsix", 1.0, &limits);
    assert_eq!((zset.encoding(), zset.len()), ("skiplist", 3));
    zset.pack_if_small(&limits);
    assert_eq!(zset.encoding(), "skiplist");
}

/// The bytes are what redis-server 7.0.15 put into DUMP for
/// `ZADD z 1 a -2.5 b 1e20 c inf 7 300 d -0 e 4611686018427387904 f`.
#[test]
fn the_listpack_is_redis_own() {
    let mut zset = ZSet::new();
    for (member, score) in [
        ("a", 1.0),
        ("b", -2.5),
        ("c", 1e20),
        ("7", f64::INFINITY),
        ("d", 300.0),
        ("e", -0.0),
        ("f", 4611686018427387904.0),
    ] {
        zset.insert(member.as_bytes(), score, &Limits::default());
    }
    let bytes: Vec<u8> = DUMPED
        .as_bytes()
        .chunks(2)
        .map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(zset.listpack().unwrap().bytes(), bytes);
    let pack = Listpack::from_bytes(bytes).unwrap();
    let back = ZSet::from_listpack(pack, &Limits::default()).unwrap();
    assert_eq!(pairs(back.iter()), pairs(zset.iter()));
    assert_eq!(back.score(b"e").map(f64::to_bits), Some(0.0f64.to_bits()));
}

const DUMPED: &str = "3e0000000e00816202842d322e350581650200018161020101816402c12c02816602f40000000000000040098163028531652b323006070183696e6604ff";

#[test]
fn payloads_are_checked_and_put_in_order() {
    let pack = |elems: &[&str]| {
        let mut pack = Listpack::new();
        elems.iter().for_each(|elem| pack.push_back(elem.as_bytes()));
        pack
    };
    let few = limits(2, 64);
    for bad in
        [&[][..], &["a"], &["a", "x"], &["a", "nan"], &["a", "1", "a", "2"], &["7", "1", "b", "2", "7", "3"]]
    {
        assert!(ZSet::from_listpack(pack(bad), &few).is_err(), "{bad:?}");
    }
    let zset = ZSet::from_listpack(pack(&["b", "2", "a", "1"]), &few).unwrap();
    assert_eq!(zset.encoding(), "listpack");
    assert_eq!(pairs(zset.iter()), [(b"a".to_vec(), 1.0), (b"b".to_vec(), 2.0)]);
    let zset = ZSet::from_listpack(pack(&["a", "1", "b", "2", "c", "-inf"]), &few).unwrap();
    assert_eq!(zset.encoding(), "skiplist");
    assert_eq!(zset.rank(b"c"), Some((0, f64::NEG_INFINITY)));
}

#[test]
fn bounds_are_read_as_redis_reads_them() {
    let bound = |value, exclusive| Some(ScoreBound { value, exclusive });
    assert_eq!(ScoreBound::parse(b"1.5"), bound(1.5, false));
    assert_eq!(ScoreBound::parse(b"(-inf"), bound(f64::NEG_INFINITY, true));
    assert_eq!(ScoreBound::parse(b"("), bound(0.0, true));
    assert_eq!(ScoreBound::parse(b"((1"), None);
    assert_eq!(ScoreBound::parse(b"(nan"), None);
    assert_eq!(LexBound::parse(b"-"), Some(LexBound::Lowest));
    assert_eq!(LexBound::parse(b"+"), Some(LexBound::Highest));
    assert_eq!(LexBound::parse(b"["), Some(LexBound::With(b"")));
    assert_eq!(LexBound::parse(b"(ab"), Some(LexBound::Without(b"ab")));
    for bad in [&b""[..], b"a", b"-a", b"+1"] {
        assert_eq!(LexBound::parse(bad), None);
    }
}

#[test]
fn chance_is_fair_and_draws_no_one_twice() {
    for entries in [0, 128] {
        let (mut zset, mut rng) = (ZSet::new(), Rng::new(3));
        for i in 0..40u64 {
            zset.insert(i.to_string().as_bytes(), i as f64, &limits(entries, 64));
        }
        let (mut drawn, mut sampled) = ([0u32; 40], [0u32; 40]);
        for _ in 0..8000 {
            drawn[zset.random(&mut rng).unwrap().1 as usize] += 1;
        }
        for _ in 0..1000 {
            let mut some: Vec<usize> =
                zset.random_distinct(&mut rng, 8).iter().map(|(_, score)| *score as usize).collect();
            some.iter().for_each(|at| sampled[*at] += 1);
            some.sort();
            some.dedup();
            assert_eq!(some.len(), 8);
        }
        for n in drawn.iter().chain(&sampled) {
            assert!((130..270).contains(n), "{n} of about 200");
        }
        assert_eq!(pairs(zset.random_distinct(&mut rng, 99).into_iter()), pairs(zset.iter()));
    }
}

#[test]
fn is_send() {
    fn send<T: Send>() {}
    send::<ZSet>();
}
