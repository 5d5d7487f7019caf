//! A Shoal host: the real plane at its real desk, real shards, and nothing else.

use super::machine::{FRONT, own_port};
use shoal::cluster::conf::Conf;
use shoal::cluster::plane::{Effect, LocalSetup};
use shoal::cluster::slots::SlotSet;
use shoal::cluster::view::View;
use shoal::command::host::{Host, NewFile, OldFile, Outside};
use shoal::config::{Config, ConfigError, Directive};
use shoal::session::Door;
use shoal::shard::desk::{Desk, Fittings, Mail, Order, Progress};
use shoal::shard::plane::{Answered, Letters, Question, deliver};
use shoal::shard::{Now, Setup, Shard, Ticks};
use shoal::slot::Slot;
use shoal::store::Hasher;
use std::sync::{Arc, Mutex};

/// No files.
struct Nothing;

impl Outside for Nothing {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }

    fn write(&self, _: &str, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn create(&self, _: &str) -> Result<Box<dyn NewFile>, String> {
        Err("there are no files".into())
    }

    fn open(&self, _: &str) -> Result<Option<OldFile>, String> {
        Ok(None)
    }

    fn remove(&self, _: &str) {}

    fn configure(&self, _: &Config, _: &Config, _: &[&'static Directive]) -> Result<(), ConfigError> {
        Ok(())
    }

    fn purge(&self) {}

    fn stand_still(&self, _: u64) {}

    fn guess_proof(&self, _: &mut [u8]) -> Result<(), String> {
        Err("there is no chance".into())
    }
}

/// A new view, and the shards that it is for.
pub type Published = (Vec<usize>, Arc<View>);

pub struct ShoalHost {
    pub host: Arc<Host>,
    pub desk: Desk,
    pub count: usize,
    /// None where only the plane is of interest.
    pub shards: Vec<Shard>,
    pub views: Vec<Arc<View>>,
    /// What the plane has for each shard, and whether its bell was rung.
    letters: Vec<Letters>,
    rung: Vec<bool>,
    /// Slots that each shard has been told are lost, and is told next.
    pub lost: Vec<SlotSet>,
    /// What a shard has is still what it copied, though its node is a master: it was reset, and its shard has
    /// not heard of it.
    pub reset: Vec<bool>,
    effects: Arc<Mutex<Vec<Effect>>>,
    answers: Arc<Mutex<Vec<(usize, Answered)>>>,
}

/// What a host is started with.
pub struct Start<'a> {
    pub config: Config,
    pub ip: &'a str,
    pub shards: usize,
    /// The plane without shards.
    pub bare: bool,
    pub saved: Option<Conf>,
    pub seed: u64,
    pub now_ms: u64,
}

fn no_time() -> u64 {
    0
}

impl ShoalHost {
    /// A host, and the nodes.conf that it has written before anybody heard of it.
    pub fn start(start: Start<'_>) -> (ShoalHost, Vec<u8>) {
        let Start { mut config, ip, shards: count, bare, saved, seed, now_ms } = start;
        // there are no files
        config.save.0.clear();
        let mut host = Host::new(config, count, Shard::COMMANDS, Box::new(Nothing));
        host.cluster = true;
        host.run_id = format!("{seed:040x}");
        host.own_ports = (0..count).map(own_port).collect();
        let host = Arc::new(host);
        let local =
            |l| LocalSetup { id: None, ip: String::new(), port: own_port(l), bus_port: own_port(l) + 10_000 };
        let effects: Arc<Mutex<Vec<Effect>>> = Arc::default();
        let heap = effects.clone();
        let fittings = Fittings {
            live: host.live.clone(),
            locals: (0..count).map(local).collect(),
            addresses: vec![ip.to_owned()],
            formed: false,
            saved,
            seed,
            to_shards: Box::new(move |effect| heap.lock().expect("one thread").push(effect)),
        };
        let mut desk = Desk::new(fittings, now_ms).expect("a good setup");
        let mut disk = Vec::new();
        while let Some(order) = desk.next_order() {
            let Order::Save { version, text, .. } = order else {
                panic!("{order:?} before nodes.conf is saved")
            };
            disk = text;
            desk.saved(Progress { written: version, saved: version }, &|_| 0, now_ms);
        }
        let mut this = ShoalHost {
            host: host.clone(),
            desk,
            count,
            shards: Vec::new(),
            views: Vec::new(),
            letters: (0..count).map(|_| Letters::default()).collect(),
            rung: vec![false; count],
            lost: vec![SlotSet::new(); count],
            reset: vec![false; count],
            effects,
            answers: Arc::default(),
        };
        this.post();
        this.rung.fill(false);
        let views = this.letters.iter_mut().map(|letters| letters.view.take());
        this.views = views.map(|view| view.expect("a view at the start")).collect();
        if !bare {
            let setup = |me| Setup {
                me,
                shards: count,
                host: host.clone(),
                view: this.views[me].clone(),
                hasher: Hasher::new(seed),
                databases: 1,
                seed,
                ticks: Ticks { read: no_time, per_us: 1.0 },
            };
            this.shards = (0..count).map(|me| Shard::new(setup(me))).collect();
        }
        (this, disk)
    }

