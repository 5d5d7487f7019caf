//! Words of a configuration line: cutting them out, and quoting them again.

/// Blanks as C's `isspace` sees them.
fn blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Cuts `line` into words the way redis.conf does: blanks separate; `"..."` knows `\n \r \t \b \a`,
/// `\xHH` and `\` before anything else; `'...'` knows only `\'`; a closing quote must end its word.
/// `None` when a quote is left open or runs into the next word.
pub fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        while at < line.len() && blank(line[at]) {
            at += 1;
        }
        // A NUL ends the line, as it ends a C string.
        if at == line.len() || line[at] == 0 {
            return Some(out);
        }
        let mut word = Vec::new();
        at = one_word(line, at, &mut word)?;
        out.push(word);
    }
}

/// Reads the word that starts at `at` and returns where it ended.
fn one_word(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    while let Some(&b) = line.get(at) {
        match b {
            b' ' | b'\n' | b'\r' | b'\t' | 0 => break,
            b'"' | b'\'' => {
                at = if b == b'"' {
                    double_quoted(line, at + 1, word)?
                } else {
                    single_quoted(line, at + 1, word)?
                };
                return line.get(at).is_none_or(|b| blank(*b) || *b == 0).then_some(at);
            }
            _ => word.push(b),
        }
        at += 1;
    }
    Some(at)
}

/// Reads up to and past the closing `"`.
fn double_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *line.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                let next = *line.get(at + 1)?;
                let hex = |i: usize| line.get(at + i).and_then(|b| (*b as char).to_digit(16));
                if let (b'x', Some(high), Some(low)) = (next, hex(2), hex(3)) {
                    word.push((high * 16 + low) as u8);
                    at += 4;
                    continue;
                }
                word.push(match next {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                at += 2;
            }
            b => {
                word.push(b);
                at += 1;
            }
        }
    }
}

/// Reads up to and past the closing `'`.
fn single_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *line.get(at)? {
            b'\'' => return Some(at + 1),
            b'\\' if line.get(at + 1) == Some(&b'\'') => {
                word.push(b'\'');
                at += 2;
            }
            b => {
                word.push(b);
                at += 1;
            }
        }
    }
}

/// Appends `text` in double quotes, so that [`words`] reads it back as one word.
pub fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &b in text {
        match b {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x20..=0x7e => out.push(b),
            _ => out.extend_from_slice(format!("\\x{b:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::proof::cases;
    use proptest::prelude::*;

    #[test]
    fn cuts_as_redis_does() {
        let w = |s: &str| words(s.as_bytes()).map(|v| v.concat_with(b'|'));
        for (line, expect) in [
            ("port 6379", Some("port|6379")),
            ("  a\t b\x0bc  ", Some("a|b\x0bc")),
            ("save \"\"", Some("save|")),
            ("a 'it\\'s' b", Some("a|it's|b")),
            ("a 'x\\n'", Some("a|x\\n")),
            (r#"a "\x41\n\q""#, Some("a|A\nq")),
            (r#"a "\xZZ""#, Some("a|xZZ")),
            ("pre\"fix\" x", Some("prefix|x")),
            ("a \"b\"c", None),
            ("a \"b", None),
            ("a 'b", None),
            ("a \"b\\", None),
            ("", Some("")),
        ] {
            assert_eq!(w(line), expect.map(|s| s.as_bytes().to_vec()), "{line}");
        }
    }

    trait ConcatWith {
        fn concat_with(&self, sep: u8) -> Vec<u8>;
    }
    impl ConcatWith for Vec<Vec<u8>> {
        fn concat_with(&self, sep: u8) -> Vec<u8> {
            self.join(&sep)
        }
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn what_is_quoted_reads_back(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut line = Vec::new();
            quote(&text, &mut line);
            prop_assert_eq!(words(&line), Some(vec![text]));
        }

        #[test]
        fn any_bytes_are_cut_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            words(&text);
        }
    }
}
