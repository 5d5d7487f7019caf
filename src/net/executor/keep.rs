//! The core's part in durability: it reads the shard's log at start and writes it afterwards.
//!
//! Under `appendfsync always` what a turn wrote is written and a sync begun at the turn's end; the
//! outputs of the turn are set aside until the sync is done. The core goes on with other turns
//! meanwhile, whose outputs wait too, for the next sync or, when they wrote nothing, for this one.

use super::progress::Progress;
use super::rewrite::Patience;
use super::{Core, Event};
use crate::config::types::AppendFsync;
use crate::limits::AOF_READ;
use crate::net::aof::files::Files;
use crate::net::aof::load::{Loader, Step};
use crate::net::aof::{Disk, Fatal, Log, Rules, describe};
use crate::net::clock;
use crate::net::conn::tag;
use crate::net::load::{self, Share, Tally};
use crate::persist::aof::encode;
use crate::shard::mail::Mail;
use crate::shard::stream::Break;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a core that has loaded waits before it looks again whether its siblings have.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What the core keeps of its shard's log.
#[derive(Default)]
pub(super) struct Keeper {
    pub(super) state: State,
    /// A sync is under way for which outputs wait, and it began in this turn.
    committing: bool,
    begun: bool,
    /// Clients whose output waits for it.
    staged: Vec<u32>,
    /// Answers to siblings that wait for it, and for the next one.
    answers: Vec<(usize, Mail)>,
    later: Vec<(usize, Mail)>,
    /// Siblings that are to hear of [`Mail::Landed`], and what must be on the disk before.
    landed: Vec<((u64, u64), usize)>,
    /// Logs of shards that are no more, to be deleted once everybody's own has what they hold.
    foreign: Vec<Files>,
    gate: Gate,
    /// Files that are synced and then closed, with what the sync is called.
    pub(super) retired: Vec<(u64, File)>,
    /// Places in the shard's stream: up to where the log is written, and is on the disk when no sync is under
    /// way.
    written: u64,
    syncing: u64,
    pub(super) patience: Patience,
    /// The base that is being written is an RDB file, and not commands.
    pub(super) rewrites_as_rdb: bool,
    /// Logs that were begun since the start.
    logs: u64,
    pub(super) reading: Progress,
    pub(super) writing: Progress,
}

/// How far the host is, when our own log is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gate {
    Settled,
    Cleared,
    #[default]
    Open,
}

#[derive(Default)]
pub(super) enum State {
    #[default]
    Off,
    /// RDB files are being read.
    Data(Box<load::Loading>),
    /// Logs are.
    Loading(Box<Loader>),
    /// Our logs are read. `told`: siblings know.
    Loaded {
        own: Box<Files>,
        sizes: (u64, u64),
        told: bool,
    },
    On(Box<Log>),
}

/// Ends the process at once: nothing that was not promised yet must be.
pub(super) fn die(why: &str) -> ! {
    tracing::error!("{why}");
    std::process::exit(1);
}

impl Keeper {
    /// Outputs wait for a sync.
    #[inline]
    pub(super) fn holds(&self) -> bool {
        self.committing
    }
}

impl Core {
    /// What the log of shard `of` is called.
    pub(super) fn log_name(&self, of: usize) -> String {
        self.host.file_of(&self.conf.appendfilename, of)
    }

    /// Shards of the host.
    pub(super) fn shards_of_host(&self) -> usize {
        self.backlog.len()
    }

    fn log_rules(&self) -> Rules {
        Rules {
            fsync: self.conf.appendfsync,
            now_s: clock::now().unix_us / 1_000_000,
            timestamps: self.conf.aof_timestamp_enabled,
            spare_disk: self.conf.no_appendfsync_on_rewrite
                && (self.shard.is_rewriting() || self.shard.is_saving()),
        }
    }

