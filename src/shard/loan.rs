//! Lending: a command whose keys belong to several shards borrows their slots' tables, runs as if on
//! one core, and gives them back.
//!
//! Only pointers move. Owners are asked one after another in the order of their numbers, the
//! borrower's own shard in its place, so that two loans never wait for each other. While a slot is
//! lent, commands that need it wait at its owner: clients of that shard are held, batches of siblings
//! stand still. A sibling's batch that stands still is older than the loans that the same sibling
//! asks for after it, and goes first: what one client sent is executed in order.
//!
//! A slot that is being handed to us counts as lent until it is here. What handoffs mean to loans is told
//! in `handoff`.

use super::answer::Standing;
use super::mail::{Mail, Share, Tables, Ticket};
use super::stream::Stream;
use super::{FirstKey, Shard, stream};
use crate::command::ctx::Caller;
use crate::command::error::ErrReply;
use crate::command::spec::{Begin, Route, Run, Spec, Verb, flag};
use crate::command::table;
use crate::config::types::AppendFsync;
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::session::route::{CROSSSLOT, UNSTABLE};
use crate::session::{Hold, Watched};
use crate::slot::{Slot, key_slot};
use crate::store::ClientRef;
use std::collections::{HashMap, HashSet, VecDeque};

/// A command that gathers what it needs.
struct Loan {
    ticket: Ticket,
    spec: &'static Spec,
    args: OwnedArgs,
    wanted: Wanted,
    caller: Caller,
    /// Its client waits for it.
    holds: bool,
    /// Its client keeps a copy of what it reads.
    tracks: bool,
    /// The handoffs that were known when its needs were found out.
    era: u64,
    /// Owners in ascending order, with the slots that are needed of each.
    needs: Needs,
    /// How many of them have lent.
    got: usize,
    /// What the others lent, by owner.
    tables: Vec<(usize, Tables)>,
    /// No slot of it is open or has gone: see [`Mail::Lend`].
    settled: bool,
    /// Owners with whom some of it is landing.
    landing: Vec<usize>,
}

/// What a command needs.
pub(super) enum Wanted {
    Slots(Vec<Slot>),
    /// Whatever the host has.
    Everything,
}

/// Owners with their slots.
pub(super) type Needs = Vec<(usize, Vec<Slot>)>;

/// A command that ran, whose reply waits until its changes are on the disks of their owners.
struct Unkept {
    ticket: Ticket,
    holds: bool,
    reply: Vec<u8>,
    /// How many owners have not said so yet.
    waits: usize,
}

/// Somebody wants slots of ours.
struct Wish {
    from: usize,
    loan: u64,
    era: u64,
    slots: Vec<Slot>,
}

/// Both sides of lending, of one shard. Empty as long as no command spans shards.
#[derive(Default)]
pub(super) struct Loans {
    next: u64,
    open: HashMap<u64, Loan>,
    unkept: HashMap<u64, Unkept>,
    lent: HashSet<Slot>,
    /// What this shard has itself of slots that it has borrowed, while a command runs on these.
    aside: Vec<Tables>,
    wishes: VecDeque<Wish>,
    /// Clients, and their generations, held until something comes back.
    waiting: Vec<(u32, u32)>,
    /// Watches, and waits (true), that end when their slot is back.
    pub(super) late: Vec<(ClientRef, bool, Watched)>,
    /// Batches of siblings that stand still, oldest first.
    pub(super) standing: VecDeque<Standing>,
    /// While a command runs on borrowed slots: what it changes, by owner.
    pub(super) shares: Option<Vec<stream::Share>>,
}

/// Whether a command on loan changes its client, and not only replies to it.
fn is_at_home(spec: &Spec) -> bool {
    spec.route == Route::Home || matches!(spec.run, Run::Above(_))
}

impl Loans {
    /// Nothing is lent, borrowed or wished for, and nobody waits for it.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        let nobody_waits = self.wishes.is_empty() && self.waiting.is_empty() && self.standing.is_empty();
        nobody_waits && self.open.is_empty() && self.lent.is_empty() && self.late.is_empty()
    }

    pub(super) fn is_lent(&self, slot: Slot) -> bool {
        self.lent.contains(&slot)
    }
}

/// Whether a command finds out which keys it reads only while it runs: SORT with BY or GET.
pub(super) fn needs_everything(spec: &Spec, args: Args<'_>) -> bool {
    let unknown = spec.keys.iter().any(|k| matches!(k.begin, Begin::Unknown));
    unknown && (2..args.len()).any(|i| args.is(i, "by") || args.is(i, "get"))
}

