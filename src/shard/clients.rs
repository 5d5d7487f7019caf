//! The clients of one shard, by number.

use super::{Now, Shard};
use crate::command::ctx::{Caller, is_local};
use crate::limits::{HELD_OUTPUT, KEEP_BUFFER, LENT_AHEAD, LONG_RECV_ONCE, PENDING_HIGH, RECV_BUFFER};
use crate::session::{Door, Hold, Mode, Session};

/// Why a connection is not taken: the bytes to send before closing it.
pub type Refusal = &'static [u8];

/// How a client is to be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    On,
    /// Not for now: it holds more than it may.
    Full,
    /// Its request is long, or the next one is likely to be: see [`Shard::lend_input`].
    Long,
}

/// A slab of sessions; numbers are reused, generations are not.
#[derive(Default)]
pub(super) struct Clients {
    places: Vec<Option<Box<Session>>>,
    free: Vec<u32>,
    opened: u64,
    pub(super) count: usize,
}

impl Clients {
    #[inline]
    pub(super) fn get(&mut self, client: u32) -> Option<&mut Session> {
        self.places.get_mut(client as usize)?.as_deref_mut()
    }

    /// The session, unless another client has taken its number since.
    #[inline]
    pub(super) fn get_same(&mut self, client: u32, generation: u32) -> Option<&mut Session> {
        self.get(client).filter(|s| s.generation == generation)
    }

