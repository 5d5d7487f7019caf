//! Replication from outside: Shoal and redis-server copy each other.

mod common;

use common::client::Client;
use common::members::{Member, ask, see};
use common::ports::Ports;
use common::proxy::Proxy;
use common::replicas::{
    Chance, MORE, PAIRS, PATIENCE, Writer, agree, digest, fill, follow, info, is_linked, number,
};
use common::server::{Server, Shape, TempDir, run};
use common::{long, wait_for};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

fn shoal() -> Server {
    Server::shoal(Shape::Standalone(1), &MORE)
}

fn redis() -> Server {
    Server::redis_with(Shape::Standalone(1), &MORE)
}

fn start(kind: &str) -> Server {
    if kind == "shoal" { shoal() } else { redis() }
}

/// How often a link is cut, and of how many keys there are before.
fn cuts_and_keys() -> (u64, u64) {
    if long() { (100, 1_000_000) } else { (12, 5000) }
}

/// The link is up again, by the stream alone, after so many cuts. A replica that has not noticed the last one
/// still says that it is linked.
fn goes_on(cuts: u64, primary: &mut Client, replica: &mut Client) {
    let back = || (number(primary, "sync_partial_ok") >= cuts).then(|| is_linked(replica)).flatten();
    wait_for(PATIENCE, back).expect("a link that comes up again");
}

/// Each copies the other under writes, is cut off in the middle of anything, and goes on where it was.
#[test]
fn cut_and_rejoined_they_agree() {
    let (cuts, keys) = cuts_and_keys();
    for (n, (of, by)) in PAIRS.into_iter().enumerate() {
        let what = format!("{by} as replica of {of}");
        let (primary, replica) = (start(of), start(by));
        let (mut p, mut r) = (primary.client(), replica.client());
        let mut chance = Chance::new(7 + n as u64);
        fill(&mut p, keys);
        chance.write(&mut p, 5000);
        // what was there before does not survive
        r.cmd("SET left over");
        let proxy = Proxy::before(primary.port());
        let writer = Writer::start(primary.port(), chance);
        follow(&mut r, proxy.port);
        wait_for(PATIENCE, || is_linked(&mut r)).expect("a link that comes up");
        for cut in 1..=cuts {
            writer.go_on(200);
            proxy.cut();
            writer.go_on(200);
            goes_on(cut, &mut p, &mut r);
        }
        writer.end();
        agree(&what, &mut p, &mut r);
        assert_eq!(r.cmd("EXISTS left").text(), "0", "{what}");
        assert_eq!(number(&mut p, "sync_full"), 1, "{what}: {}", replica.log());
    }
}

/// A node of a cluster.
fn node(kind: &'static str, port: u16) -> Member {
    let text = port.to_string();
    let args = ["--cluster-enabled", "yes", "--port", &text, "--save", ""];
    Member::start(
        if kind == "shoal" { "shoal" } else { "redis-server" },
        vec![port],
        &[&args[..], &MORE].concat(),
    )
}

/// The same in a cluster, where either side kills the connection.
#[test]
fn cut_and_rejoined_nodes_agree() {
    let (cuts, keys) = cuts_and_keys();
    for (n, (of, by)) in PAIRS.into_iter().enumerate() {
        let what = format!("{by} as replica of {of} in a cluster");
        let ports = Ports::take();
        let (port, other) = (ports.base, ports.base + 2);
        let (_primary, _replica) = (node(of, port), node(by, other));
        assert_eq!(ask(port, "CLUSTER ADDSLOTSRANGE 0 16383"), "OK");
        assert_eq!(ask(other, &format!("CLUSTER MEET 127.0.0.1 {port}")), "OK");
        see(other, "CLUSTER NODES", "the other's slots", |nodes| nodes.contains(" 0-16383"));
        see(port, "CLUSTER INFO", "a cluster", |info| info.contains("cluster_state:ok"));
        let (mut p, mut r) = [port, other].map(|port| Client::connect(port).expect("a connection")).into();
        let mut chance = Chance::in_cluster(70 + n as u64);
        fill(&mut p, keys);
        chance.write(&mut p, 5000);
        let writer = Writer::start(port, chance);
        assert_eq!(ask(other, &format!("CLUSTER REPLICATE {}", ask(port, "CLUSTER MYID"))), "OK");
        wait_for(PATIENCE, || is_linked(&mut r)).expect("a link that comes up");
        for cut in 1..=cuts {
            writer.go_on(200);
            match cut % 2 {
                0 => assert_eq!(p.cmd("CLIENT KILL TYPE replica").text(), "1", "{what}"),
                _ => assert_eq!(r.cmd("CLIENT KILL TYPE master").text(), "1", "{what}"),
            }
            writer.go_on(200);
            goes_on(cut, &mut p, &mut r);
        }
        writer.end();
        agree(&what, &mut p, &mut r);
        assert_eq!(number(&mut p, "sync_full"), 1, "{what}");
    }
}

