//! Writing a value, as redis-server 7.0.15 encodes it.

use super::codes::*;
use super::lzf::{Outcome, Run, Table};
use super::stream;
use crate::util::num::parse_i64;
use crate::value::{Elem, Object, ValueRef};

/// Elements of a hash, set or sorted set that are looked up at once.
const STRETCH: usize = 32;

/// What every writing needs beside its value: whether to compress (`rdbcompression`), and memory for
/// it. One for any number of values.
pub struct Encoder {
    compress: bool,
    table: Table,
}

impl Encoder {
    pub const fn new(compress: bool) -> Encoder {
        Encoder { compress, table: Table::new() }
    }
}

/// How far the writing of a value has come. It holds on to nothing of the value, so that it may wait
/// while others use the store; but it goes on with the very same value, not changed meanwhile.
#[derive(Default)]
pub struct Writing {
    begun: bool,
    /// Where the stretch of elements begins that is being written.
    cursor: Cursor,
    /// Pieces of it that are written.
    done: usize,
    /// The piece after those, when it is in the midst.
    text: Midst,
}

/// A place in a value.
enum Cursor {
    /// As the value itself counts its elements.
    At(u64),
    Stream(stream::Place),
}

impl Default for Cursor {
    fn default() -> Cursor {
        Cursor::At(0)
    }
}

/// A string of which a part is written.
#[derive(Default)]
enum Midst {
    #[default]
    Nothing,
    Compressing(Run),
    Compressed {
        bytes: Vec<u8>,
        at: usize,
    },
    Plain {
        at: usize,
    },
}

/// The byte that says how a value is encoded; it precedes the value, or in a file its key.
pub fn kind_of(value: ValueRef<'_>) -> u8 {
    let ValueRef::Obj(object) = value else { return kind::STRING };
    match object {
        Object::Str(_) => kind::STRING,
        Object::List(_) => kind::LIST_QUICKLIST_2,
        Object::Hash(hash) if hash.listpack().is_some() => kind::HASH_LISTPACK,
        Object::Hash(_) => kind::HASH,
        Object::Set(set) if set.intset().is_some() => kind::SET_INTSET,
        Object::Set(_) => kind::SET,
        Object::ZSet(zset) if zset.listpack().is_some() => kind::ZSET_LISTPACK,
        Object::ZSet(_) => kind::ZSET_2,
        Object::Stream(_) => kind::STREAM_LISTPACKS_2,
    }
}

impl Writing {
    pub fn new() -> Writing {
        Writing::default()
    }

    /// Appends the next part: stops after about `budget` bytes of output (or as many of input, where
    /// it compresses), and answers whether the value is whole. A part may go into a buffer of its own.
    pub fn step(
        &mut self,
        value: ValueRef<'_>,
        encoder: &mut Encoder,
        budget: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let end = out.len().saturating_add(budget.max(1));
        if !std::mem::replace(&mut self.begun, true)
            && let Some(count) = count(value)
        {
            put_len(out, count as u64);
        }
        loop {
            let skip = self.done;
            let mut pieces = Pieces { encoder, out, end, skip, seen: 0, full: false, text: &mut self.text };
            let next = next_stretch(value, &self.cursor, &mut pieces);
            let Pieces { skip: done, full, seen, .. } = pieces;
            if full && done < seen {
                self.done = done;
                return false;
            }
            self.done = 0;
            match next {
                Some(next) => self.cursor = next,
                None => return true,
            }
            if full {
                return false;
            }
        }
    }
}

/// The number that precedes a value's elements: nodes for a list or a stream, and nothing for what is one string.
fn count(value: ValueRef<'_>) -> Option<usize> {
    let ValueRef::Obj(object) = value else { return None };
    match object {
        Object::Str(_) => None,
        Object::List(list) => Some(list.nodes()),
        Object::Hash(hash) => hash.listpack().is_none().then(|| hash.len()),
        Object::Set(set) => set.intset().is_none().then(|| set.len()),
        Object::ZSet(zset) => zset.listpack().is_none().then(|| zset.len()),
        Object::Stream(stream) => Some(stream.log.nodes()),
    }
}

/// Shows some elements from `cursor` on, and returns where the next begin, if there are more.
fn next_stretch(value: ValueRef<'_>, cursor: &Cursor, pieces: &mut Pieces<'_>) -> Option<Cursor> {
    match (value, cursor) {
        (ValueRef::Obj(Object::Stream(stream)), Cursor::Stream(place)) => {
            stream::stretch(stream, place, pieces).map(Cursor::Stream)
        }
        (ValueRef::Obj(Object::Stream(stream)), Cursor::At(_)) => {
            stream::stretch(stream, &stream::Place::default(), pieces).map(Cursor::Stream)
        }
        (_, Cursor::At(at)) => stretch(value, *at, pieces).map(Cursor::At),
        (_, Cursor::Stream(_)) => unreachable!("the value is the same as before"),
    }
}

