//! BGSAVE from outside: what it writes under load is a point in time that Redis's own tools take, and
//! whatever goes wrong leaves the file before as it was.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use common::client::{Client, PATIENCE};
use common::resp::encode;
use common::server::{Server, Shape, run, stand_in};
use common::wait_for;

fn field(client: &mut Client, name: &str) -> String {
    let text = client.cmd("INFO persistence").text();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    line.unwrap_or_else(|| panic!("INFO has no {name}")).trim().to_owned()
}

/// A BGSAVE to its end; how it ended.
fn save(client: &mut Client) -> String {
    assert_eq!(client.cmd("BGSAVE").text(), "Background saving started");
    let over = wait_for(PATIENCE * 6, || (field(client, "rdb_bgsave_in_progress") == "0").then_some(()));
    assert!(over.is_some(), "BGSAVE does not end");
    field(client, "rdb_last_bgsave_status")
}

/// Keys that redis-check-rdb counts in a sound file.
fn checked(file: &Path) -> u64 {
    let output = run(Command::new("redis-check-rdb").arg(file));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("RDB looks OK"), "{}: {said}", file.display());
    let keys = said.lines().find_map(|l| l.strip_prefix("[info] ")?.strip_suffix(" keys read"));
    keys.unwrap_or_else(|| panic!("no count in {said}")).parse().expect("a number")
}

/// A redis-server that has started from this file.
fn redis_from(file: &Path) -> Server {
    let dir = file.parent().expect("a folder").to_string_lossy().into_owned();
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let more = ["--dir", &dir, "--dbfilename", &name, "--enable-debug-command", "yes"];
    Server::redis_with(Shape::Standalone(1), &more)
}

fn files_of(server: &Server, begins: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&server.dir.0).expect("the server's folder").flatten();
    let mut found: Vec<PathBuf> = entries.map(|e| e.path()).collect();
    found.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(begins)));
    found.sort();
    found
}

/// Fills a server with keys of every type.
fn fill(client: &mut Client, keys: u32) {
    let mut batch = Vec::new();
    for i in 0..keys {
        let (name, n) = (|kind: &str| format!("{kind}:{i}"), i.to_string());
        batch.extend(encode(&["SET", &name("string"), "old"]));
        batch.extend(encode(&["RPUSH", &name("list"), &n, "b"]));
        batch.extend(encode(&["SADD", &name("set"), &n, "b"]));
        batch.extend(encode(&["HSET", &name("hash"), "field", &n]));
        batch.extend(encode(&["ZADD", &name("zset"), "1.5", &n]));
        batch.extend(encode(&["PEXPIRE", &name("set"), "100000000"]));
    }
    client.send(&batch).expect("a server that reads");
    for _ in 0..keys * 6 {
        assert!(!client.read().expect("a reply").is_error());
    }
}

const PAIRS: usize = 50;

/// Tells others to stop when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Raises pairs of counters of one slot, always the first one first, until it is told to stop.
fn count_up(port: u16, over: &AtomicBool) -> u64 {
    let mut client = Client::connect(port).expect("a connection");
    let mut rounds = 0;
    while !over.load(Ordering::Relaxed) {
        let mut batch = Vec::new();
        for i in 0..PAIRS {
            batch.extend(encode(&["INCR", &format!("{{{i}}}first")]));
            batch.extend(encode(&["INCR", &format!("{{{i}}}second")]));
        }
        client.send(&batch).expect("a server that reads");
        (0..2 * PAIRS).for_each(|_| assert!(!client.read().expect("a reply").is_error()));
        rounds += 1;
    }
    rounds
}

#[test]
fn a_file_written_under_load_is_a_point_in_time() {
    for shape in [Shape::Standalone(1), Shape::Standalone(2)] {
        let server = Server::shoal(shape, &[]);
        let mut client = server.client();
        fill(&mut client, 4000);
        let over = AtomicBool::new(false);
        let port = server.port();
        std::thread::scope(|scope| {
            let counters = scope.spawn(|| count_up(port, &over));
            // whatever comes, the counting ends
            let stop = Stop(&over);
            let last = format!("GET {{{}}}second", PAIRS - 1);
            let all = wait_for(PATIENCE, || client.cmd(&last).text().parse::<u64>().ok());
            assert!(all.is_some(), "there are counters");
            for _ in 0..3 {
                assert_eq!(save(&mut client), "ok");
                let files = files_of(&server, "dump");
                let keys: u64 = files.iter().map(|file| checked(file)).sum();
                let counted: u64 = files.iter().map(|file| point_in_time(file)).sum();
                assert_eq!(keys, 5 * 4000 + 2 * PAIRS as u64);
                assert_eq!(counted, PAIRS as u64, "each pair is in one file");
            }
            drop(stop);
            assert!(counters.join().expect("the counting") > 10, "it went on meanwhile");
        });
        assert!(files_of(&server, "temp").is_empty());
    }
}

