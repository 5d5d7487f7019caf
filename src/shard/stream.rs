//! What this shard changes, as commands: one stream for whoever takes it (the append-only file, and
//! replicas).
//!
//! Replaying the stream on an empty keyspace gives an equal one. So time and chance stand in it as what
//! they came to (`PEXPIREAT` for EXPIRE, `SREM` for SPOP), and keys that expired or were evicted as
//! deletions. What must not be torn apart stands between MULTI and EXEC: all that one command did, as
//! far as it is more than one step. `SELECT` goes before a command of another database than the last.
//!
//! All changes come through here: commands end in [`Shard::propagate`], deletions that no command asked
//! for in [`Shard::propagate_gone`]. A command that ran on borrowed slots changed what belongs to
//! others; what it did goes to each owner with the slots that return, see `loan`.

#[cfg(test)]
mod tests;

use super::Shard;
use crate::command::host::Library;
use crate::command::spec::{Spec, flag, key};
use crate::command::table;
use crate::persist::aof::encode::{self, Value};
use crate::persist::aof::restate::Rebuilding;
use crate::persist::aof::slots::{self, Word};
use crate::resp::Args;
use crate::resp::args::OwnedArgs;
use crate::slot::{Slot, key_slot};
use crate::store::EntryRef;
use crate::value::ValueRef;
use std::sync::Arc;

/// Commands as bytes, and the database that the last one selected.
#[derive(Debug, Default)]
pub struct Stream {
    bytes: Vec<u8>,
    db: Option<usize>,
    /// Bytes that were ever in it.
    total: u64,
    unit: Option<Unit>,
    /// What stands in logs only, which replicas don't get, and where.
    notes: Vec<(usize, Note)>,
    /// Bytes that replicas were given already.
    fed: usize,
    /// A log takes it.
    logged: bool,
    /// A share of slots that are landing with their owner, whose stream may not have what a command began with:
    /// keys that are told as what they are.
    told: Option<Vec<(usize, Box<[u8]>)>>,
}

#[derive(Debug)]
enum Note {
    /// An annotation.
    Text(Vec<u8>),
    /// The log goes on in another file.
    Cut,
    /// No log takes what comes.
    End,
}

/// Where the log is not to go on as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// In another file from this byte on of what was given.
    Cut(usize),
    /// Not at all, behind what was given.
    End,
}

/// Commands that belong together.
#[derive(Debug)]
struct Unit {
    /// Where the first command starts, and the MULTI before it.
    first: usize,
    multi: usize,
    commands: usize,
    /// Units may stand in units: the outermost counts.
    depth: usize,
}

impl Stream {
    /// An owner's share of what a command on loan changes.
    pub(super) fn of_share(by_state: bool) -> Stream {
        Stream { told: by_state.then(Vec::new), ..Stream::default() }
    }

    /// The keys that it tells as they are, of a share that is told by state.
    pub(super) fn take_told(&mut self) -> Vec<(usize, Box<[u8]>)> {
        self.told.take().unwrap_or_default()
    }

    /// Bytes that nobody has taken yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that were ever written to it: where it stands.
    pub fn offset(&self) -> u64 {
        self.total + self.bytes.len() as u64
    }

    /// What comes from here on belongs into another file.
    pub(super) fn cut(&mut self) {
        self.notes.push((self.bytes.len(), Note::Cut));
        self.db = None;
    }

    /// What comes from here on belongs into no log. A unit is in it as a whole, or not.
    pub(super) fn end_log(&mut self) {
        if self.logged {
            let at = self.unit.as_ref().map_or(self.bytes.len(), |unit| unit.multi);
            self.notes.push((at, Note::End));
        }
    }

    /// What replicas have not been given.
    pub(super) fn fresh(&mut self) -> &[u8] {
        let from = std::mem::replace(&mut self.fed, self.bytes.len());
        &self.bytes[from..]
    }

    /// Replicas have it all: without a log nobody else wants it.
    pub(super) fn forget_unless_logged(&mut self) {
        if !self.logged {
            self.total += self.bytes.len() as u64;
            self.bytes.clear();
            self.fed = 0;
        }
    }

    /// The database that what comes next is in, if it says nothing else.
    pub(super) fn db(&self) -> Option<usize> {
        self.db
    }

