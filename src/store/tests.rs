//! Tests of the whole store, against models and by statistics; every seed is fixed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::table::Table;
use super::*;
use crate::limits::INLINE_VALUE;
use crate::slot::{SLOTS, Slot};
use crate::util::proof;
use crate::util::rng::Rng;
use crate::value::{Limits, List, Object, Set};

const NOW: u64 = 1_700_000_000_000;

fn db() -> Db {
    Db::new(Hasher::new(7), 7)
}

fn keyspace(databases: usize) -> Box<Keyspace> {
    Keyspace::new(databases, Hasher::new(7), 7)
}

fn clock() -> Clock {
    Clock::at(NOW)
}

/// The text of a string value.
fn list(n: usize) -> Object {
    let mut list = List::new();
    (0..n).for_each(|_| list.push_back(b"x", &Limits::default()));
    Object::List(list)
}

/// A set that takes `n` allocations, so that it is as dear to free.
fn set_of(n: usize) -> Object {
    let mut set = Set::new();
    for i in 0..n {
        assert!(set.add(format!("m{i}").as_bytes(), &Limits::default()));
    }
    Object::Set(set)
}

fn text(value: ValueRef) -> Vec<u8> {
    match value {
        ValueRef::Int(n) => n.to_string().into_bytes(),
        ValueRef::Str(bytes) => bytes.to_vec(),
        ValueRef::Obj(_) => panic!("not a string"),
    }
}

fn get(db: &mut Db, key: &[u8], clock: &Clock) -> Option<Vec<u8>> {
    let key = db.key(key);
    db.find(&key, Look::Read, clock).map(|e| text(e.value()))
}

fn set(db: &mut Db, key: &[u8], value: &[u8], ttl: Ttl) -> bool {
    let key = db.key(key);
    db.set_str(&key, value, ttl, &clock())
}

fn runner(cases: u32) -> TestRunner {
    let config = ProptestConfig { failure_persistence: None, ..proof::cases(cases) };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[42; 32]))
}

/// Recounts everything that the database keeps sums of.
fn check_counts(db: &Db) {
    let everything = Clock { expiry: Expiry::Ignore, ..clock() };
    let (mut len, mut volatile, mut bytes) = (0, 0, 0);
    for slot in 0..SLOTS as Slot {
        let table = db.table(slot);
        assert_eq!(db.used.next(slot as usize, slot as usize + 1).is_some(), table.len() > 0);
        if table.len() == 0 {
            assert_eq!(table.tally(), Table::new().tally());
            continue;
        }
        let (mut n, mut v) = (0, 0);
        db.for_each_in(slot, &everything, |e| {
            n += 1;
            v += e.expire_at().is_some() as usize;
            assert_eq!(crate::slot::key_slot(e.key()), slot);
        });
        assert_eq!((table.len(), table.volatile()), (n, v));
        let mut by_bits = 0;
        (0..table.width()).for_each(|b| table.each_volatile(b, &mut |_| by_bits += 1));
        assert_eq!(by_bits, v);
        let t = table.tally();
        (len, volatile, bytes) = (len + n, volatile + v, bytes + t.bytes);
        assert_eq!(db.fading.next(slot as usize, slot as usize + 1).is_some(), v > 0);
    }
    assert_eq!((db.len(), db.volatile_len(), db.bytes()), (len, volatile, bytes));
}

#[derive(Clone, Debug)]
enum Op {
    Set(u16, Vec<u8>, u8),
    Int(u16, i64),
    List(u16, u8),
    Append(u16, Vec<u8>),
    Write(u16, u16),
    /// Turns a string around, and makes it this long.
    Edit(u16, u16),
    Expire(u16, u8),
    Delete(u16),
    Rename(u16, u16),
    Get(u16),
    Pass(u8),
    MoveSlot(u16),
    Step(u8),
    DropMany(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || 0..400u16;
    let value = || {
        prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 0..60),
            2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            1 => proptest::collection::vec(any::<u8>(), INLINE_VALUE - 3..INLINE_VALUE + 40),
        ]
    };
    let op = prop_oneof![
        12 => (key(), value(), 0..6u8).prop_map(|(k, v, t)| Op::Set(k, v, t)),
        2 => (key(), any::<i64>()).prop_map(|(k, n)| Op::Int(k, n)),
        2 => (key(), 1..100u8).prop_map(|(k, n)| Op::List(k, n)),
        4 => (key(), value()).prop_map(|(k, v)| Op::Append(k, v)),
        2 => (key(), 0..1200u16).prop_map(|(k, n)| Op::Write(k, n)),
        2 => (key(), 0..1200u16).prop_map(|(k, n)| Op::Edit(k, n)),
        4 => (key(), 0..6u8).prop_map(|(k, t)| Op::Expire(k, t)),
        6 => key().prop_map(Op::Delete),
        2 => (key(), key()).prop_map(|(a, b)| Op::Rename(a, b)),
        6 => key().prop_map(Op::Get),
        1 => (0..3u8).prop_map(Op::Pass),
        1 => key().prop_map(Op::MoveSlot),
        1 => any::<u8>().prop_map(Op::Step),
        1 => (0..4u8).prop_map(Op::DropMany),
    ];
    proptest::collection::vec(op, 1..600)
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Str(Vec<u8>),
    List(usize),
}

