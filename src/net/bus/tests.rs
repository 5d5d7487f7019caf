use super::Progress;
use super::drive::{self, Driven, Plan};
use super::links::{Links, Settings};
use super::save::{NodesConf, Saver};
use super::{Event, LinkId, Order, listen};
use crate::cluster::wire::{self, Header, Message, Packet, mflag};
use bytes::Bytes;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn packet(channel: &str, len: usize) -> Bytes {
    let message = Bytes::from(vec![b'x'; len]);
    let header = Header {
        sender: [b'a'; 40],
        flags: wire::flag::MASTER,
        ok: true,
        mflags: mflag::PAUSED,
        current_epoch: 1,
        config_epoch: 1,
        offset: 0,
        slots: Default::default(),
        replica_of: None,
        ip: String::new(),
        port: 1,
        pport: 0,
        cport: 2,
        host: None,
    };
    let message = Message::Publish { channel: Bytes::copy_from_slice(channel.as_bytes()), message };
    let mut out = Vec::new();
    wire::encode(&Packet { header, message }, &mut out);
    out.into()
}

/// What a frame of [`packet`] was made of.
fn unpack(frame: &[u8]) -> (String, usize) {
    match wire::decode(frame).expect("a packet").message {
        Message::Publish { channel, message } => {
            (String::from_utf8_lossy(&channel).into_owned(), message.len())
        }
        other => panic!("{other:?}"),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Accepted(LinkId, usize, String, String),
    Connected(LinkId),
    Closed(LinkId),
    Frame(LinkId, String, usize),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Seen {
        match event {
            Event::Accepted { link, local, peer_ip, local_ip } => {
                Seen::Accepted(link, local, peer_ip, local_ip)
            }
            Event::Connected { link } => Seen::Connected(link),
            Event::Closed { link, .. } => Seen::Closed(link),
            Event::Frame { link, frame } => {
                let (channel, len) = unpack(frame);
                Seen::Frame(link, channel, len)
            }
        }
    }
}

/// Links whose thread is the test's.
struct Host {
    links: Links,
    ports: Vec<u16>,
    seen: Vec<Seen>,
    _waker: UnixStream,
}

impl Host {
    fn new(nodes: usize, settings: Settings) -> Host {
        let listeners = listen(&["127.0.0.1".into()], &vec![0; nodes], 16).unwrap();
        let port = |l: &socket2::Socket| l.local_addr().unwrap().as_socket().unwrap().port();
        let ports = listeners.iter().map(|(listener, _)| port(listener)).collect();
        let (ours, waker) = UnixStream::pair().unwrap();
        let links = Links::new(listeners, ours, settings).unwrap();
        Host { links, ports, seen: Vec::new(), _waker: waker }
    }

    fn turn(&mut self) {
        while let Some(event) = self.links.next_event() {
            self.seen.push(event.into());
        }
        self.links.wait(Duration::from_millis(1), || 0).unwrap();
    }

    fn connect(&mut self, n: u64, port: u16) -> LinkId {
        let link = LinkId::outbound(n);
        self.links.order(Order::Connect { link, ip: "127.0.0.1".into(), port });
        link
    }

    fn send(&mut self, link: LinkId, bytes: &Bytes) {
        self.links.order(Order::Send { link, bytes: bytes.clone() });
    }
}

/// Turns all hosts until `done`.
fn until<const N: usize>(mut hosts: [&mut Host; N], what: &str, done: impl Fn([&Host; N]) -> bool) {
    let start = Instant::now();
    while !done(hosts.each_ref().map(|host| &**host)) {
        let seen: Vec<&[Seen]> = hosts.iter().map(|host| &host.seen[host.seen.len().min(5)..]).collect();
        assert!(start.elapsed() < PATIENCE, "{what} does not come; after the first: {seen:?}");
        hosts.iter_mut().for_each(|host| host.turn());
    }
}

/// Two hosts and the link from the first to the second, by both its names.
fn pair(settings: Settings) -> (Host, Host, LinkId, LinkId) {
    let (mut a, mut b) = (Host::new(1, settings.clone()), Host::new(2, settings));
    let link = a.connect(1, b.ports[1]);
    until([&mut a, &mut b], "a link", |[a, b]| a.seen.len() + b.seen.len() == 2);
    assert_eq!(a.seen, [Seen::Connected(link)]);
    let there = LinkId::inbound(0);
    assert_eq!(b.seen, [Seen::Accepted(there, 1, "127.0.0.1".into(), "127.0.0.1".into())]);
    a.seen.clear();
    b.seen.clear();
    (a, b, link, there)
}

#[test]
fn frames_arrive_whole_and_in_order_both_ways() {
    let (mut a, mut b, link, there) = pair(Settings::default());
    let lens = [0, 1, 5_000, 3_000_000, 7, 100_000, 0];
    for (i, len) in lens.iter().enumerate() {
        a.send(link, &packet(&i.to_string(), *len));
        b.send(there, &packet(&format!("back {i}"), *len));
    }
    until([&mut a, &mut b], "frames", |[a, b]| a.seen.len() + b.seen.len() == 2 * lens.len());
    let want = |link, back: &str| -> Vec<Seen> {
        let frames = lens.iter().enumerate();
        frames.map(|(i, len)| Seen::Frame(link, format!("{back}{i}"), *len)).collect()
    };
    assert_eq!(b.seen, want(there, ""));
    assert_eq!(a.seen, want(link, "back "));
    assert_eq!((a.links.unsent(link), b.links.unsent(there)), (0, 0));
}

#[test]
fn bytes_that_trickle_are_one_frame() {
    let mut host = Host::new(1, Settings::default());
    let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, host.ports[0])).unwrap();
    peer.set_nodelay(true).unwrap();
    let bytes = [packet("one", 3), packet("two", 9_000)].concat();
    for part in bytes.chunks(577) {
        peer.write_all(part).unwrap();
        host.turn();
    }
    until([&mut host], "two frames", |[host]| host.seen.len() == 3);
    let link = LinkId::inbound(0);
    let frames = [Seen::Frame(link, "one".into(), 3), Seen::Frame(link, "two".into(), 9_000)];
    assert_eq!(host.seen[1..], frames);
    // what came before the end of a stream counts
    peer.write_all(&packet("last", 0)).unwrap();
    drop(peer);
    until([&mut host], "the end", |[host]| host.seen.len() == 5);
    assert_eq!(host.seen[3..], [Seen::Frame(link, "last".into(), 0), Seen::Closed(link)]);
    assert_eq!(host.links.count(), 0);
}

