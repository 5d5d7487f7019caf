//! One database: a table for each slot, the counts over them, and access by key.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};

use super::bucket;
use super::clock::{Clock, Expiry};
use super::entry::{Entry, Payload, View, ViewMut as Raw};
use super::expire::Cursor;
use super::interest::Interest;
use super::key::{Hasher, Key};
use super::load::Load;
use super::owned::{Garbage, Owned, OwnedValue, is_big};
use super::snapshot::Debts;
use super::strings;
use super::table::{Spot, Table, Tally};
use crate::slot::{SLOTS, Slot};
use crate::util::rng::Rng;
use crate::value::{Object, ValueRef};
use std::collections::HashMap;

/// How an access is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Counts a hit or a miss, and touches the access field.
    Read,
    /// Touches the access field.
    Write,
    /// Leaves no trace (except that a key past its time goes).
    Peek,
}

/// What a write does to the key's time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    Keep,
    Clear,
    /// Unix time in milliseconds.
    At(u64),
}

/// Which removals hand big values to [`Db::drain_garbage`] instead of freeing them on the spot:
/// Redis's `lazyfree-lazy-*`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LazyFree {
    pub expire: bool,
    pub evict: bool,
    /// Values that a command overwrites (RENAME, SET over a list).
    pub server_del: bool,
}

/// What happened in one database since the counters were last reset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub hits: u64,
    pub misses: u64,
    /// Expired keys removed by the access that met them.
    pub expired_lazy: u64,
    /// Expired keys removed by [`Db::expire_step`].
    pub expired_active: u64,
    pub evicted: u64,
}

/// Slots of one group of counts.
pub(super) const GROUP: usize = 128;
const GROUPS: usize = SLOTS / GROUP;

#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub len: u32,
    pub volatile: u32,
}

/// One database.
pub struct Db {
    pub(super) tables: Box<[Table; SLOTS]>,
    pub(super) groups: [Count; GROUPS],
    /// Bit `s`: slot `s` has keys.
    pub(super) used: Bitmap,
    /// Bit `s`: slot `s` has keys with a TTL.
    pub(super) fading: Bitmap,
    sum: Tally,
    pub(super) hasher: Hasher,
    rng: Rng,
    pub(super) garbage: Vec<Garbage>,
    pub(super) expiring: Cursor,
    /// A table here owes something to a snapshot: what is about to change has to be looked at first.
    pub(super) careful: bool,
    pub(super) debts: Debts,
    pub lazy: LazyFree,
    /// By slot: whom its keys concern.
    pub(super) interest: HashMap<Slot, Box<Interest>>,
    /// Keys of which clients keep copies, and copies.
    pub(super) tracked: (usize, usize),
    /// A key may be gone that somebody waits for.
    pub(super) lost: bool,
    /// Some slot has a load.
    loaded: bool,
    /// Whether expired keys are noted in [`Db::expired`].
    pub track_expired: bool,
    /// Keys that expired and still have to be propagated and notified, oldest first. The owner
    /// drains it after each command and each [`Db::expire_step`].
    pub expired: Vec<Box<[u8]>>,
    pub stats: Stats,
}

/// A set of slots.
#[derive(Clone)]
pub(super) struct Bitmap([u64; SLOTS / 64]);

impl Default for Bitmap {
    fn default() -> Bitmap {
        Bitmap([0; SLOTS / 64])
    }
}

impl Bitmap {
    pub fn has(&self, slot: usize) -> bool {
        self.0[slot / 64] >> (slot % 64) & 1 != 0
    }

    pub fn put(&mut self, slot: usize, yes: bool) {
        let bit = 1 << (slot % 64);
        match yes {
            true => self.0[slot / 64] |= bit,
            false => self.0[slot / 64] &= !bit,
        }
    }

