//! The store by itself: lookups cold and in prefetched batches, inserts, overwrites on 1M keys.
//!
//! `cargo bench --bench store` measures with criterion. `cargo bench --bench store -- stall`
//! loads one slot with 10M keys and prints the longest inserts; `-- memory` loads 5M keys over
//! all slots and prints bytes a key, counted and resident.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use shoal::store::{Clock, Hasher, Key, Keyspace, Look, Ttl};
use shoal::util::rng::Rng;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 1_000_000;
const BATCH: usize = 16;
const VALUE: [u8; 32] = [b'v'; 32];

fn name(n: u64) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(n).as_bytes();
    name[16 - digits.len()..].copy_from_slice(digits);
    name
}

fn clock() -> Clock {
    Clock::at(1_700_000_000_000)
}

fn loaded(keys: u64) -> Box<Keyspace> {
    let mut keyspace = Keyspace::new(1, Hasher::new(7), 7);
    let db = keyspace.db_mut(0);
    for n in 0..keys {
        db.set_str(&db.key(&name(n)), &VALUE, Ttl::Clear, &clock());
    }
    keyspace
}

/// Random names, made outside of what is measured.
fn names(rng: &mut Rng, n: usize) -> Vec<[u8; 16]> {
    (0..n).map(|_| name(rng.below(KEYS))).collect()
}

fn lookups(c: &mut Criterion) {
    let mut keyspace = loaded(KEYS);
    let db = keyspace.db_mut(0);
    let names = names(&mut Rng::new(1), 1 << 20);
    let mut group = c.benchmark_group("get");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut at = 0;
    let mut next = || {
        at = (at + BATCH) % names.len();
        &names[at..at + BATCH]
    };
    group.bench_function("one by one", |b| {
        b.iter(|| {
            for name in next() {
                let key = db.key(name);
                black_box(db.find(&key, Look::Read, &clock()).map(|e| e.key()[0]));
            }
        })
    });
    group.bench_function("batch of 16", |b| {
        b.iter(|| {
            let names = next();
            let keys: [Key; BATCH] = std::array::from_fn(|i| db.key(&names[i]));
            keys.iter().for_each(|key| db.prefetch_bucket(key.slot, key.hash));
            keys.iter().filter(|key| db.prefetch_entry(key.slot, key.hash)).for_each(|key| {
                db.prefetch_chained(key.slot, key.hash);
            });
            for key in &keys {
                black_box(db.find(key, Look::Read, &clock()).map(|e| e.key()[0]));
            }
        })
    });
    group.finish();
    let mut group = c.benchmark_group("set");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("overwrite", |b| {
        b.iter(|| {
            for name in next() {
                let key = db.key(name);
                black_box(db.set_str(&key, &VALUE, Ttl::Clear, &clock()));
            }
        })
    });
    group.finish();
}

fn inserts(c: &mut Criterion) {
    let mut group = c.benchmark_group("set");
    group.throughput(Throughput::Elements(1));
    group.bench_function("insert", |b| {
        b.iter_custom(|n| {
            let mut spent = Duration::ZERO;
            let mut left = n;
            while left > 0 {
                let keys = left.min(KEYS);
                let start = Instant::now();
                let keyspace = loaded(keys);
                spent += start.elapsed();
                drop(keyspace);
                left -= keys;
            }
            spent
        })
    });
    group.finish();
}

/// Every insert timed; the machine's own interruptions are in it, so the runs of a few are shown.
fn stall() {
    let mut keyspace = Keyspace::new(1, Hasher::new(7), 7);
    let db = keyspace.db_mut(0);
    let mut times: Vec<(u32, u32)> = Vec::with_capacity(10_000_000);
    let start = Instant::now();
    for n in 0..10_000_000u32 {
        let name = format!("{{one}}{n:011}");
        let key = db.key(name.as_bytes());
        let before = Instant::now();
        db.set_str(&key, &VALUE, Ttl::Clear, &clock());
        times.push((before.elapsed().as_nanos() as u32, n));
    }
    println!("10M inserts into one slot in {:?}", start.elapsed());
    times.sort_unstable();
    for share in [0.5, 0.99, 0.999, 0.9999, 0.99999, 0.999999] {
        println!("{share}: {} ns", times[(times.len() as f64 * share) as usize].0);
    }
    for (ns, n) in times.iter().rev().take(10) {
        println!("{ns} ns at insert {n}");
    }
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("linux");
    status.split(' ').nth(1).expect("statm").parse::<usize>().expect("statm") * 4096
}

fn memory() {
    let before = resident();
    for keys in [1_000_000, 2_000_000, 3_500_000, 5_000_000u64] {
        let keyspace = loaded(keys);
        let counted = keyspace.bytes() as f64 / keys as f64;
        let real = (resident() - before) as f64 / keys as f64;
        println!("{keys} keys: {counted:.1} bytes a key counted, {real:.1} resident");
        drop(keyspace);
    }
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("stall") => stall(),
        Some("memory") => memory(),
        _ => {
            let mut criterion = Criterion::default().sample_size(30).configure_from_args();
            lookups(&mut criterion);
            inserts(&mut criterion);
            criterion.final_summary();
        }
    }
}
