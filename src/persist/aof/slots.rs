//! Which slots a log speaks for: annotations of a host with several shards, each with a log of its own.
//!
//! A slot moves between shards without a key being copied, so the keys of a slot may stand in several
//! logs, and one of them is right. `#SLOTS:+0-99,7` says that from here on this log has all there is of
//! these slots; `#SLOTS:-7@1700000000000000.3` that it has not, and that what it held is another's, since that
//! microsecond of unix time and handoff. So the log of a slot's owner wins where it speaks for the slot; where
//! it does not, another's log has the keys, still, and of several the one that had the slot last.
//!
//! What a slot brings along is stated by its new owner bit by bit, while clients write to it. `#SLOTS:~7` says
//! that this has begun: until the `+`, a key that a command here names since is what this log says of it, and
//! every other one what the log says that had the slot before. A value that is stated by several commands counts
//! as named once all of them are there: they stand between `#SLOTS:~7!` and `#SLOTS:~7.`.
//!
//! redis-server skips such lines, as it does any that begins with `#`.

use crate::slot::{SLOTS, Slot};

/// redis-server reads lines of up to 1023 bytes.
const LINE: usize = 1000;

/// When slots were given away: microseconds of unix time, and for one turn's several the handoff's number.
pub type Stamp = (u64, u64);

/// What a log says of slots from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// All that they hold is in it.
    Has,
    /// It is elsewhere.
    Gave(Stamp),
    /// What its commands name is in it, the rest is not yet.
    Takes,
    /// The key of the next command is stated bit by bit, and that it is whole.
    Begins,
    Ends,
}

/// Slots, first and last, and what is said of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub word: Word,
    pub ranges: Vec<(Slot, Slot)>,
}

/// Appends the annotation, in as many lines as it takes.
pub fn write(out: &mut Vec<u8>, word: Word, ranges: &[(Slot, Slot)]) {
    let (sign, tail) = match word {
        Word::Has => ('+', String::new()),
        Word::Gave((us, handoff)) => ('-', format!("@{us}.{handoff}")),
        Word::Takes => ('~', String::new()),
        Word::Begins => ('~', "!".into()),
        Word::Ends => ('~', ".".into()),
    };
    let mut line = String::new();
    let end = |line: &mut String, out: &mut Vec<u8>| {
        out.extend_from_slice(std::mem::take(line).as_bytes());
        out.extend_from_slice(tail.as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    for &(first, last) in ranges {
        match line.is_empty() {
            true => line = format!("#SLOTS:{sign}"),
            false => line.push(','),
        }
        line += &if first == last { format!("{first}") } else { format!("{first}-{last}") };
        if line.len() > LINE - 64 {
            end(&mut line, out);
        }
    }
    if !line.is_empty() {
        end(&mut line, out);
    }
}

/// Reads a note; `None` when it is another kind of note.
pub fn parse(note: &[u8]) -> Option<Claim> {
    let text = std::str::from_utf8(note.strip_prefix(b"#SLOTS:")?).ok()?;
    let slot = |t: &str| t.parse::<Slot>().ok().filter(|&s| (s as usize) < SLOTS);
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((slot(first)?, slot(last)?)).filter(|(first, last)| first <= last)
    };
    let mut letters = text.chars();
    let sign = letters.next()?;
    let rest = letters.as_str();
    let (word, rest) = match sign {
        '+' => (Word::Has, rest),
        '-' => {
            let (rest, stamp) = rest.split_once('@')?;
            let (us, handoff) = stamp.split_once('.')?;
            (Word::Gave((us.parse().ok()?, handoff.parse().ok()?)), rest)
        }
        '~' => match (rest.strip_suffix('!'), rest.strip_suffix('.')) {
            (Some(rest), _) => (Word::Begins, rest),
            (_, Some(rest)) => (Word::Ends, rest),
            _ => (Word::Takes, rest),
        },
        _ => return None,
    };
    Some(Claim { word, ranges: rest.split(',').map(range).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_back() {
        for (word, ranges, line) in [
            (Word::Has, &[(0, 8191), (9000, 9000)][..], "#SLOTS:+0-8191,9000"),
            (Word::Gave((5, 2)), &[(7, 7)], "#SLOTS:-7@5.2"),
            (Word::Takes, &[(7, 7), (9, 11)], "#SLOTS:~7,9-11"),
            (Word::Begins, &[(7, 7)], "#SLOTS:~7!"),
            (Word::Ends, &[(7, 7)], "#SLOTS:~7."),
        ] {
            let mut out = Vec::new();
            write(&mut out, word, ranges);
            assert_eq!(out, [line, "\r\n"].concat().as_bytes());
            assert_eq!(parse(line.as_bytes()), Some(Claim { word, ranges: ranges.to_vec() }));
        }
        let mut out = Vec::new();
        write(&mut out, Word::Has, &[]);
        assert!(out.is_empty());
        for other in [
            "#TS:1",
            "#SLOTS:",
            "#SLOTS:7",
            "#SLOTS:+",
            "#SLOTS:+9-7",
            "#SLOTS:+16384",
            "#SLOTS:+1,,2",
            "#SLOTS:-7",
            "#SLOTS:-7@5",
            "#SLOTS:-7@.1",
            "#SLOTS:~",
            "#SLOTS:~!",
            "#SLOTS:~7!.",
            "#SLOTS:é7",
        ] {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn lines_stay_short() {
        let (mut out, all) = (Vec::new(), (0..SLOTS as Slot).step_by(2).map(|s| (s, s)).collect::<Vec<_>>());
        write(&mut out, Word::Gave((u64::MAX, u64::MAX)), &all);
        let lines: Vec<&[u8]> = out.split_inclusive(|&b| b == b'\n').collect();
        assert!(lines.len() > 1 && lines.iter().all(|l| l.len() < LINE));
        let found = lines.iter().flat_map(|l| parse(&l[..l.len() - 2]).unwrap().ranges).collect::<Vec<_>>();
        assert_eq!(found, all);
    }
}
