//! One set of permissions: commands, the keys that they may name, and the channels.

use super::Catalog;
use crate::command::spec::{Spec, key};
use crate::limits::ACL_COMMANDS;
use crate::util::glob;
use std::collections::BTreeMap;
use std::ops::BitOr;

/// What may be done to a key, or has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub read: bool,
    pub write: bool,
}

impl Access {
    pub const READ: Access = Access { read: true, write: false };
    pub const WRITE: Access = Access { read: false, write: true };
    pub const BOTH: Access = Access { read: true, write: true };

    /// What a command with these [`key`] flags needs. None of both where it only asks whether there is a key:
    /// any pattern will do.
    pub fn needed(flags: u32) -> Access {
        let write = key::INSERT | key::DELETE | key::UPDATE;
        Access { read: flags & key::ACCESS != 0, write: flags & write != 0 }
    }

    fn covers(self, needed: Access) -> bool {
        self.read >= needed.read && self.write >= needed.write
    }
}

impl BitOr for Access {
    type Output = Access;

    fn bitor(self, other: Access) -> Access {
        Access { read: self.read || other.read, write: self.write || other.write }
    }
}

/// Keys by a pattern, and what may be done to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) pattern: Box<[u8]>,
    pub(super) access: Access,
}

/// Which commands, a bit each by its id. The last bit is no command's: it tells a set that began with all
/// commands from one to which commands were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commands([u64; ACL_COMMANDS / 64]);

impl Commands {
    pub(super) const ALL: Commands = Commands([u64::MAX; ACL_COMMANDS / 64]);
    const FROM_ALL: u16 = ACL_COMMANDS as u16 - 1;

    pub(super) fn has(&self, id: u16) -> bool {
        self.0[id as usize / 64] >> (id % 64) & 1 != 0
    }

    fn put(&mut self, id: u16, allow: bool) {
        let bit = 1u64 << (id % 64);
        let word = &mut self.0[id as usize / 64];
        *word = if allow { *word | bit } else { *word & !bit };
    }

    pub(super) fn began_with_all(&self) -> bool {
        self.has(Commands::FROM_ALL)
    }
}

/// Permissions that must all be in one selector for a command to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    pub(super) commands: Commands,
    /// First arguments with which commands that are not allowed are, by the commands' ids.
    pub(super) first_args: BTreeMap<u16, Vec<Box<[u8]>>>,
    pub(super) all_keys: bool,
    pub(super) keys: Vec<Keys>,
    pub(super) all_channels: bool,
    pub(super) channels: Vec<Box<[u8]>>,
}

impl Selector {
    /// One that allows nothing, or, by `acl-pubsub-default`, all channels.
    pub(super) fn new(all_channels: bool) -> Selector {
        Selector { all_channels, ..Selector::default() }
    }

    /// Whether it allows anything.
    pub fn is_unrestricted(&self) -> bool {
        self.commands == Commands::ALL && self.all_keys && self.all_channels
    }

    pub(super) fn allow_all_commands(&mut self, allow: bool) {
        self.commands = if allow { Commands::ALL } else { Commands::default() };
        self.first_args.clear();
    }

    /// A command, and its subcommands.
    pub(super) fn allow(&mut self, spec: &Spec, allow: bool) {
        self.commands.put(spec.id, allow);
        self.first_args.remove(&spec.id);
        spec.subs.iter().for_each(|sub| self.commands.put(sub.id, allow));
    }

    /// Every command of a category. A container of it takes all of its subcommands along.
    pub(super) fn allow_category(&mut self, catalog: &Catalog, category: u32, allow: bool) {
        catalog.rows().filter(|spec| spec.acl & category != 0).for_each(|spec| self.allow(spec, allow));
    }

    /// How many commands of a category it allows, and how many not.
    pub(super) fn count(&self, catalog: &Catalog, category: u32) -> (usize, usize) {
        let all = catalog.rows().filter(|spec| spec.acl & category != 0);
        all.fold((0, 0), |(on, off), spec| match self.commands.has(spec.id) {
            true => (on + 1, off),
            false => (on, off + 1),
        })
    }

    /// Whether it lets the command run, its keys and channels aside. `first`: the first argument, if any.
    pub fn allows_command(&self, spec: &Spec, first: Option<&[u8]>) -> bool {
        if self.commands.has(spec.id) {
            return true;
        }
        let allowed = self.first_args.get(&spec.id).map(Vec::as_slice).unwrap_or_default();
        first.is_some_and(|first| allowed.iter().any(|one| one.eq_ignore_ascii_case(first)))
    }

    pub fn allows_all_keys(&self) -> bool {
        self.all_keys
    }

    pub fn allows_key(&self, name: &[u8], needed: Access) -> bool {
        let fits = |keys: &Keys| keys.access.covers(needed) && glob::matches(&keys.pattern, name, false);
        self.all_keys || self.keys.iter().any(fits)
    }

    /// Whether it lets any key be used so, even those that no argument names.
    pub fn allows_every_key(&self, needed: Access) -> bool {
        let every = |keys: &Keys| keys.access.covers(needed) && glob::is_all(&keys.pattern);
        self.all_keys || self.keys.iter().any(every)
    }

    pub fn allows_all_channels(&self) -> bool {
        self.all_channels
    }

    /// Whether it lets a channel be used, or, for `PSUBSCRIBE`, a pattern: that must be one of its own to the
    /// letter, for nobody can say what another one matches.
    pub fn allows_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.all_channels || self.channels.iter().any(|own| channel_fits(own, name, is_pattern))
    }

    pub(super) fn channels(&self) -> impl Iterator<Item = &[u8]> {
        self.channels.iter().map(|channel| &channel[..])
    }
}

pub(super) fn channel_fits(own: &[u8], name: &[u8], is_pattern: bool) -> bool {
    if is_pattern { own == name } else { glob::matches(own, name, false) }
}
