//! Ports for servers under test.
//!
//! A server needs more than one: the front door P, a shard on each of P+1.., and a bus port 10000
//! above each of these. So ports are given out in blocks, spaced well apart, below the range that
//! the kernel hands to outgoing connections. The last port of a block is held open as a guard for
//! as long as the block is in use, so that other test processes keep off it.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

const FIRST: u16 = 12_000;
const BLOCKS: usize = 600;
/// Ports in a block; the last one is the guard.
pub const BLOCK: u16 = 16;
/// How far a bus port is from its client port.
pub const BUS: u16 = 10_000;

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A block of free ports: `base .. base + BLOCK - 1`, and the bus ports above them.
pub struct Ports {
    pub base: u16,
    _guard: TcpListener,
}

impl Ports {
    pub fn take() -> Ports {
        let start = std::process::id() as usize * 37;
        for _ in 0..BLOCKS {
            let turn = NEXT.fetch_add(1, Ordering::Relaxed);
            let base = FIRST + ((start + turn) % BLOCKS) as u16 * BLOCK;
            if let Some(ports) = Ports::try_take(base) {
                return ports;
            }
        }
        panic!("no free block of ports between {FIRST} and {}", FIRST + BLOCKS as u16 * BLOCK);
    }

    fn try_take(base: u16) -> Option<Ports> {
        let guard = TcpListener::bind(("127.0.0.1", base + BLOCK - 1)).ok()?;
        let free = |port: u16| TcpListener::bind(("0.0.0.0", port)).is_ok();
        let all = (base..base + BLOCK - 1).all(|port| free(port) && free(port + BUS));
        all.then_some(Ports { base, _guard: guard })
    }
}
