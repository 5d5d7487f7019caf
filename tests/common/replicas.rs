//! Primaries and replicas of either kind, seen from outside, and clients that write to them.

use super::client::Client;
use super::resp::encode;
use super::wait_for;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// What lets two servers be compared, and a replica begin at once.
pub const MORE: [&str; 6] =
    ["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb"];

/// Who is copied, and by whom.
pub const PAIRS: [(&str, &str); 3] = [("shoal", "redis"), ("redis", "shoal"), ("shoal", "shoal")];

/// Slots that the keys of one test are spread over.
const TAGS: u64 = 64;
const BATCH: u64 = 2000;

/// One field of INFO; empty when there is none.
pub fn info(client: &mut Client, field: &str) -> String {
    let text = client.cmd("INFO everything").text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

pub fn number(client: &mut Client, field: &str) -> u64 {
    info(client, field).parse().unwrap_or_else(|_| panic!("{field} is no number"))
}

pub fn is_linked(replica: &mut Client) -> Option<()> {
    (info(replica, "master_link_status") == "up").then_some(())
}

/// Of millions of keys it takes its time.
pub fn digest(client: &mut Client) -> String {
    client.send(&encode(&["DEBUG", "DIGEST"])).expect("a server that listens");
    client.read_within(PATIENCE).expect("a digest").text()
}

/// Waits until the replica has all that the primary has, and compares.
pub fn agree(what: &str, primary: &mut Client, replica: &mut Client) {
    let both = |p: &mut Client, r: &mut Client| {
        is_linked(r)?;
        let offsets = (info(p, "master_repl_offset"), info(r, "slave_repl_offset"));
        (offsets.0 == offsets.1).then_some(())
    };
    let synced = wait_for(PATIENCE, || both(primary, replica));
    assert!(synced.is_some(), "{what}: {}", replica.cmd("INFO replication").text());
    let digests = (digest(primary), digest(replica));
    assert_eq!(digests.0, digests.1, "{what}");
    assert_ne!(digests.0, "0".repeat(40), "{what}: there is nothing to compare");
}

pub fn follow(replica: &mut Client, port: u16) {
    assert_eq!(replica.cmd(&format!("REPLICAOF 127.0.0.1 {port}")).text(), "OK");
}

/// The key of this number; those of one tag are in one slot.
fn key(kind: char, n: u64) -> String {
    format!("{kind}{{{}}}{n}", n % TAGS)
}

fn pipeline(client: &mut Client, lines: &str, commands: u64) {
    client.send(lines.as_bytes()).expect("a server that takes commands");
    (0..commands).for_each(|_| drop(client.read().expect("a reply")));
}

/// Sets so many keys of all types, some of which expire one day.
pub fn fill(client: &mut Client, keys: u64) {
    for from in (0..keys).step_by(BATCH as usize) {
        let (mut lines, mut commands) = (String::new(), 0);
        for n in from..keys.min(from + BATCH) {
            let kind = ['k', 'l', 'h', 's', 'z'][(n % 5) as usize];
            let name = key(kind, n);
            lines.push_str(&match kind {
                'k' => format!("SET {name} value-{n}\r\n"),
                'l' => format!("RPUSH {name} a b {n}\r\n"),
                'h' => format!("HSET {name} f {n} g x\r\n"),
                's' => format!("SADD {name} {n} {} m\r\n", n / 7),
                _ => format!("ZADD {name} {n} a 1.5 b\r\n"),
            });
            commands += 1;
            if n % 3 == 0 {
                lines.push_str(&format!("EXPIRE {name} {}\r\n", 100_000 + n));
                commands += 1;
            }
        }
        pipeline(client, &lines, commands);
    }
}

/// Commands of all types by chance.
#[derive(Clone)]
pub struct Chance {
    seed: u64,
    /// They are about so many keys of each type, in so many databases.
    keys: u64,
    databases: u64,
}

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance { seed, keys: 3000, databases: 3 }
    }

    /// As a cluster has them.
    pub fn in_cluster(seed: u64) -> Chance {
        Chance { databases: 1, ..Chance::new(seed) }
    }

    fn next(&mut self, n: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.seed >> 33) % n
    }

    fn line(&mut self, i: u64) -> String {
        let (k, v) = (self.next(self.keys), self.next(1_000_000));
        let other = v % self.keys / TAGS * TAGS + k % TAGS;
        let of = |kind| key(kind, k);
        match self.next(24) {
            0..=3 => format!("SET {} value-{v}", of('k')),
            4 => format!("SET {} {v} EX {}", of('k'), 1000 + v),
            5 => format!("DEL {} {}", of('k'), key('l', other)),
            6 => format!("RPUSH {} {v} a b {i}", of('l')),
            7 => format!("LPOP {}", of('l')),
            8 => format!("LMOVE {} {} LEFT RIGHT", of('l'), key('l', other)),
            9 => format!("HSET {} f{} {v}", of('h'), v % 50),
            10 => format!("HINCRBYFLOAT {} n 1.{v}", of('h')),
            11 => format!("SADD {} {v} m{}", of('s'), v % 9),
            12 => format!("SPOP {}", of('s')),
            13 => format!("ZADD {} {v} m{}", of('z'), v % 40),
            14 => format!("ZPOPMIN {}", of('z')),
            15 => format!("INCRBYFLOAT {} 0.{v}", of('i')),
            16 => format!("EXPIRE {} {}", of('h'), 1000 + v),
            17 => format!("RENAME {} {}", of('k'), key('k', other)),
            18 => format!("SELECT {}", v % self.databases),
            19 => format!("XADD {} MAXLEN ~ 5 * f {v} g {i}", of('x')),
            20 => format!("XGROUP CREATE {} g 0 MKSTREAM", of('x')),
            21 => format!("XREADGROUP GROUP g c{} COUNT 2 STREAMS {} >", v % 3, of('x')),
            22 => format!("XAUTOCLAIM {} g c{} 0 0 COUNT 3", of('x'), v % 3),
            _ => format!("APPEND {} {v}", of('k')),
        }
    }

    /// Writes so many commands, in a pipeline.
    pub fn write(&mut self, client: &mut Client, commands: u64) {
        let lines: String = (0..commands).map(|i| self.line(i) + "\r\n").collect();
        pipeline(client, &lines, commands);
    }
}

/// A client that writes until it is stopped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    pub fn start(port: u16, mut chance: Chance) -> Writer {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), written.clone());
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(port).expect("a connection");
            while !stopped.load(Ordering::Relaxed) {
                chance.write(&mut client, 50);
                count.fetch_add(50, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Writer { stop, written, thread }
    }

    /// Waits until so many more commands are written.
    pub fn go_on(&self, commands: u64) {
        let until = self.written.load(Ordering::Relaxed) + commands;
        let done = || (self.written.load(Ordering::Relaxed) >= until).then_some(());
        wait_for(PATIENCE, done).expect("a writer that gets on");
    }

    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a writer without errors");
    }
}
