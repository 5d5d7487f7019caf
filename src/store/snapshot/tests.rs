//! Snapshots against what was there when they began, while everything changes under them.

use std::collections::BTreeMap;

use super::*;
use crate::limits::SNAPSHOT_WHOLE;
use crate::store::*;
use crate::util::rng::Rng;
use crate::value::{Limits, List, Object};

const NOW: u64 = 1_700_000_000_000;
const DBS: usize = 3;

/// A key as the tests' snapshots have it: value and TTL.
type Image = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<u64>)>;

fn value_of(entry: EntryRef<'_>) -> Vec<u8> {
    match entry.value() {
        ValueRef::Int(n) => format!("int {n}").into_bytes(),
        ValueRef::Str(bytes) => bytes.to_vec(),
        ValueRef::Obj(Object::List(list)) => {
            let mut all = b"list".to_vec();
            list.iter().for_each(|e| all.extend_from_slice(&[b" ", &e.to_vec()[..]].concat()));
            all
        }
        ValueRef::Obj(_) => panic!("the tests store strings and lists"),
    }
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn write(entry: EntryRef<'_>, out: &mut Vec<u8>) {
    put_bytes(entry.key(), out);
    put_bytes(&value_of(entry), out);
    out.extend_from_slice(&entry.expire_at().unwrap_or(0).to_le_bytes());
}

fn take<'a>(from: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, tail) = from.split_at(n);
    *from = tail;
    head
}

fn read(mut from: &[u8], db: usize, image: &mut Image) {
    let word = |from: &mut &[u8]| {
        let n = u32::from_le_bytes(take(from, 4).try_into().unwrap());
        take(from, n as usize).to_vec()
    };
    while !from.is_empty() {
        let (key, value) = (word(&mut from), word(&mut from));
        let ttl = u64::from_le_bytes(take(&mut from, 8).try_into().unwrap());
        let twice = image.insert((db, key.clone()), (value, Some(ttl).filter(|&t| t > 0)));
        assert!(twice.is_none(), "{} came twice", String::from_utf8_lossy(&key));
    }
}

#[derive(Default)]
struct Paper([Vec<u8>; DBS]);

impl Sink for Paper {
    fn buffer(&mut self, db: usize) -> &mut Vec<u8> {
        &mut self.0[db]
    }
}

/// What is there, keys past their time included.
fn image(ks: &Keyspace) -> Image {
    let everything = Clock { expiry: Expiry::Ignore, ..Clock::at(NOW) };
    let mut image = Image::new();
    for db in 0..ks.databases() {
        ks.db(db).for_each(&everything, |e| {
            image.insert((db, e.key().to_vec()), (value_of(e), e.expire_at()));
        });
    }
    image
}

/// A keyspace whose snapshots follow one another.
struct Side {
    ks: Box<Keyspace>,
    wanted: Option<Image>,
    paper: Paper,
    /// The large value in the making, as it was when it began.
    piece: Option<Vec<u8>>,
    /// Snapshots that were compared, large values that were written in pieces.
    compared: usize,
    pieces: usize,
}

impl Side {
    fn new() -> Side {
        let ks = Keyspace::new(DBS, Hasher::new(7), 7);
        Side { ks, wanted: None, paper: Paper::default(), piece: None, compared: 0, pieces: 0 }
    }

    fn begin(&mut self) {
        let keys = self.ks.begin_snapshot(|| Box::new(|entry, _, out| write(entry, out)));
        let wanted = image(&self.ks);
        assert_eq!(keys, wanted.len());
        self.wanted = Some(wanted);
    }

    /// One step; true at the end of a snapshot.
    fn step(&mut self, budget: Budget, rng: &mut Rng) -> bool {
        match self.ks.snapshot_step(budget, &mut self.paper) {
            Progress::Large => self.write_large(rng),
            Progress::Done => return self.finish(),
            Progress::More | Progress::Waits => {}
        }
        false
    }

