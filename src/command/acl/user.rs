//! One user.

use super::selector::{Selector, channel_fits};
use crate::util::sha256::sha256;

/// The digest of a password.
pub(super) type Hash = [u8; 32];

/// Whether payloads of RESTORE are to be looked through, as far as rules have said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sanitize {
    #[default]
    Unsaid,
    Skip,
    Yes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Of all users that the host has ever had, which: who is deleted and made again is somebody else.
    pub id: u64,
    pub name: Box<[u8]>,
    pub(super) on: bool,
    /// Any password will do.
    pub(super) nopass: bool,
    pub(super) sanitize: Sanitize,
    pub(super) passwords: Vec<Hash>,
    /// The first is the user's own, to which rules outside parentheses go. There is always that one.
    pub(super) selectors: Vec<Selector>,
    pub(super) unrestricted: bool,
}

impl User {
    /// One that may do nothing, or, by `acl-pubsub-default`, use all channels; and may not log in.
    pub(super) fn new(id: u64, name: &[u8], all_channels: bool) -> User {
        User {
            id,
            name: name.into(),
            on: false,
            nopass: false,
            sanitize: Sanitize::Unsaid,
            passwords: Vec::new(),
            selectors: vec![Selector::new(all_channels)],
            unrestricted: false,
        }
    }

    pub fn is_on(&self) -> bool {
        self.on
    }

    pub fn takes_any_password(&self) -> bool {
        self.nopass
    }

    /// Whether it may do anything: nothing is to be asked for its commands.
    #[inline]
    pub fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }

    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// It needs this password and takes no other; with an empty one, any will do.
    pub(super) fn require(&mut self, password: &[u8]) {
        self.nopass = password.is_empty();
        self.passwords.clear();
        self.passwords.extend((!self.nopass).then(|| sha256(password)));
    }

    /// To be called when the selectors have changed.
    pub(super) fn settle(&mut self) {
        self.unrestricted = self.selectors.iter().any(Selector::is_unrestricted);
    }

    /// Whether somebody with this password may log in. Takes as long for any password.
    pub fn admits(&self, password: &[u8]) -> bool {
        let given = sha256(password);
        let same = |wanted: &Hash| wanted.iter().zip(&given).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0;
        let found = self.passwords.iter().fold(false, |found, wanted| found | same(wanted));
        self.on && (self.nopass || found)
    }

    /// Whether all channels that it could use before are its still, by its patterns' letters.
    pub fn keeps_channels_of(&self, before: &User) -> bool {
        let kept = |name: &[u8]| self.selectors.iter().flat_map(Selector::channels).any(|own| own == name);
        let has_all = |user: &User| user.selectors.iter().any(Selector::allows_all_channels);
        has_all(self) || !has_all(before) && before.selectors.iter().flat_map(Selector::channels).all(kept)
    }

    /// Whether it may go on listening to a channel, or by a pattern.
    pub fn may_hear(&self, name: &[u8], is_pattern: bool) -> bool {
        let fits = |own: &[u8]| channel_fits(own, name, is_pattern);
        let all = self.selectors.iter().any(Selector::allows_all_channels);
        all || self.selectors.iter().flat_map(Selector::channels).any(fits)
    }
}