    /// Before the first turn: finds what there is to read.
    pub(super) fn begin_log(&mut self) {
        if !self.conf.appendonly {
            return;
        }
        let all: Vec<String> = (0..self.shards_of_host()).map(|shard| self.log_name(shard)).collect();
        let (own, others) = Loader::names(&self.conf, &all, self.me);
        let loader = Loader::new(&self.conf, own, others).unwrap_or_else(|why| die(&why));
        self.shard.begin_loading();
        self.note_loading(loader.total);
        self.keeper.state = State::Loading(Box::new(loader));
    }

    fn note_loading(&self, total: u64) {
        let m = &self.metrics.loading;
        m.since.set(clock::now().unix_us / 1_000_000);
        m.total.set(total);
        m.on.set(1);
    }

    /// Before the first turn: there are RDB files to be read.
    pub(super) fn begin_data(&mut self, share: Share) {
        let chunk = self.conf.loading_process_events_interval_bytes as usize;
        let loading = load::Loading::new(share, self.me, &self.shard, chunk);
        self.shard.begin_loading_data();
        self.note_loading(loading.total);
        self.keeper.state = State::Data(Box::new(loading));
    }

    /// Goes on with RDB files.
    fn load_data(&mut self, mut loading: Box<load::Loading>) {
        let (m, before) = (&self.metrics.loading, loading.tally().loaded);
        let step = loading.step(&mut self.shard);
        m.done.set(loading.tally().read);
        self.delay_load(loading.tally().loaded - before);
        match step {
            Ok(false) => self.keeper.state = State::Data(loading),
            Ok(true) => {
                let tally = loading.tally();
                self.metrics.loading.keys.set(tally.loaded);
                self.metrics.loading.expired.set(tally.expired);
                self.shared.cleared.fetch_add(1, Ordering::Release);
                self.keeper.gate = Gate::Cleared;
                let _ = self.events.send(Event::Loaded(Ok(tally)));
            }
            Err(why) => {
                // the host ends for it, and nobody is served before
                self.keeper.gate = Gate::Settled;
                let _ = self.events.send(Event::Loaded(Err(why)));
            }
        }
    }

    /// `key-load-delay`: microseconds for each key; below 0, one for so many.
    fn delay_load(&self, keys: u64) {
        let delay = self.conf.key_load_delay;
        if delay != 0 {
            let each = delay.unsigned_abs() as u64;
            let us = if delay > 0 { keys.saturating_mul(each) } else { keys / each };
            std::thread::sleep(Duration::from_micros(us));
        }
    }

    /// How long the core may sleep while the host loads; nothing when it does not.
    #[inline]
    pub(super) fn loading_wait(&self) -> Option<Duration> {
        match self.keeper.state {
            State::Loading(_) => Some(Duration::ZERO),
            State::Data(ref loading) => Some(if loading.only_waits() { LOOK_AGAIN } else { Duration::ZERO }),
            State::Loaded { .. } => Some(LOOK_AGAIN),
            _ if self.keeper.gate != Gate::Open => Some(LOOK_AGAIN),
            _ => None,
        }
    }

    /// Everybody has read its logs, and sent what siblings are to have of them.
    #[inline]
    pub(super) fn all_loaded(&self) -> bool {
        matches!(self.keeper.state, State::Loaded { told: true, .. })
            && self.shared.loaded.load(Ordering::Acquire) == self.shards_of_host()
    }

