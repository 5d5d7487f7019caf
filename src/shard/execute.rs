//! Runs one command: gate, route, handler, effects.

use super::mail::Onward;
use super::{FirstKey, Queued, Shard, What, loan};
use crate::command::acl::Context;
use crate::command::ctx::{Ctx, Event, class};
use crate::command::error::{Done, ErrReply};
use crate::command::spec::{Route, Run, Spec, flag};
use crate::command::table;
use crate::limits::OUTPUT_HIGH;
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::session::gate;
use crate::session::route::{self, Verdict, Visitor};
use crate::session::{Door, Hold, Mode, ReplyMode, Session};
use crate::slot::key_slot;
use crate::store::{ClientRef, Key};

/// What one command of `$caller` sees and may touch. No function, for the caller and the reply may be the
/// shard's own.
macro_rules! world {
    ($shard:expr, $caller:expr, $out:expr, $first_key:expr) => {
        $crate::command::ctx::Ctx {
            db: $caller.db,
            out: $crate::resp::Reply::new($out, $caller.resp3),
            ks: &mut $shard.ks,
            clock: $crate::store::Clock { no_touch: $caller.no_touch, ..$shard.clock },
            now_us: $shard.now.unix_us,
            conf: &$shard.conf,
            rng: &mut $shard.rng,
            fx: &mut $shard.fx,
            caller: &mut $caller,
            host: &$shard.host,
            view: &$shard.view,
            me: $shard.at.me,
            first_key: $first_key,
        }
    };
}
pub(super) use world;

impl Shard {
    /// One command of the queue; `bytes` is how it was sent.
    #[inline]
    pub(super) fn execute_queued(&mut self, q: &Queued, args: Args<'_>, bytes: &[u8]) {
        let Some(session) = self.clients.get_same(q.client, q.generation) else {
            return;
        };
        let plain = match session.mode {
            Mode::Plain => true,
            Mode::Apart => false,
            Mode::Closing => return,
        };
        if session.hold != Hold::None {
            session.held.extend_from_slice(bytes);
            return;
        }
        match &q.what {
            What::Run(spec) if !plain => match self.host.renames.of(args.at(0)) {
                None => self.admit_apart(q.client, spec, args, q.key, bytes),
                Some(meaning) => self.admit_renamed(q.client, meaning, args, bytes),
            },
            What::Run(spec) => self.admit(q.client, spec, args, q.key, bytes),
            What::Wrong => match self.host.renames.of(args.at(0)) {
                None => {
                    self.doom(q.client);
                    self.wrong(q.client, args);
                }
                Some(meaning) => self.admit_renamed(q.client, meaning, args, bytes),
            },
            What::Violation(text) => {
                self.say_error(q.client, &ErrReply::owned(format!("ERR Protocol error: {text}")));
                self.hang_up(q.client);
            }
        }
    }

    /// A command of a client that is in MULTI, or in a mode in which not all are allowed.
    #[cold]
    fn admit_apart(&mut self, client: u32, spec: &'static Spec, args: Args<'_>, key: FirstKey, bytes: &[u8]) {
        let session = self.clients.get(client).expect("the caller looked it up");
        let refused = self.metrics.command(spec.id).rejected.get();
        if session.multi.is_some() {
            self.admit_queued(client, spec, args, key, bytes);
        } else {
            match self.admit_closely(client, spec, args) {
                Ok(()) => self.admit(client, spec, args, key, bytes),
                Err(error) => self.reject(client, spec, &error),
            }
        }
        let ran = self.metrics.command(spec.id).rejected.get() == refused;
        self.note_read(client, spec, args, ran);
    }

    /// A command by a name that means something else than in the table, or nothing. It goes on by the name that
    /// it has there: so logs and replicas understand it, whatever they call it.
    #[cold]
    fn admit_renamed(&mut self, client: u32, meaning: Option<&'static Spec>, args: Args<'_>, bytes: &[u8]) {
        let name = meaning.map_or(args.at(0), |spec| spec.name.as_bytes());
        let words = OwnedArgs::new(std::iter::once(name).chain(args.from(1).iter()));
        let args = words.as_args();
        let found = if meaning.is_some() { table::resolve(args) } else { Err(table::unknown_command(args)) };
        match found {
            Ok(spec) => {
                let key = self.first_key_in(spec, args, bytes.len());
                self.admit_apart(client, spec, args, key, bytes);
            }
            Err(error) => {
                self.doom(client);
                self.say_error(client, &error);
            }
        }
    }

