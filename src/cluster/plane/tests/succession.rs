//! How soon replicas take over, and in which order.

use super::joining::created;
use super::net::{Net, TIMEOUT};
use crate::cluster::plane::Heartbeat;
use crate::cluster::wire::kind;
use crate::limits;
use std::collections::BTreeSet;

/// A host, and a shard of it.
type Place = (usize, usize);

/// Whether hosts share links, their masters, and hosts with replicas: the masters whom each replicates.
type Shape = (bool, &'static [usize], &'static [&'static [Place]]);

fn with_replicas(seed: u64, (shares, masters, hosts): Shape) -> Net {
    let mut net = created(seed, masters);
    for h in 0..masters.len() {
        net.configure(h, |conf| conf.cluster_host_links = shares);
    }
    for replicas in hosts {
        let host = net.add_host(replicas.len(), false, |conf| {
            conf.cluster_host_links = shares;
            // they stay where they are
            conf.cluster_allow_replica_migration = false;
        });
        for (l, (h, of)) in replicas.iter().enumerate() {
            let master = net.id(*h, *of);
            net.ok(host, l, "meet 10.0.0.2 7001");
            net.until(20_000, "the master is known", |net| {
                net.view(host, l).nodes.iter().any(|node| node.id() == master && node.is_master())
            });
            net.ok(host, l, &format!("replicate {master}"));
            net.hosts[host].beats[l] = Some(Heartbeat { offset: 100, ..Heartbeat::default() });
        }
    }
    let count = masters.iter().sum::<usize>() + hosts.iter().map(|h| h.len()).sum::<usize>();
    net.until(20_000, "all there", |net| net.converged(count));
    net.run(3 * TIMEOUT);
    net
}

/// Whether every slot is served, and none by whom was lost with host 0.
fn replaced(net: &Net, lost: &[String]) -> bool {
    net.shards().into_iter().filter(|(h, _)| *h != 0).all(|(h, l)| {
        let view = net.view(h, l);
        let mut masters =
            view.nodes.iter().filter(|node| node.is_master() && lost.contains(&node.id().to_owned()));
        view.ok && masters.all(|node| node.failed())
    })
}

/// The process ends, or it is there and nobody hears of it, as one that is stopped or cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Killed,
    Silent,
}

fn lose(net: &mut Net, loss: Loss) {
    let others: Vec<usize> = (1..net.hosts.len()).collect();
    match loss {
        Loss::Killed => net.kill(0),
        Loss::Silent => net.part(&[0], &others),
    }
}

/// Masters fail over within the node timeout and a tick or two for each step: nobody waits for what can't come.
/// The end of a process breaks its links; silence is noticed by a PING, and those go out so often.
#[test]
fn nobody_waits_longer_than_he_must() {
    let lone: &[&[Place]] = &[&[(0, 0)]];
    let one_host: &[&[Place]] = &[&[(0, 0), (0, 1), (0, 2)]];
    let crossed: &[&[Place]] = &[&[(0, 0), (0, 3)], &[(0, 1), (0, 4)], &[(0, 2), (0, 5), (1, 0)]];
    let rivals: &[&[Place]] = &[&[(0, 0)], &[(0, 0)], &[(0, 0), (0, 0)]];
    let cases: [(Shape, u64); 8] = [
        ((true, &[1, 1, 1], lone), 500),
        ((false, &[1, 1, 1], lone), 500),
        ((true, &[3, 2, 2, 2], one_host), 500),
        ((false, &[3, 2, 2, 2], one_host), 500),
        ((true, &[6, 4, 4, 4], crossed), 600),
        ((true, &[1, 1, 1], rivals), 600),
        ((false, &[1, 1, 1], rivals), 600),
        ((true, &[1, 2, 2], rivals), 600),
    ];
    for (n, (shape, late)) in cases.into_iter().enumerate() {
        for (seed, loss) in (0..6).zip([Loss::Killed, Loss::Silent].into_iter().cycle()) {
            let ping = if loss == Loss::Silent { TIMEOUT / 2 } else { 0 };
            let mut net = with_replicas(300 + 10 * n as u64 + seed, shape);
            let lost: Vec<String> = (0..shape.1[0]).map(|l| net.id(0, l)).collect();
            net.run(37 * seed);
            lose(&mut net, loss);
            let late = late + ping;
            let what = format!("case {n}, seed {seed}, {loss:?}: replaced");
            net.until(TIMEOUT + late, &what, |net| replaced(net, &lost));
            let view = net.view(1, 0);
            let epochs: BTreeSet<u64> =
                view.nodes.iter().filter(|n| n.is_master() && !n.failed()).map(|n| n.config_epoch).collect();
            let masters = view.nodes.iter().filter(|node| node.is_master() && !node.failed()).count();
            assert_eq!(epochs.len(), masters, "{what}: each has its own epoch\n{}", net.show());
        }
    }
}

/// With a longer node timeout, too, little is added to it: Shoal hosts are pinged often enough.
#[test]
fn silence_is_noticed_in_time() {
    let timeout: u64 = 5000;
    for seed in 0..5 {
        let mut net = with_replicas(480 + seed, (true, &[2, 2, 2], &[&[(0, 0), (0, 1)]]));
        (0..net.hosts.len()).for_each(|h| net.configure(h, |conf| conf.cluster_node_timeout = timeout));
        let lost: Vec<String> = (0..2).map(|l| net.id(0, l)).collect();
        net.run(timeout + 170 * seed);
        lose(&mut net, Loss::Silent);
        net.until(timeout + limits::HOST_PING_MS + 500, "replaced", |net| replaced(net, &lost));
    }
}

/// Masters that have voted refuse to do so again about the same master for two node timeouts. Who is lost once
/// more in that time is replaced as soon as they may.
#[test]
fn who_was_refused_asks_again_when_he_may() {
    for (seed, loss) in (0..6).zip([Loss::Killed, Loss::Silent].into_iter().cycle()) {
        let mut net = with_replicas(500 + seed, (true, &[1, 1, 1], &[&[(0, 0)]]));
        let lost = [net.id(0, 0)];
        net.hosts[0].beats[0] = Some(Heartbeat { offset: 100, ..Heartbeat::default() });
        net.kill(0);
        net.until(TIMEOUT + 500, "replaced", |net| replaced(net, &lost));
        let voted = net.now;
        net.restart(0);
        net.until(TIMEOUT, "a replica", |net| net.view(3, 0).nodes.iter().all(|node| !node.failed()));
        net.ok(0, 0, "failover");
        let back = |net: &Net| {
            net.shards().iter().all(|(h, l)| net.view(*h, *l).owner(0).is_some_and(|n| n.id() == lost[0]))
        };
        net.until(TIMEOUT / 2, "back in its place", back);
        lose(&mut net, loss);
        assert!(net.now + TIMEOUT < voted + 2 * TIMEOUT, "lost again in time");
        let may = voted + 2 * TIMEOUT + limits::ELECTION_REFUSED_MS;
        net.until(may + 200 - net.now, "replaced again", |net| replaced(net, &lost));
    }
}

/// Votes that were cast and never came bind their voters; then the same replica asks again.
#[test]
fn an_election_in_vain_is_repeated_in_time() {
    for seed in 0..4 {
        let mut net = with_replicas(520 + seed, (seed % 2 == 0, &[1, 1, 1], &[&[(0, 0)]]));
        let lost = [net.id(0, 0)];
        net.lost.insert(kind::AUTH_ACK);
        net.kill(0);
        net.run(TIMEOUT + 600);
        assert!(!replaced(&net, &lost), "without votes");
        net.lost.clear();
        let again = 2 * TIMEOUT + limits::ELECTION_REFUSED_MS;
        net.until(again, "replaced", |net| replaced(net, &lost));
    }
}

/// Who has more data goes first, even if it has not been heard of yet: then the others keep Redis's times.
#[test]
fn the_best_goes_first() {
    for seed in 0..6 {
        let shape: Shape = (seed % 2 == 0, &[1, 1, 1], &[&[(0, 0)], &[(0, 0)]]);
        let mut net = with_replicas(400 + seed, shape);
        let better = net.id(4, 0);
        net.hosts[4].beats[0] = Some(Heartbeat { offset: 200, ..Heartbeat::default() });
        net.run(2 * TIMEOUT);
        net.kill(0);
        net.until(TIMEOUT + 600, "the better one", |net| {
            net.shards().into_iter().all(|(h, l)| net.view(h, l).owner(0).is_some_and(|n| n.id() == better))
        });
    }
}

/// A link that breaks while its host lives costs a PING, and nobody is suspected for it.
#[test]
fn a_broken_link_is_no_failure() {
    for (seed, shared) in [(450, true), (451, false)] {
        let mut net = with_replicas(seed, (shared, &[2, 1, 1], &[&[(0, 0)]]));
        for round in 0..5 {
            for other in [net.id(0, 0), net.id(0, 1)] {
                net.cli(1, 0, &format!("kill-links all {other}"));
                for _ in 0..30 {
                    net.run(50);
                    let calm = |(h, l): (usize, usize)| {
                        net.view(h, l).ok && net.view(h, l).nodes.iter().all(|node| !node.failed())
                    };
                    assert!(net.shards().into_iter().all(calm), "round {round}: {}", net.show());
                }
            }
        }
        assert!(net.converged(5), "{}", net.show());
    }
}
