//! A relay in front of a port, whose connections can be cut in the middle of a byte stream.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub struct Proxy {
    pub port: u16,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// In front of a port of this machine.
    pub fn before(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let streams = Arc::new(Mutex::new(Vec::new()));
        let kept = streams.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
                    kept.lock().expect("a lock").push(from.try_clone().expect("a handle"));
                    std::thread::spawn(move || relay(from, to));
                }
            }
        });
        Proxy { port, streams }
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for stream in self.streams.lock().expect("a lock").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// In odd pieces, so that a cut and a read may come anywhere.
fn relay(mut from: TcpStream, mut to: TcpStream) {
    let mut buf = [0; 1499];
    while let Ok(n) = from.read(&mut buf)
        && n > 0
        && to.write_all(&buf[..n]).is_ok()
    {}
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
