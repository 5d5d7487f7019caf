//! The cluster state machine of a host, without I/O: one plane speaks for all its nodes.
//!
//! Events go in by `handle_*`, each with its time; effects come out by [`Plane::poll`]. The same
//! seed, events and times give the same effects.
//!
//! A [`Group`] is one cluster as this host knows it, shared by the local nodes that belong to it:
//! among them nothing is sent, for what one knows all know. Local nodes that were started empty are a
//! group each until a MEET brings them together; RESET and FORGET take one out again. Towards foreign
//! nodes every local node behaves as a whole node of Redis Cluster 7.0 does: with its own links, pings
//! and votes.
//!
//! Between two Shoal hosts one link pair carries for all their nodes ([`trunk`]).
//!
//! What must not be seen before it is on disk (a vote, a new epoch) waits inside the plane for
//! [`Plane::handle_saved`], and all that would follow it waits behind it.

mod assign;
mod commands;
mod cron;
mod effect;
mod election;
mod epochs;
mod failure;
mod gossip;
mod group;
mod handoff;
mod handshake;
#[cfg(debug_assertions)]
mod invariants;
mod links;
mod local;
mod manual;
mod membership;
mod messages;
mod migration;
mod node;
mod out;
mod publish;
mod receive;
mod setup;
mod slots;
mod state;
mod succession;
#[cfg(test)]
mod tests;
mod trunk;

pub use effect::{Answer, Command, Effect, Heartbeat, LinkId, LinkInfo, Source};
pub use setup::{LocalSetup, Setup};

use super::handoff::Handoff;
use crate::config::Config;
use crate::limits;
use crate::util::rng::Rng;
use bytes::Bytes;
use group::Group;
use links::{Link, Timers};
use local::Local;
use out::Out;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The cluster nodes of one host.
pub struct Plane {
    conf: Arc<Config>,
    /// Addresses that lead to this host.
    addresses: Vec<String>,
    /// By number of the shard.
    locals: Vec<Local>,
    /// As many as locals; some stand empty.
    groups: Vec<Group>,
    links: BTreeMap<LinkId, Link>,
    opened: u64,
    timers: Timers,
    out: Out,
    rng: Rng,
    now: u64,
    ticks: u64,
    views: u64,
    /// Gossip packets that were built.
    packets: u64,
    /// Statements of local nodes that were made.
    statements: u64,
    /// The last handoff of slots between local nodes.
    handoff: Arc<Handoff>,
    /// A vote or an offset came: look at elections before this handle call ends.
    reconsider: bool,
    /// A group has come to know a foreign node: look whether others know it before this call ends.
    mingled: bool,
    #[cfg(debug_assertions)]
    seen: invariants::Seen,
}

impl Plane {
    /// Ten times a second.
    pub fn handle_tick(&mut self, now: u64) {
        self.begin(now);
        self.tick();
        self.finish();
    }

    /// Somebody has connected to a local node's bus port: from `peer_ip`, to `local_ip`.
    pub fn handle_accepted(&mut self, link: LinkId, local: usize, peer_ip: &str, local_ip: &str, now: u64) {
        self.begin(now);
        self.accept(link, local, peer_ip, local_ip);
        self.finish();
    }

    /// A link that [`Effect::Connect`] asked for is open.
    pub fn handle_connected(&mut self, link: LinkId, now: u64) {
        self.begin(now);
        self.connected(link);
        self.finish();
    }

    /// A link could not be opened, or has broken.
    pub fn handle_closed(&mut self, link: LinkId, now: u64) {
        self.begin(now);
        self.lose_link(link);
        self.finish();
    }

    /// A link is about to be closed because too much waited to be sent on it.
    pub fn note_exceeded(&mut self, link: LinkId) {
        if let Some(link) = self.links.get(&link) {
            self.locals[link.local].counts.exceeded += 1;
        }
    }

    /// One packet, as long as its first bytes say.
    pub fn handle_frame(&mut self, link: LinkId, frame: &[u8], now: u64) {
        self.begin(now);
        self.receive(link, frame);
        self.finish();
    }

    /// nodes.conf holds this version, on disk or on its way there.
    pub fn handle_written(&mut self, version: u64, now: u64) {
        self.begin(now);
        self.out.written(version);
        self.finish();
    }

