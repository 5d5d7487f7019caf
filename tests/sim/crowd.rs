//! Many nodes on few hosts: how long they take to know each other, and what they say when nothing happens.
//!
//! Beside it stands what as many Redis nodes would say that have a machine each: the foreign nodes of this
//! simulator, which keep Redis's timers node by node.

use super::machine::{Body, own_port};
use super::redis::RedisNode;
use super::world::World;
use shoal::cluster::plane::Command;
use shoal::cluster::view::even_share;
use shoal::cluster::wire::flag;
use shoal::config::Config;
use shoal::resp::args::OwnedArgs;
use shoal::shard::desk::Mail;
use std::sync::{Arc, Mutex};

/// Redis's default, in ms.
const NODE_TIMEOUT: u64 = 15_000;
/// More nodes by Redis's rules than this take hours: what they send is reckoned from this many.
const REDIS_NODES: usize = 256;
/// Bytes of a packet of Redis, and of each node of which it tells: one in ten.
const HEADER: usize = 2256;
const ENTRY: usize = 104;
/// How long the quiet is measured.
const QUIET_MS: u64 = 15_000;

/// What a run has shown. Times in virtual ms; packets and bytes that all machines sent in a second.
struct Figures {
    machines: usize,
    nodes: usize,
    joined_ms: u64,
    moved_ms: u64,
    failed_ms: u64,
    packets: f64,
    bytes: f64,
}

fn world(seed: u64) -> World {
    let mut world = World::new(seed, Vec::new(), true);
    world.config = Config { cluster_node_timeout: NODE_TIMEOUT, ..Config::default() };
    world.checks.off = true;
    world
}

/// A subcommand of CLUSTER at a local node, which must succeed.
fn command(world: &mut World, m: usize, l: usize, line: &str) {
    let outcome = Arc::new(Mutex::new(None));
    let answer = outcome.clone();
    let reply = move |result, _: &dyn Fn(_) -> usize| *answer.lock().expect("one thread") = Some(result);
    let command = Command { words: OwnedArgs::new(line.split(' ')), ..Command::default() };
    let mail = Mail::Command { local: l, command, reply: Box::new(reply) };
    world.at(0, m, super::world::Event::ToDesk(mail));
    let said = || outcome.lock().expect("one thread").take();
    let mut last = None;
    let answered = world.until(10_000, |_| {
        last = said();
        last.is_some()
    });
    assert!(answered && last.as_ref().is_some_and(|r| r.is_ok()), "{line} at {m}.{l}: {last:?}");
}

/// Whether every host sees so many nodes, all well, and every slot served.
fn complete(world: &World, nodes: usize) -> bool {
    let hosts = world.machines.iter().filter(|machine| machine.up).filter_map(|machine| machine.shoal());
    hosts.flat_map(|host| &host.views).all(|view| {
        view.ok && view.nodes.len() == nodes && view.nodes.iter().all(|node| node.flags == flag::MASTER)
    })
}

fn wait(world: &mut World, ms: u64, what: &str, holds: impl Fn(&World) -> bool) -> u64 {
    let began = world.now;
    assert!(world.until(ms, |world| holds(world)), "{what}: not within {ms} ms");
    world.now - began
}

fn traffic(world: &World) -> (u64, u64) {
    world.machines.iter().fold((0, 0), |(packets, bytes), m| (packets + m.packets, bytes + m.bytes))
}

/// Packets and bytes a second of all machines together.
fn measure(world: &mut World) -> (f64, f64) {
    let before = traffic(world);
    world.run(QUIET_MS);
    let after = traffic(world);
    let seconds = QUIET_MS as f64 / 1000.0;
    ((after.0 - before.0) as f64 / seconds, (after.1 - before.1) as f64 / seconds)
}

