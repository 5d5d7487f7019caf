//! Commands about the client that sends them, and about the shard as a whole: what needs more than
//! a keyspace. Those about other clients are in `others`.

use super::Shard;
use crate::command::connection::{BAD_NAME, is_word};
use crate::command::ctx::Aside;
use crate::command::error::{Done, ErrReply, SYNTAX};
use crate::command::host::{Asked, COMPATIBLE_VERSION};
use crate::command::spec::{Spec, Verb};
use crate::resp::{Args, Reply};
use crate::session::{Hold, ReplyMode, Session};
use crate::util::num::parse_i64;

const NO_PASSWORD_SET: ErrReply = ErrReply::new(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure \
     your configuration is correct?",
);
const NO_PROTO: ErrReply = ErrReply::new("NOPROTO unsupported protocol version");
const BAD_PROTO: ErrReply = ErrReply::new("ERR Protocol version is not an integer or out of range");
const HELLO_NO_AUTH: ErrReply = ErrReply::new(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
     <user> <pass> option can be used to authenticate the client and select the RESP protocol version \
     at the same time",
);
const NO_SHUTDOWN: ErrReply = ErrReply::new("ERR No shutdown in progress.");
const SHUTDOWN_ABORTED: ErrReply = ErrReply::new("ERR Errors trying to SHUTDOWN. Check logs.");

/// A client that asked for SHUTDOWN waits for it, and for nothing else.
const UNTIL_SHUTDOWN: Hold = Hold::Until(u64::MAX);
/// Writers wait until the host has ended, or does not end.
const UNTIL_ENDED: u64 = u64::MAX - 1;

impl Shard {
    /// A verb of a client of this shard.
    pub(super) fn run_verb(&mut self, client: u32, verb: Verb, spec: &'static Spec, args: Args<'_>) {
        let started = (self.ticks.read)();
        let mut out = Vec::new();
        let done = match verb {
            Verb::Hello => self.hello(client, args, &mut out),
            Verb::Auth => self.auth(client, args, &mut out),
            Verb::Reset => self.reset(client, &mut out),
            Verb::Quit => {
                out.extend_from_slice(b"+OK\r\n");
                self.hang_up(client);
                Ok(())
            }
            Verb::ClientReply => self.client_reply(client, args, &mut out),
            Verb::ClientInfo => self.client_info(client, args, &mut out),
            Verb::Shutdown => self.shut_down(client, args, &mut out),
            Verb::Plane => self.ask_plane(client, args),
            Verb::Balance => self.balance(client, args, &mut out),
            Verb::Migrate => self.migrate(client, args),
            Verb::Multi | Verb::Exec | Verb::Discard | Verb::Watch | Verb::Unwatch => {
                self.transact(client, verb, args, &mut out)
            }
            Verb::Failover => self.failover(args, &mut out),
            Verb::Replconf => self.replconf(client, args, &mut out),
            Verb::Replicaof => self.replicaof(client, args, &mut out),
            Verb::Role => {
                self.role(&mut out);
                Ok(())
            }
            Verb::Sync => self.sync(client, args),
            Verb::Wait => self.wait(client, args, &mut out),
            Verb::Subscribe(kind) => self.subscribe(client, kind, args),
            Verb::Unsubscribe(kind) => self.unsubscribe(client, kind, args),
            Verb::ClientTracking => self.client_tracking(client, args, &mut out),
            Verb::ClientCaching => self.client_caching(client, args, &mut out),
            Verb::ClientGetredir => self.client_getredir(client, &mut out),
            Verb::ClientTrackinginfo => self.client_trackinginfo(client, &mut out),
            Verb::Monitor => self.monitor(client, &mut out),
            Verb::Publish(kind) => self.publish_for(client, kind, args, &mut out),
            Verb::WaitAof => self.wait_aof(client, args, &mut out),
            Verb::Script(script) => self.run_script_of(client, script, spec, args, &mut out),
            Verb::BgSave
            | Verb::BgRewriteAof
            | Verb::ClientKill
            | Verb::ClientList
            | Verb::ClientPause
            | Verb::ClientUnblock
            | Verb::ClientUnpause => {
                let caller = self.clients.get(client).map(|s| s.caller.clone()).unwrap_or_default();
                self.host_verb(verb, spec, &caller, args, &mut out)
            }
        };
        if let Err(error) = &done {
            self.metrics.error(error.bytes());
            out.clear();
            Reply::new(&mut out, false).error(error.bytes());
        }
        let failed = out.first() == Some(&b'-');
        if !out.is_empty() {
            self.say(client, &out);
        }
        if matches!(verb, Verb::Script(_)) && !self.trackers.defers {
            self.tell_pending(client);
        }
        self.after(spec, args, started, failed, Some(client));
    }

