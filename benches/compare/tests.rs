//! Every default test of redis-benchmark: none may fail, and none may cost more than on redis-server.
//! With --cluster it is two nodes on the server's core: two redis-servers, or two shards.

use super::benchmark::{Cost, Load, take_turns};
use super::outside::server::{Kind, Mode, Server, ask};
use super::outside::thousands;
use super::table::{row, rule, times};
use super::{Args, Missed};

/// Its tests in its order, and what a request weighs against a GET.
const TESTS: [(&str, u64); 19] = [
    ("ping_inline", 1),
    ("ping_mbulk", 1),
    ("set", 1),
    ("get", 1),
    ("incr", 1),
    ("lpush", 1),
    ("rpush", 1),
    ("lpop", 1),
    ("rpop", 1),
    ("sadd", 1),
    ("hset", 1),
    ("spop", 1),
    ("zadd", 1),
    ("zpopmin", 1),
    ("lrange_100", 4),
    ("lrange_300", 10),
    ("lrange_500", 16),
    ("lrange_600", 20),
    ("mset", 4),
];
/// Requests of one turn that weighs 1, for pipelines of 1 and of more.
const REQUESTS: u64 = 100_000;
const PIPELINED: u64 = 500_000;
/// Items of the list that LRANGE reads from, as redis-benchmark pushes by default.
const LIST: u64 = 100_000;

pub fn measure(args: &Args) -> Result<Missed, String> {
    let mut missed = Missed::new();
    let pipelines = args.pipelines(&[1, 16]);
    println!("redis-benchmark's default tests, CPU nanoseconds a request\n");
    let mut head = vec!["mode".to_owned(), "test".to_owned()];
    for pipeline in &pipelines {
        head.extend(["redis-server", "shoal", "ratio"].map(|name| format!("P={pipeline} {name}")));
    }
    head.push("errors".to_owned());
    row(&head);
    rule(2, head.len() - 2);
    for &mode in &args.mode {
        measure_mode(args, mode, &pipelines, &mut missed)?;
    }
    Ok(missed)
}

fn measure_mode(args: &Args, mode: Mode, pipelines: &[usize], missed: &mut Missed) -> Result<(), String> {
    let core = args.server_core.to_string();
    // redis-benchmark takes no cluster of one node
    let nodes = if mode == Mode::Cluster { 2 } else { 1 };
    let servers =
        [Server::start(Kind::Redis, mode, nodes, &core)?, Server::start(Kind::Shoal, mode, nodes, &core)?];
    let unknown = args.tests.iter().find(|name| !TESTS.iter().any(|(known, _)| known == name));
    if let Some(name) = unknown {
        return Err(format!("redis-benchmark has no default test {name}"));
    }
    let mode_name = if mode == Mode::Cluster { "--cluster" } else { "standalone" };
    for (test, weight) in TESTS {
        if !args.tests.is_empty() && !args.tests.iter().any(|name| name == test) {
            continue;
        }
        let mut cells = vec![mode_name.to_owned(), test.to_owned()];
        let mut errors = 0;
        for &pipeline in pipelines {
            let requests = args.scaled(if pipeline == 1 { REQUESTS } else { PIPELINED }) / weight;
            let costs = measure_test(args, mode, &servers, test, pipeline, requests)?;
            let (redis, shoal) = (&costs[0], &costs[1]);
            let ratio = redis.cpu_ns / shoal.cpu_ns;
            cells.extend([thousands(redis.cpu_ns), thousands(shoal.cpu_ns), times(ratio)]);
            errors += shoal.errors;
            if ratio < 1.0 || shoal.errors > 0 {
                missed.push(format!("{mode_name} {test} P={pipeline}: {ratio:.2}x, {} errors", shoal.errors));
            }
        }
        cells.push(errors.to_string());
        row(&cells);
    }
    Ok(())
}

fn measure_test(
    args: &Args,
    mode: Mode,
    servers: &[Server],
    test: &str,
    pipeline: usize,
    requests: u64,
) -> Result<Vec<Cost>, String> {
    let more: &[&str] = if mode == Mode::Cluster { &["--cluster"] } else { &[] };
    let Some(count) = test.strip_prefix("lrange_").and_then(|n| n.parse::<u64>().ok()) else {
        return take_turns(args, servers, &Load { what: &["-t", test], pipeline, requests, more });
    };
    // its test would measure the pushes too, so the list is there beforehand and LRANGE comes alone
    let list = if mode == Mode::Cluster { "mylist:{tag}" } else { "mylist" };
    for server in servers {
        for port in server.ports() {
            ask(port, &["FLUSHALL"]).map_err(|e| e.to_string())?;
        }
        let what = ["RPUSH", list, "xxx"];
        let push = Load { what: &what, pipeline: 64, requests: LIST, more };
        super::benchmark::run(args, server, &push)?;
    }
    let last = (count - 1).to_string();
    let what = ["LRANGE", list, "0", &last];
    take_turns(args, servers, &Load { what: &what, pipeline, requests, more })
}
