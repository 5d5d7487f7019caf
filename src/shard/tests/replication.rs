//! Shards that copy each other, with the bytes between them carried in odd pieces, and cut.

mod directives;
mod hostile;

use super::{Client, Rig};
use crate::config::types::ProtectedAction;
use crate::session::Door;
use crate::shard::Input;
use crate::shard::moving::{LinkEvent, LinkId, LinkOrder};
use crate::util::rng::Rng;

/// A connection from one host's shard to another's.
struct Wire {
    from: usize,
    link: LinkId,
    to: usize,
    client: u32,
}

/// Hosts of one shard each. Their names are their numbers.
struct Net {
    rigs: Vec<Rig>,
    users: Vec<Client>,
    wires: Vec<Wire>,
    rng: Rng,
}

impl Net {
    fn new(hosts: usize, seed: u64) -> Net {
        let rig = |_| {
            Rig::with(1, false, |host| {
                host.live.update(|conf| {
                    conf.enable_debug_command = ProtectedAction::Yes;
                    conf.repl_diskless_sync_delay = 0;
                    // nobody writes files here
                    conf.save.0.clear();
                    conf.hash_max_listpack_entries = 8;
                });
            })
        };
        let mut rigs: Vec<Rig> = (0..hosts).map(rig).collect();
        let users = rigs.iter_mut().map(|rig| rig.connect(0, Door::Own)).collect();
        Net { rigs, users, wires: Vec::new(), rng: Rng::new(seed) }
    }

    fn run(&mut self, host: usize, line: &str) -> String {
        let user = self.users[host];
        self.rigs[host].run(user, line)
    }

    /// Time passes everywhere.
    fn pass(&mut self, ms: u64) {
        for rig in &mut self.rigs {
            rig.pass_ms(ms);
            rig.tick();
        }
        self.carry();
    }

    /// Carries all that there is to carry.
    fn carry(&mut self) {
        let mut quiet = 0;
        while quiet < 2 {
            quiet += 1;
            for host in 0..self.rigs.len() {
                while self.rigs[host].shards[0].has_chores() {
                    let now = self.rigs[host].now;
                    self.rigs[host].shards[0].chores(now);
                }
                let orders: Vec<LinkOrder> = self.rigs[host].shards[0].take_link_orders().collect();
                for order in orders {
                    quiet = 0;
                    self.order(host, order);
                }
            }
            for n in (0..self.wires.len()).rev() {
                if self.answer(n) {
                    quiet = 0;
                }
            }
        }
    }

    fn order(&mut self, from: usize, order: LinkOrder) {
        match order {
            LinkOrder::Open { link, host, .. } => {
                let to: usize = host.parse().expect("a host's number");
                let now = self.rigs[to].now;
                let shard = &mut self.rigs[to].shards[0];
                let client =
                    shard.open(Door::Own, format!("{from}:1"), "x:1".into(), 9, now).expect("a client");
                self.wires.push(Wire { from, link, to, client });
                self.tell(from, link, LinkEvent::Opened);
            }
            LinkOrder::Send { link, bytes } => {
                let Some(at) = self.wires.iter().position(|w| (w.from, w.link) == (from, link)) else {
                    return;
                };
                let (to, client) = (self.wires[at].to, self.wires[at].client);
                let now = self.rigs[to].now;
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (piece, more) = rest.split_at(1 + self.rng.below(rest.len() as u64) as usize);
                    self.rigs[to].shards[0].turn(&mut [Input::new(client, piece)], now);
                    rest = more;
                }
            }
            LinkOrder::Close { link } => {
                if let Some(at) = self.wires.iter().position(|w| (w.from, w.link) == (from, link)) {
                    let Wire { to, client, .. } = self.wires.swap_remove(at);
                    self.rigs[to].shards[0].close(client);
                }
            }
        }
    }

    fn tell(&mut self, host: usize, link: LinkId, event: LinkEvent<'_>) {
        let now = self.rigs[host].now;
        self.rigs[host].shards[0].link(link, event, now);
    }

    /// What a shard has for one of its replicas. Whether there was anything.
    fn answer(&mut self, n: usize) -> bool {
        let Wire { from, link, to, client } = self.wires[n];
        let mut out = Vec::new();
        let shard = &mut self.rigs[to].shards[0];
        let any = shard.take_output(client, &mut out);
        if any {
            shard.sent(client);
        }
        let over = out.is_empty() && shard.is_done(client);
        let mut rest = &out[..];
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(1 + self.rng.below(rest.len() as u64) as usize);
            self.tell(from, link, LinkEvent::Received(piece));
            rest = more;
        }
        if over {
            self.cut(n);
        }
        any || over
    }

    /// A connection breaks; what was under way is lost.
    fn cut(&mut self, n: usize) {
        let Wire { from, link, to, client } = self.wires.remove(n);
        self.rigs[to].shards[0].close(client);
        self.tell(from, link, LinkEvent::Closed);
    }

    /// Writes something by chance.
    fn write(&mut self, host: usize) {
        let mut n = |below| self.rng.below(below);
        let (k, v) = (n(40), n(1000));
        let line = match n(16) {
            0 | 1 => format!("SET k{k} {v}"),
            2 => format!("SET k{k} {v} PX {}", 1 + v),
            3 => format!("DEL k{k} l{k}"),
            4 => format!("RPUSH l{k} {v} b"),
            5 => format!("LPOP l{k}"),
            6 => format!("SADD s{k} {v} a b"),
            7 => format!("SPOP s{k}"),
            8 => format!("HSET h{k} f{v} {v}"),
            9 => format!("ZADD z{k} {v} m{}", v % 7),
            10 => format!("PEXPIRE h{k} {}", v * 3),
            11 => format!("INCRBYFLOAT n{k} 0.{v}"),
            12 => format!("SELECT {}", v % 3),
            13 => format!("GET k{k}"),
            14 => format!("LMOVE l{k} l{} LEFT RIGHT", v % 40),
            _ => format!("SORT s{k} ALPHA STORE l{k}"),
        };
        self.run(host, &line);
    }

    fn info(&mut self, host: usize, field: &str) -> String {
        let text = self.run(host, "INFO everything");
        let found = text.split('|').find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_default().to_owned()
    }

    /// All follow what the first host has, once it is quiet.
    fn agree(&mut self, hosts: &[usize], what: &str) {
        for _ in 0..40 {
            self.pass(500);
        }
        let digest = self.run(hosts[0], "DEBUG DIGEST");
        for &host in &hosts[1..] {
            assert_eq!(self.info(host, "master_link_status"), "up", "{what}: host {host}");
            let offsets = (self.info(hosts[0], "master_repl_offset"), self.info(host, "slave_repl_offset"));
            assert_eq!(offsets.0, offsets.1, "{what}: host {host}");
            assert_eq!(self.run(host, "DEBUG DIGEST"), digest, "{what}: host {host}");
        }
    }
}

