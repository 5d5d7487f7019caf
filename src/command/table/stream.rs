//! Streams.

use super::row::*;
use crate::command::spec::Route::Home;
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{BLOCKING, DENYOOM, FAST, LOADING, READONLY, STALE, WRITE};
use crate::command::spec::key::{ACCESS, DELETE, INSERT, RO, RW, UPDATE};
use crate::command::spec::{Arg, Begin, Find, KeySpec, Run, Spec, acl};
use crate::command::stream;

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("stream", name, arity, flags, keys, run).acl(acl::STREAM)
}

const fn container(name: &'static str, subs: &'static [Spec]) -> Spec {
    new("stream", name, -2, 0, &[], Run::Sub).subs(subs)
}

/// The first half of what stands behind STREAMS.
const fn streams(from: i32) -> KeySpec {
    KeySpec {
        begin: Begin::Keyword { word: "STREAMS", from },
        find: Find::Range { last: -1, step: 1, limit: 2 },
        flags: RO | ACCESS,
        notes: "",
    }
}

const RANDOM: &[&str] = &["nondeterministic_output"];
const STREAMS: Arg = block("streams", &[key("key").many(), text("id").many()]).after("STREAMS");
const COUNT: Arg = int("count").after("COUNT").opt();
const BLOCK: Arg = int("milliseconds").after("BLOCK").opt();
const ID_OR_NEW: Arg = one_of("id", &[text("id"), word("new_id", "$")]);
const ENTRIES_READ: Arg = int("entries_read").after("ENTRIESREAD").opt();
const TRIM: Arg = block(
    "trim",
    &[
        one_of("strategy", &[word("maxlen", "MAXLEN"), word("minid", "MINID").since("6.2.0")]),
        one_of("operator", &[word("equal", "="), word("approximately", "~")]).opt(),
        text("threshold"),
        int("count").after("LIMIT").opt().since("6.2.0"),
    ],
);
const EXCLUSIVE: &[(&str, &str)] = &[("6.2.0", "Added exclusive ranges.")];
const OF_GROUP: &[Arg] = &[key("key"), text("groupname")];
const OF_CONSUMER: &[Arg] = &[key("key"), text("groupname"), text("consumername")];

const GROUP: &[Spec] = &[
    row("xgroup|create", -5, WRITE | DENYOOM, &[at(2, RW | INSERT)], Here(stream::xgroup_create))
        .doc("5.0.0", "Makes a consumer group.", "O(1)")
        .history(&[("7.0.0", "Added the `entries_read` named argument.")])
        .args(&[key("key"), text("groupname"), ID_OR_NEW, word("mkstream", "MKSTREAM").opt(), ENTRIES_READ]),
    row(
        "xgroup|createconsumer",
        5,
        WRITE | DENYOOM,
        &[at(2, RW | INSERT)],
        Here(stream::xgroup_createconsumer),
    )
    .doc("6.2.0", "Makes a consumer in a group.", "O(1)")
    .args(OF_CONSUMER),
    row("xgroup|delconsumer", 5, WRITE, &[at(2, RW | DELETE)], Here(stream::xgroup_delconsumer))
        .doc("5.0.0", "Removes a consumer from a group.", "O(1)")
        .args(OF_CONSUMER),
    row("xgroup|destroy", 4, WRITE, &[at(2, RW | DELETE)], Here(stream::xgroup_destroy))
        .doc(
            "5.0.0",
            "Removes a consumer group.",
            "O(N) where N is the number of entries that the group has to acknowledge.",
        )
        .args(OF_GROUP),
    row("xgroup|help", 2, LOADING | STALE, &[], Here(stream::xgroup_help)).doc(
        "5.0.0",
        "Shows help on the subcommands.",
        "O(1)",
    ),
    row("xgroup|setid", -5, WRITE, &[at(2, RW | UPDATE)], Here(stream::xgroup_setid))
        .doc("5.0.0", "Sets what a consumer group has been given last.", "O(1)")
        .history(&[("7.0.0", "Added the optional `entries_read` argument.")])
        .args(&[key("key"), text("groupname"), ID_OR_NEW, ENTRIES_READ]),
];

