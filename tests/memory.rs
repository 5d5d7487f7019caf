//! What values and keys really take from the allocator, and whether they know it themselves.
//!
//! The bounds are those of a whole server, `cargo bench --bench compare -- --only memory`, less what is
//! lost between an allocator's classes and its pages.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use shoal::persist::{Encoder, dump, restore};
use shoal::store::{Clock, Hasher, Keyspace, Ttl};
use shoal::util::rng::Rng;
use shoal::value::{Hash, Limits, List, Listpack, Object, Set, ValueRef, ZSet};

/// Counts bytes as a size-class allocator would give them out.
struct Counting;

thread_local! {
    /// Of this thread alone: the test harness allocates on its own ones meanwhile.
    static LIVE: Cell<usize> = const { Cell::new(0) };
    /// The most of it since somebody set this.
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// As mimalloc and jemalloc have it: steps of 16, then four (in truth eight for some) a doubling.
fn class(bytes: usize) -> usize {
    match bytes {
        0..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(bytes.next_power_of_two() / 8),
    }
}

// SAFETY: every call is passed on to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get().wrapping_add(class(layout.size())));
        PEAK.set(PEAK.get().max(LIVE.get()));
        // SAFETY: the caller's promises are the callee's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().wrapping_sub(class(layout.size())));
        // SAFETY: the caller's promises are the callee's conditions.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct Measured {
    each: f64,
    known: f64,
}

/// Calls `make`, and says what its result takes on the heap, for each of `n`. `known` is what the
/// result itself says.
fn measure<T>(name: &str, n: u64, make: impl FnOnce() -> T, known: impl Fn(&T) -> usize) -> (T, Measured) {
    let before = LIVE.get();
    let made = make();
    let real = LIVE.get().wrapping_sub(before) as f64;
    let out = Measured { each: real / n as f64, known: known(&made) as f64 / real };
    println!("{n} {name}: {:.1} bytes each, of which {:.3} are known", out.each, out.known);
    (made, out)
}

fn short(i: u64) -> Vec<u8> {
    format!("member:{i:09}").into_bytes()
}

fn zset(name: &str, n: u64, member: impl Fn(u64) -> Vec<u8>, score: impl Fn(u64) -> f64) -> Measured {
    let make = || {
        let mut zset = ZSet::new();
        for i in 0..n {
            zset.insert(&member(i), score(i), &Limits::default());
        }
        zset
    };
    let (zset, out) = measure(name, n, make, ZSet::mem);
    assert_eq!((zset.len() as u64, zset.encoding()), (n, "skiplist"));
    let (copy, copied) = measure("copied", n, || zset.clone(), ZSet::mem);
    assert!(copied.each < 1.1 * out.each, "{name}: a copy is not larger");
    let before = LIVE.get();
    drop((zset, copy));
    let freed = before.wrapping_sub(LIVE.get()) as f64 / n as f64;
    assert!((freed - out.each - copied.each).abs() < 0.01, "{name}: all of it is freed");
    out
}

#[test]
fn a_member_of_sixteen_bytes_takes_less_than_seventy() {
    let mut rng = Rng::new(1);
    let scores: Vec<f64> = (0..300_000).map(|_| rng.unit()).collect();
    for n in [3_000, 100_000, 300_000] {
        let by_chance = zset("members with scores by chance", n, short, |i| scores[i as usize]);
        let rising = zset("members with rising scores", n, short, |i| i as f64);
        assert!(by_chance.each < 70.0 && rising.each < 65.0);
        for m in [by_chance, rising] {
            assert!((0.98..1.02).contains(&m.known), "mem() is {:.3}", m.known);
        }
    }
    let long = zset("members of 40 bytes", 100_000, |i| format!("{i:040}").into_bytes(), |i| i as f64);
    assert!(long.each < 110.0 && (0.98..1.02).contains(&long.known));
    let small = zset("members of a small one", 200, short, |i| scores[i as usize]);
    assert!(small.each < 90.0 && (0.9..1.1).contains(&small.known), "{} {}", small.each, small.known);
}

#[test]
fn a_field_of_sixteen_bytes_with_as_many_takes_less_than_seventy() {
    for n in [3_000, 50_000, 100_000, 150_000, 200_000, 300_000] {
        let make = || {
            let mut hash = Hash::new();
            for i in 0..n {
                hash.set(&short(i), &short(i), &Limits::default());
            }
            hash
        };
        let (hash, m) = measure("fields", n, make, Hash::mem);
        assert_eq!((hash.len() as u64, hash.encoding()), (n, "hashtable"));
        assert!(m.each < 70.0, "{:.1} bytes a field", m.each);
        assert!((0.98..1.02).contains(&m.known), "mem() is {:.3}", m.known);
    }
}

/// As many keys in each of a few slots as millions would be in each of all slots.
#[test]
fn a_key_of_sixteen_bytes_with_a_value_of_32_takes_less_than_eighty() {
    const TAGS: u64 = 64;
    for millions in [1, 2, 3, 5, 8] {
        let each = millions * 1_000_000 / shoal::slot::SLOTS as u64;
        let mut keyspace = Keyspace::new(1, Hasher::new(7), 7);
        let empty = keyspace.bytes();
        let make = || {
            let db = keyspace.db_mut(0);
            for i in 0..each * TAGS {
                let name = format!("{{{:03}}}{:011}", i % TAGS, i / TAGS);
                assert_eq!(name.len(), 16);
                db.set_str(&db.key(name.as_bytes()), &[b'v'; 32], Ttl::Clear, &Clock::at(0));
            }
            keyspace
        };
        let (keyspace, m) = measure("keys", each * TAGS, make, |keyspace| keyspace.bytes() - empty);
        assert_eq!(keyspace.len() as u64, each * TAGS);
        assert!(m.each < 80.0, "{:.1} bytes a key", m.each);
        assert!((0.98..1.02).contains(&m.known), "bytes() is {:.3}", m.known);
    }
}

