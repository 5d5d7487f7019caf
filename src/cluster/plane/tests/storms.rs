//! Faults by chance, and peace after them. A failing seed says so, and replays.

use super::joining::created;
use super::net::{Net, TIMEOUT};
use crate::cluster::plane::Heartbeat;

/// One thing that goes wrong, or is done by hand meanwhile.
fn trouble(net: &mut Net) {
    let hosts = net.hosts.len() as u64;
    let h = net.rng.below(hosts) as usize;
    let l = net.rng.below(net.hosts[h].views.len() as u64) as usize;
    let up: Vec<(usize, usize)> = net.shards();
    match net.rng.below(13) {
        0 if up.iter().filter(|(host, _)| *host != h).count() > up.len() / 2 && net.hosts[h].up => {
            net.kill(h)
        }
        0..=2 if !net.hosts[h].up => net.restart(h),
        3 => net.part(&[h], &[(h + 1) % hosts as usize]),
        4 => net.part_one_way(h, (h + 2) % hosts as usize),
        5 => net.heal(),
        6 => net.hosts[h].beats[l] = None,
        7 => net.hosts[h].beats[l] = Some(Heartbeat { offset: net.now % 1000, ..Heartbeat::default() }),
        8..=9 if net.hosts[h].up => {
            let slot = net.rng.below(16384) as u16;
            let Some(owner) = net.view(h, l).owner(slot).map(|node| node.id().to_owned()) else { return };
            let own = net.id(h, l);
            net.cli(h, l, &format!("setslot {slot} importing {owner}"));
            if net.rng.below(2) == 0 {
                net.cli(h, l, &format!("setslot {slot} node {own}"));
            }
        }
        10 if net.hosts[h].up => {
            let manner = ["failover", "failover force", "failover takeover", "bumpepoch"];
            let line = manner[net.rng.below(4) as usize];
            net.cli(h, l, line);
        }
        11 => net.disk_delay = 1 + net.rng.below(300),
        12 => {
            let shares = net.rng.below(2) == 0;
            net.configure(h, |conf| conf.cluster_host_links = shares);
        }
        _ => {}
    }
}

fn calm(net: &mut Net) {
    net.heal();
    net.disk_delay = 3;
    for h in 0..net.hosts.len() {
        if !net.hosts[h].up {
            net.restart(h);
        }
        net.hosts[h].beats.fill(Some(Heartbeat::default()));
    }
    for (h, l) in net.shards() {
        for slot in net.view(h, l).open.iter().map(|open| open.slot).collect::<Vec<_>>() {
            net.cli(h, l, &format!("setslot {slot} stable"));
        }
    }
}

/// A cluster with replicas on other hosts than their masters.
fn cluster(seed: u64) -> (Net, usize) {
    let shapes: [&[usize]; 3] = [&[1, 1, 1], &[2, 2, 2], &[3, 1, 2]];
    let mut net = created(seed, shapes[seed as usize % 3]);
    // every other storm blows over hosts of both kinds
    for h in (0..net.hosts.len()).filter(|h| seed.is_multiple_of(2) && h % 2 == 1) {
        net.configure(h, |conf| conf.cluster_host_links = false);
    }
    let mut nodes = net.shards().len();
    for master in [(0, 0), (1, 0)] {
        let id = net.id(master.0, master.1);
        let spare = net.add_host(2, false, |_| {});
        for l in 0..2 {
            net.ok(spare, l, "meet 10.0.0.1 7001");
            net.until(15_000, "known", |net| net.view(spare, l).nodes.iter().any(|node| node.id() == id));
            net.ok(spare, l, &format!("replicate {id}"));
        }
        nodes += 2;
    }
    net.until(20_000, "all", |net| net.converged(nodes));
    (net, nodes)
}

fn storm(seed: u64) {
    let (mut net, nodes) = cluster(seed);
    for _ in 0..60 {
        trouble(&mut net);
        let ms = net.rng.below(TIMEOUT);
        net.run(ms);
    }
    calm(&mut net);
    net.until(60 * TIMEOUT, &format!("peace after seed {seed}"), |net| net.converged(nodes));
}

#[test]
fn peace_follows_storms() {
    let seeds = match std::env::var("SHOAL_STORMS") {
        Ok(seeds) => {
            let (from, to) = seeds.split_once('-').expect("SHOAL_STORMS=FROM-TO");
            from.parse().expect("a seed")..to.parse().expect("a seed")
        }
        Err(_) => 1000..1004,
    };
    seeds.for_each(storm);
}
