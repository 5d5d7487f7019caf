//! What clients wait while a slot of 1 GB is handed to and fro.

use super::outside::delays::Delays;
use super::outside::load::{Load, Outcome, Until, fill};
use super::outside::server::{Kind, Mode, Server, ask, ask_on};
use super::outside::thousands;
use super::{Args, CORES, TAG, VALUE, put, said};
use shoal::slot::key_slot;
use shoal::util::rng::Rng;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longest that any client may wait for a handoff.
const PAUSE: Duration = Duration::from_millis(5);
/// So many standard deviations are more than chance.
const CHANCE: f64 = 3.0;
/// Keys besides those in the slot.
const OTHERS: u64 = 100_000;
/// Between two handoffs, and how long one may show in what clients wait.
const BREATH: Duration = Duration::from_millis(100);
const MOMENT: Duration = Duration::from_millis(10);

/// GET and SET by turns: three of four in the slot, the others anywhere else.
fn requests(keys: u64, slot: u16, seed: u64) -> impl FnMut(&mut Vec<u8>) {
    let mut rng = Rng::new(seed);
    let value = "v".repeat(VALUE);
    move |out| {
        let key = match rng.below(4) {
            0 => other(rng.below(OTHERS), slot),
            _ => format!("{TAG}:{}", rng.below(keys)),
        };
        match rng.below(2) {
            0 => put(out, &["GET", &key]),
            _ => put(out, &["SET", &key, &value]),
        }
    }
}

/// Key number `n` of those that are not in the slot.
fn other(n: u64, slot: u16) -> String {
    let mut name = format!("other:{n}");
    while key_slot(name.as_bytes()) == slot {
        name.push('x');
    }
    name
}

/// How a load is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loop {
    /// At a rate that leaves the cores some air.
    Open,
    /// As fast as replies come: threads wait for a core then.
    Closed,
}

/// A host of two shards with a slot that is full.
struct Stage<'a> {
    args: &'a Args,
    server: Server,
    slot: u16,
    /// The shard that has the slot at first, and both nodes' names.
    owner: usize,
    ids: Vec<String>,
}

/// What a run showed.
struct Seen {
    outcome: Outcome,
    /// The longest that clients waited in each moment, ascending when it is shown.
    waits: Vec<Duration>,
    /// The longest that a handoff took until OK.
    longest: Duration,
}

impl Stage<'_> {
    fn set(args: &Args) -> Result<Stage<'_>, String> {
        let server = Server::start(Kind::Shoal, Mode::Cluster, 2, CORES)?;
        let slot = key_slot(TAG.as_bytes());
        let owner = (slot >= 8192) as usize;
        let value = "v".repeat(VALUE);
        fill(server.own_port(owner as u16), args.filling(), &mut |n, out| {
            put(out, &["SET", &format!("{TAG}:{n}"), &value]);
        })?;
        fill(server.front_door(), OTHERS, &mut |n, out| put(out, &["SET", &other(n, slot), &value]))?;
        let ids = (0..2).map(|i| id(&server, i)).collect::<Result<_, _>>()?;
        Ok(Stage { args, server, slot, owner, ids })
    }

    /// A load with handoffs, or with as many moments in which there is none.
    fn run(&self, how: Loop, handing: bool, seed: u64) -> Result<Seen, String> {
        let front = self.server.front_door();
        let lasting = BREATH * (self.args.handoffs() as u32 + 1);
        let mut load = Load::connect(front, self.args.connections).map_err(said)?;
        load.watch(Delays::of(self.server.pid(), "shard-").map_err(said)?);
        let mut make = requests(self.args.filling(), self.slot, seed);
        let (outcome, moments) = std::thread::scope(|scope| {
            let moments = scope.spawn(|| self.moments(handing));
            let outcome = match how {
                Loop::Closed => load.closed(1, Until::Time(Instant::now() + lasting), &mut make),
                Loop::Open => {
                    load.open(self.args.rate, Duration::ZERO, lasting, &mut Rng::new(seed), &mut make)
                }
            };
            let moments = moments.join().map_err(|_| "handing off failed".to_string())?;
            Ok::<_, String>((outcome.map_err(said)?, moments?))
        })?;
        let waits = moments.iter().map(|(begin, took)| {
            let end = *begin + MOMENT.max(*took);
            let around = |(due, took): &&(Instant, Duration)| *due < end && *due + *took > *begin;
            outcome.long.iter().filter(around).map(|wait| wait.1).max().unwrap_or_default()
        });
        let waits = waits.collect();
        let longest = moments.iter().map(|moment| moment.1).max().unwrap_or_default();
        Ok(Seen { outcome, waits, longest })
    }

    /// Hands the slot over again and again: when each began, and how long it took.
    fn moments(&self, handing: bool) -> Result<Vec<(Instant, Duration)>, String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.server.front_door())).map_err(said)?;
        let slot = self.slot.to_string();
        let one = |turn: usize| {
            std::thread::sleep(BREATH);
            let since = Instant::now();
            let words = match handing {
                true => &["CLUSTER", "HANDOFF", &slot, &self.ids[(self.owner + turn) % 2]][..],
                false => &["CLUSTER", "KEYSLOT", TAG],
            };
            let reply = ask_on(&mut stream, words).map_err(said)?;
            match reply.starts_with('-') {
                true => Err(format!("{}: {reply}", words.join(" "))),
                false => Ok((since, since.elapsed())),
            }
        };
        (1..=self.args.handoffs()).map(one).collect()
    }

    fn count_keys(&self) -> Result<u64, String> {
        let words = ["CLUSTER", "COUNTKEYSINSLOT", &self.slot.to_string()];
        let reply = ask(self.server.front_door(), &words).map_err(said)?;
        reply.trim_start_matches(':').trim().parse().map_err(|_| format!("COUNTKEYSINSLOT: {reply}"))
    }
}

