//! Sockets that a shard opens to other servers, on its core's own ring: MIGRATE's targets.
//!
//! They live on the ring and not on a thread beside it, because what is sent is written by the shard
//! and what comes changes its keys: a thread would cost a wake-up each way and a copy, and one that
//! is blocked by a target would hold up the others. Only a host's name is looked up on a thread of
//! its own, for the system's resolver blocks; the answer comes by a pair of sockets like any bytes.

use super::conn::{number, tag};
use super::ring::Ring;
use crate::limits;
use crate::shard::moving::{LinkId, LinkOrder};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// Numbers with this bit are links', all others clients'.
const LINK: u32 = 1 << 27;

/// What is known so far.
enum Stage {
    /// The text of an address is to come.
    Resolving(UnixStream, Vec<u8>),
    Connecting(Socket),
    Open(Socket),
}

struct Link {
    id: LinkId,
    tag: u64,
    stage: Stage,
    /// What the kernel still holds of it.
    receiving: bool,
    sending: bool,
    waiting: bool,
    /// Closed: it goes when the kernel holds nothing of it.
    dead: bool,
    output: VecDeque<Vec<u8>>,
}

impl Link {
    fn fd(&self) -> RawFd {
        match &self.stage {
            Stage::Resolving(stream, _) => stream.as_raw_fd(),
            Stage::Connecting(socket) | Stage::Open(socket) => socket.as_raw_fd(),
        }
    }

    fn shut(&mut self) {
        self.dead = true;
        self.output.clear();
        let _ = match &self.stage {
            Stage::Resolving(stream, _) => stream.shutdown(std::net::Shutdown::Both),
            Stage::Connecting(socket) | Stage::Open(socket) => socket.shutdown(std::net::Shutdown::Both),
        };
    }
}

/// What a completion means to the shard.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    Opened(LinkId),
    /// The bytes of the completion.
    Received(LinkId),
    Sent(LinkId, usize),
    Closed(LinkId),
}

/// The links of one core.
#[derive(Default)]
pub struct Links {
    places: Vec<Option<Link>>,
    by_id: HashMap<LinkId, u32>,
    opened: u32,
}

impl Links {
    /// Whether a tag is, or was, a link's.
    pub fn owns(of: u64) -> bool {
        number(of) & LINK != 0
    }

    fn tagged(&mut self, of: u64) -> Option<&mut Link> {
        self.places.get_mut((number(of) & !LINK) as usize)?.as_mut().filter(|link| link.tag == of)
    }

    /// Does what the shard wants. What it is to hear at once.
    pub fn order(&mut self, ring: &mut Ring, order: LinkOrder) -> Option<News> {
        match order {
            LinkOrder::Open { link, host, port } => match self.open(ring, link, &host, port) {
                Ok(()) => None,
                Err(e) => {
                    tracing::debug!("Unable to connect to {host}:{port}: {e}");
                    Some(News::Closed(link))
                }
            },
            LinkOrder::Send { link, bytes } => {
                let at = *self.by_id.get(&link)?;
                self.places[at as usize].as_mut()?.output.push_back(bytes);
                self.send(ring, at);
                None
            }
            LinkOrder::Close { link } => {
                let at = self.by_id.remove(&link)?;
                self.places[at as usize].as_mut()?.shut();
                self.bury(at);
                None
            }
        }
    }

    fn open(&mut self, ring: &mut Ring, id: LinkId, host: &str, port: u16) -> io::Result<()> {
        let stage = match host.parse::<IpAddr>() {
            Ok(ip) => Stage::Connecting(connect(SocketAddr::new(ip, port))?),
            Err(_) => Stage::Resolving(resolve(host, port)?, Vec::new()),
        };
        let free = self.places.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.opened = self.opened.wrapping_add(1);
        let link = Link {
            id,
            tag: tag(at as u32 | LINK, self.opened),
            stage,
            receiving: false,
            sending: false,
            waiting: false,
            dead: false,
            output: VecDeque::new(),
        };
        self.by_id.insert(id, at as u32);
        let link = self.places[at].insert(link);
        match link.stage {
            Stage::Resolving(..) => {
                link.receiving = true;
                ring.recv(link.fd(), link.tag);
            }
            _ => {
                link.waiting = true;
                ring.writable(link.fd(), link.tag);
            }
        }
        Ok(())
    }

