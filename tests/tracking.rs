//! Client-side caching, beside the real redis-server: several clients' commands, and all that each of them is sent.

mod common;

use common::client::Client;
use common::resp::encode;
use common::server::{Server, Shape, run};
use common::{python, wait_for};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// So long nothing comes, when all has come.
const QUIET: Duration = Duration::from_millis(50);
/// In this time keys expire, read or not, that were to live for three times [`QUIET`].
const A_WHILE: Duration = Duration::from_millis(400);
const SHAPES: [Shape; 4] = [Shape::Standalone(1), Shape::Standalone(2), Shape::Host(1), Shape::Host(2)];

/// A client's letter and its command; `$X` is the id of client X. An empty line begins anew, with new clients.
const STORIES: &str = r"
A HELLO 3
A CLIENT TRACKINGINFO
A CLIENT GETREDIR
A CLIENT TRACKING ON
A CLIENT TRACKINGINFO
A CLIENT GETREDIR
A GET k
B SET k 1
B SET k 2
A MGET k l m n
B MSET l 1 m 2 other 3
B DEL n
B DEL k
A GET h
A SET h 1
A SET h 2
A GET h
A INCR h
A LRANGE list 0 -1
B RPUSH list 1 2 3
A LLEN list
B LPOP list
A EXISTS x y
B SET y 1
A GET e
B SET e 1 PX 150
@
A GET e
B PEXPIRE e 20
@
A GET k
A MULTI
A GET t
A SET k 5
A GET k
A EXEC
B SET t 1
B SET k 7
A GET k
B FLUSHDB
A GET k
B SET k 1
A GET k
A FLUSHALL
A GET k
A MULTI
A FLUSHALL
A GET z
A EXEC
B SET z 1
A CLIENT LIST TYPE pubsub
A GET k
A CLIENT TRACKING OFF
A CLIENT TRACKINGINFO
B SET k 3
A GET k
B SET k 4

A HELLO 3
A CLIENT TRACKING ON NOLOOP
A GET k
A SET k 1
A GET k
B SET k 2
A MGET p q
A MSET p 1 q 2
B MSET p 1 q 2
A CLIENT TRACKINGINFO
A RESET
A HELLO 3
B SET k 5
A CLIENT TRACKINGINFO

A HELLO 3
A CLIENT TRACKING ON OPTIN
A CLIENT TRACKINGINFO
A GET k
B SET k 1
A CLIENT CACHING YES
A CLIENT TRACKINGINFO
A GET k
A GET l
B SET k 2
B SET l 2
A CLIENT CACHING YES
A MULTI
A GET k
A GET l
A EXEC
B SET k 3
B SET l 3
A CLIENT CACHING NO
A CLIENT CACHING maybe
A CLIENT TRACKING ON OPTOUT
A CLIENT TRACKING OFF
A CLIENT CACHING YES
A CLIENT TRACKING ON OPTOUT
A GET k
A CLIENT CACHING NO
A CLIENT TRACKINGINFO
A GET l
A CLIENT CACHING YES
B SET k 4
B SET l 4

A HELLO 3
A CLIENT TRACKING ON BCAST
A CLIENT TRACKINGINFO
B SET anything 1
B MSET c 1 a 2 b 3
A SET own 1
B DEL anything a nothing
B FLUSHALL
A CLIENT TRACKING ON
A CLIENT TRACKING ON BCAST
A CLIENT TRACKING OFF
B SET c 1
A CLIENT TRACKING ON BCAST PREFIX user: PREFIX item: NOLOOP
A CLIENT TRACKINGINFO
B SET user:1 x
B SET item:1 x
B SET thing:1 x
B MSET user:1 a item:1 b user:2 c thing:2 d
A SET user:1 own
B SET user:9 x PX 150
@
A CLIENT TRACKING ON BCAST PREFIX user:1
A CLIENT TRACKING ON BCAST PREFIX a PREFIX ab
A CLIENT TRACKING ON BCAST PREFIX more
A CLIENT TRACKINGINFO
B SET more 1

