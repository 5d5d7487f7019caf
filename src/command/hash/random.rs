//! HRANDFIELD.

use super::Pair;
use crate::command::collection::{find, write_elem};
use crate::command::ctx::Ctx;
use crate::command::error::{Done, SYNTAX};
use crate::command::sampling::{Count, choose, draw_few, is_few, pick_nothing, repeat};
use crate::resp::{Args, Reply};
use crate::store::Look;
use crate::util::rng::Rng;
use crate::value::Hash;

/// HRANDFIELD key [count [WITHVALUES]]
pub fn hrandfield(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (count, with_values) = match args.len() {
        2 => (None, false),
        3 => (Some(Count::parse(args.at(2))?), false),
        n => {
            Count::parse(args.at(2))?;
            if n > 4 || !args.is(3, "withvalues") {
                return Err(SYNTAX);
            }
            (Some(Count::parse_pairs(args.at(2))?), true)
        }
    };
    let key = ctx.key(args.at(1));
    let Some(hash) = find::<Hash>(ctx.ks.db_mut(ctx.db), &key, Look::Read, &ctx.clock)? else {
        pick_nothing(ctx, &key, count);
        return Ok(());
    };
    match count {
        None => {
            if let Some((field, _)) = hash.random(ctx.rng) {
                write_elem(&mut ctx.out, field);
            }
            Ok(())
        }
        Some(Count::Repeating(n)) => repeating(&mut ctx.out, hash, n, with_values, ctx.rng),
        Some(Count::Distinct(n)) => {
            let n = hash.len().min(usize::try_from(n).unwrap_or(usize::MAX));
            distinct(&mut ctx.out, hash, n, with_values, ctx.rng);
            Ok(())
        }
    }
}

/// Announces `n` fields or pairs. RESP2 has pairs flat, RESP3 each in an array of its own.
fn announce(out: &mut Reply<'_>, n: usize, with_values: bool) {
    out.array(if with_values && !out.resp3() { 2 * n } else { n });
}

fn write(out: &mut Reply<'_>, (field, value): Pair<'_>, with_values: bool) {
    if with_values && out.resp3() {
        out.array(2);
    }
    write_elem(out, field);
    if with_values {
        write_elem(out, value);
    }
}

fn repeating(out: &mut Reply<'_>, hash: &Hash, n: u64, with_values: bool, rng: &mut Rng) -> Done {
    announce(out, n as usize, with_values);
    repeat(out, n, |out| {
        if let Some(pair) = hash.random(rng) {
            write(out, pair, with_values);
        }
    })
}

fn distinct(out: &mut Reply<'_>, hash: &Hash, n: usize, with_values: bool, rng: &mut Rng) {
    announce(out, n, with_values);
    if n == hash.len() {
        return hash.iter().for_each(|pair| write(out, pair, with_values));
    }
    if n > 1 && (hash.listpack().is_some() || !is_few(n, hash.len())) {
        return choose(hash.iter(), hash.len(), n, rng, |pair| write(out, pair, with_values));
    }
    draw_few(n, || hash.random(rng), |field, value| write(out, (field, value), with_values));
}
