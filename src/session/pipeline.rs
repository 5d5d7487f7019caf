//! Keeps replies in the order of the requests.
//!
//! As long as every command is answered on its own core the pipeline is empty and costs nothing:
//! replies go straight to the output. A command that is forwarded takes a place; what is answered
//! behind it waits there until the places before are filled.

use crate::command::spec::Join;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Most replies are shorter than this and need no allocation.
type Short = SmallVec<[u8; 48]>;

/// A reply's place: its number in this client's order.
pub type Place = u64;

#[derive(Debug)]
enum Slot {
    Waiting { discard: bool },
    Ready(Short),
    Joining(Box<Joining>),
}

/// Several replies on their way to become one.
#[derive(Debug)]
struct Joining {
    join: Join,
    missing: usize,
    parts: Vec<Part>,
    discard: bool,
}

/// One shard's share of a joined reply.
#[derive(Debug, Default)]
struct Part {
    reply: Vec<u8>,
    /// For [`Join::Places`]: where its elements go in the joined array.
    places: Vec<u32>,
}

#[derive(Debug, Default)]
pub struct Pipeline {
    /// The number of the first place in `slots`.
    head: Place,
    slots: VecDeque<Slot>,
    bytes: usize,
}

impl Pipeline {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of replies that wait for their turn.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn next(&self) -> Place {
        self.head + self.slots.len() as u64
    }

    /// Takes a place for a reply that will come. With `discard` it will not be sent.
    pub fn wait(&mut self, discard: bool) -> Place {
        let place = self.next();
        self.slots.push_back(Slot::Waiting { discard });
        place
    }

    /// Takes a place for a reply joined from one part for each element of `places`.
    pub fn join(&mut self, join: Join, places: Vec<Vec<u32>>, discard: bool) -> Place {
        let place = self.next();
        let parts: Vec<Part> = places.into_iter().map(|places| Part { reply: Vec::new(), places }).collect();
        assert!(!parts.is_empty());
        self.slots.push_back(Slot::Joining(Box::new(Joining { join, missing: parts.len(), parts, discard })));
        place
    }

    /// Instead of one reply for `place`, or for the part of it, several will come: one for each list of
    /// elements, which count those of what is replaced. The numbers of the parts that they are.
    pub fn split(&mut self, place: Place, part: usize, join: Join, elements: Vec<Vec<u32>>) -> Vec<usize> {
        let index = (place - self.head) as usize;
        let slot = self.slots.get_mut(index).expect("a place is split before it is filled");
        if let Slot::Waiting { discard } = *slot {
            let parts: Vec<Part> =
                elements.into_iter().map(|places| Part { reply: Vec::new(), places }).collect();
            let numbers = (0..parts.len()).collect();
            *slot = Slot::Joining(Box::new(Joining { join, missing: parts.len(), parts, discard }));
            return numbers;
        }
        let Slot::Joining(joining) = slot else { panic!("a place is split before it is filled") };
        let whole = std::mem::take(&mut joining.parts[part].places);
        joining.missing += elements.len() - 1;
        let mut numbers = Vec::new();
        for (n, elements) in elements.into_iter().enumerate() {
            let places = elements.into_iter().map(|e| whole[e as usize]).collect();
            let piece = Part { reply: Vec::new(), places };
            if n == 0 {
                joining.parts[part] = piece;
                numbers.push(part);
            } else {
                numbers.push(joining.parts.len());
                joining.parts.push(piece);
            }
        }
        numbers
    }

    /// `n` more replies will be joined at `place`, which still lacks one: their parts' numbers.
    pub fn more_parts(&mut self, place: Place, n: usize) -> Vec<usize> {
        let Some(Slot::Joining(joining)) = self.slots.get_mut((place - self.head) as usize) else {
            panic!("parts are added before the last is filled")
        };
        let first = joining.parts.len();
        joining.missing += n;
        joining.parts.resize_with(first + n, Part::default);
        (first..first + n).collect()
    }

    /// A reply that is ready but has to wait behind others.
    pub fn append(&mut self, reply: &[u8]) {
        self.bytes += reply.len();
        if let Some(Slot::Ready(last)) = self.slots.back_mut() {
            last.extend_from_slice(reply);
        } else {
            self.slots.push_back(Slot::Ready(Short::from_slice(reply)));
        }
    }

