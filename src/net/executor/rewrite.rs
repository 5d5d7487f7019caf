//! Rewriting the log: where the shard takes its snapshot the log goes on in another incr file, and when
//! the snapshot is a file, that is the new base and what came before is history.
//!
//! CONFIG SET appendonly yes is a rewrite too. Until its base is there, the log is a temporary incr file
//! that no manifest names; so it is when a replica has taken up other data: what it had stays on the disk
//! until the base of the new is there.

use super::Core;
use super::keep::{State, die};
use crate::config::Config;
use crate::config::types::AppendFsync;
use crate::limits::{AOF_REWRITE_DELAY_MAX_S, AOF_REWRITE_DELAY_S, AOF_REWRITE_TRIES, SAVE_SYNC};
use crate::net::aof::files::Files;
use crate::net::aof::{Disk, Fatal, Rules, describe};
use crate::persist::aof::{manifest, slots};
use crate::shard::snapshot::{FilePlan, Seal};
use std::fs::File;

/// When the next rewrite may begin by itself.
#[derive(Debug, Default)]
pub(super) struct Patience {
    not_before_s: u64,
    delay_s: u64,
}

impl Patience {
    /// Another rewrite has failed, `failures` in a row.
    fn failed(&mut self, failures: u64, now_s: u64) {
        if failures < AOF_REWRITE_TRIES {
            return;
        }
        self.delay_s = (self.delay_s * 2).clamp(AOF_REWRITE_DELAY_S, AOF_REWRITE_DELAY_MAX_S);
        self.not_before_s = now_s + self.delay_s;
        tracing::warn!(
            "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {} minutes",
            self.delay_s / 60
        );
    }
}

impl Core {
    /// With each tick: rewrites that are asked for or due, and those that have ended.
    pub(super) fn tick_rewrite(&mut self, rules: Rules) {
        if let Some(outcome) = self.shard.take_rewritten() {
            self.end_rewrite(outcome, rules);
        }
        let asked = self.shard.take_rewrite_wish();
        if self.shard.is_rewriting() {
            return;
        }
        let patient = rules.now_s >= self.keeper.patience.not_before_s;
        let due = match &self.keeper.state {
            State::On(log) if log.temporary => patient,
            State::On(log) => {
                let growth = growth(&self.conf, log.total(), log.base_size).filter(|_| patient);
                if let Some(growth) = growth {
                    tracing::info!("Starting automatic rewriting of AOF on {growth}% growth");
                }
                growth.is_some()
            }
            _ => false,
        };
        if (asked || due) && self.loading_wait().is_none() {
            self.begin_rewrite(rules);
        }
        self.metrics.aof.rewriting.set(self.shard.is_rewriting() as u64);
    }

    fn begin_rewrite(&mut self, rules: Rules) {
        let files = match &self.keeper.state {
            State::On(log) => Ok(log.files.clone()),
            _ => Files::find(&self.conf, self.log_name(self.me)),
        };
        let files = files.and_then(|files| files.make_dir().map(|()| files));
        let m = &self.metrics.aof;
        m.rewrites.inc();
        let mut files = match files {
            Ok(files) => files,
            Err(why) => return self.end_rewrite(Err(why), rules),
        };
        let log = files.name.clone();
        let rdb = self.conf.aof_use_rdb_preamble;
        self.keeper.rewrites_as_rdb = rdb;
        let target = files.manifest.new_base(&log, rdb);
        m.rewriting.set(1);
        m.rewrite_since.set(rules.now_s);
        tracing::info!("Background append only file rewriting started by pid {}", self.host.pid);
        self.shard.rewrite_log(FilePlan {
            temporary: self.host.file_of(&format!("temp-rewriteaof-bg-{}.aof", self.host.pid), self.me),
            target: files.path(&target).display().to_string(),
            sync_every: self.conf.aof_rewrite_incremental_fsync.then_some(SAVE_SYNC),
            seal: if rdb { Seal::of_rdb(self.conf.rdbchecksum) } else { Seal::Nothing },
        });
    }

