//! Reading configuration: files, standard input and the command line's overrides, one after
//! another, later lines winning.

use super::split;
use super::table::{Config, Directive, MANY, Stance, lookup};
use super::types::{Mode, Origin, Words};
use super::value::Reason;
use super::{Rename, Topology};
use std::collections::BTreeSet;
use std::fmt;

/// Most files deep that `include` goes; a file that includes itself ends here.
const MAX_DEPTH: usize = 16;

/// A text to read.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A file, under the name that errors show.
    File { name: &'a str, text: &'a [u8] },
    /// What the standard input gave.
    Stdin(&'a [u8]),
    /// What the command line's options say, as [`super::args`] writes them down.
    CommandLine(&'a str),
}

/// What reading gave.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// What the log should tell.
    pub notices: Vec<Notice>,
}

/// A directive that was accepted and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub at: Origin,
    pub directive: String,
    pub reason: &'static str,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Notice { at, directive, reason } = self;
        let file = if at.file.is_empty() { "configuration" } else { &at.file };
        write!(f, "{file}, line {}: {directive} has no effect: {reason}", at.line)
    }
}

/// Why the configuration can't be used. `Display` is what goes to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line at fault; none when lines contradict each other.
    pub at: Option<Origin>,
    pub reason: String,
}

impl ParseError {
    /// An error that another room found in a line: an unknown command in `rename-command`, say.
    pub fn at(at: &Origin, reason: impl Into<String>) -> ParseError {
        ParseError { at: Some(at.clone()), reason: reason.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Shoal {}) ***", env!("CARGO_PKG_VERSION"))?;
        if let Some(at) = &self.at {
            write!(f, "Reading the configuration file, at line {}", at.line)?;
            if !at.file.is_empty() {
                write!(f, " ({})", at.file)?;
            }
            writeln!(f, "\n>>> '{}'", String::from_utf8_lossy(&at.text))?;
        }
        writeln!(f, "{}", self.reason)
    }
}

impl std::error::Error for ParseError {}

/// Finds the files that an `include` names and gives their names and texts, sorted as a shell
/// would. A pattern that matches nothing is fine; a plain name that can't be read is an error,
/// worded `Fatal error, can't open config file '<name>': <why>`.
pub type Include<'a> = dyn FnMut(&str) -> Result<Vec<(String, Vec<u8>)>, String> + 'a;

