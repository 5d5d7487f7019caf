//! Connections: what a client says about itself, and the words of CLIENT that need no other client.
//!
//! HELLO, AUTH, RESET, QUIT and the subcommands about other clients are verbs of the shard.

use super::ctx::Ctx;
use super::error::{Done, ErrReply, NOT_INT, SYNTAX, arity};
use super::help;
use crate::resp::Args;
use crate::util::num::parse_i64;

pub const BAD_NAME: ErrReply =
    ErrReply::new("ERR Client names cannot contain spaces, newlines or special characters.");
const DB_INDEX: ErrReply = ErrReply::new("ERR DB index is out of range");
const SELECT_IN_CLUSTER: ErrReply = ErrReply::new("ERR SELECT is not allowed in cluster mode");

const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Control server assisted client side caching.",
    "TRACKINGINFO",
    "    Report tracking status for the current connection.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
];

/// PING [message]
pub fn ping(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    match args.len() {
        1 | 2 if ctx.caller.subscribed && !ctx.out.resp3() => {
            ctx.out.array(2);
            ctx.out.bulk(b"pong");
            ctx.out.bulk(args.get(1).unwrap_or_default());
        }
        1 => ctx.out.raw(b"+PONG\r\n"),
        2 => ctx.out.bulk(args.at(1)),
        _ => return Err(arity("ping")),
    }
    Ok(())
}

/// ECHO message
pub fn echo(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.out.bulk(args.at(1));
    Ok(())
}

/// SELECT index
pub fn select(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let index = parse_i64(args.at(1)).ok_or(NOT_INT)?;
    let index = i32::try_from(index).map_err(|_| {
        let (min, max) = (i32::MIN, i32::MAX);
        ErrReply::owned(format!("ERR value is out of range, value must between {min} and {max}"))
    })?;
    if ctx.host.cluster && index != 0 {
        return Err(SELECT_IN_CLUSTER);
    }
    match usize::try_from(index) {
        Ok(index) if index < ctx.ks.databases() => {
            ctx.caller.db = index;
            ctx.out.ok();
            Ok(())
        }
        _ => Err(DB_INDEX),
    }
}

/// CLIENT ID
pub fn client_id(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.out.int(ctx.caller.id as i64);
    Ok(())
}

/// CLIENT GETNAME
pub fn client_getname(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let name = &ctx.caller.name;
    ctx.out.bulk_or_null((!name.is_empty()).then_some(&name[..]));
    Ok(())
}

/// CLIENT SETNAME name; an empty one takes the name away.
pub fn client_setname(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !is_word(args.at(2)) {
        return Err(BAD_NAME);
    }
    ctx.caller.name = args.at(2).to_vec();
    ctx.out.ok();
    Ok(())
}

/// CLIENT SETINFO (LIB-NAME | LIB-VER) text
pub fn client_setinfo(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let option = String::from_utf8_lossy(args.at(2));
    let caller = &mut *ctx.caller;
    let field = match option.to_ascii_lowercase().as_str() {
        "lib-name" => &mut caller.lib_name,
        "lib-ver" => &mut caller.lib_ver,
        _ => return Err(ErrReply::owned(format!("ERR Unrecognized option '{option}'"))),
    };
    if !is_word(args.at(3)) {
        let text = format!("ERR {option} cannot contain spaces, newlines or special characters.");
        return Err(ErrReply::owned(text));
    }
    *field = args.at(3).to_vec();
    ctx.out.ok();
    Ok(())
}

/// CLIENT NO-EVICT (ON | OFF)
pub fn client_no_evict(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.caller.no_evict = on_or_off(args.at(2))?;
    ctx.out.ok();
    Ok(())
}

/// CLIENT NO-TOUCH (ON | OFF)
pub fn client_no_touch(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    ctx.caller.no_touch = on_or_off(args.at(2))?;
    ctx.out.ok();
    Ok(())
}

/// CLIENT HELP
pub fn client_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}

fn on_or_off(word: &[u8]) -> Result<bool, ErrReply> {
    match word {
        w if w.eq_ignore_ascii_case(b"on") => Ok(true),
        w if w.eq_ignore_ascii_case(b"off") => Ok(false),
        _ => Err(SYNTAX),
    }
}

/// Whether a name can stand in CLIENT LIST, where fields are split at blanks.
pub fn is_word(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::World;

    #[test]
    fn answers_about_itself() {
        World::new().check(&[
            ("PING", "+PONG|"),
            ("PING \"\"", "$0||"),
            ("PING a b", "-ERR wrong number of arguments for 'ping' command|"),
            ("ECHO x", "$1|x|"),
            ("SELECT 15", "+OK|"),
            ("SELECT 16", "-ERR DB index is out of range|"),
            ("SELECT -1", "-ERR DB index is out of range|"),
            ("SELECT abc", "-ERR value is not an integer or out of range|"),
            (
                "SELECT 4294967296",
                "-ERR value is out of range, value must between -2147483648 and 2147483647|",
            ),
            ("CLIENT ID", ":1|"),
            ("CLIENT GETNAME", "$-1|"),
            ("CLIENT SETNAME a~!", "+OK|"),
            ("CLIENT GETNAME", "$3|a~!|"),
            (
                "CLIENT SETNAME \"a b\"",
                "-ERR Client names cannot contain spaces, newlines or special characters.|",
            ),
            ("CLIENT GETNAME", "$3|a~!|"),
            ("CLIENT SETNAME \"\"", "+OK|"),
            ("CLIENT GETNAME", "$-1|"),
            ("CLIENT NO-EVICT on", "+OK|"),
            ("CLIENT NO-TOUCH maybe", "-ERR syntax error|"),
            ("CLIENT SETINFO LIB-NAME redis-py(x)", "+OK|"),
            (
                "CLIENT SETINFO lib-ver \"1 2\"",
                "-ERR lib-ver cannot contain spaces, newlines or special characters.|",
            ),
            ("CLIENT SETINFO lib-x 1", "-ERR Unrecognized option 'lib-x'|"),
        ]);
    }

    #[test]
    fn one_database_in_a_cluster() {
        let mut w = World::new();
        w.host.cluster = true;
        w.check(&[("SELECT 0", "+OK|"), ("SELECT 1", "-ERR SELECT is not allowed in cluster mode|")]);
    }
}
