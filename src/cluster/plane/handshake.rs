//! How nodes come to know each other, and where they live.

use super::Plane;
use super::effect::LinkId;
use super::gossip::Greeting;
use super::group::Publish;
use super::node::{Address, Key, Node, Peer};
use super::out::Want;
use crate::cluster::view::NodeId;
use crate::cluster::wire::{Header, Message, Packet, flag};
use core::net::IpAddr;

/// An address as MEET takes it: the ip in its shortest form.
pub fn meet_address(ip: &[u8], port: i64, cport: i64) -> Option<Address> {
    let ip: IpAddr = std::str::from_utf8(ip).ok()?.parse().ok()?;
    let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
    let cport = u16::try_from(cport).ok().filter(|port| *port != 0)?;
    Some(Address { ip: ip.to_string(), port, pport: 0, cport })
}

impl Plane {
    /// CLUSTER MEET: by packets, or at once when the address is a sibling's.
    pub(super) fn meet(&mut self, l: usize, address: Address) -> Result<(), String> {
        if let Some(sibling) = self.local_at(&address) {
            for l in [sibling, l] {
                if self.me(l).address.ip.is_empty() {
                    self.learn_own_ip(l, &address.ip);
                }
            }
            return self.meet_sibling(l, sibling);
        }
        if !self.may_join(l, Some(&address), &[0; 40]) {
            let (ip, port) = (&address.ip, address.port);
            return Err(format!(
                "ERR Another node of this host is in a cluster that doesn't know {ip}:{port}. Nodes of one \
                 host can't be in different clusters: meet a node of that cluster, or a sibling, first"
            ));
        }
        self.start_handshake(l, address, flag::MEET);
        Ok(())
    }

    /// The local node that listens there.
    fn local_at(&self, address: &Address) -> Option<usize> {
        (0..self.locals.len()).find(|l| {
            let own = &self.me(*l).address;
            let ours = self.addresses.contains(&address.ip) || own.ip == address.ip;
            ours && (self.locals[*l].bus_port == address.cport
                || own.cport == address.cport && own.ip == address.ip)
        })
    }

    /// Whether a local node may join the cluster at this address, or of a node of this name: not when
    /// a sibling is in a cluster that doesn't know it.
    pub(super) fn may_join(&self, l: usize, address: Option<&Address>, id: &NodeId) -> bool {
        let own = self.locals[l].group;
        if self.groups[own].has_foreign() {
            return true;
        }
        self.groups.iter().enumerate().filter(|(g, _)| *g != own).all(|(_, group)| {
            let known = |node: &Node| address.is_some_and(|a| node.address.same_place(a)) || node.id == *id;
            !group.has_foreign() || group.iter().any(|(_, node)| known(node))
        })
    }

    /// Begins a handshake, unless one with that address is on already.
    pub(super) fn start_handshake(&mut self, l: usize, address: Address, flags: u16) {
        let group = self.group(l);
        let on = group.iter().any(|(_, node)| node.in_handshake() && node.address.same_place(&address));
        if on || group.is_full() {
            return;
        }
        // a name to stand in until it has told its own
        let id = self.random_id();
        let mut node = Node::new(id, flag::HANDSHAKE | flags, address, self.now);
        node.greeter = l;
        node.peers = vec![Peer::new(); self.locals.len()];
        let key = self.group_mut(l).add(node);
        self.schedule(l, key);
    }

    /// The node in handshake has answered, and its name is new to the group. Whether it is a member now.
    pub(super) fn end_handshake(&mut self, l: usize, key: Key, header: &Header) -> bool {
        if !self.may_join(l, None, &header.sender) && !self.shares_address(l, key) {
            self.remove_node(self.locals[l].group, key);
            return false;
        }
        let g = self.locals[l].group;
        let role = match header.replica_of {
            Some(_) => flag::REPLICA,
            None => flag::MASTER,
        };
        let group = &mut self.groups[g];
        group.rename(key, header.sender);
        let node = &mut group[key];
        node.flags = node.flags & !(flag::HANDSHAKE | flag::MEET) | role;
        node.data_received = self.now;
        self.mingled = true;
        let (home, number) = (self.home_of(header), header.host.map_or(0, |mark| mark.number));
        self.set_home(g, key, home, number);
        self.schedule_all(g, key);
        self.out.want(Want::Soon);
        self.groups[g].restate = true;
        self.wish(g, Publish::Now);
        true
    }

    /// Whether a sibling's cluster knows this address.
    fn shares_address(&self, l: usize, key: Key) -> bool {
        self.may_join(l, Some(&self.group(l)[key].address), &[0; 40])
    }

    /// A packet with a name of our own: a link that leads back to this host. Its sender, if it was a
    /// handshake of ours, learns by the answer whom it has met.
    pub(super) fn receive_own(&mut self, link: LinkId, sibling: usize, packet: &Packet) {
        let (l, peer) = (self.links[&link].local, self.links[&link].peer);
        let asks = matches!(packet.message, Message::Ping(_) | Message::Meet(_));
        if link.is_inbound() {
            if asks {
                self.send_greeting(link, Greeting::Pong);
            }
            return;
        }
        let Some(key) = peer else { return };
        if self.group(l)[key].in_handshake() {
            self.remove_node(self.locals[l].group, key);
            // it cannot be refused any more to somebody; where it is, both stay where they are
            let _ = self.meet_sibling(l, sibling);
        } else {
            // somebody else's address leads here now
            self.close(link);
        }
    }

    /// The address by which others reach this host, as a link shows it. Siblings that went by the same
    /// one go along.
    pub(super) fn learn_own_ip(&mut self, l: usize, ip: &str) {
        let old = self.me(l).address.ip.clone();
        if ip.is_empty() || old == ip || !self.conf.cluster_announce_ip.is_empty() {
            return;
        }
        tracing::warn!("IP address for this host updated to {ip}");
        for other in 0..self.locals.len() {
            let address = &mut self.me_mut(other).address;
            if address.ip == old {
                address.ip = ip.to_owned();
                self.wish_view(other, Publish::Now);
            }
        }
        self.out.want(Want::Soon);
    }

    /// A node has been heard of from elsewhere than we thought, by a packet or, when `by` is none, by a
    /// handshake that found an old acquaintance.
    pub(super) fn update_address(&mut self, l: usize, key: Key, by: Option<LinkId>, address: Address) {
        let node = &self.group(l)[key];
        let own_link = by.is_some() && node.peers[l].link == by;
        if !own_link && node.address != address && !address.ip.is_empty() {
            self.move_node(self.locals[l].group, key, address);
        }
    }

    /// A foreign node lives elsewhere now: all links to it are opened anew.
    pub(super) fn move_node(&mut self, g: usize, key: Key, address: Address) {
        let node = &mut self.groups[g][key];
        tracing::warn!("Address updated for node {}, now {}:{}", node.name(), address.ip, address.port);
        node.address = address;
        node.flags &= !flag::NOADDR;
        for l in self.members(g) {
            self.reconnect(l, key);
            self.schedule(l, key);
            if self.me(l).master == Some(key) {
                self.replicate_known_master(l);
            }
        }
        self.out.want(Want::Soon);
        self.groups[g].restate = true;
        self.wish(g, Publish::Now);
    }
}
