//! Bytes to packets.

use super::layout::{self, Field, extension, gossip, host, mark, module, publish, spoken, update};
use super::{
    Extension, Gossip, GossipEntry, Header, HostGossip, HostMark, Malformed, Message, Packet, Spoken,
    Statement, kind, mflag,
};
use crate::cluster::names;
use crate::cluster::slots::SlotSet;
use crate::cluster::view::NodeId;
use crate::limits;
use bytes::Bytes;

type Result<T> = std::result::Result<T, Malformed>;

/// The length of the packet that `prefix` begins, as soon as eight bytes of it are there.
pub fn frame_len(prefix: &[u8]) -> Result<Option<usize>> {
    if prefix.len() < layout::TOTAL.at + 4 {
        return Ok(None);
    }
    if *layout::SIGNATURE.of(prefix) != layout::SIGNATURE_TEXT {
        return Err(Malformed::Signature);
    }
    let total = u32_at(prefix, layout::TOTAL);
    if !(layout::HEADER..=limits::BUS_PACKET).contains(&(total as usize)) {
        return Err(Malformed::Length(total));
    }
    Ok(Some(total as usize))
}

/// The type of a frame, of [`kind`], be the rest of it malformed or not: Redis counts them all.
pub fn kind_of(frame: &[u8]) -> Option<u16> {
    (frame.len() >= layout::HEADER).then(|| u16_at(frame, layout::KIND))
}

/// Reads one whole frame.
pub fn decode(frame: &[u8]) -> Result<Packet> {
    match frame_len(frame)? {
        Some(total) if total == frame.len() => {}
        _ => return Err(Malformed::Size),
    }
    let version = u16_at(frame, layout::VERSION);
    if version != layout::PROTOCOL {
        return Err(Malformed::Version(version));
    }
    Ok(Packet { message: message(frame)?, header: header(frame)? })
}

fn header(frame: &[u8]) -> Result<Header> {
    let of = layout::REPLICA_OF.of(frame);
    Ok(Header {
        sender: name(layout::SENDER.of(frame))?,
        flags: u16_at(frame, layout::FLAGS),
        ok: layout::STATE.of(frame)[0] == 0,
        mflags: layout::MFLAGS.of(frame)[0],
        current_epoch: u64_at(frame, layout::CURRENT_EPOCH),
        config_epoch: u64_at(frame, layout::CONFIG_EPOCH),
        offset: u64_at(frame, layout::OFFSET),
        slots: SlotSet::from_bytes(layout::SLOTS.of(frame)),
        replica_of: if *of == [0; layout::NAME] { None } else { Some(name(of)?) },
        ip: address(layout::ADDRESS.of(frame))?,
        port: u16_at(frame, layout::PORT),
        pport: u16_at(frame, layout::PPORT),
        cport: u16_at(frame, layout::CPORT),
        host: mark_of(layout::MARK.of(frame)),
    })
}

/// Whatever else may stand in reserved bytes one day is no mark.
fn mark_of(field: &[u8; mark::LEN]) -> Option<HostMark> {
    let host = u64_at(field, mark::HOST);
    (*mark::MAGIC.of(field) == mark::MAGIC_TEXT && host != 0).then(|| HostMark {
        host,
        to: u64_at(field, mark::TO),
        number: u16_at(field, mark::NUMBER),
        node: u16_at(field, mark::NODE),
    })
}