#[test]
fn what_is_no_packet_closes_its_link() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"RCmb\0\0\x08\0", b"RCmb\xFF\xFF\xFF\xFF more"] {
        let mut host = Host::new(1, Settings::default());
        let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, host.ports[0])).unwrap();
        peer.write_all(&[&packet("good", 0), bytes].concat()).unwrap();
        until([&mut host], "a close", |[host]| host.seen.len() == 3);
        let link = LinkId::inbound(0);
        assert_eq!(host.seen[1..], [Seen::Frame(link, "good".into(), 0), Seen::Closed(link)]);
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        // a reset is an end too: not all that was sent was read
        assert!(matches!(peer.read(&mut [0; 8]), Ok(0) | Err(_)));
    }
}

#[test]
fn a_close_is_seen_by_the_peer_only() {
    let (mut a, mut b, link, there) = pair(Settings::default());
    a.links.order(Order::Close { link });
    a.send(link, &packet("too late", 0));
    until([&mut a, &mut b], "a close", |[_, b]| !b.seen.is_empty());
    assert_eq!((&a.seen[..], &b.seen[..]), (&[][..], &[Seen::Closed(there)][..]));
    assert_eq!((a.links.count(), b.links.count()), (0, 0));
}

#[test]
fn connects_that_fail_are_closed_and_those_that_hang_can_be() {
    let mut host = Host::new(1, Settings::default());
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let refused = host.connect(1, free);
    let nowhere = LinkId::outbound(2);
    host.links.order(Order::Connect { link: nowhere, ip: "no address".into(), port: 1 });
    until([&mut host], "two closes", |[host]| host.seen.len() == 2);
    assert!(host.seen.contains(&Seen::Closed(refused)) && host.seen.contains(&Seen::Closed(nowhere)));

    // a listener whose backlog is full lets connects hang
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    deaf.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    deaf.listen(1).unwrap();
    let port = deaf.local_addr().unwrap().as_socket().unwrap().port();
    host.seen.clear();
    let links: Vec<LinkId> = (3..9).map(|n| host.connect(n, port)).collect();
    for _ in 0..50 {
        host.turn();
    }
    assert!(host.seen.len() < links.len() && !host.seen.is_empty(), "some hang: {:?}", host.seen);
    links.iter().for_each(|link| host.links.order(Order::Close { link: *link }));
    host.seen.clear();
    until([&mut host], "all of them gone", |[host]| host.links.places_in_use() == 0);
    assert!(host.seen.is_empty(), "{:?}", host.seen);
}

