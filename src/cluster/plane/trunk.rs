//! One link pair between two Shoal hosts, instead of one for each pair of their nodes.
//!
//! Every packet of a Shoal node shows its host's number ([`HostMark`]), where Redis has zeroes and
//! looks at nothing. Who shows none is a node as Redis has them, and every local node deals with it as
//! Redis's nodes do. Towards nodes of another Shoal host only the group's *speaker* has links: one with
//! one node of that host, the *trunk*. Over it goes
//!
//! - PING and PONG of the whole host ([`HostGossip`]): which of its nodes it speaks for right now, what
//!   each of them says of itself when that is news, and the gossip once;
//! - every other packet as it is, marked for the host and not for the node at the link's end.
//!
//! A node that its host doesn't speak for (its shard hangs, it was reset) is not carried: the speaker
//! gives it a link of its own, by standard packets, and who does not answer there is suspected as ever.
//! The same when a host leaves a PING unanswered for half the node timeout. When the trunk breaks, the
//! speaker calls the host's nodes one after another. A host's number is drawn at each start and for
//! each cluster that a host's nodes are in: so who restarts as something else, or whose nodes stand in
//! different clusters, is never taken for what it was.

use super::Plane;
use super::effect::LinkId;
use super::gossip::Greeting;
use super::group::Publish;
use super::node::{Home, Key};
use super::receive::From;
use crate::cluster::wire::{GossipEntry, Header, HostGossip, HostMark, Message, Spoken, Statement, flag};
use std::collections::BTreeSet;

/// How a packet gets to a foreign node: over its own link, or over one that leads to its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    pub link: LinkId,
    /// The host that it is for, or 0 when it is for the node at the link's end.
    pub to: u64,
    /// For this node of that host.
    pub node: u16,
}

impl Way {
    pub fn direct(link: LinkId) -> Way {
        Way { link, to: 0, node: HostMark::ALL }
    }

    /// The same way, for all nodes to whom it leads.
    pub fn for_all(self) -> Way {
        Way { node: HostMark::ALL, ..self }
    }
}

impl Plane {
    /// Draws the number by which other hosts know this one in a cluster.
    pub(super) fn name_host(&mut self, g: usize) {
        self.groups[g].host = self.rng.next_u64().max(1);
    }

    /// What a local node's packets show.
    pub(super) fn mark(&self, l: usize) -> Option<HostMark> {
        let host = self.group(l).host;
        let shown = self.conf.cluster_host_links && host != 0;
        shown.then_some(HostMark { host, number: l as u16, to: 0, node: HostMark::ALL })
    }

    /// Where the sender of a packet lives.
    pub(super) fn home_of(&self, header: &Header) -> Home {
        match &header.host {
            Some(mark) if self.conf.cluster_host_links => Home::Host(mark.host),
            _ => Home::Alone,
        }
    }

    /// Notes where a foreign node lives; links that are not needed there are closed, and those that are
    /// will be opened.
    pub(super) fn set_home(&mut self, g: usize, key: Key, home: Home, number: u16) {
        let node = &mut self.groups[g][key];
        node.number = number;
        if node.home == home {
            return;
        }
        self.leave_home(g, key);
        self.groups[g][key].home = home;
        if let Home::Host(host) = home {
            let trunk = self.groups[g].trunks.entry(host).or_default();
            trunk.nodes.insert(key);
            trunk.next.get_or_insert(key);
            self.hush(g, key);
        }
        self.schedule_all(g, key);
    }

    /// The node is not where it was.
    pub(super) fn leave_home(&mut self, g: usize, key: Key) {
        let group = &mut self.groups[g];
        let node = &mut group[key];
        let home = std::mem::replace(&mut node.home, Home::Unknown);
        node.listed = false;
        let own: Vec<LinkId> = node.peers.iter().filter_map(|peer| peer.link).collect();
        let Home::Host(host) = home else { return };
        let Some(trunk) = group.trunks.get_mut(&host) else { return };
        trunk.nodes.remove(&key);
        trunk.link = trunk.link.filter(|link| !own.contains(link));
        if trunk.next == Some(key) {
            trunk.next = trunk.nodes.first().copied();
        }
        if trunk.nodes.is_empty() {
            group.trunks.remove(&host);
        }
    }

