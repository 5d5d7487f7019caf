//! Numbers as Redis reads and writes them.
//!
//! Integers are canonical or refused. Doubles are read by the rules of C's `strtod` and written
//! with seventeen significant digits. [`LongDouble`] is the 80-bit arithmetic of `INCRBYFLOAT`.

mod long;
mod scan;

use std::fmt::{self, Write};

use smallvec::SmallVec;

pub use long::LongDouble;
use scan::{Number, scan};

/// Room for the text of any number; spills for the very long ones.
pub type Buf = SmallVec<[u8; 40]>;

/// Longest canonical text of an `i64`: `-9223372036854775808`.
const I64_TEXT: usize = 20;

/// A canonical decimal integer: the only text that writing the result gives back. No plus sign,
/// no leading zeros, no spaces, no `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > I64_TEXT {
        return None;
    }
    match text {
        [b'-', digits @ ..] => {
            let n = parse_u64(digits)?;
            match n {
                0 => None,
                n if n <= i64::MAX as u64 + 1 => Some((n as i64).wrapping_neg()),
                _ => None,
            }
        }
        digits => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// A canonical decimal integer without a sign: no leading zeros, no spaces.
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [] => None,
        [b'0'] => Some(0),
        [b'0', ..] => None,
        // Nineteen digits cannot overflow.
        digits if digits.len() <= 19 => {
            let mut n = 0u64;
            for &d in digits {
                let d = d.wrapping_sub(b'0');
                if d > 9 {
                    return None;
                }
                n = n * 10 + d as u64;
            }
            Some(n)
        }
        digits => checked_digits(digits),
    }
}

fn checked_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |n, d| match d.wrapping_sub(b'0') {
        d @ 0..=9 => n.checked_mul(10)?.checked_add(d as u64),
        _ => None,
    })
}

/// An unsigned integer by the rules of C's `strtoull`, as Redis reads the halves of a stream id:
/// leading spaces, a sign (a minus wraps around, unless the text is a canonical negative
/// integer, which is refused) and leading zeros are allowed; the text ends at its first NUL.
pub fn parse_u64_loose(text: &[u8]) -> Option<u64> {
    if let Some(n) = parse_i64(text) {
        return u64::try_from(n).ok();
    }
    let text = until_nul(text);
    let text = &text[text.iter().take_while(|b| is_space(**b)).count()..];
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    let n = checked_digits(digits)?;
    Some(if negative { n.wrapping_neg() } else { n })
}

/// A double by the rules of C's `strtod`: decimal or hexadecimal, with or without exponent,
/// `inf` and `infinity` in any case. Refuses NaN, spaces, anything left over, and numbers that
/// overflow or that vanish to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    if let Some(x) = small_integer(text) {
        return Some(x);
    }
    let (number, used) = scan(text)?;
    if used != text.len() {
        return None;
    }
    let (x, in_range) = to_f64(&number, text)?;
    in_range.then_some(x)
}

/// The number that `text` begins with, by the rules of C's `strtod`, and how many bytes it is long. Skips no
/// spaces.
pub fn f64_prefix(text: &[u8]) -> Option<(f64, usize)> {
    let (number, used) = scan(text)?;
    match to_f64(&number, &text[..used]) {
        Some((x, _)) => Some((x, used)),
        // only its three letters are told from what follows
        None if text.first() == Some(&b'-') => Some((-f64::NAN, 4)),
        None => Some((f64::NAN, 3 + usize::from(text.first() == Some(&b'+')))),
    }
}

/// A bound of a score range: what `strtod` makes of the text up to its first NUL. Unlike
/// [`parse_f64`] this takes leading spaces, an empty text (0) and overflow (infinity).
pub fn parse_f64_bound(text: &[u8]) -> Option<f64> {
    let text = until_nul(text);
    if text.is_empty() {
        return Some(0.0);
    }
    let text = &text[text.iter().take_while(|b| is_space(**b)).count()..];
    let (number, used) = scan(text)?;
    if used != text.len() {
        return None;
    }
    to_f64(&number, text).map(|(x, _)| x)
}

/// Up to fifteen plain digits, the most common score: exact without any rounding.
#[inline]
fn small_integer(text: &[u8]) -> Option<f64> {
    if text.is_empty() || text.len() > 15 {
        return None;
    }
    checked_digits(text).map(|n| n as f64)
}

/// The double, and whether it neither overflowed nor vanished. `None` for NaN.
fn to_f64(number: &Number, text: &[u8]) -> Option<(f64, bool)> {
    match number {
        Number::Nan => None,
        Number::Inf { negative } => Some((if *negative { f64::NEG_INFINITY } else { f64::INFINITY }, true)),
        Number::Decimal(decimal) => {
            // What was scanned is a subset of what Rust parses, and Rust rounds as C does.
            let x: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            Some((x, x.is_finite() && (x != 0.0 || decimal.is_zero())))
        }
        Number::Hex(hex) => Some(hex.to_f64()),
    }
}

/// What C takes for the whole of `text`.
pub fn until_nul(text: &[u8]) -> &[u8] {
    &text[..memchr::memchr(0, text).unwrap_or(text.len())]
}

