//! How clusters come to be: MEET, gossip, FORGET, RESET, restarts.

use super::net::Net;
use crate::cluster::wire::flag;
use crate::config::Config;
use std::sync::Arc;

/// Hosts of so many shards, joined as `redis-cli --cluster create` does it.
pub fn created(seed: u64, shards: &[usize]) -> Net {
    let mut net = Net::of(seed, shards, false);
    net.run(100);
    create(&mut net);
    let nodes = shards.iter().sum();
    net.until(15_000, "create", |net| net.converged(nodes));
    net
}

/// What `redis-cli --cluster create` asks of the nodes.
pub fn create(net: &mut Net) {
    let shards = net.shards();
    for (at, (h, l)) in shards.iter().enumerate() {
        assert_eq!(net.view(*h, *l).nodes.len(), 1, "redis-cli wants nodes that know nobody");
        let (from, to) = crate::cluster::view::even_share(at, shards.len());
        net.ok(*h, *l, &format!("addslotsrange {from} {to}"));
    }
    for (at, (h, l)) in shards.iter().enumerate() {
        net.ok(*h, *l, &format!("set-config-epoch {}", at + 1));
    }
    for (h, l) in &shards[1..] {
        net.ok(*h, *l, "meet 10.0.0.1 7001");
    }
}

#[test]
fn clusters_are_created_as_redis_cli_does() {
    for (seed, shards) in [(1, &[1, 1, 1][..]), (2, &[3]), (3, &[2, 2, 2]), (4, &[1, 4]), (5, &[8, 1, 3, 1])]
    {
        let net = created(seed, shards);
        for (h, l) in net.shards() {
            let view = net.view(h, l);
            let mut epochs: Vec<u64> = view.nodes.iter().map(|node| node.config_epoch).collect();
            epochs.sort_unstable();
            let wanted: Vec<u64> = (1..=view.nodes.len() as u64).collect();
            assert_eq!(epochs, wanted, "{}", net.show());
            assert_eq!(view.size(), view.nodes.len());
            assert!(view.nodes.iter().all(|node| !node.ip.is_empty()), "{}", net.show());
        }
    }
}

#[test]
fn siblings_meet_without_a_packet() {
    let mut net = Net::of(7, &[3], false);
    net.run(50);
    net.ok(0, 1, "meet 10.0.0.1 7001");
    assert_eq!([0, 1, 2].map(|l| net.view(0, l).nodes.len()), [2, 2, 1]);
    net.ok(0, 0, "meet 10.0.0.1 7003 17003");
    assert_eq!([0, 1, 2].map(|l| net.view(0, l).nodes.len()), [3, 3, 3]);
    net.run(1000);
    assert_eq!(net.hosts[0].sent, 0);
    let epochs: std::collections::BTreeSet<u64> =
        net.view(0, 0).nodes.iter().map(|n| n.config_epoch).collect();
    assert_eq!(epochs.len(), 3, "no two have one epoch: {}", net.show());
}

#[test]
fn a_formed_host_works_at_once_and_takes_in_a_second() {
    let mut net = Net::of(8, &[2], true);
    let second = net.add_host(2, false, |_| {});
    net.run(200);
    assert!(net.view(0, 0).ok && net.view(0, 1).ok);
    net.ok(second, 0, "meet 10.0.0.1 7002");
    net.ok(second, 1, "meet 10.0.0.2 7001");
    net.until(10_000, "all four", |net| net.converged(4));
    assert_eq!(net.view(second, 1).size(), 2);
}

#[test]
fn a_node_spreads_by_gossip() {
    let mut net = created(9, &[1, 1, 1, 1]);
    let fifth = net.add_host(1, false, |_| {});
    net.run(100);
    net.ok(fifth, 0, "meet 10.0.0.3 7001");
    net.until(10_000, "five", |net| net.converged(5));
    let late = net.view(0, 0).nodes.iter().find(|node| node.ip == "10.0.0.5").expect("it");
    assert!(late.linked && late.is_master());
}

#[test]
fn a_handshake_with_nobody_ends() {
    let mut net = Net::of(10, &[1], false);
    net.ok(0, 0, "meet 10.9.9.9 7001");
    net.run(200);
    assert_eq!(net.view(0, 0).nodes.len(), 2);
    net.run(2000);
    assert_eq!(net.view(0, 0).nodes.len(), 1);
}

#[test]
fn a_node_that_meets_itself_stays_alone() {
    // by an address of which the host doesn't know that it is its own
    let mut net = Net::of(11, &[2], false);
    net.hosts[0].ip = "10.7.7.7".into();
    net.run(10);
    net.ok(0, 0, "meet 10.7.7.7 7001");
    net.run(500);
    assert_eq!(net.view(0, 0).nodes.len(), 1, "{}", net.show());
    net.ok(0, 0, "meet 10.7.7.7 7002");
    net.run(500);
    assert_eq!([0, 1].map(|l| net.view(0, l).nodes.len()), [2, 2], "{}", net.show());
}

