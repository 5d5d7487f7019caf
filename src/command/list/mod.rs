//! Lists.

mod blocking;
#[cfg(test)]
mod tests;

pub use blocking::{blmove, blmpop, blpop, brpop, brpoplpush};

use super::blocking::{Side, mpop};
use super::collection::{create, drop_empty, find, find_mut, missed, read, write_elem};
use super::ctx::{Ctx, class};
use super::error::{Done, ErrReply, INDEX_RANGE, NO_KEY, NOT_INT, NOT_POSITIVE, SYNTAX, arity};
use crate::resp::{Args, Reply};
use crate::store::{Key, Look};
use crate::util::num::parse_i64;
use crate::value::{Elem, Limits, List};

const BAD_RANK: ErrReply = ErrReply::new(
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
     or use negative to start from the end of the list",
);
const NEGATIVE_COUNT: ErrReply = ErrReply::new("ERR COUNT can't be negative");
const NEGATIVE_MAXLEN: ErrReply = ErrReply::new("ERR MAXLEN can't be negative");

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

impl End {
    #[inline]
    fn push(self, list: &mut List, text: &[u8], limits: &Limits) {
        match self {
            End::Left => list.push_front(text, limits),
            End::Right => list.push_back(text, limits),
        }
    }

    #[inline]
    fn pop_with<R>(self, list: &mut List, f: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
        match self {
            End::Left => list.pop_front_with(f),
            End::Right => list.pop_back_with(f),
        }
    }

    /// The event of a push to here.
    fn pushed(self) -> &'static str {
        if self == End::Left { "lpush" } else { "rpush" }
    }

    /// The event of a pop from here, which is also the command that does it.
    fn popped(self) -> &'static str {
        if self == End::Left { "lpop" } else { "rpop" }
    }

    /// The same, as it is propagated.
    fn command(self) -> &'static [u8] {
        if self == End::Left { b"LPOP" } else { b"RPOP" }
    }
}

impl Side for End {
    fn parse(word: &[u8]) -> Result<End, ErrReply> {
        if word.eq_ignore_ascii_case(b"left") {
            Ok(End::Left)
        } else if word.eq_ignore_ascii_case(b"right") {
            Ok(End::Right)
        } else {
            Err(SYNTAX)
        }
    }

    fn pop_many(self, ctx: &mut Ctx<'_>, word: &[u8], count: usize) -> Result<bool, ErrReply> {
        let key = ctx.key(word);
        let Some(list) = find_mut::<List>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
            return Ok(false);
        };
        let n = list.len().min(count);
        ctx.out.array(2);
        ctx.out.bulk(word);
        take(&mut ctx.out, list, self, n);
        let empty = list.is_empty();
        popped(ctx, &key, self, n, empty);
        if ctx.fx.propagating {
            ctx.fx.propagate([self.command(), word, itoa::Buffer::new().format(n).as_bytes()]);
        }
        Ok(true)
    }
}

// ---- both ends

/// LPUSH key element ...
pub fn lpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    push(ctx, args, End::Left, false)
}

/// RPUSH key element ...
pub fn rpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    push(ctx, args, End::Right, false)
}

/// LPUSHX key element ...
pub fn lpushx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    push(ctx, args, End::Left, true)
}

/// RPUSHX key element ...
pub fn rpushx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    push(ctx, args, End::Right, true)
}

#[inline]
fn push(ctx: &mut Ctx<'_>, args: Args<'_>, end: End, only_existing: bool) -> Done {
    let limits = ctx.limits();
    let key = ctx.key(args.at(1));
    let elements = args.from(2);
    let len = match find_mut::<List>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? {
        Some(list) => {
            elements.iter().for_each(|text| end.push(list, text, &limits));
            list.len()
        }
        None if only_existing => {
            ctx.out.int(0);
            return Ok(());
        }
        None => {
            let mut list = List::new();
            elements.iter().for_each(|text| end.push(&mut list, text, &limits));
            create(ctx, &key, list);
            elements.len()
        }
    };
    ctx.fx.changed_by(elements.len() as u64, ctx.db, key.bytes, class::LIST, end.pushed());
    ctx.out.int(len as i64);
    Ok(())
}

