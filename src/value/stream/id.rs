//! Names of a stream's entries: a time in milliseconds and a number within it.

/// An entry's id. Ids are ordered by time, then number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Unix time in milliseconds, mostly.
    pub ms: u64,
    pub seq: u64,
}

impl Id {
    /// No entry has this one.
    pub const ZERO: Id = Id { ms: 0, seq: 0 };
    pub const MAX: Id = Id { ms: u64::MAX, seq: u64::MAX };

    pub const fn new(ms: u64, seq: u64) -> Id {
        Id { ms, seq }
    }

    /// The id that comes right after this one, if there is any.
    pub fn next(self) -> Option<Id> {
        Id::of_number(self.number().checked_add(1)?)
    }

    /// The id that comes right before this one, if there is any.
    pub fn prev(self) -> Option<Id> {
        Id::of_number(self.number().checked_sub(1)?)
    }

    fn number(self) -> u128 {
        u128::from(self.ms) << 64 | u128::from(self.seq)
    }

    fn of_number(n: u128) -> Option<Id> {
        Some(Id { ms: (n >> 64) as u64, seq: n as u64 })
    }

    /// 128 bits, big-endian: as payloads carry it, and as Redis's radix tree sorts it.
    pub fn to_bytes(self) -> [u8; 16] {
        self.number().to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Id {
        let n = u128::from_be_bytes(bytes);
        Id { ms: (n >> 64) as u64, seq: n as u64 }
    }

    /// Calls `f` with `ms-seq`.
    pub fn with_text<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        let (mut text, mut len) = ([0; 41], 0);
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        for part in [ms.format(self.ms), "-", seq.format(self.seq)] {
            text[len..len + part.len()].copy_from_slice(part.as_bytes());
            len += part.len();
        }
        f(&text[..len])
    }

    /// `self` as so much more than `base`, as the entries of a node are written.
    pub(super) fn minus(self, base: Id) -> (i64, i64) {
        (self.ms.wrapping_sub(base.ms) as i64, self.seq.wrapping_sub(base.seq) as i64)
    }

    pub(super) fn plus(self, (ms, seq): (i64, i64)) -> Id {
        Id { ms: self.ms.wrapping_add(ms as u64), seq: self.seq.wrapping_add(seq as u64) }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}
