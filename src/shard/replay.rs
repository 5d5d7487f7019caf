//! Reading a log back: its commands are executed as they were written, by nobody, at no time: nothing
//! expires, nothing is evicted, nothing is propagated.
//!
//! While a shard loads, its clients are refused. What stands between MULTI and EXEC is executed when the
//! EXEC is there, so that a log that breaks off loses it whole.
//!
//! [`claims`] decides between the logs of a host's shards.

mod claims;

pub(super) use claims::Loading;
pub use claims::Orphan;

use super::execute::world;
use super::{Now, Shard};
use crate::command::ctx::Caller;
use crate::command::spec::{Run, Spec};
use crate::command::table;
use crate::limits::BATCH;
use crate::persist::aof::reader::{BadFormat, Reader, Record};
use crate::persist::aof::slots;
use crate::persist::rdb::{self, Item};
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Span};
use crate::slot::Slot;
use crate::store::Expiry;

/// Why a log can't be read on.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// These bytes are no command.
    Format {
        offset: u64,
    },
    Unknown {
        command: String,
    },
}

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    /// The last record, or the last transaction, is not whole; what is up to here is.
    Cut {
        whole_up_to: u64,
        transaction: bool,
    },
}

/// A file that is being read.
#[derive(Default)]
pub struct Replay {
    reader: Reader,
    spans: Vec<Span>,
    /// For each command of a batch: where its arguments begin in `spans`, and where it ends in the file.
    commands: Vec<(u32, u64)>,
    caller: Caller,
    transaction: Option<Vec<OwnedArgs>>,
    whole_up_to: u64,
    executed: u64,
}

impl Replay {
    /// Of a file that is commands from `offset` on.
    pub fn from_offset(offset: u64) -> Replay {
        let caller = Caller { authenticated: true, front_door: true, ..Caller::default() };
        Replay { reader: Reader::from_offset(offset), caller, whole_up_to: offset, ..Replay::default() }
    }

    /// How the file ended, when no more bytes come.
    pub fn end(&self) -> End {
        let transaction = self.transaction.is_some();
        match self.reader.is_clean() && !transaction {
            true => End::Whole,
            false => {
                End::Cut { whole_up_to: self.whole_up_to, transaction: transaction && self.reader.is_clean() }
            }
        }
    }

    /// Commands that were executed.
    pub fn executed(&self) -> u64 {
        self.executed
    }
}

impl Shard {
    /// From now on clients are refused and logs are read.
    pub fn begin_loading(&mut self) {
        self.loading = Some(Box::default());
        self.conditions.loading = true;
        self.clock.expiry = Expiry::Ignore;
    }

    /// As [`Shard::begin_loading`], for data as they were at one moment: keys are past their time now.
    pub fn begin_loading_data(&mut self) {
        self.begin_loading();
        self.clock.expiry = Expiry::Remove;
    }

    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Executes what is whole of a file's next bytes.
    pub fn replay(&mut self, of: &mut Replay, bytes: &[u8], now: Now) -> Result<(), Trouble> {
        self.now = now;
        self.clock.now_ms = now.ms();
        of.reader.feed(bytes);
        loop {
            of.spans.clear();
            of.commands.clear();
            let ended = self.gather(of)?;
            self.execute_batch(of)?;
            if ended {
                return Ok(());
            }
        }
    }

    /// Finds the commands of the next batch, up to a note or the end of what is there: true at that end.
    fn gather(&mut self, of: &mut Replay) -> Result<bool, Trouble> {
        let bad = |BadFormat { offset }: BadFormat| Trouble::Format { offset };
        while of.commands.len() < BATCH {
            let mark = of.spans.len();
            match of.reader.next(&mut of.spans).map_err(bad)? {
                Record::Command => of.commands.push((mark as u32, of.reader.offset())),
                Record::More => return Ok(true),
                Record::Note { start, end } => {
                    let Some(claim) = slots::parse(of.reader.note(start, end)) else { continue };
                    // what stands before it comes first
                    self.execute_batch(of)?;
                    of.spans.clear();
                    of.commands.clear();
                    self.take_claim(&claim);
                }
            }
        }
        Ok(false)
    }