/// Shows some elements from `cursor` on, piece by piece, and returns where the next begin, if there
/// are more. Shows the same when it is asked for the same.
fn stretch(value: ValueRef<'_>, cursor: u64, pieces: &mut Pieces<'_>) -> Option<u64> {
    let object = match value {
        ValueRef::Int(n) => {
            Elem::Int(n).with_text(|text| pieces.text(text));
            return None;
        }
        ValueRef::Str(text) => {
            pieces.text(text);
            return None;
        }
        ValueRef::Obj(object) => object,
    };
    let scanned = |next: u64| (next != 0).then_some(next);
    match object {
        Object::Str(text) => {
            pieces.text(text);
            None
        }
        Object::List(list) => {
            if let Some(node) = list.listpack(cursor as usize) {
                pieces.len(NODE_PACKED);
                pieces.text(node.bytes());
            }
            Some(cursor + 1).filter(|next| (*next as usize) < list.nodes())
        }
        Object::Hash(hash) => match hash.listpack() {
            Some(pack) => {
                pieces.text(pack.bytes());
                None
            }
            None => scanned(hash.scan(cursor, STRETCH, |field, value| {
                field.with_text(|text| pieces.text(text));
                value.with_text(|text| pieces.text(text));
            })),
        },
        Object::Set(set) => match set.intset() {
            Some(ints) => {
                pieces.text(ints.bytes());
                None
            }
            None => scanned(set.scan(cursor, STRETCH, |member| member.with_text(|text| pieces.text(text)))),
        },
        Object::ZSet(zset) => match zset.listpack() {
            Some(pack) => {
                pieces.text(pack.bytes());
                None
            }
            // the greatest first: so it is quickest to read for Redis
            None => {
                let end = zset.len() - cursor as usize;
                let start = end.saturating_sub(STRETCH);
                for (member, score) in zset.range(start..end).rev() {
                    member.with_text(|text| pieces.text(text));
                    pieces.score(score);
                }
                (start > 0).then_some((zset.len() - start) as u64)
            }
        },
        Object::Stream(_) => unreachable!("streams have places of their own"),
    }
}

/// Where a stretch's pieces go: past those that are written, until the budget is spent.
pub(super) struct Pieces<'a> {
    encoder: &'a mut Encoder,
    out: &'a mut Vec<u8>,
    end: usize,
    /// Pieces that are written.
    skip: usize,
    seen: usize,
    /// The budget is spent.
    full: bool,
    text: &'a mut Midst,
}

impl Pieces<'_> {
    /// Whether it is the next piece's turn.
    fn wants(&mut self) -> bool {
        self.seen += 1;
        !self.full && self.seen > self.skip
    }

    fn wrote(&mut self) {
        self.skip += 1;
        self.full = self.out.len() >= self.end;
    }

    pub fn len(&mut self, len: u64) {
        if self.wants() {
            put_len(self.out, len);
            self.wrote();
        }
    }

    fn score(&mut self, score: f64) {
        self.raw(&score.to_le_bytes());
    }

    /// Some bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.wants() {
            self.out.extend_from_slice(bytes);
            self.wrote();
        }
    }

    pub fn text(&mut self, text: &[u8]) {
        if self.wants() {
            match self.put(text) {
                true => self.wrote(),
                false => self.full = true,
            }
        }
    }

    /// Writes on at a string; whether it is whole.
    fn put(&mut self, text: &[u8]) -> bool {
        if let Midst::Nothing = self.text {
            if text.len() <= NUMBER_TEXT && parse_i64(text).is_some_and(|n| put_int(self.out, n)) {
                return true;
            }
            *self.text = match self.encoder.compress && text.len() > COMPRESS_ABOVE {
                true => Midst::Compressing(Run::new(&mut self.encoder.table, text.len())),
                false => plain(self.out, text),
            };
        }
        if let Midst::Compressing(run) = self.text {
            let work = self.end.saturating_sub(self.out.len()).max(1);
            *self.text = match run.step(&mut self.encoder.table, text, work) {
                Outcome::Unfinished => return false,
                Outcome::Vain => plain(self.out, text),
                Outcome::Done(bytes) => {
                    self.out.push(LEN_ENCODED | ENC_LZF);
                    put_len(self.out, bytes.len() as u64);
                    put_len(self.out, text.len() as u64);
                    Midst::Compressed { bytes, at: 0 }
                }
            };
        }
        let room = self.end.saturating_sub(self.out.len()).max(1);
        let (bytes, at) = match self.text {
            Midst::Compressed { bytes, at } => (bytes.as_slice(), at),
            Midst::Plain { at } => (text, at),
            Midst::Nothing | Midst::Compressing(_) => unreachable!("decided above"),
        };
        let until = at.saturating_add(room).min(bytes.len());
        self.out.extend_from_slice(&bytes[*at..until]);
        *at = until;
        let whole = until == bytes.len();
        if whole {
            *self.text = Midst::Nothing;
        }
        whole
    }
}

fn plain(out: &mut Vec<u8>, text: &[u8]) -> Midst {
    put_len(out, text.len() as u64);
    Midst::Plain { at: 0 }
}
