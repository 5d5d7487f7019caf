use crate::command::testing::World;

// What redis-server 7.0.15 replied.

#[test]
fn options_of_zadd() {
    World::new().check(&[
        ("ZADD z 1 a 5 b 1 a", ":2|"),
        ("ZADD z NX 9 a 1 c", ":1|"),
        ("ZADD z XX 9 a 1 d", ":0|"),
        ("ZADD z XX CH 8 a 1 c", ":1|"),
        ("ZADD z GT CH 7 a 9 b", ":1|"),
        ("ZADD z LT CH 7 a 9 b 1 e", ":2|"),
        ("ZADD z INCR 2.5 a", "$3|9.5|"),
        ("ZADD z NX INCR 1 a", "$-1|"),
        ("ZADD z XX GT INCR -1 a", "$-1|"),
        ("ZADD z ch incr 0 a", "$3|9.5|"),
        ("ZRANGE z 0 -1 WITHSCORES", "*8|$1|c|$1|1|$1|e|$1|1|$1|b|$1|9|$1|a|$3|9.5|"),
        ("ZADD none XX 1 a", ":0|"),
        ("ZADD none XX INCR 1 a", "$-1|"),
        ("EXISTS none", ":0|"),
        ("ZADD none GT 1 a", ":1|"),
        ("ZADD z NX XX 1 a", "-ERR XX and NX options at the same time are not compatible|"),
        ("ZADD z NX GT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible|"),
        ("ZADD z GT LT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible|"),
        ("ZADD z INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair|"),
        ("ZADD z NX", "-ERR wrong number of arguments for 'zadd' command|"),
        ("ZADD z NX 1", "-ERR syntax error|"),
        ("ZADD z 1 a 2", "-ERR syntax error|"),
        ("ZADD z 1 x nope y", "-ERR value is not a valid float|"),
        ("ZADD z nan x", "-ERR value is not a valid float|"),
        ("ZADD z 1 x 2 x 1 x", ":1|"),
        ("ZSCORE z x", "$1|1|"),
        ("ZADD z inf i", ":1|"),
        ("ZINCRBY z -inf i", "-ERR resulting score is not a number (NaN)|"),
        ("ZADD z INCR -inf i", "-ERR resulting score is not a number (NaN)|"),
        ("ZINCRBY z nan i", "-ERR value is not a valid float|"),
        ("ZINCRBY z 0.1 new", "$19|0.10000000000000001|"),
        ("ZINCRBY z 0.2 new", "$19|0.30000000000000004|"),
        ("ZADD s 1e400 a", "-ERR value is not a valid float|"),
        ("ZADD s -0 zero 1e20 big 9007199254740993 odd 0x10 hex", ":4|"),
        (
            "ZRANGE s 0 -1 WITHSCORES",
            "*8|$4|zero|$1|0|$3|hex|$2|16|$3|odd|$16|9007199254740992|$3|big|$5|1e+20|",
        ),
        ("SET str v", "+OK|"),
        ("ZADD str 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
        ("ZADD str x a", "-ERR value is not a valid float|"),
        ("ZINCRBY str 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
    ]);
}

#[test]
fn ranges() {
    World::new().check(&[
        ("ZADD z 1 a 2 b 2 bb 3 c inf e -inf f", ":6|"),
        ("ZRANGE z 1 2", "*2|$1|a|$1|b|"),
        ("ZRANGE z -2 -1 REV WITHSCORES", "*4|$1|a|$1|1|$1|f|$4|-inf|"),
        ("ZRANGE z 5 1", "*0|"),
        ("ZRANGE z -100 0", "*1|$1|f|"),
        ("ZRANGE z 9223372036854775807 -9223372036854775808", "*0|"),
        ("ZREVRANGE z 0 0 WITHSCORES", "*2|$1|e|$3|inf|"),
        ("ZRANGE z (1 +inf BYSCORE LIMIT 1 2", "*2|$2|bb|$1|c|"),
        ("ZRANGE z +inf (1 BYSCORE REV LIMIT 1 2 WITHSCORES", "*4|$1|c|$1|3|$2|bb|$1|2|"),
        ("ZRANGEBYSCORE z -inf (2", "*2|$1|f|$1|a|"),
        ("ZRANGEBYSCORE z 3 1", "*0|"),
        ("ZRANGEBYSCORE z 2 3 LIMIT 1 -1", "*2|$2|bb|$1|c|"),
        ("ZRANGEBYSCORE z 2 3 LIMIT 1 -5", "*2|$2|bb|$1|c|"),
        ("ZRANGEBYSCORE z 2 3 LIMIT -1 5", "*0|"),
        ("ZRANGEBYSCORE z 2 3 LIMIT 0 0", "*0|"),
        ("ZRANGEBYSCORE z 2 3 LIMIT 100 1", "*0|"),
        ("ZREVRANGEBYSCORE z 3 2 LIMIT 1 1", "*1|$2|bb|"),
        (
            "ZRANGE z 0 -1 LIMIT 0 1",
            "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX|",
        ),
        ("ZRANGE z 0 -1 LIMIT 0 -1", "*6|$1|f|$1|a|$1|b|$2|bb|$1|c|$1|e|"),
        (
            "ZRANGE z 0 -1 BYLEX WITHSCORES",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX|",
        ),
        ("ZRANGE z 0 -1 BYSCORE BYLEX", "-ERR syntax error|"),
        ("ZRANGE z 0 -1 REV REV", "-ERR syntax error|"),
        ("ZRANGE z a b", "-ERR value is not an integer or out of range|"),
        ("ZRANGE z a b BYSCORE", "-ERR min or max is not a float|"),
        ("ZRANGE z a b BYLEX", "-ERR min or max not valid string range item|"),
        ("ZRANGE z 0 1 BYSCORE LIMIT 0", "-ERR syntax error|"),
        ("ZRANGE z 0 1 BYSCORE LIMIT a 1", "-ERR value is not an integer or out of range|"),
        ("ZREVRANGE z 0 1 REV", "-ERR syntax error|"),
        (
            "ZRANGEBYLEX z - + WITHSCORES",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX|",
        ),
        ("ZCOUNT z (1 2", ":2|"),
        ("ZCOUNT z nan 1", "-ERR min or max is not a float|"),
        ("ZADD l 0 a 0 b 0 c 0 d", ":4|"),
        ("ZRANGEBYLEX l [b (d", "*2|$1|b|$1|c|"),
        ("ZRANGEBYLEX l + -", "*0|"),
        ("ZREVRANGEBYLEX l + (b LIMIT 1 1", "*1|$1|c|"),
        ("ZRANGE l [c - BYLEX REV", "*3|$1|c|$1|b|$1|a|"),
        ("ZLEXCOUNT l (a [c", ":2|"),
        ("ZLEXCOUNT l a c", "-ERR min or max not valid string range item|"),
        ("ZRANGE none 0 -1", "*0|"),
        ("ZRANGE none x y", "-ERR value is not an integer or out of range|"),
        ("ZRANGESTORE dst z 0 1", ":2|"),
        ("ZRANGE dst 0 -1 WITHSCORES", "*4|$1|f|$4|-inf|$1|a|$1|1|"),
        ("ZRANGESTORE dst z (2 +inf BYSCORE LIMIT 1 5", ":1|"),
        ("ZRANGE dst 0 -1", "*1|$1|e|"),
        ("ZRANGESTORE dst z 0 -1 WITHSCORES", "-ERR syntax error|"),
        ("ZRANGESTORE dst none 0 -1", ":0|"),
        ("EXISTS dst", ":0|"),
        ("ZRANGESTORE z z 1 -2 REV", ":4|"),
        ("ZRANGE z 0 -1", "*4|$1|a|$1|b|$2|bb|$1|c|"),
        ("ZREMRANGEBYRANK z -2 -1", ":2|"),
        ("ZREMRANGEBYSCORE z (1 5", ":1|"),
        ("ZREMRANGEBYLEX l (a [c", ":2|"),
        ("ZRANGE l 0 -1", "*2|$1|a|$1|d|"),
        ("ZREMRANGEBYSCORE z x 1", "-ERR min or max is not a float|"),
        ("ZREMRANGEBYRANK l 0 -1", ":2|"),
        ("EXISTS l", ":0|"),
    ]);
}

#[test]
fn pops() {
    World::new().check(&[
        ("ZADD z 1 a 2 b 3 c 4 d 5 e", ":5|"),
        ("ZPOPMIN z", "*2|$1|a|$1|1|"),
        ("ZPOPMAX z 2", "*4|$1|e|$1|5|$1|d|$1|4|"),
        ("ZPOPMIN z 0", "*0|"),
        ("ZPOPMIN z -1", "-ERR value is out of range, must be positive|"),
        ("ZPOPMIN z x", "-ERR value is out of range, must be positive|"),
        ("ZPOPMIN z 1 2", "-ERR syntax error|"),
        ("ZPOPMIN none", "*0|"),
        ("ZPOPMIN none 0", "*0|"),
        ("ZMPOP 2 none z MAX COUNT 9", "*2|$1|z|*2|*2|$1|c|$1|3|*2|$1|b|$1|2|"),
        ("EXISTS z", ":0|"),
        ("ZMPOP 1 z MIN", "*-1|"),
        ("ZADD z 1 a", ":1|"),
        ("ZMPOP 1 z min", "*2|$1|z|*1|*2|$1|a|$1|1|"),
        ("ZMPOP 0 z MIN", "-ERR numkeys should be greater than 0|"),
        ("ZMPOP x z MIN", "-ERR numkeys should be greater than 0|"),
        ("ZMPOP 2 z MIN", "-ERR syntax error|"),
        ("ZMPOP 1 z MIN COUNT", "-ERR syntax error|"),
        ("ZMPOP 1 z MIN COUNT 0", "-ERR count should be greater than 0|"),
        ("ZMPOP 1 z MIN COUNT 1 COUNT 1", "-ERR syntax error|"),
        ("ZMPOP 1 z MIN COUNT x y", "-ERR count should be greater than 0|"),
        ("ZMPOP 9223372036854775807 z MIN", "-ERR syntax error|"),
        ("SET str v", "+OK|"),
        ("ZPOPMIN str", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
        ("ZMPOP 2 str z MIN", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
    ]);
}

#[test]
fn algebra() {
    World::new().check(&[
        ("ZADD a 1 x 2 y 3 z", ":3|"),
        ("ZADD b 10 y 20 z 30 w", ":3|"),
        ("SADD s x q", ":2|"),
        ("SET str v", "+OK|"),
        ("ZUNION 2 a b WITHSCORES", "*8|$1|x|$1|1|$1|y|$2|12|$1|z|$2|23|$1|w|$2|30|"),
        (
            "ZUNION 2 a b WEIGHTS 2 -1 AGGREGATE MAX WITHSCORES",
            "*8|$1|w|$3|-30|$1|x|$1|2|$1|y|$1|4|$1|z|$1|6|",
        ),
        ("ZINTER 2 a b AGGREGATE MIN WITHSCORES", "*4|$1|y|$1|2|$1|z|$1|3|"),
        ("ZINTER 3 a b s", "*0|"),
        ("ZINTER 2 s a WEIGHTS 5 1 WITHSCORES", "*2|$1|x|$1|6|"),
        ("ZDIFF 2 a s WITHSCORES", "*4|$1|y|$1|2|$1|z|$1|3|"),
        ("ZDIFF 2 s a", "*1|$1|q|"),
        ("ZDIFF 1 a WEIGHTS 1", "-ERR syntax error|"),
        ("ZINTERCARD 2 a b", ":2|"),
        ("ZINTERCARD 2 a b LIMIT 1", ":1|"),
        ("ZINTERCARD 2 a b LIMIT -1", "-ERR LIMIT can't be negative|"),
        ("ZINTERCARD 2 a b LIMIT", "-ERR syntax error|"),
        ("ZUNION 0 a", "-ERR at least 1 input key is needed for 'zunion' command|"),
        ("ZINTERCARD 0 a", "-ERR at least 1 input key is needed for 'zintercard' command|"),
        ("ZUNIONSTORE d 0 a", "-ERR at least 1 input key is needed for 'zunionstore' command|"),
        ("ZUNION x a", "-ERR value is not an integer or out of range|"),
        ("ZUNION 2 a", "-ERR syntax error|"),
        ("ZUNION 2 a str WHAT", "-WRONGTYPE Operation against a key holding the wrong kind of value|"),
        ("ZUNION 1 a WHAT", "-ERR syntax error|"),
        ("ZUNION 2 a b WEIGHTS 1", "-ERR syntax error|"),
        ("ZUNION 1 a WEIGHTS nan", "-ERR weight value is not a float|"),
        ("ZUNION 1 a AGGREGATE AVG", "-ERR syntax error|"),
        ("ZUNIONSTORE d 2 a b WITHSCORES", "-ERR syntax error|"),
        ("ZADD p inf i -1 n", ":2|"),
        ("ZADD m -inf i 1 n", ":2|"),
        ("ZUNION 2 p m WITHSCORES", "*4|$1|i|$1|0|$1|n|$1|0|"),
        ("ZINTER 1 p WEIGHTS 0 WITHSCORES", "*4|$1|i|$1|0|$1|n|$2|-0|"),
        ("ZINTER 2 m p WEIGHTS 1 0 AGGREGATE MAX WITHSCORES", "*4|$1|i|$4|-inf|$1|n|$1|1|"),
        ("ZUNION 2 p p WEIGHTS 0 1 WITHSCORES", "*4|$1|n|$2|-1|$1|i|$3|inf|"),
        ("ZUNION 1 m WEIGHTS -0 WITHSCORES", "*4|$1|i|$1|0|$1|n|$2|-0|"),
        ("ZUNION 2 m p WEIGHTS -0 0 WITHSCORES", "*4|$1|i|$1|0|$1|n|$2|-0|"),
        ("ZUNIONSTORE d 1 p WEIGHTS 0", ":2|"),
        ("ZRANGE d 0 -1 WITHSCORES", "*4|$1|i|$1|0|$1|n|$1|0|"),
        ("SET d old", "+OK|"),
        ("ZINTERSTORE d 2 a b WEIGHTS 1 10", ":2|"),
        ("ZRANGE d 0 -1 WITHSCORES", "*4|$1|y|$3|102|$1|z|$3|203|"),
        ("OBJECT ENCODING d", "$8|listpack|"),
        ("ZDIFFSTORE d 2 a a", ":0|"),
        ("EXISTS d", ":0|"),
        ("ZUNIONSTORE a 2 a b AGGREGATE MAX", ":4|"),
        ("ZRANGE a 0 -1 WITHSCORES", "*8|$1|x|$1|1|$1|y|$2|10|$1|z|$2|20|$1|w|$2|30|"),
    ]);
}

#[test]
fn resp3() {
    World::new().resp3(true).check(&[
        ("ZADD z 1 a 2.5 b inf c", ":3|"),
        ("ZRANGE z 0 -1 WITHSCORES", "*3|*2|$1|a|,1|*2|$1|b|,2.5|*2|$1|c|,inf|"),
        ("ZRANGE z 0 -1", "*3|$1|a|$1|b|$1|c|"),
        ("ZSCORE z b", ",2.5|"),
        ("ZMSCORE z a none", "*2|,1|_|"),
        ("ZMSCORE none a", "*1|_|"),
        ("ZADD z INCR 1 a", ",2|"),
        ("ZADD z NX INCR 1 a", "_|"),
        ("ZRANK z none", "_|"),
        ("ZPOPMIN z", "*2|$1|a|,2|"),
        ("ZPOPMAX z 1", "*1|*2|$1|c|,inf|"),
        ("ZPOPMIN none 3", "*0|"),
        ("ZMPOP 1 z MIN COUNT 2", "*2|$1|z|*1|*2|$1|b|,2.5|"),
        ("ZMPOP 1 z MIN", "_|"),
        ("ZADD z 1 a", ":1|"),
        ("ZRANDMEMBER z -2 WITHSCORES", "*2|*2|$1|a|,1|*2|$1|a|,1|"),
        ("ZRANDMEMBER none", "_|"),
        ("ZUNION 2 z z WITHSCORES", "*1|*2|$1|a|,2|"),
        ("ZDIFF 1 z", "*1|$1|a|"),
        ("ZSCAN z 0", "*2|$1|0|*2|$1|a|$1|1|"),
    ]);
}

#[test]
fn picking_and_scanning() {
    World::new().check(&[
        ("ZADD z 1.5 a", ":1|"),
        ("ZRANDMEMBER z", "$1|a|"),
        ("ZRANDMEMBER z 0", "*0|"),
        ("ZRANDMEMBER z 5", "*1|$1|a|"),
        ("ZRANDMEMBER z -3 WITHSCORES", "*6|$1|a|$3|1.5|$1|a|$3|1.5|$1|a|$3|1.5|"),
        ("ZRANDMEMBER none", "$-1|"),
        ("ZRANDMEMBER none 2", "*0|"),
        ("ZRANDMEMBER z x", "-ERR value is not an integer or out of range|"),
        ("ZRANDMEMBER z 1 WHAT", "-ERR syntax error|"),
        ("ZRANDMEMBER z 1 WITHSCORES x", "-ERR syntax error|"),
        (
            "ZRANDMEMBER z -9223372036854775808 WHAT",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807|",
        ),
        ("ZRANDMEMBER z 4611686018427387904 WITHSCORES", "-ERR value is out of range|"),
        ("ZADD z 1e17 big 4 ab", ":2|"),
        ("ZRANDMEMBER z 5 WITHSCORES", "*6|$3|big|$5|1e+17|$2|ab|$1|4|$1|a|$3|1.5|"),
        ("ZSCAN z 0", "*2|$1|0|*6|$1|a|$3|1.5|$2|ab|$1|4|$3|big|$18|100000000000000000|"),
        ("ZSCAN z 0 MATCH a* COUNT 1", "*2|$1|0|*4|$1|a|$3|1.5|$2|ab|$1|4|"),
        ("ZSCAN z 0 COUNT 0", "-ERR syntax error|"),
        ("ZSCAN z x", "-ERR invalid cursor|"),
        ("ZSCAN none 0 WHAT", "*2|$1|0|*0|"),
        ("ZSCAN z 0 WHAT", "-ERR syntax error|"),
        ("ZRANK z ab", ":1|"),
        ("ZREVRANK z ab", ":1|"),
        ("ZMSCORE z a none big", "*3|$3|1.5|$-1|$5|1e+17|"),
        ("ZREM z a none big ab", ":3|"),
        ("EXISTS z", ":0|"),
    ]);
}

/// As Redis 7.2 has it.
#[test]
fn ranks_with_scores() {
    World::new().check(&[
        ("ZADD z 1 a 2.5 b", ":2|"),
        ("ZRANK z b WITHSCORE", "*2|:1|$3|2.5|"),
        ("ZREVRANK z b withscore", "*2|:0|$3|2.5|"),
        ("ZRANK z none WITHSCORE", "*-1|"),
        ("ZRANK none b WITHSCORE", "*-1|"),
        ("ZRANK z b WITHSCORES", "-ERR syntax error|"),
        ("ZRANK z b WITHSCORE x", "-ERR wrong number of arguments for 'zrank' command|"),
        ("ZREVRANK z b x y", "-ERR wrong number of arguments for 'zrevrank' command|"),
    ]);
}

#[test]
fn what_listeners_hear() {
    let mut w = World::new();
    for (line, dirty, want) in [
        ("ZADD z 1 a 2 b 3 c 4 d", 4, &["new:z", "zadd:z"][..]),
        ("ZADD z 1 a 5 d", 1, &["zadd:z"]),
        ("ZADD z 1 a", 0, &[]),
        ("ZADD z XX 1 x", 0, &[]),
        ("ZADD none XX 1 x", 0, &[]),
        ("ZADD z INCR 1 a", 1, &["zincr:z"]),
        ("ZINCRBY z 1 a", 1, &["zincr:z"]),
        ("ZINCRBY z 0 a", 0, &[]),
        ("ZREM z x", 0, &[]),
        ("ZREM z a x", 1, &["zrem:z"]),
        ("ZRANGESTORE d z 0 -1", 1, &["new:d", "zrangestore:d"]),
        ("ZRANGESTORE d z 0 -1", 1, &["zrangestore:d"]),
        ("ZUNIONSTORE d 1 none", 1, &["keymiss:none", "del:d"]),
        ("ZUNIONSTORE d 1 none", 0, &["keymiss:none"]),
        ("ZINTERSTORE d 2 z z", 1, &["new:d", "zinterstore:d"]),
        ("ZDIFFSTORE d 1 z", 1, &["zdiffstore:d"]),
        ("ZUNIONSTORE d 1 z", 1, &["zunionstore:d"]),
        ("ZREMRANGEBYRANK d 0 -1", 3, &["zremrangebyrank:d", "del:d"]),
        ("ZREMRANGEBYSCORE z 2 2", 1, &["zremrangebyscore:z"]),
        ("ZREMRANGEBYLEX z [x [y", 0, &[]),
        ("ZPOPMAX z 0", 0, &[]),
        ("ZPOPMIN z", 1, &["zpopmin:z"]),
        ("ZPOPMAX z 5", 1, &["zpopmax:z", "del:z"]),
        ("ZPOPMAX z", 0, &[]),
        ("ZSCORE z a", 0, &["keymiss:z"]),
    ] {
        w.fx.dirty = 0;
        w.run(line);
        assert_eq!(w.events(), want, "{line}");
        assert_eq!(w.fx.dirty, dirty, "{line}");
    }
}

#[test]
fn a_pop_from_one_of_several_names_its_key() {
    let mut w = World::new();
    w.run("ZADD z 1 a 2 b 3 c");
    w.run("ZMPOP 2 none z MIN");
    assert!(w.fx.instead.is_empty(), "nobody takes it");
    w.fx.propagating = true;
    w.run("ZMPOP 2 none z MAX COUNT 9");
    w.run("ZMPOP 2 none z MAX COUNT 9");
    let told: Vec<Vec<&[u8]>> = w.fx.instead.iter().map(|words| words.as_args().iter().collect()).collect();
    assert_eq!(told, [[&b"ZPOPMAX"[..], b"z", b"2"]]);
}

/// `ZADD key` with members 0 to `n`, each its own score.
fn filled(key: &str, n: usize) -> String {
    (0..n).fold(format!("ZADD {key}"), |line, i| format!("{line} {i} {i}"))
}

#[test]
fn results_are_as_small_as_they_can_be() {
    let mut w = World::new();
    w.run(&filled("z", 200));
    w.run(&filled("small", 128));
    w.check(&[
        ("OBJECT ENCODING z", "$8|skiplist|"),
        ("ZUNIONSTORE d 1 z", ":200|"),
        ("OBJECT ENCODING d", "$8|skiplist|"),
        ("ZINTERSTORE d 2 z small", ":128|"),
        ("OBJECT ENCODING d", "$8|listpack|"),
        ("ZDIFFSTORE d 2 z small", ":72|"),
        ("OBJECT ENCODING d", "$8|listpack|"),
        ("ZRANGESTORE d z 0 128", ":129|"),
        ("OBJECT ENCODING d", "$8|skiplist|"),
        ("ZRANGESTORE d z 0 127", ":128|"),
        ("OBJECT ENCODING d", "$8|listpack|"),
    ]);
}

/// A listpack has no -0, and which ranges pass through one is to be seen.
#[test]
fn stored_ranges_keep_the_sign_of_zero_where_redis_does() {
    let mut w = World::new();
    w.run(&filled("z", 200));
    w.check(&[
        ("ZADD z -0 neg", ":1|"),
        ("ZSCORE z neg", "$2|-0|"),
        ("ZRANGESTORE d z 0 150", ":151|"),
        ("ZSCORE d neg", "$2|-0|"),
        ("ZRANGESTORE d z 0 127", ":128|"),
        ("ZSCORE d neg", "$1|0|"),
        ("ZRANGESTORE d z -inf +inf BYSCORE", ":201|"),
        ("ZSCORE d neg", "$1|0|"),
        ("ZRANGESTORE d z +inf -inf BYSCORE REV", ":201|"),
        ("ZSCORE d neg", "$2|-0|"),
    ]);
}

/// So many small sets that they are taken away one by one, instead of asking each for each member.
#[test]
fn many_small_sets_are_subtracted() {
    let mut w = World::new();
    w.run(&filled("z", 100));
    let mut line = "ZDIFFSTORE d 51 z".to_owned();
    for i in 0..50 {
        w.run(&format!("ZADD one{i} 7 {}", 2 * i));
        line += &format!(" one{i}");
    }
    assert_eq!(w.run(&line), ":50\r\n");
    w.check(&[
        ("ZRANGE d 0 2 WITHSCORES", "*6|$1|1|$1|1|$1|3|$1|3|$1|5|$1|5|"),
        ("OBJECT ENCODING d", "$8|listpack|"),
    ]);
}

/// The bulk strings in a reply, in order.
fn bulks(reply: &str) -> Vec<&str> {
    reply.split("\r\n").filter(|part| !part.is_empty() && !part.starts_with(['*', '$'])).collect()
}

#[test]
fn random_members_are_members() {
    for n in [100, 1000] {
        let mut w = World::new();
        w.run(&filled("z", n));
        for count in [2, n / 2, n - 1, n] {
            let reply = w.run(&format!("ZRANDMEMBER z {count} WITHSCORES"));
            let words = bulks(&reply);
            assert!(words.chunks(2).all(|pair| pair[0] == pair[1]), "members have their own scores");
            let mut members: Vec<usize> = words.iter().step_by(2).map(|m| m.parse().unwrap()).collect();
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), count, "each at most once");
            assert!(members.iter().all(|m| *m < n));
        }
        let reply = w.run(&format!("ZRANDMEMBER z -{}", 20 * n));
        let mut members = bulks(&reply);
        assert_eq!(members.len(), 20 * n);
        members.sort_unstable();
        members.dedup();
        assert!(members.len() > n * 9 / 10, "all of them come up");
    }
}

#[test]
fn a_scan_meets_all() {
    let mut w = World::new();
    w.run(&filled("z", 1000));
    let (mut cursor, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let reply = w.run(&format!("ZSCAN z {cursor} COUNT 50"));
        let words = bulks(&reply);
        cursor = words[0].to_owned();
        assert!(words[1..].chunks(2).all(|pair| pair[0] == pair[1]));
        seen.extend(words[1..].iter().step_by(2).map(|m| m.parse::<usize>().unwrap()));
        if cursor == "0" {
            break;
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.into_iter().eq(0..1000));
}
