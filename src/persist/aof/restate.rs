//! A value as commands, in steps of bounded work.

use super::encode::{self, Value, batched, begin, command, word};
use super::stream;
use crate::limits::AOF_REWRITE_ITEMS;
use crate::util::num::{Buf, write_double};
use crate::value::Object;

/// Elements that are looked at at once: a scan may find some more, and a command has a bound.
const STRETCH: usize = AOF_REWRITE_ITEMS / 2;

/// How a text is written that takes several steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// By one SET, of which each step writes a part: nothing else may come between.
    Set,
    /// By an APPEND a step, whatever comes between.
    Append,
}

/// How far the commands have come that make a value. It holds on to nothing of the value, so that it may wait
/// while others use the store; but it goes on with the very same value, not changed meanwhile.
#[derive(Debug)]
pub struct Rebuilding {
    texts: Texts,
    begun: bool,
    /// Where the next elements begin; of a string, its bytes.
    cursor: u64,
    /// The same of a stream.
    place: stream::Place,
}

impl Rebuilding {
    pub fn new(texts: Texts) -> Rebuilding {
        Rebuilding { texts, begun: false, cursor: 0, place: stream::Place::Start }
    }

    /// Appends the next part of what makes `key` again where it is not: stops after about `budget` bytes, though
    /// not before an element, or a few where they are looked up together. Whether the value is whole. A part may
    /// go into a buffer of its own.
    pub fn step(&mut self, key: &[u8], value: Value<'_>, budget: usize, out: &mut Vec<u8>) -> bool {
        let end = out.len().saturating_add(budget.max(1));
        loop {
            let whole = match value {
                Value::Object(Object::Str(text)) => self.text(key, text, end, out),
                Value::Str(text) => self.text(key, text, end, out),
                Value::Object(Object::Stream(value)) => {
                    let next = stream::stretch(out, key, value, &self.place, end.saturating_sub(out.len()));
                    let whole = next.is_none();
                    self.place = next.unwrap_or_default();
                    whole
                }
                Value::Object(object) => self.stretch(key, object, out),
                Value::Int(_) => {
                    encode::rebuild(out, key, value, None);
                    true
                }
            };
            if whole || out.len() >= end {
                return whole;
            }
        }
    }

    /// Some bytes of a text; whether they were the last.
    fn text(&mut self, key: &[u8], text: &[u8], end: usize, out: &mut Vec<u8>) -> bool {
        let begins = !std::mem::replace(&mut self.begun, true);
        if begins && self.texts == Texts::Set {
            begin(out, 3);
            word(out, b"SET");
            word(out, key);
            encode::head(out, b'$', text.len());
        }
        let rest = &text[self.cursor as usize..];
        let part = &rest[..rest.len().min(end.saturating_sub(out.len()).max(1))];
        self.cursor += part.len() as u64;
        let whole = part.len() == rest.len();
        match self.texts {
            Texts::Append => command(out, [b"APPEND", key, part]),
            Texts::Set => {
                out.extend_from_slice(part);
                out.extend_from_slice(if whole { b"\r\n" } else { b"" });
            }
        }
        whole
    }

    /// Some elements; whether they were the last.
    fn stretch(&mut self, key: &[u8], object: &Object, out: &mut Vec<u8>) -> bool {
        let (at, mut found) = (self.cursor, Found::default());
        let next = match object {
            Object::Str(_) | Object::Stream(_) => unreachable!("they have other cursors"),
            Object::List(list) => {
                if let Some(node) = list.listpack(at as usize) {
                    let len = node.len();
                    batched(out, b"RPUSH", key, (len, 1), node.iter(), |out, e| {
                        e.with_text(|t| word(out, t))
                    });
                }
                (at as usize + 1 < list.nodes()).then_some(at + 1)
            }
            Object::Set(set) => {
                let next = set.scan(at, STRETCH, |member| member.with_text(|text| found.word(text)));
                found.write(b"SADD", key, out);
                (next != 0).then_some(next)
            }
            Object::Hash(hash) => {
                let next = hash.scan(at, STRETCH, |field, value| {
                    field.with_text(|text| found.word(text));
                    value.with_text(|text| found.word(text));
                });
                found.write(b"HMSET", key, out);
                (next != 0).then_some(next)
            }
            Object::ZSet(zset) => {
                let (from, mut score) = (at as usize, Buf::new());
                let to = zset.len().min(from + STRETCH);
                batched(out, b"ZADD", key, (to - from, 2), zset.range(from..to), |out, (member, s)| {
                    score.clear();
                    write_double(&mut score, s);
                    word(out, &score);
                    member.with_text(|t| word(out, t));
                });
                (to < zset.len()).then_some(to as u64)
            }
        };
        self.cursor = next.unwrap_or(at);
        next.is_none()
    }
}

/// Words of a command whose number is not known before they are there.
#[derive(Default)]
struct Found {
    bytes: Vec<u8>,
    words: usize,
}

