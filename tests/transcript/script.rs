//! The format of a transcript.
//!
//! One request a line, quoted as for redis-cli. `#` begins a comment line. No replies stand in the
//! file: the real redis-server gives them. Words of a request: see [`super::words::expand`].
//!
//! For the whole file, at its top:
//! - `@modes standalone,own,front,sharded`: where it is played (all of them if not given)
//!
//! Steps of their own:
//! - `@resp 2|3` changes the protocol; `@sleep MS`; `@reconnect`
//! - `@raw "bytes" ...`: on a connection of its own, writes these bytes, with a pause between
//!   two words, and compares all that comes back and whether the connection is closed
//! - `@types COMMAND`: the command for a key (`$K`) of every type, with what became of the key
//! - `@arity COMMAND`: the command with ever more of its arguments, and with more than these
//!
//! For the next request, `@raw`, `@types` or `@arity` only:
//! - `@unordered`: elements in any order; `@unordered pairs`: pairs in any order;
//!   `@unordered deep`: elements of elements too
//! - `@scan`, `@scan pairs`: follows the cursor to its end and compares what was found
//! - `@shape`: kinds and lengths only; `@near N`: numbers may be off by N
//! - `@fields [a,b]`: names of `name:value` or `name=value` texts, and the values of those named
//! - `@ignore`: executed, not compared
//! - `@each NAME VALUE ...`: once for each value, as `$NAME` inside a word or as words `$*NAME`;
//!   several `@each` multiply
//! - `@before REQUEST` (or `@before @sleep MS`) is executed before each of these, `@after [unordered [pairs]] REQUEST`
//!   after it, and compared; both may name what `@each` does

use super::words;

pub type Words = Vec<Vec<u8>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Send(Words),
    Scan(Words),
    Raw(Words),
    Sleep(u64),
    Resp(u8),
    Reconnect,
}

/// How two replies are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum How {
    #[default]
    Exact,
    Unordered {
        pairs: bool,
    },
    Deep,
    Shape,
    Near(u64),
    Fields(Vec<String>),
    Ignore,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub line: usize,
    pub act: Act,
    pub how: How,
}

#[derive(Debug, Default)]
pub struct Script {
    /// Empty: every mode.
    pub modes: Vec<String>,
    pub steps: Vec<Step>,
}

/// What the modifiers before a request have said so far.
#[derive(Default)]
struct Pending {
    how: How,
    scan: bool,
    each: Vec<(String, Words)>,
    before: Vec<Words>,
    after: Vec<(How, Words)>,
    used: bool,
}

impl Script {
    /// Whether the file is to be played in this mode.
    pub fn plays_in(&self, mode: &str) -> bool {
        self.modes.is_empty() || self.modes.iter().any(|m| m == mode)
    }

