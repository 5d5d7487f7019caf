//! A primary's stream: executed command by command, counted byte by byte, and passed on as it is.
//!
//! What stands between MULTI and EXEC is executed once the EXEC is there; until then it counts as not
//! received, so that a stream which breaks off there goes on before the MULTI.

use crate::command::ctx::Caller;
use crate::command::spec::{Run, Spec, Verb};
use crate::command::table;
use crate::limits::BATCH;
use crate::resp::args::OwnedArgs;
use crate::resp::parse::{Parsed, Parser, Rules};
use crate::resp::{Args, Span};
use crate::shard::mail::Share;
use crate::shard::{FirstKey, Shard};
use crate::store::Expiry;

/// Bytes of the stream on their way to be executed.
pub(super) struct Intake {
    buf: Vec<u8>,
    /// Executed, or queued by MULTI, up to here; and counted up to there.
    at: usize,
    counted: usize,
    parser: Parser,
    spans: Vec<Span>,
    scratch: Vec<u8>,
    commands: Vec<Found>,
    pub(super) caller: Caller,
    transaction: Option<Vec<OwnedArgs>>,
    /// The primary wants to know how much is here.
    pub(super) asked: bool,
}

/// A command in the buffer.
struct Found {
    spans: (usize, usize),
    begin: usize,
    end: usize,
}

/// What a command of the stream is to this shard.
enum Word {
    Multi,
    Exec,
    GetAck,
    /// Of no meaning here.
    Nothing,
    Command(&'static Spec),
}

impl Intake {
    pub(super) fn new(db: usize) -> Intake {
        Intake {
            buf: Vec::new(),
            at: 0,
            counted: 0,
            parser: Parser::default(),
            spans: Vec::new(),
            scratch: Vec::new(),
            commands: Vec::new(),
            caller: Caller { authenticated: true, front_door: true, db, ..Caller::default() },
            transaction: None,
            asked: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    /// Bytes that do not count yet.
    pub(super) fn unread(&self) -> usize {
        self.buf.len() - self.counted
    }

    /// The stream broke off: what is not whole comes anew.
    pub(super) fn break_off(&mut self) {
        *self = Intake::new(self.caller.db);
    }

    /// Finds the next commands. False when there are none.
    fn gather(&mut self, max_bulk: u64) -> Result<bool, String> {
        self.spans.clear();
        self.commands.clear();
        let rules = Rules { max_bulk, unauthenticated: false };
        let mut at = self.at;
        while self.commands.len() < BATCH && at < self.buf.len() {
            let from = self.spans.len();
            let parsed = self.parser.parse(&self.buf[at..], rules, &mut self.spans, &mut self.scratch);
            match parsed.map_err(|violation| format!("Protocol error from the MASTER: {}", violation.0))? {
                Parsed::Partial => break,
                Parsed::Command(len) => {
                    let spans = (from, self.spans.len());
                    self.commands.push(Found { spans, begin: at, end: at + len });
                    at += len;
                }
                Parsed::Inline(_) if self.spans.len() > from => {
                    return Err("Protocol error from the MASTER: an inline command".into());
                }
                Parsed::Inline(len) => {
                    self.commands.push(Found { spans: (from, from), begin: at, end: at + len });
                    at += len;
                }
            }
        }
        Ok(!self.commands.is_empty())
    }

    fn args<'a>(&'a self, found: &Found) -> Args<'a> {
        Args::new(&self.buf[found.begin..found.end], &self.spans[found.spans.0..found.spans.1])
    }
}

/// What a command means.
fn word(args: Args<'_>) -> Result<Word, String> {
    let Some(name) = args.get(0) else { return Ok(Word::Nothing) };
    let single = args.len() == 1;
    Ok(match name.to_ascii_lowercase().as_slice() {
        b"multi" if single => Word::Multi,
        b"exec" if single => Word::Exec,
        b"ping" => Word::Nothing,
        b"replconf" if args.is(1, "getack") => Word::GetAck,
        b"replconf" => Word::Nothing,
        _ => match table::resolve(args) {
            Ok(spec) if matches!(spec.run, Run::Above(Verb::Publish(_))) => Word::Command(spec),
            Ok(spec) if matches!(spec.run, Run::Above(_)) => Word::Nothing,
            Ok(spec) => Word::Command(spec),
            // going on without it, the data would be another than the primary's
            Err(error) => {
                let error = String::from_utf8_lossy(error.bytes()).into_owned();
                return Err(format!("The MASTER sent a command that is not known here: {error}"));
            }
        },
    })
}

impl Shard {
    /// Executes what is whole in the stream.
    pub(super) fn apply(&mut self, intake: &mut Intake) -> Result<(), String> {
        let expiry = std::mem::replace(&mut self.clock.expiry, Expiry::Ignore);
        let mut outcome = Ok(());
        let mut goes_on = true;
        while goes_on {
            goes_on = match intake.gather(self.conf.proto_max_bulk_len) {
                Ok(true) => match self.apply_batch(intake) {
                    Ok(all) => all,
                    Err(why) => {
                        outcome = Err(why);
                        false
                    }
                },
                Ok(false) => false,
                Err(why) => {
                    outcome = Err(why);
                    false
                }
            };
        }
        self.clock.expiry = expiry;
        self.count_applied(intake);
        outcome
    }