    fn execute_batch(&mut self, of: &mut Replay) -> Result<(), Trouble> {
        let db = of.caller.db;
        let mut found: Vec<(&'static Spec, Args<'_>, u64)> = Vec::with_capacity(of.commands.len());
        for (i, &(from, end)) in of.commands.iter().enumerate() {
            let to = of.commands.get(i + 1).map_or(of.spans.len(), |next| next.0 as usize);
            let args = of.reader.args(&of.spans[from as usize..to]);
            match table::resolve(args) {
                Ok(spec) => found.push((spec, args, end)),
                Err(_) if is_bracket(args) => found.push((table::by_id(0), args, end)),
                Err(_) => {
                    let name = String::from_utf8_lossy(args.at(0)).into_owned();
                    return Err(Trouble::Unknown { command: name });
                }
            }
        }
        let hasher = self.ks.hasher();
        let keys: Vec<(usize, Slot, u64)> = found
            .iter()
            .filter_map(|(spec, args, _)| table::first_key_index(spec, *args).and_then(|at| args.get(at)))
            .map(|name| hasher.key(name))
            .map(|key| (db, key.slot, key.hash))
            .collect();
        self.ks.prefetch(keys.into_iter());
        for (spec, args, end) in found {
            if args.is(0, "MULTI") {
                of.transaction.get_or_insert_default();
            } else if args.is(0, "EXEC") {
                for words in of.transaction.take().unwrap_or_default() {
                    if let Ok(spec) = table::resolve(words.as_args()) {
                        self.execute_replayed(&mut of.caller, spec, words.as_args());
                        of.executed += 1;
                    }
                }
            } else if let Some(queued) = &mut of.transaction {
                queued.push(OwnedArgs::new(args.iter()));
            } else {
                self.execute_replayed(&mut of.caller, spec, args);
                of.executed += 1;
            }
            if of.transaction.is_none() {
                of.whole_up_to = end;
            }
        }
        Ok(())
    }

    /// Takes up the keys of a base that is an RDB file, as far as its next bytes go. Where in the file it
    /// ended, once it has.
    pub fn replay_base(
        &mut self,
        of: &mut rdb::Reader,
        bytes: &[u8],
        now: Now,
    ) -> Result<Option<u64>, String> {
        self.now = now;
        self.clock.now_ms = now.ms();
        of.feed(bytes);
        let limits = self.limits();
        loop {
            match of.next(&limits, usize::MAX).map_err(|failure| failure.to_string())? {
                Item::Key(loaded) => drop(self.take_in(*loaded, false)?),
                Item::Feed(_) => return Ok(None),
                Item::End => return Ok(Some(of.offset())),
                Item::Function(code) => self.host.registers.libraries.adopt_code(&code)?,
                Item::Aux(..) | Item::Sizes { .. } | Item::EmptyKey(_) | Item::Working => {}
            }
        }
    }

    fn execute_replayed(&mut self, caller: &mut Caller, spec: &'static Spec, args: Args<'_>) {
        let Run::Here(handler) = spec.run else { return };
        if let Some(loading) = &mut self.loading {
            loading.note(caller.db, spec, args);
        }
        self.reply.clear();
        let mut ctx = world!(self, *caller, &mut self.reply, None);
        // as in Redis, nobody hears what a command of a log has to say
        let _ = handler(&mut ctx, args);
        self.fx.dirty = 0;
        self.fx.aside = None;
    }

    /// DEBUG LOADAOF: whether what the log says is to take the place of what is here. It is, before any reply
    /// leaves; slots that are lent have to come home first.
    #[inline]
    pub fn wants_reload(&self) -> bool {
        self.reload
    }

    /// Forgets all data, which the log is to tell anew.
    pub fn begin_reload(&mut self) -> bool {
        if self.is_lending() || !self.landings.is_empty() {
            return false;
        }
        self.reload = false;
        self.reset_snapshots("The append-only file is loaded");
        self.ks.iter_mut().for_each(|db| drop(db.clear()));
        self.begin_loading();
        // what the log says is in the log
        self.fx.propagating = false;
        self.track_expired();
        true
    }

    /// The log is read.
    pub fn end_reload(&mut self, now: Now) {
        self.fx.instead.clear();
        self.fx.events.clear();
        self.note_propagating();
        self.end_loading(now);
    }

    /// From now on clients are served.
    pub fn end_loading(&mut self, now: Now) {
        self.loading = None;
        self.conditions.loading = false;
        self.clock.expiry = Expiry::Remove;
        self.begin(now);
        self.end_turn();
    }
}

/// MULTI and EXEC hold a log's commands together, whatever commands there are.
fn is_bracket(args: Args<'_>) -> bool {
    args.len() == 1 && (args.is(0, "MULTI") || args.is(0, "EXEC"))
}
