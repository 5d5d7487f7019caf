//! Transactions: what MULTI queues and EXEC executes, and the keys that WATCH guards.
//!
//! A command is checked when it is queued, as if it were to run then. EXEC finds out what all of them need:
//! on an own port one slot, elsewhere any keys of the host. What is not here is borrowed, so that a
//! transaction is executed by the shard of its client without anybody in between.
//!
//! Watches are kept with their slots ([`ClientRef`]), on loan or handed off: WATCH and EXEC borrow what they
//! watch, too. A client that gives up what it watches has others' shards told ([`Mail::Forget`]), and
//! whoever gets that passes it on to where the slot is.

use super::execute::{channels_of, visitor};
use super::loan::{Wanted, needs_everything};
use super::mail::Mail;
use super::{FirstKey, Shard};
use crate::command::acl::Context;
use crate::command::error::{Done, ErrReply};
use crate::command::spec::{Route, Run, Spec, Verb, flag};
use crate::command::table;
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::session::multi::{Multi, Waiting};
use crate::session::route::{self, Verdict};
use crate::session::{Door, ReplyMode, Session, Watched, gate};
use crate::slot::{Slot, key_slot};
use crate::store::{ClientRef, Key, Look};

const NESTED: ErrReply = ErrReply::new("ERR MULTI calls can not be nested");
const WATCH_INSIDE: ErrReply = ErrReply::new("ERR WATCH inside MULTI is not allowed");
const NO_MULTI: ErrReply = ErrReply::new("ERR Command not allowed inside a transaction");
const EXEC_ALONE: ErrReply = ErrReply::new("ERR EXEC without MULTI");
const DISCARD_ALONE: ErrReply = ErrReply::new("ERR DISCARD without MULTI");
const ABORTED: ErrReply = ErrReply::new("EXECABORT Transaction discarded because of previous errors.");

/// The command that lets MULTI, and all that it queues, into a slot that is being imported.
const ASKING: &[u8] = b"asking";

impl Shard {
    /// A command of a client in MULTI: it is queued, or one of the few that run at once.
    #[cold]
    pub(super) fn admit_queued(
        &mut self,
        client: u32,
        spec: &'static Spec,
        args: Args<'_>,
        key: FirstKey,
        bytes: &[u8],
    ) {
        let verb = if let Run::Above(verb) = spec.run { Some(verb) } else { None };
        let session = self.clients.get(client).expect("the caller looked it up");
        let before = session.last.replace(spec);
        if let Err(error) = gate::authenticated(&self.conditions, session, spec) {
            return self.reject(client, spec, &error);
        }
        if spec.has(flag::NO_MULTI) || verb == Some(Verb::Migrate) {
            return self.reject(client, spec, &NO_MULTI);
        }
        if let Err(error) = self.permit(client, spec, args, Context::Queueing) {
            if verb == Some(Verb::Exec) {
                self.discard_multi(client);
            }
            return self.reject(client, spec, &error);
        }
        if verb == Some(Verb::Exec) {
            return self.admit_exec(client, spec, args, (bytes, before));
        }
        if !self.simple
            && let Verdict::Refused(error) = self.route_queued(client, spec, args, key)
        {
            return self.reject(client, spec, &error);
        }
        let leaves = matches!(verb, Some(Verb::Discard | Verb::Quit | Verb::Reset));
        if self.pressure.limited && !leaves {
            self.make_room();
        }
        if self.conditions.out_of_memory && !leaves {
            return self.reject(client, spec, &gate::OUT_OF_MEMORY);
        }
        if let Err(error) = self.gate_queued(client, spec) {
            return self.reject(client, spec, &error);
        }
        if gate::paused(&self.conditions, spec, self.now.ms()) {
            return self.hold_for_pause(client, bytes, before);
        }
        if leaves || matches!(verb, Some(Verb::Multi | Verb::Watch)) {
            return self.run_here(client, spec, args, key);
        }
        let args = OwnedArgs::new(args.iter());
        let waiting = Waiting { spec, args, key: (key.arg, key.slot, key.hash), bytes: key.bytes };
        let session = self.clients.get(client).expect("it was there");
        session.multi.as_mut().expect("it is in MULTI").push(waiting);
        self.say(client, b"+QUEUED\r\n");
    }

