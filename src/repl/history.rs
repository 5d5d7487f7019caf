//! Which stream a node's data comes from, how far it is, and who may go on from there.

use super::Backlog;
use crate::util::rng::Rng;
use std::fmt;

/// The name of a stream: 40 characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Id([u8; Id::LEN]);

impl Id {
    pub const LEN: usize = 40;

    pub fn random(rng: &mut Rng) -> Id {
        let mut id = [0; Id::LEN];
        id.iter_mut().for_each(|c| *c = b"0123456789abcdef"[rng.below(16) as usize]);
        Id(id)
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Id> {
        bytes.try_into().ok().map(Id)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn is(&self, asked: &[u8]) -> bool {
        self.0.eq_ignore_ascii_case(asked)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A stream, and the one that it goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub id: Id,
    /// Bytes of the stream that the data has.
    pub offset: u64,
    /// An earlier name, and up to which offset the stream has it.
    pub second: Option<(Id, u64)>,
}

/// Why a replica can't go on from where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not ask for it.
    Unasked,
    /// It knows another stream.
    Stranger,
    /// It has more of the earlier stream than became part of this one.
    Branched { up_to: u64 },
    /// What it lacks is gone; or it has more than there is.
    Lacking { ahead: bool },
}

impl History {
    pub fn new(id: Id) -> History {
        History { id, offset: 0, second: None }
    }

    /// From here on nobody can go on from what was before: not all changes were in the stream.
    pub fn begin_anew(&mut self, id: Id) {
        (self.id, self.second) = (id, None);
    }

    /// A replica becomes a primary: the stream gets another name, for its former primary may go on, too.
    pub fn branch(&mut self, id: Id) {
        self.second = Some((self.id, self.offset));
        self.id = id;
    }

    /// The data was replaced by a primary's.
    pub fn adopt(&mut self, id: Id, offset: u64) {
        *self = History { id, offset, second: None };
    }

    /// The offset from which a replica goes on that asks for `id` and its first byte, counted from 1, as
    /// PSYNC does.
    pub fn resume(&self, backlog: Option<&Backlog>, id: &[u8], first: i64) -> Result<u64, Refusal> {
        if !self.id.is(id) {
            match self.second {
                Some((second, up_to)) if second.is(id) => {
                    if first > up_to as i64 + 1 {
                        return Err(Refusal::Branched { up_to });
                    }
                }
                _ if id.starts_with(b"?") => return Err(Refusal::Unasked),
                _ => return Err(Refusal::Stranger),
            }
        }
        let offset = u64::try_from(first).ok().and_then(|first| first.checked_sub(1));
        let reached = |offset: &u64| backlog.is_some_and(|backlog| backlog.reaches(*offset));
        offset.filter(reached).ok_or(Refusal::Lacking { ahead: first > self.offset as i64 })
    }
}