R CLIENT ID
R SUBSCRIBE __redis__:invalidate
A CLIENT TRACKING ON REDIRECT $R
A CLIENT TRACKINGINFO
A CLIENT GETREDIR
A GET k
B SET k 1
A GET k
A SET k 2
B FLUSHALL
A CLIENT TRACKING OFF
A CLIENT TRACKING ON BCAST REDIRECT $R
B MSET x 1 y 2
A CLIENT TRACKING OFF
R UNSUBSCRIBE
A CLIENT TRACKING ON REDIRECT $R
A GET k
B SET k 5

R HELLO 3
A HELLO 3
A CLIENT TRACKING ON REDIRECT $R
A GET k
B SET k 1
A GET k
R QUIT
@
B SET k 2
A CLIENT TRACKINGINFO

A CLIENT TRACKING
A CLIENT TRACKING maybe
A CLIENT TRACKING ON BCAST OPTIN
A CLIENT TRACKING ON OPTIN OPTOUT
A CLIENT TRACKING ON PREFIX a
A CLIENT TRACKING ON REDIRECT 999999
A CLIENT TRACKING ON REDIRECT abc
A CLIENT TRACKING ON REDIRECT
A CLIENT TRACKING ON REDIRECT $A REDIRECT $B
A CLIENT TRACKING ON WHAT
A CLIENT CACHING
A CLIENT CACHING YES
A CLIENT GETREDIR x
A CLIENT TRACKING ON
A GET k
B SET k 1
A CLIENT TRACKINGINFO
";

/// Sends a command: its reply, behind what is pushed before.
fn ask(client: &mut Client, command: &[u8]) -> Vec<u8> {
    client.send(command).expect("it is sent");
    let mut said = Vec::new();
    loop {
        let reply = client.read().expect("a reply");
        said.extend(reply.raw);
        if reply.node.kind != b'>' {
            return said;
        }
    }
}

struct Cast<'a> {
    server: &'a Server,
    clients: BTreeMap<char, (Client, String)>,
    /// Who has acted last, and the reply.
    replied: (char, Vec<u8>),
}

