//! Scripts that run for longer than `busy-reply-threshold`.

use crate::command::error::ErrReply;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const EVAL_RUNS: ErrReply =
    ErrReply::new("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.");
const FUNCTION_RUNS: ErrReply =
    ErrReply::new("BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.");
const NOT_BUSY: ErrReply = ErrReply::new("NOTBUSY No scripts in execution right now.");
const UNKILLABLE: ErrReply = ErrReply::new(
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait \
     the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
);

/// Whether a script keeps a shard busy.
#[derive(Debug, Default)]
pub struct Busy {
    bits: AtomicU8,
    running: Mutex<Option<Running>>,
}

/// What FUNCTION STATS tells of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub name: Vec<u8>,
    pub command: Vec<Vec<u8>>,
    pub since_ms: u64,
}

const BUSY: u8 = 1;
const WROTE: u8 = 1 << 1;
const KILLED: u8 = 1 << 2;
const FUNCTION: u8 = 1 << 3;

/// What becomes of an order to end a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    Done,
    NotBusy,
    /// It has changed data already.
    Unkillable,
    /// It is to be ended by the other command.
    Other,
}

fn runs(bits: u8) -> ErrReply {
    if bits & FUNCTION == 0 { EVAL_RUNS } else { FUNCTION_RUNS }
}

impl Busy {
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.bits.load(Ordering::Relaxed) != 0
    }

    /// With what commands are refused meanwhile.
    pub fn refusal(&self) -> Option<ErrReply> {
        let bits = self.bits.load(Ordering::Relaxed);
        (bits != 0).then(|| runs(bits))
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A script has run for too long.
    pub fn begin(&self, function: bool, running: Running) {
        *self.running() = Some(running);
        self.bits.store(if function { BUSY | FUNCTION } else { BUSY }, Ordering::Release);
    }

    /// Its shard says whether it has written; true when it is to end.
    pub fn note(&self, wrote: bool) -> bool {
        let bits = if wrote { WROTE } else { 0 };
        self.bits.fetch_or(bits, Ordering::AcqRel) & KILLED != 0
    }

    /// The script has ended.
    pub fn end(&self) {
        self.bits.store(0, Ordering::Release);
        *self.running() = None;
    }

    fn kill(&self, function: bool) -> Kill {
        let kind = if function { FUNCTION } else { 0 };
        let killed = self.bits.fetch_update(Ordering::AcqRel, Ordering::Acquire, |bits| {
            (bits & (BUSY | WROTE | FUNCTION) == BUSY | kind).then_some(bits | KILLED)
        });
        match killed {
            Ok(_) => Kill::Done,
            Err(bits) if bits & BUSY == 0 => Kill::NotBusy,
            Err(bits) if bits & WROTE != 0 => Kill::Unkillable,
            Err(_) => Kill::Other,
        }
    }
}

/// SCRIPT KILL or FUNCTION KILL: of the scripts that keep a host's shards busy, those of this kind end.
pub fn kill<'b>(all: impl Iterator<Item = &'b Busy>, function: bool) -> Result<(), ErrReply> {
    let kills: Vec<Kill> = all.map(|busy| busy.kill(function)).collect();
    match () {
        _ if kills.contains(&Kill::Done) => Ok(()),
        _ if kills.contains(&Kill::Unkillable) => Err(UNKILLABLE),
        _ if kills.contains(&Kill::Other) => Err(if function { EVAL_RUNS } else { FUNCTION_RUNS }),
        _ => Err(NOT_BUSY),
    }
}

/// The function that keeps one of the shards busy; the error when it is a script of another kind.
pub fn running<'b>(mut all: impl Iterator<Item = &'b Busy>) -> Result<Option<Running>, ErrReply> {
    let Some(busy) = all.find(|busy| busy.refusal().is_some()) else { return Ok(None) };
    match busy.bits.load(Ordering::Acquire) & FUNCTION {
        0 => Err(EVAL_RUNS),
        _ => Ok(busy.running().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_busy_script_that_has_not_written_is_killed() {
        let shards = [Busy::default(), Busy::default()];
        let running = Running { name: b"f".to_vec(), command: vec![b"FCALL".to_vec()], since_ms: 7 };
        let kill = |function| kill(shards.iter(), function);
        assert_eq!((kill(false), kill(true)), (Err(NOT_BUSY), Err(NOT_BUSY)));
        shards[1].begin(false, running.clone());
        assert_eq!(shards[1].refusal(), Some(EVAL_RUNS));
        assert_eq!(super::running(shards.iter()), Err(EVAL_RUNS));
        assert_eq!((kill(true), shards[1].note(false)), (Err(EVAL_RUNS), false));
        assert_eq!((kill(false), shards[1].note(false)), (Ok(()), true));
        shards[1].end();
        assert_eq!((kill(false), shards[1].refusal()), (Err(NOT_BUSY), None));
        shards[0].begin(true, running.clone());
        assert_eq!(super::running(shards.iter()), Ok(Some(running)));
        assert_eq!(kill(false), Err(FUNCTION_RUNS));
        assert!(!shards[0].note(true));
        assert_eq!((kill(true), kill(false)), (Err(UNKILLABLE), Err(UNKILLABLE)));
        assert!(!shards[0].note(true));
    }
}
