//! Commands for siblings: forwarded whole, split by owner, or sent to everyone; and their replies.

use super::bounce::Bounced;
use super::execute::{attempt, first_key};
use super::mail::{Batch, Forward, Mail, Share, Ticket};
use super::{FirstKey, Now, Shard, visit};
use crate::command::ctx::{Caller, Ctx};
use crate::command::error::{Done, ErrReply};
use crate::command::host::SlowEntry;
use crate::command::spec::{Join, Route, Run, Spec};
use crate::command::table;
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::session::route::{self, Verdict, Visitor};
use crate::session::{Door, Hold, ReplyMode};
use crate::slot::key_slot;
use crate::store::cursor_slot;
use crate::util::num;

/// One shard's share of a command: the shard, its arguments, and the places of its elements in the
/// joined reply.
type Part<'a> = (usize, Vec<&'a [u8]>, Vec<u32>);

/// A sibling's batch that waits for a lent slot.
pub(super) struct Standing {
    pub(super) from: usize,
    batch: Box<Batch>,
    /// The command that goes on, and where its arguments start.
    next: usize,
    at: usize,
}

/// The first key of a command that was forwarded.
pub(super) fn first_key_of(f: &Forward) -> FirstKey {
    FirstKey { arg: f.key_arg, slot: f.slot, hash: f.hash, bytes: f.bytes }
}

