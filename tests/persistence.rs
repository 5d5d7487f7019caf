//! What is said and done about data on the disk, beside redis-server: how far it is loaded, what INFO tells,
//! WAITAOF, DEBUG LOADAOF, the checking tools, the forms of a base, and the ways in which a server ends.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::client::Client;
use common::host::{Host, START, fill};
use common::server::{read_log, run, shoal_bin};
use common::wait_for;

const ONE: &str = "--cluster-enabled no --shards 1";
const STRICT: &str = "--appendfsync always";

fn redis() -> &'static Path {
    Path::new("redis-server")
}

fn info(client: &mut Client) -> String {
    client.cmd("INFO persistence").text()
}

fn see(client: &mut Client, field: &str) {
    let seen = wait_for(START, || info(client).contains(field).then_some(()));
    assert!(seen.is_some(), "never {field}: {}", info(client));
}

/// Until redis-server, or we, have the log that CONFIG SET or BGREWRITEAOF asked for.
fn see_rewritten(client: &mut Client) {
    see(client, "aof_rewrite_scheduled:0");
    see(client, "aof_rewrite_in_progress:0");
}

/// A file that holds large values of each kind, beside small ones.
fn fill_large(client: &mut Client) {
    fill(client, 20);
    client.call(&["SET", "large", &"x".repeat(1 << 20)]).expect("a reply");
    let texts: Vec<String> = (0..20_000).map(|i| format!("element-{i:010}")).collect();
    for chunk in texts.chunks(500) {
        for (name, key, words) in
            [("RPUSH", "list", 1), ("SADD", "set", 1), ("HSET", "hash", 2), ("ZADD", "zset", 2)]
        {
            let mut line = vec![name, key];
            for text in chunk {
                let score = &text[text.len() - 5..];
                match (name, words) {
                    ("HSET", _) => line.extend([text, "v"]),
                    ("ZADD", _) => line.extend([score, text]),
                    _ => line.push(text),
                }
            }
            let reply = client.call(&line).expect("a reply");
            assert!(!reply.raw.starts_with(b"-"), "{name}: {}", reply.text());
        }
    }
    client.cmd("PEXPIREAT zset 99999999999999");
}

#[test]
fn a_base_is_what_aof_use_rdb_preamble_says() {
    let mut host = Host::new();
    host.shoal(&format!("{ONE} {STRICT} --aof-use-rdb-preamble no"));
    let mut client = host.client();
    assert!(host.path("appendonly.aof.1.base.aof").exists());
    fill_large(&mut client);
    let want = host.digest();
    // a save that shares nothing with the rewrite, for it has another form
    client.cmd("BGSAVE");
    client.cmd("BGREWRITEAOF");
    see_rewritten(&mut client);
    see(&mut client, "rdb_bgsave_in_progress:0");
    let wait = wait_for(START, || host.path("appendonly.aof.2.base.aof").exists().then_some(()));
    assert!(wait.is_some(), "{}", read_log(&host.dir.0));
    client.cmd("SET more 1");
    let grown = host.digest();
    host.kill();
    let base = host.read("appendonly.aof.2.base.aof");
    assert!(base.starts_with(b"*2\r\n$6\r\nSELECT\r\n") && base.ends_with(b"\r\n"));
    assert!(run(Command::new("redis-check-rdb").arg(host.dir.0.join("dump.rdb"))).status.success());
    host.start(redis(), "");
    assert_eq!(host.digest(), grown);
    host.client().cmd("DEL more");
    assert_eq!(host.digest(), want);
    host.end();

    // and back to the default
    host.shoal(&format!("{ONE} {STRICT}"));
    assert_eq!(host.digest(), want);
    let mut client = host.client();
    client.cmd("BGREWRITEAOF");
    let wait = wait_for(START, || host.path("appendonly.aof.3.base.rdb").exists().then_some(()));
    assert!(wait.is_some(), "{}", read_log(&host.dir.0));
    see_rewritten(&mut client);
    assert!(host.read("appendonly.aof.3.base.rdb").starts_with(b"REDIS0010"));
}

#[test]
fn a_new_log_begins_with_an_rdb_file_as_redis_has_it() {
    for program in [redis(), &shoal_bin()] {
        let mut host = Host::new();
        host.start(program, if program == redis() { "" } else { ONE });
        let mut names: Vec<String> = std::fs::read_dir(host.dir.0.join("appendonlydir"))
            .expect("its directory")
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"],
            "{}",
            program.display()
        );
    }
}

