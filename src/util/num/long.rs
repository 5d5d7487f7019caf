//! The x87 80-bit floating point number, in which Redis does `INCRBYFLOAT`.
//!
//! Clients see its rounding: 0.1 + 0.2 gives `0.3` and not `0.30000000000000004`. So it is
//! emulated bit by bit: a 64-bit mantissa, exact reading, exact addition, exact printing.

use smallvec::{SmallVec, smallvec};

use super::scan::{Decimal, Number, round, scan};
use super::{Buf, write_padded, write_u64};

/// Texts of this length and above are refused, as Redis does.
const MAX_TEXT: usize = 5 * 1024;
const PRECISION: u32 = 64;
/// Exponents of the mantissa's lowest bit: the smallest denormal's, the largest finite number's.
const MIN_EXPONENT: i32 = -16445;
const MAX_EXPONENT: i32 = 16383 - 63;
const DECIMALS: usize = 17;
const TEN_TO_DECIMALS: u64 = 10u64.pow(DECIMALS as u32);

/// An 80-bit floating point number. Never NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magnitude {
    Zero,
    /// `mantissa` times two to `exponent`; the top bit is set except at the lowest exponent.
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
}

use Magnitude::{Finite, Infinite, Zero};

impl LongDouble {
    pub const ZERO: LongDouble = LongDouble { negative: false, magnitude: Zero };

    /// Reads a number by the rules of C's `strtold`; refuses NaN, spaces, anything left over,
    /// numbers that overflow or vanish, and texts of 5 KiB and more. Infinities are read.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.is_empty() || text.len() >= MAX_TEXT {
            return None;
        }
        let (number, used) = scan(text)?;
        if used != text.len() {
            return None;
        }
        let (negative, magnitude) = match number {
            Number::Nan => return None,
            Number::Inf { negative } => return Some(LongDouble { negative, magnitude: Infinite }),
            Number::Decimal(decimal) => (decimal.negative, from_decimal(&decimal)?),
            Number::Hex(hex) if hex.mantissa == 0 => (hex.negative, Zero),
            Number::Hex(hex) if hex.exponent.abs() > 100_000 => return None,
            Number::Hex(hex) => (hex.negative, rounded(hex.mantissa, hex.exponent as i32, hex.more, true)?),
        };
        (magnitude != Infinite).then_some(LongDouble { negative, magnitude })
    }

    pub fn from_i64(n: i64) -> LongDouble {
        LongDouble { negative: n < 0, magnitude: exact(n.unsigned_abs() as u128, 0) }
    }

    /// `x`, which is not NaN.
    pub fn from_f64(x: f64) -> LongDouble {
        debug_assert!(!x.is_nan());
        let negative = x.is_sign_negative();
        if x.is_infinite() {
            return LongDouble { negative, magnitude: Infinite };
        }
        let bits = x.to_bits();
        let (biased, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
        let magnitude = match biased {
            0 => exact(fraction as u128, -1074),
            _ => exact((fraction | 1 << 52) as u128, biased - 1075),
        };
        LongDouble { negative, magnitude }
    }

    pub fn is_infinite(self) -> bool {
        self.magnitude == Infinite
    }

    /// The product, rounded once.
    pub fn times(self, factor: u32) -> LongDouble {
        let magnitude = match self.magnitude {
            Finite { mantissa, exponent } if factor > 0 => {
                rounded(mantissa as u128 * factor as u128, exponent, false, false).unwrap_or(Zero)
            }
            Finite { .. } => Zero,
            magnitude => magnitude,
        };
        LongDouble { magnitude, ..self }
    }

    /// The smallest integer that is not below the number; `None` when that has more than 64 bits.
    pub fn ceil(self) -> Option<i64> {
        let (whole, fraction) = match self.magnitude {
            Zero => (0, false),
            Infinite => return None,
            Finite { exponent: 1.., .. } => return None,
            Finite { mantissa, exponent } => match mantissa.checked_shr(exponent.unsigned_abs()) {
                Some(whole) => (whole, whole << exponent.unsigned_abs() != mantissa),
                None => (0, true),
            },
        };
        match self.negative {
            true => 0i64.checked_sub_unsigned(whole),
            false => whole.checked_add(fraction as u64).and_then(|n| i64::try_from(n).ok()),
        }
    }

    /// Appends the number without exponent, with at most seventeen decimals and no zeros at the
    /// end; `inf` and `-inf` for infinities. What rounds to zero has no sign.
    pub fn write_human(self, out: &mut Buf) {
        let start = out.len();
        if self.negative {
            out.push(b'-');
        }
        match self.magnitude {
            Zero => out.push(b'0'),
            Infinite => out.extend_from_slice(b"inf"),
            Finite { mantissa, exponent } if exponent >= 0 => {
                let mut whole = Big::from_u64(mantissa);
                whole.shift_left(exponent as u32);
                whole.write(out);
            }
            Finite { mantissa, exponent } => write_fraction(out, mantissa, exponent.unsigned_abs()),
        }
        if out[start..] == *b"-0" {
            out.remove(start);
        }
    }
}

