//! Snapshots of this shard: who wants one, the walk that makes it, and the files that it becomes.
//!
//! The keyspace is walked a bounded step a turn ([`store::snapshot`](crate::store::snapshot)), and what
//! the steps write leaves as chunks for files that `net/` writes on threads of their own. Whoever asks
//! for a snapshot while nothing has changed since the last one began shares its walk; else it has its
//! own after that.
//!
//! A disk that is slower than the writers is not met with memory: above [`SNAPSHOT_BACKLOG`] writers
//! wait, as they do for a large value that has to be written before they change it. If the disk takes
//! nothing at all for [`SNAPSHOT_PATIENCE_MS`], the snapshot is given up and they go on.

mod paper;
mod rewriting;
mod saving;

#[cfg(test)]
mod tests;

pub use saving::Saving;

use super::{FirstKey, Now, Shard};
use crate::command::spec::Spec;
use crate::command::table;
use crate::limits::{
    SNAPSHOT_BACKLOG, SNAPSHOT_CHUNK, SNAPSHOT_PATIENCE_MS, SNAPSHOT_STEP_BYTES, SNAPSHOT_UNWRITTEN,
    SNAPSHOT_VISITS,
};
use crate::persist::aof::encode;
use crate::persist::crc64;
use crate::resp::Args;
use crate::session::Hold;
use crate::shard::script::may_write;
use crate::store::Key;
use crate::store::snapshot::{Budget, Progress};
use bytes::Bytes;
use paper::{Paper, Piece};

pub(super) use paper::Form;

/// A file that comes into being under another name.
#[derive(Clone, Debug)]
pub struct FilePlan {
    pub temporary: String,
    pub target: String,
    /// Bytes after which it is synced on the way.
    pub sync_every: Option<usize>,
    pub seal: Seal,
}

/// What ends a file behind the last of its chunks.
#[derive(Clone, Copy, Debug)]
pub enum Seal {
    Nothing,
    /// The place of a checksum, without one.
    Zeros,
    /// Goes on with the checksum of what it has been given.
    Checksum(fn(u64, &[u8]) -> u64),
}

impl Seal {
    /// As `rdbchecksum` has it.
    pub fn of_rdb(checked: bool) -> Seal {
        if checked { Seal::Checksum(crc64) } else { Seal::Zeros }
    }

    /// The checksum of what was written up to a chunk, which is the last.
    pub fn sum(self, before: u64, chunk: &[u8]) -> u64 {
        match self {
            Seal::Checksum(sum) => sum(before, chunk),
            Seal::Nothing | Seal::Zeros => 0,
        }
    }
}

/// What `net/` is to do with one of the files.
#[derive(Debug)]
pub enum FileOrder {
    Begin(FilePlan),
    Chunk(Bytes),
    /// It is whole, and takes its place.
    Finish,
    /// Nobody wants it.
    Drop,
}

/// Why somebody wants a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// BGSAVE, or a save point.
    Save,
    /// The base of the append-only file.
    Rewrite,
    /// To the sockets of replicas.
    Replicas,
    /// To a file for replicas.
    Spool,
}

/// One who takes a snapshot.
struct Consumer {
    id: u64,
    purpose: Purpose,
    form: Form,
    /// Its file, if it is one.
    plan: Option<FilePlan>,
    head: Vec<u8>,
    /// Bytes given to its file, and those that the system has taken.
    sent: u64,
    written: u64,
}

/// A snapshot in the making.
struct Making {
    consumers: Vec<Consumer>,
    paper: Paper,
    /// How far the large value is that is being written.
    piece: Option<Piece>,
    /// Changes to the data when it began, and whether nothing has left since.
    dirty: u64,
    fresh: bool,
    /// All is written; the files are being finished.
    closing: bool,
    /// Since when the disk is too slow, in ms, and how much it had taken then.
    stuck: Option<(u64, u64)>,
    /// Unix time in microseconds at which the walk, slowed down by `rdb-key-save-delay`, may go on.
    not_before: u64,
}

