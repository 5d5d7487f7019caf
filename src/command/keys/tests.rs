//! Expected replies are redis-server 7.0.15's.

use crate::cluster::view::{Node, UNASSIGNED, View};
use crate::command::testing::World;
use crate::resp::args::OwnedArgs;
use crate::slot::{Slot, key_slot};
use crate::store::{Clock, Ttl, cursor_slot};
use crate::util::proof::cases;
use crate::value::{Limits, List, Object};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A world with a list `l` of one element.
fn world() -> World {
    let mut w = World::new();
    put_list(&mut w);
    w
}

fn put_list(w: &mut World) {
    let mut list = List::new();
    list.push_back(b"x", &Limits::default());
    let (key, clock) = (w.ks.hasher().key(b"l"), Clock::at(w.now_ms));
    w.ks.db_mut(0).set_object(&key, Object::List(list), Ttl::Clear, &clock);
}

#[test]
fn presence() {
    world().check(&[
        ("MSET a 1 b 2", "+OK|"),
        ("DEL a b missing a", ":2|"),
        ("EXISTS a l l", ":2|"),
        ("TOUCH l l a", ":2|"),
        ("TYPE l", "+list|"),
        ("TYPE a", "+none|"),
        ("UNLINK l l", ":1|"),
        ("TYPE l", "+none|"),
    ]);
}

#[test]
fn expiry_conditions() {
    world().check(&[
        ("SET k v", "+OK|"),
        ("EXPIREAT k 99999999990 XX", ":0|"),
        ("EXPIREAT k 99999999990 GT", ":0|"),
        ("EXPIREAT k 99999999990 LT", ":1|"),
        ("EXPIREAT k 99999999990 NX", ":0|"),
        ("EXPIREAT k 99999999980 GT", ":0|"),
        ("EXPIREAT k 99999999995 gt", ":1|"),
        ("EXPIREAT k 99999999999 LT", ":0|"),
        ("EXPIREAT k 99999999992 LT XX", ":1|"),
        ("EXPIRETIME k", ":99999999992|"),
        ("PEXPIRETIME k", ":99999999992000|"),
        ("EXPIREAT k 1 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible|"),
        ("EXPIREAT k 1 GT LT", "-ERR GT and LT options at the same time are not compatible|"),
        ("EXPIREAT k 1 XX GT LT", "-ERR GT and LT options at the same time are not compatible|"),
        ("EXPIREAT k 1 WHAT", "-ERR Unsupported option WHAT|"),
        ("EXPIREAT k abc WHAT", "-ERR Unsupported option WHAT|"),
        ("EXPIREAT k abc", "-ERR value is not an integer or out of range|"),
        ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command|"),
        ("EXPIRE k -9223372036854775808", "-ERR invalid expire time in 'expire' command|"),
        ("PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command|"),
        ("PEXPIREAT k 9223372036854775807", ":1|"),
        ("PEXPIRETIME k", ":9223372036854775807|"),
        ("EXPIRETIME k", ":9223372036854776|"),
        ("EXPIRE missing 100", ":0|"),
        ("EXPIRE missing abc", "-ERR value is not an integer or out of range|"),
        ("PERSIST k", ":1|"),
        ("PERSIST k", ":0|"),
        ("PERSIST missing", ":0|"),
        ("TTL k", ":-1|"),
        ("PTTL missing", ":-2|"),
        ("EXPIRETIME k", ":-1|"),
        ("PEXPIRETIME missing", ":-2|"),
        ("PEXPIREAT k 33177117420500", ":1|"),
        ("EXPIRETIME k", ":33177117421|"),
        ("EXPIRE k -1", ":1|"),
        ("EXISTS k", ":0|"),
        ("SET k v", "+OK|"),
        ("PEXPIREAT k 1", ":1|"),
        ("EXISTS k", ":0|"),
        ("SET k v", "+OK|"),
        ("EXPIRE k -1 GT", ":0|"),
        ("EXPIRE k -1 LT", ":1|"),
        ("EXISTS k", ":0|"),
    ]);
}

