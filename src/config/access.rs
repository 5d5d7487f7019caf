//! CONFIG GET and CONFIG SET.

use super::glob;
use super::table::{Config, DENY_LOADING, Directive, HIDDEN, IMMUTABLE, MANY, OWN, PROTECTED, TABLE, lookup};
use super::types::ProtectedAction;
use super::value::Reason;
use std::fmt;

/// What CONFIG SET must know about who asks and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The client comes over the loopback or a unix socket.
    pub local: bool,
    /// Data is being loaded.
    pub loading: bool,
}

/// Why CONFIG SET failed; nothing was changed. `Display` is the error reply without its dash,
/// code included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The name as the client wrote it.
    Unknown(Vec<u8>),
    /// The value was refused, or could not be put into effect.
    Failed {
        name: Vec<u8>,
        reason: Option<Reason>,
    },
    Loading,
}

impl ConfigError {
    /// A value was fine, but could not be put into effect: `Unable to listen on this port. ...`.
    pub fn failed(name: &str, reason: impl Into<Reason>) -> ConfigError {
        ConfigError::Failed { name: name.into(), reason: Some(reason.into()) }
    }

    /// The error reply without its dash, with the bytes of the name as they came.
    pub fn reply(&self) -> Vec<u8> {
        match self {
            ConfigError::Unknown(name) => {
                [b"ERR Unknown option or number of arguments for CONFIG SET - '", &name[..], b"'"].concat()
            }
            ConfigError::Failed { name, reason } => {
                let tail = reason.as_ref().map(|r| format!(" - {r}")).unwrap_or_default();
                let head = b"ERR CONFIG SET failed (possibly related to argument '";
                [head, &name[..], b"')", tail.as_bytes()].concat()
            }
            ConfigError::Loading => b"LOADING Redis is loading the dataset in memory".to_vec(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.reply()))
    }
}

/// Lowest and highest `hz`; values beyond are drawn in.
const HZ: (u32, u32) = (1, 500);

impl Config {
    /// CONFIG GET: the names and values that match any of `patterns`, each once. A plain name is
    /// looked up and comes back as it was written; a pattern finds names and aliases, hidden ones
    /// left out, in the table's order.
    pub fn get<P: AsRef<[u8]>>(&self, patterns: &[P]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut out: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |name: &[u8], row: &Directive| {
            if !out.iter().any(|(seen, _)| seen.eq_ignore_ascii_case(name)) {
                out.push((name.to_vec(), row.show(self)));
            }
        };
        for pattern in patterns.iter().map(AsRef::as_ref) {
            if !pattern.iter().any(|b| matches!(b, b'[' | b'*' | b'?')) {
                if let Some((row, _)) = lookup(pattern) {
                    add(pattern, row);
                }
                continue;
            }
            for row in TABLE.iter().filter(|row| !row.has(HIDDEN)) {
                let names = [Some(row.name), row.alias].into_iter().flatten();
                for name in names.filter(|n| glob::matches(pattern, n.as_bytes())) {
                    add(name.as_bytes(), row);
                }
            }
        }
        out
    }

    /// CONFIG SET: all pairs or none. Returns the rows whose value changed, in the order given.
    pub fn set<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        pairs: &[(N, V)],
        caller: Caller,
    ) -> Result<Vec<&'static Directive>, ConfigError> {
        let mut found: Vec<(&'static Directive, &'static str)> = Vec::with_capacity(pairs.len());
        let mut values = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let name = name.as_ref();
            let (row, spelled) = lookup(name).ok_or_else(|| ConfigError::Unknown(name.to_vec()))?;
            // who sets all that CONFIG GET shows of a Redis does not know ours
            if row.has(OWN) && row.show(self) == value.as_ref() {
                continue;
            }
            self.may_set(row, name, caller)?;
            // Redis takes a name and its alias for two settings.
            if found.iter().any(|(_, other)| *other == spelled) {
                return Err(refused(name, "duplicate parameter"));
            }
            found.push((row, spelled));
            values.push(value);
        }
        let mut new = self.clone();
        for ((row, spelled), value) in found.iter().zip(values) {
            let words = set_words(row, value.as_ref());
            let read = (row.of_mut)(&mut new).read(row.kind, &words, false);
            read.map_err(|reason| ConfigError::Failed {
                name: spelled.as_bytes().to_vec(),
                reason: Some(reason),
            })?;
        }
        new.settle();
        let mut changed: Vec<&'static Directive> = Vec::new();
        for (row, _) in found {
            if row.show(&new) != row.show(self) && !changed.iter().any(|seen| std::ptr::eq(*seen, row)) {
                changed.push(row);
            }
        }
        *self = new;
        Ok(changed)
    }

    fn may_set(&self, row: &Directive, name: &[u8], caller: Caller) -> Result<(), ConfigError> {
        if row.has(IMMUTABLE) {
            return Err(refused(name, "can't set immutable config"));
        }
        let allowed = match self.enable_protected_configs {
            ProtectedAction::Yes => true,
            ProtectedAction::Local => caller.local,
            ProtectedAction::No => false,
        };
        if row.has(PROTECTED) && !allowed {
            return Err(refused(name, "can't set protected config"));
        }
        if row.has(DENY_LOADING) && caller.loading {
            return Err(ConfigError::Loading);
        }
        Ok(())
    }

    /// Draws values that Redis accepts but doesn't use into their range.
    pub(super) fn settle(&mut self) {
        self.hz = self.hz.clamp(HZ.0, HZ.1);
    }
}

fn refused(name: &[u8], reason: &'static str) -> ConfigError {
    ConfigError::Failed { name: name.to_vec(), reason: Some(reason.into()) }
}

/// The words of CONFIG SET's one value: cut at every single space, without quoting.
fn set_words(row: &Directive, value: &[u8]) -> Vec<Vec<u8>> {
    if !row.has(MANY) {
        return vec![value.to_vec()];
    }
    if value.is_empty() {
        return Vec::new();
    }
    value.split(|b| *b == b' ').map(<[u8]>::to_vec).collect()
}