/// How many pairs of counters redis-server finds in a file, each as it was at one moment.
fn point_in_time(file: &Path) -> u64 {
    let redis = redis_from(file);
    let mut client = redis.client();
    let mut pairs = 0;
    for i in 0..PAIRS {
        let mut value = |name: &str| -> u64 {
            let reply = client.cmd(&format!("GET {{{i}}}{name}"));
            reply.text().parse().unwrap_or(0)
        };
        let (first, second) = (value("first"), value("second"));
        assert!(first == second || first == second + 1, "{first} and {second} were never there together");
        pairs += (first > 0) as u64;
    }
    pairs
}

#[test]
fn redis_starts_with_the_same_data() {
    let server = Server::shoal(Shape::Standalone(1), &["--enable-debug-command", "yes"]);
    let mut client = server.client();
    fill(&mut client, 500);
    client.cmd("SELECT 9");
    fill(&mut client, 10);
    let large: Vec<String> = (0..60_000).map(|i| format!("member:{i}")).collect();
    for (command, step) in [("SADD", 1), ("RPUSH", 1), ("HSET", 2)] {
        let name = format!("large:{command}");
        let words: Vec<&str> = [command, &name]
            .into_iter()
            .chain(large[..60_000 / step * step].iter().map(String::as_str))
            .collect();
        assert!(!client.call(&words).expect("a reply").is_error());
    }
    assert_eq!(save(&mut client), "ok");
    let wanted = client.cmd("DEBUG DIGEST").text();
    let redis = redis_from(&server.dir.0.join("dump.rdb"));
    assert_eq!(redis.client().cmd("DEBUG DIGEST").text(), wanted);
}

#[test]
fn a_server_killed_while_it_saves_leaves_the_file_before() {
    let mut server = Server::shoal(Shape::Standalone(1), &[]);
    let mut client = server.client();
    fill(&mut client, 300);
    assert_eq!(save(&mut client), "ok");
    let file = server.dir.0.join("dump.rdb");
    let before = std::fs::read(&file).expect("the file");
    client.cmd("SET string:0 new");
    client.cmd("CONFIG SET rdb-key-save-delay 1000000");
    assert_eq!(client.cmd("BGSAVE").text(), "Background saving started");
    let begun = wait_for(PATIENCE, || (!files_of(&server, "temp").is_empty()).then_some(()));
    assert!(begun.is_some() && field(&mut client, "rdb_bgsave_in_progress") == "1");
    server.child.kill().expect("a signal");
    server.child.wait().expect("its end");
    assert_eq!(std::fs::read(&file).expect("the file"), before);
    assert_eq!(checked(&file), 5 * 300);
}

/// Lets a process open no more files, or as many as it likes again.
fn limit_files(server: &Server, soft: &str) {
    let output =
        run(Command::new("prlimit").args(["--pid", &server.pid().to_string(), &format!("--nofile={soft}:")]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_save_that_fails_leaves_the_file_before_and_stops_writes() {
    let server = Server::shoal(Shape::Standalone(1), &[]);
    let mut client = server.client();
    fill(&mut client, 10);
    assert_eq!(save(&mut client), "ok");
    let before = std::fs::read(server.dir.0.join("dump.rdb")).expect("the file");
    assert_eq!(client.call(&["CONFIG", "SET", "save", "3600 1000000"]).expect("a reply").text(), "OK");
    limit_files(&server, "1");
    if !stand_in() {
        assert_eq!(save(&mut client), "err");
        let denied = client.cmd("SET string:0 new");
        assert!(denied.is_error() && denied.text().starts_with("MISCONF Redis is configured to save RDB"));
        assert!(server.log().contains("Failed opening the temp RDB file"), "{}", server.log());
        assert_eq!(std::fs::read(server.dir.0.join("dump.rdb")).expect("the file"), before);
    }
    limit_files(&server, "1024");
    assert_eq!(save(&mut client), "ok");
    let allowed = wait_for(PATIENCE, || (client.cmd("SET string:0 new").text() == "OK").then_some(()));
    assert!(allowed.is_some(), "writes go on when the disk does");
    assert!(files_of(&server, "temp").is_empty());
}

#[test]
fn shards_of_a_cluster_save_on_their_own() {
    let server = Server::shoal(Shape::Host(2), &[]);
    if stand_in() {
        return;
    }
    let mut client = server.client();
    fill(&mut client, 200);
    let mut own = server.own_client(0);
    assert_eq!(save(&mut own), "ok");
    let port = server.own_port(0);
    let files = files_of(&server, "dump");
    assert_eq!(files, [server.dir.0.join(format!("dump-{port}.rdb"))]);
    let keys: u64 = own.cmd("DBSIZE").text().parse().expect("a number");
    assert_eq!(checked(&files[0]), keys);
    assert_eq!(save(&mut client), "ok");
    let files = files_of(&server, "dump");
    assert_eq!(files.iter().map(|file| checked(file)).sum::<u64>(), 5 * 200);
}
