//! Every file of `tests/commands` is played to the real redis-server and to Shoal, in each shape
//! in which Shoal can be met, and every reply is compared byte for byte.
//!
//! `SHOAL_TRANSCRIPT=zset` plays only the files whose name contains it; `SHOAL_DIFFS=N` prints up
//! to N differences a file.

mod common;
mod transcript;

use std::path::PathBuf;

use common::server::{Server, Shape, stand_in};
use transcript::play::Player;
use transcript::script::Script;

const MODES: [&str; 4] = ["standalone", "own", "front", "sharded"];

#[test]
fn standalone() {
    play_all("standalone", Shape::Standalone(1), Shape::Standalone(1), |server| server.port());
}

/// A shard's own port speaks as a node of Redis Cluster that owns every slot.
#[test]
fn own_port() {
    play_all("own", Shape::Node, Shape::Host(1), |server| server.own_port(0));
}

/// Through the front door, shards are not to be seen: multi-key commands take any keys.
#[test]
fn front_door() {
    play_all("front", Shape::Standalone(1), Shape::Host(2), Server::port);
}

/// One standalone server to its clients, over two shards.
#[test]
fn sharded() {
    play_all("sharded", Shape::Standalone(1), Shape::Standalone(2), Server::port);
}

fn play_all(mode: &str, theirs: Shape, ours: Shape, port: impl Fn(&Server) -> u16) {
    if stand_in() && matches!((theirs, ours), (Shape::Standalone(_), Shape::Host(_))) {
        // the stand-in has no front door
        return;
    }
    let reference = Server::redis(theirs);
    let server = Server::shoal(ours, &[]);
    let mut player = Player::new(reference.port(), port(&server));
    let mut report = Vec::new();
    for (name, script) in scripts() {
        if script.plays_in(mode) {
            player.play(&format!("tests/commands/{name}"), &script);
            report.extend(shorten(&name, std::mem::take(&mut player.differences)));
        }
    }
    println!("{mode}: {} replies compared", player.compared);
    assert!(report.is_empty(), "in mode {mode}:\n{}", report.join("\n"));
    assert!(player.compared > 0 || filter().is_some(), "nothing was compared in mode {mode}");
}

fn shorten(name: &str, mut differences: Vec<String>) -> Vec<String> {
    let most = std::env::var("SHOAL_DIFFS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let all = differences.len();
    if all > most {
        differences.truncate(most);
        differences.push(format!("{name}: {} differences more (SHOAL_DIFFS=N shows N)", all - most));
    }
    differences
}

fn filter() -> Option<String> {
    std::env::var("SHOAL_TRANSCRIPT").ok()
}

fn scripts() -> Vec<(String, Script)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/commands");
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.retain(|name| name.ends_with(".resp") && filter().is_none_or(|part| name.contains(&part)));
    let load = |name: String| {
        let text = std::fs::read_to_string(dir.join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let script = Script::parse(&text).unwrap_or_else(|why| panic!("tests/commands/{name}:{why}"));
        (name, script)
    };
    names.into_iter().map(load).collect()
}

#[test]
fn every_file_parses_and_names_known_modes() {
    let scripts = scripts();
    assert!(!scripts.is_empty());
    for (name, script) in scripts {
        assert!(!script.steps.is_empty(), "{name} is empty");
        for mode in &script.modes {
            assert!(MODES.contains(&mode.as_str()), "{name}: unknown mode {mode}");
        }
    }
}