    /// What comes next is in no database: whoever begins to read here is told one all the same, as Redis tells it.
    pub(super) fn select_any(&mut self) {
        if self.db.is_none() {
            self.select(0);
        }
    }

    /// Whoever begins to read here must be told which database is selected.
    pub(super) fn reselect(&mut self) {
        self.db = None;
    }

    /// Forgets what nobody has taken. Commands that belong together begin anew.
    pub(super) fn clear(&mut self) {
        if let Some(unit) = &mut self.unit {
            (unit.first, unit.multi, unit.commands) = (0, 0, 0);
        }
        self.total = self.offset();
        self.fed = 0;
        self.bytes.clear();
        self.notes.clear();
        self.db = None;
    }

    /// From here on commands belong together, until [`Stream::close`].
    pub(super) fn open(&mut self) {
        let at = self.bytes.len();
        self.unit.get_or_insert(Unit { first: at, multi: at, commands: 0, depth: 0 }).depth += 1;
    }

    /// A unit of several commands is put between MULTI and EXEC.
    pub(super) fn close(&mut self) {
        let Some(unit) = &mut self.unit else { return };
        unit.depth -= 1;
        let Some(unit) = self.unit.take_if(|unit| unit.depth == 0) else { return };
        if unit.commands > 1 {
            encode::command(&mut self.bytes, [b"EXEC"]);
        } else if unit.commands == 1 {
            self.bytes.drain(unit.multi..unit.first);
        }
    }

    /// Forgets what the unit that is open has come to.
    fn drop_unit(&mut self) {
        if let Some(unit) = self.unit.as_mut().filter(|unit| unit.commands > 0) {
            self.bytes.truncate(unit.multi);
            unit.commands = 0;
        }
    }

    /// Makes room for a command of database `db`.
    fn select(&mut self, db: usize) {
        if self.db != Some(db) {
            encode::select(&mut self.bytes, db);
            self.db = Some(db);
        }
        if let Some(unit) = &mut self.unit {
            if unit.commands == 0 {
                unit.multi = self.bytes.len();
                encode::command(&mut self.bytes, [b"MULTI"]);
                unit.first = self.bytes.len();
            }
            unit.commands += 1;
        }
    }

    /// Adds a command.
    #[inline]
    pub(super) fn command(&mut self, db: usize, args: Args<'_>) {
        if self.db != Some(db) || self.unit.is_some() {
            self.select(db);
        }
        match args.literal() {
            Some(bytes) => self.bytes.extend_from_slice(bytes),
            None => encode::command(&mut self.bytes, args.iter()),
        }
    }

    fn delete(&mut self, db: usize, lazy: bool, name: &[u8]) {
        self.select(db);
        encode::command(&mut self.bytes, [if lazy { &b"UNLINK"[..] } else { b"DEL" }, name]);
    }

    /// Adds the commands that make a key again, whatever was there.
    pub(super) fn restate(&mut self, db: usize, name: &[u8], entry: Option<EntryRef<'_>>) {
        if let Some(told) = &mut self.told {
            told.push((db, name.into()));
        }
        self.delete(db, false, name);
        if let Some(entry) = entry {
            self.select(db);
            rebuild(&mut self.bytes, &entry);
        }
    }

    /// Adds the commands that make an entry what it is, all of them or none.
    pub(super) fn state(&mut self, db: usize, entry: &EntryRef<'_>) {
        self.open();
        let is_text = !matches!(value_of(entry), Value::Object(_));
        if !is_text {
            self.delete(db, false, entry.key());
        }
        self.select(db);
        rebuild(&mut self.bytes, entry);
        if let Some(unit) = self.unit.as_mut().filter(|_| entry.expire_at().is_some()) {
            unit.commands += 1;
        }
        self.close();
    }

    /// Adds some of the commands that make an entry what it is; whether all are there.
    pub(super) fn state_on(
        &mut self,
        db: usize,
        entry: &EntryRef<'_>,
        begins: bool,
        rebuilding: &mut Rebuilding,
        budget: usize,
    ) -> bool {
        self.select(db);
        if begins {
            self.delete(db, false, entry.key());
        }
        let whole = rebuilding.step(entry.key(), value_of(entry), budget, &mut self.bytes);
        if let Some(at) = entry.expire_at().filter(|_| whole) {
            encode::expire_at(&mut self.bytes, entry.key(), at);
        }
        whole
    }

