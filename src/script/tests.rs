//! Scripts on an engine alone.

use super::{Engine, Failure, World, script_flags};
use crate::resp::args::OwnedArgs;
use crate::resp::{Args, Reply};

/// A server that echoes, and ends scripts after so many looks.
struct Echo {
    protocol: u8,
    looks: Option<usize>,
    errors: Vec<Vec<u8>>,
}

impl Default for Echo {
    fn default() -> Echo {
        Echo { protocol: 2, looks: None, errors: Vec::new() }
    }
}

impl World for Echo {
    fn call(&mut self, args: Args<'_>, out: &mut Vec<u8>) -> Result<(), Vec<u8>> {
        match args.at(0) {
            b"raw" => out.extend_from_slice(args.at(1)),
            b"echo" => Reply::new(out, self.protocol == 3).bulk(args.at(1)),
            _ => return Err(b"ERR Unknown Redis command called from script".to_vec()),
        }
        Ok(())
    }

    fn protocol(&self) -> u8 {
        self.protocol
    }

    fn set_protocol(&mut self, version: u8) {
        self.protocol = version;
    }

    fn set_propagation(&mut self, _: bool, _: bool) {}

    fn may_call(&mut self, args: Args<'_>) -> Option<bool> {
        (args.at(0) == b"echo").then_some(true)
    }

    fn count_error(&mut self, error: &[u8]) {
        self.errors.push(error.to_vec());
    }

    fn interrupt(&mut self) -> Option<&'static str> {
        let looks = self.looks.as_mut()?;
        *looks = looks.saturating_sub(1);
        (*looks == 0).then_some("Script killed by user with SCRIPT KILL...")
    }
}

fn eval_in(engine: &Engine, world: &mut Echo, script: &str, argv: &[&str]) -> String {
    let mut bytes = Vec::new();
    let mut out = Reply::new(&mut bytes, false);
    let code = match engine.compile(script.as_bytes()) {
        Ok(code) => code,
        Err(error) => return String::from_utf8(error).unwrap(),
    };
    let (keys, argv) = (OwnedArgs::default(), OwnedArgs::new(argv));
    match engine.eval(&code, "f", (keys.as_args(), argv.as_args()), world, &mut out) {
        Ok(()) => String::from_utf8_lossy(&bytes).replace("\r\n", "|"),
        Err(Failure { text, .. }) => format!("!{}", String::from_utf8_lossy(&text)),
    }
}

fn eval(script: &str) -> String {
    eval_in(&Engine::new(false), &mut Echo::default(), script, &[])
}

/// What an error in this line says.
fn at(error: &str, line: u32) -> String {
    format!("!ERR {error} script: f, on @user_script:{line}.")
}

fn cases() -> Vec<(&'static str, String)> {
    vec![
        ("return 1", ":1|".into()),
        ("return -3.99", ":-3|".into()),
        ("return 1/0", ":-9223372036854775808|".into()),
        ("return true", ":1|".into()),
        ("return false", "$-1|".into()),
        ("return nil", "$-1|".into()),
        ("return function() end", "$-1|".into()),
        ("return {1,'a',{'b'},nil,5}", "*3|:1|$1|a|*1|$1|b|".into()),
        ("return {ok='fine'}", "+fine|".into()),
        ("return {err='MY error'}", "-MY error|".into()),
        ("return {double=1.5}", "$3|1.5|".into()),
        ("return {map={a=1}}", "*2|$1|a|:1|".into()),
        ("return redis.call('echo', 'x')", "$1|x|".into()),
        ("return redis.call('echo', 1.1)", "$18|1.1000000000000001|".into()),
        ("return redis.call('raw', '*2\\r\\n:1\\r\\n$-1\\r\\n')[2]", "$-1|".into()),
        ("return redis.call('none')", at("Unknown Redis command called from script", 1)),
        ("\nredis.call('none')", at("Unknown Redis command called from script", 2)),
        ("return redis.pcall('none')", "-ERR Unknown Redis command called from script|".into()),
        ("return redis.call('raw', '-BAD thing\\r\\n')", "!BAD thing script: f, on @user_script:1.".into()),
        ("return redis.call()", at("Please specify at least one argument for this redis lib call", 1)),
    ]
}

