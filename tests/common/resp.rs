//! Replies as the bytes that they are: where each one and each of its elements begins and ends.

/// One RESP2 or RESP3 element inside a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// First byte of the element: `+ - : $ * _ , # ( ! = % ~ > |`.
    pub kind: u8,
    /// The element's bytes, header included: `start..end`.
    pub start: usize,
    pub end: usize,
    /// The payload of what is not an aggregate: the line, or the bulk's bytes.
    pub body: (usize, usize),
    /// Elements of an aggregate; a map has twice its length.
    pub items: Vec<Node>,
    /// `$-1` or `*-1`.
    pub null: bool,
}

/// Parses one element at `at`. `Ok(None)`: not all of it is there yet.
pub fn parse(buf: &[u8], at: usize) -> Result<Option<Node>, String> {
    let Some(line_end) = find_crlf(buf, at) else { return Ok(None) };
    let kind = buf[at];
    let line = (at + 1, line_end);
    let plain = |end, body| Node { kind, start: at, end, body, items: Vec::new(), null: false };
    match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Ok(Some(plain(line_end + 2, line))),
        b'$' | b'!' | b'=' => {
            let len = length(buf, line)?;
            let begin = line_end + 2;
            let Ok(len) = usize::try_from(len) else {
                return Ok(Some(Node { null: true, ..plain(begin, (begin, begin)) }));
            };
            if buf.len() < begin + len + 2 {
                return Ok(None);
            }
            if &buf[begin + len..begin + len + 2] != b"\r\n" {
                return Err(format!("no CRLF after a bulk of {len} bytes"));
            }
            Ok(Some(plain(begin + len + 2, (begin, begin + len))))
        }
        b'*' | b'%' | b'~' | b'>' | b'|' => aggregate(buf, at, kind, line),
        other => Err(format!("a reply cannot begin with byte {other:#04x}")),
    }
}

fn aggregate(buf: &[u8], at: usize, kind: u8, line: (usize, usize)) -> Result<Option<Node>, String> {
    let len = length(buf, line)?;
    let mut node = Node { kind, start: at, end: line.1 + 2, body: line, items: Vec::new(), null: len < 0 };
    let per = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
    for _ in 0..len.max(0) * per {
        let Some(item) = parse(buf, node.end)? else { return Ok(None) };
        node.end = item.end;
        node.items.push(item);
    }
    Ok(Some(node))
}

fn find_crlf(buf: &[u8], at: usize) -> Option<usize> {
    let end = at + buf.get(at..)?.windows(2).position(|two| two == b"\r\n")?;
    (end > at).then_some(end)
}

fn length(buf: &[u8], (start, end): (usize, usize)) -> Result<i64, String> {
    let text = String::from_utf8_lossy(&buf[start..end]);
    text.parse().map_err(|_| format!("not a length: '{text}'"))
}

/// A whole reply with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub raw: Vec<u8>,
    pub node: Node,
}

impl Reply {
    pub fn bytes(&self, node: &Node) -> &[u8] {
        &self.raw[node.start..node.end]
    }

    pub fn body<'a>(&'a self, node: &Node) -> &'a [u8] {
        &self.raw[node.body.0..node.body.1]
    }

    pub fn is_error(&self) -> bool {
        matches!(self.node.kind, b'-' | b'!')
    }

    /// The text of a line or bulk reply.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body(&self.node)).into_owned()
    }

    pub fn int(&self) -> i64 {
        assert_eq!(self.node.kind, b':', "not an integer: {}", super::show(&self.raw));
        self.text().parse().expect("an integer")
    }

    /// The texts of an aggregate's elements; a null is `None`.
    pub fn items(&self) -> Vec<Option<Vec<u8>>> {
        self.node.items.iter().map(|item| (!item.null).then(|| self.body(item).to_vec())).collect()
    }
}

/// `args` as a multibulk command.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}
