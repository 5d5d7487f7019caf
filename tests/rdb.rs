//! RDB files between Shoal, the real redis-server and its tools; starts from them, and ends with them.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::client::Client;
use common::server::{Server, Shape, TempDir, run, shoal_bin, stand_in};
use common::wait_for;

const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

fn args<'a>(dir: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let dir = dir.to_str().expect("a path of letters");
    [&DEBUG[..], &["--dir", dir], more].concat()
}

fn shoal(dir: &TempDir, shards: usize, more: &[&str]) -> Server {
    Server::shoal(Shape::Standalone(shards), &args(&dir.0, more))
}

fn redis(dir: &TempDir) -> Server {
    Server::redis_with(Shape::Standalone(1), &args(&dir.0, &["--save", ""]))
}

fn digest(client: &mut Client) -> String {
    client.cmd("DEBUG DIGEST").text()
}

fn ok(client: &mut Client, line: &str) {
    assert_eq!(client.cmd(line).text(), "OK", "{line}");
}

/// Keys of every type and encoding, most of them small, some with a time to live.
fn fill(client: &mut Client) {
    for i in 0..2000 {
        client.cmd(&format!("SET string:{i} value:{i}"));
    }
    client.cmd("SET number 12345");
    client.cmd("SET long 12345678901234");
    client.cmd("SET mortal v PXAT 99999999999999");
    let text = "x".repeat(5000);
    client.cmd(&format!("SET large {text}"));
    for i in 0..1000 {
        client.cmd(&format!("RPUSH list e{i} {i}"));
        client.cmd(&format!("SADD set m{i}"));
        client.cmd(&format!("HSET hash f{i} {i}"));
        client.cmd(&format!("ZADD zset {i}.5 m{i}"));
    }
    for line in ["RPUSH small a 1", "SADD ints 1 2 70000", "HSET flat f v", "ZADD few 1 a 2.5 b -inf c"] {
        client.cmd(line);
    }
    client.cmd(&format!("RPUSH big {text} small"));
    client.cmd("PEXPIREAT hash 99999999999999");
}

fn check_rdb(dir: &TempDir, file: &str) -> String {
    let output = run(Command::new("redis-check-rdb").arg(dir.0.join(file)));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("RDB looks OK"), "{said}");
    said
}

#[test]
fn files_go_both_ways() {
    let dir = TempDir::new();
    let want = {
        let server = shoal(&dir, 1, &[]);
        let mut client = server.client();
        fill(&mut client);
        client.cmd("SELECT 3");
        client.cmd("SET other 1");
        ok(&mut client, "SAVE");
        digest(&mut client)
    };
    let said = check_rdb(&dir, "dump.rdb");
    assert!(said.contains("2014 keys read") || stand_in(), "{said}");
    {
        let server = redis(&dir);
        let mut client = server.client();
        assert_eq!(digest(&mut client), want, "redis-server from our file");
        // its own file, with an access time to each key
        ok(&mut client, "CONFIG SET maxmemory-policy allkeys-lru");
        ok(&mut client, "SAVE");
    }
    let server = shoal(&dir, 1, &["--maxmemory-policy", "allkeys-lru"]);
    let mut client = server.client();
    assert_eq!(digest(&mut client), want, "Shoal from redis-server's file");
    assert_eq!(client.cmd("PEXPIRETIME mortal").int(), 99_999_999_999_999);
    ok(&mut client, "DEBUG RELOAD");
    assert_eq!(digest(&mut client), want, "reloaded");
    assert!(client.cmd("LASTSAVE").int() > 1_600_000_000);
    for policy in ["allkeys-lfu", "noeviction"] {
        ok(&mut client, &format!("CONFIG SET maxmemory-policy {policy}"));
        for compression in ["no", "yes"] {
            ok(&mut client, &format!("CONFIG SET rdbcompression {compression}"));
            ok(&mut client, "SAVE");
            check_rdb(&dir, "dump.rdb");
            ok(&mut client, "DEBUG RELOAD NOSAVE");
            assert_eq!(digest(&mut client), want, "{policy}, compression: {compression}");
        }
    }
}

/// A redis-server's file, then more and fewer shards, each killed after a save.
#[test]
fn any_number_of_shards_starts_from_what_is_there() {
    if stand_in() {
        // it has one shard
        return;
    }
    let dir = TempDir::new();
    let mut want = {
        let server = redis(&dir);
        let mut client = server.client();
        fill(&mut client);
        ok(&mut client, "SAVE");
        digest(&mut client)
    };
    for (round, shards) in [2, 3, 1, 2].into_iter().enumerate() {
        let server = shoal(&dir, shards, &[]);
        let mut client = server.client();
        assert_eq!(digest(&mut client), want, "{shards} shards in round {round}");
        client.cmd("DEL string:0 list");
        client.cmd(&format!("SET round:{round} {shards}"));
        ok(&mut client, "SAVE");
        want = digest(&mut client);
        ok(&mut client, "DEBUG RELOAD");
        assert_eq!(digest(&mut client), want);
        client.cmd("SET lost v");
    }
    for file in ["dump.rdb", "dump-0.rdb", "dump-1.rdb", "dump-2.rdb"] {
        check_rdb(&dir, file);
    }
}

