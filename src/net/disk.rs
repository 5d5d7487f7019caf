//! Files that last: written beside, synced, renamed into place; step by step, so that tests can have any step
//! fail.

#[cfg(test)]
pub mod faults;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::command::host::NewFile;

/// A file that is not yet in its place.
pub struct Draft {
    file: File,
    path: PathBuf,
    placed: bool,
}

impl Draft {
    pub fn create(path: &str) -> Result<Draft, String> {
        let file = create(Path::new(path)).map_err(|e| format!("can't create {path}: {e}"))?;
        Ok(Draft { file, path: path.into(), placed: false })
    }
}

impl NewFile for Draft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        write(&mut self.file, &self.path, bytes).map_err(|e| e.to_string())
    }

    fn commit(mut self: Box<Self>, path: &str) -> Result<(), String> {
        sync(&self.file, &self.path).map_err(|e| format!("fsync: {e}"))?;
        rename(&self.path, Path::new(path)).map_err(|e| format!("rename: {e}"))?;
        self.placed = true;
        sync_folder(Path::new(path)).map_err(|e| format!("fsync of the folder: {e}"))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A step towards the disk is about to be made for this file.
#[inline]
fn step(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::step(path)?;
    let _ = path;
    Ok(())
}

/// An empty file, whatever was there.
pub fn create(path: &Path) -> io::Result<File> {
    step(path)?;
    OpenOptions::new().write(true).create(true).truncate(true).open(path)
}

/// A file that is written at its end, as it is or made now.
pub fn append(path: &Path) -> io::Result<File> {
    step(path)?;
    OpenOptions::new().append(true).create(true).open(path)
}

pub fn write(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // a disk that fills up takes a part
    if let Err(e) = step(path) {
        file.write_all(&bytes[..bytes.len() / 2])?;
        return Err(e);
    }
    file.write_all(bytes)
}

pub fn sync(file: &File, path: &Path) -> io::Result<()> {
    step(path)?;
    file.sync_all()
}

/// Brings what was written to the disk, not what the system knows of the file besides.
pub fn sync_data(file: &File, path: &Path) -> io::Result<()> {
    step(path)?;
    file.sync_data()
}

pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step(to)?;
    fs::rename(from, to)
}

/// The new name of a file lasts only once its folder is synced, too.
pub fn sync_folder(file: &Path) -> io::Result<()> {
    step(file)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A file and its size; `None` when there is none.
pub fn open(path: &str) -> Result<Option<(u64, File)>, String> {
    let cant = |e: std::io::Error| format!("can't open {path}: {e}");
    match File::open(path) {
        Ok(file) => {
            let size = file.metadata().map_err(cant)?.len();
            Ok(Some((size, file)))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(cant(e)),
    }
}

/// Names in the working directory that `wanted` wants, sorted.
pub fn names(wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(".").map_err(|e| format!("can't read the working directory: {e}"))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| wanted(name)).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_that_fails_at_any_step_leaves_what_was_there() {
        let dir = std::env::temp_dir().join(format!("shoal-draft-faults-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (target, temp) = (dir.join("a").display().to_string(), dir.join("t").display().to_string());
        fs::write(&target, "old").unwrap();
        let save = || {
            let mut draft = Box::new(Draft::create(&temp)?);
            draft.write(b"new ")?;
            draft.write(b"data")?;
            draft.commit(&target)
        };
        let steps = faults::everywhere(&dir, save, |step, done| {
            let found = fs::read_to_string(&target).unwrap();
            // the last step is the folder's sync: the file is in its place, and may not last
            assert_eq!(found, if done.is_ok() || step == 5 { "new data" } else { "old" }, "{step} {done:?}");
            assert!(!Path::new(&temp).exists(), "{step}");
            fs::write(&target, "old").unwrap();
        });
        assert_eq!(steps, 6);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn drafts_are_placed_whole_or_leave_nothing() {
        let dir = std::env::temp_dir().join(format!("shoal-draft-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let at = |name: &str| dir.join(name).display().to_string();
        fs::write(at("a"), "old").unwrap();
        let mut draft = Box::new(Draft::create(&at("t")).unwrap());
        draft.write(b"ne").unwrap();
        draft.write(b"w").unwrap();
        assert_eq!(fs::read(at("a")).unwrap(), b"old");
        draft.commit(&at("a")).unwrap();
        assert_eq!(fs::read(at("a")).unwrap(), b"new");
        drop(Draft::create(&at("t")).unwrap());
        // a name that can't be taken
        fs::create_dir(at("folder")).unwrap();
        assert!(Box::new(Draft::create(&at("t")).unwrap()).commit(&at("folder")).is_err());
        assert!(Draft::create(&at("none/t")).is_err());
        assert!(open(&at("none")).unwrap().is_none());
        assert_eq!(open(&at("a")).unwrap().unwrap().0, 3);
        let mut left: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a", "folder"]);
        fs::remove_dir_all(dir).unwrap();
    }
}
