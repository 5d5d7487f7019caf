//! Ids as clients write them.

use crate::command::error::ErrReply;
use crate::util::num::{parse_u64_loose, until_nul};
use crate::value::stream::Id;

const INVALID: ErrReply = ErrReply::new("ERR Invalid stream ID specified as stream command argument");
const BAD_START: ErrReply = ErrReply::new("ERR invalid start ID for the interval");
const BAD_END: ErrReply = ErrReply::new("ERR invalid end ID for the interval");

/// Longest text that Redis looks at.
const LONGEST: usize = 127;

/// The text as C has it, in the halves that a dash divides.
fn halves(text: &[u8]) -> Result<(&[u8], Option<&[u8]>), ErrReply> {
    if text.len() > LONGEST {
        return Err(INVALID);
    }
    let text = until_nul(text);
    Ok(match text.iter().position(|byte| *byte == b'-') {
        Some(dash) => (&text[..dash], Some(&text[dash + 1..])),
        None => (text, None),
    })
}

fn number(text: &[u8]) -> Result<u64, ErrReply> {
    parse_u64_loose(text).ok_or(INVALID)
}

/// `ms-seq`, or `ms` with the number that it lacks.
pub fn parse_id(text: &[u8], missing: u64) -> Result<Id, ErrReply> {
    let (ms, seq) = halves(text)?;
    Ok(Id { ms: number(ms)?, seq: seq.map_or(Ok(missing), number)? })
}

/// As [`parse_id`], or `-` or `+` for the lowest and the highest one.
pub fn parse_any_id(text: &[u8], missing: u64) -> Result<Id, ErrReply> {
    match until_nul(text) {
        _ if text.len() > LONGEST => Err(INVALID),
        b"-" => Ok(Id::ZERO),
        b"+" => Ok(Id::MAX),
        _ => parse_id(text, missing),
    }
}

/// The milliseconds of `ms-*`.
pub fn parse_open_id(text: &[u8]) -> Option<Result<u64, ErrReply>> {
    match halves(text) {
        Ok((ms, Some(b"*"))) => Some(number(ms)),
        _ => None,
    }
}

/// Where an interval begins: an id, or with `(` before it the one that follows.
pub fn parse_start(text: &[u8]) -> Result<Id, ErrReply> {
    match text {
        [b'(', text @ ..] if !text.is_empty() => parse_id(text, 0)?.next().ok_or(BAD_START),
        _ => parse_any_id(text, 0),
    }
}

fn parse_end(text: &[u8]) -> Result<Id, ErrReply> {
    match text {
        [b'(', text @ ..] if !text.is_empty() => parse_id(text, u64::MAX)?.prev().ok_or(BAD_END),
        _ => parse_any_id(text, u64::MAX),
    }
}

/// Ids from `start` to `end`, both included.
pub struct Interval {
    pub start: Id,
    pub end: Id,
}

impl Interval {
    pub fn parse(start: &[u8], end: &[u8]) -> Result<Interval, ErrReply> {
        Ok(Interval { start: parse_start(start)?, end: parse_end(end)? })
    }
}