    /// Begins a large value, or ends it by chance.
    fn write_large(&mut self, rng: &mut Rng) {
        let (db, entry) = self.ks.large().expect("the step said so");
        let mut whole = Vec::new();
        write(entry, &mut whole);
        match &self.piece {
            None => self.piece = Some(whole),
            Some(begun) => {
                assert!(*begun == whole, "it doesn't change meanwhile");
                if rng.below(3) == 0 {
                    self.paper.0[db].append(&mut whole);
                    self.ks.large_done();
                    self.piece = None;
                    self.pieces += 1;
                }
            }
        }
    }

    fn finish(&mut self) -> bool {
        assert!(!self.ks.in_snapshot());
        let paper = std::mem::take(&mut self.paper);
        if let Some(wanted) = self.wanted.take() {
            let mut got = Image::new();
            paper.0.iter().enumerate().for_each(|(db, bytes)| read(bytes, db, &mut got));
            let missing: Vec<_> = wanted.keys().filter(|k| !got.contains_key(*k)).collect();
            let extra: Vec<_> = got.keys().filter(|k| !wanted.contains_key(*k)).collect();
            assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, not asked for {extra:?}");
            assert!(got == wanted, "a value or a TTL is another one");
            self.compared += 1;
            return true;
        }
        false
    }

    fn abandon(&mut self) {
        self.ks.abandon_snapshot();
        (self.wanted, self.piece, self.paper) = (None, None, Paper::default());
        assert!(self.ks.large().is_none());
    }
}

fn name(rng: &mut Rng) -> Vec<u8> {
    match rng.below(3) {
        // one slot that grows and shrinks
        0 => format!("{{s}}{}", rng.below(900)).into_bytes(),
        // a few slots
        1 => format!("{{t{}}}{}", rng.below(5), rng.below(40)).into_bytes(),
        _ => format!("k{}", rng.below(300)).into_bytes(),
    }
}

