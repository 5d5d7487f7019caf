//! The append-only file: what it adds to a SET, and what reading it back costs; and RDB files beside it.

use std::time::{Duration, Instant};

use super::benchmark::{Load, run, take_turns};
use super::outside::server::{Kind, Mode, Server, ask};
use super::outside::thousands;
use super::table::{median, row, rule, times};
use super::{Args, Missed};

const MORE: [&str; 4] = ["-r", "1000000", "-d", "16"];
/// Policies, pipelines, requests of one turn, and the most that a SET may cost more for it, in percent.
const POLICIES: [(&str, usize, u64, f64); 4] = [
    ("no", 16, 1_000_000, f64::MAX),
    ("everysec", 16, 1_000_000, 15.0),
    ("always", 16, 300_000, f64::MAX),
    ("everysec", 1, 100_000, f64::MAX),
];
/// SETs in the log that is read back.
const LOGGED: u64 = 3_000_000;
/// How long rewriting or reading a log may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn measure(args: &Args) -> Result<Missed, String> {
    let core = args.server_core.to_string();
    let mode = Mode::Standalone;
    let mut servers =
        [Server::start(Kind::Redis, mode, 1, &core)?, Server::start(Kind::Shoal, mode, 1, &core)?];
    let mut missed = Missed::new();
    println!("CPU nanoseconds a SET; 1M keys of 16 bytes, values of 16, 50 connections, standalone\n");
    row(&["appendfsync", "P", "redis-server", "with the log", "more", "shoal", "with the log", "more"]
        .map(str::to_owned));
    rule(1, 7);
    for (policy, pipeline, requests, most) in POLICIES {
        let load = Load { what: &["-t", "set"], pipeline, requests: args.scaled(requests), more: &MORE };
        let mut costs = Vec::new();
        for on in ["no", "yes"] {
            for server in &servers {
                turn(server, on, policy)?;
            }
            let turns = take_turns(args, &servers, &load)?;
            costs.push([turns[0].cpu_ns, turns[1].cpu_ns]);
        }
        let more = [0, 1].map(|i| (costs[1][i] / costs[0][i] - 1.0) * 100.0);
        let cells =
            [0, 1].map(|i| [thousands(costs[0][i]), thousands(costs[1][i]), format!("{:.0} %", more[i])]);
        let head = [policy.to_owned(), pipeline.to_string()];
        row(&head.into_iter().chain(cells.into_iter().flatten()).collect::<Vec<String>>());
        if more[1] > most {
            missed.push(format!(
                "appendfsync {policy} P={pipeline}: a SET costs {:.0} % more, not {most} %",
                more[1]
            ));
        }
    }
    missed.extend(load_back(args, &mut servers)?);
    missed.extend(load_rdb(args, &mut servers)?);
    side_by_side(args)?;
    Ok(missed)
}

/// Turns the log on or off, and waits until it is.
fn turn(server: &Server, on: &str, policy: &str) -> Result<(), String> {
    let port = server.port();
    let said = |words: &[&str]| ask(port, words).map_err(|e| format!("port {port}: {e}"));
    said(&["FLUSHALL"])?;
    said(&["CONFIG", "SET", "auto-aof-rewrite-percentage", "0", "appendfsync", policy, "appendonly", on])?;
    let enabled = if on == "yes" { "aof_enabled:1" } else { "aof_enabled:0" };
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let info = said(&["INFO", "persistence"])?;
        if info.contains(enabled) && info.contains("aof_rewrite_in_progress:0") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("port {port} does not turn its append-only file {on}"))
}