    /// The first member at `from` or later, below `to`.
    pub fn next(&self, from: usize, to: usize) -> Option<usize> {
        let to = to.min(SLOTS);
        if from >= to {
            return None;
        }
        let mut word = self.0[from / 64] & (u64::MAX << (from % 64));
        for w in from / 64..self.0.len() {
            if w > from / 64 {
                word = self.0[w];
            }
            if word != 0 {
                return Some(w * 64 + word.trailing_zeros() as usize).filter(|&s| s < to);
            }
        }
        None
    }
}

/// A slot's whole contents, outside of any database. Cheap to move, and `Send`.
pub struct SlotTable {
    slot: Slot,
    table: Table,
    pub(super) interest: Option<Box<Interest>>,
    /// Some of it is owed to its owner's snapshot.
    owing: bool,
    /// What was handed out of it away from home.
    strays: Vec<(Slot, Entry)>,
}

impl SlotTable {
    pub(super) fn new(slot: Slot, table: Table) -> SlotTable {
        SlotTable { slot, table, interest: None, owing: false, strays: Vec::new() }
    }

    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Keys in it.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// In no order, those past their time included.
    pub fn keys(&self) -> Vec<&[u8]> {
        self.table.keys(self.table.len())
    }
}

/// The whole contents of a database that was cleared.
pub struct Tables {
    #[allow(dead_code, reason = "it is only there to be dropped")]
    tables: Box<[Table; SLOTS]>,
    pub(super) keys: usize,
}

/// A key and its value, in place.
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    pub(super) entry: &'a Entry,
}

/// A value for change in place. A string is an `Int` or a `Str`, never an `Obj`.
#[derive(Debug)]
pub enum ValueMut<'a> {
    Int(i64),
    Str(&'a mut [u8]),
    Obj(&'a mut Object),
}

impl<'a> ValueMut<'a> {
    /// The aggregate, or `None` for a string.
    pub fn object(self) -> Option<&'a mut Object> {
        match self {
            ValueMut::Obj(object) => Some(object),
            _ => None,
        }
    }
}

impl<'a> EntryRef<'a> {
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.entry.key()
    }

    #[inline]
    pub fn value(&self) -> ValueRef<'a> {
        match self.entry.view() {
            View::Int(n) => ValueRef::Int(n),
            View::Bytes(bytes) => ValueRef::Str(bytes),
            View::Object(Object::Str(bytes)) => ValueRef::Str(bytes),
            View::Object(object) => ValueRef::Obj(object),
        }
    }

    /// Unix time in milliseconds.
    #[inline]
    pub fn expire_at(&self) -> Option<u64> {
        self.entry.expire_at()
    }

    /// The 24-bit access field; see [`Clock::idle`] and [`Clock::frequency`].
    pub fn lru(&self) -> u32 {
        self.entry.lru()
    }

    /// A string that was written to in place.
    pub fn is_raw(&self) -> bool {
        self.entry.is_raw()
    }

    /// OBJECT ENCODING of a string: `int`, `embstr` or `raw`; `None` for an aggregate.
    pub fn string_encoding(&self) -> Option<&'static str> {
        match self.value() {
            ValueRef::Int(_) => Some("int"),
            ValueRef::Str(bytes) => Some(strings::encoding(bytes.len(), self.is_raw())),
            ValueRef::Obj(_) => None,
        }
    }

    /// Bytes of memory for key, value and their place in the table.
    pub fn mem(&self) -> usize {
        let own = self.entry.size() + 12;
        match self.entry.view() {
            View::Object(object) => own + size_of::<Object>() + object.mem(),
            _ => own,
        }
    }

    /// A copy that owns its value, as COPY and DUMP want it.
    pub fn to_owned_value(&self) -> Owned
    where
        Object: Clone,
    {
        let value = match self.entry.view() {
            View::Int(n) => OwnedValue::Int(n),
            View::Bytes(bytes) => OwnedValue::Bytes(bytes.into()),
            View::Object(object) => OwnedValue::Object(Box::new(object.clone())),
        };
        Owned { value, expire_at: self.expire_at(), lru: Some(self.lru()), raw: self.is_raw() }
    }
}

