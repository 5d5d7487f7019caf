//! All keys: at once, bit by bit, or any of them.

use super::type_name;
use crate::cluster::view::View;
use crate::command::collection::{MAX_COUNT, Shown, parse_cursor, write_scan};
use crate::command::ctx::Ctx;
use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX};
use crate::resp::Args;
use crate::slot::{SLOTS, Slot};
use crate::store::{EntryRef, cursor_slot};
use crate::util::glob;
use crate::util::num::parse_i64;

/// A cursor bit above any position in a slot: it only says that the cursor isn't 0, the end.
const NOT_THE_END: u64 = 1 << 52;

/// Slots whose owners are looked at together.
const WINDOW: usize = 256;

/// KEYS pattern
pub fn keys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let pattern = Pattern::new(args.at(1));
    let open = ctx.out.begin_array();
    let mut n = 0;
    ctx.ks.db(ctx.db).for_each(&ctx.clock, |entry| {
        if pattern.matches(entry.key()) {
            ctx.out.bulk(entry.key());
            n += 1;
        }
    });
    ctx.out.end_array(open, n);
    Ok(())
}

/// RANDOMKEY
pub fn randomkey(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let found = ctx.ks.db_mut(ctx.db).random(ctx.rng, &ctx.clock);
    ctx.out.bulk_or_null(found.map(|entry| entry.key()));
    Ok(())
}

/// A glob pattern; `*` matches even the empty key.
struct Pattern<'a> {
    text: &'a [u8],
    all: bool,
}

impl<'a> Pattern<'a> {
    fn new(text: &'a [u8]) -> Pattern<'a> {
        Pattern { text, all: glob::is_all(text) }
    }

    fn matches(&self, key: &[u8]) -> bool {
        self.all || glob::matches(self.text, key, false)
    }
}

/// What SCAN is to show.
struct Filter<'a> {
    count: i64,
    pattern: Pattern<'a>,
    type_name: Option<&'a [u8]>,
}

impl<'a> Filter<'a> {
    fn parse(args: Args<'a>) -> Result<Filter<'a>, ErrReply> {
        let mut f = Filter { count: 10, pattern: Pattern::new(b"*"), type_name: None };
        for i in (2..args.len()).step_by(2) {
            let Some(value) = args.get(i + 1) else { return Err(SYNTAX) };
            if args.is(i, "count") {
                f.count = parse_i64(value).ok_or(NOT_INT)?;
                if f.count < 1 {
                    return Err(SYNTAX);
                }
            } else if args.is(i, "match") {
                f.pattern = Pattern::new(value);
            } else if args.is(i, "type") {
                f.type_name = Some(value);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(f)
    }

    fn shows(&self, entry: &EntryRef<'_>) -> bool {
        let right_type = |name: &[u8]| name.eq_ignore_ascii_case(type_name(entry.value()).as_bytes());
        self.pattern.matches(entry.key()) && self.type_name.is_none_or(right_type)
    }
}

/// SCAN cursor [MATCH pattern] [COUNT n] [TYPE name]
///
/// Slots are walked in ascending order whoever owns them, so that a key is met also when its slot
/// changes hands meanwhile. Behind the front door a shard stops where a sibling's slots begin; the
/// cursor that it returns leads there.
pub fn scan(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let cursor = parse_cursor(args.at(1))?;
    let filter = Filter::parse(args)?;
    let mut shown = Shown::default();
    let next = walk(ctx, cursor, filter.count.min(MAX_COUNT) as usize, |entry| {
        if filter.shows(&entry) {
            shown.text(entry.key());
        }
    });
    write_scan(&mut ctx.out, next, &shown);
    Ok(())
}

/// Calls `f` with about `count` keys from `cursor` on; returns the next cursor.
fn walk(ctx: &mut Ctx<'_>, cursor: u64, count: usize, mut f: impl FnMut(EntryRef<'_>)) -> u64 {
    if !ctx.caller.front_door {
        return ctx.ks.db_mut(ctx.db).scan(cursor, count, 0..SLOTS as Slot, &ctx.clock, f);
    }
    let (mut cursor, mut seen) = (cursor, 0);
    loop {
        let from = cursor_slot(cursor) as usize;
        let to = SLOTS.min(from + WINDOW);
        let end = siblings_from(ctx.view, ctx.me, from, to);
        if end == from {
            // a sibling's: the same cursor finds it, also one that came to us just too late
            return if cursor == 0 { NOT_THE_END } else { cursor };
        }
        let next = ctx.ks.db_mut(ctx.db).scan(cursor, count - seen, 0..end as Slot, &ctx.clock, |entry| {
            seen += 1;
            f(entry);
        });
        if next != 0 || end == SLOTS {
            return next;
        }
        cursor = end as u64;
        if seen >= count {
            return cursor;
        }
    }
}

/// The first slot in `from..to` that a sibling of shard `me` owns; `to` when none does.
fn siblings_from(view: &View, me: usize, from: usize, to: usize) -> usize {
    let mine = view.local_index(me);
    let of_sibling = |slot: &usize| {
        let owner = view.owner_index(*slot as Slot);
        owner != mine && view.nodes.get(owner as usize).is_some_and(|node| node.local.is_some())
    };
    (from..to).find(of_sibling).unwrap_or(to)
}
