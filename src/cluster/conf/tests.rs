//! `golden/` holds files that redis-server 7.0.15 nodes wrote: a node that knows nobody, one with a
//! host name and open slots, a replica, one that saw a master fail. `later.conf` follows the format of
//! Redis 7.2 and Valkey 8.

use super::*;
use crate::util::proof::cases;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const FRESH: &str = include_str!("golden/fresh.conf");
const OPEN_SLOTS: &str = include_str!("golden/open_slots.conf");
const REPLICA: &str = include_str!("golden/replica.conf");
const FAILED: &str = include_str!("golden/failed.conf");
const LATER: &str = include_str!("golden/later.conf");

fn read(text: &str) -> Conf {
    parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}")).expect("it is not empty")
}

fn myself(conf: &Conf) -> &NodeLine {
    conf.nodes.iter().find(|node| node.is_myself()).expect("myself")
}

fn fault(text: &str) -> String {
    parse(text.as_bytes()).expect_err("a fault").to_string()
}

#[test]
fn files_of_redis_are_written_back_as_they_were() {
    for text in [FRESH, OPEN_SLOTS, REPLICA, FAILED, LATER] {
        assert_eq!(render(&read(text)), text);
    }
    assert_eq!(parse(b""), Ok(None));
}

#[test]
fn what_a_fresh_node_knows() {
    let conf = read(FRESH);
    let [node] = &conf.nodes[..] else { panic!("one node") };
    assert_eq!((node.ip.as_str(), node.port, node.cport), ("", 0, 0));
    assert_eq!((node.flags, node.connected, node.slots.len()), (flag::MYSELF | flag::MASTER, true, 0));
    assert_eq!((conf.current_epoch, conf.last_vote_epoch), (0, 0));
}

#[test]
fn what_a_node_with_open_slots_knows() {
    let conf = read(OPEN_SLOTS);
    assert_eq!((conf.nodes.len(), conf.current_epoch, conf.last_vote_epoch), (6, 5, 0));
    let me = myself(&conf);
    assert_eq!((me.hostname.as_str(), me.port, me.cport), ("one.shoal.test", 21001, 21201));
    assert_eq!(me.slots.ranges().collect::<Vec<_>>(), [(0, 99), (101, 101), (103, 5460)]);
    let owner = |slot| conf.nodes.iter().find(|node| node.slots.contains(slot)).expect("an owner").id;
    assert_eq!(me.migrating.iter().collect::<Vec<_>>(), [(&7, &owner(16000)), (&5460, &owner(5461))]);
    assert_eq!(me.importing.iter().collect::<Vec<_>>(), [(&16000, &owner(16000))]);
    let replicas = conf.nodes.iter().filter(|node| node.flags & flag::REPLICA != 0);
    let of: Vec<NodeId> = replicas.filter_map(|node| node.replica_of).collect();
    assert_eq!(of, [me.id, owner(5461)]);
}

#[test]
fn what_a_replica_and_a_witness_know() {
    let conf = read(REPLICA);
    let me = myself(&conf);
    assert_eq!((me.flags, me.slots.is_empty()), (flag::MYSELF | flag::REPLICA, true));
    assert_eq!(me.replica_of, Some(conf.nodes.iter().find(|node| node.slots.contains(0)).unwrap().id));
    assert_eq!(me.pong_received, 1795167964000);

    let conf = read(FAILED);
    let gone = conf.nodes.iter().find(|node| !node.connected).unwrap();
    assert_eq!((gone.flags, gone.ping_sent), (flag::MASTER | flag::FAIL, 1795167967729));
    assert_eq!((conf.current_epoch, conf.last_vote_epoch), (7, 7));
}

#[test]
fn what_later_versions_add() {
    let conf = read(LATER);
    let key = |node: usize, key: &str| {
        conf.nodes[node].aux.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    };
    assert_eq!(key(0, "shard-id"), Some("69bc080733d1355567173199cff4a6a039a2f024"));
    assert_eq!((key(1, "nodename"), conf.nodes[1].hostname.as_str()), (Some("blue"), "b.example"));
    assert_eq!((key(2, "client-ipv6"), conf.nodes[2].ip.as_str()), (Some("2001:db8::7"), "::1"));
    assert_eq!((conf.nodes[3].cport, conf.nodes[3].flags), (16379, 0));
    assert_eq!(conf.others, [("futureVar".to_owned(), "x".to_owned())]);
}

