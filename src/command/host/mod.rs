//! What all shards of a host share and commands may read.

mod audience;
mod busy;
mod ending;
mod libraries;
mod memory;
mod renames;
mod replication;
mod roll;
mod scripts;
mod slow;
mod spikes;
mod timing;

pub use audience::{Audience, Counts, KINDS, Kind, Name};
pub use busy::{Busy, Running};
pub use ending::{Asked, Ending};
pub use libraries::{Libraries, Library, Policy, names_of};
pub use memory::Memory;
pub use renames::Renames;
pub use replication::{PrimaryReport, ReplicaReport, Report};
pub use roll::Roll;
pub use scripts::{Script, Scripts, Sha, sha_of};
pub use slow::{SlowEntry, SlowLog, is_secret, shortened};
pub use spikes::{Series, Spikes};
pub use timing::Timing;

use super::acl::{Register, Users};
use crate::command::error::{Done, ErrReply};
use crate::config::{self, Config, ConfigError, Directive, Live};
use crate::metrics::{Counter, Metrics};
use crate::slot::SLOTS;
use crate::util::rng::Rng;
use std::io::Read;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The version of Redis whose behaviour this is: clients decide by it what they may send.
pub const COMPATIBLE_VERSION: &str = "7.0.15";
/// Our own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `dump.rdb` with a number: `dump-7000.rdb`.
pub fn numbered(name: &str, number: usize) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}-{number}.{extension}"),
        _ => format!("{name}-{number}"),
    }
}

/// One host: facts that do not change while it runs, and the shared registers.
pub struct Host {
    pub live: Arc<Live>,
    /// One a shard, in shard order.
    pub metrics: Vec<Arc<Metrics>>,
    /// 40 hex digits, new at each start.
    pub run_id: String,
    pub pid: u32,
    /// Unix microseconds at start.
    pub started_us: u64,
    pub executable: String,
    /// Path of the configuration file, empty without one.
    pub config_file: String,
    /// Clients see slots and redirections.
    pub cluster: bool,
    /// The ports of the shards' nodes, in shard order; none in a standalone server.
    pub own_ports: Vec<u16>,
    /// Ticks of a microsecond, for the per-command counts in `metrics`.
    pub ticks_per_us: f64,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: AtomicBool,
    /// DEBUG PAUSE-CRON: nothing happens by time alone, nor by a signal.
    pub cron_paused: AtomicBool,
    /// System, release and machine, as `uname -srm` says them.
    pub os: String,
    /// Bytes of memory that the machine has.
    pub system_memory: u64,
    pub outside: Box<dyn Outside>,
    /// `rename-command`
    pub renames: Renames,
    pub registers: Registers,
}

/// What commands have done for them outside the shards: files, and settings of the network.
pub trait Outside: Send + Sync {
    /// The whole file; empty when there is none.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// Replaces the file, all or nothing.
    fn write(&self, path: &str, text: &[u8]) -> Result<(), String>;

    /// Begins a file that is to take another's place once it is whole.
    fn create(&self, temporary: &str) -> Result<Box<dyn NewFile>, String>;

    /// The file; `None` when there is none.
    fn open(&self, path: &str) -> Result<Option<OldFile>, String>;

    /// Removes a file, if it is there.
    fn remove(&self, path: &str);

    /// Puts changed directives into effect that no shard can (ports, say), before anybody sees the
    /// new configuration; an error keeps the old one.
    fn configure(
        &self,
        old: &Config,
        new: &Config,
        changed: &[&'static Directive],
    ) -> Result<(), ConfigError>;

    /// Asks the allocator to give memory back to the system.
    fn purge(&self);

    /// The core that calls stands still for so many microseconds.
    fn stand_still(&self, us: u64);

    /// Fills it with bytes that nobody can guess.
    fn guess_proof(&self, out: &mut [u8]) -> Result<(), String>;
}

/// A file's size, and the file from its beginning.
pub type OldFile = (u64, Box<dyn Read + Send>);

/// A file that is being written. Dropped before [`NewFile::commit`], it is gone.
pub trait NewFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), String>;

    /// Makes it last, and puts it in the place of `path`, all or nothing.
    fn commit(self: Box<Self>, path: &str) -> Result<(), String>;
}

/// Figures about the process, for whoever can ask the system to publish now and then.
#[derive(Debug, Default)]
pub struct Process {
    /// Resident memory in bytes.
    pub rss: AtomicU64,
    /// CPU time of all threads, in microseconds.
    pub cpu_user_us: AtomicU64,
    pub cpu_system_us: AtomicU64,
    /// Bytes on the heap when the host was ready to serve, but for those that count: see [`Memory`].
    pub base_memory: AtomicU64,
    /// Big values that wait to be freed, and those that were since the statistics were reset.
    pub lazyfree_pending: AtomicU64,
    pub lazyfreed: AtomicU64,
}

