//! What a snapshot is written on: an RDB file's keys, or commands that make them, in the order in which they
//! come.

use crate::config::Config;
use crate::persist::aof::encode;
use crate::persist::aof::restate::{Rebuilding, Texts};
use crate::persist::rdb::{Head, Usage, put_database, put_end};
use crate::persist::{Encoder, Writing};
use crate::shard::cron::policy;
use crate::shard::stream::{rebuild, value_of};
use crate::store::snapshot::{By, Encode, Sink};
use crate::store::{Clock, EntryRef, Keyspace};
use bytes::Bytes;

/// What a snapshot consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::shard) enum Form {
    #[default]
    Rdb,
    /// As in a log.
    Commands,
}

/// A large value of which a part is written.
pub(super) enum Piece {
    Rdb(Writing),
    Commands(Rebuilding),
}

/// What a file tells of keys' accesses: what the policy of eviction goes by.
#[derive(Clone, Copy, Debug, Default)]
enum Accesses {
    #[default]
    Nothing,
    Idle,
    Freq,
}

/// How keys are written.
#[derive(Clone, Copy, Debug)]
struct Style {
    form: Form,
    compress: bool,
    accesses: Accesses,
    /// The time of the snapshot.
    clock: Clock,
}

impl Style {
    fn head(&self, entry: EntryRef<'_>, encoder: &mut Encoder, out: &mut Vec<u8>) {
        let usage = match self.accesses {
            Accesses::Nothing => Usage::Unknown,
            Accesses::Idle => Usage::Idle(self.clock.idle(entry.lru())),
            Accesses::Freq => Usage::Frequency(self.clock.frequency(entry.lru())),
        };
        let head = Head { key: entry.key(), expire_at: entry.expire_at(), usage };
        head.put(entry.value(), encoder, out);
    }
}

/// Keys as a file has them, with what says which database they are of.
pub(super) struct Paper {
    buf: Vec<u8>,
    style: Style,
    encoder: Encoder,
    /// The database that what comes next is of, as far as the file knows.
    db: Option<usize>,
    /// Where its announcement begins and ends, while nothing stands behind it, and which was before.
    announced: Option<(usize, usize, Option<usize>)>,
    /// Keys of each database when it began, and those with a TTL.
    sizes: Vec<(usize, usize)>,
}

impl Default for Paper {
    fn default() -> Paper {
        let (form, accesses) = (Form::Rdb, Accesses::Nothing);
        let style = Style { form, compress: false, accesses, clock: Clock::at(0) };
        Paper::of(style, Vec::new())
    }
}

impl Paper {
    fn of(style: Style, sizes: Vec<(usize, usize)>) -> Paper {
        let encoder = Encoder::new(style.compress);
        Paper { buf: Vec::new(), style, encoder, db: None, announced: None, sizes }
    }

    /// An empty one, and what writes the keys of a database on it.
    pub(super) fn new(
        form: Form,
        conf: &Config,
        clock: Clock,
        ks: &Keyspace,
    ) -> (Paper, impl FnMut() -> Encode + use<>) {
        let policy = policy(conf);
        let accesses = match policy {
            _ if policy.lfu() => Accesses::Freq,
            _ if policy.lru() => Accesses::Idle,
            _ => Accesses::Nothing,
        };
        let style = Style { form, compress: conf.rdbcompression, accesses, clock };
        let sizes = ks.iter().map(|db| (db.len(), db.volatile_len())).collect();
        let encode = move || -> Encode {
            if form == Form::Commands {
                return Box::new(|entry, _, out| rebuild(out, &entry));
            }
            // a writer does not pay for compression
            let (mut walked, mut handed) = (Encoder::new(style.compress), Encoder::new(false));
            Box::new(move |entry, by, out| {
                let encoder = match by {
                    By::Walk => &mut walked,
                    By::Writer => &mut handed,
                };
                style.head(entry, encoder, out);
                Writing::new().step(entry.value(), encoder, usize::MAX, out);
            })
        };
        (Paper::of(style, sizes), encode)
    }

    /// Goes on with a large value, about so many bytes; true when it is whole.
    pub(super) fn piece(
        &mut self,
        db: usize,
        entry: EntryRef<'_>,
        piece: &mut Option<Piece>,
        budget: usize,
    ) -> bool {
        self.buffer(db);
        let (out, encoder) = (&mut self.buf, &mut self.encoder);
        let begin = || match self.style.form {
            Form::Commands => Piece::Commands(Rebuilding::new(Texts::Set)),
            Form::Rdb => {
                self.style.head(entry, encoder, out);
                Piece::Rdb(Writing::new())
            }
        };
        let whole = match piece.get_or_insert_with(begin) {
            Piece::Rdb(writing) => writing.step(entry.value(), encoder, budget, out),
            Piece::Commands(rebuilding) => {
                let whole = rebuilding.step(entry.key(), value_of(&entry), budget, out);
                if let Some(at) = entry.expire_at().filter(|_| whole) {
                    encode::expire_at(out, entry.key(), at);
                }
                whole
            }
        };
        if whole {
            *piece = None;
        }
        whole
    }

    pub(super) fn form(&self) -> Form {
        self.style.form
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) {
        self.withdraw();
        if self.style.form == Form::Rdb {
            put_end(&mut self.buf);
        }
    }

    /// What is written, if it is `least` bytes or more.
    pub(super) fn take(&mut self, least: usize) -> Option<Bytes> {
        self.withdraw();
        if self.buf.len() < least {
            return None;
        }
        let room = Vec::with_capacity(self.buf.capacity());
        Some(std::mem::replace(&mut self.buf, room).into())
    }

    /// Takes an announcement back that nothing followed.
    fn withdraw(&mut self) {
        if let Some((from, to, before)) = self.announced.take()
            && self.buf.len() == to
        {
            self.buf.truncate(from);
            self.db = before;
        }
    }
}

impl Sink for Paper {
    fn buffer(&mut self, db: usize) -> &mut Vec<u8> {
        if self.db != Some(db) {
            self.withdraw();
        }
        if self.db != Some(db) {
            let from = self.buf.len();
            match self.style.form {
                Form::Rdb => put_database(db, self.sizes.get(db).copied(), &mut self.buf),
                Form::Commands => encode::select(&mut self.buf, db),
            }
            self.announced = Some((from, self.buf.len(), self.db.replace(db)));
        }
        &mut self.buf
    }
}
