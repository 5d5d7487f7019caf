//! SET and GET of values that fill many buffers: CPU microseconds a request.

use super::benchmark::{Load, take_turns};
use super::outside::server::{Kind, Mode, Server};
use super::table::{row, rule, times};
use super::{Args, Missed};

/// Bytes of a value, in words, and the requests of one turn.
const SIZES: [(&str, usize, u64); 3] =
    [("64 KB", 64 << 10, 20_000), ("1 MB", 1 << 20, 2_000), ("4 MB", 4 << 20, 500)];
const LEAST: f64 = 1.0;

pub fn measure(args: &Args) -> Result<Missed, String> {
    let mut missed = Missed::new();
    println!("CPU microseconds a request; values of one key, 50 connections\n");
    row(&["test", "value", "redis-server", "shoal", "ratio", "errors"].map(str::to_owned));
    rule(2, 4);
    let core = args.server_core.to_string();
    let start = |kind| Server::start(kind, Mode::Standalone, 1, &core);
    let servers = [start(Kind::Redis)?, start(Kind::Shoal)?];
    for (size, bytes, requests) in SIZES {
        for test in ["set", "get"] {
            let more = ["-d", &bytes.to_string()];
            let load =
                Load { what: &["-t", test], pipeline: 1, requests: args.scaled(requests), more: &more };
            let [redis, shoal] = &take_turns(args, &servers, &load)?[..] else {
                unreachable!("a cost for each of two servers");
            };
            let ratio = redis.cpu_ns / shoal.cpu_ns;
            let errors = redis.errors + shoal.errors;
            let micros = |ns: f64| format!("{:.0}", ns / 1e3);
            row(&[
                test.to_uppercase(),
                size.to_owned(),
                micros(redis.cpu_ns),
                micros(shoal.cpu_ns),
                times(ratio),
                errors.to_string(),
            ]);
            if ratio < LEAST || errors > 0 {
                missed.push(format!("{test} of {size}: {ratio:.2}x of {LEAST}x, {errors} errors"));
            }
        }
    }
    Ok(missed)
}