    /// Whether it may run, for a client of whom more is to be asked than of others.
    fn admit_closely(&mut self, client: u32, spec: &'static Spec, args: Args<'_>) -> Done {
        let session = self.clients.peek(client).expect("the caller looked it up");
        gate::authenticated(&self.conditions, session, spec)?;
        self.permit(client, spec, args, Context::Toplevel)?;
        let session = self.clients.peek(client).expect("the caller looked it up");
        gate::admit_listener(&self.conditions, session, spec)
    }

    /// Holds a client's command, sent as `bytes`, until CLIENT PAUSE is over.
    #[cold]
    pub(super) fn hold_for_pause(&mut self, client: u32, bytes: &[u8], before: Option<&'static Spec>) {
        if let Some(session) = self.clients.get(client) {
            session.hold = Hold::Until(self.conditions.paused_until);
            session.last = before;
            session.held.extend_from_slice(bytes);
            self.metrics.paused.inc();
        }
    }

    #[cold]
    fn wrong(&mut self, client: u32, args: Args<'_>) {
        if args.is(0, "post") || args.is(0, "host:") {
            let addr = self.clients.get(client).map_or(String::new(), |s| s.addr.clone());
            tracing::warn!(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Shoal: \
                 {addr}. Connection aborted."
            );
            return self.hang_up(client);
        }
        match table::resolve(args) {
            Err(error) => {
                if let Some(spec) = table::find(args) {
                    self.metrics.command(spec.id).rejected.inc();
                }
                self.say_error(client, &error);
            }
            Ok(_) => unreachable!("a command is wrong for what its bytes are"),
        }
    }

    #[inline]
    fn admit(&mut self, client: u32, spec: &'static Spec, args: Args<'_>, key: FirstKey, bytes: &[u8]) {
        if self.pressure.limited && spec.has(flag::DENYOOM) {
            self.make_room();
        }
        let now_ms = self.now.ms();
        let session = self.clients.get(client).expect("the caller looked it up");
        if let Err(error) = gate::admit(&self.conditions, session, spec) {
            return self.reject(client, spec, &error);
        }
        if gate::paused(&self.conditions, spec, now_ms) {
            let before = session.last;
            return self.hold_for_pause(client, bytes, before);
        }
        let before = session.last.replace(spec);
        if self.conditions.careful && self.must_wait_for_snapshot(client, spec, args, key) {
            return self.hold_for_snapshot(client, bytes, before);
        }
        if self.simple {
            return self.run_here(client, spec, args, key);
        }
        if self.withholds && self.must_wait(spec, args) {
            return match self.refuses_key(spec, key.slot) {
                None => self.hold_back(client, bytes, before),
                Some(error) => self.reject(client, spec, &error),
            };
        }
        let verdict = match self.route(client, spec, args, key, before) {
            Verdict::Open(slot) => self.route_open(client, spec, args, slot, before),
            verdict => verdict,
        };
        match verdict {
            Verdict::Here => return self.run_here(client, spec, args, key),
            Verdict::Sibling(to) if self.is_refused_by(to, spec) => {
                return self.reject_busy(client, to, spec);
            }
            Verdict::Sibling(_) if self.keeps_scripts(client, spec) => self.borrow(client, spec, args),
            Verdict::Ask(_) if self.keeps_scripts(client, spec) => {
                return self.reject(client, spec, &route::UNSTABLE);
            }
            Verdict::Sibling(to) => self.forward(client, Onward { to, asking: false }, spec, args, key),
            Verdict::Ask(to) => self.forward(client, Onward { to, asking: true }, spec, args, key),
            Verdict::Crossing => self.cross(client, spec, args),
            Verdict::Refused(error) => return self.reject(client, spec, &error),
            Verdict::Open(_) => unreachable!("an open slot's keys have decided"),
        }
        self.lap = 0;
    }

