//! How a plane begins: with what nodes.conf says, or anew.

use super::Plane;
use super::group::{Group, Publish};
use super::local::Local;
use super::node::{Address, Key, Node, Peer};
use super::out::{Out, Want};
use crate::cluster::conf::{Conf, NodeLine};
use crate::cluster::view::{NodeId, even_share};
use crate::cluster::wire::flag;
use crate::config::Config;
use crate::limits;
use crate::util::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The variable of nodes.conf that says which local nodes are strangers to each other.
pub(super) const GROUPS: &str = "groups";

/// One shard's node.
#[derive(Clone, Debug)]
pub struct LocalSetup {
    /// Its name, when it gets one for the first time; by chance when there is none.
    pub id: Option<NodeId>,
    /// Empty: learned from the first MEET.
    pub ip: String,
    pub port: u16,
    pub bus_port: u16,
}

/// What a plane is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    pub conf: Arc<Config>,
    /// By number of the shard; at least one.
    pub locals: Vec<LocalSetup>,
    /// Addresses that lead to this host, in their shortest form: a MEET to one of them and a sibling's
    /// bus port needs no packet.
    pub addresses: Vec<String>,
    /// Without a nodes.conf: a whole cluster at once, slots shared evenly. Else every node is alone.
    pub formed: bool,
    /// What nodes.conf said.
    pub saved: Option<Conf>,
}

impl Plane {
    /// A plane, and nodes.conf as its first effects. Refuses a nodes.conf of another number of shards.
    pub fn new(setup: Setup, now: u64, seed: u64) -> Result<Plane, String> {
        let count = setup.locals.len();
        let mut plane = Plane {
            conf: setup.conf.clone(),
            addresses: setup.addresses.clone(),
            locals: Vec::new(),
            groups: (0..count).map(|_| Group::default()).collect(),
            links: BTreeMap::new(),
            opened: 0,
            timers: BTreeSet::new(),
            out: Out::default(),
            rng: Rng::new(seed ^ 0x0070_6c61_6e65),
            now,
            ticks: 0,
            views: 0,
            packets: 0,
            statements: 0,
            handoff: Arc::default(),
            reconsider: false,
            mingled: true,
            #[cfg(debug_assertions)]
            seen: Default::default(),
        };
        match &setup.saved {
            Some(saved) => plane.resume(saved, &setup.locals)?,
            None => plane.begin_anew(&setup),
        }
        (0..count).for_each(|l| plane.announce(l));
        (0..count).for_each(|g| plane.name_host(g));
        (0..count).for_each(|g| plane.settle_speaker(g));
        plane.out.want(Want::First);
        plane.finish();
        Ok(plane)
    }

    fn begin_anew(&mut self, setup: &Setup) {
        let count = setup.locals.len();
        for (l, local) in setup.locals.iter().enumerate() {
            let id = local.id.unwrap_or_else(|| self.random_id());
            let g = if setup.formed { 0 } else { l };
            let key = self.add_local(g, l, id, flag::MASTER, local);
            if setup.formed {
                let (from, to) = even_share(l, count);
                (from..=to).for_each(|slot| self.groups[g].add_slot(key, slot));
                self.groups[g].current_epoch = l as u64 + 1;
                self.groups[g][key].config_epoch = l as u64 + 1;
            }
        }
    }

    fn add_local(&mut self, g: usize, l: usize, id: NodeId, flags: u16, setup: &LocalSetup) -> Key {
        let address = Address { ip: setup.ip.clone(), port: setup.port, pport: 0, cport: setup.bus_port };
        let mut node = Node::new(id, flags, address, self.now);
        node.local = Some(l);
        (node.pong_received, node.data_received) = (self.now, self.now);
        let key = self.groups[g].add(node);
        self.groups[g].members.push(l);
        self.locals.push(Local::new(g, key, setup.port, setup.bus_port, self.now));
        key
    }

    /// Goes on where nodes.conf left off.
    fn resume(&mut self, saved: &Conf, locals: &[LocalSetup]) -> Result<(), String> {
        let own: Vec<&NodeLine> = saved.nodes.iter().filter(|line| line.is_myself()).collect();
        if own.len() != locals.len() {
            return Err(format!(
                "nodes.conf is of a host with {} shard(s), and this one has {}: start with --shards {}, \
                 or move the file away to begin as new nodes",
                own.len(),
                locals.len(),
                own.len()
            ));
        }
        if saved.nodes.len() > limits::CLUSTER_NODES {
            return Err(format!("nodes.conf has more than {} nodes", limits::CLUSTER_NODES));
        }
        let groups = saved_groups(saved, own.len())?;
        for (l, line) in own.iter().enumerate() {
            let role = line.flags & (flag::MASTER | flag::REPLICA);
            let local = LocalSetup {
                ip: if locals[l].ip.is_empty() { line.ip.clone() } else { locals[l].ip.clone() },
                ..locals[l].clone()
            };
            self.add_local(groups[l], l, line.id, role.max(flag::MASTER), &local);
            self.locals[l].last_vote_epoch = saved.last_vote_epoch;
        }
        // foreign nodes are of the one group that has any: the first that is not a single stranger's
        let home = home_of(&groups);
        for line in saved.nodes.iter().filter(|line| !line.is_myself()) {
            self.resume_foreign(home, line);
        }
        for line in &saved.nodes {
            let l = own.iter().position(|own| own.id == line.id);
            self.resume_relations(l.map_or(home, |l| groups[l]), l, line);
        }
        for group in &mut self.groups {
            group.current_epoch = saved.current_epoch.max(group.max_epoch());
        }
        Ok(())
    }

