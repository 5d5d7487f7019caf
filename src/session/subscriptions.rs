//! What one client listens to.

use crate::command::host::{Kind, Name};
use std::collections::BTreeMap;

/// The names of one kind, each with its number in the order in which they came.
type Names = BTreeMap<Name, u64>;

#[derive(Debug, Default)]
pub struct Subscriptions {
    channels: Names,
    patterns: Names,
    /// Shard channels: of which of the two kinds they are, the client's door says.
    sharded: Names,
    next: u64,
}

impl Subscriptions {
    fn of(&self, kind: Kind) -> &Names {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Sharded | Kind::Own => &self.sharded,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Sharded | Kind::Own => &mut self.sharded,
        }
    }

    /// False when it was there.
    pub fn add(&mut self, kind: Kind, name: Name) -> bool {
        let number = self.next;
        self.next += 1;
        let names = self.of_mut(kind);
        if names.contains_key(&name) {
            return false;
        }
        names.insert(name, number);
        true
    }

    /// False when it was not there.
    pub fn remove(&mut self, kind: Kind, name: &[u8]) -> bool {
        self.of_mut(kind).remove(name).is_some()
    }

    pub fn len(&self, kind: Kind) -> usize {
        self.of(kind).len()
    }

    /// What a reply to a subscription counts: shard channels for themselves, all else together.
    pub fn counted_with(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
            Kind::Sharded | Kind::Own => self.sharded.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.sharded.is_empty()
    }

    /// In the order in which they came.
    pub fn names(&self, kind: Kind) -> Vec<Name> {
        let mut names: Vec<(u64, &Name)> =
            self.of(kind).iter().map(|(name, number)| (*number, name)).collect();
        names.sort_unstable_by_key(|(number, _)| *number);
        names.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// Memory that it takes; a name counts for each who listens to it.
    pub fn memory(&self) -> usize {
        let names = self.channels.keys().chain(self.patterns.keys()).chain(self.sharded.keys());
        size_of::<Subscriptions>() + names.map(|name| size_of::<(Name, u64)>() + name.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_in_order_and_counted() {
        let mut subs = Subscriptions::default();
        let name = |text: &str| -> Name { text.as_bytes().into() };
        for (kind, text, new) in [
            (Kind::Channel, "b", true),
            (Kind::Channel, "a", true),
            (Kind::Channel, "b", false),
            (Kind::Pattern, "b", true),
            (Kind::Own, "b", true),
        ] {
            assert_eq!(subs.add(kind, name(text)), new, "{kind:?} {text}");
        }
        assert_eq!(subs.names(Kind::Channel), [name("b"), name("a")]);
        assert_eq!((subs.counted_with(Kind::Pattern), subs.counted_with(Kind::Sharded)), (3, 1));
        let before = subs.memory();
        assert!(subs.remove(Kind::Channel, b"b") && !subs.remove(Kind::Channel, b"b"));
        assert!(subs.memory() < before);
        assert!(subs.remove(Kind::Channel, b"a") && subs.remove(Kind::Pattern, b"b"));
        assert!(!subs.is_empty() && subs.remove(Kind::Sharded, b"b") && subs.is_empty());
    }
}
