//! Slots given by hand: ADDSLOTS and the like, SETSLOT.
//!
//! The table of owners is the group's. What Redis's nodes would only change in their own tables, and
//! would change back when they next hear of the owner, is not changed here at all when the owner is a
//! sibling: a node's slots are its own to give.

use super::Plane;
use super::commands::{Outcome, text};
use super::effect::Answer;
use super::local::Former;
use super::node::Key;
use super::out::Want;
use crate::cluster::slots::SlotSet;
use crate::resp::Args;
use crate::slot::{SLOTS, Slot};
use crate::util::num::parse_i64;
use std::collections::BTreeMap;

const NOT_A_MASTER: &str = "ERR Target node is not a master";

fn slot_of(word: &[u8]) -> Result<Slot, String> {
    let slot = parse_i64(word).and_then(|n| usize::try_from(n).ok()).filter(|n| *n < SLOTS);
    slot.map(|n| n as Slot).ok_or_else(|| "ERR Invalid or out of range slot".into())
}

impl Plane {
    /// ADDSLOTS, DELSLOTS.
    pub(super) fn single_slots(&mut self, l: usize, args: Args<'_>, del: bool) -> Outcome {
        let slots = args.from(1).iter().map(slot_of).collect::<Result<Vec<_>, _>>()?;
        let mut set = SlotSet::new();
        for slot in slots {
            self.check_slot(l, slot, del, &mut set)?;
        }
        self.assign(l, &set, del);
        Ok(Answer::Ok)
    }

    /// ADDSLOTSRANGE, DELSLOTSRANGE.
    pub(super) fn slot_ranges(&mut self, l: usize, args: Args<'_>, del: bool) -> Outcome {
        let (pairs, words) = (args.from(1).len() / 2, args.from(1));
        if words.len() % 2 == 1 {
            let name = text(args.at(0)).to_lowercase();
            return Err(format!("ERR wrong number of arguments for 'cluster|{name}' command"));
        }
        let mut set = SlotSet::new();
        for pair in 0..pairs {
            let (from, to) = (slot_of(words.at(pair * 2))?, slot_of(words.at(pair * 2 + 1))?);
            if from > to {
                return Err(format!("ERR start slot number {from} is greater than end slot number {to}"));
            }
            for slot in from..=to {
                self.check_slot(l, slot, del, &mut set)?;
            }
        }
        self.assign(l, &set, del);
        Ok(Answer::Ok)
    }

    fn check_slot(&self, l: usize, slot: Slot, del: bool, set: &mut SlotSet) -> Result<(), String> {
        let owned = self.group(l).owner(slot).is_some();
        // a slot of a sibling in another group is busy, too: one host is in one cluster
        let taken = owned || (0..self.locals.len()).any(|other| self.me(other).slots.contains(slot));
        if del && !owned {
            return Err(format!("ERR Slot {slot} is already unassigned"));
        }
        if !del && taken {
            return Err(format!("ERR Slot {slot} is already busy"));
        }
        match set.insert(slot) {
            true => Ok(()),
            false => Err(format!("ERR Slot {slot} specified multiple times")),
        }
    }

    fn assign(&mut self, l: usize, set: &SlotSet, del: bool) {
        let key = self.locals[l].key;
        for slot in set.iter() {
            self.locals[l].importing.remove(&slot);
            let owner = self.group(l).owner(slot);
            let sibling = owner.is_some_and(|owner| owner != key && self.group(l)[owner].local.is_some());
            match del {
                true if sibling => {}
                true => {
                    self.group_mut(l).del_slot(slot);
                }
                false => self.group_mut(l).add_slot(key, slot),
            }
            self.group_mut(l).unclaimed.remove(slot);
        }
        self.out.want(Want::Written);
    }

    pub(super) fn flush_slots(&mut self, l: usize, keys: u64) -> Outcome {
        if keys != 0 {
            return Err("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.".into());
        }
        let key = self.locals[l].key;
        self.group_mut(l).del_slots_of(key);
        self.out.want(Want::Written);
        Ok(Answer::Ok)
    }

