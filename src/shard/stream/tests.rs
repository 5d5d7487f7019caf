//! What a shard tells its stream, replayed elsewhere, is what the shard has.

use crate::command::spec::flag;
use crate::command::table;
use crate::persist::{self, Encoder};
use crate::session::Door;
use crate::shard::mail::Mail;
use crate::shard::replay::{End, Replay, Trouble};
use crate::shard::snapshot::{FileOrder, FilePlan, Seal};
use crate::shard::stream::Break;
use crate::shard::tests::{Client, Rig};
use crate::shard::{Input, Shard};
use crate::slot::key_slot;
use crate::util::rng::Rng;
use crate::value::ValueRef;
use std::collections::BTreeSet;

/// Every command that writes, in forms with and without effect: `K` a key of any kind, `V` a text, `F` a
/// field or member, `N` a number, `D` a double, `T` milliseconds from now, `S` seconds, `A` and `B` such
/// moments in unix time, `X` a database, `P` what DUMP says of a value.
const WRITES: &[&str] = &[
    "APPEND K V",
    "DECR K",
    "DECRBY K N",
    "GETDEL K",
    "GETSET K V",
    "INCR K",
    "INCRBY K N",
    "INCRBYFLOAT K D",
    "MSET K V K V",
    "MSETNX K V K V",
    "PSETEX K T V",
    "SETEX K S V",
    "SETNX K V",
    "SETRANGE K 3 V",
    "SET K V",
    "SET K V PX T",
    "SET K V EX S NX",
    "SET K V XX GET PXAT A",
    "SET K N KEEPTTL",
    "SET K V EXAT B GET",
    "GETEX K PX T",
    "GETEX K PERSIST",
    "GETEX K EXAT B",
    "COPY K K",
    "COPY K K REPLACE",
    "COPY K K DB X REPLACE",
    "DEL K K",
    "UNLINK K",
    "EXPIRE K S",
    "EXPIRE K 0",
    "EXPIREAT K B",
    "MOVE K X",
    "PERSIST K",
    "PEXPIRE K T GT",
    "PEXPIREAT K A",
    "RENAME K K",
    "RENAMENX K K",
    "SORT K ALPHA STORE K",
    "SORT K BY nosort STORE K",
    "LINSERT K BEFORE F V",
    "LMOVE K K LEFT RIGHT",
    "LMOVE K K RIGHT RIGHT",
    "LMPOP 2 K K LEFT COUNT 2",
    "LPOP K",
    "LPOP K 2",
    "LPUSH K F V F",
    "LPUSHX K V",
    "LREM K 1 F",
    "LSET K 0 F",
    "LTRIM K 0 5",
    "RPOP K",
    "RPUSH K F F V",
    "RPUSHX K F",
    "RPOPLPUSH K K",
    "HDEL K F F",
    "HINCRBY K F N",
    "HINCRBYFLOAT K F D",
    "HMSET K F N F V",
    "HSET K F V F N",
    "HSETNX K F V",
    "SADD K F F V N",
    "SMOVE K K F",
    "SPOP K",
    "SPOP K 2",
    "SPOP K 100",
    "SREM K F F",
    "SUNIONSTORE K K K",
    "SINTERSTORE K K K",
    "SDIFFSTORE K K K",
    "ZADD K D F N V",
    "ZADD K GT CH D F",
    "ZADD K INCR D F",
    "ZINCRBY K D F",
    "ZMPOP 2 K K MIN COUNT 2",
    "ZPOPMAX K",
    "ZPOPMIN K 2",
    "ZREM K F F",
    "ZREMRANGEBYLEX K [a (c",
    "ZREMRANGEBYRANK K 0 1",
    "ZREMRANGEBYSCORE K -1 3",
    "ZUNIONSTORE K 2 K K WEIGHTS 1 2",
    "ZINTERSTORE K 2 K K AGGREGATE MAX",
    "ZDIFFSTORE K 2 K K",
    "ZRANGESTORE K K 0 2",
    "SETBIT K 13 1",
    "BITOP XOR K K K",
    "BITFIELD K SET i8 #1 N INCRBY u4 0 S",
    "BITFIELD K OVERFLOW FAIL SET u4 100 99",
    "PFADD K",
    "PFADD K F F",
    "PFCOUNT K",
    "PFMERGE K K K",
    "PFDEBUG TODENSE K",
    "GEOADD K S S F 2 3 F",
    "GEOADD K CH S 1 F",
    "GEORADIUS K 1 1 1000 km STORE K",
    "GEORADIUSBYMEMBER K F 500 km STOREDIST K",
    "GEOSEARCHSTORE K K FROMLONLAT 1 1 BYRADIUS 1000 km",
    "XADD K S-S F V",
    "XADD K 3-* F V F N",
    "XADD K MAXLEN ~ 3 3-* F V",
    "XADD K MINID 1-2 3-* F N",
    "XTRIM K MAXLEN S",
    "XDEL K S-S 3-1 3-2",
    "XSETID K 3-9",
    "XGROUP CREATE K g 0 MKSTREAM",
    "XREADGROUP GROUP g F COUNT 2 STREAMS K >",
    "XREADGROUP GROUP g F NOACK STREAMS K K > >",
    "XACK K g S-S 3-1 3-2 3-4",
    "XCLAIM K g F 0 S-S 3-1 3-3 FORCE",
    "XAUTOCLAIM K g F 0 0 COUNT 3",
    "FLUSHDB",
    "FLUSHALL",
    "SWAPDB X X",
    "RESTORE K T P REPLACE",
    "RESTORE K 0 P",
    "RESTORE K A P ABSTTL REPLACE",
    "RESTORE-ASKING K 0 P REPLACE",
];

