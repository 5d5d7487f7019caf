//! Slots change hands while commands, loans and batches are on their way, in any order.

use super::{Client, Rig};
use crate::cluster::handoff::{Handoff, Move};
use crate::cluster::slots::SlotSet;
use crate::cluster::view::{NodeIndex, View};
use crate::limits::MIGRATE_AT_ONCE;
use crate::persist::aof::slots;
use crate::session::Door;
use crate::shard::mail::Mail;
use crate::shard::moving::{LinkEvent, LinkId, LinkOrder};
use crate::shard::plane::Letters;
use crate::shard::replay::Replay;
use crate::shard::snapshot::FileOrder;
use crate::shard::{Input, Shard};
use crate::slot::{SLOTS, Slot, key_slot};
use crate::util::rng::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Shards whose mail and views arrive when the test says so.
pub struct Post {
    pub rig: Rig,
    /// `[from][to]`
    queues: Vec<Vec<VecDeque<Mail>>>,
    /// The newest view that each shard has not taken up.
    views: Vec<Option<Arc<View>>>,
    view: Arc<View>,
    wires: Vec<Wire>,
    /// Shards do nothing of themselves: the test gives them their turns.
    pub by_hand: bool,
}

/// A link of a MIGRATE, whose target the test plays.
struct Wire {
    shard: usize,
    link: LinkId,
    opened: bool,
    unsent: usize,
    unread: Vec<u8>,
}

impl Post {
    pub fn new(shards: usize) -> Post {
        let rig = Rig::new(shards, true);
        let view = rig.shards[0].view.clone();
        let queues = (0..shards).map(|_| (0..shards).map(|_| VecDeque::new()).collect()).collect();
        Post { rig, queues, views: vec![None; shards], view, wires: Vec::new(), by_hand: false }
    }

    pub fn owner(&self, slot: Slot) -> usize {
        self.view.local_owner(slot).expect("every slot is served") as usize
    }

    /// What the plane would publish.
    pub fn hand_off(&mut self, wanted: &[(Slot, usize)]) {
        let mut moves: Vec<Move> = Vec::new();
        let mut owners: Vec<NodeIndex> = (0..SLOTS as Slot).map(|s| self.view.owner_index(s)).collect();
        for &(slot, to) in wanted {
            let from = self.owner(slot);
            owners[slot as usize] = self.view.local_index(to);
            match moves.iter_mut().find(|m| (m.from, m.to) == (from, to)) {
                Some(m) => drop(m.slots.insert(slot)),
                None => moves.push(Move { from, to, slots: [slot].into_iter().collect::<SlotSet>() }),
            }
        }
        let era = self.view.handoff.era + 1;
        let nodes = self.view.nodes.clone();
        let mut view = View::new(self.view.version + 1, 1, nodes, |slot| owners[slot as usize]);
        view.handoff = Arc::new(Handoff { era, moves });
        self.view = Arc::new(view);
        self.views.fill(Some(self.view.clone()));
    }

    /// What the plane would publish when SETSLOT has given a slot without keys to a sibling.
    fn assign(&mut self, slot: Slot, to: usize) {
        let before = self.view.clone();
        let owner = |s| if s == slot { before.local_index(to) } else { before.owner_index(s) };
        let mut view = View::new(before.version + 1, 1, before.nodes.clone(), owner);
        view.handoff = before.handoff.clone();
        self.view = Arc::new(view);
        self.views.fill(Some(self.view.clone()));
    }

    pub fn is_settled(&self) -> bool {
        self.rig.shards.iter().all(|s| s.heartbeat().era == self.view.handoff.era)
    }

    pub fn send(&mut self, client: Client, bytes: &[u8]) {
        let now = self.rig.now;
        self.rig.shards[client.shard].turn(&mut [Input::new(client.number, bytes)], now);
        self.collect();
    }

