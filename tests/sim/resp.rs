//! RESP2 as a client sees it.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Status(String),
    Error(String),
    Int(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Value>),
}

impl Value {
    pub fn is_ok(&self) -> bool {
        matches!(self, Value::Status(text) if text == "OK")
    }

    pub fn error(&self) -> Option<&str> {
        match self {
            Value::Error(text) => Some(text),
            _ => None,
        }
    }

    /// A bulk string as text.
    pub fn text(&self) -> Option<String> {
        match self {
            Value::Bulk(Some(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The bulk strings of an array.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Value::Array(values) => values.iter().filter_map(Value::text).collect(),
            _ => Vec::new(),
        }
    }
}

/// A command's bytes.
pub fn request<T: AsRef<[u8]>>(words: &[T], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.as_ref().len()).as_bytes());
        out.extend_from_slice(word.as_ref());
        out.extend_from_slice(b"\r\n");
    }
}

/// The value that `bytes` begin with, and how long it is, when it is there as a whole.
pub fn parse(bytes: &[u8]) -> Option<(Value, usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[1..end]).expect("lines are text");
    let (text, mut at) = (line.to_owned(), end + 2);
    let number = || line.parse::<i64>().expect("a number");
    let value = match bytes[0] {
        b'+' => Value::Status(text),
        b'-' => Value::Error(text),
        b':' => Value::Int(number()),
        b'$' if number() < 0 => Value::Bulk(None),
        b'$' => {
            let len = number() as usize;
            let bulk = bytes.get(at..at + len)?.to_vec();
            bytes.get(at + len..at + len + 2)?;
            at += len + 2;
            Value::Bulk(Some(bulk))
        }
        b'*' => {
            let mut values = Vec::new();
            for _ in 0..number() {
                let (value, len) = parse(&bytes[at..])?;
                values.push(value);
                at += len;
            }
            Value::Array(values)
        }
        other => panic!("no reply begins with {other}"),
    };
    Some((value, at))
}

/// All whole values, one after the other.
pub fn parse_all(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while !bytes.is_empty()
        && let Some((value, len)) = parse(bytes)
    {
        values.push(value);
        bytes = &bytes[len..];
    }
    values
}