impl Shard {
    /// Whether anything of ours is lent.
    #[inline]
    pub fn is_lending(&self) -> bool {
        !self.loans.lent.is_empty()
    }

    /// Whether a command has to wait for what is lent or on its way.
    pub(super) fn must_wait(&self, spec: &Spec, args: Args<'_>) -> bool {
        self.is_lending() && self.needs_lent(spec, args) || self.disturbs_move(spec, args)
    }

    /// Whether a command has to wait for a slot of ours to come back.
    pub(super) fn needs_lent(&self, spec: &Spec, args: Args<'_>) -> bool {
        match spec.route {
            Route::All(_) | Route::Cursor => true,
            // the plane is told how many keys there are
            Route::Local => {
                spec.has(flag::WRITE | flag::READONLY) || matches!(spec.run, Run::Above(Verb::Plane))
            }
            Route::Keys | Route::Home | Route::Channels | Route::Away | Route::Split { .. } => {
                let keys = table::keys_of(spec, args);
                keys.iter().any(|k| self.loans.lent.contains(&key_slot(args.at(k.index))))
            }
        }
    }

    /// Holds a client's command, sent as `bytes`, until what it needs is back. `before` is the command
    /// before it: with that one, it is routed again.
    pub(super) fn hold_back(&mut self, client: u32, bytes: &[u8], before: Option<&'static Spec>) {
        if let Some(session) = self.clients.get(client) {
            session.hold = Hold::Loan;
            session.last = before;
            session.held.extend_from_slice(bytes);
            self.loans.waiting.push((client, session.generation));
        }
    }

    /// Begins a command over several shards. Its client waits for it.
    pub(super) fn borrow(&mut self, client: u32, spec: &'static Spec, args: Args<'_>) {
        let wanted = self.wanted(spec, args);
        if self.needs_of(&wanted).is_none() {
            return self.say_error(client, &CROSSSLOT);
        }
        // what runs at home says its reply itself
        let discard = !is_at_home(spec) && self.discards(client);
        self.borrow_all(client, spec, args, wanted, discard);
    }

    /// As [`Shard::borrow`], of a command whose keys are not in its arguments.
    pub(super) fn borrow_all(
        &mut self,
        client: u32,
        spec: &'static Spec,
        args: Args<'_>,
        wanted: Wanted,
        discard: bool,
    ) {
        let Some(session) = self.clients.get(client) else {
            return;
        };
        let place = session.pipeline.wait(discard);
        session.hold = Hold::Loan;
        let ticket = Ticket { client, generation: session.generation, place, part: 0 };
        self.open_loan(ticket, spec, args, wanted, true);
    }

    /// As [`Shard::borrow`], for a command that has its place already; what its client sent behind it is
    /// on its way, too.
    pub(super) fn borrow_for(&mut self, ticket: Ticket, spec: &'static Spec, args: Args<'_>) {
        let wanted = self.wanted(spec, args);
        self.open_loan(ticket, spec, args, wanted, false);
    }

    fn open_loan(
        &mut self,
        ticket: Ticket,
        spec: &'static Spec,
        args: Args<'_>,
        wanted: Wanted,
        holds: bool,
    ) {
        let Some(session) = self.clients.get_same(ticket.client, ticket.generation) else {
            return;
        };
        let caller = session.caller.clone();
        self.loans.next += 1;
        let id = self.loans.next;
        let args = OwnedArgs::new(args.iter());
        let (needs, tables, landing) = Default::default();
        let (era, got, settled) = (0, 0, true);
        let tracks = session.tracking.as_ref().is_some_and(|tracking| tracking.remembers());
        let loan = Loan {
            ticket,
            spec,
            args,
            wanted,
            caller,
            holds,
            tracks,
            era,
            needs,
            got,
            tables,
            settled,
            landing,
        };
        self.loans.open.insert(id, loan);
        self.begin_loan(id);
    }

    fn wanted(&self, spec: &Spec, args: Args<'_>) -> Wanted {
        match !self.at.cluster && needs_everything(spec, args) {
            true => Wanted::Everything,
            false => {
                let keys = table::keys_of(spec, args);
                Wanted::Slots(keys.iter().map(|k| key_slot(args.at(k.index))).collect())
            }
        }
    }

