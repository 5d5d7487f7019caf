//! Disks that fail under a running host: a full one, folders that may not be written to, and each step towards
//! the disk that fails in turn. Writes are refused as redis-server refuses them, nothing on the disk is spoilt,
//! and all goes on when there is room again.

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::client::Client;
use common::host::{Host, START, fill};
use common::server::{read_log, run, shoal_bin};
use common::wait_for;

const ONE: &str = "--cluster-enabled no --shards 1";
const THREE: &str = "--cluster-enabled no --shards 3";
const STRICT: &str = "--appendfsync always";

fn see(client: &mut Client, field: &str) {
    let text = |client: &mut Client| client.cmd("INFO persistence").text();
    let seen = wait_for(START, || text(client).contains(field).then_some(()));
    assert!(seen.is_some(), "never {field}: {}", text(client));
}

/// The bound on the size of files of a running process: the disk is full, and has room again.
fn allow_file_bytes(host: &Host, bytes: u64) {
    let pid = host.pid().to_string();
    let done = run(Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]));
    assert!(done.status.success(), "prlimit (util-linux): {}", String::from_utf8_lossy(&done.stderr));
}

/// Writes are refused on a full disk, whichever shard they are for, and go on when there is room.
#[test]
fn a_full_disk_stops_writes_until_there_is_room() {
    const FULL: &str = "MISCONF Errors writing to the AOF file: ";
    let value = "x".repeat(1000);
    for shape in [ONE, THREE] {
        let mut host = Host::new();
        host.shoal(shape);
        let mut client = host.client();
        client.cmd("SET before 1");
        allow_file_bytes(&host, 16_384);
        let refused = wait_for(START, || {
            let reply = client.call(&["SET", "big", &value]).expect("a reply").text();
            reply.starts_with(FULL).then_some(())
        });
        assert!(refused.is_some(), "{shape}: writes go on though the disk is full");
        assert_eq!(client.cmd("GET before").text(), "1");
        for line in ["PING", "SET a 1", "SET b 1", "SET c 1"] {
            let refused = wait_for(START, || client.cmd(line).text().starts_with(FULL).then_some(()));
            assert!(refused.is_some(), "{shape}: {line}");
        }
        assert!(client.cmd("INFO persistence").text().contains("aof_last_write_status:err"));
        allow_file_bytes(&host, 1 << 30);
        let solved = wait_for(START, || (client.cmd("SET after 1").text() == "OK").then_some(()));
        assert!(solved.is_some(), "{}", read_log(&host.dir.0));
        assert!(read_log(&host.dir.0).contains("AOF write error looks solved, Redis can write again."));
        let want = host.digest();
        // a write may have waited for a sync
        std::thread::sleep(Duration::from_millis(500));
        see(&mut client, "aof_buffer_length:0");
        host.kill();
        host.check_logs("redis-check-aof");
        host.shoal(shape);
        assert_eq!(host.digest(), want, "{shape}");
    }
}

/// Under `always` there is no way back: what was promised would not be kept.
#[test]
fn a_full_disk_ends_a_host_that_syncs_each_write() {
    let mut host = Host::new();
    host.shoal(&format!("{ONE} {STRICT}"));
    let mut client = host.client();
    fill(&mut client, 5);
    let (want, value) = (host.digest(), "x".repeat(16_384));
    allow_file_bytes(&host, 16_384);
    let ended = wait_for(START, || client.call(&["SET", "big", &value]).is_err().then_some(()));
    assert!(ended.is_some(), "it goes on though it can't keep its promise");
    let said = read_log(&host.dir.0);
    assert!(
        said.contains("Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting..."),
        "{said}"
    );
    host.kill();
    host.shoal(ONE);
    host.check_logs("redis-check-aof");
    assert_eq!(host.digest(), want);
}

/// What stands in a file's way.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// It can't be opened, or take this name.
    Folder,
    /// It takes no byte.
    Full,
    /// It takes all, and can't be synced.
    Unsynced,
}