/// Reads, which may meet expired keys.
const READS: &[&str] =
    &["GET K", "EXISTS K K", "TTL K", "LRANGE K 0 -1", "SMEMBERS K", "SCAN 0", "RANDOMKEY", "KEYS *"];

/// Rare, or there would never be anything.
const RARE: &[&str] = &["FLUSHDB", "FLUSHALL", "SWAPDB X X"];

fn fill(template: &str, rng: &mut Rng, now_ms: u64) -> String {
    let word = |w: &str, rng: &mut Rng| {
        let mut any = |n: u64| rng.below(n);
        match w {
            // a key has a kind for the most part, so that commands find what they want
            "K" => format!("k{}", any(9)),
            "V" => ["", "\"a b\"", "12", "value", &"x".repeat(80)][any(5) as usize].to_owned(),
            "F" => format!("f{}", any(6)),
            "N" => format!("{}", any(40) as i64 - 20),
            "D" => ["1.5", "-3", "0.1", "2e3"][any(4) as usize].to_owned(),
            "T" => format!("{}", 1 + any(3000)),
            "S" => format!("{}", 1 + any(3)),
            "S-S" => format!("{}-{}", 1 + any(3), 1 + any(3)),
            "A" => format!("{}", now_ms + any(3000)),
            "B" => format!("{}", now_ms / 1000 + any(4)),
            "X" => format!("{}", any(3)),
            "P" => payload(any(50) as i64),
            other => other.to_owned(),
        }
    };
    template
        .split(' ')
        .map(|w| if w.is_empty() { "\"\"".into() } else { word(w, rng) })
        .map(quote)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What DUMP says of a number, with redis-cli's quotes.
fn payload(n: i64) -> String {
    let mut bytes = Vec::new();
    persist::dump(ValueRef::Int(n), &mut Encoder::new(false), &mut bytes);
    format!("\"{}\"", bytes.iter().map(|b| format!("\\x{b:02x}")).collect::<String>())
}

fn quote(word: String) -> String {
    if word.is_empty() { "\"\"".into() } else { word }
}

/// A host that propagates, and a client of its shard 0.
fn source(shards: usize) -> (Rig, Client) {
    let mut rig = Rig::new(shards, false);
    rig.shards.iter_mut().for_each(|shard| shard.set_propagating(true));
    let client = rig.connect(0, Door::Front);
    (rig, client)
}

/// Takes each shard's stream and replays it on a host of the same kind.
fn replayed(rig: &mut Rig, shards: usize) -> (Rig, Client) {
    let mut copy = Rig::new(shards, false);
    copy.now = rig.now;
    for (from, to) in rig.shards.iter_mut().zip(&mut copy.shards) {
        let mut bytes = Vec::new();
        from.take_stream(&mut bytes);
        let mut replay = Replay::from_offset(0);
        to.begin_loading();
        to.replay(&mut replay, &bytes, copy.now).unwrap();
        assert_eq!(replay.end(), End::Whole);
    }
    copy.shards.iter_mut().for_each(Shard::hand_over);
    copy.settle();
    for shard in &mut copy.shards {
        assert!(!shard.settle_loading(), "a stream holds its own shard's keys only");
        shard.end_loading(copy.now);
    }
    let client = copy.connect(0, Door::Front);
    (copy, client)
}

#[test]
fn every_write_is_among_the_tested() {
    // MIGRATE tells of what arrived when it has: see the tests of `moving`
    let waiting = WAITING.iter().map(|(line, _)| *line);
    let words =
        WRITES.iter().copied().chain(waiting).map(|t| t.split(' ').next().unwrap()).chain(["MIGRATE"]);
    let tested: BTreeSet<String> = words.map(str::to_ascii_lowercase).collect();
    let writes = table::all().filter(|s| s.has(flag::WRITE)).map(|s| s.name);
    let missing: Vec<&str> = writes.filter(|name| !tested.contains(*name)).collect();
    assert!(missing.is_empty(), "put them into WRITES, so that their stream is tested: {missing:?}");
}

/// Commands that may wait, and what they come to.
const WAITING: &[(&str, &str)] = &[
    ("BLPOP a 0", "LPOP a"),
    ("BRPOP a 0", "RPOP a"),
    ("BLMPOP 0 1 a LEFT COUNT 2", "LPOP a 2"),
    ("BLMOVE a b LEFT RIGHT 0", "LMOVE a b LEFT RIGHT"),
    ("BRPOPLPUSH a b 0", "RPOPLPUSH a b"),
    ("BZPOPMIN z 0", "ZPOPMIN z"),
    ("BZPOPMAX z 0", "ZPOPMAX z"),
    ("BZMPOP 0 1 z MAX COUNT 2", "ZPOPMAX z 2"),
];

#[test]
fn what_waits_is_told_when_it_comes_to_something() {
    for (line, want) in WAITING {
        let (mut rig, c) = source(1);
        let fill = if want.contains('z') { "ZADD z 1 x 2 y 3 v" } else { "RPUSH a x y v" };
        rig.run(c, fill);
        rig.run(c, line);
        assert_eq!(told(&mut rig, 0), format!("SELECT 0; {fill}; {want}"), "{line}");
        rig.run(c, "FLUSHALL");
        let waits = rig.connect(0, Door::Front);
        assert_eq!(rig.run(waits, line), "", "{line}");
        assert_eq!(told(&mut rig, 0), "FLUSHALL", "{line}");
        // what was served follows what brought it, and is no part of it
        rig.run(c, "MULTI");
        rig.run(c, fill);
        rig.run(c, "SET s 1");
        rig.run(c, "EXEC");
        assert_eq!(told(&mut rig, 0), format!("MULTI; {fill}; SET s 1; EXEC; {want}"), "{line}");
        rig.run(c, "MULTI");
        rig.run(c, "SET s 2");
        rig.run(c, "GET s");
        rig.run(c, "EXEC");
        assert_eq!(told(&mut rig, 0), "SET s 2", "{line}");
    }
}

/// What a consumer has been given is shown to it again without a word to replicas, wherever the streams are.
#[test]
fn what_is_shown_again_is_told_to_nobody() {
    for shards in [1, 2] {
        let (mut rig, c) = source(shards);
        for key in ["a", "b"] {
            rig.run(c, &format!("XADD {key} 1-1 f v"));
            rig.run(c, &format!("XGROUP CREATE {key} g 0"));
        }
        (0..shards).for_each(|shard| drop(told(&mut rig, shard)));
        assert!(rig.run(c, "XREADGROUP GROUP g c STREAMS a b > >").starts_with("*2|"));
        let given: Vec<String> = (0..shards).map(|shard| told(&mut rig, shard)).collect();
        assert_eq!(given.join(" ").matches("XCLAIM").count(), 2, "{given:?}");
        assert!(rig.run(c, "XREADGROUP GROUP g c STREAMS a b 0 0").starts_with("*2|"));
        assert_eq!((0..shards).map(|shard| told(&mut rig, shard)).collect::<String>(), "", "{shards} shards");
    }
}

/// A transaction on borrowed slots is one unit in each owner's stream.
#[test]
fn a_transaction_is_whole_in_every_log() {
    let (mut rig, c) = source(2);
    ["MULTI", "SET a 1", "SET b 1", "RENAME a b", "INCR b", "EXEC"]
        .iter()
        .for_each(|line| drop(rig.run(c, line)));
    let zero = "SELECT 0; MULTI; SET b 1; DEL b; SET b 1; INCR b; EXEC";
    assert_eq!([0, 1].map(|shard| told(&mut rig, shard)), [zero, "SELECT 0; MULTI; SET a 1; DEL a; EXEC"]);
    ["MULTI", "SET a 1", "FLUSHALL", "EXEC"].iter().for_each(|line| drop(rig.run(c, line)));
    assert_eq!(
        [0, 1].map(|shard| told(&mut rig, shard)),
        ["SELECT 0; FLUSHALL", "SELECT 0; MULTI; SET a 1; FLUSHALL; EXEC"]
    );
}

#[test]
fn a_replayed_stream_is_the_same_data() {
    for shards in [1, 3] {
        for seed in 0..3 {
            let mut rng = Rng::new(seed);
            let (mut rig, client) = source(shards);
            let mut effective = BTreeSet::new();
            for n in 0..2000 {
                let template = match rng.below(8) {
                    0 => READS[rng.below(READS.len() as u64) as usize],
                    _ => WRITES[rng.below(WRITES.len() as u64) as usize],
                };
                if RARE.contains(&template) && rng.below(10) > 0 {
                    continue;
                }
                if rng.below(20) == 0 {
                    let line = fill("SELECT X", &mut rng, 0);
                    rig.run(client, &line);
                }
                let line = fill(template, &mut rng, rig.now.ms());
                let before: usize = rig.shards.iter().map(|s| s.stream.len()).sum();
                rig.run(client, &line);
                if rig.shards.iter().map(|s| s.stream.len()).sum::<usize>() > before {
                    effective.insert(template);
                }
                if rng.below(10) == 0 {
                    let ms = rng.below(600);
                    rig.pass_ms(ms);
                }
                if n % 100 == 99 {
                    rig.tick();
                }
            }
            let (mut copy, other) = replayed(&mut rig, shards);
            for db in ["SELECT 0", "SELECT 1", "SELECT 2"] {
                rig.run(client, db);
                copy.run(other, db);
                assert_eq!(
                    rig.run(client, "DBSIZE"),
                    copy.run(other, "DBSIZE"),
                    "{shards} shards, seed {seed}, {db}"
                );
            }
            let (want, got) = (rig.run(client, "DEBUG DIGEST"), copy.run(other, "DEBUG DIGEST"));
            assert_eq!(want, got, "{shards} shards, seed {seed}");
            assert!(effective.len() > WRITES.len() * 3 / 4, "too few commands did anything: {effective:?}");
        }
    }
}

/// The stream of one shard, a command a word: `*` and `$` lines left out.
fn told(rig: &mut Rig, shard: usize) -> String {
    let mut bytes = Vec::new();
    rig.shards[shard].take_stream(&mut bytes);
    shown(bytes)
}

fn shown(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).unwrap();
    let mut out = String::new();
    for line in text.lines() {
        match line.as_bytes().first() {
            Some(b'*') if !out.is_empty() => out.push_str("; "),
            Some(b'*' | b'$') => {}
            _ if out.is_empty() || out.ends_with("; ") => out.push_str(line),
            _ => out = format!("{out} {line}"),
        }
    }
    out
}