    /// Takes what the shards have for each other.
    pub fn collect(&mut self) {
        for (from, shard) in self.rig.shards.iter_mut().enumerate() {
            while !self.by_hand && shard.has_chores() {
                shard.chores(self.rig.now);
            }
            shard.take_mail().for_each(|(to, mail)| self.queues[from][to].push_back(mail));
            for order in shard.take_link_orders() {
                let of = |wire: &Wire, link| (wire.shard, wire.link) == (from, link);
                match order {
                    LinkOrder::Open { link, .. } => {
                        let unread = Vec::new();
                        self.wires.push(Wire { shard: from, link, opened: false, unsent: 0, unread });
                    }
                    LinkOrder::Send { link, bytes } => {
                        let wire = self.wires.iter_mut().find(|wire| of(wire, link)).expect("an open link");
                        wire.unsent += bytes.len();
                        wire.unread.extend(bytes);
                    }
                    LinkOrder::Close { link } => self.wires.retain(|wire| !of(wire, link)),
                }
            }
        }
    }

    /// The next event on a link; false when there is none. The target takes what has an even length.
    fn play_target(&mut self, wire: usize) -> bool {
        let Some(Wire { shard, link, opened, unsent, unread }) = self.wires.get_mut(wire) else {
            return false;
        };
        let (shard, link, now) = (&mut self.rig.shards[*shard], *link, self.rig.now);
        if !std::mem::replace(opened, true) {
            shard.link(link, LinkEvent::Opened, now);
        } else if *unsent > 0 {
            shard.link(link, LinkEvent::Sent(std::mem::take(unsent)), now);
        } else if let Some(len) = (!unread.is_empty()).then(|| first_reply(unread)).flatten() {
            let command: Vec<u8> = unread.drain(..len).collect();
            let takes = command.starts_with(b"*2\r\n$6\r\nSELECT") || len % 2 == 0;
            let reply: &[u8] = if takes { b"+OK\r\n" } else { b"-ERR no\r\n" };
            shard.link(link, LinkEvent::Received(reply), now);
        } else {
            return false;
        }
        self.collect();
        true
    }

    /// One letter; false when there is none from `from` to `to`.
    pub fn deliver(&mut self, from: usize, to: usize) -> bool {
        let Some(mail) = self.queues[from][to].pop_front() else { return false };
        self.rig.shards[to].mail(from, mail, self.rig.now);
        self.collect();
        true
    }

    /// From whom to whom there are letters.
    pub fn full(&self) -> Vec<(usize, usize)> {
        let n = self.queues.len();
        (0..n * n).map(|i| (i / n, i % n)).filter(|(from, to)| !self.queues[*from][*to].is_empty()).collect()
    }

    /// False when it has the newest view.
    pub fn learn(&mut self, shard: usize) -> bool {
        let Some(view) = self.views[shard].take() else { return false };
        self.rig.shards[shard].letters(Letters { view: Some(view), ..Letters::default() }, self.rig.now);
        self.collect();
        true
    }

    /// Everything arrives.
    pub fn settle(&mut self) {
        let n = self.views.len();
        let mut any = true;
        while any {
            any = (0..n).fold(false, |any, shard| self.learn(shard) | any);
            for (from, to) in (0..n * n).map(|i| (i / n, i % n)) {
                any |= self.deliver(from, to);
            }
            any |= (0..self.wires.len()).fold(false, |any, wire| self.play_target(wire) | any);
        }
        assert!(self.is_settled(), "everything has arrived, and a shard still waits");
    }

    pub fn run(&mut self, client: Client, line: &str) -> String {
        self.send(client, format!("{line}\r\n").as_bytes());
        self.settle();
        self.rig.output(client)
    }

    /// The shards that have keys in a slot.
    fn holders(&self, slot: Slot) -> Vec<usize> {
        (0..self.views.len()).filter(|i| self.rig.shards[*i].ks.db(0).slot_len(slot) > 0).collect()
    }
}

/// A key of slot number `n` of those that take part, and that slot.
pub fn tag(n: usize) -> (String, Slot) {
    let tag = format!("{{t{n}}}");
    let slot = key_slot(tag.as_bytes());
    (tag, slot)
}

