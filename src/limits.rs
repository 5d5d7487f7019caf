//! Every bound in the house. Nothing grows without one.

/// Longest bulk string and longest value: `proto-max-bulk-len`'s default.
pub const MAX_BULK: usize = 512 * 1024 * 1024;
/// Most arguments of one command.
pub const MAX_ARGS: usize = 1024 * 1024;
/// Most arguments and longest bulk of one command before the client has authenticated.
pub const MAX_ARGS_UNAUTH: usize = 10;
pub const MAX_BULK_UNAUTH: usize = 16 * 1024;
/// Longest inline command, and longest length line of a multibulk command.
pub const MAX_INLINE: usize = 64 * 1024;
/// Strings up to this length live inside their entry.
pub const INLINE_VALUE: usize = 1024;
/// Commands that are parsed and prefetched together before the first of them executes.
pub const BATCH: usize = 64;
/// Commands that are parsed between two steps of a key's way through memory.
pub const AHEAD: usize = 4;
/// A recycled batch keeps its buffers up to this size.
pub const BATCH_KEEP: usize = 256 * 1024;
/// Batches that may wait in one mailbox; senders keep the rest.
pub const MAILBOX: usize = 256;
/// Commands of one client that may await siblings' replies; fewer when those are large.
pub const PIPELINE: usize = 10_000;
/// How large replies are thought to be before the first one came.
pub const REPLY_GUESS: usize = 256 * 1024;
/// A client with this much unread output gets no more commands executed until it reads.
pub const OUTPUT_HIGH: usize = 4 * 1024 * 1024;
/// ... and goes on when it is down to this.
pub const OUTPUT_LOW: usize = 1024 * 1024;
/// Output below this waits for siblings' replies that belong behind it, for at most so long: a send
/// costs more than many replies.
pub const HELD_OUTPUT: usize = 16 * 1024;
pub const HELD_OUTPUT_US: u64 = 500;
/// Bytes of commands on hold, after which a client's socket is no longer read.
pub const PENDING_HIGH: usize = 1024 * 1024;
/// Volatile entries that one turn's active expiry looks at.
pub const EXPIRE_STEP: usize = 160;
/// Keys that are evicted between two looks at the time that it may take.
pub const EVICT_STEP: usize = 16;
/// Commands that may need memory before a turn looks at `maxmemory` again.
pub const LOOK_EVERY: u32 = 16;
/// One part in so many of `maxmemory` too much is worth waking siblings for; ...
pub const CROWDED: u64 = 512;
/// ... at one part in so many, a shard no longer waits for siblings to give up their share.
pub const OVERRUN: u64 = 32;
/// Arguments and bytes of each that a SLOWLOG entry keeps.
pub const SLOWLOG_ARGS: usize = 32;
pub const SLOWLOG_ARG_BYTES: usize = 128;
/// Provided receive buffers of a ring, and the size of each.
pub const RECV_BUFFERS: u16 = 512;
pub const RECV_BUFFER: u32 = 8 * 1024;
/// Receive buffers that are on offer to the kernel at least.
pub const RECV_OFFER: u16 = 64;
/// Submission and completion queue of a ring.
pub const RING_ENTRIES: u32 = 1024;
pub const RING_COMPLETIONS: u32 = 8192;
/// Buffers a client keeps between requests.
pub const KEEP_BUFFER: usize = 64 * 1024;
/// Turns after which a core lets the other tasks of its glommio executor run.
pub const TURNS_A_YIELD: u32 = 64;
/// Entries of glommio's own rings, which carry a core's files and timers.
pub const GLOMMIO_RING: usize = 128;
/// Longest reply to a random pick with repetitions (SRANDMEMBER and the like with a negative count).
pub const RANDOM_REPLY: usize = 256 * 1024 * 1024;
/// Descriptors that a host needs besides its clients', and each of its shards.
pub const OWN_FILES: u64 = 32;
pub const SHARD_FILES: u64 = 16;
