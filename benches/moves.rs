//! Keys that move between two nodes, Shoal's beside redis-server's in one run.
//!
//! `cargo bench --bench moves` prints three tables: how long redis-cli takes to create a cluster, and to reshard
//! slots full of small keys, by the clock and in CPU time of the servers; and what other clients of both nodes
//! wait while one MIGRATE carries a large hash. `-- --only create`, `reshard` or `hash` measures one of them,
//! `-- --only reshard --keys 0 --slots 4000` slots without keys; `--help` tells the rest.

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
    /// How often each is measured by the clock; the medians count
    #[arg(long, default_value_t = 1)]
    turns: usize,
    /// `create`, `reshard` or `hash`
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

/// What something took: seconds by the clock, and of CPU time of the servers.
#[derive(Clone, Copy, Default)]
struct Spent {
    clock: f64,
    cpu: f64,
}

impl Spent {
    fn on(nodes: &[Member], work: impl FnOnce()) -> Spent {
        let cpu = || nodes.iter().map(|node| cpu_of(node.pid())).sum::<f64>();
        let (start, before) = (Instant::now(), cpu());
        work();
        Spent { clock: start.elapsed().as_secs_f64(), cpu: cpu() - before }
    }

    /// For each kind of server, the medians of some turns.
    fn medians(turns: usize, mut measure: impl FnMut(&'static str) -> Spent) -> [Spent; 2] {
        let mut all = KINDS.map(|_| Vec::new());
        for _ in 0..turns {
            KINDS.iter().zip(&mut all).for_each(|(kind, all)| all.push(measure(kind)));
        }
        let median = |all: &[Spent], of: fn(&Spent) -> f64| {
            let mut all: Vec<f64> = all.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        all.map(|all| Spent { clock: median(&all, |s| s.clock), cpu: median(&all, |s| s.cpu) })
    }
}

/// Seconds for which a process's threads have had a core.
fn cpu_of(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let ran = |thread: std::fs::DirEntry| -> Option<u64> {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    threads.filter_map(|thread| ran(thread.ok()?)).sum::<u64>() as f64 / 1e9
}

/// What it takes to make a cluster of three nodes.
fn create(kind: &'static str) -> Spent {
    let ports = Ports::take();
    let node = |i: u16| {
        let port = (ports.base + i).to_string();
        Member::start(
            kind,
            vec![ports.base + i],
            &["--cluster-enabled", "yes", "--port", &port, "--save", ""],
        )
    };
    let nodes: Vec<Member> = (0..3).map(node).collect();
    let addresses: Vec<String> = nodes.iter().map(|node| at(node.ports[0])).collect();
    let words: Vec<&str> = addresses.iter().map(String::as_str).collect();
    Spent::on(&nodes, || drop(cli(&[&["create"], &words[..], &["--cluster-yes"]].concat())))
}

/// What a reshard takes.
fn reshard(kind: &'static str, args: &Args, pipeline: usize) -> Spent {
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
    let any = at(from);
    let how =
        ["reshard", &any, "--cluster-from", &ids[0], "--cluster-to", &ids[1], "--cluster-slots", &slots];
    let more = ["--cluster-pipeline", &pipeline, "--cluster-yes"];
    let spent = Spent::on(&pair.nodes, || drop(cli(&[&how[..], &more[..]].concat())));
    assert_eq!([ask(from, "DBSIZE"), ask(to, "DBSIZE")], ["0".to_string(), args.keys.to_string()]);
    spent
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
    if wants("create") {
        println!("| | redis-server s | shoal s | redis-server CPU s | shoal CPU s |");
        println!("|---|---:|---:|---:|---:|");
        let [redis, shoal] = Spent::medians(args.turns, create);
        let Spent { clock, cpu } = redis;
        println!("| create | {clock:.2} | {:.2} | {cpu:.2} | {:.2} |\n", shoal.clock, shoal.cpu);
    }
    if wants("reshard") {
        println!("{} slots with {} keys\n", args.slots, args.keys);
        println!(
            "| keys in a MIGRATE | redis-server s | shoal s | redis-server keys/s | shoal keys/s | ratio | \
             redis-server CPU s | shoal CPU s | ratio |"
        );
        println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
        for &pipeline in &args.pipeline {
            let [redis, shoal] = Spent::medians(args.turns, |kind| reshard(kind, &args, pipeline));
            let [r, s] = [redis, shoal].map(|spent| args.keys as f64 / spent.clock);
            let times = format!("{:.1} | {:.1} | {r:.0} | {s:.0}", redis.clock, shoal.clock);
            let ratios = [redis.clock / shoal.clock, redis.cpu / shoal.cpu];
            println!(
                "| {pipeline} | {times} | {:.2}x | {:.2} | {:.2} | {:.2}x |",
                ratios[0], redis.cpu, shoal.cpu, ratios[1]
            );
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