/// All about snapshots of one shard.
#[derive(Default)]
pub(super) struct Snapshots {
    next: u64,
    /// Who waits for the next walk.
    queue: Vec<Consumer>,
    making: Option<Making>,
    /// A snapshot that was given up is walked to its end, so that the next may begin.
    draining: bool,
    /// Clients held until they may write.
    waiting: Vec<(u32, u32)>,
    /// A batch of a sibling may stand still because of a snapshot.
    standing: bool,
    orders: Vec<(u64, FileOrder)>,
    pub(super) saving: saving::Saving,
    rewriting: rewriting::Rewriting,
}

impl Shard {
    /// Makes a snapshot, now or after the one that is being made. Its file, if it is one, begins with `head`.
    pub(super) fn want_snapshot(&mut self, purpose: Purpose, plan: Option<FilePlan>, head: Vec<u8>) {
        self.want_snapshot_in(Form::Rdb, purpose, plan, head);
    }

    fn want_snapshot_in(&mut self, form: Form, purpose: Purpose, plan: Option<FilePlan>, head: Vec<u8>) {
        self.snapshots.next += 1;
        let id = self.snapshots.next;
        self.snapshots.queue.push(Consumer { id, purpose, form, plan, head, sent: 0, written: 0 });
        self.begin_snapshot();
    }

    /// Begins what is wanted, if it can be.
    fn begin_snapshot(&mut self) {
        let Some(first) = self.snapshots.queue.first() else { return };
        let (form, dirty) = (first.form, self.metrics.dirty.get());
        let joins = |m: &Making| m.fresh && m.dirty == dirty && m.paper.form() == form;
        if !self.snapshots.making.as_ref().is_some_and(joins) {
            // a table that is lent would be missed
            if self.handoffs.unlanded > 0 || !self.landings.is_empty() {
                // a log is not to begin anew in the midst of it
                return;
            }
            if self.snapshots.making.is_some() || self.snapshots.draining || self.is_lending() {
                self.chores |= self.snapshots.making.is_none();
                return;
            }
            let (paper, encode) = Paper::new(form, &self.conf, self.clock, &self.ks);
            let keys = self.ks.begin_snapshot(encode);
            self.metrics.saving.keys_total.set(keys as u64);
            self.metrics.saving.keys_done.set(0);
            self.snapshots.making = Some(Making {
                consumers: Vec::new(),
                paper,
                piece: None,
                dirty,
                fresh: true,
                closing: false,
                stuck: None,
                not_before: 0,
            });
            self.note_careful();
        }
        // what is written here speaks for all changes so far
        self.keep_libraries_told();
        let theirs = self.snapshots.queue.extract_if(.., |c| c.form == form).collect::<Vec<_>>();
        for mut consumer in theirs {
            if matches!(consumer.purpose, Purpose::Replicas | Purpose::Spool) {
                let Some(before) = self.payload_begins(consumer.purpose) else { continue };
                consumer.sent = before;
            }
            if consumer.purpose == Purpose::Save {
                self.put_position(&mut consumer.head);
            }
            if let Some(plan) = &consumer.plan {
                let mut head = std::mem::take(&mut consumer.head);
                self.put_libraries(form, &mut head);
                consumer.sent += head.len() as u64;
                self.snapshots.orders.push((consumer.id, FileOrder::Begin(plan.clone())));
                self.snapshots.orders.push((consumer.id, FileOrder::Chunk(head.into())));
            }
            if consumer.purpose == Purpose::Rewrite {
                self.stream.cut();
            }
            if let Some(making) = &mut self.snapshots.making {
                making.consumers.push(consumer);
            }
        }
        if self.snapshots.making.as_ref().is_some_and(|m| m.consumers.is_empty()) {
            self.forget_snapshot();
        }
        self.chores = true;
    }

    /// The libraries of functions, which precede all keys.
    pub(super) fn put_libraries(&self, form: Form, out: &mut Vec<u8>) {
        let libraries = &self.host.registers.libraries;
        match form {
            Form::Rdb => libraries.put(self.conf.rdbcompression, out),
            Form::Commands => {
                let all = libraries.all();
                all.iter()
                    .for_each(|library| encode::command(out, [b"FUNCTION", &b"LOAD"[..], &library.code]));
            }
        }
    }

