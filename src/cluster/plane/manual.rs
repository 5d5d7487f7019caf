//! Manual failover: the master holds its clients until the replica has all that it wrote.

use super::Plane;
use super::effect::Effect;
use super::node::Key;
use crate::cluster::view::NodeId;
use crate::cluster::wire::{Header, Message, mflag};
use crate::limits;

/// How CLUSTER FAILOVER is to go about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// With the master's consent.
    Agreed,
    /// Without asking the master.
    Force,
    /// Without asking anybody.
    Takeover,
}

impl Plane {
    /// CLUSTER FAILOVER.
    pub(super) fn fail_over(&mut self, l: usize, manner: Manner) -> Result<(), String> {
        let (me, group) = (self.me(l), self.group(l));
        if me.is_master() {
            return Err("ERR You should send CLUSTER FAILOVER to a replica".into());
        }
        let Some(master) = me.master else {
            return Err("ERR I'm a replica but my master is unknown to me".into());
        };
        let sibling = group[master].local;
        let connected = match sibling {
            Some(sibling) => self.locals[sibling].fresh,
            None => self.way(l, master).is_some(),
        };
        if manner == Manner::Agreed && (group[master].failed() || !connected) {
            return Err("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE".into());
        }
        let id = me.id;
        tracing::warn!("shard {l}: manual failover user request accepted: {manner:?}.");
        self.reset_manual(l);
        self.locals[l].manual.until = self.now + limits::MANUAL_FAILOVER_MS;
        match (manner, sibling) {
            (Manner::Takeover, _) => {
                self.bump_epoch(l);
                self.take_over(l);
            }
            (Manner::Force, _) => {
                self.locals[l].manual.can_start = true;
                self.reconsider = true;
            }
            (Manner::Agreed, Some(sibling)) => self.hold_for(sibling, id),
            (Manner::Agreed, None) => {
                let way = self.way(l, master);
                way.into_iter().for_each(|way| self.send(l, &[way], &Message::MfStart));
            }
        }
        Ok(())
    }

    /// MFSTART: believed from our own replicas.
    pub(super) fn take_mfstart(&mut self, l: usize, sender: Key) {
        if self.group(l)[sender].master == Some(self.locals[l].key) {
            let id = self.group(l)[sender].id;
            self.hold_for(l, id);
        }
    }

    /// Has a master's shard hold its clients for a replica that takes over.
    fn hold_for(&mut self, l: usize, replica: NodeId) {
        self.reset_manual(l);
        let manual = &mut self.locals[l].manual;
        manual.until = self.now + limits::MANUAL_FAILOVER_MS;
        manual.replica = Some(replica);
        // our replica may be promoted in the last moment, and must have the time to say so
        let until = self.now + limits::MANUAL_FAILOVER_MS * limits::MANUAL_PAUSE;
        self.out.push(Effect::PauseWrites { local: l, until });
    }

    /// The master's side: its shard stands still, and the replica hears at which offset.
    pub(super) fn paused(&mut self, l: usize) {
        let local = &self.locals[l];
        let Some(replica) = local.manual.replica.filter(|_| local.beat.paused) else { return };
        let offset = local.beat.offset;
        let Some(key) = self.group(l).find(&replica) else { return };
        match self.group(l)[key].local {
            Some(sibling) => self.take_master_offset(sibling, offset),
            None => self.ping(l, key),
        }
    }

    /// The replica's side: its master's packets say that it stands still.
    pub(super) fn note_paused_master(&mut self, l: usize, sender: Key, header: &Header) {
        if header.mflags & mflag::PAUSED != 0 && self.me(l).is_replica() && self.me(l).master == Some(sender)
        {
            self.take_master_offset(l, header.offset);
        }
    }

    fn take_master_offset(&mut self, l: usize, offset: u64) {
        let manual = &mut self.locals[l].manual;
        if manual.until != 0 && manual.master_offset.is_none() {
            manual.master_offset = Some(offset);
            self.run_manual(l);
        }
    }

    /// Gives a manual failover up when its time is over, and starts it when all data are there.
    pub(super) fn run_manual(&mut self, l: usize) {
        let manual = &self.locals[l].manual;
        if manual.until == 0 {
            return;
        }
        if manual.until < self.now {
            tracing::warn!("shard {l}: manual failover timed out.");
            self.reset_manual(l);
            return;
        }
        let ready = manual.master_offset == Some(self.locals[l].beat.offset);
        if self.me(l).is_replica() && !manual.can_start && ready {
            self.locals[l].manual.can_start = true;
            self.reconsider = true;
        }
    }

    pub(super) fn reset_manual(&mut self, l: usize) {
        let manual = std::mem::take(&mut self.locals[l].manual);
        if manual.replica.is_some() {
            self.out.push(Effect::ResumeWrites { local: l });
        }
    }
}
