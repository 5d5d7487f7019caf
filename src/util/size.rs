//! Memory sizes as Redis reads and writes them: `1k` is 1000 bytes, `1kb` is 1024.

/// Reads `<digits>[unit]`, the unit one of `b k kb m mb g gb` in any case. No sign and no blanks;
/// no digits at all read as 0, digits beyond 64 bits saturate, and the product wraps: that is what
/// Redis does, and a bound catches it afterwards. `None` for anything else.
pub fn parse(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits >= 128 {
        return None;
    }
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let mut n = 0u64;
    for d in number {
        n = n.saturating_mul(10).saturating_add(u64::from(d - b'0'));
    }
    Some(n.wrapping_mul(unit))
}

/// The shortest exact text of `bytes` that [`parse`] reads back, in whole `gb`, `mb` or `kb` where
/// it divides.
pub fn show(bytes: u64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes & ((1 << shift) - 1) == 0 {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_refusals() {
        for (text, bytes) in [
            ("0", 0),
            ("", 0),
            ("b", 0),
            ("12", 12),
            ("12B", 12),
            ("1k", 1000),
            ("1kb", 1024),
            ("3M", 3_000_000),
            ("3mB", 3 << 20),
            ("2g", 2_000_000_000),
            ("2Gb", 2 << 30),
            ("18446744073709551615", u64::MAX),
            ("99999999999999999999", u64::MAX),
            ("18446744073709551615kb", u64::MAX.wrapping_mul(1024)),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(bytes), "{text}");
        }
        for text in ["-1", "+1", " 1", "1 ", "1 kb", "1kib", "1t", "0x10", "1.5gb", "kbb"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(&[b'1'; 128]), None);
    }

    #[test]
    fn shows_what_it_reads() {
        for (bytes, text) in
            [(0, "0"), (1, "1"), (1024, "1kb"), (1 << 20, "1mb"), (64 << 20, "64mb"), (5 << 30, "5gb")]
        {
            assert_eq!(show(bytes), text);
            assert_eq!(parse(text.as_bytes()), Some(bytes));
        }
        assert_eq!(show(1025), "1025");
    }
}
