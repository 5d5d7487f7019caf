//! Packets to bytes.

use super::layout::{self, extension, gossip, host, mark, module, publish, spoken, update};
use super::{
    Extension, Gossip, GossipEntry, Header, HostGossip, HostMark, Message, Packet, Spoken, Statement, mflag,
};
use crate::limits;

/// Appends `packet` to `out`. The header says [`mflag::EXT_DATA`] when there are extensions, whether
/// it was set in `packet` or not. Addresses are cut at what a packet holds of them.
///
/// # Panics
/// With more than 65535 entries of gossip or extensions, or texts longer than [`limits::BUS_PACKET`]
/// together: the sender counts them before.
pub fn encode(packet: &Packet, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + layout::HEADER, 0);
    header(&packet.header, &mut out[start..]);
    layout::KIND.set(&mut out[start..], packet.message.kind().to_be_bytes());
    match &packet.message {
        Message::Ping(gossip) | Message::Pong(gossip) | Message::Meet(gossip) => {
            gossip_of(gossip, start, out);
        }
        Message::Fail(id) => out.extend_from_slice(id),
        Message::Publish { channel, message } | Message::PublishShard { channel, message } => {
            let at = grow(out, publish::LEN);
            publish::CHANNEL.set(&mut out[at..], (channel.len() as u32).to_be_bytes());
            publish::MESSAGE.set(&mut out[at..], (message.len() as u32).to_be_bytes());
            out.extend_from_slice(channel);
            out.extend_from_slice(message);
        }
        Message::Update { config_epoch, id, slots } => {
            let at = grow(out, update::LEN);
            update::CONFIG_EPOCH.set(&mut out[at..], config_epoch.to_be_bytes());
            update::ID.set(&mut out[at..], *id);
            update::SLOTS.set(&mut out[at..], *slots.as_bytes());
        }
        Message::Module { id, kind, data } => {
            let at = grow(out, module::LEN);
            module::ID.set(&mut out[at..], *id);
            module::KIND.set(&mut out[at..], [*kind]);
            module::DATA.set(&mut out[at..], (data.len() as u32).to_be_bytes());
            out.extend_from_slice(data);
        }
        Message::Host(of) => host_of(of, start, out),
        Message::AuthRequest | Message::AuthAck | Message::MfStart | Message::Unknown(_) => {}
    }
    let total = out.len() - start;
    assert!(total <= limits::BUS_PACKET, "a packet of {total} bytes");
    layout::TOTAL.set(&mut out[start..], (total as u32).to_be_bytes());
}

fn header(header: &Header, frame: &mut [u8]) {
    layout::SIGNATURE.set(frame, layout::SIGNATURE_TEXT);
    layout::VERSION.set(frame, layout::PROTOCOL.to_be_bytes());
    layout::PORT.set(frame, header.port.to_be_bytes());
    layout::CURRENT_EPOCH.set(frame, header.current_epoch.to_be_bytes());
    layout::CONFIG_EPOCH.set(frame, header.config_epoch.to_be_bytes());
    layout::OFFSET.set(frame, header.offset.to_be_bytes());
    layout::SENDER.set(frame, header.sender);
    layout::SLOTS.set(frame, *header.slots.as_bytes());
    layout::REPLICA_OF.set(frame, header.replica_of.unwrap_or([0; layout::NAME]));
    layout::ADDRESS.set(frame, address(&header.ip));
    layout::PPORT.set(frame, header.pport.to_be_bytes());
    layout::CPORT.set(frame, header.cport.to_be_bytes());
    layout::FLAGS.set(frame, header.flags.to_be_bytes());
    layout::STATE.set(frame, [!header.ok as u8]);
    layout::MFLAGS.set(frame, [header.mflags, 0, 0]);
    if let Some(mark) = &header.host {
        layout::MARK.set(frame, mark_of(mark));
    }
}

fn mark_of(of: &HostMark) -> [u8; mark::LEN] {
    let mut field = [0; mark::LEN];
    mark::MAGIC.set(&mut field, mark::MAGIC_TEXT);
    mark::HOST.set(&mut field, of.host.to_be_bytes());
    mark::TO.set(&mut field, of.to.to_be_bytes());
    mark::NUMBER.set(&mut field, of.number.to_be_bytes());
    mark::NODE.set(&mut field, of.node.to_be_bytes());
    field
}

fn count(n: usize) -> [u8; 2] {
    u16::try_from(n).expect("what a count holds").to_be_bytes()
}

