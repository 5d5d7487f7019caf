//! The command table: every command of this release, one file a group.
//!
//! [`resolve`] is how a request finds its row; it sits on the path of every request, so the rows'
//! index is built by the compiler: an open-addressed table over the folded first and last eight
//! letters of a name, one comparison a probe.

mod acl;
mod bitmap;
mod cluster;
mod connection;
mod extract;
mod geo;
mod hash;
mod hyperloglog;
mod keys;
mod list;
mod pubsub;
mod replication;
mod row;
mod scripting;
mod server;
mod set;
mod stream;
mod string;
#[cfg(test)]
mod tests;
mod transactions;
mod zset;

use super::acl::Catalog;
use super::error::{self, ErrReply};
use super::spec::Spec;
use crate::limits::ACL_COMMANDS;
use crate::resp::Args;
pub use extract::{KeyAt, Keys, first_key_index, has_keys, keys_of};
use extract::{legacy_range, movable};

const GROUPS: [&[Spec]; 18] = [
    string::ROWS,
    keys::ROWS,
    list::ROWS,
    hash::ROWS,
    set::ROWS,
    zset::ROWS,
    bitmap::ROWS,
    hyperloglog::ROWS,
    geo::ROWS,
    stream::ROWS,
    connection::ROWS,
    transactions::ROWS,
    pubsub::ROWS,
    server::ROWS,
    acl::ROWS,
    cluster::ROWS,
    replication::ROWS,
    scripting::ROWS,
];

/// Number of commands, subcommands aside: what COMMAND COUNT answers.
pub const COMMANDS: usize = size().0;
/// Number of rows, subcommands included; ids are below this.
pub const COUNT: usize = COMMANDS + size().1;

/// How many commands there are, and how many subcommands.
const fn size() -> (usize, usize) {
    let (mut commands, mut subs) = (0, 0);
    let mut group = 0;
    while group < GROUPS.len() {
        let mut i = 0;
        while i < GROUPS[group].len() {
            commands += 1;
            subs += GROUPS[group][i].subs.len();
            i += 1;
        }
        group += 1;
    }
    (commands, subs)
}

static TABLE: [Spec; COMMANDS] = numbered();
static SUBS: [Spec; COUNT - COMMANDS] = numbered_subs();

/// The commands in one row, with their ids; containers point to the numbered subcommands.
const fn numbered() -> [Spec; COMMANDS] {
    let mut out = [GROUPS[0][0]; COMMANDS];
    let (mut at, mut subs) = (0, 0);
    let mut group = 0;
    while group < GROUPS.len() {
        let mut i = 0;
        while i < GROUPS[group].len() {
            let mut spec = GROUPS[group][i];
            spec.id = at as u16;
            let theirs = spec.subs.len();
            spec.subs = SUBS.split_at(subs).1.split_at(theirs).0;
            subs += theirs;
            out[at] = spec;
            at += 1;
            i += 1;
        }
        group += 1;
    }
    out
}

const fn numbered_subs() -> [Spec; COUNT - COMMANDS] {
    let mut out = [GROUPS[0][0]; COUNT - COMMANDS];
    let mut at = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        let mut i = 0;
        while i < GROUPS[group].len() {
            let subs = GROUPS[group][i].subs;
            let mut j = 0;
            while j < subs.len() {
                out[at] = subs[j];
                out[at].id = (COMMANDS + at) as u16;
                at += 1;
                j += 1;
            }
            i += 1;
        }
        group += 1;
    }
    out
}

/// All commands, without subcommands, in the order of their ids.
pub fn all() -> impl ExactSizeIterator<Item = &'static Spec> {
    TABLE.iter()
}

/// All rows, subcommands included, in the order of their ids: `COUNT` of them.
pub fn rows() -> impl Iterator<Item = &'static Spec> {
    TABLE.iter().chain(SUBS.iter())
}

/// The row with this id. Panics from [`COUNT`] on.
pub fn by_id(id: u16) -> &'static Spec {
    let id = id as usize;
    if id < COMMANDS { &TABLE[id] } else { &SUBS[id - COMMANDS] }
}

/// The commands as ACL rules name them.
pub static CATALOG: Catalog = Catalog { commands: &TABLE, find: lookup_full };
const _: () = assert!(COUNT < ACL_COMMANDS, "each command has its bit, and the last one is none's");

/// One entry of the index; a length of 0 marks an empty one.
#[derive(Clone, Copy)]
struct Entry {
    head: u64,
    tail: u64,
    len: u16,
    id: u16,
}

const INDEX_BITS: u32 = 10;
const INDEX_SIZE: usize = 1 << INDEX_BITS;
const _: () = assert!(COMMANDS * 2 <= INDEX_SIZE, "a sparse index probes once");

static INDEX: [Entry; INDEX_SIZE] = index();

