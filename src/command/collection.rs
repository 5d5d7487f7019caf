//! Collections by key: what the families of lists, hashes, sets, sorted sets and streams share.

use super::ctx::{Ctx, class};
use super::error::{Done, ErrReply, NOT_INT, SYNTAX, WRONG_TYPE};
use crate::resp::{Args, Reply};
use crate::store::{Clock, Db, Key, Look, Ttl, ValueMut, ValueRef};
use crate::util::glob;
use crate::util::num::{is_space, parse_i64};
use crate::value::{Elem, Hash, List, Object, Set, Stream, ZSet};

/// A kind of collection among the kinds of objects.
pub trait Collection: Sized {
    fn of(object: &Object) -> Option<&Self>;
    fn of_mut(object: &mut Object) -> Option<&mut Self>;
    fn into_object(self) -> Object;
    fn is_empty(&self) -> bool;
}

macro_rules! collection {
    ($($kind:ident)*) => {$(
        impl Collection for $kind {
            #[inline]
            fn of(object: &Object) -> Option<&Self> {
                if let Object::$kind(own) = object { Some(own) } else { None }
            }

            #[inline]
            fn of_mut(object: &mut Object) -> Option<&mut Self> {
                if let Object::$kind(own) = object { Some(own) } else { None }
            }

            fn into_object(self) -> Object {
                Object::$kind(self)
            }

            #[inline]
            fn is_empty(&self) -> bool {
                $kind::is_empty(self)
            }
        }
    )*};
}

collection!(List Hash Set ZSet);

impl Collection for Stream {
    #[inline]
    fn of(object: &Object) -> Option<&Self> {
        if let Object::Stream(own) = object { Some(own) } else { None }
    }

    #[inline]
    fn of_mut(object: &mut Object) -> Option<&mut Self> {
        if let Object::Stream(own) = object { Some(own) } else { None }
    }

    fn into_object(self) -> Object {
        Object::Stream(Box::new(self))
    }

    /// One without entries is still there.
    #[inline]
    fn is_empty(&self) -> bool {
        false
    }
}

/// The collection at `key`; an error when something else is there.
#[inline]
pub fn find<'d, T: Collection>(
    db: &'d mut Db,
    key: &Key<'_>,
    look: Look,
    clock: &Clock,
) -> Result<Option<&'d T>, ErrReply> {
    match db.find(key, look, clock).map(|entry| entry.value()) {
        None => Ok(None),
        Some(ValueRef::Obj(object)) => T::of(object).map(Some).ok_or(WRONG_TYPE),
        Some(_) => Err(WRONG_TYPE),
    }
}

/// As [`find`], to be changed. One that is left empty has to go: [`drop_empty`].
#[inline]
pub fn find_mut<'d, T: Collection>(
    db: &'d mut Db,
    key: &Key<'_>,
    clock: &Clock,
) -> Result<Option<&'d mut T>, ErrReply> {
    match db.find_mut(key, Look::Write, clock) {
        None => Ok(None),
        Some(ValueMut::Obj(object)) => T::of_mut(object).map(Some).ok_or(WRONG_TYPE),
        Some(_) => Err(WRONG_TYPE),
    }
}

/// Calls `f` with the collection at `key`. Without one it counts as a miss, and nothing is written.
#[inline]
pub fn read<T: Collection, R>(
    ctx: &mut Ctx<'_>,
    key: &Key<'_>,
    f: impl FnOnce(&mut Reply<'_>, &T) -> R,
) -> Result<Option<R>, ErrReply> {
    match find::<T>(ctx.ks.db_mut(ctx.db), key, Look::Read, &ctx.clock)? {
        Some(value) => Ok(Some(f(&mut ctx.out, value))),
        None => {
            missed(ctx, key);
            Ok(None)
        }
    }
}

/// A read met no key.
#[inline]
pub fn missed(ctx: &mut Ctx<'_>, key: &Key<'_>) {
    ctx.fx.event(ctx.db, key.bytes, class::KEY_MISS, "keymiss");
}

/// Stores a collection at a key that isn't there.
pub fn create<T: Collection>(ctx: &mut Ctx<'_>, key: &Key<'_>, value: T) {
    ctx.ks.db_mut(ctx.db).set_object(key, value.into_object(), Ttl::Clear, &ctx.clock);
    ctx.fx.event(ctx.db, key.bytes, class::NEW, "new");
}

/// Removes the key of a collection whose last element just went.
pub fn drop_empty(ctx: &mut Ctx<'_>, key: &Key<'_>) {
    let lazy = ctx.conf.lazyfree_lazy_server_del;
    ctx.ks.db_mut(ctx.db).delete(key, lazy, &ctx.clock);
    ctx.fx.event(ctx.db, key.bytes, class::GENERIC, "del");
}

/// Stores a result over whatever `key` held, which counts as so many changes, or removes the key when
/// the result is empty.
pub fn replace<T: Collection>(
    ctx: &mut Ctx<'_>,
    key: &Key<'_>,
    result: T,
    class: u32,
    event: &'static str,
    changes: u64,
) {
    let db = ctx.ks.db_mut(ctx.db);
    if !result.is_empty() {
        if !db.set_object(key, result.into_object(), Ttl::Clear, &ctx.clock) {
            ctx.fx.event(ctx.db, key.bytes, class::NEW, "new");
        }
        ctx.fx.changed_by(changes, ctx.db, key.bytes, class, event);
    } else if db.delete(key, ctx.conf.lazyfree_lazy_server_del, &ctx.clock) {
        ctx.fx.changed(ctx.db, key.bytes, class::GENERIC, "del");
    }
}

/// HDEL, SREM, ZREM: takes each word behind the key out of its collection, and replies with how many
/// were there.
pub fn remove<T: Collection>(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    class: u32,
    event: &'static str,
    mut take: impl FnMut(&mut T, &[u8]) -> bool,
) -> Done {
    let key = ctx.key(args.at(1));
    let Some(value) = find_mut::<T>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.int(0);
        return Ok(());
    };
    let gone = args.from(2).iter().filter(|word| take(value, word)).count();
    let empty = value.is_empty();
    if gone > 0 {
        ctx.fx.changed_by(gone as u64, ctx.db, key.bytes, class, event);
    }
    if empty {
        drop_empty(ctx, &key);
    }
    ctx.out.int(gone as i64);
    Ok(())
}

