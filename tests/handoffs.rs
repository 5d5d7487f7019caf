//! Slots that change hands between the shards of a running host, under every kind of client.

mod common;

use common::client::Client;
use common::members::{Member, ask};
use common::ports::{BUS, Ports};
use common::server::{Server, Shape, TempDir, spawn};
use common::{long, python, wait_for};
use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const SHARDS: u16 = 3;

/// What a checking client did: commands, and the longest that it waited for a reply.
#[derive(Default)]
struct Seen {
    commands: AtomicU64,
    longest_us: AtomicU64,
}

impl Seen {
    fn note(&self, since: Instant, commands: u64) {
        self.commands.fetch_add(commands, Ordering::Relaxed);
        self.longest_us.fetch_max(since.elapsed().as_micros() as u64, Ordering::Relaxed);
    }
}

/// A front-door client: pipelines of INCR on keys of all slots, whose every reply is the next number; and
/// an MSET and MGET over several shards.
fn check_front_door(port: u16, me: usize, stop: &AtomicBool, seen: &Seen) {
    let mut client = Client::connect(port).expect("the front door");
    let mut counts = vec![0u64; 64];
    let mut turn = 0u64;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let picks: Vec<usize> = (0..16).map(|i| ((turn * 31 + i * 7 + me as u64) % 64) as usize).collect();
        let mut bytes = Vec::new();
        for k in &picks {
            bytes.extend_from_slice(format!("INCR c{me}:{k}\r\n").as_bytes());
        }
        bytes.extend_from_slice(format!("MSET a{me}:{turn} {turn} b{me} {turn} c{me} {turn}\r\n").as_bytes());
        bytes.extend_from_slice(format!("MGET a{me}:{turn} b{me} c{me}\r\nDEL a{me}:{turn}\r\n").as_bytes());
        let since = Instant::now();
        client.send(&bytes).expect("a send");
        for k in picks {
            counts[k] += 1;
            let reply = client.read().expect("a reply");
            assert_eq!(reply.raw, format!(":{}\r\n", counts[k]).as_bytes(), "INCR c{me}:{k}");
        }
        assert_eq!(client.read().expect("a reply").raw, b"+OK\r\n");
        let n = turn.to_string();
        let three = format!("*3\r\n{}", format!("${}\r\n{n}\r\n", n.len()).repeat(3));
        assert_eq!(client.read().expect("a reply").raw, three.as_bytes());
        assert_eq!(client.read().expect("a reply").raw, b":1\r\n");
        seen.note(since, 19);
    }
    for (k, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        assert_eq!(client.cmd(&format!("GET c{me}:{k}")).text(), count.to_string());
    }
}

/// A cluster client: it goes where MOVED says, and gets nothing else than that and what it has written.
fn check_own_ports(ports: &[u16], me: usize, stop: &AtomicBool, seen: &Seen) -> u64 {
    let mut clients: HashMap<u16, Client> =
        ports.iter().map(|port| (*port, Client::connect(*port).expect("a shard"))).collect();
    let mut owner: HashMap<usize, u16> = HashMap::new();
    let (mut turn, mut moved) = (0u64, 0);
    let mut last = [0u64; 64];
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let k = (turn * 13 % 64) as usize;
        let line = match turn % 2 {
            0 => format!("GET o{me}:{}", (k + 51) % 64),
            _ => format!("SET o{me}:{k} {turn}"),
        };
        let key = if turn % 2 == 0 { (k + 51) % 64 } else { k };
        let since = Instant::now();
        let text = loop {
            let port = *owner.entry(key).or_insert(ports[0]);
            let reply = clients.get_mut(&port).expect("a shard of this host").cmd(&line);
            let text = reply.text().to_owned();
            let Some(to) = text.strip_prefix("MOVED ") else { break text };
            moved += 1;
            let port: u16 = to.rsplit(':').next().and_then(|p| p.parse().ok()).expect("an address");
            owner.insert(key, port);
            assert!(since.elapsed() < PATIENCE, "{line} is sent to and fro");
        };
        seen.note(since, 1);
        if turn % 2 == 1 {
            assert_eq!(text, "OK", "{line}");
            last[key] = turn;
        } else if last[key] > 0 {
            assert_eq!(text, last[key].to_string(), "{line}");
        }
    }
    moved
}

