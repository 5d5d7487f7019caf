//! Clients that wait for a key to have something for them: BLPOP and its like.
//!
//! They queue with the key's slot ([`Waiter`]), oldest first, and go where that goes. When a command, a
//! transaction or a loan is over, the keys are looked at that it has changed: who waits first is served
//! first, and before anybody else gets the key. A client of a sibling is served by that sibling, to which the
//! slot is lent for it unasked ([`Mail::Ready`]). A command that needs another slot beside the key's own
//! (BLMOVE) is woken instead, and borrows both.
//!
//! A slot that is away is looked at when it is back.

use super::execute::visitor;
use super::mail::{Mail, Share, Tables};
use super::{FirstKey, Now, Shard};
use crate::command::blocking::Nothing;
use crate::command::error::ErrReply;
use crate::command::spec::{Begin, Find, Spec, key};
use crate::command::table;
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::session::blocked::Blocked;
use crate::session::route::{self, Verdict};
use crate::session::{Hold, Session, Watched};
use crate::slot::{Slot, key_slot};
use crate::store::{ClientRef, Key, Look, ValueRef, Waiter};
use crate::value::Object;
use std::collections::{BTreeSet, VecDeque};

const UNBLOCKED: ErrReply = ErrReply::new("UNBLOCKED client unblocked via CLIENT UNBLOCK");

pub(super) const ROLE_CHANGED: ErrReply = ErrReply::new(
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
);

/// What a shard knows of those who wait.
#[derive(Default)]
pub(super) struct Waits {
    /// Clients of this shard that wait.
    count: u64,
    /// When they have waited for long enough: the time, client and generation.
    deadlines: BTreeSet<(u64, u32, u32)>,
    /// Keys that have changed and that somebody waits for.
    ready: VecDeque<Watched>,
    /// Keys that can't be given away at the moment: they are on their way by MIGRATE, or being written.
    put_off: Vec<Watched>,
    serving: bool,
}

/// What came of trying a client's command again.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Served,
    /// It waits on.
    InVain,
    /// A snapshot has to be written first.
    Later,
    Gone,
}

impl Shard {
    /// A command of a client found nothing; `again` is what the client tries again, if not the same.
    pub(super) fn block(
        &mut self,
        client: u32,
        (spec, args): (&'static Spec, Args<'_>),
        again: Option<OwnedArgs>,
        (until_ms, nothing): (u64, Nothing),
    ) {
        let Some(session) = self.clients.get(client) else { return };
        if self.in_exec {
            let mut reply = Vec::new();
            let mut out = Reply::new(&mut reply, session.caller.resp3);
            match nothing {
                Nothing::Array => out.null_array(),
                Nothing::Null => out.null(),
            }
            return self.say(client, &reply);
        }
        session.hold = Hold::Blocked;
        if let Some(blocked) = &mut session.blocked {
            // it was woken in vain, and is in all queues
            blocked.woken = false;
            return;
        }
        let (db, generation) = (session.caller.db, session.generation);
        let again = again.unwrap_or_else(|| OwnedArgs::new(args.iter()));
        let args = again.as_args();
        let keys = waited_for(spec, args, db);
        let last = table::keys_of(spec, args).last().map(|k| key_slot(args.at(k.index)));
        let target = last.filter(|_| keys.len() == 1);
        let who = ClientRef { round: session.waits, ..self.client_ref(client) };
        let waiter = Waiter { who, spec: spec.id, target, tried: false };
        for watched in &keys {
            let key =
                Key { bytes: &watched.key, slot: watched.slot, hash: self.ks.hasher().hash(&watched.key) };
            self.ks.db_mut(db).wait(&key, waiter);
        }
        let session = self.clients.get(client).expect("it was there");
        session.blocked = Some(Box::new(Blocked { spec, args: again, keys, until_ms, woken: false }));
        if until_ms > 0 {
            self.waits.deadlines.insert((until_ms, client, generation));
        }
        self.waits.count += 1;
        self.note_waits();
        self.note_interest();
    }

    fn note_waits(&self) {
        self.metrics.blocked.set(self.waits.count);
        self.metrics.deadlines.set(self.waits.deadlines.len() as u64);
    }

    /// A client waits no more.
    pub(super) fn unblock(&mut self, client: u32) {
        let mut who = self.client_ref(client);
        let Some(session) = self.clients.get(client) else { return };
        let Some(blocked) = session.blocked.take() else { return };
        who.round = session.waits;
        session.waits = session.waits.wrapping_add(1);
        if session.hold == Hold::Blocked && session.let_go() {
            self.resume.push(client);
        }
        self.waits.deadlines.remove(&(blocked.until_ms, client, who.generation));
        self.waits.count -= 1;
        self.note_waits();
        self.forget(who, true, blocked.keys);
    }

