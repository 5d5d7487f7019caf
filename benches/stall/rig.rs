//! A shard with one client, driven as the executor drives it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use shoal::cluster::view::View;
use shoal::command::host::Host;
use shoal::config::Config;
use shoal::session::Door;
use shoal::shard::{Input, Now, Setup, Shard};
use shoal::store::{Garbage, Hasher};

use super::tape::{self, told};
use super::warm::Warm;
use super::watch::{Kind, Times};

const VALUE: [u8; 32] = [b'v'; 32];
/// Commands between two looks whether the run still is the one that was recorded.
const LOOK_EVERY: u64 = 10_000;

/// What the server's thread does that belongs to no shard: frees what is big, gives memory back.
fn tidy(inbox: &Receiver<Vec<Garbage>>) {
    const EVERY: Duration = Duration::from_secs(1);
    let mut next = Instant::now() + EVERY;
    loop {
        match inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(garbage) => drop(garbage),
            Err(RecvTimeoutError::Timeout) => {
                shoal::net::heap::purge();
                next = Instant::now() + EVERY;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

pub struct Rig {
    pub host: Arc<Host>,
    shard: Shard,
    client: u32,
    begin: Instant,
    /// Microseconds of Unix time at `begin`; leaps when a part wants time to pass.
    epoch_us: u64,
    next_tick_us: u64,
    warm: Option<Warm>,
    /// Where big values go to be freed by another thread; see [`tidy`].
    garbage: Sender<Vec<Garbage>>,
    commands: u64,
    frame: Vec<u8>,
    out: Vec<u8>,
    news: Vec<u32>,
    pub times: Times,
}

impl Rig {
    pub fn new(times: Times, warm: Option<Warm>, change: impl FnOnce(&mut Config)) -> Rig {
        let mut conf = Config::default();
        change(&mut conf);
        let outside = Box::new(shoal::net::outside::System);
        let host = Arc::new(Host { cluster: true, ..Host::new(conf, 1, Shard::COMMANDS, outside) });
        let mut shard = Shard::new(Setup {
            me: 0,
            shards: 1,
            host: host.clone(),
            view: Arc::new(View::alone()),
            hasher: Hasher::new(1),
            databases: 1,
            seed: 1,
            ticks: tape::ticks(),
        });
        let now = Now { unix_us: told(|| shoal::net::clock::now().unix_us) };
        let client = shard.open(Door::Own, String::new(), String::new(), 0, now).expect("there is room");
        let (garbage, inbox) = channel::<Vec<Garbage>>();
        std::thread::spawn(move || tidy(&inbox));
        Rig {
            host,
            shard,
            client,
            begin: Instant::now(),
            epoch_us: now.unix_us,
            next_tick_us: now.unix_us,
            warm,
            garbage,
            commands: 0,
            frame: Vec::new(),
            out: Vec::new(),
            news: Vec::new(),
            times,
        }
    }

    pub fn now(&self) -> Now {
        Now { unix_us: self.epoch_us + told(|| self.begin.elapsed().as_micros() as u64) }
    }

    /// One turn: a command, a tick when one is due, chores when there are any; each timed.
    pub fn run(&mut self, args: &[&[u8]]) {
        self.frame.clear();
        self.frame.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        for arg in args {
            self.frame.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            self.frame.extend_from_slice(arg);
            self.frame.extend_from_slice(b"\r\n");
        }
        let now = self.now();
        self.out.clear();
        let turn = Instant::now();
        let Rig { shard, client, frame, out, news, times, .. } = self;
        times.time(Kind::Command, || {
            shard.turn(&mut [Input::new(*client, frame)], now);
            news.clear();
            shard.take_news(news);
            shard.take_output(*client, out);
            shard.sent(*client);
        });
        self.tick_if_due(now);
        self.do_chores(now);
        self.times.record(Kind::Turn, turn.elapsed());
        assert_ne!(self.out.first(), Some(&b'-'), "{}", self.out.escape_ascii());
        self.commands += 1;
        if self.commands.is_multiple_of(LOOK_EVERY) {
            tape::same("memory", shoal::metrics::used_memory() as u64);
        }
        if let Some(warm) = &mut self.warm {
            warm.give();
        }
    }

    fn tick_if_due(&mut self, now: Now) {
        if now.unix_us < self.next_tick_us {
            return;
        }
        let hz = self.host.live.snapshot().hz.max(1);
        self.next_tick_us = now.unix_us + 1_000_000 / hz as u64;
        self.times.time(Kind::Tick, || self.shard.tick(now));
    }

    fn do_chores(&mut self, now: Now) {
        if !self.shard.has_chores() && !self.shard.has_garbage() {
            return;
        }
        self.times.time(Kind::Chores, || {
            if self.shard.has_chores() {
                self.shard.chores(now);
            }
            if self.shard.has_garbage() {
                let garbage = self.shard.take_garbage();
                self.garbage.send(garbage).expect("the thread that frees lives as long as this");
            }
        });
    }

    pub fn set(&mut self, name: &str) {
        self.run(&[b"SET", name.as_bytes(), &VALUE]);
    }

    pub fn set_until(&mut self, name: &str, unix_ms: u64) {
        self.run(&[b"SET", name.as_bytes(), &VALUE, b"PXAT", unix_ms.to_string().as_bytes()]);
    }

    pub fn keys(&mut self) -> u64 {
        self.run(&[b"DBSIZE"]);
        let digits = std::str::from_utf8(&self.out[1..]).expect("a number");
        digits.trim().parse().expect("a number")
    }

    /// Lets time pass at once.
    pub fn leap(&mut self, time: Duration) {
        self.epoch_us += time.as_micros() as u64;
    }
}
