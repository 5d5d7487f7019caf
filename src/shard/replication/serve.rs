//! Replicas of this shard: what they ask for, and the stream to them.

use super::Waiter;
use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX};
use crate::limits::REPL_WINDOW;
use crate::repl::conf::{Said, Wrong};
use crate::repl::history::{Id, Refusal};
use crate::resp::{Args, Reply};
use crate::session::{Door, Hold};
use crate::shard::Shard;
use crate::shard::blocked::ROLE_CHANGED;
use crate::shard::mail::Ticket;
use crate::util::num::parse_i64;

const GETACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

const NO_NODE: ErrReply =
    ErrReply::new("ERR This port is no node of the cluster: replicate a shard by its own port");
const SEVERAL: ErrReply = ErrReply::new("ERR A standalone server of several shards can't be replicated");
const NO_LINK: ErrReply = ErrReply::new("NOMASTERLINK Can't SYNC while not connected with my master");
const FAILING_OVER: ErrReply = ErrReply::new("NOMASTERLINK Can't SYNC while failing over");
const RDB_ONLY_RANGE: ErrReply = ErrReply::new("ERR value is out of range, value must between 0 and 1");
const PENDING: ErrReply = ErrReply::new("ERR SYNC and PSYNC are invalid with pending output");
const FILTERED: ErrReply = ErrReply::new("ERR Filtered replica requires EOF capability");
const WAIT_ON_REPLICA: ErrReply = ErrReply::new(
    "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is \
     configured to be writable (which is not the default) writes to replicas are just local and are not \
     propagated.",
);
const WAIT_SEVERAL: ErrReply =
    ErrReply::new("ERR WAIT is about one node: send it to the own port of the shard that was written to");
const BAD_TIMEOUT: ErrReply = ErrReply::new("ERR timeout is not an integer or out of range");
const NEGATIVE_TIMEOUT: ErrReply = ErrReply::new("ERR timeout is negative");

/// The address that a client came from, without its port.
fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host.trim_matches(['[', ']']))
}

impl Shard {
    /// REPLCONF option value ...
    pub(in crate::shard) fn replconf(&mut self, client: u32, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        let from = self.name_of(client);
        let said = self.repl.primary.about(client, host_of(&from)).hear(args);
        match said {
            Ok(Said::Ok) => out.extend_from_slice(b"+OK\r\n"),
            Ok(Said::Ack(offset)) => {
                if self.repl.primary.is_replica(client) {
                    if self.repl.primary.ack(client, offset, self.now.ms()) {
                        tracing::info!("Synchronization with replica {from} succeeded");
                        self.note_replicas();
                        self.pump(client);
                    }
                    self.repl.news = true;
                    self.settle_waiters();
                }
            }
            // only a primary may ask, and it asks in its stream
            Ok(Said::GetAck | Said::Nothing) => {}
            Err(Wrong::Syntax) => return Err(SYNTAX),
            Err(Wrong::NotANumber) => return Err(NOT_INT),
            Err(Wrong::OutOfRange) => return Err(RDB_ONLY_RANGE),
            Err(Wrong::Other(text)) => return Err(ErrReply::owned(format!("ERR {text}"))),
        }
        Ok(())
    }

