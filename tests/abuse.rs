//! Clients that do what no client should: the server stays up, serves the others, and keeps its
//! memory bounded.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::client::Client;
use common::resp::encode;
use common::server::{Server, Shape, stand_in};
use common::{long, show, wait_for};

const MIB: u64 = 1 << 20;

/// The shapes to abuse: one core, and a front door before two.
fn shapes() -> Vec<Shape> {
    if stand_in() { vec![Shape::Standalone(1)] } else { vec![Shape::Standalone(1), Shape::Host(2)] }
}

/// Each test watches memory and times of a server under abuse, so they take turns on the machine.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asserts that a new client and this one are served, each within a second.
fn others_are_served(server: &mut Server, old: &mut Client) {
    assert!(server.alive(), "the server is gone; it said:\n{}", server.log());
    let begin = Instant::now();
    let mut new = server.client();
    for i in 0..20 {
        let key = format!("probe:{i}");
        assert_eq!(new.call(&["SET", &key, "v"]).expect("a reply").text(), "OK");
        assert_eq!(old.call(&["GET", &key]).expect("a reply").text(), "v");
    }
    assert!(begin.elapsed() < Duration::from_secs(2), "others waited for {:?}", begin.elapsed());
}

/// Raises this process's limit of open files as far as allowed; the limit.
fn raise_file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the struct, which outlives them.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
    }
    limit.rlim_cur
}

/// Pipelines GETs of a large value until the server takes no more, closes, or `most` are sent.
fn ask_without_reading(server: &Server, value: usize, most: usize) -> TcpStream {
    let mut writer = server.client();
    writer.call(&["SET", "large", &"x".repeat(value)]).expect("a reply");
    let mut stream = server.client().stream;
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let batch = encode(&["GET", "large"]).repeat(100);
    for _ in 0..most / 100 {
        if stream.write_all(&batch).is_err() {
            break;
        }
    }
    stream
}

#[test]
fn a_client_that_never_reads_is_bounded_by_the_buffer_limit() {
    let _turn = alone();
    for shape in shapes() {
        let mut server = Server::shoal(shape, &[]);
        let mut old = server.client();
        let limit = ["CONFIG", "SET", "client-output-buffer-limit", "normal 64mb 32mb 2"];
        assert_eq!(old.call(&limit).expect("a reply").text(), "OK");
        let before = server.rss();
        let deaf = ask_without_reading(&server, 1 << 20, 3000);
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            let grown = server.rss().saturating_sub(before);
            assert!(grown < 300 * MIB, "{shape:?}: {} MiB for a client that never reads", grown / MIB);
            others_are_served(&mut server, &mut old);
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(deaf);
        others_are_served(&mut server, &mut old);
    }
}

/// Without a limit set, the server must stop reading from who does not read.
#[test]
fn clients_that_never_read_are_bounded_by_themselves() {
    let _turn = alone();
    if stand_in() {
        return; // redis-server buffers all of it
    }
    for shape in shapes() {
        let mut server = Server::shoal(shape, &[]);
        let mut old = server.client();
        let before = server.rss();
        let deaf: Vec<TcpStream> = (0..4).map(|_| ask_without_reading(&server, 1 << 20, 2000)).collect();
        std::thread::sleep(Duration::from_secs(1));
        let grown = server.rss().saturating_sub(before);
        assert!(grown < 800 * MIB, "{shape:?}: {} MiB for clients that never read", grown / MIB);
        others_are_served(&mut server, &mut old);
        drop(deaf);
        others_are_served(&mut server, &mut old);
    }
}

/// Who reads late still gets every byte, in order.
#[test]
fn a_client_that_reads_late_loses_nothing() {
    let _turn = alone();
    for shape in shapes() {
        let server = Server::shoal(shape, &[]);
        let mut client = server.client();
        client.call(&["SET", "large", &"x".repeat(100_000)]).expect("a reply");
        let count = 300;
        let mut bytes = Vec::new();
        for i in 0..count {
            bytes.extend(encode(&["ECHO", &i.to_string()]));
            bytes.extend(encode(&["GET", "large"]));
        }
        client.send(&bytes).expect("small requests are taken");
        std::thread::sleep(Duration::from_millis(500));
        for i in 0..count {
            assert_eq!(client.read().expect("a reply").text(), i.to_string());
            assert_eq!(client.read().expect("a reply").node.body.1, 100_009);
        }
    }
}

#[test]
fn a_bulk_may_come_byte_by_byte() {
    let _turn = alone();
    for shape in shapes() {
        let mut server = Server::shoal(shape, &[]);
        let mut old = server.client();
        let mut slow = server.client();
        let value = "0123456789".repeat(if long() { 10_000 } else { 500 });
        let bytes = encode(&["SET", "slow", &value]);
        for (i, byte) in bytes.iter().enumerate() {
            slow.send(&[*byte]).expect("one byte");
            if i % 1000 == 0 {
                others_are_served(&mut server, &mut old);
            }
        }
        assert_eq!(slow.read().expect("a reply").text(), "OK");
        assert_eq!(old.cmd("GET slow").text(), value);
    }
}

