//! Reading logs at start, a chunk a turn, so that clients hear that the host loads.

use super::describe;
use super::files::{self, Files};
use crate::config::Config;
use crate::limits::AOF_READ;
use crate::persist::aof::manifest::Entry;
use crate::persist::rdb;
use crate::shard::replay::{End, Replay, Trouble};
use crate::shard::{Now, Shard};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::time::Instant;

/// What is left to read.
pub struct Loader {
    /// Logs, those of shards that are no more first, our own last.
    logs: VecDeque<Files>,
    /// Files of the first log that are still to be read.
    todo: VecDeque<Entry>,
    reading: Option<Reading>,
    buf: Vec<u8>,
    foreign: Vec<Files>,
    pub total: u64,
    pub done: u64,
    pub base_size: u64,
    pub size: u64,
}

struct Reading {
    name: String,
    file: File,
    of: Kind,
    /// No other file of the log comes after it.
    last: bool,
    started: Instant,
}

enum Kind {
    Commands(Box<Replay>),
    Rdb(Box<rdb::Reader>),
}

/// What a step has come to.
pub enum Step {
    More,
    /// Everything is read: our own log as it was found, and those to be deleted in the end.
    Done {
        own: Box<Files>,
        foreign: Vec<Files>,
    },
}

impl Loader {
    /// For the shard whose log is called `own`; `others` are those of shards that are no more and whose
    /// keys are for this one to find.
    pub fn new(conf: &Config, own: String, others: Vec<String>) -> Result<Loader, String> {
        let mut logs = VecDeque::new();
        for name in others.into_iter().chain([own]) {
            let mut files = Files::find(conf, name)?;
            if files.name == conf.appendfilename {
                files.upgrade()?;
            }
            logs.push_back(files);
        }
        let mut loader = Loader {
            logs,
            todo: VecDeque::new(),
            reading: None,
            buf: vec![0; AOF_READ.min(conf.loading_process_events_interval_bytes as usize)],
            foreign: Vec::new(),
            total: 0,
            done: 0,
            base_size: 0,
            size: 0,
        };
        for (i, files) in loader.logs.iter().enumerate() {
            for entry in files.manifest.files() {
                let size = files.size(&entry.name)?;
                loader.total += size;
                if i + 1 == loader.logs.len() {
                    loader.size += size;
                    loader.base_size += if files.manifest.base.as_ref() == Some(entry) { size } else { 0 };
                }
            }
        }
        loader.begin_log();
        Ok(loader)
    }

    /// The names of the logs that shard `me` of `shards` reads: its own, and its share of those that belong
    /// to no shard.
    pub fn names(conf: &Config, all: &[String], me: usize) -> (String, Vec<String>) {
        let mut found = files::logs(conf);
        // what a server before 7.0 left
        if !found.contains(&conf.appendfilename) && std::path::Path::new(&conf.appendfilename).is_file() {
            found.push(conf.appendfilename.clone());
        }
        let foreign = found.into_iter().filter(|name| !all.contains(name)).enumerate();
        let share = foreign.filter(|(i, _)| i % all.len() == me).map(|(_, name)| name);
        (all[me].clone(), share.collect())
    }

    /// Commands of the file that is being read that were executed.
    pub fn executed(&self) -> u64 {
        match self.reading.as_ref().map(|reading| &reading.of) {
            Some(Kind::Commands(replay)) => replay.executed(),
            _ => 0,
        }
    }

    fn begin_log(&mut self) {
        self.todo = self.logs.front().map(|f| f.manifest.files().cloned().collect()).unwrap_or_default();
    }

    /// Reads and executes a chunk.
    pub fn step(&mut self, shard: &mut Shard, conf: &Config, now: Now) -> Result<Step, String> {
        if let Some(reading) = &mut self.reading {
            let n = reading.file.read(&mut self.buf).map_err(|e| {
                let name = &reading.name;
                format!("Unrecoverable error reading the append only file {name}: {}", describe(&e))
            })?;
            self.done += n as u64;
            match &mut reading.of {
                _ if n == 0 => self.end_file(conf)?,
                Kind::Commands(replay) => {
                    let done = shard.replay(replay, &self.buf[..n], now);
                    done.map_err(|t| trouble(&reading.name, t))?;
                }
                Kind::Rdb(reader) => {
                    let done = shard.replay_base(reader, &self.buf[..n], now);
                    if let Some(end) = done.map_err(|why| aborted(&reading.name, &why))? {
                        // an old file goes on with commands
                        let back = std::io::SeekFrom::Start(end);
                        std::io::Seek::seek(&mut reading.file, back).map_err(|e| describe(&e))?;
                        reading.of = Kind::Commands(Box::new(Replay::from_offset(end)));
                    }
                }
            }
            return Ok(Step::More);
        }
        if let Some(entry) = self.todo.pop_front() {
            self.begin_file(&entry.name, conf)?;
            return Ok(Step::More);
        }
        let Some(log) = self.logs.pop_front() else { return Err("There is no log".into()) };
        if self.logs.is_empty() {
            return Ok(Step::Done { own: Box::new(log), foreign: std::mem::take(&mut self.foreign) });
        }
        shard.end_foreign_log();
        self.foreign.push(log);
        self.begin_log();
        Ok(Step::More)
    }

