//! Sorted sets.

mod add;
mod algebra;
mod pick;
mod pop;
mod range;
#[cfg(test)]
mod tests;

pub use add::{zadd, zincrby};
pub use algebra::{zdiff, zdiffstore, zinter, zintercard, zinterstore, zunion, zunionstore};
pub use pick::{zrandmember, zscan};
pub use pop::{bzmpop, bzpopmax, bzpopmin, zmpop, zpopmax, zpopmin};
pub use range::{
    zcount, zlexcount, zrange, zrangebylex, zrangebyscore, zrangestore, zremrangebylex, zremrangebyrank,
    zremrangebyscore, zrevrange, zrevrangebylex, zrevrangebyscore,
};

use super::collection::{drop_empty, read, remove, replace, write_elem};
use super::ctx::{Ctx, class};
use super::error::{Done, SYNTAX, arity};
use crate::resp::{Args, Reply};
use crate::store::Key;
use crate::value::{Elem, ZSet};

/// How members and their scores stand in a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Members,
    /// Member, score, member, score.
    Flat,
    /// Arrays of member and score.
    Pairs,
}

impl Layout {
    /// With scores RESP3 has pairs, RESP2 a flat array.
    fn new(out: &Reply<'_>, with_scores: bool) -> Layout {
        match (with_scores, out.resp3()) {
            (false, _) => Layout::Members,
            (true, false) => Layout::Flat,
            (true, true) => Layout::Pairs,
        }
    }

    /// Announces `n` members.
    #[inline]
    fn head(self, out: &mut Reply<'_>, n: usize) {
        out.array(if self == Layout::Flat { 2 * n } else { n });
    }

    #[inline]
    fn item(self, out: &mut Reply<'_>, member: Elem<'_>, score: f64) {
        if self == Layout::Pairs {
            out.array(2);
        }
        write_elem(out, member);
        if self != Layout::Members {
            out.double(score);
        }
    }
}

// ---- single members

/// ZCARD key
pub fn zcard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let len = read(ctx, &key, |_, zset: &ZSet| zset.len())?;
    ctx.out.int(len.unwrap_or(0) as i64);
    Ok(())
}

/// ZSCORE key member
pub fn zscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    match read(ctx, &key, |_, zset: &ZSet| zset.score(args.at(2)))?.flatten() {
        Some(score) => ctx.out.double(score),
        None => ctx.out.null(),
    }
    Ok(())
}

/// ZMSCORE key member ...
pub fn zmscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let members = args.from(2);
    ctx.out.array(members.len());
    let found = read(ctx, &key, |out, zset: &ZSet| {
        members.iter().for_each(|member| match zset.score(member) {
            Some(score) => out.double(score),
            None => out.null(),
        })
    })?;
    if found.is_none() {
        members.iter().for_each(|_| ctx.out.null());
    }
    Ok(())
}

/// ZRANK key member [WITHSCORE]
pub fn zrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    rank(ctx, args, false)
}

/// ZREVRANK key member [WITHSCORE]
pub fn zrevrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    rank(ctx, args, true)
}

fn rank(ctx: &mut Ctx<'_>, args: Args<'_>, reverse: bool) -> Done {
    let with_score = args.len() > 3;
    if args.len() > 4 {
        return Err(arity(if reverse { "zrevrank" } else { "zrank" }));
    }
    if with_score && !args.is(3, "withscore") {
        return Err(SYNTAX);
    }
    let key = ctx.key(args.at(1));
    let found = read(ctx, &key, |_, zset: &ZSet| {
        let (rank, score) = zset.rank(args.at(2))?;
        Some((if reverse { zset.len() - 1 - rank } else { rank }, score))
    })?;
    match (found.flatten(), with_score) {
        (Some((rank, _)), false) => ctx.out.int(rank as i64),
        (Some((rank, score)), true) => {
            ctx.out.array(2);
            ctx.out.int(rank as i64);
            ctx.out.double(score);
        }
        (None, false) => ctx.out.null(),
        (None, true) => ctx.out.null_array(),
    }
    Ok(())
}

/// ZREM key member ...
pub fn zrem(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remove(ctx, args, class::ZSET, "zrem", |zset: &mut ZSet, member| zset.remove(member).is_some())
}

/// Says that `n` members went, and removes the key when they were the last ones.
#[inline]
fn shrunk(ctx: &mut Ctx<'_>, key: &Key<'_>, event: &'static str, n: usize, empty: bool) {
    if n == 0 {
        return;
    }
    ctx.fx.changed_by(n as u64, ctx.db, key.bytes, class::ZSET, event);
    if empty {
        drop_empty(ctx, key);
    }
}

/// Stores a result over whatever `key` held, or removes the key when the result is empty, and
/// replies with its length.
fn store(ctx: &mut Ctx<'_>, key: &Key<'_>, result: ZSet, event: &'static str) {
    let len = result.len();
    replace(ctx, key, result, class::ZSET, event, 1);
    ctx.out.int(len as i64);
}
