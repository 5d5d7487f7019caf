//! `oom-score-adj`: whom the system ends first when memory runs out.

use crate::config::Config;
use crate::config::types::OomScoreAdj;
use std::fs;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

const FILE: &str = "/proc/self/oom_score_adj";
const SCORES: RangeInclusive<i32> = -1000..=1000;

/// The score that the process had before, while it has one of ours, and ours.
static SCORE: Mutex<Option<(i32, i32)>> = Mutex::new(None);

/// Gives the process the score that the configuration wants; what it had before, where it wants none.
pub fn apply(conf: &Config) -> Result<(), String> {
    let mut score = SCORE.lock().unwrap_or_else(PoisonError::into_inner);
    let (before, now) = match *score {
        Some(known) => known,
        None if conf.oom_score_adj == OomScoreAdj::No => return Ok(()),
        None => {
            let text = fs::read_to_string(FILE).map_err(|e| e.to_string())?;
            let before = text.trim().parse().map_err(|_| format!("{FILE} holds no number"))?;
            (before, before)
        }
    };
    let [primary, replica, _] = conf.oom_score_adj_values.0;
    let value = if conf.replicaof.0.is_some() { replica } else { primary };
    let wanted = match conf.oom_score_adj {
        OomScoreAdj::No => before,
        OomScoreAdj::Relative => before + value,
        OomScoreAdj::Absolute => value,
    };
    let wanted = wanted.clamp(*SCORES.start(), *SCORES.end());
    if wanted != now {
        fs::write(FILE, wanted.to_string()).map_err(|e| format!("Unable to write oom_score_adj: {e}"))?;
    }
    *score = (conf.oom_score_adj != OomScoreAdj::No).then_some((before, wanted));
    Ok(())
}
