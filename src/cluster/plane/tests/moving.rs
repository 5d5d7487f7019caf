//! Slots that change hands, and packets that must change nothing.

use super::joining::created;
use super::net::{Net, TIMEOUT};
use crate::cluster::slots::SlotSet;
use crate::cluster::wire::{self, Message, Packet, kind};
use crate::slot::{SLOTS, Slot};
use crate::util::rng::Rng;

fn owner(net: &Net, h: usize, l: usize, slot: Slot) -> String {
    net.view(h, l).owner(slot).map_or(String::new(), |node| node.id().to_owned())
}

fn agreed(net: &Net, slot: Slot, id: &str) -> bool {
    net.shards().into_iter().all(|(h, l)| owner(net, h, l, slot) == id)
}

#[test]
fn a_slot_moves_as_redis_cli_moves_it() {
    // between hosts, and between siblings
    for (seed, shards, from, to) in
        [(60, &[1, 1, 1][..], (0, 0), (1, 0)), (61, &[2, 1], (0, 0), (0, 1)), (62, &[2, 2], (0, 0), (1, 0))]
    {
        let mut net = created(seed, shards);
        let (source, target) = (net.id(from.0, from.1), net.id(to.0, to.1));
        net.ok(to.0, to.1, &format!("setslot 0 importing {source}"));
        net.ok(from.0, from.1, &format!("setslot 0 migrating {target}"));
        assert!(net.view(from.0, from.1).migrating(from.1, 0).is_some());
        assert!(net.view(to.0, to.1).importing(to.1, 0).is_some());
        net.run(3 * TIMEOUT);
        assert!(agreed(&net, 0, &source));
        let epoch = net.view(0, 0).current_epoch;
        net.ok(to.0, to.1, &format!("setslot 0 node {target}"));
        net.ok(from.0, from.1, &format!("setslot 0 node {target}"));
        net.until(3 * TIMEOUT, "all agree", |net| agreed(net, 0, &target));
        assert!(net.view(from.0, from.1).open.is_empty() && net.view(to.0, to.1).open.is_empty());
        assert_eq!(net.view(to.0, to.1).local_node(to.1).config_epoch, epoch + 1);
        net.run(3 * TIMEOUT);
        assert!(agreed(&net, 0, &target) && net.converged(shards.iter().sum()));
    }
}

#[test]
fn epochs_that_rise_beside_a_move_do_not_undo_it() {
    for seed in 600..640 {
        let mut net = created(seed, if seed % 2 == 0 { &[1, 1, 1] } else { &[2, 2] });
        let last = net.hosts.len() - 1;
        let (source, target) = (net.id(0, 0), net.id(last, 0));
        let pause = |net: &mut Net| {
            let ms = net.rng.below(8);
            net.run(ms);
        };
        for slot in 0..6 {
            net.ok(last, 0, &format!("setslot {slot} importing {source}"));
            net.ok(0, 0, &format!("setslot {slot} migrating {target}"));
            let who = net.rng.below(net.hosts.len() as u64) as usize;
            for h in [0, who] {
                net.cli(h, 0, "bumpepoch");
                pause(&mut net);
            }
            net.ok(last, 0, &format!("setslot {slot} node {target}"));
            pause(&mut net);
            // longer than it takes to hear of a collision, every other time
            let ms = net.rng.below(2) * net.rng.below(2 * TIMEOUT);
            net.run(ms);
            net.ok(0, 0, &format!("setslot {slot} node {target}"));
            pause(&mut net);
        }
        let all = |net: &Net| (0..6).all(|slot| agreed(net, slot, &target));
        net.until(10 * TIMEOUT, &format!("seed {seed}: all agree"), all);
        net.run(4 * TIMEOUT);
        assert!(all(&net), "seed {seed}: {}", net.show());
    }
}

/// Whose last slot was taken becomes a replica: what its packets say is its new master's claim, and no epoch is
/// worth rising for it.
#[test]
fn a_replica_claims_nothing() {
    for shares in [true, false] {
        let mut net = Net::new(80);
        (0..3).for_each(|_| _ = net.add_host(1, false, |conf| conf.cluster_host_links = shares));
        for (h, range) in ["0 8000", "8001 16382", "16383 16383"].into_iter().enumerate() {
            net.ok(h, 0, &format!("addslotsrange {range}"));
            net.ok(h, 0, &format!("set-config-epoch {}", h + 1));
        }
        (1..3).for_each(|h| net.ok(h, 0, "meet 10.0.0.1 7001"));
        net.until(20_000, "create", |net| net.converged(3));
        let (source, target) = (net.id(2, 0), net.id(0, 0));
        net.ok(0, 0, &format!("setslot 16383 importing {source}"));
        net.ok(0, 0, &format!("setslot 16383 node {target}"));
        net.ok(2, 0, &format!("setslot 16383 node {target}"));
        let epoch = net.view(0, 0).local_node(0).config_epoch;
        net.run(10 * TIMEOUT);
        assert!(net.view(2, 0).local_node(0).is_replica() && net.converged(3), "{}", net.show());
        assert_eq!(net.view(0, 0).current_epoch, epoch, "shares links: {shares}");
    }
}

