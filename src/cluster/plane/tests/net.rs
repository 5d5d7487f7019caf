//! A network in memory: hosts with planes, links, disks and a clock, all from one seed.
//!
//! Everything that happens is an event with a time; equal seeds give equal runs. Frames of one
//! direction of a link keep their order, whatever their delay.

use crate::cluster::conf;
use crate::cluster::plane::{Answer, Command, Effect, Heartbeat, LinkId, LocalSetup, Plane, Setup, Source};
use crate::cluster::slots::SlotSet;
use crate::cluster::view::View;
use crate::cluster::wire;
use crate::config::Config;
use crate::resp::args::OwnedArgs;
use crate::util::rng::Rng;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The node timeout of all tests, in ms.
pub const TIMEOUT: u64 = 1000;

/// A CLUSTER subcommand for a shard with so many keys, all of them in the slot that is spoken of.
pub fn command(line: &str, keys: u64) -> Command {
    Command { words: OwnedArgs::new(line.split_whitespace()), keys, slot_keys: keys, ..Command::default() }
}

pub struct Host {
    pub plane: Plane,
    pub ip: String,
    pub conf: Arc<Config>,
    locals: Vec<LocalSetup>,
    pub up: bool,
    /// Counts restarts: what was meant for an earlier life is dropped.
    life: u64,
    /// The other end of each link.
    links: BTreeMap<LinkId, End>,
    /// Links that were closed before they were open.
    given_up: BTreeSet<LinkId>,
    /// nodes.conf as it was last synced.
    pub disk: Option<Vec<u8>>,
    /// The version that the disk holds, of this life.
    version: u64,
    pub views: Vec<Option<Arc<View>>>,
    /// What each shard says ten times a second; nothing when it hangs.
    pub beats: Vec<Option<Heartbeat>>,
    pub deleted: Vec<(usize, SlotSet)>,
    pub sources: Vec<Option<Source>>,
    pub delivered: Vec<(usize, Bytes, Bytes, bool)>,
    pub flushed: Vec<usize>,
    pub saves: u64,
    /// Frames that it has sent, and their bytes.
    pub sent: u64,
    pub bytes: u64,
    /// All frames that came, when they are to be kept.
    pub came: Option<Vec<Bytes>>,
}

#[derive(Clone, Copy)]
struct End {
    host: usize,
    link: LinkId,
    /// When the last frame to there arrives.
    last: u64,
}

enum Event {
    Tick,
    Connect { link: LinkId, ip: String, port: u16, from: String, to_host: Option<usize> },
    Accepted { link: LinkId, peer: End, local: usize, from: String, to: String },
    Connected { link: LinkId, peer: End },
    Closed { link: LinkId },
    Frame { link: LinkId, bytes: Bytes },
    Saved { version: u64, text: Vec<u8>, sync: bool },
}

pub struct Net {
    pub now: u64,
    pub rng: Rng,
    pub hosts: Vec<Host>,
    events: BTreeMap<(u64, u64), (usize, u64, Event)>,
    scheduled: u64,
    accepted: u64,
    /// Pairs (from, to) that lose all frames.
    cut: BTreeSet<(usize, usize)>,
    /// Types of packets that get lost.
    pub lost: BTreeSet<u16>,
    /// How long a frame and a save take: at least, and at most so much more.
    pub delay: (u64, u64),
    pub disk_delay: u64,
}

impl Net {
    pub fn new(seed: u64) -> Net {
        Net {
            now: 1_700_000_000_000,
            rng: Rng::new(seed),
            hosts: Vec::new(),
            events: BTreeMap::new(),
            scheduled: 0,
            accepted: 0,
            cut: BTreeSet::new(),
            lost: BTreeSet::new(),
            delay: (1, 5),
            disk_delay: 3,
        }
    }

    /// Hosts of so many shards each, at 10.0.0.1 and so on, empty or formed.
    pub fn of(seed: u64, shards: &[usize], formed: bool) -> Net {
        let mut net = Net::new(seed);
        for count in shards {
            net.add_host(*count, formed, |_| {});
        }
        net
    }

