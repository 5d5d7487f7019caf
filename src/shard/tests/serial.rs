//! Transactions of many clients over the keys of eight shards, while mail arrives in any order, slots change
//! hands and clients die: the history that comes of it must be one that could have been made by one thing
//! at a time, every client gets its answers, and nobody leaves anything behind.

#[path = "../../../tests/common/serial.rs"]
mod history;

use super::Client;
use super::handoff::{Post, tag};
use crate::session::Door;
use crate::slot::{Slot, key_slot};
use crate::util::rng::Rng;
use history::{Deed, List, check};

const SHARDS: usize = 8;
const CLIENTS: usize = 24;
const LISTS: usize = 12;
const SEEDS: u64 = 40;
const STEPS: usize = 2500;

/// A reply, as far as these commands have such.
#[derive(Clone, Debug, PartialEq)]
enum Reply {
    Line(String),
    Bulk(String),
    Array(Vec<Reply>),
    Nil,
}

/// The first reply and what is behind it; `None` when it is not there as a whole.
fn parse(text: &str) -> Option<(Reply, &str)> {
    let (line, rest) = text.split_once("\r\n")?;
    let n = || line[1..].parse::<i64>().expect("a number");
    Some(match line.as_bytes()[0] {
        b'*' | b'$' if n() < 0 => (Reply::Nil, rest),
        b'$' => {
            let (bulk, rest) = rest.split_at_checked(n() as usize)?;
            (Reply::Bulk(bulk.to_owned()), rest.strip_prefix("\r\n")?)
        }
        b'*' => {
            let (mut all, mut rest) = (Vec::new(), rest);
            for _ in 0..n() {
                let (one, behind) = parse(rest)?;
                all.push(one);
                rest = behind;
            }
            (Reply::Array(all), rest)
        }
        _ => (Reply::Line(line.to_owned()), rest),
    })
}

fn elements(reply: &Reply) -> Vec<u64> {
    let Reply::Array(all) = reply else { panic!("{reply:?} is no list") };
    let number = |one: &Reply| match one {
        Reply::Bulk(text) => text.parse().expect("a number"),
        other => panic!("{other:?} in a list"),
    };
    all.iter().map(number).collect()
}

fn place(reply: &Reply) -> usize {
    let Reply::Line(text) = reply else { panic!("{reply:?} is no length") };
    text[1..].parse().unwrap_or_else(|_| panic!("{text} is no length"))
}

/// What a client does at the moment.
enum Doing {
    Nothing,
    /// It awaits so many replies. The lists that it reads, in order, and the deed that they complete.
    Awaits {
        replies: usize,
        reads: Vec<usize>,
        deed: Deed,
        kind: Kind,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Each command by itself: a deed has one.
    Plain,
    Multi,
    /// WATCH and a read; EXEC comes with the next message.
    Watch,
    /// EXEC after that.
    Guarded,
}

struct Actor {
    client: Client,
    heard: String,
    doing: Doing,
}

struct Scene {
    post: Post,
    rng: Rng,
    actors: Vec<Actor>,
    deeds: Vec<Deed>,
    time: u64,
    next: u64,
    executed: usize,
    failed: usize,
    handoffs: usize,
}

fn list(n: usize) -> String {
    tag(n).0
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let mut post = Post::new(SHARDS);
        let actor = |n| Actor {
            client: post.rig.connect(n % SHARDS, Door::Front),
            heard: String::new(),
            doing: Doing::Nothing,
        };
        let actors = (0..CLIENTS).map(actor).collect();
        let (deeds, rng) = (Vec::new(), Rng::new(seed));
        Scene { post, rng, actors, deeds, time: 0, next: 0, executed: 0, failed: 0, handoffs: 0 }
    }

    fn lists(&mut self, most: u64) -> Vec<usize> {
        let n = 1 + self.rng.below(most);
        let mut lists: Vec<usize> = (0..n).map(|_| self.rng.below(LISTS as u64) as usize).collect();
        lists.sort_unstable();
        lists.dedup();
        lists
    }