#[test]
fn a_slot_goes_with_all_that_is_in_it() {
    let mut post = Post::new(2);
    let (tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), 1 - post.owner(slot));
    let own = post.rig.connect(a, Door::Own);
    let front = post.rig.connect(a, Door::Front);
    assert_eq!(post.run(own, &format!("SET {tag} v PX 5000")), "+OK\r\n");
    let before = [a, b].map(|i| post.rig.shards[i].ks.bytes());
    post.hand_off(&[(slot, b)]);
    post.settle();
    assert_eq!(post.holders(slot), [b]);
    assert_eq!([b, a].map(|i| post.rig.shards[i].ks.bytes()), before);
    assert_eq!(post.rig.shards[b].ks.db(0).volatile_len(), 1);
    assert_eq!(post.run(own, &format!("GET {tag}")), format!("-MOVED {slot} 10.0.0.9:{}\r\n", 7000 + b));
    assert_eq!(post.run(front, &format!("PTTL {tag}")), ":5000\r\n");
    post.rig.pass_ms(5001);
    post.rig.tick();
    assert_eq!(post.holders(slot), [] as [usize; 0]);

    // and back, with thousands of others
    let all: Vec<(Slot, usize)> =
        (0..SLOTS as Slot).filter(|s| post.owner(*s) == b).map(|s| (s, a)).collect();
    post.hand_off(&all);
    post.settle();
    assert_eq!(post.run(own, &format!("SET {tag} w")), "+OK\r\n");
    assert_eq!(post.holders(slot), [a]);
}

#[test]
fn what_was_sent_to_the_old_owner_reaches_the_new_one_in_order() {
    let mut post = Post::new(3);
    let (tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), (post.owner(slot) + 1) % 3);
    let c = 3 - a - b;
    let client = post.rig.connect(c, Door::Front);
    post.send(client, format!("APPEND {tag} 1\r\n").as_bytes());
    post.hand_off(&[(slot, b)]);
    assert!(post.learn(a) && post.learn(b) && post.learn(c));
    // the slot is there, and would be served
    assert!(post.deliver(a, b));
    post.send(client, format!("APPEND {tag} 2\r\n").as_bytes());
    assert!(!post.deliver(c, b), "it waits for the one before");
    post.settle();
    assert_eq!(post.rig.output(client), ":1\r\n:2\r\n");
    assert_eq!(post.run(client, &format!("GET {tag}")), "$2\r\n12\r\n");
}

/// Slots pass by SETSLOT, too, and then no era tells which batches are old.
#[test]
fn what_goes_back_after_a_setslot_is_not_overtaken() {
    let (tags, slots): (Vec<String>, Vec<Slot>) = (0..40).map(tag).unzip();
    let mine = |post: &Post| (0..40).filter(|n| post.owner(slots[*n]) == 0).take(2).collect::<Vec<_>>();

    // a part of a command goes elsewhere: the other part, and what was sent behind it, waits for that
    let mut post = Post::new(3);
    let [x, y] = mine(&post)[..] else { panic!("two of many") };
    let client = post.rig.connect(2, Door::Front);
    post.send(client, format!("MSET {0} 1 {1} 1\r\n", tags[x], tags[y]).as_bytes());
    post.send(client, format!("SET {} 2\r\n", tags[x]).as_bytes());
    post.assign(slots[y], 1);
    assert!(post.learn(0) && post.deliver(2, 0) && post.deliver(2, 0));
    post.settle();
    assert_eq!(post.rig.output(client), "+OK\r\n+OK\r\n");
    assert_eq!(post.run(client, &format!("GET {}", tags[x])), "$1\r\n2\r\n");

    // a slot is back before its old owner has read what was sent to it in between
    let mut post = Post::new(3);
    let client = post.rig.connect(2, Door::Front);
    post.send(client, format!("APPEND {} 1\r\n", tags[x]).as_bytes());
    post.send(client, format!("APPEND {} 2\r\n", tags[x]).as_bytes());
    post.assign(slots[x], 1);
    assert!(post.learn(0) && post.deliver(2, 0));
    post.assign(slots[x], 0);
    assert!(post.learn(0) && post.deliver(2, 0));
    post.settle();
    assert_eq!(post.rig.output(client), ":1\r\n:2\r\n");
    assert_eq!(post.run(client, &format!("GET {}", tags[x])), "$2\r\n12\r\n");
}

