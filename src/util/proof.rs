//! How far property tests go.

use proptest::test_runner::Config;

/// What `SHOAL_LONG` multiplies cases by, and what Miri divides them by, which is a thousand times slower.
const LONG: u32 = 50;
const MIRI: u32 = 16;

/// So many cases; with `SHOAL_LONG` many more.
pub fn cases(n: u32) -> Config {
    let cases = match (cfg!(miri), std::env::var_os("SHOAL_LONG").is_some()) {
        (true, _) => n.div_ceil(MIRI),
        (false, true) => n * LONG,
        (false, false) => n,
    };
    Config { cases, ..Config::default() }
}
