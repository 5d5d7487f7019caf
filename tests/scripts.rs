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
        let error = r.cmd("FCALL_RO early 0").text();
        assert!(error.contains("READONLY"), "{what}: {error}");
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

const RUNS_ON: &str = "while true do end";
const WRITES_AND_RUNS_ON: &str = "redis.call('set', KEYS[1], 1) while true do end";
const BUSY_LIBRARY: &str = "#!lua name=busy\n\
    redis.register_function{function_name='on', callback=function() while true do end end, flags={'no-writes'}}";

/// What a busy server says to a client: PING's error tells that it is busy. What is received together with the
/// script waits for its end, so some time has to pass.
fn heard(client: &mut Client, commands: &[&str]) -> Vec<String> {
    std::thread::sleep(Duration::from_millis(300));
    let busy = wait_for(PATIENCE, || client.cmd("PING").text().contains("BUSY").then_some(()));
    assert!(busy.is_some(), "nobody is told that a script runs");
    commands.iter().map(|command| client.cmd(command).text()).collect()
}

/// Clients of the very shard whose script runs on are told, whether they were there or come, and may end it.
#[test]
fn a_busy_server_answers_as_redis_does() {
    let servers = [
        Server::redis_with(Shape::Standalone(1), &["--busy-reply-threshold", "50"]),
        Server::shoal(Shape::Standalone(1), &["--busy-reply-threshold", "50"]),
    ];
    let told = servers.each_ref().map(|server| {
        let (mut early, mut busy) = (server.client(), server.client());
        assert_eq!(busy.call(&["FUNCTION", "LOAD", BUSY_LIBRARY]).expect("a reply").text(), "busy");
        busy.send(&common::resp::encode(&["EVAL", RUNS_ON, "0"])).expect("a server that listens");
        let mut told = heard(&mut early, &["GET a", "MULTI", "SET a 1", "EXEC", "WATCH a", "SHUTDOWN SAVE"]);
        let mut late = server.client();
        let rest = ["PING", "NONE", "HELLO 9", "FUNCTION STATS", "FUNCTION KILL", "SCRIPT KILL"];
        told.extend(heard(&mut late, &rest));
        told.push(busy.read_within(PATIENCE).expect("a reply").text());
        told.extend([&mut early, &mut late, &mut busy].map(|client| client.cmd("PING").text()));
        // of a function, which is not ended by SCRIPT KILL
        busy.send(&common::resp::encode(&["FCALL", "on", "1", "k", "word"])).expect("a server that listens");
        told.extend(heard(&mut early, &["SCRIPT KILL"]));
        let stats = late.cmd("FUNCTION STATS").text();
        told.push(stats.split("duration_ms").next().unwrap_or_default().to_owned());
        told.push(late.cmd("FUNCTION KILL").text());
        told.push(busy.read_within(PATIENCE).expect("a reply").text());
        told.extend([&mut early, &mut late, &mut busy].map(|client| client.cmd("PING").text()));
        told
    });
    assert_eq!(told[1], told[0]);
}

/// A pipeline that comes while a script runs is answered in order, and none of it is lost.
#[test]
fn what_comes_while_a_script_runs_is_answered_in_order() {
    let server = Server::shoal(Shape::Standalone(1), &["--busy-reply-threshold", "50"]);
    let (mut busy, mut other, mut long) = (server.client(), server.client(), server.client());
    busy.send(&common::resp::encode(&["EVAL", RUNS_ON, "0"])).expect("a server that listens");
    heard(&mut other, &[]);
    let value = "x".repeat(1 << 20);
    let set = common::resp::encode(&["SET", "k", &value]);
    long.send(&set).expect("a server that listens");
    let pings: Vec<u8> = (0..5000).flat_map(|_| common::resp::encode(&["PING"])).collect();
    other.send(&pings).expect("a server that listens");
    other.send(&common::resp::encode(&["SCRIPT", "KILL"])).expect("a server that listens");
    let mut refused = 0;
    for _ in 0..5000 {
        refused += usize::from(other.read_within(PATIENCE).expect("a reply").text().contains("BUSY"));
    }
    assert!(refused > 0);
    assert_eq!(other.read_within(PATIENCE).expect("a reply").text(), "OK");
    assert!(busy.read_within(PATIENCE).expect("a reply").text().contains("killed by user"));
    let said = long.read_within(PATIENCE).expect("a reply").text();
    assert!(said == "OK" || said.contains("BUSY"), "{said}");
    assert_eq!(long.call(&["SET", "k", &value]).expect("a reply").text(), "OK");
    assert_eq!(other.cmd("STRLEN k").text(), (1 << 20).to_string());
}

