//! Replication from outside: Shoal and redis-server copy each other.

mod common;

use common::client::Client;
use common::proxy::Proxy;
use common::server::{Server, Shape, TempDir, run};
use common::{long, wait_for};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const MORE: [&str; 6] =
    ["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb"];

fn shoal() -> Server {
    Server::shoal(Shape::Standalone(1), &MORE)
}

fn redis() -> Server {
    Server::redis_with(Shape::Standalone(1), &MORE)
}

/// One field of INFO; empty when there is none.
fn info(client: &mut Client, field: &str) -> String {
    let text = client.cmd("INFO everything").text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

fn number(client: &mut Client, field: &str) -> u64 {
    info(client, field).parse().unwrap_or_else(|_| panic!("{field} is no number"))
}

/// Waits until the replica has all that the primary has, and compares.
fn agree(what: &str, primary: &mut Client, replica: &mut Client) {
    let both = |p: &mut Client, r: &mut Client| {
        let up = info(r, "master_link_status") == "up";
        let offsets = (info(p, "master_repl_offset"), info(r, "slave_repl_offset"));
        (up && offsets.0 == offsets.1).then_some(())
    };
    let synced = wait_for(PATIENCE, || both(primary, replica));
    assert!(synced.is_some(), "{what}: {}", replica.cmd("INFO replication").text());
    let digests = (primary.cmd("DEBUG DIGEST").text(), replica.cmd("DEBUG DIGEST").text());
    assert_eq!(digests.0, digests.1, "{what}");
    assert_ne!(digests.0, "0".repeat(40), "{what}: there is nothing to compare");
}

fn follow(replica: &mut Client, port: u16) {
    assert_eq!(replica.cmd(&format!("REPLICAOF 127.0.0.1 {port}")).text(), "OK");
}

/// Writes values of all types by chance, in a pipeline.
fn write_some(client: &mut Client, seed: &mut u64, commands: usize) {
    let mut next = |n: u64| {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*seed >> 33) % n
    };
    let mut lines = String::new();
    for i in 0..commands {
        let (k, v) = (next(3000), next(1_000_000));
        let line = match next(20) {
            0..=3 => format!("SET k{k} value-{v}"),
            4 => format!("SET k{k} {v} EX {}", 1000 + v),
            5 => format!("DEL k{k} l{v}"),
            6 => format!("RPUSH l{k} {v} a b {i}"),
            7 => format!("LPOP l{k}"),
            8 => format!("LMOVE l{k} l{} LEFT RIGHT", k / 2),
            9 => format!("HSET h{k} f{} {v}", v % 50),
            10 => format!("HINCRBYFLOAT h{k} n 1.{v}"),
            11 => format!("SADD s{k} {v} m{}", v % 9),
            12 => format!("SPOP s{k}"),
            13 => format!("ZADD z{k} {v} m{}", v % 40),
            14 => format!("ZPOPMIN z{k}"),
            15 => format!("INCRBYFLOAT i{k} 0.{v}"),
            16 => format!("EXPIRE h{k} {}", 1000 + v),
            17 => format!("RENAME k{k} k{}", v % 3000),
            18 => format!("SELECT {}", v % 3),
            _ => format!("APPEND k{k} {v}"),
        };
        lines.push_str(&line);
        lines.push_str("\r\n");
    }
    client.send(lines.as_bytes()).expect("a server that takes commands");
    (0..commands).for_each(|_| drop(client.read().expect("a reply")));
}

/// A client that writes until it is stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    fn start(port: u16, mut seed: u64) -> Writer {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), written.clone());
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(port).expect("a connection");
            while !stopped.load(Ordering::Relaxed) {
                write_some(&mut client, &mut seed, 50);
                count.fetch_add(50, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Writer { stop, written, thread }
    }

    /// Waits until so many more commands are written.
    fn go_on(&self, commands: u64) {
        let until = self.written.load(Ordering::Relaxed) + commands;
        let done = || (self.written.load(Ordering::Relaxed) >= until).then_some(());
        wait_for(PATIENCE, done).expect("a writer that gets on");
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a writer without errors");
    }
}