    /// A bounded step of the walk. With each turn, as long as there is something to walk.
    pub(super) fn snapshot_step(&mut self) {
        self.give_written();
        self.begin_snapshot();
        if self.snapshots.draining {
            let budget = Budget { visits: SNAPSHOT_VISITS, bytes: SNAPSHOT_STEP_BYTES };
            if self.ks.snapshot_step(budget, &mut Paper::default()) == Progress::Done {
                self.snapshots.draining = false;
                self.begin_snapshot();
            }
            self.chores = true;
        }
        if self.snapshots.making.as_ref().is_none_or(|m| m.closing) {
            return;
        }
        if self.snapshot_waits() {
            return;
        }
        self.chores = true;
        let visits = self.visits_allowed();
        let Some(making) = &mut self.snapshots.making else { return };
        let budget = Budget { visits, bytes: SNAPSHOT_STEP_BYTES };
        let mut freed = false;
        let progress =
            if visits > 0 { self.ks.snapshot_step(budget, &mut making.paper) } else { Progress::More };
        match progress {
            Progress::Large => freed = self.write_piece(),
            Progress::Done => self.close_snapshot(),
            Progress::More | Progress::Waits => {}
        }
        self.send_chunks(SNAPSHOT_CHUNK);
        self.metrics.saving.keys_done.set(self.keys_written());
        if freed || self.ks.snapshot_backlog() < SNAPSHOT_BACKLOG / 2 {
            self.release_writers();
        }
    }

    fn keys_written(&self) -> u64 {
        match self.ks.in_snapshot() {
            true => self.ks.snapshot_keys() as u64,
            false => self.metrics.saving.keys_total.get(),
        }
    }

    /// `rdb-key-save-delay`: microseconds for each key, as Redis's child sleeps them.
    fn visits_allowed(&mut self) -> usize {
        let (now, delay) = (self.now.unix_us, self.conf.rdb_key_save_delay.max(0) as u64);
        let Some(making) = self.snapshots.making.as_mut().filter(|_| delay > 0) else {
            return SNAPSHOT_VISITS;
        };
        if now < making.not_before {
            return 0;
        }
        making.not_before = now + delay;
        1
    }

    /// Whether the disk has to take something first. Gives up when it takes nothing for too long.
    fn snapshot_waits(&mut self) -> bool {
        self.note_payload();
        let now = self.now.ms();
        let Some(making) = &mut self.snapshots.making else { return true };
        let unwritten = making.consumers.iter().map(|c| c.sent - c.written).max().unwrap_or(0);
        if unwritten < SNAPSHOT_UNWRITTEN {
            making.stuck = None;
            return false;
        }
        let taken = making.consumers.iter().map(|c| c.written).min().unwrap_or(0);
        match making.stuck {
            Some((since, before)) if before == taken => {
                if now.saturating_sub(since) > SNAPSHOT_PATIENCE_MS {
                    let why = format!("The disk has taken nothing for {SNAPSHOT_PATIENCE_MS} ms");
                    self.give_up_snapshot(&why);
                }
            }
            _ => making.stuck = Some((now, taken)),
        }
        true
    }

    /// Writes the next piece of a large value; true when it is whole.
    fn write_piece(&mut self) -> bool {
        let Some(making) = &mut self.snapshots.making else { return false };
        let Some((db, entry)) = self.ks.large() else { return false };
        if !making.paper.piece(db, entry, &mut making.piece, SNAPSHOT_STEP_BYTES) {
            return false;
        }
        self.ks.large_done();
        // its slot may be lent again
        self.grant();
        true
    }

    fn close_snapshot(&mut self) {
        let Some(making) = &mut self.snapshots.making else { return };
        making.paper.end();
        making.closing = true;
        self.send_chunks(1);
        let Some(making) = &mut self.snapshots.making else { return };
        let files = making.consumers.iter().filter(|c| c.plan.is_some());
        self.snapshots.orders.extend(files.map(|c| (c.id, FileOrder::Finish)));
        let sockets = making.consumers.extract_if(.., |c| c.plan.is_none()).count();
        if making.consumers.is_empty() {
            self.snapshots.making = None;
        }
        if sockets > 0 {
            self.payload_ends();
        }
        self.end_care();
    }

