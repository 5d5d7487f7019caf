//! The libraries of functions of a host. They are data: logs, files and replicas have them.

use crate::persist::Encoder;
use crate::persist::rdb::put_function;
use crate::script::{Engine, Patience, Registered, flag, is_name, library};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A library, as it was loaded.
#[derive(Debug, PartialEq, Eq)]
pub struct Library {
    pub name: Vec<u8>,
    /// All of it, the first line included.
    pub code: Vec<u8>,
    /// By name.
    pub functions: Vec<Function>,
    /// It came with a file or a primary's stream, and is told to nobody else.
    pub foreign: bool,
}

/// What a library says of a function.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: Vec<u8>,
    pub description: Option<Vec<u8>>,
    /// Bits of [`flag`].
    pub flags: u8,
}

/// The flags of a function by their names, in Redis's order.
pub fn names_of(flags: u8) -> impl Iterator<Item = &'static str> {
    flag::NAMES.iter().filter(move |(_, bit)| flags & bit != 0).map(|(name, _)| *name)
}

const BAD_NAME: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

impl Library {
    /// Runs the code in an interpreter of its own, to learn what functions it has. `known` tells of a library of
    /// this name which may not be replaced.
    pub fn read(code: &[u8], foreign: bool, known: impl FnOnce(&[u8]) -> bool) -> Result<Library, Vec<u8>> {
        let head = library(code)?;
        if !is_name(&head.name) {
            return Err(BAD_NAME.into());
        }
        if !head.engine.eq_ignore_ascii_case(b"lua") {
            return Err([b"Engine '", &head.engine[..], b"' not found"].concat());
        }
        if known(&head.name) {
            return Err([b"Library '", &head.name[..], b"' already exists"].concat());
        }
        let functions = Engine::new(true).load_library(head.body, &mut Patience::default())?;
        if functions.is_empty() {
            return Err(b"No functions registered".to_vec());
        }
        let told = |f: Registered| Function { name: f.name, description: f.description, flags: f.flags };
        let functions = functions.into_iter().map(told).collect();
        Ok(Library { name: head.name, code: code.to_vec(), functions, foreign })
    }
}

type Held = BTreeMap<Vec<u8>, Arc<Library>>;

/// All libraries of a host. Each shard compiles them for itself.
#[derive(Debug, Default)]
pub struct Libraries {
    changes: AtomicU64,
    held: Mutex<Held>,
}

/// What to do with libraries of a name that is taken, or with all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Flush,
    Append,
    Replace,
}

impl Libraries {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, mut held: MutexGuard<'_, Held>, new: Held) {
        *held = new;
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often they have changed.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub fn all(&self) -> Vec<Arc<Library>> {
        self.held().values().cloned().collect()
    }

    pub fn has(&self, name: &[u8]) -> bool {
        self.held().contains_key(name)
    }

    /// How many libraries there are, and functions in them, and the bytes of it.
    pub fn size(&self) -> (usize, usize, usize) {
        let held = self.held();
        let functions = held.values().map(|library| library.functions.len()).sum();
        let bytes = held.values().map(|library| library.code.len() + size_of::<Library>()).sum();
        (held.len(), functions, bytes)
    }

    /// Adds libraries, all or none.
    pub fn add(&self, libraries: Vec<Library>, policy: Policy) -> Result<(), Vec<u8>> {
        let held = self.held();
        let mut new = if policy == Policy::Flush { Held::new() } else { held.clone() };
        for library in &libraries {
            if new.remove(&library.name).is_some() && policy != Policy::Replace {
                return Err([b"Library ", &library.name[..], b" already exists"].concat());
            }
        }
        for library in libraries {
            // names of functions count in any letter case
            let taken = |f: &&Function| {
                let mut others = new.values().flat_map(|other| &other.functions);
                others.any(|other| other.name.eq_ignore_ascii_case(&f.name))
            };
            if let Some(function) = library.functions.iter().find(taken) {
                return Err([b"Function ", &function.name[..], b" already exists"].concat());
            }
            new.insert(library.name.clone(), Arc::new(library));
        }
        self.changed(held, new);
        Ok(())
    }

    /// As [`Libraries::add`] of one that came with data: the same code once more is no change.
    pub fn adopt(&self, library: Library) -> Result<(), Vec<u8>> {
        if self.held().get(&library.name).is_some_and(|held| held.code == library.code) {
            return Ok(());
        }
        self.add(vec![library], Policy::Replace)
    }

