//! The types of the directives that are more than a number or a text.

use super::split;
use super::value::{self, Kind, Line, Reason, Value, single, strtoll, utf8};
use std::fmt;

/// An enum whose variants have names in the file; the first name of a variant is what GET shows.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $first:literal $(| $other:literal)*,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($variant),* }

        impl $name {
            /// Every name, in the order in which errors list them.
            pub const NAMES: &[&str] = &[$($first $(, $other)*),*];

            /// The name that CONFIG GET shows.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $first),* }
            }

            /// The variant of a name in any case.
            pub fn from_name(name: &[u8]) -> Option<$name> {
                $(if name.eq_ignore_ascii_case($first.as_bytes())
                    $(|| name.eq_ignore_ascii_case($other.as_bytes()))* {
                    return Some($name::$variant);
                })*
                None
            }
        }

        impl Value for $name {
            fn show(&self, _: Kind, out: &mut Vec<u8>) {
                out.extend_from_slice(self.name().as_bytes());
            }

            fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
                let found = match words { [one] => $name::from_name(one), _ => None };
                *self = found.ok_or_else(|| one_of($name::NAMES))?;
                Ok(())
            }
        }
    };
}

fn one_of(names: &[&str]) -> Reason {
    format!("argument(s) must be one of the following: {}", names.join(", ")).into()
}

named! {
    /// Which keys go when `maxmemory` is reached.
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru",
        VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl",
        AllkeysLru = "allkeys-lru",
        AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random",
        NoEviction = "noeviction",
    }
}
named! {
    /// The syslog facility.
    SyslogFacility {
        User = "user",
        Local0 = "local0",
        Local1 = "local1",
        Local2 = "local2",
        Local3 = "local3",
        Local4 = "local4",
        Local5 = "local5",
        Local6 = "local6",
        Local7 = "local7",
    }
}
named! {
    /// The least severe line that the log keeps.
    LogLevel { Debug = "debug", Verbose = "verbose", Notice = "notice", Warning = "warning", }
}
named! {
    /// Who supervises the process.
    Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no", }
}
named! {
    /// When the append-only file is synced.
    AppendFsync { Everysec = "everysec", Always = "always", No = "no", }
}
named! {
    /// Whether a replica may load a full sync without a file in between.
    ReplDisklessLoad { Disabled = "disabled", OnEmptyDb = "on-empty-db", Swapdb = "swapdb", }
}
named! {
    /// Whether TLS clients must show a certificate.
    TlsAuthClients { No = "no", Yes = "yes", Optional = "optional", }
}
named! {
    /// How `oom-score-adj-values` are applied.
    OomScoreAdj { No = "no", Relative = "yes" | "relative", Absolute = "absolute", }
}
named! {
    /// Which channels a new user may use.
    AclPubsubDefault { AllChannels = "allchannels", ResetChannels = "resetchannels", }
}
named! {
    /// Whose RESTORE payloads are checked in depth.
    SanitizeDumpPayload { No = "no", Yes = "yes", Clients = "clients", }
}
named! {
    /// Who may do a protected thing: nobody, everybody, or clients of this host.
    ProtectedAction { No = "no", Yes = "yes", Local = "local", }
}
named! {
    /// What redirections name.
    EndpointType { Ip = "ip", Hostname = "hostname", Unknown = "unknown-endpoint", }
}
named! {
    /// What to do about an error in a propagated command.
    PropagationError { Ignore = "ignore", Panic = "panic", PanicOnReplicas = "panic-on-replicas", }
}
named! {
    /// What the process is: see [`super::Topology`] for what `auto` comes to.
    Mode { Auto = "auto", Host = "host", Cluster = "cluster", Standalone = "standalone", }
}

/// Bytes, or a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryOrPercent {
    Bytes(u64),
    Percent(u64),
}

impl MemoryOrPercent {
    /// Redis's form: a percentage is held as its negative.
    pub(super) fn raw(self) -> i64 {
        match self {
            MemoryOrPercent::Bytes(n) => n as i64,
            MemoryOrPercent::Percent(n) => -(n as i64),
        }
    }