const INFO: &[Spec] = &[
    row("xinfo|consumers", 4, READONLY, &[at(2, RO | ACCESS)], Here(stream::xinfo_consumers))
        .doc("5.0.0", "Lists the consumers of a group.", "O(1)")
        .tips(RANDOM)
        .args(OF_GROUP),
    row("xinfo|groups", 3, READONLY, &[at(2, RO | ACCESS)], Here(stream::xinfo_groups))
        .doc("5.0.0", "Lists the consumer groups of a stream.", "O(1)")
        .history(&[("7.0.0", "Added the `entries-read` and `lag` fields")])
        .args(&[key("key")]),
    row("xinfo|help", 2, LOADING | STALE, &[], Here(stream::xinfo_help)).doc(
        "5.0.0",
        "Shows help on the subcommands.",
        "O(1)",
    ),
    row("xinfo|stream", -3, READONLY, &[at(2, RO | ACCESS)], Here(stream::xinfo_stream))
        .doc("5.0.0", "Tells of a stream.", "O(N) where N is the number of nodes of the stream")
        .history(&[
            ("6.0.0", "Added the `FULL` modifier."),
            (
                "7.0.0",
                "Added the `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read` \
                 and `lag` fields",
            ),
        ])
        .args(&[key("key"), block("full", &[COUNT]).after("FULL").opt()]),
];

