//! Pub/sub over sockets: on every face of a host, between hosts and redis-servers, with clients that read
//! nothing and clients that vanish.

mod common;

use common::client::Client;
use common::members::{Member, agree, create};
use common::ports::Ports;
use common::resp::{Reply, encode};
use common::server::{Server, Shape, run};
use common::{python, wait_for};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// 'bar' is in slot 5061, of the first of two shards, and 'foo' in 12182, of the second.
const OF_FIRST: &str = "bar";
const OF_SECOND: &str = "foo";

fn texts(reply: &Reply) -> Vec<String> {
    let text = |node| String::from_utf8_lossy(reply.body(node)).into_owned();
    reply.node.items.iter().map(text).collect()
}

/// The next thing that a client hears.
fn hear(client: &mut Client) -> Vec<String> {
    texts(&client.read().unwrap_or_else(|e| panic!("port {}: nothing is heard: {e}", client.port)))
}

/// A client that listens: `line` is its command for one channel.
fn listener(port: u16, line: &str) -> Client {
    let mut client = Client::connect(port).expect("a connection");
    let said = texts(&client.cmd(line));
    assert_eq!(said[0], line.split(' ').next().unwrap_or_default().to_lowercase(), "{line}: {said:?}");
    client
}

/// So many clients that all listen. Connections are spread over a host's shards by the system.
fn crowd(port: u16, line: &str, size: usize) -> Vec<Client> {
    (0..size).map(|_| listener(port, line)).collect()
}

fn field(client: &mut Client, section: &str, name: &str) -> u64 {
    let text = client.cmd(&format!("INFO {section}")).text();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
    line.trim().parse().unwrap_or_else(|_| panic!("{name} in {text}"))
}

/// Nobody listens, nobody is left.
fn is_forgotten(client: &mut Client) -> bool {
    let lists = ["CHANNELS", "SHARDCHANNELS"].map(|word| client.cmd(&format!("PUBSUB {word}")));
    lists.iter().all(|list| list.node.items.is_empty())
        && client.cmd("PUBSUB NUMPAT").int() == 0
        && ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"]
            .iter()
            .all(|name| field(client, "stats", name) == 0)
        && field(client, "clients", "connected_clients") == 1
}

#[test]
fn all_who_listen_hear_it_and_are_counted() {
    for shape in [Shape::Standalone(1), Shape::Standalone(2), Shape::Host(2), Shape::Host(4)] {
        let server = Server::shoal(shape, &[]);
        let mut by_name = crowd(server.port(), "SUBSCRIBE news", 8);
        let mut by_pattern = crowd(server.port(), "PSUBSCRIBE n*s", 8);
        let mut sharded = crowd(server.port(), "SSUBSCRIBE news", 8);
        let mut others = crowd(server.port(), "SUBSCRIBE other", 8);
        for round in 0..4 {
            // a publisher may be on any shard
            let mut publisher = server.client();
            assert_eq!(publisher.cmd(&format!("PUBLISH news {round}")).int(), 16, "{shape:?}");
            assert_eq!(publisher.cmd(&format!("SPUBLISH news s{round}")).int(), 8, "{shape:?}");
            assert_eq!(publisher.cmd("PUBLISH nobody x").int(), 0);
            assert_eq!(
                texts(&publisher.cmd("PUBSUB NUMSUB news other none")),
                ["news", "8", "other", "8", "none", "0"]
            );
            assert_eq!(texts(&publisher.cmd("PUBSUB CHANNELS")), ["news", "other"]);
            assert_eq!(texts(&publisher.cmd("PUBSUB SHARDNUMSUB news")), ["news", "8"]);
            assert_eq!(publisher.cmd("PUBSUB NUMPAT").int(), 1);
            assert_eq!(field(&mut publisher, "stats", "pubsub_channels"), 2);
            by_name.iter_mut().for_each(|c| assert_eq!(hear(c), ["message", "news", &round.to_string()]));
            by_pattern
                .iter_mut()
                .for_each(|c| assert_eq!(hear(c), ["pmessage", "n*s", "news", &round.to_string()]));
            sharded.iter_mut().for_each(|c| assert_eq!(hear(c), ["smessage", "news", &format!("s{round}")]));
        }
        let mut publisher = server.client();
        assert_eq!(publisher.cmd("PUBLISH other last").int(), 8);
        others.iter_mut().for_each(|c| assert_eq!(hear(c), ["message", "other", "last"], "{shape:?}"));
        drop((by_name, by_pattern, sharded, others));
        let forgotten = wait_for(PATIENCE, || is_forgotten(&mut publisher).then_some(()));
        assert!(forgotten.is_some(), "{shape:?}: {}", publisher.cmd("CLIENT LIST").text());
    }
}

