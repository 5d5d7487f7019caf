//! The cluster bus: links to other hosts' nodes, nodes.conf, and the thread that drives the plane.
//!
//! - [`links`]: TCP connections of the bus, from bytes to frames and back; knows no packet but its
//!   length.
//! - [`save`]: nodes.conf on the disk, and its lock.
//! - [`drive`]: the loop: events to the plane, its orders to the links and the disk, a tick ten times
//!   a second.
//! - [`join`]: an empty host finds its cluster (`--join`).
//! - [`letters`]: from the plane to the shards.
//! - [`host`]: the plane's desk (`shard::desk`) in that loop.
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
pub use crate::shard::desk::{Event, Order, Progress};
use socket2::Socket;

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
