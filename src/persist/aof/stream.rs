//! Streams as commands: the entries, what the stream remembers of others, and its groups.
//!
//! As with Redis, nodes come out as they fill today, and what is to be acknowledged but deleted is lost.

use super::encode::{begin, command, number, word};
use crate::value::stream::{Group, Id, Name, Stream};

/// What comes next of a stream that is written as commands.
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// The first entry.
    #[default]
    Start,
    /// The entry behind this one.
    Entry(Id),
    /// The group behind this one.
    Group(Option<Name>),
    /// The consumer of a group behind another.
    Consumer(Name, Option<Name>),
    /// What a consumer of a group has to acknowledge, from an id on.
    Owned(Name, Name, Id),
}

/// Appends commands that make what stands at `place`, about `most` bytes of them, and returns what comes
/// after it, if anything does.
pub fn stretch(out: &mut Vec<u8>, key: &[u8], stream: &Stream, place: &Place, most: usize) -> Option<Place> {
    let full = out.len().saturating_add(most);
    match place {
        Place::Start if stream.log.len() == 0 => {
            // an entry that is gone at once leaves the stream
            command(out, [b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
            Some(remember(out, key, stream))
        }
        Place::Start => Some(entries(out, key, stream, None, full)),
        Place::Entry(last) => Some(entries(out, key, stream, Some(*last), full)),
        Place::Group(before) => {
            let (name, group) = stream.group_after(before.as_ref())?;
            begin(out, 7);
            [b"XGROUP", &b"CREATE"[..], key, name].iter().for_each(|text| word(out, text));
            id(out, group.last_id);
            word(out, b"ENTRIESREAD");
            number(out, group.read.unwrap_or(-1));
            Some(Place::Consumer(name.clone(), None))
        }
        Place::Consumer(name, before) => {
            let Some(consumer) = stream.group(name)?.consumer_after(before.as_ref()) else {
                return Some(Place::Group(Some(name.clone())));
            };
            if consumer.owned() > 0 {
                return Some(Place::Owned(name.clone(), consumer.name.clone(), Id::ZERO));
            }
            command(out, [b"XGROUP", &b"CREATECONSUMER"[..], key, name, &consumer.name]);
            Some(Place::Consumer(name.clone(), Some(consumer.name.clone())))
        }
        Place::Owned(name, owner, from) => {
            let group = stream.group(name)?;
            for owned in group.consumer(group.member(owner)?).owned_from(*from) {
                if out.len() >= full {
                    return Some(Place::Owned(name.clone(), owner.clone(), owned));
                }
                claim(out, key, (name, group), owner, owned);
            }
            Some(Place::Consumer(name.clone(), Some(owner.clone())))
        }
    }
}

/// Entries behind `last`, until the output is full; behind all of them what else the stream knows.
fn entries(out: &mut Vec<u8>, key: &[u8], stream: &Stream, last: Option<Id>, full: usize) -> Place {
    let mut written = None;
    for entry in last.map_or(stream.log.iter(), |last| stream.log.behind(last)) {
        if let Some(last) = written.filter(|_| out.len() >= full) {
            return Place::Entry(last);
        }
        written = Some(entry.id);
        let pairs = entry.pairs();
        begin(out, 3 + 2 * pairs.len());
        word(out, b"XADD");
        word(out, key);
        id(out, entry.id);
        for (field, value) in pairs {
            field.with_text(|text| word(out, text));
            value.with_text(|text| word(out, text));
        }
    }
    remember(out, key, stream)
}

fn remember(out: &mut Vec<u8>, key: &[u8], stream: &Stream) -> Place {
    begin(out, 7);
    word(out, b"XSETID");
    word(out, key);
    id(out, stream.log.last_id);
    word(out, b"ENTRIESADDED");
    number(out, stream.log.added as i64);
    word(out, b"MAXDELETEDID");
    id(out, stream.log.max_deleted_id);
    Place::Group(None)
}

fn claim(out: &mut Vec<u8>, key: &[u8], (name, group): (&Name, &Group), owner: &Name, owned: Id) {
    let Some(pending) = group.find(owned) else { return };
    begin(out, 12);
    [b"XCLAIM", key, name, owner, b"0"].iter().for_each(|text| word(out, text));
    id(out, owned);
    word(out, b"TIME");
    number(out, pending.at_ms);
    word(out, b"RETRYCOUNT");
    number(out, pending.count as i64);
    word(out, b"JUSTID");
    word(out, b"FORCE");
}

fn id(out: &mut Vec<u8>, id: Id) {
    id.with_text(|text| word(out, text));
}
