//! Gives the host its place in a cluster: bus ports, nodes.conf, the plane, and the cores' lines to it.

use crate::cluster::plane::LocalSetup;
use crate::cluster::view::View;
use crate::command::host::Host;
use crate::config::{Config, Topology};
use crate::net::bus::drive::Running;
use crate::net::bus::host::{self, Mail};
use crate::net::bus::join::Joining;
use crate::net::bus::letters::{self, Letterbox};
use crate::net::bus::{self, PORT_INCREMENT};
use crate::net::doors::Ports;
use crate::net::executor::{Event, PlaneLine, Shared};
use crate::net::listen;
use socket2::Socket;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;

/// The bus ports of the local nodes, bound.
pub struct BusPorts {
    ports: Vec<u16>,
    listeners: Vec<(Socket, usize)>,
}

impl BusPorts {
    /// None in a standalone server. `cluster-port` is the first node's; the others' follow it.
    pub fn bind(conf: &Config, ports: &Ports) -> Result<Option<BusPorts>, String> {
        if conf.topology == Topology::Standalone {
            return Ok(None);
        }
        let port = |(i, own): (usize, &u16)| match conf.cluster_port {
            0 => own.checked_add(PORT_INCREMENT),
            first => u16::try_from(first as usize + i).ok(),
        };
        let too_high = || "The cluster bus port number is too high: choose a lower port or cluster-port.";
        let ports: Vec<u16> =
            ports.own.iter().enumerate().map(port).collect::<Option<_>>().ok_or_else(too_high)?;
        let backlog = conf.tcp_backlog.min(i32::MAX as u32) as i32;
        let listeners = bus::listen(&conf.bind.0, &ports, backlog)?;
        Ok(Some(BusPorts { ports, listeners }))
    }
}

/// Letterboxes for the shards, and where they hear of what lies in them.
pub fn letterboxes(shards: usize) -> Result<(Vec<Letterbox>, Vec<UnixStream>), String> {
    let boxes = (0..shards).map(|_| Letterbox::new()).collect::<std::io::Result<Vec<_>>>();
    boxes.map(|boxes| boxes.into_iter().unzip()).map_err(|e| format!("Can't set up the cluster bus: {e}"))
}

/// The plane at work.
pub struct PlaneAtWork {
    running: Running<Mail>,
    bells: std::vec::IntoIter<UnixStream>,
    stop_joining: Arc<AtomicBool>,
}

impl PlaneAtWork {
    /// Reads nodes.conf and starts the bus. The first views, a shard's each, and the plane.
    pub fn start(
        host: &Host,
        bus: BusPorts,
        (shared, bells): (&Arc<Shared>, Vec<UnixStream>),
        events: Sender<Event>,
        seed: u64,
    ) -> Result<(Vec<Arc<View>>, PlaneAtWork), String> {
        let conf = host.live.snapshot();
        let local = |(port, bus_port): (&u16, &u16)| LocalSetup {
            id: None,
            ip: String::new(),
            port: *port,
            bus_port: *bus_port,
        };
        let (to_shards, ring) = (shared.clone(), shared.clone());
        let plan = host::Host {
            live: host.live.clone(),
            path: conf.cluster_config_file.clone(),
            locals: host.own_ports.iter().zip(&bus.ports).map(local).collect(),
            listeners: bus.listeners,
            addresses: listen::addresses(&conf.bind.0),
            formed: conf.topology == Topology::Host && conf.join.0.is_empty(),
            seed,
            to_shards: Box::new(move |effect| letters::deliver(&to_shards.letters, effect)),
            ring: Box::new(move || letters::ring(&ring.letters)),
            failed: Box::new(move |why| drop(events.send(Event::Failed(why)))),
        };
        let running = host::start(plan)?;
        // what the plane has told besides stays, for the shards to take once they run
        let views = shared.letters.iter().map(|letters| letters.view());
        let views = views.map(|view| view.expect("the plane publishes before it starts")).collect();
        let stop_joining = Arc::default();
        let plane = PlaneAtWork { running, bells: bells.into_iter(), stop_joining };
        plane.join(&conf, host.own_ports.len())?;
        Ok((views, plane))
    }

    /// `--join`
    fn join(&self, conf: &Config, locals: usize) -> Result<(), String> {
        if conf.join.0.is_empty() {
            return Ok(());
        }
        let password =
            if conf.masterauth.is_empty() { conf.requirepass.bytes() } else { conf.masterauth.bytes() };
        let joining = Joining {
            targets: conf.join.0.clone(),
            user: conf.masteruser.bytes().to_vec(),
            password: password.to_vec(),
            locals,
            mailbox: self.running.mailbox(),
            stop: self.stop_joining.clone(),
        };
        joining.start().map_err(|e| format!("Can't start to join: {e}"))
    }

    /// The next core's line, in the order of the shards.
    pub fn line(&mut self) -> Option<PlaneLine> {
        Some(PlaneLine { mailbox: self.running.mailbox(), bell: self.bells.next()? })
    }

    pub fn stop(self) {
        self.stop_joining.store(true, std::sync::atomic::Ordering::Relaxed);
        self.running.stop();
    }
}
