//! The files of a log: their names, the manifest that lists them, making and deleting them.

use super::describe;
use crate::config::Config;
use crate::net::disk;
use crate::persist::aof::manifest::{self, Manifest};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A log's place and its manifest.
#[derive(Clone, Debug)]
pub struct Files {
    dir: PathBuf,
    /// What the names of its files begin with.
    pub name: String,
    pub manifest: Manifest,
}

/// Whether some shard's log would be called `name`; see [`Host::file_of`](crate::command::host::Host::file_of).
fn is_log_name(conf: &Config, name: &str) -> bool {
    if name == conf.appendfilename {
        return true;
    }
    let (stem, end) = conf.appendfilename.rsplit_once('.').unwrap_or((&conf.appendfilename, ""));
    let tag = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-'));
    let tag = tag
        .and_then(|rest| if end.is_empty() { Some(rest) } else { rest.strip_suffix(end)?.strip_suffix('.') });
    tag.is_some_and(|tag| !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_digit()))
}

/// The names of all logs in the directory, sorted.
pub fn logs(conf: &Config) -> Vec<String> {
    let entries = fs::read_dir(&conf.appenddirname).into_iter().flatten().flatten();
    let names = entries.filter_map(|e| e.file_name().into_string().ok());
    let mut found: Vec<String> = names
        .filter_map(|n| n.strip_suffix(".manifest").map(str::to_owned))
        .filter(|n| is_log_name(conf, n))
        .collect();
    found.sort();
    found
}

/// A manifest that could not be brought to the disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed {
    pub why: String,
    /// It is in its place, but may not last.
    pub placed: bool,
}

impl From<String> for Failed {
    fn from(why: String) -> Failed {
        Failed { why, placed: false }
    }
}

impl From<Failed> for String {
    fn from(failed: Failed) -> String {
        failed.why
    }
}

impl Files {
    /// A log that may be there or not. An error is what to say before giving up.
    pub fn find(conf: &Config, name: String) -> Result<Files, String> {
        let mut files =
            Files { dir: PathBuf::from(&conf.appenddirname), name, manifest: Manifest::default() };
        let path = files.path(&manifest::name(&files.name));
        match fs::read(&path) {
            Ok(text) => files.manifest = Manifest::parse(&text).map_err(|bad| bad.to_string())?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                return Err(format!(
                    "Fatal error: can't open the AOF manifest file {} for reading: {}",
                    path.display(),
                    describe(&e)
                ));
            }
        }
        Ok(files)
    }

    /// Takes up the single file of a server before 7.0, which lies beside the directory, if it is there
    /// and has not been taken up already.
    pub fn upgrade(&mut self) -> Result<(), String> {
        let old = Path::new(&self.name);
        let m = &self.manifest;
        let begun = m.incrs.is_empty()
            && m.base.as_ref().is_some_and(|b| b.name == self.name)
            && !self.path(&self.name).exists();
        if !old.is_file() || !(m.is_empty() || begun) {
            return Ok(());
        }
        self.make_dir()?;
        self.manifest.upgrade(&self.name);
        self.persist()?;
        fs::rename(old, self.path(&self.name)).map_err(|e| {
            let (name, dir) = (&self.name, self.dir.display());
            format!("Error trying to move the old AOF file {name} into dir {dir}: {}", describe(&e))
        })?;
        tracing::info!(
            "Successfully migrated an old-style AOF file ({}) into the AOF directory ({}).",
            self.name,
            self.dir.display()
        );
        Ok(())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn make_dir(&self) -> Result<(), String> {
        match fs::create_dir(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                Err(format!("Can't open or create append-only dir {}: {}", self.dir.display(), describe(&e)))
            }
            _ => Ok(()),
        }
    }

    /// Puts the manifest in the place of the one before, all or nothing, and on the disk.
    pub fn persist(&self) -> Result<(), Failed> {
        let (temp, name) = (manifest::temp_name(&self.name), manifest::name(&self.name));
        let place = self.path(&temp);
        let mut file = disk::create(&place)
            .map_err(|e| format!("Can't open the AOF manifest file {temp}: {}", describe(&e)))?;
        disk::write(&mut file, &place, &self.manifest.text()).map_err(|e| {
            format!("Error trying to write the temporary AOF manifest file {temp}: {}", describe(&e))
        })?;
        disk::sync(&file, &place)
            .map_err(|e| format!("Fail to fsync the temp AOF file {temp}: {}.", describe(&e)))?;
        disk::rename(&place, &self.path(&name)).map_err(|e| {
            format!(
                "Error trying to rename the temporary AOF manifest file {temp} into {name}: {}",
                describe(&e)
            )
        })?;
        disk::sync_folder(&self.path(&name)).map_err(|e| Failed {
            why: format!("Fail to fsync AOF directory {}: {}.", self.dir.display(), describe(&e)),
            placed: true,
        })
    }

    /// Opens the incr file that the log goes on with, and tells its size. `fresh`: it must be a new one.
    pub fn open_incr(&mut self, fresh: bool) -> Result<(File, u64), String> {
        let last = self.manifest.incrs.last().map(|e| e.name.clone()).filter(|_| !fresh);
        let name = last.unwrap_or_else(|| self.manifest.new_incr(&self.name));
        let cant = |e: io::Error| format!("Can't open the append-only file {name}: {}", describe(&e));
        let file = disk::append(&self.path(&name)).map_err(cant)?;
        if fresh {
            file.set_len(0).map_err(cant)?;
        }
        let size = file.metadata().map_err(cant)?.len();
        Ok((file, size))
    }

    /// The incr file of a log whose base is still to be written.
    pub fn open_temp_incr(&self) -> Result<File, String> {
        let name = manifest::temp_incr_name(&self.name);
        let cant = |e: io::Error| format!("Can't open the append-only file {name}: {}", describe(&e));
        let file = disk::append(&self.path(&name)).map_err(cant)?;
        file.set_len(0).map_err(cant)?;
        Ok(file)
    }

    /// Bytes of a file of the log.
    pub fn size(&self, name: &str) -> Result<u64, String> {
        let cant = |e| format!("Unable to obtain the AOF file {name} length. stat: {}", describe(&e));
        fs::metadata(self.path(name)).map(|m| m.len()).map_err(cant)
    }

    /// Deletes what is history, and forgets it.
    pub fn delete_history(&mut self) -> Result<Vec<PathBuf>, String> {
        if self.manifest.history.is_empty() {
            return Ok(Vec::new());
        }
        let names = std::mem::take(&mut self.manifest.history);
        self.persist()?;
        for entry in &names {
            tracing::info!("Removing the history file {} in the background", entry.name);
        }
        Ok(names.iter().map(|e| self.path(&e.name)).collect())
    }

    /// Takes the manifest away, and with it the log.
    pub fn forget(&self) -> Result<(), String> {
        let gone = fs::remove_file(self.path(&manifest::name(&self.name)));
        gone.and_then(|()| File::open(&self.dir)?.sync_all())
            .map_err(|e| format!("Can't remove the log {}: {}", self.name, describe(&e)))
    }

    /// Every file that the manifest names.
    pub fn everything(&self) -> Vec<PathBuf> {
        let m = &self.manifest;
        m.base.iter().chain(&m.history).chain(&m.incrs).map(|e| self.path(&e.name)).collect()
    }
}