    /// Adds what another stream holds.
    pub(super) fn splice(&mut self, other: &mut Stream) {
        if other.bytes.is_empty() {
            return;
        }
        self.bytes.append(&mut other.bytes);
        self.db = other.db;
    }
}

/// Appends the commands that make this entry again where it is not.
pub(super) fn rebuild(out: &mut Vec<u8>, entry: &EntryRef<'_>) {
    encode::rebuild(out, entry.key(), value_of(entry), entry.expire_at());
}

/// An entry's value as commands can tell it.
pub(super) fn value_of<'a>(entry: &EntryRef<'a>) -> Value<'a> {
    match entry.value() {
        ValueRef::Int(n) => Value::Int(n),
        ValueRef::Str(text) => Value::Str(text),
        ValueRef::Obj(object) => Value::Object(object),
    }
}

/// Where the changes of a borrowed run go: an owner, the slots that it lent, its share of the stream.
pub(super) type Share = (usize, Vec<Slot>, Stream);

impl Shard {
    /// From now on a log takes the stream, or none does any more.
    pub fn set_propagating(&mut self, on: bool) {
        if self.stream.logged == on {
            return;
        }
        self.feed_replicas();
        self.stream.logged = on;
        self.stream.notes.clear();
        self.stream.reselect();
        self.stream.forget_unless_logged();
        self.note_propagating();
    }

    /// Somebody has begun to take the stream, or does not any more.
    pub(super) fn note_propagating(&mut self) {
        let on = self.stream.logged || self.repl.is_fed();
        if self.fx.propagating == on {
            return;
        }
        self.fx.propagating = on;
        if !on {
            self.end_landings();
        }
        self.track_expired();
        self.stream.clear();
    }

    /// Whether a log takes the stream.
    pub(super) fn is_logged(&self) -> bool {
        self.stream.logged
    }

    /// Whether somebody takes the stream.
    #[inline]
    pub fn is_propagating(&self) -> bool {
        self.fx.propagating
    }

    /// Whether the store notes which keys expire: somebody wants to know.
    pub(super) fn track_expired(&mut self) {
        let on = self.fx.propagating || self.wants_expired();
        for db in self.ks.iter_mut().filter(|db| db.track_expired != on) {
            db.track_expired = on;
            db.expired.clear();
        }
    }

    /// Takes what was changed since the last call; it must be taken before the next turn. Where the log is not
    /// to go on as it does, if so.
    pub fn take_stream(&mut self, into: &mut Vec<u8>) -> Option<Break> {
        debug_assert!(self.stream.unit.is_none(), "units end with the command");
        self.feed_replicas();
        let Stream { bytes, notes, total, fed, .. } = &mut self.stream;
        *total += bytes.len() as u64;
        *fed = 0;
        if into.is_empty() && notes.is_empty() {
            std::mem::swap(into, bytes);
            return None;
        }
        let (mut from, mut to, mut broken) = (0, bytes.len(), None);
        for (at, note) in notes.drain(..) {
            into.extend_from_slice(&bytes[from..at]);
            from = at;
            match note {
                Note::Text(text) => into.extend_from_slice(&text),
                Note::Cut => broken = Some(Break::Cut(into.len())),
                Note::End => {
                    (to, broken) = (at, Some(Break::End));
                    break;
                }
            }
        }
        into.extend_from_slice(&bytes[from..to]);
        bytes.clear();
        broken
    }

    /// Tells the log which slots it speaks for from here on, or no longer does. Of slots that come, what
    /// they hold must stand in the stream before.
    pub(super) fn claim(&mut self, ours: bool, ranges: &[(Slot, Slot)]) {
        let word = match ours {
            true => Word::Has,
            false => Word::Gave((self.now.unix_us, self.handoffs.era)),
        };
        self.annotate(word, ranges);
    }

