//! MIGRATE with a target that the test plays.

use super::super::moving::{LinkEvent, LinkId, LinkOrder};
use super::{Client, Rig};
use crate::cluster::view::{Node, OpenSlot, View};
use crate::session::Door;
use crate::shard::plane::Letters;
use crate::slot::{Slot, key_slot};
use std::sync::Arc;

const MIGRATE: &str = "MIGRATE 10.0.0.9 7000";
const BUSYKEY: &[u8] = b"+OK\r\n-BUSYKEY Target key name already exists.\r\n";

impl Rig {
    fn event(&mut self, shard: usize, link: LinkId, event: LinkEvent<'_>) {
        self.shards[shard].link(link, event, self.now);
        while self.shards[shard].has_chores() {
            self.shards[shard].chores(self.now);
        }
        self.settle();
    }

    fn hear(&mut self, shard: usize, link: LinkId, bytes: &[u8]) {
        self.event(shard, link, LinkEvent::Received(bytes));
    }

    /// What a shard wants of its links; bytes as the kernel took them all.
    fn orders(&mut self, shard: usize) -> Vec<LinkOrder> {
        let orders: Vec<LinkOrder> = self.shards[shard].take_link_orders().collect();
        for order in &orders {
            if let LinkOrder::Send { link, bytes } = order {
                self.event(shard, *link, LinkEvent::Sent(bytes.len()));
            }
        }
        orders
    }

    /// Lets the link that the shard wants be open; its number.
    fn opened(&mut self, shard: usize) -> LinkId {
        let orders = self.orders(shard);
        let [LinkOrder::Open { link, host, port }] = &orders[..] else { panic!("{orders:?}") };
        assert_eq!((host.as_str(), *port), ("10.0.0.9", 7000));
        self.event(shard, *link, LinkEvent::Opened);
        *link
    }

    /// All that is sent, as long as there is more.
    fn sent(&mut self, shard: usize) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let orders = self.orders(shard);
            if orders.is_empty() {
                return all;
            }
            for order in orders {
                let LinkOrder::Send { bytes, .. } = order else { panic!("{order:?}") };
                all.extend(bytes);
            }
        }
    }

    fn restores(&mut self, shard: usize) -> usize {
        let sent = self.sent(shard);
        sent.windows(9).filter(|w| w == b"\r\nRESTORE").count()
    }

    fn ask(&mut self, client: Client, line: &str, want: &str) {
        assert_eq!(self.run(client, line), want, "{line}");
    }

    /// Lets slots of shard 0 be on their way to the node at `peer`, a foreign one if that is 2.
    fn open_slots(&mut self, slots: &[Slot], peer: u16) {
        let old = self.shards[0].view.clone();
        let foreign = Node { ip: "10.0.0.9".into(), port: 7000, id: [b'f'; 40], ..Node::default() };
        let mut nodes = old.nodes.clone();
        nodes.truncate(2);
        nodes.push(foreign);
        let mut view = View::new(old.version + 1, 3, nodes, |slot| old.owner_index(slot));
        let open = |slot: &Slot, shard, importing, peer| OpenSlot { shard, slot: *slot, importing, peer };
        view.open = slots.iter().map(|slot| open(slot, 0, false, peer)).collect();
        if peer == 1 {
            view.open.extend(slots.iter().map(|slot| open(slot, 1, true, 0)));
        }
        view.open.sort_unstable();
        self.show(view);
    }

    fn show(&mut self, view: View) {
        let view = Arc::new(view);
        for shard in &mut self.shards {
            let letters = Letters { view: Some(view.clone()), ..Letters::default() };
            shard.letters(letters, self.now);
        }
    }
}

