//! Plays a script to two servers and notes where they differ.

use std::collections::BTreeSet;
use std::io;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::compare;
use super::script::{Act, How, Script, Step, Words};
use crate::common::client::Client;
use crate::common::resp::{Reply, encode};
use crate::common::show;

/// How long a server must be quiet after raw bytes before its answer counts as whole.
const QUIET: Duration = Duration::from_millis(60);
/// How long the two may take to come to the same answer.
const CATCH_UP: Duration = Duration::from_secs(3);
/// After so many requests without an answer a file is given up.
const LOST: usize = 3;

pub struct Player {
    theirs: Side,
    ours: Side,
    pub compared: usize,
    pub differences: Vec<String>,
    lost: usize,
}

struct Side {
    port: u16,
    client: Client,
    resp: u8,
}

/// What became of one request.
enum Outcome {
    Reply(Reply),
    Items(BTreeSet<Vec<u8>>),
    Nothing(String),
}

impl Player {
    pub fn new(their_port: u16, our_port: u16) -> Player {
        let (theirs, ours) = (Side::new(their_port), Side::new(our_port));
        Player { theirs, ours, compared: 0, differences: Vec::new(), lost: 0 }
    }

    /// Plays all of `script`, then compares the whole keyspace.
    pub fn play(&mut self, file: &str, script: &Script) {
        self.both(|side| side.reconnect());
        self.both(|side| drop(side.client.call(&["FLUSHALL"])));
        for step in &script.steps {
            self.step(file, step);
            if self.lost >= LOST {
                self.differences.push(format!("{file}: given up: {LOST} requests without an answer"));
                return;
            }
        }
        self.compare_keyspaces(file);
    }

    fn both(&mut self, act: impl Fn(&mut Side)) {
        act(&mut self.theirs);
        act(&mut self.ours);
    }

    fn step(&mut self, file: &str, step: &Step) {
        let at = format!("{file}:{}", step.line);
        match &step.act {
            Act::Sleep(ms) => std::thread::sleep(Duration::from_millis(*ms)),
            Act::Reconnect => self.both(Side::reconnect),
            Act::Resp(version) => self.both(|side| side.protocol(*version)),
            Act::Raw(parts) => self.raw(&at, parts, &step.how),
            Act::Send(words) => {
                let (theirs, ours) = (self.theirs.send(words), self.ours.send(words));
                self.judge(&at, words, &step.how, theirs, ours);
            }
            Act::Scan(words) => {
                let pairs = step.how == How::Unordered { pairs: true };
                let (theirs, ours) = (self.theirs.scan(words, pairs), self.ours.scan(words, pairs));
                self.judge(&at, words, &step.how, theirs, ours);
            }
        }
    }

    fn judge(&mut self, at: &str, words: &Words, how: &How, theirs: Outcome, ours: Outcome) {
        self.compared += usize::from(*how != How::Ignore);
        let same = match (&theirs, &ours) {
            (Outcome::Reply(t), Outcome::Reply(o)) => compare::same(how, t, o),
            (Outcome::Items(t), Outcome::Items(o)) => t == o,
            (Outcome::Nothing(t), Outcome::Nothing(o)) => t == o,
            _ => false,
        };
        for (side, outcome) in [(&mut self.theirs, &theirs), (&mut self.ours, &ours)] {
            if matches!(outcome, Outcome::Nothing(_)) {
                side.reconnect();
            }
        }
        if same {
            return;
        }
        self.lost += usize::from(matches!(ours, Outcome::Nothing(_)));
        let line: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let (theirs, ours) = (theirs.show(), ours.show());
        self.differences.push(format!("{at}: {}\n    redis: {theirs}\n    shoal: {ours}", line.join(" ")));
    }

    fn raw(&mut self, at: &str, parts: &Words, how: &How) {
        self.compared += usize::from(*how != How::Ignore);
        let mut theirs = RawTalk::begin(self.theirs.port, parts);
        let mut ours = RawTalk::begin(self.ours.port, parts);
        let limit = Instant::now() + CATCH_UP;
        // either may be slow: both get the time to say what the other one said
        loop {
            theirs.listen(QUIET);
            ours.listen(QUIET / 4);
            let same = (&theirs.said, theirs.closed) == (&ours.said, ours.closed);
            if same || *how == How::Ignore {
                theirs.end();
                ours.end();
                return;
            }
            if Instant::now() > limit {
                break;
            }
        }
        let sent: Vec<String> = parts.iter().map(|part| quoted(part)).collect();
        let say = |bytes: &[u8], closed| format!("{}{}", show(bytes), if closed { " CLOSED" } else { "" });
        self.differences.push(format!(
            "{at}: @raw {}\n    redis: {}\n    shoal: {}",
            sent.join(" "),
            say(&theirs.said, theirs.closed),
            say(&ours.said, ours.closed)
        ));
    }