    /// Ends a client's wait with an error.
    fn unblock_with(&mut self, client: u32, error: &ErrReply) {
        self.say_error(client, error);
        self.unblock(client);
    }

    /// What is here is a primary's from now on: nobody takes from it what is pushed there.
    pub(super) fn send_blocked_away(&mut self) {
        let blocked = self.clients.iter().filter(|(_, session)| session.hold == Hold::Blocked);
        let blocked: Vec<u32> = blocked.map(|(client, _)| client).collect();
        for client in blocked {
            self.unblock_with(client, &ROLE_CHANGED);
            self.hang_up(client);
        }
    }

    /// Time has passed: clients that have waited for long enough go on.
    pub fn pass_deadlines(&mut self, now: Now) {
        self.begin(now);
        self.end_waits();
        self.release_publishers();
        self.resume_clients();
        self.end_turn();
    }

    /// Clients that have waited for long enough.
    pub(super) fn end_waits(&mut self) {
        let now = self.now.ms();
        let due: Vec<(u64, u32, u32)> =
            self.waits.deadlines.iter().take_while(|(until, ..)| *until <= now).copied().collect();
        for (_, client, generation) in due {
            if self.clients.get_same(client, generation).is_some_and(|s| s.hold == Hold::Blocked) {
                self.say_nothing_came(client);
                self.unblock(client);
            }
        }
    }

    fn say_nothing_came(&mut self, client: u32) {
        let Some(session) = self.clients.get(client) else { return };
        let mut reply = Vec::new();
        Reply::new(&mut reply, session.caller.resp3).null_array();
        self.say(client, &reply);
    }

