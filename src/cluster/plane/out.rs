//! Effects on their way out, and what waits for the disk.

use super::effect::Effect;
use crate::limits;
use std::collections::VecDeque;

/// A vote of one local node for another, on its way through the disk: who is voted for, who votes,
/// and for which epoch.
pub type SiblingVote = (usize, usize, u64);

enum Waiting {
    Effect(Effect),
    Vote(SiblingVote),
}

/// How urgently nodes.conf must be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    #[default]
    No,
    /// With the next tick.
    Soon,
    /// Before the command is answered that decided it: by then it is in the file, and with the next tick
    /// on disk. As Redis does it with slots.
    Written,
    /// On disk before anything leaves that was decided since.
    First,
}

#[derive(Default)]
pub struct Out {
    ready: VecDeque<Effect>,
    /// What this handle call has decided.
    fresh: Vec<Waiting>,
    /// What waits until a version is saved, in order of versions.
    held: VecDeque<(u64, Waiting)>,
    want: Want,
    /// A tick has come: what is wanted soon is wanted now.
    due: bool,
    version: u64,
    /// The version that what is decided now must wait for, and the one that is on disk.
    needed: u64,
    saved: u64,
    /// The version that answers wait for, and the one that is in the file.
    promised: u64,
    written: u64,
}

impl Out {
    pub fn push(&mut self, effect: Effect) {
        match effect {
            // these tell nobody anything
            Effect::Connect { .. } | Effect::Close { .. } => self.ready.push_back(effect),
            _ => self.fresh.push(Waiting::Effect(effect)),
        }
    }

    pub fn vote(&mut self, vote: SiblingVote) {
        self.fresh.push(Waiting::Vote(vote));
    }

    pub fn want(&mut self, want: Want) {
        self.want = self.want.max(want);
    }

    pub fn tick(&mut self) {
        self.due = true;
    }

    /// Whether nodes.conf is to be written now.
    pub fn wants_text(&mut self) -> bool {
        let due = std::mem::take(&mut self.due);
        self.want >= Want::Written || due && self.want == Want::Soon
    }

    /// Takes a text to write. All that is fresh waits for it when that was asked for.
    pub fn write(&mut self, text: Vec<u8>) {
        self.version += 1;
        let want = std::mem::take(&mut self.want);
        match want {
            Want::First => self.needed = self.version,
            Want::Written => (self.promised, self.want) = (self.version, Want::Soon),
            Want::Soon | Want::No => {}
        }
        let sync = want != Want::Written;
        self.ready.push_back(Effect::Save { version: self.version, text, sync });
    }

    /// Sends out what is fresh, or lays it behind what waits.
    pub fn settle(&mut self) {
        for waiting in self.fresh.drain(..) {
            match waiting {
                Waiting::Effect(effect) if self.needed <= self.saved => self.ready.push_back(effect),
                // a peer that misses a packet hears of it by a later one
                Waiting::Effect(Effect::Send { .. }) if self.held.len() >= limits::BUS_HELD => {}
                waiting => self.held.push_back((self.needed, waiting)),
            }
        }
    }

    pub fn written(&mut self, version: u64) {
        self.written = self.written.max(version);
    }

    /// A version is on disk: what waited for it goes out, and the votes are answered.
    pub fn saved(&mut self, version: u64) -> Vec<SiblingVote> {
        self.saved = self.saved.max(version);
        self.written(version);
        let mut votes = Vec::new();
        while self.held.front().is_some_and(|(needs, _)| *needs <= self.saved) {
            match self.held.pop_front() {
                Some((_, Waiting::Effect(effect))) => self.ready.push_back(effect),
                Some((_, Waiting::Vote(vote))) => votes.push(vote),
                None => {}
            }
        }
        votes
    }

    pub fn pop(&mut self) -> Option<Effect> {
        self.ready.pop_front()
    }

    pub fn unsaved(&self) -> Option<u64> {
        (self.needed > self.saved).then_some(self.needed)
    }

    pub fn unwritten(&self) -> Option<u64> {
        (self.promised > self.written).then_some(self.promised)
    }
}
