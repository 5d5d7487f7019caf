//! Keys that move between two nodes, Shoal's beside redis-server's in one run.
//!
//! `cargo bench --bench moves` prints two tables: how long redis-cli takes to reshard slots full of small
//! keys, and what other clients of both nodes wait while one MIGRATE carries a large hash. `-- --only
//! reshard` or `hash` measures one of them; `--help` tells the rest.

#[path = "../tests/common/mod.rs"]
mod common;

use clap::Parser;
use common::client::Client;
use common::members::{Member, ask, at, cli};
use common::ports::Ports;
use common::{resp, wait_for};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Measures moves between nodes.
#[derive(Parser)]
struct Args {
    /// Slots that are moved
    #[arg(long, default_value_t = 1000)]
    slots: u16,
    /// Keys in them
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    /// Keys that redis-cli puts into one MIGRATE: its own default, and one that spends less on rounds
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100])]
    pipeline: Vec<usize>,
    /// Fields of the large hash
    #[arg(long, default_value_t = 10_000_000)]
    fields: usize,
    /// How often each reshard is measured; the median counts
    #[arg(long, default_value_t = 1)]
    turns: usize,
    /// `reshard` or `hash`
    #[arg(long)]
    only: Option<String>,
    /// What cargo bench passes on
    #[arg(long, hide = true)]
    bench: bool,
}

const KINDS: [&str; 2] = ["redis-server", "shoal"];
const PATIENCE: Duration = Duration::from_secs(60);
/// With Redis's default of 15 seconds, a redis-server that is busy with a large hash for so long is taken for
/// failed, and its target refuses the key.
const NODE_TIMEOUT: &str = "120000";
/// How long clients are watched while nothing happens.
const QUIET: Duration = Duration::from_secs(5);
/// Requests that are sent before their replies are read.
const BATCH: usize = 1000;

/// Two nodes of a cluster, each on a core of its own; the first owns all slots.
struct Pair {
    nodes: Vec<Member>,
    _ports: Ports,
}

impl Pair {
    fn start(kind: &'static str) -> Pair {
        let ports = Ports::take();
        let node = |i: u16| {
            let (port, core) = ((ports.base + i).to_string(), i.to_string());
            let mut args = vec!["--cluster-enabled", "yes", "--port", &port, "--save", ""];
            args.extend(["--cluster-node-timeout", NODE_TIMEOUT]);
            if kind == "shoal" {
                args.extend(["--cores", &core]);
            }
            let member = Member::start(kind, vec![ports.base + i], &args);
            let pinned = Command::new("taskset").args(["-acp", &core, &member.pid().to_string()]).output();
            assert!(pinned.expect("taskset runs").status.success());
            member
        };
        let nodes: Vec<Member> = (0..2).map(node).collect();
        let [a, b] = [nodes[0].ports[0], nodes[1].ports[0]];
        assert_eq!(ask(a, "CLUSTER ADDSLOTSRANGE 0 16383"), "OK");
        assert_eq!(ask(b, "CLUSTER SET-CONFIG-EPOCH 2"), "OK");
        assert_eq!(ask(b, &format!("CLUSTER MEET 127.0.0.1 {a}")), "OK");
        for port in [a, b] {
            let well = || ask(port, "CLUSTER INFO").contains("cluster_state:ok");
            let met = || ask(port, "CLUSTER NODES").matches(" connected").count() == 2;
            assert!(wait_for(PATIENCE, || (well() && met()).then_some(())).is_some(), "they meet");
        }
        Pair { nodes, _ports: ports }
    }

    fn ports(&self) -> [u16; 2] {
        [self.nodes[0].ports[0], self.nodes[1].ports[0]]
    }
}

/// Sends all of these, some at a time.
fn send_all(port: u16, commands: impl Iterator<Item = Vec<u8>>) {
    let mut client = Client::connect(port).expect("a node");
    let mut commands = commands.peekable();
    while commands.peek().is_some() {
        let part: Vec<Vec<u8>> = commands.by_ref().take(BATCH).collect();
        client.send(&part.concat()).expect("sent");
        part.iter().for_each(|_| assert!(!client.read().expect("a reply").is_error()));
    }
}

/// One word for each of the first slots.
fn tags(slots: u16) -> Vec<String> {
    let mut tags = vec![String::new(); slots as usize];
    let mut missing = tags.len();
    for n in 0.. {
        let tag = format!("{n:x}");
        let slot = shoal::slot::key_slot(tag.as_bytes()) as usize;
        if let Some(free) = tags.get_mut(slot).filter(|tag| tag.is_empty()) {
            *free = tag;
            missing -= 1;
            if missing == 0 {
                break;
            }
        }
    }
    tags
}

/// Seconds that a reshard takes.
fn reshard(kind: &'static str, args: &Args, pipeline: usize) -> f64 {
    let pair = Pair::start(kind);
    let [from, to] = pair.ports();
    let tags = tags(args.slots);
    let set = |i: usize| {
        let key = format!("{{{}}}:{i:08}", tags[i % tags.len()]);
        resp::encode(&["SET", &key, &format!("{i:032}")])
    };
    send_all(from, (0..args.keys).map(set));
    let ids = [ask(from, "CLUSTER MYID"), ask(to, "CLUSTER MYID")];
    let (slots, pipeline) = (args.slots.to_string(), pipeline.to_string());
    let start = Instant::now();
    cli(&[
        "reshard",
        &at(from),
        "--cluster-from",
        &ids[0],
        "--cluster-to",
        &ids[1],
        "--cluster-slots",
        &slots,
        "--cluster-pipeline",
        &pipeline,
        "--cluster-yes",
    ]);
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!([ask(from, "DBSIZE"), ask(to, "DBSIZE")], ["0".to_string(), args.keys.to_string()]);
    seconds
}

