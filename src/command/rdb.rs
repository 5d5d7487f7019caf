//! A shard's data to its RDB file and back.
//!
//! Every shard has a file of its own: `dbfilename` where there is but one, else that name with the
//! port of the shard's node, or in a standalone server its number. A file tells in facts of our own,
//! over which other servers pass, when it was written and which slots it speaks for: so a host that
//! starts with other shards than it had knows whose word counts (see `net/load`).

use std::io::Read;
use std::sync::atomic::Ordering::Relaxed;

use super::host::{COMPATIBLE_VERSION, Host, Libraries};
use crate::cluster::view::View;
use crate::config::Config;
use crate::limits::{RDB_READ, RDB_STEP, RDB_WRITE};
use crate::persist::rdb::{Head, Item, Loaded, Reader, Usage, Writer};
use crate::slot::Slot;
use crate::store::{Clock, Expiry, Keyspace, Owned};
use crate::value::Limits;

/// When the file was written, in unix microseconds.
pub const SAVED_AT: &str = "shoal-saved-us";
/// The slots that it speaks for: ranges, in words. Without it, all.
pub const SLOTS: &str = "shoal-slots";

/// Who saves or loads, and what it knows.
pub struct Place<'a> {
    pub me: usize,
    pub host: &'a Host,
    pub view: &'a View,
    pub conf: &'a Config,
    pub clock: Clock,
    pub now_us: u64,
}

fn temporary(host: &Host, what: &str, shard: usize) -> String {
    match (host.metrics.len(), what) {
        // as Redis calls it
        (1, "save") => format!("temp-{}.rdb", host.pid),
        (1, _) => format!("temp-{what}-{}.rdb", host.pid),
        _ => format!("temp-{what}-{}-{shard}.rdb", host.pid),
    }
}

/// What the files of all shards are called before they are whole.
pub fn temporaries<'a>(host: &'a Host, what: &'a str) -> impl Iterator<Item = String> + 'a {
    (0..host.metrics.len()).map(move |shard| temporary(host, what, shard))
}

impl Place<'_> {
    /// The shard's file.
    pub fn file(&self) -> String {
        file(self.host, self.conf, self.me)
    }

    /// What the file is called before it is whole; SAVE and BGSAVE may be at it at one time.
    pub fn temporary(&self, what: &str) -> String {
        temporary(self.host, what, self.me)
    }

    fn slots(&self) -> String {
        let ranges = self.view.ranges(self.view.local_index(self.me));
        let words: Vec<String> = ranges.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        words.join(" ")
    }
}

/// A shard's file.
pub fn file(host: &Host, conf: &Config, shard: usize) -> String {
    host.file_of(&conf.dbfilename, shard)
}

/// The slots of [`SLOTS`]; `None` when its text is none of ours.
pub fn parse_slots(text: &[u8]) -> Option<Vec<(Slot, Slot)>> {
    let range = |word: &str| {
        let (from, to) = word.split_once('-')?;
        Some((from.parse().ok()?, to.parse().ok()?))
    };
    std::str::from_utf8(text).ok()?.split_ascii_whitespace().map(range).collect()
}

/// Writes all of a shard's data to its file, with facts that go beyond [`facts`], and notes that. What went
/// wrong is in the log, too.
pub fn save(ks: &Keyspace, at: &Place<'_>, more: &[(&'static str, String)]) -> Result<(), String> {
    let path = at.file();
    let mut all = facts(at, Use::Data);
    all.extend_from_slice(more);
    write(ks, at, &path, &all)
        .inspect_err(|why| tracing::warn!("Write error saving DB on disk({path}): {why}"))?;
    let m = &at.host.metrics[at.me];
    m.saving.dirty.set(m.dirty.get());
    m.saving.failed.set(0);
    at.host.registers.saved(at.me).store(at.now_us / 1_000_000, Relaxed);
    tracing::info!("DB saved on disk");
    Ok(())
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Data,
    /// A log begins with it.
    Base,
}

/// What a file tells of itself. A log says in annotations which slots it speaks for.
pub fn facts(at: &Place<'_>, of: Use) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("redis-ver", COMPATIBLE_VERSION.to_owned()),
        ("redis-bits", usize::BITS.to_string()),
        ("ctime", (at.now_us / 1_000_000).to_string()),
        ("used-mem", crate::metrics::used_memory().to_string()),
        ("aof-base", u8::from(of == Use::Base).to_string()),
    ];
    if of == Use::Base {
        return facts;
    }
    facts.push((SAVED_AT, at.now_us.to_string()));
    if at.host.metrics.len() > 1 || at.host.cluster {
        facts.push((SLOTS, at.slots()));
    }
    facts
}