fn more_cases() -> Vec<(&'static str, String)> {
    vec![
        ("return redis.call({})", at("Lua redis lib command arguments must be strings or integers", 1)),
        ("error('boom')", at("user_script:1: boom", 1)),
        ("error('boom', 0)", at("boom", 1)),
        ("error()", at("nil", 1)),
        ("error({err='My Err'})", "!My Err script: f, on @user_script:1.".into()),
        ("return {pcall(error, {err='k'})}", "*2|$-1|$1|k|".into()),
        (
            "local ok, e = pcall(redis.call, 'none') return e",
            "$44|ERR Unknown Redis command called from script|".into(),
        ),
        ("local t = {} t.x.y = 1", at("user_script:1: attempt to index field 'x' (a nil value)", 1)),
        (
            "return cjson.decode('{')",
            at("user_script:1: Expected object key string but found T_END at character 2", 1),
        ),
        (
            "return {pcall(cjson.decode, '{')}",
            "*2|$-1|$57|Expected object key string but found T_END at character 2|".into(),
        ),
        (
            "return struct.pack('i')",
            at("user_script:1: bad argument #2 to 'pack' (number expected, got nil)", 1),
        ),
        ("return redis.sha1hex('')", "$40|da39a3ee5e6b4b0d3255bfef95601890afd80709|".into()),
        ("return redis.error_reply('x y')", "-x y|".into()),
        ("return redis.error_reply('x')", "-ERR x|".into()),
        ("return redis.status_reply('x')", "+x|".into()),
        ("return redis.status_reply(1)", "-ERR wrong number or type of arguments|".into()),
        (
            "return #",
            "Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'".into(),
        ),
        ("local function f() return f() + 1 end return f()", at("user_script:1: stack overflow", 1)),
        ("return coroutine.wrap(function() error('a') end)()", at("user_script:1: user_script:1: a", 1)),
        (
            "return {pcall(function() pairs() end)}",
            "*2|$-1|$68|user_script:1: bad argument #1 to 'pairs' (table expected, got no value)|".into(),
        ),
        (
            "return {xpcall(function() redis.call('none') end, function(e) return e.err end)}",
            "*2|$-1|$44|ERR Unknown Redis command called from script|".into(),
        ),
    ]
}

#[test]
fn values_and_errors() {
    let engine = Engine::new(false);
    for (script, want) in cases().into_iter().chain(more_cases()) {
        let got = eval_in(&engine, &mut Echo::default(), script, &[]);
        // a long text is compared without its length
        assert!(got == want || strip(&got) == strip(&want), "{script}\n got {got}\nwant {want}");
    }
}

fn strip(text: &str) -> String {
    text.split('|').filter(|part| !part.starts_with('$') || *part == "$-1").collect::<Vec<_>>().join("|")
}

#[test]
fn nothing_that_is_shared_can_be_changed() {
    let engine = Engine::new(false);
    let readonly = "Attempt to modify a readonly table";
    for (script, want) in [
        ("x = 1", readonly),
        ("redis.call = 1", readonly),
        ("redis.x = 1", readonly),
        ("string.rep = 1", readonly),
        ("cjson.encode = 1", readonly),
        ("_G = {}", readonly),
        ("rawset(_G, 'x', 1)", readonly),
        ("rawset(redis, 'x', 1)", readonly),
        ("table.insert(redis, 1)", readonly),
        ("redis.call = nil", readonly),
        ("setmetatable(_G, {})", readonly),
        ("local g = getmetatable(_G) g.__index = {}", readonly),
        ("getmetatable('').__index = {}", readonly),
        ("getmetatable('').__index.rep = 1", readonly),
        ("for k, v in pairs(_G) do if k == '_G' then v.x = 1 end end", readonly),
        ("return x", "nonexistent global variable 'x'"),
        ("return os", "nonexistent global variable 'os'"),
        ("return io", "nonexistent global variable 'io'"),
        ("return debug", "nonexistent global variable 'debug'"),
        ("return print", "nonexistent global variable 'print'"),
        ("return dofile", "nonexistent global variable 'dofile'"),
        ("return loadfile", "nonexistent global variable 'loadfile'"),
        ("return require", "nonexistent global variable 'require'"),
        ("return newproxy", "nonexistent global variable 'newproxy'"),
        ("return setfenv", "nonexistent global variable 'setfenv'"),
        ("return getfenv", "nonexistent global variable 'getfenv'"),
        ("loadstring('x = 1')()", readonly),
        ("return #string.dump(function() end) > 0 and loadstring(string.dump(function() end))", "$-1"),
        ("return (load(function() return string.dump(function() end) end))", "$-1"),
        ("local n = 0 for k in pairs(redis) do n = n + 1 end return n > 10", ":1"),
        ("return type(next(redis))", "string"),
        ("return tostring(getmetatable(redis))", "nil"),
        ("return ('x'):rep(3)", "xxx"),
        ("collectgarbage('stop') return collectgarbage('count') > 0", ":1"),
    ] {
        let got = eval_in(&engine, &mut Echo::default(), script, &[]);
        assert!(got.contains(want), "{script}\n got {got}\nwant {want}");
        let after = eval_in(&engine, &mut Echo::default(), "return redis.call('echo', ('a'):rep(2))", &[]);
        assert_eq!(after, "$2|aa|", "after {script}");
    }
}

