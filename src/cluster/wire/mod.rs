//! Packets of the cluster bus: Redis's binary protocol, version 1.
//!
//! A packet is a [`Header`], which speaks for its sender, and a [`Message`]. All numbers are
//! big-endian, all texts NUL-padded. [`frame_len`] finds a packet's end in a stream, [`decode`] reads
//! it, [`encode`] writes it. Nothing is believed before it is checked: lengths against the frame,
//! names and addresses against what may stand in nodes.conf.

mod decode;
mod encode;
mod layout;
#[cfg(test)]
mod tests;

pub use decode::{decode, frame_len, kind_of};
pub use encode::encode;

use super::slots::SlotSet;
use super::view::NodeId;
use bytes::Bytes;

/// What a node is in the eyes of the sender: Redis's `CLUSTER_NODE_*`.
pub mod flag {
    pub const MASTER: u16 = 1;
    pub const REPLICA: u16 = 2;
    /// Not heard of for the node timeout.
    pub const PFAIL: u16 = 4;
    /// Found failing by the majority.
    pub const FAIL: u16 = 8;
    pub const MYSELF: u16 = 16;
    /// Its first answer is still to come, and with it its name.
    pub const HANDSHAKE: u16 = 32;
    pub const NOADDR: u16 = 64;
    /// Greet it by MEET instead of PING.
    pub const MEET: u16 = 128;
    /// A master that a replica may migrate to.
    pub const MIGRATE_TO: u16 = 256;
    /// A replica that never asks for votes.
    pub const NOFAILOVER: u16 = 512;
}

/// What is special about one packet: the header's `mflags`.
pub mod mflag {
    /// The sender is a master that holds its clients for a manual failover.
    pub const PAUSED: u8 = 1;
    /// Vote even though the master is well: the failover is manual.
    pub const FORCEACK: u8 = 2;
    /// Extensions follow the gossip. Redis 7.2 and later set it on every packet, to say that they
    /// understand extensions.
    pub const EXT_DATA: u8 = 4;
}

/// Types of messages as numbers, and the names that CLUSTER INFO counts them by.
pub mod kind {
    pub const PING: u16 = 0;
    pub const PONG: u16 = 1;
    pub const MEET: u16 = 2;
    pub const FAIL: u16 = 3;
    pub const PUBLISH: u16 = 4;
    pub const AUTH_REQUEST: u16 = 5;
    pub const AUTH_ACK: u16 = 6;
    pub const UPDATE: u16 = 7;
    pub const MFSTART: u16 = 8;
    pub const MODULE: u16 = 9;
    pub const PUBLISH_SHARD: u16 = 10;
    /// How many there are; what comes from here on is unknown, but for one.
    pub const COUNT: usize = 11;
    /// PING and PONG of one Shoal host to another, for all their nodes. Sent only to who has shown a
    /// [`super::HostMark`]; Redis and Valkey would count and drop it.
    pub const HOST: u16 = 0x5348;

    pub const NAMES: [&str; COUNT] = [
        "ping",
        "pong",
        "meet",
        "fail",
        "publish",
        "auth-req",
        "auth-ack",
        "update",
        "mfstart",
        "module",
        "publishshard",
    ];
}

/// What every packet says of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub sender: NodeId,
    /// [`flag`]s of the sender, as it sees itself.
    pub flags: u16,
    /// The sender thinks that the cluster works.
    pub ok: bool,
    /// [`mflag`]s.
    pub mflags: u8,
    pub current_epoch: u64,
    /// A replica sends its master's.
    pub config_epoch: u64,
    /// Replication offset: written by a master, processed by a replica.
    pub offset: u64,
    /// A replica sends its master's.
    pub slots: SlotSet,
    pub replica_of: Option<NodeId>,
    /// At most 45 bytes; empty when the receiver shall take the link's other end.
    pub ip: String,
    /// For clients; with TLS on, for TLS clients.
    pub port: u16,
    /// For clients without TLS when `port` is for TLS; else 0.
    pub pport: u16,
    /// For the bus.
    pub cport: u16,
    /// What a node of a Shoal host says of that host.
    pub host: Option<HostMark>,
}

/// By what Shoal hosts know each other, in header bytes that Redis and Valkey reserve: they send
/// zeroes there and never look at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostMark {
    /// The sender's host and the cluster that it is in: a number drawn at each start, never 0.
    pub host: u64,
    /// The sender's number among its host's nodes.
    pub number: u16,
    /// The packet is for this host, whichever link it came by; 0 when it is for the node at the link's
    /// end.
    pub to: u64,
    /// For this node of the host `to`, by its number, or for [`HostMark::ALL`].
    pub node: u16,
}

impl HostMark {
    /// All nodes of a host.
    pub const ALL: u16 = u16::MAX;
}