impl Way {
    fn block(self, path: &Path) {
        match self {
            Way::Folder => std::fs::create_dir(path),
            Way::Full => symlink("/dev/full", path),
            Way::Unsynced => symlink("/dev/null", path),
        }
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Whoever failed may have taken it away.
    fn clear(self, path: &Path) {
        let _ = match self {
            Way::Folder => std::fs::remove_dir(path),
            Way::Full | Way::Unsynced => std::fs::remove_file(path),
        };
    }
}

/// The number of the next file of this kind of the log.
fn next(host: &Host, kind: &str) -> u64 {
    let text = String::from_utf8(host.read("appendonly.aof.manifest")).expect("text");
    let of = text.lines().filter(|line| line.ends_with(kind));
    1 + of.filter_map(|line| line.split(' ').nth(3)?.parse().ok()).max().unwrap_or(0)
}

/// A save or a rewrite: its command, its fields in INFO.
type Job = (&'static str, &'static str, &'static str);
const BGSAVE: Job = ("BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status");
const REWRITE: Job = ("BGREWRITEAOF", "aof_rewrite_in_progress", "aof_last_bgrewrite_status");

fn begin(client: &mut Client, (command, ..): Job) {
    let said = client.cmd(command).text();
    assert!(said.contains("started"), "{command}: {said}");
}

fn see_end(client: &mut Client, (_, running, status): Job, how: &str) {
    see(client, &format!("{running}:0"));
    see(client, &format!("{status}:{how}"));
}

/// A job that fails because of what is in the way of `path`, from its beginning or when it is half done.
fn fail(host: &Host, job: Job, path: &Path, way: Way, late: bool) {
    let mut client = host.client();
    if !late {
        way.block(path);
        begin(&mut client, job);
    } else {
        client.cmd("CONFIG SET rdb-key-save-delay 1000");
        begin(&mut client, job);
        let said = || read_log(&host.dir.0).contains("Creating AOF incr file").then_some(());
        assert!(wait_for(START, said).is_some(), "{}", read_log(&host.dir.0));
        way.block(path);
        client.cmd("CONFIG SET rdb-key-save-delay 0");
    }
    see_end(&mut client, job, "err");
}

/// Each step of a save and of a rewrite fails in turn. The host serves on, is killed, comes back with all that it
/// had, and the same goes well then.
#[test]
fn every_step_towards_the_disk_may_fail() {
    use Way::{Folder, Full, Unsynced};
    type Place = fn(&Host) -> PathBuf;
    let draft: Place = |host| host.dir.0.join(format!("temp-rewriteaof-bg-{}.aof", host.pid()));
    let base: Place = |host| host.path(&format!("appendonly.aof.{}.base.rdb", next(host, "type b")));
    let incr: Place = |host| host.path(&format!("appendonly.aof.{}.incr.aof", next(host, "type i")));
    let manifest: Place = |host| host.path("temp-appendonly.aof.manifest");
    let save: Place = |host| host.dir.0.join(format!("temp-bgsave-{}.rdb", host.pid()));
    let dump: Place = |host| host.dir.0.join("dump.rdb");
    let mut host = Host::new();
    let shape = format!("{ONE} {STRICT}");
    host.shoal(&shape);
    fill(&mut host.client(), 30);
    for (job, place, way, late) in [
        // as long as there is none
        (BGSAVE, dump, Folder, false),
        (BGSAVE, save, Folder, false),
        (BGSAVE, save, Full, false),
        (BGSAVE, save, Unsynced, false),
        (REWRITE, draft, Folder, false),
        (REWRITE, draft, Full, false),
        (REWRITE, draft, Unsynced, false),
        (REWRITE, incr, Folder, false),
        (REWRITE, base, Folder, false),
        (REWRITE, manifest, Folder, false),
        (REWRITE, manifest, Full, false),
        (REWRITE, manifest, Unsynced, false),
        // when the manifest is to name the new base
        (REWRITE, manifest, Folder, true),
        (REWRITE, manifest, Full, true),
        (REWRITE, manifest, Unsynced, true),
    ] {
        let path = place(&host);
        let tried = format!("{job:?} {way:?} {}", path.display());
        fail(&host, job, &path, way, late);
        assert_eq!(host.client().cmd("APPEND more x").raw[0], b':', "{tried}: writes go on");
        let want = host.digest();
        host.kill();
        way.clear(&path);
        host.check_logs("redis-check-aof");
        host.shoal(&shape);
        assert_eq!(host.digest(), want, "{tried}");
        let mut client = host.client();
        begin(&mut client, job);
        see_end(&mut client, job, "ok");
        host.check_logs("redis-check-aof");
        client.cmd("APPEND more y");
    }
    let dump = host.dir.0.join("dump.rdb");
    assert!(run(Command::new("redis-check-rdb").arg(&dump)).status.success());
    let want = host.digest();
    host.kill();
    host.shoal(&shape);
    assert_eq!(host.digest(), want);
}

/// What a server says when it may write no new file in its directory, and when it may again.
fn in_a_closed_directory(program: &Path, shape: &str) -> Vec<String> {
    let mut host = Host::new();
    // root may write everywhere: this one may not
    let script = host.dir.0.join("start.sh");
    let text = format!(
        "#!/bin/sh\nif [ $(id -u) = 0 ]; then\n  exec setpriv --bounding-set=-dac_override,-dac_read_search {0} \"$@\"\nfi\n\
         exec {0} \"$@\"\n",
        program.display()
    );
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("its mode");
    host.start(&script, &format!("{shape} {STRICT}"));
    let mut client = host.client();
    fill(&mut client, 5);
    let folders = [host.dir.0.clone(), host.dir.0.join("appendonlydir")];
    let allow = |mode: u32| {
        folders
            .iter()
            .for_each(|f| std::fs::set_permissions(f, PermissionsExt::from_mode(mode)).expect("a mode"));
    };
    let mut said = Vec::new();
    allow(0o555);
    client.call(&["CONFIG", "SET", "save", "3600 1000000"]).expect("a reply");
    said.push(client.cmd("SAVE").text());
    let _ = client.cmd("BGSAVE");
    see(&mut client, "rdb_bgsave_in_progress:0");
    see(&mut client, "rdb_last_bgsave_status:err");
    for line in ["SET a 1", "GET s1", "PING", "DEL s1"] {
        said.push(client.cmd(line).text());
    }
    client.call(&["CONFIG", "SET", "save", ""]).expect("a reply");
    said.push(client.cmd("SET b 1").text());
    let _ = client.cmd("BGREWRITEAOF");
    see(&mut client, "aof_rewrite_scheduled:0");
    see(&mut client, "aof_rewrite_in_progress:0");
    see(&mut client, "aof_last_bgrewrite_status:err");
    said.push(client.cmd("SET c 1").text());
    allow(0o755);
    client.call(&["CONFIG", "SET", "save", "3600 1000000"]).expect("a reply");
    said.push(client.cmd("SAVE").text());
    said.push(client.cmd("SET d 1").text());
    let _ = client.cmd("BGREWRITEAOF");
    see(&mut client, "aof_rewrite_scheduled:0");
    see(&mut client, "aof_rewrite_in_progress:0");
    see(&mut client, "aof_last_bgrewrite_status:ok");
    let want = host.digest();
    host.kill();
    host.start(program, shape);
    assert_eq!(host.digest(), want);
    said
}

#[test]
fn a_directory_that_may_not_be_written_to() {
    let want = in_a_closed_directory(Path::new("redis-server"), "");
    assert_eq!(in_a_closed_directory(&shoal_bin(), ONE), want);
}
