//! The plane's desk: between the plane, the shards, and whoever has links and a disk.
//!
//! The plane's effects become orders or go to the shards; commands are answered when what they decided
//! is on the disk. Like the plane it is driven from outside: [`Desk::event`], [`Desk::mail`],
//! [`Desk::saved`] and [`Desk::tick`] in, [`Desk::next_order`] out after each. `net::bus` drives it with
//! sockets and files, a simulator with neither.

use crate::cluster::conf::Conf;
use crate::cluster::plane::{Answer, Command, Effect, Heartbeat, LinkId, LocalSetup, Plane, Setup};
use crate::config::Live;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// What whoever has links and a disk is told to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Answered by [`Event::Connected`] or [`Event::Closed`].
    Connect { link: LinkId, ip: String, port: u16 },
    /// Not answered: no event of this link follows, and what is not sent yet is dropped.
    Close { link: LinkId },
    /// Nothing happens when the link is gone: its [`Event::Closed`] is on the way.
    Send { link: LinkId, bytes: Bytes },
    /// Write nodes.conf; of several versions that wait only the last is written.
    /// With `sync` it is on the disk when it is told to be saved.
    Save { version: u64, text: Vec<u8>, sync: bool },
}

/// What happened to a link. Of one link: Accepted or Connected first, Closed last and once.
#[derive(Debug)]
pub enum Event<'a> {
    /// Somebody connected to the bus port of node `local`: from `peer_ip`, to `local_ip`.
    Accepted {
        link: LinkId,
        local: usize,
        peer_ip: String,
        local_ip: String,
    },
    Connected {
        link: LinkId,
    },
    /// It broke, could not be opened, or sent what can't be a packet.
    Closed {
        link: LinkId,
        /// Too much was waiting to be sent.
        exceeded: bool,
    },
    /// One packet, as long as its first bytes say.
    Frame {
        link: LinkId,
        frame: &'a [u8],
    },
}

/// How far versions of nodes.conf have got; 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// In the file.
    pub written: u64,
    /// On the disk.
    pub saved: u64,
}

/// What shards tell the plane. `local` is a shard's number.
pub enum Mail {
    /// About ten times a second: a shard that is silent is not spoken for.
    Heartbeat {
        local: usize,
        beat: Heartbeat,
    },
    /// PUBLISH or SPUBLISH, for other hosts.
    Publish {
        local: usize,
        channel: Bytes,
        message: Bytes,
        sharded: bool,
    },
    Command {
        local: usize,
        command: Command,
        reply: Reply,
    },
}

/// Who knows how many bytes a link has not sent yet.
pub type Unsent<'a> = &'a dyn Fn(LinkId) -> usize;

