//! Sets.

mod algebra;
mod random;
#[cfg(test)]
mod tests;

pub use algebra::{sdiff, sdiffstore, sinter, sintercard, sinterstore, smembers, sunion, sunionstore};
pub use random::{spop, srandmember};

use super::collection::{create, drop_empty, find, find_mut, read, remove, scan};
use super::ctx::{Ctx, class};
use super::error::{Done, ErrReply};
use crate::resp::Args;
use crate::store::{Key, Look};
use crate::value::Set;

// ---- reading

/// SCARD key
pub fn scard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let len = read(ctx, &key, |_, set: &Set| set.len())?;
    ctx.out.int(len.unwrap_or(0) as i64);
    Ok(())
}

/// SISMEMBER key member
pub fn sismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let found = read(ctx, &key, |_, set: &Set| set.contains(args.at(2)))?;
    ctx.out.int(found.unwrap_or(false) as i64);
    Ok(())
}

/// SMISMEMBER key member ...
pub fn smismember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (key, members) = (ctx.key(args.at(1)), args.from(2));
    ctx.out.array(members.len());
    let found = read(ctx, &key, |out, set: &Set| {
        members.iter().for_each(|member| out.int(set.contains(member) as i64));
    })?;
    if found.is_none() {
        members.iter().for_each(|_| ctx.out.int(0));
    }
    Ok(())
}

/// SSCAN key cursor [MATCH pattern] [COUNT count]
pub fn sscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    scan(ctx, args, |set: &Set, cursor, options, shown| {
        set.scan(cursor, options.count, |member| {
            if options.shows(member) {
                shown.elem(member);
            }
        })
    })
}

// ---- writing

/// SADD key member ...
pub fn sadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let limits = ctx.limits();
    let (key, members) = (ctx.key(args.at(1)), args.from(2));
    let add = |set: &mut Set| members.iter().filter(|member| set.add(member, &limits)).count();
    let new = match find_mut::<Set>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? {
        Some(set) => add(set),
        None => {
            let mut set = Set::new();
            let new = add(&mut set);
            create(ctx, &key, set);
            new
        }
    };
    if new > 0 {
        ctx.fx.changed_by(new as u64, ctx.db, key.bytes, class::SET, "sadd");
    }
    ctx.out.int(new as i64);
    Ok(())
}

/// SREM key member ...
pub fn srem(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remove(ctx, args, class::SET, "srem", Set::remove)
}

/// SMOVE source destination member
pub fn smove(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (source, target, member) = (ctx.key(args.at(1)), ctx.key(args.at(2)), args.at(3));
    let moved = take_for_move(ctx, &source, &target, member)?;
    ctx.out.int(moved as i64);
    Ok(())
}

/// Moves `member`, or does nothing where there is nothing to move. Returns whether it was there.
fn take_for_move(
    ctx: &mut Ctx<'_>,
    source: &Key<'_>,
    target: &Key<'_>,
    member: &[u8],
) -> Result<bool, ErrReply> {
    let limits = ctx.limits();
    let db = ctx.ks.db_mut(ctx.db);
    let Some(set) = find::<Set>(db, source, Look::Write, &ctx.clock)? else { return Ok(false) };
    let there = set.contains(member);
    let new = find::<Set>(db, target, Look::Write, &ctx.clock)?.is_none();
    if source.bytes == target.bytes || !there {
        return Ok(there);
    }
    let Some(set) = find_mut::<Set>(db, source, &ctx.clock)? else { return Ok(false) };
    set.remove(member);
    let empty = set.is_empty();
    ctx.fx.changed(ctx.db, source.bytes, class::SET, "srem");
    if empty {
        drop_empty(ctx, source);
    }
    let mut added = true;
    if new {
        let mut set = Set::new();
        set.add(member, &limits);
        create(ctx, target, set);
    } else if let Some(set) = find_mut::<Set>(ctx.ks.db_mut(ctx.db), target, &ctx.clock)? {
        added = set.add(member, &limits);
    }
    if added {
        ctx.fx.changed(ctx.db, target.bytes, class::SET, "sadd");
    }
    if ctx.fx.apart && ctx.fx.propagating {
        ctx.fx.propagate([b"SREM", source.bytes, member]);
        ctx.fx.propagate([b"SADD", target.bytes, member]);
    }
    Ok(true)
}
