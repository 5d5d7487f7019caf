//! Links of the bus: sockets, frames, output that is bounded.

use super::{Event, LinkId, Order};
use crate::cluster::wire;
use crate::limits;
use crate::net::conn::{number, tag};
use crate::net::ring::{Completion, Ring, Sizes};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The tag of the socket by which other threads wake this one: no link has it.
const WAKER: u64 = (1 << 56) - 1;

/// What may change while the bus runs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `bind-source-addr`: where links that are opened here come from.
    pub source: Option<IpAddr>,
    /// `cluster-link-sendbuf-limit`; 0 for none but [`limits::BUS_OUTPUT`].
    pub output_limit: u64,
    /// A link that others opened closes after so long without a packet; 0 for never. It is opened
    /// again by whoever needs it.
    pub idle_ms: u64,
    /// Seconds between probes of the links that others opened; 0 for none.
    pub keepalive: u64,
}

/// One connection.
struct Link {
    id: LinkId,
    socket: Socket,
    tag: u64,
    inbound: bool,
    /// Connected; until then the ring waits for it to be writable.
    open: bool,
    /// What the kernel still holds of it.
    receiving: bool,
    sending: bool,
    waiting: bool,
    /// Is to be closed for what it did: nothing more is sent or read.
    broken: bool,
    /// Its output was over the limit.
    exceeded: bool,
    /// Is closed: it goes when the kernel holds nothing of it.
    dead: bool,
    /// Bytes that came; those before `read` are handled.
    input: Vec<u8>,
    read: usize,
    /// Is in [`Links::ready`] because of its input.
    listed: bool,
    output: Vec<u8>,
    in_flight: usize,
    heard_ms: u64,
}

enum Ready {
    Accepted {
        link: LinkId,
        local: usize,
        peer_ip: String,
        local_ip: String,
    },
    Connected(u64),
    Input(u64),
    /// The stream ended: its link closes after what came before that is handled.
    Ended(u64),
    /// A link that never was.
    Failed(LinkId),
}

/// The links of one host.
pub struct Links {
    ring: Ring,
    listeners: Vec<(Socket, usize)>,
    /// Listeners whose accept ended; armed again by the next sweep.
    deaf: Vec<usize>,
    waker: UnixStream,
    places: Vec<Option<Link>>,
    free: Vec<u32>,
    by_id: HashMap<LinkId, u64>,
    opened: u32,
    accepted: u64,
    inbound: usize,
    ready: VecDeque<Ready>,
    /// Links with new output.
    unsent: Vec<u64>,
    /// Links whose recv ended for want of buffers.
    starved: Vec<u64>,
    /// Bytes of input that are kept for links together.
    kept: usize,
    /// [`limits::BUS_INPUT`].
    input_limit: usize,
    settings: Settings,
    /// Links that were closed for unsent output.
    pub exceeded: u64,
    now_ms: u64,
}

impl Links {
    /// Links for these listeners, and the other end of `waker` with whoever rings. To be made by the
    /// thread that runs it.
    pub fn new(listeners: Vec<(Socket, usize)>, waker: UnixStream, settings: Settings) -> io::Result<Links> {
        let mut ring = Ring::new(Sizes {
            entries: limits::RING_ENTRIES,
            completions: limits::RING_COMPLETIONS,
            buffers: limits::BUS_BUFFERS,
            buffer_bytes: limits::RECV_BUFFER,
        })?;
        waker.set_nonblocking(true)?;
        ring.recv(waker.as_raw_fd(), WAKER);
        for (at, (listener, _)) in listeners.iter().enumerate() {
            ring.accept(listener.as_raw_fd(), at as u64);
        }
        Ok(Links {
            ring,
            listeners,
            deaf: Vec::new(),
            waker,
            places: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            opened: 0,
            accepted: 0,
            inbound: 0,
            ready: VecDeque::new(),
            unsent: Vec::new(),
            starved: Vec::new(),
            kept: 0,
            input_limit: limits::BUS_INPUT,
            settings,
            exceeded: 0,
            now_ms: 0,
        })
    }

    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Bytes that a link has not sent yet.
    pub fn unsent(&self, id: LinkId) -> usize {
        let link = self.by_id.get(&id).and_then(|tag| self.places[number(*tag) as usize].as_ref());
        link.map_or(0, |link| link.output.len() + link.in_flight)
    }

