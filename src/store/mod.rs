//! The store: one keyspace a shard, one table a slot. It never replies.
//!
//! From the outside in: a [`Keyspace`] is one shard's data, `N` databases; a [`Db`] is one
//! database, a table for each of the 16384 slots; a `Table` is a linear hash table of cache-line
//! buckets; an `Entry` is one allocation with a key and, when it is short, its value.
//!
//! - A slot's table can be taken out and put into another keyspace by moving one pointer
//!   ([`Db::take_slot`], [`Db::put_slot`]); all of this is `Send`.
//! - Tables grow and shrink by one bucket at a time: no call moves more than 64 KB.
//! - Time comes in as a [`Clock`], randomness as a seed. A key past its time is removed by the
//!   call that meets it, unless the clock's [`Expiry`] says otherwise.
//! - Clients that watch a key, or wait for it, are kept with its slot, and go where that goes (`interest`).
//! - A point in time of a keyspace is taken without stopping it: [`snapshot`].
//! - Counters of [`Db`] (keys, keys with a TTL, bytes) are exact after every call.

mod array;
mod bucket;
mod clock;
mod db;
mod entry;
mod evict;
mod expire;
mod interest;
mod key;
mod keyspace;
mod load;
mod owned;
pub mod snapshot;
mod strings;
mod table;
mod walk;

pub use clock::{Clock, Expiry};
pub use db::{Db, EntryRef, LazyFree, Look, SlotTable, Stats, Ttl, ValueMut};
pub use evict::Policy;
pub use expire::ExpireStep;
pub use interest::{ClientRef, Readers, Waiter};
pub use key::{Hasher, Key};
pub use keyspace::Keyspace;
pub use load::Load;
pub use owned::{Garbage, Owned, OwnedValue};
pub use walk::{cursor_slot, is_behind};

pub use crate::value::ValueRef;

#[cfg(test)]
mod tests;
