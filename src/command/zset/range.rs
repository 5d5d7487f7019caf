//! Ranges by rank, by score and by member: read, counted, stored, removed.

use std::ops::Range;

use super::{Layout, shrunk, store};
use crate::command::collection::{find, find_mut, missed, read};
use crate::command::ctx::Ctx;
use crate::command::error::{Done, ErrReply, MIN_MAX_FLOAT, MIN_MAX_STRING, NOT_INT, SYNTAX};
use crate::resp::Args;
use crate::store::Look;
use crate::util::num::parse_i64;
use crate::value::zset::{LexBound, LexRange, ScoreBound, ScoreRange};
use crate::value::{Elem, ZSet};

const NO_LIMIT_BY_RANK: ErrReply =
    ErrReply::new("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
const NO_SCORES_BY_LEX: ErrReply =
    ErrReply::new("ERR syntax error, WITHSCORES not supported in combination with BYLEX");

/// What a range's ends are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// The ends of a range, both included unless they say otherwise.
enum Bounds<'a> {
    /// Negative ones count from the end.
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

impl<'a> Bounds<'a> {
    #[inline]
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Bounds<'a>, ErrReply> {
        Ok(match by {
            By::Rank => Bounds::Ranks(parse_i64(min).ok_or(NOT_INT)?, parse_i64(max).ok_or(NOT_INT)?),
            By::Score => {
                let (min, max) = ScoreBound::parse(min).zip(ScoreBound::parse(max)).ok_or(MIN_MAX_FLOAT)?;
                Bounds::Scores(ScoreRange { min, max })
            }
            By::Lex => {
                let (min, max) = LexBound::parse(min).zip(LexBound::parse(max)).ok_or(MIN_MAX_STRING)?;
                Bounds::Members(LexRange { min, max })
            }
        })
    }

    /// The ranks in the range. With `reverse` ranks are counted from the highest score.
    #[inline]
    fn ranks(&self, zset: &ZSet, reverse: bool) -> Range<usize> {
        match self {
            Bounds::Ranks(start, stop) => {
                let len = zset.len();
                let from_start = |n: i64| if n < 0 { n + len as i64 } else { n };
                // One behind the last, and nothing when that lies before the first.
                let stop = (from_start(*stop) as i128 + 1).clamp(0, len as i128) as usize;
                let start = (from_start(*start).max(0) as usize).min(stop);
                if reverse { len - stop..len - start } else { start..stop }
            }
            Bounds::Scores(range) => zset.score_ranks(range),
            Bounds::Members(range) => zset.lex_ranks(range),
        }
    }
}

/// A range to be read: everything that follows the key.
struct Query<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    with_scores: bool,
    /// Members to leave out; a negative number leaves out all.
    offset: i64,
    /// Members to show then; a negative number is no limit.
    limit: i64,
}

impl<'a> Query<'a> {
    /// Reads `min max [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]` from argument
    /// `from` on. What `by` and `reverse` fix can't be an option; scores can't be when `storing`.
    fn parse(
        args: Args<'a>,
        from: usize,
        by: Option<By>,
        reverse: Option<bool>,
        storing: bool,
    ) -> Result<Query<'a>, ErrReply> {
        let (mut asked_by, mut asked_reverse) = (by, reverse);
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut i = from + 2;
        while i < args.len() {
            if !storing && args.is(i, "withscores") {
                with_scores = true;
            } else if args.is(i, "limit") && i + 2 < args.len() {
                offset = parse_i64(args.at(i + 1)).ok_or(NOT_INT)?;
                limit = parse_i64(args.at(i + 2)).ok_or(NOT_INT)?;
                i += 2;
            } else if asked_reverse.is_none() && args.is(i, "rev") {
                asked_reverse = Some(true);
            } else if asked_by.is_none() && args.is(i, "bylex") {
                asked_by = Some(By::Lex);
            } else if asked_by.is_none() && args.is(i, "byscore") {
                asked_by = Some(By::Score);
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        }
        let (by, reverse) = (asked_by.unwrap_or(By::Rank), asked_reverse.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(NO_LIMIT_BY_RANK);
        }
        if with_scores && by == By::Lex {
            return Err(NO_SCORES_BY_LEX);
        }
        // Backwards, the higher end comes first.
        let swapped = reverse && by != By::Rank;
        let (min, max) = if swapped { (from + 1, from) } else { (from, from + 1) };
        let bounds = Bounds::parse(by, args.at(min), args.at(max))?;
        Ok(Query { bounds, reverse, with_scores, offset, limit })
    }