    /// Closes the links of all local nodes but the speaker with a node of a Shoal host.
    fn hush(&mut self, g: usize, key: Key) {
        for l in self.members(g) {
            if self.groups[g].speaker == Some(l) || self.groups[g][key].in_handshake() {
                continue;
            }
            self.reconnect(l, key);
            self.groups[g][key].peers[l].ping_sent = 0;
        }
    }

    /// Chooses who speaks to other hosts: whoever did, as long as it is spoken for.
    pub(super) fn settle_speaker(&mut self, g: usize) {
        let (old, members) = (self.groups[g].speaker, self.members(g));
        let able = |l: &usize| members.contains(l) && self.locals[*l].fresh;
        let new = old.filter(able).or_else(|| members.iter().copied().find(able));
        if new == old {
            return;
        }
        self.groups[g].speaker = new;
        for trunk in self.groups[g].trunks.values_mut() {
            trunk.link = None;
        }
        // whoever is being waited for is waited for still
        if let (Some(old), Some(new)) = (old, new) {
            let keys: Vec<Key> = self.groups[g].keys().collect();
            for key in keys {
                let node = &mut self.groups[g][key];
                if node.local.is_none() && node.home != Home::Alone && !node.in_handshake() {
                    let asked = std::mem::take(&mut node.peers[old].ping_sent);
                    let peer = &mut node.peers[new];
                    peer.ping_sent = if peer.ping_sent == 0 { asked } else { peer.ping_sent };
                }
            }
        }
        self.reschedule_group(g);
    }

    /// Groups have become one: links that the other one's speaker had are closed, trunks are those of
    /// the nodes that are here now.
    pub(super) fn settle_homes(&mut self, g: usize) {
        let group = &mut self.groups[g];
        group.trunks.values_mut().for_each(|trunk| trunk.nodes.clear());
        for key in group.keys().collect::<Vec<_>>() {
            if let Home::Host(host) = group[key].home {
                group.trunks.entry(host).or_default().nodes.insert(key);
            }
        }
        group.trunks.retain(|_, trunk| !trunk.nodes.is_empty());
        for trunk in group.trunks.values_mut() {
            trunk.next = trunk.next.filter(|key| trunk.nodes.contains(key)).or(trunk.nodes.first().copied());
        }
        self.settle_speaker(g);
        for key in self.groups[g].keys().collect::<Vec<_>>() {
            if matches!(self.groups[g][key].home, Home::Host(_)) {
                self.hush(g, key);
            }
        }
    }

    /// The trunk that carries for this pair now: the local node is the speaker, and the other's host
    /// speaks for it.
    pub(super) fn carrier(&self, l: usize, key: Key) -> Option<LinkId> {
        let (group, node) = (self.group(l), &self.group(l)[key]);
        match node.home {
            Home::Host(host) if node.listed && group.speaker == Some(l) => group.trunks.get(&host)?.link,
            _ => None,
        }
    }

    /// Whether the trunk to this node's host is broken, and another of its nodes is called first.
    pub(super) fn waits_for_trunk(&self, l: usize, key: Key) -> bool {
        let (group, node) = (self.group(l), &self.group(l)[key]);
        match node.home {
            Home::Host(host) if node.listed => {
                group.trunks.get(&host).is_some_and(|trunk| trunk.link.is_none() && trunk.next != Some(key))
            }
            _ => false,
        }
    }

