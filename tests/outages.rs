//! A whole host is lost: killed, stopped, or cut off. How long until its slots can be written to again, and
//! that nothing is lost of what a replica has acknowledged.
//!
//! Three hosts of two nodes each, replicas crossed: a host has a primary, and a replica of the primary of the
//! host before it. redis-server is put through the same: two processes a host. It prints a table.
//!
//! `SHOAL_LONG=1` loses each host in turn, 20 times in each way, with two node timeouts, of both kinds of
//! server; `SHOAL_RUNS` says how often instead, and `SHOAL_TIMEOUT` with what node timeout.

mod common;

use common::client::Client;
use common::namespaces::{Net, in_namespaces};
use common::resp::Reply;
use common::server::{TempDir, read_log, shoal_bin, spawn};
use common::{long, wait_for};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// A request to a host that is there takes no longer.
const ANSWER: Duration = Duration::from_millis(500);
const HOSTS: usize = 3;
/// So long masters wait for a manual failover (CLUSTER_MF_TIMEOUT), and a little more.
const MANUAL: Duration = Duration::from_secs(6);
/// Shoal's slots can be written to again within the node timeout and so much more.
const LATE_S: f64 = 1.0;
const SLOTS: u32 = 16384;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Shoal,
    Redis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    Killed,
    Stopped,
    CutOff,
}

impl Outage {
    fn name(self) -> &'static str {
        match self {
            Outage::Killed => "kill -9",
            Outage::Stopped => "SIGSTOP",
            Outage::CutOff => "network cut",
        }
    }
}

/// A host's processes, and the directories of its processes, which outlive them.
struct Host {
    processes: Vec<Child>,
    dirs: Vec<TempDir>,
}

struct House<'a> {
    net: &'a Net,
    kind: Kind,
    timeout_ms: u64,
    hosts: Vec<Host>,
    /// A key for the slots of each host's primary.
    keys: Vec<String>,
}

/// One request on a connection of its own; nothing when there is no answer.
fn try_ask(node: &str, words: &[&str]) -> Option<Reply> {
    Client::reach(node, ANSWER).ok()?.call(words).ok()
}

fn ask(node: &str, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    try_ask(node, &words).unwrap_or_else(|| panic!("{node} does not answer {line}")).text()
}

fn see(node: &str, line: &str, what: &str, wanted: impl Fn(&str) -> bool) {
    let words: Vec<&str> = line.split(' ').collect();
    let seen = wait_for(PATIENCE, || try_ask(node, &words).filter(|said| wanted(&said.text())));
    let said = || try_ask(node, &words).map_or("nothing".to_owned(), |said| said.text());
    assert!(seen.is_some(), "{what} is not seen by {node}: {}", said());
}