#[test]
fn a_slot_on_loan_goes_when_it_is_back() {
    let mut post = Post::new(3);
    let (tags, slots): (Vec<String>, Vec<Slot>) = (0..40).map(tag).unzip();
    let of = |post: &Post, shard| (0..40).find(|n| post.owner(slots[*n]) == shard).expect("one of many");
    let (x, y) = (of(&post, 0), of(&post, 1));
    let client = post.rig.connect(2, Door::Front);
    assert_eq!(post.run(client, &format!("RPUSH {} e", tags[x])), ":1\r\n");
    post.send(client, format!("RPOPLPUSH {} {}\r\n", tags[x], tags[y]).as_bytes());
    // 0 lends, 1 has not been asked
    assert!(post.deliver(2, 0) && post.deliver(0, 2));
    post.hand_off(&[(slots[x], 1)]);
    assert!(post.learn(0) && post.learn(1));
    assert!(!post.deliver(0, 1), "it can't give what it has lent");
    assert_ne!(post.rig.shards[0].heartbeat().era, 1);
    // what needs the slot waits for it at its new owner
    let other = post.rig.connect(1, Door::Own);
    post.send(other, format!("LLEN {}\r\n", tags[x]).as_bytes());
    assert_eq!(post.rig.output(other), "");
    // 1 refuses the loan, and lends both slots to the one that follows
    post.settle();
    assert_eq!(post.rig.output(client), "$1\r\ne\r\n");
    assert!([":0\r\n", ":1\r\n"].contains(&post.rig.output(other).as_str()));
    assert_eq!(post.run(client, &format!("LRANGE {} 0 -1", tags[y])), "*1\r\n$1\r\ne\r\n");
    assert_eq!((post.holders(slots[x]), post.holders(slots[y])), (vec![], vec![1]));
}

/// A slot goes when none of its keys is on its way; who waits for the key follows, and so does a MIGRATE
/// that waits for another.
#[test]
fn a_slot_with_a_key_on_its_way_goes_when_that_has_arrived() {
    let mut post = Post::new(3);
    let (tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), (post.owner(slot) + 1) % 3);
    let c = 3 - a - b;
    let [mover, writer, own] = [(a, Door::Front), (c, Door::Front), (a, Door::Own)]
        .map(|(shard, door)| post.rig.connect(shard, door));
    let crowd: Vec<Client> = (0..MIGRATE_AT_ONCE).map(|_| post.rig.connect(a, Door::Front)).collect();
    let fill: String = (0..=MIGRATE_AT_ONCE).map(|n| format!(" {tag}{n} v")).collect();
    post.run(writer, &format!("MSET{fill}"));
    for (n, client) in crowd.iter().enumerate() {
        post.send(*client, format!("MIGRATE 10.0.0.9 7000 {tag}{n} 0 1000 COPY\r\n").as_bytes());
    }
    // two that wait for those, of a client here and of a sibling's
    let late = format!("MIGRATE 10.0.0.9 7000 {tag}{MIGRATE_AT_ONCE} 0 1000 COPY\r\n");
    post.send(mover, late.as_bytes());
    post.send(own, late.as_bytes());
    post.send(writer, format!("APPEND {tag}0 x\r\nSTRLEN {tag}0\r\n").as_bytes());
    assert!(post.deliver(c, a) && post.deliver(a, c));
    post.hand_off(&[(slot, b)]);
    assert!(post.learn(a) && post.learn(b) && post.learn(c));
    assert!(!post.deliver(a, b), "keys are on their way");
    assert_ne!(post.rig.shards[a].heartbeat().era, 1);
    // were they on their way to the very shard that waits for the slot, neither would ever arrive
    for (shard, door) in [(b, Door::Own), (c, Door::Front)] {
        let target = post.rig.connect(shard, door);
        post.send(target, format!("RESTORE-ASKING {tag}0 0 x\r\n").as_bytes());
        while post.deliver(c, b) || post.deliver(b, c) {}
        assert_eq!(post.rig.output(target), "-TRYAGAIN The slot is on its way by a handoff\r\n", "{door:?}");
    }
    post.settle();
    assert_eq!(post.rig.output(writer), ":2\r\n:2\r\n");
    assert_eq!(post.holders(slot), [b]);
    let reply = post.rig.output(mover);
    assert!(reply.starts_with("+OK") || reply.starts_with("-ERR Target"), "{reply}");
    let moved = format!("-MOVED {slot} 10.0.0.9:{}\r\n", 7000 + b);
    assert_eq!(post.rig.output(own), moved);
}

