//! Replicas in a cluster of real processes, Shoal's and redis-server's: who takes over when it is told
//! to, and when its primary is killed; and that nothing is lost that a replica had acknowledged.

mod common;

use common::client::Client;
use common::members::{Member, NODE_TIMEOUT, PATIENCE, ask, at, cli, see};
use common::ports::Ports;
use common::server::run;
use common::wait_for;
use std::process::Command;
use std::time::{Duration, Instant};

const KEYS: usize = 60;

/// What redis-cli, which follows redirections, is answered.
fn follow(port: u16, words: &[&str]) -> String {
    let output = run(Command::new("redis-cli").args(["-c", "-p", &port.to_string()]).args(words));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn is_linked(port: u16) {
    see(port, "INFO replication", "a link to its primary", |info| info.contains("master_link_status:up"));
}

fn is_primary(port: u16) -> bool {
    Client::connect(port).is_ok_and(|mut c| c.cmd("INFO replication").text().contains("role:master"))
}

fn start(kind: &str, port: u16) -> Member {
    if kind == "shoal" { Member::single(port) } else { Member::redis(port) }
}

/// Three primaries of one kind and a replica of the other kind for each.
fn take_over(primaries: &str, replicas: &str) {
    let ports = Ports::take();
    let all: Vec<u16> = (0..6).map(|i| ports.base + i).collect();
    let kind = |i: usize| if i < 3 { primaries } else { replicas };
    let mut members: Vec<Member> = (0..6).map(|i| start(kind(i), all[i])).collect();
    let addresses: Vec<String> = all.iter().map(|port| at(*port)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let create = [&["create"], &addresses[..], &["--cluster-replicas", "1", "--cluster-yes"]].concat();
    assert!(cli(&create).contains("All 16384 slots covered"));
    all[3..].iter().for_each(|port| is_linked(*port));
    for n in 0..KEYS {
        assert_eq!(follow(all[n % 6], &["set", &format!("k{n}"), &n.to_string()]), "OK");
    }
    all[..3].iter().for_each(|port| assert_eq!(ask(*port, "WAIT 1 5000"), "1"));

    for (port, how) in all[3..].iter().zip(["", " FORCE", " TAKEOVER"]) {
        assert_eq!(ask(*port, &format!("CLUSTER FAILOVER{how}")), "OK");
        assert!(wait_for(PATIENCE, || is_primary(*port).then_some(())).is_some(), "FAILOVER{how} on {port}");
    }
    all[..3].iter().for_each(|port| is_linked(*port));
    let calm = |port: &u16| see(*port, "CLUSTER INFO", "calm", |info| info.contains("cluster_state:ok"));
    all.iter().for_each(calm);
    all[3..].iter().for_each(|port| assert_eq!(ask(*port, "WAIT 1 5000"), "1"));

    let owner = (0..KEYS).map(|n| format!("k{n}")).find(|key| {
        let mut client = Client::connect(all[3]).expect("a connection");
        client.cmd(&format!("SET {key} again")).text() == "OK"
    });
    let key = owner.expect("a key of every node");
    assert_eq!(ask(all[3], "WAIT 1 5000"), "1");
    members[3].kill();
    let killed = Instant::now();
    let written = || (follow(all[4], &["set", &key, "after"]) == "OK").then_some(());
    assert!(wait_for(PATIENCE, written).is_some(), "nobody takes over");
    let took = killed.elapsed();
    println!("{primaries} with {replicas}: writable {:.2} s after a kill", took.as_secs_f64());
    let promised = NODE_TIMEOUT + Duration::from_secs(1);
    assert!((primaries, replicas) != ("shoal", "shoal") || took <= promised, "after {took:?}");
    all.iter().filter(|port| **port != all[3]).for_each(calm);
    for n in 0..KEYS {
        let name = format!("k{n}");
        let want = if name == key { "after".to_owned() } else { n.to_string() };
        assert_eq!(follow(all[5], &["get", &name]), want, "{name}");
    }
    // who was killed comes back as a replica
    members[3].launch();
    is_linked(all[3]);
}

#[test]
fn shoal_takes_over_from_shoal() {
    take_over("shoal", "shoal");
}

#[test]
fn shoal_takes_over_from_redis() {
    take_over("redis", "shoal");
}

#[test]
fn redis_takes_over_from_shoal() {
    take_over("shoal", "redis");
}

/// For the figure: how long a cluster of redis-server takes in the same script.
#[test]
fn redis_takes_over_from_redis() {
    take_over("redis", "redis");
}
