//! BGSAVE and save points: what becomes of a snapshot that is saved, and what is told of it.

use super::{FilePlan, Purpose, Seal};
use crate::command::error::{Done, SAVING, SYNTAX};
use crate::command::rdb::{Use, facts};
use crate::limits::{SAVE_RETRY_S, SAVE_SYNC};
use crate::persist::rdb::{put_aux, put_begin};
use crate::resp::{Args, Reply};
use crate::shard::Shard;
use std::sync::atomic::Ordering::Relaxed;

/// A save of this shard.
#[derive(Debug, Default)]
pub struct Saving {
    /// One is under way, or waits to begin.
    running: bool,
    /// When the last one was begun, in seconds of unix time.
    tried: u64,
    /// Rounds of the host's save points that this shard has taken part in.
    rounds: u64,
    /// Of one that FLUSHALL began: the changes that were saved before, should it fail.
    before: Option<u64>,
}

impl Shard {
    /// BGSAVE [SCHEDULE]
    pub(in crate::shard) fn bgsave(&mut self, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        match args.len() {
            1 => {}
            2 if args.is(1, "SCHEDULE") => {}
            _ => return Err(SYNTAX),
        }
        if self.snapshots.saving.running {
            return Err(SAVING);
        }
        self.begin_save();
        Reply::new(out, false).simple("Background saving started");
        Ok(())
    }

    /// Whether a background save is under way.
    pub fn is_saving(&self) -> bool {
        self.snapshots.saving.running
    }

    fn begin_save(&mut self) {
        let seconds = self.now.ms() / 1000;
        let saving = &mut self.snapshots.saving;
        (saving.running, saving.tried) = (true, seconds);
        let m = &self.metrics.saving;
        m.saves.inc();
        m.began.set(seconds);
        tracing::info!("Background saving started by pid {}", self.host.pid);
        let place = self.place(self.now);
        let plan = FilePlan {
            temporary: place.temporary("bgsave"),
            target: place.file(),
            sync_every: self.conf.rdb_save_incremental_fsync.then_some(SAVE_SYNC),
            seal: Seal::of_rdb(self.conf.rdbchecksum),
        };
        let mut head = Vec::new();
        put_begin(&mut head);
        facts(&place, Use::Data).iter().for_each(|(name, value)| put_aux(name, value.as_bytes(), &mut head));
        self.want_snapshot(Purpose::Save, Some(plan), head);
    }

    /// A save has ended, of the data as it was after so many changes.
    pub(super) fn saved(&mut self, outcome: Result<(), String>, dirty: u64) {
        let seconds = self.now.ms() / 1000;
        let m = &self.metrics.saving;
        let before = self.snapshots.saving.before.take();
        match &outcome {
            Ok(()) => {
                tracing::info!("DB saved on disk");
                tracing::info!("Background saving terminated with success");
                m.dirty.set(dirty);
                self.host.registers.saved(self.at.me).store(seconds, Relaxed);
            }
            Err(why) => {
                tracing::warn!("{why}");
                tracing::warn!("Background saving error");
                if let Some(before) = before {
                    m.dirty.set(before);
                }
            }
        }
        m.failed.set(outcome.is_err() as u64);
        self.end_save();
        self.note_disk();
    }

    fn end_save(&mut self) {
        let m = &self.metrics.saving;
        m.took.set((self.now.ms() / 1000).saturating_sub(m.began.get()) + 1);
        m.began.set(0);
        m.keys_total.set(0);
        m.keys_done.set(0);
        self.snapshots.saving.running = false;
    }

    /// A save under way is in vain.
    pub(in crate::shard) fn give_up_saves(&mut self) {
        if self.is_saving() {
            self.drop_saves();
            self.end_save();
        }
    }

    /// FLUSHALL: what a save under way would keep is not wanted any more, and what save points keep is
    /// nothing from now on.
    pub(in crate::shard) fn flushed(&mut self) {
        if self.is_saving() {
            tracing::warn!("Background saving given up: all keys are flushed");
            self.give_up_saves();
        }
        if !self.conf.save.0.is_empty() {
            self.begin_save();
            // that there is nothing is as good as saved: no save point is to come due for it
            let saved = &self.metrics.saving.dirty;
            self.snapshots.saving.before.get_or_insert(saved.get());
            saved.set(self.metrics.dirty.get());
        }
    }

    /// Save points: when enough has changed for long enough.
    pub(in crate::shard) fn save_if_due(&mut self) {
        self.note_disk();
        let rounds = self.host.registers.save_rounds.load(Relaxed);
        // a standalone server's shards save together
        let together = !self.host.cluster && self.at.shards > 1;
        let called = together && std::mem::replace(&mut self.snapshots.saving.rounds, rounds) != rounds;
        if self.is_saving() {
            return;
        }
        if called {
            return self.begin_save();
        }
        if together && self.at.me > 0 {
            return;
        }
        let shards = if together { 0..self.at.shards } else { self.at.me..self.at.me + 1 };
        let changes: u64 = self.host.metrics[shards].iter().map(|m| m.unsaved_changes()).sum();
        let now = self.now.ms() / 1000;
        let m = &self.metrics.saving;
        let last = self.host.last_save(self.at.me..self.at.me + 1);
        let may_try = m.failed.get() == 0 || now.saturating_sub(self.snapshots.saving.tried) > SAVE_RETRY_S;
        let due = self.conf.save.0.iter().find(|p| {
            changes >= p.changes.max(0) as u64 && now.saturating_sub(last) as i64 > p.seconds && may_try
        });
        if let Some(point) = due {
            tracing::info!("{} changes in {} seconds. Saving...", point.changes, point.seconds);
            if together {
                self.snapshots.saving.rounds = self.host.registers.save_rounds.fetch_add(1, Relaxed) + 1;
            }
            self.begin_save();
        }
    }

    /// Whether the disk refuses what it should keep: `stop-writes-on-bgsave-error`. The host's shards share
    /// the disk, so all stop when one has failed.
    pub(in crate::shard) fn note_disk(&mut self) {
        let stops = self.conf.stop_writes_on_bgsave_error && !self.conf.save.0.is_empty();
        self.conditions.disk_failed = stops && self.host.metrics.iter().any(|m| m.saving.failed.get() != 0);
    }
}
