//! Scripts.

use super::row::*;
use crate::command::spec::Run::{Above, Here};
use crate::command::spec::flag::{
    ALLOW_BUSY, DENYOOM, LOADING, MAY_REPLICATE, NO_MANDATORY_KEYS, NOSCRIPT, READONLY, SKIP_MONITOR, STALE,
    WRITE,
};
use crate::command::spec::key::{ACCESS, RO, RW, UPDATE};
use crate::command::spec::{Arg, KeySpec, Run, Script, Spec, Verb, acl};
use crate::command::{function, scripting};

const fn row(name: &'static str, flags: u32, keys: &'static [KeySpec], script: Script) -> Spec {
    let flags = flags | NOSCRIPT | STALE | SKIP_MONITOR | NO_MANDATORY_KEYS;
    let row = new("scripting", name, -3, flags, keys, Above(Verb::Script(script))).acl(acl::SCRIPTING);
    // as in Redis, what only reads is no reason for this category here
    Spec { acl: row.acl & !acl::READ, ..row }
}

const fn sub(name: &'static str, arity: i16, flags: u32, run: Run) -> Spec {
    new("scripting", name, arity, flags, &[], run).acl(acl::SCRIPTING)
}

const READS: KeySpec = numkeys(2, RO | ACCESS);
const WRITES: KeySpec = numkeys(2, RW | ACCESS | UPDATE);
const READS_NOTED: KeySpec =
    READS.note("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS");
const WRITES_NOTED: KeySpec =
    WRITES.note("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE");

const BY_CODE: &[Arg] = &[text("script"), int("numkeys"), key("key").opt().many(), text("arg").opt().many()];
const BY_SHA: &[Arg] = &[text("sha1"), int("numkeys"), key("key").opt().many(), text("arg").opt().many()];

const BY_NAME: &[Arg] =
    &[text("function"), int("numkeys"), key("key").opt().many(), text("arg").opt().many()];

const COSTS: &str = "Depends on the script that is executed.";

pub(super) const ROWS: &[Spec] = &[
    row("eval", MAY_REPLICATE, &[WRITES_NOTED], Script::Eval)
        .doc("2.6.0", "Runs a script in Lua.", COSTS)
        .args(BY_CODE),
    row("eval_ro", READONLY, &[READS_NOTED], Script::Eval)
        .doc("7.0.0", "Runs a script in Lua that only reads.", COSTS)
        .args(BY_CODE),
    row("evalsha", MAY_REPLICATE, &[WRITES], Script::EvalSha)
        .doc("2.6.0", "Runs a script that is known, by its digest.", COSTS)
        .args(BY_SHA),
    row("evalsha_ro", READONLY, &[READS], Script::EvalSha)
        .doc("7.0.0", "Runs a script that is known and only reads, by its digest.", COSTS)
        .args(BY_SHA),
    row("fcall", MAY_REPLICATE, &[WRITES_NOTED], Script::Call)
        .doc("7.0.0", "Calls a library's function.", "Depends on the function that is executed.")
        .args(BY_NAME),
    row("fcall_ro", READONLY, &[READS_NOTED], Script::Call)
        .doc(
            "7.0.0",
            "Calls a library's function that only reads.",
            "Depends on the function that is executed.",
        )
        .args(BY_NAME),
    new("scripting", "function", -2, 0, &[], Run::Sub).subs(FUNCTION_SUBS).doc(
        "7.0.0",
        "Container of the commands about libraries of functions.",
        "Depends on subcommand.",
    ),
    new("scripting", "script", -2, 0, &[], Run::Sub).subs(SCRIPT_SUBS).doc(
        "2.6.0",
        "Container of the commands about scripts.",
        "Depends on subcommand.",
    ),
];

/// Every shard of a host has the same libraries.
const EVERYWHERE: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const PER_LIBRARY: &str = "O(N) where N is the number of functions";

