//! The sections' lines, in redis-server 7.0.15's order; what is ours stands where it disturbs nobody.
//!
//! A zero is what redis-server shows too when it has no replicas, scripts, modules, or children,
//! which is how it is here.

use super::figures::Figures;
use crate::command::acl::Reason;
use crate::command::ctx::Ctx;
use crate::command::host::{COMPATIBLE_VERSION, Kind, ReplicaReport, Timing, VERSION};
use crate::command::table;
use crate::metrics::Metrics;
use crate::slot::{SLOTS, Slot};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

/// `name:value` lines under titles.
#[derive(Default)]
pub struct Text(String);

impl Text {
    pub fn begin(&mut self, section: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        let title = match section {
            "cpu" => "CPU".to_owned(),
            name => name[..1].to_uppercase() + &name[1..],
        };
        self.0.push_str(&format!("# {title}\r\n"));
    }

    fn put(&mut self, name: &str, value: impl Display) {
        write!(self.0, "{name}:{value}\r\n").expect("writing to memory succeeds");
    }

    /// The value in bytes, and again for people.
    fn put_bytes(&mut self, name: &str, bytes: u64) {
        self.put(name, bytes);
        self.put(&format!("{name}_human"), human(bytes));
    }

    fn zeros(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.put(name, 0));
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// `1.50K` and the like.
fn human(bytes: u64) -> String {
    let mut size = bytes as f64;
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    for unit in ["K", "M", "G", "T"] {
        size /= 1024.0;
        if bytes < 1 << (10 * ("KMGT".find(unit).unwrap_or(0) + 2)) {
            return format!("{size:.2}{unit}");
        }
    }
    format!("{:.2}P", size / 1024.0)
}

pub fn server(ctx: &Ctx<'_>, _: &Figures, out: &mut Text) {
    let host = ctx.host;
    let uptime = ctx.now_us.saturating_sub(host.started_us) / 1_000_000;
    let own_port = ctx.view.local_node(ctx.me).port;
    let port = if ctx.caller.front_door || !host.cluster { ctx.conf.port } else { own_port };
    out.put("redis_version", COMPATIBLE_VERSION);
    out.put("server_name", "shoal");
    out.put("shoal_version", VERSION);
    out.put("redis_git_sha1", "00000000");
    out.put("redis_git_dirty", 0);
    out.put("redis_build_id", "0");
    out.put("redis_mode", if host.cluster { "cluster" } else { "standalone" });
    out.put("os", &host.os);
    out.put("arch_bits", usize::BITS);
    out.put("monotonic_clock", "POSIX clock_gettime");
    out.put("multiplexing_api", "io_uring");
    out.put("atomicvar_api", "rust-std");
    out.put("gcc_version", "0.0.0");
    out.put("process_id", host.pid);
    out.put("process_supervised", "no");
    out.put("run_id", &host.run_id);
    out.put("tcp_port", port);
    out.put("server_time_usec", ctx.now_us);
    out.put("uptime_in_seconds", uptime);
    out.put("uptime_in_days", uptime / 86400);
    out.put("hz", ctx.conf.hz);
    out.put("configured_hz", ctx.conf.hz);
    out.put("lru_clock", (ctx.now() / 1000) & 0xFF_FFFF);
    out.put("executable", &host.executable);
    out.put("config_file", &host.config_file);
    out.put("io_threads_active", 0);
    if let Some(until) = host.registers.shutdown.waits_until() {
        out.put("shutdown_in_milliseconds", until.saturating_sub(ctx.now()));
    }
}

pub fn clients(ctx: &Ctx<'_>, f: &Figures, out: &mut Text) {
    out.put("connected_clients", f.sum(|m| &m.clients));
    out.put("cluster_connections", 0);
    out.put("maxclients", ctx.conf.maxclients);
    out.put("client_recent_max_input_buffer", f.max(|m| &m.max_input));
    out.put("client_recent_max_output_buffer", f.max(|m| &m.max_output));
    out.put("blocked_clients", f.sum(|m| &m.blocked) + f.sum(|m| &m.paused));
    out.put("tracking_clients", f.sum(|m| &m.tracking));
    out.put("clients_in_timeout_table", f.sum(|m| &m.deadlines));
}

/// What scripts and libraries take, and how many there are.
fn scripts(ctx: &Ctx<'_>, out: &mut Text) {
    let registers = &ctx.host.registers;
    let (scripts, scripts_bytes) = registers.scripts.size();
    let (libraries, functions, libraries_bytes) = registers.libraries.size();
    let shards = || ctx.host.metrics.iter();
    let eval: u64 = shards().map(|m| m.scripts_memory.get()).sum();
    let calls: u64 = shards().map(|m| m.functions_memory.get()).sum();
    out.put("used_memory_lua", eval);
    out.put("used_memory_vm_eval", eval);
    out.put("used_memory_lua_human", human(eval));
    out.put("used_memory_scripts_eval", scripts_bytes);
    out.put("number_of_cached_scripts", scripts);
    out.put("number_of_functions", functions);
    out.put("number_of_libraries", libraries);
    out.put("used_memory_vm_functions", calls);
    out.put("used_memory_vm_total", eval + calls);
    out.put("used_memory_vm_total_human", human(eval + calls));
    out.put("used_memory_functions", libraries_bytes);
    out.put("used_memory_scripts", scripts_bytes + libraries_bytes);
    out.put("used_memory_scripts_human", human((scripts_bytes + libraries_bytes) as u64));
}

pub fn memory(ctx: &Ctx<'_>, f: &Figures, out: &mut Text) {
    let m = &f.memory;
    out.put_bytes("used_memory", m.used);
    out.put_bytes("used_memory_rss", m.rss);
    out.put_bytes("used_memory_peak", m.peak);
    out.put("used_memory_peak_perc", format_args!("{:.2}%", m.peak_percent()));
    out.put("used_memory_overhead", m.overhead);
    out.put("used_memory_startup", m.startup);
    out.put("used_memory_base", m.base);
    out.put("used_memory_dataset", m.dataset);
    out.put("used_memory_dataset_perc", format_args!("{:.2}%", m.dataset_percent()));
    // our allocator tells no more than what was asked of it and what is resident
    out.put("allocator_allocated", m.allocated());
    out.put("allocator_active", m.rss);
    out.put("allocator_resident", m.rss);
    out.put_bytes("total_system_memory", ctx.host.system_memory);
    scripts(ctx, out);
    out.put_bytes("maxmemory", ctx.conf.maxmemory);
    let policy = ctx.conf.get(&["maxmemory-policy"]);
    out.put("maxmemory_policy", policy.iter().map(|(_, v)| String::from_utf8_lossy(v)).collect::<String>());
    out.put("allocator_frag_ratio", format_args!("{:.2}", m.fragmentation()));
    out.put("allocator_frag_bytes", m.fragmentation_bytes().max(0));
    out.put("allocator_rss_ratio", "1.00");
    out.put("allocator_rss_bytes", 0);
    out.put("rss_overhead_ratio", "1.00");
    out.put("rss_overhead_bytes", 0);
    out.put("mem_fragmentation_ratio", format_args!("{:.2}", m.fragmentation()));
    out.put("mem_fragmentation_bytes", m.fragmentation_bytes());
    out.put("mem_not_counted_for_evict", m.stream_owed);
    out.put("mem_replication_backlog", m.stream - m.stream_owed);
    out.put("mem_total_replication_buffers", m.stream);
    out.put("mem_clients_slaves", m.stream_owed);
    out.put("mem_clients_normal", m.clients);
    out.zeros(&["mem_cluster_links", "mem_aof_buffer"]);
    out.put("mem_allocator", "mimalloc");
    out.put("active_defrag_running", 0);
    out.put("lazyfree_pending_objects", ctx.host.registers.process.lazyfree_pending.load(Relaxed));
    out.put("lazyfreed_objects", ctx.host.registers.process.lazyfreed.load(Relaxed));
}

pub fn persistence(ctx: &Ctx<'_>, f: &Figures, out: &mut Text) {
    out.put("loading", f.max(|m| &m.loading.on));
    out.zeros(&["async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    let (done, total) = (f.sum(|m| &m.saving.keys_done), f.sum(|m| &m.saving.keys_total));
    out.put("current_fork_perc", format_args!("{:.2}", done as f64 * 100.0 / total.max(1) as f64));
    out.put("current_save_keys_processed", done);
    out.put("current_save_keys_total", total);
    out.put("rdb_changes_since_last_save", f.metrics.iter().map(|m| m.unsaved_changes()).sum::<u64>());
    let began = f.metrics.iter().map(|m| m.saving.began.get()).filter(|&at| at > 0).min();
    let now = ctx.now_us / 1_000_000;
    out.put("rdb_bgsave_in_progress", began.is_some() as u8);
    out.put("rdb_last_save_time", ctx.host.last_save(f.shards.clone()));
    let failed = f.max(|m| &m.saving.failed) > 0;
    out.put("rdb_last_bgsave_status", if failed { "err" } else { "ok" });
    out.put("rdb_last_bgsave_time_sec", f.max(|m| &m.saving.took) as i64 - 1);
    out.put("rdb_current_bgsave_time_sec", began.map_or(-1, |at| now.saturating_sub(at) as i64));
    out.put("rdb_saves", f.max(|m| &m.saving.saves));
    out.put("rdb_last_cow_size", 0);
    out.put("rdb_last_load_keys_expired", f.sum(|m| &m.loading.expired));
    out.put("rdb_last_load_keys_loaded", f.sum(|m| &m.loading.keys));
    let status = |bad: u64| if bad == 0 { "ok" } else { "err" };
    let (enabled, rewriting) = (f.max(|m| &m.aof.enabled), f.max(|m| &m.aof.rewriting));
    out.put("aof_enabled", enabled);
    out.put("aof_rewrite_in_progress", rewriting);
    out.put("aof_rewrite_scheduled", 0);
    out.put("aof_last_rewrite_time_sec", f.max(|m| &m.aof.rewrite_took) as i64 - 1);
    let since = now.saturating_sub(f.max(|m| &m.aof.rewrite_since)) as i64;
    out.put("aof_current_rewrite_time_sec", if rewriting > 0 { since } else { -1 });
    out.put("aof_last_bgrewrite_status", status(f.max(|m| &m.aof.rewrites_failed)));
    out.put("aof_rewrites", f.sum(|m| &m.aof.rewrites));
    out.put("aof_rewrites_consecutive_failures", f.max(|m| &m.aof.rewrites_failed));
    out.put("aof_last_write_status", status(f.max(|m| &m.aof.error)));
    out.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    if enabled > 0 {
        out.put("aof_current_size", f.sum(|m| &m.aof.current_size));
        out.put("aof_base_size", f.sum(|m| &m.aof.base_size));
        out.put("aof_pending_rewrite", 0);
        out.put("aof_buffer_length", f.sum(|m| &m.aof.buffer));
        out.put("aof_pending_bio_fsync", f.sum(|m| &m.aof.syncing));
        out.put("aof_delayed_fsync", f.sum(|m| &m.aof.delayed));
    }
    if f.max(|m| &m.loading.on) > 0 {
        loading(ctx, f, out);
    }
}

/// How far reading the logs has come.
fn loading(ctx: &Ctx<'_>, f: &Figures, out: &mut Text) {
    let (total, loaded) = (f.sum(|m| &m.loading.total), f.sum(|m| &m.loading.done));
    let since = f.max(|m| &m.loading.since);
    let took = (ctx.now() / 1000).saturating_sub(since);
    out.put("loading_start_time", since);
    out.put("loading_total_bytes", total);
    out.put("loading_rdb_used_mem", 0);
    out.put("loading_loaded_bytes", loaded);
    out.put("loading_loaded_perc", format_args!("{:.2}", loaded as f64 * 100.0 / total.max(1) as f64));
    let left = total.saturating_sub(loaded);
    out.put("loading_eta_seconds", (took * left).checked_div(loaded).unwrap_or(1));
}

pub fn stats(ctx: &Ctx<'_>, f: &Figures, out: &mut Text) {
    let kbps = |rate: u64| format!("{:.2}", rate as f64 / 1024.0);
    out.put("total_connections_received", f.sum(|m| &m.connections));
    out.put("total_commands_processed", f.sum(|m| &m.commands));
    out.put("instantaneous_ops_per_sec", f.sum(|m| &m.rates[0]));
    out.put("total_net_input_bytes", f.sum(|m| &m.net_in));
    out.put("total_net_output_bytes", f.sum(|m| &m.net_out));
    out.zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    out.put("instantaneous_input_kbps", kbps(f.sum(|m| &m.rates[1])));
    out.put("instantaneous_output_kbps", kbps(f.sum(|m| &m.rates[2])));
    out.put("instantaneous_input_repl_kbps", "0.00");
    out.put("instantaneous_output_repl_kbps", "0.00");
    out.put("rejected_connections", f.sum(|m| &m.rejected));
    let syncs = ctx.host.registers.replication(ctx.me).syncs;
    for (name, n) in ["sync_full", "sync_partial_ok", "sync_partial_err"].iter().zip(syncs) {
        out.put(name, n);
    }
    out.put("expired_keys", f.sum(|m| &m.expired));
    let stale = f.sum(|m| &m.stale_ppm) as f64 / f.metrics.len() as f64;
    out.put("expired_stale_perc", format_args!("{:.2}", stale / 10_000.0));
    out.put("expired_time_cap_reached_count", f.sum(|m| &m.expiry_cut_short));
    let expiry_us = f.sum(|m| &m.expiry_ticks) as f64 / ctx.host.ticks_per_us;
    out.put("expire_cycle_cpu_milliseconds", expiry_us as u64 / 1000);
    out.put("evicted_keys", f.sum(|m| &m.evicted));
    out.put("evicted_clients", f.sum(|m| &m.evicted_clients));
    // all shards see the same memory; one that is idle sees it late
    let exceeding = |m: &Metrics| match m.exceeding_since.get() {
        0 => 0,
        since => ctx.now().saturating_sub(since),
    };
    let longest = |of: &dyn Fn(&Metrics) -> u64| f.metrics.iter().map(|m| of(m)).max().unwrap_or(0);
    out.put("total_eviction_exceeded_time", longest(&|m| m.exceeded_ms.get() + exceeding(m)));
    out.put("current_eviction_exceeded_time", longest(&exceeding));
    out.put("keyspace_hits", f.sum(|m| &m.hits));
    out.put("keyspace_misses", f.sum(|m| &m.misses));
    let listened = |kinds: &[Kind]| ctx.host.registers.audience.distinct(kinds, &f.shards);
    out.put("pubsub_channels", listened(&[Kind::Channel]));
    out.put("pubsub_patterns", listened(&[Kind::Pattern]));
    out.put("pubsubshard_channels", listened(&[Kind::Sharded, Kind::Own]));
    out.zeros(&["latest_fork_usec", "total_forks"]);
    out.put("migrate_cached_sockets", f.sum(|m| &m.kept_links));
    out.put("slave_expires_tracked_keys", 0);
    out.zeros(&["active_defrag_hits", "active_defrag_misses", "active_defrag_key_hits"]);
    out.zeros(&["active_defrag_key_misses", "total_active_defrag_time", "current_active_defrag_time"]);
    out.put("tracking_total_keys", f.sum(|m| &m.tracked_keys));
    out.put("tracking_total_items", f.sum(|m| &m.tracked_items));
    out.put("tracking_total_prefixes", ctx.host.registers.audience.prefixes.distinct(&f.shards));
    out.put("unexpected_error_replies", 0);
    out.put("total_error_replies", f.sum(|m| &m.error_replies));
    out.put("dump_payload_sanitizations", 0);
    out.put("total_reads_processed", f.sum(|m| &m.reads));
    out.put("total_writes_processed", f.sum(|m| &m.writes));
    out.zeros(&["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    out.zeros(&["reply_buffer_shrinks", "reply_buffer_expands"]);
    for reason in [Reason::Auth, Reason::Command, Reason::Key, Reason::Channel] {
        out.put(reason.counted(), f.sum(|m| &m.denied[reason as usize]));
    }
    out.put("total_commands_forwarded", f.sum(|m| &m.forwarded));
}

pub fn replication(ctx: &Ctx<'_>, _: &Figures, out: &mut Text) {
    let r = ctx.host.registers.replication(ctx.me).clone();
    let now = ctx.clock.now_ms;
    let ago = |ms: u64| now.saturating_sub(ms) / 1000;
    out.put("role", if r.primary.is_some() { "slave" } else { "master" });
    if let Some(p) = &r.primary {
        out.put("master_host", &p.host);
        out.put("master_port", p.port);
        out.put("master_link_status", if p.up { "up" } else { "down" });
        out.put("master_last_io_seconds_ago", if p.up { ago(p.heard_ms) as i64 } else { -1 });
        out.put("master_sync_in_progress", u8::from(p.syncing.is_some()));
        out.put("slave_read_repl_offset", p.read);
        out.put("slave_repl_offset", r.offset);
        if let Some(read) = p.syncing {
            // how much there is, nobody has said
            out.put("master_sync_total_bytes", 0);
            out.put("master_sync_read_bytes", read);
            out.put("master_sync_left_bytes", -(read as i64));
            out.put("master_sync_perc", "0.00");
            out.put("master_sync_last_io_seconds_ago", ago(p.heard_ms));
        }
        if !p.up {
            let since = if p.down_since_ms > 0 { ago(p.down_since_ms) as i64 } else { -1 };
            out.put("master_link_down_since_seconds", since);
        }
        out.put("slave_priority", ctx.conf.replica_priority);
        out.put("slave_read_only", u8::from(ctx.conf.replica_read_only));
        out.put("replica_announced", u8::from(ctx.conf.replica_announced));
    }
    out.put("connected_slaves", r.replicas.len());
    if ctx.conf.min_replicas_to_write > 0 && ctx.conf.min_replicas_max_lag > 0 {
        out.put("min_slaves_good_slaves", r.good);
    }
    for (n, replica) in r.replicas.iter().enumerate() {
        let ReplicaReport { address, port, state, acked, heard_ms } = replica;
        let lag = ago(*heard_ms);
        let line = format!("ip={address},port={port},state={state},offset={acked},lag={lag}");
        out.put(&format!("slave{n}"), line);
    }
    out.put("master_failover_state", if r.failover.is_empty() { "no-failover" } else { r.failover });
    let id = if r.id.is_empty() { ctx.host.replication_id(ctx.me) } else { r.id };
    out.put("master_replid", id);
    let (second, up_to) = r.second.map_or(("0".repeat(40), -1), |(id, at)| (id, at as i64 + 1));
    out.put("master_replid2", second);
    out.put("master_repl_offset", r.offset);
    out.put("second_repl_offset", up_to);
    out.put("repl_backlog_active", u8::from(r.backlog.is_some()));
    out.put("repl_backlog_size", ctx.conf.repl_backlog_size);
    let (first, len) = r.backlog.map_or((0, 0), |(first, len)| (first + 1, len));
    out.put("repl_backlog_first_byte_offset", first);
    out.put("repl_backlog_histlen", len);
}

pub fn cpu(ctx: &Ctx<'_>, _: &Figures, out: &mut Text) {
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    let process = &ctx.host.registers.process;
    let own = &ctx.host.metrics[ctx.me];
    out.put("used_cpu_sys", seconds(process.cpu_system_us.load(Relaxed)));
    out.put("used_cpu_user", seconds(process.cpu_user_us.load(Relaxed)));
    out.put("used_cpu_sys_children", seconds(0));
    out.put("used_cpu_user_children", seconds(0));
    out.put("used_cpu_sys_main_thread", seconds(own.cpu_system_us.get()));
    out.put("used_cpu_user_main_thread", seconds(own.cpu_user_us.get()));
}

pub fn modules(_: &Ctx<'_>, _: &Figures, _: &mut Text) {}

pub fn commandstats(ctx: &Ctx<'_>, f: &Figures, out: &mut Text) {
    for spec in table::rows() {
        let stats = |n: usize| {
            let of = |m: &Metrics| {
                let c = m.command(spec.id);
                [c.calls.get(), c.ticks.get(), c.rejected.get(), c.failed.get()][n]
            };
            f.metrics.iter().map(|m| of(m)).sum::<u64>()
        };
        let (calls, rejected, failed) = (stats(0), stats(2), stats(3));
        if calls + rejected + failed == 0 {
            continue;
        }
        let us = (stats(1) as f64 / ctx.host.ticks_per_us) as u64;
        let each = if calls == 0 { 0.0 } else { us as f64 / calls as f64 };
        let line = format!(
            "calls={calls},usec={us},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}"
        );
        out.put(&format!("cmdstat_{}", spec.name), line);
    }
}

pub fn errorstats(_: &Ctx<'_>, f: &Figures, out: &mut Text) {
    let mut all: BTreeMap<Box<str>, u64> = BTreeMap::new();
    for (code, count) in f.metrics.iter().flat_map(|m| m.errors()) {
        *all.entry(code).or_default() += count;
    }
    for (code, count) in all {
        out.put(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub fn latencystats(ctx: &Ctx<'_>, f: &Figures, out: &mut Text) {
    if !ctx.conf.latency_tracking {
        return;
    }
    for spec in table::rows() {
        let timing = Timing::of(&f.metrics, spec.id, ctx.host.ticks_per_us);
        if timing.calls == 0 {
            continue;
        }
        let show = |&p: &f64| {
            let name = format!("{p:.6}");
            let name = name.trim_end_matches('0').trim_end_matches('.');
            format!("p{name}={:.3}", timing.percentile(p) as f64 / 1000.0)
        };
        let line: Vec<String> = ctx.conf.latency_tracking_info_percentiles.0.iter().map(show).collect();
        out.put(&format!("latency_percentiles_usec_{}", spec.name), line.join(","));
    }
}

pub fn cluster(ctx: &Ctx<'_>, _: &Figures, out: &mut Text) {
    out.put("cluster_enabled", ctx.host.cluster as u8);
}

pub fn keyspace(ctx: &Ctx<'_>, f: &Figures, out: &mut Text) {
    for db in f.databases(ctx) {
        let line = format!("keys={},expires={},avg_ttl={}", db.keys, db.volatile, db.avg_ttl);
        out.put(&format!("db{}", db.index), line);
    }
}

/// One line a shard of this host.
pub fn shards(ctx: &Ctx<'_>, f: &Figures, out: &mut Text) {
    for shard in f.shards.clone() {
        let m = &ctx.host.metrics[shard];
        let is_its = |slot: &Slot| ctx.view.local_owner(*slot) == Some(shard as u16);
        let slots: Vec<Slot> = (0..SLOTS as Slot).filter(is_its).collect();
        let own_port = || ctx.host.own_ports.get(shard).copied().unwrap_or_default();
        // what they cost of a second: their commands' own time, and how many commands that were
        let rates = if ctx.host.cluster { ctx.host.registers.slot_rates() } else { &[] };
        let rates = || slots.iter().filter_map(|slot| rates.get(*slot as usize));
        let line = format!(
            "port={},slots={},keys={},clients={},ops={},slot_usec={},slot_ops={},busy_usec={}",
            ctx.view.sibling(shard).map_or_else(own_port, |node| node.port),
            slots.len(),
            f.keys(ctx, shard),
            m.clients.get(),
            m.rates[0].get(),
            rates().map(|rate| rate.cpu_ns.get()).sum::<u64>() / 1000,
            rates().map(|rate| rate.commands_milli.get()).sum::<u64>() / 1000,
            m.busy_ns.get() / 1000,
        );
        out.put(&format!("shard{shard}"), line);
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_for_people() {
        let shown = |bytes: u64, want: &str| assert_eq!(human(bytes), want);
        shown(0, "0B");
        shown(1023, "1023B");
        shown(1024, "1.00K");
        shown(965_688, "943.05K");
        shown(1 << 20, "1.00M");
        shown(25_276_510_208, "23.54G");
        shown(1 << 40, "1.00T");
        shown(3 << 50, "3.00P");
    }
}