    #[cfg(test)]
    pub fn limit_input(&mut self, bytes: usize) {
        self.input_limit = bytes;
    }

    #[cfg(test)]
    pub fn places_in_use(&self) -> usize {
        self.places.iter().flatten().count()
    }

    /// Links that are open or being opened.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    fn tagged(&mut self, of: u64) -> Option<&mut Link> {
        self.places.get_mut(number(of) as usize)?.as_mut().filter(|link| link.tag == of)
    }

    fn named(&mut self, id: LinkId) -> Option<&mut Link> {
        let tag = *self.by_id.get(&id)?;
        self.tagged(tag)
    }

    fn insert(&mut self, id: LinkId, socket: Socket, inbound: bool) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        self.opened = self.opened.wrapping_add(1);
        let tag = tag(place, self.opened);
        self.places[place as usize] = Some(Link {
            id,
            socket,
            tag,
            inbound,
            open: inbound,
            receiving: inbound,
            sending: false,
            waiting: !inbound,
            broken: false,
            exceeded: false,
            dead: false,
            input: Vec::new(),
            read: 0,
            listed: false,
            output: Vec::new(),
            in_flight: 0,
            heard_ms: self.now_ms,
        });
        let before = self.by_id.insert(id, tag);
        assert!(before.is_none(), "a link's number is used once");
        self.inbound += inbound as usize;
        tag
    }

    /// Does what is ordered. Saving is not the links' business.
    pub fn order(&mut self, order: Order) {
        match order {
            Order::Connect { link, ip, port } => self.connect(link, &ip, port),
            Order::Close { link } => {
                if let Some(tag) = self.by_id.get(&link).copied() {
                    self.kill(tag);
                } else {
                    self.ready.retain(|ready| !matches!(ready, Ready::Failed(id) if *id == link));
                }
            }
            Order::Send { link, bytes } => self.send(link, &bytes),
            Order::Save { .. } => {}
        }
    }

    fn connect(&mut self, id: LinkId, ip: &str, port: u16) {
        match self.open(ip, port) {
            Ok(socket) => {
                let fd = socket.as_raw_fd();
                let tag = self.insert(id, socket, false);
                self.ring.writable(fd, tag);
            }
            Err(e) => {
                tracing::debug!("Unable to connect to Cluster Node [{ip}]:{port} -> {e}");
                self.ready.push_back(Ready::Failed(id));
            }
        }
    }

    /// A socket that is connecting.
    fn open(&self, ip: &str, port: u16) -> io::Result<Socket> {
        let ip: IpAddr = ip.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let to = SocketAddr::new(ip, port);
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = self.settings.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&to.into()) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
            _ => Ok(socket),
        }
    }

    fn send(&mut self, id: LinkId, bytes: &[u8]) {
        let Some(link) = self.named(id).filter(|link| !link.broken && !bytes.is_empty()) else { return };
        let unsent = link.output.len() + link.in_flight + bytes.len();
        let tag = link.tag;
        if unsent > limits::BUS_OUTPUT {
            self.exceed(tag, unsent);
            return;
        }
        if link.output.is_empty() {
            link.output.extend_from_slice(bytes);
            self.unsent.push(tag);
        } else {
            link.output.extend_from_slice(bytes);
        }
    }

    /// Closes a link whose peer does not read.
    fn exceed(&mut self, tag: u64, unsent: usize) {
        let Some(link) = self.tagged(tag).filter(|link| !link.broken) else { return };
        (link.broken, link.exceeded) = (true, true);
        tracing::warn!(
            "Freeing cluster link({:?}, used memory: {unsent}) due to exceeding send buffer memory limit.",
            link.id
        );
        self.exceeded += 1;
        self.ready.push_back(Ready::Ended(tag));
    }

    /// What happened, one after the other; `None` when [`Links::wait`] is due.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        loop {
            match self.ready.front()? {
                Ready::Input(tag) => {
                    let tag = *tag;
                    if let Some((link, from, to)) = self.next_frame(tag) {
                        let place = self.places[number(tag) as usize].as_ref().expect("it has a frame");
                        return Some(Event::Frame { link, frame: &place.input[from..to] });
                    }
                    self.ready.pop_front();
                    self.settle_input(tag);
                }
                _ => {
                    let ready = self.ready.pop_front()?;
                    if let Some(event) = self.happen(ready) {
                        return Some(event);
                    }
                }
            }
        }
    }

    fn happen(&mut self, ready: Ready) -> Option<Event<'static>> {
        match ready {
            Ready::Accepted { link, local, peer_ip, local_ip } if self.by_id.contains_key(&link) => {
                Some(Event::Accepted { link, local, peer_ip, local_ip })
            }
            Ready::Connected(tag) => {
                let link = self.tagged(tag).filter(|link| !link.dead)?;
                Some(Event::Connected { link: link.id })
            }
            Ready::Ended(tag) => {
                let exceeded = self.tagged(tag).is_some_and(|link| link.exceeded);
                self.kill(tag).map(|link| Event::Closed { link, exceeded })
            }
            Ready::Failed(link) => Some(Event::Closed { link, exceeded: false }),
            Ready::Accepted { .. } | Ready::Input(_) => None,
        }
    }

    /// Where the next whole packet of a link lies in its input.
    fn next_frame(&mut self, tag: u64) -> Option<(LinkId, usize, usize)> {
        let now_ms = self.now_ms;
        let link = self.tagged(tag).filter(|link| !link.dead)?;
        match wire::frame_len(&link.input[link.read..]) {
            Ok(Some(len)) if link.input.len() - link.read >= len => {
                let from = link.read;
                link.read += len;
                link.heard_ms = now_ms;
                Some((link.id, from, link.read))
            }
            Ok(_) => None,
            Err(why) => {
                link.broken = true;
                tracing::warn!("Bad message length or signature received from Cluster bus: {why:?}");
                self.ready.push_back(Ready::Ended(tag));
                None
            }
        }
    }

    /// Drops what is handled of a link's input.
    fn settle_input(&mut self, tag: u64) {
        let Some(link) = self.tagged(tag) else { return };
        link.listed = false;
        let before = link.input.len();
        link.input.drain(..std::mem::take(&mut link.read));
        if link.input.is_empty() && link.input.capacity() > limits::BUS_KEEP {
            link.input = Vec::new();
        }
        let dropped = before - link.input.len();
        self.kept -= dropped;
    }

    /// Ends a link at once: no event of it follows. Its number, when it was alive.
    fn kill(&mut self, tag: u64) -> Option<LinkId> {
        let link = self.tagged(tag).filter(|link| !link.dead)?;
        link.dead = true;
        if link.broken {
            // a peer that goes on sending hears of it at once, by a reset
            let _ = link.socket.set_linger(Some(Duration::ZERO));
        }
        let _ = link.socket.shutdown(std::net::Shutdown::Both);
        let (id, inbound, input) = (link.id, link.inbound, link.input.len());
        link.output = Vec::new();
        link.input = Vec::new();
        link.read = 0;
        self.kept -= input;
        self.inbound -= inbound as usize;
        self.by_id.remove(&id);
        self.bury(tag);
        Some(id)
    }

    /// Forgets a dead link when the kernel holds nothing of it.
    fn bury(&mut self, tag: u64) {
        let quiet = |link: &mut Link| link.dead && !(link.receiving || link.sending || link.waiting);
        if self.tagged(tag).is_some_and(quiet) {
            self.places[number(tag) as usize] = None;
            self.free.push(number(tag));
        }
    }

    /// Sends what is ordered, then sleeps until something happens or that time is over; at once back
    /// when something has happened already.
    pub fn wait(&mut self, time: Duration, now_ms: impl FnOnce() -> u64) -> io::Result<()> {
        for tag in std::mem::take(&mut self.unsent) {
            self.flush(tag);
        }
        for tag in std::mem::take(&mut self.starved) {
            self.receive(tag);
        }
        self.ring.enter(if self.ready.is_empty() { Some(time) } else { None })?;
        self.now_ms = now_ms();
        let mut completions = Vec::new();
        self.ring.reap(&mut completions);
        completions.into_iter().for_each(|done| self.complete(done));
        Ok(())
    }

    fn complete(&mut self, done: Completion) {
        match done {
            Completion::Received { tag: WAKER, buffer, more, .. } => {
                self.ring.recycle([buffer]);
                self.listen_to_waker(more);
            }
            Completion::RecvEnded { tag: WAKER, .. } => self.listen_to_waker(false),
            Completion::Received { tag, buffer, len, more } => self.received(tag, buffer, len, more),
            Completion::RecvEnded { tag, error } => {
                let Some(link) = self.tagged(tag) else { return };
                link.receiving = false;
                match error {
                    _ if link.dead => self.bury(tag),
                    Some(libc::ENOBUFS) => self.starved.push(tag),
                    _ => self.ready.push_back(Ready::Ended(tag)),
                }
            }
            Completion::Sent { tag, result, from, buf } => self.sent(tag, result, from, buf),
            Completion::Accepted { tag, result, more } => {
                let listener = tag as usize;
                match result {
                    Ok(fd) => self.accept(fd, listener),
                    Err(e) => tracing::debug!("Error accepting cluster node: {e}"),
                }
                if !more {
                    self.deaf.push(listener);
                }
            }
            Completion::Writable { tag } => self.connected(tag),
            Completion::Filled { .. } | Completion::Synced { .. } | Completion::Woken => {}
        }
    }

    fn listen_to_waker(&mut self, still: bool) {
        if !still {
            self.ring.recv(self.waker.as_raw_fd(), WAKER);
        }
    }

    fn receive(&mut self, tag: u64) {
        let Some(link) = self.tagged(tag).filter(|link| !link.dead && !link.receiving) else { return };
        link.receiving = true;
        let fd = link.socket.as_raw_fd();
        self.ring.recv(fd, tag);
    }

    fn received(&mut self, tag: u64, buffer: u16, len: usize, more: bool) {
        let place = self.places.get_mut(number(tag) as usize).and_then(Option::as_mut);
        if let Some(link) = place.filter(|link| link.tag == tag) {
            link.receiving = more;
            if link.dead {
                self.bury(tag);
            } else if !link.broken {
                link.input.extend_from_slice(self.ring.received(buffer, len));
                self.kept += len;
                if !std::mem::replace(&mut link.listed, true) {
                    self.ready.push_back(Ready::Input(tag));
                }
                if !more {
                    self.starved.push(tag);
                }
            }
        }
        self.ring.recycle([buffer]);
        if self.kept > self.input_limit {
            self.close_largest();
        }
    }

    /// Closes the link whose packet in the making holds most memory: small ones must not suffer.
    fn close_largest(&mut self) {
        let links = self.places.iter().flatten().filter(|link| !link.dead);
        let Some(link) = links.max_by_key(|link| link.input.len()) else { return };
        let (tag, len) = (link.tag, link.input.len());
        tracing::warn!("Closing a cluster link: {len} bytes of a packet in the making are too many");
        self.ready.push_back(Ready::Ended(tag));
        let link = self.tagged(tag).expect("it was found");
        link.input = Vec::new();
        link.read = 0;
        // what follows is the middle of a packet
        link.broken = true;
        self.kept -= len;
    }

    fn accept(&mut self, fd: OwnedFd, listener: usize) {
        let socket = Socket::from(fd);
        if self.inbound >= limits::BUS_INBOUND {
            tracing::warn!("Refusing a cluster node's connection: there are {} already", self.inbound);
            return;
        }
        let _ = socket.set_tcp_nodelay(true);
        let every = Duration::from_secs(self.settings.keepalive);
        if !every.is_zero() {
            let third = (every / 3).max(Duration::from_secs(1));
            let keepalive = TcpKeepalive::new().with_time(every).with_interval(third).with_retries(3);
            let _ = socket.set_tcp_keepalive(&keepalive);
        }
        let (peer_ip, local_ip) = (ip_of(socket.peer_addr()), ip_of(socket.local_addr()));
        let link = LinkId::inbound(self.accepted);
        self.accepted += 1;
        let fd = socket.as_raw_fd();
        let tag = self.insert(link, socket, true);
        self.ring.recv(fd, tag);
        let local = self.listeners[listener].1;
        self.ready.push_back(Ready::Accepted { link, local, peer_ip, local_ip });
    }

    /// A connect has ended, well or not.
    fn connected(&mut self, tag: u64) {
        let Some(link) = self.tagged(tag) else { return };
        link.waiting = false;
        if link.dead {
            self.bury(tag);
            return;
        }
        let outcome = link.socket.take_error().and_then(|error| error.map_or(Ok(()), Err));
        // a poll that was broken off leaves no error, and no peer either
        if let Err(e) = outcome.and_then(|()| link.socket.peer_addr()) {
            tracing::debug!("Connection with a cluster node failed: {e}");
            self.ready.push_back(Ready::Ended(tag));
            return;
        }
        link.open = true;
        let has_output = !link.output.is_empty();
        self.receive(tag);
        if has_output {
            self.unsent.push(tag);
        }
        self.ready.push_back(Ready::Connected(tag));
    }

    fn flush(&mut self, tag: u64) {
        let Some(link) = self.tagged(tag) else { return };
        if link.dead || !link.open || link.sending || link.output.is_empty() {
            return;
        }
        link.sending = true;
        let output = std::mem::take(&mut link.output);
        link.in_flight = output.len();
        let fd = link.socket.as_raw_fd();
        self.ring.try_send(fd, output, 0, tag);
    }

    fn sent(&mut self, tag: u64, result: io::Result<()>, from: usize, mut buf: Vec<u8>) {
        let Some(link) = self.tagged(tag) else { return };
        link.sending = false;
        link.in_flight = buf.len() - from.min(buf.len());
        if link.dead {
            self.bury(tag);
        } else if result.is_err() {
            self.ready.push_back(Ready::Ended(tag));
        } else if link.in_flight > 0 {
            link.sending = true;
            let fd = link.socket.as_raw_fd();
            self.ring.send(fd, buf, from, tag);
        } else if link.output.is_empty() {
            if buf.capacity() <= limits::BUS_KEEP {
                buf.clear();
                link.output = buf;
            }
        } else {
            self.unsent.push(tag);
        }
    }

    /// What is done ten times a second: listeners that stopped listen again, links whose output is
    /// over the limit and links that others left idle are closed.
    pub fn sweep(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        for listener in std::mem::take(&mut self.deaf) {
            self.ring.accept(self.listeners[listener].0.as_raw_fd(), listener as u64);
        }
        let Settings { output_limit, idle_ms, .. } = self.settings;
        if output_limit == 0 && idle_ms == 0 {
            return;
        }
        let mut over = Vec::new();
        for link in self.places.iter().flatten().filter(|link| !link.dead) {
            let unsent = link.output.len() + link.in_flight;
            if output_limit != 0 && unsent as u64 > output_limit {
                over.push((link.tag, unsent));
            } else if idle_ms != 0 && link.inbound && now_ms.saturating_sub(link.heard_ms) > idle_ms {
                self.ready.push_back(Ready::Ended(link.tag));
            }
        }
        over.into_iter().for_each(|(tag, unsent)| self.exceed(tag, unsent));
    }
}

impl Drop for Links {
    /// The ring's own references to sockets are given up only some time after it is gone.
    fn drop(&mut self) {
        let links = self.places.iter().flatten().map(|link| &link.socket);
        for socket in links.chain(self.listeners.iter().map(|(listener, _)| listener)) {
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// An end's address as text; as Redis shows it, without brackets.
fn ip_of(addr: io::Result<SockAddr>) -> String {
    let addr = addr.ok().and_then(|addr| addr.as_socket());
    addr.map_or_else(String::new, |addr| addr.ip().to_canonical().to_string())
}