    /// How a local node's packets reach a foreign one now.
    pub(super) fn way(&self, l: usize, key: Key) -> Option<Way> {
        let (group, node) = (self.group(l), &self.group(l)[key]);
        let open = |link: &LinkId| self.links[link].connected;
        let Home::Host(host) = node.home else {
            return node.peers.get(l)?.link.filter(open).map(Way::direct);
        };
        let trunk = group.trunks.get(&host).and_then(|trunk| trunk.link);
        let own = || node.peers.get(group.speaker?)?.link.filter(open);
        trunk.or_else(own).map(|link| Way { link, to: host, node: node.number })
    }

    /// A link of the group is gone. If it was a trunk, or was to become one, the next node is called.
    pub(super) fn lose_trunk(&mut self, l: usize, key: Key, id: LinkId) {
        let group = self.group_mut(l);
        for trunk in group.trunks.values_mut() {
            trunk.link = trunk.link.filter(|link| *link != id);
            trunk.inbound = trunk.inbound.filter(|link| *link != id);
        }
        let Home::Host(host) = group[key].home else { return };
        let speaker = group.speaker;
        let Some(trunk) = group.trunks.get_mut(&host).filter(|trunk| trunk.link.is_none()) else { return };
        if id.is_inbound() || speaker != Some(l) {
            return;
        }
        let after = trunk.nodes.range((std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded)).next();
        let next = after.or(trunk.nodes.first()).copied();
        trunk.next = next;
        next.into_iter().for_each(|next| self.schedule(l, next));
    }

    /// A node of a Shoal host has answered the speaker on its own link, by a standard PONG.
    pub(super) fn found_trunk(&mut self, l: usize, key: Key, id: LinkId) {
        let group = self.group_mut(l);
        let Home::Host(host) = group[key].home else { return };
        if group.speaker != Some(l) {
            return;
        }
        let Some(trunk) = group.trunks.get_mut(&host) else { return };
        if trunk.link.is_none() {
            trunk.link = Some(id);
            self.ask_host(l, host);
        } else if trunk.link == Some(id) {
            // it did not take our words for a host's: the next ones begin from the beginning
            self.links.get_mut(&id).expect("a packet's link").spoke.told.clear();
        }
    }

    /// A host has not answered for too long: its nodes are asked one by one.
    pub(super) fn doubt(&mut self, l: usize, host: u64) {
        let group = self.group_mut(l);
        let Some(trunk) = group.trunks.get_mut(&host) else { return };
        let (link, nodes) = (trunk.link.take(), trunk.nodes.clone());
        nodes.iter().for_each(|key| group[*key].listed = false);
        link.into_iter().for_each(|link| self.close(link));
        nodes.into_iter().for_each(|key| self.schedule(l, key));
    }

    /// PING to another host. The wait for an answer begins for all nodes that it speaks for.
    pub(super) fn ask_host(&mut self, l: usize, host: u64) {
        let now = self.now;
        let Some(trunk) = self.group(l).trunks.get(&host) else { return };
        let Some(link) = trunk.link else { return };
        for key in trunk.nodes.clone() {
            let node = &mut self.group_mut(l)[key];
            if node.listed && node.peers[l].ping_sent == 0 {
                node.peers[l].ping_sent = now;
                self.schedule(l, key);
            }
        }
        self.send_host(link, host, true);
    }

    pub(super) fn send_host(&mut self, id: LinkId, host: u64, asks: bool) {
        let l = self.links[&id].local;
        let g = self.locals[l].group;
        let members: Vec<usize> = self.members(g).into_iter().filter(|l| self.locals[*l].fresh).collect();
        // the other end forgets what is not spoken for
        let told = &mut self.links.get_mut(&id).expect("a link to send on").spoke.told;
        told.retain(|number, _| members.contains(&(*number as usize)));
        let nodes = members.into_iter().map(|l| self.speak_for(id, l)).collect();
        let entries = self.entries_for_host(g, host);
        let message = Message::Host(HostGossip { asks, entries, nodes });
        self.send(l, &[Way { link: id, to: host, node: HostMark::ALL }], &message);
    }

