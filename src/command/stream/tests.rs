use crate::command::testing::World;

fn world() -> World {
    let mut w = World::new();
    w.at(1_000);
    w.fx.propagating = true;
    w
}

/// Runs a line and returns its events, how much it counts as changed, and what is told instead of it.
fn effects(w: &mut World, line: &str) -> (String, u64, String) {
    (w.fx.dirty, w.fx.quiet) = (0, false);
    w.fx.again = None;
    w.run(line);
    let quiet = if w.fx.quiet { "quiet" } else { "" };
    let told = w.propagated().join("; ");
    (w.events().join(" "), w.fx.dirty, if told.is_empty() { quiet.to_owned() } else { told })
}

/// What a command changes, and how replicas and logs hear of it.
#[test]
fn every_change_is_told() {
    let mut w = world();
    for (line, events, dirty, told) in [
        ("XADD s * f v", "new:s xadd:s", 1, "XADD s 1000-0 f v"),
        ("XADD s * f v", "xadd:s", 1, "XADD s 1000-1 f v"),
        ("XADD s 1000-* f v", "xadd:s", 1, "XADD s 1000-2 f v"),
        ("XADD s 1001 f v", "xadd:s", 1, ""),
        ("XADD s 1001 f v", "", 0, ""),
        ("XADD none NOMKSTREAM * f v", "", 0, ""),
        ("XADD s MAXLEN 3 * f v", "xadd:s xtrim:s", 1, "XADD s MAXLEN 3 1001-1 f v"),
        ("XADD s MAXLEN ~ 1 LIMIT 5 2000 f v", "xadd:s", 1, "XADD s MAXLEN = 4 LIMIT 5 2000 f v"),
        ("XADD s MINID ~ 1 * f v", "xadd:s", 1, "XADD s MINID = 1000-0 2000-1 f v"),
        ("XLEN none", "keymiss:none", 0, ""),
        ("XDEL s 1001", "xdel:s", 1, ""),
        ("XDEL s 1001 9-9", "", 0, ""),
        ("XTRIM s MAXLEN 2", "xtrim:s", 2, ""),
        ("XTRIM s MAXLEN 2", "", 0, ""),
        ("XSETID s 3000", "xsetid:s", 1, ""),
        ("XGROUP CREATE s g 0", "xgroup-create:s", 1, ""),
        ("XGROUP CREATE s g 0", "", 0, ""),
        ("XGROUP CREATE t g $ MKSTREAM", "new:t xgroup-create:t", 1, ""),
        ("XGROUP SETID s g 5 ENTRIESREAD 7", "xgroup-setid:s", 1, ""),
        ("XGROUP CREATECONSUMER s g c", "xgroup-createconsumer:s", 1, ""),
        ("XGROUP CREATECONSUMER s g c", "", 0, ""),
        (
            "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
            "",
            1,
            "XCLAIM s g c 0 2000-0 TIME 1000 RETRYCOUNT 1 FORCE JUSTID LASTID 2000-0",
        ),
        ("XREADGROUP GROUP g c STREAMS s 0", "", 1, "quiet"),
        ("XREADGROUP GROUP g d STREAMS s 0", "xgroup-createconsumer:s", 2, "XGROUP CREATECONSUMER s g d"),
        (
            "XREADGROUP GROUP g e NOACK STREAMS s >",
            "xgroup-createconsumer:s",
            2,
            "XGROUP CREATECONSUMER s g e; XGROUP SETID s g 2000-1 ENTRIESREAD 9",
        ),
        ("XREADGROUP GROUP g e STREAMS s >", "", 0, ""),
        (
            "XCLAIM s g f 0 2000-0 1-1 IDLE 10 RETRYCOUNT 5",
            "xgroup-createconsumer:s",
            2,
            "XCLAIM s g f 0 2000-0 TIME 990 RETRYCOUNT 5 FORCE JUSTID LASTID 2000-1",
        ),
        ("XCLAIM s g f 0 9-9 LASTID 2500", "", 1, "XGROUP SETID s g 2500-0 ENTRIESREAD 9"),
        (
            "XAUTOCLAIM s g d 0 -",
            "",
            1,
            "XCLAIM s g d 0 2000-0 TIME 1000 RETRYCOUNT 6 FORCE JUSTID LASTID 2500-0",
        ),
        ("XDEL s 2000", "xdel:s", 1, ""),
        (
            "XAUTOCLAIM s g c 0 - JUSTID",
            "",
            1,
            "XCLAIM s g d 0 2000-0 TIME 1000 RETRYCOUNT 6 FORCE JUSTID LASTID 2500-0",
        ),
        ("XACK s g 2000", "", 0, ""),
        ("XACK none g 1", "keymiss:none", 0, ""),
        ("XGROUP DELCONSUMER s g d", "xgroup-delconsumer:s", 1, ""),
        ("XGROUP DESTROY s g", "xgroup-destroy:s", 1, ""),
        ("XGROUP DESTROY s g", "", 0, ""),
    ] {
        let want = (events.to_string(), dirty, told.to_string());
        assert_eq!(effects(&mut w, line), want, "{line}");
    }
}