/// What a database is, without its machinery.
#[derive(Default)]
struct Model {
    keys: HashMap<Vec<u8>, (Value, Option<u64>)>,
    expired: usize,
}

impl Model {
    fn live(&mut self, key: &[u8], now: u64) -> bool {
        match self.keys.get(key) {
            Some((_, Some(at))) if now > *at => {
                self.keys.remove(key);
                self.expired += 1;
                false
            }
            found => found.is_some(),
        }
    }

    fn string(&self, key: &[u8]) -> Option<Vec<u8>> {
        match self.keys.get(key) {
            None => Some(Vec::new()),
            Some((Value::Str(s), _)) => Some(s.clone()),
            Some(_) => None,
        }
    }
}

/// Both sides of the comparison, and the time that both see.
struct Pair {
    db: Db,
    other: Db,
    model: Model,
    clock: Clock,
}

/// Three quarters of the keys share a slot, so that one table really grows.
fn name(k: u16) -> Vec<u8> {
    match k % 4 {
        0 => format!("key:{k}").into_bytes(),
        _ => format!("{{t}}:{k}").into_bytes(),
    }
}

impl Pair {
    fn new() -> Pair {
        let mut db = db();
        db.track_expired = true;
        Pair { db, other: self::db(), model: Model::default(), clock: clock() }
    }

    fn ttl(&self, t: u8) -> Ttl {
        match t {
            0 | 1 => Ttl::Keep,
            2 | 3 => Ttl::Clear,
            t => Ttl::At(self.clock.now_ms + t as u64 * 10),
        }
    }

    fn model_set(&mut self, key: Vec<u8>, value: Value, ttl: Ttl) -> bool {
        let was = self.model.live(&key, self.clock.now_ms);
        let at = match ttl {
            Ttl::Keep => self.model.keys.get(&key).and_then(|(_, at)| *at),
            Ttl::Clear => None,
            Ttl::At(at) => Some(at),
        };
        self.model.keys.insert(key, (value, at));
        was
    }

    fn run(&mut self, op: Op) {
        let clock = self.clock;
        match op {
            Op::Set(k, value, t) => {
                let (key, ttl) = (name(k), self.ttl(t));
                let was = self.model_set(key.clone(), Value::Str(value.clone()), ttl);
                assert_eq!(self.db.set_str(&self.db.key(&key), &value, ttl, &clock), was);
            }
            Op::Int(k, n) => {
                let key = name(k);
                let value = Value::Str(n.to_string().into_bytes());
                let was = self.model_set(key.clone(), value, Ttl::Keep);
                assert_eq!(self.db.set_int(&self.db.key(&key), n, Ttl::Keep, &clock), was);
            }
            Op::List(k, n) => {
                let key = name(k);
                let was = self.model_set(key.clone(), Value::List(n as usize), Ttl::Clear);
                let list = list(n as usize);
                assert_eq!(self.db.set_object(&self.db.key(&key), list, Ttl::Clear, &clock), was);
            }
            Op::Append(k, tail) => self.append(&name(k), &tail),
            Op::Write(k, n) => self.write(&name(k), n as usize),
            Op::Edit(k, n) => self.edit(&name(k), n as usize),
            Op::Expire(k, t) => {
                let key = name(k);
                let at = (t > 0).then(|| clock.now_ms + t as u64 * 10);
                let was = self.model.live(&key, clock.now_ms);
                if let Some(entry) = self.model.keys.get_mut(&key) {
                    entry.1 = at;
                }
                assert_eq!(self.db.set_expire(&self.db.key(&key), at, &clock), was);
            }
            Op::Delete(k) => {
                let key = name(k);
                let was = self.model.live(&key, clock.now_ms);
                self.model.keys.remove(&key);
                assert_eq!(self.db.delete(&self.db.key(&key), k % 2 == 0, &clock), was);
            }
            Op::Rename(a, b) => self.rename(&name(a), &name(b)),
            Op::Get(k) => self.get(&name(k)),
            Op::Pass(n) => self.clock.now_ms += n as u64 * 10,
            Op::MoveSlot(k) => self.move_slot(crate::slot::key_slot(&name(k))),
            Op::Step(budget) => self.step(budget as usize),
            Op::DropMany(rest) => {
                for k in (0..400).filter(|k| k % 4 != rest as u16) {
                    self.run(Op::Delete(k));
                }
            }
        }
    }

