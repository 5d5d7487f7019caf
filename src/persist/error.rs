//! What can be wrong with bytes that should be a value.

use std::fmt;

/// Why bytes were not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A payload of a newer version, or one whose checksum does not fit.
    Frame,
    /// A file whose checksum does not fit.
    Checksum,
    /// The bytes end too early.
    Short,
    /// The bytes break a rule of their format, which this says.
    Corrupt(&'static str),
    /// A collection without elements: no key may hold one. Files have them all the same.
    Empty,
    /// Something that there is no type for here; what, in words.
    Unsupported(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Frame => f.write_str("version or checksum are wrong"),
            Error::Checksum => f.write_str("wrong checksum"),
            Error::Short => f.write_str("unexpected end"),
            Error::Corrupt(what) => write!(f, "corrupt: {what}"),
            Error::Empty => f.write_str("an empty collection"),
            Error::Unsupported(what) => write!(f, "not supported: {what}"),
        }
    }
}

impl std::error::Error for Error {}

/// Why reading does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It does, once at least so many more bytes are there.
    More(u64),
    /// It never will.
    Broken(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Broken(error)
    }
}