/// How long a command would be, sent as an array of bulk strings.
fn sent_bytes(args: &[&[u8]]) -> u32 {
    let line = |n: usize| 4 + n.max(1).ilog10() as usize;
    let words: usize = args.iter().map(|arg| line(arg.len()) + arg.len() + 2).sum();
    (line(args.len()) + words) as u32
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
        to: usize,
        spec: &'static Spec,
        args: Args<'_>,
        key: FirstKey,
    ) {
        let discard = self.discards(client);
        let Some(session) = self.clients.get(client) else {
            return;
        };
        let place = session.pipeline.wait(discard);
        let ticket = Ticket { client, generation: session.generation, place, part: 0 };
        self.post(ticket, to, Share::Whole, spec, args.iter(), key);
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

    /// Puts a command into the next batch for a sibling.
    pub(super) fn post<'a>(
        &mut self,
        ticket: Ticket,
        to: usize,
        share: Share,
        spec: &'static Spec,
        args: impl Iterator<Item = &'a [u8]>,
        key: FirstKey,
    ) {
        let Some(session) = self.clients.get(ticket.client) else {
            return;
        };
        let forward = Forward {
            ticket,
            spec: spec.id,
            db: session.caller.db as u8,
            resp3: session.caller.resp3,
            no_touch: session.caller.no_touch,
            local: session.caller.local,
            share,
            args: 0,
            key_arg: key.arg,
            slot: key.slot,
            hash: key.hash,
            bytes: key.bytes,
        };
        if session.hold == Hold::None && session.is_overfull() {
            session.hold = Hold::Output;
        }
        self.metrics.forwarded.inc();
        let (pool, era) = (&mut self.pool, self.handoffs.era);
        let unanswered = &mut self.handoffs.unanswered;
        let new = || {
            *unanswered += 1;
            let mut batch = pool.pop().unwrap_or_default();
            batch.era = era;
            batch
        };
        let batch = self.outbox[to].get_or_insert_with(new);
        batch.weight += visit::weight(spec);
        batch.push(forward, args);
    }

    /// A command whose keys, or whose work, belong to several shards.
    pub(super) fn cross(&mut self, client: u32, spec: &'static Spec, args: Args<'_>) {
        match spec.route {
            Route::Split { step, join } => self.split(client, spec, args, step as usize, join),
            Route::All(join) => {
                let parts =
                    (0..self.at.shards).map(|shard| (shard, args.iter().collect(), Vec::new())).collect();
                self.scatter(client, spec, join, parts);
            }
            _ => self.borrow(client, spec, args),
        }
    }

    /// Gives each owner the keys that are its own.
    fn split(&mut self, client: u32, spec: &'static Spec, args: Args<'_>, step: usize, join: Join) {
        if !(args.len() - 1).is_multiple_of(step) {
            // the handler knows what to say of it
            return self.run_here(client, spec, args, FirstKey::default());
        }
        let mut parts: Vec<Part<'_>> = Vec::new();
        for (n, i) in (1..args.len()).step_by(step).enumerate() {
            let slot = key_slot(args.at(i));
            let Some(owner) = self.view.local_owner(slot) else {
                let session = self.clients.get(client).expect("the caller looked it up");
                let (door, local_ip) = (session.door, &session.caller.local_ip);
                let who = Visitor { door, local_ip, spec, before: None };
                let at = route::of_slot(self.at, &self.view, who, slot);
                let Verdict::Refused(error) = at else { unreachable!("the slot is not ours") };
                return self.say_error(client, &error);
            };
            let index = match parts.iter().position(|p| p.0 == owner as usize) {
                Some(index) => index,
                None => {
                    parts.push((owner as usize, vec![args.at(0)], Vec::new()));
                    parts.len() - 1
                }
            };
            let part = &mut parts[index];
            (i..i + step).for_each(|j| part.1.push(args.at(j)));
            part.2.push(n as u32);
        }
        self.scatter(client, spec, join, parts);
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
                let share = Share::part(n);
                let ticket = Ticket { client, generation, place, part: n as u32 };
                self.post(ticket, *shard, share, spec, args.iter().copied(), key);
            }
        }
        if let Some((part, args)) = own {
            let reply = self.run_part(client, spec, args.as_args(), Share::part(part));
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
    fn note_failed(&self, spec: &Spec, error: &[u8]) {
        self.metrics.error(error);
        self.metrics.command(spec.id).failed.inc();
    }

    pub(super) fn key_of(&self, spec: &Spec, args: &[&[u8]]) -> FirstKey {
        if spec.legacy.first <= 0 {
            return FirstKey::default();
        }
        let arg = spec.legacy.first as usize;
        let key = self.ks.hasher().key(args[arg]);
        FirstKey { arg: arg as u32, slot: key.slot, hash: key.hash, bytes: sent_bytes(args) }
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
        if let Some(slow) = self.run_for(&mut caller, spec, args, key, share, &mut out) {
            self.log_slow(self.at.me, slow, Some(client));
        }
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
            Run::Above(verb) => self.host_verb(verb, caller, args, out),
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
        self.apply_effects(None);
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
        let mut clock = self.clock;
        clock.no_touch = caller.no_touch;
        let mut ctx = Ctx {
            db: caller.db,
            out: Reply::new(out, caller.resp3),
            ks: &mut self.ks,
            clock,
            now_us: self.now.unix_us,
            conf: &self.conf,
            rng: &mut self.rng,
            fx: &mut self.fx,
            caller,
            host: &self.host,
            view: &self.view,
            me: self.at.me,
            first_key: first_key(args, key),
        };
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
            Mail::Handoff(parcel) => self.unpack(*parcel),
            Mail::Lend { loan, tables } => self.lent(from, loan, tables),
            Mail::Return { tables } => self.give_back(tables),
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

    /// A batch of a sibling: executes it, or keeps it behind those that stand still.
    fn accept(&mut self, from: usize, batch: Box<Batch>) {
        let standing = Standing { from, batch, next: 0, at: 0 };
        let rest = match self.loans.standing.iter().any(|s| s.from == from) {
            true => Some(standing),
            false => self.answer(standing),
        };
        self.loans.standing.extend(rest);
    }

    /// What was sent to us and came back may be for ourselves by now.
    pub(super) fn accept_own_batch(&mut self) {
        if let Some(batch) = self.outbox[self.at.me].take() {
            self.accept(self.at.me, batch);
        }
    }

    /// Executes a sibling's commands and writes the replies behind them. What has to wait comes back:
    /// for a lent slot, or for a view that the sibling had already.
    fn answer(&mut self, mut standing: Standing) -> Option<Standing> {
        let batch = &mut standing.batch;
        if batch.era > self.handoffs.era {
            return Some(standing);
        }
        let is_old = batch.era < self.handoffs.era;
        let mut bounced = batch.bounced.take().map_or(Vec::new(), |b| b.commands);
        let mut bouncing = is_old && self.returns_all(standing.from);
        let mut replies = std::mem::take(&mut batch.replies);
        let mut ends = std::mem::take(&mut batch.ends);
        let mut caller = Caller { authenticated: true, front_door: true, ..Caller::default() };
        let mut waits = false;
        self.lap = 0;
        for f in &batch.commands[standing.next..] {
            let args = batch.args(standing.at, f.args);
            let spec = table::by_id(f.spec);
            if bouncing || is_old && self.must_bounce(f, spec, args) {
                bouncing = true;
                bounced.push(standing.next as u32);
                ends.push(replies.len() as u32);
                standing.at += f.args as usize;
                standing.next += 1;
                continue;
            }
            if self.is_lending() && self.needs_lent(spec, args) {
                waits = true;
                break;
            }
            if is_old && self.must_repeat(spec, batch.era) {
                bounced.push(standing.next as u32);
            }
            caller.db = f.db as usize;
            caller.resp3 = f.resp3;
            caller.no_touch = f.no_touch;
            caller.local = f.local;
            let key = first_key_of(f);
            if let Some(slow) = self.run_for(&mut caller, spec, args, key, f.share, &mut replies) {
                batch.slow.push((standing.next as u32, slow));
            }
            ends.push(replies.len() as u32);
            standing.at += f.args as usize;
            standing.next += 1;
        }
        batch.replies = replies;
        batch.ends = ends;
        if bouncing {
            self.note_returned(standing.from);
        }
        if !bounced.is_empty() {
            batch.bounced = Some(Box::new(Bounced { view: self.view.clone(), commands: bounced }));
        }
        if waits {
            return Some(standing);
        }
        if standing.from == self.at.me {
            self.deliver(standing.from, standing.batch);
        } else {
            self.answers.push((standing.from, standing.batch));
        }
        None
    }

    /// Goes on with batches that stood still, each sibling's in order.
    pub(super) fn go_on_standing(&mut self) {
        let mut blocked: Vec<usize> = Vec::new();
        for standing in std::mem::take(&mut self.loans.standing) {
            let from = standing.from;
            let rest = if blocked.contains(&from) { Some(standing) } else { self.answer(standing) };
            if let Some(rest) = rest {
                blocked.push(from);
                self.loans.standing.push_back(rest);
            }
        }
    }

    fn prefetch(&self, batch: &Batch) {
        let keyed = batch.commands.iter().filter(|f| f.key_arg > 0);
        self.ks.prefetch(keyed.map(|f| (f.db as usize, f.slot, f.hash)));
    }

    /// Gives sibling `of`'s replies to the clients that wait for them.
    fn deliver(&mut self, of: usize, mut batch: Box<Batch>) {
        for (n, slow) in std::mem::take(&mut batch.slow) {
            let t = batch.commands[n as usize].ticket;
            let client = self.clients.get_same(t.client, t.generation).map(|_| t.client);
            self.log_slow(of, slow, client);
        }
        let bounced = batch.bounced.take();
        let some_missing = bounced.is_some();
        if let Some(bounced) = bounced {
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
        self.note_answered(batch.era);
        self.keep_batch(batch);
    }
}
