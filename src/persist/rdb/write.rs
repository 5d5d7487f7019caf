//! Writing a file.

use super::{MAGIC, Usage, opcode};
use crate::persist::codes::{VERSION, put_len};
use crate::persist::crc64::crc64;
use crate::persist::write::kind_of;
use crate::persist::{Encoder, Writing};
use crate::value::ValueRef;

/// A file in the making. What is written stays in a buffer until [`Writer::flush`].
pub struct Writer {
    encoder: Encoder,
    /// The sum of what was flushed; `None` where there is to be none.
    crc: Option<u64>,
    out: Vec<u8>,
    /// The value that is being written.
    value: Option<Writing>,
}

/// A key and what is known of it beside its value.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    pub key: &'a [u8],
    /// Unix time in milliseconds.
    pub expire_at: Option<u64>,
    pub usage: Usage,
}

impl Head<'_> {
    /// Appends all of a key that precedes its value.
    pub fn put(&self, value: ValueRef<'_>, encoder: &mut Encoder, out: &mut Vec<u8>) {
        if let Some(at) = self.expire_at {
            out.push(opcode::EXPIRE_MS);
            out.extend_from_slice(&at.to_le_bytes());
        }
        match self.usage {
            Usage::Unknown => {}
            Usage::Idle(seconds) => {
                out.push(opcode::IDLE);
                put_len(out, seconds);
            }
            Usage::Frequency(counter) => out.extend_from_slice(&[opcode::FREQUENCY, counter]),
        }
        out.push(kind_of(value));
        put_text(self.key, encoder, out);
    }
}

fn put_text(text: &[u8], encoder: &mut Encoder, out: &mut Vec<u8>) {
    Writing::new().step(ValueRef::Str(text), encoder, usize::MAX, out);
}

/// Appends what a file begins with.
pub fn put_begin(out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(format!("{VERSION:04}").as_bytes());
}

/// Appends a fact about the file.
pub fn put_aux(name: &str, value: &[u8], out: &mut Vec<u8>) {
    let mut plain = Encoder::new(false);
    out.push(opcode::AUX);
    put_text(name.as_bytes(), &mut plain, out);
    put_text(value, &mut plain, out);
}

/// Appends a library of functions.
pub fn put_function(code: &[u8], encoder: &mut Encoder, out: &mut Vec<u8>) {
    out.push(opcode::FUNCTION);
    put_text(code, encoder, out);
}

/// Appends that what follows are keys of this database, and how many it has and how many of them have a
/// time to live, where that is known.
pub fn put_database(db: usize, sizes: Option<(usize, usize)>, out: &mut Vec<u8>) {
    out.push(opcode::SELECT);
    put_len(out, db as u64);
    if let Some((keys, volatile)) = sizes {
        out.push(opcode::RESIZE);
        put_len(out, keys as u64);
        put_len(out, volatile as u64);
    }
}

/// Appends the end, behind which only the checksum follows.
pub fn put_end(out: &mut Vec<u8>) {
    out.push(opcode::END);
}

impl Writer {
    /// Begins a file. `compress` and `checksum` are `rdbcompression` and `rdbchecksum`.
    pub fn new(compress: bool, checksum: bool) -> Writer {
        let mut out = Vec::new();
        put_begin(&mut out);
        Writer { encoder: Encoder::new(compress), crc: checksum.then_some(0), out, value: None }
    }

    pub fn function(&mut self, code: &[u8]) {
        put_function(code, &mut self.encoder, &mut self.out);
    }

    /// A fact about the file. Readers pass over those that they don't know.
    pub fn aux(&mut self, name: &str, value: &[u8]) {
        put_aux(name, value, &mut self.out);
    }

    /// What follows are keys of this database, which has so many, and so many with a time to live.
    pub fn database(&mut self, db: usize, keys: usize, volatile: usize) {
        put_database(db, Some((keys, volatile)), &mut self.out);
    }

    /// Writes on at a key: about `budget` bytes of its value, see [`Writing::step`]. To be called with
    /// the same key until it answers that the key is whole.
    pub fn key(&mut self, head: Head<'_>, value: ValueRef<'_>, budget: usize) -> bool {
        let mut writing = match self.value.take() {
            Some(writing) => writing,
            None => {
                head.put(value, &mut self.encoder, &mut self.out);
                Writing::new()
            }
        };
        let whole = writing.step(value, &mut self.encoder, budget, &mut self.out);
        if !whole {
            self.value = Some(writing);
        }
        whole
    }

    /// Bytes that wait for [`Writer::flush`].
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    /// Hands over what was written since the last time.
    pub fn flush<E>(&mut self, sink: impl FnOnce(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.sum();
        let done = sink(&self.out);
        self.out.clear();
        done
    }

    fn sum(&mut self) {
        if let Some(crc) = &mut self.crc {
            *crc = crc64(*crc, &self.out);
        }
    }

    /// Ends the file and hands over the rest of it.
    pub fn end<E>(mut self, sink: impl FnOnce(&[u8]) -> Result<(), E>) -> Result<(), E> {
        put_end(&mut self.out);
        self.sum();
        let crc = self.crc.unwrap_or(0);
        self.out.extend_from_slice(&crc.to_le_bytes());
        sink(&self.out)
    }
}
