//! Clients of the cluster: they write what nobody else writes, read what anybody wrote, and follow
//! redirections as cluster clients do.

use super::history::History;
use super::resp::Value;
use super::script::{Addr, Broken, Port};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Redirections and repetitions that a command may take.
const HOPS: usize = 12;

/// How long a client waits for a replica to have what it wrote.
const WAIT_MS: &str = "200";

/// What a client works with.
pub struct Work {
    pub history: Rc<RefCell<History>>,
    /// Its own tags: each stands for the keys `{tag}a` and so on, which share a slot.
    pub tags: Vec<String>,
    /// All keys that it reads.
    pub keys: Vec<String>,
    /// Where it begins to ask: own ports, or front doors.
    pub doors: Rc<RefCell<Vec<Addr>>>,
    pub front: bool,
}

fn words(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn address(word: &str) -> Addr {
    let (ip, port) = word.rsplit_once(':').expect("an address");
    Addr::new(ip, port.parse().expect("a port"))
}

struct Client {
    port: Rc<Port>,
    work: Work,
    /// Where each tag's keys were found last.
    known: BTreeMap<String, Addr>,
}

/// Works until it is told to stop.
pub async fn client(port: Rc<Port>, work: Work) {
    let mut this = Client { port, work, known: BTreeMap::new() };
    while !this.port.stopping.get() {
        let pause = 5 + this.port.below(120) as u64;
        this.port.sleep(pause).await;
        match this.port.below(10) {
            0..4 => this.write_one().await,
            4 => this.write_two().await,
            5 => this.read_two().await,
            _ => this.read_one().await,
        }
    }
}

impl Client {
    fn pick<'a>(&self, list: &'a [String]) -> &'a str {
        &list[self.port.below(list.len())]
    }

    async fn write_one(&mut self) {
        let key = format!("{{{}}}{}", self.pick(&self.work.tags), ["a", "b"][self.port.below(2)]);
        let began = self.work.history.borrow_mut().write(&key);
        let value = format!("{key}={}", began.value);
        let mut commands = vec![words(&["SET", &key, &value])];
        let waits = !self.work.front && self.port.below(3) == 0;
        commands.extend(waits.then(|| words(&["WAIT", "1", WAIT_MS])));
        match self.perform_all(&key, commands).await {
            Ok(replies) if replies[0].is_ok() => {
                if matches!(replies[1..], [Value::Int(1..)]) {
                    self.port.mark("WAIT acknowledged");
                }
                let stamp = self.port.stamp.take();
                self.work.history.borrow_mut().written(&key, began, stamp);
            }
            Err(Broken::Lost) if self.work.front => self.work.history.borrow_mut().haunt(&key),
            _ => {}
        }
    }

    async fn write_two(&mut self) {
        let tag = self.pick(&self.work.tags).to_owned();
        let (a, b) = (format!("{{{tag}}}a"), format!("{{{tag}}}b"));
        let began = [&a, &b].map(|key| self.work.history.borrow_mut().write(key));
        let values = [(&a, 0), (&b, 1)].map(|(key, n)| format!("{key}={}", began[n].value));
        match self.perform(&a, words(&["MSET", &a, &values[0], &b, &values[1]])).await {
            Ok(value) if value.is_ok() => {
                let stamp = self.port.stamp.take();
                let mut history = self.work.history.borrow_mut();
                [(&a, 0), (&b, 1)].iter().for_each(|(key, n)| history.written(key, began[*n], stamp.clone()));
            }
            Err(Broken::Lost) if self.work.front => {
                [&a, &b].iter().for_each(|key| self.work.history.borrow_mut().haunt(key));
            }
            _ => {}
        }
    }

    async fn read_one(&mut self) {
        let key = self.pick(&self.work.keys).to_owned();
        let began = self.work.history.borrow_mut().reading(&key);
        if let Ok(value @ Value::Bulk(_)) = self.perform(&key, words(&["GET", &key])).await {
            self.check(&key, began, &value);
        }
    }

    /// Two keys of one tag, or of two on a front door.
    async fn read_two(&mut self) {
        let first = self.pick(&self.work.keys).to_owned();
        let second = match self.work.front {
            true => self.pick(&self.work.keys).to_owned(),
            false => format!("{}b", first.trim_end_matches(['a', 'b'])),
        };
        let keys = [first, second];
        if self.work.front && self.port.below(2) == 0 {
            // one that borrows what it needs of other shards, and changes nothing
            let _ = self.perform(&keys[0], words(&["LCS", &keys[0], &keys[1]])).await;
        }
        let began = keys.each_ref().map(|key| self.work.history.borrow_mut().reading(key));
        let found = self.perform(&keys[0], words(&["MGET", &keys[0], &keys[1]])).await;
        if let Ok(Value::Array(values)) = found {
            (0..2).for_each(|n| self.check(&keys[n], began[n], &values[n]));
        }
    }

    fn check(&self, key: &str, began: super::history::Began, value: &Value) {
        let text = value.text();
        let outcome = self.work.history.borrow_mut().was_read(key, began, text.as_deref());
        outcome.unwrap_or_else(|why| panic!("{why}"));
    }

    async fn perform(&mut self, key: &str, command: Vec<Vec<u8>>) -> Result<Value, Broken> {
        self.perform_all(key, vec![command]).await.map(|mut replies| replies.remove(0))
    }

    /// A command with its redirections, and what goes with it wherever it goes. The error is that of the last
    /// try.
    async fn perform_all(&mut self, key: &str, all: Vec<Vec<Vec<u8>>>) -> Result<Vec<Value>, Broken> {
        let tag = key.split('}').next().expect("a tag").to_owned();
        let doors = self.work.doors.borrow().clone();
        let anywhere = doors[self.port.below(doors.len())].clone();
        let mut to = self.known.remove(&tag).unwrap_or(anywhere);
        let mut asking = false;
        let mut last = Err(Broken::Refused);
        for _ in 0..HOPS {
            let mut commands = all.clone();
            let asked = std::mem::take(&mut asking);
            if asked {
                commands.insert(0, words(&["ASKING"]));
            }
            let replies = self.port.call_raw(&to, commands).await?.split_off(asked as usize);
            let text = replies[0].error().unwrap_or_default().to_owned();
            last = Ok(replies);
            let mut parts = text.split(' ');
            match (parts.next().unwrap_or_default(), parts.nth(1)) {
                ("MOVED", Some(there)) if !there.starts_with(':') => {
                    self.port.mark("MOVED followed");
                    to = address(there);
                    self.known.insert(tag.clone(), to.clone());
                }
                ("ASK", Some(there)) if !there.starts_with(':') => {
                    self.port.mark("ASK followed");
                    (to, asking) = (address(there), true);
                }
                ("TRYAGAIN", _) => {
                    self.port.mark("TRYAGAIN answered");
                    self.port.sleep(20).await;
                }
                ("CLUSTERDOWN", _) => {
                    self.port.mark("CLUSTERDOWN answered");
                    return last;
                }
                _ => {
                    if text.is_empty() && !self.work.front {
                        self.known.insert(tag, to);
                    }
                    return last;
                }
            }
        }
        last
    }
}

/// Reads every key once, in peace: each must be there, and none may be refused.
pub async fn read_all(port: Rc<Port>, work: Work) {
    let mut this = Client { port, work, known: BTreeMap::new() };
    for key in this.work.keys.clone() {
        let began = this.work.history.borrow_mut().reading(&key);
        let value = this.perform(&key, words(&["GET", &key])).await;
        match value {
            Ok(value @ Value::Bulk(_)) => this.check(&key, began, &value),
            other => panic!("{key} can't be read: {other:?}"),
        }
    }
}