#[test]
fn one_publishers_messages_stay_in_order() {
    const MESSAGES: usize = 3000;
    for shape in [Shape::Standalone(2), Shape::Host(2)] {
        let server = Server::shoal(shape, &[]);
        let mut clients = crowd(server.port(), "PSUBSCRIBE o*", 6);
        let mut publisher = server.client();
        let lines: Vec<u8> = (0..MESSAGES)
            .flat_map(|n| {
                let channel = format!("o{}", n % 7);
                // commands for siblings between them
                [encode(&["SET", &channel, "x"]), encode(&["PUBLISH", &channel, &n.to_string()])].concat()
            })
            .collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                publisher.send(&lines).expect("it is sent");
                for _ in 0..MESSAGES {
                    assert_eq!(publisher.read().expect("an answer").text(), "OK");
                    assert_eq!(publisher.read().expect("an answer").int(), 6);
                }
            });
            for client in &mut clients {
                scope.spawn(move || {
                    for n in 0..MESSAGES {
                        assert_eq!(hear(client)[3], n.to_string(), "{shape:?}");
                    }
                });
            }
        });
    }
}

#[test]
fn own_ports_are_nodes_of_a_cluster() {
    let server = Server::shoal(Shape::Host(2), &[]);
    let (mut first, mut second) = (server.own_client(0), server.own_client(1));
    // channels are everybody's, but a node counts its own clients
    let mut listeners =
        [listener(server.own_port(0), "SUBSCRIBE c"), listener(server.own_port(1), "SUBSCRIBE c")];
    assert_eq!(first.cmd("PUBLISH c 1").int(), 1);
    assert_eq!(server.client().cmd("PUBLISH c 2").int(), 2);
    for client in &mut listeners {
        assert_eq!((hear(client), hear(client)), (said("c", "1"), said("c", "2")));
    }
    // shard channels are their slot's
    let slots = [OF_FIRST, OF_SECOND].map(|c| first.cmd(&format!("CLUSTER KEYSLOT {c}")).int());
    assert!(slots[0] < 8192 && slots[1] >= 8192);
    let moved = |slot: i64, shard| format!("MOVED {slot} 127.0.0.1:{}", server.own_port(shard));
    for line in ["SPUBLISH foo x", "SSUBSCRIBE foo", "SUNSUBSCRIBE foo"] {
        assert_eq!(first.cmd(line).text(), moved(slots[1], 1));
    }
    assert_eq!(second.cmd("SSUBSCRIBE bar").text(), moved(slots[0], 0));
    assert_eq!(
        first.cmd("SSUBSCRIBE bar hello").text(),
        "CROSSSLOT Keys in request don't hash to the same slot"
    );
    let mut own = listener(server.own_port(0), "SSUBSCRIBE bar");
    let mut front = crowd(server.port(), "SSUBSCRIBE bar", 4);
    front.extend(crowd(server.port(), "SSUBSCRIBE foo", 4));
    assert_eq!(first.cmd("SPUBLISH bar 1").int(), 5);
    assert_eq!(server.client().cmd("SPUBLISH bar 2").int(), 5);
    assert_eq!(server.client().cmd("SPUBLISH foo 2").int(), 4);
    let shown = |client: &mut Client| texts(&client.cmd("PUBSUB SHARDCHANNELS"));
    assert_eq!((shown(&mut first), shown(&mut second)), (vec!["bar".to_owned()], vec![]));
    assert_eq!(shown(&mut server.client()), ["bar", "foo"]);
    // the slot leaves: who came by the node's own port is told; the front door follows it
    let id = second.cmd("CLUSTER MYID").text();
    let slot = slots[0].to_string();
    assert_eq!(server.client().cmd(&format!("CLUSTER HANDOFF {slot} {id}")).text(), "OK");
    assert_eq!([hear(&mut own), hear(&mut own)], [smessage("bar", "1"), smessage("bar", "2")]);
    assert_eq!(hear(&mut own), ["sunsubscribe", "bar", "0"]);
    assert_eq!(own.cmd("PING").raw, b"+PONG\r\n", "it listens no more");
    let heard = wait_for(PATIENCE, || (second.cmd("SPUBLISH bar 3").text() == "4").then_some(()));
    assert!(heard.is_some());
    for client in &mut front[..4] {
        let all = [hear(client), hear(client), hear(client)];
        assert_eq!(all, ["1", "2", "3"].map(|text| smessage("bar", text)));
    }
}

