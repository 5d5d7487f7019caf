//! Users.

use super::row::*;
use crate::command::acl_cmd;
use crate::command::ctx::Ctx;
use crate::command::error::Done;
use crate::command::spec::flag::{ADMIN, LOADING, NOSCRIPT, SENTINEL, STALE};
use crate::command::spec::{Run, Spec};
use crate::resp::Args;

const fn sub(
    name: &'static str,
    arity: i16,
    flags: u32,
    run: for<'a, 'b, 'c> fn(&'a mut Ctx<'b>, Args<'c>) -> Done,
) -> Spec {
    new("server", name, arity, LOADING | STALE | SENTINEL | flags, &[], Run::Here(run))
}

pub(super) const ROWS: &[Spec] = &[new("server", "acl", -2, SENTINEL, &[], Run::Sub).subs(SUBS).doc(
    "6.0.0",
    "Container of the commands about users.",
    "Depends on subcommand.",
)];

const SUBS: &[Spec] = &[
    sub("acl|cat", -2, NOSCRIPT, acl_cmd::acl_cat)
        .doc(
            "6.0.0",
            "Lists the categories of commands, or the commands of one.",
            "O(1) since the categories and commands are a fixed set.",
        )
        .args(&[text("categoryname").opt()]),
    sub("acl|deluser", -3, ADMIN | NOSCRIPT, acl_cmd::acl_deluser)
        .doc("6.0.0", "Removes users.", "O(1) amortized time considering the typical user.")
        .args(&[text("username").many()]),
    sub("acl|dryrun", -4, ADMIN | NOSCRIPT, acl_cmd::acl_dryrun)
        .doc("7.0.0", "Tells whether a user may run a command, which is not executed.", "O(1).")
        .args(&[text("username"), text("command"), text("arg").opt().many()]),
    sub("acl|genpass", -2, NOSCRIPT, acl_cmd::acl_genpass)
        .doc("6.0.0", "Makes up a password that nobody can guess.", "O(1)")
        .args(&[int("bits").opt()]),
    sub("acl|getuser", 3, ADMIN | NOSCRIPT, acl_cmd::acl_getuser)
        .doc(
            "6.0.0",
            "Tells a user's rules.",
            "O(N). Where N is the number of password, command and pattern rules that the user has.",
        )
        .history(&[
            ("6.2.0", "Added Pub/Sub channel patterns."),
            (
                "7.0.0",
                "Added selectors and changed the format of key and channel patterns from a list to their \
                 rule representation.",
            ),
        ])
        .args(&[text("username")]),
    sub("acl|help", 2, 0, acl_cmd::acl_help).doc("6.0.0", "Explains the subcommands of ACL.", "O(1)"),
    sub("acl|list", 2, ADMIN | NOSCRIPT, acl_cmd::acl_list).doc(
        "6.0.0",
        "Lists all users' rules as a file has them.",
        "O(N). Where N is the number of configured users.",
    ),
    sub("acl|load", 2, ADMIN | NOSCRIPT, acl_cmd::acl_load).doc(
        "6.0.0",
        "Reads the users from their file.",
        "O(N). Where N is the number of configured users.",
    ),
    sub("acl|log", -2, ADMIN | NOSCRIPT, acl_cmd::acl_log)
        .doc("6.0.0", "Lists what was denied of late.", "O(N) with N being the number of entries shown.")
        .args(&[one_of("operation", &[int("count"), word("reset", "RESET")]).opt()]),
    sub("acl|save", 2, ADMIN | NOSCRIPT, acl_cmd::acl_save).doc(
        "6.0.0",
        "Writes the users into their file.",
        "O(N). Where N is the number of configured users.",
    ),
    sub("acl|setuser", -3, ADMIN | NOSCRIPT, acl_cmd::acl_setuser)
        .doc("6.0.0", "Adds a user, or changes its rules.", "O(N). Where N is the number of rules provided.")
        .history(&[
            ("6.2.0", "Added Pub/Sub channel patterns."),
            ("7.0.0", "Added selectors and key based permissions."),
        ])
        .args(&[text("username"), text("rule").opt().many()]),
    sub("acl|users", 2, ADMIN | NOSCRIPT, acl_cmd::acl_users).doc(
        "6.0.0",
        "Lists the users' names.",
        "O(N). Where N is the number of configured users.",
    ),
    sub("acl|whoami", 2, NOSCRIPT, acl_cmd::acl_whoami).doc("6.0.0", "Tells the connection's user.", "O(1)"),
];