pub(super) const ROWS: &[Spec] = &[
    row("xack", -4, WRITE | FAST, &[at(1, RW | UPDATE)], Here(stream::xack))
        .doc("5.0.0", "Acknowledges entries that a consumer group was given.", "O(1) for each ID.")
        .args(&[key("key"), text("group"), text("id").many()]),
    row(
        "xadd",
        -5,
        WRITE | DENYOOM | FAST,
        &[at(1, RW | UPDATE).note("UPDATE instead of INSERT because of the optional trimming feature")],
        Here(stream::xadd),
    )
    .doc("5.0.0", "Adds an entry to a stream.", "O(1), and O(N) to trim N entries.")
    .history(&[
        ("6.2.0", "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option."),
        ("7.0.0", "Added support for the `<ms>-*` explicit ID form."),
    ])
    .tips(RANDOM)
    .args(&[
        key("key"),
        word("nomkstream", "NOMKSTREAM").opt().since("6.2.0"),
        TRIM.opt(),
        one_of("id_or_auto", &[word("auto_id", "*"), text("id")]),
        block("field_value", &[text("field"), text("value")]).many(),
    ]),
    row("xautoclaim", -6, WRITE | FAST, &[at(1, RW | DELETE)], Here(stream::xautoclaim))
        .doc(
            "6.2.0",
            "Gives a consumer what others of its group have not acknowledged for long.",
            "O(1) if COUNT is small.",
        )
        .history(&[(
            "7.0.0",
            "Added an element to the reply array, containing deleted entries the command cleared from the PEL",
        )])
        .tips(RANDOM)
        .args(&[
            key("key"),
            text("group"),
            text("consumer"),
            text("min-idle-time"),
            text("start"),
            COUNT,
            word("justid", "JUSTID").opt(),
        ]),
    row("xclaim", -6, WRITE | FAST, &[at(1, RW | UPDATE)], Here(stream::xclaim))
        .doc(
            "5.0.0",
            "Gives a consumer entries that its group has not acknowledged.",
            "O(log N) where N is the number of entries that the group has to acknowledge.",
        )
        .tips(RANDOM)
        .args(&[
            key("key"),
            text("group"),
            text("consumer"),
            text("min-idle-time"),
            text("id").many(),
            int("ms").after("IDLE").opt(),
            unix_time("unix-time-milliseconds").after("TIME").opt(),
            int("count").after("RETRYCOUNT").opt(),
            word("force", "FORCE").opt(),
            word("justid", "JUSTID").opt(),
            text("id").after("LASTID").opt(),
        ]),
    row("xdel", -3, WRITE | FAST, &[at(1, RW | DELETE)], Here(stream::xdel))
        .doc("5.0.0", "Deletes entries of a stream.", "O(1) for each of them, however long the stream.")
        .args(&[key("key"), text("id").many()]),
    container("xgroup", GROUP).doc(
        "5.0.0",
        "A container for commands about consumer groups.",
        "Depends on subcommand.",
    ),
    container("xinfo", INFO).doc(
        "5.0.0",
        "A container for commands that tell of streams.",
        "Depends on subcommand.",
    ),
    row("xlen", 2, READONLY | FAST, &[at(1, RO)], Here(stream::xlen))
        .doc("5.0.0", "Tells the number of entries in a stream.", "O(1)")
        .args(&[key("key")]),
    row("xpending", -3, READONLY, &[at(1, RO | ACCESS)], Here(stream::xpending))
        .doc(
            "5.0.0",
            "Tells what a consumer group has been given and not acknowledged.",
            "O(N) where N is the number of elements returned, or looked at with IDLE.",
        )
        .history(&[("6.2.0", "Added the `IDLE` option and exclusive range intervals.")])
        .tips(RANDOM)
        .args(&[
            key("key"),
            text("group"),
            block(
                "filters",
                &[
                    int("min-idle-time").after("IDLE").opt().since("6.2.0"),
                    text("start"),
                    text("end"),
                    int("count"),
                    text("consumer").opt(),
                ],
            )
            .opt(),
        ]),
    row("xrange", -4, READONLY, &[at(1, RO | ACCESS)], Here(stream::xrange))
        .doc("5.0.0", "Reads a range of entries.", "O(N) where N is the number of elements returned.")
        .history(EXCLUSIVE)
        .args(&[key("key"), text("start"), text("end"), COUNT]),
    row("xread", -4, BLOCKING | READONLY, &[streams(1)], Here(stream::xread))
        .route(Home)
        .doc(
            "5.0.0",
            "Reads what came behind an id in each of some streams, and waits for it if nothing has.",
            "O(N) for each stream, where N is the number of elements returned.",
        )
        .args(&[COUNT, BLOCK, STREAMS]),
    row("xreadgroup", -7, BLOCKING | WRITE, &[streams(4)], Here(stream::xreadgroup))
        .route(Home)
        .doc(
            "5.0.0",
            "Reads for a consumer what its group has not been given, or what it has not acknowledged; can wait.",
            "O(N) for each stream, where N is the number of elements returned.",
        )
        .args(&[
            block("group_consumer", &[text("group"), text("consumer")]).after("GROUP"),
            COUNT,
            BLOCK,
            word("noack", "NOACK").opt(),
            STREAMS,
        ]),
    row("xrevrange", -4, READONLY, &[at(1, RO | ACCESS)], Here(stream::xrevrange))
        .doc("5.0.0", "Reads a range of entries backwards.", "O(N) where N is the number of elements returned.")
        .history(EXCLUSIVE)
        .args(&[key("key"), text("end"), text("start"), COUNT]),
    row("xsetid", -3, WRITE | DENYOOM | FAST, &[at(1, RW | UPDATE)], Here(stream::xsetid))
        .doc("5.0.0", "Sets what a stream remembers; for replicas and logs.", "O(1)")
        .history(&[("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments.")])
        .args(&[
            key("key"),
            text("last-id"),
            int("entries_added").after("ENTRIESADDED").opt().since("7.0.0"),
            text("max_deleted_entry_id").after("MAXDELETEDID").opt().since("7.0.0"),
        ]),
    row("xtrim", -4, WRITE, &[at(1, RW | DELETE)], Here(stream::xtrim))
        .doc("5.0.0", "Removes the oldest entries of a stream.", "O(N) where N is the number of entries removed.")
        .history(&[("6.2.0", "Added the `MINID` trimming strategy and the `LIMIT` option.")])
        .tips(RANDOM)
        .args(&[key("key"), TRIM]),
];