/// One line a shard, and lines that people and interrupted writers leave.
#[test]
fn several_are_myself_and_blank_lines_do_not_matter() {
    let node = |c: char, flags: &str, slots: &str| {
        format!("{} 10.0.0.1:6380@16380 {flags} - 0 0 1 connected {slots}\n", c.to_string().repeat(40))
    };
    let text = format!(
        "\n{}\n  {}VARS currentepoch 3 LASTVOTEEPOCH 2\n\n\n",
        node('a', "MYSELF,master", "0-99"),
        node('b', "myself,master", "100")
    );
    let conf = read(&text);
    assert_eq!(conf.nodes.iter().filter(|node| node.is_myself()).count(), 2);
    assert_eq!((conf.current_epoch, conf.last_vote_epoch), (3, 2));
}

#[test]
fn torn_files_are_refused_with_their_line() {
    assert_eq!(fault(&OPEN_SLOTS[..OPEN_SLOTS.len() - 1]), "line 7: the file ends in the middle of a line");
    assert_eq!(fault(&OPEN_SLOTS[..300]), "line 3: the file ends in the middle of a line");
    let lines: Vec<&str> = OPEN_SLOTS.lines().collect();
    assert_eq!(
        fault(&(lines[..6].join("\n") + "\n")),
        "line 6: the file ends without the line that begins with vars"
    );
    assert_eq!(
        fault(&(lines[..2].join("\n") + "\nvars currentEpoch 1\n")),
        "line 3: none of the nodes is myself"
    );
    assert_eq!(fault("\n\n"), "line 2: the file ends without the line that begins with vars");
}

#[test]
fn foreign_files_are_refused_with_their_line() {
    let a = "a".repeat(40);
    let good = format!("{a} 1.1.1.1:1@2 myself,master - 0 0 1 connected 5");
    let vars = "vars currentEpoch 1 lastVoteEpoch 0";
    read(&format!("{good}\n{vars}\n"));
    let with = |from: &str, to: &str| fault(&format!("\n{}\n{vars}\n", good.replacen(from, to, 1)));
    let long = "A".repeat(40);
    assert_eq!(with(&a, &long), format!("line 2: {long} is no node's name"));
    assert_eq!(with("1.1.1.1:1@2", "1.1.1.1"), "line 2: address 1.1.1.1 has no port");
    assert_eq!(with("1.1.1.1:1@2", "1.1.1.1:x@2"), "line 2: x is no port");
    assert_eq!(with("1.1.1.1:1@2", "1.1.1.1:1@65536"), "line 2: 65536 is no port");
    assert_eq!(with("1.1.1.1:1@2", "1.1.1.1:60000"), "line 2: port 60000 is too high");
    assert_eq!(with("1.1.1.1:1@2", "1.1.1.1;:1@2"), "line 2: 1.1.1.1; is no address");
    assert_eq!(with("1@2", "1@2,a_b/c"), "line 2: a_b/c is no host name");
    assert_eq!(with("1@2", "1@2,,x"), "line 2: x is no key=value");
    assert_eq!(with("myself,master", "myself,king"), "line 2: king is no flag of a node");
    assert_eq!(with(" - 0", " b 0"), "line 2: b is no node's name");
    assert_eq!(with("- 0 0 1", "- -1 0 1"), "line 2: -1 is no time of a ping");
    assert_eq!(with("- 0 0 1", "- 0 0 1e5"), "line 2: 1e5 is no epoch");
    assert_eq!(with(" connected", " tied"), "line 2: a link is connected or disconnected, not tied");
    assert_eq!(with(" connected 5", ""), "line 2: a node has eight fields or more, here are 7");
    assert_eq!(with("connected 5", "connected 16384"), "line 2: there is no slot 16384");
    assert_eq!(with("connected 5", "connected 9-5"), "line 2: slots 9-5 go backwards");
    assert_eq!(with("connected 5", "connected [5-+-x]"), "line 2: [5-+-x] is no open slot");
    assert_eq!(with("connected 5", "connected [5->-x]"), "line 2: x is no node's name");
    assert_eq!(with("connected 5", "connected [5->-"), "line 2: [5->- is no open slot");
    let b = "b".repeat(40);
    let other = |slots: &str| format!("{good}\n{b} 1.1.1.1:1@2 master - 0 0 1 connected {slots}\n{vars}\n");
    read(&other("6"));
    assert_eq!(fault(&other("4-6")), "line 2: slot 5 has two owners");
    assert_eq!(
        fault(&other(&format!("[6->-{a}]"))),
        format!("line 2: [6->-{a}]: only a node that is myself has open slots")
    );
    assert_eq!(fault(&format!("{good}\n{good}\n{vars}\n")), format!("line 2: node {a} stands here twice"));
    assert_eq!(fault(&format!("{good}\nvars currentEpoch\n")), "line 2: variable currentEpoch has no value");
    assert_eq!(fault(&format!("{good}\nvars currentEpoch x\n")), "line 2: x is no epoch");
    assert_eq!(fault("port 6379\nbind *\n"), "line 1: a node has eight fields or more, here are 2");
    assert_eq!(parse(b"\xFF\xFE\n").map_err(|e| e.to_string()), Err("line 1: this is no text".into()));
}

