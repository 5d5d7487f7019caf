//! MULTI, EXEC and WATCH where several shards, doors and states of slots meet.

use super::handoff::{Post, tag};
use super::{Client, Rig};
use crate::session::Door;

/// Runs a line of commands, separated by `;`, and compares the last reply.
fn exec(rig: &mut Rig, client: Client, lines: &str) -> String {
    lines.split(';').map(|line| rig.run(client, line.trim())).last().expect("a line")
}

/// Keys `{a}` and `{b}` of two shards of two.
fn two_keys(rig: &Rig) -> [String; 2] {
    [0, 1].map(|shard| {
        let mine = |n: &usize| rig.shards[0].view.local_owner(tag(*n).1) == Some(shard);
        tag((0..100).find(mine).expect("one of many")).0
    })
}

#[test]
fn any_keys_through_the_front_door_and_one_slot_at_an_own_port() {
    let mut rig = Rig::new(2, true);
    let [a, b] = two_keys(&rig);
    let (front, own) = (rig.connect(0, Door::Front), rig.connect(0, Door::Own));
    let both = format!("MULTI; SET {a} 1; SET {b} 2; MGET {a} {b}; DBSIZE; EXEC");
    assert_eq!(exec(&mut rig, front, &both), "*4|+OK|+OK|*2|$1|1|$1|2|:2|");
    let theirs = format!("MULTI; INCR {b}; EXEC");
    assert_eq!(exec(&mut rig, front, &theirs), "*1|:3|");
    // an own port refuses what is another's when it is queued, and EXEC what is not of one slot
    assert!(exec(&mut rig, own, &format!("MULTI; SET {b} 5")).starts_with("-MOVED "));
    assert_eq!(rig.run(own, "EXEC"), "-EXECABORT Transaction discarded because of previous errors.|");
    let slots = format!("MULTI; SET {a} 5; SET {a}x{{y}} 5; EXEC");
    assert!(exec(&mut rig, own, &slots).starts_with("*2|"), "a tag is all that counts");
    let other = (0..1000)
        .map(|n| tag(n).0)
        .find(|t| *t != a && rig.shards[0].view.local_owner(crate::slot::key_slot(t.as_bytes())) == Some(0));
    let slots = format!("MULTI; SET {a} 6; SET {} 6; EXEC", other.unwrap());
    assert_eq!(exec(&mut rig, own, &slots), "-CROSSSLOT Keys in request don't hash to the same slot|");
    assert_eq!(exec(&mut rig, own, &format!("EXEC; GET {a}")), "$1|5|", "the transaction is over, undone");
}

#[test]
fn watches_reach_to_siblings() {
    for cluster in [false, true] {
        let mut rig = Rig::new(2, cluster);
        let [a, b] = two_keys(&rig);
        let (w, x, own) =
            (rig.connect(0, Door::Front), rig.connect(1, Door::Front), rig.connect(1, Door::Own));
        let watch = |rig: &mut Rig, keys: &str| assert_eq!(rig.run(w, &format!("WATCH {keys}")), "+OK|");
        let go = "MULTI; PING; EXEC";
        for (by, key) in [(x, &a), (x, &b), (w, &b), (w, &a)] {
            watch(&mut rig, &format!("{a} {b}"));
            rig.run(by, &format!("SET {key} 1"));
            assert_eq!(exec(&mut rig, w, go), "*-1|", "{key}");
            watch(&mut rig, &format!("{a} {b}"));
            assert_eq!(exec(&mut rig, w, go), "*1|+PONG|");
        }
        // by a command that has borrowed the key, and by a transaction
        watch(&mut rig, &b);
        assert_eq!(rig.run(x, &format!("RENAME {a} {b}")), "+OK|");
        assert_eq!(exec(&mut rig, w, go), "*-1|");
        watch(&mut rig, &b);
        assert_eq!(exec(&mut rig, x, &format!("MULTI; SET {a} 1; SET {b} 1; EXEC")), "*2|+OK|+OK|");
        assert_eq!(exec(&mut rig, w, go), "*-1|");
        // who has given up, or is gone, leaves nothing
        watch(&mut rig, &format!("{a} {b}"));
        assert_eq!(rig.run(w, "UNWATCH"), "+OK|");
        watch(&mut rig, &format!("{a} {b} nosuch"));
        assert_eq!(exec(&mut rig, w, "MULTI; RESET; EXEC"), "-ERR EXEC without MULTI|");
        rig.run(own, &format!("WATCH {b}"));
        watch(&mut rig, &format!("{a} {b}"));
        assert_eq!(rig.shards.iter().map(|s| s.watches()).sum::<usize>(), 3);
        for gone in [w, own] {
            rig.shards[gone.shard].close(gone.number);
        }
        rig.tick();
        assert!(rig.shards.iter().all(|s| s.watches() == 0 && !s.fx.listening));
    }
}

