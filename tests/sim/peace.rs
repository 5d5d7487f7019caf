//! What must be true again when the faults are over.

use super::machine::Body;
use super::world::World;
use shoal::cluster::view::{NodeId, View};
use shoal::cluster::wire::flag;
use shoal::slot::{SLOTS, Slot};
use std::collections::BTreeSet;

impl World {
    /// The names of all nodes of the cluster.
    pub fn ids(&self) -> BTreeSet<NodeId> {
        (0..self.machines.len()).filter(|m| !self.machines[*m].gone).flat_map(|m| self.ids_of(m)).collect()
    }

    /// The names of a machine's nodes.
    pub fn ids_of(&self, m: usize) -> Vec<NodeId> {
        match &self.machines[m].body {
            Body::Shoal(host) => {
                host.views.iter().enumerate().map(|(l, view)| view.local_node(l).id).collect()
            }
            Body::Redis(node) => vec![node.id],
        }
    }

    /// Why the nodes do not agree yet, if they don't: on who belongs to them, who is well, who has which
    /// slot at which epoch, and that the cluster works.
    pub fn disagreement(&self) -> Option<String> {
        let ids = self.ids();
        let mut first: Option<Seen> = None;
        for (m, machine) in self.machines.iter().enumerate().filter(|(_, machine)| !machine.gone) {
            let seen = match &machine.body {
                Body::Shoal(host) => host.views.iter().map(|view| of_view(view, &ids)).collect(),
                Body::Redis(node) => {
                    let bad = flag::PFAIL | flag::FAIL | flag::HANDSHAKE | flag::NOADDR;
                    let members: Vec<(NodeId, u64, u16)> = node.members().collect();
                    let same = members.len() == ids.len() && members.iter().all(|(id, ..)| ids.contains(id));
                    let well = node.is_ok() && members.iter().all(|(_, _, flags)| flags & bad == 0);
                    let masters = members.iter().filter(|(_, _, flags)| flags & flag::MASTER != 0);
                    let epochs = masters.map(|(id, epoch, _)| (*id, *epoch)).collect();
                    let owners = (0..SLOTS as Slot).map(|slot| node.owner(slot)).collect();
                    vec![(same && well).then_some((owners, epochs)).ok_or("it is not well".to_owned())]
                }
            };
            for (l, seen) in seen.into_iter().enumerate() {
                let (owners, mut epochs) = match seen {
                    Ok(seen) => seen,
                    Err(why) => return Some(format!("{m}.{l}: {why}")),
                };
                epochs.sort_unstable();
                match &first {
                    None => first = Some((owners, epochs)),
                    Some((o, _)) if *o != owners => return Some(format!("{m}.{l}: other owners")),
                    Some((_, e)) if *e != epochs => return Some(format!("{m}.{l}: other epochs")),
                    Some(_) => {}
                }
            }
        }
        let (owners, epochs) = first?;
        let serving: BTreeSet<NodeId> = owners.iter().flatten().copied().collect();
        let epochs: Vec<u64> =
            epochs.iter().filter(|(id, _)| serving.contains(id)).map(|(_, e)| *e).collect();
        let distinct: BTreeSet<u64> = epochs.iter().copied().collect();
        match (owners.iter().all(Option::is_some), distinct.len() == epochs.len()) {
            (true, true) => None,
            (false, _) => Some("slots without an owner".into()),
            (_, false) => Some("epochs that collide".into()),
        }
    }

    /// CLUSTER NODES of everybody, for people.
    pub fn show(&self) -> String {
        let mut out = format!("at {} ms, seed {}\n", self.now, self.seed);
        for (m, machine) in self.machines.iter().enumerate() {
            let state =
                [(machine.gone, "gone"), (!machine.up, "down"), (machine.stalled > self.now, "stalled")];
            let state: Vec<&str> = state.iter().filter(|(yes, _)| *yes).map(|(_, word)| *word).collect();
            let clock = machine.clock;
            out += &format!("== {m} {} {} {clock:?}\n", machine.ip, state.join(" "));
            match &machine.body {
                Body::Shoal(host) => {
                    for (l, view) in host.views.iter().enumerate() {
                        let group = &host.views[..l];
                        if group.iter().any(|other| other.version == view.version) {
                            continue;
                        }
                        out += &format!("-- {m}.{l} ok {} epoch {}\n", view.ok, view.current_epoch);
                        out += &show_view(view);
                    }
                }
                Body::Redis(node) => {
                    out += &format!("-- {m} foreign, ok {}\n{}", node.is_ok(), node.describe());
                }
            }
        }
        out += &format!("cut: {:?}\n", self.net.cut);
        out
    }
}

type Seen = (Vec<Option<NodeId>>, Vec<(NodeId, u64)>);

fn of_view(view: &View, ids: &BTreeSet<NodeId>) -> Result<Seen, String> {
    if !view.ok || !view.open.is_empty() {
        return Err(format!("ok {}, {} open slots", view.ok, view.open.len()));
    }
    let bad = flag::PFAIL | flag::FAIL | flag::HANDSHAKE | flag::NOADDR;
    if let Some(node) = view.nodes.iter().find(|node| node.flags & bad != 0 || !ids.contains(&node.id)) {
        return Err(format!("{} is there with flags {}", node.id(), node.flags));
    }
    if view.nodes.len() != ids.len() {
        return Err(format!("{} nodes of {}", view.nodes.len(), ids.len()));
    }
    let owners = (0..SLOTS as Slot).map(|slot| view.owner(slot).map(|node| node.id)).collect();
    let masters = view.nodes.iter().filter(|node| node.is_master());
    Ok((owners, masters.map(|node| (node.id, node.config_epoch)).collect()))
}

fn show_view(view: &View) -> String {
    let slots = view.slots();
    let mut out = String::new();
    for (at, node) in view.nodes.iter().enumerate() {
        let me = node.local.map_or(0, usize::from);
        let mut line = view.line(at as u16, me, &node.ip);
        line.slots = slots[at].clone();
        shoal::cluster::conf::render_node(&line, &mut out);
    }
    out
}