    fn get(&mut self, key: &[u8]) {
        self.model.live(key, self.clock.now_ms);
        let handle = self.db.key(key);
        let found = self.db.find(&handle, Look::Read, &self.clock).map(|e| {
            let value = match e.value() {
                ValueRef::Obj(Object::List(items)) => Value::List(items.len()),
                value => Value::Str(text(value)),
            };
            assert_eq!(e.key(), key);
            (value, e.expire_at())
        });
        assert_eq!(found.as_ref(), self.model.keys.get(key));
    }

    fn append(&mut self, key: &[u8], tail: &[u8]) {
        self.model.live(key, self.clock.now_ms);
        let len = self.model.string(key).map(|mut s| {
            s.extend_from_slice(tail);
            let len = s.len();
            self.model.keys.entry(key.to_vec()).or_insert((Value::Str(vec![]), None)).0 = Value::Str(s);
            len
        });
        assert_eq!(self.db.append(&self.db.key(key), tail, &self.clock), len);
    }

    fn write(&mut self, key: &[u8], min_len: usize) {
        self.model.live(key, self.clock.now_ms);
        let expected = self.model.string(key).map(|mut s| {
            s.resize(s.len().max(min_len), 0);
            s.iter_mut().take(1).for_each(|b| *b = b'!');
            self.model.keys.entry(key.to_vec()).or_insert((Value::Str(vec![]), None)).0 =
                Value::Str(s.clone());
            s
        });
        let handle = self.db.key(key);
        let got = self.db.bytes_mut(&handle, min_len, &self.clock).map(|bytes| {
            bytes.iter_mut().take(1).for_each(|b| *b = b'!');
            bytes.to_vec()
        });
        assert_eq!(got, expected);
        if got.is_some() {
            let entry = self.db.peek(&handle, &self.clock).unwrap();
            assert_eq!(entry.string_encoding(), Some("raw"));
        }
    }

    fn edit(&mut self, key: &[u8], len: usize) {
        fn turn(bytes: &mut Vec<u8>, len: usize) -> usize {
            bytes.reverse();
            bytes.resize(len, b'e');
            bytes.len()
        }
        let there = self.model.live(key, self.clock.now_ms);
        let expected = match self.model.keys.get_mut(key) {
            Some((Value::Str(s), _)) if there => Some(turn(s, len)),
            _ => None,
        };
        let handle = self.db.key(key);
        assert_eq!(self.db.edit(&handle, &self.clock, |bytes| turn(bytes, len)), expected);
        if expected.is_some() {
            let entry = self.db.peek(&handle, &self.clock).unwrap();
            assert_eq!(entry.string_encoding(), Some("raw"));
        }
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) {
        let was = self.model.live(from, self.clock.now_ms);
        let taken = self.db.remove(&self.db.key(from), &self.clock);
        assert_eq!(taken.is_some(), was);
        let Some(owned) = taken else { return };
        let value = self.model.keys.remove(from).unwrap();
        assert_eq!(owned.expire_at, value.1);
        let was = self.model.live(to, self.clock.now_ms);
        self.model.keys.insert(to.to_vec(), value);
        assert_eq!(self.db.put(&self.db.key(to), owned, &self.clock), was);
    }

    /// There and back, so that the table crosses a database that doesn't know it.
    fn move_slot(&mut self, slot: Slot) {
        let len = self.db.slot_len(slot);
        let table = self.db.take_slot(slot);
        assert_eq!((table.len(), self.db.slot_len(slot)), (len, 0));
        assert_eq!(self.other.put_slot(table).len(), 0);
        assert_eq!((self.other.len(), self.other.slot_len(slot)), (len, len));
        let table = self.other.take_slot(slot);
        assert_eq!((self.other.len(), self.other.bytes()), (0, 0));
        self.db.put_slot(table);
    }

    fn step(&mut self, budget: usize) {
        let step = self.db.expire_step(self.clock.now_ms, budget);
        assert!(step.examined <= budget + 21 && step.expired <= step.examined);
        for key in self.db.expired.drain(..) {
            if let Some((_, Some(at))) = self.model.keys.get(&*key)
                && self.clock.now_ms > *at
            {
                self.model.keys.remove(&*key);
                self.model.expired += 1;
            }
        }
    }

