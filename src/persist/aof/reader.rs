//! Finds records in a log that is read back.

use crate::limits::MAX_BULK;
use crate::resp::parse::{Parsed, Parser, Rules};
use crate::resp::{Args, Span};

const RULES: Rules = Rules { max_bulk: MAX_BULK as u64, unauthenticated: false };

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    /// A command: its arguments were pushed, to be read with [`Reader::args`].
    Command,
    /// A line that begins with `#`, without its end: see [`Reader::note`].
    Note { start: usize, end: usize },
    /// More bytes are needed. At the end of the file this is a truncated record, unless
    /// [`Reader::is_clean`].
    More,
}

/// The bytes at this offset are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFormat {
    pub offset: u64,
}

/// Reads a log from bytes as they come. What was found stays in place until the next [`Reader::feed`].
#[derive(Debug, Default)]
pub struct Reader {
    buf: Vec<u8>,
    at: usize,
    /// Offset in the file of the buffer's first byte.
    base: u64,
    parser: Parser,
    scratch: Vec<u8>,
}

impl Reader {
    /// For a file that is read from `offset` on.
    pub fn from_offset(offset: u64) -> Reader {
        Reader { base: offset, ..Reader::default() }
    }

    /// Takes more of the file.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buf.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        self.buf.extend_from_slice(bytes);
    }

    /// Offset in the file where the next record starts.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Nothing of a record was read.
    pub fn is_clean(&self) -> bool {
        self.at == self.buf.len()
    }

    /// The next record. A command's arguments are pushed on `spans`.
    pub fn next(&mut self, spans: &mut Vec<Span>) -> Result<Record, BadFormat> {
        let rest = &self.buf[self.at..];
        match rest.first() {
            None => return Ok(Record::More),
            Some(b'#') => {
                let Some(len) = memchr::memchr(b'\n', rest) else { return Ok(Record::More) };
                let start = self.at;
                self.at += len + 1;
                let end = start + len - usize::from(len > 0 && rest[len - 1] == b'\r');
                return Ok(Record::Note { start, end });
            }
            Some(b'*') => {}
            Some(_) => return Err(BadFormat { offset: self.offset() }),
        }
        let mark = spans.len();
        match self.parser.parse(rest, RULES, spans, &mut self.scratch) {
            Ok(Parsed::Command(len)) if spans.len() > mark => {
                spans[mark..].iter_mut().for_each(|s| s.start += self.at as u32);
                self.at += len;
                Ok(Record::Command)
            }
            Ok(Parsed::Partial) => Ok(Record::More),
            _ => Err(BadFormat { offset: self.offset() }),
        }
    }

    /// A command's arguments.
    pub fn args<'a>(&'a self, spans: &'a [Span]) -> Args<'a> {
        Args::new(&self.buf, spans)
    }

    /// The bytes of a note.
    pub fn note(&self, start: usize, end: usize) -> &[u8] {
        &self.buf[start..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of a file that comes in pieces of `step` bytes, and where the last one ends.
    fn read(file: &[u8], step: usize) -> (Vec<String>, Result<u64, BadFormat>, bool) {
        let (mut reader, mut found, mut spans) = (Reader::default(), Vec::new(), Vec::new());
        let mut pieces = file.chunks(step.max(1));
        loop {
            spans.clear();
            match reader.next(&mut spans) {
                Ok(Record::Command) => {
                    let words = reader.args(&spans).iter().map(|w| String::from_utf8_lossy(w).into_owned());
                    found.push(words.collect::<Vec<_>>().join(" "));
                }
                Ok(Record::Note { start, end }) => {
                    found.push(String::from_utf8_lossy(reader.note(start, end)).into_owned());
                }
                Ok(Record::More) => match pieces.next() {
                    Some(piece) => reader.feed(piece),
                    None => return (found, Ok(reader.offset()), reader.is_clean()),
                },
                Err(bad) => return (found, Err(bad), false),
            }
        }
    }

    #[test]
    fn records_are_found_however_the_file_comes() {
        let file =
            b"#TS:1\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#x\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n";
        for step in 1..=file.len() {
            let (found, end, clean) = read(file, step);
            assert_eq!(found, ["#TS:1", "SELECT 0", "#x", "SET  \r\n"]);
            assert_eq!((end, clean), (Ok(file.len() as u64), true));
        }
        // every shorter file is a truncated one, or ends between two records
        for len in 0..file.len() {
            let (found, end, clean) = read(&file[..len], 7);
            assert!(found.len() < 4 && end.unwrap() <= len as u64);
            assert_eq!(clean, [0, 7, 30, 33].contains(&len), "{len}");
        }
    }

    #[test]
    fn what_is_no_record_has_an_offset() {
        for (tail, at) in
            [("SET a b\r\n", 0), ("*0\r\n", 0), ("*x\r\n", 0), ("*1\r\n+3\r\nSET\r\n", 0), ("\r\n", 0)]
        {
            let file = [b"*1\r\n$4\r\nPING\r\n", tail.as_bytes()].concat();
            let (found, end, _) = read(&file, 5);
            assert_eq!((found.len(), end), (1, Err(BadFormat { offset: 14 + at })), "{tail}");
        }
    }
}