const fn index() -> [Entry; INDEX_SIZE] {
    let mut out = [Entry { head: 0, tail: 0, len: 0, id: 0 }; INDEX_SIZE];
    let mut id = 0;
    while id < COMMANDS {
        let name = TABLE[id].name.as_bytes();
        let (head, tail) = ends(name);
        let mut at = home(head, tail);
        while out[at].len != 0 {
            at = (at + 1) % INDEX_SIZE;
        }
        out[at] = Entry { head, tail, len: name.len() as u16, id: id as u16 };
        id += 1;
    }
    out
}

/// The first and the last eight bytes of a name in lower case. With its length they tell it from
/// every other name of up to 16 bytes.
#[inline]
const fn ends(name: &[u8]) -> (u64, u64) {
    if let (Some(head), Some(tail)) = (name.first_chunk(), name.last_chunk()) {
        (lower(u64::from_le_bytes(*head)), lower(u64::from_le_bytes(*tail)))
    } else if let (Some(head), Some(tail)) = (name.first_chunk(), name.last_chunk()) {
        let (head, tail) = (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64);
        (lower(head | tail << 32), 0)
    } else if let [first, .., last] = *name {
        (lower(first as u64 | (name[name.len() / 2] as u64) << 8 | (last as u64) << 16), 0)
    } else if let [only] = *name {
        (lower(only as u64), 0)
    } else {
        (0, 0)
    }
}

/// Eight ASCII bytes in lower case at once; other bytes stay as they are.
#[inline]
const fn lower(x: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let low = x & (0x7f * ONES);
    let from_a = low + (0x80 - b'A' as u64) * ONES;
    let past_z = low + (0x7f - b'Z' as u64) * ONES;
    let upper = (from_a & !past_z) & !x & (0x80 * ONES);
    x | upper >> 2
}

#[inline]
const fn home(head: u64, tail: u64) -> usize {
    ((head ^ tail.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - INDEX_BITS)) as usize
}

/// The command of this name, in any letter case. No subcommands; see [`lookup_sub`].
#[inline(always)]
pub fn lookup(name: &[u8]) -> Option<&'static Spec> {
    let (head, tail) = ends(name);
    let mut at = home(head, tail);
    loop {
        let entry = &INDEX[at];
        if entry.head == head && entry.tail == tail && entry.len as usize == name.len() {
            let spec = &TABLE[entry.id as usize];
            if name.len() <= 16 || name.eq_ignore_ascii_case(spec.name.as_bytes()) {
                return (!name.is_empty()).then_some(spec);
            }
        }
        if entry.len == 0 {
            return None;
        }
        at = (at + 1) % INDEX_SIZE;
    }
}

/// The subcommand `name` (its own word, in any letter case) of a container.
pub fn lookup_sub(parent: &Spec, name: &[u8]) -> Option<&'static Spec> {
    let skip = parent.name.len() + 1;
    parent.subs.iter().find(|s| s.name.as_bytes()[skip..].eq_ignore_ascii_case(name))
}

/// The command of this full name, as COMMAND INFO takes it: `get`, `config|get`.
pub fn lookup_full(name: &[u8]) -> Option<&'static Spec> {
    match name.iter().position(|&b| b == b'|') {
        None => lookup(name),
        Some(bar) => lookup_sub(lookup(&name[..bar])?, &name[bar + 1..]),
    }
}

/// The row that executes these arguments, arity aside: a container's subcommand when one is named.
#[inline]
pub fn find(args: Args<'_>) -> Option<&'static Spec> {
    let spec = lookup(args.get(0)?)?;
    if spec.subs.is_empty() || args.len() == 1 {
        return Some(spec);
    }
    lookup_sub(spec, args.at(1))
}

/// The row that executes these arguments, which fit its arity; or what Redis says to them.
/// `args` must not be empty.
#[inline]
pub fn resolve(args: Args<'_>) -> Result<&'static Spec, ErrReply> {
    match find(args) {
        Some(spec) if spec.arity_fits(args.len()) => Ok(spec),
        Some(spec) => Err(error::arity(spec.name)),
        None => Err(unknown(args)),
    }
}

#[cold]
fn unknown(args: Args<'_>) -> ErrReply {
    match lookup(args.at(0)) {
        Some(container) => error::unknown_subcommand(c_string(args.at(1)), container.name),
        None => unknown_command(args),
    }
}

/// Redis prints arguments as C strings: up to a NUL.
fn c_string(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

/// `ERR unknown command 'foo', with args beginning with: 'a' 'b' `: the name and the arguments up
/// to 128 bytes each.
pub fn unknown_command(args: Args<'_>) -> ErrReply {
    let cut = |bytes, max| {
        let bytes: &[u8] = c_string(bytes);
        &bytes[..bytes.len().min(max)]
    };
    let mut text =
        [b"ERR unknown command '", cut(args.at(0), 128), b"', with args beginning with: "].concat();
    let mut len = 0;
    for arg in args.from(1).iter() {
        if len >= 128 {
            break;
        }
        let shown = cut(arg, 128 - len);
        len += shown.len() + 3;
        text.extend_from_slice(&[b"'", shown, b"' "].concat());
    }
    ErrReply::quoting(text)
}
