//! Our half of the cluster bus against the real redis-server: packets, nodes.conf, its lock.

mod common;

use common::client::Client;
use common::ports::{BUS, Ports};
use common::server::{Server, Shape, TempDir, read_log, spawn};
use common::wait_for;
use shoal::cluster::conf::{self, Conf, NodeLine};
use shoal::cluster::slots::SlotSet;
use shoal::cluster::view::NodeId;
use shoal::cluster::wire::{self, Gossip, Header, HostMark, Malformed, Message, Packet, flag, kind};
use shoal::net::bus::save::NodesConf;
use shoal::util::rng::Rng;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const ME: NodeId = [b'7'; 40];

/// A bus connection of the test's own.
struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> Peer {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Peer { stream, input: Vec::new() }
    }

    fn connect(port: u16) -> Peer {
        Peer::new(TcpStream::connect(("127.0.0.1", port)).expect("a bus connection"))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is read");
    }

    /// The next packet; `None` when the peer has closed.
    fn receive(&mut self) -> Option<Packet> {
        loop {
            if let Some(len) = wire::frame_len(&self.input).expect("Redis's own")
                && len <= self.input.len()
            {
                let frame: Vec<u8> = self.input.drain(..len).collect();
                return Some(wire::decode(&frame).expect("Redis's own"));
            }
            let mut part = [0; 4096];
            match self.stream.read(&mut part) {
                Ok(0) => return None,
                Ok(n) => self.input.extend_from_slice(&part[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("nothing comes: {e}"),
            }
        }
    }
}

fn packet(message: Message, port: u16) -> Vec<u8> {
    let header = Header {
        sender: ME,
        flags: flag::MYSELF | flag::MASTER,
        ok: true,
        mflags: 0,
        current_epoch: 9,
        config_epoch: 9,
        offset: 0,
        slots: SlotSet::new(),
        replica_of: None,
        ip: String::new(),
        port,
        pport: 0,
        cport: port + BUS,
        // zeroes to Redis, which must not mind
        host: Some(HostMark { host: 7, number: 3, to: 0, node: HostMark::ALL }),
    };
    let mut out = Vec::new();
    wire::encode(&Packet { header, message }, &mut out);
    out
}

fn ping() -> Vec<u8> {
    packet(Message::Ping(Gossip::default()), 1)
}

fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = ping();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// A PING with more behind its header than that says.
fn with_tail(tail: &[u8], extensions: u8) -> Vec<u8> {
    let mut frame = [&ping()[..], tail].concat();
    let total = (frame.len() as u32).to_be_bytes();
    frame[4..8].copy_from_slice(&total);
    frame[2215] = extensions;
    frame[2253] = (extensions > 0) as u8 * wire::mflag::EXT_DATA;
    frame
}

fn stat(client: &mut Client, name: &str) -> u64 {
    let info = client.cmd("CLUSTER INFO").text().to_owned();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("0");
    line.trim().parse().expect("a figure")
}

/// What our variants of malformed packets say of Redis is what it does.
#[test]
fn redis_counts_drops_and_closes_as_we_say() {
    let server = Server::redis(Shape::Node);
    let mut client = server.client();
    let mut peer = Peer::connect(server.port() + BUS);
    peer.send(&ping());
    let pong = peer.receive().expect("an answer");
    assert_eq!(client.cmd("CLUSTER MYID").text().as_bytes(), pong.header.sender);
    assert_eq!((pong.header.slots.len(), pong.header.ok), (16384, true));
    assert_eq!((pong.header.port, pong.header.cport), (server.port(), server.port() + BUS));
    assert!(matches!(pong.message, Message::Pong(_)));

    let dropped = [
        (patched(8, &[0, 2]), Malformed::Version(2)),
        (patched(14, &[0, 1]), Malformed::Size),
        (with_tail(b"tail", 0), Malformed::Size),
        (with_tail(&[0, 0, 0, 16, 0, 0, 0, 0], 1), Malformed::Size),
        (with_tail(&[0, 0, 0, 7, 0, 0, 0, 0], 1), Malformed::Extension),
        (with_tail(b"\0\0\0\x10\0\0\0\0abcdefgh", 1), Malformed::Extension),
    ];
    let before = stat(&mut client, "cluster_stats_messages_ping_received");
    for (frame, why) in &dropped {
        assert_eq!(wire::decode(frame), Err(*why));
        assert!(!why.closes());
        peer.send(frame);
    }
    // had one of them been more than counted, there were more than one answer
    peer.send(&ping());
    peer.send(&packet(Message::Meet(Gossip::default()), 1));
    assert!(matches!(peer.receive().expect("an answer").message, Message::Pong(_)));
    assert!(matches!(peer.receive().expect("an answer").message, Message::Pong(_)));
    let counted = stat(&mut client, "cluster_stats_messages_ping_received") - before;
    assert_eq!(counted, dropped.len() as u64 + 1);
    assert_eq!(stat(&mut client, "cluster_stats_messages_pong_sent"), 3);

    for prefix in [&b"RCmx\0\0\x08\xd0"[..], b"RCmb\0\0\x08\xcf", b"RCmb\0\0\0\0"] {
        assert!(wire::frame_len(prefix).expect_err("no packet").closes());
        let mut peer = Peer::connect(server.port() + BUS);
        peer.send(prefix);
        assert_eq!(peer.receive(), None, "closed");
    }
}

/// redis-server takes a node that only speaks our packets for one of its own.
#[test]
fn redis_meets_a_node_of_our_packets() {
    let server = Server::redis(Shape::Node);
    let mut client = server.client();
    let ports = Ports::take();
    let bus = TcpListener::bind(("127.0.0.1", ports.base + BUS)).expect("a bus port");
    Peer::connect(server.port() + BUS).send(&packet(Message::Meet(Gossip::default()), ports.base));
    let mut peer = Peer::new(bus.accept().expect("it connects back").0);
    let greeting = peer.receive().expect("a greeting");
    assert!(matches!(greeting.message, Message::Ping(_)), "{greeting:?}");
    // the first tells our name, the second is believed
    peer.send(&packet(Message::Pong(Gossip::default()), ports.base).repeat(2));
    let line = wait_for(PATIENCE, || {
        let nodes = client.cmd("CLUSTER NODES").text().to_owned();
        nodes.lines().find(|line| line.contains(" 9 connected")).map(|line| format!("{line}\n"))
    })
    .expect("it knows us");
    let conf = format!("{line}{} :0@0 myself - 0 0 0 connected\nvars\n", "0".repeat(40));
    let node = conf::parse(conf.as_bytes()).expect("Redis's line").expect("a node").nodes.remove(0);
    assert_eq!((node.id, node.port, node.cport), (ME, ports.base, ports.base + BUS));
    assert_eq!((node.flags, node.config_epoch, node.connected), (flag::MASTER, 9, true));
    assert_eq!(node.ip, "127.0.0.1");
    // it believes what we say of epochs, and publishes to us
    assert_eq!(stat(&mut client, "cluster_current_epoch"), 9);
    client.cmd("PUBLISH news hello");
    let published = std::iter::from_fn(|| peer.receive()).find_map(|packet| match packet.message {
        Message::Publish { channel, message } => Some((channel, message)),
        _ => None,
    });
    assert_eq!(published, Some(("news".into(), "hello".into())));
    assert!(!server.log().contains("unknown extension"), "{}", server.log());
}

/// What a node's table says, times aside; who is only being greeted is not in it yet.
fn table(client: &mut Client) -> Vec<String> {
    let text = client.cmd("CLUSTER NODES").text().to_owned();
    let told = text.lines().filter(|line| !line.contains("handshake"));
    let mut lines: Vec<String> = told
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            [&words[..4], &words[6..7], &words[8..]].concat().join(" ")
        })
        .collect();
    lines.sort();
    let info = client.cmd("CLUSTER INFO").text().to_owned();
    let state = |line: &&str| line.contains("state") || line.contains("epoch") || line.contains("size");
    lines.extend(info.lines().filter(state).map(str::to_owned));
    lines
}