    fn session(&mut self, client: u32) -> &mut Session {
        self.clients.get(client).expect("a verb runs for a client that is there")
    }

    /// HELLO [version [AUTH user password] [SETNAME name]]
    fn hello(&mut self, client: u32, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        let version = args.get(1).map(|v| parse_i64(v).ok_or(BAD_PROTO)).transpose()?;
        if version.is_some_and(|v| !(2..=3).contains(&v)) {
            return Err(NO_PROTO);
        }
        let mut i = 2;
        while i < args.len() {
            let more = args.len() - 1 - i;
            if args.is(i, "AUTH") && more >= 2 {
                self.authenticate(client, args, args.at(i + 1), args.at(i + 2))?;
                i += 3;
            } else if args.is(i, "SETNAME") && more >= 1 {
                if !is_word(args.at(i + 1)) {
                    return Err(BAD_NAME);
                }
                self.session(client).caller.name = args.at(i + 1).to_vec();
                i += 2;
            } else {
                let option = String::from_utf8_lossy(args.at(i));
                return Err(ErrReply::owned(format!("ERR Syntax error in HELLO option '{option}'")));
            }
        }
        let (cluster, replica) = (self.at.cluster, self.repl.is_replica());
        let caller = &mut self.session(client).caller;
        if !caller.authenticated {
            return Err(HELLO_NO_AUTH);
        }
        if let Some(version) = version {
            caller.resp3 = version == 3;
            self.session(client).settle_mode();
        }
        let caller = &self.session(client).caller;
        let mut out = Reply::new(out, caller.resp3);
        out.map(7);
        out.bulk(b"server");
        out.bulk(b"redis");
        out.bulk(b"version");
        out.bulk(COMPATIBLE_VERSION.as_bytes());
        out.bulk(b"proto");
        out.int(if caller.resp3 { 3 } else { 2 });
        out.bulk(b"id");
        out.int(caller.id as i64);
        out.bulk(b"mode");
        out.bulk(if cluster { b"cluster" } else { b"standalone" });
        out.bulk(b"role");
        out.bulk(if replica { b"replica" } else { b"master" });
        out.bulk(b"modules");
        out.array(0);
        Ok(())
    }

    /// AUTH [user] password
    fn auth(&mut self, client: u32, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        match args.len() {
            2 if self.users.the_default().takes_any_password() => return Err(NO_PASSWORD_SET),
            2 => self.authenticate(client, args, b"default", args.at(1))?,
            3 => self.authenticate(client, args, args.at(1), args.at(2))?,
            _ => return Err(SYNTAX),
        }
        out.extend_from_slice(b"+OK\r\n");
        Ok(())
    }

    /// RESET: the connection as it was when it was new.
    fn reset(&mut self, client: u32, out: &mut Vec<u8>) -> Done {
        let (authenticated, user) = (!self.conditions.auth_required, self.users.the_default().clone());
        self.discard_multi(client);
        self.stop_listening_at_all(client);
        self.stop_monitoring(client);
        self.stop_tracking(client);
        let session = self.session(client);
        if session.reply_mode == ReplyMode::Off {
            session.reply_mode = ReplyMode::On;
        }
        let caller = &mut session.caller;
        caller.db = 0;
        caller.resp3 = false;
        caller.authenticated = authenticated;
        caller.name.clear();
        caller.readonly = false;
        caller.no_touch = false;
        session.become_user(user);
        out.extend_from_slice(b"+RESET\r\n");
        Ok(())
    }

