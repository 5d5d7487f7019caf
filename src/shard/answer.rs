//! Siblings' commands: executed, put off, or sent back.
//!
//! A batch tells by which view its commands were addressed. Where that is not our own, or slots are open,
//! lent or have keys on their way, each command is looked at first:
//!
//! - It waits for a view that its sender has and we have not, for a slot that is lent, and for a snapshot
//!   that has to be given the old value first, and everything of this sibling behind it.
//! - It is parked, alone, when it would write a key that is on its way by MIGRATE, or when its client has
//!   a command parked already.
//! - It goes back when it is another shard's by now: see `bounce`. By MOVED or ASK, when that is on
//!   another host.

use super::bounce::{Bounced, Why};
use super::fanout::first_key_of;
use super::mail::{Batch, Forward, Share, Ticket};
use super::{Shard, moving};
use crate::command::ctx::Caller;
use crate::command::error::ErrReply;
use crate::command::spec::{Route, Spec};
use crate::command::table;
use crate::resp::{Args, Reply};
use crate::session::gate;
use crate::session::route::Verdict;
use crate::store::ClientRef;

/// A sibling's batch that waits.
pub(super) struct Standing {
    pub(super) from: usize,
    batch: Box<Batch>,
    /// The command that goes on, and where its arguments start.
    next: usize,
    at: usize,
    /// It is one command that waited for a key on its way, and holds nothing else up.
    parked: bool,
}

impl Standing {
    fn new(from: usize, batch: Box<Batch>) -> Standing {
        Standing { from, batch, next: 0, at: 0, parked: false }
    }
}

/// What to do with a command of a sibling.
enum Step {
    Run,
    /// As Run, and all shards have to execute it once more.
    RunAndRepeat,
    /// It waits, and what is behind it.
    Stand,
    Refuse(ErrReply),
    Leave(Why),
}

impl Step {
    fn runs(&self) -> bool {
        matches!(self, Step::Run | Step::RunAndRepeat)
    }
}

