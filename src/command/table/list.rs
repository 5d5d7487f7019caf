//! Lists.

use super::row::*;
use crate::command::list;
use crate::command::spec::Route::Home;
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{BLOCKING, DENYOOM, FAST, NOSCRIPT, READONLY, WRITE};
use crate::command::spec::key::{ACCESS, DELETE, INSERT, RO, RW, UPDATE};
use crate::command::spec::{Arg, KeySpec, Run, Spec, acl};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("list", name, arity, flags, keys, run).acl(acl::LIST)
}

/// `timeout` was a whole number once.
const DOUBLE: &[(&str, &str)] = &[("6.0.0", "`timeout` is interpreted as a double instead of an integer.")];
const SIDES: &[Arg] = &[word("left", "LEFT"), word("right", "RIGHT")];
const POP: u32 = RW | ACCESS | DELETE;

pub(super) const ROWS: &[Spec] = &[
    row(
        "blmove",
        6,
        WRITE | DENYOOM | NOSCRIPT | BLOCKING,
        &[at(1, POP), at(2, RW | INSERT)],
        Here(list::blmove),
    )
    .route(Home)
    .doc("6.2.0", "Moves an element between lists, and waits for one if there is none.", "O(1)")
    .args(&[
        key("source"),
        key("destination").spec(1),
        one_of("wherefrom", SIDES),
        one_of("whereto", SIDES),
        double("timeout"),
    ]),
    row("blmpop", -5, WRITE | BLOCKING, &[numkeys(2, POP)], Here(list::blmpop))
        .route(Home)
        .doc(
            "7.0.0",
            "Pops elements from the first of several lists that has any, and waits for one if none has.",
            "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        )
        .args(&[
            double("timeout"),
            int("numkeys"),
            key("key").many(),
            one_of("where", SIDES),
            int("count").after("COUNT").opt(),
        ]),
    row("blpop", -3, WRITE | NOSCRIPT | BLOCKING, &[range(1, -2, 1, POP)], Here(list::blpop))
        .route(Home)
        .doc(
            "2.0.0",
            "Pops the head of the first of several lists that has one, and waits for one if none has.",
            "O(N) where N is the number of provided keys.",
        )
        .history(DOUBLE)
        .args(&[key("key").many(), double("timeout")]),
    row("brpop", -3, WRITE | NOSCRIPT | BLOCKING, &[range(1, -2, 1, POP)], Here(list::brpop))
        .route(Home)
        .doc(
            "2.0.0",
            "Pops the tail of the first of several lists that has one, and waits for one if none has.",
            "O(N) where N is the number of provided keys.",
        )
        .history(DOUBLE)
        .args(&[key("key").many(), double("timeout")]),
    row(
        "brpoplpush",
        4,
        WRITE | DENYOOM | NOSCRIPT | BLOCKING,
        &[at(1, POP), at(2, RW | INSERT)],
        Here(list::brpoplpush),
    )
    .route(Home)
    .doc(
        "2.2.0",
        "Moves the tail of a list to the head of another, and waits for one if there is none.",
        "O(1)",
    )
    .replaced("`BLMOVE` with the `RIGHT` and `LEFT` arguments", "6.2.0")
    .history(DOUBLE)
    .args(&[key("source"), key("destination").spec(1), double("timeout")]),
    row("lindex", 3, READONLY, &[at(1, RO | ACCESS)], Here(list::lindex))
        .doc(
            "1.0.0",
            "Reads the list element at an index.",
            "O(N) where N is the number of elements between the index and the nearer end",
        )
        .args(&[key("key"), int("index")]),
    row("linsert", 5, WRITE | DENYOOM, &[at(1, RW | INSERT)], Here(list::linsert))
        .doc(
            "2.2.0",
            "Inserts an element before or after another one.",
            "O(N) where N is the number of elements before the pivot",
        )
        .args(&[
            key("key"),
            one_of("where", &[word("before", "BEFORE"), word("after", "AFTER")]),
            text("pivot"),
            text("element"),
        ]),
    row("llen", 2, READONLY | FAST, &[at(1, RO)], Here(list::llen))
        .doc("1.0.0", "Tells the length of a list.", "O(1)")
        .args(&[key("key")]),
    row("lmove", 5, WRITE | DENYOOM, &[at(1, RW | ACCESS | DELETE), at(2, RW | INSERT)], Here(list::lmove))
        .doc("6.2.0", "Moves an element from an end of one list to an end of another.", "O(1)")
        .args(&[
            key("source"),
            key("destination").spec(1),
            one_of("wherefrom", &[word("left", "LEFT"), word("right", "RIGHT")]),
            one_of("whereto", &[word("left", "LEFT"), word("right", "RIGHT")]),
        ]),
    row("lmpop", -4, WRITE, &[numkeys(1, RW | ACCESS | DELETE)], Here(list::lmpop))
        .doc(
            "7.0.0",
            "Pops elements from the first of several lists that has any.",
            "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        )
        .args(&[
            int("numkeys"),
            key("key").many(),
            one_of("where", &[word("left", "LEFT"), word("right", "RIGHT")]),
            int("count").after("COUNT").opt(),
        ]),
    row("lpop", -2, WRITE | FAST, &[at(1, RW | ACCESS | DELETE)], Here(list::lpop))
        .doc(
            "1.0.0",
            "Pops elements from the head of a list.",
            "O(N) where N is the number of elements returned",
        )
        .history(&[("6.2.0", "Added the `count` argument.")])
        .args(&[key("key"), int("count").opt().since("6.2.0")]),
    row("lpos", -3, READONLY, &[at(1, RO | ACCESS)], Here(list::lpos))
        .doc(
            "6.0.6",
            "Finds the index of matching elements.",
            "O(N) where N is the number of elements that are looked at",
        )
        .args(&[
            key("key"),
            text("element"),
            int("rank").after("RANK").opt(),
            int("num-matches").after("COUNT").opt(),
            int("len").after("MAXLEN").opt(),
        ]),
    row("lpush", -3, WRITE | DENYOOM | FAST, &[at(1, RW | INSERT)], Here(list::lpush))
        .doc(
            "1.0.0",
            "Pushes elements to the head of a list.",
            "O(N) where N is the number of elements added",
        )
        .history(&[("2.4.0", "Accepts multiple `element` arguments.")])
        .args(&[key("key"), text("element").many()]),
    row("lpushx", -3, WRITE | DENYOOM | FAST, &[at(1, RW | INSERT)], Here(list::lpushx))
        .doc(
            "2.2.0",
            "Pushes elements to the head of a list that exists.",
            "O(N) where N is the number of elements added",
        )
        .history(&[("4.0.0", "Accepts multiple `element` arguments.")])
        .args(&[key("key"), text("element").many()]),
    row("lrange", 4, READONLY, &[at(1, RO | ACCESS)], Here(list::lrange))
        .doc(
            "1.0.0",
            "Reads a range of elements.",
            "O(S+N) where S is the distance of start from the nearer end and N the range's length",
        )
        .args(&[key("key"), int("start"), int("stop")]),
    row("lrem", 4, WRITE, &[at(1, RW | DELETE)], Here(list::lrem))
        .doc(
            "1.0.0",
            "Removes elements equal to a value.",
            "O(N+M) where N is the length of the list and M is the number of elements removed.",
        )
        .args(&[key("key"), int("count"), text("element")]),
    row("lset", 4, WRITE | DENYOOM, &[at(1, RW | UPDATE)], Here(list::lset))
        .doc(
            "1.0.0",
            "Replaces the element at an index.",
            "O(N) where N is the length of the list. O(1) for the first and the last element.",
        )
        .args(&[key("key"), int("index"), text("element")]),
    row("ltrim", 4, WRITE, &[at(1, RW | DELETE)], Here(list::ltrim))
        .doc(
            "1.0.0",
            "Keeps a range of elements and drops the rest.",
            "O(N) where N is the number of elements to be removed by the operation.",
        )
        .args(&[key("key"), int("start"), int("stop")]),
    row("rpop", -2, WRITE | FAST, &[at(1, RW | ACCESS | DELETE)], Here(list::rpop))
        .doc(
            "1.0.0",
            "Pops elements from the tail of a list.",
            "O(N) where N is the number of elements returned",
        )
        .history(&[("6.2.0", "Added the `count` argument.")])
        .args(&[key("key"), int("count").opt().since("6.2.0")]),
    row(
        "rpoplpush",
        3,
        WRITE | DENYOOM,
        &[at(1, RW | ACCESS | DELETE), at(2, RW | INSERT)],
        Here(list::rpoplpush),
    )
    .doc("1.2.0", "Moves the last element of one list to the head of another.", "O(1)")
    .replaced("`LMOVE` with the `RIGHT` and `LEFT` arguments", "6.2.0")
    .args(&[key("source"), key("destination").spec(1)]),
    row("rpush", -3, WRITE | DENYOOM | FAST, &[at(1, RW | INSERT)], Here(list::rpush))
        .doc(
            "1.0.0",
            "Pushes elements to the tail of a list.",
            "O(N) where N is the number of elements added",
        )
        .history(&[("2.4.0", "Accepts multiple `element` arguments.")])
        .args(&[key("key"), text("element").many()]),
    row("rpushx", -3, WRITE | DENYOOM | FAST, &[at(1, RW | INSERT)], Here(list::rpushx))
        .doc(
            "2.2.0",
            "Pushes elements to the tail of a list that exists.",
            "O(N) where N is the number of elements added",
        )
        .history(&[("4.0.0", "Accepts multiple `element` arguments.")])
        .args(&[key("key"), text("element").many()]),
];