/// Ends, with its data in a file.
fn save_and_end(server: &mut Server) {
    let mut client = server.client();
    client.send(b"SHUTDOWN SAVE\r\n").expect("a server that listens");
    assert!(client.read().is_err(), "{}", server.log());
    let ended = wait_for(PATIENCE, || server.child.try_wait().expect("a child's state"));
    assert!(ended.is_some_and(|status| status.success()), "{}", server.log());
}

/// A replica and its primary are started anew, by turns, and one is the other kind of server then: the file
/// says where in the stream it is, and nobody needs all data again.
#[test]
fn after_a_restart_the_stream_goes_on() {
    for (n, (of, by)) in PAIRS.into_iter().enumerate() {
        let what = format!("{by} as replica of {of}");
        // pings between the end of a primary and that of its links would be more than the replica has
        let calm = [&MORE[..], &["--repl-ping-replica-period", "3600"]].concat();
        let start = |kind| match kind {
            "shoal" => Server::shoal(Shape::Standalone(1), &calm),
            _ => Server::redis_with(Shape::Standalone(1), &calm),
        };
        let (mut primary, mut replica, other) = (start(of), start(by), start("redis"));
        let mut chance = Chance::new(17 + n as u64);
        chance.write(&mut primary.client(), 3000);
        primary.client().cmd("SET soon 1 PX 300");
        follow(&mut replica.client(), primary.port());
        agree(&what, &mut primary.client(), &mut replica.client());
        save_and_end(&mut replica);
        std::thread::sleep(Duration::from_millis(400));
        chance.write(&mut primary.client(), 3000);
        let port = primary.port().to_string();
        let upstream = ["--replicaof", "127.0.0.1", &port];
        replica.start_again(&upstream);
        agree(&what, &mut primary.client(), &mut replica.client());
        assert_eq!(number(&mut primary.client(), "sync_full"), 1, "{what}: {}", replica.log());
        assert_eq!(number(&mut primary.client(), "sync_partial_ok"), 1, "{what}: {}", replica.log());

        save_and_end(&mut primary);
        primary.start_again(&[]);
        chance.write(&mut primary.client(), 3000);
        agree(&what, &mut primary.client(), &mut replica.client());
        assert_eq!(number(&mut primary.client(), "sync_full"), 0, "{what}: {}", primary.log());
        assert_eq!(number(&mut primary.client(), "sync_partial_ok"), 1, "{what}: {}", primary.log());

        save_and_end(&mut replica);
        replica.change_places(&other);
        chance.write(&mut primary.client(), 3000);
        replica.start_again(&upstream);
        agree(&what, &mut primary.client(), &mut replica.client());
        assert_eq!(number(&mut primary.client(), "sync_full"), 0, "{what}: {}", primary.log());
    }
}

/// A replica that dies before the log of the data that it has taken up is whole still has what it had.
#[test]
fn a_log_is_whole_before_it_takes_the_place_of_another() {
    for by in ["redis", "shoal"] {
        let what = format!("{by} as replica");
        let (primary, mut replica) = (redis(), start(by));
        fill(&mut primary.client(), 300);
        let mut r = replica.client();
        assert_eq!(r.cmd("CONFIG SET appendonly yes").text(), "OK");
        fill(&mut r, 100);
        let rewritten = |r: &mut Client| {
            let calm = info(r, "aof_rewrite_in_progress") == "0" && info(r, "aof_rewrite_scheduled") == "0";
            (calm && info(r, "aof_enabled") == "1" && number(r, "aof_base_size") > 0).then_some(())
        };
        wait_for(PATIENCE, || rewritten(&mut r)).expect("a log with a base");
        let before = digest(&mut r);
        // a rewrite that takes its time
        assert_eq!(r.cmd("CONFIG SET rdb-key-save-delay 100000").text(), "OK");
        follow(&mut r, primary.port());
        wait_for(PATIENCE, || is_linked(&mut r)).expect("a link");
        agree(&what, &mut primary.client(), &mut r);
        let rewriting = |r: &mut Client| (info(r, "aof_rewrite_in_progress") == "1").then_some(());
        wait_for(PATIENCE, || rewriting(&mut r)).expect("a rewrite");
        replica.kill();
        replica.start_again(&["--appendonly", "yes"]);
        let mut r = replica.client();
        assert_eq!(digest(&mut r), before, "{what}");
        // and whole it takes its place
        follow(&mut r, primary.port());
        wait_for(PATIENCE, || is_linked(&mut r)).expect("a link");
        agree(&what, &mut primary.client(), &mut r);
        wait_for(PATIENCE, || rewritten(&mut r)).expect("a log with a base");
        primary.client().cmd("SET one more");
        agree(&what, &mut primary.client(), &mut r);
        std::thread::sleep(Duration::from_millis(1500));
        replica.kill();
        replica.start_again(&["--appendonly", "yes"]);
        assert_eq!(digest(&mut replica.client()), digest(&mut primary.client()), "{what}");
    }
}

