//! A stream's entries, and what it remembers of those that are gone.

use super::id::Id;
use super::node::{self, Found, Malformed, Pairs, View, Way};
use super::nodes::Nodes;
use super::radix;
use crate::value::Limits;
use crate::value::listpack::{Listpack, MAX_BYTES};

/// The entries, oldest first, in nodes of as many as `stream-node-max-entries` and as many bytes as
/// `stream-node-max-bytes` allow.
#[derive(Clone, Default)]
pub struct Log {
    nodes: Nodes,
    pub(super) len: u64,
    /// What was added last, or what was set since.
    pub last_id: Id,
    /// The oldest entry; zero without any.
    pub first_id: Id,
    /// The highest id that was ever deleted one by one.
    pub max_deleted_id: Id,
    /// Entries that were ever added.
    pub added: u64,
}

/// What a trimmed log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many of the newest.
    Newest(u64),
    /// Those with this id or a later one.
    From(Id),
}

/// One entry, in place.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub id: Id,
    found: Found<'a>,
}

impl<'a> Entry<'a> {
    pub fn pairs(&self) -> Pairs<'a> {
        self.found.pairs()
    }
}

impl Log {
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Nodes of the radix tree in which Redis would keep these.
    pub fn radix_nodes(&self) -> usize {
        radix::nodes(self.nodes.ids())
    }

    pub(super) fn mem(&self) -> usize {
        self.nodes.mem()
    }

    /// The node behind `id`, or the first: the id that it begins with, and its listpack.
    pub fn node_after(&self, id: Option<Id>) -> Option<(Id, &Listpack)> {
        self.nodes.after(id).map(|node| (node.id, node.pack))
    }

    // ---- looking

