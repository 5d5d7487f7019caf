//! One core, synchronous: bytes and mail in, replies and mail out.
//!
//! `net/` calls [`Shard::turn`] with all that arrived, [`Shard::mail`] with what siblings sent, and
//! [`Shard::tick`] now and then; after each it takes the replies ([`Shard::take_news`]) and the
//! mail for siblings ([`Shard::take_mail`]).
//!
//! - [`turn`](Shard::turn) parses everything that arrived, prefetches, then executes.
//! - `execute` runs one admitted command and applies its effects.
//! - [`mail`] is what crosses cores; `fanout` splits commands over siblings and joins replies;
//!   `loan` lends slots to a command that spans shards; `handoff` gives them away for good, and `landing`
//!   tells the log what came with them.
//! - `blocked` serves clients that wait for a key.
//! - `pubsub` is who listens to channels, and what they hear; `events` what they hear of keys; `monitor` shows
//!   commands; `tracking` tells clients when what they have read has changed.
//! - `acl` is who clients are, and what they may do.
//! - `transact` is MULTI, EXEC and WATCH; `script` runs what is written in Lua.
//! - `answer` executes siblings' commands, or puts them off; `bounce` is about those that go back.
//! - [`moving`]: MIGRATE, keys that leave for another host while the shard goes on; `reading`: RESTORE of a
//!   long payload, which comes in so.
//! - [`plane`] carries CLUSTER's subcommands to the host's plane, and takes up what it decides.
//! - [`desk`] is where the plane works for all of a host's shards.
//! - `load` measures how busy slots are, `balance` has the busiest handed off.
//! - [`visited`](Shard::visited) is a turn on a sibling's core, while this shard's own sleeps. So a shard is
//!   `Send`, keeps nothing in its thread, and tells there of all that its own core has to do afterwards.
//! - `clients` holds the sessions; `verbs` and `others` are the commands about clients.
//! - [`stream`] is what the shard changes, as commands for the append-only file and for replicas.
//! - [`replay`] reads such a stream back; `durable` has clients wait until it is on the disk.
//! - [`snapshot`] makes points in time of the keyspace, and saves them.
//! - `cron` is what time alone makes happen: expiry, timeouts; `pressure` is what memory does.

mod acl;
mod answer;
mod balance;
mod blocked;
mod bounce;
mod clients;
mod cron;
pub mod desk;
mod durable;
mod events;
mod execute;
mod fanout;
mod figures;
mod handoff;
mod landing;
mod load;
mod loan;
pub mod mail;
mod monitor;
pub mod moving;
mod others;
pub mod plane;
mod pressure;
mod pubsub;
mod reading;
pub mod replay;
pub mod replication;
mod saving;
mod script;
pub mod snapshot;
pub mod stream;
mod tracking;
mod transact;
mod turn;
mod verbs;
mod visit;

#[cfg(test)]
mod tests;

pub use clients::{Reading, Refusal};
pub use script::busy;
pub use turn::Input;

use crate::cluster::balance::Balancer;
use crate::cluster::view::View;
use crate::command::acl::Users;
use crate::command::ctx::Effects;
use crate::command::host::Host;
use crate::command::spec::Spec;
use crate::command::table;
use crate::config::Config;
use crate::limits::OUTPUT_HIGH;
use crate::metrics::Metrics;
use crate::resp::Span;
use crate::session::gate::Conditions;
use crate::session::route::Place;
use crate::store::{Clock, Garbage, Hasher, Keyspace, LazyFree};
use crate::util::rng::Rng;
use clients::Clients;
use mail::{Batch, Mail};
use std::sync::Arc;

/// The time of a turn. Comes from `net/clock`, or from a simulator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Unix time in microseconds.
    pub unix_us: u64,
}

impl Now {
    #[inline]
    pub fn ms(self) -> u64 {
        self.unix_us / 1000
    }
}

/// A source of ticks for timing single commands, and how many make a microsecond.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    pub read: fn() -> u64,
    pub per_us: f64,
}

/// What a shard is made of.
pub struct Setup {
    pub me: usize,
    pub shards: usize,
    pub host: Arc<Host>,
    pub view: Arc<View>,
    pub hasher: Hasher,
    pub databases: usize,
    pub seed: u64,
    pub ticks: Ticks,
}

/// Where a command's first key is, and what is known of it.
#[derive(Clone, Copy, Debug, Default)]
struct FirstKey {
    /// The argument, 0 when the command has no key.
    arg: u32,
    slot: u16,
    hash: u64,
    /// How long the command is as it was sent.
    bytes: u32,
}

