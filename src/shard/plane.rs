//! Between a shard and the host's plane: CLUSTER's subcommands on their way there and back, and what
//! the plane has decided for this shard.

use super::desk::Unsent;
use super::execute::visitor;
use super::mail::Ticket;
use super::{Now, Shard};
use crate::cluster::plane::{Answer, Command, Effect, Heartbeat, LinkInfo, Source};
use crate::cluster::slots::SlotSet;
use crate::cluster::view::View;
use crate::command::error::{Done, ErrReply};
use crate::command::spec::{Route, Spec};
use crate::command::table;
use crate::limits::UNHEARD;
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};
use crate::session::route::{self, Found, Verdict, Visitor};
use crate::session::{Door, Hold};
use crate::slot::{SLOTS, Slot, key_slot};
use crate::store::{Clock, Db, ValueRef};
use crate::util::num::parse_i64;
use bytes::Bytes;
use std::sync::Arc;

const DISABLED: ErrReply = ErrReply::new("ERR This instance has cluster support disabled");

/// A CLUSTER subcommand for the plane.
pub struct Question {
    pub ticket: Ticket,
    pub command: Command,
}

/// What clients have published, between a shard and other hosts.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The shard whose node says it.
    pub local: usize,
    pub channel: Bytes,
    pub message: Bytes,
    pub sharded: bool,
}

/// What the plane says to a [`Question`].
pub struct Answered {
    pub ticket: Ticket,
    /// An error is the reply without its `-`.
    pub outcome: Result<Answer, String>,
    /// Of [`Answer::Links`]: bytes that each link has not sent yet.
    pub unsent: Vec<usize>,
}

impl Answered {
    pub fn new(ticket: Ticket, outcome: Result<Answer, String>, unsent: Unsent<'_>) -> Answered {
        let unsent = match &outcome {
            Ok(Answer::Links(links)) => links.iter().map(|link| unsent(link.link)).collect(),
            _ => Vec::new(),
        };
        Answered { ticket, outcome, unsent }
    }
}

/// What the plane has for a shard since it last looked.
#[derive(Default)]
pub struct Letters {
    /// The newest view.
    pub view: Option<Arc<View>>,
    /// Slots that were lost: what is still in them goes.
    pub lost: SlotSet,
    /// All keys go.
    pub flush: bool,
    /// The node to copy from, or none.
    pub source: Option<Option<Source>>,
    /// Writes are on hold until then, in unix ms, or no more.
    pub pause: Option<Option<u64>>,
    /// What other hosts' clients have published, and how many bytes that is.
    pub heard: Vec<Publication>,
    pub heard_bytes: u64,
    /// To questions, in the order of the answers.
    pub answers: Vec<Answered>,
}

impl Letters {
    /// A message of another host. Of a shard that does not keep up, what it has to hear is bounded:
    /// nobody is promised that messages arrive.
    fn hear(&mut self, publication: Publication) {
        if self.heard_bytes > UNHEARD {
            return tracing::warn!(
                "A shard does not keep up with what other hosts publish: a message is lost"
            );
        }
        self.heard_bytes += (publication.channel.len() + publication.message.len()) as u64;
        self.heard.push(publication);
    }
}

/// Lays one of the plane's effects into the letters of the shards that it is for: `put` is given a
/// shard's number, and what becomes of its letters.
pub fn deliver(effect: Effect, mut put: impl FnMut(usize, &dyn Fn(&mut Letters))) {
    match effect {
        Effect::Publish { locals, view } => {
            locals.iter().for_each(|&l| put(l, &|letters| letters.view = Some(view.clone())));
        }
        Effect::DeleteSlots { local, slots } => put(local, &|letters| letters.lost.unite(&slots)),
        Effect::Flush { local } => put(local, &|letters| letters.flush = true),
        Effect::Deliver { local, channel, message, sharded } => {
            let heard = Publication { local, channel, message, sharded };
            put(local, &|letters| letters.hear(heard.clone()));
        }
        Effect::Replicate { local, of } => put(local, &|letters| letters.source = Some(of.clone())),
        Effect::PauseWrites { local, until } => put(local, &|letters| letters.pause = Some(Some(until))),
        Effect::ResumeWrites { local } => put(local, &|letters| letters.pause = Some(None)),
        Effect::Connect { .. } | Effect::Close { .. } | Effect::Send { .. } | Effect::Save { .. } => {
            unreachable!("the desk makes orders of these")
        }
    }
}

