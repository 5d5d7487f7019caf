//! Commands that wait for a key to have something for them.

use super::ctx::{Aside, Ctx};
use super::error::ErrReply;
use crate::util::num::{LongDouble, parse_f64};

const NOT_A_FLOAT: ErrReply = ErrReply::new("ERR timeout is not a float or out of range");
const NEGATIVE: ErrReply = ErrReply::new("ERR timeout is negative");

/// What a command says that may not wait, since it is one of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    Array,
    Null,
}

/// Until when to wait, in unix milliseconds, of a text in seconds; 0: forever.
pub fn parse_timeout(ctx: &Ctx<'_>, text: &[u8]) -> Result<u64, ErrReply> {
    let Some(seconds) = parse_f64(text) else {
        // what only a long double holds is beyond all integers, too
        return Err(if LongDouble::parse(text).is_some() { NEGATIVE } else { NOT_A_FLOAT });
    };
    let ms = (seconds * 1000.0).ceil();
    // what is beyond all integers is negative to Redis
    if ms < 0.0 || ms >= i64::MAX as f64 {
        return Err(NEGATIVE);
    }
    Ok(if ms == 0.0 { 0 } else { ctx.now().saturating_add(ms as u64) })
}

/// Lets the client wait. A command that has written nothing and asks for this is tried again whenever one
/// of its keys has changed; what it waits for are the keys that it reads ([`key::ACCESS`]).
///
/// [`key::ACCESS`]: super::spec::key::ACCESS
pub fn wait(ctx: &mut Ctx<'_>, until_ms: u64, nothing: Nothing) {
    ctx.fx.aside = Some(Aside::Wait { until_ms, nothing });
}
