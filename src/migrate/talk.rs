//! One conversation with a target.

use crate::limits::MIGRATE_LINE;
use std::collections::VecDeque;

/// What is wanted of the target.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// User, if one was named, and password.
    pub auth: Option<(Option<Vec<u8>>, Vec<u8>)>,
    pub db: i64,
    /// The target is a node of a cluster that need not own the slot yet.
    pub asking: bool,
    /// Keys that are there already are overwritten.
    pub replace: bool,
}

/// What the next reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Auth,
    Select,
    Restore(usize),
}

/// Commands out, replies in. Keys are known by their number.
#[derive(Debug)]
pub struct Talk {
    terms: Terms,
    keys: Vec<Box<[u8]>>,
    /// The key whose value is wanted next.
    next: usize,
    out: Vec<u8>,
    awaited: VecDeque<Awaited>,
    /// The beginning of a reply.
    line: Vec<u8>,
    /// The target's error to AUTH, else to SELECT: it counts for every key.
    greeting: Option<Vec<u8>>,
    error: Option<Vec<u8>>,
    /// A key was answered.
    answered: bool,
    arrived: Vec<usize>,
}

impl Talk {
    pub fn new(terms: Terms, keys: Vec<Box<[u8]>>) -> Talk {
        Talk {
            terms,
            keys,
            next: 0,
            out: Vec::new(),
            awaited: VecDeque::new(),
            line: Vec::new(),
            greeting: None,
            error: None,
            answered: false,
            arrived: Vec::new(),
        }
    }

    pub fn db(&self) -> i64 {
        self.terms.db
    }

    pub fn keys(&self) -> &[Box<[u8]>] {
        &self.keys
    }

    /// Begins, on a connection where `selected` is the database, if that is known.
    pub fn begin(&mut self, selected: Option<i64>) {
        self.next = 0;
        self.out.clear();
        self.line.clear();
        self.awaited.clear();
        self.greeting = None;
        if let Some((user, password)) = &self.terms.auth {
            let words = [Some(&b"AUTH"[..]), user.as_deref(), Some(password)];
            let words: Vec<&[u8]> = words.into_iter().flatten().collect();
            header(&mut self.out, b'*', words.len());
            words.iter().for_each(|word| bulk(&mut self.out, word));
            self.awaited.push_back(Awaited::Auth);
        }
        if selected != Some(self.terms.db) {
            header(&mut self.out, b'*', 2);
            bulk(&mut self.out, b"SELECT");
            bulk(&mut self.out, self.terms.db.to_string().as_bytes());
            self.awaited.push_back(Awaited::Select);
        }
    }

    /// The key whose value is wanted now: [`Talk::head`] and the value go out for it, or
    /// [`Talk::skip`] says that there is none.
    pub fn upcoming(&self) -> Option<&[u8]> {
        self.keys.get(self.next).map(|key| &**key)
    }

    pub fn skip(&mut self) {
        self.next += 1;
    }

    /// Announces a value of `len` bytes that lives for `ttl` ms (0: for good). Exactly so many are to
    /// be written to [`Talk::out`], then [`Talk::tail`].
    pub fn head(&mut self, ttl: u64, len: usize) {
        header(&mut self.out, b'*', if self.terms.replace { 5 } else { 4 });
        bulk(&mut self.out, if self.terms.asking { b"RESTORE-ASKING" } else { b"RESTORE" });
        bulk(&mut self.out, &self.keys[self.next]);
        bulk(&mut self.out, ttl.to_string().as_bytes());
        header(&mut self.out, b'$', len);
    }

    pub fn tail(&mut self) {
        self.out.extend_from_slice(b"\r\n");
        if self.terms.replace {
            bulk(&mut self.out, b"REPLACE");
        }
        self.awaited.push_back(Awaited::Restore(self.next));
        self.next += 1;
    }

    /// Bytes for the target that nobody has taken yet.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes of the target. False when it says what nobody asked for.
    pub fn hear(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.collect(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let Some(what) = self.awaited.pop_front() else { return false };
            self.note(what, line);
        }
        self.collect(bytes);
        true
    }

    /// What is too long for an error is cut off.
    fn collect(&mut self, bytes: &[u8]) {
        let room = MIGRATE_LINE - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn note(&mut self, what: Awaited, line: Vec<u8>) {
        let refused = line.first() == Some(&b'-');
        let text = || line[1..].to_vec();
        match what {
            Awaited::Auth | Awaited::Select if refused => {
                self.greeting.get_or_insert_with(text);
            }
            Awaited::Auth | Awaited::Select => {}
            Awaited::Restore(key) => {
                self.answered = true;
                if self.greeting.is_none() && !refused {
                    self.arrived.push(key);
                } else if self.error.is_none() {
                    self.error = Some(self.greeting.clone().unwrap_or_else(text));
                }
            }
        }
    }

    /// Keys that the target has, since the last call.
    pub fn take_arrived(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.arrived)
    }

    /// Whether the target has said anything about a key: then nothing can begin anew.
    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// Everything is said and answered.
    pub fn is_over(&self) -> bool {
        self.next == self.keys.len() && self.awaited.is_empty() && self.out.is_empty()
    }

