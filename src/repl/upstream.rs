//! The side that copies: the conversation with a primary, up to its stream and in it.
//!
//! Bytes come in any pieces. [`Upstream::hear`] uses up some and says what they mean; whoever calls does
//! what that asks for and calls again, until nothing is left. Replies are lines, read one by one, and
//! newlines between them are a primary's sign that it lives.

use super::Id;
use super::transfer::Transfer;
use crate::limits::REPL_LINE;
use crate::util::num::parse_i64;
use memchr::memchr;

/// What a primary is told, and asked for.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    /// Where clients find this replica; the address as far as it differs from the socket's.
    pub port: u16,
    pub address: Option<String>,
    /// The stream to go on with, and how much of it is here.
    pub resume: Option<(Id, u64)>,
    /// The other side is a replica, and is to become the primary now.
    pub failover: bool,
}

/// What bytes of the primary mean.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// They were used up.
    More,
    /// All data will be sent, as of here in this stream; `None` where the primary knows no streams.
    Full(Option<(Id, u64)>),
    /// The payload begins.
    Begins,
    /// More of it.
    Payload(Vec<u8>),
    /// Nothing more of it. [`Upstream::in_place`] is to be told once it is taken up.
    Whole(Vec<u8>),
    /// The stream goes on where this side is, maybe under another name.
    Continues(Option<Id>),
    /// A part of the stream.
    Stream(&'a [u8]),
    /// The link must be closed, and why.
    Over(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Pong,
    /// Replies to what was said first, in this order; the last one is the first to come.
    Answers(Vec<Answer>),
    Psync,
    /// The line that announces the payload.
    Announcement,
    Transfer(Transfer),
    Loading,
    Stream,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Auth,
    Conf(&'static str),
}

/// One conversation; a new one begins with every connection.
#[derive(Debug)]
pub struct Upstream {
    terms: Terms,
    stage: Stage,
    line: Vec<u8>,
    out: Vec<u8>,
    heard_ms: u64,
    /// It knows no PSYNC, and wants no acknowledgements.
    old: bool,
    marked: bool,
    /// Bytes of the payload that came.
    pub received: u64,
}

/// Appends a command.
pub fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

impl Upstream {
    pub fn new(terms: Terms, now_ms: u64) -> Upstream {
        Upstream {
            terms,
            stage: Stage::Connecting,
            line: Vec::new(),
            out: Vec::new(),
            heard_ms: now_ms,
            old: false,
            marked: false,
            received: 0,
        }
    }

    /// What is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The connection stands.
    pub fn opened(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        self.stage = Stage::Pong;
        command(&mut self.out, &[b"PING"]);
    }

    /// ROLE's word for it.
    pub fn state(&self) -> &'static str {
        match self.stage {
            Stage::Connecting => "connecting",
            Stage::Pong | Stage::Answers(_) | Stage::Psync => "handshake",
            Stage::Announcement | Stage::Transfer(_) | Stage::Loading => "sync",
            Stage::Stream => "connected",
            Stage::Over => "connect",
        }
    }

    pub fn is_connected(&self) -> bool {
        self.stage == Stage::Stream
    }

    pub fn is_syncing(&self) -> bool {
        matches!(self.stage, Stage::Announcement | Stage::Transfer(_) | Stage::Loading)
    }

    /// The payload is whole and not in place: what comes now must wait.
    pub fn is_loading(&self) -> bool {
        self.stage == Stage::Loading
    }

    pub fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// Why the primary is given up, if it has been silent for longer than `timeout_ms`.
    pub fn is_late(&self, timeout_ms: u64, now_ms: u64) -> Option<&'static str> {
        if now_ms.saturating_sub(self.heard_ms) <= timeout_ms {
            return None;
        }
        Some(match self.stage {
            Stage::Announcement | Stage::Transfer(_) | Stage::Loading => {
                "Timeout receiving bulk data from MASTER... If the problem persists try to set the \
                 'repl-timeout' parameter in redis.conf to a larger value."
            }
            Stage::Stream => "MASTER timeout: no data nor PING received...",
            _ => "Timeout connecting to the MASTER...",
        })
    }

    /// Tells the primary how much of the stream is here.
    pub fn ack(&mut self, offset: u64) {
        if !self.old && self.stage == Stage::Stream {
            command(&mut self.out, &[b"REPLCONF", b"ACK", offset.to_string().as_bytes()]);
        }
    }

    /// The payload is taken up: the stream follows.
    pub fn in_place(&mut self, offset: u64, now_ms: u64) {
        self.heard_ms = now_ms;
        self.stage = Stage::Stream;
        if self.marked {
            self.ack(offset);
        }
    }

    /// Uses up some of `input`.
    pub fn hear<'a>(&mut self, input: &mut &'a [u8], now_ms: u64) -> Heard<'a> {
        self.heard_ms = now_ms;
        while !input.is_empty() {
            match &mut self.stage {
                Stage::Stream => return Heard::Stream(std::mem::take(input)),
                Stage::Transfer(transfer) => {
                    let mut payload = Vec::new();
                    let before = input.len();
                    let whole = transfer.take(input, &mut payload);
                    self.received += (before - input.len()) as u64;
                    if !whole {
                        return Heard::Payload(payload);
                    }
                    self.stage = Stage::Loading;
                    return Heard::Whole(payload);
                }
                Stage::Loading => return self.over("the MASTER goes on before its data is in place"),
                Stage::Connecting => return self.over("bytes before the connection stands"),
                Stage::Over => {
                    *input = &[];
                }
                _ => match self.take_line(input) {
                    Some(line) => match self.answer(&line) {
                        Heard::More => {}
                        heard => return heard,
                    },
                    None if self.line.len() > REPL_LINE => return self.over("a line without an end"),
                    None => {}
                },
            }
        }
        Heard::More
    }

    fn over<'a>(&mut self, why: impl Into<String>) -> Heard<'a> {
        self.stage = Stage::Over;
        Heard::Over(why.into())
    }

    /// The next line, without its end, if it is whole.
    fn take_line(&mut self, input: &mut &[u8]) -> Option<Vec<u8>> {
        let end = memchr(b'\n', input);
        let (now, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
        self.line.extend_from_slice(now);
        *input = rest;
        end?;
        let mut line = std::mem::take(&mut self.line);
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(line)
    }

    fn answer<'a>(&mut self, line: &[u8]) -> Heard<'a> {
        let text = || String::from_utf8_lossy(line);
        if line.is_empty() {
            return Heard::More;
        }
        match &mut self.stage {
            Stage::Pong => {
                let known: [&[u8]; 4] = [b"+", b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"];
                if !known.iter().any(|start| line.starts_with(start)) {
                    return self.over(format!("Error reply to PING from master: '{}'", text()));
                }
                self.introduce();
                Heard::More
            }
            Stage::Answers(missing) => {
                let answered = missing.pop();
                let last = missing.is_empty();
                if line[0] == b'-' {
                    match answered {
                        Some(Answer::Auth) => {
                            return self.over(format!("Unable to AUTH to MASTER: {}", text()));
                        }
                        Some(Answer::Conf(option)) => tracing::info!(
                            "(Non critical) Master does not understand REPLCONF {option}: {}",
                            text()
                        ),
                        None => {}
                    }
                }
                if last {
                    self.ask();
                }
                Heard::More
            }
            Stage::Psync => self.synchronize(line),
            Stage::Announcement => self.announced(line),
            _ => Heard::More,
        }
    }

    /// AUTH and REPLCONF, at once.
    fn introduce(&mut self) {
        let Upstream { terms, out, .. } = self;
        let mut answers = Vec::new();
        if let Some(password) = &terms.password {
            match &terms.user {
                Some(user) => command(out, &[b"AUTH", user, password]),
                None => command(out, &[b"AUTH", password]),
            }
            answers.push(Answer::Auth);
        }
        command(out, &[b"REPLCONF", b"listening-port", terms.port.to_string().as_bytes()]);
        answers.push(Answer::Conf("listening-port"));
        if let Some(address) = &terms.address {
            command(out, &[b"REPLCONF", b"ip-address", address.as_bytes()]);
            answers.push(Answer::Conf("ip-address"));
        }
        command(out, &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]);
        answers.push(Answer::Conf("capa"));
        answers.reverse();
        self.stage = Stage::Answers(answers);
    }

    fn ask(&mut self) {
        let resume = self.terms.resume;
        let first = resume.map_or("-1".to_owned(), |(_, offset)| (offset + 1).to_string());
        let id = resume.as_ref().map_or(&b"?"[..], |(id, _)| id.as_bytes());
        let words: &[&[u8]] = &[b"PSYNC", id, first.as_bytes(), b"FAILOVER"];
        command(&mut self.out, &words[..if self.terms.failover { 4 } else { 3 }]);
        self.stage = Stage::Psync;
    }

    fn synchronize<'a>(&mut self, line: &[u8]) -> Heard<'a> {
        let text = String::from_utf8_lossy(line);
        if let Some(rest) = line.strip_prefix(b"+FULLRESYNC") {
            self.stage = Stage::Announcement;
            let mut words = rest.split(|c| *c == b' ').filter(|word| !word.is_empty());
            let id = words.next().and_then(Id::from_bytes);
            let offset = words.next().and_then(parse_i64).and_then(|offset| u64::try_from(offset).ok());
            return match id.zip(offset) {
                Some(of) => Heard::Full(Some(of)),
                None => self.over("Master replied with wrong +FULLRESYNC syntax."),
            };
        }
        if let Some(rest) = line.strip_prefix(b"+CONTINUE") {
            if self.terms.resume.is_none() {
                return self.over("The MASTER goes on where nothing has begun");
            }
            self.stage = Stage::Stream;
            return Heard::Continues(rest.get(1..).and_then(Id::from_bytes));
        }
        if line.starts_with(b"-NOMASTERLINK") || line.starts_with(b"-LOADING") {
            return self
                .over(format!("Master is currently unable to PSYNC but should be in the future: {text}"));
        }
        tracing::info!("Master does not support PSYNC or is in error state (reply: {text})");
        tracing::info!("Retrying with SYNC...");
        command(&mut self.out, &[b"SYNC"]);
        self.old = true;
        self.stage = Stage::Announcement;
        Heard::Full(None)
    }

    fn announced<'a>(&mut self, line: &[u8]) -> Heard<'a> {
        let text = String::from_utf8_lossy(line);
        match line.split_first() {
            Some((b'-', rest)) => {
                let rest = String::from_utf8_lossy(rest);
                self.over(format!("MASTER aborted replication with an error: {rest}"))
            }
            Some((b'$', rest)) => match Transfer::announced(rest) {
                Some(transfer) => {
                    self.marked = transfer.is_marked();
                    self.stage = Stage::Transfer(transfer);
                    Heard::Begins
                }
                None => self.over(format!("Bad protocol from MASTER: '{text}' announces no payload")),
            },
            _ => self.over(format!(
                "Bad protocol from MASTER, the first byte is not '$' (we received '{text}'), are you sure the \
                 host and port are right?"
            )),
        }
    }
}
