//! Keys of every type.

use super::row::*;
use crate::command::spec::Route::{All, Away, Cursor, Split};
use crate::command::spec::Run::Here;
use crate::command::spec::flag::{
    ASKING, DENYOOM, FAST, LOADING, READONLY, STALE, SYSCMD, TOUCHES_ARBITRARY_KEYS, WRITE,
};
use crate::command::spec::key::{ACCESS, DELETE, INCOMPLETE, INSERT, OW, RM, RO, RW, UPDATE};
use crate::command::spec::{Arg, Begin, Find, Join, KeySpec, Run, Spec, Verb, acl};
use crate::command::{keys, sort};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("generic", name, arity, flags, keys, run).acl(acl::KEYSPACE)
}

const fn container(name: &'static str, arity: i16, flags: u32, subs: &'static [Spec]) -> Spec {
    new("generic", name, arity, flags, &[], Run::Sub).subs(subs)
}

/// What BY and GET make SORT read.
const BY_AND_GET: KeySpec = unknown(
    RO | ACCESS,
    "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from \
     the content of the key we sort",
);
/// Where SORT stores.
const STORE: KeySpec = unknown(
    OW | UPDATE,
    "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear \
     anywhere in the argument array",
);

/// RESTORE, and the form of it that MIGRATE sends to the node that takes over a slot.
const fn restore(group: &'static str, name: &'static str, flags: u32) -> Spec {
    new(group, name, -4, WRITE | DENYOOM | flags, RESTORED, Here(keys::restore))
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .history(&[
            ("3.0.0", "Added the `REPLACE` modifier."),
            ("5.0.0", "Added the `ABSTTL` modifier."),
            ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
        ])
        .args(RESTORE_ARGS)
}

const RESTORED: &[KeySpec] = &[at(1, OW | UPDATE)];
const RESTORE_ARGS: &[Arg] = &[
    key("key"),
    int("ttl"),
    text("serialized-value"),
    word("replace", "REPLACE").opt().since("3.0.0"),
    word("absttl", "ABSTTL").opt().since("5.0.0"),
    int("seconds").after("IDLETIME").opt().since("5.0.0"),
    int("frequency").after("FREQ").opt().since("5.0.0"),
];
const RESTORE_COST: &str = "O(N*M) for N elements of average size M, and O(N*M*log(N)) for a sorted set";

/// What follows KEYS in MIGRATE, where its first key is empty.
const MIGRATE_KEYS: KeySpec = KeySpec {
    begin: Begin::Keyword { word: "KEYS", from: -2 },
    find: Find::Range { last: -1, step: 1, limit: 0 },
    flags: RW | ACCESS | DELETE | INCOMPLETE,
    notes: "",
};

/// On what expiry now a new one depends.
const CONDITION: Arg =
    one_of("condition", &[word("nx", "NX"), word("xx", "XX"), word("gt", "GT"), word("lt", "LT")])
        .opt()
        .since("7.0.0");

