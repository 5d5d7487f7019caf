//! Commands that the configuration calls otherwise.

use crate::command::acl::Catalog;
use crate::command::spec::Spec;
use crate::config::{ParseError, Rename};
use std::collections::HashMap;

/// What names mean that do not mean what they do in the command table; in lower case.
#[derive(Default)]
pub struct Renames(HashMap<Vec<u8>, Option<&'static Spec>>);

impl Renames {
    /// What `rename-command` lines come to, one after another.
    pub fn new(lines: &[Rename], catalog: &Catalog) -> Result<Renames, ParseError> {
        let mut renames = Renames::default();
        for Rename { from, to, at } in lines {
            let meaning = |renames: &Renames, name: &[u8]| match renames.of(name) {
                Some(meaning) => meaning,
                None => (catalog.find)(name).filter(|spec| !spec.name.contains('|')),
            };
            let spec = meaning(&renames, from)
                .ok_or_else(|| ParseError::at(at, "No such command in rename-command"))?;
            renames.0.insert(from.to_ascii_lowercase(), None);
            if to.is_empty() {
                continue;
            }
            if meaning(&renames, to).is_some() {
                return Err(ParseError::at(at, "Target command name already exists"));
            }
            renames.0.insert(to.to_ascii_lowercase(), Some(spec));
        }
        Ok(renames)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a name means: a command, or none any more. `None` when it means what it does in the table.
    pub fn of(&self, name: &[u8]) -> Option<Option<&'static Spec>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&name.to_ascii_lowercase()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::CATALOG;
    use crate::config::{Source, parse};

    fn renames(text: &str) -> Result<Renames, String> {
        let source = Source::File { name: "c", text: text.as_bytes() };
        let loaded = parse(&[source], &mut |_| Ok(Vec::new())).expect("lines that can be read");
        Renames::new(&loaded.config.renames, &CATALOG).map_err(|e| e.to_string())
    }

    #[test]
    fn lines_hold_one_after_another() {
        let found = renames(
            "rename-command CONFIG secret\nrename-command Get \"\"\nrename-command set GET\nrename-command secret hush",
        )
        .unwrap();
        let name = |word: &str| found.of(word.as_bytes()).map(|meaning| meaning.map(|spec| spec.name));
        assert_eq!(
            (name("config"), name("SECRET"), name("Hush")),
            (Some(None), Some(None), Some(Some("config")))
        );
        assert_eq!((name("set"), name("get"), name("del")), (Some(None), Some(Some("set")), None));
        assert!(renames("").unwrap().is_empty() && !found.is_empty());
        for (text, why) in [
            ("rename-command nosuch x", "No such command in rename-command"),
            ("rename-command config|get x", "No such command in rename-command"),
            ("rename-command get set", "Target command name already exists"),
            ("rename-command get \"\"\nrename-command get x", "No such command in rename-command"),
        ] {
            assert!(renames(text).err().unwrap().contains(why), "{text}");
        }
    }
}