    fn check(&mut self) {
        check_counts(&self.db);
        assert_eq!(self.db.len(), self.model.keys.len());
        let counted = self.db.stats.expired_lazy + self.db.stats.expired_active;
        assert_eq!(counted as usize, self.model.expired);
        for k in 0..400 {
            self.get(&name(k));
        }
    }
}

#[test]
fn a_database_behaves_as_a_map() {
    runner(32)
        .run(&ops(), |ops| {
            let mut pair = Pair::new();
            ops.into_iter().for_each(|op| pair.run(op));
            pair.check();
            Ok(())
        })
        .unwrap();
}

#[test]
fn scan_sees_all_that_stays_while_tables_grow_and_shrink() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut db = db();
        let stay: BTreeSet<Vec<u8>> = (0..300).map(|i| format!("{{s}}stay{i}").into_bytes()).collect();
        stay.iter().for_each(|key| _ = set(&mut db, key, b"v", Ttl::Clear));
        for i in 0..rng.below(6000) {
            set(&mut db, format!("{{s}}come{i}").as_bytes(), b"v", Ttl::Clear);
        }
        let (mut seen, mut cursor, mut rounds) = (BTreeSet::new(), 0, 0);
        loop {
            cursor = db.scan(cursor, 10, 0..SLOTS as Slot, &clock(), |e| _ = seen.insert(e.key().to_vec()));
            if cursor == 0 {
                break;
            }
            assert_eq!(cursor_slot(cursor), crate::slot::key_slot(b"s"));
            churn(&mut db, &mut rng);
            rounds += 1;
            assert!(rounds < 20_000, "the scan ends");
        }
        assert!(stay.is_subset(&seen), "seed {seed}");
    }
}

/// Adds or removes a random run of keys in one slot.
fn churn(db: &mut Db, rng: &mut Rng) {
    let (from, n, add) = (rng.below(6000), rng.below(600), rng.below(2) == 0);
    for i in from..from + n {
        let name = format!("{{s}}come{i}");
        match add {
            true => _ = set(db, name.as_bytes(), b"v", Ttl::Clear),
            false => _ = db.delete(&db.key(name.as_bytes()), false, &clock()),
        }
    }
}

#[test]
fn scan_of_a_still_database_shows_each_key_once_and_keeps_to_its_slots() {
    let mut db = db();
    for i in 0..5000 {
        set(&mut db, format!("k{i}").as_bytes(), b"v", Ttl::Clear);
    }
    for slots in [0..16384, 0..5461, 5461..10922, 10922..16384, 77..78] {
        let (mut seen, mut cursor) = (BTreeMap::new(), 0);
        loop {
            cursor = db.scan(cursor, 7, slots.clone(), &clock(), |e| {
                *seen.entry(e.key().to_vec()).or_insert(0) += 1;
            });
            if cursor == 0 {
                break;
            }
            assert!(slots.contains(&cursor_slot(cursor)));
        }
        let expected: usize = slots.clone().map(|s| db.slot_len(s)).sum();
        assert_eq!(seen.len(), expected);
        assert!(seen.values().all(|&n| n == 1));
        assert!(seen.keys().all(|k| slots.contains(&crate::slot::key_slot(k))));
    }
}

#[test]
fn scan_hides_and_removes_what_is_past_its_time() {
    let mut db = db();
    set(&mut db, b"dead", b"v", Ttl::At(NOW - 1));
    set(&mut db, b"alive", b"v", Ttl::At(NOW));
    let hide = Clock { expiry: Expiry::Hide, ..clock() };
    for (clock, left) in [(hide, 2), (clock(), 1)] {
        let mut seen = Vec::new();
        assert_eq!(db.scan(0, 100, 0..SLOTS as Slot, &clock, |e| seen.push(e.key().to_vec())), 0);
        assert_eq!((seen, db.len()), (vec![b"alive".to_vec()], left));
    }
}