    /// The reply for `place` came, and everything before it has been sent on: it goes straight to `out`.
    /// False, with nothing done, when it isn't so simple.
    #[inline]
    pub fn pass(&mut self, place: Place, reply: &[u8], out: &mut Vec<u8>) -> bool {
        if place != self.head || !matches!(self.slots.front(), Some(Slot::Waiting { discard: false })) {
            return false;
        }
        self.slots.pop_front();
        self.head += 1;
        out.extend_from_slice(reply);
        true
    }

    /// The reply for `place` came; for a joined one, that of its part number `part`. The error, from
    /// its code on, when this was the last part and the whole is one.
    pub fn fill(&mut self, place: Place, part: usize, reply: &[u8], pick: u64) -> Option<Box<[u8]>> {
        let index = (place - self.head) as usize;
        let slot = self.slots.get_mut(index).expect("a place is filled once");
        match slot {
            Slot::Waiting { discard } => {
                let kept = if *discard { &[][..] } else { reply };
                self.bytes += kept.len();
                *slot = Slot::Ready(Short::from_slice(kept));
                None
            }
            Slot::Joining(joining) => {
                joining.parts[part].reply = reply.to_vec();
                joining.missing -= 1;
                if joining.missing > 0 {
                    return None;
                }
                let mut whole = Vec::new();
                joined(joining, pick, &mut whole);
                let error = whole.strip_prefix(b"-").map(Box::from);
                if joining.discard {
                    whole.clear();
                }
                self.bytes += whole.len();
                *slot = Slot::Ready(Short::from_vec(whole));
                error
            }
            Slot::Ready(_) => panic!("a place is filled once"),
        }
    }

    /// Moves every reply whose turn it is to `out`.
    pub fn drain(&mut self, out: &mut Vec<u8>) {
        while let Some(Slot::Ready(reply)) = self.slots.front() {
            out.extend_from_slice(reply);
            self.bytes -= reply.len();
            self.slots.pop_front();
            self.head += 1;
        }
    }
}

fn joined(joining: &Joining, pick: u64, out: &mut Vec<u8>) {
    let parts = &joining.parts;
    if matches!(joining.join, Join::Found | Join::Overlay)
        && !is_digest(&parts[0].reply)
        && let Some(ok) = parts.iter().find(|p| p.reply.first() == Some(&b'+'))
    {
        out.extend_from_slice(&ok.reply);
        return;
    }
    if let Some(error) = parts.iter().find(|p| p.reply.first() == Some(&b'-')) {
        out.extend_from_slice(&error.reply);
        return;
    }
    match joining.join {
        Join::Ok => out.extend_from_slice(&parts[0].reply),
        Join::Moved => {
            let moved = parts.iter().find(|p| p.reply == b"+OK\r\n").unwrap_or(&parts[0]);
            out.extend_from_slice(&moved.reply);
        }
        Join::Sum | Join::Found => {
            let sum: i64 = parts.iter().map(|p| header(&p.reply).0).sum();
            out.extend_from_slice(format!(":{sum}\r\n").as_bytes());
        }
        Join::Concat => {
            let total: i64 = parts.iter().map(|p| header(&p.reply).0).sum();
            out.extend_from_slice(format!("{}{total}\r\n", parts[0].reply[0] as char).as_bytes());
            parts.iter().for_each(|p| out.extend_from_slice(&p.reply[header(&p.reply).1..]));
        }
        Join::Text => {
            let text: Vec<u8> = parts.iter().flat_map(|p| bulk_text(&p.reply).iter().copied()).collect();
            if parts[0].reply[0] == b'=' {
                out.extend_from_slice(format!("={}\r\ntxt:", text.len() + 4).as_bytes());
            } else {
                out.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            }
            out.extend_from_slice(&text);
            out.extend_from_slice(b"\r\n");
        }
        Join::Any => {
            let full: Vec<&Part> =
                parts.iter().filter(|p| !matches!(&p.reply[..], b"$-1\r\n" | b"_\r\n")).collect();
            let chosen = if full.is_empty() { &parts[0] } else { full[(pick % full.len() as u64) as usize] };
            out.extend_from_slice(&chosen.reply);
        }
        Join::Overlay if is_digest(&parts[0].reply) => overlay_digests(parts, out),
        Join::Overlay => out.extend_from_slice(&parts[0].reply),
        Join::Places => place_elements(parts, out),
    }
}

/// Bytes of a digest as a status: `+`, 40 hex digits, line end.
const DIGEST: usize = 43;

