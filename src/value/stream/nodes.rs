//! A stream's nodes, ordered by the ids that they begin with.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::id::Id;
use super::node::{View, Way};
use crate::value::listpack::Listpack;
use crate::value::{alloc_size, tree_size};

/// The last node stands apart: it is the only one of most streams, and the one that grows.
#[derive(Default)]
pub(super) struct Nodes {
    /// Ids of these are lower than the last one's.
    older: BTreeMap<Id, Listpack>,
    last: Option<(Id, Listpack)>,
    /// What the listpacks take.
    heap: usize,
}

fn size(pack: &Listpack) -> usize {
    alloc_size(pack.mem())
}

fn view<'a>((id, pack): (&Id, &'a Listpack)) -> View<'a> {
    View { id: *id, pack }
}

impl Clone for Nodes {
    /// Copies have no spare room.
    fn clone(&self) -> Nodes {
        let (older, last) = (self.older.clone(), self.last.clone());
        let packs = older.values().chain(last.as_ref().map(|(_, pack)| pack));
        let heap = packs.map(size).sum();
        Nodes { older, last, heap }
    }
}

impl Nodes {
    pub fn len(&self) -> usize {
        self.older.len() + usize::from(self.last.is_some())
    }

    pub fn mem(&self) -> usize {
        self.heap + tree_size::<(Id, Listpack)>(self.older.len())
    }

    pub fn last(&self) -> Option<View<'_>> {
        self.last.as_ref().map(|(id, pack)| View { id: *id, pack })
    }

    fn first(&self) -> Option<View<'_>> {
        self.older.first_key_value().map(view).or(self.last())
    }

    pub fn edge(&self, way: Way) -> Option<View<'_>> {
        match way {
            Way::Forward => self.first(),
            Way::Backward => self.last(),
        }
    }

    /// The first node behind `id`; the very first, when that is `None`.
    pub fn after(&self, id: Option<Id>) -> Option<View<'_>> {
        let Some(id) = id else { return self.first() };
        let older = self.older.range((Excluded(id), Unbounded)).next().map(view);
        older.or_else(|| self.last().filter(|last| last.id > id))
    }

    /// The node that comes after the one that begins with `id`, going that way.
    pub fn neighbour(&self, id: Id, way: Way) -> Option<View<'_>> {
        match way {
            Way::Forward => self.after(Some(id)),
            Way::Backward => {
                let last = self.last().filter(|last| last.id < id);
                last.or_else(|| self.older.range(..id).next_back().map(view))
            }
        }
    }

    /// Where an entry with this id would be: the last node that begins no later, or else the first.
    pub fn around(&self, id: Id) -> Option<View<'_>> {
        let last = self.last().filter(|last| last.id <= id);
        last.or_else(|| self.older.range(..=id).next_back().map(view)).or_else(|| self.first())
    }

    /// Adds a node, in the place of one that begins with the same id.
    pub fn insert(&mut self, id: Id, pack: Listpack) {
        self.remove(id);
        self.heap += size(&pack);
        match self.last.as_ref().map(|last| last.0) {
            Some(last) if id < last => {
                self.older.insert(id, pack);
            }
            _ => {
                if let Some((id, pack)) = self.last.replace((id, pack)) {
                    self.older.insert(id, pack);
                }
            }
        }
    }

    pub fn remove(&mut self, id: Id) -> bool {
        let pack = match &self.last {
            Some(last) if last.0 == id => {
                let last = self.last.take();
                self.last = self.older.pop_last();
                last.map(|(_, pack)| pack)
            }
            _ => self.older.remove(&id),
        };
        self.heap -= pack.as_ref().map_or(0, size);
        pack.is_some()
    }

    /// Changes the node that begins with `id`, if there is one.
    pub fn change<R>(&mut self, id: Id, f: impl FnOnce(&mut Listpack) -> R) -> Option<R> {
        let pack = match &mut self.last {
            Some((last, pack)) if *last == id => pack,
            _ => self.older.get_mut(&id)?,
        };
        self.heap -= size(pack);
        let out = f(pack);
        self.heap += size(pack);
        Some(out)
    }

    pub fn ids(&self) -> impl Iterator<Item = Id> {
        self.older.keys().copied().chain(self.last.as_ref().map(|last| last.0))
    }
}
