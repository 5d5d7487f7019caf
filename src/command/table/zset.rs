//! Sorted sets.

use super::row::*;
use crate::command::spec::Route::Home;
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{BLOCKING, DENYOOM, FAST, NOSCRIPT, READONLY, WRITE};
use crate::command::spec::key::{ACCESS, DELETE, OW, RO, RW, UPDATE};
use crate::command::spec::{Arg, KeySpec, Run, Spec, acl};
use crate::command::zset;

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("sorted-set", name, arity, flags, keys, run).acl(acl::SORTEDSET)
}

/// `timeout` was a whole number once.
const DOUBLE: &[(&str, &str)] = &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")];

/// How scores are joined.
const WEIGHTS: Arg = int("weight").after("WEIGHTS").opt().many();
const AGGREGATE: Arg = one_of("aggregate", &[word("sum", "SUM"), word("min", "MIN"), word("max", "MAX")])
    .after("AGGREGATE")
    .opt();
const STORED: &[Arg] = &[key("destination"), int("numkeys"), key("key").spec(1).many(), WEIGHTS, AGGREGATE];

pub(super) const ROWS: &[Spec] = &[
    row("bzmpop", -5, WRITE | BLOCKING, &[numkeys(2, RW | ACCESS | DELETE)], Here(zset::bzmpop))
        .route(Home)
        .doc(
            "7.0.0",
            "Pops members from the first of several sorted sets that has any, and waits for one if none has.",
            "O(K) + O(M*log(N)) where K is the number of keys, N the set's size, M the number popped",
        )
        .args(&[
            double("timeout"),
            int("numkeys"),
            key("key").many(),
            one_of("where", &[word("min", "MIN"), word("max", "MAX")]),
            int("count").after("COUNT").opt(),
        ]),
    row(
        "bzpopmax",
        -3,
        WRITE | NOSCRIPT | FAST | BLOCKING,
        &[range(1, -2, 1, RW | ACCESS | DELETE)],
        Here(zset::bzpopmax),
    )
    .route(Home)
    .doc(
        "5.0.0",
        "Pops the member with the highest score of the first of several sorted sets that has one, or waits.",
        "O(log(N)) with N being the number of elements in the sorted set.",
    )
    .history(DOUBLE)
    .args(&[key("key").many(), double("timeout")]),
    row(
        "bzpopmin",
        -3,
        WRITE | NOSCRIPT | FAST | BLOCKING,
        &[range(1, -2, 1, RW | ACCESS | DELETE)],
        Here(zset::bzpopmin),
    )
    .route(Home)
    .doc(
        "5.0.0",
        "Pops the member with the lowest score of the first of several sorted sets that has one, or waits.",
        "O(log(N)) with N being the number of elements in the sorted set.",
    )
    .history(DOUBLE)
    .args(&[key("key").many(), double("timeout")]),
    row("zadd", -4, WRITE | DENYOOM | FAST, &[at(1, RW | UPDATE)], Here(zset::zadd))
        .doc(
            "1.2.0",
            "Adds members to a sorted set or changes their scores.",
            "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        )
        .history(&[
            ("2.4.0", "Accepts multiple elements."),
            ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
            ("6.2.0", "Added the `GT` and `LT` options."),
        ])
        .args(&[
            key("key"),
            one_of("condition", &[word("nx", "NX"), word("xx", "XX")]).opt().since("3.0.2"),
            one_of("comparison", &[word("gt", "GT"), word("lt", "LT")]).opt().since("6.2.0"),
            word("change", "CH").opt().since("3.0.2"),
            word("increment", "INCR").opt().since("3.0.2"),
            block("score_member", &[double("score"), text("member")]).many(),
        ]),
    row("zcard", 2, READONLY | FAST, &[at(1, RO)], Here(zset::zcard))
        .doc("1.2.0", "Counts the members of a sorted set.", "O(1)")
        .args(&[key("key")]),
    row("zcount", 4, READONLY | FAST, &[at(1, RO | ACCESS)], Here(zset::zcount))
        .doc(
            "2.0.0",
            "Counts the members with scores in a range.",
            "O(log(N)) with N being the number of elements in the sorted set.",
        )
        .args(&[key("key"), double("min"), double("max")]),
    row("zdiff", -3, READONLY, &[numkeys(1, RO | ACCESS)], Here(zset::zdiff))
        .doc(
            "6.2.0",
            "Subtracts sorted sets.",
            "O(L+(N-K)*log(N)) where L is the size of all sets, N of the first, K of the result",
        )
        .args(&[int("numkeys"), key("key").many(), word("withscores", "WITHSCORES").opt()]),
    row(
        "zdiffstore",
        -4,
        WRITE | DENYOOM,
        &[at(1, OW | UPDATE), numkeys(2, RO | ACCESS)],
        Here(zset::zdiffstore),
    )
    .doc(
        "6.2.0",
        "Subtracts sorted sets and stores the result.",
        "O(L+(N-K)*log(N)) where L is the size of all sets, N of the first, K of the result",
    )
    .args(&[key("destination"), int("numkeys"), key("key").spec(1).many()]),
    row("zincrby", 4, WRITE | DENYOOM | FAST, &[at(1, RW | ACCESS | UPDATE)], Here(zset::zincrby))
        .doc(
            "1.2.0",
            "Adds a number to a member's score.",
            "O(log(N)) where N is the number of elements in the sorted set.",
        )
        .args(&[key("key"), int("increment"), text("member")]),
    row("zinter", -3, READONLY, &[numkeys(1, RO | ACCESS)], Here(zset::zinter))
        .doc(
            "6.2.0",
            "Intersects sorted sets.",
            "O(N*K+M*log(M)) where N is the size of the smallest of K sets and M of the result",
        )
        .args(&[
            int("numkeys"),
            key("key").many(),
            WEIGHTS,
            AGGREGATE,
            word("withscores", "WITHSCORES").opt(),
        ]),
    row("zintercard", -3, READONLY, &[numkeys(1, RO | ACCESS)], Here(zset::zintercard))
        .doc(
            "7.0.0",
            "Counts the members of an intersection of sorted sets.",
            "O(N*K) worst case where N is the size of the smallest of K sets",
        )
        .args(&[int("numkeys"), key("key").many(), int("limit").after("LIMIT").opt()]),
    row(
        "zinterstore",
        -4,
        WRITE | DENYOOM,
        &[at(1, OW | UPDATE), numkeys(2, RO | ACCESS)],
        Here(zset::zinterstore),
    )
    .doc(
        "2.0.0",
        "Intersects sorted sets and stores the result.",
        "O(N*K+M*log(M)) where N is the size of the smallest of K sets and M of the result",
    )
    .args(STORED),
    row("zlexcount", 4, READONLY | FAST, &[at(1, RO | ACCESS)], Here(zset::zlexcount))
        .doc(
            "2.8.9",
            "Counts the members in a lexicographic range.",
            "O(log(N)) with N being the number of elements in the sorted set.",
        )
        .args(&[key("key"), text("min"), text("max")]),
    row("zmpop", -4, WRITE, &[numkeys(1, RW | ACCESS | DELETE)], Here(zset::zmpop))
        .doc(
            "7.0.0",
            "Pops members from the first of several sorted sets that has any.",
            "O(K+M*log(N)) where K is the number of keys, N the set's size, M the number popped",
        )
        .args(&[
            int("numkeys"),
            key("key").many(),
            one_of("where", &[word("min", "MIN"), word("max", "MAX")]),
            int("count").after("COUNT").opt(),
        ]),
    row("zmscore", -3, READONLY | FAST, &[at(1, RO | ACCESS)], Here(zset::zmscore))
        .doc(
            "6.2.0",
            "Reads the scores of several members.",
            "O(N) where N is the number of members being requested.",
        )
        .args(&[key("key"), text("member").many()]),
    row("zpopmax", -2, WRITE | FAST, &[at(1, RW | ACCESS | DELETE)], Here(zset::zpopmax))
        .doc(
            "5.0.0",
            "Pops the members with the highest scores.",
            "O(log(N)*M) where N is the size of the set and M the number of members popped",
        )
        .args(&[key("key"), int("count").opt()]),
    row("zpopmin", -2, WRITE | FAST, &[at(1, RW | ACCESS | DELETE)], Here(zset::zpopmin))
        .doc(
            "5.0.0",
            "Pops the members with the lowest scores.",
            "O(log(N)*M) where N is the size of the set and M the number of members popped",
        )
        .args(&[key("key"), int("count").opt()]),
    row("zrandmember", -2, READONLY, &[at(1, RO | ACCESS)], Here(zset::zrandmember))
        .doc(
            "6.2.0",
            "Picks members of a sorted set at random.",
            "O(N) where N is the number of elements returned",
        )
        .tips(&["nondeterministic_output"])
        .args(&[key("key"), block("options", &[int("count"), word("withscores", "WITHSCORES").opt()]).opt()]),
    row("zrange", -4, READONLY, &[at(1, RO | ACCESS)], Here(zset::zrange))
        .doc(
            "1.2.0",
            "Reads a range of members, by rank, score or name.",
            "O(log(N)+M) where N is the size of the set and M the number of members returned",
        )
        .history(&[("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.")])
        .args(&[
            key("key"),
            text("start"),
            text("stop"),
            one_of("sortby", &[word("byscore", "BYSCORE"), word("bylex", "BYLEX")]).opt().since("6.2.0"),
            word("rev", "REV").opt().since("6.2.0"),
            block("offset_count", &[int("offset"), int("count")]).after("LIMIT").opt().since("6.2.0"),
            word("withscores", "WITHSCORES").opt(),
        ]),
    row("zrangebylex", -4, READONLY, &[at(1, RO | ACCESS)], Here(zset::zrangebylex))
        .doc(
            "2.8.9",
            "Reads the members in a lexicographic range.",
            "O(log(N)+M) where N is the size of the set and M the number of members returned",
        )
        .replaced("`ZRANGE` with the `BYLEX` argument", "6.2.0")
        .args(&[
            key("key"),
            text("min"),
            text("max"),
            block("offset_count", &[int("offset"), int("count")]).after("LIMIT").opt(),
        ]),
    row("zrangebyscore", -4, READONLY, &[at(1, RO | ACCESS)], Here(zset::zrangebyscore))
        .doc(
            "1.0.5",
            "Reads the members with scores in a range.",
            "O(log(N)+M) where N is the size of the set and M the number of members returned",
        )
        .replaced("`ZRANGE` with the `BYSCORE` argument", "6.2.0")
        .history(&[("2.0.0", "Added the `WITHSCORES` modifier.")])
        .args(&[
            key("key"),
            double("min"),
            double("max"),
            word("withscores", "WITHSCORES").opt().since("2.0.0"),
            block("offset_count", &[int("offset"), int("count")]).after("LIMIT").opt(),
        ]),
    row(
        "zrangestore",
        -5,
        WRITE | DENYOOM,
        &[at(1, OW | UPDATE), at(2, RO | ACCESS)],
        Here(zset::zrangestore),
    )
    .doc(
        "6.2.0",
        "Stores a range of a sorted set in another.",
        "O(log(N)+M) where N is the size of the set and M the number of members stored",
    )
    .args(&[
        key("dst"),
        key("src").spec(1),
        text("min"),
        text("max"),
        one_of("sortby", &[word("byscore", "BYSCORE"), word("bylex", "BYLEX")]).opt(),
        word("rev", "REV").opt(),
        block("offset_count", &[int("offset"), int("count")]).after("LIMIT").opt(),
    ]),
    row("zrank", -3, READONLY | FAST, &[at(1, RO | ACCESS)], Here(zset::zrank))
        .doc("2.0.0", "Tells the rank of a member, lowest score first.", "O(log(N))")
        .history(&[("7.2.0", "Added the optional `WITHSCORE` argument.")])
        .args(&[key("key"), text("member"), word("withscore", "WITHSCORE").opt()]),
    row("zrem", -3, WRITE | FAST, &[at(1, RW | DELETE)], Here(zset::zrem))
        .doc(
            "1.2.0",
            "Removes members of a sorted set.",
            "O(M*log(N)) where N is the size of the set and M the number of members removed",
        )
        .history(&[("2.4.0", "Accepts multiple elements.")])
        .args(&[key("key"), text("member").many()]),
    row("zremrangebylex", 4, WRITE, &[at(1, RW | DELETE)], Here(zset::zremrangebylex))
        .doc(
            "2.8.9",
            "Removes the members in a lexicographic range.",
            "O(log(N)+M) where N is the size of the set and M the number of members removed",
        )
        .args(&[key("key"), text("min"), text("max")]),
    row("zremrangebyrank", 4, WRITE, &[at(1, RW | DELETE)], Here(zset::zremrangebyrank))
        .doc(
            "2.0.0",
            "Removes the members in a range of ranks.",
            "O(log(N)+M) where N is the size of the set and M the number of members removed",
        )
        .args(&[key("key"), int("start"), int("stop")]),
    row("zremrangebyscore", 4, WRITE, &[at(1, RW | DELETE)], Here(zset::zremrangebyscore))
        .doc(
            "1.2.0",
            "Removes the members with scores in a range.",
            "O(log(N)+M) where N is the size of the set and M the number of members removed",
        )
        .args(&[key("key"), double("min"), double("max")]),
    row("zrevrange", -4, READONLY, &[at(1, RO | ACCESS)], Here(zset::zrevrange))
        .doc(
            "1.2.0",
            "Reads a range of members by rank, highest score first.",
            "O(log(N)+M) where N is the size of the set and M the number of members returned",
        )
        .replaced("`ZRANGE` with the `REV` argument", "6.2.0")
        .args(&[key("key"), int("start"), int("stop"), word("withscores", "WITHSCORES").opt()]),
    row("zrevrangebylex", -4, READONLY, &[at(1, RO | ACCESS)], Here(zset::zrevrangebylex))
        .doc(
            "2.8.9",
            "Reads the members in a lexicographic range, backwards.",
            "O(log(N)+M) where N is the size of the set and M the number of members returned",
        )
        .replaced("`ZRANGE` with the `REV` and `BYLEX` arguments", "6.2.0")
        .args(&[
            key("key"),
            text("max"),
            text("min"),
            block("offset_count", &[int("offset"), int("count")]).after("LIMIT").opt(),
        ]),
    row("zrevrangebyscore", -4, READONLY, &[at(1, RO | ACCESS)], Here(zset::zrevrangebyscore))
        .doc(
            "2.2.0",
            "Reads the members with scores in a range, highest first.",
            "O(log(N)+M) where N is the size of the set and M the number of members returned",
        )
        .replaced("`ZRANGE` with the `REV` and `BYSCORE` arguments", "6.2.0")
        .history(&[("2.1.6", "`min` and `max` can be exclusive.")])
        .args(&[
            key("key"),
            double("max"),
            double("min"),
            word("withscores", "WITHSCORES").opt(),
            block("offset_count", &[int("offset"), int("count")]).after("LIMIT").opt(),
        ]),
    row("zrevrank", -3, READONLY | FAST, &[at(1, RO | ACCESS)], Here(zset::zrevrank))
        .doc("2.0.0", "Tells the rank of a member, highest score first.", "O(log(N))")
        .history(&[("7.2.0", "Added the optional `WITHSCORE` argument.")])
        .args(&[key("key"), text("member"), word("withscore", "WITHSCORE").opt()]),
    row("zscan", -3, READONLY, &[at(1, RO | ACCESS)], Here(zset::zscan))
        .doc(
            "2.8.0",
            "Walks over the members and scores of a sorted set.",
            "O(1) for every call. O(N) for a complete iteration over N members.",
        )
        .tips(&["nondeterministic_output"])
        .args(SCAN),
    row("zscore", 3, READONLY | FAST, &[at(1, RO | ACCESS)], Here(zset::zscore))
        .doc("1.2.0", "Reads the score of a member.", "O(1)")
        .args(&[key("key"), text("member")]),
    row("zunion", -3, READONLY, &[numkeys(1, RO | ACCESS)], Here(zset::zunion))
        .doc(
            "6.2.0",
            "Unites sorted sets.",
            "O(N+M*log(M)) where N is the size of all sets and M of the result",
        )
        .args(&[
            int("numkeys"),
            key("key").many(),
            WEIGHTS,
            AGGREGATE,
            word("withscores", "WITHSCORES").opt(),
        ]),
    row(
        "zunionstore",
        -4,
        WRITE | DENYOOM,
        &[at(1, OW | UPDATE), numkeys(2, RO | ACCESS)],
        Here(zset::zunionstore),
    )
    .doc(
        "2.0.0",
        "Unites sorted sets and stores the result.",
        "O(N+M*log(M)) where N is the size of all sets and M of the result",
    )
    .args(STORED),
];
