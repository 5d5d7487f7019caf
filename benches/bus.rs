//! What the cluster bus costs hosts of many shards that have nothing to tell each other.
//!
//! `cargo bench --bench bus` joins hosts (planes behind real buses, hearts instead of shards), once with a
//! link pair for each pair of hosts and once with one for each pair of nodes, and prints the CPU time of
//! the buses' threads, and what goes over the loopback device of a network namespace of its own.
//! `-- --hosts 3 --shards 16` for others than two of 64.

use clap::Parser;
use shoal::cluster::plane::{Answer, Command, Effect, Heartbeat, LocalSetup};
use shoal::cluster::view::View;
use shoal::config::{Config, Live};
use shoal::net::bus::drive::Running;
use shoal::net::bus::host::{self, Mail};
use shoal::net::bus::listen;
use shoal::resp::args::OwnedArgs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);
/// Where ports begin. The namespace is the bench's own.
const FIRST: u16 = 10_000;
const BUS: u16 = 10_000;
/// Set for the run inside the namespace.
const INSIDE: &str = "SHOAL_BENCH_INSIDE";

/// Measures the cluster bus.
#[derive(Parser, Clone, Debug)]
struct Options {
    #[arg(long, default_value_t = 2)]
    hosts: u16,
    #[arg(long, default_value_t = 64)]
    shards: u16,
    /// Seconds that are measured, once all know each other
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[arg(long, hide = true)]
    bench: bool,
}

struct Host {
    bus: Running<Mail>,
    view: Arc<Mutex<Option<Arc<View>>>>,
    shards: u16,
}

impl Host {
    fn start(at: u16, options: &Options, shares: bool, dir: &Path) -> Host {
        let first = FIRST + at * options.shards;
        let ports: Vec<u16> = (first..first + options.shards).collect();
        let bus_ports: Vec<u16> = ports.iter().map(|port| port + BUS).collect();
        let config = Config { cluster_host_links: shares, ..Config::default() };
        let view = Arc::new(Mutex::new(None));
        let newest = view.clone();
        let local =
            |port: &u16| LocalSetup { id: None, ip: String::new(), port: *port, bus_port: port + BUS };
        let plan = host::Host {
            live: Arc::new(Live::new(config)),
            path: dir.join(format!("{at}.conf")).display().to_string(),
            listeners: listen(&["127.0.0.1".into()], &bus_ports, 512).expect("free ports"),
            locals: ports.iter().map(local).collect(),
            addresses: vec!["127.0.0.1".into()],
            formed: at == 0,
            seed: first as u64,
            to_shards: Box::new(move |effect| {
                if let Effect::Publish { view, .. } = effect {
                    *newest.lock().expect("a lock") = Some(view);
                }
            }),
            ring: Box::new(|| {}),
            failed: Box::new(|why| panic!("{why}")),
        };
        Host { bus: host::start(plan).expect("a bus"), view, shards: options.shards }
    }

    fn ask(&self, local: u16, line: &str) -> Answer {
        let (answers, answer) = mpsc::channel();
        let command = Command { words: OwnedArgs::new(line.split(' ')), ..Command::default() };
        let reply = Box::new(move |outcome, _: &dyn Fn(_) -> usize| answers.send(outcome).expect("a bench"));
        let mail = Mail::Command { local: local as usize, command, reply };
        assert!(self.bus.mailbox().send(mail).is_ok(), "there is room");
        answer.recv_timeout(PATIENCE).expect("an answer").unwrap_or_else(|why| panic!("{line}: {why}"))
    }

    fn beat(&self) {
        for local in 0..self.shards as usize {
            let beat = Heartbeat::default();
            let _ = self.bus.mailbox().send(Mail::Heartbeat { local, beat });
        }
    }

    fn view(&self) -> Option<Arc<View>> {
        self.view.lock().expect("a lock").clone()
    }

    /// Everybody is known, and reached.
    fn knows(&self, nodes: usize) -> bool {
        self.view().is_some_and(|view| view.nodes.len() == nodes && view.nodes.iter().all(|node| node.linked))
    }
}

/// CPU time of all threads of this name.
fn cpu(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this process");
    let spent = |task: PathBuf| {
        let own = std::fs::read_to_string(task.join("comm")).ok()? == format!("{name}\n");
        let stat = std::fs::read_to_string(task.join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok().filter(|_| own)
    };
    let all = tasks.filter_map(|task| spent(task.ok()?.path()));
    Duration::from_nanos(all.sum())
}

/// Packets and bytes that the loopback device has carried.
fn carried() -> (u64, u64) {
    let table = std::fs::read_to_string("/proc/self/net/dev").expect("the devices");
    let line = table.lines().find(|line| line.trim_start().starts_with("lo:")).expect("a loopback device");
    let figures: Vec<u64> = line.split_whitespace().skip(1).map(|w| w.parse().expect("a figure")).collect();
    // eight figures of what came, then what was sent: bytes, packets, ...
    (figures[9], figures[8])
}

/// TCP connections that stand, both of their ends counted as one.
fn connections() -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("the connections");
    table.lines().filter(|line| line.split_whitespace().nth(3) == Some("01")).count() / 2
}

fn rest(hosts: &[Host], time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        hosts.iter().for_each(Host::beat);
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn measure(options: &Options, shares: bool) {
    let dir = std::env::temp_dir().join(format!("shoal-bench-bus-{}-{shares}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let hosts: Vec<Host> = (0..options.hosts).map(|at| Host::start(at, options, shares, &dir)).collect();
    for host in &hosts[1..] {
        for local in 0..options.shards {
            assert_eq!(host.ask(local, &format!("MEET 127.0.0.1 {FIRST} {}", FIRST + BUS)), Answer::Ok);
        }
    }
    let begun = Instant::now();
    let nodes = options.hosts as usize * options.shards as usize;
    while !hosts.iter().all(|host| host.knows(nodes)) {
        assert!(begun.elapsed() < PATIENCE, "the hosts do not find each other");
        rest(&hosts, Duration::from_millis(100));
    }
    let joined = begun.elapsed();
    rest(&hosts, Duration::from_secs(5));
    let (busy, (packets, bytes)) = (cpu("bus"), carried());
    rest(&hosts, Duration::from_secs(options.seconds));
    let (seconds, after) = (options.seconds as f64, carried());
    let cpu = (cpu("bus") - busy).as_secs_f64() / seconds / options.hosts as f64;
    println!(
        "| {} | {} | {:.1} | {} | {:.0} | {:.1} | {:.2} |",
        nodes,
        if shares { "pair of hosts" } else { "pair of nodes" },
        joined.as_secs_f64(),
        connections(),
        (after.0 - packets) as f64 / seconds,
        (after.1 - bytes) as f64 / seconds / 1000.0,
        cpu * 100.0
    );
    hosts.into_iter().for_each(|host| host.bus.stop());
    let _ = std::fs::remove_dir_all(dir);
}

fn main() {
    let options = Options::parse();
    if std::env::var_os(INSIDE).is_none() {
        let own = std::env::current_exe().expect("this program");
        let mut command = std::process::Command::new("unshare");
        command.args(["-rn", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]).arg(own);
        command.args(std::env::args().skip(1)).env(INSIDE, "1");
        let status = command.status().expect("unshare (util-linux) runs");
        std::process::exit(status.code().unwrap_or(1));
    }
    println!(
        "| nodes | a link pair for each | s to join | TCP links | TCP packets/s | KB/s | bus threads, % of a core a host |"
    );
    println!("|---:|---|---:|---:|---:|---:|---:|");
    measure(&options, false);
    measure(&options, true);
}