/// Empty tables, without touching their memory before it is used.
fn empty_tables() -> Box<[Table; SLOTS]> {
    let layout = Layout::new::<[Table; SLOTS]>();
    // SAFETY: the layout isn't empty; all zeros is a valid, empty `Table`; the box takes over an
    // allocation of exactly its layout.
    unsafe {
        let at = alloc_zeroed(layout).cast::<[Table; SLOTS]>();
        if at.is_null() {
            handle_alloc_error(layout);
        }
        Box::from_raw(at)
    }
}

impl Db {
    /// An empty database. `seed` feeds what the database decides by chance (LFU counters).
    pub fn new(hasher: Hasher, seed: u64) -> Db {
        Db {
            tables: empty_tables(),
            groups: [Count::default(); GROUPS],
            used: Bitmap::default(),
            fading: Bitmap::default(),
            sum: Tally { len: 0, volatile: 0, bytes: 0 },
            hasher,
            rng: Rng::new(seed),
            garbage: Vec::new(),
            expiring: Cursor::default(),
            careful: false,
            debts: Debts::default(),
            lazy: LazyFree::default(),
            interest: HashMap::new(),
            tracked: (0, 0),
            lost: false,
            loaded: false,
            track_expired: false,
            expired: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// Hashes `bytes` for use with this database.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        self.hasher.key(bytes)
    }

    // ---- tables and their counts

    #[inline]
    pub(super) fn table(&self, slot: Slot) -> &Table {
        &self.tables[slot as usize % SLOTS]
    }

    #[inline]
    fn table_mut(&mut self, slot: Slot) -> &mut Table {
        &mut self.tables[slot as usize % SLOTS]
    }

    /// Changes a table and takes its new counts over into the sums.
    #[inline]
    pub(super) fn change<R>(&mut self, slot: Slot, f: impl FnOnce(&mut Table, &Hasher) -> R) -> R {
        let s = slot as usize % SLOTS;
        let table = &mut self.tables[s];
        let old = table.tally();
        let out = f(table, &self.hasher);
        let new = table.tally();
        self.sum.bytes = self.sum.bytes - old.bytes + new.bytes;
        if (old.len, old.volatile) != (new.len, new.volatile) {
            self.recount(s, old, new);
        }
        out
    }

    fn recount(&mut self, s: usize, old: Tally, new: Tally) {
        self.sum.len = self.sum.len - old.len + new.len;
        self.sum.volatile = self.sum.volatile - old.volatile + new.volatile;
        let group = &mut self.groups[s / GROUP];
        group.len = group.len - old.len as u32 + new.len as u32;
        group.volatile = group.volatile - old.volatile as u32 + new.volatile as u32;
        self.used.put(s, new.len > 0);
        self.fading.put(s, new.volatile > 0);
    }

    #[inline]
    pub(super) fn spot(&self, key: &Key) -> Option<Spot> {
        self.table(key.slot).find(key)
    }

    #[inline(always)]
    pub(super) fn entry(&self, key: &Key, spot: Spot) -> &Entry {
        self.table(key.slot).at(spot)
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, key: &Key, spot: Spot) -> &mut Entry {
        self.table_mut(key.slot).at_mut(spot)
    }

    /// What every change of an entry in its table does first.
    #[inline(always)]
    pub(super) fn will_change(&mut self, key: &Key, spot: Spot) {
        if self.careful {
            self.settle(key.slot, spot);
        }
    }

    pub(super) fn update<R>(&mut self, key: &Key, spot: Spot, f: impl FnOnce(&mut Entry) -> R) -> R {
        self.will_change(key, spot);
        self.change(key.slot, |table, _| table.update(spot, f))
    }

    /// Keys.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.sum.len
    }

    /// Keys with a TTL.
    pub fn volatile_len(&self) -> usize {
        self.sum.volatile
    }

    /// Keys of a slot.
    pub fn slot_len(&self, slot: Slot) -> usize {
        self.table(slot).len()
    }

