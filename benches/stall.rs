//! The longest that one command keeps its shard: every SET timed by itself, inside the shard, with the
//! server's allocator, and with ticks and chores in between as the executor drives them.
//!
//! `cargo bench --bench stall` loads 10M keys; lets 1M keys expire at once; writes while keys are evicted
//! by LRU and by LFU. It prints how long commands, ticks and chores took, and the longest of each. It
//! exits with 1 when one ran for more than a millisecond; what took longer only by the clock was the
//! scheduler's doing, or the hypervisor's, and is named as such. It exits with 1 too when expired keys stay
//! or memory stays above its bound: no stall by leaving the work undone.
//!
//! What a virtual machine adds is taken out in three ways: see [`Warm`] and [`Beats`]; and a part in which
//! something took too long is run again, a few times at most, for what is the shard's own comes again: each
//! run has the same commands, and the best one counts. All are printed.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use hdrhistogram::Histogram;
use nix::sys::resource::{UsageWho, getrusage};
use shoal::cluster::view::{Node, View};
use shoal::command::host::Host;
use shoal::config::Config;
use shoal::config::types::MaxmemoryPolicy;
use shoal::session::Door;
use shoal::shard::{Input, Now, Setup, Shard};
use shoal::store::{Garbage, Hasher};
use shoal::util::rng::Rng;

#[global_allocator]
static HEAP: shoal::net::heap::Counting<mimalloc::MiMalloc> = shoal::net::heap::Counting(mimalloc::MiMalloc);

/// Times every SET inside a shard and looks for stalls.
#[derive(Parser)]
struct Args {
    #[arg(long, value_enum, value_delimiter = ',', default_value = "nothing,load,expire,lru,lfu")]
    only: Vec<Part>,
    /// Keys to load; the other parts take a share of it
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
    /// Longest that a command, a tick or a step of chores may take, in microseconds
    #[arg(long, default_value_t = 1000)]
    limit: u64,
    /// Runs of a part that has stalls
    #[arg(long, default_value_t = 3)]
    tries: usize,
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
    /// What the machine itself holds up, in a loop that does nothing; not counted
    Nothing,
    Load,
    Expire,
    Lru,
    Lfu,
}

const VALUE: [u8; 32] = [b'v'; 32];
const SHARES: [(&str, f64); 5] =
    [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("p99.999", 0.99999)];
/// The longest that are shown of each kind.
const SHOWN: usize = 5;
const LONGEST_NS: u64 = 60_000_000_000;
/// How far memory may be above its bound while keys are written and evicted.
const OVER: i64 = 1 << 20;
const HUGE_PAGE: usize = 2 << 20;
/// What a key of the parts takes at most, all told.
const KEY_BYTES: u64 = 128;
/// Warm memory for each byte that a part will need: not every page that is given back comes to the shard.
const WARM_SHARE: usize = 2;
/// How much warm memory the kernel has before the shard needs it.
const WARM_AHEAD: usize = 128 << 20;
/// Between two beats of a running thread.
const BEAT: Duration = Duration::from_micros(250);

/// What a part measured.
struct Done {
    watches: Vec<Watch>,
    /// What it found left undone, in words.
    undone: Option<String>,
}

impl Part {
    fn run(self, args: &Args) -> Done {
        match self {
            Part::Nothing => Done { watches: vec![nothing(args.keys)], undone: None },
            Part::Load => load(args),
            Part::Expire => expire(args),
            Part::Lru => evict(args, MaxmemoryPolicy::AllkeysLru),
            Part::Lfu => evict(args, MaxmemoryPolicy::AllkeysLfu),
        }
    }
}

