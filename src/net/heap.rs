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

/// `mi_option_purge_delay`, whose name the binding lacks.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// In milliseconds: never, but small enough to be added to a time.
const NEVER: libc::c_long = 1 << 40;

/// From now on only [`purge`] gives memory back to the system.
///
/// Left to itself mimalloc gives back all that was freed a second ago or earlier, in the thread that
/// happens to free a page then: a shard that has just evicted a hundred megabytes stood still for ten
/// milliseconds.
pub fn leave_purging_to_caller() {
    // SAFETY: the option is an atomic of mimalloc's own.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, NEVER) }
}

/// Gives unused memory back to the system.
pub fn purge() {
    // SAFETY: mi_collect has no precondition; it works on mimalloc's own state, thread by thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmimalloc_sys::{mi_free, mi_malloc, mi_option_get};

    /// Pages of a block that the process has.
    ///
    /// # Safety
    /// The block is mapped.
    unsafe fn resident(block: *mut u8, bytes: usize) -> usize {
        const PAGE: usize = 4096;
        let begin = block.map_addr(|at| at.next_multiple_of(PAGE));
        let mut pages = vec![0; bytes / PAGE - 1];
        // SAFETY: as promised; the kernel writes a byte for each page.
        let done = unsafe { libc::mincore(begin.cast(), pages.len() * PAGE, pages.as_mut_ptr()) };
        assert_eq!(done, 0);
        pages.iter().filter(|&&page| page & 1 == 1).count()
    }

    /// The option is the one that it is taken for, and memory that was freed stays until it is asked for.
    #[test]
    fn memory_goes_back_when_asked_only() {
        const SIZE: usize = 64 << 20;
        // SAFETY: what is allocated is written within its bounds and freed once. Its arena stays mapped.
        unsafe {
            assert_eq!(mi_option_get(PURGE_DELAY), 1000, "mimalloc's default");
            leave_purging_to_caller();
            let block = mi_malloc(SIZE).cast::<u8>();
            block.write_bytes(1, SIZE);
            mi_free(block.cast());
            mi_free(mi_malloc(64 << 10));
            assert!(resident(block, SIZE) > 0, "given back too early");
            purge();
            assert_eq!(resident(block, SIZE), 0, "not given back");
        }
    }
}
