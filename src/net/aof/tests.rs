use super::files::{Files, logs};
use super::*;
use crate::config::Config;

/// A disk with room for so many bytes.
struct Small {
    bytes: Vec<u8>,
    room: usize,
    /// Bytes of a write that failed stay there.
    sticky: bool,
}

impl Disk for Small {
    fn append(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let n = bytes.len().min(self.room.saturating_sub(self.bytes.len()));
        self.bytes.extend_from_slice(&bytes[..n]);
        if n == bytes.len() { Ok(()) } else { Err((n, io::Error::from_raw_os_error(libc::ENOSPC))) }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        if self.sticky {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.bytes.truncate(len as usize);
        Ok(())
    }

    fn fd(&self) -> RawFd {
        -1
    }
}

fn rules(fsync: AppendFsync, now_s: u64) -> Rules {
    Rules { fsync, now_s, timestamps: false, spare_disk: false }
}

fn log(room: usize, sticky: bool) -> Log<Small> {
    let files = Files::find(&Config::default(), "none.aof".into()).unwrap();
    Log::new(files, Small { bytes: Vec::new(), room, sticky }, 0, 0)
}

#[test]
fn a_full_disk_is_waited_for() {
    for sticky in [false, true] {
        let every = |s| rules(AppendFsync::Everysec, s);
        let mut log = log(10, sticky);
        log.intake(every(1)).extend_from_slice(b"12345678");
        assert_eq!((log.write(every(1), false), log.error()), (Ok(()), None));
        log.intake(every(1)).extend_from_slice(b"abcdef");
        assert_eq!((log.write(every(1), false), log.error()), (Ok(()), Some(libc::ENOSPC)));
        // nothing of a command is left, or else the rest of it follows
        assert_eq!(log.file.bytes.len(), if sticky { 10 } else { 8 });
        log.file.room = 9;
        assert_eq!((log.write(every(2), false), log.error()), (Ok(()), Some(libc::ENOSPC)));
        log.file.room = 100;
        assert_eq!((log.write(every(3), false), log.error()), (Ok(()), None));
        assert_eq!((&*log.file.bytes, log.total()), (&b"12345678abcdef"[..], 14));
        assert!(!log.is_safe() && log.is_idle());
    }
    let mut log = log(1, false);
    log.intake(rules(AppendFsync::Always, 1)).extend_from_slice(b"ab");
    let Err(Fatal(why)) = log.write(rules(AppendFsync::Always, 1), false) else {
        panic!("it must not go on")
    };
    assert!(why.starts_with("Can't recover from AOF write error"));
}

#[test]
fn syncs_come_as_the_policy_says() {
    use AppendFsync::{Always, Everysec, No};
    let mut log = log(1000, false);
    let put = |log: &mut Log<Small>, r: Rules| {
        log.intake(r).push(b'x');
        log.write(r, false).unwrap();
        log.file.bytes.len()
    };
    assert_eq!(put(&mut log, rules(No, 5)), 1);
    assert_eq!(log.sync_due(rules(No, 5)), None);
    assert_eq!(log.sync_due(Rules { spare_disk: true, ..rules(Everysec, 5) }), None);
    assert_eq!(log.sync_due(rules(Everysec, 5)), Some((-1, 0)));
    // a write waits for the sync, two seconds at most
    assert_eq!([5, 6, 7].map(|s| put(&mut log, rules(Everysec, s))), [1, 1, 4]);
    assert_eq!((log.delayed, log.sync_due(rules(Everysec, 7))), (1, None));
    log.synced(0, Ok(()), rules(Everysec, 7)).unwrap();
    assert!(!log.is_safe());
    assert_eq!((log.sync_due(rules(Everysec, 7)), log.sync_due(rules(Everysec, 7))), (Some((-1, 0)), None));
    log.synced(0, Err(io::Error::from_raw_os_error(libc::EIO)), rules(Everysec, 7)).unwrap();
    assert_eq!((log.error(), log.sync_due(rules(Everysec, 7))), (Some(libc::EIO), None));
    assert!(log.sync_due(rules(Everysec, 8)).is_some());
    log.synced(0, Ok(()), rules(Everysec, 8)).unwrap();
    assert!(log.error().is_none() && log.is_safe());
    // under always each write is synced, and the next waits
    assert_eq!(put(&mut log, rules(Always, 8)), 5);
    assert!(log.sync_due(rules(Always, 8)).is_some());
    assert_eq!(put(&mut log, rules(Always, 8)), 5);
    let failed = log.synced(0, Err(io::Error::from_raw_os_error(libc::EIO)), rules(Always, 8));
    assert!(
        failed
            .unwrap_err()
            .0
            .contains("fsync error when the AOF fsync policy is 'always': Input/output error")
    );
}

#[test]
fn a_second_is_stamped_once() {
    let stamped = |s| Rules { timestamps: true, ..rules(AppendFsync::No, s) };
    let mut log = log(1000, false);
    for (second, text) in [(7, "a"), (7, "b"), (8, "c")] {
        log.intake(stamped(second)).extend_from_slice(text.as_bytes());
    }
    log.write(stamped(8), false).unwrap();
    assert_eq!(log.file.bytes, b"#TS:7\r\nab#TS:8\r\nc");
}

#[test]
fn logs_are_told_apart_by_their_names() {
    let dir = std::env::temp_dir().join(format!("shoal-logs-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut conf = Config { appenddirname: dir.display().to_string(), ..Config::default() };
    for name in
        ["appendonly.aof", "appendonly-7001.aof", "appendonly-x.aof", "other.aof", "appendonly-1.aof.old"]
    {
        std::fs::write(dir.join(format!("{name}.manifest")), "x").unwrap();
    }
    assert_eq!(logs(&conf), ["appendonly-7001.aof", "appendonly.aof"]);
    std::fs::write(dir.join("log-3.manifest"), "x").unwrap();
    conf.appendfilename = "log".into();
    assert_eq!(logs(&conf), ["log-3"]);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_manifest_that_fails_at_any_step_is_the_old_or_the_new() {
    let dir = std::env::temp_dir().join(format!("shoal-manifest-faults-{}", std::process::id()));
    let conf = Config { appenddirname: dir.display().to_string(), ..Config::default() };
    let find = || Files::find(&conf, "a.aof".into()).unwrap();
    let mut old = find();
    old.make_dir().unwrap();
    old.open_incr(true).unwrap();
    old.persist().unwrap();
    let switch = || {
        let mut new = old.clone();
        new.manifest.new_base("a.aof", true);
        new.open_incr(true)?;
        new.persist().map(|()| new.manifest.text())
    };
    let new = switch().unwrap();
    old.persist().unwrap();
    let steps = crate::net::disk::faults::everywhere(&dir, switch, |step, done| {
        let placed = done.as_ref().map_or_else(|failed| failed.placed, |_| true);
        let want = if placed { new.clone() } else { old.manifest.text() };
        assert_eq!(find().manifest.text(), want, "{step} {done:?}");
        // it goes on with what it had
        old.persist().unwrap();
        assert_eq!(find().manifest.text(), old.manifest.text());
    });
    assert_eq!(steps, 6);
    std::fs::remove_dir_all(dir).unwrap();
}
