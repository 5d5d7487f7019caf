//! Scripts and functions from outside: what replicas and logs get of them, and scripts that run away.

mod common;

use common::client::Client;
use common::replicas::{MORE, agree, follow, is_linked};
use common::server::{Server, Shape};
use common::wait_for;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

const LIBRARY: &str = "#!lua name=lib\nredis.register_function('put', function(keys, args)\n\
                       return redis.call('set', keys[1], args[1]) end)";

/// Scripts that write, by chance and by time among others.
fn write(client: &mut Client) {
    let scripts = [
        "return redis.call('set', KEYS[1], ARGV[1])",
        "for i = 1, 10 do redis.call('incr', KEYS[1] .. 'n') end return 1",
        "redis.call('sadd', KEYS[1] .. 's', 1, 2, 3, 4, 5) return redis.call('spop', KEYS[1] .. 's', 2)",
        "return redis.call('set', KEYS[1] .. 'x', 'x', 'ex', 1000)",
        "redis.call('rpush', KEYS[1] .. 'l', math.random(1000), redis.call('time')[1]) return 1",
        "redis.call('set', KEYS[1] .. 'e', 1) return redis.call('none')",
        "return redis.pcall('lpush', KEYS[1], 1)",
    ];
    for (n, script) in scripts.iter().enumerate() {
        let reply = client.call(&["EVAL", script, "1", "{t}k", "v"]).expect("a reply");
        let failed = reply.raw.first() == Some(&b'-');
        assert_eq!(failed, n >= 5, "{script}: {}", reply.text());
    }
    assert_eq!(client.call(&["FCALL", "put", "1", "{t}f", "by a function"]).expect("a reply").text(), "OK");
}

fn load(client: &mut Client) {
    assert_eq!(client.call(&["FUNCTION", "LOAD", "REPLACE", LIBRARY]).expect("a reply").text(), "lib");
}

fn functions(client: &mut Client) -> String {
    client.cmd("FUNCTION LIST WITHCODE").text()
}

fn one(kind: &str) -> Server {
    match kind {
        "redis" => Server::redis_with(Shape::Standalone(1), &MORE),
        _ => Server::shoal(Shape::Standalone(1), &MORE),
    }
}

#[test]
fn replicas_get_what_scripts_did_and_libraries_themselves() {
    for (of, by) in [("shoal", "redis"), ("redis", "shoal"), ("shoal", "shoal")] {
        let what = format!("{by} of {of}");
        let (primary, replica) = (one(of), one(by));
        let (mut p, mut r) = (primary.client(), replica.client());
        // one library comes with the data, the other with the stream
        let early = "#!lua name=early\nredis.register_function('early', function() return 'early' end)";
        p.call(&["FUNCTION", "LOAD", early]).expect("a reply");
        follow(&mut r, primary.port());
        assert!(wait_for(PATIENCE, || is_linked(&mut r)).is_some(), "{what}: {}", replica.log());
        load(&mut p);
        write(&mut p);
        agree(&what, &mut p, &mut r);
        assert_eq!(r.cmd("FCALL_RO early 0").text().contains("write flag"), true, "{what}");
        for name in ["early", "lib"] {
            let list = |c: &mut Client| c.cmd(&format!("FUNCTION LIST LIBRARYNAME {name} WITHCODE")).raw;
            assert_eq!(list(&mut p), list(&mut r), "{what}");
        }
        assert_eq!(p.cmd("FUNCTION DELETE early").text(), "OK");
        let gone = || (!functions(&mut r).contains("early")).then_some(());
        assert!(wait_for(PATIENCE, gone).is_some(), "{what}");
        let error =
            r.call(&["EVAL", "return redis.call('set', KEYS[1], 1)", "1", "a"]).expect("a reply").text();
        assert!(error.contains("READONLY"), "{what}: {error}");
    }
}

#[test]
fn libraries_and_effects_outlive_a_restart() {
    for shards in [1, 2] {
        for more in [&["--appendonly", "yes"][..], &["--save", "3600 1"]] {
            let more: Vec<&str> = more.iter().chain(&["--enable-debug-command", "yes"]).copied().collect();
            let mut server = Server::shoal(Shape::Standalone(shards), &more);
            let mut client = server.client();
            load(&mut client);
            write(&mut client);
            let before = (client.cmd("DEBUG DIGEST").text(), functions(&mut client));
            assert!(server.terminate().success());
            server.start_again(&[]);
            let mut client = server.client();
            let after = (client.cmd("DEBUG DIGEST").text(), functions(&mut client));
            assert_eq!(before, after, "{shards} shards, {more:?}");
            assert_eq!(client.cmd("FCALL put 1 {t}k again").text(), "OK");
        }
    }
}

#[test]
fn scripts_that_run_away_end_with_an_error() {
    let mut server = Server::shoal(Shape::Standalone(1), &[]);
    let mut client = server.client();
    for (script, want) in [
        ("local function f() return f() + 1 end return f()", "stack overflow"),
        ("return string.rep('x', 2000000000)", "not enough memory"),
        ("local t = {} while true do t = {t} end return t", "not enough memory"),
        ("local t = {} for i = 1, 100000 do t = {t} end return t", "reached lua stack limit"),
        ("local t = {} for i = 1, 100000 do t = {t} end return cjson.encode(t)", "excessive nesting"),
        ("return cmsgpack.unpack(string.rep(string.char(0x91), 1000000))", "stack overflow"),
        ("error(setmetatable({}, {__tostring = function() error('x') end}))", "ERR"),
    ] {
        client.send(&common::resp::encode(&["EVAL", script, "0"])).expect("a server that listens");
        let reply = client.read_within(PATIENCE).expect("a reply");
        let text = String::from_utf8_lossy(&reply.raw).into_owned();
        assert!(text.contains(want), "{script}: {}", common::show(&reply.raw));
        assert_eq!(client.cmd("PING").text(), "PONG", "after {script}");
    }
    assert!(server.alive());
}

/// Another shard of the host ends a script, unless it has written; who needs the shard meanwhile is told.
#[test]
fn a_busy_script_is_killed_from_another_shard() {
    let server = Server::shoal(Shape::Host(2), &["--busy-reply-threshold", "50"]);
    let kill = |script: &str| -> (String, Client) {
        let mut busy = server.own_client(0);
        busy.send(&common::resp::encode(&["EVAL", script, "1", "{06S}"])).expect("a server that listens");
        let mut other = server.own_client(1);
        let said = wait_for(PATIENCE, || {
            let said = other.cmd("SCRIPT KILL").text();
            (!said.contains("NOTBUSY")).then_some(said)
        });
        (said.expect("a script that runs"), busy)
    };
    let (said, mut busy) = kill("while true do end");
    assert_eq!(said, "OK");
    let error = busy.read_within(PATIENCE).expect("a reply").text();
    assert!(error.contains("Script killed by user with SCRIPT KILL..."), "{error}");
    assert_eq!(busy.cmd("PING").text(), "PONG");
    let ends = "redis.call('set', KEYS[1], 1) for i = 1, 1e9 do end return 1";
    let (said, mut busy) = kill(ends);
    assert!(said.contains("UNKILLABLE"), "{said}");
    assert_eq!(busy.read_within(PATIENCE).expect("a reply").text(), "1");
}
