//! What values and keys really take from the allocator, and whether they know it themselves.
//!
//! The bounds are those of a whole server, `cargo bench --bench compare -- --only memory`, less what is
//! lost between an allocator's classes and its pages.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use shoal::store::{Clock, Hasher, Keyspace, Ttl};
use shoal::util::rng::Rng;
use shoal::value::{Hash, Limits, ZSet};

/// Counts bytes as a size-class allocator would give them out.
struct Counting;

thread_local! {
    /// Of this thread alone: the test harness allocates on its own ones meanwhile.
    static LIVE: Cell<usize> = const { Cell::new(0) };
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
