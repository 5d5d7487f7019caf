//! One core's turn: completions, mail, timers, flush, park.
//!
//! The order of a turn has reasons. What arrived is executed before mail, so that one batch for each
//! sibling carries all of it; mail before the flush, so that replies of siblings leave with our own
//! in one send a connection; and the ring is entered once, at the end, to submit the sends and to
//! wait for what comes next. While it waits, siblings may run the shard: see [`super::baton`].
//!
//! An idle core sleeps in its own ring, too, and never through glommio's: a wait there is one system call,
//! and glommio's parking is ten around it. What wakes it is the tick and the heartbeat of the plane, ten
//! times a second each; an idle host of two shards uses a quarter of a percent of one core
//! (`cargo bench --bench compare -- --only idle`).

mod keep;
mod mail;
mod porter;
mod progress;
mod rewrite;

use super::baton::{Baton, Owner};
use super::bus::drive::Mailbox;
use super::bus::host as bus;
use super::bus::letters::Letterbox;
use super::conn::{Conns, tag};
use super::doors::Doors;
use super::link::{Links, News};
use super::load::{Share, Tally};
use super::mailbox::Post;
use super::ring::{Completion, Peer, Ring, Sizes};
use super::scribe::{GivenUp, Scribe};
use super::{clock, listen};
use crate::cluster::plane::LinkId;
use crate::command::host::Host;
use crate::config::Config;
use crate::limits;
use crate::session::Door;
use crate::shard::mail::Mail;
use crate::shard::moving::LinkEvent;
use crate::shard::plane::{Publication, Question};
use crate::shard::snapshot::FileOrder;
use crate::shard::{Input, Reading, Setup, Shard};
use crate::store::Garbage;
use glommio::{LocalExecutorBuilder, Placement};
use socket2::{Domain, Socket};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What all cores of a host share.
pub struct Shared {
    pub post: Post<Mail>,
    /// Known when their rings stand.
    pub siblings: Vec<OnceLock<Sibling>>,
    pub phase: Phase,
    pub doors: Arc<Doors>,
    /// From the plane, one a shard; none in a standalone server.
    pub letters: Vec<Letterbox>,
    /// How many shards have read their logs, and how many write them since.
    pub loaded: AtomicUsize,
    pub settled: AtomicUsize,
    /// ... and have deleted the logs that are in these by now; and one more when the host has said that it serves.
    pub cleared: AtomicUsize,
}

/// What all cores are to do: serve; save, and stand still after that; or end. Each change has a number of
/// its own, so that a core which misses one sees that it did.
#[derive(Default)]
pub struct Phase(AtomicU32);

const SERVE: u32 = 0;
const SAVE: u32 = 1;
const END: u32 = 2;
const KINDS: u32 = 4;

impl Phase {
    pub fn serve(&self) {
        self.change(SERVE);
    }

    pub fn save(&self) {
        self.change(SAVE);
    }

    pub fn end(&self) {
        self.change(END);
    }

    fn change(&self, kind: u32) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store((now / KINDS + 1) * KINDS + kind, Ordering::Release);
    }

    #[inline]
    fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

/// What one core has of another.
pub struct Sibling {
    /// How to ring it.
    peer: Peer,
    /// How to do its work while it sleeps.
    baton: &'static Baton<Shard>,
}

/// What one core needs to start.
pub struct Plan {
    pub setup: Setup,
    pub shared: Arc<Shared>,
    /// Listens at `unix_path`, if this core is to.
    pub unix: Option<(Socket, Door)>,
    pub unix_path: String,
    pub events: Sender<Event>,
    pub plane: Option<PlaneLine>,
}

/// A core's line to the plane.
pub struct PlaneLine {
    pub mailbox: Mailbox<bus::Mail>,
    /// Readable when a letter lies in the core's letterbox.
    pub bell: UnixStream,
}

