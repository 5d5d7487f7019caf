//! Every directive: one row each, from which the struct, its defaults, GET, SET, the file reader
//! and REWRITE all derive.

use super::types::*;
use super::value::{Kind, Unit, Value};
use super::{Rename, Topology};

/// May change while the server runs.
pub const MUTABLE: u8 = 0;
/// Only the file and the command line may set it.
pub const IMMUTABLE: u8 = 1;
/// CONFIG SET needs `enable-protected-configs`.
pub const PROTECTED: u8 = 1 << 1;
/// CONFIG GET shows it under its exact name only.
pub const HIDDEN: u8 = 1 << 2;
/// Logs must not show the value.
pub const SENSITIVE: u8 = 1 << 3;
/// Takes several words.
pub const MANY: u8 = 1 << 4;
/// CONFIG SET refuses it while data is loaded.
pub const DENY_LOADING: u8 = 1 << 5;
/// No Redis has it. Where it can't be changed, CONFIG SET takes what it is.
pub const OWN: u8 = 1 << 6;

/// Whether a directive does something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    Honoured,
    /// Accepted, kept and shown, and without effect for this reason.
    Noted(&'static str),
}

/// One row of the table.
pub struct Directive {
    pub name: &'static str,
    /// The older name, if there is one.
    pub alias: Option<&'static str>,
    pub kind: Kind,
    /// `IMMUTABLE` and so on.
    pub flags: u8,
    pub stance: Stance,
    pub(super) of: fn(&Config) -> &dyn Value,
    pub(super) of_mut: fn(&mut Config) -> &mut dyn Value,
}

impl Directive {
    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// What CONFIG GET shows for it.
    pub fn show(&self, config: &Config) -> Vec<u8> {
        (self.of)(config).shown(self.kind)
    }
}

impl std::fmt::Debug for Directive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Directive({})", self.name)
    }
}

/// The row of a name or an alias in any case, and the name as the table spells it.
pub fn lookup(name: &[u8]) -> Option<(&'static Directive, &'static str)> {
    TABLE.iter().find_map(|row| {
        let names = [Some(row.name), row.alias].into_iter().flatten();
        names.filter(|n| n.as_bytes().eq_ignore_ascii_case(name)).map(|n| (row, n)).next()
    })
}

const BOOL: Kind = Kind::Bool;
const ENUM: Kind = Kind::Enum;
const SPECIAL: Kind = Kind::Special;
/// Text that may be empty.
const TEXT: Kind = checked(false, anything);
/// Text for which empty means absent.
const UNSET: Kind = checked(true, anything);
const OCTAL: Kind = number(Unit::Octal, 0, 0o777, true);
const BYTES_OR_PERCENT: Kind = number(Unit::BytesOrPercent, -100, LONG_MAX, false);

const INT_MAX: i64 = i32::MAX as i64;
const INT_MIN: i64 = i32::MIN as i64;
const UINT_MAX: i64 = u32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;
/// The bits of `u64::MAX`, for an unsigned bound.
const ULONG_MAX: i64 = -1;

const fn number(unit: Unit, min: i64, max: i64, unsigned: bool) -> Kind {
    Kind::Number { unit, min, max, unsigned }
}
const fn int(min: i64, max: i64) -> Kind {
    number(Unit::Plain, min, max, false)
}
const fn uint(min: i64, max: i64) -> Kind {
    number(Unit::Plain, min, max, true)
}
const fn bytes(min: i64, max: i64) -> Kind {
    number(Unit::Bytes, min, max, false)
}
const fn ubytes(min: i64, max: i64) -> Kind {
    number(Unit::Bytes, min, max, true)
}
const fn checked(unset: bool, check: fn(&str) -> Result<(), &'static str>) -> Kind {
    Kind::Text { unset, check }
}

fn anything(_: &str) -> Result<(), &'static str> {
    Ok(())
}

fn is_path(text: &str) -> bool {
    text.contains(['/', '\\'])
}

fn dbfilename(text: &str) -> Result<(), &'static str> {
    if is_path(text) { Err("dbfilename can't be a path, just a filename") } else { Ok(()) }
}

fn appendfilename(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("appendfilename can't be empty");
    }
    if is_path(text) { Err("appendfilename can't be a path, just a filename") } else { Ok(()) }
}