    /// What is executed becomes part of our own stream.
    fn count_applied(&mut self, intake: &mut Intake) {
        let upto = if intake.transaction.is_some() { intake.counted } else { intake.at };
        if upto > intake.counted {
            self.repl.primary.feed(&intake.buf[intake.counted..upto]);
            intake.counted = upto;
            self.pump_readers();
        }
        let gone = intake.counted.min(intake.at);
        intake.buf.drain(..gone);
        intake.at -= gone;
        intake.counted -= gone;
    }

    /// False when a command has to wait for a snapshot.
    fn apply_batch(&mut self, intake: &mut Intake) -> Result<bool, String> {
        let commands = std::mem::take(&mut intake.commands);
        let mut words = Vec::with_capacity(commands.len());
        let mut keys = Vec::with_capacity(commands.len());
        for found in &commands {
            let args = intake.args(found);
            let word = word(args)?;
            let mut key = FirstKey::default();
            if let Word::Command(spec) = word
                && let Some(arg) = table::first_key_index(spec, args)
            {
                let hashed = self.ks.hasher().key(args.at(arg));
                let bytes = (found.end - found.begin) as u32;
                key = FirstKey { arg: arg as u32, slot: hashed.slot, hash: hashed.hash, bytes };
            }
            words.push(word);
            keys.push(key);
        }
        let db = intake.caller.db;
        let near = keys.iter().filter(|key| key.arg > 0).map(|key| (db, key.slot, key.hash));
        self.ks.prefetch(near);
        let mut caller = std::mem::take(&mut intake.caller);
        let mut all = true;
        for ((found, word), key) in commands.iter().zip(words).zip(keys) {
            if !self.apply_one(intake, &mut caller, found, word, key) {
                intake.parser.reset();
                all = false;
                break;
            }
            intake.at = found.end;
        }
        intake.caller = caller;
        intake.commands = commands;
        Ok(all)
    }

    /// Executes one command; false, with nothing done, when it has to wait.
    fn apply_one(
        &mut self,
        intake: &mut Intake,
        caller: &mut Caller,
        found: &Found,
        word: Word,
        key: FirstKey,
    ) -> bool {
        match word {
            Word::Nothing => {}
            Word::GetAck => intake.asked = true,
            Word::Multi => intake.transaction = Some(Vec::new()),
            Word::Command(spec) => {
                let owned = intake.transaction.is_some().then(|| OwnedArgs::new(intake.args(found).iter()));
                if let (Some(queued), Some(owned)) = (&mut intake.transaction, owned) {
                    queued.push(owned);
                    return true;
                }
                let args = intake.args(found);
                if self.conditions.careful && self.awaits_snapshot(caller.db, spec, args, key) {
                    return false;
                }
                self.apply_command(caller, spec, args, key);
            }
            Word::Exec => {
                let queued = intake.transaction.take().unwrap_or_default();
                let found: Vec<_> = queued
                    .iter()
                    .filter_map(|words| table::resolve(words.as_args()).ok().map(|spec| (spec, words)))
                    .collect();
                let waits = |(spec, words): &(&'static Spec, &OwnedArgs)| {
                    self.conditions.careful
                        && self.awaits_snapshot(caller.db, spec, words.as_args(), FirstKey::default())
                };
                if found.iter().any(waits) {
                    intake.transaction = Some(queued);
                    return false;
                }
                for (spec, words) in found {
                    self.apply_command(caller, spec, words.as_args(), FirstKey::default());
                }
            }
        }
        true
    }

    fn apply_command(&mut self, caller: &mut Caller, spec: &'static Spec, args: Args<'_>, key: FirstKey) {
        let mut reply = std::mem::take(&mut self.reply);
        reply.clear();
        self.lap = 0;
        self.run_for(caller, spec, args, key, Share::Whole, &mut reply);
        if reply.first() == Some(&b'-') {
            let said = String::from_utf8_lossy(&reply[1..]).trim_end().to_owned();
            tracing::warn!(
                "== CRITICAL == This replica is sending an error to its master: '{said}' after processing the \
                 command '{}'",
                spec.name
            );
        }
        reply.clear();
        self.reply = reply;
    }
}
