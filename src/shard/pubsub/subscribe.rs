//! Who listens: SUBSCRIBE and its like, what ends it, and slots that leave with their channels.

use crate::command::error::{Done, ErrReply};
use crate::command::host::{Kind, Name};
use crate::resp::{Args, Reply};
use crate::session::{Door, Session};
use crate::shard::Shard;
use crate::slot::{Slot, key_slot};
use std::collections::BTreeSet;

const NOT_IN_EXEC: ErrReply = ErrReply::new("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");

/// The word for it in a client's push: that it listens, or no more.
fn word(kind: Kind, begins: bool) -> &'static [u8] {
    match (kind, begins) {
        (Kind::Channel, true) => b"subscribe",
        (Kind::Channel, false) => b"unsubscribe",
        (Kind::Pattern, true) => b"psubscribe",
        (Kind::Pattern, false) => b"punsubscribe",
        (Kind::Sharded | Kind::Own, true) => b"ssubscribe",
        (Kind::Sharded | Kind::Own, false) => b"sunsubscribe",
    }
}

/// Tells a client that it listens to `name`, or no more (no name: it never did), and to how many.
fn confirm(session: &mut Session, kind: Kind, begins: bool, name: Option<&[u8]>) {
    let mut frame = Vec::new();
    let mut out = Reply::new(&mut frame, session.caller.resp3);
    out.push(3);
    out.bulk(word(kind, begins));
    out.bulk_or_null(name);
    out.int(session.subs.as_ref().map_or(0, |subs| subs.counted_with(kind)) as i64);
    session.push(&frame);
}

impl Shard {
    /// What the command's kind means to this client: the shard channels of a node are for its own port.
    fn kind_for(&self, session: &Session, kind: Kind) -> Kind {
        match kind {
            Kind::Sharded if self.at.cluster && session.door == Door::Own => Kind::Own,
            kind => kind,
        }
    }

    /// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE
    pub(in crate::shard) fn subscribe(&mut self, client: u32, kind: Kind, args: Args<'_>) -> Done {
        // the others were allowed there before there were rules
        if kind == Kind::Sharded && self.in_exec {
            return Err(NOT_IN_EXEC);
        }
        self.discards(client);
        let session = self.clients.peek(client).expect("a verb runs for a client that is there");
        let kind = self.kind_for(session, kind);
        for bytes in args.from(1).iter() {
            let listeners = &mut self.pubsub.listeners[kind as usize];
            let known = listeners.get_key_value(bytes).map(|(name, _)| name.clone());
            let name: Name = known.unwrap_or_else(|| bytes.into());
            let Some(session) = self.clients.get(client) else { break };
            if session.subs.get_or_insert_default().add(kind, name.clone()) {
                self.host.registers.audience.join(kind, &name, self.at.me);
                listeners.entry(name).or_default().insert(client);
            }
            confirm(session, kind, true, Some(bytes));
        }
        self.settle_listener(client);
        Ok(())
    }

    /// UNSUBSCRIBE, PUNSUBSCRIBE, SUNSUBSCRIBE: from these, or from all.
    pub(in crate::shard) fn unsubscribe(&mut self, client: u32, kind: Kind, args: Args<'_>) -> Done {
        self.discards(client);
        let session = self.clients.get(client).expect("a verb runs for a client that is there");
        let names = match args.len() {
            1 => session.subs.as_ref().map_or(Vec::new(), |subs| subs.names(kind)),
            _ => args.from(1).iter().map(Name::from).collect(),
        };
        if names.is_empty() {
            confirm(session, kind, false, None);
        }
        for name in names {
            self.stop_listening(client, kind, &name);
            let Some(session) = self.clients.get(client) else { break };
            confirm(session, kind, false, Some(&name));
        }
        self.settle_listener(client);
        Ok(())
    }

    fn settle_listener(&mut self, client: u32) {
        if let Some(session) = self.clients.get(client) {
            session.settle_mode();
            Shard::list(&mut self.news, client, session);
        }
    }

    fn stop_listening(&mut self, client: u32, kind: Kind, name: &[u8]) {
        let Some(session) = self.clients.peek(client) else { return };
        let kind = self.kind_for(session, kind);
        let Some(subs) = self.clients.get(client).and_then(|s| s.subs.as_mut()) else { return };
        if !subs.remove(kind, name) {
            return;
        }
        let listeners = &mut self.pubsub.listeners[kind as usize];
        if let Some(clients) = listeners.get_mut(name) {
            clients.remove(&client);
            if clients.is_empty() {
                listeners.remove(name);
            }
        }
        self.host.registers.audience.leave(kind, name, self.at.me);
    }

    /// A client goes, or begins anew: it listens to nothing, and is told nothing.
    pub(in crate::shard) fn stop_listening_at_all(&mut self, client: u32) {
        let Some(subs) = self.clients.get(client).and_then(|s| s.subs.as_deref()) else { return };
        let all = [Kind::Channel, Kind::Pattern, Kind::Sharded].map(|kind| (kind, subs.names(kind)));
        for (kind, names) in all {
            names.iter().for_each(|name| self.stop_listening(client, kind, name));
        }
        self.settle_listener(client);
    }

    /// Slots have changed hands: who listens to shard channels that are no longer served here is told so.
    pub(in crate::shard) fn drop_lost_channels(&mut self) {
        for kind in [Kind::Own, Kind::Sharded] {
            let names = self.pubsub.listeners[kind as usize].keys();
            let lost: Vec<Name> = names.filter(|name| !self.serves(kind, key_slot(name))).cloned().collect();
            for name in lost {
                let clients = self.pubsub.listeners[kind as usize].get(&name);
                let clients: BTreeSet<u32> = clients.cloned().unwrap_or_default();
                for client in clients {
                    self.stop_listening(client, kind, &name);
                    if let Some(session) = self.clients.get(client) {
                        confirm(session, kind, false, Some(&name));
                    }
                    self.settle_listener(client);
                }
            }
        }
    }

    /// Whether shard channels of a slot are served where clients of this shard came in.
    fn serves(&self, kind: Kind, slot: Slot) -> bool {
        let owner = self.view.owner_index(slot);
        match kind {
            _ if !self.at.cluster => true,
            Kind::Own => owner == self.view.local_index(self.at.me) || self.at.copies == Some(owner),
            _ => self.view.local_owner(slot).is_some(),
        }
    }
}