    /// Heap bytes of tables and entries, rounded as the allocator rounds them. What aggregates and
    /// strings above [`crate::limits::INLINE_VALUE`] own isn't in it.
    pub fn bytes(&self) -> usize {
        self.sum.bytes
    }

    /// A command of this slot has been executed.
    #[inline]
    pub fn note_load(&mut self, slot: Slot, ticks: u64, bytes_in: usize, bytes_out: usize) {
        self.loaded = true;
        self.table_mut(slot).load.note(ticks, bytes_in, bytes_out);
    }

    /// What a slot has cost.
    pub fn load(&self, slot: Slot) -> Load {
        self.table(slot).load
    }

    pub(super) fn reset_loads(&mut self) {
        if std::mem::take(&mut self.loaded) {
            self.tables.iter_mut().for_each(|table| table.load = Load::NONE);
        }
    }

    // ---- looking

    /// Starts loading the slot's table head: the first of four stages for a batch of commands. Each
    /// reads what the one before loaded, so a batch's keys should pass one before the next begins.
    #[inline]
    pub fn prefetch_table(&self, slot: Slot) {
        bucket::prefetch((&raw const *self.table(slot)).cast());
    }

    /// Starts loading the bucket of the key with this hash: the second stage.
    #[inline]
    pub fn prefetch_bucket(&self, slot: Slot, hash: u64) {
        self.table(slot).prefetch_bucket(hash);
    }

    /// Starts loading the entries that may be the key's: the third stage. Whether it takes the fourth.
    #[inline]
    pub fn prefetch_entry(&self, slot: Slot, hash: u64) -> bool {
        self.table(slot).prefetch_entry(hash)
    }

    /// The fourth stage, for a key that isn't in its bucket but may be in the one chained to it.
    #[inline]
    pub fn prefetch_chained(&self, slot: Slot, hash: u64) {
        self.table(slot).prefetch_chained(hash);
    }

    /// Where `key` is, if it is there and not past its time. An expired key is dealt with as the
    /// clock says.
    #[inline(always)]
    pub(super) fn live(&mut self, key: &Key, clock: &Clock) -> Option<Spot> {
        let spot = self.spot(key)?;
        match self.entry(key, spot).expire_at() {
            Some(at) if clock.expired(at) => {
                self.meet_expired(key, spot, clock);
                None
            }
            _ => Some(spot),
        }
    }

    #[inline]
    fn look(&mut self, key: &Key, look: Look, clock: &Clock) -> Option<&mut Entry> {
        let spot = self.live(key, clock);
        if look == Look::Read {
            match spot {
                Some(_) => self.stats.hits += 1,
                None => self.stats.misses += 1,
            }
        }
        let entry = self.tables[key.slot as usize % SLOTS].at_mut(spot?);
        if look != Look::Peek && !clock.no_touch {
            entry.set_lru(clock.touched(entry.lru(), &mut self.rng));
        }
        Some(entry)
    }

    #[inline]
    pub(super) fn touched(&mut self, key: &Key, spot: Spot, clock: &Clock) -> u32 {
        let old = self.entry(key, spot).lru();
        clock.touched(old, &mut self.rng)
    }

