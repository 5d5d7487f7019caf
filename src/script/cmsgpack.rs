//! `cmsgpack`: values as MessagePack, and back.

use super::raise;
use crate::limits::{SCRIPT_NESTING, SCRIPT_RESULTS};
use crate::util::num;
use mlua::{IntoLua, Lua, MultiValue, Table, Value};

/// Tables that stand so deep in others are packed as nil.
const MAX_NESTING: usize = 16;

// ---- packing

fn pack(lua: &Lua, args: MultiValue) -> mlua::Result<mlua::String> {
    if args.is_empty() {
        return Err(raise::argument(lua, 0, "pack", "MessagePack pack needs input."));
    }
    let mut out = Vec::new();
    for value in &args {
        put(value, 0, &mut out)?;
    }
    lua.create_string(out)
}

fn put(value: &Value, level: usize, out: &mut Vec<u8>) -> mlua::Result<()> {
    match value {
        Value::String(text) => put_text(&text.as_bytes(), out),
        Value::Boolean(yes) => out.push(if *yes { 0xc3 } else { 0xc2 }),
        Value::Integer(n) => put_int(*n, out),
        Value::Number(x) => put_number(*x, out),
        Value::Table(table) if level < MAX_NESTING => put_table(table, level, out)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

/// A length or a number behind a byte that says how long it is: `byte` for 16 bits, the next for 32.
fn put_wide(byte: u8, n: usize, out: &mut Vec<u8>) {
    match u16::try_from(n) {
        Ok(n) => {
            out.push(byte);
            out.extend_from_slice(&n.to_be_bytes());
        }
        Err(_) => {
            out.push(byte + 1);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
    }
}

fn put_text(text: &[u8], out: &mut Vec<u8>) {
    match text.len() {
        n @ 0..32 => out.push(0xa0 | n as u8),
        n @ 32..256 => out.extend_from_slice(&[0xd9, n as u8]),
        n => put_wide(0xda, n, out),
    }
    out.extend_from_slice(text);
}

fn put_int(n: i64, out: &mut Vec<u8>) {
    let (byte, width) = match n {
        0..=0x7f => return out.push(n as u8),
        0x80..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -32..=-1 => return out.push(n as u8),
        -128..=-33 => (0xd0, 1),
        -32_768..=-129 => (0xd1, 2),
        -2_147_483_648..=-32_769 => (0xd2, 4),
        ..=-2_147_483_649 => (0xd3, 8),
    };
    out.push(byte);
    out.extend_from_slice(&n.to_be_bytes()[8 - width..]);
}

fn put_number(x: f64, out: &mut Vec<u8>) {
    let n = num::c_i64(x);
    if x.is_finite() && n as f64 == x {
        return put_int(n, out);
    }
    if (x as f32) as f64 == x {
        out.push(0xca);
        out.extend_from_slice(&(x as f32).to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&x.to_be_bytes());
    }
}

/// How many elements a table has if its keys are the numbers from 1 on.
fn array_len(table: &Table) -> mlua::Result<Option<usize>> {
    let (mut count, mut max) = (0, 0);
    for pair in table.pairs::<Value, Value>() {
        match pair?.0 {
            Value::Integer(n @ 1..=0x7fff_ffff) => max = max.max(n as usize),
            _ => return Ok(None),
        }
        count += 1;
    }
    Ok((max == count).then_some(count))
}

fn put_table(table: &Table, level: usize, out: &mut Vec<u8>) -> mlua::Result<()> {
    if let Some(len) = array_len(table)? {
        match len {
            0..16 => out.push(0x90 | len as u8),
            _ => put_wide(0xdc, len, out),
        }
        for i in 1..=len {
            put(&table.get(i)?, level + 1, out)?;
        }
        return Ok(());
    }
    let len = table.pairs::<Value, Value>().count();
    match len {
        0..16 => out.push(0x80 | len as u8),
        _ => put_wide(0xde, len, out),
    }
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        put(&key, level + 1, out)?;
        put(&value, level + 1, out)?;
    }
    Ok(())
}

// ---- unpacking

/// Why bytes can't be unpacked.
enum Trouble {
    Missing,
    Format,
    Deep,
    Lua(mlua::Error),
}

impl From<mlua::Error> for Trouble {
    fn from(error: mlua::Error) -> Trouble {
        Trouble::Lua(error)
    }
}

struct Cursor<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Trouble> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Trouble::Missing)?;
        self.rest = rest;
        Ok(taken)
    }

    /// An unsigned number of `width` bytes.
    fn number(&mut self, width: usize) -> Result<u64, Trouble> {
        Ok(self.take(width)?.iter().fold(0, |n, b| n << 8 | *b as u64))
    }

    fn text(&mut self, len: usize) -> Result<Value, Trouble> {
        Ok(Value::String(self.lua.create_string(self.take(len)?)?))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Trouble> {
        if depth > SCRIPT_NESTING {
            return Err(Trouble::Deep);
        }
        let byte = self.number(1)? as u8;
        let float = |x: f64| Ok(Value::Number(x));
        match byte {
            0x00..=0x7f => float(byte as f64),
            0x80..=0x8f => self.map((byte & 0xf) as usize, depth),
            0x90..=0x9f => self.array((byte & 0xf) as usize, depth),
            0xa0..=0xbf => self.text((byte & 0x1f) as usize),
            0xc0 => Ok(Value::Nil),
            0xc2 | 0xc3 => Ok(Value::Boolean(byte == 0xc3)),
            0xca => float(f32::from_bits(self.number(4)? as u32) as f64),
            0xcb => float(f64::from_bits(self.number(8)?)),
            // of eight bytes, too, the number is a signed one in the end
            0xcc..=0xcf => float(self.number(1 << (byte - 0xcc))? as i64 as f64),
            0xd0 => float(self.number(1)? as i8 as f64),
            0xd1 => float(self.number(2)? as i16 as f64),
            0xd2 => float(self.number(4)? as i32 as f64),
            0xd3 => float(self.number(8)? as i64 as f64),
            0xd9..=0xdb => {
                let len = self.number(1 << (byte - 0xd9))? as usize;
                self.text(len)
            }
            0xdc | 0xdd => {
                let len = self.number(2 << (byte - 0xdc))? as usize;
                self.array(len, depth)
            }
            0xde | 0xdf => {
                let len = self.number(2 << (byte - 0xde))? as usize;
                self.map(len, depth)
            }
            0xe0..=0xff => float(byte as i8 as f64),
            _ => Err(Trouble::Format),
        }
    }

    fn array(&mut self, len: usize, depth: usize) -> Result<Value, Trouble> {
        let table = self.lua.create_table()?;
        for i in 1..=len {
            let value = self.value(depth + 1)?;
            if !value.is_nil() {
                table.raw_set(i, value)?;
            }
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: usize, depth: usize) -> Result<Value, Trouble> {
        let table = self.lua.create_table()?;
        for _ in 0..len {
            let (key, value) = (self.value(depth + 1)?, self.value(depth + 1)?);
            table.raw_set(key, value)?;
        }
        Ok(Value::Table(table))
    }
}

/// All values from `offset` on, or `limit` of them with where the rest begins (-1: there is none).
fn unpack_some(
    lua: &Lua,
    name: &str,
    text: Option<&Value>,
    limit: i64,
    offset: i64,
) -> mlua::Result<MultiValue> {
    let data = text.and_then(|text| lua.coerce_string(text.clone()).ok().flatten());
    let data = data.ok_or_else(|| raise::expected(lua, 1, name, "string", text))?;
    let data = data.as_bytes();
    if offset < 0 || limit < 0 {
        let error = format!("Invalid request to unpack with offset of {offset} and limit of {}.", data.len());
        return Err(raise::text(lua, error));
    }
    if offset as usize > data.len() {
        let error = format!("Start offset {offset} greater than input length {}.", data.len());
        return Err(raise::text(lua, error));
    }
    let all = limit == 0 && offset == 0;
    let limit = if all { i32::MAX as usize } else { limit as usize };
    let mut cursor = Cursor { lua, rest: &data[offset as usize..] };
    let mut out = Vec::new();
    while !cursor.rest.is_empty() && out.len() < limit {
        if out.len() >= SCRIPT_RESULTS {
            return Err(raise::text(lua, TOO_MANY));
        }
        out.push(cursor.value(0).map_err(|trouble| match trouble {
            Trouble::Missing => raise::text(lua, "Missing bytes in input."),
            Trouble::Format => raise::text(lua, "Bad data format in input."),
            Trouble::Deep => raise::text(lua, TOO_MANY),
            Trouble::Lua(error) => error,
        })?);
    }
    if !all {
        let end = if cursor.rest.is_empty() { -1 } else { (data.len() - cursor.rest.len()) as i64 };
        out.insert(0, end.into_lua(lua)?);
    }
    Ok(MultiValue::from_vec(out))
}

const TOO_MANY: &str =
    "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";

/// Argument `i` as an integer, or what stands for it when it is missing.
fn int(lua: &Lua, name: &str, args: &MultiValue, i: usize, default: Option<i64>) -> mlua::Result<i64> {
    match (args.get(i), default) {
        (None | Some(Value::Nil), Some(n)) => Ok(n),
        (value, _) => {
            let number = value.and_then(|value| lua.coerce_number(value.clone()).ok().flatten());
            number.map(num::c_i64).ok_or_else(|| raise::expected(lua, i + 1, name, "number", value))
        }
    }
}

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", lua.create_function(pack)?)?;
    let unpack = |lua: &Lua, args: MultiValue| unpack_some(lua, "unpack", args.front(), 0, 0);
    table.raw_set("unpack", lua.create_function(unpack)?)?;
    let unpack_one = |lua: &Lua, args: MultiValue| {
        let offset = int(lua, "unpack_one", &args, 1, Some(0))?;
        unpack_some(lua, "unpack_one", args.front(), 1, offset)
    };
    table.raw_set("unpack_one", lua.create_function(unpack_one)?)?;
    let unpack_limit = |lua: &Lua, args: MultiValue| {
        let limit = int(lua, "unpack_limit", &args, 1, None)?;
        let offset = int(lua, "unpack_limit", &args, 2, Some(0))?;
        unpack_some(lua, "unpack_limit", args.front(), limit, offset)
    };
    table.raw_set("unpack_limit", lua.create_function(unpack_limit)?)?;
    for (field, text) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        table.raw_set(field, text)?;
    }
    Ok(table)
}
