//! How far a core is with what may take long, told to the server's log now and then: reading what is on the disk,
//! and writing a snapshot.

use super::Core;
use crate::limits::PROGRESS_S;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(PROGRESS_S);

/// One such work.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// When it began, as far as was looked, and when it is to be told of next.
    times: Option<(Instant, Instant)>,
}

impl Progress {
    /// Percent, and seconds left at the pace so far, when it is time to tell. `work`: how much is done and how
    /// much there is, if anything is done at all.
    fn due(&mut self, now: Instant, work: Option<(u64, u64)>) -> Option<(f64, u64)> {
        let Some((done, all)) = work else {
            self.times = None;
            return None;
        };
        let (begun, next) = self.times.get_or_insert((now, now + EVERY));
        if now < *next {
            return None;
        }
        *next = now + EVERY;
        let left = all.saturating_sub(done) as f64 / done.max(1) as f64;
        let seconds = now.duration_since(*begun).as_secs_f64() * left;
        Some((done as f64 * 100.0 / all.max(1) as f64, seconds.ceil() as u64))
    }
}

impl Core {
    /// With each chunk that is read.
    pub(super) fn tell_loading(&mut self) {
        let m = &self.metrics.loading;
        let work = (m.on.get() > 0).then(|| (m.done.get(), m.total.get()));
        if let Some((percent, left)) = self.keeper.reading.due(Instant::now(), work) {
            let all = m.total.get();
            tracing::info!("Loading: {percent:.2}% of {all} bytes, about {left} seconds left");
        }
    }

    /// With each tick.
    pub(super) fn tell_snapshot(&mut self) {
        let m = &self.metrics.saving;
        let on = self.shard.is_saving() || self.shard.is_rewriting();
        let work = on.then(|| (m.keys_done.get(), m.keys_total.get()));
        if let Some((percent, left)) = self.keeper.writing.due(Instant::now(), work) {
            let all = m.keys_total.get();
            tracing::info!("Snapshot: {percent:.2}% of {all} keys, about {left} seconds left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_told_of_now_and_then() {
        let begin = Instant::now();
        let at = |s: u64| begin + Duration::from_secs(s);
        let mut progress = Progress::default();
        assert_eq!(progress.due(at(0), Some((0, 200))), None);
        assert_eq!(progress.due(at(PROGRESS_S - 1), Some((10, 200))), None);
        assert_eq!(progress.due(at(PROGRESS_S), Some((50, 200))), Some((25.0, 3 * PROGRESS_S)));
        assert_eq!(progress.due(at(PROGRESS_S + 1), Some((60, 200))), None);
        assert_eq!(progress.due(at(2 * PROGRESS_S), Some((200, 200))), Some((100.0, 0)));
        // another one is told of anew
        assert_eq!(progress.due(at(20 * PROGRESS_S), None), None);
        assert_eq!(progress.due(at(20 * PROGRESS_S), Some((1, 4))), None);
        assert_eq!(progress.due(at(21 * PROGRESS_S), Some((0, 0))), Some((0.0, 0)));
    }
}
