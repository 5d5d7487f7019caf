//! Client-side caching: clients that keep copies of what they read are told when it has changed.
//!
//! Who has read a key is kept with the key's slot ([`ClientRef`]), as those are who watch it: on loan or handed
//! off, whoever changes the key knows whom it concerns. A client is told once, and then again only of what it
//! reads anew. Who wants to hear of all keys with a prefix (BCAST) is told with the end of a turn, all that has
//! changed in one message; siblings' changes come as [`Heard::Changed`].
//!
//! A command of a client that tracks takes the way of those that are looked at first
//! ([`Mode::Apart`](crate::session::Mode::Apart)): others do not ask whether there are such clients.

mod commands;

use super::Shard;
use super::pubsub::Heard;
use crate::command::host::Name;
use crate::command::spec::{Run, Spec, Verb, flag};
use crate::command::table;
use crate::limits::TRACKING_TRIM_STEP;
use crate::resp::{Args, Reply};
use crate::session::{Door, Session};
use crate::slot::{Slot, key_slot};
use crate::store::ClientRef;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// Keys, and who has changed each of them last.
pub(super) type Changes = BTreeMap<Box<[u8]>, Option<ClientRef>>;

const CHANNEL: &[u8] = b"__redis__:invalidate";

/// What a shard knows of clients that keep copies.
#[derive(Default)]
pub(super) struct Trackers {
    /// Clients of this shard.
    clients: BTreeSet<u32>,
    /// Somebody on the host wants to hear of prefixes.
    broadcasts: bool,
    /// Somebody has read a key here, and keeps it.
    remembers: bool,
    /// What has changed in this turn, for those who want to hear of prefixes.
    changed: Changes,
    /// Of the client whose command is executed before it is replied to, as in a transaction: what it is told of
    /// behind the reply. `None` is all keys.
    pending: Vec<Option<Box<[u8]>>>,
    pub(super) defers: bool,
    /// The client whose command is executed, where that is a sibling's, or a script; and of a sibling's, whether
    /// it keeps copies of what it reads.
    pub(super) author: Option<ClientRef>,
    pub(super) keeps: bool,
}

impl Trackers {
    /// Whether commands have to tell what they change. As long as there is a client, for it hears of a flush
    /// also when it has read nothing.
    pub(super) fn want_any(&self) -> bool {
        self.broadcasts || self.remembers || !self.clients.is_empty()
    }
}

impl Shard {
    /// Takes up whether somebody on the host wants to hear of prefixes.
    pub(super) fn configure_trackers(&mut self) {
        self.trackers.broadcasts = !self.host.registers.audience.prefixes.is_empty();
        if self.trackers.remembers {
            self.trim_remembered();
        }
    }

    // ---- remembering

    /// A client of ours that keeps copies has given a command; `ran`: it was not refused.
    pub(super) fn note_read(&mut self, client: u32, spec: &Spec, args: Args<'_>, ran: bool) {
        // what was put off has read nothing yet, and comes again
        let Some(session) = self.clients.get(client).filter(|session| session.held.is_empty()) else {
            return;
        };
        let (db, own) = (session.caller.db, session.door == Door::Own && self.at.cluster);
        let Some(tracking) = &mut session.tracking else { return };
        let remembers = ran && tracking.remembers();
        // CLIENT CACHING is for the next command; in MULTI, for all of it
        if session.multi.is_none() && !spec.name.starts_with("client|") {
            tracking.caching = false;
        }
        if remembers && session.multi.is_none() {
            let me = self.at.me as u16;
            // elsewhere it reads on loan, or a sibling reads for it
            let is_here = |shard: &Shard, slot| {
                (own || shard.view.local_owner(slot) == Some(me)) && !shard.is_lent(slot)
            };
            self.remember(self.reader(client), db, spec, args, is_here);
        }
    }

    /// A client of ours, as one that has read a key.
    pub(super) fn reader(&self, client: u32) -> ClientRef {
        let generation = self.clients.peek(client).map_or(0, |session| session.generation);
        ClientRef { shard: self.at.me as u16, client, generation, round: 0 }
    }

