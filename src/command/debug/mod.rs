//! DEBUG: for tests and for looking inside. Refused unless `enable-debug-command` allows it.
//!
//! At a front door every shard executes it for its own keys, and the replies are laid over each other
//! ([`Join::Overlay`](super::spec::Join::Overlay)).

mod digest;
mod object;

use super::ctx::{Aside, Ctx};
use super::error::{Done, ErrReply, FAILED, NO_KEY, NOT_INT, NOT_POSITIVE, subcommand_syntax};
use super::{help, rdb, table};
use crate::config::types::ProtectedAction;
use crate::limits::MAX_BULK;
use crate::resp::Args;
use crate::store::{Look, Ttl};
use crate::util::num::{parse_f64, parse_i64};
use crate::util::size;
use std::sync::atomic::Ordering::Relaxed;

const HELP: &[&str] = &[
    "CHANGE-REPL-ID",
    "    Change the replication IDs of the instance.",
    "    Dangerous: should be used only for testing the replication subsystem.",
    "CLUSTERLINK KILL <to|from|all> <node-id>",
    "    Kills the link based on the direction to/from (both) with the provided node.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    Like CONFIG REWRITE but writes all configuration options, including",
    "    keywords not listed in original configuration file or default values.",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "DROP-CLUSTER-PACKET-FILTER <packet-type>",
    "    Drop all packets that match the filtered type. Set to -1 allow all packets.",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "LOADAOF",
    "    Flush the AOF buffers on disk and reload the AOF in memory.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "PAUSE-CRON <0|1>",
    "    Stop periodic cron job processing.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> string keys named key:<num>. If <prefix> is specified then",
    "    it is used instead of the 'key' prefix. These are not propagated to",
    "    replicas.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Accepted for tests: every node of a list is packed here, whatever the size.",
    "RELOAD [option ...]",
    "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
    "    * MERGE: conflicting keys will be loaded from RDB.",
    "    * NOFLUSH: the existing database will not be removed before load, but",
    "      conflicting keys will generate an exception and kill the server.",
    "    * NOSAVE: the database will be loaded from an existing RDB file.",
    "    Examples:",
    "    * DEBUG RELOAD: verify that the server is able to persist, flush and reload",
    "      the database.",
    "    * DEBUG RELOAD NOSAVE: replace the current database with the contents of an",
    "      existing RDB file.",
    "    * DEBUG RELOAD NOSAVE NOFLUSH MERGE: add the contents of an existing RDB",
    "      file to the database.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
    "    default.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
];

const BAD_PROTOCOL: ErrReply = ErrReply::new(
    "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|\
     set|map|attrib|push|verbatim|true|false",
);
const NOT_ALLOWED: ErrReply = ErrReply::new(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
     from a local connection, otherwise you need to set this option in the configuration file, and then restart \
     the server.",
);
const NO_HASH_TABLES: ErrReply =
    ErrReply::new("ERR This server keeps keys in buckets without chains, which have no such statistics");
const BAD_RELOAD: ErrReply =
    ErrReply::new("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
const RELOAD_FAILED: ErrReply = ErrReply::new("ERR Error trying to load the RDB dump");
const NO_LOG: ErrReply = ErrReply::new("ERR There is no append only file to load, or it is not whole yet");
const BAD_THRESHOLD: ErrReply =
    ErrReply::new("ERR argument must be a memory value bigger than 1 and smaller than 4gb");

/// DEBUG subcommand ...
pub fn debug(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let allowed = match ctx.conf.enable_debug_command {
        ProtectedAction::Yes => true,
        ProtectedAction::Local => ctx.caller.local,
        ProtectedAction::No => false,
    };
    if !allowed {
        return Err(NOT_ALLOWED);
    }
    match (args.at(1).to_ascii_lowercase().as_slice(), args.len()) {
        (b"help", 2) => help::write(&mut ctx.out, args, HELP),
        (b"sleep", 3) => return sleep(ctx, args),
        (b"object", 3) => return object_info(ctx, args),
        (b"digest", 2) => digest_all(ctx),
        (b"digest-value", _) => digest_values(ctx, args),
        (b"reload", _) => return reload(ctx, args),
        (b"loadaof", 2) => return load_log(ctx),
        (b"populate", 3..=5) => return populate(ctx, args),
        (b"protocol", 3) => return protocol(ctx, args),
        (b"set-active-expire", 3) => {
            // as C's atoi reads it
            let on = parse_i64(args.at(2)).is_some_and(|n| n != 0);
            ctx.host.active_expire.store(on, Relaxed);
            ctx.out.ok();
        }
        (b"pause-cron", 3) => {
            let on = parse_i64(args.at(2)).is_some_and(|n| n != 0);
            ctx.host.cron_paused.store(on, Relaxed);
            ctx.out.ok();
        }
        (b"change-repl-id", 2) => {
            ctx.host.registers.repl_id_changes.fetch_add(1, Relaxed);
            ctx.out.ok();
        }
        (b"config-rewrite-force-all", 2) => return rewrite_config(ctx),
        (b"quicklist-packed-threshold", 3) => {
            let bytes = size::parse(args.at(2)).filter(|&n| n <= (1 << 32) - (1 << 20));
            bytes.ok_or(BAD_THRESHOLD)?;
            ctx.out.ok();
        }
        (b"drop-cluster-packet-filter", 3) => {
            ctx.fx.aside = Some(Aside::DropPackets(parse_i64(args.at(2)).ok_or(NOT_INT)?));
            ctx.out.ok();
        }
        (b"clusterlink", 5) if args.is(2, "kill") => return kill_links(ctx, args),
        (b"log", 3) => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(args.at(2)));
            ctx.out.ok();
        }
        (b"error", 3) => return Err(ErrReply::owned(String::from_utf8_lossy(args.at(2)).into_owned())),
        (b"htstats", 3) => {
            let db = parse_i64(args.at(2)).ok_or(NOT_INT)?;
            let there = usize::try_from(db).is_ok_and(|db| db < ctx.ks.databases());
            return Err(if there { NO_HASH_TABLES } else { ErrReply::new("ERR Out of range database") });
        }
        (b"htstats-key", 3) => {
            let key = ctx.key(args.at(2));
            let there = ctx.ks.db(ctx.db).peek(&key, &ctx.clock).is_some();
            return Err(if there { NO_HASH_TABLES } else { NO_KEY });
        }
        _ => return Err(subcommand_syntax(args)),
    }
    Ok(())
}

