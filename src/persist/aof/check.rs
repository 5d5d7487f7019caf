//! redis-check-aof: whether a file's records are whole, and up to where.

use crate::limits::AOF_NOTE;
use std::fmt::Write;
use std::io::{self, BufRead};

/// A file that is checked.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub name: &'a str,
    pub path: &'a str,
    pub size: u64,
    /// No other file of its set comes after it.
    pub last: bool,
    /// Everything after this time, in unix seconds, is to go; 0 is no such wish.
    pub until: i64,
}

/// What is to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Sound,
    /// Records end here; what follows is none.
    Damaged {
        ok_up_to: u64,
    },
    /// What is later than asked for begins here.
    Later {
        from: u64,
    },
    /// There is no way on.
    Hopeless,
}

/// A check of the files of one set.
pub struct Check {
    /// What the tool says.
    pub said: String,
    line: u64,
    error: String,
    at: u64,
    /// Where the value that was read last begins.
    value_at: u64,
}

impl Default for Check {
    fn default() -> Check {
        Check { said: String::new(), line: 1, error: String::new(), at: 0, value_at: 0 }
    }
}

/// Reading went on, or ended with or without an error being noted.
type Read<T> = io::Result<Option<T>>;

impl Check {
    /// Checks a file that is read from `offset` on: what stands before it is known to be sound.
    pub fn file(&mut self, of: Subject<'_>, offset: u64, input: &mut impl BufRead) -> io::Result<Verdict> {
        (self.at, self.value_at) = (offset, 0);
        let (mut open, mut ok_up_to) = (0i32, offset);
        let ended = loop {
            if open == 0 {
                ok_up_to = self.at;
            }
            match input.fill_buf()?.first() {
                None => break true,
                Some(b'#') => {
                    if let Some(verdict) = self.note(of, input)? {
                        return Ok(verdict);
                    }
                }
                Some(b'*') => {
                    if self.record(of, &mut open, input)?.is_none() {
                        break input.fill_buf()?.is_empty();
                    }
                }
                Some(_) => {
                    self.say(format_args!("AOF {} format error", of.name));
                    break false;
                }
            }
        };
        if ended && open != 0 && self.error.is_empty() {
            self.fail(format_args!("Reached EOF before reading EXEC for MULTI"));
        }
        if !self.error.is_empty() {
            let error = self.error.clone();
            self.say(format_args!("{error}"));
        }
        let diff = of.size - ok_up_to;
        if diff == 0 && of.until != 0 {
            self.say(format_args!("Truncate nothing in AOF {} to timestamp {}", of.name, of.until));
            return Ok(Verdict::Sound);
        }
        let line = self.line;
        self.say(format_args!(
            "AOF analyzed: filename={}, size={}, ok_up_to={ok_up_to}, ok_up_to_line={line}, diff={diff}",
            of.name, of.size
        ));
        Ok(if diff > 0 { Verdict::Damaged { ok_up_to } } else { Verdict::Sound })
    }