/// Writes all of a shard's data to a file with which its log begins.
pub fn save_base(ks: &Keyspace, at: &Place<'_>, path: &str) -> Result<(), String> {
    write(ks, at, path, &facts(at, Use::Base))
}

fn write(ks: &Keyspace, at: &Place<'_>, path: &str, facts: &[(&'static str, String)]) -> Result<(), String> {
    let mut file = at.host.outside.create(&at.temporary("save"))?;
    let mut writer = Writer::new(at.conf.rdbcompression, at.conf.rdbchecksum);
    facts.iter().for_each(|(name, value)| writer.aux(name, value.as_bytes()));
    at.host.registers.libraries.all().iter().for_each(|library| writer.function(&library.code));
    // keys past their time are written, too: whoever reads them sees to that
    let clock = Clock { expiry: Expiry::Ignore, ..at.clock };
    for (number, db) in ks.iter().enumerate().filter(|(_, db)| db.len() > 0) {
        writer.database(number, db.len(), db.volatile_len());
        let mut failed = None;
        db.for_each(&clock, |entry| {
            if failed.is_some() {
                return;
            }
            let head = Head {
                key: entry.key(),
                expire_at: entry.expire_at(),
                usage: usage(at.conf, &clock, entry.lru()),
            };
            let mut whole = false;
            while !whole && failed.is_none() {
                whole = writer.key(head, entry.value(), RDB_WRITE);
                if writer.pending() >= RDB_WRITE {
                    failed = writer.flush(|bytes| file.write(bytes)).err();
                }
            }
            if at.conf.rdb_key_save_delay > 0 {
                at.host.outside.stand_still(at.conf.rdb_key_save_delay as u64);
            }
        });
        failed.map_or(Ok(()), Err)?;
    }
    writer.end(|bytes| file.write(bytes))?;
    file.commit(path)
}

/// As `maxmemory-policy` has it: a policy that looks at neither leaves it out.
pub fn usage(conf: &Config, clock: &Clock, lru: u32) -> Usage {
    use crate::config::types::MaxmemoryPolicy::*;
    match conf.maxmemory_policy {
        AllkeysLru | VolatileLru => Usage::Idle(clock.idle(lru)),
        AllkeysLfu | VolatileLfu => Usage::Frequency(clock.frequency(lru)),
        _ => Usage::Unknown,
    }
}

/// Reads a file and calls `visit` with each of its keys. What the error is follows "at offset".
pub fn read(
    file: &mut dyn Read,
    size: u64,
    limits: &Limits,
    checked: bool,
    libraries: &Libraries,
    mut visit: impl FnMut(Loaded) -> Result<(), String>,
) -> Result<(), String> {
    let mut reader = Reader::new(size, checked);
    let mut chunk = vec![0; RDB_READ];
    while !read_on(&mut reader, limits, libraries, &mut visit)? {
        feed(&mut reader, file, &mut chunk)?;
    }
    Ok(())
}

