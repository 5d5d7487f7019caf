use std::collections::BTreeSet;

use crate::command::testing::World;

#[test]
fn replies_are_those_of_redis() {
    assert!(World::new().replay(include_str!("../golden/set.txt")) > 200);
}

#[test]
fn every_change_is_told() {
    let mut w = World::new();
    for (line, events, dirty) in [
        ("SADD a 1 2 3 3", "new:a sadd:a", 3),
        ("SADD a 1", "", 0),
        ("SREM a 9", "", 0),
        ("SREM a 3 9", "srem:a", 1),
        ("SREM none 3", "", 0),
        ("SCARD none", "keymiss:none", 0),
        ("SINTER none a nope", "keymiss:none keymiss:nope", 0),
        ("SRANDMEMBER none", "keymiss:none", 0),
        ("SSCAN none 0", "keymiss:none", 0),
        ("SMOVE a b 1", "srem:a new:b sadd:b", 2),
        ("SADD a 1", "sadd:a", 1),
        ("SMOVE a b 1", "srem:a", 1),
        ("SMOVE a a 2", "", 0),
        ("SMOVE a b 2", "srem:a del:a sadd:b", 2),
        ("SUNIONSTORE c b none", "keymiss:none new:c sunionstore:c", 1),
        ("SINTERSTORE c b", "sinterstore:c", 1),
        ("SDIFFSTORE c b none", "keymiss:none sdiffstore:c", 1),
        ("SDIFFSTORE c b b", "del:c", 1),
        ("SDIFFSTORE c b b", "", 0),
        ("SPOP none", "", 0),
        ("SPOP b 0", "", 0),
        ("SPOP b", "spop:b", 1),
        ("SPOP b", "spop:b del:b", 1),
        ("SADD b 1 2 3", "new:b sadd:b", 3),
        ("SPOP b 2", "spop:b", 2),
        ("SPOP b 2", "spop:b del:b", 1),
    ] {
        w.fx.dirty = 0;
        w.run(line);
        assert_eq!((w.events().join(" "), w.fx.dirty), (events.to_string(), dirty), "{line}");
    }
}

/// The bulk strings of a reply.
fn bulks(reply: &str) -> Vec<String> {
    let mut lines = reply.split("\r\n");
    let mut out = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with('$') {
            out.extend(lines.next().map(str::to_string));
        }
    }
    out
}

#[test]
fn what_chance_removed_is_propagated_by_name() {
    for prefix in ["", "m"] {
        let mut w = World::new();
        w.fx.propagating = true;
        w.run(&format!("SADD s {prefix}1 {prefix}2 {prefix}3 {prefix}4"));
        for line in ["SPOP s", "SPOP s 2"] {
            let reply = w.run(line);
            let want: Vec<String> = bulks(&reply).iter().map(|member| format!("SREM s {member}")).collect();
            assert_eq!(w.propagated(), want, "{line}");
        }
        w.run("SPOP s 5");
        assert_eq!(w.propagated(), ["DEL s"]);
        assert_eq!(w.ks.len(), 0);
    }
}

/// A set of `n` members: integers, or words.
fn world_with(n: usize, words: bool) -> World {
    let mut w = World::new();
    for i in 0..n {
        w.run(&format!("SADD s {}{i}", if words { "m" } else { "" }));
    }
    w
}

#[test]
fn popped_members_are_gone_and_the_rest_stay() {
    for (size, words) in [(10, false), (10, true), (60, false), (60, true)] {
        for count in [1, 3, size / 2, size * 5 / 6 - 1, size * 5 / 6 + 1, size - 1, size, size + 9] {
            let mut w = world_with(size, words);
            let popped: BTreeSet<String> = bulks(&w.run(&format!("SPOP s {count}"))).into_iter().collect();
            let left: BTreeSet<String> = bulks(&w.run("SMEMBERS s")).into_iter().collect();
            let count = count.min(size);
            assert_eq!((popped.len(), left.len()), (count, size - count), "{count} of {size}");
            assert!(popped.is_disjoint(&left));
        }
    }
}

