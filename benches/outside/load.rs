//! A load from one thread over many connections: closed loop (as fast as replies come) or open loop
//! (as fast as a schedule says, whatever the server does).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use hdrhistogram::Histogram;
use shoal::util::rng::Rng;

use super::delays::Delays;
use super::epoll::Epoll;
use super::resp;

/// Waits from this on are kept one by one.
const LONG: Duration = Duration::from_micros(100);
/// No reply for so long means that the server hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest latency that is told apart, in nanoseconds.
const LONGEST: u64 = 100_000_000_000;

/// Writes one request.
pub type Make<'a> = dyn FnMut(&mut Vec<u8>) + 'a;

/// What a load did.
pub struct Outcome {
    pub replies: u64,
    pub errors: u64,
    pub took: Duration,
    /// Nanoseconds from when a request was due to its reply.
    pub latency: Histogram<u64>,
    /// Of long ones, where [`Load::watch`] wants them: when each was due, and how long it took.
    pub long: Vec<(Instant, Duration)>,
    /// And the longest.
    pub longest: Longest,
    /// Requests due before it don't count.
    since: Instant,
}

/// One wait, and how long threads that it may have waited for were kept from a core meanwhile, in all.
#[derive(Clone, Copy, Default)]
pub struct Longest {
    pub took: Duration,
    pub kept: Duration,
}

impl Outcome {
    pub fn new(since: Instant) -> Outcome {
        let latency = Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order");
        let (long, longest) = Default::default();
        Outcome { replies: 0, errors: 0, took: Duration::ZERO, latency, long, longest, since }
    }

    /// Adds what another thread did at the same time.
    pub fn join(&mut self, other: &Outcome) {
        self.replies += other.replies;
        self.errors += other.errors;
        self.took = self.took.max(other.took);
        self.latency.add(&other.latency).expect("the bounds are the same");
    }

    pub fn per_second(&self) -> f64 {
        self.replies as f64 / self.took.as_secs_f64()
    }

    fn count(&mut self, due: Instant, now: Instant, error: bool, delays: &mut Option<Delays>) {
        if due >= self.since {
            let took = now - due;
            self.replies += 1;
            self.errors += error as u64;
            self.latency.saturating_record(took.as_nanos() as u64);
            if let Some(delays) = delays
                && took >= LONG
            {
                self.long.push((due, took));
                if took > self.longest.took {
                    self.longest = Longest { took, kept: delays.since(due) };
                }
            }
        }
    }
}

/// When a closed loop ends: no request is begun after it.
#[derive(Clone, Copy)]
pub enum Until {
    Requests(u64),
    Time(Instant),
}

struct Conn {
    stream: TcpStream,
    out: Vec<u8>,
    /// How much of `out` the kernel has taken.
    written: usize,
    input: BytesMut,
    /// When each request that has no reply yet was due.
    due: VecDeque<Instant>,
}