/// Reads all sources in order into one configuration.
pub fn parse(sources: &[Source<'_>], include: &mut Include<'_>) -> Result<Loaded, ParseError> {
    let mut reader =
        Reader { config: Config::default(), notices: Vec::new(), given: BTreeSet::new(), include, depth: 0 };
    let mut has_file = false;
    for source in sources {
        let (name, text) = match source {
            Source::File { name, text } => (*name, *text),
            Source::Stdin(text) => ("standard input", *text),
            Source::CommandLine(text) => ("command line", text.as_bytes()),
        };
        has_file |= !matches!(source, Source::CommandLine(_));
        reader.text(name, text)?;
    }
    reader.finish(has_file)
}

struct Reader<'r, 'i> {
    config: Config,
    notices: Vec<Notice>,
    /// Directives that some line gave, by their first name.
    given: BTreeSet<&'static str>,
    include: &'r mut Include<'i>,
    depth: usize,
}

impl Reader<'_, '_> {
    fn text(&mut self, name: &str, text: &[u8]) -> Result<(), ParseError> {
        for (i, line) in text.split(|b| *b == b'\n').enumerate() {
            let line = trim(line);
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let at = Origin { file: name.to_owned(), line: i + 1, text: line.to_vec() };
            let Some(words) = split::words(line) else {
                return Err(ParseError::at(&at, "Unbalanced quotes in configuration line"));
            };
            if !words.is_empty() {
                self.line(words, at)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, mut words: Vec<Vec<u8>>, at: Origin) -> Result<(), ParseError> {
        words[0].make_ascii_lowercase();
        let name = String::from_utf8_lossy(&words[0]).into_owned();
        if let Some((row, _)) = lookup(&words[0]) {
            let set = self.directive(row, &words[1..], &at);
            return set.map_err(|reason| ParseError::at(&at, reason));
        }
        match (name.as_str(), words.len()) {
            // Directives that Redis still reads and no longer knows.
            ("list-max-ziplist-entries" | "list-max-ziplist-value" | "lua-replicate-commands", 2) => {
                self.note(&at, &name, "the setting no longer exists");
            }
            ("include", 2) => return self.included(&words[1], &at),
            ("rename-command", 3) => {
                let [_, from, to] = words.try_into().expect("three words");
                self.config.renames.push(Rename { from, to, at });
            }
            ("user", 2..) => {
                words.remove(0);
                self.config.users.push(Words { words, at });
            }
            ("loadmodule", 2..) => {
                self.note(&at, &name, "modules are not supported");
                self.config.modules.push(Words { words, at });
            }
            ("sentinel", 1) => self.note(&at, &name, "there is no sentinel mode"),
            ("sentinel", _) => {
                return Err(ParseError::at(&at, "sentinel directive while not in sentinel mode"));
            }
            (dotted, n) if dotted.contains('.') => {
                if n < 2 {
                    return Err(ParseError::at(&at, "Module config specified without value"));
                }
                self.note(&at, &name, "modules are not supported");
                self.config.modules.push(Words { words, at });
            }
            _ => return Err(ParseError::at(&at, "Bad directive or wrong number of arguments")),
        }
        Ok(())
    }

    fn directive(&mut self, row: &'static Directive, words: &[Vec<u8>], at: &Origin) -> Result<(), Reason> {
        let many = row.has(MANY);
        if !many && words.len() != 1 {
            return Err("wrong number of arguments".into());
        }
        // One argument may hold all the words: --bind "127.0.0.1 ::1".
        let inner = match words {
            [one] if many && !one.is_empty() => Some(split::words(one).unwrap_or_default()),
            _ => None,
        };
        // The first line of a list replaces the default, later ones add to it. A failed line
        // ends the reading, so it may count as the first.
        let more = !self.given.insert(row.name);
        (row.of_mut)(&mut self.config).read(row.kind, inner.as_deref().unwrap_or(words), more)?;
        if let Stance::Noted(reason) = row.stance
            && row.show(&self.config) != row.show(&Config::default())
        {
            self.note(at, row.name, reason);
        }
        Ok(())
    }

    fn note(&mut self, at: &Origin, directive: &str, reason: &'static str) {
        self.notices.push(Notice { at: at.clone(), directive: directive.to_owned(), reason });
    }

    fn included(&mut self, pattern: &[u8], at: &Origin) -> Result<(), ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(ParseError::at(at, "Too many nested includes"));
        }
        let pattern = std::str::from_utf8(pattern)
            .map_err(|_| ParseError::at(at, "argument must be valid UTF-8 text"))?;
        let files = (self.include)(pattern).map_err(|reason| ParseError::at(at, reason))?;
        self.depth += 1;
        for (name, text) in files {
            self.text(&name, &text)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn finish(mut self, has_file: bool) -> Result<Loaded, ParseError> {
        let fail = |reason: &str| Err(ParseError { at: None, reason: reason.to_owned() });
        let config = &mut self.config;
        let clustered = self.given.contains("cluster-enabled");
        let contradicts = match config.mode {
            Mode::Host | Mode::Cluster => clustered && !config.cluster_enabled,
            Mode::Standalone => config.cluster_enabled,
            Mode::Auto => false,
        };
        if contradicts {
            return fail("mode and cluster-enabled contradict each other");
        }
        config.topology = match config.mode {
            Mode::Host => Topology::Host,
            Mode::Cluster => Topology::Cluster,
            Mode::Standalone => Topology::Standalone,
            Mode::Auto if config.cluster_enabled => Topology::Cluster,
            Mode::Auto if has_file || clustered => Topology::Standalone,
            Mode::Auto => Topology::Host,
        };
        config.cluster_enabled = config.topology != Topology::Standalone;
        if config.cluster_enabled && config.replicaof.0.is_some() {
            return fail("replicaof directive not allowed in cluster mode");
        }
        config.one_shard =
            config.topology != Topology::Host && (has_file || (clustered && self.given.contains("port")));
        config.settle();
        Ok(Loaded { config: self.config, notices: self.notices })
    }
}

fn trim(line: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let start = line.iter().position(|b| !blank(b)).unwrap_or(line.len());
    let end = line.iter().rposition(|b| !blank(b)).map_or(start, |i| i + 1);
    &line[start..end]
}
