//! Reading a value of any type and encoding.

use super::codes::*;
use super::error::{Error, Stop};
use super::input::Input;
use super::{old, stream};
use crate::util::num::parse_f64;
use crate::value::intset::IntSet;
use crate::value::zset::Inserted;
use crate::value::{Elem, Hash, Limits, List, Listpack, Object, Set, ZSet};

/// A value in the making. It is fed with bytes as they come: what it has understood of them it
/// keeps, element by element, so that nobody has to hold a large value twice.
pub struct Building {
    kind: u8,
    ends: Ends,
    /// Elements to come; `None` before their number was read.
    left: Option<u64>,
    part: Part,
}

enum Part {
    /// It is one string, whatever is in that.
    Whole,
    List(List),
    Nodes(Vec<Listpack>),
    Set(Set),
    ZSet(ZSet),
    Hash(Hash),
    Stream(Box<stream::Part>),
}

/// Where a hash's fields say when their time is over. That they have no such time is all that we can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Nowhere,
    /// Before the field; 0 is never.
    Before,
    /// Behind the value; -1 is never.
    Behind,
}

const FIELD_ENDS: Error = Error::Unsupported("a field with a time to live");

impl Building {
    /// A value whose type byte is `kind`, of a file of Valkey's own versions: they count types on their own.
    pub fn of_valkey(kind: u8) -> Result<Building, Error> {
        match kind {
            kind::VALKEY_HASH_TTL => {
                Ok(Building { kind, ends: Ends::Behind, left: None, part: Part::Hash(Hash::new()) })
            }
            kind if kind > kind::VALKEY_HASH_TTL => Err(Error::Corrupt("a value of no known type")),
            kind => Building::new(kind),
        }
    }

    /// A value whose type byte is `kind`.
    pub fn new(kind: u8) -> Result<Building, Error> {
        let mut ends = Ends::Nowhere;
        let part = match kind {
            kind::STRING
            | kind::HASH_ZIPMAP
            | kind::LIST_ZIPLIST
            | kind::SET_INTSET
            | kind::ZSET_ZIPLIST
            | kind::HASH_ZIPLIST
            | kind::HASH_LISTPACK
            | kind::ZSET_LISTPACK
            | kind::SET_LISTPACK
            | kind::HASH_LISTPACK_TTL_PREVIEW
            | kind::HASH_LISTPACK_TTL => Part::Whole,
            kind::LIST => Part::List(List::new()),
            kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => Part::Nodes(Vec::new()),
            kind::SET => Part::Set(Set::new()),
            kind::ZSET | kind::ZSET_2 => Part::ZSet(ZSet::new()),
            kind::HASH => Part::Hash(Hash::new()),
            kind::MODULE | kind::MODULE_2 => return Err(Error::Unsupported("a module's type")),
            kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => {
                Part::Stream(Box::new(stream::Part::new(kind)))
            }
            kind::HASH_TTL_PREVIEW | kind::HASH_TTL => {
                ends = Ends::Before;
                Part::Hash(Hash::new())
            }
            _ => return Err(Error::Corrupt("a value of no known type")),
        };
        Ok(Building { kind, ends, left: None, part })
    }

    /// Reads on, over at most `work` elements; the value once it is whole. Not to be called again
    /// after that or after [`Stop::Broken`], which leaves the input behind the value only if it is
    /// [`Error::Empty`].
    pub fn step(
        &mut self,
        input: &mut Input<'_>,
        limits: &Limits,
        work: usize,
    ) -> Result<Option<Object>, Stop> {
        if let Part::Whole = self.part {
            return input.attempt(|input| whole(self.kind, input, limits)).map(Some);
        }
        if let Part::Stream(part) = &mut self.part {
            return part.step(input, work);
        }
        let mut left = match self.left {
            Some(left) => left,
            None => {
                let kind = self.kind;
                let count = input.attempt(|input| {
                    // the first field's end, which is of no use where none has one
                    if kind == kind::HASH_TTL {
                        input.array::<8>()?;
                    }
                    input.count()
                })?;
                self.begin(count, limits)?
            }
        };
        for _ in 0..work {
            if left == 0 {
                break;
            }
            input.attempt(|input| self.element(input, limits))?;
            left -= 1;
            self.left = Some(left);
        }
        if left > 0 { Ok(None) } else { Ok(Some(self.finish()?)) }
    }