fn message(frame: &[u8]) -> Result<Message> {
    let body = &frame[layout::HEADER..];
    let exactly = |len: usize| if body.len() == len { Ok(()) } else { Err(Malformed::Size) };
    Ok(match u16_at(frame, layout::KIND) {
        kind::PING => Message::Ping(gossip_of(frame)?),
        kind::PONG => Message::Pong(gossip_of(frame)?),
        kind::MEET => Message::Meet(gossip_of(frame)?),
        kind::FAIL => {
            exactly(layout::NAME)?;
            Message::Fail(name(body)?)
        }
        kind::PUBLISH => {
            let (channel, message) = texts(body)?;
            Message::Publish { channel, message }
        }
        kind::PUBLISH_SHARD => {
            let (channel, message) = texts(body)?;
            Message::PublishShard { channel, message }
        }
        kind::AUTH_REQUEST => {
            exactly(0)?;
            Message::AuthRequest
        }
        kind::AUTH_ACK => {
            exactly(0)?;
            Message::AuthAck
        }
        kind::UPDATE => {
            exactly(update::LEN)?;
            Message::Update {
                config_epoch: u64_at(body, update::CONFIG_EPOCH),
                id: name(update::ID.of(body))?,
                slots: SlotSet::from_bytes(update::SLOTS.of(body)),
            }
        }
        kind::MFSTART => {
            exactly(0)?;
            Message::MfStart
        }
        kind::MODULE => {
            let data = body.get(module::LEN..).ok_or(Malformed::Size)?;
            if data.len() != u32_at(body, module::DATA) as usize {
                return Err(Malformed::Size);
            }
            let data = Bytes::copy_from_slice(data);
            Message::Module { id: *module::ID.of(body), kind: module::KIND.of(body)[0], data }
        }
        kind::HOST => Message::Host(host_of(frame)?),
        other => Message::Unknown(other),
    })
}

fn host_of(frame: &[u8]) -> Result<HostGossip> {
    let body = &frame[layout::HEADER..];
    let (head, rest) = body.split_at_checked(host::LEN).ok_or(Malformed::Size)?;
    let count = u16_at(frame, layout::COUNT) as usize;
    let (entries, mut rest) = rest.split_at_checked(count * gossip::LEN).ok_or(Malformed::Size)?;
    let entries = entries.chunks_exact(gossip::LEN).map(entry).collect::<Result<_>>()?;
    let mut nodes: Vec<Spoken> = Vec::new();
    for _ in 0..u16_at(head, host::NODES) {
        let node = spoken_of(&mut rest)?;
        if nodes.last().is_some_and(|last| last.number >= node.number) {
            return Err(Malformed::Size);
        }
        nodes.push(node);
    }
    if !rest.is_empty() {
        return Err(Malformed::Size);
    }
    Ok(HostGossip { asks: u16_at(head, host::ASKS) != 0, entries, nodes })
}

fn spoken_of(rest: &mut &[u8]) -> Result<Spoken> {
    let (head, more) = rest.split_at_checked(spoken::LEN).ok_or(Malformed::Size)?;
    let news = u32_at(head, spoken::NEWS) as usize;
    let (news, more) = more.split_at_checked(news).ok_or(Malformed::Size)?;
    *rest = more;
    Ok(Spoken {
        number: u16_at(head, spoken::NUMBER),
        version: u64_at(head, spoken::VERSION),
        offset: u64_at(head, spoken::OFFSET),
        news: if news.is_empty() { None } else { Some(Box::new(statement(news)?)) },
    })
}

/// A PONG without gossip. Its type is looked at first: what is in a packet holds no such packets.
fn statement(frame: &[u8]) -> Result<Statement> {
    if kind_of(frame) != Some(kind::PONG) {
        return Err(Malformed::Size);
    }
    match decode(frame)? {
        Packet { header, message: Message::Pong(gossip) } if gossip.entries.is_empty() => {
            Ok(Statement { header, extensions: gossip.extensions })
        }
        _ => Err(Malformed::Size),
    }
}

/// Channel and message of PUBLISH and SPUBLISH.
fn texts(body: &[u8]) -> Result<(Bytes, Bytes)> {
    let texts = body.get(publish::LEN..).ok_or(Malformed::Size)?;
    let (channel, message) = (u32_at(body, publish::CHANNEL), u32_at(body, publish::MESSAGE));
    if texts.len() as u64 != channel as u64 + message as u64 {
        return Err(Malformed::Size);
    }
    let (channel, message) = texts.split_at(channel as usize);
    Ok((Bytes::copy_from_slice(channel), Bytes::copy_from_slice(message)))
}

