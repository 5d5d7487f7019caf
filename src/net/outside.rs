//! What commands have done for them outside the shards: files, and figures of the process.

use crate::command::host::{Host, Outside};
use crate::config::{Config, ConfigError, Directive};
use nix::sys::resource::{UsageWho, getrusage};
use std::fs;
use std::io::{ErrorKind, Write};
use std::sync::atomic::Ordering::Relaxed;

/// The real outside.
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
        let temporary = format!("{path}.{}.tmp", std::process::id());
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

    fn configure(&self, old: &Config, new: &Config, _: &[&'static Directive]) -> Result<(), ConfigError> {
        if new.port != old.port {
            return Err(ConfigError::failed("port", "Ports can't change while Shoal runs"));
        }
        if new.bind != old.bind {
            return Err(ConfigError::failed("bind", "Addresses can't change while Shoal runs"));
        }
        if new.dir != old.dir {
            std::env::set_current_dir(&new.dir).map_err(|e| ConfigError::failed("dir", e.to_string()))?;
        }
        if new.maxclients > old.maxclients {
            super::allow_files(new.maxclients as u64)
                .map_err(|why| ConfigError::failed("maxclients", why))?;
        }
        super::log::set_level(new.loglevel);
        Ok(())
    }

    fn purge(&self) {
        super::heap::purge();
    }
}

/// Publishes what INFO shows of the process.
pub fn publish(host: &Host) {
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