#[test]
fn renames() {
    world().check(&[
        ("SET a 1 PXAT 99999999999999", "+OK|"),
        ("SET b 2", "+OK|"),
        ("RENAME a b", "+OK|"),
        ("GET b", "$1|1|"),
        ("PEXPIRETIME b", ":99999999999999|"),
        ("RENAME a b", "-ERR no such key|"),
        ("RENAME b b", "+OK|"),
        ("RENAMENX b b", ":0|"),
        ("RENAME none none", "-ERR no such key|"),
        ("SET c 3", "+OK|"),
        ("RENAMENX b c", ":0|"),
        ("RENAMENX b d", ":1|"),
        ("GET d", "$1|1|"),
        ("RENAME l d", "+OK|"),
        ("TYPE d", "+list|"),
        ("RENAME c d", "+OK|"),
        ("PEXPIRETIME d", ":-1|"),
    ]);
}

#[test]
fn copies() {
    world().check(&[
        ("SET a v PXAT 99999999999999", "+OK|"),
        ("COPY a b", ":1|"),
        ("PEXPIRETIME b", ":99999999999999|"),
        ("SET a w", "+OK|"),
        ("COPY a b", ":0|"),
        ("COPY a b REPLACE", ":1|"),
        ("GET b", "$1|w|"),
        ("PEXPIRETIME b", ":-1|"),
        ("COPY none b", ":0|"),
        ("COPY none b REPLACE", ":0|"),
        ("COPY a a", "-ERR source and destination objects are the same|"),
        ("COPY a z WHAT", "-ERR syntax error|"),
        ("COPY a z DB", "-ERR syntax error|"),
        ("COPY a z DB abc", "-ERR value is not an integer or out of range|"),
        ("COPY a z DB 99999999999999999999", "-ERR value is not an integer or out of range|"),
        (
            "COPY a z DB 9999999999",
            "-ERR value is out of range, value must between -2147483648 and 2147483647|",
        ),
        ("COPY a z DB 16", "-ERR DB index is out of range|"),
        ("COPY a z DB -1", "-ERR DB index is out of range|"),
        ("COPY a a DB 3", ":1|"),
        ("COPY a a DB 3", ":0|"),
        ("COPY a a DB 3 REPLACE", ":1|"),
        ("SETRANGE raw 0 short", ":5|"),
        ("COPY raw raw2", ":1|"),
        ("OBJECT ENCODING raw2", "$3|raw|"),
        ("COPY l l2", ":1|"),
    ]);
}

#[test]
fn moves() {
    world().check(&[
        ("SET k v PXAT 99999999999999", "+OK|"),
        ("MOVE k 1", ":1|"),
        ("MOVE k 1", ":0|"),
        ("SET k w", "+OK|"),
        ("MOVE k 1", ":0|"),
        ("MOVE k 0", "-ERR source and destination objects are the same|"),
        ("MOVE k 16", "-ERR DB index is out of range|"),
        ("MOVE k abc", "-ERR value is not an integer or out of range|"),
        ("MOVE none 1", ":0|"),
        ("COPY k k DB 1", ":0|"),
        ("DEL k", ":1|"),
        ("EXISTS k", ":0|"),
    ]);
}

#[test]
fn objects() {
    world().check(&[
        ("SET s v", "+OK|"),
        ("SET i 5", "+OK|"),
        ("SET n 10000", "+OK|"),
        ("SET big 123456789012345678901234567890123456789012345", "+OK|"),
        ("OBJECT ENCODING s", "$6|embstr|"),
        ("OBJECT ENCODING i", "$3|int|"),
        ("OBJECT ENCODING big", "$3|raw|"),
        ("OBJECT ENCODING none", "$-1|"),
        ("OBJECT REFCOUNT s", ":1|"),
        ("OBJECT REFCOUNT i", ":2147483647|"),
        ("OBJECT REFCOUNT n", ":1|"),
        ("OBJECT REFCOUNT none", "$-1|"),
        ("OBJECT FREQ s", "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.|"),
        ("OBJECT FREQ none", "$-1|"),
        ("OBJECT IDLETIME none", "$-1|"),
        ("OBJECT HELP", "*15|+OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:|+ENCODING <key>|+    Return the kind of internal representation used in order to store the value|+    associated with a <key>.|+FREQ <key>|+    Return the access frequency index of the <key>. The returned integer is|+    proportional to the logarithm of the recent access frequency of the key.|+IDLETIME <key>|+    Return the idle time of the <key>, that is the approximated number of|+    seconds elapsed since the last access to the key.|+REFCOUNT <key>|+    Return the number of references of the value associated with the specified|+    <key>.|+HELP|+    Prints this help.|"),
    ]);
}

