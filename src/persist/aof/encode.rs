//! Commands as bytes, and values as commands.

use super::stream::{self, Place};
use crate::limits::AOF_REWRITE_ITEMS;
use crate::util::num::{Buf, write_double};
use crate::value::Object;

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
        Object::Stream(stream) => {
            let mut place = Some(Place::default());
            while let Some(from) = place {
                place = stream::stretch(out, key, stream, &from, usize::MAX);
            }
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

/// The annotation that `aof-timestamp-enabled` puts before the commands of another second.
pub fn timestamp(out: &mut Vec<u8>, unix_seconds: u64) {
    out.extend_from_slice(b"#TS:");
    out.extend_from_slice(itoa::Buffer::new().format(unix_seconds).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Limits, List, ZSet};

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
