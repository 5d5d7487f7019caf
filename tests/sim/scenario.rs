//! One seed: a cluster, its clients and admins, a storm, and the peace after it.

use super::admin::{self, Office};
use super::clients::{self, Work};
use super::keeper;
use super::machine::own_port;
use super::marks::Marks;
use super::script::{Addr, Port};
use super::world::{Event, TIMEOUT, World};
use shoal::cluster::slots::SlotSet;
use shoal::slot::{Slot, key_slot};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Tags whose keys may be anywhere, and tags that only clients of front doors write.
const TAGS: usize = 8;
const FRONT_TAGS: usize = 4;
const STORM_MS: u64 = 9_000;

pub struct Outcome {
    pub marks: Marks,
    pub trace: u64,
    pub acknowledged: u64,
    pub read: u64,
}

struct Run {
    world: World,
    office: Rc<Office>,
    fronts: Rc<RefCell<Vec<Addr>>>,
    /// Nodes that begin with slots, and those that begin as replicas.
    masters: Vec<Addr>,
    spares: Vec<Addr>,
}

fn keys_of(tags: &[String]) -> Vec<String> {
    tags.iter().flat_map(|tag| ["a", "b"].map(|end| format!("{{{tag}}}{end}"))).collect()
}

fn tags(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{kind}{n}")).collect()
}