/// C's `isspace`.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Appends `n` in decimal.
#[inline]
pub fn write_i64(out: &mut Buf, n: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Appends `n` in decimal.
#[inline]
pub fn write_u64(out: &mut Buf, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// `x` as an integer where that loses nothing and lies within ±2^62: when Redis stores a score
/// as an integer. Negative zero becomes 0.
#[inline]
pub fn exact_i64(x: f64) -> Option<i64> {
    const LIMIT: f64 = (1u64 << 62) as f64;
    // Written so that NaN fails it.
    if !(-LIMIT..=LIMIT).contains(&x) {
        return None;
    }
    let n = x as i64;
    (n as f64 == x).then_some(n)
}

/// What C makes of `x` as a whole number, on the machines that Redis runs on: cut off towards zero; the
/// least of all where it does not fit, or is NaN.
pub fn c_i64(x: f64) -> i64 {
    const LIMIT: f64 = (1u64 << 63) as f64;
    if (-LIMIT..LIMIT).contains(&x) { x as i64 } else { i64::MIN }
}

/// As [`c_i64`] without a sign: negative numbers wrap around.
pub fn c_u64(x: f64) -> u64 {
    const LIMIT: f64 = (1u64 << 63) as f64;
    if x >= LIMIT { c_i64(x - LIMIT) as u64 ^ 1 << 63 } else { c_i64(x) as u64 }
}

/// Appends `x` as Redis replies with doubles: `inf`, `-inf`, `nan`, and else C's `%.17g`
/// (`3`, `1.1000000000000001`, `1e+20`, `-0`).
pub fn write_double(out: &mut Buf, x: f64) {
    if x.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if x.is_infinite() {
        return out.extend_from_slice(if x > 0.0 { b"inf" } else { b"-inf" });
    }
    // Below 1e17 an integer has at most seventeen digits, so %.17g shows it as it is.
    if x.abs() < 1e17 && x as i64 as f64 == x {
        if x == 0.0 && x.is_sign_negative() {
            out.push(b'-');
        }
        return write_i64(out, x as i64);
    }
    write_g17(out, x);
}

/// Appends `x` as Redis stores scores: as [`write_double`], but integers within ±2^62 always in
/// full, and negative zero as `-0`.
pub fn write_score(out: &mut Buf, x: f64) {
    match exact_i64(x) {
        Some(n) if n != 0 => write_i64(out, n),
        _ => write_double(out, x),
    }
}

/// C's `%.17g` of a finite number.
fn write_g17(out: &mut Buf, x: f64) {
    write_general(out, x, 17);
}

/// C's `%.*g` of a finite number, with at most `precision` (1 to 17) digits.
pub fn write_general(out: &mut Buf, x: f64, precision: usize) {
    let mut text = Stack { bytes: [0; 32], len: 0 };
    // Never fails: the longest is `-d.dddddddddddddddde-ddd`, 24 bytes.
    let _ = write!(text, "{x:.*e}", precision - 1);
    let text = &text.bytes[..text.len];
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let e = memchr::memchr(b'e', text).unwrap_or(text.len());
    let exponent = text.get(e + 1..).and_then(parse_i64).unwrap_or(0) as i32;
    let mut digits = [0u8; 17];
    digits[0] = text[0];
    if precision > 1 {
        digits[1..precision].copy_from_slice(&text[2..precision + 1]);
    }
    let digits = &digits[..precision];
    let significant = digits.iter().rposition(|&d| d != b'0').map_or(1, |last| last + 1);
    let digits = &digits[..significant];

    if negative {
        out.push(b'-');
    }
    if !(-4..precision as i32).contains(&exponent) {
        write_exponential(out, digits, exponent);
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        if digits.len() <= whole {
            out.extend_from_slice(digits);
            out.extend(std::iter::repeat_n(b'0', whole - digits.len()));
        } else {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }
}

fn write_exponential(out: &mut Buf, digits: &[u8], exponent: i32) {
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.unsigned_abs() < 10 {
        out.push(b'0');
    }
    write_u64(out, exponent.unsigned_abs() as u64);
}

/// Appends `x` without exponent, with at most seventeen decimals and no zeros at the end: how
/// Redis replies with coordinates.
pub fn write_human_double(out: &mut Buf, x: f64) {
    LongDouble::from_f64(x).write_human(out);
}

/// Appends `x` with exactly `decimals` (1 to 17) digits after the point, as Redis replies with
/// distances. `x` times ten to `decimals` must fit an `i64`; it is clamped otherwise.
pub fn write_fixed(out: &mut Buf, x: f64, decimals: u32) {
    let scale = 10u64.pow(decimals);
    let scaled = (x * scale as f64).round_ties_even() as i64;
    if scaled < 0 {
        out.push(b'-');
    }
    let scaled = scaled.unsigned_abs();
    write_u64(out, scaled / scale);
    out.push(b'.');
    write_padded(out, scaled % scale, decimals as usize);
}

/// `n` with leading zeros to `width` digits.
fn write_padded(out: &mut Buf, n: u64, width: usize) {
    let mut text = itoa::Buffer::new();
    let digits = text.format(n).as_bytes();
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits);
}

/// A formatting target that never allocates.
struct Stack {
    bytes: [u8; 32],
    len: usize,
}

impl Write for Stack {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