    /// What there is of it so far.
    pub fn abandon(mut self) -> Option<Object> {
        match self.part {
            Part::Whole => None,
            _ => self.finish().ok(),
        }
    }

    fn begin(&mut self, count: u64, limits: &Limits) -> Result<u64, Error> {
        if count == 0 {
            return Err(Error::Empty);
        }
        if let Part::Hash(hash) = &mut self.part {
            *hash = Hash::for_fields(count, limits);
        }
        self.left = Some(count);
        Ok(count)
    }

    fn element(&mut self, input: &mut Input<'_>, limits: &Limits) -> Result<(), Stop> {
        let new = match &mut self.part {
            Part::Whole | Part::Stream(_) => unreachable!("it has no elements"),
            Part::List(list) => {
                input.text()?.with(|text| list.push_back(text, limits));
                true
            }
            Part::Nodes(nodes) => {
                nodes.extend(node(self.kind, input)?);
                true
            }
            Part::Set(set) => input.text()?.with(|member| set.add(member, limits)),
            Part::ZSet(zset) => {
                let (member, score) = (input.text()?, score(self.kind, input)?);
                member.with(|member| zset.insert(member, score, limits)) == Inserted::Added
            }
            Part::Hash(hash) => {
                if self.ends == Ends::Before && input.length()? != 0 {
                    return Err(FIELD_ENDS.into());
                }
                let (field, value) = (input.text()?, input.text()?);
                if self.ends == Ends::Behind && i64::from_le_bytes(input.array()?) != -1 {
                    return Err(FIELD_ENDS.into());
                }
                field.with(|field| value.with(|value| hash.set(field, value, limits)))
            }
        };
        if new { Ok(()) } else { Err(Error::Corrupt("an element that is there twice").into()) }
    }

    fn finish(&mut self) -> Result<Object, Error> {
        Ok(match std::mem::replace(&mut self.part, Part::Whole) {
            Part::Whole | Part::Stream(_) => unreachable!("it has no elements"),
            Part::List(list) => Object::List(list),
            Part::Nodes(nodes) if nodes.is_empty() => return Err(Error::Empty),
            Part::Nodes(nodes) => Object::List(List::from_listpacks(nodes)),
            Part::Set(set) => Object::Set(set),
            Part::ZSet(zset) => Object::ZSet(zset),
            Part::Hash(hash) => Object::Hash(hash),
        })
    }
}

/// A node of a quicklist, unless it is empty.
fn node(kind: u8, input: &mut Input<'_>) -> Result<Option<Listpack>, Stop> {
    let container = if kind == kind::LIST_QUICKLIST { NODE_PACKED } else { input.length()? };
    let text = input.text()?;
    let pack = match container {
        NODE_PLAIN => {
            let mut pack = Listpack::new();
            text.with(|text| pack.push_back(text));
            if pack.iter().any(|elem| elem.text_len() == 0) {
                return Err(Error::Corrupt("a node without its element").into());
            }
            pack
        }
        NODE_PACKED if kind == kind::LIST_QUICKLIST => text.with(from_ziplist)?,
        NODE_PACKED => listpack(text.into_vec())?,
        _ => return Err(Error::Corrupt("a list's node of no known form").into()),
    };
    Ok((!pack.is_empty()).then_some(pack))
}

fn score(kind: u8, input: &mut Input<'_>) -> Result<f64, Stop> {
    const BAD: Error = Error::Corrupt("a score that is no number");
    let score = match kind {
        kind::ZSET_2 => f64::from_le_bytes(input.array()?),
        _ => match input.byte()? {
            SCORE_NAN => return Err(BAD.into()),
            SCORE_INF => f64::INFINITY,
            SCORE_MINUS_INF => f64::NEG_INFINITY,
            len => parse_f64(input.take(len.into())?).ok_or(BAD)?,
        },
    };
    if score.is_nan() { Err(BAD.into()) } else { Ok(score) }
}