/// Popping most of a set builds the rest anew, which must not lose its time to live.
#[test]
fn a_pop_of_most_keeps_the_expiry() {
    let mut w = world_with(20, true);
    let (key, clock) = (w.ks.hasher().key(b"s"), crate::store::Clock::at(w.now_ms));
    w.ks.db_mut(0).set_expire(&key, Some(w.now_ms + 1000), &clock);
    w.run("SPOP s 19");
    let found = w.ks.db_mut(0).find(&key, crate::store::Look::Peek, &clock).unwrap();
    assert_eq!(found.expire_at(), Some(clock.now_ms + 1000));
}

#[test]
fn picks_are_distinct_and_leave_no_one_out() {
    for (size, words) in [(10, false), (10, true), (60, true)] {
        let mut w = world_with(size, words);
        for count in [1, 2, size / 3 - 1, size / 3 + 2, size - 1, size, size + 9] {
            let found: BTreeSet<String> =
                bulks(&w.run(&format!("SRANDMEMBER s {count}"))).into_iter().collect();
            assert_eq!(found.len(), count.min(size), "{count} of {size}");
        }
        for line in ["SRANDMEMBER s", "SRANDMEMBER s 1", "SRANDMEMBER s 9", "SRANDMEMBER s -9"] {
            let seen: BTreeSet<String> = (0..size * 20).flat_map(|_| bulks(&w.run(line))).collect();
            assert_eq!(seen.len(), size, "{line} of {size}");
        }
        assert_eq!(bulks(&w.run("SRANDMEMBER s -5000")).len(), 5000);
    }
}

/// A reply cannot be made to grow without a bound, and nothing of it is sent.
#[test]
fn repetitions_are_bounded() {
    let mut w = World::new();
    w.run_words(&[b"SADD", b"s", &[b'x'; 1 << 20]]);
    let reply = w.run_words(&[b"SRANDMEMBER", b"s", b"-9223372036854775807"]);
    assert_eq!(reply, b"-ERR value is out of range\r\n");
}

#[test]
fn encodings_follow_the_limits_and_the_way_of_a_difference() {
    let mut w = World::new();
    let ints: Vec<String> = (1..=512).map(|i| i.to_string()).collect();
    for (line, encoding) in [
        ("SADD a 1 2 3", "intset"),
        ("SADD b 1 2 x", "hashtable"),
        ("SADD c x", "hashtable"),
        ("SADD l 01", "hashtable"),
        (&format!("SADD d {}", ints.join(" ")), "intset"),
        ("SUNIONSTORE e d a", "intset"),
        ("SADD d 513", "hashtable"),
        ("SUNIONSTORE f d a", "hashtable"),
        ("SINTERSTORE g d a", "intset"),
        ("SMOVE a h 1", "none"),
        // few to subtract: members are looked up, and only what stays is added
        ("SDIFFSTORE i b c", "intset"),
    ] {
        w.run(line);
        let key = line.split(' ').nth(1).unwrap();
        if encoding != "none" {
            assert_eq!(w.encoding(key), encoding, "{}", &line[..line.len().min(30)]);
        }
    }
    assert_eq!((w.encoding("a"), w.encoding("h")), ("intset", "intset"));
    // many small ones to subtract from a large one: all of it is added first
    w.run("SADD j 1 2 3 4 x");
    w.run("SDIFFSTORE k j c c c c");
    assert_eq!(w.encoding("k"), "hashtable");
}

#[test]
fn a_scan_meets_every_member() {
    let mut w = world_with(1000, true);
    for (options, want) in [("", 1000), ("COUNT 100", 1000), ("MATCH m99*", 11), ("MATCH x*", 0)] {
        let (mut cursor, mut calls) = ("0".to_string(), 0);
        let mut seen = BTreeSet::new();
        loop {
            let mut found = bulks(&w.run(&format!("SSCAN s {cursor} {options}")));
            cursor = found.remove(0);
            seen.extend(found);
            calls += 1;
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), want, "{options}");
        assert!(calls > 5, "{options}");
    }
}
