//! FAILOVER: the role goes to a replica that has everything, while writers wait.

use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX};
use crate::repl::primary::State;
use crate::resp::Args;
use crate::shard::Shard;
use crate::store::Expiry;
use crate::util::num::parse_i64;

const IN_CLUSTER: ErrReply =
    ErrReply::new("ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.");
const NONE: ErrReply = ErrReply::new("ERR No failover in progress.");
const BAD_TIMEOUT: ErrReply = ErrReply::new("ERR FAILOVER timeout must be greater than 0");
const ALREADY: ErrReply = ErrReply::new("ERR FAILOVER already in progress.");
const ON_REPLICA: ErrReply = ErrReply::new("ERR FAILOVER is not valid when server is a replica.");
const NO_REPLICAS: ErrReply = ErrReply::new("ERR FAILOVER requires connected replicas.");
const FORCE_WHOM: ErrReply =
    ErrReply::new("ERR FAILOVER with force option requires both a timeout and target HOST and IP.");
const NOT_A_REPLICA: ErrReply = ErrReply::new("ERR FAILOVER target HOST and PORT is not a replica.");
const NOT_ONLINE: ErrReply = ErrReply::new("ERR FAILOVER target replica is not online.");
const TO_MASTER: ErrReply = ErrReply::new("ERR PSYNC FAILOVER can't be sent to a master.");
const OTHER_ID: ErrReply = ErrReply::new("ERR PSYNC FAILOVER replid must match my replid.");

/// Until a failover ends; the end of time is a SHUTDOWN's.
const UNTIL_DONE: u64 = u64::MAX - 1;

/// A failover under way.
pub(super) struct Failover {
    target: Option<(String, i64)>,
    until_ms: Option<u64>,
    force: bool,
    /// The role was given away, and the replica has not answered.
    handed: bool,
}

impl Shard {
    pub(super) fn is_failing_over(&self) -> bool {
        self.repl.failover.is_some()
    }

