//! The words of ACL SETUSER: each changes a user.

use super::selector::{Access, Keys};
use super::user::{Hash, Sanitize};
use super::{Catalog, Selector, User, c_string, has_spaces};
use crate::command::spec::acl;
use crate::config::types::AclPubsubDefault;
use crate::config::{Config, split};
use crate::util::sha256::sha256;
use std::borrow::Cow;
use std::fmt;

/// What rules mean here.
#[derive(Clone, Copy)]
pub struct Terms {
    pub catalog: &'static Catalog,
    /// Channels are open to new users: `acl-pubsub-default`.
    pub all_channels: bool,
}

impl Terms {
    pub fn new(catalog: &'static Catalog, conf: &Config) -> Terms {
        Terms { catalog, all_channels: conf.acl_pubsub_default == AclPubsubDefault::AllChannels }
    }
}

/// Why a word was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    UnknownCommand,
    Syntax,
    KeysAfterAll,
    ChannelsAfterAll,
    NoSuchPassword,
    BadHash,
    Duplicate,
    ArgOfSubcommand,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wrong::UnknownCommand => "Unknown command or category name in ACL",
            Wrong::Syntax => "Syntax error",
            Wrong::KeysAfterAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            Wrong::ChannelsAfterAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have \
                 any effect. Try 'resetchannels' to start with an empty list of channels"
            }
            Wrong::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            Wrong::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Wrong::Duplicate => "Duplicate user found. A user can only be defined once in config files",
            Wrong::ArgOfSubcommand => "Allowing first-arg of a subcommand is not supported",
        })
    }
}

/// Puts selectors together that blanks have cut into several words; or the word whose parenthesis nothing
/// closes.
pub fn merged<'a>(words: &[&'a [u8]]) -> Result<Vec<Cow<'a, [u8]>>, &'a [u8]> {
    let mut out: Vec<Cow<'a, [u8]>> = Vec::with_capacity(words.len());
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for &word in words {
        match &mut open {
            None if word.first() == Some(&b'(') && word.last() != Some(&b')') => {
                open = Some((word, word.to_vec()));
            }
            None => out.push(word.into()),
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.last() == Some(&b')') {
                    out.extend(open.take().map(|(_, selector)| Cow::from(selector)));
                }
            }
        }
    }
    open.map_or(Ok(out), |(first, _)| Err(first))
}

impl User {
    /// Changes it by one word. On an error it may be changed in part: try on a copy.
    pub fn change(&mut self, word: &[u8], terms: &Terms) -> Result<(), Wrong> {
        let name = c_string(word).to_ascii_lowercase();
        match (&name[..], word) {
            (_, []) => {}
            (b"on", _) => self.on = true,
            (b"off", _) => self.on = false,
            (b"skip-sanitize-payload", _) => self.sanitize = Sanitize::Skip,
            (b"sanitize-payload", _) => self.sanitize = Sanitize::Yes,
            (b"nopass", _) => {
                self.nopass = true;
                self.passwords.clear();
            }
            (b"resetpass", _) => {
                self.nopass = false;
                self.passwords.clear();
            }
            (_, [b'>' | b'#', ..]) => {
                let hash = hash_of(word)?;
                if !self.passwords.contains(&hash) {
                    self.passwords.push(hash);
                }
                self.nopass = false;
            }
            (_, [b'<' | b'!', ..]) => {
                let hash = hash_of(word)?;
                let at = self.passwords.iter().position(|known| *known == hash);
                self.passwords.remove(at.ok_or(Wrong::NoSuchPassword)?);
            }
            (_, [b'(', inner @ .., b')']) => self.selectors.push(selector_of(inner, terms)?),
            (b"clearselectors", _) => self.selectors.truncate(1),
            (b"reset", _) => self.reset(terms),
            _ => self.selectors[0].change(word, terms)?,
        }
        self.settle();
        Ok(())
    }

    /// As it was when it was new, but for `sanitize-payload`.
    fn reset(&mut self, terms: &Terms) {
        *self = User { sanitize: Sanitize::Yes, ..User::new(self.id, &self.name, terms.all_channels) };
    }
}

/// The digest that a word is about: of a password (`>`, `<`), or written out (`#`, `!`).
fn hash_of(word: &[u8]) -> Result<Hash, Wrong> {
    let text = &word[1..];
    if matches!(word[0], b'>' | b'<') {
        return Ok(sha256(text));
    }
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() {
        return Err(Wrong::BadHash);
    }
    for (byte, pair) in hash.iter_mut().zip(text.chunks(2)) {
        *byte =
            digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| high << 4 | low).ok_or(Wrong::BadHash)?;
    }
    Ok(hash)
}

