//! Keys of every type: whether they are there, how long, under which name, and all of them.

mod dump;
mod expiry;
mod object;
mod rename;
mod scan;
#[cfg(test)]
mod tests;

pub use dump::{dump, restore};
pub use expiry::{expire, expireat, expiretime, persist, pexpire, pexpireat, pexpiretime, pttl, ttl};
pub use object::{object_encoding, object_freq, object_help, object_idletime, object_refcount};
pub use rename::{copy, move_, rename, renamenx};
pub use scan::{keys, randomkey, scan};

use super::ctx::{Ctx, class};
use super::error::Done;
use crate::resp::Args;
use crate::store::{Clock, EntryRef, Key, Look, ValueRef};

/// Looks a key up for reading, counts the hit or miss, and leaves the access field as it is.
fn glance<'c>(ctx: &'c mut Ctx<'_>, key: &Key<'_>) -> Option<EntryRef<'c>> {
    let clock = Clock { no_touch: true, ..ctx.clock };
    let found = ctx.ks.db_mut(ctx.db).find(key, Look::Read, &clock);
    if found.is_none() {
        ctx.fx.event(ctx.db, key.bytes, class::KEY_MISS, "keymiss");
    }
    found
}

/// As TYPE calls it.
fn type_name(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Int(_) | ValueRef::Str(_) => "string",
        ValueRef::Obj(object) => object.type_name(),
    }
}

/// DEL key ...
pub fn del(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let lazy = ctx.conf.lazyfree_lazy_user_del;
    delete(ctx, args, lazy)
}

/// UNLINK key ...
pub fn unlink(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    delete(ctx, args, true)
}

fn delete(ctx: &mut Ctx<'_>, args: Args<'_>, lazy: bool) -> Done {
    let mut n = 0;
    ctx.each_key(args.from(1), 1, |ctx, key, _| {
        if ctx.ks.db_mut(ctx.db).delete(key, lazy, &ctx.clock) {
            ctx.fx.changed(ctx.db, key.bytes, class::GENERIC, "del");
            n += 1;
        }
    });
    ctx.out.int(n);
    Ok(())
}

/// EXISTS key ...
pub fn exists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let mut n = 0;
    ctx.each_key(args.from(1), 1, |ctx, key, _| n += glance(ctx, key).is_some() as i64);
    ctx.out.int(n);
    Ok(())
}

/// TOUCH key ...; it touches also for clients whose commands don't (CLIENT NO-TOUCH).
pub fn touch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let clock = Clock { no_touch: false, ..ctx.clock };
    let mut n = 0;
    ctx.each_key(args.from(1), 1, |ctx, key, _| {
        match ctx.ks.db_mut(ctx.db).exists(key, Look::Read, &clock) {
            true => n += 1,
            false => ctx.fx.event(ctx.db, key.bytes, class::KEY_MISS, "keymiss"),
        }
    });
    ctx.out.int(n);
    Ok(())
}

/// TYPE key
pub fn type_(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let name = glance(ctx, &key).map_or("none", |entry| type_name(entry.value()));
    ctx.out.simple(name);
    Ok(())
}