    pub(super) fn failover_state(&self) -> &'static str {
        match &self.repl.failover {
            None => "no-failover",
            Some(failover) if failover.handed => "failover-in-progress",
            Some(_) => "waiting-for-sync",
        }
    }

    /// FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT ms]
    pub(in crate::shard) fn failover(&mut self, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        if self.at.cluster {
            return Err(IN_CLUSTER);
        }
        if args.len() == 2 && args.is(1, "abort") {
            if !self.is_failing_over() {
                return Err(NONE);
            }
            self.abort_failover("Failover manually aborted");
            out.extend_from_slice(b"+OK\r\n");
            return Ok(());
        }
        let (mut timeout, mut target, mut force) = (None, None, false);
        let mut i = 1;
        while i < args.len() {
            let more = args.len() - 1 - i;
            if args.is(i, "timeout") && more >= 1 && timeout.is_none() {
                let ms = parse_i64(args.at(i + 1)).ok_or(NOT_INT)?;
                timeout = Some(u64::try_from(ms).ok().filter(|ms| *ms > 0).ok_or(BAD_TIMEOUT)?);
                i += 2;
            } else if args.is(i, "to") && more >= 2 && target.is_none() {
                let port = parse_i64(args.at(i + 2)).ok_or(NOT_INT)?;
                target = Some((String::from_utf8_lossy(args.at(i + 1)).into_owned(), port));
                i += 3;
            } else if args.is(i, "force") && !force {
                force = true;
                i += 1;
            } else {
                return Err(SYNTAX);
            }
        }
        self.may_fail_over(timeout, target.as_ref(), force)?;
        let until_ms = timeout.map(|ms| self.now.ms().saturating_add(ms));
        self.repl.failover = Some(Failover { target, until_ms, force, handed: false });
        self.repl.news = true;
        // nothing changes until it is decided: no writes, and no key expires
        self.conditions.paused_until = UNTIL_DONE;
        self.conditions.pause_writes_only = true;
        self.clock.expiry = Expiry::Hide;
        out.extend_from_slice(b"+OK\r\n");
        Ok(())
    }

    fn may_fail_over(&self, timeout: Option<u64>, target: Option<&(String, i64)>, force: bool) -> Done {
        if self.is_failing_over() {
            return Err(ALREADY);
        }
        if self.repl.is_replica() {
            return Err(ON_REPLICA);
        }
        if self.repl.primary.count() == 0 {
            return Err(NO_REPLICAS);
        }
        if force && (timeout.is_none() || target.is_none()) {
            return Err(FORCE_WHOM);
        }
        let Some((host, port)) = target else { return Ok(()) };
        let mut replicas = self.repl.primary.list(self.now.ms());
        match replicas.find(|(replica, ..)| replica.is_at(host, *port)) {
            None => Err(NOT_A_REPLICA),
            Some((_, state, _)) if state != State::Online => Err(NOT_ONLINE),
            Some(_) => Ok(()),
        }
    }

    /// Hands the role over once a replica has everything, or its time is over.
    pub(super) fn tick_failover(&mut self) {
        let Some(failover) = self.repl.failover.as_ref().filter(|f| !f.handed) else { return };
        let now = self.now.ms();
        let late = failover.until_ms.is_some_and(|until| until <= now);
        let (force, target) = (failover.force, failover.target.clone());
        let end = self.repl.primary.history.offset;
        let ready = |(replica, state, _): &(&crate::repl::primary::Replica, State, u64)| {
            let wanted = target.as_ref().is_none_or(|(host, port)| replica.is_at(host, *port));
            wanted && *state == State::Online && replica.acked >= end
        };
        let found = self.repl.primary.list(now).find(ready);
        let found = found.map(|(replica, ..)| (replica.address().to_owned(), replica.about.port));
        let to = match found {
            Some(to) => to,
            None if late && force => {
                tracing::info!("Failover to the target begins, for its time is over");
                match target {
                    Some(target) => target,
                    None => return,
                }
            }
            None if late => return self.abort_failover("Replica never caught up before timeout"),
            None => return,
        };
        let Ok(port) = u16::try_from(to.1) else {
            return self.abort_failover("The replica has told no port");
        };
        tracing::info!("Failover target is synced, failing over to {}:{port}.", to.0);
        if let Some(failover) = &mut self.repl.failover {
            failover.handed = true;
        }
        self.follow(to.0, port, true);
    }

    /// The replica has become the primary.
    pub(super) fn failover_answered(&mut self) {
        if self.repl.failover.as_ref().is_some_and(|failover| failover.handed) {
            self.end_failover();
        }
    }

    /// The replica is gone or did not want to: we stay what we were. Whether there was one.
    pub(super) fn failover_refused(&mut self) -> bool {
        let handed = self.repl.failover.as_ref().is_some_and(|failover| failover.handed);
        if handed {
            self.abort_failover("Failover target rejected psync request");
        }
        handed
    }

    fn abort_failover(&mut self, why: &str) {
        tracing::info!("Failover aborted: {why}");
        if self.repl.failover.take().is_some_and(|failover| failover.handed) {
            self.become_primary();
        }
        self.end_failover();
    }

    fn end_failover(&mut self) {
        self.repl.failover = None;
        if let Some(f) = &mut self.repl.follower {
            f.failover = false;
        }
        self.clock.expiry = self.expiry_of_role();
        self.repl.news = true;
        self.unpause();
    }

    /// PSYNC id offset FAILOVER: our primary hands its role to us.
    pub(super) fn take_over(&mut self, id: &[u8]) -> Done {
        if !self.repl.is_replica() {
            return Err(TO_MASTER);
        }
        if !self.repl.primary.history.id.as_bytes().eq_ignore_ascii_case(id) {
            return Err(OTHER_ID);
        }
        self.become_primary();
        tracing::info!("MASTER MODE enabled (failover request)");
        Ok(())
    }
}