fn host_of(of: &HostGossip, start: usize, out: &mut Vec<u8>) {
    layout::COUNT.set(&mut out[start..], count(of.entries.len()));
    let at = grow(out, host::LEN);
    host::ASKS.set(&mut out[at..], u16::from(of.asks).to_be_bytes());
    host::NODES.set(&mut out[at..], count(of.nodes.len()));
    entries_of(&of.entries, out);
    of.nodes.iter().for_each(|node| spoken_of(node, out));
}

fn spoken_of(of: &Spoken, out: &mut Vec<u8>) {
    let at = grow(out, spoken::LEN);
    spoken::NUMBER.set(&mut out[at..], of.number.to_be_bytes());
    spoken::VERSION.set(&mut out[at..], of.version.to_be_bytes());
    spoken::OFFSET.set(&mut out[at..], of.offset.to_be_bytes());
    let Some(news) = &of.news else { return };
    let Statement { header, extensions } = news.as_ref().clone();
    let message = Message::Pong(Gossip { entries: Vec::new(), extensions });
    let from = out.len();
    encode(&Packet { header, message }, out);
    let len = (out.len() - from) as u32;
    spoken::NEWS.set(&mut out[at..], len.to_be_bytes());
}

fn gossip_of(of: &Gossip, start: usize, out: &mut Vec<u8>) {
    layout::COUNT.set(&mut out[start..], count(of.entries.len()));
    layout::EXTENSIONS.set(&mut out[start..], count(of.extensions.len()));
    if !of.extensions.is_empty() {
        let mflags = layout::MFLAGS.of(&out[start..])[0];
        layout::MFLAGS.set(&mut out[start..], [mflags | mflag::EXT_DATA, 0, 0]);
    }
    entries_of(&of.entries, out);
    of.extensions.iter().for_each(|extension| extension_of(extension, out));
}

fn entries_of(entries: &[GossipEntry], out: &mut Vec<u8>) {
    for entry in entries {
        let at = grow(out, gossip::LEN);
        entry_of(entry, &mut out[at..]);
    }
}

fn entry_of(entry: &GossipEntry, bytes: &mut [u8]) {
    gossip::ID.set(bytes, entry.id);
    gossip::PING_SENT.set(bytes, entry.ping_sent.to_be_bytes());
    gossip::PONG_RECEIVED.set(bytes, entry.pong_received.to_be_bytes());
    gossip::ADDRESS.set(bytes, address(&entry.ip));
    gossip::PORT.set(bytes, entry.port.to_be_bytes());
    gossip::CPORT.set(bytes, entry.cport.to_be_bytes());
    gossip::FLAGS.set(bytes, entry.flags.to_be_bytes());
    gossip::PPORT.set(bytes, entry.pport.to_be_bytes());
}

fn extension_of(of: &Extension, out: &mut Vec<u8>) {
    let at = grow(out, extension::LEN);
    let kind = match of {
        Extension::Hostname(text) => {
            padded(text, out);
            extension::HOSTNAME
        }
        Extension::HumanName(text) => {
            padded(text, out);
            extension::HUMAN_NAME
        }
        Extension::Forgotten { id, ttl } => {
            out.extend_from_slice(id);
            out.extend_from_slice(&ttl.to_be_bytes());
            extension::FORGOTTEN
        }
        Extension::ShardId(id) => {
            out.extend_from_slice(id);
            extension::SHARD_ID
        }
        Extension::Unknown(kind) => *kind,
    };
    let len = (out.len() - at) as u32;
    extension::KIND.set(&mut out[at..], kind.to_be_bytes());
    extension::LENGTH.set(&mut out[at..], len.to_be_bytes());
}

/// A text with its NUL, filled up to a multiple of eight.
fn padded(text: &str, out: &mut Vec<u8>) {
    let at = grow(out, (text.len() + 1).next_multiple_of(8));
    out[at..at + text.len()].copy_from_slice(text.as_bytes());
}

fn address(text: &str) -> [u8; layout::IP] {
    let mut field = [0; layout::IP];
    let len = text.len().min(limits::ADDRESS);
    field[..len].copy_from_slice(&text.as_bytes()[..len]);
    field
}

/// Appends `len` zero bytes; where they begin.
fn grow(out: &mut Vec<u8>, len: usize) -> usize {
    let at = out.len();
    out.resize(at + len, 0);
    at
}
