//! Commands about other clients: each shard does its part, for its own clients.

use super::Shard;
use super::fanout::sent_bytes;
use crate::command::acl::Users;
use crate::command::ctx::Caller;
use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX, subcommand_syntax};
use crate::command::host::Kind as Listens;
use crate::command::spec::{Spec, Verb};
use crate::limits::REPLY_BUFFER;
use crate::resp::{Args, Reply};
use crate::session::{Hold, Session, Tracking};
use crate::util::num::parse_i64;
use std::io::Write;

/// What is shown of who may do anything.
const NOBODY: &[u8] = b"(superuser)";

impl Shard {
    /// This shard's part of a verb that every shard takes part in.
    pub(super) fn host_verb(
        &mut self,
        verb: Verb,
        spec: &'static Spec,
        caller: &Caller,
        args: Args<'_>,
        out: &mut Vec<u8>,
    ) -> Done {
        match verb {
            Verb::Script(script) => self.run_script((script, spec), (caller, None), args, out),
            Verb::BgSave => self.bgsave(args, out),
            Verb::BgRewriteAof => self.bgrewriteaof(out),
            Verb::ClientList => self.client_list(caller, args, out),
            Verb::ClientKill => self.client_kill(caller, args, out),
            Verb::ClientPause => self.client_pause(args, out),
            Verb::ClientUnpause => self.client_unpause(out),
            Verb::ClientUnblock => self.client_unblock(args, out),
            Verb::Publish(kind) => self.publish_from_primary(kind, args, out),
            _ => unreachable!("{verb:?} is no business of other shards"),
        }
    }

    /// CLIENT INFO
    pub(super) fn client_info(&mut self, client: u32, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        let now = self.now.ms();
        let session = self.clients.peek(client).expect("the caller is there");
        let mut text = Vec::new();
        self.describe((client, session), now, sizes(args), &mut text);
        Reply::new(out, session.caller.resp3).verbatim("txt", &text);
        Ok(())
    }

    /// CLIENT LIST [TYPE type | ID id ...]
    fn client_list(&mut self, caller: &Caller, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        let now = self.now.ms();
        let own = |s: &Session| if s.caller.id == caller.id { sizes(args) } else { (0, 0) };
        let mut text = Vec::new();
        if args.len() > 3 && args.is(2, "ID") {
            for id in args.from(3).iter() {
                let id = parse_i64(id).ok_or(ErrReply::new("ERR Invalid client ID"))?;
                if let Some((client, s)) = self.clients.iter().find(|(_, s)| s.caller.id as i64 == id) {
                    self.describe((client, s), now, own(s), &mut text);
                }
            }
        } else {
            let kind = match args.len() {
                2 => None,
                4 if args.is(2, "TYPE") => Some(Kind::parse(args.at(3))?),
                _ => return Err(SYNTAX),
            };
            for (client, s) in self.clients.iter().filter(|(_, s)| kind.is_none_or(|k| k == Kind::of(s))) {
                self.describe((client, s), now, own(s), &mut text);
            }
        }
        Reply::new(out, caller.resp3).verbatim("txt", &text);
        Ok(())
    }

    /// CLIENT KILL addr:port, or CLIENT KILL filter value ...
    fn client_kill(&mut self, caller: &Caller, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        let old_form = args.len() == 3;
        let filter = if old_form {
            Filter { addr: Some(args.at(2)), skip_me: false, ..Filter::default() }
        } else {
            Filter::parse(args.from(2), &self.users)?
        };
        let now = self.now.ms();
        let doomed: Vec<u32> =
            self.clients.iter().filter(|(_, s)| filter.takes(s, caller, now)).map(|(i, _)| i).collect();
        for &client in &doomed {
            match self.clients.get(client).is_some_and(|s| s.caller.id == caller.id) {
                // its own reply comes first
                true => self.hang_up(client),
                false => self.throw_out(client),
            }
        }
        let primary = filter.is_of_primaries() && self.cut_off_primary();
        let mut out = Reply::new(out, caller.resp3);
        match (old_form, doomed.len() + usize::from(primary)) {
            (true, 0) => return Err(ErrReply::new("ERR No such client")),
            (true, _) => out.ok(),
            (false, n) => out.int(n as i64),
        }
        Ok(())
    }