    /// Whom to ask for what; `None` when a slot is no shard's of this host.
    pub(super) fn needs_of(&self, wanted: &Wanted) -> Option<Needs> {
        let owned = |slot: &Slot| self.view.local_owner(*slot).is_some();
        let slots = match wanted {
            Wanted::Slots(slots) => slots.clone(),
            Wanted::Everything => (0..crate::slot::SLOTS as Slot).filter(owned).collect(),
        };
        let mut needs = Needs::new();
        for slot in slots {
            let owner = self.view.local_owner(slot)? as usize;
            match needs.iter_mut().find(|(o, _)| *o == owner) {
                Some((_, list)) => list.push(slot),
                None => needs.push((owner, vec![slot])),
            }
        }
        needs.sort_unstable_by_key(|n| n.0);
        for (_, slots) in &mut needs {
            slots.sort_unstable();
            slots.dedup();
        }
        Some(needs)
    }

    /// Finds out whom to ask, and asks the first.
    fn begin_loan(&mut self, id: u64) {
        let needs = self.needs_of(&self.loans.open[&id].wanted);
        let loan = self.loans.open.get_mut(&id).expect("it was just looked at");
        let Some(needs) = needs else {
            return self.end_loan(id, &CROSSSLOT);
        };
        (loan.needs, loan.era, loan.got) = (needs, self.handoffs.era, 0);
        loan.settled = true;
        loan.landing.clear();
        self.advance(id);
    }

    /// A loan whose owners have changed gives back what it has and asks anew.
    pub(super) fn begin_loan_again(&mut self, id: u64) {
        let loan = self.loans.open.get_mut(&id).expect("loans end only here");
        let got = loan.got;
        let needs = std::mem::take(&mut loan.needs);
        for (owner, tables) in std::mem::take(&mut loan.tables) {
            let changes = Box::default();
            self.letters.push((owner, Mail::Return { tables, changes, receipt: None }));
        }
        if let Some((_, slots)) = needs[..got].iter().find(|(owner, _)| *owner == self.at.me) {
            self.unlend(slots);
        }
        self.begin_loan(id);
    }

    /// Wishes of an older era than ours can't be granted any more.
    pub(super) fn refuse_old_wishes(&mut self) {
        let era = self.handoffs.era;
        let (old, rest) = std::mem::take(&mut self.loans.wishes).into_iter().partition(|w| w.era < era);
        self.loans.wishes = rest;
        for wish in Vec::from(old) {
            self.refuse(wish);
        }
    }

    fn refuse(&mut self, wish: Wish) {
        if wish.from == self.at.me {
            return self.begin_loan_again(wish.loan);
        }
        let view = self.view.clone();
        self.letters.push((wish.from, Mail::Refuse { loan: wish.loan, view }));
    }

    /// Whether a slot is not here at the moment.
    pub(super) fn is_lent(&self, slot: Slot) -> bool {
        self.loans.is_lent(slot)
    }

    /// What needs this slot waits until [`Shard::unlend`].
    pub(super) fn lend_out(&mut self, slot: Slot) {
        let new = self.loans.lent.insert(slot);
        assert!(new, "a slot is lent once");
    }

    /// Asks the next owner, or runs the command when all have lent.
    fn advance(&mut self, id: u64) {
        let loan = self.loans.open.get(&id).expect("an open loan advances");
        let Some((owner, slots)) = loan.needs.get(loan.got) else {
            return self.run_loan(id);
        };
        let (owner, slots, era) = (*owner, slots.clone(), loan.era);
        if owner == self.at.me {
            self.wish(owner, id, slots, era);
        } else {
            self.letters.push((owner, Mail::Borrow { loan: id, slots, era }));
        }
    }

    /// A sibling wants slots of ours, or a loan of our own does.
    pub(super) fn wish(&mut self, from: usize, loan: u64, slots: Vec<Slot>, era: u64) {
        let wish = Wish { from, loan, era, slots };
        if era < self.handoffs.era {
            return self.refuse(wish);
        }
        self.loans.wishes.push_back(wish);
        self.grant();
    }

