//! Data from the disk at the start, and onto it at the end.

use super::AtWork;
use super::ending::{delete, free};
use crate::command::host::Host;
use crate::command::rdb;
use crate::limits;
use crate::net::executor::Event;
use crate::net::load::{Survey, Tally};
use signal_hook::consts::SIGINT;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

fn cannot(why: String) -> String {
    format!("Fatal error loading the DB, exiting. {why}")
}

/// Has all cores load what is on the disk, side by side, as soon as they go. Whether there is anything.
pub fn begin(host: &Host, at_work: &AtWork) -> Result<bool, String> {
    let conf = host.live.snapshot();
    if conf.appendonly {
        // the cores read their append-only files, and nothing else, as Redis does
        return Ok(true);
    }
    let survey = Survey::take(&conf.dbfilename).map_err(cannot)?;
    if survey.is_empty() {
        return Ok(false);
    }
    let shares = survey.share(at_work.threads.len(), |shard, path| path == rdb::file(host, &conf, shard));
    at_work.threads.iter().zip(shares).for_each(|(core, share)| core.load(share));
    Ok(true)
}

/// Waits until all cores have loaded. False when the host is to end before: what is there then is only a part,
/// and must not be saved.
pub fn wait(host: &Host, at_work: &AtWork, inbox: &Receiver<Event>) -> Result<bool, String> {
    let begin = Instant::now();
    let (mut left, mut tally) = (at_work.threads.len(), Tally::default());
    while left > 0 {
        match inbox.recv() {
            Ok(Event::Loaded(outcome)) => {
                tally.add(outcome.map_err(cannot)?);
                left -= 1;
            }
            Ok(Event::Garbage(garbage)) => free(host, garbage),
            Ok(Event::Delete(files)) => delete(files),
            Ok(Event::Failed(why)) => return Err(why),
            Ok(Event::Signal(_)) => return Ok(false),
            Ok(Event::Shutdown) if host.registers.shutdown.asked().is_some() => return Ok(false),
            Ok(Event::Shutdown | Event::ReopenLog | Event::Saved(_)) => {}
            Err(_) => return Ok(false),
        }
    }
    if !host.live.snapshot().appendonly {
        tracing::info!("Done loading RDB, keys loaded: {}, keys expired: {}.", tally.loaded, tally.expired);
        if tally.foreign > 0 {
            tracing::warn!("{} keys are in slots that belong to no shard of this host", tally.foreign);
        }
    }
    tracing::info!("DB loaded from disk: {:.3} seconds", begin.elapsed().as_secs_f64());
    Ok(true)
}

/// Has all shards save, after which they stand still. Whether all could; two shards that wait for each
/// other's slots get over it between two tries.
pub fn save(host: &Host, at_work: &AtWork, inbox: &Receiver<Event>) -> bool {
    tracing::info!("Saving the final RDB snapshot before exiting.");
    for _ in 0..limits::SAVE_TRIES {
        if try_save(host, at_work, inbox) {
            return true;
        }
        at_work.shared.phase.serve();
        std::thread::sleep(Duration::from_millis(limits::SAVE_PATIENCE_MS));
    }
    false
}

fn try_save(host: &Host, at_work: &AtWork, inbox: &Receiver<Event>) -> bool {
    at_work.shared.phase.save();
    let (mut left, mut all) = (at_work.threads.len(), true);
    while left > 0 {
        match inbox.recv() {
            Ok(Event::Saved(outcome)) => {
                left -= 1;
                all &= outcome.is_ok();
            }
            Ok(Event::Garbage(garbage)) => free(host, garbage),
            Ok(Event::Delete(files)) => delete(files),
            Ok(Event::Failed(why)) => {
                tracing::error!("{why}");
                return false;
            }
            Ok(Event::Signal(SIGINT)) => insisted(host),
            Ok(Event::Shutdown | Event::Signal(_) | Event::ReopenLog | Event::Loaded(_)) => {}
            Err(_) => return false,
        }
    }
    all
}

/// Somebody will not wait for the end, nor for the save before it: what is half written goes.
pub fn insisted(host: &Host) -> ! {
    tracing::warn!("You insist... exiting now.");
    rdb::temporaries(host, "save").for_each(|file| host.outside.remove(&file));
    std::process::exit(1)
}
