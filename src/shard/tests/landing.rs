//! Slots land while clients write, and a host that is killed in the midst comes back with all that there was.

use super::Client;
use super::handoff::{Logs, Post, tag};
use crate::session::Door;
use crate::shard::snapshot::{FilePlan, Seal};
use crate::slot::{Slot, key_slot};
use crate::util::rng::Rng;

/// Keys of each kind, by the letter that their names begin with; capitals have large values.
const KEYS: &[(char, usize)] = &[
    ('s', 150),
    ('n', 8),
    ('l', 8),
    ('h', 8),
    ('e', 8),
    ('z', 8),
    ('S', 1),
    ('L', 2),
    ('H', 1),
    ('E', 1),
    ('Z', 1),
];

fn names(tag: &str) -> Vec<(char, String)> {
    let of = |&(kind, many): &(char, usize)| (0..many).map(move |i| (kind, format!("{tag}{kind}{i}")));
    KEYS.iter().flat_map(of).collect()
}

/// The command that makes a key.
fn fill((kind, name): &(char, String)) -> String {
    let many = |n: usize, item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(" ");
    let long = "x".repeat(40);
    match kind {
        's' => format!("SET {name} {long}"),
        'n' => format!("SET {name} 5"),
        'l' => format!("RPUSH {name} a b c"),
        'h' => format!("HSET {name} f v"),
        'e' => format!("SADD {name} a b"),
        'z' => format!("ZADD {name} 1 a 2 b"),
        'S' => format!("SET {name} {}", "y".repeat(50_000)),
        'L' => format!("RPUSH {name} {}", many(900, &|i| format!("{i}{long}"))),
        'H' => format!("HSET {name} {}", many(900, &|i| format!("{i} {long}"))),
        'E' => format!("SADD {name} {}", many(900, &|i| format!("{i}{long}"))),
        _ => format!("ZADD {name} {}", many(900, &|i| format!("{i}.5 {i}{long}"))),
    }
}

/// Something that changes keys of the slot; `other` is a key of a slot elsewhere.
fn change(rng: &mut Rng, tag: &str, other: &str, n: usize) -> String {
    let i = rng.below(150);
    let (j, k) = (rng.below(8), rng.below(150));
    let lines = [
        format!("APPEND {tag}s{i} a{n}"),
        format!("SET {tag}s{i} b{n}"),
        format!("DEL {tag}s{i} {tag}s{k}"),
        format!("PEXPIRE {tag}s{i} 500000"),
        format!("RENAME {tag}s{i} {tag}s{k}"),
        format!("INCR {tag}n{j}"),
        format!("RPUSH {tag}l{j} c{n}"),
        format!("LPOP {tag}l{j}"),
        format!("HSET {tag}h{j} g{n} {n}"),
        format!("SADD {tag}e{j} d{n}"),
        format!("ZADD {tag}z{j} {n} e{n}"),
        format!("APPEND {tag}S0 f"),
        format!("RPUSH {tag}L0 g{n}"),
        format!("LMOVE {tag}L1 {tag}l{j} LEFT RIGHT"),
        format!("HDEL {tag}H0 {k}"),
        format!("HSET {tag}H0 {k} {n}"),
        format!("SUNIONSTORE {tag}e{j} {tag}E0 {tag}e0"),
        format!("ZINCRBY {tag}Z0 1 h{n}"),
        format!("DEL {tag}Z0"),
        format!("COPY {tag}L0 {tag}l{j} REPLACE"),
        format!("MULTI\r\nINCR {tag}n{j}\r\nRPUSH {tag}l{j} i{n}\r\nDEL {tag}s{i}\r\nEXEC"),
        // these borrow
        format!("SADD {tag}e{j} m{n}\r\nSMOVE {tag}e{j} {other} m{n}"),
        format!("RENAME {tag}s{i} {other}{n}"),
        format!("SUNIONSTORE {tag}e{j} {tag}E0 {other}"),
    ];
    format!("{}\r\n", lines[rng.below(lines.len() as u64) as usize])
}

