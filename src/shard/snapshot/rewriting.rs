//! BGREWRITEAOF: a snapshot becomes the new base of the log, and where it was taken the log goes on in
//! another file.

use super::{FilePlan, Purpose};
use crate::command::error::{Done, ErrReply};
use crate::command::host::COMPATIBLE_VERSION;
use crate::metrics;
use crate::persist::rdb::{put_aux, put_begin};
use crate::resp::Reply;
use crate::shard::Shard;

const IN_PROGRESS: ErrReply = ErrReply::new("ERR Background append only file rewriting already in progress");

/// A rewrite of this shard's log.
#[derive(Debug, Default)]
pub struct Rewriting {
    /// A client has asked for one that has not begun.
    wanted: bool,
    running: bool,
    /// Another log is to begin, and has not.
    anew: bool,
    outcome: Option<Result<(), String>>,
}

impl Shard {
    /// BGREWRITEAOF
    pub(in crate::shard) fn bgrewriteaof(&mut self, out: &mut Vec<u8>) -> Done {
        let rewriting = &mut self.snapshots.rewriting;
        if rewriting.running || rewriting.wanted {
            return Err(IN_PROGRESS);
        }
        rewriting.wanted = true;
        Reply::new(out, false).simple("Background append only file rewriting started");
        Ok(())
    }

    /// The data are others, of which the log knows nothing. What it has on the disk counts until it has a
    /// base of these.
    pub(in crate::shard) fn begin_log_anew(&mut self) {
        self.stream.clear();
        self.snapshots.rewriting.anew = self.is_logged();
    }

    /// Whether another log is to begin here.
    pub fn take_log_anew(&mut self) -> bool {
        std::mem::take(&mut self.snapshots.rewriting.anew)
    }

    /// Whether a client has asked for a rewrite since the last call.
    pub fn take_rewrite_wish(&mut self) -> bool {
        std::mem::take(&mut self.snapshots.rewriting.wanted)
    }

    pub fn is_rewriting(&self) -> bool {
        self.snapshots.rewriting.running
    }

    /// Writes what the shard holds as the base of its log. Where that is taken, the stream is cut: see
    /// [`Shard::take_stream`].
    pub fn rewrite_log(&mut self, plan: FilePlan) {
        self.snapshots.rewriting.running = true;
        let facts = [
            ("redis-ver", COMPATIBLE_VERSION.to_owned()),
            ("redis-bits", usize::BITS.to_string()),
            ("ctime", (self.now.ms() / 1000).to_string()),
            ("used-mem", metrics::used_memory().to_string()),
            ("aof-base", "1".to_owned()),
        ];
        let mut head = Vec::new();
        put_begin(&mut head);
        facts.iter().for_each(|(name, value)| put_aux(name, value.as_bytes(), &mut head));
        self.want_snapshot(Purpose::Rewrite, Some(plan), head);
    }

    /// The log could not go on in another file, or nobody wants it any more.
    pub fn drop_rewrite(&mut self, why: &str) {
        if self.snapshots.rewriting.running {
            self.drop_purpose(Purpose::Rewrite);
            self.rewritten(Err(why.to_owned()));
        }
    }

    pub(super) fn rewritten(&mut self, outcome: Result<(), String>) {
        self.snapshots.rewriting.running = false;
        self.snapshots.rewriting.outcome = Some(outcome);
    }

    /// What has become of a rewrite, once it has ended.
    pub fn take_rewritten(&mut self) -> Option<Result<(), String>> {
        self.snapshots.rewriting.outcome.take()
    }
}