    pub(super) fn from_raw(n: i64) -> MemoryOrPercent {
        if n < 0 { MemoryOrPercent::Percent(n.unsigned_abs()) } else { MemoryOrPercent::Bytes(n as u64) }
    }

    /// The limit in bytes under this `maxmemory`; 0 is no limit.
    pub fn bytes(self, maxmemory: u64) -> u64 {
        match self {
            MemoryOrPercent::Bytes(n) => n,
            MemoryOrPercent::Percent(p) => (u128::from(maxmemory) * u128::from(p) / 100) as u64,
        }
    }
}

/// Text that logs must not show: `Debug` hides it. Any bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The text; empty when unset.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&[u8]> for Secret {
    fn from(text: &[u8]) -> Secret {
        Secret(text.to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(unset)" } else { "(redacted)" })
    }
}

impl Value for Secret {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        self.0 = single(words)?.to_vec();
        Ok(())
    }

    fn lines(&self, name: &str, kind: Kind, default: &dyn Value) -> Vec<Line> {
        value::text_line(name, kind, &self.0, default)
    }
}

/// Save after `seconds` when at least `changes` were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    pub seconds: i64,
    pub changes: i32,
}

/// All save points, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavePoints(pub Vec<SavePoint>);

impl Value for SavePoints {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        let words: Vec<String> = self.0.iter().map(|p| format!("{} {}", p.seconds, p.changes)).collect();
        out.extend_from_slice(words.join(" ").as_bytes());
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], more: bool) -> Result<(), Reason> {
        let (words, more) = match words {
            [one] if one.is_empty() => (&words[..0], false),
            _ => (words, more),
        };
        let bad = || Reason::from("Invalid save parameters");
        let mut points = Vec::new();
        for pair in words.chunks(2) {
            let [seconds, changes] = pair else { return Err(bad()) };
            let (seconds, changes) =
                (strtoll(seconds, 10).ok_or_else(bad)?.0, strtoll(changes, 10).ok_or_else(bad)?.0);
            if seconds < 1 || changes < 0 {
                return Err(bad());
            }
            points.push(SavePoint { seconds, changes: changes as i32 });
        }
        if !more {
            self.0.clear();
        }
        self.0.append(&mut points);
        Ok(())
    }

    fn lines(&self, name: &str, _: Kind, _: &dyn Value) -> Vec<Line> {
        let line = |text: String| Line { text: text.into_bytes(), force: true };
        if self.0.is_empty() {
            return vec![line(format!("{name} \"\""))];
        }
        self.0.iter().map(|p| line(format!("{name} {} {}", p.seconds, p.changes))).collect()
    }
}

/// When a client is dropped for its unread replies; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes at which it goes at once.
    pub hard: u64,
    /// Bytes at which it goes after `soft_seconds` above them.
    pub soft: u64,
    pub soft_seconds: i64,
}

/// One limit a client class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    pub normal: OutputLimit,
    pub replica: OutputLimit,
    pub pubsub: OutputLimit,
}

impl Default for OutputLimits {
    fn default() -> OutputLimits {
        let limit = |hard_mb: u64, soft_mb: u64, soft_seconds| OutputLimit {
            hard: hard_mb << 20,
            soft: soft_mb << 20,
            soft_seconds,
        };
        OutputLimits { normal: limit(0, 0, 0), replica: limit(256, 64, 60), pubsub: limit(32, 8, 60) }
    }
}

