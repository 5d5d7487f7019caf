//! Configuration: one table of every directive.
