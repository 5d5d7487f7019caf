//! Unions, intersections and differences of sorted sets; plain sets take part with scores of 1.

use std::ops::ControlFlow;

use smallvec::SmallVec;

use super::{Layout, store};
use crate::command::collection::missed;
use crate::command::ctx::Ctx;
use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX, WRONG_TYPE};
use crate::resp::Args;
use crate::store::{Clock, Db, Key, Look, ValueRef};
use crate::util::num::{parse_f64, parse_i64};
use crate::value::{Elem, Limits, Object, Set, ZSet};

const BAD_WEIGHT: ErrReply = ErrReply::new("ERR weight value is not a float");
const BAD_LIMIT: ErrReply = ErrReply::new("ERR LIMIT can't be negative");

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Union,
    Inter,
    Diff,
}

impl Op {
    /// The event of storing the result.
    fn stored(self) -> &'static str {
        match self {
            Op::Union => "zunionstore",
            Op::Inter => "zinterstore",
            Op::Diff => "zdiffstore",
        }
    }
}

/// What becomes of a member's scores in several inputs.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn parse(word: &[u8]) -> Result<Aggregate, ErrReply> {
        match word {
            word if word.eq_ignore_ascii_case(b"sum") => Ok(Aggregate::Sum),
            word if word.eq_ignore_ascii_case(b"min") => Ok(Aggregate::Min),
            word if word.eq_ignore_ascii_case(b"max") => Ok(Aggregate::Max),
            _ => Err(SYNTAX),
        }
    }

    /// `next` may be NaN, the result is not.
    fn join(self, score: f64, next: f64) -> f64 {
        match self {
            // Infinities of both signs come to 0.
            Aggregate::Sum => or_zero(score + next),
            Aggregate::Min if next < score => next,
            Aggregate::Max if next > score => next,
            _ => score,
        }
    }
}

/// An infinite score times a weight of 0 counts as 0.
fn or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

// ---- inputs

#[derive(Clone, Copy)]
enum Source<'d> {
    Missing,
    Plain(&'d Set),
    Sorted(&'d ZSet),
}

#[derive(Clone, Copy)]
struct Input<'d> {
    source: Source<'d>,
    weight: f64,
}

impl<'d> Input<'d> {
    /// What `key` holds, which is known to be a set if anything.
    fn at(db: &'d Db, key: &Key<'_>, clock: &Clock, weight: f64) -> Input<'d> {
        let source = match db.peek(key, clock).map(|entry| entry.value()) {
            Some(ValueRef::Obj(Object::Set(set))) => Source::Plain(set),
            Some(ValueRef::Obj(Object::ZSet(zset))) => Source::Sorted(zset),
            _ => Source::Missing,
        };
        Input { source, weight }
    }

    fn len(&self) -> usize {
        match self.source {
            Source::Missing => 0,
            Source::Plain(set) => set.len(),
            Source::Sorted(zset) => zset.len(),
        }
    }

    /// A member's score, without the weight.
    fn score(&self, member: &[u8]) -> Option<f64> {
        match self.source {
            Source::Missing => None,
            Source::Plain(set) => set.contains(member).then_some(1.0),
            Source::Sorted(zset) => zset.score(member),
        }
    }

    /// Calls `f` with members and scores (without the weight) until it breaks off.
    fn each(&self, mut f: impl FnMut(&[u8], f64) -> ControlFlow<()>) {
        let mut visit = |member: Elem<'_>, score| member.with_text(|text| f(text, score));
        // Breaking off is no failure.
        let _ = match self.source {
            Source::Missing => ControlFlow::Continue(()),
            Source::Plain(set) => set.iter().try_for_each(|member| visit(member, 1.0)),
            Source::Sorted(zset) => zset.iter().try_for_each(|(member, score)| visit(member, score)),
        };
    }
}

type Inputs<'d> = SmallVec<[Input<'d>; 4]>;

// ---- the operations

/// Inputs in the order in which their scores are joined.
fn by_size(inputs: &mut Inputs<'_>) {
    inputs.sort_by_key(Input::len);
}

/// Limits of a result that is still computed. Only the big form tells -0 from 0, and Redis has
/// no other before it stores a result.
fn unpacked(limits: &Limits) -> Limits {
    Limits { zset_max_listpack_entries: 0, ..*limits }
}

