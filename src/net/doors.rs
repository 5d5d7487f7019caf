//! The host's doors: its listening TCP sockets, which CONFIG SET port and bind open anew.
//!
//! Any core may be asked to change them, and each core accepts on sockets of its own. So the old ones
//! are shut here, at once, and new ones lie ready until each core's next tick; who connects meanwhile
//! waits in the kernel's queue.

use super::listen;
use crate::config::Config;
use crate::session::Door;
use socket2::Socket;
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// The ports of one host.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The front door's, if there is one; 0 is closed.
    pub front: Option<u16>,
    /// One a shard, or none.
    pub own: Vec<u16>,
}

type Listeners = Vec<(Socket, Door)>;

/// See the module's head.
pub struct Doors {
    shards: usize,
    state: Mutex<State>,
    changes: AtomicU64,
}

struct State {
    ports: Ports,
    bind: Vec<String>,
    /// Second handles of what the cores listen on.
    open: Vec<Socket>,
    /// What each core is to listen on instead.
    ready: Vec<Option<Listeners>>,
}

impl Doors {
    /// Opens them all; nobody accepts yet.
    pub fn open(conf: &Config, ports: Ports, shards: usize) -> Result<Doors, String> {
        let mut state = State {
            ports,
            bind: conf.bind.0.clone(),
            open: Vec::new(),
            ready: (0..shards).map(|_| None).collect(),
        };
        state.listen(conf, shards)?;
        Ok(Doors { shards, state: Mutex::new(state), changes: AtomicU64::new(1) })
    }

    /// Whether there is a front door, be it closed.
    pub fn has_front(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ports.front.is_some()
    }

    /// Counts the changes; another number than the last means: [`Doors::take`].
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// What core `me` is to listen on from now on, instead of what it took before.
    pub fn take(&self, me: usize) -> Option<Listeners> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ready[me].take()
    }

    /// Moves the front door to `port` of `conf` and all doors to its addresses. An error leaves them
    /// where they were.
    pub fn reopen(&self, conf: &Config) -> Result<(), String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (ports, bind) = (state.ports.clone(), state.bind.clone());
        state.close();
        state.ports.front = ports.front.map(|_| conf.port);
        state.bind.clone_from(&conf.bind.0);
        let done = state.listen(conf, self.shards);
        if done.is_err() {
            (state.ports, state.bind) = (ports, bind);
            if let Err(why) = state.listen(conf, self.shards) {
                tracing::error!("Can't listen again where it was: {why}");
            }
        }
        self.changes.fetch_add(1, Relaxed);
        done
    }
}

impl State {
    fn close(&mut self) {
        for socket in self.open.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.ready.iter_mut().for_each(|ready| *ready = None);
    }

    fn listen(&mut self, conf: &Config, shards: usize) -> Result<(), String> {
        let backlog = conf.tcp_backlog.min(i32::MAX as u32) as i32;
        let mut ready: Vec<Listeners> = (0..shards).map(|_| Vec::new()).collect();
        if let Some(port) = self.ports.front.filter(|&port| port != 0) {
            for (shard, sockets) in listen::tcp(&self.bind, port, backlog, shards)?.into_iter().enumerate() {
                ready[shard].extend(sockets.into_iter().map(|s| (s, Door::Front)));
            }
        }
        for (shard, &port) in self.ports.own.iter().enumerate().filter(|(_, port)| **port != 0) {
            let sockets = listen::tcp(&self.bind, port, backlog, 1)?.pop().unwrap_or_default();
            ready[shard].extend(sockets.into_iter().map(|s| (s, Door::Own)));
        }
        let second = |(socket, _): &(Socket, Door)| socket.try_clone();
        self.open = ready
            .iter()
            .flatten()
            .map(second)
            .collect::<Result<_, _>>()
            .map_err(|e| format!("Could not create server TCP listening socket: {e}"))?;
        self.ready = ready.into_iter().map(Some).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn conf(port: u16) -> Config {
        let mut conf = Config { port, ..Config::default() };
        conf.bind.0 = vec!["127.0.0.1".into()];
        conf
    }

    fn is_open(port: u16) -> bool {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    }

    #[test]
    fn a_door_moves_or_stays() {
        let [first, second, own] = [free_port(), free_port(), free_port()];
        let ports = Ports { front: Some(first), own: vec![own, 0] };
        let doors = Doors::open(&conf(first), ports, 2).unwrap();
        assert_eq!([0, 1].map(|core| doors.take(core).map(|l| l.len())), [Some(2), Some(1)]);
        assert!(doors.take(0).is_none() && doors.changes() == 1);
        assert!(is_open(first) && is_open(own));

        doors.reopen(&conf(second)).unwrap();
        assert!(is_open(second) && is_open(own) && !is_open(first) && doors.changes() == 2);

        let holder = TcpListener::bind(("127.0.0.1", first)).unwrap();
        assert!(doors.reopen(&conf(first)).unwrap_err().contains("in use"));
        drop(holder);
        assert!(is_open(second) && is_open(own) && !is_open(first));

        let mut elsewhere = conf(second);
        elsewhere.bind.0 = vec!["127.0.0.9".into()];
        doors.reopen(&elsewhere).unwrap();
        assert!(!is_open(second) && !is_open(own));
        assert!(TcpStream::connect(("127.0.0.9", second)).is_ok());

        doors.reopen(&conf(0)).unwrap();
        assert!(!is_open(second) && is_open(own));
        let kept = [0, 1].map(|core| doors.take(core).unwrap().len());
        assert_eq!(kept, [1, 0]);
    }
}
