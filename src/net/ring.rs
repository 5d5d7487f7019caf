//! One core's raw io_uring: multishot accept and recv, provided buffers, sends that own their bytes.
//!
//! The only room besides `store/` with `unsafe`. Its contract towards the kernel: memory that was
//! handed over (the provided buffers, a buffer being sent) stays where it is until the kernel says
//! that it is done. So the ring owns all such memory itself: the buffer region lives as long as the
//! ring, and a send, or a recv into memory of its own, takes its `Vec` by value and gives it back with the
//! completion.

use crate::limits::RECV_OFFER;
use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

const BUFFER_GROUP: u16 = 1;
/// Largest `user_data` payload: the upper byte says what completed.
const PAYLOAD: u64 = (1 << 56) - 1;
const ACCEPT: u64 = 1 << 56;
const RECV: u64 = 2 << 56;
const SEND: u64 = 3 << 56;
const WAKE: u64 = 4 << 56;
const QUIET: u64 = 5 << 56;
const WRITABLE: u64 = 6 << 56;
const SYNC: u64 = 7 << 56;
const FILL: u64 = 8 << 56;

/// Sizes of one ring.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub entries: u32,
    pub completions: u32,
    /// Number of provided buffers, a power of two.
    pub buffers: u16,
    pub buffer_bytes: u32,
}

/// What the kernel finished. `tag` is what the request was given, below 2^56.
pub enum Completion {
    /// A connection, or why there is none. `more`: the listener stays armed.
    Accepted { tag: u64, result: io::Result<OwnedFd>, more: bool },
    /// `len` bytes lie in `buffer`; to be given back with [`Ring::recycle`].
    Received { tag: u64, buffer: u16, len: usize, more: bool },
    /// So many bytes more lie at the end of `buf`; none: the stream ended.
    Filled { tag: u64, result: io::Result<usize>, buf: Vec<u8> },
    /// The stream ended (`Ok`) or broke, or no buffer was free (`ENOBUFS`); recv must be armed again to go on.
    RecvEnded { tag: u64, error: Option<i32> },
    /// A send finished, or was tried and took only a part: `from` is where `buf` goes on.
    Sent { tag: u64, result: io::Result<()>, from: usize, buf: Vec<u8> },
    /// A sibling rang.
    Woken,
    /// A file's bytes are on the disk, or it failed.
    Synced { tag: u64, result: io::Result<()> },
    /// The socket can be written to, or has failed: its own error tells.
    Writable { tag: u64 },
}

/// Rings a parked peer: what a ring needs to know of another one.
#[derive(Clone, Copy, Debug)]
pub struct Peer(RawFd);

/// The provided buffers and the ring through which they are offered to the kernel.
///
/// The kernel takes them in the order of offering. Were all of them on offer, every recv would write
/// to the buffer whose last use is longest ago, and the whole region would pass through the cache
/// again and again. So only about twice as many as a turn uses are on offer, those used last.
struct Buffers {
    entries: NonNull<BufRingEntry>,
    data: NonNull<u8>,
    count: u16,
    bytes: u32,
    tail: u16,
    /// Not on offer, the one used last on top.
    spare: Vec<u16>,
    offered: u16,
    /// The most that a turn used of late.
    peak: u16,
}

/// A send in flight: the kernel reads `buf[from..]` until its completion. Or a recv, which writes there.
struct Flight {
    tag: u64,
    from: usize,
    buf: Vec<u8>,
}

pub struct Ring {
    ring: IoUring,
    buffers: Buffers,
    /// Entries that found the submission queue full.
    overflow: Vec<squeue::Entry>,
    flights: Vec<Option<Flight>>,
    free_flights: Vec<u32>,
    /// Places of sends that completed on their own.
    landed: Vec<u32>,
    /// Sends of [`Ring::try_send`] whose outcome is not known yet.
    trying: Vec<u32>,
    /// What completed last found the completion queue full.
    behind: bool,
}

fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: an anonymous private mapping; no existing memory is touched.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_ANONYMOUS | libc::MAP_PRIVATE,
            -1,
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(at.cast()).expect("mmap never maps page zero"))
}