/// What the thread that belongs to no shard hears of.
pub enum Event {
    /// Big values to be freed off the request's way.
    Garbage(Vec<Garbage>),
    /// Files to be deleted, which may take the system a while.
    Delete(Vec<PathBuf>),
    /// A client asked for SHUTDOWN.
    Shutdown,
    Signal(i32),
    ReopenLog,
    /// A core has loaded what is on the disk for it, or could not.
    Loaded(Result<Tally, String>),
    /// A core has saved its shard, or could not.
    Saved(Result<(), String>),
    /// A core or the cluster bus can't go on.
    Failed(String),
}

const NEVER: Duration = Duration::from_secs(1 << 31);

/// The tag of the plane's bell: no connection has it.
const BELL: u64 = (1 << 56) - 1;
const HELD: Duration = Duration::from_micros(limits::HELD_OUTPUT_US);
const FILE_POLL: Duration = Duration::from_micros(limits::FILE_POLL_US);

/// A core at work.
pub struct Core {
    me: usize,
    ring: Ring,
    shard: Owner<Shard>,
    conf: Arc<Config>,
    host: Arc<Host>,
    generation: u64,
    metrics: Arc<crate::metrics::Metrics>,
    shared: Arc<Shared>,
    conns: Conns,
    links: Links,
    /// Its place is the tag of what it accepts. `None`: it is shut.
    listeners: Vec<(Option<Socket>, Door)>,
    /// Listeners that could not accept, for want of descriptors say.
    deaf: Vec<u64>,
    doors_seen: u64,
    unix_path: String,
    completions: Vec<Completion>,
    received: Vec<(u32, u16, usize)>,
    ended: Vec<u32>,
    news: Vec<u32>,
    /// Clients whose output waits for more, and until when at most.
    held: VecDeque<(u32, Instant)>,
    /// Mail that goes by post, in order: what found a mailbox full waits here.
    backlog: Vec<VecDeque<Mail>>,
    /// Reused from turn to turn.
    outgoing: Vec<(usize, Mail)>,
    answers: Vec<Mail>,
    next_tick: Instant,
    plane: Option<PlaneLine>,
    /// Mail for the plane that found its mailbox full.
    unsent: VecDeque<bus::Mail>,
    next_beat: Instant,
    rung: bool,
    events: Sender<Event>,
    starved: Vec<u32>,
    rests: Vec<porter::Rest>,
    keeper: keep::Keeper,
    /// Files in the making, by their numbers, and those that are not wanted any more.
    scribes: Vec<(u64, Scribe)>,
    given_up: Vec<GivenUp>,
}

/// A running core.
pub struct Running {
    executor: glommio::ExecutorJoinHandle<()>,
    orders: Sender<Order>,
}

/// What a core that stands does next.
enum Order {
    Load(Share),
    Serve,
}

impl Running {
    /// Lets the core serve. Until then it stands, and connections wait in the kernel.
    pub fn go(&self) {
        let _ = self.orders.send(Order::Serve);
    }

    /// Has the core load its share of the RDB files on the disk, once it serves.
    pub fn load(&self, share: Share) {
        let _ = self.orders.send(Order::Load(share));
    }

    pub fn join(self) -> Result<(), String> {
        self.executor.join().map_err(|e| format!("A core ended badly: {e}"))
    }
}