/// Takes the answer to a command (an error without its `-`).
pub type Reply = Box<dyn FnOnce(Result<Answer, String>, Unsent<'_>) + Send>;

/// Takes those effects that are for shards.
pub type ToShards = Box<dyn FnMut(Effect) + Send>;

/// What a desk is made of.
pub struct Fittings {
    pub live: Arc<Live>,
    pub locals: Vec<LocalSetup>,
    /// Addresses that lead to this host.
    pub addresses: Vec<String>,
    /// See [`Setup::formed`].
    pub formed: bool,
    /// What nodes.conf said.
    pub saved: Option<Conf>,
    pub seed: u64,
    pub to_shards: ToShards,
}

/// The plane at its desk. Times are Unix times in milliseconds.
pub struct Desk {
    plane: Plane,
    live: Arc<Live>,
    generation: u64,
    to_shards: ToShards,
    /// What the plane has ordered, and nobody has taken yet.
    orders: VecDeque<Order>,
    progress: Progress,
    /// Answers that can't be told yet, in the order of the commands.
    waiting: Vec<Waiting>,
}

/// An answer that waits: for nodes.conf to get so far, and for a handoff to be over.
struct Waiting {
    needs: Progress,
    era: u64,
    reply: Reply,
    outcome: Result<Answer, String>,
}

impl Desk {
    /// Refuses a nodes.conf of another number of shards. Its first order is to save nodes.conf: only
    /// when that is done have the shards their first views.
    pub fn new(fittings: Fittings, now_ms: u64) -> Result<Desk, String> {
        let Fittings { live, locals, addresses, formed, saved, seed, to_shards } = fittings;
        let generation = live.generation();
        let setup = Setup { conf: live.snapshot(), locals, addresses, formed, saved };
        let plane = Plane::new(setup, now_ms, seed)?;
        let (orders, waiting) = (VecDeque::new(), Vec::new());
        Ok(Desk { plane, live, generation, to_shards, orders, progress: Progress::default(), waiting })
    }

    /// Ten times a second.
    pub fn tick(&mut self, now_ms: u64) {
        if self.live.generation() != self.generation {
            self.generation = self.live.generation();
            self.plane.handle_config(self.live.snapshot(), now_ms);
        }
        self.plane.handle_tick(now_ms);
    }

    pub fn event(&mut self, event: Event<'_>, now_ms: u64) {
        match event {
            Event::Accepted { link, local, peer_ip, local_ip } => {
                self.plane.handle_accepted(link, local, &peer_ip, &local_ip, now_ms);
            }
            Event::Connected { link } => self.plane.handle_connected(link, now_ms),
            Event::Closed { link, exceeded } => {
                if exceeded {
                    self.plane.note_exceeded(link);
                }
                self.plane.handle_closed(link, now_ms);
            }
            Event::Frame { link, frame } => self.plane.handle_frame(link, frame, now_ms),
        }
    }

    pub fn mail(&mut self, mail: Mail, unsent: Unsent<'_>, now_ms: u64) {
        match mail {
            Mail::Heartbeat { local, beat } => {
                self.plane.handle_heartbeat(local, beat, now_ms);
                self.answer(unsent);
            }
            Mail::Publish { local, channel, message, sharded } => {
                self.plane.handle_publish(local, &channel, &message, sharded, now_ms);
            }
            Mail::Command { local, command, reply } => {
                let outcome = self.plane.handle_command(local, &command, now_ms);
                self.collect();
                let (saved, written) = (self.plane.unsaved(), self.plane.unwritten());
                let needs = Progress { written: written.unwrap_or(0), saved: saved.unwrap_or(0) };
                let (era, outcome) = match outcome {
                    Ok(Answer::Handed(era)) => (era, Ok(Answer::Ok)),
                    outcome => (0, outcome),
                };
                self.waiting.push(Waiting { needs, era, reply, outcome });
                self.answer(unsent);
            }
        }
    }

    /// nodes.conf has got further.
    pub fn saved(&mut self, progress: Progress, unsent: Unsent<'_>, now_ms: u64) {
        self.plane.handle_written(progress.written, now_ms);
        self.plane.handle_saved(progress.saved, now_ms);
        self.collect();
        self.progress = progress;
        self.answer(unsent);
    }

    /// Tells the answers that wait for nothing more.
    fn answer(&mut self, unsent: Unsent<'_>) {
        let (at, settled) = (self.progress, self.plane.settled());
        let is_there = |needs: Progress| needs.written <= at.written && needs.saved <= at.saved;
        for ready in self.waiting.extract_if(.., |w| is_there(w.needs) && w.era <= settled) {
            (ready.reply)(ready.outcome, unsent);
        }
    }

    /// The next thing to do. Each thing's orders are carried out before the next is told, so that
    /// nothing is heard of a link that was closed.
    pub fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front().or_else(|| self.next_of_plane())
    }

    /// Lets shards have what the plane decided before anybody hears an answer that rests on it.
    fn collect(&mut self) {
        while let Some(order) = self.next_of_plane() {
            self.orders.push_back(order);
        }
    }

    fn next_of_plane(&mut self) -> Option<Order> {
        loop {
            return Some(match self.plane.poll()? {
                Effect::Connect { link, ip, port, .. } => Order::Connect { link, ip, port },
                Effect::Close { link } => Order::Close { link },
                Effect::Send { link, bytes } => Order::Send { link, bytes },
                Effect::Save { version, text, sync } => Order::Save { version, text, sync },
                effect => {
                    (self.to_shards)(effect);
                    continue;
                }
            });
        }
    }
}
