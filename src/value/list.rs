//! Lists: a deque of listpacks, which Redis calls quicklist.
//!
//! A node holds as much as `list-max-listpack-size` allows, so that no change moves more bytes than
//! that, and an index skips whole nodes. A list of one node, as most are, is just that listpack.
//! `list-compress-depth` is accepted elsewhere and means nothing here: nodes are never compressed,
//! as they aren't by default in Redis.

use std::collections::VecDeque;

use crate::value::listpack::{Elem, Listpack, Pos};
use crate::value::{Limits, alloc_size};

/// What `list-max-listpack-size` -1 to -5 stand for.
const NODE_BYTES: [usize; 5] = [4096, 8192, 16_384, 32_768, 65_536];
/// Where the limit counts elements, a node still ends here.
const COUNTED_NODE_BYTES: usize = 8192;
/// Most elements that a limit of elements can mean.
const MAX_FILL: i32 = (1 << 15) - 1;
/// Redis's estimate of an element's bytes beyond its text.
const ELEM_OVERHEAD: usize = 8;

/// How full a node may get.
#[derive(Clone, Copy)]
struct Fill {
    bytes: usize,
    count: usize,
}

impl Fill {
    fn of(limits: &Limits) -> Fill {
        match limits.list_max_listpack_size {
            n @ ..=-1 => Fill { bytes: NODE_BYTES[(-1 - n.max(-5)) as usize], count: usize::MAX },
            n => Fill { bytes: COUNTED_NODE_BYTES, count: n.min(MAX_FILL) as usize },
        }
    }

    /// Whether a listpack of so much may take `text` in.
    fn allows(self, bytes: usize, count: usize, text: &[u8]) -> bool {
        bytes + text.len() + ELEM_OVERHEAD <= self.bytes && count < self.count
    }
}

/// A list. It is empty only when new or when its last element was just removed; its key goes then.
#[derive(Clone)]
pub struct List {
    repr: Repr,
}

#[derive(Clone)]
enum Repr {
    One(Listpack),
    Many(Box<Quick>),
}

#[derive(Clone)]
struct Node {
    pack: Listpack,
    /// The listpack's length: at hand without touching its memory.
    count: usize,
}

impl Node {
    fn of(text: &[u8]) -> Node {
        let mut pack = Listpack::new();
        pack.push_back(text);
        Node { pack, count: 1 }
    }

    fn allows(&self, fill: Fill, text: &[u8]) -> bool {
        fill.allows(self.pack.byte_len(), self.count, text)
    }
}

impl From<Listpack> for Node {
    fn from(pack: Listpack) -> Node {
        Node { count: pack.len(), pack }
    }
}

/// No node is empty.
#[derive(Clone, Default)]
struct Quick {
    nodes: VecDeque<Node>,
    len: usize,
}

impl Default for List {
    fn default() -> Self {
        List::new()
    }
}

impl List {
    pub fn new() -> List {
        List { repr: Repr::One(Listpack::new()) }
    }

    /// Takes over the nodes of a payload as they are, but for empty ones.
    pub fn from_listpacks(packs: impl IntoIterator<Item = Listpack>) -> List {
        let nodes: VecDeque<Node> =
            packs.into_iter().filter(|pack| !pack.is_empty()).map(Node::from).collect();
        let len = nodes.iter().map(|node| node.count).sum();
        let mut list = List { repr: Repr::Many(Box::new(Quick { nodes, len })) };
        list.settle();
        list
    }

    /// The nodes, as DUMP and RDB carry them.
    pub fn listpacks(&self) -> impl DoubleEndedIterator<Item = &Listpack> {
        self.packs(0..self.nodes())
    }

    /// The node at this place among them.
    pub fn listpack(&self, node: usize) -> Option<&Listpack> {
        let there = node < self.nodes();
        there.then(|| self.packs(node..node + 1)).and_then(|mut packs| packs.next())
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        match &self.repr {
            Repr::One(_) => 1,
            Repr::Many(quick) => quick.nodes.len(),
        }
    }

