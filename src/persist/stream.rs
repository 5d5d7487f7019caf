//! Streams: nodes as they stand, then what the stream remembers, then its groups.

use std::ops::ControlFlow::{self, Break, Continue};

use super::codes::kind;
use super::error::{Error, Stop};
use super::input::Input;
use super::write::Pieces;
use crate::value::stream::{Group, Id, Member, Name, Stream};
use crate::value::{Listpack, Object};

/// Entries to be acknowledged that are looked up at once.
const STRETCH: usize = 32;

// ---- writing

/// What comes next of a stream that is being written.
#[derive(Clone, Default)]
pub(super) enum Place {
    /// The first node.
    #[default]
    Start,
    /// The node behind the one with this id.
    Node(Id),
    /// The group behind this one.
    Group(Option<Name>),
    /// What a group has to acknowledge behind an id.
    Pending(Name, Option<Id>),
    /// The consumer of a group behind another.
    Consumer(Name, Option<Name>),
    /// What a consumer of a group has to acknowledge behind an id.
    Owned(Name, Name, Option<Id>),
}

/// Where to begin behind an id; `None` behind the last one.
fn behind(id: Option<Id>) -> Option<Id> {
    id.map_or(Some(Id::ZERO), Id::next)
}

/// Shows what stands at `place`, and returns what comes after it, if anything does.
pub(super) fn stretch(stream: &Stream, place: &Place, pieces: &mut Pieces<'_>) -> Option<Place> {
    match place {
        Place::Start => Some(node(stream, None, pieces)),
        Place::Node(id) => Some(node(stream, Some(*id), pieces)),
        Place::Group(before) => {
            let (name, group) = stream.group_after(before.as_ref())?;
            pieces.text(name);
            id(group.last_id, pieces);
            // what nobody can tell is -1
            pieces.len(group.read.unwrap_or(-1) as u64);
            pieces.len(group.pending() as u64);
            Some(Place::Pending(name.clone(), None))
        }
        Place::Pending(name, before) => {
            let group = stream.group(name)?;
            let mut last = None;
            for (id, pending) in group.pending_from(behind(*before)?).take(STRETCH) {
                pieces.raw(&id.to_bytes());
                pieces.raw(&pending.at_ms.to_le_bytes());
                pieces.len(pending.count);
                last = Some(id);
            }
            if let Some(last) = last.filter(|last| last.next().is_some()) {
                return Some(Place::Pending(name.clone(), Some(last)));
            }
            pieces.len(group.consumers() as u64);
            Some(Place::Consumer(name.clone(), None))
        }
        Place::Consumer(name, before) => {
            let Some(consumer) = stream.group(name)?.consumer_after(before.as_ref()) else {
                return Some(Place::Group(Some(name.clone())));
            };
            pieces.text(&consumer.name);
            pieces.raw(&consumer.seen_ms.to_le_bytes());
            pieces.len(consumer.owned() as u64);
            Some(Place::Owned(name.clone(), consumer.name.clone(), None))
        }
        Place::Owned(name, consumer, before) => {
            let group = stream.group(name)?;
            let owner = group.consumer(group.member(consumer)?);
            let mut last = None;
            for id in owner.owned_from(behind(*before)?).take(STRETCH) {
                pieces.raw(&id.to_bytes());
                last = Some(id);
            }
            Some(match last.filter(|last| last.next().is_some()) {
                Some(last) => Place::Owned(name.clone(), consumer.clone(), Some(last)),
                None => Place::Consumer(name.clone(), Some(consumer.clone())),
            })
        }
    }
}

/// Shows a node, or what stands behind the last of them.
fn node(stream: &Stream, before: Option<Id>, pieces: &mut Pieces<'_>) -> Place {
    let log = &stream.log;
    if let Some((place, pack)) = log.node_after(before) {
        pieces.text(&place.to_bytes());
        pieces.text(pack.bytes());
        return Place::Node(place);
    }
    pieces.len(log.len());
    id(log.last_id, pieces);
    id(log.first_id, pieces);
    id(log.max_deleted_id, pieces);
    pieces.len(log.added);
    pieces.len(stream.groups() as u64);
    Place::Group(None)
}

fn id(id: Id, pieces: &mut Pieces<'_>) {
    pieces.len(id.ms);
    pieces.len(id.seq);
}

// ---- reading

/// A stream in the making.
pub(super) struct Part {
    kind: u8,
    next: Next,
    stream: Box<Stream>,
    /// Groups to come.
    groups: u64,
    /// The group that is read.
    group: Option<(Vec<u8>, Group)>,
    /// What it has to acknowledge that is nobody's yet.
    unowned: u64,
    /// Consumers of that group to come.
    consumers: u64,
}

/// What is to be read next; of some things, how many.
enum Next {
    Nodes,
    Node(u64),
    Facts,
    Group,
    Pending(u64),
    Consumers,
    Consumer,
    Owned(Member, u64),
}

const ODD_NODE: Error = Error::Corrupt("a stream's node");

impl Part {
    pub(super) fn new(kind: u8) -> Part {
        let stream = Box::default();
        Part { kind, next: Next::Nodes, stream, groups: 0, group: None, unowned: 0, consumers: 0 }
    }

