//! The listpack: Redis's flat list of strings and integers, in its exact byte format.
//!
//! Total length (u32 LE), number of elements (u16 LE, 65535 = unknown), the elements, 0xFF. An
//! element is encoding + payload + backlen, where backlen is the length of the first two, written
//! so that it reads from right to left. The format is kept to the byte because DUMP, RDB files and
//! MIGRATE carry it as it is.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::util::num::parse_i64;
use crate::value::dict::hash_of;

/// Bytes before the first element.
const HEADER: usize = 6;
const EOF: u8 = 0xFF;
/// The header's element count from which on one has to count.
const COUNT_UNKNOWN: u16 = u16::MAX;
/// Redis keeps listpacks below 1 GiB, far from where the u32 length would overflow.
pub const MAX_BYTES: usize = 1 << 30;

/// One element: integers are stored as such whenever the text is the canonical form of an i64.
#[derive(Clone, Copy, Debug)]
pub enum Elem<'a> {
    Int(i64),
    Str(&'a [u8]),
}

impl<'a> Elem<'a> {
    /// The element's text.
    pub fn text(self) -> Cow<'a, [u8]> {
        match self {
            Elem::Int(v) => Cow::Owned(itoa::Buffer::new().format(v).as_bytes().to_vec()),
            Elem::Str(s) => Cow::Borrowed(s),
        }
    }

    /// Appends the element's text to `out`.
    pub fn append_to(self, out: &mut Vec<u8>) {
        self.with_text(|text| out.extend_from_slice(text));
    }

    pub fn to_vec(self) -> Vec<u8> {
        self.text().into_owned()
    }

    /// Calls `f` with the text, without an allocation.
    pub fn with_text<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Elem::Int(v) => f(itoa::Buffer::new().format(v).as_bytes()),
            Elem::Str(s) => f(s),
        }
    }

    /// Length of the text.
    pub fn text_len(self) -> usize {
        match self {
            Elem::Int(v) => decimal_len(v),
            Elem::Str(s) => s.len(),
        }
    }

    /// The number that the element spells in canonical form, if it does.
    pub fn as_int(self) -> Option<i64> {
        match self {
            Elem::Int(v) => Some(v),
            Elem::Str(s) => parse_i64(s),
        }
    }

    /// Whether the element's text is `text`.
    pub fn is(self, text: &[u8]) -> bool {
        match self {
            Elem::Int(v) => parse_i64(text) == Some(v),
            Elem::Str(s) => s == text,
        }
    }
}

/// Two elements are equal when their texts are.
impl PartialEq for Elem<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Elem::Int(a), Elem::Int(b)) => a == b,
            (Elem::Str(a), Elem::Str(b)) => a == b,
            (Elem::Int(v), Elem::Str(s)) | (Elem::Str(s), Elem::Int(v)) => parse_i64(s) == Some(*v),
        }
    }
}

impl Eq for Elem<'_> {}

fn decimal_len(v: i64) -> usize {
    let digits = v.unsigned_abs().checked_ilog10().map_or(1, |n| n as usize + 1);
    digits + usize::from(v < 0)
}

/// Where an element starts. Valid until the listpack is next changed; every changing call that
/// leaves an element worth going on from returns its new place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos(usize);

/// Bytes that are not a listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// A listpack. Its buffer has no spare capacity to speak of.
#[derive(Clone, PartialEq, Eq)]
pub struct Listpack {
    buf: Vec<u8>,
}

