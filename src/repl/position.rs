//! Where data stand in their stream, as RDB files tell it: so that a server goes on from there when it starts.

use super::Id;
use crate::util::num::parse_i64;

/// The names of the facts, redis-server's.
const DB: &str = "repl-stream-db";
const ID: &str = "repl-id";
const OFFSET: &str = "repl-offset";

/// A place in a stream, and the database that is selected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub id: Id,
    pub offset: u64,
    pub db: usize,
}

impl Position {
    /// As a file has it.
    pub fn facts(&self) -> [(&'static str, String); 3] {
        [(DB, self.db.to_string()), (ID, self.id.to_string()), (OFFSET, self.offset.to_string())]
    }
}

/// A position that is read, fact by fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    id: Option<Id>,
    offset: Option<u64>,
    db: Option<usize>,
}

impl Told {
    /// One of the file's facts, which may be about something else.
    pub fn note(&mut self, name: &[u8], value: &[u8]) {
        let number = || parse_i64(value).and_then(|n| u64::try_from(n).ok());
        if name == ID.as_bytes() {
            self.id = Id::from_bytes(value);
        } else if name == OFFSET.as_bytes() {
            self.offset = number();
        } else if name == DB.as_bytes() {
            self.db = number().map(|db| db as usize);
        }
    }

    /// The position, if all of it was told.
    pub fn position(&self) -> Option<Position> {
        Some(Position { id: self.id?, offset: self.offset?, db: self.db? })
    }

    /// The database, if it was told.
    pub fn db(&self) -> Option<usize> {
        self.db
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_tells_is_read_back() {
        let id = Id::from_bytes(&[b'a'; Id::LEN]).expect("an id");
        let position = Position { id, offset: 77, db: 3 };
        let mut told = Told::default();
        for (name, value) in position.facts() {
            assert_eq!(told.position(), None);
            told.note(name.as_bytes(), value.as_bytes());
        }
        assert_eq!(told.position(), Some(position));
        told.note(b"ctime", b"5");
        assert_eq!(told.position(), Some(position));
        // as old servers wrote it when they knew no database
        told.note(b"repl-stream-db", b"-1");
        assert_eq!((told.position(), told.db()), (None, None));
        for (name, value) in [("repl-offset", "x"), ("repl-id", "short")] {
            let mut told = told;
            told.note(b"repl-stream-db", b"0");
            assert!(told.position().is_some());
            told.note(name.as_bytes(), value.as_bytes());
            assert_eq!(told.position(), None, "{name}");
        }
    }
}
