//! Memory for a shard, where the machine is a virtual one.

const HUGE_PAGE: usize = 2 << 20;
/// Warm memory for each byte that a part will need: not every page that is given back comes to the shard.
const WARM_SHARE: usize = 2;
/// How much warm memory the kernel has before the shard needs it.
const WARM_AHEAD: usize = 128 << 20;

/// Memory that the hypervisor has lent this machine already.
///
/// The first touch of memory that a virtual machine has not used yet, or has reported as free, waits until
/// the hypervisor has found some: milliseconds for a huge page. That is neither the shard's doing nor the
/// kernel's, and it is no measure of either, so these pages are touched beforehand and given back bit by
/// bit as the shard grows. Not all at once: what lies free for some seconds goes back to the hypervisor.
/// The shard itself takes its pages as ever, with a fault each, and the kernel clears them.
pub struct Warm {
    at: *mut libc::c_void,
    bytes: usize,
    /// How much of it the kernel has again.
    given: usize,
    /// What the process had when this began.
    used: usize,
}

impl Warm {
    /// Touches what a shard may need that grows by `bytes`.
    pub fn new(bytes: u64) -> Warm {
        let pages = (bytes as usize * WARM_SHARE + WARM_AHEAD).min(available() / 2).div_ceil(HUGE_PAGE);
        let warm = Warm::map(pages);
        for page in 0..pages {
            // SAFETY: the mapping has that many huge pages.
            unsafe { warm.at.byte_add(page * HUGE_PAGE).cast::<u8>().write_volatile(1) };
        }
        warm
    }

    fn map(pages: usize) -> Warm {
        let (bytes, used) = (pages * HUGE_PAGE, shoal::metrics::used_memory());
        // SAFETY: a new mapping touches nothing that exists; advice to the kernel changes no contents.
        let at = unsafe {
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let at = libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0);
            assert_ne!(at, libc::MAP_FAILED, "there is that much memory");
            libc::madvise(at, bytes, libc::MADV_HUGEPAGE);
            at
        };
        Warm { at, bytes, given: 0, used }
    }

    /// Gives the kernel what the shard may need next.
    pub fn give(&mut self) {
        let grown = shoal::metrics::used_memory().saturating_sub(self.used);
        let due = (grown * WARM_SHARE + WARM_AHEAD).min(self.bytes) / HUGE_PAGE * HUGE_PAGE;
        if due > self.given {
            self.unmap(due - self.given);
        }
    }

    fn unmap(&mut self, bytes: usize) {
        // SAFETY: this part of the mapping is unmapped once, and nobody else knows of it.
        let done = unsafe { libc::munmap(self.at.byte_add(self.given), bytes) };
        assert_eq!(done, 0, "it is mapped");
        self.given += bytes;
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        if self.given < self.bytes {
            self.unmap(self.bytes - self.given);
        }
    }
}

/// Bytes that the machine can spare.
fn available() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").expect("Linux has it");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).expect("since Linux 3.14");
    let kb: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kb << 10
}
