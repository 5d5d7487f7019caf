//! Transactions.

use super::row::*;
use crate::command::spec::Route::Home;
use crate::command::spec::Run::Above;
use crate::command::spec::flag::{ALLOW_BUSY, FAST, LOADING, NOSCRIPT, SKIP_SLOWLOG, STALE};
use crate::command::spec::{KeySpec, Spec, Verb, acl, key};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], verb: Verb) -> Spec {
    new("transactions", name, arity, NOSCRIPT | LOADING | STALE | flags, keys, Above(verb))
        .acl(acl::TRANSACTION)
}

pub(super) const ROWS: &[Spec] = &[
    row("discard", 1, FAST | ALLOW_BUSY, &[], Verb::Discard).doc(
        "2.0.0",
        "Drops the transaction that is being queued.",
        "O(N), when N is the number of queued commands",
    ),
    row("exec", 1, SKIP_SLOWLOG, &[], Verb::Exec).doc(
        "1.2.0",
        "Executes what was queued since MULTI.",
        "Depends on commands in the transaction",
    ),
    row("multi", 1, FAST | ALLOW_BUSY, &[], Verb::Multi).route(Home).doc(
        "1.2.0",
        "Begins a transaction: the commands that follow are queued.",
        "O(1)",
    ),
    row("unwatch", 1, FAST | ALLOW_BUSY, &[], Verb::Unwatch).doc(
        "2.2.0",
        "Forgets all keys that are watched.",
        "O(1)",
    ),
    row("watch", -2, FAST | ALLOW_BUSY, &[range(1, -1, 1, key::RO)], Verb::Watch)
        .route(Home)
        .doc(
            "2.2.0",
            "Lets EXEC execute nothing if one of the keys has changed by then.",
            "O(1) for every key.",
        )
        .args(&[key("key").many()]),
];
