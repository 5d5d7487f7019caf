//! CLUSTER SLOT-STATS, as Valkey 8 has it: what the slots of a node hold and cost.

use super::ctx::Ctx;
use super::error::{Done, ErrReply, SYNTAX};
use crate::resp::Args;
use crate::slot::{SLOTS, Slot};
use crate::util::num::parse_i64;

const DISABLED: ErrReply = ErrReply::new("ERR This instance has cluster support disabled");
const BAD_SLOT: ErrReply = ErrReply::new("ERR Invalid or out of range slot");
const BAD_METRIC: ErrReply = ErrReply::new("ERR Unrecognized sort metric for ORDERBY.");
const BAD_LIMIT: ErrReply =
    ErrReply::new("ERR Limit has to lie in between 1 and 16384 (maximum number of slots).");
const TWICE: ErrReply = ErrReply::new("ERR Multiple filters of the same type are disallowed.");

/// In the order of the reply. Only the first is shown unless `cluster-slot-stats-enabled`.
const METRICS: [&str; 4] = ["key-count", "cpu-usec", "network-bytes-in", "network-bytes-out"];

/// CLUSTER SLOT-STATS (SLOTSRANGE start end | ORDERBY metric [LIMIT n] [ASC | DESC])
///
/// The slots of this shard's node; a front door answers for the shard that took the client.
pub fn slot_stats(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    if !ctx.host.cluster {
        return Err(DISABLED);
    }
    if args.len() == 5 && args.is(2, "slotsrange") {
        return slots_range(ctx, args);
    }
    if args.len() >= 4 && args.is(2, "orderby") {
        return order_by(ctx, args);
    }
    let name = String::from_utf8_lossy(args.at(1));
    Err(ErrReply::owned(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try CLUSTER HELP."
    )))
}

fn slots_range(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let slot = |i| parse_i64(args.at(i)).filter(|n| (0..SLOTS as i64).contains(n)).ok_or(BAD_SLOT);
    let (from, to) = (slot(3)?, slot(4)?);
    if from > to {
        return Err(ErrReply::owned(format!(
            "ERR Start slot number {from} is greater than end slot number {to}"
        )));
    }
    let slots: Vec<Slot> = (from as Slot..=to as Slot).filter(|slot| is_ours(ctx, *slot)).collect();
    write(ctx, &slots);
    Ok(())
}

fn order_by(ctx: &mut Ctx<'_>, args: Args<'_>) -> Done {
    let metric = METRICS.iter().position(|name| args.is(3, name)).ok_or(BAD_METRIC)?;
    if metric >= shown(ctx) {
        return Err(BAD_METRIC);
    }
    let (mut limit, mut ascending) = (None, None);
    let mut i = 4;
    while i < args.len() {
        let again = if args.is(i, "limit") && i + 1 < args.len() {
            let n = parse_i64(args.at(i + 1)).filter(|n| (1..=SLOTS as i64).contains(n)).ok_or(BAD_LIMIT)?;
            i += 1;
            limit.replace(n as usize).is_some()
        } else if args.is(i, "asc") || args.is(i, "desc") {
            ascending.replace(args.is(i, "asc")).is_some()
        } else {
            return Err(SYNTAX);
        };
        if again {
            return Err(TWICE);
        }
        i += 1;
    }
    let ours = (0..SLOTS as Slot).filter(|slot| is_ours(ctx, *slot));
    let mut slots: Vec<(u64, Slot)> = ours.map(|slot| (figures(ctx, slot)[metric], slot)).collect();
    match ascending {
        Some(true) => slots.sort_unstable(),
        _ => slots.sort_unstable_by_key(|(n, slot)| (std::cmp::Reverse(*n), *slot)),
    }
    let slots: Vec<Slot> = slots.into_iter().take(limit.unwrap_or(SLOTS)).map(|(_, slot)| slot).collect();
    write(ctx, &slots);
    Ok(())
}

fn is_ours(ctx: &Ctx<'_>, slot: Slot) -> bool {
    ctx.view.owner_index(slot) == ctx.view.local_index(ctx.me)
}

/// How many metrics are shown.
fn shown(ctx: &Ctx<'_>) -> usize {
    if ctx.conf.cluster_slot_stats_enabled { METRICS.len() } else { 1 }
}

fn figures(ctx: &Ctx<'_>, slot: Slot) -> [u64; 4] {
    let db = ctx.ks.db(0);
    let load = db.load(slot);
    let us = (load.ticks as f64 / ctx.host.ticks_per_us) as u64;
    [db.slot_len(slot) as u64, us, load.bytes_in, load.bytes_out]
}