impl OutputLimits {
    fn all(&self) -> [(&'static str, OutputLimit); 3] {
        [("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub)]
    }

    fn of(&mut self, class: &[u8]) -> Option<&mut OutputLimit> {
        match class.to_ascii_lowercase().as_slice() {
            b"normal" => Some(&mut self.normal),
            b"slave" | b"replica" => Some(&mut self.replica),
            b"pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }
}

impl Value for OutputLimits {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        let words = self.all().map(|(n, l)| format!("{n} {} {} {}", l.hard, l.soft, l.soft_seconds));
        out.extend_from_slice(words.join(" ").as_bytes());
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        let mut new = *self;
        for four in words.chunks(4) {
            if !words.len().is_multiple_of(4) {
                return Err("Wrong number of arguments in buffer limit configuration.".into());
            }
            let limit =
                new.of(&four[0]).ok_or("Invalid client class specified in buffer limit configuration.")?;
            let size = crate::util::size::parse;
            // The seconds are a C int in Redis: only those 32 bits count.
            let seconds = strtoll(&four[3], 10).map(|n| i64::from(n.0 as i32)).filter(|n| *n >= 0);
            let (Some(hard), Some(soft), Some(soft_seconds)) = (size(&four[1]), size(&four[2]), seconds)
            else {
                return Err(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.".into()
                );
            };
            *limit = OutputLimit { hard, soft, soft_seconds };
        }
        *self = new;
        Ok(())
    }

    fn lines(&self, name: &str, _: Kind, _: &dyn Value) -> Vec<Line> {
        let size = crate::util::size::show;
        (self.all().into_iter().zip(OutputLimits::default().all()))
            .map(|((class, now), (_, default))| Line {
                text: format!(
                    "{name} {} {} {} {}",
                    if class == "slave" { "replica" } else { class },
                    size(now.hard),
                    size(now.soft),
                    now.soft_seconds
                )
                .into_bytes(),
                force: now != default,
            })
            .collect()
    }
}

/// `oom_score_adj` of a master, a replica and a background child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OomScores(pub [i32; 3]);

impl Value for OomScores {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        let [a, b, c] = self.0;
        out.extend_from_slice(format!("{a} {b} {c}").as_bytes());
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        let [a, b, c] = words else { return Err("wrong number of arguments".into()) };
        let mut new = [0; 3];
        for (to, word) in new.iter_mut().zip([a, b, c]) {
            *to = (strtoll(word, 10).map(|n| n.0).filter(|n| (-2000..=2000).contains(n)))
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?
                as i32;
        }
        self.0 = new;
        Ok(())
    }
}

/// Which keyspace events are published.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct NotifyFlags(pub u16);

impl NotifyFlags {
    pub const KEYSPACE: NotifyFlags = NotifyFlags(1 << 0);
    pub const KEYEVENT: NotifyFlags = NotifyFlags(1 << 1);
    pub const GENERIC: NotifyFlags = NotifyFlags(1 << 2);
    pub const STRING: NotifyFlags = NotifyFlags(1 << 3);
    pub const LIST: NotifyFlags = NotifyFlags(1 << 4);
    pub const SET: NotifyFlags = NotifyFlags(1 << 5);
    pub const HASH: NotifyFlags = NotifyFlags(1 << 6);
    pub const ZSET: NotifyFlags = NotifyFlags(1 << 7);
    pub const EXPIRED: NotifyFlags = NotifyFlags(1 << 8);
    pub const EVICTED: NotifyFlags = NotifyFlags(1 << 9);
    pub const STREAM: NotifyFlags = NotifyFlags(1 << 10);
    pub const KEY_MISS: NotifyFlags = NotifyFlags(1 << 11);
    pub const MODULE: NotifyFlags = NotifyFlags(1 << 13);
    pub const NEW: NotifyFlags = NotifyFlags(1 << 14);
    /// What `A` stands for: all classes but `m` and `n`.
    pub const ALL: NotifyFlags = NotifyFlags(0b10_0111_1111_1100);

    /// The letters, in the order in which they are shown.
    const LETTERS: [(u8, NotifyFlags); 14] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::ZSET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW),
        (b'K', Self::KEYSPACE),
        (b'E', Self::KEYEVENT),
        (b'm', Self::KEY_MISS),
    ];

    /// Whether all of `flags` are on.
    pub const fn has(self, flags: NotifyFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    fn parse(text: &[u8]) -> Option<NotifyFlags> {
        let mut flags = 0;
        for b in text {
            flags |= match b {
                b'A' => Self::ALL.0,
                _ => Self::LETTERS.iter().find(|(letter, _)| letter == b)?.1.0,
            };
        }
        Some(NotifyFlags(flags))
    }
}

impl fmt::Display for NotifyFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.has(Self::ALL);
        if all {
            f.write_str("A")?;
        }
        for (letter, flag) in Self::LETTERS {
            // Redis leaves `n` out once it has written `A`, though `A` does not stand for it.
            let spoken_for = all && (Self::ALL.has(flag) || flag == Self::NEW);
            if self.has(flag) && !spoken_for {
                write!(f, "{}", letter as char)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for NotifyFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NotifyFlags({self})")
    }
}

impl Value for NotifyFlags {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_string().as_bytes());
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        let text = single(words)?.split(|b| *b == 0).next().unwrap_or_default();
        *self = NotifyFlags::parse(text).ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
        Ok(())
    }