    /// CLIENT PAUSE ms [WRITE | ALL]
    fn client_pause(&mut self, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        let writes_only = match args.len() {
            3 => false,
            4 if args.is(3, "WRITE") => true,
            4 if args.is(3, "ALL") => false,
            4 => return Err(ErrReply::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
            _ => return Err(subcommand_syntax(args)),
        };
        let timeout =
            parse_i64(args.at(2)).ok_or(ErrReply::new("ERR timeout is not an integer or out of range"))?;
        let timeout = u64::try_from(timeout).map_err(|_| ErrReply::new("ERR timeout is negative"))?;
        let now = self.now.ms();
        let end = if timeout == 0 { 0 } else { now.saturating_add(timeout) };
        let c = &mut self.conditions;
        // two pauses are the longer and the stricter of both
        c.pause_writes_only = writes_only && (c.pause_writes_only || c.paused_until <= now);
        c.paused_until = c.paused_until.max(end);
        out.extend_from_slice(b"+OK\r\n");
        Ok(())
    }

    /// CLIENT UNPAUSE
    fn client_unpause(&mut self, out: &mut Vec<u8>) -> Done {
        self.unpause();
        out.extend_from_slice(b"+OK\r\n");
        Ok(())
    }

    pub(super) fn unpause(&mut self) {
        self.conditions.paused_until = 0;
        for (client, session) in self.clients.iter_mut() {
            if matches!(session.hold, Hold::Until(end) if end != u64::MAX) && session.let_go() {
                self.resume.push(client);
            }
        }
        self.note_paused();
    }

    /// Counts the clients anew that are held until some time.
    pub(super) fn note_paused(&self) {
        let paused =
            self.clients.iter().filter(|(_, session)| matches!(session.hold, Hold::Until(_))).count();
        self.metrics.paused.set(paused as u64);
    }

    /// CLIENT UNBLOCK id [TIMEOUT | ERROR]
    fn client_unblock(&mut self, args: Args<'_>, out: &mut Vec<u8>) -> Done {
        let with_error = match args.len() {
            3 => false,
            4 if args.is(3, "TIMEOUT") => false,
            4 if args.is(3, "ERROR") => true,
            4 => return Err(ErrReply::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
            _ => return Err(subcommand_syntax(args)),
        };
        let id = parse_i64(args.at(2)).ok_or(NOT_INT)?;
        let done = u64::try_from(id).is_ok_and(|id| self.unblock_by_id(id, with_error));
        Reply::new(out, false).int(done as i64);
        Ok(())
    }

    /// A client's line in CLIENT LIST; of who asks with the sizes of what it has asked. Replies are kept in one
    /// buffer here, so what Redis tells of its fixed one (`rbs`, `rbp`, `obl`) is of that one, and `oll` counts the
    /// replies that siblings owe.
    pub(super) fn describe(
        &self,
        (client, s): (u32, &Session),
        now_ms: u64,
        (argv, sent): (usize, usize),
        out: &mut Vec<u8>,
    ) {
        let caller = &s.caller;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut flags = String::new();
        let tracks = |is: fn(&Tracking) -> bool| s.tracking.as_deref().is_some_and(is);
        for (yes, flag) in [
            (s.replica, 'S'),
            (s.monitor, 'O'),
            (caller.subscribed, 'P'),
            (s.multi.is_some(), 'x'),
            (matches!(s.hold, Hold::Blocked | Hold::Until(_)), 'b'),
            (tracks(|_| true), 't'),
            (tracks(|t| t.broken), 'R'),
            (tracks(|t| t.broadcast), 'B'),
            (self.is_watch_dirty(client, s), 'd'),
            (s.is_closing(), 'c'),
            (s.addr.starts_with('/'), 'U'),
            (caller.readonly, 'r'),
            (caller.no_evict, 'e'),
            (caller.no_touch, 'T'),
        ] {
            flags.extend(yes.then_some(flag));
        }
        let flags = if flags.is_empty() { "N" } else { &flags };
        let unread = s.pending.len() + s.held.len() + sent;
        let listens = |kind| s.subs.as_ref().map_or(0, |subs| subs.len(kind));
        let spare = s.pending.capacity() + s.held.capacity() + s.lent + sent - unread;
        let events = if s.in_flight > 0 { "rw" } else { "r" };
        writeln!(
            out,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} \
             multi={} qbuf={unread} qbuf-free={spare} argv-mem={argv} multi-mem={} rbs={} rbp={} obl={} oll={} \
             omem={} tot-mem={} events={events} cmd={} user={} redir={} resp={} lib-name={} lib-ver={}",
            caller.id,
            s.addr,
            s.local_addr,
            s.fd,
            text(&caller.name),
            now_ms.saturating_sub(s.created_ms) / 1000,
            now_ms.saturating_sub(s.last_ms) / 1000,
            caller.db,
            listens(Listens::Channel),
            listens(Listens::Pattern),
            listens(Listens::Sharded),
            s.multi.as_ref().map_or(-1, |multi| multi.commands.len() as i64),
            s.multi.as_ref().map_or(0, |multi| multi.bytes()),
            s.out.capacity(),
            s.out.capacity(),
            s.out.len().min(REPLY_BUFFER),
            s.pipeline.len(),
            s.output() - s.out.len().min(REPLY_BUFFER),
            s.memory() + argv,
            s.last.map_or("NULL", |spec| spec.name),
            text(caller.user.as_deref().map_or(NOBODY, |user| &user.name)),
            s.tracking.as_ref().map_or(-1, |tracking| tracking.redirect as i64),
            if caller.resp3 { 3 } else { 2 },
            text(&caller.lib_name),
            text(&caller.lib_ver),
        )
        .expect("writing to memory succeeds");
    }
}

/// What CLIENT LIST and CLIENT KILL call TYPE.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Master,
    Replica,
    PubSub,
}