fn write(ctx: &mut Ctx<'_>, slots: &[Slot]) {
    let shown = shown(ctx);
    ctx.out.array(slots.len());
    for &slot in slots {
        let figures = figures(ctx, slot);
        ctx.out.array(2);
        ctx.out.int(slot as i64);
        ctx.out.map(shown);
        for (name, n) in METRICS.iter().zip(figures).take(shown) {
            ctx.out.bulk(name.as_bytes());
            ctx.out.int(n as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cluster::view::{Node, UNASSIGNED, View};
    use crate::command::testing::World;

    #[test]
    fn shows_sorts_and_refuses() {
        let mut w = World::new();
        w.check(&[("CLUSTER SLOT-STATS SLOTSRANGE 0 1", "-ERR This instance has cluster support disabled|")]);
        w.host.cluster = true;
        let node = Node { local: Some(0), ..Node::default() };
        w.view = View::new(1, 1, vec![node], |slot| if (10..=12).contains(&slot) { 0 } else { UNASSIGNED });
        let db = w.ks.db_mut(0);
        for (slot, ticks, read, written) in [(10, 50, 30, 5), (11, 70, 20, 5), (12, 10, 90, 9)] {
            db.note_load(slot, ticks, read, written);
            db.note_load(slot, ticks, read, written);
        }
        let unknown =
            "-ERR unknown subcommand or wrong number of arguments for 'SLOT-STATS'. Try CLUSTER HELP.|";
        let of = |slot: u32| format!("*2|:{slot}|*2|$9|key-count|:0|");
        w.check(&[
            ("CLUSTER SLOT-STATS SLOTSRANGE 0 11", &format!("*2|{}{}", of(10), of(11))),
            ("CLUSTER SLOT-STATS SLOTSRANGE 13 16383", "*0|"),
            (
                "CLUSTER SLOT-STATS SLOTSRANGE 5 3",
                "-ERR Start slot number 5 is greater than end slot number 3|",
            ),
            ("CLUSTER SLOT-STATS SLOTSRANGE 5 16384", "-ERR Invalid or out of range slot|"),
            ("CLUSTER SLOT-STATS SLOTSRANGE x 1", "-ERR Invalid or out of range slot|"),
            ("CLUSTER SLOT-STATS SLOTSRANGE 1", unknown),
            ("CLUSTER SLOT-STATS RANGE 1 2", unknown),
            (
                "CLUSTER SLOT-STATS ORDERBY",
                "-ERR wrong number of arguments for 'cluster|slot-stats' command|",
            ),
            ("CLUSTER SLOT-STATS ORDERBY cpu-usec", "-ERR Unrecognized sort metric for ORDERBY.|"),
            ("CLUSTER SLOT-STATS ORDERBY nosuch", "-ERR Unrecognized sort metric for ORDERBY.|"),
            ("CLUSTER SLOT-STATS ORDERBY key-count LIMIT 2", &format!("*2|{}{}", of(10), of(11))),
            ("CLUSTER SLOT-STATS ORDERBY key-count LIMIT", "-ERR syntax error|"),
            (
                "CLUSTER SLOT-STATS ORDERBY key-count LIMIT 0",
                "-ERR Limit has to lie in between 1 and 16384 (maximum number of slots).|",
            ),
            (
                "CLUSTER SLOT-STATS ORDERBY key-count LIMIT x ASC",
                "-ERR Limit has to lie in between 1 and 16384 (maximum number of slots).|",
            ),
            (
                "CLUSTER SLOT-STATS ORDERBY key-count ASC DESC",
                "-ERR Multiple filters of the same type are disallowed.|",
            ),
            ("CLUSTER SLOT-STATS ORDERBY key-count SIDEWAYS", "-ERR syntax error|"),
        ]);
        w.conf.cluster_slot_stats_enabled = true;
        let of = |slot: u32, us: u32, read: u32, written: u32| {
            format!(
                "*2|:{slot}|*8|$9|key-count|:0|$8|cpu-usec|:{us}|$16|network-bytes-in|:{read}|\
                 $17|network-bytes-out|:{written}|"
            )
        };
        let (ten, eleven, twelve) = (of(10, 100, 60, 10), of(11, 140, 40, 10), of(12, 20, 180, 18));
        w.check(&[
            ("CLUSTER SLOT-STATS ORDERBY cpu-usec", &format!("*3|{eleven}{ten}{twelve}")),
            ("CLUSTER SLOT-STATS ORDERBY network-bytes-in LIMIT 1", &format!("*1|{twelve}")),
            ("CLUSTER SLOT-STATS ORDERBY network-bytes-out ASC", &format!("*3|{ten}{eleven}{twelve}")),
        ]);
    }
}
