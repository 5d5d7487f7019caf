//! Drives shards and the plane: the only home of sockets, rings, clocks, threads and await.
//!
//! - [`ring`]: one core's raw io_uring.
//! - [`conn`]: one client's socket; bytes to and from a session, no RESP.
//! - [`mailbox`]: mail between cores; [`baton`]: who runs a shard, its own core or one that needs it.
//! - [`link`]: sockets that shards open to other servers.
//! - [`listen`]: listening sockets; [`doors`]: the host's, which may move.
//! - [`executor`]: one core's turn.
//! - [`bus`]: links to other hosts, nodes.conf, the thread that drives the plane.
//! - [`aof`]: the append-only file on disk.
//! - [`scribe`]: files that are written while their core goes on.
//! - [`disk`]: files that last; no formats.
//! - [`check`]: reads files only to tell whether they are good.
//! - [`load`]: what a host finds on the disk when it starts.
//! - [`clock`]: time and seeds.

pub mod aof;
pub mod baton;
pub mod bus;
pub mod check;
pub mod clock;
pub mod conn;
pub mod disk;
pub mod doors;
pub mod executor;
pub mod files;
pub mod heap;
pub mod link;
pub mod listen;
pub mod load;
pub mod log;
pub mod mailbox;
pub mod oom;
pub mod outside;
pub mod ring;
pub mod scribe;

use crate::limits;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// The cores that this process may use, ascending.
pub fn allowed_cores() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    let cores: Vec<usize> = (0..CpuSet::count()).filter(|&c| set.is_set(c).unwrap_or(false)).collect();
    if cores.is_empty() { vec![0] } else { cores }
}

/// Whether the kernel gives us the ring that a core needs; else what to mend.
pub fn check_ring() -> Result<(), String> {
    let sizes = ring::Sizes { entries: 8, completions: 16, buffers: 8, buffer_bytes: 4096 };
    ring::Ring::new(sizes).map(drop).map_err(|e| {
        let hint = match e.raw_os_error() {
            Some(libc::ENOSYS) => "this kernel has no io_uring: Linux 6.1 or newer is needed",
            Some(libc::EPERM | libc::EACCES) => {
                "io_uring is forbidden here: set sysctl kernel.io_uring_disabled=0, or allow io_uring_setup, \
                 io_uring_enter and io_uring_register in the container's seccomp profile"
            }
            Some(libc::ENOMEM) => "not enough lockable memory: raise `ulimit -l` to 512 KiB or more a core",
            Some(libc::EINVAL) => "this kernel's io_uring is too old: Linux 6.1 or newer is needed",
            _ => "see `man io_uring_setup`",
        };
        format!("Can't set up io_uring: {e}: {hint}")
    })
}

/// Raises the limit of open files to what `clients` of so many shards need, of which `nodes` are nodes
/// of a cluster. An error says how many clients the system lets us have.
pub fn allow_files(clients: u64, shards: usize, nodes: usize) -> Result<(), u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let own = limits::OWN_FILES + shards as u64 * limits::SHARD_FILES + nodes as u64 * limits::NODE_FILES;
    let wanted = clients + own;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((own, own));
    if soft >= wanted {
        return Ok(());
    }
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_ok() {
        return Ok(());
    }
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    if hard >= wanted {
        return Ok(());
    }
    Err(hard.saturating_sub(own))
}

/// Goes into the background: the parent ends, the child goes on without a terminal.
pub fn daemonize() -> Result<(), String> {
    nix::unistd::daemon(true, false).map_err(|e| format!("Can't daemonize: {e}"))
}

/// `disable-thp`: keeps the kernel from making huge pages of this process's memory.
pub fn disable_huge_pages() {
    if let Err(e) = nix::sys::prctl::set_thp_disable(true) {
        tracing::warn!("Can't disable transparent huge pages for this process: {e}");
    }
}
