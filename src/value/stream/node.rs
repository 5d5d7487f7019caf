//! A node: some entries in one listpack, in Redis's format.
//!
//! First the head: how many entries live, how many are deleted, the number of the first entry's fields,
//! these fields, 0. Then the entries, each as flags, its id as a difference to the node's (milliseconds,
//! number), what it holds, and how many elements that was, so that one can go backwards. An entry with
//! the head's fields holds values only; any other the number of its fields, and pairs. What is deleted
//! stays where it is, with a flag.

use super::id::Id;
use crate::value::listpack::{Elem, Iter, Listpack, Pos};

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Elements of every entry: flags and both parts of the id.
const PREFIX: usize = 3;

/// A listpack that is no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A node that someone reads.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub id: Id,
    pub pack: &'a Listpack,
}

/// An entry of a node.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub node: View<'a>,
    flags: i64,
    pub id: Id,
    /// Its flags.
    pub at: Pos,
    /// What it holds, or its length when that is nothing.
    body: Pos,
    fields: usize,
}

/// Which way to go through entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Forward,
    Backward,
}

fn int(pack: &Listpack, at: Pos) -> i64 {
    pack.get(at).as_int().expect("nodes are checked before they are taken over")
}

fn after(pack: &Listpack, at: Pos) -> Pos {
    pack.next(at).expect("an entry ends with its length")
}

/// A node of no entry yet, made for entries with the fields of `pairs`.
pub(super) fn new<'p>(pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])>) -> Listpack {
    let mut pack = Listpack::new();
    pack.append_with(|tail| {
        tail.int(0);
        tail.int(0);
        tail.int(pairs.len() as i64);
        pairs.for_each(|(field, _)| tail.text(field));
        tail.int(0);
    });
    pack
}

/// Appends an entry to the node `node`.
pub(super) fn append<'p>(
    pack: &mut Listpack,
    node: Id,
    id: Id,
    pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])> + Clone,
) {
    let (live, _) = counts(pack);
    let same = has_fields_of(pack, pairs.clone());
    let first = pack.first().expect("a node has a head");
    pack.replace_int(first, live as i64 + 1);
    let (ms, seq) = id.minus(node);
    let n = pairs.len();
    pack.append_with(|tail| {
        tail.int(if same { SAME_FIELDS } else { 0 });
        tail.int(ms);
        tail.int(seq);
        if !same {
            tail.int(n as i64);
        }
        for (field, value) in pairs {
            if !same {
                tail.text(field);
            }
            tail.text(value);
        }
        tail.int((PREFIX + if same { n } else { 2 * n + 1 }) as i64);
    });
}

/// Whether these are the head's fields.
fn has_fields_of<'p>(pack: &Listpack, pairs: impl ExactSizeIterator<Item = (&'p [u8], &'p [u8])>) -> bool {
    let mut elems = pack.iter().skip(2);
    let fields = elems.next().and_then(Elem::as_int);
    fields == Some(pairs.len() as i64) && elems.zip(pairs).all(|(elem, (field, _))| elem.is(field))
}

/// How many entries live, and how many are deleted.
pub(super) fn counts(pack: &Listpack) -> (u64, u64) {
    let mut elems = pack.iter();
    let mut next = || elems.next().and_then(Elem::as_int).map_or(0, |n| n as u64);
    (next(), next())
}

fn set_counts(pack: &mut Listpack, live: u64, deleted: u64) {
    let first = pack.first().expect("a node has a head");
    pack.replace_int(first, live as i64);
    let second = after(pack, first);
    pack.replace_int(second, deleted as i64);
}

/// Deletes the entry with its flags at `at`, of a node in which others live.
pub(super) fn delete(pack: &mut Listpack, at: Pos) {
    let (live, deleted) = counts(pack);
    let flags = int(pack, at);
    pack.replace_int(at, flags | DELETED);
    set_counts(pack, live - 1, deleted + 1);
}

/// Deletes entries from the first on, as long as `doomed` says so of their ids, whether they live or
/// not, and how many have gone before. How many went.
pub(super) fn delete_while(pack: &mut Listpack, node: Id, mut doomed: impl FnMut(Id, u64) -> bool) -> u64 {
    let (live, deleted) = counts(pack);
    let mut gone = 0;
    let mut at = View { id: node, pack }.first();
    while let Some(place) = at {
        let entry = View { id: node, pack }.entry(place);
        if !doomed(entry.id, gone) {
            break;
        }
        if entry.lives() {
            let flags = entry.flags | DELETED;
            pack.replace_int(place, flags);
            gone += 1;
        }
        at = View { id: node, pack }.entry(place).next();
    }
    if gone > 0 {
        set_counts(pack, live - gone, deleted + gone);
    }
    gone
}

impl<'a> View<'a> {
    /// Where the first entry begins.
    fn first(self) -> Option<Pos> {
        let pack = self.pack;
        let mut at = pack.next(after(pack, pack.first()?))?;
        let fields = int(pack, at);
        for _ in 0..=fields {
            at = pack.next(at)?;
        }
        pack.next(at)
    }

    /// Where the last entry begins.
    fn last(self) -> Option<Pos> {
        self.start_of(self.pack.last()?)
    }

