//! MIGRATE: keys leave for another host while this shard goes on.
//!
//! From the moment that a MIGRATE begins until the target has acknowledged it, a key is *on its way*:
//! it is read here as ever, and whoever would write it waits, clients of this shard as for a loan,
//! commands of siblings one by one. Acknowledged, it is deleted here and the waiting try again; a move
//! that fails leaves here what was not acknowledged. So no write is lost or done twice, and a key is
//! always on one side at least.
//!
//! Values are written in steps of bounded work, one a turn. What does not fit into one step is written
//! twice, the first time only to learn its length: that goes over the wire first, and the value itself
//! need never be held in memory as a whole.

use super::bounce::Why;
use super::mail::{Batch, Share, Ticket};
use super::{Now, Shard};
use crate::command::ctx::class;
use crate::command::error::{Done, ErrReply};
use crate::command::migrate::{Migrate, NO_KEY};
use crate::command::spec::{Route, Spec};
use crate::command::table;
use crate::limits::{MIGRATE_AT_ONCE, MIGRATE_LINK_MS, MIGRATE_LINKS, MIGRATE_STEP, MIGRATE_WINDOW};
use crate::migrate::{Talk, Terms};
use crate::persist::{Dumping, Encoder};
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::session::Hold;
use crate::session::route::Verdict;
use crate::shard::script::may_write;
use crate::slot::{Slot, key_slot};
use crate::store::Look;
use std::collections::{HashMap, HashSet, VecDeque};

/// A connection to a target. Numbers are given by the shard, and used once.
pub type LinkId = u64;

/// What the shard wants of its sockets.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkOrder {
    Open { link: LinkId, host: String, port: u16 },
    Send { link: LinkId, bytes: Vec<u8> },
    Close { link: LinkId },
}

/// What becomes of a link. After [`LinkEvent::Closed`] nothing more is heard of it.
#[derive(Debug)]
pub enum LinkEvent<'a> {
    Opened,
    Received(&'a [u8]),
    /// So many bytes have been taken by the kernel.
    Sent(usize),
    Closed,
}

const UNREACHABLE: ErrReply = ErrReply::new("IOERR error or timeout connecting to the client");
const UNWRITTEN: ErrReply = ErrReply::new("IOERR error or timeout writing to target instance");
const UNREAD: ErrReply = ErrReply::new("IOERR error or timeout reading to target instance");

/// Who waits for a move.
pub(super) enum Asker {
    /// A client of this shard.
    Own(Ticket),
    /// A client of a sibling: the batch holds this one command.
    Sibling { from: usize, batch: Box<Batch> },
}

/// A connection that nobody uses at the moment.
struct Idle {
    target: (String, u16),
    link: LinkId,
    db: Option<i64>,
    /// The target may answer before the kernel says that all was sent.
    unsent: usize,
    since_ms: u64,
}

/// A value that is too long for one step.
struct Long {
    encoder: Box<Encoder>,
    dumping: Dumping,
    /// Bytes that were written: at first only counted.
    written: usize,
    /// How many there are in all, once that is known.
    len: Option<usize>,
}

/// One MIGRATE under way.
struct Move {
    asker: Asker,
    db: usize,
    migrate: Migrate,
    talk: Talk,
    opened: bool,
    /// Bytes given to the link and not yet taken by the kernel.
    unsent: usize,
    long: Option<Long>,
    may_retry: bool,
    /// What was said makes no sense any more: the target must not hear the rest.
    garbled: bool,
    deadline_ms: u64,
}

impl Move {
    fn target(&self) -> (String, u16) {
        (self.migrate.host.clone(), self.migrate.port)
    }

    /// Whether a step would get anywhere.
    fn can_write(&self) -> bool {
        self.opened && self.talk.upcoming().is_some() && self.unsent < MIGRATE_WINDOW
    }
}