/// Every node of a cluster saves for itself, and starts with its own.
#[test]
fn nodes_save_each_for_itself() {
    if stand_in() {
        return;
    }
    let dir = TempDir::new();
    let mut names = Vec::new();
    let want = {
        let server = Server::shoal(Shape::Host(2), &args(&dir.0, &[]));
        let mut front = server.client();
        fill(&mut front);
        ok(&mut front, "SAVE");
        front.cmd("SET kept 1");
        ok(&mut server.own_client(0), "SAVE");
        ok(&mut server.own_client(1), "SAVE");
        names.extend((0..2).map(|shard| format!("dump-{}.rdb", server.own_port(shard))));
        digest(&mut front)
    };
    names.iter().for_each(|name| drop(check_rdb(&dir, name)));
    // other ports, as these may be in use: nodes.conf is another's then, and the files are found by name
    let _ = std::fs::remove_file(dir.0.join("nodes.conf"));
    let server = Server::shoal(Shape::Host(2), &args(&dir.0, &[]));
    assert_eq!(digest(&mut server.client()), want);
}

#[test]
fn an_end_saves_when_it_is_to() {
    // what stands in the configuration, how it ends, whether the data is there again
    for (save, end, kept) in [
        ("3600 1", "SHUTDOWN", true),
        ("3600 1", "SHUTDOWN NOSAVE", false),
        ("3600 1", "SIGTERM", true),
        ("", "SHUTDOWN", false),
        ("", "SHUTDOWN SAVE", true),
        ("", "SIGTERM", false),
    ] {
        let dir = TempDir::new();
        let shards = if stand_in() { 1 } else { 2 };
        let mut server = shoal(&dir, shards, &["--save", save]);
        let mut client = server.client();
        client.cmd("MSET a 1 b 2 c 3");
        let status = match end {
            "SIGTERM" => server.terminate(),
            command => {
                client.send(format!("{command}\r\n").as_bytes()).expect("a connection");
                let ended =
                    wait_for(Duration::from_secs(20), || server.child.try_wait().expect("a child's state"));
                ended.unwrap_or_else(|| panic!("{command} has no effect"))
            }
        };
        assert!(status.success(), "{end}: {status}");
        drop(server);
        let server = shoal(&dir, shards, &[]);
        let there = server.client().cmd("EXISTS a b c").int();
        assert_eq!(there, if kept { 3 } else { 0 }, "save {save:?}, {end}");
        let temporary = std::fs::read_dir(&dir.0).expect("a folder").flatten();
        let left = temporary.filter(|e| e.file_name().to_string_lossy().starts_with("temp-")).count();
        assert_eq!(left, 0, "temporary files are left");
    }
}

/// Where the file can't be written, SAVE fails, and SHUTDOWN does not end the server unless forced.
#[test]
fn a_failed_save_ends_nothing() {
    let dir = TempDir::new();
    let mut server = shoal(&dir, 1, &["--save", "3600 1"]);
    let mut client = server.client();
    client.cmd("SET a 1");
    // a folder has the name of the file: so it fails for root, too
    std::fs::create_dir(dir.0.join("dump.rdb")).expect("a folder");
    assert_eq!(client.cmd("SAVE").text(), "ERR");
    assert_eq!(client.cmd("SHUTDOWN").text(), "ERR Errors trying to SHUTDOWN. Check logs.");
    assert_eq!(client.cmd("GET a").text(), "1");
    assert!(server.alive());
    client.send(b"SHUTDOWN FORCE\r\n").expect("a connection");
    let ended = wait_for(Duration::from_secs(20), || server.child.try_wait().expect("a child's state"));
    assert!(ended.is_some_and(|status| status.success()));
}

/// A broken file stops the start, with its name and the place.
#[test]
fn broken_files_are_refused() {
    if stand_in() {
        return;
    }
    let dir = TempDir::new();
    {
        let server = redis(&dir);
        let mut client = server.client();
        fill(&mut client);
        ok(&mut client, "SAVE");
    }
    let path = dir.0.join("dump.rdb");
    let good = std::fs::read(&path).expect("a file");
    let start = || {
        let mut command = Command::new(shoal_bin());
        command.args(["--cluster-enabled", "no", "--port", "0", "--unixsocket"]).arg(dir.0.join("socket"));
        let output = run(command.arg("--dir").arg(&dir.0));
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let middle = good.len() / 2;
    let mut flipped = good.clone();
    flipped[middle] ^= 0x10;
    for (what, bytes) in
        [("half of it", &good[..middle]), ("a changed byte", &flipped), ("noise", b"no RDB file")]
    {
        std::fs::write(&path, bytes).expect("a file");
        let (started, said) = start();
        assert!(!started && said.contains("dump.rdb") && said.contains("at offset"), "{what}: {said}");
        let output = run(Command::new(shoal_bin()).arg("--check-rdb").arg(&path));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && said.contains("[offset "), "{what}: {said}");
    }
    std::fs::write(&path, &good).expect("a file");
    let output = run(Command::new(shoal_bin()).arg("--check-rdb").arg(&path));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("RDB looks OK") && said.contains("keys read"), "{said}");
}
