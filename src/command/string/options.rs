//! What may follow the value of SET and the key of GETEX.

use crate::command::error::{ErrReply, NOT_INT, SYNTAX, invalid_expire};
use crate::resp::Args;
use crate::util::num::parse_i64;

/// Which command is being read: they don't know the same words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    Set,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Missing,
    Exists,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

/// An expiry as it was written.
#[derive(Clone, Copy)]
pub(super) struct Expires<'a> {
    pub unit: Unit,
    /// Counted from now, not from 1970.
    pub relative: bool,
    pub text: &'a [u8],
}

#[derive(Default)]
pub(super) struct Options<'a> {
    pub condition: Option<Condition>,
    pub get: bool,
    pub keep_ttl: bool,
    pub persist: bool,
    pub expires: Option<Expires<'a>>,
}

impl<'a> Options<'a> {
    /// Reads the options from argument `from` on. The numbers in them aren't looked at: GETEX
    /// does that only when there is a value.
    pub fn parse(args: Args<'a>, from: usize, kind: Kind) -> Result<Options<'a>, ErrReply> {
        let mut o = Options::default();
        let mut i = from;
        while i < args.len() {
            let set = kind == Kind::Set;
            if set && args.is(i, "nx") {
                o.only_if(Condition::Missing)?;
            } else if set && args.is(i, "xx") {
                o.only_if(Condition::Exists)?;
            } else if set && args.is(i, "get") {
                o.get = true;
            } else if set && args.is(i, "keepttl") && o.expires.is_none() {
                o.keep_ttl = true;
            } else if !set && args.is(i, "persist") && o.expires.is_none() {
                o.persist = true;
            } else {
                o.expires_at(args.at(i), args.get(i + 1))?;
                i += 1;
            }
            i += 1;
        }
        Ok(o)
    }

    fn only_if(&mut self, condition: Condition) -> Result<(), ErrReply> {
        if self.condition.is_some_and(|old| old != condition) {
            return Err(SYNTAX);
        }
        self.condition = Some(condition);
        Ok(())
    }

    /// EX, PX, EXAT or PXAT. The same one twice is allowed; the last one counts.
    fn expires_at(&mut self, word: &[u8], text: Option<&'a [u8]>) -> Result<(), ErrReply> {
        const WORDS: [(&[u8], Unit, bool); 4] = [
            (b"ex", Unit::Seconds, true),
            (b"px", Unit::Milliseconds, true),
            (b"exat", Unit::Seconds, false),
            (b"pxat", Unit::Milliseconds, false),
        ];
        let known = WORDS.iter().find(|(name, ..)| word.eq_ignore_ascii_case(name));
        let (Some(&(_, unit, relative)), Some(text)) = (known, text) else { return Err(SYNTAX) };
        let another = self.expires.is_some_and(|old| (old.unit, old.relative) != (unit, relative));
        if another || self.keep_ttl || self.persist {
            return Err(SYNTAX);
        }
        self.expires = Some(Expires { unit, relative, text });
        Ok(())
    }
}

/// The moment that `expires` means, in unix milliseconds. Only positive numbers that don't
/// overflow; `name` is the command's, for the error.
pub(super) fn expire_at(expires: &Expires<'_>, now_ms: u64, name: &str) -> Result<u64, ErrReply> {
    let n = parse_i64(expires.text).ok_or(NOT_INT)?;
    let scale = if expires.unit == Unit::Seconds { 1000 } else { 1 };
    let base = if expires.relative { now_ms as i64 } else { 0 };
    let at = Some(n).filter(|n| *n > 0).and_then(|n| n.checked_mul(scale)?.checked_add(base));
    at.map(|at| at as u64).ok_or_else(|| invalid_expire(name))
}