    /// Lends to whoever can be served.
    pub(super) fn grant(&mut self) {
        let mut i = 0;
        while i < self.loans.wishes.len() {
            let wish = &self.loans.wishes[i];
            // what is ahead of us waits until we have caught up; a large value that is half written to a
            // snapshot must not change
            let written = [self.ks.large_slot(), self.landings.half_told()];
            let taken = |s: &Slot| {
                self.loans.lent.contains(s) || self.moves.holds_slot(*s) || written.contains(&Some(*s))
            };
            let busy = wish.era > self.handoffs.era
                || wish.slots.iter().any(taken)
                || self.moves.parks_for(wish.from)
                || self.loans.standing.iter().any(|s| s.from == wish.from)
                || self.loans.wishes.iter().take(i).any(|w| w.slots.iter().any(|s| wish.slots.contains(s)));
            if busy {
                i += 1;
                continue;
            }
            let Wish { from, loan, slots, .. } = self.loans.wishes.remove(i).expect("it is there");
            self.loans.lent.extend(slots.iter().copied());
            self.note_withheld();
            let settled = self.are_settled(&slots);
            let landing = slots.iter().any(|slot| self.landings.has(*slot));
            if from == self.at.me {
                let own = self.loans.open.get_mut(&loan).expect("our own loan is open");
                own.got += 1;
                own.settled &= settled;
                own.landing.extend(landing.then_some(from));
                self.advance(loan);
                // running it may have changed the list
                i = 0;
            } else {
                let tables = self.take_tables(&slots);
                self.letters.push((from, Mail::Lend { loan, tables, settled, landing }));
            }
        }
    }

    /// Whether these slots are ours, and not on their way to somebody else.
    fn are_settled(&self, slots: &[Slot]) -> bool {
        let (view, me) = (&self.view, self.at.me);
        let owner = view.local_index(me);
        slots.iter().all(|s| view.owner_index(*s) == owner && view.migrating(me, *s).is_none())
    }

    pub(super) fn take_tables(&mut self, slots: &[Slot]) -> Tables {
        let tables = self.ks.iter_mut().map(|db| slots.iter().map(|&s| db.take_slot(s)).collect()).collect();
        self.note_interest();
        tables
    }

    pub(super) fn put_tables(&mut self, tables: Tables) {
        for (db, tables) in self.ks.iter_mut().zip(tables) {
            for table in tables {
                let before = db.put_slot(table);
                assert_eq!(before.len(), 0, "a lent slot stays empty until it is back");
            }
        }
        self.note_interest();
    }

    /// Takes in what siblings have lent. What is here of those slots already, as with a replica whose primary
    /// is the sibling, stands aside until they have gone back.
    pub(super) fn borrow_tables(&mut self, tables: Tables) {
        let slots = tables.first().into_iter().flatten().map(|table| table.slot());
        let held: Vec<Slot> = slots.filter(|slot| self.ks.iter().any(|db| db.slot_len(*slot) > 0)).collect();
        if !held.is_empty() {
            let aside = self.take_tables(&held);
            self.loans.aside.push(aside);
        }
        self.put_tables(tables);
    }

    /// All that was borrowed has gone.
    fn end_borrowing(&mut self) {
        for aside in std::mem::take(&mut self.loans.aside) {
            self.put_tables(aside);
        }
    }

    /// An owner lends what we asked for.
    pub(super) fn lent(&mut self, from: usize, id: u64, tables: Tables, settled: bool, landing: bool) {
        let loan = self.loans.open.get_mut(&id).expect("loans end only here");
        loan.tables.push((from, tables));
        loan.settled &= settled;
        loan.landing.extend(landing.then_some(from));
        loan.got += 1;
        self.advance(id);
        // it may have run, and our own slots in it are free again for who wished for them meanwhile
        self.grant();
    }

    /// Everything is here: runs the command and gives everything back.
    fn run_loan(&mut self, id: u64) {
        let Loan { ticket, spec, args, mut caller, needs, tables, holds, tracks, settled, landing, .. } =
            self.loans.open.remove(&id).expect("a loan runs once");
        for (_, tables) in tables {
            self.borrow_tables(tables);
        }
        let mut reply = Vec::new();
        self.lap = 0;
        let strict = self.is_strict();
        if settled {
            let what = (spec, args.as_args());
            self.run_borrowed(ticket, what, &mut caller, (&needs, &landing), &mut reply);
            if tracks && !is_at_home(spec) {
                self.note_read_for(self.reader(ticket.client), caller.db, spec, what.1);
            }
        } else {
            reply = self.failed_loan(ticket, spec, &UNSTABLE);
        }
        let shares = self.loans.shares.take();
        let mut changes = shares.into_iter().flatten().map(|(_, _, changes)| changes);
        // before anything of ours goes on that might take it for ours
        let (me, mut waits, mut own) = (self.at.me, 0, None);
        for (owner, slots) in needs {
            let mut changes = changes.next().unwrap_or_default();
            if owner == me {
                self.take_changes(&mut changes);
                own = Some(slots);
                continue;
            }
            let receipt = (strict && !changes.is_empty()).then_some(id);
            waits += receipt.is_some() as usize;
            let tables = self.take_tables(&slots);
            self.letters.push((owner, Mail::Return { tables, changes: Box::new(changes), receipt }));
        }
        self.end_borrowing();
        match waits {
            0 => self.reply_to_loan(ticket, holds, &reply),
            _ => drop(self.loans.unkept.insert(id, Unkept { ticket, holds, reply, waits })),
        }
        if let Some(slots) = own {
            self.unlend(&slots);
        }
    }

