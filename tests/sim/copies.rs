//! Replicas: what they have copied, and what becomes of it when they take their master's place.

use super::history::Stamp;
use super::machine::{Body, own_port};
use super::resp::Value;
use super::world::World;
use shoal::cluster::view::{NodeId, View};
use shoal::cluster::wire::flag;
use shoal::command::host::ReplicaReport;
use shoal::slot::{Slot, key_slot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A shard's memory: machine, core, and which life of the machine.
pub type Copy = (usize, usize, u64);

/// A place in a stream, which is named by the first of its digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub stream: u64,
    pub offset: u64,
}

/// Which stream goes on from which, and where each shard is.
#[derive(Default)]
pub struct Streams {
    from: BTreeMap<u64, Position>,
    /// By machine and core, with the synchronizations that each has given.
    at: BTreeMap<(usize, usize), (Position, [u64; 3])>,
}

impl Streams {
    pub fn at(&self, m: usize, l: usize) -> Position {
        self.at.get(&(m, l)).map_or(Position::default(), |(at, _)| *at)
    }

    /// Whether data that are at `here` have all up to `there`.
    fn includes(&self, mut here: Position, there: Position) -> bool {
        for _ in 0..=self.from.len() {
            if here.stream == there.stream {
                return there.offset <= here.offset;
            }
            match self.from.get(&here.stream) {
                Some(before) => here = *before,
                None => return false,
            }
        }
        unreachable!("no stream goes on from itself")
    }

    pub fn forget(&mut self, m: usize) {
        self.at.retain(|(machine, _), _| *machine != m);
    }
}

/// How CLUSTER FAILOVER was told to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Agreed,
    Force,
    Takeover,
}

/// A replica that has taken its master's place.
pub struct Rise<'a> {
    pub who: Copy,
    at: Position,
    /// Its master has stood still for it, and nobody had told it to take over by force.
    pub agreed: bool,
    forced: bool,
    streams: &'a Streams,
}

impl std::fmt::Debug for Rise<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Rise { who, at, agreed, forced, .. } = self;
        write!(f, "{who:?} at {at:?}, agreed: {agreed}, forced: {forced}")
    }
}

impl Rise<'_> {
    pub fn includes(&self, there: Position) -> bool {
        self.streams.includes(self.at, there)
    }

    pub fn is_elected(&self) -> bool {
        !self.forced
    }
}

/// A slot that a replica has won while its former owner may not know of it.
pub struct Contest {
    heir: Copy,
    /// The heir's shard has taken its part.
    taken_up: bool,
}

/// A replica whose plane has made it a master, and whose shard has not heard of it.
struct Rising {
    agreed: bool,
    forced: bool,
    master: NodeId,
}

#[derive(Default)]
pub struct Copies {
    pub streams: Streams,
    pub contests: BTreeMap<Slot, Contest>,
    rising: BTreeMap<Copy, Rising>,
    /// What each foreign node's slots were.
    foreign: BTreeMap<usize, Vec<Slot>>,
    /// Orders to take over, by the replica, and when they came.
    orders: BTreeMap<(usize, usize), Vec<(u64, Manner)>>,
    /// A replica has taken over without its master's consent: what that had may be lost.
    pub bereft: bool,
}

/// How long an order to take over may have consequences.
const ORDER_MS: u64 = 12_000;

impl World {
    fn copy(&self, m: usize, l: usize) -> Copy {
        (m, l, self.machines[m].life)
    }

    /// Notes where a shard's stream is after something has happened to it.
    pub fn note_stream(&mut self, m: usize, l: usize) {
        let Some(host) = self.machines[m].shoal() else { return };
        let offset = host.shards[l].heartbeat().offset;
        let (at, primary, second, syncs) = {
            let report = host.host.registers.replication(l);
            let number = |id: &str| u64::from_str_radix(&id[..16], 16).expect("hexadecimal digits");
            if report.id.is_empty() {
                return;
            }
            let second =
                report.second.as_ref().map(|(id, upto)| Position { stream: number(id), offset: *upto });
            (Position { stream: number(&report.id), offset }, report.primary.is_some(), second, report.syncs)
        };
        let before = self.copies.streams.at.insert((m, l), (at, syncs));
        let Some((before, old)) = before else { return };
        for (n, mark) in ["replica got everything", "replica went on where it was"].into_iter().enumerate() {
            (old[n]..syncs[n]).for_each(|_| self.marks.hit(mark));
        }
        if primary && before != at {
            self.tell_of(|| format!("{m}.{l} has copied up to {at:?}"));
        }
        if before.stream != at.stream {
            let from = second.or((!primary).then_some(before));
            if let Some(from) = from {
                self.copies.streams.from.insert(at.stream, from);
            }
            self.tell_of(|| format!("{m}.{l} is at {at:?}, from {from:?}"));
        }
    }

