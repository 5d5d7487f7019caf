//! The server.

use super::row::*;
use crate::command::spec::Route::All;
use crate::command::spec::Run::{Above, Here};
use crate::command::spec::flag::{
    ADMIN, ALLOW_BUSY, FAST, LOADING, NO_ASYNC_LOADING, NO_MULTI, NOSCRIPT, PROTECTED, READONLY, SENTINEL,
    STALE, SYSCMD, WRITE,
};
use crate::command::spec::key::RO;
use crate::command::spec::{Join, KeySpec, Run, Spec, Verb, acl};
use crate::command::{config_cmd, debug, info, introspect, latency, memory, module, save, server, slowlog};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("server", name, arity, flags, keys, run)
}

const fn container(name: &'static str, arity: i16, flags: u32, subs: &'static [Spec]) -> Spec {
    new("server", name, arity, flags, &[], Run::Sub).subs(subs)
}

pub(super) const ROWS: &[Spec] = &[
    row("bgrewriteaof", 1, ADMIN | NOSCRIPT | NO_ASYNC_LOADING, &[], Above(Verb::BgRewriteAof))
        .doc("1.0.0", "Rewrites the append-only file while the data goes on being served.", "O(1)")
        .route(All(Join::Ok)),
    row("bgsave", -1, ADMIN | NOSCRIPT | NO_ASYNC_LOADING, &[], Above(Verb::BgSave))
        .doc("1.0.0", "Saves the data to disk while it goes on being served.", "O(1)")
        .route(All(Join::Ok))
        .history(&[("3.2.2", "Added the `SCHEDULE` option.")])
        .args(&[word("schedule", "SCHEDULE").since("3.2.2").opt()]),
    row("command", -1, LOADING | STALE | SENTINEL, &[], Here(introspect::command))
        .subs(COMMAND_SUBS)
        .acl(acl::CONNECTION)
        .doc("2.8.13", "Describes all commands.", "O(N) where N is the total number of Redis commands")
        .tips(&["nondeterministic_output_order"]),
    container("config", -2, 0, CONFIG_SUBS).doc(
        "2.0.0",
        "Container of the commands about the configuration.",
        "Depends on subcommand.",
    ),
    row("dbsize", 1, READONLY | FAST, &[], Here(server::dbsize))
        .acl(acl::KEYSPACE)
        .doc("1.0.0", "Counts the keys of the database.", "O(1)")
        .route(All(Join::Sum))
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    row("debug", -2, ADMIN | NOSCRIPT | LOADING | STALE | PROTECTED | SYSCMD, &[], Here(debug::debug))
        .doc("1.0.0", "Container of debugging commands.", "Depends on subcommand.")
        .route(All(Join::Overlay)),
    row("flushall", -1, WRITE, &[], Here(server::flushall))
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .doc(
            "1.0.0",
            "Deletes all keys of all databases.",
            "O(N) where N is the total number of keys in all databases",
        )
        .route(All(Join::Ok))
        .history(&[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .args(&[one_of(
            "async",
            &[word("async", "ASYNC").since("4.0.0"), word("sync", "SYNC").since("6.2.0")],
        )
        .opt()]),
    row("flushdb", -1, WRITE, &[], Here(server::flushdb))
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .doc(
            "1.0.0",
            "Deletes all keys of the database.",
            "O(N) where N is the number of keys in the selected database",
        )
        .route(All(Join::Ok))
        .history(&[
            ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
            ("6.2.0", "Added the `SYNC` flushing mode modifier."),
        ])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .args(&[one_of(
            "async",
            &[word("async", "ASYNC").since("4.0.0"), word("sync", "SYNC").since("6.2.0")],
        )
        .opt()]),
    row("info", -1, LOADING | STALE | SENTINEL, &[], Here(info::info))
        .acl(acl::DANGEROUS)
        .doc("1.0.0", "Tells figures and facts about the server.", "O(1)")
        .history(&[("7.0.0", "Added support for taking multiple section arguments.")])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .args(&[text("section").opt().many()]),
    row("lastsave", 1, LOADING | STALE | FAST, &[], Here(save::lastsave))
        .acl(acl::ADMIN | acl::DANGEROUS)
        .doc("1.0.0", "Tells when the data was last saved, as unix time in seconds.", "O(1)")
        .tips(&["nondeterministic_output"]),
    container("latency", -2, 0, LATENCY_SUBS).doc(
        "2.8.13",
        "Container of the commands about latency.",
        "Depends on subcommand.",
    ),
    row("lolwut", -1, READONLY | FAST, &[], Here(server::lolwut))
        .doc("5.0.0", "Shows the version with some computer art.", "")
        .args(&[int("version").after("VERSION").opt()]),
    container("memory", -2, 0, MEMORY_SUBS).doc(
        "4.0.0",
        "Container of the commands about memory.",
        "Depends on subcommand.",
    ),
    container("module", -2, 0, MODULE_SUBS).doc(
        "4.0.0",
        "Container of the commands about modules.",
        "Depends on subcommand.",
    ),
    row("monitor", 1, ADMIN | NOSCRIPT | LOADING | STALE, &[], Above(Verb::Monitor)).doc(
        "1.0.0",
        "Shows every command that the server executes.",
        "",
    ),
    row("save", 1, ADMIN | NOSCRIPT | NO_ASYNC_LOADING | NO_MULTI, &[], Here(save::save))
        .doc(
            "1.0.0",
            "Saves the data on disk, and serves nobody meanwhile.",
            "O(N) where N is the number of keys",
        )
        .route(All(Join::Ok)),
    row(
        "shutdown",
        -1,
        ADMIN | NOSCRIPT | LOADING | STALE | NO_MULTI | SENTINEL | ALLOW_BUSY,
        &[],
        Above(Verb::Shutdown),
    )
    .doc(
        "1.0.0",
        "Saves if asked to, and stops the server.",
        "O(N) when saving, where N is the number of keys in all databases, otherwise O(1)",
    )
    .history(&[("7.0.0", "Added the `NOW`, `FORCE` and `ABORT` modifiers.")])
    .args(&[
        one_of("nosave_save", &[word("nosave", "NOSAVE"), word("save", "SAVE")]).opt(),
        word("now", "NOW").opt().since("7.0.0"),
        word("force", "FORCE").opt().since("7.0.0"),
        word("abort", "ABORT").opt().since("7.0.0"),
    ]),
    container("slowlog", -2, 0, SLOWLOG_SUBS).doc(
        "2.2.12",
        "Container of the commands about the slow log.",
        "Depends on subcommand.",
    ),
    row("swapdb", 3, WRITE | FAST, &[], Here(server::swapdb))
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .doc(
            "4.0.0",
            "Swaps two databases.",
            "O(N) where N is the count of clients watching or blocking on keys from both databases.",
        )
        .route(All(Join::Ok))
        .args(&[int("index1"), int("index2")]),
    row("time", 1, LOADING | STALE | FAST, &[], Here(server::time))
        .doc("2.6.0", "Tells the server's time.", "O(1)")
        .tips(&["nondeterministic_output"]),
];

const COMMAND_SUBS: &[Spec] = &[
    row("command|count", 2, LOADING | STALE | SENTINEL, &[], Here(introspect::command_count))
        .acl(acl::CONNECTION)
        .doc("2.8.13", "Counts the commands.", "O(1)"),
    row("command|docs", -2, LOADING | STALE | SENTINEL, &[], Here(introspect::command_docs))
        .acl(acl::CONNECTION)
        .doc("7.0.0", "Documents commands.", "O(N) where N is the number of commands to look up")
        .tips(&["nondeterministic_output_order"])
        .args(&[text("command-name").opt().many()]),
    row("command|getkeys", -4, LOADING | STALE | SENTINEL, &[], Here(introspect::command_getkeys))
        .acl(acl::CONNECTION)
        .doc(
            "2.8.13",
            "Finds the keys in a command.",
            "O(N) where N is the number of arguments to the command",
        ),
    row(
        "command|getkeysandflags",
        -4,
        LOADING | STALE | SENTINEL,
        &[],
        Here(introspect::command_getkeysandflags),
    )
    .acl(acl::CONNECTION)
    .doc(
        "7.0.0",
        "Finds the keys in a command, and what it does to them.",
        "O(N) where N is the number of arguments to the command",
    ),
    row("command|help", 2, LOADING | STALE | SENTINEL, &[], Here(introspect::command_help))
        .acl(acl::CONNECTION)
        .doc("5.0.0", "Explains the subcommands of COMMAND.", "O(1)"),
    row("command|info", -2, LOADING | STALE | SENTINEL, &[], Here(introspect::command_info))
        .acl(acl::CONNECTION)
        .doc("2.8.13", "Describes commands.", "O(N) where N is the number of commands to look up")
        .history(&[("7.0.0", "Allowed to be called with no argument to get info on all commands.")])
        .tips(&["nondeterministic_output_order"])
        .args(&[text("command-name").opt().many()]),
    row("command|list", -2, LOADING | STALE | SENTINEL, &[], Here(introspect::command_list))
        .acl(acl::CONNECTION)
        .doc("7.0.0", "Lists the names of commands.", "O(N) where N is the total number of Redis commands")
        .tips(&["nondeterministic_output_order"])
        .args(&[one_of(
            "filterby",
            &[
                text("module-name").after("MODULE"),
                text("category").after("ACLCAT"),
                pattern("pattern").after("PATTERN"),
            ],
        )
        .after("FILTERBY")
        .opt()]),
];

const CONFIG_SUBS: &[Spec] = &[
    row("config|get", -3, ADMIN | NOSCRIPT | LOADING | STALE, &[], Here(config_cmd::config_get))
        .doc(
            "2.0.0",
            "Reads configuration parameters.",
            "O(N) when N is the number of configuration parameters provided",
        )
        .history(&[("7.0.0", "Added the ability to pass multiple pattern parameters in one call")])
        .args(&[block("parameter", &[text("parameter")]).many()]),
    row("config|help", 2, LOADING | STALE, &[], Here(config_cmd::config_help)).doc(
        "5.0.0",
        "Explains the subcommands of CONFIG.",
        "O(1)",
    ),
    row("config|resetstat", 2, ADMIN | NOSCRIPT | LOADING | STALE, &[], Here(config_cmd::config_resetstat))
        .doc("2.0.0", "Sets the server's statistics to zero.", "O(1)")
        .route(All(Join::Ok)),
    row("config|rewrite", 2, ADMIN | NOSCRIPT | LOADING | STALE, &[], Here(config_cmd::config_rewrite)).doc(
        "2.8.0",
        "Writes the configuration into its file.",
        "O(1)",
    ),
    row("config|set", -4, ADMIN | NOSCRIPT | LOADING | STALE, &[], Here(config_cmd::config_set))
        .doc(
            "2.0.0",
            "Changes configuration parameters.",
            "O(N) when N is the number of configuration parameters provided",
        )
        .history(&[("7.0.0", "Added the ability to set multiple parameters in one call.")])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[block("parameter_value", &[text("parameter"), text("value")]).many()]),
];

const LATENCY_SUBS: &[Spec] = &[
    row("latency|doctor", 2, ADMIN | NOSCRIPT | LOADING | STALE, &[], Here(latency::latency_doctor))
        .doc("2.8.13", "Reports on latency, in words.", "O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    row("latency|graph", 3, ADMIN | NOSCRIPT | LOADING | STALE, &[], Here(latency::latency_graph))
        .doc("2.8.13", "Draws the latency spikes of an event.", "O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .args(&[text("event")]),
    row("latency|help", 2, LOADING | STALE, &[], Here(latency::latency_help)).doc(
        "2.8.13",
        "Explains the subcommands of LATENCY.",
        "O(1)",
    ),
    row("latency|histogram", -2, ADMIN | NOSCRIPT | LOADING | STALE, &[], Here(latency::latency_histogram))
        .doc(
            "7.0.0",
            "Shows how long commands took, as histograms.",
            "O(N) where N is the number of commands with latency information being retrieved.",
        )
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .args(&[text("command").opt().many()]),
    row("latency|history", 3, ADMIN | NOSCRIPT | LOADING | STALE, &[], Here(latency::latency_history))
        .doc("2.8.13", "Lists the latency spikes of an event.", "O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .args(&[text("event")]),
    row("latency|latest", 2, ADMIN | NOSCRIPT | LOADING | STALE, &[], Here(latency::latency_latest))
        .doc("2.8.13", "Lists the latest latency spike of each event.", "O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    row("latency|reset", -2, ADMIN | NOSCRIPT | LOADING | STALE, &[], Here(latency::latency_reset))
        .doc("2.8.13", "Forgets latency spikes.", "O(1)")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[text("event").opt().many()]),
];

const MEMORY_SUBS: &[Spec] = &[
    row("memory|doctor", 2, 0, &[], Here(memory::memory_doctor))
        .doc("4.0.0", "Reports on memory, in words.", "O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    row("memory|help", 2, LOADING | STALE, &[], Here(memory::memory_help)).doc(
        "4.0.0",
        "Explains the subcommands of MEMORY.",
        "O(1)",
    ),
    row("memory|malloc-stats", 2, 0, &[], Here(memory::memory_malloc_stats))
        .doc(
            "4.0.0",
            "Shows the allocator's own report.",
            "Depends on how much memory is allocated, could be slow",
        )
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    row("memory|purge", 2, 0, &[], Here(memory::memory_purge))
        .doc(
            "4.0.0",
            "Asks the allocator to return free memory.",
            "Depends on how much memory is allocated, could be slow",
        )
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    row("memory|stats", 2, 0, &[], Here(memory::memory_stats))
        .doc("4.0.0", "Shows where memory goes.", "O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    row("memory|usage", -3, READONLY, &[at(2, RO)], Here(memory::memory_usage))
        .doc("4.0.0", "Estimates the memory of a key.", "O(N) where N is the number of samples.")
        .args(&[key("key"), int("count").after("SAMPLES").opt()]),
];

const SLOWLOG_SUBS: &[Spec] = &[
    row("slowlog|get", -2, ADMIN | LOADING | STALE, &[], Here(slowlog::slowlog_get))
        .doc("2.2.12", "Lists the slow log's entries.", "O(N) where N is the number of entries returned")
        .history(&[("4.0.0", "Added client IP address, port and name to the reply.")])
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .args(&[int("count").opt()]),
    row("slowlog|help", 2, LOADING | STALE, &[], Here(slowlog::slowlog_help)).doc(
        "6.2.0",
        "Explains the subcommands of SLOWLOG.",
        "O(1)",
    ),
    row("slowlog|len", 2, ADMIN | LOADING | STALE, &[], Here(slowlog::slowlog_len))
        .doc("2.2.12", "Counts the slow log's entries.", "O(1)")
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]),
    row("slowlog|reset", 2, ADMIN | LOADING | STALE, &[], Here(slowlog::slowlog_reset))
        .doc("2.2.12", "Empties the slow log.", "O(N) where N is the number of entries in the slowlog")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
];

/// Of modules that would change the server.
const LOADS: u32 = ADMIN | NOSCRIPT | PROTECTED | NO_ASYNC_LOADING;

const MODULE_SUBS: &[Spec] = &[
    row("module|help", 2, LOADING | STALE, &[], Here(module::module_help)).doc(
        "5.0.0",
        "Explains the subcommands of MODULE.",
        "O(1)",
    ),
    row("module|list", 2, ADMIN | NOSCRIPT, &[], Here(module::module_list))
        .doc("4.0.0", "Lists the modules that are loaded.", "O(N) where N is the number of loaded modules.")
        .tips(&["nondeterministic_output_order"]),
    row("module|load", -3, LOADS, &[], Here(module::module_load))
        .doc("4.0.0", "Loads a module.", "O(1)")
        .args(&[text("path"), text("arg").opt().many()]),
    row("module|loadex", -3, LOADS, &[], Here(module::module_load))
        .doc("7.0.0", "Loads a module with configuration parameters.", "O(1)")
        .args(&[
            text("path"),
            block("configs", &[text("name"), text("value")]).after("CONFIG").opt().many_tokens(),
            block("args", &[text("arg")]).after("ARGS").opt().many(),
        ]),
    row("module|unload", 3, LOADS, &[], Here(module::module_unload))
        .doc("4.0.0", "Unloads a module.", "O(1)")
        .args(&[text("name")]),
];