fn appenddirname(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("appenddirname can't be empty");
    }
    if is_path(text) { Err("appenddirname can't be a path, just a dirname") } else { Ok(()) }
}

fn hostname(text: &str) -> Result<(), &'static str> {
    if text.len() >= 256 {
        return Err("Hostnames must be less than 256 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots");
    }
    Ok(())
}

/// Redis's list of what may not stand in a node's name, and what would tear a line of nodes.conf.
fn nodename(text: &str) -> Result<(), &'static str> {
    let bad = |c: char| c.is_control() || "!#$%&()*+:;<>?@[]^{|}~ ,=\"'\\".contains(c);
    if text.contains(bad) {
        return Err("Announced human node name contained invalid character");
    }
    Ok(())
}

/// A template of text and `{variables}`, `{{` for a brace, that can't come out empty.
fn proc_title(text: &str) -> Result<(), &'static str> {
    let bad = "template format is invalid or contains unknown variables";
    let (mut shows, mut rest) = (false, text);
    while let Some((before, after)) = rest.split_once('{') {
        shows |= before.contains(|c| c != ' ');
        if let Some(after) = after.strip_prefix('{') {
            shows = true;
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').ok_or(bad)?;
        shows |= match name {
            "listen-addr" | "config-file" | "port" | "tls-port" => true,
            "title" | "server-mode" | "unixsocket" => false,
            _ => return Err(bad),
        };
        rest = after;
    }
    shows |= rest.contains(|c| c != ' ');
    if shows { Ok(()) } else { Err(bad) }
}

fn default_save() -> SavePoints {
    let points = [(3600, 1), (300, 100), (60, 10_000)];
    SavePoints(points.map(|(seconds, changes)| SavePoint { seconds, changes }).to_vec())
}

macro_rules! stance {
    () => {
        Stance::Honoured
    };
    ($why:literal) => {
        Stance::Noted($why)
    };
}

macro_rules! alias {
    () => {
        None
    };
    ($alias:literal) => {
        Some($alias)
    };
}

/// A row: `field: Type = default, "name" | "alias", kind, flags, noted "why it has no effect";`
macro_rules! directives {
    ($($field:ident: $type:ty = $default:expr, $name:literal $(| $alias:literal)?, $kind:expr,
        $flags:expr $(, noted $why:literal)?;)*) => {
        /// Every setting, typed; a field is named after its directive. Strings are empty and
        /// ports 0 when unset, sizes are bytes; times have their directive's unit.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $(pub $field: $type,)*
            /// `user` lines, in order, for the ACL.
            pub users: Vec<Words>,
            /// `rename-command` lines, in order, for the command table.
            pub renames: Vec<Rename>,
            /// `loadmodule` lines and `module.option` lines, which have no effect.
            pub modules: Vec<Words>,
            /// What `mode`, `cluster-enabled` and the way of starting come to.
            pub topology: Topology,
            /// Whether `shards 0` means one shard instead of one a core.
            pub one_shard: bool,
        }

        impl Default for Config {
            /// What an empty redis.conf gives.
            fn default() -> Config {
                Config {
                    $($field: $default,)*
                    users: Vec::new(),
                    renames: Vec::new(),
                    modules: Vec::new(),
                    topology: Topology::Standalone,
                    one_shard: true,
                }
            }
        }

        /// Every directive, grouped as in tuning/shoal.conf.
        pub static TABLE: &[Directive] = &[$(Directive {
            name: $name,
            alias: alias!($($alias)?),
            kind: $kind,
            flags: $flags,
            stance: stance!($($why)?),
            of: |config| &config.$field,
            of_mut: |config| &mut config.$field,
        }),*];
    };
}