/// A replica has replicas, is made the primary, and its former primary goes on as its replica, all
/// without another payload.
#[test]
fn roles_change_and_streams_go_on() {
    let (old, new, shoal_leaf, redis_leaf) = (redis(), shoal(), shoal(), redis());
    let mut clients = [&old, &new, &shoal_leaf, &redis_leaf].map(Server::client);
    let [o, n, s, r] = &mut clients;
    let mut chance = Chance::new(3);
    chance.write(o, 2000);
    follow(n, old.port());
    agree("the first replica", o, n);
    follow(s, new.port());
    follow(r, new.port());
    chance.write(o, 2000);
    agree("Shoal behind Shoal", o, s);
    agree("redis-server behind Shoal", o, r);
    assert_eq!(n.cmd("SET a b").text(), "READONLY You can't write against a read only replica.");
    let fulls = number(n, "sync_full");
    assert_eq!(n.cmd("REPLICAOF NO ONE").text(), "OK");
    chance.write(n, 2000);
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
    let mut chance = Chance::new(5);
    chance.write(&mut ca, 1000);
    follow(&mut cb, a.port());
    agree("before", &mut ca, &mut cb);
    for (from, to, what) in [(&a, &b, "to redis-server"), (&b, &a, "to Shoal")] {
        let (mut f, mut t) = (from.client(), to.client());
        let line = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 20000", to.port());
        chance.write(&mut f, 500);
        assert_eq!(f.cmd(&line).text(), "OK", "{what}");
        let done = |f: &mut Client, t: &mut Client| {
            (info(f, "role") == "slave" && info(t, "role") == "master").then_some(())
        };
        let swapped = wait_for(PATIENCE, || done(&mut f, &mut t));
        assert!(swapped.is_some(), "{what}: {} {}", from.log(), to.log());
        chance.write(&mut t, 500);
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

/// A replica leaves it to its primary which keys have to go, unless it is told not to.
#[test]
fn a_replica_evicts_only_when_it_is_told_to() {
    let primary = redis();
    let mut p = primary.client();
    let value = "x".repeat(1000);
    (0..3000).for_each(|n| drop(p.cmd(&format!("SET k{n} {value}"))));
    for by in ["redis", "shoal"] {
        for (ignores, all_there) in [("yes", true), ("no", false)] {
            let replica = start(by);
            let mut r = replica.client();
            let few = "CONFIG SET maxmemory 2500000 maxmemory-policy allkeys-random";
            assert_eq!(r.cmd(&format!("{few} replica-ignore-maxmemory {ignores}")).text(), "OK");
            follow(&mut r, primary.port());
            wait_for(PATIENCE, || is_linked(&mut r)).expect("a link");
            (0..300).for_each(|n| drop(p.cmd(&format!("SET k{n} again"))));
            assert_eq!(p.cmd("WAIT 1 5000").text(), "1");
            let same = |r: &mut Client| (r.cmd("DBSIZE").text() == "3000") == all_there;
            let seen = wait_for(PATIENCE, || same(&mut r).then_some(()));
            assert!(seen.is_some(), "{by}, replica-ignore-maxmemory {ignores}: {}", r.cmd("DBSIZE").text());
        }
    }
}

/// Tools that fetch a payload, in both forms.
#[test]
fn a_payload_is_a_file_that_others_read() {
    let server = shoal();
    let mut client = server.client();
    let mut chance = Chance::new(11);
    chance.write(&mut client, 3000);
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
    let mut chance = Chance::new(13);
    chance.write(&mut client, 500);
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