    /// A transaction of a client of ours has read what is here, or is here for it.
    pub(super) fn note_read_here(&mut self, client: u32, spec: &Spec, args: Args<'_>) {
        let Some(session) = self.clients.peek(client) else { return };
        let db = session.caller.db;
        if session.tracking.as_ref().is_some_and(|tracking| tracking.remembers()) {
            self.remember(self.reader(client), db, spec, args, |_, _| true);
        }
    }

    /// A client has read what is here, or is here for it: a sibling's, or one of ours on loan.
    #[cold]
    pub(super) fn note_read_for(&mut self, who: ClientRef, db: usize, spec: &Spec, args: Args<'_>) {
        self.remember(who, db, spec, args, |_, _| true);
    }

    fn remember(
        &mut self,
        who: ClientRef,
        db: usize,
        spec: &Spec,
        args: Args<'_>,
        is_here: impl Fn(&Shard, Slot) -> bool,
    ) {
        // what a script has read is remembered when it reads
        let reads = spec.has(flag::READONLY) && !matches!(spec.run, Run::Above(Verb::Script(_)));
        if reads && !spec.has(flag::PUBSUB) {
            self.remember_keys(who, db, spec, args, is_here);
        }
    }

    /// A script of this client has read something: as with Redis, all keys that it was given count.
    pub(super) fn note_script_reads(&mut self, who: ClientRef, db: usize, spec: &Spec, args: Args<'_>) {
        self.remember_keys(who, db, spec, args, |_, _| true);
    }

    /// Whether a client of ours keeps copies of what it reads now.
    pub(super) fn keeps_reads(&self, client: u32) -> bool {
        let session = self.clients.peek(client);
        session.is_some_and(|s| s.tracking.as_ref().is_some_and(|tracking| tracking.remembers()))
    }

    fn remember_keys(
        &mut self,
        who: ClientRef,
        db: usize,
        spec: &Spec,
        args: Args<'_>,
        is_here: impl Fn(&Shard, Slot) -> bool,
    ) {
        for k in table::keys_of(spec, args) {
            let key = self.ks.hasher().key(args.at(k.index));
            if is_here(self, key.slot) {
                self.ks.db_mut(db).track(&key, who);
            }
        }
        self.note_interest();
        self.trim_remembered();
    }

    /// `tracking-table-max-keys`, each shard its share: what is remembered beyond it counts as changed. A step of
    /// it: the rest comes with the ticks.
    fn trim_remembered(&mut self) {
        let most = (self.conf.tracking_table_max_keys as usize).div_ceil(self.at.shards);
        for _ in 0..TRACKING_TRIM_STEP {
            if most == 0 || self.ks.iter().map(|db| db.tracked().0).sum::<usize>() <= most {
                break;
            }
            let found = self.ks.iter().enumerate().find_map(|(n, db)| Some((n, db.any_tracked()?)));
            let Some((db, (slot, key))) = found else { break };
            let readers = self.ks.db_mut(db).take_readers(slot, &key);
            readers.into_iter().for_each(|who| self.tell_stale(who, &key, false));
        }
        self.note_tracked();
    }

    fn note_tracked(&self) {
        let (keys, items) = self.ks.iter().fold((0, 0), |(keys, items), db| {
            let (k, i) = db.tracked();
            (keys + k, items + i)
        });
        self.metrics.tracked_keys.set(keys as u64);
        self.metrics.tracked_items.set(items as u64);
    }

    /// More may be remembered than is allowed by now; and where nobody has anything here any more, what expires
    /// need not be noted for it.
    pub(super) fn tick_trackers(&mut self) {
        if !self.trackers.remembers {
            return;
        }
        self.trim_remembered();
        if !self.has_readers() {
            self.trackers.remembers = false;
            self.configure_events();
        }
    }

    fn has_readers(&self) -> bool {
        self.ks.iter().any(|db| db.tracked().0 > 0)
    }

    /// Slots have come, or somebody has read a key: what expires is to be noted, too.
    pub(super) fn note_readers(&mut self) {
        if !self.trackers.remembers && self.has_readers() {
            self.trackers.remembers = true;
            self.track_expired();
        }
    }

