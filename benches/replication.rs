//! What replicas cost their primary, beside redis-server: a SET with a replica and without, and a full
//! synchronization while every key is overwritten.
//!
//! `cargo bench --bench replication` prints two tables; `-- --only steady` or `sync` one of them. `-- --check`
//! fails where Shoal is beyond the bounds; `--help` tells the rest. A replica is of the same kind as its
//! primary, and shares the load's core.

#[path = "outside/mod.rs"]
mod outside;

use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use outside::load::{Load, Outcome, Until, fill};
use outside::overwrite::{Watch, Writer};
use outside::server::{Kind, Mode, Server, ask, ask_on};
use outside::{key, resp, thousands};

/// Measures what replication costs.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// Keys of a full synchronization
    #[arg(long, default_value_t = 5_000_000)]
    keys: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 32)]
    value: usize,
    #[arg(long, default_value_t = 50)]
    connections: usize,
    #[arg(long, default_value_t = 16)]
    pipeline: usize,
    /// Turns of each server; figures are of the middle one
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// SETs of a turn without a full synchronization, and the keys that they are about
    #[arg(long, default_value_t = 3_000_000)]
    requests: u64,
    #[arg(long, default_value_t = 1_000_000)]
    steady_keys: u64,
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// How far the replica of a full synchronization stands back for the load, whose core it shares
    #[arg(long, default_value_t = 0)]
    nice: i32,
    /// Only one of the tables
    #[arg(long)]
    only: Option<Part>,
    /// Leave redis-server out
    #[arg(long)]
    alone: bool,
    /// Fail when Shoal is beyond the bounds
    #[arg(long)]
    check: bool,
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Steady,
    Sync,
}

/// Bounds: CPU of a SET with a replica over that without; memory at the peak of a synchronization, what the
/// stream needs left out, and p99.9, over those without one.
const STEADY: f64 = 1.25;
const MEMORY: f64 = 1.10;
const LATENCY: f64 = 1.5;
const PATIENCE: Duration = Duration::from_secs(180);
const MIB: f64 = (1 << 20) as f64;

