//! `maxmemory`: the host's memory stays near it under load, whatever the policy and however unevenly
//! its shards are filled, and only those writes are refused that nothing can make room for.

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::client::Client;
use common::resp::encode;
use common::server::{Server, Shape, stand_in};
use common::wait_for;

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 24 * MIB;
/// Sent at once: it counts as long as it waits.
const PIPELINE_BYTES: usize = 2 << 20;

/// Servers that are filled to the brim take turns on the machine.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A host of two shards (or the one server that stands in) that evicts by `policy`.
fn full_host(policy: &str) -> Server {
    let limit = LIMIT.to_string();
    Server::shoal(Shape::Standalone(2), &["--maxmemory", &limit, "--maxmemory-policy", policy])
}

fn info(client: &mut Client, field: &str) -> u64 {
    let text = client.cmd("INFO everything").text();
    let line = text.lines().find_map(|l| l.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("INFO has no {field}")).trim().parse().expect("a number")
}

/// Bytes that count against `maxmemory`.
fn counted(client: &mut Client) -> u64 {
    info(client, "used_memory") - info(client, "mem_not_counted_for_evict")
}

/// Sends `requests` in pipelines and answers how many were refused for want of memory. No other
/// errors, no reply later than a second, and memory near the limit all the time.
fn fill(server: &Server, requests: impl Iterator<Item = Vec<u8>>) -> usize {
    let (mut client, mut watcher) = (server.client(), server.client());
    let requests: Vec<Vec<u8>> = requests.collect();
    let mut refused = 0;
    let pipeline = (PIPELINE_BYTES / requests[0].len()).clamp(1, 64);
    for (n, batch) in requests.chunks(pipeline).enumerate() {
        let begin = Instant::now();
        client.send(&batch.concat()).expect("a server that reads");
        for _ in batch {
            let reply = client.read().expect("a reply");
            if reply.is_error() {
                assert!(reply.text().starts_with("OOM command not allowed"), "{}", reply.text());
                refused += 1;
            }
        }
        assert!(begin.elapsed() < Duration::from_secs(1), "a stall of {:?}", begin.elapsed());
        if n % 16 == 0 {
            let used = counted(&mut watcher);
            assert!(used < 2 * LIMIT, "after {} requests {used} bytes are used", n * pipeline);
        }
    }
    refused
}

fn set(key: &str, bytes: usize, more: &[&str]) -> Vec<u8> {
    let value = "x".repeat(bytes);
    let words: Vec<&str> = ["SET", key, &value].into_iter().chain(more.iter().copied()).collect();
    encode(&words)
}

/// Memory comes to rest at the limit (what the clients cost included).
fn comes_to_rest(server: &Server) {
    let mut client = server.client();
    let rests =
        wait_for(Duration::from_secs(10), || (counted(&mut client) < LIMIT + LIMIT / 32).then_some(()));
    assert!(rests.is_some(), "{} bytes are still used", counted(&mut client));
}

#[test]
fn every_policy_keeps_to_the_limit() {
    let _turn = alone();
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        let server = full_host(policy);
        let more: &[&str] = if policy.starts_with("volatile") { &["EX", "1000"] } else { &[] };
        let refused = fill(&server, (0..60_000).map(|i| set(&format!("key:{i}"), 1000, more)));
        assert_eq!(refused, 0, "{policy}");
        let big = fill(&server, (0..150).map(|i| set(&format!("big:{i}"), 500_000, more)));
        assert_eq!(big, 0, "{policy}");
        comes_to_rest(&server);
        let mut client = server.client();
        let mut counts = || (client.cmd("DBSIZE").int() as u64, info(&mut client, "evicted_keys"));
        // eviction may go on between the two readings
        let agree = |c: (u64, u64)| (c.0 + c.1 == 60_150).then_some(c);
        let Some((kept, evicted)) = wait_for(Duration::from_secs(5), || agree(counts())) else {
            panic!("{policy}: {:?} were kept and evicted", counts());
        };
        assert!(kept > 0 && evicted > 40_000, "{policy}: {kept} kept, {evicted} evicted");
    }
}

