//! What a file keeps of the stream: with it, whoever copied this shard, and this shard where it is a replica,
//! goes on after a restart without a payload.
//!
//! Only a shard whose data are exactly those of its own file goes on. Keys past their time are taken in from
//! such a file, for the others of the stream have them too, until the primary says otherwise.

use crate::config::types::ReplicaOf;
use crate::persist::rdb::put_aux;
use crate::repl::Position;
use crate::shard::Shard;

impl Shard {
    /// Where the data are in the stream.
    pub(super) fn position(&self) -> Position {
        let history = &self.repl.primary.history;
        let db = match &self.repl.follower {
            Some(f) => f.db(),
            // what selects none selects its own before it is used
            None => self.stream.db().unwrap_or(0),
        };
        Position { id: history.id, offset: history.offset, db }
    }

    /// Tells a file where the data are in the stream, if anybody may go on from there.
    pub(in crate::shard) fn put_position(&mut self, head: &mut Vec<u8>) {
        self.facts_of_stream().iter().for_each(|(k, v)| put_aux(k, v.as_bytes(), head));
    }

    pub(in crate::shard) fn facts_of_stream(&mut self) -> Vec<(&'static str, String)> {
        self.feed_replicas();
        let trusted = self.repl.follower.as_ref().is_none_or(|f| !f.is_distrusted());
        let known = self.repl.primary.is_fed() && trusted;
        if known { self.position().facts().to_vec() } else { Vec::new() }
    }

    /// The data are those of a file that was written there in the stream.
    pub fn go_on_from(&mut self, at: Position) {
        let is_replica = match self.at.cluster {
            true => self.view.local_node(self.at.me).is_replica(),
            false => self.conf.replicaof != ReplicaOf(None),
        };
        self.repl.primary.go_on_from(at, !is_replica, self.clock.now_ms);
        self.repl.resumed_db = if is_replica { at.db.min(self.ks.databases() - 1) } else { 0 };
        self.repl.news = true;
        self.note_propagating();
        tracing::info!("The data are of the stream {}, up to offset {}", at.id, at.offset);
    }
}
