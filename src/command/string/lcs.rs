//! LCS: the longest common subsequence of two strings, and where it lies.

use crate::command::ctx::{Ctx, class};
use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX};
use crate::resp::Args;
use crate::store::{Look, ValueRef};
use crate::util::num::parse_i64;

const NOT_STRINGS: ErrReply = ErrReply::new("ERR The specified keys must contain string values");
const LEN_AND_IDX: ErrReply =
    ErrReply::new("ERR If you want both the length and indexes, please just use IDX.");
const TOO_LONG: ErrReply = ErrReply::new("ERR String too long for LCS");
const TOO_MUCH: ErrReply =
    ErrReply::new("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: i64,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options, ErrReply> {
        let mut o = Options::default();
        let mut i = 3;
        while i < args.len() {
            if args.is(i, "idx") {
                o.idx = true;
            } else if args.is(i, "len") {
                o.len = true;
            } else if args.is(i, "withmatchlen") {
                o.with_match_len = true;
            } else if args.is(i, "minmatchlen") && i + 1 < args.len() {
                i += 1;
                o.min_match_len = parse_i64(args.at(i)).ok_or(NOT_INT)?;
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        }
        if o.len && o.idx { Err(LEN_AND_IDX) } else { Ok(o) }
    }
}

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]
pub fn lcs(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let texts = [text_of(ctx, args.at(1)), text_of(ctx, args.at(2))];
    let [Some(a), Some(b)] = texts else { return Err(NOT_STRINGS) };
    let options = Options::parse(args)?;
    let longest = u32::MAX as usize - 1;
    if a.len() >= longest || b.len() >= longest {
        return Err(TOO_LONG);
    }
    let bytes = (a.len() as u64 + 1) * (b.len() as u64 + 1) * size_of::<u32>() as u64;
    if bytes > ctx.conf.proto_max_bulk_len {
        return Err(TOO_MUCH);
    }
    let table = Table::new(&a, &b);
    if options.len {
        ctx.out.int(table.len() as i64);
    } else if options.idx {
        reply_ranges(ctx, &table, &options);
    } else {
        ctx.out.bulk(&table.walk().0);
    }
    Ok(())
}

/// The text of a string, empty when there is no key; `None` for another type.
fn text_of(ctx: &mut Ctx<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let key = ctx.key(name);
    match ctx.ks.db_mut(ctx.db).find(&key, Look::Read, &ctx.clock).map(|entry| entry.value()) {
        Some(ValueRef::Str(bytes)) => Some(bytes.to_vec()),
        Some(ValueRef::Int(n)) => Some(itoa::Buffer::new().format(n).as_bytes().to_vec()),
        Some(ValueRef::Obj(_)) => None,
        None => {
            ctx.fx.event(ctx.db, name, class::KEY_MISS, "keymiss");
            Some(Vec::new())
        }
    }
}

fn reply_ranges(ctx: &mut Ctx<'_>, table: &Table<'_>, options: &Options) {
    let mut ranges = table.walk().1;
    ranges.retain(|r| r.len as i64 >= options.min_match_len);
    let out = &mut ctx.out;
    out.map(2);
    out.bulk(b"matches");
    out.array(ranges.len());
    for r in &ranges {
        out.array(2 + options.with_match_len as usize);
        for from in [r.a, r.b] {
            out.array(2);
            out.int(from as i64);
            out.int((from + r.len - 1) as i64);
        }
        if options.with_match_len {
            out.int(r.len as i64);
        }
    }
    out.bulk(b"len");
    out.int(table.len() as i64);
}

/// A run of bytes that both strings have: where it starts in each.
#[derive(Clone, Copy)]
struct Common {
    a: usize,
    b: usize,
    len: usize,
}

/// Lengths of the longest common subsequences of all pairs of prefixes.
struct Table<'a> {
    a: &'a [u8],
    b: &'a [u8],
    cells: Vec<u32>,
}

impl Table<'_> {
    fn new<'a>(a: &'a [u8], b: &'a [u8]) -> Table<'a> {
        let width = b.len() + 1;
        let mut cells = vec![0u32; (a.len() + 1) * width];
        for (i, x) in a.iter().enumerate() {
            let (above, row) = cells[i * width..(i + 2) * width].split_at_mut(width);
            for (j, y) in b.iter().enumerate() {
                row[j + 1] = if x == y { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Table { a, b, cells }
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * (self.b.len() + 1) + j]
    }

    fn len(&self) -> usize {
        self.at(self.a.len(), self.b.len()) as usize
    }

    /// From the ends to the starts: the subsequence, and the runs it is made of, last one first.
    fn walk(&self) -> (Vec<u8>, Vec<Common>) {
        let (mut text, mut ranges) = (Vec::with_capacity(self.len()), Vec::<Common>::new());
        let (mut i, mut j) = (self.a.len(), self.b.len());
        let mut open = false;
        while i > 0 && j > 0 {
            if self.a[i - 1] != self.b[j - 1] {
                open = false;
                if self.at(i - 1, j) > self.at(i, j - 1) {
                    i -= 1
                } else {
                    j -= 1
                }
                continue;
            }
            (i, j) = (i - 1, j - 1);
            text.push(self.a[i]);
            match ranges.last_mut() {
                Some(run) if open => *run = Common { a: i, b: j, len: run.len + 1 },
                _ => ranges.push(Common { a: i, b: j, len: 1 }),
            }
            open = true;
        }
        text.reverse();
        (text, ranges)
    }
}