    /// nodes.conf is on disk up to this version.
    pub fn handle_saved(&mut self, version: u64, now: u64) {
        self.begin(now);
        for (candidate, voter, epoch) in self.out.saved(version) {
            self.take_vote(candidate, voter, epoch);
        }
        self.finish();
    }

    /// A shard says that it is well.
    pub fn handle_heartbeat(&mut self, local: usize, beat: Heartbeat, now: u64) {
        self.begin(now);
        self.heartbeat(local, beat);
        self.finish();
    }

    /// PUBLISH or SPUBLISH by a client of a local node, for other hosts and for replicas here. The
    /// shard has told its own subscribers, and for PUBLISH those of its siblings.
    pub fn handle_publish(
        &mut self,
        local: usize,
        channel: &Bytes,
        message: &Bytes,
        sharded: bool,
        now: u64,
    ) {
        self.begin(now);
        self.forward(local, channel, message, sharded);
        self.finish();
    }

    /// CLUSTER's subcommands that change the cluster, or read what no view holds. An error is the
    /// reply without its `-`. When [`Plane::unsaved`] or [`Plane::unwritten`] says so, the reply waits for
    /// nodes.conf.
    pub fn handle_command(&mut self, local: usize, command: &Command, now: u64) -> Result<Answer, String> {
        self.begin(now);
        let answer = self.command(local, command);
        // who asked may look at once
        for g in self.inhabited() {
            if self.groups[g].publish == group::Publish::Soon {
                self.groups[g].publish = group::Publish::Now;
            }
        }
        self.finish();
        answer
    }

    /// The configuration has changed.
    pub fn handle_config(&mut self, conf: Arc<Config>, now: u64) {
        self.begin(now);
        self.conf = conf;
        (0..self.locals.len()).for_each(|l| self.announce(l));
        self.settle_trunks();
        for g in self.inhabited() {
            self.groups[g].restate = true;
            self.wish(g, group::Publish::Now);
            self.reschedule_group(g);
        }
        self.finish();
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Effect> {
        self.out.pop()
    }

    /// The version of nodes.conf that must be on disk before what was decided may be told.
    pub fn unsaved(&self) -> Option<u64> {
        self.out.unsaved()
    }

    /// The version of nodes.conf that must be in the file before commands so far are answered.
    pub fn unwritten(&self) -> Option<u64> {
        self.out.unwritten()
    }

    fn begin(&mut self, now: u64) {
        // a clock that steps back must not make times run backwards in here
        self.now = self.now.max(now);
    }

    fn finish(&mut self) {
        while std::mem::take(&mut self.reconsider) {
            (0..self.locals.len()).for_each(|l| self.consider_election(l));
        }
        self.unite_groups();
        for g in self.inhabited() {
            self.sound_alarm(g);
            if self.groups[g].restate {
                self.update_state(g);
            }
        }
        self.publish(group::Publish::Now);
        self.save();
        #[cfg(debug_assertions)]
        self.check();
    }

    fn group(&self, l: usize) -> &Group {
        &self.groups[self.locals[l].group]
    }

    fn group_mut(&mut self, l: usize) -> &mut Group {
        &mut self.groups[self.locals[l].group]
    }

    /// The local node's entry in its group.
    fn me(&self, l: usize) -> &node::Node {
        &self.group(l)[self.locals[l].key]
    }

    fn me_mut(&mut self, l: usize) -> &mut node::Node {
        let key = self.locals[l].key;
        &mut self.group_mut(l)[key]
    }

    /// The local nodes of a group.
    fn members(&self, g: usize) -> Vec<usize> {
        self.groups[g].members.clone()
    }

    /// The groups that have local nodes.
    fn inhabited(&self) -> Vec<usize> {
        (0..self.groups.len()).filter(|g| !self.groups[*g].members.is_empty()).collect()
    }

    fn timeout(&self) -> u64 {
        self.conf.cluster_node_timeout.min(limits::NODE_TIMEOUT_MS)
    }

    /// How long a shard may say nothing until it isn't spoken for.
    fn patience(&self) -> u64 {
        (self.timeout() / 2).max(limits::HEARTBEAT_MS)
    }
}