#[test]
fn units_and_databases() {
    let (mut rig, c) = source(1);
    let cases: &[(&[&str], &str)] = &[
        (&["SET a 1", "SET b 2"], "SELECT 0; SET a 1; SET b 2"),
        (&["SELECT 1", "INCR n", "SELECT 0", "DEL a"], "SELECT 1; INCR n; SELECT 0; DEL a"),
        (&["GET a", "DEL nokey", "SETNX b x", "SADD"], ""),
        (&["SADD s x y z", "SPOP s 3"], "SADD s x y z; DEL s"),
        (&["SET e 1 PX 5"], "SET e 1 PXAT 1700000000005"),
    ];
    for (lines, want) in cases {
        lines.iter().for_each(|line| drop(rig.run(c, line)));
        assert_eq!(told(&mut rig, 0), *want, "{lines:?}");
    }
    rig.pass_ms(10);
    rig.check(c, &[("SET e 2", "+OK|"), ("SET f 1 PX 5", "+OK|"), ("SET g 1 PX 5", "+OK|")]);
    assert_eq!(
        told(&mut rig, 0),
        "MULTI; DEL e; SET e 2; EXEC; SET f 1 PXAT 1700000000015; SET g 1 PXAT 1700000000015"
    );
    rig.pass_ms(10);
    rig.check(c, &[("GET f", "$-1|")]);
    assert_eq!(told(&mut rig, 0), "DEL f");
    rig.tick();
    assert_eq!(told(&mut rig, 0), "DEL g");
    rig.check(
        c,
        &[
            ("SADD s 1 2 3 4 5", ":5|"),
            ("CONFIG SET lazyfree-lazy-expire yes", "+OK|"),
            ("SET h 1 PX 5", "+OK|"),
        ],
    );
    rig.run(c, "SPOP s 2");
    let text = told(&mut rig, 0);
    assert!(text.contains("; MULTI; SREM s ") && text.ends_with("; EXEC"), "{text}");
    rig.pass_ms(10);
    rig.check(c, &[("EXISTS h", ":0|"), ("SWAPDB 0 1", "+OK|"), ("FLUSHALL", "+OK|"), ("FLUSHALL", "+OK|")]);
    assert_eq!(told(&mut rig, 0), "UNLINK h; SWAPDB 0 1; FLUSHALL; FLUSHALL");
    rig.run(c, "SET a 1");
    rig.shards[0].stream.cut();
    rig.run(c, "SET a 2");
    let mut bytes = Vec::new();
    let Some(Break::Cut(cut)) = rig.shards[0].take_stream(&mut bytes) else { panic!("it was cut") };
    assert!(
        bytes[..cut].ends_with(b"1\r\na\r\n$1\r\n1\r\n")
            && bytes[cut..].starts_with(b"*2\r\n$6\r\nSELECT\r\n")
    );
    rig.shards[0].set_propagating(false);
    rig.run(c, "SET a 2");
    assert_eq!(told(&mut rig, 0), "");
}

