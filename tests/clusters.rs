//! Whole clusters of real processes: Shoal hosts, alone and together with redis-server nodes, as
//! redis-cli and other nodes see them.

mod common;

use common::client::Client;
use common::members::{Member, agree, ask, at, cli, create, see};
use common::ports::Ports;
use common::server::{run, shoal_bin};
use std::process::Command;

#[test]
fn redis_cli_rules_a_cluster_of_hosts() {
    let ports = Ports::take();
    let bases = [ports.base, ports.base + 3, ports.base + 6];
    let hosts: Vec<Member> = bases.iter().map(|base| Member::host(*base, 2, &[])).collect();
    let all: Vec<u16> = hosts.iter().flat_map(|host| host.ports.clone()).collect();
    assert!(all.iter().all(|port| ask(*port, "CLUSTER INFO").contains("cluster_known_nodes:1\r\n")));
    create(&all);
    agree(&all, 6);
    let any = at(all[3]);
    assert!(cli(&["check", &any]).contains("All 16384 slots covered"));
    assert!(cli(&["info", &any]).contains("0 keys in 6 masters"));
    assert_eq!(cli(&["call", &any, "ping"]).matches("PONG").count(), 6);

    let fourth = Member::host(ports.base + 9, 2, &[]);
    for port in &fourth.ports {
        assert!(cli(&["add-node", &at(*port), &any]).contains("New node added correctly"));
    }
    let with_fourth = [&all[..], &fourth.ports].concat();
    agree(&with_fourth, 8);
    // slots without keys move by SETSLOT alone
    let id = &fourth.ids()[0];
    cli(&[
        "reshard",
        &any,
        "--cluster-from",
        "all",
        "--cluster-to",
        id,
        "--cluster-slots",
        "60",
        "--cluster-yes",
    ]);
    agree(&with_fourth, 8);
    cli(&["del-node", &any, &fourth.ids()[1]]);
    agree(&[&all[..], &fourth.ports[..1]].concat(), 7);
    see(fourth.ports[1], "CLUSTER INFO", "a node alone", |text| text.contains("cluster_known_nodes:1\r\n"));
    assert!(cli(&["check", &any]).contains("All 16384 slots covered"));
}

#[test]
fn one_cluster_of_redis_servers_and_a_host() {
    let ports = Ports::take();
    let mut redis: Vec<Member> = (0..3).map(|i| Member::redis(ports.base + i)).collect();
    let mut host = Member::host(ports.base + 4, 3, &[]);
    let theirs: Vec<u16> = redis.iter().map(|node| node.ports[0]).collect();
    let all = [&theirs[..], &host.ports].concat();
    create(&all);
    let before = agree(&all, 6);
    let ids = host.ids();

    // a redis-server fails, for both kinds
    redis[0].kill();
    for port in &all[1..] {
        see(*port, "CLUSTER NODES", "a failure", |text| text.contains("master,fail "));
    }
    redis[0].launch();
    assert_eq!(agree(&all, 6), before);

    // a host fails, with all its nodes: with half of the masters gone nobody can say so for sure
    host.kill();
    for port in &theirs {
        see(*port, "CLUSTER NODES", "three nodes down", |text| text.matches("master,fail? ").count() == 3);
        see(*port, "CLUSTER INFO", "a minority", |text| text.contains("cluster_state:fail"));
    }
    host.launch();
    assert_eq!(agree(&all, 6), before);
    assert_eq!(host.ids(), ids);
}

#[test]
fn a_majority_marks_a_lost_host_as_failed() {
    let ports = Ports::take();
    let redis: Vec<Member> = (0..3).map(|i| Member::redis(ports.base + i)).collect();
    let mut host = Member::host(ports.base + 4, 2, &[]);
    let theirs: Vec<u16> = redis.iter().map(|node| node.ports[0]).collect();
    let all = [&theirs[..], &host.ports].concat();
    create(&all);
    let before = agree(&all, 5);
    host.kill();
    for port in &theirs {
        see(*port, "CLUSTER NODES", "two failed nodes", |text| text.matches("master,fail ").count() == 2);
    }
    host.launch();
    assert_eq!(agree(&all, 5), before);
}

