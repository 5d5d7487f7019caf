//! nodes.conf in Redis's format: one line a node, as CLUSTER NODES shows it, and one with the epochs.
//!
//! ```text
//! <id> <ip>:<port>@<cport>[,<hostname>[,<key>=<value>]*] <flags> <master or -> <ping> <pong> \
//!     <config epoch> <connected|disconnected> [<slot>|<from>-<to>|[<slot>->-<id>]|[<slot>-<-<id>]]*
//! vars currentEpoch <n> lastVoteEpoch <n>
//! ```
//!
//! A host with N shards has N lines with `myself`. Redis reads such a file up to the second of them;
//! the file of a single shard is exactly Redis's. Keys and values behind the host name come from Redis
//! 7.2 and Valkey (`shard-id`, `nodename`, …).

use super::names;
use super::slots::SlotSet;
use super::view::NodeId;
use super::wire::flag;
use crate::slot::{SLOTS, Slot};
use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Write};

#[cfg(test)]
mod tests;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    pub nodes: Vec<NodeLine>,
    pub current_epoch: u64,
    pub last_vote_epoch: u64,
    /// Variables that Redis doesn't know, and skips; in their order, without white space.
    pub others: Vec<(String, String)>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    pub id: NodeId,
    /// Empty when it is not known yet.
    pub ip: String,
    pub port: u16,
    pub cport: u16,
    pub hostname: String,
    /// What stands behind the host name, in its order.
    pub aux: Vec<(String, String)>,
    /// [`flag`]s; those that have no word in the file (MEET, MIGRATE_TO) are not kept.
    pub flags: u16,
    pub replica_of: Option<NodeId>,
    /// Unix time in milliseconds; 0 for none.
    pub ping_sent: u64,
    pub pong_received: u64,
    /// For a replica, its master's: it has none of its own.
    pub config_epoch: u64,
    pub connected: bool,
    pub slots: SlotSet,
    /// Slots of this host's node that are on their way to another, and from another.
    pub migrating: BTreeMap<Slot, NodeId>,
    pub importing: BTreeMap<Slot, NodeId>,
}

impl NodeLine {
    pub fn is_myself(&self) -> bool {
        self.flags & flag::MYSELF != 0
    }
}

/// Why a text is no nodes.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// 1-based.
    pub line: usize,
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

/// The words for [`flag`]s, in the order in which they are written.
const WORDS: &[(u16, &str)] = &[
    (flag::MYSELF, "myself"),
    (flag::MASTER, "master"),
    (flag::REPLICA, "slave"),
    (flag::PFAIL, "fail?"),
    (flag::FAIL, "fail"),
    (flag::HANDSHAKE, "handshake"),
    (flag::NOADDR, "noaddr"),
    (flag::NOFAILOVER, "nofailover"),
];
/// What stands there when no flag does.
const NO_FLAGS: &str = "noflags";

/// Reads a file. `None` when it is empty: the lock makes it so before the first save.
///
/// Stricter than Redis where a file can only be torn, mixed up or another program's: it must end with
/// its line, hold the epochs, at least one `myself`, no node and no slot twice.
pub fn parse(text: &[u8]) -> Result<Option<Conf>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let last = text.split(|b| *b == b'\n').count();
    let fault = |line: usize, why: String| Fault { line, why };
    if text.last() != Some(&b'\n') {
        return Err(fault(last, "the file ends in the middle of a line".into()));
    }
    let mut conf = Conf::default();
    let mut vars = false;
    let mut seen = Seen { nodes: HashSet::new(), slots: SlotSet::new() };
    for (at, line) in text.split(|b| *b == b'\n').enumerate() {
        let line = std::str::from_utf8(line).map_err(|_| fault(at + 1, "this is no text".into()))?;
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let read = match words.first() {
            None => Ok(()),
            Some(first) if first.eq_ignore_ascii_case("vars") => {
                vars = true;
                variables(&words[1..], &mut conf)
            }
            Some(_) => node(&words).and_then(|node| {
                seen.add(&node)?;
                conf.nodes.push(node);
                Ok(())
            }),
        };
        read.map_err(|why| fault(at + 1, why))?;
    }
    if !vars {
        return Err(fault(last - 1, "the file ends without the line that begins with vars".into()));
    }
    if !conf.nodes.iter().any(NodeLine::is_myself) {
        return Err(fault(last - 1, "none of the nodes is myself".into()));
    }
    Ok(Some(conf))
}

