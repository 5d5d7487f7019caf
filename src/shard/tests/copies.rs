//! What replicas of a shard are told that no command has said.

use super::Client;
use super::handoff::{Post, tag};
use crate::cluster::plane::Source;
use crate::limits::{PARTING, PARTING_STEP};
use crate::session::Door;
use crate::shard::moving::{LinkEvent, LinkOrder};
use crate::shard::plane::Letters;
use crate::store::Owned;

/// All that a client is sent until nothing comes any more.
fn drain(post: &mut Post, client: Client) -> String {
    let mut all = String::new();
    loop {
        post.settle();
        let more = post.rig.output(client);
        if more.is_empty() {
            return all;
        }
        all += &more;
    }
}

/// A client that has copied all that its shard has.
fn replica(post: &mut Post, shard: usize) -> Client {
    let client = post.rig.connect(shard, Door::Own);
    assert_eq!(post.run(client, "REPLCONF capa eof capa psync2"), "+OK\r\n");
    post.send(client, b"PSYNC ? -1\r\n");
    let payload = drain(post, client);
    assert!(payload.starts_with("+FULLRESYNC ") && payload.contains("$EOF:"), "{payload}");
    post.send(client, b"REPLCONF ACK 0\r\n");
    assert_eq!(drain(post, client), "");
    client
}

#[test]
fn replicas_hear_of_slots_that_go_to_a_sibling() {
    let mut post = Post::new(2);
    post.rig.shards[0].host.live.update(|conf| conf.repl_diskless_sync_delay = 0);
    let (tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), 1 - post.owner(slot));
    let own = post.rig.connect(a, Door::Own);
    let names: Vec<String> = (0..PARTING + 3).map(|i| format!("{tag}key{i}")).collect();
    for name in &names {
        assert_eq!(post.run(own, &format!("SET {name} v")), "+OK\r\n");
    }
    let copies = [replica(&mut post, a), replica(&mut post, b)];
    // there and back
    for (giver, to) in [(0, b), (1, a)] {
        post.hand_off(&[(slot, to)]);
        let said = [0, 1].map(|n| drain(&mut post, copies[n]));
        for (n, word) in [(giver, "UNLINK"), (1 - giver, "SET")] {
            assert!(said[n].contains(word), "{}", said[n]);
            let told = |name: &&String| said[n].matches(&format!("{name}\r\n")).count() == 1;
            assert_eq!(names.iter().filter(told).count(), names.len(), "{}", said[n]);
        }
        assert!(said.iter().all(|said| said.starts_with("*2\r\n$6\r\nSELECT")), "{said:?}");
    }
}

/// A slot with more keys than a step may name: a bounded number of them in each turn, the slot goes behind the last,
/// and only who needs it waits.
#[test]
fn a_full_slot_is_named_in_steps() {
    let mut post = Post::new(2);
    post.rig.shards[0].host.live.update(|conf| conf.repl_diskless_sync_delay = 0);
    let (tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), 1 - post.owner(slot));
    let own = post.rig.connect(a, Door::Own);
    let [near, far] = [a, b].map(|shard| post.rig.connect(shard, Door::Front));
    let names: Vec<String> = (0..3 * PARTING_STEP).map(|i| format!("{tag}key{i}")).collect();
    for name in &names {
        // replicas have what is past its time, too
        assert_eq!(post.run(own, &format!("SET {name} v PX 10")), "+OK\r\n");
    }
    let elsewhere = (1..).map(super::handoff::tag).find(|(_, s)| post.owner(*s) == a && *s != slot);
    let elsewhere = elsewhere.expect("one of many").0;
    let copy = replica(&mut post, a);
    post.by_hand = true;
    post.rig.shards[a].host.active_expire.store(false, std::sync::atomic::Ordering::Relaxed);
    post.rig.pass_ms(20);
    post.hand_off(&[(slot, b)]);
    assert!(post.learn(a) && post.learn(b));
    for client in [near, far] {
        post.send(client, format!("SET {tag}new 1\r\n").as_bytes());
    }
    let (mut said, mut steps) = (String::new(), 0);
    while !post.deliver(a, b) {
        assert!(post.rig.shards[a].has_chores(), "the slot goes some time");
        post.rig.shards[a].chores(post.rig.now);
        post.collect();
        let more = post.rig.output(copy);
        let named = more.matches(&format!("{tag}key")).count();
        assert!((1..=PARTING_STEP + PARTING).contains(&named), "{named} keys in a step");
        steps += 1;
        said += &more;
        post.send(own, format!("SET {elsewhere} {steps}\r\n").as_bytes());
        assert_eq!(post.rig.output(own), "+OK\r\n");
        said += &post.rig.output(copy);
    }
    assert!((3..8).contains(&steps), "{steps} steps");
    let told = |name: &&String| said.matches(&format!("{name}\r\n")).count() == 1;
    assert_eq!(names.iter().filter(told).count(), names.len());
    post.by_hand = false;
    post.settle();
    assert_eq!([near, far].map(|client| post.rig.output(client)), ["+OK\r\n", "+OK\r\n"]);
}

