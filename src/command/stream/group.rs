//! XGROUP: groups come, go and are set.

use super::id::{parse_any_id, parse_id};
use super::note;
use crate::command::collection::{create, find, find_mut};
use crate::command::ctx::{Ctx, class};
use crate::command::error::{Done, ErrReply, NOT_INT, subcommand_syntax};
use crate::command::help;
use crate::resp::Args;
use crate::store::{Key, Look};
use crate::util::num::{parse_i64, until_nul};
use crate::value::Stream;
use crate::value::stream::{Group, Id};

const NO_STREAM: ErrReply = ErrReply::new(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
     MKSTREAM option to create an empty stream automatically.",
);
const BAD_READ: ErrReply = ErrReply::new("ERR value for ENTRIESREAD must be positive or -1");
const BUSY: ErrReply = ErrReply::new("BUSYGROUP Consumer Group name already exists");

const HELP: &[&str] = &[
    "CREATE <key> <groupname> <id|$> [option]",
    "    Create a new consumer group. Options are:",
    "    * MKSTREAM",
    "      Create the empty stream if it does not exist.",
    "    * ENTRIESREAD entries_read",
    "      Set the group's entries_read counter (internal use).",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Create a new consumer in the specified group.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Remove the specified consumer.",
    "DESTROY <key> <groupname>",
    "    Remove the specified group.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Set the current group ID and entries_read counter.",
];

/// Options of CREATE and SETID.
struct Options {
    mkstream: bool,
    read: Option<i64>,
}

impl Options {
    fn parse(args: Args<'_>, creates: bool) -> Result<Options, ErrReply> {
        let mut o = Options { mkstream: false, read: None };
        let mut i = 5;
        while i < args.len() {
            if creates && args.is(i, "mkstream") {
                o.mkstream = true;
                i += 1;
            } else if args.is(i, "entriesread") && i + 1 < args.len() {
                let read = parse_i64(args.at(i + 1)).ok_or(NOT_INT)?;
                if read < -1 {
                    return Err(BAD_READ);
                }
                o.read = Some(read).filter(|read| *read >= 0);
                i += 2;
            } else {
                return Err(subcommand_syntax(args));
            }
        }
        Ok(o)
    }
}

/// The stream, which must be there.
macro_rules! stream {
    ($ctx:expr, $key:expr) => {
        find_mut::<Stream>($ctx.ks.db_mut($ctx.db), $key, &$ctx.clock)?.ok_or(NO_STREAM)?
    };
}

pub fn no_group(group: &[u8], key: &[u8]) -> ErrReply {
    let (group, key) = (until_nul(group), until_nul(key));
    let words: [&[u8]; 5] = [b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"];
    ErrReply::quoting(words.concat())
}

/// XGROUP CREATE key group id | $ [MKSTREAM] [ENTRIESREAD count]
pub fn xgroup_create(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(args, true)?;
    let key = ctx.key(args.at(2));
    let found = find::<Stream>(ctx.ks.db_mut(ctx.db), &key, Look::Write, &ctx.clock)?;
    if found.is_none() && !options.mkstream {
        return Err(NO_STREAM);
    }
    if args.len() > 8 {
        return Err(subcommand_syntax(args));
    }
    let last = match until_nul(args.at(4)) {
        b"$" => found.map_or(Id::ZERO, |stream| stream.log.last_id),
        _ => parse_id(args.at(4), 0)?,
    };
    let group = Group::new(last, options.read);
    if found.is_none() {
        let mut stream = Stream::new();
        stream.add_group(args.at(3), group);
        create(ctx, &key, stream);
        ctx.fx.changed(ctx.db, key.bytes, class::STREAM, "xgroup-create");
    } else {
        if !stream!(ctx, &key).add_group(args.at(3), group) {
            return Err(BUSY);
        }
        note(ctx, &key, "xgroup-create");
    }
    ctx.out.ok();
    Ok(())
}

/// XGROUP SETID key group id | $ [ENTRIESREAD count]
pub fn xgroup_setid(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let options = Options::parse(args, false)?;
    let key = ctx.key(args.at(2));
    let stream = stream!(ctx, &key);
    let (log, group) = stream.group_mut(args.at(3)).ok_or_else(|| no_group(args.at(3), args.at(2)))?;
    if !matches!(args.len(), 5 | 7) {
        return Err(subcommand_syntax(args));
    }
    group.last_id = match until_nul(args.at(4)) {
        b"$" => log.last_id,
        _ => parse_any_id(args.at(4), 0)?,
    };
    group.read = options.read;
    note(ctx, &key, "xgroup-setid");
    ctx.out.ok();
    Ok(())
}

/// XGROUP DESTROY key group
pub fn xgroup_destroy(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(2));
    let gone = stream!(ctx, &key).remove_group(args.at(3));
    if gone {
        note(ctx, &key, "xgroup-destroy");
    }
    ctx.out.int(gone as i64);
    Ok(())
}

/// XGROUP CREATECONSUMER key group consumer
pub fn xgroup_createconsumer(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (key, now) = (ctx.key(args.at(2)), ctx.now() as i64);
    let created = with_group(ctx, args, &key, |group| {
        let new = group.member(args.at(4)).is_none();
        if new {
            group.join(args.at(4), now);
        }
        new
    })?;
    if created {
        note(ctx, &key, "xgroup-createconsumer");
    }
    ctx.out.int(created as i64);
    Ok(())
}

/// XGROUP DELCONSUMER key group consumer
pub fn xgroup_delconsumer(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(2));
    let pending = with_group(ctx, args, &key, |group| {
        let member = group.member(args.at(4));
        member.map(|member| group.leave(member))
    })?;
    if pending.is_some() {
        note(ctx, &key, "xgroup-delconsumer");
    }
    ctx.out.int(pending.unwrap_or(0) as i64);
    Ok(())
}

/// Changes a group that must be there, of a stream that must be there.
fn with_group<R>(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    key: &Key<'_>,
    f: impl FnOnce(&mut Group) -> R,
) -> Result<R, ErrReply> {
    let stream = stream!(ctx, key);
    let (_, group) = stream.group_mut(args.at(3)).ok_or_else(|| no_group(args.at(3), args.at(2)))?;
    Ok(f(group))
}

/// XGROUP HELP
pub fn xgroup_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}