impl Done {
    /// Returns the longest of all that it measured.
    fn print(&self, limit: Duration) -> Duration {
        self.watches.iter().for_each(|watch| watch.print(limit));
        println!();
        self.watches.iter().map(|watch| watch.worst).max().unwrap_or_default()
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.no_thp {
        // SAFETY: the call takes no pointers.
        let done = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
        assert_eq!(done, 0, "every kernel that runs Shoal knows this");
    }
    shoal::net::heap::leave_purging_to_caller();
    let limit = Duration::from_micros(args.limit);
    let mut worst = Duration::ZERO;
    let mut undone = Vec::new();
    for &part in &args.only {
        let mut best = Duration::MAX;
        for _ in 0..args.tries.max(1) {
            let done = part.run(&args);
            let longest = done.print(limit);
            best = best.min(longest);
            undone.extend(done.undone.map(|what| format!("{part:?}: {what}")));
            if longest <= limit || matches!(part, Part::Nothing) {
                break;
            }
        }
        if !matches!(part, Part::Nothing) {
            worst = worst.max(best);
        }
    }
    println!("the longest of all: {:.1} us of the shard's own", worst.as_nanos() as f64 / 1e3);
    if BEATS.with(Option::is_none) {
        println!("the kernel gives no beats: a pause of the whole machine counts as the shard's own");
    }
    undone.iter().for_each(|what| println!("left undone: {what}"));
    if worst > limit || !undone.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What this thread has used so far.
struct Used {
    /// Stands still while others run in its place.
    cpu: Duration,
    /// Pages that the kernel had to find for it.
    faults: i64,
    /// How often another thread was put in its place.
    switches: i64,
    /// How often the timer that beats while it runs has beaten.
    beats: u64,
}

fn used() -> Used {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("every kernel knows of threads");
    let (faults, switches) = (usage.minor_page_faults(), usage.involuntary_context_switches());
    let beats = BEATS.with(|beats| beats.as_ref().map_or(0, Beats::count));
    Used { cpu: cpu(), faults, switches, beats }
}

/// A timer of the kernel that goes off every [`BEAT`] while the thread runs, in the kernel too.
///
/// A virtual machine's core can be stopped at any instruction, when the hypervisor needs it or looks for
/// a page: to the machine, CPU time passes. But a core that is stopped takes no interrupts: a thread that
/// ran for a millisecond had four beats, one that stood still has one or two.
struct Beats {
    /// The first page of the ring that the kernel writes samples to.
    ring: *mut u64,
}

/// Where the ring's head and tail stand in its first page, in words, and the bytes of a sample.
const HEAD: usize = 1024 / 8;
const TAIL: usize = HEAD + 1;
const SAMPLE: u64 = 16;

thread_local! {
    static BEATS: Option<Beats> = Beats::start();
}

impl Beats {
    /// `None` where the kernel doesn't allow it.
    fn start() -> Option<Beats> {
        // perf_event_attr, its first version: a software event, the CPU's clock; a sample each BEAT with
        // nothing but the instruction's address
        let (software, size, cpu_clock, address) = (1u64, 64u64, 0, 1);
        let attr = [software | size << 32, cpu_clock, BEAT.as_nanos() as u64, address, 0, 0, 0, 0];
        // SAFETY: the kernel reads as many bytes as `size` says; the mapping is new and outlives the thread.
        let ring = unsafe {
            let fd = libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), 0, -1, -1, 0);
            if fd < 0 {
                return None;
            }
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), 2 * page, access, libc::MAP_SHARED, fd as i32, 0)
        };
        (ring != libc::MAP_FAILED).then_some(Beats { ring: ring.cast() })
    }

    fn count(&self) -> u64 {
        // SAFETY: both words lie in the ring's first page; the kernel writes the one and reads the other.
        unsafe {
            let head = self.ring.add(HEAD).read_volatile();
            self.ring.add(TAIL).write_volatile(head);
            head / SAMPLE
        }
    }
}

fn cpu() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live struct, which the call fills.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    assert_eq!(done, 0, "every kernel has this clock");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Something that took long.
struct Stall {
    wall: Duration,
    used: Used,
    /// The longest that the thread can have run in it.
    own: Duration,
    /// How many came before it.
    after: u64,
}

/// The begin of something that is timed.
struct Begin {
    used: Used,
    at: Instant,
}

fn begin() -> Begin {
    Begin { used: used(), at: Instant::now() }
}

/// The times of one kind of thing.
struct Watch {
    name: &'static str,
    wall: Histogram<u64>,
    cpu: Histogram<u64>,
    /// Longest first.
    longest: Vec<Stall>,
    /// Longest that the thread can have run in one of them.
    worst: Duration,
}