    pub fn say(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.said, "{text}").expect("writing to memory succeeds");
    }

    #[cold]
    fn fail(&mut self, text: std::fmt::Arguments<'_>) {
        self.error = format!("0x{:16x}: {text}", self.value_at);
    }

    /// A line, up to `max` bytes of it; `None` at the end of the file.
    fn line(&mut self, max: usize, input: &mut impl BufRead) -> Read<Vec<u8>> {
        let mut line = Vec::new();
        let n = io::Read::take(&mut *input, max as u64 - 1).read_until(b'\n', &mut line)?;
        self.at += n as u64;
        Ok((n > 0).then_some(line))
    }

    fn newline(&mut self, text: &[u8]) -> Option<()> {
        if !text.starts_with(b"\r\n") {
            let byte = |i| text.get(i).copied().unwrap_or(0);
            self.fail(format_args!("Expected \\r\\n, got: {:02x}{:02x}", byte(0), byte(1)));
            return None;
        }
        self.line += 1;
        Some(())
    }

    fn number(&mut self, prefix: u8, input: &mut impl BufRead) -> Read<i64> {
        self.value_at = self.at;
        let Some(line) = self.line(128, input)? else { return Ok(None) };
        if line[0] != prefix {
            let (wanted, got) = (prefix as char, line[0] as char);
            self.fail(format_args!("Expected prefix '{wanted}', got: '{got}'"));
            return Ok(None);
        }
        let digits = line[1..].iter().take_while(|b| b.is_ascii_digit() || **b == b'-').count();
        let n = std::str::from_utf8(&line[1..1 + digits]).ok().and_then(|t| t.parse().ok()).unwrap_or(0);
        Ok(self.newline(&line[1 + digits..]).map(|()| n))
    }

    fn string(&mut self, input: &mut impl BufRead) -> Read<Vec<u8>> {
        let Some(len) = self.number(b'$', input)? else { return Ok(None) };
        if !(0..i64::MAX - 2).contains(&len) {
            self.fail(format_args!(
                "Expected to read string of {len} bytes, which is not in the suitable range"
            ));
            return Ok(None);
        }
        self.value_at = self.at;
        let mut text = Vec::new();
        let got = io::Read::read_to_end(&mut io::Read::take(&mut *input, len as u64 + 2), &mut text)?;
        self.at += got as u64;
        if got as i64 != len + 2 {
            self.fail(format_args!("Expected to read {} bytes, got {got} bytes", len + 2));
            return Ok(None);
        }
        let end = text.split_off(len as usize);
        Ok(self.newline(&end).map(|()| text))
    }

    fn record(&mut self, of: Subject<'_>, open: &mut i32, input: &mut impl BufRead) -> Read<()> {
        let Some(words) = self.number(b'*', input)? else { return Ok(None) };
        for i in 0..words {
            let Some(word) = self.string(input)? else { return Ok(None) };
            if i == 0 && word.eq_ignore_ascii_case(b"multi") {
                *open += 1;
                if *open != 1 {
                    self.fail(format_args!("Unexpected MULTI in AOF {}", of.path));
                    return Ok(None);
                }
            } else if i == 0 && word.eq_ignore_ascii_case(b"exec") {
                *open -= 1;
                if *open != 0 {
                    self.fail(format_args!("Unexpected EXEC in AOF {}", of.path));
                    return Ok(None);
                }
            }
        }
        Ok(Some(()))
    }

    /// An annotation; a verdict when it is a time after the one that is asked for.
    fn note(&mut self, of: Subject<'_>, input: &mut impl BufRead) -> io::Result<Option<Verdict>> {
        self.value_at = self.at;
        let line = self.line(AOF_NOTE, input)?.unwrap_or_default();
        let Some(time) = line.strip_prefix(b"#TS:").filter(|_| of.until != 0) else { return Ok(None) };
        let time = time.strip_suffix(b"\r\n").and_then(|t| std::str::from_utf8(t).ok()?.parse::<i64>().ok());
        let Some(time) = time else {
            self.say(format_args!("Invalid timestamp annotation"));
            return Ok(Some(Verdict::Hopeless));
        };
        if time <= of.until {
            return Ok(None);
        }
        let (from, until) = (self.value_at, of.until);
        if from == 0 {
            self.say(format_args!("AOF {} has nothing before timestamp {until}, aborting...", of.path));
            return Ok(Some(Verdict::Hopeless));
        }
        if !of.last {
            self.say(format_args!(
                "Failed to truncate AOF {} to timestamp {until} to offset {from} because it is not the last file.\n\
                 If you insist, please delete all files after this file according to the manifest file and delete \
                 the corresponding records in manifest file manually. Then re-run redis-check-aof.",
                of.path
            ));
            return Ok(Some(Verdict::Hopeless));
        }
        Ok(Some(Verdict::Later { from }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &[u8], until: i64, last: bool) -> (Verdict, String) {
        let mut check = Check::default();
        let of = Subject { name: "a.aof", path: "d/a.aof", size: file.len() as u64, last, until };
        let verdict = check.file(of, 0, &mut &file[..]).unwrap();
        (verdict, check.said)
    }

    #[test]
    fn finds_where_a_file_breaks_off() {
        const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
        const MULTI: &str = "*1\r\n$5\r\nMULTI\r\n";
        const EXEC: &str = "*1\r\n$4\r\nEXEC\r\n";
        for (tail, ok, says) in [
            ("", true, "AOF analyzed: filename=a.aof, size=27, ok_up_to=27, ok_up_to_line=8, diff=0"),
            (
                &SET[..20],
                false,
                "AOF analyzed: filename=a.aof, size=47, ok_up_to=27, ok_up_to_line=13, diff=20",
            ),
            (&SET[..18], false, "0x              2c: Expected to read 3 bytes, got 1 bytes"),
            (&[MULTI, SET].concat(), false, "0x              42: Reached EOF before reading EXEC for MULTI"),
            (&[MULTI, SET, EXEC].concat(), true, "diff=0"),
            (&[MULTI, MULTI].concat(), false, "Unexpected MULTI in AOF d/a.aof"),
            (EXEC, false, "Unexpected EXEC in AOF d/a.aof"),
            ("SET a 1\r\n", false, "AOF a.aof format error"),
            ("*1\r\n+PING\r\n", false, "Expected prefix '$', got: '+'"),
            ("*1x\r\n", false, "Expected \\r\\n, got: 780d"),
            (
                "*1\r\n$-1\r\n",
                false,
                "Expected to read string of -1 bytes, which is not in the suitable range",
            ),
            ("#TS:1\r\n#any\r\n", true, "diff=0"),
        ] {
            let file = [SET, tail].concat();
            let (verdict, said) = check(file.as_bytes(), 0, true);
            let want = if ok { Verdict::Sound } else { Verdict::Damaged { ok_up_to: 27 } };
            assert_eq!(verdict, want, "{tail:?}");
            assert!(said.contains(says), "{tail:?}: {said}");
        }
    }

    #[test]
    fn finds_where_a_time_begins() {
        let file = b"#TS:10\r\n*1\r\n$4\r\nPING\r\n#TS:12\r\n*1\r\n$4\r\nPING\r\n";
        for (until, last, want) in [
            (11, true, Verdict::Later { from: 22 }),
            (12, true, Verdict::Sound),
            (9, true, Verdict::Hopeless),
            (11, false, Verdict::Hopeless),
        ] {
            assert_eq!(check(file, until, last).0, want, "{until}");
        }
        assert!(check(b"#TS:x\r\n", 5, true).1.contains("Invalid timestamp annotation"));
    }
}