/// What stands in a file once.
struct Seen {
    nodes: HashSet<NodeId>,
    slots: SlotSet,
}

impl Seen {
    fn add(&mut self, node: &NodeLine) -> Result<(), String> {
        if !self.nodes.insert(node.id) {
            return Err(format!("node {} stands here twice", name(&node.id)));
        }
        if let Some(slot) = node.slots.iter().find(|slot| self.slots.contains(*slot)) {
            return Err(format!("slot {slot} has two owners"));
        }
        self.slots.unite(&node.slots);
        Ok(())
    }
}

fn variables(words: &[&str], conf: &mut Conf) -> Result<(), String> {
    let (pairs, odd) = words.as_chunks::<2>();
    if let [word] = odd {
        return Err(format!("variable {word} has no value"));
    }
    for [name, value] in pairs {
        match name.to_ascii_lowercase().as_str() {
            "currentepoch" => conf.current_epoch = number(value, "epoch")?,
            "lastvoteepoch" => conf.last_vote_epoch = number(value, "epoch")?,
            _ => conf.others.push((name.to_string(), value.to_string())),
        }
    }
    Ok(())
}

fn node(words: &[&str]) -> Result<NodeLine, String> {
    let [id, place, flags, master, ping, pong, epoch, link, slots @ ..] = words else {
        return Err(format!("a node has eight fields or more, here are {}", words.len()));
    };
    let (ip, port, cport, hostname, aux) = place_of(place)?;
    let mut node = NodeLine {
        id: id_of(id)?,
        ip,
        port,
        cport,
        hostname,
        aux,
        flags: flags_of(flags)?,
        replica_of: if *master == "-" { None } else { Some(id_of(master)?) },
        ping_sent: number(ping, "time of a ping")?,
        pong_received: number(pong, "time of a pong")?,
        config_epoch: number(epoch, "epoch")?,
        connected: match *link {
            "connected" => true,
            "disconnected" => false,
            other => return Err(format!("a link is connected or disconnected, not {other}")),
        },
        slots: SlotSet::new(),
        migrating: BTreeMap::new(),
        importing: BTreeMap::new(),
    };
    for word in slots {
        slots_of(word, &mut node)?;
    }
    Ok(node)
}

type Place = (String, u16, u16, String, Vec<(String, String)>);

/// `ip:port[@cport][,hostname[,key=value]*]`. Without its bus port, which files of old lack, it is
/// 10000 above the other.
fn place_of(word: &str) -> Result<Place, String> {
    let mut parts = word.split(',');
    let address = parts.next().unwrap_or_default();
    let (ip, ports) = address.rsplit_once(':').ok_or_else(|| format!("address {address} has no port"))?;
    if !names::is_address(ip.as_bytes()) {
        return Err(format!("{ip} is no address"));
    }
    let (port, cport) = match ports.split_once('@') {
        Some((port, cport)) => (number(port, "port")?, number(cport, "port")?),
        None => {
            let port: u16 = number(ports, "port")?;
            (port, port.checked_add(10_000).ok_or_else(|| format!("port {port} is too high"))?)
        }
    };
    let hostname = parts.next().unwrap_or_default();
    if !names::is_hostname(hostname.as_bytes()) {
        return Err(format!("{hostname} is no host name"));
    }
    let aux = parts.map(|part| match part.split_once('=') {
        Some((key, value)) if names::is_aux(key.as_bytes()) && is_value(value) => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(format!("{part} is no key=value")),
    });
    Ok((ip.to_owned(), port, cport, hostname.to_owned(), aux.collect::<Result<_, _>>()?))
}

/// A value behind the host name: a name, or an address as Valkey keeps them there.
fn is_value(text: &str) -> bool {
    names::is_aux(text.as_bytes()) || names::is_address(text.as_bytes())
}

fn flags_of(word: &str) -> Result<u16, String> {
    word.split(',').try_fold(0, |flags, word| {
        if word.eq_ignore_ascii_case(NO_FLAGS) {
            return Ok(flags);
        }
        match WORDS.iter().find(|(_, known)| word.eq_ignore_ascii_case(known)) {
            Some((flag, _)) => Ok(flags | flag),
            None => Err(format!("{word} is no flag of a node")),
        }
    })
}

