//! A shard's append-only file on disk: files, writes and syncs. Formats are `persist/aof`'s.
//!
//! Each shard has a log of its own, and its core keeps it: nothing is shared but the directory. With one
//! shard it is called `appendfilename`, so that redis-server can go on from it and we from
//! redis-server's. With several each has its own port in it, or its number where there are no own ports
//! (`appendonly-7001.aof`); at start the logs of shards that are no more are read too.
//!
//! - [`files`]: names, the manifest, opening and deleting.
//! - [`Log`]: the log while it is written. Writes go to the page cache on the core itself, before the
//!   replies leave, as in redis-server; a sync is handed to the kernel through the core's ring and never
//!   holds the core up. Under `always` the outputs of a turn wait for its sync, and the turns that come
//!   meanwhile share the next one.
//! - [`load`]: reading logs at start.
//! - [`tool`]: `shoal --check-aof`.

pub mod files;
pub mod load;
pub mod tool;

#[cfg(test)]
mod tests;

use crate::config::types::AppendFsync;
use crate::limits::{AOF_ERROR_LOG_S, AOF_KEEP, AOF_POSTPONE_S};
use crate::persist::aof::encode;
use files::Files;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};

/// What a log is written to: a file, or in tests one that fails.
pub trait Disk {
    /// Appends as much as goes; how much that was when it did not all.
    fn append(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)>;
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    fn fd(&self) -> RawFd;
}

impl Disk for File {
    fn append(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut done = 0;
        while done < bytes.len() {
            match self.write(&bytes[done..]) {
                Ok(0) => return Err((done, io::ErrorKind::WriteZero.into())),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err((done, e)),
            }
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn fd(&self) -> RawFd {
        self.as_raw_fd()
    }
}

/// The host can't go on: what it has promised would not be kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Fatal(pub String);

/// What directives say of writing, and the time in unix seconds.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub fsync: AppendFsync,
    pub now_s: u64,
    pub timestamps: bool,
    /// A rewrite is going on, during which there are to be no syncs.
    pub spare_disk: bool,
}

/// The log of a shard while it is written.
pub struct Log<D: Disk = File> {
    pub files: Files,
    file: D,
    /// No manifest names the file yet: a base is being written that goes before it.
    pub temporary: bool,
    /// Tells the syncs of one file from those of the next.
    generation: u64,
    /// What the file does not have yet.
    pending: Vec<u8>,
    /// Bytes of the file, and of those the ones known to be on the disk.
    size: u64,
    synced: u64,
    /// A sync is on its way, for this much.
    syncing: Option<u64>,
    last_sync_s: u64,
    postponed_s: Option<u64>,
    stamped_s: u64,
    /// The system's number of the last write's or sync's error, while it lasts.
    write_error: Option<i32>,
    sync_error: Option<i32>,
    logged_s: Option<u64>,
    /// Bytes of the files before this one, and of all when the base was written.
    pub earlier: u64,
    pub base_size: u64,
    pub delayed: u64,
}

impl<D: Disk> Log<D> {
    /// Goes on with a file of this size.
    /// Its syncs are called `tag` and above.
    pub fn new(files: Files, file: D, size: u64, tag: u64) -> Log<D> {
        Log {
            files,
            file,
            generation: tag,
            temporary: false,
            pending: Vec::new(),
            size,
            synced: size,
            syncing: None,
            last_sync_s: 0,
            postponed_s: None,
            stamped_s: 0,
            write_error: None,
            sync_error: None,
            logged_s: None,
            earlier: 0,
            base_size: 0,
            delayed: 0,
        }
    }

    /// Where the shard is to put its stream: what [`Log::write`] writes.
    pub fn intake(&mut self, rules: Rules) -> &mut Vec<u8> {
        if rules.timestamps && rules.now_s > self.stamped_s {
            self.stamped_s = rules.now_s;
            encode::timestamp(&mut self.pending, rules.now_s);
        }
        &mut self.pending
    }

    /// Nothing waits to be written.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Bytes of the file once all is written that was taken in, and those that are on the disk.
    pub fn end(&self) -> u64 {
        self.size + self.pending.len() as u64
    }

