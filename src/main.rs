//! `shoal`: the allocator, and the arguments handed to [`shoal::server::run`].

use shoal::net::heap::Counting;
use std::process::ExitCode;

#[global_allocator]
static HEAP: Counting<mimalloc::MiMalloc> = Counting(mimalloc::MiMalloc);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    shoal::server::run(&args)
}