/// Turns of a shard in which nothing comes, until `done`; what its snapshot's file was given.
fn turn_until(post: &mut Post, shard: usize, done: impl Fn(&Post) -> bool) -> Vec<u8> {
    let mut file = Vec::new();
    for _ in 0..10_000 {
        if done(post) {
            return file;
        }
        post.rig.now.unix_us += 100;
        post.rig.shards[shard].chores(post.rig.now);
        for (id, order) in post.rig.shards[shard].take_file_orders() {
            match order {
                FileOrder::Chunk(bytes) => file.extend_from_slice(&bytes),
                FileOrder::Finish => post.rig.shards[shard].file_ended(id, Ok(()), post.rig.now),
                FileOrder::Begin(_) | FileOrder::Drop => {}
            }
        }
        post.collect();
    }
    panic!("it never is done");
}

fn has(file: &[u8], text: &str) -> bool {
    file.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn a_slot_goes_when_the_snapshot_has_what_it_is_owed_of_it() {
    let mut post = Post::new(2);
    let (tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), 1 - post.owner(slot));
    let clients = [a, b].map(|shard| post.rig.connect(shard, Door::Own));
    let front = post.rig.connect(a, Door::Front);
    let many = crate::limits::SNAPSHOT_VISITS * 3;
    for i in 0..many {
        assert_eq!(post.run(clients[0], &format!("SET {tag}{i} before")), "+OK\r\n");
    }
    post.by_hand = true;
    // the slot is walked last, but for the hurry
    assert_eq!(post.run(clients[0], "BGSAVE"), "+Background saving started\r\n");
    post.hand_off(&[(slot, b)]);
    assert!(post.learn(a) && post.learn(b));
    let is_there = |post: &Post| post.holders(slot) == [b];
    let is_saved = |shard: usize| move |post: &Post| !post.rig.shards[shard].is_saving();
    post.send(front, format!("SET {tag}0 after\r\n").as_bytes());
    post.send(clients[1], b"BGSAVE\r\n");
    while post.deliver(a, b) || post.deliver(b, a) {}
    assert!(!post.is_settled() && post.holders(slot) == [a]);
    assert_eq!(post.rig.output(front), "", "its slot is on its way");
    assert!(post.rig.shards[b].take_file_orders().is_empty(), "the slot would be missing");

    let mut file = turn_until(&mut post, a, |post| !post.queues[a][b].is_empty());
    post.settle();
    assert!(is_there(&post));
    assert_eq!(post.rig.output(front), "+OK\r\n");
    file.extend(turn_until(&mut post, a, is_saved(a)));
    assert!(has(&file, "before") && !has(&file, "after"));
    let other = turn_until(&mut post, b, is_saved(b));
    assert!(has(&other, "before") && has(&other, &format!("{tag}{}", many - 1)));
}

#[test]
fn parts_of_a_command_are_split_once_more() {
    let mut post = Post::new(3);
    let (tags, slots): (Vec<String>, Vec<Slot>) = (0..40).map(tag).unzip();
    let mine: Vec<usize> = (0..40).filter(|n| post.owner(slots[*n]) == 0).take(3).collect();
    let [x, y, z] = mine[..] else { panic!("three of many") };
    let client = post.rig.connect(2, Door::Front);
    post.run(client, &format!("MSET {} 1 {} 2 {} 3", tags[x], tags[y], tags[z]));
    let whole = format!("MGET {} {} {} nosuch{}\r\n", tags[x], tags[y], tags[z], tags[y]);
    post.send(client, whole.as_bytes());
    post.hand_off(&[(slots[y], 1), (slots[z], 2)]);
    assert!(post.learn(0));
    post.settle();
    assert_eq!(post.rig.output(client), "*4\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$-1\r\n");
}

