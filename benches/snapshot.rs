//! BGSAVE beside redis-server's fork: what it costs writers, and what memory, while they overwrite every key.
//!
//! `cargo bench --bench snapshot` fills each server in turn, measures closed loops of SETs over all keys,
//! then the same while a BGSAVE runs, and prints a table. `-- --check` fails when Shoal's memory or
//! latency is beyond the bounds; `--help` tells the rest.

#[path = "outside/mod.rs"]
mod outside;

use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use outside::load::{Load, Outcome, fill};
use outside::overwrite::{Watch, Writer};
use outside::server::{Kind, Mode, Server, ask, ask_on};
use outside::{key, resp, thousands};

/// Measures what a background save costs.
#[derive(Parser, Clone, Debug)]
struct Args {
    #[arg(long, default_value_t = 5_000_000)]
    keys: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 32)]
    value: usize,
    #[arg(long, default_value_t = 50)]
    connections: usize,
    #[arg(long, default_value_t = 16)]
    pipeline: usize,
    /// Saves of each server; figures are of the middle one
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Leave redis-server out
    #[arg(long)]
    alone: bool,
    /// Fail when Shoal is beyond the bounds
    #[arg(long)]
    check: bool,
    #[arg(long, hide = true)]
    bench: bool,
}

/// Bounds: memory at the peak, and p99.9, over those without a save.
const MEMORY: f64 = 1.10;
const LATENCY: f64 = 1.5;
const PATIENCE: Duration = Duration::from_secs(120);
const MIB: f64 = (1 << 20) as f64;

/// One BGSAVE with what came before it.
#[derive(Clone, Copy)]
struct Round {
    rate: [f64; 2],
    p99: [f64; 2],
    p999: [f64; 2],
    longest: [f64; 2],
    resident: [f64; 2],
    took: f64,
    /// Share of the keys that were overwritten while it ran.
    overwritten: f64,
    errors: u64,
}

impl Round {
    fn slower(&self) -> f64 {
        self.p999[1] / self.p999[0]
    }

    fn larger(&self) -> f64 {
        self.resident[1] / self.resident[0]
    }
}

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
    println!(
        "SET over {} keys of 16 bytes with values of {}, {} connections, pipelines of {}; without a save, then while BGSAVE \
         runs and every key is overwritten\n",
        thousands(args.keys as f64),
        args.value,
        args.connections,
        args.pipeline
    );
    println!(
        "| server | save s | SET/s without | with | p99 us without | with | p99.9 us without | with | ratio | longest ms with | MiB \
         without | at most with | more | errors |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let kinds: &[Kind] = if args.alone { &[Kind::Shoal] } else { &[Kind::Redis, Kind::Shoal] };
    let mut good = true;
    for &kind in kinds {
        let round = measure(args, kind)?;
        print(kind, &round);
        if args.check && kind == Kind::Shoal && (round.slower() > LATENCY || round.larger() > MEMORY) {
            eprintln!(
                "p99.9 {:.2}x of {LATENCY}x, memory {:.3}x of {MEMORY}x",
                round.slower(),
                round.larger()
            );
            good = false;
        }
    }
    Ok(good)
}

fn print(kind: Kind, r: &Round) {
    println!(
        "| {} | {:.1} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2}x | {:.1} | {:.0} | {:.0} | {:.1} % | {} |",
        kind.name(),
        r.took,
        thousands(r.rate[0]),
        thousands(r.rate[1]),
        r.p99[0],
        r.p99[1],
        r.p999[0],
        r.p999[1],
        r.slower(),
        r.longest[1] / 1000.0,
        r.resident[0] / MIB,
        r.resident[1] / MIB,
        (r.larger() - 1.0) * 100.0,
        r.errors
    );
}

/// The middle one of some rounds, by how much slower it made the slowest.
fn measure(args: &Args, kind: Kind) -> Result<Round, String> {
    let server = Server::start(kind, Mode::Standalone, 1, &args.server_core.to_string())?;
    let value = vec![b'x'; args.value];
    fill(server.port(), args.keys, &mut |n, out| resp::put(out, &[b"SET", &key(n), &value]))?;
    let mut load =
        Load::connect(server.port(), args.connections).map_err(|e| format!("port {}: {e}", server.port()))?;
    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        rounds.push(round(args, &server, &mut load)?);
    }
    rounds.sort_by(|a, b| a.slower().total_cmp(&b.slower()));
    let least = rounds.iter().map(|r| r.overwritten).fold(f64::INFINITY, f64::min);
    if least < 1.0 {
        eprintln!("{}: only {:.0} % of the keys were overwritten during a save", kind.name(), least * 100.0);
    }
    Ok(rounds[rounds.len() / 2])
}

fn round(args: &Args, server: &Server, load: &mut Load) -> Result<Round, String> {
    let mut writer = Writer::new(args.keys, args.value, args.pipeline);
    let before = writer.run(load, |written, _| Ok(written >= args.keys))?;
    let resident = server.resident() as f64;
    let mut line = TcpStream::connect(("127.0.0.1", server.port())).map_err(|e| e.to_string())?;
    let saves = field(&mut line, "rdb_saves")?;
    let watch = Watch::default();
    let (with, took) = std::thread::scope(|scope| {
        scope.spawn(|| watch.look(server));
        let began = Instant::now();
        let said = ask(server.port(), &["BGSAVE"]).unwrap_or_default();
        let with = if said.starts_with("+Background saving started") {
            writer.run(load, |_, took| {
                let over = field(&mut line, "rdb_bgsave_in_progress")? == 0;
                if took > PATIENCE { Err("BGSAVE does not end".into()) } else { Ok(over) }
            })
        } else {
            Err(format!("BGSAVE: {said}"))
        };
        watch.end();
        (with, began.elapsed().as_secs_f64())
    });
    let with = with?;
    if field(&mut line, "rdb_saves")? != saves + 1 || !is_ok(&mut line)? {
        return Err("a BGSAVE has failed".into());
    }
    // a child's own pages are none of its parent's
    let copied = field(&mut line, "rdb_last_cow_size")? as f64;
    let us = |outcome: &Outcome, share: f64| outcome.latency.value_at_quantile(share) as f64 / 1000.0;
    Ok(Round {
        rate: [before.per_second(), with.per_second()],
        p99: [us(&before, 0.99), us(&with, 0.99)],
        p999: [us(&before, 0.999), us(&with, 0.999)],
        longest: [us(&before, 1.0), us(&with, 1.0)],
        resident: [resident, watch.most() as f64 + copied],
        took,
        overwritten: with.replies as f64 / args.keys as f64,
        errors: before.errors + with.errors,
    })
}

fn persistence(line: &mut TcpStream) -> Result<String, String> {
    ask_on(line, &["INFO", "persistence"]).map_err(|e| e.to_string())
}

fn field(line: &mut TcpStream, name: &str) -> Result<u64, String> {
    let info = persistence(line)?;
    let found = info.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok());
    found.ok_or_else(|| format!("no {name} in {info}"))
}

fn is_ok(line: &mut TcpStream) -> Result<bool, String> {
    Ok(persistence(line)?.contains("rdb_last_bgsave_status:ok"))
}