    // ---- telling

    /// A key has changed, by a client or by itself.
    pub(super) fn invalidate(&mut self, db: usize, key: &[u8], author: Option<ClientRef>) {
        if !self.trackers.want_any() {
            return;
        }
        if self.trackers.broadcasts {
            self.trackers.changed.insert(key.into(), author);
        }
        let readers = self.ks.db_mut(db).take_readers(key_slot(key), key);
        if readers.is_empty() {
            return;
        }
        for who in readers {
            let itself = author.is_some_and(|a| a.shard == who.shard && is_same(a, who));
            self.tell_stale(who, key, itself);
        }
        self.note_tracked();
    }

    /// A slot has left the host: copies of its keys count no more.
    pub(super) fn invalidate_slot(&mut self, slot: Slot) {
        for (key, readers) in self.ks.db_mut(0).take_all_readers(Some(slot)) {
            readers.into_iter().for_each(|who| self.tell_stale(who, &key, false));
        }
    }

    /// All keys of a database, or of all, are gone. A flush by the front door reaches all shards: each tells
    /// its own clients. In a transaction all was borrowed for it: siblings have to tell theirs. Of another one,
    /// their clients at the front door are told, too.
    pub(super) fn invalidate_all(&mut self, db: Option<usize>, author: Option<ClientRef>) {
        let dbs = db.map_or(0..self.ks.databases(), |db| db..db + 1);
        dbs.for_each(|db| drop(self.ks.db_mut(db).take_all_readers(None)));
        self.note_tracked();
        self.tell_flushed(author, false);
        let me = self.at.me as u16;
        let by_front_door = author.is_some_and(|a| {
            a.shard != me || self.clients.peek(a.client).is_some_and(|session| session.door == Door::Front)
        });
        let borrowed = self.fx.apart;
        if borrowed || !by_front_door {
            let (me, shards) = (self.at.me, self.at.shards);
            (0..shards)
                .filter(|to| *to != me)
                .for_each(|to| self.send_heard(to, Heard::Flushed { borrowed }));
        }
    }

    /// Tells our clients that all keys are gone; of a sibling's keys, only those at the front door.
    pub(super) fn tell_flushed(&mut self, author: Option<ClientRef>, of_sibling: bool) {
        let author = author.filter(|author| self.trackers.defers && author.shard == self.at.me as u16);
        for client in self.trackers.clients.clone() {
            if of_sibling && self.clients.peek(client).is_some_and(|s| s.door == Door::Own) {
                continue;
            }
            match author.is_some_and(|author| author.client == client) {
                true => self.trackers.pending.push(None),
                false => self.send_invalidation(client, None),
            }
        }
    }

    /// Tells a client that its copy of a key is out of date; `itself`: it has changed it.
    pub(super) fn tell_stale(&mut self, who: ClientRef, key: &[u8], itself: bool) {
        if who.shard as usize != self.at.me {
            return self.send_heard(who.shard as usize, Heard::Stale { who, key: key.into(), itself });
        }
        let Some(session) = self.clients.get_same(who.client, who.generation) else { return };
        let Some(tracking) = &session.tracking else { return };
        if tracking.broadcast || tracking.no_loop && itself {
            return;
        }
        match itself && self.trackers.defers {
            true => self.trackers.pending.push(Some(key.into())),
            false => self.send_invalidation(who.client, Some(&[key])),
        }
    }

    /// A client's reply is there: it may be told what it has done, and CLIENT CACHING was for nothing more.
    pub(super) fn tell_pending(&mut self, client: u32) {
        if let Some(tracking) = self.clients.get(client).and_then(|session| session.tracking.as_mut()) {
            tracking.caching = false;
        }
        for key in std::mem::take(&mut self.trackers.pending) {
            match key {
                Some(key) => self.send_invalidation(client, Some(&[&key[..]])),
                None => self.send_invalidation(client, None),
            }
        }
    }