impl Watch {
    fn new(name: &'static str) -> Watch {
        let empty = || Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are in order");
        Watch { name, wall: empty(), cpu: empty(), longest: Vec::new(), worst: Duration::ZERO }
    }

    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begin = begin();
        let out = work();
        self.end(begin);
        out
    }

    fn end(&mut self, begin: Begin) {
        let wall = begin.at.elapsed();
        let before = begin.used;
        self.cpu.saturating_record((cpu() - before.cpu).as_nanos() as u64);
        if self.longest.len() < SHOWN || wall > self.longest[SHOWN - 1].wall || wall > self.worst {
            let mut used = used();
            used.cpu -= before.cpu;
            used.faults -= before.faults;
            used.switches -= before.switches;
            used.beats -= before.beats;
            let own = match BEATS.with(Option::is_some) {
                true => wall.min(used.cpu).min(BEAT * (used.beats as u32 + 1)),
                false => wall.min(used.cpu),
            };
            self.worst = self.worst.max(own);
            let at = self.longest.partition_point(|stall| stall.wall > wall);
            self.longest.insert(at, Stall { wall, used, own, after: self.wall.len() });
            self.longest.truncate(SHOWN);
        }
        self.wall.saturating_record(wall.as_nanos() as u64);
    }

    fn print(&self, limit: Duration) {
        let us = |ns: u64| ns as f64 / 1000.0;
        println!("  {} {}, microseconds:", self.wall.len(), self.name);
        for (clock, times) in [("the clock", &self.wall), ("CPU time", &self.cpu)] {
            let line =
                SHARES.map(|(name, share)| format!("{name} {:.2}", us(times.value_at_quantile(share))));
            println!("    by {clock:9}  {}  max {:.1}", line.join("  "), us(times.max()));
        }
        for stall in &self.longest {
            let verdict = match (stall.wall > limit, stall.own > limit, stall.used.cpu > limit) {
                (true, true, _) => "  <- a stall",
                (true, false, true) => "  <- the hypervisor's",
                (true, false, false) => "  <- the scheduler's",
                _ => "",
            };
            println!(
                "    {:8.1} us on the clock, {:8.1} us of CPU, {} beats, {} page faults, {} switches, after \
                 {}{verdict}",
                us(stall.wall.as_nanos() as u64),
                us(stall.used.cpu.as_nanos() as u64),
                stall.used.beats,
                stall.used.faults,
                stall.used.switches,
                stall.after
            );
        }
    }
}

/// Memory that the hypervisor has lent this machine already.
///
/// The first touch of memory that a virtual machine has not used yet, or has reported as free, waits until
/// the hypervisor has found some: milliseconds for a huge page. That is neither the shard's doing nor the
/// kernel's, and it is no measure of either, so these pages are touched beforehand and given back bit by
/// bit as the shard grows. Not all at once: what lies free for some seconds goes back to the hypervisor.
/// The shard itself takes its pages as ever, with a fault each, and the kernel clears them.
struct Warm {
    at: *mut libc::c_void,
    bytes: usize,
    /// How much of it the kernel has again.
    given: usize,
    /// What the process had when this began.
    used: usize,
}

impl Warm {
    /// Touches as much as `bytes` and prints what that took at first, and once more with the same memory.
    fn new(bytes: u64) -> Warm {
        let pages = (bytes as usize * WARM_SHARE + WARM_AHEAD).min(available() / 2).div_ceil(HUGE_PAGE);
        let mut warm = Warm { at: std::ptr::null_mut(), bytes: 0, given: 0, used: 0 };
        for round in ["first", "later"] {
            warm = Warm::map(pages);
            let mut took = Watch::new("touches");
            for page in 0..pages {
                // SAFETY: the mapping has that many huge pages.
                took.time(|| unsafe { warm.at.byte_add(page * HUGE_PAGE).cast::<u8>().write_volatile(1) });
            }
            println!(
                "  {pages} huge pages, {round} touch: mean {:.0} us, longest {:.0} us",
                took.wall.mean() / 1e3,
                took.wall.max() as f64 / 1e3
            );
        }
        warm
    }

    fn map(pages: usize) -> Warm {
        let (bytes, used) = (pages * HUGE_PAGE, shoal::metrics::used_memory());
        // SAFETY: a new mapping touches nothing that exists; advice to the kernel changes no contents.
        let at = unsafe {
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let at = libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0);
            assert_ne!(at, libc::MAP_FAILED, "there is that much memory");
            libc::madvise(at, bytes, libc::MADV_HUGEPAGE);
            at
        };
        Warm { at, bytes, given: 0, used }
    }

    /// Gives the kernel what the shard may need next.
    fn give(&mut self) {
        let grown = shoal::metrics::used_memory().saturating_sub(self.used);
        let due = (grown * WARM_SHARE + WARM_AHEAD).min(self.bytes) / HUGE_PAGE * HUGE_PAGE;
        if due > self.given {
            self.unmap(due - self.given);
        }
    }

    fn unmap(&mut self, bytes: usize) {
        // SAFETY: this part of the mapping is unmapped once, and nobody else knows of it.
        let done = unsafe { libc::munmap(self.at.byte_add(self.given), bytes) };
        assert_eq!(done, 0, "it is mapped");
        self.given += bytes;
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        if self.given < self.bytes {
            self.unmap(self.bytes - self.given);
        }
    }
}

