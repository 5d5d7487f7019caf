//! Bitmaps: strings, bit by bit.

mod bits;
mod field;
#[cfg(test)]
mod tests;

pub use field::{bitfield, bitfield_ro};

use super::ctx::{Ctx, class};
use super::error::{Done, ErrReply, NOT_INT, SYNTAX, WRONG_TYPE};
use super::text::{store_bytes, with_text};
use crate::config::Config;
use crate::resp::Args;
use crate::util::num::parse_i64;
use bits::Op;
use std::ops::Range;

const BAD_OFFSET: ErrReply = ErrReply::new("ERR bit offset is not an integer or out of range");
const BAD_BIT: ErrReply = ErrReply::new("ERR bit is not an integer or out of range");
const NO_BIT: ErrReply = ErrReply::new("ERR The bit argument must be 1 or 0.");
const NOT_OF_ONE: ErrReply = ErrReply::new("ERR BITOP NOT must be called with a single source key.");

/// Lets an offset pass that a string may have.
fn check_offset(conf: &Config, offset: i64) -> Result<u64, ErrReply> {
    let offset = u64::try_from(offset).map_err(|_| BAD_OFFSET)?;
    if offset >> 3 < conf.proto_max_bulk_len { Ok(offset) } else { Err(BAD_OFFSET) }
}

/// SETBIT key offset value
pub fn setbit(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let offset = check_offset(ctx.conf, parse_i64(args.at(2)).ok_or(BAD_OFFSET)?)?;
    let on = match parse_i64(args.at(3)) {
        Some(n @ (0 | 1)) => n == 1,
        _ => return Err(BAD_BIT),
    };
    let key = ctx.key(args.at(1));
    let len = (offset >> 3) as usize + 1;
    let db = ctx.ks.db_mut(ctx.db);
    let (bytes, before) = db.stretch(&key, len, &ctx.clock).ok_or(WRONG_TYPE)?;
    let was_on = bits::get(bytes, offset);
    bits::set(bytes, offset, on);
    if before.is_none() {
        ctx.fx.event(ctx.db, key.bytes, class::NEW, "new");
    }
    if was_on != on || before.is_none_or(|before| before < len) {
        ctx.fx.changed(ctx.db, key.bytes, class::STRING, "setbit");
    }
    ctx.out.int(was_on as i64);
    Ok(())
}

/// GETBIT key offset
pub fn getbit(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let offset = check_offset(ctx.conf, parse_i64(args.at(2)).ok_or(BAD_OFFSET)?)?;
    let key = ctx.key(args.at(1));
    let on = with_text(ctx, &key, |_, text| bits::get(text, offset))?;
    ctx.out.int(on.unwrap_or(false) as i64);
    Ok(())
}

// ---- ranges

/// What a range counts in: bits, or else bytes.
fn counts_bits(args: Args<'_>, at: usize) -> Result<bool, ErrReply> {
    match args.get(at) {
        None => Ok(false),
        Some(_) if args.is(at, "byte") => Ok(false),
        Some(_) if args.is(at, "bit") => Ok(true),
        Some(_) => Err(SYNTAX),
    }
}

/// The bits from `start` to `end`, both included, of a text of `len` bytes. Negative ones count from
/// the end. All three are bits if `by_bit`, else bytes.
fn range(len: usize, start: i64, end: i64, by_bit: bool) -> Range<u64> {
    let total = if by_bit { len as i64 * 8 } else { len as i64 };
    let from_start = |n: i64| if n < 0 { n.saturating_add(total).max(0) } else { n };
    let (start, end) = (from_start(start), from_start(end).min(total - 1) + 1);
    if start >= end {
        return 0..0;
    }
    let scale = if by_bit { 1 } else { 8 };
    start as u64 * scale..end as u64 * scale
}

/// BITCOUNT key [start end [BYTE | BIT]]
pub fn bitcount(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    // without a key nothing else of the request is looked at
    let n = with_text(ctx, &key, |_, text| counted(text, args))?.transpose()?;
    ctx.out.int(n.unwrap_or(0) as i64);
    Ok(())
}

fn counted(text: &[u8], args: Args<'_>) -> Result<u64, ErrReply> {
    let bits = match args.len() {
        2 => 0..text.len() as u64 * 8,
        4 | 5 => {
            let start = parse_i64(args.at(2)).ok_or(NOT_INT)?;
            let end = parse_i64(args.at(3)).ok_or(NOT_INT)?;
            if start < 0 && end < 0 && start > end {
                return Ok(0);
            }
            range(text.len(), start, end, counts_bits(args, 4)?)
        }
        _ => return Err(SYNTAX),
    };
    Ok(bits::count(text, bits))
}

/// BITPOS key bit [start [end [BYTE | BIT]]]
pub fn bitpos(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let bit = match parse_i64(args.at(2)).ok_or(NOT_INT)? {
        bit @ (0 | 1) => bit == 1,
        _ => return Err(NO_BIT),
    };
    let key = ctx.key(args.at(1));
    let found = with_text(ctx, &key, |_, text| position(text, bit, args))?.transpose()?;
    // no key is zeros without end
    ctx.out.int(found.unwrap_or(if bit { -1 } else { 0 }));
    Ok(())
}

fn position(text: &[u8], bit: bool, args: Args<'_>) -> Result<i64, ErrReply> {
    if args.len() > 6 {
        return Err(SYNTAX);
    }
    let start = args.get(3).map_or(Ok(0), |start| parse_i64(start).ok_or(NOT_INT))?;
    let by_bit = counts_bits(args, 5)?;
    let end = args.get(4).map_or(Ok(-1), |end| parse_i64(end).ok_or(NOT_INT))?;
    let bits = range(text.len(), start, end, by_bit);
    // zeros follow the text, unless the range has an end
    let beyond = !bit && args.len() < 5 && !bits.is_empty();
    let beyond = if beyond { bits.end as i64 } else { -1 };
    Ok(bits::find(text, bits, bit).map_or(beyond, |at| at as i64))
}

// ---- BITOP

/// BITOP <AND | OR | XOR | NOT> destination key ...
pub fn bitop(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let op = match args.at(1) {
        word if word.eq_ignore_ascii_case(b"and") => Some(Op::And),
        word if word.eq_ignore_ascii_case(b"or") => Some(Op::Or),
        word if word.eq_ignore_ascii_case(b"xor") => Some(Op::Xor),
        word if word.eq_ignore_ascii_case(b"not") => None,
        _ => return Err(SYNTAX),
    };
    if op.is_none() && args.len() != 4 {
        return Err(NOT_OF_ONE);
    }
    let mut acc = Vec::new();
    for (n, word) in args.from(3).iter().enumerate() {
        let source = ctx.key(word);
        let read = with_text(ctx, &source, |_, text| match op {
            Some(op) if n > 0 => bits::combine(op, &mut acc, text),
            Some(_) => acc.extend_from_slice(text),
            None => acc.extend(text.iter().map(|byte| !byte)),
        })?;
        if let (None, Some(op)) = (read, op) {
            bits::combine(op, &mut acc, b"");
        }
    }
    let (len, target) = (acc.len(), ctx.key(args.at(2)));
    if len > 0 {
        store_bytes(ctx, &target, acc);
        ctx.fx.changed(ctx.db, target.bytes, class::STRING, "set");
    } else if ctx.ks.db_mut(ctx.db).delete(&target, ctx.conf.lazyfree_lazy_server_del, &ctx.clock) {
        ctx.fx.changed(ctx.db, target.bytes, class::GENERIC, "del");
    }
    ctx.out.int(len as i64);
    Ok(())
}
