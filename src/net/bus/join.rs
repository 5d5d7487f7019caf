//! `--join`: an empty host asks a node of a running cluster where its bus is, and meets it.

use super::drive::Mailbox;
use super::host::Mail;
use crate::cluster::plane::{Answer, Command};
use crate::limits;
use crate::resp::args::OwnedArgs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// What to join, and how to ask.
pub struct Joining {
    /// Any port of any node, or a host's front door; tried one after the other.
    pub targets: Vec<(String, u16)>,
    /// For AUTH; empty for none.
    pub user: Vec<u8>,
    pub password: Vec<u8>,
    /// Nodes of this host.
    pub locals: usize,
    pub mailbox: Mailbox<Mail>,
    /// Ends the trying.
    pub stop: Arc<AtomicBool>,
}

const PAUSE: Duration = Duration::from_millis(limits::JOIN_PAUSE_MS);
const PATIENCE: Duration = Duration::from_millis(limits::JOIN_PATIENCE_MS);

impl Joining {
    /// Tries until all nodes of this host are in the cluster's table, or the host stops.
    pub fn start(self) -> io::Result<()> {
        let trying = move || {
            let mut complained = false;
            while !self.stop.load(Ordering::Relaxed) {
                match self.try_all() {
                    Ok(true) => return tracing::info!("joined the cluster"),
                    Ok(false) => {}
                    Err(why) if !complained => {
                        complained = true;
                        tracing::warn!("can't join the cluster yet, trying again: {why}");
                    }
                    Err(_) => {}
                }
                std::thread::sleep(PAUSE);
            }
        };
        std::thread::Builder::new().name("join".into()).spawn(trying).map(drop)
    }

    /// Whether one of the targets knows all of us. Who doesn't is met.
    fn try_all(&self) -> Result<bool, String> {
        let mut last = Err("there is nobody to join".into());
        for (host, port) in &self.targets {
            last = self.try_one(host, *port).map_err(|why| format!("{host}:{port}: {why}"));
            if last.is_ok() {
                return last;
            }
        }
        last
    }

    fn try_one(&self, host: &str, port: u16) -> Result<bool, String> {
        let (ip, nodes) = self.nodes_of(host, port).map_err(|e| e.to_string())?;
        let ids = (0..self.locals).map(|l| self.ask(l, &["MYID"])).collect::<Result<Vec<_>, _>>()?;
        let known = |answer: &Answer| match answer {
            Answer::Id(id) => nodes.lines().any(|line| {
                line.as_bytes().starts_with(id) && !line.contains("handshake") && !line.contains("noaddr")
            }),
            _ => false,
        };
        if ids.iter().all(known) {
            return Ok(true);
        }
        let (port, bus) = address_of_myself(&nodes).ok_or("it is no node of a cluster")?;
        let (port, bus) = (port.to_string(), bus.to_string());
        for l in (0..self.locals).filter(|l| !known(&ids[*l])) {
            self.ask(l, &["MEET", &ip, &port, &bus])?;
        }
        Ok(false)
    }

    fn ask(&self, local: usize, words: &[&str]) -> Result<Answer, String> {
        let (answers, answer) = mpsc::channel();
        let command = Command { words: OwnedArgs::new(words), ..Command::default() };
        // nobody may wait for it any more
        let reply = Box::new(move |outcome, _: &dyn Fn(_) -> usize| drop(answers.send(outcome)));
        let sent = self.mailbox.send(Mail::Command { local, command, reply });
        sent.map_err(|_| "the bus is too busy")?;
        answer.recv_timeout(PATIENCE).map_err(|_| "the bus does not answer".to_string())?
    }

    /// The ip of who answers there, and its CLUSTER NODES.
    fn nodes_of(&self, host: &str, port: u16) -> io::Result<(String, String)> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
        for at in (host, port).to_socket_addrs()? {
            match self.ask_nodes(at) {
                Ok(nodes) => return Ok((at.ip().to_string(), nodes)),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn ask_nodes(&self, at: SocketAddr) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut input = BufReader::new(stream.try_clone()?);
        if !self.password.is_empty() {
            let user = if self.user.is_empty() { &b"default"[..] } else { &self.user };
            stream.write_all(&request(&[b"AUTH", user, &self.password]))?;
            reply(&mut input)?;
        }
        stream.write_all(&request(&[b"CLUSTER", b"NODES"]))?;
        reply(&mut input)
    }
}

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A simple string, or a bulk string of bounded length.
fn reply(input: &mut impl BufRead) -> io::Result<String> {
    let other = |why: String| io::Error::other(why);
    let mut line = String::new();
    input.take(limits::JOIN_LINE).read_line(&mut line)?;
    let line = line.trim_end();
    match line.split_at_checked(1) {
        Some(("+", text)) => Ok(text.to_owned()),
        Some(("-", why)) => Err(other(why.to_owned())),
        Some(("$", len)) => {
            let len = len.parse::<u64>().ok().filter(|len| *len <= limits::NODES_CONF);
            let mut text = Vec::new();
            input.take(len.ok_or_else(|| other("a reply of no use".into()))?).read_to_end(&mut text)?;
            String::from_utf8(text).map_err(|_| other("a reply that is no text".into()))
        }
        _ => Err(other("a reply of no use".into())),
    }
}

/// The client port and the bus port of the node that answered.
fn address_of_myself(nodes: &str) -> Option<(u16, u16)> {
    let mut lines = nodes.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mine = lines.find(|words| words.get(2).is_some_and(|flags| flags.contains("myself")))?;
    let address = mine[1].split(',').next()?;
    let (client, bus) = address.rsplit_once('@')?;
    Some((client.rsplit_once(':')?.1.parse().ok()?, bus.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_whom_it_speaks_to() {
        let id = "a".repeat(40);
        let nodes = format!(
            "{id} 10.0.0.1:7000@17000,host master - 0 0 1 connected 0-99\n\
             {id} :7001@17002,host myself,master - 0 0 1 connected\n"
        );
        assert_eq!(address_of_myself(&nodes), Some((7001, 17002)));
        assert_eq!(address_of_myself("x y z\n\n"), None);
    }

    #[test]
    fn reads_bounded_replies() {
        let read = |mut bytes: &[u8]| reply(&mut bytes).map_err(|e| e.to_string());
        assert_eq!(read(b"+OK\r\n"), Ok("OK".into()));
        assert_eq!(read(b"$5\r\nab\r\nc\r\n"), Ok("ab\r\nc".into()));
        assert_eq!(read(b"-NOAUTH x\r\n"), Err("NOAUTH x".into()));
        for bad in [&b"$99999999999\r\n"[..], b"*1\r\n", b"", b"$x\r\n"] {
            assert!(read(bad).is_err());
        }
        assert_eq!(request(&[b"a", b""]), b"*2\r\n$1\r\na\r\n$0\r\n\r\n");
    }
}
