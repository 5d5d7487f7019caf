//! CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO.

use crate::command::error::{Done, ErrReply, NOT_INT, SYNTAX};
use crate::command::host::Name;
use crate::resp::{Args, Reply};
use crate::session::Tracking;
use crate::shard::Shard;
use crate::util::num::parse_i64;

const ONE_REDIRECT: ErrReply = ErrReply::new("ERR A client can only redirect to a single other client");
const NO_SUCH_CLIENT: ErrReply = ErrReply::new("ERR The client ID you want redirect to does not exist");
const PREFIX_ALONE: ErrReply = ErrReply::new("ERR PREFIX option requires BCAST mode to be enabled");
const OTHER_MODE: ErrReply = ErrReply::new(
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
     with a different mode.",
);
const OPT_AND_BCAST: ErrReply = ErrReply::new("ERR OPTIN and OPTOUT are not compatible with BCAST");
const BOTH_OPTS: ErrReply = ErrReply::new("ERR You can't specify both OPTIN mode and OPTOUT mode");
const OTHER_OPT: ErrReply = ErrReply::new(
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
     with a different mode.",
);
const CACHING_ALONE: ErrReply = ErrReply::new(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);
const YES_WITHOUT_OPT_IN: ErrReply =
    ErrReply::new("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
const NO_WITHOUT_OPT_OUT: ErrReply =
    ErrReply::new("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");

/// Prefixes of one client must not have a key in common.
fn overlap(prefix: &[u8], other: &[u8], which: &str) -> Result<(), ErrReply> {
    if !prefix.starts_with(other) && !other.starts_with(prefix) {
        return Ok(());
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (prefix, other) = (text(prefix), text(other));
    Err(ErrReply::owned(format!(
        "ERR Prefix '{prefix}' overlaps with {which} prefix '{other}'. Prefixes for a single client must not \
         overlap."
    )))
}

impl Shard {
    /// CLIENT TRACKING (ON | OFF) [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]
    pub(in crate::shard) fn client_tracking(
        &mut self,
        client: u32,
        args: Args<'_>,
        out: &mut Vec<u8>,
    ) -> Done {
        let (asked, prefixes) = self.read_options(args)?;
        if args.is(2, "ON") {
            self.check_options(client, &asked, &prefixes)?;
            self.track_client(client, asked, prefixes);
        } else if args.is(2, "OFF") {
            self.stop_tracking(client);
        } else {
            return Err(SYNTAX);
        }
        out.extend_from_slice(b"+OK\r\n");
        Ok(())
    }

    fn read_options(&self, args: Args<'_>) -> Result<(Tracking, Vec<Name>), ErrReply> {
        let mut asked = Tracking::default();
        let mut prefixes = Vec::new();
        let mut i = 3;
        while i < args.len() {
            let more = i + 1 < args.len();
            if args.is(i, "REDIRECT") && more {
                if asked.redirect != 0 {
                    return Err(ONE_REDIRECT);
                }
                i += 1;
                let id = parse_i64(args.at(i)).ok_or(NOT_INT)?;
                let id = u64::try_from(id).ok().filter(|id| self.host.registers.roll.find(*id).is_some());
                asked.redirect = id.ok_or(NO_SUCH_CLIENT)?;
            } else if args.is(i, "PREFIX") && more {
                i += 1;
                prefixes.push(Name::from(args.at(i)));
            } else {
                match args.at(i).to_ascii_lowercase().as_slice() {
                    b"bcast" => asked.broadcast = true,
                    b"optin" => asked.opt_in = true,
                    b"optout" => asked.opt_out = true,
                    b"noloop" => asked.no_loop = true,
                    _ => return Err(SYNTAX),
                }
            }
            i += 1;
        }
        Ok((asked, prefixes))
    }

    /// Whether what is asked for fits together, and to what the client has.
    fn check_options(&self, client: u32, asked: &Tracking, prefixes: &[Name]) -> Result<(), ErrReply> {
        if !asked.broadcast && !prefixes.is_empty() {
            return Err(PREFIX_ALONE);
        }
        let now = self.clients.peek(client).and_then(|session| session.tracking.as_ref());
        if now.is_some_and(|now| now.broadcast != asked.broadcast) {
            return Err(OTHER_MODE);
        }
        if asked.broadcast && (asked.opt_in || asked.opt_out) {
            return Err(OPT_AND_BCAST);
        }
        if asked.opt_in && asked.opt_out {
            return Err(BOTH_OPTS);
        }
        if now.is_some_and(|now| asked.opt_in && now.opt_out || asked.opt_out && now.opt_in) {
            return Err(OTHER_OPT);
        }
        for (n, prefix) in prefixes.iter().enumerate() {
            let mut existing = now.iter().flat_map(|now| &now.prefixes);
            existing.try_for_each(|other| overlap(prefix, other, "an existing"))?;
            prefixes[n + 1..].iter().try_for_each(|other| overlap(prefix, other, "another provided"))?;
        }
        Ok(())
    }

    fn track_client(&mut self, client: u32, asked: Tracking, mut new: Vec<Name>) {
        let Some(session) = self.clients.get(client) else { return };
        let before = session.tracking.take().map(|before| *before).unwrap_or_default();
        if asked.broadcast && new.is_empty() && !before.prefixes.contains(&b""[..]) {
            new.push(Name::from(&b""[..]));
        }
        let mut prefixes = before.prefixes;
        prefixes.extend(new.iter().cloned());
        let tracking = Tracking { prefixes, caching: before.caching, ..asked };
        let broadcasts = tracking.broadcast;
        session.tracking = Some(Box::new(tracking));
        session.settle_mode();
        new.iter().for_each(|prefix| self.host.registers.audience.prefixes.join(prefix, self.at.me));
        self.trackers.clients.insert(client);
        self.metrics.tracking.set(self.trackers.clients.len() as u64);
        self.note_tracker(broadcasts);
    }

    /// A client has come or gone. If it wants to hear of prefixes, all shards look with their next turn whether
    /// anybody does.
    fn note_tracker(&mut self, broadcasts: bool) {
        if broadcasts {
            self.host.live.touch();
            self.configure_trackers();
        }
        self.configure_events();
    }

    /// CLIENT TRACKING OFF; or the client goes, or begins anew.
    pub(in crate::shard) fn stop_tracking(&mut self, client: u32) {
        let Some(session) = self.clients.get(client) else { return };
        let Some(tracking) = session.tracking.take() else { return };
        session.settle_mode();
        for prefix in &tracking.prefixes {
            self.host.registers.audience.prefixes.leave(prefix, self.at.me);
        }
        self.trackers.clients.remove(&client);
        self.metrics.tracking.set(self.trackers.clients.len() as u64);
        self.note_tracker(tracking.broadcast);
    }

    /// CLIENT CACHING (YES | NO)
    pub(in crate::shard) fn client_caching(
        &mut self,
        client: u32,
        args: Args<'_>,
        out: &mut Vec<u8>,
    ) -> Done {
        let tracking = self.clients.get(client).and_then(|session| session.tracking.as_mut());
        let tracking = tracking.ok_or(CACHING_ALONE)?;
        match args.at(2).to_ascii_lowercase().as_slice() {
            b"yes" if !tracking.opt_in => return Err(YES_WITHOUT_OPT_IN),
            b"no" if !tracking.opt_out => return Err(NO_WITHOUT_OPT_OUT),
            b"yes" | b"no" => tracking.caching = true,
            _ => return Err(SYNTAX),
        }
        out.extend_from_slice(b"+OK\r\n");
        Ok(())
    }

    /// CLIENT GETREDIR
    pub(in crate::shard) fn client_getredir(&mut self, client: u32, out: &mut Vec<u8>) -> Done {
        Reply::new(out, false).int(self.redirection(client));
        Ok(())
    }

    /// The id of whom a client has named in its place: 0 nobody, -1 when it keeps no copies.
    fn redirection(&self, client: u32) -> i64 {
        let tracking = self.clients.peek(client).and_then(|session| session.tracking.as_ref());
        tracking.map_or(-1, |tracking| tracking.redirect as i64)
    }

    /// CLIENT TRACKINGINFO
    pub(in crate::shard) fn client_trackinginfo(&mut self, client: u32, out: &mut Vec<u8>) -> Done {
        let redirection = self.redirection(client);
        let Some(session) = self.clients.peek(client) else { return Ok(()) };
        let mut out = Reply::new(out, session.caller.resp3);
        let none = Tracking::default();
        let t = session.tracking.as_deref().unwrap_or(&none);
        let flags: Vec<&str> = [
            (true, if session.tracking.is_some() { "on" } else { "off" }),
            (t.broadcast, "bcast"),
            (t.opt_in, "optin"),
            (t.opt_in && t.caching, "caching-yes"),
            (t.opt_out, "optout"),
            (t.opt_out && t.caching, "caching-no"),
            (t.no_loop, "noloop"),
            (t.broken, "broken_redirect"),
        ]
        .into_iter()
        .filter_map(|(yes, flag)| yes.then_some(flag))
        .collect();
        out.map(3);
        out.bulk(b"flags");
        out.set(flags.len());
        flags.iter().for_each(|flag| out.bulk(flag.as_bytes()));
        out.bulk(b"redirect");
        out.int(redirection);
        out.bulk(b"prefixes");
        out.array(t.prefixes.len());
        t.prefixes.iter().for_each(|prefix| out.bulk(prefix));
        Ok(())
    }
}