fn id(server: &Server, shard: u16) -> Result<String, String> {
    let reply = ask(server.own_port(shard), &["CLUSTER", "MYID"]).map_err(said)?;
    Ok(reply.lines().nth(1).unwrap_or_default().to_owned())
}

pub fn run(args: &Args) -> Result<(), String> {
    let stage = Stage::set(args)?;
    let keys = args.filling();
    println!(
        "A slot with {} keys of {VALUE} bytes, {} connections at the front door, GET and SET; and {} moments, \
         with a handoff in each or without\n",
        thousands(keys as f64),
        args.connections,
        args.handoffs()
    );
    println!(
        "| load | handoffs | requests | p50 us | p99.9 us | longest us | of it without a core us | longest of a \
         moment: median us | p90 us | of all us | moments above 5 ms | errors | longest handoff us |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut errors = 0;
    let mut open = [None, None];
    for (how, handing) in
        [(Loop::Open, false), (Loop::Open, true), (Loop::Closed, false), (Loop::Closed, true)]
    {
        let mut seen = stage.run(how, handing, 0)?;
        seen.waits.sort_unstable();
        show(how, handing, &seen);
        errors += seen.outcome.errors;
        if how == Loop::Open {
            open[handing as usize] = Some(seen);
        }
    }
    let count = stage.count_keys()?;
    println!("\n{count} keys are in the slot, {keys} were put there\n");
    if count != keys || errors > 0 {
        return Err("keys or replies were lost".into());
    }
    // with both cores taken wholly clients wait for a core, and for whom is the scheduler's to say
    match open {
        [Some(alone), Some(handing)] if args.check => judge(&alone, &handing),
        _ => Ok(()),
    }
}

/// Whether what clients wait around handoffs is within the bound, as far as it is the handoffs' own.
fn judge(alone: &Seen, handing: &Seen) -> Result<(), String> {
    let median = handing.quantile(0.5);
    if median > PAUSE {
        return Err(format!("around a handoff, a client waits for {} us", median.as_micros()));
    }
    let (few, many) = (alone.above() as f64, handing.above() as f64);
    match many - few > CHANCE * (few + many).sqrt() {
        true => Err(format!("{many} moments with a handoff had a wait above 5 ms, and {few} without")),
        false => Ok(()),
    }
}

impl Seen {
    /// The longest wait of a moment that this share of moments does not exceed.
    fn quantile(&self, share: f64) -> Duration {
        self.waits[((self.waits.len() - 1) as f64 * share) as usize]
    }

    /// Moments in which somebody waited for too long.
    fn above(&self) -> usize {
        self.waits.iter().filter(|wait| **wait > PAUSE).count()
    }
}

fn show(how: Loop, handing: bool, seen: &Seen) {
    let Seen { outcome, longest, .. } = seen;
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let quantile = |share: f64| outcome.latency.value_at_quantile(share) as f64 / 1000.0;
    let moments = [0.5, 0.9, 1.0].map(|share| format!("{:.0}", us(seen.quantile(share)))).join(" | ");
    println!(
        "| {how:?} | {} | {} | {:.1} | {:.1} | {:.0} | {:.0} | {moments} | {} | {} | {:.0} |",
        if handing { "yes" } else { "no" },
        thousands(outcome.replies as f64),
        quantile(0.5),
        quantile(0.999),
        us(outcome.longest.took),
        us(outcome.longest.kept),
        seen.above(),
        outcome.errors,
        if handing { us(*longest) } else { 0.0 }
    );
}
