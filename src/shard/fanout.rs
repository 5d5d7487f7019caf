//! Commands for siblings: forwarded whole, split by owner, or sent to everyone; and their replies.

use super::bounce::Why;
use super::execute::{attempt, first_key, visitor, world};
use super::mail::{Batch, Forward, Mail, Onward, Share, Ticket};
use super::{FirstKey, Now, Shard, visit};
use crate::cluster::view::Node;
use crate::command::ctx::Caller;
use crate::command::error::{Done, ErrReply};
use crate::command::host::SlowEntry;
use crate::command::spec::{Join, Route, Run, Spec, flag};
use crate::command::table;
use crate::limits::OUTPUT_HIGH;
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::session::route::{self, Verdict};
use crate::session::{Door, Hold, ReplyMode};
use crate::slot::{Slot, key_slot};
use crate::store::cursor_slot;
use crate::util::num;

/// One shard's share of a command: the shard, its arguments, and the places of its elements in the
/// joined reply.
type Part<'a> = (usize, Vec<&'a [u8]>, Vec<u32>);

/// The first key of a command that was forwarded.
pub(super) fn first_key_of(f: &Forward) -> FirstKey {
    FirstKey { arg: f.key_arg, slot: f.slot, hash: f.hash, bytes: f.bytes }
}

impl Forward {
    pub(super) fn with_key(self, key: FirstKey) -> Forward {
        Forward { key_arg: key.arg, slot: key.slot, hash: key.hash, bytes: key.bytes, ..self }
    }
}

/// How long a command would be, sent as an array of bulk strings.
pub(super) fn sent_bytes<'a>(args: impl Iterator<Item = &'a [u8]>) -> usize {
    let line = |n: usize| 4 + n.max(1).ilog10() as usize;
    let (words, bytes) =
        args.fold((0, 0), |(n, bytes), arg| (n + 1, bytes + line(arg.len()) + arg.len() + 2));
    line(words) + bytes
}

impl Shard {
    /// Where a command for every shard runs: on an own port, only here.
    pub(super) fn route_all(&mut self, client: u32) -> Verdict {
        match self.clients.get(client).map(|s| s.door) {
            Some(Door::Front) if self.at.shards > 1 => Verdict::Crossing,
            _ => Verdict::Here,
        }
    }

    /// SCAN runs where the slot in its cursor is; an own port only knows its own slots.
    pub(super) fn route_cursor(&mut self, client: u32, args: Args<'_>) -> Verdict {
        if self.route_all(client) == Verdict::Here {
            return Verdict::Here;
        }
        let Some(cursor) = args.get(1).and_then(num::parse_u64) else {
            return Verdict::Here;
        };
        match self.view.local_owner(cursor_slot(cursor)) {
            Some(shard) if shard as usize != self.at.me => Verdict::Sibling(shard as usize),
            _ => Verdict::Here,
        }
    }

    /// Sends a whole command to the sibling that owns its keys.
    pub(super) fn forward(
        &mut self,
        client: u32,
        onward: Onward,
        spec: &'static Spec,
        args: Args<'_>,
        key: FirstKey,
    ) {
        if self.is_monitored() {
            self.show_if_monitored(client, spec, args);
            self.show_script_if_monitored(client, spec, args);
        }
        let discard = self.discards(client);
        let Some(session) = self.clients.get(client) else {
            return;
        };
        let place = session.pipeline.wait(discard);
        let ticket = Ticket { client, generation: session.generation, place, part: 0 };
        self.post(ticket, onward, Share::Whole, spec, args.iter(), key);
    }

    /// Whether the next reply of this client is not to be sent. Ends a CLIENT REPLY SKIP.
    pub(super) fn discards(&mut self, client: u32) -> bool {
        let Some(session) = self.clients.get(client) else {
            return true;
        };
        match session.reply_mode {
            ReplyMode::On => false,
            ReplyMode::Off => true,
            ReplyMode::SkipNext => {
                session.reply_mode = ReplyMode::On;
                true
            }
        }
    }

