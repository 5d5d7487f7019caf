//! What a foreign node answers its clients: as much of Redis as the scripts ask for.

use super::super::resp::Value;
use super::node::{Known, RedisNode};
use shoal::cluster::slots::SlotSet;
use shoal::cluster::view::NodeId;
use shoal::cluster::wire::flag;
use shoal::slot::{SLOTS, Slot, key_slot};
use std::fmt::Write;

fn error(text: impl Into<String>) -> Value {
    Value::Error(text.into())
}

fn ok() -> Value {
    Value::Status("OK".into())
}

impl RedisNode {
    /// Commands of one connection.
    pub fn serve(&mut self, commands: &[Vec<Vec<u8>>], now: u64) -> Vec<Value> {
        self.begin(now);
        let mut asking = false;
        let mut serve = |words: &Vec<Vec<u8>>| {
            let texts: Vec<String> =
                words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            if texts == ["ASKING"] {
                asking = true;
                return ok();
            }
            let asked = std::mem::take(&mut asking);
            match texts[0] {
                "CLUSTER" => self.cluster(&texts[1..]).unwrap_or_else(error),
                _ => self.keyed(&texts, words, asked),
            }
        };
        commands.iter().map(&mut serve).collect()
    }

    /// `getNodeByQuery`, and the command itself.
    fn keyed(&mut self, texts: &[&str], words: &[Vec<u8>], asking: bool) -> Value {
        let keys: Vec<&Vec<u8>> = match texts[0] {
            "MSET" => words[1..].iter().step_by(2).collect(),
            "MGET" => words[1..].iter().collect(),
            _ => vec![&words[1]],
        };
        let slot = key_slot(keys[0]);
        if keys.iter().any(|key| key_slot(key) != slot) {
            return error("CROSSSLOT Keys in request don't hash to the same slot");
        }
        if let Some(refusal) = self.refuse(slot, &keys, asking) {
            return refusal;
        }
        match texts[0] {
            "GET" => Value::Bulk(self.store.get(&words[1]).cloned()),
            "MGET" => Value::Array(keys.iter().map(|k| Value::Bulk(self.store.get(*k).cloned())).collect()),
            "DEL" => Value::Int(self.store.remove(&words[1]).is_some() as i64),
            "SET" | "MSET" => {
                for pair in words[1..].chunks(2) {
                    self.store.insert(pair[0].clone(), pair[1].clone());
                }
                ok()
            }
            other => error(format!("ERR unknown command '{other}'")),
        }
    }

    fn refuse(&self, slot: Slot, keys: &[&Vec<u8>], asking: bool) -> Option<Value> {
        let Some(owner) = self.owners[slot as usize] else {
            return Some(error("CLUSTERDOWN Hash slot not served"));
        };
        if !self.ok {
            return Some(error("CLUSTERDOWN The cluster is down"));
        }
        let missing = keys.iter().filter(|key| !self.store.contains_key(**key)).count();
        let mine = owner == self.id;
        let there = |word: &str, id: &NodeId| {
            let node = &self.nodes[id];
            Some(error(format!("{word} {slot} {}:{}", node.ip, node.port)))
        };
        match self.migrating.get(&slot).filter(|_| mine) {
            Some(_) if missing > 0 && missing < keys.len() => return Some(try_again()),
            Some(to) if missing > 0 => return there("ASK", to),
            _ => {}
        }
        if self.importing.contains_key(&slot) && asking && !mine {
            return (keys.len() > 1 && missing > 0).then(try_again);
        }
        if mine { None } else { there("MOVED", &owner) }
    }

    fn cluster(&mut self, words: &[&str]) -> Result<Value, String> {
        let number = |at: usize| words[at].parse::<usize>().expect("scripts give numbers");
        Ok(match words[0] {
            "NODES" => Value::Bulk(Some(self.describe().into_bytes())),
            "MEET" => {
                let port = number(2) as u16;
                self.handshake(words[1], port, port + 10_000, flag::MEET);
                ok()
            }
            "SET-CONFIG-EPOCH" => {
                let epoch = number(1) as u64;
                self.me_mut().epoch = epoch;
                self.current_epoch = self.current_epoch.max(epoch);
                ok()
            }
            "ADDSLOTSRANGE" => {
                for slot in number(1)..=number(2) {
                    if self.owners[slot].is_some() {
                        return Err(format!("ERR Slot {slot} is already busy"));
                    }
                    self.bind(slot as Slot, self.id);
                }
                ok()
            }
            "BUMPEPOCH" => {
                let word = if self.bump_epoch() { "BUMPED" } else { "STILL" };
                Value::Status(format!("{word} {}", self.me().epoch))
            }
            "GETKEYSINSLOT" => {
                let keys = self.keys_in(number(1) as Slot).into_iter().take(number(2));
                Value::Array(keys.map(|key| Value::Bulk(Some(key))).collect())
            }
            "FORGET" => self.forget(words[1])?,
            "REPLICATE" => self.replicate(words[1])?,
            "RESET" => self.reset()?,
            "SETSLOT" => self.set_slot(number(1) as Slot, &words[2..])?,
            other => return Err(format!("ERR unknown subcommand {other}")),
        })
    }

    fn named(&self, word: &str) -> Result<NodeId, String> {
        let id: Option<NodeId> = word.as_bytes().try_into().ok();
        id.filter(|id| self.nodes.contains_key(id)).ok_or(format!("ERR Unknown node {word}"))
    }

