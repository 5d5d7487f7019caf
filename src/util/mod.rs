//! Small tools without a home of their own: numbers as Redis reads and writes them, globs, digests,
//! randomness.

pub mod glob;
pub mod num;
#[cfg(test)]
pub mod proof;
pub mod rng;
pub mod sha1;
pub mod sha256;
pub mod size;
