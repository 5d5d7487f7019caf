//! The plane behind the bus: its effects become orders or go to the shards, commands are answered when
//! what they decided is on the disk.

use super::drive::{self, Driven, Plan, Running};
use super::links::{Links, Settings};
use super::save::{NodesConf, Progress};
use super::{Event, LinkId, Order};
use crate::cluster::conf;
use crate::cluster::plane::{Answer, Command, Effect, Heartbeat, LocalSetup, Plane, Setup};
use crate::config::{Config, Live};
use crate::limits;
use crate::net::clock;
use bytes::Bytes;
use socket2::Socket;
use std::collections::VecDeque;
use std::sync::Arc;

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

/// Takes the answer to a command (an error without its `-`), and who knows how many bytes a link has
/// not sent yet. Called on the bus's thread.
pub type Reply = Box<dyn FnOnce(Result<Answer, String>, &dyn Fn(LinkId) -> usize) + Send>;

/// Takes those effects that are for shards. Called on the bus's thread.
pub type ToShards = Box<dyn FnMut(Effect) + Send>;

/// What a host's bus is made of.
pub struct Host {
    pub live: Arc<Live>,
    /// `cluster-config-file`.
    pub path: String,
    pub listeners: Vec<(Socket, usize)>,
    pub locals: Vec<LocalSetup>,
    /// Addresses that lead to this host.
    pub addresses: Vec<String>,
    /// See [`Setup::formed`].
    pub formed: bool,
    pub seed: u64,
    pub to_shards: ToShards,
    /// See [`Plan::failed`].
    pub failed: Box<dyn Fn(String) + Send + Sync>,
}

/// Locks and reads nodes.conf, makes the plane, and sets the bus to work. When this is back, the shards
/// have their first views.
pub fn start(host: Host) -> Result<Running<Mail>, String> {
    let generation = host.live.generation();
    let config = host.live.snapshot();
    let (mut file, text) = NodesConf::open(&host.path)?;
    let saved = conf::parse(&text).map_err(|fault| {
        format!("Unrecoverable error: corrupted cluster config file {}: {fault}", host.path)
    })?;
    let setup = Setup {
        conf: config.clone(),
        locals: host.locals,
        addresses: host.addresses,
        formed: host.formed,
        saved,
    };
    let plane = Plane::new(setup, clock::now().ms(), host.seed)?;
    let mut driven = PlaneHost {
        plane,
        live: host.live,
        generation,
        settings: settings(&config),
        to_shards: host.to_shards,
        orders: VecDeque::new(),
        waiting: VecDeque::new(),
    };
    driven
        .begin(&mut file)
        .map_err(|e| format!("Fatal: can't update cluster config file {}: {e}", host.path))?;
    drive::start(Plan { listeners: host.listeners, conf: file, failed: host.failed }, driven)
}

/// How links behave by this configuration.
fn settings(config: &Config) -> Settings {
    let timeout = config.cluster_node_timeout;
    Settings {
        source: config.bind_source_addr.parse().ok(),
        output_limit: config.cluster_link_sendbuf_limit,
        idle_ms: (timeout.saturating_mul(limits::BUS_IDLE_TIMEOUTS)).max(limits::BUS_IDLE_MIN_MS),
        // as Redis has it
        keepalive: timeout / 1000 * 2,
    }
}

struct PlaneHost {
    plane: Plane,
    live: Arc<Live>,
    generation: u64,
    settings: Settings,
    to_shards: ToShards,
    /// What the plane has ordered, and the bus has not taken yet.
    orders: VecDeque<Order>,
    /// Answers that wait for nodes.conf to get so far, in order.
    waiting: VecDeque<(Progress, Reply, Result<Answer, String>)>,
}

impl PlaneHost {
    /// Carries out what the plane begins with: nodes.conf is on the disk before anybody hears of it.
    fn begin(&mut self, file: &mut NodesConf) -> std::io::Result<()> {
        while let Some(order) = self.next_of_plane() {
            match order {
                Order::Save { version, text, .. } => {
                    file.save(&text)?;
                    self.plane.handle_saved(version, clock::now().ms());
                }
                order => self.orders.push_back(order),
            }
        }
        Ok(())
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

impl Driven for PlaneHost {
    type Mail = Mail;

    fn tick(&mut self, now_ms: u64) {
        if self.live.generation() != self.generation {
            self.generation = self.live.generation();
            let config = self.live.snapshot();
            self.settings = settings(&config);
            self.plane.handle_config(config, now_ms);
        }
        self.plane.handle_tick(now_ms);
    }

    fn event(&mut self, event: Event<'_>, now_ms: u64) {
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

    fn mail(&mut self, mail: Mail, links: &Links, now_ms: u64) {
        match mail {
            Mail::Heartbeat { local, beat } => self.plane.handle_heartbeat(local, beat, now_ms),
            Mail::Publish { local, channel, message, sharded } => {
                self.plane.handle_publish(local, &channel, &message, sharded, now_ms);
            }
            Mail::Command { local, command, reply } => {
                let answer = self.plane.handle_command(local, &command, now_ms);
                self.collect();
                let (saved, written) = (self.plane.unsaved(), self.plane.unwritten());
                let needs = Progress { written: written.unwrap_or(0), saved: saved.unwrap_or(0) };
                match needs == Progress::default() {
                    true => reply(answer, &|link| links.unsent(link)),
                    false => self.waiting.push_back((needs, reply, answer)),
                }
            }
        }
    }

    fn saved(&mut self, progress: Progress, links: &Links, now_ms: u64) {
        self.plane.handle_written(progress.written, now_ms);
        self.plane.handle_saved(progress.saved, now_ms);
        self.collect();
        let there = |needs: &Progress| needs.written <= progress.written && needs.saved <= progress.saved;
        while self.waiting.front().is_some_and(|(needs, ..)| there(needs))
            && let Some((_, reply, answer)) = self.waiting.pop_front()
        {
            reply(answer, &|link| links.unsent(link));
        }
    }

    fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front().or_else(|| self.next_of_plane())
    }

    fn settings(&self) -> Settings {
        self.settings.clone()
    }
}