    /// The snapshot is taken where `at` bytes of what is pending stand before it: the rest belongs into
    /// another file.
    pub(super) fn begin_incr(&mut self, at: usize, rules: Rules) {
        let State::On(log) = &mut self.keeper.state else { return };
        let rest = log.hold_back(at);
        match log.temporary {
            true => self.start_over(rules),
            false => self.go_on_in_another(rules),
        }
        let State::On(log) = &mut self.keeper.state else { return };
        log.put_back(rest);
    }

    /// The base that comes has all that a log has which no manifest names.
    fn start_over(&mut self, rules: Rules) {
        let State::On(log) = &mut self.keeper.state else { return };
        match log.start_over() {
            Ok(()) => {
                self.claim_slots(rules);
                // nothing was promised
                self.end_commit();
            }
            Err(e) => self.shard.drop_rewrite(&describe(&e)),
        }
    }

    /// Says at the beginning of a file for which slots it speaks.
    pub(super) fn claim_slots(&mut self, rules: Rules) {
        if self.shards_of_host() > 1
            && let State::On(log) = &mut self.keeper.state
        {
            slots::write(log.intake(rules), slots::Word::Has, &self.shard.own_ranges());
        }
    }

    fn go_on_in_another(&mut self, rules: Rules) {
        let State::On(log) = &mut self.keeper.state else { return };
        let written = log.write(rules, true);
        let opened = match written.is_ok() && log.is_idle() {
            false => Err("The append-only file can't be written to".to_owned()),
            true => {
                let mut files = log.files.clone();
                files.open_incr(true).and_then(|(file, _)| Ok(files.persist().map(|()| (files, file))?))
            }
        };
        match opened {
            Ok((files, file)) => {
                let name = files.manifest.incrs.last().map_or(String::new(), |e| e.name.clone());
                tracing::info!("Creating AOF incr file {name} on background rewrite");
                log.files = files;
                let (tag, before) = (log.tag(), log.replace(file));
                self.claim_slots(rules);
                self.retire(tag, before, rules);
            }
            Err(why) => {
                tracing::warn!("{why}");
                self.shard.drop_rewrite(&why);
            }
        }
    }

    /// Syncs a file that is written no more, and then closes it. Under `always` that is waited for: replies of
    /// this turn may tell of what was written last.
    fn retire(&mut self, tag: u64, file: File, rules: Rules) {
        if rules.fsync == AppendFsync::Always {
            if let Err(e) = file.sync_data() {
                die(&format!(
                    "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {}. Exiting...",
                    describe(&e)
                ));
            }
            // a sync that was under way brings nothing more
            return self.end_commit();
        }
        self.ring.sync(file.fd(), tag);
        self.keeper.retired.push((tag, file));
    }

    fn end_rewrite(&mut self, outcome: Result<(), String>, rules: Rules) {
        let m = self.metrics.clone();
        let m = &m.aof;
        let outcome = outcome.and_then(|()| {
            tracing::info!("Background AOF rewrite terminated with success");
            self.take_base()
        });
        if m.rewriting.get() > 0 {
            m.rewrite_took.set(rules.now_s.saturating_sub(m.rewrite_since.get()) + 1);
            m.rewriting.set(0);
        }
        match outcome {
            Ok(()) => {
                m.rewrites_failed.set(0);
                self.keeper.patience = Patience::default();
                tracing::info!("Background AOF rewrite finished successfully");
            }
            Err(why) => {
                tracing::warn!("{why}");
                tracing::warn!("Background AOF rewrite terminated with error");
                m.rewrites_failed.inc();
                self.keeper.patience.failed(m.rewrites_failed.get(), rules.now_s);
            }
        }
    }

