//! Virtual time: what happens next, where, and what follows from it.
//!
//! One thread, one seed. Equal seeds give equal runs, which [`World::trace`] witnesses.

use super::checks::Checks;
use super::copies::Copies;
use super::history::{History, Stamp};
use super::machine::{BUS, Body, Clock, Disk, End, FRONT, Machine, Parcel, own_port};
use super::marks::Marks;
use super::net::{Dial, Net};
use super::redis::RedisNode;
use super::resp;
use super::script::{Addr, Broken, Port, Replies, Script, Wish};
use super::shoal_host::{ShoalHost, Start};
use super::talks::{TalkEvent, Talks};
use shoal::cluster::conf;
use shoal::cluster::plane::LinkId;
use shoal::cluster::slots::SlotSet;
use shoal::cluster::view::View;
use shoal::config::Config;
use shoal::limits;
use shoal::shard::desk::{Event as LinkEvent, Mail, Progress};
use shoal::shard::mail::Mail as SiblingMail;
use shoal::shard::moving::LinkOrder;
use shoal::shard::{Input, Now};
use shoal::slot::Slot;
use shoal::util::rng::Rng;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::rc::Rc;

/// The node timeout, in ms.
pub const TIMEOUT: u64 = 1000;
/// How long a script waits for its replies.
const PATIENCE: u64 = 1500;

pub enum Event {
    /// The plane's, or the foreign node's.
    Tick,
    /// A core's timer.
    Core(usize),
    /// The plane has something for a core.
    Bell(usize),
    Mail {
        to: usize,
        from: usize,
        mail: SiblingMail,
    },
    ToDesk(Mail),
    /// Of a core's talk with a client port elsewhere, at either end.
    Talk(usize, TalkEvent),
    Written,
    Saved,
    Dial(Dial),
    Accepted {
        link: LinkId,
        local: usize,
        from: String,
        to: String,
    },
    Connected(LinkId),
    Refused(LinkId),
    Parcel(LinkId, Parcel),
    /// A script's commands arrive at a machine.
    Call(u64),
    // these are nobody's
    Replied(u64),
    Impatient(u64),
    Awake(usize),
    Restart(usize),
    Trouble,
    Look,
}

impl Event {
    /// The core that it is for.
    fn core(&self, world: &World) -> Option<usize> {
        match self {
            Event::Core(l) | Event::Bell(l) | Event::Mail { to: l, .. } | Event::Talk(l, _) => Some(*l),
            Event::Call(id) => world.calls.get(id).map(|call| call.core),
            _ => None,
        }
    }
}

/// Whom an event is for.
#[derive(Clone, Copy)]
pub enum Place {
    Machine { m: usize, life: u64 },
    World,
}

/// Commands on their way to a node, and their replies.
struct Call {
    script: usize,
    home: usize,
    to: Addr,
    /// The core that accepts it.
    core: usize,
    machine: Option<usize>,
    commands: Vec<Vec<Vec<u8>>>,
    /// The connection, once they have arrived.
    client: Option<u32>,
    out: Vec<u8>,
    replies: Replies,
    stamp: Option<Stamp>,
}

impl Call {
    fn show(&self) -> String {
        let text = |words: &Vec<Vec<u8>>| -> Vec<String> {
            words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
        };
        let commands: Vec<String> = self.commands.iter().map(|words| text(words).join(" ")).collect();
        let replies = match &self.replies {
            Ok(_) if commands[0] == "CLUSTER NODES" => "...".into(),
            replies => format!("{replies:?}"),
        };
        let (ip, port, script) = (&self.to.ip, self.to.port, self.script);
        format!("{script} to {ip}:{port}: {} -> {replies}", commands.join("; "))
    }
}