    pub fn add_host(&mut self, shards: usize, formed: bool, configure: impl FnOnce(&mut Config)) -> usize {
        let mut config = Config { cluster_node_timeout: TIMEOUT, ..Config::default() };
        configure(&mut config);
        let (at, conf) = (self.hosts.len(), Arc::new(config));
        let local = |l: usize| LocalSetup {
            id: None,
            ip: String::new(),
            port: 7001 + l as u16,
            bus_port: 17001 + l as u16,
        };
        let locals: Vec<LocalSetup> = (0..shards).map(local).collect();
        let ip = format!("10.0.0.{}", at + 1);
        let plane = self.plane(&conf, &locals, &ip, formed, None);
        self.hosts.push(Host {
            plane,
            ip,
            conf,
            locals,
            up: true,
            life: 0,
            links: BTreeMap::new(),
            given_up: BTreeSet::new(),
            disk: None,
            version: 0,
            views: vec![None; shards],
            beats: vec![Some(Heartbeat::default()); shards],
            deleted: Vec::new(),
            sources: vec![None; shards],
            delivered: Vec::new(),
            flushed: Vec::new(),
            saves: 0,
            sent: 0,
            bytes: 0,
            came: None,
        });
        self.drain(at);
        let phase = self.rng.below(100);
        self.at(phase, at, Event::Tick);
        self.until(1000, "the first view", |net| net.hosts[at].views.iter().all(Option::is_some));
        at
    }

    fn plane(
        &mut self,
        conf: &Arc<Config>,
        locals: &[LocalSetup],
        ip: &str,
        formed: bool,
        saved: Option<conf::Conf>,
    ) -> Plane {
        let (conf, locals, addresses) = (conf.clone(), locals.to_vec(), vec![ip.to_owned()]);
        let setup = Setup { conf, locals, addresses, formed, saved };
        Plane::new(setup, self.now, self.rng.next_u64()).expect("a good setup")
    }

    fn at(&mut self, delay: u64, host: usize, event: Event) {
        self.scheduled += 1;
        let life = self.hosts[host].life;
        self.events.insert((self.now + delay, self.scheduled), (host, life, event));
    }

    fn random_delay(&mut self) -> u64 {
        self.delay.0 + self.rng.below(self.delay.1 + 1)
    }