/// Bytes that the machine can spare.
fn available() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").expect("Linux has it");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).expect("since Linux 3.14");
    let kb: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kb << 10
}

/// What the server's thread does that belongs to no shard: frees what is big, gives memory back.
fn tidy(inbox: &Receiver<Vec<Garbage>>) {
    const EVERY: Duration = Duration::from_secs(1);
    let mut next = Instant::now() + EVERY;
    loop {
        match inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(garbage) => drop(garbage),
            Err(RecvTimeoutError::Timeout) => {
                shoal::net::heap::purge();
                next = Instant::now() + EVERY;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A shard with one client, driven as the executor drives it.
struct Rig {
    host: Arc<Host>,
    shard: Shard,
    client: u32,
    begin: Instant,
    /// Microseconds of Unix time at `begin`; leaps when a part wants time to pass.
    epoch_us: u64,
    next_tick: Instant,
    warm: Option<Warm>,
    /// Where big values go to be freed by another thread; see [`tidy`].
    garbage: Sender<Vec<Garbage>>,
    frame: Vec<u8>,
    out: Vec<u8>,
    news: Vec<u32>,
    times: Times,
}

struct Times {
    commands: Watch,
    ticks: Watch,
    chores: Watch,
    /// A command, and the tick and the chores behind it: what the next command may have to wait for.
    turns: Watch,
}

impl Times {
    fn new() -> Times {
        Times {
            commands: Watch::new("commands"),
            ticks: Watch::new("ticks"),
            chores: Watch::new("steps of chores"),
            turns: Watch::new("turns, each with all of that"),
        }
    }
}

impl Rig {
    /// For as many keys.
    fn new(args: &Args, keys: u64, change: impl FnOnce(&mut Config)) -> Rig {
        let warm = (!args.cold).then(|| Warm::new(keys * KEY_BYTES));
        let mut conf = Config::default();
        change(&mut conf);
        let outside = Box::new(shoal::net::outside::System);
        let host = Arc::new(Host { cluster: true, ..Host::new(conf, 1, Shard::COMMANDS, outside) });
        let node = Node {
            id: [b'a'; 40],
            ip: "127.0.0.1".into(),
            hostname: String::new(),
            port: 6379,
            bus_port: 16379,
            config_epoch: 1,
            local: Some(0),
            ..Node::default()
        };
        let mut shard = Shard::new(Setup {
            me: 0,
            shards: 1,
            host: host.clone(),
            view: Arc::new(View::new(1, 1, vec![node], |_| 0)),
            hasher: Hasher::new(1),
            databases: 1,
            seed: 1,
            ticks: shoal::net::clock::ticks(),
        });
        let now = shoal::net::clock::now();
        let client = shard.open(Door::Own, String::new(), String::new(), 0, now).expect("there is room");
        let (garbage, inbox) = channel::<Vec<Garbage>>();
        std::thread::spawn(move || tidy(&inbox));
        Rig {
            host,
            shard,
            client,
            begin: Instant::now(),
            epoch_us: now.unix_us,
            next_tick: Instant::now(),
            warm,
            garbage,
            frame: Vec::new(),
            out: Vec::new(),
            news: Vec::new(),
            times: Times::new(),
        }
    }

    fn now(&self) -> Now {
        Now { unix_us: self.epoch_us + self.begin.elapsed().as_micros() as u64 }
    }

    /// One turn: a command, a tick when one is due, chores when there are any; each timed.
    fn run(&mut self, args: &[&[u8]]) {
        self.frame.clear();
        self.frame.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        for arg in args {
            self.frame.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            self.frame.extend_from_slice(arg);
            self.frame.extend_from_slice(b"\r\n");
        }
        let turn = begin();
        let now = self.now();
        self.out.clear();
        let Rig { shard, client, frame, out, news, times, .. } = self;
        times.commands.time(|| {
            shard.turn(&mut [Input::new(*client, frame)], now);
            news.clear();
            shard.take_news(news);
            shard.take_output(*client, out);
            shard.sent(*client);
        });
        self.tick_if_due();
        self.do_chores();
        self.times.turns.end(turn);
        assert_ne!(self.out.first(), Some(&b'-'), "{}", self.out.escape_ascii());
        if let Some(warm) = &mut self.warm {
            warm.give();
        }
    }

    fn tick_if_due(&mut self) {
        let begin = Instant::now();
        if begin < self.next_tick {
            return;
        }
        let hz = self.host.live.snapshot().hz.max(1);
        self.next_tick = begin + Duration::from_millis(1000 / hz as u64);
        let now = self.now();
        self.times.ticks.time(|| self.shard.tick(now));
    }

    fn do_chores(&mut self) {
        if !self.shard.has_chores() && !self.shard.has_garbage() {
            return;
        }
        let now = self.now();
        self.times.chores.time(|| {
            if self.shard.has_chores() {
                self.shard.chores(now);
            }
            if self.shard.has_garbage() {
                let garbage = self.shard.take_garbage();
                self.garbage.send(garbage).expect("the thread that frees lives as long as this");
            }
        });
    }

    fn set(&mut self, name: &str) {
        self.run(&[b"SET", name.as_bytes(), &VALUE]);
    }

    /// Forgets the times of what was only preparation.
    fn start_over(&mut self) {
        self.times = Times::new();
    }

    fn keys(&mut self) -> u64 {
        self.run(&[b"DBSIZE"]);
        let digits = std::str::from_utf8(&self.out[1..]).expect("a number");
        digits.trim().parse().expect("a number")
    }

    fn leap(&mut self, time: Duration) {
        self.epoch_us += time.as_micros() as u64;
    }

    fn done(self, undone: Option<String>) -> Done {
        let Times { commands, ticks, chores, turns } = self.times;
        Done { watches: vec![commands, ticks, chores, turns], undone }
    }
}

fn nothing(times: u64) -> Watch {
    println!("doing nothing {times} times");
    let mut watch = Watch::new("times nothing");
    (0..times).for_each(|_| watch.time(|| std::hint::black_box(())));
    watch
}

fn load(args: &Args) -> Done {
    println!("loading {} keys", args.keys);
    let mut rig = Rig::new(args, args.keys, |_| ());
    for n in 0..args.keys {
        rig.set(&format!("key:{n:012}"));
    }
    assert_eq!(rig.keys(), args.keys);
    rig.done(None)
}

/// A tenth of the keys lasts, another tenth expires in one moment; SETs of lasting keys go on until
/// no expired key is left.
fn expire(args: &Args) -> Done {
    let keys = args.keys / 10;
    println!("{keys} keys expire at once, among {keys} that last");
    let mut rig = Rig::new(args, 2 * keys, |_| ());
    let soon = (rig.now().ms() + 3_600_000).to_string();
    for n in 0..keys {
        rig.set(&format!("key:{n:012}"));
        let name = format!("brief:{n:010}");
        rig.run(&[b"SET", name.as_bytes(), &VALUE, b"PXAT", soon.as_bytes()]);
    }
    rig.start_over();
    rig.leap(Duration::from_secs(3601));
    let mut rng = Rng::new(3);
    let (begin, patience) = (Instant::now(), Duration::from_secs(args.patience));
    let mut left = keys;
    while left > 0 && begin.elapsed() < patience {
        for _ in 0..1000 {
            rig.set(&format!("key:{:012}", rng.below(keys)));
        }
        left = rig.keys() - keys;
    }
    let took = begin.elapsed().as_secs_f64();
    println!("  {} gone after {took:.1} s, {left} left", keys - left);
    rig.done((left > 0).then(|| format!("{left} of {keys} expired keys are left after {took:.1} s")))
}

/// New keys while memory is full, then while its bound is a quarter lower at one stroke.
fn evict(args: &Args, policy: MaxmemoryPolicy) -> Done {
    let keys = args.keys / 5;
    println!("{keys} new keys while {policy:?} evicts from {keys}");
    let mut rig = Rig::new(args, keys, |conf| conf.maxmemory_policy = policy);
    for n in 0..keys {
        rig.set(&format!("old:{n:012}"));
    }
    rig.start_over();
    let full = shoal::metrics::used_memory() as u64;
    rig.host.live.update(|conf| conf.maxmemory = full);
    let mut most_over = 0;
    for n in 0..keys {
        if n == keys / 2 {
            rig.host.live.update(|conf| conf.maxmemory = full / 4 * 3);
        }
        rig.set(&format!("new:{n:012}"));
        if n < keys / 2 && n % 1000 == 0 {
            most_over = most_over.max(shoal::metrics::used_memory() as i64 - full as i64);
        }
    }
    let left = rig.keys();
    most_over = most_over.max(shoal::metrics::used_memory() as i64 - (full / 4 * 3) as i64);
    println!("  {} evicted, {left} left, at most {most_over} bytes above the bound", 2 * keys - left);
    rig.done((most_over > OVER).then(|| format!("memory is {most_over} bytes above its bound")))
}
