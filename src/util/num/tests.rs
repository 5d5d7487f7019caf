//! The files in `golden/` hold what redis-server 7.0.15 answered; arguments are escaped.

use super::*;
use crate::util::rng::Rng;

fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let used = match tail[0] {
            b'x' => {
                out.push(u8::from_str_radix(std::str::from_utf8(&tail[1..3]).unwrap(), 16).unwrap());
                3
            }
            b't' => (out.push(b'\t'), 1).1,
            b'n' => (out.push(b'\n'), 1).1,
            b'\\' => (out.push(b'\\'), 1).1,
            other => panic!("unknown escape {other}"),
        };
        rest = &tail[used..];
    }
    out
}

fn show(write: impl Fn(&mut Buf)) -> String {
    let mut out = Buf::new();
    write(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

/// Columns: the text, what `ZSCORE` makes of it or `!` if it is no float, and whether it may be
/// a bound of `ZCOUNT`.
#[test]
fn doubles_read_and_print_as_in_redis() {
    let mut seen = 0;
    for line in include_str!("golden/double.tsv").lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let text = unescape(columns[0]);
        let got = parse_f64(&text).map_or("!".into(), |x| show(|out| write_double(out, x)));
        assert_eq!(got, columns[1], "{:?}", columns[0]);
        let bound = if parse_f64_bound(&text).is_some() { "ok" } else { "!" };
        assert_eq!(bound, columns[2], "bound {:?}", columns[0]);
        seen += 1;
    }
    assert!(seen > 500);
}

/// Columns: the value, the increment, and what `INCRBYFLOAT` and `HINCRBYFLOAT` answer: `!` for
/// "not a float", `!inf` for "would produce NaN or Infinity".
#[test]
fn long_doubles_add_and_print_as_in_redis() {
    let mut seen = 0;
    for line in include_str!("golden/long_double.tsv").lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let value = LongDouble::parse(&unescape(columns[0]));
        let increment = LongDouble::parse(&unescape(columns[1]));
        let got = match (value, increment) {
            (Some(a), Some(b)) => match a + b {
                Some(sum) if !sum.is_infinite() => show(|out| sum.write_human(out)),
                _ => "!inf".into(),
            },
            _ => "!".into(),
        };
        assert_eq!(got, columns[2], "{:?} + {:?}", columns[0], columns[1]);
        seen += 1;
    }
    assert!(seen > 900);
}

#[test]
fn integers_are_canonical_or_refused() {
    for n in [0, 1, -1, 9, 10, -10, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1] {
        assert_eq!(parse_i64(n.to_string().as_bytes()), Some(n));
        assert_eq!(show(|out| write_i64(out, n)), n.to_string());
    }
    for text in [
        "",
        "-",
        "+",
        "+1",
        "-0",
        "00",
        "01",
        "-01",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "--1",
        "0x1",
        "1\0",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "111111111111111111111",
        "99999999999999999999",
        "-99999999999999999999",
    ] {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
    for text in ["", "-1", "+1", "00", "18446744073709551616", "184467440737095516150", " 1", "1 "] {
        assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
    }
    let mut rng = Rng::new(1);
    for _ in 0..10_000 {
        let n = rng.next_u64() as i64 >> rng.below(64);
        assert_eq!(parse_i64(n.to_string().as_bytes()), Some(n));
    }
}

#[test]
fn loose_integers_follow_strtoull() {
    for (text, want) in [
        ("5", Some(5)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("00012", Some(12)),
        ("+7", Some(7)),
        (" 7", Some(7)),
        ("7 ", None),
        ("-5", None),
        ("-05", Some(u64::MAX - 4)),
        ("", None),
        ("+", None),
        ("x", None),
        ("3\0x", Some(3)),
    ] {
        assert_eq!(parse_u64_loose(text.as_bytes()), want, "{text:?}");
    }
}

#[test]
fn bounds_take_what_scores_refuse() {
    assert_eq!(parse_f64_bound(b""), Some(0.0));
    assert_eq!(parse_f64_bound(b"  2.5"), Some(2.5));
    assert_eq!(parse_f64_bound(b"1e999"), Some(f64::INFINITY));
    assert_eq!(parse_f64_bound(b"-0x1p9999"), Some(f64::NEG_INFINITY));
    assert_eq!(parse_f64_bound(b"7\0rubbish"), Some(7.0));
    assert_eq!(parse_f64_bound(b"  "), None);
    assert_eq!(parse_f64_bound(b"nan"), None);
}

#[test]
fn scores_are_stored_as_redis_does() {
    for (x, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (1e17, "100000000000000000"),
        (4611686018427387904.0, "4611686018427387904"),
        (9223372036854775808.0, "9.2233720368547758e+18"),
        (1.1, "1.1000000000000001"),
        (f64::NEG_INFINITY, "-inf"),
    ] {
        assert_eq!(show(|out| write_score(out, x)), text);
    }
    assert_eq!(exact_i64(-0.0), Some(0));
    assert_eq!(exact_i64(0.5), None);
    assert_eq!(exact_i64(f64::NAN), None);
    assert_eq!(exact_i64(f64::INFINITY), None);
    assert_eq!(exact_i64(-4611686018427387904.0), Some(-4611686018427387904));
    assert_eq!(exact_i64(4611686018427388928.0), None);
}

#[test]
fn every_double_reads_back_from_its_text() {
    let mut rng = Rng::new(2);
    for _ in 0..50_000 {
        let x = f64::from_bits(rng.next_u64());
        if x.is_nan() {
            continue;
        }
        let text = show(|out| write_double(out, x));
        assert_eq!(parse_f64(text.as_bytes()).unwrap().to_bits(), x.to_bits(), "{text}");
        // Hexadecimal goes through our own rounding; sixteen digits say it exactly.
        let (bits, sign) = (x.to_bits(), if x < 0.0 { "-" } else { "" });
        let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
        if exponent != 0x7ff {
            let hex = format!("{sign}0x{}.{fraction:013x}p{}", exponent.min(1), exponent.max(1) - 1023);
            assert_eq!(parse_f64(hex.as_bytes()).unwrap().to_bits(), bits, "{hex}");
        }
    }
}

#[test]
fn coordinates_and_distances() {
    assert_eq!(show(|out| write_human_double(out, 13.361389338970184)), "13.36138933897018433");
    assert_eq!(show(|out| write_human_double(out, -0.0)), "0");
    assert_eq!(show(|out| write_fixed(out, 166274.15156960033, 4)), "166274.1516");
    assert_eq!(show(|out| write_fixed(out, 0.0, 4)), "0.0000");
    assert_eq!(show(|out| write_fixed(out, 0.775, 4)), "0.7750");
    assert_eq!(show(|out| write_fixed(out, -0.00012, 4)), "-0.0001");
    assert_eq!(show(|out| write_fixed(out, 1e300, 4)), "922337203685477.5807");
}
