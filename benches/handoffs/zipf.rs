//! `shard-balance` under a load by Zipf's law.

use super::outside::load::{Load, Until};
use super::outside::server::{Kind, Mode, Server, ask};
use super::outside::thousands;
use super::{Args, CORES, put, said};
use shoal::slot::key_slot;
use shoal::util::rng::Rng;
use std::time::{Duration, Instant};

/// The busiest shard over the mean.
const UNEVEN: f64 = 1.2;

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

pub fn run(args: &Args) -> Result<(), String> {
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
