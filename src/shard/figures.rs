//! What a shard tells about itself: figures for INFO, slow commands for SLOWLOG and LATENCY.

use super::Shard;
use crate::command::host::{SlowEntry, shortened};
use crate::command::spec::{Spec, flag};
use crate::config::Config;
use crate::resp::Args;
use std::sync::atomic::Ordering::Relaxed;

/// Samples over which a rate is averaged, and the least time between two of them.
const SAMPLES: usize = 16;
const SAMPLE_MS: u64 = 100;

/// Rates of commands, bytes in and bytes out, as `instantaneous_*` of INFO shows them.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last_ms: u64,
    last: [u64; 3],
    samples: [[u64; SAMPLES]; 3],
    next: usize,
}

impl Rates {
    /// Takes the totals at `now_ms`; the rates per second when there is news.
    fn sample(&mut self, now_ms: u64, totals: [u64; 3]) -> Option<[u64; 3]> {
        let passed = now_ms.saturating_sub(self.last_ms);
        if passed < SAMPLE_MS {
            return None;
        }
        if self.last_ms > 0 {
            for (i, samples) in self.samples.iter_mut().enumerate() {
                samples[self.next] = totals[i].saturating_sub(self.last[i]) * 1000 / passed;
            }
            self.next = (self.next + 1) % SAMPLES;
        }
        (self.last_ms, self.last) = (now_ms, totals);
        Some(self.samples.map(|samples| samples.iter().sum::<u64>() / SAMPLES as u64))
    }
}

/// Seconds over which the largest buffers of clients are remembered.
const RECENT: usize = 8;

/// The largest input and output of a client, second by second.
#[derive(Debug, Default)]
pub(super) struct Peaks {
    second: u64,
    slots: [[u64; 2]; RECENT],
}

impl Peaks {
    /// Takes what is at `second`; the largest of late.
    fn note(&mut self, second: u64, now: [u64; 2]) -> [u64; 2] {
        if second != self.second {
            let passed = second.saturating_sub(self.second).min(RECENT as u64);
            (0..passed).for_each(|n| self.slots[((second - n) % RECENT as u64) as usize] = [0; 2]);
            self.second = second;
        }
        let slot = &mut self.slots[(second % RECENT as u64) as usize];
        *slot = [slot[0].max(now[0]), slot[1].max(now[1])];
        let largest = |i: usize| self.slots.iter().map(|s| s[i]).max().unwrap_or(0);
        [largest(0), largest(1)]
    }
}

/// From how many ticks on a command is of interest to SLOWLOG or LATENCY.
pub(super) fn slow_ticks(conf: &Config, per_us: f64) -> u64 {
    let ticks = |us: u64| (us as f64 * per_us) as u64;
    let slowlog = match u64::try_from(conf.slowlog_log_slower_than) {
        Ok(us) if conf.slowlog_max_len > 0 => ticks(us),
        _ => u64::MAX,
    };
    match conf.latency_monitor_threshold {
        0 => slowlog,
        ms => slowlog.min(ticks(ms.saturating_mul(1000))),
    }
}

impl Shard {
    /// How many keys each database has, and what became of keys, where others see it.
    #[inline]
    pub(super) fn publish_keys(&self) {
        let m = &self.metrics;
        for (i, db) in self.ks.iter().enumerate().take(m.keys.len()) {
            m.keys[i].set(db.len() as u64);
            m.volatile[i].set(db.volatile_len() as u64);
        }
        let stats = self.ks.stats();
        m.hits.set(stats.hits);
        m.misses.set(stats.misses);
        m.expired.set(stats.expired_lazy + stats.expired_active);
        m.evicted.set(stats.evicted);
    }

