//! What the thread that belongs to no shard does while the host serves, and how the host ends.

use super::{AtWork, data};
use crate::command::host::{Asked, Host};
use crate::config::types::ShutdownFlags;
use crate::limits;
use crate::net::executor::Event;
use crate::net::log::Log;
use crate::net::{self, clock, outside};
use crate::store::Garbage;
use signal_hook::consts::SIGINT;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

pub(super) fn delete(files: Vec<PathBuf>) {
    for file in files {
        if let Err(e) = std::fs::remove_file(&file) {
            tracing::warn!("Can't remove {}: {e}", file.display());
        }
    }
}

pub(super) fn free(host: &Host, garbage: Vec<Garbage>) {
    let process = &host.registers.process;
    for one in garbage {
        let objects = one.objects() as u64;
        drop(one);
        process.lazyfree_pending.fetch_sub(objects, Ordering::Relaxed);
        process.lazyfreed.fetch_add(objects, Ordering::Relaxed);
    }
}

/// How often the process is looked at as a whole.
const EVERY: Duration = Duration::from_secs(1);
const PURGE_EVERY: Duration = Duration::from_secs(limits::PURGE_S);
/// How often replicas are looked at that are waited for.
const LOOK: Duration = Duration::from_millis(10);

/// Frees what is big, gives memory back, and ends the host when that is asked for. With what code the process
/// then exits.
pub(super) fn wait(inbox: &Receiver<Event>, log: &Log, host: &Host, at_work: &AtWork) -> ExitCode {
    let shutdown = &host.registers.shutdown;
    let mut next = Instant::now() + EVERY;
    let mut next_purge = Instant::now() + PURGE_EVERY;
    loop {
        let now = Instant::now();
        if now >= next {
            next = now + EVERY;
            outside::publish(host);
        }
        if now >= next_purge {
            next_purge = now + PURGE_EVERY;
            net::heap::purge();
        }
        let patience =
            if shutdown.asked().is_some() { LOOK } else { next.saturating_duration_since(Instant::now()) };
        match inbox.recv_timeout(patience) {
            Ok(Event::Garbage(garbage)) => free(host, garbage),
            Ok(Event::Delete(files)) => delete(files),
            Ok(Event::ReopenLog) => {
                if let Err(e) = log.reopen() {
                    tracing::warn!("Can't reopen the log file: {e}");
                }
            }
            Ok(Event::Signal(SIGINT)) if shutdown.asked().is_some() => data::insisted(host),
            Ok(Event::Signal(signal)) => {
                shutdown.ask(by_signal(host, signal));
                begin(host);
            }
            // it may have been aborted since
            Ok(Event::Shutdown) if shutdown.asked().is_some() => begin(host),
            Ok(Event::Failed(why)) => {
                tracing::error!("{why}");
                return ExitCode::FAILURE;
            }
            // the last two are of a shutdown that was given up, and of loading
            Ok(Event::Shutdown | Event::Saved(_) | Event::Loaded(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return ExitCode::SUCCESS,
        }
        if host.cron_paused.load(Ordering::Relaxed) {
            continue;
        }
        if let Some(how) = shutdown.asked().filter(|how| how.now || !waits_for_replicas(host)) {
            if may_end(how, host, at_work, inbox) {
                return ExitCode::SUCCESS;
            }
            shutdown.abort();
        }
    }
}

/// `shutdown-on-sigint` and `shutdown-on-sigterm`.
fn by_signal(host: &Host, signal: i32) -> Asked {
    let conf = host.live.snapshot();
    let (name, flags) = match signal {
        SIGINT => ("SIGINT", conf.shutdown_on_sigint),
        _ => ("SIGTERM", conf.shutdown_on_sigterm),
    };
    tracing::warn!("Received {name} scheduling shutdown...");
    let ShutdownFlags { save, nosave, now, force } = flags;
    Asked { save: save || !nosave && !conf.save.0.is_empty(), force, now }
}

/// The host is to end: replicas may catch up first.
fn begin(host: &Host) {
    let shutdown = &host.registers.shutdown;
    let Some(how) = shutdown.asked().filter(|_| shutdown.waits_until().is_none()) else { return };
    tracing::warn!("User requested shutdown...");
    let patience_ms = u64::from(host.live.snapshot().shutdown_timeout) * 1000;
    if !how.now && patience_ms > 0 && replicas(host).any(|lag| lag > 0) {
        shutdown.wait_until(clock::now().ms() + patience_ms);
        tracing::info!("Waiting for replicas before shutting down.");
    }
}

/// Bytes that each replica of a shard of this host has not acknowledged.
fn replicas(host: &Host) -> impl Iterator<Item = u64> + '_ {
    (0..host.metrics.len()).flat_map(|shard| {
        let report = host.registers.replication(shard);
        let lags = report.replicas.iter().map(|replica| report.offset.saturating_sub(replica.acked));
        lags.collect::<Vec<_>>()
    })
}

fn waits_for_replicas(host: &Host) -> bool {
    let until = host.registers.shutdown.waits_until();
    until.is_some_and(|until| clock::now().ms() < until && replicas(host).any(|lag| lag > 0))
}

/// Does what has to be done before the host ends. False when it can't, and goes on.
fn may_end(how: Asked, host: &Host, at_work: &AtWork, inbox: &Receiver<Event>) -> bool {
    let (all, lagging) = (replicas(host).count(), replicas(host).filter(|lag| *lag > 0).count());
    if all > 0 {
        tracing::info!("{} of {all} replicas are in sync when shutting down.", all - lagging);
    }
    let begun = |m: &crate::metrics::AofMetrics| m.enabled.get() > m.whole.get();
    if host.metrics.iter().any(|m| begun(&m.aof)) {
        if !how.force {
            tracing::warn!("Writing initial AOF, can't exit.");
            return false;
        }
        tracing::warn!("Writing initial AOF. Exit anyway.");
    }
    if !how.save || data::save(host, at_work, inbox) {
        return true;
    }
    match how.force {
        true => tracing::warn!("Error trying to save the DB. Exit anyway."),
        false => tracing::warn!("Error trying to save the DB, can't exit."),
    }
    how.force
}
