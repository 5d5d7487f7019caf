//! Values that have left the store: for RENAME, MOVE, COPY and STORE, and for freeing elsewhere.

use super::db::{SlotTable, Tables};
use super::entry::{Entry, Payload};
use super::strings;
use crate::limits::INLINE_VALUE;
use crate::value::Object;

/// A value without its key.
#[derive(Debug)]
pub struct Owned {
    pub value: OwnedValue,
    /// Unix time in milliseconds.
    pub expire_at: Option<u64>,
    /// The 24-bit access field; `None` is a value that was never stored.
    pub lru: Option<u32>,
    /// A string that was written to in place, which OBJECT ENCODING calls raw.
    pub raw: bool,
}

#[derive(Debug)]
pub enum OwnedValue {
    Int(i64),
    Bytes(Box<[u8]>),
    Object(Box<Object>),
}

impl Owned {
    /// A string, stored as an integer where its text is one.
    pub fn string(bytes: &[u8]) -> Owned {
        Owned::text(bytes.to_vec())
    }

    fn text(bytes: Vec<u8>) -> Owned {
        let value = match strings::canonical_int(&bytes) {
            Some(n) => OwnedValue::Int(n),
            None => OwnedValue::Bytes(bytes.into_boxed_slice()),
        };
        Owned { value, expire_at: None, lru: None, raw: false }
    }

    /// A value of any type, strings too.
    pub fn any(object: Object) -> Owned {
        match object {
            Object::Str(bytes) => Owned::text(bytes.into()),
            object => Owned::object(object),
        }
    }

    pub fn object(object: Object) -> Owned {
        Owned { value: OwnedValue::Object(Box::new(object)), expire_at: None, lru: None, raw: false }
    }

    /// Whether freeing this is worth another thread.
    pub(super) fn is_big(&self) -> bool {
        match &self.value {
            OwnedValue::Object(object) => is_big(object),
            _ => false,
        }
    }

    pub(super) fn from_entry(mut entry: Entry) -> Owned {
        use super::entry::View;
        let (expire_at, lru, raw) = (entry.expire_at(), Some(entry.lru()), entry.is_raw());
        let object = entry.take_object();
        let value = match (object, entry.view()) {
            (Some(object), _) => OwnedValue::Object(object),
            (None, View::Int(n)) => OwnedValue::Int(n),
            (None, View::Bytes(bytes)) => OwnedValue::Bytes(bytes.into()),
            (None, View::Object(_)) => unreachable!("the object was taken out"),
        };
        Owned { value, expire_at, lru, raw }
    }
}

impl OwnedValue {
    /// What an entry is made of.
    pub(super) fn into_payload<R>(self, f: impl FnOnce(Payload) -> R) -> R {
        match self {
            OwnedValue::Int(n) => f(Payload::Int(n)),
            OwnedValue::Bytes(b) if b.len() <= INLINE_VALUE => f(Payload::Bytes(&b)),
            OwnedValue::Bytes(b) => f(Payload::Object(Box::new(Object::Str(b.into_vec().into())))),
            OwnedValue::Object(object) => f(Payload::Object(object)),
        }
    }
}

/// Elements above which freeing is worth another thread (Redis's `LAZYFREE_THRESHOLD`).
const BIG_EFFORT: usize = 64;
const BIG_BYTES: usize = 64 * 1024;

pub(super) fn is_big(object: &Object) -> bool {
    match object {
        Object::Str(bytes) => bytes.heap() > BIG_BYTES,
        _ => object.free_effort() > BIG_EFFORT,
    }
}

/// Something big to drop, wherever that hurts nobody.
#[must_use]
pub enum Garbage {
    Object(Box<Object>),
    Slot(SlotTable),
    Database(Tables),
}

impl Garbage {
    /// Values in it, as Redis counts them: a database is its keys, a collection is one.
    pub fn objects(&self) -> usize {
        match self {
            Garbage::Object(_) => 1,
            Garbage::Slot(table) => table.len(),
            Garbage::Database(tables) => tables.keys,
        }
    }
}
