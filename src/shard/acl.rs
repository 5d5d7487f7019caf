//! Who the clients are, and what they may do.
//!
//! Clients of the default user, as it is by default, may do everything, and are not asked: others are in a mode
//! of their own ([`Mode::Apart`](crate::session::Mode)). A command is asked for where its client is, before it
//! goes anywhere; [`Shard::permit`] is the only place. What a primary, a log or a sibling sends has no user.

use super::Shard;
use super::loan::needs_everything;
use super::others::sizes;
use crate::command::acl::log::Entry;
use crate::command::acl::{Context, Reason, User};
use crate::command::acl_cmd::{self, Denied};
use crate::command::error::{Done, ErrReply};
use crate::command::host::Kind;
use crate::command::spec::{Run, Spec, Verb};
use crate::limits::ACL_LOG_TEXT;
use crate::resp::Args;
use crate::session::Session;
use std::sync::Arc;

const WRONG_PASS: ErrReply = ErrReply::new("WRONGPASS invalid username-password pair or user is disabled.");

impl Shard {
    /// Whether the default user needs no password.
    pub fn takes_any_password(&self) -> bool {
        self.users.the_default().takes_any_password()
    }

    /// Takes up the host's users as they are now: clients whose user is gone go, too, and those that listen to
    /// what is no longer for them. `current` is the one that runs a command: it gets its reply.
    pub(super) fn take_up_users(&mut self, current: Option<u32>) {
        let before = std::mem::replace(&mut self.users, self.host.registers.users.snapshot());
        let default = self.users.the_default();
        self.conditions.auth_required = !(default.takes_any_password() && default.is_on());
        if Arc::ptr_eq(&before, &self.users) {
            return;
        }
        let mut gone: Vec<u32> = Vec::new();
        for (client, session) in self.clients.iter_mut() {
            let Some(before) = session.caller.user.clone() else { continue };
            match self.users.get(&before.name).filter(|user| user.id == before.id) {
                Some(user) if Arc::ptr_eq(user, &before) => {}
                Some(user) => {
                    if !user.keeps_channels_of(&before) && hears_too_much(session, user) {
                        gone.push(client);
                    }
                    session.become_user(user.clone());
                }
                None => {
                    session.become_user(default.clone());
                    session.caller.authenticated = false;
                    gone.push(client);
                }
            }
        }
        for client in gone {
            match current == Some(client) {
                true => self.hang_up(client),
                false => self.throw_out(client),
            }
        }
    }

    /// Whether a client's user may run a command. All that runs for a client is asked for here, once it is known
    /// that it has logged in.
    pub(super) fn permit(
        &mut self,
        client: u32,
        spec: &'static Spec,
        args: Args<'_>,
        context: Context,
    ) -> Done {
        let Some(session) = self.clients.get(client) else { return Ok(()) };
        let Some(user) = session.caller.user.clone() else { return Ok(()) };
        session.caller.confined = false;
        let confined = self.permit_user((client, &user), spec, args, context)?;
        if let Some(session) = self.clients.get(client) {
            session.caller.confined = confined;
        }
        Ok(())
    }

    /// The same for a user; whether what the command reads without naming it is not for him.
    pub(super) fn permit_user(
        &mut self,
        (client, user): (u32, &User),
        spec: &'static Spec,
        args: Args<'_>,
        context: Context,
    ) -> Result<bool, ErrReply> {
        if user.is_unrestricted() {
            return Ok(false);
        }
        match acl_cmd::may(user, spec, args) {
            Ok(()) => Ok(needs_everything(spec, args) && !acl_cmd::reads_everything(user, spec, args)),
            Err(Denied { reason, index }) => {
                if let Some(session) = self.clients.get(client) {
                    session.last = Some(spec);
                }
                let object = if reason == Reason::Command { spec.name.as_bytes() } else { args.at(index) };
                self.note_denied(client, args, (reason, context), object, &user.name);
                Err(refusal(spec, reason, context))
            }
        }
    }