pub(super) const ROWS: &[Spec] = &[
    row("copy", -3, WRITE | DENYOOM, &[at(1, RO | ACCESS), at(2, OW | UPDATE)], Here(keys::copy))
        .doc(
            "6.2.0",
            "Copies the value of a key to another key.",
            "O(N) where N is the number of elements of a collection. O(1) for strings.",
        )
        .args(&[
            key("source"),
            key("destination").spec(1),
            int("destination-db").after("DB").opt(),
            word("replace", "REPLACE").opt(),
        ]),
    row("del", -2, WRITE, &[range(1, -1, 1, RM | DELETE)], Here(keys::del))
        .doc(
            "1.0.0",
            "Deletes keys.",
            "O(N) where N is the number of keys, and for each that holds a collection its elements",
        )
        .route(Split { step: 1, join: Join::Sum })
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .args(&[key("key").many()]),
    row("dump", 2, READONLY, &[at(1, RO | ACCESS)], Here(keys::dump))
        .doc("2.6.0", "Serializes a key's value.", "O(N*M) for N elements of average size M")
        .tips(&["nondeterministic_output"])
        .args(&[key("key")]),
    row("exists", -2, READONLY | FAST, &[range(1, -1, 1, RO)], Here(keys::exists))
        .doc("1.0.0", "Counts how many of the keys exist.", "O(N) where N is the number of keys to check.")
        .route(Split { step: 1, join: Join::Sum })
        .history(&[("3.0.3", "Accepts multiple `key` arguments.")])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .args(&[key("key").many()]),
    row("expire", -3, WRITE | FAST, &[at(1, RW | UPDATE)], Here(keys::expire))
        .doc("1.0.0", "Sets a key's time to live in seconds.", "O(1)")
        .history(&[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")])
        .args(&[key("key"), int("seconds"), CONDITION]),
    row("expireat", -3, WRITE | FAST, &[at(1, RW | UPDATE)], Here(keys::expireat))
        .doc("1.2.0", "Sets the unix time, in seconds, at which a key expires.", "O(1)")
        .history(&[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")])
        .args(&[key("key"), unix_time("unix-time-seconds"), CONDITION]),
    row("expiretime", 2, READONLY | FAST, &[at(1, RO | ACCESS)], Here(keys::expiretime))
        .doc("7.0.0", "Tells the unix time, in seconds, at which a key expires.", "O(1)")
        .args(&[key("key")]),
    row("keys", 2, READONLY, &[], Here(keys::keys))
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .doc(
            "1.0.0",
            "Lists the keys that match a pattern.",
            "O(N) where N is the number of keys in the database",
        )
        .route(All(Join::Concat))
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .args(&[pattern("pattern")]),
    row("migrate", -6, WRITE, &[at(3, RW | ACCESS | DELETE), MIGRATE_KEYS], Run::Above(Verb::Migrate))
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .doc(
            "2.6.0",
            "Moves keys to another server.",
            "O(N) to write the values here and to read them there, and their transfer.",
        )
        .history(&[
            ("3.0.0", "Added the `COPY` and `REPLACE` options."),
            ("3.0.6", "Added the `KEYS` option."),
            ("4.0.7", "Added the `AUTH` option."),
            ("6.0.0", "Added the `AUTH2` option."),
        ])
        .route(Away)
        .tips(&["nondeterministic_output"])
        .args(&[
            text("host"),
            int("port"),
            one_of("key_or_empty_string", &[key("key"), word("empty_string", "")]),
            int("destination-db"),
            int("timeout"),
            word("copy", "COPY").opt().since("3.0.0"),
            word("replace", "REPLACE").opt().since("3.0.0"),
            one_of(
                "authentication",
                &[
                    text("password").after("AUTH").opt().since("4.0.7"),
                    block("username_password", &[text("username"), text("password")])
                        .after("AUTH2")
                        .opt()
                        .since("6.0.0"),
                ],
            )
            .opt(),
            key("key").after("KEYS").spec(1).opt().many().since("3.0.6"),
        ]),
    row("move", 3, WRITE | FAST, &[at(1, RW | ACCESS | UPDATE)], Here(keys::move_))
        .doc("1.0.0", "Moves a key to another database.", "O(1)")
        .args(&[key("key"), int("db")]),
    container("object", -2, 0, OBJECT_SUBS).doc(
        "2.2.3",
        "Container of the commands that look inside a value.",
        "Depends on subcommand.",
    ),
    row("persist", 2, WRITE | FAST, &[at(1, RW | UPDATE)], Here(keys::persist))
        .doc("2.2.0", "Removes a key's expiry.", "O(1)")
        .args(&[key("key")]),
    row("pexpire", -3, WRITE | FAST, &[at(1, RW | UPDATE)], Here(keys::pexpire))
        .doc("2.6.0", "Sets a key's time to live in milliseconds.", "O(1)")
        .history(&[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")])
        .args(&[key("key"), int("milliseconds"), CONDITION]),
    row("pexpireat", -3, WRITE | FAST, &[at(1, RW | UPDATE)], Here(keys::pexpireat))
        .doc("2.6.0", "Sets the unix time, in milliseconds, at which a key expires.", "O(1)")
        .history(&[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")])
        .args(&[key("key"), unix_time("unix-time-milliseconds"), CONDITION]),
    row("pexpiretime", 2, READONLY | FAST, &[at(1, RO | ACCESS)], Here(keys::pexpiretime))
        .doc("7.0.0", "Tells the unix time, in milliseconds, at which a key expires.", "O(1)")
        .args(&[key("key")]),
    row("pttl", 2, READONLY | FAST, &[at(1, RO | ACCESS)], Here(keys::pttl))
        .doc("2.6.0", "Tells a key's time to live in milliseconds.", "O(1)")
        .history(&[("2.8.0", "Added the -2 reply.")])
        .tips(&["nondeterministic_output"])
        .args(&[key("key")]),
    row("randomkey", 1, READONLY | TOUCHES_ARBITRARY_KEYS, &[], Here(keys::randomkey))
        .doc("1.0.0", "Names some key.", "O(1)")
        .route(All(Join::Any))
        .tips(&["request_policy:all_shards", "nondeterministic_output"]),
    row("rename", 3, WRITE, &[at(1, RW | ACCESS | DELETE), at(2, OW | UPDATE)], Here(keys::rename))
        .doc("1.0.0", "Renames a key, over an existing one.", "O(1)")
        .args(&[key("key"), key("newkey").spec(1)]),
    row(
        "renamenx",
        3,
        WRITE | FAST,
        &[at(1, RW | ACCESS | DELETE), at(2, OW | INSERT)],
        Here(keys::renamenx),
    )
    .doc("1.0.0", "Renames a key unless the new name exists.", "O(1)")
    .history(&[(
        "3.2.0",
        "The command no longer returns an error when source and destination names are the same.",
    )])
    .args(&[key("key"), key("newkey").spec(1)]),
    restore("generic", "restore", 0).doc("2.6.0", "Creates a key from what DUMP replied.", RESTORE_COST),
    restore("server", "restore-asking", ASKING | SYSCMD).doc(
        "3.0.0",
        "RESTORE into a slot that is on its way here.",
        RESTORE_COST,
    ),
    row("scan", -2, READONLY | TOUCHES_ARBITRARY_KEYS, &[], Here(keys::scan))
        .doc(
            "2.8.0",
            "Walks over the keys of the database.",
            "O(1) for every call. O(N) for a complete iteration over N keys.",
        )
        .route(Cursor)
        .history(&[("6.0.0", "Added the `TYPE` subcommand.")])
        .tips(&["nondeterministic_output", "request_policy:special"])
        .args(&[
            int("cursor"),
            pattern("pattern").after("MATCH").opt(),
            int("count").after("COUNT").opt(),
            text("type").after("TYPE").opt().since("6.0.0"),
        ]),
    row("sort", -2, WRITE | DENYOOM, &[at(1, RO | ACCESS), BY_AND_GET, STORE], Here(sort::sort))
        .acl(acl::SET | acl::SORTEDSET | acl::LIST | acl::DANGEROUS)
        .doc(
            "1.0.0",
            "Sorts a list, set or sorted set, and may store the result.",
            "O(N+M*log(M)) where N is the number of elements and M the number of returned ones",
        )
        .args(&[
            key("key"),
            pattern("pattern").after("BY").spec(1).opt(),
            block("offset_count", &[int("offset"), int("count")]).after("LIMIT").opt(),
            pattern("pattern").after("GET").spec(1).opt().many_tokens(),
            one_of("order", &[word("asc", "ASC"), word("desc", "DESC")]).opt(),
            word("sorting", "ALPHA").opt(),
            key("destination").after("STORE").spec(2).opt(),
        ]),
    row("sort_ro", -2, READONLY, &[at(1, RO | ACCESS), BY_AND_GET], Here(sort::sort_ro))
        .acl(acl::SET | acl::SORTEDSET | acl::LIST | acl::DANGEROUS)
        .doc(
            "7.0.0",
            "Sorts a list, set or sorted set.",
            "O(N+M*log(M)) where N is the number of elements and M the number of returned ones",
        )
        .args(&[
            key("key"),
            pattern("pattern").after("BY").spec(1).opt(),
            block("offset_count", &[int("offset"), int("count")]).after("LIMIT").opt(),
            pattern("pattern").after("GET").spec(1).opt().many_tokens(),
            one_of("order", &[word("asc", "ASC"), word("desc", "DESC")]).opt(),
            word("sorting", "ALPHA").opt(),
        ]),
    row("touch", -2, READONLY | FAST, &[range(1, -1, 1, RO)], Here(keys::touch))
        .doc(
            "3.2.1",
            "Marks keys as just used and counts those that exist.",
            "O(N) where N is the number of keys that will be touched.",
        )
        .route(Split { step: 1, join: Join::Sum })
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .args(&[key("key").many()]),
    row("ttl", 2, READONLY | FAST, &[at(1, RO | ACCESS)], Here(keys::ttl))
        .doc("1.0.0", "Tells a key's time to live in seconds.", "O(1)")
        .history(&[("2.8.0", "Added the -2 reply.")])
        .tips(&["nondeterministic_output"])
        .args(&[key("key")]),
    row("type", 2, READONLY | FAST, &[at(1, RO)], Here(keys::type_))
        .doc("1.0.0", "Tells the type of a value.", "O(1)")
        .args(&[key("key")]),
    row("unlink", -2, WRITE | FAST, &[range(1, -1, 1, RM | DELETE)], Here(keys::unlink))
        .doc(
            "4.0.0",
            "Deletes keys and frees their memory later.",
            "O(1) for each key. Memory is freed later, O(N) in the number of elements.",
        )
        .route(Split { step: 1, join: Join::Sum })
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .args(&[key("key").many()]),
];

const OBJECT_SUBS: &[Spec] = &[
    row("object|encoding", 3, READONLY, &[at(2, RO)], Here(keys::object_encoding))
        .doc("2.2.3", "Tells how a value is stored.", "O(1)")
        .tips(&["nondeterministic_output"])
        .args(&[key("key")]),
    row("object|freq", 3, READONLY, &[at(2, RO)], Here(keys::object_freq))
        .doc("4.0.0", "Tells how often a key is used, as the LFU policies count it.", "O(1)")
        .tips(&["nondeterministic_output"])
        .args(&[key("key")]),
    row("object|help", 2, LOADING | STALE, &[], Here(keys::object_help)).doc(
        "6.2.0",
        "Explains the subcommands of OBJECT.",
        "O(1)",
    ),
    row("object|idletime", 3, READONLY, &[at(2, RO)], Here(keys::object_idletime))
        .doc("2.2.3", "Tells the seconds since a key was last used.", "O(1)")
        .tips(&["nondeterministic_output"])
        .args(&[key("key")]),
    row("object|refcount", 3, READONLY, &[at(2, RO)], Here(keys::object_refcount))
        .doc("2.2.3", "Tells the reference count of a value.", "O(1)")
        .tips(&["nondeterministic_output"])
        .args(&[key("key")]),
];
