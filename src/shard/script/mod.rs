//! Scripts: EVAL and its like.
//!
//! A script is executed by the shard of its keys, or with what it names on loan, like one command. What it
//! calls goes through the same door as a client's commands, and is told to the log and to replicas instead
//! of the script: between MULTI and EXEC, where it is more than one.
//!
//! What scripts there are the host knows; each shard compiles those that it runs.

pub mod busy;
mod run;

use super::Shard;
use crate::command::ctx::Caller;
use crate::command::error::{Done, ErrReply, NOT_INT};
use crate::command::host::{self, Sha, sha_of};
use crate::command::spec::{Run as Runs, Script, Spec, Verb, flag};
use crate::resp::{Args, Reply};
use crate::script::{Code, Engine, Patience, Registered, flag as script_flag, script_flags};
use crate::session::gate;
use crate::util::num::parse_i64;
use run::Run;
use std::collections::BTreeMap;
use std::sync::Arc;

const NO_FUNCTION: ErrReply = ErrReply::new("ERR Function not found");
const BAD_KEYS: ErrReply = ErrReply::new("ERR Bad number of keys provided");
const NO_SCRIPT: ErrReply = ErrReply::new("NOSCRIPT No matching script. Please use EVAL.");
const TOO_MANY_KEYS: ErrReply = ErrReply::new("ERR Number of keys can't be greater than number of args");
const NEGATIVE_KEYS: ErrReply = ErrReply::new("ERR Number of keys can't be negative");
const NO_CLUSTER: ErrReply = ErrReply::new("ERR Can not run script on cluster, 'no-cluster' flag is set.");
const WRITES_IN_RO: ErrReply =
    ErrReply::new("ERR Can not execute a script with write flag using *_ro command.");
/// The shard's interpreter; there is one from when the first script runs.
#[derive(Default)]
pub(super) struct Scripting {
    engine: Option<Box<Engine>>,
    compiled: BTreeMap<Sha, Arc<Callee>>,
    /// The same by their code: whoever sends that need not have it hashed.
    by_code: BTreeMap<Arc<[u8]>, Arc<Callee>>,
    /// How often all scripts had been forgotten when those were compiled.
    flushes: u64,
    /// The interpreter of libraries, which are loaded, and what of theirs can be called, by name in lower case.
    libraries: Option<Box<Engine>>,
    loaded: BTreeMap<Vec<u8>, (Arc<host::Library>, Vec<Registered>)>,
    functions: BTreeMap<Vec<u8>, Arc<Callee>>,
    /// How often libraries had changed when that was done.
    changes: u64,
    /// The libraries as the stream knows them, and how often they had changed then.
    told: Vec<Arc<host::Library>>,
    told_at: u64,
    /// What clients send is refused, for a script has run for too long.
    pub(super) refuses: bool,
    /// The turn in which the script began that runs.
    turn: u64,
}

impl Scripting {
    fn engine(&mut self, of_libraries: bool) -> &mut Option<Box<Engine>> {
        if of_libraries { &mut self.libraries } else { &mut self.engine }
    }
}

/// What is called. A script's name is its digest.
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
        self.show_script_if_monitored(client, spec, args);
        let author = Some(self.client_ref(client));
        let Some(session) = self.clients.get(client) else { return Ok(()) };
        let caller = std::mem::take(&mut session.caller);
        let author = std::mem::replace(&mut self.trackers.author, author);
        let defers = std::mem::replace(&mut self.trackers.defers, true);
        let done = self.run_script((script, spec), (&caller, Some(client)), args, out);
        (self.trackers.author, self.trackers.defers) = (author, defers);
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
        self.may_run_script(callee.flags, spec.has(flag::READONLY))?;
        let of_library = script == Script::Call;
        let engine = self.scripting.engine(of_library).take().expect("it has compiled the script");
        let mut run = Run::new(self, (caller, client), &callee, (spec, of_library), args);
        run.shard.open_unit();
        let outer = std::mem::replace(&mut run.shard.in_exec, true);
        let mut reply = Reply::new(out, caller.resp3);
        let (names, rest) = (args.slice(3, 3 + keys), args.from(3 + keys));
        let how = if of_library { Engine::call } else { Engine::eval };
        let ended = how(&engine, &callee.code, &callee.name, (names, rest), &mut run, &mut reply);
        let killed = run.killed;
        run.end();
        self.in_exec = outer;
        self.close_unit();
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
    fn callee(&mut self, script: Script, args: Args<'_>) -> Result<(Arc<Callee>, usize), ErrReply> {
        if script == Script::Call {
            self.keep_up_functions();
            let name = args.at(1).to_ascii_lowercase();
            let callee = self.scripting.functions.get(&name).cloned().ok_or(NO_FUNCTION)?;
            return Ok((callee, key_count(args, BAD_KEYS)?));
        }
        if script == Script::Eval {
            let keys = key_count(args, NOT_INT)?;
            self.keep_up_scripts();
            let known = self.scripting.by_code.get(args.at(1)).cloned();
            let callee = known.map_or_else(|| self.compile(sha_of(args.at(1)), args.at(1)), Ok)?;
            return Ok((callee, keys));
        }
        let sha = args.at(1).to_ascii_lowercase().try_into().map_err(|_| NO_SCRIPT)?;
        let keys = key_count(args, NOT_INT)?;
        Ok((self.known(sha)?, keys))
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
            let callee = Callee { name, flags: f.flags, code: f.code.clone() };
            (f.name.to_ascii_lowercase(), Arc::new(callee))
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
            self.scripting.by_code.clear();
            self.scripting.flushes = flushes;
        }
    }

    /// A script that is known.
    fn known(&mut self, sha: Sha) -> Result<Arc<Callee>, ErrReply> {
        self.keep_up_scripts();
        if let Some(compiled) = self.scripting.compiled.get(&sha) {
            return Ok(compiled.clone());
        }
        let script = self.host.registers.scripts.get(&sha).ok_or(NO_SCRIPT)?;
        self.compile(sha, &script.code)
    }

    /// Makes a script known, here and to the host.
    fn compile(&mut self, sha: Sha, code: &[u8]) -> Result<Arc<Callee>, ErrReply> {
        self.keep_up_scripts();
        if let Some(compiled) = self.scripting.compiled.get(&sha) {
            return Ok(compiled.clone());
        }
        let error = |text: Vec<u8>| ErrReply::quoting([b"ERR ", &text[..]].concat());
        let (flags, body) = script_flags(code).map_err(error)?;
        let engine = self.scripting.engine.get_or_insert_with(|| Box::new(Engine::new(false)));
        let compiled = engine.compile(body).map_err(error)?;
        let script = Arc::new(host::Script { code: code.into(), flags });
        let name = String::from_utf8_lossy(&sha).into_owned();
        let callee = Arc::new(Callee { name, flags, code: compiled });
        self.scripting.compiled.insert(sha, callee.clone());
        self.scripting.by_code.insert(script.code.clone(), callee.clone());
        self.host.registers.scripts.add(sha, script);
        Ok(callee)
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
