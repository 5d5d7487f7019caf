//! From registers to a number of elements: Otmar Ertl, "New cardinality estimation algorithms for
//! HyperLogLog sketches" (arXiv:1702.01284). Every step is rounded as Redis's is, for the results are
//! compared to the last bit.

use super::sketch::{Histogram, LONGEST, REGISTERS};
use crate::util::num::c_i64;

/// 0.5 / ln 2.
const ALPHA: f64 = 0.721_347_520_444_481_7;

pub fn estimate(histogram: &Histogram) -> u64 {
    let m = REGISTERS as f64;
    let share = |n: f64| n / m;
    let mut z = m * tau(share(m - histogram[LONGEST] as f64));
    for n in histogram[1..LONGEST].iter().rev() {
        z = (z + *n as f64) * 0.5;
    }
    z += m * sigma(share(histogram[0] as f64));
    c_i64((ALPHA * m * m / z).round()) as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}
