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
    /// Whose place it last asked for votes to take, and when.
    pub asked: Option<(NodeId, u64)>,
    /// Slots on their way to others, and from others.
    pub migrating: BTreeMap<Slot, Key>,
    pub importing: BTreeMap<Slot, Key>,
    /// Slots that SETSLOT NODE has given us, and whose claims to them may be old news.
    pub taken: BTreeMap<Slot, Former>,
    /// A sibling was told to forget it, and nobody has told itself anything: it comes back when others
    /// speak of it, as any node does.
    pub forgotten: bool,
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

/// A foreign node that had a slot, and claims it until it hears that it has it no more.
#[derive(Clone, Copy, Debug)]
pub struct Former {
    pub owner: Key,
    /// It has sent a packet without the claim: its epoch then, and until when an older packet with it may
    /// still be under way on another link.
    pub gave_up: Option<(u64, u64)>,
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
            asked: None,
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            taken: BTreeMap::new(),
            forgotten: false,
            election: Election::default(),
            manual: Manual::default(),
            source: None,
            counts: BusCounts::default(),
            dropped: None,
            said: None,
        }
    }

    /// Whether this foreign node's claim to a slot of ours by that epoch is old news, even if the epoch is
    /// newer than ours. Not when the slot is on its way back.
    pub fn defends(&self, slot: Slot, from: Key, epoch: u64) -> bool {
        let Some(former) = self.taken.get(&slot).filter(|former| former.owner == from) else { return false };
        former.gave_up.is_none_or(|(then, _)| epoch <= then) && !self.migrating.contains_key(&slot)
    }

    /// A node is gone: no slot moves to or from it.
    pub fn close_slots_of(&mut self, key: Key) {
        self.migrating.retain(|_, to| *to != key);
        self.importing.retain(|_, from| *from != key);
        self.taken.retain(|_, former| former.owner != key);
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
