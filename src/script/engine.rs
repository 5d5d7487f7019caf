//! One interpreter: what scripts or libraries are compiled into, and called by.

use super::raise::{self, SANDBOX, explain};
use super::{World, redis, reply};
use crate::limits::{SCRIPT_LOOK, SCRIPT_MEMORY};
use crate::resp::{Args, Reply};
use mlua::{ChunkMode, Either, Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};
use scoped_tls_hkt::scoped_thread_local;

scoped_thread_local!(
    /// The world of the script that this thread runs.
    pub(super) static mut WORLD: for<'a> &'a mut (dyn World + 'a)
);

/// The globals of Lua's own that scripts see.
const GLOBALS: [&str; 24] = [
    "_VERSION",
    "assert",
    "collectgarbage",
    "coroutine",
    "error",
    "gcinfo",
    "getmetatable",
    "ipairs",
    "load",
    "loadstring",
    "math",
    "next",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "rawset",
    "select",
    "setmetatable",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
];
const MORE_GLOBALS: [&str; 2] = ["unpack", "xpcall"];

/// Something compiled that can be called.
#[derive(Clone)]
pub struct Code(pub(super) Function);

/// Why a script has no result.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error, code first.
    pub text: Vec<u8>,
    /// It was counted among the server's errors when it arose.
    pub counted: bool,
}

impl Failure {
    pub(super) fn new(text: impl Into<Vec<u8>>) -> Failure {
        Failure { text: text.into(), counted: false }
    }
}

/// An interpreter with its sandbox.
pub struct Engine {
    pub(super) lua: Lua,
    /// Calls a script: with KEYS and ARGV as globals, or as arguments.
    run: Function,
    call: Function,
    /// Runs a library's code, which registers functions.
    pub(super) register: Function,
}

impl Engine {
    /// An interpreter for scripts, or one for libraries of functions.
    pub fn new(libraries: bool) -> Engine {
        Engine::build(libraries).expect("the sandbox is our own code")
    }

    fn build(libraries: bool) -> mlua::Result<Engine> {
        let libs = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libs, LuaOptions::new().catch_rust_panics(false))?;
        lua.set_memory_limit(SCRIPT_MEMORY)?;
        let ours = redis::library(&lua, libraries)?;
        ours.raw_set("caught", lua.create_function(raise::caught)?)?;
        ours.raw_set("explain", lua.create_function(explain)?)?;
        let names = lua.create_sequence_from(GLOBALS.iter().chain(&MORE_GLOBALS).copied())?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name(SANDBOX).set_mode(ChunkMode::Text);
        let (globals, run, call, register): (Table, Function, Function, Function) =
            sandbox.call((ours, names))?;
        lua.set_globals(globals)?;
        let engine = Engine { lua, run, call, register };
        engine.watch()?;
        Ok(engine)
    }

    /// Has the world asked now and then whether the script is to go on.
    fn watch(&self) -> mlua::Result<()> {
        self.lua.set_global_hook(HookTriggers::new().every_nth_instruction(SCRIPT_LOOK), |lua, _| {
            let end = WORLD.is_set().then(|| WORLD.with(|world| world.interrupt())).flatten();
            let Some(error) = end else { return Ok(VmState::Continue) };
            // who catches the error gets it again with the next line; the sandbox's own go through
            lua.set_global_hook(HookTriggers::EVERY_LINE, move |_, debug| {
                match debug.source().source.as_deref() == Some(SANDBOX) {
                    true => Ok(VmState::Continue),
                    false => Err(raise::table(error)),
                }
            })?;
            Err(raise::table(error))
        })
    }

    /// Compiles a script; `code` is without its first line's `#!`.
    pub fn compile(&self, code: &[u8]) -> Result<Code, Vec<u8>> {
        self.load(code, "@user_script")
            .map_err(|error| [b"Error compiling script (new function): ", &error[..]].concat())
    }

    pub(super) fn load(&self, code: &[u8], name: &str) -> Result<Code, Vec<u8>> {
        let chunk = self.lua.load(code).set_name(name).set_mode(ChunkMode::Text);
        chunk.into_function().map(Code).map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => message.into_bytes(),
            error => error.to_string().into_bytes(),
        })
    }

    /// Runs a script with these as KEYS and ARGV, and writes what it returns to `out`.
    pub fn eval(
        &self,
        code: &Code,
        name: &str,
        words: (Args<'_>, Args<'_>),
        world: &mut dyn World,
        out: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        self.enter(&self.run, code, name, words, world, out)
    }

    /// As [`Engine::eval`], for a library's function, which has them as arguments.
    pub fn call(
        &self,
        code: &Code,
        name: &str,
        words: (Args<'_>, Args<'_>),
        world: &mut dyn World,
        out: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        self.enter(&self.call, code, name, words, world, out)
    }

    fn enter(
        &self,
        how: &Function,
        code: &Code,
        name: &str,
        (keys, argv): (Args<'_>, Args<'_>),
        world: &mut dyn World,
        out: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        let lua = &self.lua;
        let mark = out.mark();
        let ended = (|| {
            let (keys, argv) = unlimited(lua, || Ok((strings(lua, keys)?, strings(lua, argv)?)))?;
            WORLD.set(&mut *world, || how.call((&code.0, keys, argv)))
        })();
        let written = outcome(ended).and_then(|value| {
            let written = reply::to_reply(lua, &value, world, out);
            written.map_err(|error| Value::Error(Box::new(error)))
        });
        written.map_err(|error| {
            out.truncate(mark);
            self.collect_after(&error);
            failure(name, error)
        })
    }

    /// Lua's collector waits until twice as much is taken as was in use, and its allocator does not ask it:
    /// after a script that met the limit, it has to be told.
    fn collect_after(&self, error: &Value) {
        if (self.memory() > SCRIPT_MEMORY / 2 || is_memory(error))
            && let Err(error) = self.lua.gc_collect()
        {
            tracing::warn!(%error, "a script's garbage could not be collected");
        }
    }

    /// After a script was ended from outside: the next one is looked at as ever.
    pub fn watch_again(&self) {
        if let Err(error) = self.watch() {
            tracing::warn!(%error, "scripts can't be interrupted any more");
        }
    }

    /// Bytes that the interpreter takes.
    pub fn memory(&self) -> usize {
        self.lua.used_memory()
    }
}