    /// Goes on with loading. `settled`: all have loaded, and there was no mail since.
    pub(super) fn load(&mut self, settled: bool) {
        match std::mem::take(&mut self.keeper.state) {
            State::Data(loading) => self.load_data(loading),
            State::Loading(mut loader) => {
                let before = loader.executed();
                let step =
                    loader.step(&mut self.shard, &self.conf, clock::now()).unwrap_or_else(|why| die(&why));
                self.delay_load(loader.executed().saturating_sub(before));
                self.metrics.loading.done.set(loader.done);
                self.keeper.state = match step {
                    Step::More => State::Loading(loader),
                    Step::Done { own, foreign } => {
                        self.keeper.foreign = foreign;
                        self.shard.hand_over();
                        State::Loaded { own, sizes: (loader.size, loader.base_size), told: false }
                    }
                };
            }
            State::Loaded { own, sizes, told: false } => {
                // what siblings are to have lies in their mailboxes
                let told = !self.must_go_on();
                if told {
                    self.shared.loaded.fetch_add(1, Ordering::Release);
                }
                self.keeper.state = State::Loaded { own, sizes, told };
            }
            State::Loaded { own, sizes, .. } if settled => {
                let adopted = self.shard.settle_loading();
                self.open_log(*own, sizes, adopted).unwrap_or_else(|why| die(&why));
                self.shared.settled.fetch_add(1, Ordering::Release);
                self.keeper.gate = Gate::Settled;
            }
            state => self.keeper.state = state,
        }
        self.tell_loading();
        self.open_gate();
    }

    /// Nobody serves before all have in their own logs what there was, and logs of shards that are no more
    /// are gone: were they read once more, it would be beside what was written since.
    fn open_gate(&mut self) {
        let (shards, count) = (self.shards_of_host(), |count: &AtomicUsize| count.load(Ordering::Acquire));
        match self.keeper.gate {
            Gate::Settled if count(&self.shared.settled) == shards => {
                for files in std::mem::take(&mut self.keeper.foreign) {
                    tracing::info!(
                        "Removing the log {}: its keys are in the logs of this host's shards",
                        files.name
                    );
                    files.forget().unwrap_or_else(|why| die(&why));
                    let _ = self.events.send(Event::Delete(files.everything()));
                }
                self.shared.cleared.fetch_add(1, Ordering::Release);
                self.keeper.gate = Gate::Cleared;
                let _ = self.events.send(Event::Loaded(Ok(Tally::default())));
            }
            Gate::Cleared if count(&self.shared.cleared) == shards + 1 => {
                self.keeper.gate = Gate::Open;
                self.shard.end_loading(clock::now());
                self.metrics.loading.on.set(0);
            }
            _ => {}
        }
    }

    /// Begins to write. Where the log is empty, or does not know all that the shard has, it begins with a
    /// new base.
    fn open_log(
        &mut self,
        mut own: Files,
        (size, base_size): (u64, u64),
        adopted: bool,
    ) -> Result<(), String> {
        own.make_dir()?;
        let anew = own.manifest.is_empty() || adopted;
        let base_size = if anew { self.write_base(&mut own)? } else { base_size };
        let had_incr = !own.manifest.incrs.is_empty() && !anew;
        let (file, incr_size) = own.open_incr(anew)?;
        if anew {
            own.manifest.retire_incrs(true);
        }
        own.persist()?;
        let name = own.manifest.incrs.last().map_or(String::new(), |e| e.name.clone());
        tracing::info!(
            "{} AOF incr file {name} on server start",
            if had_incr { "Opening" } else { "Creating" }
        );
        self.delete_history(&mut own)?;
        self.start_log(own, file, incr_size, false);
        if let State::On(log) = &mut self.keeper.state {
            log.base_size = base_size;
            log.earlier = if anew { base_size } else { size.saturating_sub(incr_size) };
        }
        Ok(())
    }

    pub(super) fn start_log(&mut self, files: Files, file: File, size: u64, temporary: bool) {
        // syncs of an older log of this core have other names
        self.keeper.logs += 1;
        let mut log = Log::new(files, file, size, self.keeper.logs << 32);
        log.temporary = temporary;
        self.shard.set_propagating(true);
        self.metrics.aof.enabled.set(1);
        self.metrics.aof.whole.set(!temporary as u64);
        self.keeper.written = self.shard.log_offset();
        self.keeper.state = State::On(Box::new(log));
        self.claim_slots(self.log_rules());
    }