/// CONFIG SET appendonly no: the log ends right there. A transaction that says so is not in it.
#[test]
fn a_log_ends_where_it_is_turned_off() {
    let off = "CONFIG SET appendonly no";
    for (lines, want) in [
        (&["SET a 1", off, "SET b 1"][..], "SELECT 0; SET a 1"),
        (&["SET a 1", off, "CONFIG SET appendonly yes", "SET b 1"], "SELECT 0; SET a 1"),
        (&["SET a 1", "MULTI", "SET b 1", off, "SET c 1", "EXEC"], "SELECT 0; SET a 1"),
        (&["MULTI", off, "SET c 1", "EXEC", "SET d 1"], ""),
        (&["SET a 1", off, "SELECT 1", "SET b 1", off], "SELECT 0; SET a 1"),
    ] {
        let (mut rig, c) = source(1);
        rig.host.live.update(|conf| conf.appendonly = true);
        lines.iter().for_each(|line| drop(rig.run(c, line)));
        let mut bytes = Vec::new();
        assert_eq!(rig.shards[0].take_stream(&mut bytes), Some(Break::End), "{lines:?}");
        assert_eq!(shown(bytes), want, "{lines:?}");
        assert!(!rig.shards[0].has_stream());
        rig.shards[0].set_propagating(false);
        ["CONFIG SET appendonly yes", off].iter().for_each(|line| drop(rig.run(c, line)));
        assert!(!rig.shards[0].has_stream(), "there is none to end");
        rig.shards[0].set_propagating(true);
        rig.run(c, "SELECT 0");
        rig.run(c, "SET e 1");
        assert_eq!(told(&mut rig, 0), "SELECT 0; SET e 1", "{lines:?}");
    }
}

