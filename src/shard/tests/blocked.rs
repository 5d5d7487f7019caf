//! Clients that wait for keys: who is served, in which order, and where the keys are.

use super::handoff::{Post, tag};
use super::{Client, Rig};
use crate::session::Door;
use crate::util::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// Commands of numbered clients and what each of these has heard after it: `>` sends, `=` is all that one
/// has been told since. Steps are separated by `;`.
fn play(rig: &mut Rig, clients: &[Client], script: &str) {
    for step in script.split(';').map(str::trim) {
        let (who, what) = step.split_at(1);
        let client = clients[who.parse::<usize>().expect("a client")];
        match what.split_at(1) {
            (">", line) => {
                let mut bytes = String::new();
                line.split('|').for_each(|one| bytes += &format!("{}\r\n", one.trim()));
                let heard = rig.send(client, bytes.as_bytes());
                rig.shards[client.shard].clients.get(client.number).expect("it is there").out = heard.into();
            }
            (_, want) => {
                let got = rig.output(client).replace("\r\n", "|");
                assert_eq!(got, want.trim(), "{step} of {script}");
            }
        }
    }
}

const SCRIPTS: &[&str] = &[
    // in the order of arrival, one element each
    "0> BLPOP k 0; 1> BLPOP k 0; 2> RPUSH k a; 2= :1|; 0= *2|$1|k|$1|a|; 1= ; 2> RPUSH k b c; 2= :2|; 1= *2|$1|k|$1|b|; \
     2> LRANGE k 0 -1; 2= *1|$1|c|",
    // the list is there only for those who push
    "0> BRPOP k 0; 1> RPUSH k a b; 1= :2|; 0= *2|$1|k|$1|b|; 1> LPOP k; 1= $1|a|",
    // what was sent behind it goes on
    "0> BLPOP k 0 | PING | BLPOP k 0; 0= ; 1> RPUSH k a; 0= *2|$1|k|$1|a|+PONG|; 1> RPUSH k b; 0= *2|$1|k|$1|b|",
    // of several keys the one that came first
    "0> BLPOP a b c 0; 1> MULTI | RPUSH c 3 | RPUSH a 1 | EXEC; 0= *2|$1|c|$1|3|; 1> LLEN a; 1= +OK|+QUEUED|+QUEUED|*2|:1|:1|:1|",
    // a transaction is over before anybody is served
    "0> BLPOP k 0; 1> MULTI | RPUSH k a | DEL k | EXEC; 0= ; 1> MULTI | RPUSH k a | RPUSH k b | EXEC; 0= *2|$1|k|$1|a|",
    "0> BLPOP k 0; 1> MULTI | RPUSH k a | DEL k | SET k x | EXEC; 0= ; 1> DEL k | RPUSH k z; 0= *2|$1|k|$1|z|",
    // a key of another type is not for them
    "0> BLPOP k 0; 1> BZPOPMIN k 0; 2> ZADD k 1 m; 1= *3|$1|k|$1|m|$1|1|; 0= ; 2> RPUSH k a; 0= *2|$1|k|$1|a|",
    "0> BZPOPMAX k 0; 1> ZADD k 1 a 2 b; 0= *3|$1|k|$1|b|$1|2|; 1> ZCARD k; 1= :2|:1|",
    "0> BZMPOP 0 1 k MAX COUNT 2; 1> ZADD k 1 a 2 b 3 c; 0= *2|$1|k|*2|*2|$1|c|$1|3|*2|$1|b|$1|2|",
    "0> BLMPOP 0 2 j k LEFT COUNT 2; 1> RPUSH k a b c; 0= *2|$1|k|*2|$1|a|$1|b|; 1> LLEN k; 1= :3|:1|",
    // however the key comes to be
    "0> BLPOP k 0; 1> RPUSH other a; 1> RENAME other k; 0= *2|$1|k|$1|a|",
    "0> BLPOP k 0; 1> RPUSH other a; 1> COPY other k; 0= *2|$1|k|$1|a|",
    "0> BLPOP k 0; 1> RPUSH other b a | SORT other ALPHA STORE k; 0= *2|$1|k|$1|a|",
    "0> BLPOP k 0; 1> RPUSH other a | LMOVE other k LEFT LEFT; 0= *2|$1|k|$1|a|",
    "0> BZPOPMIN k 0; 1> ZADD other 1 a | ZUNIONSTORE k 1 other; 0= *3|$1|k|$1|a|$1|1|",
    // chains
    "0> BLMOVE a b LEFT RIGHT 0; 1> BLMOVE b c LEFT RIGHT 0; 2> BLPOP c 0; 3> RPUSH a x; 0= $1|x|; 1= $1|x|; \
     2= *2|$1|c|$1|x|; 3> EXISTS a b c; 3= :1|:0|",
    "0> BRPOPLPUSH a a 0; 1> RPUSH a x; 0= $1|x|; 1> LRANGE a 0 -1; 1= :1|*1|$1|x|",
    // a target of the wrong type is an error, and the element goes to the next
    "3> SET t x; 0> BLMOVE a t LEFT LEFT 0; 1> BLPOP a 0; 3> RPUSH a e; \
     0= -WRONGTYPE Operation against a key holding the wrong kind of value|; 1= *2|$1|a|$1|e|",
    // who is let go by another
    "0> BLPOP k 0; 1> CLIENT UNBLOCK $0; 1= :1|; 0= *-1|; 1> CLIENT UNBLOCK $0; 1= :0|; 1> RPUSH k a | LLEN k; 1= :1|:1|",
    "0> BLPOP k 0 | PING; 1> CLIENT UNBLOCK $0 ERROR; 0= -UNBLOCKED client unblocked via CLIENT UNBLOCK|+PONG|",
];