    /// As [`Libraries::adopt`], of code.
    pub fn adopt_code(&self, code: &[u8]) -> Result<(), String> {
        let text = |error: Vec<u8>| String::from_utf8_lossy(&error).into_owned();
        let library = Library::read(code, true, |_| false).map_err(text)?;
        self.adopt(library).map_err(text)
    }

    /// Appends all as an RDB file has them.
    pub fn put(&self, compress: bool, out: &mut Vec<u8>) {
        let mut encoder = Encoder::new(compress);
        self.all().iter().for_each(|library| put_function(&library.code, &mut encoder, out));
    }

    /// False when there is none of this name.
    pub fn delete(&self, name: &[u8]) -> bool {
        let held = self.held();
        let mut new = held.clone();
        let found = new.remove(name).is_some();
        if found {
            self.changed(held, new);
        }
        found
    }

    pub fn flush(&self) {
        let held = self.held();
        if !held.is_empty() {
            self.changed(held, Held::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, functions: &[&str]) -> Library {
        let calls = functions.iter().map(|f| format!("redis.register_function('{f}', function() end)\n"));
        let code = format!("#!lua name={name}\n{}", calls.collect::<String>());
        Library::read(code.as_bytes(), false, |_| false).unwrap()
    }

    fn error<T>(done: Result<T, Vec<u8>>) -> String {
        String::from_utf8(done.err().expect("an error")).unwrap()
    }

    #[test]
    fn names_are_taken_once() {
        let all = Libraries::default();
        all.add(vec![read("a", &["f", "g"])], Policy::Append).unwrap();
        assert_eq!(error(all.add(vec![read("a", &["h"])], Policy::Append)), "Library a already exists");
        assert_eq!(error(all.add(vec![read("b", &["F"])], Policy::Append)), "Function F already exists");
        assert_eq!(
            error(all.add(vec![read("b", &["x"]), read("c", &["G"])], Policy::Replace)),
            "Function G already exists"
        );
        assert_eq!((all.size().0, all.size().1), (1, 2));
        all.add(vec![read("a", &["h"])], Policy::Replace).unwrap();
        all.add(vec![read("b", &["F"])], Policy::Append).unwrap();
        assert_eq!((all.size().0, all.size().1), (2, 2));
        let changes = all.changes();
        all.adopt(read("b", &["F"])).unwrap();
        assert!(
            !all.delete(b"c") && all.changes() == changes && all.delete(b"b") && all.changes() != changes
        );
        all.add(vec![read("z", &["z"])], Policy::Flush).unwrap();
        assert!(all.has(b"z") && !all.has(b"a"));
    }

    #[test]
    fn code_is_looked_at_before_it_counts() {
        for (code, want) in [
            ("return 1", "Missing library metadata"),
            ("#!lua name=a", "Invalid library metadata"),
            ("#!lua\n", "Library name was not given"),
            ("#!lua name=a name=b\n", "Invalid metadata value, name argument was given multiple times"),
            ("#!lua name=a x=y\n", "Invalid metadata value given: x=y"),
            ("#!lua name=a-b\n", BAD_NAME),
            ("#!js name=a\n", "Engine 'js' not found"),
            ("#!lua name=a\n", "No functions registered"),
            (
                "#!lua name=a\nreturn 1 +",
                "Error compiling function: user_function:2: unexpected symbol near '<eof>'",
            ),
            (
                "#!lua name=a\nerror('x')",
                "Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'error'",
            ),
            (
                "#!lua name=a\nredis.call('x')",
                "Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'call'",
            ),
            (
                "#!lua name=a\nmath.random()",
                "Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'math'",
            ),
            (
                "#!lua name=a\nx = 1",
                "Error registering functions: ERR user_function:2: Attempt to modify a readonly table",
            ),
            ("#!lua name=a\nwhile true do end", "Error registering functions: ERR FUNCTION LOAD timeout"),
            (
                "#!lua name=a\nredis.register_function('f')",
                "Error registering functions: ERR calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
            ),
        ] {
            let got = error(Library::read(code.as_bytes(), false, |_| false));
            assert_eq!(got, want, "{code}");
        }
    }
}
