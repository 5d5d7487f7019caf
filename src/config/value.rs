//! What every directive can do: show itself, be read, and write its line.

use super::split;
use super::types::MemoryOrPercent;
use crate::util::size;

/// Why a value was refused, in Redis's words.
pub type Reason = std::borrow::Cow<'static, str>;

/// What the words of a directive mean.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A number from `min` to `max`, compared as Redis compares it: `unsigned` on the bits as u64.
    Number { unit: Unit, min: i64, max: i64, unsigned: bool },
    /// One of the names that its type knows.
    Enum,
    /// Text that passes `check`. `unset`: empty means absent, so REWRITE drops the line instead of
    /// writing an empty one.
    Text { unset: bool, check: fn(&str) -> Result<(), &'static str> },
    /// Its type has rules of its own.
    Special,
}

/// How a number is spelled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Plain,
    Octal,
    /// Bytes, with `kb`, `mb` and so on.
    Bytes,
    /// Bytes, or `N%`, which is held as the negative `-N`.
    BytesOrPercent,
}

/// A line that REWRITE may put into the file.
pub struct Line {
    pub text: Vec<u8>,
    /// Written even where the old file had no line for it.
    pub force: bool,
}

/// The value of one directive.
pub trait Value {
    /// Appends what CONFIG GET shows.
    fn show(&self, kind: Kind, out: &mut Vec<u8>);

    /// Takes the value from its words; on error nothing changed. `more`: add to what an earlier
    /// line gave, where the type adds up at all.
    fn read(&mut self, kind: Kind, words: &[Vec<u8>], more: bool) -> Result<(), Reason>;

    /// The lines that express the value in a file; none means that no line should stand there.
    fn lines(&self, name: &str, kind: Kind, default: &dyn Value) -> Vec<Line> {
        let mut text = format!("{name} ").into_bytes();
        self.show(kind, &mut text);
        vec![Line { text, force: shown(self, kind) != default.shown(kind) }]
    }

    /// What CONFIG GET shows.
    fn shown(&self, kind: Kind) -> Vec<u8> {
        shown(self, kind)
    }
}

fn shown<V: Value + ?Sized>(value: &V, kind: Kind) -> Vec<u8> {
    let mut out = Vec::new();
    value.show(kind, &mut out);
    out
}

/// The single word of a directive that takes one.
pub fn single(words: &[Vec<u8>]) -> Result<&[u8], Reason> {
    match words {
        [one] => Ok(one),
        _ => Err("wrong number of arguments".into()),
    }
}

/// A word as text.
pub fn utf8(word: &[u8]) -> Result<&str, Reason> {
    std::str::from_utf8(word).map_err(|_| "argument must be valid UTF-8 text".into())
}

/// C's `strtoll` in base `radix` over a whole word: leading blanks and a sign are fine, an empty
/// word is 0, too large saturates. `None` when something else stands there. The flag tells that
/// the number was too large.
pub fn strtoll(word: &[u8], radix: u32) -> Option<(i64, bool)> {
    if word.is_empty() {
        return Some((0, false));
    }
    let blanks = word.iter().take_while(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
    let word = &word[blanks..];
    let (negative, digits) = match word.first() {
        Some(b'-') => (true, &word[1..]),
        Some(b'+') => (false, &word[1..]),
        _ => (false, word),
    };
    if digits.is_empty() {
        return None;
    }
    let mut n = 0i128;
    for b in digits {
        let d = (*b as char).to_digit(radix)?;
        n = (n * i128::from(radix) + i128::from(d)).min(i128::from(u64::MAX));
    }
    let n = if negative { -n } else { n };
    let held = n.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Some((held as i64, held != n))
}

/// Redis's strict integer: no blanks, no `+`, no leading zeros, inside i64.
fn strict_i64(word: &[u8]) -> Option<i64> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let plain = match digits {
        [b'0'] => word.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !plain {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

impl Value for bool {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"yes" } else { b"no" });
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        let word = single(words)?;
        *self = if word.eq_ignore_ascii_case(b"yes") {
            true
        } else if word.eq_ignore_ascii_case(b"no") {
            false
        } else {
            return Err("argument must be 'yes' or 'no'".into());
        };
        Ok(())
    }
}

impl Value for String {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn read(&mut self, kind: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        let word = single(words)?;
        // A NUL ends the text, as it ends the C string that Redis keeps.
        let word = utf8(word.split(|b| *b == 0).next().unwrap_or_default())?;
        if let Kind::Text { check, .. } = kind {
            check(word)?;
        }
        *self = word.to_owned();
        Ok(())
    }

