//! Values as payloads: DUMP and RESTORE.

use crate::command::ctx::{Ctx, class};
use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX};
use crate::persist::{self, Encoder, Error};
use crate::resp::Args;
use crate::store::{Expiry, Look, Owned};
use crate::util::num::parse_i64;

const BUSY_KEY: ErrReply = ErrReply::new("BUSYKEY Target key name already exists.");
const BAD_IDLE_TIME: ErrReply = ErrReply::new("ERR Invalid IDLETIME value, must be >= 0");
const BAD_FREQUENCY: ErrReply = ErrReply::new("ERR Invalid FREQ value, must be >= 0 and <= 255");
const BAD_TTL: ErrReply = ErrReply::new("ERR Invalid TTL value, must be >= 0");
const BAD_FRAME: ErrReply = ErrReply::new("ERR DUMP payload version or checksum are wrong");
const BAD_FORMAT: ErrReply = ErrReply::new("ERR Bad data format");

/// DUMP key
pub fn dump(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(1));
    let Some(entry) = ctx.ks.db_mut(ctx.db).find(&key, Look::Read, &ctx.clock) else {
        ctx.fx.event(ctx.db, key.bytes, class::KEY_MISS, "keymiss");
        ctx.out.null();
        return Ok(());
    };
    let mut payload = Vec::new();
    persist::dump(entry.value(), &mut Encoder::new(ctx.conf.rdbcompression), &mut payload);
    ctx.out.bulk(&payload);
    Ok(())
}

#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(words: Args<'_>) -> Result<Options, ErrReply> {
        let mut o = Options::default();
        let mut i = 0;
        while i < words.len() {
            let number = words.get(i + 1).map(|word| parse_i64(word).ok_or(NOT_INT));
            match number {
                _ if words.is(i, "replace") => o.replace = true,
                _ if words.is(i, "absttl") => o.absolute = true,
                Some(idle) if words.is(i, "idletime") && o.frequency.is_none() => {
                    o.idle = Some(u64::try_from(idle?).map_err(|_| BAD_IDLE_TIME)?);
                    i += 1;
                }
                Some(frequency) if words.is(i, "freq") && o.idle.is_none() => {
                    o.frequency = Some(u8::try_from(frequency?).map_err(|_| BAD_FREQUENCY)?);
                    i += 1;
                }
                _ => return Err(SYNTAX),
            }
            i += 1;
        }
        Ok(o)
    }
}

/// RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]
pub fn restore(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(args.from(4))?;
    let key = ctx.key(args.at(1));
    if !options.replace && ctx.ks.db_mut(ctx.db).exists(&key, Look::Write, &ctx.clock) {
        return Err(BUSY_KEY);
    }
    let ttl = parse_i64(args.at(2)).ok_or(NOT_INT)?;
    if ttl < 0 {
        return Err(BAD_TTL);
    }
    let read = ctx.fx.read.take();
    let value =
        read.unwrap_or_else(|| persist::restore(args.at(3), &ctx.limits())).map_err(|error| match error {
            Error::Frame => BAD_FRAME,
            _ => BAD_FORMAT,
        })?;
    let lazy = ctx.conf.lazyfree_lazy_server_del;
    let deleted = options.replace && ctx.ks.db_mut(ctx.db).delete(&key, lazy, &ctx.clock);
    // a time so late that it overflows lies in the past: as in Redis
    let at = if options.absolute { ttl } else { ttl.wrapping_add(ctx.now() as i64) };
    if ttl != 0 && at <= ctx.now() as i64 && ctx.clock.expiry == Expiry::Remove {
        if deleted {
            if ctx.fx.propagating {
                ctx.fx.propagate([&b"DEL"[..], key.bytes]);
            }
            ctx.fx.changed(ctx.db, key.bytes, class::GENERIC, "del");
        }
        ctx.out.ok();
        return Ok(());
    }
    let lru = match (ctx.clock.lfu, options) {
        (true, Options { frequency: Some(frequency), .. }) => Some(ctx.clock.lfu_field(frequency)),
        (false, Options { idle: Some(idle), .. }) => Some(ctx.clock.lru_field(idle)),
        _ => None,
    };
    let expire_at = (ttl != 0).then_some(at.max(0) as u64);
    let value = Owned { expire_at, lru, ..Owned::any(value) };
    ctx.ks.db_mut(ctx.db).put(&key, value, &ctx.clock);
    if ttl != 0 && at != ttl && ctx.fx.propagating {
        let mut text = itoa::Buffer::new();
        let head = [args.at(0), key.bytes, text.format(at).as_bytes()];
        ctx.fx.propagate(head.into_iter().chain(args.from(3).iter()).chain([&b"ABSTTL"[..]]));
    }
    ctx.fx.event(ctx.db, key.bytes, class::NEW, "new");
    ctx.fx.changed(ctx.db, key.bytes, class::GENERIC, "restore");
    ctx.out.ok();
    Ok(())
}
