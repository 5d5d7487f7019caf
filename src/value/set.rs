//! Sets: an intset while all members are integers and few, then a dict.

use crate::util::num::parse_i64;
use crate::util::rng::Rng;
use crate::value::Limits;
use crate::value::dict::{Dict, hash_of};
use crate::value::intset::IntSet;
use crate::value::listpack::Elem;
use crate::value::{alloc_size, scan_dict};

/// Intsets end here whatever the configuration says, as in Redis: their length is a u32.
const MAX_INTSET: usize = 1 << 30;

/// A set. It is empty only when new or when its last member was just removed; its key goes then.
#[derive(Clone)]
pub struct Set {
    repr: Repr,
}

#[derive(Clone)]
enum Repr {
    Ints(IntSet),
    Table(Box<Table>),
}

#[derive(Clone, Default)]
struct Table {
    dict: Dict<Box<[u8]>>,
    /// Heap bytes of all members.
    bytes: usize,
}

impl Table {
    fn add(&mut self, member: &[u8]) -> bool {
        let hash = hash_of(member);
        if self.dict.get_hashed(hash, member).is_some() {
            return false;
        }
        self.bytes += alloc_size(member.len());
        self.dict.insert_new(hash, member.into(), 0);
        true
    }

    fn remove(&mut self, member: &[u8]) -> Option<Box<[u8]>> {
        let (member, _) = self.dict.remove(member)?;
        self.bytes -= alloc_size(member.len());
        Some(member)
    }
}

impl Default for Set {
    fn default() -> Self {
        Set::new()
    }
}

impl Set {
    pub fn new() -> Set {
        Set { repr: Repr::Ints(IntSet::new()) }
    }

    /// Takes over an intset that came with a payload. Beyond the limit it becomes a table.
    pub fn from_intset(ints: IntSet, limits: &Limits) -> Set {
        let mut set = Set { repr: Repr::Ints(ints) };
        set.keep_limit(limits);
        set
    }

    /// The intset, while it is one.
    pub fn intset(&self) -> Option<&IntSet> {
        match &self.repr {
            Repr::Ints(ints) => Some(ints),
            Repr::Table(_) => None,
        }
    }

    /// As OBJECT ENCODING calls it.
    pub fn encoding(&self) -> &'static str {
        match &self.repr {
            Repr::Ints(_) => "intset",
            Repr::Table(_) => "hashtable",
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Ints(ints) => ints.len(),
            Repr::Table(table) => table.dict.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap.
    pub fn mem(&self) -> usize {
        match &self.repr {
            Repr::Ints(ints) => alloc_size(ints.mem()),
            Repr::Table(table) => size_of::<Table>() + table.dict.mem() + table.bytes,
        }
    }

    /// Roughly the number of allocations.
    pub fn free_effort(&self) -> usize {
        match &self.repr {
            Repr::Ints(_) => 1,
            Repr::Table(table) => table.dict.len(),
        }
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.repr {
            Repr::Ints(ints) => parse_i64(member).is_some_and(|v| ints.contains(v)),
            Repr::Table(table) => table.dict.contains(member),
        }
    }

    /// As [`Self::contains`] for another set's member, without printing it where that is an integer
    /// and so are these.
    pub fn contains_elem(&self, member: Elem<'_>) -> bool {
        match (&self.repr, member) {
            (Repr::Ints(ints), Elem::Int(v)) => ints.contains(v),
            (_, Elem::Str(s)) => self.contains(s),
            (Repr::Table(table), Elem::Int(_)) => member.with_text(|text| table.dict.contains(text)),
        }
    }

    /// Adds a member; false if it was there.
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        if let Repr::Ints(ints) = &mut self.repr {
            if let Some(v) = parse_i64(member) {
                let new = ints.add(v);
                self.keep_limit(limits);
                return new;
            }
            self.unpack();
        }
        match &mut self.repr {
            Repr::Table(table) => table.add(member),
            Repr::Ints(_) => unreachable!("unpacked above"),
        }
    }

    /// Adds another set's member; false if it was there.
    pub fn add_elem(&mut self, member: Elem<'_>, limits: &Limits) -> bool {
        member.with_text(|text| self.add(text, limits))
    }

    /// Removes a member; false if it was not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.repr {
            Repr::Ints(ints) => parse_i64(member).is_some_and(|v| ints.remove(v)),
            Repr::Table(table) => table.remove(member).is_some(),
        }
    }

    /// All members: ascending as numbers in an intset, in no order otherwise.
    pub fn iter(&self) -> impl Iterator<Item = Elem<'_>> {
        let (ints, table) = match &self.repr {
            Repr::Ints(ints) => (Some(ints.iter()), None),
            Repr::Table(table) => (None, Some(table.dict.iter())),
        };
        let table = table.into_iter().flatten().map(|(member, _)| Elem::Str(member));
        ints.into_iter().flatten().map(Elem::Int).chain(table)
    }

    /// Visits at least about `count` members from `cursor` on and returns the next cursor, 0 at
    /// the end. An intset is visited whole, as in Redis.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Elem<'_>)) -> u64 {
        match &self.repr {
            Repr::Ints(ints) => {
                ints.iter().for_each(|v| visit(Elem::Int(v)));
                0
            }
            Repr::Table(table) => scan_dict(&table.dict, cursor, count, |member, _| visit(Elem::Str(member))),
        }
    }

    /// A member by chance.
    pub fn random(&self, rng: &mut Rng) -> Option<Elem<'_>> {
        match &self.repr {
            Repr::Ints(ints) => ints.random(rng).map(Elem::Int),
            Repr::Table(table) => table.dict.random(rng).map(|(member, _)| Elem::Str(member)),
        }
    }

    /// Removes a member by chance and returns its text.
    pub fn pop(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let member = self.random(rng)?.to_vec();
        self.remove(&member);
        Some(member)
    }

    fn keep_limit(&mut self, limits: &Limits) {
        if let Repr::Ints(ints) = &self.repr
            && ints.len() > limits.set_max_intset_entries.min(MAX_INTSET)
        {
            self.unpack();
        }
    }

    fn unpack(&mut self) {
        let Repr::Ints(ints) = &self.repr else { return };
        let mut table = Table::default();
        for v in ints.iter() {
            Elem::Int(v).with_text(|text| table.add(text));
        }
        self.repr = Repr::Table(Box::new(table));
    }
}

#[cfg(test)]
mod tests;
