//! Slots, epochs and failures, as a foreign node sees them.

use super::node::RedisNode;
use shoal::cluster::slots::SlotSet;
use shoal::cluster::view::NodeId;
use shoal::cluster::wire::{Header, Message, flag};
use shoal::slot::{SLOTS, Slot, key_slot};

impl RedisNode {
    pub(super) fn slots_of(&self, id: NodeId) -> SlotSet {
        self.nodes[&id].slots.clone()
    }

    pub(super) fn unbind(&mut self, slot: Slot) {
        if let Some(old) = self.owners[slot as usize].take() {
            let old = self.known(old);
            old.owned -= 1;
            old.slots.remove(slot);
        }
    }

    pub(super) fn bind(&mut self, slot: Slot, id: NodeId) {
        self.unbind(slot);
        self.owners[slot as usize] = Some(id);
        let new = self.known(id);
        new.owned += 1;
        new.slots.insert(slot);
        self.unclaimed.remove(slot);
    }

    pub(super) fn unbind_all(&mut self, id: NodeId) {
        self.slots_of(id).iter().for_each(|slot| self.unbind(slot));
    }

    pub(super) fn keys_in(&self, slot: Slot) -> Vec<Vec<u8>> {
        self.store.keys().filter(|key| key_slot(key) == slot).cloned().collect()
    }

    /// What a PING, PONG or MEET says of its sender's slots and epoch.
    pub(super) fn take_news(&mut self, id: NodeId, header: &Header) {
        let epoch = header.config_epoch;
        let node = &self.nodes[&id];
        let master = if node.is_master() { Some(id) } else { node.replica_of };
        let dirty =
            master.and_then(|id| self.nodes.get(&id)).is_some_and(|master| master.slots != header.slots);
        if dirty && self.nodes[&id].is_master() {
            self.take_claims(id, epoch, &header.slots);
        }
        if dirty {
            let newer = header.slots.iter().find_map(|slot| {
                let owner = self.owners[slot as usize]?;
                let old = owner == id || self.unclaimed.contains(slot);
                (!old && self.nodes[&owner].epoch > epoch).then_some(owner)
            });
            if let (Some(owner), Some(link)) = (newer, self.nodes[&id].link) {
                let (slots, config_epoch) = (self.slots_of(owner), self.nodes[&owner].epoch);
                let mut claimed = slots;
                claimed.subtract(&self.unclaimed);
                self.send(link, Message::Update { config_epoch, id: owner, slots: claimed });
            }
        }
        let both = self.is_master() && self.nodes[&id].is_master();
        if both && epoch == self.me().epoch && id > self.id {
            self.current_epoch += 1;
            self.me_mut().epoch = self.current_epoch;
        }
    }

    /// `clusterUpdateSlotsConfigWith`
    pub(super) fn take_claims(&mut self, id: NodeId, epoch: u64, slots: &SlotSet) {
        let own = if self.is_master() { Some(self.id) } else { self.me().replica_of };
        let (mut taken, mut dirty) = (0, Vec::new());
        for slot in 0..SLOTS as Slot {
            let owner = self.owners[slot as usize];
            if !slots.contains(slot) {
                if owner == Some(id) {
                    self.unclaimed.insert(slot);
                }
                continue;
            }
            if owner == Some(id) {
                self.unclaimed.remove(slot);
                continue;
            }
            let free = owner.is_none() || self.unclaimed.contains(slot);
            let newer = free || owner.is_some_and(|owner| self.nodes[&owner].epoch < epoch);
            if self.importing.contains_key(&slot) || !newer {
                continue;
            }
            taken += (owner.is_some() && owner == own) as usize;
            if owner == Some(self.id) {
                dirty.push(slot);
            }
            self.bind(slot, id);
        }
        if taken > 0 && own.is_some_and(|own| self.nodes[&own].owned == 0) {
            self.follow(id);
            return;
        }
        for slot in dirty {
            self.drop_slot(slot);
        }
    }

    fn drop_slot(&mut self, slot: Slot) {
        for key in self.keys_in(slot) {
            self.store.remove(&key);
            self.dropped.push(String::from_utf8_lossy(&key).into_owned());
        }
    }

    /// `clusterSetMaster`: what it has is replaced by what its master has, in time.
    pub(super) fn follow(&mut self, master: NodeId) {
        let me = self.me_mut();
        me.flags = me.flags & !flag::MASTER | flag::REPLICA;
        me.replica_of = Some(master);
        (self.migrating, self.importing) = Default::default();
        let keys = std::mem::take(&mut self.store);
        self.dropped.extend(keys.keys().map(|key| String::from_utf8_lossy(key).into_owned()));
    }

    /// `clusterBumpConfigEpochWithoutConsensus`
    pub(super) fn bump_epoch(&mut self) -> bool {
        let max = self.nodes.values().map(|node| node.epoch).max().unwrap_or(0).max(self.current_epoch);
        let mine = self.me().epoch;
        if mine != 0 && mine == max {
            return false;
        }
        self.current_epoch += 1;
        self.me_mut().epoch = self.current_epoch;
        true
    }

    /// Failure reports that still count.
    pub(super) fn reports(&mut self, id: NodeId) -> usize {
        let (now, valid) = (self.now, self.timeout * 2);
        let reports = &mut self.known(id).reports;
        reports.retain(|_, at| now - (*at).min(now) <= valid);
        reports.len()
    }

    /// `markNodeAsFailingIfNeeded`
    pub(super) fn fail_if_agreed(&mut self, id: NodeId) {
        let node = &self.nodes[&id];
        if !node.has(flag::PFAIL) || node.has(flag::FAIL) {
            return;
        }
        let agreeing = self.reports(id) + self.is_master() as usize;
        if agreeing < self.size / 2 + 1 {
            return;
        }
        let now = self.now;
        let node = self.known(id);
        node.flags = node.flags & !flag::PFAIL | flag::FAIL;
        node.failed_at = now;
        self.broadcast(Message::Fail(id));
    }

    /// A PONG came from it.
    pub(super) fn clear_failure(&mut self, id: NodeId) {
        let (now, undo) = (self.now, self.timeout * 2);
        let node = self.known(id);
        if node.has(flag::PFAIL) {
            node.flags &= !flag::PFAIL;
        } else if node.has(flag::FAIL)
            && (!node.is_master() || node.owned == 0 || now - node.failed_at.min(now) > undo)
        {
            node.flags &= !flag::FAIL;
        }
    }
}
