//! Digests and facts against those of redis-server 7.0.15.

use crate::command::ctx::Aside;
use crate::command::testing::World;
use crate::config::types::ProtectedAction;
use crate::store::{Clock, Ttl};
use crate::value::{Hash, Limits, List, Object, Set, ZSet};

fn world() -> World {
    let mut w = World::new();
    w.conf.enable_debug_command = ProtectedAction::Yes;
    w
}

fn put_text(w: &mut World, db: usize, name: &str, value: &str, ttl: Ttl) {
    let key = w.ks.hasher().key(name.as_bytes());
    w.ks.db_mut(db).set_str(&key, value.as_bytes(), ttl, &Clock::at(w.now_ms));
}

/// One key of each kind; `limits` say how they are stored.
fn fill(w: &mut World, limits: &Limits) {
    put_text(w, 0, "s", "hello", Ttl::Clear);
    put_text(w, 0, "i", "42", Ttl::At(w.now_ms + 10_000));
    let mut list = List::new();
    ["a", "b", "3"].iter().for_each(|e| list.push_back(e.as_bytes(), limits));
    let (mut ints, mut words) = (Set::new(), Set::new());
    ["1", "2", "3"].iter().for_each(|e| assert!(ints.add(e.as_bytes(), limits)));
    ["a", "b", "c"].iter().for_each(|e| assert!(words.add(e.as_bytes(), limits)));
    let mut hash = Hash::new();
    [("f", "v"), ("g", "1")].iter().for_each(|(f, v)| assert!(hash.set(f.as_bytes(), v.as_bytes(), limits)));
    let mut zset = ZSet::new();
    for (member, score) in [("a", 1.5), ("b", 2.0), ("c", 1e30)] {
        let _ = zset.insert(member.as_bytes(), score, limits);
    }
    let objects = [
        ("l", Object::List(list)),
        ("ints", Object::Set(ints)),
        ("words", Object::Set(words)),
        ("h", Object::Hash(hash)),
        ("z", Object::ZSet(zset)),
    ];
    for (name, object) in objects {
        let key = w.ks.hasher().key(name.as_bytes());
        w.ks.db_mut(0).set_object(&key, object, Ttl::Clear, &Clock::at(w.now_ms));
    }
}

const VALUES: [&str; 8] = [
    "36b23a1456b2dce2c3ed252c456761301dba8060",
    "b2fffeb5eb322d48ec77f4f949383d7cace23627",
    "09eb1fc9381ee92790d59930ab462945f8cd948b",
    "2a462a3f51a1db89738ebbeef0c47ce1bbc85246",
    "593c2414786d75446e97f4ea5d4b731f3313da72",
    "6679ee22f89ed8001eeb5309d0900265ea56c03a",
    "dd0341a60efa2da9ddf830da87ef569fdcb2da5e",
    "0000000000000000000000000000000000000000",
];

#[test]
fn digests_are_those_of_redis() {
    let large = Limits {
        hash_max_listpack_entries: 0,
        set_max_intset_entries: 0,
        zset_max_listpack_entries: 0,
        ..Limits::default()
    };
    for limits in [Limits::default(), large] {
        let mut w = world();
        fill(&mut w, &limits);
        let values: String = VALUES.iter().map(|d| format!("+{d}|")).collect();
        w.check(&[
            ("DEBUG DIGEST-VALUE s i l ints words h z nosuch", &format!("*8|{values}")),
            ("DEBUG DIGEST-VALUE", "*0|"),
            ("DEBUG DIGEST", "+f7f3816ad8c84349f5453af72b542c5664444996|"),
        ]);
        put_text(&mut w, 3, "x", "y", Ttl::Clear);
        w.check(&[("DEBUG DIGEST", "+2373260c4018cd1c9d2b04813e67a9314db60c8f|")]);
    }
}

#[test]
fn objects_are_described() {
    let mut w = world();
    fill(&mut w, &Limits::default());
    let mut long = List::new();
    (1..=3000).for_each(|i: u32| long.push_back(i.to_string().as_bytes(), &Limits::default()));
    let key = w.ks.hasher().key(b"big");
    w.ks.db_mut(0).set_object(&key, Object::List(long), Ttl::Clear, &Clock::at(w.now_ms));
    for (key, facts) in [
        ("s", "refcount:1 encoding:embstr serializedlength:6 lru:"),
        ("i", "refcount:2147483647 encoding:int serializedlength:2 lru:"),
        ("l", "refcount:1 encoding:quicklist serializedlength:18 lru:"),
        ("l", " ql_nodes:1 ql_avg_node:3.00 ql_listpack_max:-2 ql_compressed:0 ql_uncompressed_size:15"),
        ("ints", "encoding:intset serializedlength:15 "),
        ("h", "encoding:listpack serializedlength:19 "),
        ("z", "encoding:listpack serializedlength:31 "),
        ("big", "serializedlength:8894 "),
        (
            "big",
            " ql_nodes:2 ql_avg_node:1500.00 ql_listpack_max:-2 ql_compressed:0 ql_uncompressed_size:8887",
        ),
    ] {
        let got = w.run(&format!("DEBUG OBJECT {key}"));
        assert!(got.starts_with("+Value at:0x") && got.contains(facts), "{facts} in {got}");
    }
    w.check(&[("DEBUG OBJECT nosuch", "-ERR no such key|")]);
}

