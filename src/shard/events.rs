//! Keyspace events: what commands, time and memory do to keys, published on channels of their own
//! (`notify-keyspace-events`).
//!
//! Commands leave their events in [`Effects`](crate::command::ctx::Effects) as long as anybody listens to any key;
//! what expires is noted by the store. Nobody else pays for it. Events are a node's own: no other host hears
//! of them, and of clients on siblings only those at the front door.

use super::Shard;
use crate::command::ctx::class;
use crate::config::types::NotifyFlags;

/// What is to be told of.
#[derive(Default)]
pub(super) struct Events {
    /// Classes, as `notify-keyspace-events` counts them; none when there is no channel to tell them on.
    classes: NotifyFlags,
    /// Keys that have expired, with their databases.
    gone: Vec<(usize, Box<[u8]>)>,
    channel: Vec<u8>,
}

impl Events {
    /// Takes up what the configuration says.
    fn configure(&mut self, flags: NotifyFlags) {
        let has_channel = flags.has(NotifyFlags::KEYSPACE) || flags.has(NotifyFlags::KEYEVENT);
        self.classes = if has_channel { flags } else { NotifyFlags::default() };
    }

    /// Whether commands have to tell what they do.
    pub(super) fn wants_any(&self) -> bool {
        self.classes != NotifyFlags::default()
    }

    fn wants(&self, class: u32) -> bool {
        u32::from(self.classes.0) & class != 0
    }

    /// A key has expired.
    pub(super) fn note_gone(&mut self, db: usize, name: Box<[u8]>) {
        self.gone.push((db, name));
    }

    pub(super) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }
}

impl Shard {
    /// Takes up which events are to be told.
    pub(super) fn configure_events(&mut self) {
        self.events.configure(self.conf.notify_keyspace_events);
        self.note_interest();
        self.track_expired();
    }

    /// Whether somebody besides those who take the stream is to hear which keys expire.
    pub(super) fn wants_expired(&self) -> bool {
        self.events.wants(class::EXPIRED) || self.trackers.want_any()
    }

    /// Tells of keys that have expired.
    pub(super) fn announce_expired(&mut self) {
        for (db, name) in std::mem::take(&mut self.events.gone) {
            self.announce(class::EXPIRED, "expired", &name, db);
            self.invalidate(db, &name, None);
        }
    }

    /// Publishes an event, if somebody wants events of its class.
    pub(super) fn announce(&mut self, class: u32, event: &str, key: &[u8], db: usize) {
        if !self.events.wants(class) || !self.host.registers.audience.is_there() {
            return;
        }
        let told = [
            (NotifyFlags::KEYSPACE, "keyspace", key, event.as_bytes()),
            (NotifyFlags::KEYEVENT, "keyevent", event.as_bytes(), key),
        ];
        let mut channel = std::mem::take(&mut self.events.channel);
        for (flag, kind, of, text) in told {
            if self.events.classes.has(flag) {
                channel.clear();
                channel.extend_from_slice(format!("__{kind}@{db}__:").as_bytes());
                channel.extend_from_slice(of);
                self.publish_event(&channel, text);
            }
        }
        self.events.channel = channel;
    }
}
