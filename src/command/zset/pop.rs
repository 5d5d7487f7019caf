//! ZPOPMIN, ZPOPMAX and ZMPOP, and those that wait where these find nothing: BZPOPMIN, BZPOPMAX and BZMPOP.

use super::{Layout, shrunk};
use crate::command::blocking::{Nothing, parse_timeout, wait};
use crate::command::collection::find_mut;
use crate::command::ctx::Ctx;
use crate::command::error::{Done, ErrReply, NOT_POSITIVE, SYNTAX};
use crate::resp::{Args, Reply};
use crate::store::Key;
use crate::util::num::parse_i64;
use crate::value::{Elem, ZSet};

const BAD_NUMKEYS: ErrReply = ErrReply::new("ERR numkeys should be greater than 0");
const BAD_COUNT: ErrReply = ErrReply::new("ERR count should be greater than 0");

/// An end of a sorted set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    /// The event of a pop here.
    fn popped(self) -> &'static str {
        if self == End::Min { "zpopmin" } else { "zpopmax" }
    }

    /// The command that pops here.
    fn command(self) -> &'static [u8] {
        if self == End::Min { b"ZPOPMIN" } else { b"ZPOPMAX" }
    }
}

/// ZPOPMIN key [count]
pub fn zpopmin(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    pop(ctx, args, End::Min)
}

/// ZPOPMAX key [count]
pub fn zpopmax(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    pop(ctx, args, End::Max)
}

#[inline]
fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> Done {
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    // Without a count the one pair is flat, even in RESP3.
    let (count, layout) = match args.get(2) {
        None => (1, Layout::Flat),
        Some(text) => {
            let count = parse_i64(text).filter(|n| *n >= 0).ok_or(NOT_POSITIVE)?;
            (count as usize, Layout::new(&ctx.out, true))
        }
    };
    let key = ctx.key(args.at(1));
    let Some(zset) = find_mut::<ZSet>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.array(0);
        return Ok(());
    };
    let n = take(&mut ctx.out, zset, end, count, layout);
    let empty = zset.is_empty();
    shrunk(ctx, &key, end.popped(), n, empty);
    Ok(())
}

/// Removes up to `count` members, replies with them, and tells how many there were.
#[inline]
fn take(out: &mut Reply<'_>, zset: &mut ZSet, end: End, count: usize, layout: Layout) -> usize {
    let n = count.min(zset.len());
    layout.head(out, n);
    let ranks = match end {
        End::Min => 0..n,
        End::Max => zset.len() - n..zset.len(),
    };
    if end == End::Min || n == 1 {
        return zset.remove_ranks(ranks, |member, score| layout.item(out, Elem::Str(member), score));
    }
    for (member, score) in zset.range(ranks.clone()).rev() {
        layout.item(out, member, score);
    }
    zset.remove_ranks(ranks, |_, _| {})
}

/// ZMPOP numkeys key ... <MIN | MAX> [COUNT n]
pub fn zmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !zmpop_of(ctx, args, |_| Ok(()))? {
        ctx.out.null_array();
    }
    Ok(())
}

/// BZMPOP timeout numkeys key ... <MIN | MAX> [COUNT n]
pub fn bzmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let mut until = 0;
    let found = zmpop_of(ctx, args.from(1), |ctx| {
        until = parse_timeout(ctx, args.at(1))?;
        Ok(())
    })?;
    if !found {
        wait(ctx, until, Nothing::Array);
    }
    Ok(())
}

/// BZPOPMIN key ... timeout
pub fn bzpopmin(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    pop_or_wait(ctx, args, End::Min)
}

/// BZPOPMAX key ... timeout
pub fn bzpopmax(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    pop_or_wait(ctx, args, End::Max)
}

fn pop_or_wait(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> Done {
    let last = args.len() - 1;
    let until = parse_timeout(ctx, args.at(last))?;
    for word in args.slice(1, last).iter() {
        let key = ctx.key(word);
        let Some(zset) = find_mut::<ZSet>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else { continue };
        ctx.out.array(3);
        ctx.out.bulk(word);
        let n = take_flat(&mut ctx.out, zset, end);
        let empty = zset.is_empty();
        shrunk(ctx, &key, end.popped(), n, empty);
        if ctx.fx.propagating {
            ctx.fx.propagate([end.command(), word]);
        }
        return Ok(());
    }
    wait(ctx, until, Nothing::Array);
    Ok(())
}

/// ZMPOP's arguments, or BZMPOP's without its name; `check` comes when they are read. Whether something was
/// there.
fn zmpop_of(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    check: impl FnOnce(&mut Ctx<'_>) -> Done,
) -> Result<bool, ErrReply> {
    let numkeys = parse_i64(args.at(1)).filter(|n| *n > 0).ok_or(BAD_NUMKEYS)?;
    let at = usize::try_from(numkeys).ok().and_then(|n| n.checked_add(2)).ok_or(SYNTAX)?;
    let end = if args.is(at, "min") {
        End::Min
    } else if args.is(at, "max") {
        End::Max
    } else {
        return Err(SYNTAX);
    };
    let count = match args.len() - at {
        1 => 1,
        // Redis looks at the number before it finds more words than there may be.
        3.. if args.is(at + 1, "count") => {
            let count = parse_i64(args.at(at + 2)).filter(|n| *n > 0).ok_or(BAD_COUNT)?;
            if args.len() > at + 3 {
                return Err(SYNTAX);
            }
            count as usize
        }
        _ => return Err(SYNTAX),
    };
    check(ctx)?;
    for word in args.slice(2, at).iter() {
        let key = ctx.key(word);
        if let Some(zset) = find_mut::<ZSet>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? {
            ctx.out.array(2);
            ctx.out.bulk(key.bytes);
            let n = take(&mut ctx.out, zset, end, count, Layout::Pairs);
            let empty = zset.is_empty();
            popped_one_of(ctx, &key, end, n, empty);
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the first member and replies with it and its score, without an array around them.
fn take_flat(out: &mut Reply<'_>, zset: &mut ZSet, end: End) -> usize {
    let rank = if end == End::Min { 0 } else { zset.len() - 1 };
    zset.remove_ranks(rank..rank + 1, |member, score| {
        out.bulk(member);
        out.double(score);
    })
}

/// As [`shrunk`], for a pop that chose its key: the replicas are told which.
fn popped_one_of(ctx: &mut Ctx<'_>, key: &Key<'_>, end: End, n: usize, empty: bool) {
    shrunk(ctx, key, end.popped(), n, empty);
    if ctx.fx.propagating {
        ctx.fx.propagate([end.command(), key.bytes, itoa::Buffer::new().format(n).as_bytes()]);
    }
}
