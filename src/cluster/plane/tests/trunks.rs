//! Two Shoal hosts share one link pair, and nobody else does.

use super::joining::created;
use super::net::{Net, TIMEOUT};
use crate::cluster::plane::{Answer, Heartbeat, LinkId};
use crate::cluster::wire::{self, Message, flag, kind};

/// The flags that shard `l` of host `h` sees on a node.
fn flags(net: &Net, h: usize, l: usize, id: &str) -> u16 {
    let view = net.view(h, l);
    view.nodes.iter().find(|node| node.id() == id).map_or(0, |node| node.flags)
}

fn failed(net: &Net, h: usize, id: &str) -> bool {
    flags(net, h, 0, id) & flag::FAIL != 0
}

/// No node is suspected anywhere.
fn calm(net: &Net) -> bool {
    let views = net.shards().into_iter().map(|(h, l)| net.view(h, l));
    views.flat_map(|view| &view.nodes).all(|node| node.flags & (flag::PFAIL | flag::FAIL) == 0 && node.linked)
}

/// A host's shards, and whether it shares links.
type Shape = (usize, bool);
/// Two hosts, and the links between them.
type Wanted = (usize, usize, usize);

/// As many shards as wanted on each host; those that don't share links behave as redis-server.
fn hosts(seed: u64, shapes: &[Shape]) -> Net {
    let shards: Vec<usize> = shapes.iter().map(|(shards, _)| *shards).collect();
    let mut net = Net::new(seed);
    for (shards, shares) in shapes {
        net.add_host(*shards, false, |conf| conf.cluster_host_links = *shares);
    }
    net.run(100);
    super::joining::create(&mut net);
    net.until(20_000, "create", |net| net.converged(shards.iter().sum()));
    net.run(6 * TIMEOUT);
    net
}

#[test]
fn two_hosts_have_one_link_pair_and_others_one_for_each_pair_of_nodes() {
    let cases: [(&[Shape], &[Wanted]); 3] = [
        (&[(8, true), (8, true)], &[(0, 1, 2)]),
        (&[(3, true), (4, true), (2, false)], &[(0, 1, 2), (0, 2, 12), (1, 2, 16)]),
        (&[(2, false), (2, false)], &[(0, 1, 8)]),
    ];
    for (seed, (shapes, links)) in cases.into_iter().enumerate() {
        let mut net = hosts(200 + seed as u64, shapes);
        assert!(calm(&net), "{}", net.show());
        for (a, b, wanted) in links {
            assert_eq!(net.links_between(*a, *b), *wanted, "between {a} and {b} of {shapes:?}");
        }
        // a shard shows a pair of links with each foreign node, its own or its host's
        let foreign: usize = shapes[1..].iter().map(|(shards, _)| shards).sum();
        assert_eq!(net.cli(0, 1, "links"), (2 * foreign).to_string());
    }
}

/// What DEBUG CLUSTERLINK KILL and DROP-CLUSTER-PACKET-FILTER do, on links of a node's own and on shared ones.
#[test]
fn debug_breaks_links_and_drops_packets() {
    for (seed, shared) in [(220, false), (221, true)] {
        let mut net = hosts(seed, &[(2, shared), (1, shared), (1, shared)]);
        let other = net.id(1, 0);
        let links = |net: &mut Net| -> Vec<LinkId> {
            let command = super::net::command("links", 0);
            let Ok(Answer::Links(links)) = net.hosts[0].plane.handle_command(0, &command, net.now) else {
                panic!("CLUSTER LINKS answers with links")
            };
            links.iter().filter(|link| link.node == other.as_bytes()).map(|link| link.link).collect()
        };
        for (which, gone) in [("to", [true, false]), ("from", [false, true]), ("all", [true, true])] {
            let before = links(&mut net);
            assert_eq!(before.len(), 2, "one there and one back");
            net.ok(0, 0, &format!("kill-links {which} {other}"));
            net.until(3 * TIMEOUT, "links again", |net| net.converged(4) && calm(net));
            net.run(TIMEOUT);
            let after = links(&mut net);
            let changed: Vec<bool> = before.iter().map(|link| !after.contains(link)).collect();
            // a host that is not heard any more calls back
            assert!(
                gone.iter().zip(&changed).all(|(gone, changed)| !gone || *changed),
                "{which}: {changed:?}"
            );
        }
        // who is not heard is not met
        let spare = net.add_host(1, false, |_| {});
        for (kind, nodes) in [(kind::MEET as i64, 4), (-1, 5)] {
            net.ok(0, 0, &format!("drop-packets {kind}"));
            net.ok(spare, 0, "meet 10.0.0.1 7001");
            net.run(5 * TIMEOUT);
            assert_eq!(net.view(0, 0).nodes.len(), nodes, "{}", net.show());
        }
    }
}