#[test]
fn keys_go_when_the_target_has_them() {
    let mut rig = Rig::new(1, false);
    let [mover, other] = [0, 0].map(|shard| rig.connect(shard, Door::Own));
    rig.ask(mover, &format!("{MIGRATE} a 0 1000"), "+NOKEY|");
    rig.check(other, &[("MSET a 1 b 2 c 3", "+OK|"), ("PEXPIRE b 5000", ":1|")]);
    rig.shards[0].set_propagating(true);
    rig.ask(mover, &format!("{MIGRATE} \"\" 3 1000 KEYS a b none c"), "");
    let link = rig.opened(0);
    let sent = String::from_utf8_lossy(&rig.sent(0)).into_owned();
    assert!(
        sent.starts_with("*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*4\r\n$7\r\nRESTORE\r\n$1\r\na\r\n$1\r\n0\r\n"),
        "{sent}"
    );
    assert!(sent.contains("$1\r\nb\r\n$4\r\n5000\r\n"), "{sent}");
    // what is on its way is read by all, and written by nobody
    rig.check(other, &[("GET a", "$1|1|"), ("MGET b c", "*2|$1|2|$1|3|"), ("SET other 1", "+OK|")]);
    rig.ask(other, "SET a 9", "");
    rig.hear(0, link, b"+OK\r\n+OK\r\n");
    assert_eq!(rig.output(other), "+OK\r\n", "a is gone, and new");
    let mut stream = Vec::new();
    rig.shards[0].take_stream(&mut stream);
    let told = String::from_utf8(stream).unwrap();
    assert!(told.contains("DEL\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$1\r\na"), "{told}");
    assert_eq!(told.matches("DEL").count(), 1, "{told}");
    rig.check(other, &[("GET a", "$1|9|"), ("GET b", "$1|2|")]);
    rig.ask(other, "FLUSHALL", "");
    rig.hear(0, link, b"-ERR no\r\n+OK\r\n");
    assert_eq!(rig.output(mover), "-ERR Target instance replied with error: ERR no\r\n");
    assert_eq!(rig.output(other), "+OK\r\n");
    rig.ask(other, "DBSIZE", ":0|");

    // the same connection again: after an error the database is selected anew
    for select in [true, false] {
        rig.ask(other, "SET a 1", "+OK|");
        rig.ask(mover, &format!("{MIGRATE} a 3 1000 COPY REPLACE"), "");
        let sent = rig.sent(0);
        assert_eq!(sent.starts_with(b"*2\r\n$6\r\nSELECT"), select);
        assert!(sent.ends_with(b"$7\r\nREPLACE\r\n"));
        rig.hear(0, link, if select { b"+OK\r\n+OK\r\n" } else { b"+OK\r\n" });
        assert_eq!(rig.output(mover), "+OK\r\n");
        rig.ask(other, "GET a", "$1|1|");
    }
    // what the kernel says late of one move does not count for the next
    rig.ask(mover, &format!("{MIGRATE} a 3 1000 COPY REPLACE"), "");
    let late: Vec<LinkOrder> = rig.shards[0].take_link_orders().collect();
    rig.hear(0, link, b"+OK\r\n");
    rig.ask(mover, &format!("{MIGRATE} a 3 1000 COPY"), "+OK|");
    for order in late {
        let LinkOrder::Send { bytes, .. } = order else { panic!("{order:?}") };
        rig.event(0, link, LinkEvent::Sent(bytes.len()));
    }
    assert_eq!(rig.restores(0), 1);
    rig.hear(0, link, b"+OK\r\n");
    assert_eq!(rig.output(mover), "+OK\r\n");
    // and not after ten seconds
    rig.pass_ms(10_001);
    rig.tick();
    assert_eq!(rig.orders(0), [LinkOrder::Close { link }]);
}

