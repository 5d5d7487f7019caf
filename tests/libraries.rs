//! What applications use: redis-py, ioredis and the redis crate, with pipelines, transactions under WATCH, pub/sub, waiting
//! pops and the client's own cache, at the front door and as clients of the cluster.

mod common;

use common::server::{Server, Shape, run};
use common::{node_modules, python, wait_for};
use redis::{Commands, PushKind};
use std::process::Command;
use std::time::Duration;

const SHAPES: [Shape; 3] = [Shape::Standalone(1), Shape::Standalone(2), Shape::Host(2)];

fn run_python(script: &str, port: u16) {
    let output = run(Command::new(python()).args(["-c", script, &port.to_string()]));
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!err.contains("No module named 'redis'"), "redis-py is missing: tests/run installs it");
    assert!(output.status.success(), "port {port}: {err}");
}

#[test]
fn redis_py_at_the_front_door() {
    for shape in SHAPES {
        run_python(PY_FRONT, Server::shoal(shape, &[]).port());
    }
}

#[test]
fn redis_py_as_a_client_of_the_cluster() {
    run_python(PY_CLUSTER, Server::shoal(Shape::Host(2), &[]).own_port(0));
}

/// For its cache redis-py asks for Redis 7.4; what it uses is there since 6.0.
const PY_FRONT: &str = r#"
import sys, threading, time, redis
from redis.cache import CacheConfig
redis.connection.CacheProxyConnection.MIN_ALLOWED_VERSION = '6.0.0'
port = int(sys.argv[1])
for protocol in (2, 3):
    r = redis.Redis(port=port, protocol=protocol)
    r.flushall()
    # pipelines, plain and as one transaction
    for transaction in (False, True):
        p = r.pipeline(transaction=transaction)
        for n in range(200):
            p.set(f'key{n}', n).incr(f'key{n}').get(f'key{n}')
        got = p.execute()
        assert got == [x for n in range(200) for x in (True, n + 1, str(n + 1).encode())], got[:9]
    # WATCH: many add up, none is lost
    def add():
        mine = redis.Redis(port=port, protocol=protocol)
        for _ in range(20):
            with mine.pipeline() as p:
                while True:
                    try:
                        p.watch('sum')
                        now = int(p.get('sum') or 0)
                        p.multi()
                        p.set('sum', now + 1)
                        p.incr('done')
                        p.execute()
                        break
                    except redis.WatchError:
                        continue
    threads = [threading.Thread(target=add) for _ in range(4)]
    [t.start() for t in threads]; [t.join() for t in threads]
    assert r.mget('sum', 'done') == [b'80', b'80'], r.mget('sum', 'done')
    # who waits gets what comes, in order
    got = []
    def pop():
        mine = redis.Redis(port=port, protocol=protocol)
        for _ in range(50):
            got.append(mine.blpop(['first', 'second'], timeout=10)[1])
    t = threading.Thread(target=pop); t.start()
    for n in range(50):
        r.rpush('second' if n % 2 else 'first', n)
        time.sleep(0.001)
    t.join()
    assert sorted(got, key=int) == [str(n).encode() for n in range(50)], got
    assert r.blpop('nothing', timeout=0.05) is None
    # pub/sub in a thread of the library's own
    heard = []
    p = r.pubsub(ignore_subscribe_messages=True)
    p.subscribe(**{'c': lambda m: heard.append(m['data'])})
    p.psubscribe(**{'p*': lambda m: heard.append(m['data'])})
    worker = p.run_in_thread(sleep_time=0.01)
    until = time.time() + 10
    while r.publish('c', 'warm') + r.publish('p1', 'warm') < 2:
        assert time.time() < until
    for n in range(100):
        r.publish('c' if n % 2 else 'pat', n)
    while len([h for h in heard if h != b'warm']) < 100 and time.time() < until:
        time.sleep(0.01)
    worker.stop(); worker.join()
    assert [h for h in heard if h != b'warm'] == [str(n).encode() for n in range(100)]
    p.close()
# its own cache
r = redis.Redis(port=port, protocol=3, cache_config=CacheConfig())
w = redis.Redis(port=port)
w.mset({f'c{n}': n for n in range(20)})
assert [r.get(f'c{n}') for n in range(20)] == [str(n).encode() for n in range(20)]
assert r.get_cache().size == 20
w.mset({f'c{n}': n * 2 for n in range(20)})
until = time.time() + 10
for n in range(20):
    while r.get(f'c{n}') != str(n * 2).encode():
        assert time.time() < until, n
"#;

const PY_CLUSTER: &str = r#"
import sys, threading, time
from redis.cluster import RedisCluster
port = int(sys.argv[1])
make = lambda: RedisCluster(host='127.0.0.1', port=port)
r = make()
p = r.pipeline()
for n in range(300):
    p.set(f'key{n}', n)
    p.get(f'key{n}')
assert p.execute() == [x for n in range(300) for x in (True, str(n).encode())]
got = []
def pop():
    mine = make()
    for _ in range(50):
        got.append(mine.blpop(['{q}first', '{q}second'], timeout=10)[1])
t = threading.Thread(target=pop); t.start()
for n in range(50):
    r.rpush('{q}second' if n % 2 else '{q}first', n)
    time.sleep(0.001)
t.join()
assert sorted(got, key=int) == [str(n).encode() for n in range(50)], got
s = make().pubsub()
s.ssubscribe('foo', 'bar')
until = time.time() + 10
seen = set()
while len(seen) < 2:
    assert time.time() < until
    m = s.get_sharded_message(timeout=0.1)
    if m and m['type'] == 'ssubscribe':
        seen.add(m['channel'])
