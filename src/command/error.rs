//! Error replies of commands, with Redis's exact texts.

use std::borrow::Cow;

/// An error reply: its text with the code, without `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrReply(pub Cow<'static, str>);

/// What a handler returns: the reply is written, or this error is to be.
pub type Done = Result<(), ErrReply>;

impl ErrReply {
    pub const fn new(text: &'static str) -> ErrReply {
        ErrReply(Cow::Borrowed(text))
    }

    pub fn owned(text: String) -> ErrReply {
        ErrReply(Cow::Owned(text))
    }
}

pub const WRONG_TYPE: ErrReply =
    ErrReply::new("WRONGTYPE Operation against a key holding the wrong kind of value");
pub const SYNTAX: ErrReply = ErrReply::new("ERR syntax error");
pub const NOT_INT: ErrReply = ErrReply::new("ERR value is not an integer or out of range");
pub const NOT_FLOAT: ErrReply = ErrReply::new("ERR value is not a valid float");
pub const OUT_OF_RANGE: ErrReply = ErrReply::new("ERR value is out of range");
pub const NOT_POSITIVE: ErrReply = ErrReply::new("ERR value is out of range, must be positive");
pub const OVERFLOW: ErrReply = ErrReply::new("ERR increment or decrement would overflow");
pub const NO_KEY: ErrReply = ErrReply::new("ERR no such key");
pub const TOO_LONG: ErrReply = ErrReply::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
pub const INDEX_RANGE: ErrReply = ErrReply::new("ERR index out of range");
pub const MIN_MAX_FLOAT: ErrReply = ErrReply::new("ERR min or max is not a float");
pub const MIN_MAX_STRING: ErrReply = ErrReply::new("ERR min or max not valid string range item");

/// `ERR wrong number of arguments for 'name' command`.
pub fn arity(name: &str) -> ErrReply {
    ErrReply::owned(format!("ERR wrong number of arguments for '{name}' command"))
}

/// `ERR invalid expire time in 'name' command`.
pub fn invalid_expire(name: &str) -> ErrReply {
    ErrReply::owned(format!("ERR invalid expire time in '{name}' command"))
}

/// What Redis says to an unknown subcommand; `sub` as the client wrote it.
pub fn unknown_subcommand(sub: &[u8], parent: &str) -> ErrReply {
    let sub = String::from_utf8_lossy(&sub[..sub.len().min(128)]).into_owned();
    ErrReply::owned(format!("ERR unknown subcommand '{sub}'. Try {} HELP.", parent.to_uppercase()))
}
