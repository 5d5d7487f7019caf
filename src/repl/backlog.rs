//! The last bytes of a stream. Each reader has its own place in it, and the slowest holds the oldest bytes.

use crate::limits::REPL_CHUNK;
use std::collections::VecDeque;

/// Bytes by their offset: how many bytes of the stream come before.
#[derive(Debug, Default)]
pub struct Backlog {
    chunks: VecDeque<Vec<u8>>,
    /// Offset of the first chunk's first byte.
    base: u64,
    /// Offset of the first byte that may still be asked for, and of the byte to come.
    first: u64,
    end: u64,
    spare: Option<Vec<u8>>,
}

impl Backlog {
    /// One that begins empty at an offset.
    pub fn at(offset: u64) -> Backlog {
        Backlog { base: offset, first: offset, end: offset, ..Backlog::default() }
    }

    pub fn first(&self) -> u64 {
        self.first
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes that may be asked for.
    pub fn len(&self) -> u64 {
        self.end - self.first
    }

    pub fn is_empty(&self) -> bool {
        self.end == self.first
    }

    /// Memory that it takes.
    pub fn memory(&self) -> usize {
        (self.chunks.len() + usize::from(self.spare.is_some())) * REPL_CHUNK
    }

    /// Whether a reader that has all before `offset` can go on.
    pub fn reaches(&self, offset: u64) -> bool {
        (self.first..=self.end).contains(&offset)
    }

    pub fn feed(&mut self, mut bytes: &[u8]) {
        self.end += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.chunks.back().is_none_or(|last| last.len() == REPL_CHUNK) {
                let spare = self.spare.take().unwrap_or_else(|| Vec::with_capacity(REPL_CHUNK));
                self.chunks.push_back(spare);
            }
            let Some(last) = self.chunks.back_mut() else { return };
            let (now, later) = bytes.split_at(bytes.len().min(REPL_CHUNK - last.len()));
            last.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Forgets what is older than the last `size` bytes and before what a reader still needs.
    pub fn trim(&mut self, size: u64, needed: u64) {
        self.first = self.end.saturating_sub(size).min(needed).max(self.first);
        while self.chunks.front().is_some_and(|c| self.base + c.len() as u64 <= self.first)
            && self.chunks.len() > 1
        {
            let Some(mut chunk) = self.chunks.pop_front() else { return };
            self.base += chunk.len() as u64;
            chunk.clear();
            self.spare = Some(chunk);
        }
    }

    /// Appends what comes from `offset` on, `most` bytes at most. Nothing where it does not reach.
    pub fn read(&self, offset: u64, most: usize, into: &mut Vec<u8>) -> usize {
        if !self.reaches(offset) {
            return 0;
        }
        let before = into.len();
        let mut at = (offset - self.base) as usize;
        while let Some(chunk) = self.chunks.get(at / REPL_CHUNK) {
            let left = most - (into.len() - before);
            let from = at % REPL_CHUNK;
            let part = &chunk[from.min(chunk.len())..];
            let part = &part[..part.len().min(left)];
            if part.is_empty() {
                break;
            }
            into.extend_from_slice(part);
            at += part.len();
        }
        into.len() - before
    }
}