fn union(mut inputs: Inputs<'_>, aggregate: Aggregate, limits: &Limits) -> ZSet {
    by_size(&mut inputs);
    let mut result = ZSet::new();
    for input in &inputs {
        input.each(|member, score| {
            let mut joined = or_zero(score * input.weight);
            if let Some(old) = result.score(member) {
                joined = aggregate.join(old, joined);
                if joined == old && joined.is_sign_negative() != old.is_sign_negative() {
                    // The sign of a zero alone would not be taken over.
                    result.remove(member);
                }
            }
            result.insert(member, joined, limits);
            ControlFlow::Continue(())
        });
    }
    result
}

/// Calls `f` with members of all inputs and their scores until it breaks off.
fn each_common(
    mut inputs: Inputs<'_>,
    aggregate: Aggregate,
    mut f: impl FnMut(&[u8], f64) -> ControlFlow<()>,
) {
    by_size(&mut inputs);
    let Some((smallest, others)) = inputs.split_first() else { return };
    smallest.each(|member, score| {
        let mut joined = or_zero(score * smallest.weight);
        for other in others {
            let Some(score) = other.score(member) else { return ControlFlow::Continue(()) };
            joined = aggregate.join(joined, score * other.weight);
        }
        f(member, joined)
    });
}

fn inter(inputs: Inputs<'_>, aggregate: Aggregate, limits: &Limits) -> ZSet {
    let mut result = ZSet::new();
    each_common(inputs, aggregate, |member, score| {
        result.insert(member, score, limits);
        ControlFlow::Continue(())
    });
    result
}

