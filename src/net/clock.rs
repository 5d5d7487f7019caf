//! The only source of time and of seeds.

use crate::shard::{Now, Ticks};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time of a turn.
pub fn now() -> Now {
    Now { unix_us: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64) }
}

/// A number that no other start of the process will see again.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u64(now().unix_us);
    hasher.finish()
}

#[cfg(target_arch = "x86_64")]
fn read_ticks() -> u64 {
    // SAFETY: reading the time stamp counter has no precondition and no side effect.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn read_ticks() -> u64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The cheapest clock for single commands, measured against the system's for a moment.
pub fn ticks() -> Ticks {
    let (start, first) = (Instant::now(), read_ticks());
    while start.elapsed() < Duration::from_millis(3) {
        std::hint::spin_loop();
    }
    let us = start.elapsed().as_nanos() as f64 / 1000.0;
    Ticks { read: read_ticks, per_us: (read_ticks() - first) as f64 / us }
}
