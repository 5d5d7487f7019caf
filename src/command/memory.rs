//! MEMORY: what keys and the host cost.

use super::ctx::Ctx;
use super::error::{Done, NOT_INT, SYNTAX};
use super::help;
use super::host::Memory;
use crate::resp::{Args, Reply};
use crate::store::Look;
use crate::util::num::parse_i64;

/// Bytes of a key's place in its table.
const PLACE: usize = 12;
/// Below this there is nothing to say about memory.
const SMALL: u64 = 5 << 20;
/// Bytes of fragmentation that are worth a word.
const MUCH: i64 = 10 << 20;
/// Bytes of buffers that an average client may have.
const CLIENT: u64 = 200 << 10;

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];

/// MEMORY USAGE key [SAMPLES count]: values know their size, so the samples are accepted and not
/// needed.
pub fn memory_usage(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let mut i = 3;
    while i < args.len() {
        if !args.is(i, "SAMPLES") || i + 1 == args.len() {
            return Err(SYNTAX);
        }
        if parse_i64(args.at(i + 1)).ok_or(NOT_INT)? < 0 {
            return Err(SYNTAX);
        }
        i += 2;
    }
    let key = ctx.key(args.at(2));
    match ctx.ks.db_mut(ctx.db).find(&key, Look::Peek, &ctx.clock) {
        Some(entry) => ctx.out.int(entry.mem() as i64),
        None => ctx.out.null(),
    }
    Ok(())
}

/// MEMORY STATS
pub fn memory_stats(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let m = Memory::of(ctx.host, ctx.me, ctx.ks.len());
    let tables: Vec<(usize, usize)> = ctx
        .ks
        .iter()
        .enumerate()
        .filter(|(_, db)| db.len() > 0)
        .map(|(i, db)| (i, db.len() * PLACE))
        .collect();
    let registers = &ctx.host.registers;
    let (scripts, functions) = (registers.scripts.size().1, registers.libraries.size().2);
    let out = &mut ctx.out;
    out.map(27 + tables.len());
    count(out, "peak.allocated", m.peak);
    count(out, "total.allocated", m.used);
    count(out, "startup.allocated", m.startup);
    count(out, "replication.backlog", 0);
    count(out, "clients.slaves", 0);
    count(out, "clients.normal", m.clients);
    count(out, "cluster.links", 0);
    count(out, "aof.buffer", 0);
    count(out, "lua.caches", scripts as u64);
    count(out, "functions.caches", functions as u64);
    for (db, overhead) in tables {
        out.bulk(format!("db.{db}").as_bytes());
        out.map(3);
        count(out, "overhead.hashtable.main", overhead as u64);
        count(out, "overhead.hashtable.expires", 0);
        count(out, "overhead.hashtable.slot-to-keys", 0);
    }
    count(out, "overhead.total", m.overhead);
    count(out, "keys.count", m.keys);
    count(out, "keys.bytes-per-key", (m.used - m.startup).checked_div(m.keys).unwrap_or(0));
    count(out, "dataset.bytes", m.dataset);
    ratio(out, "dataset.percentage", m.dataset_percent());
    ratio(out, "peak.percentage", m.peak_percent());
    count(out, "allocator.allocated", m.allocated());
    count(out, "allocator.active", m.rss);
    count(out, "allocator.resident", m.rss);
    ratio(out, "allocator-fragmentation.ratio", m.fragmentation());
    count(out, "allocator-fragmentation.bytes", m.fragmentation_bytes().max(0) as u64);
    ratio(out, "allocator-rss.ratio", 1.0);
    count(out, "allocator-rss.bytes", 0);
    ratio(out, "rss-overhead.ratio", 1.0);
    count(out, "rss-overhead.bytes", 0);
    ratio(out, "fragmentation", m.fragmentation());
    out.bulk(b"fragmentation.bytes");
    out.int(m.fragmentation_bytes());
    Ok(())
}

fn count(out: &mut Reply<'_>, name: &str, n: u64) {
    out.bulk(name.as_bytes());
    out.int(n as i64);
}

fn ratio(out: &mut Reply<'_>, name: &str, x: f64) {
    out.bulk(name.as_bytes());
    out.double(x);
}

/// MEMORY DOCTOR
pub fn memory_doctor(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let m = Memory::of(ctx.host, ctx.me, ctx.ks.len());
    let clients: u64 = ctx.host.metrics.iter().map(|metrics| metrics.clients.get()).sum();
    let mut text = String::new();
    if m.used < SMALL {
        text.push_str("Too little memory is used for a diagnosis: come back with some data.\n");
        ctx.out.verbatim("txt", text.as_bytes());
        return Ok(());
    }
    if m.peak * 2 > m.used * 3 {
        text.push_str(
            "- Peak: more than one and a half times as much was used before. What the allocator keeps of it \
             will be used again, or MEMORY PURGE gives it back.\n",
        );
    }
    if m.fragmentation() > 1.4 && m.fragmentation_bytes() > MUCH {
        text.push_str(
            "- Fragmentation: the process holds more than 1.4 times what is used, after a peak or because of \
             values that change their size often. MEMORY PURGE may help.\n",
        );
    }
    if clients > 0 && m.clients / clients > CLIENT {
        text.push_str(
            "- Clients: their buffers are larger than 200 KB on average. CLIENT LIST shows who sends long \
             pipelines or is slow to read.\n",
        );
    }
    if text.is_empty() {
        text.push_str("No problem with memory was found.\n");
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// MEMORY MALLOC-STATS: what Redis says when its allocator has none to show.
pub fn memory_malloc_stats(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.out.bulk(b"Stats not supported for the current allocator");
    Ok(())
}

/// MEMORY PURGE
pub fn memory_purge(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.host.outside.purge();
    ctx.out.ok();
    Ok(())
}

/// MEMORY HELP
pub fn memory_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::testing::World;
    use crate::store::{Clock, Ttl};

    #[test]
    fn what_keys_cost() {
        let mut w = World::new();
        for (name, value) in [("a", "1".repeat(8)), ("b", "x".repeat(100)), ("c", "x".repeat(100_000))] {
            let key = w.ks.hasher().key(name.as_bytes());
            w.ks.db_mut(0).set_str(&key, value.as_bytes(), Ttl::Clear, &Clock::at(0));
        }
        let cost = |w: &mut World, key: &str| -> usize {
            let reply = w.run(&format!("MEMORY USAGE {key} SAMPLES 0"));
            reply[1..].trim_end().parse().unwrap()
        };
        assert!((8..100).contains(&cost(&mut w, "a")));
        assert!((100..200).contains(&cost(&mut w, "b")));
        assert!((100_000..120_000).contains(&cost(&mut w, "c")));
        w.check(&[
            ("MEMORY USAGE nosuch", "$-1|"),
            ("MEMORY USAGE a SAMPLES", "-ERR syntax error|"),
            ("MEMORY USAGE a SAMPLES abc", "-ERR value is not an integer or out of range|"),
            ("MEMORY USAGE a SAMPLES -1", "-ERR syntax error|"),
            ("MEMORY USAGE a WHAT 1", "-ERR syntax error|"),
            ("MEMORY PURGE", "+OK|"),
        ]);
        let stats = w.resp3(true).run("MEMORY STATS").replace("\r\n", "|");
        assert!(stats.starts_with("%28|$14|peak.allocated|:"), "{stats}");
        assert!(
            stats.contains("|$4|db.0|%3|$23|overhead.hashtable.main|:")
                && stats.contains("|$10|keys.count|:3|")
        );
        assert_eq!(stats.matches("|$").count(), 27 + 1 + 3);
    }
}