impl Core {
    /// Starts an executor pinned to `core` and waits until its ring stands.
    pub fn start(plan: Plan, core: usize) -> Result<Running, String> {
        let (ready, stands) = std::sync::mpsc::channel();
        let (orders, order) = std::sync::mpsc::channel();
        let events = plan.events.clone();
        let name = format!("shard-{}", plan.setup.me);
        let executor = LocalExecutorBuilder::new(Placement::Fixed(core))
            .name(&name)
            .ring_depth(limits::GLOMMIO_RING)
            .spawn(move || async move {
                let mut core = match Core::new(plan) {
                    Ok(core) => core,
                    Err(e) => {
                        let _ = ready.send(Err(format!("Can't set up a core's io_uring: {e}")));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                loop {
                    match order.recv() {
                        Ok(Order::Load(share)) => core.begin_data(share),
                        Ok(Order::Serve) => break,
                        // another core could not start
                        Err(_) => return,
                    }
                }
                if let Err(e) = core.run().await {
                    let _ = events.send(Event::Failed(format!("A core failed: {e}")));
                }
            })
            .map_err(|e| format!("Can't start a shard on core {core}: {e}"))?;
        stands.recv().map_err(|_| format!("Can't start a shard on core {core}"))??;
        Ok(Running { executor, orders })
    }

    fn new(plan: Plan) -> io::Result<Core> {
        let me = plan.setup.me;
        let host = plan.setup.host.clone();
        let live = &host.live;
        let metrics = plan.setup.host.metrics[me].clone();
        let shards = plan.setup.shards;
        let ring = Ring::new(Sizes {
            entries: limits::RING_ENTRIES,
            completions: limits::RING_COMPLETIONS,
            buffers: limits::RECV_BUFFERS,
            buffer_bytes: limits::RECV_BUFFER,
        })?;
        let (shard, baton) = Baton::leak(Shard::new(plan.setup));
        let _ = plan.shared.siblings[me].set(Sibling { peer: ring.peer(), baton });
        // without a plane nobody listens
        let first_beat = Instant::now() + if plan.plane.is_some() { Duration::ZERO } else { NEVER };
        let mut core = Core {
            me,
            ring,
            shard,
            conf: live.snapshot(),
            generation: live.generation(),
            host,
            metrics,
            shared: plan.shared,
            conns: Conns::default(),
            links: Links::default(),
            listeners: Vec::new(),
            deaf: Vec::new(),
            doors_seen: 0,
            unix_path: plan.unix_path,
            completions: Vec::new(),
            received: Vec::new(),
            ended: Vec::new(),
            news: Vec::new(),
            held: VecDeque::new(),
            backlog: (0..shards).map(|_| VecDeque::new()).collect(),
            outgoing: Vec::new(),
            answers: Vec::new(),
            next_tick: Instant::now(),
            plane: plan.plane,
            unsent: VecDeque::new(),
            next_beat: first_beat,
            rung: false,
            events: plan.events,
            starved: Vec::new(),
            rests: Vec::new(),
            keeper: keep::Keeper::default(),
            scribes: Vec::new(),
            given_up: Vec::new(),
        };
        core.hear_bell();
        core.listen(plan.unix);
        core.change_doors();
        Ok(core)
    }

    /// Accepts on these too.
    fn listen(&mut self, listeners: impl IntoIterator<Item = (Socket, Door)>) {
        for (socket, door) in listeners {
            self.ring.accept(socket.as_raw_fd(), self.listeners.len() as u64);
            self.listeners.push((Some(socket), door));
        }
    }

    /// Takes up what CONFIG SET port or bind has opened, in place of what it has shut.
    fn change_doors(&mut self) {
        let changes = self.shared.doors.changes();
        if changes == self.doors_seen {
            return;
        }
        self.doors_seen = changes;
        if let Some(new) = self.shared.doors.take(self.me) {
            for (socket, _) in &mut self.listeners {
                if socket.as_ref().is_some_and(|s| s.domain().is_ok_and(|d| d != Domain::UNIX)) {
                    *socket = None;
                }
            }
            self.listen(new);
        }
    }

    /// Turns until the host stops.
    pub async fn run(mut self) -> io::Result<()> {
        self.begin_log();
        let mut wait = None;
        let mut since_yield = 0;
        loop {
            let phase = self.shared.phase.get();
            match phase % KINDS {
                SERVE => {}
                SAVE => {
                    self.save_and_stand(phase)?;
                    continue;
                }
                _ => break,
            }
            self.enter(wait)?;
            let busy = self.turn();
            let go_on = busy && self.must_go_on() || self.shard.has_chores();
            wait = if go_on { None } else { Some(self.until_due()) };
            if let Some(loading) = self.loading_wait() {
                wait = Some(loading).filter(|w| !w.is_zero());
            }
            since_yield += 1;
            if since_yield >= limits::TURNS_A_YIELD {
                since_yield = 0;
                glommio::executor().yield_task_queue_now().await;
            }
        }
        self.last_turn();
        Ok(())
    }

    /// Saves the shard, and does nothing more before it is decided whether the host ends: what came
    /// after the save would be lost. What is lent comes home first.
    fn save_and_stand(&mut self, phase: u32) -> io::Result<()> {
        const A_MOMENT: Duration = Duration::from_millis(1);
        let until = Instant::now() + Duration::from_millis(limits::SAVE_PATIENCE_MS);
        while self.shard.is_lending() && Instant::now() < until {
            self.enter(Some(A_MOMENT))?;
            self.turn();
        }
        // what a background save would put there is older
        self.end_files();
        let _ = self.events.send(Event::Saved(self.shard.save(clock::now())));
        while self.shared.phase.get() == phase {
            std::thread::sleep(A_MOMENT);
        }
        Ok(())
    }

    /// Submits and, unless mail is there, sleeps until something comes. Siblings may run the shard meanwhile.
    ///
    /// However long it is idle the core sleeps here, and never in glommio's own park, on this ring's eventfd: that
    /// takes ten system calls for a wake in place of one, and would be of use only to tasks of the executor
    /// that wait for something, of which there are none.
    fn enter(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let Core { me, ring, shard, shared, .. } = self;
        match wait {
            Some(_) if shared.siblings.len() > 1 => {
                shard.park(|| shared.post.has_mail(*me), |may_sleep| ring.enter(wait.filter(|_| may_sleep)))
            }
            _ => ring.enter(wait),
        }
    }

    /// Work is left that no completion will announce.
    fn must_go_on(&self) -> bool {
        self.backlog.iter().any(|b| !b.is_empty())
    }

    /// How long the core may sleep when nothing comes.
    fn until_due(&self) -> Duration {
        let timer = self.next_tick.min(self.next_beat);
        // under a sync nothing is sent however long it waits
        let held = self.held.front().filter(|_| !self.keeper.holds());
        let due = held.map_or(timer, |&(_, until)| timer.min(until));
        let due = if self.scribes.is_empty() { due } else { due.min(Instant::now() + FILE_POLL) };
        let due = due.saturating_duration_since(Instant::now());
        let waits = self.shard.next_deadline().map(|at| at.saturating_sub(clock::now().ms()));
        waits.map_or(due, |ms| due.min(Duration::from_millis(ms)))
    }

    /// One turn; whether anything was done.
    fn turn(&mut self) -> bool {
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.reap(&mut completions);
        let mut busy = false;
        let loaded = self.all_loaded();
        for done in completions.drain(..) {
            busy = true;
            self.complete(done);
        }
        self.completions = completions;
        self.execute();
        let mail = self.read_mail();
        busy |= mail;
        if self.loading_wait().is_some() {
            self.load(loaded && !mail);
        }
        self.read_letters();
        self.end_streams();
        self.tick_if_due();
        self.do_chores();
        self.drive_links();
        self.look_after_files();
        self.keep_log();
        self.send_mail();
        self.send_garbage();
        self.tell_plane();
        self.flush();
        busy
    }

    fn complete(&mut self, done: Completion) {
        match done {
            Completion::Received { tag, buffer, len, more } => match self.conns.tagged(tag) {
                Some((number, conn)) => {
                    conn.receiving = more;
                    if !more {
                        self.starved.push(number);
                    }
                    if conn.dead {
                        self.ring.recycle([buffer]);
                    } else {
                        self.received.push((number, buffer, len));
                    }
                }
                None if tag != BELL && Links::owns(tag) => {
                    let bytes = self.ring.received(buffer, len).to_vec();
                    self.ring.recycle([buffer]);
                    let news = self.links.received(&mut self.ring, tag, &bytes, more);
                    self.tell_of_link(news, &bytes);
                }
                None => {
                    self.ring.recycle([buffer]);
                    self.rung |= tag == BELL;
                    if tag == BELL && !more {
                        self.hear_bell();
                    }
                }
            },
            Completion::RecvEnded { tag, error } => {
                if tag != BELL && Links::owns(tag) {
                    let news = self.links.recv_ended(&mut self.ring, tag, error);
                    return self.tell_of_link(news, &[]);
                }
                let Some((number, conn)) = self.conns.tagged(tag) else {
                    self.rung |= tag == BELL;
                    if tag == BELL {
                        self.hear_bell();
                    }
                    return;
                };
                conn.receiving = false;
                let switching = std::mem::take(&mut conn.switching);
                match error {
                    Some(libc::ENOBUFS) => self.starved.push(number),
                    Some(libc::ECANCELED) if conn.paused && !conn.dead => {}
                    Some(libc::ECANCELED) if switching && !conn.dead => self.starved.push(number),
                    _ => self.ended.push(number),
                }
            }
            Completion::Filled { tag, result, buf } => self.filled(tag, result, buf),
            Completion::Sent { tag, result, from, buf } => self.sent(tag, result, from, buf),
            Completion::Synced { tag, result } => self.synced(tag, result),
            Completion::Accepted { tag, result, more } => self.accepted(tag, result, more),
            Completion::Woken => {}
            Completion::Writable { tag } => {
                let news = self.links.writable(&mut self.ring, tag);
                self.tell_of_link(news, &[]);
            }
        }
    }

    fn accepted(&mut self, tag: u64, result: io::Result<OwnedFd>, more: bool) {
        let listener = &self.listeners[tag as usize].0;
        match &result {
            // a door that was shut says so
            Err(e) if listener.is_none() || e.raw_os_error() == Some(libc::EINVAL) => return,
            Err(e) => tracing::warn!("Error accepting a client connection: {e}"),
            Ok(_) => {}
        }
        if !more && let Some(socket) = listener {
            match result.is_ok() {
                true => self.ring.accept(socket.as_raw_fd(), tag),
                // the cause may last: another try with each tick
                false => self.deaf.push(tag),
            }
        }
        if let Ok(fd) = result {
            self.accept(fd, tag as usize);
        }
    }

    fn accept(&mut self, fd: OwnedFd, listener: usize) {
        let socket = Socket::from(fd);
        let door = self.listeners[listener].1;
        if let Some(number) = greet(&socket, door, &self.conf, &self.unix_path, &mut self.shard) {
            self.conns.insert(number, socket);
            self.receive(number);
        }
    }

    /// Executes what was received, and what waited for a client to read its replies.
    fn execute(&mut self) {
        if self.received.is_empty() && !self.shard.has_resumed() {
            return;
        }
        let now = clock::now();
        self.attended(|shard, ring, received| {
            let input = |&(number, buffer, len): &_| Input::new(number, ring.received(buffer, len));
            let mut inputs: Vec<Input<'_>> = received.iter().map(input).collect();
            shard.turn(&mut inputs, now);
        });
        self.send_rests();
        self.ring.recycle(self.received.iter().map(|r| r.1));
        for (number, ..) in self.received.drain(..) {
            let reading = self.shard.reading(number);
            if reading != Reading::On
                && let Some(conn) = self.conns.get(number)
                && conn.receiving
                && !conn.paused
                && !conn.switching
            {
                match reading {
                    Reading::Full => conn.paused = true,
                    _ => conn.switching = true,
                }
                self.ring.cancel_recv(tag(number, conn.generation));
            }
        }
    }

    /// More of a long request is in its buffer.
    fn filled(&mut self, of: u64, result: io::Result<usize>, buf: Vec<u8>) {
        let Some((number, conn)) = self.conns.tagged(of) else { return };
        conn.receiving = false;
        let received = result.unwrap_or(0);
        match received {
            0 => self.ended.push(number),
            _ if conn.dead => self.ended.push(number),
            _ => self.starved.push(number),
        }
        self.shard.take_input(number, buf, received);
    }

    /// Receives from a client that is not read from: what is missing of a long request into its buffer, all
    /// else into the ring's.
    fn receive(&mut self, number: u32) {
        let Some(conn) = self.conns.get(number).filter(|conn| !conn.receiving && !conn.dead) else { return };
        conn.receiving = true;
        let (fd, tag) = (conn.fd(), tag(number, conn.generation));
        match self.shard.lend_input(number) {
            Some((buf, room)) => self.ring.fill(fd, buf, room, tag),
            None => self.ring.recv(fd, tag),
        }
    }

    fn tell_of_link(&mut self, news: Option<News>, bytes: &[u8]) {
        let (link, event) = match news {
            None => return,
            Some(News::Opened(link)) => (link, LinkEvent::Opened),
            Some(News::Received(link)) => (link, LinkEvent::Received(bytes)),
            Some(News::Sent(link, bytes)) => (link, LinkEvent::Sent(bytes)),
            Some(News::Closed(link)) => (link, LinkEvent::Closed),
        };
        self.shard.link(link, event, clock::now());
    }

    /// Does what the shard wants of its links, which may give it more to want.
    fn drive_links(&mut self) {
        while self.shard.has_link_orders() {
            let orders: Vec<_> = self.shard.take_link_orders().collect();
            for order in orders {
                let news = self.links.order(&mut self.ring, order);
                self.tell_of_link(news, &[]);
            }
        }
    }

    fn hear_bell(&mut self) {
        if let Some(plane) = &self.plane {
            self.ring.recv(plane.bell.as_raw_fd(), BELL);
        }
    }

    /// Takes up what the plane has decided.
    fn read_letters(&mut self) {
        if std::mem::take(&mut self.rung) {
            let letters = self.shared.letters[self.me].take();
            self.shard.letters(letters, clock::now());
        }
    }

    /// Sends the shard's questions.
    fn tell_plane(&mut self) {
        if !self.shard.has_questions() && self.unsent.is_empty() {
            return;
        }
        let Some(plane) = &self.plane else { return };
        let local = self.me;
        for Question { ticket, command } in self.shard.take_questions() {
            let shared = self.shared.clone();
            let answer = move |outcome, unsent: &dyn Fn(LinkId) -> usize| {
                shared.letters[local].answer(ticket, outcome, unsent);
            };
            self.unsent.push_back(bus::Mail::Command { local, command, reply: Box::new(answer) });
        }
        for Publication { local, channel, message, sharded } in self.shard.take_publications() {
            self.unsent.push_back(bus::Mail::Publish { local, channel, message, sharded });
        }
        while let Some(mail) = self.unsent.pop_front() {
            if let Err(mail) = plane.mailbox.send(mail) {
                self.unsent.push_front(mail);
                break;
            }
        }
        self.shard.note_plane_behind(!self.unsent.is_empty());
    }

    /// Tells the plane that this core is well. A plane that is far behind has older heartbeats to read.
    fn beat(&mut self, now: Instant) {
        self.next_beat = now + Duration::from_millis(1000 / limits::TICKS_A_SECOND);
        if let Some(plane) = &self.plane {
            let beat = self.shard.heartbeat();
            let _ = plane.mailbox.send(bus::Mail::Heartbeat { local: self.me, beat });
        }
    }

    /// Streams that ended are closed once what they sent is executed and answered.
    fn end_streams(&mut self) {
        for number in std::mem::take(&mut self.ended) {
            self.shard.end(number);
            self.news.push(number);
        }
        for number in std::mem::take(&mut self.starved) {
            if self.conns.get(number).is_some_and(|conn| !conn.paused) {
                self.receive(number);
            }
        }
    }

    fn tick_if_due(&mut self) {
        let now = Instant::now();
        if now >= self.next_beat || self.plane.is_some() && self.shard.beats_early() {
            self.beat(now);
        }
        if let Some(deadline) = self.shard.next_deadline() {
            let now = clock::now();
            if deadline <= now.ms() {
                self.shard.pass_deadlines(now);
            }
        }
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + Duration::from_millis(1000 / self.conf.hz.max(1) as u64);
        self.change_doors();
        for tag in std::mem::take(&mut self.deaf) {
            if let Some(socket) = &self.listeners[tag as usize].0 {
                self.ring.accept(socket.as_raw_fd(), tag);
            }
        }
        self.shard.tick(clock::now());
        self.heed_conf();
        self.tick_log();
        super::outside::publish_thread(&self.metrics);
        if self.host.registers.shutdown.asked().is_some() {
            let _ = self.events.send(Event::Shutdown);
        }
    }

    /// Goes by the configuration that the shard went by in this turn.
    #[inline]
    fn heed_conf(&mut self) {
        let (generation, conf) = self.shard.conf();
        if generation != self.generation {
            (self.generation, self.conf) = (generation, conf.clone());
        }
    }

    /// What no input announces: expiry and eviction that go on.
    fn do_chores(&mut self) {
        if self.shard.has_chores() {
            self.shard.chores(clock::now());
        }
    }

    /// Passes on what is to be written, and what became of it.
    fn look_after_files(&mut self) {
        if !self.shard.has_file_orders() && self.scribes.is_empty() {
            return;
        }
        for (id, order) in self.shard.take_file_orders() {
            let at = self.scribes.iter().position(|s| s.0 == id);
            match (order, at) {
                (FileOrder::Begin(plan), _) => {
                    let given_up = std::mem::take(&mut self.given_up);
                    self.scribes.push((id, Scribe::start(plan, given_up)));
                }
                (FileOrder::Chunk(chunk), Some(at)) => self.scribes[at].1.append(chunk),
                (FileOrder::Finish, Some(at)) => self.scribes[at].1.finish(),
                (FileOrder::Drop, Some(at)) => self.given_up.push(self.scribes.remove(at).1.give_up()),
                (_, None) => {}
            }
        }
        let mut ended = Vec::new();
        self.scribes.retain(|(id, scribe)| {
            self.shard.file_written(*id, scribe.written());
            let outcome = scribe.outcome();
            let goes_on = outcome.is_none();
            ended.extend(outcome.map(|outcome| (*id, outcome)));
            goes_on
        });
        for (id, outcome) in ended {
            self.shard.file_ended(id, outcome, clock::now());
        }
    }

    /// Nothing more comes: files that are not finished are gone when this is done.
    fn end_files(&mut self) {
        self.given_up.extend(self.scribes.drain(..).map(|(_, scribe)| scribe.give_up()));
        self.given_up.drain(..).for_each(GivenUp::end);
    }

    /// Values to be freed elsewhere.
    fn send_garbage(&mut self) {
        if self.shard.has_garbage() {
            let _ = self.events.send(Event::Garbage(self.shard.take_garbage()));
        }
    }

    /// Starts a send for every client with output. One whose next replies are a sibling's waits for
    /// them a moment, so that a pipeline over several shards is answered by one send and not by many.
    fn flush(&mut self) {
        if self.keeper.holds() {
            return;
        }
        let mut news = std::mem::take(&mut self.news);
        self.shard.take_news(&mut news);
        for number in news.drain(..) {
            if self.shard.expects_more(number) {
                self.held.push_back((number, Instant::now() + HELD));
            } else {
                self.flush_one(number);
            }
        }
        self.news = news;
        self.flush_held();
    }

    /// Sends what has been held back long enough, and forgets what was sent meanwhile.
    fn flush_held(&mut self) {
        while let Some(&(number, until)) = self.held.front() {
            if self.shard.expects_more(number) {
                if Instant::now() < until {
                    break;
                }
                self.flush_one(number);
            }
            self.held.pop_front();
        }
    }

    fn flush_one(&mut self, number: u32) {
        let Some(conn) = self.conns.get(number) else {
            return;
        };
        if conn.sending {
            // a client that is thrown out need not have read what is on its way
            if !conn.dead && self.shard.is_killed(number) {
                conn.kill();
            }
            return;
        }
        if !conn.dead {
            let mut buf = std::mem::take(&mut conn.spare);
            if self.shard.take_output(number, &mut buf) {
                conn.sending = true;
                let (fd, tag) = (conn.fd(), tag(number, conn.generation));
                self.ring.try_send(fd, buf, 0, tag);
                return;
            }
            conn.spare = buf;
            if self.shard.is_done(number) {
                conn.kill();
            }
        }
        self.bury(number);
    }

    fn sent(&mut self, of: u64, result: io::Result<()>, from: usize, mut buf: Vec<u8>) {
        let Some((number, conn)) = self.conns.tagged(of) else {
            let news = self.links.sent(&mut self.ring, of, result, from, buf);
            return self.tell_of_link(news, &[]);
        };
        conn.sending = false;
        if result.is_err() && !conn.dead {
            self.shard.end(number);
            conn.kill();
        } else if from < buf.len() && !conn.dead {
            conn.sending = true;
            let fd = conn.fd();
            self.ring.send(fd, buf, from, of);
            return;
        }
        buf.clear();
        if let Some(conn) = self.conns.get(number) {
            conn.spare = buf;
            self.shard.sent(number);
            self.resume_reading(number);
        }
        self.news.push(number);
    }

    /// Reads again from a client that has read its replies.
    fn resume_reading(&mut self, number: u32) {
        if self.shard.is_full(number) {
            return;
        }
        if let Some(conn) = self.conns.get(number)
            && conn.paused
            && !conn.receiving
            && !conn.dead
        {
            conn.paused = false;
            self.receive(number);
        }
    }

    /// Forgets a dead connection when the kernel has finished with it.
    fn bury(&mut self, number: u32) {
        if self.conns.get(number).is_some_and(|c| c.dead && c.is_quiet()) {
            self.conns.remove(number);
            self.shard.close(number);
        }
    }

    /// Sends what is ready, so that the reply to SHUTDOWN's neighbours is not lost.
    fn last_turn(&mut self) {
        self.close_log();
        self.end_files();
        self.flush();
        let _ = self.ring.enter(None);
        for listener in self.listeners.iter().filter_map(|(socket, _)| socket.as_ref()) {
            // the ring's own references to it are given up only some time after the process ended
            let _ = listener.shutdown(std::net::Shutdown::Both);
        }
        for number in self.conns.numbers() {
            if let Some(conn) = self.conns.get(number) {
                conn.kill();
            }
        }
    }
}

/// What becomes of a connection: its number, or it is closed.
fn greet(socket: &Socket, door: Door, conf: &Config, unix_path: &str, shard: &mut Shard) -> Option<u32> {
    let peer = socket.peer_addr();
    // without a password only this machine's own clients are served, as long as nobody chose addresses to bind
    if conf.protected_mode && shard.takes_any_password() && !listen::is_local(&peer) {
        let _ = socket.send(PROTECTED);
        return None;
    }
    let _ = socket.set_tcp_nodelay(true);
    if conf.tcp_keepalive > 0 && peer.as_ref().is_ok_and(|p| !p.is_unix()) {
        let every = Duration::from_secs(conf.tcp_keepalive as u64);
        let third = (every / 3).max(Duration::from_secs(1));
        let keepalive = socket2::TcpKeepalive::new().with_time(every).with_interval(third).with_retries(3);
        let _ = socket.set_tcp_keepalive(&keepalive);
    }
    let (addr, local) = (listen::show(peer, unix_path), listen::show(socket.local_addr(), unix_path));
    let opened = shard.open(door, addr, local, socket.as_raw_fd(), clock::now());
    if let Err(refusal) = opened {
        let _ = socket.send(refusal);
    }
    opened.ok()
}

const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect \
from external computers, you may adopt one of the following solutions: 1) Disable protected mode by sending the command \
'CONFIG SET protected-mode no' from the loopback interface. 2) Set 'protected-mode no' in the configuration file and restart. \
3) Set a password for the default user.\r\n";