/// Readers of streams.
const STREAMS: &[&str] = &[
    // one entry is for all
    "0> XREAD BLOCK 0 STREAMS k $; 1> XREAD BLOCK 0 STREAMS k 0; 2> XADD k 1-1 a b; 2= $3|1-1|; \
     0= *1|*2|$1|k|*1|*2|$3|1-1|*2|$1|a|$1|b|; 1= *1|*2|$1|k|*1|*2|$3|1-1|*2|$1|a|$1|b|",
    // of several streams the one that has something new
    "0> XREAD BLOCK 0 STREAMS a b c $ 5-5 $; 1> XADD b 5-5 f v; 0= ; 1> XADD b 5-6 f v; \
     0= *1|*2|$1|b|*1|*2|$3|5-6|*2|$1|f|$1|v|",
    // what was last when it began to wait stays that
    "1> XADD k 1-1 f v; 0> XREAD COUNT 2 BLOCK 0 STREAMS k $; 1> MULTI | XADD k 2-1 f v | XADD k 2-2 f w | XADD k 2-3 f x | EXEC; \
     0= *1|*2|$1|k|*2|*2|$3|2-1|*2|$1|f|$1|v|*2|$3|2-2|*2|$1|f|$1|w|",
    "0> XREAD BLOCK 0 STREAMS k 0 | PING; 1> RPUSH k x | DEL k; 0= ; 1> XADD other 1-1 f v | RENAME other k; \
     0= *1|*2|$1|k|*1|*2|$3|1-1|*2|$1|f|$1|v|+PONG|",
    // what came and went, or only said so, is nothing
    "0> XREAD BLOCK 0 STREAMS k $; 1> MULTI | XADD k 1-1 f v | XDEL k 1-1 | EXEC; 0= ; 1> XADD k 1-2 f v; \
     0= *1|*2|$1|k|*1|*2|$3|1-2|*2|$1|f|$1|v|",
    "1> XADD k 6-6 f v | XDEL k 6-6; 0> XREAD BLOCK 0 STREAMS k 6-5; 0= ; 1> XADD k 6-7 f v; \
     0= *1|*2|$1|k|*1|*2|$3|6-7|*2|$1|f|$1|v|",
    "0> XREAD BLOCK 0 STREAMS k $; 1> XADD k NOMKSTREAM 1-1 f v | XGROUP CREATE k g $ MKSTREAM | XSETID k 5-5; 0= ; \
     1> XADD k 6-6 f v; 0= *1|*2|$1|k|*1|*2|$3|6-6|*2|$1|f|$1|v|",
    // consumers of a group get an entry each
    "3> XGROUP CREATE k g $ MKSTREAM; 0> XREADGROUP GROUP g a BLOCK 0 STREAMS k >; 1> XREADGROUP GROUP g b BLOCK 0 STREAMS k >; \
     2> XADD k 1-1 f v; 0= *1|*2|$1|k|*1|*2|$3|1-1|*2|$1|f|$1|v|; 1= ; 2> XADD k 1-2 f v; 1= *1|*2|$1|k|*1|*2|$3|1-2|*2|$1|f|$1|v|; \
     3> XPENDING k g; 3= +OK|*4|:2|$3|1-1|$3|1-2|*2|*2|$1|a|$1|1|*2|$1|b|$1|1|",
    "3> XGROUP CREATE k g $ MKSTREAM; 0> XREADGROUP GROUP g a NOACK BLOCK 0 STREAMS k >; 1> XREAD BLOCK 0 STREAMS k $; 2> XADD k 1-1 f v; \
     0= *1|*2|$1|k|*1|*2|$3|1-1|*2|$1|f|$1|v|; 1= *1|*2|$1|k|*1|*2|$3|1-1|*2|$1|f|$1|v|; 3> XPENDING k g; 3= +OK|*4|:0|$-1|$-1|*-1|",
    // a group that goes, a stream that goes, and what takes its place
    "3> XGROUP CREATE k g $ MKSTREAM | XGROUP CREATE k h $; 0> XREADGROUP GROUP g a BLOCK 0 STREAMS k >; \
     1> XREADGROUP GROUP h a BLOCK 0 STREAMS k >; 2> XGROUP DESTROY k g; 2= :1|; \
     0= -NOGROUP the consumer group this client was blocked on no longer exists|; 1= ; 2> XADD k 1-1 f v; \
     1= *1|*2|$1|k|*1|*2|$3|1-1|*2|$1|f|$1|v|",
    "3> XGROUP CREATE k g $ MKSTREAM; 0> XREADGROUP GROUP g a BLOCK 0 STREAMS k >; 1> XREAD BLOCK 0 STREAMS k $; 2> DEL k; \
     0= -UNBLOCKED the stream key no longer exists|; 1= ; 2> XADD k 1-1 f v; 1= *1|*2|$1|k|*1|*2|$3|1-1|*2|$1|f|$1|v|",
    "3> XGROUP CREATE k g $ MKSTREAM | XGROUP CREATE j g $ MKSTREAM; 0> XREADGROUP GROUP g a BLOCK 0 STREAMS j k > >; 2> SET k x; \
     0= -UNBLOCKED the stream key no longer exists|",
    "3> XGROUP CREATE k g $ MKSTREAM; 0> XREADGROUP GROUP g a BLOCK 0 STREAMS k >; 2> MULTI | DEL k | RPUSH k x | EXEC; \
     0= -UNBLOCKED the stream key no longer exists|",
    "3> XGROUP CREATE k g $ MKSTREAM; 0> XREADGROUP GROUP g a BLOCK 0 STREAMS k >; \
     2> MULTI | DEL k | XGROUP CREATE k g 0 MKSTREAM | XADD k 9-9 f v | EXEC; 0= *1|*2|$1|k|*1|*2|$3|9-9|*2|$1|f|$1|v|",
    // what waits for other types stays
    "0> BLPOP k 0; 1> BZPOPMIN k 0; 2> XREAD BLOCK 0 STREAMS k $; 3> XADD k 1-1 f v; 0= ; 1= ; \
     2= *1|*2|$1|k|*1|*2|$3|1-1|*2|$1|f|$1|v|; 3> DEL k | RPUSH k e; 0= *2|$1|k|$1|e|",
    // history does not wait
    "3> XGROUP CREATE k g $ MKSTREAM; 0> XREADGROUP GROUP g a BLOCK 0 STREAMS k 0; 0= *1|*2|$1|k|*0|",
    "0> XREAD BLOCK 0 STREAMS k $; 1> CLIENT UNBLOCK $0; 1= :1|; 0= *-1|",
];

