use std::collections::BTreeSet;

use crate::command::testing::World;

#[test]
fn replies_are_those_of_redis() {
    assert!(World::new().replay(include_str!("../golden/hash.txt")) > 200);
}

#[test]
fn every_change_is_told() {
    let mut w = World::new();
    for (line, events, dirty) in [
        ("HSET a f 1 g 2", "new:a hset:a", 2),
        ("HSET a f 1 f 2", "hset:a", 2),
        ("HMSET a f 1", "hset:a", 1),
        ("HSETNX a f 1", "", 0),
        ("HSETNX a h 1", "hset:a", 1),
        ("HSETNX b h 1", "new:b hset:b", 1),
        ("HINCRBY a f 1", "hincrby:a", 1),
        ("HINCRBY a f x", "", 0),
        ("HINCRBYFLOAT a f 1", "hincrbyfloat:a", 1),
        ("HINCRBYFLOAT c f 1", "new:c hincrbyfloat:c", 1),
        ("HGET none f", "keymiss:none", 0),
        ("HGET a none", "", 0),
        ("HMGET none f", "keymiss:none", 0),
        ("HGETALL none", "keymiss:none", 0),
        ("HSCAN none 0", "keymiss:none", 0),
        ("HRANDFIELD none 1", "keymiss:none", 0),
        ("HDEL none f", "", 0),
        ("HDEL a none", "", 0),
        ("HDEL a f none", "hdel:a", 1),
        ("HDEL a g h", "hdel:a del:a", 2),
    ] {
        w.fx.dirty = 0;
        w.run(line);
        assert_eq!((w.events().join(" "), w.fx.dirty), (events.to_string(), dirty), "{line}");
    }
}

#[test]
fn a_sum_of_floats_is_propagated_as_its_result() {
    let mut w = World::new();
    w.fx.propagating = true;
    w.run("HSET a f 10.5");
    w.run("HINCRBYFLOAT a f 0.1");
    assert_eq!(w.propagated(), ["HSET a f 10.6"]);
    w.run("HINCRBYFLOAT a f x");
    w.run("HINCRBY a g 1");
    assert!(w.propagated().is_empty());
}

#[test]
fn encodings_follow_the_limits() {
    let mut w = World::new();
    let text = |n: usize| "x".repeat(n);
    for (line, encoding) in [
        (format!("HSET h f {}", text(64)), "listpack"),
        (format!("HSET h f {} f short", text(65)), "hashtable"),
        ("HSET h f v".to_string(), "hashtable"),
        (format!("HSETNX i {} v", text(65)), "hashtable"),
        ("HINCRBY j n 1".to_string(), "listpack"),
        (format!("HINCRBY k {} 1", text(65)), "hashtable"),
        (format!("HINCRBYFLOAT l {} 1", text(65)), "hashtable"),
    ] {
        w.run(&line);
        assert_eq!(w.encoding(line.split(' ').nth(1).unwrap()), encoding, "{line}");
    }
    for i in 1..=512 {
        w.run(&format!("HSET many f{i} v"));
    }
    assert_eq!(w.encoding("many"), "listpack");
    w.run("HSET many f512 other");
    assert_eq!(w.encoding("many"), "listpack");
    w.run("HSET many f513 v");
    assert_eq!(w.encoding("many"), "hashtable");
}

/// A hash of `n` fields `f0 => v0` and so on; one of more than ten is no listpack.
fn world_with(n: usize) -> World {
    let mut w = World::new();
    if n > 10 {
        w.run(&format!("HSET h long {}", "x".repeat(65)));
    }
    for i in 0..n {
        w.run(&format!("HSET h f{i} v{i}"));
    }
    w.run("HDEL h long");
    w
}

/// The bulk strings of a reply.
fn bulks(reply: &str) -> Vec<&str> {
    let mut lines = reply.split("\r\n");
    let mut out = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with('$') {
            out.extend(lines.next());
        }
    }
    out
}

#[test]
fn picks_are_distinct_pairs_of_the_hash() {
    for size in [10, 300] {
        let mut w = world_with(size);
        for count in [1, 2, size / 3 - 1, size / 3 + 2, size - 1, size, size + 5] {
            let reply = w.run(&format!("HRANDFIELD h {count} WITHVALUES"));
            let found = bulks(&reply);
            assert_eq!(found.len(), 2 * count.min(size), "{count} of {size}");
            assert!(found.chunks(2).all(|pair| pair[0][1..] == pair[1][1..]), "{count} of {size}");
            let fields: BTreeSet<&str> = found.chunks(2).map(|pair| pair[0]).collect();
            assert_eq!(fields.len(), count.min(size), "{count} of {size}");
        }
        let reply = w.run("HRANDFIELD h -5000");
        assert_eq!(bulks(&reply).len(), 5000);
    }
}

#[test]
fn every_field_is_picked_now_and_then() {
    for size in [10, 60] {
        let mut w = world_with(size);
        for line in ["HRANDFIELD h", "HRANDFIELD h 1", "HRANDFIELD h 3", "HRANDFIELD h -3", "HRANDFIELD h 9"]
        {
            let mut seen = BTreeSet::new();
            for _ in 0..size * 20 {
                let reply = w.run(line);
                seen.extend(bulks(&reply).into_iter().map(str::to_string));
            }
            assert_eq!(seen.len(), size, "{line} of {size}");
        }
    }
}

#[test]
fn a_scan_meets_every_field_with_its_value() {
    let mut w = world_with(1000);
    for (options, want) in [("", 1000), ("COUNT 100", 1000), ("MATCH f99*", 11), ("MATCH v*", 0)] {
        let (mut cursor, mut calls) = ("0".to_string(), 0);
        let mut seen = BTreeSet::new();
        loop {
            let reply = w.run(&format!("HSCAN h {cursor} {options}"));
            let found = bulks(&reply);
            for pair in found[1..].chunks(2) {
                assert_eq!(pair[0][1..], pair[1][1..]);
                seen.insert(pair[0].to_string());
            }
            calls += 1;
            cursor = found[0].to_string();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), want, "{options}");
        assert!(calls > 5, "{options}");
    }
}