/// LPOP key [count]
pub fn lpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    pop(ctx, args, End::Left)
}

/// RPOP key [count]
pub fn rpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    pop(ctx, args, End::Right)
}

#[inline]
fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> Done {
    if args.len() > 2 {
        return pop_count(ctx, args, end);
    }
    let key = ctx.key(args.at(1));
    let Some(list) = find_mut::<List>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.null();
        return Ok(());
    };
    end.pop_with(list, |elem| write_elem(&mut ctx.out, elem));
    let empty = list.is_empty();
    popped(ctx, &key, end, 1, empty);
    Ok(())
}

fn pop_count(ctx: &mut Ctx<'_>, args: Args<'_>, end: End) -> Done {
    if args.len() > 3 {
        return Err(arity(end.popped()));
    }
    let count = parse_i64(args.at(2)).and_then(|n| u64::try_from(n).ok()).ok_or(NOT_POSITIVE)?;
    let key = ctx.key(args.at(1));
    let Some(list) = find_mut::<List>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.null_array();
        return Ok(());
    };
    let n = list.len().min(usize::try_from(count).unwrap_or(usize::MAX));
    take(&mut ctx.out, list, end, n);
    let empty = list.is_empty();
    if n > 0 {
        popped(ctx, &key, end, n, empty);
    }
    Ok(())
}

/// Replies with `n` elements from an end, of as many at least, and removes them.
fn take(out: &mut Reply<'_>, list: &mut List, end: End, n: usize) {
    out.array(n);
    match end {
        End::Left => {
            list.iter_from(0).take(n).for_each(|elem| write_elem(out, elem));
            list.delete_range(0, n);
        }
        End::Right => {
            let len = list.len();
            list.iter_back_from(len - 1).take(n).for_each(|elem| write_elem(out, elem));
            list.delete_range(len - n, n);
        }
    }
}

/// `n` elements were popped.
#[inline]
fn popped(ctx: &mut Ctx<'_>, key: &Key<'_>, end: End, n: usize, empty: bool) {
    ctx.fx.changed_by(n as u64, ctx.db, key.bytes, class::LIST, end.popped());
    if empty {
        drop_empty(ctx, key);
    }
}

/// LMPOP numkeys key ... LEFT | RIGHT [COUNT count]
pub fn lmpop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    mpop::<End>(ctx, args)
}

/// Pops an element of the first of some lists that has any, and replies with it and its key. Whether there
/// was one.
fn pop_one_of(ctx: &mut Ctx<'_>, keys: Args<'_>, end: End) -> Result<bool, ErrReply> {
    for word in keys.iter() {
        let key = ctx.key(word);
        let Some(list) = find_mut::<List>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else { continue };
        ctx.out.array(2);
        ctx.out.bulk(word);
        let _ = end.pop_with(list, |elem| write_elem(&mut ctx.out, elem));
        let empty = list.is_empty();
        popped(ctx, &key, end, 1, empty);
        if ctx.fx.propagating {
            ctx.fx.propagate([end.command(), word]);
        }
        return Ok(true);
    }
    Ok(false)
}

/// LMOVE source destination LEFT | RIGHT LEFT | RIGHT
pub fn lmove(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let from = End::parse(args.at(3))?;
    let to = End::parse(args.at(4))?;
    transfer(ctx, args, from, to)
}

/// RPOPLPUSH source destination
pub fn rpoplpush(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    transfer(ctx, args, End::Right, End::Left)
}

