//! Planes behind real buses: hosts that meet each other and redis-server nodes over TCP.
//!
//! No shard runs here: the tests send the heartbeats and commands that shards would.

mod common;

use common::client::Client;
use common::ports::{BUS, Ports};
use common::server::{TempDir, spawn};
use common::wait_for;
use shoal::cluster::conf;
use shoal::cluster::plane::{Answer, Command, Effect, Heartbeat, LocalSetup};
use shoal::cluster::view::View;
use shoal::config::{Config, Live};
use shoal::net::bus::drive::{Mailbox, Running};
use shoal::net::bus::host::{self, Mail};
use shoal::net::bus::listen;
use shoal::resp::args::OwnedArgs;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const NODE_TIMEOUT_MS: u64 = 2000;

/// A host's bus, with hearts that beat.
struct Host {
    bus: Option<Running<Mail>>,
    mailbox: Mailbox<Mail>,
    view: Arc<Mutex<Option<Arc<View>>>>,
    failure: Arc<Mutex<Option<String>>>,
    stop: Arc<AtomicBool>,
    heart: Option<JoinHandle<()>>,
}

/// Waits until nobody holds nodes.conf: a child that another test has forked just now has its lock as well, until
/// it becomes the program that it is to run.
fn wait_released(dir: &Path) {
    let free = || match std::fs::File::open(dir.join("nodes.conf")) {
        Ok(file) => file.try_lock().ok(),
        Err(_) => Some(()),
    };
    wait_for(PATIENCE, free).expect("a file that nobody uses");
}

impl Host {
    /// Nodes at `port`, `port + 1`, …, whose nodes.conf is in `dir`.
    fn start(dir: &Path, port: u16, shards: u16, formed: bool) -> Host {
        let ports: Vec<u16> = (port..port + shards).collect();
        let bus_ports: Vec<u16> = ports.iter().map(|port| port + BUS).collect();
        let config = Config { cluster_node_timeout: NODE_TIMEOUT_MS, ..Config::default() };
        let view = Arc::new(Mutex::new(None));
        let failure = Arc::new(Mutex::new(None));
        let (newest, why) = (view.clone(), failure.clone());
        let host = host::Host {
            live: Arc::new(Live::new(config)),
            path: dir.join("nodes.conf").display().to_string(),
            listeners: listen(&["127.0.0.1".into()], &bus_ports, 16).expect("free ports"),
            locals: ports
                .iter()
                .map(|port| LocalSetup { id: None, ip: String::new(), port: *port, bus_port: port + BUS })
                .collect(),
            addresses: vec!["127.0.0.1".into()],
            formed,
            seed: port as u64,
            to_shards: Box::new(move |effect| {
                if let Effect::Publish { view, .. } = effect {
                    *newest.lock().expect("a lock") = Some(view);
                }
            }),
            ring: Box::new(|| {}),
            failed: Box::new(move |e| *why.lock().expect("a lock") = Some(e)),
        };
        let bus = host::start(host).expect("a bus");
        let mailbox = bus.mailbox();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mail) = (stop.clone(), bus.mailbox());
        let heart = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for local in 0..shards as usize {
                    let _ = mail.send(Mail::Heartbeat { local, beat: Heartbeat::default() });
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Host { bus: Some(bus), mailbox, view, failure, stop, heart: Some(heart) }
    }

    fn command(&self, local: usize, line: &str) -> Result<Answer, String> {
        let (answers, answer) = mpsc::channel();
        let command = Command { words: OwnedArgs::new(line.split(' ')), ..Command::default() };
        let reply = Box::new(move |outcome, _: &dyn Fn(_) -> usize| answers.send(outcome).expect("a test"));
        let sent = self.mailbox.send(Mail::Command { local, command, reply });
        assert!(sent.is_ok(), "there is room");
        answer.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    fn meet(&self, local: usize, port: u16) {
        let answer = self.command(local, &format!("MEET 127.0.0.1 {port} {}", port + BUS));
        assert_eq!(answer, Ok(Answer::Ok));
    }

    /// Waits until the newest view is as wanted.
    fn see(&self, what: &str, wanted: impl Fn(&View) -> bool) -> Arc<View> {
        let view = || self.view.lock().expect("a lock").clone();
        let seen = wait_for(PATIENCE, || view().filter(|view| wanted(view)));
        assert_eq!(*self.failure.lock().expect("a lock"), None);
        seen.unwrap_or_else(|| panic!("{what} does not come: {:#?}", view().map(|v| v.nodes.clone())))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(heart) = self.heart.take() {
            let _ = heart.join();
        }
        if let Some(bus) = self.bus.take() {
            bus.stop();
        }
    }
}

/// A redis-server node without slots. Ended when dropped.
struct Redis(Child, u16);

impl Redis {
    fn start(dir: &Path, port: u16) -> Redis {
        let mut command = std::process::Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--cluster-enabled", "yes", "--save", "", "--bind"]);
        command.args(["127.0.0.1", "--cluster-node-timeout", &NODE_TIMEOUT_MS.to_string(), "--dir"]);
        let child = spawn(command.arg(dir), dir);
        wait_for(PATIENCE, || Client::connect(port).ok()?.call(&["PING"]).ok()).expect("redis-server starts");
        Redis(child, port)
    }

    fn ask(&self, line: &str) -> String {
        Client::connect(self.1).expect("redis-server").cmd(line).text().to_owned()
    }