#[test]
fn entries_of_every_size_keep_their_contents() {
    let mut db = db();
    // Miri looks at every byte: it gets the edges
    let (keys, lens): (&[usize], Vec<usize>) = match cfg!(miri) {
        true => (&[0, 7, 16, 255, 256], vec![0, 1, 8, 63, 1023, 1024, 1025, 4095]),
        false => (
            &[0, 1, 7, 16, 255, 65535, 65536, 65537, 1 << 20],
            (0..130).chain(1000..1100).chain([4095, 65535, 65536, 70000]).collect(),
        ),
    };
    let keys: Vec<Vec<u8>> = keys.iter().map(|&n| vec![b'k'; n]).collect();
    for key in &keys {
        for (i, &len) in lens.iter().enumerate().filter(|(i, _)| key.len() < 300 || i % 40 == 0) {
            let value = vec![b'a' + (i % 26) as u8; len];
            let ttl = [Ttl::Clear, Ttl::At(NOW + 5), Ttl::Keep][i % 3];
            set(&mut db, key, &value, ttl);
            assert_eq!(get(&mut db, key, &clock()).unwrap(), value, "{} {len}", key.len());
            let handle = db.key(key);
            for at in [None, Some(NOW + 9), Some(NOW + 10), None] {
                assert!(db.set_expire(&handle, at, &clock()));
                let entry = db.peek(&handle, &clock()).unwrap();
                assert_eq!((entry.expire_at(), text(entry.value())), (at, value.clone()));
                assert_eq!(entry.key(), &key[..]);
            }
        }
    }
    assert_eq!(db.len(), keys.len());
    check_counts(&db);
}

#[test]
fn integers_are_recognised_only_in_their_own_spelling() {
    let mut db = db();
    let mut encoding = |value: &[u8]| {
        set(&mut db, b"k", value, Ttl::Clear);
        assert_eq!(get(&mut db, b"k", &clock()).unwrap(), value);
        let key = db.key(b"k");
        db.peek(&key, &clock()).unwrap().string_encoding().unwrap()
    };
    for n in [0, 1, -1, 9, 10, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1] {
        assert_eq!(encoding(n.to_string().as_bytes()), "int", "{n}");
    }
    let not: &[&str] = &[
        "",
        "-",
        "+1",
        "00",
        "01",
        "-0",
        "-01",
        " 1",
        "1 ",
        "1a",
        "0x1",
        "1.0",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "99999999999999999999",
    ];
    for text in not {
        assert_eq!(encoding(text.as_bytes()), "embstr", "{text}");
    }
    assert_eq!((encoding(&[b'x'; 44]), encoding(&[b'x'; 45])), ("embstr", "raw"));
}

#[test]
fn a_small_key_is_one_allocation_of_64_bytes_or_less() {
    let mut db = db();
    set(&mut db, &[b'k'; 16], &[b'v'; 32], Ttl::Clear);
    let key = db.key(&[b'k'; 16]);
    let spot = db.spot(&key).unwrap();
    // 8 + 16 + 32 = 56 bytes, for which mimalloc gives 64
    assert_eq!(db.entry(&key, spot).size(), 64);
    set(&mut db, &[b'k'; 16], &[b'v'; 24], Ttl::Clear);
    let spot = db.spot(&key).unwrap();
    assert_eq!(db.entry(&key, spot).size(), 48);
}

#[test]
fn overwriting_within_a_size_class_stays_in_place() {
    let mut db = db();
    let key = db.key(b"0123456789abcdef");
    let mut place = |value: &[u8], ttl: Ttl| {
        db.set_str(&key, value, ttl, &clock());
        let spot = db.spot(&key).unwrap();
        db.entry(&key, spot).as_ptr()
    };
    let first = place(&[b'a'; 32], Ttl::Clear);
    assert_eq!(place(&[b'b'; 32], Ttl::Clear), first);
    assert_eq!(place(&[b'c'; 40], Ttl::Clear), first);
    assert_eq!(place(&[b'd'; 32], Ttl::At(NOW + 1)), first);
    assert_ne!(place(&[b'e'; 80], Ttl::Clear), first);
}

#[test]
fn expired_keys_go_hide_or_stay_as_the_clock_says() {
    let mut db = db();
    db.track_expired = true;
    let key = db.key(b"k");
    db.set_str(&key, b"v", Ttl::At(NOW - 1), &Clock { expiry: Expiry::Ignore, ..clock() });
    let ignore = Clock { expiry: Expiry::Ignore, ..clock() };
    let hide = Clock { expiry: Expiry::Hide, ..clock() };
    assert!(db.find(&key, Look::Peek, &ignore).is_some());
    assert!(db.find(&key, Look::Peek, &hide).is_none());
    assert!(db.peek(&key, &clock()).is_none());
    assert_eq!((db.len(), db.stats.expired_lazy), (1, 0));
    assert!(db.find(&key, Look::Read, &clock()).is_none());
    assert_eq!((db.len(), db.stats.expired_lazy, db.stats.misses), (0, 1, 1));
    assert_eq!(db.expired, vec![Box::from(&b"k"[..])]);
    // a key lives through the millisecond that it is set to
    db.set_str(&key, b"v", Ttl::At(NOW), &clock());
    assert!(db.find(&key, Look::Read, &clock()).is_some());
    assert_eq!((db.stats.hits, db.stats.misses), (1, 1));
}