    /// Whether a client's user may do only some of everything: its scripts are executed here, where it is known.
    pub(super) fn keeps_scripts(&mut self, client: u32, spec: &Spec) -> bool {
        let restricted =
            |session: &mut Session| session.caller.user.as_ref().is_some_and(|u| !u.is_unrestricted());
        matches!(spec.run, Run::Above(Verb::Script(_))) && self.clients.get(client).is_some_and(restricted)
    }

    /// Tells ACL LOG and INFO.
    #[cold]
    fn note_denied(
        &mut self,
        client: u32,
        args: Args<'_>,
        (reason, context): (Reason, Context),
        object: &[u8],
        user: &[u8],
    ) {
        self.metrics.denied[reason as usize].inc();
        let at_ms = self.now.ms();
        let Some(session) = self.clients.peek(client) else { return };
        let mut text = Vec::new();
        self.describe((client, session), at_ms, sizes(args), &mut text);
        let client = text.trim_ascii_end().to_vec();
        let cut = |text: &[u8]| text[..text.len().min(ACL_LOG_TEXT)].to_vec();
        let (object, user) = (cut(object), cut(user));
        let entry = Entry { count: 1, reason, context, object, user, at_ms, client };
        let max = usize::try_from(self.conf.acllog_max_len).unwrap_or(usize::MAX);
        self.host.registers.users.log().note(entry, max);
    }

    /// A client logs in, by the command `args`.
    pub(super) fn authenticate(&mut self, client: u32, args: Args<'_>, name: &[u8], password: &[u8]) -> Done {
        let found = self.users.authenticate(name, password).cloned();
        let session = self.clients.get(client).expect("a verb runs for a client that is there");
        let Some(user) = found else {
            let queued = session.multi.is_some() || self.in_exec;
            let context = if queued { Context::Exec } else { Context::Toplevel };
            self.note_denied(client, args, (Reason::Auth, context), args.at(0), name);
            return Err(WRONG_PASS);
        };
        session.caller.authenticated = true;
        session.become_user(user);
        Ok(())
    }
}

/// Whether a client listens to what its user may not hear.
fn hears_too_much(session: &Session, user: &User) -> bool {
    let Some(subs) = &session.subs else { return false };
    let all = [Kind::Channel, Kind::Pattern, Kind::Sharded];
    all.iter().any(|kind| subs.names(*kind).iter().any(|name| !user.may_hear(name, *kind == Kind::Pattern)))
}

#[cold]
fn refusal(spec: &Spec, reason: Reason, context: Context) -> ErrReply {
    let text = match (context, reason) {
        (Context::Toplevel | Context::Queueing, Reason::Key) => {
            "NOPERM this user has no permissions to access one of the keys used as arguments".into()
        }
        (Context::Toplevel | Context::Queueing, Reason::Channel) => {
            "NOPERM this user has no permissions to access one of the channels used as arguments".into()
        }
        (Context::Toplevel | Context::Queueing, _) => {
            format!("NOPERM this user has no permissions to run the '{}' command", spec.name)
        }
        (Context::Exec, _) => {
            let why = match reason {
                Reason::Key => "no permission to touch the specified keys",
                Reason::Channel => "no permission to access one of the channels used as arguments",
                _ => "no permission to execute the command or subcommand",
            };
            format!(
                "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
                 command is no longer allowed for the following reason: {why}"
            )
        }
        (Context::Script, _) => {
            let why = match reason {
                Reason::Key => "can't access at least one of the keys mentioned in the command arguments",
                Reason::Channel => "can't publish to the channel mentioned in the command",
                _ => "can't run this command or subcommand",
            };
            format!("ERR The user executing the script {why}")
        }
    };
    let exec = spec.name == "exec";
    ErrReply::owned(if exec { format!("EXECABORT Transaction discarded because of: {text}") } else { text })
}