#[test]
fn a_peer_that_does_not_read_is_closed() {
    let settings = Settings { output_limit: 1_000_000, ..Settings::default() };
    let mut host = Host::new(1, settings);
    let deaf = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let link = host.connect(1, deaf.local_addr().unwrap().port());
    until([&mut host], "a link", |[host]| !host.seen.is_empty());
    let _peer = deaf.accept().unwrap();
    let bytes = packet("much", 100_000);
    let start = Instant::now();
    while host.seen.len() < 2 {
        assert!(start.elapsed() < PATIENCE);
        host.send(link, &bytes);
        host.turn();
        host.links.sweep(0);
    }
    assert_eq!(host.seen, [Seen::Connected(link), Seen::Closed(link)]);
    assert_eq!((host.links.exceeded, host.links.count()), (1, 0));
    until([&mut host], "its place", |[host]| host.links.places_in_use() == 0);
}

#[test]
fn idle_links_of_others_are_closed_and_ours_are_not() {
    let (mut a, mut b, _, there) = pair(Settings { idle_ms: 1_000, ..Settings::default() });
    for host in [&mut a, &mut b] {
        host.links.sweep(1_000);
        host.turn();
        assert!(host.seen.is_empty());
    }
    a.links.sweep(1_001);
    b.links.sweep(1_001);
    b.turn();
    assert_eq!((a.links.count(), b.seen.as_slice()), (1, &[Seen::Closed(there)][..]));
}

#[test]
fn the_largest_packet_in_the_making_goes_first() {
    let mut host = Host::new(1, Settings::default());
    host.links.limit_input(1_000_000);
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, host.ports[0])).unwrap();
    let (mut small, mut large) = (connect(), connect());
    let part = packet("small", 50_000);
    small.write_all(&part[..40_000]).unwrap();
    until([&mut host], "both", |[host]| host.seen.len() == 2);
    let hog = std::thread::spawn(move || large.write_all(&packet("large", 20_000_000)));
    until([&mut host], "a close", |[host]| host.seen.len() == 3);
    // its socket is reset when the ring holds nothing of it any more
    until([&mut host], "the end of the hog", |_| hog.is_finished());
    assert!(hog.join().unwrap().is_err(), "nobody reads all of it");
    small.write_all(&part[40_000..]).unwrap();
    until([&mut host], "the small one", |[host]| host.seen.len() == 4);
    assert!(matches!(host.seen[2], Seen::Closed(_)), "{:?}", host.seen);
    assert!(matches!(&host.seen[3], Seen::Frame(_, name, 50_000) if name == "small"), "{:?}", host.seen);
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("shoal-bus-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> String {
        self.0.join("nodes.conf").display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn nodes_conf_is_locked_also_after_it_was_replaced() {
    let folder = Folder::new("lock");
    let (mut conf, text) = NodesConf::open(&folder.file()).unwrap();
    assert_eq!(text, b"");
    let used = |file: &str| match NodesConf::open(file) {
        Ok(_) => panic!("it is locked"),
        Err(why) => why,
    };
    assert_eq!(
        used(&folder.file()),
        format!(
            "Sorry, the cluster configuration file {} is already used by a different Redis Cluster node. \
             Please make sure that different nodes use different cluster configuration files.",
            folder.file()
        )
    );
    for text in ["a long first version\n", "short\n"] {
        conf.save(text.as_bytes()).unwrap();
        assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), text);
        used(&folder.file());
    }
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
    drop(conf);
    let (_, text) = NodesConf::open(&folder.file()).unwrap();
    assert_eq!(text, b"short\n");
    assert!(NodesConf::open("/proc/none/nodes.conf").is_err());
}

