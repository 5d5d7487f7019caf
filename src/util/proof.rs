//! How far property tests go.

use proptest::test_runner::Config;

/// What `SHOAL_LONG` multiplies cases by.
const LONG: u32 = 50;

/// So many cases, or with `SHOAL_LONG` many more.
pub fn cases(n: u32) -> Config {
    let times = if std::env::var_os("SHOAL_LONG").is_some() { LONG } else { 1 };
    Config { cases: n * times, ..Config::default() }
}
