//! Which arguments of a command are keys.

use crate::command::spec::{Begin, Find, KeySpec, Legacy, Spec, key};
use crate::resp::Args;
use smallvec::SmallVec;

/// One key among the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyAt {
    pub index: usize,
    /// Bits of [`key`]: what the command does to it.
    pub flags: u32,
}

/// The keys of a command, in the order of its key specs.
pub type Keys = SmallVec<[KeyAt; 4]>;

/// No keys at fixed places.
const NO_RANGE: Legacy = Legacy { first: 0, last: 0, step: 0 };

/// Whether some keys stand where [`Legacy`] cannot tell: Redis's `movablekeys`.
pub(super) const fn movable(specs: &[KeySpec]) -> bool {
    let mut previous = 0;
    let mut movable = false;
    let mut i = 0;
    while i < specs.len() {
        match plain(&specs[i], previous, specs.len()) {
            Some(range) => {
                previous = range.last;
                movable |= specs[i].flags & key::INCOMPLETE != 0;
            }
            None => movable = true,
        }
        i += 1;
    }
    movable
}

/// The span that all plain ranges cover together: Redis's `first key, last key, step`.
pub(super) const fn legacy_range(specs: &[KeySpec]) -> Legacy {
    let mut out = NO_RANGE;
    let mut i = 0;
    while i < specs.len() {
        if let Some(range) = plain(&specs[i], out.last, specs.len()) {
            if out.first == 0 || range.first < out.first {
                out.first = range.first;
            }
            // Negative counts from the end, hence is later than anything positive.
            if out.last >= 0 && (range.last < 0 || range.last > out.last) {
                out.last = range.last;
            }
            out.step = range.step;
        }
        i += 1;
    }
    out
}

/// The range of one spec, when it can stand in a [`Legacy`]: it is the only one, or it follows the
/// `previous` one's last key without a gap.
const fn plain(spec: &KeySpec, previous: i16, specs: usize) -> Option<Legacy> {
    let (Begin::Index(first), Find::Range { last, step, .. }) = (spec.begin, spec.find) else { return None };
    if specs > 1 && (step != 1 || (previous != 0 && previous as i32 != first - 1)) {
        return None;
    }
    let last = if last < 0 { last } else { first + last };
    Some(Legacy { first: first as i16, last: last as i16, step: step as i16 })
}

/// The index of the first key, when the command has one.
#[inline]
pub fn first_key_index(spec: &Spec, args: Args<'_>) -> Option<usize> {
    let first = spec.legacy.first as usize;
    if first != 0 {
        return (first < args.len()).then_some(first);
    }
    if spec.keys.is_empty() { None } else { keys_of(spec, args).first().map(|k| k.index) }
}

/// The keys of a command whose arity was checked, as COMMAND GETKEYS finds them. None when it has
/// none, and when they cannot be told because the arguments are wrong.
pub fn keys_of(spec: &Spec, args: Args<'_>) -> Keys {
    let variable = spec.keys.iter().any(|k| k.flags & key::VARIABLE_FLAGS != 0);
    // of several keys to store in, the specs would name the first of each kind
    let stores = matches!(spec.name, "georadius" | "georadiusbymember");
    let found = if variable || stores { None } else { by_specs(spec, args) };
    found.unwrap_or_else(|| by_name(spec, args))
}

/// The keys that the specs describe; `None` when one of them does not fit the arguments.
fn by_specs(spec: &Spec, args: Args<'_>) -> Option<Keys> {
    let mut out = Keys::new();
    for k in spec.keys.iter().filter(|k| k.flags & key::NOT_KEY == 0) {
        let Some(begin) = begin(k, args)? else { continue };
        let (first, last, step) = span(k, begin, args)?;
        if first >= args.len() || last >= args.len() || last < first {
            return None;
        }
        out.extend((first..=last).step_by(step).map(|index| KeyAt { index, flags: k.flags }));
        if k.flags & key::INCOMPLETE != 0 {
            return None;
        }
    }
    Some(out)
}

/// Where the spec begins: `Some(None)` when its keyword is not there.
fn begin(k: &KeySpec, args: Args<'_>) -> Option<Option<usize>> {
    match k.begin {
        Begin::Index(index) => Some(Some(index as usize)),
        Begin::Keyword { word, from } if from > 0 => {
            // behind the last argument there is nothing
            Some((from as usize..args.len() - 1).find(|&i| args.is(i, word)).map(|i| i + 1))
        }
        Begin::Keyword { word, from } => {
            let from = args.len() as i64 + from as i64;
            Some((2..=from.max(0) as usize).rev().find(|&i| args.is(i, word)).map(|i| i + 1))
        }
        Begin::Unknown => None,
    }
}

/// First key, last key and step.
fn span(k: &KeySpec, begin: usize, args: Args<'_>) -> Option<(usize, usize, usize)> {
    let argc = args.len() as i64;
    match k.find {
        Find::Range { last, step, limit } => {
            let begin = begin as i64;
            let last = match (last, limit) {
                (0.., _) => begin + last as i64,
                (_, 0) => argc + last as i64,
                _ => begin + (argc - begin) / limit as i64 + last as i64,
            };
            Some((begin as usize, usize::try_from(last).ok()?, step as usize))
        }
        Find::NumKeys { num, first, step } => {
            let n = strict_int(args.get(begin + num as usize)?)?;
            let first = begin + first as usize;
            let last = (n > 0 && n <= argc).then(|| first + n as usize - 1)?;
            Some((first, last, step as usize))
        }
        Find::Unknown => None,
    }
}