    /// Whether no reply may leave before what it tells of is on the disk.
    fn is_strict(&self) -> bool {
        self.conf.appendonly && self.conf.appendfsync == AppendFsync::Always
    }

    /// Executes a command on borrowed slots, and keeps apart what it changes of whom.
    fn run_borrowed(
        &mut self,
        ticket: Ticket,
        (spec, args): (&'static Spec, Args<'_>),
        caller: &mut Caller,
        (needs, landing): (&Needs, &[usize]),
        reply: &mut Vec<u8>,
    ) {
        let key = FirstKey::default();
        let propagating = self.begin_shares(needs, landing);
        if is_at_home(spec) {
            self.run_at_home(ticket, |shard| shard.run_here(ticket.client, spec, args, key));
        } else {
            let client = self.clients.get_same(ticket.client, ticket.generation).map(|_| ticket.client);
            self.trackers.author = client.map(|client| self.client_ref(client));
            if let Some(slow) = self.run_for(caller, spec, args, key, Share::Whole, reply) {
                self.log_slow(self.at.me, slow, client);
            }
            self.trackers.author = None;
            if let Some(client) = client {
                self.show_if_monitored(client, spec, args);
            }
        }
        (self.fx.apart, self.fx.propagating) = (false, propagating);
    }

    /// What is changed from here on is told by owner. Whether changes are told at all, for afterwards.
    fn begin_shares(&mut self, needs: &Needs, landing: &[usize]) -> bool {
        let share = |(owner, slots): &(usize, Vec<Slot>)| {
            (*owner, slots.clone(), Stream::of_share(landing.contains(owner)))
        };
        self.loans.shares = Some(needs.iter().map(share).collect());
        self.fx.apart = true;
        // an owner may have begun its log before we have begun ours
        let before = self.fx.propagating;
        self.fx.propagating |= self.conf.appendonly;
        before
    }

    /// Runs what a sibling's slot has something for, which it has lent unasked, and returns that. Under
    /// `always` the client's reply waits until its owner has on its disk what was taken.
    /// `landing`: the slot is with its owner.
    pub(super) fn run_on_gift(
        &mut self,
        (from, landing): (usize, bool),
        slot: Slot,
        client: u32,
        run: impl FnOnce(&mut Shard),
    ) {
        let strict = self.is_strict();
        let discard = self.discards(client);
        let session = self.clients.get(client).filter(|_| strict);
        let ticket = session.map(|s| {
            let place = s.pipeline.wait(discard);
            Ticket { client, generation: s.generation, place, part: 0 }
        });
        let landing: &[usize] = if landing { &[from] } else { &[] };
        let propagating = self.begin_shares(&vec![(from, vec![slot])], landing);
        run(self);
        (self.fx.apart, self.fx.propagating) = (false, propagating);
        let shares = self.loans.shares.take();
        let changes = shares.into_iter().flatten().map(|(_, _, changes)| changes).next().unwrap_or_default();
        let mut receipt = None;
        if let Some(ticket) = ticket {
            match changes.is_empty() {
                true => self.reply_to_loan(ticket, false, &[]),
                false => {
                    self.loans.next += 1;
                    receipt = Some(self.loans.next);
                    let unkept = Unkept { ticket, holds: false, reply: Vec::new(), waits: 1 };
                    self.loans.unkept.insert(self.loans.next, unkept);
                }
            }
        }
        let tables = self.take_tables(&[slot]);
        self.end_borrowing();
        self.letters.push((from, Mail::Return { tables, changes: Box::new(changes), receipt }));
    }

    /// An owner has on its disk what a loan has changed.
    pub(super) fn kept(&mut self, id: u64) {
        let Some(unkept) = self.loans.unkept.get_mut(&id) else { return };
        unkept.waits -= 1;
        if unkept.waits == 0
            && let Some(Unkept { ticket, holds, reply, .. }) = self.loans.unkept.remove(&id)
        {
            self.reply_to_loan(ticket, holds, &reply);
        }
    }