/// What a packet is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Ping(Gossip),
    Pong(Gossip),
    /// A PING that asks to be taken in by a node that doesn't know the sender.
    Meet(Gossip),
    /// This node has failed, by majority.
    Fail(NodeId),
    Publish {
        channel: Bytes,
        message: Bytes,
    },
    PublishShard {
        channel: Bytes,
        message: Bytes,
    },
    /// A replica asks for a vote, for the header's current epoch.
    AuthRequest,
    AuthAck,
    /// Somebody owns these slots by a newer epoch than the receiver thinks.
    Update {
        config_epoch: u64,
        id: NodeId,
        slots: SlotSet,
    },
    /// A replica asks its master to hold its clients.
    MfStart,
    /// From one module to the same module elsewhere. The id's bytes are the module's own: they are
    /// kept in the order in which they came.
    Module {
        id: [u8; 8],
        kind: u8,
        data: Bytes,
    },
    Host(HostGossip),
    /// Of a type from [`kind::COUNT`] on. Its header counts, as it does for Redis; its body is not kept.
    Unknown(u16),
}

/// What PING, PONG and MEET say of others, and more of the sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gossip {
    pub entries: Vec<GossipEntry>,
    pub extensions: Vec<Extension>,
}

/// PING or PONG of a whole host: what all its nodes would say, and the gossip once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostGossip {
    /// It is a PING: the other host answers.
    pub asks: bool,
    pub entries: Vec<GossipEntry>,
    /// The nodes that the host speaks for now, by ascending number. One that hangs is not among them.
    pub nodes: Vec<Spoken>,
}

/// One node of the sender's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    pub number: u16,
    /// Of what it says of itself: the same version is the same statement.
    pub version: u64,
    /// Replication offset: it changes too often to be part of the statement.
    pub offset: u64,
    /// `None` when this link has carried this version before.
    pub news: Option<Box<Statement>>,
}

/// What a node says of itself in PING and PONG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub header: Header,
    pub extensions: Vec<Extension>,
}

/// A third node as the sender sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipEntry {
    pub id: NodeId,
    /// Unix time in seconds of the PING that is not answered yet; 0 when there is none.
    pub ping_sent: u32,
    /// Unix time in seconds.
    pub pong_received: u32,
    /// At most 45 bytes.
    pub ip: String,
    pub port: u16,
    pub cport: u16,
    pub pport: u16,
    /// [`flag`]s.
    pub flags: u16,
}

/// What may follow the gossip. Redis 7.0 knows the first only, Redis 7.2 and Valkey the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    Hostname(String),
    HumanName(String),
    /// CLUSTER FORGET as gossip: keep this node out for so many seconds.
    Forgotten {
        id: NodeId,
        ttl: u64,
    },
    ShardId(NodeId),
    /// Of a type that nobody here knows: skipped by its length.
    Unknown(u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub header: Header,
    pub message: Message,
}

impl Message {
    /// The type as a number, of [`kind`].
    pub fn kind(&self) -> u16 {
        match self {
            Message::Ping(_) => kind::PING,
            Message::Pong(_) => kind::PONG,
            Message::Meet(_) => kind::MEET,
            Message::Fail(_) => kind::FAIL,
            Message::Publish { .. } => kind::PUBLISH,
            Message::PublishShard { .. } => kind::PUBLISH_SHARD,
            Message::AuthRequest => kind::AUTH_REQUEST,
            Message::AuthAck => kind::AUTH_ACK,
            Message::Update { .. } => kind::UPDATE,
            Message::MfStart => kind::MFSTART,
            Message::Module { .. } => kind::MODULE,
            Message::Host(_) => kind::HOST,
            Message::Unknown(kind) => *kind,
        }
    }

    /// The type that CLUSTER INFO counts it by; [`kind::COUNT`] or more for none.
    pub fn counted(&self) -> usize {
        let kind = match self {
            Message::Host(gossip) if gossip.asks => kind::PING,
            Message::Host(_) => kind::PONG,
            other => other.kind(),
        };
        kind as usize
    }
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It doesn't begin with `RCmb`. Redis closes the link.
    Signature,
    /// Its own length is less than a header's, or more than [`crate::limits::BUS_PACKET`]. Redis
    /// closes the link for the first and has no bound for the second; here both close it.
    Length(u32),
    /// Another version of the protocol. Redis counts and drops the packet.
    Version(u16),
    /// What its type says of its length and what it says itself differ, or its parts do not fit in
    /// it. Redis counts and drops the packet.
    Size,
    /// An extension that is not padded to eight bytes, not ended by NUL, or of another size than its
    /// type has. Redis counts and drops the packet.
    Extension,
    /// A node's name that is not 40 digits and lower-case letters. Redis drops those it doesn't know
    /// one by one; here the whole packet is counted and dropped.
    Name,
    /// An address or host name with bytes that none has. Redis believes it; here the packet is
    /// counted and dropped, for it would be written to nodes.conf.
    Address,
}

impl Malformed {
    /// Whether the link is closed for it: the place of the next packet is not known any more.
    pub fn closes(self) -> bool {
        matches!(self, Malformed::Signature | Malformed::Length(_))
    }
}
