//! The manifest: which files make up the log, in the order in which they are read.

use crate::config::split;

/// What a file of the set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Base,
    /// No longer needed; to be deleted.
    History,
    Incr,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Kind::Base => 'b',
            Kind::History => 'h',
            Kind::Incr => 'i',
        }
    }
}

/// One line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub seq: i64,
    pub kind: Kind,
}

/// The files of one log. `Default` is the empty set that a new log begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub base: Option<Entry>,
    pub history: Vec<Entry>,
    pub incrs: Vec<Entry>,
    base_seq: i64,
    incr_seq: i64,
}

/// Longest line, its end included.
const LINE: usize = 1024;

/// Why a manifest is none: the line's number and text where one is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    pub line: Option<(usize, String)>,
    pub why: &'static str,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\n*** FATAL AOF MANIFEST FILE ERROR ***\n")?;
        if let Some((number, text)) = &self.line {
            write!(f, "Reading the manifest file, at line {number}\n>>> '{text}'\n")?;
        }
        f.write_str(self.why)
    }
}

/// The name of the manifest of the log that is called `log` (`appendfilename`).
pub fn name(log: &str) -> String {
    format!("{log}.manifest")
}

/// The file that a manifest is written to before it takes its place.
pub fn temp_name(log: &str) -> String {
    format!("temp-{log}.manifest")
}

/// The incr file that gathers commands while the first base of a log is written.
pub fn temp_incr_name(log: &str) -> String {
    format!("temp-{log}.incr")
}

impl Manifest {
    /// Reads a manifest's text.
    pub fn parse(text: &[u8]) -> Result<Manifest, Bad> {
        let mut found = Manifest::default();
        if text.is_empty() {
            return Err(Bad { line: None, why: "Found an empty AOF manifest" });
        }
        for (i, line) in text.split_inclusive(|&b| b == b'\n').enumerate() {
            if line[0] == b'#' {
                continue;
            }
            let shown = String::from_utf8_lossy(line).trim_matches([' ', '\t', '\r', '\n']).to_owned();
            let bad = |why| Bad { line: (!shown.is_empty()).then(|| (i + 1, shown.clone())), why };
            if line.len() > LINE || !line.ends_with(b"\n") {
                return Err(Bad { line: None, why: "The AOF manifest file contains too long line" });
            }
            let entry = Entry::parse(shown.as_bytes()).map_err(bad)?;
            found.add(entry).map_err(bad)?;
        }
        Ok(found)
    }

    fn add(&mut self, entry: Entry) -> Result<(), &'static str> {
        match entry.kind {
            Kind::Base if self.base.is_some() => return Err("Found duplicate base file information"),
            Kind::Base => {
                self.base_seq = entry.seq;
                self.base = Some(entry);
            }
            Kind::History => self.history.push(entry),
            Kind::Incr if entry.seq <= self.incr_seq => return Err("Found a non-monotonic sequence number"),
            Kind::Incr => {
                self.incr_seq = entry.seq;
                self.incrs.push(entry);
            }
        }
        Ok(())
    }

    /// The text, to the letter as redis-server writes it.
    pub fn text(&self) -> Vec<u8> {
        let entries = self.base.iter().chain(&self.history).chain(&self.incrs);
        entries.flat_map(|e| e.line().into_bytes()).collect()
    }

    /// No file is named.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incrs.is_empty()
    }

    /// The files to be read, in order.
    pub fn files(&self) -> impl Iterator<Item = &Entry> {
        self.base.iter().chain(&self.incrs)
    }

    /// Takes up another base; the one before becomes history.
    pub fn new_base(&mut self, log: &str, rdb: bool) -> String {
        if let Some(base) = self.base.take() {
            self.history.insert(0, Entry { kind: Kind::History, ..base });
        }
        self.base_seq += 1;
        let name = format!("{log}.{}.base.{}", self.base_seq, if rdb { "rdb" } else { "aof" });
        self.base = Some(Entry { name: name.clone(), seq: self.base_seq, kind: Kind::Base });
        name
    }

    /// Takes up another incr file.
    pub fn new_incr(&mut self, log: &str) -> String {
        self.incr_seq += 1;
        let name = format!("{log}.{}.incr.aof", self.incr_seq);
        self.incrs.push(Entry { name: name.clone(), seq: self.incr_seq, kind: Kind::Incr });
        name
    }

    /// The incr files that a new base has made superfluous become history: all, or (`keep_last`) all but
    /// the one that is being written.
    pub fn retire_incrs(&mut self, keep_last: bool) {
        let keep = self.incrs.len() - usize::from(keep_last && !self.incrs.is_empty());
        for entry in self.incrs.drain(..keep).rev().collect::<Vec<_>>() {
            self.history.insert(0, Entry { kind: Kind::History, ..entry });
        }
    }

    /// Takes up a log of a server before 7.0, a single file, as the base.
    pub fn upgrade(&mut self, log: &str) {
        self.base = Some(Entry { name: log.to_owned(), seq: 1, kind: Kind::Base });
        self.base_seq = 1;
    }
}

