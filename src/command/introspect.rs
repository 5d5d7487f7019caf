//! COMMAND: the table, told to clients.
//!
//! Containers list their subcommands in the order of the table; Redis's order is a hash table's.

use super::ctx::Ctx;
use super::error::{Done, ErrReply, SYNTAX};
use super::spec::{Arg, Begin, Find, KeySpec, Spec, acl, arg, flag, key};
use super::table;
use crate::resp::{Args, Reply};
use crate::util::glob;

/// Names of flags, in the order in which they are shown.
type Names = &'static [(u32, &'static str)];

const FLAGS: Names = &[
    (flag::WRITE, "write"),
    (flag::READONLY, "readonly"),
    (flag::DENYOOM, "denyoom"),
    (flag::ADMIN, "admin"),
    (flag::PUBSUB, "pubsub"),
    (flag::NOSCRIPT, "noscript"),
    (flag::BLOCKING, "blocking"),
    (flag::LOADING, "loading"),
    (flag::STALE, "stale"),
    (flag::SKIP_MONITOR, "skip_monitor"),
    (flag::SKIP_SLOWLOG, "skip_slowlog"),
    (flag::ASKING, "asking"),
    (flag::FAST, "fast"),
    (flag::NO_AUTH, "no_auth"),
    (flag::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (flag::NO_ASYNC_LOADING, "no_async_loading"),
    (flag::NO_MULTI, "no_multi"),
    (flag::MOVABLE_KEYS, "movablekeys"),
    (flag::ALLOW_BUSY, "allow_busy"),
];

const KEY_FLAGS: Names = &[
    (key::RO, "RO"),
    (key::RW, "RW"),
    (key::OW, "OW"),
    (key::RM, "RM"),
    (key::ACCESS, "access"),
    (key::UPDATE, "update"),
    (key::INSERT, "insert"),
    (key::DELETE, "delete"),
    (key::NOT_KEY, "not_key"),
    (key::INCOMPLETE, "incomplete"),
    (key::VARIABLE_FLAGS, "variable_flags"),
];

const ARG_FLAGS: Names = &[
    (arg::OPTIONAL as u32, "optional"),
    (arg::MULTIPLE as u32, "multiple"),
    (arg::MULTIPLE_TOKEN as u32, "multiple_token"),
];

const DEPRECATED: u32 = 1;
const SYSCMD: u32 = 2;
const DOC_FLAGS: Names = &[(DEPRECATED, "deprecated"), (SYSCMD, "syscmd")];

/// COMMAND
pub fn command(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    all_infos(&mut ctx.out);
    Ok(())
}

/// COMMAND COUNT
pub fn command_count(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.out.int(table::COMMANDS as i64);
    Ok(())
}

/// COMMAND INFO [name ...]
pub fn command_info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    named_infos(&mut ctx.out, args.from(2));
    Ok(())
}

/// COMMAND DOCS [name ...]
pub fn command_docs(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    named_docs(&mut ctx.out, args.from(2));
    Ok(())
}

/// COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]
pub fn command_list(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    list(&mut ctx.out, args.from(2))
}

/// COMMAND GETKEYS command [argument ...]
pub fn command_getkeys(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let command = args.from(2);
    let keys = keys_of(command)?;
    ctx.out.array(keys.len());
    keys.iter().for_each(|at| ctx.out.bulk(command.at(at.index)));
    Ok(())
}

/// COMMAND GETKEYSANDFLAGS command [argument ...]
pub fn command_getkeysandflags(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    keys_and_flags(&mut ctx.out, args.from(2))
}

/// COMMAND HELP
pub fn command_help(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.out.lines(&[
        "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "(no subcommand)",
        "    Return details about all Redis commands.",
        "COUNT",
        "    Return the total number of commands in this Redis server.",
        "LIST",
        "    Return a list of all commands in this Redis server.",
        "INFO [<command-name> ...]",
        "    Return details about multiple Redis commands.",
        "    If no command names are given, documentation details for all",
        "    commands are returned.",
        "DOCS [<command-name> ...]",
        "    Return documentation details about multiple Redis commands.",
        "    If no command names are given, documentation details for all",
        "    commands are returned.",
        "GETKEYS <full-command>",
        "    Return the keys from a full Redis command.",
        "GETKEYSANDFLAGS <full-command>",
        "    Return the keys and the access flags from a full Redis command.",
        "HELP",
        "    Prints this help.",
    ]);
    Ok(())
}