/// Gives a reader the file's next bytes, at most as many as there is room for in `chunk`; how many.
pub fn feed(reader: &mut Reader, file: &mut dyn Read, chunk: &mut [u8]) -> Result<usize, String> {
    loop {
        match file.read(chunk) {
            Ok(0) => return Err(format!("at offset {}: unexpected end of the file", reader.offset())),
            Ok(n) => {
                reader.feed(&chunk[..n]);
                return Ok(n);
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(format!("at offset {}: {e}", reader.offset())),
        }
    }
}

/// Calls `visit` with each key of what a reader was fed, and adopts its libraries; true at the end of the file.
pub fn read_on(
    reader: &mut Reader,
    limits: &Limits,
    libraries: &Libraries,
    visit: &mut dyn FnMut(Loaded) -> Result<(), String>,
) -> Result<bool, String> {
    loop {
        match reader.next(limits, RDB_STEP).map_err(|failure| failure.to_string())? {
            Item::Key(key) => visit(*key)?,
            Item::Feed(_) => return Ok(false),
            Item::EmptyKey(key) => {
                tracing::warn!("rdbLoadObject skipping empty key: {}", String::from_utf8_lossy(&key));
            }
            Item::Function(code) => {
                let taken = libraries.adopt_code(&code);
                taken.map_err(|why| format!("at offset {}: {why}", reader.offset()))?;
            }
            Item::Aux(..) | Item::Sizes { .. } | Item::Working => {}
            Item::End => return Ok(true),
        }
    }
}

/// Takes a key over from a file; false when its time is over. One that is there already is an error,
/// unless `merge`.
pub fn put(ks: &mut Keyspace, loaded: Loaded, clock: &Clock, merge: bool) -> Result<bool, String> {
    let Loaded { db, key, value, expire_at, usage } = loaded;
    if db >= ks.databases() {
        return Err(format!(
            "Data file was created with a server configured to handle more than {} databases",
            ks.databases()
        ));
    }
    if expire_at.is_some_and(|at| clock.expired(at)) {
        return Ok(false);
    }
    let lru = match usage {
        Usage::Idle(seconds) if !clock.lfu => Some(clock.lru_field(seconds)),
        Usage::Frequency(counter) if clock.lfu => Some(clock.lfu_field(counter)),
        _ => None,
    };
    let key = ks.hasher().key(&key);
    let owned = Owned { expire_at, lru, ..Owned::any(value) };
    match ks.db_mut(db).put(&key, owned, clock) && !merge {
        true => Err(format!("the key '{}' is there twice", String::from_utf8_lossy(key.bytes))),
        false => Ok(true),
    }
}

/// Reads a shard's own file back into it. A key that is there already is an error, unless `merge`.
pub fn load(ks: &mut Keyspace, at: &Place<'_>, limits: &Limits, merge: bool) -> Result<(), String> {
    let path = at.file();
    let (size, mut file) = at.host.outside.open(&path)?.ok_or("there is no such file")?;
    let libraries = &at.host.registers.libraries;
    read(&mut *file, size, limits, at.conf.rdbchecksum, libraries, |key| {
        put(ks, key, &at.clock, merge).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::World;
    use crate::config::types::{MaxmemoryPolicy, ProtectedAction};

    #[test]
    fn slots_are_ranges() {
        assert_eq!(parse_slots(b"0-5 7-7"), Some(vec![(0, 5), (7, 7)]));
        assert_eq!(parse_slots(b""), Some(vec![]));
        for text in [&b"5"[..], b"a-b", b"1-70000", b"\xff"] {
            assert_eq!(parse_slots(text), None);
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let mut w = World::new();
        w.conf.enable_debug_command = ProtectedAction::Yes;
        w.conf.maxmemory_policy = MaxmemoryPolicy::AllkeysLru;
        w.check(&[
            ("SET a 1", "+OK|"),
            ("SET b 2 PXAT 1700000005000", "+OK|"),
            ("RPUSH l 1 2", ":2|"),
            ("SELECT 4", "+OK|"),
            ("HSET h f v", ":1|"),
        ]);
        w.caller.db = 0;
        w.host.metrics[0].dirty.set(9);
        w.check(&[("LASTSAVE", ":0|"), ("SAVE", "+OK|"), ("LASTSAVE", ":1700000000|")]);
        assert_eq!(w.host.metrics[0].unsaved_changes(), 0);
        let digest = w.run("DEBUG DIGEST");
        w.at(1_700_000_003_000);
        w.check(&[("DEL a", ":1|"), ("SET c 3", "+OK|"), ("DEBUG RELOAD NOSAVE", "+OK|")]);
        assert_eq!(w.run("DEBUG DIGEST"), digest);
        w.check(&[("PEXPIRETIME b", ":1700000005000|"), ("OBJECT IDLETIME a", ":0|")]);
        // over what is there, and not
        w.check(&[
            ("SET a 9", "+OK|"),
            ("SET c 3", "+OK|"),
            ("DEBUG RELOAD NOSAVE NOFLUSH", "-ERR Error trying to load the RDB dump|"),
            ("DEBUG RELOAD NOSAVE NOFLUSH MERGE", "+OK|"),
            ("MGET a c", "*2|$1|1|$1|3|"),
            ("DEBUG RELOAD WHAT", "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.|"),
        ]);
        // what is past its time stays in the file
        w.at(1_700_000_009_000);
        w.check(&[("DEBUG RELOAD NOSAVE", "+OK|"), ("EXISTS a b", ":1|")]);
        w.conf.dbfilename = "/readonly/dump.rdb".into();
        w.check(&[("SAVE", "-ERR|"), ("DEBUG RELOAD", "-ERR|"), ("EXISTS a", ":1|")]);
        w.conf.dbfilename = "none.rdb".into();
        w.check(&[("DEBUG RELOAD NOSAVE", "-ERR Error trying to load the RDB dump|"), ("DBSIZE", ":0|")]);
    }
}
