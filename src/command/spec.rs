//! What one row of the command table is.

use super::ctx::Ctx;
use super::error::Done;
use super::host::Kind;
use crate::resp::Args;

/// Executes a command: writes its reply to `ctx.out`, or returns the error to be written instead.
pub type Handler = fn(&mut Ctx<'_>, Args<'_>) -> Done;

/// Who executes a command.
#[derive(Clone, Copy)]
pub enum Run {
    /// This function, on the shard that owns the keys.
    Here(Handler),
    /// The session or the shard above, which know this verb.
    Above(Verb),
    /// A container: one of [`Spec::subs`].
    Sub,
}

/// Commands that need more than a keyspace: the client's session, or other clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Auth,
    BgSave,
    BgRewriteAof,
    Hello,
    Quit,
    Reset,
    ClientInfo,
    ClientKill,
    ClientList,
    ClientPause,
    ClientReply,
    ClientTracking,
    ClientCaching,
    ClientGetredir,
    ClientTrackinginfo,
    ClientUnblock,
    ClientUnpause,
    Migrate,
    /// A subcommand of CLUSTER that the host's plane answers.
    Plane,
    /// CLUSTER BALANCE, which the plane may have to carry out.
    Balance,
    Shutdown,
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    Failover,
    Replconf,
    /// REPLICAOF, and its older name.
    Replicaof,
    Role,
    /// SYNC and PSYNC.
    Sync,
    Wait,
    /// SUBSCRIBE, PSUBSCRIBE and SSUBSCRIBE, and what ends them. Of shard channels, the kind is `Sharded` here.
    Subscribe(Kind),
    Unsubscribe(Kind),
    Monitor,
    /// PUBLISH and SPUBLISH.
    Publish(Kind),
    WaitAof,
    Script(Script),
}

/// What needs an interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// EVAL and EVAL_RO; of which a row tells by [`flag::READONLY`].
    Eval,
    EvalSha,
    /// FCALL and FCALL_RO.
    Call,
    /// SCRIPT LOAD
    Load,
}

/// How a front door finds the shard, or the shards, for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Any shard will do: the command touches no key.
    Local,
    /// The shard that owns its keys; they must all be in one slot.
    Keys,
    /// The shard of its client, which borrows what it needs of others; and the command before it counts
    /// (WATCH; MULTI after ASKING).
    Home,
    /// The shard of its client, where the shard channels that it names are this host's, or this node's.
    Channels,
    /// As `Keys`, each owner for its own; the client waits until all have answered (MIGRATE).
    Away,
    /// Split by owner (keys every `step` arguments), replies joined.
    Split { step: u8, join: Join },
    /// Every shard executes it, replies joined.
    All(Join),
    /// The shard that owns the slot in the cursor (SCAN).
    Cursor,
}

/// How the replies of several shards become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Integers are added.
    Sum,
    /// `OK` when all say so, else the first error.
    Ok,
    /// `OK` when one says so.
    Moved,
    /// Array elements go back to the places of their keys.
    Places,
    /// Arrays are concatenated.
    Concat,
    /// Texts (bulk or verbatim strings) are concatenated.
    Text,
    /// Integers are added; where a shard says `OK`, that outweighs the errors of others.
    Found,
    /// Laid over each other (DEBUG): of hex digests every bit that an odd number of shards has set;
    /// any other status outweighs errors; of what all say alike, one.
    Overlay,
    /// One of the replies that are not null, at random (RANDOMKEY).
    Any,
}

/// Command flags, as COMMAND INFO shows them.
pub mod flag {
    pub const WRITE: u32 = 1;
    pub const READONLY: u32 = 1 << 1;
    pub const DENYOOM: u32 = 1 << 2;
    pub const ADMIN: u32 = 1 << 3;
    pub const PUBSUB: u32 = 1 << 4;
    pub const NOSCRIPT: u32 = 1 << 5;
    pub const BLOCKING: u32 = 1 << 6;
    pub const LOADING: u32 = 1 << 7;
    pub const STALE: u32 = 1 << 8;
    pub const SKIP_MONITOR: u32 = 1 << 9;
    pub const SKIP_SLOWLOG: u32 = 1 << 10;
    pub const ASKING: u32 = 1 << 11;
    pub const FAST: u32 = 1 << 12;
    pub const NO_AUTH: u32 = 1 << 13;
    pub const MAY_REPLICATE: u32 = 1 << 14;
    pub const SENTINEL: u32 = 1 << 15;
    pub const ONLY_SENTINEL: u32 = 1 << 16;
    pub const NO_MANDATORY_KEYS: u32 = 1 << 17;
    pub const PROTECTED: u32 = 1 << 18;
    pub const NO_ASYNC_LOADING: u32 = 1 << 19;
    pub const NO_MULTI: u32 = 1 << 20;
    pub const ALLOW_BUSY: u32 = 1 << 21;
    pub const MOVABLE_KEYS: u32 = 1 << 22;
    /// Reads or writes keys that its arguments do not name (SORT's BY and GET, KEYS, SCAN).
    pub const TOUCHES_ARBITRARY_KEYS: u32 = 1 << 24;
    /// Of no use to applications; shown by COMMAND DOCS only.
    pub const SYSCMD: u32 = 1 << 23;
}

