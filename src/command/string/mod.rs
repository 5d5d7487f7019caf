//! Strings: values, counters, ranges of bytes.

mod lcs;
mod options;
#[cfg(test)]
mod tests;

pub use lcs::lcs;

use super::ctx::{Ctx, class};
use super::error::{Done, ErrReply, NOT_FLOAT, NOT_INT, OVERFLOW, TOO_LONG, WRONG_TYPE, arity};
use super::text::with_text;
use crate::limits::LONG_REQUEST;
use crate::resp::{Args, Reply};
use crate::store::{Expiry, Key, Look, Owned, OwnedValue, Ttl, ValueRef};
use crate::util::num::{self, LongDouble, parse_i64};
use crate::value::Object;
use options::{Condition, Expires, Kind, Options, Unit, expire_at};

const BAD_OFFSET: ErrReply = ErrReply::new("ERR offset is out of range");
const DECREMENT_OVERFLOW: ErrReply = ErrReply::new("ERR decrement would overflow");
const NOT_FINITE: ErrReply = ErrReply::new("ERR increment would produce NaN or Infinity");

// ---- reading

#[inline(always)]
fn write_string(out: &mut Reply<'_>, value: ValueRef<'_>) -> Done {
    match value {
        ValueRef::Str(bytes) => out.bulk(bytes),
        ValueRef::Int(n) => out.bulk_int(n),
        ValueRef::Obj(_) => return Err(WRONG_TYPE),
    }
    Ok(())
}

/// Replies with the string at `key`, or with null. Returns whether there is one.
#[inline(always)]
fn reply_value(ctx: &mut Ctx<'_>, key: &Key<'_>) -> Result<bool, ErrReply> {
    match ctx.ks.db_mut(ctx.db).find(key, Look::Read, &ctx.clock) {
        Some(entry) => write_string(&mut ctx.out, entry.value()).map(|()| true),
        None => {
            ctx.out.null();
            ctx.fx.event(ctx.db, key.bytes, class::KEY_MISS, "keymiss");
            Ok(false)
        }
    }
}

/// GET key
pub fn get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    reply_value(ctx, &key)?;
    Ok(())
}

/// MGET key ...
pub fn mget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.out.array(args.len() - 1);
    ctx.each_key(args.from(1), 1, |ctx, key, _| {
        match ctx.ks.db_mut(ctx.db).find(key, Look::Read, &ctx.clock).map(|entry| entry.value()) {
            Some(ValueRef::Str(bytes)) => ctx.out.bulk(bytes),
            Some(ValueRef::Int(n)) => ctx.out.bulk_int(n),
            Some(ValueRef::Obj(_)) => ctx.out.null(),
            None => {
                ctx.out.null();
                ctx.fx.event(ctx.db, key.bytes, class::KEY_MISS, "keymiss");
            }
        }
    });
    Ok(())
}

/// STRLEN key
pub fn strlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let len = with_text(ctx, &key, |_, text| text.len())?;
    ctx.out.int(len.unwrap_or(0) as i64);
    Ok(())
}

/// GETRANGE key start end
pub fn getrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let start = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    let end = parse_i64(args.at(3)).ok_or(NOT_INT)?;
    let key = ctx.key(args.at(1));
    let found = with_text(ctx, &key, |out, text| out.bulk(range_of(text, start, end)))?;
    if found.is_none() {
        ctx.out.bulk(b"");
    }
    Ok(())
}

/// SUBSTR key start end: GETRANGE's first name.
pub fn substr(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    getrange(ctx, args)
}

/// The bytes from `start` to `end`, both included; negative ones count from the end.
fn range_of(text: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let len = text.len() as i64;
    let from_start = |i: i64| if i < 0 { i.saturating_add(len).max(0) } else { i };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end || len == 0 {
        return b"";
    }
    &text[start as usize..=end as usize]
}

/// GETDEL key
pub fn getdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    if reply_value(ctx, &key)? {
        let lazy = ctx.conf.lazyfree_lazy_user_del;
        delete(ctx, &key, lazy);
    }
    Ok(())
}