    /// The end of a turn: those who want to hear of prefixes are told what has changed.
    pub(super) fn tell_changes(&mut self) {
        if self.trackers.changed.is_empty() {
            return;
        }
        let changes = Arc::new(std::mem::take(&mut self.trackers.changed));
        let (me, shards) = (self.at.me, self.host.registers.audience.prefixes.shards());
        for to in shards.into_iter().filter(|to| *to != me) {
            self.send_heard(to, Heard::Changed(changes.clone()));
        }
        self.tell_changed(&changes, false);
    }

    /// As [`Shard::tell_changes`], to our clients; of a sibling's keys, only to those at the front door.
    pub(super) fn tell_changed(&mut self, changes: &Changes, of_sibling: bool) {
        let me = self.at.me as u16;
        for client in self.trackers.clients.clone() {
            let Some(session) = self.clients.peek(client) else { continue };
            let Some(tracking) = session.tracking.as_ref().filter(|tracking| tracking.broadcast) else {
                continue;
            };
            if of_sibling && session.door == Door::Own {
                continue;
            }
            let reader = ClientRef { shard: me, client, generation: session.generation, round: 0 };
            let own =
                |author: &Option<ClientRef>| author.is_some_and(|a| a.shard == me && is_same(a, reader));
            let of_prefix = |prefix: &Name| -> Vec<&[u8]> {
                let from = changes.range::<[u8], _>((Bound::Included(&prefix[..]), Bound::Unbounded));
                let all = from.take_while(|(key, _)| key.starts_with(prefix));
                all.filter(|(_, author)| !(tracking.no_loop && own(author))).map(|(key, _)| &**key).collect()
            };
            let told: Vec<Vec<&[u8]>> = tracking.prefixes.iter().map(of_prefix).collect();
            for keys in told.iter().filter(|keys| !keys.is_empty()) {
                self.send_invalidation(client, Some(keys));
            }
        }
    }

    /// Tells a client, or whom it has named in its place, that its copies of these keys are out of date, or
    /// all of its copies.
    fn send_invalidation(&mut self, client: u32, keys: Option<&[&[u8]]>) {
        let registers = &self.host.registers;
        let Some(session) = self.clients.get(client) else { return };
        let resp3 = session.caller.resp3;
        let Some(tracking) = &mut session.tracking else { return };
        let mut body = Vec::new();
        let mut out = Reply::new(&mut body, resp3);
        match keys {
            Some(keys) => {
                out.array(keys.len());
                keys.iter().for_each(|key| out.bulk(key));
            }
            None => out.null(),
        }
        let id = tracking.redirect;
        if id == 0 {
            return self.give_invalidation(client, &body, false);
        }
        match registers.roll.find(id) {
            Some((shard, target)) if shard == self.at.me => self.give_invalidation(target, &body, true),
            Some((shard, _)) => self.send_heard(shard, Heard::Invalidation { id, body: body.into() }),
            None => {
                tracking.broken = true;
                if resp3 {
                    let mut frame = Vec::new();
                    let mut out = Reply::new(&mut frame, true);
                    out.push(2);
                    out.bulk(b"tracking-redir-broken");
                    out.int(id as i64);
                    self.push(client, &frame);
                }
            }
        }
    }

    /// A sibling's client has named one of ours in its place.
    pub(super) fn take_invalidation(&mut self, id: u64, body: &[u8]) {
        if let Some((shard, client)) = self.host.registers.roll.find(id)
            && shard == self.at.me
        {
            self.give_invalidation(client, body, true);
        }
    }

    /// In RESP2 there is no place for it among replies: only who listens, for somebody else, is told.
    fn give_invalidation(&mut self, client: u32, body: &[u8], in_place: bool) {
        let Some(Session { caller, .. }) = self.clients.peek(client) else { return };
        let mut frame = Vec::new();
        let mut out = Reply::new(&mut frame, true);
        if caller.resp3 {
            out.push(2);
            out.bulk(b"invalidate");
        } else if in_place && caller.subscribed {
            out.push(3);
            out.bulk(b"message");
            out.bulk(CHANNEL);
        } else {
            return;
        }
        out.raw(body);
        self.push(client, &frame);
    }
}

/// Whether both are one client of one shard.
fn is_same(a: ClientRef, b: ClientRef) -> bool {
    (a.client, a.generation) == (b.client, b.generation)
}