#[test]
fn what_is_shared_costs_a_fraction() {
    let cost = |shares| {
        let mut net = hosts(210, &[(16, shares), (16, shares)]);
        let before = (net.hosts[0].sent, net.hosts[0].bytes);
        net.run(20 * TIMEOUT);
        assert!(calm(&net));
        (net.hosts[0].sent - before.0, net.hosts[0].bytes - before.1)
    };
    let (shared, apart) = (cost(true), cost(false));
    assert!(shared.0 * 10 < apart.0 && shared.1 * 10 < apart.1, "{shared:?} against {apart:?}");
}

#[test]
fn a_shard_that_hangs_fails_alone_wherever_it_stands() {
    // the speaker of its host, the far end of the other's link, and one in between
    for (seed, l) in [(220, 0), (221, 1), (222, 2)] {
        let mut net = hosts(seed, &[(3, true), (3, true), (1, true)]);
        let (id, sibling) = (net.id(1, l), net.id(1, (l + 1) % 3));
        net.hosts[1].beats[l] = None;
        net.until(8 * TIMEOUT, "FAIL", |net| failed(net, 0, &id) && failed(net, 2, &id));
        assert!(flags(&net, 0, 0, &sibling) & (flag::PFAIL | flag::FAIL) == 0, "{}", net.show());
        assert!(flags(&net, 1, (l + 1) % 3, &id) & flag::FAIL != 0, "its siblings know it, too");
        net.hosts[1].beats[l] = Some(Heartbeat::default());
        net.until(10 * TIMEOUT, "back", |net| net.converged(7) && calm(net));
        net.run(4 * TIMEOUT);
        assert_eq!((net.links_between(0, 1), net.links_between(1, 2)), (2, 2));
    }
}

#[test]
fn a_killed_host_fails_as_one() {
    let mut net = hosts(230, &[(4, true), (4, true), (4, true)]);
    let ids: Vec<String> = (0..4).map(|l| net.id(0, l)).collect();
    // one third of all masters: the others agree
    net.kill(0);
    net.until(6 * TIMEOUT, "FAIL", |net| ids.iter().all(|id| failed(net, 1, id) && failed(net, 2, id)));
    net.restart(0);
    net.until(12 * TIMEOUT, "back", |net| net.converged(12) && calm(net));
    net.run(2 * TIMEOUT);
    assert_eq!((net.links_between(0, 1), net.links_between(0, 2)), (2, 2));
}

#[test]
fn who_comes_back_as_something_else_gets_links_of_its_own() {
    let mut net = hosts(240, &[(2, true), (3, true)]);
    net.kill(1);
    net.run(300);
    net.configure(1, |conf| conf.cluster_host_links = false);
    net.restart(1);
    net.until(12 * TIMEOUT, "back", |net| net.converged(5) && calm(net));
    net.run(4 * TIMEOUT);
    assert_eq!(net.links_between(0, 1), 12);
    // and without a restart
    net.configure(1, |conf| conf.cluster_host_links = true);
    net.until(12 * TIMEOUT, "shared again", |net| net.links_between(0, 1) == 2);
    net.configure(0, |conf| conf.cluster_host_links = false);
    net.until(12 * TIMEOUT, "apart", |net| net.links_between(0, 1) == 12);
    net.run(4 * TIMEOUT);
    assert!(net.converged(5) && calm(&net));
}

#[test]
fn a_host_whose_words_get_lost_is_not_taken_for_dead() {
    let mut net = hosts(250, &[(3, true), (3, true)]);
    net.lost.insert(kind::HOST);
    let ids: Vec<String> = (0..3).map(|l| net.id(1, l)).collect();
    for _ in 0..40 {
        net.run(TIMEOUT / 2);
        assert!(ids.iter().all(|id| !failed(&net, 0, id)), "{}", net.show());
    }
    assert!(net.links_between(0, 1) > 2, "standard links do it");
    net.lost.clear();
    net.until(12 * TIMEOUT, "shared again", |net| net.links_between(0, 1) == 2 && calm(net));
}

