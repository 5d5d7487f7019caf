//! Whole clusters of real processes: Shoal hosts, alone and together with redis-server nodes, as
//! redis-cli and other nodes see them.

use super::client::Client;
use super::ports::BUS;
use super::server::{TempDir, read_log, run, shoal_bin, spawn};
use super::wait_for;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(25);
pub const NODE_TIMEOUT: Duration = Duration::from_millis(1500);

/// A host or node with its directory, which outlives a restart.
pub struct Member {
    child: Option<Child>,
    pub dir: TempDir,
    program: &'static str,
    args: Vec<String>,
    /// Of its nodes.
    pub ports: Vec<u16>,
}

impl Member {
    pub fn start(program: &'static str, ports: Vec<u16>, args: &[&str]) -> Member {
        let args = args.iter().map(|arg| arg.to_string()).collect();
        let mut member = Member { child: None, dir: TempDir::new(), program, args, ports };
        member.launch();
        member
    }

    /// A classic host: front door at `port`, its nodes behind it.
    pub fn host(port: u16, shards: u16, more: &[&str]) -> Member {
        let (shards_text, port_text) = (shards.to_string(), port.to_string());
        let args = ["--cluster-enabled", "yes", "--shards", &shards_text, "--port", &port_text];
        Member::start("shoal", (1..=shards).map(|i| port + i).collect(), &[&args[..], more].concat())
    }

    /// A classic node: one shard, and `port` its own.
    pub fn single(port: u16) -> Member {
        Member::node("shoal", port, &[])
    }

    pub fn redis(port: u16) -> Member {
        Member::node("redis-server", port, &["--save", ""])
    }

    /// A classic node of either kind.
    pub fn node(program: &'static str, port: u16, more: &[&str]) -> Member {
        let text = port.to_string();
        let args = ["--cluster-enabled", "yes", "--port", &text];
        Member::start(program, vec![port], &[&args[..], more].concat())
    }

    pub fn launch(&mut self) {
        // the kernel takes its time to close what a killed process listened on
        let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let listens = || (self.base()..=self.ports[self.ports.len() - 1]).collect::<Vec<u16>>();
        let all_free = || listens().iter().all(|port| free(port) && free(&(port + BUS))).then_some(());
        assert!(wait_for(PATIENCE, all_free).is_some(), "ports {:?} are in use", listens());
        let shoal = shoal_bin();
        let program = if self.program == "shoal" { &shoal } else { Path::new(self.program) };
        let mut command = Command::new(program);
        // what a test says itself comes behind, and counts
        let timeout = NODE_TIMEOUT.as_millis().to_string();
        command.args(["--bind", "127.0.0.1", "--cluster-node-timeout", &timeout]).args(&self.args);
        self.child = Some(spawn(command.arg("--dir").arg(&self.dir.0), &self.dir.0));
        let up = || {
            let says = |port: &u16| Some(Client::connect(*port).ok()?.call(&["PING"]).ok()?.text());
            let is_up = |port: &u16| says(port).is_some_and(|text| !text.starts_with("LOADING"));
            self.ports.iter().all(is_up).then_some(())
        };
        assert!(wait_for(PATIENCE, up).is_some(), "it does not start:\n{}", read_log(&self.dir.0));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What `--port` says.
    pub fn base(&self) -> u16 {
        let at = self.args.iter().position(|arg| arg == "--port").expect("a port is given");
        self.args[at + 1].parse().expect("a number")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    pub fn ids(&self) -> Vec<String> {
        self.ports.iter().map(|port| ask(*port, "CLUSTER MYID")).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = read_log(&self.dir.0);
            eprintln!("--- {} on {:?}:\n{log}", self.program, self.ports);
        }
    }
}

pub fn ask(port: u16, line: &str) -> String {
    Client::connect(port).unwrap_or_else(|e| panic!("port {port}: {e}")).cmd(line).text().to_owned()
}

pub fn see(port: u16, line: &str, what: &str, wanted: impl Fn(&str) -> bool) {
    let seen = wait_for(PATIENCE, || wanted(&ask(port, line)).then_some(()));
    assert!(seen.is_some(), "{what} is not seen on {port}: {}", ask(port, line));
}

/// redis-cli --cluster …; it must succeed. What it said.
pub fn cli(args: &[&str]) -> String {
    let output = run(Command::new("redis-cli").arg("--cluster").args(args));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "redis-cli --cluster {args:?}: {text}");
    text
}

/// As [`cli`], with `input` for what it asks.
pub fn cli_says(args: &[&str], input: &str) -> String {
    let (succeeded, text) = cli_tries(args, input);
    assert!(succeeded, "redis-cli --cluster {args:?}: {text}");
    text
}

/// As [`cli_says`]; whether it succeeded.
pub fn cli_tries(args: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new("redis-cli");
    command.arg("--cluster").args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("redis-cli starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // it may want none of it
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("redis-cli ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text)
}

pub fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Each node's id, epoch and slots, as a node tells them.
pub fn picture(port: u16) -> Vec<String> {
    let text = ask(port, "CLUSTER NODES");
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        format!("{} {} {}", words[0], words[6], words[8..].join(" "))
    };
    let mut lines: Vec<String> = text.lines().map(line).collect();
    lines.sort();
    lines
}

/// All of them tell the same, and are well.
pub fn agree(ports: &[u16], nodes: usize) -> Vec<String> {
    let same = || {
        let first = picture(ports[0]);
        let all = ports.iter().all(|port| {
            picture(*port) == first
                && ask(*port, "CLUSTER INFO").contains("cluster_state:ok")
                && !ask(*port, "CLUSTER NODES").contains("fail")
        });
        (all && first.len() == nodes).then_some(first)
    };
    wait_for(PATIENCE, same).unwrap_or_else(|| {
        let seen: Vec<String> = ports.iter().map(|port| ask(*port, "CLUSTER NODES")).collect();
        panic!("they do not agree:\n{}", seen.join("\n"))
    })
}

/// All nodes of these, checked and well as redis-cli finds them.
pub fn create(ports: &[u16]) {
    let addresses: Vec<String> = ports.iter().map(|port| at(*port)).collect();
    let mut args = vec!["create"];
    args.extend(addresses.iter().map(String::as_str));
    let said = cli(&[&args[..], &["--cluster-replicas", "0", "--cluster-yes"]].concat());
    assert!(said.contains("All 16384 slots covered"), "{said}");
}