impl Default for Listpack {
    fn default() -> Self {
        Listpack::new()
    }
}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Listpack {
    /// An empty listpack.
    pub fn new() -> Listpack {
        Listpack::with_capacity(0)
    }

    /// An empty listpack with room for `bytes` of elements.
    pub fn with_capacity(bytes: usize) -> Listpack {
        let mut buf = Vec::with_capacity(HEADER + 1 + bytes);
        buf.extend_from_slice(&[HEADER as u8 + 1, 0, 0, 0, 0, 0, EOF]);
        Listpack { buf }
    }

    /// Takes over `bytes` after checking every element, as `sanitize-dump-payload yes` would:
    /// whatever passes here can be read and changed without a panic.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Listpack, Corrupt> {
        let count = validate(&bytes)?;
        let mut pack = Listpack { buf: bytes };
        // Where it was not counted, it is now.
        pack.set_header(count);
        pack.shrink_to_fit();
        Ok(pack)
    }

    /// The bytes as DUMP and RDB carry them.
    pub fn bytes(&self) -> &[u8] {
        &self.buf
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.buf
    }

    /// Length of [`Self::bytes`].
    pub fn byte_len(&self) -> usize {
        self.buf.len()
    }

    /// Bytes on the heap.
    pub fn mem(&self) -> usize {
        self.buf.capacity()
    }

    /// Number of elements. Walks when there are 65535 or more.
    pub fn len(&self) -> usize {
        match self.count() {
            COUNT_UNKNOWN => self.iter().count(),
            n => n as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.buf.len() == HEADER + 1
    }

    /// Whether `extra` bytes of text may be added without nearing the format's limit.
    pub fn has_room_for(&self, extra: usize) -> bool {
        self.buf.len() + extra <= MAX_BYTES
    }

    /// Releases spare capacity.
    pub fn shrink_to_fit(&mut self) {
        self.buf.shrink_to_fit();
    }

    // --- places ---

    pub fn first(&self) -> Option<Pos> {
        (!self.is_empty()).then_some(Pos(HEADER))
    }

    pub fn last(&self) -> Option<Pos> {
        (!self.is_empty()).then(|| Pos(step_back(&self.buf, self.buf.len() - 1)))
    }

    /// The element after `pos`.
    pub fn next(&self, pos: Pos) -> Option<Pos> {
        let at = pos.0 + entry_len(&self.buf, pos.0);
        (self.buf[at] != EOF).then_some(Pos(at))
    }

    /// The element before `pos`.
    pub fn prev(&self, pos: Pos) -> Option<Pos> {
        (pos.0 > HEADER).then(|| Pos(step_back(&self.buf, pos.0)))
    }

    /// The element at `index`, counted from 0, or from -1 backwards. Walks from the nearer end.
    pub fn seek(&self, index: isize) -> Option<Pos> {
        let (mut steps, backwards) = match self.count() {
            COUNT_UNKNOWN if index < 0 => (index.unsigned_abs() - 1, true),
            COUNT_UNKNOWN => (index as usize, false),
            n => {
                let n = n as usize;
                let at = if index < 0 { n.checked_sub(index.unsigned_abs())? } else { index as usize };
                if at >= n {
                    return None;
                }
                if at > n / 2 { (n - 1 - at, true) } else { (at, false) }
            }
        };
        let mut pos = if backwards { self.last()? } else { self.first()? };
        while steps > 0 {
            pos = if backwards { self.prev(pos)? } else { self.next(pos)? };
            steps -= 1;
        }
        Some(pos)
    }

    pub fn get(&self, pos: Pos) -> Elem<'_> {
        decode(&self.buf, pos.0)
    }

    /// The element at `index`, as in [`Self::seek`].
    pub fn at(&self, index: isize) -> Option<Elem<'_>> {
        self.seek(index).map(|pos| self.get(pos))
    }

    /// The first element from `from` on whose text is `text`, leaving out `skip` elements after
    /// each that was compared: 0 looks at all, 1 at the fields of field-value pairs.
    pub fn find(&self, from: Pos, text: &[u8], skip: usize) -> Option<Pos> {
        let int = parse_i64(text);
        let mut at = from.0;
        while self.buf[at] != EOF {
            let same = match decode(&self.buf, at) {
                Elem::Int(v) => Some(v) == int,
                Elem::Str(s) => s == text,
            };
            if same {
                return Some(Pos(at));
            }
            for _ in 0..=skip {
                if self.buf[at] == EOF {
                    return None;
                }
                at += entry_len(&self.buf, at);
            }
        }
        None
    }

    /// All elements, from either end.
    pub fn iter(&self) -> Iter<'_> {
        Iter { buf: &self.buf, front: HEADER, back: self.buf.len() - 1 }
    }

    /// The elements from `pos` on.
    pub fn iter_from(&self, pos: Pos) -> Iter<'_> {
        Iter { buf: &self.buf, front: pos.0, back: self.buf.len() - 1 }
    }

    /// The elements up to and with `pos`; with `rev()`, those from `pos` backwards.
    pub fn iter_to(&self, pos: Pos) -> Iter<'_> {
        Iter { buf: &self.buf, front: HEADER, back: pos.0 + entry_len(&self.buf, pos.0) }
    }

    /// Whether two elements have the same text, of the first and every `step`th after it.
    pub fn repeats(&self, step: usize) -> bool {
        let elems = || self.iter().step_by(step);
        let mut hashes: SmallVec<[u64; 128]> = elems().map(|elem| elem.with_text(hash_of)).collect();
        hashes.sort_unstable();
        if hashes.windows(2).all(|pair| pair[0] != pair[1]) {
            return false;
        }
        // equal texts, or the rare different ones of the same hash
        let mut texts: Vec<_> = elems().map(Elem::text).collect();
        texts.sort_unstable();
        texts.windows(2).any(|pair| pair[0] == pair[1])
    }

    // --- changes ---

    pub fn push_back(&mut self, text: &[u8]) {
        let at = self.buf.len() - 1;
        self.write(at, 0, 0, Entry::of(text));
    }

    pub fn push_front(&mut self, text: &[u8]) {
        self.write(HEADER, 0, 0, Entry::of(text));
    }

    /// As [`Self::push_back`] with the number's text.
    pub fn push_back_int(&mut self, v: i64) {
        let at = self.buf.len() - 1;
        self.write(at, 0, 0, Entry::int(v));
    }

    /// Appends an element of this or another listpack.
    pub fn push_back_elem(&mut self, elem: Elem<'_>) {
        match elem {
            Elem::Int(v) => self.push_back_int(v),
            Elem::Str(s) => self.push_back(s),
        }
    }

    /// Appends several elements at once, with room for as many again.
    pub fn append_with(&mut self, f: impl FnOnce(&mut Tail<'_>)) {
        self.buf.pop();
        let mut tail = Tail { buf: &mut self.buf, count: 0 };
        f(&mut tail);
        let came = tail.count;
        self.buf.push(EOF);
        self.refresh_header(0, came);
    }

    /// Puts `text` before `pos` and returns its place.
    pub fn insert_before(&mut self, pos: Pos, text: &[u8]) -> Pos {
        self.write(pos.0, 0, 0, Entry::of(text))
    }

    /// Puts `text` after `pos` and returns its place.
    pub fn insert_after(&mut self, pos: Pos, text: &[u8]) -> Pos {
        let at = pos.0 + entry_len(&self.buf, pos.0);
        self.write(at, 0, 0, Entry::of(text))
    }

    /// Puts `text` in the place of the element at `pos`; the place stays the same.
    pub fn replace(&mut self, pos: Pos, text: &[u8]) -> Pos {
        let len = entry_len(&self.buf, pos.0);
        self.write(pos.0, len, 1, Entry::of(text))
    }

    /// As [`Self::replace`] with the number's text.
    pub fn replace_int(&mut self, pos: Pos, v: i64) -> Pos {
        let len = entry_len(&self.buf, pos.0);
        self.write(pos.0, len, 1, Entry::int(v))
    }

    /// Removes the element at `pos` and returns the place of the one that followed it.
    pub fn delete(&mut self, pos: Pos) -> Option<Pos> {
        self.delete_run(pos, 1)
    }

    /// Removes up to `count` elements from `pos` on and returns the place of what followed them.
    pub fn delete_run(&mut self, pos: Pos, count: usize) -> Option<Pos> {
        let mut end = pos.0;
        let mut gone = 0;
        while gone < count && self.buf[end] != EOF {
            end += entry_len(&self.buf, end);
            gone += 1;
        }
        self.cut(pos.0, end, gone);
        (self.buf[pos.0] != EOF).then_some(pos)
    }

    /// Removes up to `count` elements from `index` on (negative counts from the end) and returns
    /// how many there were.
    pub fn delete_range(&mut self, index: isize, count: usize) -> usize {
        let Some(start) = self.seek(index) else { return 0 };
        let mut end = start.0;
        let mut gone = 0;
        while gone < count && self.buf[end] != EOF {
            end += entry_len(&self.buf, end);
            gone += 1;
        }
        self.cut(start.0, end, gone);
        gone
    }

    /// Removes and returns the first element's text.
    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        self.pop_front_with(|elem| elem.to_vec())
    }

    /// Removes the first element after showing it to `f`.
    pub fn pop_front_with<R>(&mut self, f: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
        let pos = self.first()?;
        let out = f(self.get(pos));
        self.delete(pos);
        Some(out)
    }

    /// Removes and returns the last element's text.
    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        self.pop_back_with(|elem| elem.to_vec())
    }

    /// Removes the last element after showing it to `f`.
    pub fn pop_back_with<R>(&mut self, f: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
        let pos = self.last()?;
        let out = f(self.get(pos));
        self.delete(pos);
        Some(out)
    }

    /// Moves the elements from `pos` on into a listpack of their own.
    pub fn split_off(&mut self, pos: Pos) -> Listpack {
        let end = self.buf.len() - 1;
        let mut tail = Listpack::with_capacity(end - pos.0);
        tail.buf.pop();
        tail.buf.extend_from_slice(&self.buf[pos.0..]);
        let moved = Iter { buf: &self.buf, front: pos.0, back: end }.count();
        tail.set_header(moved);
        let kept = match self.count() {
            COUNT_UNKNOWN => Iter { buf: &self.buf, front: HEADER, back: pos.0 }.count(),
            n => n as usize - moved,
        };
        self.buf.truncate(pos.0);
        self.buf.push(EOF);
        self.set_header(kept);
        self.give_back();
        tail
    }

    /// Appends all elements of `other`.
    pub fn append(&mut self, other: &Listpack) {
        let count = self.len() + other.len();
        self.buf.pop();
        self.buf.reserve_exact(other.buf.len() - HEADER);
        self.buf.extend_from_slice(&other.buf[HEADER..]);
        self.set_header(count);
    }

    // --- the buffer ---

    fn count(&self) -> u16 {
        u16::from_le_bytes([self.buf[4], self.buf[5]])
    }

    fn set_header(&mut self, count: usize) {
        let total = u32::try_from(self.buf.len()).expect("a listpack stays below 4 GiB");
        let count = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
        self.buf[..4].copy_from_slice(&total.to_le_bytes());
        self.buf[4..HEADER].copy_from_slice(&count.to_le_bytes());
    }

    /// Writes the header after `gone` elements went and `came` came. An unknown count stays
    /// unknown, as in Redis.
    fn refresh_header(&mut self, gone: usize, came: usize) {
        let count = match self.count() {
            COUNT_UNKNOWN => usize::MAX,
            n => n as usize - gone + came,
        };
        self.set_header(count);
    }

    /// Puts `entry` in the place of the `old` bytes from `at` on, which were `gone` elements.
    fn write(&mut self, at: usize, old: usize, gone: usize, entry: Entry<'_>) -> Pos {
        let head = entry.head_len as usize;
        let payload = head + entry.text.len();
        let (back, back_len) = backlen(payload);
        let new = payload + back_len;
        let before = self.buf.len();
        if new > old {
            self.buf.reserve_exact(new - old);
            self.buf.resize(before + new - old, 0);
        }
        if new != old {
            self.buf.copy_within(at + old..before, at + new);
        }
        if new < old {
            self.buf.truncate(before + new - old);
            self.give_back();
        }
        self.buf[at..at + head].copy_from_slice(&entry.head[..head]);
        self.buf[at + head..at + payload].copy_from_slice(entry.text);
        self.buf[at + payload..at + new].copy_from_slice(&back[..back_len]);
        self.refresh_header(gone, 1);
        Pos(at)
    }

    fn cut(&mut self, start: usize, end: usize, gone: usize) {
        self.buf.drain(start..end);
        self.refresh_header(gone, 0);
        self.give_back();
    }

    /// Returns memory once it is worth an allocator's size class.
    fn give_back(&mut self) {
        let (len, cap) = (self.buf.len(), self.buf.capacity());
        if cap - len > 16 + len / 8 {
            self.buf.shrink_to_fit();
        }
    }
}

