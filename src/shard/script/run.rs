//! A script's world: what it calls is executed by the shard, as far as it may.

use super::{Callee, host, script_flag};
use crate::command::acl::Context;
use crate::command::acl_cmd;
use crate::command::ctx::Caller;
use crate::command::error::ErrReply;
use crate::command::spec::{Route, Run as Runs, Spec, Verb, flag};
use crate::command::table;
use crate::limits::SCRIPT_ATTEND_MS;
use crate::resp::Args;
use crate::script::World;
use crate::session::gate;
use crate::session::route::{self, DOWN, DOWN_FOR_WRITES, Verdict};
use crate::session::{Door, Session};
use crate::shard::execute::visitor;
use crate::shard::mail::Share;
use crate::shard::{FirstKey, Shard};
use crate::slot::{Slot, key_slot};
use crate::store::ClientRef;

/// Why a command may not be called. The first five as Redis has them.
const UNKNOWN: &str = "ERR Unknown Redis command called from script";
const WRONG_NUMBER: &str = "ERR Wrong number of args calling Redis command from script";
const NOT_ALLOWED: &str = "ERR This Redis command is not allowed from script";
const READS_ONLY: &str = "ERR Write commands are not allowed from read-only scripts.";
const STALE: &str = "ERR Can not execute the command on a stale replica";
const NOT_LOCAL: &str = "ERR Script attempted to access a non local key in a cluster node";
const CROSS_SLOT: &str = "ERR Script attempted to access keys that do not hash to the same slot";
const IS_DOWN: &str = "ERR Script attempted to execute a command while the cluster is down";
const IS_DOWN_FOR_WRITES: &str =
    "ERR Script attempted to execute a write command while the cluster is down and readonly";
/// What has no counterpart in Redis: a snapshot, or MIGRATE, has the key, which the script did not name.
const ON_ITS_WAY: &str =
    "TRYAGAIN Script attempted to change an undeclared key that is being written elsewhere";