    /// A local node as this link's other end is told of it.
    fn speak_for(&mut self, id: LinkId, l: usize) -> Spoken {
        let statement = Statement {
            header: Header { current_epoch: 0, offset: 0, ok: true, ..self.header(l) },
            extensions: self.extensions_of(l, true),
        };
        let local = &mut self.locals[l];
        let version = match &local.said {
            Some((version, said)) if *said == statement => *version,
            _ => {
                self.statements += 1;
                local.said = Some((self.statements, statement));
                self.statements
            }
        };
        let told = &mut self.links.get_mut(&id).expect("a link to send on").spoke.told;
        let news = told.insert(l as u16, version) != Some(version);
        let said = local.said.as_ref().filter(|_| news);
        let news = said.map(|(_, statement)| Box::new(statement.clone()));
        Spoken { number: l as u16, version, offset: local.beat.offset, news }
    }

    /// PING or PONG of a whole host.
    pub(super) fn take_host(&mut self, from: From, header: &Header, gossip: HostGossip) {
        let (g, link) = (self.locals[from.l].group, from.link);
        let mark = header
            .host
            .filter(|mark| mark.to == self.groups[g].host && self.groups[g].trunks.contains_key(&mark.host));
        let Some(mark) = mark else {
            // it doesn't know us, or we don't know it: by this it learns who is here
            if gossip.asks && link.is_inbound() {
                self.send_greeting(link, Greeting::Pong);
            }
            return;
        };
        let Some(spoken) = self.complete(link, &mark, &gossip.nodes) else {
            self.close(link);
            return;
        };
        if link.is_inbound()
            && let Some(trunk) = self.groups[g].trunks.get_mut(&mark.host)
        {
            trunk.inbound = Some(link);
        }
        let answer = !gossip.asks && !link.is_inbound();
        let mut listed = BTreeSet::new();
        for (offset, statement) in &spoken {
            let said = Header {
                current_epoch: header.current_epoch,
                ok: header.ok,
                offset: *offset,
                ..statement.header.clone()
            };
            let said = Statement { header: said, extensions: statement.extensions.clone() };
            if !self.links.contains_key(&link) {
                return;
            }
            listed.extend(self.take_statement(from, &said, answer));
        }
        self.take_host_gossip(from, &listed, &gossip.entries);
        self.settle_listed(from.l, mark.host, &listed);
        if gossip.asks && self.links.contains_key(&link) {
            self.send_host(link, mark.host, false);
        }
    }

    /// What each node says, with what this link has carried before. `None` when that doesn't fit
    /// together.
    fn complete(&mut self, id: LinkId, mark: &HostMark, nodes: &[Spoken]) -> Option<Vec<(u64, Statement)>> {
        let heard = &mut self.links.get_mut(&id)?.spoke.heard;
        let mut all = Vec::with_capacity(nodes.len());
        for node in nodes {
            if let Some(news) = &node.news {
                heard.insert(node.number, (node.version, news.as_ref().clone()));
            }
            let (_, statement) = heard.get(&node.number).filter(|(version, _)| *version == node.version)?;
            let own = statement.header.host?;
            if (own.host, own.number) != (mark.host, node.number) {
                return None;
            }
            all.push((node.offset, statement.clone()));
        }
        let spoken: BTreeSet<u16> = nodes.iter().map(|node| node.number).collect();
        heard.retain(|number, _| spoken.contains(number));
        Some(all)
    }

