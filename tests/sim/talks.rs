//! Links of MIGRATE and of replicas: a shard that talks to the client port of a shard elsewhere.

use super::machine::own_port;
use super::world::{Event, World};
use shoal::shard::Input;
use shoal::shard::moving::{LinkEvent, LinkId, LinkOrder};
use std::collections::BTreeMap;

/// A core of a machine.
type Core = (usize, usize);

/// Where a talk comes from.
type Source = (Core, LinkId);

/// Where it goes: a client of a core.
type Target = (Core, u32);

pub enum TalkEvent {
    Dial {
        link: LinkId,
        host: String,
        port: u16,
    },
    /// The one that has called learns something.
    Opened(LinkId),
    Sent(LinkId, usize),
    Answer(LinkId, Vec<u8>),
    /// The other side has ended it, or it broke.
    Closed(LinkId),
    /// And the one that was called.
    Say(u32, Vec<u8>),
    HangUp(u32),
}

struct Talk {
    to: Target,
    /// When the last bytes arrive there, and back here: they keep their order.
    last: [u64; 2],
    /// Something was cut off: nobody hears any more of it, and only patience ends it.
    dead: bool,
    /// The one that was called has closed it: its number may be another client's by now.
    ended: bool,
}

/// All talks of all machines.
#[derive(Default)]
pub struct Talks {
    by_source: BTreeMap<Source, Talk>,
    by_target: BTreeMap<Target, Source>,
}

impl Talks {
    pub fn of(&self, m: usize) -> Vec<Source> {
        self.by_source.keys().filter(|((machine, _), _)| *machine == m).copied().collect()
    }

    pub fn source(&self, m: usize, l: usize, client: u32) -> Option<Source> {
        self.by_target.get(&((m, l), client)).copied()
    }

    fn remove(&mut self, source: Source) -> Option<Talk> {
        let talk = self.by_source.remove(&source)?;
        if !talk.ended {
            self.by_target.remove(&talk.to);
        }
        Some(talk)
    }
}

impl World {
    pub fn order_talk(&mut self, m: usize, l: usize, order: LinkOrder) {
        match order {
            LinkOrder::Open { link, host, port } => {
                let delay = self.delay();
                self.talk(delay, (m, l), TalkEvent::Dial { link, host, port });
            }
            LinkOrder::Send { link, bytes } => {
                self.talk(0, (m, l), TalkEvent::Sent(link, bytes.len()));
                if let Some((delay, (core, client))) = self.pass(((m, l), link), 0) {
                    self.talk(delay, core, TalkEvent::Say(client, bytes));
                }
            }
            // what is still under way is dropped with the connection
            LinkOrder::Close { link } => {
                if let Some(talk) = self.talks.remove(((m, l), link)) {
                    self.hang_up_talk(&talk);
                }
            }
        }
    }

    /// The one that was called learns that nobody is there any more.
    fn hang_up_talk(&mut self, talk: &Talk) {
        if !talk.ended {
            self.talk(1, talk.to.0, TalkEvent::HangUp(talk.to.1));
        }
    }

    /// The one that was called ends it, after what it has said.
    pub fn end_talk(&mut self, source: Source) {
        let way = self.pass(source, 1);
        let Some(talk) = self.talks.by_source.get_mut(&source) else { return };
        talk.ended = true;
        let ((m, l), client) = talk.to;
        self.talks.by_target.remove(&talk.to);
        self.shard(m, l).close(client);
        if let Some((delay, _)) = way {
            self.talk(delay, source.0, TalkEvent::Closed(source.1));
        }
    }

    fn talk(&mut self, delay: u64, (m, l): Core, event: TalkEvent) {
        // who is down hears nothing, and knows nothing of it when it is up again
        if self.machines[m].up {
            self.at(delay, m, Event::Talk(l, event));
        }
    }

    /// How long bytes take one way (0: there, 1: back), and whom they reach there; none that don't arrive.
    fn pass(&mut self, source: Source, way: usize) -> Option<(u64, Target)> {
        let delay = self.delay();
        let talk = self.talks.by_source.get_mut(&source)?;
        let ends = [source.0.0, talk.to.0.0];
        talk.dead |= self.net.is_cut(ends[way], ends[1 - way]);
        talk.last[way] = talk.last[way].max(self.now + delay);
        (!talk.dead).then_some((talk.last[way] - self.now, talk.to))
    }

