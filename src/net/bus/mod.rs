//! The cluster bus: links to other hosts' nodes, nodes.conf, and the thread that drives the plane.
//!
//! - [`links`]: TCP connections of the bus, from bytes to frames and back; knows no packet but its
//!   length.
//! - [`save`]: nodes.conf on the disk, and its lock.
//! - [`drive`]: the loop: events to the plane, its orders to the links and the disk, a tick ten times
//!   a second.
//! - [`join`]: an empty host finds its cluster (`--join`).
//! - [`letters`]: from the plane to the shards.
//! - [`host`]: the plane in that loop, and what leads from it to the shards and back.
//!
//! One thread that belongs to no shard does all of it on a ring of its own: what siblings and peers
//! say is handled one after the other, and a slow disk or peer holds nobody up.

pub mod drive;
pub mod host;
pub mod join;
pub mod letters;
pub mod links;
pub mod save;
#[cfg(test)]
mod tests;

use super::listen;
pub use crate::cluster::plane::LinkId;
use bytes::Bytes;
use socket2::Socket;

/// What the bus is told to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Answered by [`Event::Connected`] or [`Event::Closed`].
    Connect { link: LinkId, ip: String, port: u16 },
    /// Not answered: no event of this link follows, and what is not sent yet is dropped.
    Close { link: LinkId },
    /// Nothing happens when the link is gone: its [`Event::Closed`] is on the way.
    Send { link: LinkId, bytes: Bytes },
    /// Write nodes.conf; of several versions that wait only the last is written.
    /// With `sync` it is on the disk when it is told to be saved.
    Save { version: u64, text: Vec<u8>, sync: bool },
}

/// What happened to a link. Of one link: Accepted or Connected first, Closed last and once.
#[derive(Debug)]
pub enum Event<'a> {
    /// Somebody connected to the bus port of node `local`: from `peer_ip`, to `local_ip`.
    Accepted {
        link: LinkId,
        local: usize,
        peer_ip: String,
        local_ip: String,
    },
    Connected {
        link: LinkId,
    },
    /// It broke, could not be opened, or sent what can't be a packet.
    Closed {
        link: LinkId,
        /// Too much was waiting to be sent.
        exceeded: bool,
    },
    /// One packet, as long as its first bytes say.
    Frame {
        link: LinkId,
        frame: &'a [u8],
    },
}

/// The bus port of a node, unless `cluster-port` chooses another.
pub const PORT_INCREMENT: u16 = 10_000;

/// Listening sockets for bus ports, in the order of the local nodes. No port is shared with another
/// process, nor with another user of this one.
pub fn listen(bind: &[String], ports: &[u16], backlog: i32) -> Result<Vec<(Socket, usize)>, String> {
    let mut listeners = Vec::new();
    for (local, &port) in ports.iter().enumerate() {
        let sockets = listen::tcp(bind, port, backlog, 1)
            .map_err(|why| format!("{why}\nFailed listening on port {port} (cluster), aborting."))?;
        listeners.extend(sockets.into_iter().flatten().map(|socket| (socket, local)));
    }
    Ok(listeners)
}