    fn see(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let seen = wait_for(PATIENCE, || Some(self.ask(what)).filter(|text| wanted(text)));
        assert!(seen.is_some(), "{what}: {}", self.ask(what));
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn all_linked(view: &View, nodes: usize) -> bool {
    view.nodes.len() == nodes && view.nodes.iter().all(|node| node.linked) && view.ok
}

#[test]
fn hosts_and_redis_become_one_cluster_and_notice_a_loss() {
    let ports = Ports::take();
    let dirs = [TempDir::new(), TempDir::new(), TempDir::new()];
    let (a_port, b_port, redis_port) = (ports.base, ports.base + 4, ports.base + 8);
    let a = Host::start(&dirs[0].0, a_port, 2, true);
    let b = Host::start(&dirs[1].0, b_port, 1, false);
    let redis = Redis::start(&dirs[2].0, redis_port);

    a.meet(0, redis_port);
    b.meet(0, a_port + 1);
    a.see("four nodes with links", |view| all_linked(view, 4));
    b.see("four nodes with links", |view| all_linked(view, 4));
    redis.see("CLUSTER NODES", |text| text.matches(" connected").count() == 4);
    redis.see("CLUSTER INFO", |text| {
        text.contains("cluster_state:ok") && text.contains("cluster_slots_assigned:16384")
    });
    // both of a's nodes send for themselves, and carry their own slots
    redis.see("CLUSTER NODES", |text| text.contains("0-8191") && text.contains("8192-16383"));
    let counts = a.see("packets", |view| view.counts.len() == 2).counts.clone();
    assert!(counts.iter().all(|(_, counts)| counts.malformed == 0), "{counts:?}");
    let Ok(Answer::Links(links)) = a.command(1, "LINKS") else { panic!("links") };
    assert_eq!(links.len(), 4, "to and from both foreign nodes: {links:?}");

    // a message of a's client reaches the others
    let mut client = Client::connect(redis_port).expect("redis-server");
    client.cmd("SUBSCRIBE news");
    let (channel, message) = ("news".into(), "hello".into());
    assert!(a.mailbox.send(Mail::Publish { local: 0, channel, message, sharded: false }).is_ok());
    assert!(client.read().expect("a message").raw.ends_with(b"$5\r\nhello\r\n"));

    // the masters with slots agree that it is gone
    drop(redis);
    for host in [&a, &b] {
        let view = host.see("a failure", |view| view.nodes.iter().any(|node| node.failed()));
        let gone: Vec<u16> = view.nodes.iter().filter(|node| node.failed()).map(|node| node.port).collect();
        assert_eq!(gone, [redis_port]);
    }

    // a comes back from its nodes.conf as who it was
    let before = a.see("itself", |view| view.nodes.len() == 4);
    drop(a);
    let text = std::fs::read(dirs[0].0.join("nodes.conf")).expect("nodes.conf");
    let saved = conf::parse(&text).expect("it is whole").expect("it is not empty");
    assert_eq!(saved.nodes.iter().filter(|node| node.is_myself()).count(), 2);
    let a = Host::start(&dirs[0].0, a_port, 2, true);
    let after = a.see("its old cluster", |view| {
        let linked = view.nodes.iter().filter(|node| node.linked).count();
        view.nodes.len() == 4 && linked == 3
    });
    for local in 0..2 {
        assert_eq!(after.local_node(local).id(), before.local_node(local).id());
        assert_eq!(after.ranges(after.local_index(local)), before.ranges(before.local_index(local)));
    }
}

#[test]
fn a_nodes_conf_that_is_torn_or_in_use_is_refused() {
    let ports = Ports::take();
    let dir = TempDir::new();
    let start = |port: u16| {
        let host = host::Host {
            live: Arc::new(Live::new(Config::default())),
            path: dir.0.join("nodes.conf").display().to_string(),
            listeners: listen(&["127.0.0.1".into()], &[port + BUS], 16).expect("a free port"),
            locals: vec![LocalSetup { id: None, ip: String::new(), port, bus_port: port + BUS }],
            addresses: Vec::new(),
            formed: false,
            seed: 1,
            to_shards: Box::new(drop),
            ring: Box::new(|| {}),
            failed: Box::new(|_| {}),
        };
        host::start(host).map(Running::stop)
    };
    start(ports.base).expect("a fresh start");
    wait_released(&dir.0);
    let path = dir.0.join("nodes.conf");
    let whole = std::fs::read_to_string(&path).expect("it was written");
    start(ports.base).expect("a second start");
    wait_released(&dir.0);

    let running = Host::start(&dir.0, ports.base + 2, 1, false);
    let why = start(ports.base).expect_err("it is in use");
    assert!(why.contains("is already used by a different Redis Cluster node"), "{why}");
    drop(running);
    wait_released(&dir.0);

    std::fs::write(&path, &whole[..whole.len() / 2]).expect("a write");
    let why = start(ports.base).expect_err("it is torn");
    assert!(why.starts_with("Unrecoverable error: corrupted cluster config file"), "{why}");
    assert!(why.contains(": line 1: "), "{why}");
    assert_eq!(std::fs::read_to_string(&path).expect("it is left alone"), whole[..whole.len() / 2]);
}

#[test]
fn a_bus_port_in_use_is_one_clear_line() {
    let ports = Ports::take();
    let first = listen(&["127.0.0.1".into()], &[ports.base + BUS], 16).expect("a free port");
    let why = listen(&["127.0.0.1".into()], &[ports.base + BUS], 16).expect_err("it is taken");
    assert!(why.contains(&format!("Failed listening on port {} (cluster), aborting.", ports.base + BUS)));
    drop(first);
    listen(&["127.0.0.1".into()], &[ports.base + BUS], 16).expect("it is free again");
}
