//! Sets.

use super::row::*;
use crate::command::set;
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::command::spec::key::{ACCESS, DELETE, INSERT, OW, RO, RW, UPDATE};
use crate::command::spec::{KeySpec, Run, Spec, acl};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("set", name, arity, flags, keys, run).acl(acl::SET)
}

pub(super) const ROWS: &[Spec] = &[
    row("sadd", -3, WRITE | DENYOOM | FAST, &[at(1, RW | INSERT)], Here(set::sadd))
        .doc("1.0.0", "Adds members to a set.", "O(N) where N is the number of members added")
        .history(&[("2.4.0", "Accepts multiple `member` arguments.")])
        .args(&[key("key"), text("member").many()]),
    row("scard", 2, READONLY | FAST, &[at(1, RO)], Here(set::scard))
        .doc("1.0.0", "Counts the members of a set.", "O(1)")
        .args(&[key("key")]),
    row("sdiff", -2, READONLY, &[range(1, -1, 1, RO | ACCESS)], Here(set::sdiff))
        .doc("1.0.0", "Subtracts sets.", "O(N) where N is the total number of elements in all given sets.")
        .tips(&["nondeterministic_output_order"])
        .args(&[key("key").many()]),
    row(
        "sdiffstore",
        -3,
        WRITE | DENYOOM,
        &[at(1, OW | UPDATE), range(2, -1, 1, RO | ACCESS)],
        Here(set::sdiffstore),
    )
    .doc(
        "1.0.0",
        "Subtracts sets and stores the result.",
        "O(N) where N is the total number of elements in all given sets.",
    )
    .args(&[key("destination"), key("key").spec(1).many()]),
    row("sinter", -2, READONLY, &[range(1, -1, 1, RO | ACCESS)], Here(set::sinter))
        .doc(
            "1.0.0",
            "Intersects sets.",
            "O(N*M) worst case where N is the size of the smallest set and M the number of sets",
        )
        .tips(&["nondeterministic_output_order"])
        .args(&[key("key").many()]),
    row("sintercard", -3, READONLY, &[numkeys(1, RO | ACCESS)], Here(set::sintercard))
        .doc(
            "7.0.0",
            "Counts the members of an intersection of sets.",
            "O(N*M) worst case where N is the size of the smallest set and M the number of sets",
        )
        .args(&[int("numkeys"), key("key").many(), int("limit").after("LIMIT").opt()]),
    row(
        "sinterstore",
        -3,
        WRITE | DENYOOM,
        &[at(1, RW | UPDATE), range(2, -1, 1, RO | ACCESS)],
        Here(set::sinterstore),
    )
    .doc(
        "1.0.0",
        "Intersects sets and stores the result.",
        "O(N*M) worst case where N is the size of the smallest set and M the number of sets",
    )
    .args(&[key("destination"), key("key").spec(1).many()]),
    row("sismember", 3, READONLY | FAST, &[at(1, RO)], Here(set::sismember))
        .doc("1.0.0", "Tells whether a set has a member.", "O(1)")
        .args(&[key("key"), text("member")]),
    row("smembers", 2, READONLY, &[at(1, RO | ACCESS)], Here(set::smembers))
        .doc("1.0.0", "Lists the members of a set.", "O(N) where N is the set cardinality.")
        .tips(&["nondeterministic_output_order"])
        .args(&[key("key")]),
    row("smismember", -3, READONLY | FAST, &[at(1, RO | ACCESS)], Here(set::smismember))
        .doc(
            "6.2.0",
            "Tells which of several members a set has.",
            "O(N) where N is the number of elements being checked for membership",
        )
        .args(&[key("key"), text("member").many()]),
    row("smove", 4, WRITE | FAST, &[at(1, RW | ACCESS | DELETE), at(2, RW | INSERT)], Here(set::smove))
        .doc("1.0.0", "Moves a member from one set to another.", "O(1)")
        .args(&[key("source"), key("destination").spec(1), text("member")]),
    row("spop", -2, WRITE | FAST, &[at(1, RW | ACCESS | DELETE)], Here(set::spop))
        .doc("1.0.0", "Removes members of a set at random.", "O(N) where N is the count, 1 without one")
        .history(&[("3.2.0", "Added the `count` argument.")])
        .tips(&["nondeterministic_output"])
        .args(&[key("key"), int("count").opt().since("3.2.0")]),
    row("srandmember", -2, READONLY, &[at(1, RO | ACCESS)], Here(set::srandmember))
        .doc(
            "1.0.0",
            "Picks members of a set at random.",
            "O(N) where N is the absolute value of the count, 1 without one",
        )
        .history(&[("2.6.0", "Added the optional `count` argument.")])
        .tips(&["nondeterministic_output"])
        .args(&[key("key"), int("count").opt().since("2.6.0")]),
    row("srem", -3, WRITE | FAST, &[at(1, RW | DELETE)], Here(set::srem))
        .doc("1.0.0", "Removes members of a set.", "O(N) where N is the number of members to be removed.")
        .history(&[("2.4.0", "Accepts multiple `member` arguments.")])
        .args(&[key("key"), text("member").many()]),
    row("sscan", -3, READONLY, &[at(1, RO | ACCESS)], Here(set::sscan))
        .doc(
            "2.8.0",
            "Walks over the members of a set.",
            "O(1) for every call. O(N) for a complete iteration over N members.",
        )
        .tips(&["nondeterministic_output"])
        .args(SCAN),
    row("sunion", -2, READONLY, &[range(1, -1, 1, RO | ACCESS)], Here(set::sunion))
        .doc("1.0.0", "Unites sets.", "O(N) where N is the total number of elements in all given sets.")
        .tips(&["nondeterministic_output_order"])
        .args(&[key("key").many()]),
    row(
        "sunionstore",
        -3,
        WRITE | DENYOOM,
        &[at(1, OW | UPDATE), range(2, -1, 1, RO | ACCESS)],
        Here(set::sunionstore),
    )
    .doc(
        "1.0.0",
        "Unites sets and stores the result.",
        "O(N) where N is the total number of elements in all given sets.",
    )
    .args(&[key("destination"), key("key").spec(1).many()]),
];
