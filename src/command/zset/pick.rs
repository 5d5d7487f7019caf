//! ZRANDMEMBER and ZSCAN.

use super::Layout;
use crate::command::collection::{find, missed, scan, write_elem};
use crate::command::ctx::Ctx;
use crate::command::error::{Done, SYNTAX};
use crate::command::sampling::{Count, pick_nothing, repeat};
use crate::resp::{Args, Reply};
use crate::store::Look;
use crate::util::num::{Buf, exact_i64, write_double, write_i64};
use crate::util::rng::Rng;
use crate::value::ZSet;

/// ZRANDMEMBER key [count [WITHSCORES]]
pub fn zrandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let Some(text) = args.get(2) else { return any(ctx, args) };
    let mut count = Count::parse(text)?;
    let with_scores = args.len() > 3;
    if with_scores {
        if args.len() > 4 || !args.is(3, "withscores") {
            return Err(SYNTAX);
        }
        count = Count::parse_pairs(text)?;
    }
    let key = ctx.key(args.at(1));
    let Some(zset) = find::<ZSet>(ctx.ks.db_mut(ctx.db), &key, Look::Read, &ctx.clock)? else {
        pick_nothing(ctx, &key, Some(count));
        return Ok(());
    };
    let layout = Layout::new(&ctx.out, with_scores);
    match count {
        Count::Distinct(n) => {
            show_distinct(&mut ctx.out, zset, usize::try_from(n).unwrap_or(usize::MAX), layout, ctx.rng);
            Ok(())
        }
        Count::Repeating(n) => show_repeating(&mut ctx.out, zset, n, layout, ctx.rng),
    }
}

fn any(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    match find::<ZSet>(ctx.ks.db_mut(ctx.db), &key, Look::Read, &ctx.clock)? {
        Some(zset) => match zset.random(ctx.rng) {
            Some((member, _)) => write_elem(&mut ctx.out, member),
            None => ctx.out.null(),
        },
        None => {
            missed(ctx, &key);
            ctx.out.null();
        }
    }
    Ok(())
}

fn show_distinct(out: &mut Reply<'_>, zset: &ZSet, count: usize, layout: Layout, rng: &mut Rng) {
    if count >= zset.len() {
        layout.head(out, zset.len());
        // Redis happens to walk back when it shows all.
        zset.iter().rev().for_each(|(member, score)| layout.item(out, member, score));
        return;
    }
    layout.head(out, count);
    for (member, score) in zset.random_distinct(rng, count) {
        layout.item(out, member, score);
    }
}

fn show_repeating(out: &mut Reply<'_>, zset: &ZSet, count: u64, layout: Layout, rng: &mut Rng) -> Done {
    layout.head(out, count as usize);
    repeat(out, count, |out| {
        if let Some((member, score)) = zset.random(rng) {
            layout.item(out, member, score);
        }
    })
}

/// ZSCAN key cursor [MATCH pattern] [COUNT n]
pub fn zscan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    scan(ctx, args, |zset: &ZSet, cursor, options, shown| {
        let flat = zset.listpack().is_some();
        zset.scan(cursor, options.count, |member, score| {
            if options.shows(member) {
                shown.elem(member);
                shown.text(&score_text(score, flat));
            }
        })
    })
}

/// A score is text in a scan, even in RESP3. A listpack has all integers in full.
fn score_text(score: f64, flat: bool) -> Buf {
    let mut text = Buf::new();
    match exact_i64(score).filter(|_| flat) {
        Some(n) => write_i64(&mut text, n),
        None => write_double(&mut text, score),
    }
    text
}
