//! One key with its value: a single allocation, reached by a thin pointer.
//!
//! ```text
//! header 8 | wide 8 if flagged | TTL 8 if flagged | payload 8 unless inline | key | inline value
//! ```
//!
//! The header holds, from its low end: 24 bits of access field, 8 of flags, 16 of key length, 16
//! of inline value length. One of the flags is the phase, which belongs to the table that the entry
//! stands in ([`super::snapshot`]): a change of value or TTL leaves it alone. A key longer than 64 KB has both lengths in the wide word instead. The
//! payload is an integer or a boxed object. Allocations are rounded up to the allocator's size
//! classes, so that a value that changes a little is rewritten in place and bytes are counted as
//! they are really used.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};
use std::slice;

use crate::value::Object;

/// What an entry holds besides its key.
pub(super) enum Payload<'a> {
    Int(i64),
    /// At most [`crate::limits::INLINE_VALUE`] bytes.
    Bytes(&'a [u8]),
    Object(Box<Object>),
}

/// What an entry holds, seen in place.
pub(super) enum View<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    Object(&'a Object),
}

pub(super) enum ViewMut<'a> {
    Int(i64),
    Bytes(&'a mut [u8]),
    Object(&'a mut Object),
}

/// An owning pointer to one entry.
///
/// Invariant: points to an allocation of `layout_of(header)` whose parts are initialised as the
/// header says; nobody else holds it.
#[repr(transparent)]
pub(super) struct Entry(NonNull<u8>);

// SAFETY: an entry owns all that it points to, and `Object` is `Send`.
unsafe impl Send for Entry {}

const KIND: u64 = 0b11 << 24;
const INT: u64 = 0 << 24;
const INLINE: u64 = 1 << 24;
const OBJECT: u64 = 2 << 24;
const TTL: u64 = 1 << 26;
const RAW: u64 = 1 << 27;
const WIDE: u64 = 1 << 28;
const PHASE: u64 = 1 << 29;
const LRU: u64 = (1 << 24) - 1;
/// What a new value inherits from the one before.
const KEPT: u64 = LRU | PHASE;

const _: () = assert!(crate::limits::INLINE_VALUE <= u16::MAX as usize);

/// Bytes that mimalloc really hands out for `size`: steps of 16 up to 64, then four a doubling.
#[inline]
pub(super) fn good_size(size: usize) -> usize {
    if size <= 64 {
        return size.next_multiple_of(16);
    }
    let step = 1usize << ((size - 1).ilog2() - 2);
    size.next_multiple_of(step)
}

/// The shape of an entry: everything but the contents.
#[derive(Clone, Copy)]
struct Shape {
    /// Header bits: kind, TTL, raw and phase flags, access field.
    bits: u64,
    key: usize,
    value: usize,
}

impl Shape {
    #[inline]
    fn wide(&self) -> bool {
        self.key > u16::MAX as usize
    }

    #[inline]
    fn ttl_at(&self) -> usize {
        8 + 8 * self.wide() as usize
    }

    #[inline]
    fn body_at(&self) -> usize {
        self.ttl_at() + if self.bits & TTL != 0 { 8 } else { 0 }
    }

    #[inline]
    fn key_at(&self) -> usize {
        self.body_at() + if self.bits & KIND == INLINE { 0 } else { 8 }
    }

    #[inline]
    fn end(&self) -> usize {
        self.key_at() + self.key + self.value
    }

    #[inline]
    fn size(&self) -> usize {
        good_size(self.end())
    }

    #[inline]
    fn layout(&self) -> Layout {
        Layout::from_size_align(self.size(), 8).expect("keys and inline values are bounded")
    }

    #[inline]
    fn header(&self) -> u64 {
        match self.wide() {
            true => self.bits | WIDE,
            false => self.bits & !WIDE | (self.key as u64) << 32 | (self.value as u64) << 48,
        }
    }
}

fn allocate(shape: &Shape) -> NonNull<u8> {
    let layout = shape.layout();
    // SAFETY: the layout's size is at least the header's 8 bytes.
    let at = unsafe { alloc(layout) };
    NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout))
}

