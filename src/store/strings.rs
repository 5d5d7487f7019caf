//! String values: how they are stored, and writes to them in place.

use super::clock::Clock;
use super::db::{Db, Ttl};
use super::entry::{Entry, Payload, View, ViewMut};
use super::key::Key;
use super::table::Spot;
use crate::limits::INLINE_VALUE;
use crate::value::Object;

/// The integer whose only decimal text is `text`: no sign but `-`, no leading zeros.
pub(super) fn canonical_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut n: i64 = 0;
    for &digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        let signed = if negative { -(value as i64) } else { value as i64 };
        n = n.checked_mul(10)?.checked_add(signed)?;
    }
    Some(n)
}

fn payload(bytes: &[u8]) -> Payload<'_> {
    match canonical_int(bytes) {
        Some(n) => Payload::Int(n),
        None if bytes.len() <= INLINE_VALUE => Payload::Bytes(bytes),
        None => Payload::Object(Box::new(Object::Str(bytes.to_vec().into()))),
    }
}

/// The name that OBJECT ENCODING gives a string of `len` bytes.
pub(super) fn encoding(len: usize, raw: bool) -> &'static str {
    if raw || len > 44 { "raw" } else { "embstr" }
}

impl Db {
    /// Stores a string, as SET does; whatever the key held is gone. Returns whether the key was
    /// there (and not past its time, in which case it counts as expired first).
    pub fn set_str(&mut self, key: &Key, value: &[u8], ttl: Ttl, clock: &Clock) -> bool {
        self.overwrite(key, payload(value), ttl, false, None, clock)
    }

    /// As [`Db::set_str`], for an integer.
    pub fn set_int(&mut self, key: &Key, n: i64, ttl: Ttl, clock: &Clock) -> bool {
        self.overwrite(key, Payload::Int(n), ttl, false, None, clock)
    }

    /// Gives a string that is stored as an integer the value that `f` makes of it, with a single
    /// lookup. `None`: there is no such key; `Some(None)`: `f` refused, and nothing changed.
    #[inline]
    pub fn update_int(
        &mut self,
        key: &Key,
        clock: &Clock,
        f: impl FnOnce(i64) -> Option<i64>,
    ) -> Option<Option<i64>> {
        let spot = self.live(key, clock)?;
        let View::Int(old) = self.entry(key, spot).view() else { return None };
        let new = f(old);
        let lru = if clock.no_touch { self.entry(key, spot).lru() } else { self.touched(key, spot, clock) };
        if new.is_some() {
            self.will_change(key, spot);
        }
        let entry = self.entry_mut(key, spot);
        entry.set_lru(lru);
        if let Some(n) = new {
            entry.set_int(n);
        }
        Some(new)
    }

    /// Appends to a string, or creates it as SET would. Returns its new length, or `None` when the
    /// key holds something else.
    pub fn append(&mut self, key: &Key, tail: &[u8], clock: &Clock) -> Option<usize> {
        let Some(spot) = self.live(key, clock) else {
            self.set_str(key, tail, Ttl::Clear, clock);
            return Some(tail.len());
        };
        let old = self.string_len(key, spot)?;
        let whole = self.reshape(key, spot, old + tail.len(), clock)?;
        whole[old..].copy_from_slice(tail);
        Some(whole.len())
    }

    /// The bytes of a string for writing, made at least `min_len` long with zeros, and created
    /// when missing. From here on its encoding is raw. `None` when the key holds something else.
    pub fn bytes_mut(&mut self, key: &Key, min_len: usize, clock: &Clock) -> Option<&mut [u8]> {
        self.stretch(key, min_len, clock).map(|(bytes, _)| bytes)
    }

    /// As [`Db::bytes_mut`], and how long the string was if there was one.
    pub fn stretch(
        &mut self,
        key: &Key,
        min_len: usize,
        clock: &Clock,
    ) -> Option<(&mut [u8], Option<usize>)> {
        let (spot, old) = match self.live(key, clock) {
            Some(spot) => (spot, Some(self.string_len(key, spot)?)),
            None => {
                self.overwrite(key, Payload::Bytes(b""), Ttl::Clear, true, None, clock);
                (self.spot(key)?, None)
            }
        };
        let bytes = self.reshape(key, spot, old.unwrap_or(0).max(min_len), clock)?;
        Some((bytes, old))
    }

