//! The state of one client.

use super::blocked::Blocked;
use super::{Multi, Pipeline, Subscriptions, Tracking};
use crate::command::acl::User;
use crate::command::ctx::Caller;
use crate::command::spec::Spec;
use crate::limits::{
    KEEP_BUFFER, LONG_RECV, LONG_RECV_ONCE, LONG_REQUEST, OUTPUT_HIGH, OUTPUT_LOW, PIPELINE, RECV_BUFFER,
    REPLY_GUESS, TRUST,
};
use crate::resp::parse::Parser;
use crate::slot::Slot;
use std::sync::Arc;

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

/// What becomes of a client's commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They run.
    #[default]
    Plain,
    /// They are looked at first: it is in MULTI, or in a mode in which not all are allowed, or its user may not
    /// do everything, or what they read is to be remembered.
    Apart,
    /// They are not executed: it is closed when all output is sent.
    Closing,
}

/// What a client's next request is likely to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    #[default]
    Unknown,
    /// So many bytes, as the last one.
    Long(usize),
    /// Nobody can know: short ones have come where long ones were expected.
    Mixed,
}

/// A key that a client watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub db: usize,
    pub slot: Slot,
    pub key: Box<[u8]>,
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
    /// The payload of its RESTORE is being read.
    Reading,
    /// It waits for a key to have something for it.
    Blocked,
    /// Replicas have to acknowledge what was written.
    Acks,
    /// What it would change has to be written to a snapshot first.
    Snapshot,
    /// The plane has its command.
    Plane,
    /// What it has on its way to siblings must be answered first: slots have changed hands.
    Order,
    /// Siblings, or the plane, must take up what it has published first.
    Behind,
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
    /// Bytes of the buffer that is with `net/` to be filled, in place of `pending`.
    pub lent: usize,
    pub habit: Habit,
    /// Replies ready to be sent.
    pub out: Vec<u8>,
    pub pipeline: Pipeline,
    /// About how large a sibling's reply to this client is, in bytes.
    pub reply_size: usize,
    pub reply_mode: ReplyMode,
    pub hold: Hold,
    /// Nothing may go on before its pipeline is empty.
    pub in_order: bool,
    pub mode: Mode,
    /// There is one from MULTI to EXEC.
    pub multi: Option<Box<Multi>>,
    pub watched: Vec<Watched>,
    /// There is one as long as it listens to anything.
    pub subs: Option<Box<Subscriptions>>,
    /// There is one while it waits for a key, and how often it has done so.
    pub blocked: Option<Box<Blocked>>,
    pub waits: u32,
    /// MULTI came behind ASKING.
    pub asking: bool,
    /// Counts how often it has given up all that it watched.
    pub round: u32,
    /// There is one as long as it keeps copies of what it reads.
    pub tracking: Option<Box<Tracking>>,
    /// Commands have other names than in the table.
    pub renames: bool,
    /// It is shown every command.
    pub monitor: bool,
    /// It gets the stream of changes.
    pub replica: bool,
    /// Thrown out: what it has not read is lost.
    pub killed: bool,
    /// Already on the shard's list of clients with news for `net/`.
    pub listed: bool,
    /// Which of the clients that ever used this place it is.
    pub generation: u32,
    /// The shard's turn in which bytes of it were taken up last.
    pub turn: u64,
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
    /// One that came by `door`, and has done nothing yet.
    pub fn new(caller: Caller, door: Door) -> Session {
        Session {
            caller,
            door,
            parser: Parser::default(),
            pending: Vec::new(),
            held: Vec::new(),
            lent: 0,
            habit: Habit::Unknown,
            out: Vec::new(),
            pipeline: Pipeline::default(),
            reply_size: REPLY_GUESS,
            reply_mode: ReplyMode::On,
            hold: Hold::None,
            in_order: false,
            mode: Mode::Plain,
            multi: None,
            subs: None,
            watched: Vec::new(),
            blocked: None,
            waits: 0,
            asking: false,
            round: 0,
            tracking: None,
            renames: false,
            monitor: false,
            replica: false,
            killed: false,
            listed: false,
            generation: 0,
            turn: 0,
            addr: String::new(),
            local_addr: String::new(),
            fd: 0,
            created_ms: 0,
            last_ms: 0,
            last: None,
            in_flight: 0,
            soft_since: None,
        }
    }

    /// No more of its commands are executed.
    #[inline]
    pub fn is_closing(&self) -> bool {
        self.mode == Mode::Closing
    }

    /// Whether most commands are refused to it: it listens, and in RESP2 what it hears could not be told
    /// from replies.
    pub fn is_listening_only(&self) -> bool {
        self.caller.subscribed && !self.caller.resp3
    }

    /// It is this user from now on.
    pub fn become_user(&mut self, user: Arc<User>) {
        self.caller.user = Some(user);
        self.caller.confined = false;
        self.settle_mode();
    }

    /// To be called when MULTI, what it listens to, its user or its protocol has changed.
    pub fn settle_mode(&mut self) {
        self.subs.take_if(|subs| subs.is_empty());
        self.caller.subscribed = self.subs.is_some();
        if !self.is_closing() {
            let reads = self.tracking.as_ref().is_some_and(|tracking| !tracking.broadcast);
            let restricted = self.caller.user.as_ref().is_some_and(|user| !user.is_unrestricted());
            let apart = restricted || self.renames || self.multi.is_some() || self.monitor || reads;
            let apart = apart || self.is_listening_only();
            self.mode = if apart { Mode::Apart } else { Mode::Plain };
        }
    }

    /// Gives it what it did not ask for, behind its replies and whatever CLIENT REPLY says. `frame` is a
    /// push as RESP3 has it; in RESP2 it is an array.
    #[inline]
    pub fn push(&mut self, frame: &[u8]) {
        if self.is_closing() {
            return;
        }
        let head = if self.caller.resp3 { b">" } else { b"*" };
        if self.pipeline.is_empty() {
            self.out.reserve(frame.len());
            self.out.extend_from_slice(head);
            self.out.extend_from_slice(&frame[1..]);
        } else {
            self.pipeline.append(head);
            self.pipeline.append(&frame[1..]);
        }
    }

    /// Bytes of its unfinished request that are known to be still to come.
    #[inline]
    pub fn missing(&self) -> usize {
        self.parser.wants().saturating_sub(self.pending.len())
    }

    /// Bytes to receive at once into a buffer of its own, if that is worth it: the copies that it saves cost
    /// more than the request to the kernel.
    #[inline]
    pub fn long_recv(&self) -> Option<usize> {
        let missing = self.missing();
        match self.habit {
            _ if missing >= LONG_RECV => Some(missing),
            Habit::Unknown | Habit::Mixed => None,
            // no further than the end of the value, where it is known
            Habit::Long(_) if missing > 0 && self.parser.wants() >= LONG_REQUEST => Some(missing),
            Habit::Long(last) => Some(last.saturating_sub(self.pending.len()).max(RECV_BUFFER as usize)),
        }
    }

    /// A request, or several, ended with a buffer of this client's own.
    pub fn learn_habit(&mut self, bytes: usize) {
        self.habit = match self.habit {
            Habit::Mixed => Habit::Mixed,
            _ if bytes >= LONG_REQUEST => Habit::Long(bytes.min(LONG_RECV_ONCE)),
            Habit::Long(_) => Habit::Mixed,
            Habit::Unknown => Habit::Unknown,
        };
    }

    /// Makes room for the rest of a big bulk, in steps that a client has to fill before it gets more.
    pub fn make_room(&mut self) {
        let (have, room) = (self.pending.len(), self.pending.capacity());
        let missing = self.missing();
        if have + missing > room && room - have < RECV_BUFFER as usize {
            self.pending.reserve_exact(missing.min((have * (TRUST - 1)).max(KEEP_BUFFER)));
        }
    }

    /// Gives it bytes behind its replies, whatever CLIENT REPLY says.
    pub fn append(&mut self, bytes: &[u8]) {
        match self.pipeline.is_empty() {
            _ if self.is_closing() => {}
            true => self.out.extend_from_slice(bytes),
            false => self.pipeline.append(bytes),
        }
    }

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

    /// Whether no more commands should run before this client has read, or it has more to read than it may:
    /// `high` bytes in one turn.
    #[inline]
    pub fn is_overfull(&self, high: usize) -> bool {
        self.out.len() > high || !self.pipeline.is_empty() && self.pipeline_is_full()
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
            Hold::Order | Hold::Move | Hold::Acks => self.pipeline.is_empty(),
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
            + self.lent
            + self.out.capacity()
            + self.in_flight
            + self.pipeline.bytes()
            + self.multi.as_ref().map_or(0, |multi| multi.memory())
            + self.blocked.as_ref().map_or(0, |blocked| blocked.memory())
            + self.subs.as_ref().map_or(0, |subs| subs.memory())
            + self.watched.iter().map(|w| size_of::<Watched>() + w.key.len()).sum::<usize>()
    }
}
