//! Users in the configuration, and in a file of their own.

use super::rules::merged;
use super::users::DEFAULT;
use super::{Catalog, Terms, Users, Wrong, c_string, has_spaces};
use crate::config::{Config, ParseError};
use std::collections::BTreeSet;

const NO_CHANGE: &[u8] =
    b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
const BOTH: &str = "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is \
     invalid. This setup is very likely to lead to configuration errors and security holes, please define either \
     an ACL file or declare users directly in your redis.conf, but not both.";

/// The users that a configuration declares, with `requirepass`; or what is wrong with them.
pub fn declared(conf: &Config, terms: &Terms) -> Result<Users, String> {
    let mut users = Users::default();
    users.require(conf.requirepass.bytes());
    let mut seen: BTreeSet<&[u8]> = BTreeSet::new();
    for line in &conf.users {
        let fail = |word: &[u8], why: &str| {
            let word = String::from_utf8_lossy(c_string(word));
            ParseError::at(&line.at, format!("Error in user declaration '{word}': {why}")).to_string()
        };
        let (name, words) = line.words.split_first().expect("the reader asks for a name");
        if !seen.insert(name) {
            return Err(fail(name, &Wrong::Duplicate.to_string()));
        }
        if has_spaces(name) {
            return Err("Spaces not allowed in ACL usernames".into());
        }
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut words = merged(&words).map_err(|open| fail(open, "Unmatched parenthesis in acl selector"))?;
        if name == DEFAULT {
            // it was there before
            words.insert(0, b"reset"[..].into());
        }
        let mut wrong = None;
        users.add(name, &words, terms, |word, why| {
            wrong.get_or_insert_with(|| fail(word, &why.to_string()));
        });
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
    }
    match conf.aclfile.is_empty() || conf.users.is_empty() {
        true => Ok(users),
        false => Err(BOTH.into()),
    }
}

/// The users of a file, in place of those that there are; or all that is wrong with it.
pub fn read(before: &Users, path: &str, text: &[u8], terms: &Terms) -> Result<Users, Vec<u8>> {
    let mut users = before.anew();
    let mut seen: BTreeSet<&[u8]> = BTreeSet::new();
    let mut errors = Vec::new();
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        let number = number + 1;
        let line = trimmed(line, b" \t\r\n");
        if line.is_empty() {
            continue;
        }
        let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        let (b"user", Some(&name)) = (words[0], words.get(1)) else {
            let why = format!("{path}:{number} should start with user keyword followed by the username. ");
            errors.extend(why.into_bytes());
            continue;
        };
        if has_spaces(name) {
            let why = format!("'{path}:{number}: username '");
            errors.extend([why.as_bytes(), c_string(name), b"' contains invalid characters. "].concat());
            continue;
        }
        if !seen.insert(name) {
            let why = format!("' found on line {number}. ");
            errors.extend([b"WARNING: Duplicate user '", name, why.as_bytes()].concat());
            continue;
        }
        let Ok(words) = merged(&words[2..]) else {
            errors.extend(
                format!("{path}:{number}: Unmatched parenthesis in selector definition.").into_bytes(),
            );
            continue;
        };
        let words: Vec<&[u8]> = words.iter().map(|word| trimmed(word, b"\t\r\n")).collect();
        let mut told = false;
        users.add(name, &words, terms, |word, wrong| match wrong {
            Wrong::UnknownCommand => {
                let at = format!("{path}:{number}: Error in applying operation '");
                let why = format!("': {wrong}. ");
                errors.extend([at.as_bytes(), c_string(word), why.as_bytes()].concat());
            }
            // what follows a first mistake may only follow from it
            _ if told => {}
            _ => {
                errors.extend(format!("{path}:{number}: {wrong}. ").into_bytes());
                told = true;
            }
        });
    }
    if errors.is_empty() {
        return Ok(users);
    }
    errors.extend_from_slice(NO_CHANGE);
    Err(errors)
}

fn trimmed<'a>(text: &'a [u8], blanks: &[u8]) -> &'a [u8] {
    let from = text.iter().position(|b| !blanks.contains(b)).unwrap_or(text.len());
    let to = text.iter().rposition(|b| !blanks.contains(b)).map_or(from, |at| at + 1);
    &text[from..to]
}

/// The text of a file with all users.
pub fn written(users: &Users, catalog: &Catalog) -> Vec<u8> {
    users.lines(catalog).iter().flat_map(|line| [b"user ", &line[..], b"\n"].concat()).collect()
}