/// ACL categories, in Redis's order.
pub mod acl {
    pub const KEYSPACE: u32 = 1;
    pub const READ: u32 = 1 << 1;
    pub const WRITE: u32 = 1 << 2;
    pub const SET: u32 = 1 << 3;
    pub const SORTEDSET: u32 = 1 << 4;
    pub const LIST: u32 = 1 << 5;
    pub const HASH: u32 = 1 << 6;
    pub const STRING: u32 = 1 << 7;
    pub const BITMAP: u32 = 1 << 8;
    pub const HYPERLOGLOG: u32 = 1 << 9;
    pub const GEO: u32 = 1 << 10;
    pub const STREAM: u32 = 1 << 11;
    pub const PUBSUB: u32 = 1 << 12;
    pub const ADMIN: u32 = 1 << 13;
    pub const FAST: u32 = 1 << 14;
    pub const SLOW: u32 = 1 << 15;
    pub const BLOCKING: u32 = 1 << 16;
    pub const DANGEROUS: u32 = 1 << 17;
    pub const CONNECTION: u32 = 1 << 18;
    pub const TRANSACTION: u32 = 1 << 19;
    pub const SCRIPTING: u32 = 1 << 20;

    /// Their names.
    pub const CATEGORIES: &[(u32, &str)] = &[
        (KEYSPACE, "@keyspace"),
        (READ, "@read"),
        (WRITE, "@write"),
        (SET, "@set"),
        (SORTEDSET, "@sortedset"),
        (LIST, "@list"),
        (HASH, "@hash"),
        (STRING, "@string"),
        (BITMAP, "@bitmap"),
        (HYPERLOGLOG, "@hyperloglog"),
        (GEO, "@geo"),
        (STREAM, "@stream"),
        (PUBSUB, "@pubsub"),
        (ADMIN, "@admin"),
        (FAST, "@fast"),
        (SLOW, "@slow"),
        (BLOCKING, "@blocking"),
        (DANGEROUS, "@dangerous"),
        (CONNECTION, "@connection"),
        (TRANSACTION, "@transaction"),
        (SCRIPTING, "@scripting"),
    ];
}

/// Where one group of keys stands in the arguments, and what is done to it.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    pub begin: Begin,
    pub find: Find,
    /// Bits of [`key`].
    pub flags: u32,
    pub notes: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub enum Begin {
    Index(i32),
    /// After this word, searched from `from` (negative: from the end).
    Keyword {
        word: &'static str,
        from: i32,
    },
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// `last` counts from the first key; negative from the last argument (-1 is the last).
    Range {
        last: i32,
        step: i32,
        limit: i32,
    },
    /// `num`: where the number of keys stands, counted from the beginning; `first`: the first key.
    NumKeys {
        num: i32,
        first: i32,
        step: i32,
    },
    Unknown,
}

/// Keys as `first, last, step`, all 0 without keys at fixed places. A negative `last` counts from
/// the end (-1 is the last argument).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legacy {
    pub first: i16,
    pub last: i16,
    pub step: i16,
}

/// Key-spec flags.
pub mod key {
    pub const RO: u32 = 1;
    pub const RW: u32 = 1 << 1;
    pub const OW: u32 = 1 << 2;
    pub const RM: u32 = 1 << 3;
    pub const ACCESS: u32 = 1 << 4;
    pub const UPDATE: u32 = 1 << 5;
    pub const INSERT: u32 = 1 << 6;
    pub const DELETE: u32 = 1 << 7;
    pub const NOT_KEY: u32 = 1 << 8;
    pub const INCOMPLETE: u32 = 1 << 9;
    pub const VARIABLE_FLAGS: u32 = 1 << 10;
}

/// One argument in COMMAND DOCS.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    pub name: &'static str,
    /// `string`, `integer`, `double`, `key`, `pattern`, `unix-time`, `pure-token`, `oneof`, `block`.
    pub kind: &'static str,
    pub token: &'static str,
    pub since: &'static str,
    pub deprecated_since: &'static str,
    /// Index into the key specs, -1 when not a key.
    pub key_spec: i8,
    /// Bits of [`arg`].
    pub flags: u8,
    pub args: &'static [Arg],
}

pub mod arg {
    pub const OPTIONAL: u8 = 1;
    pub const MULTIPLE: u8 = 1 << 1;
    pub const MULTIPLE_TOKEN: u8 = 1 << 2;
}

/// A row: everything that COMMAND, arity checks, ACLs, key extraction and routing derive from.
#[derive(Clone, Copy)]
pub struct Spec {
    /// Dense: the row's place in per-command arrays of `table::COUNT`.
    pub id: u16,
    /// Lower case; a subcommand's is `container|sub`.
    pub name: &'static str,
    /// Number of arguments, the name included (for a subcommand: both words); negative: at least.
    pub arity: i16,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Bits of [`acl`], those that flags imply included.
    pub acl: u32,
    pub keys: &'static [KeySpec],
    /// What the key specs come to where one range can say it.
    pub legacy: Legacy,
    pub route: Route,
    pub run: Run,
    pub subs: &'static [Spec],
    pub group: &'static str,
    pub since: &'static str,
    pub summary: &'static str,
    pub complexity: &'static str,
    /// `(replaced_by, since)` when deprecated.
    pub deprecated: Option<(&'static str, &'static str)>,
    pub history: &'static [(&'static str, &'static str)],
    pub tips: &'static [&'static str],
    pub args: &'static [Arg],
}

impl Spec {
    #[inline]
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    #[inline]
    pub fn arity_fits(&self, argc: usize) -> bool {
        if self.arity >= 0 { argc == self.arity as usize } else { argc >= -self.arity as usize }
    }
}
