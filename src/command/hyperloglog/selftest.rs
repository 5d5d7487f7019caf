//! PFSELFTEST: whether registers hold what is put into them, and estimates are near.

use super::estimate::estimate;
use super::sketch::{self, Encoding, REGISTER_MAX, REGISTERS};
use super::{most, refusal};
use crate::command::ctx::Ctx;
use crate::command::error::{Done, ErrReply};
use crate::limits::{HLL_TEST_ELEMENTS, HLL_TEST_ROUNDS};
use crate::resp::Args;
use crate::util::rng::Rng;

const NOT_SPARSE: ErrReply = ErrReply::new("TESTFAILED sparse encoding not used");
const DISAGREE: ErrReply = ErrReply::new("TESTFAILED dense/sparse disagree");

/// PFSELFTEST
pub fn pfselftest(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Done {
    let most = most(ctx);
    test_registers(ctx.rng)?;
    test_estimates(ctx.rng, most)?;
    ctx.out.ok();
    Ok(())
}

/// An empty one of the dense form.
fn dense() -> Vec<u8> {
    let mut hll = sketch::new();
    sketch::make_dense(&mut hll).expect("a new one is whole");
    hll
}

fn test_registers(rng: &mut Rng) -> Done {
    let mut hll = dense();
    let mut values = vec![0; REGISTERS];
    for _ in 0..HLL_TEST_ROUNDS {
        for (index, value) in values.iter_mut().enumerate() {
            *value = rng.below(REGISTER_MAX as u64 + 1) as u8;
            sketch::dense_set(&mut hll, index, *value);
        }
        for (index, value) in values.iter().enumerate() {
            let found = sketch::dense_get(&hll, index);
            if found != *value {
                let text = format!("TESTFAILED Register {index} should be {value} but is {found}");
                return Err(ErrReply::owned(text));
            }
        }
    }
    Ok(())
}

/// Adds elements to both forms, and compares at every power of ten.
fn test_estimates(rng: &mut Rng, most: usize) -> Done {
    let (mut one, mut other) = (dense(), sketch::new());
    let seed = rng.next_u64();
    let mut checkpoint = 1;
    for n in 1..=HLL_TEST_ELEMENTS {
        let element = (n ^ seed).to_le_bytes();
        sketch::dense_add(&mut one, &element);
        let (index, value) = sketch::place(&element);
        sketch::raise(&mut other, index, value, most).map_err(refusal)?;
        if n != checkpoint {
            continue;
        }
        let encoding = sketch::encoding(&other).ok_or(DISAGREE)?;
        if encoding != Encoding::Sparse && n < most as u64 / 2 {
            return Err(NOT_SPARSE);
        }
        let count = estimate(&sketch::histogram(&one, Encoding::Dense).map_err(refusal)?);
        if count != estimate(&sketch::histogram(&other, encoding).map_err(refusal)?) {
            return Err(DISAGREE);
        }
        let error = count.abs_diff(n);
        if error > tolerance(n) {
            let text = format!("TESTFAILED Too big error. card:{n} abserr:{error}");
            return Err(ErrReply::owned(text));
        }
        checkpoint *= 10;
    }
    Ok(())
}

/// Six times the standard error. Among ten elements two may share a register, and no more.
fn tolerance(n: u64) -> u64 {
    let standard = 1.04 / (REGISTERS as f64).sqrt();
    if n == 10 { 1 } else { (standard * 6.0 * n as f64).ceil() as u64 }
}
