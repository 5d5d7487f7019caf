//! Slots that change hands inside a host, from outside: how long any client waits, and how evenly busy the
//! shards become.
//!
//! `cargo bench --bench handoffs` hands a slot of 1 GB to and fro under load, then lets `shard-balance` work
//! on a load by Zipf's law over 4 shards. `-- --only pause` or `zipf` does one of them; `-- --check` fails
//! above 5 ms and above 1.2.

#[path = "../outside/mod.rs"]
mod outside;

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use outside::load::{Load, Outcome, Until, fill};
use outside::server::{Kind, Mode, Server, ask, ask_on};
use outside::{resp, thousands};
use shoal::slot::key_slot;
use shoal::util::rng::Rng;
use std::net::TcpStream;

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
    #[arg(long, default_value_t = 20)]
    handoffs: usize,
    #[arg(long, default_value_t = 16)]
    connections: usize,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Pause,
    Zipf,
}

/// Longest wait of any client, in microseconds, and the busiest shard over the mean.
const PAUSE_US: f64 = 5000.0;
const UNEVEN: f64 = 1.2;
/// Bytes of a value: such a string still lies in its entry.
const VALUE: usize = 1000;
/// Between two handoffs.
const BREATH: Duration = Duration::from_millis(300);
/// The cores of servers and load: all that there are.
const CORES: &str = "0,1";

fn main() -> ExitCode {
    let args = Args::parse();
    let wanted = |part| args.only.is_none_or(|only| only == part);
    let mut done = Ok(());
    if wanted(Part::Pause) {
        done = done.and(pause(&args));
    }
    if wanted(Part::Zipf) {
        done = done.and(zipf(&args));
    }
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn said(e: io::Error) -> String {
    format!("the server does not answer: {e}")
}

fn put(out: &mut Vec<u8>, words: &[&str]) {
    let words: Vec<&[u8]> = words.iter().map(|w| w.as_bytes()).collect();
    resp::put(out, &words);
}

/// GET and SET by turns: three of four in the slot, the others anywhere.
fn requests(keys: u64, seed: u64) -> impl FnMut(&mut Vec<u8>) {
    let mut rng = Rng::new(seed);
    let value = "v".repeat(VALUE);
    move |out| {
        let key = match rng.below(4) {
            0 => format!("other:{}", rng.below(100_000)),
            _ => format!("{{big}}:{}", rng.below(keys)),
        };
        match rng.below(2) {
            0 => put(out, &["GET", &key]),
            _ => put(out, &["SET", &key, &value]),
        }
    }
}

fn pause(args: &Args) -> Result<(), String> {
    let server = Server::start(Kind::Shoal, Mode::Cluster, 2, CORES)?;
    let keys = (args.gigabytes * 1e9 / VALUE as f64) as u64;
    let slot = key_slot(b"{big}");
    let owner = |slot| if slot < 8192 { 0 } else { 1 };
    let value = "v".repeat(VALUE);
    fill(server.own_port(owner(slot)), keys, &mut |n, out| {
        put(out, &["SET", &format!("{{big}}:{n}"), &value]);
    })?;
    let ids: Vec<String> = (0..2).map(|i| id(&server, i)).collect::<Result<_, _>>()?;
    let front = server.front_door();
    println!(
        "A slot with {} keys of {VALUE} bytes, {} connections at the front door, GET and SET\n",
        thousands(keys as f64),
        args.connections
    );
    println!("| handoffs | requests | p50 us | p99.9 us | longest us | errors | longest handoff us |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    let lasting = BREATH * (args.handoffs as u32 + 1);
    let mut load = Load::connect(front, args.connections).map_err(said)?;
    let mut run = |seed| load.closed(1, Until::Time(Instant::now() + lasting), &mut requests(keys, seed));
    show(0, &run(1).map_err(said)?, 0.0);
    let (outcome, longest) = std::thread::scope(|scope| {
        let handing = scope.spawn(|| to_and_fro(front, slot, owner(slot) as usize, &ids, args.handoffs));
        let outcome = run(2).map_err(said);
        let longest = handing.join().map_err(|_| "handing off failed".to_string());
        outcome.and_then(|outcome| Ok((outcome, longest??)))
    })?;
    show(args.handoffs, &outcome, longest);
    let count = count_keys(&server, slot)?;
    println!("\n{count} keys are in the slot, {keys} were put there\n");
    let longest = outcome.latency.max() as f64 / 1000.0;
    match (count == keys && outcome.errors == 0, longest > PAUSE_US && args.check) {
        (false, _) => Err("keys or replies were lost".into()),
        (true, true) => Err(format!("a client waited for {longest:.0} us")),
        _ => Ok(()),
    }
}

fn id(server: &Server, shard: u16) -> Result<String, String> {
    let reply = ask(server.own_port(shard), &["CLUSTER", "MYID"]).map_err(said)?;
    Ok(reply.lines().nth(1).unwrap_or_default().to_owned())
}

fn count_keys(server: &Server, slot: u16) -> Result<u64, String> {
    let reply = ask(server.front_door(), &["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]).map_err(said)?;
    reply.trim_start_matches(':').trim().parse().map_err(|_| format!("COUNTKEYSINSLOT: {reply}"))
}

/// Hands a slot over again and again; the longest that one took until OK, in microseconds.
fn to_and_fro(port: u16, slot: u16, at: usize, ids: &[String], times: usize) -> Result<f64, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(said)?;
    let mut longest = 0.0f64;
    for turn in 1..=times {
        std::thread::sleep(BREATH);
        let since = Instant::now();
        let words = ["CLUSTER", "HANDOFF", &slot.to_string(), &ids[(at + turn) % 2]];
        let reply = ask_on(&mut stream, &words).map_err(said)?;
        longest = longest.max(since.elapsed().as_secs_f64() * 1e6);
        if !reply.starts_with("+OK") {
            return Err(format!("CLUSTER HANDOFF: {reply}"));
        }
    }
    Ok(longest)
}

fn show(handoffs: usize, outcome: &Outcome, handing: f64) {
    let us = |ns: u64| ns as f64 / 1000.0;
    println!(
        "| {handoffs} | {} | {:.1} | {:.1} | {:.1} | {} | {handing:.0} |",
        thousands(outcome.replies as f64),
        us(outcome.latency.value_at_quantile(0.5)),
        us(outcome.latency.value_at_quantile(0.999)),
        us(outcome.latency.max()),
        outcome.errors
    );
}

/// Draws keys by Zipf's law. The hottest ones are all the first shard's, as bad luck would have it.
struct Zipf {
    names: Vec<String>,
    until: Vec<f64>,
}

impl Zipf {
    /// Of so many keys, whose hottest lie in slots below `below`.
    fn new(keys: usize, exponent: f64, below: u16) -> Zipf {
        const HOT: usize = 16;
        let mut names = Vec::with_capacity(keys);
        let mut next = 0..;
        while names.len() < keys {
            let name = format!("key:{}", next.next().expect("names without end"));
            if names.len() >= HOT || key_slot(name.as_bytes()) < below {
                names.push(name);
            }
        }
        let mut sum = 0.0;
        let mut until: Vec<f64> = (1..=keys)
            .map(|rank| {
                sum += 1.0 / (rank as f64).powf(exponent);
                sum
            })
            .collect();
        until.iter_mut().for_each(|u| *u /= sum);
        Zipf { names, until }
    }

    fn draw(&self, rng: &mut Rng) -> &str {
        let at = rng.unit();
        let rank = self.until.partition_point(|until| *until < at);
        &self.names[rank.min(self.names.len() - 1)]
    }
}

fn zipf(args: &Args) -> Result<(), String> {
    const SHARDS: usize = 4;
    let server = Server::start(Kind::Shoal, Mode::Cluster, SHARDS, CORES)?;
    let front = server.front_door();
    let zipf = Zipf::new(args.keys, args.exponent, (16384 / SHARDS) as u16);
    println!("GET by Zipf's law ({}) over {} keys, {SHARDS} shards\n", args.exponent, args.keys);
    println!("| second | commands by shard | busiest / mean | slots that moved |");
    println!("|---:|---|---:|---:|");
    let total = args.seconds + 10;
    let rows = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&server, SHARDS, total));
        let mut rng = Rng::new(7);
        let mut load = Load::connect(front, args.connections).map_err(said)?;
        let end = Instant::now() + Duration::from_secs(total);
        let outcome = load
            .closed(4, Until::Time(end), &mut |out| put(out, &["GET", zipf.draw(&mut rng)]))
            .map_err(said)?;
        let rows = watch.join().map_err(|_| "watching failed".to_string())??;
        println!("\n{} requests, {} errors\n", thousands(outcome.replies as f64), outcome.errors);
        if outcome.errors > 0 { Err("requests failed".to_string()) } else { Ok(rows) }
    })?;
    let last = rows.last().copied().unwrap_or(f64::MAX);
    match args.check && last > UNEVEN {
        true => Err(format!("the busiest shard has {last:.2} of the mean")),
        false => Ok(()),
    }
}