#[test]
fn the_last_version_is_saved_and_told() {
    let folder = Folder::new("saver");
    let (told, hears) = channel();
    let (conf, _) = NodesConf::open(&folder.file()).unwrap();
    let saver = Saver::start(conf, move |outcome| told.send(outcome.is_ok()).unwrap()).unwrap();
    for version in 1..=50u64 {
        saver.save(version, format!("{version}\n").into(), true);
    }
    while saver.progress().saved < 50 {
        assert!(hears.recv_timeout(PATIENCE).unwrap());
    }
    assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), "50\n");
    // what needn't be on the disk yet is in the file
    saver.save(51, b"longer\n".to_vec(), false);
    saver.save(52, b"52\n".to_vec(), false);
    assert_eq!(saver.progress(), Progress { written: 52, saved: 50 });
    assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), "52\n");
    // also while an older version goes to the disk and takes the file's place
    for version in 53..400u64 {
        saver.save(version, format!("{version}\n").into(), version % 5 == 0);
        let read = || std::fs::read_to_string(folder.file()).unwrap().trim().parse::<u64>().unwrap();
        assert!(version % 5 == 0 || (read() == version && saver.progress().written == version), "{version}");
    }
    saver.save(400, b"at the end\n".to_vec(), true);
    drop(saver);
    assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), "at the end\n");

    let (conf, _) = NodesConf::open(&folder.file()).unwrap();
    std::fs::remove_dir_all(&folder.0).unwrap();
    let (told, hears) = channel();
    let saver = Saver::start(conf, move |outcome| told.send(outcome.is_ok()).unwrap()).unwrap();
    saver.save(1, b"nowhere".to_vec(), true);
    assert_eq!((hears.recv_timeout(PATIENCE), saver.progress().saved), (Ok(false), 0));
}

/// Sends every frame back, orders what its mail says, and tells all that happens.
struct Echo {
    orders: Vec<Order>,
    tells: Sender<Told>,
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Tick,
    Saw(Seen),
    Saved(u64),
}

impl Driven for Echo {
    type Mail = Order;

    fn tick(&mut self, _: u64) {
        let _ = self.tells.send(Told::Tick);
    }

    fn event(&mut self, event: Event<'_>, now_ms: u64) {
        assert!(now_ms > 1_500_000_000_000, "unix time");
        if let Event::Frame { link, frame } = &event
            && *link == LinkId::inbound(0)
        {
            self.orders.insert(0, Order::Send { link: *link, bytes: Bytes::copy_from_slice(frame) });
        }
        let _ = self.tells.send(Told::Saw(event.into()));
    }

    fn mail(&mut self, order: Order, _: &Links, _: u64) {
        self.orders.insert(0, order);
    }

    fn saved(&mut self, Progress { saved: version, .. }: Progress, _: &Links, _: u64) {
        let _ = self.tells.send(Told::Saved(version));
    }

    fn next_order(&mut self) -> Option<Order> {
        self.orders.pop()
    }

    fn ring(&mut self) {}

    fn settings(&self) -> Settings {
        Settings::default()
    }
}

fn hear(hears: &Receiver<Told>, wanted: &Told) {
    let start = Instant::now();
    loop {
        let told = hears.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{wanted:?}: {e}"));
        if told == *wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{wanted:?} does not come");
    }
}

#[test]
fn the_loop_carries_mail_events_saves_and_ticks() {
    let start = |name: &str| {
        let folder = Folder::new(name);
        let listeners = listen(&["127.0.0.1".into()], &[0], 16).unwrap();
        let port = listeners[0].0.local_addr().unwrap().as_socket().unwrap().port();
        let (conf, _) = NodesConf::open(&folder.file()).unwrap();
        let (tells, hears) = channel();
        let plan = Plan { listeners, conf, failed: Box::new(|why| panic!("{why}")) };
        let bus = drive::start(plan, Echo { orders: Vec::new(), tells }).unwrap();
        (bus, port, hears, folder)
    };
    let (a, _, hears, folder) = start("drive-a");
    let (b, port, ..) = start("drive-b");
    let mail = a.mailbox();
    let link = LinkId::outbound(0);
    mail.send(Order::Connect { link, ip: "127.0.0.1".into(), port }).unwrap();
    hear(&hears, &Told::Saw(Seen::Connected(link)));
    let began = Instant::now();
    for i in 0..100 {
        mail.send(Order::Send { link, bytes: packet(&i.to_string(), i) }).unwrap();
        hear(&hears, &Told::Saw(Seen::Frame(link, i.to_string(), i)));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "not one round trip a tick: {:?}", began.elapsed());
    mail.send(Order::Save { version: 7, text: b"seven\n".to_vec(), sync: true }).unwrap();
    hear(&hears, &Told::Saved(7));
    assert_eq!(std::fs::read_to_string(folder.file()).unwrap(), "seven\n");
    hear(&hears, &Told::Tick);
    hear(&hears, &Told::Tick);
    b.stop();
    hear(&hears, &Told::Saw(Seen::Closed(link)));
    a.stop();
}
