use crate::command::testing::World;

#[test]
fn replies_are_those_of_redis() {
    assert!(World::new().replay(include_str!("../golden/list.txt")) > 200);
}

/// Runs a line and returns its events and how much it counts as changed.
fn effects(w: &mut World, line: &str) -> (String, u64) {
    w.fx.dirty = 0;
    w.run(line);
    (w.events().join(" "), w.fx.dirty)
}

#[test]
fn every_change_is_told() {
    let mut w = World::new();
    for (line, events, dirty) in [
        ("RPUSH a 1 2 3", "new:a rpush:a", 3),
        ("LPUSH a 0", "lpush:a", 1),
        ("LPUSHX none 0", "", 0),
        ("LLEN none", "keymiss:none", 0),
        ("LPOP none", "", 0),
        ("LSET a 0 z", "lset:a", 1),
        ("LINSERT a BEFORE z y", "linsert:a", 1),
        ("LINSERT a BEFORE nope y", "", 0),
        ("LREM a 0 nope", "", 0),
        ("LREM a 0 y", "lrem:a", 1),
        ("LTRIM a 0 -1", "ltrim:a", 0),
        ("LTRIM a 1 -1", "ltrim:a", 1),
        ("LMOVE a b LEFT RIGHT", "new:b rpush:b lpop:a", 1),
        ("RPOPLPUSH a a", "lpush:a rpop:a", 1),
        ("LPOP a 0", "", 0),
        ("LPOP a 5", "lpop:a del:a", 2),
        ("RPOPLPUSH b c", "new:c lpush:c rpop:b del:b", 1),
        ("RPOP c", "rpop:c del:c", 1),
        ("RPUSH d x x", "new:d rpush:d", 2),
        ("LREM d 0 x", "lrem:d del:d", 2),
        ("RPUSH d x x", "new:d rpush:d", 2),
        ("LTRIM d 5 6", "ltrim:d del:d", 2),
        ("RPUSH d x y", "new:d rpush:d", 2),
        ("LMPOP 2 none d LEFT COUNT 9", "lpop:d del:d", 2),
        ("LPOS d x", "keymiss:d", 0),
    ] {
        assert_eq!(effects(&mut w, line), (events.to_string(), dirty), "{line}");
    }
    assert_eq!(w.ks.len(), 0);
}

#[test]
fn a_pop_of_many_keys_is_propagated_as_one_of_one() {
    let mut w = World::new();
    w.fx.propagating = true;
    w.run("RPUSH a 1 2 3");
    w.run("LMPOP 2 none a RIGHT COUNT 2");
    assert_eq!(w.propagated(), ["RPOP a 2"]);
    w.run("LMPOP 1 a LEFT COUNT 7");
    assert_eq!(w.propagated(), ["LPOP a 1"]);
    w.run("LMPOP 1 a LEFT COUNT 7");
    w.run("RPUSH a 1");
    w.run("LPOP a");
    assert!(w.propagated().is_empty());
}

/// Over many nodes every command sees the same list as over one.
#[test]
fn long_lists_behave_like_short_ones() {
    let mut w = World::new();
    let all: Vec<String> = (0..3000).map(|i| format!("element{i}")).collect();
    assert_eq!(w.run(&format!("RPUSH l {}", all.join(" "))), ":3000\r\n");
    w.check(&[
        ("LINDEX l 1500", "$11|element1500|"),
        ("LRANGE l 1499 1501", "*3|$11|element1499|$11|element1500|$11|element1501|"),
        ("LPOS l element2000", ":2000|"),
        ("LPOS l element2000 RANK -1 MAXLEN 999", "$-1|"),
        ("LPOS l element2000 RANK -1 MAXLEN 1000", ":2000|"),
        ("LTRIM l 1000 -1001", "+OK|"),
        ("LLEN l", ":1000|"),
        ("RPOP l 2", "*2|$11|element1999|$11|element1998|"),
        ("LPOP l 2", "*2|$11|element1000|$11|element1001|"),
        ("LREM l 1 element1500", ":1|"),
        ("LINDEX l 498", "$11|element1501|"),
        ("RPOPLPUSH l l", "$11|element1997|"),
        ("LINDEX l 0", "$11|element1997|"),
    ]);
    assert_eq!(w.run("LRANGE l 0 -1").matches('$').count(), 995);
}

#[test]
fn an_expired_list_is_no_list() {
    for (line, reply) in [
        ("LPUSHX x a", ":0\r\n"),
        ("RPUSH x a", ":1\r\n"),
        ("LPOP x", "$-1\r\n"),
        ("LRANGE x 0 -1", "*0\r\n"),
        ("RPOPLPUSH x x", "$-1\r\n"),
        ("LSET x 0 a", "-ERR no such key\r\n"),
    ] {
        let mut w = World::new();
        w.run("RPUSH x a b");
        let (key, clock) = (w.ks.hasher().key(b"x"), crate::store::Clock::at(w.now_ms));
        w.ks.db_mut(0).set_expire(&key, Some(w.now_ms + 5), &clock);
        let later = w.now_ms + 6;
        assert_eq!(w.at(later).run(line), reply, "{line}");
    }
}
