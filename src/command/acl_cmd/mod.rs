//! ACL: users, told and changed; and [`may`], whether one may run a command.
//!
//! Users are the host's: any shard answers, and a change reaches all of them with their next turn, this one
//! before its next command.

mod may;
#[cfg(test)]
mod tests;

pub use may::{Denied, channels_of, may, reads_everything};

use super::acl::log::Entry;
use super::acl::{Reason, Selector, Terms, User, file, has_spaces, rules};
use super::ctx::{Aside, Ctx};
use super::error::{Done, ErrReply, NOT_INT, subcommand_syntax};
use super::help;
use super::spec::{Spec, acl};
use super::table;
use crate::limits::GENPASS_BITS;
use crate::resp::{Args, Reply};
use crate::util::num::parse_i64;
use std::convert::Infallible;
use std::io::Read;

const HELP: &[&str] = &[
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "DELUSER <username> [<username> ...]",
    "    Delete a list of users.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user can execute the given command without executing the command.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "LOAD",
    "    Reload users from the ACL file.",
    "LOG [<count> | RESET]",
    "    Show the ACL log entries.",
    "SAVE",
    "    Save the current config to the ACL file.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Create or modify a user with the specified attributes.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
];

const BAD_NAME: ErrReply = ErrReply::new("ERR Usernames can't contain spaces or null characters");
const DEFAULT_STAYS: ErrReply = ErrReply::new("ERR The 'default' user cannot be removed");
const NO_FILE: ErrReply = ErrReply::new(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL \
     SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order \
     to store users in the Redis configuration.",
);
const NOT_SAVED: ErrReply = ErrReply::new(
    "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
);

/// Entries that ACL LOG shows if it isn't told how many, and bits of ACL GENPASS.
const SHOWN: i64 = 10;
const BITS: i64 = 256;

fn quoting(before: &str, quoted: &[u8], after: &str) -> ErrReply {
    ErrReply::quoting([before.as_bytes(), quoted, after.as_bytes()].concat())
}

/// Users have changed: all shards take them up.
fn changed(ctx: &mut Ctx<'_>) {
    ctx.host.live.touch();
    ctx.fx.aside = Some(Aside::Configured);
}

/// ACL SETUSER name [rule ...]
pub fn acl_setuser(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let name = args.at(2);
    if has_spaces(name) {
        return Err(BAD_NAME);
    }
    let words: Vec<&[u8]> = args.from(3).iter().collect();
    let terms = Terms::new(&table::CATALOG, ctx.conf);
    let set = ctx.host.registers.users.change(|users| users.set(name, &words, &terms));
    set.map_err(|why| quoting("ERR ", &why, ""))?;
    changed(ctx);
    ctx.out.ok();
    Ok(())
}

/// ACL DELUSER name ...
pub fn acl_deluser(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let names = args.from(2);
    if names.iter().any(|name| name == b"default") {
        return Err(DEFAULT_STAYS);
    }
    let users = &ctx.host.registers.users;
    let Ok(deleted) =
        users.change(|users| Ok::<_, Infallible>(names.iter().filter(|name| users.delete(name)).count()));
    changed(ctx);
    ctx.out.int(deleted as i64);
    Ok(())
}

/// ACL GETUSER name
pub fn acl_getuser(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let users = ctx.host.registers.users.snapshot();
    match users.get(args.at(2)) {
        Some(user) => describe(&mut ctx.out, user),
        None => ctx.out.null(),
    }
    Ok(())
}

fn describe(out: &mut Reply<'_>, user: &User) {
    out.map(6);
    let flags = user.flags();
    out.bulk(b"flags");
    out.set(flags.len());
    flags.iter().for_each(|flag| out.bulk(flag.as_bytes()));
    out.bulk(b"passwords");
    out.array(user.passwords().len());
    user.passwords().for_each(|hash| out.bulk(hash.as_bytes()));
    let (own, others) = user.selectors().split_first().expect("there is always the user's own");
    describe_selector(out, own);
    out.bulk(b"selectors");
    out.array(others.len());
    for selector in others {
        out.map(3);
        describe_selector(out, selector);
    }
}

fn describe_selector(out: &mut Reply<'_>, selector: &Selector) {
    out.bulk(b"commands");
    out.bulk(&selector.describe_commands(&table::CATALOG));
    out.bulk(b"keys");
    out.bulk(&selector.describe_keys());
    out.bulk(b"channels");
    out.bulk(&selector.describe_channels());
}

/// ACL LIST
pub fn acl_list(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let lines = ctx.host.registers.users.snapshot().lines(&table::CATALOG);
    ctx.out.array(lines.len());
    lines.iter().for_each(|line| ctx.out.bulk(&[b"user ", &line[..]].concat()));
    Ok(())
}

/// ACL USERS
pub fn acl_users(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let users = ctx.host.registers.users.snapshot();
    ctx.out.array(users.iter().len());
    users.iter().for_each(|user| ctx.out.bulk(&user.name));
    Ok(())
}

/// ACL WHOAMI
pub fn acl_whoami(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.out.bulk_or_null(ctx.caller.user.as_deref().map(|user| &user.name[..]));
    Ok(())
}

