//! What each step of a handoff takes, of two shards in one thread: no scheduler is in play, and no disk.

use super::outside::thousands;
use super::{Args, TAG, VALUE, put};
use shoal::cluster::handoff::{Handoff, Move};
use shoal::cluster::view::{Node, View, even_share};
use shoal::command::host::Host;
use shoal::config::Config;
use shoal::session::Door;
use shoal::shard::mail::Mail;
use shoal::shard::plane::Letters;
use shoal::shard::{Input, Setup, Shard};
use shoal::slot::{Slot, key_slot};
use shoal::store::Hasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest that one step may take.
const STEP: Duration = Duration::from_millis(1);
/// Commands in a turn that fills the slot, and in the first turn after a handoff.
const TURN: u64 = 64;
/// How often the same handoffs are made. What stands still for milliseconds without a cause of ours does not do
/// so at the same one each time.
const REPLAYS: usize = 3;
const STEPS: [&str; 4] = [
    "the giver takes the view up, and packs",
    "the receiver takes it up",
    "the receiver unpacks",
    "its first 64 GETs",
];

/// Two shards, and a client of each at the front door.
struct Pair {
    shards: Vec<Shard>,
    clients: Vec<u32>,
    view: Arc<View>,
}

impl Pair {
    fn new() -> Pair {
        let node = |shard: usize| Node {
            id: [b'a' + shard as u8; 40],
            ip: "127.0.0.1".into(),
            port: 7000 + shard as u16,
            config_epoch: 1 + shard as u64,
            local: Some(shard as u16),
            ..Node::default()
        };
        let (_, last) = even_share(0, 2);
        let view = View::new(1, 2, (0..2).map(node).collect(), |slot| (slot > last) as u16);
        let view = Arc::new(view);
        let outside = Box::new(shoal::net::outside::System);
        let host = Host { cluster: true, ..Host::new(Config::default(), 2, Shard::COMMANDS, outside) };
        let host = Arc::new(host);
        let shard = |me: usize| {
            Shard::new(Setup {
                me,
                shards: 2,
                host: host.clone(),
                view: view.clone(),
                hasher: Hasher::new(1),
                databases: 1,
                seed: me as u64,
                ticks: shoal::net::clock::ticks(),
            })
        };
        let mut shards: Vec<Shard> = (0..2).map(shard).collect();
        let open = |shard: &mut Shard| {
            let now = shoal::net::clock::now();
            shard.open(Door::Front, String::new(), String::new(), 0, now).expect("there is room")
        };
        let clients = shards.iter_mut().map(open).collect();
        Pair { shards, clients, view }
    }

    fn owner(&self, slot: Slot) -> usize {
        self.view.local_owner(slot).expect("every slot is served") as usize
    }

    /// A turn with commands for keys of its own; how many bytes it answered.
    fn turn(&mut self, shard: usize, commands: &[u8]) -> usize {
        let (shard, client) = (&mut self.shards[shard], self.clients[shard]);
        shard.turn(&mut [Input::new(client, commands)], shoal::net::clock::now());
        let mut out = Vec::new();
        shard.take_output(client, &mut out);
        shard.sent(client);
        assert_ne!(out.first(), Some(&b'-'), "{}", out.escape_ascii());
        out.len()
    }

    /// What the plane would publish.
    fn next_view(&self, slot: Slot) -> Arc<View> {
        let (view, from) = (&self.view, self.owner(slot));
        let to = 1 - from;
        let owner = |s| if s == slot { view.local_index(to) } else { view.owner_index(s) };
        let mut next = View::new(view.version + 1, 1, view.nodes.clone(), owner);
        let moves = vec![Move { from, to, slots: [slot].into_iter().collect() }];
        next.handoff = Arc::new(Handoff { era: view.handoff.era + 1, moves });
        Arc::new(next)
    }

    /// Hands the slot over; how long each step took.
    fn hand_over(&mut self, slot: Slot, commands: &[u8]) -> [Duration; STEPS.len()] {
        let from = self.owner(slot);
        let to = 1 - from;
        let view = self.next_view(slot);
        let letters = || Letters { view: Some(view.clone()), ..Letters::default() };
        let now = shoal::net::clock::now();
        let mut mail: Vec<Mail> = Vec::new();
        let gives = timed(|| {
            self.shards[from].letters(letters(), now);
            mail.extend(self.shards[from].take_mail().map(|(_, mail)| mail));
        });
        let takes = timed(|| self.shards[to].letters(letters(), now));
        let gets = timed(|| mail.into_iter().for_each(|mail| self.shards[to].mail(from, mail, now)));
        self.view = view.clone();
        assert!(self.shards.iter().all(|shard| shard.heartbeat().era == view.handoff.era), "it is over");
        let mut answered = 0;
        let first = timed(|| answered = self.turn(to, commands));
        assert!(answered > VALUE * TURN as usize, "{answered} bytes are no {TURN} values");
        [gives, takes, gets, first]
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let since = Instant::now();
    work();
    since.elapsed()
}

pub fn run(args: &Args) -> Result<(), String> {
    let mut pair = Pair::new();
    let (slot, keys) = (key_slot(TAG.as_bytes()), args.filling());
    let value = "v".repeat(VALUE);
    for turn in 0..keys.div_ceil(TURN) {
        let mut commands = Vec::new();
        for n in turn * TURN..keys.min((turn + 1) * TURN) {
            put(&mut commands, &["SET", &format!("{TAG}:{n}"), &value]);
        }
        pair.turn(pair.owner(slot), &commands);
    }
    let handoffs = args.handoffs();
    let mut times: [Vec<Vec<Duration>>; STEPS.len()] = [const { Vec::new() }; STEPS.len()];
    times.iter_mut().for_each(|times| times.resize(handoffs, Vec::new()));
    for n in (0..REPLAYS).flat_map(|_| 0..handoffs) {
        let mut commands = Vec::new();
        (0..TURN).for_each(|i| {
            put(&mut commands, &["GET", &format!("{TAG}:{}", (n as u64 * 7919 + i * 104_729) % keys)])
        });
        let steps = pair.hand_over(slot, &commands);
        times.iter_mut().zip(steps).for_each(|(times, step)| times[n].push(step));
    }
    println!(
        "A slot with {} keys of {VALUE} bytes handed over {handoffs} times between two shards in one thread, and \
         all of that {REPLAYS} times\n",
        thousands(keys as f64)
    );
    println!("| step | median us | longest us | longest in every replay us |");
    println!("|---|---:|---:|---:|");
    let mut longest = Duration::ZERO;
    for (name, times) in STEPS.iter().zip(times) {
        let again =
            times.iter().filter_map(|replays| replays.iter().min()).max().copied().unwrap_or_default();
        let mut all = times.concat();
        all.sort_unstable();
        longest = longest.max(again);
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} |",
            us(all[all.len() / 2]),
            us(all[all.len() - 1]),
            us(again)
        );
    }
    println!();
    match args.check && longest > STEP {
        true => Err(format!("a step of a handoff takes {:.0} us", us(longest))),
        false => Ok(()),
    }
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