/// Bytes that no honest peer sends; none of them is a sound packet of a node that anybody knows.
fn hostile(rng: &mut Rng, known: NodeId) -> Vec<Vec<u8>> {
    let update = Message::Update { config_epoch: u64::MAX, id: known, slots: SlotSet::all() };
    let publish = Message::Publish { channel: b"c"[..].into(), message: b"m"[..].into() };
    let mut messages = vec![update, publish, Message::Fail(known), Message::AuthRequest, Message::AuthAck];
    messages.extend([Message::MfStart, Message::Ping(Gossip::default()), Message::Pong(Gossip::default())]);
    messages.extend([kind::COUNT as u16, 200, 0x8000].map(Message::Unknown));
    let whole: Vec<Vec<u8>> = messages.into_iter().map(|message| packet(message, 1)).collect();
    let mut all = whole.clone();
    for frame in &whole {
        for _ in 0..10 {
            // flipped anywhere but in the sender's name, cut off anywhere
            let mut broken = frame.clone();
            let at = rng.below(broken.len() as u64) as usize;
            let at = if (40..80).contains(&at) { 12 } else { at };
            broken[at] ^= 1 << rng.below(8);
            broken.truncate(broken.len() - rng.below(2) as usize * rng.below(frame.len() as u64) as usize);
            all.push(broken);
        }
    }
    all.extend([[0, 0], [0, 2], [255, 255]].map(|version| patched(8, &version)));
    all.push(patched(14, &[255, 255]));
    all.push(with_tail(b"", 255));
    all.extend([[255; 4], [0, 0, 0, 9], [0, 0, 8, 207]].map(|total| patched(4, &total)));
    for type_of in [kind::HOST, kind::PING, kind::MODULE] {
        let mut noise: Vec<u8> = (0..4000).map(|_| rng.below(256) as u8).collect();
        let total = (noise.len() as u32).to_be_bytes();
        noise[..12].copy_from_slice(&[&b"RCmb"[..], &total, &[0, 1, 0, 0]].concat());
        noise[12..14].copy_from_slice(&type_of.to_be_bytes());
        all.push(noise);
    }
    all.extend((0..50).map(|_| (0..rng.below(5000)).map(|_| rng.below(256) as u8).collect()));
    all
}