const FUNCTION_SUBS: &[Spec] = &[
    sub("function|delete", 3, NOSCRIPT | WRITE, Here(function::delete))
        .doc("7.0.0", "Deletes a library with its functions.", "O(1)")
        .acl(acl::SCRIPTING)
        .tips(EVERYWHERE)
        .args(&[text("library-name")]),
    sub("function|dump", 2, NOSCRIPT, Here(function::dump)).doc(
        "7.0.0",
        "Tells all libraries in the form that FUNCTION RESTORE takes.",
        PER_LIBRARY,
    ),
    sub("function|flush", -2, NOSCRIPT | WRITE, Here(function::flush))
        .doc("7.0.0", "Deletes all libraries.", PER_LIBRARY)
        .tips(EVERYWHERE)
        .args(&[one_of("async", &[word("async", "ASYNC"), word("sync", "SYNC")]).opt()]),
    sub("function|help", 2, LOADING | STALE, Here(function::function_help)).doc(
        "7.0.0",
        "Tells what FUNCTION can do.",
        "O(1)",
    ),
    sub("function|kill", 2, NOSCRIPT | ALLOW_BUSY, Here(function::kill))
        .doc("7.0.0", "Ends functions that run too long and have not written.", "O(1)")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    sub("function|list", -2, NOSCRIPT, Here(function::list))
        .doc("7.0.0", "Describes all libraries.", PER_LIBRARY)
        .tips(&["nondeterministic_output_order"])
        .args(&[text("library-name-pattern").after("LIBRARYNAME").opt(), word("withcode", "WITHCODE").opt()]),
    sub("function|load", -3, NOSCRIPT | WRITE | DENYOOM, Here(function::load))
        .doc("7.0.0", "Loads a library.", "O(1)")
        .tips(EVERYWHERE)
        .args(&[word("replace", "REPLACE").opt(), text("function-code")]),
    sub("function|restore", -3, NOSCRIPT | WRITE | DENYOOM, Here(function::restore))
        .doc("7.0.0", "Loads all libraries of a payload.", PER_LIBRARY)
        .tips(EVERYWHERE)
        .args(&[
            text("serialized-value"),
            one_of("policy", &[word("flush", "FLUSH"), word("append", "APPEND"), word("replace", "REPLACE")])
                .opt(),
        ]),
    sub("function|stats", 2, NOSCRIPT | ALLOW_BUSY, Here(function::stats))
        .doc("7.0.0", "Tells which function runs, and how many libraries and functions there are.", "O(1)")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
];

const SCRIPT_SUBS: &[Spec] = &[
    sub("script|debug", 3, NOSCRIPT, Here(scripting::debug))
        .doc("3.2.0", "Sets how scripts are debugged, for which there is nothing here.", "O(1)")
        .args(&[one_of("mode", &[word("yes", "YES"), word("sync", "SYNC"), word("no", "NO")])]),
    sub("script|exists", -3, NOSCRIPT, Here(scripting::exists))
        .doc(
            "2.6.0",
            "Tells which scripts are known, by their digests.",
            "O(N) where N is the number of digests",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
        .args(&[text("sha1").many()]),
    sub("script|flush", -2, NOSCRIPT, Here(scripting::flush))
        .doc("2.6.0", "Forgets all scripts.", "O(N) where N is the number of scripts")
        .history(&[("6.2.0", "Added the `ASYNC` and `SYNC` flushing mode modifiers.")])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[one_of("async", &[word("async", "ASYNC"), word("sync", "SYNC")]).since("6.2.0").opt()]),
    sub("script|help", 2, LOADING | STALE, Here(scripting::script_help)).doc(
        "5.0.0",
        "Tells what SCRIPT can do.",
        "O(1)",
    ),
    sub("script|kill", 2, NOSCRIPT | ALLOW_BUSY, Here(scripting::kill))
        .doc("2.6.0", "Ends scripts that run too long and have not written.", "O(1)")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    sub("script|load", 3, NOSCRIPT | STALE, Above(Verb::Script(Script::Load)))
        .doc("2.6.0", "Makes a script known without running it.", "O(N) where N is the length of the script")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[text("script")]),
];
