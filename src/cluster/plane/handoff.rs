//! Slots handed from one local node to another: CLUSTER HANDOFF.
//!
//! The plane only says who owns what from now on. The new owners' epochs rise as that of a node does
//! that has imported a slot; nodes.conf is on the disk before a shard or another host hears of it. The
//! next handoff waits until every shard has taken up the last one: see [`Heartbeat::era`].
//!
//! [`Heartbeat::era`]: super::Heartbeat::era

use super::Plane;
use super::commands::{Outcome, text};
use super::effect::Answer;
use super::group::Publish;
use super::out::Want;
use crate::cluster::handoff::{Handoff, Move, parse_range};
use crate::cluster::slots::SlotSet;
use crate::resp::Args;
use crate::slot::Slot;
use std::sync::Arc;

/// Said to what must wait for a handoff to be over.
pub const UNDER_WAY: &str = "TRYAGAIN A handoff of slots is under way";

/// What is asked for: slots and who is to have them, as the words say it.
type Wish = (Vec<(Slot, Slot)>, usize);

impl Plane {
    /// The last handoff that every shard has taken up.
    pub fn settled(&self) -> u64 {
        let eras = self.locals.iter().map(|local| local.beat.era);
        eras.min().unwrap_or(self.handoff.era).min(self.handoff.era)
    }

    /// Whether a shard has not taken up the last handoff yet.
    pub(super) fn is_handing(&self) -> bool {
        self.settled() < self.handoff.era
    }

    /// HANDOFF slot|from-to [slot|from-to ...] node-id [slot ... node-id ...]: on an own port of its
    /// node's slots, on a front door (`any`) of all slots of this host.
    pub(super) fn hand_off(&mut self, l: usize, args: Args<'_>, any: bool) -> Outcome {
        if self.is_handing() {
            return Err(UNDER_WAY.into());
        }
        if !self.group(l).ok {
            return Err("CLUSTERDOWN The cluster is down".into());
        }
        let mut moves: Vec<Move> = Vec::new();
        let mut seen = SlotSet::new();
        for (ranges, to) in self.read_handoff(l, args)? {
            for slot in ranges.into_iter().flat_map(|(from, last)| from..=last) {
                if !seen.insert(slot) {
                    return Err(format!("ERR Slot {slot} specified multiple times"));
                }
                let from = self.giver(l, slot, to, any)?;
                match moves.iter_mut().find(|m| (m.from, m.to) == (from, to)) {
                    Some(same) => drop(same.slots.insert(slot)),
                    None => moves.push(Move { from, to, slots: [slot].into_iter().collect() }),
                }
            }
        }
        self.carry_out(moves);
        Ok(Answer::Handed(self.handoff.era))
    }

    fn read_handoff(&self, l: usize, args: Args<'_>) -> Result<Vec<Wish>, String> {
        let mut wishes = Vec::new();
        let mut ranges = Vec::new();
        for word in args.from(1).iter() {
            match parse_range(word) {
                Some((from, to)) if from > to => {
                    return Err(format!("ERR start slot number {from} is greater than end slot number {to}"));
                }
                Some(range) => ranges.push(range),
                None if ranges.is_empty() || word.len() != size_of::<crate::cluster::view::NodeId>() => {
                    return Err("ERR Invalid or out of range slot".into());
                }
                None => wishes.push((std::mem::take(&mut ranges), self.receiver(l, word)?)),
            }
        }
        match ranges.is_empty() {
            true => Ok(wishes),
            false => Err("ERR Name the node that is to have the slots behind them".into()),
        }
    }

    /// The shard whose node has this name.
    fn receiver(&self, l: usize, id: &[u8]) -> Result<usize, String> {
        let group = self.group(l);
        let key = group.find(id).ok_or_else(|| format!("ERR Unknown node {}", text(id)))?;
        let node = &group[key];
        match node.local {
            None => Err(format!("ERR Node {} is not a shard of this host", text(id))),
            Some(_) if node.is_replica() => Err("ERR Target node is not a master".into()),
            Some(to) => self.is_well(to).map(|()| to),
        }
    }

    fn is_well(&self, l: usize) -> Result<(), String> {
        match self.locals[l].fresh {
            true => Ok(()),
            false => Err(format!("ERR Shard {l} has not been heard of for a while, try again later")),
        }
    }

    /// The shard that is to give a slot to `to`.
    fn giver(&self, l: usize, slot: Slot, to: usize, any: bool) -> Result<usize, String> {
        let group = self.group(l);
        let owner = group.owner(slot);
        let from = owner.and_then(|key| group[key].local);
        let from = match from {
            Some(from) if any || from == l => from,
            _ if any => return Err(format!("ERR Slot {slot} is not served by a shard of this host")),
            _ => return Err(format!("ERR I'm not the owner of hash slot {slot}")),
        };
        if from == to {
            return Err(format!("ERR Slot {slot} is that node's already"));
        }
        let open = |l: &usize| {
            let local = &self.locals[*l];
            local.migrating.contains_key(&slot) || local.importing.contains_key(&slot)
        };
        if group.members.iter().any(open) {
            return Err(format!(
                "ERR Slot {slot} is open: close it with CLUSTER SETSLOT {slot} STABLE before"
            ));
        }
        self.is_well(from).map(|()| from)
    }

    fn carry_out(&mut self, moves: Vec<Move>) {
        if moves.is_empty() {
            return;
        }
        let mut receivers: Vec<usize> = moves.iter().map(|m| m.to).collect();
        receivers.sort_unstable();
        receivers.dedup();
        for Move { from, to, slots } in &moves {
            let key = self.locals[*to].key;
            let group = self.group_mut(*to);
            for slot in slots.iter() {
                group.del_slot(slot);
                group.add_slot(key, slot);
                group.unclaimed.remove(slot);
            }
            self.pass_taken(*from, *to, slots);
        }
        self.out.want(Want::First);
        for l in receivers {
            self.bump_epoch(l);
            self.broadcast_pong(l, false);
        }
        self.handoff = Arc::new(Handoff { era: self.handoff.era + 1, moves });
        for g in self.inhabited() {
            self.wish(g, Publish::Now);
        }
    }
}