fn main() -> ExitCode {
    let args = Args::parse();
    match outside::pin(args.load_core).and_then(|()| measure_all(&args)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(args: &Args) -> Result<bool, String> {
    let kinds: &[Kind] = if args.alone { &[Kind::Shoal] } else { &[Kind::Redis, Kind::Shoal] };
    let mut good = true;
    if args.only != Some(Part::Sync) {
        good &= steady_table(args, kinds)?;
    }
    if args.only != Some(Part::Steady) {
        good &= sync_table(args, kinds)?;
    }
    Ok(good || !args.check)
}

fn start(args: &Args, kind: Kind) -> Result<Server, String> {
    let server = Server::start(kind, Mode::Standalone, 1, &args.server_core.to_string())?;
    set(&server, "repl-diskless-sync-delay", "0")?;
    set(&server, "client-output-buffer-limit", "replica 0 0 0")?;
    Ok(server)
}

fn set(server: &Server, name: &str, value: &str) -> Result<(), String> {
    let said = ask(server.port(), &["CONFIG", "SET", name, value]).map_err(|e| e.to_string())?;
    if said.starts_with("+OK") { Ok(()) } else { Err(format!("CONFIG SET {name}: {said}")) }
}

/// A replica that has nothing yet.
fn start_replica(args: &Args, kind: Kind) -> Result<Server, String> {
    let replica = Server::start(kind, Mode::Standalone, 1, &args.load_core.to_string())?;
    // as Shoal does it whatever this says
    set(&replica, "repl-diskless-load", "swapdb")?;
    Ok(replica)
}

fn follow(replica: &Server, primary: &Server) -> Result<(), String> {
    let said = ask(replica.port(), &["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    let said = said.map_err(|e| e.to_string())?;
    if said.starts_with("+OK") { Ok(()) } else { Err(format!("REPLICAOF: {said}")) }
}

fn info(line: &mut TcpStream) -> Result<String, String> {
    ask_on(line, &["INFO", "everything"]).map_err(|e| e.to_string())
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn number(info: &str, name: &str) -> Result<u64, String> {
    field(info, name).and_then(|text| text.parse().ok()).ok_or_else(|| format!("no {name} in {info}"))
}

fn is_linked(line: &mut TcpStream) -> Result<bool, String> {
    Ok(field(&info(line)?, "master_link_status") == Some("up"))
}

fn connect(server: &Server) -> Result<TcpStream, String> {
    TcpStream::connect(("127.0.0.1", server.port())).map_err(|e| format!("port {}: {e}", server.port()))
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

// ---- a SET with a replica

fn steady_table(args: &Args, kinds: &[Kind]) -> Result<bool, String> {
    println!(
        "CPU nanoseconds of the primary a SET, over {} keys of 16 bytes with values of {}, {} connections, pipelines of {}\n",
        thousands(args.steady_keys as f64),
        args.value,
        args.connections,
        args.pipeline
    );
    println!("| server | without a replica | with one | more | most of the turns | errors |");
    println!("|---|---:|---:|---:|---:|---:|");
    let mut turns: Vec<Vec<(f64, f64, u64)>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..args.rounds {
        for (kind, turns) in kinds.iter().zip(&mut turns) {
            turns.push(steady(args, *kind)?);
        }
    }
    let mut good = true;
    for (kind, turns) in kinds.iter().zip(&turns) {
        let alone = middle(turns.iter().map(|t| t.0).collect());
        let with = middle(turns.iter().map(|t| t.1).collect());
        let more = middle(turns.iter().map(|t| t.1 / t.0).collect());
        let most = turns.iter().map(|t| t.1 / t.0).fold(0.0, f64::max);
        let errors: u64 = turns.iter().map(|t| t.2).sum();
        println!(
            "| {} | {alone:.0} | {with:.0} | {:.1} % | {:.1} % | {errors} |",
            kind.name(),
            (more - 1.0) * 100.0,
            (most - 1.0) * 100.0
        );
        if *kind == Kind::Shoal && more > STEADY {
            eprintln!("a SET costs {more:.2} times as much with a replica; it may cost {STEADY} times");
            good = false;
        }
    }
    println!();
    Ok(good)
}

/// CPU nanoseconds a SET without a replica and with one, and errors.
fn steady(args: &Args, kind: Kind) -> Result<(f64, f64, u64), String> {
    let primary = start(args, kind)?;
    let value = vec![b'x'; args.value];
    fill(primary.port(), args.steady_keys, &mut |n, out| resp::put(out, &[b"SET", &key(n), &value]))?;
    let mut load = Load::connect(primary.port(), args.connections).map_err(|e| e.to_string())?;
    let mut writer = Writer::new(args.steady_keys, args.value, args.pipeline);
    let mut errors = 0;
    let mut cpu = |load: &mut Load, writer: &mut Writer| -> Result<f64, String> {
        let before = primary.cpu_ns();
        let done = writer.slice(load, Until::Requests(args.requests))?;
        errors += done.errors;
        Ok((primary.cpu_ns() - before) as f64 / done.replies as f64)
    };
    cpu(&mut load, &mut writer)?;
    let alone = cpu(&mut load, &mut writer)?;
    let replica = start_replica(args, kind)?;
    follow(&replica, &primary)?;
    let mut line = connect(&replica)?;
    let end = Instant::now() + PATIENCE;
    while !is_linked(&mut line)? {
        if Instant::now() > end {
            return Err(format!("{}: the replica does not come up", kind.name()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    cpu(&mut load, &mut writer)?;
    let with = cpu(&mut load, &mut writer)?;
    if !is_linked(&mut line)? {
        return Err(format!("{}: the replica was lost", kind.name()));
    }
    Ok((alone, with, errors))
}

// ---- a full synchronization

/// One synchronization with what came before it.
struct Sync {
    took: f64,
    rate: [f64; 2],
    p999: [f64; 2],
    longest: [f64; 2],
    /// Resident bytes before, at the most, and what of that was the stream that waited.
    resident: [f64; 2],
    stream: f64,
    overwritten: f64,
    errors: u64,
}

impl Sync {
    fn slower(&self) -> f64 {
        self.p999[1] / self.p999[0]
    }

    fn larger(&self) -> f64 {
        (self.resident[1] - self.stream) / self.resident[0]
    }
}

fn sync_table(args: &Args, kinds: &[Kind]) -> Result<bool, String> {
    println!(
        "SET over {} keys of 16 bytes with values of {}, {} connections, pipelines of {}; without a replica, then while \
         one is given everything\n",
        thousands(args.keys as f64),
        args.value,
        args.connections,
        args.pipeline
    );
    println!(
        "| server | sync s | overwritten | SET/s without | with | p99.9 us without | with | ratio | longest ms with | MiB \
         without | at most with | of it the stream | more without that | errors |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut took = Vec::new();
    let mut good = true;
    for &kind in kinds {
        let syncs: Result<Vec<Sync>, String> = (0..args.rounds).map(|_| sync(args, kind)).collect();
        let mut syncs = syncs?;
        took.push(middle(syncs.iter().map(|s| s.took).collect()));
        syncs.sort_by(|a, b| a.slower().total_cmp(&b.slower()));
        let s = &syncs[syncs.len() / 2];
        println!(
            "| {} | {:.1} | {:.0} % | {} | {} | {:.0} | {:.0} | {:.2}x | {:.1} | {:.0} | {:.0} | {:.0} | {:.1} % | {} |",
            kind.name(),
            s.took,
            s.overwritten * 100.0,
            thousands(s.rate[0]),
            thousands(s.rate[1]),
            s.p999[0],
            s.p999[1],
            s.slower(),
            s.longest[1] / 1000.0,
            s.resident[0] / MIB,
            s.resident[1] / MIB,
            s.stream / MIB,
            (s.larger() - 1.0) * 100.0,
            syncs.iter().map(|s| s.errors).sum::<u64>()
        );
        if kind == Kind::Shoal && (s.slower() > LATENCY || s.larger() > MEMORY) {
            eprintln!("p99.9 {:.2}x of {LATENCY}x, memory {:.3}x of {MEMORY}x", s.slower(), s.larger());
            good = false;
        }
    }
    if let [redis, shoal] = took[..]
        && shoal > redis
    {
        eprintln!("a synchronization takes {shoal:.1} s, redis-server's {redis:.1} s");
        good = false;
    }
    Ok(good)
}

fn sync(args: &Args, kind: Kind) -> Result<Sync, String> {
    let primary = start(args, kind)?;
    let value = vec![b'x'; args.value];
    fill(primary.port(), args.keys, &mut |n, out| resp::put(out, &[b"SET", &key(n), &value]))?;
    let mut load = Load::connect(primary.port(), args.connections).map_err(|e| e.to_string())?;
    let mut writer = Writer::new(args.keys, args.value, args.pipeline);
    let before = writer.run(&mut load, |done, _| Ok(done >= args.keys))?;
    let replica = start_replica(args, kind)?;
    replica.stand_back(args.nice)?;
    let (mut upper, mut lower) = (connect(&primary)?, connect(&replica)?);
    let resident = primary.resident() as f64;
    let watch = Watch::default();
    let mut stream = 0;
    let (with, took) = std::thread::scope(|scope| {
        scope.spawn(|| watch.look(&primary));
        let began = Instant::now();
        let mut took = None;
        let with = follow(&replica, &primary).and_then(|()| {
            writer.run(&mut load, |done, _| {
                stream = stream.max(number(&info(&mut upper)?, "mem_total_replication_buffers")?);
                if took.is_none() && is_linked(&mut lower)? {
                    took = Some(began.elapsed());
                }
                if began.elapsed() > PATIENCE {
                    return Err("the synchronization does not end".into());
                }
                Ok(took.is_some() && done >= args.keys)
            })
        });
        watch.end();
        (with, took.unwrap_or_default())
    });
    let with = with?;
    let said = info(&mut upper)?;
    if number(&said, "sync_full")? != 1 {
        return Err(format!("{}: more than one synchronization: {said}", kind.name()));
    }
    // a child's own pages are none of its parent's
    let copied = number(&said, "rdb_last_cow_size").unwrap_or(0) as f64;
    let us = |outcome: &Outcome, share: f64| outcome.latency.value_at_quantile(share) as f64 / 1000.0;
    Ok(Sync {
        took: took.as_secs_f64(),
        rate: [before.per_second(), with.per_second()],
        p999: [us(&before, 0.999), us(&with, 0.999)],
        longest: [us(&before, 1.0), us(&with, 1.0)],
        resident: [resident, watch.most() as f64 + copied],
        stream: stream as f64,
        overwritten: with.replies as f64 / args.keys as f64,
        errors: before.errors + with.errors,
    })
}
