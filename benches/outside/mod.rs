//! What the benches from outside share: pinned server processes, a small load generator, RESP as far
//! as both need it.
#![allow(dead_code, reason = "each bench uses its own part of this")]

pub mod delays;
pub mod epoll;
pub mod load;
pub mod overwrite;
pub mod resp;
pub mod server;

/// `key:000000000042`: 16 bytes, as redis-benchmark names its keys.
pub fn key(n: u64) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(n).as_bytes();
    name[16 - digits.len()..].copy_from_slice(digits);
    name
}

/// Keeps this thread, and those that it starts, on one core.
pub fn pin(core: usize) -> Result<(), String> {
    let mut cores = nix::sched::CpuSet::new();
    let this = nix::unistd::Pid::from_raw(0);
    let done = cores.set(core).and_then(|()| nix::sched::sched_setaffinity(this, &cores));
    done.map_err(|e| format!("can't run on core {core}: {e}"))
}

/// `12345678` as `12,345,678`.
pub fn thousands(n: f64) -> String {
    let digits = format!("{n:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
