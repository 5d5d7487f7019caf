//! Resident bytes of what clients store, without what an empty server takes.

use super::outside::load::fill;
use super::outside::server::{Kind, Mode, Server};
use super::outside::{key, resp};
use super::table::{row, rule};
use super::{Args, Missed};
use shoal::util::rng::Rng;

const VALUE: &[u8; 32] = &[b'v'; 32];

/// What is stored: its name, how many, the most bytes of each, and the request that stores one.
struct Case {
    name: &'static str,
    items: u64,
    most: f64,
    make: fn(n: u64, rng: &mut Rng, out: &mut Vec<u8>),
}

const CASES: [Case; 4] = [
    Case {
        name: "5M strings, keys of 16 bytes, values of 32",
        items: 5_000_000,
        most: 85.0,
        make: |n, _, out| resp::put(out, &[b"SET", &key(n), VALUE]),
    },
    Case {
        name: "1M fields of 16 bytes in one hash, values of 16",
        items: 1_000_000,
        most: 89.0,
        make: |n, _, out| resp::put(out, &[b"HSET", b"hash", &key(n), &VALUE[..16]]),
    },
    Case {
        name: "1M members of 16 bytes in one sorted set, scores by chance",
        items: 1_000_000,
        most: 110.0,
        make: |n, rng, out| {
            let score = rng.unit().to_string();
            resp::put(out, &[b"ZADD", b"zset", score.as_bytes(), &key(n)]);
        },
    },
    Case {
        name: "1M members of 16 bytes in one set",
        items: 1_000_000,
        most: f64::INFINITY,
        make: |n, _, out| resp::put(out, &[b"SADD", b"set", &key(n)]),
    },
];

pub fn measure(args: &Args) -> Result<Missed, String> {
    let mut missed = Missed::new();
    super::outside::pin(args.load_core)?;
    println!("resident bytes an item\n");
    row(&["", "redis-server", "shoal", "at most"].map(str::to_owned));
    rule(1, 3);
    for case in &CASES {
        let redis = resident(args, case, Kind::Redis)?;
        let shoal = resident(args, case, Kind::Shoal)?;
        let most = if case.most.is_finite() { format!("{:.0}", case.most) } else { String::new() };
        row(&[case.name.to_owned(), format!("{redis:.1}"), format!("{shoal:.1}"), most]);
        if shoal > case.most {
            missed.push(format!("{}: {shoal:.1} bytes of {:.0}", case.name, case.most));
        }
    }
    Ok(missed)
}

fn resident(args: &Args, case: &Case, kind: Kind) -> Result<f64, String> {
    let server = Server::start(kind, Mode::Standalone, 1, &args.server_core.to_string())?;
    let before = server.resident();
    let mut rng = Rng::new(5);
    fill(server.port(), case.items, &mut |n, out| (case.make)(n, &mut rng, out))?;
    Ok(server.resident().saturating_sub(before) as f64 / case.items as f64)
}