    pub(super) fn set_slot(&mut self, l: usize, args: Args<'_>, keys: u64) -> Outcome {
        if self.me(l).is_replica() {
            return Err("ERR Please use SETSLOT only with masters.".into());
        }
        let slot = slot_of(args.at(1))?;
        let mine = self.group(l).owner(slot) == Some(self.locals[l].key);
        match (args.at(2).to_ascii_lowercase().as_slice(), args.get(3), args.len()) {
            (b"migrating", Some(id), 4) => {
                if !mine {
                    return Err(format!("ERR I'm not the owner of hash slot {slot}"));
                }
                let to = self.peer_of_slot(l, id, "I don't know about node")?;
                self.locals[l].migrating.insert(slot, to);
            }
            (b"importing", Some(id), 4) => {
                if mine {
                    return Err(format!("ERR I'm already the owner of hash slot {slot}"));
                }
                let from = self.peer_of_slot(l, id, "I don't know about node")?;
                self.locals[l].importing.insert(slot, from);
            }
            (b"stable", None, 3) => {
                self.locals[l].importing.remove(&slot);
                self.locals[l].migrating.remove(&slot);
            }
            (b"node", Some(id), 4) => {
                let to = self.peer_of_slot(l, id, "Unknown node")?;
                self.give_slot(l, slot, to, keys)?;
            }
            _ => {
                return Err(
                    "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP".into()
                );
            }
        }
        self.out.want(Want::Written);
        self.group_mut(l).restate = true;
        self.wish_view(l, super::group::Publish::Now);
        Ok(Answer::Ok)
    }

    fn peer_of_slot(&self, l: usize, id: &[u8], unknown: &str) -> Result<Key, String> {
        let key = self.group(l).find(id).ok_or_else(|| format!("ERR {unknown} {}", text(id)))?;
        if self.group(l)[key].is_replica() { Err(NOT_A_MASTER.into()) } else { Ok(key) }
    }

    /// SETSLOT NODE: the slot is that node's now.
    fn give_slot(&mut self, l: usize, slot: Slot, to: Key, keys: u64) -> Result<(), String> {
        let (g, own) = (self.locals[l].group, self.locals[l].key);
        let owner = self.groups[g].owner(slot);
        if owner == Some(own) && to != own && keys != 0 {
            return Err(format!(
                "ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
            ));
        }
        if keys == 0 {
            self.locals[l].migrating.remove(&slot);
        }
        let siblings_own = owner.is_some_and(|owner| owner != own && self.groups[g][owner].local.is_some());
        if !siblings_own || to == own {
            self.hand_over(l, slot, to);
        }
        if to == own && self.locals[l].importing.contains_key(&slot) {
            self.bump_epoch(l);
            self.locals[l].importing.remove(&slot);
            self.broadcast_pong(l, false);
        }
        Ok(())
    }

    /// Slots pass between siblings: whose claims to them are old news is news for the new owner.
    pub(super) fn pass_taken(&mut self, from: usize, to: usize, slots: &SlotSet) {
        let taken = std::mem::take(&mut self.locals[from].taken).into_iter();
        let (mut passed, kept): (BTreeMap<_, _>, _) = taken.partition(|(slot, _)| slots.contains(*slot));
        self.locals[from].taken = kept;
        self.locals[to].taken.append(&mut passed);
    }

    /// Binds one slot to a node, and makes a replica of a master that gave its last one away.
    fn hand_over(&mut self, l: usize, slot: Slot, to: Key) {
        let (g, own) = (self.locals[l].group, self.locals[l].key);
        let owner = self.groups[g].owner(slot);
        if owner == Some(to) {
            return;
        }
        if to == own
            && let Some(sibling) = owner.and_then(|owner| self.groups[g][owner].local)
        {
            // the sibling hears of it as it would by our PONG
            let slot = [slot].into_iter().collect();
            self.seize(g, own, &slot);
            return self.pass_taken(sibling, l, &slot);
        }
        self.groups[g].del_slot(slot);
        self.groups[g].add_slot(to, slot);
        self.groups[g].unclaimed.remove(slot);
        self.locals[l].taken.remove(&slot);
        if let Some(owner) = owner.filter(|_| to == own) {
            self.locals[l].taken.insert(slot, Former { owner, gave_up: None });
        }
        let left = self.me(l).owned == 0 && owner == Some(own);
        if left && self.conf.cluster_allow_replica_migration {
            self.set_master(l, to);
        }
    }
}
