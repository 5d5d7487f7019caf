//! RESTORE of a long payload: the value is read in steps, a bounded one a turn, and the command is executed when
//! it is whole.
//!
//! Until then nothing has happened: the client waits, everybody else goes on, readers and writers of the key, too.
//! The command itself runs as any other, with all that could refuse it, and finds its value read. One that is not
//! this shard's to execute, that came with others in one piece, or that has to wait for something else when its
//! turn has come, is read as a whole.

use super::{Input, Queued, Shard, What};
use crate::command::ctx;
use crate::limits::{RESTORE_STEP, RESTORE_WHOLE};
use crate::persist::Restoring;
use crate::session::{Hold, Mode};
use crate::store::Garbage;
use crate::value::Object;
use bytes::Bytes;
use std::collections::VecDeque;

/// A request whose payload is being read.
pub(super) struct Reading {
    client: u32,
    generation: u32,
    request: Bytes,
    payload: Bytes,
    restoring: Restoring,
}

/// Requests whose payloads are being read; the first has the next step.
pub(super) type Readings = VecDeque<Reading>;

impl Shard {
    /// Begins to read the payload of the request that was queued last, which is all that a client's long input
    /// holds, if it has one. What was queued before is executed before.
    #[cold]
    pub(super) fn set_apart(&mut self, inputs: &[Input<'_>], i: usize) {
        let Some(payload) = self.queue.last().and_then(|q| self.payload_of(q, inputs, i)) else { return };
        let request = inputs[i].long.clone();
        let q = self.queue.pop().expect("it was just looked at");
        self.spans.truncate(q.spans as usize);
        self.run_queue(inputs);
        let Some(session) = self.clients.get_same(q.client, q.generation) else { return };
        match (session.hold, session.mode) {
            (Hold::None, Mode::Plain) => {
                session.hold = Hold::Reading;
                let (client, generation, restoring) = (q.client, q.generation, Restoring::default());
                self.readings.push_back(Reading { client, generation, request, payload, restoring });
                self.chores = true;
            }
            (Hold::None, _) => self.run_request(q.client, request),
            _ => session.held.extend_from_slice(&request),
        }
    }

    /// The payload of a RESTORE that this shard would execute, if it is too long for one step.
    fn payload_of(&self, q: &Queued, inputs: &[Input<'_>], i: usize) -> Option<Bytes> {
        let (What::Run(spec), long) = (&q.what, &inputs[i].long) else { return None };
        let is_all = q.input as usize == i && !q.inline && q.end - q.start == long.len() as u32;
        if !is_all || !matches!(spec.name, "restore" | "restore-asking") {
            return None;
        }
        let (me, slot) = (self.at.me, q.key.slot);
        let is_ours = self.view.owner_index(slot) == self.view.local_index(me);
        let payload = q.args(inputs, &self.scratch, &self.spans).get(3)?;
        let is_due = payload.len() > RESTORE_WHOLE && (is_ours || self.view.importing(me, slot).is_some());
        is_due.then(|| long.slice_ref(payload))
    }

    /// Reads on in one payload; the next step is another's.
    pub(super) fn reading_step(&mut self) {
        let Some(mut reading) = self.readings.pop_front() else { return };
        let session = self.clients.get_same(reading.client, reading.generation);
        if !session.is_some_and(|s| s.hold == Hold::Reading && s.mode != Mode::Closing) {
            self.discard(reading.restoring.abandon());
        } else if let Some(value) =
            reading.restoring.step(&reading.payload, &ctx::limits(&self.conf), RESTORE_STEP)
        {
            self.discard(reading.restoring.abandon());
            self.fx.read = Some(value);
            self.execute_read(reading.client, reading.request);
            // it may have been refused
            let unused = self.fx.read.take();
            self.discard(unused.and_then(Result::ok));
        } else {
            self.readings.push_back(reading);
        }
        self.chores |= !self.readings.is_empty();
    }

    /// Large values are freed where that hurts nobody.
    fn discard(&mut self, value: Option<Object>) {
        if let Some(value) = value {
            self.ks.db_mut(0).leave(Garbage::Object(Box::new(value)));
        }
    }

    /// Executes a command whose payload is read.
    fn execute_read(&mut self, client: u32, request: Bytes) {
        let Some(session) = self.clients.get(client) else { return };
        if session.let_go() {
            self.run_request(client, request);
            self.resume.push(client);
        } else {
            session.held.extend_from_slice(&request);
        }
    }

    fn run_request(&mut self, client: u32, request: Bytes) {
        let inputs = [Input::kept(client, request)];
        self.parse(&inputs, 0);
        self.run_queue(&inputs);
    }
}