#[test]
fn one_host_is_in_one_cluster() {
    let mut net = Net::of(12, &[2, 1, 1], false);
    net.run(100);
    net.ok(0, 0, "meet 10.0.0.2 7001");
    net.until(5000, "the first", |net| net.view(0, 0).nodes.len() == 2 && net.view(0, 0).nodes[1].linked);
    net.run(500);
    let refused = net.cli(0, 1, "meet 10.0.0.3 7001");
    assert!(
        refused.starts_with("ERR Another node of this host is in a cluster that doesn't know 10.0.0.3"),
        "{refused}"
    );
    net.ok(2, 0, "meet 10.0.0.1 7002");
    net.run(3000);
    assert_eq!((net.view(0, 1).nodes.len(), net.view(2, 0).nodes.len()), (1, 1), "{}", net.show());
    net.ok(0, 1, "meet 10.0.0.2 7001");
    net.until(5000, "together", |net| net.view(0, 1).nodes.len() == 3 && net.view(1, 0).nodes.len() == 3);
}

#[test]
fn forgotten_nodes_stay_out_for_a_minute() {
    let mut net = created(13, &[2, 1, 1]);
    let (gone, unknown) = (net.id(2, 0), format!("ERR Unknown node {}", net.id(2, 0)));
    net.ok(0, 0, &format!("forget {gone}"));
    assert_eq!(net.cli(0, 0, &format!("forget {gone}")), unknown, "told twice");
    net.ok(0, 1, &format!("forget {gone}"));
    assert_eq!(net.view(0, 0).nodes.len(), 3);
    net.run(10_000);
    assert_eq!(net.view(0, 1).nodes.len(), 3, "gossip doesn't bring it back");
    net.run(65_000);
    assert_eq!(net.view(0, 1).nodes.len(), 4, "after a minute it does");
}

#[test]
fn a_forgotten_sibling_is_on_its_own() {
    let mut net = created(14, &[3, 1]);
    let sibling = net.id(0, 2);
    for (h, l) in [(0, 0), (0, 1), (1, 0)] {
        net.ok(h, l, &format!("forget {sibling}"));
    }
    net.run(5000);
    let known: Vec<usize> = net.shards().into_iter().map(|(h, l)| net.view(h, l).nodes.len()).collect();
    assert_eq!(known, [3, 3, 1, 3], "{}", net.show());
    assert!(!net.view(0, 0).ok, "its slots are nobody's");
}

#[test]
fn a_sibling_that_not_all_have_forgotten_comes_back() {
    let mut net = created(17, &[3, 1]);
    let sibling = net.id(0, 2);
    net.ok(0, 0, &format!("forget {sibling}"));
    net.run(30_000);
    let known = |net: &Net| -> Vec<usize> {
        net.shards().into_iter().map(|(h, l)| net.view(h, l).nodes.len()).collect()
    };
    assert_eq!(known(&net), [3, 3, 1, 4], "not within a minute");
    net.until(50_000, "it is back", |net| known(net) == [4; 4] && net.view(0, 0).ok && net.view(1, 0).ok);
    // but not when it has been told to be alone
    net.ok(0, 2, "reset");
    net.run(70_000);
    assert_eq!(net.view(0, 2).nodes.len(), 1);
}

#[test]
fn reset_makes_a_stranger() {
    let mut net = created(15, &[2, 2]);
    let before = net.id(0, 1);
    assert_eq!(
        net.cli_with(0, 1, "reset", 5),
        "ERR CLUSTER RESET can't be called with master nodes containing keys"
    );
    net.ok(0, 1, "reset soft");
    assert_eq!((net.view(0, 1).nodes.len(), net.view(0, 0).nodes.len()), (1, 3));
    assert_eq!((net.id(0, 1), net.view(0, 1).assigned()), (before.clone(), 0));
    assert!(net.view(0, 1).current_epoch > 0);
    net.run(3000);
    assert_eq!(net.view(0, 1).nodes.len(), 1, "others still know it, it knows nobody: {}", net.show());
    net.ok(0, 1, "reset hard");
    assert_ne!(net.id(0, 1), before);
    assert_eq!((net.view(0, 1).current_epoch, net.view(0, 1).nodes[0].config_epoch), (0, 0));
    for (h, l) in [(0, 0), (1, 0), (1, 1)] {
        let told = net.cli(h, l, &format!("forget {before}"));
        assert!(told == "OK" || told.starts_with("ERR Unknown node"), "{told}");
    }
    net.ok(0, 1, "meet 10.0.0.2 7001");
    net.until(10_000, "back under a new name", |net| net.view(0, 1).nodes.len() == 4);
}

#[test]
fn a_restart_goes_on() {
    let mut net = created(16, &[2, 1, 1]);
    let (ids, epoch) = ((net.id(0, 0), net.id(0, 1)), net.view(0, 0).current_epoch);
    net.ok(1, 0, &format!("setslot 10 importing {}", ids.0));
    net.run(200);
    net.kill(0);
    net.run(300);
    net.restart(0);
    assert_eq!((net.id(0, 0), net.id(0, 1)), ids);
    assert_eq!((net.view(0, 1).nodes.len(), net.view(0, 1).current_epoch), (4, epoch));
    assert!(!net.view(0, 0).ok, "not before it has heard the others");
    net.until(10_000, "well again", |net| net.converged(4));
    net.kill(1);
    net.run(300);
    net.restart(1);
    let from = net.view(1, 0).importing(0, 10).expect("still open");
    assert_eq!(net.view(1, 0).nodes[from as usize].id(), ids.0);
}