#[test]
fn a_batch_ahead_of_its_receiver_waits() {
    let mut post = Post::new(3);
    let (tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), (post.owner(slot) + 1) % 3);
    let c = 3 - a - b;
    let client = post.rig.connect(c, Door::Front);
    post.run(client, &format!("SET {tag} v"));
    post.hand_off(&[(slot, b)]);
    assert!(post.learn(c));
    post.send(client, format!("GET {tag}\r\n").as_bytes());
    assert!(post.deliver(c, b));
    assert!(!post.deliver(b, c), "it has not heard that the slot is its own");
    post.settle();
    assert_eq!(post.rig.output(client), "$1\r\nv\r\n");
}

#[test]
fn nothing_survives_a_flushall_between_two_shards() {
    let mut post = Post::new(3);
    let (tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), (post.owner(slot) + 1) % 3);
    let c = 3 - a - b;
    let client = post.rig.connect(c, Door::Front);
    post.run(client, &format!("SET {tag} v"));
    post.send(client, b"FLUSHALL\r\n");
    // the new owner flushes before it has the slot, the old one after it has given it away
    assert!(post.deliver(c, b));
    post.hand_off(&[(slot, b)]);
    assert!(post.learn(a));
    post.settle();
    assert_eq!(post.rig.output(client), "+OK\r\n");
    assert_eq!(post.run(client, "DBSIZE"), ":0\r\n");
}

/// One client of the storm, and what it knows.
struct Sender {
    client: Client,
    /// What it sent and has no reply to.
    open: VecDeque<String>,
    read: Vec<u8>,
    sent: usize,
    appends: usize,
    /// Those that were answered.
    done: Vec<usize>,
}

/// The first reply in `bytes`; its length.
fn first_reply(bytes: &[u8]) -> Option<usize> {
    let line = memchr::memmem::find(bytes, b"\r\n")? + 2;
    let n: i64 = std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse().unwrap_or(0);
    match bytes[0] {
        b'$' if n >= 0 => (bytes.len() >= line + n as usize + 2).then_some(line + n as usize + 2),
        b'*' => (0..n).try_fold(line, |at, _| Some(at + first_reply(&bytes[at..])?)),
        _ => Some(line),
    }
}

const TAGS: usize = 12;

/// What client `s` sends next, laid into `bytes`.
fn say(
    below: &mut impl FnMut(usize) -> usize,
    sender: &mut Sender,
    s: usize,
    pushed: &mut usize,
    bytes: &mut String,
) {
    let (one, other) = (tag(below(TAGS)).0, tag(below(TAGS)).0);
    sender.sent += 1;
    let line = match below(9) {
        0 => format!("RPOPLPUSH l{one} l{other}"),
        1 => {
            *pushed += 1;
            format!("RPUSH l{one} e{pushed}")
        }
        2 => format!("MGET s{one} s{other} none{one}"),
        3 => {
            // what it wrote is there for what it sends behind it
            let (a, b) = (format!("m{s}{one}"), format!("m{s}x{other}"));
            *bytes += &format!("MSET {a} {0} {b} {0}\r\nMGET {a} {b}\r\n", sender.sent);
            sender.open.push_back(format!("MSET {a} {b}"));
            sender.open.push_back(format!("MGET {a} {b} {}", sender.sent));
            format!("DEL {a}")
        }
        4 => format!("MIGRATE 10.0.0.9 7000 \"\" 0 1000 COPY KEYS s{one} l{other}"),
        _ => {
            sender.appends += 1;
            format!("APPEND s{one} {s}.{},", sender.sent)
        }
    };
    *bytes += &format!("{line}\r\n");
    sender.open.push_back(line);
}