fn said(channel: &str, text: &str) -> Vec<String> {
    ["message", channel, text].map(str::to_owned).to_vec()
}

fn smessage(channel: &str, text: &str) -> Vec<String> {
    ["smessage", channel, text].map(str::to_owned).to_vec()
}

#[test]
fn redis_servers_and_hosts_hear_each_other() {
    let ports = Ports::take();
    let redis: Vec<Member> = (0..2).map(|i| Member::redis(ports.base + i)).collect();
    let host = Member::host(ports.base + 4, 2, &[]);
    let theirs: Vec<u16> = redis.iter().map(|node| node.ports[0]).collect();
    let all = [&theirs[..], &host.ports].concat();
    create(&all);
    agree(&all, 4);
    let mut clients: Vec<Client> = all.iter().map(|port| listener(*port, "SUBSCRIBE c")).collect();
    clients.extend(crowd(host.base(), "PSUBSCRIBE ?", 4));
    for (n, port) in all.iter().chain([&host.base()]).enumerate() {
        let mut publisher = Client::connect(*port).expect("a connection");
        assert!(publisher.cmd(&format!("PUBLISH c {n}")).int() > 0, "by {port}");
        for client in &mut clients {
            let heard = hear(client);
            assert_eq!(heard[heard.len() - 1], n.to_string(), "by {port} to {}", client.port);
        }
    }
    // each heard each message once
    clients.iter_mut().for_each(|client| assert_eq!(client.drain(Duration::from_millis(200)).0, b""));
}

/// A shard channel's messages reach the node that serves it and its replicas, of both kinds.
#[test]
fn replicas_of_both_kinds_hear_shard_channels() {
    let ports = Ports::take();
    let nodes = [Member::single(ports.base), Member::redis(ports.base + 1), Member::single(ports.base + 2)];
    let port = |n: usize| nodes[n].ports[0];
    common::members::ask(port(0), "CLUSTER ADDSLOTSRANGE 0 16383");
    let id = common::members::ask(port(0), "CLUSTER MYID");
    for n in [1, 2] {
        common::members::ask(port(n), &format!("CLUSTER MEET 127.0.0.1 {}", port(0)));
        common::members::see(port(n), "CLUSTER NODES", "the primary", |text| text.contains(&id));
        let copies =
            || (common::members::ask(port(n), &format!("CLUSTER REPLICATE {id}")) == "OK").then_some(());
        assert!(wait_for(PATIENCE, copies).is_some());
        common::members::see(port(n), "INFO replication", "the link", |t| {
            t.contains("master_link_status:up")
        });
    }
    let all_there = |text: &str| text.matches(" slave ").count() == 2 || text.matches("slave ").count() == 2;
    (0..3).for_each(|n| common::members::see(port(n), "CLUSTER NODES", "two replicas", all_there));
    let mut clients: Vec<Client> = (0..3).map(|n| listener(port(n), "SSUBSCRIBE s")).collect();
    for n in 0..3 {
        let mut publisher = Client::connect(port(n)).expect("a connection");
        assert_eq!(publisher.cmd(&format!("SPUBLISH s {n}")).int(), 1);
        clients
            .iter_mut()
            .for_each(|c| assert_eq!(hear(c), smessage("s", &n.to_string()), "by {n} to {}", c.port));
    }
}

