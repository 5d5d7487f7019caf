//! Slots that move between hosts by redis-cli --cluster, while clients write and check what they wrote;
//! alone and together with redis-server nodes.

mod common;

use common::client::Client;
use common::load::Load;
use common::members::{Member, agree, ask, at, cli, cli_says, cli_tries, create, see};
use common::ports::Ports;
use common::resp::Reply;
use common::server::TempDir;
use std::time::Duration;

fn client(port: u16) -> Client {
    Client::connect(port).unwrap_or_else(|e| panic!("port {port}: {e}"))
}

fn keyslot(key: &str) -> u16 {
    let slot = format!("{{{key}}}");
    shoal::slot::key_slot(slot.as_bytes())
}

/// How many slots a node has, as it says itself.
fn slots_of(port: u16) -> usize {
    let nodes = ask(port, "CLUSTER NODES");
    let mine = nodes.lines().find(|line| line.contains("myself")).expect("a node knows itself");
    let range = |word: &str| match word.split_once('-') {
        _ if word.starts_with('[') => 0,
        Some((from, to)) => to.parse::<usize>().expect("a slot") - from.parse::<usize>().expect("a slot") + 1,
        None => 1,
    };
    mine.split(' ').skip(8).map(range).sum()
}

fn reshard(any: &str, from: &str, to: &str, slots: usize) {
    let n = slots.to_string();
    let how = ["--cluster-from", from, "--cluster-to", to, "--cluster-slots", &n, "--cluster-yes"];
    let said = cli(&[&["reshard", any], &how[..]].concat());
    assert!(!said.contains("ERR"), "{said}");
}

#[test]
fn clusters_grow_and_shrink_under_load() {
    let ports = Ports::take();
    let [first, second] = [ports.base, ports.base + 3].map(|base| Member::host(base, 2, &[]));
    let both = [&first.ports[..], &second.ports].concat();
    create(&both);
    agree(&both, 4);
    let load = Load::start(both[0]);
    let any = at(both[0]);
    let ids = [first.ids(), second.ids()].concat();

    reshard(&any, &ids[0], &ids[2], 200);
    reshard(&any, "all", &ids[1], 120);
    load.check();
    let said = cli(&["rebalance", &any, "--cluster-simulate"]);
    assert!(said.contains("Moving"), "{said}");
    assert_ne!(slots_of(both[0]), 4096, "it was only simulated");
    cli(&["rebalance", &any, "--cluster-threshold", "1"]);
    assert!(both.iter().all(|port| slots_of(*port).abs_diff(4096) < 50));
    let balanced = cli(&["rebalance", &any, "--cluster-threshold", "99"]);
    assert!(balanced.contains("No rebalancing needed"), "{balanced}");

    // a third host grows into it, with little weight
    let third = Member::host(ports.base + 6, 2, &[]);
    let new = third.ids();
    for port in &third.ports {
        cli(&["add-node", &at(*port), &any]);
    }
    let all = [&both[..], &third.ports].concat();
    agree(&all, 6);
    let weights = [format!("{}=0.03", new[0]), format!("{}=0.02", new[1])];
    let how = ["--cluster-use-empty-masters", "--cluster-weight", &weights[0], &weights[1]];
    cli(&[&["rebalance", &any], &how[..]].concat());
    let sizes: Vec<usize> = all.iter().map(|port| slots_of(*port)).collect();
    let share = |weight: f64| (16384.0 * weight / 4.05) as usize;
    assert!(sizes[4].abs_diff(share(0.03)) < 10 && sizes[5].abs_diff(share(0.02)) < 10, "{sizes:?}");
    load.check();

    // and leaves it again
    // one node after the other: who has lost its last slot is a replica, and redis-cli, which still takes it
    // for a master, gives up when that refuses SETSLOT
    for id in &new {
        cli(&["rebalance", &any, "--cluster-weight", &format!("{id}=0")]);
    }
    assert_eq!([slots_of(all[4]), slots_of(all[5])], [0, 0]);
    let requests = load.finish();
    assert!(requests > 500, "{requests} requests are no load");
    let left = [ask(all[4], "DBSIZE"), ask(all[5], "DBSIZE")];
    assert_eq!(left, ["0", "0"], "nothing is left behind");
    new.iter().for_each(|id| drop(cli(&["del-node", &any, id])));
    agree(&both, 4);
    assert!(cli(&["check", &any]).contains("All 16384 slots covered"));
}

