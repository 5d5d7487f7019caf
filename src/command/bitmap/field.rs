//! BITFIELD: whole numbers of any width within a string.

use smallvec::SmallVec;

use super::{bits, check_offset};
use crate::command::ctx::{Ctx, class};
use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX, WRONG_TYPE};
use crate::command::text::with_text;
use crate::config::Config;
use crate::resp::Args;
use crate::util::num::{parse_i64, until_nul};

const BAD_KIND: ErrReply = ErrReply::new(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);
const BAD_OVERFLOW: ErrReply = ErrReply::new("ERR Invalid OVERFLOW type specified");
const ONLY_GET: ErrReply = ErrReply::new("ERR BITFIELD_RO only supports the GET subcommand");

/// What a field holds.
#[derive(Clone, Copy)]
struct Kind {
    signed: bool,
    /// 1 to 64; 63 at most when unsigned, for replies are signed.
    bits: u32,
}

impl Kind {
    /// Reads `i16`, `u8` and the like.
    fn parse(word: &[u8]) -> Result<Kind, ErrReply> {
        let (signed, most, bits) = match until_nul(word) {
            [b'i', bits @ ..] => (true, 64, bits),
            [b'u', bits @ ..] => (false, 63, bits),
            _ => return Err(BAD_KIND),
        };
        let bits = parse_i64(bits).filter(|bits| (1..=most).contains(bits)).ok_or(BAD_KIND)?;
        Ok(Kind { signed, bits: bits as u32 })
    }

    /// The least and the greatest number.
    fn range(self) -> (i128, i128) {
        match self.signed {
            true => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        }
    }

    /// The number that the low bits of `raw` are.
    fn number(self, raw: u64) -> i64 {
        let unused = u64::BITS - self.bits;
        match self.signed {
            true => ((raw << unused) as i64) >> unused,
            false => ((raw << unused) >> unused) as i64,
        }
    }
}