/// DEBUG RELOAD [MERGE] [NOFLUSH] [NOSAVE]: every shard by itself, from its own file.
fn reload(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (mut merge, mut flush, mut save) = (false, true, true);
    for word in args.from(2).iter() {
        match word.to_ascii_lowercase().as_slice() {
            b"merge" => merge = true,
            b"noflush" => flush = false,
            b"nosave" => save = false,
            _ => return Err(BAD_RELOAD),
        }
    }
    if save {
        rdb::save(ctx.ks, &ctx.place(), &[]).map_err(|_| FAILED)?;
    }
    if flush {
        for db in ctx.ks.iter_mut().filter(|db| db.len() > 0) {
            drop(db.clear());
        }
    }
    let limits = ctx.limits();
    let Ctx { me, host, view, conf, clock, now_us, .. } = *ctx;
    let place = rdb::Place { me, host, view, conf, clock, now_us };
    if let Err(why) = rdb::load(ctx.ks, &place, &limits, merge) {
        tracing::warn!("Error loading the RDB file {}: {why}", place.file());
        return Err(RELOAD_FAILED);
    }
    tracing::warn!("DB reloaded by DEBUG RELOAD");
    ctx.out.ok();
    Ok(())
}

/// DEBUG CLUSTERLINK KILL direction node-id
fn kill_links(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !ctx.host.cluster {
        return Err(ErrReply::new("ERR Debug option only available for cluster mode enabled setup!"));
    }
    let quoted = |i: usize| String::from_utf8_lossy(args.at(i)).into_owned();
    let node = ctx.view.nodes.iter().find(|node| node.id == args.at(4));
    let node = node.ok_or_else(|| ErrReply::owned(format!("ERR Unknown node {}", quoted(4))))?.id;
    let which = ["to", "from", "all"].into_iter().find(|which| args.is(3, which));
    let which = which.ok_or_else(|| ErrReply::owned(format!("ERR Unknown direction {}", quoted(3))))?;
    ctx.fx.aside = Some(Aside::KillLinks { which, node });
    ctx.out.ok();
    Ok(())
}

fn load_log(ctx: &mut Ctx<'_>) -> Done {
    if ctx.host.metrics[ctx.me].aof.whole.get() == 0 {
        return Err(NO_LOG);
    }
    ctx.fx.aside = Some(Aside::LoadLog);
    ctx.out.ok();
    Ok(())
}

fn rewrite_config(ctx: &mut Ctx<'_>) -> Done {
    let users = ctx.host.registers.users.snapshot().lines(&table::CATALOG);
    let failed = |why| ErrReply::owned(format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {why}"));
    ctx.host.rewrite_config(ctx.conf, &users, true).map_err(failed)?;
    ctx.out.ok();
    Ok(())
}

/// What is not a number is 0, as C's strtod reads it.
fn sleep(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let seconds = parse_f64(args.at(2)).unwrap_or(0.0);
    if seconds > 0.0 {
        let us = (seconds * 1e6) as u64;
        ctx.host.outside.stand_still(us);
        ctx.fx.aside = Some(Aside::Slept(us));
    }
    ctx.out.ok();
    Ok(())
}

fn object_info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let key = ctx.key(args.at(2));
    let limit = ctx.conf.list_max_listpack_size;
    let compressed = ctx.conf.list_compress_depth != 0;
    let entry = ctx.ks.db_mut(ctx.db).find(&key, Look::Peek, &ctx.clock).ok_or(NO_KEY)?;
    let text = object::describe(entry, &ctx.clock, limit, compressed);
    ctx.out.simple(&text);
    Ok(())
}