#[test]
fn who_may() {
    let mut w = World::new();
    let no = "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can \
              run it from a local connection, otherwise you need to set this option in the configuration file, \
              and then restart the server.|";
    w.check(&[("DEBUG SLEEP 0", no), ("DEBUG HELP", no)]);
    w.conf.enable_debug_command = ProtectedAction::Local;
    w.check(&[("DEBUG SLEEP 0", "+OK|")]);
    w.caller.local = false;
    w.check(&[("DEBUG SLEEP 0", no)]);
}

#[test]
fn populates() {
    let mut w = world();
    put_text(&mut w, 0, "key:1", "mine", Ttl::Clear);
    w.check(&[
        ("DEBUG POPULATE 3", "+OK|"),
        ("GET key:0", "$7|value:0|"),
        ("GET key:1", "$4|mine|"),
        ("DBSIZE", ":3|"),
    ]);
    w.check(&[
        ("DEBUG POPULATE 1 p 10", "+OK|"),
        ("STRLEN p:0", ":10|"),
        ("GETRANGE p:0 0 6", "$7|value:0|"),
        ("DEBUG POPULATE 1 q 3", "+OK|"),
        ("GET q:0", "$3|val|"),
        ("DEBUG POPULATE -1", "-ERR value is out of range, must be positive|"),
        ("DEBUG POPULATE x", "-ERR value is out of range, must be positive|"),
    ]);
}

#[test]
fn replies_of_each_kind() {
    let mut w = world();
    w.check(&[
        ("DEBUG PROTOCOL null", "$-1|"),
        ("DEBUG PROTOCOL double", "$5|3.141|"),
        ("DEBUG PROTOCOL map", "*6|:0|:0|:1|:1|:2|:0|"),
        ("DEBUG PROTOCOL attrib", "$39|Some real reply following the attribute|"),
        ("DEBUG PROTOCOL push", "-ERR RESP2 is not supported by this command|"),
        ("DEBUG PROTOCOL bignum", "$37|1234567999999999999999999999999999999|"),
    ]);
    w.resp3(true).check(&[
        ("DEBUG PROTOCOL set", "~3|:0|:1|:2|"),
        ("DEBUG PROTOCOL map", "%3|:0|#f|:1|#t|:2|#f|"),
        ("DEBUG PROTOCOL null", "_|"),
        ("DEBUG PROTOCOL push", ">2|$16|server-cpu-usage|:42|$40|Some real reply following the push reply|"),
        ("DEBUG PROTOCOL bignum", "(1234567999999999999999999999999999999|"),
        ("DEBUG PROTOCOL verbatim", "=29|txt:This is a verbatim\nstring|"),
    ]);
    assert!(w.run("DEBUG PROTOCOL nosuch").starts_with("-ERR Wrong protocol type name."));
}

#[test]
fn the_rest() {
    let mut w = world();
    let before = w.host.replication_id(0);
    w.check(&[
        ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK|"),
        ("DEBUG PAUSE-CRON 1", "+OK|"),
        ("DEBUG CHANGE-REPL-ID", "+OK|"),
        ("DEBUG QUICKLIST-PACKED-THRESHOLD 1b", "+OK|"),
        (
            "DEBUG QUICKLIST-PACKED-THRESHOLD 4gb",
            "-ERR argument must be a memory value bigger than 1 and smaller than 4gb|",
        ),
        ("DEBUG ERROR \"OOPS no\"", "-OOPS no|"),
        ("DEBUG LOG hi", "+OK|"),
        ("DEBUG SLEEP abc", "+OK|"),
        ("DEBUG HTSTATS 99", "-ERR Out of range database|"),
        ("DEBUG HTSTATS-KEY x", "-ERR no such key|"),
        ("DEBUG WHAT", "-ERR unknown subcommand or wrong number of arguments for 'WHAT'. Try DEBUG HELP.|"),
        ("DEBUG SLEEP", "-ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.|"),
    ]);
    assert!(!w.host.active_expire.load(std::sync::atomic::Ordering::Relaxed));
    assert!(w.host.cron_paused.load(std::sync::atomic::Ordering::Relaxed));
    assert!(w.host.replication_id(0) != before && before.len() == 40);
    assert_eq!(w.fx.aside, None);
    w.check(&[("DEBUG SLEEP 1.5", "+OK|")]);
    assert_eq!(w.fx.aside, Some(Aside::Slept(1_500_000)));
}
