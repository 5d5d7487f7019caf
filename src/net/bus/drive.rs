//! The loop of the bus's thread.

use super::links::{Links, Settings};
use super::save::{NodesConf, Saver};
use super::{Event, Order, Progress};
use crate::limits;
use crate::net::clock;
use crossbeam::queue::ArrayQueue;
use socket2::Socket;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the bus drives: the plane, with what leads from it to the shards. Times are Unix times in
/// milliseconds; after each call its orders are taken. None of its calls may wait.
pub trait Driven: Send + 'static {
    /// What other threads send.
    type Mail: Send + 'static;

    fn tick(&mut self, now_ms: u64);
    fn event(&mut self, event: Event<'_>, now_ms: u64);
    fn mail(&mut self, mail: Self::Mail, links: &Links, now_ms: u64);
    /// nodes.conf has got further.
    fn saved(&mut self, progress: Progress, links: &Links, now_ms: u64);
    fn next_order(&mut self) -> Option<Order>;
    /// The end of a turn: who was told something may look.
    fn ring(&mut self);
    /// Called with each tick.
    fn settings(&self) -> Settings;
}

/// What the bus needs to start.
pub struct Plan {
    pub listeners: Vec<(Socket, usize)>,
    pub conf: NodesConf,
    /// Called from one of the bus's threads when it can't go on.
    pub failed: Box<dyn Fn(String) + Send + Sync>,
}

struct Shared<M> {
    mail: ArrayQueue<M>,
    /// Somebody has rung since the bus last looked.
    rung: AtomicBool,
    stop: AtomicBool,
    waker: UnixStream,
}

impl<M> Shared<M> {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // the socket is full only when a ring is on its way
            let _ = (&self.waker).write(&[0]);
        }
    }
}

/// Sends mail to the bus, from any thread.
pub struct Mailbox<M>(Arc<Shared<M>>);

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Mailbox<M> {
        Mailbox(self.0.clone())
    }
}

impl<M> Mailbox<M> {
    /// Gives the mail back when too much waits already.
    pub fn send(&self, mail: M) -> Result<(), M> {
        self.0.mail.push(mail)?;
        self.0.ring();
        Ok(())
    }
}

/// The bus at work.
pub struct Running<M> {
    shared: Arc<Shared<M>>,
    thread: JoinHandle<()>,
}

impl<M: Send + 'static> Running<M> {
    pub fn mailbox(&self) -> Mailbox<M> {
        Mailbox(self.shared.clone())
    }

    /// Stops it. What was ordered to be saved is on the disk then.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.ring();
        let _ = self.thread.join();
    }
}

/// Starts the bus's threads.
pub fn start<D: Driven>(plan: Plan, driven: D) -> Result<Running<D::Mail>, String> {
    let (ours, theirs) = UnixStream::pair().map_err(|e| format!("Can't set up the cluster bus: {e}"))?;
    theirs.set_nonblocking(true).map_err(|e| format!("Can't set up the cluster bus: {e}"))?;
    let shared = Arc::new(Shared {
        mail: ArrayQueue::new(limits::BUS_MAIL),
        rung: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        waker: theirs,
    });
    let (ready, stands) = std::sync::mpsc::channel();
    let at_work = shared.clone();
    let thread = std::thread::Builder::new()
        .name("bus".into())
        .spawn(move || {
            let failed = Arc::new(plan.failed);
            let mut bus = match Bus::new(driven, plan.listeners, plan.conf, at_work, ours, failed.clone()) {
                Ok(bus) => bus,
                Err(e) => {
                    let _ = ready.send(Err(format!("Can't set up the cluster bus: {e}")));
                    return;
                }
            };
            let _ = ready.send(Ok(()));
            if let Err(e) = bus.run() {
                failed(format!("the cluster bus: {e}"));
            }
        })
        .map_err(|e| format!("Can't start the cluster bus: {e}"))?;
    stands.recv().map_err(|_| "The cluster bus did not start".to_string())??;
    Ok(Running { shared, thread })
}

struct Bus<D: Driven> {
    driven: D,
    links: Links,
    saver: Saver,
    /// What the plane knows of nodes.conf.
    told: Progress,
    shared: Arc<Shared<D::Mail>>,
    next_tick: Instant,
}

impl<D: Driven> Bus<D> {
    fn new(
        driven: D,
        listeners: Vec<(Socket, usize)>,
        conf: NodesConf,
        shared: Arc<Shared<D::Mail>>,
        waker: UnixStream,
        failed: Arc<Box<dyn Fn(String) + Send + Sync>>,
    ) -> io::Result<Bus<D>> {
        let links = Links::new(listeners, waker, driven.settings())?;
        let rings = shared.clone();
        let saver = Saver::start(conf, move |outcome| match outcome {
            Ok(()) => rings.ring(),
            Err(e) => failed(format!("Fatal: can't update cluster config file: {e}")),
        })?;
        Ok(Bus { driven, links, saver, told: Progress::default(), shared, next_tick: Instant::now() })
    }

    fn run(&mut self) -> io::Result<()> {
        while !self.shared.stop.load(Ordering::Acquire) {
            self.turn();
            let time = match self.shared.mail.is_empty() {
                true => self.next_tick.saturating_duration_since(Instant::now()),
                false => Duration::ZERO,
            };
            self.links.wait(time, now_ms)?;
        }
        Ok(())
    }

    /// Handles all that is there. Each thing's orders are carried out before the next is looked at,
    /// so that nothing is heard of a link that was closed.
    fn turn(&mut self) {
        self.shared.rung.store(false, Ordering::Release);
        self.carry_out();
        while let Some(event) = self.links.next_event() {
            self.driven.event(event, now_ms());
            self.carry_out();
        }
        self.tell_saved();
        for _ in 0..limits::BUS_MAIL {
            let Some(mail) = self.shared.mail.pop() else { break };
            self.driven.mail(mail, &self.links, now_ms());
            self.carry_out();
        }
        // what could be written at once is answered at once
        self.tell_saved();
        if Instant::now() >= self.next_tick {
            self.next_tick = Instant::now() + Duration::from_millis(1000 / limits::TICKS_A_SECOND);
            self.driven.tick(now_ms());
            self.carry_out();
            self.links.configure(self.driven.settings());
            self.links.sweep(now_ms());
        }
        self.driven.ring();
    }

    fn tell_saved(&mut self) {
        let progress = self.saver.progress();
        if progress != self.told {
            self.told = progress;
            self.driven.saved(progress, &self.links, now_ms());
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        while let Some(order) = self.driven.next_order() {
            match order {
                Order::Save { version, text, sync } => self.saver.save(version, text, sync),
                order => self.links.order(order),
            }
        }
    }
}

fn now_ms() -> u64 {
    clock::now().ms()
}