    /// Rates, and what the clients cost.
    pub(super) fn publish_figures(&mut self) {
        let m = &self.metrics;
        let totals = [m.commands.get(), m.net_in.get(), m.net_out.get()];
        if let Some(rates) = self.rates.sample(self.now.ms(), totals) {
            m.rates.iter().zip(rates).for_each(|(rate, n)| rate.set(n));
        }
        let (mut bytes, mut input, mut output) = (0, 0, 0);
        for (_, session) in self.clients.iter() {
            bytes += session.memory();
            input = input.max(session.pending.capacity() + session.held.capacity() + session.lent);
            output = output.max(session.output());
        }
        m.client_bytes.set(bytes as u64);
        let [input, output] = self.peaks.note(self.now.ms() / 1000, [input as u64, output as u64]);
        m.max_input.set(input);
        m.max_output.set(output);
        m.data_bytes.set(self.ks.bytes() as u64);
    }

    /// A command of a client of ours took long enough for SLOWLOG or LATENCY, or is to be shown.
    #[cold]
    pub(super) fn note_slow(&mut self, spec: &'static Spec, args: Args<'_>, ticks: u64, client: Option<u32>) {
        if let Some(client) = client {
            self.show_if_monitored(client, spec, args);
        }
        if let Some(entry) = self.slow_entry(spec, args, ticks) {
            self.log_slow(self.at.me, entry, client);
        }
    }

    /// Puts an entry into the log of the shard that executed it, with the name of who sent it.
    pub(super) fn log_slow(&mut self, shard: usize, mut entry: SlowEntry, client: Option<u32>) {
        if let Some(session) = client.and_then(|client| self.clients.get(client)) {
            entry.addr.clone_from(&session.addr);
            entry.name.clone_from(&session.caller.name);
        }
        self.host.registers.slow_log(shard).push(entry, self.conf.slowlog_max_len as usize);
    }

    /// A command took long enough for SLOWLOG or LATENCY: books it for the one, and what the other
    /// is to show if it was slow enough for that too.
    #[cold]
    pub(super) fn slow_entry(&mut self, spec: &Spec, args: Args<'_>, ticks: u64) -> Option<SlowEntry> {
        let us = (ticks as f64 / self.ticks.per_us) as u64;
        let time = self.now.ms() / 1000;
        let registers = &self.host.registers;
        let threshold = self.conf.latency_monitor_threshold;
        if threshold > 0 && us / 1000 >= threshold {
            let event = if spec.has(flag::FAST) { "fast-command" } else { "command" };
            registers.spikes(self.at.me).add(event, time, us / 1000);
        }
        let slow = u64::try_from(self.conf.slowlog_log_slower_than).is_ok_and(|least| us >= least);
        (slow && !spec.has(flag::SKIP_SLOWLOG)).then(|| {
            let id = registers.slow_entries.fetch_add(1, Relaxed);
            let (addr, name) = Default::default();
            SlowEntry { id, time, duration: us, args: shortened(args), addr, name }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_average_the_last_samples() {
        let mut rates = Rates::default();
        assert_eq!(rates.sample(1000, [500, 0, 0]), Some([0, 0, 0]));
        assert_eq!(rates.sample(1050, [600, 0, 0]), None);
        let mut last = [0; 3];
        for i in 1..=16 {
            last = rates.sample(1000 + i * 200, [500 + i * 10, i * 2000, 0]).unwrap();
        }
        assert_eq!(last, [50, 10_000, 0]);
        assert_eq!(rates.sample(5000, [660, 32_000, 0]).unwrap()[0], 46);
    }

    #[test]
    fn peaks_are_forgotten_after_some_seconds() {
        let mut peaks = Peaks::default();
        assert_eq!(peaks.note(100, [5, 70]), [5, 70]);
        assert_eq!(peaks.note(100, [3, 80]), [5, 80]);
        assert_eq!(peaks.note(107, [4, 0]), [5, 80]);
        assert_eq!(peaks.note(108, [0, 0]), [4, 0]);
        assert_eq!(peaks.note(1_000_000, [1, 2]), [1, 2]);
    }

    #[test]
    fn thresholds() {
        let mut conf = Config::default();
        assert_eq!(slow_ticks(&conf, 2.0), 20_000);
        conf.latency_monitor_threshold = 3;
        assert_eq!(slow_ticks(&conf, 2.0), 6000);
        conf.slowlog_log_slower_than = -1;
        conf.latency_monitor_threshold = 0;
        assert_eq!(slow_ticks(&conf, 2.0), u64::MAX);
    }
}
