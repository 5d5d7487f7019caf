//! What commands have done for them outside the shards: files, and figures of the process.

use super::disk;
use super::doors::Doors;
use crate::command::host::{Host, NewFile, OldFile, Outside};
use crate::config::{Config, ConfigError, Directive, Topology};
use nix::sys::resource::{UsageWho, getrusage};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const NODE_PORT: &str =
    "This port is the node's address in its cluster, and stays as long as the server runs";

/// The real outside of a host that listens nowhere.
pub struct System;

impl Outside for System {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match fs::read(path) {
            Ok(bytes) => Ok(bytes),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e.to_string()),
        }
    }

    fn write(&self, path: &str, text: &[u8]) -> Result<(), String> {
        // two cores may write the same
        let temporary = format!("{path}.{}.{:?}.tmp", std::process::id(), std::thread::current().id());
        let write = || -> std::io::Result<()> {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        };
        write().map_err(|e| {
            let _ = fs::remove_file(&temporary);
            e.to_string()
        })
    }

    fn create(&self, temporary: &str) -> Result<Box<dyn NewFile>, String> {
        disk::Draft::create(temporary).map(|draft| Box::new(draft) as Box<dyn NewFile>)
    }

    fn open(&self, path: &str) -> Result<Option<OldFile>, String> {
        let found = disk::open(path)?;
        Ok(found.map(|(size, file)| (size, Box::new(file) as _)))
    }

    fn remove(&self, path: &str) {
        // it may be gone already
        let _ = std::fs::remove_file(path);
    }

    fn configure(&self, old: &Config, new: &Config, _: &[&'static Directive]) -> Result<(), ConfigError> {
        if new.dir != old.dir {
            std::env::set_current_dir(&new.dir).map_err(|e| ConfigError::failed("dir", e.to_string()))?;
        }
        if new.maxclients > old.maxclients {
            let shards = new.shard_count(1);
            let nodes = if new.topology == Topology::Standalone { 0 } else { shards };
            super::allow_files(new.maxclients as u64, shards, nodes).map_err(|possible| {
                let why =
                    "The operating system is not able to handle the specified number of clients, try with";
                ConfigError::failed("maxclients", format!("{why} {possible}"))
            })?;
        }
        super::oom::apply(new).map_err(|why| {
            tracing::warn!("{why}");
            let why = "Failed to apply new oom_score_adj configuration, check server logs.";
            ConfigError::failed("oom-score-adj", why)
        })?;
        super::log::set_level(new.loglevel);
        Ok(())
    }

    fn purge(&self) {
        super::heap::purge();
    }

    fn stand_still(&self, us: u64) {
        std::thread::sleep(Duration::from_micros(us));
    }

    fn guess_proof(&self, out: &mut [u8]) -> Result<(), String> {
        let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(out));
        read.map_err(|e| e.to_string())
    }
}

/// The real outside, doors included.
pub struct Premises(pub Arc<Doors>);

impl Outside for Premises {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        System.read(path)
    }

    fn write(&self, path: &str, text: &[u8]) -> Result<(), String> {
        System.write(path, text)
    }

    fn create(&self, temporary: &str) -> Result<Box<dyn NewFile>, String> {
        System.create(temporary)
    }

    fn open(&self, path: &str) -> Result<Option<OldFile>, String> {
        System.open(path)
    }

    fn remove(&self, path: &str) {
        System.remove(path);
    }

    fn configure(
        &self,
        old: &Config,
        new: &Config,
        changed: &[&'static Directive],
    ) -> Result<(), ConfigError> {
        let moves = new.port != old.port;
        if moves && !self.0.has_front() {
            return Err(ConfigError::failed("port", NODE_PORT));
        }
        System.configure(old, new, changed)?;
        if !moves && new.bind == old.bind {
            return Ok(());
        }
        self.0.reopen(new).map_err(|why| {
            tracing::warn!("{why}");
            // it is all or nothing
            let _ = System.configure(new, old, changed);
            match moves {
                true => ConfigError::failed("port", "Unable to listen on this port. Check server logs."),
                false => ConfigError::failed("bind", "Failed to bind to specified addresses."),
            }
        })
    }

    fn purge(&self) {
        System.purge();
    }

    fn stand_still(&self, us: u64) {
        System.stand_still(us);
    }

    fn guess_proof(&self, out: &mut [u8]) -> Result<(), String> {
        System.guess_proof(out)
    }
}

/// As [`publish`], when the host is ready to serve: what it has on the heap by then does not count, but for as much
/// as redis-server would have.
pub fn publish_base(host: &Host) {
    publish(host);
    let base = (crate::metrics::used_memory() as u64).saturating_sub(crate::limits::STARTUP_COUNTED);
    host.registers.process.base_memory.store(base, Relaxed);
}

/// Publishes what INFO shows of the process.
pub fn publish(host: &Host) {
    // a server that has become a replica, or is none any more, has another score
    let _ = super::oom::apply(&host.live.snapshot());
    let process = &host.registers.process;
    let resident = fs::read_to_string("/proc/self/statm").ok();
    let pages = resident.and_then(|s| s.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0);
    process.rss.store(pages * 4096, Relaxed);
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        process.cpu_user_us.store(micros(usage.user_time()), Relaxed);
        process.cpu_system_us.store(micros(usage.system_time()), Relaxed);
    }
}

/// Publishes the CPU time of the calling core.
pub fn publish_thread(metrics: &crate::metrics::Metrics) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) {
        metrics.cpu_user_us.set(micros(usage.user_time()));
        metrics.cpu_system_us.set(micros(usage.system_time()));
    }
}

fn micros(time: nix::sys::time::TimeVal) -> u64 {
    time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64
}

/// System, release and machine, as `uname -srm` says them; and the machine's memory in bytes.
pub fn machine() -> (String, u64) {
    let read = |path: &str| fs::read_to_string(path).map(|s| s.trim().to_string()).unwrap_or_default();
    let os = format!(
        "{} {} {}",
        read("/proc/sys/kernel/ostype"),
        read("/proc/sys/kernel/osrelease"),
        std::env::consts::ARCH
    );
    let memory = read("/proc/meminfo");
    let kib = memory
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    (os, kib.unwrap_or(0) * 1024)
}
