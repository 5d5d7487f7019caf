//! The longest that one command keeps its shard: every SET timed by itself, inside the shard, with the
//! server's allocator, and with ticks and chores in between as the executor drives them.
//!
//! `cargo bench --bench stall` loads 10M keys; lets 1M keys expire at once; writes while keys are evicted by
//! LRU and by LFU. It exits with 1 when one step ran for more than a millisecond, and when expired keys stay or
//! memory stays above its bound: no stall by leaving the work undone.
//!
//! Other processes, the scheduler and a hypervisor stop a thread at any instruction, for milliseconds, and no
//! clock tells all of that from work. So each part runs several times, in processes forked from the same
//! state, and each run does the very same: its shard is told the times that the first one read (see
//! [`tape`]), and runs that differ in anything end the bench. A step that is long by what it does is long in
//! every run; the shortest of its times is the most that the shard itself can have taken for it.

mod rig;
mod tape;
mod warm;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use shoal::config::Config;
use shoal::config::types::MaxmemoryPolicy;
use shoal::util::rng::Rng;

use rig::Rig;
use tape::{same, shared};
use warm::Warm;
use watch::{Board, Times};

#[global_allocator]
static HEAP: shoal::net::heap::Counting<mimalloc::MiMalloc> = shoal::net::heap::Counting(mimalloc::MiMalloc);

/// Times every SET inside a shard and looks for stalls.
#[derive(Parser)]
struct Args {
    #[arg(long, value_enum, value_delimiter = ',', default_value = "load,expire,lru,lfu")]
    only: Vec<Part>,
    /// Keys to load; the other parts take a share of it
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
    /// Longest that a command, a tick or a step of chores may take, in microseconds
    #[arg(long, default_value_t = 1000)]
    limit: u64,
    /// Runs of each part
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Runs of a part at most while a step was too long in all of them: the busier the machine, the more it takes
    #[arg(long, default_value_t = 16)]
    most: usize,
    /// Longest to wait for expired keys to be gone, in seconds
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Without transparent huge pages, whatever the host gives
    #[arg(long)]
    no_thp: bool,
    /// Without memory that was touched before: what a virtual machine's hypervisor takes for it counts
    #[arg(long)]
    cold: bool,
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    Load,
    Expire,
    Lru,
    Lfu,
}

/// How far memory may be above its bound while keys are written and evicted.
const OVER: i64 = 1 << 20;
/// What a key of the parts takes at most, all told.
const KEY_BYTES: u64 = 128;
/// Steps of one kind, and readings of clocks, that have room for each key.
const STEPS_A_KEY: usize = 8;
const READINGS_A_KEY: usize = 64;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.no_thp {
        // SAFETY: the call takes no pointers.
        let done = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
        assert_eq!(done, 0, "every kernel that runs Shoal knows this");
    }
    shoal::net::heap::leave_purging_to_caller();
    tape::set_clock();
    let limit = Duration::from_micros(args.limit);
    println!("the shortest time of each step in runs that are the same, microseconds\n\n{}", watch::HEAD);
    let mut long = Vec::new();
    for &part in &args.only {
        let board = Board::new(args.keys as usize * STEPS_A_KEY, args.runs.max(args.most));
        let words = shared(args.keys as usize * READINGS_A_KEY);
        let mut runs = 0;
        while runs < args.runs || runs < args.most && board.longest() > limit {
            if !forked(|| {
                tape::insert(words, runs == 0);
                part.run(&args, Times::new(&board, runs))
            }) {
                eprintln!("run {runs} of {part:?} failed");
                return ExitCode::FAILURE;
            }
            runs += 1;
        }
        board.print(&format!("{part:?}").to_lowercase(), runs);
        if board.longest() > limit {
            long.push(format!("{part:?} has a step of {:?}, in every run", board.longest()));
        }
    }
    println!();
    long.iter().for_each(|what| println!("{what}"));
    if long.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs `work` in a process of its own, which begins as a copy of this one. Whether it came to its end.
fn forked(work: impl FnOnce()) -> bool {
    // SAFETY: this process has one thread, so the copy lacks none and nobody holds a lock in it.
    match unsafe { fork() }.expect("there is room for a process") {
        ForkResult::Parent { child } => waitpid(child, None) == Ok(WaitStatus::Exited(child, 0)),
        ForkResult::Child => {
            work();
            std::process::exit(0);
        }
    }
}

impl Part {
    fn run(self, args: &Args, times: Times) {
        match self {
            Part::Load => load(args, times),
            Part::Expire => expire(args, times),
            Part::Lru => evict(args, times, MaxmemoryPolicy::AllkeysLru),
            Part::Lfu => evict(args, times, MaxmemoryPolicy::AllkeysLfu),
        }
    }
}

/// A rig that will have as many keys.
fn rig(args: &Args, times: Times, keys: u64, change: impl FnOnce(&mut Config)) -> Rig {
    Rig::new(times, (!args.cold).then(|| Warm::new(keys * KEY_BYTES)), change)
}

/// Makes sure that all went as in the first run.
fn finish(mut rig: Rig) {
    same("keys", rig.keys());
    rig.times.end();
}

fn load(args: &Args, times: Times) {
    let mut rig = rig(args, times, args.keys, |_| ());
    rig.times.start();
    for n in 0..args.keys {
        rig.set(&format!("key:{n:012}"));
    }
    assert_eq!(rig.keys(), args.keys);
    finish(rig);
}

/// A tenth of the keys lasts, another tenth expires in one moment; SETs of lasting keys go on until
/// no expired key is left.
fn expire(args: &Args, times: Times) {
    const HOUR: Duration = Duration::from_secs(3600);
    let keys = args.keys / 10;
    let mut rig = rig(args, times, 2 * keys, |_| ());
    let soon = rig.now().ms() + HOUR.as_millis() as u64;
    for n in 0..keys {
        rig.set(&format!("key:{n:012}"));
        rig.set_until(&format!("brief:{n:010}"), soon);
    }
    rig.leap(HOUR + Duration::from_secs(1));
    rig.times.start();
    let mut rng = Rng::new(3);
    let end = rig.now().ms() + args.patience * 1000;
    while rig.keys() > keys {
        assert!(rig.now().ms() < end, "{} expired keys are left", rig.keys() - keys);
        for _ in 0..1000 {
            rig.set(&format!("key:{:012}", rng.below(keys)));
        }
    }
    finish(rig);
}

/// New keys while memory is full, then while its bound is a quarter lower at one stroke.
fn evict(args: &Args, times: Times, policy: MaxmemoryPolicy) {
    let keys = args.keys / 5;
    let mut rig = rig(args, times, keys, |conf| conf.maxmemory_policy = policy);
    for n in 0..keys {
        rig.set(&format!("old:{n:012}"));
    }
    let full = shoal::metrics::used_memory() as u64;
    let lower = full / 4 * 3;
    rig.host.live.update(|conf| conf.maxmemory = full);
    rig.times.start();
    let mut most_over = 0;
    for n in 0..keys {
        if n == keys / 2 {
            rig.host.live.update(|conf| conf.maxmemory = lower);
        }
        rig.set(&format!("new:{n:012}"));
        if n < keys / 2 && n % 1000 == 0 {
            most_over = most_over.max(shoal::metrics::used_memory() as i64 - full as i64);
        }
    }
    most_over = most_over.max(shoal::metrics::used_memory() as i64 - lower as i64);
    assert!(most_over <= OVER, "memory is {most_over} bytes above its bound");
    finish(rig);
}
