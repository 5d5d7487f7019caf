//! The architecture as a test: floors, absences, lengths. See `src/lib.rs` for what they mean.

mod tidy_rules;

use std::path::{Path, PathBuf};

use tidy_rules::source::Source;
use tidy_rules::{bans, families, floors, lengths, stubs, unsafety};

/// Files (`path`) and functions (`path::function`) that may be longer than the rest, and how long.
/// A figure here only ever goes down.
const ALLOWANCES: &[(&str, usize)] = &[];

fn tree() -> Vec<Source> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches"] {
        collect(&root, &root.join(folder), &mut found);
    }
    assert!(found.iter().any(|source| source.path == "src/lib.rs"), "the tree was not found");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let relative = path.strip_prefix(root).expect("a path below the root");
            found.push(Source::new(&relative.to_string_lossy().replace('\\', "/"), &text));
        }
    }
}

fn sources() -> Vec<Source> {
    tree().into_iter().filter(|source| source.path.starts_with("src/")).collect()
}

fn check(sources: &[Source], rule: fn(&Source) -> Vec<String>) {
    let wrong: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_use_lower_floors_only() {
    check(&sources(), floors);
}

#[test]
fn command_families_are_strangers() {
    check(&sources(), families);
}

#[test]
fn nothing_below_net_touches_the_world() {
    check(&sources(), bans);
}

#[test]
fn unsafe_stays_where_it_belongs() {
    check(&sources(), unsafety);
}

#[test]
fn nothing_is_left_for_later() {
    check(&tree(), stubs);
}

#[test]
fn files_and_functions_are_short() {
    let wrong = lengths(&tree(), ALLOWANCES);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Each rule on an example that breaks it and on one that does not.
mod the_checker {
    use super::*;

    fn wrong(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&Source::new(path, text)).len()
    }

    #[test]
    fn sees_imports_that_go_up_or_sideways() {
        assert_eq!(wrong(floors, "src/store/mod.rs", "use crate::value::Value;"), 0);
        assert_eq!(wrong(floors, "src/store/mod.rs", "use crate::command::ctx;"), 1);
        assert_eq!(wrong(floors, "src/store/mod.rs", "use crate::persist;\nuse crate::cluster::x;"), 2);
        assert_eq!(wrong(floors, "src/store/mod.rs", "use crate::{slot, shard::{mail, Shard}};"), 2);
        assert_eq!(wrong(floors, "src/store/mod.rs", "fn f() { crate::net::send(1) }"), 1);
        assert_eq!(wrong(floors, "src/store/a/b.rs", "use super::super::super::session::Gate;"), 1);
        assert_eq!(wrong(floors, "src/store/a.rs", "use super::table;\nuse super::super::slot;"), 0);
        assert_eq!(wrong(floors, "src/store/a.rs", "mod tests { use super::*; use super::super::b; }"), 0);
        assert_eq!(wrong(floors, "src/slot.rs", "mod tests { use super::*; }"), 0);
        assert_eq!(wrong(floors, "src/util/num.rs", "use crate::slot::Slot;"), 1);
        assert_eq!(wrong(floors, "src/resp/mod.rs", "use crate::attic::x;"), 1);
        assert_eq!(wrong(floors, "src/attic.rs", ""), 1);
        assert_eq!(wrong(floors, "src/net/conn.rs", "use crate::shard; // crate::server::x"), 0);
        assert_eq!(wrong(floors, "src/main.rs", "use shoal::net; use shoal::server;"), 0);
        assert_eq!(wrong(floors, "src/server.rs", "use crate::main::x;"), 1);
        assert_eq!(wrong(floors, "src/server.rs", "const A: &str = \"crate::main::x\"; use crate::net;"), 0);
    }

    #[test]
    fn sees_families_that_meet() {
        assert_eq!(wrong(families, "src/command/hash.rs", "use super::{ctx::Ctx, error, spec};"), 0);
        assert_eq!(wrong(families, "src/command/hash.rs", "use super::set::members;"), 1);
        assert_eq!(wrong(families, "src/command/hash.rs", "use crate::command::string;"), 1);
        assert_eq!(
            wrong(families, "src/command/hash/scan.rs", "use super::fields; use super::super::set;"),
            1
        );
        assert_eq!(wrong(families, "src/command/table.rs", "use super::{hash, set};"), 0);
        assert_eq!(wrong(families, "src/command/info.rs", "use super::table::TABLE;"), 0);
        assert_eq!(wrong(families, "src/command/ctx.rs", "use super::hash; use super::table;"), 2);
    }

    #[test]
    fn sees_the_world_below_net() {
        for text in [
            "fn f() { let t = std::time::Instant::now(); }",
            "use std::time::SystemTime;",
            "use std::net::TcpStream;",
            "use std::{fs, mem};",
            "use std::thread;",
            "fn f() { tokio::spawn(g()); }",
            "async fn f() {}",
            "fn f() { g().await; }",
            "use rand::Rng;",
            "use std::collections::hash_map::RandomState;",
            "use crossbeam::channel;",
            "use glommio::Task;",
            "use io_uring::IoUring;",
        ] {
            assert_eq!(wrong(bans, "src/shard/mod.rs", text), 1, "{text}");
            assert_eq!(wrong(bans, "src/net/mod.rs", text), 0, "{text}");
            let tested = format!("#[cfg(test)]\nmod tests {{ {text} }}");
            assert_eq!(wrong(bans, "src/shard/mod.rs", &tested), 0, "{tested}");
        }
        assert_eq!(
            wrong(bans, "src/shard/mod.rs", "// async\nuse std::time::Duration; use core::net::IpAddr;"),
            0
        );
    }

    #[test]
    fn sees_unsafe_code() {
        assert_eq!(wrong(unsafety, "src/shard/mod.rs", "fn f() { unsafe { g() } }"), 1);
        assert_eq!(wrong(unsafety, "src/shard/mod.rs", "// unsafe\nconst A: &str = \"unsafe\";"), 0);
        assert_eq!(wrong(unsafety, "src/store/entry.rs", "unsafe fn f() {}"), 0);
        assert_eq!(wrong(unsafety, "src/net/ring/mod.rs", "unsafe fn f() {}"), 0);
        assert_eq!(wrong(unsafety, "src/net/conn.rs", "unsafe fn f() {}"), 1);
    }

    #[test]
    fn sees_stubs() {
        for text in ["fn f() { todo!() }", "fn f() { unimplemented!() }", "fn f() { dbg!(1); }"] {
            assert_eq!(wrong(stubs, "src/net/mod.rs", text), 1, "{text}");
        }
        assert_eq!(wrong(stubs, "tests/a.rs", "#[test]\n#[ignore]\nfn f() {}"), 1);
        assert_eq!(wrong(stubs, "tests/a.rs", "#[ignore = \"slow\"] fn f() {}"), 1);
        assert_eq!(wrong(stubs, "src/net/mod.rs", "// todo!()\nfn todo() {}"), 0);
    }

    #[test]
    fn sees_length_and_allowances_that_are_too_large() {
        let long = Source::new("src/a.rs", &format!("fn f() {{\n{}}}\n", "    g();\n".repeat(70)));
        let long = std::slice::from_ref(&long);
        assert_eq!(lengths(long, &[]).len(), 1);
        assert_eq!(lengths(long, &[("src/a.rs::f", 72)]).len(), 0);
        assert_eq!(lengths(long, &[("src/a.rs::f", 71)]).len(), 1);
        assert_eq!(lengths(long, &[("src/a.rs::f", 80)]).len(), 1);
        assert_eq!(lengths(long, &[("src/a.rs::f", 72), ("src/b.rs", 2000)]).len(), 1);
        let file = Source::new("src/a.rs", &"\n".repeat(1001));
        let file = std::slice::from_ref(&file);
        assert_eq!(lengths(file, &[]).len(), 1);
        assert_eq!(lengths(file, &[("src/a.rs", 1001)]).len(), 0);
    }
}
