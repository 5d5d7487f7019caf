//! A client that hides nothing: bytes out, replies in.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::resp::{self, Reply};

/// How long a reply may take before it counts as missing.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Client {
    pub stream: TcpStream,
    buf: Vec<u8>,
    pub port: u16,
}

impl Client {
    pub fn connect(port: u16) -> io::Result<Client> {
        Client::over(TcpStream::connect(("127.0.0.1", port))?)
    }

    /// Of a server at `ip:port`, which may be cut off.
    pub fn reach(address: &str, patience: Duration) -> io::Result<Client> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        Client::over(TcpStream::connect_timeout(&address, patience)?)
    }

    fn over(stream: TcpStream) -> io::Result<Client> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let port = stream.peer_addr()?.port();
        Ok(Client { stream, buf: Vec::new(), port })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply, push messages included.
    pub fn read(&mut self) -> io::Result<Reply> {
        self.read_within(PATIENCE)
    }

    /// As [`Client::read`], of a server that may be silent for longer.
    pub fn read_within(&mut self, patience: Duration) -> io::Result<Reply> {
        loop {
            if let Some(reply) = self.take()? {
                return Ok(reply);
            }
            self.fill(patience)?;
        }
    }

    fn take(&mut self) -> io::Result<Option<Reply>> {
        let found = resp::parse(&self.buf, 0).map_err(io::Error::other)?;
        Ok(found.map(|node| {
            let rest = self.buf.split_off(node.end);
            Reply { raw: std::mem::replace(&mut self.buf, rest), node }
        }))
    }

    fn fill(&mut self, patience: Duration) -> io::Result<()> {
        let mut chunk = [0; 65536];
        self.stream.set_read_timeout(Some(patience))?;
        match self.stream.read(&mut chunk)? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
            n => {
                self.buf.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }

    /// Sends one command and reads its reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.send(&resp::encode(args))?;
        self.read()
    }

    /// A command given as words, for tests whose arguments have no blanks.
    pub fn cmd(&mut self, line: &str) -> Reply {
        let args: Vec<&str> = line.split_whitespace().collect();
        self.call(&args).unwrap_or_else(|e| panic!("port {}: {line}: {e}", self.port))
    }

    /// What arrives until `quiet` passes without a byte, and whether the server closed.
    pub fn drain(&mut self, quiet: Duration) -> (Vec<u8>, bool) {
        loop {
            match self.fill(quiet) {
                Ok(()) => {}
                Err(e) => {
                    let open = matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    return (std::mem::take(&mut self.buf), !open);
                }
            }
        }
    }
}