/// What shards write and all may read.
#[derive(Debug, Default)]
pub struct Registers {
    pub process: Process,
    /// One a shard.
    logs: Vec<Logs>,
    /// One a shard.
    replication: Vec<Mutex<Report>>,
    /// Entries of SLOWLOG so far: the next one's id.
    pub slow_entries: AtomicU64,
    /// How often DEBUG CHANGE-REPL-ID was called.
    pub repl_id_changes: AtomicU64,
    pub shutdown: Ending,
    /// How often a standalone server's save points have called on all of its shards to save.
    pub save_rounds: AtomicU64,
    /// One a shard: when it last saved, in unix seconds; 0 not yet.
    saved: Vec<AtomicU64>,
    /// Who listens to what.
    pub audience: Audience,
    /// Who is there.
    pub roll: Roll,
    pub scripts: Scripts,
    pub libraries: Libraries,
    /// One a shard.
    busy: Vec<Busy>,
    /// Who may do what.
    pub users: Register,
    /// One a slot, from when the first is asked for.
    slot_rates: OnceLock<Box<[SlotRate]>>,
}

/// How busy a slot keeps the shard that owns it, which writes this.
#[derive(Debug, Default)]
pub struct SlotRate {
    /// Nanoseconds a second of its commands' own time, and how many of them in 1000 seconds.
    pub cpu_ns: Counter,
    pub commands_milli: Counter,
    /// When it last came from a sibling, in ms; 0 never.
    pub moved_ms: Counter,
}

/// What one shard notes of slow commands and events.
#[derive(Debug, Default)]
pub struct Logs {
    slow: Mutex<SlowLog>,
    spikes: Mutex<Spikes>,
}

impl Registers {
    pub fn new(shards: usize) -> Registers {
        let logs = (0..shards).map(|_| Logs::default()).collect();
        let saved = (0..shards).map(|_| AtomicU64::new(0)).collect();
        let replication = (0..shards).map(|_| Mutex::default()).collect();
        let (audience, roll) = (Audience::new(shards), Roll::new(shards));
        let busy = (0..shards).map(|_| Busy::default()).collect();
        Registers { logs, saved, replication, audience, roll, busy, ..Registers::default() }
    }

    /// When this shard last saved.
    pub fn saved(&self, shard: usize) -> &AtomicU64 {
        &self.saved[shard]
    }

