//! Whole hosts in virtual time: the real plane, the real shards and the glue between them, on a
//! simulated network with simulated disks, among foreign nodes, clients and admins.
//!
//!     cargo test --test sim                       # hundreds of seeds
//!     SHOAL_SIM=17 cargo test --test sim          # one, as it went; a failing seed says so
//!     SHOAL_SIM=1000-4000 cargo test --test sim   # many
//!     SHOAL_LONG=1 cargo test --test sim          # thousands, and the large cluster
//!
//! - [`world`]: virtual time, and what happens in it; [`machine`], [`net`], [`talks`], [`faults`].
//! - [`shoal_host`]: our host; [`redis`]: a node that keeps Redis's rules, told anew.
//! - [`copies`]: replicas, and what they must have when they take over.
//! - [`script`]: how [`clients`], [`admin`]s and [`keeper`]s wait; [`history`]: what clients may see; [`keys`]: where
//!   keys are.
//! - [`checks`]: what holds at every step; [`peace`]: what holds in the end.
//! - [`marks`]: rare branches, and whether they were hit.
//! - [`scenario`]: one seed. [`crowd`]: many nodes, for figures. [`loss`]: a host with many masters is lost.

mod admin;
mod checks;
mod clients;
mod copies;
mod crowd;
mod faults;
mod history;
mod keeper;
mod keys;
mod loss;
mod machine;
mod marks;
mod net;
mod peace;
mod redis;
mod resp;
mod scenario;
mod script;
mod shoal_host;
mod talks;
mod world;

use marks::Marks;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const SEEDS: Range<u64> = 0..300;
const LONG: Range<u64> = 0..4000;

/// The seeds of this run; whether they were asked for one by one.
fn seeds() -> (Range<u64>, bool) {
    let number = |text: &str| text.parse::<u64>().expect("SHOAL_SIM is a seed, or FROM-TO");
    match std::env::var("SHOAL_SIM") {
        Ok(text) => match text.split_once('-') {
            Some((from, to)) => (number(from)..number(to), true),
            None => (number(&text)..number(&text) + 1, true),
        },
        Err(_) if std::env::var_os("SHOAL_LONG").is_some() => (LONG, false),
        Err(_) => (SEEDS, false),
    }
}

#[test]
fn peace_follows_storms() {
    let (seeds, chosen) = seeds();
    let began = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let sum: Mutex<(Marks, u64, u64)> = Mutex::default();
    let failed: Mutex<Vec<u64>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(2));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) || failed.lock().expect("no panic holds it").len() > 3 {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| scenario::run(seed))) {
                        Ok(outcome) => {
                            let mut sum = sum.lock().expect("no panic holds it");
                            sum.0.add(&outcome.marks);
                            sum.1 += outcome.acknowledged;
                            sum.2 += outcome.read;
                        }
                        Err(_) => {
                            eprintln!("seed {seed} failed: SHOAL_SIM={seed} cargo test --test sim");
                            failed.lock().expect("no panic holds it").push(seed);
                        }
                    }
                }
            });
        }
    });
    let (marks, acknowledged, read) = sum.into_inner().expect("no panic holds it");
    let failed = failed.into_inner().expect("no panic holds it");
    println!("{}", marks.table());
    let (count, seconds) = (seeds.end - seeds.start, began.elapsed().as_secs());
    println!("{count} seeds, {acknowledged} writes acknowledged, {read} reads checked, {seconds} s");
    assert!(failed.is_empty(), "failed: {}", replay(&failed));
    if !chosen {
        assert_eq!(marks.missing(seeds == LONG), [""; 0], "no seed has hit these marks");
    }
}

fn replay(failed: &[u64]) -> String {
    let lines = failed.iter().map(|seed| format!("SHOAL_SIM={seed} cargo test --test sim"));
    lines.collect::<Vec<_>>().join("; ")
}

#[test]
fn equal_seeds_give_equal_runs() {
    for seed in [0, 3] {
        let (one, other) = (scenario::run(seed), scenario::run(seed));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.marks.table(), other.marks.table(), "seed {seed}");
    }
    assert_ne!(scenario::run(1).trace, scenario::run(2).trace);
}