#[test]
fn expire_steps_find_all_that_is_due_within_their_budget() {
    let mut db = db();
    for i in 0..20_000 {
        let ttl = [Ttl::Clear, Ttl::At(NOW - 1), Ttl::At(NOW + 8000)][i % 3];
        set(&mut db, format!("k{i}").as_bytes(), b"v", ttl);
    }
    let (mut expired, mut steps) = (0, 0);
    while db.stats.expired_active < 6667 {
        let step = db.expire_step(NOW, 100);
        assert!(step.examined < 125);
        expired += step.expired;
        steps += 1;
        assert!(steps < 300);
    }
    assert_eq!((expired, db.len(), db.volatile_len()), (6667, 13_333, 6666));
    assert!((7000..=8000).contains(&db.avg_ttl()), "{}", db.avg_ttl());
    (0..300).for_each(|_| assert_eq!(db.expire_step(NOW, 100).expired, 0));
    check_counts(&db);
}

#[test]
fn random_keys_are_fair_over_skewed_slots() {
    let mut db = db();
    // one slot with 900 keys, and 100 keys elsewhere
    for i in 0..900 {
        set(&mut db, format!("{{hot}}{i}").as_bytes(), b"v", Ttl::Clear);
    }
    for i in 0..100 {
        set(&mut db, format!("cold{i}").as_bytes(), b"v", Ttl::Clear);
    }
    let mut rng = Rng::new(3);
    let mut counts: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for _ in 0..100_000 {
        *counts.entry(db.random(&mut rng, &clock()).unwrap().key().to_vec()).or_default() += 1;
    }
    assert_eq!(counts.len(), 1000);
    // chi-squared with 999 degrees of freedom has mean 999 and deviation 45
    let chi: f64 = counts.values().map(|&n| (n as f64 - 100.0).powi(2) / 100.0).sum();
    assert!((800.0..1200.0).contains(&chi), "{chi}");
}

#[test]
fn random_passes_over_what_is_past_its_time() {
    let mut db = db();
    for i in 0..50 {
        set(&mut db, format!("dead{i}").as_bytes(), b"v", Ttl::At(NOW - 1));
    }
    let mut rng = Rng::new(1);
    let hide = Clock { expiry: Expiry::Hide, ..clock() };
    assert!(db.random(&mut rng, &hide).is_some(), "a replica shows one that is over, as Redis");
    set(&mut db, b"alive", b"v", Ttl::Clear);
    assert_eq!(db.random(&mut rng, &clock()).unwrap().key(), b"alive");
    db.delete(&db.key(b"alive"), false, &clock());
    assert!(db.random(&mut rng, &clock()).is_none());
    assert_eq!(db.len(), 0);
}

/// Evicts half of 2000 keys, of which the odd ones have a TTL; returns the evicted numbers.
fn evict_half(policy: Policy, age: impl Fn(usize) -> u64) -> Vec<usize> {
    let mut keyspace = keyspace(1);
    let mut rng = Rng::new(11);
    for i in 0..2000 {
        let then = Clock { lfu: policy.lfu(), ..Clock::at(NOW - age(i) * 1000) };
        let ttl = if i % 2 == 1 { Ttl::At(NOW + 1_000_000 - age(i) * 100) } else { Ttl::Clear };
        let db = keyspace.db_mut(0);
        let name = format!("k{i}");
        let key = db.key(name.as_bytes());
        db.set_str(&key, b"v", ttl, &then);
        if policy.lfu() && age(i) < 1000 {
            (0..200).for_each(|_| _ = db.find(&key, Look::Read, &then));
        }
    }
    let now = Clock { lfu: policy.lfu(), ..clock() };
    let n = if policy.volatile() { 500 } else { 1000 };
    let evicted = (0..n).map(|_| {
        let (db, key) = keyspace.evict_one(policy, 5, &mut rng, &now).expect("there are keys");
        assert_eq!(db, 0);
        std::str::from_utf8(&key[1..]).unwrap().parse().unwrap()
    });
    let evicted: Vec<usize> = evicted.collect();
    assert_eq!((keyspace.len(), keyspace.stats().evicted), (2000 - n, n as u64));
    check_counts(keyspace.db(0));
    evicted
}

