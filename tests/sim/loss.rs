//! A host is lost with all its masters: how long until replicas on other hosts serve every slot again.

use super::machine::{BUS, own_port};
use super::world::World;
use shoal::cluster::conf;
use shoal::cluster::view::even_share;
use shoal::config::Config;
use shoal::util::rng::Rng;
use std::fmt::Write;

/// Half of them have masters, the others their replicas.
const HOSTS: usize = 16;
const NODE_TIMEOUT: u64 = 5000;
/// All have been replaced so much later than by the node timeout at most.
const LATE_MS: u64 = 1000;

struct Node {
    id: String,
    host: usize,
    shard: usize,
    /// Of a replica.
    master: Option<usize>,
}

fn ip(host: usize) -> String {
    format!("10.0.0.{}", host + 1)
}

/// The replicas of a host's masters are spread over so many hosts.
fn cluster(rng: &mut Rng, shards: usize, spread: usize) -> Vec<Node> {
    let half = HOSTS / 2;
    let mut id = || (0..3).map(|_| format!("{:016x}", rng.next_u64())).collect::<String>()[..40].to_owned();
    let mut nodes: Vec<Node> = (0..half * shards)
        .map(|n| Node { id: id(), host: n / shards, shard: n % shards, master: None })
        .collect();
    let mut taken = [0; HOSTS];
    for n in 0..half * shards {
        let host = half + (nodes[n].host + nodes[n].shard % spread) % half;
        nodes.push(Node { id: id(), host, shard: taken[host], master: Some(n) });
        taken[host] += 1;
    }
    nodes
}

/// nodes.conf of a host.
fn file(nodes: &[Node], host: usize) -> String {
    let masters = nodes.len() / 2;
    let mut text = String::new();
    for (n, node) in nodes.iter().enumerate() {
        let port = own_port(node.shard);
        let myself = if node.host == host { "myself," } else { "" };
        let _ = write!(text, "{} {}:{port}@{} {myself}", node.id, ip(node.host), port + BUS);
        let _ = match node.master {
            None => {
                let (from, to) = even_share(n, masters);
                writeln!(text, "master - 0 0 {} connected {from}-{to}", n + 1)
            }
            Some(master) => writeln!(text, "slave {} 0 0 {} connected", nodes[master].id, master + 1),
        };
    }
    let _ = writeln!(text, "vars currentEpoch {masters} lastVoteEpoch 0");
    text
}

/// Whether everybody who is up sees every slot with a master that is up.
fn is_served(world: &World) -> bool {
    let hosts = world.machines.iter().filter(|machine| machine.up).filter_map(|machine| machine.shoal());
    hosts.flat_map(|host| &host.views).all(|view| {
        let lost = |node: &shoal::cluster::view::Node| node.failed() && node.is_master();
        view.ok
            && view
                .nodes
                .iter()
                .enumerate()
                .all(|(at, node)| !lost(node) || view.ranges(at as u16).is_empty())
    })
}

/// Loses one of the hosts with masters; how long it takes until all others see all its masters replaced.
fn lose(seed: u64, shards: usize) -> u64 {
    // a multiple of five has all hosts share links
    let mut world = World::new(seed * 5, Vec::new(), true);
    world.config = Config { cluster_node_timeout: NODE_TIMEOUT, ..Config::default() };
    world.checks.off = shards > 8;
    let nodes = cluster(&mut world.rng, shards, [1, 2, 4, 8][seed as usize % 4]);
    for host in 0..HOSTS {
        let saved = conf::parse(file(&nodes, host).as_bytes()).expect("a file of nodes");
        assert_eq!(world.add_host_with(shards, true, saved), host);
        assert_eq!(world.machines[host].ip, ip(host));
    }
    assert!(
        world.until(4 * NODE_TIMEOUT, |world| is_served(world)),
        "seed {seed}: a cluster\n{}",
        world.show()
    );
    let some = world.rng.below(NODE_TIMEOUT);
    world.run(NODE_TIMEOUT + some);
    assert!(is_served(&world), "seed {seed}: a cluster");
    let lost = world.rng.below(HOSTS as u64 / 2) as usize;
    let began = world.now;
    world.crash(lost);
    // nobody has noticed anything before the node timeout is over
    world.run(NODE_TIMEOUT);
    let gone = |world: &World| {
        let views = world.machines[HOSTS - 1].shoal().expect("a host").views.iter();
        views.flat_map(|view| &view.nodes).any(|node| node.failed())
    };
    while !gone(&world) || !is_served(&world) {
        world.run(5);
        assert!(world.now < began + 4 * NODE_TIMEOUT, "seed {seed}: not replaced\n{}", world.show());
    }
    world.now - began
}

#[test]
fn a_lost_host_is_one_event() {
    let long = std::env::var_os("SHOAL_LONG").is_some();
    let (shards, seeds) = if long { (64, 100) } else { (8, 12) };
    let mut times: Vec<u64> = (0..seeds).map(|seed| lose(seed, shards)).collect();
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{HOSTS} hosts of {shards} shards, node timeout {NODE_TIMEOUT} ms: {shards} masters replaced after {median} ms \
         (median of {seeds}), {worst} ms (worst)"
    );
    let late = times.iter().filter(|time| **time > NODE_TIMEOUT + LATE_MS).count();
    assert_eq!(late, 0, "late in {late} of {seeds} seeds: {times:?}");
}
