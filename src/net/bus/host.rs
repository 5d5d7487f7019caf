//! The plane's desk behind the bus, with nodes.conf and its clock.

use super::drive::{self, Driven, Plan, Running};
use super::links::{Links, Settings};
use super::save::NodesConf;
use super::{Event, Order, Progress};
use crate::cluster::conf;
use crate::cluster::plane::LocalSetup;
use crate::config::{Config, Live};
use crate::limits;
use crate::net::clock;
use crate::shard::desk::{Desk, Fittings};
pub use crate::shard::desk::{Mail, Reply, ToShards};
use socket2::Socket;
use std::collections::VecDeque;
use std::sync::Arc;

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
    /// See [`Driven::ring`].
    pub ring: Box<dyn FnMut() + Send>,
    /// See [`Plan::failed`].
    pub failed: Box<dyn Fn(String) + Send + Sync>,
}

/// Locks and reads nodes.conf, makes the plane, and sets the bus to work. When this is back, the shards
/// have their first views.
pub fn start(host: Host) -> Result<Running<Mail>, String> {
    let (mut file, text) = NodesConf::open(&host.path)?;
    let saved = conf::parse(&text).map_err(|fault| {
        format!("Unrecoverable error: corrupted cluster config file {}: {fault}", host.path)
    })?;
    let fittings = Fittings {
        live: host.live.clone(),
        locals: host.locals,
        addresses: host.addresses,
        formed: host.formed,
        saved,
        seed: host.seed,
        to_shards: host.to_shards,
    };
    let desk = Desk::new(fittings, clock::now().ms())?;
    let mut driven = PlaneHost { desk, live: host.live, ring: host.ring, begun: VecDeque::new() };
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

/// The plane at its desk, behind the bus.
struct PlaneHost {
    desk: Desk,
    live: Arc<Live>,
    ring: Box<dyn FnMut() + Send>,
    /// What it ordered before the bus was there.
    begun: VecDeque<Order>,
}

impl PlaneHost {
    /// Carries out what the plane begins with: nodes.conf is on the disk before anybody hears of it.
    fn begin(&mut self, file: &mut NodesConf) -> std::io::Result<()> {
        while let Some(order) = self.desk.next_order() {
            match order {
                Order::Save { version, text, .. } => {
                    file.save(&text)?;
                    let progress = Progress { written: version, saved: version };
                    self.desk.saved(progress, &|_| 0, clock::now().ms());
                }
                order => self.begun.push_back(order),
            }
        }
        Ok(())
    }
}

impl Driven for PlaneHost {
    type Mail = Mail;

    fn tick(&mut self, now_ms: u64) {
        self.desk.tick(now_ms);
    }

    fn event(&mut self, event: Event<'_>, now_ms: u64) {
        self.desk.event(event, now_ms);
    }

    fn mail(&mut self, mail: Mail, links: &Links, now_ms: u64) {
        self.desk.mail(mail, &|link| links.unsent(link), now_ms);
    }

    fn saved(&mut self, progress: Progress, links: &Links, now_ms: u64) {
        self.desk.saved(progress, &|link| links.unsent(link), now_ms);
    }

    fn next_order(&mut self) -> Option<Order> {
        self.begun.pop_front().or_else(|| self.desk.next_order())
    }

    fn ring(&mut self) {
        (self.ring)();
    }

    fn settings(&self) -> Settings {
        settings(&self.live.snapshot())
    }
}