impl<'a> House<'a> {
    fn new(net: &'a Net, kind: Kind, timeout_ms: u64) -> House<'a> {
        let host = |_| Host { processes: Vec::new(), dirs: (0..2).map(|_| TempDir::new()).collect() };
        let keys = (0..HOSTS as u32).map(|host| key_of(share(host))).collect();
        let mut house = House { net, kind, timeout_ms, hosts: (0..HOSTS).map(host).collect(), keys };
        (0..HOSTS).for_each(|host| house.start(host));
        let first = net.node(0, 0);
        let (ip, port) = first.rsplit_once(':').expect("a port");
        for host in 0..HOSTS {
            let (from, to) = share(host as u32);
            let node = net.node(host, 0);
            assert_eq!(ask(&node, &format!("CLUSTER ADDSLOTSRANGE {from} {to}")), "OK");
            assert_eq!(ask(&node, &format!("CLUSTER SET-CONFIG-EPOCH {}", host + 1)), "OK");
        }
        for node in house.nodes().iter().skip(1) {
            assert_eq!(ask(node, &format!("CLUSTER MEET {ip} {port}")), "OK");
        }
        let all = HOSTS * 2;
        for node in house.nodes() {
            see(&node, "CLUSTER NODES", "everybody", |nodes| {
                nodes.lines().count() == all && !nodes.contains("handshake")
            });
        }
        for host in 0..HOSTS {
            let primary = ask(&net.node(host, 0), "CLUSTER MYID");
            assert_eq!(ask(&house.replica_of(host), &format!("CLUSTER REPLICATE {primary}")), "OK");
        }
        house.is_well();
        house
    }

    fn nodes(&self) -> Vec<String> {
        (0..HOSTS).flat_map(|host| [self.net.node(host, 0), self.net.node(host, 1)]).collect()
    }

    /// The replica of a host's primary is on the next host.
    fn replica_of(&self, host: usize) -> String {
        self.net.node((host + 1) % HOSTS, 1)
    }

    fn start(&mut self, host: usize) {
        let ip = self.net.addresses[host].clone();
        let timeout = self.timeout_ms.to_string();
        let common = ["--bind", &ip, "--protected-mode", "no", "--cluster-enabled", "yes", "--save", ""];
        let timeout = ["--cluster-node-timeout", &timeout, "--repl-diskless-sync-delay", "0"];
        let count = if self.kind == Kind::Shoal { 1 } else { 2 };
        for n in 0..count {
            let (program, port) = match self.kind {
                Kind::Shoal => (shoal_bin(), self.net.base),
                Kind::Redis => (Path::new("redis-server").to_owned(), self.net.base + 1 + n),
            };
            let dir = &self.hosts[host].dirs[n as usize].0;
            let mut command = self.net.command(host, &program);
            command.args(["--port", &port.to_string()]).args(common).args(timeout);
            if self.kind == Kind::Shoal {
                command.args(["--shards", "2", "--bind-source-addr", &ip]);
            }
            let child = spawn(command.arg("--dir").arg(dir), dir);
            self.hosts[host].processes.push(child);
        }
        for shard in 0..2 {
            see(&self.net.node(host, shard), "PING", "a start", |said| said == "PONG");
        }
    }

    /// Every host has its primary, and every primary its replica.
    fn is_well(&self) {
        for host in 0..HOSTS {
            let node = self.net.node(host, 0);
            // after a cut, replicas of redis-server's other masters may have won elections, too
            if self.kind == Kind::Redis {
                self.go_home(&node);
            }
            see(&node, "INFO replication", "its replica", |info| {
                info.contains("role:master") && info.contains("state=online")
            });
            see(&self.replica_of(host), "INFO replication", "its primary", |info| {
                info.contains("role:slave") && info.contains("master_link_status:up")
            });
        }
        for node in self.nodes() {
            see(&node, "CLUSTER INFO", "a cluster", |info| info.contains("cluster_state:ok"));
            see(&node, "CLUSTER NODES", "nobody missing", |nodes| !nodes.contains("fail"));
        }
    }

    fn signal(&self, host: usize, signal: i32) {
        for process in &self.hosts[host].processes {
            let pid = libc::pid_t::try_from(process.id()).expect("a pid");
            // SAFETY: a signal to a child that is not yet reaped; no memory is touched.
            assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        }
    }

    fn begin(&mut self, outage: Outage, host: usize) {
        match outage {
            Outage::Killed => {
                self.signal(host, libc::SIGKILL);
                self.hosts[host].processes.drain(..).for_each(|mut process| drop(process.wait()));
            }
            Outage::Stopped => self.signal(host, libc::SIGSTOP),
            Outage::CutOff => self.net.cut(host, true),
        }
    }

    fn end(&mut self, outage: Outage, host: usize) {
        match outage {
            Outage::Killed => self.start(host),
            Outage::Stopped => self.signal(host, libc::SIGCONT),
            Outage::CutOff => self.net.cut(host, false),
        }
    }

    /// Makes a replica a primary again. It may not know yet that its primary is there, and masters may not have
    /// heard yet that it is a replica, and refuse it their votes: redis-server then has to be asked again.
    fn go_home(&self, primary: &str) {
        let promoted = |said: &Reply| said.text().contains("role:master");
        let role = || try_ask(primary, &["INFO", "replication"]).filter(promoted);
        let asked_once = || {
            role().or_else(|| {
                try_ask(primary, &["CLUSTER", "FAILOVER"]).filter(|said| said.text() == "OK")?;
                wait_for(MANUAL, role)
            })
        };
        let home = wait_for(PATIENCE, asked_once);
        assert!(home.is_some(), "{primary} is not made a primary again");
    }

    /// Loses a host, and has it come back. Seconds until all slots can be written to by those who are left.
    fn lose(&mut self, outage: Outage, host: usize, run: u64) -> f64 {
        let what = format!("{:?} with a host that is lost by {}", self.kind, outage.name());
        let (key, kept) = (self.keys[host].clone(), format!("{{{}}}kept", self.keys[host]));
        let (primary, replica) = (self.net.node(host, 0), self.replica_of(host));
        let mut client = Client::reach(&primary, ANSWER).expect("a connection");
        assert_eq!(client.cmd(&format!("SET {kept} {run}")).text(), "OK", "{what}");
        assert_eq!(client.cmd("WAIT 1 5000").text(), "1", "{what}");
        let begin = Instant::now();
        self.begin(outage, host);
        let written = || {
            let said = try_ask(&replica, &["SET", &key, "after"])?;
            (said.text() == "OK").then_some(begin.elapsed().as_secs_f64())
        };
        let took = wait_for(PATIENCE, written);
        let took = took.unwrap_or_else(|| panic!("{what}: nobody takes over"));
        assert_eq!(ask(&replica, &format!("GET {kept}")), run.to_string(), "{what}");
        // a third host's node sends clients there
        let third = self.net.node((host + 2) % HOSTS, 0);
        see(&third, &format!("GET {key}"), "who took over", |said| {
            said.starts_with("MOVED") && said.ends_with(&replica)
        });
        self.end(outage, host);
        see(&primary, "INFO replication", "its new place", |info| {
            info.contains("role:slave") && info.contains("master_link_status:up")
        });
        // who is asked to stand back listens only to a replica of its own
        see(&replica, "CLUSTER NODES", "whose replica it is", |nodes| {
            nodes.lines().any(|node| node.contains(&format!(" {primary}@")) && node.contains("slave"))
        });
        self.go_home(&primary);
        self.is_well();
        assert_eq!(ask(&primary, &format!("GET {key}")), "after", "{what}");
        took
    }
}

impl Drop for House<'_> {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            for process in &mut host.processes {
                let _ = process.kill();
                let _ = process.wait();
            }
            if std::thread::panicking() {
                host.dirs.iter().for_each(|dir| eprintln!("--- a host said:\n{}", read_log(&dir.0)));
            }
        }
    }
}