    /// What is known of a write that was answered just now.
    pub fn stamp(
        &self,
        (m, l): (usize, usize),
        commands: &[Vec<Vec<u8>>],
        replies: &[Value],
    ) -> Option<Stamp> {
        let write = commands.iter().find(|words| matches!(words[0].as_slice(), b"SET" | b"MSET"))?;
        let host = self.machines[m].shoal()?;
        let slot = key_slot(&write[1]);
        let owner = usize::from(host.views[l].local_owner(slot)?);
        if host.views[owner].migrating(owner, slot).is_some() {
            return None;
        }
        let at = self.copies.streams.at(m, owner);
        let waited = match (commands.last()?[0].as_slice(), replies.last()?) {
            (b"WAIT", Value::Int(n)) => *n as usize,
            _ => 0,
        };
        let report = host.host.registers.replication(owner);
        let all = waited >= report.replicas.len();
        let has = |replica: &&ReplicaReport| waited > 0 && (all || replica.acked >= at.offset);
        let place = |replica: &ReplicaReport| {
            let there = *self.by_ip.get(&replica.address)?;
            Some(self.copy(there, replica.port as usize - own_port(0) as usize))
        };
        let copies = report.replicas.iter().filter(has).filter_map(place).collect();
        Some(Stamp { when: self.now, by: (m, owner), at, copies })
    }

    /// Whether a shard copies another.
    pub fn is_copy(&self, m: usize, l: usize) -> bool {
        self.machines[m].shoal().is_some_and(|host| host.host.registers.replication(l).primary.is_some())
    }

    /// CLUSTER FAILOVER is told to a node.
    pub fn note_order(&mut self, m: usize, l: usize, words: &[Vec<u8>]) {
        let manner = match words.get(2).map(Vec::as_slice) {
            None => Manner::Agreed,
            Some(b"FORCE") => Manner::Force,
            Some(_) => Manner::Takeover,
        };
        self.copies.orders.entry((m, l)).or_default().push((self.now, manner));
    }

    /// Nodes of a host have new views: they may have become masters or replicas by them. Each with the view
    /// before.
    pub fn note_roles(&mut self, m: usize, changed: &[(usize, Arc<View>, Arc<View>)]) {
        for (l, old, new) in changed {
            if old.local_node(*l).is_replica() && new.local_node(*l).is_master() {
                self.rise(m, *l, old, new);
                continue;
            }
            let owns = |view: &View, slot| view.owner_index(slot) == view.local_index(*l);
            let leaves = |view: &View, slot| view.migrating(*l, slot).is_some();
            self.note_gains(|slot| !owns(old, slot) && owns(new, slot) || leaves(new, slot));
        }
        for (l, old, new) in changed {
            if old.local_node(*l).is_master() && new.local_node(*l).is_replica() {
                self.forsake_copy(m, *l);
            }
        }
        self.settle_contests();
    }

    /// Slots have come to a node, but not to a heir of the one that had them, or are on their way: whoever has
    /// copied that one's stream hears in it that keys are gone.
    fn note_gains(&self, gained: impl Fn(Slot) -> bool) {
        for slot in self.slots.iter().copied().filter(|slot| gained(*slot)) {
            let mut history = self.history.borrow_mut();
            history.keys_in(slot).iter().for_each(|key| history.forget_stamps(key, self.now));
        }
    }

    /// The same for a foreign node.
    pub fn note_foreign_gains(&mut self, m: usize) {
        let Some(node) = self.machines[m].redis() else { return };
        let mine: Vec<Slot> =
            self.slots.iter().copied().filter(|s| node.owner(*s) == Some(node.id)).collect();
        let before = self.copies.foreign.insert(m, mine.clone()).unwrap_or_default();
        self.note_gains(|slot| mine.contains(&slot) && !before.contains(&slot));
    }

