//! Hashes: a listpack of fields and values while small, then a dict.

use crate::util::rng::Rng;
use crate::value::Limits;
use crate::value::dict::{Dict, Item, hash_of};
use crate::value::listpack::{Corrupt, Elem, Listpack, Pos};
use crate::value::{alloc_size, scan_dict};

/// A hash. It is empty only when new or when its last field was just removed; its key goes then.
#[derive(Clone)]
pub struct Hash {
    repr: Repr,
}

#[derive(Clone)]
enum Repr {
    /// Field, value, field, value, in the order of their arrival.
    Packed(Listpack),
    Table(Box<Table>),
}

#[derive(Clone, Default)]
struct Table {
    dict: Dict<Pair>,
    /// Heap bytes of all pairs.
    bytes: usize,
}

/// A note of this says that the field's length stands in front of it instead.
const LONG_FIELD: u8 = u8::MAX;
const LONG_PREFIX: usize = 4;

/// Field and value in one allocation. The field's length is the note that the dict keeps; so two
/// times 16 bytes are just 32.
#[derive(Clone)]
struct Pair(Box<[u8]>);

impl Pair {
    fn new(field: &[u8], value: &[u8]) -> (Pair, u8) {
        let short = field.len() < LONG_FIELD as usize;
        let prefix = if short { 0 } else { LONG_PREFIX };
        let mut bytes = Vec::with_capacity(prefix + field.len() + value.len());
        if !short {
            let len = u32::try_from(field.len()).expect("a field stays below 4 GiB");
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(value);
        let note = if short { field.len() as u8 } else { LONG_FIELD };
        (Pair(bytes.into_boxed_slice()), note)
    }

    /// Where the value starts, and where the field does.
    fn bounds(&self, note: u8) -> (usize, usize) {
        if note != LONG_FIELD {
            return (0, note as usize);
        }
        let len = u32::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]) as usize;
        (LONG_PREFIX, LONG_PREFIX + len)
    }

    fn value(&self, note: u8) -> &[u8] {
        &self.0[self.bounds(note).1..]
    }

    fn elems(&self, note: u8) -> (Elem<'_>, Elem<'_>) {
        (Elem::Str(self.key(note)), Elem::Str(self.value(note)))
    }

    fn mem(&self) -> usize {
        alloc_size(self.0.len())
    }
}

impl Item for Pair {
    fn key(&self, note: u8) -> &[u8] {
        let (start, end) = self.bounds(note);
        &self.0[start..end]
    }
}

impl Table {
    fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        let hash = hash_of(field);
        if let Some((pair, note)) = self.dict.get_mut(hash, field) {
            let old = pair.mem();
            let start = pair.bounds(*note).1;
            if pair.0.len() - start == value.len() {
                pair.0[start..].copy_from_slice(value);
            } else {
                (*pair, *note) = Pair::new(field, value);
            }
            self.bytes = self.bytes - old + pair.mem();
            return false;
        }
        let (pair, note) = Pair::new(field, value);
        self.bytes += pair.mem();
        self.dict.insert_new(hash, pair, note);
        true
    }
}

impl Default for Hash {
    fn default() -> Self {
        Hash::new()
    }
}

impl Hash {
    pub fn new() -> Hash {
        Hash { repr: Repr::Packed(Listpack::new()) }
    }

    /// An empty hash in the form that so many fields will need.
    pub fn for_fields(count: u64, limits: &Limits) -> Hash {
        let flat = count <= limits.hash_max_listpack_entries as u64;
        Hash { repr: if flat { Repr::Packed(Listpack::new()) } else { Repr::Table(Box::default()) } }
    }

    /// Takes over a listpack that came with a payload: pairs, no field twice, and at least one. With
    /// more pairs than the limit it becomes a table; as in Redis, their length does not matter here.
    pub fn from_listpack(pack: Listpack, limits: &Limits) -> Result<Hash, Corrupt> {
        let len = pack.len();
        if len == 0 || !len.is_multiple_of(2) || pack.repeats(2) {
            return Err(Corrupt);
        }
        let mut hash = Hash { repr: Repr::Packed(pack) };
        if len / 2 > limits.hash_max_listpack_entries {
            hash.unpack();
        }
        Ok(hash)
    }

    /// The listpack, while it is one.
    pub fn listpack(&self) -> Option<&Listpack> {
        match &self.repr {
            Repr::Packed(pack) => Some(pack),
            Repr::Table(_) => None,
        }
    }

