//! SCRIPT: the scripts that are known. Who runs them is the shard.

use super::ctx::Ctx;
use super::error::{Done, ErrReply};
use super::help;
use crate::resp::Args;

const BAD_FLUSH: ErrReply = ErrReply::new("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
const BAD_DEBUG: ErrReply = ErrReply::new("ERR Use SCRIPT DEBUG YES/SYNC/NO");
const NO_DEBUGGER: ErrReply = ErrReply::new("ERR There is no debugger for scripts here");

/// SCRIPT EXISTS sha1 ...
pub fn exists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let scripts = &ctx.host.registers.scripts;
    ctx.out.array(args.len() - 2);
    for sha in args.from(2).iter() {
        let sha = <[u8; 40]>::try_from(sha.to_ascii_lowercase());
        ctx.out.int(i64::from(sha.is_ok_and(|sha| scripts.get(&sha).is_some())));
    }
    Ok(())
}

/// SCRIPT FLUSH [ASYNC | SYNC]
pub fn flush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !(args.len() == 2 || args.len() == 3 && (args.is(2, "sync") || args.is(2, "async"))) {
        return Err(BAD_FLUSH);
    }
    ctx.host.registers.scripts.flush();
    ctx.out.ok();
    Ok(())
}

/// SCRIPT KILL: of the host's shards, those that are busy.
pub fn kill(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.host.registers.kill_scripts(false)?;
    ctx.out.ok();
    Ok(())
}

/// SCRIPT DEBUG YES | SYNC | NO
pub fn debug(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    match () {
        _ if args.is(2, "no") => ctx.out.ok(),
        _ if args.is(2, "yes") || args.is(2, "sync") => return Err(NO_DEBUGGER),
        _ => return Err(BAD_DEBUG),
    }
    Ok(())
}

/// SCRIPT HELP
pub fn script_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    const HELP: &[&str] = &[
        "DEBUG (YES|SYNC|NO)",
        "    Set the debug mode for subsequent scripts executed.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Return information about the existence of the scripts in the script cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Flush the Lua scripts cache. Very dangerous on replicas.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the scripts cache.",
        "    * SYNC: Synchronously flush the scripts cache.",
        "KILL",
        "    Kill the currently executing Lua script.",
        "LOAD <script>",
        "    Load a script into the scripts cache without executing it.",
    ];
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}