#[test]
fn eviction_prefers_what_its_policy_says() {
    use Policy::*;
    // the first thousand are old and unused
    let age = |i: usize| if i < 1000 { 9000 - i as u64 } else { (2000 - i as u64) / 10 };
    for policy in [AllkeysLru, AllkeysLfu, VolatileLru, VolatileLfu, VolatileTtl] {
        let evicted = evict_half(policy, age);
        let old = evicted.iter().filter(|&&i| i < 1000).count();
        assert!(old * 100 >= evicted.len() * 90, "{policy:?}: {old} of {}", evicted.len());
        assert!(!policy.volatile() || evicted.iter().all(|i| i % 2 == 1), "{policy:?}");
    }
    for policy in [AllkeysRandom, VolatileRandom] {
        let evicted = evict_half(policy, age);
        let old = evicted.iter().filter(|&&i| i < 1000).count();
        assert!((40..60).contains(&(old * 100 / evicted.len())), "{policy:?}: {old}");
        assert!(!policy.volatile() || evicted.iter().all(|i| i % 2 == 1), "{policy:?}");
    }
}

#[test]
fn eviction_ends_when_no_key_may_go() {
    let mut keyspace = keyspace(2);
    let mut rng = Rng::new(5);
    for i in 0..3000 {
        let ttl = if i % 1000 == 0 { Ttl::At(NOW + 5) } else { Ttl::Clear };
        set(keyspace.db_mut(i % 2), format!("{{x}}{i}").as_bytes(), b"v", ttl);
    }
    assert!(keyspace.evict_one(Policy::NoEviction, 5, &mut rng, &clock()).is_none());
    for policy in [Policy::VolatileLru, Policy::VolatileRandom, Policy::VolatileTtl] {
        let (_, key) = keyspace.evict_one(policy, 5, &mut rng, &clock()).expect("one with a TTL");
        assert!(key.ends_with(b"000") || &*key == b"{x}0", "{}", String::from_utf8_lossy(&key));
    }
    for policy in [Policy::VolatileLru, Policy::VolatileLfu, Policy::VolatileRandom] {
        assert!(keyspace.evict_one(policy, 5, &mut rng, &clock()).is_none());
    }
    while keyspace.evict_one(Policy::AllkeysLru, 5, &mut rng, &clock()).is_some() {}
    assert_eq!((keyspace.len(), keyspace.bytes()), (0, 0));
}

#[test]
fn lfu_counters_rise_by_chance_and_decay_with_time() {
    let mut db = db();
    let lfu = Clock { lfu: true, ..clock() };
    let key = db.key(b"k");
    db.set_str(&key, b"v", Ttl::Clear, &lfu);
    let mut freq = |n: usize, clock: &Clock| {
        (0..n).for_each(|_| _ = db.find(&key, Look::Read, clock));
        clock.frequency(db.peek(&key, clock).unwrap().lru())
    };
    assert_eq!(freq(0, &lfu), 5);
    let after = freq(1000, &lfu);
    assert!(after > 10);
    let later = Clock { now_ms: NOW + 4 * 60_000, ..lfu };
    assert_eq!(freq(0, &later), after - 4);
    let still = Clock { no_touch: true, ..lfu };
    assert_eq!(freq(1000, &still), after);
    // redis.conf: factor 10 gives about 10 after 100 hits and 18 after 1000
    let mut rng = Rng::new(1);
    for (hits, expected) in [(100, 9.0..11.0), (1000, 17.0..20.0)] {
        let end = |_| {
            let hit = |field, _| lfu.touched(field, &mut rng);
            lfu.frequency((0..hits).fold(lfu.fresh(), hit)) as f64
        };
        let mean = (0..200).map(end).sum::<f64>() / 200.0;
        assert!(expected.contains(&mean), "{hits}: {mean}");
    }
}

#[test]
fn idle_time_counts_from_the_last_touch() {
    let mut db = db();
    set(&mut db, b"k", b"v", Ttl::Clear);
    let key = db.key(b"k");
    let later = Clock::at(NOW + 30_000);
    assert_eq!(later.idle(db.find(&key, Look::Peek, &later).unwrap().lru()), 30);
    assert_eq!(later.idle(db.find(&key, Look::Write, &later).unwrap().lru()), 0);
    assert!(db.set_lru(&key, later.lru_field(77)));
    assert_eq!(later.idle(db.find(&key, Look::Peek, &later).unwrap().lru()), 77);
}