#[test]
fn debug_loadaof_is_what_the_log_says() {
    for args in [ONE, "--cluster-enabled no --shards 3", "--shards 2 --cluster-enabled yes"] {
        let mut host = Host::new();
        host.shoal(args);
        let mut client = host.client();
        let all = args.contains("--cluster-enabled no");
        let keys = if all { 50 } else { 0 };
        fill(&mut client, keys);
        let want = host.digest();
        for _ in 0..3 {
            assert_eq!(client.cmd("DEBUG LOADAOF").text(), "OK", "{args}");
            assert_eq!(host.digest(), want, "{args}");
        }
        client.cmd("FLUSHALL");
        assert_eq!(client.cmd("DEBUG LOADAOF").text(), "OK");
        assert_eq!(client.cmd("DBSIZE").text(), "0");
        assert_eq!(client.cmd("CONFIG SET appendonly no").text(), "OK");
        let refused = wait_for(START, || client.cmd("DEBUG LOADAOF").raw.starts_with(b"-ERR").then_some(()));
        assert!(refused.is_some());
    }
    // what is not in the log is gone
    let mut host = Host::new();
    host.shoal(ONE);
    let mut client = host.client();
    client.cmd("SET kept 1");
    client.cmd("DEBUG POPULATE 100");
    assert_eq!(client.cmd("DBSIZE").text(), "101");
    assert_eq!(client.cmd("DEBUG LOADAOF").text(), "OK");
    assert_eq!(client.cmd("DBSIZE").text(), "1");
}

#[test]
fn waitaof_waits_for_the_disk() {
    let mut host = Host::new();
    host.shoal(ONE);
    let mut client = host.client();
    for (line, want) in [
        ("WAITAOF x 0 0", "-ERR value is not an integer or out of range"),
        ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"),
        ("WAITAOF 1 -1 0", "-ERR value is out of range, must be positive"),
        ("WAITAOF 1 0 -1", "-ERR timeout is negative"),
        ("WAITAOF 1 0 x", "-ERR timeout is not an integer or out of range"),
    ] {
        assert_eq!(client.cmd(line).raw, format!("{want}\r\n").as_bytes(), "{line}");
    }
    // every second: the sync comes
    client.cmd("SET a 1");
    let begin = Instant::now();
    assert_eq!(client.cmd("WAITAOF 1 0 5000").raw, b"*2\r\n:1\r\n:0\r\n");
    assert!(begin.elapsed() < Duration::from_secs(4));
    // replicas never tell
    assert_eq!(client.cmd("WAITAOF 1 1 10").raw, b"*2\r\n:1\r\n:0\r\n");
    // without a sync it does not come
    client.cmd("CONFIG SET appendfsync no");
    std::thread::sleep(Duration::from_millis(300));
    client.cmd("SET a 2");
    assert_eq!(client.cmd("WAITAOF 1 0 300").raw, b"*2\r\n:0\r\n:0\r\n");
    assert_eq!(client.cmd("WAITAOF 0 0 0").raw, b"*2\r\n:0\r\n:0\r\n");
    // one that waits is answered when it comes, and others are served meanwhile
    let mut other = host.client();
    other.send(b"*4\r\n$7\r\nWAITAOF\r\n$1\r\n1\r\n$1\r\n0\r\n$1\r\n0\r\n").expect("sent");
    client.cmd("CONFIG SET appendfsync always");
    client.cmd("SET a 3");
    assert_eq!(other.read().expect("a reply").raw, b"*2\r\n:1\r\n:0\r\n");
    assert_eq!(client.cmd("WAITAOF 1 0 0").raw, b"*2\r\n:1\r\n:0\r\n");
    client.cmd("CONFIG SET appendonly no");
    assert_eq!(
        client.cmd("WAITAOF 1 0 0").raw,
        b"-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n"
    );
}

/// Fields of INFO persistence by name.
fn fields(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|l| Some(l.split_once(':')?.0.to_owned())).collect()
}