/// All moves of one shard. Empty as long as nobody says MIGRATE.
#[derive(Default)]
pub(super) struct Moves {
    links: u64,
    under_way: HashMap<LinkId, Move>,
    /// Whose step was last.
    last: LinkId,
    /// MIGRATEs that wait for others to end.
    waiting: VecDeque<(Asker, OwnedArgs, usize)>,
    /// Keys on their way, of any database.
    keys: HashSet<Box<[u8]>>,
    slots: HashMap<Slot, usize>,
    /// Commands of siblings that wait for such a key, or behind one of the same client.
    parked: VecDeque<(usize, Box<Batch>)>,
    idle: Vec<Idle>,
    orders: Vec<LinkOrder>,
    encoder: Option<Box<Encoder>>,
}

impl Moves {
    pub(super) fn is_idle(&self) -> bool {
        self.keys.is_empty() && self.parked.is_empty()
    }

    /// Whether keys of this slot are on their way: its table must stay where it is.
    pub(super) fn holds_slot(&self, slot: Slot) -> bool {
        !self.slots.is_empty() && self.slots.contains_key(&slot)
    }

    /// Whether commands of this sibling wait.
    pub(super) fn parks_for(&self, from: usize) -> bool {
        self.parked.iter().any(|(sibling, _)| *sibling == from)
    }

    /// Whether a command of this sibling's client waits: later ones queue behind it.
    pub(super) fn is_parked(&self, from: usize, ticket: &Ticket) -> bool {
        let same = |t: &Ticket| (t.client, t.generation) == (ticket.client, ticket.generation);
        self.parked.iter().any(|(sibling, batch)| *sibling == from && same(&batch.commands[0].ticket))
    }

    /// Whether this key is on its way.
    pub(super) fn holds_key(&self, key: &[u8]) -> bool {
        !self.keys.is_empty() && self.keys.contains(key)
    }

    fn hold_key(&mut self, key: &[u8]) {
        if self.keys.insert(key.into()) {
            *self.slots.entry(key_slot(key)).or_default() += 1;
        }
    }

    fn let_key(&mut self, key: &[u8]) {
        if self.keys.remove(key) {
            let slot = key_slot(key);
            let left = self.slots.get_mut(&slot).expect("every key on its way is counted");
            *left -= 1;
            if *left == 0 {
                self.slots.remove(&slot);
            }
        }
    }

    /// Takes out the move whose step is next, if any has something to write.
    fn next_turn(&mut self) -> Option<(LinkId, Move)> {
        let able = |(link, one): (&LinkId, &Move)| one.can_write().then_some(*link);
        let able: Vec<LinkId> = self.under_way.iter().filter_map(able).collect();
        let behind = able.iter().copied().filter(|link| *link > self.last).min();
        self.last = behind.or(able.iter().copied().min())?;
        self.under_way.remove_entry(&self.last)
    }

    fn next_link(&mut self) -> LinkId {
        self.links += 1;
        self.links
    }
}

/// Command number `n` of a batch, in a batch of its own.
pub(super) fn alone(batch: &Batch, n: usize, args: Args<'_>) -> Box<Batch> {
    let mut one =
        Box::new(Batch { era: batch.era, view: batch.view, closer: batch.closer, ..Batch::default() });
    one.push(batch.commands[n], args.iter());
    one
}