    /// What a node of another host says of itself, as its own PING or PONG would. The node, if it is
    /// one of our cluster.
    fn take_statement(&mut self, from: From, said: &Statement, answer: bool) -> Option<Key> {
        let (l, g) = (from.l, self.locals[from.l].group);
        let header = &said.header;
        if self.is_own(&header.sender) {
            return None;
        }
        let address = self.announced(from.link, header);
        let key = match self.groups[g].find(&header.sender) {
            Some(key) => key,
            None => {
                let refused = address.ip.is_empty() || self.groups[g].is_full();
                if refused || self.groups[g].is_blacklisted(&header.sender, self.now) {
                    return None;
                }
                let role = if header.replica_of.is_some() { flag::REPLICA } else { flag::MASTER };
                self.add_foreign(g, header.sender, role | header.flags & flag::NOFAILOVER, address.clone())
            }
        };
        self.note_header(l, key, header);
        self.members(g).into_iter().for_each(|l| self.note_paused_master(l, key, header));
        if answer {
            self.note_alive(l, key);
        } else if from.link.is_inbound() {
            self.update_address(l, key, Some(from.link), address);
        }
        self.take_role(l, key, header);
        self.take_claims(l, key, header);
        self.members(g).into_iter().for_each(|l| self.settle_collision(l, key, header.config_epoch));
        self.take_extensions(l, key, &said.extensions);
        Some(key)
    }

    /// Gossip of a host counts as the word of all its masters.
    fn take_host_gossip(&mut self, from: From, by: &BTreeSet<Key>, entries: &[GossipEntry]) {
        let g = self.locals[from.l].group;
        let known = by.first().copied();
        for entry in entries {
            let Some(key) = self.groups[g].find(&entry.id) else {
                self.take_unknown(From { sender: known, ..from }, g, entry);
                continue;
            };
            let masters: BTreeSet<Key> =
                by.iter().copied().filter(|by| *by != key && self.groups[g][*by].is_master()).collect();
            let failing = entry.flags & (flag::PFAIL | flag::FAIL) != 0;
            self.take_reports(g, key, &masters, failing);
            self.take_entry(g, key, entry);
        }
    }

    /// Which nodes the host speaks for from now on. These need no link of their own, the others do.
    fn settle_listed(&mut self, l: usize, host: u64, listed: &BTreeSet<Key>) {
        let g = self.locals[l].group;
        let Some(trunk) = self.groups[g].trunks.get(&host) else { return };
        let (link, speaker) = (trunk.link, self.groups[g].speaker);
        for key in trunk.nodes.clone() {
            let node = &mut self.groups[g][key];
            let now = listed.contains(&key);
            let before = std::mem::replace(&mut node.listed, now);
            let Some(speaker) = speaker else { continue };
            let own = node.peers[speaker].link.filter(|own| now && link.is_some() && Some(*own) != link);
            if let Some(own) = own {
                self.close(own);
            }
            if before != now || own.is_some() {
                self.schedule(speaker, key);
                self.wish(g, Publish::Soon);
            }
        }
    }

    /// A packet that is for our host and not for whom its link leads to: for these local nodes.
    pub(super) fn addressees(&self, g: usize, mark: &HostMark) -> Vec<usize> {
        let wanted = |l: &usize| mark.node == HostMark::ALL || mark.node as usize == *l;
        self.members(g).into_iter().filter(|l| wanted(l) && self.locals[*l].fresh).collect()
    }

    /// Once a second: hosts that did not know us yet are asked again.
    pub(super) fn ask_strangers(&mut self, g: usize) {
        let Some(speaker) = self.groups[g].speaker else { return };
        let group = &self.groups[g];
        let deaf = |nodes: &BTreeSet<Key>| nodes.iter().all(|key| !group[*key].listed);
        let hosts: Vec<u64> = group
            .trunks
            .iter()
            .filter(|(_, trunk)| trunk.link.is_some() && deaf(&trunk.nodes))
            .map(|(host, _)| *host)
            .collect();
        hosts.into_iter().for_each(|host| self.ask_host(speaker, host));
    }

    /// The configuration has changed: without trunks everybody is a node as Redis has them.
    pub(super) fn settle_trunks(&mut self) {
        if self.conf.cluster_host_links {
            return;
        }
        for g in self.inhabited() {
            for key in self.groups[g].foreign().map(|(key, _)| key).collect::<Vec<_>>() {
                self.set_home(g, key, Home::Alone, 0);
            }
        }
    }
}