/// ACL CAT [category]
pub fn acl_cat(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let Some(name) = args.get(2) else {
        ctx.out.array(acl::CATEGORIES.len());
        acl::CATEGORIES.iter().for_each(|(_, name)| ctx.out.bulk(&name.as_bytes()[1..]));
        return Ok(());
    };
    if args.len() > 3 {
        return Err(subcommand_syntax(args));
    }
    let unknown = || quoting("ERR Unknown category '", &name[..name.len().min(128)], "'");
    let category = rules::category(name).ok_or_else(unknown)?;
    let its: Vec<&Spec> = table::CATALOG.rows().filter(|spec| spec.acl & category != 0).collect();
    ctx.out.array(its.len());
    its.iter().for_each(|spec| ctx.out.bulk(spec.name.as_bytes()));
    Ok(())
}

/// ACL DRYRUN user command [arg ...]
pub fn acl_dryrun(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let (name, command) = (args.at(2), args.from(3));
    let users = ctx.host.registers.users.snapshot();
    let user = users.get(name).ok_or_else(|| quoting("ERR User '", name, "' not found"))?;
    let spec = table::find(command).ok_or_else(|| quoting("ERR Command '", command.at(0), "' not found"))?;
    if !spec.arity_fits(command.len()) {
        return Err(super::error::arity(spec.name));
    }
    let Err(Denied { reason, index }) = may(user, spec, command) else {
        ctx.out.ok();
        return Ok(());
    };
    let (what, object, kind) = match reason {
        Reason::Key => ("access", command.at(index), "key"),
        Reason::Channel => ("access", command.at(index), "channel"),
        Reason::Command | Reason::Auth => ("run", spec.name.as_bytes(), "command"),
    };
    let before = format!("This user has no permissions to {what} the '");
    ctx.out.bulk(quoting(&before, object, &format!("' {kind}")).bytes());
    Ok(())
}

/// ACL GENPASS [bits]
pub fn acl_genpass(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let bits = match args.len() {
        2 => BITS,
        3 => parse_i64(args.at(2)).ok_or(NOT_INT)?,
        _ => return Err(subcommand_syntax(args)),
    };
    if !(1..=GENPASS_BITS).contains(&bits) {
        return Err(ErrReply::owned(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {GENPASS_BITS}"
        )));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut secret = vec![0; digits.div_ceil(2)];
    ctx.host.outside.guess_proof(&mut secret).map_err(|why| ErrReply::owned(format!("ERR {why}")))?;
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    ctx.out.bulk(&text.as_bytes()[..digits]);
    Ok(())
}

/// ACL LOG [count | RESET]
pub fn acl_log(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let mut log = ctx.host.registers.users.log();
    let count = match args.len() {
        2 => SHOWN,
        3 if args.is(2, "RESET") => {
            log.clear();
            ctx.out.ok();
            return Ok(());
        }
        3 => parse_i64(args.at(2)).ok_or(NOT_INT)?.max(0),
        _ => return Err(subcommand_syntax(args)),
    };
    let shown = log.iter().len().min(count as usize);
    ctx.out.array(shown);
    log.iter().take(shown).for_each(|entry| show(&mut ctx.out, entry, ctx.clock.now_ms));
    Ok(())
}

fn show(out: &mut Reply<'_>, entry: &Entry, now_ms: u64) {
    out.map(7);
    out.bulk(b"count");
    out.int(entry.count as i64);
    let texts: [(&str, &[u8]); 4] = [
        ("reason", entry.reason.name().as_bytes()),
        ("context", entry.context.name().as_bytes()),
        ("object", &entry.object),
        ("username", &entry.user),
    ];
    for (name, text) in texts {
        out.bulk(name.as_bytes());
        out.bulk(text);
    }
    out.bulk(b"age-seconds");
    out.double(now_ms.saturating_sub(entry.at_ms) as f64 / 1000.0);
    out.bulk(b"client-info");
    out.bulk(&entry.client);
}

/// ACL LOAD
pub fn acl_load(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let path = &ctx.conf.aclfile;
    if path.is_empty() {
        return Err(NO_FILE);
    }
    let text = read_file(ctx, path)
        .map_err(|why| ErrReply::owned(format!("ERR Error loading ACLs, opening file '{path}': {why}")))?;
    let terms = Terms::new(&table::CATALOG, ctx.conf);
    let loaded = ctx.host.registers.users.change(|users| {
        *users = file::read(users, path, &text, &terms)?;
        Ok(())
    });
    loaded.map_err(|errors: Vec<u8>| quoting("ERR ", &errors, ""))?;
    changed(ctx);
    ctx.out.ok();
    Ok(())
}

fn read_file(ctx: &Ctx<'_>, path: &str) -> Result<Vec<u8>, String> {
    let (_, mut file) = ctx.host.outside.open(path)?.ok_or("No such file or directory")?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(|e| e.to_string())?;
    Ok(text)
}

/// ACL SAVE
pub fn acl_save(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let path = &ctx.conf.aclfile;
    if path.is_empty() {
        return Err(NO_FILE);
    }
    let text = file::written(&ctx.host.registers.users.snapshot(), &table::CATALOG);
    ctx.host.outside.write(path, &text).map_err(|why| {
        tracing::warn!("Writing ACL file for ACL SAVE: {why}");
        NOT_SAVED
    })?;
    ctx.out.ok();
    Ok(())
}

/// ACL HELP
pub fn acl_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}