#[test]
fn big_values_become_garbage_only_when_asked() {
    let mut keyspace = keyspace(1);
    let db = keyspace.db_mut(0);
    let key = db.key(b"k");
    for (object, lazy, garbage) in [
        (set_of(65), true, 1),
        (set_of(65), false, 0),
        (set_of(64), true, 0),
        (Object::Str(vec![0; 65 * 1024].into()), true, 1),
        (Object::Str(vec![0; 2000].into()), true, 0),
    ] {
        db.set_object(&key, object, Ttl::Clear, &clock());
        assert!(db.delete(&key, lazy, &clock()));
        assert_eq!(db.drain_garbage().len(), garbage);
    }
    db.lazy.server_del = true;
    db.set_object(&key, set_of(100), Ttl::Clear, &clock());
    db.set_str(&key, b"v", Ttl::Clear, &clock());
    assert_eq!(keyspace.drain_garbage().iter().map(Garbage::objects).collect::<Vec<_>>(), [1]);
}

#[test]
fn clearing_and_swapping_databases() {
    let mut keyspace = keyspace(3);
    for i in 0..1000 {
        set(keyspace.db_mut(0), format!("k{i}").as_bytes(), b"v", Ttl::At(NOW + 1));
    }
    keyspace.swap(0, 2, &clock());
    assert_eq!([0, 1, 2].map(|i| keyspace.db(i).len()), [0, 0, 1000]);
    let garbage = keyspace.db_mut(2).clear();
    assert_eq!((garbage.objects(), keyspace.len(), keyspace.bytes()), (1000, 0, 0));
    check_counts(keyspace.db(2));
    std::thread::spawn(move || drop(garbage)).join().unwrap();
    let (a, b) = keyspace.two_mut(2, 0);
    set(a, b"k", b"v", Ttl::Clear);
    let taken = a.remove(&a.key(b"k"), &clock()).unwrap();
    b.put(&b.key(b"k"), taken, &clock());
    assert_eq!([0, 1, 2].map(|i| keyspace.db(i).len()), [1, 0, 0]);
}

#[test]
fn keys_of_a_slot_are_listed_up_to_a_number() {
    let mut db = db();
    for i in 0..50 {
        set(&mut db, format!("{{a}}{i}").as_bytes(), b"v", Ttl::Clear);
    }
    let slot = crate::slot::key_slot(b"a");
    for n in [0, 1, 49, 50, 1000] {
        let keys: BTreeSet<_> = db.keys_in_slot(slot, n).into_iter().collect();
        assert_eq!(keys.len(), n.min(50));
    }
    assert_eq!(db.next_used_slot(0), Some(slot));
    assert_eq!(db.next_used_slot(slot + 1), None);
    db.set_str(&db.key(b"{a}0"), b"w", Ttl::Clear, &clock());
    assert_eq!(db.slot_len(slot), 50);
}

#[test]
fn memory_per_key_stays_below_80_bytes_while_tables_grow() {
    // 300 slots filled as 16384 are by 5 million keys: 305 keys each, and every size on the way
    let mut db = db();
    let mut worst: f64 = 0.0;
    for i in 0..305 {
        for tag in 0..300 {
            set(&mut db, format!("{{{tag:05}}}{i:09}").as_bytes(), &[b'v'; 32], Ttl::Clear);
        }
        if i >= 40 {
            worst = worst.max(db.bytes() as f64 / db.len() as f64);
        }
    }
    let at_5m = db.bytes() as f64 / db.len() as f64;
    println!("bytes a key: {at_5m:.1} at 305 a slot, worst {worst:.1} from 40 on");
    assert!(at_5m + SLOTS as f64 * 32.0 / 5e6 <= 80.0, "{at_5m}");
    assert!(worst < 84.0, "{worst}");
}

#[test]
fn one_table_of_many_segments_grows_and_shrinks_to_nothing() {
    let mut db = db();
    let n = 60_000;
    for i in 0..n {
        set(&mut db, format!("{{one}}{i}").as_bytes(), b"v", Ttl::Clear);
    }
    let full = db.bytes();
    assert_eq!(db.len(), n);
    check_counts(&db);
    for i in 0..n {
        assert!(db.delete(&db.key(format!("{{one}}{i}").as_bytes()), false, &clock()), "{i}");
        if i == n * 3 / 4 {
            assert!(db.bytes() < full / 2);
        }
    }
    assert_eq!((db.len(), db.bytes()), (0, 0));
    check_counts(&db);
}

#[test]
fn prefetching_is_harmless_on_any_table() {
    let mut db = db();
    for i in 0..100 {
        let name = format!("{{p}}{i}");
        let key = db.key(name.as_bytes());
        db.prefetch_table(key.slot);
        db.prefetch_bucket(key.slot, key.hash);
        db.prefetch_entry(key.slot, key.hash);
        db.prefetch_chained(key.slot, key.hash);
        db.set_str(&key, b"v", Ttl::Clear, &clock());
    }
    assert_eq!(db.len(), 100);
}