impl Buffers {
    fn new(ring: &IoUring, sizes: &Sizes) -> io::Result<Buffers> {
        assert!(sizes.buffers.is_power_of_two());
        let entries = map(sizes.buffers as usize * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let data = map(sizes.buffers as usize * sizes.buffer_bytes as usize)?;
        // SAFETY: `entries` is a page-aligned mapping of exactly `buffers` entries; it is unmapped
        // only when the ring, and with it the registration, is gone.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                sizes.buffers,
                BUFFER_GROUP,
                0,
            )?;
        }
        let mut buffers = Buffers {
            entries,
            data,
            count: sizes.buffers,
            bytes: sizes.buffer_bytes,
            tail: 0,
            spare: (0..sizes.buffers).rev().collect(),
            offered: 0,
            peak: 0,
        };
        buffers.restock();
        Ok(buffers)
    }

    /// Takes back what a turn used.
    fn recycle(&mut self, ids: impl IntoIterator<Item = u16>) {
        let before = self.spare.len();
        self.spare.extend(ids);
        let used = (self.spare.len() - before) as u16;
        // a peak is forgotten over some hundred turns
        self.peak = used.max(self.peak - self.peak.div_ceil(256));
        self.restock();
    }

    /// Nothing was on offer when bytes came.
    fn ran_out(&mut self) {
        self.peak = (self.peak * 2).clamp(1, self.count);
        self.restock();
    }

    fn restock(&mut self) {
        let aim = (2 * self.peak).max(RECV_OFFER).min(self.count);
        while self.offered < aim
            && let Some(id) = self.spare.pop()
        {
            self.offer(id);
            self.offered += 1;
        }
        self.publish();
    }

    /// Puts buffer `id` behind the tail; visible to the kernel after [`Buffers::publish`].
    fn offer(&mut self, id: u16) {
        debug_assert!(id < self.count);
        let at = (self.tail & (self.count - 1)) as usize;
        // SAFETY: `at` is below `count`, and the kernel does not read entries behind the published
        // tail. Only the fields addr, len and bid are written: the tail shares the first entry's
        // fourth field.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(at);
            entry.set_addr(self.data.as_ptr().add(id as usize * self.bytes as usize) as u64);
            entry.set_len(self.bytes);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the tail lies inside the mapping, is aligned, and the kernel only reads it;
        // the release store makes the entries before it visible first.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both are mappings of these sizes made in `new`. The ring was dropped before (field
        // order in `Ring`), so the kernel no longer knows them.
        unsafe {
            libc::munmap(self.entries.as_ptr().cast(), self.count as usize * size_of::<BufRingEntry>());
            libc::munmap(self.data.as_ptr().cast(), self.count as usize * self.bytes as usize);
        }
    }
}