    /// As OBJECT ENCODING calls it.
    pub fn encoding(&self) -> &'static str {
        match &self.repr {
            Repr::Packed(_) => "listpack",
            Repr::Table(_) => "hashtable",
        }
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Packed(pack) => pack.len() / 2,
            Repr::Table(table) => table.dict.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap.
    pub fn mem(&self) -> usize {
        match &self.repr {
            Repr::Packed(pack) => alloc_size(pack.mem()),
            Repr::Table(table) => size_of::<Table>() + table.dict.mem() + table.bytes,
        }
    }

    /// Roughly the number of allocations.
    pub fn free_effort(&self) -> usize {
        match &self.repr {
            Repr::Packed(_) => 1,
            Repr::Table(table) => table.dict.len(),
        }
    }

    pub fn get(&self, field: &[u8]) -> Option<Elem<'_>> {
        match &self.repr {
            Repr::Packed(pack) => {
                let at = find_field(pack, field)?;
                pack.next(at).map(|value| pack.get(value))
            }
            Repr::Table(table) => table.dict.get(field).map(|(pair, note)| Elem::Str(pair.value(note))),
        }
    }

    pub fn contains(&self, field: &[u8]) -> bool {
        match &self.repr {
            Repr::Packed(pack) => find_field(pack, field).is_some(),
            Repr::Table(table) => table.dict.contains(field),
        }
    }

    /// Sets a field; true if it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        let long = limits.hash_max_listpack_value;
        if let Repr::Packed(pack) = &self.repr
            && (field.len() > long || value.len() > long || !pack.has_room_for(field.len() + value.len()))
        {
            self.unpack();
        }
        let pack = match &mut self.repr {
            Repr::Packed(pack) => pack,
            Repr::Table(table) => return table.set(field, value),
        };
        if let Some(at) = find_field(pack, field) {
            let at = pack.next(at).expect("every field has its value");
            pack.replace(at, value);
            return false;
        }
        pack.push_back(field);
        pack.push_back(value);
        if pack.len() / 2 > limits.hash_max_listpack_entries {
            self.unpack();
        }
        true
    }

    /// Removes a field; false if it was not there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.repr {
            Repr::Packed(pack) => match find_field(pack, field) {
                Some(at) => {
                    pack.delete_run(at, 2);
                    true
                }
                None => false,
            },
            Repr::Table(table) => match table.dict.remove(field) {
                Some((pair, _)) => {
                    table.bytes -= pair.mem();
                    true
                }
                None => false,
            },
        }
    }

    /// All fields and values, in the order in which Redis would give them only while packed.
    pub fn iter(&self) -> impl Iterator<Item = (Elem<'_>, Elem<'_>)> {
        let (packed, table) = match &self.repr {
            Repr::Packed(pack) => (Some(pairs(pack)), None),
            Repr::Table(table) => (None, Some(table.dict.iter())),
        };
        let table = table.into_iter().flatten().map(|(pair, note)| pair.elems(note));
        packed.into_iter().flatten().chain(table)
    }

    /// Visits at least about `count` fields from `cursor` on and returns the next cursor, 0 at the
    /// end. A packed hash is visited whole, as in Redis.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Elem<'_>, Elem<'_>)) -> u64 {
        match &self.repr {
            Repr::Packed(pack) => {
                pairs(pack).for_each(|(field, value)| visit(field, value));
                0
            }
            Repr::Table(table) => scan_dict(&table.dict, cursor, count, |pair, note| {
                let (field, value) = pair.elems(note);
                visit(field, value);
            }),
        }
    }

    /// A field and its value by chance.
    pub fn random(&self, rng: &mut Rng) -> Option<(Elem<'_>, Elem<'_>)> {
        match &self.repr {
            Repr::Packed(pack) => {
                let index = rng.below(pack.len() as u64 / 2) as isize;
                let field = pack.seek(index * 2)?;
                let value = pack.next(field)?;
                Some((pack.get(field), pack.get(value)))
            }
            Repr::Table(table) => table.dict.random(rng).map(|(pair, note)| pair.elems(note)),
        }
    }

    fn unpack(&mut self) {
        let Repr::Packed(pack) = &self.repr else { return };
        let mut table = Table::default();
        for (field, value) in pairs(pack) {
            table.set(&field.text(), &value.text());
        }
        self.repr = Repr::Table(Box::new(table));
    }
}

fn find_field(pack: &Listpack, field: &[u8]) -> Option<Pos> {
    pack.find(pack.first()?, field, 1)
}

fn pairs(pack: &Listpack) -> impl Iterator<Item = (Elem<'_>, Elem<'_>)> {
    let mut elems = pack.iter();
    std::iter::from_fn(move || Some((elems.next()?, elems.next()?)))
}

#[cfg(test)]
mod tests;
