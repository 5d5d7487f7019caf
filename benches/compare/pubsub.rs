//! PUBLISH to many who listen: CPU nanoseconds a message, and how many times less than Redis's.

use super::benchmark::{Load, take_turns};
use super::outside::epoll::Epoll;
use super::outside::server::{Kind, Mode, Server};
use super::outside::{pin, thousands};
use super::table::{row, rule, times};
use super::{Args, Missed};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Who listen, and how.
const CROWDS: [(&str, usize, &str); 3] = [
    ("1 by name", 1, "SUBSCRIBE news"),
    ("100 by name", 100, "SUBSCRIBE news"),
    ("100 by a pattern", 100, "PSUBSCRIBE n*"),
];
/// Bytes of a message, pipelines of the publishers, and the messages of one turn.
const SIZES: [usize; 2] = [16, 1024];
const PIPELINES: [usize; 2] = [1, 16];
const MESSAGES: u64 = 20_000;
/// For any of these, Shoal is to be at least as cheap.
const LEAST: f64 = 1.0;

/// Clients that listen, and read what they hear.
struct Crowd {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Crowd {
    fn gather(port: u16, core: usize, size: usize, line: &str) -> io::Result<Crowd> {
        let mut streams = Vec::new();
        let epoll = Epoll::new()?;
        for number in 0..size {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.write_all(format!("{line}\r\n").as_bytes())?;
            // the confirmation: from here on it listens
            let mut confirmation = [0; 256];
            if stream.read(&mut confirmation)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            stream.set_nonblocking(true)?;
            epoll.add(&stream, number)?;
            streams.push(stream);
        }
        let ends = Arc::new(AtomicBool::new(false));
        let seen = ends.clone();
        let thread = std::thread::spawn(move || {
            pin(core).map_err(io::Error::other)?;
            listen(&seen, &mut streams, epoll)
        });
        Ok(Crowd { ends, thread: Some(thread) })
    }

    fn end(mut self) -> io::Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is ended once");
        thread.join().unwrap_or_else(|_| Err(io::Error::other("who listens has panicked")))
    }
}

fn listen(ends: &AtomicBool, streams: &mut [TcpStream], mut epoll: Epoll) -> io::Result<()> {
    let (mut ready, mut chunk) = (Vec::new(), vec![0; 256 * 1024]);
    while !ends.load(Ordering::Relaxed) {
        epoll.wait(Duration::from_millis(20), &mut ready)?;
        for number in ready.drain(..) {
            loop {
                match streams[number].read(&mut chunk) {
                    Ok(0) => return Err(io::Error::other("a listener was cut off")),
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                }
            }
        }
    }
    Ok(())
}

pub fn measure(args: &Args) -> Result<Missed, String> {
    let mut missed = Missed::new();
    println!("CPU nanoseconds a PUBLISH, from 50 clients to those who listen\n");
    row(&["listeners", "bytes", "P", "redis-server", "shoal", "ratio", "errors"].map(str::to_owned));
    rule(1, 6);
    let core = args.server_core.to_string();
    let start = |kind| Server::start(kind, Mode::Standalone, 1, &core);
    let servers = [start(Kind::Redis)?, start(Kind::Shoal)?];
    for (name, size, line) in CROWDS {
        let gather = |server: &Server| {
            Crowd::gather(server.port(), args.load_core, size, line).map_err(|e| e.to_string())
        };
        let crowds = servers.iter().map(gather).collect::<Result<Vec<Crowd>, String>>()?;
        for bytes in SIZES {
            for pipeline in args.pipelines(&PIPELINES) {
                let text = "x".repeat(bytes);
                let what = ["PUBLISH", "news", &text];
                let load = Load { what: &what, pipeline, requests: args.scaled(MESSAGES), more: &[] };
                let [redis, shoal] = &take_turns(args, &servers, &load)?[..] else {
                    unreachable!("a cost for each of two servers");
                };
                let (ratio, errors) = (redis.cpu_ns / shoal.cpu_ns, redis.errors + shoal.errors);
                row(&[
                    name.to_owned(),
                    bytes.to_string(),
                    pipeline.to_string(),
                    thousands(redis.cpu_ns),
                    thousands(shoal.cpu_ns),
                    times(ratio),
                    errors.to_string(),
                ]);
                if ratio < LEAST || errors > 0 {
                    missed.push(format!("{name}, {bytes} bytes, P={pipeline}: {ratio:.2}x, {errors} errors"));
                }
            }
        }
        for crowd in crowds {
            crowd.end().map_err(|e| e.to_string())?;
        }
    }
    Ok(missed)
}