    /// What a shard tells of its replication.
    pub fn replication(&self, shard: usize) -> MutexGuard<'_, Report> {
        self.replication[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// SCRIPT KILL or FUNCTION KILL: ends scripts of this kind that keep shards busy.
    pub fn kill_scripts(&self, function: bool) -> Done {
        busy::kill(self.busy.iter(), function)
    }

    /// The function that keeps a shard busy; the error when it is a script of another kind.
    pub fn running_function(&self) -> Result<Option<Running>, ErrReply> {
        busy::running(self.busy.iter())
    }

    /// Whether a script keeps a shard busy.
    #[inline]
    pub fn busy_of(&self, shard: usize) -> &Busy {
        &self.busy[shard]
    }

    pub fn slot_rates(&self) -> &[SlotRate] {
        self.slot_rates.get_or_init(|| (0..SLOTS).map(|_| SlotRate::default()).collect())
    }

    pub fn slow_log(&self, shard: usize) -> MutexGuard<'_, SlowLog> {
        self.logs[shard].slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn spikes(&self, shard: usize) -> MutexGuard<'_, Spikes> {
        self.logs[shard].spikes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// CONFIG REWRITE; `all` directives, those too that are as they would be without a line.
    pub fn rewrite_config(&self, conf: &Config, users: &[Vec<u8>], all: bool) -> Result<(), String> {
        let original = self.outside.read(&self.config_file)?;
        self.outside.write(&self.config_file, &config::rewrite(&original, conf, users, all))
    }

    /// The shards that a client sees as its server: all of them, or, on an own port, that one.
    pub fn scope(&self, front_door: bool, me: usize) -> Range<usize> {
        if front_door || !self.cluster { 0..self.metrics.len() } else { me..me + 1 }
    }

    /// When the last of these shards saved, in unix seconds; as in Redis, a start counts as a save.
    pub fn last_save(&self, shards: Range<usize>) -> u64 {
        let started = self.started_us / 1_000_000;
        shards.map(|shard| self.registers.saved(shard).load(Relaxed).max(started)).min().unwrap_or(started)
    }

    /// Bytes that shards keep of their streams beyond `repl-backlog-size`, for replicas that lag behind: no
    /// key has to go for them.
    pub fn stream_owed(&self, backlog_size: u64) -> u64 {
        self.metrics.iter().map(|m| m.stream_bytes.get().saturating_sub(backlog_size)).sum()
    }

    /// The name of a shard's own file: `name`, with what tells the shard apart where there are several.
    pub fn file_of(&self, name: &str, shard: usize) -> String {
        match self.metrics.len() {
            1 => name.to_owned(),
            _ => numbered(name, self.own_ports.get(shard).map_or(shard, |port| usize::from(*port))),
        }
    }

    /// The replication id of a shard: 40 hex digits.
    pub fn replication_id(&self, shard: usize) -> String {
        let changes = self.registers.repl_id_changes.load(Relaxed);
        let fold = |h: u64, b: u8| (h ^ b as u64).wrapping_mul(0x0100_0000_01b3);
        let seed = self.run_id.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
        let mut rng = Rng::new(seed ^ (shard as u64) << 48 ^ changes);
        let mut id = (0..3).map(|_| format!("{:016x}", rng.next_u64())).collect::<String>();
        id.truncate(40);
        id
    }

    /// A standalone host of this many shards and rows of the command table that knows nothing yet of its process and machine.
    pub fn new(config: Config, shards: usize, commands: usize, outside: Box<dyn Outside>) -> Host {
        let metrics = || Arc::new(Metrics::new(commands));
        let mut users = Users::default();
        users.require(config.requirepass.bytes());
        Host {
            live: Arc::new(Live::new(config)),
            metrics: (0..shards).map(|_| metrics()).collect(),
            run_id: "0".repeat(40),
            pid: 1,
            started_us: 0,
            executable: "/usr/bin/shoal".into(),
            config_file: String::new(),
            cluster: false,
            own_ports: Vec::new(),
            ticks_per_us: 1.0,
            active_expire: AtomicBool::new(true),
            cron_paused: AtomicBool::new(false),
            os: "Linux 6.18 x86_64".into(),
            system_memory: 1 << 34,
            outside,
            renames: Renames::default(),
            registers: Registers { users: Register::new(users), ..Registers::new(shards) },
        }
    }

    /// A host for tests, with files in memory.
    #[cfg(test)]
    pub fn for_tests(shards: usize, commands: usize) -> Host {
        Host::new(Config::default(), shards, commands, Box::new(Files::default()))
    }
}

/// Files in memory, for tests, and for how long somebody was to stand still.
#[cfg(test)]
#[derive(Clone, Default)]
pub struct Files(Arc<Mutex<std::collections::BTreeMap<String, Vec<u8>>>>, pub Arc<Mutex<Vec<u64>>>);

#[cfg(test)]
struct Draft(Files, Vec<u8>);

#[cfg(test)]
impl NewFile for Draft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.1.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(self: Box<Self>, path: &str) -> Result<(), String> {
        self.0.write(path, &self.1)
    }
}

#[cfg(test)]
impl Outside for Files {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.lock().unwrap().get(path).cloned().unwrap_or_default())
    }

    fn write(&self, path: &str, text: &[u8]) -> Result<(), String> {
        if path.starts_with("/readonly/") {
            return Err("Permission denied".into());
        }
        self.0.lock().unwrap().insert(path.into(), text.to_vec());
        Ok(())
    }

    fn create(&self, _: &str) -> Result<Box<dyn NewFile>, String> {
        Ok(Box::new(Draft(self.clone(), Vec::new())))
    }

    fn open(&self, path: &str) -> Result<Option<OldFile>, String> {
        let found = self.0.lock().unwrap().get(path).cloned();
        Ok(found.map(|bytes| (bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)) as _)))
    }

    fn remove(&self, path: &str) {
        self.0.lock().unwrap().remove(path);
    }

    fn configure(&self, _: &Config, new: &Config, _: &[&'static Directive]) -> Result<(), ConfigError> {
        match new.port {
            1 => Err(ConfigError::failed("port", "Unable to listen on this port. Check server logs.")),
            _ => Ok(()),
        }
    }

    fn purge(&self) {}

    fn stand_still(&self, us: u64) {
        self.1.lock().unwrap().push(us);
    }

    fn guess_proof(&self, out: &mut [u8]) -> Result<(), String> {
        out.fill(0x5a);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_numbers_before_their_ending() {
        for (name, number, want) in [
            ("dump.rdb", 7000, "dump-7000.rdb"),
            ("a.b.c", 0, "a.b-0.c"),
            ("data", 1, "data-1"),
            (".rdb", 1, ".rdb-1"),
        ] {
            assert_eq!(numbered(name, number), want);
        }
    }
}