    /// The first error of the target, from its code on.
    pub fn error(&self) -> Option<&[u8]> {
        self.error.as_deref()
    }
}

fn header(out: &mut Vec<u8>, kind: u8, n: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(terms: Terms, keys: &[&str]) -> Talk {
        Talk::new(terms, keys.iter().map(|key| key.as_bytes().into()).collect())
    }

    fn said(talk: &mut Talk) -> String {
        String::from_utf8(std::mem::take(talk.out())).unwrap().replace("\r\n", "|")
    }

    fn say(talk: &mut Talk, ttl: u64, value: &str) {
        talk.head(ttl, value.len());
        talk.out().extend_from_slice(value.as_bytes());
        talk.tail();
    }

    #[test]
    fn what_is_said() {
        let auth = |user: Option<&str>| Some((user.map(|u| u.into()), b"pw".to_vec()));
        let select = "*2|$6|SELECT|$1|3|";
        let restore = "*4|$7|RESTORE|$1|a|$1|0|$2|v\0|";
        let asked = "*5|$14|RESTORE-ASKING|$1|a|$1|0|$2|v\0|$7|REPLACE|";
        let cases = [
            (Terms { db: 3, ..Terms::default() }, None, format!("{select}{restore}")),
            (Terms { db: 3, ..Terms::default() }, Some(0), format!("{select}{restore}")),
            (Terms { db: 3, ..Terms::default() }, Some(3), restore.to_string()),
            (Terms { asking: true, replace: true, ..Terms::default() }, Some(0), asked.to_string()),
            (Terms { auth: auth(None), ..Terms::default() }, Some(0), format!("*2|$4|AUTH|$2|pw|{restore}")),
            (
                Terms { auth: auth(Some("me")), db: 3, ..Terms::default() },
                Some(0),
                format!("*3|$4|AUTH|$2|me|$2|pw|{select}{restore}"),
            ),
        ];
        for (terms, selected, want) in cases {
            let mut t = talk(terms, &["a"]);
            t.begin(selected);
            assert_eq!(t.upcoming(), Some(&b"a"[..]));
            say(&mut t, 0, "v\0");
            assert_eq!(t.upcoming(), None);
            assert_eq!(said(&mut t), want);
        }
    }

    #[test]
    fn keys_arrive_one_by_one() {
        let mut t = talk(Terms::default(), &["a", "b", "gone", "d"]);
        t.begin(None);
        say(&mut t, 0, "1");
        say(&mut t, 77, "2");
        t.skip();
        say(&mut t, 0, "4");
        assert!(said(&mut t).ends_with("|$1|b|$2|77|$1|2|*4|$7|RESTORE|$1|d|$1|0|$1|4|"));
        assert!(t.hear(b"+OK\r\n+O") && !t.is_answered() && t.take_arrived().is_empty());
        assert!(t.hear(b"K\r\n-BUSYKEY Target key") && !t.is_over());
        assert_eq!((t.is_answered(), t.take_arrived()), (true, vec![0]));
        assert!(t.hear(b" name already exists.\r\n+OK\r\n"));
        assert_eq!((t.take_arrived(), t.is_over()), (vec![3], true));
        assert_eq!(t.error(), Some(&b"BUSYKEY Target key name already exists."[..]));
        assert!(!t.hear(b"+OK\r\n"), "nobody asked");
    }

    /// Errors to AUTH and SELECT count for all keys, and AUTH's is told.
    #[test]
    fn a_target_that_is_not_greeted_takes_nothing() {
        let auth = Some((None, b"pw".to_vec()));
        let cases: &[(&[u8], &[u8])] = &[
            (b"-WRONGPASS no\r\n-NOAUTH x\r\n-NOAUTH y\r\n", b"WRONGPASS no"),
            (b"+OK\r\n-ERR DB index is out of range\r\n+OK\r\n", b"ERR DB index is out of range"),
            (b"-ERR no password\r\n+OK\r\n+OK\r\n", b"ERR no password"),
        ];
        for (replies, want) in cases {
            let mut t = talk(Terms { auth: auth.clone(), ..Terms::default() }, &["a"]);
            t.begin(None);
            say(&mut t, 0, "1");
            said(&mut t);
            for byte in *replies {
                assert!(t.hear(&[*byte]));
            }
            assert_eq!((t.take_arrived(), t.error(), t.is_over()), (vec![], Some(*want), true));
        }
    }

    #[test]
    fn an_endless_line_takes_no_room() {
        let mut t = talk(Terms::default(), &["a"]);
        t.begin(Some(0));
        say(&mut t, 0, "1");
        (0..100).for_each(|_| assert!(t.hear(&[b'-'; 1000])));
        assert!(t.hear(b"\r\n"));
        assert_eq!(t.error().map(<[u8]>::len), Some(MIGRATE_LINE - 1));
        // begun anew, what came before is forgotten
        let mut t = talk(Terms::default(), &["a"]);
        t.begin(None);
        assert!(t.hear(b"+O"));
        t.begin(Some(0));
        say(&mut t, 0, "1");
        assert!(t.hear(b"+OK\r\n"));
        assert_eq!(t.take_arrived(), [0]);
    }
}