/// Hosts of Shoal that are made one cluster as redis-cli does it.
fn shoal(machines: usize, nodes: usize) -> Figures {
    let mut world = world(1);
    let mut first = 0;
    for m in 0..machines {
        let count = nodes / machines + (m < nodes % machines) as usize;
        world.add_host(count, true);
        for l in 0..count {
            let (from, to) = even_share(first + l, nodes);
            command(&mut world, m, l, &format!("addslotsrange {from} {to}"));
            command(&mut world, m, l, &format!("set-config-epoch {}", first + l + 1));
        }
        first += count;
        let ip = world.machines[m].ip.clone();
        for l in 1..count {
            command(&mut world, m, l, &format!("meet {ip} {}", own_port(0)));
        }
    }
    let ip = world.machines[0].ip.clone();
    let began = world.now;
    for m in 1..machines {
        command(&mut world, m, 0, &format!("meet {ip} {}", own_port(0)));
    }
    wait(&mut world, 20 * NODE_TIMEOUT, "all know all", |world| complete(world, nodes));
    let joined_ms = world.now - began;
    world.run(2 * NODE_TIMEOUT);
    let (packets, bytes) = measure(&mut world);
    // a slot changes hands
    let name = |m: usize| world.machines[m].shoal().expect("a host").views[0].local_node(0).id().to_owned();
    let (from, to) = (name(0), name(1));
    command(&mut world, 1, 0, &format!("setslot 0 importing {from}"));
    let began = world.now;
    command(&mut world, 1, 0, &format!("setslot 0 node {to}"));
    wait(&mut world, 4 * NODE_TIMEOUT, "all know the owner", |world| {
        let hosts = world.machines.iter().filter_map(|machine| machine.shoal());
        hosts.flat_map(|host| &host.views).all(|view| view.owner(0).is_some_and(|node| node.id() == to))
    });
    let moved_ms = world.now - began;
    // and a host is lost
    let lost = machines - 1;
    let gone = world.machines[lost].nodes();
    world.crash(lost);
    let failed_ms = wait(&mut world, 4 * NODE_TIMEOUT, "all know the loss", |world| {
        let hosts = world.machines.iter().filter(|machine| machine.up).filter_map(|machine| machine.shoal());
        hosts
            .flat_map(|host| &host.views)
            .all(|view| view.nodes.iter().filter(|n| n.failed()).count() == gone)
    });
    Figures { machines, nodes, joined_ms, moved_ms, failed_ms, packets, bytes }
}

/// As many nodes that keep Redis's rules, each on a machine of its own, after they have met.
fn redis(nodes: usize) -> (f64, f64) {
    let mut world = world(2);
    (0..nodes).for_each(|_| _ = world.add_foreign());
    let all: Vec<RedisNode> = (0..nodes).map(|m| acquaint(&world, m)).collect();
    for (m, node) in all.into_iter().enumerate() {
        world.machines[m].body = Body::Redis(Box::new(node));
    }
    world.run(2 * NODE_TIMEOUT);
    measure(&mut world)
}

/// The same for more nodes, reckoned: a node sends packets as the square root of the number of nodes, as the
/// smaller crowds show. What others tell spares it a PING of its own, and the more nodes, the more is told.
fn redis_reckoned(nodes: usize, (packets, _): (f64, f64)) -> (f64, f64) {
    let ratio = nodes as f64 / REDIS_NODES as f64;
    let packets = packets * ratio * ratio.sqrt();
    (packets, packets * (HEADER + ENTRY * (nodes / 10)) as f64)
}

/// The node of a machine, as if it had known all others before it was started.
fn acquaint(world: &World, m: usize) -> RedisNode {
    let mut node = world.machines[m].redis().expect("a foreign node").restart(m as u64);
    let count = world.machines.len();
    for (n, machine) in world.machines.iter().enumerate() {
        let other = machine.redis().expect("a foreign node");
        node.know(other.id, (&machine.ip, own_port(0)), n as u64 + 1, even_share(n, count));
    }
    node
}

fn row(who: &str, machines: usize, nodes: usize, times: &str, (packets, bytes): (f64, f64)) {
    let (each, kib) = (packets / machines as f64, bytes / 1024.0);
    let each_kib = kib / machines as f64;
    println!(
        "| {who} | {machines} | {nodes} | {times} | {each:.0} | {each_kib:.0} | {packets:.0} | {kib:.0} |"
    );
}

/// Tells of a cluster of so many nodes on so many hosts, and of as many that keep Redis's rules.
fn tell(machines: usize, nodes: usize) {
    println!(
        "| nodes | machines | nodes in all | all know all, s | a slot's new owner, s | a lost host, s \
         | packets/s a machine | KiB/s a machine | packets/s in all | KiB/s in all |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    let figures = shoal(machines, nodes);
    let seconds = |ms: u64| format!("{:.1}", ms as f64 / 1000.0);
    let times = [figures.joined_ms, figures.moved_ms, figures.failed_ms].map(seconds).join(" | ");
    row("Shoal", figures.machines, figures.nodes, &times, (figures.packets, figures.bytes));
    match nodes <= REDIS_NODES {
        true => row("Redis's rules", nodes, nodes, "| |", redis(nodes)),
        false => {
            let reckoned = redis_reckoned(nodes, redis(REDIS_NODES));
            row("Redis's rules, reckoned", nodes, nodes, "| |", reckoned);
        }
    }
}

/// A small crowd always, and up to a thousand nodes in long runs.
#[test]
fn a_crowd_is_told() {
    let long = std::env::var_os("SHOAL_LONG").is_some();
    let crowds: &[(usize, usize)] = if long { &[(16, 256), (16, 1000)] } else { &[(8, 64)] };
    crowds.iter().for_each(|(machines, nodes)| tell(*machines, *nodes));
}