fn gossip_of(frame: &[u8]) -> Result<Gossip> {
    let count = u16_at(frame, layout::COUNT) as usize;
    let body = &frame[layout::HEADER..];
    let (entries, rest) = body.split_at_checked(count * gossip::LEN).ok_or(Malformed::Size)?;
    let entries = entries.chunks_exact(gossip::LEN).map(entry).collect::<Result<_>>()?;
    let extended = layout::MFLAGS.of(frame)[0] & mflag::EXT_DATA != 0;
    let count = if extended { u16_at(frame, layout::EXTENSIONS) } else { 0 };
    Ok(Gossip { entries, extensions: extensions(rest, count)? })
}

fn entry(bytes: &[u8]) -> Result<GossipEntry> {
    Ok(GossipEntry {
        id: name(gossip::ID.of(bytes))?,
        ping_sent: u32_at(bytes, gossip::PING_SENT),
        pong_received: u32_at(bytes, gossip::PONG_RECEIVED),
        ip: address(gossip::ADDRESS.of(bytes))?,
        port: u16_at(bytes, gossip::PORT),
        cport: u16_at(bytes, gossip::CPORT),
        pport: u16_at(bytes, gossip::PPORT),
        flags: u16_at(bytes, gossip::FLAGS),
    })
}

/// `count` extensions that fill `rest`.
fn extensions(mut rest: &[u8], count: u16) -> Result<Vec<Extension>> {
    let mut found = Vec::new();
    for _ in 0..count {
        if rest.len() < extension::LEN {
            return Err(Malformed::Size);
        }
        let len = u32_at(rest, extension::LENGTH) as usize;
        if len < extension::LEN || !len.is_multiple_of(8) {
            return Err(Malformed::Extension);
        }
        let (this, more) = rest.split_at_checked(len).ok_or(Malformed::Size)?;
        let data = &this[extension::LEN..];
        found.push(match u16_at(this, extension::KIND) {
            extension::HOSTNAME => Extension::Hostname(checked(until_nul(data)?, names::is_hostname)?),
            extension::HUMAN_NAME => Extension::HumanName(checked(until_nul(data)?, names::is_aux)?),
            extension::FORGOTTEN => {
                let (id, ttl) = data.split_at_checked(layout::NAME).ok_or(Malformed::Extension)?;
                let ttl = u64::from_be_bytes(ttl.try_into().map_err(|_| Malformed::Extension)?);
                Extension::Forgotten { id: name(id)?, ttl }
            }
            extension::SHARD_ID if data.len() != layout::NAME => return Err(Malformed::Extension),
            extension::SHARD_ID => Extension::ShardId(name(data)?),
            other => Extension::Unknown(other),
        });
        rest = more;
    }
    if rest.is_empty() { Ok(found) } else { Err(Malformed::Size) }
}

/// A text whose last byte is NUL, up to its first one.
fn until_nul(data: &[u8]) -> Result<&[u8]> {
    match data.last() {
        Some(0) => Ok(data.split(|b| *b == 0).next().unwrap_or_default()),
        _ => Err(Malformed::Extension),
    }
}

/// A NUL-padded address. What stands behind the first NUL is left over from longer ones.
fn address(field: &[u8; layout::IP]) -> Result<String> {
    // as Redis, which is not sure that the sender is sane: the last byte never counts
    let text = &field[..limits::ADDRESS];
    checked(text.split(|b| *b == 0).next().unwrap_or_default(), names::is_address)
}

fn checked(text: &[u8], rule: fn(&[u8]) -> bool) -> Result<String> {
    let text = Some(text).filter(|text| rule(text)).and_then(|text| std::str::from_utf8(text).ok());
    text.map(str::to_owned).ok_or(Malformed::Address)
}

fn name(bytes: &[u8]) -> Result<NodeId> {
    names::node_id(bytes).ok_or(Malformed::Name)
}

fn u16_at(bytes: &[u8], field: Field<2>) -> u16 {
    u16::from_be_bytes(*field.of(bytes))
}

fn u32_at(bytes: &[u8], field: Field<4>) -> u32 {
    u32::from_be_bytes(*field.of(bytes))
}

fn u64_at(bytes: &[u8], field: Field<8>) -> u64 {
    u64::from_be_bytes(*field.of(bytes))
}
