//! Patterns of CONFIG GET.

/// Redis's glob without regard to case: `*`, `?`, `[a-z]`, `[^a-z]`, `\` before any byte.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on from when what follows the last star fails: one more byte under the star.
    let mut star = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            p += 1;
            star = Some((p, t));
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        match (p < pattern.len()).then(|| one(&pattern[p..], text[t].to_ascii_lowercase())) {
            Some((true, len)) => {
                p += len;
                t += 1;
            }
            _ => {
                let Some((after, at)) = star else { return false };
                star = Some((after, at + 1));
                (p, t) = (after, at + 1);
            }
        }
    }
}

/// Whether the pattern's first item matches `b`, and the item's length.
fn one(pattern: &[u8], b: u8) -> (bool, usize) {
    match pattern {
        [b'?', ..] => (true, 1),
        [b'\\', escaped, ..] => (escaped.eq_ignore_ascii_case(&b), 2),
        [b'[', rest @ ..] => class(rest, b),
        [first, ..] => (first.eq_ignore_ascii_case(&b), 1),
        [] => (false, 0),
    }
}

/// A class behind its `[`; one that is never closed ends with the pattern.
fn class(rest: &[u8], b: u8) -> (bool, usize) {
    let not = rest.first() == Some(&b'^');
    let (mut i, mut found) = (usize::from(not), false);
    loop {
        match &rest[i..] {
            [b'\\', escaped, ..] => {
                found |= escaped.eq_ignore_ascii_case(&b);
                i += 2;
            }
            [b']', ..] => return (found != not, i + 2),
            [] => return (found != not, i + 1),
            [low, b'-', high, ..] => {
                let (low, high) = (low.to_ascii_lowercase(), high.to_ascii_lowercase());
                found |= (low.min(high)..=low.max(high)).contains(&b);
                i += 3;
            }
            [single, ..] => {
                found |= single.eq_ignore_ascii_case(&b);
                i += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, expect) in [
            ("*", "port", true),
            ("*", "", true),
            ("MAX*", "maxmemory", true),
            ("*max-*-e*", "hash-max-listpack-entries", true),
            ("*max-*-ex*", "hash-max-listpack-entries", false),
            ("p?rt", "port", true),
            ("p?rt", "prt", false),
            ("[mp]ort", "port", true),
            ("[^mp]ort", "port", false),
            ("[a-q]ort", "port", true),
            ("[q-a]ort", "port", true),
            ("[", "", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("port", "ports", false),
            ("", "", true),
            ("", "x", false),
            ("***a", "ba", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expect, "{pattern} {text}");
        }
    }
}
