//! `bit`: operations on numbers as 32 bits.

use super::raise;
use mlua::{Lua, MultiValue, Table};

/// What makes the low bits of a number those of its integer part.
const SHIFT: f64 = 6755399441055744.0;

fn argument(lua: &Lua, name: &str, args: &MultiValue, i: usize) -> mlua::Result<u32> {
    let value = args.get(i);
    let number = value.and_then(|value| lua.coerce_number(value.clone()).ok().flatten());
    let number = number.ok_or_else(|| raise::expected(lua, i + 1, name, "number", value))?;
    Ok((number + SHIFT).to_bits() as u32)
}

type Map = fn(u32) -> u32;
type Fold = fn(u32, u32) -> u32;

/// Of one argument, of two, and of any number.
const UNARY: [(&str, Map); 3] = [("tobit", |b| b), ("bnot", |b| !b), ("bswap", u32::swap_bytes)];
const SHIFTS: [(&str, Fold); 5] = [
    ("lshift", |b, n| b << n),
    ("rshift", |b, n| b >> n),
    ("arshift", |b, n| (b as i32 >> n) as u32),
    ("rol", u32::rotate_left),
    ("ror", u32::rotate_right),
];
const FOLDS: [(&str, Fold); 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, op) in UNARY {
        let f = move |lua: &Lua, args: MultiValue| Ok(op(argument(lua, name, &args, 0)?) as i32);
        table.raw_set(name, lua.create_function(f)?)?;
    }
    for (name, op) in SHIFTS {
        let f = move |lua: &Lua, args: MultiValue| {
            let (b, n) = (argument(lua, name, &args, 0)?, argument(lua, name, &args, 1)?);
            Ok(op(b, n & 31) as i32)
        };
        table.raw_set(name, lua.create_function(f)?)?;
    }
    for (name, op) in FOLDS {
        let f = move |lua: &Lua, args: MultiValue| {
            let mut b = argument(lua, name, &args, 0)?;
            for i in (1..args.len()).rev() {
                b = op(b, argument(lua, name, &args, i)?);
            }
            Ok(b as i32)
        };
        table.raw_set(name, lua.create_function(f)?)?;
    }
    table.raw_set("tohex", lua.create_function(tohex)?)?;
    Ok(table)
}

/// Hex digits; a negative number of them asks for capital letters.
fn tohex(lua: &Lua, args: MultiValue) -> mlua::Result<String> {
    let b = argument(lua, "tohex", &args, 0)?;
    let n = if args.len() < 2 { 8 } else { argument(lua, "tohex", &args, 1)? as i32 };
    let text = if n < 0 { format!("{b:08X}") } else { format!("{b:08x}") };
    let digits = n.unsigned_abs().min(8) as usize;
    Ok(text[8 - digits..].to_owned())
}