    pub fn synced_end(&self) -> u64 {
        self.synced
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Bytes of all files of the log.
    pub fn total(&self) -> u64 {
        self.earlier + self.size
    }

    #[inline]
    pub fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// The system's number of the error for which writes are refused.
    pub fn error(&self) -> Option<i32> {
        self.write_error.or(self.sync_error)
    }

    /// Writes what is pending, unless a sync is on its way that would hold the write up.
    pub fn write(&mut self, rules: Rules, force: bool) -> Result<(), Fatal> {
        if self.pending.is_empty() || self.must_wait(rules, force) {
            return Ok(());
        }
        self.postponed_s = None;
        match self.file.append(&self.pending) {
            Ok(()) => {
                if self.write_error.take().is_some() {
                    tracing::warn!("AOF write error looks solved, Redis can write again.");
                }
                self.size += self.pending.len() as u64;
                self.pending.clear();
                if self.pending.capacity() > AOF_KEEP {
                    self.pending = Vec::new();
                }
                Ok(())
            }
            Err((written, error)) => self.failed(written, error, rules),
        }
    }

    /// Whether the write is put off: under `everysec` for up to two seconds while a sync is going on.
    fn must_wait(&mut self, rules: Rules, force: bool) -> bool {
        if rules.fsync != AppendFsync::Everysec || self.syncing.is_none() || force {
            // under `always` writes and syncs take turns
            return rules.fsync == AppendFsync::Always && self.syncing.is_some() && !force;
        }
        let since = *self.postponed_s.get_or_insert(rules.now_s);
        if rules.now_s.saturating_sub(since) < AOF_POSTPONE_S {
            return true;
        }
        self.delayed += 1;
        tracing::info!(
            "Asynchronous AOF fsync is taking too long (disk is busy?). Writing the AOF buffer without waiting for \
             fsync to complete, this may slow down Redis."
        );
        false
    }

    #[cold]
    fn failed(&mut self, written: usize, error: io::Error, rules: Rules) -> Result<(), Fatal> {
        let loud = self.logged_s.is_none_or(|at| rules.now_s.saturating_sub(at) > AOF_ERROR_LOG_S);
        if loud {
            self.logged_s = Some(rules.now_s);
        }
        let mut kept = 0;
        if written == 0 {
            if loud {
                tracing::warn!("Error writing to the AOF file: {}", describe(&error));
            }
        } else {
            if loud {
                tracing::warn!(
                    "Short write while writing to the AOF file: (nwritten={written}, expected={})",
                    self.pending.len()
                );
            }
            if let Err(e) = self.file.truncate(self.size) {
                kept = written;
                if loud {
                    tracing::warn!(
                        "Could not remove short write from the append-only file.  Redis may refuse to load the AOF \
                         the next time it starts.  ftruncate: {}",
                        describe(&e)
                    );
                }
            }
        }
        if rules.fsync == AppendFsync::Always {
            return Err(Fatal(
                "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting...".into(),
            ));
        }
        self.size += kept as u64;
        self.pending.drain(..kept);
        self.write_error =
            Some(if written > 0 { libc::ENOSPC } else { error.raw_os_error().unwrap_or(libc::EIO) });
        Ok(())
    }

    /// The descriptor to be synced now, and what to call the sync; nothing while another one is on its way.
    pub fn sync_due(&mut self, rules: Rules) -> Option<(RawFd, u64)> {
        if self.size == self.synced || self.syncing.is_some() || rules.spare_disk {
            return None;
        }
        match rules.fsync {
            AppendFsync::No => return None,
            AppendFsync::Everysec if rules.now_s <= self.last_sync_s => return None,
            _ => {}
        }
        self.last_sync_s = rules.now_s;
        self.syncing = Some(self.size);
        Some((self.file.fd(), self.generation))
    }

    /// A sync has ended.
    pub fn synced(&mut self, tag: u64, result: io::Result<()>, rules: Rules) -> Result<(), Fatal> {
        if tag != self.generation {
            return Ok(());
        }
        let Some(size) = self.syncing.take() else { return Ok(()) };
        match result {
            Ok(()) => {
                self.sync_error = None;
                self.synced = size;
            }
            Err(e) if rules.fsync == AppendFsync::Always => {
                return Err(Fatal(format!(
                    "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {}. Exiting...",
                    describe(&e)
                )));
            }
            Err(e) => {
                if self.sync_error.is_none() {
                    tracing::warn!("Fail to fsync the AOF file: {}", describe(&e));
                }
                self.sync_error = Some(e.raw_os_error().unwrap_or(libc::EIO));
            }
        }
        Ok(())
    }

    /// Everything that was taken in is on the disk.
    pub fn is_safe(&self) -> bool {
        self.pending.is_empty() && self.synced == self.size
    }

    /// Goes on with another, empty file; answers the one before.
    pub fn replace(&mut self, file: D) -> D {
        self.earlier += self.size;
        self.generation += 1;
        (self.size, self.synced, self.syncing) = (0, 0, None);
        std::mem::replace(&mut self.file, file)
    }

    /// What syncs of the file are called.
    pub fn tag(&self) -> u64 {
        self.generation
    }

    /// Takes back what is pending from byte `at` on.
    pub fn hold_back(&mut self, at: usize) -> Vec<u8> {
        self.pending.split_off(at)
    }

    pub fn put_back(&mut self, mut rest: Vec<u8>) {
        self.pending.append(&mut rest);
    }

    /// Forgets all of the file, and what is pending: the base that comes has them.
    pub fn start_over(&mut self) -> io::Result<()> {
        self.file.truncate(0)?;
        self.generation += 1;
        self.pending.clear();
        (self.size, self.synced, self.syncing) = (0, 0, None);
        Ok(())
    }

    pub fn file(&self) -> &D {
        &self.file
    }
}

/// A system error as C's strerror has it.
pub fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
