//! MIGRATE's arguments. The shard carries it out.

use super::error::{ErrReply, NOT_INT, SYNTAX};
use crate::resp::Args;
use crate::util::num::parse_i64;
use std::ops::Range;

/// What MIGRATE says when none of its keys is there.
pub const NO_KEY: &[u8] = b"+NOKEY\r\n";

const KEY_AND_KEYS: ErrReply =
    ErrReply::new("ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");
/// How long the target may be silent when no time is given, in ms.
const DEFAULT_TIMEOUT: u64 = 1000;

/// MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password | AUTH2 user password]
/// [KEYS key ...]
#[derive(Debug, PartialEq, Eq)]
pub struct Migrate {
    pub host: String,
    /// 0 for what is no port: nobody answers there.
    pub port: u16,
    /// The target's database.
    pub db: i64,
    pub timeout_ms: u64,
    pub copy: bool,
    pub replace: bool,
    /// User, if one was named, and password.
    pub auth: Option<(Option<Vec<u8>>, Vec<u8>)>,
    /// Where the keys stand.
    pub keys: Range<usize>,
}

impl Migrate {
    pub fn parse(args: Args<'_>) -> Result<Migrate, ErrReply> {
        let (mut copy, mut replace, mut auth, mut keys) = (false, false, None, 3..4);
        let mut i = 6;
        while i < args.len() {
            if args.is(i, "copy") {
                copy = true;
            } else if args.is(i, "replace") {
                replace = true;
            } else if args.is(i, "auth") {
                let user = auth.take().and_then(|(user, _)| user);
                auth = Some((user, args.get(i + 1).ok_or(SYNTAX)?.to_vec()));
                i += 1;
            } else if args.is(i, "auth2") {
                let password = args.get(i + 2).ok_or(SYNTAX)?;
                auth = Some((Some(args.at(i + 1).to_vec()), password.to_vec()));
                i += 2;
            } else if args.is(i, "keys") {
                if !args.at(3).is_empty() {
                    return Err(KEY_AND_KEYS);
                }
                keys = i + 1..args.len();
                break;
            } else {
                return Err(SYNTAX);
            }
            i += 1;
        }
        let timeout = parse_i64(args.at(5)).ok_or(NOT_INT)?;
        let db = parse_i64(args.at(4)).ok_or(NOT_INT)?;
        let text = |i: usize| String::from_utf8_lossy(args.at(i)).into_owned();
        Ok(Migrate {
            host: text(1),
            port: text(2).parse().unwrap_or(0),
            db,
            timeout_ms: u64::try_from(timeout).ok().filter(|&ms| ms > 0).unwrap_or(DEFAULT_TIMEOUT),
            copy,
            replace,
            auth,
            keys,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::args::OwnedArgs;

    fn parse(line: &str) -> Result<Migrate, ErrReply> {
        let words = line.split(' ').map(|word| if word == "''" { "" } else { word });
        Migrate::parse(OwnedArgs::new(words).as_args())
    }

    #[test]
    fn arguments() {
        let plain = || Migrate {
            host: "h".into(),
            port: 7000,
            db: 2,
            timeout_ms: 50,
            copy: false,
            replace: false,
            auth: None,
            keys: 3..4,
        };
        let auth = |user: Option<&str>, password: &str| Some((user.map(Into::into), password.into()));
        let cases = [
            ("migrate h 7000 k 2 50", plain()),
            ("migrate h x k 2 0", Migrate { port: 0, timeout_ms: 1000, ..plain() }),
            ("migrate h 7000 k 2 -5", Migrate { timeout_ms: 1000, ..plain() }),
            ("migrate h 7000 k 2 50 copy REPLACE", Migrate { copy: true, replace: true, ..plain() }),
            ("migrate h 7000 k 2 50 auth copy", Migrate { auth: auth(None, "copy"), ..plain() }),
            ("migrate h 7000 k 2 50 auth2 u p", Migrate { auth: auth(Some("u"), "p"), ..plain() }),
            ("migrate h 7000 k 2 50 auth2 u p auth q", Migrate { auth: auth(Some("u"), "q"), ..plain() }),
            ("migrate h 7000 '' 2 50 keys a keys c", Migrate { keys: 7..10, ..plain() }),
            ("migrate h 7000 '' 2 50 copy keys", Migrate { copy: true, keys: 8..8, ..plain() }),
        ];
        for (line, want) in cases {
            assert_eq!(parse(line), Ok(want), "{line}");
        }
        let errors = [
            ("migrate h 7000 k 2 50 keys a", KEY_AND_KEYS),
            ("migrate h 7000 k x 50 keys a", KEY_AND_KEYS),
            ("migrate h 7000 k x 50", NOT_INT),
            ("migrate h 7000 k 2 x", NOT_INT),
            ("migrate h 7000 k 2 50 auth", SYNTAX),
            ("migrate h 7000 k 2 50 auth2 u", SYNTAX),
            ("migrate h 7000 k 2 50 what", SYNTAX),
        ];
        for (line, want) in errors {
            assert_eq!(parse(line), Err(want), "{line}");
        }
    }
}