    pub(super) fn peek(&self, client: u32) -> Option<&Session> {
        self.places.get(client as usize)?.as_deref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Session)> {
        self.places.iter().enumerate().filter_map(|(i, s)| s.as_deref().map(|s| (i as u32, s)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Session)> {
        self.places.iter_mut().enumerate().filter_map(|(i, s)| s.as_deref_mut().map(|s| (i as u32, s)))
    }
}

impl Shard {
    /// A connection came by `door`. Its number is good until [`Shard::close`].
    pub fn open(
        &mut self,
        door: Door,
        addr: String,
        local_addr: String,
        fd: i32,
        now: Now,
    ) -> Result<u32, Refusal> {
        self.begin(now);
        let total: u64 = self.host.metrics.iter().map(|m| m.clients.get()).sum();
        if total >= self.conf.maxclients as u64 {
            self.metrics.rejected.inc();
            return Err(b"-ERR max number of clients reached\r\n");
        }
        let clients = &mut self.clients;
        let number = clients.free.pop().unwrap_or_else(|| {
            clients.places.push(None);
            clients.places.len() as u32 - 1
        });
        clients.opened += 1;
        clients.count += 1;
        let roll = &self.host.registers.roll;
        let id = roll.id(self.at.me, clients.opened - 1);
        roll.enter(self.at.me, id, number);
        let local_ip = local_addr.rsplit_once(':').map_or("", |(ip, _)| ip).to_string();
        let caller = Caller {
            id,
            front_door: door == Door::Front,
            authenticated: !self.conditions.auth_required,
            user: Some(self.users.the_default().clone()),
            local: is_local(&local_ip),
            local_ip,
            ..Caller::default()
        };
        let mut session = Session {
            generation: clients.opened as u32,
            addr,
            local_addr,
            fd,
            created_ms: now.ms(),
            last_ms: now.ms(),
            renames: !self.host.renames.is_empty(),
            ..Session::new(caller, door)
        };
        session.settle_mode();
        clients.places[number as usize] = Some(Box::new(session));
        self.metrics.connections.inc();
        self.metrics.clients.set(clients.count as u64);
        Ok(number)
    }

    /// The connection is gone.
    pub fn close(&mut self, client: u32) {
        self.unwatch(client);
        self.unblock(client);
        self.stop_listening_at_all(client);
        self.stop_monitoring(client);
        self.stop_tracking(client);
        if let Some(place) = self.clients.places.get_mut(client as usize)
            && let Some(session) = place.take()
        {
            self.host.registers.roll.leave(self.at.me, session.caller.id);
            self.replica_gone(client);
            self.clients.free.push(client);
            self.clients.count -= 1;
            self.metrics.clients.set(self.clients.count as u64);
        }
    }

    /// Clients that have output or want to be closed since the last call.
    pub fn take_news(&mut self, out: &mut Vec<u32>) {
        out.append(&mut self.news);
        for &client in out.iter() {
            if let Some(s) = self.clients.get(client) {
                s.listed = false;
            }
        }
    }

    /// Whether a client's output is worth waiting a moment for the rest of: little, with siblings'
    /// replies to come behind it.
    pub fn expects_more(&mut self, client: u32) -> bool {
        let few = |s: &mut Session| !s.is_closing() && !s.out.is_empty() && s.out.len() < HELD_OUTPUT;
        self.clients.get(client).is_some_and(|s| few(s) && !s.pipeline.is_empty())
    }

    /// Swaps a client's output into `buf`, which must be empty. True when there is some.
    pub fn take_output(&mut self, client: u32, buf: &mut Vec<u8>) -> bool {
        debug_assert!(buf.is_empty());
        let Some(s) = self.clients.get(client) else {
            return false;
        };
        if s.out.is_empty() {
            return false;
        }
        if buf.capacity() > KEEP_BUFFER {
            *buf = Vec::new();
        }
        std::mem::swap(&mut s.out, buf);
        s.in_flight = buf.len();
        self.metrics.writes.inc();
        self.metrics.net_out.add(buf.len() as u64);
        true
    }

    /// The kernel took all that [`Shard::take_output`] gave.
    pub fn sent(&mut self, client: u32) {
        if let Some(s) = self.clients.get(client) {
            s.in_flight = 0;
            if s.is_free() && s.let_go() {
                self.resume.push(client);
            }
        }
        if self.repl.primary.count() > 0 {
            self.pump_sent(client);
        }
    }

    /// The client sent all that it will. It gets its replies and is closed.
    pub fn end(&mut self, client: u32) {
        if let Some(s) = self.clients.get(client) {
            s.mode = Mode::Closing;
        }
    }

    /// Whether a client is to be closed and has nothing more to get.
    pub fn is_done(&mut self, client: u32) -> bool {
        self.clients.get(client).is_none_or(|s| s.is_closing() && s.out.is_empty() && s.pipeline.is_empty())
    }

    /// Whether a client was thrown out.
    pub fn is_killed(&mut self, client: u32) -> bool {
        self.clients.get(client).is_some_and(|s| s.killed)
    }

    /// Whether clients wait for the next turn to go on.
    #[inline]
    pub fn has_resumed(&self) -> bool {
        !self.resume.is_empty()
    }

    /// How to go on reading from a client.
    #[inline]
    pub fn reading(&mut self, client: u32) -> Reading {
        match self.clients.get(client) {
            Some(s) if s.hold == Hold::None && !s.is_closing() && s.long_recv().is_some() => {
                match s.pending.is_empty() && self.lent >= LENT_AHEAD {
                    true => Reading::On,
                    false => Reading::Long,
                }
            }
            Some(s) if s.hold != Hold::None && s.pending.len() + s.held.len() > PENDING_HIGH => Reading::Full,
            _ => Reading::On,
        }
    }

    /// Whether reading from a client should pause.
    pub fn is_full(&mut self, client: u32) -> bool {
        self.reading(client) == Reading::Full
    }

    /// The buffer of a client for whom [`Reading::Long`] holds, and how many of its bytes to receive there at once;
    /// [`Shard::take_input`] takes it back.
    pub fn lend_input(&mut self, client: u32) -> Option<(Vec<u8>, usize)> {
        if self.reading(client) != Reading::Long {
            return None;
        }
        let s = self.clients.get(client)?;
        s.make_room();
        let wanted = s.long_recv()?;
        if s.pending.capacity() - s.pending.len() < RECV_BUFFER as usize {
            s.pending.reserve_exact(wanted.min(LONG_RECV_ONCE));
        }
        let room = wanted.min(s.pending.capacity() - s.pending.len()).min(LONG_RECV_ONCE);
        s.lent = s.pending.capacity();
        self.lent += s.lent;
        Some((std::mem::take(&mut s.pending), room))
    }

    /// A buffer is back, with so many bytes more.
    pub fn take_input(&mut self, client: u32, buf: Vec<u8>, received: usize) {
        self.lent -= buf.capacity();
        self.metrics.reads.inc();
        self.metrics.net_in.add(received as u64);
        if let Some(s) = self.clients.get(client) {
            s.lent = 0;
            if !s.is_closing() {
                s.pending = buf;
                self.resume.push(client);
            }
        }
    }

    /// Puts a client on the list for `net/`.
    #[inline]
    pub(super) fn list(news: &mut Vec<u32>, client: u32, session: &mut Session) {
        if !session.listed {
            session.listed = true;
            news.push(client);
        }
    }
}
