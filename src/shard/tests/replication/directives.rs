//! What the directives about replication bring about.

use super::Net;

/// Hosts with these directives set on the first, the primary of the rest.
fn following(hosts: usize, directives: &[&str]) -> Net {
    let mut net = Net::new(hosts, 1);
    for directive in directives {
        assert_eq!(net.run(0, &format!("CONFIG SET {directive}")), "+OK|", "{directive}");
    }
    for n in 0..20 {
        net.run(0, &format!("SET k{n} {n}"));
    }
    (1..hosts).for_each(|host| assert_eq!(net.run(host, "REPLICAOF 0 1"), "+OK|"));
    net
}

fn is_up(net: &mut Net, host: usize) -> bool {
    net.info(host, "master_link_status") == "up"
}

/// Whether the primary has hung up on its only replica.
fn is_thrown_out(net: &mut Net) -> bool {
    let client = net.wires[0].client;
    net.rigs[0].shards[0].is_killed(client)
}

/// Seconds pass, in which pings and acknowledgements come and go.
fn seconds(net: &mut Net, n: u64) {
    (0..n * 2).for_each(|_| net.pass(500));
}

#[test]
fn a_payload_waits_for_others_who_want_it() {
    let mut net = following(3, &["repl-diskless-sync-delay 5"]);
    seconds(&mut net, 3);
    assert!(!is_up(&mut net, 1) && !is_up(&mut net, 2));
    seconds(&mut net, 4);
    assert!(is_up(&mut net, 1) && is_up(&mut net, 2));
    // until there are as many as it is to wait for
    let mut net = following(3, &["repl-diskless-sync-delay 50", "repl-diskless-sync-max-replicas 2"]);
    seconds(&mut net, 2);
    assert!(is_up(&mut net, 1) && is_up(&mut net, 2));
}

#[test]
fn who_is_silent_for_too_long_is_given_up() {
    let mut net = following(2, &["repl-timeout 7", "repl-ping-replica-period 1"]);
    assert_eq!(net.run(1, "CONFIG SET repl-timeout 7"), "+OK|");
    seconds(&mut net, 20);
    assert!(is_up(&mut net, 1));
    assert_eq!(net.info(0, "connected_slaves"), "1");
    // nothing is carried any more
    for _ in 0..20 {
        for host in 0..2 {
            net.rigs[host].pass_ms(500);
            net.rigs[host].tick();
        }
    }
    assert!(is_thrown_out(&mut net));
    assert!(!is_up(&mut net, 1));
}

#[test]
fn a_backlog_has_its_size_and_its_time() {
    let mut net = following(2, &["repl-backlog-size 20000", "repl-backlog-ttl 30"]);
    seconds(&mut net, 2);
    assert_eq!(net.info(0, "repl_backlog_size"), "20000");
    // what fits is gone on with, and what does not is not
    for (bytes, fulls) in [(10_000, "1"), (40_000, "2")] {
        net.cut(0);
        net.run(0, &format!("SET big {}", "x".repeat(bytes)));
        seconds(&mut net, 3);
        assert!(is_up(&mut net, 1));
        assert_eq!(net.info(0, "sync_full"), fulls);
    }
    assert_eq!(net.info(0, "repl_backlog_histlen").parse::<u64>().map(|n| n <= 20_000), Ok(true));
    assert_eq!(net.run(1, "REPLICAOF NO ONE"), "+OK|");
    seconds(&mut net, 20);
    assert_eq!(net.info(0, "repl_backlog_active"), "1");
    seconds(&mut net, 20);
    assert_eq!(net.info(0, "repl_backlog_active"), "0");
    assert_eq!(net.info(0, "mem_total_replication_buffers"), "0");
}

#[test]
fn a_replica_that_lags_too_far_behind_is_thrown_out() {
    let mut net =
        following(2, &["client-output-buffer-limit \"replica 2mb 0 0\"", "repl-backlog-size 16384"]);
    seconds(&mut net, 2);
    assert!(is_up(&mut net, 1));
    for n in 0..3 {
        net.run(0, &format!("SET big{n} {}", "x".repeat(900_000)));
    }
    assert!(!is_thrown_out(&mut net));
    net.rigs[0].pass_ms(1000);
    net.rigs[0].tick();
    assert!(is_thrown_out(&mut net));
}

#[test]
fn a_password_is_asked_for_and_given() {
    let mut net = following(2, &["requirepass secret", "masterauth secret"]);
    seconds(&mut net, 3);
    assert!(!is_up(&mut net, 1));
    assert_eq!(net.run(1, "CONFIG SET masterauth wrong"), "+OK|");
    seconds(&mut net, 3);
    assert!(!is_up(&mut net, 1));
    assert_eq!(net.run(1, "CONFIG SET masterauth secret masteruser default"), "+OK|");
    seconds(&mut net, 3);
    assert!(is_up(&mut net, 1));
}

#[test]
fn what_a_replica_is_announced_as() {
    let mut net = Net::new(2, 2);
    assert_eq!(net.run(1, "CONFIG SET replica-announce-ip 10.9.8.7 replica-announce-port 77"), "+OK|");
    assert_eq!(net.run(1, "CONFIG SET replica-announced no replica-priority 7"), "+OK|");
    assert_eq!(net.run(1, "REPLICAOF 0 1"), "+OK|");
    seconds(&mut net, 2);
    assert!(net.info(0, "slave0").starts_with("ip=10.9.8.7,port=77,state=online,"));
    assert_eq!(net.info(1, "replica_announced"), "0");
    assert_eq!(net.info(1, "slave_priority"), "7");
}

/// A REPLICAOF that comes before the configured one was looked at is the only one.
#[test]
fn a_client_may_be_quicker_than_the_configuration() {
    let mut net = Net::new(2, 3);
    assert_eq!(net.run(1, "REPLICAOF 0 1"), "+OK|");
    net.carry();
    assert_eq!(net.wires.len(), 1);
    let first = net.wires[0].link;
    seconds(&mut net, 3);
    assert_eq!(net.wires[0].link, first);
    assert!(is_up(&mut net, 1));
}
