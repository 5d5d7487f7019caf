//! Who was kept from a core: threads that could run, and had to wait for one.
//!
//! On a machine with few cores a long wait is more often the scheduler's than the server's. The kernel
//! counts for each thread how long it was kept; this counts along, so that a wait can be told apart.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Between two looks, and how many are remembered: long enough for the longest wait of a bench.
const PAUSE: Duration = Duration::from_micros(500);
const KEPT: usize = 20_000;

pub struct Delays {
    threads: Vec<File>,
    /// What all of them had waited when we looked, oldest first.
    looks: VecDeque<(Instant, u64)>,
}

impl Delays {
    /// Of a process's threads whose names begin so, and of the calling thread.
    pub fn of(pid: u32, names: &str) -> io::Result<Delays> {
        let mut threads = vec![File::open("/proc/thread-self/schedstat")?];
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = thread?.path();
            if std::fs::read_to_string(path.join("comm"))?.starts_with(names) {
                threads.push(File::open(path.join("schedstat"))?);
            }
        }
        let mut delays = Delays { threads, looks: VecDeque::new() };
        delays.looks.push_back((Instant::now(), delays.sum()));
        Ok(delays)
    }

    /// Nanoseconds that all of them have waited so far.
    fn sum(&self) -> u64 {
        let waited = |thread: &File| {
            let mut text = [0; 96];
            let len = thread.read_at(&mut text, 0).ok()?;
            std::str::from_utf8(&text[..len]).ok()?.split(' ').nth(1)?.parse::<u64>().ok()
        };
        self.threads.iter().filter_map(waited).sum()
    }

    /// To be called all the time.
    pub fn look(&mut self) {
        let now = Instant::now();
        if self.looks.back().is_some_and(|(last, _)| now - *last < PAUSE) {
            return;
        }
        if self.looks.len() == KEPT {
            self.looks.pop_front();
        }
        self.looks.push_back((now, self.sum()));
    }

    /// How long they were kept from a core since then, all together; counted from a look just before.
    pub fn since(&self, begin: Instant) -> Duration {
        let after = self.looks.partition_point(|(at, _)| *at <= begin);
        let before = self.looks[after.saturating_sub(1)].1;
        Duration::from_nanos(self.sum() - before)
    }
}