    /// How much of a payload the sockets of replicas have taken; without any it is wanted no more.
    fn note_payload(&mut self) {
        let sockets = |c: &mut Consumer| c.plan.is_none();
        let Some(making) = &mut self.snapshots.making else { return };
        let Some(at) = making.consumers.iter_mut().position(sockets) else { return };
        let taken = self.repl.primary.payload_taken();
        match taken {
            Some(taken) => making.consumers[at].written = taken,
            None => {
                making.consumers.remove(at);
                if making.consumers.is_empty() {
                    self.forget_snapshot();
                }
            }
        }
    }

    /// Whether a snapshot for such a purpose is wanted or made.
    pub(super) fn wants_snapshot(&self, purpose: impl Fn(Purpose) -> bool) -> bool {
        let made = self.snapshots.making.iter().flat_map(|m| &m.consumers);
        made.chain(&self.snapshots.queue).any(|c| purpose(c.purpose))
    }

    /// The keyspace is another: snapshots of the one that was are in vain.
    pub(super) fn reset_snapshots(&mut self, why: &str) {
        self.give_up_snapshot(why);
        self.snapshots.draining = false;
        self.chores = true;
    }

    /// The walk is over, or nobody wants it: nobody waits for it.
    fn end_care(&mut self) {
        self.note_careful();
        self.release_writers();
    }

    /// Whether writers may have to wait: for a walk, or for what is landing.
    pub(super) fn note_careful(&mut self) {
        let walks = self.snapshots.making.as_ref().is_some_and(|m| !m.closing);
        self.conditions.careful = walks || !self.landings.is_empty();
    }

    /// Gives what was written to the files, if it is `least` bytes.
    fn send_chunks(&mut self, least: usize) {
        let Some(making) = &mut self.snapshots.making else { return };
        let Some(chunk) = making.paper.take(least) else { return };
        making.fresh = false;
        let mut sockets = false;
        for consumer in &mut making.consumers {
            consumer.sent += chunk.len() as u64;
            match consumer.plan {
                Some(_) => self.snapshots.orders.push((consumer.id, FileOrder::Chunk(chunk.clone()))),
                None => sockets = true,
            }
        }
        if sockets {
            self.send_payload(&chunk);
        }
    }

    // ---- files

    /// What `net/` is to do with files since it last asked.
    pub fn take_file_orders(&mut self) -> Vec<(u64, FileOrder)> {
        std::mem::take(&mut self.snapshots.orders)
    }

    #[inline]
    pub fn has_file_orders(&self) -> bool {
        !self.snapshots.orders.is_empty()
    }

    /// The system has taken so many bytes of a file's chunks.
    pub fn file_written(&mut self, id: u64, bytes: u64) {
        let Some(making) = &mut self.snapshots.making else { return };
        if let Some(consumer) = making.consumers.iter_mut().find(|c| c.id == id && c.written != bytes) {
            consumer.written = bytes;
            self.chores |= !making.closing;
        }
    }

    /// A file is in its place, or never will be.
    pub fn file_ended(&mut self, id: u64, outcome: Result<(), String>, now: Now) {
        self.begin(now);
        if let Some(making) = &mut self.snapshots.making
            && let Some(i) = making.consumers.iter().position(|c| c.id == id)
        {
            let consumer = making.consumers.remove(i);
            let dirty = making.dirty;
            if making.consumers.is_empty() {
                self.forget_snapshot();
            }
            match consumer.purpose {
                Purpose::Save => self.saved(outcome, dirty),
                Purpose::Rewrite => self.rewritten(outcome),
                Purpose::Replicas | Purpose::Spool => self.spooled(outcome),
            }
        }
        self.begin_snapshot();
        self.end_turn();
    }

    /// All takers are gone.
    fn forget_snapshot(&mut self) {
        if self.snapshots.making.take().is_some_and(|m| !m.closing) {
            self.ks.abandon_snapshot();
            self.snapshots.draining = true;
            self.chores = true;
            self.end_care();
            self.grant();
        }
    }

    /// Nobody wants saves that are under way or wait to begin.
    fn drop_saves(&mut self) {
        self.drop_purpose(Purpose::Save);
    }

