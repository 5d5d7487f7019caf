//! Nodes that fail: agreement, partitions, elections, manual failover, replicas that move.

use super::joining::created;
use super::net::{Net, TIMEOUT};
use crate::cluster::plane::{Effect, Heartbeat};
use crate::cluster::view::Node;
use crate::cluster::wire::flag;
use crate::limits::{REJOIN_MAX_MS, REJOIN_MIN_MS};

/// The flags that shard `l` of host `h` sees on a node.
fn flags(net: &Net, h: usize, l: usize, id: &str) -> u16 {
    let view = net.view(h, l);
    view.nodes.iter().find(|node| node.id() == id).map_or(0, |node| node.flags)
}

fn failed_everywhere(net: &Net, id: &str) -> bool {
    net.shards().into_iter().all(|(h, l)| flags(net, h, l, id) & flag::FAIL != 0)
}

/// The owner of slot 0 in the eyes of a shard.
fn owner(net: &Net, h: usize, l: usize) -> String {
    net.view(h, l).owner(0).map_or(String::new(), |node| node.id().to_owned())
}

/// Masters as `created`, and one host more of empty nodes that replicate the first master.
fn with_replicas(seed: u64, masters: &[usize], replicas: &[usize]) -> Net {
    let mut net = created(seed, masters);
    let master = net.id(0, 0);
    for count in replicas {
        let host = net.add_host(*count, false, |_| {});
        for l in 0..*count {
            net.ok(host, l, "meet 10.0.0.1 7001");
            net.until(10_000, "the master is known", |net| flags(net, host, l, &master) & flag::MASTER != 0);
            net.ok(host, l, &format!("replicate {master}"));
            net.hosts[host].beats[l] = Some(Heartbeat { offset: 100, ..Heartbeat::default() });
        }
    }
    let all = masters.iter().chain(replicas).sum();
    let late = net.shards().into_iter().filter(|(h, _)| *h >= masters.len());
    let ids: Vec<String> = late.map(|(h, l)| net.id(h, l)).collect();
    net.until(15_000, "replicas are known as such", |net| {
        let known = |h, l| ids.iter().all(|id| flags(net, h, l, id) & flag::REPLICA != 0);
        net.converged(all) && net.shards().into_iter().all(|(h, l)| known(h, l))
    });
    net
}

#[test]
fn a_killed_host_fails_and_comes_back() {
    for (seed, shards) in [(30, &[1, 1, 1][..]), (31, &[2, 2, 1]), (32, &[1, 3, 3])] {
        let mut net = created(seed, shards);
        let id = net.id(0, 0);
        net.kill(0);
        net.until(6 * TIMEOUT, "FAIL", |net| failed_everywhere(net, &id));
        assert!(net.shards().into_iter().all(|(h, l)| !net.view(h, l).ok), "its slots are not served");
        net.run(1000);
        net.restart(0);
        net.until(10 * TIMEOUT, "back", |net| net.converged(shards.iter().sum()));
        net.run(3 * TIMEOUT);
        assert_eq!(flags(&net, 1, 0, &id), flag::MASTER, "{}", net.show());
    }
}

#[test]
fn a_shard_that_hangs_fails_alone() {
    let mut net = created(33, &[3, 1]);
    let (id, well) = (net.id(0, 1), net.id(0, 0));
    net.hosts[0].beats[1] = None;
    net.until(6 * TIMEOUT, "FAIL", |net| {
        [(0, 0), (0, 2), (1, 0)].iter().all(|(h, l)| flags(net, *h, *l, &id) & flag::FAIL != 0)
    });
    assert_eq!(flags(&net, 1, 0, &well), flag::MASTER);
    net.hosts[0].beats[1] = Some(Heartbeat::default());
    net.until(10 * TIMEOUT, "back", |net| net.converged(4));
}