fn value(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(60) {
        0 => SNAPSHOT_WHOLE + 1 + rng.below(64) as usize,
        1..6 => rng.below(3000) as usize,
        _ => rng.below(40) as usize,
    };
    let seed = rng.next_u64() as u8;
    (0..len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect()
}

/// One change of `ks` by a client. What may have to wait is left out when it has to.
fn change(ks: &mut Keyspace, at: usize, key: &[u8], clock: &Clock, rng: &mut Rng) {
    let key = ks.hasher().key(key);
    let drops = rng.below(12) == 0;
    if !drops && ks.db(at).owes_large(&key) {
        ks.urge(at, &key);
        return;
    }
    let db = ks.db_mut(at);
    match rng.below(10) {
        _ if drops => _ = db.delete(&key, rng.below(2) == 0, clock),
        0 => _ = db.set_int(&key, rng.below(1 << 40) as i64, Ttl::Keep, clock),
        1 => _ = db.update_int(&key, clock, |n| (n % 5 > 0).then_some(n + 1)),
        2 => _ = db.append(&key, &value(rng), clock),
        3 => _ = db.set_expire(&key, Some(clock.now_ms + rng.below(3000)).filter(|t| t % 4 > 0), clock),
        4 => push(db, &key, clock, rng),
        5 => {
            if let Some(bytes) = db.bytes_mut(&key, 3, clock) {
                bytes[0] ^= 1;
            }
        }
        6 => _ = db.find(&key, Look::Read, clock).map(value_of),
        7 => _ = db.edit(&key, clock, |bytes| bytes.truncate(9)),
        _ => _ = db.set_str(&key, &value(rng), Ttl::Clear, clock),
    }
}

fn push(db: &mut Db, key: &Key, clock: &Clock, rng: &mut Rng) {
    let element = value(rng);
    match db.find_mut(key, Look::Write, clock) {
        Some(ValueMut::Obj(Object::List(list))) => list.push_back(&element, &Limits::default()),
        Some(_) => {}
        None => {
            let mut list = List::new();
            list.push_back(&element, &Limits::default());
            db.set_object(key, Object::List(list), Ttl::Clear, clock);
        }
    }
}

/// Two keyspaces that lend each other slots.
struct World {
    home: Side,
    other: Side,
    lent: Vec<Slot>,
    clock: Clock,
    rng: Rng,
}

impl World {
    fn new(seed: u64) -> World {
        let (home, other) = (Side::new(), Side::new());
        World { home, other, lent: Vec::new(), clock: Clock::at(NOW), rng: Rng::new(seed) }
    }

    fn lend(&mut self) {
        let slot = crate::slot::key_slot(&name(&mut self.rng));
        if self.lent.contains(&slot) || self.home.ks.large_slot() == Some(slot) {
            return;
        }
        for db in 0..DBS {
            let table = self.home.ks.db_mut(db).take_slot(slot);
            self.other.ks.db_mut(db).put_slot(table);
        }
        self.lent.push(slot);
    }

    fn bring_home(&mut self) {
        for slot in std::mem::take(&mut self.lent) {
            for db in 0..DBS {
                let table = self.other.ks.db_mut(db).take_slot(slot);
                assert_eq!(self.home.ks.db_mut(db).put_slot(table).len(), 0);
            }
        }
    }

    fn rename(&mut self, at: usize, from: &[u8], to: &[u8]) {
        let ks = &mut self.home.ks;
        let (from, to) = (ks.hasher().key(from), ks.hasher().key(to));
        if ks.db(at).owes_large(&from) || ks.db(at).owes_large(&to) {
            return;
        }
        if let Some(owned) = ks.db_mut(at).remove(&from, &self.clock) {
            ks.db_mut(at).put(&to, owned, &self.clock);
        }
    }

    /// Keys that the other side has of its own: in slots that are never lent.
    fn own_of_other(&mut self) -> Vec<u8> {
        format!("{{other}}{}", self.rng.below(200)).into_bytes()
    }

    fn turn(&mut self) {
        let at = self.rng.below(DBS as u64) as usize;
        let key = name(&mut self.rng);
        let lent = self.lent.contains(&crate::slot::key_slot(&key));
        match self.rng.below(400) {
            0 if self.lent.is_empty() => {
                let garbage = self.home.ks.db_mut(at).clear();
                self.home.ks.db_mut(at).leave(garbage);
            }
            1..3 if self.lent.is_empty() => self.home.ks.swap(at, (at + 1) % DBS, &self.clock),
            3 if !lent => {
                let slot = crate::slot::key_slot(&key);
                self.home.ks.iter_mut().for_each(|db| db.forsake_slot(slot));
            }
            4..20 => self.lend(),
            20..50 => self.bring_home(),
            50..60 => {
                let policy = [Policy::AllkeysLru, Policy::AllkeysRandom, Policy::VolatileTtl]
                    [self.rng.below(3) as usize];
                self.home.ks.evict_one(policy, 5, &mut self.rng, &self.clock);
            }
            60..70 => self.clock.now_ms += self.rng.below(400),
            70..90 => _ = self.home.ks.db_mut(at).expire_step(self.clock.now_ms, 20),
            90..110 if !lent => {
                let to = name(&mut self.rng);
                if !self.lent.contains(&crate::slot::key_slot(&to)) {
                    self.rename(at, &key, &to);
                }
            }
            110..150 => {
                let key = self.own_of_other();
                change(&mut self.other.ks, at, &key, &self.clock, &mut self.rng);
            }
            150 if self.home.ks.in_snapshot() => self.home.abandon(),
            _ => {
                let side = if lent { &mut self.other } else { &mut self.home };
                change(&mut side.ks, at, &key, &self.clock, &mut self.rng);
            }
        }
    }

    fn snapshots(&mut self) {
        let budget =
            Budget { visits: 1 + self.rng.below(40) as usize, bytes: 1 + self.rng.below(5000) as usize };
        if self.home.ks.in_snapshot() {
            self.home.step(budget, &mut self.rng);
        } else if self.lent.is_empty() && self.rng.below(30) == 0 {
            self.home.begin();
        }
        if self.other.ks.in_snapshot() {
            self.other.step(budget, &mut self.rng);
        } else if self.lent.is_empty() && self.rng.below(30) == 0 {
            self.other.begin();
        }
    }

    /// Nothing is owed when no snapshot is made: phases agree, and memory is what the tables say.
    fn check(&mut self) {
        self.bring_home();
        while self.home.ks.in_snapshot() || self.other.ks.in_snapshot() {
            self.snapshots();
        }
        for db in self.home.ks.iter().chain(self.other.ks.iter()) {
            for slot in 0..crate::slot::SLOTS as Slot {
                let table = db.table(slot);
                table.each(&mut |entry| assert_eq!(entry.phase(), table.phase()));
            }
            assert!(!db.careful);
        }
    }
}

#[test]
fn a_snapshot_is_what_was_there_when_it_began() {
    let (mut compared, mut pieces) = (0, 0);
    let rounds = if cfg!(miri) { 1 } else { 12 };
    for seed in 0..rounds {
        let mut world = World::new(seed);
        for _ in 0..if cfg!(miri) { 300 } else { 6000 } {
            world.turn();
            if world.rng.below(3) == 0 {
                world.snapshots();
            }
        }
        world.check();
        compared += world.home.compared + world.other.compared;
        pieces += world.home.pieces + world.other.pieces;
    }
    assert!(cfg!(miri) || (compared > 100 && pieces > 50), "{compared} snapshots, {pieces} large values");
}

fn fill(ks: &mut Keyspace, keys: usize, value: &[u8]) {
    for i in 0..keys {
        let name = format!("{{s}}{i}");
        let key = ks.hasher().key(name.as_bytes());
        ks.db_mut(0).set_str(&key, value, Ttl::Clear, &Clock::at(NOW));
    }
}

#[test]
fn a_step_keeps_to_its_budget() {
    let mut side = Side::new();
    fill(&mut side.ks, 20_000, b"value");
    side.begin();
    let mut steps = 0;
    loop {
        let (keys, bytes) = (side.ks.snapshot_keys(), side.paper.0[0].len());
        let progress = side.ks.snapshot_step(Budget { visits: 64, bytes: 1000 }, &mut side.paper);
        if progress == Progress::Done {
            break;
        }
        // what one bucket and its twin hold comes on top
        assert!(side.ks.snapshot_keys() - keys < 64 + 60);
        assert!(side.paper.0[0].len() - bytes < 1000 + 60 * 40);
        steps += 1;
    }
    assert!(side.finish() && steps > 20_000 / 124);
}

#[test]
fn what_is_handed_out_waits_for_the_next_step_and_counts_as_backlog() {
    let mut side = Side::new();
    fill(&mut side.ks, 100, b"old");
    side.begin();
    fill(&mut side.ks, 200, b"new");
    let backlog = side.ks.snapshot_backlog();
    assert!((100 * 15..100 * 30).contains(&backlog), "{backlog}");
    // once is enough
    fill(&mut side.ks, 200, b"newer");
    assert_eq!((side.ks.snapshot_backlog(), side.ks.snapshot_keys()), (backlog, 100));
    while !side.step(Budget { visits: 1000, bytes: 1 << 20 }, &mut Rng::new(1)) {}
}

#[test]
fn a_slot_in_a_hurry_is_walked_first() {
    let mut side = Side::new();
    for i in 0..5000 {
        let name = format!("k{i}");
        let key = side.ks.hasher().key(name.as_bytes());
        side.ks.db_mut(0).set_str(&key, b"v", Ttl::Clear, &Clock::at(NOW));
    }
    let slot = crate::slot::key_slot(b"k77");
    side.begin();
    let mut rng = Rng::new(1);
    side.step(Budget { visits: 10, bytes: 1000 }, &mut rng);
    assert!(side.ks.owes(slot));
    side.ks.hurry(slot);
    side.step(Budget { visits: 10, bytes: 1000 }, &mut rng);
    assert!(!side.ks.owes(slot));
    while !side.step(Budget { visits: 1000, bytes: 1 << 20 }, &mut rng) {}
}