    /// As OBJECT ENCODING calls it, which in 7.0 knows but one for lists.
    pub fn encoding(&self) -> &'static str {
        "quicklist"
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::One(pack) => pack.len(),
            Repr::Many(quick) => quick.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        match &self.repr {
            Repr::One(pack) => pack.is_empty(),
            Repr::Many(quick) => quick.len == 0,
        }
    }

    /// Bytes on the heap. Looks at each node once.
    pub fn mem(&self) -> usize {
        match &self.repr {
            Repr::One(pack) => alloc_size(pack.mem()),
            Repr::Many(quick) => {
                let deque = quick.nodes.capacity() * size_of::<Node>();
                let packs: usize = quick.nodes.iter().map(|node| alloc_size(node.pack.mem())).sum();
                size_of::<Quick>() + deque + packs
            }
        }
    }

    /// Roughly the number of allocations.
    pub fn free_effort(&self) -> usize {
        self.nodes()
    }

    // --- reading ---

    /// The element at `index`, counted from 0, or from -1 backwards.
    pub fn get(&self, index: i64) -> Option<Elem<'_>> {
        let index = self.index(index)?;
        match &self.repr {
            Repr::One(pack) => pack.at(index as isize),
            Repr::Many(quick) => {
                let (node, offset) = quick.locate(index)?;
                quick.nodes[node].pack.at(offset as isize)
            }
        }
    }

    /// What `index`, which may count from -1 backwards, is when counted from 0.
    pub fn index(&self, index: i64) -> Option<usize> {
        let len = self.len();
        let at = if index < 0 {
            len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
        } else {
            usize::try_from(index).ok()?
        };
        (at < len).then_some(at)
    }

    /// All elements in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Elem<'_>> {
        self.listpacks().flat_map(Listpack::iter)
    }

    /// The elements from index `start` on, in order.
    pub fn iter_from(&self, start: usize) -> impl Iterator<Item = Elem<'_>> {
        let found = self.place(start);
        let head = found.map(|(node, pack, pos)| (node, pack.iter_from(pos)));
        let rest = head.as_ref().map_or(0..0, |(node, _)| node + 1..self.nodes());
        let head = head.into_iter().flat_map(|(_, elems)| elems);
        head.chain(self.packs(rest).flat_map(Listpack::iter))
    }

    /// The elements from index `start` backwards to the list's head.
    pub fn iter_back_from(&self, start: usize) -> impl Iterator<Item = Elem<'_>> {
        let found = self.place(start);
        let tail = found.map(|(node, pack, pos)| (node, pack.iter_to(pos).rev()));
        let rest = tail.as_ref().map_or(0..0, |(node, _)| 0..*node);
        let tail = tail.into_iter().flat_map(|(_, elems)| elems);
        tail.chain(self.packs(rest).rev().flat_map(|pack| pack.iter().rev()))
    }

    // --- both ends ---

    pub fn push_back(&mut self, text: &[u8], limits: &Limits) {
        let fill = Fill::of(limits);
        match &mut self.repr {
            Repr::One(pack) if takes(pack, fill, text) => pack.push_back(text),
            _ => self.many().push_back(text, fill),
        }
    }

    pub fn push_front(&mut self, text: &[u8], limits: &Limits) {
        let fill = Fill::of(limits);
        match &mut self.repr {
            Repr::One(pack) if takes(pack, fill, text) => pack.push_front(text),
            _ => self.many().push_front(text, fill),
        }
    }

    /// Removes and returns the last element.
    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        self.pop_back_with(|elem| elem.to_vec())
    }

    /// Removes the last element after showing it to `f`.
    pub fn pop_back_with<R>(&mut self, f: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
        let quick = match &mut self.repr {
            Repr::One(pack) => return pack.pop_back_with(f),
            Repr::Many(quick) => quick,
        };
        let node = quick.nodes.back_mut()?;
        let out = node.pack.pop_back_with(f);
        node.count -= 1;
        quick.len -= 1;
        if node.count == 0 {
            quick.nodes.pop_back();
            self.settle();
        }
        out
    }

    /// Removes and returns the first element.
    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        self.pop_front_with(|elem| elem.to_vec())
    }

    /// Removes the first element after showing it to `f`.
    pub fn pop_front_with<R>(&mut self, f: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
        let quick = match &mut self.repr {
            Repr::One(pack) => return pack.pop_front_with(f),
            Repr::Many(quick) => quick,
        };
        let node = quick.nodes.front_mut()?;
        let out = node.pack.pop_front_with(f);
        node.count -= 1;
        quick.len -= 1;
        if node.count == 0 {
            quick.nodes.pop_front();
            self.settle();
        }
        out
    }

    // --- within ---

    /// Replaces the element at `index`, which may count from -1 backwards; false if there is none.
    pub fn set(&mut self, index: i64, text: &[u8], limits: &Limits) -> bool {
        let Some(index) = self.index(index) else { return false };
        self.with_many(|quick| quick.set(index, text, Fill::of(limits)));
        true
    }

    /// Puts `text` before or after the first element that is `pivot`; false if none is.
    pub fn insert(&mut self, pivot: &[u8], before: bool, text: &[u8], limits: &Limits) -> bool {
        let found = self.listpacks().enumerate().find_map(|(node, pack)| {
            let pos = pack.find(pack.first()?, pivot, 0)?;
            Some((node, if before { Some(pos) } else { pack.next(pos) }))
        });
        let Some((node, pos)) = found else { return false };
        self.with_many(|quick| quick.insert(node, pos, text, Fill::of(limits)));
        true
    }

    /// Removes up to `count` elements that are `text`, from the head, or from the tail if `count`
    /// is negative, or all if it is 0. Returns how many.
    pub fn remove(&mut self, count: i64, text: &[u8]) -> usize {
        let most = match count {
            0 => usize::MAX,
            n => usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX),
        };
        if count < 0 {
            self.with_many(|quick| quick.remove_from_tail(most, text))
        } else {
            self.with_many(|quick| quick.remove_from_head(most, text))
        }
    }

    /// Removes up to `count` elements from index `start` on. Returns how many.
    pub fn delete_range(&mut self, start: usize, count: usize) -> usize {
        self.with_many(|quick| quick.delete_range(start, count))
    }

    /// Keeps just `count` elements from index `start` on.
    pub fn trim(&mut self, start: usize, count: usize) {
        self.with_many(|quick| {
            quick.delete_range(start.saturating_add(count), usize::MAX);
            quick.delete_range(0, start);
        });
    }

    // --- one node and many ---

    fn packs(&self, nodes: std::ops::Range<usize>) -> impl DoubleEndedIterator<Item = &Listpack> {
        let (one, many) = match &self.repr {
            Repr::One(pack) => ((!nodes.is_empty()).then_some(pack), None),
            Repr::Many(quick) => (None, Some(quick.nodes.range(nodes).map(|node| &node.pack))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn place(&self, index: usize) -> Option<(usize, &Listpack, Pos)> {
        let (node, pack, offset) = match &self.repr {
            Repr::One(pack) => (0, pack, index),
            Repr::Many(quick) => {
                let (node, offset) = quick.locate(index)?;
                (node, &quick.nodes[node].pack, offset)
            }
        };
        Some((node, pack, pack.seek(isize::try_from(offset).ok()?)?))
    }

    /// Makes a deque of the one listpack.
    fn many(&mut self) -> &mut Quick {
        if let Repr::One(pack) = &mut self.repr {
            let quick = Quick::from(std::mem::take(pack));
            self.repr = Repr::Many(Box::new(quick));
        }
        match &mut self.repr {
            Repr::Many(quick) => quick,
            Repr::One(_) => unreachable!("made many above"),
        }
    }

    /// Runs `change` on the deque, if need be on one that lives no longer than that.
    fn with_many<R>(&mut self, change: impl FnOnce(&mut Quick) -> R) -> R {
        let out = match &mut self.repr {
            Repr::Many(quick) => change(quick),
            Repr::One(pack) => {
                let mut quick = Quick::from(std::mem::take(pack));
                let out = change(&mut quick);
                self.repr = match quick.nodes.len() {
                    0 | 1 => Repr::One(quick.only()),
                    _ => Repr::Many(Box::new(quick)),
                };
                return out;
            }
        };
        self.settle();
        out
    }

    /// Goes back to a lone listpack when there is no more than that.
    fn settle(&mut self) {
        if let Repr::Many(quick) = &mut self.repr {
            if quick.nodes.len() < 2 {
                self.repr = Repr::One(quick.only());
            } else if quick.nodes.capacity() > 4 * quick.nodes.len() {
                quick.nodes.shrink_to(2 * quick.nodes.len());
            }
        }
    }
}

/// An empty list takes in anything.
fn takes(pack: &Listpack, fill: Fill, text: &[u8]) -> bool {
    pack.is_empty() || fill.allows(pack.byte_len(), 0, text) && pack.len() < fill.count
}

impl From<Listpack> for Quick {
    fn from(pack: Listpack) -> Quick {
        let node = Node::from(pack);
        let len = node.count;
        let nodes = if len == 0 { VecDeque::new() } else { VecDeque::from([node]) };
        Quick { nodes, len }
    }
}

impl Quick {
    fn only(&mut self) -> Listpack {
        self.nodes.pop_front().map_or_else(Listpack::new, |node| node.pack)
    }

    /// The node that holds `index`, and the index within it. Skips nodes from the nearer end.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index < self.len / 2 {
            let mut offset = index;
            for (at, node) in self.nodes.iter().enumerate() {
                if offset < node.count {
                    return Some((at, offset));
                }
                offset -= node.count;
            }
        } else {
            let mut from_end = self.len - index;
            for (at, node) in self.nodes.iter().enumerate().rev() {
                if from_end <= node.count {
                    return Some((at, node.count - from_end));
                }
                from_end -= node.count;
            }
        }
        unreachable!("the nodes' counts add up to the list's length")
    }

    fn push_back(&mut self, text: &[u8], fill: Fill) {
        self.len += 1;
        match self.nodes.back_mut() {
            Some(node) if node.allows(fill, text) => {
                node.pack.push_back(text);
                node.count += 1;
            }
            _ => self.nodes.push_back(Node::of(text)),
        }
    }

    fn push_front(&mut self, text: &[u8], fill: Fill) {
        self.len += 1;
        match self.nodes.front_mut() {
            Some(node) if node.allows(fill, text) => {
                node.pack.push_front(text);
                node.count += 1;
            }
            _ => self.nodes.push_front(Node::of(text)),
        }
    }

    /// Replaces an element. One that would overfill its node gets a node of its own.
    fn set(&mut self, index: usize, text: &[u8], fill: Fill) {
        let Some((at, offset)) = self.locate(index) else { return };
        let node = &mut self.nodes[at];
        let Some(pos) = node.pack.seek(offset as isize) else { return };
        let rest = node.pack.byte_len() - node.pack.get(pos).text_len();
        if node.count == 1 || rest + text.len() + ELEM_OVERHEAD <= fill.bytes {
            node.pack.replace(pos, text);
            return;
        }
        let next = node.pack.delete(pos);
        node.count -= 1;
        self.len -= 1;
        self.insert(at, next, text, fill);
    }

    /// Puts `text` before `pos` of a node, or at its end.
    fn insert(&mut self, at: usize, pos: Option<Pos>, text: &[u8], fill: Fill) {
        self.len += 1;
        let node = &mut self.nodes[at];
        if node.allows(fill, text) {
            node.count += 1;
            match pos {
                Some(pos) => {
                    node.pack.insert_before(pos, text);
                }
                None => node.pack.push_back(text),
            }
            return;
        }
        // A full node: between two nodes there may be room in either, and within it, it is split.
        let between = match pos {
            None => at + 1,
            Some(pos) if Some(pos) == node.pack.first() => at,
            Some(pos) => {
                let tail = Node::from(node.pack.split_off(pos));
                node.count -= tail.count;
                self.nodes.insert(at + 1, tail);
                at + 1
            }
        };
        self.insert_between(between, text, fill);
    }

    /// Puts `text` between node `at` and the one before it: into either, or into one of its own.
    fn insert_between(&mut self, at: usize, text: &[u8], fill: Fill) {
        if let Some(node) = at.checked_sub(1).and_then(|before| self.nodes.get_mut(before))
            && node.allows(fill, text)
        {
            node.pack.push_back(text);
            node.count += 1;
        } else if let Some(node) = self.nodes.get_mut(at)
            && node.allows(fill, text)
        {
            node.pack.push_front(text);
            node.count += 1;
        } else {
            self.nodes.insert(at, Node::of(text));
        }
        // What a split left small joins its neighbours again, the later pairs first.
        for left in (at.saturating_sub(2)..at + 2).rev() {
            self.merge(left, fill);
        }
    }

    /// Joins node `left` and the next if one node may hold both.
    fn merge(&mut self, left: usize, fill: Fill) {
        let (Some(a), Some(b)) = (self.nodes.get(left), self.nodes.get(left + 1)) else { return };
        // One header and one end less.
        let bytes = a.pack.byte_len() + b.pack.byte_len() - 7;
        if bytes > fill.bytes || a.count + b.count > fill.count {
            return;
        }
        if let Some(right) = self.nodes.remove(left + 1) {
            self.nodes[left].pack.append(&right.pack);
            self.nodes[left].count += right.count;
        }
    }

    fn remove_from_head(&mut self, most: usize, text: &[u8]) -> usize {
        let mut gone = 0;
        for node in &mut self.nodes {
            let mut from = node.pack.first();
            while gone < most
                && let Some(pos) = from.and_then(|from| node.pack.find(from, text, 0))
            {
                from = node.pack.delete(pos);
                node.count -= 1;
                gone += 1;
            }
        }
        self.forget(gone)
    }

    fn remove_from_tail(&mut self, most: usize, text: &[u8]) -> usize {
        let mut gone = 0;
        for node in self.nodes.iter_mut().rev() {
            let mut from = node.pack.last();
            while gone < most
                && let Some(pos) = from
            {
                from = node.pack.prev(pos);
                if node.pack.get(pos).is(text) {
                    node.pack.delete(pos);
                    node.count -= 1;
                    gone += 1;
                }
            }
        }
        self.forget(gone)
    }

    fn forget(&mut self, gone: usize) -> usize {
        if gone > 0 {
            self.nodes.retain(|node| node.count > 0);
            self.len -= gone;
        }
        gone
    }

    fn delete_range(&mut self, start: usize, count: usize) -> usize {
        let Some((mut at, offset)) = self.locate(start) else { return 0 };
        let total = count.min(self.len - start);
        let mut left = total;
        if offset > 0 {
            let node = &mut self.nodes[at];
            let gone = node.pack.delete_range(offset as isize, left);
            node.count -= gone;
            left -= gone;
            at += 1;
        }
        let mut end = at;
        while let Some(node) = self.nodes.get(end)
            && node.count <= left
        {
            left -= node.count;
            end += 1;
        }
        self.nodes.drain(at..end);
        if left > 0 {
            let node = &mut self.nodes[at];
            node.count -= node.pack.delete_range(0, left);
        }
        self.len -= total;
        total
    }
}

#[cfg(test)]
mod tests;