/// What COMMAND LIST keeps.
enum Filter<'a> {
    None,
    /// There are no modules, so nothing is of one.
    Module,
    /// Bits of [`acl`]; 0 for a category that does not exist.
    Category(u32),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    /// `args`: the kind and its value.
    fn parse(args: Args<'a>) -> Option<Filter<'a>> {
        if args.is(0, "MODULE") {
            Some(Filter::Module)
        } else if args.is(0, "ACLCAT") {
            let named = acl::CATEGORIES.iter().find(|(_, name)| args.is(1, &name[1..]));
            Some(Filter::Category(named.map_or(0, |(bit, _)| *bit)))
        } else if args.is(0, "PATTERN") {
            Some(Filter::Pattern(args.at(1)))
        } else {
            None
        }
    }

    fn keeps(&self, spec: &Spec) -> bool {
        match *self {
            Filter::None => true,
            Filter::Module => false,
            Filter::Category(bit) => spec.acl & bit != 0,
            Filter::Pattern(pattern) => glob::matches(pattern, spec.name.as_bytes(), true),
        }
    }
}

fn list(out: &mut Reply<'_>, args: Args<'_>) -> Done {
    let filter = match args.len() {
        0 => Filter::None,
        3 if args.is(0, "FILTERBY") => Filter::parse(args.from(1)).ok_or(SYNTAX)?,
        _ => return Err(SYNTAX),
    };
    let names: Vec<&str> = table::rows().filter(|s| filter.keeps(s)).map(|s| s.name).collect();
    out.array(names.len());
    names.iter().for_each(|name| out.bulk(name.as_bytes()));
    Ok(())
}

fn keys_and_flags(out: &mut Reply<'_>, command: Args<'_>) -> Done {
    let keys = keys_of(command)?;
    out.array(keys.len());
    for at in keys {
        out.array(2);
        out.bulk(command.at(at.index));
        flags(out, at.flags, KEY_FLAGS);
    }
    Ok(())
}

