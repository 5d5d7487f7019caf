//! Values that go to another name or another database.

use crate::command::ctx::{Ctx, class};
use crate::command::error::{Done, ErrReply, NO_KEY, NOT_INT, SYNTAX};
use crate::resp::Args;
use crate::store::{Key, Look};
use crate::util::num::parse_i64;

const SAME: ErrReply = ErrReply::new("ERR source and destination objects are the same");
const NO_SUCH_DB: ErrReply = ErrReply::new("ERR DB index is out of range");
const NOT_C_INT: ErrReply =
    ErrReply::new("ERR value is out of range, value must between -2147483648 and 2147483647");
const MOVE_IN_CLUSTER: ErrReply = ErrReply::new("ERR MOVE is not allowed in cluster mode");
const COPY_IN_CLUSTER: ErrReply =
    ErrReply::new("ERR Copying to another database is not allowed in cluster mode");

/// RENAME key newkey
pub fn rename(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    rename_key(ctx, args, false)?;
    ctx.out.ok();
    Ok(())
}

/// RENAMENX key newkey
pub fn renamenx(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let renamed = rename_key(ctx, args, true)?;
    ctx.out.int(renamed as i64);
    Ok(())
}

/// False when the names are the same, or when the new one is in use and `keep` protects it.
fn rename_key(ctx: &mut Ctx<'_>, args: Args<'_>, keep: bool) -> Result<bool, ErrReply> {
    let (from, to) = (ctx.key(args.at(1)), ctx.key(args.at(2)));
    let db = ctx.ks.db_mut(ctx.db);
    if !db.exists(&from, Look::Write, &ctx.clock) {
        return Err(NO_KEY);
    }
    if from.bytes == to.bytes {
        return Ok(false);
    }
    if db.exists(&to, Look::Write, &ctx.clock) && keep {
        return Ok(false);
    }
    let value = db.remove(&from, &ctx.clock).ok_or(NO_KEY)?;
    db.put(&to, value, &ctx.clock);
    ctx.fx.event(ctx.db, to.bytes, class::NEW, "new");
    ctx.fx.changed(ctx.db, from.bytes, class::GENERIC, "rename_from");
    ctx.fx.changed(ctx.db, to.bytes, class::GENERIC, "rename_to");
    // two keys have changed, but it counts as one change
    ctx.fx.dirty -= 1;
    Ok(true)
}

/// The number of a database, which must exist.
fn database(text: &[u8], databases: usize) -> Result<usize, ErrReply> {
    let n = parse_i64(text).ok_or(NOT_INT)?;
    let n = i32::try_from(n).map_err(|_| NOT_C_INT)?;
    usize::try_from(n).ok().filter(|n| *n < databases).ok_or(NO_SUCH_DB)
}

/// MOVE key db
pub fn move_(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if ctx.host.cluster {
        return Err(MOVE_IN_CLUSTER);
    }
    let (from, to) = (ctx.db, database(args.at(2), ctx.ks.databases())?);
    if from == to {
        return Err(SAME);
    }
    let key = ctx.key(args.at(1));
    let moved = move_key(ctx, &key, from, to);
    ctx.out.int(moved as i64);
    Ok(())
}

fn move_key(ctx: &mut Ctx<'_>, key: &Key<'_>, from: usize, to: usize) -> bool {
    let (source, target) = ctx.ks.two_mut(from, to);
    if !source.exists(key, Look::Write, &ctx.clock) || target.exists(key, Look::Write, &ctx.clock) {
        return false;
    }
    let Some(value) = source.remove(key, &ctx.clock) else { return false };
    target.put(key, value, &ctx.clock);
    ctx.fx.event(to, key.bytes, class::NEW, "new");
    ctx.fx.changed(from, key.bytes, class::GENERIC, "move_from");
    ctx.fx.changed(to, key.bytes, class::GENERIC, "move_to");
    // two keys have changed, but it counts as one change
    ctx.fx.dirty -= 1;
    true
}

/// COPY source destination [DB n] [REPLACE]
pub fn copy(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (from, mut to, mut replace) = (ctx.db, ctx.db, false);
    let mut i = 3;
    while i < args.len() {
        if args.is(i, "replace") {
            replace = true;
        } else if args.is(i, "db") && i + 1 < args.len() {
            i += 1;
            // a cluster has the configured databases too, and refuses all but one of them below
            let databases = if ctx.host.cluster { ctx.conf.databases as usize } else { ctx.ks.databases() };
            to = database(args.at(i), databases)?;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    if ctx.host.cluster && (from != 0 || to != 0) {
        return Err(COPY_IN_CLUSTER);
    }
    let (source, target) = (ctx.key(args.at(1)), ctx.key(args.at(2)));
    if from == to && source.bytes == target.bytes {
        return Err(SAME);
    }
    let Some(entry) = ctx.ks.db_mut(from).find(&source, Look::Read, &ctx.clock) else {
        ctx.fx.event(from, source.bytes, class::KEY_MISS, "keymiss");
        ctx.out.int(0);
        return Ok(());
    };
    // The copy is made before the target is looked at: one borrow at a time. It is rare that it
    // was in vain.
    let mut value = entry.to_owned_value();
    value.lru = None;
    let db = ctx.ks.db_mut(to);
    let free = !db.exists(&target, Look::Write, &ctx.clock);
    if free || replace {
        db.put(&target, value, &ctx.clock);
        ctx.fx.event(to, target.bytes, class::NEW, "new");
        ctx.fx.changed(to, target.bytes, class::GENERIC, "copy_to");
    }
    ctx.out.int((free || replace) as i64);
    Ok(())
}