    /// Where the entry begins whose length is at `length`; none for the head.
    fn start_of(self, length: Pos) -> Option<Pos> {
        let n = int(self.pack, length);
        let mut at = length;
        for _ in 0..n {
            at = self.pack.prev(at)?;
        }
        (n > 0).then_some(at)
    }

    /// Where the entry begins that one meets first.
    pub fn edge(self, way: Way) -> Option<Pos> {
        match way {
            Way::Forward => self.first(),
            Way::Backward => self.last(),
        }
    }

    pub fn entry(self, at: Pos) -> Found<'a> {
        let mut elems = self.pack.iter_from(at);
        let mut next = || elems.next().and_then(Elem::as_int).expect("an entry's prefix");
        let (flags, delta) = (next(), (next(), next()));
        let mut body = after(self.pack, after(self.pack, after(self.pack, at)));
        let fields = if flags & SAME_FIELDS != 0 {
            self.pack.iter().nth(2).and_then(Elem::as_int).expect("a head")
        } else {
            let n = int(self.pack, body);
            body = after(self.pack, body);
            n
        };
        Found { node: self, flags, id: self.id.plus(delta), at, body, fields: fields as usize }
    }

    /// The newest entry's id, be it deleted or not.
    pub fn last_id(self) -> Id {
        self.last().map_or(self.id, |at| self.entry(at).id)
    }
}

impl<'a> Found<'a> {
    pub fn lives(&self) -> bool {
        self.flags & DELETED == 0
    }

    fn is_bare(&self) -> bool {
        self.flags & SAME_FIELDS != 0
    }

    /// Where the next entry begins.
    fn next(&self) -> Option<Pos> {
        let pack = self.node.pack;
        let mut at = self.body;
        for _ in 0..self.fields * if self.is_bare() { 1 } else { 2 } {
            at = after(pack, at);
        }
        pack.next(at)
    }

    /// Where the entry begins that comes next, going that way.
    pub fn neighbour(&self, way: Way) -> Option<Pos> {
        match way {
            Way::Forward => self.next(),
            Way::Backward => self.node.start_of(self.node.pack.prev(self.at)?),
        }
    }

    pub fn pairs(&self) -> Pairs<'a> {
        let items = self.node.pack.iter_from(self.body);
        let names = self.is_bare().then(|| {
            let mut names = self.node.pack.iter();
            names.nth(2);
            names
        });
        Pairs { names, items, left: self.fields }
    }
}

/// An entry's fields and values.
#[derive(Clone)]
pub struct Pairs<'a> {
    /// The head's fields, where the entry has the same.
    names: Option<Iter<'a>>,
    items: Iter<'a>,
    left: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Elem<'a>, Elem<'a>);

    fn next(&mut self) -> Option<(Elem<'a>, Elem<'a>)> {
        self.left = self.left.checked_sub(1)?;
        let field = self.names.as_mut().unwrap_or(&mut self.items).next()?;
        Some((field, self.items.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

/// Checks that a listpack is a node, with as many entries as its head says.
pub(super) fn check(pack: &Listpack) -> Result<(), Malformed> {
    let mut elems = Elems { elems: pack.iter() };
    let (live, deleted, fields) = (elems.natural()?, elems.natural()?, elems.natural()?);
    elems.skip(fields)?;
    if elems.natural()? != 0 {
        return Err(Malformed);
    }
    let (mut found_live, mut found_deleted) = (0, 0);
    while let Some(flags) = elems.elems.next() {
        let flags = flags.as_int().ok_or(Malformed)?;
        if flags & !(DELETED | SAME_FIELDS) != 0 {
            return Err(Malformed);
        }
        elems.skip_ints(PREFIX - 1)?;
        let held = match flags & SAME_FIELDS {
            0 => {
                let fields = elems.natural()?;
                elems.skip(fields.checked_mul(2).ok_or(Malformed)?)?;
                fields * 2 + 1
            }
            _ => {
                elems.skip(fields)?;
                fields
            }
        };
        if elems.natural()? != held + PREFIX as u64 {
            return Err(Malformed);
        }
        *if flags & DELETED == 0 { &mut found_live } else { &mut found_deleted } += 1;
    }
    let counted = (live, deleted) == (found_live, found_deleted);
    if counted && live + deleted > 0 { Ok(()) } else { Err(Malformed) }
}

/// Elements that nobody has looked at before.
struct Elems<'a> {
    elems: Iter<'a>,
}

impl Elems<'_> {
    fn int(&mut self) -> Result<i64, Malformed> {
        self.elems.next().and_then(Elem::as_int).ok_or(Malformed)
    }

    fn natural(&mut self) -> Result<u64, Malformed> {
        u64::try_from(self.int()?).map_err(|_| Malformed)
    }

    fn skip_ints(&mut self, n: usize) -> Result<(), Malformed> {
        (0..n).try_for_each(|_| self.int().map(drop))
    }

    fn skip(&mut self, n: u64) -> Result<(), Malformed> {
        (0..n).try_for_each(|_| self.elems.next().map(drop).ok_or(Malformed))
    }
}
