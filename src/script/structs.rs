//! `struct`: numbers and strings as bytes, by a format.

use super::raise;
use crate::util::num;
use mlua::{Lua, MultiValue, Table, Value};

/// Longest integer, in bytes.
const MAX_INT: usize = 32;
/// What `!` aligns to without a number.
const MAX_ALIGN: usize = 8;

/// How far a format was read, and what it has said so far.
struct Format<'a> {
    lua: &'a Lua,
    function: &'static str,
    rest: &'a [u8],
    big_endian: bool,
    align: usize,
}

impl<'a> Format<'a> {
    fn new(lua: &'a Lua, function: &'static str, format: &'a [u8]) -> Format<'a> {
        Format { lua, function, rest: num::until_nul(format), big_endian: false, align: 1 }
    }

    fn error(&self, n: usize, why: &str) -> mlua::Error {
        raise::argument(self.lua, n, self.function, why)
    }

    fn number(&mut self, default: usize) -> mlua::Result<usize> {
        let digits = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let (text, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let n = text.iter().try_fold(0i32, |n, b| n.checked_mul(10)?.checked_add((b - b'0') as i32));
        n.map(|n| n as usize).ok_or_else(|| raise::text(self.lua, "integral size overflow"))
    }

    /// The next option with its size, and the bytes to skip before it at `position`.
    fn next(&mut self, position: usize) -> mlua::Result<Option<(u8, usize, usize)>> {
        let Some((&option, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > MAX_INT {
                    let error = format!("integral size {size} is larger than limit of {MAX_INT}");
                    return Err(raise::text(self.lua, error));
                }
                size
            }
            _ => 0,
        };
        let skip = match option {
            b'c' => 0,
            _ if size == 0 => 0,
            _ => {
                let unit = size.min(self.align);
                unit.wrapping_sub(position & (unit - 1)) & (unit - 1)
            }
        };
        Ok(Some((option, size, skip)))
    }

    /// An option that is none for a value.
    fn control(&mut self, option: u8) -> mlua::Result<()> {
        match option {
            b' ' => {}
            b'>' => self.big_endian = true,
            b'<' => self.big_endian = false,
            b'!' => {
                let align = self.number(MAX_ALIGN)?;
                if !align.is_power_of_two() {
                    let error = format!("alignment {align} is not a power of 2");
                    return Err(raise::text(self.lua, error));
                }
                self.align = align;
            }
            _ => {
                let why = format!("invalid format option '{}'", option as char);
                return Err(self.error(1, &why));
            }
        }
        Ok(())
    }

    fn ordered(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }
}

fn text_argument(lua: &Lua, function: &str, args: &MultiValue, i: usize) -> mlua::Result<Vec<u8>> {
    let value = args.get(i);
    let text = value.and_then(|value| lua.coerce_string(value.clone()).ok().flatten());
    let text = text.ok_or_else(|| raise::expected(lua, i + 1, function, "string", value))?;
    Ok(text.as_bytes().to_vec())
}

/// Of values that are packed, those that are missing are nil: a mark stands behind the arguments.
fn packed(args: &MultiValue, i: usize) -> Option<&Value> {
    if i == args.len() { Some(&Value::Nil) } else { args.get(i) }
}

fn pack(lua: &Lua, args: MultiValue) -> mlua::Result<mlua::String> {
    let format = text_argument(lua, "pack", &args, 0)?;
    let mut format = Format::new(lua, "pack", &format);
    let (mut out, mut total, mut arg) = (Vec::new(), 0, 1);
    let number = |i: usize| {
        let value = packed(&args, i);
        let number = value.and_then(|value| lua.coerce_number(value.clone()).ok().flatten());
        number.ok_or_else(|| raise::expected(lua, i + 1, "pack", "number", value))
    };
    while let Some((option, mut size, skip)) = format.next(total)? {
        total += skip;
        out.resize(out.len() + skip, 0);
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let x = number(arg)?;
                arg += 1;
                let value = if x < 0.0 { num::c_i64(x) as u64 } else { num::c_u64(x) };
                let mut bytes = value.to_le_bytes().to_vec();
                bytes.resize(size, 0);
                out.extend(format.ordered(bytes));
            }
            b'x' => out.push(0),
            b'f' => {
                out.extend(format.ordered((number(arg)? as f32).to_le_bytes().to_vec()));
                arg += 1;
            }
            b'd' => {
                out.extend(format.ordered(number(arg)?.to_le_bytes().to_vec()));
                arg += 1;
            }
            b'c' | b's' => {
                let value = packed(&args, arg);
                let text = value.and_then(|value| lua.coerce_string(value.clone()).ok().flatten());
                let text = text.ok_or_else(|| raise::expected(lua, arg + 1, "pack", "string", value))?;
                let text = text.as_bytes();
                arg += 1;
                if size == 0 {
                    size = text.len();
                }
                if text.len() < size {
                    return Err(format.error(arg + 1, "string too short"));
                }
                out.extend_from_slice(&text[..size]);
                if option == b's' {
                    out.push(0);
                    size += 1;
                }
            }
            _ => format.control(option)?,
        }
        total += size;
    }
    lua.create_string(out)
}