/// Whatever comes in over a real socket: no view changes, and the host serves on.
#[test]
fn hostile_input_changes_nothing() {
    let timeout = ["--cluster-node-timeout", "2000"];
    let host = Server::shoal(Shape::Host(2), &timeout);
    let other = Server::shoal(Shape::Node, &timeout);
    let (mut first, mut second) = (host.own_client(0), other.client());
    let met = second.cmd(&format!("CLUSTER MEET 127.0.0.1 {}", host.own_port(0)));
    assert_eq!(met.text(), "OK");
    for client in [&mut first, &mut second] {
        let all = || {
            let text = client.cmd("CLUSTER NODES").text().to_owned();
            let whole = text.lines().count() == 3 && !text.contains("handshake") && !text.contains("disc");
            (whole && client.cmd("CLUSTER INFO").text().contains("state:ok")).then_some(())
        };
        assert!(wait_for(PATIENCE, all).is_some(), "all three know each other");
    }
    // a sound packet of a node that the other one knows, to be sent again and again
    let ports = Ports::take();
    let bus = TcpListener::bind(("127.0.0.1", ports.base + BUS)).expect("a bus port");
    assert_eq!(first.cmd(&format!("CLUSTER MEET 127.0.0.1 {}", ports.base)).text(), "OK");
    let greeting = Peer::new(bus.accept().expect("it greets").0).receive().expect("a greeting");
    drop(bus);
    let mut replayed = Vec::new();
    wire::encode(&greeting, &mut replayed);
    let expired = || (!first.cmd("CLUSTER NODES").text().contains("handshake")).then_some(());
    assert!(wait_for(PATIENCE, expired).is_some(), "who does not answer is given up");

    let before = (table(&mut first), table(&mut second));
    let mut frames = hostile(&mut Rng::new(11), greeting.header.sender);
    frames.extend(std::iter::repeat_n(replayed.clone(), 20));
    frames.extend((1..20).map(|part| replayed[..replayed.len() * part / 20].to_vec()));
    for (n, frame) in frames.iter().enumerate() {
        let to = [host.own_port(0), host.own_port(1), other.port()][n % 3];
        // it may close before it has read all
        let _ = Peer::connect(to + BUS).stream.write_all(frame);
    }
    // all of them over one link, as far as it goes
    let mut one = Peer::connect(other.port() + BUS);
    let _ = frames.iter().try_for_each(|frame| one.stream.write_all(frame));
    // whoever speaks properly is still answered
    let mut peer = Peer::connect(host.own_port(1) + BUS);
    peer.send(&ping());
    assert!(matches!(peer.receive().expect("an answer").message, Message::Pong(_)));
    let same = || ((table(&mut first), table(&mut second)) == before).then_some(());
    assert!(wait_for(PATIENCE, same).is_some(), "{before:?}\n{:?}", (table(&mut first), table(&mut second)));
    assert_eq!(first.cmd("SET foo bar").raw.first().map(|b| b"+-".contains(b)), Some(true));
}

