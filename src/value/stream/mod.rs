//! Streams: an append-only log of entries, each a list of fields and values, and groups of readers.
//!
//! Entries stand in listpacks of Redis's own format ([`node`]), so that payloads and files hold nodes as
//! they are; [`Log`] keeps these by the id that they begin with. A [`Group`] knows what its consumers
//! have been given and not yet acknowledged. A stream without entries is still there.

mod group;
mod id;
mod log;
mod node;
mod nodes;
mod radix;
#[cfg(test)]
mod tests;

pub use group::{Consumer, Group, Member, Name, Pending};
pub use id::Id;
pub use log::{Entry, Keep, Log, Range};
pub use node::{Malformed, Pairs, Way};

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use crate::value::tree_size;

#[derive(Clone, Default)]
pub struct Stream {
    pub log: Log,
    groups: BTreeMap<Name, Group>,
}

impl Stream {
    pub fn new() -> Stream {
        Stream::default()
    }

    pub fn encoding(&self) -> &'static str {
        "stream"
    }

    /// Nodes, and what the first group has to acknowledge for each group: as Redis guesses.
    pub fn free_effort(&self) -> usize {
        let each = self.groups.values().next().map_or(0, |group| 1 + group.pending());
        self.log.nodes() + self.groups.len() * each
    }

    /// Looks at each group.
    pub fn mem(&self) -> usize {
        let names: usize = self.groups.keys().map(|name| group::name_size(name)).sum();
        let groups: usize = self.groups.values().map(Group::mem).sum();
        size_of::<Stream>() + self.log.mem() + tree_size::<(Name, Group)>(self.groups.len()) + names + groups
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The groups, by name.
    pub fn iter_groups(&self) -> impl Iterator<Item = (&Name, &Group)> {
        self.groups.iter()
    }

    /// The first group whose name comes behind this one.
    pub fn group_after(&self, name: Option<&Name>) -> Option<(&Name, &Group)> {
        match name {
            Some(name) => self.groups.range::<Name, _>((Excluded(name), Unbounded)).next(),
            None => self.groups.first_key_value(),
        }
    }

    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// A group for change, beside the entries that it reads.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<(&Log, &mut Group)> {
        let group = self.groups.get_mut(name)?;
        Some((&self.log, group))
    }

    /// Adds a group; false if there is one of that name.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.groups.insert(name.into(), group);
        true
    }

    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        self.groups.remove(name).is_some()
    }
}
