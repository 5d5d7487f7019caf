//! The rules of the house, each a function from a file to what is wrong with it.

pub mod source;

use source::{Named, Source};

/// Floors of the rooms. A file may import lower floors and its own room, never upwards or
/// sideways. A name that stands for a file and a name that stands for a folder are alike here.
pub const FLOORS: &[(u8, &[&str])] = &[
    (7, &["main", "server"]),
    (6, &["net"]),
    (5, &["shard"]),
    (4, &["session"]),
    (3, &["command"]),
    (2, &["store", "persist", "cluster", "repl", "migrate", "script"]),
    (1, &["resp", "value", "config", "acl"]),
    (0, &["slot", "metrics", "limits", "util"]),
];

/// Files of `command/` that are no family: every family may use them.
pub const COMMAND_SHARED: &[&str] = &[
    "mod",
    "ctx",
    "spec",
    "acl",
    "error",
    "host",
    "help",
    "testing",
    "collection",
    "text",
    "sampling",
    "rdb",
    "blocking",
];
/// Files of `command/` that may use the families.
pub const COMMAND_OVERVIEW: &[&str] = &["mod", "table", "testing"];
/// Neighbours on one floor that may meet all the same.
pub const NEIGHBOURS: &[(&str, &str)] = &[("main", "server")];

/// Where `unsafe` may stand.
pub const UNSAFE_ROOMS: &[&str] = &["src/store/", "src/net/ring/", "src/net/ring.rs"];
/// And where else, with the reason.
pub const UNSAFE_ELSEWHERE: &[(&str, &str)] = &[
    ("src/net/heap.rs", "GlobalAlloc is an unsafe trait, and the allocator books every allocation"),
    ("src/net/baton.rs", "a shard is run by one thread after another, and an atomic says by which"),
    ("src/net/clock.rs", "reading the time stamp counter is an intrinsic of the processor"),
];

/// What files below `net/` must not name, and what is used there in its place.
pub const BANNED_BELOW_NET: &[(&[&str], &str)] = &[
    (&["Instant", "::", "now"], "time is an argument"),
    (&["SystemTime"], "time is an argument"),
    (&["std", "::", "net"], "sockets live in net/; addresses as such are in core::net"),
    (&["std", "::", "fs"], "files live in net/disk"),
    (&["std", "::", "thread"], "threads are planned in server.rs"),
    (&["thread", "::", "spawn"], "threads are planned in server.rs"),
    (&["tokio", "::"], "there is one executor, in net/"),
    (&["async"], "below net/ everything is synchronous"),
    (&[".", "await"], "below net/ everything is synchronous"),
    (&["rand", "::"], "random things take a seed: util::rng"),
    (&["thread_rng"], "random things take a seed: util::rng"),
    (&["RandomState"], "random things take a seed: util::rng"),
    (&["crossbeam", "::"], "channels live in net/"),
    (&["glommio", "::"], "glommio lives in net/"),
    (&["io_uring", "::"], "io_uring lives in net/"),
];

/// What no file may hold.
pub const STUBS: &[&[&str]] =
    &[&["todo", "!"], &["unimplemented", "!"], &["dbg", "!"], &["#", "[", "ignore"]];

pub const FILE_LINES: usize = 1000;
pub const FUNCTION_LINES: usize = 70;

/// The floor of a room; `None` when the table does not know it.
pub fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

/// The modules that a file stands in: `src/a/b.rs` and `src/a/b/mod.rs` are `[a, b]`.
pub fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// The path from the crate's root, when it names something of this crate.
fn absolute(module: &[String], named: &Named) -> Option<Vec<String>> {
    let supers = named.segments.iter().take_while(|s| *s == "super").count();
    match named.segments[0].as_str() {
        "crate" | "shoal" => Some(named.segments[1..].to_vec()),
        "super" => {
            // inside inline modules, the first `super`s lead to the file itself
            let up = supers.saturating_sub(named.depth);
            let base = &module[..module.len().saturating_sub(up)];
            Some(base.iter().chain(&named.segments[supers..]).cloned().collect())
        }
        _ => None,
    }
}

pub fn floors(source: &Source) -> Vec<String> {
    let module = module_of(&source.path);
    let Some(room) = module.first() else { return Vec::new() };
    let Some(own) = floor(room) else {
        return vec![format!("{}: the floors do not know {room}", source.path)];
    };
    let mut wrong = Vec::new();
    for named in source.paths() {
        let Some(target) = absolute(&module, &named) else { continue };
        let Some(there) = target.first().filter(|there| *there != room && *there != "*") else { continue };
        let at = format!("{}:{}", source.path, named.line);
        match floor(there) {
            Some(theirs) if theirs < own => {}
            Some(_) if NEIGHBOURS.contains(&(room.as_str(), there.as_str())) => {}
            Some(theirs) => wrong.push(format!("{at}: {room} [{own}] must not use {there} [{theirs}]")),
            // an item of lib.rs or main.rs itself
            None if there.starts_with(char::is_uppercase) => {}
            None => wrong.push(format!("{at}: the floors do not know {there}")),
        }
    }
    wrong
}

