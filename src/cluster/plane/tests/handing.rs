//! Slots handed from one local node to another.

use super::joining::created;
use super::net::{Net, TIMEOUT, command};
use crate::cluster::conf;
use crate::cluster::plane::{Answer, Command, Effect};
use crate::slot::Slot;

fn hand_off(net: &mut Net, l: usize, line: &str, front: bool) -> String {
    let command = Command { front, ..command(line, 0) };
    let answer = net.hosts[0].plane.handle_command(l, &command, net.now);
    net.drain(0);
    match answer {
        Ok(Answer::Handed(era)) => format!("era {era}"),
        Ok(answer) => format!("{answer:?}"),
        Err(error) => error,
    }
}

/// Who owns a slot by what is on the disk.
fn on_disk(net: &Net, slot: Slot) -> Vec<[u8; 40]> {
    let text = net.hosts[0].disk.clone().expect("nodes.conf");
    let conf = conf::parse(&text).expect("it is whole").expect("it is not empty");
    conf.nodes.iter().filter(|line| line.slots.contains(slot)).map(|line| line.id).collect()
}

#[test]
fn a_handoff_is_one_view_one_epoch_and_one_version_on_the_disk() {
    let mut net = created(160, &[2, 1]);
    let before = net.view(0, 0).local_node(0).id;
    let to = net.view(0, 0).local_node(1).id;
    let (target, epoch, saves) = (net.id(0, 1), net.view(0, 0).current_epoch, net.hosts[0].saves);
    assert_eq!(hand_off(&mut net, 0, &format!("handoff 0-999 2000 {target}"), false), "era 1");
    // nobody has heard of it before it is on the disk
    assert_eq!((net.view(0, 0).handoff.era, on_disk(&net, 5)), (0, vec![before]));
    assert!(hand_off(&mut net, 0, &format!("handoff 3 {target}"), false).starts_with("TRYAGAIN "));
    assert!(hand_off(&mut net, 0, "setslot 3 stable", false).starts_with("TRYAGAIN "));
    net.until(TIMEOUT, "both shards know", |net| (0..2).all(|l| net.view(0, l).handoff.era == 1));
    assert_eq!((on_disk(&net, 5), on_disk(&net, 2000), net.hosts[0].saves), (vec![to], vec![to], saves + 1));
    let view = net.view(0, 0);
    let moves: Vec<_> = view.handoff.moves.iter().map(|m| (m.from, m.to, m.slots.len())).collect();
    assert_eq!(moves, [(0, 1, 1001)]);
    assert_eq!(
        (view.local_owner(999), view.local_owner(2000), view.local_owner(1000)),
        (Some(1), Some(1), Some(0))
    );
    assert_eq!(view.local_node(1).config_epoch, epoch + 1);
    let at = |net: &Net, slot| net.view(1, 0).owner(slot).map(|node| node.id);
    net.until(3 * TIMEOUT, "the other host knows", |net| at(net, 5) == Some(to) && at(net, 2000) == Some(to));
    net.run(3 * TIMEOUT);
    assert!(net.converged(3) && net.hosts[0].deleted.is_empty(), "no key is deleted for it");
}

/// What a former owner claims by a newer epoch, before it has heard that the slot is gone, is old news for
/// the importer, and for the sibling that has the slot from there.
#[test]
fn what_was_imported_is_kept_after_a_handoff() {
    for by_hand in [false, true] {
        let mut net = created(164, &[2, 1, 1]);
        let [first, sibling, source] = [(0, 0), (0, 1), (1, 0)].map(|(h, l)| net.id(h, l));
        net.ok(0, 0, &format!("setslot 9000 importing {source}"));
        net.ok(1, 0, &format!("setslot 9000 migrating {first}"));
        net.part_one_way(0, 1);
        net.ok(0, 0, &format!("setslot 9000 node {first}"));
        if by_hand {
            net.ok(0, 1, &format!("setslot 9000 importing {first}"));
            net.ok(0, 1, &format!("setslot 9000 node {sibling}"));
        } else {
            hand_off(&mut net, 0, &format!("handoff 9000 {sibling}"), false);
        }
        for _ in 0..3 {
            for h in [2, 1] {
                net.cli(h, 0, "bumpepoch");
                net.run(TIMEOUT / 5);
            }
        }
        net.heal();
        let slot = |net: &Net, h: usize| net.view(h, 0).owner(9000).map(|node| node.id().to_owned());
        net.until(5 * TIMEOUT, "all agree", |net| (0..3).all(|h| slot(net, h).as_ref() == Some(&sibling)));
        net.run(3 * TIMEOUT);
        assert!((0..3).all(|h| slot(&net, h).as_ref() == Some(&sibling)));
        assert!(net.hosts[0].deleted.iter().all(|(l, _)| *l != 1), "keys that have just come stay");
    }
}

