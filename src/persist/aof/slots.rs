//! Which slots a log speaks for: annotations of a host with several shards, each with a log of its own.
//!
//! A slot moves between shards without a key being copied, so the keys of a slot may stand in several
//! logs, and one of them is right. `#SLOTS:+0-99,7` says that from here on this log has all there is of
//! these slots; `#SLOTS:-7@1700000000000000.3` that it has not, and that what it held is another's, since that
//! microsecond of unix time and handoff. So the log of a slot's owner wins where it speaks for the slot; where
//! it does not, another's log has the keys, still, and of several the one that had the slot last.
//! redis-server skips such lines, as it does any that begins with `#`.

use crate::slot::{SLOTS, Slot};

/// redis-server reads lines of up to 1023 bytes.
const LINE: usize = 1000;

/// When slots were given away: microseconds of unix time, and for one turn's several the handoff's number.
pub type Stamp = (u64, u64);

/// Slots, first and last, from here on in this log, or elsewhere (`given`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub given: Option<Stamp>,
    pub ranges: Vec<(Slot, Slot)>,
}

/// Appends the annotation, in as many lines as it takes.
pub fn write(out: &mut Vec<u8>, given: Option<Stamp>, ranges: &[(Slot, Slot)]) {
    let mut line = String::new();
    let tail = given.map_or(String::new(), |(us, handoff)| format!("@{us}.{handoff}"));
    let end = |line: &mut String, out: &mut Vec<u8>| {
        out.extend_from_slice(std::mem::take(line).as_bytes());
        out.extend_from_slice(tail.as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    for &(first, last) in ranges {
        if line.is_empty() {
            line = format!("#SLOTS:{}", if given.is_none() { '+' } else { '-' });
        } else {
            line.push(',');
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
    let (rest, given) = match text.strip_prefix('-') {
        None => (text.strip_prefix('+')?, None),
        Some(rest) => {
            let (rest, stamp) = rest.split_once('@')?;
            let (us, handoff) = stamp.split_once('.')?;
            (rest, Some((us.parse().ok()?, handoff.parse().ok()?)))
        }
    };
    Some(Claim { given, ranges: rest.split(',').map(range).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_back() {
        let mut out = Vec::new();
        write(&mut out, None, &[(0, 8191), (9000, 9000)]);
        write(&mut out, Some((5, 2)), &[(7, 7)]);
        write(&mut out, None, &[]);
        assert_eq!(out, b"#SLOTS:+0-8191,9000\r\n#SLOTS:-7@5.2\r\n");
        let claim = |given, ranges: &[(Slot, Slot)]| Some(Claim { given, ranges: ranges.to_vec() });
        assert_eq!(parse(b"#SLOTS:+0-8191,9000"), claim(None, &[(0, 8191), (9000, 9000)]));
        assert_eq!(parse(b"#SLOTS:-7@5.2"), claim(Some((5, 2)), &[(7, 7)]));
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
        ] {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn lines_stay_short() {
        let (mut out, all) = (Vec::new(), (0..SLOTS as Slot).step_by(2).map(|s| (s, s)).collect::<Vec<_>>());
        write(&mut out, Some((u64::MAX, u64::MAX)), &all);
        let lines: Vec<&[u8]> = out.split_inclusive(|&b| b == b'\n').collect();
        assert!(lines.len() > 1 && lines.iter().all(|l| l.len() < LINE));
        let found = lines.iter().flat_map(|l| parse(&l[..l.len() - 2]).unwrap().ranges).collect::<Vec<_>>();
        assert_eq!(found, all);
    }
}
