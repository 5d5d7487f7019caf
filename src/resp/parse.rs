//! Finds commands in bytes that arrived, in place, and resumes where it stopped.
//!
//! A command is either a multibulk (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`) or an inline line. Limits and error
//! texts are redis-server's.

use super::args::Span;
use crate::limits::{MAX_ARGS_UNAUTH, MAX_BULK_UNAUTH, MAX_INLINE};
use crate::util::num;

/// What the protocol allows this client.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Longest bulk string (`proto-max-bulk-len`).
    pub max_bulk: u64,
    /// The client must authenticate first, and gets only small commands.
    pub unauthenticated: bool,
}

/// One look at the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A command ends after this many bytes. Its spans were pushed; they count from the command's
    /// first byte. May have no argument at all (an empty line): nothing is to be executed then.
    Command(usize),
    /// As `Command`, but its arguments were unescaped: the spans count into the scratch buffer.
    Inline(usize),
    /// More bytes are needed.
    Partial,
}

/// A violation of the protocol: the error's text after `ERR Protocol error: `. The connection
/// must be closed after the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

fn violation<T>(text: &str) -> Result<T, Violation> {
    Err(Violation(text.to_string()))
}

/// The state of one connection's unfinished command.
#[derive(Debug, Default)]
pub struct Parser {
    /// Spans found so far, from the command's first byte.
    spans: Vec<Span>,
    /// Arguments still missing; 0 when no multibulk header was read yet.
    missing: usize,
    /// Length of the bulk whose body is awaited.
    bulk: Option<usize>,
    /// Where to go on.
    pos: usize,
}

impl Parser {
    /// Forgets a half-read command.
    pub fn reset(&mut self) {
        *self = Parser::default();
    }

    /// Whether a command has begun but not ended.
    pub fn is_partial(&self) -> bool {
        self.missing > 0 || self.pos > 0
    }

    /// Bytes of the current command that are known to be needed: what a buffer may grow to.
    pub fn wants(&self) -> usize {
        self.bulk.map_or(0, |len| self.pos + len + 2)
    }

    /// Looks for one command at the start of `buf`, which must begin with the same bytes as in the
    /// call before when that one answered `Partial`. Pushes its spans on `spans`; inline arguments
    /// go to `scratch`.
    #[inline]
    pub fn parse(
        &mut self,
        buf: &[u8],
        rules: Rules,
        spans: &mut Vec<Span>,
        scratch: &mut Vec<u8>,
    ) -> Result<Parsed, Violation> {
        if self.missing == 0 && self.pos == 0 {
            match buf.first() {
                None => return Ok(Parsed::Partial),
                Some(b'*') => {
                    let mark = spans.len();
                    if let Some(end) = fast(buf, rules, spans) {
                        return Ok(Parsed::Command(end));
                    }
                    spans.truncate(mark);
                }
                Some(_) => return parse_inline(buf, spans, scratch),
            }
        }
        self.resume(buf, rules, spans)
    }

    /// The careful path: limits, errors, and progress that is kept between calls.
    fn resume(&mut self, buf: &[u8], rules: Rules, spans: &mut Vec<Span>) -> Result<Parsed, Violation> {
        if self.missing == 0 {
            let Some((n, next)) = self.header(buf, "too big mbulk count string")? else {
                return Ok(Parsed::Partial);
            };
            let n = match num::parse_i64(n) {
                Some(n) if n <= i32::MAX as i64 => n,
                _ => return violation("invalid multibulk length"),
            };
            if n > MAX_ARGS_UNAUTH as i64 && rules.unauthenticated {
                return violation("unauthenticated multibulk length");
            }
            if n <= 0 {
                return Ok(Parsed::Command(next));
            }
            self.missing = n as usize;
            self.pos = next;
        }
        while self.missing > 0 {
            if self.bulk.is_none() {
                let Some(&kind) = buf.get(self.pos) else {
                    return Ok(Parsed::Partial);
                };
                if line_end(b'\r', &buf[self.pos..]).is_some() && kind != b'$' {
                    return violation(&format!("expected '$', got '{}'", kind as char));
                }
                let Some((len, next)) = self.header(buf, "too big bulk count string")? else {
                    return Ok(Parsed::Partial);
                };
                let len = match num::parse_i64(len) {
                    Some(len) if len >= 0 && len as u64 <= rules.max_bulk => len as usize,
                    _ => return violation("invalid bulk length"),
                };
                if len > MAX_BULK_UNAUTH && rules.unauthenticated {
                    return violation("unauthenticated bulk length");
                }
                self.bulk = Some(len);
                self.pos = next;
            }
            let len = self.bulk.expect("a bulk's length was read");
            if buf.len() < self.pos + len + 2 {
                return Ok(Parsed::Partial);
            }
            self.spans.push(Span { start: self.pos as u32, len: len as u32 });
            self.pos += len + 2;
            self.bulk = None;
            self.missing -= 1;
        }
        let end = self.pos;
        spans.append(&mut self.spans);
        self.pos = 0;
        Ok(Parsed::Command(end))
    }

