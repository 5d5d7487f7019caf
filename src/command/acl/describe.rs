//! Users as text: the words that would make them again.

use super::selector::{Access, Commands, Keys};
use super::user::Sanitize;
use super::{Catalog, Selector, User};
use crate::command::spec::acl;
use crate::util::glob;

impl User {
    /// What rules have said of the user itself, as ACL GETUSER lists it.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.on { "on" } else { "off" }];
        flags.extend(self.nopass.then_some("nopass"));
        match self.sanitize {
            Sanitize::Unsaid => {}
            Sanitize::Skip => flags.push("skip-sanitize-payload"),
            Sanitize::Yes => flags.push("sanitize-payload"),
        }
        flags
    }

    /// The passwords' digests, as hexadecimal digits.
    pub fn passwords(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// All of it, the name aside.
    pub fn describe(&self, catalog: &Catalog) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = self.flags().into_iter().map(Vec::from).collect();
        words.extend(self.passwords().map(|hash| format!("#{hash}").into_bytes()));
        for (n, selector) in self.selectors.iter().enumerate() {
            let rules = selector.describe(catalog);
            words.push(if n == 0 { rules } else { [b"(", &rules[..], b")"].concat() });
        }
        words.join(&b' ')
    }

    /// Its line in a file, without the word `user` at its beginning.
    pub fn line(&self, catalog: &Catalog) -> Vec<u8> {
        [&self.name[..], b" ", &self.describe(catalog)].concat()
    }
}

impl Keys {
    fn describe(&self) -> Vec<u8> {
        let sign: &[u8] = match self.access {
            Access { read: true, write: false } => b"%R~",
            Access { read: false, write: true } => b"%W~",
            // `~*` would be all keys, to which no pattern can be added
            _ if glob::is_all(&self.pattern) => b"%RW~",
            _ => b"~",
        };
        [sign, &self.pattern].concat()
    }
}

impl Selector {
    /// The patterns of keys, a word each.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        self.keys.iter().map(Keys::describe).collect::<Vec<_>>().join(&b' ')
    }

    /// The patterns of channels, a word each.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        self.channels.iter().map(|own| [b"&", &own[..]].concat()).collect::<Vec<_>>().join(&b' ')
    }

    /// The commands: all or none, then categories as long as they say more than they have to be corrected
    /// for, then what is left, one by one.
    pub fn describe_commands(&self, catalog: &Catalog) -> Vec<u8> {
        let additive = !self.commands.began_with_all();
        let sign = if additive { '+' } else { '-' };
        let mut told = Selector::default();
        told.allow_all_commands(!additive);
        let mut words = vec![if additive { b"-@all".to_vec() } else { b"+@all".to_vec() }];
        // what no category has told yet
        let mut left = Selector { commands: self.commands.clone(), ..Selector::default() };
        let mut categories = acl::CATEGORIES.to_vec();
        while let Some(at) = best(&left, catalog, &categories, additive) {
            let (bit, name) = categories.remove(at);
            told.allow_category(catalog, bit, additive);
            left.allow_category(catalog, bit, !additive);
            words.push(format!("{sign}{name}").into_bytes());
        }
        for spec in catalog.rows() {
            let allowed = self.commands.has(spec.id);
            if allowed != told.commands.has(spec.id) {
                words.push(format!("{}{}", if allowed { '+' } else { '-' }, spec.name).into_bytes());
                told.allow(spec, allowed);
            }
            let args = self.first_args.get(&spec.id).filter(|_| !allowed);
            let args = args.into_iter().flatten();
            words.extend(args.map(|arg| [b"+", spec.name.as_bytes(), b"|", arg].concat()));
        }
        debug_assert!(told.agrees_with(&self.commands, catalog), "what was told is what there is");
        words.join(&b' ')
    }

    fn agrees_with(&self, commands: &Commands, catalog: &Catalog) -> bool {
        catalog.rows().all(|spec| self.commands.has(spec.id) == commands.has(spec.id))
    }

    fn describe(&self, catalog: &Catalog) -> Vec<u8> {
        let mut words = vec![self.describe_keys()];
        if !self.all_channels {
            words.push(b"resetchannels".to_vec());
        }
        words.push(self.describe_channels());
        words.push(self.describe_commands(catalog));
        words.retain(|word| !word.is_empty());
        words.join(&b' ')
    }
}

/// Which of the categories says most: more of its commands are like that than not, as few as possible are not,
/// and of such as many as possible are.
fn best(left: &Selector, catalog: &Catalog, categories: &[(u32, &str)], additive: bool) -> Option<usize> {
    let counted = categories.iter().enumerate().map(|(at, (bit, _))| {
        let (on, off) = left.count(catalog, *bit);
        let (same, different) = if additive { (on, off) } else { (off, on) };
        (at, same, different)
    });
    let fit = counted.filter(|(_, same, different)| same > different);
    fit.min_by_key(|(at, same, different)| (*different, usize::MAX - same, *at)).map(|(at, ..)| at)
}