impl<'a> Cast<'a> {
    fn new(server: &'a Server) -> Cast<'a> {
        server.client().cmd("FLUSHALL");
        let mut cast = Cast { server, clients: BTreeMap::new(), replied: (' ', Vec::new()) };
        ['A', 'B', 'R'].iter().for_each(|who| cast.enter(*who));
        cast
    }

    fn enter(&mut self, who: char) {
        let mut client = self.server.client();
        let id = client.cmd("CLIENT ID").int().to_string();
        self.clients.insert(who, (client, id));
    }

    fn act(&mut self, line: &str) {
        let (who, command) = line.split_at(1);
        let mut command = command.trim().to_owned();
        for (name, (_, id)) in &self.clients {
            command = command.replace(&format!("${name}"), id);
        }
        let who = who.chars().next().expect("a letter");
        let (client, _) = self.clients.get_mut(&who).expect("a client");
        let words: Vec<&str> = command.split(' ').collect();
        // its reply comes in time, what is pushed within a while
        self.replied = (who, ask(client, &encode(&words)));
    }

    /// What everybody has been sent since the line before.
    fn hear(&mut self, line: &str) -> Vec<String> {
        let ids: Vec<(char, String)> =
            self.clients.iter().map(|(name, (_, id))| (*name, id.clone())).collect();
        let mut sent = Vec::new();
        for (name, (client, _)) in &mut self.clients {
            let (mut bytes, closed) = client.drain(Duration::from_millis(1));
            if self.replied.0 == *name {
                bytes.splice(0..0, self.replied.1.drain(..));
            }
            let mut text = bytes.escape_ascii().to_string();
            if line.contains("CLIENT") || text.contains("redir-broken") {
                // ids are the server's own
                for (of, id) in &ids {
                    text = text.replace(&format!(":{id}\\r\\n"), &format!(":{of}\\r\\n"));
                }
            }
            if line.ends_with("HELLO 3") || line.ends_with("CLIENT ID") {
                text = "+GREETED".to_owned();
            }
            sent.push(format!("{name}: {text}{}", if closed { " CLOSED" } else { "" }));
        }
        sent
    }
}

#[test]
fn clients_are_told_what_redis_server_tells_them() {
    for shape in SHAPES {
        let (redis, shoal) = (Server::redis(Shape::Standalone(1)), Server::shoal(shape, &[]));
        let mut wrong = Vec::new();
        for story in STORIES.trim().split("\n\n") {
            let (mut theirs, mut ours) = (Cast::new(&redis), Cast::new(&shoal));
            // siblings hear of prefixes with their next tick
            let settles = story.contains("BCAST");
            for line in story.lines() {
                match line {
                    "@" => std::thread::sleep(A_WHILE),
                    _ => [&mut theirs, &mut ours].into_iter().for_each(|cast| cast.act(line)),
                }
                // a connection is closed some time after the last reply
                std::thread::sleep(if line.ends_with("QUIT") { A_WHILE } else { QUIET });
                let (t, mut o) = (theirs.hear(line), ours.hear(line));
                if settles && line.contains("TRACKING ON") {
                    std::thread::sleep(Duration::from_millis(150));
                }
                if t != o && matches!(shape, Shape::Standalone(2) | Shape::Host(2)) {
                    // a command over two shards may be told of in two messages, and in either order
                    o = o
                        .iter()
                        .zip(&t)
                        .map(|(o, t)| if same_keys(o, t) { t.clone() } else { o.clone() })
                        .collect();
                }
                if t != o {
                    wrong.push(format!("{line}\n  redis: {t:#?}\n  shoal: {o:#?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{shape:?}:\n{}", wrong.join("\n"));
    }
}

/// Whether both tell of the same keys, in however many messages.
fn same_keys(a: &str, b: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let all =
            text.split("\\r\\n").filter(|word| !word.starts_with(['$', '*', '>']) && *word != "invalidate");
        let mut words: Vec<String> = all.map(str::to_owned).collect();
        words.sort();
        words.dedup();
        words
    };
    words(a) == words(b)
}

fn field(client: &mut Client, section: &str, name: &str) -> u64 {
    let text = client.cmd(&format!("INFO {section}")).text();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
    line.trim().parse().unwrap_or_else(|_| panic!("{name} in {text}"))
}

/// What is remembered is bounded, and forgotten when its client is gone and the keys have changed.
#[test]
fn what_is_remembered_is_bounded_and_forgotten() {
    for shape in [Shape::Standalone(1), Shape::Host(2)] {
        let server = Server::shoal(shape, &["--tracking-table-max-keys", "100"]);
        let mut other = server.client();
        let mut clients: Vec<Client> = (0..6).map(|_| server.client()).collect();
        for client in &mut clients {
            client.cmd("HELLO 3");
            client.cmd("CLIENT TRACKING ON");
            for n in 0..300 {
                client.send(format!("GET key{n}\r\n").as_bytes()).expect("it is sent");
            }
        }
        for client in &mut clients {
            let (told, _) = client.drain(Duration::from_millis(200));
            let text = String::from_utf8_lossy(&told).into_owned();
            assert!(
                text.matches("invalidate").count() >= 150,
                "{shape:?}: {}",
                text.matches("invalidate").count()
            );
        }
        assert_eq!(field(&mut other, "clients", "tracking_clients"), 6);
        assert!((1..=100).contains(&field(&mut other, "stats", "tracking_total_keys")), "{shape:?}");
        assert!(field(&mut other, "stats", "tracking_total_items") >= 1);
        drop(clients);
        (0..300).for_each(|n| drop(other.cmd(&format!("SET key{n} x"))));
        let forgotten = || {
            let left = [
                ("clients", "tracking_clients"),
                ("stats", "tracking_total_keys"),
                ("stats", "tracking_total_items"),
            ];
            left.iter().all(|(section, name)| field(&mut other, section, name) == 0).then_some(())
        };
        assert!(
            wait_for(PATIENCE, forgotten).is_some(),
            "{shape:?}: {}",
            server.client().cmd("INFO stats").text()
        );
    }
}

/// A copy is told of as out of date wherever its slot has gone meanwhile.
#[test]
fn copies_follow_their_slots() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let ids = [0, 1].map(|shard| server.own_client(shard).cmd("CLUSTER MYID").text());
    let mut other = server.client();
    let mut clients: Vec<Client> = (0..6).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| {
        client.cmd("HELLO 3");
        client.cmd("CLIENT TRACKING ON");
    });
    for round in 0..6 {
        for client in &mut clients {
            client.cmd("GET bar");
            client.cmd("MGET bar foo");
        }
        let to = &ids[(round + 1) % 2];
        assert_eq!(other.cmd(&format!("CLUSTER HANDOFF 5061 {to}")).text(), "OK");
        other.cmd(&format!("SET bar {round}"));
        for client in &mut clients {
            assert!(
                client.read().expect("a push").raw.starts_with(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nbar"),
                "{round}"
            );
        }
    }
}

/// Whoever borrows the slot of a key reads it for its client, and tells whose copy it makes useless.
#[test]
fn what_is_read_and_changed_on_loan_is_told() {
    const KEYS: usize = 40;
    let reads =
        [vec!["SCARD key"], vec!["SINTER key other1 other2"], vec!["MULTI", "SINTER key other3", "EXEC"]];
    let writes = ["SADD key x", "SUNIONSTORE key a b c", "RENAME spare key"];
    for shape in [Shape::Standalone(4), Shape::Host(4)] {
        let server = Server::shoal(shape, &[]);
        let mut writers: Vec<Client> = (0..8).map(|_| server.client()).collect();
        ["SADD a 1", "SADD b 2", "SADD c 3"].iter().for_each(|line| drop(writers[0].cmd(line)));
        for (read, write) in reads.iter().flat_map(|read| writes.map(|write| (read, write))) {
            let mut cache = server.client();
            cache.cmd("HELLO 3");
            cache.cmd("CLIENT TRACKING ON OPTIN");
            let mut told = Vec::new();
            for n in 0..KEYS {
                let with_number = |line: &str| line.replace("key", &format!("key{n}"));
                for line in ["CLIENT CACHING YES"].iter().chain(read) {
                    told.extend(ask(&mut cache, &encode(&with_number(line).split(' ').collect::<Vec<_>>())));
                }
                let writer = &mut writers[n % 8];
                writer.cmd("SADD spare x");
                writer.cmd(&with_number(write));
            }
            let all = wait_for(PATIENCE, || {
                told.extend(cache.drain(QUIET).0);
                let text = String::from_utf8_lossy(&told);
                (0..KEYS).all(|n| text.contains(&format!("\nkey{n}\r"))).then_some(())
            });
            assert!(all.is_some(), "{shape:?}, {read:?}, {write}: {}", told.escape_ascii());
            (0..KEYS).for_each(|n| drop(writers[0].cmd(&format!("DEL key{n}"))));
        }
    }
}

#[test]
fn redis_py_keeps_copies() {
    for shape in SHAPES {
        let server = Server::shoal(shape, &[]);
        let output = run(Command::new(python()).args(["-c", KEEPS, &server.port().to_string()]));
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!err.contains("No module named 'redis'"), "redis-py is missing: tests/run installs it");
        assert!(output.status.success(), "{shape:?}: {err}");
    }
}

/// redis-py asks for Redis 7.4; what it uses is there since 6.0.
const KEEPS: &str = r#"
import sys, time, redis
from redis.cache import CacheConfig
redis.connection.CacheProxyConnection.MIN_ALLOWED_VERSION = '6.0.0'
port = int(sys.argv[1])
r = redis.Redis(port=port, protocol=3, cache_config=CacheConfig())
w = redis.Redis(port=port)
cache = r.get_cache()
for n in range(50):
    w.set(f'k{n}', n)
for n in range(50):
    assert r.get(f'k{n}') == str(n).encode()
assert cache.size == 50, cache.size
assert r.get('k7') == b'7'
for n in range(50):
    w.set(f'k{n}', -n)
until = time.time() + 10
for n in range(50):
    while r.get(f'k{n}') != str(-n).encode():
        assert time.time() < until, n
        time.sleep(0.01)
"#;
