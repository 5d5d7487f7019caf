//! Time and access policy, as arguments; the 24-bit access field of an entry.
//!
//! The field is Redis's: seconds modulo 2^24 under an LRU policy; under an LFU policy 16 bits of
//! minutes since the last decay and an 8-bit logarithmic counter.

use crate::util::rng::Rng;

/// What to do with a key that is past its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Remove it: a master.
    #[default]
    Remove,
    /// Act as if it weren't there, and leave it to the master: a replica towards its clients.
    Hide,
    /// Treat it as alive: a command from the master, a load from disk.
    Ignore,
}

/// The moment of a command and how its accesses are recorded. Fixed for a whole command.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Unix time in milliseconds.
    pub now_ms: u64,
    pub expiry: Expiry,
    /// `CLIENT NO-TOUCH`: accesses leave the access field alone.
    pub no_touch: bool,
    /// The access field holds LFU data (`maxmemory-policy *-lfu`).
    pub lfu: bool,
    pub lfu_log_factor: u32,
    /// Minutes for which a counter loses one; 0 never.
    pub lfu_decay_time: u32,
}

/// Largest value of the access field.
const FIELD: u32 = (1 << 24) - 1;
/// Where a new key's LFU counter starts, so that it is not evicted at once.
const LFU_INIT: u32 = 5;

impl Clock {
    /// A master's clock with Redis's default settings.
    pub fn at(now_ms: u64) -> Clock {
        Clock {
            now_ms,
            expiry: Expiry::Remove,
            no_touch: false,
            lfu: false,
            lfu_log_factor: 10,
            lfu_decay_time: 1,
        }
    }

    /// Whether a key with this expiry is past its time and must not be seen.
    #[inline]
    pub fn expired(&self, expire_at: u64) -> bool {
        self.now_ms > expire_at && self.expiry != Expiry::Ignore
    }

    #[inline]
    pub(super) fn seconds(&self) -> u32 {
        (self.now_ms / 1000) as u32 & FIELD
    }

    fn minutes(&self) -> u32 {
        (self.now_ms / 60_000) as u32 & 0xFFFF
    }

    /// The access field of a new key.
    #[inline]
    pub(super) fn fresh(&self) -> u32 {
        match self.lfu {
            true => self.lfu_field(LFU_INIT as u8),
            false => self.seconds(),
        }
    }

    /// An access field with this LFU counter, as `RESTORE … FREQ` sets it.
    pub fn lfu_field(&self, counter: u8) -> u32 {
        self.minutes() << 8 | counter as u32
    }

    /// An access field that is `idle` seconds old, as `RESTORE … IDLETIME` sets it.
    pub fn lru_field(&self, idle: u64) -> u32 {
        self.seconds().wrapping_sub(idle.min(FIELD as u64) as u32) & FIELD
    }

    /// The access field after one more access.
    #[inline]
    pub(super) fn touched(&self, field: u32, rng: &mut Rng) -> u32 {
        if !self.lfu {
            return self.seconds();
        }
        let counter = self.frequency(field) as u32;
        let base = counter.saturating_sub(LFU_INIT);
        let chance = 1.0 / (base as f64 * self.lfu_log_factor as f64 + 1.0);
        let more = (counter < 255 && rng.unit() < chance) as u32;
        self.lfu_field((counter + more) as u8)
    }

    /// The LFU counter in `field`, decayed to now.
    pub fn frequency(&self, field: u32) -> u8 {
        let last = field >> 8;
        let elapsed = self.minutes().wrapping_sub(last) & 0xFFFF;
        let periods = elapsed.checked_div(self.lfu_decay_time).unwrap_or(0);
        (field & 0xFF).saturating_sub(periods) as u8
    }

    /// Seconds since the last access in `field`.
    pub fn idle(&self, field: u32) -> u64 {
        (self.seconds().wrapping_sub(field) & FIELD) as u64
    }
}
