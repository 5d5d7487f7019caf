//! Libraries: code that registers functions while it is loaded.

use super::engine::{Code, Engine, Failure, error_text, outcome};
use super::raise;
use super::shebang::flag;
use super::{World, engine::WORLD};
use crate::limits::LIBRARY_LOOKS;
use crate::resp::Args;
use mlua::{Function, Lua, MultiValue, Table, Value};

/// A function of a library.
#[derive(Clone)]
pub struct Registered {
    pub name: Vec<u8>,
    pub description: Option<Vec<u8>>,
    /// Bits of [`flag`].
    pub flags: u8,
    pub code: Code,
}

/// The functions that the library which is being loaded has registered.
#[derive(Default)]
struct Loading(Vec<Registered>);

/// The world of a library that is loaded: it has [`LIBRARY_LOOKS`] looks' time, and nothing else.
pub struct Patience(u32);

impl Default for Patience {
    fn default() -> Patience {
        Patience(LIBRARY_LOOKS)
    }
}

impl World for Patience {
    fn call(&mut self, _: Args<'_>, _: &mut Vec<u8>) -> Result<(), Vec<u8>> {
        Err(b"ERR redis.call/pcall can only be called inside a script invocation".to_vec())
    }

    fn protocol(&self) -> u8 {
        2
    }

    fn set_protocol(&mut self, _: u8) {}

    fn set_propagation(&mut self, _: bool, _: bool) {}

    fn may_call(&mut self, _: Args<'_>) -> Option<bool> {
        None
    }

    fn count_error(&mut self, _: &[u8]) {}

    fn interrupt(&mut self) -> Option<&'static str> {
        self.0 = self.0.saturating_sub(1);
        (self.0 == 0).then_some("FUNCTION LOAD timeout")
    }
}

/// Redis says so of functions' names, too.
pub(super) const BAD_NAME: &str = "Library names can only contain letters, numbers, or underscores(_) and \
                                   must be at least one character long";

/// Whether a library or a function may have this name.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

impl Engine {
    /// Runs a library's code: the functions that it registers, in the order of their names.
    pub fn load_library(&self, body: &[u8], world: &mut dyn World) -> Result<Vec<Registered>, Vec<u8>> {
        let code = self
            .load(body, "@user_function")
            .map_err(|error| [b"Error compiling function: ", &error[..]].concat())?;
        self.lua.set_app_data(Loading::default());
        let ended = WORLD.set(world, || self.register.call(&code.0));
        let Loading(mut functions) = self.lua.remove_app_data().unwrap_or_default();
        if let Err(error) = outcome(ended) {
            let text = match &error {
                Value::Table(table) => error_text(table),
                error => [b"ERR ", error.to_string().unwrap_or_default().as_bytes()].concat(),
            };
            return Err([b"Error registering functions: ", &text[..]].concat());
        }
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(functions)
    }
}

/// redis.register_function
pub(super) fn register(lua: &Lua, args: MultiValue) -> mlua::Result<()> {
    if lua.app_data_ref::<Loading>().is_none() {
        return Err(raise::table("redis.register_function can only be called on FUNCTION LOAD command"));
    }
    let mut args = args.into_iter();
    let function = match (args.next(), args.next(), args.next()) {
        (Some(Value::Table(named)), None, None) => by_name(lua, &named),
        (Some(_), None, None) => {
            Err("calling redis.register_function with a single argument is only applicable to Lua table \
             (representing named arguments).")
        }
        (Some(name), Some(code), None) => by_place(lua, name, code),
        _ => Err("wrong number of arguments to redis.register_function"),
    };
    let function = function.map_err(raise::table)?;
    if !is_name(&function.name) {
        return Err(raise::table(BAD_NAME));
    }
    let Some(mut loading) = lua.app_data_mut::<Loading>() else { return Ok(()) };
    if loading.0.iter().any(|f| f.name == function.name) {
        return Err(raise::table("Function already exists in the library"));
    }
    loading.0.push(function);
    Ok(())
}

fn text_of(lua: &Lua, value: Value) -> Option<Vec<u8>> {
    lua.coerce_string(value).ok().flatten().map(|text| text.as_bytes().to_vec())
}

fn by_place(lua: &Lua, name: Value, code: Value) -> Result<Registered, &'static str> {
    let name = text_of(lua, name).ok_or("first argument to redis.register_function must be a string")?;
    let Value::Function(code) = code else {
        return Err("second argument to redis.register_function must be a function");
    };
    Ok(Registered { name, description: None, flags: 0, code: Code(code) })
}

fn by_name(lua: &Lua, named: &Table) -> Result<Registered, &'static str> {
    const NO_TEXT: &str = "named argument key given to redis.register_function is not a string";
    let (mut name, mut description, mut code, mut flags) = (None, None, None::<Function>, 0);
    for pair in named.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|_| NO_TEXT)?;
        match text_of(lua, key).ok_or(NO_TEXT)?.to_ascii_lowercase().as_slice() {
            b"function_name" => {
                let wrong = "function_name argument given to redis.register_function must be a string";
                name = Some(text_of(lua, value).ok_or(wrong)?);
            }
            b"description" => {
                let wrong = "description argument given to redis.register_function must be a string";
                description = Some(text_of(lua, value).ok_or(wrong)?);
            }
            b"callback" => {
                let Value::Function(callback) = value else {
                    return Err("callback argument given to redis.register_function must be a function");
                };
                code = Some(callback);
            }
            b"flags" => {
                let Value::Table(list) = value else {
                    return Err(
                        "flags argument to redis.register_function must be a table representing function flags",
                    );
                };
                flags = flags_of(lua, &list).ok_or("unknown flag given")?;
            }
            _ => return Err("unknown argument given to redis.register_function"),
        }
    }
    let name = name.ok_or("redis.register_function must get a function name argument")?;
    let code = code.ok_or("redis.register_function must get a callback argument")?;
    Ok(Registered { name, description, flags, code: Code(code) })
}

fn flags_of(lua: &Lua, list: &Table) -> Option<u8> {
    let mut flags = 0;
    for i in 1.. {
        let value: Value = list.get(i).ok()?;
        if value.is_nil() {
            break;
        }
        let name = text_of(lua, value)?;
        flags |= flag::NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))?.1;
    }
    Some(flags)
}

impl From<Vec<u8>> for Failure {
    fn from(text: Vec<u8>) -> Failure {
        Failure::new([b"ERR ", &text[..]].concat())
    }
}