    /// DEBUG LOADAOF: what the log says takes the place of what the shard holds.
    #[cold]
    fn reload_log(&mut self) {
        self.write_log(true);
        let ready = match &self.keeper.state {
            State::On(log) => log.is_idle() && !log.temporary,
            state => matches!(state, State::Off),
        };
        if !ready {
            return;
        }
        if !self.shard.begin_reload() {
            return;
        }
        let loader = Loader::new(&self.conf, self.log_name(self.me), Vec::new());
        let mut loader = loader.unwrap_or_else(|why| die(&why));
        loop {
            match loader.step(&mut self.shard, &self.conf, clock::now()) {
                Ok(Step::More) => {}
                Ok(Step::Done { .. }) => break,
                Err(why) => die(&why),
            }
        }
        self.shard.end_reload(clock::now());
        tracing::warn!("Append Only File loaded by DEBUG LOADAOF");
    }

    /// Writes all that the shard has as a new base of the log, and answers its size.
    fn write_base(&mut self, files: &mut Files) -> Result<u64, String> {
        let log = files.name.clone();
        let rdb = self.conf.aof_use_rdb_preamble;
        let name = files.manifest.new_base(&log, rdb);
        tracing::info!("Creating AOF base file {name} on server start");
        if rdb {
            let path = files.path(&name);
            self.shard.save_base(&path.display().to_string(), clock::now())?;
            return files.size(&name);
        }
        let temp = PathBuf::from(format!("temp-rewriteaof-{}-{}.aof", self.host.pid, self.me));
        let wrong = |e: io::Error| format!("Write error writing append only file on disk: {}", describe(&e));
        let written = self.write_all(&temp).map_err(wrong)?;
        std::fs::rename(&temp, files.path(&name)).map_err(|e| {
            format!("Error moving temp append only file on the final destination: {}", describe(&e))
        })?;
        Ok(written)
    }

    fn write_all(&mut self, path: &Path) -> io::Result<u64> {
        let mut file = File::create(path)?;
        let (mut out, mut written) = (Vec::with_capacity(AOF_READ), 0);
        if self.conf.aof_timestamp_enabled {
            encode::timestamp(&mut out, self.log_rules().now_s);
        }
        for db in 0..self.shard.databases() {
            let mut next = self.shard.next_used_slot(db, 0);
            if next.is_some() {
                encode::select(&mut out, db);
            }
            while let Some(slot) = next {
                self.shard.restate_slot(db, slot, &mut out);
                if out.len() >= AOF_READ {
                    written += out.len() as u64;
                    file.append(&out).map_err(|(_, e)| e)?;
                    out.clear();
                }
                next = self.shard.next_used_slot(db, slot + 1);
            }
        }
        written += out.len() as u64;
        file.append(&out).map_err(|(_, e)| e)?;
        file.sync_all()?;
        Ok(written)
    }

    pub(super) fn delete_history(&mut self, files: &mut Files) -> Result<(), String> {
        if !self.conf.aof_disable_auto_gc {
            let gone = files.delete_history()?;
            let _ = self.events.send(Event::Delete(gone));
        }
        Ok(())
    }

    /// Writes what this turn has changed, and begins a sync if the policy wants it now.
    #[inline]
    pub(super) fn keep_log(&mut self) {
        self.heed_conf();
        self.keeper.begun = false;
        if self.shard.has_stream() || matches!(&self.keeper.state, State::On(log) if !log.is_idle()) {
            self.write_log(false);
        }
        if self.shard.wants_reload() {
            self.reload_log();
        }
    }

    #[cold]
    fn write_log(&mut self, force: bool) {
        let rules = self.log_rules();
        if self.shard.take_log_anew() {
            self.begin_log_anew(rules);
        }
        let State::On(log) = &mut self.keeper.state else { return };
        match self.shard.take_stream(log.intake(rules)) {
            None => {}
            Some(Break::Cut(at)) => self.begin_incr(at, rules),
            Some(Break::End) => return self.turn_off_log(),
        }
        let State::On(log) = &mut self.keeper.state else { return };
        if let Err(Fatal(why)) = log.write(rules, force) {
            die(&why);
        }
        if log.is_idle() {
            self.keeper.written = self.shard.log_offset();
        }
        self.shard.log_waits(log.pending());
        self.note_error();
        self.begin_sync(rules);
    }

