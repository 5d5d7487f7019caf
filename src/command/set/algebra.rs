//! Intersections, unions and differences.

use smallvec::SmallVec;

use crate::command::collection::{find, missed, write_elem};
use crate::command::ctx::{Ctx, class};
use crate::command::error::{Done, ErrReply, SYNTAX};
use crate::resp::{Args, Reply};
use crate::store::{Clock, Db, Key, Look, Ttl, ValueRef};
use crate::util::num::parse_i64;
use crate::value::{Elem, Limits, Object, Set};

const BAD_NUMKEYS: ErrReply = ErrReply::new("ERR numkeys should be greater than 0");
const TOO_MANY_KEYS: ErrReply = ErrReply::new("ERR Number of keys can't be greater than number of args");
const NEGATIVE_LIMIT: ErrReply = ErrReply::new("ERR LIMIT can't be negative");

type Keys<'k> = SmallVec<[Key<'k>; 8]>;
/// A set for each key, in their order.
type Sets<'d> = SmallVec<[Option<&'d Set>; 8]>;

/// Hashes the keys and counts their accesses; an error when one of them holds no set.
fn look_up<'k>(ctx: &mut Ctx<'_>, words: Args<'k>) -> Result<Keys<'k>, ErrReply> {
    let mut keys = Keys::new();
    for word in words.iter() {
        let key = ctx.key(word);
        if find::<Set>(ctx.ks.db_mut(ctx.db), &key, Look::Read, &ctx.clock)?.is_none() {
            missed(ctx, &key);
        }
        keys.push(key);
    }
    Ok(keys)
}

/// The sets that [`look_up`] found, all at once.
fn gather<'d>(db: &'d Db, keys: &[Key<'_>], clock: &Clock) -> Sets<'d> {
    let set = |key| match db.peek(key, clock)?.value() {
        ValueRef::Obj(Object::Set(set)) => Some(set),
        _ => None,
    };
    keys.iter().map(set).collect()
}

/// Calls `f` with what all the sets have in common, until it answers false. A missing set is an
/// empty one.
fn intersect<'d>(sets: &Sets<'d>, mut f: impl FnMut(Elem<'d>) -> bool) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<SmallVec<[&Set; 8]>>>() else { return };
    sets.sort_by_key(|set| set.len());
    let Some((least, others)) = sets.split_first() else { return };
    for member in least.iter() {
        let everywhere = others.iter().all(|set| std::ptr::eq(*set, *least) || set.contains_elem(member));
        if everywhere && !f(member) {
            return;
        }
    }
}

fn unite(sets: &Sets<'_>, limits: &Limits) -> Set {
    let mut out = Set::new();
    for set in sets.iter().flatten() {
        set.iter().for_each(|member| {
            out.add_elem(member, limits);
        });
    }
    out
}

/// The first set without the members of the others.
///
/// There are two ways, and clients can tell them apart: starting from all of the first set leaves
/// a hash table where only integers remain. So the choice is Redis's.
fn subtract(sets: &Sets<'_>, limits: &Limits) -> Set {
    let mut out = Set::new();
    let Some((Some(first), others)) = sets.split_first() else { return out };
    let others: SmallVec<[&Set; 8]> = others.iter().copied().flatten().collect();
    if others.iter().any(|set| std::ptr::eq(*set, *first)) {
        return out;
    }
    let looking_up = first.len() * (others.len() + 1) / 2;
    let removing = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    if looking_up <= removing {
        for member in first.iter() {
            if !others.iter().any(|set| set.contains_elem(member)) {
                out.add_elem(member, limits);
            }
        }
        return out;
    }
    first.iter().for_each(|member| {
        out.add_elem(member, limits);
    });
    for set in others {
        if out.is_empty() {
            break;
        }
        set.iter().for_each(|member| {
            member.with_text(|text| out.remove(text));
        });
    }
    out
}

fn write_members(out: &mut Reply<'_>, set: &Set) {
    out.set(set.len());
    set.iter().for_each(|member| write_elem(out, member));
}

// ---- replying

/// SMEMBERS key
pub fn smembers(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    match find::<Set>(ctx.ks.db_mut(ctx.db), &key, Look::Read, &ctx.clock)? {
        Some(set) => write_members(&mut ctx.out, set),
        None => {
            missed(ctx, &key);
            ctx.out.set(0);
        }
    }
    Ok(())
}

/// SINTER key ...
pub fn sinter(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let keys = look_up(ctx, args.from(1))?;
    let sets = gather(ctx.ks.db(ctx.db), &keys, &ctx.clock);
    let open = ctx.out.begin_array();
    let mut n = 0;
    intersect(&sets, |member| {
        write_elem(&mut ctx.out, member);
        n += 1;
        true
    });
    ctx.out.end_set(open, n);
    Ok(())
}

/// SINTERCARD numkeys key ... [LIMIT limit]
pub fn sintercard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let numkeys = parse_i64(args.at(1)).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let numkeys = numkeys.ok_or(BAD_NUMKEYS)?;
    if numkeys > args.len() - 2 {
        return Err(TOO_MANY_KEYS);
    }
    let mut limit = 0;
    for i in (2 + numkeys..args.len()).step_by(2) {
        if !args.is(i, "limit") || i + 1 == args.len() {
            return Err(SYNTAX);
        }
        let n = parse_i64(args.at(i + 1)).and_then(|n| usize::try_from(n).ok());
        limit = n.ok_or(NEGATIVE_LIMIT)?;
    }
    let keys = look_up(ctx, args.slice(2, 2 + numkeys))?;
    let sets = gather(ctx.ks.db(ctx.db), &keys, &ctx.clock);
    let mut n = 0;
    intersect(&sets, |_| {
        n += 1;
        n != limit
    });
    ctx.out.int(n as i64);
    Ok(())
}

