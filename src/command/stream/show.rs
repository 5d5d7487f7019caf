//! Entries in replies.

use crate::command::collection::write_elem;
use crate::resp::Reply;
use crate::value::stream::{Entry, Id};

/// An id as a bulk string.
pub fn id(out: &mut Reply<'_>, id: Id) {
    id.with_text(|text| out.bulk(text));
}

/// An entry: its id, and its fields and values in one array.
pub fn entry(out: &mut Reply<'_>, entry: &Entry<'_>) {
    out.array(2);
    id(out, entry.id);
    let pairs = entry.pairs();
    out.array(2 * pairs.len());
    for (field, value) in pairs {
        write_elem(out, field);
        write_elem(out, value);
    }
}