    /// A replica becomes a master; of slots, if it was elected or told to take over.
    fn rise(&mut self, m: usize, l: usize, old: &View, view: &View) {
        let me = view.local_index(l);
        let won: Vec<Slot> =
            self.slots.iter().copied().filter(|slot| view.owner_index(*slot) == me).collect();
        let Some(master) = old.local_node(l).master.map(|at| &old.nodes[at as usize]) else { return };
        let (master, sibling) = (master.id, master.local);
        if view.ranges(me).is_empty() {
            self.machines[m].shoal_mut().expect("a host with nodes").reset[l] = true;
            return;
        }
        let failed = view.nodes.iter().any(|node| node.id == master && node.flags & flag::FAIL != 0);
        let recent = |(at, _): &&(u64, Manner)| self.now < at + ORDER_MS;
        let orders = self.copies.orders.get(&(m, l)).into_iter().flatten().filter(recent);
        let orders: Vec<Manner> = orders.map(|(_, manner)| *manner).collect();
        let forced = orders.iter().any(|manner| *manner != Manner::Agreed);
        let agreed = !orders.is_empty() && !forced && !failed;
        self.marks.hit(match (agreed, forced) {
            (true, _) => "replica took over by consent",
            (_, true) => "replica took over by force",
            (false, false) => "replica was elected",
        });
        self.copies.bereft |= !agreed;
        let heir = self.copy(m, l);
        self.tell_of(|| format!("{m}.{l} rises, agreed {agreed}, forced {forced}: {won:?}"));
        let siblings = old.open.iter().filter(|open| Some(open.shard) == sibling).map(|open| open.slot);
        self.haunt_open_slots(&master, siblings.collect());
        self.copies.rising.insert(heir, Rising { agreed, forced, master });
        for slot in won {
            self.copies.contests.insert(slot, Contest { heir, taken_up: false });
            self.contest(slot, Some((m, l)));
        }
    }

    /// Nobody but the one that is gone knows that its slots were on their way: who takes its place serves what
    /// is there, as with Redis.
    fn haunt_open_slots(&mut self, master: &NodeId, mut open: Vec<Slot>) {
        for machine in &self.machines {
            match &machine.body {
                Body::Shoal(host) => {
                    for (l, view) in
                        host.views.iter().enumerate().filter(|(l, v)| v.local_node(*l).id == *master)
                    {
                        open.extend(view.open.iter().filter(|o| o.shard as usize == l).map(|o| o.slot));
                    }
                }
                Body::Redis(node) if node.id == *master => open.extend(node.open_slots()),
                Body::Redis(_) => {}
            }
        }
        for slot in open {
            let mut history = self.history.borrow_mut();
            for key in history.keys_in(slot) {
                history.lose(&key);
                history.haunt(&key);
            }
        }
    }

    /// A foreign replica has risen: it takes its part at once.
    pub fn won_by_stranger(&mut self, m: usize, slot: Slot) {
        let heir = self.copy(m, 0);
        self.copies.bereft = true;
        self.copies.contests.insert(slot, Contest { heir, taken_up: true });
        self.contest(slot, Some((m, 0)));
    }

    fn contest(&self, slot: Slot, heir: Option<(usize, usize)>) {
        let mut history = self.history.borrow_mut();
        history.keys_in(slot).iter().for_each(|key| history.contest(key, heir));
    }

    /// The shard of a node that has risen is a primary now: its data are what counts from here on.
    pub fn inherit(&mut self, m: usize, l: usize) {
        let who = self.copy(m, l);
        let Some(Rising { agreed, forced, master }) = self.copies.rising.remove(&who) else { return };
        let at = self.copies.streams.at(m, l);
        let rise = Rise { who, at, agreed, forced, streams: &self.copies.streams };
        let mut won = Vec::new();
        for (slot, contest) in self.copies.contests.iter_mut().filter(|(_, contest)| contest.heir == who) {
            contest.taken_up = true;
            won.push(*slot);
        }
        let host = self.machines[m].shoal().expect("a host with shards");
        let mut lacks = false;
        let mut history = self.history.borrow_mut();
        for key in won.iter().flat_map(|slot| history.keys_in(*slot)).collect::<Vec<_>>() {
            let found = host.shards[l].string_of(key.as_bytes());
            let outcome = history.inherit(&key, found.as_deref(), &rise);
            lacks |= outcome.unwrap_or_else(|why| panic!("at {} ms, seed {}: {why}", self.now, self.seed));
        }
        // what the lost one had in slots of others nobody finds again
        for key in history.adrift_of(&master) {
            history.lose(&key);
            history.haunt(&key);
        }
        drop(history);
        if lacks {
            self.marks.hit("replica lacked what its master had acknowledged");
        }
        self.settle_contests();
    }

