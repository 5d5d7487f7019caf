//! A shard that a script keeps busy: who looks after its doors meanwhile, and what its clients hear.
//!
//! The script stands in the middle of a turn, below `net/`, which would have to come back for anything to
//! arrive. So `net/` leaves an [`Attendant`] while it lets the shard run, whom the script's looks call: what he
//! brings is parsed as ever, and refused, but for the few commands that may end the script or do no harm.

use crate::command::error::ErrReply;
use crate::command::spec::{Spec, flag};
use crate::session::Hold;
use crate::session::gate::NO_AUTH;
use crate::shard::transact::discarded;
use crate::shard::{Input, Now, Shard, What};
use scoped_tls_hkt::scoped_thread_local;

/// Who looks after a shard's doors while a script runs.
pub trait Attendant {
    /// Comes round once more; `busy`: clients are to hear that the script runs for too long.
    fn attend(&mut self, shard: &mut Shard, busy: bool);
}

scoped_thread_local!(
    /// Whoever is there while this thread runs a shard.
    pub static mut ATTENDANT: for<'a> &'a mut (dyn Attendant + 'a)
);

impl Shard {
    /// Time, which stands still for the script, goes on for those who are heard.
    #[cold]
    pub(super) fn attend(&mut self, busy: bool) {
        if !ATTENDANT.is_set() {
            return;
        }
        let (now, now_ms, turn) = (self.now, self.clock.now_ms, self.turn);
        self.scripting.turn = turn;
        let in_exec = std::mem::take(&mut self.in_exec);
        let long = std::mem::take(&mut self.fx.long);
        self.scripting.refuses = busy;
        ATTENDANT.with(|attendant| attendant.attend(self, busy));
        self.scripting.refuses = false;
        (self.fx.long, self.in_exec) = (long, in_exec);
        (self.now, self.clock.now_ms, self.turn) = (now, now_ms, turn);
    }

    /// Whether what a client sends now can be answered while a script runs: it has nothing on its way.
    pub fn hears(&mut self, client: u32) -> bool {
        let turn = self.scripting.turn;
        self.clients.get(client).is_some_and(|s| {
            let rests = s.hold == Hold::None && s.held.is_empty() && s.lent == 0 && !s.is_closing();
            rests && s.turn != turn && s.out.is_empty() && s.pipeline.is_empty()
        })
    }

    /// Answers what a client sent while a script runs.
    pub fn hear_out(&mut self, client: u32, bytes: &[u8], now: Now) {
        (self.now, self.clock.now_ms) = (now, now.ms());
        let mut inputs = [Input::new(client, bytes)];
        self.read(&mut inputs, 0);
        self.run_queue(&inputs);
        if let Some(session) = self.clients.get(client) {
            session.turn = 0;
        }
    }

    /// In place of [`Shard::run_queue`] while a script keeps the shard busy.
    #[cold]
    pub(in crate::shard) fn refuse_queue(&mut self, inputs: &[Input<'_>]) {
        let queue = std::mem::take(&mut self.queue);
        let (spans, scratch) = (std::mem::take(&mut self.spans), std::mem::take(&mut self.scratch));
        for q in &queue {
            match q.what {
                What::Run(spec) if !spec.has(flag::ALLOW_BUSY) => self.refuse_busy(q.client, spec),
                _ => self.execute_queued(q, q.args(inputs, &scratch, &spans), q.bytes(inputs)),
            }
        }
    }

    /// With what commands are refused, while that is so.
    pub(in crate::shard) fn refusal(&self) -> Option<ErrReply> {
        self.host.registers.busy_of(self.at.me).refusal()
    }

    fn refuse_busy(&mut self, client: u32, spec: &'static Spec) {
        let Some(session) = self.clients.get(client).filter(|session| !session.is_closing()) else { return };
        let stranger = self.conditions.auth_required && !session.caller.authenticated;
        let Some(busy) = self.refusal() else { return };
        let error = if stranger && !spec.has(flag::NO_AUTH) { NO_AUTH } else { busy };
        match spec.name {
            "exec" => {
                self.discard_multi(client);
                self.reject(client, spec, &discarded(&error));
            }
            _ => self.reject(client, spec, &error),
        }
    }
}
