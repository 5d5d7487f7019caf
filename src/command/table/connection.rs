//! Connections.

use super::row::*;
use crate::command::connection;
use crate::command::spec::Route::All;
use crate::command::spec::Run::{Above, Here};
use crate::command::spec::flag::{ADMIN, ALLOW_BUSY, FAST, LOADING, NO_AUTH, NOSCRIPT, SENTINEL, STALE};
use crate::command::spec::{Join, KeySpec, Run, Spec, Verb, acl};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("connection", name, arity, flags, keys, run).acl(acl::CONNECTION)
}

const fn container(name: &'static str, arity: i16, flags: u32, subs: &'static [Spec]) -> Spec {
    new("connection", name, arity, flags, &[], Run::Sub).subs(subs)
}

pub(super) const ROWS: &[Spec] =
    &[
        row(
            "auth",
            -2,
            NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | SENTINEL | ALLOW_BUSY,
            &[],
            Above(Verb::Auth),
        )
        .doc(
            "1.0.0",
            "Authenticates the connection.",
            "O(N) where N is the number of passwords defined for the user",
        )
        .history(&[("6.0.0", "Added ACL style (username and password).")])
        .args(&[text("username").opt().since("6.0.0"), text("password")]),
        container("client", -2, SENTINEL, CLIENT_SUBS).doc(
            "2.4.0",
            "Container of the commands about client connections.",
            "Depends on subcommand.",
        ),
        row("echo", 2, LOADING | STALE | FAST, &[], Here(connection::echo))
            .doc("1.0.0", "Returns its argument.", "O(1)")
            .args(&[text("message")]),
        row(
            "hello",
            -1,
            NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | SENTINEL | ALLOW_BUSY,
            &[],
            Above(Verb::Hello),
        )
        .doc("6.0.0", "Greets the server and chooses the protocol.", "O(1)")
        .history(&[(
            "6.2.0",
            "`protover` made optional; when called without arguments the command reports the \
             current connection's context.",
        )])
        .args(&[block(
            "arguments",
            &[
                int("protover"),
                block("username_password", &[text("username"), text("password")]).after("AUTH").opt(),
                text("clientname").after("SETNAME").opt(),
            ],
        )
        .opt()]),
        row("ping", -1, FAST | SENTINEL, &[], Here(connection::ping))
            .doc("1.0.0", "Answers, to show that the server is alive.", "O(1)")
            .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
            .args(&[text("message").opt()]),
        row("quit", -1, ALLOW_BUSY | NOSCRIPT | LOADING | STALE | FAST | NO_AUTH, &[], Above(Verb::Quit))
            .doc("1.0.0", "Closes the connection.", "O(1)"),
        row("reset", 1, NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY, &[], Above(Verb::Reset))
            .doc("6.2.0", "Returns the connection to its first state.", "O(1)"),
        row("select", 2, LOADING | STALE | FAST, &[], Here(connection::select))
            .doc("1.0.0", "Chooses the connection's database.", "O(1)")
            .args(&[int("index")]),
    ];