    /// When the first client that waits will have waited for long enough, or is to be looked at, in unix
    /// milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let first = self.waits.deadlines.first().map(|(until, ..)| *until);
        first.into_iter().chain(self.publishers_due()).min()
    }

    /// CLIENT UNBLOCK: whether that client waited.
    pub(super) fn unblock_by_id(&mut self, id: u64, with_error: bool) -> bool {
        let waits = |(_, s): &(u32, &Session)| s.caller.id == id && s.hold == Hold::Blocked;
        let Some(client) = self.clients.iter().find(waits).map(|(client, _)| client) else { return false };
        match with_error {
            true => {
                let waiting = self.clients.peek(client).and_then(|session| session.blocked.as_ref());
                if let Some(spec) = waiting.map(|blocked| blocked.spec) {
                    self.metrics.command(spec.id).failed.inc();
                }
                self.unblock_with(client, &UNBLOCKED);
            }
            false => {
                self.say_nothing_came(client);
                self.unblock(client);
            }
        }
        true
    }

    /// The slots of some have changed hands: who waits at an own port for what is no longer the shard's is
    /// sent to where it is, and everybody to other hosts.
    pub(super) fn redirect_blocked(&mut self) {
        if self.waits.count == 0 {
            return;
        }
        let clients = self.clients.iter().filter(|(_, s)| s.hold == Hold::Blocked);
        let verdict = |(client, session): (u32, &Session)| {
            let blocked = session.blocked.as_deref()?;
            let who = visitor(session, blocked.spec, None);
            match route::of_slots(self.at, &self.view, who, blocked.keys.iter().map(|w| w.slot)) {
                Verdict::Refused(error) => Some((client, error)),
                _ => None,
            }
        };
        let lost: Vec<(u32, ErrReply)> = clients.filter_map(verdict).collect();
        lost.into_iter().for_each(|(client, error)| self.unblock_with(client, &error));
    }

    // ---- serving

    /// A key has changed.
    pub(super) fn note_ready(&mut self, db: usize, key: &[u8]) {
        let slot = key_slot(key);
        if self.ks.db_mut(db).renew_waiters(slot, key) {
            self.waits.ready.push_back(Watched { db, slot, key: key.into() });
        }
    }

    /// Slots are back, or databases have changed places: what somebody waits for may be there.
    pub(super) fn look_again(&mut self, slots: Option<&[Slot]>) {
        if !self.fx.listening {
            return;
        }
        for (n, db) in self.ks.iter().enumerate().filter(|(_, db)| db.is_of_interest()) {
            let keys = db.waited_for(slots).into_iter();
            self.waits.ready.extend(keys.map(|(slot, key)| Watched { db: n, slot, key }));
        }
        self.serve_ready();
    }

    /// Keys are gone for which no command asked: who reads for a group is told.
    pub(super) fn tell_of_lost_keys(&mut self) {
        if !self.fx.listening {
            return;
        }
        for (n, db) in self.ks.iter_mut().enumerate() {
            let keys = db.lost_keys().into_iter();
            self.waits.ready.extend(keys.map(|(slot, key)| Watched { db: n, slot, key }));
        }
        self.serve_ready();
    }

    /// Keys that were on their way are here or gone, or a snapshot is further.
    pub(super) fn serve_put_off(&mut self) {
        if !self.waits.put_off.is_empty() {
            self.waits.ready.extend(std::mem::take(&mut self.waits.put_off));
            self.serve_ready();
        }
    }

    /// Gives what is there to those who wait for it. Not in the midst of a transaction.
    pub(super) fn serve_ready(&mut self) {
        if self.in_exec || self.waits.serving || self.waits.ready.is_empty() {
            return;
        }
        self.waits.serving = true;
        while let Some(ready) = self.waits.ready.pop_front() {
            self.serve_key(&ready);
        }
        self.waits.serving = false;
        self.note_interest();
    }

    fn serve_key(&mut self, ready: &Watched) {
        let Watched { db, slot, key } = ready;
        let me = self.at.me as u16;
        loop {
            // what is borrowed is looked at by its owner
            if self.view.local_owner(*slot) != Some(me) || self.is_lent(*slot) {
                return;
            }
            // who takes from it would change what is on its way, or half written to a snapshot
            if self.moves.holds_key(key)
                || self.ks.large_slot() == Some(*slot)
                || self.landings.half_told() == Some(*slot)
            {
                return self.waits.put_off.push(ready.clone());
            }
            let Some(waiter) = self.first_waiter(ready) else { return };
            let elsewhere =
                |target: &Slot| self.view.local_owner(*target) != Some(me) || self.is_lent(*target);
            let far = waiter.target.filter(|target| target != slot);
            if far.is_some_and(|target| waiter.who.shard != me || elsewhere(&target)) {
                return match waiter.who.shard {
                    shard if shard == me => self.wake(waiter.who),
                    shard => self.letters.push((shard as usize, Mail::Wake { who: waiter.who })),
                };
            }
            if waiter.who.shard != me {
                self.lend_out(*slot);
                self.note_withheld();
                let tables = self.take_tables(&[*slot]);
                let landing = self.landings.has(*slot);
                let ready = Box::new(ready.clone());
                let to = waiter.who.shard as usize;
                return self.letters.push((to, Mail::Ready { who: waiter.who, ready, tables, landing }));
            }
            if self.try_again(waiter.who, ready) == Outcome::Later {
                return self.waits.put_off.push(ready.clone());
            }
            let left = self.ks.db(*db).waiters(*slot, key).any(|w| w.who == waiter.who && !w.tried);
            assert!(!left, "a client that waits is served, or has tried");
        }
    }

    /// Who is to be served first from a key as it is.
    fn first_waiter(&mut self, Watched { db, slot, key }: &Watched) -> Option<Waiter> {
        let hash = self.ks.hasher().hash(key);
        // what came past its time is gone, for replicas as well
        let found = self.ks.db_mut(*db).find(&Key { bytes: key, slot: *slot, hash }, Look::Peek, &self.clock);
        let group = found.map_or("", |found| group_of(found.value()));
        let fits = |w: &&Waiter| {
            let spec = table::by_id(w.spec);
            // a consumer's command ends when its stream is gone
            !w.tried && (spec.group == group || spec.name == "xreadgroup")
        };
        self.ks.db(*db).waiters(*slot, key).find(fits).copied()
    }

    /// Tries the command of a client of ours again, with this key alone.
    fn try_again(&mut self, who: ClientRef, ready: &Watched) -> Outcome {
        let outcome = self.run_again(who, ready);
        let db = self.ks.db_mut(ready.db);
        match outcome {
            Outcome::Served | Outcome::Later => {}
            Outcome::InVain => db.note_tried(ready.slot, &ready.key, who),
            Outcome::Gone => drop(db.stop_waiting(ready.slot, &ready.key, who)),
        }
        outcome
    }

    fn run_again(&mut self, who: ClientRef, ready: &Watched) -> Outcome {
        let same = |s: &&mut Session| s.waits == who.round && s.hold == Hold::Blocked && !s.is_closing();
        let Some(session) = self.clients.get_same(who.client, who.generation).filter(same) else {
            return Outcome::Gone;
        };
        let Some(blocked) = &session.blocked else { return Outcome::Gone };
        let (spec, args) = (blocked.spec, with_key_alone(blocked.spec, blocked.args.as_args(), &ready.key));
        let mut caller = session.caller.clone();
        if self.conditions.careful
            && self.awaits_snapshot(caller.db, spec, args.as_args(), FirstKey::default())
        {
            return Outcome::Later;
        }
        let mut out = Vec::new();
        (self.trackers.author, self.trackers.defers, self.fx.waiting) = (Some(who), true, true);
        let slow =
            self.run_for(&mut caller, spec, args.as_args(), FirstKey::default(), Share::Rest, &mut out);
        (self.trackers.author, self.trackers.defers, self.fx.waiting) = (None, false, false);
        if out.is_empty() {
            return Outcome::InVain;
        }
        if let Some(slow) = slow {
            self.log_slow(self.at.me, slow, Some(who.client));
        }
        if out[0] == b'-' {
            self.note_failed(spec, &out[1..]);
        }
        self.say(who.client, &out);
        self.tell_pending(who.client);
        self.unblock(who.client);
        Outcome::Served
    }

    /// A sibling lends a slot that has something for a client of ours.
    pub(super) fn take_ready(
        &mut self,
        from: (usize, bool),
        who: ClientRef,
        ready: &Watched,
        tables: Tables,
    ) {
        self.borrow_tables(tables);
        self.run_on_gift(from, ready.slot, who.client, |shard| {
            shard.try_again(who, ready);
        });
    }

    /// A key is there that a client of ours waits for, which needs others beside it.
    pub(super) fn wake(&mut self, who: ClientRef) {
        let Some(session) = self.clients.get_same(who.client, who.generation) else { return };
        if session.waits != who.round || session.hold != Hold::Blocked {
            return;
        }
        let Some(blocked) = &mut session.blocked else { return };
        blocked.woken = true;
        let (spec, args) = (blocked.spec, blocked.args.clone());
        self.borrow(who.client, spec, args.as_args());
    }

    /// The loan of a client is over that was woken: it has been served unless it waits again.
    pub(super) fn note_woken(&mut self, client: u32) {
        if self.clients.get(client).is_some_and(|s| s.hold != Hold::Blocked && s.blocked.is_some()) {
            self.unblock(client);
        }
    }
}

