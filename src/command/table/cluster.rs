//! The cluster, as far as it is read.

use super::row::*;
use crate::command::cluster_cmd;
use crate::command::spec::Route::All;
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{ADMIN, FAST, LOADING, STALE};
use crate::command::spec::{Join, KeySpec, Run, Spec, acl};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("cluster", name, arity, flags, keys, run)
}

const fn container(name: &'static str, arity: i16, flags: u32, subs: &'static [Spec]) -> Spec {
    new("cluster", name, arity, flags, &[], Run::Sub).subs(subs)
}

pub(super) const ROWS: &[Spec] =
    &[
        row("asking", 1, FAST, &[], Here(cluster_cmd::asking)).acl(acl::CONNECTION).doc(
            "3.0.0",
            "Lets the next command reach a slot that is being imported.",
            "O(1)",
        ),
        container("cluster", -2, 0, CLUSTER_SUBS).doc(
            "3.0.0",
            "Container of the commands about the cluster.",
            "Depends on subcommand.",
        ),
        row("readonly", 1, FAST | LOADING | STALE, &[], Here(cluster_cmd::readonly))
            .acl(acl::CONNECTION)
            .doc("3.0.0", "Allows reads from a replica on this connection.", "O(1)"),
        row("readwrite", 1, FAST | LOADING | STALE, &[], Here(cluster_cmd::readwrite))
            .acl(acl::CONNECTION)
            .doc("3.0.0", "Forbids reads from a replica on this connection.", "O(1)"),
    ];

const CLUSTER_SUBS: &[Spec] = &[
    row("cluster|countkeysinslot", 3, STALE, &[], Here(cluster_cmd::cluster_countkeysinslot))
        .route(All(Join::Sum))
        .doc("3.0.0", "Counts the keys of a slot.", "O(1)")
        .args(&[int("slot")]),
    row("cluster|getkeysinslot", 4, STALE, &[], Here(cluster_cmd::cluster_getkeysinslot))
        .route(All(Join::Concat))
        .doc("3.0.0", "Lists keys of a slot.", "O(log(N)) where N is the number of requested keys")
        .tips(&["nondeterministic_output"])
        .args(&[int("slot"), int("count")]),
    row("cluster|help", 2, LOADING | STALE, &[], Here(cluster_cmd::cluster_help)).doc(
        "5.0.0",
        "Explains the subcommands of CLUSTER.",
        "O(1)",
    ),
    row("cluster|info", 2, STALE, &[], Here(cluster_cmd::cluster_info))
        .doc("3.0.0", "Tells the state of the cluster.", "O(1)")
        .tips(&["nondeterministic_output"]),
    row("cluster|keyslot", 3, STALE, &[], Here(cluster_cmd::cluster_keyslot))
        .doc("3.0.0", "Tells the slot of a key.", "O(N) where N is the number of bytes in the key")
        .args(&[text("key")]),
    row("cluster|links", 2, STALE, &[], Here(cluster_cmd::cluster_links))
        .doc("7.0.0", "Lists the bus links of the node.", "O(N) where N is the total number of Cluster nodes")
        .tips(&["nondeterministic_output"]),
    row("cluster|myid", 2, STALE, &[], Here(cluster_cmd::cluster_myid)).doc(
        "3.0.0",
        "Tells the node's id.",
        "O(1)",
    ),
    row("cluster|myshardid", 2, STALE, &[], Here(cluster_cmd::cluster_myshardid))
        .doc("7.2.0", "Tells the id of the node's shard: the master with its replicas.", "O(1)")
        .tips(&["nondeterministic_output"]),
    row("cluster|nodes", 2, STALE, &[], Here(cluster_cmd::cluster_nodes))
        .doc(
            "3.0.0",
            "Lists the nodes with their slots.",
            "O(N) where N is the total number of Cluster nodes",
        )
        .tips(&["nondeterministic_output"]),
    row("cluster|replicas", 3, ADMIN | STALE, &[], Here(cluster_cmd::cluster_replicas))
        .doc("5.0.0", "Lists the replicas of a master.", "O(1)")
        .tips(&["nondeterministic_output"])
        .args(&[text("node-id")]),
    row("cluster|shards", 2, STALE, &[], Here(cluster_cmd::cluster_shards))
        .doc(
            "7.0.0",
            "Lists slots and nodes, a group for each master with its replicas.",
            "O(N) where N is the total number of cluster nodes",
        )
        .tips(&["nondeterministic_output"]),
    row("cluster|slots", 2, STALE, &[], Here(cluster_cmd::cluster_slots))
        .doc(
            "3.0.0",
            "Lists the slots with their nodes.",
            "O(N) where N is the total number of Cluster nodes",
        )
        .replaced("`CLUSTER SHARDS`", "7.0.0")
        .history(&[("4.0.0", "Added node IDs."), ("7.0.0", "Added additional networking metadata field.")])
        .tips(&["nondeterministic_output"]),
];
