//! How far the log of this shard is on the disk, and who waits for that: WAITAOF, as Redis 7.2 has it.
//!
//! A client's own writes are not told from others': it waits for all that the shard had changed when it asked.
//! Replicas don't say how far their logs are (7.0's protocol has no word for it), so none ever counts.

use super::Shard;
use super::mail::Ticket;
use crate::command::error::{Done, ErrReply, NOT_INT, NOT_POSITIVE};
use crate::resp::{Args, Reply};
use crate::session::{Door, Hold};
use crate::util::num::parse_i64;

const ON_REPLICA: ErrReply = ErrReply::new(
    "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and \
     are not propagated.",
);
const NO_LOG: ErrReply =
    ErrReply::new("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
const SEVERAL: ErrReply =
    ErrReply::new("ERR WAITAOF is about one node: send it to the own port of the shard that was written to");
const LOCAL_RANGE: ErrReply = ErrReply::new("ERR value is out of range, value must between 0 and 1");
const BAD_TIMEOUT: ErrReply = ErrReply::new("ERR timeout is not an integer or out of range");
const NEGATIVE_TIMEOUT: ErrReply = ErrReply::new("ERR timeout is negative");

/// A client that waits for the disk.
struct Waiter {
    ticket: Ticket,
    offset: u64,
    /// It waits for replicas, too: until its time is over.
    replicas: bool,
    until_ms: Option<u64>,
}

/// What is known of the disk.
#[derive(Default)]
pub(super) struct Durable {
    /// The place in the stream up to which the log is on the disk.
    synced: u64,
    waiters: Vec<Waiter>,
}

fn answer(local: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, false);
    reply.array(2);
    reply.int(local.into());
    reply.int(0);
    out
}

impl Shard {
    /// WAITAOF numlocal numreplicas timeout
    pub(super) fn wait_aof(&mut self, client: u32, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        let local = parse_i64(args.at(1)).ok_or(NOT_INT)?;
        if !(0..=1).contains(&local) {
            return Err(LOCAL_RANGE);
        }
        let replicas = parse_i64(args.at(2)).filter(|&n| n >= 0).ok_or(NOT_POSITIVE)?;
        let timeout = parse_i64(args.at(3)).ok_or(BAD_TIMEOUT)?;
        let timeout = u64::try_from(timeout).map_err(|_| NEGATIVE_TIMEOUT)?;
        if self.repl.is_replica() {
            return Err(ON_REPLICA);
        }
        if local > 0 && !self.conf.appendonly {
            return Err(NO_LOG);
        }
        let Some(session) = self.clients.get(client) else { return Ok(()) };
        if self.at.shards > 1 && session.door == Door::Front {
            return Err(SEVERAL);
        }
        let offset = self.stream.offset();
        let synced = self.is_durable(offset);
        if self.in_exec || (synced || local == 0) && replicas == 0 {
            out.extend_from_slice(&answer(synced));
            return Ok(());
        }
        let Some((ticket, until_ms)) = self.hold_for_acks(client, timeout) else { return Ok(()) };
        self.durable.waiters.push(Waiter { ticket, offset, replicas: replicas > 0, until_ms });
        Ok(())
    }

    /// CONFIG SET appendonly yes takes effect with the core's next tick; who asks INFO before is told already.
    pub(super) fn tell_of_log(&self) {
        let (m, on) = (&self.metrics.aof, self.conf.appendonly);
        if (m.enabled.get() > 0) != on {
            m.enabled.set(on as u64);
            m.whole.set(0);
            m.rewriting.set(on as u64);
        }
    }

    /// Whether the log up to there is on the disk.
    fn is_durable(&self, offset: u64) -> bool {
        self.is_logged() && self.durable.synced >= offset
    }

    /// Bytes of the stream so far: its place when [`Shard::take_stream`] has taken all of it.
    pub fn log_offset(&self) -> u64 {
        self.stream.offset()
    }

    /// The log is on the disk up to this place in the stream.
    pub fn log_synced(&mut self, offset: u64) {
        self.durable.synced = self.durable.synced.max(offset);
        if !self.durable.waiters.is_empty() {
            self.settle_durable();
        }
    }

    /// Lets clients go on whose changes are on the disk, or whose time is over.
    pub(super) fn settle_durable(&mut self) {
        let (now, synced) = (self.now.ms(), self.durable.synced);
        let over = |w: &mut Waiter| {
            let late = w.until_ms.is_some_and(|until| until <= now);
            late || !w.replicas && synced >= w.offset
        };
        let done: Vec<Waiter> = self.durable.waiters.extract_if(.., over).collect();
        for Waiter { ticket, offset, .. } in done {
            let reply = answer(self.is_durable(offset));
            if let Some(session) = self.clients.get_same(ticket.client, ticket.generation)
                && session.hold == Hold::Acks
            {
                session.pipeline.fill(ticket.place, ticket.part as usize, &reply, 0);
                self.settle_client(ticket.client);
            }
        }
        self.durable
            .waiters
            .retain(|w| self.clients.get_same(w.ticket.client, w.ticket.generation).is_some());
    }
}
