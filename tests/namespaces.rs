//! Three hosts with addresses of their own, ruled by redis-cli while clients are at work.
//!
//! The test makes a network namespace for itself and one for each host, and a bridge between them. Where
//! that is refused, the hosts have loopback addresses instead; it prints which it was.

mod common;

use common::namespaces::{Net, in_namespaces};
use common::server::{TempDir, read_log, run, shoal_bin, spawn};
use common::wait_for;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// Sets and gets by redis-py until a file appears, a hundred times at least; every answer is checked.
const CLIENT: &str = "
import os, sys, redis
r = redis.cluster.RedisCluster(host=sys.argv[1], port=int(sys.argv[2]))
n = 0
while n < 100 or not os.path.exists(sys.argv[3]):
    assert r.set(f'key:{n % 5000}', n)
    assert r.get(f'key:{n % 5000}') == str(n).encode()
    n += 1
";

/// A host of two shards, started by a configuration file of its own.
struct Host(Child, TempDir);

impl Host {
    fn start(net: &Net, host: usize) -> Host {
        let dir = TempDir::new();
        let (file, ip) = (dir.0.join("shoal.conf"), &net.addresses[host]);
        let text = format!(
            "port {}\nbind {ip}\nbind-source-addr {ip}\ncluster-enabled yes\nshards 2\nprotected-mode no\ndir {}\n\
             cluster-node-timeout 5000\n",
            net.base,
            dir.0.display()
        );
        std::fs::write(&file, text).expect("a configuration file");
        let child = spawn(net.command(host, &shoal_bin()).arg(file), &dir.0);
        let host_is_up = || (0..2).all(|shard| answers(&net.node(host, shard))).then_some(());
        assert!(wait_for(PATIENCE, host_is_up).is_some(), "{ip} does not start:\n{}", read_log(&dir.0));
        Host(child, dir)
    }

    fn conf(&self) -> String {
        std::fs::read_to_string(self.1.0.join("shoal.conf")).expect("a configuration file")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        if std::thread::panicking() {
            eprintln!("--- a host said:\n{}", read_log(&self.1.0));
        }
    }
}

fn answers(address: &str) -> bool {
    let address: SocketAddr = address.parse().expect("an address");
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// redis-cli --cluster …; it must succeed. What it said.
fn cli(args: &[&str]) -> String {
    let output = run(Command::new("redis-cli").arg("--cluster").args(args));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "redis-cli --cluster {args:?}: {text}");
    text
}

/// One command at one node.
fn ask(node: &str, words: &[&str]) -> String {
    let (ip, port) = node.rsplit_once(':').expect("a port");
    let output = run(Command::new("redis-cli").args(["-h", ip, "-p", port]).args(words));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// All nodes know so many, and are well.
fn agree(nodes: &[String], count: usize) {
    let well = || {
        let knows = |node: &String| {
            let said = ask(node, &["cluster", "info"]);
            said.contains("cluster_state:ok") && said.contains(&format!("cluster_known_nodes:{count}\r"))
        };
        nodes.iter().all(knows).then_some(())
    };
    let told = || nodes.iter().map(|node| ask(node, &["cluster", "nodes"])).collect::<Vec<_>>().join("\n\n");
    assert!(wait_for(PATIENCE, well).is_some(), "they do not agree:\n{}", told());
}

/// The python that has redis-py: `tests/run` makes it.
fn python() -> PathBuf {
    let made = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/bin/python");
    match std::env::var_os("SHOAL_PYTHON") {
        Some(path) => PathBuf::from(path),
        None if made.exists() => made,
        None => PathBuf::from("python3"),
    }
}

/// A client at work, and where it writes.
struct Load(&'static str, Child, TempDir);

impl Load {
    fn start(name: &'static str, command: &mut Command) -> Load {
        let dir = TempDir::new();
        Load(name, spawn(command, &dir.0), dir)
    }

    /// It must end well, by itself.
    fn end(mut self) {
        let status = wait_for(PATIENCE, || self.1.try_wait().expect("a child's state"));
        let said = read_log(&self.2.0);
        assert!(status.is_some_and(|status| status.success()), "{}: {status:?}\n{said}", self.0);
        assert!(!said.to_lowercase().contains("error"), "{}: {said}", self.0);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.1.kill();
        let _ = self.1.wait();
    }
}

fn three_hosts(net: &Net) {
    let hosts: Vec<Host> = (0..3).map(|host| Host::start(net, host)).collect();
    let all: Vec<String> = (0..3).flat_map(|h| [net.node(h, 0), net.node(h, 1)]).collect();
    let (members, spare) = (&all[..5], &all[5]);
    let mut create: Vec<&str> = vec!["create"];
    create.extend(members.iter().map(String::as_str));
    create.extend(["--cluster-replicas", "0", "--cluster-yes"]);
    assert!(cli(&create).contains("All 16384 slots covered"));
    agree(members, 5);

    let stop = TempDir::new();
    let (ip, port) = members[0].rsplit_once(':').expect("a port");
    let flag = stop.0.join("stop");
    let script = ["-c", CLIENT, ip, port];
    let client = Load::start("redis-py", Command::new(python()).args(script).arg(&flag));
    let requests = ["--cluster", "-t", "set,get", "-n", "150000", "-c", "10", "-r", "5000", "-q", "-h"];
    let mut benchmark = Command::new("redis-benchmark");
    let benchmark = Load::start("redis-benchmark", benchmark.args(requests).args([ip, "-p", port]));

    cli(&["add-node", spare, &members[0]]);
    agree(&all, 6);
    assert!(cli(&["check", spare]).contains("All 16384 slots covered"));
    assert!(cli(&["info", &all[2]]).contains("6 masters"));
    let said = cli(&["call", &all[1], "ping"]);
    assert_eq!(said.matches("PONG").count(), 6, "{said}");
    let id = ask(spare, &["cluster", "myid"]);
    cli(&["del-node", &members[0], &id]);
    agree(members, 5);
    assert!(ask(spare, &["cluster", "info"]).contains("cluster_known_nodes:1\r"));
    let said = cli(&["set-timeout", &members[0], "4321"]);
    assert!(said.contains("5 OK, 0 ERR"), "{said}");
    for (host, files) in hosts.iter().enumerate() {
        assert!(files.conf().contains("cluster-node-timeout 4321"), "{}", files.conf());
        assert!(ask(&net.node(host, 0), &["config", "get", "cluster-node-timeout"]).contains("4321"));
    }

    std::fs::write(flag, "").expect("a file");
    client.end();
    benchmark.end();
    agree(members, 5);
}

#[test]
fn three_hosts_are_ruled_while_clients_are_at_work() {
    in_namespaces("three_hosts_are_ruled_while_clients_are_at_work", three_hosts);
}