#[test]
fn strangers_are_strangers_after_a_restart() {
    let mut net = Net::of(17, &[3], false);
    net.run(50);
    net.ok(0, 1, "meet 10.0.0.1 7001");
    net.run(300);
    net.kill(0);
    net.restart(0);
    assert_eq!([0, 1, 2].map(|l| net.view(0, l).nodes.len()), [2, 2, 1]);
}

#[test]
fn epochs_that_collide_are_settled() {
    // without SET-CONFIG-EPOCH all begin at 0
    for (seed, shards) in [(18, &[1, 1, 1][..]), (19, &[2, 3])] {
        let mut net = Net::of(seed, shards, false);
        net.run(50);
        for (h, l) in &net.shards()[1..] {
            net.ok(*h, *l, "meet 10.0.0.1 7001");
        }
        net.until(20_000, "epochs differ", |net| {
            net.shards().into_iter().all(|(h, l)| {
                let view = net.view(h, l);
                let epochs: std::collections::BTreeSet<u64> =
                    view.nodes.iter().map(|n| n.config_epoch).collect();
                epochs.len() == net.shards().len()
            })
        });
    }
}

#[test]
fn an_address_that_changes_is_found() {
    let mut net = created(20, &[1, 1, 1]);
    net.kill(2);
    net.hosts[2].ip = "10.0.0.77".into();
    net.restart(2);
    net.until(10_000, "the new address", |net| {
        [0, 1].iter().all(|h| net.view(*h, 0).nodes.iter().any(|node| node.ip == "10.0.0.77" && node.linked))
    });
    net.until(10_000, "well again", |net| net.converged(3));
}

#[test]
fn names_travel() {
    let mut net = Net::of(21, &[1], true);
    let other = net.add_host(1, false, |conf| {
        conf.cluster_announce_hostname = "b.example".into();
        conf.cluster_announce_human_nodename = "bee".into();
        conf.cluster_announce_port = 9000;
        conf.cluster_announce_ip = "10.0.0.2".into();
    });
    net.ok(other, 0, "meet 10.0.0.1 7001");
    net.until(8000, "its names", |net| {
        let found = net.view(0, 0).nodes.iter().find(|node| node.hostname == "b.example");
        found.is_some_and(|node| node.human_name == "bee" && node.port == 9000 && node.bus_port == 17001)
    });
    let shard = net.cli(other, 0, "myshardid");
    let known = net.view(0, 0).nodes[1].shard_id;
    assert_eq!(shard.as_bytes(), known);
}

#[test]
fn a_quiet_cluster_says_little() {
    // 24 nodes on four hosts, and the same each on a host of its own: that is what Redis's would send
    let a_second = |shards: &[usize]| {
        let mut net = created(22, shards);
        net.run(5000);
        let sent = |net: &Net| net.hosts.iter().map(|host| host.sent).sum::<u64>();
        let (before, saves) = (sent(&net), net.hosts[0].saves);
        net.run(10_000);
        assert_eq!(net.hosts[0].saves, saves, "nothing changes, nothing is written");
        (sent(&net) - before) / 10
    };
    let (together, apart) = (a_second(&[6; 4]), a_second(&[1; 24]));
    assert!(together * 2 < apart, "{together} packets a second, and {apart}");
}

#[test]
fn a_new_node_timeout_counts_at_once() {
    let mut net = created(23, &[1, 1, 1]);
    let id = net.id(0, 0);
    for h in 0..3 {
        let slow = Config { cluster_node_timeout: 3_600_000, ..Config::default() };
        net.hosts[h].plane.handle_config(Arc::new(slow), net.now);
    }
    net.run(1000);
    net.kill(0);
    net.run(10_000);
    assert!(net.view(1, 0).nodes.iter().all(|node| node.flags == flag::MASTER), "{}", net.show());
    for h in 1..3 {
        let conf = net.hosts[h].conf.clone();
        net.hosts[h].plane.handle_config(conf, net.now);
    }
    let failed = |net: &Net| net.view(1, 0).nodes.iter().any(|node| node.id() == id && node.failed());
    net.until(6000, "FAIL", failed);
}

#[test]
fn a_sibling_that_leaves_takes_its_handshakes_along() {
    let mut net = created(24, &[2, 1]);
    net.ok(0, 1, "meet 10.9.9.9 7001");
    net.run(300);
    assert_eq!(net.view(0, 0).nodes.len(), 4);
    net.ok(0, 1, "reset");
    assert_eq!((net.view(0, 0).nodes.len(), net.view(0, 1).nodes.len()), (2, 1));
    net.run(3000);
    assert_eq!((net.view(0, 0).nodes.len(), net.view(0, 1).nodes.len()), (2, 1));
}
