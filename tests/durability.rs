//! The append-only file, from outside: what a host that was killed has promised is there when it comes
//! back, and redis-server and its tools take our files as we take theirs.

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::client::Client;
use common::host::{Host, START, fill};
use common::server::{read_log, shoal_bin};
use common::{long, wait_for};

const ONE: &str = "--cluster-enabled no --shards 1";
/// For tests that kill a server and want all of its data: under everysec, a write may wait for a slow sync.
const STRICT: &str = "--appendfsync always";

#[test]
fn redis_and_we_go_on_from_each_others_files() {
    let mut host = Host::new();
    let strict = &format!("{ONE} {STRICT}");
    host.shoal(strict);
    fill(&mut host.client(), 50);
    let want = host.digest();
    host.kill();
    host.check_logs("redis-check-aof");
    host.check_logs(&shoal_bin().display().to_string());

    host.start(Path::new("redis-server"), "");
    assert_eq!(host.digest(), want);
    host.client().cmd("APPEND s1 more");
    host.client().cmd("BGREWRITEAOF");
    let done = wait_for(START, || {
        host.client().cmd("INFO persistence").text().contains("aof_rewrite_in_progress:0").then_some(())
    });
    assert!(done.is_some());
    host.client().cmd("DEL s2");
    let want = host.digest();
    host.end();

    host.shoal(strict);
    assert_eq!(host.digest(), want, "with redis-server's RDB base");
    host.client().cmd("SET more 1");
    assert_eq!(host.client().cmd("BGREWRITEAOF").text(), "Background append only file rewriting started");
    let done =
        wait_for(START, || read_log(&host.dir.0).contains("rewrite finished successfully").then_some(()));
    assert!(done.is_some(), "{}", read_log(&host.dir.0));
    host.client().cmd("DEL s3");
    let want = host.digest();
    let manifest = String::from_utf8(host.read("appendonly.aof.manifest")).expect("text");
    host.kill();
    assert_eq!(manifest.lines().count(), 2, "{manifest}");
    host.check_logs("redis-check-aof");
    host.start(Path::new("redis-server"), "");
    assert_eq!(host.digest(), want, "with our RDB base");
    host.end();
    host.shoal(ONE);
    assert_eq!(host.digest(), want);
}