#[test]
fn nobody_waits_at_a_replica_for_what_its_primary_is_given() {
    for waiting in ["BLPOP k 0", "BZPOPMIN k 0", "WAIT 1 0"] {
        let mut rig = Rig::new(1, false);
        let clients: Vec<Client> = (0..2).map(|_| rig.connect(0, Door::Front)).collect();
        assert_eq!(rig.run(clients[0], waiting), "");
        assert_eq!(rig.run(clients[1], "MULTI"), "+OK|");
        rig.run(clients[1], "REPLICAOF 10.0.0.5 7000");
        rig.run(clients[1], "INFO replication");
        let told = rig.run(clients[1], "EXEC");
        assert!(told.contains("role:slave") && told.contains("master_link_status:down"), "{told}");
        let got = rig.output(clients[0]);
        assert!(got.starts_with("-UNBLOCKED force unblock from blocking operation, instance state"), "{got}");
        assert_eq!(rig.shards[0].watches(), 0);
    }
}

/// A key that SWAPDB brings past its time, or that has passed it within a transaction, is nobody's, and gone.
#[test]
fn what_comes_past_its_time_is_not_given_away() {
    for script in [
        "1> SELECT 1 | RPUSH k a | PEXPIRE k 5; 0> BLPOP k 0; 2> PING",
        "1> SELECT 1 | RPUSH k a | PEXPIREAT k 1; 0> BLPOP k 0; 2> PING",
    ] {
        let mut rig = Rig::new(1, false);
        let clients: Vec<Client> = (0..3).map(|_| rig.connect(0, Door::Front)).collect();
        play(&mut rig, &clients, script);
        rig.shards[0].host.active_expire.store(false, std::sync::atomic::Ordering::Relaxed);
        rig.pass_ms(10);
        assert_eq!(rig.run(clients[2], "SWAPDB 0 1"), "+PONG|+OK|");
        assert_eq!(rig.output(clients[0]), "", "{script}");
        assert_eq!(rig.run(clients[2], "DBSIZE"), ":0|", "{script}");
        assert_eq!(rig.run(clients[2], "RPUSH k b"), ":1|");
        assert!(rig.output(clients[0]).ends_with("\r\nb\r\n"), "{script}");
    }
}