    #[inline]
    pub fn find(&mut self, key: &Key, look: Look, clock: &Clock) -> Option<EntryRef<'_>> {
        self.look(key, look, clock).map(|entry| EntryRef { entry })
    }

    /// The value of `key` for change in place: aggregates, or a string's bytes at their length.
    pub fn find_mut(&mut self, key: &Key, look: Look, clock: &Clock) -> Option<ValueMut<'_>> {
        if self.careful
            && let Some(spot) = self.live(key, clock)
        {
            self.settle(key.slot, spot);
        }
        Some(match self.look(key, look, clock)?.view_mut() {
            Raw::Int(n) => ValueMut::Int(n),
            Raw::Bytes(bytes) => ValueMut::Str(bytes),
            Raw::Object(Object::Str(bytes)) => ValueMut::Str(bytes.to_mut()),
            Raw::Object(object) => ValueMut::Obj(object),
        })
    }

    /// As [`Db::find`] with [`Look::Peek`], without removing what is past its time: so several
    /// keys can be held at once.
    pub fn peek(&self, key: &Key, clock: &Clock) -> Option<EntryRef<'_>> {
        let entry = self.entry(key, self.spot(key)?);
        match entry.expire_at() {
            Some(at) if clock.expired(at) => None,
            _ => Some(EntryRef { entry }),
        }
    }

    #[inline]
    pub fn exists(&mut self, key: &Key, look: Look, clock: &Clock) -> bool {
        self.look(key, look, clock).is_some()
    }

    // ---- writing

    /// Stores an aggregate over whatever was there. Returns whether the key was there.
    pub fn set_object(&mut self, key: &Key, object: Object, ttl: Ttl, clock: &Clock) -> bool {
        self.overwrite(key, Payload::Object(Box::new(object)), ttl, false, None, clock)
    }

    /// Stores a value that was taken from elsewhere, with its TTL and access field, over whatever
    /// was there. Returns whether the key was there.
    pub fn put(&mut self, key: &Key, owned: Owned, clock: &Clock) -> bool {
        let ttl = owned.expire_at.map_or(Ttl::Clear, Ttl::At);
        let Owned { value, lru, raw, .. } = owned;
        value.into_payload(|payload| self.overwrite(key, payload, ttl, raw, lru, clock))
    }

    /// Every way to give a key a new value. `lru` is the access field, if it isn't a new one.
    pub(super) fn overwrite(
        &mut self,
        key: &Key,
        payload: Payload,
        ttl: Ttl,
        raw: bool,
        lru: Option<u32>,
        clock: &Clock,
    ) -> bool {
        let Some(spot) = self.live_or_gone(key, clock) else {
            let at = if let Ttl::At(at) = ttl { Some(at) } else { None };
            let entry = Entry::new(key.bytes, payload, at, raw, lru.unwrap_or_else(|| clock.fresh()));
            self.change(key.slot, |table, hasher| table.insert(key.hash, entry, hasher));
            return false;
        };
        let old = self.entry(key, spot);
        let at = match ttl {
            Ttl::Keep => old.expire_at(),
            Ttl::Clear => None,
            Ttl::At(at) => Some(at),
        };
        // Redis keeps the counter of an overwritten key under LFU, and takes a new clock else
        let lru = lru.unwrap_or(if clock.lfu { old.lru() } else { clock.fresh() });
        let garbage = self.update(key, spot, |entry| {
            entry.set_lru(lru);
            entry.replace(payload, at, raw)
        });
        if let Some(object) = garbage {
            self.discard(object, self.lazy.server_del);
        }
        true
    }

    /// As [`Db::live`], for a write: a key that is hidden because its time is over goes, too.
    fn live_or_gone(&mut self, key: &Key, clock: &Clock) -> Option<Spot> {
        match clock.expiry {
            Expiry::Hide => self.live(key, &Clock { expiry: Expiry::Remove, ..*clock }),
            _ => self.live(key, clock),
        }
    }

    /// Sets or clears a key's TTL, in unix milliseconds. Returns whether the key is there.
    pub fn set_expire(&mut self, key: &Key, expire_at: Option<u64>, clock: &Clock) -> bool {
        let Some(spot) = self.live(key, clock) else { return false };
        if self.entry(key, spot).expire_at() != expire_at {
            self.update(key, spot, |entry| entry.set_expire(expire_at));
        }
        true
    }

    /// Sets the access field, as RESTORE does.
    pub fn set_lru(&mut self, key: &Key, lru: u32) -> bool {
        let Some(spot) = self.spot(key) else { return false };
        self.entry_mut(key, spot).set_lru(lru);
        true
    }

    // ---- removing

    /// Takes a key's value out of the store.
    pub fn remove(&mut self, key: &Key, clock: &Clock) -> Option<Owned> {
        let spot = self.live(key, clock)?;
        Some(Owned::from_entry(self.cut(key, spot)))
    }

    /// Removes a key. With `lazy` a big value becomes garbage instead of being freed here.
    pub fn delete(&mut self, key: &Key, lazy: bool, clock: &Clock) -> bool {
        let Some(spot) = self.live(key, clock) else { return false };
        self.drop_key(key, spot, lazy);
        true
    }

    pub(super) fn cut(&mut self, key: &Key, spot: Spot) -> Entry {
        self.will_change(key, spot);
        self.change(key.slot, |table, _| table.remove(spot))
    }

    pub(super) fn drop_key(&mut self, key: &Key, spot: Spot, lazy: bool) {
        if !self.careful || !self.uproot(key, spot) {
            let entry = self.cut(key, spot);
            self.drop_entry(entry, lazy);
        }
    }

    pub(super) fn drop_entry(&mut self, mut entry: Entry, lazy: bool) {
        if let Some(object) = entry.take_object() {
            self.discard(object, lazy);
        }
    }

    /// Frees an object here, or, when it is big and `lazy` is set, leaves it to the owner.
    pub fn discard(&mut self, object: Box<Object>, lazy: bool) {
        if lazy && is_big(&object) {
            self.garbage.push(Garbage::Object(object));
        }
    }

    /// As [`Db::discard`], for a value that was taken out.
    pub fn discard_owned(&mut self, owned: Owned, lazy: bool) {
        if lazy
            && owned.is_big()
            && let OwnedValue::Object(object) = owned.value
        {
            self.garbage.push(Garbage::Object(object));
        }
    }

    /// Leaves what [`Db::clear`] returned to the owner.
    pub fn leave(&mut self, garbage: Garbage) {
        self.garbage.push(garbage);
    }

    /// Big things to free, wherever the owner likes.
    pub fn drain_garbage(&mut self) -> Vec<Garbage> {
        std::mem::take(&mut self.garbage)
    }

    /// Empties the database, however much is in it, by giving all of its tables away. Dropping what
    /// it returns frees the keys, but for those that a snapshot still has to write.
    pub fn clear(&mut self) -> Garbage {
        self.touch_all();
        let orphans = if self.careful { self.orphan_tables() } else { 0 };
        let keys = self.len() - orphans;
        self.groups = [Count::default(); GROUPS];
        (self.used, self.fading) = (Bitmap::default(), Bitmap::default());
        self.sum = Tally { len: 0, volatile: 0, bytes: 0 };
        let tables = std::mem::replace(&mut self.tables, empty_tables());
        if self.loaded {
            let worked = tables.iter().enumerate().filter(|(_, table)| table.load != Load::NONE);
            worked.for_each(|(slot, table)| self.tables[slot].load = table.load);
        }
        Garbage::Database(Tables { tables, keys })
    }

    /// Takes a slot's whole table out, by moving one pointer.
    pub fn take_slot(&mut self, slot: Slot) -> SlotTable {
        let table = self.change(slot, |table, _| std::mem::replace(table, Table::new()));
        let (owing, strays) = if self.careful { self.debts.see_off(slot) } else { (false, Vec::new()) };
        self.careful = self.debts.any();
        SlotTable { slot, table, interest: self.take_interest(slot), owing, strays }
    }

    /// Puts a slot's table in; what the slot held comes back. The table must come from a keyspace
    /// with the same [`Hasher`]. One that owes something to a snapshot must go home again.
    pub fn put_slot(&mut self, slot: SlotTable) -> SlotTable {
        let SlotTable { slot, table, interest, owing, strays } = slot;
        self.put_interest(slot, interest);
        self.loaded |= table.load != Load::NONE;
        let before = self.change(slot, |old, _| std::mem::replace(old, table));
        if owing {
            self.debts.welcome(slot, strays);
            self.careful = true;
        }
        SlotTable::new(slot, before)
    }
}
