//! `cjson`: values as JSON, and back, with its settings.

use super::raise;
use crate::limits::JSON_NESTING;
use crate::util::num;
use mlua::{IntoLua, Lua, MultiValue, Table, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// What scripts may set, of one instance of the library.
#[derive(Clone)]
struct Settings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth: i64,
    decode_depth: i64,
    precision: i64,
    keep_buffer: bool,
    /// 0: infinite numbers and such are refused; 1: they are written; 2: as null.
    encode_invalid: usize,
    decode_invalid: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: 1000,
            decode_depth: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: 0,
            decode_invalid: true,
        }
    }
}

type Shared = Arc<Mutex<Settings>>;

fn settings(shared: &Shared) -> std::sync::MutexGuard<'_, Settings> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A function of the library: its name, and what it does with the settings.
type Function = fn(&Lua, &Shared, &MultiValue) -> mlua::Result<MultiValue>;

const FUNCTIONS: [(&str, Function); 9] = [
    ("encode", |lua, shared, args| {
        only(lua, "encode", args)?;
        let mut out = Vec::new();
        let settings = settings(shared).clone();
        Encoder { lua, settings: &settings, out: &mut out }.value(&args[0], 0)?;
        one(lua, lua.create_string(out)?)
    }),
    ("decode", |lua, shared, args| {
        only(lua, "decode", args)?;
        let text = lua.coerce_string(args[0].clone())?;
        let text = text.ok_or_else(|| raise::expected(lua, 1, "decode", "string", args.front()))?;
        let settings = settings(shared).clone();
        let text = text.as_bytes();
        if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
            return Err(raise::text(lua, "JSON parser does not support UTF-16 or UTF-32"));
        }
        one(lua, Decoder { lua, settings: &settings, text: &text, at: 0, depth: 0 }.whole()?)
    }),
    ("encode_sparse_array", |lua, shared, args| {
        const NAME: &str = "encode_sparse_array";
        at_most(lua, NAME, args, 3)?;
        let mut s = settings(shared);
        let convert = switch(lua, NAME, args.front(), &["off", "on"], s.sparse_convert as usize)?;
        s.sparse_convert = convert == 1;
        s.sparse_ratio = integer(lua, NAME, args, 1, (0, s.sparse_ratio))?;
        s.sparse_safe = integer(lua, NAME, args, 2, (0, s.sparse_safe))?;
        (s.sparse_convert, s.sparse_ratio, s.sparse_safe).into_lua_multi_of(lua)
    }),
    ("encode_max_depth", |lua, shared, args| {
        at_most(lua, "encode_max_depth", args, 1)?;
        let mut s = settings(shared);
        s.encode_depth = integer(lua, "encode_max_depth", args, 0, (1, s.encode_depth))?;
        one(lua, s.encode_depth)
    }),
    ("decode_max_depth", |lua, shared, args| {
        at_most(lua, "decode_max_depth", args, 1)?;
        let mut s = settings(shared);
        s.decode_depth = integer(lua, "decode_max_depth", args, 0, (1, s.decode_depth))?;
        one(lua, s.decode_depth)
    }),
    ("encode_number_precision", |lua, shared, args| {
        const NAME: &str = "encode_number_precision";
        at_most(lua, NAME, args, 1)?;
        let mut s = settings(shared);
        s.precision = bounded(lua, NAME, args, 0, (1, 14), s.precision)?;
        one(lua, s.precision)
    }),
    ("encode_keep_buffer", |lua, shared, args| {
        const NAME: &str = "encode_keep_buffer";
        at_most(lua, NAME, args, 1)?;
        let mut s = settings(shared);
        s.keep_buffer = switch(lua, NAME, args.front(), &["off", "on"], s.keep_buffer as usize)? == 1;
        one(lua, s.keep_buffer)
    }),
    ("encode_invalid_numbers", |lua, shared, args| {
        const NAME: &str = "encode_invalid_numbers";
        at_most(lua, NAME, args, 1)?;
        let mut s = settings(shared);
        s.encode_invalid = switch(lua, NAME, args.front(), &["off", "on", "null"], s.encode_invalid)?;
        match s.encode_invalid {
            2 => one(lua, "null"),
            n => one(lua, n == 1),
        }
    }),
    ("decode_invalid_numbers", |lua, shared, args| {
        const NAME: &str = "decode_invalid_numbers";
        at_most(lua, NAME, args, 1)?;
        let mut s = settings(shared);
        s.decode_invalid = switch(lua, NAME, args.front(), &["off", "on"], s.decode_invalid as usize)? == 1;
        one(lua, s.decode_invalid)
    }),
];

