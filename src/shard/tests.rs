//! Shards driven without sockets: bytes in, replies out, mail carried by hand.

mod blocked;
mod copies;
mod handoff;
mod landing;
mod long;
mod moving;
mod reading;
mod replication;
mod serial;
mod transact;
mod visits;

use super::{Input, Now, Setup, Shard, Ticks};
use crate::cluster::view::{Node, View, even_share};
use crate::command::host::{Files, Host};
use crate::resp::parse::split_words;
use crate::session::Door;
use crate::store::Hasher;
use std::cell::Cell;
use std::sync::Arc;

/// A host of shards without threads.
pub struct Rig {
    pub host: Arc<Host>,
    pub shards: Vec<Shard>,
    pub now: Now,
    next_port: u16,
}

/// A client of one of the shards.
#[derive(Clone, Copy)]
pub struct Client {
    shard: usize,
    number: u32,
}

thread_local! {
    /// What the next reading of the ticks answers, and how many each reading adds.
    static TICKS: Cell<(u64, u64)> = const { Cell::new((0, 1)) };
}

fn read_ticks() -> u64 {
    TICKS.with(|t| {
        let (now, step) = t.get();
        t.set((now + step, step));
        now
    })
}

/// From now on each command takes this many ticks: microseconds.
pub fn commands_take(ticks: u64) {
    TICKS.with(|t| t.set((t.get().0, ticks)));
}

impl Client {
    pub fn number(self) -> u32 {
        self.number
    }
}

impl Rig {
    pub fn new(shards: usize, cluster: bool) -> Rig {
        Rig::with(shards, cluster, |_| ())
    }

    /// `change` sees the host before the shards do.
    pub fn with(shards: usize, cluster: bool, change: impl FnOnce(&mut Host)) -> Rig {
        let mut host = Host::for_tests(shards, Shard::COMMANDS);
        host.cluster = cluster;
        change(&mut host);
        let host = Arc::new(host);
        let node = |i: usize| Node {
            id: [b'a' + i as u8; 40],
            ip: String::new(),
            hostname: String::new(),
            port: 7000 + i as u16,
            bus_port: 17000 + i as u16,
            config_epoch: i as u64 + 1,
            local: Some(i as u16),
            ..Node::default()
        };
        let owner = |slot| (0..shards).find(|&i| slot <= even_share(i, shards).1).unwrap() as u16;
        let view = Arc::new(View::new(1, shards as u64, (0..shards).map(node).collect(), owner));
        let shard = |me| {
            let ticks = Ticks { read: read_ticks, per_us: 1.0 };
            let (host, view) = (host.clone(), view.clone());
            let databases = if cluster { 1 } else { 16 };
            Shard::new(Setup { me, shards, host, view, hasher: Hasher::new(1), databases, seed: 1, ticks })
        };
        let now = Now { unix_us: 1_700_000_000_000_000 };
        let shards = (0..shards).map(shard).collect();
        Rig { host, shards, now, next_port: 50_000 }
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now.unix_us += ms * 1000;
    }

    pub fn connect(&mut self, shard: usize, door: Door) -> Client {
        self.next_port += 1;
        let addr = format!("10.0.0.1:{}", self.next_port);
        let number = self.shards[shard].open(door, addr, "10.0.0.9:6379".into(), 9, self.now).unwrap();
        Client { shard, number }
    }

    /// Sends bytes and answers what came back, once all mail is delivered.
    pub fn send(&mut self, client: Client, bytes: &[u8]) -> String {
        self.shards[client.shard].turn(&mut [Input::new(client.number, bytes)], self.now);
        self.settle();
        self.output(client)
    }