/// What stands between parentheses; as in Redis, nothing where quotes do not match.
fn selector_of(inner: &[u8], terms: &Terms) -> Result<Selector, Wrong> {
    let mut selector = Selector::new(terms.all_channels);
    for word in split::words(inner).unwrap_or_default() {
        selector.change(&word, terms)?;
    }
    Ok(selector)
}

/// The category of this name, in any letter case.
pub fn category(name: &[u8]) -> Option<u32> {
    let is_it = |known: &str| known.as_bytes()[1..].eq_ignore_ascii_case(name);
    acl::CATEGORIES.iter().find(|(_, known)| is_it(known)).map(|(bit, _)| *bit)
}

impl Selector {
    fn change(&mut self, word: &[u8], terms: &Terms) -> Result<(), Wrong> {
        let name = c_string(word).to_ascii_lowercase();
        match (&name[..], c_string(word)) {
            (b"allkeys" | b"~*", _) => {
                self.all_keys = true;
                self.keys.clear();
            }
            (b"resetkeys", _) => {
                self.all_keys = false;
                self.keys.clear();
            }
            (b"allchannels" | b"&*", _) => {
                self.all_channels = true;
                self.channels.clear();
            }
            (b"resetchannels", _) => {
                self.all_channels = false;
                self.channels.clear();
            }
            (b"allcommands" | b"+@all", _) => self.allow_all_commands(true),
            (b"nocommands" | b"-@all", _) => self.allow_all_commands(false),
            (_, [b'~' | b'%', ..]) => self.add_keys(word)?,
            (_, [b'&', ..]) => self.add_channels(&word[1..])?,
            (_, [sign @ (b'+' | b'-'), b'@', category_name @ ..]) => {
                let category = category(category_name).ok_or(Wrong::UnknownCommand)?;
                self.allow_category(terms.catalog, category, *sign == b'+');
            }
            (_, [b'+', command @ ..]) if command.contains(&b'|') => self.allow_part(command, terms)?,
            (_, [sign @ (b'+' | b'-'), command @ ..]) => {
                let spec = (terms.catalog.find)(command).ok_or(Wrong::UnknownCommand)?;
                self.allow(spec, *sign == b'+');
            }
            _ => return Err(Wrong::Syntax),
        }
        Ok(())
    }

    /// `~pattern`, or `%RW~pattern`.
    fn add_keys(&mut self, word: &[u8]) -> Result<(), Wrong> {
        if self.all_keys {
            return Err(Wrong::KeysAfterAll);
        }
        let (access, pattern) = match word {
            [b'~', pattern @ ..] => (Access::BOTH, pattern),
            _ => {
                let end = word.iter().position(|b| *b == b'~').unwrap_or(word.len());
                (access_of(&word[1..end])?, word.get(end + 1..).unwrap_or_default())
            }
        };
        if has_spaces(pattern) {
            return Err(Wrong::Syntax);
        }
        match self.keys.iter_mut().find(|known| *known.pattern == *pattern) {
            Some(known) => known.access = known.access | access,
            None => self.keys.push(Keys { pattern: pattern.into(), access }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), Wrong> {
        if self.all_channels {
            return Err(Wrong::ChannelsAfterAll);
        }
        if has_spaces(pattern) {
            return Err(Wrong::Syntax);
        }
        if !self.channels.iter().any(|known| **known == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    /// `config|get`: a subcommand; or `select|0`: a command with this first argument.
    fn allow_part(&mut self, command: &[u8], terms: &Terms) -> Result<(), Wrong> {
        let bar = command.iter().rposition(|b| *b == b'|').expect("the caller has seen one");
        let (name, part) = (&command[..bar], &command[bar + 1..]);
        let spec = (terms.catalog.find)(name).ok_or(Wrong::UnknownCommand)?;
        if name.contains(&b'|') {
            return Err(Wrong::ArgOfSubcommand);
        }
        if part.is_empty() {
            return Err(Wrong::Syntax);
        }
        if !spec.subs.is_empty() {
            let sub = (terms.catalog.find)(command).ok_or(Wrong::UnknownCommand)?;
            self.allow(sub, true);
            return Ok(());
        }
        let known = self.first_args.entry(spec.id).or_default();
        if !known.iter().any(|one| one.eq_ignore_ascii_case(part)) {
            known.push(part.into());
        }
        Ok(())
    }
}

/// `R`, `W` or both, each once.
fn access_of(letters: &[u8]) -> Result<Access, Wrong> {
    let mut access = Access::default();
    for letter in letters {
        match letter.to_ascii_uppercase() {
            b'R' if !access.read => access.read = true,
            b'W' if !access.write => access.write = true,
            _ => return Err(Wrong::Syntax),
        }
    }
    if access == Access::default() { Err(Wrong::Syntax) } else { Ok(access) }
}
