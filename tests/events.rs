//! What clients are told of keys and of commands: keyspace events, which keys count as changed, and MONITOR, beside
//! the real redis-server.

mod common;

use common::client::Client;
use common::resp::Reply;
use common::server::{Server, Shape};
use common::wait_for;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const SHAPES: [Shape; 4] = [Shape::Standalone(1), Shape::Standalone(2), Shape::Host(1), Shape::Host(2)];

/// Every way to change a key, and reads of keys that are not there.
const COMMANDS: &str = "
SET s 1
SET s 2
SET s 3 EX 100
SET s 4 NX
SET none 4 XX
SET s 5 GET
SET s 6 KEEPTTL
GET s
GET none
MGET s none none2
GETDEL none
GETEX s EX 100
GETEX s PERSIST
GETEX none EX 100
GETEX s PXAT 1
SETNX s 1
SETNX s 1
SETEX s 100 1
PSETEX s 100000 1
GETSET s 2
GETSET s2 2
APPEND s 3
APPEND s3 3
INCR s
INCRBY n 5
DECR n
DECRBY n 2
INCRBYFLOAT n 1.5
INCRBYFLOAT f 1.5
SETRANGE s 2 xx
SETRANGE r 2 xx
SETRANGE none 2 \"\"
STRLEN none
GETRANGE none 0 1
MSET m1 1 m2 2 m1 3
MSETNX m1 1 m3 3
MSETNX m4 1 m5 3
LCS none m1
DEL s none
UNLINK s2 s3 none
GETDEL n
EXISTS none m1
TOUCH none m1
TYPE none
OBJECT ENCODING none
TTL none
EXPIRE m1 100
EXPIRE none 100
EXPIRE m1 50 GT
PEXPIRE m1 100000
EXPIREAT m1 99999999999
PEXPIREAT m1 99999999999999
PERSIST m1
PERSIST m1
EXPIRE m1 -1
EXPIREAT m2 1
RENAME m4 m6
RENAME m6 m6
RENAMENX m6 m5
RENAMENX m6 m7
COPY m7 m8
COPY m7 m8 REPLACE
COPY none m8
COPY m7 m8
SORT none
RPUSH l 3 1 2
RPUSH l 4
LPUSH l 5
LPUSHX l 6
LPUSHX none 6
RPUSHX none 6
LINSERT l BEFORE 1 9
LINSERT l BEFORE 77 9
LSET l 0 8
LREM l 0 8
LREM l 0 77
LTRIM l 0 3
LTRIM l 5 6
RPUSH l 1 2 3 4 5 6
LPOP l
RPOP l 2
LPOP none
LPOP l 0
LMPOP 2 none l LEFT COUNT 1
LMOVE l l2 LEFT RIGHT
LMOVE l l LEFT RIGHT
RPOPLPUSH l l2
LMOVE none l LEFT LEFT
BLPOP l2 0
BRPOP l2 0
RPUSH l2 1
BLMOVE l2 l3 LEFT LEFT 0
LRANGE none 0 1
LLEN none
LINDEX none 0
LPOS none 1
SORT l STORE sorted
SORT none STORE sorted
SORT none STORE sorted
DEL l
SADD set 1 2 3
SADD set 1
SADD set 4
SREM set 4 9
SREM set 9
SMOVE set set2 1
SMOVE set set2 9
SMOVE set2 set 1
SADD one 1
SPOP one
SADD one 1
SPOP one 5
SADD one 1
SREM one 1
SPOP none
SMEMBERS none
SISMEMBER none 1
SINTERSTORE inter set set
SINTERSTORE inter set none
SUNIONSTORE union set none
SDIFFSTORE diff set set2
SDIFFSTORE diff set set
SINTER none set
SRANDMEMBER none
SCARD none
HSET h a 1 b 2
HSET h a 2
HMSET h a 1 c 3
HSETNX h a 1
HSETNX h d 1
HSETNX h2 d 1
HINCRBY h a 1
HINCRBY h3 a 1
HINCRBYFLOAT h a 1.5
HDEL h a zz
HDEL h zz
HDEL h2 d
HGET none a
HGET h none
HGETALL none
HMGET none a
HLEN none
ZADD z 1 a 2 b 3 c
ZADD z 1 a
ZADD z 5 a
ZADD z NX 6 a
ZADD z XX CH 6 a
ZADD z INCR 6 a
ZADD none XX 1 a
ZINCRBY z 1 a
ZINCRBY z2 1 a
ZREM z a zz
ZREM z zz
ZREM z2 a
ZADD z 1 d 2 e 3 f 4 g 5 h 6 i 7 j
ZREMRANGEBYSCORE z 7 7
ZREMRANGEBYSCORE z 70 70
ZREMRANGEBYRANK z 0 0
ZREMRANGEBYLEX z [x [y
ZPOPMIN z
ZPOPMAX z 2
ZPOPMIN none
ZMPOP 2 none z MIN
ZUNIONSTORE zu 2 z none
ZINTERSTORE zi 2 z none
ZDIFFSTORE zd 2 z none
ZINTERSTORE zu 2 z none
ZRANGESTORE zr z 0 -1
ZRANGESTORE zr z 50 60
BZPOPMIN z 0
BZPOPMAX zd 0
ZSCORE none a
ZRANGE none 0 1
ZCARD none
ZADD zs 1 a
ZREMRANGEBYRANK zs 0 -1
SETBIT bits 7 1
SETBIT bits 7 1
SETBIT bits 100 0
SETBIT bits2 7 0
GETBIT none 1
BITCOUNT none
BITPOS none 1
BITOP AND dest bits bits2
BITOP NOT dest none
BITOP NOT dest none
BITFIELD bits SET u8 0 1 GET u8 0
BITFIELD bits GET u8 0
BITFIELD bits3 INCRBY u8 0 1
BITFIELD none GET u8 0
BITFIELD_RO none GET u8 0
PFADD hll a b c
PFADD hll a
PFADD hll2
PFCOUNT hll
PFCOUNT hll
PFCOUNT hll none
PFADD hll d
PFCOUNT hll
PFCOUNT none
PFMERGE hll3 hll none
PFMERGE hll3
PFDEBUG TODENSE hll
GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEOADD geo 13.361389 38.115556 Palermo
GEOADD geo XX CH 13.5 38.115556 Palermo
GEOPOS none a
GEODIST none a b
GEOSEARCH none FROMLONLAT 15 37 BYRADIUS 200 km
GEOSEARCHSTORE near geo FROMLONLAT 15 37 BYRADIUS 2000 km
GEOSEARCHSTORE near geo FROMLONLAT 15 37 BYRADIUS 1 m
GEORADIUS geo 15 37 2000 km STORE near
GEORADIUS none 15 37 2000 km STORE near
RPUSH trim 1 2 3
LTRIM trim 0 -1
LTRIM none 0 -1
LREM none 0 1
LSET trim 0 1
APPEND s4 \"\"
APPEND s4 \"\"
SETRANGE s4 0 \"\"
HSET same a 1
HSET same a 1
HINCRBY same a 0
INCRBY same2 0
SMOVE union union 1
SPOP union 0
PERSIST none
EXPIRE none -1
SINTERSTORE none9 none none2
DUMP none
RESTORE back 0 \"\\x00\\xc0\\n\\n\\x00n\\x9fWE\\x0e\\xaec\\xbb\"
RESTORE back 0 \"\\x00\\xc0\\n\\n\\x00n\\x9fWE\\x0e\\xaec\\xbb\" REPLACE
SET short 1 PX 20
@sleep 60
GET short
SET short 1 PX 20
@sleep 60
SET short 2
DEL short
SET short 1 PX 20
@sleep 60
INCR short
MULTI
SET x 1
INCR x
DEL x
EXEC
WATCH x
FLUSHDB
";

/// What several databases are for.
const IN_DATABASES: &str = "
SET k 1
MOVE k 1
MOVE k 1
SELECT 1
GET k
COPY k k DB 2
COPY k k DB 2
COPY k k DB 2 REPLACE
SELECT 2
RPUSH l 1
SWAPDB 1 2
GET k
EXPIRE k 100
FLUSHDB
SELECT 0
FLUSHALL
";

/// Words of a line, as redis-cli takes them.
fn words(line: &str) -> Vec<Vec<u8>> {
    let (mut out, mut word, mut quoted, mut begun) = (Vec::new(), Vec::new(), false, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => (quoted, begun) = (!quoted, true),
            '\\' if quoted => match chars.next().expect("an escape") {
                'x' => {
                    let hex: String = chars.by_ref().take(2).collect();
                    word.push(u8::from_str_radix(&hex, 16).expect("two digits"));
                }
                'n' => word.push(b'\n'),
                c => word.push(c as u8),
            },
            ' ' if !quoted => {
                if begun {
                    out.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                begun = true;
                word.push(c as u8);
            }
        }
    }
    if begun {
        out.push(word);
    }
    out
}

struct Side {
    client: Client,
    ear: Client,
    /// Hears which keys have changed (CLIENT TRACKING with BCAST).
    cache: Client,
    /// Of its own: the other may be in MULTI.
    marker: Client,
    marks: usize,
}

impl Side {
    fn new(server: &Server, flags: &str) -> Side {
        let mut client = server.client();
        assert_eq!(client.cmd(&format!("CONFIG SET notify-keyspace-events {flags}")).text(), "OK");
        let mut cache = server.client();
        cache.cmd("HELLO 3");
        cache.cmd("SUBSCRIBE mark");
        assert_eq!(cache.cmd("CLIENT TRACKING ON BCAST").text(), "OK");
        // every shard has taken it up with its next tick
        std::thread::sleep(Duration::from_millis(250));
        let mut ear = server.client();
        ear.cmd("PSUBSCRIBE __key*");
        ear.cmd("SUBSCRIBE mark");
        Side { client, ear, cache, marker: server.client(), marks: 0 }
    }

    /// What is told until a mark of ours comes: events, and behind them the keys that have changed.
    fn events(&mut self) -> Vec<String> {
        self.marks += 1;
        self.marker.cmd(&format!("PUBLISH mark {}", self.marks));
        let mut told = Vec::new();
        loop {
            let reply = self.ear.read().expect("an event or the mark");
            let parts: Vec<String> = parts(&reply);
            if parts[0] == "message" {
                break;
            }
            told.push(format!("{} {}", parts[2], parts[3]));
        }
        loop {
            let reply = self.cache.read().expect("an invalidation or the mark");
            if parts(&reply)[0] == "message" {
                return told;
            }
            let keys = &reply.node.items[1].items;
            let keys = keys.iter().map(|key| String::from_utf8_lossy(reply.body(key)).into_owned());
            told.extend(keys.map(|key| format!("changed {key}")));
            if reply.node.items[1].items.is_empty() {
                told.push("changed all".to_owned());
            }
        }
    }

    fn run(&mut self, line: &str) -> String {
        match line.strip_prefix("@sleep ") {
            Some(ms) => std::thread::sleep(Duration::from_millis(ms.parse().expect("a number"))),
            None => return show(&self.client.call(&words(line)).expect("a reply")),
        }
        String::new()
    }
}

fn parts(reply: &Reply) -> Vec<String> {
    reply.node.items.iter().map(|item| String::from_utf8_lossy(reply.body(item)).into_owned()).collect()
}

fn show(reply: &Reply) -> String {
    reply.raw.escape_ascii().to_string()
}

#[test]
fn every_command_tells_what_redis_server_tells() {
    for shape in SHAPES {
        let (redis, shoal) = (Server::redis(Shape::Standalone(1)), Server::shoal(shape, &[]));
        let (mut theirs, mut ours) = (Side::new(&redis, "KEAmn"), Side::new(&shoal, "KEAmn"));
        let exact = matches!(shape, Shape::Standalone(1) | Shape::Host(1));
        let mut wrong = Vec::new();
        // events of a sibling may come behind the mark: then only what is told in all counts
        let (mut all_theirs, mut all_ours) = (Vec::new(), Vec::new());
        let databases = if matches!(shape, Shape::Standalone(_)) { IN_DATABASES } else { "" };
        for line in COMMANDS.lines().chain(databases.lines()).filter(|line| !line.is_empty()) {
            let replies = (theirs.run(line), ours.run(line));
            let (t, o) = (theirs.events(), ours.events());
            if exact && (t != o || replies.0 != replies.1 && !line.starts_with("DUMP")) {
                wrong.push(format!("{line}\n  redis: {} {t:?}\n  shoal: {} {o:?}", replies.0, replies.1));
            }
            all_theirs.extend(t);
            all_ours.extend(o);
        }
        assert!(wrong.is_empty(), "{shape:?}:\n{}", wrong.join("\n"));
        for _ in 0..100 {
            if all_ours.len() >= all_theirs.len() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            all_ours.extend(ours.events());
        }
        assert!(all_theirs.len() > 300, "{} events", all_theirs.len());
        all_theirs.sort();
        all_ours.sort();
        assert_eq!(all_ours, all_theirs, "{shape:?}");
    }
}

#[test]
fn classes_are_told_that_are_asked_for() {
    let script = ["SET k v", "GET none", "RPUSH l x", "DEL k l", "SADD s x", "EXPIRE s 100", "DEL s"];
    for flags in ["KE$", "K$", "E$", "Elg", "KEm", "KEn", "Kg", "A", "\"\"", "KEA", "Esx"] {
        let (redis, shoal) = (Server::redis(Shape::Standalone(1)), Server::shoal(Shape::Standalone(1), &[]));
        let flags = flags.trim_matches('"');
        let told = [&redis, &shoal].map(|server| {
            let mut side = Side::new(server, if flags.is_empty() { "g" } else { flags });
            script.map(|line| {
                side.run(line);
                side.events()
            })
        });
        assert_eq!(told[1], told[0], "{flags}");
    }
}

/// Of a cluster's nodes, each tells of its own keys; the front door hears of all.
#[test]
fn a_nodes_clients_hear_of_the_nodes_own_keys() {
    let server = Server::shoal(Shape::Host(2), &[]);
    assert_eq!(server.client().cmd("CONFIG SET notify-keyspace-events KA").text(), "OK");
    std::thread::sleep(Duration::from_millis(250));
    let mut ears: Vec<Client> =
        [server.own_port(0), server.own_port(1), server.port(), server.port(), server.port(), server.port()]
            .map(|port| Client::connect(port).expect("a connection"))
            .into();
    ears.iter_mut().for_each(|ear| drop(ear.cmd("PSUBSCRIBE __key*")));
    let mut client = server.client();
    for n in 0..20 {
        client.cmd(&format!("SET key{n} x"));
    }
    let told: Vec<usize> = ears
        .iter_mut()
        .map(|ear| {
            let (bytes, _) = ear.drain(Duration::from_millis(400));
            String::from_utf8_lossy(&bytes).matches("pmessage").count()
        })
        .collect();
    assert_eq!(told[0] + told[1], 20, "{told:?}");
    assert!(told[0] > 0 && told[1] > 0 && told[2..].iter().all(|n| *n == 20), "{told:?}");
}

#[test]
fn what_is_evicted_is_told() {
    for shape in [Shape::Standalone(1), Shape::Host(2)] {
        let server = Server::shoal(shape, &["--maxmemory-policy", "allkeys-random"]);
        let mut side = Side::new(&server, "Ee");
        assert_eq!(side.client.cmd("CONFIG SET maxmemory 2mb").text(), "OK");
        for n in 0..4000 {
            side.client.call(&["SET", &format!("key{n}"), &"x".repeat(1000)]).expect("a reply");
        }
        side.client.cmd("CONFIG SET maxmemory 0");
        let mut told = side.events();
        let evicted = || {
            told.extend(side.events());
            told.retain(|event| !event.starts_with("changed"));
            let text = side.client.cmd("INFO stats").text();
            let evicted = text.lines().find_map(|l| l.strip_prefix("evicted_keys:")).expect("a field");
            (told.len() as u64 == evicted.trim().parse::<u64>().expect("a number")).then_some(told.len())
        };
        let evicted = wait_for(PATIENCE, evicted).expect("all that is evicted is told");
        assert!(evicted > 500 && told.iter().all(|event| event.starts_with("__keyevent@0__:evicted key")));
    }
}

// ---- MONITOR

const SHOWN: &str = "
SET k v
GET k
get K
NOSUCH x
GET
SET k \"a b\\xff\\n\\\"\\\\\"
MSET a 1 b 2 c 3
MGET a b c
SELECT 0
AUTH x
AUTH user x
HELLO 2 AUTH default x
CONFIG GET port
CLIENT SETNAME me
CLIENT LIST
CLIENT ID
MULTI
SET a 1
INCR a
EXEC
MULTI
GET a
NOSUCH
EXEC
BLPOP list 0.01
RPUSH list 1
LPOP list
SUNIONSTORE x y z
DBSIZE
KEYS *
PUBLISH a b
EVAL x 0
PING
DEBUG SLEEP 0
INFO server
FLUSHALL
";

/// A line of MONITOR without its time and its port.
fn stripped(line: &str) -> String {
    let (head, rest) = line.split_once(" [").unwrap_or_else(|| panic!("{line}"));
    let time = head.trim_start_matches('+');
    assert!(time.len() == 17 && time.as_bytes()[10] == b'.', "{line}");
    let (place, words) = rest.split_once("] ").unwrap_or_else(|| panic!("{line}"));
    let (db, address) = place.split_once(' ').unwrap_or_else(|| panic!("{line}"));
    let (ip, _) = address.rsplit_once(':').unwrap_or_else(|| panic!("{line}"));
    format!("{db} {ip} {words}")
}

fn shown(ear: &mut Client, client: &mut Client) -> Vec<String> {
    assert_eq!(ear.cmd("MONITOR").text(), "OK");
    // siblings take it up with their next turn
    std::thread::sleep(Duration::from_millis(250));
    for line in SHOWN.lines().filter(|line| !line.is_empty()) {
        client.call(&words(line)).expect("a reply");
    }
    client.cmd("ECHO the-end");
    let mut lines = Vec::new();
    loop {
        let line = stripped(&ear.read().expect("a line").text());
        if line.ends_with("\"the-end\"") {
            return lines;
        }
        lines.push(line);
    }
}

#[test]
fn monitors_see_what_they_see_in_redis_server() {
    for shape in SHAPES {
        let (redis, shoal) = (Server::redis(Shape::Standalone(1)), Server::shoal(shape, &[]));
        let [theirs, mut ours] = [&redis, &shoal].map(|server| {
            let (mut ear, mut client) = (server.client(), server.client());
            shown(&mut ear, &mut client)
        });
        // EVAL is unknown here
        let theirs: Vec<String> = theirs.into_iter().filter(|line| !line.contains("EVAL")).collect();
        ours.retain(|line| !line.contains("EVAL"));
        assert_eq!(ours, theirs, "{shape:?}");
    }
}

#[test]
fn a_monitor_may_do_nothing_with_keys_and_ends_with_reset() {
    let lines = ["MONITOR", "GET a", "SET a 1", "PUBLISH a b", "PING", "MONITOR", "RESET", "GET a"];
    let [theirs, ours] =
        [Server::redis(Shape::Standalone(1)), Server::shoal(Shape::Host(2), &[])].map(|server| {
            let mut client = server.client();
            // a second MONITOR is not answered
            lines.map(|line| match line {
                "MONITOR" => {
                    client.send(b"MONITOR\r\n").expect("it is sent");
                    String::from_utf8_lossy(&client.drain(Duration::from_millis(300)).0).into_owned()
                }
                line => {
                    let reply = show(&client.cmd(line));
                    // what it did is shown to itself, too
                    let more = client.drain(Duration::from_millis(200)).0;
                    format!("{reply} {}", String::from_utf8_lossy(&more).matches("127.0.0.1").count())
                }
            })
        });
    assert_eq!(ours, theirs);
}