impl Kind {
    fn parse(name: &[u8]) -> Result<Kind, ErrReply> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"master" => Ok(Kind::Master),
            b"replica" | b"slave" => Ok(Kind::Replica),
            b"pubsub" => Ok(Kind::PubSub),
            _ => {
                let name = String::from_utf8_lossy(name);
                Err(ErrReply::owned(format!("ERR Unknown client type '{name}'")))
            }
        }
    }

    fn of(session: &Session) -> Kind {
        match session {
            _ if session.replica => Kind::Replica,
            _ if session.caller.subscribed => Kind::PubSub,
            _ => Kind::Normal,
        }
    }
}

/// The new form's filters: a client must pass all.
struct Filter<'a> {
    id: Option<u64>,
    kind: Option<Kind>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    /// The user's id.
    user: Option<u64>,
    /// Seconds that the connection has lasted at least.
    max_age: Option<u64>,
    skip_me: bool,
}

impl Default for Filter<'_> {
    fn default() -> Self {
        Filter { id: None, kind: None, addr: None, laddr: None, user: None, max_age: None, skip_me: true }
    }
}

impl<'a> Filter<'a> {
    fn parse(args: Args<'a>, users: &Users) -> Result<Filter<'a>, ErrReply> {
        let mut filter = Filter::default();
        for i in (0..args.len()).step_by(2) {
            let value = args.get(i + 1).ok_or(SYNTAX)?;
            match args.at(i).to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = parse_i64(value).and_then(|n| u64::try_from(n).ok()).filter(|&n| n > 0);
                    filter.id = Some(id.ok_or(ErrReply::new("ERR client-id should be greater than 0"))?);
                }
                b"type" => filter.kind = Some(Kind::parse(value)?),
                b"addr" => filter.addr = Some(value),
                b"laddr" => filter.laddr = Some(value),
                b"user" => {
                    let unknown = || ErrReply::quoting([b"ERR No such user '", value, b"'"].concat());
                    filter.user = Some(users.get(value).ok_or_else(unknown)?.id);
                }
                b"maxage" => {
                    let age = parse_i64(value)
                        .ok_or(ErrReply::new("ERR maxage is not an integer or out of range"))?;
                    let age = u64::try_from(age).ok().filter(|&n| n > 0);
                    filter.max_age = Some(age.ok_or(ErrReply::new("ERR maxage should be greater than 0"))?);
                }
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip_me = true,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip_me = false,
                _ => return Err(SYNTAX),
            }
        }
        Ok(filter)
    }

    /// Whether it takes the connection to the primary, which is none of a client here.
    fn is_of_primaries(&self) -> bool {
        let any = self.addr.is_none() && self.laddr.is_none() && self.id.is_none();
        let any = any && self.user.is_none() && self.max_age.is_none();
        self.kind == Some(Kind::Master) && any
    }

    fn takes(&self, s: &Session, caller: &Caller, now_ms: u64) -> bool {
        self.addr.is_none_or(|a| a == s.addr.as_bytes())
            && self.laddr.is_none_or(|a| a == s.local_addr.as_bytes())
            && self.kind.is_none_or(|k| k == Kind::of(s))
            && self.id.is_none_or(|id| id == s.caller.id)
            && self.user.is_none_or(|id| s.caller.user.as_ref().is_some_and(|user| user.id == id))
            && self.max_age.is_none_or(|age| now_ms.saturating_sub(s.created_ms) / 1000 >= age)
            && !(self.skip_me && s.caller.id == caller.id)
            && !s.is_closing()
    }
}

/// Bytes of a command's words, and of the command as it was sent.
pub(super) fn sizes(args: Args<'_>) -> (usize, usize) {
    (args.iter().map(<[u8]>::len).sum(), sent_bytes(args.iter()))
}
