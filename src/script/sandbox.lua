-- What scripts see. `ours` has the functions that are written in Rust, `names` the globals that stay.
local ours, names = ...

local error, pcall, xpcall, type = error, pcall, xpcall, type
local rawget, rawset, next, select = rawget, rawset, next, select
local getmetatable, setmetatable, loadstring, load = getmetatable, setmetatable, loadstring, load
local resume, collectgarbage, tostring = coroutine.resume, collectgarbage, tostring
local insert, byte = table.insert, string.byte
local caught, explain = ours.caught, ours.explain

local READONLY = "Attempt to modify a readonly table"

-- From the table that a script holds to what it stands for.
local behind = {}

-- A table that looks up what `real` has, and takes nothing. `shown` is its metatable to scripts.
local function guarded(real, shown)
    local mt = {
        __index = real,
        __newindex = function() error(READONLY, 2) end,
        __metatable = shown or false,
    }
    local front = setmetatable({}, mt)
    behind[front] = real
    return front, mt
end

local function copy(of)
    local out = {}
    for k, v in next, of do out[k] = v end
    return out
end

-- What the native functions say of an argument that is no table, where our own would be named.
local function table_wanted(name, n, ...)
    local got = n == 0 and "no value" or type((...))
    error("bad argument #1 to '" .. name .. "' (table expected, got " .. got .. ")", 3)
end

local base = {}
for _, name in next, names do base[name] = _G[name] end

function base.rawset(...)
    local t = ...
    if t ~= nil and behind[t] then error(READONLY, 0) end
    if type(t) ~= "table" then table_wanted("rawset", select("#", ...), ...) end
    return rawset(...)
end

function base.setmetatable(...)
    local t = ...
    if t ~= nil and behind[t] then error(READONLY, 0) end
    if type(t) ~= "table" then table_wanted("setmetatable", select("#", ...), ...) end
    local mt = select(2, ...)
    if select("#", ...) < 2 or mt ~= nil and type(mt) ~= "table" then
        error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
    end
    return setmetatable(...)
end

function base.getmetatable(...)
    return getmetatable(...) or nil
end

function base.rawget(...)
    local t, k = ...
    local real = t ~= nil and behind[t]
    if real then return rawget(real, k) end
    if type(t) ~= "table" then table_wanted("rawget", select("#", ...), ...) end
    return rawget(...)
end

function base.next(...)
    local t, k = ...
    local real = t ~= nil and behind[t]
    if real then return next(real, k) end
    if type(t) ~= "table" then table_wanted("next", select("#", ...), ...) end
    return next(...)
end

function base.pairs(...)
    local t = ...
    local real = t ~= nil and behind[t]
    if real then return next, copy(real), nil end
    if type(t) ~= "table" then table_wanted("pairs", select("#", ...), ...) end
    return next, t, nil
end

-- An error that is a table is its message to who catches it, as it was before Redis 7.
local function settle(ok, e, ...)
    if not ok then
        e = caught(e)
        if type(e) == "table" then
            local text = e.err
            if type(text) == "string" or type(text) == "number" then e = text end
        end
        return ok, e
    end
    return ok, e, ...
end

function base.pcall(...)
    return settle(pcall(...))
end

function base.xpcall(f, handler, ...)
    return xpcall(f, function(e) return handler(caught(e)) end)
end

-- Compiled code can do anything; whoever has some gets what the parser would say to it.
local function is_compiled(text)
    return type(text) == "string" and byte(text, 1) == 27
end
local COMPILED = "unexpected symbol near '<\\27>'"

function base.loadstring(...)
    if is_compiled((...)) then return nil, COMPILED end
    return loadstring(...)
end

function base.load(reader, name)
    local begun = false
    return load(function()
        local piece = reader()
        if not begun and is_compiled(piece) then error(COMPILED, 0) end
        begun = begun or type(piece) == "string" and piece ~= ""
        return piece
    end, name)
end

-- The collector stays on: a script may only ask it to work.
function base.collectgarbage(what, n)
    if what == nil or what == "collect" or what == "count" or what == "step" then
        return collectgarbage(what, n)
    end
    if what == "stop" or what == "restart" or what == "setpause" or what == "setstepmul" then return 0 end
    return collectgarbage(what)
end

base.coroutine = copy(coroutine)
local function settle_resumed(ok, e, ...)
    if not ok then return ok, caught(e) end
    return ok, e, ...
end
function base.coroutine.resume(...)
    return settle_resumed(resume(...))
end

base.table = copy(table)
-- A guarded table is empty, to what looks at it itself: only this one would write to it.
function base.table.insert(...)
    local t = ...
    if t ~= nil and behind[t] then error(READONLY, 0) end
    if type(t) ~= "table" then table_wanted("insert", select("#", ...), ...) end
    return insert(...)
end

base.string = copy(string)
base.math = copy(math)
base.math.random, base.math.randomseed = ours.random, ours.randomseed
for _, name in next, { "cjson", "cmsgpack", "struct", "bit", "redis" } do base[name] = ours[name] end

-- A metatable that has nothing but an error for what is not there.
local function strict(real)
    local mt = {
        __index = function(_, name)
            error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
        end,
    }
    setmetatable(real, mt)
    return guarded(copy(mt))
end

for name, value in next, base do
    if type(value) == "table" then base[name] = guarded(value) end
end
local strings = getmetatable("")
strings.__index = behind[base.string]
strings.__metatable = guarded({ __index = base.string })

local shown = strict(base)
local globals, mt = guarded(base, shown)
base._G = globals

-- While a library is loaded there is nothing but the part of `redis` that registers functions.
local loading = {}
if ours.loading then
    strict(ours.loading)
    loading.redis = guarded(ours.loading)
    strict(loading)
end

local function run(f, keys, argv)
    base.KEYS, base.ARGV = keys, argv
    return xpcall(f, explain)
end

local function call(f, keys, argv)
    return xpcall(function() return f(keys, argv) end, explain)
end

local function register(f)
    mt.__index = loading
    local ok, e = xpcall(f, explain)
    mt.__index = base
    return ok, e
end

return globals, run, call, register