/// Deletes a key that is there, and says so.
fn delete(ctx: &mut Ctx<'_>, key: &Key<'_>, lazy: bool) {
    ctx.ks.db_mut(ctx.db).delete(key, lazy, &ctx.clock);
    if ctx.fx.propagating {
        ctx.fx.propagate([if lazy { &b"UNLINK"[..] } else { b"DEL" }, key.bytes]);
    }
    ctx.fx.changed(ctx.db, key.bytes, class::GENERIC, "del");
}

/// GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]
pub fn getex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(args, 2, Kind::Get)?;
    let key = ctx.key(args.at(1));
    let Some(entry) = ctx.ks.db_mut(ctx.db).find(&key, Look::Read, &ctx.clock) else {
        ctx.out.null();
        ctx.fx.event(ctx.db, key.bytes, class::KEY_MISS, "keymiss");
        return Ok(());
    };
    let had_ttl = entry.expire_at().is_some();
    write_string(&mut ctx.out, entry.value())?;
    match options.expires {
        Some(expires) => {
            let at = expire_at(&expires, ctx.now(), "getex")?;
            if !expires.relative && at <= ctx.now() && ctx.clock.expiry == Expiry::Remove {
                let lazy = ctx.conf.lazyfree_lazy_expire;
                delete(ctx, &key, lazy);
                return Ok(());
            }
            ctx.ks.db_mut(ctx.db).set_expire(&key, Some(at), &ctx.clock);
            if ctx.fx.propagating {
                ctx.fx.propagate([&b"PEXPIREAT"[..], key.bytes, itoa::Buffer::new().format(at).as_bytes()]);
            }
            ctx.fx.changed(ctx.db, key.bytes, class::GENERIC, "expire");
        }
        None if options.persist && had_ttl => {
            ctx.ks.db_mut(ctx.db).set_expire(&key, None, &ctx.clock);
            if ctx.fx.propagating {
                ctx.fx.propagate([&b"PERSIST"[..], key.bytes]);
            }
            ctx.fx.changed(ctx.db, key.bytes, class::GENERIC, "persist");
        }
        None => {}
    }
    Ok(())
}

// ---- writing

/// Stores a string and says so.
#[inline]
fn store(ctx: &mut Ctx<'_>, key: &Key<'_>, value: &[u8], ttl: Ttl) {
    let there = match value.len() < LONG_REQUEST {
        true => ctx.ks.db_mut(ctx.db).set_str(key, value, ttl, &ctx.clock),
        false => store_long(ctx, key, value, ttl),
    };
    if !there {
        ctx.fx.event(ctx.db, key.bytes, class::NEW, "new");
    }
    ctx.fx.changed(ctx.db, key.bytes, class::STRING, "set");
}

#[cold]
fn store_long(ctx: &mut Ctx<'_>, key: &Key<'_>, value: &[u8], ttl: Ttl) -> bool {
    let text = Object::Str(ctx.fx.keep(value));
    ctx.ks.db_mut(ctx.db).set_object(key, text, ttl, &ctx.clock)
}

/// As [`store`], with an expiry in unix milliseconds.
fn store_until(ctx: &mut Ctx<'_>, key: &Key<'_>, value: &[u8], at: u64) {
    store(ctx, key, value, Ttl::At(at));
    ctx.fx.event(ctx.db, key.bytes, class::GENERIC, "expire");
    if ctx.fx.propagating {
        let mut text = itoa::Buffer::new();
        ctx.fx.propagate([&b"SET"[..], key.bytes, value, b"PXAT", text.format(at).as_bytes()]);
    }
}

/// SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]
pub fn set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len() == 3 {
        let key = ctx.key(args.at(1));
        store(ctx, &key, args.at(2), Ttl::Clear);
        ctx.out.ok();
        return Ok(());
    }
    set_with_options(ctx, args)
}

fn set_with_options(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(args, 3, Kind::Set)?;
    let until = match &options.expires {
        Some(expires) => Some(expire_at(expires, ctx.now(), "set")?),
        None => None,
    };
    let key = ctx.key(args.at(1));
    if options.get {
        reply_value(ctx, &key)?;
    }
    if let Some(condition) = options.condition {
        let there = ctx.ks.db_mut(ctx.db).exists(&key, Look::Write, &ctx.clock);
        if there != (condition == Condition::Exists) {
            if !options.get {
                ctx.out.null();
            }
            return Ok(());
        }
    }
    match until {
        Some(at) => store_until(ctx, &key, args.at(2), at),
        None => {
            store(ctx, &key, args.at(2), if options.keep_ttl { Ttl::Keep } else { Ttl::Clear });
            if options.get && ctx.fx.propagating {
                let kept = args.iter().enumerate().filter(|(i, a)| *i < 3 || !a.eq_ignore_ascii_case(b"get"));
                ctx.fx.propagate(kept.map(|(_, a)| a));
            }
        }
    }
    if !options.get {
        ctx.out.ok();
    }
    Ok(())
}