impl Payload<'_> {
    fn kind(&self) -> u64 {
        match self {
            Payload::Int(_) => INT,
            Payload::Bytes(_) => INLINE,
            Payload::Object(_) => OBJECT,
        }
    }

    fn inline_len(&self) -> usize {
        match self {
            Payload::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

impl Entry {
    /// `lru` is the 24-bit access field; `raw` says that a string was written to in place.
    pub fn new(key: &[u8], payload: Payload, ttl: Option<u64>, raw: bool, lru: u32) -> Entry {
        Entry::build(key, payload, ttl, raw, lru as u64 & LRU)
    }

    fn build(key: &[u8], payload: Payload, ttl: Option<u64>, raw: bool, kept: u64) -> Entry {
        let shape = Entry::shape_for(key.len(), &payload, ttl, raw, kept);
        let entry = Entry(allocate(&shape));
        // SAFETY: `allocate` made room for the whole shape; the key fits between its bounds.
        unsafe {
            entry.write_head(&shape, ttl);
            ptr::copy_nonoverlapping(key.as_ptr(), entry.at(shape.key_at()), key.len());
            entry.write_payload(&shape, payload);
        }
        entry
    }

    /// `kept` are bits of [`KEPT`].
    fn shape_for(key: usize, payload: &Payload, ttl: Option<u64>, raw: bool, kept: u64) -> Shape {
        let bits = payload.kind() | if ttl.is_some() { TTL } else { 0 } | if raw { RAW } else { 0 } | kept;
        Shape { bits, key, value: payload.inline_len() }
    }

    #[inline]
    fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: callers stay within the allocation: offsets come from its own shape.
        unsafe { self.0.as_ptr().add(offset) }
    }

    #[inline]
    fn word(&self, offset: usize) -> u64 {
        // SAFETY: words lie at multiples of 8 of an 8-aligned allocation, below the key.
        unsafe { self.at(offset).cast::<u64>().read() }
    }

    #[inline]
    fn set_word(&mut self, offset: usize, word: u64) {
        // SAFETY: as in `word`; `&mut self` is exclusive.
        unsafe { self.at(offset).cast::<u64>().write(word) }
    }

    /// Writes header, lengths and TTL.
    ///
    /// # Safety
    /// The allocation has at least `shape.size()` bytes.
    unsafe fn write_head(&self, shape: &Shape, ttl: Option<u64>) {
        // SAFETY: the three words lie before `body_at`, inside the allocation.
        unsafe {
            self.at(0).cast::<u64>().write(shape.header());
            if shape.wide() {
                let lengths = shape.key as u64 | (shape.value as u64) << 32;
                self.at(8).cast::<u64>().write(lengths);
            }
            if let Some(ttl) = ttl {
                self.at(shape.ttl_at()).cast::<u64>().write(ttl);
            }
        }
    }

    /// # Safety
    /// The allocation has at least `shape.size()` bytes, `shape` fits `payload`, and no object
    /// that this overwrites is left to be dropped.
    unsafe fn write_payload(&self, shape: &Shape, payload: Payload) {
        // SAFETY: the payload word lies at `body_at`, inline bytes from `key_at + key` to the end.
        unsafe {
            let word = self.at(shape.body_at());
            match payload {
                Payload::Int(n) => word.cast::<i64>().write(n),
                Payload::Object(object) => word.cast::<*mut Object>().write(Box::into_raw(object)),
                Payload::Bytes(bytes) => {
                    let to = self.at(shape.key_at() + shape.key);
                    ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
                }
            }
        }
    }

    #[inline]
    fn head(&self) -> u64 {
        self.word(0)
    }

    #[inline]
    fn shape(&self) -> Shape {
        let head = self.head();
        let (key, value) = match head & WIDE {
            0 => ((head >> 32) as usize & 0xFFFF, (head >> 48) as usize),
            _ => {
                let lengths = self.word(8);
                (lengths as u32 as usize, (lengths >> 32) as usize)
            }
        };
        Shape { bits: head & (KEPT | KIND | TTL | RAW | WIDE), key, value }
    }

    #[inline]
    pub fn key(&self) -> &[u8] {
        let shape = self.shape();
        // SAFETY: the key's bytes are initialised and live as long as the entry.
        unsafe { slice::from_raw_parts(self.at(shape.key_at()), shape.key) }
    }

    #[inline]
    pub fn view(&self) -> View<'_> {
        let shape = self.shape();
        match shape.bits & KIND {
            INT => View::Int(self.word(shape.body_at()) as i64),
            // SAFETY: the inline value's bytes are initialised and live as long as the entry.
            INLINE => View::Bytes(unsafe {
                slice::from_raw_parts(self.at(shape.key_at() + shape.key), shape.value)
            }),
            // SAFETY: the payload word of this kind is a box that this entry owns.
            _ => View::Object(unsafe { &*self.object_ptr(&shape) }),
        }
    }

    #[inline]
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        let shape = self.shape();
        match shape.bits & KIND {
            INT => ViewMut::Int(self.word(shape.body_at()) as i64),
            // SAFETY: as in `view`, and `&mut self` makes it exclusive.
            INLINE => ViewMut::Bytes(unsafe {
                slice::from_raw_parts_mut(self.at(shape.key_at() + shape.key), shape.value)
            }),
            // SAFETY: as in `view`, and `&mut self` makes it exclusive.
            _ => ViewMut::Object(unsafe { &mut *self.object_ptr(&shape) }),
        }
    }

    /// The boxed object's pointer; only for the kind `OBJECT`.
    #[inline]
    fn object_ptr(&self, shape: &Shape) -> *mut Object {
        debug_assert_eq!(shape.bits & KIND, OBJECT);
        // SAFETY: the payload word was written as this pointer type.
        unsafe { self.at(shape.body_at()).cast::<*mut Object>().read() }
    }

    #[inline]
    pub fn expire_at(&self) -> Option<u64> {
        if self.head() & TTL == 0 {
            return None;
        }
        Some(self.word(8 + if self.head() & WIDE != 0 { 8 } else { 0 }))
    }

    #[inline]
    pub fn has_ttl(&self) -> bool {
        self.head() & TTL != 0
    }

    #[inline]
    pub fn lru(&self) -> u32 {
        (self.head() & LRU) as u32
    }

    /// Writes only what changes: a hot key's line stays clean within a second.
    #[inline]
    pub fn set_lru(&mut self, lru: u32) {
        let head = self.head();
        let next = head & !LRU | lru as u64 & LRU;
        if next != head {
            self.set_word(0, next);
        }
    }

    #[inline]
    pub fn is_raw(&self) -> bool {
        self.head() & RAW != 0
    }

    pub fn set_raw(&mut self) {
        let head = self.head();
        self.set_word(0, head | RAW);
    }

    /// The flag that tells entries apart which a snapshot has seen: see [`super::snapshot`].
    #[inline]
    pub fn phase(&self) -> bool {
        self.head() & PHASE != 0
    }

    #[inline]
    pub fn set_phase(&mut self, phase: bool) {
        let head = self.head();
        self.set_word(0, head & !PHASE | (phase as u64) << PHASE.trailing_zeros());
    }

    /// Another entry with the same key, value and TTL.
    pub fn duplicate(&self) -> Entry {
        let payload = match self.view() {
            View::Int(n) => Payload::Int(n),
            View::Bytes(bytes) => Payload::Bytes(bytes),
            View::Object(object) => Payload::Object(Box::new(object.clone())),
        };
        Entry::build(self.key(), payload, self.expire_at(), self.is_raw(), self.head() & KEPT)
    }

    /// Bytes of the entry's own allocation.
    #[inline]
    pub fn size(&self) -> usize {
        self.shape().size()
    }

    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    /// Overwrites an integer. The entry must hold one.
    #[inline]
    pub fn set_int(&mut self, n: i64) {
        let shape = self.shape();
        assert_eq!(shape.bits & KIND, INT);
        self.set_word(shape.body_at(), n as u64);
    }

    /// Takes the object out and leaves the integer 0 in its place.
    pub fn take_object(&mut self) -> Option<Box<Object>> {
        let shape = self.shape();
        if shape.bits & KIND != OBJECT {
            return None;
        }
        let object = self.object_ptr(&shape);
        let head = self.head();
        self.set_word(0, head & !KIND | INT);
        self.set_word(shape.body_at(), 0);
        // SAFETY: it was a box's pointer, and the entry no longer knows it.
        Some(unsafe { Box::from_raw(object) })
    }

    /// A new value, TTL and raw flag; the key stays. In place when the allocation's size class
    /// does. Returns the object that was there.
    pub fn replace(&mut self, payload: Payload, ttl: Option<u64>, raw: bool) -> Option<Box<Object>> {
        let old_object = self.take_object();
        let old = self.shape();
        let kept = old.bits & KEPT;
        let new = Entry::shape_for(old.key, &payload, ttl, raw, kept);
        if old.size() != new.size() {
            let next = Entry::build(self.key(), payload, ttl, raw, kept);
            *self = next;
            return old_object;
        }
        // SAFETY: same allocation size, so the new shape fits; the key is moved before anything
        // is written over it, and whatever object was there has been taken out.
        unsafe {
            if old.key_at() != new.key_at() {
                ptr::copy(self.at(old.key_at()), self.at(new.key_at()), old.key);
            }
            self.write_head(&new, ttl);
            self.write_payload(&new, payload);
        }
        old_object
    }

    /// Sets or clears the TTL; the value stays.
    pub fn set_expire(&mut self, ttl: Option<u64>) {
        let old = self.shape();
        let flag = if ttl.is_some() { TTL } else { 0 };
        let new = Shape { bits: old.bits & !TTL | flag, ..old };
        let body = old.end() - old.body_at();
        if old.size() == new.size() {
            // SAFETY: both shapes fit the allocation; the body moves before the TTL is written.
            unsafe {
                ptr::copy(self.at(old.body_at()), self.at(new.body_at()), body);
                self.write_head(&new, ttl);
            }
            return;
        }
        let next = Entry(allocate(&new));
        // SAFETY: the body is as long in both; afterwards only `next` owns what it points to, and
        // the old allocation is freed without dropping an object.
        unsafe {
            next.write_head(&new, ttl);
            ptr::copy_nonoverlapping(self.at(old.body_at()), next.at(new.body_at()), body);
            dealloc(self.0.as_ptr(), old.layout());
            self.0 = next.0;
        }
        std::mem::forget(next);
    }

    /// Makes an inline value `len` bytes long: cut, or filled with zeros. Only for inline values.
    pub fn resize_inline(&mut self, len: usize) {
        let old = self.shape();
        assert!(old.bits & KIND == INLINE && len <= crate::limits::INLINE_VALUE);
        let new = Shape { value: len, ..old };
        let keep = old.key + old.value.min(len);
        let ttl = self.expire_at();
        let to = if old.size() == new.size() { Entry(self.0) } else { Entry(allocate(&new)) };
        // SAFETY: `to` has room for the new shape, whose key stands where it stood; if it is
        // another allocation, the old one is freed once and holds no object.
        unsafe {
            if to.0 != self.0 {
                ptr::copy_nonoverlapping(self.at(old.key_at()), to.at(new.key_at()), keep);
                dealloc(self.0.as_ptr(), old.layout());
                self.0 = to.0;
            }
            self.write_head(&new, ttl);
            ptr::write_bytes(self.at(new.key_at() + keep), 0, old.key + len - keep);
        }
        std::mem::forget(to);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        drop(self.take_object());
        let layout = self.shape().layout();
        // SAFETY: allocated with this layout, and nobody else holds it.
        unsafe { dealloc(self.0.as_ptr(), layout) }
    }
}
