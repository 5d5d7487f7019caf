//! A load that overwrites all keys while something else goes on, and what memory that takes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::load::{Load, Outcome, Until};
use super::server::Server;
use super::{key, resp};

/// A load is interrupted so often, to see whether the other thing is over.
const SLICE: Duration = Duration::from_millis(250);
const LOOK: Duration = Duration::from_millis(20);

/// Looks at a server's memory now and then.
#[derive(Default)]
pub struct Watch {
    over: AtomicBool,
    most: AtomicU64,
}

impl Watch {
    /// Until [`Watch::end`].
    pub fn look(&self, server: &Server) {
        while !self.over.load(Relaxed) {
            self.most.fetch_max(server.resident(), Relaxed);
            std::thread::sleep(LOOK);
        }
    }

    pub fn end(&self) {
        self.over.store(true, Relaxed);
    }

    /// Resident bytes at the most.
    pub fn most(&self) -> u64 {
        self.most.load(Relaxed)
    }
}

/// Overwrites the keys, each once before any twice, in an order without neighbours.
pub struct Writer {
    keys: u64,
    stride: u64,
    next: u64,
    value: Vec<u8>,
    pipeline: usize,
}

impl Writer {
    /// `value`: bytes of each.
    pub fn new(keys: u64, value: usize, pipeline: usize) -> Writer {
        // prime to any number of keys that it does not divide
        let stride = 2_654_435_761 % keys;
        let stride = (stride..).find(|&s| gcd(s, keys) == 1).unwrap_or(1);
        Writer { keys, stride, next: 0, value: vec![b'y'; value], pipeline }
    }

    /// A closed loop.
    pub fn slice(&mut self, load: &mut Load, until: Until) -> Result<Outcome, String> {
        let mut make = |out: &mut Vec<u8>| {
            self.next = (self.next + self.stride) % self.keys;
            resp::put(out, &[b"SET", &key(self.next), &self.value]);
        };
        load.closed(self.pipeline, until, &mut make).map_err(|e| e.to_string())
    }

    /// Slices of it until `enough` says so of the requests made and the time taken.
    pub fn run(
        &mut self,
        load: &mut Load,
        mut enough: impl FnMut(u64, Duration) -> Result<bool, String>,
    ) -> Result<Outcome, String> {
        let begin = Instant::now();
        let mut all = Outcome::new(begin);
        let mut took = Duration::ZERO;
        loop {
            let slice = self.slice(load, Until::Time(Instant::now() + SLICE))?;
            took += slice.took;
            all.join(&slice);
            all.took = took;
            if enough(all.replies, begin.elapsed())? {
                return Ok(all);
            }
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
