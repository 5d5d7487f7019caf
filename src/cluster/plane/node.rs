//! One node as a group knows it.

use super::effect::LinkId;
use crate::cluster::slots::SlotSet;
use crate::cluster::view::NodeId;
use crate::cluster::wire::flag;
use std::num::NonZeroU16;

/// Where a node stands in its group's table. Only good in that group, and until the node is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub(super) NonZeroU16);

impl Key {
    /// The least of all keys.
    pub const FIRST: Key = Key(NonZeroU16::MIN);

    /// Counted from 0.
    pub fn number(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// No timer.
pub const NEVER: u64 = u64::MAX;

/// A local node's own dealings with a foreign node.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The link that we opened, connected or not yet.
    pub link: Option<LinkId>,
    /// The link that the node opened to us.
    pub inbound: Option<LinkId>,
    /// When the PING that is still unanswered was sent; 0 when none is.
    pub ping_sent: u64,
    /// When to look after this peer again.
    pub due: u64,
}

impl Peer {
    pub fn new() -> Peer {
        Peer { link: None, inbound: None, ping_sent: 0, due: NEVER }
    }
}

/// Where a foreign node lives, as its packets tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// It has said nothing yet.
    Unknown,
    /// It is a node as Redis has them: every local node has its own links with it.
    Alone,
    /// On this Shoal host: the two hosts share one link pair.
    Host(u64),
}

/// A master said that the node is not reachable.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub by: Key,
    pub at: u64,
}

/// Where a node listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    pub ip: String,
    pub port: u16,
    /// For clients without TLS when `port` is for TLS.
    pub pport: u16,
    pub cport: u16,
}

impl Address {
    /// Whether both name the same place, letter case aside.
    pub fn same_place(&self, other: &Address) -> bool {
        self.ip.eq_ignore_ascii_case(&other.ip) && self.port == other.port && self.cport == other.cport
    }
}

#[derive(Clone, Debug)]
pub struct Node {
    pub id: NodeId,
    /// [`flag`]s, never MYSELF: who that is depends on who asks.
    pub flags: u16,
    /// The shard of this host that this node is.
    pub local: Option<usize>,
    /// The local node whose handshake this is, while HANDSHAKE is set.
    pub greeter: usize,
    pub config_epoch: u64,
    /// The slots bound to it, and how many. The group changes both together with its table of owners.
    pub slots: SlotSet,
    pub owned: usize,
    /// Of a replica; unknown when the group doesn't know that node.
    pub master: Option<Key>,
    pub replicas: Vec<Key>,
    pub address: Address,
    pub hostname: String,
    pub human_name: String,
    /// What a master and its replicas have in common, when the node has said it.
    pub shard_id: Option<NodeId>,
    /// It understands extensions beyond the host name.
    pub extensions: bool,
    pub created: u64,
    pub pong_received: u64,
    pub data_received: u64,
    pub failed_at: u64,
    /// Since when it has been a master without working replicas; 0 when it is none.
    pub orphaned_since: u64,
    pub offset: u64,
    pub reports: Vec<Report>,
    /// By number of the local node; empty for local nodes.
    pub peers: Vec<Peer>,
    /// Where it lives, and its number among the nodes there.
    pub home: Home,
    pub number: u16,
    /// The last word of its host was for it, too, and nothing has happened since to doubt it.
    pub listed: bool,
    /// The last packet whose gossip mentioned it.
    pub mentioned: u64,
}

impl Node {
    pub fn new(id: NodeId, flags: u16, address: Address, now: u64) -> Node {
        Node {
            id,
            flags,
            local: None,
            greeter: 0,
            config_epoch: 0,
            slots: SlotSet::new(),
            owned: 0,
            master: None,
            replicas: Vec::new(),
            address,
            hostname: String::new(),
            human_name: String::new(),
            shard_id: None,
            extensions: false,
            created: now,
            pong_received: 0,
            data_received: 0,
            failed_at: 0,
            orphaned_since: 0,
            offset: 0,
            reports: Vec::new(),
            peers: Vec::new(),
            home: Home::Unknown,
            number: 0,
            listed: false,
            mentioned: 0,
        }
    }

    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.id).expect("names are digits and letters")
    }

    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    pub fn is_master(&self) -> bool {
        self.has(flag::MASTER)
    }

    pub fn is_replica(&self) -> bool {
        self.has(flag::REPLICA)
    }

    pub fn failed(&self) -> bool {
        self.has(flag::FAIL)
    }

    pub fn in_handshake(&self) -> bool {
        self.has(flag::HANDSHAKE)
    }

    /// Whether it is no node of this host, and its name is known.
    pub fn is_foreign(&self) -> bool {
        self.local.is_none() && !self.in_handshake()
    }

    pub fn has_address(&self) -> bool {
        !self.has(flag::NOADDR)
    }

    /// A master that votes: one with slots.
    pub fn counts(&self) -> bool {
        self.is_master() && self.owned > 0
    }

    /// Whether a link of any local node leads to it; a node of this host needs none.
    pub fn reachable(&self) -> bool {
        self.local.is_some() || self.listed || self.peers.iter().any(|peer| peer.link.is_some())
    }
}
