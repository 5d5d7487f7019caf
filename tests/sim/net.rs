//! The network between machines: what is delayed, held up, lost with its link, or said twice.

use super::machine::{End, Parcel, Wire};
use super::world::{Event, World};
use bytes::Bytes;
use shoal::cluster::plane::LinkId;
use shoal::shard::desk::Order;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What goes wrong how often, out of a thousand.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// A parcel takes so long at least, and so much longer at most.
    pub delay: (u64, u64),
    /// A segment is lost: its link stalls until it is sent again.
    pub loss: u64,
    /// A new link begins with what was last sent on the one before.
    pub replay: u64,
    /// A save takes so long at most.
    pub disk: u64,
}

pub const FAIR: Weather = Weather { delay: (1, 4), loss: 0, replay: 0, disk: 4 };

/// A lost segment is sent again after so long, and a lost SYN.
const RESEND_MS: u64 = 200;
const REDIAL_MS: u64 = 1000;
const REDIALS: u32 = 4;
/// Frames of a link that a later one may repeat.
const REPLAYED: usize = 3;

/// From which machine to which address, and in whose name.
type Place = (usize, String, u16, Vec<u8>);

/// The sender's name in a packet's header.
fn name_of(frame: &[u8]) -> Vec<u8> {
    frame.get(40..80).unwrap_or_default().to_vec()
}

pub struct Net {
    pub weather: Weather,
    /// Pairs (from, to) of machines between which nothing passes that way.
    pub cut: BTreeSet<(usize, usize)>,
    /// Ends of links whose other end is gone, and can't say so.
    widows: Vec<(usize, End)>,
    /// What each node last sent to a place.
    said: BTreeMap<Place, VecDeque<Bytes>>,
}

impl Net {
    pub fn new() -> Net {
        let (cut, widows, said) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        Net { weather: FAIR, cut, widows, said }
    }

    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }
}

/// A try to open a link.
#[derive(Clone, Debug)]
pub struct Dial {
    pub link: LinkId,
    ip: String,
    port: u16,
    tries: u32,
}

impl World {
    pub fn delay(&mut self) -> u64 {
        let Weather { delay: (least, more), .. } = self.net.weather;
        least + self.rng.below(more + 1)
    }

    pub fn chance(&mut self, in_a_thousand: u64) -> bool {
        in_a_thousand > 0 && self.rng.below(1000) < in_a_thousand
    }

    pub fn carry_out(&mut self, m: usize, order: Order) {
        match order {
            Order::Connect { link, ip, port } => {
                self.machines[m].dialing.insert(link);
                let delay = self.delay();
                self.at(delay, m, Event::Dial(Dial { link, ip, port, tries: 0 }));
            }
            Order::Close { link } => {
                self.machines[m].dialing.remove(&link);
                self.hang_up(m, link);
            }
            Order::Send { link, bytes } => self.send(m, link, bytes),
            Order::Save { version, text, sync } => self.save(m, version, text, sync),
        }
    }

    /// The connection arrives, is refused, or nothing is heard of it.
    pub fn dial(&mut self, m: usize, mut dial: Dial) {
        if !self.machines[m].dialing.contains(&dial.link) {
            return;
        }
        let to = self.by_ip.get(&dial.ip).copied();
        let silent = to.is_some_and(|to| self.net.is_cut(m, to) || self.net.is_cut(to, m));
        if silent && dial.tries < REDIALS {
            dial.tries += 1;
            self.at(REDIAL_MS, m, Event::Dial(dial));
            return;
        }
        self.machines[m].dialing.remove(&dial.link);
        let there = to.filter(|to| !silent && self.machines[*to].up);
        let local = there.and_then(|to| self.machines[to].by_bus_port(dial.port));
        let (Some(to), Some(local)) = (there, local) else {
            return self.at(0, m, Event::Refused(dial.link));
        };
        let target = &mut self.machines[to];
        target.accepted += 1;
        let inbound = LinkId::inbound(target.accepted);
        let delay = self.delay();
        let lives = [m, to].map(|machine| (machine, self.machines[machine].life));
        let wire = |(machine, life), link, last, place| {
            let (peer, stuck) = (End { machine, life, link }, VecDeque::new());
            Wire { peer, last, stuck, place, used: false }
        };
        let place = Some((dial.ip.clone(), dial.port));
        let (from_ip, last) = (self.machines[m].ip.clone(), self.now + delay);
        self.machines[to].links.insert(inbound, wire(lives[0], dial.link, last, None));
        self.machines[m].links.insert(dial.link, wire(lives[1], inbound, last, place));
        self.at(delay, to, Event::Accepted { link: inbound, local, from: from_ip, to: dial.ip });
        let back = self.delay();
        self.at(delay + back, m, Event::Connected(dial.link));
    }