#[test]
fn an_import_outruns_its_source() {
    let mut net = created(71, &[1, 1, 1]);
    let [first, second, third] = [0, 1, 2].map(|h| net.id(h, 0));
    // who imports has the greatest epoch already, and needs no new one
    net.cli(0, 0, "bumpepoch");
    net.run(2 * TIMEOUT);
    net.ok(0, 0, &format!("setslot 6000 importing {second}"));
    net.ok(1, 0, &format!("setslot 6000 migrating {first}"));
    net.ok(1, 0, &format!("setslot 12000 importing {third}"));
    // and the source takes one for another slot before it hears of that
    net.part_one_way(0, 1);
    net.ok(0, 0, &format!("setslot 6000 node {first}"));
    net.ok(1, 0, &format!("setslot 12000 node {second}"));
    net.run(TIMEOUT / 2);
    assert_eq!(owner(&net, 0, 0, 6000), first);
    net.heal();
    net.ok(1, 0, &format!("setslot 6000 node {first}"));
    net.until(5 * TIMEOUT, "all agree", |net| agreed(net, 6000, &first) && agreed(net, 12000, &second));
    assert!(net.hosts[0].deleted.is_empty(), "keys that have just come stay");
}

/// Packets overtake each other on their links: one that still claims a slot comes behind one that does not.
#[test]
fn a_claim_that_was_given_up_is_old_news_when_it_comes_late() {
    let mut net = created(74, &[1, 1, 1]);
    let (first, second) = (net.id(0, 0), net.id(1, 0));
    net.ok(0, 0, &format!("setslot 6000 importing {second}"));
    net.ok(1, 0, &format!("setslot 6000 migrating {first}"));
    net.part(&[0], &[1]);
    net.ok(0, 0, &format!("setslot 6000 node {first}"));
    let view = net.view(0, 0);
    let source = view.nodes.iter().find(|node| node.id() == second).expect("it is known").clone();
    let own: SlotSet = (0..SLOTS as Slot).filter(|slot| view.owner(*slot) == Some(&source)).collect();
    let epoch = view.current_epoch;
    let mut links = 1_000_000..;
    let mut hear = |epoch: u64, claimed: bool| {
        let mut header = wire_header(source.id);
        (header.config_epoch, header.slots) = (epoch, own.clone());
        claimed.then(|| header.slots.insert(6000));
        let mut bytes = Vec::new();
        wire::encode(&Packet { header, message: Message::Pong(Default::default()) }, &mut bytes);
        let link = crate::cluster::plane::LinkId::inbound(links.next().expect("they are endless"));
        let now = net.now;
        net.hosts[0].plane.handle_accepted(link, 0, "10.0.0.2", "10.0.0.1", now);
        net.hosts[0].plane.handle_frame(link, &bytes, now);
        net.drain(0);
        net.run(TIMEOUT / 20);
        owner(&net, 0, 0, 6000)
    };
    assert_eq!(hear(epoch + 5, false), first);
    assert_eq!(hear(epoch + 5, true), first);
    // what it claims by an epoch that it has taken since is news
    assert_eq!(hear(epoch + 50, true), second);
}

#[test]
fn a_slot_on_its_way_between_siblings_can_be_lost() {
    let mut net = created(72, &[2, 1, 1]);
    let [first, sibling, second] = [(0, 0), (0, 1), (1, 0)].map(|(h, l)| net.id(h, l));
    net.ok(0, 1, &format!("setslot 5 importing {first}"));
    net.ok(0, 0, &format!("setslot 5 migrating {sibling}"));
    net.ok(1, 0, &format!("setslot 5 importing {first}"));
    net.ok(1, 0, &format!("setslot 5 node {second}"));
    net.until(5 * TIMEOUT, "all agree", |net| agreed(net, 5, &second));
}

#[test]
fn an_importer_learns_whose_the_slot_is() {
    let mut net = created(73, &[1, 1]);
    let first = net.id(0, 0);
    // as a node that has just been met, and told to import before it has heard of the owner
    net.ok(1, 0, "delslots 5");
    net.ok(1, 0, &format!("setslot 5 importing {first}"));
    assert_eq!(owner(&net, 1, 0, 5), "");
    net.until(5 * TIMEOUT, "it knows the owner", |net| owner(net, 1, 0, 5) == first);
    assert!(net.view(1, 0).importing(0, 5).is_some() && net.view(1, 0).ok);
}