/// Runs a seed to its end; panics when something is wrong.
pub fn run(seed: u64) -> Outcome {
    let mut run = Run::new(seed);
    run.form();
    run.work();
    run.storm();
    run.settle();
    let Run { mut world, .. } = run;
    if world.checks.refusals() {
        world.marks.hit("vote refused");
    }
    let history = world.history.borrow();
    let (acknowledged, read) = (history.acknowledged, history.read);
    Outcome { marks: world.marks.clone(), trace: world.trace, acknowledged, read }
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut keys = keys_of(&tags("t", TAGS));
        let slots: Vec<Slot> = tags("t", TAGS).iter().map(|tag| key_slot(tag.as_bytes())).collect();
        keys.extend(keys_of(&tags("f", FRONT_TAGS)));
        let mut world = World::new(seed, keys, !seed.is_multiple_of(4));
        let hosts = 2 + world.rng.below(3) as usize;
        let foreign = world.rng.below(3) as usize;
        // most have replicas
        let (replicated, mut spare) = (world.rng.below(4) > 0, Vec::new());
        for n in 0..hosts {
            let shards = if n == 0 { 2 + world.rng.below(2) } else { 1 + world.rng.below(3) };
            spare.push((shards as usize, if replicated { world.rng.below(3) as usize } else { 0 }));
            world.add_host(spare[n].0 + spare[n].1, false);
        }
        (0..foreign).for_each(|_| _ = world.add_foreign());
        let doors = Rc::new(RefCell::new(world.doors()));
        let (mut masters, mut spares) = (Vec::new(), Vec::new());
        for (m, machine) in world.machines.iter().enumerate() {
            let serving = spare.get(m).map_or(1, |(shards, _)| *shards);
            let doors = |range: std::ops::Range<usize>| range.map(|l| Addr::new(&machine.ip, own_port(l)));
            masters.extend(doors(0..serving));
            spares.extend(doors(serving..machine.nodes()));
        }
        let office = Office {
            doors,
            slots,
            foreign: Rc::new(RefCell::new(world.foreign_doors())),
            busy: Rc::default(),
            open: Rc::default(),
            giving: RefCell::default(),
            crossed: RefCell::new(SlotSet::new()),
            leaving: Rc::default(),
            still: Cell::new(false),
            careless: world.harsh,
        };
        let fronts = world.machines.iter().filter(|machine| machine.nodes() > 1);
        let fronts = fronts.map(|machine| admin::front(&machine.ip)).collect();
        Run { world, office: Rc::new(office), fronts: Rc::new(RefCell::new(fronts)), masters, spares }
    }

    fn until_agreed(&mut self, ms: u64, what: &str) {
        let world = &mut self.world;
        let mut polls = 0;
        let agreed = world.until(ms, |world| {
            polls += 1;
            polls % 4 == 0 && world.disagreement().is_none()
        });
        if !agreed {
            let why = world.disagreement().unwrap_or_default();
            panic!("{what}: no agreement within {ms} ms: {why}\n{}", world.show());
        }
    }

    /// Replicas have what their masters have.
    fn until_equal(&mut self, what: &str) {
        if !self.world.until(30 * TIMEOUT, |world| world.difference().is_none()) {
            let why = self.world.difference().unwrap_or_default();
            panic!("{what}: replicas differ, seed {}: {why}\n{}", self.world.seed, self.world.show());
        }
    }

    /// A cluster with replicas, a foreign one among them now and then.
    fn form(&mut self) {
        let (masters, nodes) = (self.masters.len(), [&self.masters[..], &self.spares].concat());
        self.world.perform(10_000, |port| admin::create(port, nodes, masters));
        self.until_agreed(20 * TIMEOUT, "the beginning");
        // nobody copies a foreign node
        let foreign = self.office.foreign.borrow().clone();
        let masters = self.masters.iter().filter(|addr| !foreign.contains(addr)).cloned().collect();
        let spares = self.spares.clone();
        self.world.perform(30_000, |port| keeper::place(port, spares, masters));
        self.until_agreed(20 * TIMEOUT, "replicas");
        self.until_equal("the beginning");
        if !self.world.harsh || self.world.rng.below(2) == 0 {
            return;
        }
        let masters = self.world.machines.iter().filter(|machine| machine.shoal().is_some()).count();
        for _ in 0..=self.world.rng.below(2) {
            let m = self.world.add_foreign();
            let master = self.world.rng.below(masters as u64) as usize;
            let host = self.world.machines[master].shoal().expect("the first ones are hosts");
            let nodes = host.views.iter().enumerate().map(|(l, view)| view.local_node(l));
            let ids: Vec<String> = nodes.filter(|n| n.is_master()).map(|n| n.id().to_owned()).collect();
            let id = ids[self.world.rng.below(ids.len() as u64) as usize].clone();
            let new = Addr::new(&self.world.machines[m].ip, own_port(0));
            let old = self.office.doors.borrow()[0].clone();
            let replica = new.clone();
            self.world.perform(20_000, move |port| async move {
                admin::meet(&port, &new, &old).await;
                while !port.ok(&new, &format!("CLUSTER REPLICATE {id}")).await {
                    port.sleep(200).await;
                }
            });
            self.office.foreign.borrow_mut().push(replica.clone());
            self.office.doors.borrow_mut().push(replica);
        }
        self.until_agreed(20 * TIMEOUT, "replicas");
    }

    fn work(&mut self) {
        let foreign = !self.office.foreign.borrow().is_empty();
        let all = keys_of(&tags("t", TAGS));
        for n in 0..3 {
            let mine = tags("t", TAGS).into_iter().skip(n).step_by(3).collect();
            let (history, doors) = (self.world.history.clone(), self.office.doors.clone());
            let work = Work { history, tags: mine, keys: all.clone(), doors, front: false };
            let home = self.world.rng.below(self.world.machines.len() as u64) as usize;
            self.world.start_script(home, |port| clients::client(port, work));
        }
        let (history, doors) = (self.world.history.clone(), self.fronts.clone());
        let mine = tags("f", FRONT_TAGS);
        let work = Work { history, keys: keys_of(&mine), tags: mine, doors, front: true };
        self.world.start_script(0, |port| clients::client(port, work));
        if !self.spares.is_empty() {
            let office = self.office.clone();
            let home = self.world.rng.below(self.world.machines.len() as u64) as usize;
            self.world.start_script(home, |port| keeper::keeper(port, office));
        }
        // two who move slots at the same time can make Redis's nodes lose keys
        let admins = if !self.world.harsh && foreign { 1 } else { 1 + self.world.rng.below(2) };
        self.world.checks.strict = !self.world.harsh && admins == 1 && self.spares.is_empty();
        for _ in 0..admins {
            let office = self.office.clone();
            let home = self.world.rng.below(self.world.machines.len() as u64) as usize;
            self.world.start_script(home, |port| admin::mover(port, office));
        }
    }

    fn storm(&mut self) {
        self.world.run(1000);
        self.world.stormy = true;
        self.world.later(0, Event::Trouble);
        self.world.later(0, Event::Look);
        let news = self.world.rng.below(3);
        self.world.run(STORM_MS / 3);
        let added = if news == 0 { Some(self.add_host()) } else { None };
        self.world.run(STORM_MS / 3);
        let done = added.map(|m| self.remove_host(m));
        self.world.run(STORM_MS / 3);
        self.world.calm();
        self.world.stop_scripts(120_000);
        if let (Some(m), Some(done)) = (added, done)
            && *done.borrow()
        {
            self.world.marks.hit("host removed");
            self.world.crash(m);
            self.world.lose_adrift(m);
            self.world.machines[m].gone = true;
        }
    }

    /// `redis-cli --cluster add-node`, with a host that has just been started.
    fn add_host(&mut self) -> usize {
        let m = self.world.add_host(1, false);
        let new = Addr::new(&self.world.machines[m].ip, own_port(0));
        let old = self.office.doors.borrow()[0].clone();
        let (world, office) = (&mut self.world, self.office.clone());
        world.marks.hit("host added");
        world.start_script(m, |port: Rc<Port>| async move {
            // until it is known, it is nobody's business
            while !port.stopping.get() && !admin::knows(&port, &old, &new).await {
                admin::meet(&port, &new, &old).await;
                port.sleep(500).await;
            }
            office.doors.borrow_mut().push(new);
        });
        m
    }

    fn remove_host(&mut self, m: usize) -> Rc<RefCell<bool>> {
        let done = Rc::new(RefCell::new(false));
        let leaving = vec![Addr::new(&self.world.machines[m].ip, own_port(0))];
        let (office, flag) = (self.office.clone(), done.clone());
        self.world.start_script(0, |port| admin::remove(port, office, leaving, flag));
        done
    }

    /// Peace: open slots are closed by hand, and everything else comes by itself.
    fn settle(&mut self) {
        // who was removed, or came while nobody heard of it, is known to all or to none
        let ids: Vec<String> =
            self.world.ids().iter().map(|id| String::from_utf8_lossy(id).into_owned()).collect();
        *self.office.doors.borrow_mut() = self.world.doors();
        let office = self.office.clone();
        self.world.run(3 * TIMEOUT);
        self.world.perform(120_000, |port| admin::tidy(port, office, ids));
        let (office, forgot) = (self.office.clone(), self.world.forgot);
        self.world.perform(120_000, |port| admin::fix(port, office, forgot));
        self.until_agreed(60 * TIMEOUT, "peace");
        self.until_equal("peace");
        self.world.look_for_keys();
        let history = self.world.history.clone();
        let keys = history.borrow().keys();
        let work = Work { history, tags: Vec::new(), keys, doors: self.office.doors.clone(), front: false };
        self.world.perform(60_000, |port| clients::read_all(port, work));
    }
}