/// A script that runs: the shard, to it.
pub(super) struct Run<'a> {
    pub(super) shard: &'a mut Shard,
    /// Who its commands are to say they are of.
    caller: Caller,
    client: Option<u32>,
    /// Whose script it is, while his session is without him.
    author: &'a Caller,
    /// Who keeps copies of what it reads.
    reader: Option<ClientRef>,
    protocol: u8,
    read_only: bool,
    allow_oom: bool,
    cross_slot: bool,
    /// More memory was used than there may be when it began.
    out_of_memory: bool,
    /// It has called a command that writes.
    wrote: bool,
    /// The slot of its keys, if they must all be in one.
    slot: Option<Slot>,
    /// What it changes is told.
    told: bool,
    of_library: bool,
    spec: &'static Spec,
    name: &'a str,
    args: Args<'a>,
    /// When it began, in ticks; and after how many from then it is looked at next, and counts as busy.
    began: u64,
    look: u64,
    patience: u64,
    busy: bool,
    pub(super) killed: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        shard: &'a mut Shard,
        (caller, client): (&'a Caller, Option<u32>),
        callee: &'a Callee,
        (spec, of_library): (&'static Spec, bool),
        args: Args<'a>,
    ) -> Run<'a> {
        let flags = callee.flags;
        let compat = flags & script_flag::COMPAT != 0;
        let is = |bit: u8| !compat && flags & bit != 0;
        let own = Caller {
            id: caller.id,
            db: caller.db,
            authenticated: true,
            no_touch: caller.no_touch,
            readonly: caller.readonly,
            front_door: caller.front_door,
            local: caller.local,
            user: caller.user.clone(),
            ..Caller::default()
        };
        let reader = match client {
            Some(client) => Some(shard.reader(client)).filter(|_| shard.keeps_reads(client)),
            None => shard.trackers.author.filter(|_| shard.trackers.keeps),
        };
        let threshold = shard.conf.busy_reply_threshold as f64 * 1000.0 * shard.ticks.per_us;
        Run {
            author: caller,
            caller: own,
            client,
            reader,
            protocol: 2,
            read_only: spec.has(flag::READONLY) || is(script_flag::NO_WRITES),
            allow_oom: is(script_flag::ALLOW_OOM),
            cross_slot: compat || is(script_flag::ALLOW_CROSS_SLOT),
            out_of_memory: shard.conditions.out_of_memory,
            wrote: false,
            slot: None,
            told: true,
            of_library,
            spec,
            name: &callee.name,
            args,
            began: (shard.ticks.read)(),
            look: 0,
            patience: if threshold > 0.0 { threshold as u64 } else { u64::MAX },
            busy: false,
            killed: false,
            shard,
        }
    }

    /// Why a command may not be called now.
    fn refuses(&mut self, spec: &'static Spec, args: Args<'_>) -> Option<Vec<u8>> {
        let said = |text: &str| Some(text.as_bytes().to_vec());
        let above = matches!(spec.run, Runs::Above(verb) if !matches!(verb, Verb::Publish(_)));
        if spec.has(flag::NOSCRIPT) || above {
            return said(NOT_ALLOWED);
        }
        if self.shard.conditions.cut_off && !spec.has(flag::STALE) {
            return said(STALE);
        }
        if let Some(error) = self.denies(spec, args) {
            return Some(error.bytes().to_vec());
        }
        let c = &self.shard.conditions;
        if self.read_only && spec.has(flag::WRITE | flag::MAY_REPLICATE) {
            return said(READS_ONLY);
        }
        if spec.has(flag::WRITE) && !self.wrote {
            let error = match c.unwritable {
                _ if c.read_only => Some(gate::READ_ONLY),
                Some(errno) => Some(gate::unwritable(errno)),
                _ if c.disk_failed => Some(gate::DISK_FAILED),
                _ if c.lonely => Some(gate::NO_REPLICAS),
                None => None,
            };
            if let Some(error) = error {
                return Some(error.bytes().to_vec());
            }
        }
        if self.out_of_memory && !self.allow_oom && !self.wrote && spec.has(flag::DENYOOM) {
            return Some(gate::OUT_OF_MEMORY.bytes().to_vec());
        }
        self.wrote |= spec.has(flag::WRITE);
        None
    }

    /// Why the user whose script it is may not call a command.
    fn denies(&mut self, spec: &'static Spec, args: Args<'_>) -> Option<ErrReply> {
        let user = self.caller.user.clone().filter(|user| !user.is_unrestricted())?;
        let client = self.client.unwrap_or(u32::MAX);
        // ACL LOG says who it was
        if let Some(session) = self.shard.clients.get(client) {
            session.caller = self.author.clone();
        }
        match self.shard.permit_user((client, &user), spec, args, Context::Script) {
            Ok(confined) => {
                self.caller.confined = confined;
                None
            }
            Err(error) => Some(error),
        }
    }

    /// Why a command's keys can't be had here.
    fn misses(&mut self, spec: &'static Spec, args: Args<'_>) -> Option<&'static str> {
        if self.shard.simple {
            return None;
        }
        let keys = table::keys_of(spec, args);
        let slots: Vec<Slot> = keys.iter().map(|k| key_slot(args.at(k.index))).collect();
        let is_everything = matches!(spec.route, Route::All(_) | Route::Cursor);
        if is_everything
            && self.shard.at.shards > 1
            && self.caller.front_door
            && spec.has(flag::WRITE | flag::READONLY)
        {
            return Some(NOT_LOCAL);
        }
        let session = self.client.and_then(|client| self.shard.clients.get(client));
        if let Some(session) = session.filter(|session| session.door == Door::Own)
            && self.shard.at.cluster
        {
            session.caller.readonly = self.caller.readonly;
            if let Some(error) = misrouted(self.shard.at, &self.shard.view, session, spec, &slots) {
                return Some(error);
            }
        }
        let has = |slot: &Slot| match &self.shard.loans.shares {
            Some(shares) => shares.iter().any(|(_, slots, _)| slots.binary_search(slot).is_ok()),
            None => self.shard.holds(*slot),
        };
        if !slots.iter().all(has) {
            return Some(NOT_LOCAL);
        }
        if self.shard.at.cluster && !self.cross_slot {
            for slot in slots {
                if *self.slot.get_or_insert(slot) != slot {
                    return Some(CROSS_SLOT);
                }
            }
        }
        let (db, key) = (self.caller.db, FirstKey::default());
        let withheld = self.shard.conditions.careful && self.shard.awaits_snapshot(db, spec, args, key)
            || self.shard.disturbs_move(spec, args);
        withheld.then_some(ON_ITS_WAY)
    }
}

/// What an own port says of keys that are not its node's.
fn misrouted(
    at: route::Place,
    view: &crate::cluster::view::View,
    session: &Session,
    spec: &'static Spec,
    slots: &[Slot],
) -> Option<&'static str> {
    match route::of_slots(at, view, visitor(session, spec, None), slots.iter().copied()) {
        Verdict::Here | Verdict::Open(_) => None,
        Verdict::Refused(error) if error == DOWN => Some(IS_DOWN),
        Verdict::Refused(error) if error == DOWN_FOR_WRITES => Some(IS_DOWN_FOR_WRITES),
        _ => Some(NOT_LOCAL),
    }
}

impl Shard {
    /// Whether a slot's keys are here, ours or a copy of another node's.
    fn holds(&self, slot: Slot) -> bool {
        let owner = self.view.owner_index(slot);
        let ours = self.view.local_owner(slot) == Some(self.at.me as u16) || self.at.copies == Some(owner);
        let imports = self.view.importing(self.at.me, slot).is_some();
        (ours || imports) && !self.is_lent(slot)
    }
}