#[test]
fn a_script_that_runs_away_is_stopped() {
    let engine = Engine::new(false);
    for script in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() return f() end f()",
        "coroutine.wrap(function() while true do end end)()",
        "while true do pcall(error, 'x') end",
    ] {
        let mut world = Echo { looks: Some(3), ..Echo::default() };
        let got = eval_in(&engine, &mut world, script, &[]);
        assert!(got.contains("Script killed by user with SCRIPT KILL..."), "{script}: {got}");
        engine.watch_again();
        assert_eq!(eval_in(&engine, &mut Echo::default(), "return 1", &[]), ":1|");
    }
}

#[test]
fn a_script_that_wants_all_memory_gets_an_error() {
    let engine = Engine::new(false);
    engine.lua.set_memory_limit(32 << 20).unwrap();
    for script in [
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "return ('x'):rep(100000000)",
        "local t = {} for i = 1, 100 do t[i] = {('x'):rep(1000000) .. i} end return cjson.encode(t)",
    ] {
        let got = eval_in(&engine, &mut Echo::default(), script, &[]);
        assert!(got.contains("not enough memory"), "{script}: {got}");
        assert_eq!(eval_in(&engine, &mut Echo::default(), "return 1", &[]), ":1|");
    }
}

#[test]
fn deep_tables_end() {
    let deep = "local t = {} for i = 1, 100000 do t = {t} end ";
    assert!(eval(&format!("{deep} return t")).contains("-ERR reached lua stack limit|"));
    assert!(eval(&format!("{deep} return cjson.encode(t)")).contains("excessive nesting (1001)"));
    assert!(
        eval("return cjson.decode(('['):rep(100000))").contains("too many nested data structures (1001)")
    );
    assert!(eval("return cmsgpack.unpack(('\\145'):rep(100000))").contains("stack overflow"));
    assert_eq!(
        eval("cjson.encode_max_depth(100) return cjson.encode({{{}}})"),
        "$8|[[{}]]|".replace("$8", "$6")
    );
}

#[test]
fn first_lines() {
    for (code, want) in [
        ("return 1", Ok(super::flag::COMPAT)),
        ("#!lua\nreturn 1", Ok(0)),
        ("#!lua flags=no-writes,allow-oom\nreturn 1", Ok(super::flag::NO_WRITES | super::flag::ALLOW_OOM)),
        ("#!lua flags=\nreturn 1", Ok(0)),
        ("#!lua", Err("Invalid script shebang")),
        ("#!not-lua\n", Err("Unexpected engine in script shebang: #!not-lua")),
        ("#!lua badger=data\n", Err("Unknown lua shebang option: badger=data")),
        ("#!lua flags=x\n", Err("Unexpected flag in script shebang: x")),
    ] {
        let got = script_flags(code.as_bytes()).map(|(flags, _)| flags);
        assert_eq!(got, want.map_err(|e: &str| e.as_bytes().to_vec()), "{code}");
    }
}
