//! Scripts: EVAL and its like.
//!
//! A script is executed by the shard of its keys, or with what it names on loan, like one command. What it
//! calls goes through the same door as a client's commands, and is told to the log and to replicas instead
//! of the script: between MULTI and EXEC, where it is more than one.
//!
//! What scripts there are the host knows; each shard compiles those that it runs.

use super::execute::visitor;
use super::mail::Share;
use super::{FirstKey, Shard};
use crate::command::ctx::Caller;
use crate::command::error::{Done, ErrReply, NOT_INT};
use crate::command::host::{self, Sha, sha_of};
use crate::command::spec::{Route, Run as Runs, Script, Spec, Verb, flag};
use crate::command::table;
use crate::resp::{Args, Reply};
use crate::script::{Code, Engine, Patience, Registered, World, flag as script_flag, script_flags};
use crate::session::gate;
use crate::session::route::{self, DOWN, DOWN_FOR_WRITES, Verdict};
use crate::session::{Door, Session};
use crate::slot::{Slot, key_slot};
use crate::util::num::parse_i64;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const BUSY: ErrReply =
    ErrReply::new("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.");
const NO_FUNCTION: ErrReply = ErrReply::new("ERR Function not found");
const BAD_KEYS: ErrReply = ErrReply::new("ERR Bad number of keys provided");
const NO_SCRIPT: ErrReply = ErrReply::new("NOSCRIPT No matching script. Please use EVAL.");
const TOO_MANY_KEYS: ErrReply = ErrReply::new("ERR Number of keys can't be greater than number of args");
const NEGATIVE_KEYS: ErrReply = ErrReply::new("ERR Number of keys can't be negative");
const NO_CLUSTER: ErrReply = ErrReply::new("ERR Can not run script on cluster, 'no-cluster' flag is set.");
const WRITES_IN_RO: ErrReply =
    ErrReply::new("ERR Can not execute a script with write flag using *_ro command.");
/// Of what stands in a reply's place when a command would let its client wait.
const NOTHING: &[u8] = b"*-1\r\n";

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

/// A script that this shard has compiled.
struct Compiled {
    script: Arc<host::Script>,
    code: Code,
}

/// The shard's interpreter; there is one from when the first script runs.
#[derive(Default)]
pub(super) struct Scripting {
    engine: Option<Box<Engine>>,
    compiled: BTreeMap<Sha, Arc<Compiled>>,
    /// How often all scripts had been forgotten when those were compiled.
    flushes: u64,
    /// The interpreter of libraries, which are loaded, and what of theirs can be called, by name in lower case.
    libraries: Option<Box<Engine>>,
    loaded: BTreeMap<Vec<u8>, (Arc<host::Library>, Vec<Registered>)>,
    functions: BTreeMap<Vec<u8>, Callee>,
    /// How often libraries had changed when that was done.
    changes: u64,
    /// The libraries as the stream knows them, and how often they had changed then.
    told: Vec<Arc<host::Library>>,
    told_at: u64,
}

impl Scripting {
    fn engine(&mut self, of_libraries: bool) -> &mut Option<Box<Engine>> {
        if of_libraries { &mut self.libraries } else { &mut self.engine }
    }
}

/// What is called.
#[derive(Clone)]
struct Callee {
    name: String,
    flags: u8,
    code: Code,
}

/// Whether a script may write the keys that it names.
pub(super) fn may_write(spec: &Spec) -> bool {
    spec.has(flag::WRITE) || spec.has(flag::MAY_REPLICATE) && matches!(spec.run, Runs::Above(Verb::Script(_)))
}

impl Shard {
    /// A script of a client of this shard.
    pub(super) fn run_script_of(
        &mut self,
        client: u32,
        script: Script,
        spec: &'static Spec,
        args: Args<'_>,
        out: &mut Vec<u8>,
    ) -> Done {
        let Some(session) = self.clients.get(client) else { return Ok(()) };
        let caller = std::mem::take(&mut session.caller);
        let done = self.run_script((script, spec), (&caller, Some(client)), args, out);
        if let Some(session) = self.clients.get(client) {
            session.caller = caller;
        }
        done
    }