    /// Every key with its type, encoding, expiry and content.
    fn compare_keyspaces(&mut self, file: &str) {
        self.both(Side::reconnect);
        let at = format!("{file}: at its end");
        let unordered = How::Unordered { pairs: false };
        let keys = self.compare_one(&at, &unordered, &[b"KEYS", b"*"]);
        for key in keys.iter().flat_map(Reply::items).flatten() {
            self.compare_one(&at, &How::Exact, &[b"OBJECT", b"ENCODING", &key]);
            self.compare_one(&at, &How::Near(2000), &[b"PTTL", &key]);
            let kind = self.compare_one(&at, &How::Exact, &[b"TYPE", &key]);
            let pairs = How::Unordered { pairs: true };
            match kind.map(|k| k.text()).as_deref() {
                Some("string") => self.compare_one(&at, &How::Exact, &[b"GET", &key]),
                Some("list") => self.compare_one(&at, &How::Exact, &[b"LRANGE", &key, b"0", b"-1"]),
                Some("set") => self.compare_one(&at, &unordered, &[b"SMEMBERS", &key]),
                Some("hash") => self.compare_one(&at, &pairs, &[b"HGETALL", &key]),
                Some("zset") => {
                    self.compare_one(&at, &How::Exact, &[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"])
                }
                _ => None,
            };
        }
    }

    /// One request in passing; the reference's reply.
    fn compare_one(&mut self, at: &str, how: &How, args: &[&[u8]]) -> Option<Reply> {
        let words: Words = args.iter().map(|arg| arg.to_vec()).collect();
        let (theirs, ours) = (self.theirs.send(&words), self.ours.send(&words));
        let reply = match &theirs {
            Outcome::Reply(reply) => Some(reply.clone()),
            _ => None,
        };
        self.judge(at, &words, how, theirs, ours);
        reply
    }
}

impl Side {
    fn new(port: u16) -> Side {
        let client = Client::connect(port).unwrap_or_else(|e| panic!("no connection to port {port}: {e}"));
        Side { port, client, resp: 2 }
    }

    fn reconnect(&mut self) {
        *self = Side::new(self.port);
    }

    fn protocol(&mut self, version: u8) {
        self.resp = version;
        let _ = self.client.call(&["HELLO", &version.to_string()]);
    }

    fn send(&mut self, words: &Words) -> Outcome {
        match self.client.send(&encode(words)).and_then(|()| self.client.read()) {
            Ok(reply) => Outcome::Reply(reply),
            Err(e) => Outcome::Nothing(what_happened(&e)),
        }
    }

    /// Follows a cursor from 0 to its end. The cursor is the request's first argument `0`.
    fn scan(&mut self, words: &Words, pairs: bool) -> Outcome {
        let mut words = words.clone();
        let Some(at) = words.iter().position(|word| word == b"0") else {
            return Outcome::Nothing("a scan needs a cursor 0".to_owned());
        };
        let mut found = BTreeSet::new();
        for _ in 0..100_000 {
            let reply = match self.send(&words) {
                Outcome::Reply(reply) if reply.node.items.len() == 2 => reply,
                other => return other,
            };
            found.extend(compare::elements(&reply, &reply.node.items[1], pairs));
            words[at] = reply.body(&reply.node.items[0]).to_vec();
            if words[at] == b"0" {
                return Outcome::Items(found);
            }
        }
        Outcome::Nothing("a cursor that does not end".to_owned())
    }
}

impl Outcome {
    fn show(&self) -> String {
        match self {
            Outcome::Reply(reply) => show(&reply.raw),
            Outcome::Items(items) => {
                let all: Vec<String> = items.iter().map(|item| show(item)).collect();
                format!("{} items: {}", items.len(), all.join(" "))
            }
            Outcome::Nothing(why) => why.clone(),
        }
    }
}

fn what_happened(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no reply".to_owned(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "connection closed".to_owned()
        }
        _ => e.to_string(),
    }
}

/// A connection for raw bytes: what the server said to them, and whether it closed.
struct RawTalk {
    client: Client,
    said: Vec<u8>,
    closed: bool,
}

impl RawTalk {
    fn begin(port: u16, parts: &Words) -> RawTalk {
        let client = Client::connect(port);
        let mut client = client.unwrap_or_else(|e| panic!("no connection to port {port}: {e}"));
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                std::thread::sleep(Duration::from_millis(15));
            }
            // a server that has already closed is part of the answer
            if client.send(part).is_err() {
                break;
            }
        }
        RawTalk { client, said: Vec::new(), closed: false }
    }

    /// Hangs up, and waits until the server has done so too: what comes next may count those who are connected.
    fn end(mut self) {
        if self.client.stream.shutdown(Shutdown::Write).is_ok() && !self.closed {
            self.client.drain(CATCH_UP);
        }
    }

    fn listen(&mut self, quiet: Duration) {
        if !self.closed {
            let (more, closed) = self.client.drain(quiet);
            self.said.extend(more);
            self.closed = closed;
        }
    }
}

/// A word as it would stand in a script.
fn quoted(word: &[u8]) -> String {
    let plain = !word.is_empty() && word.iter().all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(b));
    if plain && word.len() < 200 {
        return String::from_utf8_lossy(word).into_owned();
    }
    format!("\"{}\"", show(word))
}