/// Values of every type, flat and not, as commands for keys of one slot.
fn every_type(tag: &str) -> Vec<Vec<String>> {
    let key = |name: &str| format!("{{{tag}}}{name}");
    let many = |n: usize, len: usize| (0..n).map(move |i| format!("{i:0>len$}")).collect::<Vec<String>>();
    let cmd = |name: &str, to: &str, rest: Vec<String>| [vec![name.into(), key(to)], rest].concat();
    let pairs = |n: usize, len: usize| many(n, len).into_iter().flat_map(|f| [f.clone(), f + "v"]).collect();
    let scored = |n: usize| {
        many(n, 8).into_iter().enumerate().flat_map(|(i, m)| [format!("{}.25", i * 7919 % 1000), m]).collect()
    };
    vec![
        cmd("SET", "int", vec!["12345".into()]),
        cmd("SET", "text", vec!["some text".into()]),
        cmd("SET", "long", vec!["abcdefgh".repeat(20_000)]),
        cmd("SET", "timed", vec!["x".into(), "PX".into(), "9000000".into()]),
        cmd("RPUSH", "list", many(5, 1)),
        cmd("RPUSH", "lists", many(3000, 30)),
        cmd("RPUSH", "plain", vec!["y".repeat(20_000), "z".into()]),
        cmd("HSET", "hash", pairs(5, 1)),
        cmd("HSET", "hashes", pairs(3000, 20)),
        cmd("SADD", "ints", many(100, 1)),
        cmd("SADD", "set", many(200, 10)),
        cmd("SADD", "sets", many(3000, 20)),
        cmd("ZADD", "zset", scored(20)),
        cmd("ZADD", "zsets", scored(3000)),
        cmd("XADD", "stream", [vec!["7-7".into()], pairs(5, 1)].concat()),
        cmd("XADD", "streams", [vec!["7-7".into()], pairs(3000, 20)].concat()),
    ]
}

/// What a node has of these keys: digests, encodings, and that a TTL is still there.
fn contents(port: u16, keys: &[String]) -> Vec<String> {
    let mut node = client(port);
    let mut of = |key: &String| {
        let digest = node.cmd(&format!("DEBUG DIGEST-VALUE {key}")).items()[0].clone().expect("a digest");
        let encoding = node.cmd(&format!("OBJECT ENCODING {key}")).text();
        let ttl = node.cmd(&format!("PTTL {key}")).int() > 0;
        format!("{key} {} {encoding} {ttl}", String::from_utf8_lossy(&digest))
    };
    keys.iter().map(&mut of).collect()
}

