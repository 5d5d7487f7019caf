//! One run of redis-benchmark against one server, and what it cost that server.

use std::process::Command;

use super::Args;
use super::outside::server::Server;
use super::table::median;

/// Connections of the load, as redis-benchmark has them by default.
const CLIENTS: &str = "50";

/// What to ask for.
pub struct Load<'a> {
    /// Arguments of redis-benchmark that say what: `-t get`, say, or a command.
    pub what: &'a [&'a str],
    pub pipeline: usize,
    pub requests: u64,
    /// `--cluster`, `-r`, `-d` and the like.
    pub more: &'a [&'a str],
}

/// What a load cost.
pub struct Cost {
    /// CPU nanoseconds of all the server's threads, a request.
    pub cpu_ns: f64,
    pub per_second: f64,
    /// Error replies, and 1 for a redis-benchmark that gave up.
    pub errors: u64,
}

pub fn run(args: &Args, server: &Server, load: &Load<'_>) -> Result<Cost, String> {
    let (errors, cpu) = (server.errors()?, server.cpu_ns());
    let mut command = Command::new("taskset");
    command.args(["-c", &args.load_core.to_string(), "redis-benchmark", "--csv", "-c", CLIENTS]);
    command.args(["-p", &server.port().to_string(), "-P", &load.pipeline.to_string()]);
    command.args(["-n", &load.requests.to_string()]).args(load.more).args(load.what);
    let output = command.output().map_err(|e| format!("can't run taskset redis-benchmark: {e}"))?;
    let cpu = server.cpu_ns() - cpu;
    let said = String::from_utf8_lossy(&output.stdout);
    // lists are filled first in some tests: the last line is what was asked for
    let line = said.lines().rfind(|line| line.starts_with('"') && !line.starts_with("\"test\""));
    let per_second = line.and_then(|line| line.split("\",\"").nth(1)?.parse().ok());
    let gave_up = !output.status.success() || per_second.is_none();
    if gave_up {
        eprintln!("{:?}: {said}{}", load.what, String::from_utf8_lossy(&output.stderr));
    }
    Ok(Cost {
        cpu_ns: cpu as f64 / load.requests as f64,
        per_second: per_second.unwrap_or(0.0),
        errors: server.errors()? - errors + gave_up as u64,
    })
}

/// The servers take turns; the median of each one's costs, and all of its errors.
pub fn take_turns(args: &Args, servers: &[Server], load: &Load<'_>) -> Result<Vec<Cost>, String> {
    let mut costs: Vec<Vec<Cost>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..args.reps.max(1) {
        for (server, costs) in servers.iter().zip(&mut costs) {
            costs.push(run(args, server, load)?);
        }
    }
    let middle = |costs: &Vec<Cost>| Cost {
        cpu_ns: median(costs.iter().map(|cost| cost.cpu_ns)),
        per_second: median(costs.iter().map(|cost| cost.per_second)),
        errors: costs.iter().map(|cost| cost.errors).sum(),
    };
    Ok(costs.iter().map(middle).collect())
}
