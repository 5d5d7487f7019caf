//! What scripts find besides Lua's own: the table `redis`, and the libraries.

use super::engine::{WORLD, unlimited};
use super::random::{self, Lrand48};
use super::{bits, cjson, cmsgpack, functions, raise, reply, structs};
use crate::resp::args::OwnedArgs;
use crate::util::num;
use crate::util::sha1::sha1;
use mlua::{Lua, MultiValue, Table, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// The version that redis.REDIS_VERSION tells, 7.0.15, and as a number.
const VERSION: &str = "7.0.15";
const VERSION_NUM: i64 = 0x07_00_0f;

/// Where changes go, as redis.set_repl takes it.
const REPL_NONE: i64 = 0;
const REPL_LOG: i64 = 1;
const REPL_REPLICAS: i64 = 2;

/// Everything that the sandbox is to have.
pub(super) fn library(lua: &Lua, libraries: bool) -> mlua::Result<Table> {
    let ours = lua.create_table()?;
    let redis = lua.create_table()?;
    redis.raw_set("call", lua.create_function(|lua, args| call(lua, args, true))?)?;
    redis.raw_set("pcall", lua.create_function(|lua, args| call(lua, args, false))?)?;
    log_and_version(lua, &redis)?;
    redis.raw_set("setresp", lua.create_function(setresp)?)?;
    redis.raw_set("sha1hex", lua.create_function(sha1hex)?)?;
    redis.raw_set("error_reply", lua.create_function(error_reply)?)?;
    redis.raw_set("status_reply", lua.create_function(status_reply)?)?;
    redis.raw_set("set_repl", lua.create_function(set_repl)?)?;
    for (name, value) in [
        ("REPL_NONE", REPL_NONE),
        ("REPL_AOF", REPL_LOG),
        ("REPL_SLAVE", REPL_REPLICAS),
        ("REPL_REPLICA", REPL_REPLICAS),
        ("REPL_ALL", REPL_LOG | REPL_REPLICAS),
    ] {
        redis.raw_set(name, value)?;
    }
    redis.raw_set("acl_check_cmd", lua.create_function(acl_check_cmd)?)?;
    if libraries {
        let loading = lua.create_table()?;
        loading.raw_set("register_function", lua.create_function(functions::register)?)?;
        log_and_version(lua, &loading)?;
        ours.raw_set("loading", loading)?;
    } else {
        // there is no debugger
        redis.raw_set("breakpoint", lua.create_function(|_, ()| Ok(false))?)?;
        redis.raw_set("debug", lua.create_function(|_, ()| Ok(()))?)?;
        redis.raw_set("replicate_commands", lua.create_function(|_, ()| Ok(true))?)?;
    }
    ours.raw_set("redis", redis)?;
    ours.raw_set("cjson", cjson::library(lua)?)?;
    ours.raw_set("cmsgpack", cmsgpack::library(lua)?)?;
    ours.raw_set("struct", structs::library(lua)?)?;
    ours.raw_set("bit", bits::library(lua)?)?;
    random(lua, &ours)?;
    Ok(ours)
}

fn log_and_version(lua: &Lua, redis: &Table) -> mlua::Result<()> {
    redis.raw_set("log", lua.create_function(log)?)?;
    for (level, name) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].into_iter().enumerate() {
        redis.raw_set(name, level)?;
    }
    redis.raw_set("REDIS_VERSION", VERSION)?;
    redis.raw_set("REDIS_VERSION_NUM", VERSION_NUM)
}

/// The words of a command; what is wrong with them otherwise.
fn words(args: &MultiValue) -> Result<OwnedArgs, &'static str> {
    if args.is_empty() {
        return Err("Please specify at least one argument for this redis lib call");
    }
    let mut words = OwnedArgs::default();
    for arg in args {
        match arg {
            Value::String(text) => words.push(&text.as_bytes()),
            Value::Integer(n) => words.push(&number(*n as f64)),
            Value::Number(x) => words.push(&number(*x)),
            _ => return Err("Lua redis lib command arguments must be strings or integers"),
        }
    }
    Ok(words)
}