/// The library, with settings of its own.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let shared = Shared::default();
    for (name, function) in FUNCTIONS {
        let shared = shared.clone();
        let f = move |lua: &Lua, args: MultiValue| function(lua, &shared, &args);
        table.raw_set(name, lua.create_function(f)?)?;
    }
    table.raw_set("new", lua.create_function(|lua, _: MultiValue| library(lua))?)?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

fn one(lua: &Lua, value: impl IntoLua) -> mlua::Result<MultiValue> {
    Ok(MultiValue::from_vec(vec![value.into_lua(lua)?]))
}

trait IntoMulti {
    fn into_lua_multi_of(self, lua: &Lua) -> mlua::Result<MultiValue>;
}

impl<T: mlua::IntoLuaMulti> IntoMulti for T {
    fn into_lua_multi_of(self, lua: &Lua) -> mlua::Result<MultiValue> {
        self.into_lua_multi(lua)
    }
}

fn only(lua: &Lua, name: &str, args: &MultiValue) -> mlua::Result<()> {
    match args.len() {
        1 => Ok(()),
        _ => Err(raise::argument(lua, 1, name, "expected 1 argument")),
    }
}

fn at_most(lua: &Lua, name: &str, args: &MultiValue, most: usize) -> mlua::Result<()> {
    match args.len() <= most {
        true => Ok(()),
        false => Err(raise::argument(lua, most + 1, name, "found too many arguments")),
    }
}

/// A setting that is a number from `least` on.
fn integer(
    lua: &Lua,
    name: &str,
    args: &MultiValue,
    i: usize,
    (least, now): (i64, i64),
) -> mlua::Result<i64> {
    bounded(lua, name, args, i, (least, i32::MAX as i64), now)
}

fn bounded(
    lua: &Lua,
    name: &str,
    args: &MultiValue,
    i: usize,
    (least, most): (i64, i64),
    now: i64,
) -> mlua::Result<i64> {
    let Some(value) = args.get(i).filter(|value| !value.is_nil()) else { return Ok(now) };
    let number = lua.coerce_number(value.clone())?;
    let number = number.ok_or_else(|| raise::expected(lua, i + 1, name, "number", Some(value)))?;
    let number = num::c_i64(number) as i32 as i64;
    if !(least..=most).contains(&number) {
        let why = format!("expected integer between {least} and {most}");
        return Err(raise::argument(lua, 1, name, &why));
    }
    Ok(number)
}

/// A setting that is one of these words, of which the second is true and the first is false.
fn switch(lua: &Lua, name: &str, value: Option<&Value>, words: &[&str], now: usize) -> mlua::Result<usize> {
    match value {
        None | Some(Value::Nil) => Ok(now),
        Some(Value::Boolean(on)) => Ok(*on as usize),
        Some(value) => {
            let text = lua.coerce_string(value.clone())?;
            let text = text.ok_or_else(|| raise::expected(lua, 1, name, "string", Some(value)))?;
            let found = words.iter().position(|word| word.as_bytes() == &*text.as_bytes());
            let why = || format!("invalid option '{}'", text.to_string_lossy());
            found.ok_or_else(|| raise::argument(lua, 1, name, &why()))
        }
    }
}

// ---- encoding