/// SETNX key value
pub fn setnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let there = ctx.ks.db_mut(ctx.db).exists(&key, Look::Write, &ctx.clock);
    if !there {
        store(ctx, &key, args.at(2), Ttl::Clear);
    }
    ctx.out.int(!there as i64);
    Ok(())
}

/// SETEX key seconds value
pub fn setex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    set_for(ctx, args, Unit::Seconds, "setex")
}

/// PSETEX key milliseconds value
pub fn psetex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    set_for(ctx, args, Unit::Milliseconds, "psetex")
}

fn set_for(ctx: &mut Ctx<'_>, args: Args<'_>, unit: Unit, name: &str) -> Done {
    let expires = Expires { unit, relative: true, text: args.at(2) };
    let at = expire_at(&expires, ctx.now(), name)?;
    let key = ctx.key(args.at(1));
    store_until(ctx, &key, args.at(3), at);
    ctx.out.ok();
    Ok(())
}

/// GETSET key value
pub fn getset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    reply_value(ctx, &key)?;
    store(ctx, &key, args.at(2), Ttl::Clear);
    if ctx.fx.propagating {
        ctx.fx.propagate([&b"SET"[..], key.bytes, args.at(2)]);
    }
    Ok(())
}

/// MSET key value ...
pub fn mset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len().is_multiple_of(2) {
        return Err(arity("mset"));
    }
    ctx.each_key(args.from(1), 2, |ctx, key, i| store(ctx, key, args.at(i + 2), Ttl::Clear));
    ctx.out.ok();
    Ok(())
}

/// MSETNX key value ...
pub fn msetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len().is_multiple_of(2) {
        return Err(arity("msetnx"));
    }
    for i in (1..args.len()).step_by(2) {
        let key = ctx.key(args.at(i));
        if ctx.ks.db_mut(ctx.db).exists(&key, Look::Write, &ctx.clock) {
            ctx.out.int(0);
            return Ok(());
        }
    }
    ctx.each_key(args.from(1), 2, |ctx, key, i| store(ctx, key, args.at(i + 2), Ttl::Clear));
    ctx.out.int(1);
    Ok(())
}

/// The length of the string at `key`, without touching it; `None` when there is no key.
fn length(ctx: &mut Ctx<'_>, key: &Key<'_>) -> Result<Option<usize>, ErrReply> {
    match ctx.ks.db_mut(ctx.db).find(key, Look::Peek, &ctx.clock).map(|entry| entry.value()) {
        None => Ok(None),
        Some(ValueRef::Str(bytes)) => Ok(Some(bytes.len())),
        Some(ValueRef::Int(n)) => Ok(Some(itoa::Buffer::new().format(n).len())),
        Some(ValueRef::Obj(_)) => Err(WRONG_TYPE),
    }
}

fn check_length(ctx: &Ctx<'_>, len: u64) -> Done {
    if len > ctx.conf.proto_max_bulk_len { Err(TOO_LONG) } else { Ok(()) }
}

/// APPEND key value
pub fn append(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (key, tail) = (ctx.key(args.at(1)), args.at(2));
    match length(ctx, &key)? {
        Some(old) => check_length(ctx, old as u64 + tail.len() as u64)?,
        None => ctx.fx.event(ctx.db, key.bytes, class::NEW, "new"),
    }
    let len = ctx.ks.db_mut(ctx.db).append(&key, tail, &ctx.clock).ok_or(WRONG_TYPE)?;
    ctx.fx.changed(ctx.db, key.bytes, class::STRING, "append");
    ctx.out.int(len as i64);
    Ok(())
}

