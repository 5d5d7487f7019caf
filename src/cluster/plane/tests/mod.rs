//! Planes against each other in a network in memory.

mod commands;
mod failing;
mod handing;
mod joining;
mod moving;
mod net;
mod storms;
mod succession;
mod trunks;
