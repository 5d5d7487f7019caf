//! Commands as bytes, and values as commands.

use crate::limits::AOF_REWRITE_ITEMS;
use crate::util::num::{Buf, write_double};
use crate::value::{Elem, Object};

/// A value that is to be rebuilt.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Int(i64),
    Str(&'a [u8]),
    Object(&'a Object),
}

/// Appends `prefix`, a number and the end of the line.
#[inline]
pub(super) fn head(out: &mut Vec<u8>, prefix: u8, n: usize) {
    if n < 10 {
        out.extend_from_slice(&[prefix, b'0' + n as u8, b'\r', b'\n']);
    } else if n < 100 {
        out.extend_from_slice(&[prefix, b'0' + (n / 10) as u8, b'0' + (n % 10) as u8, b'\r', b'\n']);
    } else {
        out.push(prefix);
        out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Begins a command of `n` words.
#[inline]
pub fn begin(out: &mut Vec<u8>, n: usize) {
    head(out, b'*', n);
}

/// Appends a word.
#[inline]
pub fn word(out: &mut Vec<u8>, word: &[u8]) {
    head(out, b'$', word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number as a word.
pub fn number(out: &mut Vec<u8>, n: i64) {
    word(out, itoa::Buffer::new().format(n).as_bytes());
}

/// Appends a command.
pub fn command<T: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    words: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
) {
    let words = words.into_iter();
    begin(out, words.len());
    words.for_each(|w| word(out, w.as_ref()));
}

/// Appends `SELECT db`.
pub fn select(out: &mut Vec<u8>, db: usize) {
    begin(out, 2);
    word(out, b"SELECT");
    number(out, db as i64);
}

/// Appends the commands that make `key` again where it is not: what a rewrite writes.
pub fn rebuild(out: &mut Vec<u8>, key: &[u8], value: Value<'_>, ends: Option<u64>) {
    match value {
        Value::Int(n) => {
            begin(out, 3);
            word(out, b"SET");
            word(out, key);
            number(out, n);
        }
        Value::Str(text) => command(out, [b"SET", key, text]),
        Value::Object(object) => rebuild_object(out, key, object),
    }
    expire(out, key, ends);
}

/// Appends what gives a key its end, if it has one.
pub(super) fn expire(out: &mut Vec<u8>, key: &[u8], ends: Option<u64>) {
    if let Some(at) = ends {
        expire_at(out, key, at);
    }
}

/// Appends what makes a key end at a time, in unix milliseconds.
pub fn expire_at(out: &mut Vec<u8>, key: &[u8], at: u64) {
    begin(out, 3);
    word(out, b"PEXPIREAT");
    word(out, key);
    number(out, at as i64);
}

fn rebuild_object(out: &mut Vec<u8>, key: &[u8], object: &Object) {
    match object {
        Object::Str(text) => command(out, [b"SET", key, text]),
        Object::List(list) => {
            let items = list.iter();
            batched(out, b"RPUSH", key, (list.len(), 1), items, |out, e| e.with_text(|t| word(out, t)));
        }
        Object::Set(set) => {
            let items = set.iter();
            batched(out, b"SADD", key, (set.len(), 1), items, |out, e| e.with_text(|t| word(out, t)));
        }
        Object::ZSet(zset) => {
            let mut score = Buf::new();
            batched(out, b"ZADD", key, (zset.len(), 2), zset.iter(), |out, (member, s)| {
                score.clear();
                write_double(&mut score, s);
                word(out, &score);
                member.with_text(|t| word(out, t));
            });
        }
        Object::Hash(hash) => {
            batched(out, b"HMSET", key, (hash.len(), 2), hash.iter(), |out, (field, value)| {
                field.with_text(|t| word(out, t));
                value.with_text(|t| word(out, t));
            });
        }
    }
}

/// Writes items, each of so many words, with as few commands as the bound on a command's items allows.
pub(super) fn batched<T>(
    out: &mut Vec<u8>,
    name: &[u8],
    key: &[u8],
    (len, words): (usize, usize),
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    for (n, item) in items.enumerate() {
        if n % AOF_REWRITE_ITEMS == 0 {
            begin(out, 2 + words * (len - n).min(AOF_REWRITE_ITEMS));
            word(out, name);
            word(out, key);
        }
        write(out, item);
    }
}

/// How far the commands have come that make a value, where they are written bit by bit. It goes on with the
/// very same value, not changed meanwhile.
#[derive(Debug, Default)]
pub struct Rebuilding {
    /// Where the elements begin that come next.
    cursor: u64,
}

impl Rebuilding {
    /// Appends commands that add to `key`, which at first is not there: about `budget` bytes of them, though
    /// no less than an element, or a few where they are looked up together. Whether all are there.
    pub fn step(&mut self, key: &[u8], value: Value<'_>, budget: usize, out: &mut Vec<u8>) -> bool {
        let end = out.len().saturating_add(budget.max(1));
        while out.len() < end {
            match stretch(out, key, value, self.cursor, budget.max(1)) {
                Some(next) => self.cursor = next,
                None => return true,
            }
        }
        false
    }
}

/// Writes a command that adds some elements from `cursor` on; where the next begin, if there are more.
fn stretch(out: &mut Vec<u8>, key: &[u8], value: Value<'_>, cursor: u64, most: usize) -> Option<u64> {
    let text = match value {
        Value::Str(text) => text,
        Value::Object(Object::Str(text)) => text,
        Value::Object(object) => return stretch_object(out, key, object, cursor),
        Value::Int(_) => {
            rebuild(out, key, value, None);
            return None;
        }
    };
    let (from, to) = (cursor as usize, (cursor as usize).saturating_add(most).min(text.len()));
    command(out, [b"APPEND", key, &text[from..to]]);
    Some(to as u64).filter(|_| to < text.len())
}

fn stretch_object(out: &mut Vec<u8>, key: &[u8], object: &Object, cursor: u64) -> Option<u64> {
    let mut words = Words { items: 0, bytes: Vec::new() };
    let scanned = |next: u64| (next != 0).then_some(next);
    let (name, each, next): (&[u8], _, _) = match object {
        Object::List(list) => {
            let node = cursor as usize;
            let elements = list.listpack(node).into_iter().flat_map(|node| node.iter());
            elements.for_each(|e| words.item([e]));
            (b"RPUSH", 1, Some(cursor + 1).filter(|next| (*next as usize) < list.nodes()))
        }
        Object::Set(set) => {
            let next = set.scan(cursor, AOF_REWRITE_ITEMS, |member| words.item([member]));
            (b"SADD", 1, scanned(next))
        }
        Object::Hash(hash) => {
            let next = hash.scan(cursor, AOF_REWRITE_ITEMS, |field, value| words.item([field, value]));
            (b"HMSET", 2, scanned(next))
        }
        Object::ZSet(zset) => {
            let from = cursor as usize;
            let to = (from + AOF_REWRITE_ITEMS).min(zset.len());
            let mut score = Buf::new();
            for (member, s) in zset.range(from..to) {
                score.clear();
                write_double(&mut score, s);
                words.item([Elem::Str(&score), member]);
            }
            (b"ZADD", 2, Some(to as u64).filter(|_| to < zset.len()))
        }
        Object::Str(_) => unreachable!("the caller has written texts"),
    };
    begin(out, 2 + each * words.items);
    word(out, name);
    word(out, key);
    out.append(&mut words.bytes);
    next
}

/// The elements of a command whose number is not known before.
struct Words {
    items: usize,
    bytes: Vec<u8>,
}

impl Words {
    fn item<const N: usize>(&mut self, parts: [Elem<'_>; N]) {
        self.items += 1;
        parts.iter().for_each(|part| part.with_text(|text| word(&mut self.bytes, text)));
    }
}

/// The annotation that `aof-timestamp-enabled` puts before the commands of another second.
pub fn timestamp(out: &mut Vec<u8>, unix_seconds: u64) {
    out.extend_from_slice(b"#TS:");
    out.extend_from_slice(itoa::Buffer::new().format(unix_seconds).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Hash, Limits, List, Set, ZSet};

    fn shown(f: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn commands_are_as_redis_writes_them() {
        assert_eq!(shown(|o| select(o, 12)), "*2|$6|SELECT|$2|12|");
        assert_eq!(shown(|o| command(o, ["DEL", ""])), "*2|$3|DEL|$0||");
        for n in [9, 10, 99, 100, 1000] {
            let text = "x".repeat(n);
            assert_eq!(shown(|o| word(o, text.as_bytes())), format!("${n}|{text}|"));
        }
        assert_eq!(shown(|o| timestamp(o, 1_700_000_000)), "#TS:1700000000|");
    }

    #[test]
    fn a_value_comes_bit_by_bit() {
        let limits = Limits { list_max_listpack_size: -1, ..Limits::default() };
        let long = "x".repeat(3000);
        let mut list = List::new();
        (0..500).for_each(|i| list.push_back(format!("{i}{}", &long[..50]).as_bytes(), &limits));
        let (mut set, mut hash, mut zset) = (Set::new(), Hash::new(), ZSet::new());
        for i in 0..1000 {
            let name = format!("member:{i}");
            set.add(name.as_bytes(), &limits);
            hash.set(name.as_bytes(), b"7", &limits);
            zset.insert(name.as_bytes(), i as f64 / 4.0, &limits);
        }
        let objects = [Object::List(list), Object::Set(set), Object::Hash(hash), Object::ZSet(zset)];
        let values: Vec<Value<'_>> =
            objects.iter().map(Value::Object).chain([Value::Str(long.as_bytes())]).collect();
        for (value, (name, items)) in values.into_iter().zip([
            ("RPUSH", 500),
            ("SADD", 1000),
            ("HMSET", 1000),
            ("ZADD", 1000),
            ("APPEND", 3000),
        ]) {
            let (mut out, mut rebuilding, mut steps) = (Vec::new(), Rebuilding::default(), 0);
            while !rebuilding.step(b"k", value, 512, &mut out) {
                steps += 1;
                assert!(out.len() < steps * (512 + 8192), "{name}: {} bytes in {steps} steps", out.len());
            }
            assert!(steps > 3, "{name}: {steps} steps");
            let text = String::from_utf8(out).unwrap().replace("\r\n", "|");
            let commands: Vec<&str> = text.split(&format!("|${}|{name}|$1|k|", name.len())).skip(1).collect();
            assert_eq!(text.matches("|$1|k|").count(), commands.len(), "{name}");
            let found = match name {
                "APPEND" => text.matches('x').count(),
                "RPUSH" => text.matches(&long[..50]).count(),
                _ => text.matches("member:").count(),
            };
            assert_eq!(found, items, "{name}");
        }
    }

    #[test]
    fn values_are_rebuilt_in_bounded_commands() {
        assert_eq!(
            shown(|o| rebuild(o, b"k", Value::Int(-5), Some(77))),
            "*3|$3|SET|$1|k|$2|-5|*3|$9|PEXPIREAT|$1|k|$2|77|"
        );
        let limits = Limits::default();
        let mut list = List::new();
        (0..AOF_REWRITE_ITEMS + 1).for_each(|_| list.push_back(b"e", &limits));
        let text = shown(|o| rebuild(o, b"l", Value::Object(&Object::List(list)), None));
        assert!(text.starts_with("*66|$5|RPUSH|$1|l|$1|e|") && text.ends_with("*3|$5|RPUSH|$1|l|$1|e|"));
        let mut zset = ZSet::new();
        zset.insert(b"m", 1.1, &limits);
        zset.insert(b"n", f64::INFINITY, &limits);
        let text = shown(|o| rebuild(o, b"z", Value::Object(&Object::ZSet(zset)), None));
        assert_eq!(text, "*6|$4|ZADD|$1|z|$18|1.1000000000000001|$1|m|$3|inf|$1|n|");
    }
}
