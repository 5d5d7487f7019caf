//! Shards that run each other: by post or in person, it must come to the same.

use super::{Client, Rig};
use crate::session::Door;
use crate::shard::mail::Mail;
use crate::shard::{Input, Shard};
use crate::util::rng::Rng;
use std::collections::VecDeque;

const SHARDS: usize = 3;

/// Carries mail as the executor does: by post, one box for each ordered pair, or in person where nothing
/// is on its way between the two. Who is next is left to chance.
struct Carrier {
    boxes: Vec<VecDeque<Mail>>,
    rng: Rng,
    /// Whether mail that may be is handed over in person: never, or by chance.
    in_person: bool,
    visits: usize,
}

impl Carrier {
    fn new(seed: u64, in_person: bool) -> Carrier {
        let boxes = (0..SHARDS * SHARDS).map(|_| VecDeque::new()).collect();
        Carrier { boxes, rng: Rng::new(seed), in_person, visits: 0 }
    }

    fn settle(&mut self, rig: &mut Rig) {
        loop {
            let mut carried = false;
            for from in 0..SHARDS {
                let mail: Vec<_> = rig.shards[from].take_mail().collect();
                carried |= !mail.is_empty();
                mail.into_iter().for_each(|(to, mail)| self.carry(rig, from, to, mail));
            }
            let full: Vec<usize> = (0..self.boxes.len()).filter(|&b| !self.boxes[b].is_empty()).collect();
            let resumed = (0..SHARDS).filter(|&s| rig.shards[s].has_resumed()).collect::<Vec<_>>();
            resumed.iter().for_each(|&s| rig.shards[s].turn(&mut [], rig.now));
            if full.is_empty() && !carried && resumed.is_empty() {
                return;
            }
            if !full.is_empty() {
                let b = full[self.rng.below(full.len() as u64) as usize];
                let mail = self.boxes[b].pop_front().expect("it is not empty");
                rig.shards[b / SHARDS].mail(b % SHARDS, mail, rig.now);
            }
        }
    }

    fn carry(&mut self, rig: &mut Rig, from: usize, to: usize, mail: Mail) {
        let (there, back) = (to * SHARDS + from, from * SHARDS + to);
        let is_clear = self.boxes[there].is_empty() && self.boxes[back].is_empty();
        // a core tells its clients before it sleeps
        rig.shards[to].take_news(&mut Vec::new());
        let sleeps = is_quiet(&rig.shards[to]) && self.rng.below(4) > 0;
        if !(self.in_person && is_clear && sleeps && Shard::may_visit(&mail)) {
            return self.boxes[there].push_back(mail);
        }
        self.visits += 1;
        let mut answers = Vec::new();
        let made_work = rig.shards[to].visited(from, mail, rig.now, &mut answers);
        assert!(made_work || is_quiet(&rig.shards[to]), "its core would have slept over this");
        answers.into_iter().for_each(|answer| rig.shards[from].mail(to, answer, rig.now));
    }
}

/// Nothing is left for a shard's core to do.
fn is_quiet(shard: &Shard) -> bool {
    !shard.has_chores()
        && !shard.has_garbage()
        && !shard.has_questions()
        && !shard.has_resumed()
        && shard.news.is_empty()
        && shard.answers.is_empty()
        && shard.letters.is_empty()
        && shard.outbox.iter().all(Option::is_none)
}

fn pipeline(rng: &mut Rng, commands: usize) -> String {
    let key = |rng: &mut Rng| format!("key:{}", rng.below(12));
    let line = |rng: &mut Rng| {
        let (a, b, c) = (key(rng), key(rng), key(rng));
        match rng.below(12) {
            0 | 1 => format!("GET {a}"),
            2 | 3 => format!("SET {a} {}", rng.below(100)),
            4 => format!("MSET {a} 1 {b} 2 {c} 3"),
            5 => format!("MGET {a} {b} {c}"),
            6 => format!("DEL {a} {b}"),
            7 => format!("RENAME {a} {b}"),
            8 => format!("COPY {a} {b} REPLACE"),
            9 => format!("MSETNX {a} x {b} y"),
            10 => format!("GETDEL {a}"),
            _ => "DBSIZE".to_owned(),
        }
    };
    (0..commands).map(|_| line(rng) + "\r\n").collect()
}

/// A host, its mail, and a client of each shard.
struct Scene {
    rig: Rig,
    carrier: Carrier,
    clients: [Client; SHARDS],
}

impl Scene {
    fn new(seed: u64, in_person: bool) -> Scene {
        let mut rig = Rig::new(SHARDS, false);
        let clients = [0, 1, 2].map(|shard| rig.connect(shard, Door::Front));
        Scene { rig, carrier: Carrier::new(seed, in_person), clients }
    }