struct Encoder<'a> {
    lua: &'a Lua,
    settings: &'a Settings,
    out: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    fn refuse(&self, value: &Value, why: &str) -> mlua::Error {
        raise::text(self.lua, format!("Cannot serialise {}: {why}", raise::type_name(value)))
    }

    fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<()> {
        match value {
            Value::String(text) => self.text(&text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => self.number(value)?,
            Value::Boolean(yes) => self.out.extend_from_slice(if *yes { b"true" } else { b"false" }),
            Value::Table(table) => self.table(value, table, depth + 1)?,
            Value::Nil => self.out.extend_from_slice(b"null"),
            null if *null == Value::NULL => self.out.extend_from_slice(b"null"),
            other => return Err(self.refuse(other, "type not supported")),
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for &b in text {
            match b {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..0x20 | 0x7f => self.out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
                _ => self.out.push(b),
            }
        }
        self.out.push(b'"');
    }

    fn number(&mut self, value: &Value) -> mlua::Result<()> {
        let x = raise::number(value).unwrap_or(0.0);
        if !x.is_finite() {
            match self.settings.encode_invalid {
                0 => return Err(self.refuse(value, "must not be NaN or Inf")),
                1 => {
                    let text: &[u8] = match x {
                        _ if x.is_nan() => b"nan",
                        _ if x > 0.0 => b"inf",
                        _ => b"-inf",
                    };
                    self.out.extend_from_slice(text);
                }
                _ => self.out.extend_from_slice(b"null"),
            }
            return Ok(());
        }
        let mut text = num::Buf::new();
        num::write_general(&mut text, x, self.settings.precision as usize);
        self.out.extend_from_slice(&text);
        Ok(())
    }

    /// How many elements a table has if its keys are whole numbers from 1 on; those that are missing count.
    fn array_len(&self, value: &Value, table: &Table) -> mlua::Result<Option<i64>> {
        let (mut max, mut items) = (0i64, 0i64);
        for pair in table.pairs::<Value, Value>() {
            match pair?.0 {
                Value::Integer(n @ 1..) => max = max.max(n),
                _ => return Ok(None),
            }
            items += 1;
        }
        let s = self.settings;
        let sparse = s.sparse_ratio > 0 && max > items.saturating_mul(s.sparse_ratio) && max > s.sparse_safe;
        match sparse {
            true if !s.sparse_convert => Err(self.refuse(value, "excessively sparse array")),
            true => Ok(None),
            false => Ok((max > 0).then_some(max)),
        }
    }

    fn table(&mut self, value: &Value, table: &Table, depth: usize) -> mlua::Result<()> {
        if depth as i64 > self.settings.encode_depth || depth > JSON_NESTING {
            let error = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(raise::text(self.lua, error));
        }
        if let Some(len) = self.array_len(value, table)? {
            self.out.push(b'[');
            for i in 1..=len {
                if i > 1 {
                    self.out.push(b',');
                }
                self.value(&table.raw_get(i)?, depth)?;
            }
            self.out.push(b']');
            return Ok(());
        }
        self.out.push(b'{');
        for (n, pair) in table.pairs::<Value, Value>().enumerate() {
            let (key, value) = pair?;
            if n > 0 {
                self.out.push(b',');
            }
            match &key {
                Value::String(text) => self.text(&text.as_bytes()),
                Value::Integer(_) | Value::Number(_) => {
                    self.out.push(b'"');
                    self.number(&key)?;
                    self.out.push(b'"');
                }
                other => return Err(self.refuse(other, "table key must be a number or string")),
            }
            self.out.push(b':');
            self.value(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }
}

// ---- decoding

/// What stands in a text.
enum Token {
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    /// A mark by its name, as errors call it.
    Mark(&'static str),
    Wrong(&'static str),
}

const OBJECT: &str = "T_OBJ_BEGIN";
const OBJECT_END: &str = "T_OBJ_END";
const ARRAY: &str = "T_ARR_BEGIN";
const ARRAY_END: &str = "T_ARR_END";
const COLON: &str = "T_COLON";
const COMMA: &str = "T_COMMA";
const END: &str = "T_END";

impl Token {
    fn is(&self, mark: &str) -> bool {
        matches!(self, Token::Mark(m) if *m == mark)
    }

    fn name(&self) -> &'static str {
        match self {
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Mark(name) | Token::Wrong(name) => name,
        }
    }
}

struct Decoder<'a> {
    lua: &'a Lua,
    settings: &'a Settings,
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl Decoder<'_> {
    /// The byte so far ahead; behind the end there is a NUL.
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn whole(mut self) -> mlua::Result<Value> {
        let (place, token) = self.next();
        let value = self.value(place, token)?;
        let (place, token) = self.next();
        match token.is(END) {
            true => Ok(value),
            false => Err(self.unexpected("the end", place, &token)),
        }
    }

    fn unexpected(&self, wanted: &str, place: usize, found: &Token) -> mlua::Error {
        let error = format!("Expected {wanted} but found {} at character {}", found.name(), place + 1);
        raise::text(self.lua, error)
    }

    /// The next token and where it begins; of a wrong one, where it is wrong.
    fn next(&mut self) -> (usize, Token) {
        while matches!(self.peek(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let place = self.at;
        let mark = match self.peek(0) {
            b'{' => OBJECT,
            b'}' => OBJECT_END,
            b'[' => ARRAY,
            b']' => ARRAY_END,
            b',' => COMMA,
            b':' => COLON,
            0 => return (place, Token::Mark(END)),
            b'"' => {
                let token = self.string();
                return (if matches!(token, Token::Wrong(_)) { self.at } else { place }, token);
            }
            b'-' | b'0'..=b'9' => return (place, self.number(!self.settings.decode_invalid)),
            b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+' => return (place, self.word()),
            _ => return (place, Token::Wrong("invalid token")),
        };
        self.at += 1;
        (place, Token::Mark(mark))
    }

    fn word(&mut self) -> Token {
        let rest = &self.text[self.at..];
        for (word, token) in
            [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)]
        {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return token;
            }
        }
        match self.settings.decode_invalid && self.is_invalid_number() {
            true => self.number(false),
            false => Token::Wrong("invalid token"),
        }
    }

    /// Whether what C reads as a number here is none in JSON.
    fn is_invalid_number(&self) -> bool {
        let rest = &self.text[self.at..];
        if rest.first() == Some(&b'+') {
            return true;
        }
        let rest = rest.strip_prefix(b"-").unwrap_or(rest);
        match rest {
            [b'0', second, ..] => second | 0x20 == b'x' || second.is_ascii_digit(),
            [b'0'] => false,
            [first, ..] if *first <= b'9' => false,
            _ => rest
                .get(..3)
                .is_some_and(|word| word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")),
        }
    }

    fn number(&mut self, strict: bool) -> Token {
        if strict && self.is_invalid_number() {
            return Token::Wrong("invalid number");
        }
        let rest = num::until_nul(&self.text[self.at..]);
        match num::f64_prefix(rest) {
            Some((x, used)) => {
                self.at += used;
                Token::Number(x)
            }
            None => Token::Wrong("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            match self.peek(0) {
                b'"' => break,
                0 => return Token::Wrong("unexpected end of string"),
                b'\\' => {
                    let plain = match self.peek(1) {
                        b @ (b'"' | b'\\' | b'/') => b,
                        b'b' => 0x08,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'f' => 0x0c,
                        b'r' => b'\r',
                        b'u' => match self.unicode() {
                            Some(c) => {
                                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                                continue;
                            }
                            None => return Token::Wrong("invalid unicode escape code"),
                        },
                        _ => return Token::Wrong("invalid escape code"),
                    };
                    out.push(plain);
                    self.at += 2;
                }
                b => {
                    out.push(b);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Token::Text(out)
    }

    fn hex4(&self, ahead: usize) -> Option<u32> {
        (0..4).try_fold(0, |n, i| Some(n << 4 | (self.peek(ahead + i) as char).to_digit(16)?))
    }

    /// `\uXXXX`, or two of them that are a surrogate pair.
    fn unicode(&mut self) -> Option<char> {
        let code = self.hex4(2)?;
        if code & 0xF800 != 0xD800 {
            self.at += 6;
            return char::from_u32(code);
        }
        if code & 0x400 != 0 || self.peek(6) != b'\\' || self.peek(7) != b'u' {
            return None;
        }
        let low = self.hex4(8).filter(|low| low & 0xFC00 == 0xDC00)?;
        self.at += 12;
        char::from_u32(((code & 0x3FF) << 10 | (low & 0x3FF)) + 0x10000)
    }

    fn value(&mut self, place: usize, token: Token) -> mlua::Result<Value> {
        match token {
            Token::Text(text) => self.lua.create_string(text).map(Value::String),
            Token::Number(x) => Ok(Value::Number(x)),
            Token::Boolean(yes) => Ok(Value::Boolean(yes)),
            Token::Null => Ok(Value::NULL),
            Token::Mark(OBJECT) => self.object(),
            Token::Mark(ARRAY) => self.array(),
            token => Err(self.unexpected("value", place, &token)),
        }
    }

    fn descend(&mut self) -> mlua::Result<()> {
        self.depth += 1;
        if self.depth as i64 <= self.settings.decode_depth && self.depth <= JSON_NESTING {
            return Ok(());
        }
        let (depth, at) = (self.depth, self.at);
        let error = format!("Found too many nested data structures ({depth}) at character {at}");
        Err(raise::text(self.lua, error))
    }

    fn object(&mut self) -> mlua::Result<Value> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let (mut place, mut token) = self.next();
        if !token.is(OBJECT_END) {
            loop {
                let Token::Text(key) = token else {
                    return Err(self.unexpected("object key string", place, &token));
                };
                (place, token) = self.next();
                if !token.is(COLON) {
                    return Err(self.unexpected("colon", place, &token));
                }
                (place, token) = self.next();
                let value = self.value(place, token)?;
                table.raw_set(self.lua.create_string(key)?, value)?;
                (place, token) = self.next();
                if token.is(OBJECT_END) {
                    break;
                }
                if !token.is(COMMA) {
                    return Err(self.unexpected("comma or object end", place, &token));
                }
                (place, token) = self.next();
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn array(&mut self) -> mlua::Result<Value> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let (mut place, mut token) = self.next();
        if !token.is(ARRAY_END) {
            for i in 1.. {
                let value = self.value(place, token)?;
                table.raw_set(i, value)?;
                (place, token) = self.next();
                if token.is(ARRAY_END) {
                    break;
                }
                if !token.is(COMMA) {
                    return Err(self.unexpected("comma or array end", place, &token));
                }
                (place, token) = self.next();
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }
}