    pub fn hear_talk(&mut self, m: usize, l: usize, event: TalkEvent) {
        let now = self.shard_now(m);
        match event {
            TalkEvent::Dial { link, host, port } => return self.dial_talk((m, l), link, (&host, port)),
            TalkEvent::Opened(link) => self.shard(m, l).link(link, LinkEvent::Opened, now),
            TalkEvent::Sent(link, bytes) => self.shard(m, l).link(link, LinkEvent::Sent(bytes), now),
            TalkEvent::Closed(link) => {
                self.talks.remove(((m, l), link));
                self.shard(m, l).link(link, LinkEvent::Closed, now);
            }
            TalkEvent::Answer(link, bytes) => {
                if self.talks.by_source.contains_key(&((m, l), link)) {
                    self.note_bytes(&bytes);
                    self.shard(m, l).link(link, LinkEvent::Received(&bytes), now);
                }
            }
            TalkEvent::Say(client, bytes) => {
                if self.talks.source(m, l, client).is_some() {
                    self.note_bytes(&bytes);
                    self.shard(m, l).turn(&mut [Input::new(client, &bytes)], now);
                }
            }
            TalkEvent::HangUp(client) => self.shard(m, l).close(client),
        }
        self.settle_core(m, l);
    }

    fn dial_talk(&mut self, from: Core, link: LinkId, (host, port): (&str, u16)) {
        // nobody copies a foreign node, and nobody moves keys to one by MIGRATE
        let answers = |to: &usize| self.machines[*to].up && self.machines[*to].shoal().is_some();
        let Some(to) = self.by_ip.get(host).copied().filter(answers) else {
            return self.talk(0, from, TalkEvent::Closed(link));
        };
        if self.net.is_cut(from.0, to) || self.net.is_cut(to, from.0) {
            // nothing is heard of it
            return;
        }
        let (home, now) = (self.machines[from.0].ip.clone(), self.shard_now(to));
        let core = (to, (port - own_port(0)) as usize);
        let there = self.machines[to].shoal_mut().expect("it answers");
        let client = there.open(core.1, false, &home, host, now);
        let talk = Talk { to: (core, client), last: [0; 2], dead: false, ended: false };
        self.talks.by_target.insert(talk.to, (from, link));
        self.talks.by_source.insert((from, link), talk);
        let delay = self.delay();
        self.talk(delay, from, TalkEvent::Opened(link));
    }

    /// What a client has been answered goes back to the shard that it is.
    pub fn answer_talk(&mut self, source: Source, bytes: Vec<u8>) {
        if !bytes.is_empty()
            && let Some((delay, _)) = self.pass(source, 1)
        {
            self.talk(delay, source.0, TalkEvent::Answer(source.1, bytes));
        }
    }

    /// The connection breaks for both sides.
    pub fn break_talk(&mut self, source: Source) {
        let Some(talk) = self.talks.remove(source) else { return };
        let ((m, l), _) = source;
        let copies = self.machines[m].up && self.is_copy(m, l);
        self.marks.hit(if copies { "replica's link broke" } else { "MIGRATE's link broke" });
        self.hang_up_talk(&talk);
        if !talk.dead {
            self.talk(1, source.0, TalkEvent::Closed(source.1));
        }
    }

    /// All talks of a machine whose process is gone, and all with it.
    pub fn break_talks(&mut self, m: usize) {
        let with_it = |(source, talk): (&Source, &Talk)| {
            (source.0.0 == m || talk.to.0.0 == m).then_some((*source, talk.to.0.0))
        };
        let ends: Vec<(Source, usize)> = self.talks.by_source.iter().filter_map(with_it).collect();
        for (source, to) in ends {
            if self.net.is_cut(source.0.0, to) || self.net.is_cut(to, source.0.0) {
                self.talks.by_source.get_mut(&source).expect("it was found").dead = true;
            }
            self.break_talk(source);
        }
    }
}