/// SETRANGE key offset value
pub fn setrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let offset = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    let offset = u64::try_from(offset).map_err(|_| BAD_OFFSET)?;
    let (key, value) = (ctx.key(args.at(1)), args.at(3));
    let old = length(ctx, &key)?;
    if value.is_empty() {
        ctx.out.int(old.unwrap_or(0) as i64);
        return Ok(());
    }
    let end = offset.saturating_add(value.len() as u64);
    check_length(ctx, end)?;
    if old.is_none() {
        ctx.fx.event(ctx.db, key.bytes, class::NEW, "new");
    }
    let db = ctx.ks.db_mut(ctx.db);
    let whole = db.bytes_mut(&key, end as usize, &ctx.clock).ok_or(WRONG_TYPE)?;
    whole[offset as usize..end as usize].copy_from_slice(value);
    let len = whole.len();
    ctx.fx.changed(ctx.db, key.bytes, class::STRING, "setrange");
    ctx.out.int(len as i64);
    Ok(())
}

// ---- counting

/// INCR key
pub fn incr(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    add(ctx, args, 1)
}

/// DECR key
pub fn decr(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    add(ctx, args, -1)
}

/// INCRBY key increment
pub fn incrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let by = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    add(ctx, args, by)
}

/// DECRBY key decrement
pub fn decrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let by = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    add(ctx, args, by.checked_neg().ok_or(DECREMENT_OVERFLOW)?)
}

#[inline]
fn add(ctx: &mut Ctx<'_>, args: Args<'_>, by: i64) -> Done {
    let key = ctx.key(args.at(1));
    let n = match ctx.ks.db_mut(ctx.db).update_int(&key, &ctx.clock, |n| n.checked_add(by)) {
        Some(sum) => sum.ok_or(OVERFLOW)?,
        None => add_to_text(ctx, &key, by)?,
    };
    ctx.fx.changed(ctx.db, key.bytes, class::STRING, "incrby");
    ctx.out.int(n);
    Ok(())
}

/// Counts on a key that isn't there, or whose number is stored as text.
fn add_to_text(ctx: &mut Ctx<'_>, key: &Key<'_>, by: i64) -> Result<i64, ErrReply> {
    let db = ctx.ks.db_mut(ctx.db);
    let old = match db.find(key, Look::Write, &ctx.clock).map(|entry| entry.value()) {
        None => 0,
        Some(ValueRef::Int(n)) => n,
        Some(ValueRef::Str(text)) => parse_i64(text).ok_or(NOT_INT)?,
        Some(ValueRef::Obj(_)) => return Err(WRONG_TYPE),
    };
    let n = old.checked_add(by).ok_or(OVERFLOW)?;
    if !db.set_int(key, n, Ttl::Keep, &ctx.clock) {
        ctx.fx.event(ctx.db, key.bytes, class::NEW, "new");
    }
    Ok(n)
}

/// INCRBYFLOAT key increment
pub fn incrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let found = ctx.ks.db_mut(ctx.db).find(&key, Look::Write, &ctx.clock);
    let (old, expire_at) = match found.map(|entry| (entry.value(), entry.expire_at())) {
        None => (LongDouble::ZERO, None),
        Some((ValueRef::Int(n), ttl)) => (LongDouble::from_i64(n), ttl),
        Some((ValueRef::Str(text), ttl)) => (LongDouble::parse(text).ok_or(NOT_FLOAT)?, ttl),
        Some((ValueRef::Obj(_), _)) => return Err(WRONG_TYPE),
    };
    let by = LongDouble::parse(args.at(2)).ok_or(NOT_FLOAT)?;
    let sum = (old + by).filter(|sum| !sum.is_infinite()).ok_or(NOT_FINITE)?;
    let mut text = num::Buf::new();
    sum.write_human(&mut text);
    // Redis keeps the text even when it reads like an integer.
    let value = OwnedValue::Bytes(text[..].into());
    let owned = Owned { value, expire_at, lru: None, raw: false };
    if !ctx.ks.db_mut(ctx.db).put(&key, owned, &ctx.clock) {
        ctx.fx.event(ctx.db, key.bytes, class::NEW, "new");
    }
    ctx.fx.changed(ctx.db, key.bytes, class::STRING, "incrbyfloat");
    ctx.out.bulk(&text);
    if ctx.fx.propagating {
        ctx.fx.propagate([&b"SET"[..], key.bytes, &text, b"KEEPTTL"]);
    }
    Ok(())
}
