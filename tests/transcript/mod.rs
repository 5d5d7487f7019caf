//! Differential transcripts: the same requests to the real redis-server and to Shoal, and every
//! reply compared. The format of `tests/commands/*.resp` is described in [`script`].

pub mod compare;
pub mod play;
pub mod script;
mod words;