/// A command of the batch between parsing and executing.
struct Queued {
    client: u32,
    generation: u32,
    /// The input that its bytes are in.
    input: u32,
    /// Its spans count into the scratch buffer (an inline command).
    inline: bool,
    /// Where its bytes start and end in the input.
    start: u32,
    end: u32,
    spans: u32,
    args: u32,
    what: What,
    key: FirstKey,
    /// The database that its client was in when it was parsed: where to prefetch from.
    db: u8,
    /// Its key isn't in its bucket but may be in the one chained to it.
    deep: bool,
}

enum What {
    Run(&'static Spec),
    /// Unknown, or with a wrong number of arguments.
    Wrong,
    /// The protocol was violated: this is the last reply.
    Violation(Box<str>),
}

/// One core's share: its keys, its clients, its corner of the host.
pub struct Shard {
    at: Place,
    host: Arc<Host>,
    metrics: Arc<Metrics>,
    conf: Arc<Config>,
    users: Arc<Users>,
    generation: u64,
    view: Arc<View>,
    ks: Box<Keyspace>,
    rng: Rng,
    ticks: Ticks,
    /// When the command before ended, in ticks: where the next one's time begins. 0: to be read then.
    lap: u64,
    clock: Clock,
    now: Now,
    /// How often it has begun to run.
    turn: u64,
    clients: Clients,
    conditions: Conditions,
    fx: Effects,
    /// Reused from turn to turn.
    queue: Vec<Queued>,
    spans: Vec<Span>,
    scratch: Vec<u8>,
    reply: Vec<u8>,
    /// Clients with output, or to be closed.
    news: Vec<u32>,
    /// Bytes of clients' buffers that are with `net/` to be filled.
    lent: usize,
    /// Clients whose hold may be over.
    resume: Vec<u32>,
    /// What this turn sends to each sibling.
    outbox: Vec<Option<Box<Batch>>>,
    answers: Vec<(usize, Box<Batch>)>,
    /// Mail about loans; leaves behind the batches of the same turn.
    letters: Vec<(usize, Mail)>,
    repl: replication::Replication,
    loans: loan::Loans,
    handoffs: handoff::Handoffs,
    landings: landing::Landings,
    loads: load::Loads,
    balancer: Balancer,
    moves: moving::Moves,
    readings: reading::Readings,
    /// Some commands have to wait for what is lent or on its way: see [`Shard::note_withheld`].
    withholds: bool,
    waits: blocked::Waits,
    pubsub: pubsub::PubSub,
    events: events::Events,
    monitors: monitor::Monitors,
    trackers: tracking::Trackers,
    /// A transaction is being executed.
    in_exec: bool,
    /// The only shard of a standalone server, and nothing is withheld: every command simply runs.
    simple: bool,
    stream: stream::Stream,
    durable: durable::Durable,
    /// The log is to be loaded in place of what is here: see [`Shard::wants_reload`].
    reload: bool,
    /// Logs are being read.
    loading: Option<Box<replay::Loading>>,
    plane: plane::Correspondence,
    /// Boxed because batches travel boxed: only pointers cross cores.
    #[allow(clippy::vec_box)]
    pool: Vec<Box<Batch>>,
    garbage: Vec<Garbage>,
    expire_db: usize,
    /// A cycle of active expiry has more to do.
    expiring: bool,
    chores: bool,
    pressure: pressure::Pressure,
    snapshots: snapshot::Snapshots,
    scripting: script::Scripting,
    rates: figures::Rates,
    peaks: figures::Peaks,
    /// Calls of SHUTDOWN ABORT when a client of ours asked for SHUTDOWN.
    shutdown: Option<u64>,
    /// The host waits for its replicas, and then ends.
    ending: bool,
    /// Bytes of a client's replies that are looked at: for it has to read first, or may not have as many.
    output_high: usize,
    /// Ticks from which a command is slow enough for SLOWLOG or LATENCY.
    slow_ticks: u64,
}

fn place(me: usize, shards: usize, host: &Host, view: &View) -> Place {
    Place { me, shards, cluster: host.cluster, calm: !host.cluster || view.is_calm(me), copies: None }
}

impl Shard {
    pub fn new(setup: Setup) -> Shard {
        let Setup { me, shards, host, view, hasher, databases, seed, ticks } = setup;
        let mut shard = Shard {
            at: place(me, shards, &host, &view),
            metrics: host.metrics[me].clone(),
            conf: host.live.snapshot(),
            generation: host.live.generation(),
            users: host.registers.users.snapshot(),
            view,
            ks: Keyspace::new(databases, hasher, seed),
            rng: Rng::new(seed ^ 0x5348_4f41_4c00 ^ me as u64),
            ticks,
            lap: 0,
            clock: Clock::at(0),
            now: Now::default(),
            turn: 0,
            clients: Clients::default(),
            conditions: Conditions::default(),
            fx: Effects::default(),
            queue: Vec::new(),
            spans: Vec::new(),
            scratch: Vec::new(),
            reply: Vec::new(),
            news: Vec::new(),
            lent: 0,
            resume: Vec::new(),
            outbox: (0..shards).map(|_| None).collect(),
            answers: Vec::new(),
            letters: Vec::new(),
            repl: replication::Replication::new(&host.replication_id(me)),
            loans: loan::Loans::default(),
            handoffs: handoff::Handoffs::default(),
            landings: landing::Landings::default(),
            loads: load::Loads::default(),
            balancer: Balancer::default(),
            moves: moving::Moves::default(),
            readings: reading::Readings::default(),
            withholds: false,
            waits: blocked::Waits::default(),
            pubsub: pubsub::PubSub::default(),
            events: events::Events::default(),
            monitors: monitor::Monitors::default(),
            trackers: tracking::Trackers::default(),
            in_exec: false,
            simple: false,
            stream: stream::Stream::default(),
            durable: durable::Durable::default(),
            reload: false,
            loading: None,
            plane: plane::Correspondence::default(),
            pool: Vec::new(),
            garbage: Vec::new(),
            expire_db: 0,
            expiring: false,
            chores: false,
            pressure: pressure::Pressure::default(),
            snapshots: snapshot::Snapshots::default(),
            scripting: script::Scripting::default(),
            rates: figures::Rates::default(),
            peaks: figures::Peaks::default(),
            shutdown: None,
            ending: false,
            output_high: OUTPUT_HIGH,
            slow_ticks: u64::MAX,
            host,
        };
        shard.configure();
        shard.note_withheld();
        shard
    }