#[test]
fn what_is_evicted_is_deleted() {
    let (mut rig, c) = source(1);
    rig.run(c, "SET a 1");
    rig.run(c, "CONFIG SET maxmemory-policy allkeys-random maxmemory 1");
    crate::metrics::book(1 << 20);
    rig.tick();
    rig.run(c, "GET x");
    rig.run(c, "SET b 1");
    crate::metrics::book(-(1 << 20));
    assert!(told(&mut rig, 0).starts_with("SELECT 0; SET a 1; DEL a"));
}

#[test]
fn a_loan_tells_each_owner_its_part() {
    let (mut rig, c) = source(2);
    // a on shard 1, b on shard 0
    let (a, b) = ("a", "b");
    assert!(key_slot(a.as_bytes()) > 8191 && key_slot(b.as_bytes()) <= 8191);
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &["RPUSH a x y", "LMOVE a b LEFT RIGHT"],
            "SELECT 0; rpush b x",
            "SELECT 0; RPUSH a x y; SELECT 0; lpop a",
        ),
        (&["DEL a b"], "DEL b", "DEL a"),
        (
            &["MSETNX a 1 b 2"],
            "SELECT 0; MULTI; DEL b; SET b 2; EXEC",
            "SELECT 0; MULTI; DEL a; SET a 1; EXEC",
        ),
        (
            &["PEXPIREAT a 1700000009000", "RENAME a b"],
            "SELECT 0; MULTI; DEL b; SET b 1; PEXPIREAT b 1700000009000; EXEC",
            "PEXPIREAT a 1700000009000; SELECT 0; DEL a",
        ),
        (
            &["FLUSHALL", "SADD a m", "SMOVE a b m"],
            "FLUSHALL; SELECT 0; SADD b m",
            "FLUSHALL; SADD a m; SELECT 0; SREM a m",
        ),
        (&["SUNIONSTORE a b b"], "", "SELECT 0; MULTI; DEL a; SADD a m; EXEC"),
        (
            &["ZADD a 1 x 2 y", "DEL a", "ZADD b 1 x", "ZMPOP 2 a b MIN"],
            "ZADD b 1 x; SELECT 0; ZPOPMIN b 1",
            "ZADD a 1 x 2 y; DEL a",
        ),
    ];
    for (lines, zero, one) in cases {
        lines.iter().for_each(|line| drop(rig.run(c, line)));
        assert_eq!((told(&mut rig, 0).as_str(), told(&mut rig, 1).as_str()), (*zero, *one), "{lines:?}");
        if lines[0].starts_with("SUNION") {
            rig.run(c, "DEL a b");
            told(&mut rig, 0);
            told(&mut rig, 1);
        }
    }
}