impl Conn {
    fn ask(&mut self, due: Instant, make: &mut Make<'_>) {
        make(&mut self.out);
        self.due.push_back(due);
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Takes all replies that have come.
    fn read(
        &mut self,
        outcome: &mut Outcome,
        chunk: &mut [u8],
        delays: &mut Option<Delays>,
    ) -> io::Result<()> {
        loop {
            match self.stream.read(chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        if self.input.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        while let Some(len) = resp::reply_len(&self.input) {
            let due =
                self.due.pop_front().ok_or_else(|| io::Error::other("a reply that nobody asked for"))?;
            outcome.count(due, now, self.input[0] == b'-', delays);
            self.input.advance(len);
        }
        Ok(())
    }
}

/// Connections of one thread.
pub struct Load {
    conns: Vec<Conn>,
    epoll: Epoll,
    ready: Vec<usize>,
    chunk: Vec<u8>,
    delays: Option<Delays>,
}

impl Load {
    pub fn connect(port: u16, connections: usize) -> io::Result<Load> {
        let streams: io::Result<Vec<TcpStream>> =
            (0..connections).map(|_| TcpStream::connect(("127.0.0.1", port))).collect();
        Load::over(streams?)
    }

    pub fn over(streams: Vec<TcpStream>) -> io::Result<Load> {
        let epoll = Epoll::new()?;
        let mut conns = Vec::with_capacity(streams.len());
        for (i, stream) in streams.into_iter().enumerate() {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll.add(&stream, i)?;
            let (out, input, due) = (Vec::new(), BytesMut::new(), VecDeque::new());
            conns.push(Conn { stream, out, written: 0, input, due });
        }
        Ok(Load { conns, epoll, ready: Vec::new(), chunk: vec![0; 64 * 1024], delays: None })
    }

    /// Keeps long waits, and finds out for the longest how long threads were kept from a core meanwhile.
    pub fn watch(&mut self, delays: Delays) {
        self.delays = Some(delays);
    }

    /// Every connection sends `pipeline` requests, waits for all of their replies, and does it again.
    pub fn closed(&mut self, pipeline: usize, until: Until, make: &mut Make<'_>) -> io::Result<Outcome> {
        let begin = Instant::now();
        let mut outcome = Outcome::new(begin);
        let mut asked = 0;
        let batch = |asked: &mut u64, now: Instant| -> u64 {
            let count = match until {
                Until::Requests(n) => (n - *asked).min(pipeline as u64),
                Until::Time(end) => {
                    if now < end {
                        pipeline as u64
                    } else {
                        0
                    }
                }
            };
            *asked += count;
            count
        };
        for conn in &mut self.conns {
            let now = Instant::now();
            (0..batch(&mut asked, now)).for_each(|_| conn.ask(now, make));
            conn.flush()?;
        }
        while outcome.replies < asked {
            self.wait(PATIENCE)?;
            if self.ready.is_empty() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            for number in self.ready.drain(..) {
                let conn = &mut self.conns[number];
                conn.read(&mut outcome, &mut self.chunk, &mut self.delays)?;
                if conn.due.is_empty() {
                    let now = Instant::now();
                    (0..batch(&mut asked, now)).for_each(|_| conn.ask(now, make));
                }
                conn.flush()?;
            }
        }
        outcome.took = begin.elapsed();
        Ok(outcome)
    }

    /// `rate` requests a second on average, at times by chance (a Poisson process) and on connections
    /// in turn. A request's latency counts from when it was due, so what waits behind a slow one
    /// counts as slow too. Requests due before `warm` has passed are sent but not counted.
    pub fn open(
        &mut self,
        rate: f64,
        warm: Duration,
        lasting: Duration,
        rng: &mut Rng,
        make: &mut Make<'_>,
    ) -> io::Result<Outcome> {
        let mut gap = || Duration::from_secs_f64(-(1.0 - rng.unit()).ln() / rate);
        let begin = Instant::now() + warm;
        let end = begin + lasting;
        let mut outcome = Outcome::new(begin);
        let mut next = begin - warm + gap();
        let mut turn = 0;
        loop {
            let now = Instant::now();
            while next <= now && next < end {
                turn = (turn + 1) % self.conns.len();
                let conn = &mut self.conns[turn];
                conn.ask(next, make);
                conn.flush()?;
                next += gap();
            }
            if next >= end && self.conns.iter().all(|conn| conn.due.is_empty()) {
                break;
            }
            let limit = if next >= end { PATIENCE } else { next.saturating_duration_since(Instant::now()) };
            self.wait(limit)?;
            if self.ready.is_empty() && limit == PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            for number in self.ready.drain(..) {
                let conn = &mut self.conns[number];
                conn.read(&mut outcome, &mut self.chunk, &mut self.delays)?;
                conn.flush()?;
            }
        }
        outcome.took = begin.elapsed();
        Ok(outcome)
    }

    fn wait(&mut self, limit: Duration) -> io::Result<()> {
        self.ready.clear();
        self.epoll.wait(limit, &mut self.ready)?;
        if let Some(delays) = &mut self.delays {
            delays.look();
        }
        Ok(())
    }
}

/// Sends `count` requests over one connection in large batches, to fill a server.
pub fn fill(port: u16, count: u64, make: &mut dyn FnMut(u64, &mut Vec<u8>)) -> Result<(), String> {
    let mut next = 0;
    let mut make = |out: &mut Vec<u8>| {
        make(next, out);
        next += 1;
    };
    let outcome = Load::connect(port, 1).and_then(|mut l| l.closed(512, Until::Requests(count), &mut make));
    match outcome {
        Ok(outcome) if outcome.errors == 0 => Ok(()),
        Ok(outcome) => Err(format!("{} of {count} requests failed", outcome.errors)),
        Err(e) => Err(format!("filling port {port}: {e}")),
    }
}