/// C's `%.17g`, which says `-nan` of what Lua gets from 0/0.
fn number(x: f64) -> num::Buf {
    let mut text = num::Buf::new();
    if x.is_nan() && x.is_sign_negative() {
        text.push(b'-');
    }
    num::write_double(&mut text, x);
    text
}

/// redis.call, and redis.pcall, which returns errors.
fn call(lua: &Lua, args: MultiValue, raises: bool) -> mlua::Result<Value> {
    if !WORLD.is_set() {
        return Err(raise::table("redis.call/pcall can only be called inside a script invocation"));
    }
    let words = match words(&args) {
        Ok(words) => words,
        Err(error) if raises => return Err(raise::table(error)),
        Err(error) => return error_table(lua, error, false),
    };
    let mut out = Vec::new();
    let done = WORLD.with(|world| world.call(words.as_args(), &mut out));
    match done {
        Err(error) if raises => Err(raised(error)),
        Err(error) => raise::error_table(lua, &error, true).map(Value::Table),
        Ok(()) if raises && out.first() == Some(&b'-') => {
            let text = out[1..].strip_suffix(b"\r\n").unwrap_or(&out[1..]);
            Err(raised(text.to_vec()))
        }
        // numbers need no memory
        Ok(()) if out.first() == Some(&b':') => reply::to_lua(lua, &out),
        Ok(()) => unlimited(lua, || reply::to_lua(lua, &out)),
    }
}

fn raised(text: Vec<u8>) -> mlua::Error {
    mlua::Error::external(raise::Raise::Table { text, counted: true })
}

fn error_table(lua: &Lua, error: &str, counted: bool) -> mlua::Result<Value> {
    raise::error_table(lua, &[b"ERR ", error.as_bytes()].concat(), counted).map(Value::Table)
}

fn sha1hex(lua: &Lua, args: MultiValue) -> mlua::Result<String> {
    let mut args = args.into_iter();
    let (Some(text), None) = (args.next(), args.next()) else {
        return Err(raise::table("wrong number of arguments"));
    };
    let text = lua.coerce_string(text)?;
    let digest = sha1(&text.map_or(Vec::new(), |text| text.as_bytes().to_vec()));
    Ok(digest.iter().map(|b| format!("{b:02x}")).collect())
}

/// The only argument, a string.
fn only_text(args: &MultiValue) -> Option<&mlua::String> {
    match (args.len(), args.front()) {
        (1, Some(Value::String(text))) => Some(text),
        _ => None,
    }
}

fn error_reply(lua: &Lua, args: MultiValue) -> mlua::Result<Value> {
    let Some(text) = only_text(&args) else {
        return error_table(lua, "wrong number or type of arguments", false);
    };
    let text = text.as_bytes();
    let text = num::until_nul(text.strip_prefix(b"-").unwrap_or(&text));
    // a code and a message; without a space all of it is the message
    let (code, message) = match memchr::memchr(b' ', text) {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (&b"ERR"[..], text),
    };
    let breaks = |b: &u8| matches!(b, b'\r' | b'\n');
    let from = message.iter().position(|b| !breaks(b)).unwrap_or(message.len());
    let to = message.iter().rposition(|b| !breaks(b)).map_or(from, |last| last + 1);
    raise::error_table(lua, &[code, b" ", &message[from..to]].concat(), false).map(Value::Table)
}

fn status_reply(lua: &Lua, args: MultiValue) -> mlua::Result<Value> {
    let Some(text) = only_text(&args) else {
        return error_table(lua, "wrong number or type of arguments", false);
    };
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set("ok", text)?;
    Ok(Value::Table(table))
}

/// The only argument, as a number (0 when it is none), where a script runs.
fn only_number(lua: &Lua, name: &str, args: MultiValue, wanted: &str) -> mlua::Result<i64> {
    if !WORLD.is_set() {
        return Err(raise::table(&format!("redis.{name} can only be called inside a script invocation")));
    }
    let mut args = args.into_iter();
    let (Some(value), None) = (args.next(), args.next()) else {
        return Err(raise::table(&format!("redis.{name}() requires {wanted}.")));
    };
    Ok(lua.coerce_number(value)?.map_or(0, num::c_i64))
}

