//! Saves of shards without a disk: the tests take the files' orders and say what became of them.

use super::*;
use crate::persist::rdb::{Item, Reader};
use crate::session::Door;
use crate::shard::tests::{Client, Rig};
use crate::value::{Limits, Object};
use std::collections::BTreeMap;

/// A disk that does as it is told.
#[derive(Default)]
struct Disk {
    files: BTreeMap<(usize, u64), (FilePlan, Vec<u8>)>,
    /// It takes nothing.
    stuck: bool,
    done: Vec<Vec<u8>>,
}

impl Disk {
    /// One turn of shard `i`, and of the disk after it.
    fn turn(&mut self, rig: &mut Rig, i: usize) {
        rig.now.unix_us += 100;
        let now = rig.now;
        let shard = &mut rig.shards[i];
        shard.chores(now);
        for (id, order) in shard.take_file_orders() {
            match order {
                FileOrder::Begin(plan) => _ = self.files.insert((i, id), (plan, Vec::new())),
                FileOrder::Chunk(chunk) => {
                    let (_, bytes) = self.files.get_mut(&(i, id)).expect("a file that was begun");
                    bytes.extend_from_slice(&chunk);
                    if !self.stuck {
                        shard.file_written(id, bytes.len() as u64);
                    }
                }
                FileOrder::Finish => {
                    let (plan, mut bytes) = self.files.remove(&(i, id)).expect("a file that was begun");
                    if !matches!(plan.seal, Seal::Nothing) {
                        let sum = plan.seal.sum(0, &bytes);
                        bytes.extend_from_slice(&sum.to_le_bytes());
                    }
                    self.done.push(bytes);
                    shard.file_ended(id, Ok(()), now);
                }
                FileOrder::Drop => _ = self.files.remove(&(i, id)),
            }
        }
    }

    fn until_done(&mut self, rig: &mut Rig, files: usize) {
        for _ in 0..100_000 {
            if self.done.len() == files {
                return;
            }
            (0..rig.shards.len()).for_each(|i| self.turn(rig, i));
        }
        panic!("no save ends");
    }
}

/// What a file says of strings, and how long lists are.
fn read(file: &[u8]) -> BTreeMap<(usize, String), String> {
    let mut reader = Reader::new(file.len() as u64, true);
    reader.feed(file);
    let mut keys = BTreeMap::new();
    loop {
        match reader.next(&Limits::default(), 1000).expect("a sound file") {
            Item::Key(key) => {
                let value = match &key.value {
                    Object::Str(text) => String::from_utf8_lossy(text).into_owned(),
                    Object::List(list) => format!("list of {}", list.len()),
                    other => format!("{other:?}"),
                };
                let before = keys.insert((key.db, String::from_utf8_lossy(&key.key).into_owned()), value);
                assert!(before.is_none(), "a key comes once");
            }
            Item::End => return keys,
            Item::Feed(_) => panic!("the file is cut off"),
            _ => {}
        }
    }
}

fn rig(shards: usize) -> (Rig, Client) {
    let mut rig = Rig::new(shards, false);
    let client = rig.connect(0, Door::Front);
    assert_eq!(rig.run(client, "CONFIG SET save \"\""), "+OK|");
    (rig, client)
}

fn field(rig: &mut Rig, client: Client, name: &str) -> String {
    let info = rig.run(client, "INFO persistence");
    let line = info.split('|').find_map(|l| l.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name} in {info}"))
}