    fn forget(&mut self, word: &str) -> Result<Value, String> {
        let id = self.named(word)?;
        if id == self.id || self.me().replica_of == Some(id) {
            return Err("ERR I can't forget that one".into());
        }
        self.blacklist.insert(id, self.now + 60_000);
        self.delete(id);
        Ok(ok())
    }

    fn replicate(&mut self, word: &str) -> Result<Value, String> {
        let id = self.named(word)?;
        if id == self.id || !self.nodes[&id].is_master() || self.me().owned > 0 {
            return Err("ERR I can't replicate that one".into());
        }
        self.follow(id);
        Ok(ok())
    }

    fn reset(&mut self) -> Result<Value, String> {
        if self.is_master() && !self.store.is_empty() {
            return Err("ERR CLUSTER RESET can't be called with master nodes containing keys".into());
        }
        let others: Vec<NodeId> = self.nodes.keys().filter(|id| **id != self.id).copied().collect();
        others.into_iter().for_each(|id| self.delete(id));
        self.unbind_all(self.id);
        self.unclaimed = SlotSet::new();
        (self.migrating, self.importing) = Default::default();
        let me = self.me_mut();
        me.flags = me.flags & !flag::REPLICA | flag::MASTER;
        me.replica_of = None;
        Ok(ok())
    }

    fn set_slot(&mut self, slot: Slot, words: &[&str]) -> Result<Value, String> {
        if !self.is_master() {
            return Err("ERR Please use SETSLOT only with masters.".into());
        }
        let mine = self.owners[slot as usize] == Some(self.id);
        match words {
            ["MIGRATING", id] if mine => _ = self.migrating.insert(slot, self.named(id)?),
            ["IMPORTING", id] if !mine => _ = self.importing.insert(slot, self.named(id)?),
            ["STABLE"] => {
                self.migrating.remove(&slot);
                self.importing.remove(&slot);
            }
            ["NODE", id] => {
                let id = self.named(id)?;
                let empty = self.keys_in(slot).is_empty();
                if mine && id != self.id && !empty {
                    return Err("ERR I still hold keys for this hash slot".into());
                }
                if !self.nodes[&id].is_master() {
                    return Err("ERR Target node is not a master".into());
                }
                if empty {
                    self.migrating.remove(&slot);
                }
                self.bind(slot, id);
                if mine && id != self.id && self.me().owned == 0 {
                    self.follow(id);
                }
                if id == self.id && self.importing.remove(&slot).is_some() {
                    self.bump_epoch();
                    self.broadcast_pong();
                }
            }
            _ => return Err("ERR I'm not, or already, the owner of that hash slot".into()),
        }
        Ok(ok())
    }

    fn broadcast_pong(&mut self) {
        self.broadcast(shoal::cluster::wire::Message::Pong(Default::default()));
    }

    /// CLUSTER NODES
    pub fn describe(&self) -> String {
        let mut out = String::new();
        for (id, node) in &self.nodes {
            self.describe_one(*id, node, &mut out);
        }
        out
    }

    fn describe_one(&self, id: NodeId, node: &Known, out: &mut String) {
        let text = |id: &NodeId| String::from_utf8_lossy(id).into_owned();
        let mut flags = Vec::new();
        for (yes, word) in [
            (id == self.id, "myself"),
            (node.has(flag::MASTER), "master"),
            (node.has(flag::REPLICA), "slave"),
            (node.has(flag::PFAIL), "fail?"),
            (node.has(flag::FAIL), "fail"),
            (node.has(flag::HANDSHAKE), "handshake"),
            (node.has(flag::NOADDR), "noaddr"),
        ] {
            flags.extend(yes.then_some(word));
        }
        let master = node.replica_of.as_ref().map_or("-".into(), text);
        let (name, ip, port, cport) = (text(&id), &node.ip, node.port, node.cport);
        let connected = if node.link.is_some() || id == self.id { "connected" } else { "disconnected" };
        let (flags, epoch) = (flags.join(","), node.epoch);
        let _ = write!(out, "{name} {ip}:{port}@{cport} {flags} {master} 0 0 {epoch} {connected}");
        for (from, to) in self.slots_of(id).ranges() {
            let _ = if from == to { write!(out, " {from}") } else { write!(out, " {from}-{to}") };
        }
        if id == self.id {
            self.migrating.iter().for_each(|(slot, to)| _ = write!(out, " [{slot}->-{}]", text(to)));
            self.importing.iter().for_each(|(slot, from)| _ = write!(out, " [{slot}-<-{}]", text(from)));
        }
        out.push('\n');
    }

    /// Slots on their way from it or to it.
    pub fn open_slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.migrating.keys().chain(self.importing.keys()).copied()
    }

    /// Who owns each slot, as far as it knows.
    pub fn owner(&self, slot: Slot) -> Option<NodeId> {
        self.owners[slot as usize % SLOTS]
    }

    pub fn is_ok(&self) -> bool {
        self.ok
    }

    /// The members of its cluster, itself among them, with their config epochs and health.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, u64, u16)> + '_ {
        self.nodes.iter().map(|(id, node)| (*id, node.epoch, node.flags))
    }
}

fn try_again() -> Value {
    error("TRYAGAIN Multiple keys request during rehashing of slot")
}