/// A command that waits leaves what is to be tried: `$` is the last id of now.
#[test]
fn what_is_tried_again_does_not_move() {
    let mut w = world();
    w.run("XADD s 5-5 f v");
    w.run("XGROUP CREATE s g $");
    for (line, again) in [
        ("XREAD BLOCK 0 STREAMS s t $ $", "XREAD COUNT 1000 BLOCK 0 STREAMS s t 5-5 0-0"),
        ("XREAD COUNT 7 BLOCK 100 STREAMS s 9", "XREAD COUNT 7 BLOCK 0 STREAMS s 9-0"),
        (
            "xreadgroup NOACK BLOCK 1 GROUP g streams STREAMS s >",
            "xreadgroup GROUP g streams NOACK COUNT 1000 BLOCK 0 STREAMS s >",
        ),
    ] {
        w.fx.again = None;
        assert_eq!(w.run(line), "", "{line}");
        let words = w.fx.again.take().expect("it waits");
        let words: Vec<_> = words.as_args().iter().map(String::from_utf8_lossy).collect();
        assert_eq!(words.join(" "), again);
    }
}

/// The stream of a primary, and of a log, goes by other rules than clients.
#[test]
fn what_is_told_is_taken() {
    let mut w = world();
    (1..=6).for_each(|ms| drop(w.run(&format!("XADD s {ms} f v"))));
    w.check(&[
        (
            "XADD s MAXLEN = 4 LIMIT 5 7 f v",
            "-ERR syntax error, LIMIT cannot be used without the special ~ option|",
        ),
        (
            "XTRIM s MAXLEN = 4 LIMIT 5",
            "-ERR syntax error, LIMIT cannot be used without the special ~ option|",
        ),
    ]);
    w.obeys = true;
    w.check(&[
        ("XADD s MAXLEN = 4 LIMIT 5 7 f v", "$3|7-0|"),
        ("XLEN s", ":4|"),
        ("XTRIM s MAXLEN = 1 LIMIT 1", ":3|"),
    ]);
}

/// All that a stream is comes back from what a rewritten log says of it.
#[test]
fn a_stream_can_be_told_as_commands() {
    use crate::persist::aof::encode::{Value, rebuild};
    use crate::store::Look;
    let mut w = world();
    for line in [
        "XADD s 1-1 f v g 2",
        "XADD s 2-1 f w g 3",
        "XADD s 3-1 other x",
        "XADD s 4-1 f v g 2",
        "XDEL s 3-1 4-1",
        "XGROUP CREATE s g 0",
        "XGROUP CREATE s h $ ENTRIESREAD 3",
        "XGROUP CREATECONSUMER s g idle",
        "XREADGROUP GROUP g c STREAMS s >",
        "XCLAIM s g d 0 2-1 TIME 77 RETRYCOUNT 9",
        "XGROUP CREATE empty g 7-7 MKSTREAM",
    ] {
        assert!(!w.run(line).starts_with('-'), "{line}");
    }
    let mut log = Vec::new();
    let clock = crate::store::Clock::at(w.now_ms);
    for name in ["s", "empty"] {
        let key = w.ks.hasher().key(name.as_bytes());
        let entry = w.ks.db_mut(0).find(&key, Look::Peek, &clock).expect("it is there");
        let crate::store::ValueRef::Obj(object) = entry.value() else { panic!("a stream") };
        rebuild(&mut log, name.as_bytes(), Value::Object(object), None);
    }
    let (mut again, text) = (world(), String::from_utf8(log).expect("texts"));
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut lines = text.split("\r\n").peekable();
    while let Some(line) = lines.next() {
        if line.starts_with('$') {
            words.push(lines.next().expect("a word").as_bytes().to_vec());
        }
        if !words.is_empty() && lines.peek().is_none_or(|next| next.starts_with('*') || next.is_empty()) {
            let command: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
            let reply = again.run_words(&command);
            assert!(!reply.starts_with(b"-"), "{command:?}: {}", String::from_utf8_lossy(&reply));
            words.clear();
        }
    }
    for line in ["XINFO STREAM s FULL", "XINFO STREAM empty FULL", "XINFO GROUPS s"] {
        assert_eq!(again.run(line), w.run(line), "{line}");
    }
}
