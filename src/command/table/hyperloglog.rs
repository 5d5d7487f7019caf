//! HyperLogLogs.

use super::row::*;
use crate::command::hyperloglog;
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{ADMIN, DENYOOM, FAST, MAY_REPLICATE, READONLY, SYSCMD, WRITE};
use crate::command::spec::key::{ACCESS, INSERT, RO, RW};
use crate::command::spec::{KeySpec, Run, Spec, acl};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("hyperloglog", name, arity, flags, keys, run).acl(acl::HYPERLOGLOG)
}

pub(super) const ROWS: &[Spec] = &[
    row("pfadd", -2, WRITE | DENYOOM | FAST, &[at(1, RW | INSERT)], Here(hyperloglog::pfadd))
        .doc("2.8.9", "Adds elements to a HyperLogLog.", "O(1) to add every element.")
        .args(&[key("key"), text("element").opt().many()]),
    row(
        "pfcount",
        -2,
        READONLY | MAY_REPLICATE,
        &[range(1, -1, 1, RW | ACCESS).note(
            "RW because it may change the internal representation of the key, and propagate to replicas",
        )],
        Here(hyperloglog::pfcount),
    )
    .doc(
        "2.8.9",
        "Estimates how many different elements were added to HyperLogLogs.",
        "O(1) for one key, whose count is cached; O(N), with large constants, for N keys.",
    )
    .args(&[key("key").many()]),
    row("pfdebug", 3, WRITE | DENYOOM | ADMIN | SYSCMD, &[at(2, RW | ACCESS)], Here(hyperloglog::pfdebug))
        .doc("2.8.9", "Looks into a HyperLogLog.", "N/A")
        .args(&[text("subcommand"), key("key")]),
    row(
        "pfmerge",
        -2,
        WRITE | DENYOOM,
        &[at(1, RW | ACCESS | INSERT), range(2, -1, 1, RO | ACCESS)],
        Here(hyperloglog::pfmerge),
    )
    .doc(
        "2.8.9",
        "Merges HyperLogLogs into one.",
        "O(N) to merge N HyperLogLogs, but with high constant times.",
    )
    .args(&[key("destkey"), key("sourcekey").spec(1).many()]),
    row("pfselftest", 1, ADMIN | SYSCMD, &[], Here(hyperloglog::pfselftest)).doc(
        "2.8.9",
        "Tests whether HyperLogLogs count well.",
        "N/A",
    ),
];