/// Reads a log of SETs back: CPU nanoseconds a command, start of the server included.
fn load_back(args: &Args, servers: &mut [Server; 2]) -> Result<Missed, String> {
    let logged = args.scaled(LOGGED);
    println!(
        "\nReading a log of {} SETs back, CPU nanoseconds a command, the server's start included\n",
        thousands(logged as f64)
    );
    row(&["redis-server", "shoal", "ratio"].map(str::to_owned));
    rule(0, 3);
    let mut costs = Vec::new();
    for server in servers.iter_mut() {
        turn(server, "no", "everysec")?;
        turn(server, "yes", "everysec")?;
        let fill = Load { what: &["-t", "set"], pipeline: 64, requests: logged, more: &MORE };
        run(args, server, &fill)?;
        let mut turns = Vec::new();
        for _ in 0..args.reps {
            server.restart(&args.server_core.to_string(), &["--appendonly", "yes"])?;
            turns.push(server.cpu_ns() as f64 / logged as f64);
        }
        costs.push(median(turns));
    }
    let ratio = costs[0] / costs[1];
    row(&[thousands(costs[0]), thousands(costs[1]), times(ratio)]);
    Ok(if ratio < 1.0 { vec![format!("reading a log back: {ratio:.2}x of 1x")] } else { Missed::new() })
}

/// Keys of the RDB file that is read back, about: by chance some come twice.
fn fill(args: &Args, server: &Server) -> Result<f64, String> {
    let fill = Load { what: &["-t", "set"], pipeline: 64, requests: args.scaled(LOGGED), more: &MORE };
    run(args, server, &fill)?;
    let size = ask(server.port(), &["DBSIZE"]).map_err(|e| e.to_string())?;
    size.trim().trim_start_matches(':').parse().map_err(|_| format!("DBSIZE: {size}"))
}

fn save(server: &Server) -> Result<(), String> {
    let said = ask(server.port(), &["SAVE"]).map_err(|e| e.to_string())?;
    if said.starts_with("+OK") { Ok(()) } else { Err(format!("SAVE: {said}")) }
}

/// Reads an RDB file of strings: CPU nanoseconds a key, start of the server included.
fn load_rdb(args: &Args, servers: &mut [Server; 2]) -> Result<Missed, String> {
    println!("\nReading an RDB file of strings, CPU nanoseconds a key, the server's start included\n");
    row(&["redis-server", "shoal", "ratio"].map(str::to_owned));
    rule(0, 3);
    let mut costs = Vec::new();
    for server in servers.iter_mut() {
        turn(server, "no", "everysec")?;
        let keys = fill(args, server)?;
        save(server)?;
        let mut turns = Vec::new();
        for _ in 0..args.reps {
            server.restart(&args.server_core.to_string(), &[])?;
            turns.push(server.cpu_ns() as f64 / keys);
        }
        costs.push(median(turns));
    }
    let ratio = costs[0] / costs[1];
    row(&[thousands(costs[0]), thousands(costs[1]), times(ratio)]);
    Ok(if ratio < 1.0 { vec![format!("reading an RDB file: {ratio:.2}x of 1x")] } else { Missed::new() })
}

/// How long a start with data takes with one shard on one core, and with two on two.
fn side_by_side(args: &Args) -> Result<(), String> {
    println!("\nMilliseconds from the start until PONG, one shard on one core and two on both\n");
    row(&["read", "1 shard", "2 shards", "ratio"].map(str::to_owned));
    rule(1, 3);
    let mut took = [Vec::new(), Vec::new()];
    for shards in [1, 2] {
        let cores = if shards == 1 { args.server_core.to_string() } else { super::hops::both_cores(args) };
        let mut server = Server::start(Kind::Shoal, Mode::Standalone, shards, &cores)?;
        fill(args, &server)?;
        save(&server)?;
        for (what, more) in [&["--appendonly", "no"], &["--appendonly", "yes"]].into_iter().enumerate() {
            if what == 1 {
                // it begins with no data
                turn(&server, "yes", "everysec")?;
                fill(args, &server)?;
            }
            let mut turns = Vec::new();
            for _ in 0..args.reps {
                let begin = Instant::now();
                server.restart(&cores, more)?;
                turns.push(begin.elapsed().as_secs_f64() * 1000.0);
            }
            took[what].push(median(turns));
        }
    }
    for (what, took) in ["an RDB file", "a log"].into_iter().zip(took) {
        let ratio = took[0] / took[1];
        row(&[what.to_owned(), thousands(took[0]), thousands(took[1]), times(ratio)]);
    }
    Ok(())
}