/// What a client reads: of what has no order, the lines in order.
fn read(post: &mut Post, reader: Client, tag: &str) -> Vec<String> {
    let mut say = |line: String, is_sorted: bool| {
        post.send(reader, format!("{line}\r\n").as_bytes());
        carry(post);
        let reply = post.rig.output(reader);
        let mut lines: Vec<&str> = reply.split("\r\n").collect();
        if is_sorted {
            lines.sort_unstable();
        }
        format!("{line}: {}", lines.join(" "))
    };
    let mut all = Vec::new();
    for (kind, name) in names(tag) {
        all.push(match kind.to_ascii_lowercase() {
            's' | 'n' => say(format!("GET {name}"), false),
            'l' => say(format!("LRANGE {name} 0 -1"), false),
            'h' => say(format!("HGETALL {name}"), true),
            'e' => say(format!("SMEMBERS {name}"), true),
            _ => say(format!("ZRANGE {name} 0 -1 WITHSCORES"), false),
        });
        all.push(say(format!("PEXPIRETIME {name}"), false));
    }
    all
}

/// Carries all mail that there is, and nothing else happens.
fn carry(post: &mut Post) {
    let shards = post.rig.shards.len();
    let pairs = || (0..shards * shards).map(move |i| (i / shards, i % shards));
    while pairs().fold(false, |any, (from, to)| post.deliver(from, to) | any) {}
}

struct Scene {
    post: Post,
    logs: Logs,
    clients: Vec<Client>,
    /// One for each shard: what stands still at the owner for a sibling's clients does not for its own.
    readers: Vec<Client>,
    tag: String,
    slot: Slot,
    other: String,
}

impl Scene {
    fn set() -> Scene {
        let mut post = Post::new(2);
        let (tag, slot) = tag(0);
        let clients = (0..6).map(|i| post.rig.connect(i % 2, Door::Front)).collect::<Vec<_>>();
        let readers = (0..2).map(|shard| post.rig.connect(shard, Door::Front)).collect();
        let mut logs = Logs::begin(&mut post);
        for key in names(&tag) {
            post.run(clients[0], &fill(&key));
        }
        logs.write(&mut post);
        post.by_hand = true;
        let elsewhere = |n: &i32| post.owner(key_slot(format!("{{u{n}}}").as_bytes())) == post.owner(slot);
        let other = format!("{{u{}}}e", (0..).find(elsewhere).expect("a slot beside it"));
        Scene { post, logs, clients, readers, tag, slot, other }
    }

    /// The slot goes to the other shard, which is told.
    fn hand_over(&mut self) -> usize {
        let to = 1 - self.post.owner(self.slot);
        self.post.hand_off(&[(self.slot, to)]);
        self.post.learn(0);
        self.post.learn(1);
        carry(&mut self.post);
        to
    }

    fn lands(&self) -> bool {
        !self.post.is_settled()
    }

    fn chores(&mut self, shard: usize) {
        self.post.rig.now.unix_us += 100;
        self.post.rig.shards[shard].chores(self.post.rig.now);
        self.post.collect();
        carry(&mut self.post);
        self.logs.write(&mut self.post);
    }

    /// A host that comes back with the logs as they are has what this one has.
    fn check(&mut self, what: &str) {
        let mut copy = self.logs.replayed(&mut self.post);
        let reader = copy.rig.connect(0, Door::Front);
        let there = read(&mut copy, reader, &self.tag);
        let reader = self.readers[self.post.owner(self.slot)];
        let here = read(&mut self.post, reader, &self.tag);
        if let Some((here, there)) = here.iter().zip(&there).find(|(here, there)| here != there) {
            let words = [here, there].map(|text| text.split(' ').collect::<Vec<_>>());
            let only = |a: usize, b: usize| -> Vec<&str> {
                words[a].iter().filter(|word| !words[b].contains(word)).copied().take(20).collect()
            };
            panic!("{what}: {}: lost {:?}, added {:?}", &here[..here.len().min(60)], only(0, 1), only(1, 0));
        }
    }
}