/// Replies with an element as a bulk string.
#[inline]
pub fn write_elem(out: &mut Reply<'_>, elem: Elem<'_>) {
    match elem {
        Elem::Str(text) => out.bulk(text),
        Elem::Int(n) => out.bulk_int(n),
    }
}

// ---- SCAN, HSCAN, SSCAN, ZSCAN

const BAD_CURSOR: ErrReply = ErrReply::new("ERR invalid cursor");

/// Most elements that one call is asked for: more makes no difference, and products must not
/// overflow.
pub const MAX_COUNT: i64 = 1 << 40;

/// A cursor by the rules of C's `strtoul`: a sign is allowed (a minus wraps around), an empty text
/// is 0, the text ends at its first NUL.
pub fn parse_cursor(text: &[u8]) -> Result<u64, ErrReply> {
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    if text.first().is_some_and(|b| is_space(*b)) {
        return Err(BAD_CURSOR);
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    };
    // A sign alone is no number, and what isn't read stays over.
    if digits.is_empty() && !text.is_empty() {
        return Err(BAD_CURSOR);
    }
    let mut n: u64 = 0;
    for b in digits {
        let digit = b.wrapping_sub(b'0');
        let next = n.checked_mul(10).and_then(|n| n.checked_add(digit as u64));
        n = next.filter(|_| digit < 10).ok_or(BAD_CURSOR)?;
    }
    Ok(if negative { n.wrapping_neg() } else { n })
}

/// `[MATCH pattern] [COUNT n]` of a scan within a collection.
pub struct ScanOptions<'a> {
    /// At least 1.
    pub count: usize,
    pattern: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Reads the options from argument `from` on.
    pub fn parse(args: Args<'a>, from: usize) -> Result<ScanOptions<'a>, ErrReply> {
        let mut o = ScanOptions { count: 10, pattern: None };
        for i in (from..args.len()).step_by(2) {
            let Some(value) = args.get(i + 1) else { return Err(SYNTAX) };
            if args.is(i, "count") {
                let count = parse_i64(value).ok_or(NOT_INT)?;
                if count < 1 {
                    return Err(SYNTAX);
                }
                o.count = count.min(MAX_COUNT) as usize;
            } else if args.is(i, "match") {
                o.pattern = Some(value).filter(|pattern| !glob::is_all(pattern));
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(o)
    }

    pub fn shows(&self, elem: Elem<'_>) -> bool {
        self.pattern.is_none_or(|pattern| elem.with_text(|text| glob::matches(pattern, text, false)))
    }
}

/// What a scan has found so far, as bulk strings.
#[derive(Default)]
pub struct Shown {
    bytes: Vec<u8>,
    n: usize,
}

impl Shown {
    pub fn elem(&mut self, elem: Elem<'_>) {
        write_elem(&mut Reply::new(&mut self.bytes, false), elem);
        self.n += 1;
    }

    pub fn text(&mut self, text: &[u8]) {
        self.elem(Elem::Str(text));
    }
}

/// The reply to a scan.
pub fn write_scan(out: &mut Reply<'_>, next: u64, shown: &Shown) {
    out.array(2);
    out.bulk(itoa::Buffer::new().format(next).as_bytes());
    out.array(shown.n);
    out.raw(&shown.bytes);
}

/// HSCAN, SSCAN, ZSCAN: key cursor [MATCH pattern] [COUNT count]. `walk` goes on from a cursor and answers
/// the next one.
pub fn scan<T: Collection>(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    walk: impl FnOnce(&T, u64, &ScanOptions<'_>, &mut Shown) -> u64,
) -> Done {
    let cursor = parse_cursor(args.at(2))?;
    let key = ctx.key(args.at(1));
    let mut shown = Shown::default();
    let next = match find::<T>(ctx.ks.db_mut(ctx.db), &key, Look::Read, &ctx.clock)? {
        Some(value) => walk(value, cursor, &ScanOptions::parse(args, 3)?, &mut shown),
        None => {
            missed(ctx, &key);
            0
        }
    };
    write_scan(&mut ctx.out, next, &shown);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_strtoul_does() {
        for (text, want) in [
            ("0", Some(0)),
            ("", Some(0)),
            ("+5", Some(5)),
            ("-1", Some(u64::MAX)),
            ("007", Some(7)),
            ("7\0x", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999999999999", None),
            (" 1", None),
            ("1 ", None),
            ("-", None),
            ("x", None),
            ("1x", None),
        ] {
            assert_eq!(parse_cursor(text.as_bytes()).ok(), want, "{text:?}");
        }
    }
}
