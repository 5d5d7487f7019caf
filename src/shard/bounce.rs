//! Commands that went to the wrong shard, or came there too late: their slot has passed to another while
//! they were on their way. They go back to where they came from, unexecuted, and are sent on from there.
//!
//! Only the sender knows which replies its client waits for. So it is the sender who splits once more
//! what belongs to several shards by now, or borrows what it needs.

use super::Shard;
use super::mail::{Batch, Forward, Share};
use crate::cluster::view::View;
use crate::command::error::ErrReply;
use crate::command::spec::{Join, Route, Spec, flag};
use crate::command::table;
use crate::resp::{Args, Reply};
use crate::session::route;
use crate::slot::{Slot, key_slot};
use std::sync::Arc;

/// What a batch brings back besides replies.
pub struct Bounced {
    /// By which its sender can do better.
    pub view: Arc<View>,
    /// The commands by their numbers, ascending.
    pub commands: Vec<(u32, Why)>,
}

/// Why a command has no reply, or needs more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was not executed: its keys are another's.
    Astray,
    /// It was not executed: its slot is on its way to this sibling, and its keys are gone.
    Gone(usize),
    /// Its reply comes later, in a batch of its own.
    Later,
    /// It was executed, and all shards have to execute it once more.
    Again,
}

impl Shard {
    /// Whether a command for every shard, just executed here, may have missed what was given away: then
    /// its sender has all shards execute it once more. What only reads may see a slot twice, or not.
    pub(super) fn must_repeat(&self, spec: &Spec, era: u64) -> bool {
        matches!(spec.route, Route::All(_)) && spec.has(flag::WRITE) && self.has_given_since(era)
    }

    /// Sends on what came back in a batch of ours.
    #[cold]
    pub(super) fn send_on(&mut self, of: usize, batch: &Batch, bounced: Bounced) {
        // a shard may have joined another cluster since
        if bounced.view.has_local(self.at.me) {
            self.take_view(bounced.view);
        }
        let mut wanted = bounced.commands.into_iter().peekable();
        let mut at = 0;
        for (n, f) in batch.commands.iter().enumerate() {
            let args = batch.args(at, f.args);
            at += f.args as usize;
            if let Some((_, why)) = wanted.next_if(|(number, _)| *number == n as u32)
                && why != Why::Later
            {
                self.send_again((of, why), f, table::by_id(f.spec), args);
            }
        }
        self.accept_own_batch();
    }

    /// What shard `of` has returned.
    pub(super) fn send_again(
        &mut self,
        (of, why): (usize, Why),
        f: &Forward,
        spec: &'static Spec,
        args: Args<'_>,
    ) {
        let t = f.ticket;
        if self.clients.get_same(t.client, t.generation).is_none() {
            return;
        }
        match spec.route {
            _ if let Why::Gone(to) = why => {
                self.dispatch(to, Forward { asking: true, ..*f }, spec, args.iter())
            }
            Route::Keys if f.key_arg > 0 => self.forward_again(f, spec, args),
            Route::Split { step, join } if f.key_arg > 0 => {
                self.split_again(f, spec, args, (1, step as usize), join);
            }
            // of several keys nothing comes behind them
            Route::Away => match &table::keys_of(spec, args)[..] {
                [] => self.dispatch(of, *f, spec, args.iter()),
                [_] => self.forward_again(f, spec, args),
                [first, ..] => self.split_again(f, spec, args, (first.index, 1), Join::Moved),
            },
            Route::All(_) if spec.has(flag::WRITE) => {
                self.share_again((of, why == Why::Again), f, spec, args);
            }
            _ => self.dispatch(of, *f, spec, args.iter()),
        }
    }

    /// A command that is whole: to whom owns its keys now, or by a loan if that is several.
    fn forward_again(&mut self, f: &Forward, spec: &'static Spec, args: Args<'_>) {
        let slots: Vec<Slot> =
            table::keys_of(spec, args).iter().map(|k| key_slot(args.at(k.index))).collect();
        let owners: Option<Vec<u16>> = slots.iter().map(|s| self.view.local_owner(*s)).collect();
        match owners {
            Some(owners) if owners.iter().all(|owner| *owner == owners[0]) => {
                self.dispatch(owners[0] as usize, Forward { asking: false, ..*f }, spec, args.iter());
            }
            Some(_) => self.borrow_for(f.ticket, spec, args),
            None => self.answer_lost(f, &slots),
        }
    }