    /// A command that changes its client runs as if all keys were this shard's. A client that is gone
    /// has no use for it.
    fn run_at_home(&mut self, ticket: Ticket, run: impl FnOnce(&mut Shard)) {
        let strict = self.is_strict();
        if let Some(session) = self.clients.get_same(ticket.client, ticket.generation) {
            // what it says takes the place, or stands behind it until it may be said
            if !strict {
                session.pipeline.fill(ticket.place, ticket.part as usize, &[], 0);
                session.pipeline.drain(&mut session.out);
            }
            run(self);
            self.note_woken(ticket.client);
        }
    }

    /// A loan ends without having run.
    fn end_loan(&mut self, id: u64, error: &ErrReply) {
        let Loan { ticket, spec, holds, .. } = self.loans.open.remove(&id).expect("loans end once");
        let reply = self.failed_loan(ticket, spec, error);
        self.reply_to_loan(ticket, holds, &reply);
    }

    fn failed_loan(&mut self, ticket: Ticket, spec: &Spec, error: &ErrReply) -> Vec<u8> {
        if matches!(spec.run, Run::Above(Verb::Exec))
            && self.clients.get_same(ticket.client, ticket.generation).is_some()
        {
            self.discard_multi(ticket.client);
        }
        if is_at_home(spec) {
            self.run_at_home(ticket, |shard| shard.say_error(ticket.client, error));
            return Vec::new();
        }
        self.metrics.error(error.bytes());
        let mut reply = Vec::new();
        Reply::new(&mut reply, false).error(error.bytes());
        reply
    }

    /// Says the reply. Without one it was said already: see [`Shard::run_at_home`].
    fn reply_to_loan(&mut self, ticket: Ticket, holds: bool, reply: &[u8]) {
        let strict = self.is_strict();
        if let Some(session) = self.clients.get_same(ticket.client, ticket.generation) {
            if !reply.is_empty() || strict {
                session.pipeline.fill(ticket.place, ticket.part as usize, reply, 0);
            }
            session.pipeline.drain(&mut session.out);
            if holds && session.hold == Hold::Loan && session.let_go() {
                self.resume.push(ticket.client);
            }
            self.settle_client(ticket.client);
        }
    }

    /// Slots of ours come back.
    pub(super) fn give_back(
        &mut self,
        from: usize,
        tables: Tables,
        mut changes: Box<Stream>,
        receipt: Option<u64>,
    ) {
        self.take_changes(&mut changes);
        if let Some(loan) = receipt {
            self.letters.push((from, Mail::Kept { loan }));
        }
        let slots: Vec<Slot> = tables.first().map_or(Vec::new(), |db| db.iter().map(|t| t.slot()).collect());
        self.put_tables(tables);
        self.unlend(&slots);
    }

    /// What a loan has changed of ours goes into our stream.
    fn take_changes(&mut self, changes: &mut Stream) {
        if self.fx.propagating {
            self.landings.note_told(changes.take_told());
            self.stream.splice(changes);
        }
    }

    pub(super) fn unlend(&mut self, slots: &[Slot]) {
        slots.iter().for_each(|s| {
            self.loans.lent.remove(s);
        });
        // a primary's stream may have waited for them
        self.chores |= self.repl.is_replica();
        // the walk over slots that are landing may have waited for these
        self.chores |= !self.landings.is_empty();
        self.look_again(Some(slots));
        self.let_go_on();
    }

    /// Something that commands wait for is back: they try again.
    pub(super) fn let_go_on(&mut self) {
        self.forget_late();
        self.serve_put_off();
        self.give_freed();
        self.note_withheld();
        self.go_on_standing();
        self.go_on_parked();
        self.note_withheld();
        for (client, generation) in std::mem::take(&mut self.loans.waiting) {
            if let Some(session) = self.clients.get_same(client, generation)
                && session.hold == Hold::Loan
                && session.let_go()
            {
                self.resume.push(client);
            }
        }
        self.grant();
    }

    /// Whether some commands have to wait: for slots that are lent, or keys on their way.
    pub(super) fn note_withheld(&mut self) {
        self.withholds = self.is_lending() || !self.moves.is_idle();
        self.simple = self.at.shards == 1 && !self.at.cluster && !self.withholds;
    }
}