    /// The text between the type byte at `pos` and the line's end, and where the next line starts.
    fn header<'b>(&self, buf: &'b [u8], too_big: &str) -> Result<Option<(&'b [u8], usize)>, Violation> {
        let line = &buf[self.pos..];
        match line_end(b'\r', line) {
            Some(end) if end + 2 <= line.len() => Ok(Some((&line[1.min(end)..end], self.pos + end + 2))),
            Some(_) => Ok(None),
            None if line.len() > MAX_INLINE => violation(too_big),
            None => Ok(None),
        }
    }
}

/// A whole, ordinary multibulk command: short counts, everything there. Anything else is left to
/// the careful path, which also words the errors.
#[inline]
fn fast(buf: &[u8], rules: Rules, spans: &mut Vec<Span>) -> Option<usize> {
    let (argc, mut pos) = small_number(buf, 1)?;
    if argc == 0 || (rules.unauthenticated && argc > MAX_ARGS_UNAUTH) {
        return None;
    }
    for _ in 0..argc {
        if *buf.get(pos)? != b'$' {
            return None;
        }
        let (len, start) = small_number(buf, pos + 1)?;
        if start + len + 2 > buf.len() {
            return None;
        }
        spans.push(Span { start: start as u32, len: len as u32 });
        pos = start + len + 2;
    }
    Some(pos)
}

/// A canonical number of one to four digits and its `\r\n`, from `at` on.
#[inline]
fn small_number(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    // whatever ends here has at least five bytes: a digit and the line's end, twice or with a body
    let line: &[u8; 5] = buf.get(at..)?.first_chunk()?;
    let digit = |i: usize| line[i].wrapping_sub(b'0') as usize;
    // the byte after the \r is skipped whatever it is, as redis-server does
    if line[1] == b'\r' {
        return (digit(0) <= 9).then_some((digit(0), at + 3));
    }
    if digit(0).wrapping_sub(1) > 8 || digit(1) > 9 {
        return None;
    }
    let n = digit(0) * 10 + digit(1);
    if line[2] == b'\r' {
        return Some((n, at + 4));
    }
    if digit(2) > 9 {
        return None;
    }
    let n = n * 10 + digit(2);
    if line[3] == b'\r' {
        return Some((n, at + 5));
    }
    let last = digit(3) <= 9 && line[4] == b'\r' && at + 6 <= buf.len();
    last.then(|| (n * 10 + digit(3), at + 6))
}

/// Where the line ends. Redis looks for it in a C string, so a NUL before it hides it.
fn line_end(mark: u8, buf: &[u8]) -> Option<usize> {
    memchr::memchr2(mark, 0, buf).filter(|&at| buf[at] == mark)
}

fn parse_inline(buf: &[u8], spans: &mut Vec<Span>, scratch: &mut Vec<u8>) -> Result<Parsed, Violation> {
    let Some(end) = line_end(b'\n', buf) else {
        return if buf.len() > MAX_INLINE {
            violation("too big inline request")
        } else {
            Ok(Parsed::Partial)
        };
    };
    let line = &buf[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !split_words(line, spans, scratch) {
        return violation("unbalanced quotes in request");
    }
    Ok(Parsed::Inline(end + 1))
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c)
}

/// Splits a line into words by Redis's rules of quotes and escapes; the words go to `out`.
/// False when the quotes are unbalanced.
pub fn split_words(line: &[u8], spans: &mut Vec<Span>, out: &mut Vec<u8>) -> bool {
    let mark = spans.len();
    let mut i = 0;
    loop {
        while i < line.len() && is_space(line[i]) {
            i += 1;
        }
        if i >= line.len() || line[i] == 0 {
            return true;
        }
        let start = out.len();
        match word(line, i, out) {
            Some(next) => i = next,
            None => {
                spans.truncate(mark);
                return false;
            }
        }
        spans.push(Span { start: start as u32, len: (out.len() - start) as u32 });
    }
}

/// One word from `i` on; where the next begins, or None when a quote never ends.
fn word(line: &[u8], mut i: usize, out: &mut Vec<u8>) -> Option<usize> {
    while let Some(&b) = line.get(i) {
        match b {
            b'"' | b'\'' => {
                i = if b == b'"' {
                    double_quoted(line, i + 1, out)?
                } else {
                    single_quoted(line, i + 1, out)?
                };
                // a closing quote must be followed by a space or by nothing
                return match line.get(i) {
                    Some(&next) if !is_space(next) => None,
                    _ => Some(i),
                };
            }
            0 => return Some(i),
            b if is_space(b) => return Some(i),
            b => out.push(b),
        }
        i += 1;
    }
    Some(i)
}

fn double_quoted(line: &[u8], mut i: usize, out: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *line.get(i)? {
            b'"' => return Some(i + 1),
            b'\\'
                if line.get(i + 1) == Some(&b'x')
                    && line.get(i + 2).is_some_and(u8::is_ascii_hexdigit)
                    && line.get(i + 3).is_some_and(u8::is_ascii_hexdigit) =>
            {
                let hex = std::str::from_utf8(&line[i + 2..i + 4]).expect("hex digits are ascii");
                out.push(u8::from_str_radix(hex, 16).expect("two hex digits"));
                i += 4;
            }
            b'\\' if i + 1 < line.len() => {
                out.push(match line[i + 1] {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                });
                i += 2;
            }
            b => {
                out.push(b);
                i += 1;
            }
        }
    }
}