/// What becomes of a number that is too large or too small.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Overflow {
    fn parse(word: &[u8]) -> Result<Overflow, ErrReply> {
        match word {
            word if word.eq_ignore_ascii_case(b"wrap") => Ok(Overflow::Wrap),
            word if word.eq_ignore_ascii_case(b"sat") => Ok(Overflow::Saturate),
            word if word.eq_ignore_ascii_case(b"fail") => Ok(Overflow::Fail),
            _ => Err(BAD_OVERFLOW),
        }
    }

    /// What is stored of `n`, if it is.
    fn fit(self, n: i128, kind: Kind) -> Option<i64> {
        let (min, max) = kind.range();
        match self {
            _ if (min..=max).contains(&n) => Some(n as i64),
            Overflow::Wrap => Some(kind.number(n as u64)),
            Overflow::Saturate => Some(n.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

#[derive(Clone, Copy)]
struct Step {
    kind: Kind,
    offset: u64,
    action: Action,
    overflow: Overflow,
}

type Steps = SmallVec<[Step; 4]>;

impl Step {
    /// An offset in bits, or behind `#` in fields of this kind.
    fn offset(conf: &Config, word: &[u8], kind: Kind) -> Result<u64, ErrReply> {
        let offset = match word {
            [b'#', fields @ ..] => parse_i64(fields).and_then(|n| n.checked_mul(kind.bits as i64)),
            _ => parse_i64(word),
        };
        // a text that is no number is as far away as one that is too large
        check_offset(conf, offset.unwrap_or(-1))
    }

    /// Where the string must at least end for this step.
    fn end(&self) -> u64 {
        match self.action {
            Action::Get => 0,
            _ => (self.offset + self.kind.bits as u64).div_ceil(8),
        }
    }

    fn read(&self, text: &[u8]) -> i64 {
        self.kind.number(bits::get_field(text, self.offset, self.kind.bits))
    }

    /// Whether a number is so far below the greatest one that Redis's difference of the two wraps around,
    /// and it takes it for too large.
    fn saturates_above(&self, n: i64) -> bool {
        let distance = self.kind.range().1 - n as i128;
        matches!(self.overflow, Overflow::Saturate) && self.kind.bits < 64 && distance > i64::MAX as i128
    }

    /// Writes the field. Its reply, if nothing was out of range, and whether it is another number now.
    fn write(&self, text: &mut [u8]) -> (Option<i64>, bool) {
        let old = self.read(text);
        let target = match self.action {
            Action::Get => return (Some(old), false),
            // a negative number is a very large one to an unsigned field
            Action::Set(n) if !self.kind.signed => n as u64 as i128,
            Action::Set(n) if self.saturates_above(n) => self.kind.range().1,
            Action::Set(n) => n as i128,
            Action::Add(n) => old as i128 + n as i128,
        };
        let Some(new) = self.overflow.fit(target, self.kind) else { return (None, false) };
        bits::set_field(text, self.offset, self.kind.bits, new as u64);
        let shown = if matches!(self.action, Action::Add(_)) { new } else { old };
        (Some(shown), new != old)
    }
}

/// All steps of a request, before any is taken.
fn parse(conf: &Config, args: Args<'_>) -> Result<Steps, ErrReply> {
    let mut steps = Steps::new();
    let mut overflow = Overflow::Wrap;
    let mut i = 2;
    while i < args.len() {
        let more = args.len() - i - 1;
        let words = match () {
            _ if args.is(i, "get") && more >= 2 => 2,
            _ if (args.is(i, "set") || args.is(i, "incrby")) && more >= 3 => 3,
            _ if args.is(i, "overflow") && more >= 1 => {
                overflow = Overflow::parse(args.at(i + 1))?;
                i += 2;
                continue;
            }
            _ => return Err(SYNTAX),
        };
        let kind = Kind::parse(args.at(i + 1))?;
        let offset = Step::offset(conf, args.at(i + 2), kind)?;
        let number = || parse_i64(args.at(i + 3)).ok_or(NOT_INT);
        let action = match words {
            2 => Action::Get,
            _ if args.is(i, "set") => Action::Set(number()?),
            _ => Action::Add(number()?),
        };
        steps.push(Step { kind, offset, action, overflow });
        i += 1 + words;
    }
    Ok(steps)
}

/// BITFIELD key [GET type offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET | INCRBY> type offset n] ...
pub fn bitfield(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let steps = parse(ctx.conf, args)?;
    match steps.iter().map(Step::end).max() {
        None | Some(0) => read(ctx, args, &steps),
        Some(end) => write(ctx, args, &steps, end as usize),
    }
}

/// BITFIELD_RO key [GET type offset] ...
pub fn bitfield_ro(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let steps = parse(ctx.conf, args)?;
    if steps.iter().any(|step| !matches!(step.action, Action::Get)) {
        return Err(ONLY_GET);
    }
    read(ctx, args, &steps)
}

fn read(ctx: &mut Ctx<'_>, args: Args<'_>, steps: &[Step]) -> Done {
    let key = ctx.key(args.at(1));
    ctx.out.array(steps.len());
    let found = with_text(ctx, &key, |out, text| steps.iter().for_each(|step| out.int(step.read(text))))?;
    if found.is_none() {
        steps.iter().for_each(|_| ctx.out.int(0));
    }
    Ok(())
}

fn write(ctx: &mut Ctx<'_>, args: Args<'_>, steps: &[Step], end: usize) -> Done {
    let key = ctx.key(args.at(1));
    let db = ctx.ks.db_mut(ctx.db);
    let (bytes, before) = db.stretch(&key, end, &ctx.clock).ok_or(WRONG_TYPE)?;
    let grown = before.is_none_or(|before| before < end);
    let mut changes = 0;
    ctx.out.array(steps.len());
    for step in steps {
        let (reply, changed) = step.write(bytes);
        let written = reply.is_some() && !matches!(step.action, Action::Get);
        changes += (changed || grown && written) as u64;
        match reply {
            Some(n) => ctx.out.int(n),
            None => ctx.out.null(),
        }
    }
    if before.is_none() {
        ctx.fx.event(ctx.db, key.bytes, class::NEW, "new");
    }
    match changes {
        0 if !grown => {}
        // every number was out of range, and still the string has become longer
        0 => ctx.fx.changed(ctx.db, key.bytes, class::SILENT, ""),
        n => ctx.fx.changed_by(n, ctx.db, key.bytes, class::STRING, "setbit"),
    }
    Ok(())
}