fn transfer(ctx: &mut Ctx<'_>, args: Args<'_>, from: End, to: End) -> Done {
    let limits = ctx.limits();
    let (source, target) = (ctx.key(args.at(1)), ctx.key(args.at(2)));
    let db = ctx.ks.db_mut(ctx.db);
    if find::<List>(db, &source, Look::Write, &ctx.clock)?.is_none() {
        ctx.out.null();
        return Ok(());
    }
    let new = find::<List>(db, &target, Look::Write, &ctx.clock)?.is_none();
    let Some(list) = find_mut::<List>(db, &source, &ctx.clock)? else { return Ok(()) };
    let Some(text) = from.pop_with(list, |elem| elem.to_vec()) else { return Ok(()) };
    if new {
        let mut list = List::new();
        to.push(&mut list, &text, &limits);
        create(ctx, &target, list);
    } else if let Some(list) = find_mut::<List>(ctx.ks.db_mut(ctx.db), &target, &ctx.clock)? {
        to.push(list, &text, &limits);
    }
    // Redis counts the move as one change, of the source.
    ctx.fx.changed_by(0, ctx.db, target.bytes, class::LIST, to.pushed());
    if ctx.fx.apart && ctx.fx.propagating {
        ctx.fx.propagate([from.popped().as_bytes(), source.bytes]);
        ctx.fx.propagate([to.pushed().as_bytes(), target.bytes, &text]);
    }
    ctx.out.bulk(&text);
    let left = find::<List>(ctx.ks.db_mut(ctx.db), &source, Look::Peek, &ctx.clock)?;
    let empty = left.is_some_and(List::is_empty);
    popped(ctx, &source, from, 1, empty);
    Ok(())
}

// ---- reading

/// LLEN key
pub fn llen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let len = read(ctx, &key, |_, list: &List| list.len())?;
    ctx.out.int(len.unwrap_or(0) as i64);
    Ok(())
}

/// Where a range starts and how many elements it has, of a list with `len`. Both ends are
/// included, negative ones count from the end. An empty range starts at 0.
fn range_of(start: i64, end: i64, len: usize) -> (usize, usize) {
    let len = len as i64;
    let from_head = |i: i64| if i < 0 { i.saturating_add(len) } else { i };
    let (start, end) = (from_head(start).max(0), from_head(end).min(len - 1));
    if start > end { (0, 0) } else { (start as usize, (end - start + 1) as usize) }
}

/// LRANGE key start stop
pub fn lrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let start = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    let end = parse_i64(args.at(3)).ok_or(NOT_INT)?;
    let key = ctx.key(args.at(1));
    let found = read(ctx, &key, |out, list: &List| {
        let (start, count) = range_of(start, end, list.len());
        out.array(count);
        list.iter_from(start).take(count).for_each(|elem| write_elem(out, elem));
    })?;
    if found.is_none() {
        ctx.out.array(0);
    }
    Ok(())
}

/// LINDEX key index
pub fn lindex(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let found = read(ctx, &key, |out, list: &List| {
        let index = parse_i64(args.at(2)).ok_or(NOT_INT)?;
        match list.get(index) {
            Some(elem) => write_elem(out, elem),
            None => out.null(),
        }
        Ok(())
    })?;
    found.unwrap_or_else(|| {
        ctx.out.null();
        Ok(())
    })
}

/// What LPOS looks for.
struct Search {
    /// From the tail when negative; never 0.
    rank: i64,
    /// `None` asks for one place, not for an array of them; 0 for all.
    count: Option<u64>,
    /// Elements to look at; 0 is all.
    maxlen: u64,
}