    /// A share of a command, or all of it, whose keys may belong to several shards by now: one every
    /// `step` arguments from `first` on.
    fn split_again(
        &mut self,
        f: &Forward,
        spec: &'static Spec,
        args: Args<'_>,
        (first, step): (usize, usize),
        join: Join,
    ) {
        let groups: Vec<usize> = (first..args.len()).step_by(step).collect();
        let slots: Vec<Slot> = groups.iter().map(|i| key_slot(args.at(*i))).collect();
        let owners: Option<Vec<u16>> = slots.iter().map(|s| self.view.local_owner(*s)).collect();
        let Some(owners) = owners else { return self.answer_lost(f, &slots) };
        let mut shards: Vec<usize> = Vec::new();
        for owner in owners.iter().map(|owner| *owner as usize) {
            if !shards.contains(&owner) {
                shards.push(owner);
            }
        }
        if let [only] = shards[..] {
            return self.dispatch(only, Forward { asking: false, ..*f }, spec, args.iter());
        }
        let elements = shards.iter().map(|shard| {
            let theirs = owners.iter().enumerate().filter(|(_, owner)| **owner as usize == *shard);
            theirs.map(|(n, _)| n as u32).collect()
        });
        let elements: Vec<Vec<u32>> = elements.collect();
        let words = |n: usize| {
            let keys = elements[n].iter().flat_map(|e| groups[*e as usize]..groups[*e as usize] + step);
            args.slice(0, first).iter().chain(keys.map(|i| args.at(i))).collect()
        };
        let Some(session) = self.clients.get_same(f.ticket.client, f.ticket.generation) else { return };
        let parts = session.pipeline.split(f.ticket.place, f.ticket.part as usize, join, elements.clone());
        self.post_parts(f, &shards, &parts, words, spec);
    }

    /// All shards execute it, whoever has already: what was behind us by then may be with them now.
    fn share_again(
        &mut self,
        (of, executed): (usize, bool),
        f: &Forward,
        spec: &'static Spec,
        args: Args<'_>,
    ) {
        if !executed {
            self.dispatch(of, *f, spec, args.iter());
        }
        let shards: Vec<usize> = (0..self.at.shards).filter(|shard| executed || *shard != of).collect();
        let Some(session) = self.clients.get_same(f.ticket.client, f.ticket.generation) else { return };
        let parts = session.pipeline.more_parts(f.ticket.place, shards.len());
        let rest = Forward { share: Share::Rest, ..*f };
        self.post_parts(&rest, &shards, &parts, |_| args.iter().collect(), spec);
    }

    fn post_parts<'a>(
        &mut self,
        f: &Forward,
        shards: &[usize],
        parts: &[usize],
        words: impl Fn(usize) -> Vec<&'a [u8]>,
        spec: &'static Spec,
    ) {
        for (n, (shard, part)) in shards.iter().zip(parts).enumerate() {
            let ticket = super::mail::Ticket { part: *part as u32, ..f.ticket };
            // what was whole is one command still, and the first of its parts counts for it
            let share = if n == 0 && f.share != Share::Rest { Share::First } else { Share::Rest };
            let words = words(n);
            let key = self.key_of(spec, &words);
            let part = Forward { ticket, share, asking: false, ..*f }.with_key(key);
            self.dispatch(*shard, part, spec, words.into_iter());
        }
    }

    /// No shard of this host serves one of these slots any more.
    fn answer_lost(&mut self, f: &Forward, slots: &[Slot]) {
        let lost = slots.iter().find(|slot| self.view.local_owner(**slot).is_none());
        let Some(session) = self.clients.get_same(f.ticket.client, f.ticket.generation) else { return };
        let error: ErrReply = match lost.and_then(|slot| Some((*slot, self.view.owner(*slot)?))) {
            Some((slot, node)) => {
                let endpoint = self.view.endpoint(node, &session.caller.local_ip);
                route::redirection("MOVED", slot, endpoint, node)
            }
            None => route::UNBOUND,
        };
        let mut reply = Vec::new();
        Reply::new(&mut reply, false).error(error.bytes());
        session.pipeline.fill(f.ticket.place, f.ticket.part as usize, &reply, 0);
        self.metrics.error(error.bytes());
        self.settle_client(f.ticket.client);
    }
}