const PYTHON: &str = r#"
import sys, time
from redis.cluster import RedisCluster
port, seconds = int(sys.argv[1]), float(sys.argv[2])
r = RedisCluster(host="127.0.0.1", port=port)
end, n = time.time() + seconds, 0
last = {}
while time.time() < end:
    n += 1
    key = f"py:{n % 97}"
    assert r.set(key, n) is True
    last[key] = n
    other = f"py:{n * 7 % 97}"
    got = r.get(other)
    assert other not in last or int(got) == last[other], (other, got, last.get(other))
for key, n in last.items():
    assert int(r.get(key)) == n, key
print("commands", n * 2)
"#;

/// Hands ranges of slots about, through the front door and owners' ports, until told to stop.
fn hand_about(server: &Server, ids: &[String], stop: &AtomicBool) -> usize {
    let mut done = 0;
    let mut client = server.client();
    while !stop.load(Ordering::Relaxed) {
        done += 1;
        let from = done * 2741 % 16384;
        let to = (from + 1 + done * 911 % 3000).min(16383);
        let id = &ids[done % ids.len()];
        // what is that node's already has to be left out
        let owners = owners(server);
        let words: Vec<String> =
            (from..=to).filter(|slot| owners[*slot] != *id).map(|slot| slot.to_string()).collect();
        if words.is_empty() {
            continue;
        }
        let mut args = vec!["CLUSTER".to_owned(), "HANDOFF".to_owned()];
        args.extend(words);
        args.push(id.clone());
        assert_eq!(client.call(&args).expect("a reply").text(), "OK", "handoff {done}");
    }
    done
}

/// The node of each slot.
fn owners(server: &Server) -> Vec<String> {
    let mut owners = vec![String::new(); 16384];
    for line in server.client().cmd("CLUSTER NODES").text().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        for range in &words[8..] {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            let (from, to): (usize, usize) = (from.parse().expect("a slot"), to.parse().expect("a slot"));
            owners[from..=to].fill(words[0].to_owned());
        }
    }
    owners
}