/// A broken link is tried once more, if no key was answered; a silent one never.
#[test]
fn a_move_that_fails_leaves_the_keys() {
    const WRITING: &str = "-IOERR error or timeout writing to target instance\r\n";
    const READING: &str = "-IOERR error or timeout reading to target instance\r\n";
    const CONNECTING: &str = "-IOERR error or timeout connecting to the client\r\n";
    let mut rig = Rig::new(1, false);
    let [mover, other] = [0, 0].map(|shard| rig.connect(shard, Door::Own));
    rig.ask(other, "MSET a 1 b 2", "+OK|");
    let again = format!("{MIGRATE} \"\" 0 300 KEYS a b");

    rig.ask(mover, &again, "");
    let link = match &rig.orders(0)[..] {
        [LinkOrder::Open { link, .. }] => *link,
        other => panic!("{other:?}"),
    };
    rig.ask(other, "APPEND a x", "");
    rig.event(0, link, LinkEvent::Closed);
    assert_eq!((rig.output(mover).as_str(), rig.output(other).as_str()), (CONNECTING, ":2\r\n"));
    rig.orders(0);

    rig.ask(mover, &again, "");
    let first = rig.opened(0);
    assert_eq!(rig.restores(0), 2);
    rig.event(0, first, LinkEvent::Closed);
    let orders = rig.orders(0);
    let anew = LinkOrder::Open { link: first + 1, host: "10.0.0.9".into(), port: 7000 };
    assert_eq!(orders, [LinkOrder::Close { link: first }, anew]);
    rig.event(0, first + 1, LinkEvent::Opened);
    assert_eq!(rig.restores(0), 2);
    rig.hear(0, first + 1, BUSYKEY);
    rig.ask(other, "GET a", "$2|1x|");
    rig.event(0, first + 1, LinkEvent::Closed);
    let said = rig.output(mover);
    assert_eq!(said, "-ERR Target instance replied with error: BUSYKEY Target key name already exists.\r\n");
    rig.orders(0);

    for (replies, took, want) in
        [(&b""[..], false, WRITING), (b"", true, READING), (b"+OK\r\n+OK\r\n", true, READING)]
    {
        rig.ask(other, "MSET a 1 b 2", "+OK|");
        rig.ask(mover, &again, "");
        let link = rig.opened(0);
        if took {
            assert_eq!(rig.restores(0), 2);
        }
        rig.hear(0, link, replies);
        rig.ask(other, "APPEND b x", "");
        rig.pass_ms(299);
        rig.tick();
        assert_eq!(rig.output(mover), "");
        rig.pass_ms(1);
        rig.tick();
        assert_eq!((rig.output(mover).as_str(), rig.output(other).as_str()), (want, ":2\r\n"));
        rig.ask(other, "EXISTS a b", if replies.is_empty() { ":2|" } else { ":1|" });
        rig.orders(0);
    }
}

/// A value of many steps is announced with its length, and whole.
#[test]
fn a_long_value_leaves_in_steps() {
    let mut rig = Rig::new(1, false);
    let [mover, other] = [0, 0].map(|shard| rig.connect(shard, Door::Own));
    for chunk in 0..200 {
        let fields: Vec<String> =
            (0..100).map(|i| format!("field:{chunk}:{i} {}", chunk * 7919 + i)).collect();
        rig.ask(other, &format!("HSET long {}", fields.join(" ")), ":100|");
    }
    let dumped = rig.run(other, "DUMP long");
    rig.ask(other, "SET short 1", "+OK|");
    rig.ask(mover, &format!("{MIGRATE} \"\" 0 1000 KEYS long short"), "");
    let link = rig.opened(0);
    rig.ask(other, "HLEN long", ":20000|");
    rig.ask(other, "HDEL long field:0:0", "");
    let sent = String::from_utf8_lossy(&rig.sent(0)).replace("\r\n", "|");
    assert!(sent.contains(&format!("RESTORE|$4|long|$1|0|{dumped}")), "as DUMP shows it");
    assert!(sent.contains("RESTORE|$5|short|"));
    rig.hear(0, link, b"+OK\r\n");
    assert_eq!(rig.output(other), "");
    rig.hear(0, link, b"+OK\r\n");
    assert_eq!(
        (rig.output(mover).as_str(), rig.output(other).as_str()),
        ("", ":0\r\n"),
        "the long one is there"
    );
    rig.hear(0, link, b"+OK\r\n");
    assert_eq!(rig.output(mover), "+OK\r\n");

    // one that goes away in the midst: what was begun is not ended, the rest is begun anew
    rig.check(other, &[("SET short 1", "+OK|")]);
    let big = "x".repeat(300_000);
    rig.check(other, &[("CONFIG SET rdbcompression no", "+OK|")]);
    rig.ask(other, &format!("SET long {big} PX 100"), "+OK|");
    rig.ask(mover, &format!("{MIGRATE} \"\" 0 1000 KEYS long short"), "");
    let begun: Vec<LinkOrder> = rig.shards[0].take_link_orders().collect();
    assert!(begun.is_empty(), "it is measured first");
    for _ in 0..12 {
        rig.shards[0].chores(rig.now);
    }
    rig.pass_ms(101);
    rig.shards[0].chores(rig.now);
    let orders: Vec<LinkOrder> = rig.shards[0].take_link_orders().collect();
    assert!(orders.contains(&LinkOrder::Close { link }), "{} orders", orders.len());
    rig.event(0, link + 1, LinkEvent::Opened);
    assert_eq!(rig.restores(0), 1);
    rig.hear(0, link + 1, b"+OK\r\n+OK\r\n");
    assert_eq!(rig.output(mover), "+OK\r\n");
    rig.ask(other, "EXISTS long short", ":0|");
}