    /// SYNC, and PSYNC id offset [FAILOVER]
    pub(in crate::shard) fn sync(&mut self, client: u32, args: Args<'_>) -> Done {
        if self.repl.primary.is_replica(client) {
            return Ok(());
        }
        let psync = args.is(0, "psync");
        if psync && args.is(3, "failover") {
            self.take_over(args.at(1))?;
        }
        if self.repl.follower.as_ref().is_some_and(|f| !f.is_connected()) {
            return Err(NO_LINK);
        }
        if self.is_failing_over() {
            return Err(FAILING_OVER);
        }
        let Some(session) = self.clients.get(client) else { return Ok(()) };
        if self.at.shards > 1 {
            match session.door {
                _ if !self.at.cluster => return Err(SEVERAL),
                Door::Front => return Err(NO_NODE),
                Door::Own => {}
            }
        }
        if !session.out.is_empty() || session.in_flight > 0 || !session.pipeline.is_empty() {
            return Err(PENDING);
        }
        session.replica = true;
        let from = session.addr.clone();
        let about = self.repl.primary.about(client, host_of(&from));
        if (about.no_data || about.no_functions) && !about.eof {
            return Err(FILTERED);
        }
        tracing::info!("Replica {from} asks for synchronization");
        self.feed_replicas();
        if !(psync && self.resume_replica(client, &from, args)?) {
            let id = Id::random(&mut self.rng);
            self.repl.primary.enlist(client, host_of(&from), !psync, self.now.ms(), id);
            self.repl.syncs[0] += 1;
            self.note_propagating();
            self.begin_payload_if_due();
        }
        self.repl.news = true;
        self.pump(client);
        Ok(())
    }

    /// Lets a replica go on where it is, if it can; says why it can't.
    fn resume_replica(&mut self, client: u32, from: &str, args: Args<'_>) -> Result<bool, ErrReply> {
        let (id, first) = (args.at(1), parse_i64(args.at(2)).ok_or(NOT_INT)?);
        let now = self.now.ms();
        let shown = String::from_utf8_lossy(id);
        let primary = &mut self.repl.primary;
        let (ours, second) = (primary.history.id, primary.history.second.map(|(id, _)| id.to_string()));
        match primary.resume(client, host_of(from), (id, first), now) {
            Ok(()) => {
                tracing::info!(
                    "Partial resynchronization request from {from} accepted, from offset {first} on."
                );
                self.repl.syncs[1] += 1;
                self.note_replicas();
                return Ok(true);
            }
            Err(Refusal::Unasked) => {
                tracing::info!("Full resync requested by replica {from}");
                return Ok(false);
            }
            Err(Refusal::Stranger) => tracing::info!(
                "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for '{shown}', \
                 my replication IDs are '{ours}' and '{}')",
                second.unwrap_or_default()
            ),
            Err(Refusal::Branched { up_to }) => tracing::info!(
                "Partial resynchronization not accepted: Requested offset for second ID was {first}, but I can \
                 reply up to {}",
                up_to + 1
            ),
            Err(Refusal::Lacking { ahead }) => {
                tracing::info!(
                    "Unable to partial resync with replica {from} for lack of backlog (Replica request was: {first})."
                );
                if ahead {
                    tracing::warn!(
                        "Warning: replica {from} tried to PSYNC with an offset that is greater than the master \
                         replication offset."
                    );
                }
            }
        }
        self.repl.syncs[2] += 1;
        Ok(false)
    }

    /// Gives the stream's new bytes to the backlog, and to those who read it.
    pub(in crate::shard) fn feed_replicas(&mut self) {
        if !self.repl.is_fed() {
            return;
        }
        let fresh = self.stream.fresh();
        if fresh.is_empty() && !self.repl.asks {
            return;
        }
        self.repl.primary.feed(fresh);
        self.stream.forget_unless_logged();
        if std::mem::take(&mut self.repl.asks) {
            self.repl.primary.feed(GETACK);
        }
        self.pump_readers();
    }

    /// What is for replicas but for no log; behind [`Shard::feed_replicas`].
    pub(in crate::shard) fn feed_replicas_only(&mut self, bytes: &[u8]) {
        self.repl.primary.feed(bytes);
        self.pump_readers();
    }

    /// Gives those who read the stream what they have not got.
    pub(super) fn pump_readers(&mut self) {
        let mut readers = std::mem::take(&mut self.repl.readers);
        readers.extend(self.repl.primary.readers());
        readers.drain(..).for_each(|client| self.pump(client));
        self.repl.readers = readers;
        self.repl.primary.trim(self.conf.repl_backlog_size);
    }

