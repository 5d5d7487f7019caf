//! INFO: figures and facts, section by section.
//!
//! Through the front door (or without a cluster) the figures are those of the whole host, summed over
//! its shards; an own port is a node and tells its shard's. `figures` adds up, `sections` writes.

mod figures;
mod sections;

use super::ctx::Ctx;
use super::error::Done;
use crate::resp::Args;
use figures::Figures;
use sections::Text;

type Writer = fn(&Ctx<'_>, &Figures, &mut Text);

/// A section: its name, whether it is shown unasked, and what writes it.
struct Section {
    name: &'static str,
    default: bool,
    write: Writer,
}

const fn section(name: &'static str, default: bool, write: Writer) -> Section {
    Section { name, default, write }
}

/// All sections in the order in which they are shown.
const SECTIONS: &[Section] = &[
    section("server", true, sections::server),
    section("clients", true, sections::clients),
    section("memory", true, sections::memory),
    section("persistence", true, sections::persistence),
    section("stats", true, sections::stats),
    section("replication", true, sections::replication),
    section("cpu", true, sections::cpu),
    section("modules", true, sections::modules),
    section("commandstats", false, sections::commandstats),
    section("errorstats", true, sections::errorstats),
    section("latencystats", false, sections::latencystats),
    section("cluster", true, sections::cluster),
    section("keyspace", true, sections::keyspace),
    section("shards", true, sections::shards),
];

/// INFO [section ...]
pub fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let words = args.from(1);
    let wanted = |s: &Section| match words.len() {
        0 => s.default,
        _ => words.iter().any(|word| match word.to_ascii_lowercase().as_slice() {
            b"all" | b"everything" => true,
            b"default" => s.default,
            b"module_list" => s.name == "modules",
            name => name == s.name.as_bytes(),
        }),
    };
    let figures = Figures::of(ctx);
    let mut text = Text::default();
    for section in SECTIONS.iter().filter(|s| wanted(s)) {
        text.begin(section.name);
        (section.write)(ctx, &figures, &mut text);
    }
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::testing::World;

    /// The text of INFO without the reply's head and tail.
    fn text(w: &mut World, line: &str) -> String {
        let reply = w.run(line);
        let (_, text) = reply.split_once("\r\n").unwrap();
        text.strip_suffix("\r\n").unwrap().to_owned()
    }

    fn titles(text: &str) -> Vec<&str> {
        text.lines().filter_map(|l| l.strip_prefix("# ")).collect()
    }

    #[test]
    fn chooses_sections() {
        let mut w = World::new();
        let default = [
            "Server",
            "Clients",
            "Memory",
            "Persistence",
            "Stats",
            "Replication",
            "CPU",
            "Modules",
            "Errorstats",
            "Cluster",
            "Keyspace",
            "Shards",
        ];
        assert_eq!(titles(&text(&mut w, "INFO")), default);
        assert_eq!(titles(&text(&mut w, "INFO default")), default);
        assert_eq!(titles(&text(&mut w, "INFO everything")).len(), 14);
        assert_eq!(
            titles(&text(&mut w, "INFO Keyspace server SERVER module_list")),
            ["Server", "Modules", "Keyspace"]
        );
        assert_eq!(titles(&text(&mut w, "INFO default commandstats")).len(), 13);
        w.check(&[("INFO nosuch", "$0||"), ("INFO cluster", "$30|# Cluster|cluster_enabled:0||")]);
        w.resp3(true).check(&[("INFO nosuch", "=4|txt:|")]);
    }

    #[test]
    fn figures_are_summed_and_shown() {
        let mut w = World::new();
        let get = crate::command::table::lookup(b"get").unwrap().id;
        let m = w.host.metrics[0].clone();
        m.commands.add(7);
        m.command(get).record(3);
        m.command(get).record(5);
        m.command(get).rejected.inc();
        m.error(b"WRONGTYPE Operation");
        m.error(b"ERR x");
        m.error(b"ERR y");
        m.rates[1].set(2048);
        m.clients.set(3);
        let all = text(&mut w, "INFO everything");
        for line in [
            "redis_version:7.0.15",
            "redis_mode:standalone",
            "uptime_in_seconds:1700000000",
            "connected_clients:3",
            "maxmemory_policy:noeviction",
            "total_commands_processed:7",
            "instantaneous_input_kbps:2.00",
            "role:master",
            "used_cpu_sys:0.000000",
            "cmdstat_get:calls=2,usec=8,usec_per_call=4.00,rejected_calls=1,failed_calls=0",
            "errorstat_ERR:count=2",
            "errorstat_WRONGTYPE:count=1",
            "latency_percentiles_usec_get:p50=3.000,p99=5.000,p99.9=5.000",
            "shard0:port=6379,slots=16384,keys=0,clients=3,ops=0,slot_usec=0,slot_ops=0,busy_usec=0",
        ] {
            assert!(all.contains(&format!("\r\n{line}\r\n")), "{line} in {all}");
        }
        assert!(all.contains("# Keyspace\r\n\r\n# Shards"));
    }

    #[test]
    fn keyspace_counts_keys_and_times() {
        let mut w = World::new();
        let clock = crate::store::Clock::at(w.now_ms);
        for (db, name, ttl) in [(0, "a", None), (0, "b", Some(3000)), (0, "c", Some(5000)), (2, "d", None)] {
            let key = w.ks.hasher().key(name.as_bytes());
            let ttl = ttl.map_or(crate::store::Ttl::Clear, |t| crate::store::Ttl::At(w.now_ms + t));
            w.ks.db_mut(db).set_str(&key, b"v", ttl, &clock);
        }
        let want = "# Keyspace\r\ndb0:keys=3,expires=2,avg_ttl=4000\r\ndb2:keys=1,expires=0,avg_ttl=0\r\n";
        assert_eq!(text(&mut w, "INFO keyspace"), want);
    }
}