/// ... without a log, with one, while it saves, and while it loads; and what a command is told then.
fn told(program: &Path, shape: &str) -> (Vec<BTreeSet<String>>, Vec<String>) {
    let mut host = Host::new();
    let shape = format!("{shape} --appendonly no");
    host.start(program, &shape);
    let mut client = host.client();
    let mut told = vec![fields(&info(&mut client))];
    client.cmd("CONFIG SET appendonly yes");
    see(&mut client, "aof_enabled:1");
    see_rewritten(&mut client);
    told.push(fields(&info(&mut client)));
    client.cmd("CONFIG SET appendonly no");
    client.cmd("DEBUG POPULATE 3000 key 100");
    client.cmd("CONFIG SET rdb-key-save-delay 1000");
    client.cmd("BGSAVE");
    let during = info(&mut client);
    assert!(during.contains("rdb_bgsave_in_progress:1"), "{during}");
    told.push(fields(&during));
    client.cmd("CONFIG SET rdb-key-save-delay 0");
    let _ = client.call(&["SHUTDOWN", "SAVE", "NOW"]);
    host.wait_end();

    host.launch(
        program,
        &format!("{shape} --key-load-delay 700 --loading-process-events-interval-bytes 1024"),
    );
    let loading = wait_for(START, || {
        let mut client = Client::connect(host.ports.base).ok()?;
        let text = client.call(&["INFO", "persistence"]).ok()?.text();
        text.contains("\nloading:1").then_some((client, text))
    });
    let (mut client, text) = loading.expect("it loads for a while");
    told.push(fields(&text));
    let replies = ["GET a", "SET a 1", "SAVE", "BGSAVE", "PING", "SELECT 0", "CONFIG SET dir /tmp"]
        .map(|line| client.cmd(line).text());
    host.see_up();
    assert_eq!(host.client().cmd("DBSIZE").text(), "3000");
    assert!(info(&mut host.client()).contains("rdb_last_load_keys_loaded:3000"));
    (told, replies.into())
}

#[test]
fn info_has_the_fields_of_redis_whatever_is_going_on() {
    let (want, got) = (told(redis(), ""), told(&shoal_bin(), ONE));
    for (want, got) in want.0.iter().zip(&got.0) {
        let differ: Vec<&String> = want.symmetric_difference(got).collect();
        assert!(differ.is_empty(), "{differ:?}");
    }
    assert_eq!(got.1, want.1);
}

#[test]
fn a_host_that_ends_while_it_loads_leaves_the_files_as_they_were() {
    let mut host = Host::new();
    let shape = "--cluster-enabled no --shards 2 --appendonly no";
    host.shoal(shape);
    host.client().cmd("DEBUG POPULATE 20000");
    let want = host.digest();
    let _ = host.client().call(&["SHUTDOWN", "SAVE"]);
    host.wait_end();
    for how in [&["SHUTDOWN"][..], &["SHUTDOWN", "SAVE"]] {
        host.launch(
            &shoal_bin(),
            &format!("{shape} --key-load-delay 200 --loading-process-events-interval-bytes 1024"),
        );
        let loading = wait_for(START, || {
            let mut client = Client::connect(host.ports.base).ok()?;
            client.call(&["INFO", "persistence"]).ok()?.text().contains("\nloading:1").then_some(client)
        });
        let _ = loading.expect("it loads for a while").call(how);
        host.wait_end();
    }
    host.shoal(shape);
    assert_eq!(host.digest(), want);
}

/// What a checking tool says of a log, and whether it is content. `answer` is what it is told when it asks.
fn check(program: &str, args: &[&str], answer: &str) -> (bool, String) {
    let mut command = Command::new(program);
    if program != "redis-check-aof" {
        command.arg("--check-aof");
    }
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{program}: {e}"));
    let mut input = child.stdin.take().expect("its input");
    // one that asks nothing may have gone
    let _ = std::io::Write::write_all(&mut input, answer.as_bytes());
    drop(input);
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // what is said of an RDB file's inside is each tool's own
    let own = |l: &&str| !l.starts_with('[') && !l.starts_with("---");
    // by what is wrong there, redis-check-aof ends in the middle of it, as a server would
    let end = |l| match str::ends_with(l, "# Terminating server after rdb file reading failure.") {
        true => "RDB preamble of AOF file is not sane, aborting.",
        false => l,
    };
    (output.status.success(), said.lines().filter(own).map(end).collect::<Vec<_>>().join("\n"))
}