/// What ends the stream that somebody reads for a group, where no command names it.
#[test]
fn readers_are_told_of_streams_that_vanish() {
    for end in ["FLUSHALL", "FLUSHDB", "PEXPIRE k 5", "SWAPDB 0 1"] {
        let mut rig = Rig::new(3, false);
        let clients: Vec<Client> = (0..2).map(|n| rig.connect(n, Door::Front)).collect();
        assert_eq!(rig.run(clients[1], "XGROUP CREATE k g $ MKSTREAM"), "+OK|");
        assert_eq!(rig.run(clients[0], "XREADGROUP GROUP g a BLOCK 0 STREAMS k >"), "");
        assert!(!rig.run(clients[1], end).starts_with('-'), "{end}");
        rig.pass_ms(10);
        rig.tick();
        rig.tick();
        assert_eq!(rig.output(clients[0]), "-UNBLOCKED the stream key no longer exists\r\n", "{end}");
        leaves_nothing(&mut rig, &clients);
    }
}

/// The scripts hold on one shard, over three standalone ones, and through the front doors of three.
#[test]
fn who_waits_is_served() {
    for (shards, cluster) in [(1, false), (3, false), (3, true)] {
        for script in SCRIPTS.iter().chain(STREAMS) {
            let mut rig = Rig::new(shards, cluster);
            let clients: Vec<Client> = (0..4).map(|n| rig.connect(n % shards, Door::Front)).collect();
            let id = rig.shards[0].clients.get(clients[0].number).expect("it is there").caller.id;
            play(&mut rig, &clients, &script.replace("$0", &id.to_string()));
            leaves_nothing(&mut rig, &clients);
        }
    }
}

fn leaves_nothing(rig: &mut Rig, clients: &[Client]) {
    for client in clients {
        rig.shards[client.shard].close(client.number);
    }
    rig.tick();
    for shard in &rig.shards {
        assert_eq!((shard.watches(), shard.next_deadline()), (0, None));
        assert!(shard.loans.is_idle() && !shard.fx.listening);
        assert_eq!(shard.metrics.blocked.get(), 0);
    }
}