#[test]
fn a_log_that_breaks_off_is_whole_up_to_a_command() {
    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
    let replay = |bytes: &[u8]| {
        let mut rig = Rig::new(1, false);
        let mut replay = Replay::from_offset(0);
        rig.shards[0].begin_loading();
        let client = rig.connect(0, Door::Front);
        assert_eq!(rig.run(client, "GET a"), "-LOADING Redis is loading the dataset in memory|");
        let done = rig.shards[0].replay(&mut replay, bytes, rig.now);
        rig.shards[0].end_loading(rig.now);
        (done, replay.end(), replay.executed(), rig.run(client, "GET a"))
    };
    let there = || "$1|1|".to_owned();
    assert_eq!(replay(SET), (Ok(()), End::Whole, 1, there()));
    let cut = End::Cut { whole_up_to: 27, transaction: false };
    assert_eq!(replay(&[SET, &SET[..20]].concat()), (Ok(()), cut, 1, there()));
    let cut = End::Cut { whole_up_to: 0, transaction: true };
    assert_eq!(replay(&[MULTI, SET, SET].concat()), (Ok(()), cut, 0, "$-1|".into()));
    let exec = b"*1\r\n$4\r\nEXEC\r\n";
    assert_eq!(replay(&[MULTI, SET, exec].concat()), (Ok(()), End::Whole, 1, there()));
    assert_eq!(replay(&[SET, b"xx"].concat()).0, Err(Trouble::Format { offset: 27 }));
    assert_eq!(replay(b"*1\r\n$2\r\nno\r\n").0, Err(Trouble::Unknown { command: "no".into() }));
    // what had a time is not judged by the clock of now
    let old = b"*5\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n$4\r\nPXAT\r\n$1\r\n5\r\n*3\r\n$6\r\nAPPEND\r\n$1\r\na\r\n$1\r\n2\r\n";
    assert_eq!(replay(old), (Ok(()), End::Whole, 2, "$-1|".into()));
}

#[test]
fn a_slots_owner_has_the_last_word() {
    let set = |key: &str, value: &str| format!("*3\r\n$3\r\nSET\r\n$1\r\n{key}\r\n$1\r\n{value}\r\n");
    // b is shard 0's, a is shard 1's
    for (zero, one, want) in [
        // its log doesn't know the slot
        (set("a", "0"), String::new(), "$1|0|"),
        (set("a", "0"), set("a", "1"), "$1|1|"),
        // it does, and holds nothing of it
        (set("a", "0"), "#SLOTS:+8192-16383\r\n".into(), "$-1|"),
        // it gave it away, and took it back
        (
            String::new(),
            format!("{}#SLOTS:-{1}@5.1\r\n#SLOTS:+{1}\r\n{0}", set("a", "1"), key_slot(b"a")),
            "$1|1|",
        ),
        (
            format!("#SLOTS:+{0}\r\n{1}#SLOTS:-{0}@5.1\r\n", key_slot(b"a"), set("a", "0")),
            format!("{}#SLOTS:-{}@4.1\r\n", set("a", "1"), key_slot(b"a")),
            "$1|0|",
        ),
        (
            set("a", "0"),
            format!("{1}#SLOTS:-{0}@5.1\r\n#SLOTS:+{0}\r\n", key_slot(b"a"), set("a", "1")),
            "$-1|",
        ),
    ] {
        let mut rig = Rig::new(2, true);
        for (shard, log) in [&zero, &one].into_iter().enumerate() {
            rig.shards[shard].begin_loading();
            rig.shards[shard].replay(&mut Replay::from_offset(0), log.as_bytes(), rig.now).unwrap();
        }
        rig.shards.iter_mut().for_each(Shard::hand_over);
        rig.settle();
        let now = rig.now;
        let adopted = [0, 1].map(|i| rig.shards[i].settle_loading());
        rig.shards.iter_mut().for_each(|shard| shard.end_loading(now));
        assert_eq!(adopted, [false, want == "$1|0|"], "{zero:?} {one:?}");
        let client = rig.connect(0, Door::Front);
        assert_eq!(rig.run(client, "GET a"), want, "{zero:?} {one:?}");
    }
}

