//! Where a table's buckets lie: one array while they are few, segments of 1024 behind a directory
//! once they are many. Growing moves at most one array of 64 KB or one directory.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem;
use std::ptr::{self, NonNull};

use super::bucket::Bucket;

/// Buckets of a segment, and most buckets of a plain array.
const SEGMENT: usize = 1024;
const LINE: usize = size_of::<Bucket>();

/// A vector of buckets. All zeros is the empty one.
///
/// Invariant: `cap == 0`: nothing is allocated. `cap <= SEGMENT`: `ptr` is an array of `cap`
/// buckets. Above: `ptr` is a directory of `directory_len(cap)` pointers, of which the first
/// `cap / SEGMENT` are arrays of `SEGMENT` buckets. The first `len` buckets are initialised.
#[repr(C)]
pub(super) struct Array {
    ptr: *mut u8,
    cap: u32,
    len: u32,
}

// SAFETY: an array owns its buckets, which are `Send`.
unsafe impl Send for Array {}

/// Capacities that fill one of mimalloc's size classes, four a doubling. Cache-line alignment is
/// free for powers of two up to a page and for whole pages; elsewhere it costs one bucket.
fn capacity_for(len: usize) -> usize {
    if len <= 2 {
        return len;
    }
    let fits = |class: usize| match class.is_power_of_two() || (class * LINE).is_multiple_of(4096) {
        true => class,
        false => class - 1,
    };
    let step = 1usize << (len.ilog2().saturating_sub(2));
    let class = len.next_multiple_of(step);
    match fits(class) {
        cap if cap >= len => cap,
        _ => fits((class + 1).next_multiple_of(1 << class.ilog2().saturating_sub(2))),
    }
}

fn array_layout(cap: usize) -> Layout {
    let align = if (cap * LINE).is_multiple_of(4096) { 4096 } else { LINE };
    Layout::from_size_align(cap * LINE, align).expect("at most 64 KB")
}

fn directory_len(cap: usize) -> usize {
    (cap / SEGMENT).next_power_of_two().max(4)
}

fn directory_layout(cap: usize) -> Layout {
    Layout::array::<*mut Bucket>(directory_len(cap)).expect("bounded by u32 buckets")
}

/// `layout.size()` isn't 0.
fn allocate(layout: Layout) -> *mut u8 {
    debug_assert!(layout.size() > 0);
    // SAFETY: as the doc says.
    let at = unsafe { alloc(layout) };
    NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout)).as_ptr()
}

impl Array {
    pub const fn new() -> Array {
        Array { ptr: ptr::null_mut(), cap: 0, len: 0 }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        let directory = if self.segmented() { directory_layout(self.cap as usize).size() } else { 0 };
        self.cap as usize * LINE + directory
    }

    #[inline]
    fn segmented(&self) -> bool {
        self.cap as usize > SEGMENT
    }

    /// Where bucket `i < cap` lies.
    #[inline]
    fn place(&self, i: usize) -> *mut Bucket {
        debug_assert!(i < self.cap as usize);
        if !self.segmented() {
            // SAFETY: `i` is below the array's capacity.
            return unsafe { self.ptr.cast::<Bucket>().add(i) };
        }
        // SAFETY: the directory's first `cap / SEGMENT` pointers are segments.
        unsafe { (*self.directory().add(i / SEGMENT)).add(i % SEGMENT) }
    }

    #[inline]
    fn directory(&self) -> *mut *mut Bucket {
        debug_assert!(self.segmented());
        self.ptr.cast()
    }

    /// Bucket `i`. Panics when out of range.
    #[inline]
    pub fn get(&self, i: usize) -> &Bucket {
        assert!(i < self.len as usize);
        // SAFETY: the first `len` buckets are initialised and owned by the array.
        unsafe { &*self.place(i) }
    }

    #[inline]
    pub fn get_mut(&mut self, i: usize) -> &mut Bucket {
        assert!(i < self.len as usize);
        // SAFETY: as in `get`; `&mut self` is exclusive.
        unsafe { &mut *self.place(i) }
    }

    /// The address of bucket `i`, for a prefetch.
    #[inline]
    pub fn address(&self, i: usize) -> *const u8 {
        self.place(i).cast_const().cast()
    }

    pub fn push(&mut self, bucket: Bucket) {
        if self.len == self.cap {
            self.grow();
        }
        // SAFETY: `len < cap`, and the place isn't initialised.
        unsafe { self.place(self.len as usize).write(bucket) };
        self.len += 1;
    }

    /// Takes the last bucket. Panics when there is none.
    pub fn pop(&mut self) -> Bucket {
        assert!(self.len > 0);
        self.len -= 1;
        // SAFETY: the place was initialised, and is no longer counted as such.
        let last = unsafe { self.place(self.len as usize).read() };
        self.shrink();
        last
    }

