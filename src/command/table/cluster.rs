//! The cluster.

use super::row::*;
use crate::command::spec::Route::All;
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{ADMIN, FAST, LOADING, NO_ASYNC_LOADING, NOSCRIPT, STALE};
use crate::command::spec::{Arg, Join, KeySpec, Run, Spec, Verb, acl};
use crate::command::{cluster_cmd, slot_stats};

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

const PLANE: Run = Run::Above(Verb::Plane);

const SLOT_RANGES: &[Arg] = &[block("start-slot_end-slot", &[int("start-slot"), int("end-slot")]).many()];

const SLOT_STATES: &[Arg] = &[
    text("node-id").after("IMPORTING"),
    text("node-id").after("MIGRATING"),
    text("node-id").after("NODE"),
    word("stable", "STABLE"),
];

const SLOT_FILTERS: &[Arg] = &[
    block("slotsrange", &[int("start-slot"), int("end-slot")]).after("SLOTSRANGE"),
    block(
        "orderby",
        &[
            text("metric"),
            int("limit").after("LIMIT").opt(),
            one_of("order", &[word("asc", "ASC"), word("desc", "DESC")]).opt(),
        ],
    )
    .after("ORDERBY"),
];

const CLUSTER_SUBS: &[Spec] = &[
    row("cluster|addslots", -3, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc(
            "3.0.0",
            "Takes slots that nobody owns.",
            "O(N) where N is the total number of hash slot arguments",
        )
        .args(&[int("slot").many()]),
    row("cluster|addslotsrange", -4, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc(
            "7.0.0",
            "Takes ranges of slots that nobody owns.",
            "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
        )
        .args(SLOT_RANGES),
    row("cluster|balance", -2, ADMIN | NO_ASYNC_LOADING | STALE, &[], Run::Above(Verb::Balance))
        .doc(
            "7.0.15",
            "Plans or makes the handoffs by which the shards of this host are equally busy. Only Shoal has it.",
            "O(N*log(N)) where N is the total number of slots",
        )
        .tips(&["nondeterministic_output"])
        .args(&[one_of(
            "what",
            &[word("plan", "PLAN"), word("dryrun", "DRYRUN"), word("apply", "APPLY")],
        )
        .opt()]),
    row("cluster|bumpepoch", 2, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc("3.0.0", "Gives the node the newest config epoch.", "O(1)")
        .tips(&["nondeterministic_output"]),
    row("cluster|count-failure-reports", 3, ADMIN | STALE, &[], PLANE)
        .doc(
            "3.0.0",
            "Counts the nodes that report a node as failing.",
            "O(N) where N is the number of failure reports",
        )
        .tips(&["nondeterministic_output"])
        .args(&[text("node-id")]),
    row("cluster|countkeysinslot", 3, STALE, &[], Here(cluster_cmd::cluster_countkeysinslot))
        .route(All(Join::Sum))
        .doc("3.0.0", "Counts the keys of a slot.", "O(1)")
        .args(&[int("slot")]),
    row("cluster|delslots", -3, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc(
            "3.0.0",
            "Leaves slots without an owner.",
            "O(N) where N is the total number of hash slot arguments",
        )
        .args(&[int("slot").many()]),
    row("cluster|delslotsrange", -4, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc(
            "7.0.0",
            "Leaves ranges of slots without an owner.",
            "O(N) where N is the total number of the slots between the start slot and end slot arguments.",
        )
        .args(SLOT_RANGES),
    row("cluster|failover", -2, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc("3.0.0", "Has a replica take over from its master.", "O(1)")
        .args(&[one_of("options", &[word("force", "FORCE"), word("takeover", "TAKEOVER")]).opt()]),
    row("cluster|flushslots", 2, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE).doc(
        "3.0.0",
        "Leaves all slots of the node without an owner.",
        "O(1)",
    ),
    row("cluster|forget", 3, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc("3.0.0", "Removes a node from the node's table.", "O(1)")
        .args(&[text("node-id")]),
    row("cluster|getkeysinslot", 4, STALE, &[], Here(cluster_cmd::cluster_getkeysinslot))
        .route(All(Join::Concat))
        .doc("3.0.0", "Lists keys of a slot.", "O(log(N)) where N is the number of requested keys")
        .tips(&["nondeterministic_output"])
        .args(&[int("slot"), int("count")]),
    row("cluster|handoff", -4, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc(
            "7.0.15",
            "Gives slots to another shard of the same host. Only Shoal has it.",
            "O(N) where N is the total number of the slots",
        )
        .args(&[block("slots_node-id", &[text("slot|from-to").many(), text("node-id")]).many()]),
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
    row("cluster|links", 2, STALE, &[], PLANE)
        .doc("7.0.0", "Lists the bus links of the node.", "O(N) where N is the total number of Cluster nodes")
        .tips(&["nondeterministic_output"]),
    row("cluster|meet", -4, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc("3.0.0", "Makes the node known to another one.", "O(1)")
        .history(&[("4.0.0", "Added the optional `cluster_bus_port` argument.")])
        .args(&[text("ip"), int("port"), int("cluster_bus_port").opt().since("4.0.0")]),
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
    row("cluster|replicate", 3, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc("3.0.0", "Makes the node a replica of a master.", "O(1)")
        .args(&[text("node-id")]),
    row("cluster|reset", -2, ADMIN | NOSCRIPT | STALE, &[], PLANE)
        .doc(
            "3.0.0",
            "Makes the node forget its cluster.",
            "O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.",
        )
        .args(&[one_of("hard_soft", &[word("hard", "HARD"), word("soft", "SOFT")]).opt()]),
    row("cluster|saveconfig", 2, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE).doc(
        "3.0.0",
        "Writes nodes.conf.",
        "O(1)",
    ),
    row("cluster|set-config-epoch", 3, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc("3.0.0", "Gives a new node its config epoch.", "O(1)")
        .args(&[int("config-epoch")]),
    row("cluster|setslot", -4, ADMIN | NO_ASYNC_LOADING | STALE, &[], PLANE)
        .doc("3.0.0", "Opens a slot to be moved, closes it, or gives it to a node.", "O(1)")
        .args(&[int("slot"), one_of("subcommand", SLOT_STATES)]),
    row("cluster|shards", 2, STALE, &[], Here(cluster_cmd::cluster_shards))
        .doc(
            "7.0.0",
            "Lists slots and nodes, a group for each master with its replicas.",
            "O(N) where N is the total number of cluster nodes",
        )
        .tips(&["nondeterministic_output"]),
    row("cluster|slaves", 3, ADMIN | STALE, &[], Here(cluster_cmd::cluster_replicas))
        .doc("3.0.0", "Lists the replicas of a master.", "O(1)")
        .replaced("`CLUSTER REPLICAS`", "5.0.0")
        .tips(&["nondeterministic_output"])
        .args(&[text("node-id")]),
    row("cluster|slot-stats", -4, LOADING | STALE, &[], Here(slot_stats::slot_stats))
        .doc(
            "8.0.0",
            "Tells what the slots of the node hold and cost.",
            "O(N) where N is the number of slots, O(N*log(N)) to order them",
        )
        .tips(&["nondeterministic_output"])
        .args(&[one_of("filter", SLOT_FILTERS)]),
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