    /// Whether a script keeps a sibling busy, which refuses commands meanwhile.
    #[inline]
    fn is_refused_by(&self, sibling: usize, spec: &Spec) -> bool {
        self.host.registers.busy_of(sibling).is_busy() && !spec.has(flag::ALLOW_BUSY)
    }

    #[cold]
    fn reject_busy(&mut self, client: u32, sibling: usize, spec: &Spec) {
        if let Some(error) = self.host.registers.busy_of(sibling).refusal() {
            self.reject(client, spec, &error);
        }
    }

    #[inline]
    pub(super) fn route(
        &mut self,
        client: u32,
        spec: &'static Spec,
        args: Args<'_>,
        key: FirstKey,
        before: Option<&'static Spec>,
    ) -> Verdict {
        let session = self.clients.get(client).expect("the caller looked it up");
        let who = visitor(session, spec, before);
        match spec.route {
            Route::Local => Verdict::Here,
            Route::All(_) => self.route_all(client),
            Route::Cursor => self.route_cursor(client, args),
            Route::Channels => self.route_channels(client, spec, args, before),
            Route::Home => self.route_home(client, spec, args, before),
            Route::Keys | Route::Away | Route::Split { .. } if key.arg == 0 => Verdict::Here,
            Route::Keys
                if spec.legacy.first > 0 && spec.legacy.last == spec.legacy.first && spec.keys.len() == 1 =>
            {
                route::of_slot(self.at, &self.view, who, key.slot)
            }
            Route::Away => self.route_away(client, spec, args, before),
            Route::Keys if !self.at.cluster && loan::needs_everything(spec, args) => Verdict::Crossing,
            Route::Keys | Route::Split { .. } => {
                let keys = table::keys_of(spec, args);
                let slots = keys.iter().map(|k| key_slot(args.at(k.index)));
                route::of_slots(self.at, &self.view, who, slots)
            }
        }
    }

    /// Where a command runs that never leaves its client's shard.
    #[cold]
    fn route_home(
        &mut self,
        client: u32,
        spec: &'static Spec,
        args: Args<'_>,
        before: Option<&'static Spec>,
    ) -> Verdict {
        let session = self.clients.get(client).expect("the caller looked it up");
        session.asking = before.is_some_and(|spec| spec.name == "asking");
        let keys = table::keys_of(spec, args);
        let slots = keys.iter().map(|k| key_slot(args.at(k.index)));
        match route::of_slots(self.at, &self.view, visitor(session, spec, before), slots) {
            Verdict::Sibling(_) | Verdict::Ask(_) => Verdict::Crossing,
            verdict => verdict,
        }
    }

    /// Where a command about shard channels runs: with its client, if the channels are of this node, or at
    /// the front door of this host.
    #[cold]
    fn route_channels(
        &mut self,
        client: u32,
        spec: &'static Spec,
        args: Args<'_>,
        before: Option<&'static Spec>,
    ) -> Verdict {
        let session = self.clients.get(client).expect("the caller looked it up");
        let who = visitor(session, spec, before);
        let mut slots = channels_of(spec, args).map(key_slot);
        let verdict = match session.door {
            Door::Own => route::of_slots(self.at, &self.view, who, slots),
            Door::Front => {
                let refused = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
                let of = |slot| route::of_slot(self.at, &self.view, who, slot);
                slots.find_map(|slot| Some(of(slot)).filter(refused)).unwrap_or(Verdict::Here)
            }
        };
        match verdict {
            Verdict::Refused(error) => Verdict::Refused(error),
            _ => Verdict::Here,
        }
    }