/// A value as long as any may be, its first bytes one by one and the rest in small pieces, takes its own
/// size, holds nobody up, and leaves nothing behind.
#[test]
fn a_large_bulk_in_pieces_costs_its_size() {
    let _turn = alone();
    let size = if long() { 512 * MIB } else { 32 * MIB };
    let piece = vec![b'x'; 64 << 10];
    for shape in shapes() {
        let mut server = Server::shoal(shape, &[]);
        let mut old = server.client();
        let before = server.rss();
        let mut slow = server.client();
        slow.send(format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${size}\r\n").as_bytes()).expect("a head");
        let singles = piece.len() as u64 / 16;
        for byte in piece.iter().take(singles as usize) {
            slow.send(&[*byte]).expect("one byte");
        }
        let mut sent = singles;
        while sent < size {
            let now = (size - sent).min(piece.len() as u64);
            slow.send(&piece[..now as usize]).expect("a piece");
            sent += now;
            if (sent / piece.len() as u64).is_multiple_of(size / MIB) {
                others_are_served(&mut server, &mut old);
            }
        }
        slow.send(b"\r\n").expect("the end");
        assert_eq!(slow.read().expect("a reply").text(), "OK");
        assert_eq!(old.cmd("STRLEN large").int(), size as i64);
        others_are_served(&mut server, &mut old);
        let settles = |most: u64| {
            let small = || (server.rss().saturating_sub(before) < most).then_some(());
            assert!(wait_for(Duration::from_secs(30), small).is_some(), "{shape:?}: {} bytes", server.rss());
        };
        settles(size + size / 2 + 64 * MIB);
        assert_eq!(old.cmd("UNLINK large").int(), 1);
        settles(size / 2);
    }
}

/// A length is a promise, not yet memory.
#[test]
fn announced_lengths_cost_nothing() {
    let _turn = alone();
    for shape in shapes() {
        let mut server = Server::shoal(shape, &[]);
        let mut old = server.client();
        let before = server.rss();
        let mut waiting = Vec::new();
        for frame in
            ["*2\r\n$4\r\nECHO\r\n$536870912\r\nx", "*1048576\r\n$4\r\nMGET\r\n", "*3\r\n$500000000\r\n"]
        {
            for _ in 0..100 {
                let mut client = server.client();
                client.send(frame.as_bytes()).expect("a frame's begin");
                waiting.push(client);
            }
        }
        std::thread::sleep(Duration::from_millis(300));
        let grown = server.rss().saturating_sub(before);
        assert!(grown < 128 * MIB, "{shape:?}: {} MiB for promises", grown / MIB);
        others_are_served(&mut server, &mut old);
    }
}

#[test]
fn idle_clients_are_cheap() {
    let _turn = alone();
    let want: u64 = if long() { 10_000 } else { 1_000 };
    let limit = raise_file_limit();
    assert!(limit > want + 100, "only {limit} open files are allowed (ulimit -n)");
    for shape in shapes() {
        let mut server = Server::shoal(shape, &["--maxclients", "20000"]);
        let mut old = server.client();
        let before = server.rss();
        let idle: Vec<Client> = (0..want).map(|_| server.client()).collect();
        others_are_served(&mut server, &mut old);
        let connected = wait_for(Duration::from_secs(10), || (connected(&mut old) > want).then_some(()));
        assert!(connected.is_some(), "{shape:?}: not all {want} clients are connected");
        let each = server.rss().saturating_sub(before) / want;
        assert!(each < 64 * 1024, "{shape:?}: {each} bytes an idle client");
        drop(idle);
        let gone = wait_for(Duration::from_secs(20), || (self::connected(&mut old) < 20).then_some(()));
        assert!(gone.is_some(), "{shape:?}: {} clients are still connected", self::connected(&mut old));
    }
}

fn connected(client: &mut Client) -> u64 {
    let info = client.cmd("INFO clients").text();
    let line = info.lines().find_map(|line| line.strip_prefix("connected_clients:"));
    line.unwrap_or_else(|| panic!("no connected_clients in:\n{info}")).trim().parse().expect("a number")
}

#[test]
fn more_than_maxclients_are_refused_in_words() {
    let _turn = alone();
    for shape in shapes() {
        let server = Server::shoal(shape, &[]);
        let mut old = server.client();
        assert_eq!(old.cmd("CONFIG SET maxclients 20").text(), "OK");
        let mut clients: Vec<Client> = Vec::new();
        let mut refused = 0;
        for _ in 0..40 {
            let mut client = server.client();
            match client.call(&["PING"]) {
                Ok(reply) if reply.raw == b"+PONG\r\n" => clients.push(client),
                Ok(reply) => {
                    assert_eq!(reply.text(), "ERR max number of clients reached");
                    refused += 1;
                }
                // closed before the request arrived: the words may be lost
                Err(_) => refused += 1,
            }
        }
        assert!(clients.len() <= 20 && refused >= 20, "{} of 40 were taken", clients.len());
        drop(clients);
        let again = wait_for(Duration::from_secs(5), || {
            server.client().call(&["PING"]).ok().filter(|reply| !reply.is_error())
        });
        assert!(again.is_some(), "{shape:?}: nobody is taken any more");
    }
}

#[test]
fn a_flood_of_connections_leaves_nothing_behind() {
    let _turn = alone();
    for shape in shapes() {
        let mut server = Server::shoal(shape, &[]);
        let mut old = server.client();
        let files = open_files(&server);
        let before = server.rss();
        let rounds = if long() { 20_000 } else { 2_000 };
        for i in 0..rounds {
            let mut client = server.client();
            match i % 4 {
                0 => drop(client.call(&["PING"])),
                1 => drop(client.send(b"*3\r\n$3\r\nSET\r\n$1")),
                2 => {
                    let _ = client.send(&encode(&["PING"]).repeat(50));
                    reset_on_close(&client.stream);
                }
                _ => reset_on_close(&client.stream),
            }
        }
        others_are_served(&mut server, &mut old);
        let closed = wait_for(Duration::from_secs(10), || (open_files(&server) < files + 10).then_some(()));
        assert!(closed.is_some(), "{shape:?}: {} files open, {files} before", open_files(&server));
        let grown = server.rss().saturating_sub(before);
        assert!(grown < 64 * MIB, "{shape:?}: {} MiB stay behind", grown / MIB);
    }
}

fn open_files(server: &Server) -> usize {
    let path = format!("/proc/{}/fd", server.pid());
    std::fs::read_dir(&path).unwrap_or_else(|e| panic!("{path}: {e}")).count()
}

/// Makes closing send a reset in the place of an orderly end.
fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = libc::socklen_t::try_from(std::mem::size_of::<libc::linger>()).expect("a small size");
    // SAFETY: the pointer is to a live struct of the size that is given.
    let done = unsafe {
        let value = std::ptr::from_ref(&linger).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, size)
    };
    assert_eq!(done, 0);
}

