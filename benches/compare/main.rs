//! Shoal beside redis-server: CPU time a request, memory an item, what a hop between cores costs, what an
//! idle host uses. Prints the tables of README.md.
//!
//! `cargo bench --bench compare` measures all of it, `-- --only ops,tests` some; `-- --check` exits with 1
//! when a figure misses its bound. Wants redis-server and redis-benchmark (Debian's redis-server and
//! redis-tools) and two cores: the server on one, the load on the other.
//!
//! The figure is the CPU time of all of a server's threads, from the kernel's scheduler statistics: it
//! holds on a noisy machine where requests a second do not. The servers take turns, several times; what
//! is shown is the median.

#[path = "../outside/mod.rs"]
mod outside;

mod aof;
mod benchmark;
mod hops;
mod large;
mod memory;
mod ops;
mod pubsub;
mod table;
mod tests;
mod types;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use outside::server::Mode;

/// Measures Shoal beside redis-server.
#[derive(Parser, Clone, Debug)]
pub struct Args {
    /// What to measure
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "ops,large,tests,types,memory,hops,idle,aof,pubsub"
    )]
    only: Vec<Part>,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "standalone,cluster")]
    mode: Vec<Mode>,
    /// Turns of each server
    #[arg(long, default_value_t = 3)]
    reps: usize,
    /// Which of redis-benchmark's default tests, or commands of types; all of them unless said
    #[arg(long, value_delimiter = ',')]
    tests: Vec<String>,
    /// Pipelines for ops (1,16,64 unless said) and for tests and types (1,16)
    #[arg(long, value_delimiter = ',')]
    pipelines: Vec<usize>,
    /// A tenth of the requests
    #[arg(long)]
    quick: bool,
    /// Exit with 1 when a figure misses its bound
    #[arg(long)]
    check: bool,
    /// The core of the server
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core of the load
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Connections of the load for hops
    #[arg(long, default_value_t = 50)]
    connections: usize,
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// SET and GET over a million keys
    Ops,
    /// SET and GET of large values
    Large,
    /// Every default test of redis-benchmark
    Tests,
    /// Bitmaps, HyperLogLogs, places and streams
    Types,
    /// Resident bytes an item
    Memory,
    /// A command on the other core, against one on its own
    Hops,
    /// What a host uses that nobody asks anything
    Idle,
    /// What the append-only file adds to a SET, and reading it back
    Aof,
    /// PUBLISH to many who listen
    Pubsub,
}

impl Args {
    /// `n`, or a tenth of it when in a hurry.
    fn scaled(&self, n: u64) -> u64 {
        if self.quick { n / 10 } else { n }
    }

    fn pipelines(&self, default: &[usize]) -> Vec<usize> {
        if self.pipelines.is_empty() { default.to_vec() } else { self.pipelines.clone() }
    }
}

/// Figures that missed their bounds, in words.
pub type Missed = Vec<String>;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut missed = Missed::new();
    for part in &args.only {
        let done = match part {
            Part::Ops => ops::measure(&args),
            Part::Large => large::measure(&args),
            Part::Tests => tests::measure(&args),
            Part::Types => types::measure(&args),
            Part::Memory => memory::measure(&args),
            Part::Hops => hops::measure(&args),
            Part::Idle => hops::idle(&args),
            Part::Aof => aof::measure(&args),
            Part::Pubsub => pubsub::measure(&args),
        };
        match done {
            Ok(more) => missed.extend(more),
            Err(why) => {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
        }
        println!();
    }
    missed.iter().for_each(|miss| println!("missed: {miss}"));
    if args.check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