/// One word of those behind the link: a slot, a range, or an open slot.
fn slots_of(word: &str, node: &mut NodeLine) -> Result<(), String> {
    if let Some(open) = word.strip_prefix('[') {
        let no = || format!("{word} is no open slot");
        let open = open.strip_suffix(']').ok_or_else(no)?;
        if !node.is_myself() {
            return Err(format!("{word}: only a node that is myself has open slots"));
        }
        let (slot, there, peer) = match (open.split_once("->-"), open.split_once("-<-")) {
            (Some((slot, peer)), _) => (slot, &mut node.migrating, peer),
            (_, Some((slot, peer))) => (slot, &mut node.importing, peer),
            _ => return Err(no()),
        };
        there.insert(slot_of(slot)?, id_of(peer)?);
        return Ok(());
    }
    let (from, to) = word.split_once('-').unwrap_or((word, word));
    let (from, to) = (slot_of(from)?, slot_of(to)?);
    if from > to {
        return Err(format!("slots {word} go backwards"));
    }
    (from..=to).for_each(|slot| {
        node.slots.insert(slot);
    });
    Ok(())
}

fn slot_of(word: &str) -> Result<Slot, String> {
    let slot: Slot = number(word, "slot")?;
    if (slot as usize) < SLOTS { Ok(slot) } else { Err(format!("there is no slot {slot}")) }
}

fn id_of(word: &str) -> Result<NodeId, String> {
    names::node_id(word.as_bytes()).ok_or_else(|| format!("{word} is no node's name"))
}

/// Digits only: no sign, no space.
fn number<T: std::str::FromStr>(word: &str, what: &str) -> Result<T, String> {
    let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { word.parse().ok() } else { None };
    number.ok_or_else(|| format!("{word} is no {what}"))
}

fn name(id: &NodeId) -> &str {
    std::str::from_utf8(id).expect("names are ASCII")
}

/// The whole file.
pub fn render(conf: &Conf) -> String {
    let mut out = String::new();
    conf.nodes.iter().for_each(|node| render_node(node, &mut out));
    let _ = write!(out, "vars currentEpoch {} lastVoteEpoch {}", conf.current_epoch, conf.last_vote_epoch);
    for (name, value) in &conf.others {
        let _ = write!(out, " {name} {value}");
    }
    out.push('\n');
    out
}

/// One node's line, with its end. CLUSTER NODES shows the same of a node without `aux`.
pub fn render_node(node: &NodeLine, out: &mut String) {
    let _ = write!(out, "{} {}:{}@{}", name(&node.id), node.ip, node.port, node.cport);
    if !node.hostname.is_empty() || !node.aux.is_empty() {
        let _ = write!(out, ",{}", node.hostname);
    }
    for (key, value) in &node.aux {
        let _ = write!(out, ",{key}={value}");
    }
    out.push(' ');
    render_flags(node.flags, out);
    let _ = write!(
        out,
        " {} {} {} {} {}",
        node.replica_of.as_ref().map_or("-", name),
        node.ping_sent,
        node.pong_received,
        node.config_epoch,
        if node.connected { "connected" } else { "disconnected" }
    );
    for (from, to) in node.slots.ranges() {
        let _ = if from == to { write!(out, " {from}") } else { write!(out, " {from}-{to}") };
    }
    let mut open: Vec<(Slot, &str, &NodeId)> =
        node.importing.iter().map(|(slot, id)| (*slot, "-<-", id)).collect();
    open.extend(node.migrating.iter().map(|(slot, id)| (*slot, "->-", id)));
    open.sort();
    for (slot, way, peer) in open {
        let _ = write!(out, " [{slot}{way}{}]", name(peer));
    }
    out.push('\n');
}

/// The flags as words with commas between them.
pub fn render_flags(flags: u16, out: &mut String) {
    let words = WORDS.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, word)| *word);
    let words: Vec<&str> = words.collect();
    if words.is_empty() { out.push_str(NO_FLAGS) } else { out.push_str(&words.join(",")) }
}