/// Payloads of every type, flat and not, without their frames; and of the old encodings that are only read.
fn bodies() -> Vec<Vec<u8>> {
    let limits = Limits::default();
    let mut objects = vec![Object::Str(vec![b'x'; 3000].into()), Object::Str(short(1).into())];
    for n in [3, 2000] {
        let (mut hash, mut set, mut ints, mut zset) = (Hash::new(), Set::new(), Set::new(), ZSet::new());
        let mut pack = Listpack::new();
        for i in 0..n {
            hash.set(&short(i), b"1", &limits);
            set.add(&short(i), &limits);
            ints.add((i * 70_000).to_string().as_bytes(), &limits);
            zset.insert(&short(i), i as f64 / 3.0, &limits);
            pack.push_back(&short(i));
        }
        let list = List::from_listpacks([pack]);
        objects.extend([Object::Hash(hash), Object::Set(set), Object::Set(ints)]);
        objects.extend([Object::ZSet(zset), Object::List(list)]);
    }
    let body = |object: &Object| {
        let mut payload = Vec::new();
        let value = if let Object::Str(text) = object { ValueRef::Str(text) } else { ValueRef::Obj(object) };
        dump(value, &mut Encoder::new(true), &mut payload);
        payload.truncate(payload.len() - FOOTER);
        payload
    };
    // {"a": "1"}, as a ziplist and as a zipmap
    let ziplist = [16, 0, 0, 0, 13, 0, 0, 0, 2, 0, 0, 1, b'a', 3, 0xF2, 0xFF];
    let zipmap = [1, 1, b'a', 1, 0, b'1', 0xFF];
    let old = [10, 12, 13].map(|kind| [&[kind, 16][..], &ziplist].concat());
    let nodes = [&[14, 2, 16][..], &ziplist, &[16], &ziplist].concat();
    let map = [&[9, 7][..], &zipmap].concat();
    let all: Vec<Vec<u8>> = objects.iter().map(body).chain(old).chain([nodes, map]).collect();
    assert!(all.iter().all(|body| restore(&framed(body), &limits).is_ok()), "as they are they are good");
    all
}

/// Version and checksum.
const FOOTER: usize = 10;

/// A payload with a right checksum around whatever body.
fn framed(body: &[u8]) -> Vec<u8> {
    let mut payload = [body, &10u16.to_le_bytes()].concat();
    // CRC-64 of the Jones polynomial, bit by bit
    let crc = payload.iter().fold(0u64, |crc, byte| {
        let bit = |crc: u64, _| crc >> 1 ^ if crc & 1 == 1 { 0x95AC_9329_AC4B_C9B5 } else { 0 };
        (0..8).fold(crc ^ u64::from(*byte), bit)
    });
    payload.extend(crc.to_le_bytes());
    payload
}

/// Lengths are claims: what RESTORE takes at any moment is measured by the bytes that are there.
#[test]
fn restore_takes_no_more_than_its_payload_is_worth() {
    const HUGE: [u8; 9] = [0x81, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF];
    const LARGE: [u8; 5] = [0x80, 0x3F, 0xFF, 0xFF, 0xFF];
    const NASTY: [u8; 8] = [0, 0x3F, 0x7F, 0x80, 0x81, 0xC3, 0xFE, 0xFF];
    // LZF makes at most 264 bytes of 3, and a field of two bytes is some seventy in a table
    const EACH: usize = 200;
    const LEAST: usize = 4096;
    let mut rng = Rng::new(3);
    let mut worst = 0.0f64;
    let (mut good, mut bad) = (0, 0);
    for body in bodies() {
        for n in 0..1000 {
            let mut body = body.clone();
            for _ in 0..1 + n % 3 {
                // most that is worth a change is at the begin
                let most = if rng.below(2) == 0 { body.len().min(32) } else { body.len() };
                let at = rng.below(most as u64) as usize;
                match rng.below(5) {
                    0 => drop(body.splice(at..at, HUGE)),
                    1 => drop(body.splice(at..at + 1, LARGE)),
                    2 => body[at] = NASTY[rng.below(8) as usize],
                    3 => body[at] = rng.below(256) as u8,
                    _ => body.truncate(at.max(1)),
                }
            }
            let payload = framed(&body);
            let before = LIVE.get();
            PEAK.set(before);
            match restore(&payload, &Limits::default()) {
                Ok(_) => good += 1,
                Err(_) => bad += 1,
            }
            let peak = PEAK.get().wrapping_sub(before);
            assert!(peak <= payload.len() * EACH + LEAST, "{} bytes took {peak}: {payload:?}", payload.len());
            worst = worst.max(peak as f64 / (payload.len() * EACH + LEAST) as f64);
        }
    }
    println!("{good} payloads were good still, {bad} were not; the worst took {worst:.2} of what it may");
    assert!(good > 100 && bad > 1000, "both kinds were there");
}