#[test]
fn a_node_that_leaves_its_hosts_cluster_is_not_spoken_for() {
    let mut net = hosts(260, &[(2, true), (3, true)]);
    let (gone, slots) = (net.id(1, 2), net.view(1, 2).ranges(net.view(1, 2).local_index(2)));
    net.ok(1, 2, "reset hard");
    let new = net.id(1, 2);
    assert_ne!(new, gone);
    let lost = flag::FAIL | flag::NOADDR;
    net.until(8 * TIMEOUT, "gone", |net| flags(net, 0, 0, &gone) & lost != 0);
    for (h, l) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        // its own host may not have heard of it again
        let said = net.cli(h, l, &format!("forget {gone}"));
        assert!(said == "OK" || h == 1 && said == format!("ERR Unknown node {gone}"), "{said}");
    }
    net.ok(1, 2, "meet 10.0.0.1 7001");
    net.ok(1, 2, &format!("addslotsrange {} {}", slots[0].0, slots[0].1));
    net.until(15 * TIMEOUT, "one cluster again", |net| net.converged(5) && calm(net));
    net.run(4 * TIMEOUT);
    assert_eq!(net.links_between(0, 1), 2);
}

/// Everything but times, counters and links.
fn state(net: &Net, h: usize) -> String {
    let view = net.view(h, 0);
    let nodes = view.nodes.iter().map(|node| {
        let (flags, epoch) = (node.flags, node.config_epoch);
        format!("{} {}:{}@{} {flags} {epoch}\n", node.id(), node.ip, node.port, node.bus_port)
    });
    let slots = (0..view.nodes.len() as u16).map(|at| format!("{:?}", view.ranges(at)));
    format!("{} {}\n{}{}", view.current_epoch, view.ok, nodes.collect::<String>(), slots.collect::<String>())
}

#[test]
fn forged_and_replayed_words_of_a_host_change_nothing() {
    let mut net = hosts(270, &[(2, true), (2, true)]);
    net.hosts[0].came = Some(Vec::new());
    net.run(3 * TIMEOUT);
    let came = net.hosts[0].came.take().expect("frames");
    let (before, known) = (state(&net, 0), net.view(0, 0).nodes.len());
    let mut frames = Vec::new();
    for frame in came.iter().filter(|frame| wire::kind_of(frame) == Some(kind::HOST)) {
        let genuine = wire::decode(frame).expect("a packet of a host");
        let mark = genuine.header.host.expect("a host's mark");
        let claims = |packet: &mut wire::Packet| {
            let Message::Host(gossip) = &mut packet.message else { panic!("a host's packet") };
            for node in &mut gossip.nodes {
                let mut header = genuine.header.clone();
                (header.slots, header.config_epoch) = (crate::cluster::slots::SlotSet::all(), u64::MAX);
                let extensions = Vec::new();
                header.host = header.host.map(|own| wire::HostMark { to: 0, number: node.number, ..own });
                node.news = Some(Box::new(wire::Statement { header, extensions }));
            }
        };
        // as it was; for a host that we are not; of one that we don't know
        frames.push(genuine.clone());
        for mark in [wire::HostMark { to: 1, ..mark }, wire::HostMark { host: 1, ..mark }] {
            let mut forged = genuine.clone();
            forged.header.host = Some(mark);
            claims(&mut forged);
            frames.push(forged);
        }
        let mut bare = genuine.clone();
        bare.header.host = None;
        claims(&mut bare);
        frames.push(bare);
    }
    assert!(frames.len() > 8, "hosts have spoken");
    for (n, packet) in frames.into_iter().enumerate() {
        let mut frame = Vec::new();
        wire::encode(&packet, &mut frame);
        let (link, now) = (LinkId::inbound(3_000_000 + n as u64), net.now);
        net.hosts[0].plane.handle_accepted(link, n % 2, "10.6.6.6", "10.0.0.1", now);
        net.hosts[0].plane.handle_frame(link, &frame, now);
        net.hosts[0].plane.handle_closed(link, now);
        net.drain(0);
        assert_eq!(net.view(0, 0).nodes.len(), known);
    }
    net.run(4 * TIMEOUT);
    assert_eq!(state(&net, 0), before);
    assert!(calm(&net));
}

#[test]
fn messages_over_a_shared_link_reach_whom_they_are_for() {
    let mut net = created(280, &[2, 3]);
    net.run(4 * TIMEOUT);
    assert_eq!(net.links_between(0, 1), 2);
    let (channel, message) = (bytes::Bytes::from_static(b"news"), bytes::Bytes::from_static(b"hello"));
    let (sent, now) = (net.hosts[0].sent, net.now);
    net.hosts[0].plane.handle_publish(1, &channel, &message, false, now);
    net.drain(0);
    assert_eq!(net.hosts[0].sent, sent + 1, "one packet for the host");
    net.run(50);
    let got: Vec<usize> = net.hosts[1].delivered.iter().map(|(l, ..)| *l).collect();
    assert_eq!(got, [0, 1, 2]);
}