    /// The new base lies in its place: the log begins with it from now on.
    fn take_base(&mut self) -> Result<(), String> {
        let (mut files, on, temporary) = match &self.keeper.state {
            State::On(log) => (log.files.clone(), true, log.temporary),
            _ => (Files::find(&self.conf, self.log_name(self.me))?, false, false),
        };
        let log = files.name.clone();
        let base = files.manifest.new_base(&log, self.keeper.rewrites_as_rdb);
        let size = files.size(&base)?;
        files.manifest.retire_incrs(on && !temporary);
        if temporary {
            let (temp, name) = (manifest::temp_incr_name(&log), files.manifest.new_incr(&log));
            std::fs::rename(files.path(&temp), files.path(&name)).map_err(|e| {
                format!(
                    "Error trying to rename the temporary AOF incr file {temp} into {name}: {}",
                    describe(&e)
                )
            })?;
            tracing::info!("Successfully renamed the temporary AOF incr file {temp} into {name}");
        }
        let placed = match files.persist() {
            Err(failed) if !failed.placed => return Err(failed.why),
            placed => placed,
        };
        // where it is in its place but may not last, the files that it does without are kept
        if placed.is_ok() {
            self.delete_history(&mut files)?;
        }
        // where no log is kept, this one is what can be loaded
        self.metrics.aof.whole.set(1);
        if let State::On(log) = &mut self.keeper.state {
            log.files = files;
            log.temporary = false;
            log.earlier = size;
            log.base_size = log.total();
        }
        self.tell_durable();
        Ok(placed?)
    }

    /// Nobody wants the base that is being written. As in Redis, that is no failure.
    pub(super) fn give_up_rewrite(&mut self, why: &str) {
        self.shard.drop_rewrite(why);
        if self.shard.take_rewritten().is_some() {
            tracing::info!("Background AOF rewrite given up: {why}");
            self.metrics.aof.rewriting.set(0);
        }
    }

    /// The shard has other data than its log.
    pub(super) fn begin_log_anew(&mut self, rules: Rules) {
        self.give_up_rewrite("The data are others now");
        let State::On(log) = &mut self.keeper.state else { return };
        if let Err(Fatal(why)) = log.write(rules, true) {
            die(&why);
        }
        if let Err(e) = log.file().sync_data() {
            tracing::warn!("Fail to fsync the AOF file: {}", describe(&e));
        }
        self.keeper.state = State::Off;
        self.end_commit();
        self.turn_on_log();
        if matches!(self.keeper.state, State::Off) {
            self.shard.set_propagating(false);
        }
    }

    /// CONFIG SET appendonly yes.
    pub(super) fn turn_on_log(&mut self) {
        let name = self.log_name(self.me);
        let opened = Files::find(&self.conf, name).and_then(|files| {
            files.make_dir()?;
            files.open_temp_incr().map(|file| (files, file))
        });
        match opened {
            Ok((files, file)) => self.start_log(files, file, 0, true),
            Err(why) => {
                tracing::warn!("{why}");
                tracing::warn!(
                    "Redis needs to enable the AOF but can't trigger a background AOF rewrite operation. Check the \
                     above logs for more info about the error."
                );
                self.host.live.update(|conf| conf.appendonly = false);
                self.metrics.aof.enabled.set(0);
                self.metrics.aof.rewriting.set(0);
            }
        }
    }
}

/// By how much the log has grown since it was rewritten, in percent, if that is worth a rewrite.
fn growth(conf: &Config, size: u64, base: u64) -> Option<u64> {
    let wanted = conf.auto_aof_rewrite_percentage as u64;
    let growth = (size * 100 / base.max(1)).saturating_sub(100);
    (wanted > 0 && size > conf.auto_aof_rewrite_min_size && growth >= wanted).then_some(growth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_rewritten_when_it_has_grown_enough() {
        let mut conf =
            Config { auto_aof_rewrite_min_size: 100, auto_aof_rewrite_percentage: 50, ..Config::default() };
        for (size, base, want) in
            [(100, 1, None), (150, 100, Some(50)), (149, 100, None), (400, 100, Some(300))]
        {
            assert_eq!(growth(&conf, size, base), want, "{size} {base}");
        }
        assert!(growth(&conf, 101, 0).is_some());
        conf.auto_aof_rewrite_percentage = 0;
        assert_eq!(growth(&conf, 1000, 1), None);
    }

    #[test]
    fn rewrites_that_fail_are_tried_less_often() {
        let mut patience = Patience::default();
        let delays: Vec<u64> = (1..=12)
            .map(|failures| {
                patience.failed(failures, 1000);
                patience.not_before_s.saturating_sub(1000) / 60
            })
            .collect();
        assert_eq!(delays, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    }
}
