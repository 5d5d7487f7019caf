//! Bitmaps, HyperLogLogs, places, streams and scripts, for which redis-benchmark has no tests of its own.

use super::benchmark::{Load, take_turns};
use super::outside::server::{Kind, Mode, Server, ask};
use super::outside::thousands;
use super::table::{row, rule, times};
use super::{Args, Missed};

/// What is asked for, in the order in which each finds what those before it have left, and what a
/// request weighs against a SETBIT. `__rand_int__` is a number below [`SPREAD`] with twelve digits.
const COMMANDS: [(&str, u64); 15] = [
    ("SETBIT bits 99999 1", 1),
    ("GETBIT bits 99999", 1),
    ("BITFIELD fields:__rand_int__ INCRBY u8 #7 1", 1),
    ("BITCOUNT bits", 4),
    ("PFADD hll element:__rand_int__", 1),
    ("PFCOUNT hll", 1),
    ("GEOADD places 13.__rand_int__ 38.__rand_int__ place:__rand_int__", 1),
    ("GEODIST places place:000000000001 place:000000000002", 1),
    ("GEOSEARCH places FROMLONLAT 13.00000005 38.00000005 BYRADIUS 1 m COUNT 10 ANY", 20),
    ("XADD log * field __rand_int__", 1),
    ("XLEN log", 1),
    ("XRANGE log - + COUNT 10", 4),
    ("XREAD COUNT 10 STREAMS log 0", 4),
    ("EVAL return(redis.call('get',KEYS[1])) 1 key:__rand_int__", 1),
    ("FCALL read 1 key:__rand_int__", 1),
];
/// What FCALL calls.
const LIBRARY: &str = "#!lua name=reading\nredis.register_function('read', function(keys) \
                       return redis.call('get', keys[1]) end)";
const SPREAD: &str = "100000";
/// Requests of one turn that weighs 1, for pipelines of 1 and of more.
const REQUESTS: u64 = 100_000;
const PIPELINED: u64 = 500_000;

pub fn measure(args: &Args) -> Result<Missed, String> {
    let mut missed = Missed::new();
    let core = args.server_core.to_string();
    let start = |kind| Server::start(kind, Mode::Standalone, 1, &core);
    let servers = [start(Kind::Redis)?, start(Kind::Shoal)?];
    for server in &servers {
        ask(server.port(), &["FUNCTION", "LOAD", LIBRARY]).map_err(|e| format!("FUNCTION LOAD: {e}"))?;
    }
    println!("Bitmaps, HyperLogLogs, places, streams and scripts, CPU nanoseconds a request\n");
    row(&["test", "P", "redis-server", "shoal", "ratio", "errors"].map(str::to_owned));
    rule(1, 5);
    for (command, weight) in COMMANDS {
        let what: Vec<&str> = command.split(' ').collect();
        let name = what[0].to_lowercase();
        if !args.tests.is_empty() && !args.tests.contains(&name) {
            continue;
        }
        for pipeline in args.pipelines(&[1, 16]) {
            let requests = args.scaled(if pipeline == 1 { REQUESTS } else { PIPELINED }) / weight;
            let load = Load { what: &what, pipeline, requests, more: &["-r", SPREAD] };
            let costs = take_turns(args, &servers, &load)?;
            let (redis, shoal) = (&costs[0], &costs[1]);
            let ratio = redis.cpu_ns / shoal.cpu_ns;
            let figures = [thousands(redis.cpu_ns), thousands(shoal.cpu_ns), times(ratio)];
            let mut cells = vec![name.clone(), pipeline.to_string()];
            cells.extend(figures);
            cells.push(shoal.errors.to_string());
            row(&cells);
            if ratio < 1.0 || shoal.errors > 0 {
                missed.push(format!("{name} P={pipeline}: {ratio:.2}x, {} errors", shoal.errors));
            }
        }
    }
    Ok(missed)
}