    /// The host that it is of.
    pub fn host(&self) -> Arc<Host> {
        self.host.clone()
    }

    /// Takes the time of this turn, and the configuration if it changed.
    fn begin(&mut self, now: Now) {
        self.now = now;
        self.clock.now_ms = now.ms();
        self.turn += 1;
        if self.host.live.generation() != self.generation {
            self.reconfigure();
        }
        self.metrics.turns.inc();
        if self.conditions.disk_failed {
            // a sibling may have been the last to save
            self.note_disk();
        }
        self.begin_pressure();
    }

    /// Takes up the configuration as it is now.
    fn reconfigure(&mut self) {
        self.generation = self.host.live.generation();
        let before = std::mem::replace(&mut self.conf, self.host.live.snapshot());
        if before.appendonly && !self.conf.appendonly {
            self.stream.end_log();
        }
        self.configure();
    }

    /// The configuration that this shard goes by, and its number.
    #[inline]
    pub fn conf(&self) -> (u64, &Arc<Config>) {
        (self.generation, &self.conf)
    }

    /// Derives from the configuration what every command asks.
    fn configure(&mut self) {
        self.take_up_users(None);
        let conf = &self.conf;
        self.clock.lfu = cron::policy(conf).lfu();
        self.clock.lfu_log_factor = conf.lfu_log_factor;
        self.clock.lfu_decay_time = conf.lfu_decay_time;
        let lazy = LazyFree {
            expire: conf.lazyfree_lazy_expire,
            evict: conf.lazyfree_lazy_eviction,
            server_del: conf.lazyfree_lazy_server_del,
        };
        self.ks.iter_mut().for_each(|db| db.lazy = lazy);
        let limits = &conf.client_output_buffer_limit;
        let hard = [limits.normal.hard, limits.pubsub.hard].into_iter().filter(|&hard| hard > 0).min();
        self.output_high = hard.map_or(OUTPUT_HIGH, |hard| OUTPUT_HIGH.min(hard as usize));
        self.configure_pressure();
        self.configure_trackers();
        self.configure_events();
        self.configure_monitors();
        self.note_replicas();
        self.note_disk();
    }

    /// Mail for siblings and answers to them, one batch each; what was handed off before all.
    pub fn take_mail(&mut self) -> impl Iterator<Item = (usize, Mail)> + '_ {
        let answers = self.answers.drain(..).map(|(to, batch)| (to, Mail::Replies(batch)));
        let requests = self.outbox.iter_mut().enumerate();
        let requests = requests.filter_map(|(to, b)| b.take().map(|b| (to, Mail::Requests(b))));
        self.handoffs.first.drain(..).chain(answers).chain(requests).chain(self.letters.drain(..))
    }

    /// Big values that were deleted, to be freed off the request's way.
    pub fn take_garbage(&mut self) -> Vec<Garbage> {
        std::mem::take(&mut self.garbage)
    }

    /// Whether there are values for [`Shard::take_garbage`].
    #[inline]
    pub fn has_garbage(&self) -> bool {
        !self.garbage.is_empty()
    }

    /// Every per-command array has this many rows.
    pub const COMMANDS: usize = table::COUNT;
}