impl Shard {
    /// What the shard wants of its sockets since the last call.
    pub fn take_link_orders(&mut self) -> impl Iterator<Item = LinkOrder> + '_ {
        self.moves.orders.drain(..)
    }

    pub(super) fn next_link(&mut self) -> LinkId {
        self.moves.next_link()
    }

    pub(super) fn order_link(&mut self, order: LinkOrder) {
        self.moves.orders.push(order);
    }

    #[inline]
    pub fn has_link_orders(&self) -> bool {
        !self.moves.orders.is_empty()
    }

    /// Whether a command would write a key that is on its way.
    pub(super) fn disturbs_move(&self, spec: &Spec, args: Args<'_>) -> bool {
        if self.moves.keys.is_empty() || !may_write(spec) {
            return false;
        }
        match spec.route {
            Route::Keys | Route::Home | Route::Channels | Route::Away | Route::Split { .. } => {
                table::keys_of(spec, args).iter().any(|k| self.moves.keys.contains(args.at(k.index)))
            }
            Route::Local | Route::All(_) | Route::Cursor => true,
        }
    }

    /// Lets a sibling's command wait until keys have arrived.
    pub(super) fn park(&mut self, from: usize, batch: Box<Batch>) {
        self.moves.parked.push_back((from, batch));
    }

    /// Tries the parked again, in their order.
    pub(super) fn go_on_parked(&mut self) {
        for (from, batch) in std::mem::take(&mut self.moves.parked) {
            self.retry(from, batch);
        }
    }

    /// MIGRATE of a client of this shard, which waits for it.
    pub(super) fn migrate(&mut self, client: u32, args: Args<'_>) -> Done {
        let discard = self.discards(client);
        let Some(session) = self.clients.get(client) else { return Ok(()) };
        let (place, db) = (session.pipeline.wait(discard), session.caller.db);
        session.hold = Hold::Move;
        let ticket = Ticket { client, generation: session.generation, place, part: 0 };
        self.begin_move(Asker::Own(ticket), args, db);
        Ok(())
    }

    /// Our part of a MIGRATE that several shards share.
    pub(super) fn migrate_part(&mut self, ticket: Ticket, args: Args<'_>) {
        let Some(session) = self.clients.get(ticket.client) else { return };
        let db = session.caller.db;
        self.begin_move(Asker::Own(ticket), args, db);
    }

    /// Begins a MIGRATE, or lets it wait for one that has to end before.
    pub(super) fn begin_move(&mut self, asker: Asker, args: Args<'_>, db: usize) {
        let busy = self.moves.under_way.len() >= MIGRATE_AT_ONCE;
        if busy || !self.moves.waiting.is_empty() {
            self.moves.waiting.push_back((asker, OwnedArgs::new(args.iter()), db));
            return;
        }
        self.start_move(asker, args, db);
    }

    fn start_move(&mut self, asker: Asker, args: Args<'_>, db: usize) {
        let migrate = match Migrate::parse(args) {
            Ok(migrate) => migrate,
            Err(error) => return self.conclude(asker, Err(error)),
        };
        let (from, clock) = (self.ks.db_mut(db), self.clock);
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        for i in migrate.keys.clone() {
            let key = from.key(args.at(i));
            if from.exists(&key, Look::Read, &clock) {
                keys.push(key.bytes.into());
            }
        }
        if keys.is_empty() {
            return self.conclude(asker, Ok(NO_KEY));
        }
        keys.iter().for_each(|key| self.moves.hold_key(key));
        self.note_withheld();
        let terms = Terms {
            auth: migrate.auth.clone(),
            db: migrate.db,
            asking: self.at.cluster,
            replace: migrate.replace,
        };
        let deadline_ms = self.now.ms() + migrate.timeout_ms;
        let talk = Talk::new(terms, keys);
        let one = Move {
            asker,
            db,
            migrate,
            talk,
            opened: false,
            unsent: 0,
            long: None,
            may_retry: true,
            garbled: false,
            deadline_ms,
        };
        self.connect(one, true);
    }

    /// Gives a move its link: one that is open already, if it may.
    fn connect(&mut self, mut one: Move, any: bool) {
        let target = one.target();
        let kept = self.moves.idle.iter().position(|idle| idle.target == target);
        if let Some(at) = kept {
            let idle = self.moves.idle.swap_remove(at);
            if any {
                one.opened = true;
                one.unsent = idle.unsent;
                one.talk.begin(idle.db);
                self.moves.under_way.insert(idle.link, one);
                return self.write_step();
            }
            self.moves.orders.push(LinkOrder::Close { link: idle.link });
        }
        let link = self.moves.next_link();
        let (host, port) = target;
        self.moves.orders.push(LinkOrder::Open { link, host, port });
        one.opened = false;
        one.unsent = 0;
        one.long = None;
        one.garbled = false;
        one.deadline_ms = self.now.ms() + one.migrate.timeout_ms;
        self.moves.under_way.insert(link, one);
    }

    /// Something happened on a link.
    pub fn link(&mut self, link: LinkId, event: LinkEvent<'_>, now: Now) {
        self.begin(now);
        if self.repl.has_link(link) {
            self.hear_upstream(event);
            self.resume_clients();
            return self.end_turn();
        }
        match self.moves.under_way.get_mut(&link) {
            None => self.hear_of_idle(link, &event),
            Some(one) => {
                one.deadline_ms = now.ms() + one.migrate.timeout_ms;
                match event {
                    LinkEvent::Opened => {
                        one.opened = true;
                        one.talk.begin(None);
                    }
                    LinkEvent::Sent(bytes) => one.unsent -= bytes,
                    LinkEvent::Received(bytes) => {
                        let sense = one.talk.hear(bytes);
                        self.delete_arrived(link);
                        if !sense {
                            self.break_off(link, false);
                        }
                    }
                    LinkEvent::Closed => self.break_off(link, false),
                }
                self.write_step();
                self.finish(link);
            }
        }
        self.resume_clients();
        self.end_turn();
    }

    fn hear_of_idle(&mut self, link: LinkId, event: &LinkEvent<'_>) {
        let Some(at) = self.moves.idle.iter().position(|idle| idle.link == link) else { return };
        match event {
            LinkEvent::Sent(bytes) => self.moves.idle[at].unsent -= bytes,
            LinkEvent::Opened => {}
            LinkEvent::Received(_) | LinkEvent::Closed => {
                self.moves.idle.swap_remove(at);
                self.moves.orders.push(LinkOrder::Close { link });
            }
        }
    }

    /// Writes a bounded part of one move's values; the next step is another's, in the next turn.
    pub(super) fn write_step(&mut self) {
        let Some((link, mut one)) = self.moves.next_turn() else { return };
        one.deadline_ms = self.now.ms() + one.migrate.timeout_ms;
        self.write_some(&mut one);
        let bytes = std::mem::take(one.talk.out());
        if !bytes.is_empty() {
            one.unsent += bytes.len();
            self.moves.orders.push(LinkOrder::Send { link, bytes });
        }
        let garbled = one.garbled;
        self.moves.under_way.insert(link, one);
        match garbled {
            true => self.break_off(link, false),
            false => self.finish(link),
        }
        self.chores |= self.moves.under_way.values().any(Move::can_write);
    }

    fn write_some(&mut self, one: &mut Move) {
        let mut room = MIGRATE_STEP;
        while room > 0 && one.talk.upcoming().is_some() {
            let before = one.talk.out().len();
            if one.long.is_some() {
                self.write_long(one);
                return;
            }
            self.write_one(one);
            room = room.saturating_sub(one.talk.out().len() - before);
        }
    }

    /// Writes the upcoming key, or finds out that it is a long one.
    fn write_one(&mut self, one: &mut Move) {
        let compress = self.conf.rdbcompression;
        let encoder = self.moves.encoder.get_or_insert_with(|| Box::new(Encoder::new(compress)));
        let db = self.ks.db(one.db);
        let key = db.key(one.talk.upcoming().expect("the caller looked"));
        let Some(entry) = db.peek(&key, &self.clock) else {
            return one.talk.skip();
        };
        let ttl = entry.expire_at().map_or(0, |at| at.saturating_sub(self.now.ms()).max(1));
        let mut value = Vec::new();
        if Dumping::new().step(entry.value(), encoder, MIGRATE_STEP, &mut value) {
            one.talk.head(ttl, value.len());
            one.talk.out().extend_from_slice(&value);
            one.talk.tail();
        } else {
            let encoder = Box::new(Encoder::new(compress));
            one.long = Some(Long { encoder, dumping: Dumping::new(), written: 0, len: None });
        }
    }

    /// One step of a long value: it is measured first and written then.
    fn write_long(&mut self, one: &mut Move) {
        let db = self.ks.db(one.db);
        let key = db.key(one.talk.upcoming().expect("a long value is the upcoming one"));
        let long = one.long.as_mut().expect("the caller looked");
        let Some(entry) = db.peek(&key, &self.clock) else {
            // expired or evicted in the midst: what the target has of it is no command
            match long.len {
                None => one.talk.skip(),
                Some(_) => one.garbled = true,
            }
            one.long = None;
            return;
        };
        let ttl = entry.expire_at().map_or(0, |at| at.saturating_sub(self.now.ms()).max(1));
        let mut value = Vec::new();
        let whole = long.dumping.step(entry.value(), &mut long.encoder, MIGRATE_STEP, &mut value);
        long.written += value.len();
        match long.len {
            None if whole => {
                one.talk.head(ttl, long.written);
                long.len = Some(long.written);
                long.dumping = Dumping::new();
                long.written = 0;
            }
            None => {}
            Some(len) => {
                one.talk.out().extend_from_slice(&value);
                if whole {
                    assert_eq!(long.written, len, "nobody changes a value that is on its way");
                    one.long = None;
                    one.talk.tail();
                }
            }
        }
    }

    /// Keys that the target has are the target's.
    fn delete_arrived(&mut self, link: LinkId) {
        let Some(one) = self.moves.under_way.get_mut(&link) else { return };
        let arrived = one.talk.take_arrived();
        if arrived.is_empty() {
            return;
        }
        let (copy, n) = (one.migrate.copy, one.db);
        let keys: Vec<Box<[u8]>> = arrived.iter().map(|&i| one.talk.keys()[i].clone()).collect();
        for bytes in keys {
            self.moves.let_key(&bytes);
            let db = self.ks.db_mut(n);
            let key = db.key(&bytes);
            if !copy && db.delete(&key, true, &self.clock) {
                self.fx.changed(n, &bytes, class::GENERIC, "del");
                self.propagate_gone(n, false, [&*bytes]);
                self.apply_alone();
            }
        }
        self.let_go_on();
    }

    /// Ends a move that has nothing left to say or to hear.
    fn finish(&mut self, link: LinkId) {
        let over = self.moves.under_way.get(&link).is_some_and(|one| one.opened && one.talk.is_over());
        if !over {
            return;
        }
        let one = self.moves.under_way.remove(&link).expect("it was there");
        let error = one
            .talk
            .error()
            .map(|why| ErrReply::quoting([b"ERR Target instance replied with error: ", why].concat()));
        let db = error.is_none().then_some(one.talk.db());
        let since_ms = self.now.ms();
        self.moves.idle.push(Idle { target: one.target(), link, db, unsent: one.unsent, since_ms });
        if self.moves.idle.len() > MIGRATE_LINKS {
            let oldest = self.moves.idle.remove(0);
            self.moves.orders.push(LinkOrder::Close { link: oldest.link });
        }
        self.note_kept_links();
        self.end_move(one, error.map_or(Ok(b"+OK\r\n"), Err));
    }

    /// A link broke, or its target was silent for too long.
    fn break_off(&mut self, link: LinkId, late: bool) {
        let Some(mut one) = self.moves.under_way.remove(&link) else { return };
        self.moves.orders.push(LinkOrder::Close { link });
        if one.opened && !late && one.may_retry && !one.talk.is_answered() {
            one.may_retry = false;
            return self.connect(one, false);
        }
        let error = match one.talk.error() {
            Some(why) => ErrReply::quoting([b"ERR Target instance replied with error: ", why].concat()),
            None if !one.opened => UNREACHABLE,
            None if one.unsent > 0 || one.talk.upcoming().is_some() => UNWRITTEN,
            None => UNREAD,
        };
        self.end_move(one, Err(error));
    }

    fn end_move(&mut self, one: Move, outcome: Result<&'static [u8], ErrReply>) {
        one.talk.keys().iter().for_each(|key| self.moves.let_key(key));
        self.conclude(one.asker, outcome);
        self.let_go_on();
        while self.moves.under_way.len() < MIGRATE_AT_ONCE
            && let Some((asker, args, db)) = self.next_waiting()
        {
            self.start_late(asker, args.as_args(), db);
        }
    }

    /// Begins a MIGRATE that waited: what it names may be another's by now.
    fn start_late(&mut self, asker: Asker, args: Args<'_>, db: usize) {
        let spec = table::find(args).expect("it was found when it came");
        let verdict = match &asker {
            Asker::Sibling { .. } => self.reroute(spec, args, false),
            Asker::Own(t) => match self.clients.get_same(t.client, t.generation) {
                Some(_) => match self.route_away(t.client, spec, args, None) {
                    Verdict::Open(slot) => self.route_open(t.client, spec, args, slot, None),
                    verdict => verdict,
                },
                None => self.reroute(spec, args, false),
            },
        };
        match (verdict, asker) {
            (Verdict::Here, asker) => self.start_move(asker, args, db),
            (Verdict::Refused(error), asker) => self.conclude(asker, Err(error)),
            (_, Asker::Sibling { from, batch }) => self.send_back_alone(from, batch, None),
            (_, Asker::Own(ticket)) => {
                // it is counted where it came first
                let Some(f) = self.forward_of(ticket, Share::Rest, spec) else { return };
                self.send_again((self.at.me, Why::Astray), &f, spec, args);
                self.accept_own_batch();
            }
        }
    }

    /// The first MIGRATE that waits, unless a key of it is on its way with another.
    fn next_waiting(&mut self) -> Option<(Asker, OwnedArgs, usize)> {
        let keys = &self.moves.keys;
        let free = |args: Args<'_>| !args.iter().any(|word| keys.contains(word));
        let first = self.moves.waiting.front().is_some_and(|(_, args, _)| free(args.as_args()));
        first.then(|| self.moves.waiting.pop_front()).flatten()
    }

    /// Answers who waits for a move.
    fn conclude(&mut self, asker: Asker, outcome: Result<&'static [u8], ErrReply>) {
        let mut reply = Vec::new();
        match outcome {
            Ok(text) => reply.extend_from_slice(text),
            Err(error) => {
                self.metrics.error(error.bytes());
                Reply::new(&mut reply, false).error(error.bytes());
            }
        }
        match asker {
            Asker::Sibling { from, batch } => self.send_back_alone(from, batch, Some(reply)),
            Asker::Own(t) => {
                if let Some(session) = self.clients.get_same(t.client, t.generation) {
                    session.pipeline.fill(t.place, t.part as usize, &reply, 0);
                    self.settle_client(t.client);
                }
            }
        }
    }

    /// Time passed: targets that are silent for too long, and connections that nobody used.
    pub(super) fn tick_moves(&mut self) {
        let now = self.now.ms();
        let late: Vec<LinkId> =
            self.moves.under_way.iter().filter(|(_, one)| one.deadline_ms <= now).map(|(l, _)| *l).collect();
        late.into_iter().for_each(|link| self.break_off(link, true));
        let Moves { idle, orders, .. } = &mut self.moves;
        idle.retain(|idle| {
            let keep = now.saturating_sub(idle.since_ms) <= MIGRATE_LINK_MS;
            if !keep {
                orders.push(LinkOrder::Close { link: idle.link });
            }
            keep
        });
        self.note_kept_links();
    }

    fn note_kept_links(&self) {
        self.metrics.kept_links.set(self.moves.idle.len() as u64);
    }
}