/// Frames that break the protocol: the client hears an error and is closed.
const MALFORMED: &[&[u8]] = &[
    b"*abc\r\n",
    b"*1x\r\n",
    b"*9223372036854775808\r\n",
    b"*2147483648\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n:4\r\n",
    b"*1\r\n*1\r\n",
    b"*1\r\n$abc\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$9223372036854775808\r\n",
    b"ECHO \"unbalanced\r\n",
    b"*2\r\n$4\r\nECHO\r\n$-5\r\n",
    b"*1\r\n$4\r\nPING\r\n*x\r\n",
];

#[test]
fn malformed_frames_end_their_client_only() {
    let _turn = alone();
    for shape in shapes() {
        let mut server = Server::shoal(shape, &[]);
        let mut old = server.client();
        for frame in MALFORMED {
            let mut client = server.client();
            client.send(frame).expect("a frame");
            let said = read_to_end(&mut client.stream);
            assert!(said.contains("-ERR Protocol error"), "{shape:?}: {} -> {said:?}", show(frame));
        }
        others_are_served(&mut server, &mut old);
    }
}

fn read_to_end(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    match stream.read_to_end(&mut said) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("the connection stays open after {:?}", String::from_utf8_lossy(&said))
        }
        _ => String::from_utf8_lossy(&said).into_owned(),
    }
}

/// Valid pipelines with bytes changed, cut and doubled; the seed of a failing case is printed.
#[test]
fn mutated_pipelines_hurt_nobody() {
    let _turn = alone();
    let cases = if long() { 50_000 } else { 2_000 };
    for shape in shapes() {
        let mut server = Server::shoal(shape, &[]);
        let mut old = server.client();
        let before = server.rss();
        for seed in 1..=cases {
            let bytes = mutated(seed);
            let mut client = server.client();
            client.stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
            let _ = client.send(&bytes);
            let _ = client.stream.read(&mut [0; 4096]);
            if seed % 500 == 0 {
                assert!(server.alive(), "{shape:?}: gone near seed {seed}; it said:\n{}", server.log());
                others_are_served(&mut server, &mut old);
            }
        }
        let grown = server.rss().saturating_sub(before);
        assert!(grown < 128 * MIB, "{shape:?}: {} MiB after {cases} clients", grown / MIB);
    }
}

fn mutated(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut bytes = Vec::new();
    for _ in 0..=random(5) {
        match random(4) {
            0 => bytes.extend(encode(&["SET", "key", "value"])),
            1 => bytes.extend(encode(&["MGET", "a", "b", "", "d"])),
            2 => bytes.extend_from_slice(b"PING inline\r\n"),
            _ => bytes.extend(encode(&["ZADD", "z", "1.5", "member"])),
        }
    }
    for _ in 0..=random(4) {
        let at = random(bytes.len());
        match random(4) {
            0 => bytes[at] = random(256) as u8,
            1 => bytes[at] = b"0123456789*$\r\n-"[random(15)],
            2 if bytes.len() > 1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, bytes[at]),
        }
    }
    bytes
}