#[test]
fn a_shard_may_give_all_and_several_may_give_at_once() {
    let mut net = created(161, &[3, 1]);
    let own =
        |net: &Net, l: usize| -> Vec<(Slot, Slot)> { net.view(0, 0).ranges(net.view(0, 0).local_index(l)) };
    let words = |ranges: &[(Slot, Slot)]| -> String {
        ranges.iter().map(|(from, to)| format!("{from}-{to} ")).collect()
    };
    let (first, second) = (words(&own(&net, 0)), own(&net, 1)[0].0);
    let (a, b) = (net.id(0, 0), net.id(0, 2));
    let line = format!("handoff {first}{b} {second} {a}");
    assert_eq!(hand_off(&mut net, 1, &line, true), "era 1");
    net.run(3 * TIMEOUT);
    let view = net.view(1, 0);
    assert_eq!(view.owner(second).map(|node| node.id().to_owned()), Some(a.clone()));
    assert_eq!(view.ranges(view.nodes.iter().position(|n| n.id() == a).unwrap() as u16), [(second, second)]);
    // who gave all that it had is a master still
    assert_eq!(hand_off(&mut net, 0, &format!("handoff {second} {b}"), false), "era 2");
    net.run(3 * TIMEOUT);
    assert!(net.view(0, 0).local_node(0).is_master() && net.converged(4));
    assert!(net.view(1, 0).nodes.iter().all(|node| node.is_master()));
}

#[test]
fn refusals() {
    let mut net = created(162, &[2, 1]);
    let (a, b, far) = (net.id(0, 0), net.id(0, 1), net.id(1, 0));
    let owned = |net: &Net, l: usize| net.view(0, 0).ranges(net.view(0, 0).local_index(l))[0].0;
    let (mine, theirs) = (owned(&net, 0), owned(&net, 1));
    let foreign = (0..16384).find(|slot| net.view(0, 0).local_owner(*slot).is_none()).unwrap();
    net.ok(0, 0, &format!("setslot {} migrating {far}", mine + 1));
    let cases = [
        (format!("handoff {mine} {b}x"), false, "ERR Invalid or out of range slot".to_owned()),
        (format!("handoff {b} {mine}"), false, "ERR Invalid or out of range slot".into()),
        (format!("handoff 16384 {b}"), false, "ERR Invalid or out of range slot".into()),
        (
            format!("handoff {mine} {b} {mine}"),
            false,
            "ERR Name the node that is to have the slots behind them".into(),
        ),
        (
            format!("handoff {0}-{mine} {b}", mine + 1),
            false,
            format!("ERR start slot number {} is greater than end slot number {mine}", mine + 1),
        ),
        (format!("handoff {mine} {mine} {b}"), false, format!("ERR Slot {mine} specified multiple times")),
        (format!("handoff {mine} {}", "0".repeat(40)), false, format!("ERR Unknown node {}", "0".repeat(40))),
        (format!("handoff {mine} {far}"), false, format!("ERR Node {far} is not a shard of this host")),
        (format!("handoff {mine} {a}"), false, format!("ERR Slot {mine} is that node's already")),
        (format!("handoff {theirs} {a}"), false, format!("ERR I'm not the owner of hash slot {theirs}")),
        (
            format!("handoff {foreign} {a}"),
            true,
            format!("ERR Slot {foreign} is not served by a shard of this host"),
        ),
        (
            format!("handoff {} {b}", mine + 1),
            false,
            format!("ERR Slot {0} is open: close it with CLUSTER SETSLOT {0} STABLE before", mine + 1),
        ),
    ];
    for (line, front, want) in cases {
        assert_eq!(hand_off(&mut net, 0, &line, front), want, "{line}");
    }
    net.hosts[0].beats[1] = None;
    net.run(TIMEOUT);
    let silent = hand_off(&mut net, 0, &format!("handoff {mine} {b}"), true);
    assert_eq!(silent, "ERR Shard 1 has not been heard of for a while, try again later");
    assert_eq!(net.view(0, 0).handoff.era, 0);
    net.run(3 * TIMEOUT);
    assert_eq!(
        hand_off(&mut net, 0, &format!("handoff {mine} {b}"), true),
        "CLUSTERDOWN The cluster is down"
    );
}

#[test]
fn a_crash_before_the_disk_has_it_leaves_the_old_owner() {
    let mut net = created(163, &[2]);
    let (before, to) = (net.view(0, 0).local_node(0).id, net.id(0, 1));
    let command = command(&format!("handoff 7 {to}"), 0);
    let answer = net.hosts[0].plane.handle_command(0, &command, net.now);
    assert_eq!(answer, Ok(Answer::Handed(1)));
    assert!(net.hosts[0].plane.unsaved().is_some());
    // everything that leaves before the disk has it: the order to save, and nothing that tells of it
    let mut saves = 0;
    while let Some(effect) = net.hosts[0].plane.poll() {
        assert!(matches!(effect, Effect::Save { .. }), "{effect:?}");
        saves += 1;
    }
    assert_eq!((saves, on_disk(&net, 7)), (1, vec![before]));
}
