//! CONFIG: reads and changes the configuration that all shards share.

use super::ctx::{Aside, Ctx};
use super::error::{Done, ErrReply, SYNTAX};
use super::help;
use super::table;
use crate::config::Caller;
use crate::resp::Args;
use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;

const HELP: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
];

const NO_FILE: ErrReply = ErrReply::new("ERR The server is running without a config file");

/// CONFIG GET pattern ...
pub fn config_get(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let patterns: Vec<&[u8]> = args.from(2).iter().collect();
    let found = ctx.conf.get(&patterns);
    ctx.out.map(found.len());
    for (name, value) in found {
        ctx.out.bulk(&name);
        ctx.out.bulk(&value);
    }
    Ok(())
}

/// CONFIG SET name value ...: all or none. Other shards follow with their next turn.
pub fn config_set(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !args.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    let words: Vec<&[u8]> = args.from(2).iter().collect();
    let pairs: Vec<(&[u8], &[u8])> = words.chunks(2).map(|pair| (pair[0], pair[1])).collect();
    let caller = Caller { local: ctx.caller.local, loading: false };
    let outside = &ctx.host.outside;
    let changed = ctx
        .host
        .live
        .set(&pairs, caller, |old, new, changed| outside.configure(old, new, changed))
        .map_err(|error| ErrReply::owned(error.to_string()))?;
    if changed.iter().any(|row| row.name == "requirepass") {
        require(ctx);
    }
    if !changed.is_empty() {
        ctx.fx.aside = Some(Aside::Configured);
    }
    ctx.out.ok();
    Ok(())
}

/// The default user's password is what `requirepass` says from now on.
fn require(ctx: &Ctx<'_>) {
    let password = ctx.host.live.snapshot().requirepass.clone();
    let Ok(()) = ctx.host.registers.users.change(|users| {
        users.require(password.bytes());
        Ok::<_, Infallible>(())
    });
    ctx.host.live.touch();
}

/// CONFIG RESETSTAT: this shard's part of it.
pub fn config_resetstat(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.host.metrics[ctx.me].reset();
    ctx.ks.reset_stats();
    ctx.host.registers.process.lazyfreed.store(0, Relaxed);
    ctx.out.ok();
    Ok(())
}

/// CONFIG REWRITE
pub fn config_rewrite(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    if ctx.host.config_file.is_empty() {
        return Err(NO_FILE);
    }
    let users = ctx.host.registers.users.snapshot().lines(&table::CATALOG);
    ctx.host.rewrite_config(ctx.conf, &users, false).map_err(|why| {
        tracing::warn!("CONFIG REWRITE failed: {why}");
        ErrReply::owned(format!("ERR Rewriting config file: {why}"))
    })?;
    tracing::info!("CONFIG REWRITE executed with success.");
    ctx.out.ok();
    Ok(())
}

/// CONFIG HELP
pub fn config_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::World;

    #[test]
    fn reads_and_writes() {
        let mut w = World::new();
        w.check(&[
            ("CONFIG GET timeout nosuch TIMEOUT", "*2|$7|timeout|$1|0|"),
            (
                "CONFIG GET zset-max-listpack-*",
                "*4|$25|zset-max-listpack-entries|$3|128|$23|zset-max-listpack-value|$2|64|",
            ),
            ("CONFIG SET timeout", "-ERR wrong number of arguments for 'config|set' command|"),
            ("CONFIG SET timeout 1 maxmemory", "-ERR syntax error|"),
            ("CONFIG SET nosuch 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'|"),
            ("CONFIG SET timeout 5 maxmemory 1kb", "+OK|"),
        ]);
        assert_eq!(w.fx.aside.take(), Some(Aside::Configured));
        let now = w.host.live.snapshot();
        assert_eq!((now.timeout, now.maxmemory), (5, 1024));
        w.check(&[
            (
                "CONFIG SET timeout 9 port 1",
                "-ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. \
                 Check server logs.|",
            ),
            ("CONFIG SET timeout 5", "+OK|"),
        ]);
        assert_eq!((w.host.live.snapshot().timeout, w.fx.aside), (5, None));
        w.resp3(true).check(&[("CONFIG GET timeout", "%1|$7|timeout|$1|0|")]);
    }

    #[test]
    fn rewrites_its_file() {
        let mut w = World::new();
        w.check(&[("CONFIG REWRITE", "-ERR The server is running without a config file|")]);
        w.host.config_file = "/etc/shoal.conf".into();
        w.host.outside.write("/etc/shoal.conf", b"# mine\ntimeout 3\n").unwrap();
        w.conf.timeout = 7;
        w.check(&[("CONFIG REWRITE", "+OK|")]);
        let text = String::from_utf8(w.host.outside.read("/etc/shoal.conf").unwrap()).unwrap();
        assert!(text.starts_with("# mine\ntimeout 7\n"), "{text}");
        w.host.config_file = "/readonly/shoal.conf".into();
        w.check(&[("CONFIG REWRITE", "-ERR Rewriting config file: Permission denied|")]);
    }

    #[test]
    fn resets_statistics() {
        let mut w = World::new();
        let m = w.host.metrics[0].clone();
        m.commands.add(5);
        m.error(b"ERR no");
        m.command(3).record(9);
        w.check(&[("CONFIG RESETSTAT", "+OK|")]);
        assert_eq!((m.commands.get(), m.error_replies.get(), m.command(3).calls.get()), (0, 0, 0));
        assert!(m.errors().is_empty());
    }
}