/// What a shard keeps for and from the plane.
#[derive(Default)]
pub(super) struct Correspondence {
    pub(super) questions: Vec<Question>,
    pub(super) publications: Vec<Publication>,
    /// Lost slots whose keys are still to go.
    lost: SlotSet,
}

impl Shard {
    /// What this shard says of itself to the plane.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            offset: self.stream_offset(),
            data_age_ms: self.data_age_ms(),
            paused: self.stands_still(),
            era: self.settled_era(),
        }
    }

    /// The keys of a slot that are here now, whoever owns it and whatever is under way: no command
    /// answers that.
    pub fn keys_in_slot(&self, slot: Slot) -> Vec<&[u8]> {
        let db = self.ks.db(0);
        db.keys_in_slot(slot, db.slot_len(slot))
    }

    /// A string that is here now, as [`Shard::keys_in_slot`] has its key.
    pub fn string_of(&self, key: &[u8]) -> Option<String> {
        let db = self.ks.db(0);
        match db.peek(&db.key(key), &self.clock)?.value() {
            ValueRef::Int(n) => Some(n.to_string()),
            ValueRef::Str(text) => Some(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Obj(_) => None,
        }
    }

    /// Questions for the plane since the last call.
    pub fn take_questions(&mut self) -> impl Iterator<Item = Question> + '_ {
        self.plane.questions.drain(..)
    }

    /// What clients have published for other hosts since the last call.
    pub fn take_publications(&mut self) -> impl Iterator<Item = Publication> + '_ {
        self.plane.publications.drain(..)
    }

    /// Whether the plane is to be told anything.
    #[inline]
    pub fn has_questions(&self) -> bool {
        !self.plane.questions.is_empty() || !self.plane.publications.is_empty()
    }

    /// Takes up what the plane has decided: the view first, for the answers are true in it.
    pub fn letters(&mut self, letters: Letters, now: Now) {
        self.begin(now);
        if let Some(view) = letters.view {
            self.take_view(view);
        }
        self.plane.lost.unite(&letters.lost);
        if letters.flush {
            for db in self.ks.iter_mut().filter(|db| db.len() > 0) {
                self.metrics.dirty.add(db.len() as u64);
                let garbage = db.clear();
                db.leave(garbage);
            }
            self.propagate_flush();
            self.invalidate_all(None, None);
        }
        if let Some(source) = letters.source {
            self.copy_from(source);
        }
        if let Some(until) = letters.pause {
            self.stand_still(until);
        }
        self.drop_lost_slots();
        letters.heard.into_iter().for_each(|publication| self.publish_from_bus(publication));
        letters.answers.into_iter().for_each(|answered| self.hear(answered));
        self.resume_clients();
        self.end_turn();
    }

    /// What a replica holds is its primary's, whatever this shard has lost before.
    pub(super) fn forget_lost_slots(&mut self) {
        self.plane.lost = SlotSet::default();
    }

    /// Frees what is left in lost slots. It waits for the view that says so, for until then they are
    /// served, and for slots on loan to be back.
    pub(super) fn drop_lost_slots(&mut self) {
        if self.plane.lost.is_empty() || self.is_lending() {
            return;
        }
        let me = self.view.local_index(self.at.me);
        for slot in std::mem::take(&mut self.plane.lost).iter() {
            if self.view.owner_index(slot) == me {
                self.plane.lost.insert(slot);
                continue;
            }
            self.invalidate_slot(slot);
            self.ks.db_mut(0).drop_interest(slot);
            if self.ks.db(0).slot_len(slot) > 0 {
                if self.fx.propagating {
                    let all = self.ks.db(0).keys_in_slot(slot, usize::MAX);
                    let names: Vec<Box<[u8]>> = all.into_iter().map(Into::into).collect();
                    let lazy = self.conf.lazyfree_lazy_server_del;
                    // what the log said of the slot when it was lost counts no more
                    self.claim(true, &[(slot, slot)]);
                    self.propagate_gone(0, lazy, names.iter().map(|n| &**n));
                    self.claim(false, &[(slot, slot)]);
                }
                let db = self.ks.db_mut(0);
                self.metrics.dirty.add(db.slot_len(slot) as u64);
                db.forsake_slot(slot);
            }
        }
    }

    /// A subcommand of CLUSTER that only the plane can answer. Its client waits for the answer.
    pub(super) fn ask_plane(&mut self, client: u32, args: Args<'_>) -> Done {
        if !self.at.cluster {
            return Err(DISABLED);
        }
        let door = self.clients.get(client).map(|s| s.door);
        let front = door == Some(Door::Front);
        if front && !reads_only(args) && !args.is(1, "handoff") {
            return Err(self.front_door_is_no_node(args));
        }
        let slot = args.get(2).and_then(parse_i64).and_then(|n| usize::try_from(n).ok());
        let slot = slot.filter(|&n| n < SLOTS).map(|n| n as Slot);
        let command = Command {
            words: OwnedArgs::new(args.from(1).iter()),
            keys: self.ks.db(0).len() as u64,
            slot_keys: slot.map_or(0, |slot| self.ks.db(0).slot_len(slot) as u64),
            front,
        };
        self.put_question(client, command);
        Ok(())
    }

    /// Has the plane answer a client, which waits for it.
    pub(super) fn put_question(&mut self, client: u32, command: Command) {
        let discard = self.discards(client);
        let Some(session) = self.clients.get(client) else { return };
        let place = session.pipeline.wait(discard);
        session.hold = Hold::Plane;
        let ticket = Ticket { client, generation: session.generation, place, part: 0 };
        self.plane.questions.push(Question { ticket, command });
    }

    /// Something for the plane to do that no client waits for. It comes before what is asked later.
    pub(super) fn tell_plane(&mut self, words: &[&str]) {
        if self.at.cluster {
            let command = Command { words: OwnedArgs::new(words), ..Command::default() };
            let nobody = Ticket { client: u32::MAX, generation: 0, place: 0, part: 0 };
            self.plane.questions.push(Question { ticket: nobody, command });
        }
    }

    /// Whether a command runs here whose slot is on its way: to another node, then it runs as long as
    /// its keys are here; or from one, for a client that said ASKING.
    #[cold]
    pub(super) fn route_open(
        &mut self,
        client: u32,
        spec: &'static Spec,
        args: Args<'_>,
        slot: Slot,
        before: Option<&'static Spec>,
    ) -> Verdict {
        let found = self.look_for(spec, args);
        let session = self.clients.get(client).expect("the caller looked it up");
        route::open(self.at, &self.view, visitor(session, spec, before), slot, found)
    }

    /// Which keys of a command are here. Only open slots, and those of others, may lack keys.
    fn look_for(&self, spec: &Spec, args: Args<'_>) -> Found {
        let keys = table::keys_of(spec, args);
        let keys: Vec<&[u8]> = keys.iter().map(|k| args.at(k.index)).collect();
        let found = look_for_keys(self.at.me, &self.view, (self.ks.db(0), &self.clock), &keys);
        // what is still here of a slot that goes to a sibling goes with it
        match keys.iter().any(|key| self.is_leaving(key_slot(key))) {
            true => Found { here: 0, missing: keys.len(), ..found },
            false => found,
        }
    }

    /// Where a sibling's command belongs by our view: a slot may have moved on while the command was on
    /// its way.
    pub(super) fn address(&self, spec: &'static Spec, args: Args<'_>, asking: bool) -> Verdict {
        if !matches!(spec.route, Route::Keys | Route::Away | Route::Split { .. }) {
            return Verdict::Here;
        }
        let slots = table::keys_of(spec, args).into_iter().map(|k| key_slot(args.at(k.index)));
        let slots: Vec<Slot> = slots.collect();
        route::of_slots(self.at, &self.view, sibling(spec, asking), slots)
    }

    /// Where a sibling's command for an open slot belongs, by which of its keys are here.
    pub(super) fn look_into(&self, spec: &'static Spec, args: Args<'_>, asking: bool, slot: Slot) -> Verdict {
        route::open(self.at, &self.view, sibling(spec, asking), slot, self.look_for(spec, args))
    }

    /// As both.
    #[cold]
    pub(super) fn reroute(&self, spec: &'static Spec, args: Args<'_>, asking: bool) -> Verdict {
        match self.address(spec, args, asking) {
            Verdict::Open(slot) => self.look_into(spec, args, asking, slot),
            verdict => verdict,
        }
    }

    #[cold]
    fn front_door_is_no_node(&self, args: Args<'_>) -> ErrReply {
        let name = String::from_utf8_lossy(args.at(1)).to_ascii_uppercase();
        let ports: Vec<String> = self.host.own_ports.iter().map(u16::to_string).collect();
        ErrReply::owned(format!(
            "ERR This port is no node of the cluster: send CLUSTER {name} to the own port of a shard ({})",
            ports.join(", ")
        ))
    }

    /// The answer to a question goes to the client that waits for it.
    fn hear(&mut self, answered: Answered) {
        let t = answered.ticket;
        if let (Err(error), Ticket::NOBODY) = (&answered.outcome, t) {
            tracing::warn!("shard-balance: {error}");
        }
        let Some(session) = self.clients.get_same(t.client, t.generation) else { return };
        let mut reply = Vec::new();
        let mut out = Reply::new(&mut reply, session.caller.resp3);
        match &answered.outcome {
            Ok(answer) => write(&mut out, answer, &answered.unsent),
            Err(error) => {
                out.error(error.as_bytes());
                self.metrics.error(error.as_bytes());
            }
        }
        session.pipeline.fill(t.place, 0, &reply, 0);
        session.pipeline.drain(&mut session.out);
        if session.hold == Hold::Plane && session.let_go() {
            self.resume.push(t.client);
        }
        self.settle_client(t.client);
    }
}