#[test]
fn slots_move_to_and_fro_between_a_host_and_redis() {
    let ports = Ports::take();
    let debug = ["--enable-debug-command", "yes"];
    let redis: Vec<Member> = (0..2)
        .map(|i| {
            let port = (ports.base + i).to_string();
            let args = ["--cluster-enabled", "yes", "--port", &port, "--save", ""];
            Member::start("redis-server", vec![ports.base + i], &[&args[..], &debug].concat())
        })
        .collect();
    let host = Member::host(ports.base + 4, 2, &debug);
    let all = [&[redis[0].ports[0], redis[1].ports[0]], &host.ports[..]].concat();
    create(&all);
    agree(&all, 4);
    let ids: Vec<String> = [redis[0].ids(), redis[1].ids(), host.ids()].concat();
    let load = Load::start(all[2]);
    // what lies with redis-server goes to the host and back
    let tags: Vec<String> =
        (0..4000).map(|n| format!("t{n}")).filter(|tag| keyslot(tag) < 300).take(5).collect();
    assert_eq!(tags.len(), 5);
    let mut node = client(all[0]);
    let mut keys = Vec::new();
    for words in tags.iter().flat_map(|tag| every_type(tag)) {
        let reply = node.call(&words).expect("a reply");
        assert!(!reply.is_error(), "{:?}: {}", &words[..2], reply.text());
        keys.push(words[1].clone());
    }
    let before = contents(all[0], &keys);
    let owner = |slot: u16| {
        all.iter()
            .position(|port| ask(*port, &format!("GET {{{}}}int", tags[0])) == "12345")
            .map(|at| (slot, at))
    };
    for to in [2, 3, 1, 0] {
        let from = owner(0).expect("somebody has them").1;
        // the lowest slots go first
        reshard(&at(all[0]), &ids[from], &ids[to], 310);
        assert_eq!(owner(0).map(|found| found.1), Some(to));
        let mut after = contents(all[to], &keys);
        // encodings may differ between the kinds where Redis's own depend on how a value was built
        if to >= 2 {
            let plain = |line: &String| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
            assert_eq!(
                after.iter().map(plain).collect::<Vec<_>>(),
                before.iter().map(plain).collect::<Vec<_>>()
            );
            after.clone_from(&before);
        }
        assert_eq!(after, before, "at node {to}");
        load.check();
    }
    load.finish();
    agree(&all, 4);
}

/// What MIGRATE says when it does not go well: both servers, word for word.
#[test]
fn migrate_fails_as_redis_does() {
    let ports = Ports::take();
    let [shoal, redis, target] = [0, 1, 2].map(|i| ports.base + i);
    let texts = [shoal, redis, target].map(|port| port.to_string());
    let alone = |program, port, more: &[&str]| {
        Member::start(program, vec![port], &[&["--port", &port.to_string(), "--save", ""], more].concat())
    };
    let _both = [
        alone("shoal", shoal, &["--cluster-enabled", "no", "--shards", "2"]),
        alone("redis-server", redis, &[]),
    ];
    let _target = alone("redis-server", target, &["--enable-debug-command", "yes"]);
    let mut there = client(target);
    let run = |port: u16, line: &str| -> (Reply, u128) {
        let line = line.replace("TARGET", &format!("127.0.0.1 {}", texts[2]));
        let start = std::time::Instant::now();
        (client(port).cmd(&line), start.elapsed().as_millis())
    };
    let mut alike = |prepare: &dyn Fn(&mut Client), line: &str, left: &str| {
        let said = [shoal, redis].map(|port| {
            there.call(&["CONFIG", "SET", "maxmemory", "0", "requirepass", ""]).expect("a reply");
            there.cmd("FLUSHALL");
            prepare(&mut there);
            // connections that the sources keep are of no use now
            there.cmd("CLIENT KILL TYPE normal");
            ask(port, "FLUSHALL");
            ask(port, "MSET a 1 b 2 c 3");
            let (reply, _) = run(port, line);
            (String::from_utf8_lossy(&reply.raw).into_owned(), ask(port, "EXISTS a b c"))
        });
        assert_eq!(said[0], said[1], "{line}");
        assert_eq!(said[0].1, left, "{line}: {said:?}");
    };
    let nothing = |_: &mut Client| ();
    let set = |line: &'static str| move |there: &mut Client| drop(there.cmd(line));
    alike(&nothing, "MIGRATE TARGET a 0 1000", "2");
    alike(&nothing, "MIGRATE TARGET none 0 1000", "3");
    alike(&nothing, "MIGRATE TARGET a 99 1000", "3");
    alike(&nothing, "MIGRATE TARGET a 5 1000 COPY", "3");
    alike(&nothing, "MIGRATE TARGET a 0 1000 AUTH x", "3");
    alike(&nothing, "MIGRATE TARGET a 0 1000 AUTH2 no pw", "3");
    alike(&set("CONFIG SET requirepass pw"), "MIGRATE TARGET a 0 1000", "3");
    alike(&set("CONFIG SET requirepass pw"), "MIGRATE TARGET a 0 1000 AUTH pw", "2");
    alike(&set("CONFIG SET requirepass pw"), "MIGRATE TARGET a 0 1000 AUTH2 default pw", "2");
    alike(&set("SET b old"), "MIGRATE TARGET b 0 1000", "3");
    alike(&set("SET b old"), "MIGRATE TARGET b 0 1000 REPLACE", "2");
    alike(&set("CONFIG SET maxmemory 1"), "MIGRATE TARGET a 0 1000", "3");
    // a target that is not there, and one that sleeps
    alike(&nothing, "MIGRATE 127.0.0.1 1 a 0 1000", "3");
    let mut sleeper = client(target);
    for port in [shoal, redis] {
        ask(port, "SET a 1");
        ask(target, "CONFIG SET maxmemory 0");
        sleeper.send(b"DEBUG SLEEP 1\r\n").expect("sent");
        std::thread::sleep(Duration::from_millis(50));
        let (reply, ms) = run(port, "MIGRATE TARGET a 0 300 REPLACE");
        assert_eq!(reply.text(), "IOERR error or timeout reading to target instance");
        assert!((290..900).contains(&ms), "it waited {ms} ms");
        assert_eq!(ask(port, "GET a"), "1");
        sleeper.read().expect("it wakes");
    }
}

