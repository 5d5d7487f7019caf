//! BGREWRITEAOF: a snapshot becomes the new base of the log, and where it was taken the log goes on in
//! another file.

use super::{FilePlan, Form, Purpose, Seal};
use crate::command::error::{Done, ErrReply};
use crate::command::rdb::{self, Use, facts};
use crate::persist::aof::encode;
use crate::persist::rdb::{put_aux, put_begin};
use crate::resp::Reply;
use crate::shard::{Now, Shard};

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
        // who asks INFO next must not take it for done
        self.metrics.aof.rewriting.set(1);
        self.metrics.aof.rewrite_since.set(self.now.ms() / 1000);
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

    /// Writes what the shard holds as the base of its log: commands, if nothing is to end the file. Where that
    /// is taken, the stream is cut: see [`Shard::take_stream`].
    pub fn rewrite_log(&mut self, plan: FilePlan) {
        self.snapshots.rewriting.running = true;
        let mut head = Vec::new();
        let form = match plan.seal {
            Seal::Nothing => {
                if self.conf.aof_timestamp_enabled {
                    encode::timestamp(&mut head, self.now.ms() / 1000);
                }
                Form::Commands
            }
            Seal::Zeros | Seal::Checksum(_) => {
                put_begin(&mut head);
                let facts = facts(&self.place(self.now), Use::Base);
                facts.iter().for_each(|(name, value)| put_aux(name, value.as_bytes(), &mut head));
                Form::Rdb
            }
        };
        self.want_snapshot_in(form, Purpose::Rewrite, Some(plan), head);
    }

    /// Writes all that the shard has to an RDB file that is to be the base of its log; it stands still meanwhile.
    pub fn save_base(&mut self, path: &str, now: Now) -> Result<(), String> {
        rdb::save_base(&self.ks, &self.place(now), path)
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