/// A host comes back with one shard in place of two: the log of the one that is no more is read first.
#[test]
fn a_log_without_a_shard_counts_as_it_did() {
    let slot = key_slot(b"a");
    let command = |line: &str| {
        let words: Vec<String> = line.split(' ').map(|w| format!("${}\r\n{w}\r\n", w.len())).collect();
        format!("*{}\r\n{}", words.len(), words.concat())
    };
    let gave = [
        format!("#SLOTS:+{slot}\r\n"),
        command("SET a old"),
        command("SET {a}b old"),
        command("RPUSH {a}l old old"),
        format!("#SLOTS:-{slot}@5.1\r\n"),
    ]
    .concat();
    let takes = format!("#SLOTS:~{slot}\r\n");
    let (begins, ends) = (format!("#SLOTS:~{slot}!\r\n"), format!("#SLOTS:~{slot}.\r\n"));
    let list = [command("DEL {a}l"), command("RPUSH {a}l new")].concat();
    for (foreign, want) in [
        // it had the slot, with or without keys
        (format!("#SLOTS:+{slot}\r\n") + &command("SET a new"), ["new", "", ""]),
        (format!("#SLOTS:+{slot}\r\n"), ["", "", ""]),
        // it had begun to take it in
        (takes.clone(), ["old", "old", "old old"]),
        (takes.clone() + &command("SET a new") + &command("DEL {a}b"), ["new", "", "old old"]),
        // a value is whole, is not, and is deleted in the midst
        (takes.clone() + &begins + &list + &ends, ["old", "old", "new"]),
        (takes.clone() + &begins + &list, ["old", "old", "old old"]),
        (takes.clone() + &begins + &list + &command("DEL {a}l"), ["old", "old", ""]),
        // everything that it had begun to take in is gone
        (takes.clone() + &command("FLUSHALL") + &command("SET {a}b new"), ["", "new", ""]),
    ] {
        let mut rig = Rig::new(1, true);
        let (now, shard) = (rig.now, &mut rig.shards[0]);
        shard.begin_loading();
        shard.replay(&mut Replay::from_offset(0), foreign.as_bytes(), now).unwrap();
        shard.end_foreign_log();
        shard.replay(&mut Replay::from_offset(0), gave.as_bytes(), now).unwrap();
        shard.hand_over();
        shard.settle_loading();
        shard.end_loading(now);
        let client = rig.connect(0, Door::Front);
        let found = ["GET a", "GET {a}b", "LRANGE {a}l 0 -1"].map(|line| {
            let reply = rig.run(client, line);
            let words = reply.split('|').filter(|w| !w.is_empty() && !w.starts_with(['$', '*']));
            words.collect::<Vec<_>>().join(" ")
        });
        assert_eq!(found, want, "{foreign:?}");
    }
}

#[test]
fn a_loans_reply_waits_for_every_owners_disk() {
    let (mut rig, c) = source(2);
    rig.run(c, "CONFIG SET appendfsync always");
    assert_eq!(rig.run(c, "MSETNX a 1 b 2"), ":1|", "the other's disk is as good as written");
    rig.host.live.update(|conf| conf.appendonly = true);
    // one letter at a time: the receipt comes last
    let request = b"*3\r\n$6\r\nRENAME\r\n$1\r\na\r\n$1\r\nb\r\n";
    rig.shards[0].turn(&mut [Input::new(c.number(), request)], rig.now);
    let mut kinds = Vec::new();
    loop {
        let mut letters: Vec<(usize, usize, Mail)> = Vec::new();
        for (from, shard) in rig.shards.iter_mut().enumerate() {
            letters.extend(shard.take_mail().map(|(to, mail)| (from, to, mail)));
        }
        if letters.is_empty() {
            break;
        }
        for (from, to, mail) in letters {
            if matches!(mail, Mail::Kept { .. }) {
                assert_eq!(rig.output(c), "", "nothing is promised before");
                kinds.push("kept");
            }
            rig.shards[to].mail(from, mail, rig.now);
        }
    }
    assert_eq!((kinds, rig.output(c).as_str()), (vec!["kept"], "+OK\r\n"));
}

/// A base and what came after it while it was written: the log behind the cut, and after each command how long
/// that is and what the shard then held.
struct History {
    base: Vec<u8>,
    log: Vec<u8>,
    marks: Vec<(usize, String)>,
}

impl History {
    fn of(seed: u64, seal: Seal) -> History {
        let mut rng = Rng::new(seed);
        let (mut rig, client) = source(1);
        let mut change = |rig: &mut Rig| {
            let template = WRITES[rng.below(WRITES.len() as u64) as usize];
            // a log has no place for what several databases do to each other beyond each command
            if !RARE.contains(&template) {
                let line = fill(template, &mut rng, rig.now.ms());
                rig.run(client, &line);
            }
        };
        // of the keys that chance knows it may leave hardly one
        for n in 0..20 {
            rig.run(client, &format!("RPUSH kept{n} a {n} {}", "x".repeat(20)));
        }
        (0..300).for_each(|_| change(&mut rig));
        let mut history = History { base: Vec::new(), log: Vec::new(), marks: Vec::new() };
        let plan = FilePlan { temporary: "t".into(), target: "b".into(), sync_every: None, seal };
        rig.shards[0].rewrite_log(plan);
        history.mark(&mut rig, client);
        let mut whole = false;
        while !whole || history.marks.len() < 300 {
            change(&mut rig);
            history.mark(&mut rig, client);
            whole |= history.take_file(&mut rig, seal);
        }
        history
    }