/// A value that is one string.
fn whole(kind: u8, input: &mut Input<'_>, limits: &Limits) -> Result<Object, Stop> {
    if kind == kind::HASH_LISTPACK_TTL {
        input.array::<8>()?;
    }
    let text = input.text()?;
    Ok(match kind {
        kind::STRING => Object::Str(text.into_vec().into()),
        kind::HASH_ZIPMAP => text.with(|bytes| from_zipmap(bytes, limits))?,
        kind::LIST_ZIPLIST => {
            let mut list = List::new();
            let push = |elem: Elem<'_>| {
                elem.with_text(|text| list.push_back(text, limits));
                Ok(())
            };
            text.with(|bytes| old::ziplist(bytes, push))?;
            Object::List(filled(list.is_empty(), list)?)
        }
        kind::SET_INTSET => {
            let ints = IntSet::from_bytes(text.into_vec()).map_err(|_| Error::Corrupt("an intset"))?;
            Object::Set(Set::from_intset(ints, limits))
        }
        kind::SET_LISTPACK => {
            let pack = listpack(text.into_vec())?;
            let mut set = Set::new();
            if !pack.iter().all(|member| set.add_elem(member, limits)) {
                return Err(Error::Corrupt("a member that is there twice").into());
            }
            Object::Set(filled(set.is_empty(), set)?)
        }
        kind::HASH_LISTPACK_TTL_PREVIEW | kind::HASH_LISTPACK_TTL => {
            let pack = listpack(text.into_vec())?;
            from_triples(filled(pack.is_empty(), pack)?, limits)?
        }
        kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
            let pack = if kind == kind::HASH_ZIPLIST {
                text.with(from_ziplist)?
            } else {
                listpack(text.into_vec())?
            };
            let pack = filled(pack.is_empty(), pack)?;
            Object::Hash(Hash::from_listpack(pack, limits).map_err(|_| Error::Corrupt("a hash's fields"))?)
        }
        _ => {
            let pack = if kind == kind::ZSET_ZIPLIST {
                text.with(from_ziplist)?
            } else {
                listpack(text.into_vec())?
            };
            let pack = filled(pack.is_empty(), pack)?;
            Object::ZSet(
                ZSet::from_listpack(pack, limits).map_err(|_| Error::Corrupt("a sorted set's members"))?,
            )
        }
    })
}

fn filled<T>(empty: bool, value: T) -> Result<T, Error> {
    if empty { Err(Error::Empty) } else { Ok(value) }
}

fn listpack(bytes: Vec<u8>) -> Result<Listpack, Error> {
    Listpack::from_bytes(bytes).map_err(|_| Error::Corrupt("a listpack"))
}

fn from_ziplist(bytes: &[u8]) -> Result<Listpack, Error> {
    let mut pack = Listpack::with_capacity(bytes.len());
    old::ziplist(bytes, |elem| {
        pack.push_back_elem(elem);
        Ok(())
    })?;
    pack.shrink_to_fit();
    Ok(pack)
}

/// A hash whose listpack has a field's end behind its value.
fn from_triples(pack: Listpack, limits: &Limits) -> Result<Object, Error> {
    const BAD: Error = Error::Corrupt("a hash's fields");
    let mut hash = Hash::new();
    let mut elems = pack.iter();
    while let Some(field) = elems.next() {
        let (Some(value), Some(ends)) = (elems.next(), elems.next()) else { return Err(BAD) };
        match ends {
            Elem::Int(0) => {}
            Elem::Int(_) => return Err(FIELD_ENDS),
            Elem::Str(_) => return Err(BAD),
        }
        let new = field.with_text(|field| value.with_text(|value| hash.set(field, value, limits)));
        if !new {
            return Err(BAD);
        }
    }
    Ok(Object::Hash(hash))
}

fn from_zipmap(bytes: &[u8], limits: &Limits) -> Result<Object, Error> {
    let mut hash = Hash::new();
    old::zipmap(bytes, |field, value| match hash.set(field, value, limits) {
        true => Ok(()),
        false => Err(Error::Corrupt("a field that is there twice")),
    })?;
    Ok(Object::Hash(hash))
}
