//! The payload of a primary: it becomes a keyspace beside the one that serves, and takes its place once it
//! is whole. So what is here stays as it was, and is served, until then; whatever `repl-diskless-load` says,
//! nothing goes over a disk.

use crate::command::ctx::limits;
use crate::command::host::{Library, Policy};
use crate::command::rdb::put;
use crate::config::Config;
use crate::persist::rdb::{Item, Reader};
use crate::repl::history::Id;
use crate::repl::position::Told;
use crate::shard::Shard;
use crate::store::{Clock, Expiry, Hasher, Keyspace};
use crate::value::Limits;

/// A payload that comes.
pub(super) struct Loading {
    reader: Reader,
    ks: Box<Keyspace>,
    limits: Limits,
    clock: Clock,
    ended: bool,
    told: Told,
    libraries: Vec<Library>,
}

impl Loading {
    pub(super) fn new(conf: &Config, hasher: Hasher, databases: usize, clock: Clock, seed: u64) -> Loading {
        Loading {
            reader: Reader::new(u64::MAX, conf.rdbchecksum),
            ks: Keyspace::new(databases, hasher, seed),
            limits: limits(conf),
            // keys past their time are the primary's to delete
            clock: Clock { expiry: Expiry::Ignore, ..clock },
            ended: false,
            told: Told::default(),
            libraries: Vec::new(),
        }
    }

    /// Takes up the payload's next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.ended {
            return Err("there is more behind the end of the data".into());
        }
        self.reader.feed(bytes);
        loop {
            match self.reader.next(&self.limits, usize::MAX).map_err(|failure| failure.to_string())? {
                Item::Key(key) => {
                    put(&mut self.ks, *key, &self.clock, false)?;
                }
                Item::Aux(name, value) => self.told.note(&name, &value),
                Item::EmptyKey(key) => {
                    tracing::warn!("rdbLoadObject skipping empty key: {}", String::from_utf8_lossy(&key));
                }
                Item::Function(code) => {
                    let library = Library::read(&code, true, |_| false);
                    let text = |error: Vec<u8>| String::from_utf8_lossy(&error).into_owned();
                    self.libraries.push(library.map_err(text)?);
                }
                Item::Sizes { .. } | Item::Working => {}
                Item::Feed(_) => return Ok(()),
                Item::End => {
                    self.ended = true;
                    return Ok(());
                }
            }
        }
    }

    /// The database that the stream behind it goes on in.
    pub(super) fn db(&self) -> usize {
        self.told.db().unwrap_or(0).min(self.ks.databases() - 1)
    }

    /// The data, if it is whole.
    pub(super) fn finish(self) -> Result<(Box<Keyspace>, Vec<Library>), String> {
        if self.ended { Ok((self.ks, self.libraries)) } else { Err("the data ends too early".into()) }
    }
}

impl Shard {
    /// The primary's libraries take the place of ours; of a host that has other nodes, only of those with the
    /// same names.
    pub(super) fn adopt_libraries(&mut self, libraries: Vec<Library>) {
        let ours = &self.host.registers.libraries;
        let taken = match self.at.shards == 1 {
            true => ours.add(libraries, Policy::Flush),
            false => libraries.into_iter().try_for_each(|library| ours.adopt(library)),
        };
        if let Err(error) = taken {
            tracing::warn!("a library of the MASTER is not taken up: {}", String::from_utf8_lossy(&error));
        }
    }

    /// The primary's data takes the place of ours.
    pub(super) fn adopt_keyspace(&mut self, ks: Box<Keyspace>, of: Option<(Id, u64)>) {
        self.send_replicas_away();
        self.reset_snapshots("The data of a primary has taken the place of ours");
        let mut old = std::mem::replace(&mut self.ks, ks);
        for (new, old) in self.ks.iter_mut().zip(old.iter_mut()) {
            new.stats = std::mem::take(&mut old.stats);
            let garbage = old.clear();
            old.leave(garbage);
        }
        self.garbage.extend(old.drain_garbage());
        self.configure();
        self.track_expired();
        self.begin_log_anew();
        self.invalidate_all(None, None);
        let (id, offset) = of.unwrap_or_else(|| (Id::random(&mut self.rng), 0));
        self.repl.primary.adopt(id, offset);
        self.metrics.dirty.inc();
    }
}
