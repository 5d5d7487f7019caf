//! Slots that pass between shards of one host, as every view tells of them.

use super::slots::SlotSet;
use crate::slot::Slot;
use crate::util::num::parse_i64;

/// The host's last handoff. All its shards take it up before the next one begins, so a shard is never
/// more than one behind.
#[derive(Debug, Default)]
pub struct Handoff {
    /// How many there have been since the host started: which of two shards knows more.
    pub era: u64,
    pub moves: Vec<Move>,
}

/// Slots that one shard gave to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub from: usize,
    pub to: usize,
    pub slots: SlotSet,
}

/// A slot, or an inclusive range `from-to`; `None` when the word is neither.
pub fn parse_range(word: &[u8]) -> Option<(Slot, Slot)> {
    let slot = |word: &[u8]| {
        let n = parse_i64(word)?;
        usize::try_from(n).ok().filter(|n| *n < crate::slot::SLOTS).map(|n| n as Slot)
    };
    match word.iter().position(|b| *b == b'-') {
        Some(bar) if bar > 0 => Some((slot(&word[..bar])?, slot(&word[bar + 1..])?)),
        _ => slot(word).map(|slot| (slot, slot)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_ranges() {
        let cases: &[(&str, Option<(Slot, Slot)>)] = &[
            ("0", Some((0, 0))),
            ("16383", Some((16383, 16383))),
            ("5-7", Some((5, 7))),
            ("7-5", Some((7, 5))),
            ("16384", None),
            ("0-16384", None),
            ("-1", None),
            ("5-", None),
            ("-", None),
            ("", None),
            ("5-6-7", None),
            ("abc", None),
        ];
        for (word, want) in cases {
            assert_eq!(parse_range(word.as_bytes()), *want, "{word}");
        }
    }
}
