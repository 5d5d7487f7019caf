//! The payload of a full synchronization, between what announces it and its end.

use super::Id;
use crate::util::num::parse_i64;
use memchr::memmem;

/// How its end is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// So many bytes are left.
    Length(u64),
    /// This mark follows it.
    Mark([u8; Id::LEN]),
}

/// A payload that comes.
#[derive(Debug, PartialEq, Eq)]
pub struct Transfer {
    end: End,
    /// Bytes that may be the beginning of the mark.
    tail: Vec<u8>,
}

impl Transfer {
    /// By the line that announces it, without its `$`.
    pub fn announced(line: &[u8]) -> Option<Transfer> {
        let mark = line.strip_prefix(b"EOF:").and_then(|mark| mark.get(..Id::LEN)?.try_into().ok());
        let length = || u64::try_from(parse_i64(line)?).ok().filter(|length| *length > 0);
        let end = mark.map(End::Mark).or_else(|| length().map(End::Length))?;
        Some(Transfer { end, tail: Vec::new() })
    }

    /// Whether the primary waits for a sign that the payload is in place.
    pub fn is_marked(&self) -> bool {
        matches!(self.end, End::Mark(_))
    }

    /// Moves what belongs to the payload from `input` to `payload`; true when it has ended.
    pub fn take(&mut self, input: &mut &[u8], payload: &mut Vec<u8>) -> bool {
        match &mut self.end {
            End::Length(left) => {
                let now = (*left).min(input.len() as u64);
                *left -= now;
                let (bytes, rest) = input.split_at(now as usize);
                payload.extend_from_slice(bytes);
                *input = rest;
                *left == 0
            }
            End::Mark(mark) => {
                let kept = self.tail.len();
                self.tail.extend_from_slice(input);
                if let Some(at) = memmem::find(&self.tail, mark) {
                    payload.extend_from_slice(&self.tail[..at]);
                    *input = &input[at + mark.len() - kept..];
                    self.tail.clear();
                    return true;
                }
                let sure = self.tail.len().saturating_sub(mark.len() - 1);
                payload.extend(self.tail.drain(..sure));
                *input = &[];
                false
            }
        }
    }
}