/// What the shards execute, looked at now and then; balancing begins after the first look.
fn watch(server: &Server, shards: usize, seconds: u64) -> Result<Vec<f64>, String> {
    const EVERY: u64 = 5;
    let calls = || -> Result<Vec<u64>, String> {
        (0..shards as u16)
            .map(|shard| {
                let info = ask(server.own_port(shard), &["INFO", "commandstats"]).map_err(said)?;
                let get = info.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
                Ok(get.and_then(|n| n.split(',').next()?.parse().ok()).unwrap_or(0))
            })
            .collect()
    };
    let owners = || ask(server.front_door(), &["CLUSTER", "SLOTS"]).map_err(said).map(|text| owners(&text));
    let mut before = calls()?;
    let mut owned = owners()?;
    let mut rows = Vec::new();
    for second in (EVERY..seconds).step_by(EVERY as usize) {
        std::thread::sleep(Duration::from_secs(EVERY));
        let (now, owns) = (calls()?, owners()?);
        let done: Vec<u64> = now.iter().zip(&before).map(|(now, before)| now - before).collect();
        let moved = owns.iter().zip(&owned).filter(|(a, b)| a != b).count();
        let busiest = done.iter().copied().max().unwrap_or(0) as f64;
        let ratio = busiest * shards as f64 / done.iter().sum::<u64>().max(1) as f64;
        let shown: Vec<String> = done.iter().map(|n| thousands(*n as f64)).collect();
        println!("| {second} | {} | {ratio:.2} | {moved} |", shown.join(" / "));
        rows.push(ratio);
        (before, owned) = (now, owns);
        if second == EVERY {
            ask(server.front_door(), &["CONFIG", "SET", "shard-balance", "yes"]).map_err(said)?;
        }
    }
    Ok(rows)
}

/// The port of each slot's owner, from the reply to CLUSTER SLOTS: `from`, `to`, and the owner's ip and
/// port are its first four numbers and texts.
fn owners(text: &str) -> Vec<u64> {
    let mut owners = vec![0; 16384];
    let numbers: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix(':'))
        .filter_map(|n| n.trim().parse().ok())
        .collect();
    for range in numbers.chunks_exact(3) {
        owners[range[0] as usize..=range[1] as usize].fill(range[2]);
    }
    owners
}