    /// CLIENT REPLY (ON | OFF | SKIP)
    fn client_reply(&mut self, client: u32, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        let session = self.session(client);
        if args.is(2, "ON") {
            session.reply_mode = ReplyMode::On;
            out.extend_from_slice(b"+OK\r\n");
        } else if args.is(2, "OFF") {
            session.reply_mode = ReplyMode::Off;
        } else if args.is(2, "SKIP") {
            if session.reply_mode != ReplyMode::Off {
                session.reply_mode = ReplyMode::SkipNext;
            }
        } else {
            return Err(SYNTAX);
        }
        Ok(())
    }

    /// SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]
    fn shut_down(&mut self, client: u32, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        let (mut save, mut nosave, mut now, mut force, mut abort) = (false, false, false, false, false);
        for i in 1..args.len() {
            match args.at(i).to_ascii_lowercase().as_slice() {
                b"save" => save = true,
                b"nosave" => nosave = true,
                b"now" => now = true,
                b"force" => force = true,
                b"abort" => abort = true,
                _ => return Err(SYNTAX),
            }
        }
        if (abort && (save || nosave || now || force)) || (save && nosave) {
            return Err(SYNTAX);
        }
        let shutdown = &self.host.registers.shutdown;
        if abort {
            if !shutdown.abort() {
                return Err(NO_SHUTDOWN);
            }
            tracing::info!("Shutdown manually aborted.");
            self.release_if_aborted();
            out.extend_from_slice(b"+OK\r\n");
            return Ok(());
        }
        if !nosave && let Some(busy) = self.refusal() {
            return Err(busy);
        }
        let save = save || (!nosave && !self.conf.save.0.is_empty());
        self.shutdown = Some(shutdown.ask(Asked { save, force, now }));
        self.session(client).hold = UNTIL_SHUTDOWN;
        Ok(())
    }

    /// While the host waits for its replicas before it ends, nothing is written.
    pub(super) fn heed_shutdown(&mut self) {
        let waits = self.host.registers.shutdown.waits_until().is_some();
        if std::mem::replace(&mut self.ending, waits) == waits {
            return;
        }
        if !waits {
            return self.unpause();
        }
        let c = &mut self.conditions;
        c.pause_writes_only |= c.paused_until <= self.now.ms();
        c.paused_until = UNTIL_ENDED;
        self.ask_for_acks();
    }

    /// Lets clients go on that asked for a SHUTDOWN which was aborted, here or on another shard.
    pub(super) fn release_if_aborted(&mut self) {
        if self.shutdown.is_none_or(|asked| self.host.registers.shutdown.aborts() == asked) {
            return;
        }
        self.shutdown = None;
        let held: Vec<u32> =
            self.clients.iter().filter(|(_, s)| s.hold == UNTIL_SHUTDOWN).map(|(client, _)| client).collect();
        for client in held {
            self.say_error(client, &SHUTDOWN_ABORTED);
            if self.session(client).let_go() {
                self.resume.push(client);
            }
        }
    }

    /// Does what a command asked of the shard itself.
    #[cold]
    pub(super) fn apply_aside(
        &mut self,
        aside: Aside,
        client: Option<u32>,
        command: (&'static Spec, Args<'_>),
    ) {
        match aside {
            Aside::Wait { until_ms, nothing } => {
                let again = self.fx.again.take();
                if let Some(client) = client {
                    self.block(client, command, again, (until_ms, nothing));
                }
            }
            Aside::Swapped => self.look_again(None),
            Aside::Close => {
                if let Some(client) = client {
                    self.hang_up(client);
                }
            }
            Aside::Flushed => self.flushed(),
            Aside::Saved => self.note_disk(),
            Aside::LoadLog => self.reload = true,
            Aside::Slept(us) => {
                self.now.unix_us = self.now.unix_us.saturating_add(us);
                self.clock.now_ms = self.now.ms();
            }
            Aside::Configured => {
                self.take_up_users(client);
                self.reconfigure();
                self.tell_of_log();
            }
            Aside::DropPackets(kind) => self.tell_plane(&["drop-packets", &kind.to_string()]),
            Aside::KillLinks { which, node } => {
                self.tell_plane(&["kill-links", which, &String::from_utf8_lossy(&node)]);
            }
        }
    }
}