    /// Slots that one node claims only are not in doubt any more.
    pub fn settle_contests(&mut self) {
        if self.copies.contests.is_empty() {
            return;
        }
        let over: Vec<Slot> =
            self.copies.contests.iter().filter(|(s, c)| self.is_over(**s, c)).map(|(s, _)| *s).collect();
        for slot in over {
            self.copies.contests.remove(&slot);
            self.contest(slot, None);
        }
    }

    fn is_over(&self, slot: Slot, contest: &Contest) -> bool {
        let (m, l, life) = contest.heir;
        let lives = self.machines[m].up && self.machines[m].life == life;
        !lives || contest.taken_up && self.claims(slot).iter().all(|(_, claimer)| *claimer == (m, l))
    }

    /// The nodes that are up and say that a slot is their own, each with its epoch.
    fn claims(&self, slot: Slot) -> Vec<(u64, (usize, usize))> {
        let mut claims = Vec::new();
        for (m, machine) in self.machines.iter().enumerate().filter(|(_, machine)| machine.up) {
            match &machine.body {
                Body::Shoal(host) => {
                    let own = host.views.iter().enumerate();
                    let own = own.filter(|(l, view)| view.owner_index(slot) == view.local_index(*l));
                    claims.extend(own.map(|(l, view)| (view.local_node(l).config_epoch, (m, l))));
                }
                Body::Redis(node) if node.owner(slot) == Some(node.id) => {
                    let epoch =
                        node.members().find(|(id, ..)| *id == node.id).map_or(0, |(_, epoch, _)| epoch);
                    claims.push((epoch, (m, 0)));
                }
                Body::Redis(_) => {}
            }
        }
        claims
    }

    /// A machine starts again, and still takes for its own what others were given meanwhile: until it has heard of
    /// that, only what they acknowledge counts.
    pub fn doubt_claims(&mut self, m: usize) {
        for slot in self.slots.clone() {
            let claims = self.claims(slot);
            if claims.len() < 2 || claims.iter().all(|(_, (machine, _))| *machine != m) {
                continue;
            }
            let &(_, (heir, l)) = claims.iter().max().expect("there are two");
            let contest = Contest { heir: self.copy(heir, l), taken_up: true };
            if heir != m && !self.copies.contests.contains_key(&slot) {
                self.marks.hit("woke up as the owner of what others own");
                self.copies.contests.insert(slot, contest);
                self.contest(slot, Some((heir, l)));
            }
        }
    }

    /// A master becomes a replica: what it has will be replaced, and must be with somebody else.
    fn forsake_copy(&mut self, m: usize, l: usize) {
        let host = self.machines[m].shoal().expect("a host with shards");
        if host.shards.is_empty() {
            return;
        }
        let keys = host.keys(l, &self.slots);
        let up: Vec<usize> = (0..self.machines.len()).filter(|m| self.machines[*m].up).collect();
        let there: Vec<String> =
            if keys.is_empty() { Vec::new() } else { up.into_iter().flat_map(|m| self.keys_of(m)).collect() };
        for key in keys.iter().filter(|key| !there.contains(key)) {
            self.drop_key(m, key, "dirty slot dropped");
        }
    }

    /// Why replicas don't have what their masters have, if they don't.
    pub fn difference(&self) -> Option<String> {
        for (m, machine) in self.machines.iter().enumerate().filter(|(_, machine)| machine.up) {
            let Some(host) = machine.shoal() else { continue };
            for (l, view) in host.views.iter().enumerate() {
                let node = view.local_node(l);
                let Some(master) = node.master.filter(|_| node.is_replica()) else { continue };
                let master = &view.nodes[master as usize];
                let Some(there) = self.by_ip.get(&master.ip).copied() else { continue };
                let Some(of) = self.machines[there].shoal() else { continue };
                let l2 = (master.port - own_port(0)) as usize;
                let at = [(m, l), (there, l2)].map(|(m, l)| self.copies.streams.at(m, l));
                if at[0] != at[1] {
                    return Some(format!("{m}.{l} is at {:?}, and {there}.{l2} at {:?}", at[0], at[1]));
                }
                let [mine, theirs] = [(host, l), (of, l2)].map(|(host, l)| host.strings(l, &self.slots));
                if mine != theirs {
                    return Some(format!("{m}.{l} has {mine:?}, and {there}.{l2} {theirs:?}"));
                }
            }
        }
        None
    }
}
