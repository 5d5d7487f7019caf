//! Whether a user may run a command.

use crate::command::acl::{Access, Reason, Selector, User};
use crate::command::host::Kind;
use crate::command::spec::{Run, Spec, Verb, flag};
use crate::command::table::{self, Keys};
use crate::resp::Args;
use std::ops::Range;

/// Why not, and which argument it is that the user lacks, where it is a key or a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    pub reason: Reason,
    pub index: usize,
}

/// The channels that a command names and that a user must be allowed, and whether they are patterns.
pub fn channels_of(spec: &Spec, args: Args<'_>) -> (Range<usize>, bool) {
    match spec.run {
        Run::Above(Verb::Subscribe(kind)) => (1..args.len(), kind == Kind::Pattern),
        Run::Above(Verb::Publish(_)) => (1..args.len().min(2), false),
        _ => (0..0, false),
    }
}

/// A command as its user's selectors are asked about it.
struct Asked<'a> {
    spec: &'a Spec,
    args: Args<'a>,
    /// Found when a selector has to know.
    keys: Option<Keys>,
}

impl Asked<'_> {
    fn by(&mut self, selector: &Selector) -> Result<(), Denied> {
        let Asked { spec, args, .. } = *self;
        let denied = |reason, index| Err(Denied { reason, index });
        // who is to authenticate can't be denied it
        if !spec.has(flag::NO_AUTH) && !selector.allows_command(spec, args.get(1)) {
            return denied(Reason::Command, 0);
        }
        if !selector.allows_all_keys() {
            let keys = self.keys.get_or_insert_with(|| table::keys_of(spec, args));
            let lacks =
                |at: &&table::KeyAt| !selector.allows_key(args.at(at.index), Access::needed(at.flags));
            if let Some(at) = keys.iter().find(lacks) {
                return denied(Reason::Key, at.index);
            }
        }
        let (mut channels, are_patterns) = channels_of(spec, args);
        match channels.find(|i| !selector.allows_channel(args.at(*i), are_patterns)) {
            Some(index) => denied(Reason::Channel, index),
            None => Ok(()),
        }
    }
}

/// Whether a user may run a command whose arguments number right: one of its selectors has to allow all of it.
/// If none does, the reason is of the one that allows most.
pub fn may(user: &User, spec: &Spec, args: Args<'_>) -> Result<(), Denied> {
    if user.is_unrestricted() {
        return Ok(());
    }
    let mut asked = Asked { spec, args, keys: None };
    let mut told = Denied { reason: Reason::Command, index: 0 };
    for selector in user.selectors() {
        match asked.by(selector) {
            Ok(()) => return Ok(()),
            Err(denied) if (denied.reason, denied.index) > (told.reason, told.index) => told = denied,
            Err(_) => {}
        }
    }
    Err(told)
}

/// Whether what a command may read without naming it is all for the user: the same selector must allow the
/// command, and every key.
pub fn reads_everything(user: &User, spec: &Spec, args: Args<'_>) -> bool {
    let mut asked = Asked { spec, args, keys: None };
    user.is_unrestricted()
        || user.selectors().iter().any(|s| asked.by(s).is_ok() && s.allows_every_key(Access::READ))
}