    /// Whether a command, or EXEC as one with all of them, may run as things are.
    fn gate_queued(&mut self, client: u32, spec: &Spec) -> Done {
        let session = self.clients.get(client).expect("the caller looked it up");
        gate::admit(&self.conditions, session, spec)?;
        if self.conditions.restricted { gate::may_run(&self.conditions, spec) } else { Ok(()) }
    }

    /// Where a command would run that is queued.
    fn route_queued(&mut self, client: u32, spec: &'static Spec, args: Args<'_>, key: FirstKey) -> Verdict {
        let before = self.asks(client);
        match self.route(client, spec, args, key, before) {
            Verdict::Open(slot) => self.route_open(client, spec, args, slot, before),
            verdict => verdict,
        }
    }

    /// ASKING, if that was said before MULTI.
    fn asks(&mut self, client: u32) -> Option<&'static Spec> {
        let multi = self.clients.get(client)?.multi.as_ref()?;
        multi.asking.then(|| table::lookup(ASKING)).flatten()
    }

    /// Says an error, after which EXEC will refuse all.
    #[cold]
    pub(super) fn reject(&mut self, client: u32, spec: &Spec, error: &ErrReply) {
        self.metrics.command(spec.id).rejected.inc();
        self.doom(client);
        self.say_error(client, error);
    }

    /// EXEC will refuse all that was queued.
    pub(super) fn doom(&mut self, client: u32) {
        if let Some(multi) = self.clients.get(client).and_then(|s| s.multi.as_mut()) {
            multi.doomed = true;
        }
    }

    /// EXEC in MULTI: where the transaction runs, or that it has to wait.
    fn admit_exec(
        &mut self,
        client: u32,
        spec: &'static Spec,
        args: Args<'_>,
        (bytes, before): (&[u8], Option<&'static Spec>),
    ) {
        let session = self.clients.get(client).expect("the caller looked it up");
        let as_one = session.multi.as_ref().expect("it is in MULTI").as_one(spec);
        let verdict = if self.simple { Verdict::Here } else { self.route_exec(client, spec) };
        if let Verdict::Refused(error) = &verdict {
            self.discard_multi(client);
            return self.reject(client, spec, error);
        }
        if self.pressure.limited && as_one.has(flag::DENYOOM) {
            self.make_room();
        }
        if let Err(why) = self.gate_queued(client, &as_one) {
            self.discard_multi(client);
            return self.reject(client, spec, &discarded(&why));
        }
        if gate::paused(&self.conditions, &as_one, self.now.ms()) {
            return self.hold_for_pause(client, bytes, before);
        }
        if verdict == Verdict::Here {
            if self.withholds && self.exec_must_wait(client) {
                return self.hold_back(client, bytes, before);
            }
            if self.conditions.careful && self.exec_awaits_snapshot(client) {
                return self.hold_for_snapshot(client, bytes, before);
            }
            return self.run_here(client, spec, args, FirstKey::default());
        }
        let wanted = self.wanted_by_exec(client);
        self.borrow_all(client, spec, args, wanted, false);
    }

    /// Whether some of a transaction's keys, which are all this shard's, are not here or on their way.
    fn exec_must_wait(&mut self, client: u32) -> bool {
        let Some(session) = self.clients.get(client) else { return false };
        let Some(multi) = session.multi.take() else { return false };
        let watches_lent = session.watched.iter().any(|w| self.loans.is_lent(w.slot));
        let waits = watches_lent || multi.commands.iter().any(|c| self.must_wait(c.spec, c.args.as_args()));
        if let Some(session) = self.clients.get(client) {
            session.multi = Some(multi);
        }
        waits
    }

    /// Whether a snapshot has to be written first that has some of a transaction's values.
    fn exec_awaits_snapshot(&mut self, client: u32) -> bool {
        let Some(session) = self.clients.get(client) else { return false };
        let (db, Some(multi)) = (session.caller.db, session.multi.take()) else { return false };
        let awaits = |shard: &mut Shard, c: &Waiting| {
            shard.awaits_snapshot(db, c.spec, c.args.as_args(), FirstKey::default())
        };
        let waits = multi.commands.iter().any(|c| awaits(self, c));
        if let Some(session) = self.clients.get(client) {
            session.multi = Some(multi);
        }
        waits
    }

    /// Here, on loan (Crossing), or nowhere.
    fn route_exec(&mut self, client: u32, spec: &'static Spec) -> Verdict {
        let before = self.asks(client);
        let session = self.clients.get(client).expect("the caller looked it up");
        let multi = session.multi.as_deref().expect("it is in MULTI");
        // what it may do is what the command may do that does most
        let written = multi.commands.iter().map(|c| c.spec).find(|spec| spec.has(flag::WRITE));
        let who = visitor(session, written.unwrap_or(spec), before);
        let keys: Vec<&[u8]> = keys_of(multi).collect();
        let mut slots: Vec<Slot> = keys.iter().map(|key| key_slot(key)).collect();
        if session.door == Door::Own {
            let channels = multi.commands.iter().flat_map(|c| channels_of(c.spec, c.args.as_args()));
            slots.extend(channels.map(key_slot));
        }
        let verdict = match route::of_slots(self.at, &self.view, who, slots) {
            Verdict::Open(slot) => {
                let found =
                    super::plane::look_for_keys(self.at.me, &self.view, (self.ks.db(0), &self.clock), &keys);
                route::open(self.at, &self.view, who, slot, found)
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::Here if session.door == Door::Own && self.at.cluster || self.at.shards == 1 => {
                Verdict::Here
            }
            Verdict::Here => {
                let theirs = |w: &Watched| self.view.local_owner(w.slot) != Some(self.at.me as u16);
                match session.watched.iter().any(theirs) || needs_all(multi, self.at.cluster) {
                    true => Verdict::Crossing,
                    false => Verdict::Here,
                }
            }
            Verdict::Refused(error) => Verdict::Refused(error),
            _ => Verdict::Crossing,
        }
    }

    /// All that a transaction reads or writes, and what it watches.
    fn wanted_by_exec(&mut self, client: u32) -> Wanted {
        let session = self.clients.get(client).expect("the caller looked it up");
        let multi = session.multi.as_deref().expect("it is in MULTI");
        if needs_all(multi, self.at.cluster) {
            return Wanted::Everything;
        }
        // the slot of what is watched may have left the host: then it has changed
        let watched = session.watched.iter().map(|w| w.slot);
        let watched = watched.filter(|slot| self.view.local_owner(*slot).is_some());
        Wanted::Slots(keys_of(multi).map(key_slot).chain(watched).collect())
    }

    /// MULTI, EXEC, DISCARD, WATCH or UNWATCH; what EXEC and WATCH need is here.
    pub(super) fn transact(&mut self, client: u32, verb: Verb, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        let session = self.clients.get(client).expect("a verb runs for a client that is there");
        match verb {
            Verb::Multi if session.multi.is_some() => return Err(NESTED),
            Verb::Multi => {
                let asking = std::mem::take(&mut session.asking);
                session.multi = Some(Box::new(Multi::new(asking)));
                session.settle_mode();
            }
            Verb::Exec => return self.exec(client),
            Verb::Discard if session.multi.is_none() => return Err(DISCARD_ALONE),
            Verb::Discard => self.discard_multi(client),
            Verb::Watch if session.multi.is_some() => return Err(WATCH_INSIDE),
            Verb::Watch => self.watch(client, args),
            _ => self.unwatch(client),
        }
        out.extend_from_slice(b"+OK\r\n");
        Ok(())
    }

    /// EXEC: its reply is an array's head, and then the replies of the commands as they come.
    fn exec(&mut self, client: u32) -> Done {
        let clean = self.is_watch_clean(client);
        self.unwatch(client);
        let session = self.clients.get(client).expect("a verb runs for a client that is there");
        let Some(multi) = session.multi.take() else { return Err(EXEC_ALONE) };
        self.leave_multi(client);
        if multi.doomed {
            return Err(ABORTED);
        }
        // things may have changed while it waited for what it needs
        if self.conditions.restricted {
            let exec = table::lookup(b"exec").expect("it runs");
            gate::may_run(&self.conditions, &multi.as_one(exec)).map_err(|why| discarded(&why))?;
        }
        let session = self.clients.get(client).expect("it is there");
        // CLIENT REPLY SKIP skips all of it
        let skips = session.reply_mode == ReplyMode::SkipNext;
        if skips {
            session.reply_mode = ReplyMode::Off;
        }
        let mut head = Vec::new();
        let mut out = Reply::new(&mut head, session.caller.resp3);
        match clean {
            true => out.array(multi.commands.len()),
            false => out.null_array(),
        }
        self.say(client, &head);
        if clean {
            self.in_exec = true;
            self.trackers.defers = true;
            self.open_unit();
            multi.commands.iter().for_each(|command| self.exec_one(client, command));
            self.close_unit();
            self.in_exec = false;
            self.trackers.defers = false;
            self.tell_pending(client);
            self.serve_ready();
        }
        if let Some(session) = self.clients.get(client)
            && skips
        {
            session.reply_mode = ReplyMode::On;
        }
        Ok(())
    }

    fn exec_one(&mut self, client: u32, Waiting { spec, args, key, bytes }: &Waiting) {
        let (args, (arg, slot, hash)) = (args.as_args(), *key);
        // who has ended its own connection is told no more: by deleting its user, say
        if let Some(session) = self.clients.get(client).filter(|session| session.is_closing()) {
            session.reply_mode = ReplyMode::Off;
        }
        // its user's rules may be others than when it was queued
        if let Err(error) = self.permit(client, spec, args, Context::Exec) {
            return self.say_error(client, &error);
        }
        let everywhere = matches!((spec.run, spec.route), (Run::Above(_), Route::All(_)));
        if everywhere && self.route_all(client) == Verdict::Crossing {
            return self.cross(client, spec, args);
        }
        self.run_here(client, spec, args, FirstKey { arg, slot, hash, bytes: *bytes });
        self.note_read_here(client, spec, args);
    }

    /// Ends MULTI without executing anything.
    pub(super) fn discard_multi(&mut self, client: u32) {
        self.leave_multi(client);
        self.unwatch(client);
    }

    fn leave_multi(&mut self, client: u32) {
        if let Some(session) = self.clients.get(client) {
            session.multi = None;
            session.settle_mode();
        }
    }

    // ---- watching

    /// A client of this shard, and its round of watching.
    pub(super) fn client_ref(&mut self, client: u32) -> ClientRef {
        let shard = self.at.me as u16;
        let (generation, round) = self.clients.get(client).map_or((0, 0), |s| (s.generation, s.round));
        ClientRef { shard, client, generation, round }
    }

    fn watch(&mut self, client: u32, args: Args<'_>) {
        let watcher = self.client_ref(client);
        for bytes in args.from(1).iter() {
            let key = self.ks.hasher().key(bytes);
            let session = self.clients.get(client).expect("a verb runs for a client that is there");
            let watched = Watched { db: session.caller.db, slot: key.slot, key: bytes.into() };
            if session.watched.contains(&watched) {
                continue;
            }
            let db = self.ks.db_mut(watched.db);
            session.watched.push(watched);
            // a key past its time does not change by going
            db.exists(&key, Look::Peek, &self.clock);
            db.watch(&key, watcher);
        }
        self.note_interest();
    }

    /// Whether nothing that a client watches has changed. All of it that is this host's is here.
    fn is_watch_clean(&mut self, client: u32) -> bool {
        let watcher = self.client_ref(client);
        let Some(session) = self.clients.get(client) else { return true };
        session.watched.iter().all(|w| {
            let hash = self.ks.hasher().hash(&w.key);
            let db = self.ks.db_mut(w.db);
            db.exists(&Key { bytes: &w.key, slot: w.slot, hash }, Look::Peek, &self.clock);
            db.watches_still(w.slot, &w.key, watcher)
        })
    }

    /// Whether something that a client watches is known here to have changed.
    pub(super) fn is_watch_dirty(&self, client: u32, session: &Session) -> bool {
        let (shard, generation, round) = (self.at.me as u16, session.generation, session.round);
        let watcher = ClientRef { shard, client, generation, round };
        let is_here = |w: &&Watched| self.view.local_owner(w.slot) == Some(shard) && !self.is_lent(w.slot);
        session
            .watched
            .iter()
            .filter(is_here)
            .any(|w| !self.ks.db(w.db).watches_still(w.slot, &w.key, watcher))
    }

    /// A client gives up all that it watches.
    pub(super) fn unwatch(&mut self, client: u32) {
        let watcher = self.client_ref(client);
        if let Some(session) = self.clients.get(client)
            && !session.watched.is_empty()
        {
            session.round = session.round.wrapping_add(1);
            let keys = std::mem::take(&mut session.watched);
            self.forget(watcher, false, keys);
        }
    }

    /// Ends a client's watches, or with `waits` its waits, wherever their slots are.
    pub(super) fn forget(&mut self, who: ClientRef, waits: bool, keys: Vec<Watched>) {
        let mut elsewhere: Vec<(usize, Vec<Watched>)> = Vec::new();
        for watched in keys {
            let db = self.ks.db_mut(watched.db);
            let found = match waits {
                true => db.stop_waiting(watched.slot, &watched.key, who),
                false => db.unwatch(watched.slot, &watched.key, who),
            };
            if found {
                if waits {
                    // who is behind may have waited for it to go
                    self.note_ready(watched.db, &watched.key);
                }
                continue;
            }
            if self.is_lent(watched.slot) {
                self.loans.late.push((who, waits, watched));
                continue;
            }
            // with a slot that has left the host they are gone
            let owner = self.view.local_owner(watched.slot).map(usize::from);
            let Some(owner) = owner.filter(|owner| *owner != self.at.me) else { continue };
            match elsewhere.iter_mut().find(|(shard, _)| *shard == owner) {
                Some((_, keys)) => keys.push(watched),
                None => elsewhere.push((owner, vec![watched])),
            }
        }
        let letters = elsewhere.into_iter().map(|(owner, keys)| (owner, Mail::Forget { who, waits, keys }));
        self.letters.extend(letters);
        self.serve_ready();
        self.note_interest();
    }

    /// Slots are back: what was given up meanwhile ends.
    pub(super) fn forget_late(&mut self) {
        for (who, waits, watched) in std::mem::take(&mut self.loans.late) {
            self.forget(who, waits, vec![watched]);
        }
    }

    /// Whether commands have to tell which keys they change.
    pub(super) fn note_interest(&mut self) {
        self.note_readers();
        self.fx.listening = self.events.wants_any() || self.trackers.want_any() || self.ks.is_of_interest();
    }

    /// Watches and waits whose keys are here, and those that end when their slot is back.
    pub fn watches(&self) -> usize {
        self.ks.iter().map(|db| db.watches() + db.waits()).sum::<usize>() + self.loans.late.len()
    }
}

pub(super) fn discarded(why: &ErrReply) -> ErrReply {
    let why = String::from_utf8_lossy(why.bytes());
    ErrReply::owned(format!("EXECABORT Transaction discarded because of: {why}"))
}

/// The keys of all commands of a transaction.
fn keys_of(multi: &Multi) -> impl Iterator<Item = &[u8]> {
    multi.commands.iter().flat_map(|c| {
        let args = c.args.as_args();
        table::keys_of(c.spec, args).into_iter().map(move |k| args.at(k.index))
    })
}

/// Whether a command of it may read or write any key.
fn needs_all(multi: &Multi, cluster: bool) -> bool {
    let any_key = |c: &Waiting| match (c.spec.run, c.spec.route) {
        (Run::Here(_), Route::All(_) | Route::Cursor) => true,
        _ => !cluster && needs_everything(c.spec, c.args.as_args()),
    };
    multi.commands.iter().any(any_key)
}
