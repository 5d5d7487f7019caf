//! Error replies of commands, with Redis's exact texts.

use crate::resp::Args;
use std::borrow::Cow;

/// An error reply: its text with the code, without `-`. Bytes, since it may quote what a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrReply(Cow<'static, [u8]>);

/// What a handler returns: the reply is written, or this error is to be.
pub type Done = Result<(), ErrReply>;

impl ErrReply {
    pub const fn new(text: &'static str) -> ErrReply {
        ErrReply(Cow::Borrowed(text.as_bytes()))
    }

    /// An error that quotes bytes as they came.
    pub fn quoting(text: Vec<u8>) -> ErrReply {
        ErrReply(Cow::Owned(text))
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn owned(text: String) -> ErrReply {
        ErrReply(Cow::Owned(text.into_bytes()))
    }
}

pub const SAVING: ErrReply = ErrReply::new("ERR Background save already in progress");
/// What Redis says when there is more in its log.
pub const FAILED: ErrReply = ErrReply::new("ERR");
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

/// What Redis says to a subcommand with arguments that fit none of its forms. `args` as sent.
pub fn subcommand_syntax(args: Args<'_>) -> ErrReply {
    let text = |arg: &[u8]| String::from_utf8_lossy(&arg[..arg.len().min(128)]).into_owned();
    let (name, sub) = (text(args.at(0)).to_uppercase(), text(args.at(1)));
    ErrReply::owned(format!(
        "ERR unknown subcommand or wrong number of arguments for '{sub}'. Try {name} HELP."
    ))
}

/// `ERR invalid expire time in 'name' command`.
pub fn invalid_expire(name: &str) -> ErrReply {
    ErrReply::owned(format!("ERR invalid expire time in '{name}' command"))
}

/// What Redis says to an unknown subcommand; `sub` as the client wrote it.
pub fn unknown_subcommand(sub: &[u8], parent: &str) -> ErrReply {
    let hint = format!("'. Try {} HELP.", parent.to_uppercase());
    ErrReply::quoting([b"ERR unknown subcommand '", &sub[..sub.len().min(128)], hint.as_bytes()].concat())
}
