//! What a slot has cost so far. It lies beside the slot's table, in the cache line that every command of
//! the slot loads anyway, and goes where the table goes.

/// Sums since the shard got the slot, or since the statistics were reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub commands: u64,
    /// Time in execution.
    pub ticks: u64,
    /// Commands as they were sent, and replies.
    pub bytes_in: u64,
    pub bytes_out: u64,
}

impl Load {
    pub(super) const NONE: Load = Load { commands: 0, ticks: 0, bytes_in: 0, bytes_out: 0 };

    /// One command more.
    #[inline]
    pub(super) fn note(&mut self, ticks: u64, bytes_in: usize, bytes_out: usize) {
        self.commands += 1;
        self.ticks += ticks;
        self.bytes_in += bytes_in as u64;
        self.bytes_out += bytes_out as u64;
    }
}
