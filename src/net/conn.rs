//! One client's socket: what the ring does for it at the moment.

use socket2::Socket;
use std::os::fd::{AsRawFd, RawFd};

/// A connection. Its number is its client's number in the shard, and stays taken until the kernel
/// has finished both directions.
pub struct Conn {
    pub socket: Socket,
    /// Distinguishes the connections that share a number over time.
    pub generation: u32,
    /// A recv is armed.
    pub receiving: bool,
    /// A send is on its way.
    pub sending: bool,
    /// Recv was cancelled because the client holds too much.
    pub paused: bool,
    /// Recv was cancelled to go on in another way.
    pub switching: bool,
    /// The stream ended, or was shut down by us: it closes when nothing is on its way.
    pub dead: bool,
    /// Recycled output buffer.
    pub spare: Vec<u8>,
    /// Output that waits for the log to be on the disk.
    pub staged: Vec<u8>,
}

/// Bits of a tag that carry the connection's number.
const NUMBER_BITS: u32 = 28;
const MASK: u64 = (1 << NUMBER_BITS) - 1;

/// The ring's tag for connection `number`.
pub fn tag(number: u32, generation: u32) -> u64 {
    (generation as u64 & MASK) << NUMBER_BITS | number as u64 & MASK
}

/// The number in a tag.
pub fn number(tag: u64) -> u32 {
    (tag & MASK) as u32
}

impl Conn {
    pub fn new(socket: Socket, generation: u32) -> Conn {
        Conn {
            socket,
            generation,
            receiving: false,
            sending: false,
            paused: false,
            switching: false,
            dead: false,
            spare: Vec::new(),
            staged: Vec::new(),
        }
    }

    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Ends both directions; completions follow for what is armed.
    pub fn kill(&mut self) {
        self.dead = true;
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// Nothing of it is known to the kernel's ring any more.
    pub fn is_quiet(&self) -> bool {
        !self.receiving && !self.sending
    }
}

/// The connections of one core, by number.
#[derive(Default)]
pub struct Conns {
    places: Vec<Option<Conn>>,
    opened: u32,
}

impl Conns {
    pub fn insert(&mut self, number: u32, socket: Socket) -> &mut Conn {
        let at = number as usize;
        if self.places.len() <= at {
            self.places.resize_with(at + 1, || None);
        }
        assert!(self.places[at].is_none(), "a number is free when the shard gives it out");
        self.opened = self.opened.wrapping_add(1);
        self.places[at].insert(Conn::new(socket, self.opened))
    }

    #[inline]
    pub fn get(&mut self, number: u32) -> Option<&mut Conn> {
        self.places.get_mut(number as usize)?.as_mut()
    }

    /// The connection that this tag was made for, if it is still there.
    #[inline]
    pub fn tagged(&mut self, of: u64) -> Option<(u32, &mut Conn)> {
        let at = number(of);
        self.get(at).filter(|c| tag(at, c.generation) == of).map(|c| (at, c))
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Conn)> {
        self.places.iter().zip(0..).filter_map(|(conn, number)| conn.as_ref().map(|conn| (number, conn)))
    }

    pub fn remove(&mut self, number: u32) {
        self.places[number as usize] = None;
    }

    pub fn numbers(&self) -> Vec<u32> {
        (0..self.places.len() as u32).filter(|&n| self.places[n as usize].is_some()).collect()
    }
}