    /// Reads on, over at most `work` things; the stream once it is whole.
    pub(super) fn step(&mut self, input: &mut Input<'_>, work: usize) -> Result<Option<Object>, Stop> {
        for _ in 0..work {
            if input.attempt(|input| self.thing(input))?.is_break() {
                return Ok(Some(Object::Stream(std::mem::take(&mut self.stream))));
            }
        }
        Ok(None)
    }

    fn thing(&mut self, input: &mut Input<'_>) -> Result<ControlFlow<()>, Stop> {
        let next = match self.next {
            Next::Nodes => Next::Node(input.count()?),
            Next::Node(0) => Next::Facts,
            Next::Node(left) => {
                let id: Result<[u8; 16], _> = input.text()?.into_vec().try_into();
                let id = Id::from_bytes(id.map_err(|_| Error::Corrupt("the id of a stream's node"))?);
                let pack = Listpack::from_bytes(input.text()?.into_vec()).map_err(|_| ODD_NODE)?;
                self.stream.log.adopt(id, pack).map_err(|_| ODD_NODE)?;
                Next::Node(left - 1)
            }
            Next::Facts => {
                self.facts(input)?;
                Next::Group
            }
            Next::Group if self.groups == 0 => return Ok(Break(())),
            Next::Group => Next::Pending(self.begin_group(input)?),
            Next::Pending(0) => Next::Consumers,
            Next::Pending(left) => {
                let (id, at_ms) = (Id::from_bytes(input.array()?), i64::from_le_bytes(input.array()?));
                let count = input.length()?;
                if !self.group().adopt(id, at_ms, count) {
                    return Err(Error::Corrupt("a delivered entry that is there twice").into());
                }
                self.unowned += 1;
                Next::Pending(left - 1)
            }
            Next::Consumers => {
                self.consumers = input.count()?;
                Next::Consumer
            }
            Next::Consumer if self.consumers == 0 => {
                self.end_group()?;
                Next::Group
            }
            Next::Consumer => self.consumer(input)?,
            Next::Owned(_, 0) => Next::Consumer,
            Next::Owned(member, left) => {
                let id = Id::from_bytes(input.array()?);
                if !self.group().adopt_owner(id, member) {
                    return Err(Error::Corrupt("a delivered entry that is of no consumer, or of two").into());
                }
                self.unowned -= 1;
                Next::Owned(member, left - 1)
            }
        };
        self.next = next;
        Ok(Continue(()))
    }

    fn group(&mut self) -> &mut Group {
        &mut self.group.as_mut().expect("one has begun").1
    }

    fn facts(&mut self, input: &mut Input<'_>) -> Result<(), Stop> {
        let len = input.length()?;
        let last_id = read_id(input)?;
        let more = match self.kind {
            kind::STREAM_LISTPACKS => None,
            _ => Some((read_id(input)?, read_id(input)?, input.length()?)),
        };
        self.groups = input.count()?;
        let log = &mut self.stream.log;
        if log.len() != len {
            return Err(Error::Corrupt("a stream's length").into());
        }
        log.last_id = last_id;
        match more {
            Some(more) => (log.first_id, log.max_deleted_id, log.added) = more,
            None => log.note_old(),
        }
        Ok(())
    }

    /// Reads a group's own facts, and how much it has to acknowledge.
    fn begin_group(&mut self, input: &mut Input<'_>) -> Result<u64, Stop> {
        let (name, last_id) = (input.text()?.into_vec(), read_id(input)?);
        let read = match self.kind {
            kind::STREAM_LISTPACKS => self.stream.log.added_until(last_id),
            _ => Some(input.length()? as i64).filter(|read| *read != -1),
        };
        let pending = input.count()?;
        self.groups -= 1;
        self.group = Some((name, Group::new(last_id, read)));
        Ok(pending)
    }

    fn consumer(&mut self, input: &mut Input<'_>) -> Result<Next, Stop> {
        let (name, seen_ms) = (input.text()?.into_vec(), i64::from_le_bytes(input.array()?));
        if self.kind == kind::STREAM_LISTPACKS_3 {
            // when it last got something, which 7.0 doesn't know
            input.array::<8>()?;
        }
        let owned = input.count()?;
        let group = self.group();
        if group.member(&name).is_some() {
            return Err(Error::Corrupt("a consumer that is there twice").into());
        }
        let member = group.join(&name, seen_ms);
        self.consumers -= 1;
        Ok(Next::Owned(member, owned))
    }

    fn end_group(&mut self) -> Result<(), Error> {
        let (name, group) = self.group.take().expect("one has begun");
        if self.unowned > 0 {
            return Err(Error::Corrupt("a delivered entry that is of no consumer"));
        }
        match self.stream.add_group(&name, group) {
            true => Ok(()),
            false => Err(Error::Corrupt("a group that is there twice")),
        }
    }
}

fn read_id(input: &mut Input<'_>) -> Result<Id, Stop> {
    Ok(Id { ms: input.length()?, seq: input.length()? })
}