/// The end of a listpack to which elements are appended.
pub struct Tail<'a> {
    buf: &'a mut Vec<u8>,
    count: usize,
}

impl Tail<'_> {
    pub fn text(&mut self, text: &[u8]) {
        self.push(Entry::of(text));
    }

    /// The number's text.
    pub fn int(&mut self, v: i64) {
        self.push(Entry::int(v));
    }

    fn push(&mut self, entry: Entry<'_>) {
        let head = entry.head_len as usize;
        let (back, back_len) = backlen(head + entry.text.len());
        self.buf.extend_from_slice(&entry.head[..head]);
        self.buf.extend_from_slice(entry.text);
        self.buf.extend_from_slice(&back[..back_len]);
        self.count += 1;
    }
}

/// Elements of a listpack from both ends.
#[derive(Clone)]
pub struct Iter<'a> {
    buf: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Elem<'a>;

    fn next(&mut self) -> Option<Elem<'a>> {
        if self.front == self.back {
            return None;
        }
        let elem = decode(self.buf, self.front);
        self.front += entry_len(self.buf, self.front);
        Some(elem)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front == self.back {
            return None;
        }
        self.back = step_back(self.buf, self.back);
        Some(decode(self.buf, self.back))
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = Elem<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

// --- the format of one element ---