#[test]
fn import_brings_keys_in_from_standalone_servers() {
    let ports = Ports::take();
    let port = ports.base.to_string();
    let own = vec![ports.base + 1, ports.base + 2];
    let cluster = Member::start("shoal", own, &["--shards", "2", "--port", &port]);
    let any = at(cluster.ports[0]);
    for (i, (program, more)) in
        [("redis-server", &[][..]), ("shoal", &["--cluster-enabled", "no", "--shards", "2"])]
            .iter()
            .enumerate()
    {
        let from = ports.base + 6 + i as u16;
        let text = from.to_string();
        let _source = Member::start(program, vec![from], &[&["--port", &text, "--save", ""], *more].concat());
        let mut source = client(from);
        for n in 0..300 {
            source.cmd(&format!("SET from:{i}:{n} {n}"));
        }
        source.cmd(&format!("SET from:{i}:0 0 PX 9000000"));
        cli(&["import", &any, "--cluster-from", &at(from), "--cluster-copy"]);
        assert_eq!(source.cmd("DBSIZE").int(), 300);
        let said = cli(&["import", &any, "--cluster-from", &at(from), "--cluster-replace"]);
        assert!(said.contains("300 keys"), "{said}");
        assert_eq!(source.cmd("DBSIZE").int(), 0);
        let mut door = client(ports.base);
        assert!((0..300).all(|n| door.cmd(&format!("GET from:{i}:{n}")).text() == n.to_string()));
        assert!(door.cmd(&format!("PTTL from:{i}:0")).int() > 8_000_000);
    }
}

/// redis-cli --cluster fix, told `yes`.
fn fix(port: u16, more: &[&str]) -> String {
    cli_says(&[&["fix", &at(port), "--cluster-yes"], more].concat(), "yes\nyes\nyes\n")
}

fn well(port: u16) {
    let said = cli(&["check", &at(port)]);
    assert!(said.contains("All 16384 slots covered") && !said.contains("[WARNING]"), "{said}");
}

/// A slot that is open at both ends, with keys on both sides.
fn mends_half_a_move(all: &[u16], ids: &[String]) {
    let [mut first, mut redis] = [all[0], all[3]].map(client);
    let tag = tag_in(0..4000);
    let slot = keyslot(&tag);
    let key = |n: usize| format!("{{{tag}}}{n}");
    (0..50).for_each(|n| drop(first.cmd(&format!("SET {} {n}", key(n)))));
    let ends = [ids[0].clone(), ids[3].clone()];
    let most: Vec<String> = (0..30).map(key).collect();
    (0..4).for_each(|n| step(&[all[0], all[3]], &ends, slot, &most, n));
    fix(all[1], &[]);
    agree(all, 4);
    well(all[0]);
    let count = |port: u16| ask(port, &format!("CLUSTER COUNTKEYSINSLOT {slot}"));
    assert_eq!([count(all[0]), count(all[3])], ["0", "50"]);
    assert!((0..50).all(|n| redis.cmd(&format!("GET {}", key(n))).text() == n.to_string()));
}