impl Entry {
    fn parse(line: &[u8]) -> Result<Entry, &'static str> {
        const BAD: &str = "Invalid AOF manifest file format";
        let words = split::words(line).filter(|w| w.len() >= 6 && w.len().is_multiple_of(2)).ok_or(BAD)?;
        let (mut name, mut seq, mut kind) = (None, 0, None);
        for pair in words.chunks_exact(2) {
            match pair[0].to_ascii_lowercase().as_slice() {
                b"file" => {
                    let text = String::from_utf8(pair[1].to_vec()).map_err(|_| BAD)?;
                    if text.contains(['/', '\\']) {
                        return Err("File can't be a path, just a filename");
                    }
                    name = Some(text);
                }
                b"seq" => seq = std::str::from_utf8(&pair[1]).ok().and_then(|t| t.parse().ok()).unwrap_or(0),
                b"type" => kind = pair[1].first().copied(),
                _ => {}
            }
        }
        let (Some(name), true, Some(kind)) = (name, seq != 0, kind) else { return Err(BAD) };
        let kind = match kind {
            b'b' => Kind::Base,
            b'h' => Kind::History,
            b'i' => Kind::Incr,
            _ => return Err("Unknown AOF file type"),
        };
        Ok(Entry { name, seq, kind })
    }

    fn line(&self) -> String {
        let plain = self.name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'\''));
        let name = match plain {
            true => self.name.clone(),
            false => {
                let mut quoted = Vec::new();
                split::quote(self.name.as_bytes(), &mut quoted);
                String::from_utf8_lossy(&quoted).into_owned()
            }
        };
        format!("file {name} seq {} type {}\n", self.seq, self.kind.letter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_back() {
        let mut m = Manifest::default();
        assert_eq!(
            (m.new_base("a.aof", true), m.new_incr("a.aof")),
            ("a.aof.1.base.rdb".into(), "a.aof.1.incr.aof".into())
        );
        assert_eq!(m.text(), b"file a.aof.1.base.rdb seq 1 type b\nfile a.aof.1.incr.aof seq 1 type i\n");
        // a rewrite
        m.new_incr("a.aof");
        m.new_incr("a.aof");
        m.new_base("a.aof", false);
        m.retire_incrs(true);
        let text = b"file a.aof.2.base.aof seq 2 type b\nfile a.aof.1.incr.aof seq 1 type h\n\
            file a.aof.2.incr.aof seq 2 type h\nfile a.aof.1.base.rdb seq 1 type h\n\
            file a.aof.3.incr.aof seq 3 type i\n";
        assert_eq!(String::from_utf8_lossy(&m.text()), String::from_utf8_lossy(text));
        assert_eq!(Manifest::parse(text), Ok(m.clone()));
        assert_eq!(m.files().map(|e| e.seq).collect::<Vec<_>>(), [2, 3]);
        m.retire_incrs(false);
        assert!(m.incrs.is_empty() && m.history.len() == 4);
        let mut odd = Manifest::default();
        odd.upgrade("an old.aof");
        assert_eq!(odd.text(), b"file \"an old.aof\" seq 1 type b\n");
        assert_eq!(Manifest::parse(&odd.text()), Ok(odd));
    }

    #[test]
    fn what_is_no_manifest_is_refused_as_redis_refuses_it() {
        let long = format!("file {} seq 1 type b\n", "x".repeat(LINE));
        for (text, why) in [
            ("", "Found an empty AOF manifest"),
            ("\n", "Invalid AOF manifest file format"),
            ("file a seq 1\n", "Invalid AOF manifest file format"),
            ("file a seq 0 type b\n", "Invalid AOF manifest file format"),
            ("file a seq x type b\n", "Invalid AOF manifest file format"),
            ("file a seq 1 type b extra\n", "Invalid AOF manifest file format"),
            ("file a/b seq 1 type b\n", "File can't be a path, just a filename"),
            ("file a seq 1 type x\n", "Unknown AOF file type"),
            ("file a seq 1 type b\nfile b seq 2 type b\n", "Found duplicate base file information"),
            ("file a seq 2 type i\nfile b seq 2 type i\n", "Found a non-monotonic sequence number"),
            ("file a seq 1 type b", "The AOF manifest file contains too long line"),
            (&long, "The AOF manifest file contains too long line"),
        ] {
            assert_eq!(Manifest::parse(text.as_bytes()).unwrap_err().why, why, "{text:?}");
        }
        let found = Manifest::parse(b"# a comment\nFILE a SEQ 3 TYPE i more stuff\n").unwrap();
        assert_eq!(found.incrs, [Entry { name: "a".into(), seq: 3, kind: Kind::Incr }]);
        let shown = Manifest::parse(b"# x\n file a seq 1 type x \n").unwrap_err().to_string();
        assert!(shown.contains("at line 2\n>>> 'file a seq 1 type x'\nUnknown AOF file type"), "{shown}");
    }
}
