//! OBJECT: how a value is stored and how it is used.

use crate::command::ctx::Ctx;
use crate::command::error::{Done, ErrReply};
use crate::config::types::MaxmemoryPolicy;
use crate::resp::Args;
use crate::store::{Clock, EntryRef, Look, ValueRef};

const NO_IDLE_TIME: ErrReply = ErrReply::new(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
     between policies at runtime LRU and LFU data will take some time to adjust.",
);
const NO_FREQUENCY: ErrReply = ErrReply::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
     switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

/// Integers below this are one shared object in Redis, with a reference count that says so.
const SHARED_INTEGERS: i64 = 10_000;
const SHARED_COUNT: i64 = i32::MAX as i64;

/// Looks the subcommand's key up without touching it; replies null when there is none.
fn look<'c>(ctx: &'c mut Ctx<'_>, args: Args<'_>) -> Option<EntryRef<'c>> {
    let key = ctx.key(args.at(2));
    let clock = Clock { no_touch: true, ..ctx.clock };
    let found = ctx.ks.db_mut(ctx.db).find(&key, Look::Read, &clock);
    if found.is_none() {
        ctx.out.null();
    }
    found
}

/// OBJECT ENCODING key
pub fn object_encoding(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let Some(entry) = look(ctx, args) else { return Ok(()) };
    let name = match entry.value() {
        ValueRef::Obj(object) => object.encoding(),
        _ => entry.string_encoding().unwrap_or("raw"),
    };
    ctx.out.bulk(name.as_bytes());
    Ok(())
}

/// OBJECT REFCOUNT key: nothing is shared here, but Redis's small integers are.
pub fn object_refcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let shares = ctx.conf.maxmemory == 0 || shares_integers(ctx.conf.maxmemory_policy);
    let Some(entry) = look(ctx, args) else { return Ok(()) };
    let shared = matches!(entry.value(), ValueRef::Int(n) if (0..SHARED_INTEGERS).contains(&n));
    ctx.out.int(if shared && shares { SHARED_COUNT } else { 1 });
    Ok(())
}

/// Whether Redis shares integers under this policy: when it needs no access field of each key.
fn shares_integers(policy: MaxmemoryPolicy) -> bool {
    use MaxmemoryPolicy::*;
    matches!(policy, NoEviction | AllkeysRandom | VolatileRandom | VolatileTtl)
}

/// OBJECT IDLETIME key
pub fn object_idletime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let clock = ctx.clock;
    let Some(entry) = look(ctx, args) else { return Ok(()) };
    if clock.lfu {
        return Err(NO_IDLE_TIME);
    }
    let idle = clock.idle(entry.lru());
    ctx.out.int(idle as i64);
    Ok(())
}

/// OBJECT FREQ key
pub fn object_freq(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let clock = ctx.clock;
    let Some(entry) = look(ctx, args) else { return Ok(()) };
    if !clock.lfu {
        return Err(NO_FREQUENCY);
    }
    let frequency = clock.frequency(entry.lru());
    ctx.out.int(frequency as i64);
    Ok(())
}

/// OBJECT HELP
pub fn object_help(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.out.lines(&[
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
        "HELP",
        "    Prints this help.",
    ]);
    Ok(())
}