    /// Sends a line of words as a command; `\r\n` of the reply is shown as `|`.
    pub fn run(&mut self, client: Client, line: &str) -> String {
        let (mut spans, mut words) = (Vec::new(), Vec::new());
        assert!(split_words(line.as_bytes(), &mut spans, &mut words), "unbalanced quotes: {line}");
        let mut bytes = format!("*{}\r\n", spans.len()).into_bytes();
        for s in &spans {
            let word = &words[s.start as usize..(s.start + s.len) as usize];
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.send(client, &bytes).replace("\r\n", "|")
    }

    pub fn check(&mut self, client: Client, cases: &[(&str, &str)]) {
        for (line, want) in cases {
            let got = self.run(client, line);
            assert_eq!(got, *want, "{line}");
        }
    }

    /// Lets every shard's timers run.
    pub fn tick(&mut self) {
        for shard in &mut self.shards {
            shard.tick(self.now);
        }
        self.settle();
    }

    /// Carries mail until there is none.
    pub fn settle(&mut self) {
        loop {
            let mut mail = Vec::new();
            for (from, shard) in self.shards.iter_mut().enumerate() {
                mail.extend(shard.take_mail().map(|(to, m)| (from, to, m)));
            }
            if mail.is_empty() {
                return;
            }
            for (from, to, m) in mail {
                self.shards[to].mail(from, m, self.now);
            }
        }
    }

    pub fn output(&mut self, client: Client) -> String {
        let mut out = Vec::new();
        let shard = &mut self.shards[client.shard];
        if shard.take_output(client.number, &mut out) {
            shard.sent(client.number);
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Whether the client is to be closed.
    pub fn is_done(&mut self, client: Client) -> bool {
        self.shards[client.shard].is_done(client.number)
    }
}

const HELLO_3: &str = "%7|$6|server|$5|redis|$7|version|$6|7.0.15|$5|proto|:3|$2|id|:1|$4|mode|$10|standalone|\
                       $4|role|$6|master|$7|modules|*0|";

#[test]
fn hello_and_auth() {
    let mut rig = Rig::new(1, false);
    let c = rig.connect(0, Door::Own);
    rig.check(
        c,
        &[
            ("HELLO 4", "-NOPROTO unsupported protocol version|"),
            ("HELLO abc", "-ERR Protocol version is not an integer or out of range|"),
            ("HELLO 3 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'|"),
            (
                "HELLO 3 SETNAME \"a b\"",
                "-ERR Client names cannot contain spaces, newlines or special characters.|",
            ),
            ("HELLO 3 AUTH nouser x", "-WRONGPASS invalid username-password pair or user is disabled.|"),
            ("CLIENT GETNAME", "$-1|"),
            ("HELLO 3 AUTH default any SETNAME me", HELLO_3),
            ("CLIENT GETNAME", "$2|me|"),
            ("RESET", "+RESET|"),
            ("CLIENT GETNAME", "$-1|"),
            ("AUTH a b c", "-ERR syntax error|"),
        ],
    );
    assert!(rig.run(c, "AUTH pass").starts_with("-ERR AUTH <password> called without any password"));
    rig.check(c, &[("CONFIG SET requirepass secret", "+OK|"), ("PING", "+PONG|"), ("RESET", "+RESET|")]);
    rig.check(
        c,
        &[
            ("PING", "-NOAUTH Authentication required.|"),
            ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.|"),
            ("AUTH other secret", "-WRONGPASS invalid username-password pair or user is disabled.|"),
            ("AUTH secret", "+OK|"),
            ("PING", "+PONG|"),
        ],
    );
    let d = rig.connect(0, Door::Own);
    assert!(rig.run(d, "HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    let e = rig.connect(0, Door::Own);
    let large = format!("AUTH secret\r\n*11\r\n$6\r\nEXISTS\r\n{}", "$1\r\nk\r\n".repeat(10));
    assert_eq!(rig.send(e, large.as_bytes()), "+OK\r\n:0\r\n");
    rig.check(d, &[("HELLO 3 AUTH default secret", &HELLO_3.replace("|:1|", "|:2|"))]);
}

#[test]
fn replies_off_and_skipped() {
    let mut rig = Rig::new(1, false);
    let c = rig.connect(0, Door::Own);
    for (sent, want) in [
        ("CLIENT REPLY OFF\r\nPING\r\nNOSUCH\r\nCLIENT REPLY ON\r\nPING\r\n", "+OK\r\n+PONG\r\n"),
        ("CLIENT REPLY SKIP\r\nPING\r\nECHO two\r\n", "$3\r\ntwo\r\n"),
        ("CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\nECHO two\r\n", "$3\r\ntwo\r\n"),
        ("CLIENT REPLY OFF\r\nCLIENT REPLY SKIP\r\nPING\r\nPING\r\nRESET\r\nPING\r\n", "+RESET\r\n+PONG\r\n"),
        ("CLIENT REPLY MAYBE\r\n", "-ERR syntax error\r\n"),
        ("PING\r\nQUIT\r\nPING\r\n", "+PONG\r\n+OK\r\n"),
    ] {
        assert_eq!(rig.send(c, sent.as_bytes()), want, "{sent}");
    }
    assert!(rig.is_done(c));
}

#[test]
fn lists_and_kills_clients_of_all_shards() {
    let mut rig = Rig::new(2, false);
    let (a, b) = (rig.connect(0, Door::Front), rig.connect(1, Door::Front));
    rig.run(b, "CLIENT SETNAME bee");
    rig.pass_ms(2500);
    let list = rig.run(a, "CLIENT LIST");
    let (mine, theirs) = list.trim_end_matches('|').split_once('\n').unwrap();
    assert!(
        mine.contains("id=1 addr=10.0.0.1:50001 laddr=10.0.0.9:6379 fd=9 name= age=2 idle=0 flags=N db=0")
    );
    assert!(mine.contains(" multi=-1 qbuf=26 qbuf-free=0 argv-mem=10 multi-mem=0 "), "{mine}");
    assert!(
        mine.contains(" events=r cmd=client|list user=default redir=-1 resp=2 lib-name= lib-ver="),
        "{mine}"
    );
    assert!(
        theirs.contains("id=2 addr=10.0.0.1:50002") && theirs.contains(" name=bee age=2 idle=2 "),
        "{theirs}"
    );
    assert!(rig.run(a, "CLIENT LIST ID 2").contains(" name=bee "));
    assert!(rig.run(a, "CLIENT INFO").contains(" cmd=client|info "));
    rig.check(
        a,
        &[
            ("CLIENT LIST TYPE pubsub", "$0||"),
            ("CLIENT LIST TYPE x", "-ERR Unknown client type 'x'|"),
            ("CLIENT LIST ID x", "-ERR Invalid client ID|"),
            ("CLIENT LIST ID", "-ERR syntax error|"),
            ("CLIENT KILL 10.0.0.1:9", "-ERR No such client|"),
            ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0|"),
            ("CLIENT KILL USER nobody", "-ERR No such user 'nobody'|"),
            ("CLIENT KILL ID 5 ADDR", "-ERR syntax error|"),
            ("CLIENT KILL MAXAGE 3", ":0|"),
            ("CLIENT KILL LADDR 10.0.0.9:6379 MAXAGE 2", ":1|"),
        ],
    );
    assert!(rig.is_done(b) && !rig.is_done(a));
    let b = rig.connect(1, Door::Front);
    assert_eq!(rig.run(a, "CLIENT KILL 10.0.0.1:50003"), "+OK|");
    assert!(rig.is_done(b));
    assert_eq!(rig.run(a, "CLIENT KILL TYPE normal SKIPME no USER default"), ":1|");
    assert!(rig.is_done(a));
}

#[test]
fn pauses_all_shards() {
    let mut rig = Rig::new(2, false);
    let (a, b) = (rig.connect(0, Door::Front), rig.connect(1, Door::Front));
    rig.check(
        a,
        &[
            ("CLIENT PAUSE abc", "-ERR timeout is not an integer or out of range|"),
            ("CLIENT PAUSE -1", "-ERR timeout is negative|"),
            ("CLIENT PAUSE 1 MAYBE", "-ERR CLIENT PAUSE mode must be WRITE or ALL|"),
            ("CLIENT PAUSE 0", "+OK|"),
            ("PING", "+PONG|"),
            ("CLIENT PAUSE 1000 WRITE", "+OK|"),
            ("PING", "+PONG|"),
        ],
    );
    assert_eq!(rig.run(b, "FLUSHALL"), "");
    assert_eq!(rig.run(a, "CLIENT UNPAUSE"), "+OK|");
    rig.tick();
    assert_eq!(rig.output(b), "+OK\r\n");
    assert_eq!(rig.run(a, "CLIENT PAUSE 1000"), "+OK|");
    assert_eq!(rig.run(b, "PING"), "");
    rig.pass_ms(1001);
    rig.tick();
    assert_eq!(rig.output(b), "+PONG\r\n");
    rig.check(
        a,
        &[
            ("CLIENT UNBLOCK 7", ":0|"),
            ("CLIENT UNBLOCK 7 MAYBE", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR|"),
            ("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range|"),
        ],
    );
}

#[test]
fn shutdown_and_its_abort() {
    let mut rig = Rig::new(1, false);
    let (a, b) = (rig.connect(0, Door::Own), rig.connect(0, Door::Own));
    rig.check(
        a,
        &[
            ("SHUTDOWN SAVE NOSAVE", "-ERR syntax error|"),
            ("SHUTDOWN NOW ABORT", "-ERR syntax error|"),
            ("SHUTDOWN ABORT", "-ERR No shutdown in progress.|"),
        ],
    );
    assert_eq!(rig.send(a, b"SHUTDOWN NOSAVE\r\nPING\r\n"), "");
    assert_eq!(rig.host.registers.shutdown.asked().map(|how| how.save), Some(false));
    assert_eq!(rig.run(b, "SHUTDOWN ABORT"), "+OK|");
    assert_eq!(rig.host.registers.shutdown.asked(), None);
    assert_eq!(rig.output(a), "-ERR Errors trying to SHUTDOWN. Check logs.\r\n+PONG\r\n");
    assert_eq!(rig.run(a, "SHUTDOWN"), "");
    assert_eq!(rig.host.registers.shutdown.asked().map(|how| how.save), Some(true));
}

#[test]
fn a_changed_setting_holds_for_the_next_command() {
    let mut rig = Rig::new(2, false);
    let (a, b) = (rig.connect(0, Door::Front), rig.connect(1, Door::Front));
    let sent = "CONFIG SET timeout 77\r\nCONFIG GET timeout\r\n";
    assert_eq!(rig.send(a, sent.as_bytes()), "+OK\r\n*2\r\n$7\r\ntimeout\r\n$2\r\n77\r\n");
    assert_eq!(rig.run(b, "CONFIG GET timeout"), "*2|$7|timeout|$2|77|");
    assert_eq!(rig.run(a, "CONFIG SET requirepass x"), "+OK|");
    let c = rig.connect(1, Door::Front);
    rig.tick();
    assert_eq!(rig.run(b, "PING"), "+PONG|");
    let d = rig.connect(1, Door::Front);
    assert_eq!(rig.run(d, "PING"), "-NOAUTH Authentication required.|");
    assert_eq!(rig.run(c, "AUTH x"), "+OK|");
}

#[test]
fn slow_commands_are_logged_by_shard() {
    let mut rig = Rig::new(2, true);
    let (a, own) = (rig.connect(0, Door::Front), rig.connect(1, Door::Own));
    rig.check(
        a,
        &[
            ("CONFIG SET slowlog-log-slower-than 500 latency-monitor-threshold 2 slowlog-max-len 3", "+OK|"),
            ("CLIENT SETNAME me", "+OK|"),
            ("SLOWLOG LEN", ":0|"),
        ],
    );
    commands_take(700);
    assert_eq!(rig.run(a, "ECHO hi"), "$2|hi|");
    rig.pass_ms(1000);
    commands_take(3000);
    assert_eq!(rig.run(own, "PING"), "+PONG|");
    commands_take(1);
    rig.check(
        a,
        &[
            (
                "SLOWLOG GET",
                "*2|*6|:1|:1700000001|:3000|*1|$4|PING|$14|10.0.0.1:50002|$0||*6|:0|:1700000000|:700|*2|$4|ECHO|\
                 $2|hi|$14|10.0.0.1:50001|$2|me|",
            ),
            ("SLOWLOG GET 0", "*0|"),
            ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1|"),
            ("LATENCY LATEST", "*1|*4|$12|fast-command|:1700000001|:3|:3|"),
            ("SLOWLOG LEN", ":2|"),
        ],
    );
    rig.check(own, &[("SLOWLOG LEN", ":1|"), ("SLOWLOG RESET", "+OK|"), ("SLOWLOG LEN", ":0|")]);
    assert_eq!(rig.run(a, "SLOWLOG LEN"), ":1|");
    commands_take(700);
    (0..5).for_each(|_| assert_eq!(rig.run(a, "PING"), "+PONG|"));
    commands_take(1);
    assert_eq!(rig.run(a, "SLOWLOG LEN"), ":3|");
}

#[test]
fn a_changed_threshold_measures_its_own_change() {
    let mut rig = Rig::new(1, false);
    let a = rig.connect(0, Door::Own);
    rig.check(
        a,
        &[
            ("CONFIG SET slowlog-log-slower-than 0", "+OK|"),
            ("CONFIG SET slowlog-log-slower-than -1", "+OK|"),
            ("SLOWLOG LEN", ":1|"),
            (
                "SLOWLOG GET 1 2",
                "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.|",
            ),
        ],
    );
    assert!(rig.run(a, "SLOWLOG GET").ends_with("|$23|slowlog-log-slower-than|$1|0|$14|10.0.0.1:50001|$0||"));
}

#[test]
fn info_tells_of_the_host_or_of_the_node() {
    let mut rig = Rig::new(2, true);
    let (front, own) = (rig.connect(0, Door::Front), rig.connect(1, Door::Own));
    rig.run(own, "NOSUCH");
    rig.check(front, &[("FLUSHALL", "+OK|"), ("DBSIZE", ":0|")]);
    rig.tick();
    let host = rig.run(front, "INFO");
    let node = rig.run(own, "INFO");
    for line in [
        "|tcp_port:6379|",
        "|connected_clients:2|",
        "|shard1:port=7001,slots=8192,keys=0,clients=1,",
        "|errorstat_ERR:count=1|",
        "|cluster_enabled:1|",
    ] {
        assert!(host.contains(line), "{line} in {host}");
    }
    for line in ["|tcp_port:7001|", "|connected_clients:1|", "|redis_mode:cluster|"] {
        assert!(node.contains(line), "{line} in {node}");
    }
    assert!(!node.contains("shard0:"));
    assert_eq!(rig.run(front, "CONFIG RESETSTAT"), "+OK|");
    assert!(rig.run(front, "INFO errorstats") == "$14|# Errorstats||");
    assert_eq!(rig.host.metrics[1].errors().len(), 0);
}

#[test]
fn debug_spans_the_shards() {
    use crate::config::types::ProtectedAction;
    let rig = |shards| {
        let outside = Files::default();
        let slept = outside.1.clone();
        let rig = Rig::with(shards, false, |host| {
            host.live.update(|conf| conf.enable_debug_command = ProtectedAction::Yes);
            host.outside = Box::new(outside);
        });
        (rig, slept)
    };
    let ((mut one, _), (mut three, slept)) = (rig(1), rig(3));
    let (a, b) = (one.connect(0, Door::Front), three.connect(1, Door::Front));
    let run = |one: &mut Rig, three: &mut Rig, line: &str| {
        let got = three.run(b, line);
        assert_eq!(got, one.run(a, line), "{line}");
        got
    };
    assert_eq!(run(&mut one, &mut three, "DEBUG POPULATE 100"), "+OK|");
    assert_eq!(run(&mut one, &mut three, "DBSIZE"), ":100|");
    let digest = run(&mut one, &mut three, "DEBUG DIGEST");
    assert!(digest.len() == 42 && !digest.contains("0000000"), "{digest}");
    run(&mut one, &mut three, "DEBUG DIGEST-VALUE key:1 key:2 key:3 nosuch");
    run(&mut one, &mut three, "DEBUG PROTOCOL array");
    run(&mut one, &mut three, "DEBUG OBJECT nosuch");
    assert!(three.run(b, "DEBUG OBJECT key:77").contains("encoding:embstr serializedlength:9 "));
    assert_eq!(three.run(b, "DEBUG SLEEP 2"), "+OK|");
    assert_eq!(*slept.lock().unwrap(), [2_000_000; 3], "all shards stand still");
}

/// The line of `name` in a section of INFO.
fn figure(rig: &mut Rig, client: Client, section: &str, name: &str) -> String {
    let text = rig.send(client, format!("INFO {section}\r\n").as_bytes());
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or("none").to_owned()
}

/// What INFO counts of a command without its time: calls, rejected, failed.
fn counts(rig: &mut Rig, client: Client, command: &str) -> String {
    let line = figure(rig, client, "commandstats", &format!("cmdstat_{command}"));
    let shown = line.split(',').filter(|f| !f.starts_with("usec"));
    shown.map(|f| f.rsplit('=').next().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_command_counts_once_however_many_shards_share_it() {
    let mut rig = Rig::new(3, false);
    let a = rig.connect(1, Door::Front);
    // keys of all three shards; the client's own takes no part in the second MGET
    let keys: Vec<String> = (0..3)
        .map(|owner| {
            let hasher = Hasher::new(1);
            let of = |n: &u32| even_share(owner, 3).1 >= hasher.key(format!("k{n}").as_bytes()).slot;
            let above = |n: &u32| even_share(owner, 3).0 <= hasher.key(format!("k{n}").as_bytes()).slot;
            format!("k{}", (0..).find(|n| of(n) && above(n)).unwrap())
        })
        .collect();
    let [x, y, z] = [&keys[0], &keys[1], &keys[2]];
    rig.check(
        a,
        &[
            (&format!("MSET {x} 1 {y} 2 {z} 3"), "+OK|"),
            (&format!("MGET {x} {y} {z}"), "*3|$1|1|$1|2|$1|3|"),
            (&format!("MGET {x} {z}"), "*2|$1|1|$1|3|"),
            (&format!("MSET {x} 1 {y}"), "-ERR wrong number of arguments for 'mset' command|"),
            (&format!("DEL {x} {z}"), ":2|"),
            (&format!("GET {z}"), "$-1|"),
            (&format!("HGET {z} f"), "$-1|"),
            (&format!("RENAME {y} {x}"), "+OK|"),
            (&format!("LPUSH {x} e"), "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
            ("DBSIZE", ":1|"),
            ("KEYS nosuch", "*0|"),
            ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range|"),
            ("FLUSHALL MAYBE", "-ERR syntax error|"),
            ("FLUSHALL", "+OK|"),
            ("RANDOMKEY", "$-1|"),
            ("CLIENT KILL ID 99", ":0|"),
            ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0|"),
            ("DEBUG SLEEP 0", "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.|"),
        ],
    );
    for (command, want) in [
        ("mset", "2 0 1"),
        ("mget", "2 0 0"),
        ("del", "1 0 0"),
        ("get", "1 0 0"),
        ("hget", "1 0 0"),
        ("rename", "1 0 0"),
        ("lpush", "1 0 1"),
        ("dbsize", "1 0 0"),
        ("keys", "1 0 0"),
        ("scan", "1 0 1"),
        ("flushall", "2 0 1"),
        ("randomkey", "1 0 0"),
        ("client|kill", "2 0 1"),
        ("debug", "1 0 1"),
    ] {
        assert_eq!(counts(&mut rig, a, command), want, "{command}");
    }
    assert_eq!(figure(&mut rig, a, "errorstats", "errorstat_ERR"), "count=5");
    assert_eq!(figure(&mut rig, a, "errorstats", "errorstat_WRONGTYPE"), "count=1");
    let total: u64 = rig.host.metrics.iter().map(|m| m.commands.get()).sum();
    // 18 commands and 17 times INFO
    assert_eq!(total, 18 + 16);
    assert_eq!(figure(&mut rig, a, "stats", "total_commands_processed"), "34");
}

#[test]
fn errors_of_a_shared_command_count_even_without_a_reply() {
    let mut rig = Rig::new(2, false);
    let a = rig.connect(0, Door::Front);
    assert_eq!(rig.send(a, b"CLIENT REPLY OFF\r\nFLUSHALL MAYBE\r\nCLIENT REPLY ON\r\n"), "+OK\r\n");
    assert_eq!(counts(&mut rig, a, "flushall"), "1 0 1");
    assert_eq!(figure(&mut rig, a, "errorstats", "errorstat_ERR"), "count=1");
}

#[test]
fn forwarded_commands_are_logged_with_who_sent_them() {
    let mut rig = Rig::new(2, false);
    let a = rig.connect(0, Door::Front);
    rig.run(a, "CLIENT SETNAME me");
    rig.run(a, "CONFIG SET slowlog-log-slower-than 500");
    let hasher = Hasher::new(1);
    let owned_by = |shard| {
        (0..).map(|n| format!("k{n}")).find(|k| {
            let (from, to) = even_share(shard, 2);
            (from..=to).contains(&hasher.key(k.as_bytes()).slot)
        })
    };
    let (near, far) = (owned_by(0).unwrap(), owned_by(1).unwrap());
    commands_take(700);
    rig.run(a, &format!("GET {far}"));
    rig.run(a, &format!("MSET {near} 1 {far} 2"));
    rig.run(a, &format!("RENAME {near} {far}"));
    commands_take(1);
    let log = rig.run(a, "SLOWLOG GET");
    // the parts of MSET are two: each was slow
    assert!(log.starts_with("*4|"), "{log}");
    assert_eq!(log.matches("$14|10.0.0.1:50001|$2|me|").count(), 4, "{log}");
    assert!(log.contains(&format!("*2|$3|GET|${}|{far}|$14|10.0.0.1", far.len())), "{log}");
}

#[test]
fn debug_by_local_clients_reaches_all_shards() {
    use crate::config::types::ProtectedAction;
    let mut rig = Rig::with(2, false, |host| {
        host.live.update(|conf| conf.enable_debug_command = ProtectedAction::Local);
    });
    let now = rig.now;
    let open = |rig: &mut Rig, addr: &str| Client {
        shard: 0,
        number: rig.shards[0].open(Door::Front, "10.0.0.1:9".into(), addr.into(), 9, now).unwrap(),
    };
    let (near, far) = (open(&mut rig, "127.0.0.1:6379"), open(&mut rig, "10.0.0.9:6379"));
    assert_eq!(rig.run(near, "DEBUG POPULATE 10"), "+OK|");
    assert_eq!(rig.run(near, "DBSIZE"), ":10|");
    assert!(rig.run(far, "DEBUG POPULATE 10").starts_with("-ERR DEBUG command not allowed"));
}

#[test]
fn shutdown_is_asked_for_and_aborted_by_any_shard() {
    let mut rig = Rig::new(2, true);
    let (a, b) = (rig.connect(0, Door::Own), rig.connect(1, Door::Own));
    assert_eq!(rig.send(a, b"SHUTDOWN NOSAVE\r\nPING\r\n"), "");
    assert_eq!(rig.host.registers.shutdown.asked().map(|how| how.save), Some(false));
    assert_eq!(rig.run(b, "SHUTDOWN ABORT"), "+OK|");
    assert_eq!(rig.run(b, "SHUTDOWN ABORT"), "-ERR No shutdown in progress.|");
    assert_eq!(rig.host.registers.shutdown.asked(), None);
    assert_eq!(rig.output(a), "");
    rig.tick();
    assert_eq!(rig.output(a), "-ERR Errors trying to SHUTDOWN. Check logs.\r\n+PONG\r\n");
    assert_eq!(rig.run(b, "SHUTDOWN SAVE"), "");
    rig.tick();
    assert_eq!(rig.host.registers.shutdown.asked().map(|how| how.save), Some(true));
}

#[test]
fn a_cycle_of_expiry_goes_on_until_few_are_left() {
    let mut rig = Rig::new(1, false);
    let a = rig.connect(0, Door::Front);
    for i in 0..5000 {
        rig.run(a, &format!("SET k{i} v PX {}", if i % 100 == 0 { 90_000 } else { 1000 }));
    }
    rig.pass_ms(1001);
    rig.tick();
    let mut steps = 0;
    while rig.shards[0].has_chores() {
        rig.shards[0].chores(rig.now);
        steps += 1;
    }
    assert!((10..100).contains(&steps), "{steps}");
    rig.tick();
    assert_eq!(rig.run(a, "DBSIZE"), ":50|");
    assert_eq!(figure(&mut rig, a, "stats", "expired_keys"), "4950");
    assert_eq!(figure(&mut rig, a, "stats", "expired_time_cap_reached_count"), "0");
    let stale: f64 = figure(&mut rig, a, "stats", "expired_stale_perc").parse().unwrap();
    assert!(stale > 10.0, "{stale}");
}

#[test]
fn the_largest_clients_of_the_host_go_first() {
    let mut rig = Rig::new(2, false);
    let clients: Vec<Client> = (0..6).map(|i| rig.connect(i % 2, Door::Front)).collect();
    for (i, &client) in clients.iter().enumerate() {
        // an unfinished command keeps its bytes
        let len = i * 100_000;
        let started = format!("*2\r\n$4\r\nECHO\r\n${}\r\n{}", len + 1000, "x".repeat(len));
        rig.send(client, started.as_bytes());
    }
    rig.tick();
    let a = rig.connect(0, Door::Front);
    rig.run(a, "CONFIG SET maxmemory-clients 900000");
    rig.tick();
    rig.tick();
    let gone: Vec<bool> = clients.iter().map(|&c| rig.is_done(c)).collect();
    assert_eq!(gone, [false, false, false, false, true, true]);
    assert_eq!(figure(&mut rig, a, "stats", "evicted_clients"), "2");
}