/// What key specs cannot say, and what Redis finds where they failed.
#[cold]
fn by_name(spec: &Spec, args: Args<'_>) -> Keys {
    match spec.name {
        "set" => {
            let reads = (3..args.len()).any(|i| args.is(i, "GET"));
            let flags = if reads { key::RW | key::ACCESS | key::UPDATE } else { key::OW | key::UPDATE };
            SmallVec::from_slice(&[KeyAt { index: 1, flags }])
        }
        "sort" => {
            let mut out = SmallVec::from_slice(&[KeyAt { index: 1, flags: key::RO | key::ACCESS }]);
            if let Some(index) = sort_store(args) {
                out.push(KeyAt { index, flags: key::OW | key::UPDATE });
            }
            out
        }
        "bitfield" => bitfield_key(args),
        "georadius" | "georadiusbymember" => georadius_keys(args),
        "migrate" => migrate_keys(args),
        // without sources, too, it makes the destination
        "pfmerge" => Keys::from_slice(&[KeyAt { index: 1, flags: key::RW | key::ACCESS | key::INSERT }]),
        "sort_ro" => SmallVec::from_slice(&[KeyAt { index: 1, flags: key::RO | key::ACCESS }]),
        _ => by_loose_count(spec, args),
    }
}

/// BITFIELD only reads if it does nothing but GET.
fn bitfield_key(args: Args<'_>) -> Keys {
    let mut flags = key::RO | key::ACCESS;
    let mut i = 2;
    while i < args.len() {
        let more = args.len() - i - 1;
        i += match () {
            _ if args.is(i, "GET") && more >= 2 => 3,
            _ if args.is(i, "OVERFLOW") && more >= 1 => 2,
            _ => {
                flags = key::RW | key::ACCESS | key::UPDATE;
                break;
            }
        };
    }
    SmallVec::from_slice(&[KeyAt { index: 1, flags }])
}

/// What is searched, and what is stored in: the last STORE or STOREDIST counts.
fn georadius_keys(args: Args<'_>) -> Keys {
    let mut out = Keys::from_slice(&[KeyAt { index: 1, flags: key::RO | key::ACCESS }]);
    let mut store = None;
    let mut i = 5;
    while i + 1 < args.len() {
        if args.is(i, "STORE") || args.is(i, "STOREDIST") {
            i += 1;
            store = Some(i);
        }
        i += 1;
    }
    out.extend(store.map(|index| KeyAt { index, flags: key::OW | key::UPDATE }));
    out
}

/// The one that is named first, or those behind KEYS. Both at once is an error, and has no keys.
fn migrate_keys(args: Args<'_>) -> Keys {
    const FLAGS: u32 = key::RW | key::ACCESS | key::DELETE;
    let mut i = 6;
    while i < args.len() && !args.is(i, "KEYS") {
        i += match () {
            _ if args.is(i, "AUTH2") => 3,
            _ if args.is(i, "AUTH") => 2,
            _ => 1,
        };
    }
    let keys = match args.get(3) {
        Some(b"") if i < args.len() => i + 1..args.len(),
        Some(_) if i < args.len() => 0..0,
        _ => 3..4,
    };
    keys.map(|index| KeyAt { index, flags: FLAGS }).collect()
}

/// Where SORT stores: the last STORE counts.
fn sort_store(args: Args<'_>) -> Option<usize> {
    let mut store = None;
    let mut i = 2;
    while i < args.len() {
        if args.is(i, "LIMIT") {
            i += 2;
        } else if args.is(i, "GET") || args.is(i, "BY") {
            i += 1;
        } else if args.is(i, "STORE") && i + 1 < args.len() {
            store = Some(i + 1);
        }
        i += 1;
    }
    store
}

/// Counted keys, where the count is read as C's `atoi` does (`2x` is 2): what Redis falls back to.
/// Flags are unknown then, and a key to store in comes last.
fn by_loose_count(spec: &Spec, args: Args<'_>) -> Keys {
    let mut out = Keys::new();
    let counted = spec.keys.iter().find_map(|k| match (k.begin, k.find) {
        (Begin::Index(at), Find::NumKeys { .. }) => Some(at as usize),
        _ => None,
    });
    let Some(at) = counted else { return out };
    let Some(count) = args.get(at).map(loose_int) else { return out };
    let first = at + 1;
    if count < 1 || count > args.len().saturating_sub(first) as i64 {
        return out;
    }
    out.extend((first..first + count as usize).map(|index| KeyAt { index, flags: 0 }));
    if spec.legacy.first != 0 {
        out.push(KeyAt { index: spec.legacy.first as usize, flags: 0 });
    }
    out
}

/// A decimal number exactly as it would be printed.
fn strict_int(text: &[u8]) -> Option<i64> {
    let n: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (itoa::Buffer::new().format(n).as_bytes() == text).then_some(n)
}

fn loose_int(text: &[u8]) -> i64 {
    let blank = |b: &u8| b.is_ascii_whitespace() || *b == 0x0b;
    let text = &text[text.iter().take_while(|b| blank(b)).count()..];
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    let digits = digits.iter().take_while(|b| b.is_ascii_digit());
    sign * digits.fold(0i64, |n, b| n.saturating_mul(10).saturating_add((b - b'0') as i64))
}

/// Whether COMMAND GETKEYS makes sense of this command.
pub fn has_keys(spec: &Spec) -> bool {
    spec.keys.iter().any(|k| k.flags & key::NOT_KEY == 0)
}