/// Whether a reply is a digest as a status, or an array of them.
fn is_digest(reply: &[u8]) -> bool {
    let body = match reply {
        [b'*', b'0', ..] => return false,
        [b'*', ..] => &reply[header(reply).1..],
        _ => reply,
    };
    let is_one = |d: &[u8]| d.len() == DIGEST && d[0] == b'+' && d[1..41].iter().all(u8::is_ascii_hexdigit);
    !body.is_empty() && body.chunks(DIGEST).all(is_one)
}

fn overlay_digests(parts: &[Part], out: &mut Vec<u8>) {
    let digit = |b: u8| (b as char).to_digit(16).unwrap_or(0);
    let start = out.len();
    out.extend_from_slice(&parts[0].reply);
    let from = if parts[0].reply[0] == b'*' { header(&parts[0].reply).1 } else { 0 };
    for part in &parts[1..] {
        for (i, &b) in part.reply.iter().enumerate().skip(from).filter(|(_, b)| b.is_ascii_hexdigit()) {
            let own = &mut out[start + i];
            *own = char::from_digit(digit(*own) ^ digit(b), 16).unwrap_or('0') as u8;
        }
    }
}

/// The text of a bulk or verbatim string reply.
fn bulk_text(reply: &[u8]) -> &[u8] {
    let (len, start) = header(reply);
    let text = &reply[start..start + len as usize];
    if reply[0] == b'=' { &text[4..] } else { text }
}

fn place_elements(parts: &[Part], out: &mut Vec<u8>) {
    let total: usize = parts.iter().map(|p| p.places.len()).sum();
    let mut elements: Vec<&[u8]> = vec![&[]; total];
    for part in parts {
        let mut at = header(&part.reply).1;
        for &place in &part.places {
            let end = at + element_len(&part.reply[at..]);
            elements[place as usize] = &part.reply[at..end];
            at = end;
        }
    }
    out.extend_from_slice(format!("*{total}\r\n").as_bytes());
    elements.iter().for_each(|e| out.extend_from_slice(e));
}

/// The number in a reply's first line, and where the second line starts.
fn header(reply: &[u8]) -> (i64, usize) {
    let end = memchr::memchr(b'\r', reply).expect("replies have lines");
    let n = std::str::from_utf8(&reply[1..end]).ok().and_then(|n| n.parse().ok());
    (n.expect("our own replies carry a number here"), end + 2)
}

