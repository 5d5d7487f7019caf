//! Two shards on two cores: a GET that came to the other core's front door against one that came to
//! the right core at once; and what both use when nobody asks anything.

use std::net::TcpStream;
use std::time::Duration;

use super::outside::load::{Load, Until, fill};
use super::outside::server::{Kind, Mode, Server, ask_on};
use super::outside::{key, resp, thousands};
use super::table::{median, row, rule, times};
use super::{Args, Missed};
use shoal::slot::{SLOTS, key_slot};
use shoal::util::rng::Rng;

const KEYS: u64 = 1_000_000;
const PIPELINE: usize = 16;
const REQUESTS: u64 = 1_000_000;
/// Most CPU that a GET on the other core may take, in local ones.
const MOST: f64 = 1.3;
/// Connections to try for each that is wanted at one shard.
const TRIES: usize = 40;
/// How long an idle host is watched, and the most of a core that it may use.
const WATCHED: Duration = Duration::from_secs(20);
const IDLE: f64 = 0.005;
/// A core spins and polls a while after its last client before it sleeps for long.
const SETTLE: Duration = Duration::from_secs(2);

pub fn both_cores(args: &Args) -> String {
    format!("{},{}", args.server_core, args.load_core)
}

pub fn measure(args: &Args) -> Result<Missed, String> {
    super::outside::pin(args.load_core)?;
    let server = Server::start(Kind::Shoal, Mode::Cluster, 2, &both_cores(args))?;
    fill(server.front_door(), KEYS, &mut |n, out| resp::put(out, &[b"SET", &key(n), b"xxxxxxxxxxxxxxxx"]))?;
    println!("GET P={PIPELINE} on two shards, CPU nanoseconds a request of both together\n");
    row(&["keys of", "own port", "front door, same core", "front door, other core", "other / own"]
        .map(str::to_owned));
    rule(1, 4);
    let mut sums = [0.0; 3];
    for owner in 0..2 {
        let figures = owned_by(args, &server, owner)?;
        let ratio = figures[2] / figures[0];
        let cells = figures.map(thousands);
        row(&[&[format!("shard {owner}")][..], &cells, &[times(ratio)]].concat());
        (0..3).for_each(|i| sums[i] += figures[i]);
    }
    let ratio = sums[2] / sums[0];
    row(&[&["both".to_owned()][..], &sums.map(|sum| thousands(sum / 2.0)), &[times(ratio)]].concat());
    Ok(if ratio > MOST { vec![format!("a hop costs {ratio:.2}x of {MOST}x")] } else { Missed::new() })
}

/// CPU of a GET at the owner's port, at its share of the front door, and at the other's.
fn owned_by(args: &Args, server: &Server, owner: u16) -> Result<[f64; 3], String> {
    let half = SLOTS as u16 / 2;
    let keys: Vec<[u8; 16]> =
        (0..KEYS).map(key).filter(|name| (key_slot(name) >= half) == (owner == 1)).collect();
    let said = |e: std::io::Error| e.to_string();
    let mut loads = [
        Load::connect(server.own_port(owner), args.connections).map_err(said)?,
        Load::over(accepted_by(server, owner, args.connections)?).map_err(said)?,
        Load::over(accepted_by(server, 1 - owner, args.connections)?).map_err(said)?,
    ];
    let mut rng = Rng::new(9);
    let mut make =
        |out: &mut Vec<u8>| resp::put(out, &[b"GET", &keys[rng.below(keys.len() as u64) as usize]]);
    let requests = args.scaled(REQUESTS);
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..args.reps.max(1) {
        for (load, figures) in loads.iter_mut().zip(&mut figures) {
            let before = server.cpu_ns();
            let outcome = load.closed(PIPELINE, Until::Requests(requests), &mut make).map_err(said)?;
            if outcome.errors > 0 {
                return Err(format!("{} of {requests} GETs failed", outcome.errors));
            }
            figures.push((server.cpu_ns() - before) as f64 / requests as f64);
        }
    }
    Ok(figures.map(median))
}

/// Connections to the front door that this shard has accepted; the kernel chooses among all shards.
fn accepted_by(server: &Server, shard: u16, wanted: usize) -> Result<Vec<TcpStream>, String> {
    let said = |e: std::io::Error| e.to_string();
    let mut watch = TcpStream::connect(("127.0.0.1", server.own_port(shard))).map_err(said)?;
    let mut clients = clients_at(&mut watch)?;
    let mut kept = Vec::new();
    for _ in 0..TRIES * wanted {
        let mut stream = TcpStream::connect(("127.0.0.1", server.front_door())).map_err(said)?;
        ask_on(&mut stream, &["PING"]).map_err(said)?;
        let now = clients_at(&mut watch)?;
        if now > clients {
            clients = now;
            kept.push(stream);
        }
        if kept.len() == wanted {
            return Ok(kept);
        }
    }
    Err(format!("of {} connections to the front door, shard {shard} took {}", TRIES * wanted, kept.len()))
}

/// Clients of the shard whose own port this is a connection to.
fn clients_at(own: &mut TcpStream) -> Result<usize, String> {
    let info = ask_on(own, &["INFO", "shards"]).map_err(|e| e.to_string())?;
    let figure = info.split(',').find_map(|field| field.strip_prefix("clients="));
    figure.and_then(|n| n.parse().ok()).ok_or_else(|| format!("no clients= in {info}"))
}

pub fn idle(args: &Args) -> Result<Missed, String> {
    let server = Server::start(Kind::Shoal, Mode::Cluster, 2, &both_cores(args))?;
    std::thread::sleep(SETTLE);
    let watched = if args.quick { WATCHED / 4 } else { WATCHED };
    let before = server.cpu_ns();
    std::thread::sleep(watched);
    let share = (server.cpu_ns() - before) as f64 / watched.as_nanos() as f64;
    println!(
        "an idle host of two shards uses {:.3} % of a core ({} s watched; at most {} %)",
        share * 100.0,
        watched.as_secs(),
        IDLE * 100.0
    );
    Ok(if share > IDLE { vec![format!("an idle host uses {:.2} %", share * 100.0)] } else { Missed::new() })
}