impl Found {
    fn word(&mut self, text: &[u8]) {
        word(&mut self.bytes, text);
        self.words += 1;
    }

    fn write(&self, name: &[u8], key: &[u8], out: &mut Vec<u8>) {
        if self.words > 0 {
            begin(out, 2 + self.words);
            word(out, name);
            word(out, key);
            out.extend_from_slice(&self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::tests::samples::{Kind, long_stream, value_of};
    use crate::value::{Hash, Limits, List, Set, ZSet};

    /// All commands, written in steps of this budget, and how many steps that took.
    fn written(texts: Texts, value: Value<'_>, budget: usize) -> (Vec<u8>, usize) {
        let (mut rebuilding, mut out, mut steps) = (Rebuilding::new(texts), Vec::new(), 1);
        loop {
            let mut part = Vec::new();
            let whole = rebuilding.step(b"key", value, budget, &mut part);
            // a list's node, which is 8 KiB, comes as a whole
            assert!(part.len() < budget.saturating_add(16 * 1024), "{} bytes for {budget}", part.len());
            out.append(&mut part);
            if whole {
                return (out, steps);
            }
            steps += 1;
        }
    }

    /// The words of a log's commands that say what is in a value, sorted: `name` is each one's first.
    fn elements(log: &[u8], name: &str, words: usize) -> Vec<Vec<u8>> {
        let (mut reader, mut spans) = (crate::persist::aof::reader::Reader::default(), Vec::new());
        reader.feed(log);
        let mut found = Vec::new();
        while reader.next(&mut spans).unwrap() == crate::persist::aof::reader::Record::Command {
            let args = reader.args(&spans);
            assert!(args.is(0, name) && args.at(1) == b"key" && args.len() <= 2 + AOF_REWRITE_ITEMS * words);
            let items: Vec<&[u8]> = args.from(2).iter().collect();
            found.extend(items.chunks(words).map(<[&[u8]]>::concat));
            spans.clear();
        }
        assert!(reader.is_clean());
        found
    }

    #[test]
    fn values_come_in_parts_that_are_the_whole() {
        let limits = Limits::default();
        let texts: Vec<Vec<u8>> = (0..5000).map(|i| format!("element-{i:08}").into_bytes()).collect();
        let (mut list, mut set, mut hash, mut zset) = (List::new(), Set::new(), Hash::new(), ZSet::new());
        for (i, text) in texts.iter().enumerate() {
            list.push_back(text, &limits);
            set.add(text, &limits);
            hash.set(text, b"v", &limits);
            zset.insert(text, i as f64, &limits);
        }
        let fields: Vec<Vec<u8>> = texts.iter().map(|t| [t, &b"v"[..]].concat()).collect();
        let scored: Vec<Vec<u8>> =
            texts.iter().enumerate().map(|(i, t)| [i.to_string().as_bytes(), t].concat()).collect();
        let sorted = |mut list: Vec<Vec<u8>>| {
            list.sort();
            list
        };
        for (object, name, words, want) in [
            (Object::List(list), "RPUSH", 1, &texts),
            (Object::Set(set), "SADD", 1, &texts),
            (Object::Hash(hash), "HMSET", 2, &fields),
            (Object::ZSet(zset), "ZADD", 2, &scored),
        ] {
            for budget in [1, 10_000, usize::MAX] {
                let (log, steps) = written(Texts::Set, Value::Object(&object), budget);
                let found = elements(&log, name, words);
                match name {
                    "RPUSH" => assert_eq!(&found, want),
                    _ => assert_eq!(sorted(found), sorted(want.clone()), "{name}"),
                }
                assert_eq!(steps > 1, budget < usize::MAX, "{name}: {steps} steps of {budget}");
            }
        }
        let text = vec![b'x'; 1000];
        for budget in [1, 100, usize::MAX] {
            let (log, steps) = written(Texts::Set, Value::Str(&text), budget);
            assert_eq!(elements(&log, "SET", 1).concat(), text);
            assert_eq!(steps > 1, budget < 1000);
            // each step is a command of its own
            let (log, steps) = written(Texts::Append, Value::Str(&text), budget);
            let parts = elements(&log, "APPEND", 1);
            assert_eq!((parts.len(), parts.concat()), (steps, text.clone()));
            assert_eq!(steps > 1, budget < 1000);
        }
        let stream = value_of(&Kind::Stream(long_stream(2000)), &limits);
        let (log, steps) = written(Texts::Set, Value::Object(&stream), usize::MAX);
        assert_eq!(steps, 1);
        for budget in [1, 10_000] {
            let (found, steps) = written(Texts::Append, Value::Object(&stream), budget);
            assert!(found == log && steps > 1, "{steps} steps of {budget}");
        }
        for texts in [Texts::Set, Texts::Append] {
            assert_eq!(elements(&written(texts, Value::Int(-3), 1).0, "SET", 1), [b"-3".to_vec()]);
        }
    }
}
