//! Readiness of many sockets, edge-triggered: each event stands for all that can be read or written
//! until the socket says `WouldBlock`.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: the call takes no pointer; what it gives is a descriptor that nobody else owns.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS] })
    }

    /// From now on [`Epoll::wait`] tells of this socket by `number`.
    pub fn add(&self, socket: &impl AsRawFd, number: usize) -> io::Result<()> {
        let events = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: number as u64 };
        // SAFETY: the event outlives the call, which only reads it.
        let done = unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event)
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Appends the numbers of the sockets that are ready to `ready`; waits for one this long.
    pub fn wait(&mut self, limit: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        let limit = libc::timespec {
            tv_sec: limit.as_secs() as libc::time_t,
            tv_nsec: limit.subsec_nanos() as libc::c_long,
        };
        // SAFETY: the kernel writes at most as many events as the vector holds, and reads `limit`.
        let count = unsafe {
            let events = self.events.as_mut_ptr();
            libc::epoll_pwait2(self.fd.as_raw_fd(), events, EVENTS as i32, &limit, std::ptr::null())
        };
        match usize::try_from(count) {
            Ok(count) => ready.extend(self.events[..count].iter().map(|event| event.u64 as usize)),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
