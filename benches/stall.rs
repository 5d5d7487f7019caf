//! The longest that one command keeps its shard: every SET timed by itself, inside the shard, with the
//! server's allocator, and with ticks in between as the executor drives them.
//!
//! `cargo bench --bench stall` loads 10M keys; lets 1M keys expire at once; writes while keys are evicted
//! by LRU and by LFU. It prints how long commands and ticks took, and the longest of each. It exits with
//! 1 when one took more than a millisecond of the thread's own CPU time; what took longer only by the
//! clock was the scheduler's doing, and is named as such. It exits with 1 too when expired keys stay or
//! memory stays above its bound: no stall by leaving the work undone.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
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
    /// Longest that a command or a tick may take, in microseconds
    #[arg(long, default_value_t = 1000)]
    limit: u64,
    /// Longest to wait for expired keys to be gone, in seconds
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Without transparent huge pages, whatever the host gives
    #[arg(long)]
    no_thp: bool,
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
/// The longest that are shown of each kind.
const SHOWN: usize = 5;
const LONGEST_NS: u64 = 60_000_000_000;
/// How far memory may be above its bound while keys are written and evicted.
const OVER: i64 = 1 << 20;

/// What a part measured.
struct Done {
    commands: Watch,
    ticks: Watch,
    /// What it found left undone, in words.
    undone: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.no_thp {
        // SAFETY: the call takes no pointers.
        let done = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
        assert_eq!(done, 0, "every kernel that runs Shoal knows this");
    }
    let limit = Duration::from_micros(args.limit);
    let mut worst = Duration::ZERO;
    let mut undone = Vec::new();
    for &part in &args.only {
        let done = match part {
            Part::Nothing => {
                nothing(args.keys).print(limit);
                println!();
                continue;
            }
            Part::Load => load(&args),
            Part::Expire => expire(&args),
            Part::Lru => evict(&args, MaxmemoryPolicy::AllkeysLru),
            Part::Lfu => evict(&args, MaxmemoryPolicy::AllkeysLfu),
        };
        for watch in [done.commands, done.ticks] {
            watch.print(limit);
            worst = worst.max(watch.worst);
        }
        undone.extend(done.undone.map(|what| format!("{part:?}: {what}")));
        println!();
    }
    println!("the longest of all: {:.1} us of the shard's own", worst.as_nanos() as f64 / 1e3);
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
}

fn used() -> Used {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("every kernel knows of threads");
    let (faults, switches) = (usage.minor_page_faults(), usage.involuntary_context_switches());
    Used { cpu: cpu(), faults, switches }
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
    /// How many came before it.
    after: u64,
}

/// The times of one kind of thing.
struct Watch {
    name: &'static str,
    wall: Histogram<u64>,
    /// Longest first.
    longest: Vec<Stall>,
    /// Longest that was both on the clock and on the thread's CPU time.
    worst: Duration,
}

impl Watch {
    fn new(name: &'static str) -> Watch {
        let wall = Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are in order");
        Watch { name, wall, longest: Vec::new(), worst: Duration::ZERO }
    }

    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = used();
        let begin = Instant::now();
        let out = work();
        let wall = begin.elapsed();
        if self.longest.len() < SHOWN || wall > self.longest[SHOWN - 1].wall || wall > self.worst {
            let mut used = used();
            used.cpu -= before.cpu;
            used.faults -= before.faults;
            used.switches -= before.switches;
            self.worst = self.worst.max(wall.min(used.cpu));
            let at = self.longest.partition_point(|stall| stall.wall > wall);
            self.longest.insert(at, Stall { wall, used, after: self.wall.len() });
            self.longest.truncate(SHOWN);
        }
        self.wall.saturating_record(wall.as_nanos() as u64);
        out
    }

    fn print(&self, limit: Duration) {
        let us = |ns: u64| ns as f64 / 1000.0;
        println!("  {} {}; microseconds on the clock:", self.wall.len(), self.name);
        let shares =
            [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("p99.999", 0.99999)];
        let line =
            shares.map(|(name, share)| format!("{name} {:.2}", us(self.wall.value_at_quantile(share))));
        println!("    {}  max {:.1}", line.join("  "), us(self.wall.max()));
        for stall in &self.longest {
            let verdict = match (stall.wall > limit, stall.used.cpu > limit) {
                (true, true) => "  <- a stall",
                (true, false) => "  <- the scheduler's",
                _ => "",
            };
            println!(
                "    {:8.1} us on the clock, {:8.1} us of CPU, {} page faults, {} switches, after {}{verdict}",
                us(stall.wall.as_nanos() as u64),
                us(stall.used.cpu.as_nanos() as u64),
                stall.used.faults,
                stall.used.switches,
                stall.after
            );
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
    /// Where big values go to be freed by another thread.
    garbage: Sender<Vec<Garbage>>,
    frame: Vec<u8>,
    out: Vec<u8>,
    news: Vec<u32>,
    commands: Watch,
    ticks: Watch,
}

impl Rig {
    fn new(change: impl FnOnce(&mut Config)) -> Rig {
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
        std::thread::spawn(move || inbox.into_iter().for_each(drop));
        Rig {
            host,
            shard,
            client,
            begin: Instant::now(),
            epoch_us: now.unix_us,
            next_tick: Instant::now(),
            garbage,
            frame: Vec::new(),
            out: Vec::new(),
            news: Vec::new(),
            commands: Watch::new("commands"),
            ticks: Watch::new("ticks"),
        }
    }

    fn now(&self) -> Now {
        Now { unix_us: self.epoch_us + self.begin.elapsed().as_micros() as u64 }
    }

    /// One turn with one command in it, timed; and a tick when one is due.
    fn run(&mut self, args: &[&[u8]]) {
        self.frame.clear();
        self.frame.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        for arg in args {
            self.frame.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            self.frame.extend_from_slice(arg);
            self.frame.extend_from_slice(b"\r\n");
        }
        let now = self.now();
        self.out.clear();
        let Rig { shard, client, frame, out, news, commands, .. } = self;
        commands.time(|| {
            shard.turn(&mut [Input::new(*client, frame)], now);
            news.clear();
            shard.take_news(news);
            shard.take_output(*client, out);
            shard.sent(*client);
        });
        assert_ne!(self.out.first(), Some(&b'-'), "{}", self.out.escape_ascii());
        let begin = Instant::now();
        if begin >= self.next_tick {
            let hz = self.host.live.snapshot().hz.max(1);
            self.next_tick = begin + Duration::from_millis(1000 / hz as u64);
            let now = self.now();
            self.ticks.time(|| self.shard.tick(now));
            let garbage = self.shard.take_garbage();
            if !garbage.is_empty() {
                self.garbage.send(garbage).expect("the thread that frees lives as long as this");
            }
        }
    }

    fn set(&mut self, name: &str) {
        self.run(&[b"SET", name.as_bytes(), &VALUE]);
    }

    /// Forgets the times of what was only preparation.
    fn start_over(&mut self) {
        self.commands = Watch::new("commands");
        self.ticks = Watch::new("ticks");
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
        Done { commands: self.commands, ticks: self.ticks, undone }
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
    let mut rig = Rig::new(|_| ());
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
    let mut rig = Rig::new(|_| ());
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
    let mut rig = Rig::new(|conf| conf.maxmemory_policy = policy);
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