    /// A turn of one client's shard; its mail stays there.
    fn say(&mut self, client: usize, text: &str) {
        let Client { shard, number } = self.clients[client];
        self.rig.shards[shard].turn(&mut [Input::new(number, text.as_bytes())], self.rig.now);
    }

    fn settle(&mut self) {
        self.carrier.settle(&mut self.rig);
    }

    fn hear(&mut self, client: usize) -> String {
        self.rig.output(self.clients[client])
    }
}

/// One client at a time: the replies are the same whatever way the mail takes.
#[test]
fn visits_answer_as_mail_does() {
    let mut scenes = [Scene::new(1, false), Scene::new(1, true)];
    let mut rng = Rng::new(7);
    for round in 0..400 {
        let sent = pipeline(&mut rng, 1 + round % 9);
        let [want, got] = scenes.each_mut().map(|scene| {
            scene.say(round % SHARDS, &sent);
            scene.settle();
            scene.hear(round % SHARDS)
        });
        assert_eq!(got, want, "{sent}");
        assert_eq!(want.is_empty(), sent.is_empty());
    }
    let [by_post, in_person] = scenes.map(|scene| scene.carrier.visits);
    assert!(by_post == 0 && in_person > 200, "{by_post} {in_person}");
}

/// All clients at once, with commands that lend slots in between: each client's commands are executed in
/// its order, and none is lost or done twice.
#[test]
fn visits_keep_each_clients_order() {
    let mut visits = 0;
    for seed in 0..40 {
        let mut scene = Scene::new(seed, true);
        let mut rng = Rng::new(seed);
        let mut counted = [0; SHARDS];
        for _ in 0..30 {
            for client in 0..SHARDS {
                let other = (client + 1) % SHARDS;
                let commands = (0..5).map(|_| match rng.below(4) {
                    0 => format!("COPY count:{client} copy:{} REPLACE\r\n", rng.below(9)),
                    1 => format!("MSETNX count:{other} 0 copy:{other} 0\r\n"),
                    _ => format!("INCR count:{client}\r\n"),
                });
                let text: String = commands.collect();
                scene.say(client, &text);
            }
            scene.settle();
            for (client, counted) in counted.iter_mut().enumerate() {
                // COPY and MSETNX say :0 or :1, which is a count at first only
                let replies = scene.hear(client);
                let counts = replies.lines().map(|line| line[1..].parse::<u64>().expect("a number"));
                for count in counts.filter(|count| *count > 1) {
                    assert!(count > *counted, "{seed}: {count} after {counted}");
                    *counted = count;
                }
            }
        }
        for (client, counted) in counted.iter().enumerate() {
            scene.say(client, &format!("GET count:{client}\r\n"));
            scene.settle();
            let (reply, digits) = (scene.hear(client), counted.to_string().len());
            assert_eq!(reply, format!("${digits}\r\n{counted}\r\n"), "{seed}");
        }
        visits += scene.carrier.visits;
    }
    assert!(visits > 100, "{visits}");
}

/// What a visit leaves for the shard's own core is told.
#[test]
fn visits_tell_of_work_for_the_owner() {
    let mut rig = Rig::new(2, false);
    let far =
        (0..).map(|n| format!("k{n}")).find(|k| rig.shards[0].ks.hasher().key(k.as_bytes()).slot > 8191);
    let far = far.expect("half of all keys");
    let a = rig.connect(0, Door::Front);
    let visit = |rig: &mut Rig, line: String| {
        rig.shards[0].turn(&mut [Input::new(a.number, line.as_bytes())], rig.now);
        let mail: Vec<_> = rig.shards[0].take_mail().collect();
        let [(1, mail)] = <[_; 1]>::try_from(mail).ok().expect("one batch") else {
            panic!("for the sibling")
        };
        let mut back = Vec::new();
        let made_work = Shard::may_visit(&mail).then(|| rig.shards[1].visited(0, mail, rig.now, &mut back));
        assert!(made_work.is_none() || matches!(back[..], [Mail::Replies(_)]));
        made_work
    };
    for (line, want) in [
        (format!("SET {far} 1"), Some(false)),
        (format!("INCR {far}"), Some(false)),
        (format!("GET {far}"), Some(false)),
        // these may take long
        (format!("SORT {far}"), None),
        ("KEYS *".into(), None),
        (format!("SINTERSTORE {far} {far}"), None),
        (format!("SADD {far}s {}", (0..3000).map(|n| format!("{n} ")).collect::<String>()), Some(false)),
        // a big value is freed by another thread
        (format!("UNLINK {far}s"), Some(true)),
    ] {
        assert_eq!(visit(&mut rig, line.clone() + "\r\n"), want, "{line}");
        rig.shards[1].take_garbage();
        rig.settle();
    }
}
