//! Hashes.

use super::row::*;
use crate::command::hash;
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::command::spec::key::{ACCESS, DELETE, INSERT, RO, RW, UPDATE};
use crate::command::spec::{KeySpec, Run, Spec, acl};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("hash", name, arity, flags, keys, run).acl(acl::HASH)
}

pub(super) const ROWS: &[Spec] = &[
    row("hdel", -3, WRITE | FAST, &[at(1, RW | DELETE)], Here(hash::hdel))
        .doc("2.0.0", "Deletes fields of a hash.", "O(N) where N is the number of fields to be removed.")
        .history(&[("2.4.0", "Accepts multiple `field` arguments.")])
        .args(&[key("key"), text("field").many()]),
    row("hexists", 3, READONLY | FAST, &[at(1, RO)], Here(hash::hexists))
        .doc("2.0.0", "Tells whether a hash has a field.", "O(1)")
        .args(&[key("key"), text("field")]),
    row("hget", 3, READONLY | FAST, &[at(1, RO | ACCESS)], Here(hash::hget))
        .doc("2.0.0", "Reads a field of a hash.", "O(1)")
        .args(&[key("key"), text("field")]),
    row("hgetall", 2, READONLY, &[at(1, RO | ACCESS)], Here(hash::hgetall))
        .doc("2.0.0", "Reads all fields and values of a hash.", "O(N) where N is the size of the hash.")
        .tips(&["nondeterministic_output_order"])
        .args(&[key("key")]),
    row("hincrby", 4, WRITE | DENYOOM | FAST, &[at(1, RW | ACCESS | UPDATE)], Here(hash::hincrby))
        .doc("2.0.0", "Adds a number to a field.", "O(1)")
        .args(&[key("key"), text("field"), int("increment")]),
    row("hincrbyfloat", 4, WRITE | DENYOOM | FAST, &[at(1, RW | ACCESS | UPDATE)], Here(hash::hincrbyfloat))
        .doc("2.6.0", "Adds a floating-point number to a field.", "O(1)")
        .args(&[key("key"), text("field"), double("increment")]),
    row("hkeys", 2, READONLY, &[at(1, RO | ACCESS)], Here(hash::hkeys))
        .doc("2.0.0", "Lists the fields of a hash.", "O(N) where N is the size of the hash.")
        .tips(&["nondeterministic_output_order"])
        .args(&[key("key")]),
    row("hlen", 2, READONLY | FAST, &[at(1, RO)], Here(hash::hlen))
        .doc("2.0.0", "Counts the fields of a hash.", "O(1)")
        .args(&[key("key")]),
    row("hmget", -3, READONLY | FAST, &[at(1, RO | ACCESS)], Here(hash::hmget))
        .doc(
            "2.0.0",
            "Reads several fields of a hash.",
            "O(N) where N is the number of fields being requested.",
        )
        .args(&[key("key"), text("field").many()]),
    row("hmset", -4, WRITE | DENYOOM | FAST, &[at(1, RW | UPDATE)], Here(hash::hmset))
        .doc("2.0.0", "Stores several fields of a hash.", "O(N) where N is the number of fields being set.")
        .replaced("`HSET` with multiple field-value pairs", "4.0.0")
        .args(&[key("key"), block("field_value", &[text("field"), text("value")]).many()]),
    row("hrandfield", -2, READONLY, &[at(1, RO | ACCESS)], Here(hash::hrandfield))
        .doc("6.2.0", "Picks fields of a hash at random.", "O(N) where N is the number of fields returned")
        .tips(&["nondeterministic_output"])
        .args(&[key("key"), block("options", &[int("count"), word("withvalues", "WITHVALUES").opt()]).opt()]),
    row("hscan", -3, READONLY, &[at(1, RO | ACCESS)], Here(hash::hscan))
        .doc(
            "2.8.0",
            "Walks over the fields and values of a hash.",
            "O(1) for every call. O(N) for a complete iteration over N fields.",
        )
        .tips(&["nondeterministic_output"])
        .args(SCAN),
    row("hset", -4, WRITE | DENYOOM | FAST, &[at(1, RW | UPDATE)], Here(hash::hset))
        .doc("2.0.0", "Stores fields of a hash.", "O(N) where N is the number of fields stored")
        .history(&[("4.0.0", "Accepts multiple `field` and `value` arguments.")])
        .args(&[key("key"), block("field_value", &[text("field"), text("value")]).many()]),
    row("hsetnx", 4, WRITE | DENYOOM | FAST, &[at(1, RW | INSERT)], Here(hash::hsetnx))
        .doc("2.0.0", "Stores a field of a hash unless it exists.", "O(1)")
        .args(&[key("key"), text("field"), text("value")]),
    row("hstrlen", 3, READONLY | FAST, &[at(1, RO)], Here(hash::hstrlen))
        .doc("3.2.0", "Tells the length of a field's value.", "O(1)")
        .args(&[key("key"), text("field")]),
    row("hvals", 2, READONLY, &[at(1, RO | ACCESS)], Here(hash::hvals))
        .doc("2.0.0", "Lists the values of a hash.", "O(N) where N is the size of the hash.")
        .tips(&["nondeterministic_output_order"])
        .args(&[key("key")]),
];
