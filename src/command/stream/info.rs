//! XINFO: what a stream, its groups and their consumers look like.

use super::group::no_group;
use super::{is_there, show};
use crate::command::collection::find;
use crate::command::ctx::Ctx;
use crate::command::error::{Done, ErrReply, NO_KEY, NOT_INT, subcommand_syntax};
use crate::command::help;
use crate::resp::{Args, Reply};
use crate::store::Look;
use crate::util::num::parse_i64;
use crate::value::Stream;
use crate::value::stream::{Group, Id, Log, Way};

const HELP: &[&str] = &[
    "CONSUMERS <key> <groupname>",
    "    Show consumers of <groupname>.",
    "GROUPS <key>",
    "    Show the stream consumer groups.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Show information about the stream.",
];

/// Entries that FULL shows of every kind, if nothing else is said.
const FULL_COUNT: usize = 10;

/// The stream, which must be there.
macro_rules! stream {
    ($ctx:expr, $args:expr) => {{
        let key = $ctx.key($args.at(2));
        is_there($ctx, &key)?;
        find::<Stream>($ctx.ks.db_mut($ctx.db), &key, Look::Peek, &$ctx.clock)?.ok_or(NO_KEY)?
    }};
}

/// XINFO STREAM key [FULL [COUNT count]]
pub fn xinfo_stream(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let stream = stream!(ctx, args);
    let full = full_count(args)?;
    let (out, log) = (&mut ctx.out, &stream.log);
    out.map(if full.is_some() { 9 } else { 10 });
    for (name, n) in [
        ("length", log.len()),
        ("radix-tree-keys", log.nodes() as u64),
        ("radix-tree-nodes", log.radix_nodes() as u64),
    ] {
        number(out, name, n as i64);
    }
    id(out, "last-generated-id", log.last_id);
    id(out, "max-deleted-entry-id", log.max_deleted_id);
    number(out, "entries-added", log.added as i64);
    id(out, "recorded-first-entry-id", log.first_id);
    match full {
        None => {
            number(out, "groups", stream.groups() as i64);
            edge(out, "first-entry", log, Way::Forward);
            edge(out, "last-entry", log, Way::Backward);
        }
        Some(count) => show_full(out, stream, count),
    }
    Ok(())
}

/// How many entries of every kind FULL asks for; `None` without it.
fn full_count(args: Args<'_>) -> Result<Option<usize>, ErrReply> {
    match args.len() {
        3 => return Ok(None),
        4 if args.is(3, "full") => return Ok(Some(FULL_COUNT)),
        6 if args.is(3, "full") && args.is(4, "count") => {}
        _ => return Err(subcommand_syntax(args)),
    }
    let count = parse_i64(args.at(5)).ok_or(NOT_INT)?;
    Ok(Some(match usize::try_from(count) {
        Ok(0) => usize::MAX,
        Ok(count) => count,
        Err(_) => FULL_COUNT,
    }))
}

fn number(out: &mut Reply<'_>, name: &str, n: i64) {
    out.bulk(name.as_bytes());
    out.int(n);
}

fn number_or_null(out: &mut Reply<'_>, name: &str, n: Option<i64>) {
    out.bulk(name.as_bytes());
    match n {
        Some(n) => out.int(n),
        None => out.null(),
    }
}

fn id(out: &mut Reply<'_>, name: &str, id: Id) {
    out.bulk(name.as_bytes());
    show::id(out, id);
}

fn edge(out: &mut Reply<'_>, name: &str, log: &Log, way: Way) {
    out.bulk(name.as_bytes());
    match log.range(Id::ZERO, Id::MAX, way).next() {
        Some(entry) => show::entry(out, &entry),
        None => out.null(),
    }
}

fn show_full(out: &mut Reply<'_>, stream: &Stream, count: usize) {
    out.bulk(b"entries");
    let open = out.begin_array();
    let n = stream.log.iter().take(count).map(|entry| show::entry(out, &entry)).count();
    out.end_array(open, n);
    out.bulk(b"groups");
    out.array(stream.groups());
    for (name, group) in stream.iter_groups() {
        out.map(7);
        out.bulk(b"name");
        out.bulk(name);
        id(out, "last-delivered-id", group.last_id);
        number_or_null(out, "entries-read", group.read);
        number_or_null(out, "lag", group.lag(&stream.log));
        number(out, "pel-count", group.pending() as i64);
        out.bulk(b"pending");
        out.array(group.pending().min(count));
        for (id, pending) in group.pending_from(Id::ZERO).take(count) {
            out.array(4);
            show::id(out, id);
            out.bulk(&group.owner(&pending).name);
            out.int(pending.at_ms);
            out.int(pending.count as i64);
        }
        show_consumers(out, group, count);
    }
}

fn show_consumers(out: &mut Reply<'_>, group: &Group, count: usize) {
    out.bulk(b"consumers");
    out.array(group.consumers());
    for consumer in group.iter() {
        out.map(4);
        out.bulk(b"name");
        out.bulk(&consumer.name);
        number(out, "seen-time", consumer.seen_ms);
        number(out, "pel-count", consumer.owned() as i64);
        out.bulk(b"pending");
        out.array(consumer.owned().min(count));
        for id in consumer.owned_from(Id::ZERO).take(count) {
            let pending = group.find(id).expect("what a consumer has to acknowledge, its group has to");
            out.array(3);
            show::id(out, id);
            out.int(pending.at_ms);
            out.int(pending.count as i64);
        }
    }
}

/// XINFO GROUPS key
pub fn xinfo_groups(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let stream = stream!(ctx, args);
    let out = &mut ctx.out;
    out.array(stream.groups());
    for (name, group) in stream.iter_groups() {
        out.map(6);
        out.bulk(b"name");
        out.bulk(name);
        number(out, "consumers", group.consumers() as i64);
        number(out, "pending", group.pending() as i64);
        id(out, "last-delivered-id", group.last_id);
        number_or_null(out, "entries-read", group.read);
        number_or_null(out, "lag", group.lag(&stream.log));
    }
    Ok(())
}

/// XINFO CONSUMERS key group
pub fn xinfo_consumers(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let now = ctx.now() as i64;
    let stream = stream!(ctx, args);
    let group = stream.group(args.at(3)).ok_or_else(|| no_group(args.at(3), args.at(2)))?;
    let out = &mut ctx.out;
    out.array(group.consumers());
    for consumer in group.iter() {
        out.map(3);
        out.bulk(b"name");
        out.bulk(&consumer.name);
        number(out, "pending", consumer.owned() as i64);
        number(out, "idle", now.saturating_sub(consumer.seen_ms).max(0));
    }
    Ok(())
}

/// XINFO HELP
pub fn xinfo_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}
