//! What the tests from outside share: server processes, ports, a small RESP client.
//!
//! A test that uses these sees Shoal only as its users do: a program, ports, bytes.
#![allow(dead_code, reason = "each test crate uses its own part of this")]

pub mod client;
pub mod host;
pub mod load;
pub mod members;
pub mod namespaces;
pub mod ports;
pub mod proxy;
pub mod replicas;
pub mod resp;
pub mod server;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Whether the longer proofs were asked for (`tests/run --long`).
pub fn long() -> bool {
    std::env::var_os("SHOAL_LONG").is_some_and(|v| v == "1")
}

/// The python that has redis-py: `tests/run` makes it.
pub fn python() -> PathBuf {
    let made = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/bin/python");
    match std::env::var_os("SHOAL_PYTHON") {
        Some(path) => PathBuf::from(path),
        None if made.exists() => made,
        None => PathBuf::from("python3"),
    }
}

/// Where ioredis is: `tests/run` puts it there.
pub fn node_modules() -> PathBuf {
    match std::env::var_os("SHOAL_NODE_MODULES") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-node/node_modules"),
    }
}

/// Calls `probe` until it gives something or `limit` has passed.
pub fn wait_for<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Bytes as a person reads them: escapes for what is not printable, shortened in the middle.
pub fn show(bytes: &[u8]) -> String {
    const EDGE: usize = 600;
    if bytes.len() <= 2 * EDGE {
        return bytes.escape_ascii().to_string();
    }
    let left_out = bytes.len() - 2 * EDGE;
    format!(
        "{} ..{left_out} bytes.. {}",
        bytes[..EDGE].escape_ascii(),
        bytes[bytes.len() - EDGE..].escape_ascii()
    )
}