/// What test suites do to the bus by DEBUG, at a shard among redis-server nodes.
#[test]
fn debug_reaches_the_bus() {
    let ports = Ports::take();
    let redis: Vec<Member> = (0..2).map(|i| Member::redis(ports.base + i)).collect();
    let host = Member::host(ports.base + 4, 2, &["--enable-debug-command", "yes"]);
    let theirs: Vec<u16> = redis.iter().map(|node| node.ports[0]).collect();
    let all = [&theirs[..], &host.ports].concat();
    create(&all);
    agree(&all, 4);
    let (own, other) = (host.ports[0], redis[0].ids()[0].clone());
    assert!(ask(own, "DEBUG CLUSTERLINK KILL up x").starts_with("ERR Unknown node x"));
    assert!(ask(own, &format!("DEBUG CLUSTERLINK KILL up {other}")).starts_with("ERR Unknown direction up"));
    assert_eq!(ask(own, &format!("DEBUG CLUSTERLINK KILL all {other}")).trim(), "OK");
    agree(&all, 4);
    // MEET: who is not heard is not met
    let third = Member::redis(ports.base + 2);
    let meet = || ask(third.ports[0], &format!("CLUSTER MEET 127.0.0.1 {own}"));
    assert_eq!(ask(own, "DEBUG DROP-CLUSTER-PACKET-FILTER 2").trim(), "OK");
    assert_eq!(meet().trim(), "OK");
    see(third.ports[0], "CLUSTER NODES", "a handshake that ended", |text| !text.contains("handshake"));
    agree(&all, 4);
    assert_eq!(ask(own, "DEBUG DROP-CLUSTER-PACKET-FILTER -1").trim(), "OK");
    assert_eq!(meet().trim(), "OK");
    agree(&[&all[..], &third.ports].concat(), 5);
}

#[test]
fn a_host_that_formed_itself_is_joined() {
    let ports = Ports::take();
    let first = {
        let (shards, port) = ("2".to_owned(), ports.base.to_string());
        Member::start("shoal", vec![ports.base + 1, ports.base + 2], &["--shards", &shards, "--port", &port])
    };
    assert!(ask(first.ports[0], "CLUSTER INFO").contains("cluster_state:ok"));
    // by the front door, which is no node itself
    let mut second = Member::host(ports.base + 4, 2, &["--join", &at(ports.base)]);
    let all = [&first.ports[..], &second.ports].concat();
    agree(&all, 4);
    let any = at(all[0]);
    cli(&["rebalance", &any, "--cluster-use-empty-masters"]);
    let before = agree(&all, 4);
    assert!(before.iter().all(|line| line.contains('-')), "all have slots: {before:?}");
    assert!(cli(&["rebalance", &any]).contains("No rebalancing needed"));

    second.kill();
    second.launch();
    assert_eq!(agree(&all, 4), before);
}

#[test]
fn the_front_door_is_no_node() {
    let ports = Ports::take();
    let host = Member::host(ports.base, 2, &[]);
    let said = ask(ports.base, "CLUSTER ADDSLOTS 1");
    assert!(said.contains(&format!("({}, {})", host.ports[0], host.ports[1])), "{said}");
    assert_eq!(ask(ports.base, "CLUSTER COUNT-FAILURE-REPORTS x"), "ERR Unknown node x");
    // it is the door to all shards, be they strangers to each other
    assert_eq!([ask(ports.base, "FLUSHALL"), ask(ports.base, "DBSIZE")], ["OK", "0"]);
    let shards = ask(ports.base, "INFO shards");
    for (shard, port) in host.ports.iter().enumerate() {
        assert!(shards.contains(&format!("shard{shard}:port={port},slots=0,keys=0,")), "{shards}");
    }
    assert_eq!(ask(host.ports[0], "CLUSTER ADDSLOTS 1"), "OK");
    // what follows in a pipeline waits for the answer
    let mut client = Client::connect(host.ports[0]).expect("a node");
    client
        .send(b"CLUSTER ADDSLOTS 2\r\nCLUSTER INFO\r\nCLUSTER DELSLOTS 1 2\r\nCLUSTER INFO\r\n")
        .expect("sent");
    let replies: Vec<String> = (0..4).map(|_| client.read().expect("a reply").text().to_owned()).collect();
    assert_eq!([&replies[0], &replies[2]], ["OK", "OK"]);
    assert!(replies[1].contains("slots_assigned:2\r\n") && replies[3].contains("slots_assigned:0\r\n"));
}