    fn lines(&self, name: &str, kind: Kind, default: &dyn Value) -> Vec<Line> {
        value::text_line(name, kind, self.to_string().as_bytes(), default)
    }
}

/// What a signal's shutdown does; none set is `default`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownFlags {
    pub save: bool,
    pub nosave: bool,
    pub now: bool,
    pub force: bool,
}

impl Value for ShutdownFlags {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        let words = [("save", self.save), ("nosave", self.nosave), ("now", self.now), ("force", self.force)];
        let on: Vec<&str> = words.iter().filter(|w| w.1).map(|w| w.0).collect();
        out.extend_from_slice(if on.is_empty() { "default".into() } else { on.join(" ") }.as_bytes());
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        let mut new = ShutdownFlags::default();
        let names = || one_of(&["default", "save", "nosave", "now", "force"]);
        if words.is_empty() {
            return Err(names());
        }
        for word in words {
            match word.to_ascii_lowercase().as_slice() {
                b"default" => {}
                b"save" => new.save = true,
                b"nosave" => new.nosave = true,
                b"now" => new.now = true,
                b"force" => new.force = true,
                _ => return Err(names()),
            }
        }
        if new.save && new.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        *self = new;
        Ok(())
    }
}

/// The addresses to listen on: names, IPs, `*` and `::*`, a leading `-` where it may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind(pub Vec<String>);

/// Most addresses of `bind`.
const MAX_BIND: usize = 16;

impl Default for Bind {
    fn default() -> Bind {
        Bind(vec!["*".into(), "-::*".into()])
    }
}

impl Value for Bind {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.join(" ").as_bytes());
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        if words.len() > MAX_BIND {
            return Err("Too many bind addresses specified.".into());
        }
        let words = if words.len() == 1 && words[0].is_empty() { &words[..0] } else { words };
        self.0 = words.iter().map(|w| utf8(w).map(str::to_owned)).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn lines(&self, name: &str, _: Kind, _: &dyn Value) -> Vec<Line> {
        if *self == Bind::default() {
            return Vec::new();
        }
        let words = if self.0.is_empty() { "\"\"".into() } else { self.0.join(" ") };
        vec![Line { text: format!("{name} {words}").into_bytes(), force: true }]
    }
}

/// The master to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaOf(pub Option<(String, u16)>);

impl Value for ReplicaOf {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        if let Some((host, port)) = &self.0 {
            out.extend_from_slice(format!("{host} {port}").as_bytes());
        }
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        let [host, port] = words else { return Err("wrong number of arguments".into()) };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            self.0 = None;
            return Ok(());
        }
        let port = strtoll(port, 10).and_then(|n| u16::try_from(n.0).ok()).ok_or("Invalid master port")?;
        self.0 = Some((utf8(host)?.to_owned(), port));
        Ok(())
    }

    fn lines(&self, name: &str, kind: Kind, _: &dyn Value) -> Vec<Line> {
        if self.0.is_none() {
            return Vec::new();
        }
        let mut text = format!("{name} ").into_bytes();
        self.show(kind, &mut text);
        vec![Line { text, force: true }]
    }
}

/// Percentiles, each in 0 to 100.
#[derive(Clone, Debug, PartialEq)]
pub struct Percentiles(pub Vec<f64>);