impl Ring {
    /// A ring for the calling thread alone: only this thread may submit.
    pub fn new(sizes: Sizes) -> io::Result<Ring> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(sizes.completions)
            .build(sizes.entries)?;
        let buffers = Buffers::new(&ring, &sizes)?;
        Ok(Ring {
            ring,
            buffers,
            overflow: Vec::new(),
            flights: Vec::new(),
            free_flights: Vec::new(),
            landed: Vec::new(),
            trying: Vec::new(),
            behind: false,
        })
    }

    /// How siblings ring this one.
    pub fn peer(&self) -> Peer {
        Peer(self.ring.as_raw_fd())
    }

    /// Accepts connections on `listener` until told otherwise.
    pub fn accept(&mut self, listener: RawFd, tag: u64) {
        let entry = opcode::AcceptMulti::new(Fd(listener))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build()
            .user_data(ACCEPT | tag);
        self.push(entry);
    }

    /// Receives from `fd` into provided buffers until told otherwise.
    pub fn recv(&mut self, fd: RawFd, tag: u64) {
        self.push(opcode::RecvMulti::new(Fd(fd), BUFFER_GROUP).build().user_data(RECV | tag));
    }

    /// Receives from `fd` once, up to `room` bytes behind those that `buf` has: what is long enough is worth
    /// a request of its own, and is copied once less.
    pub fn fill(&mut self, fd: RawFd, buf: Vec<u8>, room: usize, tag: u64) {
        assert!(0 < room && room <= buf.capacity() - buf.len());
        let from = buf.len();
        let index = self.take_off(buf, from, tag);
        let flight = self.flights[index as usize].as_mut().expect("it just took off");
        let at = flight.buf.spare_capacity_mut().as_mut_ptr();
        let entry = opcode::Recv::new(Fd(fd), at.cast(), room.min(i32::MAX as usize) as u32).build();
        self.push(entry.user_data(FILL | index as u64));
    }

    /// Waits until `fd` can be written to: how the end of a connect is seen.
    pub fn writable(&mut self, fd: RawFd, tag: u64) {
        let entry = opcode::PollAdd::new(Fd(fd), libc::POLLOUT as u32).build();
        self.push(entry.user_data(WRITABLE | tag));
    }

    /// Brings what was written to a file to the disk, however long it takes.
    pub fn sync(&mut self, fd: RawFd, tag: u64) {
        let entry = opcode::Fsync::new(Fd(fd)).flags(types::FsyncFlags::DATASYNC).build();
        self.push(entry.user_data(SYNC | tag));
    }

    /// Stops the recv that was given `tag`.
    pub fn cancel_recv(&mut self, tag: u64) {
        self.push(opcode::AsyncCancel::new(RECV | tag).build().user_data(QUIET));
    }

    /// Sends `buf[from..]` as far as the socket takes it at once. A success costs no completion of
    /// its own: it is known when [`Ring::enter`] is back, since the kernel tries such a send before
    /// it returns.
    pub fn try_send(&mut self, fd: RawFd, buf: Vec<u8>, from: usize, tag: u64) {
        let index = self.take_off(buf, from, tag);
        let entry = self
            .send_entry(fd, index, libc::MSG_DONTWAIT)
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(SEND | index as u64);
        self.trying.push(index);
        self.push(entry);
    }

    /// Sends all of `buf[from..]`, however long it takes.
    pub fn send(&mut self, fd: RawFd, buf: Vec<u8>, from: usize, tag: u64) {
        let index = self.take_off(buf, from, tag);
        let entry = self.send_entry(fd, index, 0).user_data(SEND | index as u64);
        self.push(entry);
    }

    fn take_off(&mut self, buf: Vec<u8>, from: usize, tag: u64) -> u32 {
        let index = self.free_flights.pop().unwrap_or_else(|| {
            self.flights.push(None);
            self.flights.len() as u32 - 1
        });
        self.flights[index as usize] = Some(Flight { tag, from, buf });
        index
    }

    fn send_entry(&self, fd: RawFd, index: u32, flags: i32) -> squeue::Entry {
        // a Vec's bytes stay where they are when the Vec itself moves
        let flight = self.flights[index as usize].as_ref().expect("it just took off");
        let bytes = &flight.buf[flight.from..];
        assert!(!bytes.is_empty());
        opcode::Send::new(Fd(fd), bytes.as_ptr(), bytes.len().min(i32::MAX as usize) as u32)
            .flags(flags | libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
    }

    /// Rings `peer`, which sees [`Completion::Woken`].
    pub fn wake(&mut self, peer: Peer) {
        let entry = opcode::MsgRingData::new(Fd(peer.0), 0, WAKE, None).build().user_data(QUIET);
        self.push(entry);
    }

    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: what the entry points at outlives it: buffers being sent or filled are kept in `flights`,
        // provided buffers live as long as the ring.
        if self.overflow.is_empty() && unsafe { self.ring.submission().push(&entry) }.is_ok() {
            return;
        }
        self.overflow.push(entry);
    }

    fn push_overflow(&mut self) {
        if self.overflow.is_empty() {
            return;
        }
        let mut queue = self.ring.submission();
        let room = (queue.capacity() - queue.len()).min(self.overflow.len());
        for entry in self.overflow.drain(..room) {
            // SAFETY: as in `push`.
            unsafe { queue.push(&entry) }.expect("there is room");
        }
    }

    /// Hands everything to the kernel and runs its finished work. With `wait`, sleeps until
    /// something completes or that time is over.
    pub fn enter(&mut self, wait: Option<Duration>) -> io::Result<()> {
        while !self.overflow.is_empty() {
            self.push_overflow();
            if !self.overflow.is_empty() {
                self.submit(None)?;
            }
        }
        self.submit(wait)
    }

    fn submit(&mut self, wait: Option<Duration>) -> io::Result<()> {
        // with DEFER_TASKRUN finished work is only run by an enter that asks for events; a wait of
        // zero asks and does not sleep
        let spec = wait.map_or(Timespec::new(), Timespec::from);
        let args = SubmitArgs::new().timespec(&spec);
        match self.ring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// Moves all completions to `out`; true when there was one. To be called after [`Ring::enter`].
    pub fn reap(&mut self, out: &mut Vec<Completion>) -> bool {
        let Ring { ring, flights, landed, buffers, .. } = self;
        let mut any = false;
        for entry in ring.completion() {
            any = true;
            let Some(done) = translate(&entry, flights, landed) else { continue };
            match done {
                Completion::Received { .. } => buffers.offered -= 1,
                Completion::RecvEnded { error: Some(libc::ENOBUFS), .. } => buffers.ran_out(),
                _ => {}
            }
            out.push(done);
        }
        let queue = self.ring.submission();
        // failures that did not fit into the completion queue, or were not submitted yet, would
        // look like successes
        let behind = queue.cq_overflow();
        let known = !behind && queue.is_empty();
        drop(queue);
        self.behind = behind;
        if known && self.overflow.is_empty() {
            self.settle(out);
        }
        any
    }

    /// Whether there are completions which [`Ring::reap`] has not seen.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Sends that were tried and did not fail are done.
    fn settle(&mut self, out: &mut Vec<Completion>) {
        let Ring { trying, flights, free_flights, landed, .. } = self;
        for index in trying.drain(..) {
            // a failed one has landed already, and its place is not given out before this ends
            if let Some(flight) = flights[index as usize].take() {
                free_flights.push(index);
                let from = flight.buf.len();
                out.push(Completion::Sent { tag: flight.tag, result: Ok(()), from, buf: flight.buf });
            }
        }
        free_flights.append(landed);
    }

    /// The bytes of a [`Completion::Received`] that has not been recycled.
    #[inline]
    pub fn received(&self, buffer: u16, len: usize) -> &[u8] {
        assert!(buffer < self.buffers.count && len <= self.buffers.bytes as usize);
        // SAFETY: in bounds by the assertion; the kernel wrote these bytes before it posted the
        // completion, and writes again only after `recycle`, which needs `&mut self`.
        unsafe {
            let at = self.buffers.data.as_ptr().add(buffer as usize * self.buffers.bytes as usize);
            std::slice::from_raw_parts(at, len)
        }
    }

    /// Gives buffers back to the kernel.
    pub fn recycle(&mut self, ids: impl IntoIterator<Item = u16>) {
        self.buffers.recycle(ids);
    }
}