fn id() -> impl Strategy<Value = NodeId> {
    vec(prop::sample::select(b"0123456789abcdef".to_vec()), 40).prop_map(|v| v.try_into().unwrap())
}

fn open() -> impl Strategy<Value = BTreeMap<Slot, NodeId>> {
    btree_map(0..SLOTS as Slot, id(), 0..3)
}

prop_compose! {
    fn nodes()(
        (id, replica_of) in (id(), prop::option::of(id())),
        ip in "([0-9.]{7,15}|[0-9a-f:]{2,39}|)",
        hostname in "[a-z.-]{0,20}",
        aux in vec(("[a-z-]{1,9}", "[a-z0-9._-]{0,20}"), 0..3),
        ports in any::<(u16, u16)>(),
        flags in prop::sample::subsequence(WORDS, 0..WORDS.len()),
        times in any::<(u64, u64, u64)>(),
        connected in any::<bool>(),
        slots in vec(0..SLOTS as Slot, 0..40),
        (migrating, importing) in (open(), open()),
    ) -> NodeLine {
        let flags = flags.iter().fold(0, |flags, (flag, _)| flags | flag);
        let mine = flags & flag::MYSELF != 0;
        NodeLine {
            id, ip, port: ports.0, cport: ports.1, hostname, aux, flags, replica_of,
            ping_sent: times.0, pong_received: times.1, config_epoch: times.2, connected,
            slots: slots.into_iter().collect(),
            migrating: if mine { migrating } else { BTreeMap::new() },
            importing: if mine { importing } else { BTreeMap::new() },
        }
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_is_written_is_read(mut nodes in vec(nodes(), 1..5), epochs in any::<(u64, u64)>()) {
        nodes[0].flags |= flag::MYSELF;
        let mut taken = SlotSet::new();
        for node in &mut nodes {
            node.slots.subtract(&taken);
            taken.unite(&node.slots);
        }
        let (current_epoch, last_vote_epoch) = epochs;
        let conf = Conf { nodes, current_epoch, last_vote_epoch, others: Vec::new() };
        prop_assert_eq!(parse(render(&conf).as_bytes()), Ok(Some(conf)));
    }

    #[test]
    fn cut_or_changed_files_do_no_harm(
        which in 0..5usize,
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let text = [FRESH, OPEN_SLOTS, REPLICA, FAILED, LATER][which].as_bytes();
        prop_assert!(parse(&text[..1 + cut.index(text.len() - 1)]).is_err());
        let mut changed = text.to_vec();
        changed[at.index(text.len())] = byte;
        if let Ok(Some(conf)) = parse(&changed) {
            prop_assert_eq!(parse(render(&conf).as_bytes()), Ok(Some(conf)));
        }
    }
}
