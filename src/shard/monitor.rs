//! MONITOR: clients that are shown every command.
//!
//! While there is one on the host, every command counts as slow: so it comes to where slow commands are looked
//! at, and nobody pays for a monitor that is not there. A command is shown by its client's shard, to monitors of
//! that shard, and to those of siblings that came by the front door.

use super::Shard;
use super::figures;
use super::pubsub::Heard;
use crate::command::error::{Done, ErrReply};
use crate::command::host::is_secret;
use crate::command::spec::{Run, Spec, Verb, flag};
use crate::resp::Args;
use crate::session::Door;
use bytes::Bytes;

const NOT_IN_EXEC: ErrReply = ErrReply::new("ERR MONITOR isn't allowed for DENY BLOCKING client");

/// Who is shown what.
#[derive(Default)]
pub(super) struct Monitors {
    /// Clients of this shard.
    clients: Vec<u32>,
    /// There are some on the host.
    any: bool,
}

impl Shard {
    /// MONITOR
    pub(super) fn monitor(&mut self, client: u32, out: &mut Vec<u8>) -> Done {
        if self.in_exec {
            return Err(NOT_IN_EXEC);
        }
        let Some(session) = self.clients.get(client).filter(|s| !s.monitor && !s.replica) else {
            return Ok(());
        };
        session.monitor = true;
        session.settle_mode();
        out.extend_from_slice(b"+OK\r\n");
        self.monitors.clients.push(client);
        self.note_monitors();
        Ok(())
    }

    /// A client goes, or begins anew.
    pub(super) fn stop_monitoring(&mut self, client: u32) {
        if let Some(session) = self.clients.get(client).filter(|session| session.monitor) {
            session.monitor = false;
            session.settle_mode();
            self.monitors.clients.retain(|monitor| *monitor != client);
            self.note_monitors();
        }
    }

    /// All shards look again whether there are monitors, with their next turn.
    fn note_monitors(&mut self) {
        self.host.registers.audience.set_monitors(self.at.me, self.monitors.clients.len());
        self.host.live.touch();
        self.configure_monitors();
    }

    /// From how many ticks on a command is looked at once more when it has been executed.
    pub(super) fn configure_monitors(&mut self) {
        let audience = &self.host.registers.audience;
        self.monitors.any = (0..self.at.shards).any(|shard| audience.monitors(shard) > 0);
        let slow = figures::slow_ticks(&self.conf, self.ticks.per_us);
        self.slow_ticks = if self.monitors.any { 0 } else { slow };
    }

    #[inline]
    pub(super) fn is_monitored(&self) -> bool {
        self.monitors.any
    }

    /// Shows a command of a client of ours.
    #[inline]
    pub(super) fn show_if_monitored(&mut self, client: u32, spec: &Spec, args: Args<'_>) {
        if self.monitors.any && !spec.has(flag::SKIP_MONITOR | flag::ADMIN) {
            self.show(client, args);
        }
    }

    /// The same of what runs a script: it is shown before what that calls.
    pub(super) fn show_script_if_monitored(&mut self, client: u32, spec: &Spec, args: Args<'_>) {
        if self.monitors.any && is_script(spec) {
            self.show(client, args);
        }
    }

    /// Shows what a script has called.
    #[inline]
    pub(super) fn show_call_if_monitored(&mut self, db: usize, spec: &Spec, args: Args<'_>) {
        if self.monitors.any && !spec.has(flag::SKIP_MONITOR | flag::ADMIN) {
            self.show_to_all(line(self.now.unix_us, db, "lua", args));
        }
    }

    #[cold]
    fn show(&mut self, client: u32, args: Args<'_>) {
        let Some(session) = self.clients.peek(client) else { return };
        let from = match session.addr.starts_with('/') {
            true => format!("unix:{}", self.conf.unixsocket),
            false => session.addr.clone(),
        };
        self.show_to_all(line(self.now.unix_us, session.caller.db, &from, args));
    }

    fn show_to_all(&mut self, line: Vec<u8>) {
        let line = Bytes::from(line);
        self.show_line(&line, false);
        let audience = &self.host.registers.audience;
        let others: Vec<usize> =
            (0..self.at.shards).filter(|&s| s != self.at.me && audience.monitors(s) > 0).collect();
        others.into_iter().for_each(|to| self.send_heard(to, Heard::Command(line.clone())));
    }

    /// Shows a command to monitors of this shard; one of a sibling's clients at the front door only.
    pub(super) fn show_line(&mut self, line: &[u8], of_sibling: bool) {
        for client in self.monitors.clients.clone() {
            let Some(session) = self.clients.get(client) else { continue };
            if of_sibling && session.door == Door::Own {
                continue;
            }
            session.append(line);
            Shard::list(&mut self.news, client, session);
            self.cut_off_if_overflown(client);
        }
    }
}

fn is_script(spec: &Spec) -> bool {
    spec.has(flag::SKIP_MONITOR) && matches!(spec.run, Run::Above(Verb::Script(_)))
}

/// A command as monitors see it: when, where, by whom, and its words.
fn line(unix_us: u64, db: usize, from: &str, args: Args<'_>) -> Vec<u8> {
    let (seconds, us) = (unix_us / 1_000_000, unix_us % 1_000_000);
    let mut out = format!("+{seconds}.{us:06} [{db} {from}]").into_bytes();
    for (i, arg) in args.iter().enumerate() {
        out.push(b' ');
        quote(&mut out, if is_secret(args, i) { b"(redacted)" } else { arg });
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn words_are_quoted_as_redis_quotes_them() {
        let mut out = Vec::new();
        quote(&mut out, b"a \"b\\\r\n\t\x07\x08\x00\xff~");
        assert_eq!(out, br#""a \"b\\\r\n\t\a\b\x00\xff~""#);
    }
}