fn single_quoted(line: &[u8], mut i: usize, out: &mut Vec<u8>) -> Option<usize> {
    loop {
        match *line.get(i)? {
            b'\'' => return Some(i + 1),
            b'\\' if line.get(i + 1) == Some(&b'\'') => {
                out.push(b'\'');
                i += 2;
            }
            b => {
                out.push(b);
                i += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Args;
    use crate::util::proof::cases;
    use proptest::prelude::*;

    const RULES: Rules = Rules { max_bulk: 512 << 20, unauthenticated: false };

    /// Feeds `bytes` in pieces of `step` and shows every command, or the error's text.
    fn feed(bytes: &[u8], step: usize, rules: Rules) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
        let (mut parser, mut have, mut found) = (Parser::default(), Vec::new(), Vec::new());
        let (mut spans, mut scratch) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(step.max(1)) {
            have.extend_from_slice(piece);
            loop {
                spans.clear();
                scratch.clear();
                let (end, args) = match parser.parse(&have, rules, &mut spans, &mut scratch) {
                    Err(Violation(text)) => return (found, Some(text)),
                    Ok(Parsed::Partial) => break,
                    Ok(Parsed::Command(end)) => (end, Args::new(&have, &spans)),
                    Ok(Parsed::Inline(end)) => (end, Args::new(&scratch, &spans)),
                };
                if args.len() > 0 {
                    found.push(args.iter().map(|a| a.to_vec()).collect());
                }
                have.drain(..end);
            }
        }
        (found, None)
    }

    #[test]
    fn frames_and_errors() {
        let big = format!("*1\r\n${}\r\n", (512u64 << 20) + 1);
        let long_line = [b"x".repeat(MAX_INLINE + 1), b"\r\n".to_vec()].concat();
        let cases: &[(&[u8], &str)] = &[
            (b"*1\r\n$4\r\nPING\r\n", "PING"),
            (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "GET,"),
            (b"PING\r\n", "PING"),
            (b"ping 'a b' \"\\x41\\n\"\n", "ping,a b,A\n"),
            (b"\r\n\r\nPING\r\n", "PING"),
            (b"*0\r\nPING\r\n", "PING"),
            (b"*-5\r\nPING\r\n", "PING"),
            (b"*x\r\n", "!invalid multibulk length"),
            (b"*20000000000\r\n", "!invalid multibulk length"),
            (b"*01\r\n", "!invalid multibulk length"),
            (b"*1\r\n:1\r\n", "!expected '$', got ':'"),
            (b"*1\r\n$-1\r\n", "!invalid bulk length"),
            (b"*1\r\n$a\r\n", "!invalid bulk length"),
            (big.as_bytes(), "!invalid bulk length"),
            (b"\"abc\r\n", "!unbalanced quotes in request"),
            (b"\"a\"b\r\n", "!unbalanced quotes in request"),
            (&long_line[..MAX_INLINE + 1], "!too big inline request"),
        ];
        for (bytes, want) in cases {
            for step in [1, 2, 3, 7, bytes.len()] {
                if step < 8 && bytes.len() > 1000 {
                    continue;
                }
                let (found, error) = feed(bytes, step, RULES);
                let got = match error {
                    Some(text) => format!("!{text}"),
                    None => found
                        .iter()
                        .map(|c| c.iter().map(|a| String::from_utf8_lossy(a)).collect::<Vec<_>>().join(","))
                        .collect::<Vec<_>>()
                        .join(";"),
                };
                assert_eq!(
                    got,
                    *want,
                    "{:?} step {step}",
                    String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
                );
            }
        }
    }

    #[test]
    fn strangers_get_only_small_commands() {
        let rules = Rules { unauthenticated: true, ..RULES };
        assert_eq!(feed(b"*11\r\n", 99, rules).1.unwrap(), "unauthenticated multibulk length");
        assert_eq!(feed(b"*1\r\n$16385\r\n", 99, rules).1.unwrap(), "unauthenticated bulk length");
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn what_was_written_is_read(
            commands in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..14), 0..8),
            step in 1usize..50,
        ) {
            let mut bytes = Vec::new();
            for command in &commands {
                bytes.extend(format!("*{}\r\n", command.len()).bytes());
                for arg in command {
                    bytes.extend(format!("${}\r\n", arg.len()).bytes());
                    bytes.extend(arg);
                    bytes.extend(b"\r\n");
                }
            }
            let (found, error) = feed(&bytes, step, RULES);
            prop_assert_eq!(error, None);
            prop_assert_eq!(found, commands);
        }

        #[test]
        fn noise_never_panics_and_pieces_change_nothing(
            bytes in prop::collection::vec(prop_oneof![
                Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'0'), Just(b'"'),
                Just(b'-'), any::<u8>()], 0..200),
            step in 1usize..20,
        ) {
            prop_assert_eq!(feed(&bytes, step, RULES), feed(&bytes, bytes.len(), RULES));
        }
    }
}
