//! SLOWLOG: the slowest commands of late, one log a shard.

use super::ctx::Ctx;
use super::error::{Done, ErrReply, subcommand_syntax};
use super::help;
use super::host::SlowEntry;
use crate::resp::Args;
use crate::util::num::parse_i64;

const BAD_COUNT: ErrReply = ErrReply::new("ERR count should be greater than or equal to -1");

const HELP: &[&str] = &[
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
];

/// SLOWLOG GET [count]
pub fn slowlog_get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let count = match args.len() {
        2 => 10,
        3 => parse_i64(args.at(2)).filter(|&n| n >= -1).ok_or(BAD_COUNT)?,
        _ => return Err(subcommand_syntax(args)),
    };
    let mut entries: Vec<SlowEntry> = Vec::new();
    for shard in ctx.host.scope(ctx.caller.front_door, ctx.me) {
        entries.extend(ctx.host.registers.slow_log(shard).iter().cloned());
    }
    entries.sort_by_key(|e| std::cmp::Reverse(e.id));
    if let Ok(count) = usize::try_from(count) {
        entries.truncate(count);
    }
    ctx.out.array(entries.len());
    for entry in entries {
        ctx.out.array(6);
        ctx.out.int(entry.id as i64);
        ctx.out.int(entry.time as i64);
        ctx.out.int(entry.duration as i64);
        ctx.out.array(entry.args.len());
        entry.args.iter().for_each(|arg| ctx.out.bulk(arg));
        ctx.out.bulk(entry.addr.as_bytes());
        ctx.out.bulk(&entry.name);
    }
    Ok(())
}

/// SLOWLOG LEN
pub fn slowlog_len(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let shards = ctx.host.scope(ctx.caller.front_door, ctx.me);
    let len: usize = shards.map(|shard| ctx.host.registers.slow_log(shard).len()).sum();
    ctx.out.int(len as i64);
    Ok(())
}

/// SLOWLOG RESET
pub fn slowlog_reset(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let shards = ctx.host.scope(ctx.caller.front_door, ctx.me);
    shards.for_each(|shard| ctx.host.registers.slow_log(shard).clear());
    ctx.out.ok();
    Ok(())
}

/// SLOWLOG HELP
pub fn slowlog_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}