/// Clients send pipelines of single-key commands, commands that are split, commands that borrow, and
/// MIGRATEs that leave the keys here; letters and views arrive in any order; slots change hands all the while.
fn storm(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut below = |n: usize| rng.below(n as u64) as usize;
    let shards = 2 + below(3);
    let mut post = Post::new(shards);
    let mut senders: Vec<Sender> = (0..5)
        .map(|i| {
            let client = post.rig.connect(i % shards, Door::Front);
            Sender { client, open: VecDeque::new(), read: Vec::new(), sent: 0, appends: 0, done: Vec::new() }
        })
        .collect();
    let mut pushed = 0;
    let mut logs = seed.is_multiple_of(2).then(|| Logs::begin(&mut post));
    for _ in 0..600 {
        if let Some(logs) = &mut logs
            && below(100) == 0
        {
            logs.survive(&mut post, &senders, seed);
        }
        logs.iter_mut().for_each(|logs| logs.write(&mut post));
        match below(10) {
            0..=2 => {
                let s = below(senders.len());
                let mut bytes = String::new();
                for _ in 0..1 + below(4) {
                    say(&mut below, &mut senders[s], s, &mut pushed, &mut bytes);
                }
                post.send(senders[s].client, bytes.as_bytes());
            }
            3 if post.is_settled() && post.views.iter().all(Option::is_none) => {
                let mut wanted: BTreeMap<Slot, usize> = BTreeMap::new();
                for _ in 0..1 + below(4) {
                    let (slot, to) = (tag(below(TAGS)).1, below(shards));
                    if post.owner(slot) != to {
                        wanted.insert(slot, to);
                    }
                }
                post.hand_off(&wanted.into_iter().collect::<Vec<_>>());
            }
            4 => drop(post.learn(below(shards))),
            5 if !post.wires.is_empty() => {
                let wire = below(post.wires.len());
                post.play_target(wire);
            }
            _ => drop(post.deliver(below(shards), below(shards))),
        }
        senders.iter_mut().for_each(|sender| hear(&mut post, sender, seed));
    }
    logs.iter_mut().for_each(|logs| logs.write(&mut post));
    post.settle();
    senders.iter_mut().for_each(|sender| hear(&mut post, sender, seed));
    for sender in &senders {
        assert!(sender.open.is_empty(), "seed {seed}: no reply to {:?}", sender.open);
    }
    check_data(&mut post, &senders, pushed, seed);
    if let Some(mut logs) = logs {
        let mut copy = logs.replayed(&mut post);
        let [there, here] = [&mut post, &mut copy].map(contents);
        assert_eq!(here, there, "seed {seed}");
    }
}

/// All that the storm may have written, as a client reads it.
fn contents(post: &mut Post) -> Vec<String> {
    let reader = post.rig.connect(0, Door::Front);
    let lines = (0..TAGS).map(tag).flat_map(|(t, _)| [format!("GET s{t}"), format!("LRANGE l{t} 0 -1")]);
    lines.map(|line| post.run(reader, &line)).collect()
}

/// The shards' append-only files, each turn on the disk as soon as it is over.
pub struct Logs {
    written: Vec<Vec<u8>>,
}

impl Logs {
    pub fn begin(post: &mut Post) -> Logs {
        let first = |shard: &mut Shard| {
            shard.set_propagating(true);
            let mut log = Vec::new();
            slots::write(&mut log, slots::Word::Has, &shard.own_ranges());
            log
        };
        Logs { written: post.rig.shards.iter_mut().map(first).collect() }
    }

    /// The shards' turns are over.
    pub fn write(&mut self, post: &mut Post) {
        for (shard, log) in post.rig.shards.iter_mut().zip(&mut self.written) {
            let mut more = Vec::new();
            assert_eq!(shard.take_stream(&mut more), None);
            log.extend(more);
        }
    }

    pub fn len(&self, shard: usize) -> usize {
        self.written[shard].len()
    }

    /// Whether a log has this text in it.
    pub fn says(&self, shard: usize, text: &str) -> bool {
        has(&self.written[shard], text)
    }

    /// What a host is that comes back with these logs, when the plane's decisions were on the disk.
    pub fn replayed(&mut self, post: &mut Post) -> Post {
        let mut copy = Post::new(self.written.len());
        let now = copy.rig.now;
        let owners: Vec<NodeIndex> = (0..SLOTS as Slot).map(|slot| post.owner(slot) as NodeIndex).collect();
        let view = View::new(2, 1, copy.view.nodes.clone(), |slot| owners[slot as usize]);
        copy.view = Arc::new(view);
        self.write(post);
        for (i, log) in self.written.iter().enumerate() {
            let shard = &mut copy.rig.shards[i];
            shard.letters(Letters { view: Some(copy.view.clone()), ..Letters::default() }, now);
            shard.begin_loading();
            shard.replay(&mut Replay::from_offset(0), log, now).expect("a log of ours");
            shard.hand_over();
        }
        copy.collect();
        while (0..self.written.len()).any(|from| (0..self.written.len()).any(|to| copy.deliver(from, to))) {}
        for shard in &mut copy.rig.shards {
            shard.settle_loading();
            shard.end_loading(now);
        }
        copy
    }