fn translate(
    entry: &cqueue::Entry,
    flights: &mut [Option<Flight>],
    landed: &mut Vec<u32>,
) -> Option<Completion> {
    let (kind, tag, result) = (entry.user_data() & !PAYLOAD, entry.user_data() & PAYLOAD, entry.result());
    let more = cqueue::more(entry.flags());
    Some(match kind {
        RECV => match cqueue::buffer_select(entry.flags()) {
            Some(buffer) if result > 0 => Completion::Received { tag, buffer, len: result as usize, more },
            _ => Completion::RecvEnded { tag, error: (result < 0).then_some(-result) },
        },
        SEND => {
            let flight = flights[tag as usize].take().expect("a send completes once");
            landed.push(tag as u32);
            let (result, sent) = match result {
                n if n >= 0 => (Ok(()), n as usize),
                e if e == -libc::EAGAIN => (Ok(()), 0),
                e => (Err(io::Error::from_raw_os_error(-e)), 0),
            };
            Completion::Sent { tag: flight.tag, result, from: flight.from + sent, buf: flight.buf }
        }
        FILL => {
            let mut flight = flights[tag as usize].take().expect("a recv completes once");
            landed.push(tag as u32);
            let result = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
            // SAFETY: the kernel wrote so many bytes there, within the room that it was given.
            unsafe { flight.buf.set_len(flight.from + *result.as_ref().unwrap_or(&0)) };
            Completion::Filled { tag: flight.tag, result, buf: flight.buf }
        }
        ACCEPT => {
            let result = match result {
                e if e < 0 => Err(io::Error::from_raw_os_error(-e)),
                // SAFETY: the kernel made this descriptor for this completion; nobody else owns it.
                fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            };
            Completion::Accepted { tag, result, more }
        }
        WAKE => Completion::Woken,
        WRITABLE => Completion::Writable { tag },
        SYNC if result < 0 => Completion::Synced { tag, result: Err(io::Error::from_raw_os_error(-result)) },
        SYNC => Completion::Synced { tag, result: Ok(()) },
        _ => return None,
    })
}

impl Drop for Ring {
    fn drop(&mut self) {
        // what has not completed still uses its buffer: leak it rather than free it
        for flight in self.flights.drain(..).flatten() {
            std::mem::forget(flight.buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    /// The completions that come until `enough` of them did.
    fn complete(ring: &mut Ring, enough: usize) -> Vec<Completion> {
        let mut done = Vec::new();
        while done.len() < enough {
            ring.enter(Some(Duration::from_secs(5))).expect("the ring stands");
            assert!(ring.reap(&mut done), "nothing came");
        }
        done
    }

    /// A recv writes behind what its buffer has, no further than it may, and the rest waits for the next one.
    #[test]
    fn buffers_are_filled_where_they_end() {
        let sizes = Sizes { entries: 8, completions: 16, buffers: 2, buffer_bytes: 64 };
        let mut ring = Ring::new(sizes).expect("io_uring is there");
        let (mut far, near) = UnixStream::pair().expect("two sockets");
        let mut buf = Vec::with_capacity(1 << 20);
        buf.extend_from_slice(b"abc");
        far.write_all(b"defgh").expect("there is room");
        let mut seen = Vec::new();
        for (room, want) in [(3, 3), (1 << 19, 2), (1, 0)] {
            if want == 0 {
                far.shutdown(std::net::Shutdown::Both).expect("it is open");
            }
            ring.fill(near.as_raw_fd(), std::mem::take(&mut buf), room, 7);
            let Some(Completion::Filled { tag: 7, result, buf: back }) = complete(&mut ring, 1).pop() else {
                panic!("it was filled");
            };
            assert_eq!(result.expect("no error"), want);
            seen.push(back.clone());
            buf = back;
            buf.reserve_exact(1 << 20);
        }
        assert_eq!(seen, [&b"abcdef"[..], b"abcdefgh", b"abcdefgh"]);
    }
}
