//! CLUSTER's subcommands that change something, or ask for what no view holds. Error texts are those
//! of redis-server 7.0.15.

use super::Plane;
use super::effect::{Answer, Command};
use super::handoff::UNDER_WAY;
use super::handshake::meet_address;
use super::manual::Manner;
use super::node::Key;
use super::out::Want;
use crate::cluster::conf;
use crate::resp::Args;
use crate::util::num::parse_i64;

/// What changes who owns slots, or what a shard's keys decide: not while slots are between two shards.
const UNSETTLING: &[&[u8]] = &[
    b"addslots",
    b"addslotsrange",
    b"delslots",
    b"delslotsrange",
    b"failover",
    b"flushslots",
    b"forget",
    b"replicate",
    b"reset",
    b"setslot",
];

pub type Outcome = Result<Answer, String>;

/// What arguments are worth quoting of.
pub fn text(arg: &[u8]) -> String {
    String::from_utf8_lossy(arg).into_owned()
}

const SYNTAX: &str = "ERR syntax error";
const NOT_INT: &str = "ERR value is not an integer or out of range";

impl Plane {
    pub(super) fn command(&mut self, l: usize, command: &Command) -> Outcome {
        let args = command.words.as_args();
        let name = args.get(0).map(<[u8]>::to_ascii_lowercase).unwrap_or_default();
        let id = args.get(1).unwrap_or_default();
        if self.is_handing() && UNSETTLING.contains(&name.as_slice()) {
            return Err(UNDER_WAY.into());
        }
        match (name.as_slice(), args.len()) {
            (b"handoff", 3..) => self.hand_off(l, args, command.front),
            (b"meet", 3 | 4) => self.cluster_meet(l, args),
            (b"forget", 2) => self.forget(l, id).map(|()| Answer::Ok),
            (b"addslots" | b"delslots", 2..) => self.single_slots(l, args, name == b"delslots"),
            (b"addslotsrange" | b"delslotsrange", 3..) => self.slot_ranges(l, args, name == b"delslotsrange"),
            (b"flushslots", 1) => self.flush_slots(l, command.keys),
            (b"setslot", 3..) => self.set_slot(l, args, command.slot_keys),
            (b"bumpepoch", 1) => {
                let word = if self.bump_epoch(l) { "BUMPED" } else { "STILL" };
                Ok(Answer::Status(format!("{word} {}", self.me(l).config_epoch)))
            }
            (b"set-config-epoch", 2) => self.set_config_epoch(l, id),
            (b"saveconfig", 1) => {
                self.out.want(Want::First);
                Ok(Answer::Ok)
            }
            (b"reset", 1 | 2) => self.cluster_reset(l, args, command.keys),
            (b"replicate", 2) => self.cluster_replicate(l, id, command.keys),
            (b"replicas" | b"slaves", 2) => self.cluster_replicas(l, id),
            (b"count-failure-reports", 2) => {
                let key = self.known(l, id)?;
                let (g, now, timeout) = (self.locals[l].group, self.now, self.timeout());
                Ok(Answer::Int(self.groups[g].reports(key, now, timeout) as i64))
            }
            (b"links", 1) => Ok(Answer::Links(self.describe_links(l))),
            (b"myid", 1) => Ok(Answer::Id(self.me(l).id)),
            (b"myshardid", 1) => Ok(Answer::Id(self.shard_id(self.locals[l].group, self.locals[l].key))),
            // what DEBUG asks for; CLUSTER has no such subcommands
            (b"drop-packets", 2) => {
                self.locals[l].dropped = parse_i64(id).and_then(|kind| usize::try_from(kind).ok());
                Ok(Answer::Ok)
            }
            (b"kill-links", 3) => {
                let key = self.known(l, args.at(2))?;
                self.kill_links(l, id, key);
                Ok(Answer::Ok)
            }
            (b"failover", 1 | 2) => {
                let manner = match args.get(1) {
                    None => Manner::Agreed,
                    Some(word) if word.eq_ignore_ascii_case(b"force") => Manner::Force,
                    Some(word) if word.eq_ignore_ascii_case(b"takeover") => Manner::Takeover,
                    Some(_) => return Err(SYNTAX.into()),
                };
                self.fail_over(l, manner).map(|()| Answer::Ok)
            }
            _ => Err(format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'. Try CLUSTER HELP.",
                text(args.get(0).unwrap_or_default())
            )),
        }
    }

    /// The node of this name.
    fn known(&self, l: usize, id: &[u8]) -> Result<Key, String> {
        self.group(l).find(id).ok_or_else(|| format!("ERR Unknown node {}", text(id)))
    }

    fn cluster_meet(&mut self, l: usize, args: Args<'_>) -> Outcome {
        let port = |at: usize, kind: &str| {
            parse_i64(args.at(at))
                .ok_or_else(|| format!("ERR Invalid TCP {kind} port specified: {}", text(args.at(at))))
        };
        let base = port(2, "base")?;
        let bus = if args.len() == 4 { port(3, "bus")? } else { base.saturating_add(10_000) };
        let Some(address) = meet_address(args.at(1), base, bus) else {
            return Err(format!(
                "ERR Invalid node address specified: {}:{}",
                text(args.at(1)),
                text(args.at(2))
            ));
        };
        self.meet(l, address).map(|()| Answer::Ok)
    }

    fn set_config_epoch(&mut self, l: usize, word: &[u8]) -> Outcome {
        let epoch = parse_i64(word).ok_or(NOT_INT)?;
        if epoch < 0 {
            return Err(format!("ERR Invalid config epoch specified: {epoch}"));
        }
        if self.group(l).len() > 1 {
            return Err("ERR The user can assign a config epoch only when the node does not know any other \
                        node."
                .into());
        }
        if self.me(l).config_epoch != 0 {
            return Err("ERR Node config epoch is already non-zero".into());
        }
        self.me_mut(l).config_epoch = epoch as u64;
        let group = self.group_mut(l);
        group.current_epoch = group.current_epoch.max(epoch as u64);
        group.restate = true;
        group.publish = super::group::Publish::Now;
        self.out.want(Want::First);
        Ok(Answer::Ok)
    }

    fn cluster_reset(&mut self, l: usize, args: Args<'_>, keys: u64) -> Outcome {
        let hard = match args.get(1) {
            None => false,
            Some(word) if word.eq_ignore_ascii_case(b"hard") => true,
            Some(word) if word.eq_ignore_ascii_case(b"soft") => false,
            Some(_) => return Err(SYNTAX.into()),
        };
        if self.me(l).is_master() && keys != 0 {
            return Err("ERR CLUSTER RESET can't be called with master nodes containing keys".into());
        }
        self.reset(l, hard);
        Ok(Answer::Ok)
    }

    fn cluster_replicate(&mut self, l: usize, id: &[u8], keys: u64) -> Outcome {
        let master = self.known(l, id)?;
        if master == self.locals[l].key {
            return Err("ERR Can't replicate myself".into());
        }
        if self.group(l)[master].is_replica() {
            return Err("ERR I can only replicate a master, not a replica.".into());
        }
        if self.me(l).is_master() && (self.me(l).owned != 0 || keys != 0) {
            return Err("ERR To set a master the node must be empty and without assigned slots.".into());
        }
        self.set_master(l, master);
        Ok(Answer::Ok)
    }

    fn cluster_replicas(&self, l: usize, id: &[u8]) -> Outcome {
        let master = self.known(l, id)?;
        let group = self.group(l);
        if group[master].is_replica() {
            return Err("ERR The specified node is not a master".into());
        }
        let describe = |key: &Key| {
            let mut line = String::new();
            conf::render_node(&self.line(l, *key), &mut line);
            line.trim_end().to_owned()
        };
        Ok(Answer::Lines(group[master].replicas.iter().map(describe).collect()))
    }
}
