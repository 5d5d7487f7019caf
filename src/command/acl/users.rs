//! All users of a host.

use super::rules::merged;
use super::{Catalog, Log, Terms, User, Wrong, c_string};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The user of who has not said otherwise.
pub const DEFAULT: &[u8] = b"default";

/// Who there is, by name. There is always the default user.
#[derive(Clone, Debug)]
pub struct Users {
    by_name: BTreeMap<Box<[u8]>, Arc<User>>,
    /// How many users there have ever been.
    made: u64,
}

impl Default for Users {
    /// The default user, who may do everything and needs no password.
    fn default() -> Users {
        let mut user = User::new(0, DEFAULT, true);
        (user.on, user.nopass) = (true, true);
        user.selectors[0].allow_all_commands(true);
        user.selectors[0].all_keys = true;
        user.settle();
        Users { by_name: BTreeMap::from([(DEFAULT.into(), Arc::new(user))]), made: 1 }
    }
}

impl Users {
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    pub fn the_default(&self) -> &Arc<User> {
        &self.by_name[DEFAULT]
    }

    /// By name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// The user who may log in with these.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        self.get(name).filter(|user| user.admits(password))
    }

    fn put(&mut self, user: User) {
        self.by_name.insert(user.name.clone(), Arc::new(user));
    }

    /// A user who is to be added.
    fn make(&mut self, name: &[u8], terms: &Terms) -> User {
        self.made += 1;
        User::new(self.made - 1, name, terms.all_channels)
    }

    /// ACL SETUSER: changes a user, or adds one; or says why not, and nothing has changed.
    pub fn set(&mut self, name: &[u8], words: &[&[u8]], terms: &Terms) -> Result<(), Vec<u8>> {
        let words = merged(words).map_err(|open| {
            [b"Unmatched parenthesis in acl selector starting at '", c_string(open), b"'."].concat()
        })?;
        let mut user = match self.get(name) {
            Some(user) => User::clone(user),
            None => self.make(name, terms),
        };
        for word in &words {
            user.change(word, terms).map_err(|wrong| {
                let why = format!("': {wrong}");
                [b"Error in ACL SETUSER modifier '", c_string(word), why.as_bytes()].concat()
            })?;
        }
        self.put(user);
        Ok(())
    }

    /// False when there was no such user. The default one stays.
    pub fn delete(&mut self, name: &[u8]) -> bool {
        name != DEFAULT && self.by_name.remove(name).is_some()
    }

    /// The default user needs this password from now on; an empty one: any will do.
    pub fn require(&mut self, password: &[u8]) {
        let mut user = User::clone(self.the_default());
        user.require(password);
        self.put(user);
    }

    /// Adds a user whom a line of the configuration or of a file describes: `words` are merged.
    pub(super) fn add(
        &mut self,
        name: &[u8],
        words: &[impl AsRef<[u8]>],
        terms: &Terms,
        mut wrong: impl FnMut(&[u8], Wrong),
    ) {
        let mut user = self.make(name, terms);
        if name == DEFAULT {
            // who uses it already stays who he is
            user.id = self.the_default().id;
        }
        for word in words.iter().map(AsRef::as_ref) {
            if let Err(why) = user.change(word, terms) {
                wrong(word, why);
            }
        }
        self.put(user);
    }

    /// As before anything was configured, but whom is added from here on is somebody else than who was there.
    pub(super) fn anew(&self) -> Users {
        Users { made: self.made, ..Users::default() }
    }

    /// All users' lines, as a file has them behind the word `user`.
    pub fn lines(&self, catalog: &Catalog) -> Vec<Vec<u8>> {
        self.iter().map(|user| user.line(catalog)).collect()
    }
}

/// What a host's shards share of its users. A change replaces all of them at once; who makes one has all
/// shards look again ([`Live::touch`](crate::config::Live::touch)).
#[derive(Debug, Default)]
pub struct Register {
    now: Mutex<Arc<Users>>,
    log: Mutex<Log>,
}

impl Register {
    pub fn new(users: Users) -> Register {
        Register { now: Mutex::new(Arc::new(users)), log: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Users>> {
        // The value is only ever replaced whole, so a panic elsewhere can't have left it torn.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn snapshot(&self) -> Arc<Users> {
        self.lock().clone()
    }

    /// Changes them; on an error nothing has changed.
    pub fn change<T, E>(&self, change: impl FnOnce(&mut Users) -> Result<T, E>) -> Result<T, E> {
        let mut now = self.lock();
        let mut new = Users::clone(&now);
        let done = change(&mut new)?;
        *now = Arc::new(new);
        Ok(done)
    }

    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