    fn grow(&mut self) {
        let cap = self.cap as usize;
        if cap < SEGMENT {
            return self.move_to(capacity_for(cap + 1).min(SEGMENT));
        }
        let segment = allocate(array_layout(SEGMENT)).cast::<Bucket>();
        let next = cap + SEGMENT;
        if !self.segmented() {
            let directory = allocate(directory_layout(next)).cast::<*mut Bucket>();
            // SAFETY: a directory has room for 4 pointers; the array is a whole segment.
            unsafe { directory.write(self.ptr.cast()) };
            self.ptr = directory.cast();
        } else if directory_len(next) != directory_len(cap) {
            self.move_directory(next);
        }
        self.cap = next as u32;
        // SAFETY: the directory has room for `next / SEGMENT` pointers.
        unsafe { self.directory().add(cap / SEGMENT).write(segment) };
    }

    /// Gives memory back, with slack so that a table that wavers doesn't allocate each time.
    fn shrink(&mut self) {
        let (len, cap) = (self.len as usize, self.cap as usize);
        if !self.segmented() {
            if len * 2 <= cap {
                self.move_to(capacity_for(len + len / 4));
            }
            return;
        }
        if len + SEGMENT + SEGMENT / 2 > cap {
            return;
        }
        let next = cap - SEGMENT;
        // SAFETY: the last segment holds no initialised bucket and is no longer counted.
        unsafe { dealloc((*self.directory().add(next / SEGMENT)).cast(), array_layout(SEGMENT)) };
        if next == SEGMENT {
            // SAFETY: the directory was allocated with this layout; its first segment lives on as
            // the plain array.
            unsafe {
                let first = *self.directory();
                dealloc(self.ptr, directory_layout(cap));
                self.ptr = first.cast();
            }
        } else if directory_len(next) != directory_len(cap) {
            self.move_directory(next);
        }
        self.cap = next as u32;
    }

    /// Moves a plain array to another capacity, at least `len`.
    fn move_to(&mut self, cap: usize) {
        debug_assert!(cap >= self.len as usize && cap <= SEGMENT && !self.segmented());
        if cap == self.cap as usize {
            return;
        }
        let next = if cap == 0 { ptr::null_mut() } else { allocate(array_layout(cap)) };
        if self.cap > 0 {
            // SAFETY: both arrays have room for `len` buckets; the old one is freed with its own
            // layout and its buckets live on in the new one.
            unsafe {
                ptr::copy_nonoverlapping(self.ptr, next, self.len as usize * LINE);
                dealloc(self.ptr, array_layout(self.cap as usize));
            }
        }
        self.ptr = next;
        self.cap = cap as u32;
    }

    /// Moves the directory to the size that `cap` wants; `self.cap` is still the old capacity.
    fn move_directory(&mut self, cap: usize) {
        let old = directory_layout(self.cap as usize);
        let next = allocate(directory_layout(cap));
        let segments = (cap.min(self.cap as usize)) / SEGMENT;
        // SAFETY: both directories have room for `segments` pointers, the old one is freed once.
        unsafe {
            ptr::copy_nonoverlapping(self.ptr, next, segments * size_of::<*mut Bucket>());
            dealloc(self.ptr, old);
        }
        self.ptr = next;
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        for i in 0..self.len as usize {
            // SAFETY: each initialised bucket is dropped once; `len` isn't read again.
            unsafe { self.place(i).drop_in_place() };
        }
        let cap = mem::take(&mut self.cap) as usize;
        if cap == 0 {
            return;
        }
        if cap <= SEGMENT {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(self.ptr, array_layout(cap)) };
            return;
        }
        for i in 0..cap / SEGMENT {
            // SAFETY: the directory's segments were allocated with this layout.
            unsafe { dealloc((*self.ptr.cast::<*mut Bucket>().add(i)).cast(), array_layout(SEGMENT)) };
        }
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.ptr, directory_layout(cap)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_rise_in_small_steps_up_to_a_segment() {
        let mut caps = vec![0];
        while *caps.last().unwrap() < SEGMENT {
            let last = *caps.last().unwrap();
            let next = capacity_for(last + 1);
            assert!(next > last && (last < 8 || next * 2 <= last * 3 - 2), "{last} -> {next}");
            caps.push(next);
        }
        assert_eq!(*caps.last().unwrap(), SEGMENT);
        for len in 1..=SEGMENT {
            assert!(capacity_for(len) >= len);
        }
    }

    #[test]
    fn pushes_and_pops_across_segments_keep_memory_in_step() {
        let mut array = Array::new();
        for n in 1..=6 * SEGMENT {
            array.push(Bucket::new());
            assert_eq!(array.len(), n);
            assert!(array.bytes() >= n * LINE);
        }
        for n in (0..6 * SEGMENT).rev() {
            array.pop();
            assert!(array.bytes() <= (2 * n + 2 * SEGMENT) * LINE);
        }
        assert_eq!(array.bytes(), 0);
    }
}
