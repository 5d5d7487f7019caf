//! A Rust file as the tidy rules see it: tokens with their lines, functions, the paths it names.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// 1-based.
    pub line: usize,
}

/// A file of the tree. `path` is relative to the repository, with `/`.
pub struct Source {
    pub path: String,
    pub lines: usize,
    pub tokens: Vec<Token>,
}

/// A function: its name, where it begins, and how many lines it has from `fn` to `}`.
pub struct Function {
    pub name: String,
    pub line: usize,
    pub length: usize,
}

/// A path as written, with groups expanded: `use a::{b, c}` gives `a::b` and `a::c`.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub segments: Vec<String>,
    pub line: usize,
    /// Inline modules around it.
    pub depth: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), lines: text.lines().count(), tokens: tokenize(text) }
    }

    /// The same file without its `#[cfg(test)]` items.
    pub fn without_tests(&self) -> Source {
        let mut tokens = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            if self.is_at(at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
                at = self.item_end(at + 7);
            } else {
                tokens.push(self.tokens[at].clone());
                at += 1;
            }
        }
        Source { path: self.path.clone(), lines: self.lines, tokens }
    }

    /// Whether these tokens stand at `at`.
    pub fn is_at(&self, at: usize, texts: &[&str]) -> bool {
        texts.iter().enumerate().all(|(i, text)| self.text(at + i) == *text)
    }

    /// Lines on which these tokens stand in a row.
    pub fn find(&self, texts: &[&str]) -> Vec<usize> {
        (0..self.tokens.len()).filter(|at| self.is_at(*at, texts)).map(|at| self.tokens[at].line).collect()
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// Past the item that begins at `at`: its `;`, or the end of its braces.
    fn item_end(&self, mut at: usize) -> usize {
        while at < self.tokens.len() {
            match self.text(at) {
                ";" => return at + 1,
                "{" => return self.matching(at) + 1,
                _ => at += 1,
            }
        }
        at
    }

    /// The `}` of the `{` at `open`.
    fn matching(&self, open: usize) -> usize {
        let mut depth = 0;
        for at in open..self.tokens.len() {
            match self.text(at) {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.tokens.len() - 1
    }

    pub fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            // `fn name`, not the type `fn(..)`
            if self.text(at) != "fn" || !is_word(self.text(at + 1)) {
                continue;
            }
            let Some(open) = self.body_of(at) else { continue };
            let line = self.tokens[at].line;
            let length = self.tokens[self.matching(open)].line - line + 1;
            found.push(Function { name: self.text(at + 1).to_owned(), line, length });
        }
        found
    }

    /// Where the body of the function at `at` opens; a declaration has none.
    fn body_of(&self, at: usize) -> Option<usize> {
        let mut brackets = 0;
        for i in at..self.tokens.len() {
            match self.text(i) {
                "(" | "[" => brackets += 1,
                ")" | "]" => brackets -= 1,
                ";" if brackets == 0 => return None,
                "{" if brackets == 0 => return Some(i),
                _ => {}
            }
        }
        None
    }

    /// Every path of two segments or more.
    pub fn paths(&self) -> Vec<Named> {
        let mut found = Vec::new();
        let mut mods: Vec<usize> = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            mods.retain(|end| *end > at);
            if self.text(at) == "mod" && self.text(at + 2) == "{" {
                mods.push(self.matching(at + 2));
            }
            let begins = is_word(self.text(at)) && self.text(at + 1) == "::";
            if begins {
                at = self.path(at, &mut Vec::new(), mods.len(), &mut found);
            } else {
                at += 1;
            }
        }
        found
    }

    /// Reads the path at `at` after `prefix`; past its end.
    fn path(&self, mut at: usize, prefix: &mut Vec<String>, depth: usize, found: &mut Vec<Named>) -> usize {
        let kept = prefix.len();
        let line = self.tokens[at].line;
        loop {
            match self.text(at) {
                "{" => {
                    at = self.group(at + 1, prefix, depth, found);
                    prefix.truncate(kept);
                    return at;
                }
                word => prefix.push(word.to_owned()),
            }
            at += 1;
            let goes_on = self.text(at) == "::" && {
                let next = self.text(at + 1);
                is_word(next) || next == "{" || next == "*"
            };
            if !goes_on {
                found.push(Named { segments: prefix.clone(), line, depth });
                prefix.truncate(kept);
                return at;
            }
            at += 1;
        }
    }

    fn group(&self, mut at: usize, prefix: &mut Vec<String>, depth: usize, found: &mut Vec<Named>) -> usize {
        while at < self.tokens.len() {
            match self.text(at) {
                "}" => return at + 1,
                "," => at += 1,
                "as" => at += 2,
                _ => at = self.path(at, prefix, depth, found),
            }
        }
        at
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::`, and single signs; comments, strings and characters are left out.
fn tokenize(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let skipped = skip(rest);
        let end = if skipped > 0 {
            at + skipped
        } else if word_length(rest) > 0 {
            at + word_length(rest)
        } else if rest.starts_with(b"::") {
            at + 2
        } else {
            at + 1
        };
        let piece = &bytes[at..end];
        if skipped == 0 && !piece[0].is_ascii_whitespace() {
            tokens.push(Token { text: String::from_utf8_lossy(piece).into_owned(), line });
        }
        line += piece.iter().filter(|b| **b == b'\n').count();
        at = end;
    }
    tokens
}

fn word_length(rest: &[u8]) -> usize {
    rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_' || **b >= 0x80).count()
}

/// Length of the comment, string or character at the start; 0 when there is none.
fn skip(rest: &[u8]) -> usize {
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest, 1),
        [b'b' | b'c', b'"', ..] => quoted(rest, 2),
        [b'r', b'"' | b'#', ..] => raw_string(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] => raw_string(rest, 2),
        [b'b', b'\'', ..] => character(rest, 2),
        [b'\'', ..] => character(rest, 1),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn quoted(rest: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8], from: usize) -> usize {
    let hashes = rest[from..].iter().take_while(|b| **b == b'#').count();
    if rest.get(from + hashes) != Some(&b'"') {
        return 0; // a raw identifier, r#name
    }
    let mut close = vec![b'"'];
    close.extend(std::iter::repeat_n(b'#', hashes));
    let body = from + hashes + 1;
    let end = rest[body..].windows(close.len()).position(|window| window == close);
    end.map_or(rest.len(), |end| body + end + close.len())
}

/// A character literal; a lifetime is only its quote.
fn character(rest: &[u8], from: usize) -> usize {
    match &rest[from..] {
        [b'\\', ..] => {
            let end = rest[from + 2..].iter().position(|b| *b == b'\'');
            end.map_or(rest.len(), |end| from + 2 + end + 1)
        }
        [first, tail @ ..] => {
            let more = tail.iter().take_while(|b| **b >= 0x80 && *first >= 0x80).count();
            let closed = tail.get(more) == Some(&b'\'');
            if closed { from + 1 + more + 1 } else { from }
        }
        [] => from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokenize(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn literals_and_comments_are_no_tokens() {
        assert_eq!(words("a /* x /* y */ z */ b // c\n\"d \\\" e\" f"), ["a", "b", "f"]);
        assert_eq!(words("r#\"a \" b\"# c b\"x\" d br\"y\" e"), ["c", "d", "e"]);
        assert_eq!(words("'a' b '\\'' c 'é' d b'\\n' e"), ["b", "c", "d", "e"]);
        assert_eq!(words("&'a str"), ["&", "a", "str"]);
        assert_eq!(tokenize("\"a\nb\" c")[0].line, 2);
    }

    #[test]
    fn groups_are_expanded() {
        let source = Source::new("x.rs", "use crate::{a::b, c as d, e::{f, *}};\nmod m { use super::g; }");
        let paths: Vec<(String, usize)> =
            source.paths().into_iter().map(|p| (p.segments.join("::"), p.depth)).collect();
        let want =
            [("crate::a::b", 0), ("crate::c", 0), ("crate::e::f", 0), ("crate::e::*", 0), ("super::g", 1)];
        assert_eq!(paths, want.map(|(path, depth)| (path.to_owned(), depth)));
    }

    #[test]
    fn functions_have_lengths() {
        let source = Source::new("x.rs", "fn a(x: [u8; 3]) {\n\n}\ntrait T { fn b(); }\nlet f: fn(u8);");
        let all: Vec<(String, usize)> = source.functions().into_iter().map(|f| (f.name, f.length)).collect();
        assert_eq!(all, [("a".to_owned(), 3)]);
    }

    #[test]
    fn test_items_can_be_left_out() {
        let text =
            "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}\n#[cfg(test)]\nmod d;\nfn e() {}";
        let names: Vec<String> =
            Source::new("x.rs", text).without_tests().functions().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["a", "c", "e"]);
    }
}