pub fn families(source: &Source) -> Vec<String> {
    let module = module_of(&source.path);
    if module.first().is_none_or(|room| room != "command") {
        return Vec::new();
    }
    let own = module.get(1).map_or("mod", String::as_str);
    if COMMAND_OVERVIEW.contains(&own) {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for named in source.paths() {
        let Some(target) = absolute(&module, &named) else { continue };
        let (Some("command"), Some(family)) = (target.first().map(String::as_str), target.get(1)) else {
            continue;
        };
        let item = family.starts_with(|c: char| c.is_uppercase() || c == '*');
        let table = family == "table" && !COMMAND_SHARED.contains(&own);
        if family != own && !item && !table && !COMMAND_SHARED.contains(&family.as_str()) {
            wrong.push(format!("{}:{}: {own} must not use {family}", source.path, named.line));
        }
    }
    wrong
}

/// Whether the file is in a room under `net/`.
fn below_net(path: &str) -> bool {
    let room = module_of(path).first().and_then(|room| floor(room));
    path.starts_with("src/") && room.is_some_and(|floor| floor < 6)
}

/// Whether all of the file is test code.
fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

pub fn bans(source: &Source) -> Vec<String> {
    if !below_net(&source.path) || is_test_file(&source.path) {
        return Vec::new();
    }
    let code = source.without_tests();
    let mut wrong = Vec::new();
    for (tokens, why) in BANNED_BELOW_NET {
        let mut lines = code.find(tokens);
        // `use std::{fs, net}` names `std::fs` too
        let words: Vec<&str> = tokens.iter().filter(|t| **t != "::").copied().collect();
        let grouped =
            code.paths().into_iter().filter(|p| p.segments.windows(words.len()).any(|w| w == words));
        if words.len() > 1 && words.len() < tokens.len() {
            lines.extend(grouped.map(|p| p.line));
        }
        lines.sort_unstable();
        lines.dedup();
        for line in lines {
            wrong.push(format!("{}:{line}: {} below net/: {why}", source.path, tokens.concat()));
        }
    }
    wrong
}

pub fn unsafety(source: &Source) -> Vec<String> {
    let allowed = UNSAFE_ROOMS.iter().any(|room| source.path.starts_with(room))
        || UNSAFE_ELSEWHERE.iter().any(|(path, _)| *path == source.path);
    if allowed || !source.path.starts_with("src/") {
        return Vec::new();
    }
    let lines = source.find(&["unsafe"]);
    lines.iter().map(|line| format!("{}:{line}: unsafe has no place here", source.path)).collect()
}

pub fn stubs(source: &Source) -> Vec<String> {
    let found = STUBS.iter().flat_map(|stub| source.find(stub).into_iter().map(move |line| (line, stub)));
    found.map(|(line, stub)| format!("{}:{line}: {} is not to stay", source.path, stub.concat())).collect()
}

/// Files and functions that are longer than they may be, and allowances larger than needed.
/// An allowance's key is a path, or `path::function`.
pub fn lengths(sources: &[Source], allowances: &[(&str, usize)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut used = vec![0; allowances.len()];
    let mut check = |key: String, at: String, length: usize, limit: usize| {
        if length <= limit {
            return;
        }
        match allowances.iter().position(|(allowed, _)| *allowed == key) {
            Some(index) => used[index] = used[index].max(length),
            None => wrong.push(format!("{at}: {length} lines, more than {limit}; it is probably two things")),
        }
    };
    for source in sources {
        check(source.path.clone(), source.path.clone(), source.lines, FILE_LINES);
        for function in source.functions() {
            let at = format!("{}:{} {}", source.path, function.line, function.name);
            check(format!("{}::{}", source.path, function.name), at, function.length, FUNCTION_LINES);
        }
    }
    for ((key, allowed), used) in allowances.iter().zip(used) {
        match used {
            0 => wrong.push(format!("{key} needs its allowance no more: take it away")),
            n if n > *allowed => wrong.push(format!("{key}: {n} lines, more than its {allowed}")),
            n if n < *allowed => wrong.push(format!("{key} has shrunk to {n}: lower its allowance")),
            _ => {}
        }
    }
    wrong
}
