//! An allocator that books what it gives and takes, so that `maxmemory` and INFO know.

use crate::metrics::book;
use std::alloc::{GlobalAlloc, Layout};

/// Counts the bytes of another allocator.
pub struct Counting<A>(pub A);

// SAFETY: every call goes to the wrapped allocator with the arguments unchanged; booking touches
// only static counters and never allocates.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        book(layout.size() as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        book(layout.size() as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        book(-(layout.size() as i64));
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new: usize) -> *mut u8 {
        book(new as i64 - layout.size() as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.realloc(at, layout, new) }
    }
}

/// Gives unused memory back to the system.
pub fn purge() {
    // SAFETY: mi_collect has no precondition; it works on mimalloc's own state, thread by thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
