//! Who looks after a core's doors while a script runs: see [`crate::shard::busy`].
//!
//! The script stands in the middle of a turn, and what arrived before it is the ring's. So the ring rests: the
//! porter takes connections, bytes and replies in and out by plain calls, at sockets for which nothing is on its
//! way. What is armed for them in the ring finds nothing there afterwards, and waits on.

use super::{Core, Event, PlaneLine, bus, greet};
use crate::config::Config;
use crate::limits;
use crate::net::clock;
use crate::net::conn::{Conn, Conns, tag};
use crate::net::ring::Ring;
use crate::session::Door;
use crate::shard::Shard;
use crate::shard::busy::{ATTENDANT, Attendant};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// A reply of which the socket has taken a part.
pub(super) struct Rest {
    client: u32,
    bytes: Vec<u8>,
    from: usize,
}

struct Porter<'a> {
    me: usize,
    conns: &'a mut Conns,
    listeners: &'a [(Option<Socket>, Door)],
    conf: &'a Config,
    unix_path: &'a str,
    plane: Option<&'a PlaneLine>,
    next_beat: &'a mut Instant,
    events: &'a Sender<Event>,
    /// Clients to be received from by the ring.
    starved: &'a mut Vec<u32>,
    rests: &'a mut Vec<Rest>,
    /// The ring has bytes of clients that are older than what comes now.
    behind: bool,
}

/// What can be gone on with.
enum Ready {
    Listener(usize),
    Client(u32),
}

impl Core {
    /// Lets the shard run, with a porter at the doors.
    pub(super) fn attended<R>(
        &mut self,
        run: impl FnOnce(&mut Shard, &Ring, &[(u32, u16, usize)]) -> R,
    ) -> R {
        let Core { me, shard, ring, received, conns, listeners, conf, unix_path, .. } = self;
        let Core { plane, next_beat, events, starved, rests, .. } = self;
        let mut porter = Porter {
            me: *me,
            conns,
            listeners,
            conf,
            unix_path,
            plane: plane.as_ref(),
            next_beat,
            events,
            starved,
            rests,
            behind: ring.is_behind(),
        };
        ATTENDANT.set(&mut porter, || run(shard, ring, received))
    }

    /// Sends on what the porter could not send at once.
    pub(super) fn send_rests(&mut self) {
        for Rest { client, bytes, from } in std::mem::take(&mut self.rests) {
            if let Some(conn) = self.conns.get(client) {
                self.ring.send(conn.fd(), bytes, from, tag(client, conn.generation));
            }
        }
    }
}

impl Attendant for Porter<'_> {
    fn attend(&mut self, shard: &mut Shard, busy: bool) {
        self.beat(shard);
        if !busy {
            return;
        }
        for ready in self.ready(shard) {
            match ready {
                Ready::Listener(at) => self.accept(at, shard),
                Ready::Client(client) => self.serve(client, shard),
            }
        }
        if shard.host().registers.shutdown.asked().is_some() {
            let _ = self.events.send(Event::Shutdown);
        }
    }
}

impl Porter<'_> {
    /// The node is well, although it says nothing.
    fn beat(&mut self, shard: &Shard) {
        let now = Instant::now();
        if now >= *self.next_beat
            && let Some(plane) = self.plane
        {
            *self.next_beat = now + Duration::from_millis(1000 / limits::TICKS_A_SECOND);
            let beat = shard.heartbeat();
            let _ = plane.mailbox.send(bus::Mail::Heartbeat { local: self.me, beat });
        }
    }

    fn ready(&self, shard: &mut Shard) -> Vec<Ready> {
        let listeners = self.listeners.iter().enumerate();
        let listeners = listeners.filter_map(|(at, (s, _))| s.as_ref().map(|s| (Ready::Listener(at), s)));
        let clients = self.conns.iter().filter(|(client, conn)| {
            let rests = !(conn.dead || conn.sending || conn.paused || conn.switching);
            rests && !self.behind && conn.staged.is_empty() && shard.hears(*client)
        });
        let clients = clients.map(|(client, conn)| (Ready::Client(client), &conn.socket));
        let (whats, sockets): (Vec<Ready>, Vec<&Socket>) = listeners.chain(clients).unzip();
        let mut fds: Vec<PollFd<'_>> =
            sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        if poll(&mut fds, PollTimeout::ZERO).is_err() {
            return Vec::new();
        }
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        whats.into_iter().zip(&fds).filter(|(_, fd)| is_ready(fd)).map(|(what, _)| what).collect()
    }

    fn accept(&mut self, at: usize, shard: &mut Shard) {
        let (Some(listener), door) = &self.listeners[at] else { return };
        let Ok((socket, _)) = listener.accept() else { return };
        let _ = socket.set_nonblocking(true);
        if let Some(client) = greet(&socket, *door, self.conf, self.unix_path, shard) {
            self.conns.insert(client, socket);
            self.starved.push(client);
        }
    }

    /// Takes in what a client has sent, and replies. Its end, and errors, are the ring's to find.
    fn serve(&mut self, client: u32, shard: &mut Shard) {
        let Some(conn) = self.conns.get(client) else { return };
        let mut bytes = vec![0; limits::RECV_BUFFER as usize];
        let Ok(len @ 1..) = (&conn.socket).read(&mut bytes) else { return };
        shard.hear_out(client, &bytes[..len], clock::now());
        let mut out = std::mem::take(&mut conn.spare);
        if shard.take_output(client, &mut out) {
            self.rests.extend(reply(conn, client, out, shard));
        } else {
            conn.spare = out;
        }
    }
}

/// Sends what the socket takes at once; the rest, if there is one.
fn reply(conn: &mut Conn, client: u32, mut bytes: Vec<u8>, shard: &mut Shard) -> Option<Rest> {
    let from = (&conn.socket).write(&bytes).unwrap_or(0);
    if from < bytes.len() {
        conn.sending = true;
        return Some(Rest { client, bytes, from });
    }
    bytes.clear();
    conn.spare = bytes;
    shard.sent(client);
    None
}
