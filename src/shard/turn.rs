//! A turn: everything that arrived is parsed, its keys are hashed and prefetched, then it executes.
//!
//! Parsing first lets the misses of many commands overlap: one waits for memory once per batch and
//! not once per command. It holds across the connections of a turn, not only inside one pipeline.

use super::{FirstKey, Now, Queued, Shard, What};
use crate::command::spec::Spec;
use crate::command::table;
use crate::limits::{AHEAD, BATCH, LONG_REQUEST, MAX_REQUEST};
use crate::resp::parse::{Parsed, Rules, Violation};
use crate::resp::{Args, Span};
use crate::session::{Hold, Mode};
use bytes::Bytes;

/// Bytes that one client sent.
pub struct Input<'a> {
    client: u32,
    bytes: &'a [u8],
    /// What was left of before, with `bytes` behind it. Empty when nothing was left.
    owned: Vec<u8>,
    /// In place of both: a long request that came in pieces, and whose value may be kept as it is.
    pub(super) long: Bytes,
}

impl<'a> Input<'a> {
    pub fn new(client: u32, bytes: &'a [u8]) -> Input<'a> {
        Input { client, bytes, owned: Vec::new(), long: Bytes::new() }
    }

    /// A long request that was received before.
    pub(super) fn kept(client: u32, long: Bytes) -> Input<'a> {
        Input { long, ..Input::new(client, &[]) }
    }

    #[inline]
    fn buf(&self) -> &[u8] {
        match (self.owned.is_empty(), self.long.is_empty()) {
            (false, _) => &self.owned,
            (true, true) => self.bytes,
            (true, false) => &self.long,
        }
    }
}