    fn lines(&self, name: &str, kind: Kind, default: &dyn Value) -> Vec<Line> {
        text_line(name, kind, self.as_bytes(), default)
    }
}

/// `name "value"`, or no line where the text is unset.
pub fn text_line(name: &str, kind: Kind, value: &[u8], default: &dyn Value) -> Vec<Line> {
    if value.is_empty() && matches!(kind, Kind::Text { unset: true, .. }) {
        return Vec::new();
    }
    let mut text = format!("{name} ").into_bytes();
    split::quote(value, &mut text);
    vec![Line { text, force: value != default.shown(kind) }]
}

/// Reads a number of any unit into the 64 bits that Redis would hold.
fn read_number(kind: Kind, words: &[Vec<u8>]) -> Result<i64, Reason> {
    let word = single(words)?;
    let Kind::Number { unit, min, max, unsigned } = kind else {
        unreachable!("a number's row has a number's kind");
    };
    let percent = || {
        let digits = word.strip_suffix(b"%")?;
        strict_i64(digits).filter(|n| *n >= 0).map(|n| -n)
    };
    let n = match unit {
        Unit::Bytes => size::parse(word).map(|n| n as i64).ok_or("argument must be a memory value"),
        Unit::BytesOrPercent => (size::parse(word).map(|n| n as i64))
            .or_else(percent)
            .ok_or("argument must be a memory or percent value"),
        Unit::Octal => (strtoll(word, 8).filter(|n| !n.1).map(|n| n.0))
            .ok_or("argument couldn't be parsed as an octal number"),
        Unit::Plain => strict_i64(word).ok_or("argument couldn't be parsed into an integer"),
    }?;
    if unsigned {
        let (n, min, max) = (n as u64, min as u64, max as u64);
        if n < min || n > max {
            return Err(match unit {
                Unit::Octal => format!("argument must be between {min:o} and {max:o} inclusive"),
                _ => format!("argument must be between {min} and {max} inclusive"),
            }
            .into());
        }
    } else if unit == Unit::BytesOrPercent && n < 0 {
        if n < min {
            return Err(format!("percentage argument must be less or equal to {}", -min).into());
        }
    } else if n < min || n > max {
        return Err(format!("argument must be between {min} and {max} inclusive").into());
    }
    Ok(n)
}

fn show_number(n: i64, kind: Kind, out: &mut Vec<u8>) {
    let Kind::Number { unit, .. } = kind else {
        unreachable!("a number's row has a number's kind");
    };
    let text = match unit {
        Unit::BytesOrPercent if n < 0 => format!("{}%", n.unsigned_abs()),
        Unit::Bytes | Unit::BytesOrPercent => (n as u64).to_string(),
        Unit::Octal => format!("{n:o}"),
        Unit::Plain => n.to_string(),
    };
    out.extend_from_slice(text.as_bytes());
}

fn number_lines(n: i64, name: &str, kind: Kind, default: &dyn Value) -> Vec<Line> {
    let mut shown = Vec::new();
    show_number(n, kind, &mut shown);
    let force = shown != default.shown(kind);
    let in_bytes = match kind {
        Kind::Number { unit: Unit::Bytes, .. } => true,
        Kind::Number { unit: Unit::BytesOrPercent, .. } => n >= 0,
        _ => false,
    };
    if in_bytes {
        shown = size::show(n as u64).into_bytes();
    }
    let mut text = format!("{name} ").into_bytes();
    text.append(&mut shown);
    vec![Line { text, force }]
}

macro_rules! numbers {
    ($($t:ty)*) => {$(
        impl Value for $t {
            fn show(&self, kind: Kind, out: &mut Vec<u8>) {
                show_number(*self as i64, kind, out);
            }

            fn read(&mut self, kind: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
                // The row's bounds lie inside the type: `table` has the test.
                *self = read_number(kind, words)? as $t;
                Ok(())
            }

            fn lines(&self, name: &str, kind: Kind, default: &dyn Value) -> Vec<Line> {
                number_lines(*self as i64, name, kind, default)
            }
        }
    )*};
}

numbers! { u16 u32 i32 u64 i64 }

impl Value for MemoryOrPercent {
    fn show(&self, kind: Kind, out: &mut Vec<u8>) {
        show_number(self.raw(), kind, out);
    }

    fn read(&mut self, kind: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        *self = MemoryOrPercent::from_raw(read_number(kind, words)?);
        Ok(())
    }

    fn lines(&self, name: &str, kind: Kind, default: &dyn Value) -> Vec<Line> {
        number_lines(self.raw(), name, kind, default)
    }
}