#[test]
fn waits_end() {
    let mut rig = Rig::new(3, false);
    let clients: Vec<Client> = (0..3).map(|n| rig.connect(n, Door::Front)).collect();
    let now = rig.now.ms();
    for (n, timeout) in ["0.5", "0.001", "0"].iter().enumerate() {
        assert_eq!(rig.run(clients[n], &format!("BLPOP a b c d e {timeout}")), "");
    }
    assert_eq!([0, 1, 2].map(|n| rig.shards[n].next_deadline()), [Some(now + 500), Some(now + 1), None]);
    let other = rig.connect(0, Door::Front);
    let list = rig.run(other, "CLIENT LIST");
    assert_eq!(list.matches(" flags=b ").count(), 3, "{list}");
    rig.pass_ms(1);
    rig.tick();
    assert_eq!([0, 1, 2].map(|n| rig.output(clients[n])), ["", "*-1\r\n", ""]);
    rig.pass_ms(499);
    rig.tick();
    assert_eq!([0, 1, 2].map(|n| rig.output(clients[n])), ["*-1\r\n", "", ""]);
    assert_eq!(rig.run(clients[0], "RPUSH d x"), ":1|");
    assert_eq!(rig.output(clients[2]), "*2\r\n$1\r\nd\r\n$1\r\nx\r\n");
    rig.check(clients[0], &[("SELECT 3", "+OK|"), ("RPUSH d in3", ":1|"), ("SELECT 0", "+OK|")]);
    assert_eq!(rig.run(clients[1], "BLPOP d 0"), "");
    assert_eq!(rig.run(clients[0], "SWAPDB 0 3"), "+OK|");
    assert_eq!(rig.output(clients[1]), "*2\r\n$1\r\nd\r\n$3\r\nin3\r\n");
    leaves_nothing(&mut rig, &clients);
}

#[test]
fn who_waits_where_a_slot_was_is_told() {
    let mut post = Post::new(3);
    let (tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), (post.owner(slot) + 1) % 3);
    let own = post.rig.connect(a, Door::Own);
    let fronts = [a, b, 3 - a - b].map(|shard| post.rig.connect(shard, Door::Front));
    for client in [own, fronts[0], fronts[1], fronts[2]] {
        assert_eq!(post.run(client, &format!("BLPOP {tag} 0")), "");
    }
    post.hand_off(&[(slot, b)]);
    post.settle();
    assert_eq!(post.rig.output(own), format!("-MOVED {slot} 10.0.0.9:{}\r\n", 7000 + b));
    let pusher = post.rig.connect(a, Door::Front);
    for (n, client) in fronts.into_iter().enumerate() {
        assert_eq!(post.run(pusher, &format!("RPUSH {tag} {n}")), ":1\r\n");
        assert!(
            post.rig.output(client).ends_with(&format!("\r\n{n}\r\n")),
            "in their order, at the new owner"
        );
    }
    assert!(post.rig.shards.iter().all(|s| s.watches() == 0));
}

const LISTS: u64 = 5;

fn list(n: u64) -> String {
    tag(n as usize).0
}

/// A command that waits, or one that brings something.
fn wish(rng: &mut Rng, pushed: &mut usize) -> String {
    let (a, b, c) = (list(rng.below(LISTS)), list(rng.below(LISTS)), list(rng.below(LISTS)));
    match rng.below(8) {
        0 => format!("BLMOVE {a} {b} LEFT RIGHT 0"),
        1..=3 => format!("BLPOP {a} {b} {c} 0"),
        4 => format!("BRPOP {a} 0"),
        5 => format!("BLMPOP 0 2 {a} {b} LEFT"),
        _ => {
            *pushed += 1;
            format!("RPUSH {a} e{pushed}")
        }
    }
}

/// How many elements nobody took; nobody waits for a list that has any.
fn left_over(post: &mut Post, seed: u64) -> usize {
    let probe = post.rig.connect(0, Door::Front);
    let mut left = 0;
    for n in 0..LISTS {
        let all = post.run(probe, &format!("LRANGE {} 0 -1", list(n)));
        let slot = tag(n as usize).1;
        let queued: usize =
            post.rig.shards.iter().map(|s| s.ks.db(0).waiters(slot, list(n).as_bytes()).count()).sum();
        let here = all.lines().filter(|line| line.starts_with('e')).count();
        assert!(queued == 0 || here == 0, "seed {seed}: {queued} wait for a list of {here}");
        left += here;
    }
    left
}