fn storm(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut scene = Scene::set();
    let (mut checks, mut n) = (0, 0);
    for round in 0..3 {
        let to = scene.hand_over();
        assert!(scene.lands(), "seed {seed}: it is too much for one step");
        for step in 0.. {
            n += 1;
            if rng.below(3) == 0 {
                scene.chores(to);
            } else {
                let client = scene.clients[rng.below(6) as usize];
                let line = change(&mut rng, &scene.tag, &scene.other, n);
                scene.post.send(client, line.as_bytes());
                if rng.below(4) > 0 {
                    carry(&mut scene.post);
                }
                scene.post.rig.output(client);
            }
            if rng.below(25) == 0 {
                carry(&mut scene.post);
                checks += scene.lands() as usize;
                scene.check(&format!("seed {seed}, round {round}, step {step}"));
            }
            if !scene.lands() {
                break;
            }
        }
        while scene.post.rig.shards[to].has_chores() {
            scene.chores(to);
        }
        scene.check(&format!("seed {seed}, round {round}, at its end"));
        assert!(scene.logs.says(to, &format!("#SLOTS:+{}\r\n", scene.slot)), "seed {seed}");
    }
    assert!(checks > 0, "seed {seed}: it was never looked at in the midst");
}

#[test]
fn what_lands_is_there_whenever_the_host_dies() {
    (0..12).for_each(storm);
}

#[test]
fn a_large_value_is_told_bit_by_bit_and_its_writers_wait() {
    let mut scene = Scene::set();
    let key = format!("{}L0", scene.tag);
    let to = scene.hand_over();
    let [writer, other] = [scene.clients[0], scene.clients[2]];
    scene.post.send(writer, format!("RPUSH {key} last\r\n").as_bytes());
    scene.post.send(other, format!("LLEN {key}\r\nINCR {}n0\r\n", scene.tag).as_bytes());
    carry(&mut scene.post);
    assert_eq!(scene.post.rig.output(other), ":900\r\n:6\r\n", "everything else goes on");
    assert_eq!(scene.post.rig.output(writer), "");
    let mut steps = 0;
    while scene.post.rig.output(writer).is_empty() {
        let before = scene.logs.len(to);
        scene.chores(to);
        steps += 1;
        let step = scene.logs.len(to) - before;
        assert!(
            step < 2 * crate::limits::LANDING_STEP + crate::limits::RECV_BUFFER as usize * 2,
            "{step} bytes"
        );
    }
    assert!((2..8).contains(&steps), "it is told next, in {steps} steps");
    assert!(scene.lands());
    scene.check("in the midst");
    // the log is full: nothing more is told until it has written
    scene.post.rig.shards[to].log_waits(crate::limits::LANDING_UNWRITTEN);
    let before = scene.logs.len(to);
    scene.chores(to);
    assert!(scene.logs.len(to) == before && !scene.post.rig.shards[to].has_chores());
    scene.post.rig.shards[to].log_waits(0);
    assert!(scene.post.rig.shards[to].has_chores());
}

#[test]
fn no_log_begins_anew_in_the_midst() {
    let mut scene = Scene::set();
    let to = scene.hand_over();
    for shard in [0, 1] {
        let [temporary, target] = ["a", "b"].map(str::to_owned);
        scene.post.rig.shards[shard].rewrite_log(FilePlan {
            temporary,
            target,
            sync_every: None,
            seal: Seal::Zeros,
        });
    }
    // the snapshot is made of what has landed: chores alone, for it cuts the log
    while scene.lands() {
        assert!(scene.post.rig.shards.iter().all(|shard| !shard.has_file_orders()));
        let now = scene.post.rig.now;
        scene.post.rig.shards[to].chores(now);
        scene.post.collect();
        carry(&mut scene.post);
        for shard in &mut scene.post.rig.shards {
            shard.take_stream(&mut Vec::new());
        }
    }
    for shard in [0, 1] {
        let now = scene.post.rig.now;
        scene.post.rig.shards[shard].chores(now);
        assert!(scene.post.rig.shards[shard].has_file_orders(), "shard {shard} begins now");
    }
}

/// Whoever loses the slot, or its log, while it lands has nothing more to tell.
#[test]
fn it_ends_with_the_log() {
    let mut scene = Scene::set();
    let to = scene.hand_over();
    scene.post.rig.shards[to].set_propagating(false);
    assert!(!scene.lands());
    scene.post.collect();
    carry(&mut scene.post);
    let from = 1 - to;
    let [temporary, target] = ["a", "b"].map(str::to_owned);
    scene.post.rig.shards[from].rewrite_log(FilePlan {
        temporary,
        target,
        sync_every: None,
        seal: Seal::Zeros,
    });
    assert!(scene.post.rig.shards[from].has_file_orders(), "the giver waits no longer");
}
