//! REPLCONF: what a replica tells of itself.

use crate::resp::Args;
use crate::util::num::parse_i64;

/// Longest address that a replica may name itself by, as in Redis.
const ADDRESS: usize = 256;

/// What a replica has told of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub port: i64,
    pub address: Option<String>,
    /// It understands payloads that end in a mark, and a stream that changes its name.
    pub eof: bool,
    pub psync2: bool,
    /// It wants the payload and no stream.
    pub rdb_only: bool,
    /// It wants a payload without keys, and without functions.
    pub no_data: bool,
    pub no_functions: bool,
}

/// What a REPLCONF comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Ok,
    /// It has so much of the stream; no reply.
    Ack(u64),
    /// Its primary wants to know how much it has; no reply.
    GetAck,
    /// Not worth a reply.
    Nothing,
}

/// Why one is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    Syntax,
    NotANumber,
    OutOfRange,
    Other(String),
}

impl About {
    /// REPLCONF option value ...
    pub fn hear(&mut self, args: Args<'_>) -> Result<Said, Wrong> {
        if args.len().is_multiple_of(2) {
            return Err(Wrong::Syntax);
        }
        for i in (1..args.len()).step_by(2) {
            let value = args.at(i + 1);
            let number = || parse_i64(value);
            if args.is(i, "listening-port") {
                self.port = number().ok_or(Wrong::NotANumber)?;
            } else if args.is(i, "ip-address") {
                if value.len() >= ADDRESS {
                    let len = value.len();
                    return Err(Wrong::Other(format!(
                        "REPLCONF ip-address provided by replica instance is too long: {len} bytes"
                    )));
                }
                self.address = Some(String::from_utf8_lossy(value).into_owned());
            } else if args.is(i, "capa") {
                self.eof |= args.is(i + 1, "eof");
                self.psync2 |= args.is(i + 1, "psync2");
            } else if args.is(i, "ack") {
                let offset = number().map(|offset| offset.max(0) as u64);
                return Ok(offset.map_or(Said::Nothing, Said::Ack));
            } else if args.is(i, "getack") {
                return Ok(Said::GetAck);
            } else if args.is(i, "rdb-only") {
                match number().ok_or(Wrong::NotANumber)? {
                    n @ 0..=1 => self.rdb_only = n == 1,
                    _ => return Err(Wrong::OutOfRange),
                }
            } else if args.is(i, "rdb-filter-only") {
                self.filter(value)?;
            } else {
                let option = String::from_utf8_lossy(args.at(i));
                return Err(Wrong::Other(format!("Unrecognized REPLCONF option: {option}")));
            }
        }
        Ok(Said::Ok)
    }

    fn filter(&mut self, value: &[u8]) -> Result<(), Wrong> {
        (self.no_data, self.no_functions) = (true, true);
        for word in value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            if !word.eq_ignore_ascii_case(b"functions") {
                let word = String::from_utf8_lossy(word);
                return Err(Wrong::Other(format!("Unsupported rdb-filter-only option: {word}")));
            }
            self.no_functions = false;
        }
        Ok(())
    }
}
