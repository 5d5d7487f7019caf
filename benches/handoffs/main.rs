//! Slots that change hands inside a host: what that costs the shards, how long any client waits, and how
//! evenly busy the shards become.
//!
//! `cargo bench --bench handoffs` hands a slot of 1 GB to and fro, at first between two shards in one thread,
//! each step timed, then between two cores under load; and it lets `shard-balance` work on a load by Zipf's law
//! over 4 shards. `-- --only steps`, `pause` or `zipf` does one of them; `-- --check` fails above 5 ms and
//! above 1.2.
//!
//! In `pause` two shards and the load share two cores, and a virtual machine's cores stop for milliseconds when
//! the hypervisor likes. So clients wait longer than 5 ms now and then, handoff or not. Such stops fall by chance:
//! they are in a few moments of many, and in as many without handoffs. What a handoff itself makes clients wait
//! is in nearly every moment that has one, and so in the median of the moments' longest waits: that may be 5 ms,
//! and waits above 5 ms may not be more frequent with handoffs than chance allows. In `steps` the same handoffs,
//! with the same keys read behind them, are made several times: what belongs to a step comes again in each, so
//! the least of them counts.

#[path = "../outside/mod.rs"]
mod outside;
mod pause;
mod steps;
mod zipf;

use clap::Parser;
use outside::resp;
use std::io;
use std::process::ExitCode;

#[global_allocator]
static HEAP: shoal::net::heap::Counting<mimalloc::MiMalloc> = shoal::net::heap::Counting(mimalloc::MiMalloc);

/// Measures handoffs between the shards of a host.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// One part only
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Gigabytes in the slot that is handed to and fro
    #[arg(long, default_value_t = 1.0)]
    gigabytes: f64,
    /// Handoffs of it
    #[arg(long, default_value_t = 200)]
    handoffs: usize,
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Requests a second of the open loop
    #[arg(long, default_value_t = 20_000.0)]
    rate: f64,
    /// Seconds that `shard-balance` has
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Keys of the load by Zipf's law, and its exponent
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    #[arg(long, default_value_t = 0.99)]
    exponent: f64,
    /// Fail above the bounds
    #[arg(long)]
    check: bool,
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    /// An even number: the slot comes back.
    fn handoffs(&self) -> usize {
        self.handoffs.next_multiple_of(2)
    }

    /// Keys in the slot.
    fn filling(&self) -> u64 {
        (self.gigabytes * 1e9 / VALUE as f64) as u64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Steps,
    Pause,
    Zipf,
}

/// The cores of servers and load: all that there are.
const CORES: &str = "0,1";
/// Bytes of a value: such a string still lies in its entry.
const VALUE: usize = 1000;
/// What keys of the slot have in common.
const TAG: &str = "{big}";

type Run = fn(&Args) -> Result<(), String>;

fn main() -> ExitCode {
    let args = Args::parse();
    let parts: [(Part, Run); 3] =
        [(Part::Steps, steps::run), (Part::Pause, pause::run), (Part::Zipf, zipf::run)];
    let wanted = parts.iter().filter(|(part, _)| args.only.is_none_or(|only| only == *part));
    let failed: Vec<String> = wanted.filter_map(|(_, run)| run(&args).err()).collect();
    failed.iter().for_each(|why| eprintln!("{why}"));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn said(e: io::Error) -> String {
    format!("the server does not answer: {e}")
}

fn put(out: &mut Vec<u8>, words: &[&str]) {
    let words: Vec<&[u8]> = words.iter().map(|w| w.as_bytes()).collect();
    resp::put(out, &words);
}