#[test]
fn patterns_and_cursors() {
    World::new().check(&[
        ("KEYS *", "*0|"),
        ("RANDOMKEY", "$-1|"),
        ("SET only v", "+OK|"),
        ("RANDOMKEY", "$4|only|"),
        ("KEYS *", "*1|$4|only|"),
        ("KEYS o?ly", "*1|$4|only|"),
        ("KEYS o?y", "*0|"),
        ("KEYS [a-o]nly", "*1|$4|only|"),
        ("KEYS ONLY", "*0|"),
        ("SCAN 0", "*2|$1|0|*1|$4|only|"),
        ("SCAN 0 MATCH o* COUNT 5", "*2|$1|0|*1|$4|only|"),
        ("SCAN 0 MATCH x*", "*2|$1|0|*0|"),
        ("SCAN 0 TYPE STRING", "*2|$1|0|*1|$4|only|"),
        ("SCAN 0 TYPE list", "*2|$1|0|*0|"),
        ("SCAN 0 TYPE nosuch", "*2|$1|0|*0|"),
        ("SCAN 0 COUNT 0", "-ERR syntax error|"),
        ("SCAN 0 COUNT abc", "-ERR value is not an integer or out of range|"),
        ("SCAN 0 COUNT 9223372036854775807", "*2|$1|0|*1|$4|only|"),
        ("SCAN 0 COUNT", "-ERR syntax error|"),
        ("SCAN 0 WHAT x", "-ERR syntax error|"),
        ("SCAN abc", "-ERR invalid cursor|"),
        ("SCAN \" 1\"", "-ERR invalid cursor|"),
        ("SCAN \"1 \"", "-ERR invalid cursor|"),
        ("SCAN \"\"", "*2|$1|0|*1|$4|only|"),
        ("SCAN 00", "*2|$1|0|*1|$4|only|"),
        ("SCAN +0", "*2|$1|0|*1|$4|only|"),
        ("SCAN -", "-ERR invalid cursor|"),
        ("SCAN 18446744073709551616", "-ERR invalid cursor|"),
    ]);
}

#[test]
fn events_and_changes() {
    let cases: &[(&str, &[&str], u64)] = &[
        ("MSET a 1 b 2 c 3", &["new:a", "set:a", "new:b", "set:b", "new:c", "set:c"], 3),
        ("DEL a none", &["del:a"], 1),
        ("EXISTS none b", &["keymiss:none"], 0),
        ("TYPE none", &["keymiss:none"], 0),
        ("OBJECT ENCODING none", &[], 0),
        ("RENAME b d", &["new:d", "rename_from:b", "rename_to:d"], 1),
        ("RENAME d d", &[], 0),
        ("RENAMENX d c", &[], 0),
        ("COPY c d REPLACE", &["new:d", "copy_to:d"], 1),
        ("COPY c d", &[], 0),
        ("MOVE d 1", &["new:d", "move_from:d", "move_to:d"], 1),
        ("EXPIRE c 10", &["expire:c"], 1),
        ("EXPIRE c 10 NX", &[], 0),
        ("PERSIST c", &["persist:c"], 1),
        ("PERSIST c", &[], 0),
        ("EXPIRE c -1", &["del:c"], 1),
        ("UNLINK l", &["del:l"], 1),
    ];
    let mut w = world();
    for (line, events, dirty) in cases {
        w.run(line);
        assert_eq!(w.events(), *events, "{line}");
        assert_eq!(std::mem::take(&mut w.fx.dirty), *dirty, "{line}");
    }
}

#[test]
fn expiries_are_propagated_as_moments_and_deletions() {
    let cases: &[(&str, &[&str])] = &[
        ("EXPIRE k 10", &["PEXPIREAT k 1700000010000"]),
        ("EXPIREAT k 1800000000 XX GT", &["PEXPIREAT k 1800000000000 XX GT"]),
        ("PEXPIREAT k 1900000000000", &[]),
        ("EXPIRE k 10 GT", &[]),
        ("EXPIRE none 10", &[]),
        ("PEXPIREAT k 1", &["DEL k"]),
    ];
    let mut w = world();
    w.run("SET k v");
    w.fx.propagating = true;
    for (line, want) in cases {
        w.run(line);
        let show = |args: OwnedArgs| {
            let words = args.as_args().iter().map(|a| String::from_utf8_lossy(a).into_owned());
            words.collect::<Vec<_>>().join(" ")
        };
        let got: Vec<String> = w.fx.instead.drain(..).map(show).collect();
        assert_eq!(got, *want, "{line}");
    }
}

