//! Bytes to read from, and how the format writes lengths and strings in them.

use std::borrow::Cow;

use super::codes::*;
use super::error::{Error, Stop};
use super::lzf;
use crate::limits::RDB_STRING;
use crate::value::Elem;

/// Some bytes, and how many more may follow them.
pub struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    more: u64,
}

/// A length, or the code of an encoded string in its place.
pub(super) enum Len {
    Plain(u64),
    Encoded(u8),
}

/// A string as it stands there: a number, bytes in place, or bytes that were compressed.
pub enum Text<'a> {
    Int(i64),
    Bytes(Cow<'a, [u8]>),
}

impl Text<'_> {
    /// Calls `f` with the string.
    pub fn with<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Text::Int(n) => Elem::Int(*n).with_text(f),
            Text::Bytes(bytes) => f(bytes),
        }
    }

    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Text::Int(n) => Elem::Int(n).to_vec(),
            Text::Bytes(bytes) => bytes.into_owned(),
        }
    }
}

impl<'a> Input<'a> {
    /// Everything that there is.
    pub fn whole(bytes: &'a [u8]) -> Input<'a> {
        Input::part(bytes, 0)
    }

    /// The first of more bytes, of which at most `more` follow: `u64::MAX` if nobody knows.
    pub fn part(bytes: &'a [u8], more: u64) -> Input<'a> {
        Input { bytes, at: 0, more }
    }

    /// How many bytes were read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Bytes that may be left to read.
    pub fn left(&self) -> u64 {
        ((self.bytes.len() - self.at) as u64).saturating_add(self.more)
    }

    /// Reads with `f`, or nothing at all when there are not yet enough bytes for it.
    pub fn attempt<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        let from = self.at;
        let out = f(self);
        if matches!(out, Err(Stop::More(_))) {
            self.at = from;
        }
        out
    }

    pub fn take(&mut self, len: u64) -> Result<&'a [u8], Stop> {
        let here = (self.bytes.len() - self.at) as u64;
        if len > here {
            let missing = len - here;
            return Err(if missing <= self.more { Stop::More(missing) } else { Error::Short.into() });
        }
        let from = self.at;
        self.at += len as usize;
        Ok(&self.bytes[from..self.at])
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let bytes = self.take(N as u64)?;
        Ok(*bytes.first_chunk().expect("so many were taken"))
    }

    pub fn byte(&mut self) -> Result<u8, Stop> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn len_or_code(&mut self) -> Result<Len, Stop> {
        let first = self.byte()?;
        let low = first & 0x3F;
        Ok(match (first & 0xC0, first) {
            (LEN_ENCODED, _) => Len::Encoded(low),
            (LEN_6, _) => Len::Plain(low.into()),
            (LEN_14, _) => Len::Plain(u64::from(low) << 8 | u64::from(self.byte()?)),
            (_, LEN_32) => Len::Plain(u32::from_be_bytes(self.array()?).into()),
            (_, LEN_64) => Len::Plain(u64::from_be_bytes(self.array()?)),
            _ => return Err(Error::Corrupt("a length of no known form").into()),
        })
    }

    pub fn length(&mut self) -> Result<u64, Stop> {
        match self.len_or_code()? {
            Len::Plain(len) => Ok(len),
            Len::Encoded(_) => Err(Error::Corrupt("a string in the place of a length").into()),
        }
    }

    /// A number of things that take a byte or more each.
    pub fn count(&mut self) -> Result<u64, Stop> {
        let count = self.length()?;
        if count > self.left() {
            return Err(Error::Short.into());
        }
        Ok(count)
    }

    pub fn text(&mut self) -> Result<Text<'a>, Stop> {
        Ok(match self.len_or_code()? {
            Len::Plain(len) if len > RDB_STRING as u64 => return Err(too_long()),
            Len::Plain(len) => Text::Bytes(Cow::Borrowed(self.take(len)?)),
            Len::Encoded(ENC_I8) => Text::Int(i8::from_le_bytes(self.array()?).into()),
            Len::Encoded(ENC_I16) => Text::Int(i16::from_le_bytes(self.array()?).into()),
            Len::Encoded(ENC_I32) => Text::Int(i32::from_le_bytes(self.array()?).into()),
            Len::Encoded(ENC_LZF) => Text::Bytes(Cow::Owned(self.compressed()?)),
            Len::Encoded(_) => return Err(Error::Corrupt("a string of no known encoding").into()),
        })
    }

    /// The length of what it decompresses to is not believed beyond what its own length allows.
    fn compressed(&mut self) -> Result<Vec<u8>, Stop> {
        let (packed, len) = (self.length()?, self.length()?);
        if packed > RDB_STRING as u64 || len > RDB_STRING as u64 {
            return Err(too_long());
        }
        if len > packed * lzf::MAX_RATIO {
            return Err(Error::Corrupt("a compressed string longer than it can be").into());
        }
        let packed = self.take(packed)?;
        let text = lzf::decompress(packed, len as usize);
        text.ok_or(Error::Corrupt("a compressed string").into())
    }
}

fn too_long() -> Stop {
    Error::Corrupt("a string above the longest").into()
}