    /// Has writes refused as long as the log can't be written.
    fn note_error(&mut self) {
        let State::On(log) = &self.keeper.state else { return };
        let error = log.error().unwrap_or(0) as u64;
        if self.metrics.aof.error.get() != error {
            self.metrics.aof.error.set(error);
            self.shard.heed_logs();
        }
    }

    fn begin_sync(&mut self, rules: Rules) {
        let State::On(log) = &mut self.keeper.state else { return };
        if let Some((fd, tag)) = log.sync_due(rules) {
            self.ring.sync(fd, tag);
            self.keeper.syncing = self.keeper.written;
            if rules.fsync == AppendFsync::Always {
                self.keeper.committing = true;
                self.keeper.begun = true;
                self.stage();
            }
        }
    }

    /// No reply to a write may leave before the write is on the disk.
    #[inline]
    pub(super) fn syncs_each_write(&self) -> bool {
        self.conf.appendonly && self.conf.appendfsync == AppendFsync::Always
    }

    /// Sets aside what the clients are to get once the sync is done.
    fn stage(&mut self) {
        let mut news = std::mem::take(&mut self.news);
        self.shard.take_news(&mut news);
        for &number in &news {
            let Some(conn) = self.conns.get(number).filter(|c| !c.sending && !c.dead && c.staged.is_empty())
            else {
                continue;
            };
            let mut buf = std::mem::take(&mut conn.spare);
            if self.shard.take_output(number, &mut buf) {
                conn.staged = buf;
            } else {
                conn.spare = buf;
            }
        }
        self.keeper.staged = news;
    }

    /// Keeps back an answer to a sibling that has to wait for a sync.
    pub(super) fn keep_back(&mut self, to: usize, mail: Mail) -> Option<Mail> {
        if matches!(mail, Mail::Landed) {
            self.keeper.landed.push((self.mark(), to));
            self.tell_landed();
            return None;
        }
        if !self.keeper.committing || !matches!(mail, Mail::Replies(_) | Mail::Kept { .. }) {
            return Some(mail);
        }
        let list = if self.keeper.begun { &mut self.keeper.answers } else { &mut self.keeper.later };
        list.push((to, mail));
        None
    }

    /// Where the log stands, with all that it has taken in: which file, and its bytes.
    fn mark(&self) -> (u64, u64) {
        match &self.keeper.state {
            State::On(log) => (log.tag(), log.end()),
            _ => (0, 0),
        }
    }

    /// Tells siblings that the log speaks for what they gave, where it is on the disk as far as `appendfsync`
    /// cares.
    fn tell_landed(&mut self) {
        let Keeper { landed, state, retired, .. } = &mut self.keeper;
        let state = &*state;
        let is_kept = |(tag, end): (u64, u64)| match state {
            State::On(_) if self.conf.appendfsync == AppendFsync::No => true,
            State::On(log) if tag == log.tag() => end <= log.synced_end(),
            _ => retired.iter().all(|(retired, _)| *retired != tag),
        };
        for (_, to) in landed.extract_if(.., |(mark, _)| is_kept(*mark)) {
            self.backlog[to].push_back(Mail::Landed);
        }
    }

    /// The kernel has synced a log.
    pub(super) fn synced(&mut self, tag: u64, result: io::Result<()>) {
        let rules = self.log_rules();
        self.keeper.retired.retain(|(retired, _)| *retired != tag);
        if let State::On(log) = &mut self.keeper.state {
            if let Err(e) = &result {
                // what it was to bring to the disk may not be there
                self.keeper.syncing = 0;
                if tag != log.tag() {
                    tracing::warn!("Fail to fsync the AOF file: {}", describe(e));
                }
            }
            if tag == log.tag()
                && let Err(Fatal(why)) = log.synced(tag, result, rules)
            {
                die(&why);
            }
        }
        self.tell_durable();
        self.tell_landed();
        if self.mark().0 != tag {
            return;
        }
        if std::mem::take(&mut self.keeper.committing) {
            self.release();
        }
    }