pub struct World {
    pub seed: u64,
    pub now: u64,
    pub rng: Rng,
    pub machines: Vec<Machine>,
    pub by_ip: BTreeMap<String, usize>,
    pub queue: BTreeMap<(u64, u64), (Place, Event)>,
    scheduled: u64,
    pub net: Net,
    pub talks: Talks,
    calls: BTreeMap<u64, Call>,
    /// By machine, core and connection.
    sessions: BTreeMap<(usize, usize, u32), u64>,
    called: u64,
    scripts: Vec<Script>,
    /// Nodes that listen to one script only.
    held: BTreeMap<usize, usize>,
    pub history: Rc<RefCell<History>>,
    pub slots: Vec<Slot>,
    /// By machine and slot: keys that a shard has borrowed of another.
    pub borrowed: BTreeMap<(usize, Slot), Vec<String>>,
    pub copies: Copies,
    pub checks: Checks,
    pub marks: Marks,
    pub trace: u64,
    /// Faults go on.
    pub stormy: bool,
    /// Faults that cost memory or knowledge are allowed: keys may be lost by the rules.
    pub harsh: bool,
    /// A crash has undone what was in nodes.conf, and not on the disk.
    pub forgot: bool,
    pub config: Config,
    /// Say on stderr what happens.
    telling: bool,
}

impl World {
    pub fn new(seed: u64, keys: Vec<String>, harsh: bool) -> World {
        let history = History::new(keys);
        let slots = history.slots();
        World {
            seed,
            now: 0,
            rng: Rng::new(seed),
            machines: Vec::new(),
            by_ip: BTreeMap::new(),
            queue: BTreeMap::new(),
            scheduled: 0,
            net: Net::new(),
            talks: Talks::default(),
            calls: BTreeMap::new(),
            sessions: BTreeMap::new(),
            called: 0,
            scripts: Vec::new(),
            held: BTreeMap::new(),
            history: Rc::new(RefCell::new(history)),
            slots,
            borrowed: BTreeMap::new(),
            copies: Copies::default(),
            checks: Checks::default(),
            marks: Marks::default(),
            trace: 0,
            stormy: false,
            harsh,
            forgot: false,
            // patience with replicas is as short as with nodes
            config: Config {
                cluster_node_timeout: TIMEOUT,
                repl_timeout: 3,
                repl_ping_replica_period: 1,
                repl_diskless_sync_delay: 0,
                ..Config::default()
            },
            telling: std::env::var_os("SHOAL_TELL").is_some(),
        }
    }

    pub fn tell_of(&self, what: impl FnOnce() -> String) {
        if self.telling {
            eprintln!("{:>7} {}", self.now, what());
        }
    }

    fn push(&mut self, delay: u64, place: Place, event: Event) {
        self.scheduled += 1;
        self.queue.insert((self.now + delay, self.scheduled), (place, event));
    }

    /// Something will happen to a machine, if it lives so long.
    pub fn at(&mut self, delay: u64, m: usize, event: Event) {
        let place = Place::Machine { m, life: self.machines[m].life };
        self.push(delay, place, event);
    }

    /// A parcel arrives at the end of a link, if the process lives that has opened it.
    pub fn deliver(&mut self, delay: u64, end: End, parcel: Parcel) {
        let place = Place::Machine { m: end.machine, life: end.life };
        self.push(delay, place, Event::Parcel(end.link, parcel));
    }

    pub fn later(&mut self, delay: u64, event: Event) {
        self.push(delay, Place::World, event);
    }

    fn note(&mut self, n: u64) {
        self.trace = (self.trace.rotate_left(5) ^ n).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    pub fn note_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.note(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.note(*byte as u64));
    }

