//! Streams: entries that are added, read and trimmed; [`read`] hands them to readers, [`group`] and
//! [`claim`] are about groups of these, [`info`] tells of all.

mod claim;
mod group;
mod id;
mod info;
mod read;
mod show;
#[cfg(test)]
mod tests;
mod trim;

pub use claim::{xack, xautoclaim, xclaim, xpending};
pub use group::{
    xgroup_create, xgroup_createconsumer, xgroup_delconsumer, xgroup_destroy, xgroup_help, xgroup_setid,
};
pub use info::{xinfo_consumers, xinfo_groups, xinfo_help, xinfo_stream};
pub use read::{xread, xreadgroup};

use super::collection::{create, find, find_mut, missed, read as read_value};
use super::ctx::{Ctx, class};
use super::error::{Done, ErrReply, NO_KEY, NOT_INT, SYNTAX, arity};
use crate::resp::Args;
use crate::store::{Key, Look};
use crate::util::num::parse_i64;
use crate::value::Stream;
use crate::value::listpack::MAX_BYTES;
use crate::value::stream::{Id, Way};
use id::{Interval, parse_id};
use smallvec::SmallVec;
use trim::{Trim, Wanted};

const ZERO_ID: ErrReply = ErrReply::new("ERR The ID specified in XADD must be greater than 0-0");
const EXHAUSTED: ErrReply =
    ErrReply::new("ERR The stream has exhausted the last possible ID, unable to add more items");
const NOT_ABOVE: ErrReply =
    ErrReply::new("ERR The ID specified in XADD is equal or smaller than the target stream top item");
const TOO_LARGE: ErrReply = ErrReply::new("ERR Elements are too large to be stored");
const NEGATIVE_ADDED: ErrReply = ErrReply::new("ERR entries_added must be positive");
const BELOW_DELETED: ErrReply =
    ErrReply::new("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
const BELOW_TOP: ErrReply =
    ErrReply::new("ERR The ID specified in XSETID is smaller than the target stream top item");
const BELOW_LENGTH: ErrReply =
    ErrReply::new("ERR The entries_added specified in XSETID is smaller than the target stream length");

type Ids = SmallVec<[Id; 8]>;

/// XADD key [NOMKSTREAM] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value ...
pub fn xadd(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let trim = Trim::parse(ctx, args, true)?;
    let words = args.from(trim.end + 1);
    if words.len() < 2 || words.len() % 2 == 1 {
        return Err(arity("xadd"));
    }
    if trim.wanted == Wanted::Exactly(Id::ZERO) {
        return Err(ZERO_ID);
    }
    if words.iter().map(<[u8]>::len).sum::<usize>() > MAX_BYTES {
        return Err(TOO_LARGE);
    }
    let (key, now, limits) = (ctx.key(args.at(1)), ctx.now(), ctx.limits());
    let pairs = (0..words.len() / 2).map(|n| (words.at(2 * n), words.at(2 * n + 1)));
    let db = ctx.ks.db_mut(ctx.db);
    let (id, trimmed, left) = match find_mut::<Stream>(db, &key, &ctx.clock)? {
        Some(stream) => {
            let id = next_id(stream, trim.wanted, now)?;
            stream.log.append(id, pairs, &limits);
            (id, trim.run(stream), trim.threshold_left(stream))
        }
        None if trim.only_existing => {
            ctx.out.null();
            return Ok(());
        }
        None => {
            let mut stream = Stream::new();
            let id = next_id(&stream, trim.wanted, now)?;
            stream.log.append(id, pairs, &limits);
            let (trimmed, left) = (trim.run(&mut stream), trim.threshold_left(&stream));
            create(ctx, &key, stream);
            (id, trimmed, left)
        }
    };
    id.with_text(|text| ctx.out.bulk(text));
    ctx.fx.changed(ctx.db, key.bytes, class::STREAM, "xadd");
    if trimmed > 0 {
        ctx.fx.event(ctx.db, key.bytes, class::STREAM, "xtrim");
    }
    if ctx.fx.propagating && (left.is_some() || !matches!(trim.wanted, Wanted::Exactly(_))) {
        let mut told = trim.told(args, left);
        if !matches!(trim.wanted, Wanted::Exactly(_)) {
            id.with_text(|text| told[trim.end] = text.to_vec());
        }
        ctx.fx.propagate(told);
    }
    Ok(())
}

/// The id of the entry to be added.
fn next_id(stream: &Stream, wanted: Wanted, now_ms: u64) -> Result<Id, ErrReply> {
    let last = stream.log.last_id;
    let after_last = last.next().ok_or(EXHAUSTED)?;
    let id = match wanted {
        Wanted::Any => after_last.max(Id::new(now_ms, 0)),
        Wanted::AnyOf(ms) if ms == last.ms => Id::new(ms, last.seq.checked_add(1).ok_or(NOT_ABOVE)?),
        Wanted::AnyOf(ms) => Id::new(ms, 0),
        Wanted::Exactly(id) => id,
    };
    if id > last { Ok(id) } else { Err(NOT_ABOVE) }
}

/// XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count]
pub fn xtrim(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let trim = Trim::parse(ctx, args, false)?;
    let key = ctx.key(args.at(1));
    let Some(stream) = find_mut::<Stream>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.int(0);
        return Ok(());
    };
    let gone = trim.run(stream);
    let left = trim.threshold_left(stream);
    if gone > 0 {
        ctx.fx.changed_by(gone, ctx.db, key.bytes, class::STREAM, "xtrim");
        if ctx.fx.propagating && left.is_some() {
            let told = trim.told(args, left);
            ctx.fx.propagate(told);
        }
    }
    ctx.out.int(gone as i64);
    Ok(())
}