#[test]
fn a_save_holds_what_was_there_when_it_began() {
    let (mut rig, client) = rig(1);
    let mut disk = Disk::default();
    for i in 0..2000 {
        rig.run(client, &format!("SET k{i} old"));
    }
    rig.check(client, &[("RPUSH list a b", ":2|"), ("SELECT 3", "+OK|"), ("SET other 3", "+OK|")]);
    rig.check(client, &[("SELECT 0", "+OK|"), ("BGSAVE what", "-ERR syntax error|")]);
    rig.check(client, &[("BGSAVE", "+Background saving started|")]);
    assert_eq!(field(&mut rig, client, "rdb_bgsave_in_progress"), "1");
    rig.check(client, &[("BGSAVE SCHEDULE", "-ERR Background save already in progress|")]);
    let busy = "-ERR Background save already in progress|";
    for i in 0..2000 {
        rig.run(client, &format!("SET k{i} new"));
        rig.run(client, &format!("SET later{i} x"));
        if i % 100 == 0 {
            disk.turn(&mut rig, 0);
            if disk.done.is_empty() {
                rig.check(client, &[("BGSAVE", busy)]);
            }
        }
    }
    rig.check(client, &[("RPUSH list c", ":3|"), ("SWAPDB 0 3", "+OK|"), ("DEL other", ":1|")]);
    disk.until_done(&mut rig, 1);
    let mut wanted: BTreeMap<_, _> = (0..2000).map(|i| ((0, format!("k{i}")), "old".to_owned())).collect();
    wanted.insert((0, "list".into()), "list of 2".into());
    wanted.insert((3, "other".into()), "3".into());
    assert_eq!(read(&disk.done[0]), wanted);
    assert_eq!(field(&mut rig, client, "rdb_bgsave_in_progress"), "0");
    assert_eq!(field(&mut rig, client, "rdb_saves"), "1");
    // what came after it is not saved
    assert_eq!(field(&mut rig, client, "rdb_changes_since_last_save"), "4003");
}

#[test]
fn who_changes_a_large_value_waits_for_it_and_nobody_else_does() {
    for shards in [1, 2] {
        let (mut rig, client) = rig(shards);
        let mut disk = Disk::default();
        let big = "x".repeat(4 * 1024 * 1024);
        rig.check(client, &[(&format!("SET big {big}"), "+OK|"), ("SET small a", "+OK|")]);
        assert_eq!(rig.run(client, "BGSAVE"), "+Background saving started|");
        let others: Vec<Client> = (0..shards).map(|i| rig.connect(i, Door::Front)).collect();
        for &other in &others {
            assert_eq!(rig.run(other, "APPEND big y"), "", "it waits");
        }
        let free = rig.connect(0, Door::Front);
        // what a sibling sends is executed in order, so there it waits, too
        if shards == 1 {
            rig.check(free, &[("APPEND small b", ":2|"), ("STRLEN big", ":4194304|")]);
        }
        let mut turns = 0;
        let mut replies = vec![String::new(); shards];
        while replies.iter().any(String::is_empty) {
            (0..shards).for_each(|i| disk.turn(&mut rig, i));
            rig.tick();
            for (&other, reply) in others.iter().zip(&mut replies) {
                reply.push_str(&rig.output(other));
            }
            turns += 1;
            assert!(turns < 10_000, "they go on");
        }
        assert!(turns > 4 * 1024 * 1024 / SNAPSHOT_STEP_BYTES / 2, "in pieces, {turns}");
        replies.sort();
        let mut wanted: Vec<String> = (1..=shards).map(|i| format!(":{}\r\n", 4_194_304 + i)).collect();
        wanted.sort();
        assert_eq!(replies, wanted);
        disk.until_done(&mut rig, shards);
        let all: BTreeMap<_, _> = disk.done.iter().flat_map(|file| read(file)).collect();
        assert_eq!(all[&(0, "big".into())].len(), big.len());
        assert_eq!(all[&(0, "small".into())], "a");
    }
}

/// Fills a shard so that its snapshot is larger than what may wait.
fn fill(rig: &mut Rig, client: Client) -> usize {
    let value = "v".repeat(900);
    let keys = 2 * SNAPSHOT_BACKLOG / 900;
    rig.run(client, "CONFIG SET rdbcompression no");
    let mut batch = String::new();
    for i in 0..keys {
        batch.push_str(&format!("SET k{i} {value}\r\n"));
    }
    rig.send(client, batch.as_bytes());
    keys
}

