//! What DEBUG OBJECT tells of a value.

use crate::persist::{Encoder, Writing};
use crate::store::{Clock, EntryRef, ValueRef};
use crate::util::num::parse_i64;
use crate::value::{Elem, Object};

/// Redis shares integers below this among keys, and counts their references as this many.
const SHARED_INTEGERS: i64 = 10_000;
const SHARED_COUNT: i64 = i32::MAX as i64;

/// The line of DEBUG OBJECT. The length is that of the value in a dump without compression.
pub fn describe(entry: EntryRef<'_>, clock: &Clock, list_limit: i32, compressed: bool) -> String {
    let shared = matches!(entry.value(), ValueRef::Int(n) if (0..SHARED_INTEGERS).contains(&n));
    let encoding = match entry.value() {
        ValueRef::Obj(object) => object.encoding(),
        _ => entry.string_encoding().unwrap_or("raw"),
    };
    let (dumped, extra) = match entry.value() {
        ValueRef::Int(n) => (text_len(itoa::Buffer::new().format(n).as_bytes()), String::new()),
        ValueRef::Str(text) => (text_len(text), String::new()),
        ValueRef::Obj(object) => (object_len(object), list_facts(object, list_limit, compressed)),
    };
    format!(
        "Value at:{:p} refcount:{} encoding:{encoding} serializedlength:{dumped} lru:{} lru_seconds_idle:{}{extra}",
        entry.key().as_ptr(),
        if shared && !clock.lfu { SHARED_COUNT } else { 1 },
        entry.lru(),
        if clock.lfu { 0 } else { clock.idle(entry.lru()) },
    )
}

fn list_facts(object: &Object, limit: i32, compressed: bool) -> String {
    let Object::List(list) = object else { return String::new() };
    let bytes: usize = list.listpacks().map(|pack| pack.byte_len()).sum();
    let average = list.len() as f64 / list.nodes().max(1) as f64;
    format!(
        " ql_nodes:{} ql_avg_node:{average:.2} ql_listpack_max:{limit} ql_compressed:{} \
         ql_uncompressed_size:{bytes}",
        list.nodes(),
        compressed as u8,
    )
}

/// Bytes of a length in a dump.
fn len_len(n: usize) -> usize {
    match n {
        0..64 => 1,
        64..16384 => 2,
        16384..=0xFFFF_FFFF => 5,
        _ => 9,
    }
}

/// Bytes of a string in a dump: short integers are kept as numbers.
fn text_len(text: &[u8]) -> usize {
    match parse_i64(text).filter(|_| text.len() <= 11) {
        Some(n) if i8::try_from(n).is_ok() => 2,
        Some(n) if i16::try_from(n).is_ok() => 3,
        Some(n) if i32::try_from(n).is_ok() => 5,
        _ => bytes_len(text.len()),
    }
}

fn bytes_len(n: usize) -> usize {
    len_len(n) + n
}

fn elem_len(elem: Elem<'_>) -> usize {
    elem.with_text(text_len)
}

fn object_len(object: &Object) -> usize {
    match object {
        Object::Str(text) => text_len(text),
        // each node says that it is packed
        Object::List(list) => {
            len_len(list.nodes()) + list.listpacks().map(|pack| 1 + bytes_len(pack.byte_len())).sum::<usize>()
        }
        Object::Set(set) => match set.intset() {
            Some(ints) => bytes_len(ints.bytes().len()),
            None => len_len(set.len()) + set.iter().map(elem_len).sum::<usize>(),
        },
        Object::Hash(hash) => match hash.listpack() {
            Some(pack) => bytes_len(pack.byte_len()),
            None => len_len(hash.len()) + hash.iter().map(|(f, v)| elem_len(f) + elem_len(v)).sum::<usize>(),
        },
        Object::ZSet(zset) => match zset.listpack() {
            Some(pack) => bytes_len(pack.byte_len()),
            None => len_len(zset.len()) + zset.iter().map(|(m, _)| elem_len(m) + 8).sum::<usize>(),
        },
        Object::Stream(_) => {
            let mut dumped = Vec::new();
            Writing::new().step(ValueRef::Obj(object), &mut Encoder::new(false), usize::MAX, &mut dumped);
            dumped.len()
        }
    }
}