fn tag_in(slots: std::ops::Range<u16>) -> String {
    (0..).map(|n| format!("x{n}")).find(|tag| slots.contains(&keyslot(tag))).expect("tags abound")
}

#[test]
fn fix_closes_open_slots() {
    let ports = Ports::take();
    let host = Member::host(ports.base, 2, &[]);
    let other = Member::single(ports.base + 4);
    let redis = Member::redis(ports.base + 7);
    let all = [&host.ports[..], &other.ports, &redis.ports].concat();
    create(&all);
    agree(&all, 4);
    let ids = [host.ids(), other.ids(), redis.ids()].concat();
    mends_half_a_move(&all, &ids);
    // importing only, at a node of the other kind; migrating only; both, with keys at the owner
    let key = tag_in(2000..4000);
    let slot = keyslot(&key);
    assert_eq!(ask(all[0], &format!("SET {{{key}}} a")), "OK");
    for (port, slot, how) in [
        (all[3], 9, format!("IMPORTING {}", ids[0])),
        (all[0], 11, format!("MIGRATING {}", ids[2])),
        (all[2], slot, format!("IMPORTING {}", ids[0])),
        (all[0], slot, format!("MIGRATING {}", ids[2])),
    ] {
        assert_eq!(ask(port, &format!("CLUSTER SETSLOT {slot} {how}")), "OK");
    }
    fix(all[3], &[]);
    agree(&all, 4);
    well(all[3]);
    let mut cluster = [client(all[0]), client(all[2])];
    let found = cluster
        .iter_mut()
        .filter_map(|node| Some(node.cmd(&format!("GET {{{key}}}")).text()).filter(|v| v == "a"));
    assert_eq!(found.count(), 1);
}

/// Three nodes: of redis-server, of Shoal, and of both.
const TRIOS: [[&str; 3]; 3] = [["redis-server"; 3], ["shoal"; 3], ["shoal", "redis-server", "shoal"]];