/// A host's share of the slots.
fn share(host: u32) -> (u32, u32) {
    let edge = |host: u32| host * SLOTS / HOSTS as u32;
    (edge(host), edge(host + 1) - 1)
}

fn key_of((from, to): (u32, u32)) -> String {
    let slot = |key: &String| u32::from(shoal::slot::key_slot(key.as_bytes()));
    (0..)
        .map(|n| format!("key{n}"))
        .find(|key| (from..=to).contains(&slot(key)))
        .expect("a key of every slot")
}

fn told(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

fn runs() -> u64 {
    told("SHOAL_RUNS").unwrap_or(if long() { 20 } else { 1 })
}

fn hosts_are_lost(net: &Net) {
    let kinds: &[Kind] = if long() { &[Kind::Redis, Kind::Shoal] } else { &[Kind::Shoal] };
    let usual: &[u64] = if long() { &[2000, 5000] } else { &[2000] };
    let timeouts = told("SHOAL_TIMEOUT").map_or(usual.to_vec(), |ms| vec![ms]);
    let outages: &[Outage] = match net.can_be_cut() {
        true => &[Outage::Killed, Outage::Stopped, Outage::CutOff],
        false => {
            eprintln!("without namespaces no network can be cut");
            &[Outage::Killed, Outage::Stopped]
        }
    };
    println!("| a host is lost by | node timeout ms | server | times | writable again s, median | worst |");
    println!("|---|---:|---|---:|---:|---:|");
    for timeout_ms in timeouts {
        for &kind in kinds {
            let mut house = House::new(net, kind, timeout_ms);
            // masters vote about the same one once in two node timeouts: another host each time
            let mut turns = (0..HOSTS).cycle();
            for &outage in outages {
                let mut took: Vec<f64> =
                    (0..runs()).map(|run| house.lose(outage, turns.next().expect("no end"), run)).collect();
                took.sort_by(f64::total_cmp);
                let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
                let name = if kind == Kind::Shoal { "shoal" } else { "redis-server" };
                println!(
                    "| {} | {timeout_ms} | {name} | {} | {median:.2} | {worst:.2} |",
                    outage.name(),
                    took.len()
                );
                let promised = timeout_ms as f64 / 1000.0 + LATE_S;
                assert!(kind == Kind::Redis || worst <= promised, "{}: {worst:.2} s", outage.name());
            }
        }
    }
}

#[test]
fn a_lost_host_is_replaced() {
    in_namespaces("a_lost_host_is_replaced", hosts_are_lost);
}
