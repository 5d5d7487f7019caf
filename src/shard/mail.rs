//! The envelopes that cross cores: owned, `Send`, and freed where they were made.
//!
//! All commands that one turn sends to one sibling travel as one [`Batch`]. The sibling writes the
//! replies into the same box and sends it back, so the request's memory returns to its own core.

use super::bounce::Bounced;
use super::pubsub::Heard;
use super::replay::Orphan;
use super::stream::Stream;
use crate::cluster::view::View;
use crate::command::host::SlowEntry;
use crate::resp::{Args, Span};
use crate::session::Watched;
use crate::session::pipeline::Place;
use crate::slot::Slot;
use crate::store::{ClientRef, SlotTable};
use std::sync::Arc;

/// What a shard may find in its mailbox.
pub enum Mail {
    Requests(Box<Batch>),
    Replies(Box<Batch>),
    /// The sender needs these slots for its loan of that number.
    Borrow {
        loan: u64,
        slots: Vec<Slot>,
        /// The handoffs that its sender knew of when it found out whom to ask.
        era: u64,
    },
    /// The loan was asked for by an older era: this view is newer.
    Refuse {
        loan: u64,
        view: Arc<View>,
    },
    /// Slots that are the receiver's now.
    Handoff(Box<Parcel>),
    Lend {
        loan: u64,
        tables: Tables,
        /// None of the slots is on its way to somebody else, or gone there.
        settled: bool,
        /// Some are landing: see `landing`.
        landing: bool,
    },
    Return {
        tables: Tables,
        /// What the loan has changed in them, for the owner's stream.
        changes: Box<Stream>,
        /// Under `appendfsync always`: the loan that wants to know when they are on the disk.
        receipt: Option<u64>,
    },
    /// What that loan changed of the sender's is on the disk.
    Kept {
        loan: u64,
    },
    /// Keys of a slot of the receiver's that the sender found in its logs.
    Orphan(Box<Orphan>),
    /// All of a [`Parcel`] whose sender keeps a log stands in the receiver's log.
    Landed,
    /// A client no longer watches these keys, or waits for them.
    Forget {
        who: ClientRef,
        waits: bool,
        keys: Vec<Watched>,
    },
    /// A client of the receiver waits for this key, and may have of it: its slot on loan.
    Ready {
        who: ClientRef,
        ready: Box<Watched>,
        tables: Tables,
        landing: bool,
    },
    /// A client of the receiver waits for a key that is there: it may try again.
    Wake {
        who: ClientRef,
    },
    /// What the sender's clients have said or done, for the receiver's that want to hear of it.
    Heard(Vec<Heard>),
    /// The host is above `maxmemory`, and the receiver has keys that may go.
    Crowded,
}

/// Slots' tables on loan: for each database, the same slots in the same order.
pub type Tables = Vec<Vec<SlotTable>>;

/// All that a shard keeps by slot, of slots that it gives away for good.
pub struct Parcel {
    /// By which they are the receiver's.
    pub view: Arc<View>,
    pub slots: Vec<Slot>,
    pub tables: Tables,
    /// The sender's log speaks for them until the receiver's does, and [`Mail::Landed`] says so.
    pub logged: bool,
}

/// Where a reply goes when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub client: u32,
    pub generation: u32,
    pub place: Place,
    pub part: u32,
}

impl Ticket {
    /// Of what no client has asked for.
    pub const NOBODY: Ticket = Ticket { client: u32::MAX, generation: 0, place: 0, part: 0 };
}

/// How much of what a client sent an execution is. However many shards share a command, the host
/// counts it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Whole,
    /// The part that stands for all in the counts; whether the whole failed is known at the join.
    First,
    Rest,
}

impl Share {
    /// Part number `part` of several.
    pub fn part(part: usize) -> Share {
        if part == 0 { Share::First } else { Share::Rest }
    }
}

/// A command on its way to the shard that executes it.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    pub ticket: Ticket,
    /// Row of the command table.
    pub spec: u16,
    pub db: u8,
    pub resp3: bool,
    pub no_touch: bool,
    /// The client keeps a copy of what it reads.
    pub tracks: bool,
    /// Its slot is being imported where it goes: as after ASKING.
    pub asking: bool,
    /// The client is on this machine.
    pub local: bool,
    /// Its user may not read every key.
    pub confined: bool,
    pub share: Share,
    pub args: u32,
    /// The first key: which argument, its slot and its hash (seeds are the host's). 0 without a key.
    pub key_arg: u32,
    pub slot: Slot,
    pub hash: u64,
    /// How long it is as it was sent, or would have been.
    pub bytes: u32,
}

/// Commands for one sibling, later their replies.
#[derive(Default)]
pub struct Batch {
    /// The handoffs that its sender knew of when it addressed the commands, and the version of its view.
    pub era: u64,
    pub view: u64,
    /// It has commands that are not executed like others, and have to be told from them.
    pub closer: bool,
    pub buf: Vec<u8>,
    pub spans: Vec<Span>,
    pub commands: Vec<Forward>,
    pub replies: Vec<u8>,
    /// Where each command's reply ends in `replies`.
    pub ends: Vec<u32>,
    /// Commands, by their number, that were slow. Who sent them is known where they came from.
    pub slow: Vec<(u32, SlowEntry)>,
    /// Commands that have no reply here, or not their last.
    pub bounced: Option<Box<Bounced>>,
    /// How much work it is, in quick commands.
    pub weight: u32,
}

/// The sibling that a command goes to, and whether its slot is only on its way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onward {
    pub to: usize,
    pub asking: bool,
}

impl Batch {
    /// Adds a command; `forward.args` is set here.
    pub fn push<'a>(&mut self, mut forward: Forward, args: impl Iterator<Item = &'a [u8]>) {
        let before = self.spans.len();
        for arg in args {
            self.spans.push(Span { start: self.buf.len() as u32, len: arg.len() as u32 });
            self.buf.extend_from_slice(arg);
        }
        forward.args = (self.spans.len() - before) as u32;
        self.commands.push(forward);
    }

    /// The arguments of a command whose spans start at `at`.
    pub fn args(&self, at: usize, count: u32) -> Args<'_> {
        Args::new(&self.buf, &self.spans[at..at + count as usize])
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Bytes of arguments that it carries.
    pub fn bytes(&self) -> usize {
        self.buf.len()
    }

    /// Empties it for another turn; large buffers are given up.
    pub fn recycle(&mut self) {
        if self.buf.capacity() + self.replies.capacity() > crate::limits::BATCH_KEEP {
            *self = Batch::default();
            return;
        }
        self.buf.clear();
        self.spans.clear();
        self.commands.clear();
        self.replies.clear();
        self.ends.clear();
        self.slow.clear();
        self.bounced = None;
        self.closer = false;
        self.weight = 0;
    }
}
