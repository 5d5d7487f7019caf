//! Encodings that Redis no longer writes: the ziplist and the zipmap.

use super::error::Error;
use crate::value::Elem;

type Checked = Result<(), Error>;

const ZIPLIST: Error = Error::Corrupt("a ziplist");
const ZIPMAP: Error = Error::Corrupt("a zipmap");
const END: u8 = 0xFF;
/// Total length (u32), place of the last entry (u32), number of entries (u16), all little-endian.
const ZIPLIST_HEADER: usize = 10;
/// A length from here on is not the byte itself but the four after it.
const BIG: u8 = 0xFE;
const COUNT_UNKNOWN: usize = 0xFFFF;

fn le_u32(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes) as usize)
}

/// Checks a ziplist and calls `visit` with each of its elements as it comes to it.
pub fn ziplist<'a>(bytes: &'a [u8], mut visit: impl FnMut(Elem<'a>) -> Checked) -> Checked {
    let ok = |yes: bool| if yes { Ok(()) } else { Err(ZIPLIST) };
    ok(bytes.len() > ZIPLIST_HEADER && le_u32(bytes, 0) == Some(bytes.len()))?;
    let tail = le_u32(bytes, 4).ok_or(ZIPLIST)?;
    let said = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    // what is read ends before the last byte, so that no entry runs over it
    let (entries, last) = bytes.split_at(bytes.len() - 1);
    ok(last == [END] && tail < bytes.len())?;
    let (mut at, mut before, mut count, mut newest) = (ZIPLIST_HEADER, 0, 0, None);
    while at < entries.len() {
        let (elem, len) = entry(&entries[at..], before).ok_or(ZIPLIST)?;
        visit(elem)?;
        newest = Some(at);
        (at, before, count) = (at + len, len, count + 1);
    }
    ok(newest.is_none_or(|newest| newest == tail))?;
    ok(said == COUNT_UNKNOWN || said == count)
}

/// The element at the start, and the length of its entry; `before` is that of the one before it.
fn entry(bytes: &[u8], before: usize) -> Option<(Elem<'_>, usize)> {
    let (&first, _) = bytes.split_first()?;
    let (said, back) = match first {
        END => return None,
        BIG => (le_u32(bytes, 1)?, 5),
        len => (len as usize, 1),
    };
    if said != before {
        return None;
    }
    let bytes = &bytes[back..];
    let code = *bytes.first()?;
    let (head, len): (usize, usize) = match code >> 6 {
        0 => (1, (code & 0x3F) as usize),
        1 => (2, ((code & 0x3F) as usize) << 8 | *bytes.get(1)? as usize),
        2 => (5, u32::from_be_bytes(*bytes.get(1..)?.first_chunk()?) as usize),
        _ => return number(bytes).map(|(n, len)| (Elem::Int(n), back + len)),
    };
    let text = bytes.get(head..head.checked_add(len)?)?;
    Some((Elem::Str(text), back + head + len))
}

/// An integer and the bytes that it takes with its code.
fn number(bytes: &[u8]) -> Option<(i64, usize)> {
    let width = match bytes[0] {
        0xFE => 1,
        0xC0 => 2,
        0xF0 => 3,
        0xD0 => 4,
        0xE0 => 8,
        code @ 0xF1..=0xFD => return Some(((code & 0x0F) as i64 - 1, 1)),
        _ => return None,
    };
    let mut le = [0; 8];
    le[8 - width..].copy_from_slice(bytes.get(1..1 + width)?);
    // shifted to the top and back down again: that extends the sign
    Some((i64::from_le_bytes(le) >> (64 - 8 * width), 1 + width))
}

/// Checks a zipmap and calls `visit` with each field and its value.
pub fn zipmap<'a>(bytes: &'a [u8], mut visit: impl FnMut(&'a [u8], &'a [u8]) -> Checked) -> Checked {
    let (&[said], rest) = bytes.split_first_chunk().ok_or(ZIPMAP)?;
    let (&last, mut rest) = rest.split_last().ok_or(ZIPMAP)?;
    let mut count = 0;
    while !rest.is_empty() {
        let (field, tail) = zipmap_len(rest).ok_or(ZIPMAP)?;
        let (field, tail) = tail.split_at_checked(field).ok_or(ZIPMAP)?;
        let (value, tail) = zipmap_len(tail).ok_or(ZIPMAP)?;
        // between a value's length and the value stands how many unused bytes follow it
        let (&unused, tail) = tail.split_first().ok_or(ZIPMAP)?;
        let (value, tail) = tail.split_at_checked(value).ok_or(ZIPMAP)?;
        rest = tail.get(unused as usize..).ok_or(ZIPMAP)?;
        visit(field, value)?;
        count += 1;
    }
    let counted = said >= BIG || said as usize == count;
    if last == END && count > 0 && counted { Ok(()) } else { Err(ZIPMAP) }
}

fn zipmap_len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes.first()? {
        BIG => le_u32(bytes, 1).filter(|len| *len >= BIG as usize).map(|len| (len, &bytes[5..])),
        END => None,
        len => Some((len as usize, &bytes[1..])),
    }
}
