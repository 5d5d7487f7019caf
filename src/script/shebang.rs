//! The first line of a script or a library: `#!lua name=… flags=…`.

use crate::config::split::words as split_line;

/// What a script says of itself.
pub mod flag {
    pub const NO_WRITES: u8 = 1;
    pub const ALLOW_OOM: u8 = 1 << 1;
    pub const ALLOW_STALE: u8 = 1 << 2;
    pub const NO_CLUSTER: u8 = 1 << 3;
    pub const ALLOW_CROSS_SLOT: u8 = 1 << 4;
    /// It has no first line: the rules of before there was one.
    pub const COMPAT: u8 = 1 << 5;

    /// In Redis's order.
    pub const NAMES: [(&str, u8); 5] = [
        ("no-writes", NO_WRITES),
        ("allow-oom", ALLOW_OOM),
        ("allow-stale", ALLOW_STALE),
        ("no-cluster", NO_CLUSTER),
        ("allow-cross-slot-keys", ALLOW_CROSS_SLOT),
    ];
}

const BAD_LIBRARY: &str = "Invalid library metadata";

/// A library's code and what its first line says.
#[derive(Debug, PartialEq, Eq)]
pub struct Library<'a> {
    pub engine: Vec<u8>,
    pub name: Vec<u8>,
    /// From the end of the first line on, so that lines keep their numbers.
    pub body: &'a [u8],
}

/// The flags of a script, and the part of it that is Lua.
pub fn script_flags(code: &[u8]) -> Result<(u8, &[u8]), Vec<u8>> {
    let Some((line, body)) = first_line(code) else {
        return match code.starts_with(b"#!") {
            true => Err(b"Invalid script shebang".to_vec()),
            false => Ok((flag::COMPAT, code)),
        };
    };
    let words = split_line(line).filter(|words| !words.is_empty());
    let words = words.ok_or(b"Invalid engine in script shebang")?;
    if words[0] != b"#!lua" {
        return Err([b"Unexpected engine in script shebang: ", &words[0][..]].concat());
    }
    let mut flags = 0;
    for word in &words[1..] {
        let Some(list) = word.strip_prefix(b"flags=") else {
            return Err([b"Unknown lua shebang option: ", &word[..]].concat());
        };
        for name in list.split(|&b| b == b',').filter(|_| !list.is_empty()) {
            let known = flag::NAMES.iter().find(|(known, _)| known.as_bytes() == name);
            flags |= known.ok_or_else(|| [b"Unexpected flag in script shebang: ", name].concat())?.1;
        }
    }
    Ok((flags, body))
}

/// What a library's first line says.
pub fn library(code: &[u8]) -> Result<Library<'_>, Vec<u8>> {
    if !code.starts_with(b"#!") {
        return Err(b"Missing library metadata".to_vec());
    }
    let (line, body) = first_line(code).ok_or(BAD_LIBRARY)?;
    let words = split_line(line).filter(|words| !words.is_empty()).ok_or(BAD_LIBRARY)?;
    let engine = words[0].get(2..).unwrap_or_default().to_vec();
    let mut name = None;
    for word in &words[1..] {
        match word.split_at_checked(5) {
            Some((key, value)) if key.eq_ignore_ascii_case(b"name=") => {
                if name.replace(value.to_vec()).is_some() {
                    return Err(b"Invalid metadata value, name argument was given multiple times".to_vec());
                }
            }
            _ => return Err([b"Invalid metadata value given: ", &word[..]].concat()),
        }
    }
    let name = name.ok_or(b"Library name was not given")?;
    Ok(Library { engine, name, body })
}

/// The first line of code that has one which is no Lua, and what follows it, its line break first.
fn first_line(code: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', code).filter(|_| code.starts_with(b"#!"))?;
    Some(code.split_at(end))
}