    /// Lets so many milliseconds pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some((&(at, seq), _)) = self.events.range(..(end + 1, 0)).next() {
            let (host, life, event) = self.events.remove(&(at, seq)).expect("the next event");
            self.now = at;
            if self.hosts[host].life == life && self.hosts[host].up {
                self.happen(host, event);
                self.drain(host);
            }
        }
        self.now = end;
    }

    /// Runs until something holds, in steps; panics when it doesn't within so many milliseconds.
    pub fn until(&mut self, ms: u64, what: &str, holds: impl Fn(&Net) -> bool) {
        let end = self.now + ms;
        while !holds(self) {
            assert!(self.now < end, "{what}: not within {ms} ms\n{}", self.show());
            self.run(10);
        }
    }

    fn happen(&mut self, h: usize, event: Event) {
        let now = self.now;
        let host = &mut self.hosts[h];
        match event {
            Event::Tick => {
                for l in 0..host.beats.len() {
                    if let Some(mut beat) = host.beats[l] {
                        beat.era = host.views[l].as_ref().map_or(0, |view| view.handoff.era);
                        host.plane.handle_heartbeat(l, beat, now);
                    }
                }
                host.plane.handle_tick(now);
                self.at(100, h, Event::Tick);
            }
            Event::Connect { link, ip, port, from, to_host } => self.dial(h, link, &ip, port, from, to_host),
            Event::Accepted { link, peer, local, from, to } => {
                host.links.insert(link, peer);
                host.plane.handle_accepted(link, local, &from, &to, now);
            }
            Event::Connected { link, peer } if host.given_up.remove(&link) => {
                let delay = self.random_delay();
                self.at(delay, peer.host, Event::Closed { link: peer.link });
            }
            Event::Connected { link, peer } => {
                host.links.insert(link, peer);
                host.plane.handle_connected(link, now);
            }
            Event::Closed { link } => {
                if host.links.remove(&link).is_some() {
                    host.plane.handle_closed(link, now);
                }
            }
            Event::Frame { link, bytes } => {
                if host.links.contains_key(&link) {
                    if let Some(came) = &mut host.came {
                        came.push(bytes.clone());
                    }
                    host.plane.handle_frame(link, &bytes, now);
                }
            }
            Event::Saved { version, text, sync } => {
                if version > host.version {
                    (host.disk, host.version) = (Some(text), version);
                }
                match sync {
                    true => host.plane.handle_saved(version, now),
                    false => host.plane.handle_written(version, now),
                }
            }
        }
    }

    /// A connection arrives where it should, or nobody is there.
    fn dial(&mut self, h: usize, link: LinkId, ip: &str, port: u16, from: String, to: Option<usize>) {
        let local = to.and_then(|to| {
            let target = &self.hosts[to];
            let open = target.up && !self.cut.contains(&(h, to)) && !self.cut.contains(&(to, h));
            target.locals.iter().position(|l| l.bus_port == port).filter(|_| open)
        });
        let (Some(to), Some(local)) = (to, local) else {
            self.hosts[h].plane.handle_closed(link, self.now);
            return;
        };
        self.accepted += 1;
        let inbound = LinkId::inbound(self.accepted);
        let delay = self.random_delay();
        let ends = (End { host: h, link, last: 0 }, End { host: to, link: inbound, last: self.now + delay });
        let to_ip = ip.to_owned();
        self.at(delay, to, Event::Accepted { link: inbound, peer: ends.0, local, from, to: to_ip });
        self.at(delay, h, Event::Connected { link, peer: ends.1 });
    }

    /// Carries out what a plane wants.
    pub fn drain(&mut self, h: usize) {
        while let Some(effect) = self.hosts[h].plane.poll() {
            self.carry_out(h, effect);
        }
    }

    fn carry_out(&mut self, h: usize, effect: Effect) {
        let host = &mut self.hosts[h];
        match effect {
            Effect::Connect { link, ip, port, .. } => {
                let from = host.ip.clone();
                let to_host = self.hosts.iter().position(|host| host.ip == ip);
                let delay = self.random_delay();
                self.at(delay, h, Event::Connect { link, ip, port, from, to_host });
            }
            Effect::Close { link } => {
                if let Some(end) = host.links.remove(&link) {
                    let delay = self.random_delay();
                    self.at(delay, end.host, Event::Closed { link: end.link });
                } else if !link.is_inbound() {
                    host.given_up.insert(link);
                }
            }
            Effect::Send { link, bytes } => self.carry(h, link, bytes),
            Effect::Save { version, text, sync } => {
                host.saves += 1;
                // a process that ends leaves what it wrote, synced or not
                let delay = if sync { self.disk_delay } else { 0 };
                self.at(delay, h, Event::Saved { version, text, sync });
            }
            Effect::Publish { locals, view } => {
                for l in locals {
                    let newer = host.views[l].as_ref().is_none_or(|old| old.version < view.version);
                    assert!(newer, "a view never goes back");
                    host.views[l] = Some(view.clone());
                }
            }
            Effect::Deliver { local, channel, message, sharded } => {
                host.delivered.push((local, channel, message, sharded));
            }
            Effect::DeleteSlots { local, slots } => host.deleted.push((local, slots)),
            Effect::Replicate { local, of } => host.sources[local] = of,
            Effect::Flush { local } => host.flushed.push(local),
            Effect::PauseWrites { local, .. } => self.pause(h, local, true),
            Effect::ResumeWrites { local } => self.pause(h, local, false),
        }
    }

    fn carry(&mut self, h: usize, link: LinkId, bytes: Bytes) {
        let delay = self.random_delay();
        let now = self.now;
        let Some(end) = self.hosts[h].links.get_mut(&link) else { return };
        end.last = end.last.max(now + delay);
        let (to, peer, at) = (end.host, end.link, end.last);
        self.hosts[h].sent += 1;
        self.hosts[h].bytes += bytes.len() as u64;
        let lost = wire::kind_of(&bytes).is_some_and(|kind| self.lost.contains(&kind));
        if !lost && !self.cut.contains(&(h, to)) {
            self.at(at - now, to, Event::Frame { link: peer, bytes });
        }
    }

    fn pause(&mut self, h: usize, l: usize, paused: bool) {
        if let Some(beat) = &mut self.hosts[h].beats[l] {
            beat.paused = paused;
        }
    }

    /// Loses all frames between the hosts of two sides, both ways.
    pub fn part(&mut self, one: &[usize], other: &[usize]) {
        for a in one {
            for b in other {
                self.cut.extend([(*a, *b), (*b, *a)]);
            }
        }
    }

    /// Loses what one host sends to another.
    pub fn part_one_way(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Ends a host without a word; its links break.
    pub fn kill(&mut self, h: usize) {
        self.hosts[h].up = false;
        self.hosts[h].life += 1;
        for end in std::mem::take(&mut self.hosts[h].links).into_values() {
            let delay = self.random_delay();
            self.at(delay, end.host, Event::Closed { link: end.link });
        }
    }

    /// Starts a host again with its disk as it was at the last sync.
    pub fn restart(&mut self, h: usize) {
        let saved = self.hosts[h].disk.as_ref().expect("it was saved before");
        let saved = conf::parse(saved).expect("its own file").expect("it is not empty");
        let host = &self.hosts[h];
        let (conf, locals, ip) = (host.conf.clone(), host.locals.clone(), host.ip.clone());
        let plane = self.plane(&conf, &locals, &ip, false, Some(saved));
        let host = &mut self.hosts[h];
        host.plane = plane;
        host.up = true;
        host.version = 0;
        host.views.fill(None);
        self.drain(h);
        self.at(0, h, Event::Tick);
        self.until(1000, "the first view", |net| net.hosts[h].views.iter().all(Option::is_some));
    }

    /// Changes a host's configuration, for now and for its next lives.
    pub fn configure(&mut self, h: usize, change: impl FnOnce(&mut Config)) {
        let mut config = Config::clone(&self.hosts[h].conf);
        change(&mut config);
        self.hosts[h].conf = Arc::new(config);
        if self.hosts[h].up {
            let (conf, now) = (self.hosts[h].conf.clone(), self.now);
            self.hosts[h].plane.handle_config(conf, now);
            self.drain(h);
        }
    }

    /// Links between two hosts that are open, whoever opened them.
    pub fn links_between(&self, a: usize, b: usize) -> usize {
        self.hosts[a].links.values().filter(|end| end.host == b).count()
    }

    /// A CLUSTER subcommand at a shard; its answer as redis-cli would show it.
    pub fn cli(&mut self, h: usize, l: usize, line: &str) -> String {
        self.cli_with(h, l, line, 0)
    }

    /// The same at a shard that has so many keys, all of them in the slot that is spoken of.
    pub fn cli_with(&mut self, h: usize, l: usize, line: &str, keys: u64) -> String {
        let answer = self.hosts[h].plane.handle_command(l, &command(line, keys), self.now);
        self.drain(h);
        // the reply waits for the disk
        while self.hosts[h].plane.unsaved().is_some() || self.hosts[h].plane.unwritten().is_some() {
            self.run(1);
        }
        match answer {
            Ok(Answer::Ok | Answer::Handed(_)) => "OK".into(),
            Ok(Answer::Int(n)) => n.to_string(),
            Ok(Answer::Status(text)) => text,
            Ok(Answer::Id(id)) => String::from_utf8_lossy(&id).into_owned(),
            Ok(Answer::Lines(lines)) => lines.join("\n"),
            Ok(Answer::Links(links)) => links.len().to_string(),
            Err(error) => error,
        }
    }

    /// A command that must succeed.
    pub fn ok(&mut self, h: usize, l: usize, line: &str) {
        assert_eq!(self.cli(h, l, line), "OK", "{line} at {h}.{l}");
    }

    pub fn id(&self, h: usize, l: usize) -> String {
        self.view(h, l).local_node(l).id().to_owned()
    }

    pub fn view(&self, h: usize, l: usize) -> &View {
        self.hosts[h].views[l].as_ref().expect("a view")
    }

    /// All shards of the hosts that are up.
    pub fn shards(&self) -> Vec<(usize, usize)> {
        let up = self.hosts.iter().enumerate().filter(|(_, host)| host.up);
        up.flat_map(|(h, host)| (0..host.views.len()).map(move |l| (h, l))).collect()
    }

    /// Every shard that is up knows so many nodes, owners agree, and all is well.
    pub fn converged(&self, nodes: usize) -> bool {
        let owners = |view: &View| -> Vec<_> {
            (0..crate::slot::SLOTS as u16).map(|slot| view.owner(slot).map(|node| node.id)).collect()
        };
        let views: Vec<&View> = self.shards().into_iter().map(|(h, l)| self.view(h, l)).collect();
        let whole = views.iter().all(|view| view.ok && view.nodes.len() == nodes);
        whole && views[1..].iter().all(|view| owners(view) == owners(views[0]))
    }

    /// Every view, as CLUSTER NODES shows it.
    pub fn show(&self) -> String {
        let mut out = String::new();
        for (h, l) in self.shards() {
            let view = self.view(h, l);
            out += &format!("-- {h}.{l} ok {} epoch {}\n", view.ok, view.current_epoch);
            let slots = view.slots();
            for (at, node) in view.nodes.iter().enumerate() {
                let mut line = view.line(at as u16, l, &node.ip);
                line.slots = slots[at].clone();
                conf::render_node(&line, &mut out);
            }
        }
        out
    }
}