#[test]
fn the_minority_stops_and_the_majority_goes_on() {
    let mut net = created(34, &[1, 1, 1, 2]);
    net.part(&[0, 1], &[2, 3]);
    net.until(5 * TIMEOUT, "the minority sees it", |net| !net.view(0, 0).ok && !net.view(1, 0).ok);
    let lost = net.id(0, 0);
    net.until(5 * TIMEOUT, "FAIL on the other side", |net| {
        [(2, 0), (3, 0), (3, 1)].iter().all(|(h, l)| flags(net, *h, *l, &lost) & flag::FAIL != 0)
    });
    let other = net.id(3, 0);
    assert_eq!(flags(&net, 0, 0, &other) & flag::FAIL, 0, "two of five don't decide");
    net.heal();
    net.until(15 * TIMEOUT, "a majority for who was in a minority", |net| {
        let view = net.view(0, 0);
        let well = |node: &&Node| node.is_master() && node.flags & (flag::FAIL | flag::PFAIL) == 0;
        view.nodes.iter().filter(well).count() >= 3
    });
    let since = net.now;
    net.until(15 * TIMEOUT, "whole again", |net| net.converged(5) && net.view(0, 0).ok);
    let waited = net.now - since;
    assert!(waited + 200 >= TIMEOUT.clamp(REJOIN_MIN_MS, REJOIN_MAX_MS), "it took writes after {waited} ms");
}

/// A question that was lost is asked again, when its node turns out to live.
#[test]
fn a_lost_ping_is_repeated() {
    for (seed, trunks) in [(36, true), (37, false)] {
        let mut net = created(seed, &[1, 1, 1]);
        (0..3).for_each(|h| net.configure(h, |conf| conf.cluster_host_links = trunks));
        net.run(2 * TIMEOUT);
        let drop_pings = |net: &mut Net, kind: Option<usize>| {
            net.hosts.iter_mut().for_each(|host| host.plane.locals[0].dropped = kind);
        };
        drop_pings(&mut net, Some(0));
        net.until(6 * TIMEOUT, "suspicion", |net| {
            let suspects = |node: &Node| node.flags & (flag::FAIL | flag::PFAIL) != 0;
            net.view(0, 0).nodes.iter().filter(|node| suspects(node)).count() == 2
        });
        drop_pings(&mut net, None);
        net.until(4 * TIMEOUT, "nobody suspects anybody", |net| {
            let well = |node: &Node| node.flags & (flag::FAIL | flag::PFAIL) == 0;
            net.shards().into_iter().all(|(h, l)| net.view(h, l).nodes.iter().all(well))
        });
    }
}

#[test]
fn a_one_way_cut_is_a_cut() {
    let mut net = created(35, &[1, 1, 1]);
    let id = net.id(0, 0);
    net.part_one_way(0, 1);
    net.part_one_way(0, 2);
    net.until(8 * TIMEOUT, "FAIL", |net| [1, 2].iter().all(|h| flags(net, *h, 0, &id) & flag::FAIL != 0));
    net.heal();
    net.until(15 * TIMEOUT, "whole again", |net| net.converged(3));
}

#[test]
fn one_of_two_replicas_takes_over() {
    // on two hosts, on one, and on a master's host
    for (seed, replicas) in [(40, &[1, 1][..]), (41, &[2]), (42, &[1, 2])] {
        let mut net = with_replicas(seed, &[1, 1, 1], replicas);
        let better = net.id(3, 0);
        net.hosts[3].beats[0] = Some(Heartbeat { offset: 200, ..Heartbeat::default() });
        net.run(2 * TIMEOUT);
        let (old, epoch) = (net.id(0, 0), net.view(1, 0).current_epoch);
        net.kill(0);
        net.until(15 * TIMEOUT, "the better one owns the slots", |net| {
            net.shards().into_iter().all(|(h, l)| owner(net, h, l) == better && net.view(h, l).ok)
        });
        assert!(net.view(1, 0).owner(0).is_some_and(|node| node.config_epoch > epoch));
        assert_eq!(net.hosts[3].sources[0], None);
        net.run(2 * TIMEOUT);
        net.restart(0);
        net.until(15 * TIMEOUT, "the old master follows", |net| flags(net, 0, 0, &old) & flag::REPLICA != 0);
        let source = net.hosts[0].sources[0].clone().expect("somebody to replicate");
        assert_eq!(source.id, better.as_bytes());
        net.until(15 * TIMEOUT, "so do the others", |net| {
            let masters =
                |h: usize, l: usize| net.view(h, l).nodes.iter().filter(|node| node.is_master()).count();
            net.shards().into_iter().all(|(h, l)| masters(h, l) == 3 && net.view(h, l).ok)
        });
    }
}

