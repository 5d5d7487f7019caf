//! End to end over loopback: a release server on one core, a load on another, and how long requests take.
//!
//! `cargo bench --bench loopback` prints a table of closed loops (pipelines of 1, 16 and 64 over 50
//! connections) and open loops (fixed rates; a request's latency counts from when it was due, so that
//! waiting is counted). `-- --pipeline 16` or `-- --rate 50000` measures one of them; `--help` tells
//! the rest.

#[path = "../outside/mod.rs"]
mod outside;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use outside::load::{Load, Outcome, Until, fill};
use outside::server::{Kind, Mode, Server};
use outside::{key, resp, thousands};
use shoal::util::rng::Rng;

/// Measures latencies end to end over loopback.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// Connections, shared out between the load's threads
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Closed loop with pipelines of so many requests
    #[arg(long)]
    pipeline: Option<usize>,
    /// Open loop with so many requests a second
    #[arg(long)]
    rate: Option<f64>,
    /// How long each loop is measured, and before that warmed up
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[arg(long, default_value_t = 1.0)]
    warm: f64,
    /// What is asked for
    #[arg(long, value_enum, default_value_t = Request::Get)]
    request: Request,
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 16)]
    value: usize,
    /// Threads of the load
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, value_enum, default_value_t = Mode::Standalone)]
    mode: Mode,
    #[arg(long, default_value_t = 1)]
    shards: usize,
    /// Cores of the server, and the core of the load
    #[arg(long, default_value = "0")]
    server_cores: String,
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Measure redis-server too
    #[arg(long)]
    redis: bool,
    /// Measure a server that runs already on this port of 127.0.0.1
    #[arg(long)]
    port: Option<u16>,
    /// Ask the front door, with --mode cluster
    #[arg(long)]
    front_door: bool,
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Request {
    Get,
    Set,
}

/// One measurement.
#[derive(Clone, Copy)]
enum Loop {
    Closed(usize),
    Open(f64),
}

const PIPELINES: [usize; 3] = [1, 16, 64];
const RATES: [f64; 3] = [10_000.0, 50_000.0, 100_000.0];

fn main() -> ExitCode {
    let args = Args::parse();
    match outside::pin(args.load_core).and_then(|()| measure_all(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(args: &Args) -> Result<(), String> {
    let loops = loops(args);
    println!(
        "{:?} of {} keys with values of {} bytes, {} connections\n",
        args.request, args.keys, args.value, args.connections
    );
    println!("| server | loop | requests/s | p50 us | p99 us | p99.9 us | max us | errors |");
    println!("|---|---|---:|---:|---:|---:|---:|---:|");
    if let Some(port) = args.port {
        return measure_port(args, "given", port, &loops);
    }
    let kinds: &[Kind] = if args.redis { &[Kind::Redis, Kind::Shoal] } else { &[Kind::Shoal] };
    for &kind in kinds {
        let server = Server::start(kind, args.mode, args.shards, &args.server_cores)?;
        let port = if args.front_door { server.front_door() } else { server.port() };
        measure_port(args, kind.name(), port, &loops)?;
    }
    Ok(())
}

fn loops(args: &Args) -> Vec<Loop> {
    let mut loops: Vec<Loop> = args.pipeline.into_iter().map(Loop::Closed).collect();
    loops.extend(args.rate.map(Loop::Open));
    if loops.is_empty() {
        loops.extend(PIPELINES.map(Loop::Closed));
        loops.extend(RATES.map(Loop::Open));
    }
    loops
}

fn measure_port(args: &Args, name: &str, port: u16, loops: &[Loop]) -> Result<(), String> {
    let value = vec![b'x'; args.value];
    fill(port, args.keys, &mut |n, out| resp::put(out, &[b"SET", &key(n), &value]))?;
    for &one in loops {
        let outcome = measure(args, port, one)?;
        let what = match one {
            Loop::Closed(pipeline) => format!("closed, P={pipeline}"),
            Loop::Open(rate) => format!("open, {}/s", thousands(rate)),
        };
        let us = |ns: u64| ns as f64 / 1000.0;
        let at = |share: f64| us(outcome.latency.value_at_quantile(share));
        println!(
            "| {name} | {what} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
            thousands(outcome.per_second()),
            at(0.5),
            at(0.99),
            at(0.999),
            us(outcome.latency.max()),
            outcome.errors
        );
    }
    Ok(())
}

/// One loop, from all threads of the load.
fn measure(args: &Args, port: u16, one: Loop) -> Result<Outcome, String> {
    let shares: Vec<usize> = (0..args.threads)
        .map(|i| args.connections * (i + 1) / args.threads - args.connections * i / args.threads)
        .filter(|&connections| connections > 0)
        .collect();
    let part = |connections: usize, seed: u64| -> Result<Outcome, String> {
        run(args, port, one, connections, seed).map_err(|e| format!("port {port}: {e}"))
    };
    let outcomes: Vec<Result<Outcome, String>> = std::thread::scope(|scope| {
        let part = &part;
        let threads: Vec<_> =
            shares.iter().enumerate().map(|(i, &n)| scope.spawn(move || part(n, i as u64 + 1))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a load's thread")).collect()
    });
    let mut all = Outcome::new(Instant::now());
    for outcome in outcomes {
        all.join(&outcome?);
    }
    Ok(all)
}

fn run(args: &Args, port: u16, one: Loop, connections: usize, seed: u64) -> std::io::Result<Outcome> {
    let value = vec![b'x'; args.value];
    let (mut keys, mut gaps) = (Rng::new(seed), Rng::new(!seed));
    let mut make = |out: &mut Vec<u8>| {
        let key = key(keys.below(args.keys));
        match args.request {
            Request::Get => resp::put(out, &[b"GET", &key]),
            Request::Set => resp::put(out, &[b"SET", &key, &value]),
        }
    };
    let (warm, lasting) = (Duration::from_secs_f64(args.warm), Duration::from_secs_f64(args.seconds));
    let mut load = Load::connect(port, connections)?;
    match one {
        Loop::Closed(pipeline) => {
            load.closed(pipeline, Until::Time(Instant::now() + warm), &mut make)?;
            load.closed(pipeline, Until::Time(Instant::now() + lasting), &mut make)
        }
        Loop::Open(rate) => {
            let share = rate * connections as f64 / args.connections as f64;
            load.open(share, warm, lasting, &mut gaps, &mut make)
        }
    }
}
