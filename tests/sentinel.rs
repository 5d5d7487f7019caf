//! redis-sentinel rules a Shoal primary and its replicas: it finds them, puts a replica in a dead primary's
//! place, has the others follow, and changes roles when it is told to.

mod common;

use common::client::Client;
use common::ports::Ports;
use common::replicas::{Chance, PATIENCE, agree, digest};
use common::resp::{Node, Reply};
use common::server::{TempDir, read_log, shoal_bin, spawn, stand_in};
use common::wait_for;
use std::net::TcpListener;
use std::process::{Child, Command};

const SENTINELS: u16 = 3;

/// A process with a configuration file that it writes to.
struct Process {
    child: Child,
    dir: TempDir,
    port: u16,
}

impl Process {
    fn server(port: u16, primary: Option<u16>) -> Process {
        let mut conf = format!(
            "port {port}\nbind 127.0.0.1\nsave \"\"\nenable-debug-command yes\nrepl-diskless-sync-delay 0\n"
        );
        if !stand_in() {
            conf.push_str("shards 1\n");
        }
        primary.iter().for_each(|primary| conf.push_str(&format!("replicaof 127.0.0.1 {primary}\n")));
        let dir = TempDir::new();
        Process::launch(Command::new(shoal_bin()), dir, port, Some(&conf))
    }

    /// A primary is asked again each second: with no more patience than that, a sentinel takes one for lost that it has
    /// just switched to, before it has asked it anything.
    fn sentinel(port: u16, primary: u16) -> Process {
        let conf = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor house 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds house 2000\nsentinel failover-timeout house 5000\n\
             sentinel parallel-syncs house 1\n"
        );
        Process::launch(Command::new("redis-sentinel"), TempDir::new(), port, Some(&conf))
    }

    /// `conf`: its file, if it is not there yet.
    fn launch(mut command: Command, dir: TempDir, port: u16, conf: Option<&str>) -> Process {
        let file = dir.0.join("house.conf");
        if let Some(conf) = conf {
            std::fs::write(&file, format!("{conf}dir {}\n", dir.0.display())).expect("a file");
        }
        let child = spawn(command.arg(&file), &dir.0);
        let process = Process { child, dir, port };
        let answers = || Client::connect(port).ok()?.call(&["PING"]).ok().map(drop);
        assert!(wait_for(PATIENCE, answers).is_some(), "it does not start: {}", process.log());
        process
    }

    fn client(&self) -> Client {
        Client::connect(self.port).unwrap_or_else(|e| panic!("port {}: {e}", self.port))
    }

    fn log(&self) -> String {
        read_log(&self.dir.0)
    }

    fn conf(&self) -> String {
        std::fs::read_to_string(self.dir.0.join("house.conf")).expect("a file")
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn start_again(&mut self) {
        let port = self.port;
        let free = || TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(());
        assert!(wait_for(PATIENCE, free).is_some(), "port {port} stays in use");
        let dir = std::mem::replace(&mut self.dir, TempDir::new());
        *self = Process::launch(Command::new(shoal_bin()), dir, port, None);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- port {}:\n{}", self.port, self.log());
        }
    }
}

/// A primary, its replicas, and who watches over them.
struct House {
    servers: Vec<Process>,
    sentinels: Vec<Process>,
    _ports: Ports,
}

impl House {
    fn new() -> House {
        let ports = Ports::take();
        let base = ports.base;
        let server = |i: u16| Process::server(base + i, (i > 0).then_some(base));
        let servers: Vec<Process> = (0..3).map(server).collect();
        let sentinels = (0..SENTINELS).map(|i| Process::sentinel(base + 5 + i, base)).collect();
        House { servers, sentinels, _ports: ports }
    }

    /// A field of what each sentinel says of the primary.
    fn told(&self, field: &str) -> Vec<String> {
        let ask = |sentinel: &Process| {
            let words = sentinel.client().cmd("SENTINEL MASTER house").items();
            let at = words.iter().position(|word| word.as_deref() == Some(field.as_bytes()));
            let value = words.get(at.expect("a field of the primary") + 1).cloned().flatten();
            String::from_utf8(value.expect("its value")).expect("a text")
        };
        self.sentinels.iter().map(ask).collect()
    }

    /// All sentinels say so of the primary.
    fn see(&self, what: &str, field: &str, wanted: impl Fn(&str) -> bool) {
        let all = || self.told(field).iter().all(|told| wanted(told)).then_some(());
        let seen = wait_for(PATIENCE, all);
        assert!(seen.is_some(), "{what}: {field} is {:?}", self.told(field));
    }

