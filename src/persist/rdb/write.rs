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

impl Writer {
    /// Begins a file. `compress` and `checksum` are `rdbcompression` and `rdbchecksum`.
    pub fn new(compress: bool, checksum: bool) -> Writer {
        let out = [MAGIC, format!("{VERSION:04}").as_bytes()].concat();
        Writer { encoder: Encoder::new(compress), crc: checksum.then_some(0), out, value: None }
    }

    /// A fact about the file. Readers pass over those that they don't know.
    pub fn aux(&mut self, name: &str, value: &[u8]) {
        self.out.push(opcode::AUX);
        self.text(name.as_bytes());
        self.text(value);
    }

    /// What follows are keys of this database, which has so many, and so many with a time to live.
    pub fn database(&mut self, db: usize, keys: usize, volatile: usize) {
        self.out.push(opcode::SELECT);
        put_len(&mut self.out, db as u64);
        self.out.push(opcode::RESIZE);
        put_len(&mut self.out, keys as u64);
        put_len(&mut self.out, volatile as u64);
    }

    /// Writes on at a key: about `budget` bytes of its value, see [`Writing::step`]. To be called with
    /// the same key until it answers that the key is whole.
    pub fn key(&mut self, head: Head<'_>, value: ValueRef<'_>, budget: usize) -> bool {
        let mut writing = match self.value.take() {
            Some(writing) => writing,
            None => {
                self.head(head, kind_of(value));
                Writing::new()
            }
        };
        let whole = writing.step(value, &mut self.encoder, budget, &mut self.out);
        if !whole {
            self.value = Some(writing);
        }
        whole
    }

    fn head(&mut self, head: Head<'_>, kind: u8) {
        if let Some(at) = head.expire_at {
            self.out.push(opcode::EXPIRE_MS);
            self.out.extend_from_slice(&at.to_le_bytes());
        }
        match head.usage {
            Usage::Unknown => {}
            Usage::Idle(seconds) => {
                self.out.push(opcode::IDLE);
                put_len(&mut self.out, seconds);
            }
            Usage::Frequency(counter) => self.out.extend_from_slice(&[opcode::FREQUENCY, counter]),
        }
        self.out.push(kind);
        self.text(head.key);
    }

    fn text(&mut self, text: &[u8]) {
        Writing::new().step(ValueRef::Str(text), &mut self.encoder, usize::MAX, &mut self.out);
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
        self.out.push(opcode::END);
        self.sum();
        let crc = self.crc.unwrap_or(0);
        self.out.extend_from_slice(&crc.to_le_bytes());
        sink(&self.out)
    }
}