    /// Lays what the plane has decided into the letterboxes. The new views, with the shards that they
    /// are for, and the shards whose bell is to be rung.
    pub fn post(&mut self) -> (Vec<Published>, Vec<usize>) {
        let (mut views, mut bells) = (Vec::new(), Vec::new());
        let effects = std::mem::take(&mut *self.effects.lock().expect("one thread"));
        for effect in effects {
            match &effect {
                Effect::Publish { locals, view } => views.push((locals.clone(), view.clone())),
                Effect::DeleteSlots { local, slots } => self.lost[*local].unite(slots),
                Effect::Flush { local } | Effect::Replicate { local, of: Some(_) } => {
                    self.lost[*local] = SlotSet::all();
                }
                _ => {}
            }
            deliver(effect, |l, change| {
                change(&mut self.letters[l]);
                bells.extend((!std::mem::replace(&mut self.rung[l], true)).then_some(l));
            });
        }
        for (l, answered) in std::mem::take(&mut *self.answers.lock().expect("one thread")) {
            self.letters[l].answers.push(answered);
            bells.extend((!std::mem::replace(&mut self.rung[l], true)).then_some(l));
        }
        (views, bells)
    }

    pub fn take_letters(&mut self, l: usize) -> Letters {
        self.rung[l] = false;
        std::mem::take(&mut self.letters[l])
    }

    /// A shard's questions as mail for the desk.
    pub fn take_questions(&mut self, l: usize) -> Vec<Mail> {
        let answers = &self.answers;
        let mail = |Question { ticket, command }| {
            let answers = answers.clone();
            let reply = move |outcome, unsent: &dyn Fn(_) -> usize| {
                let answered = Answered::new(ticket, outcome, unsent);
                answers.lock().expect("one thread").push((l, answered));
            };
            Mail::Command { local: l, command, reply: Box::new(reply) }
        };
        self.shards[l].take_questions().map(mail).collect()
    }

    /// A client of a shard sends this; its number, or the refusal.
    pub fn open(&mut self, l: usize, front: bool, from: &str, to: &str, now: Now) -> u32 {
        let (door, port) = if front { (Door::Front, FRONT) } else { (Door::Own, own_port(l)) };
        let client = self.shards[l].open(door, format!("{from}:50000"), format!("{to}:{port}"), 9, now);
        client.expect("room for a client")
    }

    /// Whether what a shard has is its node's own, and no copy.
    pub fn is_master(&self, l: usize) -> bool {
        self.views[l].local_node(l).is_master() && !self.reset[l]
    }

    /// The same with their values.
    pub fn strings(&self, l: usize, slots: &[Slot]) -> Vec<(String, Option<String>)> {
        let mut keys = self.keys(l, slots);
        keys.sort_unstable();
        keys.into_iter().map(|key| (key.clone(), self.shards[l].string_of(key.as_bytes()))).collect()
    }

    /// The keys that a shard holds in these slots.
    pub fn keys(&self, l: usize, slots: &[Slot]) -> Vec<String> {
        let keys = slots.iter().flat_map(|slot| self.shards[l].keys_in_slot(*slot));
        keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }
}
