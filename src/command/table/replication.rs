//! Replication.

use super::row::*;
use crate::command::spec::Run::Above;
use crate::command::spec::flag::{
    ADMIN, ALLOW_BUSY, FAST, LOADING, NO_ASYNC_LOADING, NO_MULTI, NOSCRIPT, SENTINEL, STALE, SYSCMD,
};
use crate::command::spec::{Arg, Spec, Verb, acl};

const fn row(name: &'static str, arity: i16, flags: u32, verb: Verb) -> Spec {
    new("server", name, arity, flags, &[], Above(verb))
}

const PRIMARY: &[Arg] = &[one_of(
    "args",
    &[
        block("host-port", &[text("host"), int("port")]),
        block("no-one", &[word("no", "NO"), word("one", "ONE")]),
    ],
)];

pub(super) const ROWS: &[Spec] = &[
    row("failover", -1, ADMIN | NOSCRIPT | STALE, Verb::Failover)
        .doc("6.2.0", "Hands the role of the primary over to a replica that has everything.", "O(1)")
        .args(&[
            block("target", &[text("host"), int("port"), word("force", "FORCE").opt()]).after("TO").opt(),
            word("abort", "ABORT").opt(),
            int("milliseconds").after("TIMEOUT").opt(),
        ]),
    row("psync", -3, NO_ASYNC_LOADING | ADMIN | NO_MULTI | NOSCRIPT, Verb::Sync)
        .doc("2.8.0", "Asks for the stream of changes, as replicas do.", "")
        .args(&[text("replicationid"), int("offset")]),
    row("replconf", -1, ADMIN | NOSCRIPT | LOADING | STALE | ALLOW_BUSY | SYSCMD, Verb::Replconf).doc(
        "3.0.0",
        "Tells a primary about its replica.",
        "O(1)",
    ),
    row("replicaof", 3, NO_ASYNC_LOADING | ADMIN | NOSCRIPT | STALE, Verb::Replicaof)
        .doc("5.0.0", "Makes the server a replica of another one, or a primary.", "O(1)")
        .args(PRIMARY),
    row("role", 1, NOSCRIPT | LOADING | STALE | FAST | SENTINEL, Verb::Role)
        .acl(acl::ADMIN | acl::DANGEROUS)
        .doc("2.8.12", "Tells whether the server is a primary or a replica, and of whom.", "O(1)"),
    row("slaveof", 3, NO_ASYNC_LOADING | ADMIN | NOSCRIPT | STALE, Verb::Replicaof)
        .doc("1.0.0", "Makes the server a replica of another one, or a primary.", "O(1)")
        .replaced("`REPLICAOF`", "5.0.0")
        .args(PRIMARY),
    row("sync", 1, NO_ASYNC_LOADING | ADMIN | NO_MULTI | NOSCRIPT, Verb::Sync).doc(
        "1.0.0",
        "Asks for all data and the stream of changes, as old replicas do.",
        "",
    ),
    new("generic", "wait", 3, NOSCRIPT, &[], Above(Verb::Wait))
        .acl(acl::CONNECTION)
        .doc("3.0.0", "Waits until so many replicas have acknowledged what was written.", "O(1)")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .args(&[int("numreplicas"), int("timeout")]),
    new("generic", "waitaof", 4, NOSCRIPT, &[], Above(Verb::WaitAof))
        .acl(acl::CONNECTION)
        .doc("7.2.0", "Waits until what was written is on the disk, here and at so many replicas.", "O(1)")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .args(&[int("numlocal"), int("numreplicas"), int("timeout")]),
];
