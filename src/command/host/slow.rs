//! Commands that were slow, as SLOWLOG shows them.

use crate::config::table::SENSITIVE;
use crate::limits::{SLOWLOG_ARG_BYTES, SLOWLOG_ARGS};
use crate::resp::Args;
use std::collections::VecDeque;

/// A command that took its time.
#[derive(Clone, Debug)]
pub struct SlowEntry {
    pub id: u64,
    /// Unix seconds.
    pub time: u64,
    /// Microseconds.
    pub duration: u64,
    /// Cut short; see [`shortened`].
    pub args: Vec<Vec<u8>>,
    /// Address and port; empty when the client had left before its command ended.
    pub addr: String,
    pub name: Vec<u8>,
}

/// One shard's entries, the latest first.
#[derive(Debug, Default)]
pub struct SlowLog(VecDeque<SlowEntry>);

impl SlowLog {
    /// Adds an entry and forgets the oldest beyond `max`.
    pub fn push(&mut self, entry: SlowEntry, max: usize) {
        self.0.push_front(entry);
        self.0.truncate(max);
    }

    /// The latest first.
    pub fn iter(&self) -> impl Iterator<Item = &SlowEntry> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// A command's arguments as the log keeps them: secrets hidden, and no more and no longer ones than
/// the limits say.
pub fn shortened(args: Args<'_>) -> Vec<Vec<u8>> {
    let shown = if args.len() > SLOWLOG_ARGS { SLOWLOG_ARGS - 1 } else { args.len() };
    let cut = |(i, arg): (usize, &[u8])| {
        if is_secret(args, i) {
            return b"(redacted)".to_vec();
        }
        let (head, rest) = arg.split_at(arg.len().min(SLOWLOG_ARG_BYTES));
        match rest.len() {
            0 => head.to_vec(),
            n => [head, format!("... ({n} more bytes)").as_bytes()].concat(),
        }
    };
    let mut out: Vec<Vec<u8>> = args.iter().enumerate().take(shown).map(cut).collect();
    if shown < args.len() {
        out.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    out
}

/// Whether an argument is a name or a password that no log may show.
pub fn is_secret(args: Args<'_>, i: usize) -> bool {
    if args.is(0, "AUTH") {
        return i > 0 && args.len() <= 3;
    }
    if args.is(0, "ACL") {
        return i > 1 && args.is(1, "SETUSER");
    }
    if args.is(0, "HELLO") {
        return (i >= 3 && args.is(i - 1, "AUTH")) || (i >= 4 && args.is(i - 2, "AUTH"));
    }
    if args.is(0, "MIGRATE") {
        let auth = (5..i).any(|at| args.is(at, "AUTH") && i == at + 1 || args.is(at, "AUTH2") && i <= at + 2);
        return auth && i > 5;
    }
    let is_setting = args.is(0, "CONFIG") && args.is(1, "SET") && i >= 3 && i % 2 == 1;
    is_setting && crate::config::lookup(args.at(i - 1)).is_some_and(|(row, _)| row.has(SENSITIVE))
}

#[cfg(test)]
mod tests {
    use super::shortened;
    use crate::resp::args::OwnedArgs;

    #[test]
    fn arguments_are_cut_and_secrets_hidden() {
        let shown = |words: &[&str]| -> Vec<String> {
            let args = OwnedArgs::new(words);
            let text = |a: Vec<u8>| String::from_utf8(a).unwrap();
            shortened(args.as_args()).into_iter().map(text).collect()
        };
        let long = "x".repeat(130);
        assert_eq!(shown(&["SET", "k", &long])[2], format!("{}... (2 more bytes)", "x".repeat(128)));
        let many = shown(&["k"; 40]);
        assert_eq!((many.len(), many[31].as_str()), (32, "... (9 more arguments)"));
        assert_eq!(shown(&["k"; 32]).len(), 32);
        assert_eq!(shown(&["auth", "u", "p"]), ["auth", "(redacted)", "(redacted)"]);
        let hello = shown(&["HELLO", "3", "AUTH", "u", "p", "SETNAME", "me"]);
        assert_eq!(hello[3..], ["(redacted)", "(redacted)", "SETNAME", "me"]);
        let migrate = shown(&["migrate", "h", "1", "", "0", "9", "COPY", "AUTH2", "u", "p", "KEYS", "k"]);
        assert_eq!(migrate[7..], ["AUTH2", "(redacted)", "(redacted)", "KEYS", "k"]);
        assert_eq!(shown(&["acl", "SetUser", "u", ">p"])[2..], ["(redacted)", "(redacted)"]);
        let set = shown(&["CONFIG", "SET", "maxmemory", "1", "RequirePass", "s"]);
        assert_eq!(set[2..], ["maxmemory", "1", "RequirePass", "(redacted)"]);
    }
}