    /// The ranks to show.
    #[inline]
    fn ranks(&self, zset: &ZSet) -> Range<usize> {
        let all = self.bounds.ranks(zset, self.reverse);
        if matches!(self.bounds, Bounds::Ranks(..)) {
            return all;
        }
        let skipped = usize::try_from(self.offset).unwrap_or(usize::MAX).min(all.len());
        let shown = usize::try_from(self.limit).unwrap_or(usize::MAX).min(all.len() - skipped);
        match self.reverse {
            true => all.end - skipped - shown..all.end - skipped,
            false => all.start + skipped..all.start + skipped + shown,
        }
    }
}

/// The members at `ranks`, in their order or against it.
#[inline]
fn each<'z>(zset: &'z ZSet, ranks: Range<usize>, reverse: bool, f: impl FnMut((Elem<'z>, f64))) {
    let members = zset.range(ranks);
    if reverse { members.rev().for_each(f) } else { members.for_each(f) }
}

// ---- reading

/// ZRANGE key min max [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]
pub fn zrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, None, None)
}

/// ZREVRANGE key start stop [WITHSCORES]
pub fn zrevrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, Some(By::Rank), Some(true))
}

/// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]
pub fn zrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, Some(By::Score), Some(false))
}

/// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]
pub fn zrevrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, Some(By::Score), Some(true))
}

/// ZRANGEBYLEX key min max [LIMIT offset count]
pub fn zrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, Some(By::Lex), Some(false))
}

/// ZREVRANGEBYLEX key max min [LIMIT offset count]
pub fn zrevrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, Some(By::Lex), Some(true))
}

#[inline]
fn show(ctx: &mut Ctx<'_>, args: Args<'_>, by: Option<By>, reverse: Option<bool>) -> Done {
    let query = Query::parse(args, 2, by, reverse, false)?;
    let key = ctx.key(args.at(1));
    let found = read(ctx, &key, |out, zset: &ZSet| {
        let layout = Layout::new(out, query.with_scores);
        let ranks = query.ranks(zset);
        layout.head(out, ranks.len());
        each(zset, ranks, query.reverse, |(member, score)| layout.item(out, member, score));
    })?;
    if found.is_none() {
        ctx.out.array(0);
    }
    Ok(())
}

/// ZRANGESTORE destination source min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]
pub fn zrangestore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let query = Query::parse(args, 3, None, None, true)?;
    let mut limits = ctx.limits();
    let (target, source) = (ctx.key(args.at(1)), ctx.key(args.at(2)));
    let mut result = ZSet::new();
    match find::<ZSet>(ctx.ks.db_mut(ctx.db), &source, Look::Read, &ctx.clock)? {
        Some(zset) => {
            let ranks = query.ranks(zset);
            // Redis knows the length of a range of ranks beforehand, and starts with the big form
            // then. Only there a -0 stays what it is.
            let by_rank = matches!(query.bounds, Bounds::Ranks(..));
            if by_rank && ranks.len() > limits.zset_max_listpack_entries {
                limits.zset_max_listpack_entries = 0;
            }
            each(zset, ranks, query.reverse, |(member, score)| {
                member.with_text(|text| result.insert(text, score, &limits));
            });
        }
        None => missed(ctx, &source),
    }
    store(ctx, &target, result, "zrangestore");
    Ok(())
}

// ---- counting

/// ZCOUNT key min max
pub fn zcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    count(ctx, args, By::Score)
}

/// ZLEXCOUNT key min max
pub fn zlexcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    count(ctx, args, By::Lex)
}

fn count(ctx: &mut Ctx<'_>, args: Args<'_>, by: By) -> Done {
    let bounds = Bounds::parse(by, args.at(2), args.at(3))?;
    let key = ctx.key(args.at(1));
    let n = read(ctx, &key, |_, zset: &ZSet| bounds.ranks(zset, false).len())?;
    ctx.out.int(n.unwrap_or(0) as i64);
    Ok(())
}

// ---- removing

/// ZREMRANGEBYRANK key start stop
pub fn zremrangebyrank(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remove(ctx, args, By::Rank, "zremrangebyrank")
}

/// ZREMRANGEBYSCORE key min max
pub fn zremrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remove(ctx, args, By::Score, "zremrangebyscore")
}

/// ZREMRANGEBYLEX key min max
pub fn zremrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    remove(ctx, args, By::Lex, "zremrangebylex")
}

fn remove(ctx: &mut Ctx<'_>, args: Args<'_>, by: By, event: &'static str) -> Done {
    let bounds = Bounds::parse(by, args.at(2), args.at(3))?;
    let key = ctx.key(args.at(1));
    let Some(zset) = find_mut::<ZSet>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.int(0);
        return Ok(());
    };
    let n = zset.remove_ranks(bounds.ranks(zset, false), |_, _| {});
    let empty = zset.is_empty();
    shrunk(ctx, &key, event, n, empty);
    ctx.out.int(n as i64);
    Ok(())
}