    /// Lets so many ms pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some((&(at, seq), _)) = self.queue.first_key_value()
            && at <= end
        {
            let (place, event) = self.queue.remove(&(at, seq)).expect("the next event");
            self.now = at;
            match place {
                Place::World => self.befall(event),
                Place::Machine { m, life } => {
                    let machine = &self.machines[m];
                    if machine.life != life || !machine.up {
                        continue;
                    }
                    let core = event.core(self).and_then(|l| machine.cores.get(l)).copied().unwrap_or(0);
                    match machine.stalled.max(core) {
                        until if until > at => _ = self.queue.insert((until, seq), (place, event)),
                        _ => self.happen(m, event),
                    }
                }
            }
        }
        self.now = end;
    }

    /// Runs until something holds; whether it did within so many ms.
    pub fn until(&mut self, ms: u64, mut holds: impl FnMut(&mut World) -> bool) -> bool {
        let end = self.now + ms;
        loop {
            if holds(self) {
                return true;
            }
            if self.now >= end {
                return false;
            }
            self.run(50);
        }
    }

    pub fn clock(&self, m: usize) -> u64 {
        self.machines[m].clock.show(self.now)
    }

    pub fn shard_now(&self, m: usize) -> Now {
        Now { unix_us: self.clock(m) * 1000 }
    }

    fn happen(&mut self, m: usize, event: Event) {
        self.note(self.now << 8 ^ m as u64);
        match event {
            Event::Tick => {
                let every = self.machines[m].clock.lasts(1000 / limits::TICKS_A_SECOND);
                self.at(every, m, Event::Tick);
                self.beat_for_bare(m);
                let now = self.clock(m);
                match &mut self.machines[m].body {
                    Body::Shoal(host) => host.desk.tick(now),
                    Body::Redis(node) => node.tick(now),
                }
                self.settle(m);
            }
            Event::Core(l) => self.core_tick(m, l),
            Event::Bell(l) => self.bell(m, l),
            Event::Mail { to, from, mail } => self.open_mail(m, to, from, mail),
            Event::Talk(l, event) => self.hear_talk(m, l, event),
            Event::ToDesk(mail) => {
                let now = self.clock(m);
                if let Some(host) = self.machines[m].shoal_mut() {
                    host.desk.mail(mail, &|_| 0, now);
                }
                self.settle(m);
            }
            Event::Written => self.written(m),
            Event::Saved => self.saved(m),
            Event::Dial(dial) => self.dial(m, dial),
            Event::Accepted { link, local, from, to } => {
                if self.machines[m].links.contains_key(&link) {
                    self.tell(m, LinkEvent::Accepted { link, local, peer_ip: from, local_ip: to });
                }
            }
            Event::Connected(link) => {
                if self.machines[m].links.contains_key(&link) {
                    self.tell(m, LinkEvent::Connected { link });
                }
            }
            Event::Refused(link) => self.tell(m, LinkEvent::Closed { link, exceeded: false }),
            Event::Parcel(link, parcel) => self.parcel(m, link, parcel),
            Event::Call(id) => self.arrive(m, id),
            _ => unreachable!("nobody's event at a machine"),
        }
    }

    fn befall(&mut self, event: Event) {
        match event {
            Event::Replied(id) => {
                if let Some(call) = self.calls.remove(&id) {
                    self.tell_of(|| call.show());
                    self.scripts[call.script].port.stamp.replace(call.stamp);
                    self.wake(call.script, call.replies);
                }
            }
            Event::Impatient(id) => self.give_up(id),
            Event::Awake(script) => self.wake(script, Ok(Vec::new())),
            Event::Restart(m) => self.restart(m),
            Event::Trouble => self.trouble(),
            Event::Look => {
                self.look_for_keys();
                self.later(700, Event::Look);
            }
            _ => unreachable!("a machine's event"),
        }
    }

    // machines

    /// A machine with a Shoal host of so many shards; `bare` without the shards themselves.
    pub fn add_host(&mut self, shards: usize, bare: bool) -> usize {
        self.add_host_with(shards, bare, None)
    }

    /// The same with a nodes.conf.
    pub fn add_host_with(&mut self, shards: usize, bare: bool, saved: Option<conf::Conf>) -> usize {
        let clock = self.some_clock();
        let (m, now_ms, seed) = (self.machines.len(), clock.show(self.now), self.rng.next_u64());
        let ip = format!("10.0.{}.{}", m / 200, m % 200 + 1);
        let config = self.config_of(m);
        let start = Start { config, ip: &ip, shards, bare, saved, seed, now_ms };
        let (host, disk) = ShoalHost::start(start);
        self.add_machine(ip, clock, Body::Shoal(Box::new(host)), Some(disk))
    }

    /// Mostly hosts have one link pair with each other. In some runs none of them has, in some not all.
    fn config_of(&self, m: usize) -> Config {
        let cluster_host_links = match self.seed % 5 {
            3 => false,
            4 => m.is_multiple_of(2),
            _ => self.config.cluster_host_links,
        };
        Config { cluster_host_links, ..self.config.clone() }
    }

    /// A machine with one node that keeps Redis's rules.
    pub fn add_foreign(&mut self) -> usize {
        let clock = self.some_clock();
        let ip = format!("10.0.{}.{}", self.machines.len() / 200, self.machines.len() % 200 + 1);
        let address = (ip.as_str(), own_port(0), own_port(0) + BUS);
        let node = RedisNode::new(address, self.config.cluster_node_timeout, self.rng.next_u64());
        self.add_machine(ip, clock, Body::Redis(Box::new(node)), None)
    }

    fn some_clock(&mut self) -> Clock {
        let (rate, ahead) = (990 + self.rng.below(21), self.rng.below(2000));
        Clock::new(rate, ahead, self.now)
    }

    fn add_machine(&mut self, ip: String, clock: Clock, body: Body, text: Option<Vec<u8>>) -> usize {
        let m = self.machines.len();
        self.by_ip.insert(ip.clone(), m);
        self.machines.push(Machine {
            ip,
            up: true,
            gone: false,
            life: 0,
            clock,
            stalled: 0,
            cores: Vec::new(),
            links: BTreeMap::new(),
            dialing: BTreeSet::new(),
            accepted: 0,
            disk: Disk { text, ..Disk::default() },
            body,
            packets: 0,
            bytes: 0,
        });
        self.begin(m);
        m
    }

    /// Sets a started machine to work.
    fn begin(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        let cores = machine.shoal().map_or(0, |host| host.shards.len());
        machine.cores = vec![0; cores];
        let views = machine.shoal().map(|host| host.views.clone()).unwrap_or_default();
        for (l, view) in views.iter().enumerate() {
            self.checks.start_view(m, l, view);
        }
        for l in 0..cores {
            let phase = self.rng.below(100);
            self.at(phase, m, Event::Core(l));
        }
        let phase = self.rng.below(100);
        self.at(phase, m, Event::Tick);
        self.settle(m);
    }

    /// The process ends without a word, and its memory is gone.
    pub fn crash(&mut self, m: usize) {
        self.tell_of(|| format!("{m} crashes"));
        self.set_adrift(m);
        let machine = &mut self.machines[m];
        let views = machine.shoal().map(|host| host.views.clone()).unwrap_or_default();
        let open = |importing| views.iter().any(|view| view.open.iter().any(|o| o.importing == importing));
        let (exporting, importing) = (open(false), open(true));
        if machine.disk.writing.is_some() {
            self.marks.hit("crash lost a save");
        }
        exporting.then(|| self.marks.hit("crash while exporting"));
        importing.then(|| self.marks.hit("crash while importing"));
        // a write that was under way may have reached the disk, the one behind it has not
        let torn = self.rng.below(2) == 0;
        let machine = &mut self.machines[m];
        let disk = std::mem::take(&mut machine.disk);
        let newest = disk.writing.map(|(_, text)| text).or(disk.cached);
        self.forgot |= newest.is_some() && !torn;
        machine.disk.text = newest.filter(|_| torn).or(disk.text);
        machine.up = false;
        machine.life += 1;
        machine.stalled = 0;
        self.break_links(m);
        self.break_talks(m);
        self.borrowed.retain(|(machine, _), _| *machine != m);
        let broken: Vec<u64> =
            self.calls.iter().filter(|(_, call)| call.machine == Some(m)).map(|(id, _)| *id).collect();
        for id in broken {
            let call = self.calls.get_mut(&id).expect("it was found");
            if call.client.is_some() {
                call.replies = Err(Broken::Lost);
            }
            self.later(1, Event::Replied(id));
        }
        self.sessions.retain(|(machine, ..), _| *machine != m);
        self.copies.streams.forget(m);
        self.settle_contests();
    }

    /// It starts again with its disk as it is.
    pub fn restart(&mut self, m: usize) {
        let machine = &self.machines[m];
        if machine.up || machine.gone {
            return;
        }
        let (seed, now_ms) = (self.rng.next_u64(), self.clock(m));
        let body = match &machine.body {
            Body::Redis(node) => Body::Redis(Box::new(node.restart(seed))),
            Body::Shoal(host) => {
                let text = machine.disk.text.as_ref().expect("it was saved at the start");
                let saved = conf::parse(text).expect("its own file");
                let (config, ip) = (self.config_of(m), machine.ip.as_str());
                let (shards, bare) = (host.count, host.shards.is_empty());
                let old = host.views.clone();
                let (host, disk) = ShoalHost::start(Start { config, ip, shards, bare, saved, seed, now_ms });
                self.haunt_forgotten_moves(&old, &host.views);
                self.machines[m].disk.text = Some(disk);
                Body::Shoal(Box::new(host))
            }
        };
        self.tell_of(|| format!("{m} starts again"));
        self.lose_adrift(m);
        self.machines[m].body = body;
        self.machines[m].up = true;
        self.doubt_claims(m);
        self.begin(m);
    }

    pub fn save(&mut self, m: usize, version: u64, text: Vec<u8>, sync: bool) {
        let disk = &mut self.machines[m].disk;
        match disk.writing {
            None if !sync => {
                disk.cached = Some(text);
                disk.progress.written = version;
                self.at(0, m, Event::Written);
            }
            Some(_) => disk.waiting = Some((version, text)),
            None => {
                disk.writing = Some((version, text));
                let delay = 1 + self.rng.below(self.net.weather.disk);
                self.at(delay, m, Event::Saved);
            }
        }
    }

    fn saved(&mut self, m: usize) {
        let disk = &mut self.machines[m].disk;
        let (version, text) = disk.writing.take().expect("a save was under way");
        disk.text = Some(text);
        disk.cached = None;
        disk.progress = Progress { written: version, saved: version };
        if let Some((version, text)) = disk.waiting.take() {
            self.save(m, version, text, true);
        }
        self.written(m);
    }

    fn written(&mut self, m: usize) {
        let (now, progress) = (self.clock(m), self.machines[m].disk.progress);
        if let Some(host) = self.machines[m].shoal_mut() {
            host.desk.saved(progress, &|_| 0, now);
        }
        self.settle(m);
    }

    pub fn shard(&mut self, m: usize, l: usize) -> &mut shoal::shard::Shard {
        &mut self.machines[m].shoal_mut().expect("a host with shards").shards[l]
    }

    fn core_tick(&mut self, m: usize, l: usize) {
        let every = self.machines[m].clock.lasts(1000 / limits::TICKS_A_SECOND);
        self.at(every, m, Event::Core(l));
        let now = self.shard_now(m);
        self.watching_losses(m, l, Vec::new(), |world| world.shard(m, l).tick(now));
        self.beat(m, l);
    }

    fn beat(&mut self, m: usize, l: usize) {
        let beat = self.shard(m, l).heartbeat();
        self.at(0, m, Event::ToDesk(Mail::Heartbeat { local: l, beat }));
    }

    /// Hosts without shards have nobody else to say that all is well.
    fn beat_for_bare(&mut self, m: usize) {
        let now = self.clock(m);
        let Some(host) = self.machines[m].shoal_mut().filter(|host| host.shards.is_empty()) else { return };
        for local in 0..host.count {
            host.desk.mail(Mail::Heartbeat { local, beat: Default::default() }, &|_| 0, now);
        }
    }

    fn bell(&mut self, m: usize, l: usize) {
        let now = self.shard_now(m);
        let Some(host) = self.machines[m].shoal_mut() else { return };
        let letters = host.take_letters(l);
        if host.shards.is_empty() {
            return;
        }
        self.watching_losses(m, l, Vec::new(), |world| world.shard(m, l).letters(letters, now));
        self.machines[m].shoal_mut().expect("a host").reset[l] = false;
        if !self.is_copy(m, l) {
            self.inherit(m, l);
        }
    }

    fn tell(&mut self, m: usize, event: LinkEvent<'_>) {
        let now = self.clock(m);
        match &mut self.machines[m].body {
            Body::Shoal(host) => host.desk.event(event, now),
            Body::Redis(node) => node.event(event, now),
        }
        self.settle(m);
    }

    fn parcel(&mut self, m: usize, link: LinkId, parcel: Parcel) {
        if !self.machines[m].links.contains_key(&link) {
            return;
        }
        match parcel {
            Parcel::Frame(bytes) => {
                self.note_bytes(&bytes);
                self.checks.overhear(m, &bytes, self.now, &mut self.marks);
                self.tell(m, LinkEvent::Frame { link, frame: &bytes });
            }
            Parcel::End => {
                self.machines[m].links.remove(&link);
                self.tell(m, LinkEvent::Closed { link, exceeded: false });
            }
        }
    }

    /// Carries out what a plane, or a foreign node, has decided.
    fn settle(&mut self, m: usize) {
        loop {
            let order = match &mut self.machines[m].body {
                Body::Shoal(host) => host.desk.next_order(),
                Body::Redis(node) => node.next_order(),
            };
            let Some(order) = order else { break };
            self.carry_out(m, order);
        }
        match &mut self.machines[m].body {
            Body::Shoal(host) => {
                let before: usize = host.lost.iter().map(SlotSet::len).sum();
                let (views, bells) = host.post();
                if host.lost.iter().map(SlotSet::len).sum::<usize>() > before {
                    self.marks.hit("slot lost to a newer epoch");
                }
                let mut changed = Vec::new();
                for (locals, view) in views {
                    for l in locals {
                        let old = self.machines[m].shoal_mut().expect("a host").views[l].clone();
                        self.tell_of_view(m, l, &old, &view);
                        self.machines[m].shoal_mut().expect("a host").views[l] = view.clone();
                        self.checks.see(m, l, &view, &mut self.marks);
                        changed.push((l, old, view.clone()));
                    }
                    self.note(view.version ^ view.current_epoch << 32);
                }
                self.note_roles(m, &changed);
                for l in bells {
                    let delay = self.rng.below(2);
                    self.at(delay, m, Event::Bell(l));
                }
            }
            Body::Redis(node) => {
                let (dropped, marks) = (std::mem::take(&mut node.dropped), std::mem::take(&mut node.marks));
                let won = std::mem::take(&mut node.won);
                dropped.iter().for_each(|key| self.drop_key(m, key, "dirty slot dropped"));
                self.lose_slots(m, &won);
                marks.into_iter().for_each(|mark| self.marks.hit(mark));
                let node = self.machines[m].redis().expect("a foreign node");
                if !won.is_empty() {
                    self.checks.elect(node.config_epoch(), node.id);
                }
                self.checks.see_foreign(node, &mut self.marks);
                self.note_foreign_gains(m);
                self.settle_contests();
            }
        }
    }

    fn tell_of_view(&self, m: usize, l: usize, old: &View, new: &View) {
        let (was, is) = (old.local_node(l), new.local_node(l));
        if was.config_epoch != is.config_epoch || was.flags != is.flags {
            let (epoch, flags) = (is.config_epoch, is.flags);
            self.tell_of(|| format!("{m}.{l} is at epoch {epoch}, flags {flags}"));
        }
        for slot in self.slots.iter().copied().filter(|_| self.telling) {
            let id = |view: &View| view.owner(slot).map_or("nobody".into(), |node| node.id()[..6].to_owned());
            if id(old) != id(new) {
                self.tell_of(|| format!("{m}.{l} sees {slot} move from {} to {}", id(old), id(new)));
            }
        }
    }

    /// Takes from a core what its last turn has left: mail, questions, output. When its output has left, there
    /// may be more.
    pub fn settle_core(&mut self, m: usize, l: usize) {
        while self.take_leavings(m, l) {}
    }

    fn take_leavings(&mut self, m: usize, l: usize) -> bool {
        let now = self.shard_now(m);
        let shard = self.shard(m, l);
        while shard.has_chores() {
            shard.chores(now);
        }
        drop(shard.take_garbage());
        let mail: Vec<(usize, SiblingMail)> = shard.take_mail().collect();
        let orders: Vec<LinkOrder> = shard.take_link_orders().collect();
        let mut news = Vec::new();
        shard.take_news(&mut news);
        if shard.beats_early() {
            self.beat(m, l);
        }
        for (to, mail) in mail {
            self.note_mail(m, &mail);
            self.at(0, m, Event::Mail { to, from: l, mail });
        }
        let host = self.machines[m].shoal_mut().expect("a host with shards");
        for mail in host.take_questions(l) {
            self.at(0, m, Event::ToDesk(mail));
        }
        self.note_stream(m, l);
        let more = !news.is_empty();
        for client in news {
            self.take_output(m, l, client);
        }
        orders.into_iter().for_each(|order| self.order_talk(m, l, order));
        more
    }

    // calls

    fn take_output(&mut self, m: usize, l: usize, client: u32) {
        let mut out = Vec::new();
        let shard = self.shard(m, l);
        if shard.take_output(client, &mut out) {
            shard.sent(client);
        }
        let over = shard.is_done(client);
        if let Some(source) = self.talks.source(m, l, client) {
            self.answer_talk(source, out);
            return if over {
                self.end_talk(source)
            };
        }
        let Some(&id) = self.sessions.get(&(m, l, client)) else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.out.extend_from_slice(&out);
        let replies = resp::parse_all(&call.out);
        if replies.len() < call.commands.len() {
            return;
        }
        let stamp = self.stamp((m, l), &self.calls[&id].commands, &replies);
        let call = self.calls.get_mut(&id).expect("it is there");
        (call.replies, call.stamp) = (Ok(replies), stamp);
        let bytes = std::mem::take(&mut call.out);
        self.note_bytes(&bytes);
        self.sessions.remove(&(m, l, client));
        self.shard(m, l).close(client);
        self.reply_from(m, id);
    }

    /// The replies leave; who knows whether they arrive.
    fn reply_from(&mut self, m: usize, id: u64) {
        let home = self.calls[&id].home;
        if !self.net.is_cut(m, home) {
            let delay = self.delay();
            self.later(delay, Event::Replied(id));
        }
    }

    /// Where a client port leads.
    pub fn find(&self, to: &Addr) -> Option<usize> {
        let m = *self.by_ip.get(&to.ip)?;
        let front = to.port == FRONT && self.machines[m].nodes() > 1;
        let own = (0..self.machines[m].nodes()).any(|l| own_port(l) == to.port);
        (front || own).then_some(m)
    }

    fn call(&mut self, script: usize, to: Addr, commands: Vec<Vec<Vec<u8>>>) {
        self.called += 1;
        let (id, home) = (self.called, self.scripts[script].port.home.get());
        let machine = self.find(&to).filter(|m| self.machines[*m].up);
        let replies = Err(Broken::Refused);
        let (client, out) = (None, Vec::new());
        let core = match to.port {
            FRONT => self.rng.below(machine.map_or(1, |m| self.machines[m].nodes() as u64)) as usize,
            own => own.saturating_sub(own_port(0)) as usize,
        };
        let call = Call { script, home, to, core, machine, commands, client, out, replies, stamp: None };
        self.calls.insert(id, call);
        self.later(PATIENCE, Event::Impatient(id));
        let delay = self.delay();
        match machine {
            Some(m) if self.net.is_cut(home, m) => {}
            Some(m) => self.at(delay, m, Event::Call(id)),
            None => self.later(delay, Event::Replied(id)),
        }
    }

    fn give_up(&mut self, id: u64) {
        let Some(call) = self.calls.remove(&id) else { return };
        self.tell_of(|| format!("given up: {}", call.show()));
        let mut replies = Err(Broken::Refused);
        if let (Some(client), Some(m)) = (call.client, call.machine) {
            replies = Err(Broken::Lost);
            self.marks.hit("client lost its answer");
            let key = (m, call.core, client);
            if self.sessions.remove(&key).is_some() {
                self.shard(m, call.core).close(client);
            }
        }
        self.wake(call.script, replies);
    }

    fn arrive(&mut self, m: usize, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if self.held.get(&m).is_some_and(|script| *script != call.script) {
            return self.at(1, m, Event::Call(id));
        }
        let mut bytes = Vec::new();
        call.commands.iter().for_each(|command| resp::request(command, &mut bytes));
        if let [cluster, forget, id] = &call.commands[0][..]
            && (&cluster[..], &forget[..]) == (b"CLUSTER", b"FORGET")
        {
            self.checks.forget(m, id, self.now + limits::FORGOTTEN_MS);
        }
        let call = self.calls.get_mut(&id).expect("it is there");
        let (l, front) = (call.core, call.to.port == FRONT);
        if let [cluster, failover, ..] = &call.commands[0][..]
            && (&cluster[..], &failover[..]) == (b"CLUSTER", b"FAILOVER")
        {
            let words = call.commands[0].clone();
            self.note_order(m, l, &words);
        }
        let call = self.calls.get_mut(&id).expect("it is there");
        let home = call.home;
        let (now, now_ms) = (self.shard_now(m), self.clock(m));
        let home = self.machines[home].ip.clone();
        let call = self.calls.get_mut(&id).expect("it is there");
        let machine = &mut self.machines[m];
        match &mut machine.body {
            Body::Redis(node) => {
                call.client = Some(0);
                call.replies = Ok(node.serve(&call.commands, now_ms));
                self.reply_from(m, id);
                self.settle(m);
            }
            Body::Shoal(host) => {
                let client = host.open(l, front, &home, &machine.ip, now);
                call.client = Some(client);
                self.sessions.insert((m, l, client), id);
                self.shard(m, l).turn(&mut [Input::new(client, &bytes)], now);
                self.settle_core(m, l);
            }
        }
    }

    // scripts

    pub fn start_script<F: Future<Output = ()> + 'static>(
        &mut self,
        home: usize,
        script: impl FnOnce(Rc<Port>) -> F,
    ) -> usize {
        let port = Port::new(home, Rng::new(self.rng.next_u64()));
        self.scripts.push(Script::new(port.clone(), script(port)));
        let number = self.scripts.len() - 1;
        self.later(0, Event::Awake(number));
        number
    }

    /// Runs one script to its end.
    pub fn perform<F: Future<Output = ()> + 'static>(&mut self, ms: u64, script: impl FnOnce(Rc<Port>) -> F) {
        let home = self.machines.iter().position(|machine| machine.up).expect("somebody is up");
        let number = self.start_script(home, script);
        let over = self.until(ms, |world| world.scripts[number].is_over());
        assert!(over, "a script has not come to its end within {ms} ms\n{}", self.show());
    }

    /// All scripts come to their ends.
    pub fn stop_scripts(&mut self, ms: u64) {
        self.scripts.iter().for_each(|script| script.port.stopping.set(true));
        let over = self.until(ms, |world| world.scripts.iter().all(Script::is_over));
        assert!(over, "scripts have not come to their ends within {ms} ms");
    }

    fn wake(&mut self, script: usize, replies: Replies) {
        let port = self.scripts[script].port.clone();
        port.fulfil(replies);
        loop {
            self.scripts[script].step();
            let wishes = std::mem::take(&mut *port.wishes.borrow_mut());
            let mut go_on = false;
            for wish in wishes {
                match wish {
                    Wish::Sleep(ms) => self.later(ms, Event::Awake(script)),
                    Wish::Call { to, commands } => self.call(script, to, commands),
                    Wish::Hold(addr, hold) => {
                        let done = self.hold(script, &addr, hold);
                        port.fulfil(if done { Ok(Vec::new()) } else { Err(Broken::Refused) });
                        go_on = true;
                    }
                    Wish::Mark(mark) => self.marks.hit(mark),
                }
            }
            if !go_on {
                return;
            }
        }
    }

    /// Whether the node listens to nobody but this script now; or to all again.
    fn hold(&mut self, script: usize, addr: &Addr, hold: bool) -> bool {
        let Some(m) = self.find(addr) else { return true };
        match hold {
            true => *self.held.entry(m).or_insert(script) == script,
            false => {
                if self.held.get(&m) == Some(&script) {
                    self.held.remove(&m);
                }
                true
            }
        }
    }
}
