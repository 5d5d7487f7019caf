//! Writes replies, RESP2 or RESP3, straight into a connection's output buffer.
//!
//! Aggregates are announced by their length and then filled by the caller, as on the wire.

use crate::util::num;

/// A writer of replies for one client's protocol version.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    resp3: bool,
}

impl<'a> Reply<'a> {
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, resp3: bool) -> Reply<'a> {
        Reply { out, resp3 }
    }

    #[inline]
    pub fn resp3(&self) -> bool {
        self.resp3
    }

    pub fn set_resp3(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    /// Bytes written so far; for [`Reply::truncate`].
    #[inline]
    pub fn mark(&self) -> usize {
        self.out.len()
    }

    /// Takes back all that was written since `mark`.
    #[inline]
    pub fn truncate(&mut self, mark: usize) {
        self.out.truncate(mark);
    }

    /// Bytes that are already RESP.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    #[inline(always)]
    fn prefixed(&mut self, kind: u8, n: i64) {
        if (0..10).contains(&n) {
            self.out.extend_from_slice(&[kind, b'0' + n as u8, b'\r', b'\n']);
            return;
        }
        if (10..100).contains(&n) {
            let (tens, ones) = (n as u8 / 10, n as u8 % 10);
            self.out.extend_from_slice(&[kind, b'0' + tens, b'0' + ones, b'\r', b'\n']);
            return;
        }
        self.prefixed_long(kind, n);
    }

    fn prefixed_long(&mut self, kind: u8, n: i64) {
        let mut buf = itoa::Buffer::new();
        let digits = buf.format(n).as_bytes();
        self.out.reserve(digits.len() + 3);
        self.out.push(kind);
        self.out.extend_from_slice(digits);
        self.out.extend_from_slice(b"\r\n");
    }

    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    pub fn simple(&mut self, text: &str) {
        self.out.push(b'+');
        self.raw(text.as_bytes());
        self.raw(b"\r\n");
    }

    /// An error; `text` with its code and without `-`. Line breaks become spaces, as in Redis.
    pub fn error(&mut self, text: &[u8]) {
        self.out.push(b'-');
        self.out.extend(text.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.raw(b"\r\n");
    }

    #[inline]
    pub fn int(&mut self, n: i64) {
        self.prefixed(b':', n);
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 24);
        self.prefixed(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string.
    pub fn bulk_int(&mut self, n: i64) {
        self.bulk(itoa::Buffer::new().format(n).as_bytes());
    }

    /// A null where a bulk string would stand.
    #[inline]
    pub fn null(&mut self) {
        self.raw(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// A null where an array would stand.
    pub fn null_array(&mut self) {
        self.raw(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    #[inline]
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// Announces `n` elements.
    #[inline]
    pub fn array(&mut self, n: usize) {
        self.prefixed(b'*', n as i64);
    }

    /// Announces `n` pairs: a map in RESP3, a flat array in RESP2.
    pub fn map(&mut self, n: usize) {
        match self.resp3 {
            true => self.prefixed(b'%', n as i64),
            false => self.prefixed(b'*', 2 * n as i64),
        }
    }

    /// Announces `n` members: a set in RESP3, an array in RESP2.
    pub fn set(&mut self, n: usize) {
        self.prefixed(if self.resp3 { b'~' } else { b'*' }, n as i64);
    }

    /// Announces an out-of-band message of `n` elements: a push in RESP3, an array in RESP2.
    pub fn push(&mut self, n: usize) {
        self.prefixed(if self.resp3 { b'>' } else { b'*' }, n as i64);
    }

    /// A double: RESP3's `,`, or a bulk string with Redis's shortest 17-digit form.
    pub fn double(&mut self, x: f64) {
        let mut text = num::Buf::new();
        num::write_double(&mut text, x);
        self.number(&text);
    }

    /// As [`Reply::double`] without exponent, as coordinates are shown.
    pub fn human_double(&mut self, x: f64) {
        let mut text = num::Buf::new();
        num::write_human_double(&mut text, x);
        self.number(&text);
    }

    fn number(&mut self, text: &[u8]) {
        if self.resp3 {
            self.out.push(b',');
            self.raw(text);
            self.raw(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    pub fn boolean(&mut self, yes: bool) {
        self.raw(match (self.resp3, yes) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        });
    }

    /// Text with a three-letter format (`txt`, `mkd`): RESP3's `=`, or a bulk string.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if self.resp3 {
            self.prefixed(b'=', text.len() as i64 + 4);
            self.raw(format.as_bytes());
            self.out.push(b':');
            self.raw(text);
            self.raw(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    /// Simple strings in an array: what the HELP subcommands answer.
    pub fn lines(&mut self, lines: &[&str]) {
        self.array(lines.len());
        for line in lines {
            self.simple(line);
        }
    }

    /// Starts an array whose length is known only when it is full; finish with
    /// [`Reply::end_array`].
    pub fn begin_array(&mut self) -> Open {
        Open { mark: self.mark() }
    }

    pub fn end_array(&mut self, open: Open, n: usize) {
        self.end(open, b'*', n);
    }

    /// As [`Reply::end_array`], for what RESP3 calls a set.
    pub fn end_set(&mut self, open: Open, n: usize) {
        self.end(open, if self.resp3 { b'~' } else { b'*' }, n);
    }

    /// As [`Reply::end_array`], for pairs: a map in RESP3. In RESP2 each is an array of two, which the
    /// caller has begun.
    pub fn end_pairs(&mut self, open: Open, n: usize) {
        self.end(open, if self.resp3 { b'%' } else { b'*' }, n);
    }

    fn end(&mut self, open: Open, kind: u8, n: usize) {
        let mut buf = itoa::Buffer::new();
        let digits = buf.format(n).as_bytes();
        let mut head = num::Buf::new();
        head.push(kind);
        head.extend_from_slice(digits);
        head.extend_from_slice(b"\r\n");
        self.out.splice(open.mark..open.mark, head.iter().copied());
    }
}

/// An array that was begun; see [`Reply::begin_array`].
#[must_use]
pub struct Open {
    mark: usize,
}
