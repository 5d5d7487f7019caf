//! Packets of real redis-server 7.0.15 nodes, and packets of nobody.
//!
//! `golden/` was recorded by a proxy between six nodes (their `cluster-announce-bus-port` was the
//! proxy's) while they met, published, failed over by hand and by loss, and greeted through a module.
//! Each file says what another decoder read in the packet, and then its bytes in hex; `00*9` is nine
//! of them.

use super::*;
use crate::cluster::names;
use crate::slot::{SLOTS, Slot};
use crate::util::proof::cases;
use proptest::collection::vec;
use proptest::prelude::*;
use std::fmt::Write;

macro_rules! golden {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("golden/", $name, ".txt")))),*]
    };
}

const GOLDEN: &[(&str, &str)] = golden![
    "auth_ack",
    "auth_request",
    "auth_request_forced",
    "fail",
    "meet",
    "mfstart",
    "module",
    "ping",
    "ping_announced",
    "ping_paused",
    "ping_replica",
    "pong_hostname",
    "pong_pfail",
    "publish",
    "publish_binary",
    "publish_shard",
    "update",
];

/// What a golden file says, and the frame.
fn golden(text: &str) -> (String, Vec<u8>) {
    let (said, hex) = text.split_once("\n\n").expect("an empty line before the bytes");
    let said = said.lines().skip(1).map(|line| format!("{line}\n")).collect();
    let mut frame = Vec::new();
    for line in hex.lines() {
        let (digits, times) = line.split_once('*').unwrap_or((line, "1"));
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex digits"))
            .collect();
        frame.extend(bytes.repeat(times.parse().expect("a count")));
    }
    (said, frame)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn text(id: &NodeId) -> &str {
    std::str::from_utf8(id).expect("a name")
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn ranges(slots: &SlotSet) -> String {
    let ranges: Vec<String> = slots.ranges().map(|(from, to)| format!("{from}-{to}")).collect();
    or_dash(&ranges.join(" ")).to_owned()
}

/// The packet in the words of the golden files.
fn describe(packet: &Packet) -> String {
    let Packet { header: h, message } = packet;
    let mut out = String::new();
    let kind = kind::NAMES[message.kind() as usize];
    let of = h.replica_of.as_ref().map_or("-", text);
    let state = if h.ok { "ok" } else { "fail" };
    write!(
        out,
        "type {kind}\nsender {}\nflags {}\nstate {state}\nmflags {}\nepochs {} {}\noffset {}\nslots {}\n\
         replica of {of}\naddress {} {} {} {}\n",
        text(&h.sender),
        h.flags,
        h.mflags,
        h.current_epoch,
        h.config_epoch,
        h.offset,
        ranges(&h.slots),
        or_dash(&h.ip),
        h.port,
        h.pport,
        h.cport
    )
    .unwrap();
    match message {
        Message::Ping(gossip) | Message::Pong(gossip) | Message::Meet(gossip) => {
            for e in &gossip.entries {
                let (ip, id) = (or_dash(&e.ip), text(&e.id));
                let ports = format!("{} {} {}", e.port, e.cport, e.pport);
                writeln!(out, "gossip {id} {ip} {ports} {} {} {}", e.flags, e.ping_sent, e.pong_received)
                    .unwrap();
            }
            for extension in &gossip.extensions {
                match extension {
                    Extension::Hostname(name) => writeln!(out, "hostname {name}").unwrap(),
                    other => panic!("7.0.15 does not send {other:?}"),
                }
            }
        }
        Message::Fail(id) => writeln!(out, "failed {}", text(id)).unwrap(),
        Message::Publish { channel, message } | Message::PublishShard { channel, message } => {
            write!(out, "channel {}\nmessage {}\n", hex(channel), hex(message)).unwrap();
        }
        Message::Update { config_epoch, id, slots } => {
            writeln!(out, "update {config_epoch} {} {}", text(id), ranges(slots)).unwrap();
        }
        Message::Module { id, kind, data } => {
            writeln!(out, "module {} {kind} {}", hex(id), hex(data)).unwrap();
        }
        Message::AuthRequest | Message::AuthAck | Message::MfStart => {}
        other => panic!("7.0.15 does not send {other:?}"),
    }
    out
}

fn encoded(packet: &Packet) -> Vec<u8> {
    let mut out = b"before".to_vec();
    encode(packet, &mut out);
    out.split_off(6)
}

#[test]
fn packets_of_redis_are_read_and_written_back() {
    let mut seen = [false; kind::COUNT];
    for (name, text) in GOLDEN {
        let (said, frame) = golden(text);
        assert_eq!(frame_len(&frame[..8]), Ok(Some(frame.len())), "{name}");
        let packet = decode(&frame).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(describe(&packet), said, "{name}");
        assert!(encoded(&packet) == frame, "{name}: other bytes than Redis's");
        assert_eq!(kind_of(&frame), Some(packet.message.kind()));
        seen[packet.message.kind() as usize] = true;
    }
    assert_eq!(seen, [true; kind::COUNT], "every type of message has its golden packet");
}

fn frame_of(name: &str) -> Vec<u8> {
    golden(GOLDEN.iter().find(|(n, _)| *n == name).expect("a golden packet").1).1
}

/// The frame with `bytes` at `at`.
fn patched(name: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame_of(name);
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The frame with other bytes behind its header, and a total length that fits them.
fn with_body(name: &str, body: &[u8]) -> Vec<u8> {
    let mut frame = frame_of(name);
    frame.truncate(layout::HEADER);
    frame.extend_from_slice(body);
    let total = (frame.len() as u32).to_be_bytes();
    frame[4..8].copy_from_slice(&total);
    frame
}

/// A PING with this much said to be in it, and this behind its header.
fn ping_with(count: u16, extensions: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = with_body("pong_hostname", body);
    frame[14..16].copy_from_slice(&count.to_be_bytes());
    frame[2214..2216].copy_from_slice(&extensions.to_be_bytes());
    frame
}

fn extension(len: u32, kind: u16, data: &[u8]) -> Vec<u8> {
    [&len.to_be_bytes()[..], &kind.to_be_bytes(), &[0, 0], data].concat()
}

#[test]
fn what_closes_a_link() {
    let frame = frame_of("ping");
    assert_eq!(frame_len(&frame[..7]), Ok(None));
    assert_eq!(frame_len(b"RCmc\0\0\x10\0"), Err(Malformed::Signature));
    assert_eq!(frame_len(b"GET / HTTP/1.1"), Err(Malformed::Signature));
    for length in [0, 15, 2255, crate::limits::BUS_PACKET as u32 + 1, u32::MAX] {
        let prefix = [&b"RCmb"[..], &length.to_be_bytes()].concat();
        assert_eq!(frame_len(&prefix), Err(Malformed::Length(length)));
        assert_eq!(decode(&prefix), Err(Malformed::Length(length)));
    }
    assert!(Malformed::Signature.closes() && Malformed::Length(1).closes());
    let dropped = [Malformed::Version(0), Malformed::Size, Malformed::Extension, Malformed::Name];
    assert!(dropped.iter().all(|why| !why.closes()) && !Malformed::Address.closes());
}

#[test]
fn what_is_counted_and_dropped() {
    assert_eq!(decode(&patched("ping", 8, &[0, 0])), Err(Malformed::Version(0)));
    assert_eq!(decode(&patched("ping", 8, &[0, 2])), Err(Malformed::Version(2)));
    assert_eq!(decode(&patched("ping", 14, &[0xFF, 0xFF])), Err(Malformed::Size));
    assert_eq!(decode(&patched("ping", 14, &[0, 0])), Err(Malformed::Size));
    for name in ["fail", "auth_request", "auth_ack", "mfstart", "update", "publish", "module"] {
        let body = frame_of(name).split_off(layout::HEADER);
        let longer = [&body[..], b"x"].concat();
        assert_eq!(decode(&with_body(name, &longer)), Err(Malformed::Size), "{name}");
        for len in 0..body.len() {
            assert_eq!(decode(&with_body(name, &body[..len])), Err(Malformed::Size), "{name} {len}");
        }
    }
    // lengths that overflow when added
    for name in ["publish", "publish_shard"] {
        assert_eq!(decode(&patched(name, layout::HEADER, &[0xFF; 8])), Err(Malformed::Size));
    }
    assert_eq!(decode(&patched("module", layout::HEADER + 8, &[0xFF; 4])), Err(Malformed::Size));
    for (name, at) in [("ping", 40), ("ping_replica", 2128), ("ping", 2256), ("fail", 2256), ("update", 2264)]
    {
        for byte in [b'A', b' ', b'\n', 0, 0xFF] {
            assert_eq!(decode(&patched(name, at + 7, &[byte])), Err(Malformed::Name), "{name} {at}");
        }
    }
    for (name, at) in [("ping", 2168), ("ping", 2256 + 48)] {
        assert_eq!(decode(&patched(name, at, b"1.1.1.1 myself")), Err(Malformed::Address));
        assert_eq!(decode(&patched(name, at, b"\xFF")), Err(Malformed::Address));
    }
}

#[test]
fn extensions_are_measured() {
    let host = |len: u32, data: &[u8]| decode(&ping_with(0, 1, &extension(len, 0, data)));
    let found = |packet: Packet| match packet.message {
        Message::Pong(gossip) => gossip.extensions,
        other => panic!("{other:?}"),
    };
    assert_eq!(host(16, b"a.b\0\0\0\0\0").map(found), Ok(vec![Extension::Hostname("a.b".into())]));
    assert_eq!(host(16, b"\0\0\0\0\0\0\0\0").map(found), Ok(vec![Extension::Hostname(String::new())]));
    assert_eq!(host(16, b"abcdefgh"), Err(Malformed::Extension));
    assert_eq!(host(8, b""), Err(Malformed::Extension));
    assert_eq!(host(12, b"abc\0"), Err(Malformed::Extension));
    assert_eq!(host(0, b""), Err(Malformed::Extension));
    assert_eq!(host(24, b"abcdefg\0"), Err(Malformed::Size));
    assert_eq!(host(0x1_0010, b"abcdefg\0"), Err(Malformed::Size), "not the lower half of it");
    assert_eq!(host(16, b"a b\0\0\0\0\0"), Err(Malformed::Address));
    assert_eq!(decode(&ping_with(0, 2, &extension(16, 0, b"abcdefg\0"))), Err(Malformed::Size));
    assert_eq!(decode(&ping_with(0, 0, &extension(16, 0, b"abcdefg\0"))), Err(Malformed::Size));
    assert_eq!(decode(&ping_with(0, 1, &extension(48, 3, &[b'a'; 32]))), Err(Malformed::Size));
    assert_eq!(decode(&ping_with(0, 1, &extension(40, 3, &[b'a'; 32]))), Err(Malformed::Extension));
    assert_eq!(decode(&ping_with(0, 1, &extension(48, 3, &[b'A'; 40]))), Err(Malformed::Name));
    assert_eq!(decode(&ping_with(0, 1, &extension(48, 2, &[b'a'; 40]))), Err(Malformed::Extension));

    // those of later versions, and one that nobody knows yet between them
    let body = [
        extension(16, 77, b"whatever"),
        extension(24, 1, b"node one\0\0\0\0\0\0\0\0".map(|b| if b == b' ' { b'-' } else { b }).as_slice()),
        extension(56, 2, &[&[b'f'; 40][..], &60u64.to_be_bytes()].concat()),
        extension(48, 3, &[b'5'; 40]),
    ]
    .concat();
    assert_eq!(
        decode(&ping_with(0, 4, &body)).map(found),
        Ok(vec![
            Extension::Unknown(77),
            Extension::HumanName("node-one".into()),
            Extension::Forgotten { id: [b'f'; 40], ttl: 60 },
            Extension::ShardId([b'5'; 40]),
        ])
    );
    // without the flag there are none, whatever the count says
    let mut frame = ping_with(0, 4, &body);
    frame[2253] = 0;
    assert_eq!(decode(&frame), Err(Malformed::Size));
    frame = ping_with(0, 4, b"");
    frame[2253] = 0;
    assert_eq!(decode(&frame).map(found), Ok(vec![]));
}

#[test]
fn unknown_types_keep_their_header() {
    let mut frame = frame_of("publish");
    frame[12..14].copy_from_slice(&0x8004u16.to_be_bytes());
    let packet = decode(&frame).unwrap();
    assert_eq!(packet.message, Message::Unknown(0x8004));
    assert_eq!(packet.header, decode(&frame_of("publish")).unwrap().header);
}

#[test]
fn leftovers_behind_an_address_do_not_matter() {
    let frame = patched("ping_announced", 2168, b"10.0.0.1\0old address");
    assert_eq!(decode(&frame).unwrap().header.ip, "10.0.0.1");
    let long = patched("ping_announced", 2168, &[b'1'; 46]);
    assert_eq!(decode(&long).unwrap().header.ip, "1".repeat(45), "the last byte never counts");
}

fn id() -> impl Strategy<Value = NodeId> {
    vec(prop::sample::select(b"0123456789abcdefxyz".to_vec()), 40).prop_map(|v| v.try_into().unwrap())
}

fn slots() -> impl Strategy<Value = SlotSet> {
    vec((0..SLOTS as Slot, 1..500u16), 0..8).prop_map(|ranges| {
        ranges.iter().flat_map(|&(from, len)| from..from.saturating_add(len).min(SLOTS as u16)).collect()
    })
}

fn ip() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[0-9.]{7,15}", "[0-9a-f:]{2,45}", "[a-z0-9._-]{1,45}"]
}

prop_compose! {
    fn a_mark()((host, to) in (1..=u64::MAX, any::<u64>()), (number, node) in any::<(u16, u16)>()) -> HostMark {
        HostMark { host, to, number, node }
    }
}

prop_compose! {
    fn headers()(
        (sender, replica_of, slots, ip) in (id(), prop::option::of(id()), slots(), ip()),
        flags in any::<u16>(),
        ok in any::<bool>(),
        mflags in any::<u8>(),
        (current_epoch, config_epoch, offset) in any::<(u64, u64, u64)>(),
        (port, pport, cport) in any::<(u16, u16, u16)>(),
        host in prop::option::of(a_mark()),
    ) -> Header {
        Header {
            sender, flags, ok, mflags, current_epoch, config_epoch, offset, slots, replica_of, ip, port,
            pport, cport, host,
        }
    }
}

prop_compose! {
    fn entries()(
        (id, ip) in (id(), ip()),
        (ping_sent, pong_received) in any::<(u32, u32)>(),
        (port, cport, pport, flags) in any::<(u16, u16, u16, u16)>(),
    ) -> GossipEntry {
        GossipEntry { id, ping_sent, pong_received, ip, port, cport, pport, flags }
    }
}

fn an_extension() -> impl Strategy<Value = Extension> {
    prop_oneof![
        "[a-z0-9.-]{0,255}".prop_map(Extension::Hostname),
        "[a-z0-9_-]{0,255}".prop_map(Extension::HumanName),
        (id(), any::<u64>()).prop_map(|(id, ttl)| Extension::Forgotten { id, ttl }),
        id().prop_map(Extension::ShardId),
        (4..u16::MAX).prop_map(Extension::Unknown),
    ]
}

fn gossips() -> impl Strategy<Value = Gossip> {
    (vec(entries(), 0..12), vec(an_extension(), 0..4))
        .prop_map(|(entries, extensions)| Gossip { entries, extensions })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..600).prop_map(Bytes::from)
}

fn statements() -> impl Strategy<Value = Statement> {
    (headers(), vec(an_extension(), 0..4)).prop_map(|(mut header, extensions)| {
        header.mflags |= if extensions.is_empty() { 0 } else { mflag::EXT_DATA };
        Statement { header, extensions }
    })
}

fn host_gossips() -> impl Strategy<Value = HostGossip> {
    let node = (any::<u64>(), any::<u64>(), prop::option::of(statements().prop_map(Box::new)));
    let nodes = prop::collection::btree_map(any::<u16>(), node, 0..4);
    (any::<bool>(), vec(entries(), 0..6), nodes).prop_map(|(asks, entries, nodes)| {
        let spoken = |(number, (version, offset, news))| Spoken { number, version, offset, news };
        HostGossip { asks, entries, nodes: nodes.into_iter().map(spoken).collect() }
    })
}

/// A packet of a host with two nodes, of which one has news.
fn host_frame() -> Vec<u8> {
    let frame = patched("ping", layout::VERSION.at, &[0, 1]);
    let mut header = decode(&frame).expect("a golden packet").header;
    header.host = Some(HostMark { host: 7, to: 9, number: 0, node: HostMark::ALL });
    let name = Extension::Hostname("host".into());
    let news = Some(Box::new(Statement { header: header.clone(), extensions: vec![name] }));
    let nodes = vec![
        Spoken { number: 0, version: 1, offset: 5, news },
        Spoken { number: 3, version: 8, offset: 0, news: None },
    ];
    let entries = match decode(&frame).expect("a golden packet").message {
        Message::Ping(gossip) => gossip.entries,
        other => panic!("a PING, not {other:?}"),
    };
    encoded(&Packet { header, message: Message::Host(HostGossip { asks: true, entries, nodes }) })
}

fn messages() -> impl Strategy<Value = Message> {
    prop_oneof![
        gossips().prop_map(Message::Ping),
        gossips().prop_map(Message::Pong),
        gossips().prop_map(Message::Meet),
        id().prop_map(Message::Fail),
        (bytes(), bytes()).prop_map(|(channel, message)| Message::Publish { channel, message }),
        (bytes(), bytes()).prop_map(|(channel, message)| Message::PublishShard { channel, message }),
        Just(Message::AuthRequest),
        Just(Message::AuthAck),
        (any::<u64>(), id(), slots()).prop_map(|(config_epoch, id, slots)| Message::Update {
            config_epoch,
            id,
            slots
        }),
        Just(Message::MfStart),
        (any::<[u8; 8]>(), any::<u8>(), bytes()).prop_map(|(id, kind, data)| Message::Module {
            id,
            kind,
            data
        }),
        host_gossips().prop_map(Message::Host),
        (kind::COUNT as u16..)
            .prop_filter("a type of its own", |k| *k != kind::HOST)
            .prop_map(Message::Unknown),
    ]
}

/// Packets whose header says of extensions what is so.
fn packets() -> impl Strategy<Value = Packet> {
    (headers(), messages()).prop_map(|(mut header, message)| {
        if let Message::Ping(gossip) | Message::Pong(gossip) | Message::Meet(gossip) = &message
            && !gossip.extensions.is_empty()
        {
            header.mflags |= mflag::EXT_DATA;
        }
        Packet { header, message }
    })
}

/// What a decoded packet holds on the heap.
fn weight(packet: &Packet) -> usize {
    let body = match &packet.message {
        Message::Ping(gossip) | Message::Pong(gossip) | Message::Meet(gossip) => {
            let texts = gossip.entries.iter().map(|e| e.ip.capacity()).sum::<usize>();
            let names = gossip.extensions.iter().map(|e| match e {
                Extension::Hostname(name) | Extension::HumanName(name) => name.capacity(),
                _ => 0,
            });
            gossip.entries.capacity() * size_of::<GossipEntry>()
                + gossip.extensions.capacity() * size_of::<Extension>()
                + texts
                + names.sum::<usize>()
        }
        Message::Publish { channel, message } | Message::PublishShard { channel, message } => {
            channel.len() + message.len()
        }
        Message::Module { data, .. } => data.len(),
        Message::Update { slots, .. } => slots.as_bytes().len(),
        Message::Host(gossip) => {
            let news = gossip.nodes.iter().filter_map(|node| node.news.as_ref());
            let each = |news: &Statement| size_of::<Statement>() + news.header.slots.as_bytes().len();
            gossip.entries.capacity() * size_of::<GossipEntry>()
                + gossip.nodes.capacity() * size_of::<Spoken>()
                + news.map(|news| each(news)).sum::<usize>()
        }
        _ => 0,
    };
    body + packet.header.slots.as_bytes().len() + packet.header.ip.capacity()
}

/// Whatever came in: either it is refused, or what was read is sound, small and can be sent on.
fn swallow(frame: &[u8]) -> Result<(), TestCaseError> {
    let _ = (frame_len(frame), kind_of(frame));
    if let Ok(packet) = decode(frame) {
        let h = &packet.header;
        prop_assert!(names::node_id(&h.sender).is_some() && names::is_address(h.ip.as_bytes()));
        // an extension of eight bytes is the worst: its place here is larger
        prop_assert!(weight(&packet) <= 12 * frame.len(), "{} of {}", weight(&packet), frame.len());
        prop_assert_eq!(decode(&encoded(&packet)), Ok(packet));
    }
    Ok(())
}

/// A host's packet is refused as a whole when one of its parts is wrong.
#[test]
fn what_a_host_says_is_whole_or_nothing() {
    let frame = host_frame();
    assert!(decode(&frame).is_ok());
    let body = layout::HEADER;
    let entries = match decode(&frame).expect("it is whole").message {
        Message::Host(gossip) => gossip.entries.len(),
        other => panic!("a host's packet, not {other:?}"),
    };
    let first = body + layout::host::LEN + entries * layout::gossip::LEN;
    let second = frame.len() - layout::spoken::LEN;
    let cases = [
        ("more gossip than there is", layout::COUNT.at + 1, 200),
        ("more nodes than there are", body + 3, 3),
        ("fewer nodes than there are", body + 3, 1),
        ("numbers that go down", first + 1, 9),
        ("numbers that stand twice", second + 1, 0),
        ("news longer than the packet", first + layout::spoken::NEWS.at, 1),
        ("news of another length", first + layout::spoken::NEWS.at + 3, 8),
        ("news that are no PONG", first + layout::spoken::LEN + layout::KIND.at + 1, 0),
        ("news with gossip", first + layout::spoken::LEN + layout::COUNT.at + 1, 1),
        ("news within news", first + layout::spoken::LEN + layout::KIND.at, 0x53),
    ];
    for (what, at, value) in cases {
        let mut broken = frame.clone();
        assert_ne!(broken[at], value, "{what}");
        broken[at] = value;
        assert!(decode(&broken).is_err(), "{what}");
    }
    // what redis-server sends has no mark, and what only looks like one is none
    assert_eq!(
        decode(&patched("ping", layout::VERSION.at, &[0, 1])).expect("a golden packet").header.host,
        None
    );
    let mut other = frame;
    other[layout::MARK.at] ^= 1;
    assert_eq!(decode(&other).expect("reserved bytes are free").header.host, None);
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_is_written_is_read(packet in packets(), more in vec(any::<u8>(), 0..20)) {
        let frame = encoded(&packet);
        let stream = [&frame[..], &more].concat();
        prop_assert_eq!(frame_len(&stream), Ok(Some(frame.len())));
        prop_assert_eq!(decode(&frame), Ok(packet));
        if !more.is_empty() {
            prop_assert_eq!(decode(&stream), Err(Malformed::Size));
        }
        for len in [8, 100, layout::HEADER - 1, layout::HEADER, frame.len() - 1] {
            if len < frame.len() {
                prop_assert_eq!(decode(&frame[..len]), Err(Malformed::Size));
            }
        }
    }

    #[test]
    fn flipped_bits_are_harmless(
        which in 0..=GOLDEN.len(),
        flips in vec((any::<prop::sample::Index>(), 0..8u32), 1..6),
        mended in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frame = GOLDEN.get(which).map_or_else(host_frame, |(_, text)| golden(text).1);
        for (at, bit) in flips {
            // half of them where the lengths and counts are
            let at = at.index(2 * frame.len());
            let places = [4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 2214, 2215, 2219, 2253, 2257, 2259, 2261];
            let at = if at < frame.len() { at } else { places[at % places.len()] };
            let at = at.min(frame.len() - 1);
            frame[at] ^= 1 << bit;
        }
        if mended {
            frame.truncate(layout::HEADER + cut.index(frame.len() - layout::HEADER + 1));
            let total = (frame.len() as u32).to_be_bytes();
            frame[..8].copy_from_slice(&[&b"RCmb"[..], &total].concat());
        }
        swallow(&frame)?;
    }

    #[test]
    fn noise_is_harmless(
        mut noise in vec(any::<u8>(), 0..6000),
        kind in prop_oneof![0..12u16, Just(kind::HOST)],
        framed in any::<bool>(),
        counts in prop::option::of((0..40u8, 0..8u8)),
    ) {
        if framed && noise.len() >= layout::HEADER {
            let total = (noise.len() as u32).to_be_bytes();
            noise[..4].copy_from_slice(b"RCmb");
            noise[4..8].copy_from_slice(&total);
            noise[8..10].copy_from_slice(&[0, 1]);
            noise[12..14].copy_from_slice(&kind.to_be_bytes());
            if let Some((count, extensions)) = counts {
                noise[14..16].copy_from_slice(&[0, count]);
                noise[2214..2216].copy_from_slice(&[0, extensions]);
            }
        }
        swallow(&noise)?;
    }
}
