//! ZADD and ZINCRBY.

use smallvec::SmallVec;

use crate::command::collection::{create, find_mut};
use crate::command::ctx::{Ctx, class};
use crate::command::error::{Done, ErrReply, NOT_FLOAT, SYNTAX};
use crate::resp::Args;
use crate::store::Key;
use crate::util::num::parse_f64;
use crate::value::zset::Inserted;
use crate::value::{Limits, ZSet};

const NX_AND_XX: ErrReply = ErrReply::new("ERR XX and NX options at the same time are not compatible");
const MIXED: ErrReply = ErrReply::new("ERR GT, LT, and/or NX options at the same time are not compatible");
const ONE_PAIR: ErrReply = ErrReply::new("ERR INCR option supports a single increment-element pair");
const NAN: ErrReply = ErrReply::new("ERR resulting score is not a number (NaN)");

/// What stands between ZADD's key and its first score.
#[derive(Clone, Copy, Default)]
struct Options {
    /// Only new members.
    nx: bool,
    /// Only members that are there.
    xx: bool,
    /// Only to a greater, or lesser, score.
    gt: bool,
    lt: bool,
    /// Count changed scores, too.
    ch: bool,
    /// Add to the score, and reply with it.
    incr: bool,
}

impl Options {
    /// Reads the options, and tells where the first score stands.
    fn parse(args: Args<'_>) -> (Options, usize) {
        let mut o = Options::default();
        for i in 2..args.len() {
            let flag = match args.at(i) {
                word if word.eq_ignore_ascii_case(b"nx") => &mut o.nx,
                word if word.eq_ignore_ascii_case(b"xx") => &mut o.xx,
                word if word.eq_ignore_ascii_case(b"gt") => &mut o.gt,
                word if word.eq_ignore_ascii_case(b"lt") => &mut o.lt,
                word if word.eq_ignore_ascii_case(b"ch") => &mut o.ch,
                word if word.eq_ignore_ascii_case(b"incr") => &mut o.incr,
                _ => return (o, i),
            };
            *flag = true;
        }
        (o, args.len())
    }

    fn check(&self, pairs: usize) -> Done {
        if self.nx && self.xx {
            return Err(NX_AND_XX);
        }
        if (self.nx as u8) + (self.gt as u8) + (self.lt as u8) > 1 {
            return Err(MIXED);
        }
        if self.incr && pairs > 1 {
            return Err(ONE_PAIR);
        }
        Ok(())
    }

    /// The score to set for a member that has `old`, if the options let it be set.
    fn target(&self, old: Option<f64>, score: f64) -> Result<Option<f64>, ErrReply> {
        let Some(old) = old else {
            return Ok(Some(score).filter(|_| !self.xx));
        };
        if self.nx {
            return Ok(None);
        }
        let new = if self.incr { old + score } else { score };
        if new.is_nan() {
            return Err(NAN);
        }
        let refused = (self.lt && new >= old) || (self.gt && new <= old);
        Ok(Some(new).filter(|_| !refused))
    }
}

#[derive(Default)]
struct Tally {
    added: u64,
    updated: u64,
    /// The last score that was set, if the last one was.
    score: Option<f64>,
}

impl Tally {
    #[inline]
    fn count(&mut self, done: Inserted) {
        match done {
            Inserted::Added => self.added += 1,
            Inserted::Updated(_) => self.updated += 1,
            Inserted::Same => {}
        }
    }
}

/// ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member ...
pub fn zadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    // One pair without options; no option reads as a number.
    if args.len() == 4
        && let Some(score) = parse_f64(args.at(2))
    {
        let tally = update(ctx, args.at(1), false, "zadd", |zset, limits, tally| {
            tally.count(zset.insert(args.at(3), score, limits));
            Ok(())
        })?;
        ctx.out.int(tally.added as i64);
        return Ok(());
    }
    let (options, first) = Options::parse(args);
    add(ctx, args.at(1), options, args.from(first))
}

/// ZINCRBY key increment member
pub fn zincrby(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    add(ctx, args.at(1), Options { incr: true, ..Options::default() }, args.from(2))
}

fn add(ctx: &mut Ctx<'_>, key: &[u8], options: Options, pairs: Args<'_>) -> Done {
    if pairs.len() == 0 || !pairs.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    options.check(pairs.len() / 2)?;
    // All of them before the first is added.
    let mut scores = SmallVec::<[f64; 16]>::new();
    for text in pairs.iter().step_by(2) {
        scores.push(parse_f64(text).ok_or(NOT_FLOAT)?);
    }
    let plain = !(options.nx || options.xx || options.gt || options.lt || options.incr);
    let event = if options.incr { "zincr" } else { "zadd" };
    let tally = update(ctx, key, options.xx, event, |zset, limits, tally| {
        for (i, &score) in scores.iter().enumerate() {
            let member = pairs.at(2 * i + 1);
            let target = match plain {
                true => Some(score),
                false => options.target(zset.score(member), score)?,
            };
            if let Some(score) = target {
                tally.count(zset.insert(member, score, limits));
            }
            tally.score = target;
        }
        Ok(())
    })?;
    match (options.incr, tally.score) {
        (true, Some(score)) => ctx.out.double(score),
        (true, None) => ctx.out.null(),
        (false, _) if options.ch => ctx.out.int((tally.added + tally.updated) as i64),
        (false, _) => ctx.out.int(tally.added as i64),
    }
    Ok(())
}

/// Calls `f` with the sorted set at `key`, or with a new one unless `only_existing`, and says what
/// changed. `f` leaves no set empty, and changes nothing when it fails.
#[inline]
fn update(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    only_existing: bool,
    event: &'static str,
    f: impl FnOnce(&mut ZSet, &Limits, &mut Tally) -> Done,
) -> Result<Tally, ErrReply> {
    let limits = ctx.limits();
    let key: Key<'_> = ctx.key(key);
    let mut tally = Tally::default();
    match find_mut::<ZSet>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? {
        Some(zset) => f(zset, &limits, &mut tally)?,
        None if only_existing => return Ok(tally),
        None => {
            let mut zset = ZSet::new();
            f(&mut zset, &limits, &mut tally)?;
            create(ctx, &key, zset);
        }
    }
    let changes = tally.added + tally.updated;
    if changes > 0 {
        ctx.fx.changed_by(changes, ctx.db, key.bytes, class::ZSET, event);
    }
    Ok(tally)
}