#[test]
fn writers_wait_for_a_slow_disk_and_not_for_ever() {
    let (mut rig, client) = rig(1);
    let keys = fill(&mut rig, client);
    rig.check(client, &[("CONFIG SET save \"3600 100000000\"", "+OK|")]);
    let mut disk = Disk { stuck: true, ..Disk::default() };
    rig.check(client, &[("BGSAVE", "+Background saving started|")]);
    let mut written = 0;
    while written < keys && rig.run(client, &format!("SET k{written} new")) == "+OK|" {
        written += 1;
        disk.turn(&mut rig, 0);
    }
    assert!(written > 1000 && written < keys, "{written} of {keys}");
    let reader = rig.connect(0, Door::Front);
    rig.check(reader, &[("GET k0", "$3|new|")]);
    // the disk goes on, and so does the client that waits
    disk.stuck = false;
    let sent: Vec<(u64, u64)> = disk.files.iter().map(|(&(_, id), f)| (id, f.1.len() as u64)).collect();
    sent.iter().for_each(|&(id, bytes)| rig.shards[0].file_written(id, bytes));
    let mut reply = String::new();
    while reply.is_empty() {
        disk.turn(&mut rig, 0);
        rig.tick();
        reply = rig.output(client);
    }
    assert_eq!(reply, "+OK\r\n");
    disk.until_done(&mut rig, 1);
    assert_eq!(read(&disk.done[0]).len(), keys);

    // and once more with a disk that never goes on
    disk.stuck = true;
    rig.check(client, &[("BGSAVE", "+Background saving started|")]);
    for _ in 0..10_000 {
        disk.turn(&mut rig, 0);
    }
    rig.pass_ms(SNAPSHOT_PATIENCE_MS + 1);
    disk.turn(&mut rig, 0);
    rig.tick();
    assert!(disk.files.is_empty() && disk.done.len() == 1);
    assert_eq!(field(&mut rig, client, "rdb_last_bgsave_status"), "err");
    assert!(
        rig.run(client, "SET k0 x").starts_with("-MISCONF Redis is configured to save RDB snapshots, but")
    );
    assert!(rig.run(client, "PING").starts_with("-MISCONF"));
    rig.check(client, &[("GET k0", "$3|new|")]);
    // what was walked in vain is no hindrance to the next
    disk.stuck = false;
    rig.check(client, &[("BGSAVE", "+Background saving started|")]);
    disk.until_done(&mut rig, 2);
    rig.tick();
    assert_eq!(read(&disk.done[1]).len(), keys);
    rig.check(client, &[("SET k0 x", "+OK|"), ("PING", "+PONG|")]);
}

#[test]
fn save_points_are_kept_by_the_host_as_one_server() {
    for shards in [1, 3] {
        let (mut rig, client) = rig(shards);
        let mut disk = Disk::default();
        rig.check(client, &[("CONFIG SET save \"60 10 5 1000\"", "+OK|")]);
        for i in 0..9 {
            rig.run(client, &format!("SET k{i} v"));
        }
        rig.pass_ms(61_000);
        rig.tick();
        assert_eq!(field(&mut rig, client, "rdb_bgsave_in_progress"), "0");
        rig.check(client, &[("SET k9 v", "+OK|")]);
        (0..3).for_each(|_| rig.tick());
        disk.until_done(&mut rig, shards);
        let all: BTreeMap<_, _> = disk.done.iter().flat_map(|file| read(file)).collect();
        assert_eq!(all.len(), 10);
        assert_eq!(field(&mut rig, client, "rdb_changes_since_last_save"), "0");
        rig.pass_ms(61_000);
        rig.tick();
        assert_eq!(field(&mut rig, client, "rdb_bgsave_in_progress"), "0");
    }
}

#[test]
fn a_flush_ends_a_save_and_keeps_nothing() {
    let (mut rig, client) = rig(1);
    let mut disk = Disk::default();
    for i in 0..3000 {
        rig.run(client, &format!("SET k{i} v"));
    }
    rig.check(client, &[("BGSAVE", "+Background saving started|")]);
    disk.turn(&mut rig, 0);
    rig.check(client, &[("CONFIG SET save \"3600 1\"", "+OK|"), ("FLUSHALL", "+OK|")]);
    assert_eq!(field(&mut rig, client, "rdb_changes_since_last_save"), "0");
    disk.until_done(&mut rig, 1);
    assert!(read(&disk.done[0]).is_empty() && disk.files.is_empty());
    assert_eq!(field(&mut rig, client, "rdb_last_bgsave_status"), "ok");
}
