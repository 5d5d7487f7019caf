//! Adds up what the shards publish.

use crate::command::ctx::Ctx;
use crate::command::host::Memory;
use crate::metrics::{Counter, Metrics};
use crate::store::{Clock, Db};
use std::ops::Range;
use std::sync::Arc;

/// Keys with a TTL, and slots, that are looked at for `avg_ttl`.
const TTL_SAMPLES: u64 = 64;
const TTL_SLOTS: usize = 64;

/// What the sections are made from.
pub struct Figures {
    /// The shards that the client sees.
    pub shards: Range<usize>,
    pub metrics: Vec<Arc<Metrics>>,
    pub memory: Memory,
}

/// One database's line in `# Keyspace`.
pub struct Database {
    pub index: usize,
    pub keys: u64,
    pub volatile: u64,
    /// Milliseconds, from a sample.
    pub avg_ttl: u64,
}

impl Figures {
    pub fn of(ctx: &Ctx<'_>) -> Figures {
        let shards = ctx.host.scope(ctx.caller.front_door, ctx.me);
        let metrics = ctx.host.metrics[shards.clone()].to_vec();
        Figures { shards, metrics, memory: Memory::of(ctx.host, ctx.me, ctx.ks.len()) }
    }

    pub fn sum(&self, counter: impl Fn(&Metrics) -> &Counter) -> u64 {
        self.metrics.iter().map(|m| counter(m).get()).sum()
    }

    pub fn max(&self, counter: impl Fn(&Metrics) -> &Counter) -> u64 {
        self.metrics.iter().map(|m| counter(m).get()).max().unwrap_or(0)
    }

    /// Databases that have keys. This shard's own numbers are those of this moment.
    pub fn databases(&self, ctx: &Ctx<'_>) -> Vec<Database> {
        let mut out = Vec::new();
        for (index, db) in ctx.ks.iter().enumerate() {
            let (mut keys, mut volatile) = (db.len() as u64, db.volatile_len() as u64);
            for shard in self.shards.clone().filter(|&shard| shard != ctx.me) {
                let m = &ctx.host.metrics[shard];
                keys += m.keys.get(index).map_or(0, Counter::get);
                volatile += m.volatile.get(index).map_or(0, Counter::get);
            }
            if keys > 0 {
                let avg_ttl = if volatile > 0 { average_ttl(db, &ctx.clock) } else { 0 };
                out.push(Database { index, keys, volatile, avg_ttl });
            }
        }
        out
    }

    /// Keys of one shard.
    pub fn keys(&self, ctx: &Ctx<'_>, shard: usize) -> u64 {
        match shard == ctx.me {
            true => ctx.ks.len() as u64,
            false => ctx.host.metrics[shard].keys.iter().map(Counter::get).sum(),
        }
    }
}

/// Milliseconds that this shard's volatile keys have left, on average over the first that are found.
fn average_ttl(db: &Db, clock: &Clock) -> u64 {
    let (mut sum, mut count, mut slot) = (0, 0, 0);
    for _ in 0..TTL_SLOTS {
        let Some(used) = db.next_used_slot(slot) else { break };
        db.for_each_in(used, clock, |entry| {
            if let Some(at) = entry.expire_at().filter(|_| count < TTL_SAMPLES) {
                sum += at.saturating_sub(clock.now_ms);
                count += 1;
            }
        });
        if count == TTL_SAMPLES {
            break;
        }
        slot = used + 1;
    }
    sum.checked_div(count).unwrap_or(0)
}
