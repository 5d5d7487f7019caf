//! Who owns which slot: claims by packets, old claims corrected, and what losing slots means.

use super::Plane;
use super::effect::{Effect, Source};
use super::group::Publish;
use super::node::Key;
use super::out::Want;
use crate::cluster::slots::SlotSet;
use crate::cluster::view::NodeId;
use crate::cluster::wire::{Header, flag};
use crate::limits;
use crate::slot::Slot;
use std::collections::BTreeMap;

impl Plane {
    /// The slots that a PING, PONG or MEET claims.
    pub(super) fn take_claims(&mut self, l: usize, key: Key, header: &Header) {
        let g = self.locals[l].group;
        self.defend(g, key, header);
        let group = &self.groups[g];
        let node = &group[key];
        let master = if node.is_master() { Some(key) } else { node.master };
        if master.is_none_or(|master| group[master].slots == header.slots) {
            return;
        }
        if node.is_master() {
            self.claim(g, key, header.config_epoch, &header.slots);
        }
        // the other way round: it claims what others have by a newer epoch, and should know
        let group = &self.groups[g];
        let newer = header.slots.iter().find_map(|slot| {
            let owner = group.owner(slot).filter(|owner| *owner != key && !group.unclaimed.contains(slot))?;
            (group[owner].config_epoch > header.config_epoch).then_some(owner)
        });
        if let Some(owner) = newer {
            self.send_update(l, key, owner);
        }
    }

    /// A node claims slots that were taken from it by hand, and by a newer epoch than ours: it got that
    /// before it heard of it, by BUMPEPOCH or because our epochs collided. By the rules the slots would
    /// go back to it, and when it hears next that it has given them away, nobody claims them any more.
    /// Who moves slots by hand means it: our claim becomes the newest. One that has become a replica claims
    /// nothing: the slots in its packets are its master's.
    fn defend(&mut self, g: usize, key: Key, header: &Header) {
        let (now, patience) = (self.now, self.timeout() * limits::IMPORT_KEPT);
        let is_master = self.groups[g][key].is_master();
        let claims = |slot: &Slot| is_master && header.slots.contains(*slot);
        for l in self.members(g) {
            let (group, local) = (&self.groups[g], &mut self.locals[l]);
            if local.taken.is_empty() {
                continue;
            }
            let own = local.key;
            local.taken.retain(|slot, former| {
                if former.owner == key && !claims(slot) {
                    former.gave_up.get_or_insert((header.config_epoch, now + patience));
                }
                group.owner(*slot) == Some(own) && former.gave_up.is_none_or(|(_, until)| now < until)
            });
            let epoch = header.config_epoch;
            let old = |slot: &Slot| claims(slot) && local.defends(*slot, key, epoch);
            let claimed = local.taken.keys().any(old);
            if claimed && epoch >= self.me(l).config_epoch && self.bump_epoch(l) {
                self.broadcast_pong(l, false);
            }
        }
    }

    /// UPDATE: what a third node owns, by a newer epoch than we know.
    pub(super) fn take_update(&mut self, g: usize, epoch: u64, id: &NodeId, slots: &SlotSet) {
        let group = &mut self.groups[g];
        let Some(key) = group.find(id).filter(|key| group[*key].is_foreign()) else { return };
        if group[key].config_epoch >= epoch {
            return;
        }
        group.promote(key);
        group[key].config_epoch = epoch;
        group.current_epoch = group.current_epoch.max(epoch);
        group.publish = Publish::Now;
        self.out.want(Want::First);
        self.claim(g, key, epoch, slots);
    }

    /// A foreign master claims exactly these slots.
    fn claim(&mut self, g: usize, key: Key, epoch: u64, slots: &SlotSet) {
        self.bind(g, key, epoch, slots);
        // what it claims no longer stays with it until somebody else claims it, but it is not told on
        let group = &mut self.groups[g];
        let mut silent = group[key].slots.clone();
        silent.subtract(slots);
        group.unclaimed.unite(&silent);
    }