for channel in ('foo', 'bar'):
    assert r.spublish(channel, 'x') == 1
    m = None
    while not (m and m['type'] == 'smessage'):
        assert time.time() < until
        m = s.get_sharded_message(timeout=0.1)
    assert (m['channel'], m['data']) == (channel.encode(), b'x')
"#;

fn run_ioredis(port: u16, mode: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libraries/ioredis.js");
    let output =
        run(Command::new("node").env("NODE_PATH", node_modules()).args([script, &port.to_string(), mode]));
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!err.contains("Cannot find module 'ioredis'"), "ioredis is missing: tests/run installs it");
    assert!(output.status.success(), "port {port}: {err}");
}

#[test]
fn ioredis_at_the_front_door() {
    for shape in SHAPES {
        run_ioredis(Server::shoal(shape, &[]).port(), "");
    }
}

#[test]
fn ioredis_as_a_client_of_the_cluster() {
    run_ioredis(Server::shoal(Shape::Host(2), &[]).own_port(0), "cluster");
}

#[test]
fn the_redis_crate_at_the_front_door() {
    for shape in SHAPES {
        let server = Server::shoal(shape, &[]);
        let client = |protocol| {
            let address = format!("redis://127.0.0.1:{}/{protocol}", server.port());
            redis::Client::open(address).expect("an address")
        };
        use_crate(&client(""));
        use_crate(&client("?protocol=resp3"));
        keep_copies(&client("?protocol=resp3"));
    }
}

/// The crate's own cache wants an asynchronous runtime; what it is made of is here as well.
fn keep_copies(client: &redis::Client) {
    let mut con = client.get_connection().expect("a connection");
    let mut writer = client.get_connection().expect("a connection");
    let (sender, pushes) = std::sync::mpsc::channel();
    con.set_push_sender(sender);
    redis::cmd("CLIENT").arg("TRACKING").arg("ON").exec(&mut con).expect("it tracks");
    for n in 0..20 {
        let _: Option<i64> = con.get(format!("copy{n}")).expect("nothing");
        let _: () = writer.set(format!("copy{n}"), n).expect("it is set");
    }
    let mut told = 0;
    let all = wait_for(Duration::from_secs(10), || {
        // pushes are read on the way to a reply
        redis::cmd("PING").exec(&mut con).expect("a reply");
        told += pushes.try_iter().filter(|push| push.kind == PushKind::Invalidate).count();
        (told == 20).then_some(())
    });
    assert!(all.is_some(), "{told} of 20");
}

fn use_crate(client: &redis::Client) {
    let mut con = client.get_connection().expect("a connection");
    let _: () = redis::cmd("FLUSHALL").query(&mut con).expect("it is empty");
    let mut pipe = redis::pipe();
    for n in 0..200 {
        pipe.set(format!("key{n}"), n).ignore().incr(format!("key{n}"), 1);
    }
    let sums: Vec<i64> = pipe.query(&mut con).expect("a pipeline");
    assert_eq!(sums, (1..=200).collect::<Vec<i64>>());

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut con = client.get_connection().expect("a connection");
                for _ in 0..20 {
                    let _: (i64,) = redis::transaction(&mut con, &["sum"], |con, pipe| {
                        let now: Option<i64> = con.get("sum")?;
                        pipe.set("sum", now.unwrap_or(0) + 1).ignore().incr("done", 1).query(con)
                    })
                    .expect("a transaction");
                }
            });
        }
    });
    let sums: (i64, i64) = con.mget(&["sum", "done"]).expect("both");
    assert_eq!(sums, (80, 80));

    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let mut con = client.get_connection().expect("a connection");
            let popped = |_| con.blpop::<_, (String, i64)>(&["first", "second"], 10.0).expect("an element").1;
            (0..50).map(popped).collect::<Vec<i64>>()
        });
        for n in 0..50 {
            let _: i64 = con.rpush(if n % 2 > 0 { "second" } else { "first" }, n).expect("a length");
        }
        let mut popped = waits.join().expect("all is popped");
        popped.sort_unstable();
        assert_eq!(popped, (0..50).collect::<Vec<i64>>());
    });

    let mut listener = client.get_connection().expect("a connection");
    let mut listener = listener.as_pubsub();
    listener.subscribe("news").expect("it listens");
    listener.psubscribe("n*").expect("it listens");
    for n in 0..100 {
        let heard: i64 = con.publish("news", n).expect("a count");
        assert_eq!(heard, 2);
    }
    for n in 0..100 {
        let heard = [0; 2].map(|_| listener.get_message().expect("a message"));
        assert!(heard.iter().all(|message| message.get_payload::<i64>().expect("a number") == n));
        assert_eq!(heard.iter().filter(|message| message.from_pattern()).count(), 1);
    }
    listener.unsubscribe("news").expect("it listens no more");
    listener.punsubscribe("n*").expect("it listens no more");
}

#[test]
fn the_redis_crate_as_a_client_of_the_cluster() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let nodes = [0, 1].map(|shard| format!("redis://127.0.0.1:{}/", server.own_port(shard)));
    let client = redis::cluster::ClusterClient::new(nodes.to_vec()).expect("addresses");
    let mut con = client.get_connection().expect("a connection");
    for n in 0..300 {
        let _: () = con.set(format!("key{n}"), n).expect("it is set");
    }
    let mut pipe = redis::cluster::cluster_pipe();
    for n in 0..300 {
        pipe.get(format!("key{n}"));
    }
    let values: Vec<i64> = pipe.query(&mut con).expect("a pipeline");
    assert_eq!(values, (0..300).collect::<Vec<i64>>());
    let _: i64 = con.rpush("list", 7).expect("a length");
    let popped: (String, i64) = con.blpop("list", 5.0).expect("an element");
    assert_eq!(popped.1, 7);
}