#[test]
fn without_candidates_writes_are_refused_and_reads_go_on() {
    let _turn = alone();
    for policy in ["noeviction", "volatile-lru", "volatile-ttl", "volatile-random", "volatile-lfu"] {
        let server = full_host(policy);
        let refused = fill(&server, (0..40_000).map(|i| set(&format!("key:{i}"), 1000, &[])));
        assert!((15_000..25_000).contains(&refused), "{policy}: {refused} were refused");
        let mut client = server.client();
        assert_eq!(client.cmd("GET key:0").text().len(), 1000);
        client.cmd(&format!("CONFIG SET maxmemory {}", LIMIT / 2));
        let over = wait_for(Duration::from_secs(5), || {
            (info(&mut client, "current_eviction_exceeded_time") > 0).then_some(())
        });
        assert!(over.is_some(), "{policy}: not above the limit");
        assert_eq!(client.cmd("DEL key:1").int(), 1);
        assert_eq!(info(&mut client, "evicted_keys"), 0);
        // room again: writes go on at once
        client.cmd("FLUSHALL");
        assert_eq!(client.call(&["SET", "key", "value"]).expect("a reply").text(), "OK");
        assert_eq!(info(&mut client, "current_eviction_exceeded_time"), 0);
        assert!(info(&mut client, "total_eviction_exceeded_time") > 0);
    }
}

#[test]
fn a_shard_without_keys_makes_the_other_give_up_its_own() {
    let _turn = alone();
    let server = full_host("allkeys-lru");
    // one slot: one shard
    let refused = fill(&server, (0..40_000).map(|i| set(&format!("{{a}}:{i}"), 1000, &[])));
    assert_eq!(refused, 0);
    let mut client = server.client();
    let before = client.cmd("DBSIZE").int();
    // a slot of the other shard: its keys displace the first ones until both have a fair share
    let refused = fill(&server, (0..4_000).map(|i| set(&format!("{{b}}:{i}"), 1000, &[])));
    assert_eq!(refused, 0);
    comes_to_rest(&server);
    let kept = (0..4_000).filter(|i| client.cmd(&format!("EXISTS {{b}}:{i}")).int() == 1).count();
    let after = client.cmd("DBSIZE").int();
    assert!(before > 10_000 && kept > 2_000, "{before} before, {after} after, {kept} of the second shard's");
}

#[test]
fn a_lower_limit_takes_effect_without_a_write() {
    let _turn = alone();
    let server = full_host("allkeys-random");
    fill(&server, (0..15_000).map(|i| set(&format!("key:{i}"), 1000, &[])));
    let mut client = server.client();
    let lower = LIMIT / 2;
    assert_eq!(client.cmd(&format!("CONFIG SET maxmemory {lower}")).text(), "OK");
    let done = wait_for(Duration::from_secs(5), || (counted(&mut client) < lower + lower / 16).then_some(()));
    assert!(done.is_some(), "{} bytes are still used", counted(&mut client));
}

#[test]
fn clients_that_cost_too_much_are_closed() {
    let _turn = alone();
    let server = Server::shoal(Shape::Standalone(2), &["--maxmemory-clients", "8mb"]);
    let mut good = server.client();
    let mut greedy: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for client in &mut greedy {
        // one that is closed before it has sent all of this has what it was to get
        let _ = client.send(format!("*2\r\n$4\r\nECHO\r\n$9000000\r\n{}", "x".repeat(4_000_000)).as_bytes());
    }
    let closed = wait_for(Duration::from_secs(5), || (info(&mut good, "evicted_clients") >= 2).then_some(()));
    assert!(closed.is_some(), "{} clients were evicted", info(&mut good, "evicted_clients"));
    assert!(info(&mut good, "evicted_clients") <= 4);
    let within =
        wait_for(Duration::from_secs(5), || (info(&mut good, "mem_clients_normal") < 9 * MIB).then_some(()));
    assert!(within.is_some() || stand_in(), "clients cost {}", info(&mut good, "mem_clients_normal"));
    assert_eq!(good.cmd("PING").text(), "PONG");
}
