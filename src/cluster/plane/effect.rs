//! What goes into the plane and what comes out of it.

use super::super::slots::SlotSet;
use super::super::view::{NodeId, View};
use crate::resp::args::OwnedArgs;
use bytes::Bytes;
use std::sync::Arc;

/// One TCP connection of the bus. Those that the plane opens and those that others open have
/// numbers of their own, so that both sides can name them without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

impl LinkId {
    /// The `n`th that somebody else opened to this host.
    pub fn inbound(n: u64) -> LinkId {
        LinkId(n * 2 + 1)
    }

    /// The `n`th that this host opens.
    pub fn outbound(n: u64) -> LinkId {
        LinkId(n * 2)
    }

    pub fn is_inbound(self) -> bool {
        self.0 % 2 == 1
    }
}

/// What the plane wants done. `local` is a shard's number.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Open a link from a local node. Answered by `handle_connected` or `handle_closed`.
    Connect {
        link: LinkId,
        local: usize,
        ip: String,
        port: u16,
    },
    /// Close a link. The plane has forgotten it already: not answered.
    Close {
        link: LinkId,
    },
    /// The bytes are shared where the packet is the same.
    Send {
        link: LinkId,
        bytes: Bytes,
    },
    /// Write nodes.conf, then `handle_written(version)`; with `sync` also fsync it, then
    /// `handle_saved(version)`. A later version holds all that the earlier ones held: of several only
    /// the last needs to be written, with `sync` if one of them wanted it.
    Save {
        version: u64,
        text: Vec<u8>,
        sync: bool,
    },
    /// A new view for these shards.
    Publish {
        locals: Vec<usize>,
        view: Arc<View>,
    },
    /// A message of another host's client for this shard's subscribers.
    Deliver {
        local: usize,
        channel: Bytes,
        message: Bytes,
        sharded: bool,
    },
    /// The shard has lost these slots: delete the keys that it still has in them.
    DeleteSlots {
        local: usize,
        slots: SlotSet,
    },
    /// Replicate from there, or from nobody.
    Replicate {
        local: usize,
        of: Option<Source>,
    },
    /// Delete all keys: a replica was reset.
    Flush {
        local: usize,
    },
    /// Hold the clients' writes until this time at most, for a manual failover; the next heartbeat
    /// says when that is so, and at which offset.
    PauseWrites {
        local: usize,
        until: u64,
    },
    ResumeWrites {
        local: usize,
    },
}

/// Where a replica gets its data from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub id: NodeId,
    pub ip: String,
    pub port: u16,
    /// The master is this shard of the same host.
    pub local: Option<usize>,
}

/// What a shard says of itself about ten times a second. A shard that says nothing isn't spoken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Replication offset: written by a master, processed by a replica.
    pub offset: u64,
    /// Of a replica: time since its master was last heard of.
    pub data_age_ms: u64,
    /// Writes are on hold for a manual failover; `offset` will not move while they are.
    pub paused: bool,
    /// The last handoff of slots that it has taken up, with all that came and went by it.
    pub era: u64,
}

/// A CLUSTER subcommand for a local node, with what only its shard knows.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// From the subcommand's name on.
    pub words: OwnedArgs,
    /// Keys of the shard's database 0.
    pub keys: u64,
    /// Keys in the slot that SETSLOT names.
    pub slot_keys: u64,
    /// It came by a front door, which is no node.
    pub front: bool,
}

/// What a CLUSTER subcommand answers when it is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Ok,
    /// OK, as soon as [`Plane::settled`] is at this handoff.
    ///
    /// [`Plane::settled`]: super::Plane::settled
    Handed(u64),
    Int(i64),
    /// A simple string.
    Status(String),
    Id(NodeId),
    /// Bulk strings.
    Lines(Vec<String>),
    Links(Vec<LinkInfo>),
}

/// One link of CLUSTER LINKS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    pub link: LinkId,
    pub node: NodeId,
    /// Unix time in ms.
    pub created: u64,
    /// Bytes can be sent: it is connected.
    pub connected: bool,
}