/// When all clients are gone, no shard remembers any.
fn nothing_is_kept(mut post: Post, clients: Vec<Client>, seed: u64) {
    for client in clients {
        post.rig.shards[client.shard].close(client.number);
    }
    post.collect();
    post.settle();
    for shard in &post.rig.shards {
        assert_eq!((shard.watches(), shard.metrics.blocked.get()), (0, 0), "seed {seed}");
        assert!(shard.loans.is_idle() && !shard.fx.listening, "seed {seed}");
    }
}

/// Elements come out once, by whoever waits, however mail travels, slots move and clients die; and nobody
/// waits for what is there.
#[test]
fn every_element_goes_to_one() {
    const SHARDS: usize = 4;
    const CLIENTS: usize = 16;
    let (mut served, mut died) = (0, 0);
    for seed in 1..=60 {
        let mut rng = Rng::new(seed);
        let mut post = Post::new(SHARDS);
        let mut clients: Vec<Client> =
            (0..CLIENTS).map(|n| post.rig.connect(n % SHARDS, Door::Front)).collect();
        let mut heard: BTreeMap<usize, String> = BTreeMap::new();
        let (mut busy, mut got) = (BTreeSet::new(), BTreeSet::new());
        let (mut pushed, mut lost) = (0, 0);
        for _ in 0..1200 {
            let n = rng.below(CLIENTS as u64) as usize;
            match rng.below(60) {
                0 => {
                    // with what it was given, or what it would have pushed
                    lost += busy.remove(&n) as usize;
                    heard.remove(&n);
                    post.rig.shards[clients[n].shard].close(clients[n].number);
                    post.collect();
                    clients[n] = post.rig.connect(n % SHARDS, Door::Front);
                }
                1 if post.is_settled() => {
                    let (slot, to) = (tag(rng.below(LISTS) as usize).1, rng.below(SHARDS as u64) as usize);
                    if post.owner(slot) != to {
                        post.hand_off(&[(slot, to)]);
                    }
                }
                2..=4 => drop(post.learn(rng.below(SHARDS as u64) as usize)),
                5..=12 if !busy.contains(&n) => {
                    let line = wish(&mut rng, &mut pushed);
                    busy.insert(n);
                    post.send(clients[n], format!("{line}\r\n").as_bytes());
                }
                _ => {
                    let full = post.full();
                    if !full.is_empty() {
                        let (from, to) = full[rng.below(full.len() as u64) as usize];
                        post.deliver(from, to);
                    }
                }
            }
            listen(&mut post, &clients, &mut heard, &mut busy, &mut got);
        }
        for _ in 0..4 {
            post.settle();
            listen(&mut post, &clients, &mut heard, &mut busy, &mut got);
        }
        served += got.len();
        died += lost;
        // with all that wait gone, what is left is what nobody waited for
        let waits: usize = post.rig.shards.iter().map(|s| s.metrics.blocked.get() as usize).sum();
        assert_eq!(waits, busy.len(), "seed {seed}: who is not answered waits");
        let left = left_over(&mut post, seed);
        assert!(
            got.len() + left <= pushed && got.len() + left + lost >= pushed,
            "seed {seed}: {pushed} pushed, {} taken, {left} left",
            got.len()
        );
        nothing_is_kept(post, clients, seed);
    }
    println!("{served} elements, {died} that died waiting");
    assert!(served > 60 * 10 && died > 60);
}

/// Takes in what clients have heard: an element that was popped is nobody else's.
fn listen(
    post: &mut Post,
    clients: &[Client],
    heard: &mut BTreeMap<usize, String>,
    busy: &mut BTreeSet<usize>,
    got: &mut BTreeSet<String>,
) {
    for (n, client) in clients.iter().enumerate() {
        let more = post.rig.output(*client);
        if more.is_empty() {
            continue;
        }
        let all = heard.entry(n).or_default();
        *all += &more;
        assert!(!all.contains('-'), "{all}");
        busy.remove(&n);
        // a move leaves its element in the house
        if all.starts_with('*') {
            for element in all.lines().filter(|line| line.starts_with('e')) {
                assert!(got.insert(element.to_owned()), "{element} came twice");
            }
        }
        heard.remove(&n);
    }
}