/// An element about to be written: encoding bytes (with the number, if it is one), then text.
struct Entry<'a> {
    head: [u8; 9],
    head_len: u8,
    text: &'a [u8],
}

impl<'a> Entry<'a> {
    fn of(text: &'a [u8]) -> Entry<'a> {
        match parse_i64(text) {
            Some(v) => Entry::int(v),
            None => Entry::string(text),
        }
    }

    fn with(head: &[u8], text: &'a [u8]) -> Entry<'a> {
        let mut entry = Entry { head: [0; 9], head_len: head.len() as u8, text };
        entry.head[..head.len()].copy_from_slice(head);
        entry
    }

    fn string(text: &'a [u8]) -> Entry<'a> {
        let n = text.len();
        match n {
            0..64 => Entry::with(&[0x80 | n as u8], text),
            64..4096 => Entry::with(&[0xE0 | (n >> 8) as u8, n as u8], text),
            _ => {
                let n = u32::try_from(n).expect("an element stays below 4 GiB").to_le_bytes();
                Entry::with(&[0xF0, n[0], n[1], n[2], n[3]], text)
            }
        }
    }

    fn int(v: i64) -> Entry<'static> {
        let le = v.to_le_bytes();
        let sized = |code: u8, width: usize| {
            let mut head = [0; 9];
            head[0] = code;
            head[1..1 + width].copy_from_slice(&le[..width]);
            Entry { head, head_len: 1 + width as u8, text: &[] }
        };
        match v {
            0..=127 => Entry::with(&[v as u8], &[]),
            -4096..=4095 => Entry::with(&[0xC0 | ((v >> 8) as u8 & 0x1F), v as u8], &[]),
            -0x8000..=0x7FFF => sized(0xF1, 2),
            -0x80_0000..=0x7F_FFFF => sized(0xF2, 3),
            -0x8000_0000..=0x7FFF_FFFF => sized(0xF3, 4),
            _ => sized(0xF4, 8),
        }
    }
}

/// The backlen of `len` bytes of encoding and payload. The odd bounds are the format's.
fn backlen(len: usize) -> ([u8; 5], usize) {
    let width = backlen_width(len);
    let mut out = [0; 5];
    for (i, byte) in out[..width].iter_mut().rev().enumerate() {
        *byte = (len >> (7 * i)) as u8 & 0x7F;
        if i + 1 < width {
            *byte |= 0x80;
        }
    }
    (out, width)
}

fn backlen_width(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// Bytes of encoding and payload of the element at `at`, without its backlen.
#[inline]
fn payload_len(buf: &[u8], at: usize) -> usize {
    match buf[at] {
        0..=0x7F => 1,
        b @ 0x80..=0xBF => 1 + (b & 0x3F) as usize,
        0xC0..=0xDF => 2,
        b @ 0xE0..=0xEF => 2 + (((b & 0x0F) as usize) << 8 | buf[at + 1] as usize),
        0xF0 => 5 + le_u32(buf, at + 1),
        0xF1 => 3,
        0xF2 => 4,
        0xF3 => 5,
        0xF4 => 9,
        0xF5..=0xFF => unreachable!("only checked bytes become a listpack"),
    }
}

/// Bytes of the whole element at `at`.
#[inline]
fn entry_len(buf: &[u8], at: usize) -> usize {
    let payload = payload_len(buf, at);
    payload + backlen_width(payload)
}

/// Where the element starts that ends just before `end`.
#[inline]
fn step_back(buf: &[u8], end: usize) -> usize {
    let (payload, width) = read_backlen(buf, end).expect("only checked bytes become a listpack");
    end - width - payload
}

/// The backlen that ends just before `end` and its own width; `None` when it runs over five bytes
/// or out of the buffer.
fn read_backlen(buf: &[u8], end: usize) -> Option<(usize, usize)> {
    let mut value = 0;
    for i in 0..5 {
        let byte = *buf.get(end.checked_sub(i + 1)?)?;
        value |= ((byte & 0x7F) as usize) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

fn le_u32(buf: &[u8], at: usize) -> usize {
    u32::from_le_bytes([buf[at], buf[at + 1], buf[at + 2], buf[at + 3]]) as usize
}

#[inline]
fn decode(buf: &[u8], at: usize) -> Elem<'_> {
    let text = |head: usize, len: usize| Elem::Str(&buf[at + head..at + head + len]);
    let int = |width: usize| {
        let mut le = [0; 8];
        le[8 - width..].copy_from_slice(&buf[at + 1..at + 1 + width]);
        // Shifted to the top and back down again: that extends the sign.
        Elem::Int(i64::from_le_bytes(le) >> (64 - 8 * width))
    };
    match buf[at] {
        b @ 0..=0x7F => Elem::Int(b as i64),
        b @ 0x80..=0xBF => text(1, (b & 0x3F) as usize),
        b @ 0xC0..=0xDF => {
            let bits = ((b & 0x1F) as i64) << 8 | buf[at + 1] as i64;
            Elem::Int(bits << 51 >> 51)
        }
        b @ 0xE0..=0xEF => text(2, ((b & 0x0F) as usize) << 8 | buf[at + 1] as usize),
        0xF0 => text(5, le_u32(buf, at + 1)),
        0xF1 => int(2),
        0xF2 => int(3),
        0xF3 => int(4),
        0xF4 => int(8),
        0xF5..=0xFF => unreachable!("only checked bytes become a listpack"),
    }
}

/// Bytes that must be there before [`payload_len`] may be asked; 0 for a byte that starts nothing.
fn head_len(first: u8) -> usize {
    match first {
        0xE0..=0xEF => 2,
        0xF0 => 5,
        0xF5..=0xFF => 0,
        _ => 1,
    }
}

/// Checks the header, every element, every backlen and the count; returns the count.
fn validate(buf: &[u8]) -> Result<usize, Corrupt> {
    let ok = |yes: bool| if yes { Ok(()) } else { Err(Corrupt) };
    ok(buf.len() > HEADER && buf[buf.len() - 1] == EOF && le_u32(buf, 0) == buf.len())?;
    let end = buf.len() - 1;
    let mut at = HEADER;
    let mut count = 0usize;
    while at < end {
        let head = head_len(buf[at]);
        ok(head > 0 && head <= end - at)?;
        let payload = payload_len(buf, at);
        let width = backlen_width(payload);
        ok(payload + width <= end - at)?;
        at += payload + width;
        ok(read_backlen(buf, at) == Some((payload, width)))?;
        count += 1;
    }
    let said = u16::from_le_bytes([buf[4], buf[5]]);
    ok(said == COUNT_UNKNOWN || said as usize == count)?;
    Ok(count)
}

#[cfg(test)]
mod tests;
