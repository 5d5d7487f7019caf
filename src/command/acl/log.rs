//! ACL LOG: what was denied of late.

use std::collections::VecDeque;

/// Denials of the same sort within so many milliseconds are one entry, where it is among the latest.
const TOGETHER_MS: u64 = 60_000;
const LATEST: usize = 10;

/// Why something was denied. Of several reasons the last in this order is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Command,
    Key,
    Auth,
    Channel,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Auth => "auth",
            Reason::Channel => "channel",
        }
    }

    /// Its name in INFO.
    pub fn counted(self) -> &'static str {
        match self {
            Reason::Command => "acl_access_denied_cmd",
            Reason::Key => "acl_access_denied_key",
            Reason::Auth => "acl_access_denied_auth",
            Reason::Channel => "acl_access_denied_channel",
        }
    }
}

/// What a command was part of when it was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    Toplevel,
    /// It was to be queued by MULTI.
    Queueing,
    /// It was queued, and EXEC came to it.
    Exec,
    Script,
}

impl Context {
    pub fn name(self) -> &'static str {
        match self {
            Context::Toplevel => "toplevel",
            Context::Queueing | Context::Exec => "multi",
            Context::Script => "lua",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How often it has happened.
    pub count: u64,
    pub reason: Reason,
    pub context: Context,
    /// The command, the key, or the channel; of AUTH and HELLO, as the client wrote them.
    pub object: Vec<u8>,
    pub user: Vec<u8>,
    /// When it happened last, in ms.
    pub at_ms: u64,
    /// The client that did it last, as CLIENT LIST describes it.
    pub client: Vec<u8>,
}

impl Entry {
    fn is_like(&self, other: &Entry) -> bool {
        let kind = |e: &Entry| (e.reason, e.context.name());
        kind(self) == kind(other)
            && self.at_ms.abs_diff(other.at_ms) <= TOGETHER_MS
            && self.object == other.object
            && self.user == other.user
    }
}

/// The latest first.
#[derive(Debug, Default)]
pub struct Log(VecDeque<Entry>);

impl Log {
    /// Takes in what was denied, and forgets the oldest beyond `max`.
    pub fn note(&mut self, new: Entry, max: usize) {
        let known = self.0.iter().take(LATEST).position(|entry| entry.is_like(&new));
        match known.and_then(|at| self.0.remove(at)) {
            Some(old) => self.0.push_front(Entry { count: old.count + 1, ..new }),
            None => {
                self.0.push_front(new);
                self.0.truncate(max);
            }
        }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.0.iter()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_within_a_minute_is_one_entry() {
        let at = |object: &str, at_ms| Entry {
            count: 1,
            reason: Reason::Key,
            context: Context::Toplevel,
            object: object.into(),
            user: b"u".to_vec(),
            at_ms,
            client: format!("at {at_ms}").into_bytes(),
        };
        let mut log = Log::default();
        let shown = |log: &Log| -> Vec<(String, u64)> {
            log.iter().map(|e| (String::from_utf8_lossy(&e.object).into_owned(), e.count)).collect()
        };
        for (object, ms) in [("a", 0), ("b", 5), ("a", 60_000)] {
            log.note(at(object, ms), 3);
        }
        assert_eq!(shown(&log), [("a".into(), 2), ("b".into(), 1)]);
        assert_eq!(
            (log.iter().next().unwrap().at_ms, &log.iter().next().unwrap().client[..]),
            (60_000, &b"at 60000"[..])
        );
        // a millisecond too late, another reason, another user
        log.note(at("a", 120_001), 9);
        log.note(Entry { reason: Reason::Channel, ..at("a", 120_001) }, 9);
        log.note(Entry { user: b"v".to_vec(), ..at("a", 120_001) }, 9);
        assert_eq!(log.iter().len(), 5);
        // EXEC's and MULTI's are alike; a bound counts when an entry comes
        let queueing = Entry { context: Context::Queueing, ..at("q", 1) };
        log.note(queueing.clone(), 9);
        log.note(Entry { context: Context::Exec, ..queueing.clone() }, 0);
        assert_eq!((log.iter().len(), log.iter().next().unwrap().count), (6, 2));
        log.note(at("z", 1), 2);
        assert_eq!(shown(&log), [("z".into(), 1), ("q".into(), 2)]);
        // only the latest are looked through
        (0..LATEST).for_each(|n| log.note(at(&n.to_string(), 1), 99));
        log.note(queueing, 99);
        assert_eq!(shown(&log)[0], ("q".into(), 1));
    }
}
