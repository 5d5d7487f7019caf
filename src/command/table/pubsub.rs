//! Pub/sub.

use super::row::*;
use crate::command::host::Kind;
use crate::command::pubsub;
use crate::command::spec::Run::{Above, Here};
use crate::command::spec::flag::{FAST, LOADING, MAY_REPLICATE, NOSCRIPT, PUBSUB, SENTINEL, STALE};
use crate::command::spec::{KeySpec, Route, Run, Spec, Verb, key};

const fn row(name: &'static str, arity: i16, flags: u32, keys: &'static [KeySpec], run: Run) -> Spec {
    new("pubsub", name, arity, LOADING | STALE | flags, keys, run)
}

/// SUBSCRIBE and its like, and what ends it.
const fn listening(name: &'static str, arity: i16, verb: Verb) -> Spec {
    row(name, arity, PUBSUB | NOSCRIPT | SENTINEL, &[], Above(verb))
}

/// All arguments are shard channels.
const CHANNELS: &[KeySpec] = &[range(1, -1, 1, key::NOT_KEY)];

const fn sharded(name: &'static str, arity: i16, verb: Verb) -> Spec {
    row(name, arity, PUBSUB | NOSCRIPT, CHANNELS, Above(verb)).route(Route::Channels)
}

const fn publishing(name: &'static str, flags: u32, keys: &'static [KeySpec], kind: Kind) -> Spec {
    row(name, 3, PUBSUB | FAST | MAY_REPLICATE | flags, keys, Above(Verb::Publish(kind)))
}

const fn sub(name: &'static str, arity: i16, run: Run) -> Spec {
    row(name, arity, PUBSUB, &[], run)
}

pub(super) const ROWS: &[Spec] = &[
    listening("psubscribe", -2, Verb::Subscribe(Kind::Pattern))
        .doc(
            "2.0.0",
            "Listens to all channels whose names match.",
            "O(N) where N is the number of patterns the client is already subscribed to.",
        )
        .args(&[block("pattern", &[pattern("pattern")]).many()]),
    publishing("publish", SENTINEL, &[], Kind::Channel)
        .doc(
            "2.0.0",
            "Sends a message to all who listen to a channel.",
            "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total \
             number of subscribed patterns (by any client).",
        )
        .args(&[text("channel"), text("message")]),
    new("pubsub", "pubsub", -2, 0, &[], Run::Sub).subs(SUBS).doc(
        "2.8.0",
        "Container of the commands about who listens to what.",
        "Depends on subcommand.",
    ),
    listening("punsubscribe", -1, Verb::Unsubscribe(Kind::Pattern))
        .doc(
            "2.0.0",
            "Listens no more to channels whose names match.",
            "O(N+M) where N is the number of patterns the client is already subscribed and M is the number of \
             total patterns subscribed in the system (by any client).",
        )
        .args(&[pattern("pattern").opt().many()]),
    publishing("spublish", 0, &[at(1, key::NOT_KEY)], Kind::Sharded)
        .route(Route::Channels)
        .doc(
            "7.0.0",
            "Sends a message to all who listen to a shard channel.",
            "O(N) where N is the number of clients subscribed to the receiving shard channel.",
        )
        .args(&[text("shardchannel"), text("message")]),
    sharded("ssubscribe", -2, Verb::Subscribe(Kind::Sharded))
        .doc(
            "7.0.0",
            "Listens to shard channels.",
            "O(N) where N is the number of shard channels to subscribe to.",
        )
        .args(&[text("shardchannel").many()]),
    listening("subscribe", -2, Verb::Subscribe(Kind::Channel))
        .doc("2.0.0", "Listens to channels.", "O(N) where N is the number of channels to subscribe to.")
        .args(&[text("channel").many()]),
    sharded("sunsubscribe", -1, Verb::Unsubscribe(Kind::Sharded))
        .doc(
            "7.0.0",
            "Listens to shard channels no more.",
            "O(N) where N is the number of clients already subscribed to a shard channel.",
        )
        .args(&[text("shardchannel").opt().many()]),
    listening("unsubscribe", -1, Verb::Unsubscribe(Kind::Channel))
        .doc(
            "2.0.0",
            "Listens to channels no more.",
            "O(N) where N is the number of clients already subscribed to a channel.",
        )
        .args(&[text("channel").opt().many()]),
];

const SUBS: &[Spec] = &[
    sub("pubsub|channels", -2, Here(pubsub::channels))
        .doc(
            "2.8.0",
            "Lists the channels that somebody listens to.",
            "O(N) where N is the number of active channels, and assuming constant time pattern matching \
             (relatively short channels and patterns)",
        )
        .args(&[pattern("pattern").opt()]),
    row("pubsub|help", 2, 0, &[], Here(pubsub::pubsub_help)).doc(
        "6.2.0",
        "Explains the subcommands of PUBSUB.",
        "O(1)",
    ),
    sub("pubsub|numpat", 2, Here(pubsub::numpat)).doc(
        "2.8.0",
        "Counts the patterns that somebody listens by.",
        "O(1)",
    ),
    sub("pubsub|numsub", -2, Here(pubsub::numsub))
        .doc(
            "2.8.0",
            "Counts the listeners of channels.",
            "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
        )
        .args(&[text("channel").opt().many()]),
    sub("pubsub|shardchannels", -2, Here(pubsub::shard_channels))
        .doc(
            "7.0.0",
            "Lists the shard channels that somebody listens to.",
            "O(N) where N is the number of active shard channels, and assuming constant time pattern \
             matching (relatively short shard channels).",
        )
        .args(&[pattern("pattern").opt()]),
    sub("pubsub|shardnumsub", -2, Here(pubsub::shard_numsub))
        .doc(
            "7.0.0",
            "Counts the listeners of shard channels.",
            "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
        )
        .args(&[text("shardchannel").opt().many()]),
];
