//! Counters that one shard writes and everyone may read.
//!
//! Each counter has a single writer, so a bump is a plain load and store, never a locked
//! instruction; readers may see it a moment late.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Buckets of a latency histogram: two for each power of two of ticks.
pub const BUCKETS: usize = 96;

/// What one shard counts of one command.
#[derive(Debug)]
pub struct CommandMetrics {
    pub calls: Counter,
    pub ticks: Counter,
    /// Refused before it ran.
    pub rejected: Counter,
    /// Ran and answered with an error.
    pub failed: Counter,
    pub latency: [Counter; BUCKETS],
}

impl Default for CommandMetrics {
    fn default() -> CommandMetrics {
        CommandMetrics {
            calls: Counter::default(),
            ticks: Counter::default(),
            rejected: Counter::default(),
            failed: Counter::default(),
            latency: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl CommandMetrics {
    /// Counts an execution that took this many ticks.
    #[inline]
    pub fn record(&self, ticks: u64) {
        self.calls.inc();
        self.ticks.add(ticks);
        self.latency[bucket(ticks)].inc();
    }

    pub fn reset(&self) {
        self.calls.set(0);
        self.ticks.set(0);
        self.rejected.set(0);
        self.failed.set(0);
        self.latency.iter().for_each(|b| b.set(0));
    }
}

#[inline]
fn bucket(ticks: u64) -> usize {
    let top = 63 - (ticks | 1).leading_zeros() as usize;
    let half = if top == 0 { 0 } else { (ticks >> (top - 1)) as usize & 1 };
    (top * 2 + half).min(BUCKETS - 1)
}

/// The largest number of ticks that bucket `i` counts.
pub fn bucket_end(i: usize) -> u64 {
    let (top, half) = (i / 2, i as u64 % 2);
    match top {
        0 => 1,
        _ => (1u64 << top) + ((half + 1) << (top - 1)) - 1,
    }
}

/// What one shard tells of its saves.
#[derive(Debug, Default)]
pub struct Saving {
    /// When the save under way began, in seconds of unix time; 0 without one.
    pub began: Counter,
    /// One more than the seconds that the last one took, 0 before the first.
    pub took: Counter,
    /// 1 when the last one failed.
    pub failed: Counter,
    /// Background saves begun since start.
    pub saves: Counter,
    /// Changes to the data that are saved.
    pub dirty: Counter,
    /// Keys that the snapshot under way has written, and how many it will.
    pub keys_done: Counter,
    pub keys_total: Counter,
}

/// Codes of error replies that are told apart; scripts can make up any.
const ERROR_CODES: usize = 128;

/// A shard's append-only file.
#[derive(Debug, Default)]
pub struct AofMetrics {
    pub enabled: Counter,
    /// 1 when it holds all that the shard has: it is on, and no first base is being written.
    pub whole: Counter,
    /// Bytes of all its files, of its base, and of what is not written yet.
    pub current_size: Counter,
    pub base_size: Counter,
    pub buffer: Counter,
    pub syncing: Counter,
    /// Writes that did not wait for a sync any longer.
    pub delayed: Counter,
    /// The system's number of the error for which writes are refused; 0 is none.
    pub error: Counter,
    /// A rewrite is going on, since when in unix seconds, and how long the last one took, plus one.
    pub rewriting: Counter,
    pub rewrite_since: Counter,
    pub rewrite_took: Counter,
    /// Rewrites so far, and those that failed since one did not.
    pub rewrites: Counter,
    pub rewrites_failed: Counter,
}

/// What one shard tells of the data that it loads.
#[derive(Debug, Default)]
pub struct Loading {
    /// It does, since when in unix seconds; bytes to be read, and those that were.
    pub on: Counter,
    pub since: Counter,
    pub total: Counter,
    pub done: Counter,
    /// Of the last file: keys that were taken in, and that were past their time.
    pub keys: Counter,
    pub expired: Counter,
}

/// What one shard counts. Aligned so that no two shards write one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Metrics {
    pub commands: Counter,
    pub connections: Counter,
    pub clients: Counter,
    /// Clients that wait for a key, those of them that will not wait forever, and those that CLIENT PAUSE holds.
    pub blocked: Counter,
    pub paused: Counter,
    pub deadlines: Counter,
    /// Clients that keep copies; keys of which they do, and those with each client's counted for itself.
    pub tracking: Counter,
    pub tracked_keys: Counter,
    pub tracked_items: Counter,
    /// Connections that MIGRATE keeps for the next one.
    pub kept_links: Counter,
    pub rejected: Counter,
    pub net_in: Counter,
    pub net_out: Counter,
    pub hits: Counter,
    pub misses: Counter,
    pub expired: Counter,
    pub evicted: Counter,
    pub evicted_clients: Counter,
    pub error_replies: Counter,
    /// What users' rules denied: commands, keys, logins, channels.
    pub denied: [Counter; 4],
    pub forwarded: Counter,
    pub turns: Counter,
    /// Changes to the data since start.
    pub dirty: Counter,
    /// Inputs read and outputs given to the kernel.
    pub reads: Counter,
    pub writes: Counter,
    pub saving: Saving,
    /// Per second, of late: commands, bytes in, bytes out.
    pub rates: [Counter; 3],
    /// Bytes of the keyspace, of the clients' buffers, and of what is kept of the stream to replicas.
    pub data_bytes: Counter,
    pub client_bytes: Counter,
    pub stream_bytes: Counter,
    /// Bytes that the interpreters of scripts and of libraries took when they last ran.
    pub scripts_memory: Counter,
    pub functions_memory: Counter,
    /// Time above `maxmemory`, and since when if it is so now, both in ms.
    pub exceeded_ms: Counter,
    pub exceeding_since: Counter,
    /// Ticks spent on active expiry; its cycles that had too little time; and keys past their time
    /// among those it meets, of late, in millionths.
    pub expiry_ticks: Counter,
    pub expiry_cut_short: Counter,
    pub stale_ppm: Counter,
    /// Bytes of the client that costs most and may be evicted.
    pub largest_client: Counter,
    /// The largest input and output that a client had waiting of late.
    pub max_input: Counter,
    pub max_output: Counter,
    /// CPU time of this shard's thread: nanoseconds a second of late; and in all, in microseconds.
    pub busy_ns: Counter,
    pub cpu_user_us: Counter,
    pub cpu_system_us: Counter,
    pub aof: AofMetrics,
    pub loading: Loading,
    /// Error replies by their code.
    errors: Mutex<BTreeMap<Box<str>, u64>>,
    pub keys: [Counter; 16],
    pub volatile: [Counter; 16],
    per_command: Vec<CommandMetrics>,
}

impl Metrics {
    /// For a table of `commands` rows.
    pub fn new(commands: usize) -> Metrics {
        Metrics {
            per_command: (0..commands).map(|_| CommandMetrics::default()).collect(),
            ..Metrics::default()
        }
    }

    #[inline]
    pub fn command(&self, id: u16) -> &CommandMetrics {
        &self.per_command[id as usize]
    }

    /// Counts an error reply; `text` starts with its code.
    #[cold]
    pub fn error(&self, text: &[u8]) {
        self.error_replies.inc();
        let code = text.split(|b| matches!(b, b' ' | b'\r' | b'\n')).next().unwrap_or_default();
        let code = std::str::from_utf8(code).unwrap_or("ERR");
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = errors.get_mut(code) {
            *count += 1;
        } else if errors.len() < ERROR_CODES {
            errors.insert(code.into(), 1);
        }
    }

    /// Changes to the data since it was last saved.
    pub fn unsaved_changes(&self) -> u64 {
        self.dirty.get().saturating_sub(self.saving.dirty.get())
    }

    /// A step of active expiry met `examined` keys: a running average, as Redis's.
    pub fn note_stale(&self, expired: u64, examined: u64) {
        let now = (expired * 1_000_000).checked_div(examined).unwrap_or(0);
        self.stale_ppm.set(now / 20 + self.stale_ppm.get() * 19 / 20);
    }

    /// Error replies by their code.
    pub fn errors(&self) -> BTreeMap<Box<str>, u64> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// CONFIG RESETSTAT. A shard that counts at this moment may keep a few.
    pub fn reset(&self) {
        let counters = [
            &self.commands,
            &self.connections,
            &self.rejected,
            &self.net_in,
            &self.net_out,
            &self.evicted_clients,
            &self.error_replies,
            &self.forwarded,
            &self.reads,
            &self.writes,
            &self.stale_ppm,
            &self.exceeded_ms,
            &self.expiry_ticks,
            &self.expiry_cut_short,
        ];
        counters.iter().for_each(|c| c.set(0));
        self.rates.iter().chain(&self.denied).for_each(|c| c.set(0));
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.per_command.iter().for_each(CommandMetrics::reset);
    }
}

/// Threads beyond this many share the last account.
const ACCOUNTS: usize = 256;

/// Bytes on the heap, one account a thread: memory may be freed by another thread than the one that
/// asked for it, so a single account may be negative; their sum is right.
static HEAP: [Account; ACCOUNTS] = [const { Account(AtomicI64::new(0)) }; ACCOUNTS];
static NEXT_ACCOUNT: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[repr(align(128))]
struct Account(AtomicI64);

thread_local! {
    /// This thread's account plus one; 0 until it has one.
    static MINE: Cell<usize> = const { Cell::new(0) };
}

#[cold]
fn open_account() -> usize {
    let mine = NEXT_ACCOUNT.fetch_add(1, Relaxed).min(ACCOUNTS - 1);
    MINE.set(mine + 1);
    mine
}

/// Books `bytes` more (or less) on the heap. For the allocator.
#[inline]
pub fn book(bytes: i64) {
    let mine = match MINE.get() {
        0 => open_account(),
        n => n - 1,
    };
    let account = &HEAP[mine].0;
    if mine == ACCOUNTS - 1 {
        account.fetch_add(bytes, Relaxed);
    } else {
        account.store(account.load(Relaxed) + bytes, Relaxed);
    }
}

/// Bytes that the process has on its heap.
pub fn used_memory() -> usize {
    let threads = NEXT_ACCOUNT.load(Relaxed).min(ACCOUNTS);
    let mut sum: i64 = HEAP[..threads].iter().map(|a| a.0.load(Relaxed)).sum();
    if threads < ACCOUNTS {
        sum += HEAP[ACCOUNTS - 1].0.load(Relaxed);
    }
    let used = sum.max(0) as usize;
    PEAK.fetch_max(used, Relaxed);
    used
}

/// The largest that [`used_memory`] has answered.
pub fn peak_memory() -> usize {
    PEAK.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_all_ticks_in_order() {
        let mut last = 0;
        for ticks in (0..5000u64).chain([1 << 20, (1 << 40) + 5]) {
            let b = bucket(ticks);
            assert!(b >= last && ticks <= bucket_end(b), "{ticks} in {b} ends {}", bucket_end(b));
            assert!(b == 0 || ticks > bucket_end(b - 1), "{ticks} in {b}");
            last = b;
        }
    }

    #[test]
    fn memory_freed_elsewhere_balances() {
        let before = used_memory() as i64;
        book(1 << 40);
        std::thread::spawn(|| book(-(1 << 40))).join().unwrap();
        assert!((used_memory() as i64 - before).abs() < 1 << 30);
    }
}