/// The integer that these bytes are, of which the low eight count.
fn integer(bytes: &[u8], big_endian: bool, signed: bool) -> f64 {
    let push = |n: u64, b: &u8| n << 8 | *b as u64;
    let n = match big_endian {
        true => bytes.iter().fold(0, push),
        false => bytes.iter().rev().fold(0, push),
    };
    if !signed {
        return n as f64;
    }
    // a shift by more than there are bits is by their remainder, as on the processor
    let mask = u64::MAX.wrapping_shl((bytes.len() as u32 * 8).wrapping_sub(1));
    (if n & mask != 0 { n | mask } else { n }) as i64 as f64
}

fn unpack(lua: &Lua, args: MultiValue) -> mlua::Result<MultiValue> {
    let format = text_argument(lua, "unpack", &args, 0)?;
    let data = text_argument(lua, "unpack", &args, 1)?;
    let position = match args.get(2) {
        None | Some(Value::Nil) => 1,
        Some(value) => match lua.coerce_number(value.clone())? {
            Some(x) => num::c_i64(x),
            None => return Err(raise::expected(lua, 3, "unpack", "number", Some(value))),
        },
    };
    let mut format = Format::new(lua, "unpack", &format);
    if position == 0 {
        return Err(format.error(3, "offset must be 1 or greater"));
    }
    let mut at = (position as usize).wrapping_sub(1);
    let mut out: Vec<Value> = Vec::new();
    while let Some((option, mut size, skip)) = format.next(at)? {
        at = at.wrapping_add(skip);
        let short = |size: usize| size > data.len() || at > data.len() - size;
        if short(size) {
            return Err(format.error(2, "data string too short"));
        }
        let bytes = &data[at..at + size];
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let x = integer(bytes, format.big_endian, option.is_ascii_lowercase());
                out.push(Value::Number(x));
            }
            b'x' => {}
            b'f' => {
                let bytes = format.ordered(bytes.to_vec());
                let x = bytes.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes));
                out.push(Value::Number(x as f64));
            }
            b'd' => {
                let bytes = format.ordered(bytes.to_vec());
                out.push(Value::Number(bytes.first_chunk().map_or(0.0, |bytes| f64::from_le_bytes(*bytes))));
            }
            b'c' => {
                if size == 0 {
                    let before = out.pop().and_then(|value| lua.coerce_number(value).ok().flatten());
                    let before =
                        before.ok_or_else(|| raise::text(lua, "format 'c0' needs a previous size"))?;
                    size = num::c_u64(before) as usize;
                    if short(size) {
                        return Err(format.error(2, "data string too short"));
                    }
                }
                out.push(Value::String(lua.create_string(&data[at..at + size])?));
            }
            b's' => {
                let Some(end) = memchr::memchr(0, &data[at..]) else {
                    return Err(raise::text(lua, "unfinished string in data"));
                };
                out.push(Value::String(lua.create_string(&data[at..at + end])?));
                size = end + 1;
            }
            _ => format.control(option)?,
        }
        at += size;
    }
    out.push(Value::Number((at + 1) as f64));
    Ok(MultiValue::from_vec(out))
}

fn size(lua: &Lua, args: MultiValue) -> mlua::Result<f64> {
    let format = text_argument(lua, "size", &args, 0)?;
    let mut format = Format::new(lua, "size", &format);
    let mut at: usize = 0;
    while let Some((option, size, skip)) = format.next(at)? {
        match option {
            b's' => return Err(format.error(1, "option 's' has no fixed size")),
            b'c' if size == 0 => return Err(format.error(1, "option 'c0' has no fixed size")),
            _ if !option.is_ascii_alphanumeric() => format.control(option)?,
            _ => {}
        }
        at = at.wrapping_add(skip + size);
    }
    Ok(at as f64)
}

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", lua.create_function(pack)?)?;
    table.raw_set("unpack", lua.create_function(unpack)?)?;
    table.raw_set("size", lua.create_function(size)?)?;
    Ok(table)
}