impl Search {
    fn parse(args: Args<'_>) -> Result<Search, ErrReply> {
        let mut s = Search { rank: 1, count: None, maxlen: 0 };
        let natural = |text| parse_i64(text).and_then(|n| u64::try_from(n).ok());
        for i in (3..args.len()).step_by(2) {
            let Some(value) = args.get(i + 1) else { return Err(SYNTAX) };
            if args.is(i, "rank") {
                s.rank = parse_i64(value).ok_or(NOT_INT)?;
                if s.rank == 0 {
                    return Err(BAD_RANK);
                }
            } else if args.is(i, "count") {
                s.count = Some(natural(value).ok_or(NEGATIVE_COUNT)?);
            } else if args.is(i, "maxlen") {
                s.maxlen = natural(value).ok_or(NEGATIVE_MAXLEN)?;
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(s)
    }

    /// Calls `f` with the places of what was searched for, in the order of the search.
    fn run(&self, list: &List, text: &[u8], mut f: impl FnMut(usize)) {
        let len = list.len();
        let look = if self.maxlen == 0 { len } else { len.min(self.maxlen as usize) };
        // Redis turns the sign of the rank, which leaves the lowest number as it is: below any match.
        let (skip, most) = match (self.rank, self.count) {
            (i64::MIN, Some(_)) => (0, usize::MAX),
            (i64::MIN, None) => (0, 1),
            (rank, None) => (rank.unsigned_abs() - 1, 1),
            (rank, Some(0)) => (rank.unsigned_abs() - 1, usize::MAX),
            (rank, Some(n)) => (rank.unsigned_abs() - 1, n as usize),
        };
        let skip = skip as usize;
        let hits = |(at, elem): (usize, Elem<'_>)| elem.is(text).then_some(at);
        if self.rank > 0 {
            list.iter().take(look).enumerate().filter_map(hits).skip(skip).take(most).for_each(f);
        } else {
            let found = list.iter().rev().take(look).enumerate().filter_map(hits);
            found.skip(skip).take(most).for_each(|at| f(len - 1 - at));
        }
    }
}

/// LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]
pub fn lpos(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let search = Search::parse(args)?;
    let key = ctx.key(args.at(1));
    let Some(list) = find::<List>(ctx.ks.db_mut(ctx.db), &key, Look::Read, &ctx.clock)? else {
        missed(ctx, &key);
        match search.count {
            Some(_) => ctx.out.array(0),
            None => ctx.out.null(),
        }
        return Ok(());
    };
    let open = ctx.out.begin_array();
    let mut n = 0;
    search.run(list, args.at(2), |at| {
        ctx.out.int(at as i64);
        n += 1;
    });
    match search.count {
        Some(_) => ctx.out.end_array(open, n),
        None if n == 0 => ctx.out.null(),
        None => {}
    }
    Ok(())
}

// ---- changes within

/// LINSERT key BEFORE | AFTER pivot element
pub fn linsert(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let before = args.is(2, "before");
    if !before && !args.is(2, "after") {
        return Err(SYNTAX);
    }
    let limits = ctx.limits();
    let key = ctx.key(args.at(1));
    let Some(list) = find_mut::<List>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.int(0);
        return Ok(());
    };
    if list.insert(args.at(3), before, args.at(4), &limits) {
        ctx.out.int(list.len() as i64);
        ctx.fx.changed(ctx.db, key.bytes, class::LIST, "linsert");
    } else {
        ctx.out.int(-1);
    }
    Ok(())
}

/// LSET key index element
pub fn lset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let limits = ctx.limits();
    let key = ctx.key(args.at(1));
    let list = find_mut::<List>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)?.ok_or(NO_KEY)?;
    let index = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    if !list.set(index, args.at(3), &limits) {
        return Err(INDEX_RANGE);
    }
    ctx.fx.changed(ctx.db, key.bytes, class::LIST, "lset");
    ctx.out.ok();
    Ok(())
}

/// LREM key count element
pub fn lrem(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let count = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    let key = ctx.key(args.at(1));
    let Some(list) = find_mut::<List>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.int(0);
        return Ok(());
    };
    let n = list.remove(count, args.at(3));
    let empty = list.is_empty();
    if n > 0 {
        ctx.fx.changed_by(n as u64, ctx.db, key.bytes, class::LIST, "lrem");
    }
    if empty {
        drop_empty(ctx, &key);
    }
    ctx.out.int(n as i64);
    Ok(())
}

/// LTRIM key start stop
pub fn ltrim(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let start = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    let end = parse_i64(args.at(3)).ok_or(NOT_INT)?;
    let key = ctx.key(args.at(1));
    let Some(list) = find_mut::<List>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.ok();
        return Ok(());
    };
    let len = list.len();
    let (start, count) = range_of(start, end, len);
    if count < len {
        list.trim(start, count);
    }
    let empty = list.is_empty();
    // The event comes even when nothing had to go.
    ctx.fx.changed_by((len - count) as u64, ctx.db, key.bytes, class::LIST, "ltrim");
    if empty {
        drop_empty(ctx, &key);
    }
    ctx.out.ok();
    Ok(())
}
