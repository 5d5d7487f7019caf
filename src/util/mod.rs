//! Small tools without a home of their own: numbers as Redis reads and writes them, globs, randomness.

pub mod glob;
pub mod num;
pub mod rng;