    /// The entries from `start` to `end`, both included, that way.
    pub fn range(&self, start: Id, end: Id, way: Way) -> Range<'_> {
        Range { log: self, bounds: (start, end), way, at: At::Start }
    }

    pub fn iter(&self) -> Range<'_> {
        self.range(Id::ZERO, Id::MAX, Way::Forward)
    }

    /// The entries behind `id`.
    pub fn behind(&self, id: Id) -> Range<'_> {
        match id.next() {
            Some(start) => self.range(start, Id::MAX, Way::Forward),
            None => Range { log: self, bounds: (id, id), way: Way::Forward, at: At::End },
        }
    }

    pub fn find(&self, id: Id) -> Option<Entry<'_>> {
        self.range(id, id, Way::Forward).next()
    }

    /// The newest entry's id.
    pub fn newest(&self) -> Option<Id> {
        self.range(Id::ZERO, Id::MAX, Way::Backward).next().map(|entry| entry.id)
    }

    /// The oldest entry's id, counting those that are deleted but still in their nodes.
    pub fn oldest_place(&self) -> Option<Id> {
        let node = self.nodes.edge(Way::Forward)?;
        node.edge(Way::Forward).map(|at| node.entry(at).id)
    }

    // ---- changes

    /// Adds an entry. Its id must be higher than [`Log::last_id`], and its bytes no more than
    /// [`MAX_BYTES`].
    pub fn append<'p>(
        &mut self,
        id: Id,
        pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone,
        limits: &Limits,
    ) {
        debug_assert!(id > self.last_id, "{id} after {}", self.last_id);
        let bytes: usize = pairs.clone().map(|(field, value)| field.len() + value.len()).sum();
        let tail = self.nodes.last().map(|node| (node.id, is_full(node.pack, bytes, limits)));
        let place = match tail {
            Some((place, false)) => place,
            full => {
                if let Some((place, _)) = full {
                    self.nodes.change(place, Listpack::shrink_to_fit);
                }
                self.nodes.insert(id, node::new(pairs.clone()));
                id
            }
        };
        self.nodes.change(place, |pack| node::append(pack, place, id, pairs));
        self.len += 1;
        self.added = self.added.wrapping_add(1);
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
    }

    /// Deletes an entry; whether it was there.
    pub fn delete(&mut self, id: Id) -> bool {
        let Some(entry) = self.find(id) else { return false };
        let (place, at) = (entry.found.node.id, entry.found.at);
        if node::counts(entry.found.node.pack).0 == 1 {
            self.nodes.remove(place);
        } else {
            self.nodes.change(place, |pack| node::delete(pack, at));
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        self.note_first(id == self.first_id);
        true
    }

    /// Removes the oldest entries: whole nodes, and unless `roughly` is said also some of a node; all
    /// that is in vain, or no more than `most`. How many went.
    pub fn trim(&mut self, keep: Keep, roughly: bool, most: Option<u64>) -> u64 {
        let mut gone = 0;
        while let Some(node) = self.nodes.edge(Way::Forward) {
            let (live, _) = node::counts(node.pack);
            let enough = matches!(keep, Keep::Newest(n) if self.len <= n);
            if enough || most.is_some_and(|most| gone + live > most) {
                break;
            }
            let whole = match keep {
                Keep::Newest(n) => self.len - live >= n,
                Keep::From(id) => node.last_id() < id,
            };
            let place = node.id;
            if whole {
                self.nodes.remove(place);
                self.len -= live;
                gone += live;
                continue;
            }
            if !roughly {
                gone += self.trim_node(place, keep);
            }
            break;
        }
        self.note_first(gone > 0);
        gone
    }

    fn trim_node(&mut self, place: Id, keep: Keep) -> u64 {
        let len = self.len;
        let doomed = |id, gone| match keep {
            Keep::Newest(n) => len - gone > n,
            Keep::From(first) => id < first,
        };
        let gone = self.nodes.change(place, |pack| node::delete_while(pack, place, doomed)).unwrap_or(0);
        self.len -= gone;
        gone
    }

    /// After entries went: the first may be another.
    fn note_first(&mut self, perhaps: bool) {
        if self.len == 0 {
            self.first_id = Id::ZERO;
        } else if perhaps {
            self.first_id = self.iter().next().map_or(Id::MAX, |entry| entry.id);
        }
    }

    // ---- counting

    /// Whether an entry behind `from`, or that one, was deleted, as far as anybody can tell.
    pub fn has_holes_from(&self, from: Id) -> bool {
        let deleted = self.max_deleted_id;
        self.len > 0 && deleted != Id::ZERO && self.first_id <= deleted && from <= deleted
    }

    /// How many entries were ever added up to the one with this id, where that can be told.
    pub fn added_until(&self, id: Id) -> Option<i64> {
        let (added, len) = (self.added as i64, self.len as i64);
        if added == 0 {
            return Some(0);
        }
        if id == self.last_id || self.len == 0 && id < self.last_id {
            return Some(added);
        }
        let whole = self.max_deleted_id == Id::ZERO || self.max_deleted_id < self.first_id;
        match id.cmp(&self.first_id) {
            _ if id > self.last_id || !whole => None,
            std::cmp::Ordering::Less => Some(added.wrapping_sub(len)),
            std::cmp::Ordering::Equal => Some(added.wrapping_sub(len).wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    // ---- taking over

    /// Adds a node as a payload has it. Where one begins with the same id, that is an error.
    pub fn adopt(&mut self, id: Id, pack: Listpack) -> Result<(), Malformed> {
        node::check(&pack)?;
        if self.nodes.around(id).is_some_and(|node| node.id == id) {
            return Err(Malformed);
        }
        self.len += node::counts(&pack).0;
        self.nodes.insert(id, pack);
        Ok(())
    }

    /// After all nodes: what older payloads don't tell.
    pub fn note_old(&mut self) {
        self.added = self.len;
        self.note_first(true);
    }
}

/// Whether a node is too full for an entry of so many bytes.
fn is_full(pack: &Listpack, bytes: usize, limits: &Limits) -> bool {
    let most = match limits.stream_node_max_bytes {
        0 => MAX_BYTES,
        n => n.min(MAX_BYTES),
    };
    let (live, deleted) = node::counts(pack);
    let entries = limits.stream_node_max_entries;
    pack.byte_len() + bytes >= most || entries > 0 && live + deleted >= entries
}

/// Where a walk stands.
#[derive(Clone, Copy)]
enum At<'a> {
    Start,
    /// At this entry, which was shown.
    Entry(Found<'a>),
    /// All of this node is done.
    Behind(Id),
    End,
}

/// Entries of a part of a log.
#[derive(Clone)]
pub struct Range<'a> {
    log: &'a Log,
    bounds: (Id, Id),
    way: Way,
    at: At<'a>,
}

impl<'a> Range<'a> {
    /// The next entry, whether it lives or not, and wherever it is.
    fn step(&mut self) -> Option<Found<'a>> {
        let (log, way) = (self.log, self.way);
        let mut node = match self.at {
            At::End => return None,
            At::Start => match way {
                Way::Forward => log.nodes.around(self.bounds.0),
                Way::Backward => log.nodes.around(self.bounds.1),
            },
            At::Entry(found) => match found.neighbour(way) {
                Some(at) => return Some(found.node.entry(at)),
                None => log.nodes.neighbour(found.node.id, way),
            },
            At::Behind(id) => log.nodes.neighbour(id, way),
        };
        while let Some(View { id, .. }) = node {
            if let Some(at) = node.and_then(|node| node.edge(way)) {
                return node.map(|node| node.entry(at));
            }
            self.at = At::Behind(id);
            node = log.nodes.neighbour(id, way);
        }
        None
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (start, end) = self.bounds;
        while let Some(found) = self.step() {
            self.at = At::Entry(found);
            if !found.lives() {
                continue;
            }
            let (early, late) = match self.way {
                Way::Forward => (found.id < start, found.id > end),
                Way::Backward => (found.id > end, found.id < start),
            };
            if late {
                break;
            }
            if !early {
                return Some(Entry { id: found.id, found });
            }
        }
        self.at = At::End;
        None
    }
}
