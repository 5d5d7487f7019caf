//! BLPOP, BRPOP, BLMPOP, BLMOVE and BRPOPLPUSH: as their namesakes, and where those find nothing, the client
//! waits.

use super::{End, find, pop_one_of, transfer};
use crate::command::blocking::{Nothing, Side, bmpop, parse_timeout, wait};
use crate::command::ctx::Ctx;
use crate::command::error::Done;
use crate::resp::Args;
use crate::store::Look;
use crate::value::List;

/// BLPOP key ... timeout
pub fn blpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    pop(ctx, args, End::Left)
}

/// BRPOP key ... timeout
pub fn brpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    pop(ctx, args, End::Right)
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> Done {
    let last = args.len() - 1;
    let until = parse_timeout(ctx, args.at(last))?;
    if !pop_one_of(ctx, args.slice(1, last), end)? {
        wait(ctx, until, Nothing::Array);
    }
    Ok(())
}

/// BLMPOP timeout numkeys key ... LEFT | RIGHT [COUNT n]
pub fn blmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    bmpop::<End>(ctx, args)
}

/// BLMOVE source destination LEFT | RIGHT LEFT | RIGHT timeout
pub fn blmove(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let from = End::parse(args.at(3))?;
    let to = End::parse(args.at(4))?;
    move_or_wait(ctx, args, from, to, args.at(5))?;
    if ctx.fx.propagating && ctx.fx.dirty > 0 && !ctx.fx.apart {
        ctx.fx.propagate([&b"LMOVE"[..], args.at(1), args.at(2), args.at(3), args.at(4)]);
    }
    Ok(())
}

/// BRPOPLPUSH source destination timeout
pub fn brpoplpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    move_or_wait(ctx, args, End::Right, End::Left, args.at(3))?;
    if ctx.fx.propagating && ctx.fx.dirty > 0 && !ctx.fx.apart {
        ctx.fx.propagate([&b"RPOPLPUSH"[..], args.at(1), args.at(2)]);
    }
    Ok(())
}

fn move_or_wait(ctx: &mut Ctx<'_>, args: Args<'_>, from: End, to: End, timeout: &[u8]) -> Done {
    let until = parse_timeout(ctx, timeout)?;
    let source = ctx.key(args.at(1));
    if find::<List>(ctx.ks.db_mut(ctx.db), &source, Look::Write, &ctx.clock)?.is_none() {
        wait(ctx, until, Nothing::Null);
        return Ok(());
    }
    transfer(ctx, args, from, to)
}
