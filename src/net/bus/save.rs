//! nodes.conf on the disk: written beside, fsynced, renamed into place, and locked all the while.
//!
//! The lock is on the file itself, as Redis has it, so neither a second Shoal nor a redis-server
//! starts with the same file. A file that replaces another is locked before it does.

use super::Progress;
use crate::limits;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// The file of this host, locked.
pub struct NodesConf {
    path: PathBuf,
    /// Holds the lock as long as it is open.
    file: File,
}

impl NodesConf {
    /// Locks the file, which comes into being empty when there is none, and reads it.
    pub fn open(path: &str) -> Result<(NodesConf, Vec<u8>), String> {
        let cant = |e: io::Error| format!("Can't open {path} in order to acquire a lock: {e}");
        let file = locked(Path::new(path)).map_err(cant)?.ok_or_else(|| {
            format!(
                "Sorry, the cluster configuration file {path} is already used by a different Redis Cluster \
                 node. Please make sure that different nodes use different cluster configuration files."
            )
        })?;
        // where it is must not depend on a later change of directory, nor a link be replaced by a file
        let real = std::fs::canonicalize(path).map_err(cant)?;
        let cant = |e: io::Error| format!("Loading the cluster node config from {path}: {e}");
        let len = file.metadata().map_err(cant)?.len();
        if len > limits::NODES_CONF {
            return Err(format!("Loading the cluster node config from {path}: {len} bytes are too many"));
        }
        let mut text = Vec::with_capacity(len as usize);
        (&file).take(limits::NODES_CONF).read_to_end(&mut text).map_err(cant)?;
        Ok((NodesConf { path: real, file }, text))
    }

    /// Writes over what the file says. It is there when this process ends in whichever way, but a loss of
    /// power may lose or tear it, as with Redis: [`NodesConf::save`] is to follow soon. Costs some
    /// microseconds, where a file in its place costs fifty times that.
    pub fn put(&mut self, text: &[u8]) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        // a reader, or an end in between, finds empty lines at most
        let mut text = text.to_vec();
        let wanted = text.len() as u64;
        text.resize(text.len().max(len as usize), b'\n');
        self.file.write_all_at(&text, 0)?;
        if len > wanted { self.file.set_len(wanted) } else { Ok(()) }
    }

    /// Replaces what the file says. When this is back, it is on the disk, whole.
    pub fn save(&mut self, text: &[u8]) -> io::Result<()> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".tmp");
        let temporary = PathBuf::from(name);
        let mut file = open(&temporary)?;
        file.try_lock()?;
        file.set_len(0)?;
        let write = file.write_all(text).and_then(|()| file.sync_all());
        if let Err(e) = write.and_then(|()| std::fs::rename(&temporary, &self.path)) {
            let _ = std::fs::remove_file(&temporary);
            return Err(e);
        }
        self.file = file;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)
}

/// The file at `path` with its lock; `None` when somebody else has it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // whoever had it may have put another file in its place just before
        let (ours, there) = (file.metadata()?, std::fs::metadata(path)?);
        if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
            return Ok(Some(file));
        }
    }
}

/// Writes versions of nodes.conf on a thread of its own: an fsync takes as long as the disk likes.
pub struct Saver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// Held by the thread while it saves.
    conf: Mutex<NodesConf>,
    next: Mutex<Next>,
    changed: Condvar,
    /// The newest version in the file, and on the disk.
    written: AtomicU64,
    saved: AtomicU64,
}

#[derive(Default)]
struct Next {
    version: Option<(u64, Vec<u8>)>,
    stop: bool,
}

impl Saver {
    /// `told` is called from the saving thread after each save: with an error, the disk has failed
    /// and nothing more is saved.
    pub fn start(conf: NodesConf, told: impl Fn(io::Result<()>) + Send + 'static) -> io::Result<Saver> {
        let shared = Arc::new(Shared {
            conf: Mutex::new(conf),
            next: Mutex::default(),
            changed: Condvar::new(),
            written: AtomicU64::new(0),
            saved: AtomicU64::new(0),
        });
        let at_work = shared.clone();
        let thread = std::thread::Builder::new().name("nodes.conf".into()).spawn(move || {
            while at_work.wait() {
                // taken with the file in hand: nothing newer gets into it in between
                let mut conf = at_work.conf.lock().expect("nobody panics with it");
                let next = at_work.next.lock().expect("nobody panics with it").version.take();
                let Some((version, text)) = next else { continue };
                let outcome = conf.save(&text);
                drop(conf);
                let failed = outcome.is_err();
                if !failed {
                    at_work.saved.store(version, Ordering::Release);
                }
                told(outcome);
                if failed {
                    return;
                }
            }
        })?;
        Ok(Saver { shared, thread: Some(thread) })
    }

    /// Takes a version to write. One that waits still is not written any more. Without `sync` it is in
    /// the file at once, unless the disk is being waited for just then.
    pub fn save(&self, version: u64, text: Vec<u8>, sync: bool) {
        if !sync && self.put(version, &text) {
            return;
        }
        self.shared.change(|next| next.version = Some((version, text)));
    }

    /// Whether a version got into the file without waiting. An error is the thread's to meet.
    fn put(&self, version: u64, text: &[u8]) -> bool {
        let Ok(mut conf) = self.shared.conf.try_lock() else { return false };
        // what waits is older, and must not come after this
        let idle = self.shared.next.lock().expect("nobody panics with it").version.is_none();
        let put = idle && conf.put(text).is_ok();
        if put {
            self.shared.written.store(version, Ordering::Release);
        }
        put
    }

    pub fn progress(&self) -> Progress {
        let saved = self.shared.saved.load(Ordering::Acquire);
        Progress { written: self.shared.written.load(Ordering::Acquire).max(saved), saved }
    }
}

impl Drop for Saver {
    /// What was taken is written first.
    fn drop(&mut self) {
        self.shared.change(|next| next.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn change(&self, how: impl FnOnce(&mut Next)) {
        how(&mut self.next.lock().expect("nobody panics with it"));
        self.changed.notify_one();
    }

    /// Whether there is a version to write; not at the end.
    fn wait(&self) -> bool {
        let mut next = self.next.lock().expect("nobody panics with it");
        loop {
            if next.version.is_some() || next.stop {
                return next.version.is_some();
            }
            next = self.changed.wait(next).expect("nobody panics with it");
        }
    }
}