#[test]
fn times_to_live_are_rounded_and_end() {
    let mut w = world();
    w.at(1000).check(&[("SET k v PX 2500", "+OK|"), ("TTL k", ":3|"), ("PTTL k", ":2500|")]);
    w.at(2001).check(&[("TTL k", ":1|"), ("PTTL k", ":1499|")]);
    w.at(3500).check(&[("TTL k", ":0|"), ("EXISTS k", ":1|")]);
    w.at(3501).check(&[
        ("KEYS k", "*0|"),
        ("SCAN 0 MATCH k", "*2|$1|0|*0|"),
        ("TTL k", ":-2|"),
        ("DEL k", ":0|"),
    ]);
}

#[test]
fn idle_time_is_seen_without_touching() {
    let mut w = world();
    w.at(1_000_000).check(&[("SET k v", "+OK|")]);
    w.at(1_009_000).check(&[("EXISTS k", ":1|"), ("TYPE k", "+string|"), ("OBJECT IDLETIME k", ":9|")]);
    w.check(&[("TOUCH k", ":1|"), ("OBJECT IDLETIME k", ":0|")]);
}

#[test]
fn a_node_of_a_cluster_has_one_database() {
    let mut w = world();
    w.host.cluster = true;
    w.check(&[
        ("MOVE l 1", "-ERR MOVE is not allowed in cluster mode|"),
        ("COPY l m DB 1", "-ERR Copying to another database is not allowed in cluster mode|"),
        ("COPY l m DB 0", ":1|"),
    ]);
}

#[test]
fn keys_and_random_keys_skip_what_has_expired() {
    let mut w = World::new();
    w.at(1000);
    (0..100).for_each(|i| drop(w.run(&format!("SET gone{i} v PX 1"))));
    w.run("SET stays v");
    w.at(2000).check(&[("KEYS *", "*1|$5|stays|"), ("RANDOMKEY", "$5|stays|"), ("RANDOMKEY", "$5|stays|")]);
}

// ---- SCAN over several shards

/// A host of shards as its front door's clients see it: each command runs where its key or its
/// cursor belongs.
struct Hosted {
    shards: Vec<World>,
}

impl Hosted {
    fn new(shards: usize, owner: impl Fn(Slot) -> u16) -> Hosted {
        let node = |local| Node {
            id: [b'a'; 40],
            ip: "127.0.0.1".into(),
            hostname: String::new(),
            port: 1,
            bus_port: 2,
            config_epoch: 1,
            local,
            ..Node::default()
        };
        // one more node, of another host
        let mut nodes: Vec<Node> = (0..shards).map(|i| node(Some(i as u16))).collect();
        nodes.push(node(None));
        let view = View::new(1, 1, nodes, owner);
        let world = |i| {
            let mut w = World::new();
            (w.view, w.me, w.caller.front_door) = (view.clone(), i, true);
            w
        };
        Hosted { shards: (0..shards).map(world).collect() }
    }

    fn of_slot(&self, slot: Slot) -> usize {
        self.shards[0].view.local_owner(slot).unwrap_or(0) as usize
    }

    /// Stores a key where its slot belongs, if that is on this host.
    fn set(&mut self, key: &str) -> bool {
        let slot = key_slot(key.as_bytes());
        let ours = self.shards[0].view.local_owner(slot).is_some();
        if ours {
            let shard = self.of_slot(slot);
            assert_eq!(self.shards[shard].run(&format!("SET {key} v")), "+OK\r\n");
        }
        ours
    }

    /// One SCAN: the next cursor and the keys.
    fn scan(&mut self, cursor: u64, options: &str) -> (u64, Vec<String>) {
        let shard = self.of_slot(cursor_slot(cursor));
        let reply = self.shards[shard].run(&format!("SCAN {cursor} {options}"));
        let lines: Vec<&str> = reply.split("\r\n").collect();
        let keys = lines[4..].chunks(2).filter(|c| c.len() == 2).map(|c| c[1].to_owned());
        (lines[2].parse().expect("a cursor"), keys.collect())
    }

