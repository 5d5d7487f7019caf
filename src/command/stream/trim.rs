//! What XADD and XTRIM say of how much is to stay.

use super::id::{parse_id, parse_open_id};
use crate::command::ctx::Ctx;
use crate::command::error::{ErrReply, NOT_INT, SYNTAX};
use crate::limits::{STREAM_TRIM, STREAM_TRIM_MAX};
use crate::resp::Args;
use crate::store::Expiry;
use crate::util::num::{parse_i64, until_nul};
use crate::value::Stream;
use crate::value::stream::{Id, Keep};

const BOTH: ErrReply =
    ErrReply::new("ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
const NEGATIVE_MAXLEN: ErrReply = ErrReply::new("ERR The MAXLEN argument must be >= 0.");
const NEGATIVE_LIMIT: ErrReply = ErrReply::new("ERR The LIMIT argument must be >= 0.");
const LIMIT_ALONE: ErrReply =
    ErrReply::new("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
const NOT_ROUGHLY: ErrReply =
    ErrReply::new("ERR syntax error, LIMIT cannot be used without the special ~ option");
const NO_STRATEGY: ErrReply =
    ErrReply::new("ERR syntax error, XTRIM must be called with a trimming strategy");

/// Nodes that a rough trim without a limit of its own takes at most.
const NODES: u64 = 100;

/// The id that an entry is to have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Any,
    /// Any with these milliseconds.
    AnyOf(u64),
    Exactly(Id),
}

pub struct Trim {
    keep: Option<Keep>,
    /// Whole nodes only.
    roughly: bool,
    most: Option<u64>,
    /// Where the threshold stands.
    threshold: usize,
    /// NOMKSTREAM
    pub only_existing: bool,
    pub wanted: Wanted,
    /// The argument behind the options: the id.
    pub end: usize,
}

impl Trim {
    /// Reads the options from the third argument on; with an id behind them for XADD.
    pub fn parse(ctx: &Ctx<'_>, args: Args<'_>, adds: bool) -> Result<Trim, ErrReply> {
        let mut o = Trim {
            keep: None,
            roughly: false,
            most: None,
            threshold: 0,
            only_existing: false,
            wanted: Wanted::Any,
            end: 2,
        };
        let mut limit = None;
        while o.end < args.len() {
            let (at, more) = (o.end, args.len() - 1 - o.end);
            if adds && until_nul(args.at(at)) == b"*" {
                break;
            } else if more > 0 && (args.is(at, "maxlen") || args.is(at, "minid")) {
                o.strategy(args)?;
            } else if more > 0 && args.is(at, "limit") {
                let n = parse_i64(args.at(at + 1)).ok_or(NOT_INT)?;
                limit = Some(u64::try_from(n).map_err(|_| NEGATIVE_LIMIT)?);
                o.end += 1;
            } else if adds && args.is(at, "nomkstream") {
                o.only_existing = true;
            } else if adds {
                o.wanted = match parse_open_id(args.at(at)) {
                    Some(ms) => Wanted::AnyOf(ms?),
                    None => Wanted::Exactly(parse_id(args.at(at), 0)?),
                };
                break;
            } else {
                return Err(SYNTAX);
            }
            o.end += 1;
        }
        match o.keep {
            None if limit.is_some_and(|limit| limit > 0) => return Err(LIMIT_ALONE),
            None if !adds => return Err(NO_STRATEGY),
            _ => {}
        }
        if ctx.clock.expiry == Expiry::Ignore {
            // a primary or a log says what went, and leaves a limit behind it
            return Ok(o);
        }
        if limit.is_some() && !o.roughly {
            return Err(NOT_ROUGHLY);
        }
        if o.roughly {
            o.most = Some(limit.unwrap_or_else(|| default_limit(ctx.conf.stream_node_max_entries)));
            o.most = o.most.filter(|most| *most > 0);
        }
        Ok(o)
    }

    /// MAXLEN or MINID stands at [`Trim::end`].
    fn strategy(&mut self, args: Args<'_>) -> Result<(), ErrReply> {
        if self.keep.is_some() {
            return Err(BOTH);
        }
        let by_length = args.is(self.end, "maxlen");
        let sign = if args.len() - 1 - self.end >= 2 { until_nul(args.at(self.end + 1)) } else { b"" };
        self.roughly = sign == b"~";
        self.end += if matches!(sign, b"~" | b"=") { 2 } else { 1 };
        self.threshold = self.end;
        let text = args.at(self.end);
        self.keep = Some(match by_length {
            true => {
                let n = parse_i64(text).ok_or(NOT_INT)?;
                Keep::Newest(u64::try_from(n).map_err(|_| NEGATIVE_MAXLEN)?)
            }
            false => Keep::From(parse_id(text, 0)?),
        });
        Ok(())
    }

    /// Trims; how many entries went.
    pub fn run(&self, stream: &mut Stream) -> u64 {
        self.keep.map_or(0, |keep| stream.log.trim(keep, self.roughly, self.most))
    }

    /// After a rough trim: the threshold with which an exact one leaves as much.
    pub fn threshold_left(&self, stream: &Stream) -> Option<Keep> {
        Some(match self.keep.filter(|_| self.roughly)? {
            Keep::Newest(_) => Keep::Newest(stream.log.len()),
            Keep::From(_) => Keep::From(stream.log.oldest_place().unwrap_or(Id::MAX)),
        })
    }

    /// The command as an exact one with this threshold, if any.
    pub fn told(&self, args: Args<'_>, left: Option<Keep>) -> Vec<Vec<u8>> {
        let mut words: Vec<Vec<u8>> = args.iter().map(<[u8]>::to_vec).collect();
        if let Some(left) = left {
            words[self.threshold - 1] = b"=".to_vec();
            words[self.threshold] = match left {
                Keep::Newest(n) => n.to_string().into_bytes(),
                Keep::From(id) => id.to_string().into_bytes(),
            };
        }
        words
    }
}

fn default_limit(entries_of_node: u64) -> u64 {
    match NODES.wrapping_mul(entries_of_node) as i64 {
        ..=0 => STREAM_TRIM,
        n => (n as u64).min(STREAM_TRIM_MAX),
    }
}