impl World for Run<'_> {
    fn call(&mut self, args: Args<'_>, out: &mut Vec<u8>) -> Result<(), Vec<u8>> {
        let found = table::find(args);
        let refusal = match found {
            None => Some(UNKNOWN.as_bytes().to_vec()),
            Some(spec) if !spec.arity_fits(args.len()) => Some(WRONG_NUMBER.as_bytes().to_vec()),
            Some(spec) => {
                let refusal = self.refuses(spec, args);
                refusal.or_else(|| self.misses(spec, args).map(|text| text.as_bytes().to_vec()))
            }
        };
        let metrics = &self.shard.metrics;
        let spec = match (refusal, found) {
            (None, Some(spec)) => spec,
            (refusal, spec) => {
                let error = refusal.unwrap_or_default();
                metrics.error(&error);
                if let Some(spec) = spec {
                    metrics.command(spec.id).rejected.inc();
                }
                return Err(error);
            }
        };
        self.caller.resp3 = self.protocol == 3;
        if let Runs::Above(Verb::Publish(kind)) = spec.run {
            let client = self.client.unwrap_or(u32::MAX);
            self.shard.publish_for(client, kind, args, out).map_err(|e| e.bytes().to_vec())?;
            self.shard.show_call_if_monitored(self.caller.db, spec, args);
            return Ok(());
        }
        let telling = self.shard.fx.propagating;
        self.shard.fx.propagating &= self.told;
        let caller = &mut self.caller;
        let slow = self.shard.run_for(caller, spec, args, FirstKey::default(), Share::Whole, out);
        self.shard.fx.propagating = telling;
        if let Some(slow) = slow {
            self.shard.log_slow(self.shard.at.me, slow, self.client);
        }
        self.shard.show_call_if_monitored(self.caller.db, spec, args);
        if let Some(reader) = self.reader.filter(|_| spec.has(flag::READONLY)) {
            self.shard.note_script_reads(reader, self.caller.db, self.spec, self.args);
        }
        // it would let its client wait
        if out.is_empty() {
            out.extend_from_slice(if self.protocol == 3 { b"_\r\n" } else { b"*-1\r\n" });
        }
        Ok(())
    }

    fn protocol(&self) -> u8 {
        self.protocol
    }

    fn set_protocol(&mut self, version: u8) {
        self.protocol = version;
    }

    fn set_propagation(&mut self, log: bool, replicas: bool) {
        // there is one stream for both: it leaves out what neither is to have
        self.told = log || replicas;
    }

    fn may_call(&mut self, args: Args<'_>) -> Option<bool> {
        let spec = table::find(args)?;
        Some(self.caller.user.as_ref().is_none_or(|user| acl_cmd::may(user, spec, args).is_ok()))
    }

    fn count_error(&mut self, error: &[u8]) {
        self.shard.metrics.error(error);
    }

    fn interrupt(&mut self) -> Option<&'static str> {
        let elapsed = (self.shard.ticks.read)().wrapping_sub(self.began);
        if elapsed < self.look {
            return None;
        }
        self.look = elapsed + (SCRIPT_ATTEND_MS as f64 * 1000.0 * self.shard.ticks.per_us) as u64;
        if elapsed >= self.patience && !self.busy {
            self.becomes_busy(elapsed);
        }
        self.shard.attend(self.busy);
        if self.busy {
            let registers = &self.shard.host.registers;
            // who ends the host ends what has changed nothing, and with NOSAVE all else
            let ending = registers.shutdown.asked().is_some_and(|how| !how.save || !self.wrote);
            self.killed |= registers.busy_of(self.shard.at.me).note(self.wrote) | ending;
        }
        self.killed.then_some("Script killed by user with SCRIPT KILL...")
    }
}

impl Run<'_> {
    #[cold]
    fn becomes_busy(&mut self, ticks: u64) {
        self.busy = true;
        let running = host::Running {
            name: self.name.as_bytes().to_vec(),
            command: self.args.iter().map(<[u8]>::to_vec).collect(),
            since_ms: self.shard.now.ms(),
        };
        self.shard.host.registers.busy_of(self.shard.at.me).begin(self.of_library, running);
        let ms = (ticks as f64 / self.shard.ticks.per_us / 1000.0) as u64;
        let kill = if self.of_library { "FUNCTION KILL" } else { "SCRIPT KILL" };
        tracing::warn!(
            "Slow script detected: still in execution after {ms} milliseconds. You can try killing the script \
             using the {kill} command. Script name is: {}.",
            self.name
        );
    }

    /// The script has ended, and wrote although the host ends without its changes: they are taken back from
    /// the stream.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.busy) {
            self.shard.host.registers.busy_of(self.shard.at.me).end();
            if self.killed && self.wrote {
                self.shard.drop_unit();
            }
        }
    }
}
