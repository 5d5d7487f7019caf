//! The syntax of C's `strtod`, and rounding to a binary precision.

/// A number as written, not yet rounded.
pub enum Number<'a> {
    Nan,
    Inf { negative: bool },
    Decimal(Decimal<'a>),
    Hex(Hex),
}

/// `whole.fraction` times ten to `exponent`.
pub struct Decimal<'a> {
    pub negative: bool,
    pub whole: &'a [u8],
    pub fraction: &'a [u8],
    pub exponent: i64,
}

impl Decimal<'_> {
    pub fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.iter().chain(self.fraction).map(|d| d - b'0')
    }

    pub fn is_zero(&self) -> bool {
        self.digits().all(|d| d == 0)
    }
}

/// `mantissa` times two to `exponent`, plus a little less than one unit when `more`; then
/// `mantissa` has more than 100 bits.
pub struct Hex {
    pub negative: bool,
    pub mantissa: u128,
    pub exponent: i64,
    pub more: bool,
}

/// Exponents beyond this are as good as infinite; keeps the arithmetic from overflowing.
const FAR: i64 = 1 << 40;

/// Reads the longest number at the start of `text`, sign included, and how many bytes it took.
/// `None` when there is no number. Skips no spaces.
pub fn scan(text: &[u8]) -> Option<(Number<'_>, usize)> {
    let (negative, at) = match text.first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let body = &text[at..];
    if let Some((number, used)) = word(body, negative) {
        return Some((number, at + used));
    }
    if body.len() > 2
        && body[..2].eq_ignore_ascii_case(b"0x")
        && let Some((hex, used)) = hex(&body[2..], negative)
    {
        return Some((Number::Hex(hex), at + 2 + used));
    }
    let (decimal, used) = decimal(body, negative)?;
    Some((Number::Decimal(decimal), at + used))
}

fn word(body: &[u8], negative: bool) -> Option<(Number<'static>, usize)> {
    let starts = |word: &[u8]| body.len() >= word.len() && body[..word.len()].eq_ignore_ascii_case(word);
    if starts(b"infinity") {
        Some((Number::Inf { negative }, 8))
    } else if starts(b"inf") {
        Some((Number::Inf { negative }, 3))
    } else if starts(b"nan") {
        // `nan(...)` too is a NaN, and NaN is refused wherever it stands.
        Some((Number::Nan, body.len()))
    } else {
        None
    }
}

/// How many bytes at the start pass `test`.
fn run(text: &[u8], test: impl Fn(&u8) -> bool) -> usize {
    text.iter().take_while(|b| test(b)).count()
}

/// The two digit strings around the point, and how many bytes they took.
fn mantissa(text: &[u8], test: impl Fn(&u8) -> bool + Copy) -> Option<(&[u8], &[u8], usize)> {
    let whole = &text[..run(text, test)];
    let mut used = whole.len();
    let mut fraction: &[u8] = &[];
    if text.get(used) == Some(&b'.') {
        let rest = &text[used + 1..];
        fraction = &rest[..run(rest, test)];
        used += 1 + fraction.len();
    }
    (!whole.is_empty() || !fraction.is_empty()).then_some((whole, fraction, used))
}

/// An exponent behind `mark`, and how many bytes it took; (0, 0) when there is none.
fn exponent(text: &[u8], mark: u8) -> (i64, usize) {
    if !text.first().is_some_and(|b| b.eq_ignore_ascii_case(&mark)) {
        return (0, 0);
    }
    let (negative, at) = match text.get(1) {
        Some(b'-') => (true, 2),
        Some(b'+') => (false, 2),
        _ => (false, 1),
    };
    let digits = &text[at..][..run(&text[at..], u8::is_ascii_digit)];
    if digits.is_empty() {
        return (0, 0);
    }
    let n = digits.iter().fold(0i64, |n, d| (n * 10 + (d - b'0') as i64).min(FAR));
    (if negative { -n } else { n }, at + digits.len())
}

fn decimal(text: &[u8], negative: bool) -> Option<(Decimal<'_>, usize)> {
    let (whole, fraction, used) = mantissa(text, u8::is_ascii_digit)?;
    let (exponent, more) = exponent(&text[used..], b'e');
    Some((Decimal { negative, whole, fraction, exponent }, used + more))
}

fn hex(text: &[u8], negative: bool) -> Option<(Hex, usize)> {
    let (whole, fraction, used) = mantissa(text, u8::is_ascii_hexdigit)?;
    let (exponent, tail) = exponent(&text[used..], b'p');
    let mut hex = Hex { negative, mantissa: 0, exponent, more: false };
    for (i, digit) in whole.iter().chain(fraction).enumerate() {
        let value = (*digit as char).to_digit(16).unwrap_or(0) as u128;
        // Digits that no longer fit only say whether anything follows.
        let fits = hex.mantissa >> 120 == 0;
        if fits {
            hex.mantissa = hex.mantissa << 4 | value;
        } else {
            hex.more |= value != 0;
        }
        let in_fraction = i >= whole.len();
        hex.exponent += match (fits, in_fraction) {
            (true, true) => -4,
            (false, false) => 4,
            _ => 0,
        };
    }
    Some((hex, used + tail))
}

impl Hex {
    /// The nearest double, and whether it neither overflowed nor vanished.
    pub fn to_f64(&self) -> (f64, bool) {
        let sign = if self.negative { -1.0 } else { 1.0 };
        if self.mantissa == 0 {
            return (0.0 * sign, true);
        }
        if self.exponent.abs() > 100_000 {
            return (if self.exponent > 0 { f64::INFINITY } else { 0.0 } * sign, false);
        }
        let (mantissa, exponent) = round(self.mantissa, self.exponent as i32, self.more, 53, -1074);
        if mantissa == 0 {
            return (0.0 * sign, false);
        }
        if exponent > 971 {
            return (f64::INFINITY * sign, false);
        }
        // Both factors and the product are exact: `mantissa` already fits where it lands.
        let bits = match mantissa >> 52 {
            0 => mantissa,
            _ => ((exponent + 1075) as u64) << 52 | (mantissa & ((1 << 52) - 1)),
        };
        (f64::from_bits(bits) * sign, true)
    }
}

/// Rounds `mantissa` times two to `exponent`, plus less than a unit when `more`, to `precision`
/// (at most 64) bits, half to even, with an exponent of at least `min_exponent`. The result has
/// exactly `precision` bits unless it sits at `min_exponent`. `mantissa` is not 0; with `more`
/// it has more than `precision` + 1 bits.
pub fn round(mantissa: u128, exponent: i32, more: bool, precision: u32, min_exponent: i32) -> (u64, i32) {
    let bits = 128 - mantissa.leading_zeros();
    let target = (exponent + bits as i32 - precision as i32).max(min_exponent);
    let drop = target - exponent;
    if drop <= 0 {
        return ((mantissa << -drop) as u64, target);
    }
    if drop > 128 {
        return (0, target);
    }
    let (kept, rest) = match drop {
        128 => (0, mantissa),
        _ => (mantissa >> drop, mantissa & ((1 << drop) - 1)),
    };
    let half = 1u128 << (drop - 1);
    let up = rest > half || (rest == half && (more || kept & 1 == 1));
    let kept = kept + up as u128;
    if kept >> precision != 0 {
        return ((kept >> 1) as u64, target + 1);
    }
    (kept as u64, target)
}