/// A key with this tag's slot as a shard holds it itself.
fn held(post: &Post, shard: usize, key: &str) -> Option<String> {
    post.rig.shards[shard].string_of(key.as_bytes())
}

#[test]
fn a_replica_borrows_of_the_primary_beside_it() {
    let mut post = Post::new(2);
    let (a_tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), 1 - post.owner(slot));
    let (b_tag, _) = (1..).map(tag).find(|(_, slot)| post.owner(*slot) == b).expect("one of them is there");
    let own = post.rig.connect(a, Door::Own);
    let front = post.rig.connect(b, Door::Front);
    assert_eq!(post.run(own, &format!("SET {a_tag} one")), "+OK\r\n");
    // what a replica has copied so far
    let clock = post.rig.shards[b].clock;
    let db = post.rig.shards[b].ks.db_mut(0);
    let key = db.key(a_tag.as_bytes());
    db.put(&key, Owned::string(b"old"), &clock);
    for (line, want) in [
        (format!("LCS {a_tag} {b_tag}"), "$0\r\n\r\n"),
        (format!("RENAME {a_tag} {b_tag}"), "+OK\r\n"),
        (format!("COPY {b_tag} {a_tag}"), ":1\r\n"),
    ] {
        assert_eq!(post.run(front, &line), want, "{line}");
        assert_eq!(held(&post, b, &a_tag).as_deref(), Some("old"), "{line}");
    }
    assert_eq!(
        [(a, &a_tag), (b, &b_tag)].map(|(n, tag)| held(&post, n, tag)),
        [Some("one".into()), Some("one".into())]
    );
}

#[test]
fn a_stream_waits_for_what_is_lent() {
    let mut post = Post::new(2);
    let (a_tag, slot) = tag(0);
    let (a, b) = (post.owner(slot), 1 - post.owner(slot));
    let (b_tag, _) = (1..).map(tag).find(|(_, slot)| post.owner(*slot) == b).expect("one of them is there");
    let own = post.rig.connect(a, Door::Own);
    let front = post.rig.connect(b, Door::Front);
    assert_eq!(post.run(own, &format!("SET {a_tag} one")), "+OK\r\n");
    post.send(front, format!("LCS {a_tag} {b_tag}\r\n").as_bytes());
    // the owner has lent its slot, and becomes a replica before that is back
    assert!(post.deliver(b, a));
    let source = Source { id: [b'f'; 40], ip: "10.0.0.9".into(), port: 7000, local: None };
    let now = post.rig.now;
    let shard = &mut post.rig.shards[a];
    shard.letters(Letters { source: Some(Some(source)), ..Letters::default() }, now);
    let open = shard.take_link_orders().find_map(|order| match order {
        LinkOrder::Open { link, .. } => Some(link),
        _ => None,
    });
    let link = open.expect("a link to the primary");
    let id = shard.host.replication_id(a);
    shard.link(link, LinkEvent::Opened, now);
    let goes_on = format!("+CONTINUE {id}\r\n");
    let set = format!("*3\r\n$3\r\nSET\r\n${}\r\n{a_tag}\r\n$3\r\ntwo\r\n", a_tag.len());
    for said in ["+PONG\r\n+OK\r\n+OK\r\n", goes_on.as_str(), set.as_str()] {
        shard.link(link, LinkEvent::Received(said.as_bytes()), now);
    }
    drop(shard.take_link_orders());
    assert_eq!(held(&post, a, &a_tag), None, "it is lent");
    post.collect();
    while post.deliver(a, b) || post.deliver(b, a) {}
    assert_eq!(post.rig.output(front), "$0\r\n\r\n");
    assert_eq!(held(&post, a, &a_tag).as_deref(), Some("two"));
}