/// Each copies the other under writes, is cut off in the middle of anything, and goes on where it was.
#[test]
fn cut_and_rejoined_they_agree() {
    let cuts = if long() { 100 } else { 12 };
    for (n, (of, by)) in [("shoal", "redis"), ("redis", "shoal"), ("shoal", "shoal")].into_iter().enumerate()
    {
        let what = format!("{by} as replica of {of}");
        let start = |kind| if kind == "shoal" { shoal() } else { redis() };
        let (primary, replica) = (start(of), start(by));
        let (mut p, mut r) = (primary.client(), replica.client());
        let mut seed = 7 + n as u64;
        write_some(&mut p, &mut seed, 5000);
        // what was there before does not survive
        r.cmd("SET left over");
        let proxy = Proxy::before(primary.port());
        let writer = Writer::start(primary.port(), seed);
        follow(&mut r, proxy.port);
        let up = |r: &mut Client| (info(r, "master_link_status") == "up").then_some(());
        wait_for(PATIENCE, || up(&mut r)).expect("a link that comes up");
        for _ in 0..cuts {
            writer.go_on(200);
            proxy.cut();
            writer.go_on(200);
            wait_for(PATIENCE, || up(&mut r)).expect("a link that comes up again");
        }
        writer.end();
        agree(&what, &mut p, &mut r);
        assert_eq!(r.cmd("EXISTS left").text(), "0", "{what}");
        assert_eq!(number(&mut p, "sync_full"), 1, "{what}: {}", replica.log());
        assert!(number(&mut p, "sync_partial_ok") >= cuts, "{what}");
    }
}

/// A replica has replicas, is made the primary, and its former primary goes on as its replica, all
/// without another payload.
#[test]
fn roles_change_and_streams_go_on() {
    let (old, new, shoal_leaf, redis_leaf) = (redis(), shoal(), shoal(), redis());
    let mut clients = [&old, &new, &shoal_leaf, &redis_leaf].map(Server::client);
    let [o, n, s, r] = &mut clients;
    let mut seed = 3;
    write_some(o, &mut seed, 2000);
    follow(n, old.port());
    agree("the first replica", o, n);
    follow(s, new.port());
    follow(r, new.port());
    write_some(o, &mut seed, 2000);
    agree("Shoal behind Shoal", o, s);
    agree("redis-server behind Shoal", o, r);
    assert_eq!(n.cmd("SET a b").text(), "READONLY You can't write against a read only replica.");
    let fulls = number(n, "sync_full");
    assert_eq!(n.cmd("REPLICAOF NO ONE").text(), "OK");
    write_some(n, &mut seed, 2000);
    follow(o, new.port());
    agree("the former primary", n, o);
    agree("Shoal behind its new primary", n, s);
    agree("redis-server behind its new primary", n, r);
    assert_eq!(number(n, "sync_full"), fulls, "nobody needs all of it once more: {}", new.log());
    assert!(number(n, "sync_partial_ok") >= 3);
    // a replica that was written to behind its primary's back gets all anew
    assert_eq!(s.cmd("REPLICAOF NO ONE").text(), "OK");
    s.cmd("SET apart 1");
    follow(s, new.port());
    agree("one that went its own way", n, s);
    assert_eq!(s.cmd("EXISTS apart").text(), "0");
    assert_eq!(number(n, "sync_full"), fulls + 1);
}

/// FAILOVER hands the role over, in both directions, and nothing that was acknowledged is lost.
#[test]
fn the_role_is_handed_over() {
    let (a, b) = (shoal(), redis());
    let (mut ca, mut cb) = (a.client(), b.client());
    let mut seed = 5;
    write_some(&mut ca, &mut seed, 1000);
    follow(&mut cb, a.port());
    agree("before", &mut ca, &mut cb);
    for (from, to, what) in [(&a, &b, "to redis-server"), (&b, &a, "to Shoal")] {
        let (mut f, mut t) = (from.client(), to.client());
        let line = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 20000", to.port());
        write_some(&mut f, &mut seed, 500);
        assert_eq!(f.cmd(&line).text(), "OK", "{what}");
        let done = |f: &mut Client, t: &mut Client| {
            (info(f, "role") == "slave" && info(t, "role") == "master").then_some(())
        };
        let swapped = wait_for(PATIENCE, || done(&mut f, &mut t));
        assert!(swapped.is_some(), "{what}: {} {}", from.log(), to.log());
        write_some(&mut t, &mut seed, 500);
        agree(what, &mut t, &mut f);
        assert_eq!(info(&mut f, "master_failover_state"), "no-failover", "{what}");
    }
    assert_eq!(number(&mut ca, "sync_full"), 1);
    assert_eq!(number(&mut cb, "sync_full"), 0);
    // a target that is gone is given up
    drop(b);
    assert_eq!(ca.cmd("FAILOVER").text(), "ERR FAILOVER requires connected replicas.");
    assert_eq!(ca.cmd("SET still here").text(), "OK");
}