    /// A script of anybody, `client` if it is one of this shard.
    pub(super) fn run_script(
        &mut self,
        (script, spec): (Script, &'static Spec),
        (caller, client): (&Caller, Option<u32>),
        args: Args<'_>,
        out: &mut Vec<u8>,
    ) -> Done {
        if script == Script::Load {
            let code = args.at(2);
            let sha = sha_of(code);
            self.compile(sha, code)?;
            Reply::new(out, false).bulk(&sha);
            return Ok(());
        }
        let (callee, keys) = self.callee(script, args)?;
        let read_only = spec.has(flag::READONLY);
        self.may_run_script(callee.flags, read_only)?;
        let of_library = script == Script::Call;
        let engine = self.scripting.engine(of_library).take().expect("it has compiled the script");
        let mut run = Run::new(self, caller, client, callee.flags, read_only);
        run.shard.open_unit();
        let outer = std::mem::replace(&mut run.shard.in_exec, true);
        let mut reply = Reply::new(out, caller.resp3);
        let (names, rest) = (args.slice(3, 3 + keys), args.from(3 + keys));
        let how = if of_library { Engine::call } else { Engine::eval };
        let ended = how(&engine, &callee.code, &callee.name, (names, rest), &mut run, &mut reply);
        let killed = run.killed;
        self.in_exec = outer;
        self.close_unit();
        self.host.registers.busy_of(self.at.me).clear();
        if killed {
            engine.watch_again();
        }
        let memory = match of_library {
            true => &self.metrics.functions_memory,
            false => &self.metrics.scripts_memory,
        };
        memory.set(engine.memory() as u64);
        *self.scripting.engine(of_library) = Some(engine);
        if !outer {
            self.serve_ready();
        }
        self.lap = 0;
        match ended {
            Ok(()) => Ok(()),
            Err(failure) => {
                // whoever gets an error counts it; one that a command made was counted then
                if failure.counted {
                    Reply::new(out, false).error(&failure.text);
                    return Ok(());
                }
                Err(ErrReply::quoting(failure.text))
            }
        }
    }

    /// What EVAL or its like is to call, and with how many keys.
    fn callee(&mut self, script: Script, args: Args<'_>) -> Result<(Callee, usize), ErrReply> {
        if script == Script::Call {
            self.keep_up_functions();
            let name = args.at(1).to_ascii_lowercase();
            let callee = self.scripting.functions.get(&name).cloned().ok_or(NO_FUNCTION)?;
            return Ok((callee, key_count(args, BAD_KEYS)?));
        }
        let sha = match script {
            Script::Eval => sha_of(args.at(1)),
            _ => args.at(1).to_ascii_lowercase().try_into().map_err(|_| NO_SCRIPT)?,
        };
        let keys = key_count(args, NOT_INT)?;
        let compiled = match script {
            Script::Eval => self.compile(sha, args.at(1))?,
            _ => self.known(sha)?,
        };
        let name = String::from_utf8_lossy(&sha).into_owned();
        Ok((Callee { name, flags: compiled.script.flags, code: compiled.code.clone() }, keys))
    }

    /// Compiles the libraries that are new, and forgets those that are gone.
    fn keep_up_functions(&mut self) {
        let libraries = &self.host.registers.libraries;
        let changes = libraries.changes();
        if changes == self.scripting.changes {
            return;
        }
        let engine = self.scripting.libraries.get_or_insert_with(|| Box::new(Engine::new(true)));
        let mut before = std::mem::take(&mut self.scripting.loaded);
        for library in libraries.all() {
            let kept = before.remove(&library.name).filter(|(held, _)| Arc::ptr_eq(held, &library));
            let body = crate::script::library(&library.code).map_or(&b""[..], |head| head.body);
            let functions = match kept {
                Some((_, functions)) => Ok(functions),
                None => engine.load_library(body, &mut Patience::default()),
            };
            match functions {
                Ok(functions) => {
                    self.scripting.loaded.insert(library.name.clone(), (library, functions));
                }
                Err(error) => {
                    engine.watch_again();
                    tracing::warn!("a library is not loaded: {}", String::from_utf8_lossy(&error));
                }
            }
        }
        let all = self.scripting.loaded.values().flat_map(|(_, functions)| functions);
        let callee = |f: &Registered| {
            let name = String::from_utf8_lossy(&f.name).into_owned();
            (f.name.to_ascii_lowercase(), Callee { name, flags: f.flags, code: f.code.clone() })
        };
        self.scripting.functions = all.map(callee).collect();
        self.scripting.changes = changes;
    }

    /// Tells the stream how the host's libraries have changed since that was last done.
    #[inline]
    pub(super) fn keep_libraries_told(&mut self) {
        if self.host.registers.libraries.changes() != self.scripting.told_at {
            self.tell_libraries();
        }
    }

    #[cold]
    fn tell_libraries(&mut self) {
        self.scripting.told_at = self.host.registers.libraries.changes();
        let all = self.host.registers.libraries.all();
        let told = std::mem::take(&mut self.scripting.told);
        let is_there = |old: &&Arc<host::Library>| all.iter().any(|library| library.name == old.name);
        let gone: Vec<Vec<u8>> =
            told.iter().filter(|old| !is_there(old)).map(|old| old.name.clone()).collect();
        let is_new = |library: &&Arc<host::Library>| !told.iter().any(|old| Arc::ptr_eq(old, library));
        let new: Vec<Arc<host::Library>> = all.iter().filter(is_new).cloned().collect();
        self.scripting.told = all;
        if !self.conditions.loading && !self.repl.is_replica() {
            self.propagate_libraries(&gone, &new);
        }
    }

    /// Forgets what was compiled before all scripts were forgotten, interpreter and all.
    fn keep_up_scripts(&mut self) {
        let flushes = self.host.registers.scripts.flushes();
        if flushes != self.scripting.flushes {
            self.scripting.engine = None;
            self.scripting.compiled.clear();
            self.scripting.flushes = flushes;
        }
    }

    /// A script that is known.
    fn known(&mut self, sha: Sha) -> Result<Arc<Compiled>, ErrReply> {
        self.keep_up_scripts();
        if let Some(compiled) = self.scripting.compiled.get(&sha) {
            return Ok(compiled.clone());
        }
        let script = self.host.registers.scripts.get(&sha).ok_or(NO_SCRIPT)?;
        self.compile(sha, &script.code)
    }

    /// Makes a script known, here and to the host.
    fn compile(&mut self, sha: Sha, code: &[u8]) -> Result<Arc<Compiled>, ErrReply> {
        self.keep_up_scripts();
        if let Some(compiled) = self.scripting.compiled.get(&sha) {
            return Ok(compiled.clone());
        }
        let error = |text: Vec<u8>| ErrReply::quoting([b"ERR ", &text[..]].concat());
        let (flags, body) = script_flags(code).map_err(error)?;
        let engine = self.scripting.engine.get_or_insert_with(|| Box::new(Engine::new(false)));
        let compiled = engine.compile(body).map_err(error)?;
        let script = Arc::new(host::Script { code: code.into(), flags });
        self.host.registers.scripts.add(sha, script.clone());
        let compiled = Arc::new(Compiled { script, code: compiled });
        self.scripting.compiled.insert(sha, compiled.clone());
        Ok(compiled)
    }

    /// Whether a script with these flags may run, as this shard is.
    fn may_run_script(&mut self, flags: u8, read_only: bool) -> Done {
        if self.pressure.limited {
            self.make_room();
        }
        let c = &self.conditions;
        let has = |bits: u8| flags & bits != 0;
        if has(script_flag::COMPAT) {
            return if c.cut_off { Err(gate::CUT_OFF) } else { Ok(()) };
        }
        let writes = !has(script_flag::NO_WRITES);
        match () {
            _ if c.out_of_memory && writes && !has(script_flag::ALLOW_OOM) => Err(gate::OUT_OF_MEMORY),
            _ if c.disk_failed && writes => Err(gate::DISK_FAILED),
            _ if c.unwritable.is_some() && writes => Err(gate::unwritable(c.unwritable.unwrap_or_default())),
            _ if c.lonely && writes => Err(gate::NO_REPLICAS),
            _ if c.read_only && writes => Err(gate::READ_ONLY),
            _ if c.cut_off && !has(script_flag::ALLOW_STALE) => Err(gate::CUT_OFF),
            _ if self.at.cluster && has(script_flag::NO_CLUSTER) => Err(NO_CLUSTER),
            _ if read_only && writes => Err(WRITES_IN_RO),
            _ => Ok(()),
        }
    }
}

/// How many keys a script is given; `bad` for what is no number.
fn key_count(args: Args<'_>, bad: ErrReply) -> Result<usize, ErrReply> {
    let keys = parse_i64(args.at(2)).ok_or(bad)?;
    match keys {
        ..0 => Err(NEGATIVE_KEYS),
        _ if keys > args.len() as i64 - 3 => Err(TOO_MANY_KEYS),
        _ => Ok(keys as usize),
    }
}

/// A script that runs: the shard, to it.
struct Run<'a> {
    shard: &'a mut Shard,
    /// Who its commands are to say they are of.
    caller: Caller,
    client: Option<u32>,
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
    /// When it began, in ticks, and after how many it counts as busy.
    began: u64,
    patience: u64,
    killed: bool,
}