    /// Lets `f` change a string's bytes, and their number. From here on its encoding is raw. `None`
    /// when there is no such key, or it holds something else.
    pub fn edit<R>(&mut self, key: &Key, clock: &Clock, f: impl FnOnce(&mut Vec<u8>) -> R) -> Option<R> {
        let spot = self.live(key, clock)?;
        self.string_len(key, spot)?;
        let lru = clock.no_touch.then(|| self.entry(key, spot).lru());
        let lru = lru.unwrap_or_else(|| self.touched(key, spot, clock));
        Some(self.update(key, spot, |entry| {
            let out = edit_bytes(entry, f);
            entry.set_raw();
            entry.set_lru(lru);
            out
        }))
    }

    fn string_len(&self, key: &Key, spot: Spot) -> Option<usize> {
        match self.entry(key, spot).view() {
            View::Int(n) => Some(itoa::Buffer::new().format(n).len()),
            View::Bytes(bytes) => Some(bytes.len()),
            View::Object(Object::Str(bytes)) => Some(bytes.len()),
            View::Object(_) => None,
        }
    }

    /// Makes the string at `spot` a raw one of `len` bytes, at least as long as it was.
    fn reshape(&mut self, key: &Key, spot: Spot, len: usize, clock: &Clock) -> Option<&mut [u8]> {
        let lru = clock.no_touch.then(|| self.entry(key, spot).lru());
        let lru = lru.unwrap_or_else(|| self.touched(key, spot, clock));
        let entry = self.entry(key, spot);
        let keeps_shape = match entry.view() {
            View::Bytes(bytes) => entry.is_raw() && bytes.len() == len,
            View::Object(Object::Str(bytes)) => entry.is_raw() && bytes.len() == len,
            _ => false,
        };
        if keeps_shape {
            self.will_change(key, spot);
            self.entry_mut(key, spot).set_lru(lru);
        } else {
            self.update(key, spot, |entry| {
                make_bytes(entry, len);
                entry.set_raw();
                entry.set_lru(lru);
            });
        }
        match self.entry_mut(key, spot).view_mut() {
            ViewMut::Bytes(bytes) => Some(bytes),
            ViewMut::Object(Object::Str(bytes)) => Some(bytes.to_mut()),
            _ => None,
        }
    }
}

/// Turns any string into bytes, `len` of them, inline while they fit.
fn make_bytes(entry: &mut Entry, len: usize) {
    let ttl = entry.expire_at();
    if let View::Int(n) = entry.view() {
        entry.replace(Payload::Bytes(itoa::Buffer::new().format(n).as_bytes()), ttl, true);
    }
    match entry.view_mut() {
        ViewMut::Bytes(_) if len <= INLINE_VALUE => entry.resize_inline(len),
        ViewMut::Bytes(bytes) => {
            let mut long = Vec::with_capacity(len + len / 4);
            long.extend_from_slice(bytes);
            long.resize(len, 0);
            entry.replace(Payload::Object(Box::new(Object::Str(long.into()))), ttl, true);
        }
        ViewMut::Object(Object::Str(bytes)) => bytes.to_mut().resize(len, 0),
        _ => {}
    }
}

/// Lets `f` change the bytes of a string: in place where they have an allocation of their own.
fn edit_bytes<R>(entry: &mut Entry, f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    if let ViewMut::Object(Object::Str(bytes)) = entry.view_mut() {
        return f(bytes.to_mut());
    }
    let mut bytes = match entry.view() {
        View::Int(n) => itoa::Buffer::new().format(n).as_bytes().to_vec(),
        View::Bytes(bytes) => bytes.to_vec(),
        View::Object(_) => unreachable!("the caller has seen that it is a string"),
    };
    let out = f(&mut bytes);
    let ttl = entry.expire_at();
    match bytes.len() <= INLINE_VALUE {
        true => entry.replace(Payload::Bytes(&bytes), ttl, true),
        false => entry.replace(Payload::Object(Box::new(Object::Str(bytes.into()))), ttl, true),
    };
    out
}