/// What a replica says, and when it refuses, is as with redis-server.
#[test]
fn a_replica_says_what_a_redis_replica_says() {
    let primary = redis();
    let (ours, theirs) = (shoal(), redis());
    let (mut p, mut a, mut b) = (primary.client(), ours.client(), theirs.client());
    for client in [&mut a, &mut b] {
        follow(client, primary.port());
    }
    p.cmd("SET k 1");
    p.cmd("DEBUG SET-ACTIVE-EXPIRE 0");
    agree("at first", &mut p, &mut a);
    agree("at first", &mut p, &mut b);
    p.cmd("SET gone 1 PX 30");
    assert_eq!(p.cmd("WAIT 2 5000").text(), "2");
    std::thread::sleep(Duration::from_millis(50));
    let same = |a: &mut Client, b: &mut Client, lines: &[&str]| {
        for line in lines {
            let [mine, real] =
                [&mut *a, &mut *b].map(|client| client.cmd(line).raw.escape_ascii().to_string());
            assert_eq!(mine, real, "{line}");
        }
    };
    let before = format!("REPLICAOF 127.0.0.1 {}", primary.port());
    // an expired key is hidden, and there, until the primary says otherwise
    let role = ["GET gone", "EXISTS gone", "DBSIZE", "TTL gone", "ROLE", "HELLO 2"];
    same(&mut a, &mut b, &role[..5]);
    same(&mut a, &mut b, &["SET k 2", "DEL k", "FLUSHALL", "WAIT 1 10", &before, "GET k", "REPLICAOF x y"]);
    same(&mut a, &mut b, &["PSYNC ? x", "PSYNC x 1 FAILOVER", "FAILOVER", "REPLCONF a", "REPLCONF a b"]);
    same(&mut a, &mut b, &["REPLCONF listening-port x", "REPLCONF rdb-only 2", "SLAVEOF no"]);
    for client in [&mut a, &mut b] {
        assert_eq!(client.cmd("CONFIG SET replica-read-only no").text(), "OK");
    }
    same(&mut a, &mut b, &["SET own 1", "GET own", "SET k2 v PX 10000", "DEL k"]);
    for client in [&mut a, &mut b] {
        client.cmd("CONFIG SET replica-read-only yes replica-serve-stale-data no");
    }
    drop(p);
    drop(primary);
    for client in [&mut a, &mut b] {
        let down = |c: &mut Client| (info(c, "master_link_status") == "down").then_some(());
        wait_for(PATIENCE, || down(client)).expect("a replica that notices");
    }
    same(&mut a, &mut b, &["GET k", "SET k 1", "PING", "INFO nothing", "PSYNC ? -1"]);
    same(
        &mut a,
        &mut b,
        &["REPLICAOF NO ONE", "GET own", "SET k 1", "WAIT 0 10", "WAIT 1 1", "WAIT x 1", "ROLE"],
    );
    same(&mut a, &mut b, &["FAILOVER ABORT", "FAILOVER TO x", "FAILOVER FORCE", "WAIT 1 -1"]);
}

/// WAIT, min-replicas-to-write, and what a primary tells of its replicas.
#[test]
fn acknowledgements_count() {
    let (primary, replica) = (shoal(), redis());
    let (mut p, mut r) = (primary.client(), replica.client());
    assert_eq!(p.cmd("CONFIG SET min-replicas-to-write 1 min-replicas-max-lag 2").text(), "OK");
    let refused = "NOREPLICAS Not enough good replicas to write.";
    wait_for(PATIENCE, || (p.cmd("SET a 1").text() == refused).then_some(())).expect("a refusal");
    follow(&mut r, primary.port());
    wait_for(PATIENCE, || (p.cmd("SET a 1").text() == "OK").then_some(())).expect("a replica that counts");
    for n in 0..20 {
        p.cmd(&format!("SET a {n}"));
        assert_eq!(p.cmd("WAIT 1 5000").text(), "1");
        assert_eq!(r.cmd("GET a").text(), n.to_string());
    }
    assert_eq!(p.cmd("WAIT 2 20").text(), "1");
    let role = String::from_utf8_lossy(&p.cmd("ROLE").raw).into_owned();
    assert!(role.contains("master") && role.contains(&replica.port().to_string()), "{role}");
    let line = info(&mut p, "slave0");
    assert!(
        line.starts_with(&format!("ip=127.0.0.1,port={},state=online,offset=", replica.port())),
        "{line}"
    );
    drop(r);
    drop(replica);
    wait_for(PATIENCE, || (p.cmd("SET a 1").text() == refused).then_some(())).expect("a refusal");
    assert_eq!(p.cmd("GET a").text(), "19");
}

