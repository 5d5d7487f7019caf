//! FUNCTION: libraries. Who calls their functions is the shard.

use super::ctx::Ctx;
use super::error::{Done, ErrReply, subcommand_syntax};
use super::help;
use super::host::{Library, Policy, names_of};
use crate::persist::{dump_functions, restore_functions};
use crate::resp::{Args, Reply};
use crate::util::glob;

const ENGINE: &[u8] = b"LUA";
const NO_LIBRARY: ErrReply = ErrReply::new("ERR Library not found");
const BAD_FLUSH: ErrReply = ErrReply::new("ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
const BAD_POLICY: ErrReply =
    ErrReply::new("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
const NO_NAME: ErrReply = ErrReply::new("ERR library name argument was not given");

fn said(text: Vec<u8>) -> ErrReply {
    ErrReply::quoting([b"ERR ", &text[..]].concat())
}

/// Whether a primary's stream, or a log, has this command, and no client.
fn is_foreign(ctx: &Ctx<'_>) -> bool {
    ctx.caller.id == 0
}

/// FUNCTION LOAD [REPLACE] code
pub fn load(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let mut replace = false;
    for i in 2..args.len() - 1 {
        if !args.is(i, "replace") {
            return Err(said([b"Unknown option given: ", args.at(i)].concat()));
        }
        replace = true;
    }
    let libraries = &ctx.host.registers.libraries;
    let taken = |name: &[u8]| !replace && libraries.has(name);
    let library = Library::read(args.at(args.len() - 1), is_foreign(ctx), taken).map_err(said)?;
    let name = library.name.clone();
    let policy = if replace { Policy::Replace } else { Policy::Append };
    libraries.add(vec![library], policy).map_err(said)?;
    ctx.out.bulk(&name);
    Ok(())
}

/// FUNCTION DELETE name
pub fn delete(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    match ctx.host.registers.libraries.delete(args.at(2)) {
        true => ctx.out.ok(),
        false => return Err(NO_LIBRARY),
    }
    Ok(())
}

/// FUNCTION FLUSH [ASYNC | SYNC]
pub fn flush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    match args.len() {
        2 => {}
        3 if args.is(2, "sync") || args.is(2, "async") => {}
        3 => return Err(BAD_FLUSH),
        _ => return Err(subcommand_syntax(args)),
    }
    ctx.host.registers.libraries.flush();
    ctx.out.ok();
    Ok(())
}

/// FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]
pub fn list(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (mut pattern, mut with_code) = (None, false);
    let mut i = 2;
    while i < args.len() {
        if !with_code && args.is(i, "withcode") {
            with_code = true;
        } else if pattern.is_none() && args.is(i, "libraryname") {
            i += 1;
            pattern = Some(args.get(i).ok_or(NO_NAME)?);
        } else {
            return Err(said([b"Unknown argument ", args.at(i)].concat()));
        }
        i += 1;
    }
    let mut all = ctx.host.registers.libraries.all();
    all.retain(|library| pattern.is_none_or(|pattern| glob::matches(pattern, &library.name, true)));
    ctx.out.array(all.len());
    for library in all {
        describe(&mut ctx.out, &library, with_code);
    }
    Ok(())
}

fn describe(out: &mut Reply<'_>, library: &Library, with_code: bool) {
    out.map(if with_code { 4 } else { 3 });
    out.bulk(b"library_name");
    out.bulk(&library.name);
    out.bulk(b"engine");
    out.bulk(ENGINE);
    out.bulk(b"functions");
    out.array(library.functions.len());
    for function in &library.functions {
        out.map(3);
        out.bulk(b"name");
        out.bulk(&function.name);
        out.bulk(b"description");
        out.bulk_or_null(function.description.as_deref());
        out.bulk(b"flags");
        out.set(names_of(function.flags).count());
        names_of(function.flags).for_each(|name| out.simple(name));
    }
    if with_code {
        out.bulk(b"library_code");
        out.bulk(&library.code);
    }
}

/// FUNCTION STATS
pub fn stats(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let running = ctx.host.registers.running_function()?;
    let (libraries, functions, _) = ctx.host.registers.libraries.size();
    let out = &mut ctx.out;
    out.map(2);
    out.bulk(b"running_script");
    match running {
        None => out.null(),
        Some(running) => {
            out.map(3);
            out.bulk(b"name");
            out.bulk(&running.name);
            out.bulk(b"command");
            out.array(running.command.len());
            running.command.iter().for_each(|word| out.bulk(word));
            out.bulk(b"duration_ms");
            out.int((ctx.now_us / 1000).saturating_sub(running.since_ms) as i64);
        }
    }
    out.bulk(b"engines");
    out.map(1);
    out.bulk(ENGINE);
    out.map(2);
    out.bulk(b"libraries_count");
    out.int(libraries as i64);
    out.bulk(b"functions_count");
    out.int(functions as i64);
    Ok(())
}

/// FUNCTION DUMP
pub fn dump(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let all = ctx.host.registers.libraries.all();
    let mut payload = Vec::new();
    let codes = all.iter().map(|library| &library.code[..]);
    dump_functions(codes, ctx.conf.rdbcompression, &mut payload);
    ctx.out.bulk(&payload);
    Ok(())
}

/// FUNCTION RESTORE payload [FLUSH | APPEND | REPLACE]
pub fn restore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let policy = match args.len() {
        3 => Policy::Append,
        4 if args.is(3, "append") => Policy::Append,
        4 if args.is(3, "replace") => Policy::Replace,
        4 if args.is(3, "flush") => Policy::Flush,
        4 => return Err(BAD_POLICY),
        _ => return Err(subcommand_syntax(args)),
    };
    let codes = restore_functions(args.at(2)).map_err(|error| said(error.into()))?;
    let mut libraries: Vec<Library> = Vec::new();
    for code in codes {
        let taken = |name: &[u8]| libraries.iter().any(|library| library.name == name);
        let library = Library::read(&code, is_foreign(ctx), taken).map_err(said)?;
        libraries.push(library);
    }
    ctx.host.registers.libraries.add(libraries, policy).map_err(said)?;
    ctx.out.ok();
    Ok(())
}

/// FUNCTION KILL: of the host's shards, those that are busy.
pub fn kill(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.host.registers.kill_scripts(true)?;
    ctx.out.ok();
    Ok(())
}

/// FUNCTION HELP
pub fn function_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    const HELP: &[&str] = &[
        "LOAD [REPLACE] <FUNCTION CODE>",
        "    Create a new library with the given library name and code.",
        "DELETE <LIBRARY NAME>",
        "    Delete the given library.",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "    Return general information on all the libraries:",
        "    * Library name",
        "    * The engine used to run the Library",
        "    * Library description",
        "    * Functions list",
        "    * Library code (if WITHCODE is given)",
        "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
        "STATS",
        "    Return information about the current function running:",
        "    * Function name",
        "    * Command used to run the function",
        "    * Duration in MS that the function is running",
        "    If no function is running, return nil",
        "    In addition, returns a list of available engines.",
        "KILL",
        "    Kill the current running function.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all the libraries.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the libraries.",
        "    * SYNC: Synchronously flush the libraries.",
        "DUMP",
        "    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command",
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        "    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
        "    control how to handle existing libraries (default APPEND):",
        "    * FLUSH: delete all existing libraries.",
        "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
        "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
        "      libraries with the new libraries (notice that even on this option there is a chance of failure",
        "      in case of functions name collision with another library).",
    ];
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}
