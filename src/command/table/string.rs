//! Strings.

use super::row::*;
use crate::command::spec::Route::Split;
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{DENYOOM, FAST, READONLY, WRITE};
use crate::command::spec::key::{ACCESS, DELETE, INSERT, OW, RO, RW, UPDATE, VARIABLE_FLAGS};
use crate::command::spec::{Join, KeySpec, Run, Spec, acl};
use crate::command::string;

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("string", name, arity, flags, keys, run).acl(acl::STRING)
}

pub(super) const ROWS: &[Spec] = &[
    row("append", 3, WRITE | DENYOOM | FAST, &[at(1, RW | INSERT)], Here(string::append))
        .doc(
            "2.0.0",
            "Appends to a string, creating it when there is none.",
            "O(1) amortized, for a small appended value",
        )
        .args(&[key("key"), text("value")]),
    row("decr", 2, WRITE | DENYOOM | FAST, &[at(1, RW | ACCESS | UPDATE)], Here(string::decr))
        .doc("1.0.0", "Takes one from a counter.", "O(1)")
        .args(&[key("key")]),
    row("decrby", 3, WRITE | DENYOOM | FAST, &[at(1, RW | ACCESS | UPDATE)], Here(string::decrby))
        .doc("1.0.0", "Takes a number from a counter.", "O(1)")
        .args(&[key("key"), int("decrement")]),
    row("get", 2, READONLY | FAST, &[at(1, RO | ACCESS)], Here(string::get))
        .doc("1.0.0", "Reads a string.", "O(1)")
        .args(&[key("key")]),
    row("getdel", 2, WRITE | FAST, &[at(1, RW | ACCESS | DELETE)], Here(string::getdel))
        .doc("6.2.0", "Reads a string and deletes its key.", "O(1)")
        .args(&[key("key")]),
    row(
        "getex",
        -2,
        WRITE | FAST,
        &[at(1, RW | ACCESS | UPDATE).note("RW and UPDATE because it changes the TTL")],
        Here(string::getex),
    )
    .doc("6.2.0", "Reads a string and sets or removes its key's expiry.", "O(1)")
    .args(&[
        key("key"),
        one_of(
            "expiration",
            &[
                int("seconds").after("EX"),
                int("milliseconds").after("PX"),
                unix_time("unix-time-seconds").after("EXAT"),
                unix_time("unix-time-milliseconds").after("PXAT"),
                word("persist", "PERSIST"),
            ],
        )
        .opt(),
    ]),
    row("getrange", 4, READONLY, &[at(1, RO | ACCESS)], Here(string::getrange))
        .doc("2.4.0", "Reads a part of a string.", "O(N) where N is the length of the returned string")
        .args(&[key("key"), int("start"), int("end")]),
    row("getset", 3, WRITE | DENYOOM | FAST, &[at(1, RW | ACCESS | UPDATE)], Here(string::getset))
        .doc("1.0.0", "Stores a string and returns the one before.", "O(1)")
        .replaced("`SET` with the `!GET` argument", "6.2.0")
        .args(&[key("key"), text("value")]),
    row("incr", 2, WRITE | DENYOOM | FAST, &[at(1, RW | ACCESS | UPDATE)], Here(string::incr))
        .doc("1.0.0", "Adds one to a counter.", "O(1)")
        .args(&[key("key")]),
    row("incrby", 3, WRITE | DENYOOM | FAST, &[at(1, RW | ACCESS | UPDATE)], Here(string::incrby))
        .doc("1.0.0", "Adds a number to a counter.", "O(1)")
        .args(&[key("key"), int("increment")]),
    row("incrbyfloat", 3, WRITE | DENYOOM | FAST, &[at(1, RW | ACCESS | UPDATE)], Here(string::incrbyfloat))
        .doc("2.6.0", "Adds a floating-point number to a counter.", "O(1)")
        .args(&[key("key"), double("increment")]),
    row("lcs", -3, READONLY, &[range(1, 1, 1, RO | ACCESS)], Here(string::lcs))
        .doc(
            "7.0.0",
            "Finds the longest common subsequence of two strings.",
            "O(N*M) where N and M are the lengths of s1 and s2, respectively",
        )
        .args(&[
            key("key1"),
            key("key2"),
            word("len", "LEN").opt(),
            word("idx", "IDX").opt(),
            int("len").after("MINMATCHLEN").opt(),
            word("withmatchlen", "WITHMATCHLEN").opt(),
        ]),
    row("mget", -2, READONLY | FAST, &[range(1, -1, 1, RO | ACCESS)], Here(string::mget))
        .doc("1.0.0", "Reads several strings.", "O(N) where N is the number of keys to retrieve.")
        .route(Split { step: 1, join: Join::Places })
        .tips(&["request_policy:multi_shard"])
        .args(&[key("key").many()]),
    row("mset", -3, WRITE | DENYOOM, &[range(1, -1, 2, OW | UPDATE)], Here(string::mset))
        .doc("1.0.1", "Stores several strings.", "O(N) where N is the number of keys to set.")
        .route(Split { step: 2, join: Join::Ok })
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .args(&[block("key_value", &[key("key"), text("value")]).many()]),
    row("msetnx", -3, WRITE | DENYOOM, &[range(1, -1, 2, OW | INSERT)], Here(string::msetnx))
        .doc(
            "1.0.1",
            "Stores several strings when none of their keys exists.",
            "O(N) where N is the number of keys to set.",
        )
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .args(&[block("key_value", &[key("key"), text("value")]).many()]),
    row("psetex", 4, WRITE | DENYOOM, &[at(1, OW | UPDATE)], Here(string::psetex))
        .doc("2.6.0", "Stores a string with an expiry in milliseconds.", "O(1)")
        .args(&[key("key"), int("milliseconds"), text("value")]),
    row(
        "set",
        -3,
        WRITE | DENYOOM,
        &[at(1, RW | ACCESS | UPDATE | VARIABLE_FLAGS)
            .note("RW and ACCESS due to the optional `GET` argument")],
        Here(string::set),
    )
    .doc("1.0.0", "Stores a string, whatever the key held before.", "O(1)")
    .history(&[
        ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
        ("6.0.0", "Added the `KEEPTTL` option."),
        ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
        ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
    ])
    .args(&[
        key("key"),
        text("value"),
        one_of("condition", &[word("nx", "NX"), word("xx", "XX")]).opt().since("2.6.12"),
        word("get", "GET").opt().since("6.2.0"),
        one_of(
            "expiration",
            &[
                int("seconds").after("EX").since("2.6.12"),
                int("milliseconds").after("PX").since("2.6.12"),
                unix_time("unix-time-seconds").after("EXAT").since("6.2.0"),
                unix_time("unix-time-milliseconds").after("PXAT").since("6.2.0"),
                word("keepttl", "KEEPTTL").since("6.0.0"),
            ],
        )
        .opt(),
    ]),
    row("setex", 4, WRITE | DENYOOM, &[at(1, OW | UPDATE)], Here(string::setex))
        .doc("2.0.0", "Stores a string with an expiry in seconds.", "O(1)")
        .args(&[key("key"), int("seconds"), text("value")]),
    row("setnx", 3, WRITE | DENYOOM | FAST, &[at(1, OW | INSERT)], Here(string::setnx))
        .doc("1.0.0", "Stores a string when its key does not exist.", "O(1)")
        .args(&[key("key"), text("value")]),
    row("setrange", 4, WRITE | DENYOOM, &[at(1, RW | UPDATE)], Here(string::setrange))
        .doc("2.2.0", "Overwrites a part of a string.", "O(M) where M is the length of the value")
        .args(&[key("key"), int("offset"), text("value")]),
    row("strlen", 2, READONLY | FAST, &[at(1, RO)], Here(string::strlen))
        .doc("2.2.0", "Tells the length of a string.", "O(1)")
        .args(&[key("key")]),
    row("substr", 4, READONLY, &[at(1, RO | ACCESS)], Here(string::substr))
        .doc("1.0.0", "Reads a part of a string.", "O(N) where N is the length of the returned string")
        .replaced("`GETRANGE`", "2.0.0")
        .args(&[key("key"), int("start"), int("end")]),
];
