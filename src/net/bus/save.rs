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
        write_over(&self.file, text)
    }

    /// Replaces what the file says. When this is back, it is on the disk, whole.
    pub fn save(&mut self, text: &[u8]) -> io::Result<()> {
        let beside = Beside::write(&self.path, text)?;
        self.replace(beside)?;
        sync_folder(&self.path)
    }

    /// What was written beside it takes its place.
    fn replace(&mut self, beside: Beside) -> io::Result<()> {
        beside.done(std::fs::rename(&beside.path, &self.path))?;
        self.file = beside.file;
        Ok(())
    }
}

/// A file that is to replace another: locked, and on the disk.
struct Beside {
    path: PathBuf,
    file: File,
}

impl Beside {
    fn write(place: &Path, text: &[u8]) -> io::Result<Beside> {
        let mut name = place.as_os_str().to_owned();
        name.push(".tmp");
        let path = PathBuf::from(name);
        let beside = Beside { file: open(&path)?, path };
        beside.file.try_lock()?;
        beside.file.set_len(0)?;
        beside.done((&beside.file).write_all(text).and_then(|()| beside.file.sync_all()))?;
        Ok(beside)
    }

    /// After a failure nothing is left of it.
    fn done(&self, outcome: io::Result<()>) -> io::Result<()> {
        outcome.inspect_err(|_| drop(std::fs::remove_file(&self.path)))
    }
}

fn write_over(file: &File, text: &[u8]) -> io::Result<()> {
    let len = file.metadata()?.len();
    // a reader, or an end in between, finds empty lines at most
    let mut text = text.to_vec();
    let wanted = text.len() as u64;
    text.resize(text.len().max(len as usize), b'\n');
    file.write_all_at(&text, 0)?;
    if len > wanted { file.set_len(wanted) } else { Ok(()) }
}

/// Makes a rename last.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
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
    /// Held for moments only, never while the disk is waited for.
    conf: Mutex<InHand>,
    next: Mutex<Next>,
    changed: Condvar,
    /// The newest version in the file, and on the disk.
    written: AtomicU64,
    saved: AtomicU64,
}

struct InHand {
    conf: NodesConf,
    /// The last version that was put in without waiting for the disk.
    put: Option<(u64, Vec<u8>)>,
}

impl InHand {
    /// What is on the disk beside it takes its place, with what was put in since.
    fn replace(&mut self, version: u64, beside: Beside) -> io::Result<()> {
        if let Some((_, newer)) = self.put.take_if(|(put, _)| *put > version) {
            beside.done(write_over(&beside.file, &newer))?;
        }
        self.conf.replace(beside)
    }
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
        let path = conf.path.clone();
        let shared = Arc::new(Shared {
            conf: Mutex::new(InHand { conf, put: None }),
            next: Mutex::default(),
            changed: Condvar::new(),
            written: AtomicU64::new(0),
            saved: AtomicU64::new(0),
        });
        let at_work = shared.clone();
        let thread = std::thread::Builder::new().name("nodes.conf".into()).spawn(move || {
            while let Some((version, text)) = at_work.wait() {
                let outcome = at_work.save(&path, version, &text);
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
    /// the file at once.
    pub fn save(&self, version: u64, text: Vec<u8>, sync: bool) {
        if !sync && self.put(version, &text) {
            return;
        }
        self.shared.change(|next| next.version = Some((version, text)));
    }

    /// Whether a version got into the file. An error is the thread's to meet.
    fn put(&self, version: u64, text: &[u8]) -> bool {
        let mut hand = self.shared.conf.lock().expect("nobody panics with it");
        let put = hand.conf.put(text).is_ok();
        if put {
            hand.put = Some((version, text.to_vec()));
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

    /// Puts a version on the disk, while newer ones may be put into the file.
    fn save(&self, path: &Path, version: u64, text: &[u8]) -> io::Result<()> {
        let beside = Beside::write(path, text)?;
        self.conf.lock().expect("nobody panics with it").replace(version, beside)?;
        sync_folder(path)
    }

    /// The next version to write; none at the end.
    fn wait(&self) -> Option<(u64, Vec<u8>)> {
        let mut next = self.next.lock().expect("nobody panics with it");
        loop {
            if next.version.is_some() || next.stop {
                return next.version.take();
            }
            next = self.changed.wait(next).expect("nobody panics with it");
        }
    }
}