/// The keys of a whole command, or what COMMAND GETKEYS says instead.
fn keys_of(command: Args<'_>) -> Result<table::Keys, ErrReply> {
    let spec = table::find(command).ok_or(ErrReply::new("ERR Invalid command specified"))?;
    if !table::has_keys(spec) {
        return Err(ErrReply::new("ERR The command has no key arguments"));
    }
    if !spec.arity_fits(command.len()) {
        return Err(ErrReply::new("ERR Invalid number of arguments specified for command"));
    }
    let keys = table::keys_of(spec, command);
    if keys.is_empty() && !spec.has(flag::NO_MANDATORY_KEYS) {
        return Err(ErrReply::new("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

/// A set of the names of those bits that are set.
fn flags(out: &mut Reply<'_>, bits: u32, names: Names) {
    let set = names.iter().filter(|(bit, _)| bits & bit != 0);
    out.set(set.clone().count());
    set.for_each(|(_, name)| out.simple(name));
}

fn text(out: &mut Reply<'_>, name: &str, value: &str) {
    out.bulk(name.as_bytes());
    out.bulk(value.as_bytes());
}

fn number(out: &mut Reply<'_>, name: &str, value: i64) {
    out.bulk(name.as_bytes());
    out.int(value);
}

fn all_infos(out: &mut Reply<'_>) {
    out.array(table::COMMANDS);
    table::all().for_each(|spec| info(out, spec));
}

fn named_infos(out: &mut Reply<'_>, names: Args<'_>) {
    if names.len() == 0 {
        return all_infos(out);
    }
    out.array(names.len());
    for name in names.iter() {
        match table::lookup_full(name) {
            Some(spec) => info(out, spec),
            None => out.null(),
        }
    }
}

/// What COMMAND INFO answers for one command.
fn info(out: &mut Reply<'_>, spec: &Spec) {
    out.array(10);
    out.bulk(spec.name.as_bytes());
    out.int(spec.arity as i64);
    flags(out, spec.flags, FLAGS);
    out.int(spec.legacy.first as i64);
    out.int(spec.legacy.last as i64);
    out.int(spec.legacy.step as i64);
    flags(out, spec.acl, acl::CATEGORIES);
    out.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| out.bulk(tip.as_bytes()));
    out.set(spec.keys.len());
    spec.keys.iter().for_each(|k| key_spec(out, k));
    match spec.subs {
        [] => out.set(0),
        subs => {
            out.array(subs.len());
            subs.iter().for_each(|sub| info(out, sub));
        }
    }
}

fn key_spec(out: &mut Reply<'_>, k: &KeySpec) {
    out.map(3 + !k.notes.is_empty() as usize);
    if !k.notes.is_empty() {
        text(out, "notes", k.notes);
    }
    out.bulk(b"flags");
    flags(out, k.flags, KEY_FLAGS);
    out.bulk(b"begin_search");
    match k.begin {
        Begin::Index(index) => {
            search(out, "index", 1);
            number(out, "index", index as i64);
        }
        Begin::Keyword { word, from } => {
            search(out, "keyword", 2);
            text(out, "keyword", word);
            number(out, "startfrom", from as i64);
        }
        Begin::Unknown => search(out, "unknown", 0),
    }
    out.bulk(b"find_keys");
    match k.find {
        Find::Range { last, step, limit } => {
            search(out, "range", 3);
            number(out, "lastkey", last as i64);
            number(out, "keystep", step as i64);
            number(out, "limit", limit as i64);
        }
        Find::NumKeys { num, first, step } => {
            search(out, "keynum", 3);
            number(out, "keynumidx", num as i64);
            number(out, "firstkey", first as i64);
            number(out, "keystep", step as i64);
        }
        Find::Unknown => search(out, "unknown", 0),
    }
}

/// Opens one half of a key spec, of `n` facts.
fn search(out: &mut Reply<'_>, kind: &str, n: usize) {
    out.map(2);
    text(out, "type", kind);
    out.bulk(b"spec");
    out.map(n);
}

fn named_docs(out: &mut Reply<'_>, names: Args<'_>) {
    let specs: Vec<&Spec> = match names.len() {
        0 => table::all().collect(),
        _ => names.iter().filter_map(table::lookup_full).collect(),
    };
    out.map(specs.len());
    for spec in specs {
        out.bulk(spec.name.as_bytes());
        docs(out, spec);
    }
}

/// What COMMAND DOCS answers for one command.
fn docs(out: &mut Reply<'_>, spec: &Spec) {
    let mut doc_flags = if spec.deprecated.is_some() { DEPRECATED } else { 0 };
    doc_flags |= if spec.has(flag::SYSCMD) { SYSCMD } else { 0 };
    let parts = 3
        + !spec.complexity.is_empty() as usize
        + (doc_flags != 0) as usize
        + 2 * spec.deprecated.is_some() as usize
        + !spec.history.is_empty() as usize
        + !spec.args.is_empty() as usize
        + !spec.subs.is_empty() as usize;
    out.map(parts);
    text(out, "summary", spec.summary);
    text(out, "since", spec.since);
    text(out, "group", spec.group);
    if !spec.complexity.is_empty() {
        text(out, "complexity", spec.complexity);
    }
    if doc_flags != 0 {
        out.bulk(b"doc_flags");
        flags(out, doc_flags, DOC_FLAGS);
    }
    if let Some((by, since)) = spec.deprecated {
        text(out, "deprecated_since", since);
        text(out, "replaced_by", by);
    }
    if !spec.history.is_empty() {
        out.bulk(b"history");
        out.set(spec.history.len());
        for (since, change) in spec.history {
            out.array(2);
            out.bulk(since.as_bytes());
            out.bulk(change.as_bytes());
        }
    }
    if !spec.args.is_empty() {
        out.bulk(b"arguments");
        arguments(out, spec.args);
    }
    if !spec.subs.is_empty() {
        out.bulk(b"subcommands");
        out.map(spec.subs.len());
        for sub in spec.subs {
            out.bulk(sub.name.as_bytes());
            docs(out, sub);
        }
    }
}

fn arguments(out: &mut Reply<'_>, args: &[Arg]) {
    out.array(args.len());
    for a in args {
        let compound = matches!(a.kind, "oneof" | "block");
        // MIGRATE's empty key is a word that stands for itself, and has no letters
        let has_token = !a.token.is_empty() || a.kind == "pure-token";
        let parts = 2
            + (a.key_spec >= 0) as usize
            + has_token as usize
            + !a.since.is_empty() as usize
            + !a.deprecated_since.is_empty() as usize
            + (a.flags != 0) as usize
            + compound as usize;
        out.map(parts);
        text(out, "name", a.name);
        text(out, "type", a.kind);
        if a.key_spec >= 0 {
            number(out, "key_spec_index", a.key_spec as i64);
        }
        if has_token {
            text(out, "token", a.token);
        }
        for (name, value) in [("since", a.since), ("deprecated_since", a.deprecated_since)] {
            if !value.is_empty() {
                text(out, name, value);
            }
        }
        if a.flags != 0 {
            out.bulk(b"flags");
            flags(out, a.flags as u32, ARG_FLAGS);
        }
        if compound {
            out.bulk(b"arguments");
            arguments(out, a.args);
        }
    }
}

#[cfg(test)]
mod tests;