#[test]
fn a_watched_slot_that_changes_hands_is_watched_on() {
    let mut post = Post::new(3);
    let (tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), (post.owner(slot) + 1) % 3);
    let (front, own) = (post.rig.connect(3 - a - b, Door::Front), post.rig.connect(a, Door::Own));
    let writer = post.rig.connect(b, Door::Front);
    for changes in [false, true] {
        assert_eq!(post.run(front, &format!("WATCH {tag}")), "+OK\r\n");
        let to = if changes { a } else { b };
        post.hand_off(&[(slot, to)]);
        post.settle();
        if changes {
            post.run(writer, &format!("SET {tag} {changes}"));
        }
        let want = if changes { "*-1\r\n" } else { "*1\r\n+PONG\r\n" };
        assert!(post.run(front, "MULTI\r\nPING\r\nEXEC").ends_with(want), "{changes}");
    }
    // an own port's client can't know what becomes of a slot that has gone
    assert_eq!(post.run(own, &format!("WATCH {tag}")), "+OK\r\n");
    post.hand_off(&[(slot, b)]);
    post.settle();
    assert!(post.run(own, "MULTI\r\nPING\r\nEXEC").ends_with("*-1\r\n"));
    post.settle();
    assert_eq!(post.rig.shards.iter().map(|s| s.watches()).sum::<usize>(), 0);
}

#[test]
fn a_client_that_dies_on_loan_leaves_nothing() {
    let mut post = Post::new(2);
    let tags: Vec<(String, u16)> = (0..50).map(tag).collect();
    let of = |shard| tags.iter().find(|(_, slot)| post.owner(*slot) == shard).expect("one of many").0.clone();
    let (a, b) = (of(0), of(1));
    let (front, other) = (post.rig.connect(0, Door::Front), post.rig.connect(1, Door::Own));
    assert_eq!(post.run(front, &format!("WATCH {a} {b}")), "+OK\r\n");
    post.send(front, format!("MULTI\r\nSET {a} 1\r\nSET {b} 1\r\nEXEC\r\n").as_bytes());
    // the slots are lent, and the borrower's client is gone
    assert!(post.deliver(0, 1));
    post.send(other, format!("GET {b}\r\n").as_bytes());
    assert_eq!(post.rig.output(other), "", "it waits for the slot");
    post.rig.shards[0].close(front.number);
    post.collect();
    post.settle();
    assert_eq!(post.rig.output(other), "$-1\r\n", "nothing was executed for nobody");
    for shard in &post.rig.shards {
        assert_eq!(shard.watches(), 0);
        assert!(shard.loans.is_idle() && !shard.fx.listening);
    }
}

#[test]
fn memory_and_pauses() {
    let mut rig = Rig::new(1, false);
    let c = rig.connect(0, Door::Own);
    rig.check(c, &[("MULTI", "+OK|"), ("SET a 1", "+QUEUED|"), ("GET a", "+QUEUED|")]);
    let list = rig.run(c, "CLIENT LIST");
    assert_eq!(list, "+QUEUED|");
    let watcher = rig.connect(0, Door::Own);
    let line = rig.run(watcher, "CLIENT LIST ID 1");
    assert!(
        line.contains(" flags=x ") && line.contains(" multi=3 ") && !line.contains(" multi-mem=0 "),
        "{line}"
    );
    rig.shards[0].conditions.out_of_memory = true;
    const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.|";
    rig.check(watcher, &[("MULTI", "+OK|"), ("GET a", OOM), ("DISCARD", "+OK|"), ("MULTI", "+OK|")]);
    let aborted = OOM.replace("-OOM", "-EXECABORT Transaction discarded because of: OOM");
    rig.check(c, &[("EXEC", &aborted), ("EXEC", "-ERR EXEC without MULTI|")]);
    rig.shards[0].conditions.out_of_memory = false;
    assert_eq!(rig.run(c, "CLIENT PAUSE 1000 WRITE"), "+OK|");
    rig.check(watcher, &[("GET a", "+QUEUED|"), ("EXEC", "*1|$-1|"), ("MULTI", "+OK|"), ("SET a 1", "")]);
    rig.check(c, &[("CLIENT UNPAUSE", "+OK|")]);
    rig.tick();
    assert_eq!(rig.output(watcher), "+QUEUED\r\n");
    rig.check(watcher, &[("EXEC", "*1|+OK|")]);
}

#[test]
fn what_multi_has_queued_is_bounded_as_input_is() {
    const LIMIT: u64 = 1 << 20;
    const VALUE: usize = 100_000;
    let mut rig = Rig::with(1, false, |host| host.live.update(|conf| conf.client_query_buffer_limit = LIMIT));
    let (greedy, other) = (rig.connect(0, Door::Front), rig.connect(0, Door::Front));
    rig.run(greedy, "MULTI");
    let set = format!("SET k {}", "x".repeat(VALUE));
    let queued = (0..100).take_while(|_| rig.run(greedy, &set) == "+QUEUED|").count();
    assert_eq!(queued, LIMIT as usize / VALUE);
    assert!(rig.is_done(greedy), "it is closed");
    assert_eq!(rig.run(other, "EXISTS k"), ":0|");
}
