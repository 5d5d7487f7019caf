//! Commands that wait for a key to have something for them, and LMPOP and ZMPOP, which are the same without
//! waiting.

use super::ctx::{Aside, Ctx};
use super::error::{Done, ErrReply, SYNTAX};
use crate::resp::Args;
use crate::resp::args::OwnedArgs;
use crate::util::num::{LongDouble, parse_i64};

const NOT_A_FLOAT: ErrReply = ErrReply::new("ERR timeout is not a float or out of range");
const NEGATIVE: ErrReply = ErrReply::new("ERR timeout is negative");
const BAD_NUMKEYS: ErrReply = ErrReply::new("ERR numkeys should be greater than 0");
const BAD_COUNT: ErrReply = ErrReply::new("ERR count should be greater than 0");

/// What a command says that may not wait, since it is one of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    Array,
    Null,
}

/// Until when to wait, in unix milliseconds, of a text in seconds; 0: forever.
pub fn parse_timeout(ctx: &Ctx<'_>, text: &[u8]) -> Result<u64, ErrReply> {
    let seconds = LongDouble::parse(text).ok_or(NOT_A_FLOAT)?;
    // what is beyond all integers is negative to Redis; what lies between -1 ms and 0 is no time at all
    let ms = seconds.times(1000).ceil().and_then(|ms| u64::try_from(ms).ok()).ok_or(NEGATIVE)?;
    Ok(if ms == 0 { 0 } else { ctx.now().saturating_add(ms) })
}

/// Lets the client wait. A command that has written nothing and asks for this is tried again whenever one
/// of its keys has changed; what it waits for are the keys that it reads ([`key::ACCESS`]).
///
/// [`key::ACCESS`]: super::spec::key::ACCESS
pub fn wait(ctx: &mut Ctx<'_>, until_ms: u64, nothing: Nothing) {
    ctx.fx.again = None;
    ctx.fx.aside = Some(Aside::Wait { until_ms, nothing });
}

/// As [`wait`]; what is tried again is this.
pub fn wait_with(ctx: &mut Ctx<'_>, until_ms: u64, nothing: Nothing, again: OwnedArgs) {
    wait(ctx, until_ms, nothing);
    ctx.fx.again = Some(again);
}

/// From which side of a collection elements are popped.
pub trait Side: Copy {
    fn parse(word: &[u8]) -> Result<Self, ErrReply>;

    /// Pops up to `count` elements of a key's collection, and replies with the key and them. False, with
    /// nothing said, when there is none.
    fn pop_many(self, ctx: &mut Ctx<'_>, word: &[u8], count: usize) -> Result<bool, ErrReply>;
}

/// LMPOP and ZMPOP: numkeys key ... SIDE [COUNT n]
pub fn mpop<S: Side>(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !Many::<S>::parse(args)?.pop(ctx)? {
        ctx.out.null_array();
    }
    Ok(())
}

/// BLMPOP and BZMPOP: timeout numkeys key ... SIDE [COUNT n]
pub fn bmpop<S: Side>(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let many = Many::<S>::parse(args.from(1))?;
    let until = parse_timeout(ctx, args.at(1))?;
    if !many.pop(ctx)? {
        wait(ctx, until, Nothing::Array);
    }
    Ok(())
}

/// Up to `count` elements from that side of the first of some collections that has any.
struct Many<'a, S> {
    keys: Args<'a>,
    side: S,
    count: usize,
}

impl<'a, S: Side> Many<'a, S> {
    fn parse(args: Args<'a>) -> Result<Many<'a, S>, ErrReply> {
        let positive = |text| parse_i64(text).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        let keys = positive(args.at(1)).ok_or(BAD_NUMKEYS)?;
        let end_at = keys.saturating_add(2);
        let side = S::parse(args.get(end_at).ok_or(SYNTAX)?)?;
        let mut count = None;
        for i in (end_at + 1..args.len()).step_by(2) {
            if count.is_some() || !args.is(i, "count") || i + 1 == args.len() {
                return Err(SYNTAX);
            }
            count = Some(positive(args.at(i + 1)).ok_or(BAD_COUNT)?);
        }
        Ok(Many { keys: args.slice(2, end_at), side, count: count.unwrap_or(1) })
    }

    fn pop(&self, ctx: &mut Ctx<'_>) -> Result<bool, ErrReply> {
        for word in self.keys.iter() {
            if self.side.pop_many(ctx, word, self.count)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use crate::command::testing::World;

    #[test]
    fn timeouts_are_long_doubles() {
        let mut w = World::new();
        w.run("RPUSH k a b c d e f g h");
        for (timeout, waits) in [
            ("0", true),
            ("-0.001", true),
            ("-0.0005", true),
            ("-0.0010000001", false),
            ("-0.5", false),
            ("9223372036854775", true),
            ("9223372036854776", false),
            ("inf", false),
        ] {
            let reply = w.run(&format!("BLPOP k {timeout}"));
            assert_eq!(reply.starts_with('*'), waits, "{timeout}: {reply}");
        }
    }
}
