//! SET and GET over a million keys: CPU nanoseconds a request, and how many times less than Redis's.

use super::benchmark::{Load, take_turns};
use super::outside::server::{Kind, Mode, Server};
use super::outside::thousands;
use super::table::{row, rule, times};
use super::{Args, Missed};

const KEYS: &str = "1000000";
const VALUE: &str = "16";
/// Pipelines, the requests of one turn, and how many times less CPU than Redis is the least.
const PIPELINES: [(usize, u64, f64); 3] = [(1, 100_000, 1.1), (16, 1_000_000, 2.0), (64, 2_000_000, 4.0)];
/// What the load leaves of a million keys that it fills by chance: all but one in twenty.
const FILL: u64 = 3_000_000;

pub fn measure(args: &Args) -> Result<Missed, String> {
    let mut missed = Missed::new();
    println!("CPU nanoseconds a request; 1M keys of 16 bytes, values of {VALUE}, 50 connections\n");
    row(&["mode", "test", "P", "redis-server", "shoal", "ratio", "redis/s", "shoal/s", "errors"]
        .map(str::to_owned));
    rule(2, 7);
    for &mode in &args.mode {
        measure_mode(args, mode, &mut missed)?;
    }
    Ok(missed)
}

fn measure_mode(args: &Args, mode: Mode, missed: &mut Missed) -> Result<(), String> {
    let core = args.server_core.to_string();
    let servers = [Server::start(Kind::Redis, mode, 1, &core)?, Server::start(Kind::Shoal, mode, 1, &core)?];
    let more = ["-r", KEYS, "-d", VALUE];
    for server in &servers {
        let fill = Load { what: &["-t", "set"], pipeline: 64, requests: FILL, more: &more };
        super::benchmark::run(args, server, &fill)?;
    }
    for test in ["set", "get"] {
        for pipeline in args.pipelines(&PIPELINES.map(|(pipeline, ..)| pipeline)) {
            let known = PIPELINES.iter().find(|(known, ..)| *known == pipeline);
            let (requests, least) = known.map_or((500_000, 0.0), |(_, requests, least)| (*requests, *least));
            let requests = args.scaled(requests);
            let load = Load { what: &["-t", test], pipeline, requests, more: &more };
            let [redis, shoal] = &take_turns(args, &servers, &load)?[..] else {
                unreachable!("a cost for each of two servers");
            };
            let ratio = redis.cpu_ns / shoal.cpu_ns;
            let errors = redis.errors + shoal.errors;
            let name = format!("{mode:?}").to_lowercase();
            row(&[
                name.clone(),
                test.to_uppercase(),
                pipeline.to_string(),
                thousands(redis.cpu_ns),
                thousands(shoal.cpu_ns),
                times(ratio),
                thousands(redis.per_second),
                thousands(shoal.per_second),
                errors.to_string(),
            ]);
            if ratio < least || errors > 0 {
                missed.push(format!("{name} {test} P={pipeline}: {ratio:.2}x of {least}x, {errors} errors"));
            }
        }
    }
    Ok(())
}