    fn resume_foreign(&mut self, g: usize, line: &NodeLine) {
        let address = Address { ip: line.ip.clone(), port: line.port, pport: 0, cport: line.cport };
        let kept = flag::MASTER | flag::REPLICA | flag::NOADDR | flag::NOFAILOVER;
        let mut node = Node::new(line.id, line.flags & kept, address, self.now);
        node.hostname = line.hostname.clone();
        node.peers = vec![Peer::new(); self.locals.len()];
        node.pong_received = if line.pong_received == 0 { 0 } else { self.now };
        let key = self.groups[g].add(node);
        let failing = line.flags & (flag::PFAIL | flag::FAIL);
        if failing != 0 {
            self.groups[g].set_health(key, if failing & flag::FAIL != 0 { flag::FAIL } else { flag::PFAIL });
            self.groups[g][key].failed_at = self.now;
        }
        self.schedule_all(g, key);
    }

    /// Masters, epochs and slots, once all nodes are there.
    fn resume_relations(&mut self, g: usize, l: Option<usize>, line: &NodeLine) {
        let group = &mut self.groups[g];
        let Some(key) = group.find(&line.id) else { return };
        let master = line.replica_of.as_ref().and_then(|id| group.find(id)).filter(|master| *master != key);
        match master {
            Some(master) if group[key].is_replica() => group.attach(key, master),
            _ => group[key].config_epoch = line.config_epoch,
        }
        for slot in line.slots.iter() {
            if group[key].is_master() && group.owner(slot).is_none() {
                group.add_slot(key, slot);
            }
        }
        let Some(l) = l else { return };
        let open = |open: &BTreeMap<u16, NodeId>| {
            open.iter().filter_map(|(slot, id)| group.find(id).map(|key| (*slot, key))).collect()
        };
        (self.locals[l].migrating, self.locals[l].importing) = (open(&line.migrating), open(&line.importing));
    }

    /// Takes the configured address, names and flags of a local node into its table.
    pub(super) fn announce(&mut self, l: usize) {
        let conf = self.conf.clone();
        let (port, bus_port) = (self.locals[l].port, self.locals[l].bus_port);
        // announced ports count up with the shards, as the real ones do
        let announced = |configured: u16, own: u16| match configured {
            0 => own,
            first => first.saturating_add(l as u16),
        };
        let node = self.me_mut(l);
        node.address.port = announced(conf.cluster_announce_port, port);
        node.address.cport = announced(conf.cluster_announce_bus_port, bus_port);
        if !conf.cluster_announce_ip.is_empty() {
            node.address.ip = conf.cluster_announce_ip.clone();
        }
        node.hostname = conf.cluster_announce_hostname.clone();
        node.human_name = conf.cluster_announce_human_nodename.clone();
        node.flags &= !flag::NOFAILOVER;
        if conf.cluster_replica_no_failover {
            node.flags |= flag::NOFAILOVER;
        }
        self.out.want(Want::Soon);
        self.wish_view(l, Publish::Now);
    }
}

/// The group of each local node: all in one, unless the file says otherwise.
fn saved_groups(saved: &Conf, count: usize) -> Result<Vec<usize>, String> {
    let Some((_, groups)) = saved.others.iter().find(|(name, _)| name == GROUPS) else {
        return Ok(vec![0; count]);
    };
    let groups: Option<Vec<usize>> =
        groups.split(',').map(|group| group.parse().ok().filter(|group| *group < count)).collect();
    let groups = groups.filter(|groups| groups.len() == count);
    groups.ok_or_else(|| {
        format!("the variable {GROUPS} of nodes.conf names no group for each of {count} nodes")
    })
}

/// The group with the most local nodes.
fn home_of(groups: &[usize]) -> usize {
    let members = |g: usize| groups.iter().filter(|group| **group == g).count();
    groups.iter().copied().rev().max_by_key(|g| members(*g)).unwrap_or(0)
}