/// Length of a flat element: a bulk string, a number or a null.
fn element_len(reply: &[u8]) -> usize {
    let end = memchr::memchr(b'\r', reply).expect("replies have lines") + 2;
    match reply[0] {
        b'$' if reply[1] != b'-' => end + header(reply).0 as usize + 2,
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(p: &mut Pipeline) -> String {
        let mut out = Vec::new();
        p.drain(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies_come_in_request_order() {
        let mut p = Pipeline::default();
        let a = p.wait(false);
        p.append(b"+local\r\n");
        let b = p.wait(true);
        assert!(!p.pass(b, b":2\r\n", &mut Vec::new()), "another is before it");
        let c = p.wait(false);
        p.fill(c, 0, b":3\r\n", 0);
        assert_eq!(drained(&mut p), "");
        p.fill(a, 0, b":1\r\n", 0);
        assert_eq!(drained(&mut p), ":1\r\n+local\r\n");
        p.fill(b, 0, b":2\r\n", 0);
        assert_eq!(drained(&mut p), ":3\r\n");
        assert!(p.is_empty() && p.bytes() == 0);

        let mut out = Vec::new();
        let (d, e) = (p.wait(false), p.wait(true));
        assert!(p.pass(d, b":4\r\n", &mut out) && out == b":4\r\n");
        assert!(!p.pass(e, b":5\r\n", &mut out), "nobody wants it");
        p.fill(e, 0, b":5\r\n", 0);
        assert_eq!(drained(&mut p), "");
        assert!(p.is_empty());
    }

    #[test]
    fn joins() {
        let cases: &[(Join, &[&str], &str)] = &[
            (Join::Sum, &[":2\r\n", ":40\r\n"], ":42\r\n"),
            (Join::Ok, &["+OK\r\n", "+OK\r\n"], "+OK\r\n"),
            (Join::Ok, &["+OK\r\n", "-OOM no\r\n"], "-OOM no\r\n"),
            (Join::Moved, &["+NOKEY\r\n", "+OK\r\n"], "+OK\r\n"),
            (Join::Moved, &["+NOKEY\r\n", "+NOKEY\r\n"], "+NOKEY\r\n"),
            (Join::Moved, &["+OK\r\n", "-IOERR no\r\n"], "-IOERR no\r\n"),
            (Join::Found, &[":2\r\n", ":40\r\n"], ":42\r\n"),
            (Join::Found, &["-ERR none\r\n", "+OK\r\n"], "+OK\r\n"),
            (Join::Found, &["-ERR none\r\n", "-ERR none\r\n"], "-ERR none\r\n"),
            (Join::Concat, &["*1\r\n$1\r\na\r\n", "*0\r\n"], "*1\r\n$1\r\na\r\n"),
            (Join::Any, &["$-1\r\n", "$1\r\nk\r\n"], "$1\r\nk\r\n"),
            (Join::Any, &["_\r\n", "_\r\n"], "_\r\n"),
            (Join::Text, &["$2\r\na\n\r\n", "$2\r\nb\n\r\n"], "$4\r\na\nb\n\r\n"),
        ];
        for (join, replies, want) in cases {
            let mut p = Pipeline::default();
            let place = p.join(*join, vec![Vec::new(); replies.len()], false);
            for (i, reply) in replies.iter().enumerate().rev() {
                let error = p.fill(place, i, reply.as_bytes(), 7);
                let failed = i == 0 && want.starts_with('-');
                assert_eq!(error.as_deref(), failed.then(|| &want.as_bytes()[1..]));
            }
            assert_eq!(drained(&mut p), *want);
        }
    }

    #[test]
    fn digests_are_laid_over_each_other() {
        let joined = |replies: &[String]| {
            let mut p = Pipeline::default();
            let place = p.join(Join::Overlay, vec![Vec::new(); replies.len()], false);
            replies.iter().enumerate().for_each(|(i, reply)| {
                p.fill(place, i, reply.as_bytes(), 7);
            });
            drained(&mut p)
        };
        let digest = |digit: &str| format!("+{}\r\n", digit.repeat(40));
        assert_eq!(joined(&[digest("a"), digest("3"), digest("1")]), digest("8"));
        let two = |a, b| format!("*2\r\n{}{}", digest(a), digest(b));
        assert_eq!(joined(&[two("1", "0"), two("0", "f")]), two("1", "f"));
        let own = |texts: &[&str]| texts.iter().map(|t| t.to_string()).collect::<Vec<_>>();
        assert_eq!(joined(&own(&["-ERR no such key\r\n", "+Value at\r\n"])), "+Value at\r\n");
        assert_eq!(joined(&own(&["-ERR a\r\n", "-ERR a\r\n"])), "-ERR a\r\n");
        assert_eq!(joined(&own(&["$2\r\nhi\r\n", "$2\r\nhi\r\n"])), "$2\r\nhi\r\n");
        assert_eq!(joined(&own(&["*0\r\n", "*0\r\n"])), "*0\r\n");
    }

    #[test]
    fn parts_are_split_once_more() {
        let mut p = Pipeline::default();
        let place = p.join(Join::Places, vec![vec![0, 2, 3], vec![1]], false);
        assert_eq!(p.split(place, 0, Join::Places, vec![vec![0, 2], vec![1]]), [0, 2]);
        p.fill(place, 2, b"*1\r\n:2\r\n", 0);
        p.fill(place, 1, b"*1\r\n:1\r\n", 0);
        p.fill(place, 0, b"*2\r\n:0\r\n:3\r\n", 0);
        assert_eq!(drained(&mut p), "*4\r\n:0\r\n:1\r\n:2\r\n:3\r\n");

        let place = p.wait(false);
        assert_eq!(p.split(place, 0, Join::Sum, vec![vec![0], vec![1]]), [0, 1]);
        assert_eq!(p.more_parts(place, 1), [2]);
        (0..3).for_each(|part| drop(p.fill(place, part, b":2\r\n", 0)));
        assert_eq!(drained(&mut p), ":6\r\n");
        assert!(p.is_empty() && p.bytes() == 0);
    }

    #[test]
    fn elements_go_back_to_their_places() {
        let mut p = Pipeline::default();
        let place = p.join(Join::Places, vec![vec![0, 2], vec![1]], false);
        p.fill(place, 1, b"*1\r\n$2\r\n\r\n\r\n", 0);
        p.fill(place, 0, b"*2\r\n$1\r\na\r\n$-1\r\n", 0);
        assert_eq!(drained(&mut p), "*3\r\n$1\r\na\r\n$2\r\n\r\n\r\n$-1\r\n");
    }
}