fn set_repl(lua: &Lua, args: MultiValue) -> mlua::Result<()> {
    let flags = only_number(lua, "set_repl", args, "two arguments")?;
    if flags & !(REPL_LOG | REPL_REPLICAS) != 0 {
        let error = "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
        return Err(raise::table(error));
    }
    WORLD.with(|world| world.set_propagation(flags & REPL_LOG != 0, flags & REPL_REPLICAS != 0));
    Ok(())
}

fn setresp(lua: &Lua, args: MultiValue) -> mlua::Result<()> {
    match only_number(lua, "setresp", args, "one argument")? {
        version @ (2 | 3) => WORLD.with(|world| world.set_protocol(version as u8)),
        _ => return Err(raise::table("RESP version must be 2 or 3.")),
    }
    Ok(())
}

fn acl_check_cmd(_: &Lua, args: MultiValue) -> mlua::Result<bool> {
    if !WORLD.is_set() {
        return Err(raise::table("redis.acl_check_cmd can only be called inside a script invocation"));
    }
    let words = words(&args).map_err(raise::table)?;
    let may = WORLD.with(|world| world.may_call(words.as_args()));
    may.ok_or_else(|| raise::table("Invalid command passed to redis.acl_check_cmd()"))
}

fn log(lua: &Lua, args: MultiValue) -> mlua::Result<()> {
    if args.len() < 2 {
        return Err(raise::table("redis.log() requires two arguments or more."));
    }
    let mut args = args.into_iter();
    let level = args.next().and_then(|level| lua.coerce_number(level).ok().flatten());
    let level = level.ok_or_else(|| raise::table("First argument must be a number (log level)."))?;
    let level = num::c_i64(level);
    if !(0..=3).contains(&level) {
        return Err(raise::table("Invalid debug level."));
    }
    let texts = args.filter_map(|arg| lua.coerce_string(arg).ok().flatten());
    let text = texts.map(|text| text.to_string_lossy()).collect::<Vec<_>>().join(" ");
    match level {
        0 => tracing::debug!("{text}"),
        1 | 2 => tracing::info!("{text}"),
        _ => tracing::warn!("{text}"),
    }
    Ok(())
}

/// math.random and math.randomseed.
fn random(lua: &Lua, ours: &Table) -> mlua::Result<()> {
    let state = Arc::new(Mutex::new(Lrand48::default()));
    let seeded = state.clone();
    let random = lua.create_function(move |lua, args: MultiValue| {
        if !WORLD.is_set() {
            return Err(raise::text(lua, "math.random can only be called inside a script invocation"));
        }
        let r = state.lock().unwrap_or_else(PoisonError::into_inner).next();
        let r = (r % random::MAX) as f64 / random::MAX as f64;
        let int = |n: usize| {
            let x = args.get(n - 1).and_then(|x| lua.coerce_number(x.clone()).ok().flatten());
            let wrong = || raise::expected(lua, n, "random", "number", args.get(n - 1));
            x.map(|x| num::c_i64(x) as i32 as f64).ok_or_else(wrong)
        };
        let empty = |n| raise::argument(lua, n, "random", "interval is empty");
        match args.len() {
            0 => Ok(r),
            1 if int(1)? < 1.0 => Err(empty(1)),
            1 => Ok((r * int(1)?).floor() + 1.0),
            2 if int(1)? > int(2)? => Err(empty(2)),
            2 => Ok((r * (int(2)? - int(1)? + 1.0)).floor() + int(1)?),
            _ => Err(raise::text(lua, "wrong number of arguments")),
        }
    })?;
    let randomseed = lua.create_function(move |lua, args: MultiValue| {
        if !WORLD.is_set() {
            let error = "math.randomseed can only be called inside a script invocation";
            return Err(raise::text(lua, error));
        }
        let seed = args.front().and_then(|x| lua.coerce_number(x.clone()).ok().flatten());
        let seed = seed.ok_or_else(|| raise::expected(lua, 1, "randomseed", "number", args.front()))?;
        seeded.lock().unwrap_or_else(PoisonError::into_inner).seed(num::c_i64(seed) as i32);
        Ok(())
    })?;
    ours.raw_set("random", random)?;
    ours.raw_set("randomseed", randomseed)
}