    fn send(&mut self, ring: &mut Ring, at: u32) {
        if let Some(link) = self.places[at as usize].as_mut()
            && matches!(link.stage, Stage::Open(_))
            && !link.sending
            && let Some(bytes) = link.output.pop_front()
        {
            link.sending = true;
            ring.try_send(link.fd(), bytes, 0, link.tag);
        }
    }

    /// A socket can be written to: it is connected, or never will be. Redis does not ask which, and so tells
    /// a refused connection as one that broke.
    pub fn writable(&mut self, ring: &mut Ring, of: u64) -> Option<News> {
        let link = self.tagged(of)?;
        link.waiting = false;
        let at = number(of) & !LINK;
        if link.dead {
            self.bury(at);
            return None;
        }
        let Stage::Connecting(socket) = &link.stage else { return None };
        let Ok(socket) = socket.try_clone() else { return self.end(of) };
        link.stage = Stage::Open(socket);
        link.receiving = true;
        ring.recv(link.fd(), link.tag);
        Some(News::Opened(link.id))
    }

    /// Bytes came. `more`: the recv is still armed.
    pub fn received(&mut self, ring: &mut Ring, of: u64, bytes: &[u8], more: bool) -> Option<News> {
        let link = self.tagged(of)?;
        link.receiving = more;
        if link.dead {
            self.bury(number(of) & !LINK);
            return None;
        }
        if !more {
            link.receiving = true;
            ring.recv(link.fd(), link.tag);
        }
        match &mut link.stage {
            Stage::Resolving(_, text) => {
                text.extend_from_slice(bytes);
                None
            }
            _ => Some(News::Received(link.id)),
        }
    }

    /// The stream ended or broke. For want of a buffer it goes on.
    pub fn recv_ended(&mut self, ring: &mut Ring, of: u64, error: Option<i32>) -> Option<News> {
        let link = self.tagged(of)?;
        link.receiving = false;
        if link.dead {
            self.bury(number(of) & !LINK);
            return None;
        }
        if error == Some(libc::ENOBUFS) {
            link.receiving = true;
            ring.recv(link.fd(), link.tag);
            return None;
        }
        let Stage::Resolving(_, text) = &link.stage else { return self.end(of) };
        let address = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        match address.map(connect) {
            Some(Ok(socket)) => {
                link.stage = Stage::Connecting(socket);
                link.waiting = true;
                ring.writable(link.fd(), link.tag);
                None
            }
            _ => self.end(of),
        }
    }

    /// A send is done, or took a part.
    pub fn sent(
        &mut self,
        ring: &mut Ring,
        of: u64,
        result: io::Result<()>,
        from: usize,
        bytes: Vec<u8>,
    ) -> Option<News> {
        let link = self.tagged(of)?;
        link.sending = false;
        let at = number(of) & !LINK;
        if link.dead {
            self.bury(at);
            return None;
        }
        if result.is_err() {
            return self.end(of);
        }
        if from < bytes.len() {
            link.sending = true;
            ring.send(link.fd(), bytes, from, link.tag);
            return None;
        }
        let id = link.id;
        self.send(ring, at);
        Some(News::Sent(id, bytes.len()))
    }

    /// Nothing more comes of a link.
    fn end(&mut self, of: u64) -> Option<News> {
        let link = self.tagged(of)?;
        let id = link.id;
        link.shut();
        self.by_id.remove(&id);
        self.bury(number(of) & !LINK);
        Some(News::Closed(id))
    }

    /// Forgets a dead link when the kernel has finished with it.
    fn bury(&mut self, at: u32) {
        let place = &mut self.places[at as usize];
        if place.as_ref().is_some_and(|l| l.dead && !l.receiving && !l.sending && !l.waiting) {
            *place = None;
        }
    }
}

/// A socket that is connecting.
fn connect(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&to.into()) {
        Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
        _ => Ok(socket),
    }
}

