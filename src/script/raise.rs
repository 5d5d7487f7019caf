//! Errors that our own functions raise in a script.

use mlua::{Error, IntoLua, Lua, Table, Value};

/// The name of the chunk that `sandbox.lua` is.
pub(super) const SANDBOX: &str = "=sandbox";

/// An error on its way through the interpreter.
#[derive(Debug)]
pub(super) enum Raise {
    /// As Lua's own functions raise them, with the place.
    Text(Vec<u8>),
    /// As redis.call raises them: a table. It was `counted` among the server's errors already.
    Table { text: Vec<u8>, counted: bool },
}

impl std::fmt::Display for Raise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Raise::Text(text) | Raise::Table { text, .. }) = self;
        f.write_str(&String::from_utf8_lossy(text))
    }
}

impl std::error::Error for Raise {}

/// A table with an error, as redis.error_reply makes them.
pub(super) fn table(text: &str) -> Error {
    Error::external(Raise::Table { text: [b"ERR ", text.as_bytes()].concat(), counted: false })
}

/// An error of a function of ours, with the place that called it, as `luaL_error` says it.
pub(super) fn text(lua: &Lua, text: impl AsRef<[u8]>) -> Error {
    let place = lua.inspect_stack(1, |debug| {
        let source = debug.source().short_src.map(|s| s.into_owned());
        source.zip(debug.current_line()).map(|(source, line)| format!("{source}:{line}: "))
    });
    let place = place.flatten().unwrap_or_default();
    Error::external(Raise::Text([place.as_bytes(), text.as_ref()].concat()))
}

/// What `luaL_argerror` says.
pub(super) fn argument(lua: &Lua, n: usize, function: &str, why: &str) -> Error {
    text(lua, format!("bad argument #{n} to '{function}' ({why})"))
}

/// What `luaL_checknumber` and its like say of an argument that is something else.
pub(super) fn expected(lua: &Lua, n: usize, function: &str, wanted: &str, got: Option<&Value>) -> Error {
    let got = got.map_or("no value", type_name);
    argument(lua, n, function, &format!("{wanted} expected, got {got}"))
}

/// A value that is a number.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Number(x) => Some(*x),
        _ => None,
    }
}

/// The name of a value's type, as Lua says it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) | Value::Number(_) => "number",
        Value::LightUserData(_) | Value::UserData(_) | Value::Error(_) => "userdata",
        value => value.type_name(),
    }
}

/// What a script gets when it catches an error: what Lua itself raises is as it was.
pub(super) fn caught(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let Value::Error(error) = value else { return Ok(value) };
    let cause = cause(&error);
    if let Error::MemoryError(_) = cause {
        return NO_MEMORY.into_lua(lua);
    }
    let raised = if let Error::ExternalError(error) = cause { error.downcast_ref::<Raise>() } else { None };
    match raised {
        Some(Raise::Text(text)) => lua.create_string(text)?.into_lua(lua),
        Some(Raise::Table { text, counted }) => error_table(lua, text, *counted)?.into_lua(lua),
        None => cause.to_string().into_lua(lua),
    }
}

/// What Lua itself says of it.
pub(super) const NO_MEMORY: &str = "not enough memory";

/// The error itself, without what it came through.
pub(super) fn cause(error: &Error) -> &Error {
    match error {
        Error::CallbackError { cause: inner, .. } => cause(inner),
        error => error,
    }
}

/// `{err = …}`
pub(super) fn error_table(lua: &Lua, text: &[u8], counted: bool) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 4)?;
    table.raw_set("err", lua.create_string(text)?)?;
    if counted {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(table)
}

/// The handler of an error that nobody caught: a table with the error and the place in the script.
pub(super) fn explain(lua: &Lua, value: Value) -> mlua::Result<Table> {
    let value = caught(lua, value)?;
    let table = match &value {
        Value::Table(table) => {
            let (text, counted) =
                (table.raw_get::<Value>("err")?, table.raw_get("ignore_error_stats_update")?);
            let text = lua.coerce_string(text)?;
            let text = text.map_or(b"ERR unknown error".to_vec(), |text| text.as_bytes().to_vec());
            error_table(lua, &text, counted)?
        }
        value => {
            let text = match lua.coerce_string(value.clone())? {
                Some(text) => text.as_bytes().to_vec(),
                None => value.to_string()?.into_bytes(),
            };
            error_table(lua, &[b"ERR ", &text[..]].concat(), false)?
        }
    };
    // the handler itself is level 0
    for level in 1.. {
        let place = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let ours = source.what == "C" || source.source.as_deref() == Some(SANDBOX);
            (!ours).then(|| (source.source.map(|s| s.into_owned()), debug.current_line()))
        });
        match place {
            None => break,
            Some(Some((Some(source), Some(line)))) => {
                table.raw_set("source", source)?;
                table.raw_set("line", line)?;
                break;
            }
            Some(_) => {}
        }
    }
    Ok(table)
}