#[test]
fn a_host_of_masters_is_replaced_at_once() {
    // host 0 has four masters of six, so the others alone are no majority: it must not be replaced
    let mut net = created(43, &[2, 1, 1, 1]);
    let masters = [net.id(0, 0), net.id(0, 1)];
    let spare = net.add_host(2, false, |_| {});
    for (l, master) in masters.iter().enumerate() {
        net.ok(spare, l, "meet 10.0.0.2 7001");
        net.until(10_000, "known", |net| flags(net, spare, l, master) & flag::MASTER != 0);
        net.ok(spare, l, &format!("replicate {master}"));
    }
    net.until(15_000, "all there", |net| net.converged(7));
    net.run(2 * TIMEOUT);
    let spares = [net.id(spare, 0), net.id(spare, 1)];
    net.kill(0);
    let begun = net.now;
    net.until(12 * TIMEOUT, "both replaced", |net| {
        let owners = |h: usize, l: usize| {
            let view = net.view(h, l);
            spares.iter().all(|id| view.nodes.iter().any(|n| n.id() == id && n.is_master())) && view.ok
        };
        net.shards().into_iter().all(|(h, l)| owners(h, l))
    });
    assert!(net.now - begun < 6 * TIMEOUT, "one event, not one after another");
}

#[test]
fn siblings_vote_for_siblings() {
    // one host has two of three masters and the replica of the third
    let mut net = created(44, &[1, 2]);
    let (master, replica_host) = (net.id(0, 0), 1);
    let _ = replica_host;
    let spare = net.add_host(1, false, |_| {});
    net.ok(spare, 0, "meet 10.0.0.2 7001");
    net.until(10_000, "known", |net| flags(net, spare, 0, &master) & flag::MASTER != 0);
    net.ok(spare, 0, &format!("replicate {master}"));
    net.until(10_000, "all", |net| net.converged(4));
    net.run(2 * TIMEOUT);
    net.kill(0);
    let id = net.id(spare, 0);
    net.until(12 * TIMEOUT, "taken over", |net| {
        net.shards().into_iter().all(|(h, l)| owner(net, h, l) == id)
    });
}

#[test]
fn a_local_replica_is_elected_by_its_siblings() {
    let mut net = Net::of(45, &[1, 3], false);
    net.run(50);
    for (l, (from, to)) in [(0, 5000), (5001, 16383)].into_iter().enumerate() {
        net.ok(1, l, &format!("addslotsrange {} {}", from + 1, to));
    }
    net.ok(0, 0, "addslots 0");
    for (h, l) in [(1, 1), (1, 2), (0, 0)] {
        net.ok(h, l, "meet 10.0.0.2 7001");
    }
    let met = |node: &crate::cluster::view::Node| node.flags & flag::HANDSHAKE == 0;
    net.until(20_000, "a slot is missing no more", |net| {
        let views = net.shards().into_iter().map(|(h, l)| net.view(h, l));
        views.into_iter().all(|view| view.nodes.len() == 4 && view.nodes.iter().all(met))
    });
    net.ok(1, 1, "addslots 5001");
    let (master, replica) = (net.id(0, 0), net.id(1, 2));
    net.ok(1, 2, &format!("replicate {master}"));
    net.until(10_000, "all", |net| net.converged(4));
    net.run(2 * TIMEOUT);
    net.kill(0);
    net.until(12 * TIMEOUT, "elected", |net| owner(net, 1, 0) == replica && net.view(1, 1).ok);
}