impl Queued {
    /// Its arguments, which lie in the input or in the scratch buffer.
    #[inline]
    pub(super) fn args<'a>(&self, inputs: &'a [Input<'_>], scratch: &'a [u8], spans: &'a [Span]) -> Args<'a> {
        let buf = if self.inline { scratch } else { self.bytes(inputs) };
        Args::new(buf, &spans[self.spans as usize..(self.spans + self.args) as usize])
    }

    /// The bytes that it was sent as.
    #[inline]
    pub(super) fn bytes<'a>(&self, inputs: &'a [Input<'_>]) -> &'a [u8] {
        &inputs[self.input as usize].buf()[self.start as usize..self.end as usize]
    }
}

impl Shard {
    /// Executes what the clients sent, in order for each of them.
    pub fn turn(&mut self, inputs: &mut [Input<'_>], now: Now) {
        self.begin(now);
        for i in 0..inputs.len() {
            self.read(inputs, i);
        }
        self.run_queue(inputs);
        self.resume_clients();
        self.end_turn();
    }

    /// Goes on with clients whose hold is over.
    pub(super) fn resume_clients(&mut self) {
        let mut rounds = 0;
        while !self.resume.is_empty() && rounds < 16 {
            rounds += 1;
            let clients = std::mem::take(&mut self.resume);
            let mut inputs: Vec<Input<'_>> = clients.iter().map(|&c| Input::new(c, &[])).collect();
            for i in 0..inputs.len() {
                self.read(&mut inputs, i);
            }
            self.run_queue(&inputs);
        }
    }

    pub(super) fn read(&mut self, inputs: &mut [Input<'_>], i: usize) {
        let input = &inputs[i];
        if !input.bytes.is_empty() {
            self.metrics.reads.inc();
            self.metrics.net_in.add(input.bytes.len() as u64);
        }
        self.absorb(inputs, i);
    }

    fn absorb(&mut self, inputs: &mut [Input<'_>], i: usize) {
        let input = &mut inputs[i];
        let client = input.client;
        let Some(session) = self.clients.get(client) else {
            return;
        };
        if session.is_closing() {
            return;
        }
        session.last_ms = self.now.ms();
        session.turn = self.turn;
        // what MULTI has queued has not been executed either
        let queued = session.multi.as_ref().map_or(0, |multi| multi.memory());
        let limit = self.conf.client_query_buffer_limit.min(MAX_REQUEST as u64) as usize;
        if session.pending.len() + input.bytes.len() + queued > limit {
            tracing::warn!(
                client = session.caller.id,
                "closing a client that reached max query buffer length"
            );
            session.mode = Mode::Closing;
            Shard::list(&mut self.news, client, session);
            return;
        }
        if session.hold != Hold::None {
            session.pending.extend_from_slice(input.bytes);
            return;
        }
        if !session.held.is_empty() {
            // the hold is over: what it kept back is older than anything that is pending
            let rest = std::mem::take(&mut session.pending);
            session.pending = std::mem::take(&mut session.held);
            session.pending.extend_from_slice(&rest);
            session.parser.reset();
        }
        let mut rest: &[u8] = &[];
        if !session.pending.is_empty() {
            let mut owned = std::mem::take(&mut session.pending);
            let bytes = match session.parser.wants().checked_sub(owned.len()) {
                Some(missing) if missing < input.bytes.len() && owned.len() >= LONG_REQUEST => {
                    rest = &input.bytes[missing..];
                    &input.bytes[..missing]
                }
                _ => input.bytes,
            };
            owned.extend_from_slice(bytes);
            input.owned = owned;
        }
        let consumed = self.parse(inputs, i);
        self.keep_rest(&mut inputs[i], consumed);
        if !inputs[i].long.is_empty() {
            self.set_apart(inputs, i);
        }
        if !rest.is_empty() {
            // what ends a long request is not mixed with what follows it
            self.run_early(inputs, i);
            inputs[i] = Input::new(client, rest);
            self.absorb(inputs, i);
        }
    }

    /// Queues the input's commands, running the queue whenever it is full. How many bytes were used.
    pub(super) fn parse(&mut self, inputs: &[Input<'_>], i: usize) -> usize {
        let client = inputs[i].client;
        let buf = inputs[i].buf();
        let mut pos = 0;
        while pos < buf.len() {
            if self.queue.len() >= BATCH || self.may_authenticate(client) {
                self.run_early(inputs, i);
            }
            let (spans, scratch) = (self.spans.len(), self.scratch.len());
            let Some(session) = self.clients.get(client) else {
                return buf.len();
            };
            if session.is_closing() || session.hold != Hold::None {
                return pos;
            }
            let rules = Rules {
                max_bulk: self.conf.proto_max_bulk_len,
                unauthenticated: self.conditions.auth_required && !session.caller.authenticated,
            };
            let found = session.parser.parse(&buf[pos..], rules, &mut self.spans, &mut self.scratch);
            let (len, inline, what) = match found {
                Ok(Parsed::Partial) => break,
                Ok(Parsed::Command(len)) => (len, false, None),
                Ok(Parsed::Inline(len)) => (len, true, None),
                Err(Violation(text)) => (buf.len() - pos, false, Some(What::Violation(text.into()))),
            };
            if self.spans.len() > spans || what.is_some() {
                let generation = session.generation;
                let db = session.caller.db as u8;
                let mut q = Queued {
                    client,
                    generation,
                    input: i as u32,
                    inline,
                    start: pos as u32,
                    end: (pos + len) as u32,
                    spans: spans as u32,
                    args: (self.spans.len() - spans) as u32,
                    what: What::Wrong,
                    key: FirstKey::default(),
                    db,
                    deep: false,
                };
                match what {
                    Some(what) => q.what = what,
                    None => self.identify(&mut q, inputs),
                }
                self.queue.push(q);
                self.load_behind();
            } else {
                self.scratch.truncate(scratch);
            }
            pos += len;
        }
        pos
    }

    /// Whether what is queued may be an AUTH, after which larger commands may be parsed.
    #[inline]
    fn may_authenticate(&mut self, client: u32) -> bool {
        self.conditions.auth_required
            && !self.queue.is_empty()
            && self.clients.get(client).is_some_and(|s| !s.caller.authenticated)
    }

    /// Finds the command's row and its first key.
    #[inline]
    fn identify(&mut self, q: &mut Queued, inputs: &[Input<'_>]) {
        let args = q.args(inputs, &self.scratch, &self.spans);
        let Ok(spec) = table::resolve(args) else {
            return;
        };
        q.what = What::Run(spec);
        q.key = self.first_key_in(spec, args, (q.end - q.start) as usize);
    }

    /// The first key of a command that was sent as so many bytes.
    #[inline]
    pub(super) fn first_key_in(&self, spec: &Spec, args: Args<'_>, bytes: usize) -> FirstKey {
        let Some(arg) = table::first_key_index(spec, args) else { return FirstKey::default() };
        let key = self.ks.hasher().key(args.at(arg));
        FirstKey { arg: arg as u32, slot: key.slot, hash: key.hash, bytes: bytes as u32 }
    }

    /// A key's way through memory has three steps, each of which tells where the next one is: its
    /// slot's table, its bucket, its entry; four where a bucket is chained to another. Whenever a
    /// command joins the queue, the commands before it go one step further, so that parsing goes on
    /// while memory answers.
    #[inline]
    fn load_behind(&mut self) {
        let last = self.queue.len() - 1;
        self.load_table(last);
        if last >= AHEAD {
            self.load_bucket(last - AHEAD);
        }
        if last >= 2 * AHEAD {
            self.load_entry(last - 2 * AHEAD);
        }
        if last >= 3 * AHEAD {
            self.load_chained(last - 3 * AHEAD);
        }
    }

    /// The steps that [`Shard::load_behind`] still owes to the end of the queue.
    fn load_rest(&mut self) {
        let n = self.queue.len();
        if n > 1 {
            (n.saturating_sub(AHEAD)..n).for_each(|i| self.load_bucket(i));
            (n.saturating_sub(2 * AHEAD)..n).for_each(|i| self.load_entry(i));
            (n.saturating_sub(3 * AHEAD)..n).for_each(|i| self.load_chained(i));
        }
    }

    #[inline]
    fn load_table(&self, i: usize) {
        let q = &self.queue[i];
        if q.key.arg > 0 {
            self.ks.db(q.db as usize).prefetch_table(q.key.slot);
        }
    }

    #[inline]
    fn load_bucket(&self, i: usize) {
        let q = &self.queue[i];
        if q.key.arg > 0 {
            self.ks.db(q.db as usize).prefetch_bucket(q.key.slot, q.key.hash);
        }
    }

    #[inline]
    fn load_entry(&mut self, i: usize) {
        let q = &mut self.queue[i];
        if q.key.arg > 0 {
            q.deep = self.ks.db(q.db as usize).prefetch_entry(q.key.slot, q.key.hash);
        }
    }

    #[inline]
    fn load_chained(&self, i: usize) {
        let q = &self.queue[i];
        if q.deep {
            self.ks.db(q.db as usize).prefetch_chained(q.key.slot, q.key.hash);
        }
    }

    /// Keeps what was not used of an input for the client's next one.
    fn keep_rest(&mut self, input: &mut Input<'_>, consumed: usize) {
        let Some(session) = self.clients.get(input.client) else {
            return;
        };
        if consumed == input.buf().len() {
            if input.owned.is_empty() {
                return;
            }
            session.learn_habit(input.owned.len());
            if input.owned.len() >= LONG_REQUEST {
                input.long = std::mem::take(&mut input.owned).into();
                self.fx.long.push(input.long.clone());
            }
            return;
        }
        if consumed == 0 && !input.owned.is_empty() {
            // not a byte was used, so no queued command points into it
            session.pending = std::mem::take(&mut input.owned);
        } else {
            session.pending.extend_from_slice(&input.buf()[consumed..]);
        }
        session.make_room();
    }

    /// Executes the queue before inputs from `next` on are read to their ends: what their clients send meanwhile
    /// is not heard, see [`Shard::hears`].
    fn run_early(&mut self, inputs: &[Input<'_>], next: usize) {
        for input in &inputs[next..] {
            if let Some(session) = self.clients.get(input.client) {
                session.turn = self.turn;
            }
        }
        self.run_queue(inputs);
    }

    /// Executes the queue.
    pub(super) fn run_queue(&mut self, inputs: &[Input<'_>]) {
        if self.scripting.refuses {
            return self.refuse_queue(inputs);
        }
        self.load_rest();
        self.lap = (self.ticks.read)();
        let mut queue = std::mem::take(&mut self.queue);
        let spans = std::mem::take(&mut self.spans);
        let scratch = std::mem::take(&mut self.scratch);
        for q in &queue {
            let args = q.args(inputs, &scratch, &spans);
            self.execute_queued(q, args, q.bytes(inputs));
        }
        queue.clear();
        self.queue = queue;
        self.spans = spans;
        self.spans.clear();
        self.scratch = scratch;
        self.scratch.clear();
        self.fx.long.clear();
    }
}
