//! Hashes.

mod random;
#[cfg(test)]
mod tests;

pub use random::hrandfield;

use super::collection::{create, find_mut, read, remove, scan, write_elem};
use super::ctx::{Ctx, class};
use super::error::{Done, ErrReply, NOT_FLOAT, NOT_INT, OVERFLOW, arity};
use crate::resp::{Args, Reply};
use crate::store::Key;
use crate::util::num::{self, LongDouble, parse_i64};
use crate::value::{Elem, Hash};

const VALUE_NOT_INT: ErrReply = ErrReply::new("ERR hash value is not an integer");
const VALUE_NOT_FLOAT: ErrReply = ErrReply::new("ERR hash value is not a float");
const INFINITE: ErrReply = ErrReply::new("ERR value is NaN or Infinity");
const NOT_FINITE: ErrReply = ErrReply::new("ERR increment would produce NaN or Infinity");

// ---- reading

#[inline]
fn write_value(out: &mut Reply<'_>, value: Option<Elem<'_>>) {
    match value {
        Some(value) => write_elem(out, value),
        None => out.null(),
    }
}

/// HGET key field
pub fn hget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let found = read(ctx, &key, |out, hash: &Hash| write_value(out, hash.get(args.at(2))))?;
    if found.is_none() {
        ctx.out.null();
    }
    Ok(())
}

/// HMGET key field ...
pub fn hmget(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (key, fields) = (ctx.key(args.at(1)), args.from(2));
    ctx.out.array(fields.len());
    let found = read(ctx, &key, |out, hash: &Hash| {
        fields.iter().for_each(|field| write_value(out, hash.get(field)));
    })?;
    if found.is_none() {
        fields.iter().for_each(|_| ctx.out.null());
    }
    Ok(())
}

/// Replies with a number that is read from the hash at a key, or with 0.
#[inline]
fn reply_number(ctx: &mut Ctx<'_>, args: Args<'_>, f: impl FnOnce(&Hash) -> usize) -> Done {
    let key = ctx.key(args.at(1));
    let n = read(ctx, &key, |_, hash: &Hash| f(hash))?;
    ctx.out.int(n.unwrap_or(0) as i64);
    Ok(())
}

/// HLEN key
pub fn hlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    reply_number(ctx, args, Hash::len)
}

/// HEXISTS key field
pub fn hexists(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    reply_number(ctx, args, |hash| hash.contains(args.at(2)) as usize)
}

/// HSTRLEN key field
pub fn hstrlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    reply_number(ctx, args, |hash| hash.get(args.at(2)).map_or(0, Elem::text_len))
}

/// HGETALL key
pub fn hgetall(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let found = read(ctx, &key, |out, hash: &Hash| {
        out.map(hash.len());
        hash.iter().for_each(|(field, value)| {
            write_elem(out, field);
            write_elem(out, value);
        });
    })?;
    if found.is_none() {
        ctx.out.map(0);
    }
    Ok(())
}

/// HKEYS key
pub fn hkeys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    reply_halves(ctx, args, |(field, _)| field)
}

/// HVALS key
pub fn hvals(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    reply_halves(ctx, args, |(_, value)| value)
}

/// A field and its value.
type Pair<'a> = (Elem<'a>, Elem<'a>);

/// Replies with one half of each pair.
fn reply_halves(ctx: &mut Ctx<'_>, args: Args<'_>, half: impl for<'a> Fn(Pair<'a>) -> Elem<'a>) -> Done {
    let key = ctx.key(args.at(1));
    let found = read(ctx, &key, |out, hash: &Hash| {
        out.array(hash.len());
        hash.iter().for_each(|pair| write_elem(out, half(pair)));
    })?;
    if found.is_none() {
        ctx.out.array(0);
    }
    Ok(())
}

/// HSCAN key cursor [MATCH pattern] [COUNT count]
pub fn hscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    scan(ctx, args, |hash: &Hash, cursor, options, shown| {
        hash.scan(cursor, options.count, |field, value| {
            if options.shows(field) {
                shown.elem(field);
                shown.elem(value);
            }
        })
    })
}

// ---- writing