/// XLEN key
pub fn xlen(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let len = read_value(ctx, &key, |_, stream: &Stream| stream.log.len())?;
    ctx.out.int(len.unwrap_or(0) as i64);
    Ok(())
}

/// XDEL key id ...
pub fn xdel(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let Some(stream) = find_mut::<Stream>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)? else {
        ctx.out.int(0);
        return Ok(());
    };
    let ids: Ids = args.from(2).iter().map(|word| parse_id(word, 0)).collect::<Result<_, _>>()?;
    let gone = ids.iter().filter(|id| stream.log.delete(**id)).count();
    if gone > 0 {
        ctx.fx.changed_by(gone as u64, ctx.db, key.bytes, class::STREAM, "xdel");
    }
    ctx.out.int(gone as i64);
    Ok(())
}

/// XSETID key last-id [ENTRIESADDED count] [MAXDELETEDID id]
pub fn xsetid(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let id = parse_id(args.at(2), 0)?;
    let (mut added, mut deleted) = (None, Id::ZERO);
    for i in (3..args.len()).step_by(2) {
        let value = args.get(i + 1).ok_or(SYNTAX)?;
        if args.is(i, "entriesadded") {
            let count = parse_i64(value).ok_or(NOT_INT)?;
            added = Some(u64::try_from(count).map_err(|_| NEGATIVE_ADDED)?);
        } else if args.is(i, "maxdeletedid") {
            deleted = parse_id(value, 0)?;
            if id < deleted {
                return Err(BELOW_DELETED);
            }
        } else {
            return Err(SYNTAX);
        }
    }
    let key = ctx.key(args.at(1));
    let stream = find_mut::<Stream>(ctx.ks.db_mut(ctx.db), &key, &ctx.clock)?.ok_or(NO_KEY)?;
    let log = &mut stream.log;
    if log.newest().is_some_and(|newest| id < newest) {
        return Err(BELOW_TOP);
    }
    if log.len() > 0 && added.is_some_and(|added| log.len() > added) {
        return Err(BELOW_LENGTH);
    }
    log.last_id = id;
    log.added = added.unwrap_or(log.added);
    if deleted != Id::ZERO {
        log.max_deleted_id = deleted;
    }
    note(ctx, &key, "xsetid");
    ctx.out.ok();
    Ok(())
}

/// XRANGE key start end [COUNT count]
pub fn xrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    range(ctx, args, Way::Forward)
}

/// XREVRANGE key end start [COUNT count]
pub fn xrevrange(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    range(ctx, args, Way::Backward)
}

fn range(ctx: &mut Ctx<'_>, args: Args<'_>, way: Way) -> Done {
    let (start, end) = match way {
        Way::Forward => (args.at(2), args.at(3)),
        Way::Backward => (args.at(3), args.at(2)),
    };
    let Interval { start, end } = Interval::parse(start, end)?;
    let mut count = None;
    for i in (4..args.len()).step_by(2) {
        let value = args.get(i + 1).filter(|_| args.is(i, "count")).ok_or(SYNTAX)?;
        count = Some(parse_i64(value).ok_or(NOT_INT)?.max(0) as usize);
    }
    let key = ctx.key(args.at(1));
    let found = read_value(ctx, &key, |out, stream: &Stream| match count {
        Some(0) => out.null_array(),
        _ => {
            let open = out.begin_array();
            let entries = stream.log.range(start, end, way).take(count.unwrap_or(usize::MAX));
            let n = entries.map(|entry| show::entry(out, &entry)).count();
            out.end_array(open, n);
        }
    })?;
    if found.is_none() {
        ctx.out.array(0);
    }
    Ok(())
}

/// Something about a stream has changed that those who watch its key are not told, as in Redis.
fn note(ctx: &mut Ctx<'_>, key: &Key<'_>, event: &'static str) {
    ctx.fx.dirty += 1;
    ctx.fx.event(ctx.db, key.bytes, class::STREAM, event);
}

/// Whether a stream is there, for a command that reads: it counts as a hit or a miss.
fn is_there(ctx: &mut Ctx<'_>, key: &Key<'_>) -> Result<bool, ErrReply> {
    let found = find::<Stream>(ctx.ks.db_mut(ctx.db), key, Look::Read, &ctx.clock)?.is_some();
    if !found {
        missed(ctx, key);
    }
    Ok(found)
}
