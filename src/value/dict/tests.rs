use std::collections::{HashMap, HashSet};

use super::*;

type Members = Dict<Box<[u8]>>;

fn key(i: u64) -> Box<[u8]> {
    format!("key:{i:012}").into_bytes().into()
}

fn add(dict: &mut Members, i: u64) {
    dict.insert_new(hash_of(&key(i)), key(i), i as u8);
}

fn dict_of(n: u64) -> Members {
    let mut dict = Members::new();
    (0..n).for_each(|i| add(&mut dict, i));
    dict
}

/// What must hold between any two calls.
fn check<T: Item>(dict: &Dict<T>) {
    let mut held = 0;
    let mut further = 0;
    let homes: Vec<_> = dict.segments.iter().flatten().collect();
    assert_eq!(homes.len(), dict.buckets);
    for (home, first) in homes.iter().enumerate() {
        for bucket in first.chain() {
            let count = bucket.count as usize;
            assert!(bucket.next.is_none() || count == WAYS, "only the last of a chain has room");
            assert!(bucket.slots[..count].iter().all(Option::is_some));
            assert!(bucket.slots[count..].iter().all(Option::is_none));
        }
        let links = first.chain().count() - 1;
        assert!(links == 0 || first.chain().last().is_some_and(|last| last.count > 0));
        further += links;
        for (item, note) in first.items() {
            assert_eq!(dict.home(hash_of(item.key(note))), home);
            held += 1;
        }
    }
    assert_eq!((held, further), (dict.len, dict.further));
    assert!(dict.len <= dict.buckets * LOAD);
    assert!(dict.segments.iter().all(|segment| !segment.is_empty() && segment.len() <= SEGMENT));
}

#[test]
fn behaves_like_a_hash_map() {
    let mut rng = Rng::new(3);
    let (mut dict, mut model) = (Members::new(), HashMap::new());
    // Grows, then shrinks to nothing, then grows again.
    for step in 0..60_000u64 {
        let i = rng.below(4000);
        let removing = if step / 20_000 == 1 { 9 } else { 3 };
        if rng.below(10) < removing {
            let out = dict.remove(&key(i));
            assert_eq!(out, model.remove(&key(i)).map(|note| (key(i), note)));
        } else {
            let hash = hash_of(&key(i));
            match dict.get_mut(hash, &key(i)) {
                Some((_, note)) => *note = step as u8,
                None => dict.insert_new(hash, key(i), step as u8),
            }
            model.insert(key(i), step as u8);
        }
        assert_eq!(dict.len(), model.len());
        if step % 997 == 0 {
            check(&dict);
            let all: HashMap<_, _> = dict.iter().map(|(item, note)| (item.clone(), note)).collect();
            assert_eq!(all, model);
            assert!((0..50).all(|i| dict.contains(&key(i)) == model.contains_key(&key(i))));
        }
    }
    let keys: Vec<_> = model.keys().cloned().collect();
    for key in &keys {
        assert!(dict.remove(key).is_some());
    }
    check(&dict);
    assert_eq!((dict.buckets, dict.further, dict.len), (1, 0, 0));
}

#[test]
fn an_insert_adds_one_bucket_at_most() {
    let mut dict = Members::new();
    for i in 0..50_000 {
        let before = dict.buckets;
        add(&mut dict, i);
        assert!(dict.buckets - before <= 1);
    }
    for i in 0..50_000 {
        let before = dict.buckets;
        dict.remove(&key(i));
        assert!(before - dict.buckets <= 1);
    }
}

#[test]
fn memory_per_item_is_flat() {
    let mut dict = Members::new();
    for i in 0..200_000u64 {
        add(&mut dict, i);
        if i > 20_000 && i % 1000 == 0 {
            let each = dict.mem() as f64 / dict.len() as f64;
            assert!((29.0..34.0).contains(&each), "{each} bytes an item of {i}");
        }
    }
}

#[test]
fn clone_is_deep_and_equal() {
    let mut dict = dict_of(3000);
    let copy = dict.clone();
    (0..3000).for_each(|i| assert!(dict.remove(&key(i)).is_some()));
    check(&copy);
    assert!((0..3000).all(|i| copy.get(&key(i)) == Some((&key(i), i as u8))));
}

#[test]
fn a_long_chain_is_freed_without_recursion() {
    let mut bucket = Bucket::new();
    let mut last = &mut bucket;
    for _ in 0..200_000 {
        last.count = WAYS as u8;
        last = last.next.insert(Box::new(Bucket::<Box<[u8]>>::new()));
    }
    drop(bucket);
}

#[test]
fn a_scan_sees_all_exactly_once_when_nothing_changes() {
    for n in [0, 1, 2, 7, 8, 9, 100, 1000, 5000] {
        let dict = dict_of(n);
        let mut seen = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = dict.scan(cursor, |item, _| seen.push(item.clone()));
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen.len() as u64, n);
        assert_eq!(seen.into_iter().collect::<HashSet<_>>().len() as u64, n);
    }
}

#[test]
fn a_scan_misses_nothing_that_stays() {
    for (seed, from, to) in [(1, 100, 20_000), (2, 20_000, 100), (3, 3000, 3000), (4, 1, 5000), (5, 5000, 1)]
    {
        let mut rng = Rng::new(seed);
        // The first 50 stay; the rest comes or goes while the scan goes on.
        let mut dict = dict_of(50);
        (1000..1000 + from).for_each(|i| add(&mut dict, i));
        let mut next = 1000 + from;
        let mut oldest = 1000;
        let mut seen = HashSet::new();
        let mut cursor = 0;
        loop {
            cursor = dict.scan(cursor, |item, _| {
                seen.insert(item.clone());
            });
            if cursor == 0 {
                break;
            }
            for _ in 0..rng.below(60) {
                let held = next - oldest;
                if held < to || (held == to && rng.below(2) == 0) {
                    add(&mut dict, next);
                    next += 1;
                } else if held > 0 {
                    assert!(dict.remove(&key(oldest)).is_some());
                    oldest += 1;
                }
            }
        }
        check(&dict);
        assert!((0..50).all(|i| seen.contains(&key(i))), "seed {seed}");
    }
}

#[test]
fn any_cursor_is_taken() {
    let dict = dict_of(777);
    let mut rng = Rng::new(9);
    for _ in 0..1000 {
        let mut cursor = rng.next_u64();
        for _ in 0..2000 {
            cursor = dict.scan(cursor, |_, _| {});
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(cursor, 0);
    }
}

#[test]
fn chance_is_about_fair() {
    let mut rng = Rng::new(5);
    assert!(Members::new().random(&mut rng).is_none());
    // Halfway between two powers of two, where half of the buckets are split.
    let n = (1536 * LOAD) as u64;
    let dict = dict_of(n);
    let mut hits = HashMap::new();
    for _ in 0..n * 50 {
        let (item, _) = dict.random(&mut rng).expect("it is not empty");
        *hits.entry(item.clone()).or_insert(0u32) += 1;
    }
    assert_eq!(hits.len() as u64, n, "each of them in fifty rounds");
    let (least, most) = (hits.values().min(), hits.values().max());
    assert!(least >= Some(&20) && most <= Some(&90), "{least:?} to {most:?} of 50");
}

#[test]
fn hashes_spread_over_low_and_high_bits() {
    let mut low = [0u32; 64];
    let mut high = [0u32; 64];
    for i in 0..64_000 {
        let hash = hash_of(&key(i));
        low[(hash & 63) as usize] += 1;
        high[(hash >> 58) as usize] += 1;
    }
    assert!(low.iter().chain(&high).all(|n| (800..1200).contains(n)));
}
