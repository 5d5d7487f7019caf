//! When keys expire: setting it, asking for it, taking it back.

use super::glance;
use crate::command::ctx::{Ctx, class};
use crate::command::error::{Done, ErrReply, NOT_INT, invalid_expire};
use crate::resp::Args;
use crate::store::{Expiry, Key, Look};
use crate::util::num::parse_i64;

const NX_AND_OTHERS: ErrReply =
    ErrReply::new("ERR NX and XX, GT or LT options at the same time are not compatible");
const GT_AND_LT: ErrReply = ErrReply::new("ERR GT and LT options at the same time are not compatible");

/// Milliseconds of the two units that times are given in.
const SECOND: i64 = 1000;
const MILLISECOND: i64 = 1;

/// EXPIRE key seconds [NX | XX | GT | LT]
pub fn expire(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.now() as i64;
    set_expiry(ctx, args, now, SECOND, "expire")
}

/// PEXPIRE key milliseconds [NX | XX | GT | LT]
pub fn pexpire(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.now() as i64;
    set_expiry(ctx, args, now, MILLISECOND, "pexpire")
}

/// EXPIREAT key unix-time-seconds [NX | XX | GT | LT]
pub fn expireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    set_expiry(ctx, args, 0, SECOND, "expireat")
}

/// PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]
pub fn pexpireat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    set_expiry(ctx, args, 0, MILLISECOND, "pexpireat")
}

#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(words: Args<'_>) -> Result<Conditions, ErrReply> {
        let mut c = Conditions::default();
        for i in 0..words.len() {
            if words.is(i, "nx") {
                c.nx = true;
            } else if words.is(i, "xx") {
                c.xx = true;
            } else if words.is(i, "gt") {
                c.gt = true;
            } else if words.is(i, "lt") {
                c.lt = true;
            } else {
                let word = String::from_utf8_lossy(words.at(i));
                return Err(ErrReply::owned(format!("ERR Unsupported option {word}")));
            }
        }
        if c.nx && (c.xx || c.gt || c.lt) {
            return Err(NX_AND_OTHERS);
        }
        if c.gt && c.lt { Err(GT_AND_LT) } else { Ok(c) }
    }

    /// A key without an expiry lives for ever: later than any `new`.
    fn allow(&self, old: Option<u64>, new: i64) -> bool {
        match old.map(|at| at as i64) {
            Some(old) => !self.nx && (!self.gt || new > old) && (!self.lt || new < old),
            None => !self.xx && !self.gt,
        }
    }
}

/// `base` is what the time counts from in unix milliseconds, `unit` its unit in milliseconds.
fn set_expiry(ctx: &mut Ctx<'_>, args: Args<'_>, base: i64, unit: i64, name: &str) -> Done {
    let conditions = Conditions::parse(args.from(3))?;
    let when = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    let when = when.checked_mul(unit).and_then(|when| when.checked_add(base));
    let when = when.ok_or_else(|| invalid_expire(name))?;
    let key = ctx.key(args.at(1));
    let found = ctx.ks.db_mut(ctx.db).find(&key, Look::Write, &ctx.clock);
    let allowed = found.is_some_and(|entry| conditions.allow(entry.expire_at(), when));
    ctx.out.int(allowed as i64);
    if !allowed {
        return Ok(());
    }
    if when <= ctx.now() as i64 && ctx.clock.expiry == Expiry::Remove {
        return expire_now(ctx, &key);
    }
    ctx.ks.db_mut(ctx.db).set_expire(&key, Some(when.max(0) as u64), &ctx.clock);
    if ctx.fx.propagating && (base != 0 || unit != MILLISECOND) {
        let mut text = itoa::Buffer::new();
        let head = [&b"PEXPIREAT"[..], key.bytes, text.format(when).as_bytes()];
        ctx.fx.propagate(head.into_iter().chain(args.from(3).iter()));
    }
    ctx.fx.changed(ctx.db, key.bytes, class::GENERIC, "expire");
    Ok(())
}

/// An expiry that has passed already deletes at once, and is told to others as a deletion.
fn expire_now(ctx: &mut Ctx<'_>, key: &Key<'_>) -> Done {
    let lazy = ctx.conf.lazyfree_lazy_expire;
    ctx.ks.db_mut(ctx.db).delete(key, lazy, &ctx.clock);
    if ctx.fx.propagating {
        ctx.fx.propagate([if lazy { &b"UNLINK"[..] } else { b"DEL" }, key.bytes]);
    }
    ctx.fx.changed(ctx.db, key.bytes, class::GENERIC, "del");
    Ok(())
}

/// PERSIST key
pub fn persist(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let db = ctx.ks.db_mut(ctx.db);
    let had = db.find(&key, Look::Write, &ctx.clock).is_some_and(|entry| entry.expire_at().is_some());
    if had {
        db.set_expire(&key, None, &ctx.clock);
        ctx.fx.changed(ctx.db, key.bytes, class::GENERIC, "persist");
    }
    ctx.out.int(had as i64);
    Ok(())
}

/// TTL key
pub fn ttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    tell(ctx, args, |at, now| (at.saturating_sub(now) + 500) / 1000)
}

/// PTTL key
pub fn pttl(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    tell(ctx, args, |at, now| at.saturating_sub(now))
}

/// EXPIRETIME key
pub fn expiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    tell(ctx, args, |at, _| (at + 500) / 1000)
}

/// PEXPIRETIME key
pub fn pexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    tell(ctx, args, |at, _| at)
}

/// Replies with what `f` makes of expiry and now; -1 without an expiry, -2 without a key.
fn tell(ctx: &mut Ctx<'_>, args: Args<'_>, f: impl FnOnce(u64, u64) -> u64) -> Done {
    let key = ctx.key(args.at(1));
    let now = ctx.now();
    let n = match glance(ctx, &key).map(|entry| entry.expire_at()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => f(at, now) as i64,
    };
    ctx.out.int(n);
    Ok(())
}