/// Commands whose stream chance has no part in.
const TOLD: &[&str] = &[
    "SET a 1",
    "SET a 2 EX 100",
    "SET a 3 PX 100000 GET",
    "SETEX b 100 v",
    "PSETEX b 100000 v",
    "SETNX b no",
    "SETNX c 1",
    "SET c 2 XX GET",
    "SET c x KEEPTTL",
    "GETEX c EX 100",
    "GETEX c PERSIST",
    "GETEX c EXAT 1",
    "GETDEL b",
    "GETSET d 1",
    "INCR d",
    "INCRBYFLOAT d 1.5",
    "INCRBYFLOAT d 2",
    "APPEND d x",
    "SETRANGE d 2 yy",
    "MSET e 1 f 2",
    "MSETNX e 1 g 2",
    "MSETNX g 1 h 2",
    "DEL e nokey",
    "DEL nokey",
    "UNLINK f",
    "EXPIRE g 100",
    "EXPIRE g 100 NX",
    "PEXPIRE g 200000 GT",
    "EXPIREAT g 1",
    "PERSIST g",
    "EXPIRE h 0",
    "RENAME d d2",
    "RENAMENX d2 a",
    "COPY a a2",
    "MOVE a2 1",
    "SELECT 1",
    "SET in1 1",
    "COPY in1 in2 DB 2",
    "SELECT 0",
    "RPUSH l a b c d",
    "LPUSHX nol x",
    "LINSERT l BEFORE b z",
    "LSET l 0 q",
    "LREM l 1 z",
    "LTRIM l 0 2",
    "LPOP l",
    "RPOPLPUSH l m",
    "LMOVE l m LEFT RIGHT",
    "LMPOP 2 l m LEFT COUNT 2",
    "RPUSH l 3 1 2",
    "SORT l STORE sorted",
    "SADD s 1 2 3",
    "SADD s 1",
    "SREM s 9",
    "SPOP s 3",
    "SADD s only",
    "SPOP s",
    "SADD s x",
    "SMOVE s t x",
    "SMOVE s t x",
    "SADD s 1 2",
    "SUNIONSTORE u s t",
    "SINTERSTORE u nokey s",
    "HSET h1 f 1 g 2",
    "HSETNX h1 f 2",
    "HINCRBY h1 f 5",
    "HINCRBYFLOAT h1 f 0.5",
    "HDEL h1 g nof",
    "HMSET h1 a b",
    "ZADD z 1 a 2 b 3 c",
    "ZADD z NX 5 a",
    "ZADD z INCR 2 a",
    "ZINCRBY z 1.5 b",
    "ZPOPMIN z",
    "ZPOPMAX z 1",
    "ZADD z 1 a 2 b 3 c",
    "ZMPOP 1 z MIN COUNT 1",
    "ZREMRANGEBYSCORE z 2 2",
    "ZUNIONSTORE zz 1 z",
    "ZRANGESTORE zy z 0 -1",
    "ZREM z nope",
    "XADD x 1-1 f v",
    "XADD x 5-* f v",
    "XADD x 5-* f v",
    "XADD x MAXLEN ~ 1 6 f v",
    "XADD x MINID ~ 6 LIMIT 5 7 f v",
    "XADD x MAXLEN 4 8 f v",
    "XADD x NOMKSTREAM 9 f v",
    "XTRIM x MAXLEN 9",
    "XTRIM x MAXLEN 4",
    "XTRIM x MINID ~ 99",
    "XADD x 100 f v",
    "XADD x 101 f v",
    "XADD x 102 f v",
    "XDEL x 101 7",
    "XGROUP CREATE x g 0",
    "XGROUP CREATE x g 0",
    "XGROUP CREATE y g $ MKSTREAM",
    "XGROUP CREATECONSUMER x g c",
    "XGROUP CREATECONSUMER x g c",
    "XREADGROUP GROUP g c COUNT 1 STREAMS x y > >",
    "XREADGROUP GROUP g d STREAMS x >",
    "XREADGROUP GROUP g d STREAMS x >",
    "XREADGROUP GROUP g d STREAMS x 0",
    "XGROUP SETID x g 0 ENTRIESREAD 0",
    "XREADGROUP GROUP g new NOACK STREAMS x >",
    "XCLAIM x g d 0 100 9-9",
    "XCLAIM x g d 0 9-9 LASTID 999",
    "XCLAIM x g e 0 9-9",
    "XDEL x 100",
    "XCLAIM x g e 0 100",
    "XAUTOCLAIM x g e 0 0 JUSTID",
    "XACK x g 102",
    "XACK x g 102",
    "XGROUP SETID x g $",
    "XGROUP DELCONSUMER x g d",
    "XGROUP DELCONSUMER x g d",
    "XGROUP DESTROY x g",
    "XGROUP DESTROY x g",
    "XSETID x 5000 ENTRIESADDED 50 MAXDELETEDID 400",
    "XREAD STREAMS x 0",
    "SET short 1 PX 1",
    "WAIT",
    "GET short",
    "SET short 1 PX 1",
    "WAIT",
    "SET short 2",
    "SWAPDB 0 1",
    "SELECT 1",
    "FLUSHDB",
    "SELECT 0",
    "FLUSHALL",
    "FLUSHALL",
];