impl Value for Percentiles {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        let short = |p: &f64| format!("{p:.6}").trim_end_matches('0').trim_end_matches('.').to_owned();
        out.extend_from_slice(self.0.iter().map(short).collect::<Vec<_>>().join(" ").as_bytes());
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        let words = if words.len() == 1 && words[0].is_empty() { &words[..0] } else { words };
        let mut new = Vec::with_capacity(words.len());
        for word in words {
            let p: f64 = (std::str::from_utf8(word).ok().and_then(|w| w.parse().ok()))
                .filter(|p: &f64| !p.is_nan())
                .ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&p) {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into()
                );
            }
            new.push(p);
        }
        self.0 = new;
        Ok(())
    }

    fn lines(&self, name: &str, kind: Kind, _: &dyn Value) -> Vec<Line> {
        let mut text = format!("{name} ").into_bytes();
        if self.0.is_empty() {
            text.extend_from_slice(b"\"\"");
        }
        self.show(kind, &mut text);
        vec![Line { text, force: true }]
    }
}

/// CPU numbers, as `0-3,6` names them; none given is every CPU that the process may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cores {
    text: String,
    list: Vec<usize>,
}

impl Cores {
    /// One past the highest CPU number that is believed.
    pub const MAX: usize = 4096;

    /// Ascending, without repeats; empty when all are meant.
    pub fn list(&self) -> &[usize] {
        &self.list
    }

    fn parse(text: &str) -> Option<Vec<usize>> {
        let mut list = Vec::new();
        for range in text.split(',').filter(|_| !text.is_empty()) {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            let number = |s: &str| {
                let digits = !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
                digits.then(|| s.parse::<usize>().ok()).flatten().filter(|n| *n < Cores::MAX)
            };
            let (low, high) = (number(low)?, number(high)?);
            if low > high {
                return None;
            }
            list.extend(low..=high);
        }
        list.sort_unstable();
        list.dedup();
        Some(list)
    }
}

impl Value for Cores {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text.as_bytes());
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        let text = utf8(single(words)?)?;
        let list = Cores::parse(text).ok_or("argument must be a list of CPU numbers such as 0-3,6")?;
        *self = Cores { text: text.to_owned(), list };
        Ok(())
    }

    fn lines(&self, name: &str, kind: Kind, default: &dyn Value) -> Vec<Line> {
        value::text_line(name, kind, self.text.as_bytes(), default)
    }
}

/// Nodes of a cluster to meet at start, each `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Join(pub Vec<(String, u16)>);

impl Value for Join {
    fn show(&self, _: Kind, out: &mut Vec<u8>) {
        let words: Vec<String> = self.0.iter().map(|(h, p)| format!("{h}:{p}")).collect();
        out.extend_from_slice(words.join(" ").as_bytes());
    }

    fn read(&mut self, _: Kind, words: &[Vec<u8>], _: bool) -> Result<(), Reason> {
        let words = if words.len() == 1 && words[0].is_empty() { &words[..0] } else { words };
        let mut new = Vec::with_capacity(words.len());
        for word in words {
            let bad = || Reason::from("argument must be a list of host:port");
            let (host, port) = utf8(word)?.rsplit_once(':').ok_or_else(bad)?;
            let port = port.parse().ok().filter(|p| *p != 0).ok_or_else(bad)?;
            if host.is_empty() {
                return Err(bad());
            }
            new.push((host.to_owned(), port));
        }
        self.0 = new;
        Ok(())
    }

    fn lines(&self, name: &str, kind: Kind, _: &dyn Value) -> Vec<Line> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut text = format!("{name} ").into_bytes();
        self.show(kind, &mut text);
        vec![Line { text, force: true }]
    }
}

/// Words of a directive that another room reads: `user`, `loadmodule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// Without the directive's own name.
    pub words: Vec<Vec<u8>>,
    pub at: Origin,
}

/// Where a line stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The source's name; empty when it has none.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// The line without the blanks around it.
    pub text: Vec<u8>,
}

/// Quotes words into one line.
pub fn line_of(words: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in words {
        if !out.is_empty() {
            out.push(b' ');
        }
        split::quote(word, &mut out);
    }
    out
}
