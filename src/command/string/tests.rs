//! Expected replies are redis-server 7.0.15's.

use crate::command::testing::World;
use crate::resp::args::OwnedArgs;
use crate::store::Ttl;
use crate::value::{Limits, List, Object};

/// A world with a list `l` of one element.
fn world() -> World {
    let mut w = World::new();
    let mut list = List::new();
    list.push_back(b"a", &Limits::default());
    let (key, clock) = (w.ks.hasher().key(b"l"), crate::store::Clock::at(w.now_ms));
    w.ks.db_mut(0).set_object(&key, Object::List(list), Ttl::Clear, &clock);
    w
}

/// What was propagated instead of the command, as lines of words.
fn instead(w: &mut World) -> Vec<String> {
    let show = |args: OwnedArgs| {
        let words: Vec<_> = args.as_args().iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
        words.join(" ")
    };
    w.fx.instead.drain(..).map(show).collect()
}

#[test]
fn values_and_options() {
    world().check(&[
        ("SET s hello", "+OK|"),
        ("GET s", "$5|hello|"),
        ("GET missing", "$-1|"),
        ("SET s v XX GET", "$5|hello|"),
        ("SET s w NX", "$-1|"),
        ("SET s w NX GET", "$1|v|"),
        ("SET new w NX GET", "$-1|"),
        ("SET other w XX GET", "$-1|"),
        ("EXISTS other", ":0|"),
        ("SET s v NX XX", "-ERR syntax error|"),
        ("SET s v EX 10 PX 10", "-ERR syntax error|"),
        ("SET s v EX 10 KEEPTTL", "-ERR syntax error|"),
        ("SET s v EX 10 EX 20", "+OK|"),
        ("SET s v EX", "-ERR syntax error|"),
        ("SET s v EX 0", "-ERR invalid expire time in 'set' command|"),
        ("SET s v EX abc", "-ERR value is not an integer or out of range|"),
        ("SET s v EX 9223372036854775807", "-ERR invalid expire time in 'set' command|"),
        ("SET s v PX 9223372036854775807", "-ERR invalid expire time in 'set' command|"),
        ("SET s v PXAT 99999999999999", "+OK|"),
        ("PEXPIRETIME s", ":99999999999999|"),
        ("SET s x KEEPTTL", "+OK|"),
        ("PEXPIRETIME s", ":99999999999999|"),
        ("SET s x", "+OK|"),
        ("PEXPIRETIME s", ":-1|"),
        ("SET s x EXAT 99999999999 GET", "$1|x|"),
        ("EXPIRETIME s", ":99999999999|"),
        ("SET s v WHAT", "-ERR syntax error|"),
        ("SET l v GET", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
        ("SET l v NX", "$-1|"),
        ("TYPE l", "+list|"),
        ("SETEX l 0 v", "-ERR invalid expire time in 'setex' command|"),
        ("SETEX l abc v", "-ERR value is not an integer or out of range|"),
        ("PSETEX l -1 v", "-ERR invalid expire time in 'psetex' command|"),
        ("SETEX l 100 v", "+OK|"),
        ("TYPE l", "+string|"),
        ("SETNX l x", ":0|"),
        ("SETNX n x", ":1|"),
        ("GETSET n y", "$1|x|"),
        ("GETSET fresh y", "$-1|"),
        ("GETDEL n", "$1|y|"),
        ("GETDEL n", "$-1|"),
    ]);
}

#[test]
fn expiry_of_what_is_read() {
    world().check(&[
        ("SET k v", "+OK|"),
        ("GETEX k", "$1|v|"),
        ("PEXPIRETIME k", ":-1|"),
        ("GETEX k EXAT 99999999999", "$1|v|"),
        ("PEXPIRETIME k", ":99999999999000|"),
        ("GETEX k PERSIST", "$1|v|"),
        ("PEXPIRETIME k", ":-1|"),
        ("GETEX k PXAT 99999999999999", "$1|v|"),
        ("GETEX k EX 0", "-ERR invalid expire time in 'getex' command|"),
        ("GETEX k EX abc", "-ERR value is not an integer or out of range|"),
        ("GETEX missing EX abc", "$-1|"),
        ("GETEX k KEEPTTL", "-ERR syntax error|"),
        ("GETEX k PERSIST EX 10", "-ERR syntax error|"),
        ("GETEX k EX 10 PERSIST", "-ERR syntax error|"),
        ("GETEX k PXAT 1", "$1|v|"),
        ("EXISTS k", ":0|"),
        ("GETEX l EX 10", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
    ]);
}

#[test]
fn ranges() {
    world().check(&[
        ("SET g \"This is a string\"", "+OK|"),
        ("GETRANGE g 0 3", "$4|This|"),
        ("GETRANGE g -3 -1", "$3|ing|"),
        ("GETRANGE g 0 -1", "$16|This is a string|"),
        ("GETRANGE g 10 100", "$6|string|"),
        ("GETRANGE g -1 -3", "$0||"),
        ("GETRANGE g 5 2", "$0||"),
        ("GETRANGE g -100 3", "$4|This|"),
        ("GETRANGE g -9223372036854775808 9223372036854775807", "$16|This is a string|"),
        ("GETRANGE g abc 1", "-ERR value is not an integer or out of range|"),
        ("GETRANGE missing 0 -1", "$0||"),
        ("SUBSTR g 0 3", "$4|This|"),
        ("SET n -12345", "+OK|"),
        ("GETRANGE n 1 2", "$2|12|"),
        ("STRLEN n", ":6|"),
        ("STRLEN missing", ":0|"),
        ("APPEND a \"\"", ":0|"),
        ("EXISTS a", ":1|"),
        ("APPEND a hello", ":5|"),
        ("APPEND a \" world\"", ":11|"),
        ("GET a", "$11|hello world|"),
        ("SET c 10", "+OK|"),
        ("OBJECT ENCODING c", "$3|int|"),
        ("APPEND c 5", ":3|"),
        ("OBJECT ENCODING c", "$3|raw|"),
        ("INCR c", ":106|"),
        ("OBJECT ENCODING c", "$3|int|"),
        ("SETRANGE n 1 99", ":6|"),
        ("GET n", "$6|-99345|"),
        ("SETRANGE r 5 x", ":6|"),
        ("GET r", "$6|\0\0\0\0\0x|"),
        ("SETRANGE r -1 x", "-ERR offset is out of range|"),
        ("SETRANGE r abc x", "-ERR value is not an integer or out of range|"),
        ("SETRANGE r 0 \"\"", ":6|"),
        ("SETRANGE none 5 \"\"", ":0|"),
        ("EXISTS none", ":0|"),
        ("SETRANGE r 536870911 Redis", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)|"),
        (
            "SETRANGE r 9223372036854775807 x",
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)|",
        ),
        ("APPEND l x", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
        ("SETRANGE l 0 x", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
        ("SETRANGE l 0 \"\"", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
        ("GETRANGE l 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
        ("STRLEN l", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
    ]);
}

#[test]
fn counters() {
    world().check(&[
        ("INCR c", ":1|"),
        ("INCRBY c 41", ":42|"),
        ("DECR c", ":41|"),
        ("DECRBY c 100", ":-59|"),
        ("DECRBY c -9223372036854775808", "-ERR decrement would overflow|"),
        ("INCRBY c 9223372036854775807", ":9223372036854775748|"),
        ("INCRBY c 9223372036854775807", "-ERR increment or decrement would overflow|"),
        ("GET c", "$19|9223372036854775748|"),
        ("INCRBY c abc", "-ERR value is not an integer or out of range|"),
        ("SET c 9223372036854775807", "+OK|"),
        ("INCR c", "-ERR increment or decrement would overflow|"),
        ("GET c", "$19|9223372036854775807|"),
        ("SET c -9223372036854775808", "+OK|"),
        ("DECR c", "-ERR increment or decrement would overflow|"),
        ("SET c abc", "+OK|"),
        ("INCR c", "-ERR value is not an integer or out of range|"),
        ("SET c \" 1\"", "+OK|"),
        ("INCR c", "-ERR value is not an integer or out of range|"),
        ("SET c 01", "+OK|"),
        ("INCR c", "-ERR value is not an integer or out of range|"),
        ("INCR l", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
        ("SET t 5 PXAT 99999999999999", "+OK|"),
        ("INCR t", ":6|"),
        ("PEXPIRETIME t", ":99999999999999|"),
        ("SETRANGE raw 0 15", ":2|"),
        ("INCR raw", ":16|"),
    ]);
}

#[test]
fn floats() {
    world().check(&[
        ("INCRBYFLOAT f 3", "$1|3|"),
        ("OBJECT ENCODING f", "$6|embstr|"),
        ("INCR f", ":4|"),
        ("INCRBYFLOAT f 1.5", "$3|5.5|"),
        ("INCRBYFLOAT f -5.5", "$1|0|"),
        ("INCRBYFLOAT f 5.0e3", "$4|5000|"),
        ("INCRBYFLOAT f abc", "-ERR value is not a valid float|"),
        ("INCRBYFLOAT f inf", "-ERR increment would produce NaN or Infinity|"),
        ("INCRBYFLOAT f nan", "-ERR value is not a valid float|"),
        ("SET f abc", "+OK|"),
        ("INCRBYFLOAT f 1", "-ERR value is not a valid float|"),
        ("SET f 0.1 PXAT 99999999999999", "+OK|"),
        ("INCRBYFLOAT f 0.2", "$3|0.3|"),
        ("PEXPIRETIME f", ":99999999999999|"),
        ("INCRBYFLOAT l 1", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
    ]);
}

#[test]
fn many_keys() {
    world().check(&[
        ("MSET a 1 b 2 c three", "+OK|"),
        ("MGET a b missing c", "*4|$1|1|$1|2|$-1|$5|three|"),
        ("MGET l a", "*2|$-1|$1|1|"),
        ("MSET a 1 a 2", "+OK|"),
        ("GET a", "$1|2|"),
        ("MSET a", "-ERR wrong number of arguments for 'mset' command|"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command|"),
        ("MSETNX a x new y", ":0|"),
        ("EXISTS new", ":0|"),
        ("MSETNX new x new2 y", ":1|"),
        ("MGET new new2", "*2|$1|x|$1|y|"),
        ("MSETNX odd", "-ERR wrong number of arguments for 'msetnx' command|"),
        ("MSET l v", "+OK|"),
        ("TYPE l", "+string|"),
    ]);
}

#[test]
fn common_subsequences() {
    world().check(&[
        ("MSET a ohmytext b mynewtext", "+OK|"),
        ("LCS a b", "$6|mytext|"),
        ("LCS a b LEN", ":6|"),
        ("LCS a b IDX", "*4|$7|matches|*2|*2|*2|:4|:7|*2|:5|:8|*2|*2|:2|:3|*2|:0|:1|$3|len|:6|"),
        ("LCS a b IDX MINMATCHLEN 4", "*4|$7|matches|*1|*2|*2|:4|:7|*2|:5|:8|$3|len|:6|"),
        ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", "*4|$7|matches|*1|*3|*2|:4|:7|*2|:5|:8|:4|$3|len|:6|"),
        ("LCS a b LEN IDX", "-ERR If you want both the length and indexes, please just use IDX.|"),
        ("LCS a b MINMATCHLEN abc", "-ERR value is not an integer or out of range|"),
        ("LCS a b MINMATCHLEN", "-ERR syntax error|"),
        ("LCS a b WHAT", "-ERR syntax error|"),
        ("LCS a none", "$0||"),
        ("LCS none none IDX", "*4|$7|matches|*0|$3|len|:0|"),
        ("LCS a a IDX", "*4|$7|matches|*1|*2|*2|:0|:7|*2|:0|:7|$3|len|:8|"),
        ("MSET n 123454321 m 54321", "+OK|"),
        ("LCS n m IDX WITHMATCHLEN", "*4|$7|matches|*1|*3|*2|:4|:8|*2|:0|:4|:5|$3|len|:5|"),
        ("LCS a l", "-ERR The specified keys must contain string values|"),
        ("LCS l a WHAT", "-ERR The specified keys must contain string values|"),
    ]);
}

#[test]
fn events() {
    let cases: &[(&str, &[&str])] = &[
        ("SET a 1", &["new:a", "set:a"]),
        ("SET a 1 EX 10", &["set:a", "expire:a"]),
        ("SET a 2 NX", &[]),
        ("SETEX b 10 v", &["new:b", "set:b", "expire:b"]),
        ("GET none", &["keymiss:none"]),
        ("MGET a none", &["keymiss:none"]),
        ("INCR n", &["new:n", "incrby:n"]),
        ("DECRBY n 2", &["incrby:n"]),
        ("INCRBYFLOAT n 2", &["incrbyfloat:n"]),
        ("APPEND n 2", &["append:n"]),
        ("SETRANGE fresh 2 x", &["new:fresh", "setrange:fresh"]),
        ("SETRANGE fresh 2 \"\"", &[]),
        ("MSET a 1 c 2", &["set:a", "new:c", "set:c"]),
        ("GETEX a PERSIST", &[]),
        ("GETEX a EX 10", &["expire:a"]),
        ("GETEX a PERSIST", &["persist:a"]),
        ("GETEX a PXAT 1", &["del:a"]),
        ("GETDEL c", &["del:c"]),
        ("INCR l", &[]),
    ];
    let mut w = world();
    for (line, want) in cases {
        w.run(line);
        assert_eq!(w.events(), *want, "{line}");
    }
}

#[test]
fn propagation_is_absolute_and_repeatable() {
    let cases: &[(&str, &[&str])] = &[
        ("SET a 1", &[]),
        ("SET a 1 NX", &[]),
        ("SET a 1 EX 10 XX GET", &["SET a 1 PXAT 1700000010000"]),
        ("SET a 1 get KEEPTTL", &["SET a 1 KEEPTTL"]),
        ("SETEX a 10 get", &["SET a get PXAT 1700000010000"]),
        ("PSETEX a 10 v", &["SET a v PXAT 1700000000010"]),
        ("GETSET a 2", &["SET a 2"]),
        ("GETEX a", &[]),
        ("GETEX a PX 5", &["PEXPIREAT a 1700000000005"]),
        ("GETEX a PERSIST", &["PERSIST a"]),
        ("INCRBYFLOAT a 0.5", &["SET a 2.5 KEEPTTL"]),
        ("GETEX a EXAT 1", &["DEL a"]),
        ("GETDEL a", &[]),
        ("MSET a 1", &[]),
        ("GETDEL a", &["DEL a"]),
    ];
    let mut w = world();
    w.fx.propagating = true;
    for (line, want) in cases {
        w.run(line);
        assert_eq!(instead(&mut w), *want, "{line}");
    }
}

#[test]
fn expired_keys_are_not_there() {
    let mut w = world();
    w.at(1000).check(&[("SET x 5 PX 10", "+OK|"), ("SET y 5 PX 10", "+OK|"), ("SET z 5 PX 10", "+OK|")]);
    w.at(1010).check(&[("GET x", "$1|5|")]);
    w.at(1011).check(&[
        ("GET x", "$-1|"),
        ("INCR y", ":1|"),
        ("PEXPIRETIME y", ":-1|"),
        ("APPEND z new", ":3|"),
        ("SET x v XX", "$-1|"),
        ("SET x v KEEPTTL GET", "$-1|"),
        ("PEXPIRETIME x", ":-1|"),
    ]);
}

#[test]
fn resp3_nulls_and_maps() {
    world().resp3(true).check(&[
        ("GET missing", "_|"),
        ("MSET a ohmytext b mynewtext", "+OK|"),
        ("MGET missing l a", "*3|_|_|$8|ohmytext|"),
        ("SET a v NX", "_|"),
        ("LCS a none IDX", "%2|$7|matches|*0|$3|len|:0|"),
        ("INCRBYFLOAT f 1.5", "$3|1.5|"),
    ]);
}

#[test]
fn many_keys_come_in_order_whatever_is_loaded_ahead() {
    let mut w = world();
    for n in [1, 15, 16, 17, 50] {
        let names: Vec<String> = (0..n).map(|i| format!("k{i}")).collect();
        let pairs: Vec<String> = names.iter().map(|k| format!("{k} v{k}")).collect();
        w.run(&format!("MSET {}", pairs.join(" ")));
        let want: String = names.iter().map(|k| format!("${}\r\nv{k}\r\n", k.len() + 1)).collect();
        assert_eq!(w.run(&format!("MGET {}", names.join(" "))), format!("*{n}\r\n{want}"));
    }
}