/// What a server writes into its log for these commands: moments as `T`, the rest as it stands.
fn told(program: &Path, args: &str) -> String {
    let mut host = Host::new();
    host.start(program, args);
    let mut client = host.client();
    // active expiry comes when it comes
    client.cmd("DEBUG SET-ACTIVE-EXPIRE 0");
    for line in TOLD {
        match *line {
            "WAIT" => std::thread::sleep(Duration::from_millis(5)),
            line => drop(client.cmd(line)),
        }
    }
    host.end();
    let text = String::from_utf8(host.read("appendonly.aof.1.incr.aof")).expect("text");
    let moment = |line: &str| line.len() == 13 && line.bytes().all(|b| b.is_ascii_digit());
    text.lines().map(|line| if moment(line) { "T" } else { line }).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_log_is_what_redis_writes() {
    let (want, got) = (told(Path::new("redis-server"), ""), told(&shoal_bin(), ONE));
    for (n, (want, got)) in want.split("\n*").zip(got.split("\n*")).enumerate() {
        assert_eq!(got, want, "command {n} of the log");
    }
    assert_eq!(got, want);
}

#[test]
fn a_log_of_before_7_0_is_taken_up() {
    let mut host = Host::new();
    std::fs::write(host.dir.0.join("appendonly.aof"), "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n")
        .expect("a file");
    host.shoal(ONE);
    assert_eq!(host.client().cmd("GET a").text(), "1");
    assert!(!host.dir.0.join("appendonly.aof").exists());
    let manifest = String::from_utf8(host.read("appendonly.aof.manifest")).expect("text");
    assert_eq!(manifest, "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n");
}

#[test]
fn a_log_that_breaks_off_is_cut_or_refused() {
    let mut host = Host::new();
    host.shoal(ONE);
    host.client().cmd("SET a 1");
    host.end();
    let incr = "appendonly.aof.1.incr.aof";
    let whole = host.read(incr);
    let broken = [&whole[..], b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1"].concat();
    std::fs::write(host.path(incr), &broken).expect("a file");
    let said = host.refuses(&format!("{ONE} --aof-load-truncated no"));
    assert!(
        said.contains("Unexpected end of file reading the append only file appendonly.aof.1.incr.aof"),
        "{said}"
    );
    assert_eq!(host.read(incr), broken);
    host.shoal(ONE);
    let said = read_log(&host.dir.0);
    assert!(said.contains(&format!("!!! Truncating the AOF {incr} at offset {} !!!", whole.len())), "{said}");
    assert_eq!((host.client().cmd("GET a").text().as_str(), host.read(incr).len()), ("1", whole.len()));
    host.client().cmd("SET c 1");
    host.end();

    // what is no record is never cut off by itself
    let mut bad = host.read(incr);
    bad.extend_from_slice(b"nonsense\r\n");
    std::fs::write(host.path(incr), &bad).expect("a file");
    let said = host.refuses(ONE);
    let offset = bad.len() - 10;
    assert!(
        said.contains(&format!("Bad file format reading the append only file {incr} at offset {offset}")),
        "{said}"
    );
    let tool = |fix: bool| {
        let mut command = Command::new(shoal_bin());
        command.arg("--check-aof").args(fix.then_some("--fix")).arg(host.path("appendonly.aof.manifest"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the tool");
        let mut input = child.stdin.take().expect("its input");
        if fix {
            std::io::Write::write_all(&mut input, b"y\n").expect("an answer");
        }
        drop(input);
        let output = child.wait_with_output().expect("its end");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (sound, said) = tool(false);
    assert!(!sound && said.contains("is not valid. Use the --fix option to try fixing it."), "{said}");
    let (sound, said) = tool(true);
    assert!(sound && said.contains(&format!("Successfully truncated AOF {incr}")), "{said}");
    host.shoal(ONE);
    assert_eq!(host.client().cmd("GET c").text(), "1");
}

#[test]
fn turned_on_and_off_while_it_runs() {
    for args in [ONE, "--cluster-enabled no --shards 3"] {
        let strict = &format!("{args} {STRICT}");
        let mut host = Host::new();
        host.shoal(&format!("{strict} --appendonly no"));
        let mut client = host.client();
        fill(&mut client, 20);
        assert_eq!(client.cmd("CONFIG SET appendonly yes").text(), "OK");
        let shards = if args == ONE { 1 } else { 3 };
        let done = wait_for(START, || {
            client.cmd("APPEND s1 x");
            (read_log(&host.dir.0).matches("rewrite finished successfully").count() == shards).then_some(())
        });
        assert!(done.is_some(), "{}", read_log(&host.dir.0));
        client.cmd("APPEND s1 end");
        let want = host.digest();
        host.kill();
        host.shoal(strict);
        assert_eq!(host.digest(), want, "{args}");
        let mut client = host.client();
        assert_eq!(client.cmd("CONFIG SET appendonly no").text(), "OK");
        let off =
            wait_for(START, || client.cmd("INFO persistence").text().contains("aof_enabled:0").then_some(()));
        assert!(off.is_some());
        client.cmd("SET lost 1");
        host.kill();
        host.shoal(strict);
        assert_eq!(host.digest(), want, "{args}");
    }
}

#[test]
fn keys_find_their_shards_whatever_wrote_them() {
    let mut host = Host::new();
    let shape = |n: usize| format!("--cluster-enabled no --shards {n} {STRICT}");
    host.shoal(&shape(1));
    fill(&mut host.client(), 30);
    let mut want = host.digest();
    for (round, shards) in [3, 2, 1, 3].into_iter().enumerate() {
        host.kill();
        host.shoal(&shape(shards));
        assert_eq!(host.digest(), want, "{shards} shards");
        let mut client = host.client();
        for i in 0..30 {
            client.cmd(&format!("APPEND s{i} {round}"));
            client.cmd(&format!("LMOVE l{i} l{} LEFT RIGHT", (i + 7) % 30));
            client.cmd(&format!("SMOVE m{i} m{} a", (i + 11) % 30));
            client.cmd(&format!("SUNIONSTORE u{i} m{i} i{}", (i + 3) % 30));
        }
        want = host.digest();
    }
}

/// For each key the last number that was acknowledged, and that was sent, and when.
type Acked = Arc<Mutex<HashMap<String, (u64, u64, Instant)>>>;

/// Writers that note what was acknowledged: for each key the last number that was, and that was sent.
fn hammer(port: u16, stop: &Arc<AtomicBool>, acked: &Acked) -> Vec<std::thread::JoinHandle<()>> {
    (0..4)
        .map(|writer| {
            let (stop, acked) = (stop.clone(), acked.clone());
            std::thread::spawn(move || {
                let Ok(mut client) = Client::connect(port) else { return };
                let mut n = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("w{writer}-{}", n % 50);
                    let mut value = 0;
                    {
                        let mut acked = acked.lock().expect("no poison");
                        let entry = acked.entry(key.clone()).or_insert((0, 0, Instant::now()));
                        entry.1 += 1;
                        value += entry.1;
                    }
                    let Ok(reply) = client.call(&["SET", &key, &value.to_string()]) else { return };
                    if reply.raw == b"+OK\r\n" {
                        let mut acked = acked.lock().expect("no poison");
                        let entry = acked.get_mut(&key).expect("it was noted");
                        (entry.0, entry.2) = (value, Instant::now());
                    }
                    n += 1;
                }
            })
        })
        .collect()
}

/// Kills a host under load again and again: `always` loses nothing that was acknowledged.
#[test]
fn always_keeps_what_it_acknowledged() {
    let rounds = if long() { 1000 } else { 10 };
    let mut host = Host::new();
    let acked = Acked::default();
    for round in 0..rounds {
        let shards = 1 + round % 2;
        host.shoal(&format!("--cluster-enabled no --appendfsync always --shards {shards}"));
        check_acked(&host, &acked, Duration::ZERO, round);
        if round % 3 == 2 {
            host.client().cmd("BGREWRITEAOF");
        }
        let stop = Arc::new(AtomicBool::new(false));
        let writers = hammer(host.ports.base, &stop, &acked);
        std::thread::sleep(Duration::from_millis(20 + (round as u64 * 37) % 200));
        host.kill();
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|w| w.join().expect("a writer"));
    }
    host.shoal(ONE);
    check_acked(&host, &acked, Duration::ZERO, rounds);
    let noted = acked.lock().expect("no poison").values().map(|v| v.0).sum::<u64>();
    assert!(noted > rounds as u64, "hardly anything was written");
}

/// What may be missing was acknowledged within `grace` of the kill.
fn check_acked(host: &Host, acked: &Acked, grace: Duration, round: usize) {
    let mut client = host.client();
    let last = acked.lock().expect("no poison").values().map(|v| v.2).max();
    for (key, (acked, sent, at)) in acked.lock().expect("no poison").iter_mut() {
        let text = client.cmd(&format!("GET {key}")).text();
        let found: u64 = text.parse().unwrap_or(0);
        let late = last.is_some_and(|last| last.duration_since(*at) < grace);
        assert!(
            (found >= *acked || late) && found <= *sent,
            "round {round}: {key} is {found}, {acked} was acknowledged and {sent} sent"
        );
        (*acked, *sent) = (found, found);
    }
}

/// A log that goes on in another file, or begins anew, lets everybody go on who waited for the disk.
#[test]
fn a_rewrite_holds_no_writer_up() {
    let mut host = Host::new();
    host.shoal(&format!("{ONE} {STRICT}"));
    let (stop, acked) = (Arc::new(AtomicBool::new(false)), Acked::default());
    let writers = hammer(host.ports.base, &stop, &acked);
    let written = || {
        let acked = acked.lock().expect("no poison");
        (0..writers.len())
            .map(|n| {
                acked.iter().filter(|(key, _)| key.starts_with(&format!("w{n}-"))).map(|(_, a)| a.0).sum()
            })
            .collect::<Vec<u64>>()
    };
    let mut client = host.client();
    let lines = ["BGREWRITEAOF", "CONFIG SET appendonly no", "CONFIG SET appendonly yes"];
    for line in lines.iter().cycle().take(12) {
        let _ = client.cmd(line);
        let done = wait_for(START, || {
            client.cmd("INFO persistence").text().contains("aof_rewrite_in_progress:0").then_some(())
        });
        assert!(done.is_some(), "{line}: {}", read_log(&host.dir.0));
        let before = written();
        let goes_on = wait_for(START, || written().iter().zip(&before).all(|(n, b)| n > b).then_some(()));
        assert!(goes_on.is_some(), "{line}: {before:?} {:?}", written());
    }
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|w| w.join().expect("a writer"));
}

/// A log that was turned on speaks for its slots as the one before it did: what an older one of another shard
/// says of a slot that it gave away counts no more.
#[test]
fn a_log_that_is_turned_on_speaks_for_its_slots() {
    let mut host = Host::new();
    host.shoal(&format!("--shards 2 {STRICT}"));
    let mut client = host.client();
    let mut first = Client::connect(host.ports.base + 1).expect("shard 0");
    let id = first.cmd("CLUSTER MYID").text();
    client.cmd("SET a 1");
    let slot = client.cmd("CLUSTER KEYSLOT a").text();
    assert_eq!(client.cmd(&format!("CLUSTER HANDOFF {slot} {id}")).text(), "OK");
    assert_eq!(first.cmd("SET a 2").text(), "OK");
    assert_eq!(client.cmd("CONFIG SET appendonly no").text(), "OK");
    let off =
        wait_for(START, || client.cmd("INFO persistence").text().contains("aof_enabled:0").then_some(()));
    assert!(off.is_some());
    // the one that gave the slot away can't begin anew
    let pid = host.pid();
    let in_the_way = host.dir.0.join(format!("temp-rewriteaof-bg-{pid}-{}.aof", host.ports.base + 2));
    std::fs::create_dir(&in_the_way).expect("a folder");
    assert_eq!(client.cmd("CONFIG SET appendonly yes").text(), "OK");
    for words in ["rewrite finished successfully", "rewrite terminated with error"] {
        let said = wait_for(START, || read_log(&host.dir.0).contains(words).then_some(()));
        assert!(said.is_some(), "{words}: {}", read_log(&host.dir.0));
    }
    assert_eq!(first.cmd("SET a 3").text(), "OK");
    host.kill();
    std::fs::remove_dir(&in_the_way).expect("a folder");
    host.shoal(&format!("--shards 2 {STRICT}"));
    assert_eq!(host.client().cmd("GET a").text(), "3");
}

#[test]
fn every_second_loses_at_most_a_second() {
    let rounds = if long() { 100 } else { 4 };
    let mut host = Host::new();
    let acked = Acked::default();
    for round in 0..rounds {
        host.shoal(ONE);
        check_acked(&host, &acked, Duration::from_secs(1), round);
        let stop = Arc::new(AtomicBool::new(false));
        let writers = hammer(host.ports.base, &stop, &acked);
        std::thread::sleep(Duration::from_millis(150 + (round as u64 * 61) % 300));
        host.kill();
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|w| w.join().expect("a writer"));
    }
}