    /// Executes on this shard, for a client of this shard.
    pub(super) fn run_here(&mut self, client: u32, spec: &'static Spec, args: Args<'_>, key: FirstKey) {
        // of a transaction, EXEC has asked
        if self.conditions.restricted
            && !self.in_exec
            && let Err(error) = gate::may_run(&self.conditions, spec)
        {
            self.metrics.command(spec.id).rejected.inc();
            return self.say_error(client, &error);
        }
        if let Run::Above(verb) = spec.run {
            return self.run_verb(client, verb, spec, args);
        }
        let started = self.started();
        let session = self.clients.get(client).expect("the caller looked it up");
        let direct = session.pipeline.is_empty() && session.reply_mode == ReplyMode::On;
        let out = if direct { &mut session.out } else { &mut self.reply };
        let mark = out.len();
        let mut ctx = world!(self, session.caller, out, first_key(args, key));
        let failed = call(&mut ctx, spec, args, mark);
        let written = ctx.out.mark() - mark;
        if !direct {
            let reply = std::mem::take(&mut self.reply);
            self.say(client, &reply);
            self.reply = reply;
            self.reply.clear();
        }
        self.after(spec, args, started, failed, Some(client));
        self.note_load(key, self.lap.wrapping_sub(started), written);
    }

    /// Books a command on the slot of its first key.
    #[inline(always)]
    pub(super) fn note_load(&mut self, key: FirstKey, ticks: u64, written: usize) {
        if key.arg > 0 && self.at.cluster {
            self.ks.db_mut(0).note_load(key.slot, ticks, key.bytes as usize, written);
        }
    }

    /// When the command that runs now began, in ticks.
    #[inline]
    pub(super) fn started(&self) -> u64 {
        if self.lap == 0 { (self.ticks.read)() } else { self.lap }
    }

    /// Bookkeeping of an executed command.
    #[inline(always)]
    pub(super) fn after(
        &mut self,
        spec: &'static Spec,
        args: Args<'_>,
        started: u64,
        failed: bool,
        client: Option<u32>,
    ) {
        self.lap = (self.ticks.read)();
        let ticks = self.lap.wrapping_sub(started);
        self.metrics.commands.inc();
        let stats = self.metrics.command(spec.id);
        stats.record(ticks);
        if failed {
            stats.failed.inc();
        }
        // first, for a command that changes what is slow is measured by what it has set
        self.apply_effects(client, None, (spec, args));
        if ticks >= self.slow_ticks {
            self.note_slow(spec, args, ticks, client);
        }
        if let Some(client) = client
            && let Some(session) = self.clients.get(client)
        {
            Shard::list(&mut self.news, client, session);
            if session.is_overfull(self.output_high) {
                self.stem(client);
            }
        }
    }

    /// A client has much to read: it is to read first, or is cut off if it has more than it may.
    #[cold]
    fn stem(&mut self, client: u32) {
        self.cut_off_if_overflown(client);
        if let Some(session) = self.clients.get(client)
            && session.is_overfull(OUTPUT_HIGH)
            && session.hold == Hold::None
        {
            session.hold = Hold::Output;
        }
    }

    /// What the command did besides its reply.
    #[inline]
    pub(super) fn apply_effects(
        &mut self,
        client: Option<u32>,
        db: Option<usize>,
        what: (&'static Spec, Args<'_>),
    ) {
        // with somebody who takes the stream or hears of keys, reads matter too: they may have met expired
        // keys, or none
        if self.fx.dirty | (self.fx.propagating | self.fx.listening) as u64 != 0 {
            if self.fx.propagating {
                let session = client.and_then(|client| self.clients.get(client));
                let db = db.or(session.map(|s| s.caller.db)).unwrap_or(0);
                self.propagate(db, what.0, what.1);
            } else if self.wants_expired() {
                self.tell_expired();
            }
            self.metrics.dirty.add(self.fx.dirty);
            self.fx.dirty = 0;
            self.fx.quiet = false;
            self.fx.instead.clear();
            if !self.fx.events.is_empty() || self.events.has_gone() {
                let author = client.map(|client| self.client_ref(client));
                self.apply_events(author.or(self.trackers.author));
            }
        }
        if let Some(aside) = self.fx.aside.take() {
            self.apply_aside(aside, client, what);
        }
    }

    /// What changed without a command of a client, and is told already.
    pub(super) fn apply_alone(&mut self) {
        self.metrics.dirty.add(std::mem::take(&mut self.fx.dirty));
        self.fx.instead.clear();
        if !self.fx.events.is_empty() {
            self.apply_events(None);
        }
    }

