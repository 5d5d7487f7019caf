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
