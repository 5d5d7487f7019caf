//! A line as words: redis-cli's quoting, and words that stand for much.

/// Splits `line` as redis-cli does: blanks separate; `"..."` knows `\xHH \n \r \t \a \b \\ \"`;
/// `'...'` knows `\'`.
pub fn split(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.as_bytes();
    loop {
        while let [b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, tail) = match rest[0] {
            b'"' => double_quoted(&rest[1..])?,
            b'\'' => single_quoted(&rest[1..])?,
            _ => {
                let end = rest.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(rest.len());
                (rest[..end].to_vec(), &rest[end..])
            }
        };
        if !matches!(tail, [] | [b' ' | b'\t', ..]) {
            return Err("a blank is needed after a closing quote".to_owned());
        }
        words.push(word);
        rest = tail;
    }
}

fn double_quoted(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Err("a quote is not closed".to_owned()),
            [b'"', tail @ ..] => return Ok((word, tail)),
            [b'\\', b'x', a, b, tail @ ..] => {
                let text = String::from_utf8_lossy(&[*a, *b]).into_owned();
                word.push(u8::from_str_radix(&text, 16).map_err(|e| format!("\\x{text}: {e}"))?);
                rest = tail;
            }
            [b'\\', other, tail @ ..] => {
                word.push(match other {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 7,
                    b'b' => 8,
                    same => *same,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn single_quoted(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Err("a quote is not closed".to_owned()),
            [b'\'', tail @ ..] => return Ok((word, tail)),
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Puts `value` in the place of `$name` in each word. A word that is `$*name` becomes the words
/// of `value`, which may be none.
pub fn substitute(words: &[Vec<u8>], name: &str, value: &[u8]) -> Vec<Vec<u8>> {
    let spread = format!("$*{name}").into_bytes();
    let single = format!("${name}").into_bytes();
    let mut out = Vec::new();
    for word in words {
        if *word == spread {
            let parts = value.split(|b| *b == b' ').filter(|part| !part.is_empty());
            out.extend(parts.map(<[u8]>::to_vec));
        } else {
            out.push(replace(word, &single, value));
        }
    }
    out
}

fn replace(word: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < word.len() {
        if word[at..].starts_with(from) {
            out.extend_from_slice(to);
            at += from.len();
        } else {
            out.push(word[at]);
            at += 1;
        }
    }
    out
}

/// Expands the words that stand for much: `@big:BYTES`, `@seq:FROM:TO[:PREFIX]` (`PREFIXn`),
/// `@fv:FROM:TO:PREFIX` (`PREFIXn n`), `@sm:FROM:TO:PREFIX` (`n PREFIXn`).
pub fn expand(words: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
    let mut out = Vec::new();
    for word in words {
        match std::str::from_utf8(&word).ok().and_then(|text| text.strip_prefix('@')) {
            Some(macro_text) if macro_text.contains(':') => expand_one(macro_text, &mut out)?,
            _ => out.push(word),
        }
    }
    Ok(out)
}

fn expand_one(text: &str, out: &mut Vec<Vec<u8>>) -> Result<(), String> {
    let parts: Vec<&str> = text.split(':').collect();
    let number = |i: usize| -> Result<i64, String> {
        let part: &str = parts.get(i).copied().unwrap_or_default();
        part.parse().map_err(|_| format!("@{text}: '{part}' is not a number"))
    };
    if parts[0] == "big" {
        let len = usize::try_from(number(1)?).map_err(|e| e.to_string())?;
        out.push(b"0123456789abcdef".iter().copied().cycle().take(len).collect());
        return Ok(());
    }
    let prefix = parts.get(3).copied().unwrap_or_default();
    for n in number(1)?..=number(2)? {
        let named = format!("{prefix}{n}").into_bytes();
        let plain = n.to_string().into_bytes();
        match parts[0] {
            "seq" => out.push(named),
            "fv" => out.extend([named, plain]),
            "sm" => out.extend([plain, named]),
            _ => return Err(format!("unknown word @{text}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_redis_clis() {
        let words = split(r#"SET "a b\x00\n" 'it\'s' "" x"#).unwrap();
        assert_eq!(words, [b"SET".to_vec(), b"a b\0\n".to_vec(), b"it's".to_vec(), vec![], b"x".to_vec()]);
        assert!(split("\"open").is_err());
        assert!(split("\"a\"b").is_err());
    }

    #[test]
    fn words_expand() {
        let words = expand(split("@seq:1:3:k @fv:1:1:f @sm:-1:-1:m @big:3").unwrap()).unwrap();
        let text: Vec<String> = words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        assert_eq!(text, ["k1", "k2", "k3", "f1", "1", "-1", "m-1", "012"]);
        let line = split("SET k$x $*o").unwrap();
        assert_eq!(substitute(&substitute(&line, "x", b"7"), "o", b""), split("SET k7").unwrap());
        assert_eq!(substitute(&line, "o", b"EX 10"), split("SET k$x EX 10").unwrap());
    }
}
