//! Redis glob patterns: `*`, `?`, `[a-z]`, `[^...]`, and `\` to take the next byte as it is.

/// Patterns with more stars than this, each followed by something, match nothing.
const MAX_STARS: u32 = 1000;

/// Whether `pattern` is the one that matches all; the callers of [`matches`] ask this first,
/// since `*` does not match an empty text there (as in Redis).
pub fn is_all(pattern: &[u8]) -> bool {
    pattern == b"*"
}

/// Whether all of `text` matches; `nocase` folds ASCII letters. Takes at most
/// `pattern.len() * text.len()` steps: only the last star reached is ever tried again, for when
/// what follows it stands nowhere in the rest of the text, longer matches for earlier stars
/// cannot help.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut stars = 0;
    // Behind the last star, and where in the text that was last tried.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(b'*'), Some(_)) => {
                p += pattern[p..].iter().take_while(|b| **b == b'*').count();
                if p == pattern.len() {
                    return true;
                }
                stars += 1;
                if stars > MAX_STARS {
                    return false;
                }
                retry = Some((p, t));
                continue;
            }
            (Some(_), Some(byte)) => one(&pattern[p..], *byte, nocase),
            _ => None,
        };
        match (step, retry) {
            (Some(used), _) => {
                p += used;
                t += 1;
                if t == text.len() {
                    p += pattern[p..].iter().take_while(|b| **b == b'*').count();
                }
            }
            (None, Some((behind, tried))) if tried + 1 < text.len() => {
                (p, t) = (behind, tried + 1);
                retry = Some((p, t));
            }
            _ => return false,
        }
    }
}

/// Matches one byte against what stands at the start of `pattern` (not empty, no star): the
/// pattern's bytes used, or `None`.
fn one(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', ..] => class(pattern, byte, nocase),
        [b'\\', escaped, ..] => same(*escaped, byte, nocase).then_some(2),
        [literal, ..] => same(*literal, byte, nocase).then_some(1),
        [] => None,
    }
}

fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || (nocase && a.eq_ignore_ascii_case(&b))
}

/// A class in brackets; one that is not closed ends with the pattern.
fn class(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = 1 + negated as usize;
    let mut found = false;
    loop {
        match &pattern[at..] {
            // Letter case counts behind a backslash, even where it is folded elsewhere.
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [] => break,
            [from, b'-', to, ..] => {
                found |= in_range(*from, *to, byte, nocase);
                at += 3;
            }
            [literal, ..] => {
                found |= same(*literal, byte, nocase);
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

/// Redis compares ranges as C's signed char and swaps a reversed one before folding it.
fn in_range(from: u8, to: u8, byte: u8, nocase: bool) -> bool {
    let (mut low, mut high, mut c) = (from as i8, to as i8, byte as i8);
    if low > high {
        (low, high) = (high, low);
    }
    if nocase {
        let fold = |b: i8| (b as u8).to_ascii_lowercase() as i8;
        (low, high, c) = (fold(low), fold(high), fold(c));
    }
    (low..=high).contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What redis-server 7.0.15 answered, as hex: pattern, text, `c` (case counts) or `i`, 1 or 0.
    /// The rows were drawn at random from small alphabets.
    #[test]
    fn as_redis_matches() {
        let mut yes = 0;
        for line in include_str!("golden_glob.txt").lines() {
            let columns: Vec<&str> = line.split(' ').collect();
            let (pattern, text) = (hex(columns[0]), hex(columns[1]));
            let got = matches(&pattern, &text, columns[2] == "i");
            let show = String::from_utf8_lossy(&pattern);
            assert_eq!(got, columns[3] == "1", "{show:?} on {:?}", String::from_utf8_lossy(&text));
            yes += got as u32;
        }
        assert!(yes > 150);
    }

    /// `.` before the digits, so that an empty one shows.
    fn hex(text: &str) -> Vec<u8> {
        let digits = &text.as_bytes()[1..];
        digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn the_known_cases() {
        for (pattern, text, want) in [
            ("*", "", false),
            ("", "", true),
            ("", "a", false),
            ("a*", "a", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h\\?llo", "h?llo", true),
            ("h\\?llo", "hello", false),
            ("[abc", "c", true),
            ("[^", "x", true),
            ("[", "[", false),
            ("\\", "\\", true),
            ("*b*c", "abbc", true),
            ("[z-a]", "m", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), want, "{pattern} {text}");
        }
        assert!(matches(b"HeL*O", b"hello", true));
        assert!(is_all(b"*") && !is_all(b"**") && !is_all(b""));
    }

    #[test]
    fn stars_are_bounded_and_cheap() {
        let stars = |n: usize| b"*a".repeat(n);
        assert!(matches(&stars(1000), &b"a".repeat(5000), false));
        assert!(!matches(&stars(1001), &b"a".repeat(5000), false));
        // Exponential when every star is tried at every place.
        let mut pattern = stars(500);
        pattern.push(b'b');
        assert!(!matches(&pattern, &b"a".repeat(20_000), false));
    }
}
