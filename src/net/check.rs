//! `--check-rdb`: reads a file as a start would, and says what it finds, much as redis-check-rdb does.

use std::io::Read;

use super::{clock, disk};
use crate::limits;
use crate::persist::rdb::{Item, Reader};
use crate::value::Limits;

#[derive(Default)]
struct Counts {
    keys: u64,
    expires: u64,
    expired: u64,
}

/// Checks a file, which is called `name`; `say` is given line by line what to print. Where the data ends if
/// they are good: behind them there may be commands, in a log's base.
pub fn rdb(path: &str, name: &str, mut say: impl FnMut(String)) -> Option<u64> {
    let mut counts = Counts::default();
    say(format!("[offset 0] Checking RDB file {name}"));
    let end = match read(path, &mut counts, &mut say) {
        Ok(offset) => {
            say(format!("[offset {offset}] \\o/ RDB looks OK! \\o/"));
            Some(offset)
        }
        Err(lines) => {
            say("--- RDB ERROR DETECTED ---".into());
            lines.into_iter().for_each(&mut say);
            None
        }
    };
    say(format!("[info] {} keys read", counts.keys));
    say(format!("[info] {} expires", counts.expires));
    say(format!("[info] {} already expired", counts.expired));
    end
}

/// How long the file is, or what is wrong with it.
fn read(path: &str, counts: &mut Counts, say: &mut impl FnMut(String)) -> Result<u64, Vec<String>> {
    let at = |offset: u64, why: String| vec![format!("[offset {offset}] {why}")];
    let found = disk::open(path).map_err(|why| at(0, why))?;
    let (size, mut file) = found.ok_or_else(|| at(0, "there is no such file".into()))?;
    let now = clock::now().ms();
    let (mut reader, mut chunk) = (Reader::new(size, true), vec![0; limits::RDB_READ]);
    loop {
        let item = reader.next(&Limits::default(), limits::RDB_STEP).map_err(|failure| {
            let mut lines = at(failure.offset, failure.error.to_string());
            let key = reader.key().map(|key| String::from_utf8_lossy(key).into_owned());
            lines.extend(key.map(|key| format!("[additional info] Reading key '{key}'")));
            lines
        })?;
        let offset = reader.offset();
        match item {
            Item::Key(key) => {
                counts.keys += 1;
                counts.expires += u64::from(key.expire_at.is_some());
                counts.expired += u64::from(key.expire_at.is_some_and(|at| at < now));
            }
            Item::Aux(name, value) => {
                let (name, value) = (String::from_utf8_lossy(&name), String::from_utf8_lossy(&value));
                say(format!("[offset {offset}] AUX FIELD {name} = '{value}'"));
            }
            Item::Sizes { db, keys, .. } => {
                say(format!("[offset {offset}] Database {db}: said to have {keys} keys"));
            }
            Item::EmptyKey(key) => {
                say(format!("[offset {offset}] Empty key '{}'", String::from_utf8_lossy(&key)));
            }
            Item::Function(_) => say(format!("[offset {offset}] A library of functions")),
            Item::Working => {}
            Item::Feed(_) => match file.read(&mut chunk).map_err(|e| at(offset, e.to_string()))? {
                0 => return Err(at(offset, "unexpected end of the file".into())),
                n => reader.feed(&chunk[..n]),
            },
            Item::End => return Ok(offset),
        }
    }
}