    fn scan_all(&mut self, options: &str) -> (BTreeSet<String>, usize) {
        let (mut all, mut cursor, mut calls) = (BTreeSet::new(), 0, 0);
        loop {
            let (next, keys) = self.scan(cursor, options);
            all.extend(keys);
            calls += 1;
            assert!(calls < 40_000, "a scan ends");
            if next == 0 {
                return (all, calls);
            }
            cursor = next;
        }
    }
}

#[test]
fn a_scan_meets_every_key_however_slots_are_owned() {
    type Owner = fn(Slot) -> u16;
    let cases: &[(usize, Owner, usize)] = &[
        (1, |_| 0, 1),
        (2, |slot| slot / 8192, 2),
        (2, |slot| 1 - slot / 8192, 2),
        (3, |slot| slot % 3, 16384),
        (3, |slot| slot / 100 % 3, 164),
        // slots of nobody, and of another host, at the start, between and at the end
        (2, |slot| if slot < 50 { UNASSIGNED } else { slot / 9000 }, 2),
        (2, |slot| if slot % 1000 < 300 { 2 } else { slot / 1000 % 2 }, 17),
        (2, |slot| if slot > 100 { 2 } else { slot % 2 }, 101),
    ];
    for (n, &(shards, owner, runs)) in cases.iter().enumerate() {
        let mut host = Hosted::new(shards, owner);
        let keys: BTreeSet<String> = (0..1000).map(|i| format!("key:{i}")).filter(|k| host.set(k)).collect();
        for options in if runs > 1000 { &["COUNT 30"][..] } else { &["", "COUNT 1", "COUNT 100"] } {
            assert_eq!(host.scan_all(options).0, keys, "case {n}, {options}");
        }
        let nines: BTreeSet<String> = keys.iter().filter(|k| k.contains('9')).cloned().collect();
        let (found, calls) = host.scan_all("MATCH *9* COUNT 1000000");
        assert_eq!(found, nines, "case {n}");
        assert_eq!(calls, runs, "case {n}: a call for each run of slots");
    }
}

#[test]
fn a_scan_meets_keys_of_slots_that_change_hands() {
    let mut host = Hosted::new(2, |slot| slot / 8192);
    let keys: BTreeSet<String> = (0..2000).map(|i| format!("key:{i}")).filter(|k| host.set(k)).collect();
    let (mut all, mut cursor, mut calls) = (BTreeSet::new(), 0, 0);
    loop {
        let (next, found) = host.scan(cursor, "COUNT 20");
        all.extend(found);
        if next == 0 {
            break;
        }
        cursor = next;
        calls += 1;
        if calls > 40 {
            continue;
        }
        // some slots go the other way after each of the first calls
        let nodes = host.shards[0].view.nodes.clone();
        let old = host.shards[0].view.clone();
        let moved = |slot: Slot| slot % 97 == calls % 97;
        let view = View::new(2, 1, nodes, |slot| old.owner_index(slot) ^ moved(slot) as u16);
        for slot in (0..16384).filter(|slot| moved(*slot)) {
            let (from, to) = (old.owner_index(slot) as usize, view.owner_index(slot) as usize);
            let table = host.shards[from].ks.db_mut(0).take_slot(slot);
            host.shards[to].ks.db_mut(0).put_slot(table);
        }
        host.shards.iter_mut().for_each(|w| w.view = view.clone());
    }
    assert_eq!(all, keys);
}

#[test]
fn a_cursor_that_comes_to_the_wrong_shard_is_handed_on() {
    let mut host = Hosted::new(2, |slot| 1 - slot / 8192);
    // shard 0 doesn't own slot 0, so it must neither scan nor say that the scan is over
    let reply = host.shards[0].run("SCAN 0");
    assert_eq!(reply, format!("*2\r\n$16\r\n{}\r\n*0\r\n", 1u64 << 52));
    // the slot of the empty key is 0
    host.shards[1].run("SET \"\" v");
    assert_eq!(host.scan(1 << 52, "COUNT 1000"), (8192, vec![String::new()]));
}