    /// Binds the slots that a node's epoch entitles it to, and draws the consequences for the local
    /// nodes that lose by it.
    pub(super) fn bind(&mut self, g: usize, key: Key, epoch: u64, slots: &SlotSet) {
        let members = self.members(g);
        let importing: SlotSet =
            members.iter().flat_map(|l| self.locals[*l].importing.keys().copied()).collect();
        let mut lost: BTreeMap<Key, SlotSet> = BTreeMap::new();
        let group = &mut self.groups[g];
        let mut bound = false;
        for slot in slots.iter() {
            let owner = group.owner(slot);
            if owner == Some(key) {
                group.unclaimed.remove(slot);
                continue;
            }
            let newer =
                group.is_unclaimed(slot) || owner.is_some_and(|owner| group[owner].config_epoch < epoch);
            let ours = owner.and_then(|owner| group[owner].local);
            let defended = ours.is_some_and(|l| self.locals[l].defends(slot, key, epoch));
            // a slot that is being imported from another host is closed by hand. A sibling that gives it
            // loses it as anybody would. And one whose owner isn't known, of which Redis's nodes keep
            // saying that the cluster is down, is its that claims it
            let held = importing.contains(slot) && owner.is_some() && ours.is_none();
            if held || defended || !newer {
                continue;
            }
            if let Some(owner) = group.del_slot(slot) {
                lost.entry(owner).or_default().insert(slot);
            }
            group.add_slot(key, slot);
            group.unclaimed.remove(slot);
            bound = true;
        }
        if bound {
            // who forgets it is told again, by its owner's next PING
            self.out.want(Want::Written);
        }
        self.settle_losses(g, key, slots.len(), &lost);
    }

    /// Binds slots to a node by somebody's word, whatever the epochs say.
    pub(super) fn seize(&mut self, g: usize, key: Key, slots: &SlotSet) {
        let mut lost: BTreeMap<Key, SlotSet> = BTreeMap::new();
        let group = &mut self.groups[g];
        for slot in slots.iter().filter(|slot| group.owner(*slot) != Some(key)).collect::<Vec<_>>() {
            if let Some(owner) = group.del_slot(slot) {
                lost.entry(owner).or_default().insert(slot);
            }
            group.add_slot(key, slot);
            group.unclaimed.remove(slot);
        }
        self.settle_losses(g, key, slots.len(), &lost);
    }

    fn settle_losses(&mut self, g: usize, to: Key, claimed: usize, lost: &BTreeMap<Key, SlotSet>) {
        for l in self.members(g) {
            if self.locals[l].key != to {
                self.after_losses(l, to, claimed, lost);
            }
        }
    }

    /// A master that lost its last slot becomes a replica of who took it, and a replica follows; one
    /// that keeps some deletes what it has in the lost ones.
    fn after_losses(&mut self, l: usize, to: Key, claimed: usize, lost: &BTreeMap<Key, SlotSet>) {
        let (group, me, key) = (self.group(l), self.me(l), self.locals[l].key);
        let of = if me.is_master() { Some(key) } else { me.master };
        let all_gone = of.is_some_and(|of| {
            let taken = lost.get(&of).map_or(0, SlotSet::len);
            taken > 0
                && group[of].owned == 0
                && (self.conf.cluster_allow_replica_migration || claimed == taken)
        });
        let grandmaster = me.master.and_then(|master| group[master].master).filter(|grand| *grand != key);
        if all_gone {
            self.set_master(l, to);
        } else if let Some(grandmaster) = grandmaster {
            self.set_master(l, grandmaster);
        } else if let Some(slots) = lost.get(&key) {
            self.out.push(Effect::DeleteSlots { local: l, slots: slots.clone() });
        }
    }

    /// Makes a local node without slots a replica of another node.
    pub(super) fn set_master(&mut self, l: usize, master: Key) {
        let (g, key) = (self.locals[l].group, self.locals[l].key);
        assert!(key != master && self.groups[g][key].owned == 0, "a replica has no slots and is not its own");
        let group = &mut self.groups[g];
        tracing::warn!("shard {l}: reconfiguring myself as a replica of {}", group[master].name());
        if group[key].is_master() {
            group.demote(key);
            self.locals[l].close_slots();
        }
        let group = &mut self.groups[g];
        group.attach(key, master);
        group[key].shard_id = None;
        group[key].flags &= !flag::MIGRATE_TO;
        self.replicate_known_master(l);
        self.reset_manual(l);
        self.out.want(Want::First);
        self.groups[g].restate = true;
        self.wish(g, Publish::Now);
    }

    /// Tells a replica's shard where its master is, as soon as that is known and whenever it changes.
    pub(super) fn replicate_known_master(&mut self, l: usize) {
        let me = self.me(l);
        let Some(master) = me.master.filter(|_| me.is_replica()) else { return };
        let node = &self.group(l)[master];
        if node.has_address() {
            let (ip, port) = (node.address.ip.clone(), node.address.port);
            self.replicate(l, Some(Source { id: node.id, ip, port, local: node.local }));
        }
    }

    pub(super) fn replicate(&mut self, l: usize, of: Option<Source>) {
        if self.locals[l].source != of {
            self.locals[l].source = of.clone();
            self.out.push(Effect::Replicate { local: l, of });
        }
    }
}