    /// Gives a replica what it is to be sent next, as far as its socket keeps up.
    pub(in crate::shard) fn pump(&mut self, client: u32) {
        let Some(session) = self.clients.get(client).filter(|s| !s.is_closing()) else { return };
        let room = REPL_WINDOW.saturating_sub(session.out.len() + session.in_flight);
        if room > 0 && self.repl.primary.fill(client, room, self.now.ms(), &mut session.out) {
            Shard::list(&mut self.news, client, session);
        }
    }

    /// A client is gone, maybe a replica.
    pub(in crate::shard) fn replica_gone(&mut self, client: u32) {
        let was = self.repl.primary.is_replica(client);
        self.repl.primary.gone(client, self.now.ms());
        if was {
            self.repl.news = true;
            self.note_replicas();
        }
    }

    /// All replicas have to ask anew: the stream has another name, or is another.
    pub(super) fn send_replicas_away(&mut self) {
        for client in self.repl.primary.all() {
            self.throw_out(client);
            self.repl.primary.gone(client, self.now.ms());
        }
    }

    /// WAIT replicas timeout
    pub(in crate::shard) fn wait(&mut self, client: u32, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        if self.repl.is_replica() {
            return Err(WAIT_ON_REPLICA);
        }
        let replicas = parse_i64(args.at(1)).ok_or(NOT_INT)?;
        let timeout = parse_i64(args.at(2)).ok_or(BAD_TIMEOUT)?;
        let timeout = u64::try_from(timeout).map_err(|_| NEGATIVE_TIMEOUT)?;
        if self.in_exec {
            // a transaction waits for nothing
            let acked = self.repl.primary.acked_by(self.repl.primary.history.offset);
            out.extend_from_slice(format!(":{acked}\r\n").as_bytes());
            return Ok(());
        }
        self.feed_replicas();
        // no earlier than this client's last write
        let mut offset = self.repl.primary.history.offset;
        let Some(session) = self.clients.get(client) else { return Ok(()) };
        if self.at.shards > 1 && session.door == Door::Front {
            let mut shards = 0..self.at.shards;
            if shards.all(|shard| !self.host.registers.replication(shard).replicas.is_empty()) {
                return Err(WAIT_SEVERAL);
            }
            // what was written may be on a shard without replicas: nobody will ever have all of it
            offset = u64::MAX;
        }
        let acked = self.repl.primary.acked_by(offset) as i64;
        if acked >= replicas {
            out.extend_from_slice(format!(":{acked}\r\n").as_bytes());
            return Ok(());
        }
        let Some((ticket, until_ms)) = self.hold_for_acks(client, timeout) else { return Ok(()) };
        self.repl.waiters.push(Waiter { ticket, offset, replicas, until_ms });
        self.repl.asks = self.repl.is_fed();
        Ok(())
    }

    /// Holds a client until what it waits for is acknowledged: where its answer goes, and until when in ms it
    /// waits at most.
    pub(in crate::shard) fn hold_for_acks(
        &mut self,
        client: u32,
        timeout: u64,
    ) -> Option<(Ticket, Option<u64>)> {
        let discard = self.discards(client);
        let until_ms = (timeout > 0).then(|| self.now.ms().saturating_add(timeout));
        let session = self.clients.get(client)?;
        let place = session.pipeline.wait(discard);
        session.hold = Hold::Acks;
        Some((Ticket { client, generation: session.generation, place, part: 0 }, until_ms))
    }

    /// Clients that wait for acknowledgements of a primary that is none any more.
    pub(super) fn unblock_waiters(&mut self) {
        for waiter in std::mem::take(&mut self.repl.waiters) {
            let mut error = Vec::new();
            Reply::new(&mut error, false).error(ROLE_CHANGED.bytes());
            self.answer_waiter(waiter.ticket, &error);
        }
    }
}