directives! {
    // Shoal
    mode: Mode = Mode::Auto, "mode", ENUM, IMMUTABLE | OWN;
    shards: u32 = 0, "shards", int(0, 1024), IMMUTABLE | OWN;
    cores: Cores = Cores::default(), "cores", UNSET, IMMUTABLE | OWN;
    shard_balance: bool = false, "shard-balance", BOOL, MUTABLE;
    join: Join = Join::default(), "join", SPECIAL, IMMUTABLE | MANY | OWN;

    // Network
    bind: Bind = Bind::default(), "bind", SPECIAL, MANY;
    bind_source_addr: String = String::new(), "bind-source-addr", UNSET, MUTABLE;
    port: u16 = 6379, "port", int(0, 65535), MUTABLE;
    protected_mode: bool = true, "protected-mode", BOOL, MUTABLE;
    tcp_backlog: u32 = 511, "tcp-backlog", int(0, INT_MAX), IMMUTABLE;
    timeout: u32 = 0, "timeout", int(0, INT_MAX), MUTABLE;
    tcp_keepalive: u32 = 300, "tcp-keepalive", int(0, INT_MAX), MUTABLE;
    unixsocket: String = String::new(), "unixsocket", UNSET, IMMUTABLE;
    unixsocketperm: u32 = 0, "unixsocketperm", OCTAL, IMMUTABLE;
    socket_mark_id: u32 = 0, "socket-mark-id", uint(0, UINT_MAX), IMMUTABLE, noted "sockets are not marked";

    // TLS
    tls_port: u16 = 0, "tls-port", int(0, 65535), MUTABLE, noted "this build has no TLS";
    tls_session_cache_size: u32 = 20 * 1024, "tls-session-cache-size", int(0, INT_MAX), MUTABLE, noted "this build has no TLS";
    tls_session_cache_timeout: u32 = 300, "tls-session-cache-timeout", int(0, INT_MAX), MUTABLE, noted "this build has no TLS";
    tls_cluster: bool = false, "tls-cluster", BOOL, MUTABLE, noted "this build has no TLS";
    tls_replication: bool = false, "tls-replication", BOOL, MUTABLE, noted "this build has no TLS";
    tls_auth_clients: TlsAuthClients = TlsAuthClients::Yes, "tls-auth-clients", ENUM, MUTABLE, noted "this build has no TLS";
    tls_prefer_server_ciphers: bool = false, "tls-prefer-server-ciphers", BOOL, MUTABLE, noted "this build has no TLS";
    tls_session_caching: bool = true, "tls-session-caching", BOOL, MUTABLE, noted "this build has no TLS";
    tls_cert_file: String = String::new(), "tls-cert-file", UNSET, MUTABLE, noted "this build has no TLS";
    tls_key_file: String = String::new(), "tls-key-file", UNSET, MUTABLE, noted "this build has no TLS";
    tls_key_file_pass: Secret = Secret::default(), "tls-key-file-pass", UNSET, MUTABLE, noted "this build has no TLS";
    tls_client_cert_file: String = String::new(), "tls-client-cert-file", UNSET, MUTABLE, noted "this build has no TLS";
    tls_client_key_file: String = String::new(), "tls-client-key-file", UNSET, MUTABLE, noted "this build has no TLS";
    tls_client_key_file_pass: Secret = Secret::default(), "tls-client-key-file-pass", UNSET, MUTABLE, noted "this build has no TLS";
    tls_dh_params_file: String = String::new(), "tls-dh-params-file", UNSET, MUTABLE, noted "this build has no TLS";
    tls_ca_cert_file: String = String::new(), "tls-ca-cert-file", UNSET, MUTABLE, noted "this build has no TLS";
    tls_ca_cert_dir: String = String::new(), "tls-ca-cert-dir", UNSET, MUTABLE, noted "this build has no TLS";
    tls_protocols: String = String::new(), "tls-protocols", UNSET, MUTABLE, noted "this build has no TLS";
    tls_ciphers: String = String::new(), "tls-ciphers", UNSET, MUTABLE, noted "this build has no TLS";
    tls_ciphersuites: String = String::new(), "tls-ciphersuites", UNSET, MUTABLE, noted "this build has no TLS";

    // Process
    daemonize: bool = false, "daemonize", BOOL, IMMUTABLE;
    supervised: Supervised = Supervised::No, "supervised", ENUM, IMMUTABLE;
    pidfile: String = String::new(), "pidfile", UNSET, IMMUTABLE;
    loglevel: LogLevel = LogLevel::Notice, "loglevel", ENUM, MUTABLE;
    logfile: String = String::new(), "logfile", TEXT, IMMUTABLE;
    syslog_enabled: bool = false, "syslog-enabled", BOOL, IMMUTABLE, noted "logs go to the standard output or logfile";
    syslog_ident: String = "redis".into(), "syslog-ident", TEXT, IMMUTABLE, noted "logs go to the standard output or logfile";
    syslog_facility: SyslogFacility = SyslogFacility::Local0, "syslog-facility", ENUM, IMMUTABLE, noted "logs go to the standard output or logfile";
    crash_log_enabled: bool = true, "crash-log-enabled", BOOL, MUTABLE;
    crash_memcheck_enabled: bool = true, "crash-memcheck-enabled", BOOL, MUTABLE, noted "a crash does not test the memory";
    databases: u32 = 16, "databases", int(1, INT_MAX), IMMUTABLE;
    always_show_logo: bool = false, "always-show-logo", BOOL, IMMUTABLE, noted "there is no logo";
    set_proc_title: bool = true, "set-proc-title", BOOL, IMMUTABLE;
    proc_title_template: String = "{title} {listen-addr} {server-mode}".into(), "proc-title-template", checked(false, proc_title), MUTABLE;
    locale_collate: String = String::new(), "locale-collate", TEXT, MUTABLE, noted "SORT ALPHA compares bytes, as in the C locale";
    disable_thp: bool = false, "disable-thp", BOOL, IMMUTABLE;
    ignore_warnings: String = String::new(), "ignore-warnings", TEXT, MUTABLE, noted "nothing at start is fatal that could be ignored";
    shutdown_timeout: u32 = 10, "shutdown-timeout", int(0, INT_MAX), MUTABLE;
    shutdown_on_sigint: ShutdownFlags = ShutdownFlags::default(), "shutdown-on-sigint", SPECIAL, MANY;
    shutdown_on_sigterm: ShutdownFlags = ShutdownFlags::default(), "shutdown-on-sigterm", SPECIAL, MANY;
    oom_score_adj: OomScoreAdj = OomScoreAdj::No, "oom-score-adj", ENUM, MUTABLE;
    oom_score_adj_values: OomScores = OomScores([0, 200, 800]), "oom-score-adj-values", SPECIAL, MANY;
    server_cpulist: String = String::new(), "server_cpulist", UNSET, IMMUTABLE, noted "see cores";
    bio_cpulist: String = String::new(), "bio_cpulist", UNSET, IMMUTABLE, noted "there are no background threads to place";
    aof_rewrite_cpulist: String = String::new(), "aof_rewrite_cpulist", UNSET, IMMUTABLE, noted "no child process is ever forked";
    bgsave_cpulist: String = String::new(), "bgsave_cpulist", UNSET, IMMUTABLE, noted "no child process is ever forked";
    io_threads: u32 = 1, "io-threads", int(1, 128), IMMUTABLE, noted "every shard does its own I/O: see shards";
    io_threads_do_reads: bool = false, "io-threads-do-reads", BOOL, IMMUTABLE, noted "every shard does its own I/O: see shards";
    use_exit_on_panic: bool = false, "use-exit-on-panic", BOOL, HIDDEN, noted "a failed assertion always aborts";
    watchdog_period: u32 = 0, "watchdog-period", int(0, INT_MAX), HIDDEN, noted "there is no software watchdog";

    // Snapshots
    save: SavePoints = default_save(), "save", SPECIAL, MANY;
    stop_writes_on_bgsave_error: bool = true, "stop-writes-on-bgsave-error", BOOL, MUTABLE;
    rdbcompression: bool = true, "rdbcompression", BOOL, MUTABLE;
    rdbchecksum: bool = true, "rdbchecksum", BOOL, IMMUTABLE;
    sanitize_dump_payload: SanitizeDumpPayload = SanitizeDumpPayload::No, "sanitize-dump-payload", ENUM, MUTABLE;
    dbfilename: String = "dump.rdb".into(), "dbfilename", checked(false, dbfilename), PROTECTED;
    rdb_del_sync_files: bool = false, "rdb-del-sync-files", BOOL, MUTABLE;
    rdb_save_incremental_fsync: bool = true, "rdb-save-incremental-fsync", BOOL, MUTABLE;
    dir: String = "./".into(), "dir", UNSET, PROTECTED | DENY_LOADING;
    rdb_key_save_delay: i32 = 0, "rdb-key-save-delay", int(INT_MIN, INT_MAX), HIDDEN;
    key_load_delay: i32 = 0, "key-load-delay", int(INT_MIN, INT_MAX), HIDDEN;
    loading_process_events_interval_bytes: u64 = 2 << 20, "loading-process-events-interval-bytes", int(1024, INT_MAX), HIDDEN;

    // Append-only file
    appendonly: bool = false, "appendonly", BOOL, DENY_LOADING;
    appendfilename: String = "appendonly.aof".into(), "appendfilename", checked(false, appendfilename), IMMUTABLE;
    appenddirname: String = "appendonlydir".into(), "appenddirname", checked(false, appenddirname), IMMUTABLE;
    appendfsync: AppendFsync = AppendFsync::Everysec, "appendfsync", ENUM, MUTABLE;
    no_appendfsync_on_rewrite: bool = false, "no-appendfsync-on-rewrite", BOOL, MUTABLE;
    auto_aof_rewrite_percentage: u32 = 100, "auto-aof-rewrite-percentage", int(0, INT_MAX), MUTABLE;
    auto_aof_rewrite_min_size: u64 = 64 << 20, "auto-aof-rewrite-min-size", bytes(0, LONG_MAX), MUTABLE;
    aof_load_truncated: bool = true, "aof-load-truncated", BOOL, MUTABLE;
    aof_use_rdb_preamble: bool = true, "aof-use-rdb-preamble", BOOL, MUTABLE;
    aof_timestamp_enabled: bool = false, "aof-timestamp-enabled", BOOL, MUTABLE;
    aof_rewrite_incremental_fsync: bool = true, "aof-rewrite-incremental-fsync", BOOL, MUTABLE, noted "files are synced as they are written";
    aof_disable_auto_gc: bool = false, "aof-disable-auto-gc", BOOL, MUTABLE;

    // Replication
    replicaof: ReplicaOf = ReplicaOf::default(), "replicaof" | "slaveof", SPECIAL, IMMUTABLE | MANY;
    masterauth: Secret = Secret::default(), "masterauth", UNSET, SENSITIVE;
    masteruser: Secret = Secret::default(), "masteruser", UNSET, SENSITIVE;
    replica_serve_stale_data: bool = true, "replica-serve-stale-data" | "slave-serve-stale-data", BOOL, MUTABLE;
    replica_read_only: bool = true, "replica-read-only" | "slave-read-only", BOOL, MUTABLE;
    repl_diskless_sync: bool = true, "repl-diskless-sync", BOOL, MUTABLE;
    repl_diskless_sync_delay: u32 = 5, "repl-diskless-sync-delay", int(0, INT_MAX), MUTABLE;
    repl_diskless_sync_max_replicas: u32 = 0, "repl-diskless-sync-max-replicas", int(0, INT_MAX), MUTABLE;
    repl_diskless_load: ReplDisklessLoad = ReplDisklessLoad::Disabled, "repl-diskless-load", ENUM, DENY_LOADING;
    repl_ping_replica_period: u32 = 10, "repl-ping-replica-period" | "repl-ping-slave-period", int(1, INT_MAX), MUTABLE;
    repl_timeout: u32 = 60, "repl-timeout", int(1, INT_MAX), MUTABLE;
    repl_disable_tcp_nodelay: bool = false, "repl-disable-tcp-nodelay", BOOL, MUTABLE;
    repl_backlog_size: u64 = 1 << 20, "repl-backlog-size", bytes(1, LONG_MAX), MUTABLE;
    repl_backlog_ttl: u64 = 3600, "repl-backlog-ttl", int(0, LONG_MAX), MUTABLE;
    replica_priority: u32 = 100, "replica-priority" | "slave-priority", int(0, INT_MAX), MUTABLE;
    propagation_error_behavior: PropagationError = PropagationError::Ignore, "propagation-error-behavior", ENUM, MUTABLE;
    replica_ignore_disk_write_errors: bool = false, "replica-ignore-disk-write-errors", BOOL, MUTABLE;
    replica_announced: bool = true, "replica-announced", BOOL, MUTABLE;
    min_replicas_to_write: u32 = 0, "min-replicas-to-write" | "min-slaves-to-write", int(0, INT_MAX), MUTABLE;
    min_replicas_max_lag: u32 = 10, "min-replicas-max-lag" | "min-slaves-max-lag", int(0, INT_MAX), MUTABLE;
    replica_announce_ip: String = String::new(), "replica-announce-ip" | "slave-announce-ip", UNSET, MUTABLE;
    replica_announce_port: u16 = 0, "replica-announce-port" | "slave-announce-port", int(0, 65535), MUTABLE;
    replica_lazy_flush: bool = false, "replica-lazy-flush" | "slave-lazy-flush", BOOL, MUTABLE;
    replica_ignore_maxmemory: bool = true, "replica-ignore-maxmemory" | "slave-ignore-maxmemory", BOOL, MUTABLE;

    // Security
    requirepass: Secret = Secret::default(), "requirepass", UNSET, SENSITIVE;
    aclfile: String = String::new(), "aclfile", TEXT, IMMUTABLE;
    acllog_max_len: u64 = 128, "acllog-max-len", int(0, LONG_MAX), MUTABLE;
    acl_pubsub_default: AclPubsubDefault = AclPubsubDefault::ResetChannels, "acl-pubsub-default", ENUM, MUTABLE;
    enable_protected_configs: ProtectedAction = ProtectedAction::No, "enable-protected-configs", ENUM, IMMUTABLE;
    enable_debug_command: ProtectedAction = ProtectedAction::No, "enable-debug-command", ENUM, IMMUTABLE;
    enable_module_command: ProtectedAction = ProtectedAction::No, "enable-module-command", ENUM, IMMUTABLE, noted "modules are not supported";

    // Clients
    maxclients: u32 = 10000, "maxclients", uint(1, UINT_MAX), MUTABLE;
    maxmemory_clients: MemoryOrPercent = MemoryOrPercent::Bytes(0), "maxmemory-clients", BYTES_OR_PERCENT, MUTABLE;
    client_output_buffer_limit: OutputLimits = OutputLimits::default(), "client-output-buffer-limit", SPECIAL, MANY;
    client_query_buffer_limit: u64 = 1 << 30, "client-query-buffer-limit", ubytes(1 << 20, LONG_MAX), MUTABLE;
    proto_max_bulk_len: u64 = 512 << 20, "proto-max-bulk-len", bytes(1 << 20, LONG_MAX), MUTABLE;
    tracking_table_max_keys: u64 = 1000000, "tracking-table-max-keys", uint(0, LONG_MAX), MUTABLE;

    // Memory
    maxmemory: u64 = 0, "maxmemory", ubytes(0, ULONG_MAX), MUTABLE;
    maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::NoEviction, "maxmemory-policy", ENUM, MUTABLE;
    maxmemory_samples: u32 = 5, "maxmemory-samples", int(1, INT_MAX), MUTABLE;
    maxmemory_eviction_tenacity: u32 = 10, "maxmemory-eviction-tenacity", int(0, 100), MUTABLE;
    lfu_log_factor: u32 = 10, "lfu-log-factor", int(0, INT_MAX), MUTABLE;
    lfu_decay_time: u32 = 1, "lfu-decay-time", int(0, INT_MAX), MUTABLE;
    active_expire_effort: u32 = 1, "active-expire-effort", int(1, 10), MUTABLE;
    lazyfree_lazy_eviction: bool = false, "lazyfree-lazy-eviction", BOOL, MUTABLE;
    lazyfree_lazy_expire: bool = false, "lazyfree-lazy-expire", BOOL, MUTABLE;
    lazyfree_lazy_server_del: bool = false, "lazyfree-lazy-server-del", BOOL, MUTABLE;
    lazyfree_lazy_user_del: bool = false, "lazyfree-lazy-user-del", BOOL, MUTABLE;
    lazyfree_lazy_user_flush: bool = false, "lazyfree-lazy-user-flush", BOOL, MUTABLE;

    // Scripts
    busy_reply_threshold: u64 = 5000, "busy-reply-threshold" | "lua-time-limit", int(0, LONG_MAX), MUTABLE;
    lua_enable_deprecated_api: bool = false, "lua-enable-deprecated-api", BOOL, IMMUTABLE | HIDDEN, noted "only the documented script API exists";

    // Cluster
    cluster_enabled: bool = false, "cluster-enabled", BOOL, IMMUTABLE;
    cluster_config_file: String = "nodes.conf".into(), "cluster-config-file", TEXT, IMMUTABLE;
    cluster_node_timeout: u64 = 15000, "cluster-node-timeout", int(0, LONG_MAX), MUTABLE;
    cluster_port: u16 = 0, "cluster-port", int(0, 65535), IMMUTABLE;
    cluster_replica_validity_factor: u32 = 10, "cluster-replica-validity-factor" | "cluster-slave-validity-factor", int(0, INT_MAX), MUTABLE;
    cluster_migration_barrier: u32 = 1, "cluster-migration-barrier", int(0, INT_MAX), MUTABLE;
    cluster_allow_replica_migration: bool = true, "cluster-allow-replica-migration", BOOL, MUTABLE;
    cluster_require_full_coverage: bool = true, "cluster-require-full-coverage", BOOL, MUTABLE;
    cluster_replica_no_failover: bool = false, "cluster-replica-no-failover" | "cluster-slave-no-failover", BOOL, MUTABLE;
    cluster_allow_reads_when_down: bool = false, "cluster-allow-reads-when-down", BOOL, MUTABLE;
    cluster_allow_pubsubshard_when_down: bool = true, "cluster-allow-pubsubshard-when-down", BOOL, MUTABLE;
    cluster_link_sendbuf_limit: u64 = 0, "cluster-link-sendbuf-limit", ubytes(0, ULONG_MAX), MUTABLE;
    cluster_host_links: bool = true, "cluster-host-links", BOOL, MUTABLE;
    cluster_announce_ip: String = String::new(), "cluster-announce-ip", UNSET, MUTABLE;
    cluster_announce_port: u16 = 0, "cluster-announce-port", int(0, 65535), MUTABLE;
    cluster_announce_tls_port: u16 = 0, "cluster-announce-tls-port", int(0, 65535), MUTABLE, noted "this build has no TLS";
    cluster_announce_bus_port: u16 = 0, "cluster-announce-bus-port", int(0, 65535), MUTABLE;
    cluster_announce_hostname: String = String::new(), "cluster-announce-hostname", checked(true, hostname), MUTABLE;
    cluster_slot_stats_enabled: bool = false, "cluster-slot-stats-enabled", BOOL, MUTABLE;
    cluster_announce_human_nodename: String = String::new(), "cluster-announce-human-nodename", checked(true, nodename), MUTABLE;
    cluster_preferred_endpoint_type: EndpointType = EndpointType::Ip, "cluster-preferred-endpoint-type", ENUM, MUTABLE;

    // Watching
    slowlog_log_slower_than: i64 = 10000, "slowlog-log-slower-than", int(-1, LONG_MAX), MUTABLE;
    slowlog_max_len: u64 = 128, "slowlog-max-len", int(0, LONG_MAX), MUTABLE;
    latency_monitor_threshold: u64 = 0, "latency-monitor-threshold", int(0, LONG_MAX), MUTABLE;
    latency_tracking: bool = true, "latency-tracking", BOOL, MUTABLE;
    latency_tracking_info_percentiles: Percentiles = Percentiles(vec![50.0, 99.0, 99.9]), "latency-tracking-info-percentiles", SPECIAL, MANY;
    notify_keyspace_events: NotifyFlags = NotifyFlags::default(), "notify-keyspace-events", SPECIAL, MUTABLE;

    // Encodings
    hash_max_listpack_entries: u64 = 512, "hash-max-listpack-entries" | "hash-max-ziplist-entries", uint(0, LONG_MAX), MUTABLE;
    hash_max_listpack_value: u64 = 64, "hash-max-listpack-value" | "hash-max-ziplist-value", ubytes(0, LONG_MAX), MUTABLE;
    list_max_listpack_size: i32 = -2, "list-max-listpack-size" | "list-max-ziplist-size", int(INT_MIN, INT_MAX), MUTABLE;
    list_compress_depth: u32 = 0, "list-compress-depth", int(0, INT_MAX), MUTABLE;
    set_max_intset_entries: u64 = 512, "set-max-intset-entries", uint(0, LONG_MAX), MUTABLE;
    set_max_listpack_entries: u64 = 128, "set-max-listpack-entries", uint(0, LONG_MAX), MUTABLE;
    set_max_listpack_value: u64 = 64, "set-max-listpack-value", uint(0, LONG_MAX), MUTABLE;
    zset_max_listpack_entries: u64 = 128, "zset-max-listpack-entries" | "zset-max-ziplist-entries", uint(0, LONG_MAX), MUTABLE;
    zset_max_listpack_value: u64 = 64, "zset-max-listpack-value" | "zset-max-ziplist-value", ubytes(0, LONG_MAX), MUTABLE;
    hll_sparse_max_bytes: u64 = 3000, "hll-sparse-max-bytes", ubytes(0, LONG_MAX), MUTABLE;
    stream_node_max_bytes: u64 = 4096, "stream-node-max-bytes", ubytes(0, LONG_MAX), MUTABLE;
    stream_node_max_entries: u64 = 100, "stream-node-max-entries", int(0, LONG_MAX), MUTABLE;

    // Background work
    hz: u32 = 10, "hz", int(0, INT_MAX), MUTABLE;
    dynamic_hz: bool = true, "dynamic-hz", BOOL, MUTABLE, noted "timers keep their pace whatever the number of clients";
    activerehashing: bool = true, "activerehashing", BOOL, MUTABLE, noted "tables grow step by step, without a background pass";
    jemalloc_bg_thread: bool = true, "jemalloc-bg-thread", BOOL, MUTABLE, noted "the allocator is not jemalloc";
    activedefrag: bool = false, "activedefrag", BOOL, MUTABLE, noted "no memory is moved while the server runs";
    active_defrag_ignore_bytes: u64 = 100 << 20, "active-defrag-ignore-bytes", ubytes(1, LONG_MAX), MUTABLE, noted "no memory is moved while the server runs";
    active_defrag_threshold_lower: u32 = 10, "active-defrag-threshold-lower", int(0, 1000), MUTABLE, noted "no memory is moved while the server runs";
    active_defrag_threshold_upper: u32 = 100, "active-defrag-threshold-upper", int(0, 1000), MUTABLE, noted "no memory is moved while the server runs";
    active_defrag_cycle_min: u32 = 1, "active-defrag-cycle-min", int(1, 99), MUTABLE, noted "no memory is moved while the server runs";
    active_defrag_cycle_max: u32 = 25, "active-defrag-cycle-max", int(1, 99), MUTABLE, noted "no memory is moved while the server runs";
    active_defrag_max_scan_fields: u64 = 1000, "active-defrag-max-scan-fields", int(1, LONG_MAX), MUTABLE, noted "no memory is moved while the server runs";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_found_in_any_case() {
        let mut seen = HashSet::new();
        for row in TABLE {
            for name in [Some(row.name), row.alias].into_iter().flatten() {
                assert!(seen.insert(name), "{name} twice");
                let (found, spelled) = lookup(name.to_uppercase().as_bytes()).unwrap();
                assert!(std::ptr::eq(found, row) && spelled == name);
            }
        }
        assert!(lookup(b"").is_none() && lookup(b"port ").is_none());
    }

    /// The rows' bounds fit their fields: both ends read, show themselves, and one beyond fails.
    #[test]
    fn bounds_fit_their_types() {
        for row in TABLE {
            let Kind::Number { unit, min, max, unsigned } = row.kind else { continue };
            let shown = |n: i128| match unit {
                Unit::Octal => format!("{n:o}"),
                Unit::BytesOrPercent if n < 0 => format!("{}%", -n),
                _ => n.to_string(),
            };
            let wide = |n: i64| if unsigned { i128::from(n as u64) } else { i128::from(n) };
            let mut config = Config::default();
            for n in [wide(min), wide(max)] {
                let word = shown(n).into_bytes();
                let field = (row.of_mut)(&mut config);
                assert_eq!(field.read(row.kind, std::slice::from_ref(&word), false), Ok(()), "{row:?} {n}");
                assert_eq!(row.show(&config), word, "{row:?}");
            }
            for n in [wide(min) - 1, wide(max) + 1] {
                if n > i128::from(i64::MAX) && unit == Unit::Bytes {
                    continue; // wraps or saturates in 64 bits, as it does in Redis
                }
                let word = shown(n).into_bytes();
                let field = (row.of_mut)(&mut config);
                assert!(field.read(row.kind, &[word], false).is_err(), "{row:?} {n}");
            }
        }
    }

    #[test]
    fn titles() {
        for good in ["{title} {listen-addr} {server-mode}", "x", "{{", "{port}", "a{title}"] {
            assert_eq!(proc_title(good), Ok(()), "{good}");
        }
        for bad in ["", "  ", "{title}", "{server-mode}{title}", "{nope} x", "x {", "x {port"] {
            assert!(proc_title(bad).is_err(), "{bad}");
        }
    }
}
