//! One shard's node: what only it knows.

use super::effect::{Heartbeat, Source};
use super::node::Key;
use crate::cluster::view::{BusCounts, NodeId};
use crate::cluster::wire::Statement;
use crate::slot::Slot;
use std::collections::BTreeMap;

/// A local node beside its entry in its group's table.
#[derive(Debug)]
pub struct Local {
    /// Its group, and where it stands there.
    pub group: usize,
    pub key: Key,
    /// Where the shard itself listens.
    pub port: u16,
    pub bus_port: u16,
    pub beat: Heartbeat,
    pub beat_at: u64,
    /// Its heartbeat is recent: it is spoken for.
    pub fresh: bool,
    pub last_vote_epoch: u64,
    /// When it last voted for a replica of each master.
    pub voted: BTreeMap<NodeId, u64>,
    /// Slots on their way to others, and from others.
    pub migrating: BTreeMap<Slot, Key>,
    pub importing: BTreeMap<Slot, Key>,
    /// Slots that SETSLOT NODE has given us, and the foreign nodes that had them and claim them still.
    pub taken: BTreeMap<Slot, Key>,
    pub election: Election,
    pub manual: Manual,
    /// What the shard was last told to replicate.
    pub source: Option<Source>,
    pub counts: BusCounts,
    /// Packets of this type are not looked at, for tests.
    pub dropped: Option<usize>,
    /// What it last said of itself to another host, and that statement's version.
    pub said: Option<(u64, Statement)>,
}

impl Local {
    pub fn new(group: usize, key: Key, port: u16, bus_port: u16, now: u64) -> Local {
        Local {
            group,
            key,
            port,
            bus_port,
            beat: Heartbeat::default(),
            beat_at: now,
            fresh: true,
            last_vote_epoch: 0,
            voted: BTreeMap::new(),
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            taken: BTreeMap::new(),
            election: Election::default(),
            manual: Manual::default(),
            source: None,
            counts: BusCounts::default(),
            dropped: None,
            said: None,
        }
    }

    /// Whether this foreign node's claim to a slot of ours is old news, whatever its epoch.
    pub fn defends(&self, slot: Slot, from: Key) -> bool {
        self.taken.get(&slot) == Some(&from) && !self.migrating.contains_key(&slot)
    }

    /// A node is gone: no slot moves to or from it.
    pub fn close_slots_of(&mut self, key: Key) {
        self.migrating.retain(|_, to| *to != key);
        self.importing.retain(|_, from| *from != key);
        self.taken.retain(|_, from| *from != key);
    }

    pub fn close_slots(&mut self) {
        self.migrating.clear();
        self.importing.clear();
        self.taken.clear();
    }
}

/// A replica's attempt to take its master's place.
#[derive(Clone, Debug, Default)]
pub struct Election {
    /// When votes are to be asked for.
    pub at: u64,
    /// When votes were asked for; 0 before that.
    pub asked_at: u64,
    pub rank: usize,
    pub epoch: u64,
    /// Who has voted for it.
    pub votes: Vec<NodeId>,
}

/// A manual failover, on either side of it.
#[derive(Clone, Debug, Default)]
pub struct Manual {
    /// When it is given up; 0 when none is going on.
    pub until: u64,
    /// On the master: the replica that takes over.
    pub replica: Option<NodeId>,
    /// On the replica: the offset at which its master stands still.
    pub master_offset: Option<u64>,
    /// On the replica: votes may be asked for.
    pub can_start: bool,
}
