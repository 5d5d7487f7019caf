//! The times of a part's steps, each the shortest of all its runs.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::tape::{Shared, shared};

/// What is timed.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Command,
    Tick,
    Chores,
    /// A command, and the tick and the chores behind it: what the next command may have to wait for.
    Turn,
}

const KINDS: [(Kind, &str); 4] =
    [(Kind::Command, "SETs"), (Kind::Tick, "ticks"), (Kind::Chores, "chores"), (Kind::Turn, "turns")];
const SHARES: [f64; 5] = [0.5, 0.99, 0.999, 0.9999, 0.99999];
const LONGEST_NS: u64 = 60_000_000_000;

pub const HEAD: &str = "\
| part | what | p50 | p99 | p99.9 | p99.99 | p99.999 | longest | at step | longest of each run |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|";

/// The times of a part's steps, in nanoseconds.
pub struct Board {
    /// Of each kind how many steps there are, then the shortest time of each.
    steps: [Shared; KINDS.len()],
    /// Of each run the longest of each kind.
    longest: Vec<Shared>,
}

impl Board {
    /// For as many steps of each kind, and runs.
    pub fn new(steps: usize, runs: usize) -> Board {
        Board {
            steps: KINDS.map(|_| shared(steps + 1)),
            longest: (0..runs).map(|_| shared(KINDS.len())).collect(),
        }
    }

    /// The longest of all.
    pub fn longest(&self) -> Duration {
        let all = self.steps.iter().flat_map(|steps| times(steps));
        Duration::from_nanos(all.max().unwrap_or(0))
    }

    /// A line of the table for each kind of step.
    pub fn print(&self, part: &str, runs: usize) {
        let us = |ns: u64| match ns as f64 / 1e3 {
            us if us < 10.0 => format!("{us:.2}"),
            us if us < 100.0 => format!("{us:.1}"),
            us => format!("{us:.0}"),
        };
        for (kind, name) in KINDS {
            let steps = self.steps[kind as usize];
            let mut seen = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3).expect("bounds in order");
            times(steps).for_each(|ns| seen.saturating_record(ns));
            let Some((at, longest)) = times(steps).enumerate().max_by_key(|(_, ns)| *ns) else { continue };
            let shares = SHARES.map(|share| us(seen.value_at_quantile(share))).join(" | ");
            let each: Vec<String> =
                self.longest[..runs].iter().map(|run| us(run[kind as usize].load(Relaxed))).collect();
            let (count, longest) = (seen.len(), us(longest));
            println!("| {part} | {count} {name} | {shares} | {longest} | {at} | {} |", each.join(", "));
        }
    }
}

fn times(steps: Shared) -> impl Iterator<Item = u64> {
    let count = steps[0].load(Relaxed) as usize;
    steps[1..=count].iter().map(|time| time.load(Relaxed))
}

/// One run's hand on the board.
pub struct Times {
    steps: [Shared; KINDS.len()],
    longest: Shared,
    counts: [usize; KINDS.len()],
    run: usize,
    on: bool,
}

impl Times {
    /// Nothing is recorded before [`Times::start`].
    pub fn new(board: &Board, run: usize) -> Times {
        Times { steps: board.steps, longest: board.longest[run], counts: [0; KINDS.len()], run, on: false }
    }

    pub fn start(&mut self) {
        self.on = true;
    }

    #[inline]
    pub fn time<T>(&mut self, kind: Kind, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let out = work();
        self.record(kind, begin.elapsed());
        out
    }

    #[inline]
    pub fn record(&mut self, kind: Kind, took: Duration) {
        if !self.on {
            return;
        }
        let (kind, ns) = (kind as usize, took.as_nanos() as u64);
        self.counts[kind] += 1;
        let step = &self.steps[kind][self.counts[kind]];
        let before = if self.run == 0 { u64::MAX } else { step.load(Relaxed) };
        step.store(before.min(ns), Relaxed);
        self.longest[kind].fetch_max(ns, Relaxed);
    }

    /// The run is over, and had as many steps as the first.
    pub fn end(self) {
        for (steps, count) in self.steps.iter().zip(self.counts) {
            if self.run == 0 {
                steps[0].store(count as u64, Relaxed);
            }
            assert_eq!(steps[0].load(Relaxed), count as u64, "every run has the same steps");
        }
    }
}