    fn element(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn say(&mut self, n: usize, text: &str, replies: usize, reads: Vec<usize>, deed: Deed, kind: Kind) {
        self.actors[n].doing = Doing::Awaits { replies, reads, deed, kind };
        self.post.send(self.actors[n].client, text.as_bytes());
    }

    /// A client begins something.
    fn begin(&mut self, n: usize) {
        let deed = Deed { began: self.time, ..Deed::default() };
        let one = self.rng.below(LISTS as u64) as usize;
        match self.rng.below(10) {
            0 => {
                let element = self.element();
                let appends = vec![(one, element, None)];
                let text = format!("RPUSH {} {element}\r\n", list(one));
                self.say(n, &text, 1, vec![], Deed { appends, ..deed }, Kind::Plain);
            }
            1 => self.say(n, &format!("LRANGE {} 0 -1\r\n", list(one)), 1, vec![one], deed, Kind::Plain),
            2..=4 => {
                let text = format!("WATCH {}\r\nLRANGE {} 0 -1\r\n", list(one), list(one));
                self.say(n, &text, 2, vec![one], deed, Kind::Watch);
            }
            _ => {
                let (reads, written) = (self.lists(3), self.lists(3));
                let appends: Vec<_> = written.into_iter().map(|list| (list, self.element(), None)).collect();
                let mut text = "MULTI\r\n".to_owned();
                reads.iter().for_each(|l| text += &format!("LRANGE {} 0 -1\r\n", list(*l)));
                appends.iter().for_each(|(l, e, _)| text += &format!("RPUSH {} {e}\r\n", list(*l)));
                let replies = 2 + reads.len() + appends.len();
                self.say(n, &(text + "EXEC\r\n"), replies, reads, Deed { appends, ..deed }, Kind::Multi);
            }
        }
    }

    /// What a client has heard; it goes on when that is all.
    fn listen(&mut self, n: usize) {
        let more = self.post.rig.output(self.actors[n].client);
        let actor = &mut self.actors[n];
        actor.heard += &more;
        let Doing::Awaits { replies, reads, deed, kind } = &mut actor.doing else {
            assert_eq!(actor.heard, "", "nobody asked");
            return;
        };
        let mut all = Vec::new();
        let mut rest = &actor.heard[..];
        while all.len() < *replies {
            let Some((reply, behind)) = parse(rest) else { return };
            all.push(reply);
            rest = behind;
        }
        assert_eq!(rest, "", "more than was asked for");
        let (reads, mut deed, kind) = (std::mem::take(reads), std::mem::take(deed), *kind);
        actor.heard.clear();
        actor.doing = Doing::Nothing;
        let refused = |reply: &Reply| matches!(reply, Reply::Line(text) if text.starts_with('-'));
        assert!(!all.iter().any(refused), "{all:?}");
        deed.ended = Some(self.time);
        let results = match kind {
            Kind::Plain => all,
            Kind::Watch => {
                deed.reads = vec![(reads[0], elements(&all[1]))];
                return self.guard(n, deed);
            }
            Kind::Multi | Kind::Guarded => match all.pop() {
                Some(Reply::Array(results)) => results,
                Some(Reply::Nil) if kind == Kind::Guarded => {
                    // what it would have appended must be nowhere
                    self.failed += 1;
                    return;
                }
                other => panic!("EXEC: {other:?}"),
            },
        };
        self.executed += 1;
        for (list, reply) in reads.iter().zip(&results) {
            deed.reads.push((*list, elements(reply)));
        }
        for (append, reply) in deed.appends.iter_mut().zip(&results[reads.len()..]) {
            append.2 = Some(place(reply));
        }
        self.deeds.push(deed);
    }

    /// It has read what it watches, and appends to that and another list if it is still so. The deed as a
    /// whole is done at EXEC.
    fn guard(&mut self, n: usize, deed: Deed) {
        let mut appends = vec![(deed.reads[0].0, self.element(), None)];
        let other = self.rng.below(LISTS as u64) as usize;
        if other != appends[0].0 {
            appends.push((other, self.element(), None));
        }
        let mut text = "MULTI\r\n".to_owned();
        appends.iter().for_each(|(l, e, _)| text += &format!("RPUSH {} {e}\r\n", list(*l)));
        let replies = 2 + appends.len();
        let deed = Deed { began: self.time, ended: None, reads: deed.reads, appends };
        self.say(n, &(text + "EXEC\r\n"), replies, vec![], deed, Kind::Guarded);
    }

    /// A client's connection breaks, whatever it is doing.
    fn die(&mut self, n: usize) {
        let Actor { client, doing, .. } = &mut self.actors[n];
        if let Doing::Awaits { deed, kind, .. } = std::mem::replace(doing, Doing::Nothing)
            && kind != Kind::Watch
        {
            self.deeds.push(Deed { reads: Vec::new(), ..deed });
        }
        self.post.rig.shards[client.shard].close(client.number);
        self.post.collect();
        let client = self.post.rig.connect(client.shard, Door::Front);
        self.actors[n] = Actor { client, heard: String::new(), doing: Doing::Nothing };
    }

    fn step(&mut self) {
        self.time += 1;
        let any = |rng: &mut Rng, n: usize| rng.below(n as u64) as usize;
        match self.rng.below(100) {
            0 => {
                let n = any(&mut self.rng, CLIENTS);
                self.die(n);
            }
            1..=2 if self.post.is_settled() => {
                let (_, slot) = tag(any(&mut self.rng, LISTS));
                let to = any(&mut self.rng, SHARDS);
                if self.post.owner(slot) != to {
                    self.post.hand_off(&[(slot, to)]);
                    self.handoffs += 1;
                }
            }
            3..=8 => {
                let shard = any(&mut self.rng, SHARDS);
                self.post.learn(shard);
            }
            9..=30 => {
                let n = any(&mut self.rng, CLIENTS);
                if matches!(self.actors[n].doing, Doing::Nothing) {
                    self.begin(n);
                }
            }
            _ => {
                let full = self.post.full();
                if !full.is_empty() {
                    let (from, to) = full[any(&mut self.rng, full.len())];
                    self.post.deliver(from, to);
                }
            }
        }
        (0..CLIENTS).for_each(|n| self.listen(n));
    }

    /// All is answered; the lists as they are now.
    fn end(&mut self) -> Vec<List> {
        // who reads what it watches goes on after that
        for _ in 0..2 {
            self.post.settle();
            self.time += 1;
            (0..CLIENTS).for_each(|n| self.listen(n));
        }
        self.post.settle();
        (0..CLIENTS).for_each(|n| self.listen(n));
        assert!(self.actors.iter().all(|a| matches!(a.doing, Doing::Nothing)), "a client still waits");
        for n in 0..CLIENTS {
            self.die(n);
        }
        self.post.settle();
        for shard in &self.post.rig.shards {
            assert_eq!(shard.watches(), 0, "somebody who is gone still watches");
            assert!(shard.loans.is_idle() && !shard.fx.listening, "something is left of a loan");
        }
        let client = self.actors[0].client;
        let read = |n| {
            let reply = self.post.run(client, &format!("LRANGE {} 0 -1", list(n)));
            (n, elements(&parse(&reply).expect("a reply").0))
        };
        (0..LISTS).map(read).collect()
    }
}

#[test]
fn transactions_are_one_thing_at_a_time() {
    let slots: std::collections::HashSet<Slot> = (0..LISTS).map(|n| key_slot(list(n).as_bytes())).collect();
    assert_eq!(slots.len(), LISTS);
    let (mut executed, mut failed, mut handoffs) = (0, 0, 0);
    for seed in 1..=SEEDS {
        let mut scene = Scene::new(seed);
        (0..STEPS).for_each(|_| scene.step());
        let lists = scene.end();
        check(&scene.deeds, &lists).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        executed += scene.executed;
        failed += scene.failed;
        handoffs += scene.handoffs;
    }
    println!("{executed} deeds, {failed} that WATCH stopped, {handoffs} handoffs");
    assert!(executed > 100 * SEEDS as usize && failed > SEEDS as usize && handoffs > SEEDS as usize);
}