#[test]
fn an_own_port_scans_its_own_shard_only() {
    let mut host = Hosted::new(2, |slot| slot % 2);
    let keys: Vec<String> = (0..100).map(|i| format!("key:{i}")).collect();
    keys.iter().for_each(|k| assert!(host.set(k)));
    for (shard, w) in host.shards.iter_mut().enumerate() {
        w.caller.front_door = false;
        let reply = w.run("SCAN 0 COUNT 100000");
        let mine = keys.iter().filter(|k| key_slot(k.as_bytes()) as usize % 2 == shard);
        assert!(reply.starts_with(&format!("*2\r\n$1\r\n0\r\n*{}\r\n", mine.count())));
    }
}

/// Runs words, and gives the reply as [`World::check`] wants it.
fn say(w: &mut World, words: &[&[u8]]) -> String {
    String::from_utf8_lossy(&w.run_words(words)).replace("\r\n", "|")
}

#[test]
fn restored_keys_tell_others() {
    let payload = b"\x00\x05hello\n\x00cr\xdfve4 \n".as_slice();
    let text = String::from_utf8_lossy(payload).into_owned();
    let mut w = World::new();
    w.fx.propagating = true;
    assert_eq!(say(&mut w, &[b"RESTORE", b"k", b"0", payload]), "+OK|");
    // without a time to live the command itself is what others get
    assert_eq!((w.events(), w.propagated().len()), (vec!["new:k".into(), "restore:k".into()], 0));
    assert_eq!(w.fx.dirty, 1);
    assert_eq!(say(&mut w, &[b"restore", b"k", b"1000", payload, b"REPLACE"]), "+OK|");
    assert_eq!(w.propagated(), [format!("restore k 1700000001000 {text} REPLACE ABSTTL")]);
    assert_eq!(say(&mut w, &[b"RESTORE", b"k", b"1700000000001", payload, b"REPLACE", b"ABSTTL"]), "+OK|");
    assert_eq!(w.propagated(), [""; 0]);
    w.check(&[("GET k", "$5|hello|"), ("PEXPIRETIME k", ":1700000000001|")]);
    w.events();
    assert_eq!(say(&mut w, &[b"RESTORE", b"k", b"1", payload, b"REPLACE", b"ABSTTL"]), "+OK|");
    assert_eq!((w.events(), w.propagated()), (vec!["del:k".into()], vec!["DEL k".into()]));
    let dirty = w.fx.dirty;
    assert_eq!(say(&mut w, &[b"RESTORE", b"k", b"1", payload, b"REPLACE", b"ABSTTL"]), "+OK|");
    assert_eq!((w.events().len(), w.propagated().len(), w.fx.dirty), (0, 0, dirty));
    w.check(&[("EXISTS k", ":0|"), ("DUMP k", "$-1|")]);
    assert_eq!(w.events(), ["keymiss:k", "keymiss:k"]);
}

/// What somebody may send as a cursor.
fn cursor() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<u64>().prop_map(|n| n.to_string()),
        2 => (0..64u32, 0..3u64).prop_map(|(bit, more)| (1u64 << bit).wrapping_sub(more).to_string()),
        1 => "[-+0-9a-f]{0,24}",
    ]
}

proptest! {
    #![proptest_config(cases(200))]

    /// Any cursor is one, or an error; and a scan from there on comes to an end.
    #[test]
    fn hostile_cursors_end_or_are_refused(start in cursor(), count in 1..50u32) {
        let mut w = World::new();
        for i in 0..300 {
            w.run(&format!("SET key:{i} v"));
            w.run(&format!("SADD set m{i}"));
            w.run(&format!("HSET hash f{i} {}", "v".repeat(80)));
            w.run(&format!("ZADD zset {i} m{i}"));
        }
        for scan in ["SCAN", "SSCAN set", "HSCAN hash", "ZSCAN zset"] {
            let mut at = start.clone();
            for round in 0.. {
                let reply = w.run(&format!("{scan} \"{at}\" COUNT {count}"));
                if at == start && reply == "-ERR invalid cursor\r\n" {
                    break;
                }
                let lines: Vec<&str> = reply.split("\r\n").collect();
                prop_assert_eq!(lines[0], "*2", "{} {}", scan, at);
                at = lines[2].to_owned();
                if at == "0" {
                    break;
                }
                prop_assert!(round < 40_000, "{} from {} has no end", scan, start);
            }
        }
    }
}