/// HSET key field value ...
pub fn hset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let new = set_all(ctx, args, "hset")?;
    ctx.out.int(new as i64);
    Ok(())
}

/// HMSET key field value ...
pub fn hmset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    set_all(ctx, args, "hmset")?;
    ctx.out.ok();
    Ok(())
}

/// Sets fields and returns how many of them are new.
#[inline]
fn set_all(ctx: &mut Ctx<'_>, args: Args<'_>, name: &str) -> Result<usize, ErrReply> {
    if !args.len().is_multiple_of(2) {
        return Err(arity(name));
    }
    let limits = ctx.limits();
    let key = ctx.key(args.at(1));
    let set = |hash: &mut Hash| {
        let fields = (2..args.len()).step_by(2);
        fields.filter(|i| hash.set(args.at(*i), args.at(i + 1), &limits)).count()
    };
    let new = edit(ctx, &key, set)?;
    ctx.fx.changed_by((args.len() / 2 - 1) as u64, ctx.db, key.bytes, class::HASH, "hset");
    Ok(new)
}

/// Changes the hash at `key`, or a new one if there is none. `f` must leave something in it.
#[inline]
fn edit<R>(ctx: &mut Ctx<'_>, key: &Key<'_>, f: impl FnOnce(&mut Hash) -> R) -> Result<R, ErrReply> {
    if let Some(hash) = find_mut::<Hash>(ctx.ks.db_mut(ctx.db), key, &ctx.clock)? {
        return Ok(f(hash));
    }
    let mut hash = Hash::new();
    let out = f(&mut hash);
    create(ctx, key, hash);
    Ok(out)
}

/// HSETNX key field value
pub fn hsetnx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let limits = ctx.limits();
    let (key, field) = (ctx.key(args.at(1)), args.at(2));
    let new = edit(ctx, &key, |hash| {
        let new = !hash.contains(field);
        if new {
            hash.set(field, args.at(3), &limits);
        }
        new
    })?;
    if new {
        ctx.fx.changed(ctx.db, key.bytes, class::HASH, "hset");
    }
    ctx.out.int(new as i64);
    Ok(())
}

/// HDEL key field ...
pub fn hdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remove(ctx, args, class::HASH, "hdel", Hash::remove)
}

/// HINCRBY key field increment
pub fn hincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let by = parse_i64(args.at(3)).ok_or(NOT_INT)?;
    let limits = ctx.limits();
    let (key, field) = (ctx.key(args.at(1)), args.at(2));
    let sum = edit(ctx, &key, |hash| {
        let old = match hash.get(field) {
            Some(value) => value.as_int().ok_or(VALUE_NOT_INT)?,
            None => 0,
        };
        let sum = old.checked_add(by).ok_or(OVERFLOW)?;
        hash.set(field, itoa::Buffer::new().format(sum).as_bytes(), &limits);
        Ok(sum)
    })??;
    ctx.fx.changed(ctx.db, key.bytes, class::HASH, "hincrby");
    ctx.out.int(sum);
    Ok(())
}

/// HINCRBYFLOAT key field increment
pub fn hincrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let by = LongDouble::parse(args.at(3)).ok_or(NOT_FLOAT)?;
    if by.is_infinite() {
        return Err(INFINITE);
    }
    let limits = ctx.limits();
    let (key, field) = (ctx.key(args.at(1)), args.at(2));
    let mut text = num::Buf::new();
    edit(ctx, &key, |hash| {
        let old = match hash.get(field) {
            Some(Elem::Int(n)) => LongDouble::from_i64(n),
            Some(Elem::Str(text)) => LongDouble::parse(text).ok_or(VALUE_NOT_FLOAT)?,
            None => LongDouble::ZERO,
        };
        let sum = (old + by).filter(|sum| !sum.is_infinite()).ok_or(NOT_FINITE)?;
        sum.write_human(&mut text);
        hash.set(field, &text, &limits);
        Ok(())
    })??;
    ctx.fx.changed(ctx.db, key.bytes, class::HASH, "hincrbyfloat");
    ctx.out.bulk(&text);
    if ctx.fx.propagating {
        ctx.fx.propagate([&b"HSET"[..], key.bytes, field, &text]);
    }
    Ok(())
}
