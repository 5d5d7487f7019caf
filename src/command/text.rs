//! Strings by key: what the families of strings, bitmaps and HyperLogLogs share.

use super::ctx::{Ctx, class};
use super::error::{ErrReply, WRONG_TYPE};
use crate::resp::Reply;
use crate::store::{Key, Look, Owned, OwnedValue, ValueRef};

/// Calls `f` with the text of the string at `key`; `None` when there is no key.
pub fn with_text<R>(
    ctx: &mut Ctx<'_>,
    key: &Key<'_>,
    f: impl FnOnce(&mut Reply<'_>, &[u8]) -> R,
) -> Result<Option<R>, ErrReply> {
    match ctx.ks.db_mut(ctx.db).find(key, Look::Read, &ctx.clock).map(|entry| entry.value()) {
        Some(ValueRef::Str(bytes)) => Ok(Some(f(&mut ctx.out, bytes))),
        Some(ValueRef::Int(n)) => Ok(Some(f(&mut ctx.out, itoa::Buffer::new().format(n).as_bytes()))),
        Some(ValueRef::Obj(_)) => Err(WRONG_TYPE),
        None => {
            ctx.fx.event(ctx.db, key.bytes, class::KEY_MISS, "keymiss");
            Ok(None)
        }
    }
}

/// Stores bytes that a command has computed over whatever `key` held. They stay bytes, as in Redis,
/// even when they read like an integer.
pub fn store_bytes(ctx: &mut Ctx<'_>, key: &Key<'_>, bytes: Vec<u8>) {
    let value = OwnedValue::Bytes(bytes.into_boxed_slice());
    let owned = Owned { value, expire_at: None, lru: None, raw: true };
    if !ctx.ks.db_mut(ctx.db).put(key, owned, &ctx.clock) {
        ctx.fx.event(ctx.db, key.bytes, class::NEW, "new");
    }
}
