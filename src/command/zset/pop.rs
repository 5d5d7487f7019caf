//! ZPOPMIN, ZPOPMAX and ZMPOP, and those that wait where these find nothing: BZPOPMIN, BZPOPMAX and BZMPOP.

use super::{Layout, shrunk};
use crate::command::blocking::{Nothing, Side, bmpop, mpop, parse_timeout, wait};
use crate::command::collection::find_mut;
use crate::command::ctx::Ctx;
use crate::command::error::{Done, ErrReply, NOT_POSITIVE, SYNTAX};
use crate::resp::{Args, Reply};
use crate::util::num::parse_i64;
use crate::value::{Elem, ZSet};

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

impl Side for End {
    fn parse(word: &[u8]) -> Result<End, ErrReply> {
        if word.eq_ignore_ascii_case(b"min") {
            Ok(End::Min)
        } else if word.eq_ignore_ascii_case(b"max") {
            Ok(End::Max)
        } else {
            Err(SYNTAX)
        }
    }

    fn pop_many(self, ctx: &mut Ctx<'_>, word: &[u8], count: usize) -> Result<bool, ErrReply> {
        let key = ctx.key(word);
        let Some(zset) = find_mut::<ZSet>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
            return Ok(false);
        };
        ctx.out.array(2);
        ctx.out.bulk(word);
        let n = take(&mut ctx.out, zset, self, count, Layout::Pairs);
        let empty = zset.is_empty();
        shrunk(ctx, &key, self.popped(), n, empty);
        if ctx.fx.propagating {
            ctx.fx.propagate([self.command(), word, itoa::Buffer::new().format(n).as_bytes()]);
        }
        Ok(true)
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
    mpop::<End>(ctx, args)
}

/// BZMPOP timeout numkeys key ... <MIN | MAX> [COUNT n]
pub fn bzmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    bmpop::<End>(ctx, args)
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

/// Removes the first member and replies with it and its score, without an array around them.
fn take_flat(out: &mut Reply<'_>, zset: &mut ZSet, end: End) -> usize {
    let rank = if end == End::Min { 0 } else { zset.len() - 1 };
    zset.remove_ranks(rank..rank + 1, |member, score| {
        out.bulk(member);
        out.double(score);
    })
}