    fn begin_file(&mut self, name: &str, conf: &Config) -> Result<(), String> {
        let log = &self.logs[0];
        let mut file = File::open(log.path(name)).map_err(|e| {
            format!("Fatal error: can't open the append log file {name} for reading: {}", describe(&e))
        })?;
        let mut signature = Vec::new();
        let _ = (&mut file).take(5).read_to_end(&mut signature);
        let of = match signature == b"REDIS" {
            true => {
                match name == conf.appendfilename {
                    true => tracing::info!("Reading RDB preamble from AOF file..."),
                    false => tracing::info!("Reading RDB base file on AOF loading..."),
                }
                let size = file.metadata().map_or(u64::MAX, |m| m.len());
                Kind::Rdb(Box::new(rdb::Reader::new(size, conf.rdbchecksum)))
            }
            false => Kind::Commands(Box::new(Replay::from_offset(0))),
        };
        std::io::Seek::rewind(&mut file).map_err(|e| describe(&e))?;
        self.reading = Some(Reading {
            name: name.to_owned(),
            file,
            of,
            last: self.todo.is_empty(),
            started: Instant::now(),
        });
        Ok(())
    }

    fn end_file(&mut self, conf: &Config) -> Result<(), String> {
        let Some(Reading { name, of, last, started, .. }) = self.reading.take() else { return Ok(()) };
        let Kind::Commands(replay) = of else { return Err(aborted(&name, "it breaks off")) };
        if let End::Cut { whole_up_to, transaction } = replay.end() {
            self.cut(&name, whole_up_to, transaction, conf)?;
            if !last {
                return Err("Fatal error: the truncated file is not the last file".into());
            }
        }
        let kind =
            if self.logs[0].manifest.base.as_ref().is_some_and(|b| b.name == name) { "base" } else { "incr" };
        tracing::info!("DB loaded from {kind} file {name}: {:.3} seconds", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// A file breaks off.
    fn cut(&mut self, name: &str, whole_up_to: u64, transaction: bool, conf: &Config) -> Result<(), String> {
        if transaction {
            tracing::warn!("Revert incomplete MULTI/EXEC transaction in AOF file {name}");
        }
        if conf.aof_load_truncated {
            tracing::warn!("!!! Warning: short read while loading the AOF file {name}!!!");
            tracing::warn!("!!! Truncating the AOF {name} at offset {whole_up_to} !!!");
            let path = self.logs[0].path(name);
            let truncate =
                OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(whole_up_to));
            match truncate {
                Ok(()) => {
                    tracing::warn!("AOF {name} loaded anyway because aof-load-truncated is enabled");
                    return Ok(());
                }
                Err(e) => tracing::warn!("Error truncating the AOF file {name}: {}", describe(&e)),
            }
        }
        Err(format!(
            "Unexpected end of file reading the append only file {name}. You can: 1) Make a backup of your AOF file, \
             then use ./redis-check-aof --fix <filename.manifest>. 2) Alternatively you can set the \
             'aof-load-truncated' configuration option to yes and restart the server."
        ))
    }
}

fn aborted(name: &str, why: &str) -> String {
    format!("Error reading the RDB base file {name}, AOF loading aborted: {why}")
}

fn trouble(name: &str, trouble: Trouble) -> String {
    match trouble {
        Trouble::Format { offset } => format!(
            "Bad file format reading the append only file {name} at offset {offset}: make a backup of your AOF file, \
             then use ./redis-check-aof --fix <filename.manifest>"
        ),
        Trouble::Unknown { command } => {
            format!("Unknown command '{command}' reading the append only file {name}")
        }
    }
}
