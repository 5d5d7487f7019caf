//! The state of one client.

use super::Pipeline;
use crate::command::ctx::Caller;
use crate::command::spec::Spec;
use crate::limits::{OUTPUT_HIGH, OUTPUT_LOW, PIPELINE};
use crate::resp::parse::Parser;

/// Which kind of port a client came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The shared client port: commands for siblings are forwarded.
    Front,
    /// A shard's own port: strict Redis Cluster behaviour.
    Own,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// Nothing is sent for the command that follows.
    SkipNext,
}

/// Why a client's commands wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    #[default]
    None,
    /// It reads too slowly: its output must drain first.
    Output,
    /// A command over several shards must end first, its own or another's.
    Loan,
    /// Its MIGRATE is under way.
    Move,
    /// What it would change has to be written to a snapshot first.
    Snapshot,
    /// The plane has its command.
    Plane,
    /// What it has on its way to siblings must be answered first: slots have changed hands.
    Order,
    /// CLIENT PAUSE, or DEBUG SLEEP, until this time in ms.
    Until(u64),
}

/// One client. Its socket belongs to `net/`.
pub struct Session {
    pub caller: Caller,
    pub door: Door,
    pub parser: Parser,
    /// Bytes that arrived and were not parsed: an unfinished command, or what came during a hold.
    pub pending: Vec<u8>,
    /// Commands that were parsed when the hold began; they go before `pending`.
    pub held: Vec<u8>,
    /// Replies ready to be sent.
    pub out: Vec<u8>,
    pub pipeline: Pipeline,
    /// About how large a sibling's reply to this client is, in bytes.
    pub reply_size: usize,
    pub reply_mode: ReplyMode,
    pub hold: Hold,
    /// Nothing may go on before its pipeline is empty.
    pub in_order: bool,
    /// Close when all output is sent; no more commands are executed.
    pub closing: bool,
    /// Thrown out: what it has not read is lost.
    pub killed: bool,
    /// Already on the shard's list of clients with news for `net/`.
    pub listed: bool,
    /// Which of the clients that ever used this place it is.
    pub generation: u32,
    pub addr: String,
    pub local_addr: String,
    pub fd: i32,
    pub created_ms: u64,
    pub last_ms: u64,
    pub last: Option<&'static Spec>,
    /// Bytes given to the socket and not yet acknowledged by the kernel.
    pub in_flight: usize,
    /// Since when the soft output limit is exceeded, in ms.
    pub soft_since: Option<u64>,
}

impl Session {
    /// Bytes that wait for this client to read them.
    pub fn output(&self) -> usize {
        self.out.len() + self.in_flight + self.pipeline.bytes()
    }

    /// How many commands may be on their way to siblings: as many as replies of the size that this
    /// client gets would fill its output.
    fn window(&self) -> usize {
        (OUTPUT_HIGH / self.reply_size.max(64)).clamp(1, PIPELINE)
    }

    /// A sibling's reply came: larger ones count at once, smaller ones little by little.
    #[inline]
    pub fn learn_reply(&mut self, bytes: usize) {
        self.reply_size = bytes.max(self.reply_size - self.reply_size / 8);
    }

    /// Whether no more commands should run before this client has read.
    #[inline]
    pub fn is_overfull(&self) -> bool {
        self.out.len() > OUTPUT_HIGH || !self.pipeline.is_empty() && self.pipeline_is_full()
    }

    fn pipeline_is_full(&self) -> bool {
        self.output() > OUTPUT_HIGH || self.pipeline.len() >= self.window()
    }

    /// Whether a client on hold for its output has read enough of it.
    pub fn has_drained(&self) -> bool {
        self.output() <= OUTPUT_LOW && self.pipeline.len() <= self.window() / 2
    }

    /// Whether its hold is for its replies, and they have come or been read.
    #[inline]
    pub fn is_free(&self) -> bool {
        match self.hold {
            Hold::Output => self.has_drained(),
            Hold::Order | Hold::Move => self.pipeline.is_empty(),
            _ => false,
        }
    }

    /// The hold is over. False when another one begins with that.
    pub fn let_go(&mut self) -> bool {
        self.in_order &= !self.pipeline.is_empty();
        self.hold = if self.in_order { Hold::Order } else { Hold::None };
        !self.in_order
    }

    /// Memory that this client costs.
    pub fn memory(&self) -> usize {
        size_of::<Session>()
            + self.pending.capacity()
            + self.held.capacity()
            + self.out.capacity()
            + self.in_flight
            + self.pipeline.bytes()
    }
}
