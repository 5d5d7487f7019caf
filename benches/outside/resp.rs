//! Requests out, and how long a reply is.

/// Appends a command as an array of bulk strings.
pub fn put(out: &mut Vec<u8>, args: &[&[u8]]) {
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(args.len()).as_bytes());
    for arg in args {
        out.extend_from_slice(b"\r\n$");
        out.extend_from_slice(digits.format(arg.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(arg);
    }
    out.extend_from_slice(b"\r\n");
}

/// Length of the RESP2 reply at the start of `buf`; `None` while it isn't all there.
pub fn reply_len(buf: &[u8]) -> Option<usize> {
    let line = memchr::memchr(b'\n', buf)? + 1;
    let number = || -> i64 {
        let digits = std::str::from_utf8(&buf[1..line - 2]).ok().and_then(|n| n.parse().ok());
        digits.unwrap_or_else(|| panic!("not RESP: {}", buf[..line].escape_ascii()))
    };
    match buf[0] {
        b'+' | b'-' | b':' => Some(line),
        b'$' => {
            let end = line + usize::try_from(number()).map_or(0, |len| len + 2);
            (buf.len() >= end).then_some(end)
        }
        b'*' => {
            let mut end = line;
            for _ in 0..number() {
                end += reply_len(&buf[end..])?;
            }
            Some(end)
        }
        _ => panic!("not RESP: {}", buf[..line].escape_ascii()),
    }
}
