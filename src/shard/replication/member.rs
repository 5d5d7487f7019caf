//! Replication in a cluster: the plane decides who copies whom.

use crate::cluster::plane::Source;
use crate::shard::Shard;
use crate::store::Expiry;

impl Shard {
    /// The node that this shard copies from now on, or none.
    pub(in crate::shard) fn copy_from(&mut self, source: Option<Source>) {
        match source {
            Some(Source { ip, port, local, .. }) => {
                // a node that nobody has met does not know its own address
                let host = if local.is_some() && ip.is_empty() { "127.0.0.1".to_owned() } else { ip };
                if self.repl.follower.as_ref().is_some_and(|f| f.host == host && f.port == port) {
                    return;
                }
                self.forget_lost_slots();
                self.follow(host, port, false);
            }
            None if self.repl.is_replica() => {
                tracing::info!("MASTER MODE enabled (the cluster wants it)");
                self.become_primary();
            }
            None => {}
        }
        self.note_copies();
    }

    /// Whose slots this shard's copy is of.
    pub(in crate::shard) fn note_copies(&mut self) {
        let node = self.at.cluster.then(|| self.view.local_node(self.at.me));
        self.at.copies = node.filter(|node| node.is_replica()).and_then(|node| node.master);
    }

    /// How much of its stream this shard has.
    pub(in crate::shard) fn stream_offset(&self) -> u64 {
        self.repl.primary.history.offset
    }

    /// How old a replica's data are: since when its primary is silent.
    pub(in crate::shard) fn data_age_ms(&self) -> u64 {
        let now = self.now.ms();
        match &self.repl.follower {
            None if self.at.cluster && self.view.local_node(self.at.me).is_replica() => u64::MAX,
            None => 0,
            Some(f) if f.is_connected() => now.saturating_sub(f.heard_ms()),
            Some(f) if f.down_since_ms > 0 => now.saturating_sub(f.down_since_ms),
            Some(_) => u64::MAX,
        }
    }

    /// A manual failover: until then nothing changes here, or it may again.
    pub(in crate::shard) fn stand_still(&mut self, until_ms: Option<u64>) {
        self.repl.still_until_ms = until_ms;
        match until_ms {
            Some(until) => {
                self.conditions.pause_writes_only = true;
                self.conditions.paused_until = self.conditions.paused_until.max(until);
                self.clock.expiry = Expiry::Hide;
            }
            None => {
                self.clock.expiry = self.expiry_of_role();
                self.unpause();
            }
        }
    }

    /// Whether a manual failover holds this shard, and its stream with it.
    pub(in crate::shard) fn stands_still(&self) -> bool {
        self.repl.still_until_ms.is_some()
    }

    /// The time of a manual failover is over.
    pub(super) fn tick_member(&mut self) {
        if self.repl.still_until_ms.is_some_and(|until| until <= self.now.ms()) {
            self.stand_still(None);
        }
    }
}
