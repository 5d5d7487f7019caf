//! Whether a command may run: checks in the order of redis-server's, each with its error.

use super::state::Session;
use crate::command::error::ErrReply;
use crate::command::spec::{Run, Spec, Verb, flag};

/// What the gate asks besides the session. Kept up to date by the shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    /// The default user needs a password, or is off: who has not logged in may do nothing.
    pub auth_required: bool,
    /// Logs are being read.
    pub loading: bool,
    /// The log can't be written to: writes are refused with this error.
    pub unwritable: Option<i32>,
    /// More memory is used than `maxmemory`, and nothing more can be evicted.
    pub out_of_memory: bool,
    /// The last background save failed, and writes are not to go on without one.
    pub disk_failed: bool,
    /// This is a replica, and of a primary that is not there.
    pub replica: bool,
    pub stale: bool,
    /// What replication forbids: writes to a replica, anything that may be out of date, writes without
    /// enough replicas; and whether any of that is so.
    pub read_only: bool,
    pub cut_off: bool,
    pub lonely: bool,
    pub restricted: bool,
    /// A snapshot is made: a write may have to wait for it. The shard asks, not the gate.
    pub careful: bool,
    /// CLIENT PAUSE: until when, in ms, and whether reads may go on.
    pub paused_until: u64,
    pub pause_writes_only: bool,
}

pub const NO_AUTH: ErrReply = ErrReply::new("NOAUTH Authentication required.");
pub const LOADING: ErrReply = ErrReply::new("LOADING Redis is loading the dataset in memory");
pub const OUT_OF_MEMORY: ErrReply = ErrReply::new("OOM command not allowed when used memory > 'maxmemory'.");

pub const DISK_FAILED: ErrReply = ErrReply::new(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
     Commands that may modify the data set are disabled, because this instance is configured to report \
     errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the \
     Redis logs for details about the RDB error.",
);

pub const NO_REPLICAS: ErrReply = ErrReply::new("NOREPLICAS Not enough good replicas to write.");
pub const READ_ONLY: ErrReply = ErrReply::new("READONLY You can't write against a read only replica.");
pub const CUT_OFF: ErrReply =
    ErrReply::new("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");

/// Whether the shard that executes a command may, as it is. Only to be asked while it is restricted.
#[cold]
pub fn may_run(c: &Conditions, spec: &Spec) -> Result<(), ErrReply> {
    let writes = spec.has(flag::WRITE);
    if c.lonely && writes {
        return Err(NO_REPLICAS);
    }
    if c.read_only && writes {
        return Err(READ_ONLY);
    }
    if c.cut_off && !spec.has(flag::STALE) {
        return Err(CUT_OFF);
    }
    Ok(())
}

/// Whether a client must log in first.
#[inline]
pub fn authenticated(c: &Conditions, session: &Session, spec: &Spec) -> Result<(), ErrReply> {
    match c.auth_required && !session.caller.authenticated && !spec.has(flag::NO_AUTH) {
        true => Err(NO_AUTH),
        false => Ok(()),
    }
}

const NO_KEYSPACE: ErrReply = ErrReply::new("ERR Replica can't interact with the keyspace");

/// What a client may do that listens only, or monitors. To be asked before [`admit`].
#[cold]
pub fn admit_listener(c: &Conditions, session: &Session, spec: &Spec) -> Result<(), ErrReply> {
    admit(c, session, spec)?;
    let ends_it =
        matches!(spec.run, Run::Above(Verb::Subscribe(_) | Verb::Unsubscribe(_) | Verb::Quit | Verb::Reset));
    if session.monitor && spec.has(flag::WRITE | flag::READONLY | flag::MAY_REPLICATE) {
        return Err(NO_KEYSPACE);
    }
    if !session.is_listening_only() || ends_it || spec.name == "ping" {
        return Ok(());
    }
    let code = if spec.name == "exec" { "EXECABORT Transaction discarded because of:" } else { "ERR" };
    Err(ErrReply::owned(format!(
        "{code} Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
         this context",
        spec.name
    )))
}

/// Refuses or lets pass. The command exists and its arguments number right.
#[inline]
pub fn admit(c: &Conditions, session: &Session, spec: &Spec) -> Result<(), ErrReply> {
    if !(c.auth_required | c.out_of_memory | c.disk_failed | c.loading | c.unwritable.is_some()) {
        return Ok(());
    }
    look_closer(c, session, spec)
}

/// There are conditions under which some commands are refused.
#[inline(never)]
fn look_closer(c: &Conditions, session: &Session, spec: &Spec) -> Result<(), ErrReply> {
    authenticated(c, session, spec)?;
    if c.out_of_memory && spec.has(flag::DENYOOM) {
        return Err(OUT_OF_MEMORY);
    }
    if c.disk_failed && (spec.has(flag::WRITE) || spec.name == "ping") {
        return Err(DISK_FAILED);
    }
    match c.unwritable {
        Some(errno) if spec.has(flag::WRITE) || spec.name == "ping" => Err(unwritable(errno)),
        _ if c.loading && !spec.has(flag::LOADING) => Err(LOADING),
        _ => Ok(()),
    }
}

/// Writes are refused until the log can be written to again. `errno` is the system's number of the error.
pub fn unwritable(errno: i32) -> ErrReply {
    let why = std::io::Error::from_raw_os_error(errno).to_string();
    let why = why.split(" (os error").next().unwrap_or_default();
    ErrReply::owned(format!("MISCONF Errors writing to the AOF file: {why}"))
}

/// Whether the command has to wait for CLIENT PAUSE's end.
#[inline]
pub fn paused(c: &Conditions, spec: &Spec, now_ms: u64) -> bool {
    c.paused_until > now_ms && (!c.pause_writes_only || spec.has(flag::WRITE | flag::MAY_REPLICATE))
}