    /// Has the log say something of slots, where what comes next stands in it.
    pub(super) fn annotate(&mut self, word: Word, ranges: &[(Slot, Slot)]) {
        if self.stream.logged && self.at.shards > 1 {
            let mut note = Vec::new();
            slots::write(&mut note, word, ranges);
            self.stream.notes.push((self.stream.bytes.len(), Note::Text(note)));
        }
    }

    pub fn databases(&self) -> usize {
        self.ks.databases()
    }

    /// The first slot at `from` or later that has keys.
    pub fn next_used_slot(&self, db: usize, from: Slot) -> Option<Slot> {
        self.ks.db(db).next_used_slot(from)
    }

    /// Appends the commands that make all keys of a slot again.
    pub fn restate_slot(&self, db: usize, slot: Slot, out: &mut Vec<u8>) {
        self.ks.db(db).for_each_in(slot, &self.clock, |entry| rebuild(out, &entry));
    }

    /// Whether [`Shard::take_stream`] has anything.
    #[inline]
    pub fn has_stream(&self) -> bool {
        !self.stream.is_empty() || !self.stream.notes.is_empty()
    }

    /// Tells the stream what a command did: the words that it left, else the command itself; before
    /// that the keys that expired meanwhile.
    #[cold]
    pub(super) fn propagate(&mut self, db: usize, spec: &'static Spec, args: Args<'_>) {
        let changed = self.fx.dirty > 0;
        if !changed && self.ks.db(db).expired.is_empty() {
            return;
        }
        if self.loans.shares.is_some() {
            return self.propagate_borrowed(db, args);
        }
        if !self.landings.is_empty() {
            return self.propagate_landing(db, args);
        }
        if self.fx.instead.is_empty() && self.ks.db(db).expired.is_empty() {
            // to look at all databases each time would cost as much as the rest
            let others = || self.ks.iter().any(|db| !db.expired.is_empty());
            if stays_in_database(spec) || !others() {
                if !self.fx.quiet {
                    self.stream.command(db, args);
                }
                return;
            }
        }
        // deletions by chance of what a command met are no part of it
        let torn = spec.has(flag::TOUCHES_ARBITRARY_KEYS);
        if !torn {
            self.stream.open();
        }
        self.tell_expired();
        if changed {
            match self.fx.instead.is_empty() {
                true if self.fx.quiet => {}
                true => self.stream.command(db, args),
                false => self.fx.instead.iter().for_each(|words| self.stream.command(db, words.as_args())),
            }
        }
        if !torn {
            self.stream.close();
        }
    }

    /// From here on, until [`Shard::close_unit`], all changes belong together: a transaction's.
    pub(super) fn open_unit(&mut self) {
        if self.fx.propagating {
            match &mut self.loans.shares {
                Some(shares) => shares.iter_mut().for_each(|(_, _, stream)| stream.open()),
                None => self.stream.open(),
            }
        }
    }

    /// What is done in the unit that is open is told to nobody.
    pub(super) fn drop_unit(&mut self) {
        match &mut self.loans.shares {
            Some(shares) => shares.iter_mut().for_each(|(_, _, stream)| stream.drop_unit()),
            None => self.stream.drop_unit(),
        }
    }

    pub(super) fn close_unit(&mut self) {
        match &mut self.loans.shares {
            Some(shares) => shares.iter_mut().for_each(|(_, _, stream)| stream.close()),
            None => self.stream.close(),
        }
    }

    /// Tells the stream which keys have expired, and notes it for who else wants to hear of that.
    pub(super) fn tell_expired(&mut self) {
        let (lazy, wanted) = (self.conf.lazyfree_lazy_expire, self.wants_expired());
        for (i, db) in self.ks.iter_mut().enumerate() {
            for name in db.expired.drain(..) {
                if self.fx.propagating {
                    self.stream.delete(i, lazy, &name);
                }
                if wanted {
                    self.events.note_gone(i, name);
                }
            }
        }
    }

    /// As [`Shard::tell_expired`], where no command is executed.
    #[inline]
    pub(super) fn tell_expired_if_any(&mut self) {
        if self.fx.propagating | self.fx.listening {
            self.tell_expired();
            self.announce_expired();
        }
    }