    /// Reads a file's text. The error is `line: why`.
    pub fn parse(text: &str) -> Result<Script, String> {
        let mut script = Script::default();
        let mut pending = Pending::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            script.line(index + 1, line, &mut pending).map_err(|why| format!("{}: {why}", index + 1))?;
        }
        if pending.used {
            return Err("the last modifiers have no request".to_owned());
        }
        Ok(script)
    }

    fn line(&mut self, at: usize, line: &str, pending: &mut Pending) -> Result<(), String> {
        let Some(directive) = line.strip_prefix('@') else {
            let words = words::split(line)?;
            return self.request(at, vec![words], std::mem::take(pending));
        };
        let (name, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        let plain = |act| Step { line: at, act, how: How::Exact };
        match name {
            "modes" => self.modes = rest.split(',').map(|m| m.trim().to_owned()).collect(),
            "resp" => self.steps.push(plain(Act::Resp(number(rest)? as u8))),
            "sleep" => self.steps.push(plain(Act::Sleep(number(rest)?))),
            "reconnect" => self.steps.push(plain(Act::Reconnect)),
            "raw" => return self.raw(at, rest, std::mem::take(pending)),
            "types" => return self.types(at, rest, std::mem::take(pending)),
            "arity" => {
                let full = words::split(rest)?;
                return self.request(at, arities(&full), std::mem::take(pending));
            }
            _ => return pending.modifier(name, rest),
        }
        if pending.used { Err("modifiers before a step that takes none".to_owned()) } else { Ok(()) }
    }

    fn raw(&mut self, at: usize, rest: &str, pending: Pending) -> Result<(), String> {
        let line = words::split(rest)?;
        for binding in pending.bindings() {
            let words = words::expand(bind(&line, &binding))?;
            self.steps.push(Step { line: at, act: Act::Raw(words), how: pending.how.clone() });
        }
        Ok(())
    }

    fn types(&mut self, at: usize, rest: &str, mut pending: Pending) -> Result<(), String> {
        let words = words::split(rest)?;
        let users_before = std::mem::take(&mut pending.before);
        for (kind, setup) in TYPES {
            let key = format!("{{t}}:{kind}").into_bytes();
            let line = |text: &str| words::split(text).map(|w| words::substitute(&w, "K", &key));
            let mut before = vec![line("DEL $K {t}:other")?];
            if !setup.is_empty() {
                before.push(line(setup)?);
            }
            before.extend(users_before.iter().cloned());
            let one = Pending {
                how: pending.how.clone(),
                scan: pending.scan,
                each: pending.each.clone(),
                before,
                after: vec![(How::Exact, line("TYPE $K")?), (How::Exact, line("OBJECT ENCODING $K")?)],
                used: true,
            };
            self.request(at, vec![words::substitute(&words, "K", &key)], one)?;
        }
        Ok(())
    }

    fn request(&mut self, at: usize, lines: Vec<Words>, pending: Pending) -> Result<(), String> {
        let bindings = pending.bindings();
        for (line, binding) in lines.iter().flat_map(|line| bindings.iter().map(move |b| (line, b))) {
            let words = |words: &Words| words::expand(bind(words, binding));
            for before in &pending.before {
                let act = match &before[..] {
                    [sleep, ms] if sleep == b"@sleep" => Act::Sleep(number(&String::from_utf8_lossy(ms))?),
                    _ => Act::Send(words(before)?),
                };
                self.steps.push(Step { line: at, act, how: How::Ignore });
            }
            let act = if pending.scan { Act::Scan(words(line)?) } else { Act::Send(words(line)?) };
            self.steps.push(Step { line: at, act, how: pending.how.clone() });
            for (how, after) in &pending.after {
                self.steps.push(Step { line: at, act: Act::Send(words(after)?), how: how.clone() });
            }
        }
        Ok(())
    }
}

/// Types and encodings of keys for `@types`: a name, and how such a key is made.
const TYPES: &[(&str, &str)] = &[
    ("none", ""),
    ("embstr", "SET $K hello"),
    ("int", "SET $K 12"),
    ("raw", "APPEND $K 3.0e1"),
    ("list", "RPUSH $K a b c 1"),
    ("biglist", "RPUSH $K @big:9000 a"),
    ("set", "SADD $K a b c 1"),
    ("intset", "SADD $K 1 2 3"),
    ("hash", "HSET $K a 1 b 2 c x"),
    ("bighash", "HSET $K a @big:65 b 2"),
    ("zset", "ZADD $K 1 a 2 b 3 c"),
    ("bigzset", "ZADD $K 1 @big:65 2 a"),
    ("stream", "XADD $K 1-1 a 1 b 2"),
];

