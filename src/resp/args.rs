//! A command's arguments, where they lie in the bytes that arrived: nothing is copied.

use std::ops::Index;

/// Where one argument lies in its buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

/// The arguments of one command, name first. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    at: &'a [Span],
}

impl<'a> Args<'a> {
    /// Every span must lie inside `buf`; indexing panics otherwise.
    #[inline]
    pub fn new(buf: &'a [u8], at: &'a [Span]) -> Args<'a> {
        Args { buf, at }
    }

    /// Number of arguments, the command's name included.
    #[allow(clippy::len_without_is_empty)]
    #[inline]
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Argument `i`, with the buffer's lifetime. Panics when there is none.
    #[inline]
    pub fn at(&self, i: usize) -> &'a [u8] {
        let s = self.at[i];
        &self.buf[s.start as usize..(s.start + s.len) as usize]
    }

    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        (i < self.at.len()).then(|| self.at(i))
    }

    /// The arguments from number `i` on (none when there are fewer).
    #[inline]
    pub fn from(&self, i: usize) -> Args<'a> {
        Args { buf: self.buf, at: self.at.get(i..).unwrap_or(&[]) }
    }

    /// The arguments `from..to`. Panics when out of range.
    #[inline]
    pub fn slice(&self, from: usize, to: usize) -> Args<'a> {
        Args { buf: self.buf, at: &self.at[from..to] }
    }

    #[inline]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + use<'a> {
        let buf = self.buf;
        self.at.iter().map(move |s| &buf[s.start as usize..(s.start + s.len) as usize])
    }

    /// The bytes that the arguments lie in, if these are nothing but the arguments in RESP as short as it
    /// gets: the command as a log has it. So most requests arrive.
    #[inline]
    pub fn literal(&self) -> Option<&'a [u8]> {
        let mut at = line(self.buf, 0, b'*', self.at.len())?;
        for span in self.at {
            at = line(self.buf, at, b'$', span.len as usize)?;
            let end = at + span.len as usize;
            if at != span.start as usize || self.buf.get(end..)?.first_chunk::<2>()? != b"\r\n" {
                return None;
            }
            at = end + 2;
        }
        (at == self.buf.len()).then_some(self.buf)
    }

    /// Whether argument `i` exists and equals `word`, letter case aside.
    #[inline]
    pub fn is(&self, i: usize, word: &str) -> bool {
        self.get(i).is_some_and(|a| a.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// Where the line ends that begins at `at` and is `prefix` and this number, if it is there.
#[inline(always)]
fn line(buf: &[u8], at: usize, prefix: u8, n: usize) -> Option<usize> {
    let found = buf.get(at..)?;
    if n < 10 {
        return (found.first_chunk::<4>()? == &[prefix, b'0' + n as u8, b'\r', b'\n']).then_some(at + 4);
    }
    if n < 100 {
        let (tens, ones) = (b'0' + (n / 10) as u8, b'0' + (n % 10) as u8);
        return (found.first_chunk::<5>()? == &[prefix, tens, ones, b'\r', b'\n']).then_some(at + 5);
    }
    long_line(found, prefix, n).map(|len| at + len)
}

#[cold]
fn long_line(found: &[u8], prefix: u8, n: usize) -> Option<usize> {
    let mut digits = itoa::Buffer::new();
    let rest = found.strip_prefix(&[prefix])?.strip_prefix(digits.format(n).as_bytes())?;
    rest.starts_with(b"\r\n").then_some(found.len() - rest.len() + 2)
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, i: usize) -> &[u8] {
        self.at(i)
    }
}

/// Arguments that own their bytes, for tests and for commands that the house sends to itself.
#[derive(Clone, Debug, Default)]
pub struct OwnedArgs {
    buf: Vec<u8>,
    at: Vec<Span>,
}

impl OwnedArgs {
    pub fn new<T: AsRef<[u8]>>(words: impl IntoIterator<Item = T>) -> OwnedArgs {
        let mut owned = OwnedArgs::default();
        for word in words {
            owned.push(word.as_ref());
        }
        owned
    }

    pub fn push(&mut self, word: &[u8]) {
        self.at.push(Span { start: self.buf.len() as u32, len: word.len() as u32 });
        self.buf.extend_from_slice(word);
    }

    #[inline]
    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.buf, &self.at)
    }

    /// Memory that they take.
    pub fn bytes(&self) -> usize {
        self.buf.len() + self.at.len() * size_of::<Span>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::parse::{Parser, Rules};

    #[test]
    fn what_is_written_as_a_log_has_it_is_found() {
        let long = |n: usize| format!("*2\r\n$3\r\nGET\r\n${n}\r\n{}\r\n", "x".repeat(n));
        let many = |n: usize| format!("*{n}\r\n{}", "$1\r\na\r\n".repeat(n));
        for (text, literal) in [
            ("*1\r\n$4\r\nPING\r\n", true),
            ("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", true),
            (&long(10), true),
            (&long(99), true),
            (&long(100), true),
            (&long(12345), true),
            (&many(9), true),
            (&many(10), true),
            (&many(120), true),
            // what redis-server takes as well
            ("*1\rx$4\r\nPING\r\n", false),
            ("*1\r\n$4\rxPING\r\n", false),
            ("*1\r\n$4\r\nPINGxx", false),
            ("*2\r\n$3\r\nGET\rx$0\r\n\r\n", false),
            ("PING\r\n", false),
        ] {
            let (mut spans, mut scratch) = (Vec::new(), Vec::new());
            let rules = Rules { max_bulk: 1 << 20, unauthenticated: false };
            Parser::default().parse(text.as_bytes(), rules, &mut spans, &mut scratch).unwrap();
            let buf = if scratch.is_empty() { text.as_bytes() } else { &scratch };
            let args = Args::new(buf, &spans);
            assert_eq!(args.literal(), literal.then_some(text.as_bytes()), "{text}");
            // parts of a command, and words of other origin, are none
            assert_eq!(args.from(1).literal(), None, "{text}");
            assert_eq!(OwnedArgs::new(args.iter()).as_args().literal(), None, "{text}");
            let behind = [text, "*"].concat();
            assert_eq!(Args::new(behind.as_bytes(), &spans).literal(), None, "{text}");
        }
    }
}