    /// Keys are gone that no command has deleted.
    pub(super) fn propagate_gone<'a>(
        &mut self,
        db: usize,
        lazy: bool,
        names: impl IntoIterator<Item = &'a [u8]>,
    ) {
        if self.fx.propagating {
            names.into_iter().for_each(|name| self.stream.delete(db, lazy, name));
        }
    }

    /// All keys are gone though no command said so.
    pub(super) fn propagate_flush(&mut self) {
        if self.fx.propagating {
            self.stream.command(0, OwnedArgs::new(["FLUSHALL"]).as_args());
        }
    }

    /// Libraries have changed: tells the stream how those are now that came from clients.
    #[cold]
    pub(super) fn propagate_libraries(&mut self, gone: &[Vec<u8>], new: &[Arc<Library>]) {
        if self.fx.propagating {
            for name in gone {
                let words = [&b"FUNCTION"[..], b"DELETE", name];
                self.stream.command(0, OwnedArgs::new(words).as_args());
            }
            for library in new.iter().filter(|library| !library.foreign) {
                let words = [&b"FUNCTION"[..], b"LOAD", b"REPLACE", &library.code];
                self.stream.command(0, OwnedArgs::new(words).as_args());
            }
        }
    }

    /// As [`Shard::propagate`], for a command that ran on slots of several shards: each of its steps
    /// goes to the owner of the key. A step with keys of several owners becomes, for each key that it
    /// may have changed, what the key is now.
    fn propagate_borrowed(&mut self, db: usize, args: Args<'_>) {
        let mut shares = self.loans.shares.take().expect("a borrowed run");
        shares.iter_mut().for_each(|(_, _, stream)| stream.open());
        let share = |shares: &[Share], name: &[u8]| {
            let slot = key_slot(name);
            shares.iter().position(|(_, slots, _)| slots.binary_search(&slot).is_ok())
        };
        let lazy = self.conf.lazyfree_lazy_expire;
        for (i, db) in self.ks.iter_mut().enumerate() {
            for name in db.expired.drain(..) {
                if let Some(n) = share(&shares, &name) {
                    shares[n].2.delete(i, lazy, &name);
                }
                self.events.note_gone(i, name);
            }
        }
        let itself = OwnedArgs::new(args.iter());
        let steps = std::mem::take(&mut self.fx.instead);
        let steps = match &steps[..] {
            [] if !self.fx.quiet => std::slice::from_ref(&itself),
            steps => steps,
        };
        for step in steps.iter().filter(|_| self.fx.dirty > 0) {
            let args = step.as_args();
            let Some(spec) = table::find(args) else { continue };
            let keys = table::keys_of(spec, args);
            let mut owners = keys.iter().map(|k| share(&shares, args.at(k.index)));
            let first = owners.next().flatten();
            if keys.is_empty() {
                // it is about all that there is
                shares.iter_mut().for_each(|(_, _, stream)| stream.command(db, args));
                continue;
            }
            let is_told = |n: &usize| shares[*n].2.told.is_none();
            if let Some(n) = first.filter(|_| owners.all(|owner| owner == first)).filter(is_told) {
                shares[n].2.command(db, args);
                continue;
            }
            for k in keys.iter().filter(|k| k.flags & key::RO == 0) {
                let (name, db) = (args.at(k.index), database_of(spec, args, k.index).unwrap_or(db));
                let entry = self.ks.db(db).peek(&self.ks.hasher().key(name), &self.clock);
                if let Some(n) = share(&shares, name) {
                    shares[n].2.restate(db, name, entry);
                }
            }
        }
        shares.iter_mut().for_each(|(_, _, stream)| stream.close());
        self.loans.shares = Some(shares);
    }
}

/// Whether a command meets keys of its client's database only.
#[inline]
fn stays_in_database(spec: &Spec) -> bool {
    spec.legacy.first > 0 && spec.legacy.last == spec.legacy.first && spec.name != "move"
}

/// The database of a key, where a command names another one than its client's: COPY's target.
fn database_of(spec: &Spec, args: Args<'_>, key: usize) -> Option<usize> {
    if spec.name != "copy" || key != 2 {
        return None;
    }
    let at = (3..args.len()).rev().find(|&i| args.is(i, "DB"))?;
    std::str::from_utf8(args.get(at + 1)?).ok()?.parse().ok()
}
