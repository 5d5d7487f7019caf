//! One machine of the simulated cluster: a clock, a disk, links, and a Shoal host or a foreign node.

use super::redis::RedisNode;
use super::shoal_host::ShoalHost;
use bytes::Bytes;
use shoal::cluster::plane::LinkId;
use shoal::shard::desk::Progress;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Unix time in ms at which every run begins.
pub const EPOCH: u64 = 1_700_000_000_000;

/// A clock that runs too fast or too slow, and is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Its ms in 1000 of true time.
    pub rate: u64,
    /// When it was last set, in true time, and what it showed then.
    pub since: u64,
    pub then: u64,
}

impl Clock {
    pub fn new(rate: u64, ahead: u64, now: u64) -> Clock {
        Clock { rate, since: now, then: EPOCH + now + ahead }
    }

    pub fn show(&self, now: u64) -> u64 {
        self.then + (now - self.since) * self.rate / 1000
    }

    /// True time that passes while it counts so many ms.
    pub fn lasts(&self, ms: u64) -> u64 {
        (ms * 1000 / self.rate).max(1)
    }

    /// Somebody sets it.
    pub fn jump(&mut self, now: u64, ms: i64) {
        *self = Clock { since: now, then: self.show(now).saturating_add_signed(ms), ..*self };
    }
}

/// nodes.conf: what is on it after a crash is what was synced, or what was written or being written.
#[derive(Default)]
pub struct Disk {
    pub text: Option<Vec<u8>>,
    /// Written, and not synced.
    pub cached: Option<Vec<u8>>,
    pub progress: Progress,
    pub writing: Option<(u64, Vec<u8>)>,
    pub waiting: Option<(u64, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub machine: usize,
    /// Whose link it was: a later process may name another one alike.
    pub life: u64,
    pub link: LinkId,
}

/// What travels on a link.
#[derive(Clone)]
pub enum Parcel {
    Frame(Bytes),
    /// The other side has closed it, or is gone.
    End,
}

/// One side of a bus link.
pub struct Wire {
    pub peer: End,
    /// When the last parcel to there arrives: they keep their order.
    pub last: u64,
    /// Parcels that a cut holds up.
    pub stuck: VecDeque<Parcel>,
    /// Where it was opened to, by the side that opened it.
    pub place: Option<(String, u16)>,
    /// Something was sent on it.
    pub used: bool,
}

pub enum Body {
    Shoal(Box<ShoalHost>),
    Redis(Box<RedisNode>),
}

pub struct Machine {
    pub ip: String,
    pub up: bool,
    /// Not part of the cluster any more, for good.
    pub gone: bool,
    /// Counts starts: what was meant for an earlier life is dropped.
    pub life: u64,
    pub clock: Clock,
    /// The process stands still until then; and each of its cores.
    pub stalled: u64,
    pub cores: Vec<u64>,
    pub links: BTreeMap<LinkId, Wire>,
    pub dialing: BTreeSet<LinkId>,
    pub accepted: u64,
    pub disk: Disk,
    pub body: Body,
    /// Packets and bytes that it has sent.
    pub packets: u64,
    pub bytes: u64,
}

impl Machine {
    pub fn shoal(&self) -> Option<&ShoalHost> {
        match &self.body {
            Body::Shoal(host) => Some(host),
            Body::Redis(_) => None,
        }
    }

    pub fn shoal_mut(&mut self) -> Option<&mut ShoalHost> {
        match &mut self.body {
            Body::Shoal(host) => Some(host),
            Body::Redis(_) => None,
        }
    }

    pub fn redis(&self) -> Option<&RedisNode> {
        match &self.body {
            Body::Redis(node) => Some(node),
            Body::Shoal(_) => None,
        }
    }

    /// How many nodes it speaks for.
    pub fn nodes(&self) -> usize {
        self.shoal().map_or(1, |host| host.count)
    }

    /// The local node that has this bus port.
    pub fn by_bus_port(&self, port: u16) -> Option<usize> {
        (0..self.nodes()).find(|l| own_port(*l) + BUS == port)
    }
}

pub const BUS: u16 = 10_000;
pub const FRONT: u16 = 7000;

/// The client port of local node `l`.
pub fn own_port(l: usize) -> u16 {
    FRONT + 1 + l as u16
}