/// The group of the commands that may find something in a value.
fn group_of(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Obj(Object::List(_)) => "list",
        ValueRef::Obj(Object::ZSet(_)) => "sorted-set",
        ValueRef::Obj(Object::Stream(_)) => "stream",
        _ => "",
    }
}

/// The keys that a command waits for: those whose values it reads.
fn waited_for(spec: &Spec, args: Args<'_>, db: usize) -> Vec<Watched> {
    let mut keys: Vec<Watched> = Vec::new();
    for k in table::keys_of(spec, args).into_iter().filter(|k| k.flags & key::ACCESS != 0) {
        let bytes = args.at(k.index);
        let watched = Watched { db, slot: key_slot(bytes), key: bytes.into() };
        if !keys.contains(&watched) {
            keys.push(watched);
        }
    }
    keys
}

/// A command over several keys as one over this one.
fn with_key_alone(spec: &Spec, args: Args<'_>, key: &[u8]) -> OwnedArgs {
    let last = args.len() - 1;
    let [only] = spec.keys else { return OwnedArgs::new(args.iter()) };
    match (only.begin, only.find) {
        (Begin::Keyword { .. }, Find::Range { last: -1, limit: 2, .. }) => {
            let keys = table::keys_of(spec, args);
            let (first, all) = (keys.first().map_or(args.len(), |k| k.index), keys.len());
            let ids = keys.iter().filter(|k| args.at(k.index) == key).map(|k| args.at(k.index + all));
            let head = args.slice(0, first).iter();
            OwnedArgs::new(head.chain([key]).chain(ids.take(1)))
        }
        (Begin::Index(1), Find::Range { last: -2, .. }) => OwnedArgs::new([args.at(0), key, args.at(last)]),
        (Begin::Index(at), Find::NumKeys { .. }) => {
            let keys = table::keys_of(spec, args);
            let behind = keys.last().map_or(args.len(), |k| k.index + 1);
            let head = args.slice(0, at as usize).iter().chain([&b"1"[..], key]);
            OwnedArgs::new(head.chain(args.from(behind).iter()))
        }
        _ => OwnedArgs::new(args.iter()),
    }
}