#[test]
fn a_vote_leaves_after_it_is_saved() {
    let mut net = with_replicas(46, &[1, 1, 1], &[1]);
    let id = net.id(0, 0);
    net.kill(0);
    net.until(6 * TIMEOUT, "FAIL", |net| failed_everywhere(net, &id));
    // from here on no disk answers, and so nobody is elected
    net.disk_delay = 1_000_000;
    net.run(10 * TIMEOUT);
    assert_eq!(owner(&net, 1, 0), id);
    let voters: Vec<usize> = (1..3).filter(|h| net.hosts[*h].plane.unsaved().is_some()).collect();
    let candidate = net.hosts[3].plane.unsaved().is_some();
    assert!(candidate, "the epoch of the election is not on disk: nobody was asked");
    assert!(voters.is_empty(), "who wasn't asked has not voted");
}

#[test]
fn no_second_vote_in_an_epoch_after_a_crash() {
    let mut net = with_replicas(47, &[1, 1, 1], &[1]);
    let (id, replica) = (net.id(0, 0), net.id(3, 0));
    net.kill(0);
    net.until(15 * TIMEOUT, "elected", |net| owner(net, 1, 0) == replica);
    let file = String::from_utf8(net.hosts[1].disk.clone().expect("saved")).expect("text");
    let epoch = net.view(1, 0).owner(0).expect("the winner").config_epoch;
    assert!(file.contains(&format!("lastVoteEpoch {epoch}\n")), "{file}");
    assert_ne!(id, replica);
}

#[test]
fn replicas_that_may_not_do_not() {
    for (seed, configure) in [
        (48, (|c: &mut crate::config::Config| c.cluster_replica_no_failover = true) as fn(&mut _)),
        (49, |c| c.cluster_replica_validity_factor = 1),
    ] {
        let mut net = created(seed, &[1, 1, 1]);
        let master = net.id(0, 0);
        let host = net.add_host(1, false, configure);
        net.ok(host, 0, "meet 10.0.0.1 7001");
        net.until(10_000, "known", |net| flags(net, host, 0, &master) & flag::MASTER != 0);
        net.ok(host, 0, &format!("replicate {master}"));
        // data of an hour ago
        net.hosts[host].beats[0] = Some(Heartbeat { data_age_ms: 3_600_000, ..Heartbeat::default() });
        net.run(2 * TIMEOUT);
        net.kill(0);
        net.run(15 * TIMEOUT);
        assert_eq!(owner(&net, 1, 0), master, "seed {seed}");
        net.ok(host, 0, "failover takeover");
        let id = net.id(host, 0);
        net.until(5 * TIMEOUT, "by order", |net| owner(net, 1, 0) == id && owner(net, 2, 0) == id);
    }
}

#[test]
fn manual_failover_by_consent() {
    // between hosts, and between siblings
    for (seed, shards, spare) in [(50, &[1, 1, 1][..], None), (51, &[2, 1, 1], Some((0, 1)))] {
        let mut net = created(seed, shards);
        let master = net.id(0, 0);
        let (h, l) = match spare {
            Some((h, l)) => {
                let to = net.id(1, 0);
                for slot in 0..crate::slot::SLOTS as u16 {
                    if net.view(h, l).local_owner(slot) == Some(1) {
                        net.ok(1, 0, &format!("setslot {slot} node {to}"));
                        net.ok(h, l, &format!("setslot {slot} node {to}"));
                    }
                }
                (h, l)
            }
            None => (net.add_host(1, false, |_| {}), 0),
        };
        if spare.is_none() {
            net.ok(h, l, "meet 10.0.0.1 7001");
            net.until(10_000, "known", |net| flags(net, h, l, &master) & flag::MASTER != 0);
        }
        net.ok(h, l, &format!("replicate {master}"));
        net.run(2 * TIMEOUT);
        net.hosts[0].beats[0] = Some(Heartbeat { offset: 77, ..Heartbeat::default() });
        net.ok(h, l, "failover");
        net.run(1000);
        assert!(net.hosts[0].beats[0].is_some_and(|beat| beat.paused), "clients wait");
        assert_eq!(owner(&net, h, l), master, "not before the replica has all");
        net.hosts[h].beats[l] = Some(Heartbeat { offset: 77, ..Heartbeat::default() });
        let id = net.id(h, l);
        net.until(4 * TIMEOUT, "taken over", |net| {
            net.shards().into_iter().all(|(h, l)| owner(net, h, l) == id && net.view(h, l).ok)
        });
        net.until(2 * TIMEOUT, "the old master follows", |net| {
            flags(net, 0, 0, &master) & flag::REPLICA != 0
        });
        assert!(net.hosts[0].beats[0].is_some_and(|beat| !beat.paused), "clients go on");
    }
}