/// A client that asks for a key without a pause; how long its longest wait was, in ms.
struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<f64>>,
}

impl Witness {
    fn start(port: u16, key: String) -> Witness {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(port).expect("a node");
            let mut waits = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let start = Instant::now();
                client.send(&resp::encode(&["GET", &key])).expect("sent");
                client.read_within(PATIENCE).expect("a reply");
                waits.push(start.elapsed().as_secs_f64() * 1000.0);
                // it need not be at work all the time to see a stall
                std::thread::sleep(Duration::from_micros(200));
            }
            waits
        });
        Witness { stop, thread }
    }

    /// The wait that one in a thousand exceeds, and the longest.
    fn end(self) -> (f64, f64) {
        self.stop.store(true, Ordering::Relaxed);
        let mut waits = self.thread.join().expect("a witness");
        waits.sort_by(f64::total_cmp);
        (waits[waits.len() * 999 / 1000], waits[waits.len() - 1])
    }

    /// Both nodes' clients while something happens.
    fn both(ports: [u16; 2], what: impl FnOnce()) -> [(f64, f64); 2] {
        let witnesses = ports.map(|port| Witness::start(port, "other".into()));
        std::thread::sleep(Duration::from_millis(300));
        what();
        std::thread::sleep(Duration::from_millis(300));
        witnesses.map(Witness::end)
    }
}

/// What became of a MIGRATE of a large hash: its seconds, and what clients of its source and its target waited,
/// while nothing happened and meanwhile.
struct Moved {
    seconds: f64,
    quiet: [(f64, f64); 2],
    busy: [(f64, f64); 2],
}

fn hash(kind: &'static str, fields: usize) -> Moved {
    const PER_COMMAND: usize = 100;
    let pair = Pair::start(kind);
    let [from, to] = pair.ports();
    let hset = |n: usize| {
        let numbers = n * PER_COMMAND..((n + 1) * PER_COMMAND).min(fields);
        let pairs = numbers.flat_map(|i| [format!("field:{i:010}"), format!("value:{i:010}")]);
        resp::encode(&["HSET".to_string(), "large".into()].into_iter().chain(pairs).collect::<Vec<_>>())
    };
    send_all(from, (0..fields.div_ceil(PER_COMMAND)).map(hset));
    let slot = shoal::slot::key_slot(b"large");
    let ids = [ask(from, "CLUSTER MYID"), ask(to, "CLUSTER MYID")];
    assert_eq!(ask(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0])), "OK");
    assert_eq!(ask(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1])), "OK");
    let quiet = Witness::both([from, to], || std::thread::sleep(QUIET));
    let mut seconds = 0.0;
    let busy = Witness::both([from, to], || {
        let mut client = Client::connect(from).expect("a node");
        let start = Instant::now();
        client.send(format!("MIGRATE 127.0.0.1 {to} large 0 120000\r\n").as_bytes()).expect("sent");
        let said = client.read_within(2 * PATIENCE).expect("a reply").text();
        seconds = start.elapsed().as_secs_f64();
        assert_eq!(said, "OK");
    });
    let mut there = Client::connect(to).expect("a node");
    there.cmd("ASKING");
    assert_eq!(there.cmd("HLEN large").int(), fields as i64);
    Moved { seconds, quiet, busy }
}

fn main() {
    let args = Args::parse();
    let wants = |what: &str| args.only.as_deref().is_none_or(|only| only == what);
    if wants("reshard") {
        println!(
            "| keys in a MIGRATE | redis-server s | shoal s | redis-server keys/s | shoal keys/s | ratio |"
        );
        println!("|---:|---:|---:|---:|---:|---:|");
        for &pipeline in &args.pipeline {
            let mut times = KINDS.map(|_| Vec::new());
            for _ in 0..args.turns {
                KINDS.iter().zip(&mut times).for_each(|(kind, t)| t.push(reshard(kind, &args, pipeline)));
            }
            let [redis, shoal] = times.map(|mut t| {
                t.sort_by(f64::total_cmp);
                t[t.len() / 2]
            });
            let rate = |seconds: f64| args.keys as f64 / seconds;
            let (r, s) = (rate(redis), rate(shoal));
            println!("| {pipeline} | {redis:.1} | {shoal:.1} | {r:.0} | {s:.0} | {:.2}x |", redis / shoal);
        }
        println!();
    }
    if wants("hash") {
        println!(
            "| server | fields | MIGRATE s | source p99.9 ms | longest ms | without it ms | target p99.9 ms | longest ms | without it ms |"
        );
        println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
        for kind in KINDS {
            let Moved { seconds, quiet, busy } = hash(kind, args.fields);
            let waits = |n: usize| format!("{:.2} | {:.2} | {:.2}", busy[n].0, busy[n].1, quiet[n].1);
            println!("| {kind} | {} | {seconds:.1} | {} | {} |", args.fields, waits(0), waits(1));
        }
    }
}