#[test]
fn check_aof_says_what_redis_check_aof_does() {
    let mut host = Host::new();
    host.shoal(&format!("{ONE} {STRICT}"));
    fill(&mut host.client(), 5);
    host.client().cmd("BGREWRITEAOF");
    see_rewritten(&mut host.client());
    host.client().cmd("SET later 1");
    host.kill();
    let names = std::fs::read_to_string(host.path("appendonly.aof.manifest")).expect("the manifest");
    let (base, incr) = (names.split(' ').nth(1).expect("a base"), "appendonly.aof.2.incr.aof");
    assert!(names.contains(incr), "{names}");
    let (rdb, log) = (host.read(base), host.read(incr));
    let old = host.dir.0.join("old.aof");
    let (manifest, old) =
        (host.path("appendonly.aof.manifest").display().to_string(), old.display().to_string());
    let cut = |bytes: &[u8], by: usize| bytes[..bytes.len() - by].to_vec();
    let mut spoilt = rdb.clone();
    spoilt[rdb.len() / 2] ^= 0xFF;
    let bad = b"nonsense\r\n".to_vec();
    for (what, base_bytes, incr_bytes) in [
        ("sound", rdb.clone(), log.clone()),
        ("cut incr", rdb.clone(), cut(&log, 3)),
        ("bad incr", rdb.clone(), [log.clone(), bad.clone()].concat()),
        ("base with a tail", [rdb.clone(), log.clone()].concat(), log.clone()),
        ("base with a bad tail", [rdb.clone(), bad].concat(), log.clone()),
        ("cut base", cut(&rdb, 9), log.clone()),
        ("spoilt base", spoilt, log.clone()),
        ("empty base", Vec::new(), log.clone()),
        ("empty incr", rdb.clone(), Vec::new()),
    ] {
        for (args, answer) in [(&[][..], ""), (&["--fix"], "n\n"), (&["--fix"], "y\n")] {
            for file in [&manifest, &old] {
                let args: Vec<&str> = args.iter().copied().chain([file.as_str()]).collect();
                let ours = shoal_bin().display().to_string();
                let results = ["redis-check-aof", &ours].map(|program| {
                    std::fs::write(host.path(base), &base_bytes).expect("a file");
                    std::fs::write(host.path(incr), &incr_bytes).expect("a file");
                    std::fs::write(&old, [&base_bytes[..], &incr_bytes].concat()).expect("a file");
                    let said = check(program, &args, answer);
                    (said, host.read(base), host.read(incr), std::fs::read(&old).expect("a file"))
                });
                let [want, got] = results;
                assert_eq!(got.0, want.0, "{what} {args:?} {answer:?}");
                assert!((got.1, got.2, got.3) == (want.1, want.2, want.3), "{what} {args:?}: other files");
            }
        }
    }
}

#[test]
fn a_base_with_too_many_databases_is_refused() {
    let mut host = Host::new();
    host.start(redis(), "--databases 20");
    let mut client = host.client();
    client.cmd("SELECT 17");
    client.cmd("SET a 1");
    client.cmd("BGREWRITEAOF");
    see_rewritten(&mut client);
    host.end();
    let said = host.refuses(ONE);
    assert!(
        said.contains("Data file was created with a server configured to handle more than 16 databases"),
        "{said}"
    );
    host.shoal(&format!("{ONE} --databases 20"));
    let mut client = host.client();
    client.cmd("SELECT 17");
    assert_eq!(client.cmd("GET a").text(), "1");
}

/// SHUTDOWN while a replica lags: what is said, and that it ends when it is to end at once.
fn ends(program: &Path, shape: &str) -> Vec<String> {
    let mut host = Host::new();
    let more = "--appendonly no --shutdown-timeout 30 --repl-diskless-sync-delay 0";
    host.start(program, &format!("{shape} {more}"));
    let (mut client, mut replica) = (host.client(), host.client());
    // one that takes its payload from the socket: none is written to a file
    replica.cmd("REPLCONF capa eof");
    replica.send(b"PSYNC ? -1\r\n").expect("sent");
    let waits = |client: &mut Client| {
        let told = wait_for(START, || {
            client.cmd("INFO server").text().contains("shutdown_in_milliseconds:").then_some(())
        });
        assert!(told.is_some(), "it does not wait for its replica");
    };
    let there = || client.cmd("INFO replication").text().contains("connected_slaves:1").then_some(());
    assert!(wait_for(START, there).is_some(), "it has no replica");
    client.cmd("SET a 1");
    let (mut asks, mut writer) = (host.client(), host.client());
    asks.send(b"SHUTDOWN NOSAVE\r\n").expect("sent");
    waits(&mut client);
    std::thread::sleep(Duration::from_millis(200));
    writer.send(b"SET b 1\r\n").expect("sent");
    assert!(writer.read_within(Duration::from_millis(300)).is_err(), "writers do not wait");
    let mut said = vec![client.cmd("GET a").text(), client.cmd("SHUTDOWN ABORT").text()];
    said.push(asks.read().expect("a reply").text());
    said.push(writer.read().expect("a reply").text());
    said.push(client.cmd("SHUTDOWN ABORT").text());
    let pid = host.pid().to_string();
    assert!(run(Command::new("kill").args(["-TERM", &pid])).status.success());
    waits(&mut client);
    said.push(client.cmd("SHUTDOWN ABORT").text());
    said.push(client.cmd("SET c 1").text());
    let begin = Instant::now();
    let _ = client.call(&["SHUTDOWN", "NOSAVE", "NOW"]);
    host.wait_end();
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(!host.dir.0.join("dump.rdb").exists());
    said
}

#[test]
fn shutdown_waits_for_replicas_and_can_be_aborted() {
    let want = ends(redis(), "");
    assert_eq!(ends(&shoal_bin(), ONE), want);
}