#[test]
fn a_slot_may_go_back_at_once() {
    let mut net = created(72, &[1, 1, 1]);
    let [first, second] = [0, 1].map(|h| net.id(h, 0));
    // the first one never hears that the second one has let it go
    net.part_one_way(1, 0);
    net.ok(0, 0, &format!("setslot 6000 importing {second}"));
    net.ok(1, 0, &format!("setslot 6000 migrating {first}"));
    net.ok(0, 0, &format!("setslot 6000 node {first}"));
    net.ok(1, 0, &format!("setslot 6000 node {first}"));
    net.ok(1, 0, &format!("setslot 6000 importing {first}"));
    net.ok(0, 0, &format!("setslot 6000 migrating {second}"));
    net.run(TIMEOUT / 4);
    net.heal();
    net.ok(1, 0, &format!("setslot 6000 node {second}"));
    net.until(TIMEOUT / 2, "it is back", |net| agreed(net, 6000, &second));
    net.ok(0, 0, &format!("setslot 6000 node {second}"));
    let epoch = net.view(2, 0).current_epoch;
    net.run(4 * TIMEOUT);
    assert!(agreed(&net, 6000, &second), "{}", net.show());
    assert_eq!(net.view(2, 0).current_epoch, epoch, "and nobody fights for it");
}

#[test]
fn what_is_lost_with_keys_in_it_is_deleted() {
    let mut net = created(63, &[1, 1, 1]);
    let (first, second) = (net.id(0, 0), net.id(1, 0));
    // the owner isn't told, it only hears of it
    net.ok(1, 0, &format!("setslot 5 importing {first}"));
    net.ok(1, 0, &format!("setslot 5 node {second}"));
    net.until(3 * TIMEOUT, "all agree", |net| agreed(net, 5, &second));
    let (local, slots) = net.hosts[0].deleted.first().expect("an order to delete").clone();
    assert_eq!((local, slots.iter().collect::<Vec<_>>()), (0, vec![5]));
}

#[test]
fn a_master_without_slots_becomes_a_replica() {
    // of a node of another host, and of a sibling
    for (seed, shards, to) in [(64, &[1, 1, 1][..], (1, 0)), (65, &[2, 1], (0, 1))] {
        let mut net = created(seed, shards);
        let target = net.id(to.0, to.1);
        let own: Vec<Slot> = (0..16384).filter(|slot| net.view(0, 0).local_owner(*slot) == Some(0)).collect();
        for slot in own {
            net.ok(0, 0, &format!("setslot {slot} node {target}"));
        }
        assert!(net.view(0, 0).local_node(0).is_replica(), "{}", net.show());
        assert_eq!(
            net.hosts[0].sources[0].as_ref().map(|source| source.id),
            target.as_bytes().try_into().ok()
        );
        assert_eq!(
            net.hosts[0].sources[0].as_ref().and_then(|source| source.local),
            (to.0 == 0).then_some(to.1)
        );
    }
}

#[test]
fn an_old_claim_is_corrected() {
    let mut net = created(66, &[1, 1, 1]);
    let second = net.id(1, 0);
    let first = net.id(0, 0);
    net.kill(0);
    net.ok(1, 0, &format!("setslot 3 importing {first}"));
    net.ok(1, 0, &format!("setslot 3 node {second}"));
    // the new owner can't say so itself when the old one is back
    net.until(5 * TIMEOUT, "the third has heard of it", |net| owner(net, 2, 0, 3) == second);
    net.restart(0);
    net.part(&[0], &[1]);
    net.until(10 * TIMEOUT, "corrected by the third", |net| owner(net, 0, 0, 3) == second);
}

#[test]
fn publish_goes_everywhere_and_spublish_to_replicas() {
    let mut net = created(67, &[1, 2]);
    let third = net.add_host(1, false, |_| {});
    net.ok(third, 0, "meet 10.0.0.1 7001");
    net.until(10_000, "all", |net| net.converged(4));
    let master = net.id(0, 0);
    net.ok(third, 0, &format!("replicate {master}"));
    net.until(5 * TIMEOUT, "a replica", |net| net.view(0, 0).replicas(0).count() == 1);
    for sharded in [false, true] {
        let (channel, message) = (bytes::Bytes::from_static(b"news"), bytes::Bytes::from_static(b"hello"));
        net.hosts[0].plane.handle_publish(0, &channel, &message, sharded, net.now);
        net.drain(0);
    }
    net.run(100);
    let got = |h: usize| -> Vec<(usize, bool)> {
        net.hosts[h].delivered.iter().map(|(l, _, _, sharded)| (*l, *sharded)).collect()
    };
    assert_eq!((got(1), got(third)), (vec![(0, false), (1, false)], vec![(0, false), (0, true)]));
    assert_eq!(net.hosts[1].delivered[0].2, "hello");
}