    /// The host is killed here: what clients have been told is there when it comes back, and only once.
    fn survive(&mut self, post: &mut Post, senders: &[Sender], seed: u64) {
        let mut copy = self.replayed(post);
        let all = contents(&mut copy).concat();
        for (s, n) in
            senders.iter().enumerate().flat_map(|(s, sender)| sender.done.iter().map(move |n| (s, n)))
        {
            let word = format!("{s}.{n},");
            let times = all
                .match_indices(&word)
                .filter(|(at, _)| !all[..*at].ends_with(|c: char| c.is_ascii_digit()));
            assert_eq!(times.count(), 1, "seed {seed}: {word}");
        }
    }
}

fn hear(post: &mut Post, sender: &mut Sender, seed: u64) {
    sender.read.extend_from_slice(post.rig.output(sender.client).as_bytes());
    while let Some(len) = first_reply(&sender.read).filter(|len| *len > 0 && !sender.read.is_empty()) {
        let reply: Vec<u8> = sender.read.drain(..len).collect();
        let line = sender.open.pop_front().unwrap_or_else(|| panic!("seed {seed}: a reply to nothing"));
        let right = match line.split(' ').next().expect("a command") {
            "APPEND" | "RPUSH" => reply[0] == b':',
            "MGET" if line.starts_with("MGET m") => {
                let n = line.rsplit(' ').next().expect("a number");
                let one = format!("${}\r\n{n}\r\n", n.len());
                reply == format!("*2\r\n{one}{one}").as_bytes()
            }
            "MGET" => reply.starts_with(b"*3\r\n"),
            "MSET" => reply == b"+OK\r\n",
            "MIGRATE" => reply.starts_with(b"+") || reply.starts_with(b"-ERR Target"),
            "DEL" => reply == b":1\r\n",
            _ => reply[0] == b'$',
        };
        assert!(right, "seed {seed}: {line} got {}", String::from_utf8_lossy(&reply));
        if let Some(word) = line.strip_prefix("APPEND ").and_then(|rest| rest.rsplit(['.', ',']).nth(1)) {
            sender.done.push(word.parse().expect("the number of what it sent"));
        }
    }
}

fn check_data(post: &mut Post, senders: &[Sender], pushed: usize, seed: u64) {
    let reader = post.rig.connect(0, Door::Front);
    let (mut appended, mut elements) = (BTreeSet::new(), BTreeSet::new());
    for (tag, slot) in (0..TAGS).map(tag) {
        let holders = post.holders(slot);
        assert!(holders.is_empty() || holders == [post.owner(slot)], "seed {seed}: {tag} is at {holders:?}");
        let text = post.run(reader, &format!("GET s{tag}"));
        let mut last = vec![0; senders.len()];
        for word in text.lines().nth(1).unwrap_or_default().split(',').filter(|w| !w.is_empty()) {
            let (sender, n) = word.split_once('.').expect("sender.n");
            let (sender, n): (usize, usize) = (sender.parse().unwrap(), n.parse().unwrap());
            assert!(n > last[sender], "seed {seed}: {tag} has {word} after {}", last[sender]);
            last[sender] = n;
            assert!(appended.insert((sender, n)), "seed {seed}: {word} is there twice");
        }
        let list = post.run(reader, &format!("LRANGE l{tag} 0 -1"));
        for element in list.lines().filter(|l| l.starts_with('e')) {
            assert!(elements.insert(element.to_owned()), "seed {seed}: {element} is there twice");
        }
    }
    assert_eq!(elements.len(), pushed, "seed {seed}");
    let appends: usize = senders.iter().map(|sender| sender.appends).sum();
    assert_eq!(appended.len(), appends, "seed {seed}");
}

#[test]
fn nothing_is_lost_doubled_or_overtaken_in_any_order() {
    (0..150).for_each(storm);
}