#[test]
fn a_second_start_and_other_shards_are_refused() {
    let ports = Ports::take();
    let mut host = Member::host(ports.base, 2, &[]);
    let dir = host.dir.0.clone();
    let start = |port: u16, shards: &str| {
        let mut command = Command::new(shoal_bin());
        command.args(["--cluster-enabled", "yes", "--bind", "127.0.0.1", "--shards", shards]);
        let output = run(command.args(["--port", &port.to_string(), "--dir"]).arg(&dir));
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let why = start(ports.base + 4, "2");
    assert!(why.contains("is already used by a different Redis Cluster node"), "{why}");
    host.kill();
    let why = start(ports.base + 8, "3");
    assert!(why.contains("start with --shards 2"), "{why}");
}

#[test]
fn a_slot_on_its_way_is_served_by_both() {
    let ports = Ports::take();
    let port = ports.base.to_string();
    let [from, to] = [ports.base + 2, ports.base + 1];
    let host = Member::start("shoal", vec![to, from], &["--shards", "2", "--port", &port]);
    let ids = host.ids();
    let [mut source, mut target] = [from, to].map(|port| Client::connect(port).expect("a node"));
    let mut check = |at: u16, line: &str, wanted: &str| {
        let client = if at == from { &mut source } else { &mut target };
        assert_eq!(client.cmd(line).text(), wanted, "{line} on {at}");
    };
    let try_again = "TRYAGAIN Multiple keys request during rehashing of slot";
    let moved = format!("MOVED 12182 127.0.0.1:{from}");
    check(from, "SET {foo}1 a", "OK");
    check(from, &format!("CLUSTER SETSLOT 12182 MIGRATING {}", ids[0]), "OK");
    check(to, &format!("CLUSTER SETSLOT 12182 IMPORTING {}", ids[1]), "OK");
    check(from, "GET {foo}1", "a");
    check(from, "GET {foo}2", &format!("ASK 12182 127.0.0.1:{to}"));
    check(from, "MGET {foo}1 {foo}2", try_again);
    check(to, "SET {foo}2 b", &moved);
    check(to, "ASKING", "OK");
    check(to, "SET {foo}2 b", "OK");
    check(to, "GET {foo}2", &moved);
    check(to, "ASKING", "OK");
    check(to, "MGET {foo}2 {foo}1", try_again);
    let still =
        "ERR Can't assign hashslot 12182 to a different node while I still hold keys for this hash slot.";
    check(from, &format!("CLUSTER SETSLOT 12182 NODE {}", ids[0]), still);
    check(from, "DEL {foo}1", "1");
    check(to, &format!("CLUSTER SETSLOT 12182 NODE {}", ids[0]), "OK");
    check(from, &format!("CLUSTER SETSLOT 12182 NODE {}", ids[0]), "OK");
    check(to, "GET {foo}2", "b");
    check(from, "GET {foo}2", &format!("MOVED 12182 127.0.0.1:{to}"));
    assert_eq!(ask(ports.base, "GET {foo}2"), "b");

    // who loses a slot with keys in it loses the keys
    check(from, "SET a 1", "OK");
    let slot = ask(from, "CLUSTER KEYSLOT a");
    check(to, &format!("CLUSTER SETSLOT {slot} NODE {}", ids[0]), "OK");
    see(from, "DBSIZE", "an empty shard", |keys| keys == "0");
}