    pub fn send(&mut self, m: usize, link: LinkId, bytes: Bytes) {
        let machine = &mut self.machines[m];
        let Some(wire) = machine.links.get(&link) else { return };
        let to = wire.peer.machine;
        machine.packets += 1;
        machine.bytes += bytes.len() as u64;
        if self.net.weather.replay > 0
            && let Some((ip, port)) = wire.place.clone()
        {
            self.repeat(m, link, (m, ip, port, name_of(&bytes)), &bytes);
        }
        self.checks.hear(to, &bytes, &mut self.marks);
        self.pass_on(m, link, Parcel::Frame(bytes));
    }

    /// Before the first frame of a link, what the same node last said to there may come once more.
    fn repeat(&mut self, m: usize, link: LinkId, place: Place, bytes: &Bytes) {
        let wire = self.machines[m].links.get_mut(&link).expect("something is sent on it");
        let first = !std::mem::replace(&mut wire.used, true);
        let before = self.net.said.get(&place).cloned().unwrap_or_default();
        if first && self.chance(self.net.weather.replay) {
            for bytes in before {
                self.marks.hit("link replayed");
                self.pass_on(m, link, Parcel::Frame(bytes));
            }
        }
        let said = self.net.said.entry(place).or_default();
        said.push_back(bytes.clone());
        if said.len() > REPLAYED {
            said.pop_front();
        }
    }

    fn pass_on(&mut self, m: usize, link: LinkId, parcel: Parcel) {
        let mut delay = self.delay();
        if self.chance(self.net.weather.loss) {
            delay += RESEND_MS;
        }
        let Some(wire) = self.machines[m].links.get_mut(&link) else { return };
        if self.net.cut.contains(&(m, wire.peer.machine)) {
            wire.stuck.push_back(parcel);
            return;
        }
        // one behind the other, whatever each of them takes
        wire.last = wire.last.max(self.now + delay);
        let (at, peer) = (wire.last - self.now, wire.peer);
        self.deliver(at, peer, parcel);
    }

    /// This side closes a link.
    pub fn hang_up(&mut self, m: usize, link: LinkId) {
        self.pass_on(m, link, Parcel::End);
        let Some(wire) = self.machines[m].links.remove(&link) else { return };
        if self.net.is_cut(m, wire.peer.machine) {
            self.net.widows.push((m, wire.peer));
        }
    }

    /// A link breaks for both sides.
    pub fn break_link(&mut self, m: usize, link: LinkId) {
        let Some(wire) = self.machines[m].links.get(&link) else { return };
        let peer = wire.peer;
        self.at(0, m, Event::Parcel(link, Parcel::End));
        self.deliver(0, peer, Parcel::End);
    }

    /// All links of a machine, whose process is gone.
    pub fn break_links(&mut self, m: usize) {
        let links: Vec<LinkId> = self.machines[m].links.keys().copied().collect();
        links.into_iter().for_each(|link| self.hang_up(m, link));
        self.machines[m].dialing.clear();
    }

    /// Everything passes again: what was held up, unless the link has been given up meanwhile.
    pub fn heal(&mut self) {
        let cut = std::mem::take(&mut self.net.cut);
        for (m, peer) in std::mem::take(&mut self.net.widows) {
            assert!(cut.contains(&(m, peer.machine)), "widows are of links that were cut");
            let delay = self.delay();
            self.deliver(delay, peer, Parcel::End);
        }
        for m in 0..self.machines.len() {
            let held = self.machines[m].links.iter().filter(|(_, wire)| !wire.stuck.is_empty());
            let held: Vec<LinkId> = held.map(|(link, _)| *link).collect();
            for link in held {
                if self.chance(300) {
                    self.break_link(m, link);
                    continue;
                }
                let wire = self.machines[m].links.get_mut(&link).expect("it was found");
                for parcel in std::mem::take(&mut wire.stuck) {
                    self.pass_on(m, link, parcel);
                }
            }
        }
    }
}