    fn drop_purpose(&mut self, purpose: Purpose) {
        let is_save = |c: &mut Consumer| c.purpose == purpose;
        self.snapshots.queue.retain_mut(|c| !is_save(c));
        let Some(making) = &mut self.snapshots.making else { return };
        let dropped = making.consumers.extract_if(.., is_save).map(|c| (c.id, FileOrder::Drop));
        self.snapshots.orders.extend(dropped);
        if making.consumers.is_empty() {
            self.forget_snapshot();
        }
    }

    fn give_up_snapshot(&mut self, why: &str) {
        let Some(making) = &mut self.snapshots.making else { return };
        let (consumers, dirty) = (std::mem::take(&mut making.consumers), making.dirty);
        self.forget_snapshot();
        for consumer in consumers {
            if consumer.plan.is_some() {
                self.snapshots.orders.push((consumer.id, FileOrder::Drop));
            }
            match consumer.purpose {
                Purpose::Save => self.saved(Err(why.to_owned()), dirty),
                Purpose::Rewrite => self.rewritten(Err(why.to_owned())),
                Purpose::Replicas | Purpose::Spool => self.payload_fails(why),
            }
        }
    }

    // ---- writers that wait

    /// Whether a command has to wait for the snapshot, or for what is landing. Only to be asked while there is
    /// such a thing.
    #[cold]
    pub(super) fn awaits_snapshot(&mut self, db: usize, spec: &Spec, args: Args<'_>, key: FirstKey) -> bool {
        if !may_write(spec) {
            return false;
        }
        if !self.landings.is_empty() && self.awaits_landing(db, spec, args) {
            return true;
        }
        if self.snapshots.making.is_none() {
            return false;
        }
        if self.ks.snapshot_backlog() > SNAPSHOT_BACKLOG {
            return true;
        }
        let single = spec.legacy.first > 0 && spec.legacy.last == spec.legacy.first && spec.keys.len() == 1;
        if single && key.arg > 0 {
            let bytes = args.at(key.arg as usize);
            return self.awaits_value(db, &Key { bytes, slot: key.slot, hash: key.hash });
        }
        let keys = table::keys_of(spec, args);
        let mut waits = false;
        for k in keys.iter() {
            let key = self.ks.hasher().key(args.at(k.index));
            waits |= self.awaits_value(db, &key);
        }
        waits
    }

    /// Whether the key's value is too large to be handed out at once; then it is written next.
    fn awaits_value(&mut self, db: usize, key: &Key) -> bool {
        let waits = self.ks.db(db).owes_large(key);
        if waits {
            self.ks.urge(db, key);
        }
        waits
    }

    /// As [`Shard::awaits_snapshot`], for a client of ours whose command runs here.
    #[cold]
    pub(super) fn must_wait_for_snapshot(
        &mut self,
        client: u32,
        spec: &Spec,
        args: Args<'_>,
        key: FirstKey,
    ) -> bool {
        let db = self.clients.get(client).map_or(0, |s| s.caller.db);
        self.awaits_snapshot(db, spec, args, key)
    }

    /// Holds a client's command, sent as `bytes` behind `before`, until it may write.
    pub(super) fn hold_for_snapshot(&mut self, client: u32, bytes: &[u8], before: Option<&'static Spec>) {
        if let Some(session) = self.clients.get(client) {
            session.hold = Hold::Snapshot;
            session.last = before;
            session.held.extend_from_slice(bytes);
            self.snapshots.waiting.push((client, session.generation));
        }
    }

    /// A sibling's batch stands still for the snapshot.
    pub(super) fn stand_for_snapshot(&mut self) {
        self.snapshots.standing = true;
    }

    /// Lets those who wait try again.
    pub(super) fn release_writers(&mut self) {
        for (client, generation) in std::mem::take(&mut self.snapshots.waiting) {
            if let Some(session) = self.clients.get_same(client, generation)
                && session.hold == Hold::Snapshot
                && session.let_go()
            {
                self.resume.push(client);
            }
        }
        self.serve_put_off();
        if std::mem::take(&mut self.snapshots.standing) {
            self.go_on_standing();
            self.go_on_parked();
            self.grant();
        }
    }
}