    /// Takes the stream as a log does.
    fn mark(&mut self, rig: &mut Rig, client: Client) {
        let mut bytes = Vec::new();
        match rig.shards[0].take_stream(&mut bytes) {
            Some(Break::Cut(cut)) => self.log = bytes.split_off(cut),
            Some(Break::End) => panic!("nobody ended it"),
            None => self.log.append(&mut bytes),
        }
        self.marks.push((self.log.len(), rig.run(client, "DEBUG DIGEST")));
    }

    /// A step of the snapshot; true when its file is whole.
    fn take_file(&mut self, rig: &mut Rig, seal: Seal) -> bool {
        let (now, shard) = (rig.now, &mut rig.shards[0]);
        shard.chores(now);
        for (id, order) in shard.take_file_orders() {
            match order {
                FileOrder::Begin(_) => {}
                FileOrder::Chunk(chunk) => {
                    self.base.extend_from_slice(&chunk);
                    shard.file_written(id, self.base.len() as u64);
                }
                FileOrder::Finish => {
                    if !matches!(seal, Seal::Nothing) {
                        let sum = seal.sum(0, &self.base);
                        self.base.extend_from_slice(&sum.to_le_bytes());
                    }
                    shard.file_ended(id, Ok(()), now);
                    return true;
                }
                FileOrder::Drop => panic!("nobody gave it up"),
            }
        }
        false
    }

    /// What a shard holds that starts from the base, as far as it is there, and from the log up to `cut`; `None`
    /// if it does not start. `piece`: in pieces of how many bytes it reads.
    fn read_back(&self, seal: Seal, base: usize, cut: usize, piece: usize) -> Option<String> {
        let mut rig = Rig::new(1, false);
        let now = rig.now;
        let shard = &mut rig.shards[0];
        shard.begin_loading();
        let mut replay = Replay::from_offset(0);
        if let Seal::Nothing = seal {
            self.base[..base].chunks(piece).for_each(|part| shard.replay(&mut replay, part, now).unwrap());
            (replay.end() == End::Whole).then_some(())?;
        } else {
            let mut reader = crate::persist::rdb::Reader::new(self.base.len() as u64, true);
            let mut ended = None;
            for part in self.base[..base].chunks(piece) {
                ended = shard.replay_base(&mut reader, part, now).expect("no damage, but an end");
            }
            ended?;
        }
        let mut replay = Replay::from_offset(0);
        self.log[..cut].chunks(piece).for_each(|part| shard.replay(&mut replay, part, now).unwrap());
        let up_to = match replay.end() {
            End::Whole => cut as u64,
            End::Cut { whole_up_to, .. } => whole_up_to,
        };
        assert!(up_to <= cut as u64);
        shard.hand_over();
        assert!(!shard.settle_loading());
        shard.end_loading(now);
        let client = rig.connect(0, Door::Front);
        Some(rig.run(client, "DEBUG DIGEST"))
    }
}

/// What a crash leaves of a log, wherever it cuts it off, is the data as they were after some command: the last
/// that is whole. A base is whole, or the log is not read at all.
#[test]
fn whatever_is_left_of_a_log_is_a_moment_of_the_past() {
    for seal in [Seal::Zeros, Seal::of_rdb(true), Seal::Nothing] {
        for seed in 0..2 {
            let history = History::of(seed, seal);
            let mut rng = Rng::new(seed);
            let (base, log) = (history.base.len(), history.log.len());
            assert!(base > 500 && log > 2000, "{base} {log}");
            let boundaries = history.marks.iter().map(|(len, _)| *len).step_by(29);
            let near = boundaries.flat_map(|len| [len.saturating_sub(1), len, (len + 1).min(log)]);
            let anywhere = (0..30).map(|_| rng.below(log as u64 + 1) as usize).collect::<Vec<_>>();
            for cut in near.chain(anywhere) {
                let piece = 1 + rng.below(700) as usize;
                let found = history.read_back(seal, base, cut, piece).expect("its base is whole");
                let (_, want) = history.marks.iter().rfind(|(len, _)| *len <= cut).expect("the first");
                assert_eq!(found, *want, "seed {seed}, cut at {cut} of {log}");
            }
            for _ in 0..20 {
                let part = rng.below(base as u64) as usize;
                if let Some(found) = history.read_back(seal, part, 0, 64) {
                    // commands up to a whole one: which of several files breaks off is the loader's to see
                    assert!(
                        matches!(seal, Seal::Nothing),
                        "{part} of {base} bytes are taken for a base: {found}"
                    );
                }
            }
        }
    }
}