    /// Whom the command's changes concern.
    #[cold]
    fn apply_events(&mut self, author: Option<ClientRef>) {
        self.announce_expired();
        let mut events = std::mem::take(&mut self.fx.events);
        for event in events.drain(..) {
            let wakes = event.wakes();
            let Event { class, name, key, db, changed } = event;
            if class == class::FLUSH {
                self.invalidate_all((name == "flushdb").then_some(db), author);
                continue;
            }
            if changed {
                self.ks.db_mut(db).touch(key_slot(&key), &key);
            }
            if wakes {
                self.note_ready(db, &key);
            }
            if changed {
                self.invalidate(db, &key, author);
            }
            self.announce(class, name, &key, db);
        }
        self.fx.events = events;
        self.serve_ready();
        self.note_interest();
    }

    /// Sends `reply` to a client, in its turn and if it wants replies.
    pub(super) fn say(&mut self, client: u32, reply: &[u8]) {
        let Some(session) = self.clients.get(client) else {
            return;
        };
        match session.reply_mode {
            ReplyMode::Off => return,
            ReplyMode::SkipNext => {
                session.reply_mode = ReplyMode::On;
                return;
            }
            ReplyMode::On => {}
        }
        if session.pipeline.is_empty() {
            session.out.extend_from_slice(reply);
        } else {
            session.pipeline.append(reply);
        }
        Shard::list(&mut self.news, client, session);
    }

    pub(super) fn say_error(&mut self, client: u32, error: &ErrReply) {
        self.metrics.error(error.bytes());
        let mut reply = Vec::new();
        Reply::new(&mut reply, false).error(error.bytes());
        self.say(client, &reply);
    }

    /// Closes a client once its replies are sent. For others it is gone.
    pub(super) fn hang_up(&mut self, client: u32) {
        if let Some(session) = self.clients.get(client) {
            session.mode = Mode::Closing;
            self.host.registers.roll.leave(self.at.me, session.caller.id);
            Shard::list(&mut self.news, client, session);
        }
    }
}

/// The shard channels that a command names.
pub(super) fn channels_of<'a>(spec: &Spec, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> + Clone {
    let end = match spec.route {
        Route::Channels if spec.legacy.last < 0 => args.len(),
        Route::Channels => args.len().min(2),
        _ => 1,
    };
    (1..end).map(move |i| args.at(i))
}

/// A client of this shard, to the router.
#[inline]
pub(super) fn visitor<'a>(
    session: &'a Session,
    spec: &'static Spec,
    before: Option<&'static Spec>,
) -> Visitor<'a> {
    let Session { door, caller, .. } = session;
    Visitor {
        door: *door,
        local_ip: &caller.local_ip,
        spec,
        before,
        asking: false,
        readonly: caller.readonly,
    }
}

#[inline]
pub(super) fn first_key<'a>(args: Args<'a>, key: FirstKey) -> Option<Key<'a>> {
    (key.arg > 0).then(|| Key { bytes: args.at(key.arg as usize), slot: key.slot, hash: key.hash })
}

/// Calls the handler; true when it failed, with its error written.
#[inline(always)]
pub(super) fn call(ctx: &mut Ctx<'_>, spec: &'static Spec, args: Args<'_>, mark: usize) -> bool {
    match attempt(ctx, spec, args) {
        Ok(()) => false,
        Err(error) => {
            failed(ctx, &error, mark);
            true
        }
    }
}

#[cold]
fn failed(ctx: &mut Ctx<'_>, error: &ErrReply, mark: usize) {
    ctx.host.metrics[ctx.me].error(error.bytes());
    ctx.out.truncate(mark);
    ctx.out.error(error.bytes());
}

/// Calls the handler.
#[inline(always)]
pub(super) fn attempt(ctx: &mut Ctx<'_>, spec: &'static Spec, args: Args<'_>) -> Done {
    match spec.run {
        Run::Here(handler) => handler(ctx, args),
        Run::Sub => Err(crate::command::error::arity(spec.name)),
        Run::Above(_) => unreachable!("verbs are executed by the shard"),
    }
}
