//! LATENCY: spikes of events above `latency-monitor-threshold`, and how long each command takes.

use super::ctx::Ctx;
use super::error::{Done, ErrReply};
use super::help;
use super::host::{Series, Timing};
use super::spec::Spec;
use super::table;
use crate::resp::{Args, Reply};
use std::collections::{BTreeMap, VecDeque};

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
    "    If no commands are specified then all histograms are replied.",
];

/// The spikes of all shards that the client sees.
fn spikes(ctx: &Ctx<'_>) -> BTreeMap<&'static str, Series> {
    let mut all: BTreeMap<&'static str, Series> = BTreeMap::new();
    for shard in ctx.host.scope(ctx.caller.front_door, ctx.me) {
        for (event, series) in ctx.host.registers.spikes(shard).iter() {
            let into = all.entry(event).or_default();
            series.samples.iter().for_each(|&(second, ms)| into.add(second, ms));
            into.max = into.max.max(series.max);
        }
    }
    all
}

/// LATENCY LATEST
pub fn latency_latest(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let all = spikes(ctx);
    ctx.out.array(all.len());
    for (event, series) in &all {
        let (second, ms) = series.samples.back().copied().unwrap_or_default();
        ctx.out.array(4);
        ctx.out.bulk(event.as_bytes());
        ctx.out.int(second as i64);
        ctx.out.int(ms as i64);
        ctx.out.int(series.max as i64);
    }
    Ok(())
}

/// LATENCY HISTORY event
pub fn latency_history(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let all = spikes(ctx);
    let series = std::str::from_utf8(args.at(2)).ok().and_then(|event| all.get(event));
    let samples = series.map(|s| &s.samples);
    ctx.out.array(samples.map_or(0, VecDeque::len));
    for &(second, ms) in samples.into_iter().flatten() {
        ctx.out.array(2);
        ctx.out.int(second as i64);
        ctx.out.int(ms as i64);
    }
    Ok(())
}

/// LATENCY GRAPH event
pub fn latency_graph(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let all = spikes(ctx);
    let name = String::from_utf8_lossy(args.at(2));
    let Some(series) = all.get(name.as_ref()) else {
        return Err(ErrReply::owned(format!("ERR No samples available for event '{name}'")));
    };
    let text = graph(&name, series, ctx.now() / 1000);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Four rows of columns, one a spike, with its age below.
fn graph(event: &str, series: &Series, now: u64) -> String {
    const ROWS: usize = 4;
    let values = || series.samples.iter().map(|s| s.1);
    let (high, low) = (values().max().unwrap_or(0), values().min().unwrap_or(0));
    let mut out = format!("{event} - high {high} ms, low {low} ms (all time high {} ms)\n", series.max);
    out.push_str(&"-".repeat(80));
    out.push('\n');
    // a row has two steps: '_' for its lower half, '#' when it is full or above
    let steps: Vec<usize> =
        values().map(|v| ((v - low) * (2 * ROWS as u64 - 1) / (high - low).max(1)) as usize).collect();
    for row in (0..ROWS).rev() {
        let cell = |&step: &usize| match step {
            s if s > row * 2 => '#',
            s if s == row * 2 => '_',
            _ => ' ',
        };
        out.extend(steps.iter().map(cell));
        out.push('\n');
    }
    let ages: Vec<String> = series.samples.iter().map(|&(time, _)| age(now.saturating_sub(time))).collect();
    out.push('\n');
    for line in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        out.extend(ages.iter().map(|a| a.as_bytes().get(line).map_or(' ', |&b| b as char)));
        out.push('\n');
    }
    out
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// LATENCY RESET [event ...]
pub fn latency_reset(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let events = args.from(2);
    let known = spikes(ctx);
    let doomed: Vec<&str> = known
        .keys()
        .copied()
        .filter(|e| events.len() == 0 || events.iter().any(|w| w == e.as_bytes()))
        .collect();
    for shard in ctx.host.scope(ctx.caller.front_door, ctx.me) {
        ctx.host.registers.spikes(shard).forget(&doomed);
    }
    ctx.out.int(doomed.len() as i64);
    Ok(())
}

/// LATENCY DOCTOR
pub fn latency_doctor(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let all = spikes(ctx);
    let text = diagnosis(&all, ctx);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

fn diagnosis(all: &BTreeMap<&'static str, Series>, ctx: &Ctx<'_>) -> String {
    let threshold = ctx.conf.latency_monitor_threshold;
    if all.is_empty() && threshold == 0 {
        return "Latency monitoring is off: CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n"
            .into();
    }
    if all.is_empty() {
        return format!("No event took {threshold} ms or more so far.\n");
    }
    let mut out = String::from("Latency spikes:\n\n");
    for (i, (event, series)) in all.iter().enumerate() {
        let n = series.samples.len() as u64;
        let average = series.samples.iter().map(|s| s.1).sum::<u64>() / n.max(1);
        let deviation = series.samples.iter().map(|s| s.1.abs_diff(average)).sum::<u64>() / n.max(1);
        let oldest = series.samples.front().map_or(0, |s| s.0);
        let period = (ctx.now() / 1000).saturating_sub(oldest).max(1) as f64 / n.max(1) as f64;
        out.push_str(&format!(
            "{}. {event}: {n} latency spikes (average {average}ms, mean deviation {deviation}ms, period \
             {period:.2} sec). Worst all time event {}ms.\n",
            i + 1,
            series.max
        ));
    }
    out.push_str("\nWhat helps:\n\n");
    let slower_than = ctx.conf.slowlog_log_slower_than;
    if all.contains_key("command") && (slower_than < 0 || slower_than as u64 / 1000 > threshold) {
        let us = threshold * 1000;
        out.push_str(&format!(
            "- SLOWLOG misses some of these commands: CONFIG SET slowlog-log-slower-than {us} shows them.\n"
        ));
    }
    if all.contains_key("command") {
        out.push_str(
            "- SLOWLOG GET names the slow commands: prefer smaller values, SCAN to KEYS, UNLINK to DEL.\n",
        );
    }
    if all.contains_key("fast-command") {
        out.push_str(
            "- Commands that are fast by nature were slow: the core was taken away. Look for load beside this \
             process, fewer shards than cores, noisy neighbours, swapping.\n",
        );
    }
    if all.contains_key("expire-cycle") {
        out.push_str("- Many keys expire at once: spread their times, or unlink big ones before.\n");
    }
    out
}

/// LATENCY HISTOGRAM [command ...]
pub fn latency_histogram(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let metrics = &ctx.host.metrics[ctx.host.scope(ctx.caller.front_door, ctx.me)];
    let specs: Vec<&'static Spec> = match args.len() {
        2 => table::rows().collect(),
        _ => {
            let named = args.from(2);
            let found = named.iter().filter_map(table::lookup_full);
            found.flat_map(|spec| std::iter::once(spec).chain(spec.subs.iter().filter_map(row))).collect()
        }
    };
    let timed: Vec<(&Spec, Timing)> = specs
        .into_iter()
        .map(|spec| (spec, Timing::of(metrics, spec.id, ctx.host.ticks_per_us)))
        .filter(|(_, timing)| timing.calls > 0 && ctx.conf.latency_tracking)
        .collect();
    ctx.out.map(timed.len());
    for (spec, timing) in &timed {
        ctx.out.bulk(spec.name.as_bytes());
        write_timing(timing, &mut ctx.out);
    }
    Ok(())
}

/// The table's own row of a subcommand, which has its id.
fn row(sub: &'static Spec) -> Option<&'static Spec> {
    table::lookup_full(sub.name.as_bytes())
}

/// `calls` and `histogram_usec`: doubling bounds in microseconds with the calls up to each, where
/// that grew. The bounds are those of Redis's histograms (two digits from 1024 ns on).
fn write_timing(timing: &Timing, out: &mut Reply<'_>) {
    let mut steps: Vec<(u64, u64)> = Vec::new();
    let (mut seen, mut next) = (0, timing.buckets.iter().peekable());
    for level in (0..44).map(|k| 1024u64 << k) {
        let bound = level + level / 128 - 1;
        let before = seen;
        while let Some((_, count)) = next.next_if(|(end, _)| *end <= bound) {
            seen += count;
        }
        if seen > before {
            steps.push((bound / 1000, seen));
        }
    }
    out.map(2);
    out.bulk(b"calls");
    out.int(timing.calls as i64);
    out.bulk(b"histogram_usec");
    out.map(steps.len());
    for (us, count) in steps {
        out.int(us as i64);
        out.int(count as i64);
    }
}

/// LATENCY HELP
pub fn latency_help(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    help::write(&mut ctx.out, args, HELP);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::World;

    #[test]
    fn spikes_are_kept_by_event() {
        let mut w = World::new();
        w.check(&[("LATENCY LATEST", "*0|"), ("LATENCY RESET", ":0|"), ("LATENCY HISTORY command", "*0|")]);
        {
            let mut spikes = w.host.registers.spikes(0);
            spikes.add("command", 10, 5);
            spikes.add("command", 10, 3);
            spikes.add("command", 11, 9);
            spikes.add("command", 12, 7);
            spikes.add("fast-command", 12, 1);
        }
        w.check(&[
            ("LATENCY HISTORY command", "*3|*2|:10|:5|*2|:11|:9|*2|:12|:7|"),
            ("LATENCY LATEST", "*2|*4|$7|command|:12|:7|:9|*4|$12|fast-command|:12|:1|:1|"),
            ("LATENCY GRAPH nosuch", "-ERR No samples available for event 'nosuch'|"),
        ]);
        let graph = w.at(72_000).run("LATENCY GRAPH command");
        assert!(graph.contains("command - high 9 ms, low 5 ms (all time high 9 ms)\n"), "{graph}");
        assert!(graph.contains("\n # \n # \n ##\n_##\n\n111\nmmm\n"), "{graph}");
        assert!(
            w.run("LATENCY DOCTOR").contains("1. command: 3 latency spikes (average 7ms, mean deviation 1ms")
        );
        w.check(&[
            ("LATENCY RESET nosuch fast-command", ":1|"),
            ("LATENCY RESET", ":1|"),
            ("LATENCY RESET", ":0|"),
        ]);
    }

    #[test]
    fn histograms_add_up() {
        let mut w = World::new();
        for ticks in [1, 1, 40, 3000] {
            w.host.metrics[0].command(table::lookup(b"get").unwrap().id).record(ticks);
        }
        w.host.metrics[0].command(table::lookup_full(b"config|get").unwrap().id).record(8);
        let get = "$3|get|*4|$5|calls|:4|$14|histogram_usec|*6|:1|:2|:66|:3|:4227|:4|";
        w.check(&[
            ("LATENCY HISTOGRAM get nosuch", &format!("*2|{get}")),
            ("LATENCY HISTOGRAM config", "*2|$10|config|get|*4|$5|calls|:1|$14|histogram_usec|*2|:16|:1|"),
            ("LATENCY HISTOGRAM nosuch", "*0|"),
        ]);
        let timing = Timing::of(&w.host.metrics, table::lookup(b"get").unwrap().id, 1.0);
        assert_eq!([50.0, 75.0, 99.9].map(|p| timing.percentile(p)), [1000, 47_000, 3_071_000]);
        w.conf.latency_tracking = false;
        w.check(&[("LATENCY HISTOGRAM", "*0|")]);
    }
}