/// Tools that fetch a payload, in both forms.
#[test]
fn a_payload_is_a_file_that_others_read() {
    let server = shoal();
    let mut client = server.client();
    let mut seed = 11;
    write_some(&mut client, &mut seed, 3000);
    let dir = TempDir::new();
    for diskless in ["yes", "no"] {
        client.cmd(&format!("CONFIG SET repl-diskless-sync {diskless}"));
        let file = dir.0.join(diskless);
        let port = server.port().to_string();
        let cli = run(Command::new("redis-cli").args(["-p", &port, "--rdb"]).arg(&file));
        assert!(cli.status.success(), "{}", String::from_utf8_lossy(&cli.stderr));
        let check = run(Command::new("redis-check-rdb").arg(&file));
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(check.status.success() && said.contains("RDB looks OK"), "{said}");
        let replica = redis();
        let mut r = replica.client();
        follow(&mut r, server.port());
        agree(&format!("diskless: {diskless}"), &mut client, &mut r);
    }
    let left: Vec<_> = std::fs::read_dir(&server.dir.0).expect("a directory").flatten().collect();
    assert!(left.iter().all(|file| file.file_name() == "server.log"), "{left:?}");
}

/// A primary that lies: the link is closed, with a reason in the log, and the data stays as it was.
#[test]
fn nonsense_from_a_primary_changes_nothing() {
    let server = shoal();
    let mut client = server.client();
    let mut seed = 13;
    write_some(&mut client, &mut seed, 500);
    client.cmd("SELECT 0");
    let digest = client.cmd("DEBUG DIGEST").text();
    let id = "0123456789012345678901234567890123456789";
    let hello = "+PONG\r\n+OK\r\n+OK\r\n";
    let full = format!("{hello}+FULLRESYNC {id} 100\r\n");
    let (rdb, many) = ("REDIS0010", "x".repeat(5000));
    for (said, reason) in [
        ("junk\r\n".to_owned(), "Error reply to PING from master"),
        (many.clone(), "a line without an end"),
        (format!("{hello}+FULLRESYNC what\r\n"), "wrong +FULLRESYNC syntax"),
        (format!("{full}:1\r\n"), "the first byte is not '$'"),
        (format!("{full}$20\r\n{}", &many[..20]), "no RDB file"),
        (format!("{full}$11\r\n{rdb}\u{1}\u{1}"), "the data ends too early"),
        (format!("{full}$EOF:{id}\r\n{rdb}\u{7f}{many}{id}"), "Failed trying to load"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        follow(&mut client, listener.local_addr().expect("an address").port());
        let (mut stream, _) = listener.accept().expect("a replica");
        stream.write_all(said.as_bytes()).expect("ears");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        let told = wait_for(PATIENCE, || server.log().contains(reason).then_some(()));
        assert!(told.is_some(), "{reason}: {}", server.log());
        assert_eq!(client.cmd("DEBUG DIGEST").text(), digest, "{reason}");
    }
    // the stream itself: what was whole is executed, what makes no sense ends it
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    follow(&mut client, listener.local_addr().expect("an address").port());
    let (mut stream, _) = listener.accept().expect("a replica");
    let own = "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n*1\r\n$200\r\n";
    stream.write_all(format!("{hello}+CONTINUE\r\n{own}").as_bytes()).expect("ears");
    stream.write_all("*1\r\n$-7\r\n".repeat(40).as_bytes()).expect("ears");
    let told = wait_for(PATIENCE, || server.log().contains("Protocol error from the MASTER").then_some(()));
    assert!(told.is_some(), "{}", server.log());
    assert_eq!(client.cmd("DEBUG DIGEST").text(), digest, "a transaction without its end");
    drop(stream);
    let mut fake = TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
    fake.write_all(b"PSYNC ? -1\r\nREPLCONF ACK 99999999999999\r\nSYNC\r\nPSYNC a 1\r\nSET x y\r\n")
        .expect("ears");
    assert_eq!(client.cmd("REPLICAOF NO ONE").text(), "OK");
    assert_eq!(client.cmd("DEBUG DIGEST").text(), digest);
}