/// Everything but times and counters.
fn state(net: &Net, h: usize) -> String {
    let view = net.view(h, 0);
    let nodes = view.nodes.iter().map(|node| {
        let (ip, flags, epoch) = (&node.ip, node.flags, node.config_epoch);
        format!("{} {ip}:{}@{} {flags} {:?} {epoch}\n", node.id(), node.port, node.bus_port, node.master)
    });
    let slots: Vec<String> =
        (0..view.nodes.len() as u16).map(|at| format!("{:?}", view.ranges(at))).collect();
    format!("{}{}{}{}", view.current_epoch, view.ok, nodes.collect::<String>(), slots.join("\n"))
}

#[test]
fn hostile_frames_change_nothing() {
    let mut net = created(68, &[1, 1, 1]);
    net.run(2 * TIMEOUT);
    let before = state(&net, 0);
    let links = |net: &mut Net| net.cli(0, 0, "links");
    let open = links(&mut net);
    let stranger = [b'f'; 40];
    let mut rng = Rng::new(1);
    let mut header = wire_header(stranger);
    header.current_epoch = u64::MAX;
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let messages = [
        Message::Ping(Default::default()),
        Message::Pong(Default::default()),
        Message::Fail(net.view(0, 0).nodes[1].id),
        Message::AuthRequest,
        Message::AuthAck,
        Message::MfStart,
        Message::Update {
            config_epoch: u64::MAX,
            id: net.view(0, 0).nodes[1].id,
            slots: crate::cluster::slots::SlotSet::all(),
        },
        Message::Publish { channel: b"c"[..].into(), message: b"m"[..].into() },
        Message::Unknown(kind::COUNT as u16),
    ];
    for message in messages {
        let mut bytes = Vec::new();
        wire::encode(&Packet { header: header.clone(), message }, &mut bytes);
        for _ in 0..20 {
            // damaged anywhere but in the name, which makes it a stranger's
            let mut broken = bytes.clone();
            let at = rng.below(broken.len() as u64) as usize;
            if !(40..80).contains(&at) {
                broken[at] ^= 1 << rng.below(8);
            }
            broken.truncate(broken.len() - rng.below(3) as usize * (rng.below(50) as usize));
            frames.push(broken);
        }
        frames.push(bytes);
    }
    frames.extend((0..200).map(|_| (0..rng.below(4000)).map(|_| rng.below(256) as u8).collect()));
    for (n, frame) in frames.iter().enumerate() {
        let link = crate::cluster::plane::LinkId::inbound(1_000_000 + n as u64);
        let now = net.now;
        net.hosts[0].plane.handle_accepted(link, 0, "10.6.6.6", "10.0.0.1", now);
        net.hosts[0].plane.handle_frame(link, frame, now);
        net.hosts[0].plane.handle_closed(link, now);
        net.drain(0);
    }
    net.run(3 * TIMEOUT);
    assert_eq!(state(&net, 0), before);
    assert_eq!(links(&mut net), open);
    assert!(net.hosts[0].delivered.is_empty());
}

fn wire_header(sender: [u8; 40]) -> wire::Header {
    wire::Header {
        sender,
        flags: wire::flag::MASTER,
        ok: true,
        mflags: 0,
        current_epoch: 1,
        config_epoch: 1,
        offset: 0,
        slots: crate::cluster::slots::SlotSet::all(),
        replica_of: None,
        ip: String::new(),
        port: 7001,
        pport: 0,
        cport: 17001,
        host: None,
    }
}

#[test]
fn what_passes_for_us_is_not_believed() {
    // a packet in the name of one of the host's own nodes
    let mut net = created(69, &[2, 1]);
    let before = state(&net, 0);
    let own = net.view(0, 1).local_node(1).id;
    for message in [Message::Meet(Default::default()), Message::Fail(own), Message::MfStart] {
        let mut frame = Vec::new();
        wire::encode(&Packet { header: wire_header(own), message }, &mut frame);
        let link = crate::cluster::plane::LinkId::inbound(2_000_000);
        let now = net.now;
        net.hosts[0].plane.handle_accepted(link, 0, "10.6.6.6", "10.0.0.1", now);
        net.hosts[0].plane.handle_frame(link, &frame, now);
        net.hosts[0].plane.handle_closed(link, now);
        net.drain(0);
    }
    net.run(2 * TIMEOUT);
    assert_eq!(state(&net, 0), before);
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run = || {
        let mut net = created(70, &[2, 2, 1]);
        net.kill(1);
        net.run(5 * TIMEOUT);
        net.restart(1);
        net.run(5 * TIMEOUT);
        (net.show(), net.hosts.iter().map(|host| (host.sent, host.saves)).collect::<Vec<_>>())
    };
    assert_eq!(run(), run());
}