/// Which of some keys are with shard `me`. Only open slots, and those of others, may lack keys.
pub(super) fn look_for_keys(me: usize, view: &View, (db, clock): (&Db, &Clock), keys: &[&[u8]]) -> Found {
    let is_here = |key: &[u8]| {
        let key = db.key(key);
        let strange = view.owner_index(key.slot) != view.local_index(me);
        let open = view.migrating(me, key.slot).or(view.importing(me, key.slot)).is_some();
        !(open || strange) || db.peek(&key, clock).is_some()
    };
    let here = keys.iter().filter(|key| is_here(key)).count();
    let several = keys.iter().any(|key| *key != keys[0]);
    Found { here, missing: keys.len() - here, several }
}

/// A front door's client, to the router of a sibling.
fn sibling(spec: &'static Spec, asking: bool) -> Visitor<'static> {
    Visitor { door: Door::Front, local_ip: "", spec, before: None, asking, readonly: false }
}

/// Subcommands that ask the plane and change nothing: they are answered on the front door, too, for
/// the shard that accepted the client.
fn reads_only(args: Args<'_>) -> bool {
    args.is(1, "links") || args.is(1, "count-failure-reports")
}

fn write(out: &mut Reply<'_>, answer: &Answer, unsent: &[usize]) {
    match answer {
        Answer::Ok | Answer::Handed(_) => out.ok(),
        Answer::Int(n) => out.int(*n),
        Answer::Status(text) => out.simple(text),
        Answer::Id(id) => out.bulk(id),
        Answer::Lines(lines) => {
            out.array(lines.len());
            lines.iter().for_each(|line| out.bulk(line.as_bytes()));
        }
        Answer::Links(links) => {
            out.array(links.len());
            links.iter().zip(unsent).for_each(|(link, unsent)| write_link(out, link, *unsent));
        }
    }
}

fn write_link(out: &mut Reply<'_>, link: &LinkInfo, unsent: usize) {
    let events: &[u8] = match unsent {
        0 => b"r",
        _ => b"rw",
    };
    out.map(6);
    out.bulk(b"direction");
    out.bulk(if link.link.is_inbound() { b"from" } else { b"to" });
    out.bulk(b"node");
    out.bulk(&link.node);
    out.bulk(b"create-time");
    out.int(link.created as i64);
    out.bulk(b"events");
    out.bulk(if link.connected { events } else { b"" });
    out.bulk(b"send-buffer-allocated");
    out.int(unsent as i64);
    out.bulk(b"send-buffer-used");
    out.int(unsent as i64);
}
