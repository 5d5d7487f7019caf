//! What makes all runs of a part the same: what a shard reads of the clocks is recorded in the first run, and
//! told again in the others. All else that it depends on is an argument.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use shoal::shard::Ticks;

/// Words that this process shares with those that it forks. At first they are 0, and take no memory.
pub type Shared = &'static [AtomicU64];

/// They stay until the process ends.
pub fn shared(words: usize) -> Shared {
    // SAFETY: a new mapping touches nothing that exists; it is zeroed, large enough, aligned to a page, and
    // never unmapped. Other processes change it, for which atomics are.
    unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let at = libc::mmap(std::ptr::null_mut(), words * size_of::<u64>(), access, kind, -1, 0);
        assert_ne!(at, libc::MAP_FAILED, "there are addresses enough");
        std::slice::from_raw_parts(at.cast(), words)
    }
}

struct Tape {
    words: Shared,
    at: usize,
    records: bool,
}

thread_local! {
    static TAPE: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// From here on this thread records on `words`, or is told what is there.
pub fn insert(words: Shared, records: bool) {
    TAPE.set(Some(Tape { words, at: 0, records }));
}

/// What `read` says, or said when that was recorded.
pub fn told(read: impl FnOnce() -> u64) -> u64 {
    TAPE.with_borrow_mut(|tape| {
        let tape = tape.as_mut().expect("there is a tape in every run");
        let word = &tape.words[tape.at];
        tape.at += 1;
        if tape.records {
            word.store(read(), Relaxed);
        }
        word.load(Relaxed)
    })
}

/// Makes sure that a run is what it was when it was recorded.
pub fn same(what: &str, state: u64) {
    assert_eq!(state, told(|| state), "{what}: not the run that was recorded");
}

fn clock() -> Ticks {
    static CLOCK: OnceLock<Ticks> = OnceLock::new();
    *CLOCK.get_or_init(shoal::net::clock::ticks)
}

/// The shard's clock for single commands.
pub fn ticks() -> Ticks {
    Ticks { read: || told(|| (clock().read)()), ..clock() }
}

/// Measures that clock, once for all runs.
pub fn set_clock() {
    clock();
}
