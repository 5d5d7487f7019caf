//! What the HELP subcommands answer.

use crate::resp::{Args, Reply};

/// `lines` between the words that every HELP has in common. `args` name the command, as sent.
pub fn write(out: &mut Reply<'_>, args: Args<'_>, lines: &[&str]) {
    let name = String::from_utf8_lossy(args.at(0)).to_uppercase();
    out.array(lines.len() + 3);
    out.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    lines.iter().for_each(|line| out.simple(line));
    out.simple("HELP");
    out.simple("    Prints this help.");
}