    /// Tells the shard how far its log is on the disk: all of the files that a manifest names.
    pub(super) fn tell_durable(&mut self) {
        let State::On(log) = &self.keeper.state else { return };
        if !log.temporary && !log.is_syncing() && self.keeper.retired.is_empty() {
            self.shard.log_synced(self.keeper.syncing);
        }
    }

    /// Sends what has waited for the sync. What came later is the next one's, if there is anything to sync.
    fn release(&mut self) {
        for (to, mail) in std::mem::take(&mut self.keeper.answers) {
            self.backlog[to].push_back(mail);
        }
        for number in std::mem::take(&mut self.keeper.staged) {
            if let Some(conn) = self.conns.get(number).filter(|c| !c.staged.is_empty() && !c.dead) {
                let buf = std::mem::take(&mut conn.staged);
                conn.sending = true;
                let (fd, tag) = (conn.fd(), tag(number, conn.generation));
                self.ring.try_send(fd, buf, 0, tag);
            }
            self.news.push(number);
        }
        self.keeper.answers = std::mem::take(&mut self.keeper.later);
    }

    /// After [`Core::keep_log`]: answers that no sync is to hold back any longer.
    pub(super) fn let_go(&mut self) {
        if !self.keeper.committing {
            for (to, mail) in std::mem::take(&mut self.keeper.answers) {
                self.backlog[to].push_back(mail);
            }
        }
    }

    /// With each tick: syncs of every second, writes that failed, and CONFIG SET appendonly.
    pub(super) fn tick_log(&mut self) {
        let rules = self.log_rules();
        match &mut self.keeper.state {
            State::Off if self.conf.appendonly && self.keeper.gate == Gate::Open => self.turn_on_log(),
            // one that was begun anew meanwhile knows of no end
            State::On(_) if !self.conf.appendonly => self.turn_off_log(),
            State::On(log) => {
                let m = &self.metrics.aof;
                m.enabled.set(1);
                m.whole.set(!log.temporary as u64);
                m.current_size.set(log.total());
                m.base_size.set(log.base_size);
                m.buffer.set(log.pending() as u64);
                m.syncing.set(log.is_syncing() as u64);
                m.delayed.set(log.delayed);
                self.write_log(false);
                self.begin_sync(rules);
            }
            _ => {}
        }
        self.tick_rewrite(rules);
        self.tell_snapshot();
    }

    /// CONFIG SET appendonly no, and the end: what was taken in is brought to the disk.
    fn turn_off_log(&mut self) {
        self.give_up_rewrite("The append-only file is turned off");
        self.close_log();
        self.shard.set_propagating(false);
        let m = &self.metrics.aof;
        m.enabled.set(0);
        m.whole.set(0);
        m.error.set(0);
        self.keeper.state = State::Off;
        self.tell_landed();
        self.end_commit();
    }

    /// There is no sync to wait for any more.
    pub(super) fn end_commit(&mut self) {
        if std::mem::take(&mut self.keeper.committing) {
            self.release();
            self.let_go();
        }
    }

    /// Brings the log to the disk, waiting for it.
    pub(super) fn close_log(&mut self) {
        self.write_log(true);
        let State::On(log) = &mut self.keeper.state else { return };
        if let Err(e) = log.file().sync_data() {
            tracing::warn!("Fail to fsync the AOF file: {}", describe(&e));
            return;
        }
        self.shard.log_synced(self.keeper.written);
        if std::mem::take(&mut self.keeper.committing) {
            self.release();
        }
    }
}