/// Without a cluster, a primary's clients are heard by its replicas' clients.
#[test]
fn replicas_of_a_standalone_server_hear_what_its_clients_say() {
    let of = |primary: &Server, replica: &Server| {
        assert_eq!(replica.client().cmd(&format!("REPLICAOF 127.0.0.1 {}", primary.port())).text(), "OK");
        let up = || {
            replica.client().cmd("INFO replication").text().contains("master_link_status:up").then_some(())
        };
        assert!(wait_for(PATIENCE, up).is_some());
        let mut clients = [listener(replica.port(), "SUBSCRIBE c"), listener(replica.port(), "PSUBSCRIBE *")];
        let mut publisher = primary.client();
        assert_eq!(publisher.cmd("PUBLISH c 1").int(), 0);
        for line in ["MULTI", "SET k v", "PUBLISH c 2", "SPUBLISH c s", "EXEC", "PUBLISH c 3"] {
            publisher.cmd(line);
        }
        for client in &mut clients {
            (1..=3).for_each(|n| assert_eq!(hear(client).pop(), Some(n.to_string())));
        }
        let same = || (replica.client().cmd("GET k").text() == "v").then_some(());
        assert!(wait_for(PATIENCE, same).is_some());
    };
    let (shoal, redis) = (Server::shoal(Shape::Standalone(1), &[]), Server::redis(Shape::Standalone(1)));
    of(&shoal, &Server::shoal(Shape::Standalone(1), &[]));
    of(&shoal, &Server::redis(Shape::Standalone(1)));
    of(&redis, &Server::shoal(Shape::Standalone(1), &[]));
}

#[test]
fn who_never_reads_is_cut_off_and_nobody_else_notices() {
    const MESSAGES: usize = 3000;
    for shape in [Shape::Standalone(1), Shape::Host(2)] {
        let server = Server::shoal(shape, &["--client-output-buffer-limit", "pubsub 4mb 0 0"]);
        let mut silent = crowd(server.port(), "SUBSCRIBE c", 4);
        let mut readers = crowd(server.port(), "SUBSCRIBE c", 4);
        let mut publisher = server.client();
        let text = "x".repeat(10_000);
        let heard: Vec<AtomicUsize> = readers.iter().map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for (reader, heard) in readers.iter_mut().zip(&heard) {
                let text = &text;
                scope.spawn(move || {
                    (0..MESSAGES).for_each(|_| {
                        assert_eq!(hear(reader)[2].len(), text.len());
                        heard.fetch_add(1, Ordering::Relaxed);
                    })
                });
            }
            for n in 0..MESSAGES {
                publisher.call(&["PUBLISH", "c", &text]).expect("an answer");
                // who reads, and has no core for it, is not to be taken for one that doesn't
                let near =
                    || heard.iter().all(|heard| heard.load(Ordering::Relaxed) + 100 >= n).then_some(());
                wait_for(PATIENCE, near).expect("readers that read");
            }
        });
        let left = || (publisher.cmd("PUBLISH c last").int() == 4).then_some(());
        assert!(
            wait_for(PATIENCE, left).is_some(),
            "{shape:?}: {}",
            server.client().cmd("CLIENT LIST").text()
        );
        assert!(server.log().contains("for overcoming of output buffer limits"));
        for client in &mut silent {
            let (read, closed) = client.drain(Duration::from_millis(500));
            assert!(closed && read.len() < MESSAGES * text.len(), "{shape:?}: {} bytes", read.len());
        }
    }
}