/// Looks a name up. The stream brings the text of an address, or just ends.
fn resolve(host: &str, port: u16) -> io::Result<UnixStream> {
    if host.is_empty() || host.len() > limits::HOSTNAME {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (ear, mut mouth) = UnixStream::pair()?;
    let host = host.to_owned();
    let look_up = move || {
        if let Ok(mut found) = (host.as_str(), port).to_socket_addrs()
            && let Some(address) = found.next()
        {
            // nobody may listen any more
            let _ = mouth.write_all(address.to_string().as_bytes());
        }
    };
    std::thread::Builder::new().name("resolve".into()).spawn(look_up)?;
    ear.set_nonblocking(true)?;
    Ok(ear)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ring::{Completion, Sizes};
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    struct Rig {
        ring: Ring,
        links: Links,
        news: Vec<(News, Vec<u8>)>,
    }

    impl Rig {
        fn new() -> Rig {
            let sizes = Sizes { entries: 8, completions: 64, buffers: 8, buffer_bytes: 4096 };
            Rig { ring: Ring::new(sizes).expect("a ring"), links: Links::default(), news: Vec::new() }
        }

        fn order(&mut self, order: LinkOrder) {
            let news = self.links.order(&mut self.ring, order);
            self.news.extend(news.map(|news| (news, Vec::new())));
        }

        fn open(&mut self, link: LinkId, host: &str, port: u16) {
            self.order(LinkOrder::Open { link, host: host.into(), port });
        }

        /// Turns until there is news.
        fn next(&mut self) -> (News, Vec<u8>) {
            let start = Instant::now();
            while self.news.is_empty() {
                assert!(start.elapsed() < Duration::from_secs(20), "no news");
                self.ring.enter(Some(Duration::from_millis(10))).expect("the ring turns");
                let mut done = Vec::new();
                self.ring.reap(&mut done);
                done.into_iter().for_each(|one| self.complete(one));
            }
            self.news.remove(0)
        }

        fn complete(&mut self, done: Completion) {
            let Rig { ring, links, news } = self;
            let mut bytes = Vec::new();
            let one = match done {
                Completion::Received { tag, buffer, len, more } => {
                    bytes = ring.received(buffer, len).to_vec();
                    ring.recycle([buffer]);
                    links.received(ring, tag, &bytes, more)
                }
                Completion::RecvEnded { tag, error } => links.recv_ended(ring, tag, error),
                Completion::Sent { tag, result, from, buf } => links.sent(ring, tag, result, from, buf),
                Completion::Writable { tag } => links.writable(ring, tag),
                _ => None,
            };
            news.extend(one.map(|one| (one, bytes)));
        }
    }

    #[test]
    fn a_link_by_name_carries_bytes_both_ways() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        for (id, host) in [(1, "127.0.0.1"), (2, "localhost")] {
            let mut rig = Rig::new();
            rig.open(id, host, port);
            assert_eq!(rig.next().0, News::Opened(id), "{host}");
            let (mut peer, _) = listener.accept().expect("a connection");
            let big = vec![7; 4 << 20];
            rig.order(LinkOrder::Send { link: id, bytes: b"ab".to_vec() });
            rig.order(LinkOrder::Send { link: id, bytes: big.clone() });
            let reader = std::thread::spawn(move || {
                let mut got = vec![0; 2 + big.len()];
                peer.read_exact(&mut got).expect("all of it");
                assert!(got.starts_with(b"ab\x07") && got.ends_with(&[7]));
                peer.write_all(b"+OK\r\n").expect("a reply");
                peer
            });
            assert_eq!(rig.next().0, News::Sent(id, 2));
            // the peer may answer before the kernel says that all was sent
            let mut both = [rig.next(), rig.next()];
            both.sort_by_key(|(news, _)| matches!(news, News::Sent(..)));
            assert_eq!(both[0], (News::Received(id), b"+OK\r\n".to_vec()));
            assert_eq!(both[1].0, News::Sent(id, 4 << 20));
            drop(reader.join().expect("the peer"));
            assert_eq!(rig.next().0, News::Closed(id));
            assert!(rig.links.by_id.is_empty() && rig.links.places.iter().all(Option::is_none));
        }
    }

    #[test]
    fn who_is_not_there_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let long = "x".repeat(limits::HOSTNAME + 1);
        for (id, host) in [(1, "127.0.0.1"), (2, "no-such-host.invalid"), (3, ""), (4, long.as_str())] {
            let mut rig = Rig::new();
            rig.open(id, host, port);
            if id == 1 {
                assert_eq!(rig.next().0, News::Opened(id));
            }
            assert_eq!(rig.next().0, News::Closed(id), "{host}");
            rig.order(LinkOrder::Send { link: id, bytes: vec![1] });
            rig.order(LinkOrder::Close { link: id });
            assert!(rig.links.places.iter().all(Option::is_none));
        }
    }
}
