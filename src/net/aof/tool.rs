//! `shoal --check-aof FILE|MANIFEST`: redis-check-aof, of bases that are RDB files, too.

use super::describe;
use crate::persist::aof::check::{Check, Subject, Verdict};
use crate::persist::aof::manifest::Manifest;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// What is asked of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    /// Cut off what is damaged, if the user agrees.
    pub fix: bool,
    /// Cut off what is later than this, in unix seconds.
    pub until: i64,
}

/// Checks, printing what it finds. False when something is wrong.
pub fn run(request: &Request) -> bool {
    match check(request) {
        Ok(sound) => sound,
        Err(why) => {
            println!("{why}");
            false
        }
    }
}

fn check(request: &Request) -> Result<bool, String> {
    let path = Path::new(&request.path);
    let cant = |e| format!("Cannot open file {}: {}", request.path, describe(&e));
    let text = fs::File::open(path).and_then(|file| is_manifest(&mut BufReader::new(file))).map_err(cant)?;
    let mut check = Check::default();
    if !text {
        println!("Start checking Old-Style AOF");
        let rdb = is_rdb(path).map_err(cant)?;
        let done = one(&mut check, request, &request.path, path, (true, rdb))?;
        return Ok(report(done, &format!("AOF {}", request.path), &request.path, request.until));
    }
    println!("Start checking Multi Part AOF");
    let manifest = Manifest::parse(&fs::read(path).map_err(cant)?).map_err(|bad| bad.to_string())?;
    let files: Vec<_> = manifest.files().collect();
    for (i, entry) in files.iter().enumerate() {
        let file = path.parent().unwrap_or(Path::new(".")).join(&entry.name);
        let base = manifest.base.as_ref() == Some(*entry);
        let rdb = base
            && is_rdb(&file).map_err(|e| format!("Cannot open file {}: {}", file.display(), describe(&e)))?;
        if base {
            println!("Start to check BASE AOF ({} format).", if rdb { "RDB" } else { "RESP" });
        } else if i == usize::from(manifest.base.is_some()) {
            println!("Start to check INCR files.");
        }
        let done = one(&mut check, request, &entry.name, &file, (i + 1 == files.len(), rdb))?;
        let what = format!("{} AOF {}", if base { "BASE" } else { "INCR" }, entry.name);
        if !report(done, &what, &entry.name, request.until) {
            return Ok(false);
        }
    }
    println!("All AOF files and manifest are valid");
    Ok(true)
}

/// A manifest has a line that begins with `file`.
fn is_manifest(input: &mut impl BufRead) -> std::io::Result<bool> {
    let mut line = Vec::new();
    while Read::take(&mut *input, 1024).read_until(b'\n', &mut line)? > 0 {
        if line.starts_with(b"file") {
            return Ok(true);
        }
        line.clear();
    }
    Ok(false)
}

/// A base, or a log of before 7.0, may be an RDB file to begin with.
fn is_rdb(path: &Path) -> std::io::Result<bool> {
    let mut begin = Vec::new();
    Read::take(fs::File::open(path)?, 8).read_to_end(&mut begin)?;
    Ok(begin.len() == 8 && begin.starts_with(b"REDIS"))
}

enum Done {
    Sound,
    Empty,
    Truncated,
    TruncatedToTime,
    Wrong,
}

fn report(done: Done, what: &str, name: &str, until: i64) -> bool {
    match done {
        Done::Sound => println!("{what} is valid"),
        Done::Empty => println!("{what} is empty"),
        Done::Truncated => println!("Successfully truncated AOF {name}"),
        Done::TruncatedToTime => println!("Successfully truncated AOF {name} to timestamp {until}"),
        Done::Wrong => return false,
    }
    true
}

fn one(
    check: &mut Check,
    request: &Request,
    name: &str,
    path: &Path,
    (last, rdb): (bool, bool),
) -> Result<Done, String> {
    let shown = path.display().to_string();
    let cant = |e| format!("Cannot open file {shown}: {}, aborting...", describe(&e));
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(cant)?;
    let size = file.metadata().map_err(cant)?.len();
    if size == 0 {
        return Ok(Done::Empty);
    }
    let mut from = 0;
    if rdb {
        let end = crate::net::check::rdb(&shown, name, |line| println!("{line}"));
        from = end.ok_or("RDB preamble of AOF file is not sane, aborting.")?;
        println!("RDB preamble is OK, proceeding with AOF tail...");
    }
    file.seek(SeekFrom::Start(from)).map_err(cant)?;
    let of = Subject { name, path: &shown, size, last, until: request.until };
    let found = check.file(of, from, &mut BufReader::new(&file));
    print!("{}", std::mem::take(&mut check.said));
    let found =
        found.map_err(|e| format!("Failed to read from AOF {name}, aborting...: {}", describe(&e)))?;
    match found {
        Verdict::Sound => Ok(Done::Sound),
        Verdict::Hopeless => Ok(Done::Wrong),
        Verdict::Later { from } => match file.set_len(from) {
            Ok(()) => Ok(Done::TruncatedToTime),
            Err(_) => Err(format!("Failed to truncate AOF {name} to timestamp {}", request.until)),
        },
        Verdict::Damaged { .. } if !request.fix => {
            Err(format!("AOF {name} is not valid. Use the --fix option to try fixing it."))
        }
        Verdict::Damaged { .. } if !last => {
            Err(format!("Failed to truncate AOF {name} because it is not the last file"))
        }
        Verdict::Damaged { ok_up_to } => {
            println!(
                "This will shrink the AOF {name} from {size} bytes, with {} bytes, to {ok_up_to} bytes",
                size - ok_up_to
            );
            print!("Continue? [y/N]: ");
            let _ = std::io::stdout().flush();
            let mut answer = String::new();
            let _ = std::io::stdin().read_line(&mut answer);
            if !answer.starts_with(['y', 'Y']) {
                return Err("Aborting...".into());
            }
            file.set_len(ok_up_to).map_err(|_| format!("Failed to truncate AOF {name}"))?;
            Ok(Done::Truncated)
        }
    }
}
