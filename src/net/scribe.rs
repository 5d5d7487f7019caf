//! A file that grows chunk by chunk on a thread of its own, and takes another's place when it is whole.
//!
//! A disk may take its time: the core that makes the chunks never waits for it, but asks now and then
//! how far it is. Until the very end the file has another name, so whatever happens before leaves the
//! old one as it was.

use super::disk;
use crate::shard::snapshot::{FilePlan, Seal};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

enum Order {
    Chunk(Bytes),
    /// Nothing more comes.
    Finish,
}

#[derive(Default)]
struct Report {
    written: AtomicU64,
    over: AtomicBool,
    outcome: Mutex<Option<Result<(), String>>>,
}

/// The hand that writes one file. Dropped before its end, it takes the unfinished file away.
pub struct Scribe {
    orders: Sender<Order>,
    report: Arc<Report>,
    thread: Option<JoinHandle<()>>,
}

impl Scribe {
    /// Begins a file, once those are over that were given up before: they may have the same names. What goes
    /// wrong is in its outcome.
    pub fn start(plan: FilePlan, given_up: Vec<GivenUp>) -> Scribe {
        let (orders, inbox) = channel();
        let report = Arc::new(Report::default());
        let theirs = report.clone();
        let work = move || {
            leave_core();
            given_up.into_iter().for_each(GivenUp::end);
            let outcome = write(&plan, &inbox, &theirs);
            *theirs.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            theirs.over.store(true, Ordering::Release);
        };
        let thread = std::thread::Builder::new().name("snapshot".into()).spawn(work);
        if let Err(e) = &thread {
            *report.outcome.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Err(format!("Can't save in background: thread: {e}")));
            report.over.store(true, Ordering::Release);
        }
        Scribe { orders, report, thread: thread.ok() }
    }

    // a thread that has failed reads no more: its outcome says why
    pub fn append(&self, chunk: Bytes) {
        let _ = self.orders.send(Order::Chunk(chunk));
    }

    /// The file is whole: it is made to last and takes its place.
    pub fn finish(&self) {
        let _ = self.orders.send(Order::Finish);
    }

    /// Gives the file up, unless it is finished.
    pub fn give_up(self) -> GivenUp {
        GivenUp(self.thread)
    }

    /// Bytes of chunks that the system has taken.
    pub fn written(&self) -> u64 {
        self.report.written.load(Ordering::Relaxed)
    }

    /// How it ended, once, when it has.
    pub fn outcome(&self) -> Option<Result<(), String>> {
        if !self.report.over.load(Ordering::Acquire) {
            return None;
        }
        self.report.outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A file that is not wanted any more, and maybe still there.
pub struct GivenUp(Option<JoinHandle<()>>);

impl GivenUp {
    /// Waits until it is gone, or in its place.
    pub fn end(self) {
        if let Some(thread) = self.0 {
            let _ = thread.join();
        }
    }
}

/// A thread begins on the core of who has started it: this one goes wherever the process may.
fn leave_core() {
    use nix::sched::{sched_getaffinity, sched_setaffinity};
    use nix::unistd::{Pid, getpid};
    // a file is written on this core as well, only slower
    let _ = sched_getaffinity(getpid()).and_then(|all| sched_setaffinity(Pid::from_raw(0), &all));
}

fn write(plan: &FilePlan, inbox: &Receiver<Order>, report: &Report) -> Result<(), String> {
    let folder = || std::env::current_dir().map_or_else(|_| "unknown".into(), |d| d.display().to_string());
    let (temporary, target) = (Path::new(&plan.temporary), Path::new(&plan.target));
    let mut file = disk::create(temporary).map_err(|e| {
        let (name, folder) = (&plan.temporary, folder());
        format!(
            "Failed opening the temp RDB file {name} (in server root dir {folder}) for saving: {}",
            plain(&e)
        )
    })?;
    let cant = |(what, e): (&str, io::Error)| format!("Write error saving DB on disk({what}): {}", plain(&e));
    let done = match fill(plan, &mut file, inbox, report) {
        Ok(true) => disk::sync(&file, temporary).map_err(|e| cant(("fsync", e))),
        Ok(false) => Err("Background saving was given up".into()),
        Err(e) => Err(cant(e)),
    };
    drop(file);
    let done = done.and_then(|()| {
        disk::rename(temporary, target).map_err(|e| {
            format!(
                "Error moving temp DB file {} on the final destination {} (in server root dir {}): {}",
                plan.temporary,
                plan.target,
                folder(),
                plain(&e)
            )
        })
    });
    if done.is_err() {
        let _ = std::fs::remove_file(&plan.temporary);
        return done;
    }
    disk::sync_folder(target).map_err(|e| cant(("fsyncFileDir", e)))
}

/// Writes what comes, synced in strides so that the system never has much of it left to write. False
/// when whoever sent it has gone.
fn fill(
    plan: &FilePlan,
    file: &mut File,
    inbox: &Receiver<Order>,
    report: &Report,
) -> Result<bool, (&'static str, io::Error)> {
    let temporary = Path::new(&plan.temporary);
    let (mut sum, mut unsynced) = (0, 0);
    loop {
        match inbox.recv() {
            Err(_) => return Ok(false),
            Ok(Order::Finish) => break,
            Ok(Order::Chunk(chunk)) => {
                sum = plan.seal.sum(sum, &chunk);
                disk::write(file, temporary, &chunk).map_err(|e| ("rdbSaveRio", e))?;
                unsynced += chunk.len();
                if plan.sync_every.is_some_and(|stride| unsynced >= stride) {
                    disk::sync_data(file, temporary).map_err(|e| ("rdbSaveRio", e))?;
                    unsynced = 0;
                }
                report.written.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
        }
    }
    if !matches!(plan.seal, Seal::Nothing) {
        disk::write(file, temporary, &sum.to_le_bytes()).map_err(|e| ("fflush", e))?;
    }
    Ok(true)
}

/// The system's words for an error, without its number.
fn plain(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::disk::faults;

    #[test]
    fn a_file_that_fails_at_any_step_leaves_the_one_before() {
        let dir = std::env::temp_dir().join(format!("shoal-scribe-faults-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let at = |name: &str| dir.join(name).display().to_string();
        std::fs::write(at("a"), "old").unwrap();
        for (seal, end, steps) in [(Seal::Nothing, 0, 8), (Seal::Zeros, 8, 9)] {
            let save = || {
                let plan = FilePlan { temporary: at("t"), target: at("a"), sync_every: Some(3), seal };
                let scribe = Scribe::start(plan, Vec::new());
                scribe.append(Bytes::from_static(b"new "));
                scribe.append(Bytes::from_static(b"data"));
                scribe.finish();
                loop {
                    match scribe.outcome() {
                        Some(outcome) => return outcome,
                        None => std::thread::sleep(std::time::Duration::from_millis(1)),
                    }
                }
            };
            let new = [&b"new data"[..], &[0; 8][..end]].concat();
            let found = faults::everywhere(&dir, save, |step, done| {
                let found = std::fs::read(at("a")).unwrap();
                let placed = done.is_ok() || step + 1 == steps;
                assert_eq!(found, if placed { &new[..] } else { b"old" }, "{step} {done:?}");
                assert!(!Path::new(&at("t")).exists(), "{step}");
                std::fs::write(at("a"), "old").unwrap();
            });
            assert_eq!(found, steps);
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_is_given_up_is_out_of_the_next_ones_way() {
        let dir = std::env::temp_dir().join(format!("shoal-scribe-again-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let at = |name: &str| dir.join(name).display().to_string();
        let plan = || FilePlan { temporary: at("t"), target: at("a"), sync_every: None, seal: Seal::Nothing };
        for round in 0..200 {
            let first = Scribe::start(plan(), Vec::new());
            first.append(Bytes::from_static(b"first"));
            if round % 2 == 0 {
                first.finish();
            }
            let second = Scribe::start(plan(), vec![first.give_up()]);
            second.append(Bytes::from_static(b"second"));
            second.finish();
            let outcome = loop {
                match second.outcome() {
                    Some(outcome) => break outcome,
                    None => std::thread::sleep(std::time::Duration::from_micros(100)),
                }
            };
            assert_eq!(outcome, Ok(()), "{round}");
            assert_eq!(std::fs::read(at("a")).unwrap(), b"second", "{round}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