impl Pending {
    fn modifier(&mut self, name: &str, rest: &str) -> Result<(), String> {
        self.used = true;
        match name {
            "unordered" if rest == "deep" => self.how = How::Deep,
            "unordered" => self.how = How::Unordered { pairs: rest == "pairs" },
            "scan" => {
                self.scan = true;
                self.how = How::Unordered { pairs: rest == "pairs" };
            }
            "shape" => self.how = How::Shape,
            "near" => self.how = How::Near(number(rest)?),
            "ignore" => self.how = How::Ignore,
            "fields" => {
                let names = rest.split(',').map(str::trim).filter(|n| !n.is_empty());
                self.how = How::Fields(names.map(str::to_owned).collect());
            }
            "each" => {
                let (variable, values) = rest.split_once(' ').ok_or("@each NAME VALUE ...")?;
                self.each.push((variable.to_owned(), words::split(values)?));
            }
            "before" => self.before.push(words::split(rest)?),
            "after" => {
                let (how, request) = match rest.strip_prefix("unordered ") {
                    Some(rest) => match rest.strip_prefix("pairs ") {
                        Some(rest) => (How::Unordered { pairs: true }, rest),
                        None => (How::Unordered { pairs: false }, rest),
                    },
                    None => (How::Exact, rest),
                };
                self.after.push((how, words::split(request)?));
            }
            _ => return Err(format!("unknown directive @{name}")),
        }
        Ok(())
    }

    /// Each combination of the `@each` values.
    fn bindings(&self) -> Vec<Binding<'_>> {
        let mut out = vec![Binding::new()];
        for (name, values) in &self.each {
            let mut longer = Vec::new();
            for (binding, value) in out.iter().flat_map(|b| values.iter().map(move |v| (b, v))) {
                let mut next: Binding<'_> = binding.clone();
                next.push((&name[..], &value[..]));
                longer.push(next);
            }
            out = longer;
        }
        out
    }
}

/// Names, and what stands for them.
type Binding<'a> = Vec<(&'a str, &'a [u8])>;

fn bind(words: &Words, binding: &Binding<'_>) -> Words {
    binding.iter().fold(words.clone(), |words, (name, value)| words::substitute(&words, name, value))
}

/// `full` cut to each of its lengths, and with one and two arguments more.
fn arities(full: &Words) -> Vec<Words> {
    let mut lines: Vec<Words> = (1..=full.len()).map(|n| full[..n].to_vec()).collect();
    for more in [&["extra"][..], &["extra", "more"][..]] {
        let mut line = full.clone();
        line.extend(more.iter().map(|word| word.as_bytes().to_vec()));
        lines.push(line);
    }
    lines
}

fn number(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("'{text}' is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str) -> Vec<String> {
        let script = Script::parse(text).unwrap();
        let line = |words: &Words| {
            let words: Vec<String> = words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect();
            words.join(" ")
        };
        let show = |step: &Step| match &step.act {
            Act::Send(words) => line(words),
            other => format!("{other:?}"),
        };
        script.steps.iter().map(show).collect()
    }

    #[test]
    fn each_before_and_after_multiply() {
        let text = "@before DEL k\n@each x 1 2\n@each o \"\" \"EX 9\"\n@after GET k\nSET k $x $*o\nPING";
        let want = [
            "DEL k",
            "SET k 1",
            "GET k",
            "DEL k",
            "SET k 1 EX 9",
            "GET k",
            "DEL k",
            "SET k 2",
            "GET k",
            "DEL k",
            "SET k 2 EX 9",
            "GET k",
            "PING",
        ];
        assert_eq!(sent(text), want);
        let text = "@each x 1 2\n@before SET k $x\n@after GET $x\nGET k";
        assert_eq!(sent(text), ["SET k 1", "GET k", "GET 1", "SET k 2", "GET k", "GET 2"]);
    }

    #[test]
    fn arity_tries_every_length() {
        assert_eq!(sent("@arity GET k"), ["GET", "GET k", "GET k extra", "GET k extra more"]);
    }

    #[test]
    fn modifiers_hold_for_one_request() {
        let script = Script::parse("@unordered pairs\nHGETALL h\nGET k").unwrap();
        assert_eq!(script.steps[0].how, How::Unordered { pairs: true });
        assert_eq!(script.steps[1].how, How::Exact);
        assert!(Script::parse("@unordered").is_err());
        assert!(Script::parse("@unordered\n@sleep 1\nGET k").is_err());
        assert_eq!(Script::parse("\n@what\n").unwrap_err(), "2: unknown directive @what");
    }
}