fn trio(kinds: [&'static str; 3], ports: &Ports, more: &[&str]) -> Vec<Member> {
    let start = |(i, kind)| Member::node(kind, ports.base + i, &[&["--save", ""], more].concat());
    let nodes: Vec<Member> = (0..).zip(kinds).map(start).collect();
    let all: Vec<u16> = nodes.iter().map(|node| node.ports[0]).collect();
    create(&all);
    agree(&all, 3);
    nodes
}

/// How many nodes have this value for the key.
fn holders(all: &[u16], key: &str, value: &str) -> usize {
    all.iter().filter(|port| ask(**port, &format!("GET {key}")) == value).count()
}

/// Slots that nobody has, with keys of theirs at a node and without.
#[test]
fn fix_covers_slots() {
    for kinds in TRIOS {
        let ports = Ports::take();
        let nodes = trio(kinds, &ports, &[]);
        let all: Vec<u16> = nodes.iter().map(|node| node.ports[0]).collect();
        let (tag, empty) = (tag_in(0..1000), keyslot(&tag_in(1000..2000)));
        let bare = keyslot(&tag);
        assert_eq!(ask(all[0], &format!("SET {{{tag}}} kept")), "OK", "{kinds:?}");
        for port in &all {
            assert_eq!(ask(*port, &format!("CLUSTER DELSLOTS {bare} {empty}")), "OK", "{kinds:?}");
        }
        fix(all[2], &[]);
        agree(&all, 3);
        all_well(&all);
        fix(all[1], &["--cluster-search-multiple-owners"]);
        well(all[0]);
        assert_eq!(holders(&all, &format!("{{{tag}}}"), "kept"), 1, "{kinds:?}");
    }
}

/// A master is gone for good: told so, redis-cli gives its slots to the others.
#[test]
fn fix_does_without_a_master_that_is_gone() {
    for kinds in TRIOS {
        let ports = Ports::take();
        let mut nodes = trio(kinds, &ports, &[]);
        let all: Vec<u16> = nodes.iter().map(|node| node.ports[0]).collect();
        let tag = tag_in(0..5000);
        assert_eq!(ask(all[0], &format!("SET {{{tag}}} kept")), "OK", "{kinds:?}");
        nodes[2].kill();
        see(all[0], "CLUSTER INFO", "that it is gone", |text| text.contains("state:fail"));
        fix(all[0], &["--cluster-fix-with-unreachable-masters"]);
        for port in &all[..2] {
            see(*port, "CLUSTER INFO", "a cluster that is well", |text| {
                text.contains("state:ok") && text.contains("slots_ok:16384")
            });
        }
        assert_eq!(holders(&all[..2], &format!("{{{tag}}}"), "kept"), 1, "{kinds:?}");
    }
}

/// A slot that two masters claim becomes that one's which has more keys of it. Where the other has keys as well, a
/// redis-server does not let them go, and fix fails; Shoal does, and all come together.
#[test]
fn fix_settles_whose_a_slot_is() {
    // the two don't hear of each other's claims before redis-cli has seen both
    const PING: &str = "0";
    const NOTHING: &str = "-1";
    for kinds in TRIOS {
        let ports = Ports::take();
        let nodes =
            trio(kinds, &ports, &["--enable-debug-command", "yes", "--cluster-node-timeout", "15000"]);
        let all: Vec<u16> = nodes.iter().map(|node| node.ports[0]).collect();
        let drop_packets = |kind: &str| {
            let line = format!("DEBUG DROP-CLUSTER-PACKET-FILTER {kind}");
            all.iter().for_each(|port| assert_eq!(ask(*port, &line), "OK", "{kinds:?}"));
        };
        for (i, [first, second]) in [[5, 0], [5, 2], [2, 5]].into_iter().enumerate() {
            let tag = tag_in(i as u16 * 1000..i as u16 * 1000 + 1000);
            let slot = keyslot(&tag);
            let set = |port: u16, keys: std::ops::Range<i64>| {
                keys.for_each(|n| assert_eq!(ask(port, &format!("SET {{{tag}}}{n} {n}")), "OK", "{kinds:?}"));
            };
            set(all[0], 0..first);
            drop_packets(PING);
            for line in [format!("CLUSTER DELSLOTS {slot}"), format!("CLUSTER ADDSLOTS {slot}")] {
                assert_eq!(ask(all[2], &line), "OK", "{kinds:?}");
            }
            set(all[2], first..first + second);
            let how = ["fix", &at(all[1]), "--cluster-yes", "--cluster-search-multiple-owners"];
            let (mended, said) = cli_tries(&how, "yes\n");
            drop_packets(NOTHING);
            assert_eq!(mended, second == 0 || kinds[2] == "shoal", "{kinds:?}, {first} and {second}: {said}");
            agree(&all, 3);
            let count = |port: &u16| client(*port).cmd(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).int();
            let mut counts: Vec<i64> = all.iter().map(count).collect();
            if !mended {
                assert_eq!(counts, [first, 0, second], "{kinds:?}");
                break;
            }
            let owner = if first > second { 0 } else { 2 };
            assert!(
                (0..first + second).all(|n| ask(all[owner], &format!("GET {{{tag}}}{n}")) == n.to_string())
            );
            counts.sort();
            assert_eq!(counts, [0, 0, first + second], "{kinds:?}");
        }
    }
}

/// A backup has a file of each node's keys, and which slots those are of.
#[test]
fn backup_takes_every_key() {
    for kinds in TRIOS {
        let ports = Ports::take();
        let nodes = trio(kinds, &ports, &[]);
        let all: Vec<u16> = nodes.iter().map(|node| node.ports[0]).collect();
        for (i, port) in all.iter().enumerate() {
            let tag = tag_in(i as u16 * 5461 + 10..i as u16 * 5461 + 5000);
            (0..10).for_each(|n| assert_eq!(ask(*port, &format!("SET {{{tag}}}{n} {n}")), "OK", "{kinds:?}"));
        }
        let dir = TempDir::new();
        let said = cli(&["backup", &at(all[1]), &dir.0.display().to_string()]);
        assert!(said.contains("Backup created into"), "{said}");
        let plan = std::fs::read_to_string(dir.0.join("nodes.json")).expect("who has which slots");
        assert_eq!(plan.matches("\"slots\"").count(), 3, "{plan}");
        let mut keys = 0;
        for file in std::fs::read_dir(&dir.0).expect("the backup").map(|entry| entry.expect("a file").path())
        {
            if file.extension().is_some_and(|extension| extension == "rdb") {
                let checked =
                    std::process::Command::new("redis-check-rdb").arg(&file).output().expect("it runs");
                let text = String::from_utf8_lossy(&checked.stdout).into_owned();
                assert!(checked.status.success(), "{text}");
                let read = text.lines().find_map(|line| line.strip_suffix(" keys read")).expect("a count");
                keys += read.rsplit(' ').next().and_then(|n| n.parse::<usize>().ok()).expect("a number");
            }
        }
        assert_eq!(keys, 30, "{kinds:?}");
    }
}

/// Which slots are open is in nodes.conf no later than this.
const SAVED: Duration = Duration::from_millis(300);

/// Three nodes that see each other, and no failure.
fn all_well(ports: &[u16]) {
    for port in ports {
        see(*port, "CLUSTER NODES", "all nodes", |text| text.matches(" connected").count() == 3);
        see(*port, "CLUSTER NODES", "no failure", |text| !text.contains("fail"));
        see(*port, "CLUSTER INFO", "a cluster that is well", |text| text.contains("state:ok"));
    }
}

/// One slot's way from node 0 to node 1, as redis-cli goes it.
fn step(ports: &[u16], ids: &[String], slot: u16, keys: &[String], n: usize) {
    let say = |port: u16, line: String| {
        let said = ask(port, &line);
        assert!(said == "OK" || said == "NOKEY", "{line}: {said}");
    };
    let migrate = |keys: &[String]| {
        let port = ports[1].to_string();
        let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        let words: Vec<&str> = words.into_iter().chain(keys.iter().map(String::as_str)).collect();
        assert_eq!(client(ports[0]).call(&words).expect("a reply").text(), "OK");
    };
    match n {
        0 => say(ports[1], format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0])),
        1 => say(ports[0], format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1])),
        2 => migrate(&keys[..keys.len() / 2]),
        3 => migrate(&keys[keys.len() / 2..]),
        4 => say(ports[1], format!("CLUSTER SETSLOT {slot} NODE {}", ids[1])),
        _ => say(ports[0], format!("CLUSTER SETSLOT {slot} NODE {}", ids[1])),
    }
}