impl Shard {
    /// A batch of a sibling: executes it, or keeps it behind those that stand still.
    pub(super) fn accept(&mut self, from: usize, batch: Box<Batch>) {
        let standing = Standing::new(from, batch);
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

    /// Executes a sibling's commands and writes the replies behind them. What has to wait comes back.
    fn answer(&mut self, mut standing: Standing) -> Option<Standing> {
        let unsure = standing.batch.closer || standing.batch.view != self.view.version || !self.at.calm;
        let mut left = standing.batch.bounced.take().map_or(Vec::new(), |bounced| bounced.commands);
        let mut replies = std::mem::take(&mut standing.batch.replies);
        let mut ends = std::mem::take(&mut standing.batch.ends);
        let mut caller = Caller { authenticated: true, front_door: true, ..Caller::default() };
        let mut waits = false;
        self.lap = 0;
        while let Some(f) = standing.batch.commands.get(standing.next) {
            let number = standing.next as u32;
            let args = standing.batch.args(standing.at, f.args);
            let spec = table::by_id(f.spec);
            let mut step = if self.withholds || unsure { self.consider(&standing, args) } else { Step::Run };
            if step.runs() && (self.conditions.restricted | self.conditions.careful) {
                step = self.hesitate(step, f, spec, args);
            }
            match step {
                Step::Run | Step::RunAndRepeat => {
                    caller.db = f.db as usize;
                    caller.resp3 = f.resp3;
                    caller.no_touch = f.no_touch;
                    caller.local = f.local;
                    caller.confined = f.confined;
                    let key = first_key_of(f);
                    let Ticket { client, generation, .. } = f.ticket;
                    let who = ClientRef { shard: standing.from as u16, client, generation, round: 0 };
                    (self.trackers.author, self.trackers.keeps) = (Some(who), f.tracks);
                    let slow = self.run_for(&mut caller, spec, args, key, f.share, &mut replies);
                    if f.tracks {
                        self.note_read_for(who, caller.db, spec, args);
                    }
                    if matches!(step, Step::RunAndRepeat) {
                        left.push((number, Why::Again));
                    }
                    standing.at += f.args as usize;
                    standing.batch.slow.extend(slow.map(|slow| (number, slow)));
                }
                Step::Stand => {
                    waits = true;
                    break;
                }
                Step::Refuse(error) => {
                    if f.share == Share::Whole {
                        self.metrics.command(spec.id).rejected.inc();
                        self.metrics.error(error.bytes());
                    }
                    Reply::new(&mut replies, false).error(error.bytes());
                    standing.at += f.args as usize;
                }
                Step::Leave(why) => {
                    left.push((number, why));
                    standing.at += f.args as usize;
                }
            }
            ends.push(replies.len() as u32);
            standing.next += 1;
        }
        self.trackers.author = None;
        standing.batch.replies = replies;
        standing.batch.ends = ends;
        if !left.is_empty() {
            standing.batch.bounced = Some(Box::new(Bounced { view: self.view.clone(), commands: left }));
        }
        if waits {
            return Some(standing);
        }
        self.send_back(standing.from, standing.batch);
        None
    }

    /// What a command that would run waits for, or is refused for, as this shard is.
    #[cold]
    fn hesitate(&mut self, step: Step, f: &Forward, spec: &'static Spec, args: Args<'_>) -> Step {
        if let Err(error) = gate::may_run(&self.conditions, spec) {
            return Step::Refuse(error);
        }
        if self.conditions.careful && self.awaits_snapshot(f.db as usize, spec, args, first_key_of(f)) {
            self.stand_for_snapshot();
            return Step::Stand;
        }
        step
    }

    /// An answered batch returns to where it came from.
    fn send_back(&mut self, from: usize, batch: Box<Batch>) {
        if from == self.at.me {
            self.deliver(from, batch);
        } else {
            self.answers.push((from, batch));
        }
    }

    /// The reply to the only command of a batch; without one it goes back.
    pub(super) fn send_back_alone(&mut self, from: usize, mut batch: Box<Batch>, reply: Option<Vec<u8>>) {
        if reply.is_none() {
            let commands = vec![(0, Why::Astray)];
            batch.bounced = Some(Box::new(Bounced { view: self.view.clone(), commands }));
        }
        batch.replies = reply.unwrap_or_default();
        batch.ends.push(batch.replies.len() as u32);
        self.send_back(from, batch);
    }

    /// What to do with the command that a batch goes on with, when it may have come to the wrong place,
    /// or have to wait.
    #[cold]
    fn consider(&mut self, standing: &Standing, args: Args<'_>) -> Step {
        let Standing { from, batch, next, .. } = standing;
        let f = &batch.commands[*next];
        let spec = table::by_id(f.spec);
        // in order: what its client sent before it is still here
        if self.moves.is_parked(*from, &f.ticket) {
            return self.put_aside(standing, args);
        }
        let (is_old, is_ahead) = (batch.era < self.handoffs.era, batch.view > self.view.version);
        if batch.era > self.handoffs.era {
            return Step::Stand;
        }
        if self.returns_all(*from, batch.view) {
            return Step::Leave(Why::Astray);
        }
        let open = match self.address(spec, args, f.asking) {
            Verdict::Here => None,
            Verdict::Open(slot) => Some(slot),
            _ if is_ahead => return Step::Stand,
            Verdict::Refused(error) => return Step::Refuse(error),
            Verdict::Sibling(_) | Verdict::Crossing | Verdict::Ask(_) => {
                self.note_returned(*from);
                return Step::Leave(Why::Astray);
            }
        };
        if self.is_lending() && self.needs_lent(spec, args) {
            return self.refuses_key(spec, f.slot).map_or(Step::Stand, Step::Refuse);
        }
        if self.disturbs_move(spec, args) {
            return self.put_aside(standing, args);
        }
        match open.map(|slot| self.look_into(spec, args, f.asking, slot)) {
            Some(Verdict::Ask(to)) => return Step::Leave(Why::Gone(to)),
            Some(Verdict::Refused(error)) => return Step::Refuse(error),
            _ => {}
        }
        if spec.route == Route::Away {
            let asker = moving::Asker::Sibling { from: *from, batch: moving::alone(batch, *next, args) };
            self.begin_move(asker, args, f.db as usize);
            return Step::Leave(Why::Later);
        }
        if is_old && self.must_repeat(spec, batch.era) { Step::RunAndRepeat } else { Step::Run }
    }

    /// Lets one command wait, and nothing else for it.
    fn put_aside(&mut self, standing: &Standing, args: Args<'_>) -> Step {
        if standing.parked {
            return Step::Stand;
        }
        self.park(standing.from, moving::alone(&standing.batch, standing.next, args));
        Step::Leave(Why::Later)
    }

    /// Tries again what was parked.
    pub(super) fn retry(&mut self, from: usize, batch: Box<Batch>) {
        let standing = Standing { parked: true, ..Standing::new(from, batch) };
        if let Some(Standing { from, batch, .. }) = self.answer(standing) {
            self.park(from, batch);
        }
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
}
