//! What goes wrong, by chance.

use super::machine::Body;
use super::net::{FAIR, Weather};
use super::script::Addr;
use super::world::{Event, TIMEOUT, World};

impl World {
    /// One thing that goes wrong, and the next one soon.
    pub fn trouble(&mut self) {
        if !self.stormy {
            return;
        }
        let pause = 50 + self.rng.below(550);
        self.later(pause, Event::Trouble);
        let m = self.rng.below(self.machines.len() as u64) as usize;
        if !self.machines[m].up {
            return;
        }
        let what = self.rng.below(if self.harsh { 13 } else { 6 });
        self.tell_of(|| format!("trouble {what} for {m}"));
        match what {
            0 => self.stall_core(m),
            1 => self.stall_process(m),
            2 => self.break_one(m),
            3 => self.change_weather(),
            4 => self.drift(m),
            5 => {
                self.net.weather = FAIR;
                if self.harsh {
                    self.heal();
                }
            }
            6..=7 => self.crash_for_a_while(m),
            8 => self.part(m, true),
            9 => {
                self.marks.hit("one way partition");
                self.part(m, false);
            }
            10 => self.isolate(m),
            11 => {
                let ms = self.rng.below(3000) as i64 - 1000;
                self.marks.hit("clock jumped");
                let now = self.now;
                self.machines[m].clock.jump(now, ms);
            }
            _ => self.heal(),
        }
    }

    fn others(&self, m: usize) -> Vec<usize> {
        (0..self.machines.len()).filter(|other| *other != m).collect()
    }

    /// A core that hangs: in a long command, or off its CPU.
    fn stall_core(&mut self, m: usize) {
        let cores = self.machines[m].cores.len() as u64;
        if cores > 0 {
            let (l, ms) = (self.rng.below(cores) as usize, self.rng.below(2 * TIMEOUT));
            let until = &mut self.machines[m].cores[l];
            // what has been held up since must not be overtaken
            *until = (*until).max(self.now + ms);
        }
    }

    fn stall_process(&mut self, m: usize) {
        let ms = self.rng.below(if self.harsh { 3 * TIMEOUT } else { TIMEOUT / 2 });
        self.marks.hit("process stopped and went on");
        let until = &mut self.machines[m].stalled;
        *until = (*until).max(self.now + ms);
    }

    fn break_one(&mut self, m: usize) {
        let talks = self.talks.of(m);
        if !talks.is_empty() && self.rng.below(2) == 0 {
            let talk = talks[self.rng.below(talks.len() as u64) as usize];
            return self.break_talk(talk);
        }
        let links: Vec<_> = self.machines[m].links.keys().copied().collect();
        if !links.is_empty() {
            let link = links[self.rng.below(links.len() as u64) as usize];
            self.break_link(m, link);
        }
    }

    fn change_weather(&mut self) {
        let slow = self.rng.below(if self.harsh { 300 } else { 60 });
        self.net.weather = Weather {
            delay: (1, slow),
            loss: self.rng.below(30),
            replay: 500,
            disk: 1 + self.rng.below(300),
        };
    }

    /// A clock runs faster or slower from now on.
    fn drift(&mut self, m: usize) {
        let (now, rate) = (self.now, 980 + self.rng.below(41));
        let clock = &mut self.machines[m].clock;
        clock.jump(now, 0);
        clock.rate = rate;
    }

    fn crash_for_a_while(&mut self, m: usize) {
        let up = self.machines.iter().filter(|machine| machine.up).count();
        if up * 2 > self.machines.len() {
            self.crash(m);
            let ms = 100 + self.rng.below(5 * TIMEOUT);
            self.later(ms, Event::Restart(m));
        }
    }

    fn part(&mut self, m: usize, both: bool) {
        let others = self.others(m);
        let other = others[self.rng.below(others.len() as u64) as usize];
        self.net.cut.insert((m, other));
        if both {
            self.net.cut.insert((other, m));
        }
    }

    fn isolate(&mut self, m: usize) {
        for other in self.others(m) {
            self.net.cut.extend([(m, other), (other, m)]);
        }
    }

    /// No fault is left, but for what they did; who stands still will go on.
    pub fn calm(&mut self) {
        self.stormy = false;
        self.net.weather = FAIR;
        self.heal();
        for m in 0..self.machines.len() {
            if !self.machines[m].up && !self.machines[m].gone {
                self.restart(m);
            }
        }
    }

    /// All nodes that belong to the cluster, by their own ports.
    pub fn doors(&self) -> Vec<Addr> {
        let machines = self.machines.iter().filter(|machine| !machine.gone);
        machines
            .flat_map(|machine| {
                (0..machine.nodes()).map(|l| Addr::new(&machine.ip, super::machine::own_port(l)))
            })
            .collect()
    }

    pub fn foreign_doors(&self) -> Vec<Addr> {
        let foreign = self.machines.iter().filter(|machine| matches!(machine.body, Body::Redis(_)));
        foreign.map(|machine| Addr::new(&machine.ip, super::machine::own_port(0))).collect()
    }
}
