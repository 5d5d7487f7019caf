//! SAVE and LASTSAVE.

use super::ctx::{Aside, Ctx};
use super::error::{Done, FAILED, SAVING};
use super::rdb;
use crate::resp::Args;

/// SAVE: the shard stands still until its data is on the disk.
pub fn save(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    if ctx.host.metrics[ctx.me].saving.began.get() > 0 {
        return Err(SAVING);
    }
    rdb::save(ctx.ks, &ctx.place(), &[]).map_err(|_| FAILED)?;
    ctx.fx.aside = Some(Aside::Saved);
    ctx.out.ok();
    Ok(())
}

/// LASTSAVE: of several shards, when the one saved that did so longest ago.
pub fn lastsave(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let saved = ctx.host.last_save(ctx.host.scope(ctx.caller.front_door, ctx.me));
    ctx.out.int(saved as i64);
    Ok(())
}