/// Siblings' commands for a key on its way wait one by one, in the order of each client.
#[test]
fn commands_of_siblings_wait_for_keys_on_their_way() {
    let mut rig = Rig::new(2, true);
    let [owner, near, far, free] = [(0, Door::Own), (1, Door::Front), (1, Door::Front), (1, Door::Front)]
        .map(|(s, d)| rig.connect(s, d));
    // slots 3168 and 7365 are shard 0's
    rig.check(near, &[("SET b 1", "+OK|"), ("SET c 1", "+OK|")]);
    rig.ask(owner, &format!("{MIGRATE} b 0 1000"), "");
    let link = rig.opened(0);
    assert!(rig.sent(0).windows(14).any(|w| w == b"RESTORE-ASKING"));
    rig.ask(near, "APPEND b x", "");
    rig.ask(near, "GET c", "");
    rig.check(free, &[("GET b", "$1|1|"), ("APPEND c y", ":2|")]);
    // a loan of the slot waits too
    rig.ask(far, "RENAME b a", "");
    rig.ask(free, "GET b", "$1|1|");
    rig.hear(0, link, b"+OK\r\n-ERR no\r\n");
    assert!(rig.output(owner).starts_with("-ERR Target"));
    assert_eq!(rig.output(near), ":2\r\n$2\r\n1y\r\n");
    assert_eq!(rig.output(far), "+OK\r\n");
    rig.ask(free, "GET a", "$2|1x|");

    // a front door's client moves any key, those of several shards too, and waits
    rig.check(near, &[("MSET a 1 b 2 c 3", "+OK|")]);
    rig.ask(near, &format!("{MIGRATE} \"\" 0 1000 KEYS a b c"), "");
    rig.ask(near, "MGET a b c", "");
    let other = rig.opened(1);
    assert_eq!((rig.restores(0), rig.restores(1)), (2, 1));
    rig.hear(1, other, b"+OK\r\n+OK\r\n");
    assert_eq!(rig.output(near), "");
    rig.hear(0, link, b"+OK\r\n+OK\r\n+OK\r\n");
    assert_eq!(rig.output(near), "+OK\r\n*3\r\n$-1\r\n$-1\r\n$-1\r\n");
    rig.ask(near, &format!("{MIGRATE} \"\" 0 1000 KEYS a b c"), "+NOKEY|");
    rig.ask(
        near,
        &format!("{MIGRATE} x 0 1000 KEYS a b c"),
        "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string|",
    );
}