fn node(id: u8, port: u16, flags: u16, slots: std::ops::RangeInclusive<u16>) -> NodeLine {
    NodeLine {
        id: [id; 40],
        ip: "127.0.0.1".into(),
        port,
        cport: port + BUS,
        hostname: "a.shoal.test".into(),
        aux: Vec::new(),
        flags,
        replica_of: None,
        ping_sent: 0,
        pong_received: 0,
        config_epoch: 3,
        connected: true,
        slots: slots.collect(),
        migrating: Default::default(),
        importing: Default::default(),
    }
}

/// redis-server starts with a file of ours and keeps off one that we hold.
#[test]
fn redis_reads_our_nodes_conf_and_respects_its_lock() {
    let (ports, dir) = (Ports::take(), TempDir::new());
    let mut me = node(b'a', ports.base, flag::MYSELF | flag::MASTER, 0..=16382);
    let mut other = node(b'b', ports.base + 1, flag::MASTER | flag::FAIL, 16383..=16383);
    me.hostname = String::new();
    other.config_epoch = 2;
    me.migrating.insert(5, other.id);
    me.importing.insert(16383, other.id);
    let written = Conf { nodes: vec![me, other], current_epoch: 4, last_vote_epoch: 1, others: Vec::new() };
    let path = dir.0.join("nodes.conf").display().to_string();
    let (mut file, empty) = NodesConf::open(&path).expect("our file");
    assert_eq!(conf::parse(&empty), Ok(None));
    file.save(conf::render(&written).as_bytes()).expect("a save");

    let start = || {
        let mut command = Command::new("redis-server");
        command.args(["--port", &ports.base.to_string(), "--cluster-enabled", "yes", "--save", "", "--dir"]);
        spawn(command.arg(&dir.0), &dir.0)
    };
    let mut refused = start();
    let status = wait_for(PATIENCE, || refused.try_wait().expect("a state")).expect("it does not start");
    assert!(!status.success());
    assert!(read_log(&dir.0).contains("is already used by a different Redis Cluster node"));

    drop(file);
    let mut running = start();
    let nodes = wait_for(PATIENCE, || {
        let mut client = Client::connect(ports.base).ok()?;
        Some(client.call(&["CLUSTER", "NODES"]).ok()?.text().to_owned())
    });
    let saved = std::fs::read_to_string(&path).expect("its file");
    running.kill().expect("a child");
    running.wait().expect("a child");
    let nodes = format!("{}vars currentEpoch 4 lastVoteEpoch 1\n", nodes.expect("it starts"));
    for text in [nodes, saved] {
        let mut read = conf::parse(text.as_bytes()).expect("Redis's").expect("not empty");
        read.nodes.sort_by_key(|node| node.id);
        for node in &mut read.nodes {
            // times and links are its own; so is that it reconsiders who failed
            (node.ping_sent, node.pong_received) = (0, 0);
            node.connected = true;
        }
        assert_eq!(read, written);
    }
}