/// The sum, rounded once. `None` when it is no number: infinities of both signs.
impl std::ops::Add for LongDouble {
    type Output = Option<LongDouble>;

    fn add(self, other: LongDouble) -> Option<LongDouble> {
        let (a, b) = (self, other);
        let ((am, ae), (bm, be)) = match (a.magnitude, b.magnitude) {
            (Infinite, Infinite) => return (a.negative == b.negative).then_some(a),
            (Infinite, _) => return Some(a),
            (_, Infinite) => return Some(b),
            (Zero, Zero) => {
                return Some(LongDouble { negative: a.negative && b.negative, ..a });
            }
            (_, Zero) => return Some(a),
            (Zero, _) => return Some(b),
            (Finite { mantissa: am, exponent: ae }, Finite { mantissa: bm, exponent: be }) => {
                ((am, ae), (bm, be))
            }
        };
        // The larger one on top. Sixty-three bits below it are room for the smaller one; what
        // falls out of them cannot change the rounding except by being there.
        let a_first = (ae, am) >= (be, bm);
        let (big, small, sign) = match a_first {
            true => ((am, ae), (bm, be), a.negative),
            false => ((bm, be), (am, ae), b.negative),
        };
        let top = (big.0 as u128) << 63;
        let gap = (big.1 - small.1) as u32;
        let aligned = (small.0 as u128) << 63;
        let low = match gap {
            0..=127 => {
                let kept = aligned >> gap;
                kept | (kept << gap != aligned) as u128
            }
            _ => 1,
        };
        let sum = if a.negative == b.negative { top + low } else { top - low };
        if sum == 0 {
            return Some(LongDouble::ZERO);
        }
        let magnitude = rounded(sum, big.1 - 63, false, false).unwrap_or(Zero);
        Some(LongDouble { negative: sign, magnitude })
    }
}

/// A mantissa of at most 64 significant bits that needs no rounding.
fn exact(mantissa: u128, exponent: i32) -> Magnitude {
    if mantissa == 0 {
        return Zero;
    }
    let (mantissa, exponent) = round(mantissa, exponent, false, PRECISION, MIN_EXPONENT);
    Finite { mantissa, exponent }
}

/// Rounds to 64 bits; overflow is infinite. What vanishes is zero, or `None` when `refuse_zero`.
fn rounded(mantissa: u128, exponent: i32, more: bool, refuse_zero: bool) -> Option<Magnitude> {
    let (mantissa, exponent) = round(mantissa, exponent, more, PRECISION, MIN_EXPONENT);
    match mantissa {
        0 if refuse_zero => None,
        0 => Some(Zero),
        _ if exponent > MAX_EXPONENT => Some(Infinite),
        _ => Some(Finite { mantissa, exponent }),
    }
}

/// `None` when the number vanishes or overflows.
fn from_decimal(decimal: &Decimal) -> Option<Magnitude> {
    let mut digits: SmallVec<[u8; 64]> = decimal.digits().skip_while(|d| *d == 0).collect();
    if digits.is_empty() {
        return Some(Zero);
    }
    let mut exponent = decimal.exponent - decimal.fraction.len() as i64;
    while digits.last() == Some(&0) {
        digits.pop();
        exponent += 1;
    }
    // The first digit's place: beyond these the answer is certain, and the arithmetic is bounded.
    if !(-4970..=4940).contains(&(exponent + digits.len() as i64)) {
        return None;
    }
    let (mantissa, exponent, more) = match exponent {
        -18..=-1 if digits.len() <= 19 => {
            let n = digits.iter().fold(0u64, |n, d| n * 10 + *d as u64);
            divide_small(n, 10u64.pow(-exponent as u32))
        }
        0.. => {
            let mut n = Big::from_digits(&digits);
            n.times_ten_to(exponent as u32);
            n.top_bits()
        }
        _ => {
            let mut ten = Big::from_u64(1);
            ten.times_ten_to(-exponent as u32);
            divide(Big::from_digits(&digits), ten)
        }
    };
    rounded(mantissa, exponent, more, true)
}

/// `n / d` as (mantissa of at least 67 bits, exponent, whether a remainder is left).
/// `d` is at most 10^18.
fn divide_small(n: u64, d: u64) -> (u128, i32, bool) {
    let n = n as u128;
    let shift = n.leading_zeros();
    let (n, d) = (n << shift, d as u128);
    (n / d, -(shift as i32), n % d != 0)
}

/// `n / d` as (mantissa of 100 bits or one more, exponent, whether a remainder is left).
fn divide(mut n: Big, mut d: Big) -> (u128, i32, bool) {
    const STEPS: i32 = 101;
    let lift = d.bits() as i32 - n.bits() as i32;
    match lift >= 0 {
        true => n.shift_left(lift as u32),
        false => d.shift_left(lift.unsigned_abs()),
    }
    let mut quotient = 0u128;
    for _ in 0..STEPS {
        let bit = n.at_least(&d);
        if bit {
            n.subtract(&d);
        }
        quotient = quotient << 1 | bit as u128;
        n.shift_left(1);
    }
    (quotient, 1 - STEPS - lift, !n.0.is_empty())
}