/// A slot that is on its way, seen through the front door: by its owner's clients and by others'.
#[test]
fn the_front_door_during_a_move() {
    let mut rig = Rig::new(2, true);
    let [at_owner, at_other] = [0, 1].map(|shard| rig.connect(shard, Door::Front));
    let slot = key_slot(b"b");
    let ask = format!("-ASK {slot} 10.0.0.9:7000|");
    rig.ask(at_owner, "MSET b 1 c 2", "+OK|");
    rig.open_slots(&[slot], 2);
    for client in [at_owner, at_other] {
        rig.check(client, &[("GET b", "$1|1|"), ("SET b 1", "+OK|"), ("MGET b c", "*2|$1|1|$1|2|")]);
        rig.check(client, &[("GET {b}2", &ask), ("SET {b}2 x", &ask), ("DEL {b}2", &ask)]);
        rig.check(client, &[("RENAME {b}2 {b}3", &ask)]);
        let again = "-TRYAGAIN Multiple keys request during rehashing of slot|";
        rig.check(client, &[("MGET c {b}2", again), ("MGET a {b}2 b", again), ("RENAME a b", again)]);
    }
    // to a sibling: who has no key there is sent on
    rig.open_slots(&[slot], 1);
    let own = rig.connect(1, Door::Own);
    for (n, client) in [at_owner, at_other].into_iter().enumerate() {
        rig.ask(client, &format!("SET {{b}}{n} new"), "+OK|");
        rig.ask(client, &format!("GET {{b}}{n}"), "$3|new|");
        rig.ask(client, "GET b", "$1|1|");
        rig.ask(
            client,
            &format!("MGET b {{b}}{n}"),
            "-TRYAGAIN Multiple keys request during rehashing of slot|",
        );
    }
    rig.ask(own, "ASKING", "+OK|");
    rig.ask(own, "GET {b}1", "$3|new|");
}

/// What a master still has of a slot that is another's can be sent there, by its own port.
#[test]
fn what_is_left_of_a_slot_leaves() {
    let mut rig = Rig::new(2, true);
    let [own, front] = [Door::Own, Door::Front].map(|door| rig.connect(0, door));
    let slot = key_slot(b"b");
    rig.ask(own, "SET b 1", "+OK|");
    let old = rig.shards[0].view.clone();
    let mut nodes = old.nodes.clone();
    nodes.truncate(2);
    nodes.push(Node { ip: "10.0.0.9".into(), port: 7000, id: [b'f'; 40], ..Node::default() });
    rig.show(View::new(old.version + 1, 3, nodes, |s| if s == slot { 2 } else { old.owner_index(s) }));
    let moved = format!("-MOVED {slot} 10.0.0.9:7000|");
    rig.ask(own, "GET b", &moved);
    rig.ask(own, &format!("{MIGRATE} {{b}}2 0 1000"), &moved);
    rig.ask(front, &format!("{MIGRATE} b 0 1000"), &moved);
    rig.ask(own, &format!("{MIGRATE} \"\" 0 1000 KEYS {{b}}2 b"), "");
    let link = rig.opened(0);
    assert_eq!(rig.restores(0), 1);
    rig.hear(0, link, b"+OK\r\n+OK\r\n");
    assert_eq!((rig.output(own).as_str(), rig.shards[0].ks.db(0).len()), ("+OK\r\n", 0));
}

/// A command that was on its way to the owner when the slot went is not executed there.
#[test]
fn a_command_that_comes_too_late_is_sent_on() {
    let mut rig = Rig::new(2, true);
    let client = rig.connect(1, Door::Front);
    let slot = key_slot(b"b");
    let view = |rig: &Rig, owner: u16| {
        let old = rig.shards[0].view.clone();
        let mut nodes = old.nodes.clone();
        nodes.truncate(2);
        nodes.push(Node { ip: "10.0.0.9".into(), port: 7000, id: [b'f'; 40], ..Node::default() });
        View::new(old.version + 1, 3, nodes, |s| if s == slot { owner } else { old.owner_index(s) })
    };
    let post = |rig: &mut Rig, line: &[u8]| {
        rig.shards[1].turn(&mut [super::Input::new(client.number, line)], rig.now);
    };
    for (owner, want) in [(2, format!("-MOVED {slot} 10.0.0.9:7000\r\n")), (1, "+OK\r\n".to_string())] {
        let home = view(&rig, 0);
        rig.show(home);
        post(&mut rig, b"SET b 1\r\n");
        let gone = view(&rig, owner);
        rig.show(gone);
        rig.settle();
        assert_eq!(rig.output(client), want);
        let keys = |shard: usize| rig.shards[shard].ks.db(0).len();
        assert_eq!((keys(0), keys(1)), (0, (owner == 1) as usize));
    }
    rig.ask(client, "GET b", "$1|1|");
}
