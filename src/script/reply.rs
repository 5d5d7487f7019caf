//! Replies as Lua values, and Lua values as replies.

use super::engine::error_text;
use super::{World, raise};
use crate::limits::SCRIPT_NESTING;
use crate::resp::Reply;
use crate::util::num;
use mlua::{Lua, Table, Value};

/// Replies are our own: they are whole, and what RESP says they are.
pub(super) fn to_lua(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
    Parser { lua, rest: reply }.value()
}

struct Parser<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn line(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        line
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest.get(2..).unwrap_or_default();
        bytes
    }

    fn table(&self, field: &str, value: impl mlua::IntoLua) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(0, 1)?;
        table.raw_set(field, value)?;
        Ok(Value::Table(table))
    }

    fn string(&self, bytes: &[u8]) -> mlua::Result<Value> {
        self.lua.create_string(bytes).map(Value::String)
    }

    fn value(&mut self) -> mlua::Result<Value> {
        let Some((&kind, rest)) = self.rest.split_first() else { return Ok(Value::Nil) };
        self.rest = rest;
        let line = self.line();
        let len = || num::parse_i64(line);
        match kind {
            b':' => Ok(Value::Number(len().unwrap_or(0) as f64)),
            b'$' => match len().and_then(|n| usize::try_from(n).ok()) {
                None => Ok(Value::Boolean(false)),
                Some(n) => {
                    let bytes = self.bytes(n);
                    self.string(bytes)
                }
            },
            b'+' => self.table("ok", self.string(line)?),
            b'-' => raise::error_table(self.lua, line, true).map(Value::Table),
            b'*' | b'>' => match len().and_then(|n| usize::try_from(n).ok()) {
                None => Ok(Value::Boolean(false)),
                Some(n) => self.array(n),
            },
            b'%' => self.map(len().unwrap_or(0)),
            b'~' => self.set(len().unwrap_or(0)),
            b'_' => Ok(Value::Nil),
            b'#' => Ok(Value::Boolean(line == b"t")),
            b',' => self.table("double", num::parse_f64(line).unwrap_or(f64::NAN)),
            b'(' => self.table("big_number", self.string(line)?),
            b'=' => {
                let bytes = self.bytes(len().unwrap_or(0) as usize);
                let table = self.lua.create_table_with_capacity(0, 2)?;
                table.raw_set("format", self.string(bytes.get(..3).unwrap_or_default())?)?;
                table.raw_set("string", self.string(bytes.get(4..).unwrap_or_default())?)?;
                self.table("verbatim_string", table)
            }
            _ => Ok(Value::Nil),
        }
    }

    fn array(&mut self, n: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(n, 0)?;
        for i in 1..=n {
            let value = self.value()?;
            if !value.is_nil() {
                table.raw_set(i, value)?;
            }
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, n: i64) -> mlua::Result<Value> {
        let map = self.lua.create_table_with_capacity(0, n as usize)?;
        for _ in 0..n {
            let (key, value) = (self.value()?, self.value()?);
            map.raw_set(key, value)?;
        }
        self.table("map", map)
    }

    fn set(&mut self, n: i64) -> mlua::Result<Value> {
        let set = self.lua.create_table_with_capacity(0, n as usize)?;
        for _ in 0..n {
            let member = self.value()?;
            set.raw_set(member, true)?;
        }
        self.table("set", set)
    }
}

/// Writes what a script returned.
pub(super) fn to_reply(
    lua: &Lua,
    value: &Value,
    world: &mut dyn World,
    out: &mut Reply<'_>,
) -> mlua::Result<()> {
    Writer { lua, old_booleans: world.protocol() == 2, world }.value(value, 0, out)
}

struct Writer<'a> {
    lua: &'a Lua,
    /// The script has not asked for RESP3: true is 1, and false is null.
    old_booleans: bool,
    world: &'a mut dyn World,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize, out: &mut Reply<'_>) -> mlua::Result<()> {
        if depth > SCRIPT_NESTING {
            self.error(b"ERR reached lua stack limit", out);
            return Ok(());
        }
        match value {
            Value::String(text) => out.bulk(&text.as_bytes()),
            Value::Boolean(yes) if self.old_booleans => {
                if *yes {
                    out.int(1)
                } else {
                    out.null()
                }
            }
            Value::Boolean(yes) => out.boolean(*yes),
            Value::Integer(n) => out.int(*n),
            Value::Number(x) => out.int(num::c_i64(*x)),
            Value::Table(table) => self.table(table, depth, out)?,
            _ => out.null(),
        }
        Ok(())
    }

    fn error(&mut self, text: &[u8], out: &mut Reply<'_>) {
        self.world.count_error(text);
        out.error(text);
    }

    fn table(&mut self, table: &Table, depth: usize, out: &mut Reply<'_>) -> mlua::Result<()> {
        if let Value::String(_) = table.raw_get("err")? {
            let text = error_text(table);
            match table.raw_get::<bool>("ignore_error_stats_update")? {
                true => out.error(&text),
                false => self.error(&text, out),
            }
            return Ok(());
        }
        if let Value::String(text) = table.raw_get("ok")? {
            let text: Vec<u8> =
                text.as_bytes().iter().map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }).collect();
            out.raw(&[b"+", &text[..], b"\r\n"].concat());
            return Ok(());
        }
        if let Some(x) = raise::number(&table.raw_get("double")?) {
            out.double(x);
            return Ok(());
        }
        if let Value::String(text) = table.raw_get("big_number")? {
            let text: Vec<u8> =
                text.as_bytes().iter().map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }).collect();
            match out.resp3() {
                true => out.raw(&[b"(", &text[..], b"\r\n"].concat()),
                false => out.bulk(&text),
            }
            return Ok(());
        }
        if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
            && let (Value::String(format), Value::String(text)) =
                (verbatim.raw_get("format")?, verbatim.raw_get("string")?)
        {
            out.verbatim(&three_letters(&format.to_string_lossy()), &text.as_bytes());
            return Ok(());
        }
        if let Value::Table(map) = table.raw_get("map")? {
            out.map(map.pairs::<Value, Value>().count());
            for pair in map.pairs::<Value, Value>() {
                let (key, value) = pair?;
                self.value(&key, depth + 1, out)?;
                self.value(&value, depth + 1, out)?;
            }
            return Ok(());
        }
        if let Value::Table(set) = table.raw_get("set")? {
            out.set(set.pairs::<Value, Value>().count());
            for pair in set.pairs::<Value, Value>() {
                self.value(&pair?.0, depth + 1, out)?;
            }
            return Ok(());
        }
        let open = out.begin_array();
        let mut n = 0;
        loop {
            let element: Value = table.raw_get(n + 1)?;
            if element.is_nil() {
                break;
            }
            self.value(&element, depth + 1, out)?;
            n += 1;
        }
        out.end_array(open, n);
        let _ = self.lua;
        Ok(())
    }
}

/// The format of a verbatim string is three letters long, cut or filled up with spaces.
fn three_letters(format: &str) -> String {
    let mut out: String = format.chars().filter(char::is_ascii).take(3).collect();
    while out.len() < 3 {
        out.push(' ');
    }
    out
}