/// A node that is killed comes back with all that it has acknowledged.
fn keeper(port: u16) -> Member {
    let text = port.to_string();
    let keeps = ["--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "local"];
    Member::start(
        "shoal",
        vec![port],
        &[&["--cluster-enabled", "yes", "--port", &text, "--save", ""], &keeps[..]].concat(),
    )
}

/// The next slot of node 0, and keys in it.
fn next_slot(port: u16, keys: usize) -> (u16, Vec<String>) {
    let nodes = ask(port, "CLUSTER NODES");
    let mine = nodes.lines().find(|line| line.contains("myself")).expect("itself");
    let slot = mine.split(' ').nth(8).expect("slots").split('-').next().expect("a slot");
    let slot: u16 = slot.parse().expect("a slot");
    let tag = (0..).map(|n| format!("c{n}")).find(|tag| keyslot(tag) == slot).expect("tags abound");
    (slot, (0..keys).map(|n| format!("{{{tag}}}{n}")).collect())
}

/// Whichever side is killed after whichever step of a move: the cluster is mended, and every key is there, once.
#[test]
fn a_move_that_is_cut_off_by_a_kill_is_mended() {
    const STEPS: usize = 6;
    let ports = Ports::take();
    let mut nodes: Vec<Member> = (0..3).map(|i| keeper(ports.base + i)).collect();
    let all: Vec<u16> = nodes.iter().map(|node| node.ports[0]).collect();
    create(&all);
    agree(&all, 3);
    let ids: Vec<String> = nodes.iter().flat_map(Member::ids).collect();
    let cases = (1..=STEPS).flat_map(|done| [(done, 0), (done, 1)]);
    for (done, victim) in cases.filter(|(done, victim)| common::long() || done % 2 == *victim) {
        let (slot, keys) = next_slot(all[0], 20);
        let mut source = client(all[0]);
        keys.iter().for_each(|key| assert_eq!(source.cmd(&format!("SET {key} {key}")).text(), "OK"));
        (0..done).for_each(|n| step(&all, &ids, slot, &keys, n));
        std::thread::sleep(SAVED);
        nodes[victim].kill();
        nodes[victim].launch();
        all_well(&all);
        fix(all[2], &[]);
        agree(&all, 3);
        well(all[victim]);
        let case = format!("after step {done} with node {victim} killed");
        let mut sides: Vec<Client> = all.iter().map(|port| client(*port)).collect();
        for key in &keys {
            let has = |side: &mut Client| side.cmd(&format!("GET {key}")).text() == *key;
            assert_eq!(sides.iter_mut().map(has).filter(|has| *has).count(), 1, "{case}: {key}");
        }
        let count = |side: &mut Client| side.cmd(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).int();
        assert_eq!(sides.iter_mut().map(count).sum::<i64>(), keys.len() as i64, "{case}");
    }
}

/// A value that is long on its way, and what is seen of it when either side is killed in the midst.
#[test]
fn a_value_is_never_lost_in_the_midst() {
    let ports = Ports::take();
    let mut nodes: Vec<Member> = (0..3).map(|i| keeper(ports.base + i)).collect();
    let all: Vec<u16> = nodes.iter().map(|node| node.ports[0]).collect();
    create(&all);
    agree(&all, 3);
    let ids: Vec<String> = nodes.iter().flat_map(Member::ids).collect();
    let tag = (0..).map(|n| format!("b{n}")).find(|tag| keyslot(tag) < 5000).expect("tags abound");
    let (slot, key) = (keyslot(&tag), format!("{{{tag}}}big"));
    let mut source = client(all[0]);
    for part in 0..60 {
        let pairs: Vec<String> = (0..5000).map(|i| format!("f{part}:{i} {i}")).collect();
        source.cmd(&format!("HSET {key} {}", pairs.join(" ")));
    }
    step(&all, &ids, slot, &[], 0);
    step(&all, &ids, slot, &[], 1);
    std::thread::sleep(SAVED);
    let migrate = format!("MIGRATE 127.0.0.1 {} {key} 0 5000\r\n", all[1]);
    let mut mover = client(all[0]);
    mover.send(migrate.as_bytes()).expect("sent");
    // readers go on meanwhile, a writer waits
    assert_eq!(source.cmd(&format!("HLEN {key}")).int(), 300_000);
    let mut writer = client(all[0]);
    writer.send(format!("HSET {key} new 1\r\n").as_bytes()).expect("sent");
    nodes[1].kill();
    let said = mover.read().expect("a reply").text();
    let written = writer.read().expect("a reply");
    if said.starts_with("IOERR") {
        assert_eq!((written.int(), source.cmd(&format!("HLEN {key}")).int()), (1, 300_001));
    } else {
        assert_eq!(said, "OK");
        assert!(written.text().starts_with("ASK "), "{}", written.text());
    }
    nodes[1].launch();
    all_well(&all);
    if source.cmd(&format!("EXISTS {key}")).int() == 1 {
        mover.send(migrate.as_bytes()).expect("sent");
        std::thread::sleep(Duration::from_millis(20));
        nodes[0].kill();
        // none of it, or all
        let mut target = client(all[1]);
        target.cmd("ASKING");
        let len = target.cmd(&format!("HLEN {key}")).int();
        assert!(len == 0 || len == 300_001, "{len} fields");
        nodes[0].launch();
        all_well(&all);
    }
    fix(all[2], &[]);
    agree(&all, 3);
    let len = |port: &u16| ask(*port, &format!("HLEN {key}")).parse::<usize>().ok();
    assert_eq!(all.iter().filter_map(len).filter(|len| *len >= 300_000).count(), 1, "all of it, once");
}