/// Whether this is one shard's part of a command that all shards execute.
fn is_part(ctx: &Ctx<'_>) -> bool {
    ctx.caller.front_door && ctx.host.metrics.len() > 1
}

/// The digest of all keys. Parts of several shards have to add up: each shard gives its keys' sum, and
/// the first adds what marks the databases. That equals redis-server's digest when but one database
/// has keys; Redis chains the marks of several, which can't be split.
fn digest_all(ctx: &mut Ctx<'_>) {
    let text = if is_part(ctx) {
        let mut sum = digest::Digest::default();
        for db in 0..ctx.ks.databases() {
            let others = ctx.host.metrics.iter().any(|m| m.keys.get(db).is_some_and(|n| n.get() > 0));
            if ctx.me == 0 && (others || ctx.ks.db(db).len() > 0) {
                sum.xor(&digest::of_database(db));
            }
            sum.xor(&digest::of_keys(ctx.ks.db(db), &ctx.clock));
        }
        sum.hex()
    } else {
        digest::of_all(ctx.ks, &ctx.clock).hex()
    };
    ctx.out.simple(&text);
}

fn digest_values(ctx: &mut Ctx<'_>, args: Args<'_>) {
    let keys = args.from(2);
    ctx.out.array(keys.len());
    for name in keys.iter() {
        let key = ctx.ks.hasher().key(name);
        let mut digest = digest::Digest::default();
        if let Some(entry) = ctx.ks.db(ctx.db).peek(&key, &ctx.clock) {
            digest.add_value(&entry);
        }
        ctx.out.simple(&digest.hex());
    }
}

/// DEBUG POPULATE count [prefix [size]]
fn populate(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let number = |i: usize| match args.get(i) {
        None => Ok(0),
        Some(n) => parse_i64(n).and_then(|n| usize::try_from(n).ok()).ok_or(NOT_POSITIVE),
    };
    let (count, size) = (number(2)?, number(4)?);
    if size > MAX_BULK {
        return Err(super::error::TOO_LONG);
    }
    let prefix = args.get(3).unwrap_or(b"key");
    let part = is_part(ctx);
    let (mut name, mut value) = (Vec::new(), Vec::new());
    for i in 0..count {
        name.clear();
        name.extend_from_slice(prefix);
        name.extend_from_slice(format!(":{i}").as_bytes());
        let key = ctx.ks.hasher().key(&name);
        if part && ctx.view.local_owner(key.slot) != Some(ctx.me as u16) {
            continue;
        }
        let db = ctx.ks.db_mut(ctx.db);
        if db.exists(&key, Look::Peek, &ctx.clock) {
            continue;
        }
        value.clear();
        value.extend_from_slice(format!("value:{i}").as_bytes());
        if size > 0 {
            value.resize(size, 0);
        }
        db.set_str(&key, &value, Ttl::Clear, &ctx.clock);
    }
    ctx.out.ok();
    Ok(())
}

/// A reply of each kind.
fn protocol(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let out = &mut ctx.out;
    match args.at(2).to_ascii_lowercase().as_slice() {
        b"string" => out.bulk(b"Hello World"),
        b"integer" => out.int(12345),
        // the very number that redis-server answers
        b"double" => out.double(3141.0 / 1000.0),
        b"bignum" if out.resp3() => out.raw(b"(1234567999999999999999999999999999999\r\n"),
        b"bignum" => out.bulk(b"1234567999999999999999999999999999999"),
        b"null" => out.null(),
        b"array" => {
            out.array(3);
            (0..3).for_each(|i| out.int(i));
        }
        b"set" => {
            out.set(3);
            (0..3).for_each(|i| out.int(i));
        }
        b"map" => {
            out.map(3);
            for i in 0..3 {
                out.int(i);
                out.boolean(i == 1);
            }
        }
        b"attrib" => {
            if out.resp3() {
                out.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            out.bulk(b"Some real reply following the attribute");
        }
        b"push" if !out.resp3() => {
            return Err(ErrReply::new("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            out.push(2);
            out.bulk(b"server-cpu-usage");
            out.int(42);
            out.bulk(b"Some real reply following the push reply");
        }
        b"true" => out.boolean(true),
        b"false" => out.boolean(false),
        b"verbatim" => out.verbatim("txt", b"This is a verbatim\nstring"),
        _ => return Err(BAD_PROTOCOL),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
