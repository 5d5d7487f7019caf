//! SPOP, SRANDMEMBER.

use smallvec::SmallVec;

use crate::command::collection::{drop_empty, find, find_mut, write_elem};
use crate::command::ctx::{Ctx, class};
use crate::command::error::{Done, NOT_POSITIVE, SYNTAX};
use crate::command::sampling::{Count, choose, draw_few, is_few, pick_nothing, repeat};
use crate::resp::{Args, Reply};
use crate::store::{Key, Look};
use crate::util::num::parse_i64;
use crate::util::rng::Rng;
use crate::value::{Elem, Object, Set};

/// A member on its way out of its set.
type Member = SmallVec<[u8; 64]>;

/// Removes a member by chance.
#[inline]
fn pop_one(set: &mut Set, rng: &mut Rng) -> Option<Member> {
    let member = set.random(rng)?.with_text(Member::from_slice);
    set.remove(&member);
    Some(member)
}

/// SPOP key [count]
pub fn spop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len() > 2 {
        return spop_count(ctx, args);
    }
    let key = ctx.key(args.at(1));
    let Some(set) = find_mut::<Set>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.null();
        return Ok(());
    };
    let Some(member) = pop_one(set, ctx.rng) else { return Ok(()) };
    let empty = set.is_empty();
    ctx.out.bulk(&member);
    if ctx.fx.propagating {
        ctx.fx.propagate([&b"SREM"[..], key.bytes, &member]);
    }
    ctx.fx.changed(ctx.db, key.bytes, class::SET, "spop");
    if empty {
        drop_empty(ctx, &key);
    }
    Ok(())
}

fn spop_count(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    let count = parse_i64(args.at(2)).and_then(|n| u64::try_from(n).ok()).ok_or(NOT_POSITIVE)?;
    let key = ctx.key(args.at(1));
    let Some(set) = find_mut::<Set>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.set(0);
        return Ok(());
    };
    let n = set.len().min(usize::try_from(count).unwrap_or(usize::MAX));
    ctx.out.set(n);
    if n == 0 {
        return Ok(());
    }
    if n == set.len() {
        set.iter().for_each(|member| write_elem(&mut ctx.out, member));
        return pop_all(ctx, &key, n);
    }
    let left = set.len() - n;
    ctx.fx.changed_by(n as u64, ctx.db, key.bytes, class::SET, "spop");
    if left * 5 > n {
        for _ in 0..n {
            let Some(member) = pop_one(set, ctx.rng) else { break };
            ctx.out.bulk(&member);
            if ctx.fx.propagating {
                ctx.fx.propagate([&b"SREM"[..], key.bytes, &member]);
            }
        }
        return Ok(());
    }
    pop_most(ctx, &key, left)
}

/// The whole set was popped: `n` members.
fn pop_all(ctx: &mut Ctx<'_>, key: &Key<'_>, n: usize) -> Done {
    ctx.fx.changed_by(n as u64, ctx.db, key.bytes, class::SET, "spop");
    drop_empty(ctx, key);
    if ctx.fx.propagating {
        ctx.fx.propagate([&b"DEL"[..], key.bytes]);
    }
    Ok(())
}

/// Pops all but `left` members: those that stay are picked, and make a set of their own.
fn pop_most(ctx: &mut Ctx<'_>, key: &Key<'_>, left: usize) -> Done {
    let limits = ctx.limits();
    let db = ctx.ks.db_mut(ctx.db);
    let Some(set) = find_mut::<Set>(db, key, &ctx.clock)? else { return Ok(()) };
    let mut keep = Set::new();
    for _ in 0..left {
        let Some(member) = pop_one(set, ctx.rng) else { break };
        keep.add(&member, &limits);
    }
    let gone = std::mem::replace(set, keep);
    for member in gone.iter() {
        write_elem(&mut ctx.out, member);
        if ctx.fx.propagating {
            member.with_text(|text| ctx.fx.propagate([&b"SREM"[..], key.bytes, text]));
        }
    }
    db.discard(Box::new(Object::Set(gone)), ctx.conf.lazyfree_lazy_server_del);
    Ok(())
}

/// SRANDMEMBER key [count]
pub fn srandmember(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let count = match args.len() {
        2 => None,
        3 => Some(Count::parse(args.at(2))?),
        _ => return Err(SYNTAX),
    };
    let key = ctx.key(args.at(1));
    let Some(set) = find::<Set>(ctx.ks.db_mut(ctx.db), &key, Look::Read, &ctx.clock)? else {
        pick_nothing(ctx, &key, count);
        return Ok(());
    };
    match count {
        None => {
            if let Some(member) = set.random(ctx.rng) {
                write_elem(&mut ctx.out, member);
            }
            Ok(())
        }
        Some(Count::Repeating(n)) => repeating(&mut ctx.out, set, n, ctx.rng),
        Some(Count::Distinct(n)) => {
            let n = set.len().min(usize::try_from(n).unwrap_or(usize::MAX));
            distinct(&mut ctx.out, set, n, ctx.rng);
            Ok(())
        }
    }
}

fn repeating(out: &mut Reply<'_>, set: &Set, n: u64, rng: &mut Rng) -> Done {
    out.array(n as usize);
    repeat(out, n, |out| {
        if let Some(member) = set.random(rng) {
            write_elem(out, member);
        }
    })
}

fn distinct(out: &mut Reply<'_>, set: &Set, n: usize, rng: &mut Rng) {
    out.array(n);
    if n == set.len() {
        return set.iter().for_each(|member| write_elem(out, member));
    }
    if n > 1 && !is_few(n, set.len()) {
        return choose(set.iter(), set.len(), n, rng, |member: Elem<'_>| write_elem(out, member));
    }
    draw_few(n, || set.random(rng).map(|member| (member, ())), |member, ()| write_elem(out, member));
}