#[test]
fn manual_failover_is_given_up() {
    let mut net = with_replicas(52, &[1, 1, 1], &[1]);
    let master = net.id(0, 0);
    net.hosts[0].beats[0] = Some(Heartbeat { offset: 1000, ..Heartbeat::default() });
    net.ok(3, 0, "failover");
    net.run(6000);
    assert_eq!(owner(&net, 1, 0), master);
    assert!(net.hosts[0].beats[0].is_some_and(|beat| !beat.paused));
    let id = net.id(3, 0);
    net.ok(3, 0, "failover force");
    net.until(6 * TIMEOUT, "by force", |net| owner(net, 1, 0) == id);
}

#[test]
fn a_replica_moves_to_an_orphan() {
    for (seed, spare) in [(53, &[1, 1, 1][..]), (54, &[3])] {
        let mut net = with_replicas(seed, &[1, 1, 1], spare);
        // the second master has had one replica, which dies
        let host = net.add_host(1, false, |_| {});
        let second = net.id(1, 0);
        net.ok(host, 0, "meet 10.0.0.1 7001");
        net.until(10_000, "known", |net| flags(net, host, 0, &second) & flag::MASTER != 0);
        net.ok(host, 0, &format!("replicate {second}"));
        net.until(10_000, "all", |net| net.converged(7));
        net.run(2 * TIMEOUT);
        net.kill(host);
        net.until(30 * TIMEOUT, "one has moved", |net| {
            let view = net.view(0, 0);
            let orphan = view.nodes.iter().position(|node| node.id() == second).expect("it") as u16;
            view.replicas(orphan).any(|at| !view.nodes[at as usize].failed())
        });
        let first = net.id(0, 0);
        net.run(20 * TIMEOUT);
        let view = net.view(0, 0);
        let at = view.nodes.iter().position(|node| node.id() == first).expect("it") as u16;
        assert!(view.replicas(at).count() > 0, "it keeps one: {}", net.show());
    }
}

#[test]
fn effects_wait_for_the_disk_in_order() {
    let mut net = created(55, &[1, 1, 1]);
    net.disk_delay = 1_000_000;
    net.run(100);
    let host = &mut net.hosts[0];
    let command = |line: &str| super::net::command(line, 0);
    // this node's epoch is not the greatest, so it gets a new one
    host.plane.handle_command(0, &command("bumpepoch"), net.now).expect("bumped");
    let mut saves = Vec::new();
    while let Some(effect) = host.plane.poll() {
        match effect {
            Effect::Save { version, .. } => saves.push(version),
            Effect::Connect { .. } | Effect::Close { .. } => {}
            other => panic!("{other:?} is out before nodes.conf is on disk"),
        }
    }
    let version = *saves.last().expect("a save");
    assert_eq!(host.plane.unsaved(), Some(version));
    host.plane.handle_saved(version, net.now);
    assert!(matches!(host.plane.poll(), Some(Effect::Publish { .. })));
    assert_eq!(host.plane.unsaved(), None);
}