fn start_python(port: u16, seconds: u64) -> Child {
    let mut command = Command::new(python());
    command.args(["-c", PYTHON, &port.to_string(), &seconds.to_string()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python starts")
}

/// A redis-server node without slots in the host's cluster.
struct Onlooker {
    child: Child,
    client: Client,
    _ports: Ports,
    _dir: TempDir,
}

impl Onlooker {
    fn join(server: &Server) -> Onlooker {
        let (ports, dir) = (Ports::take(), TempDir::new());
        let mut redis = Command::new("redis-server");
        redis.args(["--port", &ports.base.to_string(), "--cluster-enabled", "yes", "--save", "", "--dir"]);
        let child = spawn(redis.arg(&dir.0), &dir.0);
        let client = wait_for(PATIENCE, || Client::connect(ports.base).ok()).expect("redis-server starts");
        let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", ports.base, ports.base + BUS);
        assert_eq!(server.own_client(0).cmd(&meet).text(), "OK");
        let mut onlooker = Onlooker { child, client, _ports: ports, _dir: dir };
        let knows = |c: &mut Client| c.cmd("CLUSTER INFO").text().contains("cluster_slots_assigned:16384");
        assert!(wait_for(PATIENCE, || knows(&mut onlooker.client).then_some(())).is_some());
        let is_well =
            || server.client().cmd("CLUSTER INFO").text().contains("cluster_state:ok").then_some(());
        assert!(wait_for(PATIENCE, is_well).is_some(), "the cluster is well");
        onlooker
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn slots_change_hands_under_load() {
    let seconds = if long() { 30 } else { 5 };
    let server = Server::shoal(Shape::Host(SHARDS as usize), &[]);
    let ports: Vec<u16> = (0..SHARDS).map(|i| server.own_port(i)).collect();
    let ids: Vec<String> =
        (0..SHARDS).map(|i| server.own_client(i).cmd("CLUSTER MYID").text().to_owned()).collect();

    let mut onlooker = Onlooker::join(&server);
    let (stop, stop_handing) = (AtomicBool::new(false), AtomicBool::new(false));
    let (front, own) = (Arc::new(Seen::default()), Arc::new(Seen::default()));
    let snake = start_python(ports[0], seconds);
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args([
        "--cluster",
        "-p",
        &ports[0].to_string(),
        "-t",
        "set,get,incr,lpush",
        "-r",
        "10000",
        "-q",
    ]);
    benchmark.args(["-n", if long() { "400000" } else { "60000" }, "-P", "4", "-c", "12"]);
    let benchmark = benchmark.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("redis-benchmark");
    let (handoffs, moved) = std::thread::scope(|scope| {
        let (stop, server, ids, ports) = (&stop, &server, &ids, &ports);
        let handing = scope.spawn(|| hand_about(server, ids, &stop_handing));
        let fronts: Vec<_> = (0..2)
            .map(|me| {
                scope.spawn({
                    let seen = front.clone();
                    move || check_front_door(server.port(), me, stop, &seen)
                })
            })
            .collect();
        let owns: Vec<_> = (0..2)
            .map(|me| {
                scope.spawn({
                    let seen = own.clone();
                    move || check_own_ports(ports, me, stop, &seen)
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        stop_handing.store(true, Ordering::Relaxed);
        fronts.into_iter().for_each(|t| t.join().expect("a front-door client is content"));
        let moved: u64 = owns.into_iter().map(|t| t.join().expect("a cluster client is content")).sum();
        (handing.join().expect("handoffs succeed"), moved)
    });
    let output = benchmark.wait_with_output().expect("redis-benchmark ends");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success() && !said.concat().contains("rror"), "redis-benchmark: {said:?}");
    let output = snake.wait_with_output().expect("python ends");
    assert!(output.status.success(), "redis-py: {}", String::from_utf8_lossy(&output.stderr));
    let shown =
        |seen: &Seen| (seen.commands.load(Ordering::Relaxed), seen.longest_us.load(Ordering::Relaxed));
    println!(
        "{handoffs} handoffs; front door: {:?} commands and longest us; own ports: {:?}, {moved} MOVED",
        shown(&front),
        shown(&own)
    );
    assert!(handoffs > 10 && moved > 0 && shown(&front).0 > 1000 && shown(&own).0 > 1000);
    finish(server, &mut onlooker.client);
}

/// Everybody agrees on who owns what, and a host that is killed comes back with just that.
fn finish(mut server: Server, onlooker: &mut Client) {
    let slots = |text: &str| -> Vec<String> {
        let mut lines: Vec<String> = text
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                format!("{} {}", words[0], words[8..].join(" "))
            })
            .collect();
        lines.sort();
        lines
    };
    let ours = slots(&server.client().cmd("CLUSTER NODES").text());
    let agreed = wait_for(PATIENCE, || (slots(&onlooker.cmd("CLUSTER NODES").text()) == ours).then_some(()));
    assert!(agreed.is_some(), "{ours:?}\n{:?}", slots(&onlooker.cmd("CLUSTER NODES").text()));
    assert!(!server.log().contains("panicked at"), "{}", server.log());
    server.child.kill().expect("a signal");
    server.child.wait().expect("its end");
    let text = std::fs::read_to_string(server.dir.0.join("nodes.conf")).expect("nodes.conf");
    let nodes: String =
        text.lines().filter(|line| !line.starts_with("vars")).map(|l| format!("{l}\n")).collect();
    assert_eq!(slots(&nodes), ours, "what is on the disk");
}

/// What clients of the slot had acknowledged: values by key, and how long the list was.
#[derive(Default)]
struct Acked {
    values: HashMap<u64, u64>,
    pushed: i64,
}

/// Writes to keys of a slot until its server is gone.
fn write_until_it_dies(port: u16, acked: &mut Acked, from: u64) {
    let Ok(mut client) = Client::connect(port) else { return };
    for n in from.. {
        let key = n % 300;
        if !matches!(client.call(&["SET", &format!("{{big}}:{key}"), &n.to_string()]), Ok(reply) if reply.text() == "OK")
        {
            return;
        }
        acked.values.insert(key, n);
        match client.call(&["RPUSH", "{big}list", &n.to_string()]) {
            Ok(reply) if !reply.is_error() => acked.pushed = reply.int(),
            _ => return,
        }
    }
}

/// Whether the last thing that a log says of slots is that it has begun to take one in.
fn breaks_off_in_a_landing(dir: &std::path::Path, slot: u16) -> bool {
    let logs = std::fs::read_dir(dir.join("appendonlydir")).expect("the logs");
    let incrs = logs
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.to_string_lossy().contains(".incr."));
    incrs.into_iter().any(|path| {
        let log = std::fs::read(path).expect("a log");
        let last = |text: String| log.windows(text.len()).rposition(|part| part == text.as_bytes());
        let [takes, has] = [format!("#SLOTS:~{slot}\r\n"), format!("#SLOTS:+{slot}\r\n")].map(last);
        takes > has
    })
}

/// A host that keeps logs hands a full slot over while clients write to it, and is killed in the midst, again
/// and again: it has all that it has acknowledged.
#[test]
fn a_slot_survives_a_kill_while_it_lands() {
    const KEYS: usize = 40_000;
    let ports = Ports::take();
    let port = ports.base.to_string();
    let args =
        ["--shards", "2", "--port", &port, "--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let mut host = Member::start("shoal", vec![ports.base + 1, ports.base + 2], &args);
    let mut client = Client::connect(ports.base).expect("the front door");
    let value = "v".repeat(1000);
    for part in 0..KEYS / 1000 {
        let sets: Vec<String> =
            (0..1000).map(|n| format!("SET {{big}}filler:{} {value}\r\n", part * 1000 + n)).collect();
        client.send(sets.concat().as_bytes()).expect("sent");
        sets.iter().for_each(|_| assert_eq!(client.read_within(PATIENCE).expect("a reply").text(), "OK"));
    }
    let slot = shoal::slot::key_slot(b"big");
    let ids = host.ids();
    let (mut acked, mut landings) = (Acked::default(), 0);
    let rounds = if long() { 30 } else { 4 };
    for round in 0..rounds {
        let owner = ask(host.ports[0], &format!("CLUSTER COUNTKEYSINSLOT {slot}")) == "0";
        let to = &ids[!owner as usize];
        let mut admin = Client::connect(ports.base).expect("the front door");
        let from = (round + 1) * 1_000_000;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write_until_it_dies(ports.base, &mut acked, from));
            std::thread::sleep(Duration::from_millis(20));
            admin.send(format!("CLUSTER HANDOFF {slot} {to}\r\n").as_bytes()).expect("sent");
            std::thread::sleep(Duration::from_millis(20 + round % 4 * 40));
            host.kill();
            writer.join().expect("a writer ends");
        });
        landings += breaks_off_in_a_landing(&host.dir.0, slot) as usize;
        host.launch();
        let mut client = Client::connect(ports.base).expect("the front door");
        let up =
            wait_for(PATIENCE, || (client.cmd("CLUSTER INFO").text().contains("state:ok")).then_some(()));
        assert!(up.is_some(), "round {round}: it comes back");
        for (key, n) in &acked.values {
            let found = client.cmd(&format!("GET {{big}}:{key}")).text();
            // what was sent last may be there without a reply
            let is_newer = found.parse::<u64>().is_ok_and(|found| found >= *n);
            assert!(is_newer, "round {round}: {key} is {found}, and was {n}");
        }
        let len = client.cmd("LLEN {big}list").int();
        assert!((acked.pushed..=acked.pushed + 1).contains(&len), "round {round}: {len} of {}", acked.pushed);
        acked.pushed = len;
        let count = |port: &u16| ask(*port, &format!("CLUSTER COUNTKEYSINSLOT {slot}"));
        let counts: Vec<String> = host.ports.iter().map(count).collect();
        assert!(counts.contains(&"0".to_string()), "round {round}: {counts:?}");
        for n in (0..KEYS).step_by(97) {
            let line = format!("STRLEN {{big}}filler:{n}");
            assert_eq!(client.cmd(&line).int(), value.len() as i64, "round {round}: {line}");
        }
    }
    assert!(landings > 0, "none of {rounds} kills came in the midst");
}