/// SUNION key ...
pub fn sunion(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    combine(ctx, args, unite)
}

/// SDIFF key ...
pub fn sdiff(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    combine(ctx, args, subtract)
}

fn combine(ctx: &mut Ctx<'_>, args: Args<'_>, f: fn(&Sets<'_>, &Limits) -> Set) -> Done {
    let keys = look_up(ctx, args.from(1))?;
    let result = f(&gather(ctx.ks.db(ctx.db), &keys, &ctx.clock), &ctx.limits());
    write_members(&mut ctx.out, &result);
    Ok(())
}

// ---- storing

/// SINTERSTORE destination key ...
pub fn sinterstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    store(ctx, args, "sinterstore", |sets, limits| {
        let mut out = Set::new();
        intersect(sets, |member| {
            out.add_elem(member, limits);
            true
        });
        out
    })
}

/// SUNIONSTORE destination key ...
pub fn sunionstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    store(ctx, args, "sunionstore", unite)
}

/// SDIFFSTORE destination key ...
pub fn sdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    store(ctx, args, "sdiffstore", subtract)
}

/// Stores a set over whatever is at the destination; an empty one removes it.
fn store(ctx: &mut Ctx<'_>, args: Args<'_>, event: &'static str, f: fn(&Sets<'_>, &Limits) -> Set) -> Done {
    let keys = look_up(ctx, args.from(2))?;
    let result = f(&gather(ctx.ks.db(ctx.db), &keys, &ctx.clock), &ctx.limits());
    let target = ctx.key(args.at(1));
    let len = result.len();
    let db = ctx.ks.db_mut(ctx.db);
    if len > 0 {
        let there = db.set_object(&target, Object::Set(result), Ttl::Clear, &ctx.clock);
        if !there {
            ctx.fx.event(ctx.db, target.bytes, class::NEW, "new");
        }
        ctx.fx.changed(ctx.db, target.bytes, class::SET, event);
    } else if db.exists(&target, Look::Peek, &ctx.clock) {
        let lazy = ctx.conf.lazyfree_lazy_server_del;
        db.delete(&target, lazy, &ctx.clock);
        ctx.fx.changed(ctx.db, target.bytes, class::GENERIC, "del");
    }
    ctx.out.int(len as i64);
    Ok(())
}