/// `mantissa` divided by two to `shift`, with seventeen decimals rounded half to even, without
/// the zeros at the end.
fn write_fraction(out: &mut Buf, mantissa: u64, shift: u32) {
    let (whole, rest) = match shift {
        0..64 => (mantissa >> shift, mantissa & ((1 << shift) - 1)),
        _ => (0, mantissa),
    };
    // Below 2^121, so that nothing of it is left after 122 places.
    let product = rest as u128 * TEN_TO_DECIMALS as u128;
    let decimals = match shift {
        0..128 => {
            let kept = product >> shift;
            let dropped = product - (kept << shift);
            let half = 1u128 << (shift - 1);
            kept + (dropped > half || (dropped == half && kept & 1 == 1)) as u128
        }
        _ => 0,
    } as u64;
    write_u64(out, whole + decimals / TEN_TO_DECIMALS);
    let decimals = decimals % TEN_TO_DECIMALS;
    if decimals != 0 {
        out.push(b'.');
        write_padded(out, decimals, DECIMALS);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// A natural number: limbs, lowest first, without zeros at the top.
struct Big(SmallVec<[u64; 8]>);

impl Big {
    fn from_u64(n: u64) -> Big {
        Big(if n == 0 { smallvec![] } else { smallvec![n] })
    }

    fn from_digits(digits: &[u8]) -> Big {
        let mut big = Big::from_u64(0);
        for chunk in digits.chunks(19) {
            let n = chunk.iter().fold(0u64, |n, d| n * 10 + *d as u64);
            big.times_plus(10u64.pow(chunk.len() as u32), n);
        }
        big
    }

    fn times_plus(&mut self, factor: u64, add: u64) {
        let mut carry = add as u128;
        for limb in &mut self.0 {
            carry += *limb as u128 * factor as u128;
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry != 0 {
            self.0.push(carry as u64);
        }
    }

    fn times_ten_to(&mut self, mut power: u32) {
        while power > 0 {
            let step = power.min(19);
            self.times_plus(10u64.pow(step), 0);
            power -= step;
        }
    }

    fn bits(&self) -> u32 {
        match self.0.last() {
            Some(top) => self.0.len() as u32 * 64 - top.leading_zeros(),
            None => 0,
        }
    }

    fn shift_left(&mut self, places: u32) {
        let (limbs, bits) = ((places / 64) as usize, places % 64);
        if self.0.is_empty() {
            return;
        }
        if bits > 0 {
            let mut carry = 0;
            for limb in &mut self.0 {
                let out = *limb >> (64 - bits);
                *limb = *limb << bits | carry;
                carry = out;
            }
            if carry != 0 {
                self.0.push(carry);
            }
        }
        self.0.insert_many(0, std::iter::repeat_n(0, limbs));
    }

    fn at_least(&self, other: &Big) -> bool {
        let order = self.0.len().cmp(&other.0.len());
        order.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())).is_ge()
    }

    /// Takes `other`, which is not larger.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = false;
        for (i, limb) in self.0.iter_mut().enumerate() {
            let (n, under) = limb.overflowing_sub(other.0.get(i).copied().unwrap_or(0));
            let (n, again) = n.overflowing_sub(borrow as u64);
            *limb = n;
            borrow = under || again;
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// The highest 128 bits (or all), their exponent, and whether there is anything below.
    fn top_bits(&self) -> (u128, i32, bool) {
        let limb = |i: usize| self.0.get(i).copied().unwrap_or(0) as u128;
        if self.0.len() <= 2 {
            return (limb(1) << 64 | limb(0), 0, false);
        }
        // Sixty-four bits more than the precision asks for: two whole limbs below the top are
        // enough, however few bits the top limb has.
        let n = self.0.len();
        let spare = self.0[n - 1].leading_zeros();
        let mut top = (limb(n - 1) << 64 | limb(n - 2)) << spare;
        if spare > 0 {
            top |= limb(n - 3) >> (64 - spare);
        }
        let below = (limb(n - 3) as u64) << spare != 0 || self.0[..n - 3].iter().any(|l| *l != 0);
        (top, (n as i32 - 2) * 64 - spare as i32, below)
    }

    fn divide_by(&mut self, divisor: u64) -> u64 {
        let mut rest = 0u128;
        for limb in self.0.iter_mut().rev() {
            rest = rest << 64 | *limb as u128;
            *limb = (rest / divisor as u128) as u64;
            rest %= divisor as u128;
        }
        self.trim();
        rest as u64
    }

    fn write(mut self, out: &mut Buf) {
        let mut parts: SmallVec<[u64; 4]> = smallvec![];
        while !self.0.is_empty() {
            parts.push(self.divide_by(10u64.pow(19)));
        }
        write_u64(out, parts.pop().unwrap_or(0));
        for part in parts.iter().rev() {
            write_padded(out, *part, 19);
        }
    }
}