    /// Has a sibling execute a command, or a share of one.
    fn post<'a>(
        &mut self,
        ticket: Ticket,
        Onward { to, asking }: Onward,
        share: Share,
        spec: &'static Spec,
        args: impl Iterator<Item = &'a [u8]>,
        key: FirstKey,
    ) {
        let Some(forward) = self.forward_of(ticket, share, spec) else {
            return;
        };
        self.metrics.forwarded.inc();
        self.dispatch(to, Forward { asking, ..forward }.with_key(key), spec, args);
    }

    /// A command of a client on its way to a sibling, yet without its key.
    pub(super) fn forward_of(&mut self, ticket: Ticket, share: Share, spec: &Spec) -> Option<Forward> {
        let session = self.clients.get(ticket.client)?;
        if session.hold == Hold::None && session.is_overfull(OUTPUT_HIGH) {
            session.hold = Hold::Output;
        }
        Some(Forward {
            ticket,
            spec: spec.id,
            db: session.caller.db as u8,
            resp3: session.caller.resp3,
            no_touch: session.caller.no_touch,
            tracks: session.tracking.as_ref().is_some_and(|tracking| tracking.remembers()),
            asking: false,
            local: session.caller.local,
            confined: session.caller.confined,
            share,
            args: 0,
            key_arg: 0,
            slot: 0,
            hash: 0,
            bytes: 0,
        })
    }

    /// Puts a command into the next batch for a sibling.
    pub(super) fn dispatch<'a>(
        &mut self,
        to: usize,
        forward: Forward,
        spec: &Spec,
        args: impl Iterator<Item = &'a [u8]>,
    ) {
        let (pool, era, view) = (&mut self.pool, self.handoffs.era, self.view.version);
        self.handoffs.unanswered += 1;
        let new = || {
            let mut batch = pool.pop().unwrap_or_default();
            (batch.era, batch.view) = (era, view);
            batch
        };
        let batch = self.outbox[to].get_or_insert_with(new);
        let weight = visit::weight(spec);
        batch.weight += weight;
        batch.push(forward, args);
        batch.closer |= weight > 1 && spec.route == Route::Away;
    }

    /// A command whose keys, or whose work, belong to several shards.
    pub(super) fn cross(&mut self, client: u32, spec: &'static Spec, args: Args<'_>) {
        if matches!(spec.route, Route::Split { .. } | Route::Away | Route::All(_)) {
            self.show_if_monitored(client, spec, args);
        }
        match spec.route {
            Route::Split { step, join } => self.split(client, spec, args, step as usize, join),
            Route::Away => self.part_ways(client, spec, args),
            Route::All(join) => {
                let parts: Vec<_> =
                    self.shards_of(spec).map(|n| (n, args.iter().collect(), Vec::new())).collect();
                match parts.is_empty() {
                    true => self.run_here(client, spec, args, FirstKey::default()),
                    false => self.scatter(client, spec, join, parts),
                }
            }
            _ => self.borrow(client, spec, args),
        }
    }

    /// The shards that a command for all of them is for: what reads or writes keys is not for those that
    /// hold a copy of another node's. One that is a stranger to our node answers for itself.
    fn shards_of(&self, spec: &Spec) -> impl Iterator<Item = usize> + use<> {
        let (view, keys) = (self.view.clone(), self.at.cluster && spec.has(flag::WRITE | flag::READONLY));
        (0..self.at.shards).filter(move |&shard| !keys || !view.sibling(shard).is_some_and(Node::is_replica))
    }

    /// Gives each owner the keys that are its own.
    fn split(&mut self, client: u32, spec: &'static Spec, args: Args<'_>, step: usize, join: Join) {
        if !(args.len() - 1).is_multiple_of(step) {
            // the handler knows what to say of it
            return self.run_here(client, spec, args, FirstKey::default());
        }
        let mut parts: Vec<Part<'_>> = Vec::new();
        for (n, i) in (1..args.len()).step_by(step).enumerate() {
            let owner = match self.owner_of(client, spec, args.at(i)) {
                Ok(owner) => owner,
                Err(error) => return self.say_error(client, &error),
            };
            let index = match parts.iter().position(|p| p.0 == owner) {
                Some(index) => index,
                None => {
                    parts.push((owner, vec![args.at(0)], Vec::new()));
                    parts.len() - 1
                }
            };
            let part = &mut parts[index];
            (i..i + step).for_each(|j| part.1.push(args.at(j)));
            part.2.push(n as u32);
        }
        self.scatter(client, spec, join, parts);
    }

    /// The shard of this host that owns a key, or what is said of a key that none owns.
    fn owner_of(&mut self, client: u32, spec: &'static Spec, key: &[u8]) -> Result<usize, ErrReply> {
        let slot = key_slot(key);
        if let Some(owner) = self.view.local_owner(slot) {
            return Ok(owner as usize);
        }
        let session = self.clients.get(client).expect("the caller looked it up");
        match route::of_slot(self.at, &self.view, visitor(session, spec, None), slot) {
            Verdict::Refused(error) => Err(error),
            _ => unreachable!("the slot is not ours"),
        }
    }

    /// MIGRATE of keys that several shards own: each carries its own away.
    fn part_ways(&mut self, client: u32, spec: &'static Spec, args: Args<'_>) {
        let keys = table::keys_of(spec, args);
        let words = keys.first().map_or(args.len(), |key| key.index);
        let mut parts: Vec<Part<'_>> = Vec::new();
        for key in keys {
            let owner = match self.owner_of(client, spec, args.at(key.index)) {
                Ok(owner) => owner,
                Err(error) => return self.say_error(client, &error),
            };
            match parts.iter_mut().find(|p| p.0 == owner) {
                Some(part) => part.1.push(args.at(key.index)),
                None => {
                    let words = args.slice(0, words).iter();
                    parts.push((owner, words.chain([args.at(key.index)]).collect(), Vec::new()));
                }
            }
        }
        if let Some(session) = self.clients.get(client) {
            session.hold = Hold::Move;
        }
        self.scatter(client, spec, Join::Moved, parts);
    }

    /// Where MIGRATE runs. Its client waits for it wherever that is.
    pub(super) fn route_away(
        &mut self,
        client: u32,
        spec: &'static Spec,
        args: Args<'_>,
        before: Option<&'static Spec>,
    ) -> Verdict {
        let session = self.clients.get(client).expect("the caller looked it up");
        let slots = table::keys_of(spec, args).into_iter().map(|k| key_slot(args.at(k.index)));
        let slots: Vec<Slot> = slots.collect();
        let verdict = route::of_slots(self.at, &self.view, visitor(session, spec, before), slots);
        if let Verdict::Sibling(_) = verdict {
            session.hold = Hold::Move;
        }
        verdict
    }

    /// Sends each part to its shard, executes our own, and takes a place for the joined reply.
    fn scatter(&mut self, client: u32, spec: &'static Spec, join: Join, parts: Vec<Part<'_>>) {
        let discard = self.discards(client);
        let places = parts.iter().map(|p| p.2.clone()).collect();
        let Some(session) = self.clients.get(client) else {
            return;
        };
        let place = session.pipeline.join(join, places, discard);
        let generation = session.generation;
        let mut own = None;
        for (n, (shard, args, _)) in parts.iter().enumerate() {
            if *shard == self.at.me {
                own = Some((n, OwnedArgs::new(args)));
            } else {
                let key = self.key_of(spec, args);
                let (onward, share) = (Onward { to: *shard, asking: false }, Share::part(n));
                let ticket = Ticket { client, generation, place, part: n as u32 };
                self.post(ticket, onward, share, spec, args.iter().copied(), key);
            }
        }
        if let Some((part, args)) = own {
            let (args, share) = (args.as_args(), Share::part(part));
            let ticket = Ticket { client, generation, place, part: part as u32 };
            if spec.route == Route::Away {
                return self.migrate_part(ticket, args);
            }
            let verdict = if self.at.calm { Verdict::Here } else { self.reroute(spec, args, false) };
            let reply = match verdict {
                Verdict::Ask(to) => {
                    let onward = Onward { to, asking: true };
                    return self.post(ticket, onward, share, spec, args.iter(), FirstKey::default());
                }
                Verdict::Refused(error) => [b"-", error.bytes(), b"\r\n"].concat(),
                _ => self.run_part(client, spec, args, share),
            };
            let pick = self.rng.next_u64();
            if let Some(session) = self.clients.get(client) {
                let error = session.pipeline.fill(place, part, &reply, pick);
                self.settle_client(client);
                if let Some(error) = error {
                    self.note_failed(spec, &error);
                }
            }
        }
    }

    /// Lets a client have the replies whose turn it is, and go on if it waited for them.
    pub(super) fn settle_client(&mut self, client: u32) {
        let Some(session) = self.clients.get(client) else { return };
        session.pipeline.drain(&mut session.out);
        if session.is_free() && session.let_go() {
            self.resume.push(client);
        }
        Shard::list(&mut self.news, client, session);
    }

    /// A command that several shards shared has failed as a whole.
    #[cold]
    pub(super) fn note_failed(&self, spec: &Spec, error: &[u8]) {
        self.metrics.error(error);
        self.metrics.command(spec.id).failed.inc();
    }

    pub(super) fn key_of(&self, spec: &Spec, args: &[&[u8]]) -> FirstKey {
        if spec.legacy.first <= 0 {
            return FirstKey::default();
        }
        let arg = spec.legacy.first as usize;
        let key = self.ks.hasher().key(args[arg]);
        FirstKey {
            arg: arg as u32,
            slot: key.slot,
            hash: key.hash,
            bytes: sent_bytes(args.iter().copied()) as u32,
        }
    }

    /// Executes our own part of a scattered command.
    fn run_part(&mut self, client: u32, spec: &'static Spec, args: Args<'_>, share: Share) -> Vec<u8> {
        let Some(session) = self.clients.get(client) else {
            return Vec::new();
        };
        let mut caller = session.caller.clone();
        let mut out = Vec::new();
        let words: Vec<&[u8]> = args.iter().collect();
        let key = self.key_of(spec, &words);
        self.trackers.author = Some(self.client_ref(client));
        if let Some(slow) = self.run_for(&mut caller, spec, args, key, share, &mut out) {
            self.log_slow(self.at.me, slow, Some(client));
        }
        self.trackers.author = None;
        out
    }

    /// Executes a command, or a share of one, for a client that need not be a session here. What
    /// SLOWLOG is to show of it, without who sent it.
    pub(super) fn run_for(
        &mut self,
        caller: &mut Caller,
        spec: &'static Spec,
        args: Args<'_>,
        key: FirstKey,
        share: Share,
        out: &mut Vec<u8>,
    ) -> Option<SlowEntry> {
        let started = self.started();
        let mark = out.len();
        let done = match spec.run {
            Run::Above(verb) => self.host_verb(verb, spec, caller, args, out),
            _ => self.run_handler(caller, spec, args, key, out),
        };
        self.lap = (self.ticks.read)();
        let ticks = self.lap.wrapping_sub(started);
        if let Err(error) = &done {
            out.truncate(mark);
            Reply::new(out, false).error(error.bytes());
        }
        self.count(spec, share, ticks, done.err());
        self.note_load(key, ticks, out.len() - mark);
        self.apply_effects(None, Some(caller.db), (spec, args));
        (ticks >= self.slow_ticks).then(|| self.slow_entry(spec, args, ticks)).flatten()
    }

    /// Books an execution.
    fn count(&self, spec: &Spec, share: Share, ticks: u64, error: Option<ErrReply>) {
        let stats = self.metrics.command(spec.id);
        if share == Share::Rest {
            stats.ticks.add(ticks);
            return;
        }
        self.metrics.commands.inc();
        stats.record(ticks);
        if share == Share::Whole
            && let Some(error) = error
        {
            self.note_failed(spec, error.bytes());
        }
    }

    fn run_handler(
        &mut self,
        caller: &mut Caller,
        spec: &'static Spec,
        args: Args<'_>,
        key: FirstKey,
        out: &mut Vec<u8>,
    ) -> Done {
        let mut ctx = world!(self, *caller, out, first_key(args, key));
        attempt(&mut ctx, spec, args)
    }

    /// Mail from sibling `from`.
    pub fn mail(&mut self, from: usize, mail: Mail, now: Now) {
        self.begin(now);
        match mail {
            Mail::Requests(batch) => {
                self.prefetch(&batch);
                self.accept(from, batch);
            }
            Mail::Borrow { loan, slots, era } => self.wish(from, loan, slots, era),
            Mail::Refuse { loan, view } => self.refused(loan, view),
            Mail::Handoff(parcel) => self.unpack(from, *parcel),
            Mail::Lend { loan, tables, settled, landing } => {
                self.lent(from, loan, tables, settled, landing);
            }
            Mail::Return { tables, changes, receipt } => self.give_back(from, tables, changes, receipt),
            Mail::Kept { loan } => self.kept(loan),
            Mail::Orphan(orphan) => self.adopt(*orphan),
            Mail::Landed => self.note_landed_there(),
            Mail::Forget { who, waits, keys } => self.forget(who, waits, keys),
            Mail::Ready { who, ready, tables, landing } => {
                self.take_ready((from, landing), who, &ready, tables);
            }
            Mail::Wake { who } => self.wake(who),
            Mail::Heard(messages) => self.heard(messages),
            // the turn's end makes room
            Mail::Crowded => {}
            Mail::Replies(batch) => {
                self.deliver(from, batch);
            }
        }
        self.resume_clients();
        self.end_turn();
    }

    fn keep_batch(&mut self, mut batch: Box<Batch>) {
        batch.recycle();
        if self.pool.len() < self.at.shards * 4 {
            self.pool.push(batch);
        }
    }

    fn prefetch(&self, batch: &Batch) {
        let keyed = batch.commands.iter().filter(|f| f.key_arg > 0);
        self.ks.prefetch(keyed.map(|f| (f.db as usize, f.slot, f.hash)));
    }

    /// Gives sibling `of`'s replies to the clients that wait for them.
    pub(super) fn deliver(&mut self, of: usize, mut batch: Box<Batch>) {
        for (n, slow) in std::mem::take(&mut batch.slow) {
            let t = batch.commands[n as usize].ticket;
            let client = self.clients.get_same(t.client, t.generation).map(|_| t.client);
            self.log_slow(of, slow, client);
        }
        let bounced = batch.bounced.take();
        let some_missing = bounced.is_some();
        let mut answered = batch.commands.len();
        if let Some(bounced) = bounced {
            answered -= bounced.commands.iter().filter(|(_, why)| *why == Why::Later).count();
            self.send_on(of, &batch, *bounced);
        }
        let mut from = 0;
        for (f, &end) in batch.commands.iter().zip(&batch.ends) {
            let reply = &batch.replies[from..end as usize];
            from = end as usize;
            // what went back comes from elsewhere; a reply has bytes
            if some_missing && reply.is_empty() {
                continue;
            }
            let t = f.ticket;
            if let Some(session) = self.clients.get_same(t.client, t.generation) {
                session.learn_reply(reply.len());
                let mut error = None;
                if !session.pipeline.pass(t.place, reply, &mut session.out) {
                    let pick = self.rng.next_u64();
                    error = session.pipeline.fill(t.place, t.part as usize, reply, pick);
                }
                session.pipeline.drain(&mut session.out);
                if session.is_free() && session.let_go() {
                    self.resume.push(t.client);
                }
                Shard::list(&mut self.news, t.client, session);
                if let Some(error) = error {
                    self.note_failed(table::by_id(f.spec), &error);
                }
            }
        }
        self.note_answered(batch.era, answered);
        self.keep_batch(batch);
    }
}