fn diff(inputs: Inputs<'_>, limits: &Limits) -> ZSet {
    let mut result = ZSet::new();
    let Some((first, others)) = inputs.split_first() else { return result };
    let to_look_up = first.len().saturating_mul(others.len());
    let to_remove = others.iter().fold(first.len(), |sum, other| sum.saturating_add(other.len()));
    // Many small sets are cheaper to take away than to ask for each member.
    let asking = to_look_up / 2 <= to_remove;
    first.each(|member, score| {
        if !asking || others.iter().all(|other| other.score(member).is_none()) {
            result.insert(member, score, limits);
        }
        ControlFlow::Continue(())
    });
    if !asking {
        for other in others {
            other.each(|member, _| {
                result.remove(member);
                if result.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
    }
    result
}

// ---- the commands

/// What follows the keys.
struct Options {
    weights: SmallVec<[f64; 4]>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Where counting stops; 0 is nowhere.
    limit: usize,
}

/// Which options a command knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Read(Op),
    Store(Op),
    Count,
}

impl Options {
    fn parse(args: Args<'_>, from: usize, keys: usize, form: Form) -> Result<Options, ErrReply> {
        let mut o = Options {
            weights: SmallVec::from_elem(1.0, keys),
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        let joins = !matches!(form, Form::Count | Form::Read(Op::Diff) | Form::Store(Op::Diff));
        let mut i = from;
        while i < args.len() {
            let more = args.len() - i - 1;
            if joins && more >= keys && args.is(i, "weights") {
                for (weight, text) in o.weights.iter_mut().zip(args.from(i + 1).iter()) {
                    *weight = parse_f64(text).ok_or(BAD_WEIGHT)?;
                }
                i += keys;
            } else if joins && more >= 1 && args.is(i, "aggregate") {
                o.aggregate = Aggregate::parse(args.at(i + 1))?;
                i += 1;
            } else if matches!(form, Form::Read(_)) && args.is(i, "withscores") {
                o.with_scores = true;
            } else if form == Form::Count && more >= 1 && args.is(i, "limit") {
                let limit = parse_i64(args.at(i + 1)).filter(|n| *n >= 0).ok_or(BAD_LIMIT)?;
                o.limit = limit as usize;
                i += 1;
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        }
        Ok(o)
    }
}

/// The keys of the inputs, each looked up: an error where one holds no set.
fn look_up<'k>(
    ctx: &mut Ctx<'_>,
    args: Args<'k>,
    numkeys_at: usize,
    name: &str,
) -> Result<SmallVec<[Key<'k>; 4]>, ErrReply> {
    let numkeys = parse_i64(args.at(numkeys_at)).ok_or(NOT_INT)?;
    if numkeys < 1 {
        return Err(ErrReply::owned(format!("ERR at least 1 input key is needed for '{name}' command")));
    }
    let words = args.from(numkeys_at + 1);
    if numkeys as u64 > words.len() as u64 {
        return Err(SYNTAX);
    }
    let mut keys = SmallVec::new();
    for word in words.slice(0, numkeys as usize).iter() {
        let key = ctx.key(word);
        match ctx.ks.db_mut(ctx.db).find(&key, Look::Read, &ctx.clock).map(|entry| entry.value()) {
            Some(ValueRef::Obj(Object::Set(_) | Object::ZSet(_))) => {}
            Some(_) => return Err(WRONG_TYPE),
            None => missed(ctx, &key),
        }
        keys.push(key);
    }
    Ok(keys)
}

/// What the keys hold, with the options' weights.
fn inputs<'d>(db: &'d Db, keys: &[Key<'_>], clock: &Clock, options: &Options) -> Inputs<'d> {
    keys.iter().zip(&options.weights).map(|(key, weight)| Input::at(db, key, clock, *weight)).collect()
}

fn compute(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    numkeys_at: usize,
    form: Form,
    op: Op,
    name: &str,
) -> Result<(ZSet, Options), ErrReply> {
    let keys = look_up(ctx, args, numkeys_at, name)?;
    let options = Options::parse(args, numkeys_at + 1 + keys.len(), keys.len(), form)?;
    let limits = unpacked(&ctx.limits());
    let inputs = inputs(ctx.ks.db(ctx.db), &keys, &ctx.clock, &options);
    let result = match op {
        Op::Union => union(inputs, options.aggregate, &limits),
        Op::Inter => inter(inputs, options.aggregate, &limits),
        Op::Diff => diff(inputs, &limits),
    };
    Ok((result, options))
}

fn show(ctx: &mut Ctx<'_>, args: Args<'_>, op: Op, name: &str) -> Done {
    let (result, options) = compute(ctx, args, 1, Form::Read(op), op, name)?;
    let layout = Layout::new(&ctx.out, options.with_scores);
    layout.head(&mut ctx.out, result.len());
    for (member, score) in result.iter() {
        layout.item(&mut ctx.out, member, score);
    }
    Ok(())
}

fn store_result(ctx: &mut Ctx<'_>, args: Args<'_>, op: Op) -> Done {
    let (mut result, _) = compute(ctx, args, 2, Form::Store(op), op, op.stored())?;
    result.pack_if_small(&ctx.limits());
    let target = ctx.key(args.at(1));
    store(ctx, &target, result, op.stored());
    Ok(())
}

/// ZUNION numkeys key ... [WEIGHTS weight ...] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]
pub fn zunion(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, Op::Union, "zunion")
}

/// ZINTER numkeys key ... [WEIGHTS weight ...] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]
pub fn zinter(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, Op::Inter, "zinter")
}

/// ZDIFF numkeys key ... [WITHSCORES]
pub fn zdiff(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    show(ctx, args, Op::Diff, "zdiff")
}

/// ZUNIONSTORE destination numkeys key ... [WEIGHTS weight ...] [AGGREGATE <SUM | MIN | MAX>]
pub fn zunionstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    store_result(ctx, args, Op::Union)
}

/// ZINTERSTORE destination numkeys key ... [WEIGHTS weight ...] [AGGREGATE <SUM | MIN | MAX>]
pub fn zinterstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    store_result(ctx, args, Op::Inter)
}

/// ZDIFFSTORE destination numkeys key ...
pub fn zdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    store_result(ctx, args, Op::Diff)
}

/// ZINTERCARD numkeys key ... [LIMIT limit]
pub fn zintercard(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let keys = look_up(ctx, args, 1, "zintercard")?;
    let options = Options::parse(args, 2 + keys.len(), keys.len(), Form::Count)?;
    let mut n = 0;
    each_common(inputs(ctx.ks.db(ctx.db), &keys, &ctx.clock, &options), Aggregate::Sum, |_, _| {
        n += 1;
        if n == options.limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    ctx.out.int(n as i64);
    Ok(())
}