    /// Everybody is known to everybody.
    fn is_whole(&self) {
        self.see("the house is not whole", "num-slaves", |n| n == "2");
        self.see("the house is not whole", "num-other-sentinels", |n| n == "2");
        self.see("the house is not whole", "flags", |flags| flags == "master");
        // one that did not see a server change its role changes it back
        let all = || self.sentinels.iter().all(sees_replicas).then_some(());
        assert!(wait_for(PATIENCE, all).is_some(), "the replicas are not well");
    }

    fn server(&self, port: u16) -> &Process {
        self.servers.iter().find(|server| server.port == port).expect("one of ours")
    }

    /// The primary that all sentinels agree on, other than one; and all others follow it, as their files say.
    fn new_primary(&self, other_than: u16, alive: &[u16]) -> u16 {
        self.see("there is no other primary", "port", |port| port != other_than.to_string());
        let port: u16 = self.told("port")[0].parse().expect("a port");
        self.see("they do not agree", "port", |told| told == port.to_string());
        for follower in alive.iter().filter(|p| **p != port) {
            let follows = || {
                let said = replication_of(*follower)?;
                let right = said.contains(&format!("\nmaster_port:{port}\r"));
                (right && said.contains("master_link_status:up")).then_some(())
            };
            let done = wait_for(PATIENCE, follows);
            assert!(done.is_some(), "{follower} does not follow {port}: {}", self.server(*follower).log());
            let says_so = || {
                let conf = self.server(*follower).conf();
                conf.lines().any(|line| line == format!("replicaof 127.0.0.1 {port}")).then_some(())
            };
            assert!(wait_for(PATIENCE, says_so).is_some(), "{}", self.server(*follower).conf());
        }
        let said = replication_of(port);
        assert!(said.is_some_and(|said| said.contains("role:master")), "port {port}");
        port
    }
}

/// Whether a sentinel sees that all replicas are replicas of its primary.
fn sees_replicas(sentinel: &Process) -> bool {
    let mut client = sentinel.client();
    let said = |reply: &Reply, node: &Node, name: &str| {
        let words: Vec<_> = node.items.iter().map(|word| reply.body(word).to_vec()).collect();
        let at = words.iter().position(|word| word == name.as_bytes()).expect("a field of a replica");
        String::from_utf8(words[at + 1].clone()).expect("a text")
    };
    let primary = client.cmd("SENTINEL MASTER house");
    let port = said(&primary, &primary.node, "port");
    let replicas = client.cmd("SENTINEL REPLICAS house");
    let wanted = [
        ("flags", "slave"),
        ("role-reported", "slave"),
        ("master-link-status", "ok"),
        ("master-port", &port),
    ];
    let is_well = |node: &Node| wanted.iter().all(|(name, value)| said(&replicas, node, name) == *value);
    replicas.node.items.len() == 2 && replicas.node.items.iter().all(is_well)
}

/// A sentinel has the clients of a server killed that changes its role.
fn replication_of(port: u16) -> Option<String> {
    let said = Client::connect(port).ok()?.call(&["INFO", "replication"]).ok()?;
    Some(said.text())
}

#[test]
fn sentinels_replace_a_primary() {
    let mut house = House::new();
    let ports: Vec<u16> = house.servers.iter().map(|server| server.port).collect();
    let mut chance = Chance::new(23);
    chance.write(&mut house.servers[0].client(), 2000);
    house.is_whole();
    for port in &ports[1..] {
        agree("before", &mut house.servers[0].client(), &mut house.server(*port).client());
    }
    let was = digest(&mut house.servers[0].client());

    house.servers[0].kill();
    let second = house.new_primary(ports[0], &ports[1..]);
    let mut primary = house.server(second).client();
    assert_eq!(digest(&mut primary), was);
    chance.write(&mut primary, 1000);
    // who was the primary is one of the replicas when it comes back
    house.servers[0].start_again();
    assert_eq!(house.new_primary(ports[0], &ports), second);
    for port in ports.iter().filter(|port| **port != second) {
        agree("after a kill", &mut primary, &mut house.server(*port).client());
    }

    house.is_whole();
    assert_eq!(house.sentinels[0].client().cmd("SENTINEL FAILOVER house").text(), "OK");
    let third = house.new_primary(second, &ports);
    let mut primary = house.server(third).client();
    chance.write(&mut primary, 1000);
    for port in ports.iter().filter(|port| **port != third) {
        agree("after SENTINEL FAILOVER", &mut primary, &mut house.server(*port).client());
    }
}