const CLIENT_SUBS: &[Spec] = &[
    row("client|caching", 3, NOSCRIPT | LOADING | STALE | SENTINEL, &[], Above(Verb::ClientCaching))
        .doc("6.0.0", "Says whether what the next command reads is to be remembered.", "O(1)")
        .args(&[one_of("mode", &[word("yes", "YES"), word("no", "NO")])]),
    row("client|getname", 2, NOSCRIPT | LOADING | STALE | SENTINEL, &[], Here(connection::client_getname))
        .doc("2.6.9", "Tells the connection's name.", "O(1)"),
    row("client|getredir", 2, NOSCRIPT | LOADING | STALE | SENTINEL, &[], Above(Verb::ClientGetredir)).doc(
        "6.0.0",
        "Tells who is told in the connection's place of what has changed.",
        "O(1)",
    ),
    row("client|help", 2, LOADING | STALE | SENTINEL, &[], Here(connection::client_help)).doc(
        "5.0.0",
        "Explains the subcommands of CLIENT.",
        "O(1)",
    ),
    row("client|id", 2, NOSCRIPT | LOADING | STALE | SENTINEL, &[], Here(connection::client_id)).doc(
        "5.0.0",
        "Tells the connection's id.",
        "O(1)",
    ),
    row("client|info", 2, NOSCRIPT | LOADING | STALE | SENTINEL, &[], Above(Verb::ClientInfo))
        .doc("6.2.0", "Describes the connection.", "O(1)")
        .tips(&["nondeterministic_output"]),
    row("client|kill", -3, ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL, &[], Above(Verb::ClientKill))
        .route(All(Join::Found))
        .doc("2.4.0", "Closes connections.", "O(N) where N is the number of client connections")
        .history(&[
            ("2.8.12", "Added new filter format."),
            ("2.8.12", "`ID` option."),
            ("3.2.0", "Added `master` type in for `TYPE` option."),
            (
                "5.0.0",
                "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility.",
            ),
            ("6.2.0", "`LADDR` option."),
        ])
        .args(&[one_of(
            "filter",
            &[
                text("ip:port").deprecated("2.8.12"),
                one_of(
                    "new-format",
                    &[
                        int("client-id").after("ID").opt().since("2.8.12"),
                        one_of(
                            "normal_master_slave_pubsub",
                            &[
                                word("normal", "NORMAL"),
                                word("master", "MASTER").since("3.2.0"),
                                word("slave", "SLAVE"),
                                word("replica", "REPLICA").since("5.0.0"),
                                word("pubsub", "PUBSUB"),
                            ],
                        )
                        .after("TYPE")
                        .opt()
                        .since("2.8.12"),
                        text("username").after("USER").opt(),
                        text("ip:port").after("ADDR").opt(),
                        text("ip:port").after("LADDR").opt().since("6.2.0"),
                        text("yes/no").after("SKIPME").opt(),
                    ],
                )
                .many(),
            ],
        )]),
    row("client|list", -2, ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL, &[], Above(Verb::ClientList))
        .route(All(Join::Text))
        .doc("2.4.0", "Describes all connections.", "O(N) where N is the number of client connections")
        .history(&[
            ("2.8.12", "Added unique client `id` field."),
            ("5.0.0", "Added optional `TYPE` filter."),
            ("6.0.0", "Added `user` field."),
            (
                "6.2.0",
                "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter.",
            ),
            ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."),
            ("7.0.3", "Added `ssub` field."),
        ])
        .tips(&["nondeterministic_output"])
        .args(&[
            one_of(
                "normal_master_replica_pubsub",
                &[
                    word("normal", "NORMAL"),
                    word("master", "MASTER"),
                    word("replica", "REPLICA"),
                    word("pubsub", "PUBSUB"),
                ],
            )
            .after("TYPE")
            .opt()
            .since("5.0.0"),
            block("id", &[int("client-id").many()]).after("ID").opt().since("6.2.0"),
        ]),
    row(
        "client|no-evict",
        3,
        ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL,
        &[],
        Here(connection::client_no_evict),
    )
    .doc("7.0.0", "Exempts the connection from client eviction, or not.", "O(1)")
    .args(&[one_of("enabled", &[word("on", "ON"), word("off", "OFF")])]),
    row("client|no-touch", 3, NOSCRIPT | LOADING | STALE, &[], Here(connection::client_no_touch))
        .doc("7.2.0", "Lets the connection's commands leave the keys' last use alone, or not.", "O(1)")
        .args(&[one_of("enabled", &[word("on", "ON"), word("off", "OFF")])]),
    row("client|pause", -3, ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL, &[], Above(Verb::ClientPause))
        .route(All(Join::Ok))
        .doc("2.9.50", "Holds clients' commands back for a while.", "O(1)")
        .history(&[("6.2.0", "`CLIENT PAUSE WRITE` mode added along with the `mode` option.")])
        .args(&[
            int("timeout"),
            one_of("mode", &[word("write", "WRITE"), word("all", "ALL")]).opt().since("6.2.0"),
        ]),
    row("client|reply", 3, NOSCRIPT | LOADING | STALE | SENTINEL, &[], Above(Verb::ClientReply))
        .doc("3.2.0", "Turns replies on or off, or skips the next one.", "O(1)")
        .args(&[one_of("on_off_skip", &[word("on", "ON"), word("off", "OFF"), word("skip", "SKIP")])]),
    row("client|setinfo", 4, NOSCRIPT | LOADING | STALE, &[], Here(connection::client_setinfo))
        .doc("7.2.0", "Tells the server about the client's library.", "O(1)")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[one_of("attr", &[text("libname").after("LIB-NAME"), text("libver").after("LIB-VER")])]),
    row("client|setname", 3, NOSCRIPT | LOADING | STALE | SENTINEL, &[], Here(connection::client_setname))
        .doc("2.6.9", "Names the connection.", "O(1)")
        .args(&[text("connection-name")]),
    row("client|tracking", -3, NOSCRIPT | LOADING | STALE | SENTINEL, &[], Above(Verb::ClientTracking))
        .doc(
            "6.0.0",
            "Lets the connection keep copies of what it reads, or not.",
            "O(1). Some options may introduce additional complexity.",
        )
        .args(&[
            one_of("status", &[word("on", "ON"), word("off", "OFF")]),
            int("client-id").after("REDIRECT").opt(),
            text("prefix").after("PREFIX").opt().many_tokens(),
            word("bcast", "BCAST").opt(),
            word("optin", "OPTIN").opt(),
            word("optout", "OPTOUT").opt(),
            word("noloop", "NOLOOP").opt(),
        ]),
    row(
        "client|trackinginfo",
        2,
        NOSCRIPT | LOADING | STALE | SENTINEL,
        &[],
        Above(Verb::ClientTrackinginfo),
    )
    .doc("6.2.0", "Tells how the connection keeps copies.", "O(1)"),
    row("client|unblock", -3, ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL, &[], Above(Verb::ClientUnblock))
        .route(All(Join::Sum))
        .doc(
            "5.0.0",
            "Unblocks a client that waits in a blocking command.",
            "O(log N) where N is the number of client connections",
        )
        .args(&[
            int("client-id"),
            one_of("timeout_error", &[word("timeout", "TIMEOUT"), word("error", "ERROR")]).opt(),
        ]),
    row("client|unpause", 2, ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL, &[], Above(Verb::ClientUnpause))
        .route(All(Join::Ok))
        .doc("6.2.0", "Ends a pause of the clients.", "O(N) Where N is the number of paused clients"),
];
