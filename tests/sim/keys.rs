//! Where keys are: in a shard, in the mail from one to another, or lost.

use super::machine::Body;
use super::world::{Event, Place, World};
use shoal::cluster::view::View;
use shoal::shard::mail::{Mail, Tables};
use shoal::slot::Slot;
use std::collections::BTreeSet;
use std::sync::Arc;

fn keys_in(tables: &Tables) -> Vec<String> {
    let keys = tables.iter().flatten().flat_map(|table| table.keys());
    keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

/// Keys that are under way from one shard to another.
fn keys_of_mail(mail: &Mail) -> Vec<String> {
    match mail {
        Mail::Handoff(parcel) => keys_in(&parcel.tables),
        Mail::Lend { tables, .. } | Mail::Return { tables, .. } => keys_in(tables),
        _ => Vec::new(),
    }
}

impl World {
    /// A core finds something in its mailbox.
    pub fn open_mail(&mut self, m: usize, l: usize, from: usize, mail: Mail) {
        let now = self.shard_now(m);
        let mut given = Vec::new();
        match &mail {
            Mail::Handoff(_) => given = keys_of_mail(&mail),
            // the borrower keeps them until it has all that it needs
            Mail::Lend { tables, .. } => {
                for table in tables.iter().flatten() {
                    let keys = table.keys().into_iter().map(|key| String::from_utf8_lossy(key).into_owned());
                    self.borrowed.insert((m, table.slot()), keys.collect());
                }
            }
            _ => {}
        }
        self.watching_losses(m, l, given, |world| world.shard(m, l).mail(from, mail, now));
    }

    /// Mail leaves a core.
    pub fn note_mail(&mut self, m: usize, mail: &Mail) {
        match mail {
            Mail::Borrow { .. } => self.marks.hit("command over several shards"),
            Mail::Return { tables, .. } => {
                tables.iter().flatten().for_each(|table| _ = self.borrowed.remove(&(m, table.slot())));
            }
            _ => {}
        }
    }

    /// Does something by which a shard may drop keys of slots that it has lost, and books them: what the
    /// machine had before, with what was `given` to it, and has no more.
    pub fn watching_losses(&mut self, m: usize, l: usize, given: Vec<String>, act: impl FnOnce(&mut World)) {
        let host = self.machines[m].shoal_mut().expect("a host with shards");
        // what a replica has is its master's, and was booked when it became one
        let replica = !host.is_master(l);
        let lost = &mut host.lost[l];
        if replica || self.slots.iter().all(|slot| !lost.contains(*slot)) {
            lost.clear();
        }
        if lost.is_empty() && given.is_empty() {
            act(self);
            return self.settle_core(m, l);
        }
        let slots: Vec<Slot> = self.slots.iter().copied().filter(|slot| lost.contains(*slot)).collect();
        if !given.is_empty() {
            self.marks.hit("keys under way to a sibling");
        }
        let mut before = self.keys_of(m);
        before.extend(given);
        act(self);
        self.settle_core(m, l);
        let after = self.keys_of(m);
        for key in before.iter().filter(|key| !after.contains(key)) {
            self.drop_key(m, key, "dirty slot dropped");
        }
        let host = self.machines[m].shoal_mut().expect("a host with shards");
        if host.keys(l, &slots).is_empty() {
            host.lost[l].clear();
        }
    }

    pub fn drop_key(&mut self, m: usize, key: &str, mark: &'static str) {
        self.tell_of(|| format!("{m} drops {key}"));
        let wrong = self.harsh || self.copies.bereft;
        assert!(wrong, "{key} was dropped by machine {m}, and nothing had gone wrong");
        self.marks.hit(mark);
        self.history.borrow_mut().lose(key);
    }

    /// A foreign replica, which has copied nothing, serves these slots now.
    pub fn lose_slots(&mut self, m: usize, slots: &[Slot]) {
        let won: Vec<Slot> = slots.iter().copied().filter(|slot| self.slots.contains(slot)).collect();
        for slot in won {
            let keys = self.history.borrow().keys_in(slot);
            keys.iter().for_each(|key| self.history.borrow_mut().lose(key));
            self.won_by_stranger(m, slot);
        }
    }

    /// The keys of a machine whose process ends are nowhere, unless a replica of their node takes over.
    pub fn set_adrift(&mut self, m: usize) {
        let ids = self.ids_of(m);
        for key in self.keys_of(m) {
            self.marks.hit("crash of a host with keys");
            let slot = shoal::slot::key_slot(key.as_bytes());
            let holder = self.machines[m].shoal().and_then(|host| {
                let holds = |l: &usize| host.keys(*l, &[slot]).contains(&key);
                let mut masters = (0..host.shards.len()).filter(|l| host.is_master(*l));
                let owner = host.views[0].local_owner(slot).map(usize::from);
                masters.find(holds).or(owner)
            });
            self.history.borrow_mut().set_adrift(&key, ids[holder.unwrap_or(0)]);
        }
    }

    /// It starts with nothing: what it had, and nobody has taken up, is lost.
    pub fn lose_adrift(&mut self, m: usize) {
        for id in self.ids_of(m) {
            let mut history = self.history.borrow_mut();
            history.adrift_of(&id).iter().for_each(|key| history.lose(key));
        }
    }

    /// SETSLOT is answered when it is in nodes.conf, not on the disk, as with Redis. Who forgets in a crash that
    /// a slot was on its way serves it without those keys that had left: until somebody mends that, they are
    /// there, and not found.
    pub fn haunt_forgotten_moves(&self, old: &[Arc<View>], new: &[Arc<View>]) {
        let moves = |view: &View, l, slot| view.migrating(l, slot).is_some();
        for slot in self.slots.iter().copied() {
            let mut nodes = old.iter().zip(new).enumerate();
            if nodes.any(|(l, (old, new))| moves(old, l, slot) && !moves(new, l, slot)) {
                let mut history = self.history.borrow_mut();
                history.keys_in(slot).iter().for_each(|key| history.haunt(key));
            }
        }
    }

    /// All keys that a machine holds as master.
    pub fn keys_of(&self, m: usize) -> Vec<String> {
        let (machine, life) = (&self.machines[m], self.machines[m].life);
        let mut keys: Vec<String> = match &machine.body {
            Body::Redis(node) => return node.keys(),
            Body::Shoal(host) => {
                let masters = (0..host.shards.len()).filter(|l| host.is_master(*l));
                masters.flat_map(|l| host.keys(l, &self.slots)).collect()
            }
        };
        let borrowed = self.borrowed.iter().filter(|((machine, _), _)| *machine == m);
        keys.extend(borrowed.flat_map(|(_, keys)| keys.iter().cloned()));
        for (place, event) in self.queue.values() {
            if let (Place::Machine { m: at, life: then }, Event::Mail { mail, .. }) = (place, event)
                && (*at, *then) == (m, life)
            {
                keys.extend(keys_of_mail(mail));
            }
        }
        keys
    }

    /// A key that was acknowledged, and not lost with a memory, exists somewhere.
    pub fn look_for_keys(&self) {
        let up = (0..self.machines.len()).filter(|m| self.machines[*m].up);
        let there: BTreeSet<String> = up.flat_map(|m| self.keys_of(m)).collect();
        for key in self.history.borrow().kept() {
            assert!(there.contains(&key), "{key} is nowhere\n{}", self.show());
        }
    }
}
