//! What a sorted set really takes from the allocator, and whether [`ZSet::mem`] knows.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use shoal::util::rng::Rng;
use shoal::value::{Limits, ZSet};

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
    name: &'static str,
    each: f64,
    known: f64,
}

fn measure(
    name: &'static str,
    n: u64,
    member: impl Fn(u64) -> Vec<u8>,
    score: impl Fn(u64) -> f64,
) -> Measured {
    let before = LIVE.get();
    let mut zset = ZSet::new();
    for i in 0..n {
        zset.insert(&member(i), score(i), &Limits::default());
    }
    assert_eq!((zset.len() as u64, zset.encoding()), (n, "skiplist"));
    let real = (LIVE.get() - before) as f64;
    let out = Measured { name, each: real / n as f64, known: zset.mem() as f64 / real };
    let copy = zset.clone();
    let real = LIVE.get() - before;
    assert!((real as f64) < 2.1 * out.each * n as f64, "{}: a copy is not larger", out.name);
    drop((zset, copy));
    assert_eq!(LIVE.get(), before, "{}: all of it is freed", out.name);
    // printed last: the harness keeps what a test prints on this thread's heap
    println!("{}: {:.1} bytes a member, of which mem() knows {:.3}", out.name, out.each, out.known);
    out
}

#[test]
fn a_member_of_sixteen_bytes_takes_less_than_seventy() {
    let short = |i: u64| format!("member:{i:09}").into_bytes();
    let mut rng = Rng::new(1);
    let scores: Vec<f64> = (0..300_000).map(|_| rng.unit()).collect();
    for n in [3_000, 100_000, 300_000] {
        let by_chance = measure("scores by chance", n, short, |i| scores[i as usize]);
        let rising = measure("rising scores", n, short, |i| i as f64);
        assert!(by_chance.each < 70.0 && rising.each < 65.0);
        for m in [by_chance, rising] {
            assert!((0.98..1.02).contains(&m.known), "{}: mem() is {:.3}", m.name, m.known);
        }
    }
    let long = measure("members of 40 bytes", 100_000, |i| format!("{i:040}").into_bytes(), |i| i as f64);
    assert!(long.each < 110.0 && (0.98..1.02).contains(&long.known));
    let small = measure("a small one", 200, short, |i| scores[i as usize]);
    assert!(small.each < 90.0 && (0.9..1.1).contains(&small.known), "{} {}", small.each, small.known);
}
