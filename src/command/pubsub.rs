//! PUBSUB: who listens to what. Subscribing and publishing are verbs of the shard.

use super::ctx::Ctx;
use super::error::{Done, subcommand_syntax};
use super::help;
use super::host::Kind;
use crate::resp::Args;
use crate::util::glob;

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
];

/// The kinds of shard channels that a client is shown: on an own port, those of that node.
fn sharded(ctx: &Ctx<'_>) -> &'static [Kind] {
    if ctx.caller.front_door || !ctx.host.cluster { &[Kind::Sharded, Kind::Own] } else { &[Kind::Own] }
}

/// PUBSUB CHANNELS [pattern]
pub fn channels(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    list(ctx, &[Kind::Channel], args)
}

/// PUBSUB SHARDCHANNELS [pattern]
pub fn shard_channels(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    list(ctx, sharded(ctx), args)
}

fn list(ctx: &mut Ctx<'_>, kinds: &[Kind], args: Args<'_>) -> Done {
    if args.len() > 3 {
        return Err(subcommand_syntax(args));
    }
    let shards = ctx.host.scope(ctx.caller.front_door, ctx.me);
    let mut names = ctx.host.registers.audience.names(kinds, &shards);
    if let Some(pattern) = args.get(2) {
        names.retain(|name| glob::matches(pattern, name, false));
    }
    ctx.out.array(names.len());
    names.iter().for_each(|name| ctx.out.bulk(name));
    Ok(())
}

/// PUBSUB NUMSUB [channel ...]
pub fn numsub(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    count(ctx, &[Kind::Channel], args)
}

/// PUBSUB SHARDNUMSUB [channel ...]
pub fn shard_numsub(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    count(ctx, sharded(ctx), args)
}

fn count(ctx: &mut Ctx<'_>, kinds: &[Kind], args: Args<'_>) -> Done {
    let shards = ctx.host.scope(ctx.caller.front_door, ctx.me);
    let audience = &ctx.host.registers.audience;
    ctx.out.array((args.len() - 2) * 2);
    for name in args.from(2).iter() {
        ctx.out.bulk(name);
        let listeners: u64 = kinds.iter().map(|kind| audience.count(*kind, name, &shards)).sum();
        ctx.out.int(listeners as i64);
    }
    Ok(())
}

/// PUBSUB NUMPAT
pub fn numpat(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let shards = ctx.host.scope(ctx.caller.front_door, ctx.me);
    ctx.out.int(ctx.host.registers.audience.distinct(&[Kind::Pattern], &shards) as i64);
    Ok(())
}

/// PUBSUB HELP
pub fn pubsub_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}