fn is_memory(error: &Value) -> bool {
    match error {
        Value::Error(error) => matches!(raise::cause(error), mlua::Error::MemoryError(_)),
        Value::String(text) => &*text.as_bytes() == raise::NO_MEMORY.as_bytes(),
        Value::Table(table) => error_text(table).ends_with(raise::NO_MEMORY.as_bytes()),
        _ => false,
    }
}

/// Makes values of ours: while an allocation may meet the limit, each stands in a protected call of its own, which
/// costs more than the value. What is made counts, and whoever allocates next meets the limit.
pub(super) fn unlimited<R>(lua: &Lua, make: impl FnOnce() -> mlua::Result<R>) -> mlua::Result<R> {
    let limit = lua.set_memory_limit(0)?;
    let made = make();
    lua.set_memory_limit(limit)?;
    made
}

fn strings(lua: &Lua, words: Args<'_>) -> mlua::Result<Table> {
    // what is UTF-8 comes the short way
    let word = |word| match std::str::from_utf8(word) {
        Ok(text) => Ok(Either::Left(text)),
        Err(_) => lua.create_string(word).map(Either::Right),
    };
    let words = words.iter().map(word).collect::<mlua::Result<Vec<_>>>()?;
    lua.create_sequence_from(words)
}

/// What xpcall returned: a value, or an error.
pub(super) fn outcome(ended: mlua::Result<(bool, Value)>) -> Result<Value, Value> {
    match ended {
        Ok((true, value)) => Ok(value),
        Ok((false, error)) => Err(error),
        Err(error) => Err(Value::Error(Box::new(error))),
    }
}

/// What a script's error is to its client. One that the handler has not seen is no table.
fn failure(name: &str, error: Value) -> Failure {
    let Value::Table(table) = &error else {
        let text = match &error {
            Value::String(text) => text.to_string_lossy(),
            Value::Error(error) if is_memory(&Value::Error(error.clone())) => raise::NO_MEMORY.into(),
            Value::Error(error) => raise::cause(error).to_string(),
            _ => "execution failure".into(),
        };
        let text: String = text.chars().take(100).collect();
        return Failure::new(format!("ERR Error running script {name}, {text}"));
    };
    let counted = table.raw_get("ignore_error_stats_update").unwrap_or(false);
    let mut text = error_text(table);
    let place: (Option<String>, Option<i64>) = (table.raw_get("source").ok(), table.raw_get("line").ok());
    if let (Some(source), Some(line)) = place {
        text.extend_from_slice(format!(" script: {name}, on {source}:{line}.").as_bytes());
    }
    Failure { text, counted }
}

/// The message of an error table.
pub(super) fn error_text(table: &Table) -> Vec<u8> {
    let text = table.raw_get::<mlua::String>("err");
    text.map_or(b"ERR unknown error".to_vec(), |text| text.as_bytes().to_vec())
}
