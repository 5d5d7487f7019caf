//! MODULE: there are none, and none can be loaded.

use super::ctx::Ctx;
use super::error::{Done, ErrReply};
use super::help;
use crate::config::types::ProtectedAction;
use crate::resp::Args;

const NOT_ALLOWED: ErrReply = ErrReply::new(
    "ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you can run it \
     from a local connection, otherwise you need to set this option in the configuration file, and then restart \
     the server.",
);
const NOT_LOADED: ErrReply = ErrReply::new("ERR Error loading the extension. Please check the server logs.");
const NO_SUCH_MODULE: ErrReply = ErrReply::new("ERR Error unloading module: no such module with that name");

const HELP: &[&str] = &[
    "LIST",
    "    Return a list of loaded modules.",
    "LOAD <path> [<arg> ...]",
    "    Load a module library from <path>, passing to it any optional arguments.",
    "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
    "    Load a module library from <path>, while passing it module configurations and optional arguments.",
    "UNLOAD <name>",
    "    Unload a module.",
];

fn check_allowed(ctx: &Ctx<'_>) -> Done {
    match ctx.conf.enable_module_command {
        ProtectedAction::Yes => Ok(()),
        ProtectedAction::Local if ctx.caller.local => Ok(()),
        _ => Err(NOT_ALLOWED),
    }
}

/// MODULE HELP
pub fn module_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}

/// MODULE LIST
pub fn module_list(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    ctx.out.array(0);
    Ok(())
}

/// MODULE LOAD path [argument ...], MODULE LOADEX path [CONFIG name value ...] [ARGS argument ...]
pub fn module_load(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    check_allowed(ctx)?;
    tracing::warn!("Modules are not supported: {} is not loaded", String::from_utf8_lossy(args.at(2)));
    Err(NOT_LOADED)
}

/// MODULE UNLOAD name
pub fn module_unload(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    check_allowed(ctx)?;
    Err(NO_SUCH_MODULE)
}