/// Clients that vanish in the midst of subscribing, by the thousand names, leave nothing.
#[test]
fn a_storm_leaves_nothing_behind() {
    for shape in [Shape::Standalone(2), Shape::Host(2)] {
        let server = Server::shoal(shape, &[]);
        let mut watcher = server.client();
        for round in 0..5 {
            let clients: Vec<Client> = (0..10)
                .map(|n| {
                    let mut client = server.client();
                    let mut text = String::new();
                    for name in 0..300 {
                        let name = (name * 7 + n * 13 + round) % 500;
                        text +=
                            &format!("SUBSCRIBE c{name}\r\nPSUBSCRIBE p{name}*\r\nSSUBSCRIBE s{name}\r\n");
                        text += &format!("UNSUBSCRIBE c{}\r\n", name / 2);
                    }
                    client.send(text.as_bytes()).expect("it is sent");
                    client
                })
                .collect();
            for n in 0..100 {
                watcher.cmd(&format!("PUBLISH c{n} storm"));
            }
            drop(clients);
        }
        let forgotten = wait_for(PATIENCE, || is_forgotten(&mut watcher).then_some(()));
        assert!(forgotten.is_some(), "{shape:?}: {}", watcher.cmd("INFO stats").text());
    }
}

#[test]
fn redis_py_listens() {
    for (shape, cluster) in [(Shape::Standalone(2), false), (Shape::Host(2), false), (Shape::Host(2), true)] {
        let server = Server::shoal(shape, &[]);
        let kind = if cluster { "cluster" } else { "single" };
        let port = if cluster { server.own_port(0) } else { server.port() };
        let output = run(Command::new(python()).args(["-c", LISTENS, &port.to_string(), kind]));
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!err.contains("No module named 'redis'"), "redis-py is missing: tests/run installs it");
        assert!(output.status.success(), "{shape:?}: {err}");
    }
}

const LISTENS: &str = r#"
import sys, time, redis
from redis.cluster import RedisCluster
port, cluster = int(sys.argv[1]), sys.argv[2] == 'cluster'
protocols = [2] if cluster else [2, 3]
for protocol in protocols:
    make = (lambda: RedisCluster(host='127.0.0.1', port=port)) if cluster else (
        lambda: redis.Redis(port=port, protocol=protocol))
    r, p = make(), make().pubsub()
    def heard(p, kind):
        until = time.time() + 10
        while time.time() < until:
            m = p.get_message(timeout=0.2)
            if m and m['type'] == kind:
                return m
        raise AssertionError(kind + ' is not heard')
    p.subscribe('news', 'more'); p.psubscribe('n*')
    for kind in ('subscribe', 'subscribe', 'psubscribe'):
        heard(p, kind)
    r.publish('news', 'hello')
    assert heard(p, 'message')['data'] == b'hello'
    assert heard(p, 'pmessage')['pattern'] == b'n*'
    p.unsubscribe('news'); heard(p, 'unsubscribe')
    r.publish('more', 'again')
    assert heard(p, 'message')['channel'] == b'more'
    p.punsubscribe(); p.unsubscribe(); heard(p, 'unsubscribe')
    s = make().pubsub()
    if cluster:
        s.ssubscribe('foo')
        until = time.time() + 10
        while not s.get_sharded_message(timeout=0.2) and time.time() < until: pass
        r.spublish('foo', 'x')
        m = None
        while not (m and m['type'] == 'smessage'):
            assert time.time() < until
            m = s.get_sharded_message(timeout=0.2)
        assert m['data'] == b'x'
    else:
        s.ssubscribe('foo'); heard(s, 'ssubscribe')
        assert r.spublish('foo', 'x') == 1
        assert heard(s, 'smessage')['data'] == b'x'
"#;