impl<'a> Run<'a> {
    fn new(
        shard: &'a mut Shard,
        caller: &Caller,
        client: Option<u32>,
        flags: u8,
        read_only: bool,
    ) -> Run<'a> {
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
            ..Caller::default()
        };
        let threshold = shard.conf.busy_reply_threshold as f64 * 1000.0 * shard.ticks.per_us;
        Run {
            caller: own,
            client,
            protocol: 2,
            read_only: read_only || is(script_flag::NO_WRITES),
            allow_oom: is(script_flag::ALLOW_OOM),
            cross_slot: compat || is(script_flag::ALLOW_CROSS_SLOT),
            out_of_memory: shard.conditions.out_of_memory,
            wrote: false,
            slot: None,
            told: true,
            began: (shard.ticks.read)(),
            patience: if threshold > 0.0 { threshold as u64 } else { u64::MAX },
            killed: false,
            shard,
        }
    }

    /// Why a command may not be called now.
    fn refuses(&mut self, spec: &'static Spec) -> Option<Vec<u8>> {
        let said = |text: &str| Some(text.as_bytes().to_vec());
        let c = &self.shard.conditions;
        let above = matches!(spec.run, Runs::Above(verb) if !matches!(verb, Verb::Publish(_)));
        if spec.has(flag::NOSCRIPT) || above {
            return said(NOT_ALLOWED);
        }
        if c.cut_off && !spec.has(flag::STALE) {
            return said(STALE);
        }
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
                let refusal = self.refuses(spec);
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
            return self.shard.publish_for(client, kind, args, out).map_err(|e| e.bytes().to_vec());
        }
        let telling = self.shard.fx.propagating;
        self.shard.fx.propagating &= self.told;
        let caller = &mut self.caller;
        let slow = self.shard.run_for(caller, spec, args, FirstKey::default(), Share::Whole, out);
        self.shard.fx.propagating = telling;
        if let Some(slow) = slow {
            self.shard.log_slow(self.shard.at.me, slow, self.client);
        }
        if out.is_empty() {
            out.extend_from_slice(NOTHING);
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
        // there is one user, who may do everything
        table::find(args).map(|_| true)
    }

    fn count_error(&mut self, error: &[u8]) {
        self.shard.metrics.error(error);
    }

    fn interrupt(&mut self) -> Option<&'static str> {
        let elapsed = (self.shard.ticks.read)().wrapping_sub(self.began);
        if elapsed < self.patience {
            return None;
        }
        let registers = &self.shard.host.registers;
        // who ends the host ends what has changed nothing
        let ending = !self.wrote && registers.shutdown.asked().is_some();
        self.killed |= registers.busy_of(self.shard.at.me).note(self.wrote) | ending;
        self.killed.then_some("Script killed by user with SCRIPT KILL...")
    }
}