/// SHUTDOWN NOSAVE ends a script that has written, too, and the log has nothing of what it did.
#[test]
fn a_script_that_has_written_ends_with_the_server() {
    let more = ["--busy-reply-threshold", "50", "--appendonly", "yes"];
    let mut server = Server::shoal(Shape::Standalone(1), &more);
    let (mut busy, mut other) = (server.client(), server.client());
    assert_eq!(other.cmd("SET before 1").text(), "OK");
    busy.send(&common::resp::encode(&["EVAL", WRITES_AND_RUNS_ON, "1", "k"])).expect("a server that listens");
    let said = heard(&mut other, &["SCRIPT KILL"]);
    assert!(said[0].contains("UNKILLABLE"), "{said:?}");
    other.send(&common::resp::encode(&["SHUTDOWN", "NOSAVE"])).expect("a server that listens");
    assert!(wait_for(PATIENCE, || (!server.alive()).then_some(())).is_some(), "it goes on");
    server.start_again(&[]);
    assert_eq!(server.client().cmd("EXISTS before k").text(), "1");
}

/// What a client hears that has given the first commands, when these are given: by another client, or `itself`.
fn hears(server: &Server, first: &[&[&str]], then: &[&[&str]], itself: bool) -> String {
    let (mut listener, mut other) = (server.client(), server.client());
    other.cmd("FLUSHALL");
    first.iter().for_each(|command| drop(listener.call(command).expect("a reply")));
    for command in then {
        match itself {
            true => listener.send(&common::resp::encode(command)).expect("a server that listens"),
            false => drop(other.call(command).expect("a reply")),
        }
    }
    let (bytes, _) = listener.drain(Duration::from_millis(300));
    let lines = String::from_utf8_lossy(&bytes).into_owned();
    // a monitor's lines begin with the time, and tell the client's port
    let plain = |line: &str| match line.split_once(" [0 ") {
        Some((_, rest)) => {
            rest.trim_start_matches(|c: char| c.is_ascii_digit() || ".:".contains(c)).to_owned()
        }
        None => line.to_owned(),
    };
    lines.lines().map(plain).collect::<Vec<_>>().join("\n")
}

#[test]
fn others_hear_of_scripts_as_with_redis() {
    let servers = [Server::redis_with(Shape::Standalone(1), &[]), Server::shoal(Shape::Standalone(1), &[])];
    let get: &'static [&'static str] = &["EVAL", "return redis.call('get', KEYS[1])", "2", "k", "l"];
    let get_ro: &'static [&'static str] = &["EVAL_RO", "return redis.call('get', 'other')", "1", "k"];
    let no_read: &'static [&'static str] = &["EVAL_RO", "return 1", "1", "k"];
    let set: &'static [&'static str] =
        &["EVAL", "redis.call('set', KEYS[1], 1) return redis.call('incr', KEYS[1])", "1", "k"];
    let both: &'static [&'static str] =
        &["EVAL", "redis.call('get', KEYS[1]) return redis.call('set', KEYS[1], 1)", "1", "k"];
    let publish: &'static [&'static str] = &["EVAL", "return redis.call('publish', 'c', 'm')", "0"];
    let fails: &'static [&'static str] = &["EVAL", "return redis.call('incr', KEYS[1], 1)", "1", "k"];
    let set_l: &'static [&'static str] = &["SET", "l", "1"];
    let tracks: &'static [&'static [&'static str]] = &[&["HELLO", "3"], &["CLIENT", "TRACKING", "ON"]];
    let no_loop: &'static [&'static [&'static str]] =
        &[&["HELLO", "3"], &["CLIENT", "TRACKING", "ON", "NOLOOP"]];
    let events: &'static [&'static [&'static str]] =
        &[&["CONFIG", "SET", "notify-keyspace-events", "KEA"], &["PSUBSCRIBE", "__key*__:*"]];
    let with = |first: &[&'static [&'static str]], command: &'static [&'static str]| {
        let mut all = first.to_vec();
        all.push(command);
        all
    };
    for (what, first, then, itself) in [
        ("monitor", vec![&["MONITOR"][..]], vec![get, get_ro, no_read, set, publish, fails], false),
        ("events", events.to_vec(), vec![get, set, both, fails], false),
        ("copies", with(tracks, get), vec![set_l, set], false),
        ("copies, what was not read", with(tracks, get_ro), vec![set], false),
        ("copies, nothing was read", with(tracks, no_read), vec![set], false),
        ("copies, own write", with(tracks, get), vec![set, &["PING"]], true),
        ("copies, own write of what is read", tracks.to_vec(), vec![both, both, &["PING"]], true),
        ("copies, no loop", with(no_loop, get), vec![set, both, &["PING"]], true),
        ("copies, in a transaction", tracks.to_vec(), vec![&["MULTI"], get, set, &["EXEC"], &["PING"]], true),
    ] {
        let [redis, shoal] = servers.each_ref().map(|server| hears(server, &first, &then, itself));
        assert_eq!(shoal, redis, "{what}");
        assert!(!redis.is_empty() || what.contains("nothing"), "{what}");
    }
}