#[test]
fn whatever_is_cut_they_agree() {
    for seed in 0..30 {
        let mut net = Net::new(3, seed);
        (0..300).for_each(|_| net.write(0));
        assert_eq!(net.run(1, "REPLICAOF 0 1"), "+OK|");
        assert_eq!(net.run(2, "REPLICAOF 1 1"), "+OK|");
        for _ in 0..600 {
            net.write(0);
            match net.rng.below(40) {
                0 if !net.wires.is_empty() => {
                    let n = net.rng.below(net.wires.len() as u64) as usize;
                    net.cut(n);
                }
                1 => {
                    let ms = net.rng.below(1200);
                    net.pass(ms);
                }
                2..=20 => net.carry(),
                _ => {}
            }
        }
        net.agree(&[0, 1, 2], &format!("seed {seed}"));
        assert_eq!(net.info(0, "sync_full"), "1", "seed {seed}");
    }
}

#[test]
fn roles_change_without_another_payload() {
    for seed in 100..120 {
        let what = format!("seed {seed}");
        let mut net = Net::new(3, seed);
        (0..100).for_each(|_| net.write(0));
        for replica in [1, 2] {
            assert_eq!(net.run(replica, "REPLICAOF 0 1"), "+OK|");
        }
        net.agree(&[0, 1, 2], &what);
        (0..100).for_each(|_| net.write(0));
        net.agree(&[0, 1, 2], &what);
        assert_eq!(net.run(1, "SET a b"), "-READONLY You can't write against a read only replica.|");
        assert_eq!(net.run(1, "REPLICAOF NO ONE"), "+OK|");
        (0..50).for_each(|_| net.write(1));
        for replica in [0, 2] {
            assert_eq!(net.run(replica, "REPLICAOF 1 1"), "+OK|");
        }
        net.agree(&[1, 0, 2], &what);
        assert_eq!((net.info(0, "sync_full"), net.info(1, "sync_full")), ("2".into(), "0".into()), "{what}");
        // and back again, by consent, while a client writes
        assert_eq!(net.run(1, "FAILOVER TO 0 6379 TIMEOUT 10000"), "+OK|");
        for _ in 0..30 {
            net.pass(500);
        }
        let roles = [0, 1].map(|host| net.info(host, "role"));
        assert_eq!(roles, ["master", "slave"], "{what}");
        (0..50).for_each(|_| net.write(0));
        net.agree(&[0, 1], &what);
        assert_eq!(net.info(0, "sync_full"), "2", "{what}");
    }
}

#[test]
fn who_waits_for_acknowledgements_gets_them() {
    let mut net = Net::new(2, 1);
    assert_eq!(net.run(1, "REPLICAOF 0 1"), "+OK|");
    net.run(0, "SET a 1");
    net.agree(&[0, 1], "at first");
    net.run(0, "SET a 2");
    assert_eq!(net.run(0, "WAIT 1 0"), "");
    net.carry();
    let user = net.users[0];
    assert_eq!(net.rigs[0].output(user), ":1\r\n");
    assert_eq!(net.run(1, "GET a"), "$1|2|");
    // one that is never answered ends by its time
    assert_eq!(net.run(0, "WAIT 2 300"), "");
    net.pass(200);
    assert_eq!(net.rigs[0].output(user), "");
    net.pass(200);
    assert_eq!(net.rigs[0].output(user), ":1\r\n");
    assert_eq!(net.run(0, "CONFIG SET min-replicas-to-write 2"), "+OK|");
    net.pass(1100);
    assert_eq!(net.run(0, "SET a 3"), "-NOREPLICAS Not enough good replicas to write.|");
    assert_eq!(net.run(1, "CONFIG SET replica-serve-stale-data no"), "+OK|");
    assert_eq!(net.run(1, "GET a"), "$1|2|");
    net.rigs[1].pass_ms(61_000);
    net.rigs[1].tick();
    let down = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.|";
    assert_eq!(net.run(1, "GET a"), down);
}
